/* Invariants: (1) a machine has an env, and what hangs on it, exactly while its life is not DOWN;
 * (2) a life that ends other than by a clean close is ended between events of the world, never from
 * inside its own callbacks. */
#include "tests/sim/sql/cluster.h"

#include "base/assert.h"
#include "placement/shard.h"
#include "tests/sim/memory.h"
#include "tests/sim/sql/replicas.h"

#include <inttypes.h>
#include <stdio.h>

#define MEMORY_BYTES (1u << 20)

/* ---- what hosts ask and tell ------------------------------------------------------------------*/

static int on_fsm_make(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err) {
    struct simsql_machine *machine = owner;
    struct bnd_fsm inner;
    int rv = bnd_sql_fsm_make(machine->sql, gid, &inner, err);
    return rv != 0 ? rv : simsql_watch_fsm(machine, gid, &inner, out);
}

static bool on_group_wanted(void *owner, uint64_t gid, uint64_t from) {
    (void)from;
    return simsql_knows(owner, gid);
}

static void on_group_removed(void *owner, uint64_t gid) {
    struct simsql_machine *machine = owner;
    machine->cluster->counts.departures++;
    (void)bnd_raft_group_destroy(machine->host, gid); /* a full journal: it is told again */
}

static void on_group_changed(void *owner, uint64_t gid) {
    struct simsql_machine *machine = owner;
    struct bnd_raft_group_status status = {0};
    bool leads =
        bnd_raft_group_status(machine->host, gid, &status) == 0 && status.state == BND_RAFT_LEADER;
    bool *led = &machine->led[bnd_gid_shard(gid)];
    machine->cluster->counts.elections += leads && !*led;
    *led = leads;
    bnd_sim_trace(machine->cluster->world, "chan", machine->id, gid, (struct bnd_slice){0});
    bnd_sql_group_changed(machine->sql, gid);
}

static void on_execute(void *owner, struct bnd_raft_execution *execution) {
    bnd_sql_execute(((struct simsql_machine *)owner)->sql, execution);
}

static void on_fatal(void *owner, const struct bnd_error *why) {
    struct simsql_machine *machine = owner;
    machine->cluster->counts.fatals++;
    /* A configuration rolled back is answered by a stop (B9, G4). */
    bnd_sim_machine_fatal(&machine->base, why, why->code == BND_UNSUPPORTED);
}

/* ---- lives ------------------------------------------------------------------------------------*/

void simsql_count(struct simsql_machine *machine) {
    struct simsql_counts *counts = &machine->cluster->counts;
    struct bnd_sql_stats now;
    if (machine->sql == NULL) {
        return;
    }
    bnd_sql_stats(machine->sql, &now);
    counts->transactions += now.transactions - machine->seen.transactions;
    counts->reads += now.reads - machine->seen.reads;
    counts->failures += now.failures - machine->seen.failures;
    counts->conflicts += now.conflicts - machine->seen.conflicts;
    counts->entries += now.entries - machine->seen.entries;
    counts->cutoffs += now.cutoffs - machine->seen.cutoffs;
    counts->collected += now.collected_keys - machine->seen.collected_keys;
    machine->seen = now;
    if (machine->host != NULL) {
        struct bnd_raft_host_stats host;
        bnd_raft_host_stats(machine->host, &host);
        counts->installs += host.installs_received - machine->installs_seen;
        machine->installs_seen = host.installs_received;
    }
}

static void forget_life(struct simsql_machine *machine) {
    struct simsql_cluster *cluster = machine->cluster;
    machine->host = NULL;
    machine->sql = NULL;
    machine->client = NULL;
    machine->learning = false;
    memset(machine->known, 0, sizeof machine->known);
    memset(machine->led, 0, sizeof machine->led);
    if (cluster->died != NULL) {
        cluster->died(cluster->died_data, machine);
    }
}

void simsql_crash(struct simsql_machine *machine, enum bnd_sim_crash kind) {
    if (machine->base.life == BND_SIM_DOWN) {
        return;
    }
    if (machine->base.life == BND_SIM_UP) {
        simsql_count(machine);
    }
    machine->cluster->counts.crashes++;
    bnd_sim_machine_crash(&machine->base, kind);
    forget_life(machine);
}

static void on_closed(void *data) {
    bnd_sim_machine_closed(&((struct simsql_machine *)data)->base);
}

