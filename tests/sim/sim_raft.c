/* Whole clusters of real Raft hosts under faults, one seed after the other (tests/sim/README.md).
 *
 *   sim_raft --seed A --count N [--guards-off G1,G2,...] [--ticks N] [--check-determinism]
 * [--verbose] [--trace] sim_raft --seeds FILE
 *
 * --ticks: heartbeats at every N-th tick only (production: 2); elections wait 6 ticks and more.
 * --verbose prints the nodes' log lines, --trace everything that goes into the trace hash. Each
 * seed runs in a process of its own, so that one that aborts is a failing seed and not the end.
 * Exit 1 on any violation, or if the batch did too little to count. */
#include "raft/core.h"
#include "tests/sim/clients.h"
#include "tests/sim/faults.h"
#include "tests/sim/membership.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND (1000 * BND_MS)
#define FAULTS_NS (20 * SECOND)
#define SETTLE_NS (60 * SECOND)

/* A seed counts only with so much done. */
#define COMMITS_MIN 40
#define ELECTIONS_MIN 2

#define DIED "the process died"

struct options {
    uint64_t seed;
    uint64_t count;
    uint32_t guards;
    const char *guards_off;
    bool verbose;
    bool trace;
    bool determinism;
    const char *seeds; /* a file; NULL: none */
    uint64_t ticks;    /* per heartbeat; what others than 1 find is not in that file */
};

struct result {
    struct bnd_sim_check check;
    struct bnd_sim_counts counts;
    uint64_t commits;
    uint64_t answered;
    uint64_t events;
    uint64_t trace;
    bool thin; /* did too little to count */
};

struct totals {
    struct bnd_sim_counts counts;
    uint64_t commits, answered, events, failed, diverged, thin;
};

/* ---- one seed
 * --------------------------------------------------------------------------------------- */

static void draw_config(const struct options *options, uint64_t seed,
                        struct bnd_sim_cluster_config *out) {
    struct bnd_sim_rng rng;
    bnd_sim_rng_init(&rng, seed, "config", 0);
    *out = (struct bnd_sim_cluster_config){
        .seed = seed, .guards = options->guards, .verbose = options->verbose};
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
        result->answered += bnd_sim_clients_answered(clients, g);
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

static void run_seed(const struct options *options, uint64_t seed, struct result *result) {
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
    result->events = bnd_sim_world_events(cluster->world);
    result->trace = bnd_sim_trace_hash(cluster->world);
    result->check = cluster->check;
    result->counts = cluster->counts;
    result->thin = result->commits < COMMITS_MIN || result->counts.elections < ELECTIONS_MIN;
    bnd_sim_faults_destroy(faults);
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        bnd_sim_node_crash(&cluster->nodes[n], BND_SIM_KILL);
    }
    bnd_sim_clients_destroy(clients);
    bnd_sim_cluster_destroy(cluster);
}

/* ---- many seeds
 * ------------------------------------------------------------------------------------- */

static void child(const struct options *options, uint64_t seed, int out) {
    struct result result;
    struct bnd_error err = {0};
    if (bnd_core_library_init(&err) != 0) {
        (void)fprintf(stderr, "%s\n", err.message);
        _exit(2);
    }
    run_seed(options, seed, &result);
    if (options->determinism) {
        struct result again;
        run_seed(options, seed, &again);
        if (again.trace != result.trace) {
            bnd_sim_violation(&result.check,
                              "the same seed gives two traces: %016" PRIx64 " and %016" PRIx64,
                              result.trace, again.trace);
        }
    }
    ssize_t wrote = write(out, &result, sizeof result);
    _exit(wrote == (ssize_t)sizeof result ? 0 : 2);
}

