#include "gateway/kv/rules.h"

#include "base/error.h"
#include "base/utf8.h"
#include "gateway/json_scan.h"
#include "kv/kv.h"

#include <stdarg.h>
#include <stdio.h>

/* The latest second that expirations may name: year 9999. */
#define SECONDS_MAX INT64_C(253402300799)
#define CACHE_TTL_MAX_S UINT32_MAX
#define DIGITS_MAX 18

struct kv_limits kv_limits_or_default(const struct kv_limits *wanted) {
    struct kv_limits limits = *wanted;
    const struct {
        uint64_t *field;
        uint64_t fallback;
    } fields[] = {
        {&limits.value_bytes_max, BND_KV_VALUE_MAX},
        {&limits.namespaces_max, 1000},
        {&limits.bulk_pairs_max, 10000},
        {&limits.bulk_bytes_max, 100000000},
        {&limits.bulk_get_max, 100},
        {&limits.ttl_min_s, 60},
        {&limits.cache_ttl_min_s, 30},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (*fields[i].field == 0) {
            *fields[i].field = fields[i].fallback;
        }
    }
    return limits;
}

bool kv_refuse(struct kv_refusal *out, unsigned status, enum kv_code code, const char *fmt, ...) {
    va_list args;
    out->status = status;
    out->code = code;
    va_start(args, fmt);
    (void)vsnprintf(out->text, sizeof out->text, fmt, args); /* cut, never overrun */
    va_end(args);
    for (char *c = out->text; *c != 0; c++) {
        if (*c < 0x20 || *c > 0x7e) {
            *c = '?';
        }
    }
    return false;
}

void kv_refuse_code(struct kv_refusal *out, int code, bool reads) {
    switch (bnd_code_class(code)) {
    case BND_CLASS_UNKNOWN:
        (void)kv_refuse(out, 503, KV_SERVICE_UNAVAILABLE,
                        "it is not known whether this was stored: try again");
        return;
    case BND_CLASS_RETRY:
        (void)kv_refuse(out, 503, KV_SERVICE_UNAVAILABLE, "%s",
                        reads ? "no replica can be reached"
                              : "too few replicas can be reached; a write may or may not have "
                                "been stored");
        return;
    case BND_CLASS_FULL:
        (void)kv_refuse(out, code == BND_NOSPACE ? 507 : 503, KV_SERVICE_UNAVAILABLE, "%s",
                        bnd_code_text(code));
        return;
    case BND_CLASS_CALLER:
        if (code == BND_NOTFOUND) {
            (void)kv_refuse(out, 404, KV_NO_NAMESPACE, "namespace not found");
        } else {
            (void)kv_refuse(out, 400, KV_BAD_REQUEST, "%s", bnd_code_text(code));
        }
        return;
    default:
        (void)kv_refuse(out, 500, KV_SERVICE_UNAVAILABLE, "%s", bnd_code_text(code));
    }
}

static bool length_check(struct bnd_slice key, struct kv_refusal *out) {
    return key.len <= BND_KV_KEY_MAX ||
           kv_refuse(out, 414, KV_KEY_TOO_LONG,
                     "UTF-8 encoded length of %zu exceeds key length limit of %u.", key.len,
                     BND_KV_KEY_MAX);
}

bool kv_key_check(struct bnd_slice key, struct kv_refusal *out) {
    if (key.len == 0) {
        return kv_refuse(out, 400, KV_BAD_KEY, "Key names must not be empty");
    }
    if (bnd_slice_eq(key, bnd_slice_str(".")) || bnd_slice_eq(key, bnd_slice_str(".."))) {
        return kv_refuse(out, 400, KV_BAD_KEY,
                         "Illegal key name \"%.*s\". Please use a different name.", (int)key.len,
                         (const char *)key.data);
    }
    if (!bnd_utf8_valid(key)) {
        return kv_refuse(out, 400, KV_BAD_KEY, "Key names must be valid UTF-8");
    }
    return length_check(key, out);
}

bool kv_prefix_check(struct bnd_slice prefix, struct kv_refusal *out) {
    if (!bnd_utf8_valid(prefix)) {
        return kv_refuse(out, 400, KV_BAD_KEY, "The prefix must be valid UTF-8");
    }
    return length_check(prefix, out);
}

bool kv_metadata_check(struct bnd_slice metadata, struct kv_refusal *out) {
    if (metadata.len > BND_KV_METADATA_MAX) {
        return kv_refuse(out, 413, KV_BAD_METADATA, "Metadata length of %zu exceeds limit of %u.",
                         metadata.len, BND_KV_METADATA_MAX);
    }
    if (!bnd_utf8_valid(metadata)) {
        return kv_refuse(out, 400, KV_BAD_METADATA, "Metadata must be valid UTF-8");
    }
    return metadata.len == 0 || gateway_json_valid(metadata) ||
           kv_refuse(out, 400, KV_BAD_METADATA, "Metadata must be valid JSON");
}

bool kv_value_check(const struct kv_limits *limits, uint64_t bytes, struct kv_refusal *out) {
    return bytes <= limits->value_bytes_max ||
           kv_refuse(out, 413, KV_TOO_LARGE, "Value length of %llu exceeds limit of %llu.",
                     (unsigned long long)bytes, (unsigned long long)limits->value_bytes_max);
}

