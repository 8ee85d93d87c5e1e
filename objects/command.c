/* See command.h. */
#include "objects/command.h"

#include "base/assert.h"
#include "base/error.h"

enum {
    HAS_KEY = 1,
    HAS_UPLOAD = 2,
    HAS_CONDITIONS = 4,
    HAS_BODY = 8, /* deadline and holders */
    COND_MATCH = 1,
    COND_NOT_MATCH = 2,
    COND_BEFORE = 4,
    COND_AFTER = 8,
    COND_SECONDS = 16,
};

/* What each kind carries before its own fields. */
static unsigned shape_of(unsigned kind) {
    switch (kind) {
    case OBJECTS_PUT:
        return HAS_KEY | HAS_CONDITIONS | HAS_BODY;
    case OBJECTS_DELETE:
        return HAS_KEY | HAS_CONDITIONS;
    case OBJECTS_CREATE:
    case OBJECTS_ABORT:
        return HAS_KEY | HAS_UPLOAD;
    case OBJECTS_PART:
        return HAS_KEY | HAS_UPLOAD | HAS_BODY;
    case OBJECTS_COMPLETE:
        return HAS_KEY | HAS_UPLOAD | HAS_CONDITIONS;
    default:
        return 0;
    }
}

static void encode_etags(struct bnd_buf *out, const struct bnd_etag *list, size_t count) {
    BND_ASSERT(count <= BND_OBJECT_ETAGS_MAX);
    bnd_buf_u8(out, (uint8_t)count);
    for (size_t i = 0; i < count; i++) {
        bnd_buf_u8(out, (uint8_t)list[i].kind);
        bnd_buf_bytes(out, list[i].value);
    }
}

static size_t read_etags(struct bnd_reader *r, struct bnd_etag *list) {
    size_t count = bnd_read_u8(r);
    if (count > BND_OBJECT_ETAGS_MAX) {
        r->failed = true;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t kind = bnd_read_u8(r);
        if (kind > BND_ETAG_WILDCARD) {
            r->failed = true;
        }
        list[i].kind = r->failed ? BND_ETAG_STRONG : (enum bnd_etag_kind)kind;
        list[i].value = bnd_read_bytes(r);
    }
    return r->failed ? 0 : count;
}

static void encode_conditions(struct bnd_buf *out, const struct objects_conditions *conditions) {
    const struct bnd_object_conditions none = bnd_object_conditions_none();
    const struct bnd_object_conditions *c = conditions == NULL ? &none : &conditions->view;
    bool before = c->uploaded_before_ms != BND_OBJECT_NO_TIME;
    bool after = c->uploaded_after_ms != BND_OBJECT_NO_TIME;
    unsigned bits = (c->match_given ? COND_MATCH : 0u) |
                    (c->not_match_given ? COND_NOT_MATCH : 0u) | (before ? COND_BEFORE : 0u) |
                    (after ? COND_AFTER : 0u) | (c->seconds ? COND_SECONDS : 0u);
    bnd_buf_u8(out, (uint8_t)bits);
    if (c->match_given) {
        encode_etags(out, c->match, c->match_count);
    }
    if (c->not_match_given) {
        encode_etags(out, c->not_match, c->not_match_count);
    }
    if (before) {
        bnd_buf_u64(out, c->uploaded_before_ms);
    }
    if (after) {
        bnd_buf_u64(out, c->uploaded_after_ms);
    }
}

static void read_conditions(struct bnd_reader *r, struct objects_conditions *out) {
    struct bnd_object_conditions *c = &out->view;
    *c = bnd_object_conditions_none();
    unsigned bits = bnd_read_u8(r);
    c->match_given = (bits & COND_MATCH) != 0;
    c->not_match_given = (bits & COND_NOT_MATCH) != 0;
    c->seconds = (bits & COND_SECONDS) != 0;
    c->match = out->match;
    c->not_match = out->not_match;
    if (c->match_given) {
        c->match_count = read_etags(r, out->match);
    }
    if (c->not_match_given) {
        c->not_match_count = read_etags(r, out->not_match);
    }
    if ((bits & COND_BEFORE) != 0) {
        c->uploaded_before_ms = bnd_read_u64(r);
    }
    if ((bits & COND_AFTER) != 0) {
        c->uploaded_after_ms = bnd_read_u64(r);
    }
    if (bits > 31) {
        r->failed = true;
    }
}

