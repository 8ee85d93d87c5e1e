#include "tests/sim/sql/faults.h"

#include "tests/sim/memory.h"
#include "tests/sim/nemesis.h"

#define INTERVAL_NS_MIN (50 * BND_MS)
#define INTERVAL_NS_MAX (800 * BND_MS)
#define PAUSE_NS_MAX (1500 * BND_MS)
#define LOSE_CHECK_NS (15 * BND_MS)
#define LOSE_NS_MAX (3 * SIMSQL_SECOND) /* the others get so long to be well */

struct simsql_faults {
    struct simsql_cluster *cluster;
    struct bnd_sim_nemesis nemesis;
    struct bnd_timer flicker; /* heals a short cut */
};

/* One that stores, mostly. */
static struct simsql_machine *draw_machine(struct simsql_cluster *cluster) {
    size_t at = bnd_sim_rng_below(&cluster->rng, cluster->nodes_count + 1);
    return &cluster->machines[at == cluster->nodes_count ? SIMSQL_MACHINES_MAX - 1 : at];
}

static bool takes_part(const struct simsql_cluster *cluster, size_t place) {
    return (place < cluster->nodes_count && !cluster->machines[place].lost) ||
           cluster->machines[place].gateway;
}

static void restart_some(void *data, unsigned per_mille) {
    struct simsql_cluster *cluster = ((struct simsql_faults *)data)->cluster;
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        struct simsql_machine *machine = &cluster->machines[i];
        if (takes_part(cluster, i) && machine->base.life == BND_SIM_DOWN &&
            bnd_sim_rng_chance(&cluster->rng, per_mille)) {
            simsql_start(machine);
        }
    }
}

static void cut_links(struct simsql_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    bool noticed = bnd_sim_rng_chance(rng, 700);
    uint64_t a = draw_machine(cluster)->id;
    uint64_t b = draw_machine(cluster)->id;
    bnd_sim_net_heal(cluster->net);
    bnd_sim_nemesis_cut(cluster->net, rng, a, b, noticed);
}

static void crash_some(struct simsql_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct simsql_machine *machine = draw_machine(cluster);
    if (bnd_sim_rng_chance(rng, 80)) { /* the whole site */
        for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
            simsql_crash(&cluster->machines[i], BND_SIM_POWER);
        }
    } else if (bnd_sim_rng_chance(rng, 200)) {
        simsql_stop(machine);
    } else {
        simsql_crash(machine, bnd_sim_rng_chance(rng, 600) ? BND_SIM_POWER : BND_SIM_KILL);
    }
}

static void hurt_disk(struct simsql_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct simsql_machine *machine = draw_machine(cluster);
    bnd_sim_nemesis_disk(&machine->base, rng, bnd_sim_rng_below(rng, 4));
}

static void hand_over(struct simsql_machine *machine) {
    if (machine->base.life == BND_SIM_UP && !machine->base.fatal && machine->host != NULL) {
        bnd_sim_env_enter(machine->base.env);
        bnd_raft_step_down_all(machine->host);
        bnd_sim_env_leave(machine->base.env);
    }
}

/* Who leads something; or whoever is drawn. */
static struct simsql_machine *draw_leader(struct simsql_cluster *cluster) {
    size_t group = bnd_sim_rng_below(&cluster->rng, SIMSQL_SHARDS);
    for (size_t i = 0; i < cluster->nodes_count; i++) {
        if (cluster->machines[i].base.life == BND_SIM_UP && cluster->machines[i].led[group]) {
            return &cluster->machines[i];
        }
    }
    return draw_machine(cluster);
}

static void on_flicker(struct bnd_timer *timer) {
    struct simsql_faults *faults = timer->data;
    bnd_sim_net_heal(faults->cluster->net);
}

