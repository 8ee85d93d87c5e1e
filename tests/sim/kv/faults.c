#include "tests/sim/kv/faults.h"

#include "tests/sim/kv/history.h"
#include "tests/sim/kv/oracle.h"
#include "tests/sim/memory.h"
#include "tests/sim/nemesis.h"

#define INTERVAL_NS_MIN (200 * BND_MS)
#define INTERVAL_NS_MAX (2500 * BND_MS)
/* Before a machine is lost the others get so long to be well. */
#define WIPE_NS_MAX (40 * SIMKV_SECOND)
#define WIPE_CHECK_NS (500 * BND_MS)
#define IDS_MAX 14 /* BND_SIM_NET_NODES, with a reserve */

struct simkv_faults {
    struct simkv_cluster *cluster;
    struct bnd_sim_nemesis nemesis;
    struct bnd_timer look; /* at clocks, and who comes back */
};

static struct simkv_machine *draw_machine(struct simkv_cluster *cluster) {
    return &cluster->machines[bnd_sim_rng_below(&cluster->rng, cluster->machines_count)];
}

static bool is_away(const struct simkv_machine *machine) {
    return machine->away_until_ns > simkv_now_ns(machine->cluster);
}

/* Heals all cuts but those of machines that are away. */
static void heal_net(struct simkv_cluster *cluster) {
    simkv_heal_net(cluster);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        if (is_away(&cluster->machines[i])) {
            simkv_isolate(cluster, i, true);
        }
    }
}

static void restart_some(void *data, unsigned per_mille) {
    struct simkv_cluster *cluster = ((struct simkv_faults *)data)->cluster;
    for (size_t i = 0; i < cluster->machines_count; i++) {
        struct simkv_machine *machine = &cluster->machines[i];
        if (machine->base.life == BND_SIM_DOWN && !is_away(machine) &&
            bnd_sim_rng_chance(&cluster->rng, per_mille)) {
            simkv_start(machine);
        }
    }
}

static void cut_links(struct simkv_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    bool noticed = bnd_sim_rng_chance(rng, 500);
    heal_net(cluster);
    size_t a = draw_machine(cluster)->place;
    size_t b = draw_machine(cluster)->place;
    if (bnd_sim_rng_chance(rng, 500)) {
        simkv_isolate(cluster, a, noticed);
    } else if (a != b) {
        simkv_cut(cluster, a, b, noticed);
        if (bnd_sim_rng_chance(rng, 500)) {
            simkv_cut(cluster, b, a, noticed);
        }
    }
}

void simkv_faults_site(struct simkv_cluster *cluster) {
    for (size_t i = 0; i < cluster->machines_count; i++) {
        simkv_crash(&cluster->machines[i], BND_SIM_POWER);
    }
}

static void crash_some(struct simkv_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    enum bnd_sim_crash kind = bnd_sim_rng_chance(rng, 600) ? BND_SIM_POWER : BND_SIM_KILL;
    if (bnd_sim_rng_chance(rng, 100)) {
        simkv_faults_site(cluster);
        return;
    }
    struct simkv_machine *machine = draw_machine(cluster);
    if (bnd_sim_rng_chance(rng, 200)) {
        simkv_stop(machine);
    } else {
        simkv_crash(machine, kind);
    }
}

/* One machine at a time is out of bound. */
static void jump_clock(struct simkv_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct simkv_machine *machine = draw_machine(cluster);
    uint64_t draw = bnd_sim_rng_below(rng, 10);
    uint64_t most_ms = draw == 0 ? 600000 : draw < 3 ? 5000 : 400;
    for (size_t i = 0; i < cluster->machines_count; i++) {
        struct bnd_sim_clock *clock = &cluster->machines[i].base.clock;
        if (clock->offset_ms > 400 || clock->offset_ms < -400) {
            clock->offset_ms = 0;
        }
    }
    bnd_sim_nemesis_clock(&machine->base, rng, most_ms);
}

static void hurt_disk(struct simkv_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct simkv_machine *machine = draw_machine(cluster);
    bnd_sim_nemesis_disk(&machine->base, rng, bnd_sim_rng_below(rng, 4));
}

/* Another set of machines that hold shards: one leaves or comes back, or is placed anew. */
static void move_some(struct simkv_cluster *cluster) {
    struct simkv_machine *machine = draw_machine(cluster);
    size_t weighing = 0;
    for (size_t i = 0; i < cluster->machines_count; i++) {
        weighing += cluster->machines[i].weighs;
    }
    if (machine->weighs && weighing > cluster->replicas && bnd_sim_rng_chance(&cluster->rng, 500)) {
        machine->weighs = false;
    } else if (!machine->weighs) {
        machine->weighs = true;
    } else {
        machine->place_id = bnd_sim_rng_u64(&cluster->rng) | UINT64_C(1) << 62;
    }
}

/* For longer than horizons wait: down, or cut off and running. */
static void send_away(struct simkv_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct simkv_machine *machine = draw_machine(cluster);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        if (is_away(&cluster->machines[i])) {
            return;
        }
    }
    uint64_t most_ms = 2 * cluster->absent_ms;
    machine->away_until_ns =
        simkv_now_ns(cluster) + bnd_sim_rng_range(rng, cluster->absent_ms / 2, most_ms) * BND_MS;
    cluster->counts.aways++;
    simkv_isolate(cluster, machine->place, bnd_sim_rng_chance(rng, 500));
    if (bnd_sim_rng_chance(rng, 500)) {
        simkv_crash(machine, BND_SIM_POWER);
    }
}

