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

#include <inttypes.h>
#include <stdio.h>

#define FAULTS_NS (15 * SIMSQL_SECOND)
#define CALM_NS (2 * SIMSQL_SECOND) /* clients go on after healing */
#define IDLE_NS (60 * SIMSQL_SECOND)
#define SETTLE_NS (90 * SIMSQL_SECOND)
#define ACKED_MIN 40
#define PAGES_STEP 9 /* of versions whose pages are compared */

struct result {
    struct bnd_sim_result common;
    struct simsql_counts counts;
    uint64_t acked, events;
    bool thin;
};

struct totals {
    struct simsql_counts counts;
    uint64_t acked, events, thin;
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
    simsql_clients_dump_all(clients);
    if (bnd_sim_run_until_true(cluster->world, is_settled, cluster, SETTLE_NS)) {
        simsql_compare(cluster);
        for (size_t d = 0; d < history->databases_count; d++) {
            simsql_compare_pages(cluster, history->databases[d].uuid, PAGES_STEP);
        }
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
    result->events = bnd_sim_world_events(cluster->world);
    result->common.trace = bnd_sim_trace_hash(cluster->world);
    result->common.check = cluster->check;
    result->thin = result->acked < ACKED_MIN;
    simsql_clients_destroy(clients);
    simsql_history_free(&history);
    simsql_cluster_destroy(cluster);
}

/* ---- many -------------------------------------------------------------------------------------*/

/* All counters of struct simsql_counts are u64: it is added up as an array. */
static void add(void *data, const void *one) {
    struct totals *totals = data;
    const struct result *result = one;
    uint64_t *to = (uint64_t *)(void *)&totals->counts;
    const uint64_t *from = (const uint64_t *)(const void *)&result->counts;
    for (size_t i = 0; i < sizeof totals->counts / sizeof *to; i++) {
        to[i] += from[i];
    }
    totals->acked += result->acked;
    totals->events += result->events;
    totals->thin += result->thin;
}

/* What a batch of 20 seeds and more must have done, per 100 seeds. */
static bool did_enough(uint64_t count, const struct totals *totals) {
    const struct simsql_counts *counts = &totals->counts;
    const struct {
        const char *what;
        uint64_t done, per_100;
    } minima[] = {
        {"transactions acknowledged", totals->acked, 10000},
        {"elections", counts->elections, 500},
        {"installs", counts->installs, 20},
        {"conflicts", counts->conflicts, 10},
        {"reads on replicas", counts->follower_reads, 1000},
        {"unknown outcomes", counts->unknown, 100},
    };
    bool enough = count < 20 || totals->thin <= count / 20;
    for (size_t i = 0; count >= 20 && i < sizeof minima / sizeof minima[0]; i++) {
        if (minima[i].done * 100 < minima[i].per_100 * count) {
            (void)printf("the batch did too little: %s: %" PRIu64 "\n", minima[i].what,
                         minima[i].done);
            enough = false;
        }
    }
    return enough;
}

static bool finish(const struct bnd_sim_options *options, const void *data, uint64_t failed,
                   uint64_t diverged, uint64_t cpu_ms) {
    const struct totals *totals = data;
    const struct simsql_counts *sum = &totals->counts;
    (void)printf("seeds %" PRIu64 "..%" PRIu64 ": failed %" PRIu64 ", diverged %" PRIu64
                 ", thin %" PRIu64 "; commits %" PRIu64 " transactions %" PRIu64 " reads %" PRIu64
                 " on replicas %" PRIu64 " failures %" PRIu64 " conflicts %" PRIu64
                 " unknown %" PRIu64 " refused %" PRIu64 " restores %" PRIu64 " under load %" PRIu64
                 " forks %" PRIu64 " elections %" PRIu64 " installs %" PRIu64 " wishes %" PRIu64
                 " departures %" PRIu64 " crashes %" PRIu64 " stops %" PRIu64 " events %" PRIu64
                 "; %" PRIu64 " CPU-ms per seed\n",
                 options->seed, options->seed + options->count - 1, failed, diverged, totals->thin,
                 totals->acked, sum->transactions, sum->reads, sum->follower_reads, sum->failures,
                 sum->conflicts, sum->unknown, sum->refused, sum->restores,
                 sum->restores_under_load, sum->forks, sum->elections, sum->installs, sum->wishes,
                 sum->departures, sum->crashes, sum->fatals, totals->events, cpu_ms);
    return did_enough(options->count, totals);
}

static const struct bnd_sim_switch switches[] = {
    {"RELEASE", SQL_RULE_RELEASE}, {"CLOSE", SQL_RULE_CLOSE}, {"SPOIL", SQL_RULE_SPOIL},
    {"BARRIER", SQL_RULE_BARRIER}, {"TERM", SQL_RULE_TERM},   {"EPOCH", SQL_RULE_EPOCH},
    {"OUTCOME", SQL_RULE_OUTCOME}, {"JOIN", SQL_RULE_JOIN},   {"UNSURE", SQL_RULE_UNSURE},
    {"BASE", SQL_RULE_BASE},
};

static bool begin(struct bnd_error *err) {
    return bnd_core_library_init(err) == 0;
}

int main(int argc, char **argv) {
    struct totals totals = {0};
    const struct bnd_sim_batch batch = {
        .program = "sim_sql",
        .off_option = "--rules-off",
        .switches = switches,
        .switches_count = sizeof switches / sizeof switches[0],
        .result_bytes = sizeof(struct result),
        .begin = begin,
        .run = run_seed,
        .totals = &totals,
        .add = add,
        .finish = finish,
    };
    return bnd_sim_batch_main(&batch, argc, argv);
}