static void on_sql_closed(void *data) {
    struct simsql_machine *machine = data;
    if (machine->host == NULL) {
        on_closed(machine);
    } else {
        bnd_raft_host_close(machine->host, on_closed, machine);
    }
}

static void on_retired(void *data) {
    struct simsql_machine *machine = data;
    bnd_sql_close(machine->sql, on_sql_closed, machine);
}

/* As node/node.c: the leaderships first. */
void simsql_stop(struct simsql_machine *machine) {
    if (machine->base.life != BND_SIM_UP || machine->base.fatal) {
        return;
    }
    simsql_count(machine);
    machine->base.life = BND_SIM_CLOSING;
    bnd_sim_env_enter(machine->base.env);
    if (machine->host == NULL) {
        on_retired(machine);
    } else {
        bnd_raft_host_retire(machine->host, on_retired, machine);
    }
    bnd_sim_env_leave(machine->base.env);
}

static void on_reap(struct bnd_timer *timer) {
    struct simsql_machine *machine = timer->data;
    if (machine->base.fatal) {
        simsql_crash(machine, BND_SIM_KILL);
    } else if (machine->base.life == BND_SIM_CLOSED) {
        bnd_sim_env_enter(machine->base.env);
        bnd_sql_destroy(machine->sql);
        bnd_shard_client_destroy(machine->client);
        bnd_sim_machine_end(&machine->base);
        forget_life(machine);
    }
}

static int open_host(struct simsql_machine *machine, struct bnd_error *err) {
    struct bnd_raft_host_config config = machine->cluster->config;
    bnd_sim_machine_host(&machine->base, &config);
    config.guards = BND_RAFT_GUARDS_ALL;
    config.owner = machine;
    config.fsm_make = on_fsm_make;
    config.group_wanted = on_group_wanted;
    config.group_changed = on_group_changed;
    config.group_removed = on_group_removed;
    config.execute = on_execute;
    config.fatal = on_fatal;
    return bnd_raft_host_create(&config, &machine->host, err);
}

static int open_machine(struct simsql_machine *machine, struct bnd_env *env,
                        struct bnd_error *err) {
    char name[16];
    (void)snprintf(name, sizeof name, "node-%" PRIu64, machine->id);
    const struct bnd_sql_config sql = {.env = env,
                                       .state = machine->gateway ? NULL : machine->base.state,
                                       .self = machine->id,
                                       .name = name,
                                       .memory_bytes = MEMORY_BYTES,
                                       .keep_ms = machine->cluster->keep_ms,
                                       .rules_off = machine->cluster->rules_off,
                                       .cut_at_bytes = machine->cluster->cut_at_bytes};
    BND_ASSERT(bnd_sql_create(&sql, &machine->sql) == 0);
    int rv = machine->gateway ? 0 : open_host(machine, err);
    const struct bnd_shard_client_config client = {
        .env = env, .rpc = machine->base.rpc, .host = machine->host};
    if (rv == 0) {
        BND_ASSERT(bnd_shard_client_create(&client, &machine->client) == 0);
        bnd_sql_start(machine->sql, machine->client, machine->host);
        bnd_sql_shards(machine->sql, SIMSQL_SHARDS);
    }
    return rv;
}

void simsql_start(struct simsql_machine *machine) {
    struct bnd_error err = {0};
    machine->seen = (struct bnd_sql_stats){0};
    machine->installs_seen = 0;
    bnd_sim_store_stall(machine->base.store, 0); /* recovery cannot wait */
    struct bnd_env *env = bnd_sim_machine_begin(&machine->base, machine->id);
    int rv = open_machine(machine, env, &err);
    if (bnd_sim_machine_up(&machine->base, rv, &err)) {
        simsql_learn(machine);
    } else {
        simsql_crash(machine, BND_SIM_KILL);
    }
}

/* ---- the whole --------------------------------------------------------------------------------*/

static void on_bootstrapped(void *data, int status) {
    BND_ASSERT(status == 0);
    (*(size_t *)data)--;
}

static bool none_left(void *data) {
    return *(const size_t *)data == 0;
}

