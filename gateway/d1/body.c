#include "gateway/d1/body.h"

#include "base/assert.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Where in the body the scanner is. */
enum place {
    TOP,        /* before the first value */
    STATEMENTS, /* in the array of them */
    STATEMENT,  /* in a statement's object; of REST also the body's own */
    PARAMS,     /* in a statement's params */
    BLOB,       /* in a parameter that is an array of bytes */
};

enum member { OTHER, SQL, PARAMETERS, BATCH };

static int invalid(struct d1_body *body, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static int invalid(struct d1_body *body, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(body->why, sizeof body->why, fmt, args); /* cut, never overrun */
    va_end(args);
    return BND_INVALID;
}

static int too_big(struct d1_body *body, const char *text) {
    (void)snprintf(body->why, sizeof body->why, "%s", text); /* fits */
    return BND_TOOBIG;
}

static size_t encoded_bytes(const struct d1_body *body) {
    return body->request.len + body->sql.len + body->params.len + body->value.len;
}

static int check_room(struct d1_body *body) {
    if (body->request.failed || body->sql.failed || body->params.failed || body->value.failed) {
        return BND_NOMEM;
    }
    return encoded_bytes(body) <= BND_SQL_REQUEST_MAX
               ? 0
               : too_big(body, "the statements and their parameters are larger than 4 MiB");
}

/* ---- statements
 * ------------------------------------------------------------------------------------------------
 */

static void begin_statement(struct d1_body *body) {
    body->place = STATEMENT;
    body->has_sql = body->has_params = false;
    body->params_count = 0;
    bnd_buf_reset(&body->sql);
    bnd_buf_reset(&body->params);
}

/* The parameters were encoded as they came, since they may stand before the text. */
static int end_statement(struct d1_body *body) {
    if (!body->has_sql) {
        return invalid(body, "a statement has no \"sql\"");
    }
    if (body->statements_count == BND_SQL_STATEMENTS_MAX) {
        return too_big(body, "there are more than 10,000 statements");
    }
    bnd_sql_request_statement(&body->request, bnd_buf_slice(&body->sql), body->params_count);
    bnd_buf_append_slice(&body->request, bnd_buf_slice(&body->params));
    bnd_buf_reset(&body->sql);
    bnd_buf_reset(&body->params);
    body->statements_count++;
    return check_room(body);
}

static int put_param(struct d1_body *body, const struct bnd_sql_value *value) {
    bnd_sql_request_param(&body->params, value);
    body->params_count++;
    bnd_buf_reset(&body->value);
    return check_room(body);
}

/* ---- names
 * ------------------------------------------------------------------------------------------------
 */

/* Collects a token's pieces; one that is longer than any of interest is cut. */
static void collect(struct d1_body *body, struct bnd_slice bytes) {
    size_t room = sizeof body->token - body->token_len;
    size_t len = bytes.len < room ? bytes.len : room;
    if (len > 0) {
        memcpy(body->token + body->token_len, bytes.data, len);
        body->token_len = (uint8_t)(body->token_len + len);
    }
}

static struct bnd_slice take_token(struct d1_body *body) {
    struct bnd_slice token = bnd_slice(body->token, body->token_len);
    body->token_len = 0;
    return token;
}

static int begin_member(struct d1_body *body, struct bnd_slice name) {
    bool *seen = NULL;
    body->member = OTHER;
    if (bnd_slice_eq(name, bnd_slice_str("sql"))) {
        body->member = SQL;
        seen = &body->has_sql;
    } else if (bnd_slice_eq(name, bnd_slice_str("params"))) {
        body->member = PARAMETERS;
        seen = &body->has_params;
    } else if (body->rest && body->json.depth == 1 && bnd_slice_eq(name, bnd_slice_str("batch"))) {
        body->member = BATCH;
        seen = &body->has_batch;
    }
    if (seen != NULL && *seen) {
        return invalid(body, "\"%.*s\" is there twice", (int)name.len, (const char *)name.data);
    }
    if (seen != NULL) {
        *seen = true;
    }
    return 0;
}

/* ---- numbers
 * ------------------------------------------------------------------------------------------------
 */

/* JSON has one kind of number, JavaScript's: as in D1 it is bound as a real (ADR 0104). */
static int number_value(struct d1_body *body, const char *text, double *out) {
    *out = strtod(text, NULL); /* the scanner has seen that it is a number */
    return isfinite(*out) ? 0 : invalid(body, "a number is out of range");
}

static int end_number(struct d1_body *body) {
    struct bnd_slice token = take_token(body);
    char text[D1_TOKEN_MAX];
    double number = 0;
    if (token.len == sizeof text) {
        return invalid(body, "a number has more than %u digits", D1_TOKEN_MAX - 1);
    }
    memcpy(text, token.data, token.len);
    text[token.len] = 0;
    int rv = number_value(body, text, &number);
    if (rv != 0 || body->place == PARAMS) {
        const struct bnd_sql_value value = {.type = BND_SQL_REAL, .real = number};
        return rv != 0 ? rv : put_param(body, &value);
    }
    if (number < 0 || number > UINT8_MAX || number != (uint8_t)number) {
        return invalid(body, "parameter %u is an array of something else than bytes",
                       body->params_count + 1);
    }
    bnd_buf_u8(&body->value, (uint8_t)number);
    return check_room(body);
}

/* ---- values
 * ------------------------------------------------------------------------------------------------
 */

static int wrong_value(struct d1_body *body) {
    switch ((enum place)body->place) {
    case TOP:
        return invalid(body, body->rest ? "the body must be a JSON object"
                                        : "the body must be a statement or an array of them");
    case STATEMENTS:
        return invalid(body, "a statement must be an object");
    case STATEMENT:
        return invalid(body, body->member == SQL          ? "\"sql\" must be a string"
                             : body->member == PARAMETERS ? "\"params\" must be an array"
                                                          : "\"batch\" must be an array");
    case PARAMS:
        return invalid(body, "parameter %u is an object, which SQL does not have",
                       body->params_count + 1);
    case BLOB:
        return invalid(body, "parameter %u is an array of something else than bytes",
                       body->params_count + 1);
    }
    BND_UNREACHABLE("place in a body");
}

static bool passed_over(const struct d1_body *body) {
    return body->place == STATEMENT && body->member == OTHER;
}

static int on_string(struct d1_body *body, struct bnd_slice bytes, bool last) {
    if (body->place == STATEMENT && body->member == SQL) {
        bnd_buf_append_slice(&body->sql, bytes);
        return check_room(body);
    }
    if (body->place != PARAMS) {
        return wrong_value(body);
    }
    bnd_buf_append_slice(&body->value, bytes);
    struct bnd_sql_value value = {.type = BND_SQL_TEXT, .bytes = bnd_buf_slice(&body->value)};
    return last ? put_param(body, &value) : check_room(body);
}

static int on_number(struct d1_body *body, struct bnd_slice bytes, bool last) {
    if (body->place != PARAMS && body->place != BLOB) {
        return wrong_value(body);
    }
    collect(body, bytes);
    return last ? end_number(body) : 0;
}

static int on_literal(struct d1_body *body, enum gateway_json_event event) {
    if (body->place == STATEMENT && event == GATEWAY_JSON_NULL && body->member == PARAMETERS) {
        return 0; /* none */
    }
    if (body->place != PARAMS) {
        return wrong_value(body);
    }
    const struct bnd_sql_value value = {.type = event == GATEWAY_JSON_NULL ? BND_SQL_NULL
                                                                           : BND_SQL_REAL,
                                        .real = event == GATEWAY_JSON_TRUE ? 1 : 0};
    return put_param(body, &value);
}

/* ---- containers
 * ------------------------------------------------------------------------------------------------
 */

static int on_array_begin(struct d1_body *body) {
    switch ((enum place)body->place) {
    case TOP:
        if (body->rest) {
            return wrong_value(body);
        }
        body->batch = true;
        body->place = STATEMENTS;
        return 0;
    case STATEMENT:
        if (body->member == BATCH && !body->has_sql && !body->has_params) {
            body->batch = true;
            body->place = STATEMENTS;
            return 0;
        }
        if (body->member == BATCH) {
            return invalid(body, "\"batch\" and \"sql\", one at a time");
        }
        if (body->member != PARAMETERS) {
            return wrong_value(body);
        }
        body->place = PARAMS;
        return 0;
    case PARAMS:
        body->place = BLOB;
        return 0;
    default:
        return wrong_value(body);
    }
}

static int on_array_end(struct d1_body *body) {
    if (body->place == BLOB) {
        struct bnd_sql_value value = {.type = BND_SQL_BLOB, .bytes = bnd_buf_slice(&body->value)};
        body->place = PARAMS;
        return put_param(body, &value);
    }
    if (body->place == PARAMS) {
        body->place = STATEMENT;
    } else if (body->rest) { /* the end of "batch": back in the body's own object */
        begin_statement(body);
    }
    return 0;
}

static int on_object_begin(struct d1_body *body) {
    if (body->place != TOP && body->place != STATEMENTS) {
        return wrong_value(body);
    }
    begin_statement(body);
    return 0;
}

static int on_object_end(struct d1_body *body) {
    if (body->json.depth == 1 && body->batch) { /* the body's own object around a batch */
        return body->has_sql || body->has_params
                   ? invalid(body, "\"batch\" and \"sql\", one at a time")
                   : 0;
    }
    int rv = end_statement(body);
    body->place = STATEMENTS;
    return rv;
}

static int on_event(void *data, enum gateway_json_event event, struct bnd_slice bytes, bool last) {
    struct d1_body *body = data;
    bool begins = event == GATEWAY_JSON_OBJECT_BEGIN || event == GATEWAY_JSON_ARRAY_BEGIN;
    bool ends = event == GATEWAY_JSON_OBJECT_END || event == GATEWAY_JSON_ARRAY_END;
    if (body->skip > 0) {
        body->skip = ends && body->json.depth == body->skip ? 0 : body->skip;
        return 0;
    }
    if (event == GATEWAY_JSON_NAME) {
        collect(body, bytes);
        return last ? begin_member(body, take_token(body)) : 0;
    }
    if (passed_over(body) && !ends) {
        body->skip = begins ? body->json.depth : 0;
        return 0;
    }
    switch (event) {
    case GATEWAY_JSON_OBJECT_BEGIN:
        return on_object_begin(body);
    case GATEWAY_JSON_OBJECT_END:
        return on_object_end(body);
    case GATEWAY_JSON_ARRAY_BEGIN:
        return on_array_begin(body);
    case GATEWAY_JSON_ARRAY_END:
        return on_array_end(body);
    case GATEWAY_JSON_STRING:
        return on_string(body, bytes, last);
    case GATEWAY_JSON_NUMBER:
        return on_number(body, bytes, last);
    default:
        return on_literal(body, event);
    }
}

/* ---- all
 * ------------------------------------------------------------------------------------------------
 */

void d1_body_init(struct d1_body *body, const struct bnd_sql_request *header, bool rest) {
    *body = (struct d1_body){.rest = rest, .place = TOP};
    gateway_json_init(&body->json, on_event, body);
    bnd_sql_request_begin(&body->request, header);
}

static int not_json(struct d1_body *body, int rv) {
    return rv == BND_INVALID && body->why[0] == 0 ? invalid(body, "the body is not valid JSON")
                                                  : rv;
}

int d1_body_feed(struct d1_body *body, struct bnd_slice bytes) {
    return not_json(body, gateway_json_feed(&body->json, bytes));
}

int d1_body_end(struct d1_body *body) {
    int rv = not_json(body, gateway_json_end(&body->json));
    if (rv == 0 && body->statements_count == 0) {
        rv = invalid(body, "No SQL statements detected.");
    }
    if (rv == 0) {
        bnd_sql_request_end(&body->request, body->statements_count);
        rv = check_room(body);
    }
    return rv;
}

void d1_body_free(struct d1_body *body) {
    bnd_buf_free(&body->request);
    bnd_buf_free(&body->sql);
    bnd_buf_free(&body->params);
    bnd_buf_free(&body->value);
}

size_t d1_body_bytes(const struct d1_body *body) {
    return body->request.cap + body->sql.cap + body->params.cap + body->value.cap;
}