/* A leader is cut off for about as long as the others need to elect another. */
static void flicker(struct simsql_faults *faults) {
    struct simsql_cluster *cluster = faults->cluster;
    struct bnd_sim_rng *rng = &cluster->rng;
    bnd_sim_net_isolate(cluster->net, draw_leader(cluster)->id, bnd_sim_rng_chance(rng, 300));
    bnd_sim_world_at(cluster->world, &faults->flicker, bnd_sim_rng_range(rng, 100, 1200) * BND_MS);
}

static void jump_clock(struct simsql_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct simsql_machine *machine = draw_machine(cluster);
    uint64_t most_ms = bnd_sim_rng_chance(rng, 300) ? 30000 : 400;
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) { /* one at a time is out of bound */
        struct bnd_sim_clock *clock = &cluster->machines[i].base.clock;
        if (clock->offset_ms > 400 || clock->offset_ms < -400) {
            clock->offset_ms = 0;
        }
    }
    cluster->jumped |= most_ms > 400;
    bnd_sim_nemesis_clock(&machine->base, rng, most_ms);
}

static void fault(void *data) {
    struct simsql_faults *faults = data;
    struct simsql_cluster *cluster = faults->cluster;
    struct simsql_machine *machine = draw_machine(cluster);
    switch (bnd_sim_rng_below(&cluster->rng, 25)) {
    case 0:
    case 1:
    case 2:
    case 3:
        bnd_sim_net_heal(cluster->net);
        break;
    case 4:
    case 5:
    case 6:
        cut_links(cluster);
        break;
    case 7:
    case 8:
        crash_some(cluster);
        break;
    case 9:
        jump_clock(cluster);
        break;
    case 10:
    case 11:
        hurt_disk(cluster);
        break;
    case 12:
    case 13:
        simsql_wish(cluster);
        break;
    case 14:
    case 15:
    case 16:
        hand_over(machine);
        break;
    case 17:
    case 18:
    case 19:
        flicker(faults);
        break;
    case 24:
        if (bnd_sim_rng_chance(&cluster->rng, 500)) {
            bnd_sim_net_heal(cluster->net);
            bnd_sim_nemesis_lose(&faults->nemesis);
        }
        break;
    case 20:
    case 21:
        bnd_sim_nemesis_pause(&draw_leader(cluster)->base, &cluster->rng, PAUSE_NS_MAX);
        break;
    default:
        bnd_sim_nemesis_pause(&machine->base, &cluster->rng, PAUSE_NS_MAX);
        break;
    }
}

static bool lose(void *data) {
    return simsql_lose(((struct simsql_faults *)data)->cluster);
}

struct simsql_faults *simsql_faults_start(struct simsql_cluster *cluster) {
    struct simsql_faults *faults = bnd_sim_zalloc(sizeof *faults);
    faults->cluster = cluster;
    faults->flicker = (struct bnd_timer){.cb = on_flicker, .data = faults};
    const struct bnd_sim_nemesis_config config = {
        .world = cluster->world,
        .rng = &cluster->rng,
        .interval_ns_min = INTERVAL_NS_MIN,
        .interval_ns_max = INTERVAL_NS_MAX,
        .data = faults,
        .fault = fault,
        .restart = restart_some,
        .lose = lose,
        .lose_check_ns = LOSE_CHECK_NS,
        .lose_ns_max = LOSE_NS_MAX,
    };
    bnd_sim_nemesis_start(&faults->nemesis, &config);
    return faults;
}

void simsql_faults_heal(struct simsql_faults *faults) {
    struct simsql_cluster *cluster = faults->cluster;
    bnd_sim_net_heal(cluster->net);
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        bnd_sim_nemesis_mend(&cluster->machines[i].base);
    }
    bnd_sim_nemesis_heal(&faults->nemesis);
}

void simsql_faults_destroy(struct simsql_faults *faults) {
    bnd_sim_nemesis_end(&faults->nemesis);
    bnd_sim_world_cancel(faults->cluster->world, &faults->flicker);
    bnd_sim_free(faults);
}
