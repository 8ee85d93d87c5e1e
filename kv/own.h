/* The versions that this node has written through others in the last minute, so that it reads at
 * least those (ADR 0090, "Reads"). Bounded: the oldest go first. */
#ifndef BND_KV_OWN_H
#define BND_KV_OWN_H

#include "kv/record.h"

#define KV_OWN_MAX 65536u
#define KV_OWN_NS (UINT64_C(60000000000))

struct kv_own;

struct kv_own *kv_own_create(void); /* NULL: no memory */
void kv_own_destroy(struct kv_own *own);
void kv_own_remember(struct kv_own *own, uint64_t namespace_id, struct bnd_slice key,
                     struct bnd_kv_version version, uint64_t now_ns);
/* The newest of the last minute; hlc 0: none. */
struct bnd_kv_version kv_own_find(const struct kv_own *own, uint64_t namespace_id,
                                  struct bnd_slice key, uint64_t now_ns);

#endif
