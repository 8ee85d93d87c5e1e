/* A record without its contents: where it is, and what is known of it. */
#ifndef BND_KV_ENTRY_H
#define BND_KV_ENTRY_H

#include "kv/hlc.h"
#include "kv/record.h"

struct kv_entry {
    uint64_t namespace_id;
    struct bnd_slice key; /* up to BND_KV_KEY_MAX bytes */
    struct kv_seen seen;
};

/* The order of the state, and so of every scan: by namespace id, then by the key's bytes. */
static inline int kv_place_cmp(uint64_t a_namespace, struct bnd_slice a_key, uint64_t b_namespace,
                               struct bnd_slice b_key) {
    if (a_namespace != b_namespace) {
        return a_namespace < b_namespace ? -1 : 1;
    }
    return bnd_slice_cmp(a_key, b_key);
}

#endif
