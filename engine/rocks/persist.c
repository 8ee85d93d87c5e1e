/* Persisting: an atomic flush of every family, asked for and proved.
 *
 * RocksDB's C interface has no call that flushes several families: rocksdb_flush and
 * rocksdb_flush_cf flush one, also under atomic_flush, and so would tear a batch at a crash
 * (measured on 7.8.3). A manual compaction flushes first what overlaps its range, and that flush
 * takes all families together. So every write puts a mark into a family that holds nothing else,
 * and persist compacts that one key: a file of a few hundred bytes.
 *
 * rocksdb_compact_range_cf_opt reports nothing. The proof is the mark read back from the files
 * alone (read tier "persisted"): it is of the last write asked for, or later, and what is older
 * became durable with it. */
#include "engine/rocks/rocks_private.h"

#define FLUSH_RESERVE_BYTES (UINT64_C(1) << 20) /* manifest, the mark's file, file system */

/* Lives in bnd_state_persist.priv. */
struct job {
    struct bnd_work work; /* data: the rocks */
    size_t bytes_written; /* when asked */
    uint64_t mark;        /* when asked; then the negated status, see on_run */
};
_Static_assert(sizeof(struct job) <= sizeof(((struct bnd_state_persist *)0)->priv), "job fits");

int rocks_mark_read(struct rocks *rocks, const rocksdb_readoptions_t *options, uint64_t *out) {
    size_t len = 0;
    char *text = NULL;
    char *value = rocksdb_get_cf(rocks->db, options, rocks->cfs[ROCKS_CF_MARK], ROCKS_MARK_KEY,
                                 ROCKS_MARK_KEY_LEN, &len, &text);
    int rv = rocks_error_take(rocks, text, "read the mark", NULL);
    if (rv != 0) {
        return rv;
    }
    uint64_t mark = 0;
    if (value != NULL) {
        rv = len == ROCKS_MARK_LEN ? 0 : BND_CORRUPT;
        mark = rv == 0 ? bnd_get_u64((const uint8_t *)value) : 0;
        rocksdb_free(value);
    }
    if (rv == 0) {
        *out = mark;
    }
    return rv;
}

/* Why the flush failed: an empty write changes nothing and meets RocksDB's background error. */
static int flush_error(struct rocks *rocks) {
    rocksdb_writebatch_t *empty = rocksdb_writebatch_create();
    char *text = NULL;
    rocksdb_write(rocks->db, rocks->write_options, empty, &text);
    rocksdb_writebatch_destroy(empty);
    int rv = rocks_error_take(rocks, text, "persist", NULL);
    return rv == 0 || rv == BND_BUSY ? BND_IO : rv;
}

/* Debian's RocksDB is built with assertions, and one of them ends the process when a flush meets a
 * full disk (measured): so a flush that may not fit is not begun. */
static int check_space(struct rocks *rocks) {
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    struct bnd_error err = {0};
    int rv = rocks->env->ops->disk_space(rocks->env, rocks->dir, &free_bytes, &total_bytes, &err);
    if (rv != 0) {
        bnd_log(rocks->env, BND_LOG_ERROR, "rocks", "persist: %s", err.message);
        return rv;
    }
    uint64_t bytes =
        atomic_load(&rocks->bytes_written) - (uint64_t)atomic_load(&rocks->bytes_persisted);
    uint64_t needed = bytes + bytes / 8 + FLUSH_RESERVE_BYTES;
    if (free_bytes < needed) {
        bnd_log(rocks->env, BND_LOG_ERROR, "rocks", "persist: %s has %llu bytes free, needs %llu",
                rocks->dir, (unsigned long long)free_bytes, (unsigned long long)needed);
        return BND_NOSPACE;
    }
    return 0;
}

/* On the pool. The status goes to on_done in `mark`, which has served then. */
static void on_run(struct bnd_work *work) {
    struct job *job = BND_CONTAINER(work, struct job, work);
    struct rocks *rocks = work->data;
    uint64_t persisted = 0;
    int rv = check_space(rocks);
    if (rv == 0) {
        rocksdb_compact_range_cf_opt(rocks->db, rocks->cfs[ROCKS_CF_MARK], rocks->compact_options,
                                     ROCKS_MARK_KEY, ROCKS_MARK_KEY_LEN, ROCKS_MARK_KEY,
                                     ROCKS_MARK_KEY_LEN);
        rv = rocks_mark_read(rocks, rocks->persisted_options, &persisted);
    }
    if (rv == 0 && persisted < job->mark) {
        rv = flush_error(rocks);
    }
    job->mark = (uint64_t)-rv;
}

static void on_done(struct bnd_work *work, int status) {
    struct job *job = BND_CONTAINER(work, struct job, work);
    struct rocks *rocks = work->data;
    struct bnd_state_persist *persist = BND_CONTAINER(job, struct bnd_state_persist, priv);
    int rv = status != 0 ? status : -(int)job->mark;
    if (rv == 0 && job->bytes_written > atomic_load(&rocks->bytes_persisted)) {
        atomic_store(&rocks->bytes_persisted, job->bytes_written);
    }
    BND_ASSERT(rocks->persists_under_way > 0);
    rocks->persists_under_way--;
    persist->cb(persist, rv);
}

int rocks_persist(struct bnd_state *state, struct bnd_state_persist *persist) {
    struct rocks *rocks = rocks_of(state);
    struct job *job = (struct job *)(void *)persist->priv;
    *job = (struct job){
        .work = {.run = on_run, .done = on_done, .data = rocks, .pin = (uint64_t)(uintptr_t)rocks},
        .bytes_written = atomic_load(&rocks->bytes_written),
        .mark = atomic_load(&rocks->mark)};
    int rv = rocks->env->ops->work(rocks->env, &job->work);
    if (rv == 0) {
        rocks->persists_under_way++;
    }
    return rv;
}
