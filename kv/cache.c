/* Chains of entries, doubled when there is an entry for every second chain: a step along a chain is
 * a miss of all of the processor's caches, a chain costs a pointer. A ring with a hand that takes
 * out what has not been used since it came by last. */
#include "kv/cache.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

#define CHAINS_MIN 256u
#define LINE 64u /* of the processor's caches */
#define OVERHEAD (sizeof(struct kv_cached) + sizeof(struct kv_cached *) + 16)

void kv_cache_init(struct kv_cache *cache, size_t bytes_max) {
    *cache = (struct kv_cache){.bytes_max = bytes_max};
}

static size_t cost(const struct kv_cached *entry) {
    return OVERHEAD + entry->key_len + entry->record_len;
}

/* The lines of an entry come from memory side by side: one after the other, as they are looked at,
 * they were a twelfth of what a read costs. */
static void fetch(const struct kv_cached *entry) {
    for (size_t at = LINE; at < sizeof *entry + 2 * LINE; at += LINE) {
        __builtin_prefetch((const uint8_t *)entry + at);
    }
}

static struct kv_cached **place_of(const struct kv_cache *cache, uint64_t hash, uint64_t ns,
                                   struct bnd_slice key) {
    struct kv_cached **place = &cache->chains[hash & (cache->chains_count - 1)];
    for (; *place != NULL; place = &(*place)->next) {
        const struct kv_cached *entry = *place;
        fetch(entry);
        if (entry->hash == hash && entry->namespace_id == ns &&
            bnd_slice_eq(bnd_slice(entry->bytes, entry->key_len), key)) {
            break;
        }
    }
    return place;
}

static void ring_remove(struct kv_cache *cache, struct kv_cached *entry) {
    if (entry->ring_next == entry) {
        cache->hand = NULL;
        return;
    }
    entry->ring_next->ring_prev = entry->ring_prev;
    entry->ring_prev->ring_next = entry->ring_next;
    if (cache->hand == entry) {
        cache->hand = entry->ring_next;
    }
}

/* Just behind the hand: it comes by last. */
static void ring_add(struct kv_cache *cache, struct kv_cached *entry) {
    if (cache->hand == NULL) {
        entry->ring_next = entry->ring_prev = cache->hand = entry;
        return;
    }
    entry->ring_next = cache->hand;
    entry->ring_prev = cache->hand->ring_prev;
    entry->ring_prev->ring_next = entry;
    cache->hand->ring_prev = entry;
}

static void take_out(struct kv_cache *cache, struct kv_cached **place) {
    struct kv_cached *entry = *place;
    *place = entry->next;
    ring_remove(cache, entry);
    cache->count--;
    cache->bytes -= cost(entry);
    if (entry->pins > 0) {
        entry->detached = true;
    } else {
        bnd_free(entry);
    }
}

static void evict(struct kv_cache *cache) {
    while (cache->bytes > cache->bytes_max && cache->hand != NULL) {
        struct kv_cached *entry = cache->hand;
        if (entry->used) {
            entry->used = false;
            cache->hand = entry->ring_next;
        } else {
            take_out(cache, place_of(cache, entry->hash, entry->namespace_id,
                                     bnd_slice(entry->bytes, entry->key_len)));
        }
    }
}

static bool grow(struct kv_cache *cache) {
    if (2 * cache->count < cache->chains_count) {
        return true;
    }
    size_t count = cache->chains_count == 0 ? CHAINS_MIN : cache->chains_count * 2;
    struct kv_cached **chains = bnd_calloc(count, sizeof(struct kv_cached *));
    if (chains == NULL) {
        return cache->chains_count > 0; /* longer chains then */
    }
    for (size_t i = 0; i < cache->chains_count; i++) {
        for (struct kv_cached *entry = cache->chains[i]; entry != NULL;) {
            struct kv_cached *next = entry->next;
            entry->next = chains[entry->hash & (count - 1)];
            chains[entry->hash & (count - 1)] = entry;
            entry = next;
        }
    }
    bnd_free(cache->chains);
    cache->chains = chains;
    cache->chains_count = count;
    return true;
}

