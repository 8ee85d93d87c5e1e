/* Linearizable reads of a replica that follows: when they see a write, what is asked of the leader
 * and what it says, and that all of them end. */
#include "raft/readindex.h"
#include "tests/unit/raft/host_fixture.h"

/* Frames to and from one node; those of kind `hold` are not delivered but kept, the newest. */
struct tap {
    uint64_t node;
    enum read_frame_kind hold; /* 0: none */
    size_t asks, indexes;      /* seen */
    struct read_item asked, index;
    uint64_t round; /* of the newest ask */
    bool no_raft;   /* what Raft sends to the node is lost */
};

static bool tap_frame(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                      struct bnd_slice bytes) {
    struct tap *tap = data;
    struct read_frame frame;
    struct read_item item;
    if (kind == BND_MESH_RAFT) {
        return !tap->no_raft || to != tap->node;
    }
    if (kind != BND_MESH_READ || read_frame_decode(bytes, &frame, NULL) != 0) {
        return true;
    }
    read_frame_next(&frame, &item);
    if (frame.kind == READ_FRAME_INDEX_ASK && from == tap->node) {
        tap->asks++;
        tap->asked = item;
        tap->round = frame.round;
    } else if (frame.kind == READ_FRAME_INDEX && to == tap->node) {
        tap->indexes++;
        tap->index = item;
    }
    return frame.kind != tap->hold;
}

static void calm(struct cluster *c) {
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = net.slow_per_mille = 0;
    bnd_sim_net_configure(c->net, &net);
}

static void send_frame(struct node *from, uint64_t to, enum read_frame_kind kind, uint64_t round,
                       const struct read_item *item) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    read_frame_begin(&bytes, kind, round);
    read_frame_item(&bytes, kind, item);
    read_frame_end(&bytes, 1);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    bnd_sim_env_enter(from->env);
    assert_int_equal(
        from->mesh->ops->send(from->mesh, to, BND_MESH_CONTROL, BND_MESH_READ, &part, 1), 0);
    bnd_sim_env_leave(from->env);
    bnd_sim_run_for(from->cluster->world, 10 * BND_MS);
}

static int begin(struct node *node, struct reading *reading) {
    return read_begin(node, GID, reading, "a", bnd_raft_read_replica);
}

static int64_t read_here(struct node *node) {
    static struct reading reading;
    int rv = begin(node, &reading);
    if (rv != 0) {
        return rv;
    }
    assert_true(
        bnd_sim_run_until_true(node->cluster->world, is_done, &reading.waiting, 60 * SECOND));
    return reading.waiting.status == 0 ? (int64_t)bnd_get_u64(reading.waiting.reply)
                                       : reading.waiting.status;
}

/* On the leader, and on those that follow, who do not wait for a heartbeat to hear of it. */
static void every_replica_reads_what_was_acknowledged(void **state) {
    (void)state;
    struct cluster *c = three(51);
    calm(c);
    struct node *leader = cluster_leader(c, GID);
    for (int i = 1; i <= 60; i++) {
        assert_int_equal(add_one(leader, GID, "a"), i);
        uint64_t before = bnd_sim_world_now_ns(c->world);
        assert_int_equal(read_here(&c->nodes[i % NODES]), i);
        assert_true(bnd_sim_world_now_ns(c->world) - before < 45 * BND_MS);
    }
    cluster_close(c);
}

