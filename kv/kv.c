/* A node's KV: its parts, their order at start and end, and what belongs to none of them. */
#include "kv/coordinate.h"
#include "kv/forward.h"
#include "kv/push.h"

#define CACHE_BYTES ((size_t)32 << 20)
#define COMMIT_BYTES_MAX ((size_t)2 << 20)
#define TICK_NS (UINT64_C(50) * BND_MS)
#define PEERS_EVERY 2u /* ticks */
#define SWEEP_EVERY 20u

/* ---- told by the parts
 * ------------------------------------------------------------------------------- */

void kv_fatal(struct bnd_kv *kv, int code, const char *what) {
    struct bnd_error why;
    (void)bnd_error_set(&why, code, "KV: %s: %s", what, bnd_code_text(code));
    kv->config.fatal(kv->config.owner, &why);
}

/* What scans the state, which has to wait for a commit under load. */
static void scan_tick(struct bnd_kv *kv) {
    bool due = kv->sweep_due || kv->upkeep.drop_left > 0;
    if (due && kv_log_commit(kv->log)) {
        bool sweeps = kv->sweep_due;
        kv->sweep_due = false;
        kv_upkeep_tick(kv, sweeps);
    }
}

static void on_log_committed(void *owner) {
    struct bnd_kv *kv = owner;
    kv_serve_held(kv);
    kv_forward_tick(kv);
    if (kv->sweep_due) {
        scan_tick(kv);
    }
}

static void on_log_fatal(void *owner, const struct bnd_error *why) {
    struct bnd_kv *kv = owner;
    kv->config.fatal(kv->config.owner, why);
}

static void on_changed(void *owner, const struct kv_change *change) {
    struct bnd_kv *kv = owner;
    if (kv->spread != NULL) { /* not while the log is applied again: it looks at the state then */
        kv_spread_changed(kv->spread, change);
    }
}

static void on_wiped(void *owner, uint32_t shard) {
    struct bnd_kv *kv = owner;
    if (kv->spread != NULL) {
        kv_spread_wiped(kv->spread, shard);
    }
}

/* ---- the pass
 * -------------------------------------------------------------------------------------- */

static void on_flush(struct bnd_task *task) {
    struct bnd_kv *kv = task->data;
    kv->flush_armed = false;
    if (kv->closing) {
        return;
    }
    kv_push_flush(kv);
}

void kv_wake(struct bnd_kv *kv) {
    if (!kv->flush_armed) {
        kv->flush_armed = true;
        bnd_defer(kv->config.env, &kv->flush_task);
    }
}

/* Tells the spread of replicas that have come or gone. */
static void tick_peers(struct bnd_kv *kv) {
    struct bnd_mesh *mesh = kv->config.mesh;
    for (size_t i = 0; i < kv->peers_count; i++) {
        bool up = mesh->ops->up(mesh, kv->peers[i].node);
        if (up != kv->peers[i].up) {
            kv->peers[i].up = up;
            kv_spread_peer(kv->spread, kv->peers[i].node, up);
        }
    }
}

bool kv_clock_fit(struct bnd_kv *kv, uint32_t shard) {
    bool steady = kv_clock_steady(&kv->clock, kv_wall_ms(kv), bnd_now_ns(kv->config.env));
    bool alone = kv->view.shards[shard].replicas_count == 1;
    return (steady || alone) && kv->config.clock_fit(kv->config.owner);
}

static void on_tick(struct bnd_timer *timer) {
    struct bnd_kv *kv = timer->data;
    bnd_timer_start(kv->config.env, timer, TICK_NS);
    (void)kv_clock_steady(&kv->clock, kv_wall_ms(kv), bnd_now_ns(kv->config.env));
    kv_push_tick(kv);
    kv_coordinate_tick(kv);
    kv_forward_tick(kv);
    kv->sweep_due = kv->sweep_due || kv->ticks % SWEEP_EVERY == 0;
    if (kv->log != NULL) {
        kv_log_pace(kv->log);
        scan_tick(kv);
    }
    if (kv->spread != NULL && kv->ticks % PEERS_EVERY == 0) {
        tick_peers(kv);
    }
    kv->ticks++;
}

