/* The body of a bulk put or delete, as it comes: internal to gateway/.
 *
 *   put [{"key":"..","value":"..","expiration":n,"expiration_ttl":n,"metadata":any,"base64":bool}]
 *   delete  ["key", ...]
 *
 * The text is never in memory as a whole; what is kept is the pairs, decoded, counted by front.h:
 * of values and metadata the first here_max bytes, the rest is handed to the owner to be put aside.
 * Every pair is checked as a single put of it would be, so that after the end all may be stored:
 * what is refused leaves nothing behind. */
#ifndef BND_GATEWAY_KV_BULK_BODY_H
#define BND_GATEWAY_KV_BULK_BODY_H

#include "gateway/front.h"
#include "gateway/json_scan.h"

#define KV_PAIR_HERE UINT64_MAX

struct kv_pair {
    /* Within space. Put aside: metadata and value have no data, but their lengths. */
    struct bnd_slice key, metadata, value;
    uint64_t expires_ms;
    uint64_t aside; /* KV_PAIR_HERE, or where among all that was put aside: the value, then the
                       metadata */
    uint8_t *space;
};

#define KV_BULK_NAME_MAX 16u

struct kv_bulk_body {
    /* Set by the owner. */
    struct gateway_front *front;
    uint64_t now_ms; /* that expirations are seen from */
    bool deleting;   /* keys only */
    size_t here_max; /* bytes of values and metadata that stay in memory */
    /* What came of it. */
    struct kv_pair *pairs;
    size_t count;
    struct kv_refusal refusal;
    /* What is to be put aside: taken by the owner after each feed, before the next. */
    struct bnd_buf aside;
    /* private; zero at first */
    uint64_t aside_bytes; /* so far */
    size_t here_bytes;
    struct gateway_json json;
    uint64_t bytes; /* of text */
    size_t charged;
    size_t pairs_cap;
    bool begun, refused;
    uint8_t field;
    uint8_t name_len;
    char name[KV_BULK_NAME_MAX];
    struct bnd_buf key, value, metadata, expiration, ttl, decoded;
    bool has_key, has_value, base64;
};

void kv_bulk_body_init(struct kv_bulk_body *body);
/* 0, or a code that ends it: BND_INVALID: refusal says why; BND_FULL, BND_NOMEM. */
int kv_bulk_body_feed(struct kv_bulk_body *body, struct bnd_slice bytes);
int kv_bulk_body_end(struct kv_bulk_body *body);
/* The owner has put `aside` aside. */
void kv_bulk_body_taken(struct kv_bulk_body *body);
/* After the end, when nothing is to be put aside any more: the pairs alone stay. */
void kv_bulk_body_settle(struct kv_bulk_body *body);
void kv_bulk_body_free(struct kv_bulk_body *body);

#endif
