/* What the operations on D1 databases share, and the routes. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

void cf_d1_fail(struct rest_request *request, int status) {
    struct d1_failure failure;
    d1_failure(status, rest_segment(request, CF_D1_DATABASE), &failure);
    if (failure.status == 500) {
        bnd_log(request->services->env, BND_LOG_ERROR, "d1", "%.*s: %s", (int)request->path.len,
                (const char *)request->path.data, bnd_code_text(status));
    }
    rest_fail(request, failure.status, (int)failure.code, failure.text);
}

bool cf_d1_failed(struct rest_request *request, int status) {
    struct cf_d1_op *op = request->data;
    bool again = status == BND_NOTFOUND && d1_use_missing(&op->use);
    if (status != 0 && !again) {
        cf_d1_fail(request, status);
    }
    return status != 0;
}

json_t *cf_d1_database_json(const struct bnd_d1_database *database) {
    char uuid[BND_D1_UUID_TEXT + 1];
    bnd_d1_uuid_text(database->uuid, uuid);
    return json_pack("{s:s, s:o, s:s, s:o}", "uuid", uuid, "name", rest_text_json(database->name),
                     "version", "production", "created_at", rest_time_json(database->created_ms));
}

json_t *cf_d1_bookmark_json(const struct bnd_sql_bookmark *bookmark) {
    char text[BND_SQL_BOOKMARK_TEXT + 1];
    bnd_sql_bookmark_text(bookmark, text);
    return json_string(text);
}

/* ---- the database
 * ------------------------------------------------------------------------------------------------
 */

static void clean(struct rest_request *request) {
    struct cf_d1_op *op = request->data;
    if (op->clean != NULL) {
        op->clean(request);
    }
    bnd_free(op);
}

static void on_failed(struct d1_use *use, int status) {
    cf_d1_fail(use->data, status);
}

bool cf_d1_begin(struct rest_request *request, size_t bytes,
                 void (*op_clean)(struct rest_request *request)) {
    if (request->services->sql == NULL) {
        rest_fail(request, 501, D1_UNAVAILABLE, "This process does not serve D1");
        return false;
    }
    struct cf_d1_op *op = bnd_zalloc(bytes);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return false;
    }
    op->clean = op_clean;
    op->use = (struct d1_use){.catalog = request->services->catalog,
                              .sql = request->services->sql,
                              .named = rest_segment(request, CF_D1_DATABASE),
                              .failed = on_failed,
                              .data = request};
    request->data = op;
    request->clean = clean;
    return true;
}

void cf_d1_open(struct rest_request *request, const struct cf_d1_open *open) {
    if (cf_d1_begin(request, open->bytes, open->clean)) {
        struct cf_d1_op *op = request->data;
        op->use.act = open->act;
        d1_use_start(&op->use);
    }
}

/* ---- files
 * ------------------------------------------------------------------------------------------------
 */

#define FILES "/bindery/v1/d1/files"

json_t *cf_d1_file_url(const struct rest_request *request, const struct d1_file *file) {
    struct bnd_slice host = request->http->head->host;
    return json_sprintf("%s://%.*s" FILES "/%s", request->http->tls ? "https" : "http",
                        (int)host.len, (const char *)host.data, file->id);
}

void cf_d1_fail_busy(struct rest_request *request) {
    rest_fail(request, 503, D1_UNAVAILABLE, "Another request works with the file");
}

struct d1_file *cf_d1_file(struct rest_request *request, bool import) {
    struct d1_file *file = d1_file_find(&request->rest->files, rest_segment(request, CF_D1_FILE));
    if (file == NULL || (file->etag[0] != 0) != import || file->load != NULL) {
        rest_fail(request, 404, D1_MALFORMED, "There is no such file at this process");
        return NULL;
    }
    if (file->busy) {
        cf_d1_fail_busy(request);
        return NULL;
    }
    return file;
}

/* The URL is the permission. */
const struct rest_route rest_d1_file_routes[] = {
    {BND_HTTP_PUT, FILES "/*", 0, 0, cf_d1_run_file_put},
    {BND_HTTP_GET, FILES "/*", 0, 0, cf_d1_run_file_get},
    {0},
};

/* ---- routes
 * ------------------------------------------------------------------------------------------------
 */

#define DATABASES "/client/v4/accounts/*/d1/database"
#define ONE DATABASES "/*"

const struct rest_route rest_d1_routes[] = {
    {BND_HTTP_GET, DATABASES, BND_PERM_D1_READ, REST_ACCOUNT, cf_d1_run_list},
    {BND_HTTP_POST, DATABASES, BND_PERM_D1_ADMIN, REST_ACCOUNT | REST_BODY, cf_d1_run_create},
    {BND_HTTP_GET, ONE, BND_PERM_D1_READ, REST_ACCOUNT, cf_d1_run_get},
    {BND_HTTP_DELETE, ONE, BND_PERM_D1_ADMIN, REST_ACCOUNT, cf_d1_run_delete},
    {BND_HTTP_PUT, ONE, BND_PERM_D1_ADMIN, REST_ACCOUNT | REST_BODY, cf_d1_run_update},
    {BND_HTTP_PATCH, ONE, BND_PERM_D1_ADMIN, REST_ACCOUNT | REST_BODY, cf_d1_run_update},
    {BND_HTTP_POST, ONE "/query", BND_PERM_D1_READ, REST_ACCOUNT, cf_d1_run_query},
    {BND_HTTP_POST, ONE "/raw", BND_PERM_D1_READ, REST_ACCOUNT, cf_d1_run_raw},
    {BND_HTTP_GET, ONE "/pages", BND_PERM_D1_ADMIN, REST_ACCOUNT, cf_d1_run_pages},
    {BND_HTTP_GET, ONE "/sqlite", BND_PERM_D1_READ, REST_ACCOUNT, cf_d1_run_sqlite},
    {BND_HTTP_GET, ONE "/time_travel/bookmark", BND_PERM_D1_READ, REST_ACCOUNT, cf_d1_run_bookmark},
    {BND_HTTP_POST, ONE "/time_travel/restore", BND_PERM_D1_ADMIN, REST_ACCOUNT, cf_d1_run_restore},
    {BND_HTTP_POST, ONE "/time_travel/fork", BND_PERM_D1_ADMIN, REST_ACCOUNT, cf_d1_run_fork},
    {BND_HTTP_POST, ONE "/import", BND_PERM_D1_WRITE, REST_ACCOUNT | REST_BODY, cf_d1_run_import},
    {BND_HTTP_POST, ONE "/export", BND_PERM_D1_READ, REST_ACCOUNT | REST_BODY, cf_d1_run_export},
    {0},
};
