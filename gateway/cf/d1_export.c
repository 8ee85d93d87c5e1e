/* POST .../export, as wrangler's `d1 export` and the SDK use it: makes a branch of the database and
 * answers a URL at once. Under it the branch is read as SQL text, a page of rows at a time, for a
 * quarter of an hour; so the text is of one state of the database, and no more of it is held than a
 * page (ADR 0106). */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/d1/again.h"
#include "gateway/d1/dump.h"
#include "gateway/d1/files.h"

/* ---- beginning
 * ------------------------------------------------------------------------------------------------
 */

struct export_op {
    struct cf_d1_op op; /* first */
    struct d1_file *file;
    bool answered; /* else the file goes */
    bool no_schema, no_data;
    struct bnd_buf tables;
    struct d1_dump dump;
    struct bnd_buf request;
    struct bnd_sql_call call;
};

static void drop(struct rest_request *request) {
    struct export_op *op = request->data;
    if (op->file != NULL) {
        op->file->busy = false;
        d1_file_drop(&request->rest->files, op->file);
        op->file = NULL;
    }
}

static void clean(struct rest_request *request) {
    struct export_op *op = request->data;
    if (op->answered) {
        op->file->busy = false;
    } else {
        drop(request);
    }
    d1_dump_free(&op->dump);
    bnd_buf_free(&op->request);
    bnd_buf_free(&op->tables);
}

static void reply(struct rest_request *request) {
    struct export_op *op = request->data;
    op->answered = true;
    rest_reply(request, json_pack("{s:b, s:s, s:s, s:o, s:[], s:{s:s+, s:o}}", "success", 1, "type",
                                  "export", "status", "complete", "at_bookmark",
                                  cf_d1_bookmark_json(&op->file->branch.at), "messages", "result",
                                  "filename", op->file->id, ".sql", "signed_url",
                                  cf_d1_file_url(request, op->file)));
}

/* What cannot be exported is told here, not in the middle of the text. */
static void on_schema(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct rest_request *request = call->data;
    struct export_op *op = request->data;
    if (status == 0 && answer->outcome != BND_SQL_DONE) {
        rest_fail_text(request, 400, D1_SQL, answer->text);
        return;
    }
    int rv = status != 0 ? status : d1_dump_take_schema(&op->dump, answer->text);
    if (op->dump.why[0] != 0) {
        rest_fail(request, 400, D1_SQL, op->dump.why);
    } else if (rv != 0) {
        cf_d1_fail(request, rv);
    } else {
        reply(request);
    }
}

