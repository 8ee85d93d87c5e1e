/* A record without its contents: where it is, which version, and from when on it is dead. Pure. */
#ifndef BND_KV_ENTRY_H
#define BND_KV_ENTRY_H

#include "base/bytes.h"
#include "kv/kv.h"

struct kv_entry {
    uint64_t namespace_id;
    struct bnd_slice key; /* up to BND_KV_KEY_MAX bytes */
    struct bnd_kv_version version;
    uint64_t expires_ms; /* 0: never */
    bool tombstone;
};

/* By HLC, then by writer. */
static inline int kv_version_cmp(struct bnd_kv_version a, struct bnd_kv_version b) {
    if (a.hlc != b.hlc) {
        return a.hlc < b.hlc ? -1 : 1;
    }
    return a.writer < b.writer ? -1 : a.writer > b.writer ? 1 : 0;
}

/* Wall-clock milliseconds of an HLC or a horizon, and the first HLC of a millisecond. */
static inline uint64_t kv_hlc_ms(uint64_t hlc) {
    return hlc >> 16;
}
static inline uint64_t kv_hlc_of_ms(uint64_t ms) {
    return ms << 16;
}

/* The order of the state, and so of every scan: by namespace id, then by the key's bytes. */
static inline int kv_place_cmp(uint64_t a_namespace, struct bnd_slice a_key, uint64_t b_namespace,
                               struct bnd_slice b_key) {
    if (a_namespace != b_namespace) {
        return a_namespace < b_namespace ? -1 : 1;
    }
    return bnd_slice_cmp(a_key, b_key);
}

/* Dead below a horizon: older than it, and a tombstone, or expired at its time. Whoever collects
 * below this horizon deletes exactly these. Horizon 0: nothing is. */
static inline bool kv_entry_dead(const struct kv_entry *entry, uint64_t horizon) {
    return entry->version.hlc < horizon &&
           (entry->tombstone ||
            (entry->expires_ms != 0 && entry->expires_ms <= kv_hlc_ms(horizon)));
}

#endif
