/* POST .../time_travel/fork?name=NEW[&bookmark=|timestamp=]: another database that begins as this
 * one was at a place in its history, made without copying. Ours: Cloudflare's API has none.
 *
 * The SQL group first: a name in group 0 whose database is not there would be an empty one for who
 * uses it. What group 0 then refuses is deleted again. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"

struct fork_op {
    struct cf_d1_op op; /* first */
    struct bnd_sql_admin admin;
    struct cf_d1_place place;
    struct bnd_slice name;
    uint8_t uuid[BND_SQL_UUID_BYTES];
    int refused; /* by group 0 */
    struct s3_query query;
    uint8_t space[];
};

/* ---- in group 0
 * ------------------------------------------------------------------------------------------------
 */

static void on_deleted(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    const struct fork_op *op = request->data;
    if (status != 0) {
        bnd_log(request->services->env, BND_LOG_WARN, "d1", "a fork without a name is left: %s",
                bnd_code_text(status));
    }
    cf_d1_fail_register(request, op->refused);
}

static void undo(struct rest_request *request, int status) {
    struct fork_op *op = request->data;
    op->refused = status;
    op->admin = (struct bnd_sql_admin){.cb = on_deleted, .data = request};
    int rv = bnd_sql_delete_database(request->services->sql, &op->admin, op->uuid);
    if (rv != 0) {
        on_deleted(&op->admin, rv);
    }
}

/* Of an outcome that is not known nothing is undone: it may have the name. */
static void on_registered(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct bnd_d1_database database;
    if (status != 0 && bnd_code_class(status) != BND_CLASS_UNKNOWN) {
        undo(request, status);
        return;
    }
    status = status != 0 ? status : bnd_d1_database_decode(reply, &database);
    if (status != 0) {
        cf_d1_fail(request, status);
        return;
    }
    bnd_catalog_d1_learn(request->services->catalog, &database);
    rest_reply(request, cf_d1_single_json(&database));
}

static void name_it(struct rest_request *request) {
    struct fork_op *op = request->data;
    const struct bnd_catalog_command command = {
        .op = BND_CATALOG_D1_CREATE,
        .number = request->services->front->d1_limits.databases_max,
        .a = op->name,
        .b = bnd_slice(op->uuid, sizeof op->uuid)};
    request->call = (struct bnd_catalog_call){.cb = on_registered, .data = request};
    int rv = bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
    if (rv != 0) {
        undo(request, rv);
    }
}

/* ---- in the SQL group
 * ------------------------------------------------------------------------------------------------
 */

static void on_forked(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    const struct fork_op *op = request->data;
    if (!cf_d1_failed_place(request, status, op->place.by_time)) {
        name_it(request);
    }
}

static int start_fork(struct d1_use *use, const struct bnd_sql_bookmark *at) {
    struct rest_request *request = use->data;
    struct fork_op *op = request->data;
    bnd_sql_fork_uuid(use->sql, use->uuid, op->uuid);
    op->admin = (struct bnd_sql_admin){.cb = on_forked, .data = request};
    return bnd_sql_fork(use->sql, &op->admin, use->uuid, at, op->uuid);
}

static void on_place(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    struct fork_op *op = request->data;
    if (cf_d1_failed_place(request, status, op->place.by_time)) {
        return;
    }
    struct bnd_sql_bookmark at = op->place.by_time ? admin->bookmark : admin->info.bookmark;
    int rv = start_fork(&op->op.use, &at);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

static int act(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct fork_op *op = request->data;
    if (op->place.by_bookmark) {
        return start_fork(use, &op->place.bookmark);
    }
    op->admin = (struct bnd_sql_admin){.cb = on_place, .data = request};
    return op->place.by_time ? bnd_sql_at_time(use->sql, &op->admin, use->uuid, op->place.stamp_ms)
                             : bnd_sql_info(use->sql, &op->admin, use->uuid);
}

/* ---- what is asked for
 * ------------------------------------------------------------------------------------------------
 */

static void on_name(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    struct fork_op *op = request->data;
    if (status == BND_NOTFOUND) {
        op->op.use.act = act;
        d1_use_start(&op->op.use);
    } else {
        cf_d1_fail_register(request, status == 0 ? BND_EXISTS : status);
    }
}

/* A name that is taken is found out before anything is made, but for a race. */
void cf_d1_run_fork(struct rest_request *request) {
    struct bnd_slice raw = request->http->head->query;
    const char *why = NULL;
    if (!cf_d1_begin(request, sizeof(struct fork_op) + raw.len + 1, NULL)) {
        return;
    }
    struct fork_op *op = request->data;
    if (s3_query_parse(raw, op->space, &op->query, &why) == S3_OK) {
        op->name = s3_query_get(&op->query, "name");
        why = bnd_d1_name_valid(op->name)
                  ? cf_d1_place_read(&op->query, bnd_wall_ms(request->services->env), &op->place)
                  : "name must be the new database's: 1 to 64 letters, digits, - and _";
    }
    if (why != NULL) {
        rest_fail(request, 400, D1_MALFORMED, why);
        return;
    }
    const struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_D1_DATABASE, .b = op->name};
    request->call = (struct bnd_catalog_call){.cb = on_name, .data = request};
    int rv = bnd_catalog_read(request->services->catalog, &request->call, &query, 0);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}
