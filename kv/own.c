/* A ring of entries, oldest overwritten first, with chains by hash. Keys are known by 128 bits of
 * hash: two that meet would only ask for a version too much. */
#include "kv/own.h"

#include "base/alloc.h"
#include "base/hash.h"

#define NONE UINT32_MAX

struct own_entry {
    struct bnd_hash128 hash;
    struct bnd_kv_version version; /* hlc 0: free */
    uint64_t at_ns;
    uint32_t next;
};

struct kv_own {
    struct own_entry entries[KV_OWN_MAX];
    uint32_t heads[KV_OWN_MAX];
    uint32_t hand;
    uint64_t newest_ns; /* 0: there is none */
};

struct kv_own *kv_own_create(void) {
    struct kv_own *own = bnd_zalloc(sizeof *own);
    for (uint32_t i = 0; own != NULL && i < KV_OWN_MAX; i++) {
        own->heads[i] = NONE;
    }
    return own;
}

void kv_own_destroy(struct kv_own *own) {
    bnd_free(own);
}

static uint32_t *chain_of(struct kv_own *own, struct bnd_hash128 hash) {
    return &own->heads[hash.low & (KV_OWN_MAX - 1)];
}

static void take_out(struct kv_own *own, uint32_t at) {
    uint32_t *place = chain_of(own, own->entries[at].hash);
    while (*place != at) {
        place = &own->entries[*place].next;
    }
    *place = own->entries[at].next;
    own->entries[at].version.hlc = 0;
}

void kv_own_remember(struct kv_own *own, uint64_t namespace_id, struct bnd_slice key,
                     struct bnd_kv_version version, uint64_t now_ns) {
    struct own_entry *entry = &own->entries[own->hand];
    if (entry->version.hlc != 0) {
        take_out(own, own->hand);
    }
    *entry = (struct own_entry){
        .hash = bnd_hash128(key, namespace_id), .version = version, .at_ns = now_ns};
    uint32_t *chain = chain_of(own, entry->hash);
    entry->next = *chain; /* the newest of a key is met first */
    *chain = own->hand;
    own->hand = (own->hand + 1) & (KV_OWN_MAX - 1);
    own->newest_ns = now_ns;
}

struct bnd_kv_version kv_own_find(const struct kv_own *own, uint64_t namespace_id,
                                  struct bnd_slice key, uint64_t now_ns) {
    struct bnd_kv_version newest = {0};
    if (own->newest_ns == 0 || now_ns - own->newest_ns > KV_OWN_NS) {
        return newest;
    }
    struct bnd_hash128 hash = bnd_hash128(key, namespace_id);
    for (uint32_t at = own->heads[hash.low & (KV_OWN_MAX - 1)]; at != NONE;
         at = own->entries[at].next) {
        const struct own_entry *entry = &own->entries[at];
        bool is_it = bnd_hash128_eq(entry->hash, hash) && now_ns - entry->at_ns <= KV_OWN_NS;
        if (is_it && kv_version_cmp(entry->version, newest) > 0) {
            newest = entry->version;
        }
    }
    return newest;
}
