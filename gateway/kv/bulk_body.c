#include "gateway/kv/bulk_body.h"

#include "base/alloc.h"
#include "gateway/s3/base64.h"
#include "kv/kv.h"

#define PAIRS_FIRST 64u
#define PAIR_OVERHEAD 128u /* of the pair itself and its allocation */
#define NUMBER_MAX 40u
#define ASIDE_KEPT_BYTES ((size_t)1 << 20) /* memory of the buffer, for what comes next */

enum field {
    FIELD_OTHER,
    FIELD_KEY,
    FIELD_VALUE,
    FIELD_EXPIRATION,
    FIELD_TTL,
    FIELD_METADATA,
    FIELD_BASE64
};

static const char *const names[] = {
    [FIELD_KEY] = "key",
    [FIELD_VALUE] = "value",
    [FIELD_EXPIRATION] = "expiration",
    [FIELD_TTL] = "expiration_ttl",
    [FIELD_METADATA] = "metadata",
    [FIELD_BASE64] = "base64",
};

#define REFUSE(body, status_, code_, ...)                                                          \
    ((body)->refused = true, (void)kv_refuse(&(body)->refusal, (status_), (code_), __VA_ARGS__),   \
     BND_INVALID)

/* A check has filled the refusal: which pair it was goes before it. */
static int refuse_pair(struct kv_bulk_body *body) {
    struct kv_refusal why = body->refusal;
    return REFUSE(body, why.status, why.code, "pair %zu: %s", body->count, why.text);
}

/* What finds no room though nobody else holds anything never will. */
static int charge(struct kv_bulk_body *body, size_t bytes) {
    int rv = gateway_charge(body->front, bytes);
    if (rv != 0 && body->front->bytes == body->charged) {
        return REFUSE(body, 413, KV_TOO_LARGE,
                      "pair %zu: it finds no room in the %zu bytes that requests may hold here",
                      body->count, body->front->bytes_max);
    }
    body->charged += rv == 0 ? bytes : 0;
    return rv;
}

/* ---- a pair
 * ------------------------------------------------------------------------------------------------
 */

static void begin_pair(struct kv_bulk_body *body) {
    bnd_buf_reset(&body->key);
    bnd_buf_reset(&body->value);
    bnd_buf_reset(&body->metadata);
    bnd_buf_reset(&body->expiration);
    bnd_buf_reset(&body->ttl);
    body->has_key = false;
    body->has_value = false;
    body->base64 = false;
}

static struct bnd_slice text_or_absent(const struct bnd_buf *text) {
    return text->len > 0 ? bnd_buf_slice(text) : bnd_slice(NULL, 0);
}

static int grow(struct kv_bulk_body *body) {
    if (body->count < body->pairs_cap) {
        return 0;
    }
    size_t cap = body->pairs_cap == 0 ? PAIRS_FIRST : 2 * body->pairs_cap;
    struct kv_pair *pairs = bnd_realloc(body->pairs, cap * sizeof *pairs);
    if (pairs == NULL) {
        return BND_NOMEM;
    }
    body->pairs = pairs;
    body->pairs_cap = cap;
    return 0;
}

static struct bnd_slice put_part(uint8_t **at, struct bnd_slice bytes) {
    struct bnd_slice part = bnd_slice(*at, bytes.len);
    if (bytes.len > 0) {
        memcpy(*at, bytes.data, bytes.len);
    }
    *at += bytes.len;
    return part;
}

/* Room for so much more, counted before it is used. */
static int reserve(struct kv_bulk_body *body, struct bnd_buf *buf, size_t more) {
    size_t held = buf->cap;
    if (!bnd_buf_reserve(buf, more)) {
        return BND_NOMEM;
    }
    return charge(body, buf->cap - held);
}

static void swap(struct bnd_buf *a, struct bnd_buf *b) {
    struct bnd_buf other = *a;
    *a = *b;
    *b = other;
}

static int append_counted(struct kv_bulk_body *body, struct bnd_buf *to, struct bnd_slice bytes) {
    int rv = reserve(body, to, bytes.len);
    bnd_buf_append(to, bytes.data, rv == 0 ? bytes.len : 0);
    return rv;
}

/* A large value is not there twice: its buffer becomes the one that is put aside, with what was in
 * that before it. */
static int put_aside(struct kv_bulk_body *body, struct bnd_buf *value, struct bnd_slice metadata) {
    size_t before = body->aside.len;
    int rv = 0;
    if (value->len > before) {
        rv = reserve(body, value, before);
        if (rv == 0 && before > 0) {
            memmove(value->data + before, value->data, value->len);
            memcpy(value->data, body->aside.data, before);
        }
        value->len += rv == 0 ? before : 0;
        swap(value, &body->aside);
    } else {
        rv = append_counted(body, &body->aside, bnd_buf_slice(value));
    }
    return rv != 0 ? rv : append_counted(body, &body->aside, metadata);
}

