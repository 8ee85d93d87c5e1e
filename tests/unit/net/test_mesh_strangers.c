/* The mesh over real sockets: who is refused, and who may ask to join. */
#include "net/conn.h"
#include "net/frame.h"
#include "net/tls.h"
#include "tests/unit/net/mesh_nodes.h"

/* ---- strangers
 * ------------------------------------------------------------------------------------------ */

struct reason {
    const char *log;
    const char *text;
};

static bool log_gives(void *data) {
    struct reason *reason = data;
    return strstr(reason->log, reason->text) != NULL;
}

/* Node 2 is replaced by one of another CA or cluster, on the same address. */
static void intruder(uint8_t ca_number, bool same_ca, const char *reason) {
    struct cluster c;
    cluster_start(&c, 2);
    real_run(&c.real, all_up, &c);
    node_stop(&c.nodes[1]);
    struct certs foreign = {0};
    struct certs *certs = same_ca ? &c.certs : &foreign;
    struct bnd_error err = {0};
    char address[BND_ADDRESS_MAX];
    memcpy(address, c.nodes[1].address, sizeof address);
    if (!same_ca) {
        certs_ca(&c.real, ca_number, &foreign);
    }
    certs_leaf(&c.real, ca_number, 2, certs);
    struct bnd_mesh_tcp_config config = {
        .env = c.real.env,
        .self = 2,
        .cluster = {ca_number},
        .listen_address = address,
        .tls = {bnd_buf_slice(&certs->cert), bnd_buf_slice(&certs->key), bnd_buf_slice(&certs->ca)},
    };
    memset(&c.nodes[1], 0, sizeof c.nodes[1]);
    c.nodes[1].real = &c.real;
    c.nodes[1].id = 2;
    assert_int_equal(bnd_mesh_tcp_create(&config, &c.nodes[1].tcp, &err), 0);
    c.nodes[1].mesh = bnd_mesh_tcp_mesh(c.nodes[1].tcp);
    assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[1].tcp, 1, c.nodes[0].address), 0);
    c.real.log[0] = 0;
    struct reason wanted = {c.real.log, reason};
    real_run(&c.real, log_gives, &wanted);
    assert_false(c.nodes[0].mesh->ops->up(c.nodes[0].mesh, 2));
    assert_false(c.nodes[1].mesh->ops->up(c.nodes[1].mesh, 1));
    cluster_stop(&c);
    certs_free(&foreign);
}

static void test_a_foreign_ca_is_refused(void **state) {
    intruder(CLUSTER, false, "certificate refused");
}

static void test_another_cluster_is_refused(void **state) {
    intruder(CLUSTER + 1, true, "another cluster");
}

static void test_a_node_needs_its_own_certificate(void **state) {
    struct cluster c;
    struct bnd_mesh_tcp *tcp = NULL;
    struct bnd_error err = {0};
    cluster_start(&c, 1);
    certs_leaf(&c.real, CLUSTER, 5, &c.certs);
    struct bnd_mesh_tcp_config config = {
        .env = c.real.env,
        .self = 4,
        .cluster = {CLUSTER},
        .listen_address = "127.0.0.1:0",
        .tls = {bnd_buf_slice(&c.certs.cert), bnd_buf_slice(&c.certs.key),
                bnd_buf_slice(&c.certs.ca)},
    };
    assert_int_equal(bnd_mesh_tcp_create(&config, &tcp, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "node 5"));
    cluster_stop(&c);
}

struct gone {
    struct cluster c;
    uint64_t asked; /* about whom */
    uint64_t by;    /* who said it of node 2 */
    bool is;
    bool admit;
};

static bool admits(void *owner, uint64_t node) {
    return ((struct gone *)owner)->admit;
}

static bool is_gone(void *owner, uint64_t node) {
    struct gone *gone = owner;
    gone->asked = node;
    return gone->is;
}

static void told_gone(void *owner, uint64_t by) {
    ((struct gone *)owner)->by = by;
}

