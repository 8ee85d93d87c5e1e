/* When a message leaves: what a promise in it says is on the disk by then, and nothing overtakes.
 * The transport alone, with a mesh that notes what it is given. */
#include "raft/host_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct sender {
    struct bnd_mesh mesh;
    struct bnd_raft_host host;
    struct group group;
    uint64_t terms[8]; /* of what was sent */
    size_t sent;
};

static int note(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane,
                enum bnd_mesh_kind kind, const struct bnd_slice *parts, size_t count) {
    struct sender *s = BND_CONTAINER(mesh, struct sender, mesh);
    struct bnd_message message;
    assert_int_equal(kind, BND_MESH_RAFT);
    assert_int_equal(count, 1);
    assert_int_equal(bnd_message_decode(parts[0], &message, NULL), 0);
    s->terms[s->sent++] = message.term;
    bnd_message_release(&message);
    return 0;
}

static const struct bnd_mesh_ops ops = {.send = note};

static int setup(void **state) {
    struct sender *s = calloc(1, sizeof *s);
    s->mesh.ops = &ops;
    s->host.config.mesh = &s->mesh;
    s->group.host = &s->host;
    bnd_list_init(&s->group.held);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct sender *s = *state;
    transport_forget(&s->group);
    assert_int_equal(s->host.held_bytes, 0);
    bnd_buf_free(&s->host.frame);
    free(s);
    return 0;
}

static int send_vote(struct sender *s, uint64_t term, uint64_t after_op) {
    struct bnd_message message = {.gid = 1,
                                  .to = 2,
                                  .type = BND_MESSAGE_VOTE_RESULT,
                                  .term = term,
                                  .vote_result = {.granted = true}};
    return transport_send(&s->group, &message, after_op);
}

static void durable(struct sender *s, uint64_t op) {
    s->group.ops.durable = op;
    transport_release(&s->group);
}

static void each_waits_for_its_own_record(void **state) {
    struct sender *s = *state;
    assert_int_equal(send_vote(s, 1, 0), 0);
    assert_int_equal(s->sent, 1);
    assert_int_equal(send_vote(s, 2, 5), 0);
    assert_int_equal(send_vote(s, 3, 7), 0);
    durable(s, 4);
    assert_int_equal(s->sent, 1);
    durable(s, 5);
    assert_int_equal(s->sent, 2);
    durable(s, 6);
    assert_int_equal(s->sent, 2);
    durable(s, 7);
    assert_int_equal(s->sent, 3);
    assert_int_equal(send_vote(s, 4, 7), 0);
    assert_int_equal(s->sent, 4);
}

static void nothing_overtakes_what_waits(void **state) {
    struct sender *s = *state;
    assert_int_equal(send_vote(s, 1, 1), 0);
    assert_int_equal(send_vote(s, 2, 0), 0);
    assert_int_equal(s->sent, 0);
    durable(s, 1);
    assert_int_equal(s->sent, 2);
    assert_int_equal(s->terms[0], 1);
    assert_int_equal(s->terms[1], 2);
}

static void a_dead_host_says_nothing(void **state) {
    struct sender *s = *state;
    assert_int_equal(send_vote(s, 1, 1), 0);
    s->host.dead = true;
    assert_int_equal(send_vote(s, 2, 0), BND_CLOSED);
    durable(s, 1);
    assert_int_equal(s->sent, 0);
}

static void what_waits_is_bounded(void **state) {
    struct sender *s = *state;
    size_t count = 0;
    while (send_vote(s, 1, 1) == 0) {
        count++;
        assert_true(s->host.held_bytes <= HELD_BYTES_MAX);
    }
    assert_int_equal(send_vote(s, 1, 1), BND_FULL);
    assert_true(count > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_waits_for_its_own_record, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_overtakes_what_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_host_says_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_is_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
