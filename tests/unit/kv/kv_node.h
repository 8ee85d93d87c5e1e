/* One node with the real KV in the simulated world: real journal on a simulated disk, simulated
 * state and mesh, the real rpc. What group 0 is, and whom a node asks, is the cluster's (cluster.h,
 * kv_cluster.h). */
#ifndef BND_TESTS_UNIT_KV_KV_NODE_H
#define BND_TESTS_UNIT_KV_KV_NODE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "kv/kv_private.h"
#include "kv/rules.h"
#include "placement/shard.h"
#include "tests/sim/env.h"
#include "tests/sim/kv/tell.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"

struct cluster; /* the test's */

struct kv_node {
    struct cluster *cluster;
    uint64_t id;
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct bnd_sim_clock clock;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store; /* NULL: a gateway */
    struct bnd_sim_env *sim;     /* NULL: down */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_journal *journal;
    struct bnd_kv *kv;
    bool closed;
    /* What it hears and says, as the cluster has it. */
    bool blind; /* group 0 is not heard of, and it knows */
    bool late;  /* news do not come, and it does not know */
    bool old;   /* is told the map of before */
    bool unfit, full;
    uint64_t wanted; /* how often it has asked for news */
    uint32_t rules_off;
};

static inline void kv_node_init(struct kv_node *node, struct cluster *cluster,
                                struct bnd_sim_world *world, struct bnd_sim_net *net, uint64_t id) {
    *node = (struct kv_node){.cluster = cluster, .world = world, .net = net, .id = id};
    node->disk = bnd_sim_disk_create(world, id, 0);
    node->store = bnd_sim_store_create(world, id);
}

static inline void kv_node_free(struct kv_node *node) {
    bnd_sim_store_destroy(node->store);
    bnd_sim_disk_destroy(node->disk);
}

/* ---- what KV asks, where the cluster has nothing of its own to say ----------------------------
 */

static inline bool kv_node_fresh(void *owner) {
    return !((struct kv_node *)owner)->blind;
}
static inline bool kv_node_fit(void *owner) {
    return !((struct kv_node *)owner)->unfit;
}
static inline bool kv_node_room(void *owner) {
    return !((struct kv_node *)owner)->full;
}
static inline void kv_node_fatal(void *owner, const struct bnd_error *why) {
    fprintf(stderr, "node %d stops: %s\n", (int)((struct kv_node *)owner)->id, why->message);
    abort();
}

/* ---- start ------------------------------------------------------------------------------------
 */

static inline void kv_node_durable(void *owner, uint64_t lsn) {
    struct kv_node *node = owner;
    if (node->kv != NULL) {
        bnd_kv_durable(node->kv, lsn);
    }
}

static inline int kv_node_group(void *data, const struct bnd_journal_group *group) {
    struct kv_node *node = data;
    return group->gid == BND_GID_KV_LOG ? bnd_kv_recover(node->kv, group, NULL) : 0;
}

static inline void kv_node_journal(struct kv_node *node) {
    const struct bnd_journal_config config = {.env = bnd_sim_env(node->sim),
                                              .dir = "/journal",
                                              .cluster_id = 1,
                                              .node_id = node->id,
                                              .segment_bytes = 8 << 20,
                                              .owner = node,
                                              .durable = kv_node_durable,
                                              .failed = kv_node_fatal};
    assert_int_equal(bnd_journal_open(&config, &node->journal, NULL), 0);
    assert_int_equal(bnd_journal_each_group(node->journal, kv_node_group, node), 0);
    bnd_journal_recovered(node->journal);
}

/* tell and view_wanted: the cluster's. The node has no view yet. */
static inline void kv_node_boot(struct kv_node *node,
                                void (*tell)(void *owner, const struct bnd_kv_tell *tell),
                                void (*view_wanted)(void *owner)) {
    assert_null(node->sim);
    node->sim = bnd_sim_env_create(node->world, node->disk, &node->clock, node->id);
    bnd_sim_env_log(node->sim, BND_LOG_ERROR);
    node->mesh = bnd_sim_net_attach(node->net, node->sim);
    node->state = node->store == NULL ? NULL : bnd_sim_store_open(node->store, node->sim);
    node->kv = NULL;
    node->journal = NULL;
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_rpc_create(bnd_sim_env(node->sim), node->mesh, 0, &node->rpc), 0);
    const struct bnd_kv_config config = {.env = bnd_sim_env(node->sim),
                                         .mesh = node->mesh,
                                         .rpc = node->rpc,
                                         .state = node->state,
                                         .self = node->id,
                                         .cache_bytes = 1 << 20,
                                         .rules_off = node->rules_off,
                                         .owner = node,
                                         .tell = tell,
                                         .view_fresh = kv_node_fresh,
                                         .clock_fit = kv_node_fit,
                                         .has_room = kv_node_room,
                                         .view_wanted = view_wanted,
                                         .fatal = kv_node_fatal};
    assert_int_equal(bnd_kv_create(&config, &node->kv, NULL), 0);
    if (node->state != NULL) {
        kv_node_journal(node);
    }
    assert_int_equal(bnd_kv_start(node->kv, node->journal, NULL), 0);
    bnd_sim_env_leave(node->sim);
}

/* ---- end --------------------------------------------------------------------------------------
 */

static inline void kv_node_crash(struct kv_node *node, enum bnd_sim_crash kind) {
    if (node->sim != NULL) {
        bnd_sim_env_crash(node->sim, kind);
        node->sim = NULL;
        node->kv = NULL;
    }
}

static inline void kv_node_closed(void *data) {
    ((struct kv_node *)data)->closed = true;
}
static inline bool kv_node_is_closed(void *data) {
    return ((struct kv_node *)data)->closed;
}
static inline void kv_node_wait_closed(struct kv_node *node) {
    assert_true(bnd_sim_run_until_true(node->world, kv_node_is_closed, node, 10000 * BND_MS));
    node->closed = false;
}

/* A clean stop: nothing is left of it. */
static inline void kv_node_stop(struct kv_node *node) {
    bnd_sim_env_enter(node->sim);
    bnd_kv_close(node->kv, kv_node_closed, node);
    bnd_sim_env_leave(node->sim);
    kv_node_wait_closed(node);
    node->kv = NULL;
    if (node->journal != NULL) {
        bnd_sim_env_enter(node->sim);
        bnd_journal_close(node->journal, kv_node_closed, node);
        bnd_sim_env_leave(node->sim);
        kv_node_wait_closed(node);
    }
    bnd_sim_env_enter(node->sim);
    bnd_rpc_destroy(node->rpc);
    bnd_sim_net_detach(node->mesh);
    if (node->state != NULL) {
        node->state->ops->close(node->state);
    }
    bnd_sim_env_leave(node->sim);
    bnd_sim_env_stop(node->sim);
    node->sim = NULL;
}

#endif
