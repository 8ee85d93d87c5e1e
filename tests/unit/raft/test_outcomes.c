/* What the caller of a proposal is told when leadership, log and state change under it. */
#include "tests/unit/raft/catchup_cluster.h"

static void start_add(struct node *node, struct attempt *attempt) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    *attempt = (struct attempt){0};
    assert_int_equal(propose_start(node, GID, attempt, bnd_buf_slice(&command)), 0);
}

/* The log that could tell is gone, on both sides. */
static void what_an_installed_state_covers_is_unknown(void **state) {
    (void)state;
    static struct attempt flying;
    struct cluster *c = begin(51, 3);
    struct node *old = cluster_leader(c, GID);
    bnd_sim_net_isolate(c->net, old->id, true);
    start_add(old, &flying);
    bnd_sim_run_for(c->world, 3 * SECOND);
    assert_ptr_not_equal(cluster_leader(c, GID), old);
    for (unsigned i = 0; i < 100; i++) {
        put_value(c, i, 4000);
    }
    assert_false(flying.waiting.done);
    bnd_sim_net_heal(c->net);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &flying.waiting, 20 * SECOND));
    assert_int_equal(flying.waiting.status, BND_UNKNOWN);
    assert_int_equal(stats_of(old).installs_received, 1);
    await_equal(c);
    cluster_close(c);
}

static void on_called(struct bnd_shard_call *call, int status, struct bnd_slice reply) {
    struct waiting *waiting = call->data;
    (void)reply;
    waiting->done = true;
    waiting->status = status;
}

/* A call at the node's own host, which its client takes for the only member. */
static void call_add(struct node *node, struct bnd_shard_call *call, struct waiting *waiting) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    const struct bnd_slice body = bnd_buf_slice(&command);
    *call = (struct bnd_shard_call){.cb = on_called, .data = waiting};
    waiting->done = false;
    bnd_sim_env_enter(node->env);
    bnd_shard_client_members(node->client, GID, &node->id, 1);
    assert_int_equal(
        bnd_shard_call(node->client, call, BND_SHARD_WRITE, GID, &body, 1, 30 * SECOND), 0);
    bnd_sim_env_leave(node->env);
}

/* Its replica goes away; no later attempt gets anywhere, but of this one nobody knows. */
static void a_call_that_loses_its_replica_is_unknown(void **state) {
    (void)state;
    static struct bnd_shard_call call;
    static struct waiting called;
    struct cluster *c = begin(54, 3);
    struct node *node = cluster_leader(c, GID);
    bnd_sim_net_isolate(c->net, node->id, true);
    call_add(node, &call, &called);
    bnd_sim_run_for(c->world, SECOND / 10);
    assert_false(called.done);
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_raft_group_destroy(node->host, GID), 0);
    bnd_sim_env_leave(node->env);
    node->wants_groups = false;
    assert_true(bnd_sim_run_until_true(c->world, is_done, &called, 40 * SECOND));
    assert_int_equal(called.status, BND_UNKNOWN);
    bnd_sim_net_heal(c->net);
    cluster_close(c);
}

/* A leader proposes entries that nobody gets; the next leader's log cuts them off; it leads again,
 * and proposes under their indexes. */
static void proposals_of_two_leaderships_each_get_their_outcome(void **state) {
    (void)state;
    enum { OLD = 12 };
    static struct attempt flying[OLD];
    struct cluster *c = begin(52, 3);
    struct node *node = cluster_leader(c, GID);
    int64_t sum = 0;
    bnd_sim_net_isolate(c->net, node->id, true);
    for (size_t i = 0; i < OLD; i++) {
        start_add(node, &flying[i]);
        bnd_sim_run_for(c->world, 10 * BND_MS);
    }
    bnd_sim_run_for(c->world, 3 * SECOND);
    struct node *other = cluster_leader(c, GID);
    assert_ptr_not_equal(other, node);
    bnd_sim_net_heal(c->net);
    await_equal(c);
    for (int tries = 0; other != node; tries++) {
        assert_true(tries < 6);
        bnd_sim_net_isolate(c->net, other->id, true);
        bnd_sim_run_for(c->world, 3 * SECOND);
        bnd_sim_net_heal(c->net);
        await_equal(c);
        other = cluster_leader(c, GID);
    }
    assert_true(add_one(node, GID, "a") > 0);
    for (size_t i = 0; i < OLD; i++) {
        assert_true(bnd_sim_run_until_true(c->world, is_done, &flying[i].waiting, 60 * SECOND));
        sum += flying[i].waiting.status == 0; /* proposed anew, under the same id */
        assert_true(flying[i].waiting.status == 0 || flying[i].waiting.status == BND_NOTLEADER);
    }
    assert_true(sum > OLD / 2);
    assert_int_equal(read_counter(node, GID, "a"), sum + 1);
    cluster_close(c);
}

