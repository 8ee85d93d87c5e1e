/* GetObject and HeadObject: one linearizable head, conditions, range; then the bytes of that very
 * version, one chunk at a time at the pace of the client.
 *
 * Nothing is sent before the first bytes are there, so that a body that cannot be read is an error
 * and not a broken 200. After that the only honest end is a cut connection. */
#include "gateway/date.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/fields.h"
#include "gateway/s3/range.h"
#include "gateway/s3/s3_private.h"

#include <stddef.h>

struct get_op {
    struct bnd_object_head head;
    struct bnd_object object;
    struct bnd_object_reader *reader;
    struct s3_conditions conditions;
    struct bnd_http_write write;
    uint64_t offset;
    uint64_t length;
    unsigned status; /* 200 or 206 */
    bool begun;
};

static struct get_op *op_of(struct s3_request *request) {
    return S3_OP(request, struct get_op);
}

/* The object's headers. Called with op->object still holding the object: the reader takes it over,
 * its bytes stay where they are. */
static void write_headers(struct s3_request *request) {
    static const struct {
        const char *parameter;
        const char *header;
    } overrides[] = {
        {"response-content-type", "Content-Type"},
        {"response-content-language", "Content-Language"},
        {"response-content-disposition", "Content-Disposition"},
        {"response-content-encoding", "Content-Encoding"},
        {"response-cache-control", "Cache-Control"},
        {"response-expires", "Expires"},
    };
    struct get_op *op = op_of(request);
    const struct bnd_object_meta *meta = &op->object.meta;
    struct s3_reply *reply = &request->reply;
    struct bnd_object_fields fields = meta->fields;
    struct bnd_slice *overridden[] = {&fields.content_type,        &fields.content_language,
                                      &fields.content_disposition, &fields.content_encoding,
                                      &fields.cache_control,       NULL};
    for (size_t i = 0; i < sizeof overrides / sizeof overrides[0]; i++) {
        struct bnd_slice value = s3_query_get(&request->query, overrides[i].parameter);
        if (value.data == NULL) {
            continue;
        }
        if (overridden[i] != NULL) {
            *overridden[i] = value;
        } else {
            fields.cache_expiry_ms = BND_OBJECT_NO_TIME;
            s3_reply_text(reply, overrides[i].header, value);
        }
    }
    s3_reply_object(request, meta, true);
    s3_fields_write(&fields, reply);
    s3_reply_text(reply, "Accept-Ranges", bnd_slice_str("bytes"));
    if (op->status == 206) {
        s3_reply_printf(
            reply, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)op->offset,
            (unsigned long long)(op->offset + op->length - 1), (unsigned long long)meta->size);
    }
    if (meta->parts > 0 && s3_query_has(&request->query, "partNumber")) {
        s3_reply_number(reply, "x-amz-mp-parts-count", meta->parts);
    }
    if (op->status == 200 &&
        bnd_http_text_is(s3_header(request, "x-amz-checksum-mode"), "ENABLED")) {
        s3_checksums_write(meta, reply);
    }
}

/* ---- the range
 * ----------------------------------------------------------------------------------- */

/* If-Range (RFC 9110 13.1.5): a strong etag or a date that is exactly the object's. */
static bool range_wanted(const struct s3_request *request, const struct bnd_object_meta *meta) {
    struct bnd_slice value = s3_header(request, "if-range");
    char etag[BND_OBJECT_ETAG_TEXT];
    uint64_t ms = 0;
    if (value.data == NULL) {
        return true;
    }
    if (gateway_date_parse(value, &ms)) {
        return ms / 1000 == meta->uploaded_ms / 1000;
    }
    bnd_object_etag_text(meta, etag);
    size_t len = strlen(etag);
    return value.len == len + 2 && value.data[0] == '"' && value.data[len + 1] == '"' &&
           memcmp(value.data + 1, etag, len) == 0;
}

static enum s3_error find_part(struct s3_request *request, const char **why) {
    struct get_op *op = op_of(request);
    uint64_t part = 0;
    *why = "partNumber must be a number between 1 and 10000, and not with Range.";
    if (!s3_query_number(&request->query, "partNumber", UINT32_MAX, &part) || part < 1 ||
        part > BND_OBJECT_PARTS_MAX || s3_header(request, "range").data != NULL) {
        return S3_InvalidArgument;
    }
    *why = "The requested partnumber is not satisfiable";
    if (op->object.meta.parts == 0) {
        return part == 1 ? S3_OK : S3_InvalidPartNumber;
    }
    if (bnd_object_part_range(&op->object, (uint32_t)part, &op->offset, &op->length) != 0) {
        return S3_InvalidPartNumber;
    }
    op->status = op->length > 0 ? 206 : 200;
    return S3_OK;
}

static enum s3_error find_range(struct s3_request *request, const char **why) {
    struct get_op *op = op_of(request);
    struct bnd_slice range = s3_header(request, "range");
    op->offset = 0;
    op->length = op->object.meta.size;
    op->status = 200;
    if (s3_query_has(&request->query, "partNumber")) {
        return find_part(request, why);
    }
    if (range.data == NULL || !range_wanted(request, &op->object.meta)) {
        return S3_OK;
    }
    switch (s3_range_read(range, op->object.meta.size, &op->offset, &op->length)) {
    case S3_RANGE_WHOLE:
        return S3_OK;
    case S3_RANGE_PART:
        op->status = 206;
        return S3_OK;
    case S3_RANGE_UNSATISFIABLE:
        break;
    }
    *why = s3_error_message(S3_InvalidRange);
    return S3_InvalidRange;
}

