/* Objects over the Cloudflare API: put, get, delete of one key. Bodies are streamed at the pace of
 * both sides, and a put becomes visible only when the whole body was there. */
#include "base/alloc.h"
#include "gateway/cf/cf.h"
#include "gateway/s3/date.h"
#include "gateway/s3/digest.h"
#include "gateway/s3/fields.h"

/* ---- put
 * ------------------------------------------------------------------------------------------------
 */

struct put {
    struct bnd_upload *upload;
    struct s3_digest digest;
    struct bnd_http_chunk *chunk;
    struct bnd_buf custom;
    struct bnd_upload_commit commit;
};

static void clean_put(struct rest_request *request) {
    struct put *put = request->data;
    bnd_upload_destroy(put->upload);
    s3_digest_free(&put->digest);
    bnd_buf_free(&put->custom);
    if (put->chunk != NULL) {
        bnd_http_chunk_release(put->chunk);
    }
    bnd_free(put);
}

static void fail_object(struct rest_request *request, int status) {
    if (status == BND_NOTFOUND) {
        rest_fail(request, 404, CF_NO_KEY, "The specified key does not exist.");
    } else if (status == BND_LOCKED) {
        bnd_catalog_bucket_forget(request->services->catalog, rest_segment(request, CF_BUCKET));
        rest_fail(request, 404, CF_NO_BUCKET,
                  "The specified bucket does not exist, or is being deleted.");
    } else {
        rest_fail_code(request, status);
    }
}

static void on_committed(struct bnd_upload *upload, void *data, int status,
                         struct bnd_object *object) {
    struct rest_request *request = data;
    char etag[BND_OBJECT_ETAG_TEXT];
    char version[BND_OBJECT_ID_TEXT];
    char uploaded[S3_DATE_TEXT];
    if (status != 0) {
        fail_object(request, status);
        return;
    }
    struct bnd_slice key = rest_segments_from(request, CF_KEY);
    bnd_object_etag_text(&object->meta, etag);
    bnd_object_id_text(object->meta.version, version);
    s3_date_iso(object->meta.uploaded_ms, uploaded);
    rest_reply(request, json_pack("{s:o, s:s, s:s, s:I, s:s, s:s}", "key",
                                  json_stringn((const char *)key.data, key.len), "etag", etag,
                                  "version", version, "size", (json_int_t)object->meta.size,
                                  "uploaded", uploaded, "storage_class", "Standard"));
}

static void commit(struct rest_request *request) {
    struct put *put = request->data;
    struct bnd_object_checksums computed = {0};
    s3_digest_final(&put->digest, &computed);
    memcpy(put->commit.etag_md5, computed.value[BND_CHECKSUM_MD5], sizeof put->commit.etag_md5);
    int rv = bnd_upload_commit(put->upload, &put->commit, on_committed, request);
    if (rv != 0) {
        fail_object(request, rv);
    }
}

static void on_written(struct bnd_upload *upload, void *data, int status) {
    struct rest_request *request = data;
    struct put *put = request->data;
    bnd_http_chunk_release(put->chunk);
    put->chunk = NULL;
    if (status != 0) {
        fail_object(request, status);
    } else {
        bnd_http_body_read(request->http, &request->read);
    }
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    struct put *put = request->data;
    if (status != 0) {
        bnd_http_abort(request->http);
        rest_release(request);
        return;
    }
    if (chunk == NULL) {
        commit(request);
        return;
    }
    put->chunk = chunk;
    s3_digest_update(&put->digest, chunk->bytes);
    int rv = bnd_upload_write(put->upload, chunk->bytes, on_written, request);
    if (rv != 0) {
        fail_object(request, rv);
    }
}

static int begin_put(struct rest_request *request, const struct bnd_bucket_record *bucket) {
    struct put *put = request->data;
    const struct bnd_http_head *head = request->http->head;
    const char *why = NULL;
    struct bnd_error err = {0};
    put->commit.conditions = bnd_object_conditions_none();
    if (s3_fields_read(head, &put->custom, &put->commit.fields, &why) != S3_OK) {
        return BND_INVALID;
    }
    struct bnd_upload_options options = {
        .name = {.bucket = {.id = bucket->id, .segments = bucket->segments},
                 .key = rest_segments_from(request, CF_KEY)},
        .size = head->has_content_length ? head->content_length : BND_OBJECT_SIZE_UNKNOWN,
    };
    int rv = s3_digest_init(&put->digest, 1u << BND_CHECKSUM_MD5);
    return rv != 0 ? rv
                   : bnd_upload_begin(request->services->objects, &options, &put->upload, &err);
}

