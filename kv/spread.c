#include "kv/spread_private.h"

/* ---- work in slices
 * ---------------------------------------------------------------------------------- */

static void slice_later(struct kv_spread *spread, uint64_t after_ns) {
    if (!spread->slicing && !spread->slice_due) {
        spread->slicing = true;
        bnd_timer_start(spread->kv->config.env, &spread->slice_timer, after_ns);
    }
}

static struct bnd_link *list_of(struct kv_spread *spread, const struct spread_job *job) {
    return job->lasts ? &spread->lasting : &spread->jobs;
}

void spread_job_add(struct kv_spread *spread, struct spread_job *job) {
    if (!bnd_link_linked(&job->link)) {
        bnd_list_push(list_of(spread, job), &job->link);
    }
    slice_later(spread, 0);
}

void spread_job_remove(struct spread_job *job) {
    if (bnd_link_linked(&job->link)) {
        bnd_link_remove(&job->link);
    }
}

static bool idle(const struct kv_spread *spread) {
    return bnd_list_empty(&spread->jobs) && bnd_list_empty(&spread->lasting);
}

/* The jobs take turns, with each other and with the first of those that last. NULL: there is none.
 */
static struct spread_job *next_job(struct kv_spread *spread) {
    bool lasting = !bnd_list_empty(&spread->lasting) &&
                   (spread->lasting_next || bnd_list_empty(&spread->jobs));
    struct bnd_link *link = bnd_list_pop(lasting ? &spread->lasting : &spread->jobs);
    spread->lasting_next = !lasting;
    return link == NULL ? NULL : BND_CONTAINER(link, struct spread_job, link);
}

static void put_back(struct kv_spread *spread, struct spread_job *job) {
    struct bnd_link *list = list_of(spread, job);
    bnd_list_push(job->lasts ? list->next : list, &job->link); /* before the first; or last */
}

/* One slice of one job. What is collected in the store must be committed
 * before a job looks, so that it sees all that its tree has been told of: else it waits. */
static void slice(struct kv_spread *spread) {
    spread->slice_due = !idle(spread) && !kv_log_commit(spread->kv->log);
    struct spread_job *job = spread->slice_due ? NULL : next_job(spread);
    if (job == NULL) {
        return;
    }
    int rv = job->run(job, job->lasts ? KV_SPREAD_LASTING_SLICE : KV_SPREAD_SLICE);
    if (rv < 0) {
        kv_fatal(spread->kv, rv, "a scan of records failed");
        return;
    }
    if (rv == 1 && !bnd_link_linked(&job->link)) {
        put_back(spread, job);
    }
    if (!idle(spread)) {
        slice_later(spread, SPREAD_SLICE_NS);
    }
}

static void on_slice(struct bnd_timer *timer) {
    struct kv_spread *spread = timer->data;
    spread->slicing = false;
    slice(spread);
}

static void on_pass(struct bnd_hook *hook) {
    struct kv_spread *spread = hook->data;
    if (spread->slice_due) {
        slice(spread);
    }
}

/* ---- shards
 * ------------------------------------------------------------------------------------------ */

enum spread_role spread_role(const struct spread_shard *shard, uint64_t node) {
    if (bnd_kv_shard_find(&shard->map, node) < shard->map.replicas_count) {
        return SPREAD_REPLICA;
    }
    return node != 0 && shard->map.leaving == node ? SPREAD_LEAVING : SPREAD_NONE;
}

struct spread_shard *spread_shard(struct kv_spread *spread, uint32_t number) {
    return number < spread->shards_count && spread->shards[number].map.epoch != 0
               ? &spread->shards[number]
               : NULL;
}

struct spread_peer *spread_peer(struct spread_shard *shard, uint64_t node) {
    for (size_t i = 0; i < shard->peers_count; i++) {
        if (shard->peers[i].node == node) {
            return &shard->peers[i];
        }
    }
    return NULL;
}

void spread_want(struct spread_peer *peer) {
    peer->wanted = true;
}