void kv_bulk_body_taken(struct kv_bulk_body *body) {
    size_t cap = body->aside.cap;
    bnd_buf_reset(&body->aside);
    if (cap > ASIDE_KEPT_BYTES) {
        gateway_discharge(body->front, cap);
        body->charged -= cap;
        bnd_buf_free(&body->aside);
    }
}

static int keep(struct kv_bulk_body *body, struct bnd_buf *value, struct bnd_slice metadata,
                uint64_t expires_ms) {
    size_t more = value->len + metadata.len;
    bool here = more <= body->here_max - body->here_bytes;
    size_t bytes = body->key.len + (here ? more : 0);
    int rv = charge(body, bytes + PAIR_OVERHEAD);
    rv = rv != 0 ? rv : grow(body);
    uint8_t *space = rv != 0 ? NULL : bnd_alloc(bytes);
    if (space == NULL) {
        return rv != 0 ? rv : BND_NOMEM;
    }
    struct kv_pair *pair = &body->pairs[body->count++];
    uint8_t *at = space;
    *pair = (struct kv_pair){.space = space, .expires_ms = expires_ms, .aside = KV_PAIR_HERE};
    pair->key = put_part(&at, bnd_buf_slice(&body->key));
    if (here) {
        pair->metadata = put_part(&at, metadata);
        pair->value = put_part(&at, bnd_buf_slice(value));
        body->here_bytes += more;
        return 0;
    }
    pair->aside = body->aside_bytes;
    pair->metadata = bnd_slice(NULL, metadata.len);
    pair->value = bnd_slice(NULL, value->len);
    body->aside_bytes += more;
    return put_aside(body, value, metadata);
}

static int check_count(struct kv_bulk_body *body) {
    uint64_t max = body->front->kv_limits.bulk_pairs_max;
    return body->count < max
               ? 0
               : REFUSE(body, 400, KV_BAD_REQUEST, "You can send a maximum of %llu keys at a time",
                        (unsigned long long)max);
}

static int end_key(struct kv_bulk_body *body) {
    int rv = check_count(body);
    if (rv != 0) {
        return rv;
    }
    return kv_key_check(bnd_buf_slice(&body->key), &body->refusal)
               ? keep(body, &body->value, bnd_slice(NULL, 0), 0)
               : refuse_pair(body);
}

static int decode_value(struct kv_bulk_body *body, struct bnd_buf **out_value) {
    *out_value = &body->value;
    if (!body->base64) {
        return 0;
    }
    bnd_buf_reset(&body->decoded);
    int rv = reserve(body, &body->decoded, body->value.len / 4 * 3 + 3);
    if (rv != 0) {
        return rv;
    }
    if (!s3_base64_decode(bnd_buf_slice(&body->value), false, &body->decoded)) {
        return REFUSE(body, 400, KV_BAD_VALUE, "pair %zu: the value is not base64", body->count);
    }
    *out_value = &body->decoded;
    return body->decoded.failed ? BND_NOMEM : 0;
}

static int end_pair(struct kv_bulk_body *body) {
    const struct kv_limits *limits = &body->front->kv_limits;
    BND_AUTO_BUF struct bnd_buf metadata = {0};
    struct bnd_buf *value = NULL;
    uint64_t expires_ms = 0;
    int rv = check_count(body);
    if (rv == 0 && (!body->has_key || !body->has_value)) {
        return REFUSE(body, 400, body->has_key ? KV_BAD_VALUE : KV_BAD_KEY, "pair %zu has no %s",
                      body->count, body->has_key ? "value" : "key");
    }
    rv = rv != 0 ? rv : decode_value(body, &value);
    if (rv != 0) {
        return rv;
    }
    struct bnd_slice raw = bnd_buf_slice(&body->metadata);
    if (raw.len > KV_METADATA_RAW_MAX) { /* the capture was cut there */
        (void)kv_refuse(&body->refusal, 413, KV_BAD_METADATA,
                        "Metadata length exceeds limit of %u.", BND_KV_METADATA_MAX);
        return refuse_pair(body);
    }
    const uint8_t *colon = raw.len == 0 ? NULL : memchr(raw.data, ':', raw.len);
    if (colon != NULL) { /* it was captured from behind the member's name on */
        size_t skip = (size_t)(colon - raw.data) + 1;
        gateway_json_compact(&metadata, bnd_slice(raw.data + skip, raw.len - skip));
    }
    if (bnd_slice_eq(bnd_buf_slice(&metadata), bnd_slice_str("null"))) {
        bnd_buf_reset(&metadata);
    }
    if (!kv_key_check(bnd_buf_slice(&body->key), &body->refusal) ||
        !kv_value_check(limits, value->len, &body->refusal) ||
        !kv_metadata_check(bnd_buf_slice(&metadata), &body->refusal) ||
        !kv_expiry_check(limits, text_or_absent(&body->expiration), text_or_absent(&body->ttl),
                         body->now_ms, &expires_ms, &body->refusal)) {
        return refuse_pair(body);
    }
    return metadata.failed ? BND_NOMEM : keep(body, value, bnd_buf_slice(&metadata), expires_ms);
}

