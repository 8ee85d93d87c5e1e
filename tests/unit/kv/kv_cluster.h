/* Nodes with the real KV over the simulated world: real journal on a simulated disk, simulated
 * state and mesh, the real rpc. The map is the test's: what replicas tell changes it at once, and
 * every node hears of it within the next step. */
#ifndef TESTS_UNIT_KV_KV_CLUSTER_H
#define TESTS_UNIT_KV_KV_CLUSTER_H

#include "kv/wire.h"
#include "tests/unit/kv/kv_node.h"

#define NODES_MAX 5
#define SHARDS 4u
#define NS 1u       /* eventual */
#define NS_LOCAL 2u /* local */
#define STEP_MS 10u

struct cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct kv_node nodes[NODES_MAX];
    size_t count;
    struct bnd_kv_shard shards[SHARDS];
    struct bnd_kv_namespace namespaces[2];
    size_t namespaces_count;
    uint64_t revision;
    bool dirty;
    /* Messages that are dropped: of this type from -> to (0: any). */
    uint8_t drop_type;
    uint64_t drop_from, drop_to;
};

static inline struct kv_node *node_of(struct cluster *c, uint64_t id) {
    return &c->nodes[id - 1];
}

/* ---- what a node asks
 * ------------------------------------------------------------------------- */

static inline void kvc_tell(void *owner, const struct bnd_kv_tell *tell) {
    struct kv_node *node = owner;
    struct cluster *c = node->cluster;
    struct bnd_kv_shard *shard = &c->shards[tell->shard];
    int rv = simkv_tell_make(shard, node->id, tell);
    c->revision += rv == 0;
    c->dirty = c->dirty || rv == 0;
}

static inline void kvc_wanted(void *owner) {
    ((struct kv_node *)owner)->wanted++;
}

/* ---- life
 * ------------------------------------------------------------------------------------- */

static inline void give_view(struct kv_node *node) {
    struct cluster *c = node->cluster;
    const struct bnd_kv_view view = {.revision = c->revision,
                                     .shards = c->shards,
                                     .shards_count = SHARDS,
                                     .namespaces = c->namespaces,
                                     .namespaces_count = c->namespaces_count,
                                     .namespace_next = 3};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_kv_view_set(node->kv, &view), 0);
    bnd_sim_env_leave(node->sim);
}

static inline void boot(struct kv_node *node) {
    kv_node_boot(node, kvc_tell, kvc_wanted);
    give_view(node);
}

static inline void crash(struct cluster *c, uint64_t id, enum bnd_sim_crash kind) {
    kv_node_crash(node_of(c, id), kind);
}

static inline void restart(struct cluster *c, uint64_t id) {
    boot(node_of(c, id));
}

/* In steps; what the map has become meanwhile is heard after each. */
static inline void run(struct cluster *c, uint64_t ms) {
    for (uint64_t at = 0; at < ms; at += STEP_MS) {
        bnd_sim_run_for(c->world, STEP_MS * BND_MS);
        if (!c->dirty) {
            continue;
        }
        c->dirty = false;
        for (size_t i = 0; i < c->count; i++) {
            if (c->nodes[i].sim != NULL && !c->nodes[i].late) {
                give_view(&c->nodes[i]);
            }
        }
    }
}

static inline void map_changed(struct cluster *c) {
    c->revision++;
    c->dirty = true;
}

static inline bool kvc_passes(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                              struct bnd_slice message) {
    const struct cluster *c = data;
    /* The first byte is the mesh's kind, or already the message's: both are looked at. */
    bool is_it = kind == BND_MESH_KV && c->drop_type != 0 && message.len > 0 &&
                 message.data[0] == c->drop_type;
    return !(is_it && (c->drop_from == 0 || c->drop_from == from) &&
             (c->drop_to == 0 || c->drop_to == to));
}

/* count nodes, the last `gateways` of them without a store; every shard on the first `replicas`. */
static inline struct cluster *cluster_open(uint64_t seed, size_t count, size_t gateways,
                                           size_t replicas) {
    struct cluster *c = calloc(1, sizeof *c);
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = 0;
    net.slow_per_mille = 0;
    c->world = bnd_sim_world_create(seed);
    c->net = bnd_sim_net_create(c->world, &net);
    bnd_sim_net_filter(c->net, kvc_passes, c);
    c->count = count;
    c->revision = 1;
    c->namespaces[0] = (struct bnd_kv_namespace){.id = NS};
    c->namespaces[1] = (struct bnd_kv_namespace){.id = NS_LOCAL, .local = true};
    c->namespaces_count = 2;
    uint64_t ids[NODES_MAX] = {1, 2, 3, 4, 5};
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_init(&c->shards[i], ids, replicas), 0);
    }
    for (size_t i = 0; i < count; i++) {
        struct kv_node *node = &c->nodes[i];
        kv_node_init(node, c, c->world, c->net, i + 1);
        if (i >= count - gateways) {
            bnd_sim_store_destroy(node->store);
            node->store = NULL;
        }
        boot(node);
    }
    run(c, 2000);
    return c;
}