/* A journal that takes no record of that size: what is not in it must not be counted on. */
static void an_entry_that_the_journal_refuses_stops_the_node(void **state) {
    (void)state;
    static struct attempt attempt;
    static const uint8_t value[KV_VALUE_MAX];
    cluster.config = (struct bnd_raft_host_config){.journal_segment_bytes = 64u << 10};
    cluster_open(&cluster, 53);
    struct node *node = &cluster.nodes[0];
    node_start(node);
    cluster_bootstrap(&cluster, GID, 1);
    (void)cluster_leader(&cluster, GID);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_put(&command, bnd_slice_str("k"), bnd_slice(value, sizeof value));
    attempt = (struct attempt){0};
    assert_int_equal(propose_start(node, GID, &attempt, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(cluster.world, 5 * SECOND);
    assert_int_equal(node->fatal, BND_TOOBIG);
    assert_false(attempt.waiting.done && attempt.waiting.status == 0);
    node_crash(node, BND_SIM_KILL);
    cluster_close(&cluster);
}

static int add_on(struct node *node, struct attempt *attempt, uint64_t base,
                  const struct attempt *first) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add_on(&command, bnd_slice_str("a"), base, 1);
    *attempt = (struct attempt){0};
    if (first != NULL) {
        attempt->propose.id = first->propose.id;
        attempt->propose.low_seq = first->propose.low_seq;
        attempt->propose.deadline_ms = first->propose.deadline_ms;
    }
    return propose_wait(node, GID, attempt, bnd_buf_slice(&command));
}

/* The id of a command that was made on a state that is gone is free; once it has an outcome it has
 * that one for ever, whoever leads. */
static void a_conflict_is_no_outcome(void **state) {
    (void)state;
    static struct attempt first;
    static struct attempt second;
    struct cluster *c = begin(55, 3);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    assert_int_equal(add_on(leader, &first, 0, NULL), BND_CONFLICT);
    assert_int_equal(first.waiting.reply_len, 0);
    assert_int_equal(read_counter(leader, GID, "a"), 1);
    assert_int_equal(add_on(leader, &second, 0, &first), BND_CONFLICT);
    await_equal(c);
    node_crash(leader, BND_SIM_POWER);
    struct node *next = cluster_leader(c, GID);
    assert_int_equal(add_on(next, &second, 1, &first), 0);
    assert_int_equal(bnd_get_u64(second.waiting.reply), 2);
    assert_int_equal(add_on(next, &second, 2, &first), 0); /* a retry: not executed */
    assert_int_equal(bnd_get_u64(second.waiting.reply), 2);
    assert_int_equal(add_on(next, &second, 0, &first), 0);
    assert_int_equal(read_counter(next, GID, "a"), 2);
    node_start(leader);
    await_equal(c);
    cluster_close(c);
}

/* It goes no other way through the shard client: no retry of it can end better. */
static void a_conflict_ends_a_call(void **state) {
    (void)state;
    static struct bnd_shard_call call;
    static struct waiting called;
    struct cluster *c = begin(56, 3);
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &c->nodes[i];
        const uint64_t nodes[] = {1, 2, 3};
        BND_AUTO_BUF struct bnd_buf command = {0};
        kv_add_on(&command, bnd_slice_str("a"), 7, 1);
        const struct bnd_slice body = bnd_buf_slice(&command);
        call = (struct bnd_shard_call){.cb = on_called, .data = &called};
        called.done = false;
        bnd_sim_env_enter(node->env);
        bnd_shard_client_members(node->client, GID, nodes, 3);
        assert_int_equal(bnd_shard_call(node->client, &call, BND_SHARD_WRITE, GID, &body, 1, 0), 0);
        bnd_sim_env_leave(node->env);
        assert_true(bnd_sim_run_until_true(c->world, is_done, &called, 5 * SECOND));
        assert_int_equal(called.status, BND_CONFLICT);
    }
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_installed_state_covers_is_unknown),
        cmocka_unit_test(a_call_that_loses_its_replica_is_unknown),
        cmocka_unit_test(proposals_of_two_leaderships_each_get_their_outcome),
        cmocka_unit_test(an_entry_that_the_journal_refuses_stops_the_node),
        cmocka_unit_test(a_conflict_is_no_outcome),
        cmocka_unit_test(a_conflict_ends_a_call),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
