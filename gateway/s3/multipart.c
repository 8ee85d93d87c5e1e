/* CreateMultipartUpload, AbortMultipartUpload, ListParts, ListMultipartUploads. UploadPart is in
 * put.c, CompleteMultipartUpload in complete.c. */
#include "gateway/s3/fields.h"
#include "gateway/s3/put.h"
#include "gateway/s3/xml_write.h"

#include <stddef.h>

static struct bnd_objects *objects_of(const struct s3_request *request) {
    return request->service->services->objects;
}

static bool read_upload_id(const struct s3_request *request, uint8_t out[BND_OBJECT_ID_BYTES]) {
    return bnd_object_id_parse(s3_query_get(&request->query, "uploadId"), out) == 0;
}

static void write_names(struct s3_request *request, struct bnd_buf *xml, const uint8_t *upload_id) {
    s3_xml_element(xml, "Bucket", request->target.bucket);
    s3_xml_element(xml, "Key", request->target.key);
    if (upload_id != NULL) {
        char text[BND_OBJECT_ID_TEXT];
        bnd_object_id_text(upload_id, text);
        s3_xml_string(xml, "UploadId", text);
    }
}

/* ---- CreateMultipartUpload
 * ------------------------------------------------------------------------------ */

struct create_op {
    struct bnd_multipart_create create;
    struct bnd_multipart_create_options options;
    struct bnd_buf custom;
};

static void on_created(struct bnd_multipart_create *create, int status,
                       const uint8_t upload_id[BND_OBJECT_ID_BYTES]) {
    struct s3_request *request = create->data;
    BND_AUTO_BUF struct bnd_buf xml = {0};
    if (status != 0) {
        s3_fail_upload(request, status);
        return;
    }
    s3_xml_begin(&xml, "InitiateMultipartUploadResult");
    write_names(request, &xml, upload_id);
    s3_xml_close(&xml, "InitiateMultipartUploadResult");
    s3_respond_xml(request, &xml);
}

/* x-amz-checksum-algorithm and -type: CRC64NVME is of the whole object, SHA of the parts'
 * checksums, the other CRCs of either, the parts' by default (S3 API, "Checking object integrity").
 */
static enum s3_error read_checksum(struct s3_request *request,
                                   struct bnd_multipart_create_options *options, const char **why) {
    struct bnd_slice algorithm = s3_header(request, "x-amz-checksum-algorithm");
    struct bnd_slice type = s3_header(request, "x-amz-checksum-type");
    if (algorithm.data == NULL) {
        return S3_OK;
    }
    enum bnd_checksum kind = s3_checksum_named(algorithm);
    *why = "x-amz-checksum-algorithm must be CRC32, CRC32C, CRC64NVME, SHA1 or SHA256.";
    if (kind == BND_CHECKSUM_COUNT) {
        return S3_InvalidRequest;
    }
    options->checksum = (uint8_t)(1u << kind);
    bool sha = kind == BND_CHECKSUM_SHA1 || kind == BND_CHECKSUM_SHA256;
    bool whole =
        type.data == NULL ? kind == BND_CHECKSUM_CRC64NVME : bnd_http_text_is(type, "FULL_OBJECT");
    options->composite = !whole;
    *why = "x-amz-checksum-type does not go with the checksum algorithm.";
    bool known = type.data == NULL || whole || bnd_http_text_is(type, "COMPOSITE");
    return known && !(whole && sha) && !(!whole && kind == BND_CHECKSUM_CRC64NVME)
               ? S3_OK
               : S3_InvalidRequest;
}

