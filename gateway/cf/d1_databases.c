/* D1 databases: list, create, get, delete.
 *
 * Lists and single databases come from group 0 itself, so that what was just made is there
 * whichever node is asked. Pages are numbered, and the page after the last is empty. */
#include "base/alloc.h"
#include "gateway/cf/d1.h"
#include "gateway/s3/query.h"

#define PER_PAGE_MAX 1000u
#define PAGE_MAX UINT64_C(1000000000)

static void clean_data(struct rest_request *request) {
    bnd_free(request->data);
}

static void malformed(struct rest_request *request, const char *why) {
    rest_fail(request, 400, D1_MALFORMED, why);
}

/* ---- list
 * ------------------------------------------------------------------------------------------------
 */

struct list_op {
    uint64_t page, per_page;
    struct s3_query query;
    uint8_t space[];
};

/* NULL: corrupt, or no memory. */
static json_t *items_json(struct bnd_reader *r, uint32_t count) {
    json_t *items = json_array();
    for (uint32_t i = 0; i < count; i++) {
        struct bnd_d1_database database;
        if (bnd_d1_database_decode(bnd_read_bytes(r), &database) != 0 ||
            json_array_append_new(items, cf_d1_database_json(&database)) != 0) {
            json_decref(items);
            return NULL;
        }
    }
    return items;
}

static void on_databases(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    const struct list_op *op = request->data;
    struct bnd_reader r = bnd_reader(reply);
    uint32_t total = bnd_read_u32(&r);
    uint32_t count = bnd_read_u32(&r);
    json_t *items = status != 0 ? NULL : items_json(&r, count);
    if (items == NULL) {
        cf_d1_fail(request, status != 0 ? status : BND_CORRUPT);
        return;
    }
    rest_reply_json(request, 200,
                    json_pack("{s:b, s:[], s:[], s:o, s:{s:I, s:I, s:I, s:I, s:I}}", "success", 1,
                              "errors", "messages", "result", items, "result_info", "page",
                              (json_int_t)op->page, "per_page", (json_int_t)op->per_page, "count",
                              (json_int_t)count, "total_count", (json_int_t)total, "total_pages",
                              (json_int_t)((total + op->per_page - 1) / op->per_page)));
}

/* NULL, or why not. */
static const char *list_options(struct list_op *op, struct bnd_slice raw) {
    const char *why = NULL;
    op->page = 1;
    op->per_page = PER_PAGE_MAX;
    if (s3_query_parse(raw, op->space, &op->query, &why) != S3_OK) {
        return why;
    }
    if (!s3_query_number(&op->query, "page", PAGE_MAX, &op->page) || op->page == 0) {
        return "page must be a number from 1";
    }
    if (!s3_query_number(&op->query, "per_page", PER_PAGE_MAX, &op->per_page) ||
        op->per_page == 0) {
        return "per_page must be a number from 1";
    }
    return NULL;
}