/* ---- events
 * ------------------------------------------------------------------------------------------------
 */

static int wrong_type(struct kv_bulk_body *body) {
    return REFUSE(body, 400, KV_BAD_REQUEST, "pair %zu: %s has the wrong type", body->count,
                  names[body->field]);
}

static int append(struct kv_bulk_body *body, struct bnd_buf *to, struct bnd_slice bytes,
                  uint64_t max) {
    if (bytes.len > max - to->len) { /* one more than the rule allows: the rule will say it */
        bytes.len = (size_t)(max - to->len);
    }
    return append_counted(body, to, bytes);
}

/* As text a value may be a third longer than what it stands for. */
static uint64_t value_text_max(const struct kv_bulk_body *body) {
    return (body->front->kv_limits.value_bytes_max + 2) / 3 * 4 + 8;
}

/* A member that is there twice is what it was the second time, as in JavaScript. */
static void begin_member(struct kv_bulk_body *body) {
    switch ((enum field)body->field) {
    case FIELD_KEY:
        body->has_key = false;
        break;
    case FIELD_VALUE:
        body->has_value = false;
        break;
    case FIELD_EXPIRATION:
        bnd_buf_reset(&body->expiration);
        break;
    case FIELD_TTL:
        bnd_buf_reset(&body->ttl);
        break;
    case FIELD_METADATA:
        bnd_buf_reset(&body->metadata);
        body->json.capture = &body->metadata;
        body->json.capture_max = KV_METADATA_RAW_MAX;
        break;
    default:
        break;
    }
}

static int on_name(struct kv_bulk_body *body, struct bnd_slice bytes, bool last) {
    size_t room = KV_BULK_NAME_MAX - body->name_len;
    size_t len = bytes.len < room ? bytes.len : room;
    if (len > 0) {
        memcpy(body->name + body->name_len, bytes.data, len);
        body->name_len = (uint8_t)(body->name_len + len);
    }
    if (!last) {
        return 0;
    }
    body->field = FIELD_OTHER;
    for (uint8_t i = FIELD_KEY; i <= FIELD_BASE64; i++) {
        if (bnd_slice_eq(bnd_slice(body->name, body->name_len), bnd_slice_str(names[i]))) {
            body->field = i;
        }
    }
    body->name_len = 0;
    begin_member(body);
    return 0;
}

static int on_text(struct kv_bulk_body *body, struct bnd_buf *to, enum gateway_json_event event,
                   struct bnd_slice bytes, uint64_t max, bool *has) {
    if (event != GATEWAY_JSON_STRING) {
        return wrong_type(body);
    }
    if (!*has) {
        bnd_buf_reset(to);
        *has = true;
    }
    return append(body, to, bytes, max);
}

static int on_number(struct kv_bulk_body *body, struct bnd_buf *to, enum gateway_json_event event,
                     struct bnd_slice bytes) {
    if (event == GATEWAY_JSON_NULL) {
        return 0;
    }
    return event == GATEWAY_JSON_NUMBER ? append(body, to, bytes, NUMBER_MAX) : wrong_type(body);
}

/* Of a member of a pair, outside of nested containers. */
static int on_member(struct kv_bulk_body *body, enum gateway_json_event event,
                     struct bnd_slice bytes) {
    switch ((enum field)body->field) {
    case FIELD_KEY:
        return on_text(body, &body->key, event, bytes, BND_KV_KEY_MAX + 1, &body->has_key);
    case FIELD_VALUE:
        return on_text(body, &body->value, event, bytes, value_text_max(body), &body->has_value);
    case FIELD_EXPIRATION:
        return on_number(body, &body->expiration, event, bytes);
    case FIELD_TTL:
        return on_number(body, &body->ttl, event, bytes);
    case FIELD_BASE64:
        body->base64 = event == GATEWAY_JSON_TRUE;
        return event == GATEWAY_JSON_TRUE || event == GATEWAY_JSON_FALSE ||
                       event == GATEWAY_JSON_NULL
                   ? 0
                   : wrong_type(body);
    default:
        return 0;
    }
}

