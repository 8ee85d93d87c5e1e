/* POST .../import, as wrangler's `d1 execute --file` and the SDK use it: init answers a URL, the
 * file is put there (d1_upload.c), ingest executes it. A small one is one transaction and answered
 * when it is done; a larger one is loaded into a branch (gateway/d1/load.h), and polls tell how far
 * it is. Either is imported whole or not at all, and stays with the process that was asked. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/d1/files.h"
#include "gateway/d1/load.h"

#define POLL_NS (UINT64_C(1500) * BND_MS) /* a poll that has nothing new to tell waits so long */

static void malformed(struct rest_request *request, const char *why) {
    rest_fail(request, 400, D1_MALFORMED, why);
}

/* ---- init
 * ------------------------------------------------------------------------------------------------
 */

struct import_op {
    struct cf_d1_op op; /* first */
    char etag[D1_ETAG_TEXT];
    struct bnd_sql_admin admin;
    struct bnd_sql_call call;
    struct bnd_buf request;
    struct d1_file *file; /* that is ingested */
    bool answered;        /* else it may be ingested again */
    uint64_t statements;
    struct d1_load_wait wait; /* for its end */
    struct bnd_timer timer;   /* or not so long */
};

static void clean_import(struct rest_request *request) {
    struct import_op *op = request->data;
    bnd_buf_free(&op->request);
    if (op->file == NULL || op->file->load != NULL) {
        return; /* polls tell of it for a while */
    }
    op->file->busy = false;
    if (op->answered) {
        d1_file_drop(&request->rest->files, op->file);
    }
}

static void reply_url(struct rest_request *request, const struct d1_file *file) {
    json_t *url = cf_d1_file_url(request, file);
    rest_reply(request, json_pack("{s:o, s:s, s:b, s:s, s:[]}", "upload_url", url, "filename",
                                  file->id, "success", 1, "type", "import", "messages"));
}

/* The database is there. */
static void on_info(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    struct import_op *op = request->data;
    if (cf_d1_failed(request, status)) {
        return;
    }
    const struct d1_file *file = d1_file_open(&request->rest->files, op->op.use.uuid, op->etag);
    if (file == NULL) {
        cf_d1_fail(request, BND_FULL);
    } else {
        reply_url(request, file);
    }
}

static int act_init(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct import_op *op = request->data;
    op->admin = (struct bnd_sql_admin){.cb = on_info, .data = request};
    return bnd_sql_info(use->sql, &op->admin, use->uuid);
}

/* ---- large ones
 * ------------------------------------------------------------------------------------------------
 */

/* Takes result and errors. */
static void reply_status(struct rest_request *request, const struct d1_load *load,
                         const char *status, json_t *errors, json_t *result) {
    json_t *message = json_sprintf("Processed %llu queries.", (unsigned long long)load->statements);
    rest_reply(request,
               json_pack("{s:b, s:s, s:s, s:o, s:[o], s:o*, s:o*}", "success", 1, "type", "import",
                         "status", status, "at_bookmark", cf_d1_bookmark_json(&load->bookmark),
                         "messages", message, "errors", errors, "result", result));
}

static void reply_failed(struct rest_request *request, const struct d1_load *load) {
    struct bnd_slice text = bnd_buf_slice(&load->text);
    struct d1_failure failure;
    if (load->status != 0) {
        d1_failure(load->status, rest_segment(request, CF_D1_DATABASE), &failure);
        text = bnd_slice_str(failure.text);
    }
    reply_status(request, load, "error", json_pack("[o]", rest_text_json(text)), NULL);
}

static void reply_loaded(struct rest_request *request, const struct d1_load *load) {
    json_t *meta =
        json_pack("{s:f, s:I, s:I, s:I, s:b}", "duration", load->duration_ms, "rows_read",
                  (json_int_t)load->rows_read, "rows_written", (json_int_t)load->rows_written,
                  "size_after", (json_int_t)load->size_bytes, "changed_db", 1);
    reply_status(request, load, "complete", NULL,
                 json_pack("{s:I, s:o, s:o}", "num_queries", (json_int_t)load->statements,
                           "final_bookmark", cf_d1_bookmark_json(&load->bookmark), "meta", meta));
}

static void reply_load(struct rest_request *request, struct d1_file *file) {
    const struct d1_load *load = file->load;
    file->got = load->state != D1_LOADING;
    switch (load->state) {
    case D1_LOADING:
        reply_status(request, load, "active", NULL, NULL);
        break;
    case D1_LOADED:
        reply_loaded(request, load);
        break;
    case D1_LOAD_FAILED:
        reply_failed(request, load);
        break;
    }
}

static void on_load_ended(struct d1_load_wait *wait) {
    struct rest_request *request = wait->data;
    struct import_op *op = request->data;
    bnd_timer_stop(request->services->env, &op->timer);
    reply_load(request, op->file);
}

static void on_poll_timer(struct bnd_timer *timer) {
    struct rest_request *request = timer->data;
    struct import_op *op = request->data;
    bnd_link_remove(&op->wait.link);
    reply_load(request, op->file);
}

/* Answers when it has ended, or in a moment. */
static void follow(struct rest_request *request, struct d1_file *file) {
    struct import_op *op = request->data;
    op->file = file;
    if (file->load->state != D1_LOADING) {
        reply_load(request, file);
        return;
    }
    op->wait = (struct d1_load_wait){.cb = on_load_ended, .data = request};
    op->timer = (struct bnd_timer){.cb = on_poll_timer, .data = request};
    d1_load_wait(file->load, &op->wait);
    bnd_timer_start(request->services->env, &op->timer, POLL_NS);
}

