/* Iterators over a range of one family, with or without a batch's writes on top.
 *
 * The bounds are checked here too: RocksDB's upper bound holds for the state below, not for the
 * batch on top. */
#include "base/alloc.h"
#include "engine/rocks/rocks_private.h"

struct bnd_state_iter {
    struct rocks *rocks;
    rocksdb_iterator_t *it; /* NULL: the store is older than the family, or damaged where every
                             * iterator meets it, and opened to be read */
    int status;             /* without `it` */
    rocksdb_readoptions_t *options; /* holds the bound: lives as long as `it` */
    struct bnd_slice from;
    struct bnd_slice to;
    bool
        placed; /* at `from` or where it was sought: who seeks at once pays for one seek, not two */
};

struct bnd_state_iter *rocks_iter_create(struct rocks *rocks, rocksdb_writebatch_wi_t *batch,
                                         enum bnd_state_cf cf, struct bnd_slice from,
                                         struct bnd_slice to) {
    BND_ASSERT(cf < BND_CF_COUNT);
    struct bnd_state_iter *iter = bnd_zalloc(sizeof *iter);
    if (iter == NULL) {
        return NULL;
    }
    iter->rocks = rocks;
    iter->from = from;
    iter->to = to;
    iter->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_upper_bound(iter->options, (const char *)to.data, to.len);
    iter->status = rocks->barred[cf] ? BND_CORRUPT : 0;
    if (rocks->cfs[cf] != NULL && iter->status == 0) {
        iter->it = rocksdb_create_iterator_cf(rocks->db, iter->options, rocks->cfs[cf]);
    }
    if (batch != NULL && iter->it != NULL) { /* takes the state's iterator */
        iter->it =
            rocksdb_writebatch_wi_create_iterator_with_base_cf(batch, iter->it, rocks->cfs[cf]);
    }
    atomic_fetch_add(&rocks->batches_and_iters_open, 1);
    return iter;
}

static void place(const struct bnd_state_iter *iter) {
    if (!iter->placed) {
        rocks_iter_seek((struct bnd_state_iter *)iter, iter->from); /* nobody sees the difference */
    }
}

bool rocks_iter_valid(const struct bnd_state_iter *iter) {
    place(iter);
    return iter->it != NULL && rocksdb_iter_valid(iter->it) != 0 &&
           bnd_slice_cmp(rocks_iter_key(iter), iter->to) < 0;
}

void rocks_iter_next(struct bnd_state_iter *iter) {
    BND_ASSERT(rocks_iter_valid(iter));
    rocksdb_iter_next(iter->it);
}

void rocks_iter_seek(struct bnd_state_iter *iter, struct bnd_slice key) {
    struct bnd_slice at = bnd_slice_cmp(key, iter->from) < 0 ? iter->from : key;
    iter->placed = true;
    if (iter->it != NULL) {
        rocksdb_iter_seek(iter->it, (const char *)at.data, at.len);
    }
}

struct bnd_slice rocks_iter_key(const struct bnd_state_iter *iter) {
    size_t len = 0;
    const char *data = rocksdb_iter_key(iter->it, &len);
    return bnd_slice(data, len);
}

struct bnd_slice rocks_iter_value(const struct bnd_state_iter *iter) {
    size_t len = 0;
    const char *data = rocksdb_iter_value(iter->it, &len);
    return bnd_slice(data, len);
}

int rocks_iter_status(const struct bnd_state_iter *iter) {
    char *text = NULL;
    if (iter->it == NULL) {
        return iter->status;
    }
    place(iter);
    rocksdb_iter_get_error(iter->it, &text);
    return rocks_error_take(iter->rocks, text, "iterate", NULL);
}

void rocks_iter_destroy(struct bnd_state_iter *iter) {
    if (iter == NULL) {
        return;
    }
    atomic_fetch_sub(&iter->rocks->batches_and_iters_open, 1);
    if (iter->it != NULL) {
        rocksdb_iter_destroy(iter->it);
    }
    rocksdb_readoptions_destroy(iter->options);
    bnd_free(iter);
}