static void run_create(struct s3_request *request) {
    struct create_op *op = S3_OP(request, struct create_op);
    const char *why = NULL;
    op->options.name = s3_object_name(request);
    enum s3_error error =
        s3_fields_read(request->http->head, &op->custom, &op->options.fields, &why);
    error = error != S3_OK ? error : read_checksum(request, &op->options, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    op->create = (struct bnd_multipart_create){.cb = on_created, .data = request};
    if (op->options.checksum != 0) {
        enum bnd_checksum kind = (enum bnd_checksum)__builtin_ctz(op->options.checksum);
        s3_reply_text(&request->reply, "x-amz-checksum-algorithm",
                      bnd_slice_str(s3_checksum_name(kind)));
        s3_reply_text(&request->reply, "x-amz-checksum-type",
                      bnd_slice_str(op->options.composite ? "COMPOSITE" : "FULL_OBJECT"));
    }
    int rv = bnd_multipart_create(objects_of(request), &op->create, &op->options);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void clean_create(struct s3_request *request) {
    bnd_buf_free(&S3_OP(request, struct create_op)->custom);
}

/* ---- AbortMultipartUpload
 * ------------------------------------------------------------------------------- */

static void on_aborted(struct bnd_multipart_abort *abort, int status) {
    struct s3_request *request = abort->data;
    if (status == 0) {
        s3_respond(request, 204, bnd_slice(NULL, 0));
    } else {
        s3_fail_upload(request, status);
    }
}

static void run_abort(struct s3_request *request) {
    struct bnd_multipart_abort *op = S3_OP(request, struct bnd_multipart_abort);
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
    struct bnd_object_name name = s3_object_name(request);
    if (!read_upload_id(request, upload_id)) {
        s3_missing(request, S3_NoSuchUpload, NULL);
        return;
    }
    *op = (struct bnd_multipart_abort){.cb = on_aborted, .data = request};
    int rv = bnd_multipart_abort(objects_of(request), op, &name, upload_id);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

/* ---- ListParts
 * ------------------------------------------------------------------------------------------ */

struct parts_op {
    struct bnd_multipart_parts parts;
    struct bnd_multipart_parts_options options;
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
};

static void write_part(const struct bnd_multipart_part *part, struct bnd_buf *xml) {
    char etag[2 * 16 + 3];
    etag[0] = '"';
    bnd_hex_encode(part->etag_md5, sizeof part->etag_md5, etag + 1);
    etag[33] = '"';
    etag[34] = 0;
    s3_xml_open(xml, "Part");
    s3_xml_number(xml, "PartNumber", part->number);
    s3_xml_time(xml, "LastModified", part->uploaded_ms);
    s3_xml_string(xml, "ETag", etag);
    s3_xml_number(xml, "Size", part->size);
    s3_checksums_element(&part->checksums, 0, xml);
    s3_xml_close(xml, "Part");
}

static void on_parts(struct bnd_multipart_parts *parts, int status,
                     const struct bnd_multipart_parts_page *page) {
    struct s3_request *request = parts->data;
    struct parts_op *op = S3_OP(request, struct parts_op);
    BND_AUTO_BUF struct bnd_buf xml = {0};
    if (status != 0) {
        s3_fail_upload(request, status);
        return;
    }
    s3_xml_begin(&xml, "ListPartsResult");
    write_names(request, &xml, op->upload_id);
    s3_xml_string(&xml, "StorageClass", "STANDARD");
    s3_xml_number(&xml, "PartNumberMarker", op->options.after);
    s3_xml_number(&xml, "MaxParts", op->options.limit);
    s3_xml_bool(&xml, "IsTruncated", page->truncated);
    if (page->count > 0) {
        s3_xml_number(&xml, "NextPartNumberMarker", page->parts[page->count - 1].number);
    }
    for (size_t i = 0; i < page->count; i++) {
        write_part(&page->parts[i], &xml);
    }
    s3_xml_close(&xml, "ListPartsResult");
    s3_respond_xml(request, &xml);
}

static void run_parts(struct s3_request *request) {
    struct parts_op *op = S3_OP(request, struct parts_op);
    uint64_t after = 0;
    uint64_t limit = BND_OBJECT_LIST_MAX;
    if (!read_upload_id(request, op->upload_id)) {
        s3_missing(request, S3_NoSuchUpload, NULL);
        return;
    }
    if (!s3_query_number(&request->query, "part-number-marker", BND_OBJECT_PARTS_MAX, &after) ||
        !s3_query_number(&request->query, "max-parts", BND_OBJECT_LIST_MAX, &limit) || limit == 0) {
        s3_fail(request, S3_InvalidArgument, NULL);
        return;
    }
    op->options = (struct bnd_multipart_parts_options){.name = s3_object_name(request),
                                                       .upload_id = op->upload_id,
                                                       .after = (uint32_t)after,
                                                       .limit = (uint32_t)limit};
    op->parts = (struct bnd_multipart_parts){.cb = on_parts, .data = request};
    int rv = bnd_multipart_parts(objects_of(request), &op->parts, &op->options);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

/* ---- ListMultipartUploads
 * ------------------------------------------------------------------------------- */

struct uploads_op {
    struct bnd_multipart_uploads uploads;
    struct bnd_multipart_uploads_options options;
    uint8_t after_upload[BND_OBJECT_ID_BYTES];
    struct bnd_buf xml; /* the answer, while the bucket is verified */
    bool url;
};

static struct uploads_op *uploads_of(struct s3_request *request) {
    return S3_OP(request, struct uploads_op);
}

static void write_upload(const struct uploads_op *op, const struct bnd_multipart_upload *upload,
                         struct bnd_buf *xml) {
    char id[BND_OBJECT_ID_TEXT];
    if (upload->is_prefix) {
        s3_xml_open(xml, "CommonPrefixes");
        s3_xml_key(xml, "Prefix", upload->key, op->url);
        s3_xml_close(xml, "CommonPrefixes");
        return;
    }
    bnd_object_id_text(upload->upload_id, id);
    s3_xml_open(xml, "Upload");
    s3_xml_key(xml, "Key", upload->key, op->url);
    s3_xml_string(xml, "UploadId", id);
    s3_xml_element(xml, "StorageClass",
                   upload->storage_class.data == NULL ? bnd_slice_str("STANDARD")
                                                      : upload->storage_class);
    s3_xml_time(xml, "Initiated", upload->initiated_ms);
    s3_xml_close(xml, "Upload");
}

static void write_uploads(struct s3_request *request, const struct bnd_multipart_uploads_page *page,
                          struct bnd_buf *xml) {
    const struct uploads_op *op = uploads_of(request);
    s3_xml_begin(xml, "ListMultipartUploadsResult");
    s3_xml_element(xml, "Bucket", request->target.bucket);
    s3_xml_key(xml, "Prefix", op->options.prefix, op->url);
    s3_xml_key(xml, "KeyMarker", op->options.after_key, op->url);
    s3_xml_number(xml, "MaxUploads", op->options.limit);
    s3_xml_bool(xml, "IsTruncated", page->truncated);
    if (page->truncated && page->count > 0) {
        const struct bnd_multipart_upload *last = &page->uploads[page->count - 1];
        char id[BND_OBJECT_ID_TEXT] = "";
        s3_xml_key(xml, "NextKeyMarker", last->key, op->url);
        if (!last->is_prefix) {
            bnd_object_id_text(last->upload_id, id);
        }
        s3_xml_string(xml, "NextUploadIdMarker", id);
    }
    for (size_t i = 0; i < page->count; i++) {
        write_upload(op, &page->uploads[i], xml);
    }
    s3_xml_close(xml, "ListMultipartUploadsResult");
}

static void respond_uploads(struct s3_request *request) {
    struct bnd_buf xml = uploads_of(request)->xml;
    uploads_of(request)->xml = (struct bnd_buf){0};
    s3_respond_xml(request, &xml);
    bnd_buf_free(&xml);
}

static void on_uploads(struct bnd_multipart_uploads *uploads, int status,
                       const struct bnd_multipart_uploads_page *page) {
    struct s3_request *request = uploads->data;
    if (status != 0) {
        s3_fail_code(request, status);
        return;
    }
    write_uploads(request, page, &uploads_of(request)->xml);
    if (page->count == 0) {
        s3_missing(request, S3_OK, respond_uploads);
    } else {
        respond_uploads(request);
    }
}

static bool ends_with(struct bnd_slice text, struct bnd_slice end) {
    return end.len > 0 && text.len >= end.len &&
           memcmp(text.data + text.len - end.len, end.data, end.len) == 0;
}

static void run_uploads(struct s3_request *request) {
    struct uploads_op *op = uploads_of(request);
    const struct s3_query *query = &request->query;
    uint64_t limit = BND_OBJECT_LIST_MAX;
    struct bnd_slice after_upload = s3_query_get(query, "upload-id-marker");
    op->url = bnd_slice_eq(s3_query_get(query, "encoding-type"), bnd_slice_str("url"));
    op->options = (struct bnd_multipart_uploads_options){
        .bucket = s3_bucket_ref(request),
        .prefix = s3_query_get(query, "prefix"),
        .delimiter = s3_query_get(query, "delimiter"),
        .after_key = s3_query_get(query, "key-marker"),
    };
    bool id_given = after_upload.len > 0 && op->options.after_key.len > 0;
    if (!s3_query_number(query, "max-uploads", BND_OBJECT_LIST_MAX, &limit) || limit == 0 ||
        (id_given && bnd_object_id_parse(after_upload, op->after_upload) != 0)) {
        s3_fail(request, S3_InvalidArgument, NULL);
        return;
    }
    op->options.limit = (uint32_t)limit;
    op->options.after_upload = id_given ? op->after_upload : NULL;
    op->options.after_prefix = !id_given && ends_with(op->options.after_key, op->options.delimiter);
    op->uploads = (struct bnd_multipart_uploads){.cb = on_uploads, .data = request};
    int rv = bnd_multipart_uploads(objects_of(request), &op->uploads, &op->options);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void clean_uploads(struct s3_request *request) {
    bnd_buf_free(&uploads_of(request)->xml);
}

const struct s3_step s3_step_create_upload = {run_create, clean_create, BND_PERM_OBJECT_WRITE,
                                              true};
const struct s3_step s3_step_abort_upload = {run_abort, NULL, BND_PERM_OBJECT_WRITE, true};
const struct s3_step s3_step_list_parts = {run_parts, NULL, BND_PERM_OBJECT_READ, true};
const struct s3_step s3_step_list_uploads = {run_uploads, clean_uploads, BND_PERM_OBJECT_READ,
                                             true};