/* ---- losses -----------------------------------------------------------------------------------*/

/* One disk at a time: every node is up and in reach, and all that was acknowledged is on all
 * replicas, so that what KV promises still holds. */
static bool at_rest(struct simkv_cluster *cluster) {
    for (size_t i = 0; i < cluster->machines_count; i++) {
        const struct simkv_machine *machine = &cluster->machines[i];
        if (machine->base.life != BND_SIM_UP || machine->base.fatal || is_away(machine)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < cluster->shards_count; i++) {
        if (cluster->view.shards[i].replicas_count < 2) {
            return false;
        }
    }
    return simkv_oracle_settled(cluster) && simkv_equal(cluster, false);
}

static bool wipe_one(void *data) {
    struct simkv_cluster *cluster = ((struct simkv_faults *)data)->cluster;
    if (cluster->next_id > IDS_MAX) {
        return true;
    }
    if (!at_rest(cluster)) {
        return false;
    }
    simkv_wipe(draw_machine(cluster));
    return true;
}

/* ---- one after the other ----------------------------------------------------------------------*/

static void fault(void *data) {
    struct simkv_faults *faults = data;
    struct simkv_cluster *cluster = faults->cluster;
    struct bnd_sim_rng *rng = &cluster->rng;
    struct simkv_machine *machine = draw_machine(cluster);
    switch (bnd_sim_rng_below(rng, 22)) {
    case 0:
    case 1:
    case 2:
    case 3:
        heal_net(cluster);
        break;
    case 4:
    case 5:
    case 6:
        cut_links(cluster);
        break;
    case 7:
    case 8:
    case 9:
        crash_some(cluster);
        break;
    case 10:
        jump_clock(cluster);
        break;
    case 11:
        hurt_disk(cluster);
        break;
    case 12:
    case 13:
    case 14:
        move_some(cluster);
        break;
    case 15:
        send_away(cluster);
        break;
    case 16:
    case 17:
        heal_net(cluster);
        bnd_sim_nemesis_lose(&faults->nemesis);
        break;
    case 18:
        if (bnd_sim_rng_chance(rng, 300)) {
            simkv_oracle_namespaces(cluster);
        }
        break;
    default:
        bnd_sim_nemesis_pause(&machine->base, rng, 2000 * BND_MS);
        break;
    }
}

/* A clock is found to be off, or right again, within a second; who was away comes back. */
static void on_look(struct bnd_timer *timer) {
    struct simkv_faults *faults = timer->data;
    struct simkv_cluster *cluster = faults->cluster;
    uint64_t now_ns = simkv_now_ns(cluster);
    uint64_t right_ms = simkv_wall_ms(cluster);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        struct simkv_machine *machine = &cluster->machines[i];
        uint64_t wall_ms = bnd_sim_wall_ms(cluster->world, &machine->base.clock);
        uint64_t off_ms = wall_ms > right_ms ? wall_ms - right_ms : right_ms - wall_ms;
        machine->clock_fit = off_ms <= 500;
        if (machine->away_until_ns != 0 && machine->away_until_ns <= now_ns) {
            machine->away_until_ns = 0;
            heal_net(cluster);
        }
    }
    bnd_sim_world_at(cluster->world, timer, SIMKV_SECOND);
}

struct simkv_faults *simkv_faults_start(struct simkv_cluster *cluster) {
    struct simkv_faults *faults = bnd_sim_zalloc(sizeof *faults);
    faults->cluster = cluster;
    const struct bnd_sim_nemesis_config config = {
        .world = cluster->world,
        .rng = &cluster->rng,
        .interval_ns_min = INTERVAL_NS_MIN,
        .interval_ns_max = INTERVAL_NS_MAX,
        .data = faults,
        .fault = fault,
        .restart = restart_some,
        .lose = wipe_one,
        .lose_check_ns = WIPE_CHECK_NS,
        .lose_ns_max = WIPE_NS_MAX,
    };
    bnd_sim_nemesis_start(&faults->nemesis, &config);
    faults->look = (struct bnd_timer){.cb = on_look, .data = faults};
    bnd_sim_world_at(cluster->world, &faults->look, SIMKV_SECOND);
    return faults;
}

void simkv_faults_heal(struct simkv_faults *faults) {
    struct simkv_cluster *cluster = faults->cluster;
    cluster->calm = true;
    cluster->calm_since_ns = simkv_now_ns(cluster);
    simkv_heal_net(cluster);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        struct simkv_machine *machine = &cluster->machines[i];
        machine->clock_fit = true;
        machine->away_until_ns = 0;
        bnd_sim_nemesis_mend(&machine->base);
    }
    bnd_sim_nemesis_heal(&faults->nemesis);
}

void simkv_faults_destroy(struct simkv_faults *faults) {
    bnd_sim_nemesis_end(&faults->nemesis);
    bnd_sim_world_cancel(faults->cluster->world, &faults->look);
    bnd_sim_free(faults);
}
