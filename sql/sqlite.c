#include "sql/sqlite.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

/* Each block begins with its size; what follows stays aligned to 8 bytes, which is what SQLite
 * asks for. */
#define HEAD_BYTES sizeof(uint64_t)

static _Thread_local struct sql_memory *scope;

void sql_memory_enter(struct sql_memory *memory) {
    BND_ASSERT(scope == NULL);
    scope = memory;
}

void sql_memory_leave(void) {
    BND_ASSERT(scope != NULL);
    scope = NULL;
}

static bool refuse(size_t more) {
    return scope != NULL &&
           (scope->bytes > scope->bytes_max || more > scope->bytes_max - scope->bytes);
}

/* A block may be freed by another scope than it was made in: SQLite keeps some things for all
 * connections. */
static void count(size_t before, size_t after) {
    if (scope != NULL) {
        scope->bytes = scope->bytes + after >= before ? scope->bytes + after - before : 0;
    }
}

static int block_size(void *block) {
    return block == NULL ? 0 : (int)((uint64_t *)block)[-1];
}

static void *made(uint64_t *head, size_t before, int bytes) {
    if (head == NULL) {
        if (scope != NULL) {
            scope->failed = true;
        }
        return NULL;
    }
    count(before, (size_t)bytes);
    head[0] = (uint64_t)bytes;
    return head + 1;
}

static void *block_make(int bytes) {
    return refuse((size_t)bytes) ? NULL : made(bnd_alloc((size_t)bytes + HEAD_BYTES), 0, bytes);
}

static void block_free(void *block) {
    if (block != NULL) {
        count((size_t)block_size(block), 0);
        bnd_free((uint64_t *)block - 1);
    }
}

static void *block_resize(void *block, int bytes) {
    size_t before = (size_t)block_size(block);
    if ((size_t)bytes > before && refuse((size_t)bytes - before)) {
        return NULL;
    }
    return made(bnd_realloc((uint64_t *)block - 1, (size_t)bytes + HEAD_BYTES), before, bytes);
}

static int round_up(int bytes) {
    return (bytes + 7) & ~7;
}

static int memory_init(void *data) {
    return SQLITE_OK;
}

static void memory_shutdown(void *data) {
}

static void start(void) {
    static const sqlite3_mem_methods methods = {.xMalloc = block_make,
                                                .xFree = block_free,
                                                .xRealloc = block_resize,
                                                .xSize = block_size,
                                                .xRoundup = round_up,
                                                .xInit = memory_init,
                                                .xShutdown = memory_shutdown};
    /* What it keeps for the process is nobody's who is being watched just now. */
    const struct bnd_alloc_observer *observer = bnd_alloc_observe(NULL);
    BND_ASSERT(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK);
    BND_ASSERT(sqlite3_initialize() == SQLITE_OK);
    (void)bnd_alloc_observe(observer);
}

void sql_sqlite_start(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    BND_ASSERT(pthread_once(&once, start) == 0);
}
