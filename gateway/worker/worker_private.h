/* One request of a KV binding on its way: internal to gateway/worker.
 *
 * A request is one struct kv_op, taken from the worker's spare ones and given back by exactly one
 * of the ends below. What cannot be taken back is waited for, also when the client has gone. */
#ifndef BND_GATEWAY_WORKER_WORKER_PRIVATE_H
#define BND_GATEWAY_WORKER_WORKER_PRIVATE_H

#include "gateway/front.h"
#include "gateway/worker/worker.h"
#include "kv/kv.h"

/* As in worker_operation_names. */
enum worker_operation {
    WORKER_OTHER,
    WORKER_KV_GET,
    WORKER_KV_BULK_GET,
    WORKER_KV_PUT,
    WORKER_KV_DELETE,
    WORKER_KV_LIST,
};

#define KV_KEY_RAW_MAX (3 * BND_KV_KEY_MAX) /* every byte escaped */

struct kv_op {
    struct worker *worker;
    struct bnd_http_request *http;
    const struct bnd_gateway_services *services;
    uint64_t namespace_id;
    uint32_t permissions;
    size_t key_len;
    bool newest;              /* X-Bindery-Consistency */
    struct gateway_view_wait wait; /* for a namespace or token that may be new */
    struct bnd_link spare;
    void *data; /* of what has more to keep; freed by clean */
    void (*clean)(struct kv_op *op);
    union {
        struct bnd_kv_get get;
        struct bnd_kv_put put;
    } u;
    uint8_t key[KV_KEY_RAW_MAX];
};

static inline struct bnd_slice kv_op_key(const struct kv_op *op) {
    return bnd_slice(op->key, op->key_len);
}

/* ---- the operations: each ends the op
 * ---------------------------------------------------------------------------------------------- */

void kv_run_get(struct kv_op *op);
void kv_run_put(struct kv_op *op);
void kv_run_delete(struct kv_op *op);
void kv_run_list(struct kv_op *op);
void kv_run_bulk_get(struct kv_op *op);

/* Parameters of the query, raw; data NULL where absent. */
struct bnd_slice kv_parameter(const struct kv_op *op, const char *name);

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

/* Gives the op back; its HTTP request has been ended. */
void kv_op_release(struct kv_op *op);
void kv_op_abort(struct kv_op *op);
void kv_op_respond(struct kv_op *op, const struct bnd_http_response *response);
/* text becomes the reason phrase, too: workerd shows it to the Worker. */
void kv_op_fail(struct kv_op *op, unsigned status, const char *text);
void kv_op_refuse(struct kv_op *op, const struct kv_refusal *refusal);
/* A code of the store. */
void kv_op_fail_code(struct kv_op *op, int status);

#endif
