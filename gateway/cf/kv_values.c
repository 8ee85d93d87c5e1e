/* GET of a value, its metadata, and deleting. */
#include "base/alloc.h"
#include "gateway/cf/kv.h"
#include "gateway/kv/stream.h"

/* ---- the value, as it is
 * ------------------------------------------------------------------------------------------------
 */

struct get_op {
    struct cf_kv_op op; /* first */
    struct bnd_kv_get get;
    struct kv_stream stream;
    bool streaming;
};

static void clean_get(struct rest_request *request) {
    struct get_op *op = request->data;
    if (op->streaming) {
        kv_stream_free(&op->stream);
    }
}

struct headers {
    struct bnd_http_header fields[3];
    size_t count;
    char expiration[24];
};

static void write_headers(struct headers *out, const struct rest_request *request,
                          uint64_t expires_ms) {
    out->fields[0] = (struct bnd_http_header){bnd_slice_str("Content-Type"),
                                              bnd_slice_str("application/octet-stream")};
    out->fields[1] =
        (struct bnd_http_header){bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)};
    out->count = 2;
    if (expires_ms > 0) {
        (void)snprintf(out->expiration, sizeof out->expiration, "%llu",
                       (unsigned long long)(expires_ms / 1000)); /* fits */
        out->fields[out->count++] =
            (struct bnd_http_header){bnd_slice_str("Expiration"), bnd_slice_str(out->expiration)};
    }
}

static int begin_stream(struct kv_stream *stream) {
    struct rest_request *request = stream->data;
    struct headers headers;
    write_headers(&headers, request, stream->expires_ms);
    const struct bnd_http_response response = {
        .status = 200, .headers = headers.fields, .header_count = headers.count};
    return bnd_http_begin(request->http, &response, stream->size);
}

static void fail_get(struct rest_request *request, int status) {
    if (status == BND_NOTFOUND) {
        cf_kv_no_key(request, "get");
    } else {
        cf_kv_fail_code(request, "get", status);
    }
}

static void on_streamed(struct kv_stream *stream, int status) {
    struct rest_request *request = stream->data;
    if (status == 0) {
        rest_release(request);
    } else if (stream->begun) {
        rest_abort(request);
    } else {
        fail_get(request, status);
    }
}

static void stream_value(struct rest_request *request, const struct bnd_kv_item *item) {
    struct get_op *op = request->data;
    op->streaming = true;
    op->stream = (struct kv_stream){.front = request->services->front,
                                    .kv = request->services->kv,
                                    .http = request->http,
                                    .namespace_id = op->op.namespace_id,
                                    .key = op->op.key,
                                    .newest = op->get.newest,
                                    .begin = begin_stream,
                                    .done = on_streamed,
                                    .data = request};
    if (request->http->head->method != BND_HTTP_HEAD) {
        kv_stream_start(&op->stream, item);
        return;
    }
    op->stream.size = item->size;
    op->stream.expires_ms = item->expires_ms;
    if (begin_stream(&op->stream) != 0) {
        rest_abort(request);
        return;
    }
    bnd_http_end(request->http); /* the head alone */
    rest_release(request);
}

static void on_got(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct rest_request *request = get->data;
    if (status != 0) {
        fail_get(request, status);
        return;
    }
    if (item->size > item->value.len) {
        stream_value(request, item);
        return;
    }
    struct headers headers;
    write_headers(&headers, request, item->expires_ms);
    const struct bnd_http_response response = {.status = 200,
                                               .headers = headers.fields,
                                               .header_count = headers.count,
                                               .body = item->value};
    if (bnd_http_respond(request->http, &response) != 0) {
        bnd_http_abort(request->http);
    }
    rest_release(request);
}

/* cb may come before this returns, and end the request. */
static void ask(struct rest_request *request,
                void (*cb)(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item)) {
    struct get_op *op = request->data;
    const struct bnd_slice *wanted = bnd_http_header(request->http, "x-bindery-consistency");
    op->get = (struct bnd_kv_get){.namespace_id = op->op.namespace_id,
                                  .key = op->op.key,
                                  .newest = wanted != NULL && bnd_http_text_is(*wanted, "newest"),
                                  .cb = cb,
                                  .data = request};
    int rv = bnd_kv_get(request->services->kv, &op->get);
    if (rv < 0) {
        fail_get(request, rv);
    }
}

static void begin_get(struct rest_request *request) {
    ask(request, on_got);
}

void cf_kv_run_get(struct rest_request *request) {
    static const struct cf_kv_open open = {.bytes = sizeof(struct get_op),
                                           .what = "get",
                                           .key = true,
                                           .found = begin_get,
                                           .clean = clean_get};
    cf_kv_open(request, &open);
}

/* ---- metadata
 * ------------------------------------------------------------------------------------------------
 */

static void on_metadata(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct rest_request *request = get->data;
    if (status != 0) {
        fail_get(request, status);
        return;
    }
    BND_AUTO_BUF struct bnd_buf text = {0};
    bnd_buf_append_str(&text, "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":");
    bnd_buf_append_slice(&text, item->metadata.len > 0 ? item->metadata : bnd_slice_str("null"));
    bnd_buf_append_str(&text, "}");
    rest_reply_text(request, &text);
}

static void begin_metadata(struct rest_request *request) {
    ask(request, on_metadata);
}

void cf_kv_run_metadata(struct rest_request *request) {
    static const struct cf_kv_open open = {.bytes = sizeof(struct get_op),
                                           .what = "get",
                                           .key = true,
                                           .found = begin_metadata,
                                           .clean = clean_get};
    cf_kv_open(request, &open);
}

/* ---- delete
 * ------------------------------------------------------------------------------------------------
 */

struct delete_op {
    struct cf_kv_op op; /* first */
    struct bnd_kv_put put;
};

/* Deleting what is not there is a success. */
static void on_deleted(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
                       struct bnd_kv_version version) {
    struct rest_request *request = put->data;
    if (status != 0) {
        cf_kv_fail_code(request, "remove key", status);
        return;
    }
    cf_kv_done(request, durability);
}

static void begin_delete(struct rest_request *request) {
    struct delete_op *op = request->data;
    op->put = (struct bnd_kv_put){.namespace_id = op->op.namespace_id,
                                  .key = op->op.key,
                                  .tombstone = true,
                                  .cb = on_deleted,
                                  .data = request};
    int rv = bnd_kv_put(request->services->kv, &op->put);
    if (rv != 0) {
        cf_kv_fail_code(request, "remove key", rv);
    }
}

void cf_kv_run_delete(struct rest_request *request) {
    static const struct cf_kv_open open = {.bytes = sizeof(struct delete_op),
                                           .what = "remove key",
                                           .key = true,
                                           .found = begin_delete};
    cf_kv_open(request, &open);
}
