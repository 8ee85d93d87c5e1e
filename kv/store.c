#include "kv/store_private.h"

#define APPLIED_FORMAT 1u
#define APPLIED_BYTES 18u

/* ---- keys and bytes
 * ------------------------------------------------------------------------------- */

int store_read(struct kv_store *store, const struct kv_key *key, struct bnd_buf *out) {
    return kv_store_dirty(store)
               ? store->ops->batch_get(store->batch, BND_CF_KV, kv_key_slice(key), out)
               : store->ops->get(store->config.state, BND_CF_KV, kv_key_slice(key), out);
}

void store_write(struct kv_store *store, const struct kv_key *key, struct bnd_slice value) {
    store->ops->batch_put(store->batch, BND_CF_KV, kv_key_slice(key), value);
    store->dirty = true;
}

void store_remove(struct kv_store *store, const struct kv_key *key) {
    store->ops->batch_delete(store->batch, BND_CF_KV, kv_key_slice(key));
    store->dirty = true;
}

int store_head(struct kv_store *store, uint32_t shard, uint64_t namespace_id, struct bnd_slice key,
               struct bnd_buf *bytes, struct kv_record *out) {
    struct kv_key name;
    kv_key_name(&name, shard, KV_TAG_RECORD, namespace_id, key);
    int rv = store_read(store, &name, bytes);
    if (rv == BND_NOTFOUND) {
        *out = (struct kv_record){0};
        return 0;
    }
    return rv != 0 ? rv : kv_record_decode(bnd_buf_slice(bytes), out);
}

/* ---- changes
 * -------------------------------------------------------------------------------------- */

void store_changed(struct kv_store *store, const struct kv_apply *of, struct kv_seen was,
                   struct kv_seen is) {
    const struct kv_change change = {
        .shard = of->shard, .namespace_id = of->namespace_id, .key = of->key, .was = was, .is = is};
    store->config.changed(store->config.owner, &change);
}

void store_release(struct kv_store *store, const struct kv_apply *of, const struct kv_record *old) {
    struct kv_key key;
    if ((old->flags & KV_RECORD_SPLIT) != 0) {
        kv_key_name(&key, of->shard, KV_TAG_VALUE, of->namespace_id, of->key);
        store_remove(store, &key);
    }
    if ((old->flags & KV_RECORD_BLOB) != 0) {
        store_superseded(store, of->shard, old->blob, of->now_ms);
    }
}

/* The record goes under its name; a large value under its own. */
static int record_write(struct kv_store *store, const struct kv_apply *apply,
                        const struct kv_record *record) {
    struct kv_key key;
    struct bnd_slice bytes = apply->record;
    if (record->value.len >= STORE_SPLIT_BYTES) {
        kv_key_name(&key, apply->shard, KV_TAG_VALUE, apply->namespace_id, apply->key);
        store_write(store, &key, record->value);
        struct kv_record head = *record;
        head.flags |= KV_RECORD_SPLIT;
        head.value = bnd_slice(NULL, 0);
        bnd_buf_reset(&store->scratch);
        if (!bnd_buf_reserve(&store->scratch, kv_record_bytes(&head))) {
            return BND_NOMEM;
        }
        kv_record_encode(&head, store->scratch.data);
        bytes = bnd_slice(store->scratch.data, kv_record_bytes(&head));
    }
    kv_key_name(&key, apply->shard, KV_TAG_RECORD, apply->namespace_id, apply->key);
    store_write(store, &key, bytes);
    return 0;
}

static int has_pieces(struct kv_store *store, uint32_t shard, const struct kv_record *record,
                      bool *out) {
    uint32_t have = 0;
    int rv = 0;
    if ((record->flags & KV_RECORD_BLOB) != 0) {
        rv = kv_store_pieces(store, shard, record->blob, &have);
    }
    *out = (record->flags & KV_RECORD_BLOB) == 0 ||
           have == (record->size + BND_KV_INLINE_MAX - 1) / BND_KV_INLINE_MAX;
    return rv;
}

