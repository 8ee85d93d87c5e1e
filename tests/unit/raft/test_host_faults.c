/* Seeded faults under a load of non-idempotent commands through the shard client: whatever happens,
 * each acknowledged command is executed exactly once, each refused one never, and replicas agree.
 * (tests/sim has the long runs and the checkers; this one keeps the host honest in the unit suite.)
 */
#include "tests/unit/raft/host_fixture.h"

#define GROUPS 3u
#define CLIENTS 6u
#define SEEDS 40u

struct caller {
    struct bnd_shard_call call;
    struct node *node;
    uint64_t gid;
    bool busy;
    uint64_t asked_at; /* node life */
};

static struct caller callers[CLIENTS];
static uint64_t lives[NODES];
static uint64_t acknowledged[GROUPS + 1];
static uint64_t unknown[GROUPS + 1];
static uint64_t refused;

static void on_called(struct bnd_shard_call *call, int status, struct bnd_slice reply) {
    struct caller *caller = call->data;
    caller->busy = false;
    if (status == 0) {
        assert_int_equal(reply.len, 8);
        acknowledged[caller->gid]++;
    } else if (status == BND_UNKNOWN) {
        unknown[caller->gid]++;
    } else {
        assert_int_equal(status, BND_UNAVAILABLE);
        refused++;
    }
}

static void call_add(struct caller *caller, struct node *node, uint64_t gid) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    struct bnd_slice body = bnd_buf_slice(&command);
    caller->call = (struct bnd_shard_call){.cb = on_called, .data = caller};
    caller->node = node;
    caller->gid = gid;
    caller->asked_at = lives[node->id - 1];
    bnd_sim_env_enter(node->env);
    caller->busy = bnd_shard_call(node->client, &caller->call, BND_SHARD_WRITE, gid, &body, 1,
                                  10 * SECOND) == 0;
    bnd_sim_env_leave(node->env);
}

static void know_members(struct node *node) {
    static const uint64_t nodes[NODES] = {1, 2, 3};
    bnd_sim_env_enter(node->env);
    for (uint64_t gid = 1; gid <= GROUPS; gid++) {
        bnd_shard_client_members(node->client, gid, nodes, NODES);
    }
    bnd_sim_env_leave(node->env);
}

/* Down for good or not: what its callers asked stays without an answer. */
static void crash(struct node *node, enum bnd_sim_crash kind) {
    node_crash(node, kind);
    lives[node->id - 1]++;
    for (size_t i = 0; i < CLIENTS; i++) {
        if (callers[i].busy && callers[i].node == node) {
            callers[i].busy = false;
            unknown[callers[i].gid]++;
        }
    }
}

static void restart(struct node *node) {
    node_start(node);
    know_members(node);
}

static void one_fault(struct bnd_sim_rng *rng) {
    struct node *node = &cluster.nodes[bnd_sim_rng_below(rng, NODES)];
    bnd_sim_net_heal(cluster.net);
    switch (bnd_sim_rng_below(rng, 6)) {
    case 0:
        if (node->env != NULL) {
            crash(node, bnd_sim_rng_chance(rng, 500) ? BND_SIM_POWER : BND_SIM_KILL);
        }
        break;
    case 1:
        bnd_sim_net_isolate(cluster.net, node->id, bnd_sim_rng_chance(rng, 500));
        break;
    case 2:
        bnd_sim_net_cut(cluster.net, node->id, node->id % NODES + 1, true, false);
        break;
    case 3:
        bnd_sim_store_stall(node->store, bnd_sim_rng_range(rng, 1, 1000) * BND_MS);
        break;
    case 4:
        bnd_sim_disk_stall(node->disk, bnd_sim_rng_range(rng, 1, 1000) * BND_MS);
        break;
    default:
        break;
    }
    for (size_t i = 0; i < NODES; i++) {
        struct node *other = &cluster.nodes[i];
        if (other->env != NULL && other->fatal != 0) {
            crash(other, BND_SIM_KILL); /* a deliberate stop: its supervisor starts it again */
        }
        if (other->env == NULL && (other != node || bnd_sim_rng_chance(rng, 500))) {
            restart(other);
        }
    }
}

static void run(uint64_t seed) {
    cluster.config = (struct bnd_raft_host_config){
        .election_ms = 300,
        .heartbeat_ms = 50,
        .unpersisted_bytes_max = 2u << 20,
        .log_bytes_group_max = 4u << 20,
    };
    memset(callers, 0, sizeof callers);
    memset(acknowledged, 0, sizeof acknowledged);
    memset(unknown, 0, sizeof unknown);
    cluster_open(&cluster, seed);
    struct bnd_sim_rng rng;
    bnd_sim_rng_init(&rng, seed, "test_host_faults", 0);
    for (size_t i = 0; i < NODES; i++) {
        restart(&cluster.nodes[i]);
    }
    for (uint64_t gid = 1; gid <= GROUPS; gid++) {
        cluster_bootstrap(&cluster, gid, NODES);
    }
    for (int step = 0; step < 400; step++) {
        bnd_sim_run_for(cluster.world, bnd_sim_rng_range(&rng, 1, 60) * BND_MS);
        for (size_t i = 0; i < CLIENTS; i++) {
            struct node *node = &cluster.nodes[bnd_sim_rng_below(&rng, NODES)];
            if (!callers[i].busy && node->env != NULL && node->fatal == 0) {
                call_add(&callers[i], node, 1 + bnd_sim_rng_below(&rng, GROUPS));
            }
        }
        if (bnd_sim_rng_chance(&rng, 30)) {
            one_fault(&rng);
        }
    }
}

