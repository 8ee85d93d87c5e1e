#include "kv/wire.h"

#include "placement/shard.h"

static void put_key(struct bnd_buf *out, struct bnd_slice key) {
    bnd_buf_u16(out, (uint16_t)key.len);
    bnd_buf_append_slice(out, key);
}

/* least: 0 or 1. */
static struct bnd_slice read_key(struct bnd_reader *r, size_t least) {
    uint16_t len = bnd_read_u16(r);
    struct bnd_slice key = bnd_read_raw(r, len);
    r->failed = r->failed || len < least || len > BND_KV_KEY_MAX;
    return key;
}

/* Each call begins with what it is, and the namespace. */
static void begin(struct bnd_buf *out, enum kv_call call, uint64_t namespace_id) {
    bnd_buf_u8(out, (uint8_t)call);
    bnd_buf_u64(out, namespace_id);
}

/* A reader that has failed if it is another call. */
static struct bnd_reader begun(struct bnd_slice bytes, enum kv_call call, uint64_t *namespace_id) {
    struct bnd_reader r = bnd_reader(bytes);
    bool other = bnd_read_u8(&r) != call;
    *namespace_id = bnd_read_u64(&r);
    r.failed = r.failed || other;
    return r;
}

static void put_version(struct bnd_buf *out, struct bnd_kv_version version) {
    bnd_buf_u64(out, version.hlc);
    bnd_buf_u64(out, version.writer);
}

static struct bnd_kv_version read_version(struct bnd_reader *r) {
    struct bnd_kv_version version = {.hlc = bnd_read_u64(r)};
    version.writer = bnd_read_u64(r);
    return version;
}

/* ---- pushes
 * -------------------------------------------------------------------------------------- */

void kv_pushed_head(struct bnd_buf *out, const struct kv_pushed *pushed) {
    bnd_buf_u64(out, pushed->seq);
    bnd_buf_u8(out, (uint8_t)pushed->kind);
    bnd_buf_u32(out, pushed->shard);
    bnd_buf_u32(out, pushed->epoch);
    bnd_buf_u64(out, pushed->namespace_id);
    put_key(out, pushed->key);
    if (pushed->kind == KV_LOG_PIECE) {
        bnd_buf_append(out, pushed->blob, KV_BLOB_ID_BYTES);
        bnd_buf_u32(out, pushed->number);
    }
    bnd_buf_u32(out, (uint32_t)pushed->body.len);
}

static bool is_sound(const struct kv_pushed *pushed) {
    if (pushed->kind == KV_LOG_PIECE) {
        return pushed->body.len > 0 && pushed->body.len <= BND_KV_INLINE_MAX;
    }
    struct kv_record record;
    return pushed->kind == KV_LOG_RECORD && kv_record_decode(pushed->body, &record) == 0 &&
           (record.flags & KV_RECORD_SPLIT) == 0;
}

struct kv_pushed kv_pushed_read(struct bnd_reader *r) {
    struct kv_pushed pushed = {0};
    pushed.seq = bnd_read_u64(r);
    pushed.kind = (enum kv_log_kind)bnd_read_u8(r);
    pushed.shard = bnd_read_u32(r);
    pushed.epoch = bnd_read_u32(r);
    pushed.namespace_id = bnd_read_u64(r);
    pushed.key = read_key(r, 1);
    if (pushed.kind == KV_LOG_PIECE) {
        pushed.blob = bnd_read_raw(r, KV_BLOB_ID_BYTES).data;
        pushed.number = bnd_read_u32(r);
    }
    pushed.body = bnd_read_bytes(r);
    r->failed = r->failed || pushed.shard >= BND_SHARDS_MAX || !is_sound(&pushed);
    return pushed;
}

void kv_ack_put(struct bnd_buf *out, const struct kv_ack *ack) {
    bnd_buf_u64(out, ack->seq);
    bnd_buf_u8(out, (uint8_t)ack->status);
    put_version(out, ack->version);
}

struct kv_ack kv_ack_read(struct bnd_reader *r) {
    struct kv_ack ack = {0};
    ack.seq = bnd_read_u64(r);
    uint8_t status = bnd_read_u8(r);
    ack.version = read_version(r);
    r->failed = r->failed || status >= KV_ACK_STATUSES;
    ack.status = r->failed ? KV_ACK_LOST : (enum kv_ack_status)status;
    return ack;
}

/* ---- puts
 * ---------------------------------------------------------------------------------------- */

void kv_call_put_head(struct bnd_buf *out, const struct kv_write_params *params) {
    begin(out, KV_CALL_PUT, params->namespace_id);
    bnd_buf_u8(out, params->flags);
    bnd_buf_u64(out, params->expires_ms);
    bnd_buf_u64(out, params->above_hlc);
    bnd_buf_u32(out, params->size);
    put_key(out, params->key);
    bnd_buf_u16(out, (uint16_t)params->metadata.len);
    bnd_buf_append_slice(out, params->metadata);
    if ((params->flags & KV_RECORD_BLOB) != 0) {
        bnd_buf_append(out, params->blob, sizeof params->blob);
    }
}

/* What a record may be (kv_record_decode). */
static bool is_writable(const struct kv_write_params *p) {
    if (p->flags == KV_RECORD_TOMBSTONE) {
        return p->size == 0 && p->metadata.len == 0 && p->expires_ms == 0 && p->value.len == 0;
    }
    if (p->flags == KV_RECORD_BLOB) {
        return p->size > BND_KV_INLINE_MAX && p->size <= BND_KV_VALUE_MAX && p->value.len == 0;
    }
    return p->flags == 0 && p->size <= BND_KV_INLINE_MAX && p->value.len == p->size;
}

