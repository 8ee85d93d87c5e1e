/* Invariants: (1) a machine has an env, and what hangs on it, exactly while its life is not DOWN;
 * (2) a life that ends other than by a clean close is ended between events of the world, never from
 * inside its own callbacks. */
#include "tests/sim/kv/cluster.h"

#include "base/assert.h"
#include "placement/shard.h"
#include "tests/sim/kv/oracle.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>

#define JOURNAL_DIR "/journal"
#define SEGMENT_BYTES (1u << 20)

/* ---- what a node asks and tells ---------------------------------------------------------------*/

static void on_tell(void *owner, const struct bnd_kv_tell *tell) {
    simkv_oracle_tell(owner, tell);
}

static bool on_view_fresh(void *owner) {
    const struct simkv_machine *machine = owner;
    return machine->confirmed_ns != 0 &&
           simkv_now_ns(machine->cluster) - machine->confirmed_ns < 5 * SIMKV_SECOND;
}

static bool on_clock_fit(void *owner) {
    return ((const struct simkv_machine *)owner)->clock_fit;
}

static bool on_has_room(void *owner) {
    (void)owner;
    return true;
}

static void on_view_wanted(void *owner) {
    simkv_oracle_ask(owner);
}

/* Of the node, or of its journal. */
static void on_fatal(void *owner, const struct bnd_error *why) {
    struct simkv_machine *machine = owner;
    machine->cluster->counts.fatals++;
    bnd_sim_machine_fatal(&machine->base, why, false);
}

static void on_durable(void *owner, uint64_t lsn) {
    struct simkv_machine *machine = owner;
    bnd_kv_durable(machine->kv, lsn);
}

/* As raft/host: what a pass has collected leaves at its end. */
static void on_pass(struct bnd_hook *hook) {
    struct simkv_machine *machine = hook->data;
    bnd_journal_submit(machine->journal);
}

/* ---- lives ------------------------------------------------------------------------------------*/

static void forget_life(struct simkv_machine *machine) {
    struct simkv_cluster *cluster = machine->cluster;
    machine->kv = NULL;
    if (cluster->died != NULL) {
        cluster->died(cluster->died_data, machine);
    }
}

void simkv_count(struct simkv_machine *machine) {
    struct simkv_counts *counts = &machine->cluster->counts;
    struct bnd_kv_stats now;
    if (machine->kv == NULL) {
        return;
    }
    bnd_kv_stats(machine->kv, &now);
    counts->puts += now.puts - machine->seen.puts;
    counts->local += now.puts_local - machine->seen.puts_local;
    counts->refused += now.puts_refused - machine->seen.puts_refused;
    counts->restamped += now.restamped - machine->seen.restamped;
    counts->exchanges += now.exchanges - machine->seen.exchanges;
    counts->tombstones += now.tombstones_collected - machine->seen.tombstones_collected;
    counts->wiped_shards += now.wiped_shards - machine->seen.wiped_shards;
    machine->seen = now;
}

void simkv_crash(struct simkv_machine *machine, enum bnd_sim_crash kind) {
    if (machine->base.life == BND_SIM_DOWN) {
        return;
    }
    simkv_count(machine);
    machine->cluster->counts.crashes++;
    bnd_sim_machine_crash(&machine->base, kind);
    forget_life(machine);
}

static void on_journal_closed(void *data) {
    bnd_sim_machine_closed(&((struct simkv_machine *)data)->base);
}

static void on_kv_closed(void *data) {
    struct simkv_machine *machine = data;
    struct bnd_env *env = bnd_sim_env(machine->base.env);
    machine->kv = NULL;
    env->ops->hook_remove(env, &machine->hook);
    bnd_journal_close(machine->journal, on_journal_closed, machine);
}

void simkv_stop(struct simkv_machine *machine) {
    if (machine->base.life != BND_SIM_UP || machine->base.fatal) {
        return;
    }
    simkv_count(machine);
    machine->base.life = BND_SIM_CLOSING;
    bnd_sim_env_enter(machine->base.env);
    bnd_kv_close(machine->kv, on_kv_closed, machine);
    bnd_sim_env_leave(machine->base.env);
}

