/* Nodes with the real Raft host over the simulated world: real journal on a simulated disk,
 * simulated mesh and state, the key-value machine of tests/sim/kv_fsm.h. For one test program each.
 */
#ifndef BND_TESTS_UNIT_RAFT_HOST_CLUSTER_H
#define BND_TESTS_UNIT_RAFT_HOST_CLUSTER_H

#include "net/rpc.h"
#include "raft/client.h"
#include "raft/core.h"
#include "raft/host.h"
#include "tests/sim/disk.h"
#include "tests/sim/env.h"
#include "tests/sim/kv_fsm.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"
#include "tests/sim/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef NODES
#define NODES 3
#endif
#define GID 7u
#define SECOND (1000 * BND_MS)

struct node {
    struct cluster *cluster;
    uint64_t id;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_clock clock;
    struct bnd_sim_env *env; /* NULL: down */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_raft_host *host;
    struct bnd_shard_client *client;
    struct kv_observer observer;
    uint64_t applied_commands; /* over all lives */
    bool wants_groups;
    unsigned removed; /* calls of group_removed, each of which destroys the group */
    bool closed;
    int fatal; /* code of the host's last word, or 0 */
    char fatal_text[BND_ERROR_MESSAGE_MAX];
};

struct cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct node nodes[NODES];
    struct bnd_raft_host_config config; /* bounds that a test wants otherwise than by default */
    uint64_t seq;
};

static int node_fsm_make(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err) {
    struct node *node = owner;
    (void)gid;
    int rv = kv_fsm_make(&node->observer, out);
    return rv == 0 ? 0 : BND_FAIL(err, NOMEM, "no memory for a machine");
}

static bool node_group_wanted(void *owner, uint64_t gid, uint64_t from) {
    (void)gid;
    (void)from;
    return ((struct node *)owner)->wants_groups;
}

static void node_group_removed(void *owner, uint64_t gid) {
    struct node *node = owner;
    node->removed++;
    assert_int_equal(bnd_raft_group_destroy(node->host, gid), 0);
}

static void node_group_changed(void *owner, uint64_t gid) {
    (void)owner;
    (void)gid;
}

static void node_fatal(void *owner, const struct bnd_error *why) {
    struct node *node = owner;
    node->fatal = why->code;
    snprintf(node->fatal_text, sizeof node->fatal_text, "%s", why->message);
    bnd_sim_env_halt(node->env);
}

static void node_applied(void *owner, const struct kv_applied *applied) {
    (void)applied;
    ((struct node *)owner)->applied_commands++;
}

/* Opens the node; returns what bnd_raft_host_create says. */
static int node_try_start(struct node *node, struct bnd_error *err) {
    struct cluster *c = node->cluster;
    node->env = bnd_sim_env_create(c->world, node->disk, &node->clock, node->id);
    bnd_sim_env_enter(node->env);
    struct bnd_env *env = bnd_sim_env(node->env);
    node->mesh = bnd_sim_net_attach(c->net, node->env);
    assert_int_equal(bnd_rpc_create(env, node->mesh, 0, &node->rpc), 0);
    node->state = bnd_sim_store_open(node->store, node->env);
    struct bnd_raft_host_config config = c->config;
    config.env = env;
    config.mesh = node->mesh;
    config.rpc = node->rpc;
    config.state = node->state;
    config.journal_dir = "/journal";
    config.cluster_id = 1;
    config.node_id = node->id;
    config.guards = BND_RAFT_GUARDS_ALL;
    config.owner = node;
    config.fsm_make = node_fsm_make;
    config.group_wanted = node_group_wanted;
    config.group_changed = node_group_changed;
    config.group_removed = node_group_removed;
    config.fatal = node_fatal;
    if (config.journal_segment_bytes == 0) {
        config.journal_segment_bytes = 4u << 20;
    }
    node->fatal = 0;
    node->host = NULL;
    int rv = bnd_raft_host_create(&config, &node->host, err);
    if (rv == 0) {
        const struct bnd_shard_client_config client = {
            .env = env, .rpc = node->rpc, .host = node->host};
        assert_int_equal(bnd_shard_client_create(&client, &node->client), 0);
    }
    bnd_sim_env_leave(node->env);
    return rv;
}

static void node_start(struct node *node) {
    struct bnd_error err = {0};
    int rv = node_try_start(node, &err);
    if (rv != 0) {
        fail_msg("node %llu does not start: %s", (unsigned long long)node->id, err.message);
    }
}

static void node_crash(struct node *node, enum bnd_sim_crash kind) {
    bnd_sim_env_crash(node->env, kind);
    node->env = NULL;
    node->host = NULL;
}

static void node_closed(void *data) {
    ((struct node *)data)->closed = true;
}

static bool node_is_closed(void *data) {
    return ((struct node *)data)->closed;
}