bool spread_scope(const struct spread_shard *shard, struct spread_scope *out) {
    struct kv_marks marks = spread_marks(shard);
    if (!marks.there || shard->marking != NULL || marks.epoch != shard->map.epoch ||
        shard->build.running || shard->tree == NULL || !shard->tree->built ||
        shard->tree->horizon != marks.collected) {
        return false;
    }
    *out = (struct spread_scope){.shard = shard->number,
                                 .epoch = marks.epoch,
                                 .refused = marks.refused,
                                 .collected = marks.collected};
    return true;
}

/* Keeps what is known of those who stay; exchanges with those who go end. */
static void peers_set(struct spread_shard *shard) {
    struct kv_spread *spread = shard->spread;
    struct spread_peer peers[SPREAD_PEERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i <= shard->map.replicas_count; i++) {
        uint64_t node =
            i < shard->map.replicas_count ? shard->map.replicas[i].node : shard->map.leaving;
        if (node == 0 || node == spread->kv->config.self) {
            continue;
        }
        const struct spread_peer *known = spread_peer(shard, node);
        peers[count++] = known != NULL ? *known : (struct spread_peer){.node = node};
    }
    memcpy(shard->peers, peers, count * sizeof peers[0]);
    shard->peers_count = count;
}

static int shards_make(struct kv_spread *spread, uint32_t count) {
    struct spread_shard *shards = bnd_calloc(count, sizeof *shards);
    struct kv_recent *recent = NULL;
    int rv = shards == NULL ? BND_NOMEM : kv_recent_create(count, SPREAD_RECENT_BYTES, &recent);
    if (rv != 0) {
        bnd_free(shards);
        return rv;
    }
    for (uint32_t i = 0; i < count; i++) {
        shards[i].spread = spread;
        shards[i].number = i;
    }
    kv_recent_tick(recent, kv_wall_ms(spread->kv) / 1000);
    spread->shards = shards;
    spread->shards_count = count;
    spread->recent = recent;
    return 0;
}

/* A node that starts may be told an older map than the one it has sealed itself under. */
static bool is_news(const struct spread_shard *shard, const struct bnd_kv_shard *map) {
    struct kv_marks marks = spread_marks(shard);
    return map->epoch != 0 && map->epoch >= shard->map.epoch &&
           (!marks.there || map->epoch >= marks.epoch);
}

static void each_shard_step(struct kv_spread *spread) {
    for (uint32_t i = 0; i < spread->shards_count; i++) {
        if (spread->shards[i].map.epoch != 0) {
            spread_step(&spread->shards[i]);
        }
    }
}

void kv_spread_view(struct kv_spread *spread) {
    const struct kv_view *view = &spread->kv->view;
    if (spread->shards == NULL && shards_make(spread, view->shards_count) != 0) {
        return; /* the next view, or tick, tries again */
    }
    BND_ASSERT(view->shards_count == spread->shards_count); /* fixed for a cluster's life */
    for (uint32_t i = 0; i < view->shards_count; i++) {
        struct spread_shard *shard = &spread->shards[i];
        if (is_news(shard, &view->shards[i])) {
            shard->map = view->shards[i];
            peers_set(shard);
        }
    }
    spread->open = true;
    each_shard_step(spread);
    spread_exchanges_run(spread);
}

/* ---- hooks of the store
 * ------------------------------------------------------------------------------ */

void kv_spread_changed(struct kv_spread *spread, const struct kv_change *change) {
    if (change->shard >= spread->shards_count) {
        return; /* before the first view: trees are built after it */
    }
    struct spread_shard *shard = &spread->shards[change->shard];
    if (shard->tree == NULL) {
        return; /* wiped: what was listed is forgotten when the next tree begins */
    }
    const struct kv_replaced replaced =
        kv_replaced(change->namespace_id, change->key, change->was, change->is);
    kv_tree_applied(shard->tree, &replaced);
    kv_recent_applied(spread->recent, change->shard, &replaced);
}