static void on_message(void *owner, uint64_t from, struct bnd_slice message) {
    struct bnd_kv *kv = owner;
    if (!kv->closing && kv->started) {
        kv_push_receive(kv, from, message);
    }
}

static void on_request(void *owner, struct bnd_rpc_request *request) {
    kv_serve(owner, request);
}

/* ---- for the spread
 * -------------------------------------------------------------------------------- */

/* Whom to tell what became of an entry. */
struct taking {
    void (*done)(void *data, int status, const struct kv_applied *applied);
    void (*marked)(void *data, int status);
    void *data;
};

static void on_taken(struct kv_log_entry *entry, int status) {
    struct taking *taking = entry->data;
    if (taking->done != NULL) {
        taking->done(taking->data, status, &entry->result);
    }
    if (taking->marked != NULL) {
        taking->marked(taking->data, status);
    }
    bnd_free(taking);
}

static int append(struct bnd_kv *kv, struct kv_log_entry *entry, const struct taking *of) {
    struct taking *taking = bnd_memdup(of, sizeof *of);
    int rv = entry == NULL || taking == NULL ? BND_NOMEM : 0;
    if (rv == 0) {
        entry->applied = on_taken;
        entry->data = taking;
        rv = kv_log_append(kv->log, entry);
    }
    if (rv != 0) {
        bnd_free(taking);
    }
    kv_log_entry_unref(entry);
    return rv;
}

int kv_take(struct bnd_kv *kv, const struct kv_take *take) {
    struct kv_record record;
    if (kv_record_decode(take->record, &record) != 0 || (record.flags & KV_RECORD_SPLIT) != 0 ||
        take->key.len == 0 || take->key.len > BND_KV_KEY_MAX) {
        return BND_CORRUPT;
    }
    kv_hlc_see(&kv->hlc, record.version.hlc, kv_wall_ms(kv));
    const struct taking taking = {.done = take->done, .data = take->data};
    return append(kv,
                  kv_log_entry_encoded(take->shard, take->namespace_id, take->key, take->record),
                  &taking);
}

int kv_take_piece(struct bnd_kv *kv, const struct kv_piece *piece,
                  void (*done)(void *data, int status, const struct kv_applied *applied),
                  void *data) {
    const struct taking taking = {.done = done, .data = data};
    return append(kv, kv_log_entry_piece(piece), &taking);
}

int kv_mark(struct bnd_kv *kv, uint32_t shard, const struct kv_marks *marks, bool wipe,
            void (*done)(void *data, int status), void *data) {
    const struct taking taking = {.marked = done, .data = data};
    return append(kv, kv_log_entry_marks(shard, marks, wipe), &taking);
}

/* ---- start
 * ----------------------------------------------------------------------------------------- */

/* Of what is collected there may be two, and each a second time as RocksDB has it. */
static size_t commit_bytes(const struct bnd_kv_config *config) {
    size_t share = config->cache_bytes / 16;
    size_t bytes = share < config->small_bytes ? config->small_bytes : share;
    return bytes > COMMIT_BYTES_MAX ? COMMIT_BYTES_MAX : bytes;
}

static int make_store(struct bnd_kv *kv, struct bnd_error *err) {
    const struct kv_store_config store = {.state = kv->config.state,
                                          .cache_bytes = kv->config.cache_bytes,
                                          .owner = kv,
                                          .changed = on_changed,
                                          .wiped = on_wiped};
    int rv = kv_store_create(&store, &kv->store, err);
    if (rv != 0) {
        return rv;
    }
    kv->hlc.last = kv_store_hlc(kv->store);
    const struct kv_log_config log = {.env = kv->config.env,
                                      .state = kv->config.state,
                                      .store = kv->store,
                                      .hlc = &kv->hlc,
                                      .self = kv->config.self,
                                      .small_bytes = kv->config.small_bytes,
                                      .commit_bytes = commit_bytes(&kv->config),
                                      .owner = kv,
                                      .fatal = on_log_fatal,
                                      .committed = on_log_committed};
    return kv_log_create(&log, &kv->log) == 0 ? 0 : BND_FAIL(err, NOMEM, "no memory for KV");
}

