/* The body of a bulk put or delete, as it comes: internal to gateway/.
 *
 *   put [{"key":"..","value":"..","expiration":n,"expiration_ttl":n,"metadata":any,"base64":bool}]
 *   delete  ["key", ...]
 *
 * The text is never in memory as a whole; what is kept is the pairs, decoded, counted by front.h.
 * Every pair is checked as a single put of it would be, so that after the end all may be stored:
 * what is refused leaves nothing behind. */
#ifndef BND_GATEWAY_KV_BULK_BODY_H
#define BND_GATEWAY_KV_BULK_BODY_H

#include "gateway/front.h"
#include "gateway/json_scan.h"

struct kv_pair {
    struct bnd_slice key, metadata, value; /* within space */
    uint64_t expires_ms;
    uint8_t *space;
};

#define KV_BULK_NAME_MAX 16u

struct kv_bulk_body {
    /* Set by the owner. */
    struct gateway_front *front;
    uint64_t now_ms; /* that expirations are seen from */
    bool deleting;   /* keys only */
    /* What came of it. */
    struct kv_pair *pairs;
    size_t count;
    struct kv_refusal refusal;
    /* private; zero at first */
    struct gateway_json json;
    uint64_t bytes; /* of text */
    size_t charged;
    size_t pairs_cap;
    bool begun, refused;
    uint8_t field;
    uint8_t name_len;
    char name[KV_BULK_NAME_MAX];
    struct bnd_buf key, value, metadata, expiration, ttl;
    bool has_key, has_value, base64;
};

void kv_bulk_body_init(struct kv_bulk_body *body);
/* 0, or a code that ends it: BND_INVALID: refusal says why; BND_FULL, BND_NOMEM. */
int kv_bulk_body_feed(struct kv_bulk_body *body, struct bnd_slice bytes);
int kv_bulk_body_end(struct kv_bulk_body *body);
void kv_bulk_body_free(struct kv_bulk_body *body);

#endif
