#include "tests/sim/sql/faults.h"

#include "base/assert.h"
#include "tests/sim/memory.h"

#define INTERVAL_NS_MIN (50 * BND_MS)
#define INTERVAL_NS_MAX (800 * BND_MS)
#define HEAL_CHECK_NS (200 * BND_MS)

struct simsql_faults {
    struct simsql_cluster *cluster;
    struct bnd_timer timer;
    struct bnd_timer flicker; /* heals a short cut */
    bool healed;
};

/* One that stores, mostly. */
static struct simsql_machine *draw_machine(struct simsql_cluster *cluster) {
    size_t at = bnd_sim_rng_below(&cluster->rng, cluster->nodes_count + 1);
    return &cluster->machines[at == cluster->nodes_count ? SIMSQL_MACHINES_MAX - 1 : at];
}

static bool takes_part(const struct simsql_cluster *cluster, size_t place) {
    return place < cluster->nodes_count || cluster->machines[place].gateway;
}

static void restart_some(struct simsql_cluster *cluster, unsigned per_mille) {
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
    if (bnd_sim_rng_chance(rng, 600)) {
        bnd_sim_net_isolate(cluster->net, a, noticed);
    } else if (a != b) {
        bnd_sim_net_cut(cluster->net, a, b, true, noticed);
        if (bnd_sim_rng_chance(rng, 500)) {
            bnd_sim_net_cut(cluster->net, b, a, true, noticed);
        }
    }
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
    switch (bnd_sim_rng_below(rng, 4)) {
    case 0:
        machine->base.disk_failed = machine->base.life == BND_SIM_UP;
        if (machine->base.disk_failed) {
            bnd_sim_disk_fail(machine->base.disk, 1 + bnd_sim_rng_below(rng, 20), BND_IO, true);
        }
        break;
    case 1:
        bnd_sim_store_stall(machine->base.store, bnd_sim_rng_below(rng, 500 * BND_MS));
        break;
    default:
        bnd_sim_disk_stall(machine->base.disk, bnd_sim_rng_below(rng, 800 * BND_MS));
        break;
    }
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

static void pause_machine(struct simsql_machine *machine) {
    struct simsql_cluster *cluster = machine->cluster;
    if (machine->base.life == BND_SIM_UP) {
        bnd_sim_env_pause(machine->base.env, bnd_sim_rng_below(&cluster->rng, 1500 * BND_MS));
    }
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
    machine->base.clock.offset_ms = (int64_t)bnd_sim_rng_below(rng, 2 * most_ms) - (int64_t)most_ms;
    machine->base.clock.drift_ppm = (int64_t)bnd_sim_rng_below(rng, 400) - 200;
}

static void fault(struct simsql_faults *faults) {
    struct simsql_cluster *cluster = faults->cluster;
    struct simsql_machine *machine = draw_machine(cluster);
    switch (bnd_sim_rng_below(&cluster->rng, 24)) {
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
    case 20:
    case 21:
        pause_machine(draw_leader(cluster));
        break;
    default:
        pause_machine(machine);
        break;
    }
}

static void on_timer(struct bnd_timer *timer) {
    struct simsql_faults *faults = timer->data;
    struct simsql_cluster *cluster = faults->cluster;
    if (faults->healed) {
        restart_some(cluster, 1000); /* a stop under way may end only now */
        bnd_sim_world_at(cluster->world, timer, HEAL_CHECK_NS);
        return;
    }
    fault(faults);
    restart_some(cluster, 500);
    bnd_sim_world_at(cluster->world, timer,
                     bnd_sim_rng_range(&cluster->rng, INTERVAL_NS_MIN, INTERVAL_NS_MAX));
}

struct simsql_faults *simsql_faults_start(struct simsql_cluster *cluster) {
    struct simsql_faults *faults = bnd_sim_zalloc(sizeof *faults);
    faults->cluster = cluster;
    faults->timer = (struct bnd_timer){.cb = on_timer, .data = faults};
    faults->flicker = (struct bnd_timer){.cb = on_flicker, .data = faults};
    bnd_sim_world_at(cluster->world, &faults->timer, INTERVAL_NS_MAX);
    return faults;
}

void simsql_faults_heal(struct simsql_faults *faults) {
    struct simsql_cluster *cluster = faults->cluster;
    faults->healed = true;
    bnd_sim_net_heal(cluster->net);
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        struct simsql_machine *machine = &cluster->machines[i];
        machine->base.clock = (struct bnd_sim_clock){0};
        bnd_sim_disk_heal(machine->base.disk);
        bnd_sim_store_stall(machine->base.store, 0);
    }
    restart_some(cluster, 1000);
    bnd_sim_world_at(cluster->world, &faults->timer, HEAL_CHECK_NS);
}

void simsql_faults_destroy(struct simsql_faults *faults) {
    bnd_sim_world_cancel(faults->cluster->world, &faults->timer);
    bnd_sim_world_cancel(faults->cluster->world, &faults->flicker);
    bnd_sim_free(faults);
}
