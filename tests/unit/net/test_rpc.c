/* Calls between nodes on the simulated network: each is answered exactly once, whatever happens. */
#include "net/rpc.h"
#include "tests/sim/env.h"
#include "tests/sim/mesh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NODES 3
#define IN_FLIGHT 100
#define S_NS (1000 * BND_MS)

struct node {
    struct bnd_sim_env *env;
    struct bnd_sim_disk *disk;
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    unsigned served;
    bool keep; /* the handler keeps requests instead of replying */
    struct bnd_rpc_request *kept[IN_FLIGHT + 1];
};

struct call {
    struct bnd_rpc_call call;
    unsigned answers;
    int status;
    size_t reply_len;
    char reply[32];
    struct call *cancels; /* another call, canceled from inside the answer */
};

struct fixture {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct node nodes[NODES];
    struct call calls[IN_FLIGHT + 2];
};

/* Echoes the request with a word before it; "big" is answered with more than a message holds; "no"
 * is refused. */
static void serve(void *owner, struct bnd_rpc_request *request) {
    static uint8_t big[BND_MESH_MESSAGE_MAX];
    struct node *node = owner;
    node->served++;
    if (node->keep) {
        node->kept[node->served - 1] = request;
        return;
    }
    struct bnd_slice parts[2] = {bnd_slice_str("got "), request->payload};
    if (bnd_slice_eq(request->payload, bnd_slice_str("big"))) {
        parts[1] = bnd_slice(big, sizeof big);
        bnd_rpc_reply(request, 0, parts, 2);
    } else if (bnd_slice_eq(request->payload, bnd_slice_str("no"))) {
        bnd_rpc_reply(request, BND_PRECONDITION, NULL, 0);
    } else {
        bnd_rpc_reply(request, 0, parts, 2);
    }
}

static void node_start(struct fixture *f, unsigned i) {
    struct node *node = &f->nodes[i];
    struct bnd_sim_disk *disk =
        node->disk != NULL ? node->disk : bnd_sim_disk_create(f->world, i + 1, 0);
    memset(node, 0, sizeof *node);
    node->disk = disk;
    node->env = bnd_sim_env_create(f->world, disk, NULL, i + 1);
    node->mesh = bnd_sim_net_attach(f->net, node->env);
    bnd_sim_env_enter(node->env);
    assert_int_equal(bnd_rpc_create(bnd_sim_env(node->env), node->mesh, IN_FLIGHT, &node->rpc), 0);
    bnd_rpc_serve(node->rpc, BND_RPC_SHARD, serve, node);
    bnd_sim_env_leave(node->env);
}

static bool linked(void *data) {
    struct fixture *f = data;
    return f->nodes[2].mesh->ops->up(f->nodes[2].mesh, 1) &&
           f->nodes[0].mesh->ops->up(f->nodes[0].mesh, 2) &&
           f->nodes[1].mesh->ops->up(f->nodes[1].mesh, 1);
}

static int setup(void **state) {
    static struct fixture fixture;
    struct bnd_sim_net_config config;
    struct fixture *f = &fixture;
    memset(f, 0, sizeof *f);
    bnd_sim_net_config_default(&config);
    config.loss_per_mille = 0;
    f->world = bnd_sim_world_create(1);
    f->net = bnd_sim_net_create(f->world, &config);
    for (unsigned i = 0; i < NODES; i++) {
        node_start(f, i);
    }
    assert_true(bnd_sim_run_until_true(f->world, linked, f, 10 * S_NS));
    *state = f;
    return 0;
}

/* A clean stop: the simulator insists that no timer and no memory of the node is left. */
static void node_stop(struct node *node) {
    bnd_sim_env_enter(node->env);
    bnd_sim_net_detach(node->mesh);
    bnd_rpc_destroy(node->rpc);
    bnd_sim_env_leave(node->env);
    bnd_sim_env_stop(node->env);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < NODES; i++) {
        if (f->nodes[i].env != NULL) {
            node_stop(&f->nodes[i]);
        }
        bnd_sim_disk_destroy(f->nodes[i].disk);
    }
    bnd_sim_net_destroy(f->net);
    bnd_sim_world_destroy(f->world);
    return 0;
}

