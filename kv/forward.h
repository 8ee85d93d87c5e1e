/* What goes to other nodes: puts, reads and lists of shards that this node does not serve. */
#ifndef BND_KV_FORWARD_H
#define BND_KV_FORWARD_H

#include "kv/kv_private.h"
#include "kv/own.h"
#include "kv/wire.h"

/* Something under way for a user. Embedded first in the op's own struct. */
struct kv_op {
    struct bnd_link link;
    struct bnd_kv *kv;
    /* Each tick, and after a new view. May end the op. */
    void (*tick)(struct kv_op *op, uint64_t now_ns);
    /* Answers the user with this status. The op ends. */
    void (*fail)(struct kv_op *op, int status);
};

struct kv_forward {
    struct bnd_link ops;
    size_t count;
    struct bnd_link blobs;
    size_t blobs_count;
    struct kv_own *own;
    struct kv_cache remote; /* what others have answered; until_ns: when */
};

int kv_forward_create(struct bnd_kv *kv, struct kv_forward **out);
void kv_forward_destroy(struct kv_forward *forward); /* NULL allowed */
/* Ticks all ops and blobs; now as well after a new view. */
void kv_forward_tick(struct bnd_kv *kv);
/* All ops fail with BND_CANCELED, and those that wait for a task go with it (count); blobs' pieces
 * under way too, but they stay for their owners. */
void kv_forward_close(struct bnd_kv *kv);

/* A new op of `bytes` whose struct begins with a kv_op. NULL: too many, or no memory. */
void *kv_op_new(struct bnd_kv *kv, size_t bytes, void (*tick)(struct kv_op *op, uint64_t now_ns),
                void (*fail)(struct kv_op *op, int status));
void kv_op_free(struct kv_op *op);

/* ---- whom to ask
 * ---------------------------------------------------------------------------------- */

/* Nodes that were asked already in this round. */
struct kv_tried {
    uint64_t nodes[BND_KV_REPLICAS_MAX + 1];
    size_t count;
};
/* The replica that counts, is up, has been heard of last and is not in tried; it is added. 0: none
 * is left. any: also one that does not count. */
uint64_t kv_candidate(const struct bnd_kv *kv, uint32_t shard, struct kv_tried *tried, bool any);
/* What a call's status means for the next candidate: true: ask another one. */
bool kv_elsewhere(int status);
/* What a user is told of it. */
int kv_status_for_user(int status);

/* ---- blobs (blob.c)
 * ------------------------------------------------------------------------------ */

/* The nodes that have all pieces so far. */
bool kv_blob_on(const struct bnd_kv_blob *blob, uint64_t node);
void kv_blob_params(const struct bnd_kv_blob *blob, struct kv_write_params *params);
void kv_blob_tick(struct bnd_kv_blob *blob, uint64_t now_ns);
void kv_blob_cancel(struct bnd_kv_blob *blob);

/* requests.c: a call of another node. */
void kv_serve(struct bnd_kv *kv, struct bnd_rpc_request *request);
/* Those that waited for a commit; refused when this node closes. */
void kv_serve_held(struct bnd_kv *kv);

#endif
