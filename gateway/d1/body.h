/* The JSON body of a query, as it comes, as a request for the database's leader (sql/request.h):
 *
 *   {"sql": "...", "params": [...]}           both surfaces
 *   [{"sql", "params"}, ...]                  the binding: batch() and exec()
 *   {"batch": [{"sql", "params"}, ...]}       REST
 *
 * Parameters: numbers, true and false (all bound as reals, as D1 does: ADR 0104), strings, null,
 * arrays of bytes. The text is never in memory as a whole: a blob of 2 MB comes as 8 MB of digits.
 * Strict: a member twice, a value of another type, a nested container are refused with a sentence
 * that says where. Unknown members are passed over. Internal to gateway/. Pure. */
#ifndef BND_GATEWAY_D1_BODY_H
#define BND_GATEWAY_D1_BODY_H

#include "gateway/json_scan.h"
#include "sql/request.h"

#define D1_WHY_TEXT 128
#define D1_TOKEN_MAX 128u /* of a member's name or a number's text */

struct d1_body {
    struct bnd_buf request; /* encoded; whole after the end */
    char why[D1_WHY_TEXT];  /* of BND_INVALID and BND_TOOBIG: what the client did wrong */
    /* private */
    bool rest;
    struct gateway_json json;
    uint8_t place, member;
    size_t skip; /* depth of the container that is passed over, 0: none */
    bool batch;
    bool has_sql, has_params, has_batch;
    struct bnd_buf sql, params, value;
    uint32_t params_count;
    uint32_t statements_count;
    uint8_t token_len;
    char token[D1_TOKEN_MAX];
};

/* header: what the request begins with; rest: which surface it is. */
void d1_body_init(struct d1_body *body, const struct bnd_sql_request *header, bool rest);
/* 0; BND_INVALID: not what a query is; BND_TOOBIG: above BND_SQL_REQUEST_MAX or
 * BND_SQL_STATEMENTS_MAX; BND_NOMEM. Not to be called again after an error. */
int d1_body_feed(struct d1_body *body, struct bnd_slice bytes);
/* The same, once all of it has been fed. */
int d1_body_end(struct d1_body *body);
void d1_body_free(struct d1_body *body);

/* Memory that it holds. */
size_t d1_body_bytes(const struct d1_body *body);

#endif
