/* KV namespaces: list, create, get, rename, delete.
 *
 * The answers come from group 0 itself, so that what was just made is listed whichever node is
 * asked. Pages are numbered, and the page after the last is empty: pagers ask until they see it. */
#include "base/alloc.h"
#include "gateway/cf/kv.h"
#include "gateway/s3/query.h"

#include <stdlib.h>

#define PER_PAGE_DEFAULT 20u
#define PER_PAGE_MAX 1000u
#define PAGE_MAX UINT64_C(1000000000)
#define MAP_WAIT_NS (10000 * BND_MS)

/* "consistency" is ours: "eventual" or "local" (ADR 0090). */
static json_t *namespace_json(const struct bnd_kv_namespace_record *record) {
    return json_pack("{s:o, s:o, s:b, s:s}", "id", rest_text_json(record->public_id), "title",
                     rest_text_json(record->title), "supports_url_encoding", 1, "consistency",
                     record->consistency == BND_KV_EVENTUAL ? "eventual" : "local");
}

static void clean_data(struct rest_request *request) {
    bnd_free(request->data);
}

/* ---- list
 * ------------------------------------------------------------------------------------------------
 */

struct list_op {
    uint64_t page, per_page;
    bool by_title;
    bool descending;
    struct s3_query query;
    uint8_t space[];
};

static int by_id(const void *a, const void *b) {
    const struct bnd_kv_namespace_record *x = a;
    const struct bnd_kv_namespace_record *y = b;
    return bnd_slice_cmp(x->public_id, y->public_id);
}

static int by_title(const void *a, const void *b) {
    const struct bnd_kv_namespace_record *x = a;
    const struct bnd_kv_namespace_record *y = b;
    return bnd_slice_cmp(x->title, y->title);
}

static json_t *page_json(const struct list_op *op, struct bnd_kv_namespace_record *records,
                         uint32_t count) {
    qsort(records, count, sizeof *records, op->by_title ? by_title : by_id);
    json_t *items = json_array();
    uint64_t from = (op->page - 1) * op->per_page;
    for (uint64_t i = from; i < count && i < from + op->per_page; i++) {
        uint64_t at = op->descending ? count - 1 - i : i;
        if (json_array_append_new(items, namespace_json(&records[at])) != 0) {
            json_decref(items);
            return NULL;
        }
    }
    json_int_t here = (json_int_t)json_array_size(items);
    return json_pack("{s:b, s:[], s:[], s:o, s:{s:I, s:I, s:I, s:I, s:I}}", "success", 1, "errors",
                     "messages", "result", items, "result_info", "page", (json_int_t)op->page,
                     "per_page", (json_int_t)op->per_page, "count", here, "total_count",
                     (json_int_t)count, "total_pages",
                     (json_int_t)((count + op->per_page - 1) / op->per_page));
}

static void on_namespaces(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_reader r = bnd_reader(reply);
    if (status != 0) {
        cf_kv_fail_code(request, "list namespaces", status);
        return;
    }
    (void)bnd_read_u64(&r); /* the next id */
    uint32_t count = bnd_read_u32(&r);
    count = count <= r.rest.len ? count : 0; /* each takes more than a byte */
    struct bnd_kv_namespace_record *records = bnd_calloc(count + 1, sizeof *records);
    status = records == NULL ? BND_NOMEM : 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        status = bnd_kv_namespace_decode(bnd_read_bytes(&r), &records[i]);
    }
    if (status == 0 && bnd_reader_done(&r)) {
        rest_reply_json(request, 200, page_json(request->data, records, count));
    } else {
        cf_kv_fail_code(request, "list namespaces", status != 0 ? status : BND_CORRUPT);
    }
    bnd_free(records);
}

/* One of two words, the first if absent. */
static bool word(const struct s3_query *query, const char *name, const char *const words[2],
                 bool *second) {
    struct bnd_slice value = s3_query_get(query, name);
    *second = bnd_slice_eq(value, bnd_slice_str(words[1]));
    return value.data == NULL || *second || bnd_slice_eq(value, bnd_slice_str(words[0]));
}

