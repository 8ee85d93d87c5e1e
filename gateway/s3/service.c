/* Requests from their arrival to their operation, and every way in which they end.
 *
 * Errors: XML with code, message, resource and request id; without a body for HEAD. What a client
 * should try again is 503 with Retry-After: 1. */
#include "base/alloc.h"
#include "gateway/date.h"
#include "gateway/s3/s3_private.h"
#include "gateway/s3/xml_write.h"

#include <stdio.h>

#define XML_BYTES_DEFAULT (64u << 20)

const struct s3_step *s3_step_of(enum s3_operation operation) {
    static const struct s3_step *const steps[S3_OPERATIONS] = {
        [S3_LIST_BUCKETS] = &s3_step_list_buckets,
        [S3_CREATE_BUCKET] = &s3_step_create_bucket,
        [S3_HEAD_BUCKET] = &s3_step_head_bucket,
        [S3_DELETE_BUCKET] = &s3_step_delete_bucket,
        [S3_BUCKET_LOCATION] = &s3_step_bucket_location,
        [S3_LIST_OBJECTS] = &s3_step_list_objects,
        [S3_LIST_UPLOADS] = &s3_step_list_uploads,
        [S3_DELETE_OBJECTS] = &s3_step_delete_objects,
        [S3_GET_OBJECT] = &s3_step_get,
        [S3_HEAD_OBJECT] = &s3_step_head,
        [S3_PUT_OBJECT] = &s3_step_put,
        [S3_COPY_OBJECT] = &s3_step_copy,
        [S3_DELETE_OBJECT] = &s3_step_delete,
        [S3_CREATE_UPLOAD] = &s3_step_create_upload,
        [S3_UPLOAD_PART] = &s3_step_upload_part,
        [S3_UPLOAD_PART_COPY] = &s3_step_upload_part_copy,
        [S3_COMPLETE_UPLOAD] = &s3_step_complete,
        [S3_ABORT_UPLOAD] = &s3_step_abort_upload,
        [S3_LIST_PARTS] = &s3_step_list_parts,
    };
    return steps[operation];
}

/* ---- ends
 * -------------------------------------------------------------------------------------- */

void s3_release(struct s3_request *request) {
    if (request->step != NULL && request->step->clean != NULL) {
        request->step->clean(request);
    }
    s3_reply_free(&request->reply);
    bnd_free(request);
}

/* Buckets made and deleted, and requests that were not allowed. */
static void audit(const struct s3_request *request, unsigned status) {
    struct bnd_audit *log = request->service->services->audit;
    enum s3_operation operation = request->target.operation;
    bool changes =
        request->step != NULL && (operation == S3_CREATE_BUCKET || operation == S3_DELETE_BUCKET);
    if ((!changes && status != 403) || log == NULL) {
        return;
    }
    char from[BND_ADDRESS_MAX];
    bnd_http_peer(request->http, from);
    struct bnd_slice who = request->signature.access_key;
    const struct bnd_audit_call call = {
        .port = "s3",
        .who = bnd_slice(who.data, who.len < BND_ACCESS_KEY_MAX ? who.len : BND_ACCESS_KEY_MAX),
        .method = request->http->head->method_token,
        .path = request->http->head->path,
        .id = request->id,
        .from = from,
        .status = status,
    };
    if (status == 403) {
        bnd_audit_refusal(log, &call);
    } else {
        bnd_audit_control(log, &call);
    }
}

void s3_abort(struct s3_request *request) {
    audit(request, 0);
    bnd_http_abort(request->http);
    s3_release(request);
}

void s3_respond(struct s3_request *request, unsigned status, struct bnd_slice body) {
    audit(request, status);
    s3_reply_text(&request->reply, "x-amz-request-id", bnd_slice_str(request->id));
    struct bnd_http_response response = {
        .status = status,
        .headers = s3_reply_headers(&request->reply),
        .header_count = request->reply.count,
        .body = body,
    };
    if (request->reply.failed || bnd_http_respond(request->http, &response) != 0) {
        bnd_http_abort(request->http);
    }
    s3_release(request);
}

void s3_respond_xml(struct s3_request *request, const struct bnd_buf *xml) {
    if (xml->failed) {
        s3_fail_code(request, BND_NOMEM);
        return;
    }
    s3_reply_text(&request->reply, "Content-Type", bnd_slice_str("application/xml"));
    s3_respond(request, 200, bnd_buf_slice(xml));
}

