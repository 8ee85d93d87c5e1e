/* What D1's two surfaces share of rules and texts: limits, codes, and how what is no success is
 * told. Internal to gateway/. Pure.
 *
 * Sources: https://developers.cloudflare.com/d1/platform/limits/ and
 * https://developers.cloudflare.com/d1/observability/debug-d1/ for the texts; the codes are those
 * that wrangler shows and looks at. */
#ifndef BND_GATEWAY_D1_RULES_H
#define BND_GATEWAY_D1_RULES_H

#include "base/bytes.h"

#include <jansson.h>

/* Cloudflare's codes of D1. */
enum d1_code {
    D1_MALFORMED = 7400,
    D1_NO_DATABASE = 7404,
    D1_TOO_MANY_DATABASES = 7406,
    D1_SQL = 7500,
    D1_UNAVAILABLE = 7501,
    D1_EXISTS = 7502,
};

/* What one process allows. */
struct d1_limits {
    uint64_t databases_max;
};

/* Fields of 0 take their default. */
struct d1_limits d1_limits_or_default(const struct d1_limits *wanted);

#define D1_FAILURE_TEXT 192

struct d1_failure {
    unsigned status; /* of HTTP */
    enum d1_code code;
    char text[D1_FAILURE_TEXT]; /* constant sentences, or with a name: ASCII */
};

/* What a code of sql/ or the catalog is told as. named: as the client called the database.
 *
 * Applications run a query again when its error says "Network connection lost": so that is said
 * where it is certain that nothing was executed, and nowhere else. */
void d1_failure(int status, struct bnd_slice named, struct d1_failure *out);

/* "meta" of an answer's last element, owned; NULL: there is none. The rows before it, which may be
 * megabytes, are not read. */
json_t *d1_meta(struct bnd_slice answer);

/* Of BND_SQL_LOST. */
extern const char d1_text_lost[];

#endif