void kv_spread_wiped(struct kv_spread *spread, uint32_t number) {
    spread->kv->stats.wiped_shards++;
    if (number < spread->shards_count) {
        struct spread_shard *shard = &spread->shards[number];
        spread_build_end(shard);
        bnd_free(shard->tree);
        shard->tree = NULL; /* and with the next one the seconds begin anew */
    }
}

/* ---- its life
 * ---------------------------------------------------------------------------------------- */

/* Each second. */
static void on_tick(struct bnd_timer *timer) {
    struct kv_spread *spread = timer->data;
    bnd_timer_start(spread->kv->config.env, &spread->tick_timer, SPREAD_TICK_NS);
    if (!spread->open) {
        if (spread->kv->view.shards_count > 0) {
            kv_spread_view(spread);
        }
        return;
    }
    kv_recent_tick(spread->recent, kv_wall_ms(spread->kv) / 1000);
    each_shard_step(spread);
    spread_exchanges_run(spread);
    spread_digests_run(spread);
}

/* Whoever comes back has missed what was written meanwhile. */
void kv_spread_peer(struct kv_spread *spread, uint64_t node, bool up) {
    if (!up || !kv_rule(spread->kv, KV_RULE_EXCHANGE)) {
        return;
    }
    for (uint32_t i = 0; i < spread->shards_count; i++) {
        struct spread_peer *peer = spread_peer(&spread->shards[i], node);
        if (peer != NULL) {
            peer->up_ns = spread_now_ns(spread);
            peer->due_ns = 0;
            peer->again_ns = 0;
            peer->failures = 0;
        }
    }
    if (spread->open) {
        spread_exchanges_run(spread);
    }
}

int kv_spread_create(struct bnd_kv *kv, struct kv_spread **out) {
    struct kv_spread *spread = bnd_zalloc(sizeof *spread);
    if (spread == NULL) {
        return BND_NOMEM;
    }
    spread->kv = kv;
    bnd_list_init(&spread->jobs);
    bnd_list_init(&spread->lasting);
    bnd_list_init(&spread->exchanges);
    bnd_list_init(&spread->served);
    bnd_list_init(&spread->digests);
    spread->slice_timer = (struct bnd_timer){.cb = on_slice, .data = spread};
    spread->tick_timer = (struct bnd_timer){.cb = on_tick, .data = spread};
    spread->hook = (struct bnd_hook){.cb = on_pass, .data = spread};
    kv->config.env->ops->hook_add(kv->config.env, &spread->hook);
    bnd_timer_start(kv->config.env, &spread->tick_timer, SPREAD_TICK_NS);
    *out = spread;
    return 0;
}

void kv_spread_destroy(struct kv_spread *spread) {
    if (spread == NULL) {
        return;
    }
    struct bnd_env *env = spread->kv->config.env;
    env->ops->hook_remove(env, &spread->hook);
    bnd_timer_stop(env, &spread->tick_timer);
    bnd_timer_stop(env, &spread->slice_timer);
    spread_exchanges_end(spread);
    spread_digests_end(spread);
    spread_served_end(spread);
    for (uint32_t i = 0; i < spread->shards_count; i++) {
        spread_build_end(&spread->shards[i]);
        spread_ticket_void(spread->shards[i].marking, true);
        bnd_free(spread->shards[i].tree);
    }
    kv_recent_destroy(spread->recent);
    bnd_free(spread->shards);
    bnd_free(spread);
}

void kv_spread_stats(const struct kv_spread *spread, struct bnd_kv_stats *out) {
    for (uint32_t i = 0; i < spread->shards_count; i++) {
        struct kv_marks marks = spread_marks(&spread->shards[i]);
        out->shards_held += marks.there ? 1 : 0;
        out->shards_filled += marks.there && marks.filled ? 1 : 0;
        out->shards_building += marks.there && spread->shards[i].build.running ? 1 : 0;
    }
}
