/* In the background, a little each tick: records of deleted namespaces are dropped, pieces of large
 * values that nobody names are swept. What it deletes the next tick commits.
 *
 * Namespaces are looked for round the shards: a deletion asks for one round more from where the
 * look is, so that deletions one after the other never keep it from the later shards. */
#include "kv/kv_private.h"

#define DROP_RECORDS 500u
/* In a tick: namespaces of a shard that are looked at, and deletions that are collected by then. */
#define DROP_STEPS 64u
#define DROP_BYTES ((size_t)16 << 10)
#define SWEEP_PIECES 100u
/* What was on its way when a namespace was deleted is found by a second look after so long. */
#define AGAIN_NS (UINT64_C(10000) * BND_MS)

/* All shards from here on. The one that it is in was looked at in part already, and comes again. */
static void drop_round(struct bnd_kv *kv) {
    bool inside = kv->upkeep.drop_left > 0;
    kv->upkeep.drop_left = kv->view.shards_count + (inside ? 1 : 0);
}

void kv_upkeep_deleted(struct bnd_kv *kv) {
    if (kv->store != NULL && kv_rule(kv, KV_RULE_NAMESPACE)) {
        kv->upkeep.drop_again_ns = bnd_now_ns(kv->config.env) + AGAIN_NS;
        drop_round(kv);
    }
}

static void next_shard(struct bnd_kv *kv) {
    struct kv_upkeep *upkeep = &kv->upkeep;
    upkeep->drop_shard = (upkeep->drop_shard + 1) % kv->view.shards_count;
    upkeep->drop_left--;
    upkeep->drop_namespace = 0;
    upkeep->drop_after.len = 0;
}

/* The namespace to go on with, 0: there is none. One that is being dropped is not looked for: the
 * look would pass over all that has gone of it. */
static int namespace_here(struct bnd_kv *kv, uint64_t *out) {
    const struct kv_upkeep *upkeep = &kv->upkeep;
    if (upkeep->drop_after.len > 0) {
        *out = upkeep->drop_namespace;
        return 0;
    }
    return kv_store_namespace_next(kv->store, upkeep->drop_shard, upkeep->drop_namespace, out);
}

/* One namespace of one shard: drops some of it, or goes on to the next. */
static int drop_step(struct bnd_kv *kv) {
    struct kv_upkeep *upkeep = &kv->upkeep;
    uint64_t found = 0;
    bool more = false;
    int rv = kv_store_marks(kv->store, upkeep->drop_shard).there ? namespace_here(kv, &found) : 0;
    if (rv != 0) {
        return rv;
    }
    if (found == 0) {
        next_shard(kv);
        return 0;
    }
    if (kv_namespace(kv, found, NULL) == KV_NAMESPACE_GONE) {
        rv = kv_store_namespace_drop(kv->store, upkeep->drop_shard, found, DROP_RECORDS,
                                     kv_wall_ms(kv), &upkeep->drop_after, &more);
    }
    upkeep->drop_namespace = more ? found : found + 1;
    upkeep->drop_after.len = more ? upkeep->drop_after.len : 0;
    return rv;
}

static int sweep_step(struct bnd_kv *kv) {
    uint32_t shard = kv->upkeep.sweep_shard++ % kv->view.shards_count;
    return kv_store_marks(kv->store, shard).there
               ? kv_store_sweep(kv->store, shard, kv_wall_ms(kv), SWEEP_PIECES)
               : 0;
}

void kv_upkeep_tick(struct bnd_kv *kv, bool sweeps) {
    BND_ASSERT(!kv_store_dirty(kv->store));
    struct kv_upkeep *upkeep = &kv->upkeep;
    if (kv->view.shards_count == 0) {
        return;
    }
    int rv = sweeps ? sweep_step(kv) : 0;
    for (unsigned i = 0; rv == 0 && i < DROP_STEPS && upkeep->drop_left > 0 &&
                         kv_store_collected(kv->store) < DROP_BYTES;
         i++) {
        rv = drop_step(kv);
    }
    if (upkeep->drop_again_ns != 0 && bnd_now_ns(kv->config.env) >= upkeep->drop_again_ns) {
        upkeep->drop_again_ns = 0;
        drop_round(kv);
    }
    if (rv != 0) {
        kv_fatal(kv, rv, "upkeep");
    }
}
