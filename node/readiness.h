/* Whether a node is ready, and why not: /readyz. */
#ifndef BND_NODE_READINESS_H
#define BND_NODE_READINESS_H

#include "catalog/catalog.h"
#include "node/disk.h"

struct node_readiness {
    struct bnd_raft_host *host;
    const struct bnd_catalog *catalog;
    const struct node_disk *disk;
    bool in_genesis, stopping;
};

/* out (may be NULL): a line for each thing that is looked at. */
bool node_is_ready(const struct node_readiness *is, struct bnd_buf *out);

#endif
