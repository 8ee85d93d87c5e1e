/* The mesh over real sockets: several nodes in one process. */
#include "base/alloc.h"
#include "net/conn.h"
#include "net/frame.h"
#include "net/mesh_tcp.h"
#include "net/tls.h"
#include "tests/unit/net/real.h"

#define NODES_MAX 3
#define CLUSTER 7

struct node {
    struct real *real;
    uint64_t id;
    struct bnd_mesh_tcp *tcp;
    struct bnd_mesh *mesh;
    char address[BND_ADDRESS_MAX];
    unsigned ups;
    unsigned downs;
    uint64_t received[BND_MESH_LANES];
    uint64_t next[BND_MESH_LANES][NODES_MAX + 1]; /* the number expected from a sender */
    bool out_of_order;
    size_t big;
    bool big_wrong;
    bool closed;
    struct bnd_join_request *join;
    char join_text[64];
};

struct cluster {
    struct real real;
    struct certs certs;
    struct node nodes[NODES_MAX];
    unsigned count;
};

/* A test message: u64 number, u8 lane; or, on kind READ, a pattern. */
static void on_numbered(void *owner, uint64_t from, struct bnd_slice message) {
    struct node *node = owner;
    struct bnd_reader r = bnd_reader(message);
    uint64_t number = bnd_read_u64(&r);
    uint8_t lane = bnd_read_u8(&r);
    node->out_of_order |= r.failed || number != node->next[lane][from];
    node->next[lane][from] = number + 1;
    node->received[lane]++;
}

static void on_big(void *owner, uint64_t from, struct bnd_slice message) {
    struct node *node = owner;
    for (size_t i = 0; i < message.len; i++) {
        node->big_wrong |= message.data[i] != (uint8_t)(i * 131 >> 7);
    }
    node->big = message.len;
}

static void on_peer(void *owner, uint64_t peer, bool up) {
    struct node *node = owner;
    node->ups += up;
    node->downs += !up;
}

static void on_join(void *owner, struct bnd_join_request *request, struct bnd_slice payload) {
    struct node *node = owner;
    (void)snprintf(node->join_text, sizeof node->join_text, "%.*s", (int)payload.len,
                   (const char *)payload.data);
    node->join = request;
}

static void node_start(struct cluster *c, struct node *node, uint64_t id, const char *address) {
    struct bnd_error err = {0};
    *node = (struct node){.real = &c->real, .id = id};
    certs_leaf(&c->real, CLUSTER, id, &c->certs);
    struct bnd_mesh_tcp_config config = {
        .env = c->real.env,
        .self = id,
        .cluster = {CLUSTER},
        .listen_address = address,
        .tls = {bnd_buf_slice(&c->certs.cert), bnd_buf_slice(&c->certs.key),
                bnd_buf_slice(&c->certs.ca)},
        .on_join = on_join,
        .join_owner = node,
    };
    if (bnd_mesh_tcp_create(&config, &node->tcp, &err) != 0) {
        fail_msg("%s", err.message);
    }
    node->mesh = bnd_mesh_tcp_mesh(node->tcp);
    bnd_mesh_tcp_address(node->tcp, node->address);
    node->mesh->ops->receive(node->mesh, BND_MESH_RAFT, on_numbered, node);
    node->mesh->ops->receive(node->mesh, BND_MESH_READ, on_big, node);
    node->mesh->ops->watch(node->mesh, on_peer, node);
}

static void node_stop(struct node *node) {
    bnd_mesh_tcp_close(node->tcp, real_set, &node->closed);
    real_run(node->real, real_is_set, &node->closed);
}

static bool lane_ready(struct node *node, uint64_t to, enum bnd_mesh_lane lane) {
    struct bnd_slice part = bnd_slice("x", 1);
    return node->mesh->ops->send(node->mesh, to, lane, BND_MESH_RPC, &part, 1) == 0;
}

