/* Reads of one key. From memory: one lookup, nothing allocated. From the state: at once. Else from
 * a replica, one after the other until one has what this node must see; or, for `newest`, from all
 * that are up. */
#include "kv/forward.h"

#define CALL_NS (UINT64_C(2000) * BND_MS)
#define DEADLINE_NS (UINT64_C(6000) * BND_MS)
#define TTL_DEFAULT_S 60u

struct asked {
    struct bnd_rpc_call call;
    struct get_op *op;
    bool calling;
};

struct get_op {
    struct kv_op op; /* first */
    struct bnd_kv_get *get;
    uint32_t shard;
    struct kv_tried tried;
    struct asked asked[BND_KV_REPLICAS_MAX];
    size_t calling;
    struct bnd_kv_version least; /* what this node has written itself; hlc 0: nothing */
    struct bnd_buf best;         /* encoded; empty: none */
    struct bnd_kv_version best_version;
    bool newest;
    bool answered; /* by one that counts, and with at least `least` */
    bool lost;     /* a call was not answered in this round: it may be the message, not the node */
    uint64_t begun_ns;
};

static void item_of(const struct kv_record *record, struct bnd_kv_item *out) {
    *out = (struct bnd_kv_item){.version = record->version,
                                .expires_ms = record->expires_ms,
                                .metadata = record->metadata,
                                .size = record->size,
                                .value = record->value};
}

/* The wall clock is asked only for what can expire. */
static bool is_absent(const struct bnd_kv *kv, const struct kv_record *record) {
    return kv_seen_absent(kv_record_seen(record), record->expires_ms != 0 ? kv_wall_ms(kv) : 0);
}

/* record NULL: there is none. */
static void tell(const struct bnd_kv *kv, struct bnd_kv_get *get, const struct kv_record *record) {
    struct bnd_kv_item item;
    if (record == NULL || is_absent(kv, record)) {
        get->cb(get, BND_NOTFOUND, NULL);
        return;
    }
    item_of(record, &item);
    get->cb(get, 0, &item);
}

static void tell_cached(const struct bnd_kv *kv, struct bnd_kv_get *get, struct kv_cached *cached) {
    kv_cache_pin(cached);
    tell(kv, get, &cached->record);
    kv_cache_unpin(cached);
}

/* ---- here
 * ------------------------------------------------------------------------------------------ */

static bool is_enough(struct bnd_kv_version has, struct bnd_kv_version least) {
    return kv_version_cmp(has, least) >= 0;
}

/* BND_KV_NOW: told; 0: this node must not answer it; else why it cannot. */
static int get_here(struct bnd_kv *kv, struct bnd_kv_get *get, uint32_t shard,
                    struct bnd_kv_version least) {
    struct kv_record record = {0};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    int rv = kv_store_get(kv->store, shard, get->namespace_id, get->key, &bytes, &record);
    if (rv != 0 && rv != BND_NOTFOUND) {
        return rv;
    }
    if (!is_enough(record.version, least)) {
        return 0;
    }
    tell(kv, get, rv == 0 ? &record : NULL);
    return BND_KV_NOW;
}

/* What another node has answered, not longer ago than the caller allows. */
static struct kv_cached *find_remote(struct bnd_kv *kv, const struct bnd_kv_get *get,
                                     struct bnd_kv_version least) {
    struct kv_cached *cached = kv_cache_find(&kv->forward->remote, get->namespace_id, get->key);
    uint64_t ttl = get->cache_ttl_s == 0 ? TTL_DEFAULT_S : get->cache_ttl_s;
    if (cached == NULL || !is_enough(cached->record.version, least) ||
        (bnd_now_ns(kv->config.env) - cached->until_ns) / (1000 * BND_MS) >= ttl) {
        return NULL;
    }
    return cached;
}

/* ---- elsewhere
 * ------------------------------------------------------------------------------------- */

static void end(struct get_op *op, int status, const struct kv_record *record) {
    struct bnd_kv *kv = op->op.kv;
    struct bnd_kv_get *get = op->get;
    struct bnd_buf best = op->best; /* what record borrows from */
    for (size_t i = 0; i < BND_KV_REPLICAS_MAX; i++) {
        if (op->asked[i].calling) {
            bnd_rpc_cancel(&op->asked[i].call);
        }
    }
    kv_op_free(&op->op);
    if (status != 0) {
        get->cb(get, status, NULL);
    } else {
        tell(kv, get, record);
    }
    bnd_buf_free(&best);
}