static void node_close_host(struct node *node) {
    bnd_sim_env_enter(node->env);
    node->closed = false;
    bnd_raft_host_close(node->host, node_closed, node);
    bnd_sim_env_leave(node->env);
    assert_true(bnd_sim_run_until_true(node->cluster->world, node_is_closed, node, 30 * SECOND));
    node->host = NULL;
}

static void node_destroy_client(struct node *node) {
    bnd_sim_env_enter(node->env);
    bnd_shard_client_destroy(node->client);
    bnd_sim_env_leave(node->env);
    node->client = NULL;
}

/* After its host and client. */
static void node_end(struct node *node) {
    bnd_sim_env_enter(node->env);
    bnd_rpc_destroy(node->rpc);
    bnd_sim_net_detach(node->mesh);
    node->state->ops->close(node->state);
    bnd_sim_env_leave(node->env);
    bnd_sim_env_stop(node->env);
    node->env = NULL;
}

/* A clean stop; the simulated world insists that nothing is left behind. */
static void node_stop(struct node *node) {
    node_destroy_client(node);
    node_close_host(node);
    node_end(node);
}

static void cluster_open(struct cluster *c, uint64_t seed) {
    struct bnd_raft_host_config config = c->config;
    *c = (struct cluster){.config = config};
    c->world = bnd_sim_world_create(seed);
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    c->net = bnd_sim_net_create(c->world, &net);
    for (uint64_t i = 0; i < NODES; i++) {
        struct node *node = &c->nodes[i];
        node->cluster = c;
        node->id = i + 1;
        node->disk = bnd_sim_disk_create(c->world, node->id, 0);
        node->store = bnd_sim_store_create(c->world, node->id);
        node->observer = (struct kv_observer){.owner = node, .applied = node_applied};
    }
}

static void cluster_close(struct cluster *c) {
    for (uint64_t i = 0; i < NODES; i++) {
        if (c->nodes[i].env != NULL) {
            assert_int_equal(c->nodes[i].fatal, 0);
            node_stop(&c->nodes[i]);
        }
        bnd_sim_store_destroy(c->nodes[i].store);
        bnd_sim_disk_destroy(c->nodes[i].disk);
    }
    bnd_sim_net_destroy(c->net);
    bnd_sim_world_destroy(c->world);
}

/* Of every test program: libraft's memory is ours. */
static int setup(void **state) {
    struct bnd_error err;
    (void)state;
    int rv = bnd_core_library_init(&err);
    if (rv != 0) {
        print_error("%s\n", err.message);
    }
    return rv;
}

/* ---- groups -----------------------------------------------------------------------------------*/

struct waiting {
    bool done;
    int status;
    uint8_t reply[BND_RAFT_COMMAND_MAX];
    size_t reply_len;
};

static bool is_done(void *data) {
    return ((struct waiting *)data)->done;
}

static void on_bootstrapped(void *data, int status) {
    struct waiting *waiting = data;
    waiting->done = true;
    waiting->status = status;
}

/* Makes the group on each of the first `count` nodes, which must be up. */
static void cluster_bootstrap(struct cluster *c, uint64_t gid, size_t count) {
    struct bnd_raft_member members[NODES];
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct bnd_raft_member){.node = i + 1, .role = BND_RAFT_VOTER};
    }
    for (size_t i = 0; i < count; i++) {
        static struct waiting waiting;
        waiting.done = false;
        bnd_sim_env_enter(c->nodes[i].env);
        int rv = bnd_raft_group_bootstrap(c->nodes[i].host, gid, members, count, on_bootstrapped,
                                          &waiting);
        bnd_sim_env_leave(c->nodes[i].env);
        assert_int_equal(rv, 0);
        assert_true(bnd_sim_run_until_true(c->world, is_done, &waiting, 10 * SECOND));
        assert_int_equal(waiting.status, 0);
    }
}

static struct bnd_raft_group_status node_status(struct node *node, uint64_t gid) {
    struct bnd_raft_group_status status;
    bnd_sim_env_enter(node->env);
    int rv = bnd_raft_group_status(node->host, gid, &status);
    bnd_sim_env_leave(node->env);
    assert_int_equal(rv, 0);
    return status;
}

struct leader_wait {
    struct cluster *cluster;
    uint64_t gid;
    struct node *leader;
};

static bool has_leader(void *data) {
    struct leader_wait *wait = data;
    wait->leader = NULL;
    uint64_t term = 0;
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &wait->cluster->nodes[i];
        struct bnd_raft_group_status status;
        if (node->env == NULL || node->fatal != 0 ||
            bnd_raft_group_status(node->host, wait->gid, &status) != 0) {
            continue;
        }
        if (status.ready && status.term > term) {
            term = status.term;
            wait->leader = node;
        }
    }
    return wait->leader != NULL;
}

