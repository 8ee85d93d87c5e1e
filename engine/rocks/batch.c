/* Batches: RocksDB's indexed write batch, and the mark that every write carries.
 *
 * Invariant: every write puts the next number under ROCKS_MARK_KEY of the mark's family, so that a
 * flush can be asked for by that key and proved by that number (persist.c). */
#include "base/alloc.h"
#include "engine/rocks/rocks_private.h"

#define EMPTY_BATCH_BYTES 12U /* RocksDB's header of a batch */

struct bnd_state_batch {
    struct rocks *rocks;
    rocksdb_writebatch_wi_t *wi;
};

struct bnd_state_batch *rocks_batch_create(struct bnd_state *state) {
    struct bnd_state_batch *batch = bnd_zalloc(sizeof *batch);
    if (batch == NULL) {
        return NULL;
    }
    batch->rocks = rocks_of(state);
    batch->wi =
        rocksdb_writebatch_wi_create(0, 1); /* 1: the last write of a key wins in the index */
    atomic_fetch_add(&batch->rocks->batches_and_iters_open, 1);
    return batch;
}

void rocks_batch_destroy(struct bnd_state_batch *batch) {
    if (batch == NULL) {
        return;
    }
    atomic_fetch_sub(&batch->rocks->batches_and_iters_open, 1);
    rocksdb_writebatch_wi_destroy(batch->wi);
    bnd_free(batch);
}

void rocks_batch_clear(struct bnd_state_batch *batch) {
    rocksdb_writebatch_wi_clear(batch->wi);
}

size_t rocks_batch_bytes(const struct bnd_state_batch *batch) {
    size_t len = 0;
    (void)rocksdb_writebatch_wi_data(batch->wi, &len); /* only its length is wanted */
    BND_ASSERT(len >= EMPTY_BATCH_BYTES);
    return len - EMPTY_BATCH_BYTES;
}

void rocks_batch_put(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                     struct bnd_slice value) {
    BND_ASSERT(cf < BND_CF_COUNT);
    rocksdb_writebatch_wi_put_cf(batch->wi, batch->rocks->cfs[cf], (const char *)key.data, key.len,
                                 (const char *)value.data, value.len);
}

void rocks_batch_delete(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key) {
    BND_ASSERT(cf < BND_CF_COUNT);
    rocksdb_writebatch_wi_delete_cf(batch->wi, batch->rocks->cfs[cf], (const char *)key.data,
                                    key.len);
}

int rocks_batch_get(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                    struct bnd_buf *out) {
    struct rocks *rocks = batch->rocks;
    BND_ASSERT(cf < BND_CF_COUNT);
    size_t len = 0;
    char *text = NULL;
    char *value = rocksdb_writebatch_wi_get_from_batch_and_db_cf(
        batch->wi, rocks->db, rocks->read_options, rocks->cfs[cf], (const char *)key.data, key.len,
        &len, &text);
    int rv = rocks_error_take(rocks->env, text, "read", NULL);
    if (rv != 0) {
        return rv;
    }
    if (value == NULL) {
        return BND_NOTFOUND;
    }
    bnd_buf_reset(out);
    bnd_buf_append(out, value, len);
    rocksdb_free(value);
    return out->failed ? BND_NOMEM : 0;
}

struct bnd_state_iter *rocks_batch_iter(struct bnd_state_batch *batch, enum bnd_state_cf cf,
                                        struct bnd_slice from, struct bnd_slice to) {
    return rocks_iter_create(batch->rocks, batch->wi, cf, from, to);
}

int rocks_write(struct bnd_state *state, struct bnd_state_batch *batch) {
    struct rocks *rocks = rocks_of(state);
    BND_ASSERT(batch->rocks == rocks);
    size_t bytes = rocks_batch_bytes(batch);
    if (bytes == 0) {
        return 0;
    }
    /* A busy write leaves its mark in the batch; the index keeps only the newest of them. */
    uint64_t next = atomic_load(&rocks->mark) + 1;
    uint8_t mark[ROCKS_MARK_LEN];
    bnd_put_u64(mark, next);
    rocksdb_writebatch_wi_put_cf(batch->wi, rocks->cfs[ROCKS_CF_MARK], ROCKS_MARK_KEY,
                                 ROCKS_MARK_KEY_LEN, (const char *)mark, sizeof mark);
    char *text = NULL;
    rocksdb_write_writebatch_wi(rocks->db, rocks->write_options, batch->wi, &text);
    int rv = rocks_error_take(rocks->env, text, "write", NULL);
    if (rv == 0) {
        atomic_store(&rocks->mark, next);
        atomic_fetch_add(&rocks->bytes_written, bytes);
    }
    return rv;
}
