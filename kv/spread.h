/* How replicas become equal (ADR 0090, "Spread", "Moves", "Horizon"): what the core tells it. */
#ifndef BND_KV_SPREAD_H
#define BND_KV_SPREAD_H

#include "kv/kv.h"
#include "kv/store.h"

struct kv_spread;

/* Calls of service BND_RPC_KV whose first byte is below this are the spread's. */
#define KV_SPREAD_OPS_END 64u

/* Only where there is a store. After recovery, before the first view. */
int kv_spread_create(struct bnd_kv *kv, struct kv_spread **out);
/* Nothing is told any more; its calls are cancelled. NULL allowed. */
void kv_spread_destroy(struct kv_spread *spread);

/* From inside kv_store_apply and the like (kv_store_config). */
void kv_spread_changed(struct kv_spread *spread, const struct kv_change *change);
void kv_spread_wiped(struct kv_spread *spread, uint32_t shard);
/* kv->view is another. The first one opens everything. */
void kv_spread_view(struct kv_spread *spread);
void kv_spread_peer(struct kv_spread *spread, uint64_t node, bool up);
/* Takes the request, whose payload is borrowed until it returns: one bnd_rpc_reply, now or later.
 */
void kv_spread_call(struct kv_spread *spread, struct bnd_rpc_request *request);


/* Fills in the numbers of shards held, filled and building. */
void kv_spread_stats(const struct kv_spread *spread, struct bnd_kv_stats *out);

#endif