static void on_fail(struct kv_op *op, int status) {
    end((struct get_op *)op, status, NULL);
}

/* With what the best answer was; remembered, also that there is none. */
static void succeed(struct get_op *op) {
    struct bnd_kv *kv = op->op.kv;
    struct kv_record record;
    struct bnd_slice bytes = bnd_buf_slice(&op->best);
    int rv = bytes.len == 0 ? BND_NOTFOUND : kv_record_decode(bytes, &record);
    if (rv == 0 || rv == BND_NOTFOUND) {
        struct kv_cached *cached = kv_cache_put(&kv->forward->remote, op->shard,
                                                op->get->namespace_id, op->get->key, bytes);
        if (cached != NULL) {
            cached->until_ns = bnd_now_ns(kv->config.env);
        }
    }
    end(op, rv == BND_NOTFOUND ? 0 : rv, rv == 0 ? &record : NULL);
}

/* A record, or none, as somebody has it. */
static int take_best(struct get_op *op, struct bnd_slice bytes) {
    struct kv_record record = {0};
    int rv = bytes.len == 0 ? 0 : kv_record_decode(bytes, &record);
    if (rv != 0 || (record.flags & KV_RECORD_SPLIT) != 0) {
        return BND_CORRUPT;
    }
    if (bytes.len > 0 && kv_version_cmp(record.version, op->best_version) > 0) {
        bnd_buf_reset(&op->best);
        bnd_buf_append_slice(&op->best, bytes);
        op->best_version = record.version;
    }
    op->answered = op->answered || is_enough(record.version, op->least);
    return op->best.failed ? BND_NOMEM : 0;
}

static bool ask(struct get_op *op, uint64_t node);

/* One candidate after the other. */
static void ask_next(struct get_op *op) {
    for (;;) {
        uint64_t node = kv_candidate(op->op.kv, op->shard, &op->tried, false);
        if (node == 0 && op->lost) {
            op->lost = false;
            op->tried.count = 0;
            return; /* the tick begins another round */
        }
        if (node == 0) {
            end(op, BND_UNAVAILABLE, NULL);
            return;
        }
        if (ask(op, node)) {
            return;
        }
    }
}

static void on_reply(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct asked *asked = call->data;
    struct get_op *op = asked->op;
    asked->calling = false;
    op->calling--;
    op->lost = op->lost || status == BND_TIMEOUT;
    if (status == 0 || status == BND_NOTFOUND) {
        (void)take_best(op, status == 0 ? reply : bnd_slice(NULL, 0)); /* else as no answer */
    }
    if (op->calling > 0) {
        return;
    }
    if (op->answered) {
        succeed(op);
    } else if (op->newest) {
        end(op, BND_UNAVAILABLE, NULL);
    } else {
        ask_next(op);
    }
}

static bool ask(struct get_op *op, uint64_t node) {
    struct bnd_kv *kv = op->op.kv;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    const struct kv_call_get get = {
        .namespace_id = op->get->namespace_id, .key = op->get->key, .any = op->newest};
    struct asked *asked = op->asked;
    while (asked->calling) { /* one for each replica: there is a free one */
        asked++;
    }
    kv_call_get_encode(&bytes, &get);
    asked->op = op;
    asked->call = (struct bnd_rpc_call){.cb = on_reply, .data = asked};
    struct bnd_slice part = bnd_buf_slice(&bytes);
    if (bytes.failed || bnd_rpc_call(kv->config.rpc, &asked->call, node, BND_MESH_CONTROL,
                                     BND_RPC_KV, &part, 1, CALL_NS) != 0) {
        return false;
    }
    asked->calling = true;
    op->calling++;
    return true;
}

static void on_tick(struct kv_op *of, uint64_t now_ns) {
    struct get_op *op = (struct get_op *)of;
    if (now_ns - op->begun_ns > DEADLINE_NS) {
        end(op, BND_UNAVAILABLE, NULL);
    } else if (op->calling == 0 && op->answered) {
        succeed(op); /* `newest`, and this node alone has it */
    } else if (op->calling == 0) {
        ask_next(op);
    }
}

