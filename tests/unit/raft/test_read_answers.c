/* Which answers confirm a read, and which asks are confirmed: the peers' frames are taken away and
 * made by the test. */
#include "raft/readindex.h"
#include "tests/unit/raft/host_fixture.h"

/* The frames that node `from` asks, and that it answers: the newest of each peer, none is
 * delivered. */
struct frames {
    uint64_t from;
    uint64_t round[NODES + 1]; /* of the newest ask, by peer */
    uint64_t term;
    size_t asks;
    bool answer_seen, answer_ok;
};

static bool take(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                 struct bnd_slice bytes) {
    struct frames *frames = data;
    struct read_frame frame;
    struct read_item item;
    if (kind != BND_MESH_READ || from != frames->from ||
        read_frame_decode(bytes, &frame, NULL) != 0) {
        return true;
    }
    read_frame_next(&frame, &item);
    if (frame.kind == READ_FRAME_ANSWER) {
        frames->answer_seen = true;
        frames->answer_ok = item.ok;
        return false;
    }
    frames->round[to] = frame.round;
    frames->term = item.term;
    frames->asks++;
    return false;
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
    bnd_sim_run_for(from->cluster->world, 20 * BND_MS);
}

static void only_an_answer_that_fits_confirms(void **state) {
    (void)state;
    struct cluster *c = three(41);
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = net.slow_per_mille = 0;
    bnd_sim_net_configure(c->net, &net);
    struct node *leader = cluster_leader(c, GID);
    struct node *peer = other_than(c, leader);
    struct frames frames = {.from = leader->id};
    static struct reading reading;
    assert_int_equal(add_one(leader, GID, "a"), 1);
    bnd_sim_net_filter(c->net, take, &frames);
    assert_int_equal(read_start(leader, GID, &reading, "a"), 0);
    bnd_sim_run_for(c->world, 20 * BND_MS);
    assert_true(frames.asks > 0);
    for (int wrong = 0; wrong < 4; wrong++) {
        size_t asks = frames.asks;
        const struct read_item item = {
            .gid = GID + (wrong == 1), .term = frames.term + (wrong == 2), .ok = wrong != 0};
        send_frame(peer, leader->id, READ_FRAME_ANSWER, frames.round[peer->id] + (wrong == 3),
                   &item);
        assert_false(reading.waiting.done);
        for (int i = 0; i < 40 && frames.asks == asks && wrong != 3; i++) { /* it is asked again */
            bnd_sim_run_for(c->world, 20 * BND_MS);
        }
        assert_false(reading.waiting.done);
    }
    const struct read_item item = {.gid = GID, .term = frames.term, .ok = true};
    send_frame(peer, leader->id, READ_FRAME_ANSWER, frames.round[peer->id], &item);
    assert_true(reading.waiting.done);
    assert_int_equal(reading.waiting.status, 0);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

/* A yes to an earlier read was said before this one began: another leader may have written since.
 */
static void an_answer_to_an_earlier_read_confirms_none_after_it(void **state) {
    (void)state;
    struct cluster *c = three(44);
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = net.slow_per_mille = 0;
    bnd_sim_net_configure(c->net, &net);
    struct node *leader = cluster_leader(c, GID);
    struct node *quick = other_than(c, leader);
    struct node *slow = NULL;
    for (size_t i = 0; i < NODES; i++) {
        slow = &c->nodes[i] != leader && &c->nodes[i] != quick ? &c->nodes[i] : slow;
    }
    static struct reading first;
    static struct reading second;
    struct frames frames = {.from = leader->id};
    assert_int_equal(add_one(leader, GID, "a"), 1);
    bnd_sim_net_filter(c->net, take, &frames);
    assert_int_equal(read_start(leader, GID, &first, "a"), 0);
    bnd_sim_run_for(c->world, 20 * BND_MS);
    uint64_t late = frames.round[slow->id];
    const struct read_item yes = {.gid = GID, .term = frames.term, .ok = true};
    send_frame(quick, leader->id, READ_FRAME_ANSWER, frames.round[quick->id], &yes);
    assert_true(first.waiting.done);
    assert_int_equal(read_start(leader, GID, &second, "a"), 0);
    bnd_sim_run_for(c->world, 20 * BND_MS);
    assert_int_equal(frames.round[slow->id], late); /* it is still to be answered */
    send_frame(slow, leader->id, READ_FRAME_ANSWER, late, &yes);
    assert_false(second.waiting.done);
    send_frame(quick, leader->id, READ_FRAME_ANSWER, frames.round[quick->id], &yes);
    assert_true(second.waiting.done);
    assert_int_equal(second.waiting.status, 0);
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

static void half_of_the_voters_is_no_majority(void **state) {
    (void)state;
    struct cluster *c = fresh(43);
    static struct reading reading;
    node_start(&c->nodes[0]);
    node_start(&c->nodes[1]);
    cluster_bootstrap(c, GID, 2);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    struct frames frames = {.from = leader->id};
    bnd_sim_net_filter(c->net, take, &frames);
    assert_int_equal(read_start(leader, GID, &reading, "a"), 0);
    bnd_sim_run_for(c->world, SECOND / 4);
    assert_true(frames.asks > 0);
    assert_false(reading.waiting.done);
    bnd_sim_net_filter(c->net, NULL, NULL);
    assert_true(bnd_sim_run_until_true(c->world, is_done, &reading.waiting, 60 * SECOND));
    cluster_close(c);
}

/* Does `node` confirm to `from` that it is in this term under it? */
static bool confirmed(struct node *node, struct node *from, uint64_t term) {
    struct frames frames = {.from = node->id};
    const struct read_item item = {.gid = GID, .term = term};
    bnd_sim_net_filter(node->cluster->net, take, &frames);
    for (int i = 0; i < 20 && !frames.answer_seen; i++) {
        send_frame(from, node->id, READ_FRAME_ASK, 77, &item);
    }
    assert_true(frames.answer_seen);
    bnd_sim_net_filter(node->cluster->net, NULL, NULL);
    return frames.answer_ok;
}

static void only_a_follower_of_that_leader_and_term_confirms(void **state) {
    (void)state;
    struct cluster *c = three(42);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = NULL;
    struct node *third = NULL;
    for (size_t i = 0; i < NODES; i++) {
        if (&c->nodes[i] != leader) {
            follower = follower == NULL ? &c->nodes[i] : follower;
            third = &c->nodes[i];
        }
    }
    bnd_sim_run_for(c->world, SECOND);
    uint64_t term = node_status(follower, GID).term;
    assert_true(confirmed(follower, leader, term));
    assert_false(confirmed(follower, leader, term + 1));
    assert_false(confirmed(follower, leader, term - 1));
    assert_false(confirmed(follower, third, term)); /* which does not lead */
    assert_false(confirmed(leader, third, term));   /* it leads itself */
    cluster_close(c);
}

/* Each begins while the one before it is asked about: they share rounds, and no round is begun
 * anew. */
static void reads_that_keep_coming_are_answered_all_the_same(void **state) {
    (void)state;
    enum { COUNT = 400 };
    static struct reading readings[COUNT];
    struct cluster *c = three(46);
    struct node *leader = cluster_leader(c, GID);
    assert_int_equal(add_one(leader, GID, "a"), 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(read_start(leader, GID, &readings[i], "a"), 0);
        bnd_sim_run_for(c->world, BND_MS / 4);
    }
    assert_true(readings[0].waiting.done); /* a tenth of a second later */
    assert_true(
        bnd_sim_run_until_true(c->world, is_done, &readings[COUNT - 1].waiting, 60 * SECOND));
    cluster_close(c);
}

/* Nothing of the groups gets through but what the test sends; answers to asks are seen. */
static bool take_all(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                     struct bnd_slice bytes) {
    struct bnd_message message;
    if (kind != BND_MESH_RAFT || bnd_message_decode(bytes, &message, NULL) != 0) {
        return take(data, from, to, kind, bytes);
    }
    bool ours = message.type == BND_MESSAGE_APPEND && message.term > ((struct frames *)data)->term;
    bnd_message_release(&message);
    return ours;
}

/* It follows a new leader, but after a crash now it would not know of that. */
static void a_term_that_is_not_on_disk_confirms_nothing(void **state) {
    (void)state;
    struct cluster *c = three(45);
    struct node *leader = cluster_leader(c, GID);
    struct node *follower = other_than(c, leader);
    bnd_sim_run_for(c->world, SECOND);
    struct bnd_raft_group_status status = node_status(follower, GID);
    struct frames frames = {.from = follower->id, .term = status.term};
    struct bnd_message heartbeat = {.gid = GID,
                                    .term = status.term + 1,
                                    .type = BND_MESSAGE_APPEND,
                                    .append = {.prev_index = 1, .prev_term = 1}};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_message_encode(&heartbeat, &bytes);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    const struct read_item item = {.gid = GID, .term = heartbeat.term};
    bnd_sim_net_filter(c->net, take_all, &frames);
    bnd_sim_disk_stall(follower->disk, SECOND / 5);
    for (int i = 0; i < 10 && node_status(follower, GID).term == status.term; i++) {
        bnd_sim_env_enter(leader->env);
        assert_int_equal(leader->mesh->ops->send(leader->mesh, follower->id, BND_MESH_CONTROL,
                                                 BND_MESH_RAFT, &part, 1),
                         0);
        bnd_sim_env_leave(leader->env);
        bnd_sim_run_for(c->world, 10 * BND_MS);
    }
    assert_int_equal(node_status(follower, GID).term, heartbeat.term);
    for (int i = 0; i < 5 && !frames.answer_seen; i++) {
        send_frame(leader, follower->id, READ_FRAME_ASK, 77, &item);
    }
    assert_true(frames.answer_seen);
    assert_false(frames.answer_ok);
    bnd_sim_run_for(c->world, SECOND / 5);
    frames.answer_seen = false;
    for (int i = 0; i < 20 && !frames.answer_seen; i++) {
        send_frame(leader, follower->id, READ_FRAME_ASK, 78, &item);
    }
    assert_true(frames.answer_ok);
    for (size_t i = 0; i < NODES; i++) { /* what the test has said is not to be lived with */
        node_crash(&c->nodes[i], BND_SIM_KILL);
    }
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_an_answer_that_fits_confirms),
        cmocka_unit_test(an_answer_to_an_earlier_read_confirms_none_after_it),
        cmocka_unit_test(half_of_the_voters_is_no_majority),
        cmocka_unit_test(only_a_follower_of_that_leader_and_term_confirms),
        cmocka_unit_test(a_term_that_is_not_on_disk_confirms_nothing),
        cmocka_unit_test(reads_that_keep_coming_are_answered_all_the_same),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
