/* Large values: pieces under a blob id, and the head that says whose they are and how many there
 * are from the first on. The head sorts before the pieces. */
#include "kv/store_private.h"

struct head {
    uint64_t namespace_id;
    uint32_t pieces;
    struct bnd_slice key;
};

static void head_key(struct kv_key *out, uint32_t shard, const uint8_t *blob) {
    kv_key_piece(out, shard, blob, 0);
    out->len -= 4;
}

static int head_decode(struct bnd_slice bytes, struct head *out) {
    struct bnd_reader r = bnd_reader(bytes);
    out->namespace_id = bnd_read_u64(&r);
    out->pieces = bnd_read_u32(&r);
    out->key = r.rest;
    return r.failed || r.rest.len == 0 || r.rest.len > BND_KV_KEY_MAX ? BND_CORRUPT : 0;
}

/* pieces 0: there is none. Borrows from store->old. */
static int head_read(struct kv_store *store, uint32_t shard, const uint8_t *blob,
                     struct head *out) {
    struct kv_key key;
    head_key(&key, shard, blob);
    *out = (struct head){0};
    int rv = store_read(store, &key, &store->old);
    if (rv == BND_NOTFOUND) {
        return 0;
    }
    return rv != 0 ? rv : head_decode(bnd_buf_slice(&store->old), out);
}

static int head_write(struct kv_store *store, const struct kv_piece *piece, uint32_t pieces) {
    struct kv_key key;
    head_key(&key, piece->shard, piece->blob);
    bnd_buf_reset(&store->scratch);
    bnd_buf_u64(&store->scratch, piece->namespace_id);
    bnd_buf_u32(&store->scratch, pieces);
    bnd_buf_append_slice(&store->scratch, piece->key);
    if (store->scratch.failed) {
        return BND_NOMEM;
    }
    store_write(store, &key, bnd_buf_slice(&store->scratch));
    return 0;
}

int kv_store_piece_put(struct kv_store *store, const struct kv_piece *piece, bool *out_lacks) {
    struct head head;
    int rv = head_read(store, piece->shard, piece->blob, &head);
    *out_lacks = rv == 0 && piece->number > head.pieces;
    if (rv != 0 || *out_lacks) {
        return rv;
    }
    struct kv_key key;
    kv_key_piece(&key, piece->shard, piece->blob, piece->number);
    store_write(store, &key, piece->bytes);
    return piece->number == head.pieces ? head_write(store, piece, head.pieces + 1) : 0;
}

int kv_store_pieces(struct kv_store *store, uint32_t shard, const uint8_t *blob, uint32_t *out) {
    struct kv_key key;
    struct head head = {0};
    head_key(&key, shard, blob);
    /* Not store->old: a record that is being replaced may be in it. */
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    int rv = store_read(store, &key, &bytes);
    rv = rv == 0 ? head_decode(bnd_buf_slice(&bytes), &head) : rv;
    if (rv != 0 && rv != BND_NOTFOUND) {
        return rv;
    }
    *out = head.pieces;
    return 0;
}

int kv_store_piece_get(struct kv_store *store, uint32_t shard, const uint8_t *blob, uint32_t number,
                       struct bnd_buf *out) {
    struct kv_key key;
    kv_key_piece(&key, shard, blob, number);
    return store_read(store, &key, out);
}

/* ---- sweeping
 * ------------------------------------------------------------------------------------ */

static void blob_delete(struct kv_store *store, uint32_t shard, const uint8_t *blob,
                        uint32_t pieces) {
    struct kv_key key;
    for (uint32_t i = 0; i < pieces; i++) {
        kv_key_piece(&key, shard, blob, i);
        store_remove(store, &key);
    }
    head_key(&key, shard, blob);
    store_remove(store, &key);
}

/* The record of the blob's key names it. */
static int is_named(struct kv_store *store, uint32_t shard, const struct head *head,
                    const uint8_t *blob, bool *out) {
    struct kv_record record;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    int rv = store_head(store, shard, head->namespace_id, head->key, &bytes, &record);
    *out = rv == 0 && (record.flags & KV_RECORD_BLOB) != 0 &&
           memcmp(record.blob, blob, KV_BLOB_ID_BYTES) == 0;
    return rv;
}