int kv_call_put_decode(struct bnd_slice bytes, struct kv_write_params *out) {
    struct kv_write_params params = {0};
    struct bnd_reader r = begun(bytes, KV_CALL_PUT, &params.namespace_id);
    params.flags = bnd_read_u8(&r);
    params.expires_ms = bnd_read_u64(&r);
    params.above_hlc = bnd_read_u64(&r);
    params.size = bnd_read_u32(&r);
    params.key = read_key(&r, 1);
    uint16_t metadata = bnd_read_u16(&r);
    params.metadata = bnd_read_raw(&r, metadata);
    if ((params.flags & KV_RECORD_BLOB) != 0) {
        bnd_read_into(&r, params.blob, sizeof params.blob);
    }
    params.value = r.rest;
    if (r.failed || metadata > BND_KV_METADATA_MAX || !is_writable(&params)) {
        return BND_CORRUPT;
    }
    *out = params;
    return 0;
}

void kv_put_answer_encode(struct bnd_buf *out, const struct kv_put_answer *answer) {
    bnd_buf_u8(out, (uint8_t)answer->durability);
    put_version(out, answer->version);
}

int kv_put_answer_decode(struct bnd_slice bytes, struct kv_put_answer *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t durability = bnd_read_u8(&r);
    struct kv_put_answer answer = {.durability = (enum bnd_kv_durability)durability};
    answer.version = read_version(&r);
    if (!bnd_reader_done(&r) || durability > BND_KV_LOCAL || answer.version.hlc == 0) {
        return BND_CORRUPT;
    }
    *out = answer;
    return 0;
}

/* ---- reads
 * ---------------------------------------------------------------------------------------- */

void kv_call_get_encode(struct bnd_buf *out, const struct kv_call_get *get) {
    begin(out, KV_CALL_GET, get->namespace_id);
    bnd_buf_u8(out, get->any);
    put_key(out, get->key);
}

int kv_call_get_decode(struct bnd_slice bytes, struct kv_call_get *out) {
    struct kv_call_get get = {0};
    struct bnd_reader r = begun(bytes, KV_CALL_GET, &get.namespace_id);
    uint8_t any = bnd_read_u8(&r);
    get.any = any == 1;
    get.key = read_key(&r, 1);
    if (!bnd_reader_done(&r) || any > 1) {
        return BND_CORRUPT;
    }
    *out = get;
    return 0;
}

void kv_call_read_encode(struct bnd_buf *out, const struct kv_call_read *read) {
    begin(out, KV_CALL_READ, read->namespace_id);
    put_key(out, read->key);
    put_version(out, read->version);
    bnd_buf_append(out, read->blob, sizeof read->blob);
    bnd_buf_u32(out, read->number);
}

int kv_call_read_decode(struct bnd_slice bytes, struct kv_call_read *out) {
    struct kv_call_read read = {0};
    struct bnd_reader r = begun(bytes, KV_CALL_READ, &read.namespace_id);
    read.key = read_key(&r, 1);
    read.version = read_version(&r);
    struct bnd_slice blob = bnd_read_raw(&r, KV_BLOB_ID_BYTES);
    read.number = bnd_read_u32(&r);
    if (!bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    memcpy(read.blob, blob.data, sizeof read.blob);
    *out = read;
    return 0;
}

/* ---- lists
 * ---------------------------------------------------------------------------------------- */

void kv_call_list_encode(struct bnd_buf *out, const struct kv_call_list *list) {
    begin(out, KV_CALL_LIST, list->namespace_id);
    put_key(out, list->prefix);
    put_key(out, list->after);
    bnd_buf_u32(out, list->limit);
    bnd_buf_u32(out, list->shards_count);
    bnd_buf_append_slice(out, list->shards);
}

int kv_call_list_decode(struct bnd_slice bytes, struct kv_call_list *out) {
    struct kv_call_list list = {0};
    struct bnd_reader r = begun(bytes, KV_CALL_LIST, &list.namespace_id);
    list.prefix = read_key(&r, 0);
    list.after = read_key(&r, 0);
    list.limit = bnd_read_u32(&r);
    list.shards_count = bnd_read_u32(&r);
    list.shards = r.rest;
    if (r.failed || list.limit == 0 || list.limit > BND_KV_LIST_MAX ||
        list.shards_count > BND_SHARDS_MAX || list.shards.len != 4 * (size_t)list.shards_count) {
        return BND_CORRUPT;
    }
    *out = list;
    return 0;
}

void kv_page_head(struct bnd_buf *out, const struct kv_page *page) {
    bnd_buf_u8(out, page->complete);
    bnd_buf_u32(out, (uint32_t)page->count);
    put_key(out, bnd_slice(page->last, page->last_len));
}

int kv_page_decode(struct bnd_slice bytes, struct kv_page_view *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t complete = bnd_read_u8(&r);
    struct kv_page_view view = {.complete = complete == 1};
    view.count = bnd_read_u32(&r);
    view.last = read_key(&r, 0);
    view.entries = r.rest;
    bool sound = !r.failed && complete <= 1 && view.count <= BND_KV_LIST_MAX &&
                 (view.complete || view.last.len > 0);
    struct bnd_slice before = {0};
    for (uint32_t i = 0; sound && i < view.count; i++) {
        struct bnd_kv_list_entry entry = kv_page_entry_read(&r);
        sound = !r.failed && bnd_slice_cmp(before, entry.key) < 0 &&
                (view.complete || bnd_slice_cmp(entry.key, view.last) <= 0);
        before = entry.key;
    }
    if (!sound || !bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    *out = view;
    return 0;
}
