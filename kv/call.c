#include "kv/spread_private.h"

static void call_again(struct spread_call *call, uint64_t after_ns) {
    bnd_timer_start(call->spread->kv->config.env, &call->timer, after_ns);
}

static void call_answer(struct spread_call *call, int status, struct bnd_slice reply) {
    bnd_buf_free(&call->request); /* a new call may be made from inside */
    call->cb(call, status, reply);
}

/* A lost message is asked again, a busy peer later; any other answer is one. */
static void on_reply(struct bnd_rpc_call *rpc, int status, struct bnd_slice reply) {
    struct spread_call *call = rpc->data;
    bool again = status == BND_TIMEOUT || status == BND_BUSY || status == BND_FULL;
    if (again && ++call->tries < SPREAD_TRIES) {
        call_again(call, SPREAD_WAIT_NS << call->tries);
        return;
    }
    call_answer(call, status, reply);
}

static void call_send(struct bnd_timer *timer) {
    struct spread_call *call = timer->data;
    struct kv_spread *spread = call->spread;
    struct bnd_mesh *mesh = spread->kv->config.mesh;
    if (call->request.failed || !mesh->ops->up(mesh, call->peer)) {
        call_answer(call, call->request.failed ? BND_NOMEM : BND_CLOSED, bnd_slice(NULL, 0));
        return;
    }
    if (mesh->ops->queued(mesh, call->peer, BND_MESH_BULK) > SPREAD_QUEUED_MAX) {
        call_again(call, SPREAD_WAIT_NS);
        return;
    }
    const struct bnd_slice part = bnd_buf_slice(&call->request);
    int rv = bnd_rpc_call(spread->kv->config.rpc, &call->rpc, call->peer, BND_MESH_BULK, BND_RPC_KV,
                          &part, 1, SPREAD_CALL_NS);
    if (rv == BND_FULL && ++call->tries < SPREAD_TRIES) {
        call_again(call, SPREAD_WAIT_NS << call->tries);
    } else if (rv != 0) {
        call_answer(call, rv, bnd_slice(NULL, 0));
    }
}

void spread_call(struct kv_spread *spread, struct spread_call *call,
                 const struct kv_spread_ask *ask) {
    call->spread = spread;
    call->tries = 0;
    call->rpc = (struct bnd_rpc_call){.cb = on_reply, .data = call};
    call->timer.cb = call_send;
    call->timer.data = call;
    bnd_buf_reset(&call->request);
    kv_spread_ask_encode(&call->request, ask);
    call_again(call, 0);
}

void spread_call_end(struct kv_spread *spread, struct spread_call *call) {
    if (call->spread != NULL) {
        bnd_timer_stop(spread->kv->config.env, &call->timer);
        bnd_rpc_cancel(&call->rpc);
    }
    bnd_buf_free(&call->request);
    call->spread = NULL;
}
