/* In the background, a little each tick: records of deleted namespaces are dropped, pieces of large
 * values that nobody names are swept. What it deletes the next tick commits. */
#include "kv/kv_private.h"

#define DROP_RECORDS 500u
#define SWEEP_PIECES 100u
/* What was on its way when a namespace was deleted is found by a second look after so long. */
#define AGAIN_NS (UINT64_C(10000) * BND_MS)
#define ORPHANS_MS (UINT64_C(3600) * 1000)

static void drop_begin(struct bnd_kv *kv, uint64_t again_ns) {
    kv->upkeep.dropping = true;
    kv->upkeep.drop_again_ns = again_ns;
    kv->upkeep.drop_shard = 0;
    kv->upkeep.drop_namespace = 1;
    kv->upkeep.drop_after.len = 0;
}

void kv_upkeep_namespaces(struct bnd_kv *kv) {
    if (kv->store != NULL && kv_rule(kv, KV_RULE_NAMESPACE)) {
        drop_begin(kv, bnd_now_ns(kv->config.env) + AGAIN_NS);
    }
}

/* One namespace of one shard: drops some of it, or goes on to the next. */
static int drop_step(struct bnd_kv *kv) {
    struct kv_upkeep *upkeep = &kv->upkeep;
    uint64_t found = 0;
    bool more = false;
    if (!kv_store_marks(kv->store, upkeep->drop_shard).there) {
        upkeep->drop_shard++;
        return 0;
    }
    int rv = kv_store_namespace_next(kv->store, upkeep->drop_shard, upkeep->drop_namespace, &found);
    if (rv != 0) {
        return rv;
    }
    if (found == 0) {
        upkeep->drop_shard++;
        upkeep->drop_namespace = 1;
        upkeep->drop_after.len = 0;
        return 0;
    }
    upkeep->drop_namespace = found;
    if (kv_namespace(kv, found, NULL) == KV_NAMESPACE_GONE) {
        rv = kv_store_namespace_drop(kv->store, upkeep->drop_shard, found, DROP_RECORDS,
                                     kv_wall_ms(kv), &upkeep->drop_after, &more);
    }
    if (!more) {
        upkeep->drop_namespace++;
        upkeep->drop_after.len = 0;
    }
    return rv;
}

static int sweep_step(struct bnd_kv *kv) {
    uint32_t shard = kv->upkeep.sweep_shard++ % kv->view.shards_count;
    uint64_t now_ms = kv_wall_ms(kv);
    if (!kv_store_marks(kv->store, shard).there) {
        return 0;
    }
    return kv_store_sweep(kv->store, shard, now_ms, now_ms > ORPHANS_MS ? now_ms - ORPHANS_MS : 0,
                          SWEEP_PIECES, &kv->view.here[shard].sweep);
}

void kv_upkeep_tick(struct bnd_kv *kv) {
    BND_ASSERT(!kv_store_dirty(kv->store));
    if (kv->view.shards_count == 0) {
        return;
    }
    int rv = 0;
    if (kv->upkeep.dropping) {
        for (unsigned i = 0; rv == 0 && i < 64 && kv->upkeep.dropping && !kv_store_dirty(kv->store);
             i++) {
            rv = drop_step(kv);
            kv->upkeep.dropping = kv->upkeep.drop_shard < kv->view.shards_count;
        }
    } else {
        rv = sweep_step(kv);
    }
    if (!kv->upkeep.dropping && kv->upkeep.drop_again_ns != 0 &&
        bnd_now_ns(kv->config.env) >= kv->upkeep.drop_again_ns) {
        drop_begin(kv, 0);
    }
    if (rv != 0) {
        kv_fatal(kv, rv, "upkeep");
    }
}
