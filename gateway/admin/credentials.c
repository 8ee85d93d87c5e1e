/* Bearer tokens and S3 keys: /bindery/v1/tokens, /bindery/v1/keys. A secret is in the answer that
 * made it, and nowhere else. */
#include "base/alloc.h"
#include "catalog/issue.h"
#include "gateway/rest_request.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#define SEGMENT_ID 3 /* of /bindery/v1/tokens/<id> */

/* ---- permissions
 * ---------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t bit;
} permissions[] = {
    {"object_read", BND_PERM_OBJECT_READ},   {"object_write", BND_PERM_OBJECT_WRITE},
    {"bucket_admin", BND_PERM_BUCKET_ADMIN}, {"cluster_admin", BND_PERM_CLUSTER_ADMIN},
    {"kv_read", BND_PERM_KV_READ},           {"kv_write", BND_PERM_KV_WRITE},
    {"kv_admin", BND_PERM_KV_ADMIN},         {"d1_read", BND_PERM_D1_READ},
    {"d1_write", BND_PERM_D1_WRITE},         {"d1_admin", BND_PERM_D1_ADMIN},
};
#define PERMISSIONS (sizeof permissions / sizeof permissions[0])

/* Cloudflare's permission groups of R2, KV and D1
 * (https://developers.cloudflare.com/fundamentals/api/reference/permissions/), taken but not shown.
 */
static const struct {
    const char *name;
    uint32_t bits;
} groups[] = {
    {"Workers R2 Storage Read", BND_PERM_OBJECT_READ},
    {"Workers R2 Storage Write",
     BND_PERM_OBJECT_READ | BND_PERM_OBJECT_WRITE | BND_PERM_BUCKET_ADMIN},
    {"Workers R2 Storage Bucket Item Read", BND_PERM_OBJECT_READ},
    {"Workers R2 Storage Bucket Item Write", BND_PERM_OBJECT_READ | BND_PERM_OBJECT_WRITE},
    {"Workers KV Storage Read", BND_PERM_KV_READ},
    {"Workers KV Storage Write", BND_PERM_KV_READ | BND_PERM_KV_WRITE | BND_PERM_KV_ADMIN},
    {"D1 Read", BND_PERM_D1_READ},
    {"D1 Write", BND_PERM_D1_READ | BND_PERM_D1_WRITE | BND_PERM_D1_ADMIN},
};
#define GROUPS (sizeof groups / sizeof groups[0])

/* 0: no such name. */
static uint32_t permission_of(const char *name) {
    for (size_t i = 0; i < PERMISSIONS; i++) {
        if (strcmp(name, permissions[i].name) == 0) {
            return permissions[i].bit;
        }
    }
    for (size_t i = 0; i < GROUPS; i++) {
        if (strcasecmp(name, groups[i].name) == 0) {
            return groups[i].bits;
        }
    }
    return 0;
}

static json_t *permissions_json(uint32_t bits) {
    json_t *names = json_array();
    for (size_t i = 0; i < PERMISSIONS; i++) {
        if ((bits & permissions[i].bit) != 0 &&
            json_array_append_new(names, json_string(permissions[i].name)) != 0) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}

/* 0: not a list of at least one known name. */
static uint32_t permissions_read(const json_t *names) {
    uint32_t bits = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        uint32_t bit = name == NULL ? 0 : permission_of(name);
        if (bit == 0) {
            return 0;
        }
        bits |= bit;
    }
    return bits;
}

/* ---- what is asked for
 * ---------------------------------------------------------------------------------- */

struct wish {
    json_t *body; /* owned; the slices borrow from it */
    uint32_t permissions;
    struct bnd_slice label;
    struct bnd_slice bucket; /* empty: every bucket */
};

static struct bnd_slice text_in(const json_t *object, const char *name) {
    const json_t *text = json_object_get(object, name);
    return bnd_slice(json_string_value(text), json_string_length(text));
}

static bool text_or_absent(const json_t *object, const char *name) {
    const json_t *text = json_object_get(object, name);
    return text == NULL || json_is_string(text);
}