static void answered(struct bnd_rpc_call *base, int status, struct bnd_slice reply) {
    struct call *call = base->data;
    call->answers++;
    call->status = status;
    call->reply_len = reply.len;
    for (size_t i = 0; i < reply.len && i < sizeof call->reply - 1; i++) {
        call->reply[i] = (char)reply.data[i];
    }
    if (call->cancels != NULL) {
        bnd_rpc_cancel(&call->cancels->call);
    }
}

static int ask_service(struct fixture *f, unsigned i, uint64_t to, enum bnd_rpc_service service,
                       const char *text) {
    struct call *call = &f->calls[i];
    struct bnd_slice part = bnd_slice_str(text);
    call->call.cb = answered;
    call->call.data = call;
    bnd_sim_env_enter(f->nodes[0].env);
    int rv = bnd_rpc_call(f->nodes[0].rpc, &call->call, to, BND_MESH_CONTROL, service, &part, 1,
                          5 * S_NS);
    bnd_sim_env_leave(f->nodes[0].env);
    assert_int_equal(call->answers, 0);
    return rv;
}

static int ask(struct fixture *f, unsigned i, uint64_t to, const char *text) {
    return ask_service(f, i, to, BND_RPC_SHARD, text);
}

static void expect(struct fixture *f, unsigned i, int status) {
    assert_int_equal(f->calls[i].answers, 1);
    assert_int_equal(f->calls[i].status, status);
    assert_true(status == 0 || f->calls[i].reply_len == 0);
}

static void test_a_call_gets_its_reply(void **state) {
    struct fixture *f = *state;
    assert_int_equal(ask(f, 0, 2, "this"), 0);
    assert_int_equal(ask(f, 1, 1, "self"), 0);
    assert_int_equal(ask(f, 2, 2, "no"), 0);
    assert_int_equal(ask(f, 3, 2, "big"), 0);
    assert_int_equal(ask_service(f, 4, 2, BND_RPC_SURVEY, "?"), 0);
    bnd_sim_run_for(f->world, 2 * S_NS);
    expect(f, 0, 0);
    assert_string_equal(f->calls[0].reply, "got this");
    expect(f, 1, 0);
    assert_string_equal(f->calls[1].reply, "got self");
    expect(f, 2, BND_PRECONDITION);
    expect(f, 3, BND_TOOBIG);
    expect(f, 4, BND_UNSUPPORTED);
    assert_int_equal(ask(f, 5, 7, "nobody"), BND_CLOSED);
    bnd_sim_run_for(f->world, 10 * S_NS);
    assert_int_equal(f->calls[5].answers, 0);
}

static void test_deadline_and_late_reply(void **state) {
    struct fixture *f = *state;
    f->nodes[1].keep = true;
    assert_int_equal(ask(f, 0, 2, "slow"), 0);
    bnd_sim_run_for(f->world, 4 * S_NS);
    assert_int_equal(f->calls[0].answers, 0);
    assert_int_equal(f->nodes[1].served, 1);
    bnd_sim_run_for(f->world, 2 * S_NS);
    expect(f, 0, BND_TIMEOUT);
    /* The slot is used again; the late reply must not be taken for the new call's. */
    f->calls[0].answers = 0;
    assert_int_equal(ask(f, 0, 2, "again"), 0);
    bnd_sim_env_enter(f->nodes[1].env);
    struct bnd_slice late = bnd_slice_str("late");
    bnd_rpc_reply(f->nodes[1].kept[0], 0, &late, 1);
    bnd_sim_env_leave(f->nodes[1].env);
    bnd_sim_run_for(f->world, 1 * S_NS);
    assert_int_equal(f->calls[0].answers, 0);
    assert_int_equal(f->nodes[1].served, 2);
    bnd_sim_env_enter(f->nodes[1].env);
    bnd_rpc_reply(f->nodes[1].kept[1], 0, &late, 1);
    bnd_sim_env_leave(f->nodes[1].env);
    bnd_sim_run_for(f->world, 1 * S_NS);
    expect(f, 0, 0);
}

static void test_a_lost_peer_ends_its_calls(void **state) {
    struct fixture *f = *state;
    f->nodes[1].keep = true;
    f->calls[0].cancels = &f->calls[1]; /* from inside the first answer */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ask(f, i, 2, "x"), 0);
    }
    bnd_sim_run_for(f->world, 1 * S_NS);
    assert_int_equal(f->nodes[1].served, 3);
    bnd_sim_env_crash(f->nodes[1].env, BND_SIM_KILL);
    f->nodes[1].env = NULL;
    bnd_sim_run_for(f->world, 4 * S_NS);
    expect(f, 0, BND_CLOSED);
    assert_int_equal(f->calls[1].answers, 0);
    expect(f, 2, BND_CLOSED);
    assert_int_equal(ask(f, 3, 2, "x"), BND_CLOSED);
}

