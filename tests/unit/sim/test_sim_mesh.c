/* The simulated network keeps net/mesh.h's promises, and breaks what it may break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/mesh.h"

#define NODES 3
#define GOT_MAX 4096

struct rig;

struct node {
    struct rig *rig;
    uint64_t id;
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *sim;
    struct bnd_mesh *mesh;
    bool up[NODES + 1];
    unsigned ups, downs;
    uint32_t got[GOT_MAX];
    size_t got_count;
    uint32_t last_seen[NODES + 1]; /* highest number per sender */
};

struct rig {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct node nodes[NODES + 1];
};

static void on_message(void *owner, uint64_t from, struct bnd_slice message) {
    struct node *node = owner;
    assert_true(node->up[from]); /* nothing comes before "up" or after "down" */
    assert_int_equal(message.len, 6);
    uint32_t number = bnd_get_u32(message.data);
    assert_true(number > node->last_seen[from]); /* in order, at most once */
    node->last_seen[from] = number;
    if (node->got_count < GOT_MAX) {
        node->got[node->got_count++] = number;
    }
}

static void on_peer(void *owner, uint64_t peer, bool up) {
    struct node *node = owner;
    assert_true(node->up[peer] != up);
    node->up[peer] = up;
    node->ups += up ? 1u : 0u;
    node->downs += up ? 0u : 1u;
}

static void node_boot(struct rig *rig, uint64_t id) {
    struct node *node = &rig->nodes[id];
    memset(node->up, 0, sizeof node->up);
    node->sim = bnd_sim_env_create(rig->world, node->disk, NULL, id);
    node->mesh = bnd_sim_net_attach(rig->net, node->sim);
    node->mesh->ops->receive(node->mesh, BND_MESH_RAFT, on_message, node);
    node->mesh->ops->watch(node->mesh, on_peer, node);
}

static void rig_open(struct rig *rig, uint64_t seed, unsigned loss_per_mille) {
    *rig = (struct rig){0};
    rig->world = bnd_sim_world_create(seed);
    struct bnd_sim_net_config config;
    bnd_sim_net_config_default(&config);
    config.loss_per_mille = loss_per_mille;
    rig->net = bnd_sim_net_create(rig->world, &config);
    for (uint64_t id = 1; id <= NODES; id++) {
        rig->nodes[id].rig = rig;
        rig->nodes[id].id = id;
        rig->nodes[id].disk = bnd_sim_disk_create(rig->world, id, 0);
        node_boot(rig, id);
    }
}

static void rig_close(struct rig *rig) {
    for (uint64_t id = 1; id <= NODES; id++) {
        bnd_sim_env_stop(rig->nodes[id].sim);
        bnd_sim_disk_destroy(rig->nodes[id].disk);
    }
    bnd_sim_net_destroy(rig->net);
    bnd_sim_world_destroy(rig->world);
}

static int send_number(struct rig *rig, uint64_t from, uint64_t to, uint32_t number) {
    uint8_t head[4];
    bnd_put_u32(head, number);
    struct bnd_slice parts[2] = {bnd_slice(head, 4), bnd_slice_str("xy")};
    struct bnd_mesh *mesh = rig->nodes[from].mesh;
    bnd_sim_env_enter(rig->nodes[from].sim);
    int rv = mesh->ops->send(mesh, to, BND_MESH_CONTROL, BND_MESH_RAFT, parts, 2);
    bnd_sim_env_leave(rig->nodes[from].sim);
    return rv;
}