static bool refused_once(void *data) {
    struct gone *gone = data;
    return gone->asked != 0 && strstr(gone->c.real.log, "no member") != NULL;
}

static bool was_told(void *data) {
    return ((struct gone *)data)->by != 0;
}

/* Two nodes with hooks, of which only node 2 knows the other, and dials it. */
static void start_unknown(struct gone *gone) {
    struct cluster *c = &gone->c;
    cluster_start(c, 0);
    for (uint64_t id = 1; id <= 2; id++) {
        struct node *node = &c->nodes[id - 1];
        struct bnd_error err = {0};
        *node = (struct node){.real = &c->real, .id = id};
        certs_leaf(&c->real, CLUSTER, id, &c->certs);
        struct bnd_mesh_tcp_config config = {
            .env = c->real.env,
            .self = id,
            .cluster = {CLUSTER},
            .listen_address = "127.0.0.1:0",
            .tls = {bnd_buf_slice(&c->certs.cert), bnd_buf_slice(&c->certs.key),
                    bnd_buf_slice(&c->certs.ca)},
            .is_gone = id == 1 ? is_gone : NULL,
            .admits = id == 1 ? admits : NULL,
            .told_gone = id == 2 ? told_gone : NULL,
            .gone_owner = gone,
        };
        assert_int_equal(bnd_mesh_tcp_create(&config, &node->tcp, &err), 0);
        node->mesh = bnd_mesh_tcp_mesh(node->tcp);
        bnd_mesh_tcp_address(node->tcp, node->address);
    }
    assert_int_equal(bnd_mesh_tcp_set_peer(c->nodes[1].tcp, 1, c->nodes[0].address), 0);
}

/* Node 2 dials node 1, which does not know it: yet, or no more. Only the latter is a reason to go.
 */
static void test_a_node_that_is_gone_is_told_so(void **state) {
    struct gone gone = {0};
    struct cluster *c = &gone.c;
    start_unknown(&gone);
    real_run(&c->real, refused_once, &gone);
    assert_int_equal(gone.asked, 2);
    assert_int_equal(gone.by, 0);
    gone.is = true;
    gone.admit = true; /* who is gone is not admitted */
    real_run(&c->real, was_told, &gone);
    assert_int_equal(gone.by, 1);
    node_stop(&c->nodes[0]);
    node_stop(&c->nodes[1]);
    cluster_stop(c);
}

static bool both_up(void *data) {
    struct node *nodes = ((struct gone *)data)->c.nodes;
    return nodes[0].mesh->ops->up(nodes[0].mesh, 2) && nodes[1].mesh->ops->up(nodes[1].mesh, 1);
}

/* Node 1 has heard of nobody yet: it takes node 2, which dials it, once its owner says so. */
static void test_an_unknown_node_is_admitted_by_the_owner(void **state) {
    struct gone gone = {0};
    struct cluster *c = &gone.c;
    start_unknown(&gone);
    real_run(&c->real, refused_once, &gone);
    assert_false(both_up(&gone));
    gone.admit = true;
    real_run(&c->real, both_up, &gone);
    assert_int_equal(gone.by, 0);
    node_stop(&c->nodes[0]);
    node_stop(&c->nodes[1]);
    cluster_stop(c);
}

/* A peer made by hand: TLS with node 2's certificate, then a hello and more as the test says. */
struct hand {
    struct cluster *c;
    struct bnd_tls_context *tls;
    struct bnd_connect connect;
    struct bnd_conn *conn;
    struct bnd_buf says;
    struct bnd_buf heard;
    bool ended;
    bool closed;
};

static void hand_open(void *owner) {
    struct hand *hand = owner;
    struct bnd_iov iov = {hand->says.data, hand->says.len};
    assert_int_equal(bnd_conn_try_write(hand->conn, &iov, 1), hand->says.len);
}

static void hand_read(void *owner, const uint8_t *data, size_t len) {
    bnd_buf_append(&((struct hand *)owner)->heard, data, len);
}

