/* One request of a binding on its way: internal to gateway/worker.
 *
 * A request is one struct worker_op, taken from the worker's spare ones and given back by exactly
 * one of the ends below. What cannot be taken back is waited for, also when the client has gone. */
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
    WORKER_D1_QUERY,
    WORKER_D1_EXECUTE,
};

struct worker_op;

/* What differs between the kinds of bindings before their operations begin. */
struct worker_kind {
    const char *prefix; /* of X-Bindery-Binding: "kv:" */
    /* Finds what is bound in the view. *id: the kind's own. False: it is not there. */
    bool (*find)(const struct bnd_gateway_services *services, struct bnd_slice named,
                 uint64_t *out_id);
    const char *missing; /* is told then, with 400 */
    /* The token is good and the binding there: goes on, and ends the op. */
    void (*run)(struct worker_op *op);
    /* Ends the op with an error, as this kind's client shows it. */
    void (*fail)(struct worker_op *op, unsigned status, const char *text);
};

extern const struct worker_kind worker_kv_kind;
extern const struct worker_kind worker_d1_kind;

#define KV_KEY_RAW_MAX (3 * BND_KV_KEY_MAX) /* every byte escaped */

struct kv_request {
    uint64_t namespace_id;
    size_t key_len;
    bool newest; /* X-Bindery-Consistency */
    bool reads;  /* stores nothing */
    union {
        struct bnd_kv_get get;
        struct bnd_kv_put put;
    } u;
    uint8_t key[KV_KEY_RAW_MAX];
};

struct worker_op {
    struct worker *worker;
    struct bnd_http_request *http;
    const struct bnd_gateway_services *services;
    const struct worker_kind *kind;
    struct bnd_slice named; /* what follows the kind's prefix; of the request */
    uint64_t id;            /* that find found */
    uint32_t permissions;
    struct gateway_view_wait wait; /* for a token, or something bound, that may be new */
    struct bnd_link spare;
    void *data; /* of what has more to keep; freed by clean */
    void (*clean)(struct worker_op *op);
    struct kv_request kv; /* of that kind */
};

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

/* Gives the op back; its HTTP request has been ended. */
void worker_release(struct worker_op *op);
void worker_abort(struct worker_op *op);
void worker_respond(struct worker_op *op, const struct bnd_http_response *response);
/* text becomes the reason phrase, too: workerd shows it to the Worker. */
void worker_fail(struct worker_op *op, unsigned status, const char *text);
/* Counts and writes down what was not allowed: 401 and 403. */
void worker_audit(const struct worker_op *op, unsigned status);

/* ---- KV: the operations end the op
 * ------------------------------------------------------------------------------------------------
 */

void kv_run_get(struct worker_op *op);
void kv_run_put(struct worker_op *op);
void kv_run_delete(struct worker_op *op);
void kv_run_list(struct worker_op *op);
void kv_run_bulk_get(struct worker_op *op);

static inline struct bnd_slice kv_op_key(const struct worker_op *op) {
    return bnd_slice(op->kv.key, op->kv.key_len);
}

/* Parameters of the query, raw; data NULL where absent. */
struct bnd_slice kv_parameter(const struct worker_op *op, const char *name);

void kv_op_refuse(struct worker_op *op, const struct kv_refusal *refusal);
/* A code of the store. */
void kv_op_fail_code(struct worker_op *op, int status);

#endif
