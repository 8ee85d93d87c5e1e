/* Many values as one JSON object, for both surfaces: internal to gateway/.
 *
 * {"keys":[...],"type":"text"|"json","withMetadata":bool,"cacheTtl":seconds} in; out, in the order
 * of the keys, {"<key>": value or null, ...}, or {"value":..,"metadata":..} in place of a value.
 * One value at a time is asked for. */
#ifndef BND_GATEWAY_KV_BULK_GET_H
#define BND_GATEWAY_KV_BULK_GET_H

#include "gateway/front.h"
#include "kv/kv.h"

#include <jansson.h>

#define KV_BULK_GET_BODY_MAX (1u << 20)
#define KV_BULK_GET_BYTES_MAX (25u << 20) /* of all values */

struct kv_bulk_get {
    /* Set by the owner. */
    struct gateway_front *front;
    struct bnd_kv *kv;
    uint64_t namespace_id;
    bool newest;
    bool with_expiration; /* in the objects that withMetadata makes */
    /* 0: out is the whole object; KV_BULK_REFUSED: refusal says why; or the store's code. */
    void (*cb)(struct kv_bulk_get *bulk, int status);
    void *data;
    struct bnd_buf out;
    struct kv_refusal refusal;
    /* private; zero at first */
    json_t *body;
    bool as_json, with_metadata;
    size_t at; /* of the keys */
    uint64_t bytes;
    size_t charged;
    struct bnd_kv_get get;
    struct bnd_kv_read read;
    struct bnd_buf large; /* a value that comes in pieces */
    uint64_t large_bytes; /* that it has */
    struct bnd_buf metadata;
    uint64_t expires_ms;
    unsigned again; /* how often the key in hand was superseded while it was read */
    bool waiting; /* for the store */
    bool in_call; /* of it */
    int failed;   /* what ends it: KV_BULK_REFUSED or a code */
};

#define KV_BULK_REFUSED 1

/* text: the body of the request. cb comes once, perhaps before this returns. */
void kv_bulk_get(struct kv_bulk_get *bulk, struct bnd_slice text);
/* From cb on. */
void kv_bulk_get_free(struct kv_bulk_get *bulk);

#endif
