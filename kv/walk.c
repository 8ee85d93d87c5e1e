#include "kv/walk.h"

void kv_walk_seek(struct kv_walk *walk, uint64_t namespace_id, struct bnd_slice key) {
    BND_ASSERT(key.len <= BND_KV_KEY_MAX);
    walk->namespace_id = namespace_id;
    walk->key_len = (uint16_t)key.len;
    walk->done = false;
    if (key.len > 0) {
        memmove(walk->key, key.data, key.len);
    }
}

/* Within one namespace. *most goes down. BND_NOTFOUND: its end; 0: the slice ends. */
static int walk_namespace(struct kv_walk *walk, struct kv_store *store, uint32_t shard,
                          size_t *most, bool (*each)(void *data, const struct kv_scanned *found),
                          void *data) {
    struct kv_scan scan = {0};
    struct kv_scanned found;
    const struct kv_scan_range range = {
        .shard = shard, .namespace_id = walk->namespace_id, .after = kv_walk_key(walk)};
    int rv = kv_scan_open(&scan, store, &range);
    while (rv == 0 && *most > 0) {
        rv = kv_scan_next(&scan, &found);
        if (rv != 0) {
            break;
        }
        if (!each(data, &found)) {
            *most = 0;
            break;
        }
        kv_walk_seek(walk, found.namespace_id, found.key);
        (*most)--;
    }
    kv_scan_close(&scan);
    return rv;
}

int kv_walk_slice(struct kv_walk *walk, struct kv_store *store, uint32_t shard, size_t most,
                  bool (*each)(void *data, const struct kv_scanned *found), void *data) {
    BND_ASSERT(!kv_store_dirty(store));
    while (!walk->done && most > 0) {
        uint64_t next = 0;
        int rv = kv_store_namespace_next(store, shard, walk->namespace_id, &next);
        if (rv != 0) {
            return rv;
        }
        if (next == 0) {
            walk->done = true;
            break;
        }
        if (next != walk->namespace_id) {
            kv_walk_seek(walk, next, bnd_slice(NULL, 0));
        }
        rv = walk_namespace(walk, store, shard, &most, each, data);
        if (rv == BND_NOTFOUND) {
            kv_walk_seek(walk, next + 1, bnd_slice(NULL, 0));
        } else if (rv != 0) {
            return rv;
        }
    }
    return 0;
}