static void encode_own(struct bnd_buf *out, const struct objects_command *c) {
    switch (c->kind) {
    case OBJECTS_PUT:
        bnd_buf_bytes(out, c->manifest);
        break;
    case OBJECTS_DELETE_MANY:
        bnd_buf_u32(out, c->count);
        bnd_buf_bytes(out, c->items);
        break;
    case OBJECTS_CREATE:
        objects_upload_encode(out, &c->create);
        break;
    case OBJECTS_PART:
        objects_part_encode(out, &c->part);
        break;
    case OBJECTS_COMPLETE:
        bnd_buf_u64(out, c->part_min);
        bnd_buf_u8(out, c->equal_sizes ? 1 : 0);
        bnd_buf_bytes(out, c->manifest);
        bnd_buf_u32(out, c->count);
        bnd_buf_bytes(out, c->items);
        break;
    case OBJECTS_SEAL:
    case OBJECTS_UNSEAL:
        bnd_buf_u64(out, c->attempt);
        break;
    default:
        break;
    }
}

void objects_command_encode(struct bnd_buf *out, const struct objects_command *c) {
    unsigned shape = shape_of(c->kind);
    bnd_buf_u8(out, (uint8_t)c->kind);
    bnd_buf_u64(out, c->bucket);
    if ((shape & HAS_KEY) != 0) {
        bnd_buf_bytes(out, c->key);
    }
    if ((shape & HAS_UPLOAD) != 0) {
        bnd_buf_append(out, c->upload_id, BND_OBJECT_ID_BYTES);
    }
    if ((shape & HAS_CONDITIONS) != 0) {
        encode_conditions(out, c->conditions);
    }
    if ((shape & HAS_BODY) != 0) {
        BND_ASSERT(c->have_count <= BND_REPLICAS_MAX);
        bnd_buf_u64(out, c->deadline_ms);
        bnd_buf_u8(out, c->have_count);
        for (unsigned i = 0; i < c->have_count; i++) {
            bnd_buf_u64(out, c->have[i]);
        }
    }
    encode_own(out, c);
}

static void read_own(struct bnd_reader *r, struct objects_command *c) {
    switch (c->kind) {
    case OBJECTS_PUT:
        c->manifest = bnd_read_bytes(r);
        break;
    case OBJECTS_DELETE_MANY:
        c->count = bnd_read_u32(r);
        c->items = bnd_read_bytes(r);
        r->failed |= c->count == 0 || c->count > BND_OBJECT_DELETE_MAX;
        break;
    case OBJECTS_CREATE: {
        /* the record is the rest */
        int rv = objects_upload_decode(r->rest, &c->create);
        r->failed |= rv != 0;
        r->rest.len = 0;
        break;
    }
    case OBJECTS_PART:
        objects_part_read(r, &c->part);
        break;
    case OBJECTS_COMPLETE:
        c->part_min = bnd_read_u64(r);
        c->equal_sizes = bnd_read_u8(r) == 1;
        c->manifest = bnd_read_bytes(r);
        c->count = bnd_read_u32(r);
        c->items = bnd_read_bytes(r);
        r->failed |= c->count == 0 || c->count > BND_OBJECT_PARTS_MAX ||
                     c->items.len != (size_t)c->count * OBJECTS_PART_REF_BYTES;
        break;
    case OBJECTS_SEAL:
    case OBJECTS_UNSEAL:
        c->attempt = bnd_read_u64(r);
        r->failed |= c->attempt == 0;
        break;
    default:
        break;
    }
}

static struct bnd_slice read_key(struct bnd_reader *r) {
    struct bnd_slice key = bnd_read_bytes(r);
    if (key.len == 0 || key.len > BND_OBJECT_KEY_MAX) {
        r->failed = true;
    }
    return key;
}

int objects_command_decode(struct bnd_slice bytes, struct objects_conditions *room,
                           struct objects_command *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct objects_command c = {.conditions = room};
    uint8_t kind = bnd_read_u8(&r);
    if (kind < OBJECTS_PUT || kind > OBJECTS_TICK) {
        return BND_INVALID;
    }
    c.kind = (enum objects_command_kind)kind;
    c.bucket = bnd_read_u64(&r);
    unsigned shape = shape_of(kind);
    if ((shape & HAS_KEY) != 0) {
        c.key = read_key(&r);
    }
    if ((shape & HAS_UPLOAD) != 0) {
        c.upload_id = bnd_read_raw(&r, BND_OBJECT_ID_BYTES).data;
    }
    if ((shape & HAS_CONDITIONS) != 0) {
        read_conditions(&r, room);
    }
    if ((shape & HAS_BODY) != 0) {
        c.deadline_ms = bnd_read_u64(&r);
        c.have_count = bnd_read_u8(&r);
        r.failed |= c.have_count > BND_REPLICAS_MAX;
        for (unsigned i = 0; !r.failed && i < c.have_count; i++) {
            c.have[i] = bnd_read_u64(&r);
        }
    }
    if (!r.failed) {
        read_own(&r, &c);
    }
    if (!bnd_reader_done(&r)) {
        return BND_INVALID;
    }
    *out = c;
    return 0;
}

