#include "tests/sim/nemesis.h"

#define HEAL_CHECK_NS (200 * BND_MS)

/* ---- the schedule ----------------------------------------------------------------------------*/

/* How long until the next. */
static uint64_t act(struct bnd_sim_nemesis *nemesis) {
    const struct bnd_sim_nemesis_config *config = &nemesis->config;
    if (nemesis->healed) {
        config->restart(config->data, 1000); /* a stop under way may end only now */
        return HEAL_CHECK_NS;
    }
    if (nemesis->lose_until_ns > 0) {
        config->restart(config->data, 1000);
        bool over = config->lose(config->data) ||
                    bnd_sim_world_now_ns(config->world) > nemesis->lose_until_ns;
        nemesis->lose_until_ns = over ? 0 : nemesis->lose_until_ns;
        return config->lose_check_ns;
    }
    config->fault(config->data);
    config->restart(config->data, 500);
    return bnd_sim_rng_range(config->rng, config->interval_ns_min, config->interval_ns_max);
}

static void on_timer(struct bnd_timer *timer) {
    struct bnd_sim_nemesis *nemesis = timer->data;
    bnd_sim_world_at(nemesis->config.world, timer, act(nemesis));
}

void bnd_sim_nemesis_start(struct bnd_sim_nemesis *nemesis,
                           const struct bnd_sim_nemesis_config *config) {
    *nemesis = (struct bnd_sim_nemesis){.config = *config,
                                        .timer = {.cb = on_timer, .data = nemesis}};
    bnd_sim_world_at(config->world, &nemesis->timer, config->interval_ns_max);
}

void bnd_sim_nemesis_lose(struct bnd_sim_nemesis *nemesis) {
    nemesis->lose_until_ns =
        bnd_sim_world_now_ns(nemesis->config.world) + nemesis->config.lose_ns_max;
}

void bnd_sim_nemesis_heal(struct bnd_sim_nemesis *nemesis) {
    nemesis->healed = true;
    bnd_sim_world_at(nemesis->config.world, &nemesis->timer, act(nemesis));
}

void bnd_sim_nemesis_end(struct bnd_sim_nemesis *nemesis) {
    bnd_sim_world_cancel(nemesis->config.world, &nemesis->timer);
}

/* ---- faults ----------------------------------------------------------------------------------*/

void bnd_sim_nemesis_cut(struct bnd_sim_net *net, struct bnd_sim_rng *rng, uint64_t a, uint64_t b,
                         bool noticed) {
    if (bnd_sim_rng_chance(rng, 600)) {
        bnd_sim_net_isolate(net, a, noticed);
    } else if (a != b) {
        bnd_sim_net_cut(net, a, b, true, noticed);
        if (bnd_sim_rng_chance(rng, 500)) {
            bnd_sim_net_cut(net, b, a, true, noticed);
        }
    }
}

void bnd_sim_nemesis_disk(struct bnd_sim_machine *machine, struct bnd_sim_rng *rng, uint64_t draw) {
    switch (draw) {
    case 0:
        machine->disk_failed = machine->life == BND_SIM_UP;
        if (machine->disk_failed) {
            bnd_sim_disk_fail(machine->disk, 1 + bnd_sim_rng_below(rng, 20), BND_IO, true);
        }
        break;
    case 1:
        bnd_sim_store_stall(machine->store, bnd_sim_rng_below(rng, 500 * BND_MS));
        break;
    default:
        bnd_sim_disk_stall(machine->disk, bnd_sim_rng_below(rng, 800 * BND_MS));
        break;
    }
}

void bnd_sim_nemesis_clock(struct bnd_sim_machine *machine, struct bnd_sim_rng *rng,
                           uint64_t most_ms) {
    machine->clock.offset_ms = (int64_t)bnd_sim_rng_below(rng, 2 * most_ms) - (int64_t)most_ms;
    machine->clock.drift_ppm = (int64_t)bnd_sim_rng_below(rng, 400) - 200;
}

void bnd_sim_nemesis_pause(struct bnd_sim_machine *machine, struct bnd_sim_rng *rng,
                           uint64_t most_ns) {
    if (machine->life == BND_SIM_UP) {
        bnd_sim_env_pause(machine->env, bnd_sim_rng_below(rng, most_ns));
    }
}

void bnd_sim_nemesis_mend(struct bnd_sim_machine *machine) {
    machine->clock = (struct bnd_sim_clock){0};
    bnd_sim_disk_heal(machine->disk);
    bnd_sim_store_stall(machine->store, 0);
}