static void hand_end(void *owner, int status) {
    ((struct hand *)owner)->ended = true;
}

static const struct bnd_conn_events hand_events = {
    .on_open = hand_open, .on_read = hand_read, .on_end = hand_end};

static void hand_connected(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct hand *hand = connect->data;
    assert_int_equal(status, 0);
    struct bnd_conn_options options = {
        .env = hand->c->real.env, .stream = stream, .tls = hand->tls};
    assert_int_equal(bnd_conn_create(&options, &hand->conn), 0);
    bnd_conn_bind(hand->conn, &hand_events, hand);
    bnd_conn_read(hand->conn, true);
}

static bool hand_answered(void *data) {
    struct hand *hand = data;
    return hand->ended || hand->heard.len >= BND_FRAME_HELLO_BYTES;
}

static bool hand_ended(void *data) {
    return ((struct hand *)data)->ended;
}

static void hand_start(struct hand *hand, struct cluster *c) {
    struct bnd_error err;
    memset(hand, 0, sizeof *hand);
    hand->c = c;
    certs_leaf(&c->real, CLUSTER, 2, &c->certs);
    struct bnd_tls_config config = {.role = BND_TLS_CLIENT,
                                    .verify = BND_TLS_VERIFY_CA,
                                    .certificate_pem = bnd_buf_slice(&c->certs.cert),
                                    .key_pem = bnd_buf_slice(&c->certs.key),
                                    .ca_pem = bnd_buf_slice(&c->certs.ca)};
    assert_int_equal(bnd_tls_context_create(&config, &hand->tls, &err), 0);
    hand->connect = (struct bnd_connect){.cb = hand_connected, .data = hand};
    struct bnd_env *env = c->real.env;
    assert_int_equal(env->ops->connect(env, c->nodes[0].address, &hand->connect, &err), 0);
}

static void hand_stop(struct hand *hand) {
    bnd_conn_close(hand->conn, real_set, &hand->closed);
    real_run(&hand->c->real, real_is_set, &hand->closed);
    bnd_tls_context_destroy(hand->tls);
    bnd_buf_free(&hand->says);
    bnd_buf_free(&hand->heard);
}

static void say_hello(struct hand *hand, const struct bnd_hello *hello) {
    uint8_t bytes[BND_FRAME_HELLO_BYTES];
    bnd_hello_encode(hello, bytes);
    bnd_buf_append(&hand->says, bytes, sizeof bytes);
}

static void test_a_hello_must_agree_with_the_certificate(void **state) {
    static const struct {
        struct bnd_hello hello;
        bool member;
        unsigned status;
    } cases[] = {
        {{1, 1, 0, 0, {CLUSTER}, 2, 1}, true, BND_HELLO_OK},
        {{9, 1, 1, 0, {CLUSTER}, 2, 1}, true, BND_HELLO_OK},
        {{1, 1, 0, 0, {CLUSTER + 1}, 2, 1}, true, BND_HELLO_CLUSTER},
        {{1, 1, 0, 0, {CLUSTER}, 3, 1}, true, BND_HELLO_IDENTITY}, /* a member, but not this one */
        {{1, 1, 0, 0, {CLUSTER}, 2, 5}, true, BND_HELLO_IDENTITY},
        {{1, 1, 0, 0, {CLUSTER}, 2, 1}, false, BND_HELLO_UNKNOWN},
        {{3, 2, 0, 0, {CLUSTER}, 2, 1}, true, BND_HELLO_VERSION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cluster c;
        struct hand hand;
        struct bnd_hello answer;
        cluster_start(&c, 1);
        if (cases[i].member) {
            assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[0].tcp, 2, "127.0.0.1:1"), 0);
            assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[0].tcp, 3, "127.0.0.1:1"), 0);
        }
        hand_start(&hand, &c);
        say_hello(&hand, &cases[i].hello);
        real_run(&c.real, hand_answered, &hand);
        assert_true(hand.heard.len >= BND_FRAME_HELLO_BYTES);
        assert_int_equal(bnd_hello_decode(hand.heard.data, &answer), 0);
        assert_int_equal(answer.status, cases[i].status);
        assert_int_equal(answer.sender, 1);
        assert_int_equal(answer.version, 1);
        if (answer.status != BND_HELLO_OK) {
            real_run(&c.real, hand_ended, &hand);
        }
        hand_stop(&hand);
        cluster_stop(&c);
    }
}

