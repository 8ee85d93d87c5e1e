/* POST .../query and .../raw: statements in, their results out. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/d1/query.h"

static void clean(struct rest_request *request) {
    struct d1_query *query = request->data;
    d1_query_free(query);
    bnd_free(query);
}

static void on_sent(struct d1_query *query, int status) {
    struct rest_request *request = query->data;
    if (status == 0) {
        rest_release(request);
    } else {
        rest_abort(request);
    }
}

static void on_ended(struct d1_query *query, enum d1_end end) {
    struct rest_request *request = query->data;
    if (end == D1_GONE) {
        rest_abort(request);
        return;
    }
    if (end == D1_REFUSED) {
        rest_fail_text(request, query->failure.status, (int)query->failure.code,
                       bnd_buf_slice(&query->text));
        return;
    }
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/json")},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
    };
    d1_query_send(query, headers, sizeof headers / sizeof headers[0], on_sent);
}

static void run(struct rest_request *request, enum bnd_sql_results results) {
    const struct bnd_token_record *token = rest_token(request);
    struct d1_query *query = NULL;
    if (request->services->sql == NULL) {
        rest_fail(request, 501, D1_UNAVAILABLE, "This process does not serve D1");
        return;
    }
    query = bnd_zalloc(sizeof *query);
    if (query == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    query->services = request->services;
    query->http = request->http;
    query->named = rest_segment(request, CF_D1_DATABASE);
    query->header = (struct bnd_sql_request){
        .results = results,
        .session = BND_SQL_NO_SESSION,
        .script = true,
        .read_only = token == NULL || (token->permissions & BND_PERM_D1_WRITE) == 0};
    query->rest = true;
    query->before = "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":";
    query->after = "}";
    query->ended = on_ended;
    query->data = request;
    request->data = query;
    request->clean = clean;
    d1_query_start(query);
}

void cf_d1_run_query(struct rest_request *request) {
    run(request, BND_SQL_OBJECTS);
}

void cf_d1_run_raw(struct rest_request *request) {
    run(request, BND_SQL_ROWS);
}
