/* The simulated state over immutable trees (tests/sim/tree.h): one version per column family.
 *
 * Invariants: (1) `persisted` is a version that was once written whole; it only moves forward; (2)
 * an iterator keeps the version it was made from; (3) a batch's `seen` is the version it was last
 * read over with its changes applied, valid while the state has not been written since. */
#include "tests/sim/state.h"

#include "base/assert.h"
#include "base/hash.h"
#include "tests/sim/memory.h"
#include "tests/sim/tree.h"

#define PERSIST_NS_MAX_DEFAULT (30 * BND_MS)

/* One version of everything. */
struct version {
    struct tree *families[BND_CF_COUNT];
};

struct bnd_sim_store {
    struct bnd_sim_world *world;
    uint64_t node;
    struct bnd_sim_rng rng;
    struct version persisted;
    uint64_t persist_ns_max;
    uint64_t stalled_until_ns;
    int fail_code;
    struct state *open;
};

struct state {
    struct bnd_state base;
    struct bnd_sim_store *store;
    struct bnd_sim_env *env;
    struct bnd_sim_end end;
    struct version now;
    uint64_t writes;        /* names the version */
    uint64_t bytes_written; /* since it was opened */
    uint64_t bytes_persisted;
    uint64_t writes_persisted;
    size_t persists; /* under way */
    struct bnd_link batches;
    struct bnd_link iters;
};

struct change {
    enum bnd_state_cf cf;
    bool deleted;
    size_t at; /* in the batch's bytes */
    size_t key_len;
    size_t value_len;
};

struct bnd_state_batch {
    struct state *state;
    struct bnd_link link;
    struct change *changes;
    size_t count, cap;
    uint8_t *bytes;
    size_t bytes_len, bytes_cap;
    struct version seen;
    uint64_t seen_writes; /* of the version under `seen` */
    size_t seen_changes;  /* how many are in `seen` */
    bool seen_valid;
    struct bnd_state_batch *below;
};

struct bnd_state_iter {
    struct bnd_link link;
    struct tree *tree;
    struct bnd_slice from;
    struct bnd_slice to;
    struct tree_cursor cursor;
};

static struct state *state_of(struct bnd_state *base) {
    return BND_CONTAINER(base, struct state, base);
}

static struct version version_ref(const struct version *version) {
    struct version copy = *version;
    for (size_t i = 0; i < BND_CF_COUNT; i++) {
        (void)tree_ref(copy.families[i]);
    }
    return copy;
}

static void version_unref(struct version *version) {
    for (size_t i = 0; i < BND_CF_COUNT; i++) {
        tree_unref(version->families[i]);
    }
    *version = (struct version){0};
}

static bool stalled(const struct bnd_sim_store *store) {
    return bnd_sim_world_now_ns(store->world) < store->stalled_until_ns;
}

/* ---- batches
 * ---------------------------------------------------------------------------------------- */

static struct bnd_state_batch *op_batch_create(struct bnd_state *base) {
    struct bnd_state_batch *batch = bnd_sim_zalloc(sizeof *batch);
    batch->state = state_of(base);
    bnd_list_push(&batch->state->batches, &batch->link);
    return batch;
}

static void op_batch_clear(struct bnd_state_batch *batch) {
    version_unref(&batch->seen);
    batch->seen_valid = false;
    batch->count = 0;
    batch->bytes_len = 0;
}

static void op_batch_destroy(struct bnd_state_batch *batch) {
    if (batch == NULL) {
        return;
    }
    op_batch_clear(batch);
    bnd_link_remove(&batch->link);
    bnd_sim_free(batch->changes);
    bnd_sim_free(batch->bytes);
    bnd_sim_free(batch);
}

static size_t op_batch_bytes(const struct bnd_state_batch *batch) {
    return batch->bytes_len;
}

static void batch_add(struct bnd_state_batch *batch, enum bnd_state_cf cf, bool deleted,
                      struct bnd_slice key, struct bnd_slice value) {
    BND_ASSERT(cf < BND_CF_COUNT);
    if (batch->count == batch->cap) {
        batch->cap = batch->cap == 0 ? 16 : 2 * batch->cap;
        batch->changes = bnd_sim_realloc(batch->changes, batch->cap * sizeof *batch->changes);
    }
    size_t need = batch->bytes_len + key.len + value.len;
    if (need > batch->bytes_cap) {
        batch->bytes_cap = need * 2;
        batch->bytes = bnd_sim_realloc(batch->bytes, batch->bytes_cap);
    }
    batch->changes[batch->count++] = (struct change){.cf = cf,
                                                     .deleted = deleted,
                                                     .at = batch->bytes_len,
                                                     .key_len = key.len,
                                                     .value_len = value.len};
    if (key.len > 0) {
        memcpy(batch->bytes + batch->bytes_len, key.data, key.len);
    }
    if (value.len > 0) {
        memcpy(batch->bytes + batch->bytes_len + key.len, value.data, value.len);
    }
    batch->bytes_len = need;
}

