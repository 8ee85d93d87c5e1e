/* Stores and disks that fail or stall at a bad moment, while a state is sent, installed or
 * destroyed. */
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

/* Only imports persist. */
static struct cluster *begin_unpersisted(uint64_t seed) {
    cluster.config = small;
    cluster.config.unpersisted_bytes_max = 64u << 20;
    cluster_open(&cluster, seed);
    start_all(&cluster, NODES);
    cluster_bootstrap(&cluster, GID, NODES);
    return &cluster;
}

static void await_chunk(struct cluster *c, struct export_progress *progress) {
    progress->bytes = stats_of(progress->sender).export_bytes;
    assert_true(bnd_sim_run_until_true(c->world, has_sent_more, progress, 20 * SECOND));
}

static void a_chunk_that_could_not_be_written_is_not_missing(void **state) {
    (void)state;
    struct cluster *c = begin_unpersisted(71);
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

/* The persist of an import fails, where an earlier one has its tuple already. */
static struct bnd_state_persist *held;

static int hold_persist(struct bnd_state *state, struct bnd_state_persist *persist) {
    (void)state;
    held = persist;
    return 0;
}

static void on_early(struct bnd_state_persist *persist, int status) {
    *(int *)persist->data = status;
}

static bool is_held(void *data) {
    (void)data;
    return held != NULL;
}

static void a_state_that_could_not_be_persisted_is_not_installed(void **state) {
    (void)state;
    struct cluster *c = begin_unpersisted(76);
    struct node *behind = follower(c);
    struct export_progress progress = {.sender = cluster_leader(c, GID)};
    int early = 1;
    struct bnd_state_persist request = {.cb = on_early, .data = &early};
    lag(c, behind, 250, 8000);
    bnd_sim_net_heal(c->net);
    await_chunk(c, &progress);
    await_chunk(c, &progress);
    bnd_sim_env_enter(behind->env);
    assert_int_equal(behind->state->ops->persist(behind->state, &request), 0);
    sound = behind->state->ops;
    broken = *sound;
    broken.persist = hold_persist;
    behind->state->ops = &broken;
    held = NULL;
    bnd_sim_env_leave(behind->env);
    assert_true(bnd_sim_run_until_true(c->world, is_held, NULL, 20 * SECOND));
    bnd_sim_run_for(c->world, SECOND);
    assert_int_equal(early, 0);
    struct bnd_state_persist *failing = held;
    held = NULL;
    bnd_sim_env_enter(behind->env);
    failing->cb(failing, BND_IO);
    bnd_sim_env_leave(behind->env);
    assert_true(bnd_sim_run_until_true(c->world, is_held, NULL, 20 * SECOND)); /* it began anew */
    assert_int_equal(stats_of(behind).installs_received, 0);
    behind->state->ops = sound;
    bnd_sim_env_enter(behind->env);
    held->cb(held, BND_IO);
    bnd_sim_env_leave(behind->env);
    await_equal(c);
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

static int no_disk(void *self, const struct bnd_fsm_apply *context, struct bnd_slice command,
                   struct bnd_buf *reply) {
    (void)self, (void)context, (void)command, (void)reply;
    return BND_IO;
}

/* As an outcome of the command it would tell this replica from the others. */
static void a_command_that_cannot_be_applied_stops_the_node(void **state) {
    (void)state;
    static struct attempt attempt;
    struct cluster *c = begin(77, 1);
    struct node *node = cluster_leader(c, GID);
    BND_AUTO_BUF struct bnd_buf command = {0};
    struct group *group = group_running(node->host, GID);
    struct bnd_fsm_ops ops = *group->fsm.ops;
    ops.apply = no_disk;
    group->fsm.ops = &ops;
    kv_add(&command, bnd_slice_str("a"), 1);
    attempt = (struct attempt){0};
    assert_int_equal(propose_start(node, GID, &attempt, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, 3 * SECOND);
    assert_int_equal(node->fatal, BND_IO);
    assert_false(attempt.waiting.done);
    node_crash(node, BND_SIM_KILL);
    cluster_close(c);
}

static void an_entry_that_cannot_be_read_stops_the_node(void **state) {
    (void)state;
    struct cluster *c = begin(78, 1);
    struct node *node = cluster_leader(c, GID);
    uint64_t index = 0;
    uint64_t term = 0;
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_core_propose(group_running(node->host, GID)->core,
                                      bnd_slice_str("no entry"), &index, &term),
                     0);
    bnd_sim_env_leave(node->env);
    bnd_sim_run_for(c->world, 3 * SECOND);
    assert_int_equal(node->fatal, BND_VERSION);
    node_crash(node, BND_SIM_KILL);
    cluster_close(c);
}

/* The log has been compacted up to what the state held. */
static void a_state_older_than_the_log_is_refused(void **state) {
    (void)state;
    struct bnd_error err = {0};
    struct cluster *c = begin(79, 1);
    struct node *node = &c->nodes[0];
    for (unsigned i = 0; group_running(node->host, GID)->journal_start == 0; i++) {
        assert_true(i < 1000);
        put_value(c, i, 8000);
    }
    node_stop(node);
    bnd_sim_store_wipe(node->store);
    assert_int_equal(node_try_start(node, &err), BND_CORRUPT);
    assert_non_null(strstr(err.message, "the state holds only 0"));
    node_crash(node, BND_SIM_KILL);
    cluster_close(c);
}

static void make(struct node *node, uint64_t gid, struct waiting *waiting) {
    const struct bnd_raft_member self = {node->id, BND_RAFT_VOTER};
    waiting->done = false;
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_raft_group_bootstrap(node->host, gid, &self, 1, on_bootstrapped, waiting),
                     0);
    bnd_sim_env_leave(node->env);
}

static void on_persisted(struct bnd_state_persist *persist, int status) {
    *(int *)persist->data = status;
}

/* A sole voter that writes, in so many lives, so often, and stops with all of it persisted. */
static void live(struct node *node, unsigned lives, unsigned writes) {
    static struct waiting made;
    int persisted = 1;
    struct bnd_state_persist request = {.cb = on_persisted, .data = &persisted};
    node_start(node);
    make(node, GID, &made);
    bnd_sim_run_for(node->cluster->world, SECOND);
    for (unsigned i = 1; i < lives; i++) {
        node_stop(node);
        node_start(node);
        bnd_sim_run_for(node->cluster->world, SECOND);
    }
    for (unsigned i = 0; i < writes; i++) {
        assert_true(add_one(node, GID, "a") > 0);
    }
    bnd_sim_env_enter(node->env);
    assert_int_equal(node->state->ops->persist(node->state, &request), 0);
    bnd_sim_env_leave(node->env);
    bnd_sim_run_for(node->cluster->world, SECOND);
    assert_int_equal(persisted, 0);
    node_stop(node);
}

/* The second node starts with the first one's state. */
static void refuses_the_state_of(unsigned lives, unsigned writes, unsigned own_writes,
                                 const char *why) {
    struct bnd_error err = {0};
    cluster.config = small;
    cluster_open(&cluster, 81);
    struct node *other = &cluster.nodes[0];
    struct node *node = &cluster.nodes[1];
    live(other, lives, writes);
    live(node, 1, own_writes);
    struct bnd_sim_store *store = node->store;
    node->store = other->store;
    other->store = store;
    assert_int_equal(node_try_start(node, &err), BND_CORRUPT);
    assert_non_null(strstr(err.message, why));
    node_crash(node, BND_SIM_KILL);
    cluster_close(&cluster);
}

static void a_state_that_is_not_of_the_log_is_refused(void **state) {
    (void)state;
    refuses_the_state_of(1, 20, 2, "but the journal ends at");
    refuses_the_state_of(4, 1, 20, "in the journal");
}

static bool is_filling(void *node) {
    struct bnd_raft_group_status status;
    return node_has(node, &status) && status.last_index > 1;
}

/* The node was once the group's only voter. Made again, filled from the log's beginning and stopped
 * amid that, it has a log that says so: it must not lead by it. */
static void a_replica_half_filled_does_not_lead_alone(void **state) {
    (void)state;
    struct cluster *c = &cluster;
    struct node *node = &c->nodes[0];
    unsigned half = 0;
    cluster.config = small;
    cluster.config.log_bytes_group_max = cluster.config.unpersisted_bytes_max = 64u << 20;
    cluster_open(c, 82);
    start_all(c, NODES);
    cluster_bootstrap(c, GID, 1);
    for (unsigned i = 0; i < 200; i++) {
        put_value(c, i, 15000);
    }
    want_all(c);
    assert_true(bnd_sim_run_until_true(c->world, all_voters, c, 120 * SECOND));
    for (uint64_t ms = 0; ms < 30; ms += 3) {
        struct bnd_raft_group_status status;
        await_equal(c);
        while (cluster_leader(c, GID) == node) {
            bnd_sim_env_enter(node->env);
            bnd_raft_step_down_all(node->host);
            bnd_sim_env_leave(node->env);
            bnd_sim_run_for(c->world, SECOND);
        }
        bnd_sim_env_enter(node->env);
        assert_int_equal(bnd_raft_group_destroy(node->host, GID), 0);
        bnd_sim_env_leave(node->env);
        assert_true(bnd_sim_run_until_true(c->world, is_filling, node, 20 * SECOND));
        bnd_sim_run_for(c->world, ms * BND_MS);
        half += node_status(node, GID).last_index < 150;
        node_crash(node, BND_SIM_KILL);
        bnd_sim_net_isolate(c->net, node->id, true);
        node_start(node);
        node->wants_groups = true;
        bnd_sim_run_for(c->world, 3 * SECOND);
        assert_false(node_has(node, &status) && status.ready);
        bnd_sim_net_heal(c->net);
        want_all(c);
    }
    assert_true(half > 1);
    cluster_close(c);
}

/* It comes back to the node in the same term. */
static void a_replica_made_again_knows_its_vote(void **state) {
    (void)state;
    struct cluster *c = begin(80, 3);
    struct node *leader = cluster_leader(c, GID);
    uint64_t term = node_status(leader, GID).term;
    struct node *voter = NULL;
    await_equal(c);
    for (size_t i = 0; i < NODES; i++) {
        struct group *group = group_running(c->nodes[i].host, GID);
        group_refresh(group);
        if (&c->nodes[i] != leader && group->status.vote == leader->id) {
            voter = &c->nodes[i];
        }
    }
    assert_non_null(voter);
    bnd_sim_env_enter(voter->env);
    assert_int_equal(bnd_raft_group_destroy(voter->host, GID), 0);
    bnd_sim_env_leave(voter->env);
    bnd_sim_run_for(c->world, 2 * SECOND);
    struct group *again = group_running(voter->host, GID);
    assert_non_null(again);
    group_refresh(again);
    assert_int_equal(again->status.term, term);
    assert_int_equal(again->status.vote, leader->id);
    cluster_close(c);
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
        cmocka_unit_test(a_state_that_could_not_be_persisted_is_not_installed),
        cmocka_unit_test(a_stop_amid_an_install_finds_its_state),
        cmocka_unit_test(a_replica_is_destroyed_while_its_store_stalls),
        cmocka_unit_test(a_command_that_cannot_be_applied_stops_the_node),
        cmocka_unit_test(an_entry_that_cannot_be_read_stops_the_node),
        cmocka_unit_test(a_state_older_than_the_log_is_refused),
        cmocka_unit_test(a_state_that_is_not_of_the_log_is_refused),
        cmocka_unit_test(a_replica_half_filled_does_not_lead_alone),
        cmocka_unit_test(a_replica_made_again_knows_its_vote),
        cmocka_unit_test(a_group_that_was_made_outlives_a_power_cut),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
