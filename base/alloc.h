/* Allocation. Everything Bindery allocates goes through here, so that tests can fail allocation n.
 * (What libraries allocate inside themselves does not; libraft is given these functions.)
 * Thread-safe. */
#ifndef BND_BASE_ALLOC_H
#define BND_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* Return owned memory, or NULL. bnd_zalloc and bnd_calloc zero it; bnd_calloc checks the product.
 * Size 0 returns a pointer that may be freed. */
void *bnd_alloc(size_t bytes) __attribute__((malloc, alloc_size(1)));
void *bnd_zalloc(size_t bytes) __attribute__((malloc, alloc_size(1)));
void *bnd_calloc(size_t count, size_t bytes) __attribute__((malloc, alloc_size(1, 2)));

/* As realloc: on failure returns NULL and the old block stays the caller's. */
void *bnd_realloc(void *memory, size_t bytes) __attribute__((alloc_size(2)));

/* Room for one more item in an array that grows by doubling, from `first` items on:
 * `if (!BND_ROOM(list->items, list->count, list->cap, 16)) return BND_NOMEM;`. False: no memory,
 * nothing has changed. Items move. The arguments are lvalues without side effects. */
#define BND_ROOM(items, count, cap, first)                                                         \
    ((count) < (cap) || __extension__({                                                            \
         void *grown_ = bnd_grown((items), &(cap), sizeof *(items), (first));                      \
         (items) = grown_ != NULL ? grown_ : (void *)(items);                                      \
         grown_ != NULL;                                                                           \
     }))

/* As bnd_realloc to twice *cap items (`first` if it is 0), and then sets *cap. */
void *bnd_grown(void *items, size_t *cap, size_t item_bytes, size_t first);

/* Returns owned memory aligned to `alignment` (a power of two), or NULL. Freed by bnd_free. */
void *bnd_alloc_aligned(size_t alignment, size_t bytes) __attribute__((alloc_size(2)));

/* Returns an owned copy of a string or of `bytes` bytes, or NULL. */
char *bnd_strdup(const char *text);
void *bnd_memdup(const void *data, size_t bytes);

/* NULL allowed. */
void bnd_free(void *memory);

/* From now on this thread keeps blocks that it frees, of at most 8 KiB each and `bytes` in sum, for
 * its next allocations of their size: for the thread of a loop, where thousands of blocks of few
 * sizes come and go each pass, which is more than libc keeps at hand (7 of a size, none above
 * 1 KiB). Blocks may come from other threads and go to them. 0 gives all back. Off at first;
 * builds with sanitizers stay without. */
void bnd_alloc_keep(size_t bytes);

/* Test only: the n-th allocation from now on this thread (n = 1 is the next) returns NULL, and so
 * do all after it if `sticky`. n = 0 switches it off. Returns how many allocations were asked for
 * since the last call. */
uint64_t bnd_alloc_fail_at(uint64_t n, int sticky);

/* Test only: tells an observer what this thread allocates and frees from now on (NULL: nobody), so
 * that a simulated crash can free all that a node held. Returns the previous observer. A block must
 * be freed under the observer that saw it made. */
struct bnd_alloc_observer {
    void (*made)(const struct bnd_alloc_observer *self, void *memory);
    void (*freed)(const struct bnd_alloc_observer *self, void *memory);
};
const struct bnd_alloc_observer *bnd_alloc_observe(const struct bnd_alloc_observer *observer);

/* Frees the variable when the scope ends: `BND_AUTO char *name = bnd_strdup(...)`. */
#define BND_AUTO __attribute__((cleanup(bnd_auto_free)))
static inline void bnd_auto_free(void *pointer_to_pointer) {
    bnd_free(*(void **)pointer_to_pointer);
}

/* Hands over what BND_AUTO holds: `*out = BND_TAKE(name)`. */
#define BND_TAKE(variable)                                                                         \
    __extension__({                                                                                \
        __typeof__(variable) taken_ = (variable);                                                  \
        (variable) = NULL;                                                                         \
        taken_;                                                                                    \
    })

#endif
