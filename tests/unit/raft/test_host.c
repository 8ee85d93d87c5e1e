/* The Raft host, on one node and on three. */
#include "tests/unit/raft/host_cluster.h"

static struct cluster cluster;

static struct cluster *fresh(uint64_t seed) {
    cluster.config = (struct bnd_raft_host_config){0};
    cluster_open(&cluster, seed);
    return &cluster;
}

static void one_node_serves_and_keeps_what_it_acknowledged(void **state) {
    (void)state;
    struct cluster *c = fresh(1);
    struct node *node = &c->nodes[0];
    node_start(node);
    cluster_bootstrap(c, GID, 1);
    assert_ptr_equal(cluster_leader(c, GID), node);
    for (int64_t i = 1; i <= 20; i++) {
        assert_int_equal(add_one(node, GID, "a"), i);
    }
    assert_int_equal(read_counter(node, GID, "a"), 20);
    node_crash(node, BND_SIM_POWER);
    node_start(node);
    (void)cluster_leader(c, GID);
    assert_int_equal(read_counter(node, GID, "a"), 20);
    assert_int_equal(add_one(node, GID, "a"), 21);
    cluster_close(c);
}

static struct cluster *three(uint64_t seed) {
    struct cluster *c = fresh(seed);
    for (size_t i = 0; i < NODES; i++) {
        node_start(&c->nodes[i]);
    }
    cluster_bootstrap(c, GID, NODES);
    return c;
}

static struct node *other_than(struct cluster *c, const struct node *node) {
    return node == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
}

static void a_leader_crash_loses_nothing(void **state) {
    (void)state;
    struct cluster *c = three(2);
    for (int64_t i = 1; i <= 10; i++) {
        assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), i);
    }
    struct node *old = cluster_leader(c, GID);
    node_crash(old, BND_SIM_POWER);
    struct node *next = cluster_leader(c, GID);
    assert_ptr_not_equal(next, old);
    assert_int_equal(read_counter(next, GID, "a"), 10);
    assert_int_equal(add_one(next, GID, "a"), 11);
    node_start(old);
    node_crash(next, BND_SIM_POWER);
    next = cluster_leader(c, GID);
    assert_int_equal(read_counter(next, GID, "a"), 11);
    cluster_close(c);
}

static void only_the_leader_serves(void **state) {
    (void)state;
    struct cluster *c = three(3);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = other_than(c, leader);
    assert_int_equal(add_one(follower, GID, "a"), BND_NOTLEADER);
    assert_int_equal(read_counter(follower, GID, "a"), BND_NOTLEADER);
    assert_int_equal(add_one(leader, GID + 1, "a"), BND_NOTFOUND);
    assert_int_equal(read_counter(leader, GID + 1, "a"), BND_NOTFOUND);
    assert_int_equal(node_status(follower, GID).leader, leader->id);
    cluster_close(c);
}

/* Proposes ADD 1 under a fixed id. */
static int add_under(struct node *node, struct attempt *attempt, uint64_t minter, uint64_t seq,
                     uint64_t low_seq, uint64_t deadline_ms) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    *attempt = (struct attempt){0};
    attempt->propose.id = (struct bnd_raft_request_id){.minter = minter, .seq = seq};
    attempt->propose.low_seq = low_seq;
    attempt->propose.deadline_ms = deadline_ms;
    return propose_wait(node, GID, attempt, bnd_buf_slice(&command));
}

static struct attempt attempt;

static void a_retry_gets_the_first_outcome_from_the_next_leader(void **state) {
    (void)state;
    struct cluster *c = three(4);
    struct node *leader = cluster_leader(c, GID);
    uint64_t until = deadline(leader, 30000);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 1);
    assert_int_equal(add_under(leader, &attempt, 5, 2, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 2);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 1);
    node_crash(leader, BND_SIM_POWER);
    leader = cluster_leader(c, GID);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 1);
    assert_int_equal(add_under(leader, &attempt, 5, 2, 2, until), 0);
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 2);
    /* Its outcome is forgotten: it is refused, not executed again. */
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, until), BND_EXPIRED);
    assert_int_equal(read_counter(leader, GID, "a"), 2);
    cluster_close(c);
}

static void a_refusal_of_the_machine_is_an_outcome_too(void **state) {
    (void)state;
    struct cluster *c = three(5);
    struct node *leader = cluster_leader(c, GID);
    BND_AUTO_BUF struct bnd_buf cas = {0};
    kv_cas(&cas, bnd_slice_str("k"), bnd_slice_str("x"), bnd_slice_str("y"));
    attempt = (struct attempt){0};
    assert_int_equal(propose_wait(leader, GID, &attempt, bnd_buf_slice(&cas)), BND_PRECONDITION);
    struct bnd_raft_request_id id = attempt.propose.id;
    uint64_t until = attempt.propose.deadline_ms;
    BND_AUTO_BUF struct bnd_buf put = {0};
    kv_put(&put, bnd_slice_str("k"), bnd_slice_str("x"));
    attempt = (struct attempt){0};
    assert_int_equal(propose_wait(leader, GID, &attempt, bnd_buf_slice(&put)), 0);
    attempt = (struct attempt){0};
    attempt.propose.id = id;
    attempt.propose.low_seq = 1;
    attempt.propose.deadline_ms = until;
    assert_int_equal(propose_wait(leader, GID, &attempt, bnd_buf_slice(&cas)), BND_PRECONDITION);
    cluster_close(c);
}