static void test_both_sides_are_bounded(void **state) {
    struct fixture *f = *state;
    f->nodes[1].keep = true;
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        assert_int_equal(ask(f, i, 2, "x"), 0);
    }
    assert_int_equal(ask(f, IN_FLIGHT, 2, "x"), BND_FULL);
    bnd_sim_run_for(f->world, 1 * S_NS);
    assert_int_equal(f->nodes[1].served, IN_FLIGHT);
    /* The caller gives up one; the server still holds all of them and refuses the next. */
    bnd_sim_env_enter(f->nodes[0].env);
    bnd_rpc_cancel(&f->calls[0].call);
    bnd_rpc_cancel(&f->calls[0].call);
    bnd_sim_env_leave(f->nodes[0].env);
    assert_int_equal(ask(f, IN_FLIGHT, 2, "x"), 0);
    bnd_sim_run_for(f->world, 1 * S_NS);
    expect(f, IN_FLIGHT, BND_FULL);
    bnd_sim_env_enter(f->nodes[1].env);
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        bnd_rpc_reply(f->nodes[1].kept[i], 0, NULL, 0);
    }
    bnd_sim_env_leave(f->nodes[1].env);
    bnd_sim_run_for(f->world, 1 * S_NS);
    assert_int_equal(f->calls[0].answers, 0);
    for (unsigned i = 1; i < IN_FLIGHT; i++) {
        expect(f, i, 0);
    }
}

static void test_destroy_cancels(void **state) {
    struct fixture *f = *state;
    assert_int_equal(ask(f, 0, 2, "x"), 0);
    node_stop(&f->nodes[0]);
    f->nodes[0].env = NULL;
    expect(f, 0, BND_CANCELED);
}

static void raw_from(struct fixture *f, unsigned sender, const void *data, size_t len) {
    struct bnd_mesh *mesh = f->nodes[sender].mesh;
    struct bnd_slice part = bnd_slice(data, len);
    bnd_sim_env_enter(f->nodes[sender].env);
    assert_int_equal(mesh->ops->send(mesh, 1, BND_MESH_CONTROL, BND_MESH_RPC, &part, 1), 0);
    bnd_sim_env_leave(f->nodes[sender].env);
}

static void raw(struct fixture *f, const void *data, size_t len) {
    raw_from(f, 1, data, len);
}

static void test_malformed_messages_are_dropped(void **state) {
    struct fixture *f = *state;
    uint8_t reply[14] = {2, 0};
    f->nodes[1].keep = true;
    assert_int_equal(ask(f, 0, 2, "x"), 0);
    raw(f, "", 0);
    raw(f, "\x01", 1);
    raw(f,
        "\x01\x01"
        "1234567",
        9);
    raw(f,
        "\x02\x00"
        "12345678",
        10);
    raw(f, "\x63", 1);
    bnd_put_u64(reply + 2, UINT64_MAX);
    raw(f, reply, sizeof reply);
    bnd_put_u64(reply + 2,
                f->calls[0].call.id ^ (UINT64_C(1) << 32)); /* the slot, another generation */
    raw(f, reply, sizeof reply);
    bnd_put_u64(reply + 2, f->calls[0].call.id); /* of a node that was not asked */
    raw_from(f, 2, reply, sizeof reply);
    bnd_sim_run_for(f->world, 1 * S_NS);
    assert_int_equal(f->calls[0].answers, 0);
    assert_int_equal(f->nodes[0].served, 0);
    bnd_put_u64(reply + 2, f->calls[0].call.id);
    bnd_put_u32(reply + 10, 12345); /* no code */
    raw(f, reply, sizeof reply);
    bnd_sim_run_for(f->world, 1 * S_NS);
    expect(f, 0, BND_CORRUPT);
    bnd_sim_env_enter(f->nodes[1].env);
    bnd_rpc_reply(f->nodes[1].kept[0], 0, NULL, 0);
    bnd_sim_env_leave(f->nodes[1].env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_call_gets_its_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline_and_late_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_peer_ends_its_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_sides_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_destroy_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_messages_are_dropped, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
