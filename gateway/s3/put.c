/* PutObject and UploadPart: body -> digests -> upload -> commit.
 *
 * Nothing is visible before the commit, which comes only when the whole body has been checked. */
#include "gateway/s3/put.h"
#include "gateway/s3/body.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/fields.h"

#include <stddef.h>

struct put_op {
    struct s3_body body; /* first: the callbacks find it */
    struct bnd_upload *upload;
    struct bnd_buf custom;
    struct bnd_object_fields fields;
    struct s3_conditions conditions;
    struct bnd_upload_commit commit;
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
    uint32_t part; /* 0: an object */
};

static struct put_op *op_of(struct s3_request *request) {
    return S3_OP(request, struct put_op);
}

void s3_fail_upload(struct s3_request *request, int status) {
    if (status == BND_LOCKED) {
        s3_locked(request);
    } else if (status == BND_NOTFOUND) {
        s3_missing(request, S3_NoSuchUpload, NULL);
    } else {
        s3_fail_code(request, status);
    }
}

static void on_committed(struct bnd_upload *upload, void *data, int status,
                         struct bnd_object *object) {
    struct s3_request *request = data;
    struct put_op *op = op_of(request);
    if (status == BND_PRECONDITION && op->part == 0) {
        s3_missing(request, S3_PreconditionFailed, NULL);
        return;
    }
    if (status != 0) {
        s3_fail_upload(request, status);
        return;
    }
    s3_reply_object(request, &object->meta, false);
    s3_checksums_write(&object->meta, &request->reply);
    s3_respond(request, 200, bnd_slice(NULL, 0));
}

void s3_take_checksums(const struct s3_body *body, struct bnd_upload_commit *commit) {
    memcpy(commit->etag_md5, body->computed.value[BND_CHECKSUM_MD5], sizeof commit->etag_md5);
    if (body->checksum != BND_CHECKSUM_COUNT) {
        commit->checksums.present = (uint8_t)(1u << body->checksum);
        memcpy(commit->checksums.value[body->checksum], body->computed.value[body->checksum],
               bnd_checksum_bytes(body->checksum));
    }
}

static void on_end(struct s3_request *request) {
    struct put_op *op = op_of(request);
    op->commit.fields = op->fields;
    op->commit.conditions = op->conditions.conditions;
    s3_take_checksums(&op->body, &op->commit);
    int rv = bnd_upload_commit(op->upload, &op->commit, on_committed, request);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void on_written(struct bnd_upload *upload, void *data, int status) {
    struct s3_request *request = data;
    if (status != 0) {
        s3_fail_upload(request, status);
        return;
    }
    s3_body_next(&op_of(request)->body);
}

static void on_data(struct s3_request *request, struct bnd_slice data) {
    int rv = bnd_upload_write(op_of(request)->upload, data, on_written, request);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void begin(struct s3_request *request) {
    struct put_op *op = op_of(request);
    struct bnd_error err = {0};
    struct bnd_upload_options options = {
        .name = s3_object_name(request),
        .size = op->body.length,
        .upload_id = op->part == 0 ? NULL : op->upload_id,
        .part = op->part,
    };
    int rv = bnd_upload_begin(request->service->services->objects, &options, &op->upload, &err);
    if (rv != 0) {
        s3_fail_code(request, rv);
        return;
    }
    s3_body_next(&op->body);
}

static enum s3_error prepare(struct s3_request *request, const char **why) {
    struct put_op *op = op_of(request);
    enum s3_error error = s3_body_open(&op->body, request, 0, why);
    if (error != S3_OK) {
        return error;
    }
    op->body.on_data = on_data;
    op->body.on_end = on_end;
    if (op->body.length != BND_OBJECT_SIZE_UNKNOWN && op->body.length > BND_OBJECT_BODY_MAX) {
        *why = s3_error_message(S3_EntityTooLarge);
        return S3_EntityTooLarge;
    }
    return S3_OK;
}

static void run_put(struct s3_request *request) {
    struct put_op *op = op_of(request);
    const char *why = NULL;
    enum s3_error error = prepare(request, &why);
    if (error == S3_OK && s3_query_has(&request->query, "partNumber")) {
        error = S3_InvalidArgument;
        why = "partNumber needs an uploadId.";
    }
    if (error == S3_OK) {
        error = s3_fields_read(request->http->head, &op->custom, &op->fields, &why);
    }
    if (error == S3_OK) {
        error = s3_conditions_read(request->http->head, "", &op->conditions, &why);
    }
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    begin(request);
}

enum s3_error s3_part_read(const struct s3_request *request, uint8_t id[BND_OBJECT_ID_BYTES],
                           uint32_t *out_part, const char **why) {
    uint64_t part = 0;
    *why = "partNumber must be a number between 1 and 10000.";
    if (!s3_query_number(&request->query, "partNumber", UINT32_MAX, &part) || part < 1 ||
        part > BND_OBJECT_PARTS_MAX) {
        return S3_InvalidArgument;
    }
    *out_part = (uint32_t)part;
    *why = s3_error_message(S3_NoSuchUpload);
    return bnd_object_id_parse(s3_query_get(&request->query, "uploadId"), id) == 0
               ? S3_OK
               : S3_NoSuchUpload;
}

static void run_part(struct s3_request *request) {
    struct put_op *op = op_of(request);
    const char *why = NULL;
    enum s3_error error = s3_part_read(request, op->upload_id, &op->part, &why);
    error = error != S3_OK ? error : prepare(request, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    op->fields = bnd_object_fields_none();
    op->conditions.conditions = bnd_object_conditions_none();
    begin(request);
}

static void clean(struct s3_request *request) {
    struct put_op *op = op_of(request);
    bnd_upload_destroy(op->upload);
    s3_body_close(&op->body);
    bnd_buf_free(&op->custom);
}

const struct s3_step s3_step_put = {run_put, clean, BND_PERM_OBJECT_WRITE, true};
const struct s3_step s3_step_upload_part = {run_part, clean, BND_PERM_OBJECT_WRITE, true};
