/* PUT and DELETE of a key. Nothing of a value is visible before its last byte was there and
 * everything said about it was checked. */
#include "gateway/worker/worker_private.h"

#include "base/alloc.h"
#include "gateway/kv/value.h"

struct writing {
    struct bnd_http_read read;
    struct bnd_http_chunk *chunk;
    struct kv_value value;
};

static void clean_writing(struct worker_op *op) {
    struct writing *writing = op->data;
    if (writing->chunk != NULL) {
        bnd_http_chunk_release(writing->chunk);
    }
    kv_value_free(&writing->value);
    bnd_free(writing);
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------
 */

static void on_put(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
                   struct bnd_kv_version version) {
    struct worker_op *op = put->data;
    if (status != 0) {
        kv_op_fail_code(op, status);
        return;
    }
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("X-Bindery-Durability"), bnd_slice_str("local")},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = durability == BND_KV_LOCAL ? 1 : 0};
    worker_respond(op, &response);
}

/* The fields that are set stay; what is private to the store is cleared. */
static void put(struct worker_op *op) {
    op->kv.u.put.namespace_id = op->kv.namespace_id;
    op->kv.u.put.key = kv_op_key(op);
    op->kv.u.put.cb = on_put;
    op->kv.u.put.data = op;
    int rv = bnd_kv_put(op->services->kv, &op->kv.u.put);
    if (rv != 0) {
        kv_op_fail_code(op, rv);
    }
}

/* ---- the body
 * ------------------------------------------------------------------------------------------------
 */

static void too_large(struct worker_op *op, uint64_t bytes) {
    struct kv_refusal refusal;
    (void)kv_value_check(&op->services->front->kv_limits, bytes, &refusal); /* false */
    kv_op_refuse(op, &refusal);
}

/* BND_TOOBIG: of a body whose length was not known before. */
static void fail_value(struct worker_op *op, int status) {
    if (status == BND_TOOBIG) {
        too_large(op, op->services->front->kv_limits.value_bytes_max + 1);
    } else {
        kv_op_fail_code(op, status);
    }
}

static void on_value_taken(struct kv_value *value, int status) {
    struct worker_op *op = value->data;
    struct writing *writing = op->data;
    if (status != 0) {
        fail_value(op, status);
        return;
    }
    if (writing->chunk != NULL) {
        bnd_http_chunk_release(writing->chunk);
        writing->chunk = NULL;
        bnd_http_body_read(op->http, &writing->read);
        return;
    }
    kv_value_give(value, &op->kv.u.put);
    put(op);
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct worker_op *op = read->data;
    struct writing *writing = op->data;
    if (status != 0) {
        worker_abort(op); /* the client is gone, or its framing broken */
        return;
    }
    writing->chunk = chunk;
    int rv = chunk == NULL ? kv_value_end(&writing->value)
                           : kv_value_take(&writing->value, chunk->bytes);
    if (rv == KV_VALUE_NOW) {
        on_value_taken(&writing->value, 0);
    } else if (rv != 0) {
        fail_value(op, rv);
    }
}

/* A body that comes as one chunk is put from where it lies. */
static void on_whole(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct worker_op *op = read->data;
    struct writing *writing = op->data;
    if (status != 0 || chunk == NULL) {
        worker_abort(op);
        return;
    }
    writing->chunk = chunk;
    op->kv.u.put.value = chunk->bytes;
    put(op);
}

static void read_body(struct worker_op *op) {
    const struct bnd_http_head *head = op->http->head;
    struct writing *writing = bnd_zalloc(sizeof *writing);
    if (writing == NULL) {
        kv_op_fail_code(op, BND_NOMEM);
        return;
    }
    bool whole = !head->chunked && head->content_length <= BND_HTTP_CHUNK_BYTES;
    op->data = writing;
    op->clean = clean_writing;
    writing->value = (struct kv_value){.front = op->services->front,
                                       .kv = op->services->kv,
                                       .namespace_id = op->kv.namespace_id,
                                       .key = kv_op_key(op),
                                       .cb = on_value_taken,
                                       .data = op};
    writing->read = (struct bnd_http_read){
        .cb = whole ? on_whole : on_piece, .data = op, .bytes_min = BND_HTTP_CHUNK_BYTES};
    bnd_http_body_read(op->http, &writing->read);
}

/* ---- the begin
 * ------------------------------------------------------------------------------------------------
 */

void kv_run_put(struct worker_op *op) {
    const struct kv_limits *limits = &op->services->front->kv_limits;
    const struct bnd_http_head *head = op->http->head;
    const struct bnd_slice *metadata = bnd_http_header(op->http, "cf-kv-metadata");
    uint64_t expires_ms = 0;
    struct kv_refusal refusal;
    if (!kv_expiry_check(limits, kv_parameter(op, "expiration"), kv_parameter(op, "expiration_ttl"),
                         bnd_wall_ms(op->services->env), &expires_ms, &refusal) ||
        (metadata != NULL && !kv_metadata_check(*metadata, &refusal)) ||
        (!head->chunked && !kv_value_check(limits, head->content_length, &refusal))) {
        kv_op_refuse(op, &refusal);
        return;
    }
    op->kv.u.put = (struct bnd_kv_put){
        .metadata = metadata != NULL ? *metadata : bnd_slice(NULL, 0), .expires_ms = expires_ms};
    if (op->http->has_body) {
        read_body(op);
    } else {
        put(op);
    }
}

/* Deleting what is not there is a success. */
void kv_run_delete(struct worker_op *op) {
    op->kv.u.put = (struct bnd_kv_put){.tombstone = true};
    put(op);
}
