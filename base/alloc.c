#include "base/alloc.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

/* Per thread, so that the torture runs of one test do not reach into RocksDB's or libuv's threads.
 */
static _Thread_local uint64_t asked;
static _Thread_local uint64_t fail_at;
static _Thread_local int fail_sticky;
static _Thread_local const struct bnd_alloc_observer *watching;

const struct bnd_alloc_observer *bnd_alloc_observe(const struct bnd_alloc_observer *observer) {
    const struct bnd_alloc_observer *before = watching;
    watching = observer;
    return before;
}

static void *made(void *memory) {
    if (watching != NULL && memory != NULL) {
        watching->made(watching, memory);
    }
    return memory;
}

uint64_t bnd_alloc_fail_at(uint64_t n, int sticky) {
    uint64_t before = asked;
    asked = 0;
    fail_at = n;
    fail_sticky = sticky;
    return before;
}

static int refused(void) {
    asked++;
    return fail_at != 0 && (fail_sticky ? asked >= fail_at : asked == fail_at);
}

void *bnd_alloc(size_t bytes) {
    return refused() ? NULL : made(malloc(bytes == 0 ? 1 : bytes));
}

void *bnd_zalloc(size_t bytes) {
    return refused() ? NULL : made(calloc(1, bytes == 0 ? 1 : bytes));
}

void *bnd_calloc(size_t count, size_t bytes) {
    size_t total = 0;
    if (__builtin_mul_overflow(count, bytes, &total)) {
        return NULL;
    }
    return bnd_zalloc(total);
}

void *bnd_realloc(void *memory, size_t bytes) {
    if (refused()) {
        return NULL;
    }
    if (watching != NULL && memory != NULL) {
        watching->freed(watching, memory);
    }
    void *moved = realloc(memory, bytes == 0 ? 1 : bytes);
    (void)made(moved != NULL ? moved : memory); /* the old block stays when there is no memory */
    return moved;
}

void *bnd_grown(void *items, size_t *cap, size_t item_bytes, size_t first) {
    size_t wanted = *cap == 0 ? first : *cap;
    size_t bytes = 0;
    if ((*cap > 0 && __builtin_mul_overflow(wanted, 2, &wanted)) ||
        __builtin_mul_overflow(wanted, item_bytes, &bytes)) {
        return NULL;
    }
    void *grown = bnd_realloc(items, bytes);
    if (grown != NULL) {
        *cap = wanted;
    }
    return grown;
}

void *bnd_alloc_aligned(size_t alignment, size_t bytes) {
    BND_ASSERT(alignment >= sizeof(void *) && (alignment & (alignment - 1)) == 0);
    void *memory = NULL;
    if (refused() || posix_memalign(&memory, alignment, bytes == 0 ? alignment : bytes) != 0) {
        return NULL;
    }
    return made(memory);
}

void *bnd_memdup(const void *data, size_t bytes) {
    void *copy = bnd_alloc(bytes);
    if (copy != NULL && bytes > 0) {
        memcpy(copy, data, bytes);
    }
    return copy;
}

char *bnd_strdup(const char *text) {
    return bnd_memdup(text, strlen(text) + 1);
}

void bnd_free(void *memory) {
    if (watching != NULL && memory != NULL) {
        watching->freed(watching, memory);
    }
    free(memory);
}
