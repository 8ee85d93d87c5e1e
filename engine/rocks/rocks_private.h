/* Inside engine/rocks. */
#ifndef BND_ENGINE_ROCKS_ROCKS_PRIVATE_H
#define BND_ENGINE_ROCKS_ROCKS_PRIVATE_H

#include "engine/rocks/rocks.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#define ROCKS_CFS                                                                                  \
    (BND_CF_COUNT + 1) /* the services', then RocksDB's default one: it holds the mark */
#define ROCKS_CF_MARK BND_CF_COUNT

struct rocks {
    struct bnd_state base; /* first */
    struct bnd_env *env;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *cfs[ROCKS_CFS];
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write_options, *waiting_options;
    rocksdb_readoptions_t *read_options;
    rocksdb_readoptions_t *persisted_options;
    rocksdb_compactoptions_t *compact_options;
    pthread_mutex_t write_mutex;
    atomic_uint_fast64_t mark;                      /* number of the last write */
    atomic_size_t bytes_written;                    /* since open */
    atomic_size_t bytes_persisted;                  /* of those */
    void (*corrupt)(void *owner, const char *what); /* NULL until open is through */
    void *owner;
    char *dir;                          /* for its file system's free space */
    unsigned persists_under_way;        /* the env's thread */
    atomic_uint batches_and_iters_open; /* leaks show at close */
    bool barred[ROCKS_CFS];             /* no iterator may be made: level0.c */
};

static inline struct rocks *rocks_of(struct bnd_state *state) {
    return BND_CONTAINER(state, struct rocks, base);
}

/* Takes RocksDB's error text (NULL: 0), logs it with `what` unless the code is BND_BUSY, and
 * returns its code. err may be NULL. */
int rocks_error_take(struct rocks *rocks, char *text, const char *what, struct bnd_error *err);

/* marker.c: the file FORMAT. Checks it, or makes directory and file where there is nothing. */
int rocks_marker_check(struct bnd_env *env, const char *dir, struct bnd_error *err);
/* Only checks it: BND_NOTFOUND if there is none. */
int rocks_marker_read(struct bnd_env *env, const char *dir, struct bnd_error *err);

/* level0.c: bars iterators of each family that has a file of level 0 which cannot be opened, and
 * logs which. names: of the families. stopped: nobody else has the store open; else a file that is
 * not there any more was compacted away meanwhile. BND_CORRUPT, BND_NOTFOUND, BND_IO: there is one.
 */
int rocks_level0_check(struct rocks *rocks, const char *const names[ROCKS_CFS], bool stopped,
                       struct bnd_error *err);

/* The value under a key, into *out (reset first). BND_NOTFOUND, BND_CORRUPT, BND_IO, BND_NOMEM. */
int rocks_get_with(struct rocks *rocks, const rocksdb_readoptions_t *options, enum bnd_state_cf cf,
                   struct bnd_slice key, struct bnd_buf *out);

/* batch.c */
struct bnd_state_batch *rocks_batch_create(struct bnd_state *state);
void rocks_batch_destroy(struct bnd_state_batch *batch);
void rocks_batch_clear(struct bnd_state_batch *batch);
size_t rocks_batch_bytes(const struct bnd_state_batch *batch);
void rocks_batch_put(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                     struct bnd_slice value);
void rocks_batch_delete(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key);
int rocks_batch_get(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                    struct bnd_buf *out);
void rocks_batch_over(struct bnd_state_batch *batch, struct bnd_state_batch *below);
struct bnd_state_iter *rocks_batch_iter(struct bnd_state_batch *batch, enum bnd_state_cf cf,
                                        struct bnd_slice from, struct bnd_slice to);
int rocks_write(struct bnd_state *state, struct bnd_state_batch *batch);
int rocks_write_waiting(struct bnd_state *state, struct bnd_state_batch *batch);

/* iter.c. batch: what the iterator sees over the state; NULL: nothing. NULL: no memory. */
struct bnd_state_iter *rocks_iter_create(struct rocks *rocks, rocksdb_writebatch_wi_t *batch,
                                         enum bnd_state_cf cf, struct bnd_slice from,
                                         struct bnd_slice to);
bool rocks_iter_valid(const struct bnd_state_iter *iter);
void rocks_iter_next(struct bnd_state_iter *iter);
void rocks_iter_seek(struct bnd_state_iter *iter, struct bnd_slice key);
struct bnd_slice rocks_iter_key(const struct bnd_state_iter *iter);
struct bnd_slice rocks_iter_value(const struct bnd_state_iter *iter);
int rocks_iter_status(const struct bnd_state_iter *iter);
void rocks_iter_destroy(struct bnd_state_iter *iter);

/* persist.c */
int rocks_persist(struct bnd_state *state, struct bnd_state_persist *persist);
#define ROCKS_MARK_KEY "mark"
#define ROCKS_MARK_KEY_LEN 4U
#define ROCKS_MARK_LEN 8U
/* The mark as `options` sees it; 0 where there is none. */
int rocks_mark_read(struct rocks *rocks, const rocksdb_readoptions_t *options, uint64_t *out);

#endif