static void fork_seed(const struct options *options, uint64_t seed, struct result *result) {
    int ends[2];
    if (pipe(ends) != 0) {
        perror("pipe");
        exit(2);
    }
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        child(options, seed, ends[1]);
    }
    (void)close(ends[1]);
    *result = (struct result){0};
    ssize_t got = read(ends[0], result, sizeof *result);
    (void)close(ends[0]);
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (got != (ssize_t)sizeof *result) {
        *result = (struct result){0};
        bnd_sim_violation(&result->check, DIED " (%s %d)",
                          WIFSIGNALED(status) ? "signal" : "status",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

static void report(const struct options *options, uint64_t seed, const struct result *result) {
    if (result->check.violations > 0) {
        (void)printf("seed %" PRIu64
                     ": %u violations: %s\n%s%s%s    replay: sim_raft --seed %" PRIu64
                     " --count 1%s%s --verbose\n",
                     seed, result->check.violations, result->check.first,
                     result->check.divergences > 0 ? "    divergence: " : "",
                     result->check.first_divergence, result->check.divergences > 0 ? "\n" : "",
                     seed, options->guards_off == NULL ? "" : " --guards-off ",
                     options->guards_off == NULL ? "" : options->guards_off);
    }
}

static void add_up(struct totals *totals, const struct result *result) {
    const struct bnd_sim_counts *counts = &result->counts;
    struct bnd_sim_counts *sum = &totals->counts;
    totals->commits += result->commits;
    totals->answered += result->answered;
    totals->events += result->events;
    totals->failed += result->check.violations > 0 ? 1u : 0u;
    totals->diverged += result->check.divergences > 0 ? 1u : 0u;
    totals->thin += result->thin ? 1u : 0u;
    sum->elections += counts->elections;
    sum->truncations += counts->truncations;
    sum->installs += counts->installs;
    sum->joins += counts->joins;
    sum->removals += counts->removals;
    sum->departures += counts->departures;
    sum->rollbacks += counts->rollbacks;
    sum->losses += counts->losses;
    sum->crashes += counts->crashes;
    sum->fatals += counts->fatals;
}

static uint64_t children_cpu_us(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* What a batch of 20 seeds and more must have done, per 100 seeds. */
static bool did_enough(uint64_t count, const struct totals *totals) {
    const struct {
        const char *what;
        uint64_t done, per_100;
    } minima[] = {
        {"truncations", totals->counts.truncations, 30},
        {"installs", totals->counts.installs, 200},
        {"joins", totals->counts.joins, 200},
        {"removals", totals->counts.removals, 250},
        {"machines lost", totals->counts.losses, 30},
    };
    bool enough = count < 20 || totals->thin <= count / 20;
    for (size_t i = 0; count >= 20 && i < sizeof minima / sizeof minima[0]; i++) {
        if (minima[i].done * 100 < minima[i].per_100 * count) {
            (void)printf("the batch did too little: %s\n", minima[i].what);
            enough = false;
        }
    }
    return enough;
}

static int run_batch(const struct options *options) {
    struct totals totals = {0};
    for (uint64_t seed = options->seed; seed < options->seed + options->count; seed++) {
        struct result result;
        fork_seed(options, seed, &result);
        report(options, seed, &result);
        add_up(&totals, &result);
    }
    const struct bnd_sim_counts *sum = &totals.counts;
    (void)printf("seeds %" PRIu64 "..%" PRIu64 ": failed %" PRIu64 ", diverged %" PRIu64
                 ", thin %" PRIu64 "; commits %" PRIu64 " elections %" PRIu64
                 " truncations %" PRIu64 " installs %" PRIu64 " joins %" PRIu64 " removals %" PRIu64
                 " departures %" PRIu64 " losses %" PRIu64 " crashes %" PRIu64 " stops %" PRIu64
                 " rollbacks %" PRIu64 " events %" PRIu64 "; %" PRIu64 " CPU-ms per seed\n",
                 options->seed, options->seed + options->count - 1, totals.failed, totals.diverged,
                 totals.thin, totals.commits, sum->elections, sum->truncations, sum->installs,
                 sum->joins, sum->removals, sum->departures, sum->losses, sum->crashes, sum->fatals,
                 sum->rollbacks, totals.events, children_cpu_us() / 1000 / options->count);
    return totals.failed > 0 || !did_enough(options->count, &totals) ? 1 : 0;
}

/* ---- seeds that found something
 * ---------------------------------------------------------------------- */

static bool switch_off(struct options *options, const char *list);

/* One line of a file of seeds (tests/sim/seeds.txt). */
struct line {
    char guards[64]; /* switched off; "-": none */
    uint64_t first, count;
    char finding[32];
};

static bool finds(const struct result *result, const char *finding) {
    const struct bnd_sim_check *check = &result->check;
    if (strcmp(finding, "diverges") == 0) {
        return check->divergences > 0;
    }
    if (strcmp(finding, "dies") == 0) {
        return strncmp(check->first, DIED, strlen(DIED)) == 0;
    }
    return check->violations > 0 &&
           (strcmp(finding, "any") == 0 || strncmp(check->first, finding, strlen(finding)) == 0);
}

/* With guards off: one of the seeds must find it. With all on: none may find anything. */
static bool run_line(const struct options *options, const struct line *line) {
    struct options own = *options;
    bool wants_none = strcmp(line->guards, "-") == 0;
    if (!wants_none && !switch_off(&own, line->guards)) {
        (void)printf("no guards are called %s\n", line->guards);
        return false;
    }
    for (uint64_t seed = line->first; seed < line->first + line->count; seed++) {
        struct result result;
        fork_seed(&own, seed, &result);
        if (wants_none && result.check.violations > 0) {
            report(&own, seed, &result);
            return false;
        }
        if (!wants_none && finds(&result, line->finding)) {
            (void)printf("%s off: seed %" PRIu64 ": %s\n", line->guards, seed,
                         strcmp(line->finding, "diverges") == 0 ? result.check.first_divergence
                                                                : result.check.first);
            return true;
        }
    }
    if (!wants_none) {
        (void)printf("%s off: none of %" PRIu64 " seeds from %" PRIu64 " on finds: %s\n",
                     line->guards, line->count, line->first, line->finding);
    }
    return wants_none;
}

static int run_file(const struct options *options) {
    FILE *file = fopen(options->seeds, "r");
    char text[256];
    int failed = 0;
    unsigned lines = 0;
    if (file == NULL) {
        perror(options->seeds);
        return 2;
    }
    while (fgets(text, sizeof text, file) != NULL) {
        struct line line;
        if (text[0] == '#' || text[0] == '\n') {
            continue;
        }
        if (sscanf(text, "%63s %" SCNu64 " %" SCNu64 " %31s", line.guards, &line.first, &line.count,
                   line.finding) != 4) {
            (void)printf("%s: not understood: %s", options->seeds, text);
            failed = 1;
            break;
        }
        failed |= run_line(options, &line) ? 0 : 1;
        lines++;
    }
    (void)fclose(file);
    (void)printf("%u lines of %s: %s\n", lines, options->seeds, failed ? "failed" : "as written");
    return failed || lines == 0 ? 1 : 0;
}

/* ---- arguments
 * -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum bnd_guard guard;
} guard_names[] = {
    {"G1", BND_GUARD_BARRIER},       {"G2", BND_GUARD_ACK},        {"G3", BND_GUARD_ELECTION},
    {"G4", BND_GUARD_CONFIGURATION}, {"G5", BND_GUARD_SEND},       {"G6", BND_GUARD_STORAGE},
    {"G7", BND_GUARD_MEMBERSHIP},    {"G8", BND_GUARD_SOLE_VOTER}, {"B9", BND_GUARD_CONFLICT},
    {"B12", BND_GUARD_VOTE},         {"B3b", BND_GUARD_ADDRESS},   {"PREFIX", BND_GUARD_PREFIX},
    {"B18", BND_GUARD_STANDBY},      {"G9", BND_GUARD_FLOOR},      {"B19", BND_GUARD_TERM},
    {"G10", BND_GUARD_WITHHOLD},
};

static bool switch_off(struct options *options, const char *list) {
    size_t len = 0;
    for (const char *at = list; *at != 0; at += len + (at[len] == ',' ? 1 : 0)) {
        len = strcspn(at, ",");
        bool found = false;
        for (size_t i = 0; i < sizeof guard_names / sizeof guard_names[0]; i++) {
            if (strlen(guard_names[i].name) == len && strncmp(guard_names[i].name, at, len) == 0) {
                options->guards &= ~(uint32_t)guard_names[i].guard;
                found = true;
            }
        }
        if (strncmp(at, "all", len) == 0 && len == 3) {
            options->guards = 0;
            found = true;
        }
        if (!found) {
            return false;
        }
    }
    options->guards_off = list;
    return true;
}

static bool parse_number(const char *text, uint64_t *out) {
    char *end = NULL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *text != 0 && *end == 0;
}

static bool parse(int argc, char **argv, struct options *options) {
    *options = (struct options){.seed = 1, .count = 100, .guards = BND_RAFT_GUARDS_ALL, .ticks = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verbose") == 0) {
            options->verbose = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            options->trace = true;
        } else if (strcmp(argv[i], "--check-determinism") == 0) {
            options->determinism = true;
        } else if (strcmp(argv[i], "--seed") == 0 && parse_number(value, &options->seed)) {
            i++;
        } else if (strcmp(argv[i], "--count") == 0 && parse_number(value, &options->count)) {
            i++;
        } else if (strcmp(argv[i], "--ticks") == 0 && parse_number(value, &options->ticks)) {
            i++;
        } else if (strcmp(argv[i], "--guards-off") == 0 && switch_off(options, value)) {
            i++;
        } else if (strcmp(argv[i], "--seeds") == 0 && *value != 0) {
            options->seeds = value;
            i++;
        } else {
            return false;
        }
    }
    return options->count > 0 && options->ticks > 0 && options->ticks <= 4;
}

int main(int argc, char **argv) {
    struct options options;
    if (!parse(argc, argv, &options)) {
        (void)fprintf(stderr, "usage: sim_raft [--seed A] [--count N] [--guards-off G1,G2,...|all] "
                              "[--ticks N] "
                              "[--check-determinism] [--verbose] [--trace]\n"
                              "       sim_raft --seeds FILE\n");
        return 2;
    }
    return options.seeds != NULL ? run_file(&options) : run_batch(&options);
}