static inline void cluster_close(struct cluster *c) {
    for (size_t i = 0; i < c->count; i++) {
        if (c->nodes[i].sim != NULL) {
            kv_node_stop(&c->nodes[i]);
        }
        kv_node_free(&c->nodes[i]);
    }
    bnd_sim_net_destroy(c->net);
    bnd_sim_world_destroy(c->world);
    free(c);
}

/* ---- puts
 * -------------------------------------------------------------------------------------- */

#define PENDING 1000

struct putting {
    struct bnd_kv_put put;
    int status;
    enum bnd_kv_durability durability;
    struct bnd_kv_version version;
};

static inline void put_done(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
                            struct bnd_kv_version version) {
    struct putting *putting = put->data;
    assert_int_equal(putting->status, PENDING); /* told once */
    putting->status = status;
    putting->durability = durability;
    putting->version = version;
}

static inline void put_begin(struct cluster *c, uint64_t id, struct putting *putting) {
    struct kv_node *node = node_of(c, id);
    putting->put.cb = put_done;
    putting->put.data = putting;
    putting->status = PENDING;
    bnd_sim_env_enter(node->sim);
    int rv = bnd_kv_put(node->kv, &putting->put);
    bnd_sim_env_leave(node->sim);
    putting->status = rv == 0 ? PENDING : rv;
}

static inline bool put_ended(void *data) {
    return ((struct putting *)data)->status != PENDING;
}

/* Until the very moment of its answer: what the others have to be durable by then. */
static inline int put_wait(struct cluster *c, struct putting *putting) {
    assert_true(bnd_sim_run_until_true(c->world, put_ended, putting, 2000 * STEP_MS * BND_MS));
    return putting->status;
}

static inline struct putting put_of(uint64_t ns, const char *key, const char *value) {
    struct putting putting = {.put = {.namespace_id = ns, .key = bnd_slice_str(key)}};
    putting.put.tombstone = value == NULL;
    putting.put.value = value == NULL ? bnd_slice(NULL, 0) : bnd_slice_str(value);
    return putting;
}

static inline int put_in(struct cluster *c, uint64_t id, uint64_t ns, const char *key,
                         const char *value, struct putting *out) {
    *out = put_of(ns, key, value);
    put_begin(c, id, out);
    return put_wait(c, out);
}

/* Acknowledged by two replicas. value NULL: a delete. */
static inline struct bnd_kv_version put(struct cluster *c, uint64_t id, const char *key,
                                        const char *value) {
    struct putting putting;
    assert_int_equal(put_in(c, id, NS, key, value, &putting), 0);
    assert_int_equal(putting.durability, BND_KV_REPLICATED);
    return putting.version;
}

/* ---- gets
 * -------------------------------------------------------------------------------------- */

struct getting {
    struct bnd_kv_get get;
    int status;
    char value[64];
    uint64_t size;
    struct bnd_kv_version version;
    bool now;
};

static inline void get_done(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct getting *getting = get->data;
    assert_int_equal(getting->status, PENDING);
    getting->status = status;
    if (status == 0) {
        size_t len = item->value.len < 63 ? item->value.len : 63;
        memcpy(getting->value, item->value.data == NULL ? (const uint8_t *)"" : item->value.data,
               len);
        getting->value[len] = 0;
        getting->size = item->size;
        getting->version = item->version;
    }
}

static inline int get_with(struct cluster *c, uint64_t id, struct getting *getting) {
    struct kv_node *node = node_of(c, id);
    getting->get.cb = get_done;
    getting->get.data = getting;
    getting->status = PENDING;
    bnd_sim_env_enter(node->sim);
    int rv = bnd_kv_get(node->kv, &getting->get);
    bnd_sim_env_leave(node->sim);
    getting->now = rv == BND_KV_NOW;
    if (rv < 0) {
        return rv;
    }
    assert_true(rv == 0 || getting->status != PENDING);
    for (unsigned i = 0; i < 1000 && getting->status == PENDING; i++) {
        run(c, STEP_MS);
    }
    assert_int_not_equal(getting->status, PENDING);
    return getting->status;
}

static inline struct getting get(struct cluster *c, uint64_t id, const char *key) {
    struct getting getting = {.get = {.namespace_id = NS, .key = bnd_slice_str(key)}};
    getting.status = get_with(c, id, &getting);
    return getting;
}

/* value NULL: there is none. */
static inline void expect(struct cluster *c, uint64_t id, const char *key, const char *value) {
    struct getting getting = get(c, id, key);
    if (value == NULL) {
        assert_int_equal(getting.status, BND_NOTFOUND);
    } else {
        assert_int_equal(getting.status, 0);
        assert_string_equal(getting.value, value);
    }
}

#endif