/* Every pair has both lanes. */
static bool all_up(void *data) {
    struct cluster *c = data;
    for (unsigned i = 0; i < c->count; i++) {
        for (unsigned j = 0; j < c->count; j++) {
            if (i != j && (!c->nodes[i].mesh->ops->up(c->nodes[i].mesh, c->nodes[j].id) ||
                           !lane_ready(&c->nodes[i], c->nodes[j].id, BND_MESH_BULK))) {
                return false;
            }
        }
    }
    return true;
}

static void cluster_start(struct cluster *c, unsigned count) {
    memset(c, 0, sizeof *c);
    real_open(&c->real);
    certs_ca(&c->real, CLUSTER, &c->certs);
    c->count = count;
    for (unsigned i = 0; i < count; i++) {
        node_start(c, &c->nodes[i], i + 1, "127.0.0.1:0");
    }
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < count; j++) {
            if (i != j) {
                assert_int_equal(
                    bnd_mesh_tcp_set_peer(c->nodes[i].tcp, c->nodes[j].id, c->nodes[j].address), 0);
            }
        }
    }
}

static void cluster_stop(struct cluster *c) {
    for (unsigned i = 0; i < c->count; i++) {
        node_stop(&c->nodes[i]);
        assert_int_equal(c->nodes[i].ups, c->nodes[i].downs);
    }
    bnd_io_env_destroy(c->real.env);
    certs_free(&c->certs);
}

/* ---- traffic
 * -------------------------------------------------------------------------------------------- */

#define STREAM_MESSAGES 10000

struct traffic {
    struct cluster *c;
    uint64_t sent[NODES_MAX][NODES_MAX][BND_MESH_LANES];
    bool was_full;
};

/* Sends numbered messages of 1 to 1,000 bytes on all lanes of all pairs while the queues take them.
 */
static bool pump_traffic(void *data) {
    struct traffic *t = data;
    static uint8_t filler[1000];
    bool done = true;
    for (unsigned i = 0; i < t->c->count; i++) {
        for (unsigned j = 0; j < t->c->count; j++) {
            for (unsigned lane = 0; i != j && lane < BND_MESH_LANES; lane++) {
                struct bnd_mesh *mesh = t->c->nodes[i].mesh;
                uint64_t *sent = &t->sent[i][j][lane];
                for (unsigned burst = 0; burst < 500 && *sent < STREAM_MESSAGES; burst++) {
                    uint8_t head[9];
                    bnd_put_u64(head, *sent);
                    head[8] = (uint8_t)lane;
                    struct bnd_slice parts[2] = {bnd_slice(head, 9),
                                                 bnd_slice(filler, *sent * 7 % 1000)};
                    int rv = mesh->ops->send(mesh, j + 1, (enum bnd_mesh_lane)lane, BND_MESH_RAFT,
                                             parts, 2);
                    if (rv == BND_FULL) {
                        t->was_full = true;
                        break;
                    }
                    assert_int_equal(rv, 0);
                    (*sent)++;
                }
            }
        }
    }
    for (unsigned i = 0; i < t->c->count; i++) {
        for (unsigned lane = 0; lane < BND_MESH_LANES; lane++) {
            done = done &&
                   t->c->nodes[i].received[lane] == (uint64_t)STREAM_MESSAGES * (t->c->count - 1);
        }
    }
    return done;
}

static void exchange(unsigned count) {
    struct cluster c;
    cluster_start(&c, count);
    real_run(&c.real, all_up, &c);
    struct traffic t = {.c = &c};
    real_run(&c.real, pump_traffic, &t);
    for (unsigned i = 0; i < count; i++) {
        assert_false(c.nodes[i].out_of_order);
        assert_int_equal(c.nodes[i].ups, count - 1);
        assert_int_equal(c.nodes[i].downs, 0);
        assert_true(c.nodes[i].mesh->ops->silence_ns(c.nodes[i].mesh, i == 0 ? 2 : 1) <
                    10000 * BND_MS);
        assert_true(c.nodes[i].mesh->ops->silence_ns(c.nodes[i].mesh, 99) == UINT64_MAX);
    }
    cluster_stop(&c);
}

