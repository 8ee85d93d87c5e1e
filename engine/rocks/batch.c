/* Batches: writes kept in order with a hash index over their keys, so that reads see them; given to
 * RocksDB as one write batch, the last write of a key only. The mark that every write carries.
 *
 * Invariants: 1. every write puts the next number under ROCKS_MARK_KEY of the mark's family, so
 * that a flush can be asked for by that key and proved by that number (persist.c); 2. `index` finds
 * the last write of each key in the batch, and only that one is not `old`.
 *
 * RocksDB's own indexed batch is a skip list that decodes a record at each comparison; it is made
 * only when an iterator is asked for. Without memory a batch fails as a whole: reads and the write
 * answer BND_NOMEM. */
#include "base/alloc.h"
#include "base/hash.h"
#include "engine/rocks/rocks_private.h"

#include <stdlib.h>

#define INDEX_MIN 256u     /* places; a power of two */
#define OVERHEAD_BYTES 16u /* of one write in RocksDB's batch, about */
/* Of a larger batch no memory is kept: twice what Raft applies in a pass. */
#define KEEP_BYTES ((size_t)8 << 20)

struct write_op {
    size_t at; /* in `bytes`: key, then value */
    uint32_t key_len;
    uint32_t value_len;
    uint8_t cf;
    bool deleted;
    bool old; /* a later write of the same key follows */
};

struct bnd_state_batch {
    struct rocks *rocks;
    struct bnd_buf bytes;
    struct write_op *ops;
    size_t ops_count, ops_cap;
    uint32_t *index; /* number of an op + 1, or 0: open addressing */
    size_t index_len;
    uint32_t *order; /* numbers of ops as they are given to RocksDB */
    size_t order_cap;
    bool failed;                  /* memory */
    rocksdb_writebatch_t *writes; /* empty between writes: it keeps its memory, to KEEP_BYTES */
    rocksdb_writebatch_wi_t *wi;  /* for iterators: the first wi_count ops; NULL: none yet */
    size_t wi_count;
    struct bnd_state_batch *below; /* where reads look next, or NULL */
};

struct bnd_state_batch *rocks_batch_create(struct bnd_state *state) {
    struct bnd_state_batch *batch = bnd_zalloc(sizeof *batch);
    if (batch == NULL) {
        return NULL;
    }
    batch->rocks = rocks_of(state);
    batch->writes = rocksdb_writebatch_create();
    atomic_fetch_add(&batch->rocks->batches_and_iters_open, 1);
    return batch;
}

void rocks_batch_destroy(struct bnd_state_batch *batch) {
    if (batch == NULL) {
        return;
    }
    atomic_fetch_sub(&batch->rocks->batches_and_iters_open, 1);
    if (batch->wi != NULL) {
        rocksdb_writebatch_wi_destroy(batch->wi);
    }
    rocksdb_writebatch_destroy(batch->writes);
    bnd_buf_free(&batch->bytes);
    bnd_free(batch->ops);
    bnd_free(batch->order);
    bnd_free(batch->index);
    bnd_free(batch);
}

/* What was collected at once, when a log was applied again after a crash, would be kept for ever,
 * here and in RocksDB's batch. */
static void give_back(struct bnd_state_batch *batch) {
    bnd_buf_free(&batch->bytes);
    bnd_free(batch->ops);
    bnd_free(batch->order);
    batch->ops = NULL;
    batch->order = NULL;
    batch->ops_cap = batch->order_cap = 0;
    rocksdb_writebatch_destroy(batch->writes);
    batch->writes = rocksdb_writebatch_create();
}

void rocks_batch_clear(struct bnd_state_batch *batch) {
    if (rocks_batch_bytes(batch) > KEEP_BYTES) {
        give_back(batch);
    }
    bnd_buf_reset(&batch->bytes);
    if (batch->index_len > INDEX_MIN && batch->ops_count < batch->index_len / 16) {
        bnd_free(batch->index); /* grown for a larger one: to clear it took longer than to fill it */
        batch->index = NULL;
        batch->index_len = 0;
    } else if (batch->index_len > 0) {
        memset(batch->index, 0, batch->index_len * sizeof *batch->index);
    }
    batch->ops_count = 0;
    batch->failed = false;
    if (batch->wi_count > 0) {
        rocksdb_writebatch_wi_clear(batch->wi);
        batch->wi_count = 0;
    }
}

size_t rocks_batch_bytes(const struct bnd_state_batch *batch) {
    return batch->bytes.len + batch->ops_count * OVERHEAD_BYTES;
}

/* ---- the index --------------------------------------------------------------------------------*/

static struct bnd_slice op_key(const struct bnd_state_batch *batch, const struct write_op *op) {
    return bnd_slice(batch->bytes.data + op->at, op->key_len);
}

