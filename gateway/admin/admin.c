/* Health and joining: /livez, /readyz, join tokens; the routes of gateway/admin. */
#include "base/alloc.h"
#include "catalog/issue.h"
#include "gateway/admin/admin_private.h"
#include "gateway/rest_request.h"

#include <string.h>

/* ---- health
 * --------------------------------------------------------------------------------------------- */

static void run_livez(struct rest_request *request) {
    rest_text(request, 200, bnd_slice_str("ok\n"));
}

static void run_readyz(struct rest_request *request) {
    BND_AUTO_BUF struct bnd_buf lines = {0};
    const struct bnd_gateway_services *services = request->services;
    bool ok = services->ready(services->owner, &lines);
    bool verbose = bnd_slice_starts(request->http->head->query, bnd_slice_str("verbose"));
    if (verbose || !ok) {
        rest_text(request, ok ? 200 : 503, bnd_buf_slice(&lines));
    } else {
        rest_text(request, 200, bnd_slice_str("ok\n"));
    }
}

/* ---- join tokens
 * ---------------------------------------------------------------------------------------- */

#define JOIN_TTL_DEFAULT_S 86400
#define JOIN_TTL_MAX_S 2592000

static void on_join_token(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    if (status != 0) {
        rest_fail_code(request, status);
    } else {
        rest_reply(request, json_pack("{s:s}", "token", request->data));
    }
}

static void clean_secret(struct rest_request *request) {
    if (request->data != NULL) {
        memset(request->data, 0, strlen(request->data));
        bnd_free(request->data);
    }
}

/* The text is kept with the request until group 0 has its hash: a token that nobody can redeem is
 * not shown. */
static int make_join_token(struct rest_request *request, json_int_t ttl_s) {
    struct bnd_env *env = request->services->env;
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    BND_AUTO_BUF struct bnd_buf record = {0};
    struct bnd_join_token token;
    char text[BND_JOIN_TOKEN_TEXT];
    int rv = bnd_join_token_make(env, view->settings.ca_cert, &token);
    if (rv != 0) {
        return rv;
    }
    bnd_join_token_text(&token, text);
    bnd_issue_join(bnd_slice_str(token.secret), bnd_wall_ms(env) + (uint64_t)ttl_s * 1000, &record);
    request->data = bnd_strdup(text);
    request->clean = clean_secret;
    if (record.failed || request->data == NULL) {
        return BND_NOMEM;
    }
    struct bnd_catalog_command command = {.op = BND_CATALOG_JOIN_TOKEN,
                                          .a = bnd_slice(token.id, sizeof token.id),
                                          .b = bnd_buf_slice(&record)};
    request->call = (struct bnd_catalog_call){.cb = on_join_token, .data = request};
    return bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
}

static void run_join_token(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    json_t *ttl = json_object_get(body, "ttl_s");
    json_int_t ttl_s = ttl == NULL ? JOIN_TTL_DEFAULT_S : json_integer_value(ttl);
    json_decref(body);
    if (ttl_s < 1 || ttl_s > JOIN_TTL_MAX_S) {
        rest_fail(request, 400, REST_BAD_REQUEST,
                  "ttl_s must be a number of seconds from 1 to 2592000");
        return;
    }
    int rv = make_join_token(request, ttl_s);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

const struct rest_route rest_admin_routes[] = {
    {BND_HTTP_GET, "/livez", 0, 0, run_livez},
    {BND_HTTP_GET, "/readyz", 0, 0, run_readyz},
    {BND_HTTP_GET, "/metrics", 0, 0, admin_run_metrics},
    {BND_HTTP_GET, "/bindery/v1/status", BND_PERM_CLUSTER_ADMIN, REST_LAST_VIEW, admin_run_status},
    {BND_HTTP_POST, "/bindery/v1/join-tokens", BND_PERM_CLUSTER_ADMIN, REST_BODY, run_join_token},
    {BND_HTTP_POST, "/bindery/v1/nodes/*/drain", BND_PERM_CLUSTER_ADMIN, REST_BODY,
     admin_run_node_drain},
    {BND_HTTP_POST, "/bindery/v1/nodes/*/undrain", BND_PERM_CLUSTER_ADMIN, REST_BODY,
     admin_run_node_undrain},
    {BND_HTTP_POST, "/bindery/v1/nodes/*/decommission", BND_PERM_CLUSTER_ADMIN, REST_BODY,
     admin_run_node_decommission},
    {BND_HTTP_POST, "/bindery/v1/nodes/*/replace", BND_PERM_CLUSTER_ADMIN, REST_BODY,
     admin_run_node_replace},
    {BND_HTTP_GET, "/bindery/v1/ca", BND_PERM_CLUSTER_ADMIN, 0, admin_run_ca},
    {BND_HTTP_POST, "/bindery/v1/ca/rotate", BND_PERM_CLUSTER_ADMIN, REST_BODY,
     admin_run_ca_rotate},
    {BND_HTTP_POST, "/bindery/v1/ca/finish", BND_PERM_CLUSTER_ADMIN, REST_BODY,
     admin_run_ca_finish},
    {0},
};
