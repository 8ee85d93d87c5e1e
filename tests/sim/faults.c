#include "tests/sim/faults.h"

#include "tests/sim/leaders.h"
#include "tests/sim/membership.h"
#include "tests/sim/memory.h"

#include <stdio.h>

#define INTERVAL_NS_MIN (50 * BND_MS)
#define INTERVAL_NS_MAX (900 * BND_MS)
#define HEAL_CHECK_NS (200 * BND_MS)
/* Before a machine is lost for good the others get so long to be well. */
#define REPLACE_NS_MAX (2500 * BND_MS)
#define REPLACE_CHECK_NS (50 * BND_MS)

struct bnd_sim_faults {
    struct bnd_sim_cluster *cluster;
    struct bnd_timer timer;
    bool healed;
    uint64_t replace_until_ns; /* a machine is to be lost for good; 0: no */
};

static struct bnd_sim_node *draw_node(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_node *node = NULL;
    do {
        node = &cluster->nodes[bnd_sim_rng_below(&cluster->rng, BND_SIM_NODES_MAX)];
    } while (!node->exists);
    return node;
}

static void restart_some(struct bnd_sim_cluster *cluster, unsigned per_mille) {
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        struct bnd_sim_node *node = &cluster->nodes[n];
        if (node->exists && node->base.life == BND_SIM_DOWN &&
            bnd_sim_rng_chance(&cluster->rng, per_mille)) {
            bnd_sim_node_start(node);
        }
    }
}

static void cut_links(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    bool noticed = bnd_sim_rng_chance(rng, 500);
    bnd_sim_net_heal(cluster->net);
    uint64_t a = draw_node(cluster)->id;
    uint64_t b = draw_node(cluster)->id;
    if (bnd_sim_rng_chance(rng, 600)) {
        bnd_sim_net_isolate(cluster->net, a, noticed);
    } else if (a != b) {
        bnd_sim_net_cut(cluster->net, a, b, true, noticed);
        if (bnd_sim_rng_chance(rng, 500)) {
            bnd_sim_net_cut(cluster->net, b, a, true, noticed);
        }
    }
}

static void crash_some(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    enum bnd_sim_crash kind = bnd_sim_rng_chance(rng, 600) ? BND_SIM_POWER : BND_SIM_KILL;
    if (bnd_sim_rng_chance(rng, 100)) { /* the whole site */
        for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
            bnd_sim_node_crash(&cluster->nodes[n], BND_SIM_POWER);
        }
        return;
    }
    struct bnd_sim_node *node = draw_node(cluster);
    if (bnd_sim_rng_chance(rng, 150)) {
        bnd_sim_node_stop(node);
    } else {
        bnd_sim_node_crash(node, kind);
    }
}

static void jump_clock(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct bnd_sim_node *node = draw_node(cluster);
    uint64_t most_ms = bnd_sim_rng_chance(rng, 200) ? 5000 : 700;
    node->base.clock.offset_ms = (int64_t)bnd_sim_rng_below(rng, 2 * most_ms) - (int64_t)most_ms;
    node->base.clock.drift_ppm = (int64_t)bnd_sim_rng_below(rng, 400) - 200;
}

static void hurt_disk(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct bnd_sim_node *node = draw_node(cluster);
    switch (bnd_sim_rng_below(rng, 5)) {
    case 0:
        node->base.disk_failed = node->base.life == BND_SIM_UP;
        if (node->base.disk_failed) {
            bnd_sim_disk_fail(node->base.disk, 1 + bnd_sim_rng_below(rng, 20), BND_IO, true);
        }
        break;
    case 1: /* longer than a hung journal write may take: the node stops itself */
        node->base.disk_failed = node->base.life == BND_SIM_UP;
        bnd_sim_disk_stall(node->base.disk, node->base.disk_failed ? 4000 * BND_MS : 0);
        break;
    case 2:
        bnd_sim_store_stall(node->base.store, bnd_sim_rng_below(rng, 500 * BND_MS));
        break;
    default:
        bnd_sim_disk_stall(node->base.disk, bnd_sim_rng_below(rng, 800 * BND_MS));
        break;
    }
}

