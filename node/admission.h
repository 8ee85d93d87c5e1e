/* Admission: a member's side of joining (architecture 5). The stranger's token is judged by group
 * 0, which issues the node id; this node signs the certificate with the CA key that it unseals for
 * the moment. */
#ifndef BND_NODE_ADMISSION_H
#define BND_NODE_ADMISSION_H

#include "catalog/catalog.h"
#include "net/mesh_tcp.h"
#include "node/identity.h"

struct node_admission {
    struct bnd_env *env;
    struct bnd_catalog *catalog;
    const struct node_identity *identity;
    struct bnd_mesh *mesh; /* with catalog */
    size_t open;           /* requests being served; at most 16 */
};

/* For bnd_mesh_tcp_config.on_join, with a struct node_admission as owner. */
void node_admission_on_join(void *owner, struct bnd_join_request *request,
                            struct bnd_slice payload);

#endif
