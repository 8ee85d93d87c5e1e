/* Followers far beyond the leader's log: the real host, over the simulated world. */
#include "tests/unit/raft/catchup_cluster.h"

static void a_lagging_follower_is_installed_and_can_lead(void **state) {
    (void)state;
    struct cluster *c = begin(1, 3);
    put_value(c, 1000, 10);
    struct node *behind = follower(c);
    lag(c, behind, 200, 4000);
    bnd_sim_net_heal(c->net);
    await_equal(c);
    assert_true(stats_of(behind).installs_received >= 1);
    /* It votes and leads: of the other two one dies, the other lags. */
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), i);
    }
    for (int tries = 0; cluster_leader(c, GID) != behind; tries++) {
        assert_true(tries < 20);
        struct node *leader = cluster_leader(c, GID);
        node_crash(leader, BND_SIM_POWER);
        (void)cluster_leader(c, GID);
        node_start(leader);
        await_equal(c);
    }
    assert_int_equal(read_counter(behind, GID, "a"), 3);
    assert_int_equal(add_one(behind, GID, "a"), 4);
    cluster_close(c);
}

static void joiners_get_what_the_log_has_lost(void **state) {
    (void)state;
    struct cluster *c = begin(2, 1);
    for (unsigned i = 0; i < 200; i++) {
        put_value(c, i, 4000);
    }
    want_all(c);
    await_equal(c);
    for (size_t i = 1; i < NODES; i++) {
        assert_true(stats_of(&c->nodes[i]).installs_received >= 1);
        struct bnd_raft_group_status status = node_status(&c->nodes[i], GID);
        assert_int_equal(status.members_count, NODES);
    }
    cluster_close(c);
}

/* Of the nodes that are to join: each has its own. */
static void set_pace(struct cluster *c, uint64_t bytes_per_s) {
    static struct bnd_pacer pacers[NODES];
    for (size_t i = 1; i < NODES; i++) {
        node_crash(&c->nodes[i], BND_SIM_KILL);
        pacers[i] = (struct bnd_pacer){.bytes_per_s = bytes_per_s};
        c->config.pacer = &pacers[i];
        node_start(&c->nodes[i]);
        c->nodes[i].wants_groups = true;
    }
}

/* A state of some 3 MB at 500 kB per second takes 6 s; without a bound it takes less than one. */
static void a_state_is_taken_in_at_the_pace(void **state) {
    (void)state;
    struct cluster *c = begin(5, 1);
    set_pace(c, 500000);
    for (unsigned i = 0; i < 100; i++) {
        put_value(c, i, 30000);
    }
    uint64_t began = bnd_sim_world_now_ns(c->world);
    want_all(c);
    await_equal(c);
    uint64_t took = bnd_sim_world_now_ns(c->world) - began;
    assert_true(stats_of(&c->nodes[1]).installs_received >= 1);
    assert_true(took > 4 * SECOND);
    assert_true(took < 20 * SECOND);
    cluster_close(c);
}

/* Writes that come faster than the pace are pulled nevertheless: the sender could not keep them. */
static void a_pace_below_the_writes_does_not_hold_a_joiner_up(void **state) {
    (void)state;
    struct cluster *c = begin(6, 1);
    node_crash(&c->nodes[0], BND_SIM_POWER);
    c->config.log_bytes_group_max = 1u << 20; /* else who has arrived falls behind at every hitch */
    node_start(&c->nodes[0]);
    set_pace(c, 100000);
    for (unsigned i = 0; i < 100; i++) {
        put_value(c, i, 30000);
    }
    load_start(&load, c, GID, 16000);
    want_all(c);
    assert_true(bnd_sim_run_until_true(c->world, all_voters, c, 300 * SECOND));
    load_stop(&load);
    await_equal(c);
    cluster_close(c);
}

/* The log turns over many times while the state is on its way; writes never stop. */
static void a_busy_group_takes_joiners_in(void **state) {
    (void)state;
    struct cluster *c = begin(3, 1);
    for (unsigned i = 0; i < 400; i++) {
        put_value(c, i, 30000);
    }
    load_start(&load, c, GID, 16000);
    bnd_sim_run_for(c->world, SECOND);
    want_all(c);
    assert_true(bnd_sim_run_until_true(c->world, all_voters, c, 120 * SECOND));
    load_stop(&load);
    await_equal(c);
    assert_true(load.longest_ns < 2 * SECOND);
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "load"), load.acknowledged);
    cluster_close(c);
}

