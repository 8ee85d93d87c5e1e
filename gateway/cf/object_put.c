/* wrangler r2 object put and delete.
 *
 * A body comes piece by piece: digest (on the pool), upload, then the next piece is asked for, so
 * that one piece is in memory. Nothing is visible before the commit. */
#include "base/alloc.h"
#include "gateway/cf/cf.h"
#include "gateway/s3/digest.h"
#include "gateway/s3/fields.h"

struct put_op {
    struct cf_op op; /* first */
    struct bnd_upload *upload;
    struct s3_digest digest;
    struct bnd_buf custom;
    struct bnd_object_fields fields;
    struct bnd_http_read read;
    struct bnd_http_chunk *chunk;
    struct bnd_work work;
    struct bnd_upload_commit commit;
};

static void clean_put(struct rest_request *request) {
    struct put_op *op = request->data;
    bnd_upload_destroy(op->upload);
    if (op->chunk != NULL) {
        bnd_http_chunk_release(op->chunk);
    }
    s3_digest_free(&op->digest);
    bnd_buf_free(&op->custom);
}

/* ---- the end
 * -------------------------------------------------------------------------------------------- */

static void on_committed(struct bnd_upload *upload, void *data, int status,
                         struct bnd_object *object) {
    struct rest_request *request = data;
    struct put_op *op = request->data;
    if (status != 0) {
        cf_fail(request, status);
        return;
    }
    rest_reply(request, cf_object_json(op->op.name.key, &object->meta));
}

static void commit(struct rest_request *request) {
    struct put_op *op = request->data;
    struct bnd_object_checksums computed = {0};
    s3_digest_final(&op->digest, &computed);
    op->commit.fields = op->fields;
    op->commit.conditions = bnd_object_conditions_none();
    memcpy(op->commit.etag_md5, computed.value[BND_CHECKSUM_MD5], sizeof op->commit.etag_md5);
    int rv = bnd_upload_commit(op->upload, &op->commit, on_committed, request);
    if (rv != 0) {
        cf_fail(request, rv);
    }
}

/* ---- a piece
 * -------------------------------------------------------------------------------------------- */

static void on_written(struct bnd_upload *upload, void *data, int status) {
    struct rest_request *request = data;
    struct put_op *op = request->data;
    if (status != 0) {
        cf_fail(request, status);
        return;
    }
    bnd_http_chunk_release(op->chunk);
    op->chunk = NULL;
    bnd_http_body_read(request->http, &op->read);
}

static void write_piece(struct rest_request *request) {
    struct put_op *op = request->data;
    int rv = bnd_upload_write(op->upload, op->chunk->bytes, on_written, request);
    if (rv != 0) {
        cf_fail(request, rv);
    }
}

static void run_digest(struct bnd_work *work) {
    struct put_op *op = ((struct rest_request *)work->data)->data;
    s3_digest_update(&op->digest, op->chunk->bytes);
}

static void digest_done(struct bnd_work *work, int status) {
    struct rest_request *request = work->data;
    if (status != 0) {
        rest_fail_code(request, status);
        return;
    }
    write_piece(request);
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    struct put_op *op = request->data;
    struct bnd_env *env = request->services->env;
    if (status != 0) {
        rest_abort(request); /* the client is gone, or its framing broken: no answer arrives */
        return;
    }
    if (chunk == NULL) {
        commit(request);
        return;
    }
    op->chunk = chunk;
    op->work = (struct bnd_work){.run = run_digest, .done = digest_done, .data = request};
    if (env->ops->work(env, &op->work) != 0) {
        run_digest(&op->work); /* the pool has no room: a piece is a tenth of a millisecond */
        write_piece(request);
    }
}

/* ---- the begin
 * ------------------------------------------------------------------------------------------ */

/* False: the request has been ended. */
static bool read_fields(struct rest_request *request) {
    struct put_op *op = request->data;
    const char *why = NULL;
    enum s3_error error = s3_fields_read(request->http->head, &op->custom, &op->fields, &why);
    if (error != S3_OK) {
        rest_fail(request, s3_error_status(error),
                  error == S3_MetadataTooLarge ? CF_METADATA : CF_ARGUMENT, why);
        return false;
    }
    const struct bnd_slice *class = bnd_http_header(request->http, "cf-r2-storage-class");
    if (class == NULL || bnd_slice_eq(*class, bnd_slice_str("Standard"))) {
        return true;
    }
    if (!bnd_slice_eq(*class, bnd_slice_str("InfrequentAccess"))) {
        rest_fail(request, 400, CF_ARGUMENT,
                  "cf-r2-storage-class must be Standard or InfrequentAccess.");
        return false;
    }
    op->fields.storage_class = bnd_slice_str("STANDARD_IA");
    return true;
}

static void begin_put(struct rest_request *request) {
    struct put_op *op = request->data;
    const struct bnd_http_head *head = request->http->head;
    struct bnd_upload_options options = {
        .name = op->op.name,
        .size = head->chunked ? BND_OBJECT_SIZE_UNKNOWN : head->content_length,
    };
    if (!read_fields(request)) {
        return;
    }
    int rv = s3_digest_init(&op->digest, 1u << BND_CHECKSUM_MD5);
    rv = rv != 0 ? rv : bnd_upload_begin(request->services->objects, &options, &op->upload, NULL);
    if (rv != 0) {
        cf_fail(request, rv);
        return;
    }
    op->read =
        (struct bnd_http_read){.cb = on_piece, .data = request, .bytes_min = BND_HTTP_CHUNK_BYTES};
    bnd_http_body_read(request->http, &op->read);
}

void cf_run_object_put(struct rest_request *request) {
    cf_open(request, sizeof(struct put_op), begin_put, clean_put);
}

/* ---- delete
 * --------------------------------------------------------------------------------------------- */

struct delete_op {
    struct cf_op op; /* first */
    struct bnd_object_delete del;
};

/* Deleting what is not there is a success, as in R2. */
static void on_deleted(struct bnd_object_delete *del, int status, bool existed) {
    struct rest_request *request = del->data;
    struct delete_op *op = request->data;
    if (status != 0 && status != BND_NOTFOUND) {
        cf_fail(request, status);
        return;
    }
    rest_reply(request, json_pack("{s:o}", "key", rest_text_json(op->op.name.key)));
}

static void begin_delete(struct rest_request *request) {
    struct delete_op *op = request->data;
    op->del = (struct bnd_object_delete){.cb = on_deleted, .data = request};
    int rv = bnd_object_delete(request->services->objects, &op->del, &op->op.name, NULL);
    if (rv != 0) {
        cf_fail(request, rv);
    }
}

void cf_run_object_delete(struct rest_request *request) {
    cf_open(request, sizeof(struct delete_op), begin_delete, NULL);
}