/* As a clean stop begins (node/node.c); the node may stop, or stay. */
static void hand_over(struct bnd_sim_node *node) {
    if (node->base.life == BND_SIM_UP && !node->base.fatal) {
        bnd_sim_env_enter(node->base.env);
        bnd_raft_step_down_all(node->host);
        bnd_sim_env_leave(node->base.env);
    }
}

static void fault(struct bnd_sim_faults *faults) {
    struct bnd_sim_cluster *cluster = faults->cluster;
    struct bnd_sim_rng *rng = &cluster->rng;
    struct bnd_sim_node *node = draw_node(cluster);
    switch (bnd_sim_rng_below(rng, 19)) {
    case 0:
    case 1:
    case 2:
        bnd_sim_net_heal(cluster->net);
        break;
    case 3:
    case 4:
    case 5:
        cut_links(cluster);
        break;
    case 6:
    case 7:
    case 8:
        crash_some(cluster);
        break;
    case 9:
        jump_clock(cluster);
        break;
    case 10:
    case 18:
        hurt_disk(cluster);
        break;
    case 11:
    case 12:
    case 13:
    case 14:
        bnd_sim_membership_change(cluster);
        break;
    case 15:
        if (bnd_sim_rng_chance(rng, 500)) {
            bnd_sim_net_heal(cluster->net);
            faults->replace_until_ns = bnd_sim_world_now_ns(cluster->world) + REPLACE_NS_MAX;
        }
        break;
    case 16:
        hand_over(node);
        break;
    default:
        if (node->base.life == BND_SIM_UP) {
            bnd_sim_env_pause(node->base.env, bnd_sim_rng_below(rng, 2000 * BND_MS));
        }
        break;
    }
}

static void on_timer(struct bnd_timer *timer) {
    struct bnd_sim_faults *faults = timer->data;
    struct bnd_sim_cluster *cluster = faults->cluster;
    if (faults->healed) {
        restart_some(cluster, 1000); /* a stop under way may end only now */
        bnd_sim_world_at(cluster->world, timer, HEAL_CHECK_NS);
        return;
    }
    if (faults->replace_until_ns > 0) {
        restart_some(cluster, 1000);
        bool over = bnd_sim_membership_replace(cluster) ||
                    bnd_sim_world_now_ns(cluster->world) > faults->replace_until_ns;
        faults->replace_until_ns = over ? 0 : faults->replace_until_ns;
        bnd_sim_world_at(cluster->world, timer, REPLACE_CHECK_NS);
        return;
    }
    fault(faults);
    if (bnd_sim_rng_chance(&cluster->rng, 300)) {
        bnd_sim_leaders_draw(cluster);
    }
    restart_some(cluster, 500);
    bnd_sim_world_at(cluster->world, timer,
                     bnd_sim_rng_range(&cluster->rng, INTERVAL_NS_MIN, INTERVAL_NS_MAX));
}

struct bnd_sim_faults *bnd_sim_faults_start(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_faults *faults = bnd_sim_zalloc(sizeof *faults);
    faults->cluster = cluster;
    faults->timer = (struct bnd_timer){.cb = on_timer, .data = faults};
    bnd_sim_world_at(cluster->world, &faults->timer, INTERVAL_NS_MAX);
    return faults;
}

void bnd_sim_faults_heal(struct bnd_sim_faults *faults) {
    struct bnd_sim_cluster *cluster = faults->cluster;
    faults->healed = true;
    bnd_sim_net_heal(cluster->net);
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        struct bnd_sim_node *node = &cluster->nodes[n];
        node->base.clock = (struct bnd_sim_clock){0};
        bnd_sim_disk_heal(node->base.disk);
        bnd_sim_store_stall(node->base.store, 0);
    }
    restart_some(cluster, 1000);
    bnd_sim_world_at(cluster->world, &faults->timer, HEAL_CHECK_NS);
}

void bnd_sim_faults_destroy(struct bnd_sim_faults *faults) {
    if (faults != NULL) {
        bnd_sim_world_cancel(faults->cluster->world, &faults->timer);
        bnd_sim_free(faults);
    }
}
