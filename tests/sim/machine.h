/* What every simulated cluster's machines have: a disk, a store and a clock, which outlive the
 * machine's processes, and the life of the present one. What runs in it is the cluster's own.
 *
 * A life: begin, then what is opened in its env, then up; its end is a crash, or closed and, from
 * the reaper, end. */
#ifndef BND_TESTS_SIM_MACHINE_H
#define BND_TESTS_SIM_MACHINE_H

#include "net/rpc.h"
#include "raft/host.h"
#include "tests/sim/check.h"
#include "tests/sim/env.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"

enum bnd_sim_life { BND_SIM_DOWN, BND_SIM_UP, BND_SIM_CLOSING, BND_SIM_CLOSED };

/* The first member of a cluster's own kind of machine. */
struct bnd_sim_machine {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct bnd_sim_check *check; /* if it prints, lives are told on stderr, too */
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

/* Makes disk and store, which last until destroy; slow: writes take up to 40 ms. world, net and
 * check are set and borrowed. reap gets a timer with that data when a life that is fatal is to be
 * crashed, or one that is CLOSED to be ended. */
void bnd_sim_machine_make(struct bnd_sim_machine *machine, uint64_t id, bool slow,
                          void (*reap)(struct bnd_timer *timer), void *data);
void bnd_sim_machine_destroy(struct bnd_sim_machine *machine);

/* Makes env, mesh, rpc and state, and enters the env. */
struct bnd_env *bnd_sim_machine_begin(struct bnd_sim_machine *machine, uint64_t id);
/* Opened, or not (rv, a violation): leaves the env. False: it is to be crashed. */
bool bnd_sim_machine_up(struct bnd_sim_machine *machine, int rv, const struct bnd_error *err);
/* From inside: the node has stopped itself and is reaped soon. A violation, if no disk has failed
 * and it is not excused. */
void bnd_sim_machine_fatal(struct bnd_sim_machine *machine, const struct bnd_error *why,
                           bool excused);
/* From inside: all is closed but what begin has made; it is reaped soon. */
void bnd_sim_machine_closed(struct bnd_sim_machine *machine);
/* Inside the env: destroys what begin has made; the machine is DOWN. */
void bnd_sim_machine_end(struct bnd_sim_machine *machine);
/* Not DOWN; between events of the world. */
void bnd_sim_machine_crash(struct bnd_sim_machine *machine, enum bnd_sim_crash kind);

/* Sets what a Raft host on the machine is opened with. */
void bnd_sim_machine_host(const struct bnd_sim_machine *machine,
                          struct bnd_raft_host_config *config);

#endif
