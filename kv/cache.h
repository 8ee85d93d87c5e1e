/* Records in memory, by (namespace id, key): one hash lookup, no allocation on a hit; bounded by
 * bytes, CLOCK eviction. The owner keeps it true: every change of a record is told to it. One loop
 * owns it. */
#ifndef BND_KV_CACHE_H
#define BND_KV_CACHE_H

#include "base/bytes.h"
#include "kv/record.h"

/* Records above this are not kept. */
#define KV_CACHE_RECORD_MAX (64u << 10)

struct kv_cached {
    struct kv_cached *next; /* in its hash chain */
    struct kv_cached *ring_next, *ring_prev;
    uint64_t hash;
    uint64_t namespace_id;
    uint64_t until_ns;       /* the owner's; 0 of none */
    struct kv_record record; /* borrows from bytes; hlc 0: it is known that there is none */
    uint32_t shard;
    uint32_t record_len;
    uint32_t pins;
    uint16_t key_len;
    bool used;       /* since the hand came by */
    bool detached;   /* freed with its last pin */
    uint8_t bytes[]; /* key, record */
};

struct kv_cache {
    struct kv_cached **chains;
    size_t chains_count; /* a power of two, or 0 */
    size_t count, bytes, bytes_max;
    struct kv_cached *hand;
};

void kv_cache_init(struct kv_cache *cache, size_t bytes_max);
/* No entry may be pinned. */
void kv_cache_close(struct kv_cache *cache);

/* NULL: not here. Valid until the next call that changes the cache, or the unpin. */
struct kv_cached *kv_cache_find(struct kv_cache *cache, uint64_t namespace_id,
                                struct bnd_slice key);
/* record: encoded, and sound (asserted); empty: it is known that there is none. Replaces. Returns
 * the entry, or NULL: not kept (too large, or no memory), and whatever was there is gone. */
struct kv_cached *kv_cache_put(struct kv_cache *cache, uint32_t shard, uint64_t namespace_id,
                               struct bnd_slice key, struct bnd_slice record);
void kv_cache_drop(struct kv_cache *cache, uint64_t namespace_id, struct bnd_slice key);
/* All of a shard, or (shard UINT32_MAX) of a namespace. Looks at every entry. */
void kv_cache_drop_all(struct kv_cache *cache, uint32_t shard, uint64_t namespace_id);

/* Keeps an entry's memory while a callback looks at it, whatever the callback does. */
void kv_cache_pin(struct kv_cached *entry);
void kv_cache_unpin(struct kv_cached *entry);

#endif
