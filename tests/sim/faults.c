#include "tests/sim/faults.h"

#include "tests/sim/leaders.h"
#include "tests/sim/membership.h"
#include "tests/sim/memory.h"
#include "tests/sim/nemesis.h"

#define INTERVAL_NS_MIN (50 * BND_MS)
#define INTERVAL_NS_MAX (900 * BND_MS)
/* Before a machine is lost for good the others get so long to be well. */
#define REPLACE_NS_MAX (2500 * BND_MS)
#define REPLACE_CHECK_NS (50 * BND_MS)

struct bnd_sim_faults {
    struct bnd_sim_cluster *cluster;
    struct bnd_sim_nemesis nemesis;
};

static struct bnd_sim_node *draw_node(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_node *node = NULL;
    do {
        node = &cluster->nodes[bnd_sim_rng_below(&cluster->rng, BND_SIM_NODES_MAX)];
    } while (!node->exists);
    return node;
}

static void restart_some(void *data, unsigned per_mille) {
    struct bnd_sim_cluster *cluster = ((struct bnd_sim_faults *)data)->cluster;
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
    bnd_sim_nemesis_cut(cluster->net, rng, a, b, noticed);
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
    bnd_sim_nemesis_clock(&node->base, rng, most_ms);
}

static void hurt_disk(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct bnd_sim_node *node = draw_node(cluster);
    uint64_t draw = bnd_sim_rng_below(rng, 5);
    if (draw == 1) { /* longer than a hung journal write may take: the node stops itself */
        node->base.disk_failed = node->base.life == BND_SIM_UP;
        bnd_sim_disk_stall(node->base.disk, node->base.disk_failed ? 4000 * BND_MS : 0);
    } else {
        bnd_sim_nemesis_disk(&node->base, rng, draw == 0 ? 0 : draw - 1);
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
            bnd_sim_nemesis_lose(&faults->nemesis);
        }
        break;
    case 16:
        hand_over(node);
        break;
    default:
        bnd_sim_nemesis_pause(&node->base, rng, 2000 * BND_MS);
        break;
    }
}

static void on_fault(void *data) {
    struct bnd_sim_faults *faults = data;
    fault(faults);
    if (bnd_sim_rng_chance(&faults->cluster->rng, 300)) {
        bnd_sim_leaders_draw(faults->cluster);
    }
}

static bool on_lose(void *data) {
    return bnd_sim_membership_replace(((struct bnd_sim_faults *)data)->cluster);
}

struct bnd_sim_faults *bnd_sim_faults_start(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_faults *faults = bnd_sim_zalloc(sizeof *faults);
    faults->cluster = cluster;
    const struct bnd_sim_nemesis_config config = {
        .world = cluster->world,
        .rng = &cluster->rng,
        .interval_ns_min = INTERVAL_NS_MIN,
        .interval_ns_max = INTERVAL_NS_MAX,
        .data = faults,
        .fault = on_fault,
        .restart = restart_some,
        .lose = on_lose,
        .lose_check_ns = REPLACE_CHECK_NS,
        .lose_ns_max = REPLACE_NS_MAX,
    };
    bnd_sim_nemesis_start(&faults->nemesis, &config);
    return faults;
}

void bnd_sim_faults_heal(struct bnd_sim_faults *faults) {
    struct bnd_sim_cluster *cluster = faults->cluster;
    bnd_sim_net_heal(cluster->net);
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        bnd_sim_nemesis_mend(&cluster->nodes[n].base);
    }
    bnd_sim_nemesis_heal(&faults->nemesis);
}

void bnd_sim_faults_destroy(struct bnd_sim_faults *faults) {
    if (faults != NULL) {
        bnd_sim_nemesis_end(&faults->nemesis);
        bnd_sim_free(faults);
    }
}
