/* Members of the cluster's CA that say they are somebody else: who calls, and who is called. */
#include "net/conn.h"
#include "net/frame.h"
#include "net/tls.h"
#include "tests/unit/net/mesh_nodes.h"

/* A peer made by hand: TLS with some node's certificate, and the hello that the test says. */
struct hand {
    struct cluster *c;
    struct bnd_tls_context *tls;
    struct bnd_connect connect;
    struct bnd_listener *listener;
    char address[BND_ADDRESS_MAX];
    struct bnd_conn *conn; /* the newest */
    struct bnd_hello hello;
    struct bnd_buf heard;
    bool calls; /* else it is called */
    bool ended;
    bool closed;
};

static void say(struct hand *hand) {
    uint8_t bytes[BND_FRAME_HELLO_BYTES];
    bnd_hello_encode(&hand->hello, bytes);
    struct bnd_iov iov = {bytes, sizeof bytes};
    assert_int_equal(bnd_conn_try_write(hand->conn, &iov, 1), sizeof bytes);
}

static void hand_open(void *owner) {
    struct hand *hand = owner;
    if (hand->calls) {
        say(hand);
    }
}

static void hand_read(void *owner, const uint8_t *data, size_t len) {
    struct hand *hand = owner;
    size_t before = hand->heard.len;
    bnd_buf_append(&hand->heard, data, len);
    if (!hand->calls && before < BND_FRAME_HELLO_BYTES &&
        hand->heard.len >= BND_FRAME_HELLO_BYTES) {
        say(hand);
    }
}

static void hand_end(void *owner, int status) {
    ((struct hand *)owner)->ended = true;
}

static const struct bnd_conn_events hand_events = {
    .on_open = hand_open, .on_read = hand_read, .on_end = hand_end};

static void hand_take(struct hand *hand, struct bnd_stream *stream) {
    struct bnd_conn_options options = {
        .env = hand->c->real.env, .stream = stream, .tls = hand->tls};
    assert_int_equal(bnd_conn_create(&options, &hand->conn), 0);
    bnd_conn_bind(hand->conn, &hand_events, hand);
    bnd_conn_read(hand->conn, true);
}

static void hand_connected(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    assert_int_equal(status, 0);
    hand_take(connect->data, stream);
}

/* The first connection only: who was refused may come again. */
static void hand_accepted(void *owner, struct bnd_stream *stream) {
    struct hand *hand = owner;
    if (hand->conn != NULL) {
        hand->c->real.env->ops->stream_close(hand->c->real.env, stream, NULL, NULL);
        return;
    }
    hand_take(hand, stream);
}

/* cluster_number and node are what its certificate says. */
static void hand_start(struct hand *hand, struct cluster *c, uint8_t cluster_number, uint64_t node,
                       enum bnd_tls_role role) {
    struct bnd_error err;
    struct bnd_env *env = c->real.env;
    memset(hand, 0, sizeof *hand);
    hand->c = c;
    hand->calls = role == BND_TLS_CLIENT;
    certs_leaf(&c->real, cluster_number, node, &c->certs);
    struct bnd_tls_config config = {.role = role,
                                    .verify = BND_TLS_VERIFY_CA,
                                    .certificate_pem = bnd_buf_slice(&c->certs.cert),
                                    .key_pem = bnd_buf_slice(&c->certs.key),
                                    .ca_pem = bnd_buf_slice(&c->certs.ca)};
    assert_int_equal(bnd_tls_context_create(&config, &hand->tls, &err), 0);
    hand->hello = (struct bnd_hello){1, 1, 0, BND_HELLO_OK, {CLUSTER}, 2, 1};
    if (hand->calls) {
        hand->connect = (struct bnd_connect){.cb = hand_connected, .data = hand};
        assert_int_equal(env->ops->connect(env, c->nodes[0].address, &hand->connect, &err), 0);
    } else {
        assert_int_equal(
            env->ops->listen(env, "127.0.0.1:0", 8, hand_accepted, hand, &hand->listener, &err), 0);
        env->ops->listener_address(env, hand->listener, hand->address);
    }
}