/* An optional sign and decimal digits. */
static bool read_integer(struct bnd_slice text, int64_t *out) {
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    int64_t value = 0;
    if (text.len == at || text.len - at > DIGITS_MAX) {
        return false;
    }
    for (; at < text.len; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') {
            return false;
        }
        value = value * 10 + (text.data[at] - '0');
    }
    *out = negative ? -value : value;
    return true;
}

#define SHOWN_MAX 40
static int shown(struct bnd_slice text) {
    return (int)(text.len < SHOWN_MAX ? text.len : SHOWN_MAX);
}

static bool ttl_check(const struct kv_limits *limits, struct bnd_slice ttl, int64_t now_s,
                      int64_t *out_s, struct kv_refusal *out) {
    int64_t seconds = 0;
    const char *text = (const char *)ttl.data;
    if (!read_integer(ttl, &seconds) || seconds <= 0 || seconds > SECONDS_MAX - now_s) {
        return kv_refuse(out, 400, KV_BAD_EXPIRATION_TTL,
                         "Invalid expiration_ttl of %.*s. Please specify integer greater than 0.",
                         shown(ttl), text);
    }
    if ((uint64_t)seconds < limits->ttl_min_s) {
        return kv_refuse(out, 400, KV_BAD_EXPIRATION_TTL,
                         "Invalid expiration_ttl of %.*s. Expiration TTL must be at least %llu.",
                         shown(ttl), text, (unsigned long long)limits->ttl_min_s);
    }
    *out_s = now_s + seconds;
    return true;
}

static bool absolute_check(const struct kv_limits *limits, struct bnd_slice expiration,
                           int64_t now_s, int64_t *out_s, struct kv_refusal *out) {
    int64_t seconds = 0;
    const char *text = (const char *)expiration.data;
    if (!read_integer(expiration, &seconds) || seconds <= now_s || seconds > SECONDS_MAX) {
        return kv_refuse(out, 400, KV_BAD_EXPIRATION,
                         "Invalid expiration of %.*s. Please specify integer greater than the "
                         "current number of seconds since the UNIX epoch.",
                         shown(expiration), text);
    }
    if ((uint64_t)(seconds - now_s) < limits->ttl_min_s) {
        return kv_refuse(out, 400, KV_BAD_EXPIRATION,
                         "Invalid expiration of %.*s. Expiration times must be at least %llu "
                         "seconds in the future.",
                         shown(expiration), text, (unsigned long long)limits->ttl_min_s);
    }
    *out_s = seconds;
    return true;
}

bool kv_expiry_check(const struct kv_limits *limits, struct bnd_slice expiration,
                     struct bnd_slice expiration_ttl, uint64_t now_ms, uint64_t *expires_ms,
                     struct kv_refusal *out) {
    int64_t now_s = (int64_t)(now_ms / 1000);
    int64_t expires_s = 0;
    if (expiration_ttl.data != NULL) {
        if (!ttl_check(limits, expiration_ttl, now_s, &expires_s, out)) {
            return false;
        }
    } else if (expiration.data != NULL &&
               !absolute_check(limits, expiration, now_s, &expires_s, out)) {
        return false;
    }
    *expires_ms = (uint64_t)expires_s * 1000;
    return true;
}

bool kv_cache_ttl_check(const struct kv_limits *limits, struct bnd_slice cache_ttl,
                        uint32_t *seconds, struct kv_refusal *out) {
    int64_t value = 0;
    *seconds = 0;
    if (cache_ttl.data == NULL) {
        return true;
    }
    if (!read_integer(cache_ttl, &value) || value < (int64_t)limits->cache_ttl_min_s) {
        return kv_refuse(out, 400, KV_BAD_REQUEST,
                         "Invalid cache_ttl of %.*s. Cache TTL must be at least %llu.",
                         shown(cache_ttl), (const char *)cache_ttl.data,
                         (unsigned long long)limits->cache_ttl_min_s);
    }
    *seconds = value > CACHE_TTL_MAX_S ? CACHE_TTL_MAX_S : (uint32_t)value;
    return true;
}

bool kv_limit_check(struct bnd_slice limit, uint32_t min, const char *name, uint32_t *count,
                    struct kv_refusal *out) {
    int64_t value = 0;
    *count = BND_KV_LIST_MAX;
    if (limit.data == NULL) {
        return true;
    }
    const char *text = (const char *)limit.data;
    if (!read_integer(limit, &value) || value < (int64_t)min) {
        return kv_refuse(out, 400, KV_BAD_LIMIT,
                         "Invalid %s of %.*s. Please specify an integer greater than %u.", name,
                         shown(limit), text, min - 1);
    }
    if (value > (int64_t)BND_KV_LIST_MAX) {
        return kv_refuse(out, 400, KV_BAD_LIMIT,
                         "Invalid %s of %.*s. Please specify an integer less than %u.", name,
                         shown(limit), text, BND_KV_LIST_MAX);
    }
    *count = (uint32_t)value;
    return true;
}