static void a_read_that_comes_after_the_question_goes_with_the_next(void **state) {
    (void)state;
    static struct reading first;
    static struct reading second;
    struct cluster *c = three(52);
    calm(c);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = other_than(c, leader);
    struct tap tap = {.node = follower->id, .hold = READ_FRAME_INDEX};
    assert_int_equal(add_one(leader, GID, "a"), 1);
    bnd_sim_run_for(c->world, SECOND);
    bnd_sim_net_filter(c->net, tap_frame, &tap);
    assert_int_equal(begin(follower, &first), 0);
    bnd_sim_run_for(c->world, 10 * BND_MS);
    assert_int_equal(tap.indexes, 1);
    assert_true(tap.index.ok);
    assert_int_equal(add_one(leader, GID, "a"), 2);
    assert_int_equal(begin(follower, &second), 0);
    bnd_sim_run_for(c->world, BND_MS);
    assert_int_equal(tap.asks, 1);
    tap.hold = 0;
    send_frame(leader, follower->id, READ_FRAME_INDEX, tap.round, &tap.index);
    assert_true(first.waiting.done && second.waiting.done);
    assert_int_equal(tap.asks, 2);
    assert_int_equal(second.waiting.status, 0);
    assert_int_equal(bnd_get_u64(second.waiting.reply), 2);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

static void only_the_answer_to_the_question_counts(void **state) {
    (void)state;
    struct cluster *c = three(53);
    calm(c);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = other_than(c, leader);
    struct node *third = NULL;
    for (size_t i = 0; i < NODES; i++) {
        third = &c->nodes[i] != leader && &c->nodes[i] != follower ? &c->nodes[i] : third;
    }
    struct tap tap = {.node = follower->id, .hold = READ_FRAME_INDEX};
    assert_int_equal(add_one(leader, GID, "a"), 1);
    bnd_sim_run_for(c->world, SECOND);
    bnd_sim_net_filter(c->net, tap_frame, &tap);
    for (int wrong = 0; wrong < 5; wrong++) {
        static struct reading reading;
        tap.hold = READ_FRAME_INDEX;
        assert_int_equal(begin(follower, &reading), 0);
        bnd_sim_run_for(c->world, 5 * BND_MS);
        struct read_item item = tap.index;
        tap.hold = 0;
        item.gid += wrong == 0;
        item.term += wrong == 1;
        item.ok = wrong != 2;
        send_frame(wrong == 3 ? third : leader, follower->id, READ_FRAME_INDEX,
                   tap.round + (wrong == 4), &item);
        assert_true(bnd_sim_run_until_true(c->world, is_done, &reading.waiting, SECOND));
        assert_int_equal(reading.waiting.status, wrong < 3 ? BND_NOTLEADER : BND_BUSY);
        assert_int_equal(begin(follower, &reading), BND_BUSY); /* for a second */
        bnd_sim_run_for(c->world, SECOND + SECOND / 10);
    }
    bnd_sim_net_filter(c->net, NULL, NULL);
    assert_int_equal(read_here(follower), 1);
    cluster_close(c);
}

/* Does it name an index to `from`, who says that it is in this term? */
static bool named(struct node *node, struct node *from, uint64_t term) {
    struct tap tap = {.node = from->id, .hold = READ_FRAME_INDEX};
    const struct read_item item = {.gid = GID, .term = term};
    bnd_sim_net_filter(node->cluster->net, tap_frame, &tap);
    for (int i = 0; i < 20 && tap.indexes == 0; i++) {
        send_frame(from, node->id, READ_FRAME_INDEX_ASK, 77, &item);
    }
    assert_true(tap.indexes > 0);
    bnd_sim_net_filter(node->cluster->net, NULL, NULL);
    return tap.index.ok;
}

static void only_the_leader_of_that_term_names_an_index(void **state) {
    (void)state;
    struct cluster *c = three(54);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = other_than(c, leader);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    bnd_sim_run_for(c->world, SECOND);
    uint64_t term = node_status(leader, GID).term;
    assert_true(named(leader, follower, term));
    assert_false(named(leader, follower, term - 1));
    assert_false(named(leader, follower, term + 1));
    assert_false(named(follower, leader, term));
    cluster_close(c);
}

/* With who does not vote a leader is no majority. */
static void who_does_not_vote_is_named_none(void **state) {
    (void)state;
    struct cluster *c = fresh(55);
    node_start(&c->nodes[0]);
    node_start(&c->nodes[1]);
    node_start(&c->nodes[2]);
    cluster_bootstrap(c, GID, 2);
    struct node *leader = cluster_leader(c, GID);
    struct node *voter = leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
    assert_int_equal(add_one(leader, GID, "a"), 1);
    uint64_t term = node_status(leader, GID).term;
    assert_true(named(leader, voter, term));
    assert_false(named(leader, &c->nodes[2], term));
    cluster_close(c);
}

/* It knows how far it would have to be, and is not told what is there. */
static void a_replica_that_stays_behind_says_so(void **state) {
    (void)state;
    static struct reading reading;
    struct cluster *c = three(56);
    calm(c);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = other_than(c, leader);
    struct tap tap = {.node = follower->id, .no_raft = true};
    assert_int_equal(add_one(leader, GID, "a"), 1);
    bnd_sim_run_for(c->world, SECOND);
    bnd_sim_net_filter(c->net, tap_frame, &tap);
    assert_int_equal(add_one(leader, GID, "a"), 2);
    assert_int_equal(begin(follower, &reading), 0);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &reading.waiting, SECOND / 5));
    assert_int_equal(reading.waiting.status, BND_BUSY);
    assert_true(tap.index.ok);
    bnd_sim_net_filter(c->net, NULL, NULL);
    bnd_sim_run_for(c->world, 2 * SECOND);
    assert_int_equal(read_here(follower), 2);
    cluster_close(c);
}

/* Whatever happens to the leader meanwhile. */
static void reads_end_when_leaders_do(void **state) {
    (void)state;
    static struct reading readings[200];
    struct cluster *c = three(57);
    size_t count = 0;
    int64_t value = 0;
    for (int round = 0; round < 5; round++) {
        struct node *leader = cluster_leader(c, GID);
        struct node *follower = other_than(c, leader);
        value = add_one(leader, GID, "a");
        assert_true(value > 0);
        for (int i = 0; i < 40; i++) {
            if (i == 20) {
                node_crash(leader, BND_SIM_KILL);
            }
            count += begin(follower, &readings[count]) == 0;
            bnd_sim_run_for(c->world, BND_MS / 2);
        }
        bnd_sim_run_for(c->world, SECOND / 5);
        for (size_t i = 0; i < count; i++) {
            assert_true(readings[i].waiting.done);
        }
        node_start(leader);
        bnd_sim_run_for(c->world, 5 * SECOND);
        count = 0;
    }
    assert_int_equal(read_here(other_than(c, cluster_leader(c, GID))), value);
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_replica_reads_what_was_acknowledged),
        cmocka_unit_test(a_read_that_comes_after_the_question_goes_with_the_next),
        cmocka_unit_test(only_the_answer_to_the_question_counts),
        cmocka_unit_test(only_the_leader_of_that_term_names_an_index),
        cmocka_unit_test(who_does_not_vote_is_named_none),
        cmocka_unit_test(a_replica_that_stays_behind_says_so),
        cmocka_unit_test(reads_end_when_leaders_do),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
