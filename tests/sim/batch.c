#include "tests/sim/batch.h"

#include "tests/sim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIED "the process died"

/* ---- one seed ---------------------------------------------------------------------------------*/

void bnd_sim_result_take(struct bnd_sim_result *result, const struct bnd_sim_world *world,
                         const struct bnd_sim_check *check) {
    result->check = *check;
    result->trace = bnd_sim_trace_hash(world);
    result->events = bnd_sim_world_events(world);
}

static void child(const struct bnd_sim_batch *batch, const struct bnd_sim_options *options,
                  uint64_t seed, int out) {
    struct bnd_sim_result *result = bnd_sim_zalloc(batch->result_bytes);
    struct bnd_error err = {0};
    if (batch->begin != NULL && batch->begin(&err) != 0) {
        (void)fprintf(stderr, "%s\n", err.message);
        _exit(2);
    }
    batch->run(options, seed, result);
    if (options->determinism) {
        struct bnd_sim_result *again = bnd_sim_zalloc(batch->result_bytes);
        batch->run(options, seed, again);
        if (again->trace != result->trace) {
            bnd_sim_violation(&result->check,
                              "the same seed gives two traces: %016" PRIx64 " and %016" PRIx64,
                              result->trace, again->trace);
        }
    }
    ssize_t wrote = write(out, result, batch->result_bytes);
    _exit(wrote == (ssize_t)batch->result_bytes ? 0 : 2);
}

