/* The Cloudflare API of R2 buckets, tokens and accounts, as wrangler calls it. */
#include "base/alloc.h"
#include "gateway/bucket_delete.h"
#include "gateway/cf/cf.h"
#include "gateway/s3/date.h"

#include <string.h>

#define LIST_LIMIT 1000u

/* ---- shared
 * --------------------------------------------------------------------------------------------- */

bool cf_account(struct rest_request *request) {
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    if (bnd_slice_eq(rest_segment(request, CF_ACCOUNT), view->settings.account)) {
        return true;
    }
    rest_fail(request, 404, CF_NO_ACCOUNT,
              "Could not route to this account: it is not this cluster's");
    return false;
}

static void fail_bucket(struct rest_request *request, int status) {
    switch (status) {
    case BND_NOTFOUND:
        rest_fail(request, 404, CF_NO_BUCKET, "The specified bucket does not exist.");
        return;
    case BND_INVALID:
        rest_fail(request, 400, CF_BUCKET_NAME, "The specified bucket name is not valid.");
        return;
    case BND_EXISTS:
        rest_fail(request, 409, CF_BUCKET_EXISTS,
                  "The bucket you tried to create already exists, and you own it.");
        return;
    case BND_NOTEMPTY:
        rest_fail(request, 409, CF_BUCKET_NOT_EMPTY,
                  "The bucket you tried to delete is not empty.");
        return;
    default:
        rest_fail_code(request, status);
    }
}

static void on_bucket(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_bucket_record bucket;
    status = status != 0 ? status : bnd_bucket_decode(reply, &bucket);
    if (status != 0) {
        fail_bucket(request, status);
        return;
    }
    bnd_catalog_bucket_learn(request->services->catalog, &bucket);
    request->bucket_found(request, &bucket);
}

