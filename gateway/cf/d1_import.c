/* POST .../import, as wrangler's `d1 execute --file` and the SDK use it: init answers a URL, the
 * file is put there, ingest executes it as one transaction and answers when it is done. So a file
 * is imported whole or not at all, is at most as large as a transaction may be, and stays with the
 * process that was asked. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/d1/files.h"
#include "gateway/d1/split.h"
#include "gateway/s3/hash.h"

#define MD5_LEN 16

static void malformed(struct rest_request *request, const char *why) {
    rest_fail(request, 400, D1_MALFORMED, why);
}

/* ---- the file
 * ------------------------------------------------------------------------------------------------
 */

struct put_op {
    struct d1_file *file;
    struct bnd_http_read read;
};

static void clean_put(struct rest_request *request) {
    struct put_op *op = request->data;
    op->file->busy = false;
    bnd_free(op);
}

static void reply_etag(struct rest_request *request, const char *etag) {
    char quoted[D1_ETAG_TEXT + 2];
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", etag); /* fits */
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("ETag"), bnd_slice_str(quoted)},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = 2};
    if (bnd_http_respond(request->http, &response) != 0) {
        bnd_http_abort(request->http);
    }
    rest_release(request);
}

static void end_put(struct rest_request *request) {
    struct put_op *op = request->data;
    struct bnd_slice bytes = bnd_buf_slice(&op->file->bytes);
    uint8_t md5[MD5_LEN];
    char text[2 * MD5_LEN + 1];
    int ok = EVP_Digest(bytes.data, bytes.len, md5, NULL, s3_hash(BND_CHECKSUM_MD5), NULL);
    bnd_hex_encode(md5, sizeof md5, text);
    if (ok != 1 || strcmp(text, op->file->etag) != 0) {
        d1_file_clear(&request->rest->files, op->file);
        malformed(request, "the file is not the one that was announced: its MD5 is another");
        return;
    }
    op->file->whole = true;
    reply_etag(request, text);
}

static void fail_put(struct rest_request *request, int status) {
    struct put_op *op = request->data;
    d1_file_clear(&request->rest->files, op->file);
    if (status == BND_TOOBIG) {
        rest_fail(request, 413, D1_MALFORMED,
                  "Files above 4 MiB cannot be imported yet: they would take several transactions");
    } else {
        cf_d1_fail(request, status);
    }
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    struct put_op *op = request->data;
    if (status != 0) {
        d1_file_clear(&request->rest->files, op->file);
        rest_abort(request);
        return;
    }
    if (chunk == NULL) {
        end_put(request);
        return;
    }
    int rv = d1_file_take(&request->rest->files, op->file, chunk->bytes);
    bnd_http_chunk_release(chunk);
    if (rv != 0) {
        fail_put(request, rv);
        return;
    }
    bnd_http_body_read(request->http, read);
}

/* Whoever has the URL may put the file: nothing happens with it before it is ingested. */
void cf_d1_run_file_put(struct rest_request *request) {
    struct d1_file *file = d1_file_find(&request->rest->files, rest_segment(request, CF_D1_FILE));
    if (file == NULL || file->busy || file->etag[0] == 0) {
        rest_fail(request, 404, D1_MALFORMED, "There is no such file at this process");
        return;
    }
    struct put_op *op = bnd_zalloc(sizeof *op);
    if (op == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    op->file = file;
    file->busy = true;
    request->data = op;
    request->clean = clean_put;
    d1_file_clear(&request->rest->files, file);
    op->read =
        (struct bnd_http_read){.cb = on_piece, .data = request, .bytes_min = BND_HTTP_CHUNK_BYTES};
    bnd_http_body_read(request->http, &op->read);
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
};

static void clean_import(struct rest_request *request) {
    struct import_op *op = request->data;
    bnd_buf_free(&op->request);
    if (op->file == NULL) {
        return;
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

/* ---- ingest
 * ------------------------------------------------------------------------------------------------
 */

static json_t *meta_of(struct bnd_slice answer) {
    json_t *all = json_loadb((const char *)answer.data, answer.len, 0, NULL);
    json_t *meta = json_incref(json_object_get(json_array_get(all, 0), "meta"));
    json_decref(all);
    return meta;
}

static void reply_complete(struct rest_request *request, const struct bnd_sql_answer *answer) {
    struct import_op *op = request->data;
    struct bnd_sql_bookmark bookmark;
    bnd_sql_bookmark_get(answer->bookmark, &bookmark);
    rest_reply(request, json_pack("{s:b, s:s, s:s, s:o, s:[], s:{s:I, s:o, s:o?}}", "success", 1,
                                  "type", "import", "status", "complete", "at_bookmark",
                                  cf_d1_bookmark_json(&bookmark), "messages", "result",
                                  "num_queries", (json_int_t)op->statements, "final_bookmark",
                                  cf_d1_bookmark_json(&bookmark), "meta", meta_of(answer->text)));
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
    if (file == NULL || !file->whole || file->busy || file->etag[0] == 0) {
        malformed(request, "The file has not been uploaded to this process, or too long ago");
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
    } else if (strcmp(action, "poll") == 0) {
        malformed(request, "Not currently importing anything");
    } else if (!cf_d1_begin(request, sizeof(struct import_op), clean_import)) {
        json_decref(body);
        return;
    } else if (strcmp(action, "init") == 0) {
        run_init(request, body);
    } else {
        run_ingest(request, body);
    }
    json_decref(body);
}
