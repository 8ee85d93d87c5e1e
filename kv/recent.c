#include "kv/recent.h"

#include "base/alloc.h"
#include "base/queue.h"

_Static_assert((KV_RECENT_SECONDS & (KV_RECENT_SECONDS - 1)) == 0,
               "a second's slot is its low bits");

/* A listed record. */
struct listed {
    struct bnd_link link; /* of its second, in order of arrival */
    struct listed *chain; /* of its place in the table */
    struct kv_seen seen;
    uint64_t namespace_id;
    uint32_t shard;
    uint16_t key_len;
    uint8_t key[];
};

struct second {
    uint64_t number; /* 0: none yet */
    struct bnd_hash128 sum;
    uint32_t count;
    bool lost;
    struct bnd_link list;
};

struct shard {
    uint64_t known_from;
    /* Seconds whose records came before the window had reached them, and so are not in the sums. */
    uint64_t ahead_low, ahead_high;
    struct second seconds[KV_RECENT_SECONDS];
};

struct kv_recent {
    struct shard **shards; /* [shards_count]; NULL: never begun */
    uint32_t shards_count;
    uint64_t now;
    size_t bytes, bytes_max;
    struct listed **table; /* [table_mask + 1] */
    size_t table_mask;
};

static size_t table_size(size_t bytes_max) {
    size_t size = 64;
    while (size < bytes_max / 128) {
        size *= 2;
    }
    return size;
}

int kv_recent_create(uint32_t shards, size_t bytes_max, struct kv_recent **out) {
    struct kv_recent *recent = bnd_zalloc(sizeof *recent);
    size_t size = table_size(bytes_max);
    if (recent != NULL) {
        recent->shards_count = shards;
        recent->bytes_max = bytes_max;
        recent->table_mask = size - 1;
        recent->shards = bnd_calloc(shards, sizeof *recent->shards);
        recent->table = bnd_calloc(size, sizeof(struct listed *));
    }
    if (recent == NULL || recent->shards == NULL || recent->table == NULL) {
        kv_recent_destroy(recent);
        return BND_NOMEM;
    }
    *out = recent;
    return 0;
}

/* ---- the lists
 * ------------------------------------------------------------------------------------ */

static size_t listed_bytes(size_t key_len) {
    return sizeof(struct listed) + key_len + 16; /* 16: what the allocator adds, about */
}

static struct listed **place_of(struct kv_recent *recent, uint32_t shard, uint64_t namespace_id,
                                struct bnd_slice key) {
    uint64_t seed = namespace_id ^ ((uint64_t)shard << 32);
    struct listed **place = &recent->table[bnd_hash64(key, seed) & recent->table_mask];
    for (; *place != NULL; place = &(*place)->chain) {
        const struct listed *item = *place;
        if (item->shard == shard && item->namespace_id == namespace_id &&
            bnd_slice_eq(bnd_slice(item->key, item->key_len), key)) {
            break;
        }
    }
    return place;
}

static void unlist(struct kv_recent *recent, struct listed **place) {
    struct listed *item = *place;
    *place = item->chain;
    bnd_link_remove(&item->link);
    recent->bytes -= listed_bytes(item->key_len);
    bnd_free(item);
}

/* False: the bound is met, or there is no memory. */
static bool list(struct kv_recent *recent, struct second *second, uint32_t shard,
                 const struct kv_entry *entry) {
    size_t bytes = listed_bytes(entry->key.len);
    struct listed **place = place_of(recent, shard, entry->namespace_id, entry->key);
    BND_ASSERT(*place == NULL); /* the one whose place it takes was taken out */
    struct listed *item = recent->bytes + bytes <= recent->bytes_max
                              ? bnd_alloc(sizeof *item + entry->key.len)
                              : NULL;
    if (item == NULL) {
        return false;
    }
    *item = (struct listed){.seen = entry->seen,
                            .namespace_id = entry->namespace_id,
                            .shard = shard,
                            .key_len = (uint16_t)entry->key.len};
    if (entry->key.len > 0) {
        memcpy(item->key, entry->key.data, entry->key.len);
    }
    *place = item;
    bnd_list_push(&second->list, &item->link);
    recent->bytes += bytes;
    return true;
}

/* ---- seconds
 * -------------------------------------------------------------------------------------- */

static void second_clear(struct kv_recent *recent, struct second *second, uint64_t number) {
    while (second->number != 0 && !bnd_list_empty(&second->list)) {
        struct listed *item = BND_CONTAINER(second->list.next, struct listed, link);
        unlist(recent, place_of(recent, item->shard, item->namespace_id,
                                bnd_slice(item->key, item->key_len)));
    }
    *second = (struct second){.number = number};
    bnd_list_init(&second->list);
}

/* Gives each second of the window its slot. */
static void shard_advance(struct kv_recent *recent, struct shard *shard) {
    uint64_t last = recent->now + KV_RECENT_AHEAD;
    for (uint64_t i = 0; i < KV_RECENT_SECONDS && i < last; i++) {
        struct second *second = &shard->seconds[(last - i) % KV_RECENT_SECONDS];
        if (second->number != last - i) {
            second_clear(recent, second, last - i);
        }
    }
}

static void shard_clear(struct kv_recent *recent, struct shard *shard) {
    for (size_t i = 0; i < KV_RECENT_SECONDS; i++) {
        second_clear(recent, &shard->seconds[i], 0);
    }
}

static void shard_begin(struct kv_recent *recent, struct shard *shard, uint64_t known_from) {
    shard_clear(recent, shard);
    shard->known_from = known_from;
    shard->ahead_low = UINT64_MAX;
    shard->ahead_high = 0;
    shard_advance(recent, shard);
}

