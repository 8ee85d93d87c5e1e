/* A heap of struct bnd_timer, for implementations of struct bnd_env. Timers due at the same time
 * fire in the order in which they were started. Not thread-safe. */
#ifndef BND_BASE_TIMER_HEAP_H
#define BND_BASE_TIMER_HEAP_H

#include "base/env.h"

struct bnd_timer_heap {
    struct bnd_timer **slots; /* slots[0] is unused, so that place 0 means "not running" */
    size_t count;
    size_t cap;
    uint64_t next_order;
};

void bnd_timer_heap_free(struct bnd_timer_heap *heap); /* running timers are forgotten */
/* Adds or moves. Aborts without memory: a timer that never fires would be a silent stall. */
void bnd_timer_heap_set(struct bnd_timer_heap *heap, struct bnd_timer *timer, uint64_t due_ns);
void bnd_timer_heap_remove(struct bnd_timer_heap *heap, struct bnd_timer *timer); /* idempotent */
/* The next due time, or UINT64_MAX. */
uint64_t bnd_timer_heap_next(const struct bnd_timer_heap *heap);
/* Removes and returns one timer due at or before now_ns, or NULL. */
struct bnd_timer *bnd_timer_heap_pop(struct bnd_timer_heap *heap, uint64_t now_ns);

#endif
