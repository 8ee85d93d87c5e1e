/* Who a node is: what its data directory remembers for ever (architecture 2, 5; SPEC.md, "Data
 * directory").
 *
 * node.toml holds format, cluster id, node id and role and is written last, so that a directory
 * with it is complete; certs/ holds the node's key and certificate, the CA's certificate and the
 * cluster key. An id is never reused: a directory without node.toml is always a new node. */
#ifndef BND_NODE_IDENTITY_H
#define BND_NODE_IDENTITY_H

#include "base/env.h"
#include "catalog/records.h"
#include "catalog/seal.h"
#include "net/pki.h"

struct node_identity {
    uint8_t cluster[BND_PKI_CLUSTER_BYTES];
    uint64_t node;
    uint32_t shards; /* of the cluster, fixed at its first start */
    enum bnd_node_role role;
    uint8_t cluster_key[BND_CLUSTER_KEY_LEN];
    struct bnd_buf ca_cert; /* PEM, as all below */
    struct bnd_buf node_cert;
    struct bnd_buf node_key;
};

/* The cluster id as the number that journal and settings carry. */
uint64_t node_cluster_number(const uint8_t cluster[BND_PKI_CLUSTER_BYTES]);

/* Loads dir's identity, which must be of that role. BND_INVALID: it is of the other; BND_NOTFOUND:
 * an empty directory (nothing but LOCK and leftovers of an unfinished start); BND_VERSION: a newer
 * format; BND_CORRUPT: something is missing or does not fit, named in err. */
int node_identity_load(struct bnd_env *env, const char *dir, enum bnd_node_role role,
                       struct node_identity *out, struct bnd_error *err);

/* Writes it, node.toml last. Blocking. */
int node_identity_save(struct bnd_env *env, const char *dir, const struct node_identity *identity,
                       struct bnd_error *err);

void node_identity_free(struct node_identity *identity); /* wipes the secrets */

#endif
