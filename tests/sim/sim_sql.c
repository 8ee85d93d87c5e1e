/* Whole clusters of real SQL nodes under faults, one seed after the other (tests/sim/README.md).
 *
 *   sim_sql --seed A --count N [--rules-off NAME,...] [--check-determinism] [--verbose] [--trace]
 *   sim_sql --seeds FILE
 *
 * --verbose prints what clients do and the nodes' log lines, --trace everything that goes into the
 * trace hash. Exit 1 on any violation, or if the batch did too little to count. */
#include "raft/core.h"
#include "sql/rules.h"
#include "tests/sim/batch.h"
#include "tests/sim/sql/clients.h"
#include "tests/sim/sql/faults.h"
#include "tests/sim/sql/leftovers.h"

#include <stddef.h>

#define FAULTS_NS (15 * SIMSQL_SECOND)
#define CALM_NS (2 * SIMSQL_SECOND) /* clients go on after healing */
#define IDLE_NS (60 * SIMSQL_SECOND)
#define SETTLE_NS (90 * SIMSQL_SECOND)
#define ACKED_MIN 40
#define PAGES_STEP 9 /* of versions whose pages are compared */

struct result {
    struct bnd_sim_result common;
    struct simsql_counts counts;
    uint64_t acked;
};

static bool is_idle(void *data) {
    return simsql_clients_idle(data);
}

static bool is_settled(void *data) {
    return simsql_settled(data);
}

struct progress {
    const struct simsql_history *history;
    uint64_t before;
};

static bool has_progressed(void *data) {
    const struct progress *progress = data;
    return progress->history->acked > progress->before;
}

static void compare(struct simsql_cluster *cluster, const struct simsql_history *history,
                    uint64_t step) {
    if (!bnd_sim_run_until_true(cluster->world, is_settled, cluster, SETTLE_NS)) {
        bnd_sim_violation(&cluster->check, "UNSETTLED: the replicas are not as they should be");
        return;
    }
    simsql_compare(cluster);
    for (size_t d = 0; d < history->databases_count; d++) {
        simsql_compare_pages(cluster, history->databases[d].uuid, step);
    }
}

static void check_left(struct simsql_cluster *cluster, const struct simsql_history *history) {
    struct simsql_uuid uuids[SIMSQL_DATABASES_MAX];
    for (size_t d = 0; d < history->databases_count; d++) {
        memcpy(uuids[d].bytes, history->databases[d].uuid, sizeof uuids[d].bytes);
    }
    simsql_check_left(cluster, uuids, history->databases_count);
}

/* After healing clients are served again; when they stop, every database is what the model says,
 * and all replicas become equal. */
static void check_end(struct simsql_cluster *cluster, struct simsql_clients *clients,
                      struct simsql_history *history) {
    struct progress progress = {.history = history, .before = history->acked};
    bnd_sim_run_for(cluster->world, CALM_NS);
    if (!bnd_sim_run_until_true(cluster->world, is_settled, cluster, SETTLE_NS)) {
        bnd_sim_violation(&cluster->check, "UNSETTLED: the replicas are not as they should be");
    }
    if (!bnd_sim_run_until_true(cluster->world, has_progressed, &progress, SETTLE_NS)) {
        bnd_sim_violation(&cluster->check, "no progress after healing");
    }
    bnd_sim_run_for(cluster->world, CALM_NS);
    simsql_clients_stop(clients);
    if (!bnd_sim_run_until_true(cluster->world, is_idle, clients, IDLE_NS)) {
        bnd_sim_violation(&cluster->check, "SILENT: operations do not end");
        return;
    }
    simsql_clients_end_leases(clients);
    simsql_clients_write_all(clients);
    simsql_clients_dump_all(clients);
    compare(cluster, history, PAGES_STEP);
    if (bnd_sim_run_until_true(cluster->world, is_settled, cluster, SETTLE_NS)) {
        simsql_sweep(cluster);
        check_left(cluster, history);
        simsql_clients_dump_all(clients);
        compare(cluster, history, BND_SQL_VERSION_MAX);
    }
}