static void fork_seed(const struct bnd_sim_batch *batch, const struct bnd_sim_options *options,
                      uint64_t seed, struct bnd_sim_result *result) {
    int ends[2];
    if (pipe(ends) != 0) {
        perror("pipe");
        exit(2);
    }
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        child(batch, options, seed, ends[1]);
    }
    (void)close(ends[1]);
    memset(result, 0, batch->result_bytes);
    ssize_t got = read(ends[0], result, batch->result_bytes);
    (void)close(ends[0]);
    int status = 0;
    (void)waitpid(pid, &status, 0);
    if (got != (ssize_t)batch->result_bytes) {
        memset(result, 0, batch->result_bytes);
        bnd_sim_violation(&result->check, DIED " (%s %d)",
                          WIFSIGNALED(status) ? "signal" : "status",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

static void report(const struct bnd_sim_batch *batch, const struct bnd_sim_options *options,
                   uint64_t seed, const struct bnd_sim_check *check) {
    if (check->violations > 0) {
        (void)printf("seed %" PRIu64 ": %u violations: %s\n%s%s%s    replay: %s --seed %" PRIu64
                     " --count 1%s%s%s%s --verbose\n",
                     seed, check->violations, check->first,
                     check->divergences > 0 ? "    divergence: " : "", check->first_divergence,
                     check->divergences > 0 ? "\n" : "", batch->program, seed,
                     options->off_list == NULL ? "" : " ",
                     options->off_list == NULL ? "" : batch->off_option,
                     options->off_list == NULL ? "" : " ",
                     options->off_list == NULL ? "" : options->off_list);
    }
}

/* ---- many seeds -------------------------------------------------------------------------------*/

static uint64_t children_cpu_ms(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000u;
}

/* What a batch has come to. */
struct sums {
    uint64_t failed, diverged, thin, events;
    uint64_t *own; /* [sums_count] */
};

static void add_up(const struct bnd_sim_batch *batch, struct sums *sums,
                   const struct bnd_sim_result *result) {
    sums->failed += result->check.violations > 0;
    sums->diverged += result->check.divergences > 0;
    sums->thin += result->thin;
    sums->events += result->events;
    for (size_t i = 0; i < batch->sums_count; i++) {
        uint64_t one;
        memcpy(&one, (const uint8_t *)result + batch->sums[i].offset, sizeof one);
        sums->own[i] += one;
    }
    if (batch->add != NULL) {
        batch->add(batch->totals, result);
    }
}

static void print_sums(const struct bnd_sim_batch *batch, const struct bnd_sim_options *options,
                       const struct sums *sums) {
    (void)printf("seeds %" PRIu64 "..%" PRIu64 ": failed %" PRIu64 ", diverged %" PRIu64
                 ", thin %" PRIu64 ";",
                 options->seed, options->seed + options->count - 1, sums->failed, sums->diverged,
                 sums->thin);
    for (size_t i = 0; i < batch->sums_count; i++) {
        (void)printf(" %s %" PRIu64, batch->sums[i].name, sums->own[i]);
    }
    (void)printf(" events %" PRIu64 "; %" PRIu64 " CPU-ms per seed\n", sums->events,
                 children_cpu_ms() / options->count);
    if (batch->print != NULL) {
        batch->print(batch->totals, options->count);
    }
}

/* Few seeds count, whatever they did. */
static bool did_enough(const struct bnd_sim_batch *batch, uint64_t count, const struct sums *sums) {
    if (count < 20) {
        return true;
    }
    bool enough = sums->thin <= count / 20;
    if (!enough) {
        (void)printf("the batch did too little: thin seeds: %" PRIu64 "\n", sums->thin);
    }
    for (size_t i = 0; i < batch->sums_count; i++) {
        if (sums->own[i] * 100 < batch->sums[i].per_100 * count) {
            (void)printf("the batch did too little: %s: %" PRIu64 "\n", batch->sums[i].name,
                         sums->own[i]);
            enough = false;
        }
    }
    return enough;
}

static int run_batch(const struct bnd_sim_batch *batch, const struct bnd_sim_options *options) {
    struct bnd_sim_result *result = bnd_sim_zalloc(batch->result_bytes);
    struct sums sums = {.own = bnd_sim_zalloc(batch->sums_count * sizeof *sums.own)};
    for (uint64_t seed = options->seed; seed < options->seed + options->count; seed++) {
        fork_seed(batch, options, seed, result);
        report(batch, options, seed, &result->check);
        add_up(batch, &sums, result);
    }
    print_sums(batch, options, &sums);
    bool enough = did_enough(batch, options->count, &sums);
    bnd_sim_free(sums.own);
    bnd_sim_free(result);
    return sums.failed > 0 || !enough ? 1 : 0;
}

/* ---- seeds that found something ---------------------------------------------------------------*/

/* One line of a file of seeds. */
struct line {
    char off[64]; /* switched off; "-": nothing */
    uint64_t first, count;
    char finding[32];
};

static bool switch_off(const struct bnd_sim_batch *batch, struct bnd_sim_options *options,
                       const char *list) {
    size_t len = 0;
    for (const char *at = list; *at != 0; at += len + (at[len] == ',' ? 1 : 0)) {
        len = strcspn(at, ",");
        bool found = false;
        for (size_t i = 0; i < batch->switches_count; i++) {
            const struct bnd_sim_switch *it = &batch->switches[i];
            bool named = strlen(it->name) == len && strncmp(it->name, at, len) == 0;
            if (named || (len == 3 && strncmp(at, "all", 3) == 0)) {
                options->off |= it->bit;
                found = true;
            }
        }
        if (!found) {
            return false;
        }
    }
    options->off_list = list;
    return true;
}

static bool finds(const struct bnd_sim_check *check, const char *finding) {
    if (strcmp(finding, "diverges") == 0) {
        return check->divergences > 0;
    }
    if (strcmp(finding, "dies") == 0) {
        return strncmp(check->first, DIED, strlen(DIED)) == 0;
    }
    return check->violations > 0 &&
           (strcmp(finding, "any") == 0 || strncmp(check->first, finding, strlen(finding)) == 0);
}

/* With something off: one of the seeds must find it. With all on: none may find anything. */
static bool run_line(const struct bnd_sim_batch *batch, const struct bnd_sim_options *options,
                     const struct line *line, struct bnd_sim_result *result) {
    struct bnd_sim_options own = *options;
    bool wants_none = strcmp(line->off, "-") == 0;
    if (!wants_none && !switch_off(batch, &own, line->off)) {
        (void)printf("nothing is called %s\n", line->off);
        return false;
    }
    for (uint64_t seed = line->first; seed < line->first + line->count; seed++) {
        fork_seed(batch, &own, seed, result);
        if (wants_none && result->check.violations > 0) {
            report(batch, &own, seed, &result->check);
            return false;
        }
        if (!wants_none && finds(&result->check, line->finding)) {
            (void)printf("%s off: seed %" PRIu64 ": %s\n", line->off, seed,
                         strcmp(line->finding, "diverges") == 0 ? result->check.first_divergence
                                                                : result->check.first);
            return true;
        }
    }
    if (!wants_none) {
        (void)printf("%s off: none of %" PRIu64 " seeds from %" PRIu64 " on finds: %s\n", line->off,
                     line->count, line->first, line->finding);
    }
    return wants_none;
}

static int run_file(const struct bnd_sim_batch *batch, const struct bnd_sim_options *options) {
    FILE *file = fopen(options->seeds, "r");
    struct bnd_sim_result *result = bnd_sim_zalloc(batch->result_bytes);
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
        if (sscanf(text, "%63s %" SCNu64 " %" SCNu64 " %31s", line.off, &line.first, &line.count,
                   line.finding) != 4) {
            (void)printf("%s: not understood: %s", options->seeds, text);
            failed = 1;
            break;
        }
        failed |= run_line(batch, options, &line, result) ? 0 : 1;
        lines++;
    }
    (void)fclose(file);
    bnd_sim_free(result);
    (void)printf("%u lines of %s: %s\n", lines, options->seeds, failed ? "failed" : "as written");
    return failed || lines == 0 ? 1 : 0;
}

/* ---- arguments --------------------------------------------------------------------------------*/

static bool parse_number(const char *text, uint64_t *out) {
    char *end = NULL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *text != 0 && *end == 0;
}

static bool parse(const struct bnd_sim_batch *batch, int argc, char **argv,
                  struct bnd_sim_options *options) {
    *options = (struct bnd_sim_options){.seed = 1, .count = 100, .ticks = 1};
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
        } else if (batch->has_ticks && strcmp(argv[i], "--ticks") == 0 &&
                   parse_number(value, &options->ticks)) {
            i++;
        } else if (strcmp(argv[i], batch->off_option) == 0 && switch_off(batch, options, value)) {
            i++;
        } else if (strcmp(argv[i], "--seeds") == 0 && *value != 0) {
            options->seeds = value;
            i++;
        } else {
            return false;
        }
    }
    return options->count > 0 && options->ticks > 0;
}

int bnd_sim_batch_main(const struct bnd_sim_batch *batch, int argc, char **argv) {
    struct bnd_sim_options options;
    if (!parse(batch, argc, argv, &options)) {
        (void)fprintf(stderr,
                      "usage: %s [--seed A] [--count N] [--ticks N] [%s NAME,NAME,...|all] "
                      "[--check-determinism] [--verbose] [--trace]\n       %s --seeds FILE\n",
                      batch->program, batch->off_option, batch->program);
        return 2;
    }
    return options.seeds != NULL ? run_file(batch, &options) : run_batch(batch, &options);
}