static void op_batch_put(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                         struct bnd_slice value) {
    batch_add(batch, cf, false, key, value);
}

static void op_batch_delete(struct bnd_state_batch *batch, enum bnd_state_cf cf,
                            struct bnd_slice key) {
    batch_add(batch, cf, true, key, (struct bnd_slice){0});
}

static void apply_change(struct version *version, const struct bnd_state_batch *batch,
                         const struct change *change) {
    struct bnd_slice key = bnd_slice(batch->bytes + change->at, change->key_len);
    struct tree **family = &version->families[change->cf];
    if (change->deleted) {
        *family = tree_remove(*family, key);
    } else {
        struct bnd_slice value =
            bnd_slice(batch->bytes + change->at + change->key_len, change->value_len);
        *family = tree_put(*family, key, value);
    }
}

/* What the batch's reads see: the state with the batch applied. */
static const struct version *batch_view(struct bnd_state_batch *batch) {
    const struct state *state = batch->state;
    if (!batch->seen_valid || batch->seen_writes != state->writes) {
        version_unref(&batch->seen);
        batch->seen = version_ref(batch->below != NULL ? batch_view(batch->below) : &state->now);
        batch->seen_writes = state->writes;
        batch->seen_changes = 0;
        batch->seen_valid = true;
    }
    while (batch->seen_changes < batch->count) {
        apply_change(&batch->seen, batch, &batch->changes[batch->seen_changes++]);
    }
    return &batch->seen;
}

static int version_get(const struct version *version, enum bnd_state_cf cf, struct bnd_slice key,
                       struct bnd_buf *out) {
    BND_ASSERT(cf < BND_CF_COUNT);
    struct bnd_slice value = tree_get(version->families[cf], key);
    if (value.data == NULL) {
        return BND_NOTFOUND;
    }
    bnd_buf_reset(out);
    bnd_buf_append_slice(out, value);
    return out->failed ? BND_NOMEM : 0;
}

static int op_batch_get(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                        struct bnd_buf *out) {
    return version_get(batch_view(batch), cf, key, out);
}

static void op_batch_over(struct bnd_state_batch *batch, struct bnd_state_batch *below) {
    batch->below = below;
    batch->seen_valid = false;
}

/* ---- iterators
 * -------------------------------------------------------------------------------------- */

static void op_iter_seek(struct bnd_state_iter *iter, struct bnd_slice key) {
    tree_seek(&iter->cursor, iter->tree, bnd_slice_cmp(key, iter->from) < 0 ? iter->from : key);
}

static struct bnd_state_iter *iter_make(struct state *state, struct tree *tree,
                                        struct bnd_slice from, struct bnd_slice to) {
    struct bnd_state_iter *iter = bnd_sim_zalloc(sizeof *iter);
    iter->tree = tree_ref(tree);
    iter->from = from;
    iter->to = to;
    bnd_list_push(&state->iters, &iter->link);
    op_iter_seek(iter, from);
    return iter;
}

static struct bnd_state_iter *op_batch_iter(struct bnd_state_batch *batch, enum bnd_state_cf cf,
                                            struct bnd_slice from, struct bnd_slice to) {
    BND_ASSERT(cf < BND_CF_COUNT);
    return iter_make(batch->state, batch_view(batch)->families[cf], from, to);
}

static struct bnd_state_iter *op_iter(struct bnd_state *base, enum bnd_state_cf cf,
                                      struct bnd_slice from, struct bnd_slice to) {
    BND_ASSERT(cf < BND_CF_COUNT);
    return iter_make(state_of(base), state_of(base)->now.families[cf], from, to);
}

static bool op_iter_valid(const struct bnd_state_iter *iter) {
    return iter->cursor.depth > 0 && bnd_slice_cmp(tree_cursor_key(&iter->cursor), iter->to) < 0;
}

static void op_iter_next(struct bnd_state_iter *iter) {
    tree_next(&iter->cursor);
}

static struct bnd_slice op_iter_key(const struct bnd_state_iter *iter) {
    return tree_cursor_key(&iter->cursor);
}

static struct bnd_slice op_iter_value(const struct bnd_state_iter *iter) {
    return tree_cursor_value(&iter->cursor);
}

static int op_iter_status(const struct bnd_state_iter *iter) {
    return 0;
}

static void op_iter_destroy(struct bnd_state_iter *iter) {
    if (iter == NULL) {
        return;
    }
    tree_unref(iter->tree);
    bnd_link_remove(&iter->link);
    bnd_sim_free(iter);
}

