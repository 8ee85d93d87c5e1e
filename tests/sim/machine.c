#include "tests/sim/machine.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- machines ---------------------------------------------------------------------------------*/

void bnd_sim_machine_make(struct bnd_sim_machine *machine, uint64_t id, bool slow,
                          void (*reap)(struct bnd_timer *timer), void *data) {
    static const struct bnd_sim_latency slow_disk = {
        .min_ns = BND_MS, .max_ns = 40 * BND_MS, .slow_ns = 200 * BND_MS, .slow_per_mille = 10};
    machine->disk = bnd_sim_disk_create(machine->world, id, 0);
    machine->store = bnd_sim_store_create(machine->world, id);
    if (slow) {
        bnd_sim_disk_latency(machine->disk, &slow_disk);
    }
    machine->reaper = (struct bnd_timer){.cb = reap, .data = data};
}

void bnd_sim_machine_destroy(struct bnd_sim_machine *machine) {
    bnd_sim_store_destroy(machine->store);
    bnd_sim_disk_destroy(machine->disk);
}

/* ---- lives ------------------------------------------------------------------------------------*/

static void tell(const struct bnd_sim_machine *machine, const char *what) {
    if (machine->check->print) {
        (void)fprintf(stderr, "%" PRIu64 " node %" PRIu64 " %s\n",
                      bnd_sim_world_now_ns(machine->world) / BND_MS,
                      bnd_sim_env_node(machine->env), what);
    }
}

struct bnd_env *bnd_sim_machine_begin(struct bnd_sim_machine *machine, uint64_t id) {
    BND_ASSERT(machine->life == BND_SIM_DOWN);
    machine->lives++;
    machine->env = bnd_sim_env_create(machine->world, machine->disk, &machine->clock, id);
    bnd_sim_env_log(machine->env, machine->check->print ? BND_LOG_DEBUG : BND_LOG_ERROR + 1);
    tell(machine, "starts");
    bnd_sim_env_enter(machine->env);
    struct bnd_env *env = bnd_sim_env(machine->env);
    machine->mesh = bnd_sim_net_attach(machine->net, machine->env);
    BND_ASSERT(bnd_rpc_create(env, machine->mesh, 0, &machine->rpc) == 0);
    machine->state = bnd_sim_store_open(machine->store, machine->env);
    return env;
}

bool bnd_sim_machine_up(struct bnd_sim_machine *machine, int rv, const struct bnd_error *err) {
    machine->life = BND_SIM_UP;
    bnd_sim_env_leave(machine->env);
    if (rv != 0) {
        bnd_sim_violation(machine->check, "node %" PRIu64 " does not start: %d: %s",
                          bnd_sim_env_node(machine->env), rv, err->message);
    }
    return rv == 0;
}

void bnd_sim_machine_fatal(struct bnd_sim_machine *machine, const struct bnd_error *why,
                           bool excused) {
    uint64_t id = bnd_sim_env_node(machine->env);
    machine->fatal = true;
    bnd_sim_env_halt(machine->env);
    bnd_sim_world_at(machine->world, &machine->reaper, BND_MS);
    if (machine->check->print) {
        (void)fprintf(stderr, "node %" PRIu64 " stops itself: %s\n", id, why->message);
    }
    if (!excused && !machine->disk_failed) {
        bnd_sim_violation(machine->check, "node %" PRIu64 " stops itself: %s", id, why->message);
    }
}

void bnd_sim_machine_closed(struct bnd_sim_machine *machine) {
    machine->life = BND_SIM_CLOSED;
    bnd_sim_world_at(machine->world, &machine->reaper, 0);
}

static void forget(struct bnd_sim_machine *machine) {
    bnd_sim_world_cancel(machine->world, &machine->reaper);
    machine->life = BND_SIM_DOWN;
    machine->env = NULL;
    machine->disk_failed = false;
    machine->fatal = false;
    bnd_sim_disk_heal(machine->disk);
}

void bnd_sim_machine_end(struct bnd_sim_machine *machine) {
    bnd_rpc_destroy(machine->rpc);
    bnd_sim_net_detach(machine->mesh);
    machine->state->ops->close(machine->state);
    bnd_sim_env_leave(machine->env);
    bnd_sim_env_stop(machine->env);
    forget(machine);
}

void bnd_sim_machine_crash(struct bnd_sim_machine *machine, enum bnd_sim_crash kind) {
    tell(machine, "dies");
    bnd_sim_env_crash(machine->env, kind);
    forget(machine);
}

void bnd_sim_machine_host(const struct bnd_sim_machine *machine,
                          struct bnd_raft_host_config *config) {
    config->env = bnd_sim_env(machine->env);
    config->mesh = machine->mesh;
    config->rpc = machine->rpc;
    config->state = machine->state;
    config->journal_dir = "/journal";
    config->cluster_id = 1;
    config->node_id = bnd_sim_env_node(machine->env);
}
