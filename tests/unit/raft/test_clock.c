/* Clocks that lie: who leads then, and what a jump of a group's time suspends. */
#include "raft/clock.h"
#include "tests/unit/raft/host_fixture.h"

static void the_median_is_the_middle_one_or_the_nearest_of_two(void **state) {
    (void)state;
    int64_t one[] = {0};
    assert_int_equal(clock_median(one, 1), 0);
    int64_t three_ahead[] = {900, 0, 700};
    assert_int_equal(clock_median(three_ahead, 3), 700);
    int64_t behind[] = {0, -5, -90000};
    assert_int_equal(clock_median(behind, 3), -5);
    int64_t two[] = {5000, 0};
    assert_int_equal(clock_median(two, 2), 0);
    int64_t four_ahead[] = {0, 800, 900, 1000};
    assert_int_equal(clock_median(four_ahead, 4), 800);
    int64_t four_behind[] = {0, -800, -900, -1000};
    assert_int_equal(clock_median(four_behind, 4), -800);
}

static void the_time_of_a_group_never_falls(void **state) {
    (void)state;
    struct tuple tuple = {.stamp_ms = 5000};
    clock_move(&tuple, 4000);
    assert_int_equal(tuple.stamp_ms, 5000);
    clock_move(&tuple, 5001);
    assert_int_equal(tuple.stamp_ms, 5001);
    assert_int_equal(tuple.jump_to_ms, 0);
}

/* ---- who leads --------------------------------------------------------------------------------*/

struct leads {
    struct cluster *cluster;
    struct node * not ;
};

static bool another_leads(void *data) {
    struct leads *leads = data;
    struct leader_wait wait = {.cluster = leads->cluster, .gid = GID};
    return has_leader(&wait) && wait.leader != leads->not ;
}

static bool another_leads_within(struct cluster *c, struct node *node, uint64_t ns) {
    struct leads leads = {.cluster = c, .not = node};
    return bnd_sim_run_until_true(c->world, another_leads, &leads, ns);
}

static struct bnd_raft_host_stats stats_of(struct node *node) {
    struct bnd_raft_host_stats stats;
    bnd_sim_env_enter(node->env);
    bnd_raft_host_stats(node->host, &stats);
    bnd_sim_env_leave(node->env);
    return stats;
}

static void a_leader_whose_clock_is_off_hands_over(void **state) {
    (void)state;
    static const int64_t offsets_ms[] = {700, -700, -3600000};
    for (size_t i = 0; i < sizeof offsets_ms / sizeof offsets_ms[0]; i++) {
        struct cluster *c = three(20 + i);
        struct node *leader = cluster_leader(c, GID);
        assert_int_equal(add_one(leader, GID, "a"), 1);
        leader->clock.offset_ms = offsets_ms[i];
        assert_true(another_leads_within(c, leader, 5 * SECOND));
        assert_int_equal(stats_of(leader).clock_handovers, 1);
        assert_true(stats_of(leader).clock_off);
        assert_int_equal(stats_of(leader).clock_ahead_ms, offsets_ms[i]);
        struct node *next = cluster_leader(c, GID);
        assert_int_equal(add_one(next, GID, "a"), 2);
        assert_false(stats_of(next).clock_off);
        leader->clock.offset_ms = 0;
        bnd_sim_run_for(c->world, 3 * SECOND);
        assert_false(stats_of(leader).clock_off);
        cluster_close(c);
    }
}

static void a_leader_near_the_median_stays(void **state) {
    (void)state;
    struct cluster *c = three(30);
    struct node *leader = cluster_leader(c, GID);
    leader->clock.offset_ms = 450;
    assert_false(another_leads_within(c, leader, 30 * SECOND));
    cluster_close(c);
}

/* Two clocks that differ cannot tell which is wrong: the cluster serves on. */
static void two_of_three_do_not_quarrel(void **state) {
    (void)state;
    struct cluster *c = three(31);
    struct node *leader = cluster_leader(c, GID);
    node_crash(other_than(c, leader), BND_SIM_POWER);
    leader->clock.offset_ms = 1500;
    assert_false(another_leads_within(c, leader, 30 * SECOND));
    assert_int_equal(add_one(leader, GID, "a"), 1);
    assert_int_equal(stats_of(leader).clock_handovers, 0);
    cluster_close(c);
}