static void on_reap(struct bnd_timer *timer) {
    struct simkv_machine *machine = timer->data;
    if (machine->base.fatal) {
        simkv_crash(machine, BND_SIM_KILL);
    } else if (machine->base.life == BND_SIM_CLOSED) {
        bnd_sim_env_enter(machine->base.env);
        bnd_sim_machine_end(&machine->base);
        forget_life(machine);
    }
}

struct recovering {
    struct simkv_machine *machine;
    struct bnd_error *err;
};

static int on_group(void *data, const struct bnd_journal_group *group) {
    struct recovering *recovering = data;
    return group->gid == BND_GID_KV_LOG
               ? bnd_kv_recover(recovering->machine->kv, group, recovering->err)
               : 0;
}

static int open_kv(struct simkv_machine *machine, struct bnd_env *env, struct bnd_error *err) {
    struct bnd_kv_config config = {
        .env = env,
        .mesh = machine->base.mesh,
        .rpc = machine->base.rpc,
        .state = machine->base.state,
        .self = machine->id,
        .cache_bytes = 256u << 10,
        .small_bytes = machine->cluster->small_bytes,
        .rules_off = machine->cluster->rules_off,
        .owner = machine,
        .tell = on_tell,
        .view_fresh = on_view_fresh,
        .clock_fit = on_clock_fit,
        .has_room = on_has_room,
        .view_wanted = on_view_wanted,
        .fatal = on_fatal,
    };
    struct bnd_journal_config journal = {
        .env = env,
        .dir = JOURNAL_DIR,
        .cluster_id = 1,
        .node_id = machine->id,
        .segment_bytes = SEGMENT_BYTES,
        .batch_bytes_max = SEGMENT_BYTES / 2,
        .owner = machine,
        .durable = on_durable,
        .failed = on_fatal,
    };
    int rv = bnd_kv_create(&config, &machine->kv, err);
    rv = rv != 0 ? rv : bnd_journal_open(&journal, &machine->journal, err);
    struct recovering recovering = {.machine = machine, .err = err};
    rv = rv != 0 ? rv : bnd_journal_each_group(machine->journal, on_group, &recovering);
    if (rv != 0) {
        return rv;
    }
    bnd_journal_recovered(machine->journal);
    machine->hook = (struct bnd_hook){.cb = on_pass, .data = machine};
    env->ops->hook_add(env, &machine->hook);
    return bnd_kv_start(machine->kv, machine->journal, err);
}

void simkv_start(struct simkv_machine *machine) {
    struct bnd_error err = {0};
    machine->seen = (struct bnd_kv_stats){0};
    bnd_sim_store_stall(machine->base.store, 0); /* recovery cannot wait */
    struct bnd_env *env = bnd_sim_machine_begin(&machine->base, machine->id);
    int rv = open_kv(machine, env, &err);
    if (!bnd_sim_machine_up(&machine->base, rv, &err)) {
        machine->kv = NULL;
        simkv_crash(machine, BND_SIM_KILL);
        return;
    }
    simkv_oracle_join(machine);
}

static void new_identity(struct simkv_machine *machine) {
    machine->id = machine->cluster->next_id++;
    machine->place_id = machine->id;
    machine->weighs = true;
    machine->silent_since_ns = 0;
}

void simkv_wipe(struct simkv_machine *machine) {
    simkv_crash(machine, BND_SIM_POWER);
    bnd_sim_disk_wipe(machine->base.disk);
    bnd_sim_store_wipe(machine->base.store);
    machine->cluster->counts.wipes++;
    new_identity(machine);
}

/* ---- the network ------------------------------------------------------------------------------*/

struct simkv_machine *simkv_machine_of(struct simkv_cluster *cluster, uint64_t id) {
    for (size_t i = 0; i < cluster->machines_count; i++) {
        if (cluster->machines[i].id == id) {
            return &cluster->machines[i];
        }
    }
    return NULL;
}

