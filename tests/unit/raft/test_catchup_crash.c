/* Catching up, interrupted at every place: the old state or the new one is there, and in the end
 * every replica is equal. */
#include "tests/unit/raft/catchup_cluster.h"

static struct node *behind;
static struct node *sender;

/* A follower far behind, about to be let back. */
static struct cluster *lagging(uint64_t seed) {
    struct cluster *c = begin(seed, 3);
    behind = follower(c);
    lag(c, behind, 60, 8000);
    sender = cluster_leader(c, GID);
    return c;
}

static bool cut_or_equal(void *data) {
    return bnd_sim_disk_is_cut(behind->disk) || all_equal(data);
}

/* The power fails at the n-th change of the receiver's disk, while others write. False: it was over
 * before. */
static bool cut_receiver(uint64_t n, enum bnd_sim_keep keep) {
    struct cluster *c = lagging(20);
    bnd_sim_disk_cut_at(behind->disk, n, keep);
    load_start(&load, c, GID, 3000);
    bnd_sim_net_heal(c->net);
    bnd_sim_run_for(c->world, SECOND);
    load_stop(&load);
    assert_true(bnd_sim_run_until_true(c->world, cut_or_equal, c, 120 * SECOND));
    bool was_cut = bnd_sim_disk_is_cut(behind->disk);
    bnd_sim_disk_cut_at(behind->disk, 0, keep);
    if (was_cut) {
        node_crash(behind, BND_SIM_POWER);
        node_start(behind);
    }
    await_equal(c);
    assert_true(was_cut || stats_of(behind).installs_received == 1);
    cluster_close(c);
    return was_cut;
}

static void the_receiver_loses_power_at_every_write(void **state) {
    (void)state;
    const enum bnd_sim_keep keeps[] = {BND_SIM_KEEP_NONE, BND_SIM_KEEP_ALL,
                                       BND_SIM_KEEP_FIRST_HALF};
    for (size_t k = 0; k < 3; k++) {
        uint64_t n = 1;
        while (cut_receiver(n, keeps[k])) {
            n++;
        }
        assert_true(n > 20); /* the install and what is fed to the log */
    }
}

/* In steps of a few milliseconds over the whole of it, install and feeding included. */
static void crash_at(bool receiver, enum bnd_sim_crash kind) {
    for (uint64_t ms = 0; ms < 700; ms += 7) {
        struct cluster *c = lagging(21);
        bnd_sim_net_heal(c->net);
        bnd_sim_run_for(c->world, ms * BND_MS);
        struct node *victim = receiver ? behind : sender;
        node_crash(victim, kind);
        bnd_sim_run_for(c->world, ms % 2 == 0 ? 3 * SECOND : 0);
        node_start(victim);
        await_equal(c);
        cluster_close(c);
    }
}

static void the_receiver_dies_at_any_time(void **state) {
    (void)state;
    crash_at(true, BND_SIM_POWER);
}

static void the_sender_dies_at_any_time(void **state) {
    (void)state;
    crash_at(false, BND_SIM_KILL);
}

static void the_leader_steps_down_meanwhile(void **state) {
    (void)state;
    for (uint64_t ms = 0; ms < 700; ms += 23) {
        struct cluster *c = lagging(22);
        bnd_sim_net_heal(c->net);
        bnd_sim_run_for(c->world, ms * BND_MS);
        bnd_sim_env_enter(sender->env);
        bnd_raft_step_down_all(sender->host);
        bnd_sim_env_leave(sender->env);
        await_equal(c);
        cluster_close(c);
    }
}

/* A clean stop amid it leaves nothing behind: the simulated world insists. */
static void either_end_stops_meanwhile(void **state) {
    (void)state;
    for (uint64_t ms = 0; ms < 700; ms += 23) {
        struct cluster *c = lagging(23);
        bnd_sim_net_heal(c->net);
        bnd_sim_run_for(c->world, ms * BND_MS);
        struct node *stopped = ms % 2 == 0 ? behind : sender;
        node_stop(stopped);
        bnd_sim_run_for(c->world, SECOND);
        node_start(stopped);
        await_equal(c);
        cluster_close(c);
    }
}

