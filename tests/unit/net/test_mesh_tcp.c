/* The mesh over real sockets: traffic, bounds, loss and return. */
#include "base/alloc.h"
#include "tests/unit/net/mesh_nodes.h"

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
    struct bnd_mesh *one = c->nodes[0].mesh;
    struct bnd_mesh *two = c->nodes[1].mesh;
    return one->ops->clock_offset_ms(one, 2, &offset) && two->ops->clock_offset_ms(two, 1, &offset);
}

static void test_clock_offset_is_measured(void **state) {
    struct cluster c;
    int64_t offset = 1 << 20;
    cluster_start(&c, 2);
    struct bnd_mesh *mesh = c.nodes[0].mesh;
    assert_false(mesh->ops->clock_offset_ms(mesh, 2, &offset));
    real_run(&c.real, everyone_heard_clock, &c);
    assert_true(mesh->ops->clock_offset_ms(mesh, 2, &offset));
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
