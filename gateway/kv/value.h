/* A value on its way in, at the pace of the store: internal to gateway/.
 *
 * Up to BND_KV_INLINE_MAX it is gathered in memory (and counted, front.h); above, it becomes pieces
 * that are durable before the put that names them. Nothing of it is visible before that put. */
#ifndef BND_GATEWAY_KV_VALUE_H
#define BND_GATEWAY_KV_VALUE_H

#include "gateway/front.h"
#include "kv/kv.h"

struct kv_value {
    /* Set by the owner. */
    struct gateway_front *front;
    struct bnd_kv *kv;
    uint64_t namespace_id;
    struct bnd_slice key; /* borrowed for its life */
    void (*cb)(struct kv_value *value, int status);
    void *data;
    /* private; zero at first */
    uint64_t bytes; /* taken so far */
    struct bnd_buf buffer;
    size_t charged;
    struct bnd_kv_blob *blob;
    struct bnd_slice rest;
    bool ending;
    bool piece_taken;       /* the first one: from then on there is no other way */
    struct bnd_timer again; /* until the first piece is sent once more */
    uint64_t begun_ns;
};

#define KV_VALUE_NOW 1

/* Takes more bytes. KV_VALUE_NOW: it has them; 0: cb comes later, and until then bytes is borrowed;
 * BND_TOOBIG: above the limit; BND_FULL, BND_NOMEM; what the store says of pieces. */
int kv_value_take(struct kv_value *value, struct bnd_slice bytes);
/* After the last byte; likewise. */
int kv_value_end(struct kv_value *value);
/* What the put stores; borrowed from the value, which must have ended. */
void kv_value_give(const struct kv_value *value, struct bnd_kv_put *put);
/* Pieces that no put named are swept by the store. Also while cb is expected: it does not come. */
void kv_value_free(struct kv_value *value);

#endif