static void cache_follow(struct kv_store *store, const struct kv_apply *apply, bool was_cached) {
    if (apply->hot || was_cached) {
        (void)kv_cache_put(&store->cache, apply->shard, apply->namespace_id, apply->key,
                           apply->record); /* not kept: nothing stale stays either */
    }
}

int kv_store_apply(struct kv_store *store, const struct kv_apply *apply, struct kv_applied *out) {
    struct kv_record record;
    struct kv_record old;
    int rv = kv_record_decode(apply->record, &record);
    if (rv != 0 || (record.flags & KV_RECORD_SPLIT) != 0) {
        return BND_CORRUPT;
    }
    const struct kv_cached *cached = kv_cache_find(&store->cache, apply->namespace_id, apply->key);
    if (cached != NULL) {
        old = cached->record;
        old.flags |= old.value.len >= STORE_SPLIT_BYTES ? KV_RECORD_SPLIT : 0;
    } else {
        rv = store_head(store, apply->shard, apply->namespace_id, apply->key, &store->old, &old);
    }
    if (rv != 0) {
        return rv;
    }
    struct kv_seen was = kv_record_seen(&old);
    int order = kv_version_cmp(record.version, old.version);
    bool whole = true;
    rv = order > 0 ? has_pieces(store, apply->shard, &record, &whole) : 0;
    if (rv != 0) {
        return rv;
    }
    if (order <= 0 || !whole) {
        *out = (struct kv_applied){
            .outcome = order > 0 ? KV_LACKS : (order == 0 ? KV_EQUAL : KV_LOST), .stands = was};
        return 0;
    }
    store_release(store, apply, &old);
    rv = record_write(store, apply, &record);
    if (rv != 0) {
        return rv;
    }
    cache_follow(store, apply, cached != NULL);
    *out = (struct kv_applied){.outcome = KV_WON, .stands = kv_record_seen(&record)};
    store_changed(store, apply, was, out->stands);
    return 0;
}

int kv_store_forget(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                    struct bnd_slice key, struct bnd_kv_version version, uint64_t now_ms) {
    const struct kv_apply of = {
        .shard = shard, .namespace_id = namespace_id, .key = key, .now_ms = now_ms};
    struct kv_record old;
    int rv = store_head(store, shard, namespace_id, key, &store->old, &old);
    if (rv != 0 || old.version.hlc == 0 || kv_version_cmp(old.version, version) != 0) {
        return rv;
    }
    struct kv_key name;
    kv_key_name(&name, shard, KV_TAG_RECORD, namespace_id, key);
    store_remove(store, &name);
    store_release(store, &of, &old);
    kv_cache_drop(&store->cache, namespace_id, key);
    store_changed(store, &of, kv_record_seen(&old), (struct kv_seen){0});
    return 0;
}

/* ---- reads
 * ---------------------------------------------------------------------------------------- */

struct kv_cached *kv_store_cached(struct kv_store *store, uint64_t namespace_id,
                                  struct bnd_slice key) {
    return kv_cache_find(&store->cache, namespace_id, key);
}

/* Joins a split value: *bytes becomes the record as it was applied. */
static int join(struct kv_store *store, const struct kv_key *name, struct bnd_buf *bytes,
                struct kv_record *record) {
    struct kv_key key = *name;
    key.bytes[4] = KV_TAG_VALUE;
    BND_AUTO_BUF struct bnd_buf value = {0};
    int rv = store_read(store, &key, &value);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? BND_CORRUPT : rv;
    }
    bnd_buf_append_slice(bytes, bnd_buf_slice(&value));
    if (bytes->failed) {
        return BND_NOMEM;
    }
    bytes->data[1] &= (uint8_t)~KV_RECORD_SPLIT;
    return kv_record_decode(bnd_buf_slice(bytes), record);
}

static int read_whole(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                      struct bnd_slice key, struct bnd_buf *bytes, struct kv_record *out) {
    struct kv_key name;
    kv_key_name(&name, shard, KV_TAG_RECORD, namespace_id, key);
    int rv = store_read(store, &name, bytes);
    rv = rv != 0 ? rv : kv_record_decode(bnd_buf_slice(bytes), out);
    if (rv == 0 && (out->flags & KV_RECORD_SPLIT) != 0) {
        rv = join(store, &name, bytes, out);
    }
    return rv;
}

