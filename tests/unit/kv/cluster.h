/* A few real KV nodes in the simulated world, and group 0 as one struct in the test: its maps
 * change by the transitions of placement/kv_map.h, when nodes tell something or the test decides.
 * Every call waits for its answer in virtual time. */
#ifndef BND_TESTS_UNIT_KV_CLUSTER_H
#define BND_TESTS_UNIT_KV_CLUSTER_H

#include "tests/unit/kv/kv_node.h"

enum { NODES = 4, SHARDS = 2, NS = 7, NAMESPACES_MAX = 512 };

#define SECOND (1000 * BND_MS)

struct cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct kv_node nodes[NODES];
    uint32_t rules_off;
    /* group 0 */
    struct bnd_kv_shard shards[SHARDS], old_shards[SHARDS];
    struct bnd_kv_namespace namespaces[NAMESPACES_MAX];
    size_t namespaces_count;
    uint64_t namespace_next, revision;
    struct bnd_timer news; /* the nodes are about to learn of it */
    uint64_t deaf_tells;   /* bits of tell kinds that do not reach it */
    uint64_t told[4];      /* how often each kind was told */
};

/* ---- group 0 ----------------------------------------------------------------------------------*/

static inline void on_news(struct bnd_timer *timer) {
    struct cluster *cluster = timer->data;
    const struct bnd_kv_view view = {.revision = cluster->revision,
                                     .shards = cluster->shards,
                                     .shards_count = SHARDS,
                                     .namespaces = cluster->namespaces,
                                     .namespaces_count = cluster->namespaces_count,
                                     .namespace_next = cluster->namespace_next};
    for (size_t i = 0; i < NODES; i++) {
        struct kv_node *node = &cluster->nodes[i];
        if (node->sim != NULL && !node->blind && !node->late) {
            bnd_sim_env_enter(node->sim);
            struct bnd_kv_view told = view;
            told.shards = node->old ? cluster->old_shards : view.shards;
            assert_int_equal(bnd_kv_view_set(node->kv, &told), 0);
            bnd_sim_env_leave(node->sim);
        }
    }
}

static inline void cluster_changed(struct cluster *cluster) {
    cluster->revision++;
    bnd_sim_world_at(cluster->world, &cluster->news, 5 * BND_MS);
}

static inline void on_tell(void *owner, const struct bnd_kv_tell *tell) {
    struct kv_node *node = owner;
    struct cluster *cluster = node->cluster;
    struct bnd_kv_shard *shard = &cluster->shards[tell->shard];
    const struct bnd_kv_shard before = *shard;
    cluster->told[tell->kind]++;
    if (node->blind || (cluster->deaf_tells >> tell->kind & 1) != 0) {
        return;
    }
    (void)simkv_tell_make(shard, node->id, tell);
    if (memcmp(&before, shard, sizeof before) != 0) {
        cluster_changed(cluster);
    }
}

/* ---- nodes ------------------------------------------------------------------------------------*/

static inline void node_news(void *owner) {
    struct kv_node *node = owner;
    if (!node->blind) {
        bnd_sim_world_at(node->world, &node->cluster->news, 5 * BND_MS);
    }
}

static inline void node_start(struct kv_node *node) {
    node->rules_off = node->cluster->rules_off;
    kv_node_boot(node, on_tell, node_news);
    bnd_sim_world_at(node->world, &node->cluster->news, 5 * BND_MS);
}

/* The cluster's first `count` nodes are the replicas of every shard; all NODES are up. */
static inline void cluster_open(struct cluster *cluster, size_t count, uint32_t rules_off) {
    *cluster = (struct cluster){.rules_off = rules_off, .namespace_next = NS + 1};
    struct bnd_sim_net_config net;
    uint64_t ids[NODES];
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = 0;
    net.slow_per_mille = 0;
    cluster->world = bnd_sim_world_create(1);
    cluster->net = bnd_sim_net_create(cluster->world, &net);
    cluster->namespaces[cluster->namespaces_count++] = (struct bnd_kv_namespace){.id = NS};
    cluster->news = (struct bnd_timer){.cb = on_news, .data = cluster};
    for (size_t i = 0; i < NODES; i++) {
        struct kv_node *node = &cluster->nodes[i];
        kv_node_init(node, cluster, cluster->world, cluster->net, i + 1);
        ids[i] = node->id;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_init(&cluster->shards[i], ids, count), 0);
    }
    for (size_t i = 0; i < NODES; i++) {
        node_start(&cluster->nodes[i]);
    }
    bnd_sim_run_for(cluster->world, 6 * SECOND); /* the last seconds are known from here on */
}

static inline void cluster_close(struct cluster *cluster) {
    for (size_t i = 0; i < NODES; i++) {
        if (cluster->nodes[i].sim != NULL) {
            kv_node_stop(&cluster->nodes[i]);
        }
    }
    for (size_t i = 0; i < NODES; i++) {
        kv_node_free(&cluster->nodes[i]);
    }
    bnd_sim_world_cancel(cluster->world, &cluster->news);
    bnd_sim_net_destroy(cluster->net);
    bnd_sim_world_destroy(cluster->world);
}

