/* DeleteObjects: up to 1,000 keys in one request; each key's outcome is told by itself. */
#include "gateway/s3/s3_private.h"
#include "gateway/s3/xml_read.h"
#include "gateway/s3/xml_write.h"

#include <stddef.h>

#include "base/alloc.h"

struct delete_objects_op {
    struct s3_xml_body xml; /* first: xml_read.c finds it */
    struct bnd_object_delete_many del;
    struct bnd_buf keys_text; /* the keys one after the other */
    size_t *ends;             /* of each key in keys_text */
    struct bnd_slice *keys;
    size_t count;
    bool quiet;
    bool unsupported; /* a versionId was given */
};

static struct delete_objects_op *op_of(struct s3_request *request) {
    return S3_OP(request, struct delete_objects_op);
}

static int on_element(void *data, const char *path, struct bnd_slice text) {
    struct delete_objects_op *op = data;
    if (strcmp(path, "Delete/Quiet") == 0) {
        op->quiet = bnd_http_text_is(text, "true");
    } else if (strcmp(path, "Delete/Object/VersionId") == 0 && text.len > 0) {
        op->unsupported = true;
    } else if (strcmp(path, "Delete/Object/Key") == 0) {
        if (op->count == BND_OBJECT_DELETE_MAX || text.len == 0 || text.len > BND_OBJECT_KEY_MAX) {
            return BND_INVALID;
        }
        bnd_buf_append_slice(&op->keys_text, text);
        op->ends[op->count++] = op->keys_text.len;
    } else if (strcmp(path, "Delete/Object") != 0 && strncmp(path, "Delete", 6) != 0) {
        return BND_INVALID;
    }
    return op->keys_text.failed ? BND_NOMEM : 0;
}

static void write_result(const struct delete_objects_op *op, size_t i, int result,
                         struct bnd_buf *xml) {
    if (result == 0 || result == BND_NOTFOUND) {
        if (!op->quiet) {
            s3_xml_open(xml, "Deleted");
            s3_xml_element(xml, "Key", op->keys[i]);
            s3_xml_close(xml, "Deleted");
        }
        return;
    }
    enum s3_error error = s3_error_of(result);
    s3_xml_open(xml, "Error");
    s3_xml_element(xml, "Key", op->keys[i]);
    s3_xml_string(xml, "Code", s3_error_code(error));
    s3_xml_string(xml, "Message", s3_error_message(error));
    s3_xml_close(xml, "Error");
}

static void on_deleted(struct bnd_object_delete_many *del, const int *results, size_t count) {
    struct s3_request *request = del->data;
    struct delete_objects_op *op = op_of(request);
    BND_AUTO_BUF struct bnd_buf xml = {0};
    s3_xml_begin(&xml, "DeleteResult");
    for (size_t i = 0; i < count; i++) {
        write_result(op, i, results[i], &xml);
    }
    s3_xml_close(&xml, "DeleteResult");
    s3_respond_xml(request, &xml);
}

static void delete_keys(struct s3_request *request) {
    struct delete_objects_op *op = op_of(request);
    op->del = (struct bnd_object_delete_many){.cb = on_deleted, .data = request};
    int rv = bnd_object_delete_many(request->service->services->objects, &op->del,
                                    s3_bucket_ref(request), op->keys, op->count);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void on_document(struct s3_request *request, struct bnd_slice document) {
    struct delete_objects_op *op = op_of(request);
    op->ends = bnd_calloc(BND_OBJECT_DELETE_MAX, sizeof *op->ends);
    op->keys = bnd_calloc(BND_OBJECT_DELETE_MAX, sizeof *op->keys);
    int rv =
        op->ends == NULL || op->keys == NULL ? BND_NOMEM : s3_xml_parse(document, on_element, op);
    if (rv == BND_INVALID || (rv == 0 && op->count == 0)) {
        s3_fail(request, S3_MalformedXML, NULL);
    } else if (rv != 0) {
        s3_fail_code(request, rv);
    } else if (op->unsupported) {
        s3_fail(request, S3_NotImplemented, NULL);
    } else {
        for (size_t i = 0; i < op->count; i++) {
            size_t begin = i == 0 ? 0 : op->ends[i - 1];
            op->keys[i] = bnd_slice(op->keys_text.data + begin, op->ends[i] - begin);
        }
        delete_keys(request);
    }
}

/* The bucket is verified first: deleting from a bucket that is gone must not look like a success.
 */
static void read_body(struct s3_request *request) {
    s3_xml_body_read(&op_of(request)->xml, request, on_document);
}

static void run(struct s3_request *request) {
    s3_missing(request, S3_OK, read_body);
}

static void clean(struct s3_request *request) {
    struct delete_objects_op *op = op_of(request);
    s3_xml_body_close(&op->xml, request);
    bnd_buf_free(&op->keys_text);
    bnd_free(op->ends);
    bnd_free(op->keys);
}

const struct s3_step s3_step_delete_objects = {run, clean, BND_PERM_OBJECT_WRITE, true};
