/* Many seeds of one simulator: each in a process of its own, so that one that aborts is a failing
 * seed and not the end; files of seeds that must find something. */
#ifndef BND_TESTS_SIM_BATCH_H
#define BND_TESTS_SIM_BATCH_H

#include "base/error.h"
#include "tests/sim/check.h"
#include "tests/sim/world.h"

#include <stddef.h>
#include <stdint.h>

struct bnd_sim_options {
    uint64_t seed, count;
    uint32_t off;         /* bits of what is switched off */
    const char *off_list; /* as it was given; NULL: nothing */
    bool verbose, trace, determinism;
    uint64_t ticks;    /* per heartbeat: 1, or as --ticks says (has_ticks) */
    const char *seeds; /* a file; NULL: none */
};

/* What one seed tells: the simulator's own follows in the same memory. */
struct bnd_sim_result {
    struct bnd_sim_check check;
    uint64_t trace, events;
    bool thin; /* did too little to count */
};

/* A number of each seed, added up over the batch for its line. */
struct bnd_sim_sum {
    const char *name;
    size_t offset;    /* of the uint64_t in the seed's result */
    uint64_t per_100; /* what 20 seeds and more must have done, per 100 seeds; 0: anything counts */
};

struct bnd_sim_switch {
    const char *name;
    uint32_t bit;
};

struct bnd_sim_batch {
    const char *program;
    const char *off_option; /* "--rules-off" */
    const struct bnd_sim_switch *switches;
    size_t switches_count;
    const struct bnd_sim_sum *sums; /* in the order of the line */
    size_t sums_count;
    bool has_ticks;                      /* it knows --ticks N; seeds of a file are of 1 */
    size_t result_bytes;                 /* begins with struct bnd_sim_result */
    int (*begin)(struct bnd_error *err); /* in each seed's process; NULL: nothing */
    void (*run)(const struct bnd_sim_options *options, uint64_t seed, void *result);
    /* What is no sum: added up seed by seed, printed after the line. NULL: nothing. */
    void *totals;
    void (*add)(void *totals, const void *result);
    void (*print)(const void *totals, uint64_t seeds);
};

/* What the world and its check say of a seed that has ended. */
void bnd_sim_result_take(struct bnd_sim_result *result, const struct bnd_sim_world *world,
                         const struct bnd_sim_check *check);

/* The program: parses arguments, runs, returns the exit status: 1 if a
 * seed failed, or if the batch did too little to count. */
int bnd_sim_batch_main(const struct bnd_sim_batch *batch, int argc, char **argv);

#endif
