/* POST /bulk/get: many values in one answer. */
#include "gateway/worker/worker_private.h"

#include "base/alloc.h"
#include "gateway/kv/bulk_get.h"

#define AT_ONCE_MAX (1u << 20) /* larger answers are sent from where they lie */

struct bulk {
    struct kv_bulk_get get;
    struct bnd_http_read read;
    struct bnd_http_write write;
    struct bnd_buf body;
};

static void clean_bulk(struct worker_op *op) {
    struct bulk *bulk = op->data;
    kv_bulk_get_free(&bulk->get);
    bnd_buf_free(&bulk->body);
    bnd_free(bulk);
}

static void on_sent(struct bnd_http_write *write, int status) {
    struct worker_op *op = write->data;
    if (status != 0) {
        worker_abort(op);
        return;
    }
    bnd_http_end(op->http);
    worker_release(op);
}

static void send(struct worker_op *op) {
    struct bulk *bulk = op->data;
    struct bnd_slice text = bnd_buf_slice(&bulk->get.out);
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/json")},
    };
    struct bnd_http_response response = {.status = 200, .headers = headers, .header_count = 1};
    if (text.len <= AT_ONCE_MAX) {
        response.body = text;
        worker_respond(op, &response);
        return;
    }
    bulk->write = (struct bnd_http_write){.cb = on_sent, .data = op};
    if (bnd_http_begin(op->http, &response, text.len) != 0 ||
        bnd_http_write(op->http, &bulk->write, text) != 0) {
        worker_abort(op);
    }
}

static void on_values(struct kv_bulk_get *get, int status) {
    struct worker_op *op = get->data;
    if (status == KV_BULK_REFUSED) {
        kv_op_refuse(op, &get->refusal);
    } else if (status != 0) {
        kv_op_fail_code(op, status);
    } else {
        send(op);
    }
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct worker_op *op = read->data;
    struct bulk *bulk = op->data;
    if (status != 0) {
        worker_abort(op);
        return;
    }
    if (chunk == NULL) {
        kv_bulk_get(&bulk->get, bnd_buf_slice(&bulk->body));
        return;
    }
    bool fits = bulk->body.len + chunk->bytes.len <= KV_BULK_GET_BODY_MAX;
    if (fits) {
        bnd_buf_append_slice(&bulk->body, chunk->bytes);
    }
    bnd_http_chunk_release(chunk);
    if (!fits || bulk->body.failed) {
        worker_fail(op, fits ? 503 : 413, "The body is larger than 1 MiB");
        return;
    }
    bnd_http_body_read(op->http, read);
}

void kv_run_bulk_get(struct worker_op *op) {
    struct bulk *bulk = bnd_zalloc(sizeof *bulk);
    if (bulk == NULL) {
        kv_op_fail_code(op, BND_NOMEM);
        return;
    }
    op->data = bulk;
    op->clean = clean_bulk;
    bulk->get.front = op->services->front;
    bulk->get.kv = op->services->kv;
    bulk->get.namespace_id = op->kv.namespace_id;
    bulk->get.newest = op->kv.newest;
    bulk->get.cb = on_values;
    bulk->get.data = op;
    bulk->read =
        (struct bnd_http_read){.cb = on_piece, .data = op, .bytes_min = BND_HTTP_CHUNK_BYTES};
    bnd_http_body_read(op->http, &bulk->read);
}
