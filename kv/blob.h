/* A large value on its way in (blob.c). Inside kv/. */
#ifndef BND_KV_BLOB_H
#define BND_KV_BLOB_H

#include "kv/forward.h"
#include "kv/push.h"

struct kv_blob_target {
    struct kv_push_to to;
    struct bnd_kv_blob *blob;
    bool waiting; /* for this piece */
    bool has_all; /* every piece so far */
    uint64_t sent_ns;
};

struct bnd_kv_blob {
    struct bnd_link link; /* in kv_forward.blobs; not linked once kv has closed */
    struct bnd_kv *kv;
    uint64_t namespace_id;
    uint32_t shard;
    uint32_t size, pieces;
    uint8_t id[KV_BLOB_ID_BYTES];
    struct kv_log_entry *entry;         /* of the piece under way */
    bool own, own_waiting, own_has_all; /* this node is one of them */
    struct kv_blob_target targets[BND_KV_REPLICAS_MAX];
    size_t targets_count;
    uint64_t sent_ns;
    void (*cb)(void *data, int status); /* NULL: no piece is under way */
    void *data;
    uint16_t key_len;
    uint8_t key[BND_KV_KEY_MAX];
};

#endif
