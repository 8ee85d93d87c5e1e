/* Invariants: (1) the clock never goes back; (2) events due at the same time run in the order in
 * which they were set; (3) the trace depends on the seed and the code alone. */
#include "tests/sim/world.h"

#include "base/assert.h"
#include "base/hash.h"
#include "tests/sim/memory.h"

#include <inttypes.h>
#include <stdio.h>

struct bnd_sim_world {
    uint64_t seed;
    uint64_t now_ns;
    uint64_t passed_ms;
    uint64_t events;
    uint64_t trace;
    bool print;
    struct bnd_sim_heap heap;
};

static uint64_t splitmix(uint64_t *state) {
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void bnd_sim_rng_init(struct bnd_sim_rng *rng, uint64_t seed, const char *purpose,
                      uint64_t number) {
    uint64_t mixed = bnd_hash64(bnd_slice_str(purpose), seed) + number;
    rng->state[0] = splitmix(&mixed);
    rng->state[1] = splitmix(&mixed) | 1; /* never both zero */
}

static uint64_t rotate(uint64_t v, unsigned by) {
    return (v << by) | (v >> (64 - by));
}

/* xoroshiro128++ */
uint64_t bnd_sim_rng_u64(struct bnd_sim_rng *rng) {
    uint64_t a = rng->state[0];
    uint64_t b = rng->state[1];
    uint64_t result = rotate(a + b, 17) + a;
    b ^= a;
    rng->state[0] = rotate(a, 49) ^ b ^ (b << 21);
    rng->state[1] = rotate(b, 28);
    return result;
}

uint64_t bnd_sim_rng_below(struct bnd_sim_rng *rng, uint64_t n) {
    BND_ASSERT(n > 0);
    return (uint64_t)(((unsigned __int128)bnd_sim_rng_u64(rng) * n) >> 64);
}

uint64_t bnd_sim_rng_range(struct bnd_sim_rng *rng, uint64_t low, uint64_t high) {
    BND_ASSERT(low <= high && high - low < UINT64_MAX);
    return low + bnd_sim_rng_below(rng, high - low + 1);
}

bool bnd_sim_rng_chance(struct bnd_sim_rng *rng, unsigned per_mille) {
    return bnd_sim_rng_below(rng, 1000) < per_mille;
}

static bool before(const struct bnd_timer *a, const struct bnd_timer *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void put(struct bnd_sim_heap *heap, size_t place, struct bnd_timer *timer) {
    heap->slots[place] = timer;
    timer->place = place;
}

static void sift_up(struct bnd_sim_heap *heap, struct bnd_timer *timer) {
    size_t place = timer->place;
    while (place > 1 && before(timer, heap->slots[place / 2])) {
        put(heap, place, heap->slots[place / 2]);
        place /= 2;
    }
    put(heap, place, timer);
}

static void sift_down(struct bnd_sim_heap *heap, struct bnd_timer *timer) {
    size_t place = timer->place;
    for (size_t child = 2 * place; child <= heap->count; child = 2 * place) {
        if (child < heap->count && before(heap->slots[child + 1], heap->slots[child])) {
            child++;
        }
        if (!before(heap->slots[child], timer)) {
            break;
        }
        put(heap, place, heap->slots[child]);
        place = child;
    }
    put(heap, place, timer);
}

void bnd_sim_heap_set(struct bnd_sim_heap *heap, struct bnd_timer *timer, uint64_t due_ns) {
    bnd_sim_heap_remove(heap, timer);
    if (heap->count + 1 >= heap->cap) {
        heap->cap = heap->cap == 0 ? 64 : heap->cap * 2;
        heap->slots = bnd_sim_realloc(heap->slots, heap->cap * sizeof(struct bnd_timer *));
    }
    timer->due_ns = due_ns;
    timer->order = heap->next_order++;
    heap->count++;
    put(heap, heap->count, timer);
    sift_up(heap, timer);
}

void bnd_sim_heap_remove(struct bnd_sim_heap *heap, struct bnd_timer *timer) {
    size_t place = timer->place;
    if (place == 0) {
        return;
    }
    BND_ASSERT(place <= heap->count && heap->slots[place] == timer);
    struct bnd_timer *last = heap->slots[heap->count];
    heap->count--;
    timer->place = 0;
    if (last != timer) {
        put(heap, place, last);
        sift_up(heap, last);
        sift_down(heap, last);
    }
}

uint64_t bnd_sim_heap_next(const struct bnd_sim_heap *heap) {
    return heap->count == 0 ? UINT64_MAX : heap->slots[1]->due_ns;
}

struct bnd_timer *bnd_sim_heap_pop(struct bnd_sim_heap *heap, uint64_t now_ns) {
    if (heap->count == 0 || heap->slots[1]->due_ns > now_ns) {
        return NULL;
    }
    struct bnd_timer *timer = heap->slots[1];
    bnd_sim_heap_remove(heap, timer);
    return timer;
}

void bnd_sim_heap_free(struct bnd_sim_heap *heap) {
    bnd_sim_free(heap->slots);
    *heap = (struct bnd_sim_heap){0};
}

struct bnd_sim_world *bnd_sim_world_create(uint64_t seed) {
    struct bnd_sim_world *world = bnd_sim_zalloc(sizeof *world);
    world->seed = seed;
    world->now_ns = BND_SIM_START_NS;
    return world;
}

void bnd_sim_world_destroy(struct bnd_sim_world *world) {
    if (world == NULL) {
        return;
    }
    bnd_sim_heap_free(&world->heap);
    bnd_sim_free(world);
}

uint64_t bnd_sim_world_seed(const struct bnd_sim_world *world) {
    return world->seed;
}

uint64_t bnd_sim_world_now_ns(const struct bnd_sim_world *world) {
    return world->now_ns;
}

void bnd_sim_world_pass(struct bnd_sim_world *world, uint64_t ms) {
    world->passed_ms += ms;
    bnd_sim_trace(world, "pass", ms, world->passed_ms, (struct bnd_slice){0});
}

uint64_t bnd_sim_world_passed_ms(const struct bnd_sim_world *world) {
    return world->passed_ms;
}

uint64_t bnd_sim_world_events(const struct bnd_sim_world *world) {
    return world->events;
}

void bnd_sim_world_at(struct bnd_sim_world *world, struct bnd_timer *timer, uint64_t delay_ns) {
    bnd_sim_heap_set(&world->heap, timer, world->now_ns + delay_ns);
}

void bnd_sim_world_cancel(struct bnd_sim_world *world, struct bnd_timer *timer) {
    bnd_sim_heap_remove(&world->heap, timer);
}

static bool step(struct bnd_sim_world *world, uint64_t until_ns) {
    struct bnd_timer *timer = bnd_sim_heap_pop(&world->heap, until_ns);
    if (timer == NULL) {
        return false;
    }
    BND_ASSERT(timer->due_ns >= world->now_ns);
    world->now_ns = timer->due_ns;
    world->events++;
    timer->cb(timer);
    return true;
}

bool bnd_sim_world_step(struct bnd_sim_world *world) {
    return step(world, UINT64_MAX);
}

void bnd_sim_run_until(struct bnd_sim_world *world, uint64_t until_ns) {
    BND_ASSERT(until_ns >= world->now_ns);
    while (step(world, until_ns)) {
    }
    world->now_ns = until_ns;
}

bool bnd_sim_run_until_true(struct bnd_sim_world *world, bool (*check)(void *data), void *data,
                            uint64_t timeout_ns) {
    uint64_t until_ns = world->now_ns + timeout_ns;
    while (!check(data)) {
        if (!step(world, until_ns)) {
            world->now_ns = until_ns;
            return check(data);
        }
    }
    return true;
}

void bnd_sim_trace(struct bnd_sim_world *world, const char tag[4], uint64_t a, uint64_t b,
                   struct bnd_slice data) {
    uint64_t body = bnd_hash64(data, 0);
    uint8_t fixed[44];
    bnd_put_u64(fixed, world->trace);
    bnd_put_u64(fixed + 8, world->now_ns);
    bnd_put_u64(fixed + 16, a);
    bnd_put_u64(fixed + 24, b);
    bnd_put_u64(fixed + 32, body);
    memcpy(fixed + 40, tag, 4);
    world->trace = bnd_hash64(bnd_slice(fixed, sizeof fixed), 0);
    if (world->print) {
        (void)fprintf(stderr,
                      "%12" PRIu64 " us %.4s %" PRIu64 " %" PRIu64 " len %zu data %016" PRIx64 "\n",
                      (world->now_ns - BND_SIM_START_NS) / 1000, tag, a, b, data.len, body);
    }
}

uint64_t bnd_sim_trace_hash(const struct bnd_sim_world *world) {
    return world->trace;
}

void bnd_sim_trace_print(struct bnd_sim_world *world, bool on) {
    world->print = on;
}