static void found(struct simsql_cluster *cluster, size_t voters) {
    size_t left = voters * SIMSQL_SHARDS;
    for (uint32_t g = 0; g < SIMSQL_SHARDS; g++) {
        struct simsql_group *group = &cluster->groups[g];
        group->gid = bnd_gid(BND_GROUP_SQL, g);
        simsql_want(cluster, g, (UINT32_C(2) << voters) - 2);
        for (size_t n = 0; n < voters; n++) {
            struct simsql_machine *machine = &cluster->machines[n];
            bnd_sim_env_enter(machine->base.env);
            BND_ASSERT(bnd_raft_group_bootstrap(machine->host, group->gid, group->want.members,
                                                voters, on_bootstrapped, &left) == 0);
            bnd_sim_env_leave(machine->base.env);
        }
    }
    BND_ASSERT(bnd_sim_run_until_true(cluster->world, none_left, &left, 60 * SIMSQL_SECOND));
}

static void machine_make(struct simsql_cluster *cluster, size_t place, bool slow) {
    struct simsql_machine *machine = &cluster->machines[place];
    machine->cluster = cluster;
    machine->id = place + 1;
    machine->gateway = place == SIMSQL_MACHINES_MAX - 1;
    machine->base.world = cluster->world;
    machine->base.net = cluster->net;
    machine->base.check = &cluster->check;
    bnd_sim_machine_make(&machine->base, machine->id, slow, on_reap, machine);
}

/* Of its own chance, so that the shapes of seeds stay what they were. */
static uint64_t draw_keep_ms(uint64_t seed) {
    struct bnd_sim_rng rng;
    bnd_sim_rng_init(&rng, seed, "keep", 0);
    return bnd_sim_rng_chance(&rng, 600) ? bnd_sim_rng_range(&rng, 1000, 8000) : 0;
}

static uint32_t draw_cut_at_bytes(uint64_t seed) {
    struct bnd_sim_rng rng;
    bnd_sim_rng_init(&rng, seed, "cut", 0);
    return bnd_sim_rng_chance(&rng, 250) ? (uint32_t)bnd_sim_rng_range(&rng, 2048, 6144) : 0;
}

static size_t draw_shape(struct simsql_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    struct bnd_raft_host_config *config = &cluster->config;
    size_t voters = bnd_sim_rng_chance(rng, 900) ? 3 : 1;
    cluster->nodes_count = voters == 1 ? 2 : 3 + bnd_sim_rng_below(rng, 3);
    config->tick_ms = 50;
    config->heartbeat_ms = 100;
    config->election_ms = 300;
    config->journal_segment_bytes = 512u << 10;
    config->entry_bytes_max = bnd_sim_rng_chance(rng, 500) ? 16u << 10 : 128u << 10;
    config->dedupe_entries_max = 4096;
    if (bnd_sim_rng_chance(rng, 700)) { /* logs so short that whoever lags needs the state */
        config->log_bytes_group_max = bnd_sim_rng_range(rng, 16u << 10, 64u << 10);
        config->unpersisted_bytes_max = bnd_sim_rng_range(rng, 32u << 10, 256u << 10);
    }
    return voters;
}

struct simsql_cluster *simsql_cluster_create(const struct simsql_config *config) {
    struct simsql_cluster *cluster = bnd_sim_zalloc(sizeof *cluster);
    struct bnd_sim_net_config net;
    cluster->world = bnd_sim_world_create(config->seed);
    bnd_sim_net_config_default(&net);
    cluster->net = bnd_sim_net_create(cluster->world, &net);
    cluster->rules_off = config->rules_off;
    cluster->verbose = config->verbose;
    cluster->check.print = config->verbose;
    bnd_sim_rng_init(&cluster->rng, config->seed, "sql", 0);
    size_t voters = draw_shape(cluster);
    cluster->keep_ms = draw_keep_ms(config->seed);
    cluster->cut_at_bytes = draw_cut_at_bytes(config->seed);
    bool slow = bnd_sim_rng_chance(&cluster->rng, 300);
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        machine_make(cluster, i, slow && bnd_sim_rng_chance(&cluster->rng, 500));
    }
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        if (i < cluster->nodes_count || cluster->machines[i].gateway) {
            simsql_start(&cluster->machines[i]);
        }
    }
    found(cluster, voters);
    return cluster;
}

void simsql_cluster_destroy(struct simsql_cluster *cluster) {
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        simsql_crash(&cluster->machines[i], BND_SIM_KILL);
        bnd_sim_machine_destroy(&cluster->machines[i].base);
    }
    for (size_t g = 0; g < SIMSQL_SHARDS; g++) {
        bnd_sim_free(cluster->groups[g].applied);
    }
    bnd_sim_net_destroy(cluster->net);
    bnd_sim_world_destroy(cluster->world);
    bnd_sim_free(cluster);
}