static void hand_stop(struct hand *hand) {
    if (hand->listener != NULL) {
        hand->c->real.env->ops->listener_close(hand->c->real.env, hand->listener);
    }
    bnd_conn_close(hand->conn, real_set, &hand->closed);
    real_run(&hand->c->real, real_is_set, &hand->closed);
    bnd_tls_context_destroy(hand->tls);
    bnd_buf_free(&hand->heard);
}

static bool hand_ended(void *data) {
    return ((struct hand *)data)->ended;
}

static bool first_is_up(void *data) {
    struct cluster *c = data;
    return c->nodes[0].mesh->ops->up(c->nodes[0].mesh, 2);
}

/* Who calls with a right hello and a certificate of the same CA for another cluster. */
static void test_a_caller_of_another_cluster(void **state) {
    struct cluster c;
    struct hand hand;
    struct bnd_hello answer;
    cluster_start(&c, 1);
    assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[0].tcp, 2, "127.0.0.1:1"), 0);
    hand_start(&hand, &c, CLUSTER + 1, 2, BND_TLS_CLIENT);
    real_run(&c.real, hand_ended, &hand);
    assert_true(hand.heard.len >= BND_FRAME_HELLO_BYTES);
    assert_int_equal(bnd_hello_decode(hand.heard.data, &answer), 0);
    assert_int_equal(answer.status, BND_HELLO_CLUSTER);
    assert_false(first_is_up(&c));
    hand_stop(&hand);
    cluster_stop(&c);
}

/* Node 1 calls node 2 and gets somebody. True: it believes that this is node 2. */
static bool believes(uint8_t cluster_number, uint64_t node, const struct bnd_hello *hello) {
    struct cluster c;
    struct hand hand;
    cluster_start(&c, 1);
    hand_start(&hand, &c, cluster_number, node, BND_TLS_SERVER);
    hand.hello = *hello;
    assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[0].tcp, 2, hand.address), 0);
    bool ends = !real_run_for(&c.real, 20 * BND_MS, first_is_up, &c) &&
                real_run_for(&c.real, REAL_PATIENCE_NS, hand_ended, &hand);
    bool up = first_is_up(&c);
    assert_true(up || ends);
    hand_stop(&hand);
    cluster_stop(&c);
    return up;
}

static bool right_is_up(void *data) {
    return first_is_up(data);
}

static void test_who_is_called_must_be_who_it_is(void **state) {
    static const struct bnd_hello right = {1, 1, 0, BND_HELLO_OK, {CLUSTER}, 2, 1};
    struct cluster c;
    struct hand hand;
    cluster_start(&c, 1);
    hand_start(&hand, &c, CLUSTER, 2, BND_TLS_SERVER);
    assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[0].tcp, 2, hand.address), 0);
    real_run(&c.real, right_is_up, &c); /* such a one is believed */
    hand_stop(&hand);
    cluster_stop(&c);
    assert_false(believes(CLUSTER, 3, &right));
    assert_false(believes(CLUSTER + 1, 2, &right));
    const struct bnd_hello wrong[] = {
        {1, 1, 0, BND_HELLO_OK, {CLUSTER + 1}, 2, 1}, {1, 1, 0, BND_HELLO_OK, {CLUSTER}, 3, 1},
        {1, 1, 0, BND_HELLO_OK, {CLUSTER}, 2, 5},     {1, 1, 1, BND_HELLO_OK, {CLUSTER}, 2, 1},
        {2, 1, 0, BND_HELLO_OK, {CLUSTER}, 2, 1},     {1, 1, 0, BND_HELLO_UNKNOWN, {CLUSTER}, 2, 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (believes(CLUSTER, 2, &wrong[i])) {
            fail_msg("hello %zu", i);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_caller_of_another_cluster),
        cmocka_unit_test(test_who_is_called_must_be_who_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