static void an_id_past_its_deadline_is_refused(void **state) {
    (void)state;
    struct cluster *c = three(6);
    struct node *leader = cluster_leader(c, GID);
    uint64_t past = deadline(leader, -1);
    assert_int_equal(add_under(leader, &attempt, 5, 1, 1, past), BND_EXPIRED);
    assert_int_equal(add_under(leader, &attempt, 5, 2, 1, deadline(leader, 700000)), BND_INVALID);
    assert_int_equal(read_counter(leader, GID, "a"), BND_NOTFOUND);
    cluster_close(c);
}

static void a_full_table_refuses_until_records_expire(void **state) {
    (void)state;
    cluster.config = (struct bnd_raft_host_config){.dedupe_entries_max = 4};
    struct cluster *c = &cluster;
    cluster_open(c, 7);
    node_start(&c->nodes[0]);
    cluster_bootstrap(c, GID, 1);
    struct node *leader = cluster_leader(c, GID);
    uint64_t until = deadline(leader, 5000);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        assert_int_equal(add_under(leader, &attempt, 5, seq, 1, until), 0);
    }
    assert_int_equal(add_under(leader, &attempt, 5, 5, 1, until), BND_FULL);
    assert_int_equal(add_under(leader, &attempt, 5, 4, 1, until), 0); /* a retry needs no room */
    assert_int_equal(bnd_get_u64(attempt.waiting.reply), 4);
    assert_int_equal(add_under(leader, &attempt, 5, 5, 5, until), 0); /* low_seq made room */
    assert_int_equal(add_under(leader, &attempt, 6, 1, 1, until), 0);
    assert_int_equal(add_under(leader, &attempt, 6, 2, 1, until), 0);
    assert_int_equal(add_under(leader, &attempt, 6, 3, 1, until), BND_FULL);
    bnd_sim_run_for(c->world, 6 * SECOND);
    until = deadline(leader, 5000);
    assert_int_equal(add_under(leader, &attempt, 6, 3, 1, until), 0); /* swept */
    cluster_close(c);
}

static void one_entry_executes_an_id_once(void **state) {
    (void)state;
    struct cluster *c = three(8);
    struct node *leader = cluster_leader(c, GID);
    static struct attempt twins[2];
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    uint64_t last = node_status(leader, GID).last_index;
    bnd_sim_env_enter(leader->env); /* both within one pass */
    for (size_t i = 0; i < 2; i++) {
        twins[i] = (struct attempt){0};
        twins[i].propose.id = (struct bnd_raft_request_id){.minter = 5, .seq = 1};
        twins[i].propose.low_seq = 1;
        assert_int_equal(propose_start(leader, GID, &twins[i], bnd_buf_slice(&command)), 0);
    }
    bnd_sim_env_leave(leader->env);
    for (size_t i = 0; i < 2; i++) {
        assert_true(bnd_sim_run_until_true(c->world, is_done, &twins[i].waiting, 10 * SECOND));
        assert_int_equal(twins[i].waiting.status, 0);
        assert_int_equal(bnd_get_u64(twins[i].waiting.reply), 1);
    }
    assert_int_equal(node_status(leader, GID).last_index, last + 1);
    assert_int_equal(read_counter(leader, GID, "a"), 1);
    cluster_close(c);
}

/* A leader cut off from the others keeps proposals until their fate is known, and never guesses. */
static void a_deposed_leader_tells_the_truth(void **state) {
    (void)state;
    struct cluster *c = three(9);
    struct node *old = cluster_leader(c, GID);
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    bnd_sim_net_isolate(c->net, old->id, false);
    static struct attempt cut;
    cut = (struct attempt){0};
    assert_int_equal(propose_start(old, GID, &cut, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, 8 * SECOND);
    assert_false(cut.waiting.done);
    assert_int_not_equal(node_status(old, GID).state, BND_RAFT_LEADER);
    struct node *next = cluster_leader(c, GID);
    assert_ptr_not_equal(next, old);
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(add_one(next, GID, "a"), i);
    }
    bnd_sim_net_heal(c->net);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &cut.waiting, 30 * SECOND));
    assert_int_equal(cut.waiting.status, BND_NOTLEADER); /* another term's entry is at its index */
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "a"), 3);
    cluster_close(c);
}

static void a_cut_off_leader_serves_no_read(void **state) {
    (void)state;
    struct cluster *c = three(10);
    struct node *old = cluster_leader(c, GID);
    assert_int_equal(add_one(old, GID, "a"), 1);
    bnd_sim_net_isolate(c->net, old->id, false);
    static struct reading reading;
    assert_int_equal(read_start(old, GID, &reading, "a"), 0);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &reading.waiting, 30 * SECOND));
    assert_int_equal(reading.waiting.status, BND_NOTLEADER);
    cluster_close(c);
}

int main(void) {
    struct bnd_error err;
    if (bnd_core_library_init(&err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_serves_and_keeps_what_it_acknowledged),
        cmocka_unit_test(a_leader_crash_loses_nothing),
        cmocka_unit_test(only_the_leader_serves),
        cmocka_unit_test(a_retry_gets_the_first_outcome_from_the_next_leader),
        cmocka_unit_test(a_refusal_of_the_machine_is_an_outcome_too),
        cmocka_unit_test(an_id_past_its_deadline_is_refused),
        cmocka_unit_test(a_full_table_refuses_until_records_expire),
        cmocka_unit_test(one_entry_executes_an_id_once),
        cmocka_unit_test(a_deposed_leader_tells_the_truth),
        cmocka_unit_test(a_cut_off_leader_serves_no_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
