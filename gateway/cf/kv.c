/* What the operations on what is in a KV namespace share, and the routes. */
#include "gateway/cf/kv.h"

#include "base/alloc.h"

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

void cf_kv_fail(struct rest_request *request, unsigned status, enum kv_code code, const char *what,
                const char *text) {
    char message[KV_REFUSAL_TEXT + 64];
    (void)snprintf(message, sizeof message, "%s: '%s'", what, text); /* cut, never overrun */
    rest_fail(request, status, (int)code, message);
}

void cf_kv_refuse(struct rest_request *request, const char *what,
                  const struct kv_refusal *refusal) {
    cf_kv_fail(request, refusal->status, refusal->code, what, refusal->text);
}

void cf_kv_no_key(struct rest_request *request, const char *what) {
    cf_kv_fail(request, 404, KV_NO_KEY, what, "key not found");
}

void cf_kv_fail_code(struct rest_request *request, const char *what, int status) {
    struct kv_refusal refusal;
    kv_refuse_code(&refusal, status, request->route->permission == BND_PERM_KV_READ);
    if (refusal.status == 500) {
        bnd_log(request->services->env, BND_LOG_ERROR, "kv", "%s over REST: %s", what,
                refusal.text);
    }
    cf_kv_refuse(request, what, &refusal);
}

void cf_kv_done(struct rest_request *request, enum bnd_kv_durability durability) {
    rest_reply(request, durability == BND_KV_LOCAL ? json_pack("{s:s}", "durability", "local")
                                                   : json_object());
}

/* ---- the namespace
 * ------------------------------------------------------------------------------------------------
 */

static void clean(struct rest_request *request) {
    struct cf_kv_op *op = request->data;
    if (op->clean != NULL) {
        op->clean(request);
    }
    bnd_free(op);
}

static bool find(struct rest_request *request) {
    struct cf_kv_op *op = request->data;
    const struct bnd_kv_namespace_record *record = bnd_catalog_find_kv_namespace(
        request->services->catalog, rest_segment(request, CF_KV_NAMESPACE));
    if (record == NULL) {
        return false;
    }
    op->namespace_id = record->id;
    op->found(request);
    return true;
}

static void on_view(struct gateway_view_wait *wait, int status) {
    struct rest_request *request = wait->data;
    struct cf_kv_op *op = request->data;
    if (!find(request)) {
        cf_kv_fail_code(request, op->what, status != 0 ? status : BND_NOTFOUND);
    }
}

void cf_kv_open(struct rest_request *request, const struct cf_kv_open *open) {
    struct bnd_slice id = rest_segment(request, CF_KV_NAMESPACE);
    struct kv_refusal refusal;
    struct cf_kv_op *op = bnd_zalloc(open->bytes);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    op->what = open->what;
    op->found = open->found;
    op->clean = open->clean;
    op->key = open->key ? rest_segments_from(request, CF_KV_KEY) : bnd_slice(NULL, 0);
    request->data = op;
    request->clean = clean;
    if (!bnd_kv_public_id_valid(id)) {
        cf_kv_fail(request, 400, KV_BAD_NAMESPACE_ID, op->what, "malformed namespace ID");
    } else if (open->key && !kv_key_check(op->key, &refusal)) {
        cf_kv_refuse(request, op->what, &refusal);
    } else if (!find(request)) { /* it may be new */
        op->wait = (struct gateway_view_wait){.cb = on_view, .data = request};
        int rv = gateway_view_wait(request->services->front, &op->wait);
        if (rv != 0) {
            cf_kv_fail_code(request, op->what, rv);
        }
    }
}

/* ---- routes
 * ------------------------------------------------------------------------------------------------
 */

#define NAMESPACES "/client/v4/accounts/*/storage/kv/namespaces"
#define ONE NAMESPACES "/*"

const struct rest_route rest_kv_routes[] = {
    {BND_HTTP_GET, NAMESPACES, BND_PERM_KV_READ, REST_ACCOUNT, cf_kv_run_namespace_list},
    {BND_HTTP_POST, NAMESPACES, BND_PERM_KV_ADMIN, REST_ACCOUNT | REST_BODY,
     cf_kv_run_namespace_create},
    {BND_HTTP_GET, ONE, BND_PERM_KV_READ, REST_ACCOUNT, cf_kv_run_namespace_get},
    {BND_HTTP_PUT, ONE, BND_PERM_KV_ADMIN, REST_ACCOUNT | REST_BODY, cf_kv_run_namespace_update},
    {BND_HTTP_DELETE, ONE, BND_PERM_KV_ADMIN, REST_ACCOUNT, cf_kv_run_namespace_delete},
    {BND_HTTP_GET, ONE "/keys", BND_PERM_KV_READ, REST_ACCOUNT, cf_kv_run_keys},
    {BND_HTTP_GET, ONE "/values/**", BND_PERM_KV_READ, REST_ACCOUNT, cf_kv_run_get},
    {BND_HTTP_PUT, ONE "/values/**", BND_PERM_KV_WRITE, REST_ACCOUNT, cf_kv_run_put},
    {BND_HTTP_DELETE, ONE "/values/**", BND_PERM_KV_WRITE, REST_ACCOUNT, cf_kv_run_delete},
    {BND_HTTP_GET, ONE "/metadata/**", BND_PERM_KV_READ, REST_ACCOUNT, cf_kv_run_metadata},
    {BND_HTTP_PUT, ONE "/bulk", BND_PERM_KV_WRITE, REST_ACCOUNT, cf_kv_run_bulk_put},
    {BND_HTTP_DELETE, ONE "/bulk", BND_PERM_KV_WRITE, REST_ACCOUNT, cf_kv_run_bulk_delete},
    {BND_HTTP_POST, ONE "/bulk/delete", BND_PERM_KV_WRITE, REST_ACCOUNT, cf_kv_run_bulk_delete},
    {BND_HTTP_POST, ONE "/bulk/get", BND_PERM_KV_READ, REST_ACCOUNT | REST_BODY,
     cf_kv_run_bulk_get},
    {0},
};