void kv_recent_tick(struct kv_recent *recent, uint64_t now_second) {
    bool put_back = now_second + KV_RECENT_SECONDS < recent->now;
    if (now_second <= recent->now && !put_back) {
        return;
    }
    recent->now = now_second;
    for (uint32_t i = 0; i < recent->shards_count; i++) {
        if (recent->shards[i] != NULL && put_back) {
            shard_begin(recent, recent->shards[i], now_second + KV_RECENT_AHEAD + 1);
        } else if (recent->shards[i] != NULL) {
            shard_advance(recent, recent->shards[i]);
        }
    }
}

int kv_recent_begin(struct kv_recent *recent, uint32_t shard_number, uint64_t known_from_second) {
    BND_ASSERT(shard_number < recent->shards_count);
    struct shard **shard = &recent->shards[shard_number];
    if (*shard == NULL) {
        *shard = bnd_zalloc(sizeof **shard);
        if (*shard == NULL) {
            return BND_NOMEM;
        }
    }
    shard_begin(recent, *shard, known_from_second);
    return 0;
}

void kv_recent_destroy(struct kv_recent *recent) {
    if (recent == NULL) {
        return;
    }
    for (uint32_t i = 0; recent->shards != NULL && i < recent->shards_count; i++) {
        if (recent->shards[i] != NULL) {
            shard_clear(recent, recent->shards[i]);
            bnd_free(recent->shards[i]);
        }
    }
    bnd_free(recent->shards);
    bnd_free(recent->table);
    bnd_free(recent);
}

static bool shard_knows(const struct shard *shard, uint64_t second) {
    return second >= shard->known_from &&
           !(second >= shard->ahead_low && second <= shard->ahead_high);
}

/* The slot of a second that is in the window and known, or NULL. */
static struct second *second_of(struct shard *shard, uint64_t number) {
    struct second *second = &shard->seconds[number % KV_RECENT_SECONDS];
    return number != 0 && second->number == number && shard_knows(shard, number) ? second : NULL;
}

/* ---- what is applied
 * ------------------------------------------------------------------------------ */

static uint64_t second_of_version(struct bnd_kv_version version) {
    return kv_hlc_ms(version.hlc) / 1000;
}

static void take_out(struct kv_recent *recent, uint32_t number, struct shard *shard,
                     const struct kv_replaced *replaced) {
    struct listed **place = place_of(recent, number, replaced->namespace_id, replaced->key);
    if (*place != NULL) {
        unlist(recent, place);
    }
    struct second *second = second_of(shard, second_of_version(replaced->was.version));
    if (second != NULL) {
        second->sum = kv_sum_sub(second->sum, replaced->was_hash);
        second->count -= second->count > 0 ? 1 : 0;
    }
}

static void put_in(struct kv_recent *recent, uint32_t number, struct shard *shard,
                   const struct kv_replaced *replaced) {
    uint64_t at = second_of_version(replaced->is.version);
    struct second *second = second_of(shard, at);
    if (second != NULL) {
        const struct kv_entry is = {.namespace_id = replaced->namespace_id,
                                    .key = replaced->key,
                                    .seen = replaced->is};
        second->sum = kv_sum_add(second->sum, replaced->is_hash);
        second->count++;
        second->lost = !list(recent, second, number, &is) || second->lost;
    } else if (at > recent->now + KV_RECENT_AHEAD) {
        shard->ahead_low = at < shard->ahead_low ? at : shard->ahead_low;
        shard->ahead_high = at > shard->ahead_high ? at : shard->ahead_high;
    }
}

void kv_recent_applied(struct kv_recent *recent, uint32_t number,
                       const struct kv_replaced *replaced) {
    BND_ASSERT(number < recent->shards_count);
    struct shard *shard = recent->shards[number];
    if (shard == NULL) {
        return;
    }
    if (replaced->was.version.hlc != 0) {
        take_out(recent, number, shard, replaced);
    }
    if (replaced->is.version.hlc != 0) {
        put_in(recent, number, shard, replaced);
    }
}

/* ---- what is asked
 * ----------------------------------------------------------------------------------- */

struct kv_recent_sum kv_recent_sum(const struct kv_recent *recent, uint32_t shard_number,
                                   uint64_t number) {
    BND_ASSERT(shard_number < recent->shards_count);
    struct shard *shard = recent->shards[shard_number];
    const struct second *second = shard != NULL ? second_of(shard, number) : NULL;
    if (second == NULL) {
        return (struct kv_recent_sum){.known = false};
    }
    return (struct kv_recent_sum){
        .sum = second->sum, .count = second->count, .known = true, .lost = second->lost};
}

void kv_recent_list(const struct kv_recent *recent, uint32_t shard_number, uint64_t number,
                    bool (*each)(void *data, const struct kv_entry *entry), void *data) {
    BND_ASSERT(shard_number < recent->shards_count);
    struct shard *shard = recent->shards[shard_number];
    const struct second *second = shard != NULL ? second_of(shard, number) : NULL;
    if (second == NULL) {
        return;
    }
    for (const struct bnd_link *at = second->list.next; at != &second->list; at = at->next) {
        const struct listed *item = BND_CONTAINER(at, struct listed, link);
        struct kv_entry entry = {.namespace_id = item->namespace_id,
                                 .key = bnd_slice(item->key, item->key_len),
                                 .seen = item->seen};
        if (!each(data, &entry)) {
            return;
        }
    }
}

size_t kv_recent_bytes(const struct kv_recent *recent) {
    return recent->bytes;
}
