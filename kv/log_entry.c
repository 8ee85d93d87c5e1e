/* Entries of the KV log: made, shared, read back. */
#include "base/alloc.h"
#include "base/assert.h"
#include "kv/log.h"

#define HEAD_BYTES 5u /* kind, shard */
#define MARK_FILLED 1u
#define MARK_WIPE 2u
#define MARK_NONE 4u
#define MARK_COUNTED_SHIFT 3
#define MARK_BITS (3 + BND_KV_REPLICAS_MAX)
#define MARKS_BYTES (HEAD_BYTES + 21u)

static struct kv_log_entry *entry_new(enum kv_log_kind kind, uint32_t shard, size_t len) {
    struct kv_log_entry *entry = bnd_alloc(sizeof *entry + len);
    if (entry != NULL) {
        *entry = (struct kv_log_entry){.kind = kind, .shard = shard, .refs = 1, .len = len};
        entry->bytes[0] = (uint8_t)kind;
        bnd_put_u32(entry->bytes + 1, shard);
    }
    return entry;
}

static size_t name_bytes(struct bnd_slice key) {
    return 8 + 2 + key.len;
}

static uint8_t *put_name(struct kv_log_entry *entry, uint64_t namespace_id, struct bnd_slice key) {
    BND_ASSERT(key.len > 0 && key.len <= BND_KV_KEY_MAX);
    uint8_t *p = entry->bytes + HEAD_BYTES;
    bnd_put_u64(p, namespace_id);
    bnd_put_u16(p + 8, (uint16_t)key.len);
    memcpy(p + 10, key.data, key.len);
    entry->namespace_id = namespace_id;
    entry->key = bnd_slice(p + 10, key.len);
    return p + 10 + key.len;
}

static struct kv_log_entry *record_new(uint32_t shard, uint64_t namespace_id, struct bnd_slice key,
                                       size_t record_bytes) {
    struct kv_log_entry *entry =
        entry_new(KV_LOG_RECORD, shard, HEAD_BYTES + name_bytes(key) + record_bytes);
    if (entry != NULL) {
        entry->body = bnd_slice(put_name(entry, namespace_id, key), record_bytes);
    }
    return entry;
}

struct kv_log_entry *kv_log_entry_record(uint32_t shard, uint64_t namespace_id,
                                         struct bnd_slice key, const struct kv_record *record) {
    size_t bytes = kv_record_bytes(record);
    struct kv_log_entry *entry = record_new(shard, namespace_id, key, bytes);
    if (entry != NULL) {
        kv_record_encode(record, entry->bytes + entry->len - bytes);
    }
    return entry;
}

struct kv_log_entry *kv_log_entry_encoded(uint32_t shard, uint64_t namespace_id,
                                          struct bnd_slice key, struct bnd_slice record) {
    struct kv_log_entry *entry = record_new(shard, namespace_id, key, record.len);
    if (entry != NULL) {
        memcpy(entry->bytes + entry->len - record.len, record.data, record.len);
    }
    return entry;
}

struct kv_log_entry *kv_log_entry_piece(const struct kv_piece *piece) {
    size_t len = HEAD_BYTES + name_bytes(piece->key) + KV_BLOB_ID_BYTES + 4 + piece->bytes.len;
    struct kv_log_entry *entry = entry_new(KV_LOG_PIECE, piece->shard, len);
    if (entry == NULL) {
        return NULL;
    }
    uint8_t *p = put_name(entry, piece->namespace_id, piece->key);
    memcpy(p, piece->blob, KV_BLOB_ID_BYTES);
    bnd_put_u32(p + KV_BLOB_ID_BYTES, piece->number);
    entry->blob = p;
    entry->number = piece->number;
    p += KV_BLOB_ID_BYTES + 4;
    memcpy(p, piece->bytes.data, piece->bytes.len);
    entry->body = bnd_slice(p, piece->bytes.len);
    return entry;
}