static void kv_free(struct bnd_kv *kv) {
    kv_spread_destroy(kv->spread);
    kv_forward_destroy(kv->forward);
    kv_coordinate_destroy(kv->coordinate);
    kv_push_destroy(kv->push);
    kv_log_destroy(kv->log);
    kv_store_destroy(kv->store);
    kv_view_free(kv);
    bnd_free(kv->peers);
    bnd_free(kv);
}

int bnd_kv_create(const struct bnd_kv_config *config, struct bnd_kv **out, struct bnd_error *err) {
    BND_ASSERT(config->self != 0 && config->fatal != NULL && config->view_wanted != NULL);
    struct bnd_kv *kv = bnd_zalloc(sizeof *kv);
    if (kv == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for KV");
    }
    kv->config = *config;
    kv->config.cache_bytes = config->cache_bytes == 0 ? CACHE_BYTES : config->cache_bytes;
    kv->config.small_bytes = config->small_bytes == 0 ? BND_KV_SMALL_BYTES : config->small_bytes;
    bnd_list_init(&kv->held);
    kv->tick = (struct bnd_timer){.cb = on_tick, .data = kv};
    kv->flush_task = (struct bnd_task){.cb = on_flush, .data = kv};
    int rv = kv_push_create(kv, &kv->push);
    rv = rv != 0 ? rv : kv_coordinate_create(&kv->coordinate);
    rv = rv != 0 ? rv : kv_forward_create(kv, &kv->forward);
    if (rv != 0) {
        rv = BND_FAIL(err, NOMEM, "no memory for KV");
    } else if (config->state != NULL) {
        rv = make_store(kv, err);
    }
    if (rv != 0) {
        kv_free(kv);
        return rv;
    }
    *out = kv;
    return 0;
}

int bnd_kv_recover(struct bnd_kv *kv, const struct bnd_journal_group *group,
                   struct bnd_error *err) {
    BND_ASSERT(kv->log != NULL && !kv->started);
    return kv_log_recover(kv->log, group, err);
}

int bnd_kv_start(struct bnd_kv *kv, struct bnd_journal *journal, struct bnd_error *err) {
    BND_ASSERT((journal == NULL) == (kv->log == NULL));
    int rv = 0;
    if (kv->log != NULL) {
        rv = kv_spread_create(kv, &kv->spread) == 0 ? kv_log_start(kv->log, journal, err)
                                                    : BND_FAIL(err, NOMEM, "no memory for KV");
    }
    if (rv != 0) {
        return rv;
    }
    kv->started = true;
    kv->config.mesh->ops->receive(kv->config.mesh, BND_MESH_KV, on_message, kv);
    bnd_rpc_serve(kv->config.rpc, BND_RPC_KV, on_request, kv);
    bnd_timer_start(kv->config.env, &kv->tick, TICK_NS);
    return 0;
}

void bnd_kv_durable(struct bnd_kv *kv, uint64_t lsn) {
    if (kv->started && !kv->closing && kv->log != NULL) {
        kv_log_durable(kv->log, lsn);
    }
}

struct peers {
    struct kv_peer *items;
    size_t count, cap;
};

/* False: no memory. */
static bool peers_add(struct peers *peers, const struct bnd_kv *kv, uint64_t node) {
    bool known = node == 0 || node == kv->config.self;
    for (size_t i = 0; i < peers->count && !known; i++) {
        known = peers->items[i].node == node;
    }
    if (known) {
        return true;
    }
    if (!BND_ROOM(peers->items, peers->count, peers->cap, 16)) {
        return false;
    }
    struct kv_peer *peer = &peers->items[peers->count++];
    *peer = (struct kv_peer){.node = node};
    for (size_t i = 0; i < kv->peers_count; i++) {
        peer->up = peer->up || (kv->peers[i].node == node && kv->peers[i].up);
    }
    return true;
}

