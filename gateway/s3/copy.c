/* CopyObject and UploadPartCopy: the bytes are read and written anew (architecture 8), at the pace
 * of both sides.
 *
 *   source bucket -> head -> conditions, range -> (chunk -> digest -> upload)* -> commit */
#include "base/alloc.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/fields.h"
#include "gateway/s3/put.h"
#include "gateway/s3/range.h"
#include "gateway/s3/xml_write.h"

#include <stddef.h>
#include <stdio.h>

/* Too large for the request's own room: one allocation more. Ended by clean. */
struct copy {
    struct s3_request *request;
    struct bnd_slice source_bucket;
    struct bnd_slice source_key;
    bool source_fresh; /* group 0 was asked for its bucket */
    struct bnd_object_head head;
    struct bnd_object object; /* until the reader takes it */
    struct bnd_object_reader *reader;
    struct bnd_upload *upload;
    struct s3_digest digest;
    struct bnd_work work;
    struct bnd_slice chunk; /* being hashed, then written */
    struct s3_conditions source_conditions;
    struct s3_conditions conditions;
    struct bnd_object_fields fields;
    struct bnd_buf custom; /* what replaced fields, or the source's copied ones, point into */
    struct bnd_upload_commit commit;
    uint64_t offset;
    uint64_t length;
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
    uint32_t part; /* 0: an object */
    bool replace;
    bool merge;            /* fields are the request's and, where it has none, the source's */
    struct bnd_buf merged; /* custom metadata */
    uint8_t space[];       /* decoded x-amz-copy-source */
};

struct copy_op {
    struct copy *copy;
};

static struct copy *copy_of(struct s3_request *request) {
    return S3_OP(request, struct copy_op)->copy;
}

/* ---- writing
 * -------------------------------------------------------------------------------------------- */

static void on_committed(struct bnd_upload *upload, void *data, int status,
                         struct bnd_object *object) {
    struct s3_request *request = data;
    const struct copy *copy = copy_of(request);
    BND_AUTO_BUF struct bnd_buf xml = {0};
    char etag[BND_OBJECT_ETAG_TEXT];
    char quoted[BND_OBJECT_ETAG_TEXT + 2];
    if (status == BND_PRECONDITION && copy->part == 0) {
        s3_missing(request, S3_PreconditionFailed, NULL);
        return;
    }
    if (status != 0) {
        s3_fail_upload(request, status);
        return;
    }
    const char *root = copy->part == 0 ? "CopyObjectResult" : "CopyPartResult";
    bnd_object_etag_text(&object->meta, etag);
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", etag);
    s3_xml_begin(&xml, root);
    s3_xml_time(&xml, "LastModified", object->meta.uploaded_ms);
    s3_xml_string(&xml, "ETag", quoted);
    s3_xml_close(&xml, root);
    s3_respond_xml(request, &xml);
}

