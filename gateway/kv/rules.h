/* What a KV request may say, and how it is refused: keys, expirations, metadata, sizes. Internal to
 * gateway/. Pure. Both surfaces use it: the binding sends status and text (workerd shows the reason
 * phrase to the Worker), REST sends status, code and text in Cloudflare's envelope.
 *
 * Sources: https://developers.cloudflare.com/kv/platform/limits/, the texts of the runtime's own
 * implementation (miniflare's KV simulator), the codes of Cloudflare's API v4 (Workers KV
 * namespace errors). */
#ifndef BND_GATEWAY_KV_RULES_H
#define BND_GATEWAY_KV_RULES_H

#include "base/bytes.h"

/* A value that is superseded while it is read is asked for again so often. */
#define KV_AGAIN_MAX 5
/* Of metadata as it comes, before white space is taken out. */
#define KV_METADATA_RAW_MAX (8u << 10)

/* Cloudflare's codes of KV. */
enum kv_code {
    KV_SERVICE_UNAVAILABLE = 10001,
    KV_BAD_PAGE = 10007,
    KV_BAD_PER_PAGE = 10008,
    KV_NO_KEY = 10009,
    KV_BAD_NAMESPACE_ID = 10011,
    KV_BAD_VALUE = 10012,
    KV_NO_NAMESPACE = 10013,
    KV_NAMESPACE_EXISTS = 10014,
    KV_TOO_MANY_NAMESPACES = 10018,
    KV_NO_TITLE = 10019,
    KV_TOO_MANY_REQUESTS = 10022,
    KV_TOO_LARGE = 10024,
    KV_BAD_LIMIT = 10028,
    KV_BAD_REQUEST = 10029,
    KV_KEY_TOO_LONG = 10030,
    KV_BAD_EXPIRATION = 10033,
    KV_BAD_EXPIRATION_TTL = 10034,
    KV_BAD_CURSOR = 10041,
    KV_BAD_KEY = 10042,
    KV_BAD_ORDER = 10043,
    KV_BAD_DIRECTION = 10044,
    KV_BAD_METADATA = 10047,
};

/* What one process allows; the defaults are Cloudflare's. */
struct kv_limits {
    uint64_t value_bytes_max;
    uint64_t namespaces_max;
    uint64_t bulk_pairs_max; /* of one bulk put or delete */
    uint64_t bulk_bytes_max; /* of one bulk body */
    uint64_t bulk_get_max;   /* keys of one bulk get */
    uint64_t ttl_min_s;      /* also of an absolute expiration: so far ahead at least */
    uint64_t cache_ttl_min_s;
};

/* Fields of 0 take their default. */
struct kv_limits kv_limits_or_default(const struct kv_limits *wanted);

#define KV_REFUSAL_TEXT 192

/* A refused request. text has printable ASCII alone: it may become a reason phrase. */
struct kv_refusal {
    unsigned status;
    enum kv_code code;
    char text[KV_REFUSAL_TEXT];
};

/* Fills *out; bytes of the text that are not printable ASCII become '?'. Returns false, so that a
 * check can end with it. */
bool kv_refuse(struct kv_refusal *out, unsigned status, enum kv_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* What the store answered (base/error.h), not 0. reads: the request stores nothing. "Unknown" is
 * said so: a put that met a lack of replicas may have been stored. Status 500 is for the log, too.
 */
void kv_refuse_code(struct kv_refusal *out, int code, bool reads);

/* All return true, or false with *out filled. */

/* 1 to 512 bytes of UTF-8, neither "." nor "..". */
bool kv_key_check(struct bnd_slice key, struct kv_refusal *out);
/* At most as long as a key; may be empty. */
bool kv_prefix_check(struct bnd_slice prefix, struct kv_refusal *out);
/* At most 1,024 bytes of UTF-8 that are one JSON value; absent (no bytes) is well. */
bool kv_metadata_check(struct bnd_slice metadata, struct kv_refusal *out);
bool kv_value_check(const struct kv_limits *limits, uint64_t bytes, struct kv_refusal *out);
/* Parameters as text, data NULL where absent. A TTL wins over an expiration. *expires_ms: wall
 * clock, 0 for never. */
bool kv_expiry_check(const struct kv_limits *limits, struct bnd_slice expiration,
                     struct bnd_slice expiration_ttl, uint64_t now_ms, uint64_t *expires_ms,
                     struct kv_refusal *out);
/* *seconds: 0 where absent. */
bool kv_cache_ttl_check(const struct kv_limits *limits, struct bnd_slice cache_ttl,
                        uint32_t *seconds, struct kv_refusal *out);
/* min .. 1,000; absent: 1,000. name is what the surface calls it. */
bool kv_limit_check(struct bnd_slice limit, uint32_t min, const char *name, uint32_t *count,
                    struct kv_refusal *out);

#endif