static void put_into(struct rest_request *request, const struct bnd_bucket_record *bucket) {
    request->data = bnd_zalloc(sizeof(struct put));
    if (request->data == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->clean = clean_put;
    int rv = begin_put(request, bucket);
    if (rv != 0) {
        fail_object(request, rv);
        return;
    }
    request->read = (struct bnd_http_read){.cb = on_piece, .data = request};
    bnd_http_body_read(request->http, &request->read);
}

void cf_object_put(struct rest_request *request) {
    if (cf_account(request)) {
        cf_bucket(request, false, put_into);
    }
}

/* ---- get
 * ------------------------------------------------------------------------------------------------
 */

struct get {
    struct bnd_object_head head;
    struct bnd_object object;
    struct bnd_object_reader *reader;
    struct bnd_http_write write;
    struct s3_reply reply;
    bool begun;
};

static void clean_get(struct rest_request *request) {
    struct get *get = request->data;
    bnd_object_reader_destroy(get->reader);
    bnd_object_free(&get->object);
    s3_reply_free(&get->reply);
    bnd_free(get);
}

static void next_chunk(struct rest_request *request);

static void cut(struct rest_request *request) {
    bnd_http_abort(request->http);
    rest_release(request);
}

static void on_sent(struct bnd_http_write *write, int status) {
    struct rest_request *request = write->data;
    if (status != 0) {
        cut(request);
    } else {
        next_chunk(request);
    }
}

static void on_chunk(struct bnd_object_reader *reader, void *data, int status,
                     struct bnd_slice chunk) {
    struct rest_request *request = data;
    struct get *get = request->data;
    if (status != 0 && !get->begun) {
        rest_fail_code(request, status == BND_NOTFOUND ? BND_UNAVAILABLE : status);
        return;
    }
    if (status != 0) {
        cut(request); /* the only honest end of a body that cannot be read to its end */
        return;
    }
    if (chunk.len == 0) {
        bnd_http_end(request->http);
        rest_release(request);
        return;
    }
    if (!get->begun) {
        struct bnd_http_response response = {.status = 200,
                                             .headers = s3_reply_headers(&get->reply),
                                             .header_count = get->reply.count};
        get->begun = true;
        status = bnd_http_begin(request->http, &response,
                                bnd_object_reader_object(get->reader)->meta.size);
    }
    get->write = (struct bnd_http_write){.cb = on_sent, .data = request};
    status = status != 0 ? status : bnd_http_write(request->http, &get->write, chunk);
    if (status != 0) {
        cut(request);
    }
}

static void next_chunk(struct rest_request *request) {
    struct get *get = request->data;
    int rv = bnd_object_reader_next(get->reader, on_chunk, request);
    if (rv != 0) {
        cut(request);
    }
}

static void send_object(struct rest_request *request) {
    struct get *get = request->data;
    char etag[BND_OBJECT_ETAG_TEXT];
    bnd_object_etag_text(&get->object.meta, etag);
    s3_reply_printf(&get->reply, "ETag", "\"%s\"", etag);
    s3_fields_write(&get->object.meta.fields, &get->reply);
    if (get->reply.failed) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    if (get->object.body.data != NULL) {
        struct bnd_http_response response = {.status = 200,
                                             .headers = s3_reply_headers(&get->reply),
                                             .header_count = get->reply.count,
                                             .body = get->object.body};
        rest_respond(request, &response);
        return;
    }
    int rv = bnd_object_reader_open(request->services->objects, &get->object, 0,
                                    get->object.meta.size, &get->reader);
    if (rv != 0) {
        rest_fail_code(request, rv);
        return;
    }
    next_chunk(request);
}

static void on_head(struct bnd_object_head *head, int status, struct bnd_object *object) {
    struct rest_request *request = head->data;
    struct get *get = request->data;
    if (status != 0) {
        fail_object(request, status);
        return;
    }
    bnd_object_move(&get->object, object);
    send_object(request);
}

static void get_from(struct rest_request *request, const struct bnd_bucket_record *bucket) {
    struct get *get = bnd_zalloc(sizeof *get);
    if (get == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = get;
    request->clean = clean_get;
    get->head = (struct bnd_object_head){.cb = on_head, .data = request};
    struct bnd_object_name name = {.bucket = {.id = bucket->id, .segments = bucket->segments},
                                   .key = rest_segments_from(request, CF_KEY)};
    int rv = bnd_object_head(request->services->objects, &get->head, &name);
    if (rv != 0) {
        fail_object(request, rv);
    }
}

/* The bucket is asked for anew, so that a missing key is never told of a bucket that is gone. */
void cf_object_get(struct rest_request *request) {
    if (cf_account(request)) {
        cf_bucket(request, true, get_from);
    }
}

/* ---- delete
 * --------------------------------------------------------------------------------------------- */

static void clean_delete(struct rest_request *request) {
    bnd_free(request->data);
}

static void on_deleted(struct bnd_object_delete *del, int status, bool existed) {
    struct rest_request *request = del->data;
    struct bnd_slice key = rest_segments_from(request, CF_KEY);
    if (status != 0) {
        fail_object(request, status);
        return;
    }
    rest_reply(request, json_pack("{s:o}", "key", json_stringn((const char *)key.data, key.len)));
}

static void delete_from(struct rest_request *request, const struct bnd_bucket_record *bucket) {
    struct bnd_object_delete *del = bnd_zalloc(sizeof *del);
    if (del == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = del;
    request->clean = clean_delete;
    del->cb = on_deleted;
    del->data = request;
    struct bnd_object_name name = {.bucket = {.id = bucket->id, .segments = bucket->segments},
                                   .key = rest_segments_from(request, CF_KEY)};
    int rv = bnd_object_delete(request->services->objects, del, &name, NULL);
    if (rv != 0) {
        fail_object(request, rv);
    }
}

void cf_object_delete(struct rest_request *request) {
    if (cf_account(request)) {
        cf_bucket(request, true, delete_from);
    }
}