/* Every clock is another: the one in the middle leads, and everything is served. */
static void where_all_clocks_differ_the_middle_one_leads(void **state) {
    (void)state;
    struct cluster *c = three(32);
    for (size_t i = 0; i < NODES; i++) {
        c->nodes[i].clock.offset_ms = 1500 * (int64_t)i;
    }
    bnd_sim_run_for(c->world, 30 * SECOND);
    struct node *leader = cluster_leader(c, GID);
    assert_ptr_equal(leader, &c->nodes[1]);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    assert_false(another_leads_within(c, leader, 60 * SECOND));
    cluster_close(c);
}

/* ---- time that jumps --------------------------------------------------------------------------*/

static void jump_all(struct cluster *c, int64_t ms) {
    for (size_t i = 0; i < NODES; i++) {
        c->nodes[i].clock.offset_ms += ms;
    }
}

static bool suspended(struct node *node) {
    bnd_sim_env_enter(node->env);
    bool yes = bnd_raft_time_suspended(node->host, GID);
    bnd_sim_env_leave(node->env);
    return yes;
}

/* Confirms jumps to stamps of at most up_to_ms: what the group replied. */
static uint8_t confirm(struct cluster *c, uint64_t up_to_ms) {
    static struct attempt attempt;
    uint8_t command[BND_RAFT_CONFIRM_BYTES];
    attempt = (struct attempt){0};
    bnd_raft_confirm_time(up_to_ms, command);
    assert_int_equal(
        propose_wait(cluster_leader(c, GID), GID, &attempt, bnd_slice(command, sizeof command)), 0);
    assert_int_equal(attempt.waiting.reply_len, 1);
    return attempt.waiting.reply[0];
}

static void a_jump_suspends_until_it_is_confirmed(void **state) {
    (void)state;
    struct cluster *c = three(40);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 1);
    jump_all(c, 590000);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 2);
    assert_false(suspended(cluster_leader(c, GID)));
    jump_all(c, 610000);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 3);
    bnd_sim_run_for(c->world, SECOND);
    for (size_t i = 0; i < NODES; i++) {
        assert_true(suspended(&c->nodes[i]));
    }
    struct bnd_raft_group_status first = node_status(cluster_leader(c, GID), GID);
    assert_in_range(first.jump_to_ms - first.jump_from_ms, 610000, 620000);
    /* It is part of the state: crashes do not forget it. */
    for (size_t i = 0; i < NODES; i++) {
        node_crash(&c->nodes[i], BND_SIM_POWER);
        node_start(&c->nodes[i]);
    }
    assert_true(suspended(cluster_leader(c, GID)));
    /* A later jump is not what an operator has seen. */
    jump_all(c, 700000);
    assert_int_equal(confirm(c, first.jump_to_ms), 0);
    struct bnd_raft_group_status second = node_status(cluster_leader(c, GID), GID);
    assert_int_equal(second.jump_from_ms, first.jump_from_ms);
    assert_true(second.jump_to_ms >= first.jump_to_ms + 700000);
    assert_int_equal(confirm(c, second.jump_to_ms), 1);
    assert_int_equal(confirm(c, second.jump_to_ms), 0);
    bnd_sim_run_for(c->world, SECOND);
    for (size_t i = 0; i < NODES; i++) {
        assert_false(suspended(&c->nodes[i]));
    }
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 4);
    cluster_close(c);
}

/* Nobody writes for an hour: the group's time goes along, and nothing is suspended. */
static void a_quiet_hour_is_no_jump(void **state) {
    (void)state;
    struct cluster *c = three(41);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 1);
    bnd_sim_run_for(c->world, 3600 * SECOND);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 2);
    assert_false(suspended(cluster_leader(c, GID)));
    cluster_close(c);
}

static void a_malformed_command_of_the_host_is_refused(void **state) {
    (void)state;
    struct cluster *c = three(42);
    static const uint8_t commands[][2] = {{0, 1}, {0, 9}};
    for (size_t i = 0; i < 2; i++) {
        static struct attempt attempt;
        attempt = (struct attempt){0};
        assert_int_equal(propose_wait(cluster_leader(c, GID), GID, &attempt,
                                      bnd_slice(commands[i], sizeof commands[i])),
                         BND_INVALID);
    }
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_median_is_the_middle_one_or_the_nearest_of_two),
        cmocka_unit_test(the_time_of_a_group_never_falls),
        cmocka_unit_test(a_leader_whose_clock_is_off_hands_over),
        cmocka_unit_test(a_leader_near_the_median_stays),
        cmocka_unit_test(two_of_three_do_not_quarrel),
        cmocka_unit_test(where_all_clocks_differ_the_middle_one_leads),
        cmocka_unit_test(a_jump_suspends_until_it_is_confirmed),
        cmocka_unit_test(a_quiet_hour_is_no_jump),
        cmocka_unit_test(a_malformed_command_of_the_host_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
