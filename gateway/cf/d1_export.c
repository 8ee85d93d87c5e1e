/* POST .../export, as wrangler's `d1 export` and the SDK use it: answers a URL at once, under which
 * the database lies as SQL text for a quarter of an hour. The rows are read in one transaction. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/d1/dump.h"

#define AGAIN_MAX 3 /* while the schema changes */

enum step { SCHEMA, COLUMNS, ROWS };

struct export_op {
    struct cf_d1_op op; /* first */
    json_t *body;
    struct d1_dump dump;
    enum step step;
    unsigned again;
    struct bnd_buf request, text;
    struct bnd_sql_call call;
};

static void clean(struct rest_request *request) {
    struct export_op *op = request->data;
    d1_dump_free(&op->dump);
    json_decref(op->body);
    bnd_buf_free(&op->request);
    bnd_buf_free(&op->text);
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------
 */

static void reply(struct rest_request *request, const uint8_t at[BND_SQL_BOOKMARK_BYTES]) {
    struct export_op *op = request->data;
    struct bnd_sql_bookmark bookmark;
    struct d1_file *file = d1_file_open(&request->rest->files, op->op.use.uuid, "");
    int rv = file == NULL ? BND_FULL
                          : d1_file_take(&request->rest->files, file, bnd_buf_slice(&op->text));
    if (rv != 0) {
        if (file != NULL) {
            d1_file_drop(&request->rest->files, file);
        }
        cf_d1_fail(request, rv);
        return;
    }
    file->whole = true;
    bnd_sql_bookmark_get(at, &bookmark);
    rest_reply(request, json_pack("{s:b, s:s, s:s, s:o, s:[], s:{s:s+, s:o}}", "success", 1, "type",
                                  "export", "status", "complete", "at_bookmark",
                                  cf_d1_bookmark_json(&bookmark), "messages", "result", "filename",
                                  file->id, ".sql", "signed_url", cf_d1_file_url(request, file)));
}

static void fail(struct rest_request *request, int status) {
    const struct export_op *op = request->data;
    if (op->dump.why[0] != 0) {
        rest_fail(request, 400, D1_SQL, op->dump.why);
    } else if (status == BND_TOOBIG) {
        rest_fail(request, 413, D1_SQL,
                  "Databases whose rows take more than 6 MiB, or whose text takes more than 8 MiB, "
                  "cannot be exported yet");
    } else if (status == BND_CONFLICT) {
        rest_fail(request, 503, D1_UNAVAILABLE, "The schema changes all the time: try again");
    } else {
        cf_d1_fail(request, status);
    }
}

/* ---- the steps
 * ------------------------------------------------------------------------------------------------
 */

/* Builds the request of the step in hand, or goes on to the next one. */
static void ask(struct export_op *op) {
    if (op->step == SCHEMA) {
        d1_dump_ask_schema(&op->request);
    }
    if (op->step == COLUMNS && !d1_dump_ask_columns(&op->dump, &op->request)) {
        op->step = ROWS;
    }
    if (op->step == ROWS) {
        d1_dump_ask_rows(&op->dump, &op->request);
    }
}

/* 0: the next step is to be asked for; 1: it is done. */
static int take(struct export_op *op, struct bnd_slice answer) {
    int rv = 0;
    switch (op->step) {
    case SCHEMA:
        rv = d1_dump_take_schema(&op->dump, answer);
        op->step = COLUMNS;
        return rv;
    case COLUMNS:
        rv = d1_dump_take_columns(&op->dump, answer);
        op->step = ROWS;
        return rv;
    case ROWS:
        rv = d1_dump_take_rows(&op->dump, answer, D1_EXPORT_BYTES_MAX, &op->text);
        if (rv == BND_CONFLICT && op->again++ < AGAIN_MAX) {
            bnd_buf_reset(&op->text);
            op->step = SCHEMA;
            return 0;
        }
        return rv == 0 ? 1 : rv;
    }
    return BND_CORRUPT;
}

static int act(struct d1_use *use);

static void take_answer(struct rest_request *request, const struct bnd_sql_answer *answer) {
    struct export_op *op = request->data;
    if (answer->outcome != BND_SQL_DONE) {
        rest_fail_text(request, 400, D1_SQL, answer->text);
        return;
    }
    int rv = take(op, answer->text);
    if (rv == 1) {
        reply(request, answer->bookmark);
        return;
    }
    rv = rv != 0 ? rv : act(&op->op.use);
    if (rv != 0) {
        fail(request, rv);
    }
}

static void on_answer(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct rest_request *request = call->data;
    struct export_op *op = request->data;
    if (status == 0) {
        take_answer(request, answer);
    } else if (status != BND_NOTFOUND || !d1_use_missing(&op->op.use)) {
        fail(request, status);
    }
}

static int act(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct export_op *op = request->data;
    ask(op);
    if (op->request.failed) {
        return BND_NOMEM;
    }
    if (op->request.len > BND_SQL_REQUEST_MAX) {
        return BND_TOOBIG;
    }
    op->call = (struct bnd_sql_call){.cb = on_answer, .data = request};
    return bnd_sql_query(use->sql, &op->call, use->uuid, bnd_buf_slice(&op->request));
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
        json_decref(body);
        return;
    }
    if (!cf_d1_begin(request, sizeof(struct export_op), clean)) {
        json_decref(body);
        return;
    }
    struct export_op *op = request->data;
    op->body = body;
    op->dump.no_schema = json_is_true(json_object_get(options, "no_schema"));
    op->dump.no_data = json_is_true(json_object_get(options, "no_data"));
    op->dump.tables = tables;
    op->op.use.act = act;
    d1_use_start(&op->op.use);
}

/* ---- getting it
 * ------------------------------------------------------------------------------------------------
 */

struct get_op {
    struct d1_file *file;
    struct bnd_http_write write;
};

static void clean_get(struct rest_request *request) {
    struct get_op *op = request->data;
    op->file->busy = false;
    bnd_free(op);
}

static void on_sent(struct bnd_http_write *write, int status) {
    struct rest_request *request = write->data;
    if (status != 0) {
        rest_abort(request);
        return;
    }
    ((struct get_op *)request->data)->file->got = true;
    bnd_http_end(request->http);
    rest_release(request);
}

void cf_d1_run_file_get(struct rest_request *request) {
    struct d1_file *file = d1_file_find(&request->rest->files, rest_segment(request, CF_D1_FILE));
    struct get_op *op = NULL;
    if (file == NULL || !file->whole || file->busy || file->etag[0] != 0) {
        rest_fail(request, 404, D1_MALFORMED, "There is no such file at this process");
        return;
    }
    op = bnd_zalloc(sizeof *op);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    file->busy = true;
    op->file = file;
    op->write = (struct bnd_http_write){.cb = on_sent, .data = request};
    request->data = op;
    request->clean = clean_get;
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/sql")},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = 2};
    struct bnd_slice bytes = bnd_buf_slice(&file->bytes);
    if (bnd_http_begin(request->http, &response, bytes.len) != 0 ||
        bnd_http_write(request->http, &op->write, bytes) != 0) {
        rest_abort(request);
    }
}