static struct bnd_slice op_value(const struct bnd_state_batch *batch, const struct write_op *op) {
    return bnd_slice(batch->bytes.data + op->at + op->key_len, op->value_len);
}

/* The place of a key: of its last write, or the free one where it would go. */
static uint32_t *place_of(const struct bnd_state_batch *batch, enum bnd_state_cf cf,
                          struct bnd_slice key) {
    size_t at = (size_t)bnd_hash64(key, cf);
    for (;; at++) {
        uint32_t *place = &batch->index[at & (batch->index_len - 1)];
        if (*place == 0) {
            return place;
        }
        const struct write_op *op = &batch->ops[*place - 1];
        if (op->cf == cf && bnd_slice_eq(op_key(batch, op), key)) {
            return place;
        }
    }
}

static bool index_grow(struct bnd_state_batch *batch) {
    size_t len = batch->index_len == 0 ? INDEX_MIN : batch->index_len * 2;
    uint32_t *index = bnd_calloc(len, sizeof *index);
    if (index == NULL) {
        return false;
    }
    bnd_free(batch->index);
    batch->index = index;
    batch->index_len = len;
    for (size_t i = 0; i < batch->ops_count; i++) {
        const struct write_op *op = &batch->ops[i];
        if (!op->old) {
            *place_of(batch, op->cf, op_key(batch, op)) = (uint32_t)i + 1;
        }
    }
    return true;
}

static void add(struct bnd_state_batch *batch, const struct write_op *what, struct bnd_slice key,
                struct bnd_slice value) {
    BND_ASSERT(what->cf < BND_CF_COUNT && key.len <= UINT32_MAX && value.len <= UINT32_MAX);
    size_t at = batch->bytes.len;
    bnd_buf_append_slice(&batch->bytes, key);
    bnd_buf_append_slice(&batch->bytes, value);
    if (batch->failed || batch->bytes.failed ||
        !BND_ROOM(batch->ops, batch->ops_count, batch->ops_cap, INDEX_MIN / 2) ||
        (2 * (batch->ops_count + 1) > batch->index_len && !index_grow(batch))) {
        batch->failed = true;
        return;
    }
    uint32_t *place = place_of(batch, what->cf, key);
    if (*place != 0) {
        batch->ops[*place - 1].old = true;
    }
    struct write_op *op = &batch->ops[batch->ops_count++];
    *op = *what;
    op->at = at;
    op->key_len = (uint32_t)key.len;
    op->value_len = (uint32_t)value.len;
    *place = (uint32_t)batch->ops_count;
}

void rocks_batch_put(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                     struct bnd_slice value) {
    const struct write_op op = {.cf = (uint8_t)cf};
    add(batch, &op, key, value);
}

void rocks_batch_delete(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key) {
    const struct write_op op = {.cf = (uint8_t)cf, .deleted = true};
    add(batch, &op, key, bnd_slice(NULL, 0));
}

/* ---- reading ----------------------------------------------------------------------------------*/

int rocks_batch_get(struct bnd_state_batch *batch, enum bnd_state_cf cf, struct bnd_slice key,
                    struct bnd_buf *out) {
    BND_ASSERT(cf < BND_CF_COUNT);
    if (batch->failed) {
        return BND_NOMEM;
    }
    uint32_t found = batch->index_len == 0 ? 0 : *place_of(batch, cf, key);
    if (found == 0 && batch->below != NULL) {
        return rocks_batch_get(batch->below, cf, key, out);
    }
    if (found == 0) {
        return rocks_get_with(batch->rocks, batch->rocks->read_options, cf, key, out);
    }
    const struct write_op *op = &batch->ops[found - 1];
    if (op->deleted) {
        return BND_NOTFOUND;
    }
    bnd_buf_reset(out);
    bnd_buf_append_slice(out, op_value(batch, op));
    return out->failed ? BND_NOMEM : 0;
}

void rocks_batch_over(struct bnd_state_batch *batch, struct bnd_state_batch *below) {
    BND_ASSERT(below == NULL || below->below == NULL);
    batch->below = below;
}

/* Gives RocksDB's indexed batch the ops it does not have yet. */
static void fill_wi(struct bnd_state_batch *batch) {
    if (batch->wi == NULL) { /* 1: the last write of a key wins in its index */
        batch->wi = rocksdb_writebatch_wi_create(0, 1);
    }
    for (; batch->wi_count < batch->ops_count; batch->wi_count++) {
        const struct write_op *op = &batch->ops[batch->wi_count];
        struct bnd_slice key = op_key(batch, op);
        struct bnd_slice value = op_value(batch, op);
        rocksdb_column_family_handle_t *cf = batch->rocks->cfs[op->cf];
        if (op->deleted) {
            rocksdb_writebatch_wi_delete_cf(batch->wi, cf, (const char *)key.data, key.len);
        } else {
            rocksdb_writebatch_wi_put_cf(batch->wi, cf, (const char *)key.data, key.len,
                                         (const char *)value.data, value.len);
        }
    }
}