struct kv_cached *kv_cache_find(struct kv_cache *cache, uint64_t namespace_id,
                                struct bnd_slice key) {
    if (cache->count == 0) {
        return NULL;
    }
    struct kv_cached *entry = *place_of(cache, bnd_hash64(key, namespace_id), namespace_id, key);
    if (entry != NULL) {
        entry->used = true;
    }
    return entry;
}

static void entry_fill(struct kv_cached *entry, struct bnd_slice record) {
    BND_ASSERT(record.len == entry->record_len);
    if (record.len > 0) {
        uint8_t *bytes = entry->bytes + entry->key_len;
        memcpy(bytes, record.data, record.len);
        int rv = kv_record_decode(bnd_slice(bytes, record.len), &entry->record);
        BND_ASSERT(rv == 0);
    }
}

static struct kv_cached *entry_make(uint32_t shard, uint64_t namespace_id, struct bnd_slice key,
                                    struct bnd_slice record) {
    struct kv_cached *entry = bnd_alloc(sizeof *entry + key.len + record.len);
    if (entry == NULL) {
        return NULL;
    }
    *entry = (struct kv_cached){.hash = bnd_hash64(key, namespace_id),
                                .namespace_id = namespace_id,
                                .shard = shard,
                                .key_len = (uint16_t)key.len,
                                .record_len = (uint32_t)record.len};
    memcpy(entry->bytes, key.data, key.len);
    entry_fill(entry, record);
    return entry;
}

struct kv_cached *kv_cache_put(struct kv_cache *cache, uint32_t shard, uint64_t namespace_id,
                               struct bnd_slice key, struct bnd_slice record) {
    BND_ASSERT(key.len <= BND_KV_KEY_MAX);
    struct kv_cached *known = kv_cache_find(cache, namespace_id, key);
    if (known != NULL && known->pins == 0 && known->record_len == record.len) {
        known->shard = shard; /* in its own memory: what is written again is often as long */
        known->until_ns = 0;
        entry_fill(known, record);
        return known;
    }
    kv_cache_drop(cache, namespace_id, key);
    if (record.len > KV_CACHE_RECORD_MAX || OVERHEAD + key.len + record.len > cache->bytes_max ||
        !grow(cache)) {
        return NULL;
    }
    struct kv_cached *entry = entry_make(shard, namespace_id, key, record);
    if (entry == NULL) {
        return NULL;
    }
    cache->bytes += cost(entry);
    evict(cache);
    struct kv_cached **chain = &cache->chains[entry->hash & (cache->chains_count - 1)];
    entry->next = *chain;
    *chain = entry;
    ring_add(cache, entry);
    cache->count++;
    return entry;
}

void kv_cache_drop(struct kv_cache *cache, uint64_t namespace_id, struct bnd_slice key) {
    if (cache->count == 0) {
        return;
    }
    struct kv_cached **place = place_of(cache, bnd_hash64(key, namespace_id), namespace_id, key);
    if (*place != NULL) {
        take_out(cache, place);
    }
}

void kv_cache_drop_all(struct kv_cache *cache, uint32_t shard, uint64_t namespace_id) {
    for (size_t i = 0; i < cache->chains_count; i++) {
        for (struct kv_cached **place = &cache->chains[i]; *place != NULL;) {
            bool is_it = shard != UINT32_MAX ? (*place)->shard == shard
                                             : (*place)->namespace_id == namespace_id;
            if (is_it) {
                take_out(cache, place);
            } else {
                place = &(*place)->next;
            }
        }
    }
}

void kv_cache_close(struct kv_cache *cache) {
    while (cache->hand != NULL) {
        struct kv_cached *entry = cache->hand;
        BND_ASSERT(entry->pins == 0);
        take_out(cache, place_of(cache, entry->hash, entry->namespace_id,
                                 bnd_slice(entry->bytes, entry->key_len)));
    }
    bnd_free(cache->chains);
    *cache = (struct kv_cache){0};
}

void kv_cache_pin(struct kv_cached *entry) {
    entry->pins++;
}

void kv_cache_unpin(struct kv_cached *entry) {
    BND_ASSERT(entry->pins > 0);
    if (--entry->pins == 0 && entry->detached) {
        bnd_free(entry);
    }
}
