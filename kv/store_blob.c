/* Large values: pieces under a blob id, and the head that says whose they are, how many there are
 * from the first on, and when the last of them came here. The head sorts before the pieces.
 *
 * Every blob is named by the record of its key, or has a date (tag FREE) at which it is looked at:
 * the first piece sets one, and so does the change that makes a record name it no more. What nobody
 * names then goes, but not while its pieces are still coming, from a client or from another
 * replica, however old the value is. So nothing need be searched for. */
#include "kv/store_private.h"

/* Nobody has named the pieces, and none has come, for so long: they are nobody's. */
#define ORPHAN_MS (UINT64_C(3600) * 1000)
/* In a head, of the number of pieces: the time follows. Heads of older nodes have none; their blobs
 * are as old as their ids say. */
#define HEAD_TIMED UINT32_C(0x80000000)
/* What a date says. */
static const uint8_t arriving[] = {1}; /* pieces have begun to come; else (empty): superseded */

struct head {
    uint64_t namespace_id;
    uint32_t pieces;
    uint64_t arrived_ms; /* the last of them */
    struct bnd_slice key;
};

static void head_key(struct kv_key *out, uint32_t shard, const uint8_t *blob) {
    kv_key_piece(out, shard, blob, 0);
    out->len -= 4;
}

static int head_decode(struct bnd_slice bytes, const uint8_t *blob, struct head *out) {
    struct bnd_reader r = bnd_reader(bytes);
    out->namespace_id = bnd_read_u64(&r);
    uint32_t pieces = bnd_read_u32(&r);
    out->pieces = pieces & ~HEAD_TIMED;
    out->arrived_ms = (pieces & HEAD_TIMED) != 0 ? bnd_read_u64(&r) : bnd_get_be64(blob);
    out->key = r.rest;
    return r.failed || r.rest.len == 0 || r.rest.len > BND_KV_KEY_MAX ? BND_CORRUPT : 0;
}

/* pieces 0: there is none. Borrows from *bytes. */
static int head_read(struct kv_store *store, uint32_t shard, const uint8_t *blob,
                     struct bnd_buf *bytes, struct head *out) {
    struct kv_key key;
    head_key(&key, shard, blob);
    *out = (struct head){0};
    int rv = store_read(store, &key, bytes);
    if (rv == BND_NOTFOUND) {
        return 0;
    }
    return rv != 0 ? rv : head_decode(bnd_buf_slice(bytes), blob, out);
}

static int head_write(struct kv_store *store, const struct kv_piece *piece, uint32_t pieces,
                      uint64_t now_ms) {
    struct kv_key key;
    head_key(&key, piece->shard, piece->blob);
    bnd_buf_reset(&store->scratch);
    bnd_buf_u64(&store->scratch, piece->namespace_id);
    bnd_buf_u32(&store->scratch, pieces | HEAD_TIMED);
    bnd_buf_u64(&store->scratch, now_ms);
    bnd_buf_append_slice(&store->scratch, piece->key);
    if (store->scratch.failed) {
        return BND_NOMEM;
    }
    store_write(store, &key, bnd_buf_slice(&store->scratch));
    return 0;
}

static void date_write(struct kv_store *store, uint32_t shard, const uint8_t *blob, uint64_t ms,
                       struct bnd_slice what) {
    struct kv_key key;
    kv_key_free(&key, shard, ms, blob);
    store_write(store, &key, what);
}

void store_superseded(struct kv_store *store, uint32_t shard, const uint8_t *blob,
                      uint64_t now_ms) {
    date_write(store, shard, blob, now_ms + STORE_BLOB_LINGER_MS, bnd_slice(NULL, 0));
}

int kv_store_piece_put(struct kv_store *store, const struct kv_piece *piece, uint64_t now_ms,
                       bool *out_lacks) {
    struct head head;
    int rv = head_read(store, piece->shard, piece->blob, &store->old, &head);
    *out_lacks = rv == 0 && piece->number > head.pieces;
    if (rv != 0 || *out_lacks) {
        return rv;
    }
    struct kv_key key;
    kv_key_piece(&key, piece->shard, piece->blob, piece->number);
    store_write(store, &key, piece->bytes);
    if (head.pieces == 0) {
        date_write(store, piece->shard, piece->blob, now_ms + ORPHAN_MS,
                   bnd_slice(arriving, sizeof arriving));
    }
    return piece->number == head.pieces ? head_write(store, piece, head.pieces + 1, now_ms) : 0;
}

int kv_store_pieces(struct kv_store *store, uint32_t shard, const uint8_t *blob, uint32_t *out) {
    struct head head;
    /* Not store->old: a record that is being replaced may be in it. */
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    int rv = head_read(store, shard, blob, &bytes, &head);
    *out = rv == 0 ? head.pieces : *out;
    return rv;
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

/* A blob's date has come: it goes, or is looked at again, or a record names it by now. *pieces:
 * those deleted are added. */
static int blob_due(struct kv_store *store, uint32_t shard, const uint8_t *blob, bool arrives,
                    uint64_t now_ms, size_t *pieces) {
    struct head head;
    bool named = false;
    int rv = head_read(store, shard, blob, &store->old, &head);
    if (rv != 0 || head.pieces == 0) {
        return rv;
    }
    rv = is_named(store, shard, &head, blob, &named);
    if (rv != 0 || named) {
        return rv;
    }
    if (arrives && head.arrived_ms + ORPHAN_MS > now_ms) {
        date_write(store, shard, blob, head.arrived_ms + ORPHAN_MS,
                   bnd_slice(arriving, sizeof arriving));
        return 0;
    }
    blob_delete(store, shard, blob, head.pieces);
    *pieces += head.pieces;
    return 0;
}

int kv_store_sweep(struct kv_store *store, uint32_t shard, uint64_t now_ms, size_t most) {
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
    for (size_t pieces = 0; rv == 0 && pieces < most && store->ops->iter_valid(iter);
         store->ops->iter_next(iter)) {
        struct bnd_slice key = store->ops->iter_key(iter);
        struct bnd_slice what = store->ops->iter_value(iter);
        struct kv_key due = {.len = key.len};
        if (key.len != from.len || what.len > sizeof arriving) {
            rv = BND_CORRUPT;
            break;
        }
        memcpy(due.bytes, key.data, key.len);
        store_remove(store, &due);
        rv = blob_due(store, shard, due.bytes + 13, what.len > 0, now_ms, &pieces);
        pieces++;
    }
    rv = rv != 0 ? rv : store->ops->iter_status(iter);
    store->ops->iter_destroy(iter);
    return rv;
}