struct bnd_state_iter *rocks_batch_iter(struct bnd_state_batch *batch, enum bnd_state_cf cf,
                                        struct bnd_slice from, struct bnd_slice to) {
    BND_ASSERT(batch->below == NULL);
    if (batch->failed) {
        return NULL;
    }
    fill_wi(batch);
    return rocks_iter_create(batch->rocks, batch->wi, cf, from, to);
}

/* ---- writing ----------------------------------------------------------------------------------*/

static int by_key(const void *left, const void *right, void *data) {
    const struct bnd_state_batch *batch = data;
    const struct write_op *a = &batch->ops[*(const uint32_t *)left];
    const struct write_op *b = &batch->ops[*(const uint32_t *)right];
    return a->cf != b->cf ? a->cf - b->cf : bnd_slice_cmp(op_key(batch, a), op_key(batch, b));
}

/* The ops that count, in the order of their keys: a memtable looks for the place of a key next to
 * the one before first. SIZE_MAX: no memory. */
static size_t sort_ops(struct bnd_state_batch *batch) {
    size_t count = 0;
    if (batch->order_cap < batch->ops_count) {
        bnd_free(batch->order);
        batch->order = bnd_calloc(batch->ops_cap, sizeof *batch->order);
        batch->order_cap = batch->order == NULL ? 0 : batch->ops_cap;
    }
    if (batch->order == NULL) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i < batch->ops_count; i++) {
        if (!batch->ops[i].old) {
            batch->order[count++] = (uint32_t)i;
        }
    }
    qsort_r(batch->order, count, sizeof *batch->order, by_key, batch);
    return count;
}

/* False: no memory. */
static bool fill_writes(struct bnd_state_batch *batch) {
    rocksdb_column_family_handle_t *const *cfs = batch->rocks->cfs;
    rocksdb_writebatch_t *out = batch->writes;
    size_t count = sort_ops(batch);
    if (count == SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct write_op *op = &batch->ops[batch->order[i]];
        struct bnd_slice key = op_key(batch, op);
        struct bnd_slice value = op_value(batch, op);
        if (op->deleted) {
            rocksdb_writebatch_delete_cf(out, cfs[op->cf], (const char *)key.data, key.len);
        } else {
            rocksdb_writebatch_put_cf(out, cfs[op->cf], (const char *)key.data, key.len,
                                      (const char *)value.data, value.len);
        }
    }
    return true;
}

/* Numbers go to RocksDB in their order, whichever thread writes. */
static int write_numbered(struct rocks *rocks, const rocksdb_writeoptions_t *options,
                          rocksdb_writebatch_t *writes) {
    uint8_t mark[ROCKS_MARK_LEN];
    char *text = NULL;
    (void)pthread_mutex_lock(&rocks->write_mutex);
    uint64_t next = atomic_load(&rocks->mark) + 1;
    bnd_put_u64(mark, next);
    rocksdb_writebatch_put_cf(writes, rocks->cfs[ROCKS_CF_MARK], ROCKS_MARK_KEY, ROCKS_MARK_KEY_LEN,
                              (const char *)mark, sizeof mark);
    rocksdb_write(rocks->db, options, writes, &text);
    int rv = rocks_error_take(rocks, text, "write", NULL);
    if (rv == 0) {
        atomic_store(&rocks->mark, next);
    }
    (void)pthread_mutex_unlock(&rocks->write_mutex);
    return rv;
}

static int write_with(struct bnd_state *state, struct bnd_state_batch *batch,
                      const rocksdb_writeoptions_t *options) {
    struct rocks *rocks = rocks_of(state);
    BND_ASSERT(batch->rocks == rocks);
    if (batch->failed) {
        return BND_NOMEM;
    }
    if (batch->ops_count == 0) {
        return 0;
    }
    if (!fill_writes(batch)) {
        rocksdb_writebatch_clear(batch->writes);
        return BND_NOMEM;
    }
    int rv = write_numbered(rocks, options, batch->writes);
    rocksdb_writebatch_clear(batch->writes);
    if (rv == 0) {
        atomic_fetch_add(&rocks->bytes_written, rocks_batch_bytes(batch));
    }
    return rv;
}

int rocks_write(struct bnd_state *state, struct bnd_state_batch *batch) {
    return write_with(state, batch, rocks_of(state)->write_options);
}

int rocks_write_waiting(struct bnd_state *state, struct bnd_state_batch *batch) {
    return write_with(state, batch, rocks_of(state)->waiting_options);
}