static void test_a_peer_that_sends_garbage_is_closed(void **state) {
    struct cluster c;
    struct hand hand;
    struct bnd_hello hello = {1, 1, BND_MESH_CONTROL, 0, {CLUSTER}, 2, 1};
    cluster_start(&c, 1);
    assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[0].tcp, 2, "127.0.0.1:1"), 0);
    hand_start(&hand, &c);
    say_hello(&hand, &hello);
    bnd_buf_append_str(&hand.says, "\xff\xff\xff\x7fgarbage");
    real_run(&c.real, hand_ended, &hand);
    assert_int_equal(c.nodes[0].ups, 1);
    assert_int_equal(c.nodes[0].downs, 1);
    assert_non_null(strstr(c.real.log, "no frame"));
    hand_stop(&hand);
    cluster_stop(&c);
}

/* A client that connects and sends bytes which are no TLS. */
struct noise {
    struct bnd_env *env;
    struct bnd_connect connect;
    struct bnd_stream *stream;
    bool ended;
};

static void noise_end(void *owner, int status) {
    ((struct noise *)owner)->ended = true;
}

static void noise_read(void *owner, const uint8_t *data, size_t len) {
}

static const struct bnd_stream_events noise_events = {.on_read = noise_read, .on_end = noise_end};

static void noise_connected(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct noise *noise = connect->data;
    static char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct bnd_iov iov = {text, sizeof text - 1};
    assert_int_equal(status, 0);
    noise->stream = stream;
    noise->env->ops->stream_bind(noise->env, stream, &noise_events, noise);
    noise->env->ops->stream_read(noise->env, stream, true);
    assert_int_equal(noise->env->ops->stream_try_write(noise->env, stream, &iov, 1),
                     sizeof text - 1);
}

static bool noise_ended(void *data) {
    return ((struct noise *)data)->ended;
}

static void test_noise_is_closed_and_logged(void **state) {
    struct cluster c;
    struct bnd_error err;
    cluster_start(&c, 1);
    struct noise noise = {.env = c.real.env};
    noise.connect = (struct bnd_connect){.cb = noise_connected, .data = &noise};
    assert_int_equal(noise.env->ops->connect(noise.env, c.nodes[0].address, &noise.connect, &err),
                     0);
    real_run(&c.real, noise_ended, &noise);
    assert_non_null(strstr(c.real.log, "connection from 127.0.0.1"));
    bool closed = false;
    noise.env->ops->stream_close(noise.env, noise.stream, real_set, &closed);
    real_run(&c.real, real_is_set, &closed);
    cluster_stop(&c);
}

/* ---- joining
 * -------------------------------------------------------------------------------------------- */

struct joiner {
    bool done;
    int status;
    char reply[64];
    char failure[256];
};

static void joined(void *data, int status, struct bnd_slice reply, const char *failure) {
    struct joiner *joiner = data;
    joiner->done = true;
    joiner->status = status;
    (void)snprintf(joiner->reply, sizeof joiner->reply, "%.*s", (int)reply.len,
                   (const char *)reply.data);
    (void)snprintf(joiner->failure, sizeof joiner->failure, "%s", failure);
}

static bool joiner_done(void *data) {
    return ((struct joiner *)data)->done;
}

static bool join_asked(void *data) {
    return ((struct node *)data)->join != NULL;
}