static bool list_options(struct list_op *op, struct bnd_slice raw, struct kv_refusal *refusal) {
    static const char *const orders[] = {"id", "title"};
    static const char *const directions[] = {"asc", "desc"};
    const char *why = NULL;
    op->page = 1;
    op->per_page = PER_PAGE_DEFAULT;
    if (s3_query_parse(raw, op->space, &op->query, &why) != S3_OK) {
        return kv_refuse(refusal, 400, KV_BAD_REQUEST, "%s", why);
    }
    if (!s3_query_number(&op->query, "page", PAGE_MAX, &op->page) || op->page == 0) {
        return kv_refuse(refusal, 400, KV_BAD_PAGE, "malformed page argument");
    }
    if (!s3_query_number(&op->query, "per_page", PER_PAGE_MAX, &op->per_page) ||
        op->per_page == 0) {
        return kv_refuse(refusal, 400, KV_BAD_PER_PAGE, "malformed per_page argument");
    }
    if (!word(&op->query, "order", orders, &op->by_title)) {
        return kv_refuse(refusal, 400, KV_BAD_ORDER, "invalid order");
    }
    return word(&op->query, "direction", directions, &op->descending) ||
           kv_refuse(refusal, 400, KV_BAD_DIRECTION, "invalid direction");
}

void cf_kv_run_namespace_list(struct rest_request *request) {
    struct bnd_slice raw = request->http->head->query;
    struct kv_refusal refusal;
    struct list_op *op = bnd_zalloc(sizeof *op + raw.len + 1);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = op;
    request->clean = clean_data;
    if (!list_options(op, raw, &refusal)) {
        cf_kv_refuse(request, "list namespaces", &refusal);
        return;
    }
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_KV_NAMESPACES};
    request->call = (struct bnd_catalog_call){.cb = on_namespaces, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        cf_kv_fail_code(request, "list namespaces", rv);
    }
}

/* ---- create, rename, set
 * ------------------------------------------------------------------------------------------------
 */

struct change_op {
    json_t *result;
    uint64_t since_ns;
    struct gateway_view_wait wait;
};

static void clean_change(struct rest_request *request) {
    struct change_op *op = request->data;
    json_decref(op->result);
    bnd_free(op);
}

static bool map_made(const struct bnd_catalog *catalog) {
    const struct bnd_catalog_view *view = bnd_catalog_view(catalog);
    for (uint32_t i = 0; view != NULL && i < view->kv_shards_count; i++) {
        if (view->kv_shards[i].epoch == 0) {
            return false;
        }
    }
    return view != NULL && view->kv_shards_count > 0;
}

static void wait_for_map(struct rest_request *request);

static void on_map(struct gateway_view_wait *wait, int status) {
    wait_for_map(wait->data);
}

/* The first namespace of a cluster has KV's shards made: who goes on at once finds them. */
static void wait_for_map(struct rest_request *request) {
    struct change_op *op = request->data;
    bool waited = bnd_now_ns(request->services->env) - op->since_ns > MAP_WAIT_NS;
    op->wait = (struct gateway_view_wait){.cb = on_map, .data = request};
    if (waited || map_made(request->services->catalog) ||
        gateway_view_wait(request->services->front, &op->wait) != 0) {
        rest_reply(request, json_incref(op->result));
    }
}

static void on_changed(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_kv_namespace_record record;
    if (status == BND_EXISTS) {
        rest_fail(request, 400, KV_NAMESPACE_EXISTS,
                  "a namespace with this account ID and title already exists");
        return;
    }
    if (status == BND_FULL) {
        rest_fail(request, 400, KV_TOO_MANY_NAMESPACES, "too many namespaces in this account");
        return;
    }
    status = status != 0 ? status : bnd_kv_namespace_decode(reply, &record);
    if (status != 0) {
        cf_kv_fail_code(request, "namespace", status);
        return;
    }
    struct change_op *op = request->data;
    op->result = namespace_json(&record);
    op->since_ns = bnd_now_ns(request->services->env);
    wait_for_map(request);
}