/* False: the request has been ended. */
static bool read_wish(struct rest_request *request, struct wish *out) {
    const char *problem = NULL;
    struct wish wish = {.body = rest_body_object(request)};
    if (wish.body == NULL) {
        return false;
    }
    wish.permissions = permissions_read(json_object_get(wish.body, "permissions"));
    wish.label = text_in(wish.body, "label");
    wish.bucket = text_in(wish.body, "bucket");
    if (wish.permissions == 0) {
        problem = "permissions must be a list of object_read, object_write, bucket_admin, "
                  "cluster_admin, kv_read, kv_write, kv_admin, d1_read, d1_write, d1_admin, or "
                  "Cloudflare's names: Workers R2 "
                  "Storage Read, Workers KV Storage Write, ...";
    } else if (wish.label.len > BND_LABEL_MAX || !text_or_absent(wish.body, "label")) {
        problem = "label must be a text of at most 128 bytes";
    } else if (!text_or_absent(wish.body, "bucket") ||
               (wish.bucket.len > 0 && !bnd_bucket_name_valid(wish.bucket))) {
        problem = "bucket must be a bucket's name";
    }
    if (problem != NULL) {
        json_decref(wish.body);
        rest_fail(request, 400, REST_BAD_REQUEST, problem);
        return false;
    }
    *out = wish;
    return true;
}

static struct bnd_issue_scope scope_of(const struct wish *wish) {
    return (struct bnd_issue_scope){
        .permissions = wish->permissions, .bucket = wish->bucket, .label = wish->label};
}

/* ---- calls
 * ---------------------------------------------------------------------------------------------- */

static void clean_result(struct rest_request *request) {
    json_decref(request->data);
}

static void on_done(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    if (status != 0) {
        rest_fail_code(request, status);
        return;
    }
    rest_reply(request, json_incref(request->data));
}