/* Every other node that is in the new map; who is not in it any more is forgotten. */
static int peers_of(const struct bnd_kv *kv, const struct bnd_kv_view *view, struct peers *out) {
    bool room = true;
    for (uint32_t s = 0; room && s < view->shards_count; s++) {
        const struct bnd_kv_shard *map = &view->shards[s];
        for (size_t i = 0; room && i < map->replicas_count; i++) {
            room = peers_add(out, kv, map->replicas[i].node);
        }
        room = room && peers_add(out, kv, map->leaving);
    }
    return room ? 0 : BND_NOMEM;
}

/* All that needs memory first: then the view is another, and everybody is told. */
int bnd_kv_view_set(struct bnd_kv *kv, const struct bnd_kv_view *view) {
    BND_ASSERT(kv->started);
    struct peers peers = {0};
    bool deleted = false;
    if (kv->closing || (kv->view.shards_count != 0 && view->revision < kv->view.revision)) {
        return 0;
    }
    int rv = peers_of(kv, view, &peers);
    rv = rv != 0 ? rv : kv_view_copy(kv, view, &deleted);
    if (rv != 0) {
        bnd_free(peers.items);
        return rv;
    }
    bnd_free(kv->peers);
    kv->peers = peers.items;
    kv->peers_count = peers.count;
    if (deleted) {
        kv_upkeep_deleted(kv);
    }
    if (kv->spread != NULL) {
        kv_spread_view(kv->spread);
        tick_peers(kv);
    }
    kv_coordinate_view(kv);
    kv_forward_tick(kv);
    return 0;
}

/* ---- end
 * ------------------------------------------------------------------------------------------ */

static void on_log_closed(void *data) {
    struct bnd_kv *kv = data;
    kv->log_closed = true;
}

/* First the users are answered, then the log ends, then what waits for a task of its own. */
static void on_close(struct bnd_task *task) {
    struct bnd_kv *kv = task->data;
    if (!kv->close_begun) {
        kv->close_begun = true;
        kv_coordinate_close(kv);
        kv_forward_close(kv);
        kv_serve_held(kv);
        if (kv->log == NULL || !kv->started) {
            kv->log_closed = true;
        } else {
            kv_log_close(kv->log, on_log_closed, kv); /* tells the spread of what it had taken */
        }
        kv_spread_destroy(kv->spread);
        kv->spread = NULL;
    }
    if (!kv->log_closed || kv->persists > 0 || kv->forward->count > 0 || kv->flush_armed) {
        bnd_timer_start(kv->config.env, &kv->tick, BND_MS);
        return;
    }
    void (*closed)(void *data) = kv->closed;
    void *data = kv->closed_data;
    kv_free(kv);
    if (closed != NULL) {
        closed(data);
    }
}

static void on_close_timer(struct bnd_timer *timer) {
    struct bnd_kv *kv = timer->data;
    on_close(&kv->close_task);
}

void bnd_kv_close(struct bnd_kv *kv, void (*closed)(void *data), void *data) {
    BND_ASSERT(!kv->closing);
    kv->closing = true;
    kv->closed = closed;
    kv->closed_data = data;
    if (kv->started) {
        kv->config.mesh->ops->receive(kv->config.mesh, BND_MESH_KV, NULL, NULL);
        bnd_rpc_serve(kv->config.rpc, BND_RPC_KV, NULL, NULL);
    }
    bnd_timer_stop(kv->config.env, &kv->tick);
    kv->tick.cb = on_close_timer;
    kv->close_task = (struct bnd_task){.cb = on_close, .data = kv};
    bnd_defer(kv->config.env, &kv->close_task);
}

void bnd_kv_stats(const struct bnd_kv *kv, struct bnd_kv_stats *out) {
    *out = kv->stats;
    if (kv->store == NULL) {
        return;
    }
    struct kv_store_stats store;
    kv_store_stats(kv->store, &store);
    out->cache_bytes = store.cache_bytes;
    out->records_cached = store.records_cached;
    out->log_bytes = kv_log_bytes(kv->log);
    if (kv->spread != NULL) {
        kv_spread_stats(kv->spread, out);
    }
}