static bool all_answered(void *data) {
    (void)data;
    for (size_t i = 0; i < CLIENTS; i++) {
        if (callers[i].busy) {
            return false;
        }
    }
    return true;
}

static bool all_written(void *data) {
    uint64_t gid = *(uint64_t *)data;
    struct bnd_raft_group_status first = node_status(&cluster.nodes[0], gid);
    for (size_t i = 0; i < NODES; i++) {
        struct bnd_raft_group_status status = node_status(&cluster.nodes[i], gid);
        if (status.applied != status.last_index || status.applied != first.applied) {
            return false;
        }
    }
    return true;
}

static void describe(uint64_t gid) {
    for (size_t i = 0; i < NODES; i++) {
        struct bnd_raft_group_status s = node_status(&cluster.nodes[i], gid);
        fprintf(stderr,
                "node %zu: state %d term %llu leader %llu commit %llu applied %llu last %llu "
                "persisted %llu fatal %s\n",
                i + 1, (int)s.state, (unsigned long long)s.term, (unsigned long long)s.leader,
                (unsigned long long)s.commit, (unsigned long long)s.applied,
                (unsigned long long)s.last_index, (unsigned long long)s.persisted,
                cluster.nodes[i].fatal_text);
    }
}

static uint64_t state_hash(struct node *node, uint64_t gid) {
    uint32_t slot = node_status(node, gid).slot;
    uint8_t from[4];
    uint8_t to[4];
    bnd_put_be32(from, slot);
    bnd_put_be32(to, slot + 1);
    return bnd_sim_store_hash(node->store, false, bnd_slice(from, 4), bnd_slice(to, 4), 4);
}

static void heal_and_check(uint64_t seed) {
    bnd_sim_net_heal(cluster.net);
    for (size_t i = 0; i < NODES; i++) {
        bnd_sim_store_stall(cluster.nodes[i].store, 0);
        bnd_sim_disk_heal(cluster.nodes[i].disk);
        if (cluster.nodes[i].env != NULL && cluster.nodes[i].fatal != 0) {
            crash(&cluster.nodes[i], BND_SIM_KILL);
        }
        if (cluster.nodes[i].env == NULL) {
            restart(&cluster.nodes[i]);
        }
    }
    assert_true(bnd_sim_run_until_true(cluster.world, all_answered, NULL, 60 * SECOND));
    for (uint64_t gid = 1; gid <= GROUPS; gid++) {
        struct node *leader = cluster_leader(&cluster, gid);
        int64_t sum = read_counter(leader, gid, "a");
        sum = sum == BND_NOTFOUND ? 0 : sum;
        if (sum < (int64_t)acknowledged[gid] || sum > (int64_t)(acknowledged[gid] + unknown[gid])) {
            fail_msg("seed %llu group %llu: sum %lld, acknowledged %llu, unknown %llu",
                     (unsigned long long)seed, (unsigned long long)gid, (long long)sum,
                     (unsigned long long)acknowledged[gid], (unsigned long long)unknown[gid]);
        }
        if (!bnd_sim_run_until_true(cluster.world, all_written, &gid, 30 * SECOND)) {
            describe(gid);
            fail_msg("seed %llu: group %llu does not settle", (unsigned long long)seed,
                     (unsigned long long)gid);
        }
        for (size_t i = 1; i < NODES; i++) {
            assert_int_equal(state_hash(&cluster.nodes[i], gid),
                             state_hash(&cluster.nodes[0], gid));
        }
    }
}

static void nothing_is_lost_or_done_twice_under_faults(void **state) {
    (void)state;
    uint64_t total = 0;
    uint64_t lost = 0;
    const char *only = getenv("SEED");
    uint64_t first = only == NULL ? 1 : strtoull(only, NULL, 10);
    const char *last_text = getenv("SEEDS");
    uint64_t last = last_text != NULL ? first + strtoull(last_text, NULL, 10) - 1
                    : only == NULL    ? SEEDS
                                      : first;
    for (uint64_t seed = first; seed <= last; seed++) {
        run(seed);
        heal_and_check(seed);
        for (uint64_t gid = 1; gid <= GROUPS; gid++) {
            total += acknowledged[gid];
            lost += unknown[gid];
        }
        cluster_close(&cluster);
    }
    printf("%llu acknowledged, %llu unknown, %llu refused\n", (unsigned long long)total,
           (unsigned long long)lost, (unsigned long long)refused);
    assert_true(total > 100 * (last - first + 1)); /* a run that did little proves little */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_done_twice_under_faults),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