void simkv_cut(struct simkv_cluster *cluster, size_t from, size_t to, bool noticed) {
    cluster->cut[from][to] = true;
    bnd_sim_net_cut(cluster->net, cluster->machines[from].id, cluster->machines[to].id, true,
                    noticed);
}

void simkv_isolate(struct simkv_cluster *cluster, size_t place, bool noticed) {
    for (size_t i = 0; i < cluster->machines_count; i++) {
        if (i != place) {
            simkv_cut(cluster, place, i, noticed);
            simkv_cut(cluster, i, place, noticed);
        }
    }
}

void simkv_heal_net(struct simkv_cluster *cluster) {
    memset(cluster->cut, 0, sizeof cluster->cut);
    bnd_sim_net_heal(cluster->net);
}

/* ---- the whole --------------------------------------------------------------------------------*/

static void machine_make(struct simkv_cluster *cluster, size_t place, bool slow) {
    struct simkv_machine *machine = &cluster->machines[place];
    machine->cluster = cluster;
    machine->place = place;
    machine->clock_fit = true;
    new_identity(machine);
    machine->base.world = cluster->world;
    machine->base.net = cluster->net;
    machine->base.check = &cluster->check;
    bnd_sim_machine_make(&machine->base, machine->id, slow, on_reap, machine);
}

static void draw_shape(struct simkv_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    cluster->machines_count = 3 + bnd_sim_rng_below(rng, SIMKV_MACHINES_MAX - 2);
    cluster->shards_count = bnd_sim_rng_chance(rng, 500) ? 2 : 4;
    cluster->replicas = bnd_sim_rng_chance(rng, 850) ? 3 : 2;
    cluster->horizon_age_ms = bnd_sim_rng_range(rng, 5000, 20000);
    cluster->horizon_every_ms = bnd_sim_rng_range(rng, 5000, 15000);
    if (bnd_sim_rng_chance(rng, 250)) { /* confirming one compares whole trees, too */
        cluster->horizon_age_ms = UINT64_C(1) << 50;
    }
    cluster->absent_ms = bnd_sim_rng_range(rng, 12000, 25000);
    cluster->lossy_per_mille = bnd_sim_rng_chance(rng, 500) ? 150 : 20;
}

struct simkv_cluster *simkv_cluster_create(const struct simkv_config *config) {
    struct simkv_cluster *cluster = bnd_sim_zalloc(sizeof *cluster);
    struct bnd_sim_net_config net;
    cluster->world = bnd_sim_world_create(config->seed);
    bnd_sim_net_config_default(&net);
    net.full_per_mille = 2;
    cluster->net = bnd_sim_net_create(cluster->world, &net);
    cluster->rules_off = config->rules_off;
    cluster->small_bytes = config->seed % 2 == 0 ? 512 : 0;
    cluster->verbose = config->verbose;
    cluster->check.print = config->verbose;
    cluster->next_id = 1;
    bnd_sim_rng_init(&cluster->rng, config->seed, "kv", 0);
    draw_shape(cluster);
    bool slow = bnd_sim_rng_chance(&cluster->rng, 300);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        machine_make(cluster, i, slow && bnd_sim_rng_chance(&cluster->rng, 500));
    }
    simkv_oracle_start(cluster);
    for (size_t i = 0; i < cluster->machines_count; i++) {
        simkv_start(&cluster->machines[i]);
    }
    return cluster;
}

void simkv_cluster_destroy(struct simkv_cluster *cluster) {
    for (size_t i = 0; i < cluster->machines_count; i++) {
        simkv_crash(&cluster->machines[i], BND_SIM_KILL);
        bnd_sim_machine_destroy(&cluster->machines[i].base);
    }
    simkv_oracle_end(cluster);
    bnd_sim_net_destroy(cluster->net);
    bnd_sim_world_destroy(cluster->world);
    bnd_sim_free(cluster);
}