void cf_bucket(struct rest_request *request, bool fresh,
               void (*found)(struct rest_request *request,
                             const struct bnd_bucket_record *bucket)) {
    struct bnd_slice name = rest_segment(request, CF_BUCKET);
    struct bnd_catalog_bucket known;
    request->bucket_found = found;
    if (!fresh && bnd_catalog_bucket_known(request->services->catalog, name, &known)) {
        struct bnd_bucket_record record = {.id = known.id,
                                           .segments = known.segments,
                                           .created_ms = known.created_ms,
                                           .name = name};
        found(request, &record);
        return;
    }
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKET, .a = name};
    request->call = (struct bnd_catalog_call){.cb = on_bucket, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

static json_t *bucket_json(const struct bnd_bucket_record *bucket) {
    char created[S3_DATE_TEXT];
    s3_date_iso(bucket->created_ms, created);
    return json_pack("{s:o, s:s, s:s, s:s}", "name",
                     json_stringn((const char *)bucket->name.data, bucket->name.len),
                     "creation_date", created, "location", "auto", "storage_class", "Standard");
}

/* ---- create, list, info, delete
 * ------------------------------------------------------------------------- */

static void on_created(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_bucket_record bucket;
    status = status != 0 ? status : bnd_bucket_decode(reply, &bucket);
    if (status != 0) {
        fail_bucket(request, status);
        return;
    }
    bnd_catalog_bucket_learn(request->services->catalog, &bucket);
    rest_reply(request, bucket_json(&bucket));
}

static void run_create(struct rest_request *request) {
    json_t *body = cf_account(request) ? rest_body_object(request) : NULL;
    if (body == NULL) {
        return;
    }
    const char *name = json_string_value(json_object_get(body, "name"));
    int rv = name == NULL ? BND_INVALID : 0;
    if (rv == 0) {
        struct bnd_catalog_command command = {.op = BND_CATALOG_BUCKET_CREATE,
                                              .a = bnd_slice_str(name)};
        request->call = (struct bnd_catalog_call){.cb = on_created, .data = request};
        rv = bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
    }
    json_decref(body);
    if (rv != 0) {
        fail_bucket(request, rv);
    }
}

static void on_listed(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_reader r = bnd_reader(reply);
    if (status != 0) {
        rest_fail_code(request, status);
        return;
    }
    (void)bnd_read_u8(&r); /* more than LIST_LIMIT: the reply says so by its length */
    uint32_t count = bnd_read_u32(&r);
    json_t *buckets = json_array();
    for (uint32_t i = 0; i < count && !r.failed; i++) {
        struct bnd_bucket_record bucket;
        if (bnd_bucket_decode(bnd_read_bytes(&r), &bucket) != 0) {
            r.failed = true;
            break;
        }
        (void)json_array_append_new(buckets,
                                    bucket_json(&bucket)); /* without memory it is missed below */
    }
    if (r.failed || json_array_size(buckets) != count) {
        json_decref(buckets);
        rest_fail_code(request, r.failed ? BND_CORRUPT : BND_NOMEM);
        return;
    }
    rest_reply(request, json_pack("{s:o}", "buckets", buckets));
}

static void run_list(struct rest_request *request) {
    struct bnd_slice after = {0};
    if (!cf_account(request)) {
        return;
    }
    (void)bnd_http_query_find(request->http->head->query, "start_after",
                              &after); /* names need no decoding */
    struct bnd_catalog_query query = {
        .kind = BND_CATALOG_QUERY_BUCKETS, .number = LIST_LIMIT, .b = after};
    request->call = (struct bnd_catalog_call){.cb = on_listed, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

static void reply_bucket(struct rest_request *request, const struct bnd_bucket_record *bucket) {
    rest_reply(request, bucket_json(bucket));
}

static void run_info(struct rest_request *request) {
    if (cf_account(request)) {
        cf_bucket(request, true, reply_bucket);
    }
}

static void on_deleted(struct bnd_bucket_delete *del, int status) {
    struct rest_request *request = del->data;
    if (status == 0) {
        rest_reply(request, json_object());
    } else {
        fail_bucket(request, status);
    }
}

static void clean_delete(struct rest_request *request) {
    bnd_free(request->data);
}

static void run_delete(struct rest_request *request) {
    if (!cf_account(request)) {
        return;
    }
    struct bnd_bucket_delete *del = bnd_zalloc(sizeof *del);
    if (del == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = del;
    request->clean = clean_delete;
    del->cb = on_deleted;
    del->data = request;
    int rv = bnd_bucket_delete(request->services, del, rest_segment(request, CF_BUCKET));
    if (rv != 0) {
        fail_bucket(request, rv);
    }
}

/* ---- who asks
 * ------------------------------------------------------------------------------------------- */

static void run_verify(struct rest_request *request) {
    rest_reply(request, json_pack("{s:s, s:s}", "id", "bindery", "status", "active"));
}

static json_t *account_json(struct rest_request *request) {
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    struct bnd_slice id = view->settings.account;
    return json_pack("{s:o, s:s}", "id", json_stringn((const char *)id.data, id.len), "name",
                     "bindery");
}

static void run_accounts(struct rest_request *request) {
    rest_reply(request, json_pack("[o]", account_json(request)));
}

static void run_memberships(struct rest_request *request) {
    rest_reply(request,
               json_pack("[{s:s, s:o}]", "id", "bindery", "account", account_json(request)));
}

/* Analytics that wrangler shows beside a bucket: there are none, which this form of answer says. */
static void run_graphql(struct rest_request *request) {
    static const char text[] = "{\"data\":{\"viewer\":{\"accounts\":[{}]}},\"errors\":null}";
    const struct bnd_http_header type = {bnd_slice_str("Content-Type"),
                                         bnd_slice_str("application/json")};
    struct bnd_http_response response = {.status = 200,
                                         .headers = &type,
                                         .header_count = 1,
                                         .body = bnd_slice(text, sizeof text - 1)};
    rest_respond(request, &response);
}

#define BUCKETS "/client/v4/accounts/*/r2/buckets"

const struct rest_route rest_cf_routes[] = {
    {BND_HTTP_GET, "/client/v4/user/tokens/verify", BND_PERM_OBJECT_READ, false, run_verify},
    {BND_HTTP_GET, "/client/v4/accounts/*/tokens/verify", BND_PERM_OBJECT_READ, false, run_verify},
    {BND_HTTP_GET, "/client/v4/accounts", BND_PERM_OBJECT_READ, false, run_accounts},
    {BND_HTTP_GET, "/client/v4/memberships", BND_PERM_OBJECT_READ, false, run_memberships},
    {BND_HTTP_POST, "/client/v4/graphql", BND_PERM_OBJECT_READ, true, run_graphql},
    {BND_HTTP_POST, BUCKETS, BND_PERM_BUCKET_ADMIN, true, run_create},
    {BND_HTTP_GET, BUCKETS, BND_PERM_OBJECT_READ, false, run_list},
    {BND_HTTP_GET, BUCKETS "/*", BND_PERM_OBJECT_READ, false, run_info},
    {BND_HTTP_DELETE, BUCKETS "/*", BND_PERM_BUCKET_ADMIN, false, run_delete},
    {BND_HTTP_PUT, BUCKETS "/*/objects/**", BND_PERM_OBJECT_WRITE, false, cf_object_put},
    {BND_HTTP_GET, BUCKETS "/*/objects/**", BND_PERM_OBJECT_READ, false, cf_object_get},
    {BND_HTTP_DELETE, BUCKETS "/*/objects/**", BND_PERM_OBJECT_WRITE, false, cf_object_delete},
    {0},
};
