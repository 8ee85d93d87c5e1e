/* What replicas send each other for puts: pushes and their answers, one message per peer and pass
 * each way. */
#ifndef BND_KV_PUSH_H
#define BND_KV_PUSH_H

#include "kv/kv_private.h"
#include "kv/wire.h"

/* One push under way to one peer; the owner's, zeroed at first. */
struct kv_push_to {
    /* Once, later; LOST when the peer goes. Not after kv_push_forget. */
    void (*answered)(struct kv_push_to *to, const struct kv_ack *ack);
    void *data;
    uint64_t node;
    /* private */
    struct kv_push_to *next;
    uint64_t seq; /* 0: not under way */
};

int kv_push_create(struct bnd_kv *kv, struct kv_push **out);
void kv_push_destroy(struct kv_push *push); /* nothing may be under way; NULL allowed */

/* Sends an entry (RECORD or PIECE), copied into the pass's message or straight into the mesh.
 * BND_CLOSED: no connection, or that of its lane is only being made; BND_FULL, BND_NOMEM: nothing
 * was sent; answered never comes. */
int kv_push_send(struct bnd_kv *kv, struct kv_push_to *to, const struct kv_log_entry *entry,
                 uint32_t epoch);
void kv_push_forget(struct bnd_kv *kv, struct kv_push_to *to); /* idempotent */
static inline bool kv_push_under_way(const struct kv_push_to *to) {
    return to->seq != 0;
}

void kv_push_receive(struct bnd_kv *kv, uint64_t from, struct bnd_slice message);
/* Sends what was collected in this pass. */
void kv_push_flush(struct bnd_kv *kv);
/* Peers that have gone: what is under way to them is LOST. */
void kv_push_tick(struct bnd_kv *kv);

#endif