/* All that are up, and this node's own, also while it hands the shard over: what was written here a
 * moment ago may be nowhere else yet. Not what an unfilled replica holds: the deletion of it may
 * have been collected. */
static int ask_all(struct get_op *op) {
    struct bnd_kv *kv = op->op.kv;
    bool served = kv_serves(kv, op->shard);
    if (served || kv_hands_over(kv, op->shard)) {
        BND_AUTO_BUF struct bnd_buf bytes = {0};
        int rv =
            kv_store_get_encoded(kv->store, op->shard, op->get->namespace_id, op->get->key, &bytes);
        rv = rv == 0 || rv == BND_NOTFOUND ? take_best(op, bnd_buf_slice(&bytes)) : rv;
        op->answered = op->answered && served;
        if (rv != 0) {
            return rv;
        }
    }
    uint64_t node = 0;
    while ((node = kv_candidate(kv, op->shard, &op->tried, true)) != 0) {
        (void)ask(op, node); /* as one that does not answer */
    }
    return 0;
}

static int get_remote(struct bnd_kv *kv, struct bnd_kv_get *get, uint32_t shard,
                      struct bnd_kv_version least, bool newest) {
    struct get_op *op = kv_op_new(kv, sizeof *op, on_tick, on_fail);
    if (op == NULL) {
        return BND_FULL;
    }
    op->get = get;
    op->shard = shard;
    op->least = least;
    op->newest = newest;
    op->begun_ns = bnd_now_ns(kv->config.env);
    kv->stats.gets_forwarded++;
    int rv = 0;
    if (newest) {
        rv = ask_all(op);
    } else {
        uint64_t node = 0;
        do {
            node = kv_candidate(kv, shard, &op->tried, false);
        } while (node != 0 && !ask(op, node));
        rv = node == 0 ? BND_UNAVAILABLE : 0;
    }
    if (rv != 0) {
        bnd_buf_free(&op->best);
        kv_op_free(&op->op);
    }
    return rv;
}

/* ---- the call
 * -------------------------------------------------------------------------------------- */

/* This node was a filled replica within the last minute: its clients may have written here what
 * the others do not have yet. */
static bool has_just_left(const struct bnd_kv *kv, uint32_t shard) {
    uint64_t left = kv->view.here[shard].left_ns;
    return left != 0 && bnd_now_ns(kv->config.env) - left < KV_OWN_NS;
}

int bnd_kv_get(struct bnd_kv *kv, struct bnd_kv_get *get) {
    if (get->key.len == 0 || get->key.len > BND_KV_KEY_MAX || get->namespace_id == 0) {
        return BND_INVALID;
    }
    if (kv->closing || kv->view.shards_count == 0) {
        return BND_UNAVAILABLE;
    }
    kv->stats.gets++;
    if (kv_namespace(kv, get->namespace_id, NULL) == KV_NAMESPACE_GONE) {
        get->cb(get, BND_NOTFOUND, NULL);
        return BND_KV_NOW;
    }
    struct bnd_kv_version least =
        kv_own_find(kv->forward->own, get->namespace_id, get->key, bnd_now_ns(kv->config.env));
    if (kv->store != NULL && !get->newest) {
        struct kv_cached *cached = kv_store_cached(kv->store, get->namespace_id, get->key);
        if (cached != NULL && kv_serves(kv, cached->shard) &&
            is_enough(cached->record.version, least)) {
            kv->stats.gets_cached++;
            tell_cached(kv, get, cached);
            return BND_KV_NOW;
        }
    }
    uint32_t shard = kv_shard_of(kv, get->namespace_id, get->key);
    bool newest = get->newest || has_just_left(kv, shard);
    if (!get->newest && kv_serves(kv, shard)) {
        int rv = get_here(kv, get, shard, least);
        if (rv != 0) {
            return rv;
        }
    } else if (!newest) {
        struct kv_cached *cached = find_remote(kv, get, least);
        if (cached != NULL) {
            kv->stats.gets_cached++;
            tell_cached(kv, get, cached);
            return BND_KV_NOW;
        }
    }
    return get_remote(kv, get, shard, least, newest);
}