static void a_destroyed_group_ends_it(void **state) {
    (void)state;
    for (uint64_t ms = 0; ms < 700; ms += 23) {
        struct cluster *c = lagging(24);
        bnd_sim_net_heal(c->net);
        bnd_sim_run_for(c->world, ms * BND_MS);
        bnd_sim_env_enter(behind->env);
        assert_int_equal(bnd_raft_group_destroy(behind->host, GID), 0);
        bnd_sim_env_leave(behind->env);
        behind->wants_groups = false;
        bnd_sim_run_for(c->world, 2 * SECOND);
        struct bnd_raft_group_status status;
        assert_int_equal(bnd_raft_group_status(behind->host, GID, &status), BND_NOTFOUND);
        cluster_close(c);
    }
}

static bool drops_some_calls(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                             struct bnd_slice message) {
    unsigned *count = data;
    return kind != BND_MESH_RPC || ++*count % 3 != 0;
}

static void either_store_stalls_meanwhile(void **state) {
    (void)state;
    for (uint64_t ms = 0; ms < 700; ms += 23) {
        struct cluster *c = lagging(26);
        bnd_sim_net_heal(c->net);
        bnd_sim_run_for(c->world, ms * BND_MS);
        bnd_sim_store_stall(ms % 2 == 0 ? behind->store : sender->store, 2 * SECOND);
        await_equal(c);
        assert_true(stats_of(behind).installs_received >= 1);
        cluster_close(c);
    }
}

static void lost_chunks_are_pulled_again(void **state) {
    (void)state;
    struct cluster *c = lagging(25);
    unsigned count = 0;
    bnd_sim_net_filter(c->net, drops_some_calls, &count);
    bnd_sim_net_heal(c->net);
    await_equal(c);
    assert_int_equal(stats_of(behind).installs_received, 1);
    cluster_close(c);
}

/* Writers, and nodes that die and lag in turn, for half a minute each. */
static void a_storm(uint64_t seed) {
    struct cluster *c = begin(seed, seed % 2 == 0 ? 3 : 1);
    struct bnd_sim_rng rng;
    bnd_sim_rng_init(&rng, seed, "storm", 0);
    want_all(c);
    load_start(&load, c, GID, 6000);
    for (int step = 0; step < 25; step++) {
        bnd_sim_run_for(c->world, bnd_sim_rng_range(&rng, 1, 1500) * BND_MS);
        struct node *node = &c->nodes[bnd_sim_rng_range(&rng, 0, NODES - 1)];
        switch (bnd_sim_rng_range(&rng, 0, 4)) {
        case 0:
            bnd_sim_net_isolate(c->net, node->id, step % 2 == 0);
            break;
        case 1:
            bnd_sim_net_heal(c->net);
            break;
        case 2:
            bnd_sim_store_stall(node->store, bnd_sim_rng_range(&rng, 100, 3000) * BND_MS);
            break;
        default:
            load_node_dies(&load, node);
            node_crash(node, step % 3 == 0 ? BND_SIM_KILL : BND_SIM_POWER);
            node_start(node);
            want_all(c);
            break;
        }
    }
    bnd_sim_net_heal(c->net);
    load_stop(&load);
    await_equal(c);
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "load"), load.acknowledged);
    cluster_close(c);
}

static void storms_lose_nothing(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        a_storm(seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_receiver_loses_power_at_every_write),
        cmocka_unit_test(the_receiver_dies_at_any_time),
        cmocka_unit_test(the_sender_dies_at_any_time),
        cmocka_unit_test(the_leader_steps_down_meanwhile),
        cmocka_unit_test(either_end_stops_meanwhile),
        cmocka_unit_test(a_destroyed_group_ends_it),
        cmocka_unit_test(either_store_stalls_meanwhile),
        cmocka_unit_test(lost_chunks_are_pulled_again),
        cmocka_unit_test(storms_lose_nothing),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
