#include "base/alloc.h"

#include "base/assert.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

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

/* ---- kept blocks ------------------------------------------------------------------------------
 *
 * Blocks are libc's own, in lists by what they can hold: a block of class c holds at least
 * 16 c + 8 bytes, as libc's do. */

#define KEEP_BYTES_EACH_MAX 8192u
#define CLASS_BYTES 16u
#define CLASS_SPARE 8u /* of libc's header, which the next block lends */
#define CLASSES (KEEP_BYTES_EACH_MAX / CLASS_BYTES + 1)

struct kept {
    struct kept *next;
    const void *mark; /* &keep while it is kept: tells a block that is freed twice */
};

static _Thread_local struct {
    size_t bytes;
    size_t bytes_max;
    struct kept *lists[CLASSES];
} keep;

/* The smallest class that holds so much. */
static size_t class_for(size_t bytes) {
    return bytes <= CLASS_BYTES + CLASS_SPARE ? 1
                                              : (bytes - CLASS_SPARE + CLASS_BYTES - 1) / CLASS_BYTES;
}

static void *keep_take(size_t bytes) {
    if (keep.bytes == 0 || bytes > KEEP_BYTES_EACH_MAX) {
        return NULL;
    }
    struct kept **list = &keep.lists[class_for(bytes)];
    struct kept *block = *list;
    if (block != NULL) {
        BND_ASSERT(block->mark == &keep);
        *list = block->next;
        block->mark = NULL;
        keep.bytes -= malloc_usable_size(block);
    }
    return block;
}

/* A block may hold the mark by chance. */
static void assert_not_kept(const struct kept *block, const struct kept *list) {
    for (; block->mark == &keep && list != NULL; list = list->next) {
        BND_ASSERT(block != list);
    }
}

static bool keep_put(void *memory) {
    size_t room = keep.bytes_max == 0 || memory == NULL ? 0 : malloc_usable_size(memory);
    if (room < CLASS_BYTES + CLASS_SPARE || room > KEEP_BYTES_EACH_MAX ||
        room > keep.bytes_max - keep.bytes) {
        return false;
    }
    struct kept **list = &keep.lists[(room - CLASS_SPARE) / CLASS_BYTES];
    struct kept *block = memory;
    assert_not_kept(block, *list);
    *block = (struct kept){.next = *list, .mark = &keep};
    *list = block;
    keep.bytes += room;
    return true;
}

static void give_back(void *memory) {
    if (!keep_put(memory)) {
        free(memory);
    }
}

static void *get(size_t bytes) {
    void *memory = keep_take(bytes);
    return memory != NULL ? memory : malloc(bytes == 0 ? 1 : bytes);
}

static void *get_zeroed(size_t bytes) {
    void *memory = keep_take(bytes);
    return memory != NULL ? memset(memory, 0, bytes) : calloc(1, bytes == 0 ? 1 : bytes);
}

/* As realloc. */
static void *get_again(void *memory, size_t bytes) {
    size_t room = keep.bytes_max == 0 || memory == NULL ? 0 : malloc_usable_size(memory);
    if (memory != NULL && bytes <= room && room <= KEEP_BYTES_EACH_MAX) {
        return memory;
    }
    void *larger = keep_take(bytes);
    if (larger == NULL) {
        return realloc(memory, bytes == 0 ? 1 : bytes);
    }
    if (memory != NULL) {
        memcpy(larger, memory, room < bytes ? room : bytes);
        give_back(memory);
    }
    return larger;
}

void bnd_alloc_keep(size_t bytes) {
    keep.bytes_max = SANITIZED ? 0 : bytes;
    for (size_t i = 0; i < CLASSES; i++) {
        struct kept *block = NULL;
        while ((block = keep.lists[i]) != NULL) {
            keep.lists[i] = block->next;
            free(block);
        }
    }
    keep.bytes = 0;
}

/* ---- what everyone calls ----------------------------------------------------------------------*/

void *bnd_alloc(size_t bytes) {
    return refused() ? NULL : made(get(bytes));
}

void *bnd_zalloc(size_t bytes) {
    return refused() ? NULL : made(get_zeroed(bytes));
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
    void *moved = get_again(memory, bytes);
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
    give_back(memory);
}
