/* Stores and disks that fail or stall at a bad moment, while a state is sent, installed or destroyed. */
#include "raft/host_private.h"
#include "tests/unit/raft/catchup_cluster.h"

struct export_progress {
    struct node *sender;
    uint64_t bytes;
};

static bool has_sent_more(void *data) {
    const struct export_progress *progress = data;
    return stats_of(progress->sender).export_bytes > progress->bytes;
}

static void await_chunk(struct cluster *c, struct export_progress *progress) {
    progress->bytes = stats_of(progress->sender).export_bytes;
    assert_true(bnd_sim_run_until_true(c->world, has_sent_more, progress, 20 * SECOND));
}

static void a_chunk_that_could_not_be_written_is_not_missing(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    cluster.config = small;
    cluster.config.unpersisted_bytes_max = 64u << 20; /* only the import persists */
    cluster_open(c, 71);
    start_all(c, NODES);
    cluster_bootstrap(c, GID, NODES);
    struct node *behind = follower(c);
    struct export_progress progress = {.sender = cluster_leader(c, GID)};
    lag(c, behind, 250, 8000);
    bnd_sim_net_heal(c->net);
    await_chunk(c, &progress);
    await_chunk(c, &progress); /* the second: the first, with the tuple, is written */
    bnd_sim_store_fail(behind->store, BND_IO);
    await_chunk(c, &progress);
    bnd_sim_store_fail(behind->store, 0);
    assert_int_equal(behind->fatal, 0);
    await_equal(c);
    cluster_close(c);
}

/* The sender's iterator ends early, once, and says why. */
static const struct bnd_state_ops *sound;
static struct bnd_state_ops broken;
static unsigned pairs_left;

static bool broken_valid(const struct bnd_state_iter *iter) {
    pairs_left -= pairs_left > 0;
    return pairs_left != 1 && sound->iter_valid(iter);
}

static int broken_status(const struct bnd_state_iter *iter) {
    return pairs_left == 1 ? BND_CORRUPT : sound->iter_status(iter);
}

static void a_state_that_cannot_be_read_is_not_taken_for_its_end(void **state) {
    (void)state;
    struct cluster *c = begin(72, 3);
    struct node *behind = follower(c);
    struct node *leader = cluster_leader(c, GID);
    lag(c, behind, 100, 4000);
    sound = leader->state->ops;
    broken = *sound;
    broken.iter_valid = broken_valid;
    broken.iter_status = broken_status;
    pairs_left = 150; /* of the objects */
    leader->state->ops = &broken;
    bnd_sim_net_heal(c->net);
    await_equal(c);
    assert_int_equal(pairs_left, 0);
    assert_true(stats_of(leader).installs_sent > 1);
    leader->state->ops = sound;
    cluster_close(c);
}

static bool is_persisting(void *node) {
    return ((struct node *)node)->host->imports.persisting > 0;
}

/* The record that names the new slot is on its way to the disk. */
static void a_stop_amid_an_install_finds_its_state(void **state) {
    (void)state;
    struct cluster *c = begin(73, 3);
    struct node *behind = follower(c);
    lag(c, behind, 60, 8000);
    bnd_sim_net_heal(c->net);
    assert_true(bnd_sim_run_until_true(c->world, is_persisting, behind, 20 * SECOND));
    bnd_sim_disk_stall(behind->disk, 2 * SECOND);
    bnd_sim_run_for(c->world, SECOND / 4);
    assert_int_equal(node_status(behind, GID).state, BND_RAFT_INSTALLING);
    node_stop(behind);
    node_start(behind);
    await_equal(c);
    cluster_close(c);
}

/* What it has applied waits for the store. */
static void a_replica_is_destroyed_while_its_store_stalls(void **state) {
    (void)state;
    struct cluster *c = begin(74, 3);
    struct node *gone = follower(c);
    struct bnd_raft_group_status status;
    gone->wants_groups = false;
    bnd_sim_store_stall(gone->store, 2 * SECOND);
    put_value(c, 1, 100);
    bnd_sim_run_for(c->world, SECOND / 4);
    bnd_sim_env_enter(gone->env);
    assert_int_equal(bnd_raft_group_destroy(gone->host, GID), 0);
    bnd_sim_env_leave(gone->env);
    bnd_sim_run_for(c->world, 4 * SECOND);
    assert_int_equal(gone->fatal, 0);
    assert_int_equal(bnd_raft_group_status(gone->host, GID, &status), BND_NOTFOUND);
    cluster_close(c);
}

static void make(struct node *node, uint64_t gid, struct waiting *waiting) {
    const struct bnd_raft_member self = {node->id, BND_RAFT_VOTER};
    waiting->done = false;
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_raft_group_bootstrap(node->host, gid, &self, 1, on_bootstrapped, waiting), 0);
    bnd_sim_env_leave(node->env);
}

/* Made while the record of another is on its way to the disk. */
static void a_group_that_was_made_outlives_a_power_cut(void **state) {
    (void)state;
    static struct waiting first;
    static struct waiting second;
    for (uint64_t us = 20; us < 6000; us += 60) {
        cluster.config = small;
        cluster_open(&cluster, 75);
        struct node *node = &cluster.nodes[0];
        node_start(node);
        make(node, GID, &first);
        bnd_sim_run_for(cluster.world, us * BND_MS / 1000);
        make(node, GID + 1, &second);
        assert_true(bnd_sim_run_until_true(cluster.world, is_done, &second, 10 * SECOND));
        assert_int_equal(second.status, 0);
        node_crash(node, BND_SIM_POWER);
        node_start(node);
        assert_int_equal(node_status(node, GID + 1).members_count, 1);
        cluster_close(&cluster);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_that_could_not_be_written_is_not_missing),
        cmocka_unit_test(a_state_that_cannot_be_read_is_not_taken_for_its_end),
        cmocka_unit_test(a_stop_amid_an_install_finds_its_state),
        cmocka_unit_test(a_replica_is_destroyed_while_its_store_stalls),
        cmocka_unit_test(a_group_that_was_made_outlives_a_power_cut),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