/* Deletes a blob that no record names. *pieces: those deleted are added. */
static int blob_collect(struct kv_store *store, uint32_t shard, const uint8_t *blob,
                        size_t *pieces) {
    struct head head;
    bool named = false;
    int rv = head_read(store, shard, blob, &head);
    if (rv != 0 || head.pieces == 0) {
        return rv;
    }
    rv = is_named(store, shard, &head, blob, &named);
    if (rv == 0 && !named) {
        blob_delete(store, shard, blob, head.pieces);
        *pieces += head.pieces;
    }
    return rv;
}

/* Those whose time has come: superseded a while ago. */
static int sweep_due(struct kv_store *store, uint32_t shard, uint64_t now_ms, size_t most,
                     size_t *pieces) {
    struct kv_key from;
    struct kv_key to;
    static const uint8_t none[KV_BLOB_ID_BYTES];
    kv_key_free(&from, shard, 0, none);
    kv_key_free(&to, shard, now_ms + 1, none);
    struct bnd_state_iter *iter =
        store->ops->iter(store->config.state, BND_CF_KV, kv_key_slice(&from), kv_key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    for (; rv == 0 && *pieces < most && store->ops->iter_valid(iter); store->ops->iter_next(iter)) {
        struct bnd_slice key = store->ops->iter_key(iter);
        struct kv_key due = {.len = key.len};
        if (key.len != from.len) {
            rv = BND_CORRUPT;
            break;
        }
        memcpy(due.bytes, key.data, key.len);
        rv = blob_collect(store, shard, due.bytes + 13, pieces);
        store_remove(store, &due);
        (*pieces)++;
    }
    rv = rv != 0 ? rv : store->ops->iter_status(iter);
    store->ops->iter_destroy(iter);
    return rv;
}

/* Heads of blobs from the cursor on; seeks over their pieces, which it must not read. */
static int sweep_orphans(struct kv_store *store, uint32_t shard, uint64_t before_ms, size_t most,
                         struct kv_key *cursor, size_t *pieces) {
    struct kv_key from;
    struct kv_key to;
    uint8_t last[KV_BLOB_ID_BYTES] = {0};
    kv_key_tag(&from, KV_SLOT(shard), KV_TAG_PIECE);
    bnd_put_be64(last, before_ms);
    head_key(&to, shard, last);
    if (cursor->len > 0) {
        from = *cursor;
    }
    if (bnd_slice_cmp(kv_key_slice(&from), kv_key_slice(&to)) >= 0) {
        return 0;
    }
    struct bnd_state_iter *iter =
        store->ops->iter(store->config.state, BND_CF_KV, kv_key_slice(&from), kv_key_slice(&to));
    if (iter == NULL) {
        return BND_NOMEM;
    }
    int rv = 0;
    while (rv == 0 && *pieces < most && store->ops->iter_valid(iter)) {
        struct bnd_slice key = store->ops->iter_key(iter);
        if (key.len < 5 + KV_BLOB_ID_BYTES) {
            rv = BND_CORRUPT;
            break;
        }
        uint8_t blob[KV_BLOB_ID_BYTES];
        memcpy(blob, key.data + 5, sizeof blob);
        rv = blob_collect(store, shard, blob, pieces);
        (*pieces)++;
        kv_key_piece(cursor, shard, blob, UINT32_MAX);
        store->ops->iter_seek(iter, kv_key_slice(cursor));
    }
    rv = rv != 0 ? rv : store->ops->iter_status(iter);
    store->ops->iter_destroy(iter);
    return rv;
}

int kv_store_sweep(struct kv_store *store, uint32_t shard, uint64_t now_ms, uint64_t orphans_ms,
                   size_t most, struct kv_key *cursor) {
    size_t pieces = 0;
    int rv = sweep_due(store, shard, now_ms, most, &pieces);
    return rv != 0 ? rv : sweep_orphans(store, shard, orphans_ms, most, cursor, &pieces);
}