struct kv_log_entry *kv_log_entry_marks(uint32_t shard, const struct kv_marks *marks, bool wipe) {
    struct kv_log_entry *entry = entry_new(KV_LOG_MARKS, shard, MARKS_BYTES);
    if (entry != NULL) {
        entry->marks = *marks;
        entry->wipe = wipe;
        entry->bytes[HEAD_BYTES] =
            (uint8_t)((marks->filled ? MARK_FILLED : 0) | (wipe ? MARK_WIPE : 0) |
                      (marks->there ? 0 : MARK_NONE) |
                      ((unsigned)marks->counted << MARK_COUNTED_SHIFT));
        bnd_put_u32(entry->bytes + HEAD_BYTES + 1, marks->epoch);
        bnd_put_u64(entry->bytes + HEAD_BYTES + 5, marks->refused);
        bnd_put_u64(entry->bytes + HEAD_BYTES + 13, marks->collected);
    }
    return entry;
}

struct kv_log_entry *kv_log_entry_ref(struct kv_log_entry *entry) {
    entry->refs++;
    return entry;
}

void kv_log_entry_unref(struct kv_log_entry *entry) {
    if (entry != NULL && --entry->refs == 0) {
        bnd_free(entry);
    }
}

/* ---- reading
 * -------------------------------------------------------------------------------------- */

static struct kv_log_entry *read_record(uint32_t shard, uint64_t namespace_id, struct bnd_slice key,
                                        struct bnd_slice record) {
    struct kv_record checked;
    if (kv_record_decode(record, &checked) != 0 || (checked.flags & KV_RECORD_SPLIT) != 0) {
        return NULL;
    }
    return kv_log_entry_encoded(shard, namespace_id, key, record);
}

static struct kv_log_entry *read_named(uint8_t kind, uint32_t shard, struct bnd_reader *r) {
    uint64_t namespace_id = bnd_read_u64(r);
    uint16_t len = bnd_read_u16(r);
    struct bnd_slice key = bnd_read_raw(r, len);
    if (r->failed || len == 0 || len > BND_KV_KEY_MAX) {
        return NULL;
    }
    if (kind == KV_LOG_RECORD) {
        return read_record(shard, namespace_id, key, r->rest);
    }
    struct kv_piece piece = {.shard = shard, .namespace_id = namespace_id, .key = key};
    piece.blob = bnd_read_raw(r, KV_BLOB_ID_BYTES).data;
    piece.number = bnd_read_u32(r);
    piece.bytes = r->rest;
    bool sound = !r->failed && piece.bytes.len > 0 && piece.bytes.len <= BND_KV_INLINE_MAX;
    return sound ? kv_log_entry_piece(&piece) : NULL;
}

static struct kv_log_entry *read_marks(uint32_t shard, struct bnd_reader *r) {
    uint8_t flags = bnd_read_u8(r);
    struct kv_marks marks = {.there = (flags & MARK_NONE) == 0,
                             .filled = (flags & MARK_FILLED) != 0,
                             .counted = (uint8_t)(flags >> MARK_COUNTED_SHIFT)};
    marks.epoch = bnd_read_u32(r);
    marks.refused = bnd_read_u64(r);
    marks.collected = bnd_read_u64(r);
    bool sound = bnd_reader_done(r) && flags >> MARK_BITS == 0;
    return sound ? kv_log_entry_marks(shard, &marks, (flags & MARK_WIPE) != 0) : NULL;
}

int kv_log_entry_decode(struct bnd_slice bytes, struct kv_log_entry **out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t kind = bnd_read_u8(&r);
    uint32_t shard = bnd_read_u32(&r);
    struct kv_log_entry *entry = NULL;
    if (!r.failed && (kind == KV_LOG_RECORD || kind == KV_LOG_PIECE)) {
        entry = read_named(kind, shard, &r);
    } else if (!r.failed && kind == KV_LOG_MARKS) {
        entry = read_marks(shard, &r);
    }
    if (entry == NULL) {
        return BND_CORRUPT;
    }
    *out = entry;
    return 0;
}