/* ---- the body
 * ------------------------------------------------------------------------------------ */

static void next_chunk(struct s3_request *request);

/* A failure on the way: an error while nothing has been sent, a cut afterwards. */
static void fail_body(struct s3_request *request, int status) {
    struct get_op *op = op_of(request);
    if (!op->begun) {
        /* A version that was freed since its head: another one took its place, so again. */
        s3_fail_code(request, status == BND_NOTFOUND ? BND_UNAVAILABLE : status);
        return;
    }
    if (status != BND_CLOSED) {
        bnd_log(request->service->services->env, BND_LOG_WARN, "s3",
                "request %s: cut while sending: %s", request->id, bnd_code_text(status));
    }
    s3_abort(request);
}

static void on_sent(struct bnd_http_write *write, int status) {
    struct s3_request *request = write->data;
    if (status != 0) {
        s3_abort(request);
        return;
    }
    next_chunk(request);
}

static int begin_response(struct s3_request *request) {
    struct get_op *op = op_of(request);
    s3_reply_text(&request->reply, "x-amz-request-id", bnd_slice_str(request->id));
    struct bnd_http_response response = {.status = op->status,
                                         .headers = s3_reply_headers(&request->reply),
                                         .header_count = request->reply.count};
    op->begun = true;
    return request->reply.failed ? BND_NOMEM : bnd_http_begin(request->http, &response, op->length);
}

static void on_chunk(struct bnd_object_reader *reader, void *data, int status,
                     struct bnd_slice chunk) {
    struct s3_request *request = data;
    struct get_op *op = op_of(request);
    if (status != 0) {
        fail_body(request, status);
        return;
    }
    if (chunk.len == 0) {
        bnd_http_end(request->http);
        s3_release(request);
        return;
    }
    int rv = op->begun ? 0 : begin_response(request);
    op->write.cb = on_sent;
    op->write.data = request;
    rv = rv != 0 ? rv : bnd_http_write(request->http, &op->write, chunk);
    if (rv != 0) {
        s3_abort(request);
    }
}

static void next_chunk(struct s3_request *request) {
    int rv = bnd_object_reader_next(op_of(request)->reader, on_chunk, request);
    if (rv != 0) {
        fail_body(request, rv);
    }
}

static void send_body(struct s3_request *request) {
    struct get_op *op = op_of(request);
    if (op->object.body.data != NULL) {
        s3_respond(request, op->status,
                   bnd_slice(op->object.body.data + op->offset, (size_t)op->length));
        return;
    }
    int rv = bnd_object_reader_open(request->service->services->objects, &op->object, op->offset,
                                    op->length, &op->reader);
    if (rv != 0) {
        s3_fail_code(request, rv);
        return;
    }
    next_chunk(request);
}

static void send_head(struct s3_request *request) {
    if (begin_response(request) != 0) {
        s3_abort(request);
        return;
    }
    bnd_http_end(request->http);
    s3_release(request);
}

/* ---- the head
 * ------------------------------------------------------------------------------------ */

static void not_modified(struct s3_request *request) {
    s3_reply_object(request, &op_of(request)->object.meta, true);
    s3_respond(request, 304, bnd_slice(NULL, 0));
}

static void serve(struct s3_request *request) {
    struct get_op *op = op_of(request);
    const char *why = NULL;
    switch (bnd_object_conditions_check(&op->conditions.conditions, &op->object.meta)) {
    case BND_CONDITION_FAILED:
        s3_fail(request, S3_PreconditionFailed, NULL);
        return;
    case BND_CONDITION_NOT_MODIFIED:
        not_modified(request);
        return;
    case BND_CONDITION_OK:
        break;
    }
    enum s3_error error = find_range(request, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    write_headers(request);
    if (request->http->head->method == BND_HTTP_HEAD) {
        send_head(request);
    } else {
        send_body(request);
    }
}

static void on_head(struct bnd_object_head *head, int status, struct bnd_object *object) {
    struct s3_request *request = head->data;
    struct get_op *op = op_of(request);
    if (status == BND_NOTFOUND) {
        s3_missing(request, S3_NoSuchKey, NULL);
        return;
    }
    if (status != 0) {
        s3_fail_code(request, status);
        return;
    }
    bnd_object_move(&op->object, object);
    serve(request);
}

static void run(struct s3_request *request) {
    struct get_op *op = op_of(request);
    const char *why = NULL;
    enum s3_error error = s3_conditions_read(request->http->head, "", &op->conditions, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    struct bnd_object_name name = s3_object_name(request);
    op->head.cb = on_head;
    op->head.data = request;
    int rv = bnd_object_head(request->service->services->objects, &op->head, &name);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

static void clean(struct s3_request *request) {
    struct get_op *op = op_of(request);
    bnd_object_reader_destroy(op->reader);
    bnd_object_free(&op->object);
}

const struct s3_step s3_step_get = {run, clean, BND_PERM_OBJECT_READ, true};
const struct s3_step s3_step_head = {run, clean, BND_PERM_OBJECT_READ, true};
