/* What the settings of group 0 say of the cluster's CA, for who signs and who trusts (ADR 0091). */
#ifndef BND_NODE_AUTHORITY_H
#define BND_NODE_AUTHORITY_H

#include "catalog/catalog.h"
#include "node/identity.h"

/* Appends the CAs to trust, PEM: the one that signs first, then, while it is being changed, the old
 * one. */
void node_authority_trusted(const struct bnd_settings *settings, struct bnd_buf *out);

/* Signs a node's certificate for the request with the newest CA, into *out (replaced): it, and the
 * link that makes it good to who trusts the old CA alone. BND_CORRUPT: the CA's key cannot be
 * unsealed; errors of bnd_pki_node_sign. Blocking but short. */
int node_authority_sign(struct bnd_env *env, const struct node_identity *self,
                        const struct bnd_settings *settings, struct bnd_slice csr_pem,
                        uint64_t node, struct bnd_buf *out, struct bnd_error *err);

/* The CA of the client ports: their clients have been given the old one, and are to have both
 * before the old one goes. Borrows from the settings; the key is sealed. */
struct node_authority {
    struct bnd_slice cert;
    struct bnd_slice key;
};
struct node_authority node_authority_of_ports(const struct bnd_settings *settings);

#endif