static void test_two_nodes_exchange_in_order(void **state) {
    exchange(2);
}

static void test_three_nodes_exchange_in_order(void **state) {
    exchange(3);
}

static bool big_arrived(void *data) {
    return ((struct node *)data)->big != 0;
}

static void test_large_messages_and_bounds(void **state) {
    struct cluster c;
    cluster_start(&c, 2);
    real_run(&c.real, all_up, &c);
    struct bnd_mesh *mesh = c.nodes[0].mesh;
    uint8_t *data = bnd_alloc(BND_MESH_MESSAGE_MAX + 1);
    for (size_t i = 0; i <= BND_MESH_MESSAGE_MAX; i++) {
        data[i] = (uint8_t)(i * 131 >> 7);
    }
    static const size_t sizes[] = {4u << 20, BND_MESH_MESSAGE_MAX};
    for (unsigned i = 0; i < 4; i++) {
        struct bnd_slice part = bnd_slice(data, sizes[i / 2]);
        c.nodes[1].big = 0;
        assert_int_equal(mesh->ops->send(mesh, 2, i % 2 ? BND_MESH_BULK : BND_MESH_CONTROL,
                                         BND_MESH_READ, &part, 1),
                         0);
        real_run(&c.real, big_arrived, &c.nodes[1]);
        assert_int_equal(c.nodes[1].big, sizes[i / 2]);
        assert_false(c.nodes[1].big_wrong);
    }
    struct bnd_slice over = bnd_slice(data, BND_MESH_MESSAGE_MAX + 1);
    assert_int_equal(mesh->ops->send(mesh, 2, BND_MESH_BULK, BND_MESH_READ, &over, 1), BND_TOOBIG);
    assert_int_equal(mesh->ops->send(mesh, 9, BND_MESH_BULK, BND_MESH_READ, &over, 1), BND_TOOBIG);
    struct bnd_slice fit = bnd_slice(data, 1u << 20);
    assert_int_equal(mesh->ops->send(mesh, 9, BND_MESH_BULK, BND_MESH_READ, &fit, 1), BND_CLOSED);
    /* Without a loop pass nothing leaves: the 16th MiB does not fit with its frames' heads. */
    unsigned taken = 0;
    while (mesh->ops->send(mesh, 2, BND_MESH_BULK, BND_MESH_READ, &fit, 1) == 0) {
        taken++;
    }
    assert_int_equal(taken, 15);
    assert_true(mesh->ops->queued(mesh, 2, BND_MESH_BULK) > 15u << 20);
    assert_true(mesh->ops->queued(mesh, 2, BND_MESH_BULK) <= 16u << 20);
    /* The other lane and the other direction are not touched by it. */
    assert_int_equal(mesh->ops->send(mesh, 2, BND_MESH_CONTROL, BND_MESH_READ, &fit, 1), 0);
    bnd_free(data);
    cluster_stop(&c);
}

static bool self_got_three(void *data) {
    return ((struct node *)data)->received[0] == 3;
}

static void test_messages_to_self_come_later_and_in_order(void **state) {
    struct cluster c;
    cluster_start(&c, 1);
    struct node *node = &c.nodes[0];
    for (uint64_t i = 0; i < 3; i++) {
        uint8_t head[9] = {0};
        bnd_put_u64(head, i);
        struct bnd_slice part = bnd_slice(head, 9);
        assert_int_equal(
            node->mesh->ops->send(node->mesh, 1, BND_MESH_CONTROL, BND_MESH_RAFT, &part, 1), 0);
        assert_int_equal(node->received[0], 0);
    }
    real_run(&c.real, self_got_three, node);
    assert_false(node->out_of_order);
    cluster_stop(&c);
}

/* ---- loss and return
 * ------------------------------------------------------------------------------------ */

static bool first_sees_down(void *data) {
    return ((struct cluster *)data)->nodes[0].downs == 1;
}

