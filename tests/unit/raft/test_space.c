/* Disks that fill up: who leads then, what is refused, what a follower still takes. */
#include "tests/unit/raft/host_fixture.h"

static void space(struct node *node, enum bnd_raft_space value) {
    bnd_sim_env_enter(node->env);
    bnd_raft_host_space(node->host, value);
    bnd_sim_env_leave(node->env);
}

/* Long enough for heartbeats to tell the leader, or for a hand-over. */
static void settle(struct cluster *c) {
    bnd_sim_run_for(c->world, 3 * SECOND);
}

static int delete_key(struct node *node, const char *key) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    kv_delete(&command, bnd_slice_str(key));
    static struct attempt attempt;
    attempt = (struct attempt){0};
    return propose_wait(node, GID, &attempt, bnd_buf_slice(&command));
}

static uint64_t last_index(struct node *node) {
    return node_status(node, GID).last_index;
}

static struct node *third(struct cluster *c, const struct node *a, const struct node *b) {
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != a && &c->nodes[i] != b) {
            return &c->nodes[i];
        }
    }
    return NULL;
}

static void a_leader_without_room_hands_over(void **state) {
    (void)state;
    struct cluster *c = three(60);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    space(leader, BND_RAFT_SPACE_LOW);
    assert_int_equal(add_one(leader, GID, "a"), BND_BUSY); /* until another leads */
    assert_int_equal(delete_key(leader, "b"), 0);
    settle(c);
    struct node *next = cluster_leader(c, GID);
    assert_ptr_not_equal(next, leader);
    assert_int_equal(add_one(next, GID, "a"), 2);
    assert_int_equal(bnd_raft_node_space(next->host, leader->id), BND_RAFT_SPACE_LOW);
    settle(c);
    assert_ptr_equal(cluster_leader(c, GID), next);
    cluster_close(c);
}

static void a_majority_without_room_takes_only_deletes(void **state) {
    (void)state;
    struct cluster *c = three(61);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    struct node *second = other_than(c, leader);
    space(second, BND_RAFT_SPACE_LOW);
    settle(c);
    assert_int_equal(add_one(leader, GID, "a"), 2); /* two of three have room */
    space(third(c, leader, second), BND_RAFT_SPACE_LOW);
    settle(c);
    assert_ptr_equal(cluster_leader(c, GID), leader);
    assert_int_equal(add_one(leader, GID, "a"), BND_NOSPACE);
    assert_int_equal(delete_key(leader, "a"), 0);
    assert_int_equal(read_counter(leader, GID, "a"), BND_NOTFOUND);
    space(second, BND_RAFT_SPACE_OK);
    settle(c);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    cluster_close(c);
}

/* One disk nearly full and one node down: the full one would have to take every entry. */
static void a_node_that_is_down_has_no_room(void **state) {
    (void)state;
    struct cluster *c = three(62);
    struct node *leader = cluster_leader(c, GID);
    struct node *second = other_than(c, leader);
    node_crash(third(c, leader, second), BND_SIM_POWER);
    space(second, BND_RAFT_SPACE_LOW);
    settle(c);
    assert_int_equal(add_one(leader, GID, "a"), BND_NOSPACE);
    assert_int_equal(delete_key(leader, "a"), 0);
    cluster_close(c);
}

static void a_follower_without_any_room_takes_no_entry(void **state) {
    (void)state;
    struct cluster *c = three(63);
    struct node *leader = cluster_leader(c, GID);
    struct node *full = other_than(c, leader);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    settle(c);
    space(full, BND_RAFT_SPACE_NONE);
    uint64_t before = last_index(full);
    for (int i = 2; i < 20; i++) {
        assert_int_equal(add_one(leader, GID, "a"), i);
    }
    settle(c);
    assert_int_equal(last_index(full), before);
    assert_ptr_equal(cluster_leader(c, GID), leader); /* heartbeats are answered */
    space(full, BND_RAFT_SPACE_OK);
    settle(c);
    assert_int_equal(last_index(full), last_index(leader));
    cluster_close(c);
}

static void a_majority_without_any_room_takes_nothing_and_reads(void **state) {
    (void)state;
    struct cluster *c = three(64);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    for (size_t i = 0; i < NODES; i++) {
        space(&c->nodes[i], BND_RAFT_SPACE_NONE);
    }
    settle(c); /* perhaps an election: the leader was the first to know */
    leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), BND_NOSPACE);
    assert_int_equal(delete_key(leader, "a"), BND_NOSPACE);
    assert_int_equal(read_counter(leader, GID, "a"), 1);
    node_crash(leader, BND_SIM_POWER);
    settle(c);
    assert_int_equal(read_counter(cluster_leader(c, GID), GID, "a"), 1);
    node_start(leader);
    for (size_t i = 0; i < NODES; i++) {
        space(&c->nodes[i], BND_RAFT_SPACE_OK);
    }
    settle(c);
    assert_int_equal(add_one(cluster_leader(c, GID), GID, "a"), 2);
    cluster_close(c);
}

/* What was heard long ago, as the leader of then, says nothing. */
static void old_words_are_forgotten(void **state) {
    (void)state;
    struct cluster *c = three(65);
    struct node *leader = cluster_leader(c, GID);
    struct node *second = other_than(c, leader);
    space(second, BND_RAFT_SPACE_LOW);
    settle(c);
    uint64_t id = second->id;
    assert_int_equal(bnd_raft_node_space(leader->host, id), BND_RAFT_SPACE_LOW);
    node_crash(second, BND_SIM_POWER);
    bnd_sim_run_for(c->world, 6 * SECOND);
    assert_int_equal(bnd_raft_node_space(leader->host, id), BND_RAFT_SPACE_OK);
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_without_room_hands_over),
        cmocka_unit_test(a_majority_without_room_takes_only_deletes),
        cmocka_unit_test(a_node_that_is_down_has_no_room),
        cmocka_unit_test(a_follower_without_any_room_takes_no_entry),
        cmocka_unit_test(a_majority_without_any_room_takes_nothing_and_reads),
        cmocka_unit_test(old_words_are_forgotten),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