static void test_peers_come_up_and_messages_arrive_in_order(void **state) {
    struct rig rig;
    rig_open(&rig, 1, 0);
    assert_int_equal(send_number(&rig, 1, 2, 1), BND_CLOSED);
    bnd_sim_run_for(rig.world, 200 * BND_MS);
    assert_int_equal(rig.nodes[1].ups, 2);
    assert_true(rig.nodes[1].mesh->ops->up(rig.nodes[1].mesh, 2));
    assert_false(rig.nodes[1].mesh->ops->up(rig.nodes[1].mesh, 77));
    for (uint32_t i = 1; i <= 500; i++) {
        assert_int_equal(send_number(&rig, 1, 2, i), 0);
        assert_int_equal(send_number(&rig, 3, 2, i), 0);
        bnd_sim_run_for(rig.world, BND_MS);
    }
    assert_true(rig.nodes[1].mesh->ops->queued(rig.nodes[1].mesh, 2, BND_MESH_CONTROL) > 0);
    bnd_sim_run_for(rig.world, 1000 * BND_MS);
    assert_int_equal(rig.nodes[2].got_count, 1000);
    assert_int_equal(rig.nodes[1].mesh->ops->queued(rig.nodes[1].mesh, 2, BND_MESH_CONTROL), 0);
    unsigned swaps = 0; /* the two links overtake each other */
    for (size_t i = 1; i < 1000; i++) {
        swaps += rig.nodes[2].got[i] < rig.nodes[2].got[i - 1] ? 1u : 0u;
    }
    assert_true(swaps > 10);
    rig_close(&rig);
}

static void test_loss_loses_some(void **state) {
    struct rig rig;
    rig_open(&rig, 1, 200);
    bnd_sim_run_for(rig.world, 200 * BND_MS);
    for (uint32_t i = 1; i <= 1000; i++) {
        assert_int_equal(send_number(&rig, 1, 2, i), 0);
    }
    bnd_sim_run_for(rig.world, 1000 * BND_MS);
    assert_in_range(rig.nodes[2].got_count, 700, 900);
    rig_close(&rig);
}

static void test_message_to_self_comes_later(void **state) {
    struct rig rig;
    rig_open(&rig, 1, 0);
    rig.nodes[1].up[1] = true;
    assert_int_equal(send_number(&rig, 1, 1, 7), 0);
    assert_int_equal(rig.nodes[1].got_count, 0);
    bnd_sim_run_for(rig.world, BND_MS);
    assert_int_equal(rig.nodes[1].got_count, 1);
    rig_close(&rig);
}

static void test_noticed_cut_breaks_and_heals(void **state) {
    struct rig rig;
    rig_open(&rig, 1, 0);
    bnd_sim_run_for(rig.world, 200 * BND_MS);
    bnd_sim_net_isolate(rig.net, 1, true);
    assert_int_equal(send_number(&rig, 1, 2, 1), 0); /* not noticed yet: lost */
    bnd_sim_run_for(rig.world, 1000 * BND_MS);
    assert_int_equal(rig.nodes[2].got_count, 0);
    assert_int_equal(rig.nodes[1].downs, 2);
    assert_int_equal(rig.nodes[2].downs, 1);
    assert_int_equal(send_number(&rig, 1, 2, 2), BND_CLOSED);
    assert_int_equal(send_number(&rig, 3, 2, 1), 0);
    bnd_sim_net_heal(rig.net);
    bnd_sim_run_for(rig.world, 1000 * BND_MS);
    assert_int_equal(send_number(&rig, 1, 2, 3), 0);
    bnd_sim_run_for(rig.world, 1000 * BND_MS);
    assert_int_equal(rig.nodes[2].last_seen[1], 3);
    rig_close(&rig);
}

static void test_one_way_cut_lets_the_other_way_through(void **state) {
    struct rig rig;
    rig_open(&rig, 1, 0);
    bnd_sim_run_for(rig.world, 200 * BND_MS);
    bnd_sim_net_cut(rig.net, 1, 2, true, false);
    assert_int_equal(send_number(&rig, 1, 2, 1), 0);
    assert_int_equal(send_number(&rig, 2, 1, 1), 0);
    bnd_sim_run_for(rig.world, 1000 * BND_MS);
    assert_int_equal(rig.nodes[2].got_count, 0);
    assert_int_equal(rig.nodes[1].got_count, 1);
    assert_int_equal(rig.nodes[1].downs, 0);
    assert_true(rig.nodes[1].mesh->ops->silence_ns(rig.nodes[1].mesh, 2) < 1000 * BND_MS);
    assert_true(rig.nodes[2].mesh->ops->silence_ns(rig.nodes[2].mesh, 1) >= 1000 * BND_MS);
    rig_close(&rig);
}