static void test_a_node_that_dies_comes_back(void **state) {
    for (unsigned victim = 0; victim < 2; victim++) {
        struct cluster c;
        cluster_start(&c, 2);
        real_run(&c.real, all_up, &c);
        struct node *dies = &c.nodes[victim];
        struct node *stays = &c.nodes[1 - victim];
        char address[BND_ADDRESS_MAX];
        memcpy(address, dies->address, sizeof address);
        node_stop(dies);
        if (victim == 1) {
            real_run(&c.real, first_sees_down, &c);
        }
        node_start(&c, dies, victim + 1, address);
        assert_int_equal(bnd_mesh_tcp_set_peer(dies->tcp, stays->id, stays->address), 0);
        real_run(&c.real, all_up, &c);
        assert_int_equal(stays->ups, 2);
        assert_int_equal(stays->downs, 1);
        cluster_stop(&c);
    }
}

static bool everyone_heard_clock(void *data) {
    struct cluster *c = data;
    int64_t offset = 0;
    return bnd_mesh_tcp_clock_offset_ms(c->nodes[0].tcp, 2, &offset) &&
           bnd_mesh_tcp_clock_offset_ms(c->nodes[1].tcp, 1, &offset);
}

static void test_clock_offset_is_measured(void **state) {
    struct cluster c;
    int64_t offset = 1 << 20;
    cluster_start(&c, 2);
    assert_false(bnd_mesh_tcp_clock_offset_ms(c.nodes[0].tcp, 2, &offset));
    real_run(&c.real, everyone_heard_clock, &c);
    assert_true(bnd_mesh_tcp_clock_offset_ms(c.nodes[0].tcp, 2, &offset));
    assert_true(offset > -100 && offset < 100);
    cluster_stop(&c);
}

static void test_the_higher_id_dials_when_the_lower_cannot(void **state) {
    struct cluster c;
    cluster_start(&c, 2);
    assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[0].tcp, 2, "127.0.0.1:1"), 0); /* nobody there */
    real_run(&c.real, all_up, &c);
    cluster_stop(&c);
}

static bool logged_no_member(void *data) {
    return strstr(((struct cluster *)data)->real.log, "no member of the cluster") != NULL;
}

static void test_a_removed_peer_is_refused(void **state) {
    struct cluster c;
    cluster_start(&c, 2);
    real_run(&c.real, all_up, &c);
    bnd_mesh_tcp_remove_peer(c.nodes[1].tcp, 1);
    assert_int_equal(c.nodes[1].downs, 1);
    assert_false(c.nodes[1].mesh->ops->up(c.nodes[1].mesh, 1));
    real_run(&c.real, logged_no_member, &c);
    assert_false(c.nodes[0].mesh->ops->up(c.nodes[0].mesh, 2));
    assert_int_equal(bnd_mesh_tcp_set_peer(c.nodes[1].tcp, 1, c.nodes[0].address), 0);
    real_run(&c.real, all_up, &c);
    cluster_stop(&c);
}

/* ---- a peer that does not read
 * -------------------------------------------------------------------------- */

#define SLOW_MESSAGE (64u << 10)

/* Two nodes on loops of their own: one loop can stand still. */
struct pair {
    struct cluster a;
    struct cluster b;
};

static bool never(void *data) {
    return false;
}

static bool a_sees_b(void *data) {
    struct pair *p = data;
    return p->a.nodes[0].mesh->ops->up(p->a.nodes[0].mesh, 2) &&
           lane_ready(&p->a.nodes[0], 2, BND_MESH_BULK);
}

static void run_both_until(struct pair *p, bool (*done)(void *)) {
    unsigned turns = 0;
    while (!done(p)) {
        (void)real_run_for(&p->a.real, 5 * BND_MS, never, NULL);
        (void)real_run_for(&p->b.real, 5 * BND_MS, never, NULL);
        assert_true(++turns < 2000);
    }
}