static void commit(struct s3_request *request) {
    struct copy *copy = copy_of(request);
    struct bnd_object_checksums computed = {0};
    s3_digest_final(&copy->digest, &computed);
    copy->commit.fields = copy->fields;
    copy->commit.conditions = copy->conditions.conditions;
    memcpy(copy->commit.etag_md5, computed.value[BND_CHECKSUM_MD5], sizeof copy->commit.etag_md5);
    int rv = bnd_upload_commit(copy->upload, &copy->commit, on_committed, request);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void next_chunk(struct s3_request *request);

static void on_written(struct bnd_upload *upload, void *data, int status) {
    struct s3_request *request = data;
    if (status != 0) {
        s3_fail_upload(request, status);
    } else {
        next_chunk(request);
    }
}

static void run_digest(struct bnd_work *work) {
    struct copy *copy = work->data;
    s3_digest_update(&copy->digest, copy->chunk);
}

static void on_hashed(struct bnd_work *work, int status) {
    struct copy *copy = work->data;
    int rv = status != 0 ? status
                         : bnd_upload_write(copy->upload, copy->chunk, on_written, copy->request);
    if (rv != 0) {
        s3_fail_code(copy->request, rv);
    }
}

/* Chunks of a body in the store are hashed on the pool, an inline body here. */
static void write_chunk(struct s3_request *request, struct bnd_slice chunk) {
    struct copy *copy = copy_of(request);
    struct bnd_env *env = request->service->services->env;
    copy->chunk = chunk;
    copy->work = (struct bnd_work){.run = run_digest, .done = on_hashed, .data = copy};
    if (copy->reader == NULL || env->ops->work(env, &copy->work) != 0) {
        run_digest(&copy->work);
        on_hashed(&copy->work, 0);
    }
}

/* ---- reading
 * -------------------------------------------------------------------------------------------- */

static void on_chunk(struct bnd_object_reader *reader, void *data, int status,
                     struct bnd_slice chunk) {
    struct s3_request *request = data;
    if (status != 0) {
        /* A version freed since its head: another took its place, so the client may try again. */
        s3_fail_code(request, status == BND_NOTFOUND ? BND_UNAVAILABLE : status);
    } else if (chunk.len == 0) {
        commit(request);
    } else {
        write_chunk(request, chunk);
    }
}

static void next_chunk(struct s3_request *request) {
    struct copy *copy = copy_of(request);
    if (copy->reader == NULL) {
        commit(request); /* an inline body is one chunk */
        return;
    }
    int rv = bnd_object_reader_next(copy->reader, on_chunk, request);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

/* The source's fields live in its object, which the reader takes and keeps as long as it lives. */
static int begin(struct s3_request *request) {
    struct copy *copy = copy_of(request);
    struct bnd_objects *objects = request->service->services->objects;
    struct bnd_error err = {0};
    struct bnd_upload_options options = {
        .name = s3_object_name(request),
        .size = copy->length,
        .upload_id = copy->part == 0 ? NULL : copy->upload_id,
        .part = copy->part,
    };
    int rv = s3_digest_init(&copy->digest, 1u << BND_CHECKSUM_MD5);
    rv = rv != 0 ? rv : bnd_upload_begin(objects, &options, &copy->upload, &err);
    if (rv == 0 && copy->object.body.data == NULL && copy->length > 0) {
        rv = bnd_object_reader_open(objects, &copy->object, copy->offset, copy->length,
                                    &copy->reader);
    }
    return rv;
}

static enum s3_error take_range(struct s3_request *request, const char **why) {
    struct copy *copy = copy_of(request);
    struct bnd_slice range = s3_header(request, "x-amz-copy-source-range");
    copy->offset = 0;
    copy->length = copy->object.meta.size;
    *why = "x-amz-copy-source-range must be bytes=first-last within the source object.";
    if (range.data != NULL &&
        (copy->part == 0 ||
         !s3_copy_range_read(range, copy->object.meta.size, &copy->offset, &copy->length))) {
        return S3_InvalidArgument;
    }
    *why = s3_error_message(S3_EntityTooLarge);
    return copy->length > BND_OBJECT_BODY_MAX ? S3_EntityTooLarge : S3_OK;
}

static bool custom_holds(struct bnd_slice custom, struct bnd_slice name) {
    struct bnd_reader reader = bnd_reader(custom);
    struct bnd_slice other;
    struct bnd_slice value;
    while (bnd_object_custom_next(&reader, &other, &value)) {
        if (bnd_slice_eq(other, name)) {
            return true;
        }
    }
    return false;
}

/* The source's custom metadata under the request's. */
static enum s3_error merge_custom(struct copy *copy, struct bnd_slice given) {
    struct bnd_reader reader = bnd_reader(given);
    struct bnd_slice name;
    struct bnd_slice value;
    size_t bytes = 0;
    while (bnd_object_custom_next(&reader, &name, &value)) {
        bytes += name.len + value.len;
        bnd_object_custom_add(&copy->merged, name, value);
    }
    reader = bnd_reader(copy->object.meta.fields.custom);
    while (bnd_object_custom_next(&reader, &name, &value)) {
        if (!custom_holds(given, name)) {
            bytes += name.len + value.len;
            bnd_object_custom_add(&copy->merged, name, value);
        }
    }
    copy->fields.custom = bnd_buf_slice(&copy->merged);
    return copy->merged.failed             ? S3_SlowDown
           : bytes > BND_OBJECT_CUSTOM_MAX ? S3_MetadataTooLarge
                                           : S3_OK;
}

/* x-amz-metadata-directive: MERGE, R2's extension: what the request gives, else the source's. */
static enum s3_error merge_fields(struct copy *copy, const char **why) {
    const struct bnd_object_fields *source = &copy->object.meta.fields;
    struct bnd_object_fields *fields = &copy->fields;
    const struct {
        struct bnd_slice *field;
        struct bnd_slice source;
    } each[] = {
        {&fields->content_type, source->content_type},
        {&fields->content_language, source->content_language},
        {&fields->content_disposition, source->content_disposition},
        {&fields->content_encoding, source->content_encoding},
        {&fields->cache_control, source->cache_control},
        {&fields->storage_class, source->storage_class},
    };
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        if (each[i].field->data == NULL) {
            *each[i].field = each[i].source;
        }
    }
    if (fields->cache_expiry_ms == BND_OBJECT_NO_TIME) {
        fields->cache_expiry_ms = source->cache_expiry_ms;
    }
    enum s3_error error = merge_custom(copy, fields->custom);
    *why = s3_error_message(error);
    return error;
}

static void start(struct s3_request *request) {
    struct copy *copy = copy_of(request);
    const char *why = NULL;
    enum s3_error error = take_range(request, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    if (copy->merge) {
        error = merge_fields(copy, &why);
    } else if (!copy->replace) {
        copy->fields = copy->object.meta.fields;
    }
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    if (copy->part == 0) {
        copy->commit.checksums = copy->object.meta.checksums;
        copy->commit.checksums.present &= (uint8_t)~copy->commit.checksums.composite;
        copy->commit.checksums.composite = 0;
    }
    int rv = begin(request);
    if (rv != 0) {
        s3_fail_code(request, rv);
    } else if (copy->object.body.data != NULL && copy->length > 0) {
        write_chunk(request,
                    bnd_slice(copy->object.body.data + copy->offset, (size_t)copy->length));
    } else {
        next_chunk(request);
    }
}

/* ---- the source
 * ----------------------------------------------------------------------------------------- */

static void on_source_bucket(struct s3_request *request, const struct bnd_bucket_record *bucket);

static void on_head(struct bnd_object_head *head, int status, struct bnd_object *object) {
    struct s3_request *request = head->data;
    struct copy *copy = copy_of(request);
    if (status == BND_NOTFOUND && !copy->source_fresh) {
        s3_bucket_find(request, copy->source_bucket, true, on_source_bucket);
        return;
    }
    if (status == BND_NOTFOUND) {
        s3_fail(request, S3_NoSuchKey, NULL);
        return;
    }
    if (status != 0) {
        s3_fail_code(request, status);
        return;
    }
    if (bnd_object_conditions_check(&copy->source_conditions.conditions, &object->meta) !=
        BND_CONDITION_OK) {
        s3_fail(request, S3_PreconditionFailed, NULL);
        return;
    }
    bnd_object_move(&copy->object, object);
    start(request);
}

/* The second time, after a head that found nothing, it is group 0 that speaks: the bucket may have
 * been made anew since it was remembered. */
static void on_source_bucket(struct s3_request *request, const struct bnd_bucket_record *bucket) {
    struct copy *copy = copy_of(request);
    if (bucket == NULL) {
        bnd_catalog_bucket_forget(request->service->services->catalog, copy->source_bucket);
        s3_fail(request, S3_NoSuchBucket, NULL);
        return;
    }
    copy->source_fresh = request->bucket_asked;
    struct bnd_object_name name = {.bucket = {.id = bucket->id, .segments = bucket->segments},
                                   .key = copy->source_key};
    copy->head = (struct bnd_object_head){.cb = on_head, .data = request};
    int rv = bnd_object_head(request->service->services->objects, &copy->head, &name);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static enum s3_error read_directive(struct s3_request *request, const char **why) {
    struct copy *copy = copy_of(request);
    struct bnd_slice directive = s3_header(request, "x-amz-metadata-directive");
    bool itself = bnd_slice_eq(copy->source_bucket, request->target.bucket) &&
                  bnd_slice_eq(copy->source_key, request->target.key);
    copy->fields = bnd_object_fields_none();
    copy->replace = bnd_http_text_is(directive, "REPLACE");
    copy->merge = bnd_http_text_is(directive, "MERGE");
    if (directive.data != NULL && !copy->replace && !copy->merge &&
        !bnd_http_text_is(directive, "COPY")) {
        *why = "x-amz-metadata-directive must be COPY, REPLACE or MERGE.";
        return S3_InvalidArgument;
    }
    if (copy->part != 0) {
        copy->replace = true; /* a part has no fields of its own */
        copy->merge = false;
        return S3_OK;
    }
    if (itself && !copy->replace && !copy->merge) {
        *why = "This copy request is illegal because it is trying to copy an object to itself "
               "without changing the "
               "object's metadata.";
        return S3_InvalidRequest;
    }
    return copy->replace || copy->merge
               ? s3_fields_read(request->http->head, &copy->custom, &copy->fields, why)
               : S3_OK;
}

static enum s3_error prepare(struct s3_request *request, const char **why) {
    struct copy *copy = copy_of(request);
    struct bnd_slice source = s3_header(request, "x-amz-copy-source");
    enum s3_error error =
        s3_copy_source_parse(source, copy->space, &copy->source_bucket, &copy->source_key, why);
    error = error != S3_OK ? error : read_directive(request, why);
    error = error != S3_OK ? error
                           : s3_conditions_read(request->http->head, "x-amz-copy-source-",
                                                &copy->source_conditions, why);
    if (copy->part != 0) {
        copy->conditions.conditions = bnd_object_conditions_none();
        return error;
    }
    return error != S3_OK ? error
                          : s3_conditions_read(request->http->head, "", &copy->conditions, why);
}

static void run(struct s3_request *request, bool part) {
    struct bnd_slice source = s3_header(request, "x-amz-copy-source");
    struct copy *copy = bnd_zalloc(sizeof *copy + source.len + 1);
    const char *why = NULL;
    enum s3_error error = S3_OK;
    if (copy == NULL) {
        s3_fail_code(request, BND_NOMEM);
        return;
    }
    S3_OP(request, struct copy_op)->copy = copy;
    copy->request = request;
    if (part) {
        error = s3_part_read(request, copy->upload_id, &copy->part, &why);
    }
    error = error != S3_OK ? error : prepare(request, &why);
    if (error == S3_OK && !s3_allowed(request, BND_PERM_OBJECT_READ, copy->source_bucket)) {
        error = S3_AccessDenied;
    }
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    s3_bucket_find(request, copy->source_bucket, false, on_source_bucket);
}

static void run_copy(struct s3_request *request) {
    run(request, false);
}

static void run_part_copy(struct s3_request *request) {
    run(request, true);
}

static void clean(struct s3_request *request) {
    struct copy *copy = copy_of(request);
    if (copy == NULL) {
        return;
    }
    bnd_upload_destroy(copy->upload);
    bnd_object_reader_destroy(copy->reader);
    bnd_object_free(&copy->object);
    s3_digest_free(&copy->digest);
    bnd_buf_free(&copy->custom);
    bnd_buf_free(&copy->merged);
    bnd_free(copy);
}

const struct s3_step s3_step_copy = {run_copy, clean, BND_PERM_OBJECT_WRITE, true};
const struct s3_step s3_step_upload_part_copy = {run_part_copy, clean, BND_PERM_OBJECT_WRITE, true};