static inline void run_for(struct cluster *cluster, uint64_t duration_ns) {
    bnd_sim_run_for(cluster->world, duration_ns);
}

/* Both directions, noticed. */
static inline void cut_off(struct cluster *cluster, struct kv_node *node) {
    bnd_sim_net_isolate(cluster->net, node->id, true);
    node->blind = true;
}
static inline void heal(struct cluster *cluster) {
    bnd_sim_net_heal(cluster->net);
    for (size_t i = 0; i < NODES; i++) {
        cluster->nodes[i].blind = false;
    }
    bnd_sim_world_at(cluster->world, &cluster->news, 5 * BND_MS);
}

/* ---- one call at a time -----------------------------------------------------------------------*/

struct answer {
    bool done;
    int status;
    enum bnd_kv_durability durability;
    struct bnd_kv_version version;
    uint64_t size;
    size_t value_len;
    char value[64];
};

static inline bool answer_done(void *data) {
    return ((struct answer *)data)->done;
}

static inline void put_done(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
                            struct bnd_kv_version version) {
    struct answer *answer = put->data;
    answer->done = true;
    answer->status = status;
    answer->durability = durability;
    answer->version = version;
}

/* value NULL: a delete. expires_ms 0: never. */
static inline struct answer put_until(struct kv_node *node, const char *key, const char *value,
                                      uint64_t expires_ms) {
    struct answer answer = {0};
    struct bnd_kv_put put = {.namespace_id = NS,
                             .key = bnd_slice_str(key),
                             .value = value != NULL ? bnd_slice_str(value) : bnd_slice(NULL, 0),
                             .expires_ms = expires_ms,
                             .tombstone = value == NULL,
                             .cb = put_done,
                             .data = &answer};
    bnd_sim_env_enter(node->sim);
    answer.status = bnd_kv_put(node->kv, &put);
    bnd_sim_env_leave(node->sim);
    if (answer.status == 0) {
        assert_true(
            bnd_sim_run_until_true(node->cluster->world, answer_done, &answer, 60 * SECOND));
    }
    return answer;
}
static inline int put(struct kv_node *node, const char *key, const char *value) {
    return put_until(node, key, value, 0).status;
}

static inline void piece_done(void *data, int status) {
    struct answer *answer = data;
    answer->done = true;
    answer->status = status;
}

/* A value of `size` bytes, above BND_KV_INLINE_MAX, in pieces. */
static inline int put_large(struct kv_node *node, const char *key, size_t size) {
    static uint8_t bytes[BND_KV_INLINE_MAX];
    struct bnd_kv_blob *blob = NULL;
    struct answer answer = {0};
    memset(bytes, key[0], sizeof bytes);
    bnd_sim_env_enter(node->sim);
    int rv = bnd_kv_blob_begin(node->kv, NS, bnd_slice_str(key), &blob);
    for (size_t at = 0; rv == 0 && at < size; at += sizeof bytes) {
        size_t len = size - at < sizeof bytes ? size - at : sizeof bytes;
        answer = (struct answer){0};
        rv = bnd_kv_blob_piece(blob, bnd_slice(bytes, len), piece_done, &answer);
        bnd_sim_env_leave(node->sim);
        assert_true(rv != 0 || bnd_sim_run_until_true(node->cluster->world, answer_done, &answer,
                                                      60 * SECOND));
        bnd_sim_env_enter(node->sim);
        rv = rv != 0 ? rv : answer.status;
    }
    struct bnd_kv_put put = {.namespace_id = NS,
                             .key = bnd_slice_str(key),
                             .blob = blob,
                             .cb = put_done,
                             .data = &answer};
    answer = (struct answer){0};
    rv = rv != 0 ? rv : bnd_kv_put(node->kv, &put);
    bnd_sim_env_leave(node->sim);
    if (rv == 0) {
        assert_true(
            bnd_sim_run_until_true(node->cluster->world, answer_done, &answer, 60 * SECOND));
    }
    bnd_sim_env_enter(node->sim);
    bnd_kv_blob_free(blob);
    bnd_sim_env_leave(node->sim);
    return rv != 0 ? rv : answer.status;
}

static inline void get_done(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item) {
    struct answer *answer = get->data;
    answer->done = true;
    answer->status = status;
    if (status == 0) {
        answer->version = item->version;
        answer->size = item->size;
        answer->value_len =
            item->value.len < sizeof answer->value ? item->value.len : sizeof answer->value - 1;
        if (answer->value_len > 0) {
            memcpy(answer->value, item->value.data, answer->value_len);
        }
    }
}

static inline struct answer get(struct kv_node *node, const char *key) {
    struct answer answer = {0};
    struct bnd_kv_get get = {
        .namespace_id = NS, .key = bnd_slice_str(key), .cb = get_done, .data = &answer};
    bnd_sim_env_enter(node->sim);
    int rv = bnd_kv_get(node->kv, &get);
    bnd_sim_env_leave(node->sim);
    if (rv == 0) {
        assert_true(
            bnd_sim_run_until_true(node->cluster->world, answer_done, &answer, 60 * SECOND));
    } else if (rv != BND_KV_NOW) {
        answer.status = rv;
    }
    return answer;
}

#endif
