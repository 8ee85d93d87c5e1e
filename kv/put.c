/* A user's put: coordinated here, or by another replica. */
#include "kv/coordinate.h"
#include "kv/forward.h"

/* Nobody can coordinate it: rounds over the candidates go on for so long. */
#define ROUNDS_NS (UINT64_C(2500) * BND_MS)
#define ROUND_NS (UINT64_C(200) * BND_MS)
#define CALL_NS (UINT64_C(6000) * BND_MS)
#define DEADLINE_NS (UINT64_C(12000) * BND_MS)

struct put_op {
    struct kv_op op; /* first */
    struct bnd_kv_put *put;
    struct kv_write_params params;
    struct kv_tried tried;
    struct bnd_rpc_call call;
    bool calling, coordinating;
    bool here; /* this node was tried in this round */
    uint64_t begun_ns, retry_ns;
    int last; /* why the last one could not */
};

static void route(struct put_op *op);

static void end(struct put_op *op, int status, const struct kv_put_answer *answer) {
    struct bnd_kv_put *put = op->put;
    const struct kv_put_answer none = {0};
    answer = answer == NULL ? &none : answer;
    if (op->calling) {
        bnd_rpc_cancel(&op->call);
    }
    if (status != 0 && status != BND_CANCELED && op->params.above_hlc != 0) {
        status = BND_UNKNOWN; /* it was stamped once */
    }
    kv_op_free(&op->op);
    put->cb(put, status, answer->durability, answer->version);
}

static void on_fail(struct kv_op *op, int status) {
    end((struct put_op *)op, status, NULL);
}

/* The round is over: again, or it cannot be done. */
static void round_over(struct put_op *op) {
    uint64_t now = bnd_now_ns(op->op.kv->config.env);
    int last = op->last == 0 ? BND_UNAVAILABLE : kv_status_for_user(op->last);
    if (now - op->begun_ns > ROUNDS_NS) {
        end(op, last, NULL);
        return;
    }
    op->tried.count = 0;
    op->here = false;
    op->retry_ns = now + ROUND_NS;
    op->op.kv->config.view_wanted(op->op.kv->config.owner);
}

/* ---- elsewhere
 * ------------------------------------------------------------------------------------- */

static void forwarded(struct put_op *op, const struct kv_put_answer *answer) {
    struct bnd_kv *kv = op->op.kv;
    kv_own_remember(kv->forward->own, op->params.namespace_id, op->params.key, answer->version,
                    bnd_now_ns(kv->config.env));
    kv_cache_drop(&kv->forward->remote, op->params.namespace_id, op->params.key);
    kv_hlc_see(&kv->hlc, answer->version.hlc, kv_wall_ms(kv));
    end(op, 0, answer);
}

static void on_reply(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct put_op *op = call->data;
    struct kv_put_answer answer;
    op->calling = false;
    status = status == 0 ? kv_put_answer_decode(reply, &answer) : status;
    if (status == 0) {
        forwarded(op, &answer);
    } else if (status == BND_TIMEOUT || status == BND_CLOSED) {
        end(op, BND_UNKNOWN, NULL); /* that one may store it yet, and stamp it above a later put */
    } else if (kv_elsewhere(status)) {
        op->last = status;
        route(op);
    } else {
        end(op, kv_status_for_user(status), NULL);
    }
}

static bool is_on_blob(const struct put_op *op, uint64_t node) {
    return op->put->blob == NULL || kv_blob_on(op->put->blob, node);
}

static uint64_t next_candidate(struct put_op *op, uint32_t shard) {
    uint64_t node = 0;
    do {
        node = kv_candidate(op->op.kv, shard, &op->tried, false);
    } while (node != 0 && !is_on_blob(op, node));
    return node;
}

static void call_next(struct put_op *op, uint32_t shard) {
    struct bnd_kv *kv = op->op.kv;
    BND_AUTO_BUF struct bnd_buf head = {0};
    kv_call_put_head(&head, &op->params);
    struct bnd_slice parts[2] = {bnd_buf_slice(&head), op->params.value};
    for (;;) {
        uint64_t node = head.failed ? 0 : next_candidate(op, shard);
        if (node == 0) {
            round_over(op);
            return;
        }
        op->call = (struct bnd_rpc_call){.cb = on_reply, .data = op};
        int rv = bnd_rpc_call(kv->config.rpc, &op->call, node, BND_MESH_CONTROL, BND_RPC_KV, parts,
                              op->params.value.len > 0 ? 2 : 1, CALL_NS);
        if (rv == 0) {
            op->calling = true;
            return;
        }
        op->last = rv;
    }
}

