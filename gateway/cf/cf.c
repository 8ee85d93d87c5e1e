/* The routes of the API, who asks, and what all operations on objects share. */
#include "gateway/cf/cf.h"

#include "base/alloc.h"

/* ---- the account and the token
 * -------------------------------------------------------------------------- */

static void run_verify(struct rest_request *request) {
    const struct bnd_token_record *token = rest_token(request);
    if (token == NULL) {
        rest_fail(request, 401, REST_INVALID_TOKEN, "Invalid API Token");
        return;
    }
    rest_reply_json(request, 200,
                    json_pack("{s:b, s:[], s:[{s:i, s:s, s:n}], s:{s:o, s:s}}", "success", 1,
                              "errors", "messages", "code", 10000, "message",
                              "This API Token is valid and active", "type", "result", "id",
                              rest_text_json(token->id), "status", "active"));
}

static json_t *account_json(const struct rest_request *request) {
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    return json_pack("{s:o, s:s, s:s}", "id", rest_text_json(view->settings.account), "name",
                     "bindery", "type", "standard");
}

/* A list of one, and nothing on the pages after it. */
static void reply_single(struct rest_request *request, json_t *item) {
    rest_reply_json(request, 200,
                    json_pack("{s:b, s:[], s:[], s:[o], s:{s:i, s:i, s:i, s:i, s:i}}", "success", 1,
                              "errors", "messages", "result", item, "result_info", "page", 1,
                              "per_page", 20, "count", 1, "total_count", 1, "total_pages", 1));
}

static void run_accounts(struct rest_request *request) {
    reply_single(request, account_json(request));
}

static void run_account(struct rest_request *request) {
    rest_reply(request, account_json(request));
}

static void run_memberships(struct rest_request *request) {
    json_t *account = account_json(request);
    reply_single(request, json_pack("{s:O, s:s, s:o}", "id", json_object_get(account, "id"),
                                    "status", "accepted", "account", account));
}

/* Analytics, which there are none of: enough for `wrangler r2 bucket info` and `d1 info`. */
static void run_graphql(struct rest_request *request) {
    rest_reply_json(request, 200,
                    json_pack("{s:{s:{s:[{}]}}, s:n}", "data", "viewer", "accounts", "errors"));
}

/* ---- what operations on objects share
 * ------------------------------------------------------------------- */

void cf_fail(struct rest_request *request, int status) {
    switch (status) {
    case BND_NOTFOUND:
        rest_fail(request, 404, CF_NO_KEY, "The specified key does not exist.");
        return;
    case BND_TOOBIG:
        rest_fail(request, 413, CF_TOO_LARGE,
                  "Your proposed upload exceeds the maximum allowed object size.");
        return;
    case BND_LOCKED:
        rest_fail(request, 503, REST_UNAVAILABLE, "The bucket is being deleted; try again.");
        return;
    default:
        rest_fail_code(request, status);
    }
}

static void on_bucket(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct cf_op *op = request->data;
    struct bnd_bucket_record bucket;
    if (status == BND_NOTFOUND) {
        rest_fail(request, 404, CF_NO_BUCKET, "The specified bucket does not exist.");
        return;
    }
    status = status != 0 ? status : bnd_bucket_decode(reply, &bucket);
    if (status != 0) {
        rest_fail_code(request, status);
        return;
    }
    op->bucket = (struct bnd_bucket_ref){.id = bucket.id, .segments = bucket.segments};
    op->name.bucket = op->bucket;
    op->found(request);
}

static void clean(struct rest_request *request) {
    struct cf_op *op = request->data;
    if (op->clean != NULL) {
        op->clean(request);
    }
    bnd_free(op);
}

/* UTF-8 without NUL, 1 to 1,024 bytes: what S3's side takes, too. */
static bool key_valid(struct bnd_slice key) {
    json_t *text = json_stringn((const char *)key.data, key.len);
    bool ok = text != NULL && key.len <= BND_OBJECT_KEY_MAX && memchr(key.data, 0, key.len) == NULL;
    json_decref(text);
    return ok;
}