static void run_seed(const struct bnd_sim_options *options, uint64_t seed, void *out) {
    struct result *result = out;
    struct simsql_config config = {
        .seed = seed, .rules_off = options->off, .verbose = options->verbose};
    *result = (struct result){0};
    struct simsql_cluster *cluster = simsql_cluster_create(&config);
    bnd_sim_trace_print(cluster->world, options->trace);
    struct simsql_history history = {.cluster = cluster};
    struct simsql_clients *clients = simsql_clients_create(cluster, &history, 6, 80 * BND_MS);
    if (cluster->check.violations == 0) {
        struct simsql_faults *faults = simsql_faults_start(cluster);
        bnd_sim_run_for(cluster->world, FAULTS_NS);
        simsql_faults_heal(faults);
        check_end(cluster, clients, &history);
        simsql_faults_destroy(faults);
    }
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        simsql_crash(&cluster->machines[i], BND_SIM_KILL);
    }
    result->counts = cluster->counts;
    result->acked = history.acked;
    bnd_sim_result_take(&result->common, cluster->world, &cluster->check);
    result->common.thin = result->acked < ACKED_MIN;
    simsql_clients_destroy(clients);
    simsql_history_free(&history);
    simsql_cluster_destroy(cluster);
}

/* ---- many -------------------------------------------------------------------------------------*/

#define AT(field) offsetof(struct result, field)

static const struct bnd_sim_sum sums[] = {
    {"commits", AT(acked), 10000},
    {"transactions", AT(counts.transactions), 0},
    {"reads", AT(counts.reads), 0},
    {"on replicas", AT(counts.follower_reads), 1000},
    {"behind an index", AT(counts.index_reads), 200},
    {"failures", AT(counts.failures), 0},
    {"conflicts", AT(counts.conflicts), 10},
    {"unknown", AT(counts.unknown), 100},
    {"refused", AT(counts.refused), 0},
    {"restores", AT(counts.restores), 0},
    {"under load", AT(counts.restores_under_load), 0},
    {"forks", AT(counts.forks), 0},
    {"imports", AT(counts.imports), 100},
    {"failed", AT(counts.imports_failed), 0},
    {"exports", AT(counts.exports), 60},
    {"abandoned", AT(counts.abandoned), 40},
    {"locked", AT(counts.locked), 500},
    {"times", AT(counts.times), 20},
    {"deletions", AT(counts.deletions), 8},
    {"cutoffs", AT(counts.cutoffs), 20},
    {"collected", AT(counts.collected), 1000},
    {"too old", AT(counts.too_old), 0},
    {"elections", AT(counts.elections), 500},
    {"installs", AT(counts.installs), 20},
    {"wishes", AT(counts.wishes), 0},
    {"departures", AT(counts.departures), 0},
    {"lost", AT(counts.losses), 12},
    {"parts", AT(counts.parts), 200},
    {"crashes", AT(counts.crashes), 0},
    {"stops", AT(counts.fatals), 0},
};

static const struct bnd_sim_switch switches[] = {
    {"RELEASE", SQL_RULE_RELEASE}, {"CLOSE", SQL_RULE_CLOSE}, {"SPOIL", SQL_RULE_SPOIL},
    {"BARRIER", SQL_RULE_BARRIER}, {"TERM", SQL_RULE_TERM},   {"EPOCH", SQL_RULE_EPOCH},
    {"OUTCOME", SQL_RULE_OUTCOME}, {"JOIN", SQL_RULE_JOIN},   {"UNSURE", SQL_RULE_UNSURE},
    {"BASE", SQL_RULE_BASE},       {"PIN", SQL_RULE_PIN},     {"CUTOFF", SQL_RULE_CUTOFF},
    {"INDEX", SQL_RULE_INDEX},
};

int main(int argc, char **argv) {
    const struct bnd_sim_batch batch = {
        .program = "sim_sql",
        .off_option = "--rules-off",
        .switches = switches,
        .switches_count = sizeof switches / sizeof switches[0],
        .sums = sums,
        .sums_count = sizeof sums / sizeof sums[0],
        .result_bytes = sizeof(struct result),
        .begin = bnd_core_library_init,
        .run = run_seed,
    };
    return bnd_sim_batch_main(&batch, argc, argv);
}
