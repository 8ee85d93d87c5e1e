#include "kv/record.h"

#include "base/assert.h"

#define FORMAT 1u
#define FLAGS_ALL (KV_RECORD_TOMBSTONE | KV_RECORD_BLOB | KV_RECORD_SPLIT)

static size_t tail_bytes(const struct kv_record *record) {
    if ((record->flags & KV_RECORD_BLOB) != 0) {
        return KV_BLOB_ID_BYTES;
    }
    return (record->flags & KV_RECORD_SPLIT) != 0 ? 0 : record->size;
}

size_t kv_record_bytes(const struct kv_record *record) {
    return KV_RECORD_HEADER_BYTES + record->metadata.len + tail_bytes(record);
}

void kv_record_encode(const struct kv_record *record, uint8_t *out) {
    BND_ASSERT(record->metadata.len <= BND_KV_METADATA_MAX && record->size <= BND_KV_VALUE_MAX);
    BND_ASSERT(record->version.hlc != 0);
    out[0] = FORMAT;
    out[1] = record->flags;
    bnd_put_u16(out + 2, (uint16_t)record->metadata.len);
    bnd_put_u32(out + 4, record->size);
    bnd_put_u32(out + 8, record->epoch);
    bnd_put_u64(out + 12, record->version.hlc);
    bnd_put_u64(out + 20, record->version.writer);
    bnd_put_u64(out + 28, record->expires_ms);
    uint8_t *p = out + KV_RECORD_HEADER_BYTES;
    if (record->metadata.len > 0) {
        memcpy(p, record->metadata.data, record->metadata.len);
        p += record->metadata.len;
    }
    size_t tail = tail_bytes(record);
    if (tail > 0) {
        memcpy(p, (record->flags & KV_RECORD_BLOB) != 0 ? record->blob : record->value.data, tail);
    }
}

/* Each kind has what it needs and nothing else. */
static bool is_sound(const struct kv_record *record) {
    if (record->version.hlc == 0 || (record->flags & ~FLAGS_ALL) != 0) {
        return false;
    }
    if ((record->flags & KV_RECORD_TOMBSTONE) != 0) {
        return record->flags == KV_RECORD_TOMBSTONE && record->size == 0 &&
               record->metadata.len == 0 && record->expires_ms == 0;
    }
    if ((record->flags & KV_RECORD_BLOB) != 0) {
        return record->flags == KV_RECORD_BLOB && record->size > BND_KV_INLINE_MAX &&
               record->size <= BND_KV_VALUE_MAX;
    }
    return record->size <= BND_KV_INLINE_MAX;
}

int kv_record_decode(struct bnd_slice bytes, struct kv_record *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct kv_record record = {0};
    uint8_t format = bnd_read_u8(&r);
    record.flags = bnd_read_u8(&r);
    uint16_t metadata = bnd_read_u16(&r);
    record.size = bnd_read_u32(&r);
    record.epoch = bnd_read_u32(&r);
    record.version.hlc = bnd_read_u64(&r);
    record.version.writer = bnd_read_u64(&r);
    record.expires_ms = bnd_read_u64(&r);
    record.metadata = bnd_read_raw(&r, metadata);
    if (r.failed || format != FORMAT || metadata > BND_KV_METADATA_MAX || !is_sound(&record)) {
        return BND_CORRUPT;
    }
    struct bnd_slice tail = bnd_read_raw(&r, tail_bytes(&record));
    if (!bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    if ((record.flags & KV_RECORD_BLOB) != 0) {
        memcpy(record.blob, tail.data, sizeof record.blob);
    } else {
        record.value = tail;
    }
    *out = record;
    return 0;
}
