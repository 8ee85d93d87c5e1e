/* Marks, and whole ranges of a shard. */
#include "kv/store_private.h"

#include "placement/shard.h"

#define MARKS_FORMAT 1u
#define MARKS_BYTES 22u

static bool marks_room(struct kv_store *store, uint32_t shard) {
    if (shard < store->marks_count) {
        return true;
    }
    size_t count = store->marks_count == 0 ? 64 : store->marks_count;
    while (count <= shard) {
        count *= 2;
    }
    struct shard_marks *marks = bnd_calloc(count, sizeof *marks);
    if (marks == NULL) {
        return false;
    }
    if (store->marks_count > 0) {
        memcpy(marks, store->marks, store->marks_count * sizeof *marks);
    }
    bnd_free(store->marks);
    store->marks = marks;
    store->marks_count = count;
    return true;
}

static int marks_decode(struct bnd_slice bytes, struct kv_marks *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t format = bnd_read_u8(&r);
    uint8_t flags = bnd_read_u8(&r);
    struct kv_marks marks = {
        .there = true, .filled = (flags & 1) != 0, .counted = (uint8_t)(flags >> 1)};
    marks.epoch = bnd_read_u32(&r);
    marks.refused = bnd_read_u64(&r);
    marks.collected = bnd_read_u64(&r);
    *out = marks;
    return bnd_reader_done(&r) && format == MARKS_FORMAT &&
                   marks.counted < 1u << BND_KV_REPLICAS_MAX
               ? 0
               : BND_CORRUPT;
}

/* A shard that slot 0 knows of, but whose own marks are gone with a damaged file: it has lost what
 * it had, and must be filled again. */
static int load_one(struct kv_store *store, uint32_t shard) {
    if (shard >= BND_SHARDS_MAX) {
        return BND_CORRUPT;
    }
    if (!marks_room(store, shard)) {
        return BND_NOMEM;
    }
    struct kv_key key;
    kv_key_tag(&key, KV_SLOT(shard), KV_TAG_MARKS);
    int rv = store_read(store, &key, &store->old);
    if (rv == BND_NOTFOUND) {
        store->marks[shard] = (struct shard_marks){.is.there = true, .lost = true};
        return 0;
    }
    return rv != 0 ? rv : marks_decode(bnd_buf_slice(&store->old), &store->marks[shard].is);
}

int store_marks_load(struct kv_store *store, struct bnd_error *err) {
    struct kv_key from;
    struct kv_key to;
    kv_key_tag(&from, 0, KV_TAG_SHARD);
    kv_key_past_tag(&to, 0, KV_TAG_SHARD);
    struct bnd_state_iter *iter =
        store->ops->iter(store->config.state, BND_CF_KV, kv_key_slice(&from), kv_key_slice(&to));
    int rv = iter == NULL ? BND_NOMEM : 0;
    for (; rv == 0 && store->ops->iter_valid(iter); store->ops->iter_next(iter)) {
        struct bnd_slice key = store->ops->iter_key(iter);
        rv = key.len == 9 ? load_one(store, bnd_get_be32(key.data + 5)) : BND_CORRUPT;
    }
    rv = rv == 0 ? store->ops->iter_status(iter) : rv;
    if (iter != NULL) {
        store->ops->iter_destroy(iter);
    }
    return rv == 0 ? 0 : bnd_error_set(err, rv, "KV: the marks of the shards cannot be read");
}

struct kv_marks kv_store_marks(const struct kv_store *store, uint32_t shard) {
    return shard < store->marks_count ? store->marks[shard].is : (struct kv_marks){0};
}

/* What is collected goes first, so that nothing of before the wipe is written after it. */
static int wipe(struct kv_store *store, uint32_t shard) {
    uint8_t from[4];
    uint8_t to[4];
    int rv = kv_store_dirty(store) ? store_flush(store) : 0;
    if (rv != 0) {
        return rv;
    }
    bnd_put_be32(from, KV_SLOT(shard));
    bnd_put_be32(to, KV_SLOT(shard) + 1);
    rv = store->ops->drop_range(store->config.state, bnd_slice(from, 4), bnd_slice(to, 4));
    if (rv == 0) {
        kv_cache_drop_all(&store->cache, shard, 0);
        store->config.wiped(store->config.owner, shard);
    }
    return rv;
}

