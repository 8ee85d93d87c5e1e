/* A scan of a whole shard in slices, each over the state as it is then: between two slices anything
 * may be applied. A slice may begin only while the store is not dirty, so that it sees all that
 * has been applied. */
#ifndef BND_KV_WALK_H
#define BND_KV_WALK_H

#include "kv/store.h"

/* Zeroed: before the first record. The place of the last record taken. */
struct kv_walk {
    uint64_t namespace_id;
    uint16_t key_len; /* 0: before the namespace's first */
    bool done;
    uint8_t key[BND_KV_KEY_MAX];
};

static inline struct bnd_slice kv_walk_key(const struct kv_walk *walk) {
    return bnd_slice(walk->key, walk->key_len);
}
/* To go on after this place. */
void kv_walk_seek(struct kv_walk *walk, uint64_t namespace_id, struct bnd_slice key);

/* Shows each() up to `most` records in order. False: the slice ends, and the record was not taken:
 * it comes again. walk->done: there is none after the last. each may forget records of the store.
 * Errors of kv_scan_next. */
int kv_walk_slice(struct kv_walk *walk, struct kv_store *store, uint32_t shard, size_t most,
                  bool (*each)(void *data, const struct kv_scanned *found), void *data);

#endif
