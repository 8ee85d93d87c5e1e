/* The schedule of faults, the same for every simulated cluster: one after the other at drawn
 * intervals, until the cluster is healed. And the faults that do not ask what runs on a machine. */
#ifndef BND_TESTS_SIM_NEMESIS_H
#define BND_TESTS_SIM_NEMESIS_H

#include "tests/sim/machine.h"

struct bnd_sim_nemesis_config {
    struct bnd_sim_world *world;
    struct bnd_sim_rng *rng;
    uint64_t interval_ns_min, interval_ns_max;
    void *data;
    /* The next one. */
    void (*fault)(void *data);
    /* Starts machines that are down, each with this chance. */
    void (*restart)(void *data, unsigned per_mille);
    /* Loses a machine with its disk if all is well enough for it. False: not now. NULL if
     * bnd_sim_nemesis_lose is never called. */
    bool (*lose)(void *data);
    uint64_t lose_check_ns; /* it is asked so often, */
    uint64_t lose_ns_max;   /* for so long; meanwhile nothing else happens and all are started */
};

struct bnd_sim_nemesis {
    struct bnd_sim_nemesis_config config;
    struct bnd_timer timer;
    bool healed;
    uint64_t lose_until_ns; /* a machine is to be lost; 0: no */
};

/* The first fault comes after the longest interval. */
void bnd_sim_nemesis_start(struct bnd_sim_nemesis *nemesis,
                           const struct bnd_sim_nemesis_config *config);
/* From inside a fault: the next one is a loss. */
void bnd_sim_nemesis_lose(struct bnd_sim_nemesis *nemesis);
/* No faults any more: all are started, also those whose stop is under way. */
void bnd_sim_nemesis_heal(struct bnd_sim_nemesis *nemesis);
void bnd_sim_nemesis_end(struct bnd_sim_nemesis *nemesis);

/* ---- faults ----------------------------------------------------------------------------------*/

/* Cuts one off from all, or from the other in one direction or both (a == b: nothing). */
void bnd_sim_nemesis_cut(struct bnd_sim_net *net, struct bnd_sim_rng *rng, uint64_t a, uint64_t b,
                         bool noticed);
/* draw: 0, the disk fails in this life; 1, the store stalls; else the disk stalls. */
void bnd_sim_nemesis_disk(struct bnd_sim_machine *machine, struct bnd_sim_rng *rng, uint64_t draw);
/* The clock jumps by up to most_ms, and drifts. */
void bnd_sim_nemesis_clock(struct bnd_sim_machine *machine, struct bnd_sim_rng *rng,
                           uint64_t most_ms);
/* The process, if there is one, is stopped for up to so long. */
void bnd_sim_nemesis_pause(struct bnd_sim_machine *machine, struct bnd_sim_rng *rng,
                           uint64_t most_ns);
/* An exact clock, no failures and no stalls. */
void bnd_sim_nemesis_mend(struct bnd_sim_machine *machine);

#endif