static void test_restart_makes_a_new_connection(void **state) {
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct rig rig;
        rig_open(&rig, seed, 0);
        bnd_sim_run_for(rig.world, 200 * BND_MS);
        assert_int_equal(send_number(&rig, 1, 2, 1),
                         0); /* under way to the dead incarnation: lost */
        bnd_sim_env_crash(rig.nodes[2].sim, BND_SIM_KILL);
        node_boot(&rig, 2);
        bnd_sim_run_for(rig.world, 2000 * BND_MS);
        assert_int_equal(rig.nodes[2].got_count, 0);
        assert_int_equal(rig.nodes[1].downs, 1);
        assert_true(rig.nodes[1].up[2] && rig.nodes[2].up[1]);
        assert_int_equal(send_number(&rig, 1, 2, 2), 0);
        bnd_sim_run_for(rig.world, 1000 * BND_MS);
        assert_int_equal(rig.nodes[2].got_count, 1);
        rig_close(&rig);
    }
}

/* Any faults: the asserts in on_message and on_peer hold, and in the end all is well again. */
static void test_random_faults_keep_the_promise(void **state) {
    for (uint64_t seed = 1; seed < 40; seed++) {
        struct rig rig;
        struct bnd_sim_rng rng;
        rig_open(&rig, seed, 20);
        bnd_sim_rng_init(&rng, seed, "test", 0);
        for (uint32_t i = 1; i < 400; i++) {
            uint64_t a = 1 + bnd_sim_rng_below(&rng, NODES);
            uint64_t b = 1 + bnd_sim_rng_below(&rng, NODES);
            if (a != b) {
                int rv = send_number(&rig, a, b, i);
                assert_true(rv == 0 || rv == BND_CLOSED);
            }
            if (a != b && bnd_sim_rng_chance(&rng, 50)) {
                bnd_sim_net_cut(rig.net, a, b, true, bnd_sim_rng_chance(&rng, 500));
            }
            if (bnd_sim_rng_chance(&rng, 50)) {
                bnd_sim_net_heal(rig.net);
            }
            if (bnd_sim_rng_chance(&rng, 30)) {
                bnd_sim_env_crash(rig.nodes[a].sim, BND_SIM_POWER);
                node_boot(&rig, a);
            }
            bnd_sim_run_for(rig.world, bnd_sim_rng_below(&rng, 50 * BND_MS));
        }
        bnd_sim_net_heal(rig.net);
        bnd_sim_run_for(rig.world, 3000 * BND_MS);
        for (uint64_t a = 1; a <= NODES; a++) {
            for (uint64_t b = 1; b <= NODES; b++) {
                assert_true(a == b || rig.nodes[a].up[b]);
            }
        }
        struct bnd_sim_net_stats stats;
        bnd_sim_net_stats(rig.net, &stats);
        assert_true(stats.delivered > 50);
        assert_int_equal(stats.sent, stats.delivered + stats.lost);
        rig_close(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers_come_up_and_messages_arrive_in_order),
        cmocka_unit_test(test_loss_loses_some),
        cmocka_unit_test(test_message_to_self_comes_later),
        cmocka_unit_test(test_noticed_cut_breaks_and_heals),
        cmocka_unit_test(test_one_way_cut_lets_the_other_way_through),
        cmocka_unit_test(test_restart_makes_a_new_connection),
        cmocka_unit_test(test_random_faults_keep_the_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
