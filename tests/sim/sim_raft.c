/* Whole clusters of real Raft hosts under faults, one seed after the other (tests/sim/README.md).
 *
 *   sim_raft --seed A --count N [--guards-off G1,G2,...] [--ticks N] [--check-determinism]
 * [--verbose] [--trace] sim_raft --seeds FILE
 *
 * --ticks: heartbeats at every N-th tick only (production: 2); elections wait 6 ticks and more.
 * --verbose prints the nodes' log lines, --trace everything that goes into the trace hash.
 * Exit 1 on any violation, or if the batch did too little to count. */
#include "raft/core.h"
#include "tests/sim/batch.h"
#include "tests/sim/clients.h"
#include "tests/sim/faults.h"
#include "tests/sim/membership.h"

#include <stddef.h>

#define SECOND (1000 * BND_MS)
#define FAULTS_NS (20 * SECOND)
#define SETTLE_NS (60 * SECOND)

/* A seed counts only with so much done. */
#define COMMITS_MIN 40
#define ELECTIONS_MIN 2

struct result {
    struct bnd_sim_result common;
    struct bnd_sim_counts counts;
    uint64_t commits;
};

/* ---- one seed
 * --------------------------------------------------------------------------------------- */

static void draw_config(const struct bnd_sim_options *options, uint64_t seed,
                        struct bnd_sim_cluster_config *out) {
    struct bnd_sim_rng rng;
    bnd_sim_rng_init(&rng, seed, "config", 0);
    *out = (struct bnd_sim_cluster_config){
        .seed = seed, .guards = BND_RAFT_GUARDS_ALL & ~options->off, .verbose = options->verbose};
    out->nodes = bnd_sim_rng_chance(&rng, 800) ? 3 : (bnd_sim_rng_chance(&rng, 600) ? 5 : 1);
    out->spares = 1 + bnd_sim_rng_below(&rng, 2);
    out->groups = 1 + bnd_sim_rng_below(&rng, BND_SIM_GROUPS_MAX);
    out->host.tick_ms = 50;
    out->host.heartbeat_ms = (uint32_t)(50 * options->ticks);
    out->host.election_ms = 300;
    out->host.journal_segment_bytes = 256u << 10;
    out->host.entry_bytes_max = bnd_sim_rng_chance(&rng, 500) ? 256 : 4096;
    out->host.dedupe_entries_max = 1024;
    out->slow_disks_per_mille = bnd_sim_rng_chance(&rng, 500) ? 500 : 0;
    if (bnd_sim_rng_chance(&rng, 800)) { /* logs so short that whoever lags needs the state */
        out->log_bytes_max = bnd_sim_rng_range(&rng, 2u << 10, 8u << 10);
        out->host.unpersisted_bytes_max = bnd_sim_rng_range(&rng, 8u << 10, 64u << 10);
    }
}

struct settling {
    struct bnd_sim_cluster *cluster;
    size_t group;
};

static bool is_settled(void *data) {
    const struct settling *settling = data;
    return bnd_sim_membership_settled(settling->cluster, settling->group);
}

struct progress {
    struct bnd_sim_clients *clients;
    size_t group;
};

static bool has_answered(void *data) {
    const struct progress *progress = data;
    return bnd_sim_clients_answered(progress->clients, progress->group) > 0;
}

/* After healing each group serves clients again; and once they stop, all replicas become equal. */
static void check_end(struct bnd_sim_cluster *cluster, struct bnd_sim_clients *clients,
                      struct result *result) {
    for (size_t g = 0; g < cluster->groups_count; g++) {
        struct progress progress = {.clients = clients, .group = g};
        (void)bnd_sim_clients_answered(clients, g); /* from here on */
        if (!bnd_sim_run_until_true(cluster->world, has_answered, &progress, SETTLE_NS)) {
            bnd_sim_violation(&cluster->check, "group %zu: no progress after healing", g + 1);
        }
    }
    bnd_sim_clients_stop(clients);
    bnd_sim_run_for(cluster->world, 8 * SECOND); /* operations under way end */
    for (size_t g = 0; g < cluster->groups_count; g++) {
        struct settling settling = {.cluster = cluster, .group = g};
        if (bnd_sim_run_until_true(cluster->world, is_settled, &settling, SETTLE_NS)) {
            bnd_sim_cluster_compare(cluster, g);
        } else {
            bnd_sim_violation(&cluster->check, "group %zu: its replicas do not settle", g + 1);
            if (cluster->verbose) {
                bnd_sim_membership_print(cluster, g);
            }
        }
        bnd_sim_history_check(&cluster->groups[g].history, &cluster->groups[g].ledger,
                              &cluster->check);
        result->commits += cluster->groups[g].ledger.count;
    }
}

