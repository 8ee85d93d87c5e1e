/* Invariant: slots[i]->place == i for 1 <= i <= count, and no slot is before its parent slots[i /
 * 2]. */
#include "base/timer_heap.h"

#include "base/alloc.h"
#include "base/assert.h"

static bool before(const struct bnd_timer *a, const struct bnd_timer *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void put(struct bnd_timer_heap *heap, size_t place, struct bnd_timer *timer) {
    heap->slots[place] = timer;
    timer->place = place;
}

static void sift_up(struct bnd_timer_heap *heap, size_t place) {
    struct bnd_timer *timer = heap->slots[place];
    while (place > 1 && before(timer, heap->slots[place / 2])) {
        put(heap, place, heap->slots[place / 2]);
        place /= 2;
    }
    put(heap, place, timer);
}

static void sift_down(struct bnd_timer_heap *heap, size_t place) {
    struct bnd_timer *timer = heap->slots[place];
    for (;;) {
        size_t child = 2 * place;
        if (child > heap->count) {
            break;
        }
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

void bnd_timer_heap_free(struct bnd_timer_heap *heap) {
    for (size_t i = 1; i <= heap->count; i++) {
        heap->slots[i]->place = 0;
    }
    bnd_free(heap->slots);
    *heap = (struct bnd_timer_heap){0};
}

void bnd_timer_heap_set(struct bnd_timer_heap *heap, struct bnd_timer *timer, uint64_t due_ns) {
    bnd_timer_heap_remove(heap, timer);
    bool room = BND_ROOM(heap->slots, heap->count + 1, heap->cap, 64);
    BND_ASSERT(room);
    timer->due_ns = due_ns;
    timer->order = heap->next_order++;
    heap->count++;
    put(heap, heap->count, timer);
    sift_up(heap, heap->count);
}

void bnd_timer_heap_remove(struct bnd_timer_heap *heap, struct bnd_timer *timer) {
    size_t place = timer->place;
    if (place == 0) {
        return;
    }
    BND_ASSERT(place <= heap->count);
    BND_ASSERT(heap->slots[place] == timer);
    struct bnd_timer *last = heap->slots[heap->count];
    heap->count--;
    timer->place = 0;
    if (last != timer) {
        put(heap, place, last);
        sift_up(heap, place);
        sift_down(heap, last->place);
    }
}

uint64_t bnd_timer_heap_next(const struct bnd_timer_heap *heap) {
    return heap->count == 0 ? UINT64_MAX : heap->slots[1]->due_ns;
}

struct bnd_timer *bnd_timer_heap_pop(struct bnd_timer_heap *heap, uint64_t now_ns) {
    if (heap->count == 0 || heap->slots[1]->due_ns > now_ns) {
        return NULL;
    }
    struct bnd_timer *timer = heap->slots[1];
    bnd_timer_heap_remove(heap, timer);
    return timer;
}
