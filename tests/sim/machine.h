/* What every simulated cluster's machines have: a disk, a store and a clock, which outlive the
 * machine's processes, and the life of the present one. */
#ifndef BND_TESTS_SIM_MACHINE_H
#define BND_TESTS_SIM_MACHINE_H

#include "net/rpc.h"
#include "tests/sim/env.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"

enum bnd_sim_life { BND_SIM_DOWN, BND_SIM_UP, BND_SIM_CLOSING, BND_SIM_CLOSED };

/* The first member of a cluster's own kind of machine. */
struct bnd_sim_machine {
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_clock clock;
    enum bnd_sim_life life;
    uint64_t lives;
    bool disk_failed; /* an error was injected in this life: a fatal stop is right */
    bool fatal;
    /* of this life */
    struct bnd_sim_env *env;
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_timer reaper; /* in the world: ends a life that stopped itself */
};

#endif
