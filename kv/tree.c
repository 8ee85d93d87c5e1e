#include "kv/tree.h"

#include "base/assert.h"

#define BUCKET_SEED                                                                                \
    UINT64_C(0x6b762d6275636b74) /* another than the shards': they must not meet                   \
                                  */
#define RECORD_SEED UINT64_C(0x6b762d7265636f72)

_Static_assert((KV_TREE_BUCKETS & (KV_TREE_BUCKETS - 1)) == 0, "the bucket is the top bits");

uint32_t kv_tree_bucket(uint64_t namespace_id, struct bnd_slice key) {
    uint8_t name[8 + BND_KV_KEY_MAX];
    BND_ASSERT(key.len <= BND_KV_KEY_MAX);
    bnd_put_u64(name, namespace_id);
    if (key.len > 0) {
        memcpy(name + 8, key.data, key.len);
    }
    return (uint32_t)(bnd_hash64(bnd_slice(name, 8 + key.len), BUCKET_SEED) >> 54);
}

struct bnd_hash128 kv_tree_hash(uint64_t namespace_id, struct bnd_slice key,
                                struct bnd_kv_version version) {
    uint8_t name[24 + BND_KV_KEY_MAX];
    BND_ASSERT(key.len <= BND_KV_KEY_MAX);
    bnd_put_u64(name, version.hlc);
    bnd_put_u64(name + 8, version.writer);
    bnd_put_u64(name + 16, namespace_id);
    if (key.len > 0) {
        memcpy(name + 24, key.data, key.len);
    }
    return bnd_hash128(bnd_slice(name, 24 + key.len), RECORD_SEED);
}

void kv_tree_begin(struct kv_tree *tree, uint64_t horizon) {
    memset(tree, 0, sizeof *tree);
    tree->horizon = horizon;
}

static bool behind_cursor(const struct kv_tree *tree, uint64_t namespace_id, struct bnd_slice key) {
    return tree->cursor_set && kv_place_cmp(namespace_id, key, tree->cursor_namespace,
                                            bnd_slice(tree->cursor_key, tree->cursor_len)) <= 0;
}

void kv_tree_passed(struct kv_tree *tree, uint64_t namespace_id, struct bnd_slice key) {
    BND_ASSERT(!tree->built && key.len <= BND_KV_KEY_MAX);
    BND_ASSERT(!behind_cursor(tree, namespace_id, key));
    tree->cursor_set = true;
    tree->cursor_namespace = namespace_id;
    tree->cursor_len = (uint16_t)key.len;
    if (key.len > 0) {
        memcpy(tree->cursor_key, key.data, key.len);
    }
}

struct kv_replaced kv_replaced(uint64_t namespace_id, struct bnd_slice key, struct kv_seen was,
                               struct kv_seen is) {
    struct kv_replaced replaced = {
        .namespace_id = namespace_id, .key = key, .was = was, .is = is};
    if (was.version.hlc != 0) {
        replaced.was_hash = kv_tree_hash(namespace_id, key, was.version);
    }
    if (is.version.hlc != 0) {
        replaced.is_hash = kv_tree_hash(namespace_id, key, is.version);
    }
    return replaced;
}

static void count(struct kv_tree *tree, struct bnd_hash128 *bucket, struct bnd_hash128 hash,
                  bool add) {
    if (add) {
        *bucket = kv_sum_add(*bucket, hash);
        tree->root = kv_sum_add(tree->root, hash);
        tree->records++;
    } else {
        BND_ASSERT(tree->records > 0);
        *bucket = kv_sum_sub(*bucket, hash);
        tree->root = kv_sum_sub(tree->root, hash);
        tree->records--;
    }
}

void kv_tree_scanned(struct kv_tree *tree, const struct kv_entry *entry) {
    BND_ASSERT(!kv_seen_dead(entry->seen, tree->horizon));
    kv_tree_passed(tree, entry->namespace_id, entry->key);
    count(tree, &tree->buckets[kv_tree_bucket(entry->namespace_id, entry->key)],
          kv_tree_hash(entry->namespace_id, entry->key, entry->seen.version), true);
}

void kv_tree_finish(struct kv_tree *tree) {
    BND_ASSERT(!tree->built);
    tree->built = true;
}

static bool counts(const struct kv_tree *tree, struct kv_seen seen) {
    return seen.version.hlc != 0 && !kv_seen_dead(seen, tree->horizon);
}

void kv_tree_applied(struct kv_tree *tree, const struct kv_replaced *replaced) {
    if (!tree->built && !behind_cursor(tree, replaced->namespace_id, replaced->key)) {
        return;
    }
    struct bnd_hash128 *bucket =
        &tree->buckets[kv_tree_bucket(replaced->namespace_id, replaced->key)];
    if (counts(tree, replaced->was)) {
        count(tree, bucket, replaced->was_hash, false);
    }
    if (counts(tree, replaced->is)) {
        count(tree, bucket, replaced->is_hash, true);
    }
}

uint32_t kv_tree_differing(const struct kv_tree *tree, const struct bnd_hash128 *sums,
                           struct kv_buckets *out) {
    uint32_t differing = 0;
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < KV_TREE_BUCKETS; i++) {
        if (!bnd_hash128_eq(tree->buckets[i], sums[i])) {
            kv_buckets_add(out, i);
            differing++;
        }
    }
    return differing;
}