/* ---- writes, reads, persists
 * ------------------------------------------------------------------------ */

/* A stall is over at once for who waits: time stands still meanwhile. */
static int op_write_waiting(struct bnd_state *base, struct bnd_state_batch *batch) {
    struct state *state = state_of(base);
    if (state->store->fail_code != 0) {
        return state->store->fail_code;
    }
    bnd_sim_trace(state->store->world, "stat", state->store->node, batch->count,
                  bnd_slice(batch->bytes, batch->bytes_len));
    struct version next = version_ref(batch_view(batch));
    version_unref(&state->now);
    state->now = next;
    state->writes++;
    state->bytes_written += batch->bytes_len;
    return 0;
}

static int op_write(struct bnd_state *base, struct bnd_state_batch *batch) {
    const struct bnd_sim_store *store = state_of(base)->store;
    return store->fail_code == 0 && stalled(store) ? BND_BUSY : op_write_waiting(base, batch);
}

static int op_get(struct bnd_state *base, enum bnd_state_cf cf, struct bnd_slice key,
                  struct bnd_buf *out) {
    return version_get(&state_of(base)->now, cf, key, out);
}

static int op_get_persisted(struct bnd_state *base, enum bnd_state_cf cf, struct bnd_slice key,
                            struct bnd_buf *out) {
    return version_get(&state_of(base)->store->persisted, cf, key, out);
}

struct persist_event {
    struct bnd_sim_event event;
    struct state *state;
    struct bnd_state_persist *persist;
    struct version version;
    uint64_t writes;
    uint64_t bytes;
};

/* The version is on disk, unless a later one is already. */
static void persisted(struct persist_event *e) {
    struct state *state = e->state;
    if (e->writes >= state->writes_persisted) {
        version_unref(&state->store->persisted);
        state->store->persisted = version_ref(&e->version);
        state->writes_persisted = e->writes;
        state->bytes_persisted = e->bytes;
    }
}

static void persist_free(struct persist_event *e) {
    e->state->persists--;
    version_unref(&e->version);
    bnd_sim_free(e);
}

static void drop_persist(struct bnd_sim_event *event) {
    struct persist_event *e = BND_CONTAINER(event, struct persist_event, event);
    if (bnd_sim_rng_chance(&e->state->store->rng, 500)) {
        persisted(e);
    }
    persist_free(e);
}

static void run_persist(struct bnd_sim_event *event) {
    struct persist_event *e = BND_CONTAINER(event, struct persist_event, event);
    struct bnd_sim_store *store = e->state->store;
    if (stalled(store)) {
        bnd_sim_env_at(event->env, event,
                       store->stalled_until_ns - bnd_sim_world_now_ns(store->world));
        return;
    }
    int status = store->fail_code;
    if (status == 0) {
        persisted(e);
        bnd_sim_trace(store->world, "pers", store->node, e->writes, (struct bnd_slice){0});
    }
    struct bnd_state_persist *persist = e->persist;
    persist_free(e);
    persist->cb(persist, status);
}

static int op_persist(struct bnd_state *base, struct bnd_state_persist *persist) {
    struct state *state = state_of(base);
    struct persist_event *e = bnd_sim_zalloc(sizeof *e);
    e->event.run = run_persist;
    e->event.drop = drop_persist;
    e->event.owed = true;
    e->state = state;
    e->persist = persist;
    e->version = version_ref(&state->now);
    e->writes = state->writes;
    e->bytes = state->bytes_written;
    state->persists++;
    bnd_sim_env_at(state->env, &e->event,
                   1 + bnd_sim_rng_below(&state->store->rng, state->store->persist_ns_max));
    return 0;
}

static void version_drop(struct version *version, struct bnd_slice from, struct bnd_slice to) {
    for (size_t i = 0; i < BND_CF_COUNT; i++) {
        version->families[i] = tree_remove_range(version->families[i], from, to);
    }
}

/* Gone from what is read at once; from what is persisted now or by the next persist. */
static int op_drop_range(struct bnd_state *base, struct bnd_slice from, struct bnd_slice to) {
    struct state *state = state_of(base);
    version_drop(&state->now, from, to);
    state->writes++;
    if (bnd_sim_rng_chance(&state->store->rng, 500)) {
        version_drop(&state->store->persisted, from, to);
    }
    return 0;
}

static size_t op_unpersisted_bytes(struct bnd_state *base) {
    return state_of(base)->bytes_written - state_of(base)->bytes_persisted;
}

/* ---- life
 * ------------------------------------------------------------------------------------------- */

static void state_free(struct state *state) {
    state->store->open = NULL;
    version_unref(&state->now);
    bnd_sim_free(state);
}