static void write_command(struct rest_request *request, const struct bnd_catalog_command *command) {
    request->data = bnd_zalloc(sizeof(struct change_op));
    request->clean = clean_change;
    if (request->data == NULL) {
        request->clean = NULL;
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->call = (struct bnd_catalog_call){.cb = on_changed, .data = request};
    int rv = bnd_catalog_write(request->services->catalog, &request->call, command, 0);
    if (rv != 0) {
        cf_kv_fail_code(request, "namespace", rv);
    }
}

struct wish {
    struct bnd_slice title;      /* data NULL: not given */
    enum bnd_kv_consistency set; /* 0: not given */
};

/* False: the request has been ended. */
static bool read_wish(struct rest_request *request, const json_t *body, struct wish *out) {
    const json_t *title = json_object_get(body, "title");
    const json_t *consistency = json_object_get(body, "consistency");
    out->title = bnd_slice(json_string_value(title), json_string_length(title));
    const char *word = json_string_value(consistency);
    if (word != NULL && strcmp(word, "eventual") == 0) {
        out->set = BND_KV_EVENTUAL;
    } else if (word != NULL && strcmp(word, "local") == 0) {
        out->set = BND_KV_CONSISTENCY_LOCAL;
    } else if (consistency != NULL) {
        rest_fail(request, 400, KV_BAD_REQUEST, "consistency must be \"eventual\" or \"local\"");
        return false;
    }
    if (title != NULL && !bnd_kv_title_valid(out->title)) {
        rest_fail(request, 400, KV_NO_TITLE,
                  "a title is 1 to 512 bytes of UTF-8 without control characters");
        return false;
    }
    return true;
}

void cf_kv_run_namespace_create(struct rest_request *request) {
    uint8_t id[BND_KV_PUBLIC_ID_LEN / 2];
    char public_id[BND_KV_PUBLIC_ID_LEN + 1];
    struct wish wish = {0};
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    if (read_wish(request, body, &wish)) {
        if (wish.title.data == NULL) {
            rest_fail(request, 400, KV_NO_TITLE, "missing title");
        } else {
            struct bnd_env *env = request->services->env;
            env->ops->random_secret(env, id, sizeof id);
            bnd_hex_encode(id, sizeof id, public_id);
            struct bnd_catalog_command command = {
                .op = BND_CATALOG_KV_CREATE,
                .id = request->services->front->kv_limits.namespaces_max,
                .number = wish.set == 0 ? BND_KV_EVENTUAL : wish.set,
                .a = wish.title,
                .b = bnd_slice_str(public_id)};
            write_command(request, &command);
        }
    }
    json_decref(body);
}

void cf_kv_run_namespace_update(struct rest_request *request) {
    struct wish wish = {0};
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    if (read_wish(request, body, &wish)) {
        struct bnd_catalog_command command = {.op = BND_CATALOG_KV_RENAME,
                                              .number = wish.set,
                                              .a = wish.title,
                                              .b = rest_segment(request, CF_KV_NAMESPACE)};
        if (wish.title.data != NULL && wish.set != 0) {
            rest_fail(request, 400, KV_BAD_REQUEST, "title or consistency, one at a time");
        } else if (wish.title.data != NULL) {
            write_command(request, &command);
        } else if (wish.set != 0) {
            command.op = BND_CATALOG_KV_SET;
            write_command(request, &command);
        } else {
            rest_fail(request, 400, KV_NO_TITLE, "missing title");
        }
    }
    json_decref(body);
}

/* ---- get, delete
 * ------------------------------------------------------------------------------------------------
 */

static void on_found(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_kv_namespace_record record;
    struct bnd_reader r = bnd_reader(reply);
    (void)bnd_read_u64(&r); /* the next id */
    (void)bnd_read_u32(&r); /* one */
    status = status != 0 ? status : bnd_kv_namespace_decode(bnd_read_bytes(&r), &record);
    if (status != 0) {
        cf_kv_fail_code(request, "get namespace", status);
        return;
    }
    rest_reply(request, namespace_json(&record));
}

void cf_kv_run_namespace_get(struct rest_request *request) {
    struct bnd_slice id = rest_segment(request, CF_KV_NAMESPACE);
    if (!bnd_kv_public_id_valid(id)) {
        cf_kv_fail(request, 400, KV_BAD_NAMESPACE_ID, "get namespace", "malformed namespace ID");
        return;
    }
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_KV_NAMESPACES, .a = id};
    request->call = (struct bnd_catalog_call){.cb = on_found, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        cf_kv_fail_code(request, "get namespace", rv);
    }
}

/* It is gone, whether this node could be told so or not. */
static void on_view(struct gateway_view_wait *wait, int status) {
    rest_reply(wait->data, json_object());
}

/* Answered once this node's own view has it no more: who goes on here does not find it. */
static void on_deleted(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct gateway_view_wait *wait = request->data;
    if (status != 0) {
        cf_kv_fail_code(request, "remove namespace", status);
        return;
    }
    *wait = (struct gateway_view_wait){.cb = on_view, .data = request};
    if (gateway_view_wait(request->services->front, wait) != 0) {
        rest_reply(request, json_object());
    }
}

/* What is in it is dropped by the store, once the view has it no more. */
void cf_kv_run_namespace_delete(struct rest_request *request) {
    struct bnd_slice id = rest_segment(request, CF_KV_NAMESPACE);
    if (!bnd_kv_public_id_valid(id)) {
        cf_kv_fail(request, 400, KV_BAD_NAMESPACE_ID, "remove namespace", "malformed namespace ID");
        return;
    }
    request->data = bnd_zalloc(sizeof(struct gateway_view_wait));
    request->clean = clean_data;
    if (request->data == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    struct bnd_catalog_command command = {.op = BND_CATALOG_KV_DELETE, .b = id};
    request->call = (struct bnd_catalog_call){.cb = on_deleted, .data = request};
    int rv = bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
    if (rv != 0) {
        cf_kv_fail_code(request, "remove namespace", rv);
    }
}
