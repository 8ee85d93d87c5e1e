/* Requests of a D1 binding: POST /query and /execute, and the session's header both ways. Errors
 * are bodies: the binding of a released workerd looks at "error" and not at the status. */
#include "gateway/worker/worker_private.h"

#include "base/alloc.h"
#include "gateway/d1/query.h"
#include "gateway/json_scan.h"

#define SESSION "x-cf-d1-session-commit-token" /* both ways */

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

static void fail_text(struct worker_op *op, unsigned status, struct bnd_slice text) {
    BND_AUTO_BUF struct bnd_buf body = {0};
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/json")},
        {bnd_slice_str("Retry-After"), bnd_slice_str("1")},
    };
    bnd_buf_append_str(&body, "{\"success\":false,\"error\":");
    gateway_json_string(&body, text);
    bnd_buf_append_str(&body, "}");
    const struct bnd_http_response response = {.status = status,
                                               .headers = headers,
                                               .header_count = status == 503 ? 2 : 1,
                                               .body = bnd_buf_slice(&body)};
    if (body.failed) {
        worker_abort(op);
        return;
    }
    worker_audit(op, status);
    worker_respond(op, &response);
}

/* Nothing was executed. What may be asked again is told so in D1's words, which applications look
 * for (ADR 0104). */
static void fail(struct worker_op *op, unsigned status, const char *text) {
    BND_AUTO_BUF struct bnd_buf told = {0};
    bnd_buf_append_str(&told, status == 503 ? "Network connection lost. " : "");
    bnd_buf_append_str(&told, text);
    fail_text(op, status, bnd_buf_slice(&told));
}

static void clean(struct worker_op *op) {
    struct d1_query *query = op->data;
    d1_query_free(query);
    bnd_free(query);
}

static void on_sent(struct d1_query *query, int status) {
    struct worker_op *op = query->data;
    if (status == 0) {
        worker_release(op);
    } else {
        worker_abort(op);
    }
}

static void on_ended(struct d1_query *query, enum d1_end end) {
    struct worker_op *op = query->data;
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/json")},
        {bnd_slice_str(SESSION), bnd_slice_str(query->bookmark)},
    };
    switch (end) {
    case D1_ANSWERED:
        d1_query_send(query, headers, query->bookmark[0] == 0 ? 1 : 2, on_sent);
        return;
    case D1_REFUSED:
        fail_text(op, query->failure.status, bnd_buf_slice(&query->text));
        return;
    case D1_GONE:
        worker_abort(op);
        return;
    }
}

/* ---- the request
 * ------------------------------------------------------------------------------------------------
 */

/* NONE asks for nothing, and is answered as D1 answers it: with the rows as objects. */
static enum bnd_sql_results results_of(const struct worker_op *op) {
    struct bnd_slice format;
    bool rows = bnd_http_query_find(op->http->head->query, "resultsFormat", &format) &&
                bnd_slice_eq(format, bnd_slice_str("ROWS_AND_COLUMNS"));
    return rows ? BND_SQL_ROWS : BND_SQL_OBJECTS;
}

static void start(struct worker_op *op) {
    const struct bnd_slice *session = bnd_http_header(op->http, SESSION);
    struct bnd_sql_request header = {.results = results_of(op),
                                     .session = BND_SQL_NO_SESSION,
                                     .read_only = (op->permissions & BND_PERM_D1_WRITE) == 0};
    if (session != NULL && !d1_session_read(*session, &header)) {
        fail(op, 400, "D1_SESSION_ERROR: invalid bookmark or constraint");
        return;
    }
    struct d1_query *query = bnd_zalloc(sizeof *query);
    if (query == NULL) {
        fail(op, 503, bnd_code_text(BND_NOMEM));
        return;
    }
    query->services = op->services;
    query->http = op->http;
    query->named = op->named;
    query->header = header;
    query->before = "";
    query->after = "";
    query->ended = on_ended;
    query->data = op;
    op->data = query;
    op->clean = clean;
    d1_query_start(query);
}

static void run(struct worker_op *op) {
    const struct bnd_http_head *head = op->http->head;
    bool query = bnd_slice_eq(head->path, bnd_slice_str("/query"));
    bool execute = bnd_slice_eq(head->path, bnd_slice_str("/execute")); /* run(), exec() */
    if (head->method == BND_HTTP_POST && bnd_slice_eq(head->path, bnd_slice_str("/dump"))) {
        fail(op, 400, "dump() is of D1's alpha databases, which there are none of");
        return;
    }
    if (head->method != BND_HTTP_POST || (!query && !execute)) {
        fail(op, 404, "Not found");
        return;
    }
    op->http->operation = query ? WORKER_D1_QUERY : WORKER_D1_EXECUTE;
    if (op->services->sql == NULL) {
        fail(op, 501, "This process does not serve D1");
    } else if ((op->permissions & BND_PERM_D1_READ) == 0) {
        fail(op, 403, "The token may not do this with D1");
    } else {
        start(op);
    }
}

/* Names and uuids are looked up when they are used: databases are not in the view. */
static bool find(const struct bnd_gateway_services *services, struct bnd_slice named,
                 uint64_t *out_id) {
    *out_id = 0;
    return true;
}

const struct worker_kind worker_d1_kind = {
    .prefix = "d1:",
    .find = find,
    .missing = "The database could not be found",
    .run = run,
    .fail = fail,
};
