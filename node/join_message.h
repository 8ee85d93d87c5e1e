/* Joining: the token, and the request and reply between a new node and a member (SPEC.md, "Join").
 * Decoded forms borrow. */
#ifndef BND_NODE_JOIN_MESSAGE_H
#define BND_NODE_JOIN_MESSAGE_H

#include "catalog/seal.h"
#include "net/pki.h"

#define NODE_JOIN_ID_LEN 16
#define NODE_JOIN_TOKEN_TEXT_MAX                                                                   \
    (2 * BND_PKI_FINGERPRINT_BYTES + 1 + 2 * NODE_JOIN_ID_LEN + 1 + BND_TOKEN_TEXT_LEN + 1)

/* "<CA fingerprint, hex>.<id, hex>.<secret>" */
struct node_join_token {
    uint8_t ca_fingerprint[BND_PKI_FINGERPRINT_BYTES];
    uint8_t id[NODE_JOIN_ID_LEN];
    char secret[BND_TOKEN_TEXT_LEN + 1];
};

void node_join_token_text(const struct node_join_token *token, char out[NODE_JOIN_TOKEN_TEXT_MAX]);
/* BND_INVALID. */
int node_join_token_parse(const char *text, struct node_join_token *out);

struct node_join_request {
    struct bnd_slice id;     /* NODE_JOIN_ID_LEN */
    struct bnd_slice secret; /* text */
    struct bnd_slice csr;    /* PEM; its public key is who joins. A gateway: likewise */
    struct bnd_slice address;
    struct bnd_slice zone;
};

struct node_join_reply {
    int status; /* 0 or a code; then only message counts */
    struct bnd_slice message;
    struct bnd_slice cluster; /* BND_PKI_CLUSTER_BYTES */
    uint64_t node;
    uint32_t shards;
    struct bnd_slice node_cert;
    struct bnd_slice ca_cert;
    struct bnd_slice cluster_key; /* BND_CLUSTER_KEY_LEN */
    struct bnd_slice peers;       /* node/peers.h: where the members are */
};

void node_join_request_encode(struct bnd_buf *out, const struct node_join_request *request);
int node_join_request_decode(struct bnd_slice bytes,
                             struct node_join_request *out); /* BND_CORRUPT */
void node_join_reply_encode(struct bnd_buf *out, const struct node_join_reply *reply);
int node_join_reply_decode(struct bnd_slice bytes, struct node_join_reply *out); /* BND_CORRUPT */

#endif
