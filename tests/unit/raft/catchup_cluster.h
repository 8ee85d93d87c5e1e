/* Replicas that fall behind the leader's log: for test_catchup*.c, one test program each. */
#ifndef BND_TESTS_UNIT_RAFT_CATCHUP_CLUSTER_H
#define BND_TESTS_UNIT_RAFT_CATCHUP_CLUSTER_H

#define NODES 3
#include "tests/unit/raft/host_cluster.h"
#include "tests/unit/raft/host_load.h"

static struct cluster cluster;
static struct load load __attribute__((unused));

/* Small logs: a few seconds of absence are beyond them. */
static const struct bnd_raft_host_config small = {
    .log_bytes_group_max = 32u << 10,
    .unpersisted_bytes_max = 128u << 10,
    .entry_bytes_max = 16u << 10,
};

static void start_all(struct cluster *c, size_t count) {
    for (size_t i = 0; i < count; i++) {
        node_start(&c->nodes[i]);
        c->nodes[i].wants_groups = true;
    }
}

static struct cluster *begin(uint64_t seed, size_t voters) {
    cluster.config = small;
    cluster_open(&cluster, seed);
    start_all(&cluster, NODES);
    cluster_bootstrap(&cluster, GID, voters);
    return &cluster;
}

static void want_all(struct cluster *c) {
    const struct bnd_raft_member members[NODES] = {
        {1, BND_RAFT_VOTER}, {2, BND_RAFT_VOTER}, {3, BND_RAFT_VOTER}};
    for (size_t i = 0; i < NODES; i++) {
        if (c->nodes[i].env != NULL) {
            bnd_sim_env_enter(c->nodes[i].env);
            bnd_raft_group_want(c->nodes[i].host, GID, members, NODES);
            bnd_sim_env_leave(c->nodes[i].env);
        }
    }
}

static void put_value(struct cluster *c, unsigned number, size_t bytes) {
    static struct attempt attempt;
    static uint8_t value[KV_VALUE_MAX];
    char key[24];
    snprintf(key, sizeof key, "k%u", number);
    memset(value, (int)number, sizeof value);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_put(&command, bnd_slice_str(key), bnd_slice(value, bytes));
    attempt = (struct attempt){0};
    assert_int_equal(propose_wait(cluster_leader(c, GID), GID, &attempt, bnd_buf_slice(&command)),
                     0);
}

static uint64_t state_hash(struct node *node) {
    struct bnd_raft_group_status status = node_status(node, GID);
    uint8_t from[4];
    uint8_t to[4];
    bnd_put_be32(from, status.slot);
    bnd_put_be32(to, status.slot + 1);
    return bnd_sim_store_hash(node->store, false, bnd_slice(from, 4), bnd_slice(to, 4), 4);
}

static bool node_has(struct node *node, struct bnd_raft_group_status *out) {
    return node->env != NULL && node->fatal == 0 &&
           bnd_raft_group_status(node->host, GID, out) == 0;
}

/* All nodes that are up are members and have applied the same index, which is the leader's last. */
static bool all_equal(void *data) {
    struct cluster *c = data;
    struct leader_wait wait = {.cluster = c, .gid = GID};
    if (!has_leader(&wait)) {
        return false;
    }
    uint64_t last = node_status(wait.leader, GID).last_index;
    for (size_t i = 0; i < NODES; i++) {
        struct bnd_raft_group_status status;
        if (c->nodes[i].env != NULL &&
            (!node_has(&c->nodes[i], &status) || status.applied != last ||
             status.state == BND_RAFT_INSTALLING)) {
            return false;
        }
    }
    return true;
}

static void await_equal(struct cluster *c) {
    if (!bnd_sim_run_until_true(c->world, all_equal, c, 120 * SECOND)) {
        for (size_t i = 0; i < NODES; i++) {
            struct bnd_raft_group_status s = {0};
            bool up = node_has(&c->nodes[i], &s);
            print_message("node %zu up %d state %d term %llu applied %llu last %llu\n", i + 1, up,
                          s.state, (unsigned long long)s.term, (unsigned long long)s.applied,
                          (unsigned long long)s.last_index);
        }
        fail_msg("the replicas do not become equal");
    }
    struct node *leader = cluster_leader(c, GID);
    for (size_t i = 0; i < NODES; i++) {
        if (c->nodes[i].env != NULL) {
            assert_true(state_hash(&c->nodes[i]) == state_hash(leader));
        }
    }
}

static struct bnd_raft_host_stats stats_of(struct node *node) {
    struct bnd_raft_host_stats stats;
    bnd_raft_host_stats(node->host, &stats);
    return stats;
}

static struct node *follower(struct cluster *c) {
    struct node *leader = cluster_leader(c, GID);
    return leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
}

static void lag(struct cluster *c, struct node *behind, unsigned count, size_t bytes) {
    bnd_sim_net_isolate(c->net, behind->id, true);
    bnd_sim_run_for(c->world, 3 * SECOND);
    for (unsigned i = 0; i < count; i++) {
        put_value(c, i, bytes);
    }
}

static bool all_voters(void *data) {
    struct cluster *c = data;
    struct leader_wait wait = {.cluster = c, .gid = GID};
    if (!has_leader(&wait)) {
        return false;
    }
    struct bnd_raft_group_status status = node_status(wait.leader, GID);
    size_t voters = 0;
    for (size_t i = 0; i < status.members_count; i++) {
        voters += status.members[i].role == BND_RAFT_VOTER;
    }
    return voters == NODES;
}

#endif
