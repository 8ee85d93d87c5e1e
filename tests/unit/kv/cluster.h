/* A few real KV nodes in the simulated world, and group 0 as one struct in the test: its maps
 * change by the transitions of placement/kv_map.h, when nodes tell something or the test decides.
 * Every call waits for its answer in virtual time. */
#ifndef BND_TESTS_UNIT_KV_CLUSTER_H
#define BND_TESTS_UNIT_KV_CLUSTER_H

#include "kv/kv.h"
#include "kv/rules.h"
#include "placement/shard.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "tests/sim/env.h"
#include "tests/sim/mesh.h"
#include "tests/sim/kv/tell.h"
#include "tests/sim/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NODES = 4, SHARDS = 2, NS = 7, NAMESPACES_MAX = 512 };

#define SECOND (1000 * BND_MS)

struct cluster;

struct node {
    struct cluster *cluster;
    uint64_t id;
    bool up;
    bool blind; /* group 0 is not heard of, and it knows */
    bool late;  /* news do not come, and it does not know */
    bool old;   /* is told cluster->old_shards */
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_clock clock;
    struct bnd_sim_env *sim;
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_journal *journal;
    struct bnd_kv *kv;
    struct bnd_hook hook;
    bool closed;
};

struct cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct node nodes[NODES];
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
        struct node *node = &cluster->nodes[i];
        if (node->up && !node->blind && !node->late) {
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
    struct node *node = owner;
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

static inline bool node_yes(void *owner) {
    (void)owner;
    return true;
}
static inline bool node_fresh(void *owner) {
    return !((struct node *)owner)->blind;
}
static inline void node_news(void *owner) {
    struct node *node = owner;
    if (!node->blind) {
        bnd_sim_world_at(node->cluster->world, &node->cluster->news, 5 * BND_MS);
    }
}
static inline void node_fatal(void *owner, const struct bnd_error *why) {
    fail_msg("node %d stops: %s", (int)((struct node *)owner)->id, why->message);
}
static inline void node_durable(void *owner, uint64_t lsn) {
    bnd_kv_durable(((struct node *)owner)->kv, lsn);
}
static inline void node_pass(struct bnd_hook *hook) {
    bnd_journal_submit(((struct node *)hook->data)->journal);
}
static inline int node_group(void *data, const struct bnd_journal_group *group) {
    struct node *node = data;
    return group->gid == BND_GID_KV_LOG ? bnd_kv_recover(node->kv, group, NULL) : 0;
}

static inline void node_start(struct node *node) {
    struct cluster *cluster = node->cluster;
    assert_false(node->up);
    node->sim = bnd_sim_env_create(cluster->world, node->disk, &node->clock, node->id);
    bnd_sim_env_log(node->sim, BND_LOG_ERROR);
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    node->mesh = bnd_sim_net_attach(cluster->net, node->sim);
    assert_int_equal(bnd_rpc_create(env, node->mesh, 0, &node->rpc), 0);
    node->state = bnd_sim_store_open(node->store, node->sim);
    const struct bnd_kv_config config = {.env = env,
                                         .mesh = node->mesh,
                                         .rpc = node->rpc,
                                         .state = node->state,
                                         .self = node->id,
                                         .rules_off = cluster->rules_off,
                                         .owner = node,
                                         .tell = on_tell,
                                         .view_fresh = node_fresh,
                                         .clock_fit = node_yes,
                                         .has_room = node_yes,
                                         .view_wanted = node_news,
                                         .fatal = node_fatal};
    const struct bnd_journal_config journal = {.env = env,
                                               .dir = "/journal",
                                               .cluster_id = 1,
                                               .node_id = node->id,
                                               .segment_bytes = 1u << 20,
                                               .batch_bytes_max = 1u << 19,
                                               .owner = node,
                                               .durable = node_durable,
                                               .failed = node_fatal};
    assert_int_equal(bnd_kv_create(&config, &node->kv, NULL), 0);
    assert_int_equal(bnd_journal_open(&journal, &node->journal, NULL), 0);
    assert_int_equal(bnd_journal_each_group(node->journal, node_group, node), 0);
    bnd_journal_recovered(node->journal);
    node->hook = (struct bnd_hook){.cb = node_pass, .data = node};
    env->ops->hook_add(env, &node->hook);
    assert_int_equal(bnd_kv_start(node->kv, node->journal, NULL), 0);
    bnd_sim_env_leave(node->sim);
    node->up = true;
    bnd_sim_world_at(cluster->world, &cluster->news, 5 * BND_MS);
}

static inline void node_crash(struct node *node, enum bnd_sim_crash kind) {
    if (node->up) {
        node->up = false;
        bnd_sim_env_crash(node->sim, kind);
    }
}

static inline void node_journal_closed(void *data) {
    ((struct node *)data)->closed = true;
}
static inline void node_kv_closed(void *data) {
    struct node *node = data;
    struct bnd_env *env = bnd_sim_env(node->sim);
    env->ops->hook_remove(env, &node->hook);
    bnd_journal_close(node->journal, node_journal_closed, node);
}
static inline bool node_is_closed(void *data) {
    return ((struct node *)data)->closed;
}
/* A clean stop: nothing is left of it. */
static inline void node_stop(struct node *node) {
    node->up = false;
    node->closed = false;
    bnd_sim_env_enter(node->sim);
    bnd_kv_close(node->kv, node_kv_closed, node);
    bnd_sim_env_leave(node->sim);
    assert_true(bnd_sim_run_until_true(node->cluster->world, node_is_closed, node, 10 * SECOND));
    bnd_sim_env_enter(node->sim);
    bnd_rpc_destroy(node->rpc);
    bnd_sim_net_detach(node->mesh);
    node->state->ops->close(node->state);
    bnd_sim_env_leave(node->sim);
    bnd_sim_env_stop(node->sim);
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
        struct node *node = &cluster->nodes[i];
        *node = (struct node){.cluster = cluster, .id = i + 1};
        ids[i] = node->id;
        node->disk = bnd_sim_disk_create(cluster->world, node->id, 0);
        node->store = bnd_sim_store_create(cluster->world, node->id);
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
        if (cluster->nodes[i].up) {
            node_stop(&cluster->nodes[i]);
        }
    }
    for (size_t i = 0; i < NODES; i++) {
        bnd_sim_disk_destroy(cluster->nodes[i].disk);
        bnd_sim_store_destroy(cluster->nodes[i].store);
    }
    bnd_sim_world_cancel(cluster->world, &cluster->news);
    bnd_sim_net_destroy(cluster->net);
    bnd_sim_world_destroy(cluster->world);
}

static inline void run_for(struct cluster *cluster, uint64_t duration_ns) {
    bnd_sim_run_for(cluster->world, duration_ns);
}

/* Both directions, noticed. */
static inline void cut_off(struct cluster *cluster, struct node *node) {
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
static inline struct answer put_until(struct node *node, const char *key, const char *value,
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
static inline int put(struct node *node, const char *key, const char *value) {
    return put_until(node, key, value, 0).status;
}

static inline void piece_done(void *data, int status) {
    struct answer *answer = data;
    answer->done = true;
    answer->status = status;
}

/* A value of `size` bytes, above BND_KV_INLINE_MAX, in pieces. */
static inline int put_large(struct node *node, const char *key, size_t size) {
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

static inline struct answer get(struct node *node, const char *key) {
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
