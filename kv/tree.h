/* What two replicas of a shard compare to find where they differ (ADR 0090, SPEC.md "KV").
 *
 * 1,024 buckets by hash of (namespace, key); each is the sum, modulo 2^128, of a hash of every
 * record's (version, namespace, key). A version stands for the content, so equal sums mean equal
 * records; a sum can be kept with every applied record, in any order, without looking at the
 * others. What is dead below the tree's horizon is left out, so that replicas that collect at
 * different times compare equal.
 *
 * Invariants:
 *  1. A built tree is the sum over all records of the shard that are not dead below its horizon.
 *  2. While it is being built, it is that sum over the places up to and including the cursor: a
 *     change behind the cursor is left to the scan, which will meet it.
 *  3. A horizon never moves within a tree: it is built anew for another one.
 *
 * Pure, and in memory only. A sum is no defence against somebody who can choose hashes: keys are
 * chosen by clients, but versions are not. */
#ifndef BND_KV_TREE_H
#define BND_KV_TREE_H

#include "base/hash.h"
#include "kv/entry.h"

#define KV_TREE_BUCKETS 1024u

struct kv_tree {
    struct bnd_hash128 buckets[KV_TREE_BUCKETS];
    struct bnd_hash128 root; /* the sum of all buckets */
    uint64_t records;        /* that are counted */
    uint64_t horizon;
    bool built;
    /* private: while it is not built */
    uint64_t cursor_namespace;
    uint16_t cursor_len;
    uint8_t cursor_key[BND_KV_KEY_MAX];
    bool cursor_set;
};

/* Empties it, to be built for a horizon. Nothing is behind the cursor. */
void kv_tree_begin(struct kv_tree *tree, uint64_t horizon);
/* The scan has met a record, the next in order of place; entry must not be dead below the horizon.
 * The cursor moves onto it. */
void kv_tree_scanned(struct kv_tree *tree, const struct kv_entry *entry);
/* The scan has seen all up to this place (records that it deleted, too). */
void kv_tree_passed(struct kv_tree *tree, uint64_t namespace_id, struct bnd_slice key);
/* The scan has come to the end of the shard. */
void kv_tree_finish(struct kv_tree *tree);

/* The bucket of a key, and what a record adds to it: formats, the same on every node. */
uint32_t kv_tree_bucket(uint64_t namespace_id, struct bnd_slice key);
struct bnd_hash128 kv_tree_hash(uint64_t namespace_id, struct bnd_slice key,
                                struct bnd_kv_version version);

/* A record has taken another one's place. was, is: hlc 0 where there was none, or is none any
 * more. Their hashes are made once for all that keep sums. */
struct kv_replaced {
    uint64_t namespace_id;
    struct bnd_slice key;
    struct kv_seen was, is;
    struct bnd_hash128 was_hash, is_hash;
};
struct kv_replaced kv_replaced(uint64_t namespace_id, struct bnd_slice key, struct kv_seen was,
                               struct kv_seen is);

/* In the state that a scan would read. */
void kv_tree_applied(struct kv_tree *tree, const struct kv_replaced *replaced);

static inline struct bnd_hash128 kv_sum_add(struct bnd_hash128 a, struct bnd_hash128 b) {
    uint64_t low = a.low + b.low;
    return (struct bnd_hash128){.low = low, .high = a.high + b.high + (low < a.low ? 1 : 0)};
}
static inline struct bnd_hash128 kv_sum_sub(struct bnd_hash128 a, struct bnd_hash128 b) {
    return (struct bnd_hash128){.low = a.low - b.low,
                                .high = a.high - b.high - (a.low < b.low ? 1 : 0)};
}

/* A set of buckets. */
struct kv_buckets {
    uint64_t bits[KV_TREE_BUCKETS / 64];
};
static inline bool kv_buckets_has(const struct kv_buckets *set, uint32_t bucket) {
    return ((set->bits[bucket / 64] >> (bucket % 64)) & 1) != 0;
}
static inline void kv_buckets_add(struct kv_buckets *set, uint32_t bucket) {
    set->bits[bucket / 64] |= UINT64_C(1) << (bucket % 64);
}
/* The buckets where the tree differs from sums[KV_TREE_BUCKETS]; returns how many. */
uint32_t kv_tree_differing(const struct kv_tree *tree, const struct bnd_hash128 *sums,
                           struct kv_buckets *out);

#endif