void cf_d1_run_list(struct rest_request *request) {
    struct bnd_slice raw = request->http->head->query;
    struct list_op *op = bnd_zalloc(sizeof *op + raw.len + 1);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = op;
    request->clean = clean_data;
    const char *why = list_options(op, raw);
    if (why != NULL) {
        malformed(request, why);
        return;
    }
    uint8_t from[8];
    bnd_put_u64(from, (op->page - 1) * op->per_page);
    const struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_D1_DATABASES,
                                            .number = op->per_page,
                                            .a = s3_query_get(&op->query, "name"),
                                            .b = bnd_slice(from, sizeof from)};
    request->call = (struct bnd_catalog_call){.cb = on_databases, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

json_t *cf_d1_single_json(const struct bnd_d1_database *database) {
    json_t *json = cf_d1_database_json(database);
    if (json_object_set_new(json, "read_replication", json_pack("{s:s}", "mode", "auto")) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* ---- create
 * ------------------------------------------------------------------------------------------------
 */

struct create_op {
    struct cf_d1_op op; /* first */
    struct bnd_sql_admin admin;
    json_t *result;
};

static void clean_create(struct rest_request *request) {
    struct create_op *op = request->data;
    json_decref(op->result);
}

/* Group 0 has it, so whoever uses it first makes up for what is missing here. */
static void on_made(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    struct create_op *op = request->data;
    if (status != 0 && status != BND_EXISTS) {
        rest_fail(request, 503, D1_UNAVAILABLE,
                  "The database is registered, but its replicas cannot be reached: it can be used, "
                  "or deleted, once they can");
        return;
    }
    json_t *size = json_integer((json_int_t)admin->info.size_bytes);
    if (json_object_set_new(op->result, "num_tables", json_integer(0)) != 0 ||
        json_object_set_new(op->result, "file_size", size) != 0) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    rest_reply(request, json_incref(op->result));
}

void cf_d1_fail_register(struct rest_request *request, int status) {
    switch (status) {
    case BND_EXISTS:
        rest_fail(request, 400, D1_EXISTS, "Database with that name already exists");
        return;
    case BND_FULL:
        rest_fail(request, 400, D1_TOO_MANY_DATABASES,
                  "There are as many databases as the setting d1_databases_max allows");
        return;
    case BND_PRECONDITION:
        rest_fail(request, 503, D1_UNAVAILABLE, "No node can hold a database");
        return;
    default:
        cf_d1_fail(request, status);
    }
}

static void on_registered(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct create_op *op = request->data;
    struct bnd_d1_database database;
    status = status != 0 ? status : bnd_d1_database_decode(reply, &database);
    if (status != 0) {
        cf_d1_fail_register(request, status);
        return;
    }
    bnd_catalog_d1_learn(request->services->catalog, &database);
    op->result = cf_d1_single_json(&database);
    op->admin = (struct bnd_sql_admin){.cb = on_made, .data = request};
    int rv = op->result == NULL
                 ? BND_NOMEM
                 : bnd_sql_create_database(request->services->sql, &op->admin, database.uuid);
    if (rv != 0) {
        on_made(&op->admin, rv);
    }
}

static void register_database(struct rest_request *request, struct bnd_slice name) {
    struct bnd_env *env = request->services->env;
    uint8_t uuid[BND_D1_UUID_BYTES];
    env->ops->random_secret(env, uuid, sizeof uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    const struct bnd_catalog_command command = {
        .op = BND_CATALOG_D1_CREATE,
        .number = request->services->front->d1_limits.databases_max,
        .a = name,
        .b = bnd_slice(uuid, sizeof uuid)};
    request->call = (struct bnd_catalog_call){.cb = on_registered, .data = request};
    int rv = bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

/* NULL, or why not: replicas answer the sessions that may be answered by them, always. */
static const char *replication_check(const json_t *body) {
    const json_t *replication = json_object_get(body, "read_replication");
    const char *mode = json_string_value(json_object_get(replication, "mode"));
    return replication == NULL || (mode != NULL && strcmp(mode, "auto") == 0)
               ? NULL
               : "read_replication.mode can only be \"auto\": each session says where it may be "
                 "read";
}

/* NULL, or why not. primary_location_hint is a hint, and there are no locations. */
static const char *wish_check(const json_t *body) {
    const json_t *name = json_object_get(body, "name");
    if (name == NULL) {
        return "name is missing";
    }
    if (!bnd_d1_name_valid(bnd_slice(json_string_value(name), json_string_length(name)))) {
        return "a name is 1 to 64 letters, digits, - and _, begins with a letter or digit, and is "
               "not of the form of a uuid";
    }
    if (json_object_get(body, "jurisdiction") != NULL) {
        return "jurisdiction: this cluster has none";
    }
    return replication_check(body);
}

void cf_d1_run_create(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    const char *why = wish_check(body);
    if (why != NULL) {
        malformed(request, why);
    } else if (cf_d1_begin(request, sizeof(struct create_op), clean_create)) {
        const json_t *name = json_object_get(body, "name");
        register_database(request, bnd_slice(json_string_value(name), json_string_length(name)));
    }
    json_decref(body);
}

/* ---- get
 * ------------------------------------------------------------------------------------------------
 */

struct get_op {
    struct cf_d1_op op; /* first */
    json_t *result;
    struct bnd_sql_admin admin;
    struct bnd_sql_call count;
    struct bnd_buf request;
    struct s3_query query;
    uint8_t space[];
};

static const char count_tables[] =
    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'";

static void clean_get(struct rest_request *request) {
    struct get_op *op = request->data;
    json_decref(op->result);
    bnd_buf_free(&op->request);
}

/* Is it one of those that the query's "fields" names, or are all? */
static bool wanted(const struct get_op *op, const char *field) {
    struct bnd_slice fields = s3_query_get(&op->query, "fields");
    size_t len = strlen(field);
    for (size_t at = 0; at + len <= fields.len;) {
        const uint8_t *comma = memchr(fields.data + at, ',', fields.len - at);
        size_t end = comma == NULL ? fields.len : (size_t)(comma - fields.data);
        if (end - at == len && memcmp(fields.data + at, field, len) == 0) {
            return true;
        }
        at = end + 1;
    }
    return fields.len == 0;
}

static void reply_fields(struct rest_request *request) {
    struct get_op *op = request->data;
    json_t *shown = json_object();
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(op->result, key, value) {
        if (wanted(op, key)) {
            (void)json_object_set(shown, key, value); /* shown NULL: told by the reply */
        }
    }
    rest_reply_json(request, 200, shown == NULL ? NULL : rest_envelope(shown));
}

/* The only cell of the only row; -1: there is none. */
static json_int_t cell_of(struct bnd_slice answer) {
    json_int_t cell = -1;
    json_t *all = json_loadb((const char *)answer.data, answer.len, 0, NULL);
    const json_t *rows =
        json_object_get(json_object_get(json_array_get(all, 0), "results"), "rows");
    const json_t *value = json_array_get(json_array_get(rows, 0), 0);
    if (json_is_integer(value)) {
        cell = json_integer_value(value);
    }
    json_decref(all);
    return cell;
}

static void on_count(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct rest_request *request = call->data;
    struct get_op *op = request->data;
    json_int_t count = status == 0 && answer->outcome == BND_SQL_DONE ? cell_of(answer->text) : -1;
    if (count < 0) {
        cf_d1_fail(request, status != 0 ? status : BND_CORRUPT);
        return;
    }
    (void)json_object_set_new(op->result, "num_tables",
                              json_integer(count)); /* absent: no memory */
    reply_fields(request);
}

static void on_info(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    struct get_op *op = request->data;
    const struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .read_only = true};
    if (cf_d1_failed(request, status)) {
        return;
    }
    (void)json_object_set_new(op->result, "file_size",
                              json_integer((json_int_t)admin->info.size_bytes)); /* as above */
    bnd_buf_reset(&op->request);
    bnd_sql_request_begin(&op->request, &header);
    bnd_sql_request_statement(&op->request, bnd_slice_str(count_tables), 0);
    bnd_sql_request_end(&op->request, 1);
    op->count = (struct bnd_sql_call){.cb = on_count, .data = request};
    int rv = op->request.failed ? BND_NOMEM
                                : bnd_sql_query(request->services->sql, &op->count, op->op.use.uuid,
                                                bnd_buf_slice(&op->request));
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

static int act_info(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct get_op *op = request->data;
    op->admin = (struct bnd_sql_admin){.cb = on_info, .data = request};
    return bnd_sql_info(use->sql, &op->admin, use->uuid);
}

static void on_found(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct get_op *op = request->data;
    struct bnd_d1_database database;
    status = status != 0 ? status : bnd_d1_database_decode(reply, &database);
    if (status != 0) {
        cf_d1_fail(request, status);
        return;
    }
    op->result = cf_d1_single_json(&database);
    if (op->result == NULL) {
        rest_fail_code(request, BND_NOMEM);
    } else if (wanted(op, "file_size") || wanted(op, "num_tables")) {
        bnd_catalog_d1_learn(request->services->catalog, &database);
        op->op.use.act = act_info;
        d1_use_start(&op->op.use);
    } else {
        reply_fields(request);
    }
}

/* Asks group 0 for the database of the path. */
static void look_up(struct rest_request *request,
                    void (*cb)(struct bnd_catalog_call *call, int status, struct bnd_slice reply)) {
    struct bnd_slice named = rest_segment(request, CF_D1_DATABASE);
    uint8_t uuid[BND_D1_UUID_BYTES];
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_D1_DATABASE, .b = named};
    if (bnd_d1_uuid_parse(named, uuid)) {
        query.a = bnd_slice(uuid, sizeof uuid);
        query.b = bnd_slice(NULL, 0);
    } else if (!bnd_d1_name_valid(named)) {
        cf_d1_fail(request, BND_NOTFOUND);
        return;
    }
    request->call = (struct bnd_catalog_call){.cb = cb, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

void cf_d1_run_get(struct rest_request *request) {
    struct bnd_slice raw = request->http->head->query;
    const char *why = NULL;
    if (!cf_d1_begin(request, sizeof(struct get_op) + raw.len + 1, clean_get)) {
        return;
    }
    struct get_op *op = request->data;
    if (s3_query_parse(raw, op->space, &op->query, &why) != S3_OK) {
        malformed(request, why);
        return;
    }
    look_up(request, on_found);
}

/* ---- update
 * ------------------------------------------------------------------------------------------------
 */

/* Nothing of a database can be changed: what is asked for is how it is, or is refused. */
void cf_d1_run_update(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    const char *why = body == NULL ? NULL : replication_check(body);
    if (why != NULL) {
        malformed(request, why);
    } else if (body != NULL) {
        cf_d1_run_get(request);
    }
    json_decref(body);
}

/* ---- delete
 * ------------------------------------------------------------------------------------------------
 */

struct delete_op {
    struct cf_d1_op op; /* first */
    struct bnd_sql_admin admin;
    uint8_t uuid[BND_D1_UUID_BYTES];
    bool made;    /* to be deleted */
    bool dropped; /* by this request */
};

/* Group 0 may have forgotten it already: whoever used it meanwhile found the tombstone that this
 * request left, and did the rest of its work (gateway/d1/use.h). */
static void on_forgotten(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    const struct delete_op *op = request->data;
    struct bnd_d1_database database;
    if (status == 0 && bnd_d1_database_decode(reply, &database) == 0) {
        char text[BND_D1_UUID_TEXT + 1];
        bnd_d1_uuid_text(database.uuid, text);
        bnd_catalog_d1_forget(request->services->catalog, bnd_slice_str(text));
        bnd_catalog_d1_forget(request->services->catalog, database.name);
    }
    if (status == 0 || (status == BND_NOTFOUND && op->dropped)) {
        rest_reply(request, NULL);
    } else {
        cf_d1_fail(request, status);
    }
}

static void forget(struct rest_request *request) {
    const struct delete_op *op = request->data;
    const struct bnd_catalog_command command = {.op = BND_CATALOG_D1_DELETE,
                                                .b = bnd_slice(op->uuid, sizeof op->uuid)};
    request->call = (struct bnd_catalog_call){.cb = on_forgotten, .data = request};
    int rv = bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

static int drop(struct rest_request *request);

/* It is there now, or was deleted by another. */
static void on_there(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    status = status == 0 || status == BND_EXISTS || status == BND_NOTFOUND ? drop(request) : status;
    if (status != 0) {
        cf_d1_fail(request, status);
    }
}

/* One that its SQL group never knew is made first, so that the group keeps a tombstone: who found
 * it here a moment ago may be about to make it. */
static void on_dropped(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    struct delete_op *op = request->data;
    if (status == BND_NOTFOUND && !op->made) {
        op->made = true;
        op->admin = (struct bnd_sql_admin){.cb = on_there, .data = request};
        status = bnd_sql_create_database(request->services->sql, &op->admin, op->uuid);
        if (status == 0) {
            return;
        }
    }
    op->dropped = status == 0;
    if (op->dropped || (status == BND_NOTFOUND && op->made)) {
        forget(request);
    } else {
        cf_d1_fail(request, status);
    }
}

/* The SQL group first: from then on nothing of it can be read, or made again under its uuid. */
static int drop(struct rest_request *request) {
    struct delete_op *op = request->data;
    op->admin = (struct bnd_sql_admin){.cb = on_dropped, .data = request};
    return bnd_sql_delete_database(request->services->sql, &op->admin, op->uuid);
}

static void on_known(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct delete_op *op = request->data;
    struct bnd_d1_database database;
    status = status != 0 ? status : bnd_d1_database_decode(reply, &database);
    if (status == 0) {
        memcpy(op->uuid, database.uuid, sizeof op->uuid);
        status = drop(request);
    }
    if (status != 0) {
        cf_d1_fail(request, status);
    }
}

void cf_d1_run_delete(struct rest_request *request) {
    if (cf_d1_begin(request, sizeof(struct delete_op), NULL)) {
        look_up(request, on_known);
    }
}