static void op_close(struct bnd_state *base) {
    struct state *state = state_of(base);
    BND_ASSERT(bnd_list_empty(&state->batches)); /* else a batch leaked */
    BND_ASSERT(bnd_list_empty(&state->iters));   /* else an iterator leaked */
    BND_ASSERT(state->persists == 0);            /* else one was not waited for */
    bnd_sim_env_not_on_end(&state->end);
    state_free(state);
}

static void on_end(struct bnd_sim_end *end, bool crashed) {
    struct state *state = end->data;
    BND_ASSERT(crashed); /* a clean stop closes its state */
    while (!bnd_list_empty(&state->batches)) {
        op_batch_destroy(BND_CONTAINER(state->batches.next, struct bnd_state_batch, link));
    }
    while (!bnd_list_empty(&state->iters)) {
        op_iter_destroy(BND_CONTAINER(state->iters.next, struct bnd_state_iter, link));
    }
    state_free(state);
}

static const struct bnd_state_ops state_ops = {
    .close = op_close,
    .batch_create = op_batch_create,
    .batch_destroy = op_batch_destroy,
    .batch_clear = op_batch_clear,
    .batch_bytes = op_batch_bytes,
    .batch_put = op_batch_put,
    .batch_delete = op_batch_delete,
    .batch_get = op_batch_get,
    .batch_over = op_batch_over,
    .batch_iter = op_batch_iter,
    .write = op_write,
    .write_waiting = op_write_waiting,
    .get = op_get,
    .iter = op_iter,
    .iter_valid = op_iter_valid,
    .iter_next = op_iter_next,
    .iter_seek = op_iter_seek,
    .iter_key = op_iter_key,
    .iter_value = op_iter_value,
    .iter_status = op_iter_status,
    .iter_destroy = op_iter_destroy,
    .persist = op_persist,
    .get_persisted = op_get_persisted,
    .drop_range = op_drop_range,
    .unpersisted_bytes = op_unpersisted_bytes,
};

struct bnd_sim_store *bnd_sim_store_create(struct bnd_sim_world *world, uint64_t node) {
    struct bnd_sim_store *store = bnd_sim_zalloc(sizeof *store);
    store->world = world;
    store->node = node;
    store->persist_ns_max = PERSIST_NS_MAX_DEFAULT;
    bnd_sim_rng_init(&store->rng, bnd_sim_world_seed(world), "state", node);
    return store;
}

void bnd_sim_store_wipe(struct bnd_sim_store *store) {
    BND_ASSERT(store->open == NULL);
    version_unref(&store->persisted);
}

void bnd_sim_store_destroy(struct bnd_sim_store *store) {
    if (store != NULL) {
        bnd_sim_store_wipe(store);
        bnd_sim_free(store);
    }
}

struct bnd_state *bnd_sim_store_open(struct bnd_sim_store *store, struct bnd_sim_env *env) {
    BND_ASSERT(store->open == NULL);
    struct state *state = bnd_sim_zalloc(sizeof *state);
    state->base.ops = &state_ops;
    state->store = store;
    state->env = env;
    state->now = version_ref(&store->persisted);
    state->end = (struct bnd_sim_end){.cb = on_end, .data = state};
    bnd_list_init(&state->batches);
    bnd_list_init(&state->iters);
    bnd_sim_env_on_end(env, &state->end);
    store->open = state;
    return &state->base;
}

void bnd_sim_store_persist_max(struct bnd_sim_store *store, uint64_t duration_ns) {
    BND_ASSERT(duration_ns > 0);
    store->persist_ns_max = duration_ns;
}

void bnd_sim_store_stall(struct bnd_sim_store *store, uint64_t duration_ns) {
    store->stalled_until_ns = bnd_sim_world_now_ns(store->world) + duration_ns;
}

void bnd_sim_store_fail(struct bnd_sim_store *store, int code) {
    store->fail_code = code;
}

uint64_t bnd_sim_store_hash(const struct bnd_sim_store *store, bool persisted_only,
                            struct bnd_slice from, struct bnd_slice to, size_t skip) {
    const struct version *version =
        persisted_only || store->open == NULL ? &store->persisted : &store->open->now;
    uint64_t hash = 0;
    for (size_t i = 0; i < BND_CF_COUNT; i++) {
        struct tree_cursor cursor;
        tree_seek(&cursor, version->families[i], from);
        for (; cursor.depth > 0 && bnd_slice_cmp(tree_cursor_key(&cursor), to) < 0;
             tree_next(&cursor)) {
            struct bnd_slice key = tree_cursor_key(&cursor);
            size_t cut = key.len < skip ? key.len : skip;
            hash = bnd_hash64(bnd_slice(key.data + cut, key.len - cut), hash + i);
            hash = bnd_hash64(tree_cursor_value(&cursor), hash);
        }
    }
    return hash;
}