static void an_installed_state_survives_a_crash(void **state) {
    (void)state;
    struct cluster *c = begin(4, 3);
    struct node *behind = follower(c);
    lag(c, behind, 200, 4000);
    bnd_sim_net_heal(c->net);
    await_equal(c);
    node_crash(behind, BND_SIM_POWER);
    node_start(behind);
    await_equal(c);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 1);
    cluster_close(c);
}

struct deafness {
    uint64_t from; /* its good news to the leader are lost */
    bool on;
};

static bool loses_good_news(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                            struct bnd_slice bytes) {
    const struct deafness *deafness = data;
    struct bnd_message message;
    (void)to;
    if (!deafness->on || from != deafness->from || kind != BND_MESH_RAFT ||
        bnd_message_decode(bytes, &message, NULL) != 0) {
        return true;
    }
    bool good = message.type == BND_MESSAGE_APPEND_RESULT && message.append_result.rejected == 0;
    bnd_message_release(&message);
    return !good;
}

static bool is_installed(void *node) {
    return stats_of(node).installs_received > 0 &&
           node_status(node, GID).state != BND_RAFT_INSTALLING;
}

/* The leader goes on to wait for a state that has long arrived: it is told again. */
static void an_install_whose_answer_is_lost_is_told_again(void **state) {
    (void)state;
    struct cluster *c = begin(5, 3);
    struct node *behind = follower(c);
    struct deafness deafness = {.from = behind->id, .on = true};
    lag(c, behind, 200, 4000);
    bnd_sim_net_filter(c->net, loses_good_news, &deafness);
    bnd_sim_net_heal(c->net);
    assert_true(bnd_sim_run_until_true(c->world, is_installed, behind, 60 * SECOND));
    put_value(c, 1, 100); /* it is behind again, by a little, and can refuse heartbeats only */
    bnd_sim_run_for(c->world, SECOND);
    deafness.on = false;
    await_equal(c);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

static bool is_whole(void *node) {
    return stats_of(node).installs_received > 0;
}

/* As before, but nothing can be committed without the one that is behind, which waits for entries.
 */
static void an_install_that_everyone_waits_for_is_told_again(void **state) {
    (void)state;
    static struct attempt attempt;
    struct cluster *c = begin(6, 3);
    struct node *behind = follower(c);
    struct node *leader = cluster_leader(c, GID);
    struct deafness deafness = {.from = behind->id, .on = true};
    lag(c, behind, 200, 4000);
    assert_ptr_equal(cluster_leader(c, GID), leader);
    bnd_sim_net_filter(c->net, loses_good_news, &deafness);
    bnd_sim_net_heal(c->net);
    assert_true(bnd_sim_run_until_true(c->world, is_whole, behind, 60 * SECOND));
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != leader && &c->nodes[i] != behind) {
            node_crash(&c->nodes[i], BND_SIM_KILL);
        }
    }
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_add(&command, bnd_slice_str("a"), 1);
    attempt = (struct attempt){0};
    assert_int_equal(propose_start(leader, GID, &attempt, bnd_buf_slice(&command)), 0);
    bnd_sim_run_for(c->world, SECOND / 2); /* below what makes the leader give up */
    deafness.on = false;
    await_equal(c);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lagging_follower_is_installed_and_can_lead),
        cmocka_unit_test(joiners_get_what_the_log_has_lost),
        cmocka_unit_test(a_state_is_taken_in_at_the_pace),
        cmocka_unit_test(a_pace_below_the_writes_does_not_hold_a_joiner_up),
        cmocka_unit_test(a_busy_group_takes_joiners_in),
        cmocka_unit_test(an_installed_state_survives_a_crash),
        cmocka_unit_test(an_install_whose_answer_is_lost_is_told_again),
        cmocka_unit_test(an_install_that_everyone_waits_for_is_told_again),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
