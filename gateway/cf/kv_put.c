/* PUT of a value: the body as it is, or the part "value" of form data with its metadata beside it.
 *
 * Pieces of the body are taken at the pace of the store; nothing is visible before the last byte
 * was there and everything said about the value was checked. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "gateway/cf/kv.h"
#include "gateway/json_scan.h"
#include "gateway/kv/multipart.h"
#include "gateway/kv/value.h"

enum part { PART_NONE, PART_VALUE, PART_METADATA, PART_OTHER };

struct put_op {
    struct cf_kv_op op; /* first */
    struct kv_value value;
    struct bnd_kv_put put;
    struct bnd_http_read read;
    struct bnd_http_chunk *chunk;
    struct bnd_slice input; /* what is left of the chunk */
    struct bnd_buf raw;     /* metadata as it came */
    struct bnd_buf metadata;
    enum part part;
    bool has_value, has_metadata, form_ended;
    bool is_form;
    struct kv_multipart form;
};

static void clean_put(struct rest_request *request) {
    struct put_op *op = request->data;
    if (op->chunk != NULL) {
        bnd_http_chunk_release(op->chunk);
    }
    kv_value_free(&op->value);
    bnd_buf_free(&op->raw);
    bnd_buf_free(&op->metadata);
}

static void refuse(struct rest_request *request, unsigned status, enum kv_code code,
                   const char *text) {
    cf_kv_fail(request, status, code, "put", text);
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------
 */

static void on_put(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
                   struct bnd_kv_version version) {
    struct rest_request *request = put->data;
    if (status != 0) {
        cf_kv_fail_code(request, "put", status);
        return;
    }
    cf_kv_done(request, durability);
}

static void commit(struct rest_request *request) {
    struct put_op *op = request->data;
    kv_value_give(&op->value, &op->put);
    op->put.namespace_id = op->op.namespace_id;
    op->put.key = op->op.key;
    op->put.metadata = bnd_buf_slice(&op->metadata);
    op->put.cb = on_put;
    op->put.data = request;
    int rv = bnd_kv_put(request->services->kv, &op->put);
    if (rv != 0) {
        cf_kv_fail_code(request, "put", rv);
    }
}

static void fail_value(struct rest_request *request, int status) {
    const struct kv_limits *limits = &request->services->front->kv_limits;
    struct kv_refusal refusal;
    if (status == BND_TOOBIG) {
        (void)kv_value_check(limits, limits->value_bytes_max + 1, &refusal); /* false */
        cf_kv_refuse(request, "put", &refusal);
    } else {
        cf_kv_fail_code(request, "put", status);
    }
}

/* True: the form was whole, and its metadata is one JSON value. */
static bool check_form(struct rest_request *request) {
    struct put_op *op = request->data;
    struct kv_refusal refusal;
    if (!op->is_form) {
        return true;
    }
    if (!op->form_ended || !op->has_value) {
        refuse(request, 400, KV_BAD_REQUEST,
               op->form_ended ? "the form has no part \"value\""
                              : "the form data ends before its last boundary");
        return false;
    }
    struct bnd_slice raw = bnd_buf_slice(&op->raw);
    if (raw.len > 0 && bnd_utf8_valid(raw) &&
        !gateway_json_valid(raw)) { /* "1 2" is no number 12 */
        refuse(request, 400, KV_BAD_METADATA, "Metadata must be valid JSON");
        return false;
    }
    gateway_json_compact(&op->metadata, raw);
    if (op->metadata.failed) {
        cf_kv_fail_code(request, "put", BND_NOMEM);
        return false;
    }
    if (bnd_slice_eq(bnd_buf_slice(&op->metadata), bnd_slice_str("null"))) {
        bnd_buf_reset(&op->metadata);
    }
    if (!kv_metadata_check(bnd_buf_slice(&op->metadata), &refusal)) {
        cf_kv_refuse(request, "put", &refusal);
        return false;
    }
    return true;
}

/* ---- the body
 * ------------------------------------------------------------------------------------------------
 */

static bool begin_part(struct rest_request *request, struct bnd_slice name) {
    struct put_op *op = request->data;
    bool value = bnd_slice_eq(name, bnd_slice_str("value"));
    bool metadata = bnd_slice_eq(name, bnd_slice_str("metadata"));
    if ((value && op->has_value) || (metadata && op->has_metadata)) {
        refuse(request, 400, KV_BAD_REQUEST, "a part of the form data is there twice");
        return false;
    }
    if (bnd_slice_starts(name, bnd_slice_str("metadata["))) {
        refuse(request, 400, KV_BAD_METADATA, "metadata must be one part that holds JSON");
        return false;
    }
    op->has_value |= value;
    op->has_metadata |= metadata;
    op->part = value ? PART_VALUE : metadata ? PART_METADATA : PART_OTHER;
    return true;
}

/* KV_VALUE_NOW: taken; 0: later; BND_CLOSED: the request has been ended; or a code. */
static int take_form(struct rest_request *request) {
    struct put_op *op = request->data;
    struct bnd_slice text;
    int event = kv_multipart_next(&op->form, &op->input, &text);
    if (event < 0) {
        refuse(request, 400, KV_BAD_REQUEST, "the form data is broken");
        return BND_CLOSED;
    }
    op->form_ended = event == KV_MULTIPART_DONE;
    if (event == KV_MULTIPART_PART) {
        return begin_part(request, text) ? KV_VALUE_NOW : BND_CLOSED;
    }
    if (event != KV_MULTIPART_BYTES || op->part == PART_OTHER) {
        return KV_VALUE_NOW;
    }
    if (op->part == PART_VALUE) {
        return kv_value_take(&op->value, text);
    }
    if (text.len > KV_METADATA_RAW_MAX - op->raw.len) {
        refuse(request, 413, KV_BAD_METADATA, "the metadata exceeds the limit of 1024 bytes");
        return BND_CLOSED;
    }
    bnd_buf_append_slice(&op->raw, text);
    return op->raw.failed ? BND_NOMEM : KV_VALUE_NOW;
}

static int take_raw(struct put_op *op) {
    struct bnd_slice all = op->input;
    op->input = bnd_slice(NULL, 0);
    return kv_value_take(&op->value, all);
}

/* Takes what is left of the chunk, then asks for the next. */
static void pump(struct rest_request *request) {
    struct put_op *op = request->data;
    while (op->input.len > 0) {
        int rv = op->is_form ? take_form(request) : take_raw(op);
        if (rv == 0 || rv == BND_CLOSED) {
            return; /* on_value goes on; or all is over */
        }
        if (rv != KV_VALUE_NOW) {
            fail_value(request, rv);
            return;
        }
    }
    bnd_http_chunk_release(op->chunk);
    op->chunk = NULL;
    bnd_http_body_read(request->http, &op->read);
}

static void on_value(struct kv_value *value, int status) {
    struct rest_request *request = value->data;
    struct put_op *op = request->data;
    if (status != 0) {
        fail_value(request, status);
    } else if (op->chunk != NULL) {
        pump(request);
    } else {
        commit(request);
    }
}

static void end_body(struct rest_request *request) {
    struct put_op *op = request->data;
    if (!check_form(request)) {
        return;
    }
    int rv = kv_value_end(&op->value);
    if (rv == KV_VALUE_NOW) {
        commit(request);
    } else if (rv != 0) {
        fail_value(request, rv);
    }
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    struct put_op *op = request->data;
    if (status != 0) {
        rest_abort(request); /* the client is gone, or its framing broken: no answer arrives */
        return;
    }
    if (chunk == NULL) {
        end_body(request);
        return;
    }
    op->chunk = chunk;
    op->input = chunk->bytes;
    pump(request);
}

/* ---- the begin
 * ------------------------------------------------------------------------------------------------
 */

/* Fine for raw bodies; a form has its own overhead, and its value is counted as it comes. */
static bool check_length(const struct rest_request *request, const struct put_op *op,
                         struct kv_refusal *refusal) {
    const struct bnd_http_head *head = request->http->head;
    return op->is_form || head->chunked ||
           kv_value_check(&request->services->front->kv_limits, head->content_length, refusal);
}

static struct bnd_slice parameter(const struct rest_request *request, const char *name) {
    struct bnd_slice value;
    return bnd_http_query_find(request->http->head->query, name, &value) ? value
                                                                         : bnd_slice(NULL, 0);
}

static void begin_put(struct rest_request *request) {
    struct put_op *op = request->data;
    struct gateway_front *front = request->services->front;
    const struct bnd_slice *type = bnd_http_header(request->http, "content-type");
    struct kv_refusal refusal;
    op->is_form = type != NULL && kv_multipart_is(*type);
    if (op->is_form && kv_multipart_init(&op->form, *type) != 0) {
        refuse(request, 400, KV_BAD_REQUEST, "the form data has no valid boundary");
        return;
    }
    if (!kv_expiry_check(&front->kv_limits, parameter(request, "expiration"),
                         parameter(request, "expiration_ttl"), bnd_wall_ms(front->env),
                         &op->put.expires_ms, &refusal) ||
        !check_length(request, op, &refusal)) {
        cf_kv_refuse(request, "put", &refusal);
        return;
    }
    op->value = (struct kv_value){.front = front,
                                  .kv = request->services->kv,
                                  .namespace_id = op->op.namespace_id,
                                  .key = op->op.key,
                                  .cb = on_value,
                                  .data = request};
    op->read =
        (struct bnd_http_read){.cb = on_piece, .data = request, .bytes_min = BND_HTTP_CHUNK_BYTES};
    bnd_http_body_read(request->http, &op->read);
}

void cf_kv_run_put(struct rest_request *request) {
    static const struct cf_kv_open open = {.bytes = sizeof(struct put_op),
                                           .what = "put",
                                           .key = true,
                                           .found = begin_put,
                                           .clean = clean_put};
    cf_kv_open(request, &open);
}