int kv_store_get(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                 struct bnd_slice key, struct bnd_buf *bytes, struct kv_record *out) {
    int rv = kv_store_get_encoded(store, shard, namespace_id, key, bytes);
    rv = rv != 0 ? rv : kv_record_decode(bnd_buf_slice(bytes), out);
    if (rv == 0) {
        (void)kv_cache_put(&store->cache, shard, namespace_id, key, bnd_buf_slice(bytes));
    }
    return rv;
}

int kv_store_get_encoded(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                         struct bnd_slice key, struct bnd_buf *out) {
    const struct kv_cached *cached = kv_cache_find(&store->cache, namespace_id, key);
    if (cached == NULL) {
        struct kv_record record;
        return read_whole(store, shard, namespace_id, key, out, &record);
    }
    bnd_buf_reset(out);
    bnd_buf_append(out, cached->bytes + cached->key_len, cached->record_len);
    return out->failed ? BND_NOMEM : 0;
}

int kv_store_seen(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                  struct bnd_slice key, struct kv_seen *out) {
    const struct kv_cached *cached = kv_cache_find(&store->cache, namespace_id, key);
    struct kv_record record;
    int rv = 0;
    if (cached == NULL) {
        rv = store_head(store, shard, namespace_id, key, &store->old, &record);
    } else {
        record = cached->record;
    }
    if (rv == 0) {
        *out = kv_record_seen(&record);
    }
    return rv;
}

/* ---- commits
 * -------------------------------------------------------------------------------------- */

static void applied_key(struct kv_key *key) {
    kv_key_tag(key, 0, KV_TAG_APPLIED);
}

static int applied_decode(struct bnd_slice bytes, uint64_t *applied, uint64_t *hlc,
                          enum store_loss *loss) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t format = bnd_read_u8(&r);
    *applied = bnd_read_u64(&r);
    *hlc = bnd_read_u64(&r);
    uint8_t flag = bnd_read_u8(&r);
    *loss = (enum store_loss)flag;
    bool sound = bnd_reader_done(&r) && format == APPLIED_FORMAT && flag <= STORE_LOSING;
    return sound ? 0 : BND_CORRUPT;
}

int store_flush(struct kv_store *store) {
    struct bnd_state *state = store->config.state;
    if (store->writing) {
        return BND_BUSY;
    }
    int rv = store->recovering ? store->ops->write_waiting(state, store->batch)
                               : store->ops->write(state, store->batch);
    if (rv == 0) {
        store->ops->batch_clear(store->batch);
        store->dirty = false;
    }
    return rv;
}

/* Into the batch, with what it brings. False: there is nothing to write. */
static bool applied_write(struct kv_store *store, uint64_t applied, uint64_t hlc) {
    BND_ASSERT(applied >= store->applied);
    bool news = applied != store->applied || store->loss_new != store->loss;
    if (!store->dirty && !news) {
        return false;
    }
    uint8_t value[APPLIED_BYTES];
    struct kv_key key;
    applied_key(&key);
    value[0] = APPLIED_FORMAT;
    bnd_put_u64(value + 1, applied);
    bnd_put_u64(value + 9, hlc);
    value[17] = (uint8_t)store->loss_new;
    store_write(store, &key, bnd_slice(value, sizeof value));
    return true;
}

int kv_store_commit(struct kv_store *store, uint64_t applied, uint64_t hlc) {
    if (store->writing) {
        return BND_BUSY;
    }
    if (!applied_write(store, applied, hlc)) {
        return 0;
    }
    int rv = store_flush(store);
    if (rv != 0) {
        return rv;
    }
    store->applied = applied;
    store->hlc = hlc;
    store->loss = store->loss_new;
    return 0;
}

bool kv_store_commit_begin(struct kv_store *store, uint64_t applied, uint64_t hlc) {
    BND_ASSERT(!store->writing);
    if (!applied_write(store, applied, hlc)) {
        return false;
    }
    struct bnd_state_batch *full = store->batch;
    store->batch = store->other;
    store->other = full;
    store->ops->batch_over(store->batch, store->other);
    store->writing = true;
    store->dirty = false;
    store->applied_writing = applied;
    store->hlc_writing = hlc;
    store->loss_writing = store->loss_new;
    return true;
}