static int load(struct rest_request *request) {
    struct import_op *op = request->data;
    struct d1_file *file = op->file;
    struct d1_load *made = bnd_zalloc(sizeof *made);
    if (made == NULL) {
        return BND_NOMEM;
    }
    made->env = request->services->env;
    made->sql = request->services->sql;
    made->front = request->services->front;
    made->spool = file->spool;
    memcpy(made->uuid, file->uuid, sizeof made->uuid);
    int rv = d1_load_start(made);
    if (rv != 0) {
        bnd_free(made);
        return rv;
    }
    file->load = made;
    file->busy = false; /* it is not dropped while it loads */
    follow(request, file);
    return 0;
}

static int act_poll(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct d1_file *file = d1_file_loading(&request->rest->files, use->uuid);
    if (file == NULL) {
        malformed(request, "Not currently importing anything");
    } else {
        follow(request, file);
    }
    return 0;
}

static void run_poll(struct rest_request *request) {
    struct import_op *op = request->data;
    op->op.use.act = act_poll;
    d1_use_start(&op->op.use);
}

/* ---- ingest
 * ------------------------------------------------------------------------------------------------
 */

static void reply_complete(struct rest_request *request, const struct bnd_sql_answer *answer) {
    struct import_op *op = request->data;
    struct bnd_sql_bookmark bookmark;
    bnd_sql_bookmark_get(answer->bookmark, &bookmark);
    rest_reply(request, json_pack("{s:b, s:s, s:s, s:o, s:[], s:{s:I, s:o, s:o?}}", "success", 1,
                                  "type", "import", "status", "complete", "at_bookmark",
                                  cf_d1_bookmark_json(&bookmark), "messages", "result",
                                  "num_queries", (json_int_t)op->statements, "final_bookmark",
                                  cf_d1_bookmark_json(&bookmark), "meta", d1_meta(answer->text)));
}

static void on_executed(struct bnd_sql_call *call, int status,
                        const struct bnd_sql_answer *answer) {
    struct rest_request *request = call->data;
    if (cf_d1_failed(request, status)) {
        return;
    }
    ((struct import_op *)request->data)->answered = true;
    switch (answer->outcome) {
    case BND_SQL_DONE:
        reply_complete(request, answer);
        return;
    case BND_SQL_LOST:
        rest_fail(request, 503, D1_UNAVAILABLE, d1_text_lost);
        return;
    case BND_SQL_FAILED:
        rest_fail_text(request, 400, D1_SQL, answer->text);
        return;
    }
}

/* One statement's text with everything in it: all of it is one element of the answer. */
static int act_ingest(struct d1_use *use) {
    static const struct bnd_sql_request header = {.results = BND_SQL_ROWS,
                                                  .session = BND_SQL_PRIMARY};
    struct rest_request *request = use->data;
    struct import_op *op = request->data;
    if (memcmp(use->uuid, op->file->uuid, sizeof use->uuid) != 0) {
        malformed(request, "The file was uploaded for another database");
        return 0;
    }
    if (op->file->spool != NULL) {
        return load(request);
    }
    bnd_buf_reset(&op->request);
    bnd_sql_request_begin(&op->request, &header);
    bnd_sql_request_statement(&op->request, bnd_buf_slice(&op->file->bytes), 0);
    bnd_sql_request_end(&op->request, 1);
    op->call = (struct bnd_sql_call){.cb = on_executed, .data = request};
    return op->request.failed
               ? BND_NOMEM
               : bnd_sql_query(use->sql, &op->call, use->uuid, bnd_buf_slice(&op->request));
}

static void run_ingest(struct rest_request *request, const json_t *body) {
    struct import_op *op = request->data;
    const json_t *name = json_object_get(body, "filename");
    struct d1_file *file = d1_file_find(
        &request->rest->files, bnd_slice(json_string_value(name), json_string_length(name)));
    if (file != NULL && file->busy) {
        cf_d1_fail_busy(request);
        return;
    }
    if (file == NULL || !file->whole) {
        malformed(request, "The file has not been uploaded to this process, or too long ago");
        return;
    }
    if (file->load != NULL) {
        follow(request, file);
        return;
    }
    file->busy = true;
    op->file = file;
    op->statements = d1_split_count(bnd_buf_slice(&file->bytes));
    op->op.use.act = act_ingest;
    d1_use_start(&op->op.use);
}

/* ---- all
 * ------------------------------------------------------------------------------------------------
 */

static bool etag_valid(const char *etag) {
    return etag != NULL && strlen(etag) == D1_ETAG_TEXT - 1 &&
           strspn(etag, "0123456789abcdef") == D1_ETAG_TEXT - 1;
}

static void run_init(struct rest_request *request, const json_t *body) {
    struct import_op *op = request->data;
    const char *etag = json_string_value(json_object_get(body, "etag"));
    if (!etag_valid(etag)) {
        malformed(request, "etag must be the MD5 of the file, 32 hex digits");
        return;
    }
    (void)snprintf(op->etag, sizeof op->etag, "%s", etag); /* fits */
    op->op.use.act = act_init;
    d1_use_start(&op->op.use);
}

void cf_d1_run_import(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    const char *action = json_string_value(json_object_get(body, "action"));
    if (action == NULL || (strcmp(action, "init") != 0 && strcmp(action, "ingest") != 0 &&
                           strcmp(action, "poll") != 0)) {
        malformed(request, "action must be \"init\", \"ingest\" or \"poll\"");
    } else if (!cf_d1_begin(request, sizeof(struct import_op), clean_import)) {
        json_decref(body);
        return;
    } else if (strcmp(action, "init") == 0) {
        run_init(request, body);
    } else if (strcmp(action, "poll") == 0) {
        run_poll(request);
    } else {
        run_ingest(request, body);
    }
    json_decref(body);
}