int kv_store_marks_set(struct kv_store *store, uint32_t shard, const struct kv_marks *marks,
                       bool with_wipe) {
    if (shard >= BND_SHARDS_MAX) {
        return BND_CORRUPT;
    }
    if (!marks_room(store, shard)) {
        return BND_NOMEM;
    }
    int rv = with_wipe ? wipe(store, shard) : 0;
    if (rv != 0) {
        return rv;
    }
    struct kv_key own;
    struct kv_key known;
    kv_key_tag(&own, KV_SLOT(shard), KV_TAG_MARKS);
    kv_key_shard(&known, shard);
    bool lost = (store->marks[shard].lost || store->loss_new == STORE_LOSING) && !with_wipe;
    store->marks[shard].lost = lost;
    store->marks[shard].is = marks->there ? *marks : (struct kv_marks){0};
    if (!marks->there) {
        store_remove(store, &own);
        store_remove(store, &known);
        return 0;
    }
    uint8_t value[MARKS_BYTES] = {MARKS_FORMAT,
                                  (uint8_t)((marks->filled ? 1 : 0) | marks->counted << 1)};
    bnd_put_u32(value + 2, marks->epoch);
    bnd_put_u64(value + 6, marks->refused);
    bnd_put_u64(value + 14, marks->collected);
    if (lost) {
        store_remove(store, &own);
    } else {
        store_write(store, &own, bnd_slice(value, sizeof value));
    }
    store_write(store, &known, bnd_slice(NULL, 0));
    return 0;
}

static int marks_settle(struct kv_store *store) {
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < store->marks_count; i++) {
        struct shard_marks *marks = &store->marks[i];
        bool empties = marks->lost && marks->is.there;
        marks->lost = false;
        if (empties) {
            const struct kv_marks empty = {.there = true};
            rv = kv_store_marks_set(store, (uint32_t)i, &empty, false);
        }
    }
    return rv;
}

int kv_store_recovered(struct kv_store *store, uint64_t applied, uint64_t hlc) {
    store->loss_new = store->loss_new == STORE_LOSING ? STORE_LOST : store->loss_new;
    int rv = marks_settle(store);
    rv = rv != 0 ? rv : kv_store_commit(store, applied, hlc);
    store->recovering = false;
    return rv;
}

/* ---- namespaces
 * ---------------------------------------------------------------------------------- */

int kv_store_namespace_drop(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                            size_t most, uint64_t now_ms, struct kv_key *cursor, bool *out_more) {
    struct kv_scan scan = {0};
    struct kv_scanned found;
    const struct kv_scan_range range = {.shard = shard,
                                        .namespace_id = namespace_id,
                                        .after = bnd_slice(cursor->bytes, cursor->len)};
    size_t count = 0;
    int rv = kv_scan_open(&scan, store, &range);
    while (rv == 0 && count < most) {
        rv = kv_scan_next(&scan, &found);
        if (rv == 0) {
            memcpy(cursor->bytes, found.key.data, found.key.len);
            cursor->len = found.key.len;
            /* As it stands: it may have changed since the scan's commit. */
            struct kv_seen seen;
            rv = kv_store_seen(store, shard, namespace_id, found.key, &seen);
            rv = rv != 0
                     ? rv
                     : kv_store_forget(store, shard, namespace_id, found.key, seen.version, now_ms);
            count++;
        }
    }
    kv_scan_close(&scan);
    *out_more = rv == 0;
    return rv == BND_NOTFOUND ? 0 : rv;
}

int kv_store_namespace_next(struct kv_store *store, uint32_t shard, uint64_t from, uint64_t *out) {
    struct kv_key low;
    struct kv_key high;
    kv_key_name(&low, shard, KV_TAG_RECORD, from, bnd_slice(NULL, 0));
    kv_key_past_tag(&high, KV_SLOT(shard), KV_TAG_RECORD);
    struct bnd_state_iter *iter =
        store->ops->iter(store->config.state, BND_CF_KV, kv_key_slice(&low), kv_key_slice(&high));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    *out = 0;
    if (store->ops->iter_valid(iter)) {
        struct bnd_slice key = store->ops->iter_key(iter);
        rv = key.len > 13 ? 0 : BND_CORRUPT;
        *out = rv == 0 ? bnd_get_be64(key.data + 5) : 0;
    } else {
        rv = store->ops->iter_status(iter);
    }
    store->ops->iter_destroy(iter);
    return rv;
}
