/* Applied state (engine/state.h) over RocksDB 7.8: write-ahead log off, column families flushed
 * together.
 *
 * What engine/state.h promises holds; in addition:
 *  - write never waits: where RocksDB would stall it, it is BND_BUSY.
 *  - persist is proved, not assumed: it answers 0 only after reading its own mark back from the
 * files (docs/design/0011-persist-through-an-atomic-flush.md).
 *  - reads (get, iter, get_persisted) may come from any thread; batches belong to one thread at a
 * time; write, persist, drop_range, unpersisted_bytes and close belong to the thread of `env`.
 *  - an error of RocksDB is final for writes until the next open; its text goes to the env's log.
 */
#ifndef BND_ENGINE_ROCKS_ROCKS_H
#define BND_ENGINE_ROCKS_ROCKS_H

#include "engine/state.h"

#define BND_ROCKS_MEMORY_BYTES_MIN (UINT64_C(16) << 20)

struct bnd_rocks_config {
    struct bnd_env *env;   /* borrowed; its pool runs persist. Outlives the state. */
    const char *dir;       /* made if it is not there; borrowed during open */
    uint64_t memory_bytes; /* 3/4 block cache, 1/4 memtables; at least BND_ROCKS_MEMORY_BYTES_MIN */
    int background_jobs;   /* RocksDB's own threads; 0: 2 */
    /* Stored bytes are damaged: told at the first read, write or persist that meets them after
     * open, on its thread, before it answers BND_CORRUPT; again at each later one. what is
     * borrowed. NULL: of no interest. */
    void (*corrupt)(void *owner, const char *what);
    void *owner;
};

/* Opens or makes the store: SPEC.md, "State". Blocks; for start. Returns owned state in *out.
 * Errors: BND_INVALID (memory_bytes too small; a directory that holds files but is none of ours),
 * BND_VERSION (a newer format), BND_CORRUPT, BND_LOCKED (another process), BND_NOSPACE, BND_NOMEM,
 * BND_IO. A directory refused with INVALID or VERSION is untouched. state->ops->close persists what
 * is left and blocks for it; no persist may be under way, and no batch or iterator may be left. */
int bnd_rocks_open(const struct bnd_rocks_config *config, struct bnd_state **out,
                   struct bnd_error *err);

/* About how many bytes the live data of a store of bnd_rocks_open takes on disk; 0: not known. */
uint64_t bnd_rocks_live_bytes(struct bnd_state *state);

#define BND_ROCKS_PATH_MAX 4096

struct bnd_rocks_file {
    uint64_t number; /* rises with each new one; never used twice */
    uint64_t bytes;
    char path[BND_ROCKS_PATH_MAX];
};
/* Calls each, from inside, for every table file that a store of bnd_rocks_open uses now, in no
 * order; those that its compactions delete later are not there any more when they are opened. */
void bnd_rocks_each_file(struct bnd_state *state,
                         void (*each)(void *data, const struct bnd_rocks_file *file), void *data);

/* Opens a store to look at it, for `bindery inspect`: what was persisted is there, nothing on disk
 * is changed and no lock is taken; writes, persists and drops are BND_UNSUPPORTED. A damaged store
 * opens if it can: reads of what is damaged are then BND_CORRUPT. dir must be a state directory.
 * Errors: BND_NOTFOUND, BND_VERSION, BND_CORRUPT, BND_NOMEM, BND_IO. */
int bnd_rocks_open_read_only(struct bnd_env *env, const char *dir, struct bnd_state **out,
                             struct bnd_error *err);

#endif