void objects_part_ref_encode(struct bnd_buf *out, const struct bnd_multipart_part_ref *ref) {
    bnd_buf_u32(out, ref->number);
    bnd_buf_append(out, ref->etag_md5, sizeof ref->etag_md5);
}

struct bnd_multipart_part_ref objects_part_ref_read(struct bnd_reader *r) {
    struct bnd_multipart_part_ref ref = {.number = bnd_read_u32(r)};
    bnd_read_into(r, ref.etag_md5, sizeof ref.etag_md5);
    return ref;
}

void objects_query_encode(struct bnd_buf *out, const struct objects_query *q) {
    bnd_buf_u8(out, (uint8_t)q->kind);
    bnd_buf_u64(out, q->bucket);
    if (q->kind == OBJECTS_HEAD || q->kind == OBJECTS_PARTS) {
        bnd_buf_bytes(out, q->key);
    }
    if (q->kind == OBJECTS_PARTS) {
        bnd_buf_append(out, q->upload_id, BND_OBJECT_ID_BYTES);
        bnd_buf_u32(out, q->after_part);
    }
    if (q->kind != OBJECTS_HEAD) {
        bnd_buf_u32(out, q->limit);
    }
    if (q->kind == OBJECTS_LIST || q->kind == OBJECTS_UPLOADS) {
        bnd_buf_u8(out, (uint8_t)q->include);
        bnd_buf_bytes(out, q->prefix);
        bnd_buf_bytes(out, q->delimiter);
        bnd_buf_bytes(out, q->after);
        bnd_buf_u8(out, q->after_prefix ? 1 : 0);
    }
    if (q->kind == OBJECTS_UPLOADS && q->upload_id != NULL) {
        bnd_buf_append(out, q->upload_id, BND_OBJECT_ID_BYTES);
    }
}

static bool query_ok(const struct objects_query *q) {
    if (q->kind != OBJECTS_HEAD && (q->limit == 0 || q->limit > BND_OBJECT_LIST_MAX)) {
        return false;
    }
    return q->prefix.len <= BND_OBJECT_KEY_MAX && q->delimiter.len <= BND_OBJECT_KEY_MAX &&
           q->after.len <= BND_OBJECT_KEY_MAX;
}

int objects_query_decode(struct bnd_slice bytes, struct objects_query *out) {
    struct bnd_reader r = bnd_reader(bytes);
    struct objects_query q = {0};
    uint8_t kind = bnd_read_u8(&r);
    if (kind < OBJECTS_HEAD || kind > OBJECTS_UPLOADS) {
        return BND_INVALID;
    }
    q.kind = (enum objects_query_kind)kind;
    q.bucket = bnd_read_u64(&r);
    if (kind == OBJECTS_HEAD || kind == OBJECTS_PARTS) {
        q.key = read_key(&r);
    }
    if (kind == OBJECTS_PARTS) {
        q.upload_id = bnd_read_raw(&r, BND_OBJECT_ID_BYTES).data;
        q.after_part = bnd_read_u32(&r);
    }
    if (kind != OBJECTS_HEAD) {
        q.limit = bnd_read_u32(&r);
    }
    if (kind == OBJECTS_LIST || kind == OBJECTS_UPLOADS) {
        q.include = bnd_read_u8(&r);
        q.prefix = bnd_read_bytes(&r);
        q.delimiter = bnd_read_bytes(&r);
        q.after = bnd_read_bytes(&r);
        q.after_prefix = bnd_read_u8(&r) == 1;
    }
    if (kind == OBJECTS_UPLOADS && r.rest.len > 0) {
        q.upload_id = bnd_read_raw(&r, BND_OBJECT_ID_BYTES).data;
    }
    if (!bnd_reader_done(&r) || !query_ok(&q)) {
        return BND_INVALID;
    }
    *out = q;
    return 0;
}

void objects_item_encode(struct bnd_buf *out, const struct objects_item *item) {
    bnd_buf_u8(out, item->is_prefix ? 1 : 0);
    bnd_buf_bytes(out, item->key);
    bnd_buf_bytes(out, item->value);
}

bool objects_item_next(struct bnd_reader *r, struct objects_item *out) {
    if (r->failed || r->rest.len == 0) {
        return false;
    }
    uint8_t is_prefix = bnd_read_u8(r);
    struct objects_item item = {.is_prefix = is_prefix == 1};
    item.key = bnd_read_bytes(r);
    item.value = bnd_read_bytes(r);
    if (is_prefix > 1 || item.key.len > BND_OBJECT_KEY_MAX ||
        (is_prefix == 1) != (item.value.len == 0)) {
        r->failed = true;
    }
    if (r->failed) {
        return false;
    }
    *out = item;
    return true;
}
