/* Joining: the request and reply between a new node and a member (SPEC.md, "Join").
 * Decoded forms borrow. */
#ifndef BND_NODE_JOIN_MESSAGE_H
#define BND_NODE_JOIN_MESSAGE_H

#include "catalog/issue.h"
#include "net/pki.h"

struct node_join_request {
    struct bnd_slice id;     /* BND_JOIN_ID_LEN */
    struct bnd_slice secret; /* text */
    struct bnd_slice csr;    /* PEM; its public key is who joins */
    struct bnd_slice address;
    struct bnd_slice zone;
    enum bnd_node_role role;
    uint64_t replaces; /* the dead node whose place it takes; 0: nobody's */
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
