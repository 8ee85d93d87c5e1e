/* One incarnation of a simulated node: `struct bnd_env` over a virtual clock and a simulated disk.
 *
 * A node's loop runs in passes: what is due, then deferred tasks, then hooks. A pass takes a few
 * drawn microseconds, so what falls due meanwhile shares the next one. Memory that the node
 * allocates through base/alloc.h while its code runs belongs to the incarnation: a crash frees it,
 * a clean stop insists that none is left. Therefore every call into a node from outside its own
 * callbacks stands between bnd_sim_env_enter and bnd_sim_env_leave.
 *
 * Sockets: listen and connect answer BND_UNSUPPORTED; tests/sim/mesh.h stands for the network. */
#ifndef BND_TESTS_SIM_ENV_H
#define BND_TESTS_SIM_ENV_H

#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define BND_SIM_WORK_MAX 1024 /* works queued or running; above it BND_FULL */

/* A machine's wall clock: it outlives incarnations. Zero-initialised is exact. */
struct bnd_sim_clock {
    int64_t offset_ms;
    int64_t drift_ppm; /* since BND_SIM_START_NS */
};

/* What a machine with this clock (NULL: exact) reads now. */
uint64_t bnd_sim_wall_ms(const struct bnd_sim_world *world, const struct bnd_sim_clock *clock);

struct bnd_sim_env;

/* disk and clock are borrowed; clock may be NULL (exact). At most one env at a time uses a disk. */
struct bnd_sim_env *bnd_sim_env_create(struct bnd_sim_world *world, struct bnd_sim_disk *disk,
                                       const struct bnd_sim_clock *clock, uint64_t node);
struct bnd_env *bnd_sim_env(struct bnd_sim_env *env);
uint64_t bnd_sim_env_node(const struct bnd_sim_env *env);
struct bnd_sim_world *bnd_sim_env_world(struct bnd_sim_env *env);
/* Prints the node's log lines of this level and above to stderr (default: none). */
void bnd_sim_env_log(struct bnd_sim_env *env, enum bnd_log_level from);

/* Brackets calls into the node. Nest freely, also inside another node's. */
void bnd_sim_env_enter(struct bnd_sim_env *env);
void bnd_sim_env_leave(struct bnd_sim_env *env);

/* Ends the incarnation between passes of its loop. */
enum bnd_sim_crash {
    BND_SIM_KILL, /* the process dies: writes under way land or not, what was written stays readable
                   */
    BND_SIM_POWER /* the machine dies: what was not durable is lost in part (BND_SIM_KEEP_RANDOM) */
};
void bnd_sim_env_crash(struct bnd_sim_env *env, enum bnd_sim_crash kind);
/* After the node has closed everything. Aborts when a request, timer, hook, file or block is left.
 */
void bnd_sim_env_stop(struct bnd_sim_env *env);
/* No callback runs any more: for a node that reports a fatal error from inside one. Then crash it.
 */
void bnd_sim_env_halt(struct bnd_sim_env *env);
/* Halted, or the disk was cut. */
bool bnd_sim_env_halted(const struct bnd_sim_env *env);
/* The process is stopped (SIGSTOP) for so long; time goes on meanwhile. */
void bnd_sim_env_pause(struct bnd_sim_env *env, uint64_t duration_ns);
/* Blocks that the node holds now. */
size_t bnd_sim_env_blocks(const struct bnd_sim_env *env);

/* ---- for other simulated devices (mesh, state) and for test clients
 * ------------------------------------ */

/* Something that happens on the node's loop. Owned by whoever makes it; zero-initialised before its
 * start. */
struct bnd_sim_event {
    void (*run)(struct bnd_sim_event *event);
    /* The incarnation ended before. May be NULL. Must not call into the node. */
    void (*drop)(struct bnd_sim_event *event);
    void *data;
    bool owed; /* a clean stop must not find it: a request of the node is behind it */
    /* private */
    struct bnd_timer timer;
    struct bnd_link link;
    struct bnd_sim_env *env;
};
void bnd_sim_env_at(struct bnd_sim_env *env, struct bnd_sim_event *event, uint64_t delay_ns);

/* Called once when the incarnation ends, before its memory goes: newest first. Must not call into
 * the node. */
struct bnd_sim_end {
    void (*cb)(struct bnd_sim_end *end, bool crashed);
    void *data;
    struct bnd_link link;
};
void bnd_sim_env_on_end(struct bnd_sim_env *env, struct bnd_sim_end *end);
void bnd_sim_env_not_on_end(struct bnd_sim_end *end);

#endif