/* Proposes it; result (taken, NULL: no memory for it) is the answer once group 0 has it. */
static void propose(struct rest_request *request, enum bnd_catalog_op op, struct bnd_slice a,
                    json_t *result) {
    request->data = result;
    request->clean = clean_result;
    struct bnd_catalog_command command = {.op = op, .a = a};
    request->call = (struct bnd_catalog_call){.cb = on_done, .data = request};
    int rv = result == NULL || a.data == NULL
                 ? BND_NOMEM
                 : bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

static void drop(struct rest_request *request, enum bnd_catalog_op op) {
    struct bnd_slice id = rest_segment(request, SEGMENT_ID);
    propose(request, op, id, json_pack("{s:o}", "id", rest_text_json(id)));
}

/* ---- lists
 * ----------------------------------------------------------------------------------------------
 *
 * They come from group 0 itself, so that what was just made is listed and what was revoked is not,
 * whichever node is asked. */

/* The lists of a whole view, in their order (SPEC.md, "Catalog"). */
enum view_list { VIEW_NODES, VIEW_TOKENS, VIEW_KEYS };

struct list {
    enum view_list which;
    json_t *(*item)(struct bnd_slice record); /* NULL: corrupt, or no memory */
};

/* NULL: corrupt, or no memory. */
static json_t *list_json(const struct list *list, struct bnd_slice reply) {
    struct bnd_reader r = bnd_reader(reply);
    json_t *items = json_array();
    (void)bnd_read_u64(&r);   /* the revision */
    (void)bnd_read_bytes(&r); /* the settings */
    for (enum view_list at = VIEW_NODES; at <= list->which; at++) {
        uint32_t count = bnd_read_u32(&r);
        for (uint32_t i = 0; i < count && !r.failed; i++) {
            struct bnd_slice record = bnd_read_bytes(&r);
            bool wanted = at == list->which && !r.failed;
            if (wanted && json_array_append_new(items, list->item(record)) != 0) {
                r.failed = true;
            }
        }
    }
    if (r.failed) {
        json_decref(items);
        return NULL;
    }
    return items;
}

static void on_view(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    json_t *items = status != 0 ? NULL : list_json(request->data, reply);
    if (items == NULL) {
        rest_fail_code(request, status != 0 ? status : BND_CORRUPT);
        return;
    }
    rest_reply(request, items);
}

static void clean_list(struct rest_request *request) {
    bnd_free(request->data);
}

static void ask_view(struct rest_request *request, enum view_list which,
                     json_t *(*item)(struct bnd_slice record)) {
    struct list *list = bnd_zalloc(sizeof *list);
    if (list == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    *list = (struct list){.which = which, .item = item};
    request->data = list;
    request->clean = clean_list;
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_VIEW}; /* revision 0: all of it */
    request->call = (struct bnd_catalog_call){.cb = on_view, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

/* ---- tokens
 * --------------------------------------------------------------------------------------------- */

static json_t *token_json(struct bnd_slice record) {
    struct bnd_token_record token;
    return bnd_token_decode(record, &token) != 0
               ? NULL
               : json_pack("{s:o, s:o, s:o, s:o, s:o}", "id", rest_text_json(token.id), "label",
                           rest_text_json(token.label), "bucket", rest_text_json(token.bucket),
                           "permissions", permissions_json(token.permissions), "created",
                           rest_time_json(token.created_ms));
}

static void run_token_list(struct rest_request *request) {
    ask_view(request, VIEW_TOKENS, token_json);
}

static void run_token_create(struct rest_request *request) {
    struct wish wish;
    char id[BND_TOKEN_ID_TEXT];
    char token[BND_TOKEN_TEXT_LEN + 1];
    BND_AUTO_BUF struct bnd_buf record = {0};
    if (!read_wish(request, &wish)) {
        return;
    }
    if (wish.bucket.len > 0 && (wish.permissions & BND_PERM_CLUSTER_ADMIN) != 0) {
        json_decref(wish.body);
        rest_fail(request, 400, REST_BAD_REQUEST,
                  "a token of one bucket cannot have cluster_admin, which is about the cluster");
        return;
    }
    struct bnd_issue_scope scope = scope_of(&wish);
    bnd_issue_token(request->services->env, &scope, &record, id, token);
    json_t *result = json_pack("{s:s, s:s, s:o, s:o, s:o}", "id", id, "token", token, "label",
                               rest_text_json(wish.label), "bucket", rest_text_json(wish.bucket),
                               "permissions", permissions_json(wish.permissions));
    OPENSSL_cleanse(token, sizeof token);
    json_decref(wish.body);
    propose(request, BND_CATALOG_TOKEN_PUT,
            record.failed ? bnd_slice(NULL, 0) : bnd_buf_slice(&record), result);
}

/* A token cannot end itself: so the last one that may make others stays. */
static void run_token_delete(struct rest_request *request) {
    const struct bnd_token_record *token = rest_token(request);
    if (token == NULL || bnd_slice_eq(token->id, rest_segment(request, SEGMENT_ID))) {
        rest_fail(request, 409, REST_BAD_REQUEST, "a token cannot delete itself: use another one");
        return;
    }
    drop(request, BND_CATALOG_TOKEN_DELETE);
}

/* ---- keys
 * -----------------------------------------------------------------------------------------------
 */

static json_t *key_json(struct bnd_slice record) {
    struct bnd_key_record key;
    return bnd_key_decode(record, &key) != 0
               ? NULL
               : json_pack("{s:o, s:o, s:o, s:o, s:o}", "access_key_id",
                           rest_text_json(key.access_key), "label", rest_text_json(key.label),
                           "bucket", rest_text_json(key.bucket), "permissions",
                           permissions_json(key.permissions), "created",
                           rest_time_json(key.created_ms));
}

static void run_key_list(struct rest_request *request) {
    ask_view(request, VIEW_KEYS, key_json);
}

static void run_key_create(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    struct wish wish;
    char access[BND_ACCESS_KEY_TEXT];
    char secret[BND_SECRET_KEY_TEXT];
    BND_AUTO_BUF struct bnd_buf record = {0};
    if (!read_wish(request, &wish)) {
        return;
    }
    struct bnd_issue_scope scope = scope_of(&wish);
    int rv =
        bnd_issue_s3_key(services->env, services->cluster_key, &scope, &record, access, secret);
    if (rv != 0) {
        json_decref(wish.body);
        rest_fail_code(request, rv);
        return;
    }
    json_t *result =
        json_pack("{s:s, s:s, s:o, s:o, s:o}", "access_key_id", access, "secret_access_key", secret,
                  "label", rest_text_json(wish.label), "bucket", rest_text_json(wish.bucket),
                  "permissions", permissions_json(wish.permissions));
    OPENSSL_cleanse(secret, sizeof secret);
    json_decref(wish.body);
    propose(request, BND_CATALOG_KEY_PUT,
            record.failed ? bnd_slice(NULL, 0) : bnd_buf_slice(&record), result);
}

static void run_key_delete(struct rest_request *request) {
    drop(request, BND_CATALOG_KEY_DELETE);
}

#define TOKENS "/bindery/v1/tokens"
#define KEYS "/bindery/v1/keys"

const struct rest_route rest_credential_routes[] = {
    {BND_HTTP_GET, TOKENS, BND_PERM_CLUSTER_ADMIN, 0, run_token_list},
    {BND_HTTP_POST, TOKENS, BND_PERM_CLUSTER_ADMIN, REST_BODY, run_token_create},
    {BND_HTTP_DELETE, TOKENS "/*", BND_PERM_CLUSTER_ADMIN, 0, run_token_delete},
    {BND_HTTP_GET, KEYS, BND_PERM_CLUSTER_ADMIN, 0, run_key_list},
    {BND_HTTP_POST, KEYS, BND_PERM_CLUSTER_ADMIN, REST_BODY, run_key_create},
    {BND_HTTP_DELETE, KEYS "/*", BND_PERM_CLUSTER_ADMIN, 0, run_key_delete},
    {0},
};