static bool opens(enum gateway_json_event event) {
    return event == GATEWAY_JSON_OBJECT_BEGIN || event == GATEWAY_JSON_ARRAY_BEGIN;
}

static bool closes(enum gateway_json_event event) {
    return event == GATEWAY_JSON_OBJECT_END || event == GATEWAY_JSON_ARRAY_END;
}

static int on_pair_event(struct kv_bulk_body *body, enum gateway_json_event event,
                         struct bnd_slice bytes, bool last) {
    size_t depth = body->json.depth;
    bool nested = depth > 3 || (depth == 3 && !opens(event) && !closes(event));
    if (depth == 2 && event == GATEWAY_JSON_OBJECT_END) {
        return end_pair(body);
    }
    if (depth == 2 && event == GATEWAY_JSON_NAME) {
        return on_name(body, bytes, last);
    }
    if (body->field == FIELD_METADATA && !nested && last && !opens(event)) {
        body->json.capture = NULL; /* its value has ended */
    }
    if (nested || (depth == 3 && closes(event))) {
        return 0;
    }
    return on_member(body, event, bytes);
}

static int on_key_event(struct kv_bulk_body *body, enum gateway_json_event event,
                        struct bnd_slice bytes, bool last) {
    if (event != GATEWAY_JSON_STRING) {
        return REFUSE(body, 400, KV_BAD_REQUEST, "The body must be a JSON array of keys");
    }
    int rv = append(body, &body->key, bytes, BND_KV_KEY_MAX + 1);
    if (rv == 0 && last) {
        rv = end_key(body);
        bnd_buf_reset(&body->key);
    }
    return rv;
}

static int on_event(void *data, enum gateway_json_event event, struct bnd_slice bytes, bool last) {
    struct kv_bulk_body *body = data;
    size_t depth = body->json.depth;
    if (!body->begun) {
        body->begun = true;
        return event == GATEWAY_JSON_ARRAY_BEGIN
                   ? 0
                   : REFUSE(body, 400, KV_BAD_REQUEST, "The body must be a JSON array");
    }
    if (depth == 1 && event == GATEWAY_JSON_ARRAY_END) {
        return 0;
    }
    if (body->deleting) {
        return on_key_event(body, event, bytes, last);
    }
    if (depth == 2 && event == GATEWAY_JSON_OBJECT_BEGIN) {
        begin_pair(body);
        return 0;
    }
    if (depth == 1 || (depth == 2 && event == GATEWAY_JSON_ARRAY_BEGIN)) {
        return REFUSE(body, 400, KV_BAD_REQUEST, "The body must be a JSON array of objects");
    }
    return on_pair_event(body, event, bytes, last);
}

/* ---- all
 * ------------------------------------------------------------------------------------------------
 */

void kv_bulk_body_init(struct kv_bulk_body *body) {
    gateway_json_init(&body->json, on_event, body);
}

static int explain(struct kv_bulk_body *body, int rv) {
    return rv == BND_INVALID && !body->refused
               ? REFUSE(body, 400, KV_BAD_REQUEST, "The body is not valid JSON")
               : rv;
}

int kv_bulk_body_feed(struct kv_bulk_body *body, struct bnd_slice bytes) {
    uint64_t max = body->front->kv_limits.bulk_bytes_max;
    if (bytes.len > max - body->bytes) {
        return REFUSE(body, 413, KV_TOO_LARGE, "The body is larger than %llu bytes",
                      (unsigned long long)max);
    }
    body->bytes += bytes.len;
    size_t held = body->metadata.cap; /* grows in there */
    int rv = explain(body, gateway_json_feed(&body->json, bytes));
    return rv == 0 ? charge(body, body->metadata.cap - held) : rv;
}

int kv_bulk_body_end(struct kv_bulk_body *body) {
    return explain(body, gateway_json_end(&body->json));
}

void kv_bulk_body_settle(struct kv_bulk_body *body) {
    struct bnd_buf *const bufs[] = {&body->key, &body->value,   &body->metadata, &body->expiration,
                                    &body->ttl, &body->decoded, &body->aside};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
        gateway_discharge(body->front, bufs[i]->cap);
        body->charged -= bufs[i]->cap;
        bnd_buf_free(bufs[i]);
    }
}

void kv_bulk_body_free(struct kv_bulk_body *body) {
    for (size_t i = 0; i < body->count; i++) {
        bnd_free(body->pairs[i].space);
    }
    bnd_free(body->pairs);
    bnd_buf_free(&body->key);
    bnd_buf_free(&body->value);
    bnd_buf_free(&body->metadata);
    bnd_buf_free(&body->expiration);
    bnd_buf_free(&body->ttl);
    bnd_buf_free(&body->decoded);
    bnd_buf_free(&body->aside);
    gateway_discharge(body->front, body->charged);
}
