/* The simulated world: one clock, one heap of events, one seed, one trace hash (architecture 4,
 * 14).
 *
 * Nothing in it looks at real time, real randomness or the order of pointers: the same seed gives
 * the same events in the same order, and so the same trace. One thread owns a world; several worlds
 * may live in one process. Simulated nodes (tests/sim/env.h) have their own heap of events; the
 * world knows only when each wants to run next. */
#ifndef BND_TESTS_SIM_WORLD_H
#define BND_TESTS_SIM_WORLD_H

#include "base/bytes.h"
#include "base/env.h"

#include <stdbool.h>
#include <stdint.h>

#define BND_SIM_START_NS (UINT64_C(1000) * 1000 * BND_MS)

/* ---- chance
 * ----------------------------------------------------------------------------------------- */

/* A stream of draws. Each purpose has its own, derived from the world's seed and the purpose's
 * name, so that a draw added in one place does not move every other. */
struct bnd_sim_rng {
    uint64_t state[2];
};
void bnd_sim_rng_init(struct bnd_sim_rng *rng, uint64_t seed, const char *purpose, uint64_t number);
uint64_t bnd_sim_rng_u64(struct bnd_sim_rng *rng);
/* In [0, n); n > 0. */
uint64_t bnd_sim_rng_below(struct bnd_sim_rng *rng, uint64_t n);
/* In [low, high]. */
uint64_t bnd_sim_rng_range(struct bnd_sim_rng *rng, uint64_t low, uint64_t high);
/* True in `per_mille` of 1000 draws. */
bool bnd_sim_rng_chance(struct bnd_sim_rng *rng, unsigned per_mille);

/* ---- events
 * ----------------------------------------------------------------------------------------- */

/* A heap of struct bnd_timer, as base/timer_heap.h, in the simulator's own memory. */
struct bnd_sim_heap {
    struct bnd_timer **slots; /* slots[0] is unused */
    size_t count;
    size_t cap;
    uint64_t next_order;
};
void bnd_sim_heap_set(struct bnd_sim_heap *heap, struct bnd_timer *timer, uint64_t due_ns);
void bnd_sim_heap_remove(struct bnd_sim_heap *heap, struct bnd_timer *timer); /* idempotent */
/* The next due time, or UINT64_MAX. */
uint64_t bnd_sim_heap_next(const struct bnd_sim_heap *heap);
/* Removes and returns one timer due at or before now_ns, or NULL. */
struct bnd_timer *bnd_sim_heap_pop(struct bnd_sim_heap *heap, uint64_t now_ns);
/* Forgets every timer without touching it: their memory may be gone. */
void bnd_sim_heap_free(struct bnd_sim_heap *heap);

/* ---- the world
 * -------------------------------------------------------------------------------------- */

struct bnd_sim_world;

struct bnd_sim_world *bnd_sim_world_create(uint64_t seed);
/* Every env must have been stopped or crashed before. NULL allowed. */
void bnd_sim_world_destroy(struct bnd_sim_world *world);

uint64_t bnd_sim_world_seed(const struct bnd_sim_world *world);
/* Starts at BND_SIM_START_NS. */
uint64_t bnd_sim_world_now_ns(const struct bnd_sim_world *world);
uint64_t bnd_sim_world_events(const struct bnd_sim_world *world); /* how many have run */
/* Time in which nothing runs, such as of machines that sleep: every wall clock is so much later at
 * once. Nothing else notices. */
void bnd_sim_world_pass(struct bnd_sim_world *world, uint64_t ms);
uint64_t bnd_sim_world_passed_ms(const struct bnd_sim_world *world); /* in all */

/* Runs timer->cb as an event of the world itself (a fault, a client outside of all nodes), at now +
 * delay_ns. The timer is the caller's and must outlive its run. Starting a running one moves it. */
void bnd_sim_world_at(struct bnd_sim_world *world, struct bnd_timer *timer, uint64_t delay_ns);
void bnd_sim_world_cancel(struct bnd_sim_world *world, struct bnd_timer *timer); /* idempotent */

/* Runs the next event; false if there is none. */
bool bnd_sim_world_step(struct bnd_sim_world *world);
/* Runs all events up to and including until_ns, then sets the clock to it. */
void bnd_sim_run_until(struct bnd_sim_world *world, uint64_t until_ns);
static inline void bnd_sim_run_for(struct bnd_sim_world *world, uint64_t duration_ns) {
    bnd_sim_run_until(world, bnd_sim_world_now_ns(world) + duration_ns);
}
/* Runs until check(data) is true (asked after each event) or the time has passed; returns whether
 * it was true. */
bool bnd_sim_run_until_true(struct bnd_sim_world *world, bool (*check)(void *data), void *data,
                            uint64_t timeout_ns);

/* ---- the trace
 * -------------------------------------------------------------------------------------- */

/* Every message, disk operation and applied state is mixed in, in order: `tag` says which kind of
 * thing. */
void bnd_sim_trace(struct bnd_sim_world *world, const char tag[4], uint64_t a, uint64_t b,
                   struct bnd_slice data);
uint64_t bnd_sim_trace_hash(const struct bnd_sim_world *world);
/* Prints each traced thing to stderr as one line: to compare two runs that should have been the
 * same. */
void bnd_sim_trace_print(struct bnd_sim_world *world, bool on);

#endif
