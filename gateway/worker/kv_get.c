/* GET of a key. A value that is here is answered within the call that asks for it, from the store's
 * own memory: the one copy is the server's, into what it sends. */
#include "gateway/worker/worker_private.h"

#include "base/alloc.h"
#include "gateway/kv/stream.h"

#include <stdio.h>

struct headers {
    struct bnd_http_header fields[3];
    size_t count;
    char expiration[24];
};

/* out borrows metadata. here: no other node was asked. */
static void write_headers(struct headers *out, struct bnd_slice metadata, uint64_t expires_ms,
                          bool here) {
    out->fields[0] = (struct bnd_http_header){bnd_slice("CF-Cache-Status", 15),
                                              here ? bnd_slice("HIT", 3) : bnd_slice("MISS", 4)};
    out->count = 1;
    if (metadata.len > 0) {
        out->fields[out->count++] =
            (struct bnd_http_header){bnd_slice("CF-KV-Metadata", 14), metadata};
    }
    if (expires_ms > 0) {
        int len = snprintf(out->expiration, sizeof out->expiration, "%llu",
                           (unsigned long long)(expires_ms / 1000)); /* fits */
        out->fields[out->count++] = (struct bnd_http_header){
            bnd_slice("CF-Expiration", 13), bnd_slice(out->expiration, (size_t)len)};
    }
}

static void not_found(struct worker_op *op, bool here) {
    struct headers headers;
    write_headers(&headers, bnd_slice(NULL, 0), 0, here);
    const struct bnd_http_response response = {.status = 404,
                                               .headers = headers.fields,
                                               .header_count = headers.count,
                                               .body = bnd_slice("Not Found", 9)};
    worker_respond(op, &response);
}

static void send_large(struct worker_op *op, const struct bnd_kv_item *item, bool here);

/* Ends the op. */
static void answer(struct worker_op *op, int status, const struct bnd_kv_item *item, bool here) {
    if (status == BND_NOTFOUND) {
        not_found(op, here);
    } else if (status != 0) {
        kv_op_fail_code(op, status);
    } else if (item->size > item->value.len) {
        send_large(op, item, here);
    } else {
        struct headers headers;
        write_headers(&headers, item->metadata, item->expires_ms, here);
        const struct bnd_http_response response = {.status = 200,
                                                   .headers = headers.fields,
                                                   .header_count = headers.count,
                                                   .body = item->value};
        worker_respond(op, &response);
    }
}

static void on_got(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    answer(get->data, status, item, false);
}

/* The store answers within the call or later: which, its callback finds in get->data. */
struct asking {
    struct worker_op *op;
    bool answered;
};

static void on_got_here(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct asking *asking = get->data;
    asking->answered = true;
    answer(asking->op, status, item, true);
}

static void ask(struct worker_op *op, uint32_t cache_ttl_s) {
    struct asking asking = {.op = op};
    op->kv.u.get.namespace_id = op->kv.namespace_id;
    op->kv.u.get.key = kv_op_key(op);
    op->kv.u.get.newest = op->kv.newest;
    op->kv.u.get.cache_ttl_s = cache_ttl_s;
    op->kv.u.get.cb = on_got_here;
    op->kv.u.get.data = &asking;
    int rv = bnd_kv_get(op->services->kv, &op->kv.u.get);
    if (asking.answered) {
        return; /* the op is gone */
    }
    op->kv.u.get.cb = on_got;
    op->kv.u.get.data = op;
    if (rv < 0) {
        answer(op, rv, NULL, false);
    }
}

void kv_run_get(struct worker_op *op) {
    struct kv_refusal refusal;
    uint32_t cache_ttl_s = 0;
    if (!kv_cache_ttl_check(&op->services->front->kv_limits, kv_parameter(op, "cache_ttl"),
                            &cache_ttl_s, &refusal)) {
        kv_op_refuse(op, &refusal);
        return;
    }
    ask(op, cache_ttl_s);
}

/* ---- large values
 * ------------------------------------------------------------------------------------------------
 */

struct large {
    struct kv_stream stream;
    bool here;
};

static void clean_large(struct worker_op *op) {
    struct large *large = op->data;
    kv_stream_free(&large->stream);
    bnd_free(large);
}

static int begin_large(struct kv_stream *stream) {
    struct worker_op *op = stream->data;
    struct headers headers;
    write_headers(&headers, bnd_buf_slice(&stream->metadata), stream->expires_ms,
                  ((struct large *)op->data)->here);
    const struct bnd_http_response response = {
        .status = 200, .headers = headers.fields, .header_count = headers.count};
    return bnd_http_begin(op->http, &response, stream->size);
}

static void on_streamed(struct kv_stream *stream, int status) {
    struct worker_op *op = stream->data;
    if (status == 0) {
        worker_release(op);
    } else if (stream->begun) {
        worker_abort(op);
    } else {
        answer(op, status, NULL, false);
    }
}

static void send_large(struct worker_op *op, const struct bnd_kv_item *item, bool here) {
    struct large *large = bnd_zalloc(sizeof *large);
    if (large == NULL) {
        kv_op_fail_code(op, BND_NOMEM);
        return;
    }
    op->data = large;
    op->clean = clean_large;
    large->here = here;
    large->stream = (struct kv_stream){.front = op->services->front,
                                       .kv = op->services->kv,
                                       .http = op->http,
                                       .namespace_id = op->kv.namespace_id,
                                       .key = kv_op_key(op),
                                       .newest = op->kv.newest,
                                       .begin = begin_large,
                                       .done = on_streamed,
                                       .data = op};
    kv_stream_start(&large->stream, item);
}