static void run_seed(const struct bnd_sim_options *options, uint64_t seed, void *out) {
    struct result *result = out;
    struct bnd_sim_cluster_config config;
    draw_config(options, seed, &config);
    *result = (struct result){0};
    struct bnd_sim_cluster *cluster = bnd_sim_cluster_create(&config);
    bnd_sim_trace_print(cluster->world, options->trace);
    struct bnd_sim_clients *clients = bnd_sim_clients_create(cluster, 4, 60 * BND_MS);
    struct bnd_sim_faults *faults = bnd_sim_faults_start(cluster);
    bnd_sim_run_for(cluster->world, FAULTS_NS);
    bnd_sim_faults_heal(faults);
    check_end(cluster, clients, result);
    bnd_sim_result_take(&result->common, cluster->world, &cluster->check);
    result->counts = cluster->counts;
    result->common.thin =
        result->commits < COMMITS_MIN || result->counts.elections < ELECTIONS_MIN;
    bnd_sim_faults_destroy(faults);
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        bnd_sim_node_crash(&cluster->nodes[n], BND_SIM_KILL);
    }
    bnd_sim_clients_destroy(clients);
    bnd_sim_cluster_destroy(cluster);
}

/* ---- many seeds
 * ------------------------------------------------------------------------------------- */

#define AT(field) offsetof(struct result, field)

static const struct bnd_sim_sum sums[] = {
    {"commits", AT(commits), 0},
    {"elections", AT(counts.elections), 0},
    {"truncations", AT(counts.truncations), 30},
    {"installs", AT(counts.installs), 200},
    {"joins", AT(counts.joins), 200},
    {"removals", AT(counts.removals), 250},
    {"departures", AT(counts.departures), 0},
    {"losses", AT(counts.losses), 30},
    {"crashes", AT(counts.crashes), 0},
    {"stops", AT(counts.fatals), 0},
    {"rollbacks", AT(counts.rollbacks), 0},
};

static const struct bnd_sim_switch guards[] = {
    {"G1", BND_GUARD_BARRIER},       {"G2", BND_GUARD_ACK},        {"G3", BND_GUARD_ELECTION},
    {"G4", BND_GUARD_CONFIGURATION}, {"G5", BND_GUARD_SEND},       {"G6", BND_GUARD_STORAGE},
    {"G7", BND_GUARD_MEMBERSHIP},    {"G8", BND_GUARD_SOLE_VOTER}, {"B9", BND_GUARD_CONFLICT},
    {"B12", BND_GUARD_VOTE},         {"B3b", BND_GUARD_ADDRESS},   {"PREFIX", BND_GUARD_PREFIX},
    {"B18", BND_GUARD_STANDBY},      {"G9", BND_GUARD_FLOOR},      {"B19", BND_GUARD_TERM},
    {"G10", BND_GUARD_WITHHOLD},
};

int main(int argc, char **argv) {
    const struct bnd_sim_batch batch = {
        .program = "sim_raft",
        .off_option = "--guards-off",
        .has_ticks = true,
        .switches = guards,
        .switches_count = sizeof guards / sizeof guards[0],
        .sums = sums,
        .sums_count = sizeof sums / sizeof sums[0],
        .result_bytes = sizeof(struct result),
        .begin = bnd_core_library_init,
        .run = run_seed,
    };
    return bnd_sim_batch_main(&batch, argc, argv);
}