/* The ready leader of the highest term, awaited. */
static struct node *cluster_leader(struct cluster *c, uint64_t gid) {
    struct leader_wait wait = {.cluster = c, .gid = gid};
    assert_true(bnd_sim_run_until_true(c->world, has_leader, &wait, 60 * SECOND));
    return wait.leader;
}

/* ---- proposals and reads ----------------------------------------------------------------------*/

struct attempt {
    struct bnd_raft_propose propose;
    struct waiting waiting;
};

static void on_proposed(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct waiting *waiting = propose->data;
    waiting->done = true;
    waiting->status = status;
    waiting->reply_len = reply.len;
    if (reply.len > 0) {
        memcpy(waiting->reply, reply.data, reply.len);
    }
}

static uint64_t deadline(struct node *node, int64_t ms) {
    return bnd_wall_ms(bnd_sim_env(node->env)) + (uint64_t)ms;
}

/* Starts one; returns what bnd_raft_propose says. */
static int propose_start(struct node *node, uint64_t gid, struct attempt *attempt,
                         struct bnd_slice command) {
    attempt->waiting.done = false;
    attempt->propose.cb = on_proposed;
    attempt->propose.data = &attempt->waiting;
    attempt->propose.command = command;
    if (attempt->propose.id.minter == 0) {
        attempt->propose.id.minter = 99;
        attempt->propose.id.seq = ++node->cluster->seq;
        attempt->propose.low_seq = 1;
    }
    if (attempt->propose.deadline_ms == 0) {
        attempt->propose.deadline_ms = deadline(node, 30000);
    }
    bnd_sim_env_enter(node->env);
    int rv = bnd_raft_propose(node->host, gid, &attempt->propose);
    bnd_sim_env_leave(node->env);
    return rv;
}

/* Proposes and waits: the status, with the reply in the attempt. */
static int propose_wait(struct node *node, uint64_t gid, struct attempt *attempt,
                        struct bnd_slice command) {
    int rv = propose_start(node, gid, attempt, command);
    if (rv != 0) {
        return rv;
    }
    assert_true(
        bnd_sim_run_until_true(node->cluster->world, is_done, &attempt->waiting, 60 * SECOND));
    return attempt->waiting.status;
}

/* Adds 1 to a counter under a new id: its value after it, or a negative code. */
static int64_t add_one(struct node *node, uint64_t gid, const char *key) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str(key), 1);
    static struct attempt attempt;
    attempt = (struct attempt){0};
    int rv = propose_wait(node, gid, &attempt, bnd_buf_slice(&command));
    if (rv != 0) {
        return rv;
    }
    assert_int_equal(attempt.waiting.reply_len, 8);
    return (int64_t)bnd_get_u64(attempt.waiting.reply);
}

struct reading {
    struct bnd_raft_read read;
    struct waiting waiting;
    const char *key;
};

static void on_read(struct bnd_raft_read *read, int status, const struct bnd_fsm_read *context) {
    struct reading *reading = read->data;
    reading->waiting.done = true;
    reading->waiting.status = status;
    reading->waiting.reply_len = 0;
    if (status == 0) {
        BND_AUTO_BUF struct bnd_buf key = {0};
        BND_AUTO_BUF struct bnd_buf value = {0};
        bnd_buf_be32(&key, context->slot);
        bnd_buf_u8(&key, 'k');
        bnd_buf_append_str(&key, reading->key);
        int rv =
            context->state->ops->get(context->state, BND_CF_OBJECTS, bnd_buf_slice(&key), &value);
        reading->waiting.status = rv;
        if (rv == 0 && value.len > 0) {
            reading->waiting.reply_len = value.len;
            memcpy(reading->waiting.reply, value.data, value.len);
        }
    }
}

static int read_begin(struct node *node, uint64_t gid, struct reading *reading, const char *key,
                      int (*begin)(struct bnd_raft_host *, uint64_t, struct bnd_raft_read *)) {
    *reading = (struct reading){.key = key};
    reading->read.cb = on_read;
    reading->read.data = reading;
    bnd_sim_env_enter(node->env);
    int rv = begin(node->host, gid, &reading->read);
    bnd_sim_env_leave(node->env);
    return rv;
}

static int read_start(struct node *node, uint64_t gid, struct reading *reading, const char *key) {
    return read_begin(node, gid, reading, key, bnd_raft_read);
}

/* A linearizable read of a counter: its value, or a negative code. */
static int64_t read_counter(struct node *node, uint64_t gid, const char *key) {
    static struct reading reading;
    int rv = read_start(node, gid, &reading, key);
    if (rv != 0) {
        return rv;
    }
    assert_true(
        bnd_sim_run_until_true(node->cluster->world, is_done, &reading.waiting, 60 * SECOND));
    return reading.waiting.status == 0 ? (int64_t)bnd_get_u64(reading.waiting.reply)
                                       : reading.waiting.status;
}

#endif