void cf_open(struct rest_request *request, size_t bytes,
             void (*found)(struct rest_request *request),
             void (*op_clean)(struct rest_request *request)) {
    struct bnd_slice name = rest_segment(request, CF_SEGMENT_BUCKET);
    struct bnd_slice key = rest_segments_from(request, CF_SEGMENT_KEY);
    struct cf_op *op = bnd_zalloc(bytes);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    op->name.key = key;
    op->found = found;
    op->clean = op_clean;
    request->data = op;
    request->clean = clean;
    if (!bnd_bucket_name_valid(name)) {
        rest_fail(request, 400, CF_BUCKET_NAME, "The specified bucket name is not valid.");
        return;
    }
    if (key.data != NULL && !key_valid(key)) {
        rest_fail(request, 400, CF_OBJECT_NAME, "The specified object name is not valid.");
        return;
    }
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKET, .a = name};
    request->call = (struct bnd_catalog_call){.cb = on_bucket, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

const char *cf_storage_class(struct bnd_slice stored) {
    return bnd_slice_eq(stored, bnd_slice_str("STANDARD_IA")) ? "InfrequentAccess" : "Standard";
}

json_t *cf_object_json(struct bnd_slice key, const struct bnd_object_meta *meta) {
    char etag[BND_OBJECT_ETAG_TEXT];
    char version[BND_OBJECT_ID_TEXT];
    bnd_object_etag_text(meta, etag);
    bnd_object_id_text(meta->version, version);
    return json_pack("{s:o, s:s, s:s, s:I, s:o, s:s}", "key", rest_text_json(key), "version",
                     version, "etag", etag, "size", (json_int_t)meta->size, "last_modified",
                     rest_time_json(meta->uploaded_ms), "storage_class",
                     cf_storage_class(meta->fields.storage_class));
}

/* ---- routes
 * --------------------------------------------------------------------------------------------- */

#define V4 "/client/v4"
#define ACCOUNT V4 "/accounts/*"
#define BUCKETS ACCOUNT "/r2/buckets"
#define OBJECTS BUCKETS "/*/objects"

const struct rest_route rest_cf_routes[] = {
    {BND_HTTP_GET, V4 "/user/tokens/verify", REST_ANY_TOKEN, REST_VERIFY, run_verify},
    {BND_HTTP_GET, V4 "/memberships", REST_ANY_TOKEN, 0, run_memberships},
    {BND_HTTP_GET, V4 "/accounts", REST_ANY_TOKEN, 0, run_accounts},
    {BND_HTTP_POST, V4 "/graphql", REST_ANY_TOKEN, REST_BODY, run_graphql},
    {BND_HTTP_GET, ACCOUNT, REST_ANY_TOKEN, REST_ACCOUNT, run_account},
    {BND_HTTP_GET, ACCOUNT "/tokens/verify", REST_ANY_TOKEN, REST_ACCOUNT | REST_VERIFY,
     run_verify},
    {BND_HTTP_GET, BUCKETS, BND_PERM_OBJECT_READ, REST_ACCOUNT, cf_run_bucket_list},
    {BND_HTTP_POST, BUCKETS, BND_PERM_BUCKET_ADMIN, REST_ACCOUNT | REST_BODY, cf_run_bucket_create},
    {BND_HTTP_GET, BUCKETS "/*", BND_PERM_OBJECT_READ, REST_ACCOUNT | REST_BUCKET,
     cf_run_bucket_get},
    {BND_HTTP_DELETE, BUCKETS "/*", BND_PERM_BUCKET_ADMIN, REST_ACCOUNT | REST_BUCKET,
     cf_run_bucket_delete},
    {BND_HTTP_GET, OBJECTS, BND_PERM_OBJECT_READ, REST_ACCOUNT | REST_BUCKET, cf_run_object_list},
    {BND_HTTP_GET, OBJECTS "/**", BND_PERM_OBJECT_READ, REST_ACCOUNT | REST_BUCKET,
     cf_run_object_get},
    {BND_HTTP_PUT, OBJECTS "/**", BND_PERM_OBJECT_WRITE, REST_ACCOUNT | REST_BUCKET,
     cf_run_object_put},
    {BND_HTTP_DELETE, OBJECTS "/**", BND_PERM_OBJECT_WRITE, REST_ACCOUNT | REST_BUCKET,
     cf_run_object_delete},
    {0},
};