int kv_store_commit_run(struct kv_store *store) {
    return store->ops->write(store->config.state, store->other);
}

void kv_store_commit_end(struct kv_store *store) {
    BND_ASSERT(store->writing);
    store->ops->batch_over(store->batch, NULL);
    store->ops->batch_clear(store->other);
    store->writing = false;
    store->applied = store->applied_writing;
    store->hlc = store->hlc_writing;
    store->loss = store->loss_writing;
}

bool kv_store_dirty(const struct kv_store *store) {
    return store->dirty || store->writing;
}

size_t kv_store_collected(const struct kv_store *store) {
    return store->ops->batch_bytes(store->batch);
}

uint64_t kv_store_applied(const struct kv_store *store) {
    return store->applied;
}

uint64_t kv_store_hlc(const struct kv_store *store) {
    return store->hlc;
}

bool kv_store_lost(const struct kv_store *store) {
    return store->loss_new != STORE_WHOLE;
}

void kv_store_recovering(struct kv_store *store, bool lost) {
    store->recovering = true;
    store->loss_new = lost ? STORE_LOSING : store->loss_new;
}

int kv_store_applied_persisted(struct kv_store *store, uint64_t *out) {
    BND_AUTO_BUF struct bnd_buf value = {0};
    struct kv_key key;
    uint64_t hlc = 0;
    enum store_loss loss = STORE_WHOLE;
    applied_key(&key);
    int rv = store->ops->get_persisted(store->config.state, BND_CF_KV, kv_key_slice(&key), &value);
    if (rv == BND_NOTFOUND) {
        *out = 0;
        return 0;
    }
    return rv != 0 ? rv : applied_decode(bnd_buf_slice(&value), out, &hlc, &loss);
}

/* ---- life
 * ----------------------------------------------------------------------------------------- */

static int load(struct kv_store *store, struct bnd_error *err) {
    struct kv_key key;
    applied_key(&key);
    int rv = store_read(store, &key, &store->old);
    if (rv == BND_NOTFOUND) {
        return 0;
    }
    rv = rv != 0 ? rv
                 : applied_decode(bnd_buf_slice(&store->old), &store->applied, &store->hlc,
                                  &store->loss);
    store->loss_new = store->loss;
    return rv == 0 ? store_marks_load(store, err)
                   : bnd_error_set(err, rv, "KV: what was applied cannot be read");
}

int kv_store_create(const struct kv_store_config *config, struct kv_store **out,
                    struct bnd_error *err) {
    struct kv_store *store = bnd_zalloc(sizeof *store);
    if (store == NULL) {
        return BND_FAIL(err, NOMEM, "KV: no memory for the store");
    }
    store->config = *config;
    store->ops = config->state->ops;
    store->batch = store->ops->batch_create(config->state);
    store->other = store->ops->batch_create(config->state);
    kv_cache_init(&store->cache, config->cache_bytes);
    int rv = store->batch == NULL || store->other == NULL
                 ? BND_FAIL(err, NOMEM, "KV: no memory for a batch")
                 : load(store, err);
    if (rv != 0) {
        kv_store_destroy(store);
        return rv;
    }
    *out = store;
    return 0;
}

void kv_store_destroy(struct kv_store *store) {
    if (store == NULL) {
        return;
    }
    if (store->batch != NULL) {
        store->ops->batch_destroy(store->batch);
    }
    if (store->other != NULL) {
        store->ops->batch_destroy(store->other);
    }
    kv_cache_close(&store->cache);
    bnd_buf_free(&store->old);
    bnd_buf_free(&store->scratch);
    bnd_free(store->marks);
    bnd_free(store);
}

void kv_store_stats(const struct kv_store *store, struct kv_store_stats *out) {
    *out = (struct kv_store_stats){.cache_bytes = store->cache.bytes,
                                   .records_cached = store->cache.count};
}