static void pair_start(struct pair *p) {
    cluster_start(&p->a, 1);
    real_open(&p->b.real);
    p->b.certs = p->a.certs;
    p->b.count = 1;
    node_start(&p->b, &p->b.nodes[0], 2, "127.0.0.1:0");
    p->a.certs = p->b.certs;
    assert_int_equal(bnd_mesh_tcp_set_peer(p->a.nodes[0].tcp, 2, p->b.nodes[0].address), 0);
    assert_int_equal(bnd_mesh_tcp_set_peer(p->b.nodes[0].tcp, 1, p->a.nodes[0].address), 0);
    run_both_until(p, a_sees_b);
}

static uint64_t slow_sent;

static bool b_has_all(void *data) {
    return ((struct pair *)data)->b.nodes[0].received[BND_MESH_BULK] == slow_sent;
}

static bool a_sees_down(void *data) {
    return ((struct cluster *)data)->nodes[0].downs > 0;
}

static void test_a_peer_that_stands_still(void **state) {
    struct pair p = {0};
    static uint8_t message[SLOW_MESSAGE];
    pair_start(&p);
    struct bnd_mesh *mesh = p.a.nodes[0].mesh;
    struct bnd_slice part = bnd_slice(message, sizeof message);
    slow_sent = 0;
    message[8] = BND_MESH_BULK;
    /* b's loop stands still: a's queue fills to its bound and no further. */
    for (unsigned passes = 0, refused = 0; refused < 20; passes++) {
        assert_true(passes < 1000);
        bnd_put_u64(message, slow_sent);
        int rv = 0;
        while ((rv = mesh->ops->send(mesh, 2, BND_MESH_BULK, BND_MESH_RAFT, &part, 1)) == 0) {
            bnd_put_u64(message, ++slow_sent);
        }
        assert_int_equal(rv, BND_FULL);
        assert_true(mesh->ops->queued(mesh, 2, BND_MESH_BULK) <= 16u << 20);
        refused++;
        (void)real_run_for(&p.a.real, 2 * BND_MS, never, NULL);
    }
    run_both_until(&p, b_has_all);
    assert_true(slow_sent >= (16u << 20) / SLOW_MESSAGE);
    assert_false(p.b.nodes[0].out_of_order);
    assert_int_equal(p.a.nodes[0].downs, 0);
    /* It stands still for too long: it is given up, and taken back when it runs again. */
    real_run(&p.a.real, a_sees_down, &p.a);
    assert_non_null(strstr(p.a.real.log, "nothing heard for 3 s"));
    run_both_until(&p, a_sees_b);
    p.b.certs = (struct certs){0};
    cluster_stop(&p.a);
    cluster_stop(&p.b);
}

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
        cmocka_unit_test(test_two_nodes_exchange_in_order),
        cmocka_unit_test(test_three_nodes_exchange_in_order),
        cmocka_unit_test(test_large_messages_and_bounds),
        cmocka_unit_test(test_messages_to_self_come_later_and_in_order),
        cmocka_unit_test(test_a_node_that_dies_comes_back),
        cmocka_unit_test(test_clock_offset_is_measured),
        cmocka_unit_test(test_the_higher_id_dials_when_the_lower_cannot),
        cmocka_unit_test(test_a_removed_peer_is_refused),
        cmocka_unit_test(test_a_peer_that_stands_still),
        cmocka_unit_test(test_a_foreign_ca_is_refused),
        cmocka_unit_test(test_another_cluster_is_refused),
        cmocka_unit_test(test_a_node_needs_its_own_certificate),
        cmocka_unit_test(test_a_hello_must_agree_with_the_certificate),
        cmocka_unit_test(test_a_peer_that_sends_garbage_is_closed),
        cmocka_unit_test(test_noise_is_closed_and_logged),
        cmocka_unit_test(test_a_stranger_may_ask_to_join),
        cmocka_unit_test(test_a_joiner_believes_only_its_token),
        cmocka_unit_test(test_a_reply_after_either_side_left_goes_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