/* ---- here
 * ------------------------------------------------------------------------------------------ */

static void stamped(struct put_op *op, struct bnd_kv_version version) {
    if (version.hlc > op->params.above_hlc) {
        op->params.above_hlc = version.hlc;
    }
}

static void on_coordinated(void *data, int status, const struct kv_put_answer *answer) {
    struct put_op *op = data;
    struct bnd_kv *kv = op->op.kv;
    op->coordinating = false;
    if (status == 0) {
        kv_cache_drop(&kv->forward->remote, op->params.namespace_id, op->params.key);
        end(op, 0, answer);
    } else if (status == BND_EPOCH || status == BND_BUSY) {
        stamped(op, answer->version);
        op->last = status;
        route(op);
    } else {
        stamped(op, answer->version);
        end(op, status, NULL);
    }
}

static void route(struct put_op *op) {
    struct bnd_kv *kv = op->op.kv;
    op->retry_ns = 0;
    if (kv->view.shards_count == 0) {
        round_over(op);
        return;
    }
    uint32_t shard = kv_shard_of(kv, op->params.namespace_id, op->params.key);
    if (op->here || !kv_serves(kv, shard) || !kv_clock_fit(kv, shard) ||
        !is_on_blob(op, kv->config.self)) {
        call_next(op, shard);
        return;
    }
    op->here = true;
    op->coordinating = true;
    int rv = kv_coordinate_write(kv, &op->params, on_coordinated, op);
    if (rv != 0) {
        op->coordinating = false;
        op->last = rv;
        call_next(op, shard);
    }
}

static void on_tick(struct kv_op *of, uint64_t now_ns) {
    struct put_op *op = (struct put_op *)of;
    bool late = now_ns - op->begun_ns > DEADLINE_NS && !op->coordinating;
    if (late) {
        end(op, BND_UNKNOWN, NULL);
    } else if (op->retry_ns != 0 && now_ns >= op->retry_ns) {
        route(op);
    }
}

/* ---- the call
 * ------------------------------------------------------------------------------------- */

static int check(const struct bnd_kv_put *put) {
    if (put->key.len == 0 || put->key.len > BND_KV_KEY_MAX || put->namespace_id == 0) {
        return BND_INVALID;
    }
    if (put->metadata.len > BND_KV_METADATA_MAX || put->value.len > BND_KV_INLINE_MAX) {
        return BND_TOOBIG;
    }
    bool bare =
        put->value.len == 0 && put->metadata.len == 0 && put->blob == NULL && put->expires_ms == 0;
    return put->tombstone && !bare ? BND_INVALID : 0;
}

int bnd_kv_put(struct bnd_kv *kv, struct bnd_kv_put *put) {
    int rv = check(put);
    if (rv != 0 || kv->closing) {
        return rv != 0 ? rv : BND_CANCELED;
    }
    struct put_op *op = kv_op_new(kv, sizeof *op, on_tick, on_fail);
    if (op == NULL) {
        return BND_FULL;
    }
    op->put = put;
    op->begun_ns = bnd_now_ns(kv->config.env);
    op->params = (struct kv_write_params){.namespace_id = put->namespace_id,
                                          .key = put->key,
                                          .metadata = put->metadata,
                                          .value = put->value,
                                          .expires_ms = put->expires_ms,
                                          .size = (uint32_t)put->value.len,
                                          .flags = put->tombstone ? KV_RECORD_TOMBSTONE : 0};
    if (put->blob != NULL) {
        kv_blob_params(put->blob, &op->params);
        if (op->params.size <= BND_KV_INLINE_MAX) {
            kv_op_free(&op->op);
            return BND_INVALID;
        }
    }
    route(op); /* its first round ends nothing: what cannot be is told later */
    return 0;
}