static struct bnd_join_call *join_start(struct cluster *c, const uint8_t *fingerprint,
                                        struct joiner *joiner) {
    struct bnd_join_call *call = NULL;
    struct bnd_error err;
    struct bnd_join_call_options options = {.env = c->real.env,
                                            .address = c->nodes[0].address,
                                            .ca_fingerprint = fingerprint,
                                            .request = bnd_slice_str("let me in"),
                                            .cb = joined,
                                            .data = joiner};
    assert_int_equal(bnd_mesh_join_call(&options, &call, &err), 0);
    return call;
}

static void test_a_stranger_may_ask_to_join(void **state) {
    struct cluster c;
    struct joiner joiner = {0};
    uint8_t fingerprint[32];
    struct bnd_error err;
    cluster_start(&c, 1);
    assert_int_equal(bnd_pki_fingerprint(bnd_buf_slice(&c.certs.ca), fingerprint, &err), 0);
    join_start(&c, fingerprint, &joiner);
    real_run(&c.real, join_asked, &c.nodes[0]);
    assert_string_equal(c.nodes[0].join_text, "let me in");
    bnd_mesh_join_reply(c.nodes[0].join, 0, bnd_slice_str("welcome"));
    real_run(&c.real, joiner_done, &joiner);
    assert_int_equal(joiner.status, 0);
    assert_string_equal(joiner.reply, "welcome");

    joiner.done = false;
    c.nodes[0].join = NULL;
    join_start(&c, fingerprint, &joiner);
    real_run(&c.real, join_asked, &c.nodes[0]);
    bnd_mesh_join_reply(c.nodes[0].join, BND_DENIED, bnd_slice_str("used token"));
    real_run(&c.real, joiner_done, &joiner);
    assert_int_equal(joiner.status, BND_DENIED);
    cluster_stop(&c);
}

static void test_a_joiner_believes_only_its_token(void **state) {
    struct cluster c;
    struct joiner joiner = {0};
    uint8_t fingerprint[32];
    struct bnd_error err;
    cluster_start(&c, 1);
    assert_int_equal(bnd_pki_fingerprint(bnd_buf_slice(&c.certs.ca), fingerprint, &err), 0);
    fingerprint[31] ^= 1;
    join_start(&c, fingerprint, &joiner);
    real_run(&c.real, joiner_done, &joiner);
    assert_int_equal(joiner.status, BND_DENIED);
    assert_null(c.nodes[0].join);
    assert_non_null(strstr(joiner.failure, "certificate refused"));
    cluster_stop(&c);
}

static bool join_gone(void *data) {
    struct cluster *c = data;
    return strlen(c->real.log) > 0 || c->nodes[0].join != NULL;
}

static void test_a_reply_after_either_side_left_goes_nowhere(void **state) {
    struct cluster c;
    struct joiner joiner = {0};
    uint8_t fingerprint[32];
    struct bnd_error err;
    cluster_start(&c, 1);
    assert_int_equal(bnd_pki_fingerprint(bnd_buf_slice(&c.certs.ca), fingerprint, &err), 0);
    struct bnd_join_call *call = join_start(&c, fingerprint, &joiner);
    real_run(&c.real, join_gone, &c);
    bnd_mesh_join_cancel(call);
    node_stop(&c.nodes[0]);
    bnd_mesh_join_reply(c.nodes[0].join, 0, bnd_slice_str("too late"));
    assert_false(joiner.done);
    c.count = 0;
    cluster_stop(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_foreign_ca_is_refused),
        cmocka_unit_test(test_another_cluster_is_refused),
        cmocka_unit_test(test_a_node_needs_its_own_certificate),
        cmocka_unit_test(test_a_node_that_is_gone_is_told_so),
        cmocka_unit_test(test_an_unknown_node_is_admitted_by_the_owner),
        cmocka_unit_test(test_a_hello_must_agree_with_the_certificate),
        cmocka_unit_test(test_a_peer_that_sends_garbage_is_closed),
        cmocka_unit_test(test_noise_is_closed_and_logged),
        cmocka_unit_test(test_a_stranger_may_ask_to_join),
        cmocka_unit_test(test_a_joiner_believes_only_its_token),
        cmocka_unit_test(test_a_reply_after_either_side_left_goes_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