static void write_error(struct s3_request *request, enum s3_error error, const char *why,
                        struct bnd_buf *xml) {
    bnd_buf_append_str(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    s3_xml_string(xml, "Code", s3_error_code(error));
    s3_xml_string(xml, "Message", why != NULL ? why : s3_error_message(error));
    s3_xml_element(xml, "Resource", request->http->head->path);
    s3_xml_string(xml, "RequestId", request->id);
    bnd_buf_printf(xml, "<HostId>%llu</HostId></Error>",
                   (unsigned long long)request->service->services->self);
}

void s3_fail(struct s3_request *request, enum s3_error error, const char *why) {
    BND_AUTO_BUF struct bnd_buf xml = {0};
    unsigned status = s3_error_status(error);
    if (request->http->aborted) {
        s3_abort(request);
        return;
    }
    s3_reply_free(&request->reply);
    request->reply = (struct s3_reply){0};
    if (status == 503) {
        s3_reply_text(&request->reply, "Retry-After", bnd_slice_str("1"));
    }
    if (status != 304 && request->http->head->method != BND_HTTP_HEAD) {
        write_error(request, error, why, &xml);
        s3_reply_text(&request->reply, "Content-Type", bnd_slice_str("application/xml"));
    }
    s3_respond(request, status, xml.failed ? bnd_slice(NULL, 0) : bnd_buf_slice(&xml));
}

enum s3_error s3_error_of(int code) {
    switch (code) {
    case BND_NOSPACE:
        return S3_InsufficientStorage;
    case BND_CORRUPT:
    case BND_IO:
        return S3_InternalError;
    case BND_NOTFOUND:
        return S3_NoSuchKey;
    case BND_PRECONDITION:
        return S3_PreconditionFailed;
    case BND_TOOBIG:
        return S3_EntityTooLarge;
    case BND_RANGE:
        return S3_InvalidRange;
    case BND_INVALID:
        return S3_InvalidArgument;
    case BND_FULL:
    case BND_NOMEM:
        return S3_SlowDown;
    default:
        break;
    }
    enum bnd_class class = bnd_code_class(code);
    return class == BND_CLASS_BUG || class == BND_CLASS_CORRUPT ? S3_InternalError
                                                                : S3_ServiceUnavailable;
}

void s3_fail_code(struct s3_request *request, int code) {
    enum s3_error error = s3_error_of(code);
    if (error == S3_InternalError) {
        bnd_log(request->service->services->env, BND_LOG_ERROR, "s3", "request %s: %s: %s",
                request->id, s3_operation_name(request->target.operation), bnd_code_text(code));
    }
    s3_fail(request, error, NULL);
}

/* ---- helpers
 * ---------------------------------------------------------------------------------- */

struct bnd_slice s3_header(const struct s3_request *request, const char *name) {
    const struct bnd_slice *value = bnd_http_header(request->http, name);
    return value == NULL ? bnd_slice(NULL, 0) : *value;
}

void s3_reply_object(struct s3_request *request, const struct bnd_object_meta *meta,
                     bool last_modified) {
    char etag[BND_OBJECT_ETAG_TEXT];
    bnd_object_etag_text(meta, etag);
    s3_reply_printf(&request->reply, "ETag", "\"%s\"", etag);
    if (last_modified) {
        char date[GATEWAY_DATE_TEXT];
        gateway_date_http(meta->uploaded_ms, date);
        s3_reply_printf(&request->reply, "Last-Modified", "%s", date);
    }
}

/* ---- arrival
 * ---------------------------------------------------------------------------------- */

static void refuse_unborn(struct bnd_http_request *http) {
    static const struct bnd_http_header retry = {{(const uint8_t *)"Retry-After", 11},
                                                 {(const uint8_t *)"1", 1}};
    struct bnd_http_response response = {.status = 503, .headers = &retry, .header_count = 1};
    if (bnd_http_respond(http, &response) != 0) {
        bnd_http_abort(http);
    }
}

static void on_request(void *owner, struct bnd_http_request *http) {
    struct s3_service *service = owner;
    size_t target_space = s3_target_space(http->head);
    struct s3_request *request = bnd_alloc(sizeof *request + target_space + http->head->query.len);
    if (request == NULL) {
        refuse_unborn(http);
        return;
    }
    memset(request, 0, offsetof(struct s3_request, op));
    request->service = service;
    request->http = http;
    (void)snprintf(request->id, sizeof request->id, "%016llX",
                   (unsigned long long)bnd_random(service->services->env));
    const char *why = NULL;
    enum s3_error error =
        s3_query_parse(http->head->query, request->space + target_space, &request->query, &why);
    if (error == S3_OK) {
        error = s3_target_parse(http->head, &request->query, service->domain, request->space,
                                &request->target, &why);
    }
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    http->operation = (uint8_t)(request->target.operation + 1);
    s3_authorize(request);
}

static void begin(struct s3_request *request, const struct bnd_bucket_record *bucket) {
    if (bucket == NULL) {
        s3_fail(request, S3_NoSuchBucket, NULL);
        return;
    }
    s3_bucket_take(request, bucket);
    request->step->run(request);
}

void s3_authorized(struct s3_request *request) {
    const struct s3_step *step = s3_step_of(request->target.operation);
    if (!s3_allowed(request, step->permission, request->target.bucket)) {
        s3_fail(request, S3_AccessDenied, NULL);
        return;
    }
    memset(request->op, 0, sizeof request->op);
    request->step = step;
    if (step->bucket) {
        s3_bucket_find(request, request->target.bucket, false, begin);
    } else {
        step->run(request);
    }
}

const struct bnd_http_handler *s3_handler(void) {
    /* on_abort is of no interest: whatever a request waits for answers it by itself. */
    static const struct bnd_http_handler handler = {.on_request = on_request};
    return &handler;
}

/* ---- life
 * ------------------------------------------------------------------------------------- */

int s3_service_create(const struct s3_options *options, struct s3_service **out) {
    struct s3_service *service = bnd_zalloc(sizeof *service);
    if (service == NULL) {
        return BND_NOMEM;
    }
    service->services = options->services;
    service->xml_bytes_max = options->memory_bytes == 0 ? XML_BYTES_DEFAULT : options->memory_bytes;
    service->domain = options->domain == NULL ? NULL : bnd_strdup(options->domain);
    if ((options->domain != NULL && service->domain == NULL) || s3_auth_open(service) != 0) {
        bnd_free(service->domain);
        bnd_free(service);
        return BND_NOMEM;
    }
    *out = service;
    return 0;
}

void s3_service_destroy(struct s3_service *service) {
    if (service == NULL) {
        return;
    }
    s3_auth_close(service);
    bnd_free(service->domain);
    bnd_free(service);
}
