#include "gateway/d1/rules.h"

#include "base/error.h"

#include <stdio.h>

#define DATABASES_DEFAULT 50000
#define NAMED_MAX 64

const char d1_text_lost[] =
    "The transaction was committed, but its answer was lost with the node that executed it";

struct d1_limits d1_limits_or_default(const struct d1_limits *wanted) {
    struct d1_limits limits = *wanted;
    limits.databases_max = limits.databases_max == 0 ? DATABASES_DEFAULT : limits.databases_max;
    return limits;
}

static void tell(struct d1_failure *out, unsigned status, enum d1_code code, const char *text) {
    out->status = status;
    out->code = code;
    (void)snprintf(out->text, sizeof out->text, "%s", text); /* cut, never overrun */
}

static void tell_missing(struct bnd_slice named, struct d1_failure *out) {
    char shown[NAMED_MAX + 1];
    size_t len = named.len < NAMED_MAX ? named.len : NAMED_MAX;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = named.data[i];
        shown[i] = (char)(c < 0x20 || c > 0x7e ? '?' : c);
    }
    shown[len] = 0;
    out->status = 404;
    out->code = D1_NO_DATABASE;
    (void)snprintf(out->text, sizeof out->text, "The database %s could not be found",
                   shown); /* fits */
}

void d1_failure(int status, struct bnd_slice named, struct d1_failure *out) {
    if (status == BND_NOTFOUND) {
        tell_missing(named, out);
        return;
    }
    if (status == BND_TOOBIG) {
        tell(out, 413, D1_SQL, "The request or its answer is too large");
        return;
    }
    if (status == BND_LOCKED) { /* D1's words, which applications look for */
        tell(out, 400, D1_SQL, "Currently processing a long-running import.");
        return;
    }
    switch (bnd_code_class(status)) {
    case BND_CLASS_RETRY:
        tell(out, 503, D1_UNAVAILABLE, "Network connection lost.");
        return;
    case BND_CLASS_UNKNOWN:
        tell(out, 503, D1_UNAVAILABLE, "It is not known whether this was executed");
        return;
    case BND_CLASS_FULL:
        if (status == BND_NOSPACE) {
            tell(out, 507, D1_UNAVAILABLE,
                 "The disks of a majority of the replicas are nearly full; nothing was executed");
        } else {
            tell(out, 503, D1_UNAVAILABLE, "D1 DB is overloaded. Too many requests queued.");
        }
        return;
    case BND_CLASS_CALLER:
        tell(out, 400, D1_MALFORMED, bnd_code_text(status));
        return;
    default:
        tell(out, 500, D1_SQL, bnd_code_text(status));
    }
}

/* ---- answers
 * ------------------------------------------------------------------------------------------------
 */

json_t *d1_meta(struct bnd_slice answer) {
    static const char name[] = "\"meta\":"; /* in a string its quotes would be escaped */
    size_t len = sizeof name - 1;
    for (size_t at = answer.len; at >= len; at--) {
        if (memcmp(answer.data + at - len, name, len) == 0) {
            return json_loadb((const char *)answer.data + at, answer.len - at,
                              JSON_DISABLE_EOF_CHECK, NULL);
        }
    }
    return NULL;
}