static void on_branch(struct d1_branch *branch, int status) {
    struct rest_request *request = branch->data;
    struct export_op *op = request->data;
    if (status != 0) {
        drop(request);
        (void)cf_d1_failed(request, status); /* or it is looked for once more */
        return;
    }
    d1_dump_ask_schema(&op->request);
    op->call = (struct bnd_sql_call){.cb = on_schema, .data = request};
    int rv = op->request.failed ? BND_NOMEM
                                : bnd_sql_query(request->services->sql, &op->call, branch->uuid,
                                                bnd_buf_slice(&op->request));
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

static int act(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct export_op *op = request->data;
    struct d1_file *file = d1_file_open(&request->rest->files, use->uuid, "");
    if (file == NULL) {
        return BND_FULL;
    }
    op->file = file;
    file->busy = true;
    file->no_schema = op->no_schema;
    file->no_data = op->no_data;
    bnd_buf_append_slice(&file->tables, bnd_buf_slice(&op->tables));
    file->branch = (struct d1_branch){
        .env = request->services->env, .sql = use->sql, .cb = on_branch, .data = request};
    int rv = file->tables.failed ? BND_NOMEM : d1_branch_begin(&file->branch, use->uuid, false);
    if (rv != 0) {
        drop(request);
    }
    return rv;
}

static int append(const char *bytes, size_t len, void *data) {
    bnd_buf_append(data, bytes, len);
    return 0;
}

/* False: there is no memory. */
static bool keep_tables(struct export_op *op, const json_t *tables) {
    return json_array_size(tables) == 0 ||
           (json_dump_callback(tables, append, &op->tables, JSON_COMPACT) == 0 &&
            !op->tables.failed);
}

void cf_d1_run_export(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    const json_t *options = json_object_get(body, "dump_options");
    const json_t *tables = json_object_get(options, "tables");
    if (tables != NULL && !json_is_null(tables) && !json_is_array(tables)) {
        rest_fail(request, 400, D1_MALFORMED, "dump_options.tables must be an array of names");
    } else if (cf_d1_begin(request, sizeof(struct export_op), clean)) {
        struct export_op *op = request->data;
        op->no_schema = json_is_true(json_object_get(options, "no_schema"));
        op->no_data = json_is_true(json_object_get(options, "no_data"));
        op->op.use.act = act;
        if (keep_tables(op, tables)) {
            d1_use_start(&op->op.use);
        } else {
            rest_fail_code(request, BND_NOMEM);
        }
    }
    json_decref(body);
}

/* ---- getting it
 *
 *   schema ──> next ──query──> take ──text──> write ──> next ... ──> end
 * ------------------------------------------------------------------------------------------------
 */

#define CHARGE_BYTES ((size_t)8 << 20) /* an answer, as it is parsed, and its text */
#define WRITE_BYTES (64u << 10)        /* less of the text waits for more */

struct get_op {
    struct d1_file *file;
    struct d1_dump dump;
    json_t *tables;
    struct bnd_buf request, text;
    struct bnd_sql_call call;
    struct bnd_http_write write;
    struct d1_again again;
    bool begun; /* the answer: failures cut it now */
    bool done;  /* the text is complete */
};

static void clean_get(struct rest_request *request) {
    struct get_op *op = request->data;
    op->file->busy = false;
    gateway_discharge(request->services->front, CHARGE_BYTES);
    d1_dump_free(&op->dump);
    json_decref(op->tables);
    bnd_buf_free(&op->request);
    bnd_buf_free(&op->text);
    bnd_free(op);
}

static void go_on(struct rest_request *request);

/* The client must not take half of it for the whole. */
static void fail_get(struct rest_request *request, int status, struct bnd_slice why) {
    const struct get_op *op = request->data;
    if (!op->begun && status != 0) {
        cf_d1_fail(request, status);
        return;
    }
    if (!op->begun) {
        rest_fail_text(request, 400, D1_SQL, why);
        return;
    }
    bnd_log(request->services->env, BND_LOG_WARN, "d1", "an export was cut in the middle: %.*s",
            status == 0 ? (int)why.len : 0, (const char *)why.data);
    rest_abort(request);
}

static void fail_code(struct rest_request *request, int status) {
    if (((struct get_op *)request->data)->begun) {
        fail_get(request, 0, bnd_slice_str(bnd_code_text(status)));
    } else {
        fail_get(request, status, bnd_slice(NULL, 0));
    }
}

static void on_again(struct bnd_timer *timer);

static void on_answer(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct rest_request *request = call->data;
    struct get_op *op = request->data;
    bool first = op->dump.schema == NULL;
    if (d1_again_later(&op->again, status, on_again)) {
        return;
    }
    if (status == BND_TOOBIG && !first && d1_dump_shrink(&op->dump)) {
        go_on(request);
        return;
    }
    if (status != 0) {
        fail_code(request, status);
        return;
    }
    if (answer->outcome != BND_SQL_DONE) {
        fail_get(request, 0, answer->text);
        return;
    }
    int rv = first ? d1_dump_take_schema(&op->dump, answer->text)
                   : d1_dump_take(&op->dump, answer->text, &op->text);
    if (rv != 0) {
        fail_code(request, rv);
    } else {
        go_on(request);
    }
}

static void ask(struct rest_request *request) {
    struct get_op *op = request->data;
    if (request->http->aborted) { /* nobody waits for it: nor is it waited for where it stops */
        rest_abort(request);
        return;
    }
    op->call = (struct bnd_sql_call){.cb = on_answer, .data = request};
    int rv = op->request.failed || op->text.failed
                 ? BND_NOMEM
                 : bnd_sql_query(request->services->sql, &op->call, op->file->branch.uuid,
                                 bnd_buf_slice(&op->request));
    if (rv != 0 && !d1_again_later(&op->again, rv, on_again)) {
        fail_code(request, rv);
    }
}

static void on_again(struct bnd_timer *timer) {
    ask(timer->data);
}

static void on_sent(struct bnd_http_write *write, int status) {
    struct rest_request *request = write->data;
    struct get_op *op = request->data;
    if (status != 0) {
        rest_abort(request);
        return;
    }
    bnd_buf_reset(&op->text);
    if (op->done) {
        op->file->got = true;
        bnd_http_end(request->http);
        rest_release(request);
    } else {
        go_on(request);
    }
}

static void send(struct rest_request *request) {
    struct get_op *op = request->data;
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/sql")},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = 2};
    int rv = op->begun ? 0 : bnd_http_begin(request->http, &response, BND_HTTP_LENGTH_CHUNKED);
    op->begun = true;
    op->write = (struct bnd_http_write){.cb = on_sent, .data = request};
    if (rv != 0 || bnd_http_write(request->http, &op->write, bnd_buf_slice(&op->text)) != 0) {
        rest_abort(request);
    }
}

static void go_on(struct rest_request *request) {
    struct get_op *op = request->data;
    if (op->text.len >= WRITE_BYTES && !op->text.failed) {
        send(request);
        return;
    }
    op->done = !d1_dump_next(&op->dump, &op->request, &op->text);
    if (op->done && op->text.failed) {
        fail_code(request, BND_NOMEM);
    } else if (op->done) {
        send(request);
    } else {
        ask(request);
    }
}

static int begin_get(struct rest_request *request, struct d1_file *file) {
    struct bnd_slice tables = bnd_buf_slice(&file->tables);
    struct get_op *op = bnd_zalloc(sizeof *op);
    if (op == NULL) {
        return BND_NOMEM;
    }
    int rv = gateway_charge(request->services->front, CHARGE_BYTES);
    if (rv != 0) {
        bnd_free(op);
        return rv;
    }
    op->file = file;
    op->tables =
        tables.len == 0 ? NULL : json_loadb((const char *)tables.data, tables.len, 0, NULL);
    op->dump = (struct d1_dump){
        .no_schema = file->no_schema, .no_data = file->no_data, .tables = op->tables};
    op->again = (struct d1_again){.env = request->services->env, .data = request};
    file->busy = true;
    request->data = op;
    request->clean = clean_get;
    return tables.len > 0 && op->tables == NULL ? BND_NOMEM : 0;
}

/* The URL is the permission. */
void cf_d1_run_file_get(struct rest_request *request) {
    struct d1_file *file = cf_d1_file(request, false);
    if (file == NULL) {
        return;
    }
    int rv = begin_get(request, file);
    if (rv != 0) {
        cf_d1_fail(request, rv);
        return;
    }
    struct get_op *op = request->data;
    d1_dump_ask_schema(&op->request);
    ask(request);
}
