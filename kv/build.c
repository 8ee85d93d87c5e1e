/* Trees are built by a scan in slices, of one shard after the other, and the same scan deletes what
 * is dead below the collected horizon, or all that a replica left out of one must forget. */
#include "kv/spread_private.h"

struct slice {
    struct spread_build *build;
    uint64_t now_ms;
    int status;
};

static int forget(const struct slice *slice, const struct kv_scanned *found) {
    struct spread_shard *shard = slice->build->shard;
    return kv_store_forget(shard->spread->kv->store, shard->number, found->namespace_id, found->key,
                           found->record.version, slice->now_ms);
}

static bool each_purged(void *data, const struct kv_scanned *found) {
    struct slice *slice = data;
    if (found->record.version.hlc < slice->build->purge) {
        slice->status = forget(slice, found);
    }
    return slice->status == 0;
}

static bool each_counted(void *data, const struct kv_scanned *found) {
    struct slice *slice = data;
    struct spread_shard *shard = slice->build->shard;
    const struct kv_entry entry = {.namespace_id = found->namespace_id,
                                   .key = found->key,
                                   .seen = kv_record_seen(&found->record)};
    if (kv_seen_dead(entry.seen, shard->tree->horizon)) {
        slice->status = forget(slice, found);
        kv_tree_passed(shard->tree, entry.namespace_id, entry.key);
        shard->spread->kv->stats.tombstones_collected++;
    } else {
        kv_tree_scanned(shard->tree, &entry);
    }
    return slice->status == 0;
}

/* The deletions are in the state alone, the marks go through the log: marks that a replay finds
 * before the deletions were persisted would bring back what they say is gone. */
static void on_purge_persisted(struct bnd_state_persist *request, int status) {
    struct spread_purge *purge = request->data;
    struct spread_shard *shard = purge->shard;
    purge->kv->persists--;
    bnd_free(purge);
    if (shard == NULL) {
        return; /* it was ended meanwhile */
    }
    shard->build.purging = NULL;
    shard->build.running = false;
    if (status == 0) {
        struct kv_marks marks = spread_marks(shard);
        marks.collected = shard->build.purge;
        shard->spread->kv->stats.wiped_shards++;
        spread_mark(shard, &marks, false);
    } /* else the next tick begins anew */
}

static int purge_persist(struct spread_shard *shard) {
    struct bnd_state *state = shard->spread->kv->config.state;
    struct spread_purge *purge = bnd_zalloc(sizeof *purge);
    if (purge == NULL) {
        return 1;
    }
    purge->kv = shard->spread->kv;
    purge->shard = shard;
    purge->request = (struct bnd_state_persist){.cb = on_purge_persisted, .data = purge};
    if (state->ops->persist(state, &purge->request) != 0) {
        bnd_free(purge);
        return 1; /* again with the next slice */
    }
    purge->kv->persists++;
    shard->build.purging = purge;
    return 0;
}

/* What this node has missed while it was down it asks for itself, shard by shard as it can: the
 * others find it only once they try again. */
static void compare_first(struct spread_shard *shard) {
    bool first = !shard->compares && kv_rule(shard->spread->kv, KV_RULE_EXCHANGE);
    shard->compares = true;
    for (size_t i = 0; first && i < shard->peers_count; i++) {
        spread_want(&shard->peers[i]);
    }
}

static int build_run(struct spread_job *job, size_t most) {
    struct spread_build *build = BND_CONTAINER(job, struct spread_build, job);
    struct spread_shard *shard = build->shard;
    struct kv_spread *spread = shard->spread;
    struct slice slice = {.build = build, .now_ms = bnd_wall_ms(spread->kv->config.env)};
    bool purges = build->purge != 0;
    int rv = kv_walk_slice(&build->walk, spread->kv->store, shard->number, most,
                           purges ? each_purged : each_counted, &slice);
    rv = slice.status != 0 ? slice.status : rv;
    if (rv != 0) {
        return rv;
    }
    if (!build->walk.done || (purges && kv_store_dirty(spread->kv->store))) {
        return 1;
    }
    if (purges) {
        return purge_persist(shard);
    }
    build->running = false;
    kv_tree_finish(shard->tree);
    compare_first(shard);
    spread_step(shard);
    spread_exchanges_run(spread);
    return 0;
}

/* What is stamped from here on cannot have been applied before. */
static int recent_begin(struct spread_shard *shard) {
    struct kv_spread *spread = shard->spread;
    uint64_t second = bnd_wall_ms(spread->kv->config.env) / 1000;
    return kv_recent_begin(spread->recent, shard->number, second + KV_RECENT_AHEAD + 1);
}

void spread_build_begin(struct spread_shard *shard, uint64_t purge) {
    struct kv_spread *spread = shard->spread;
    struct spread_build *build = &shard->build;
    struct kv_marks marks = spread_marks(shard);
    if (build->running) {
        return;
    }
    if (shard->tree == NULL) {
        if (recent_begin(shard) != 0) {
            return; /* the next tick tries again */
        }
        shard->tree = bnd_alloc(sizeof *shard->tree);
        if (shard->tree == NULL) {
            return;
        }
    }
    kv_tree_begin(shard->tree, marks.collected);
    *build = (struct spread_build){
        .job = {.lasts = true, .run = build_run}, .shard = shard, .running = true, .purge = purge};
    spread_job_add(spread, &build->job);
}

void spread_build_end(struct spread_shard *shard) {
    spread_job_remove(&shard->build.job);
    if (shard->build.purging != NULL) {
        shard->build.purging->shard = NULL;
        shard->build.purging = NULL;
    }
    shard->build.running = false;
}
