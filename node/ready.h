/* Whether a node serves, check by check: what /readyz says. */
#ifndef BND_NODE_READY_H
#define BND_NODE_READY_H

#include "catalog/catalog.h"
#include "node/disk.h"
#include "raft/host.h"

struct node_ready_sources {
    const struct bnd_raft_host *host;
    const struct bnd_catalog *catalog;
    const struct node_disk *disk;
    bool in_genesis, stopping;
};

/* Appends one "name: ok" or "name: why not" line per check to *out (may be NULL); true if all are
 * ok. */
bool node_ready_check(const struct node_ready_sources *from, struct bnd_buf *out);

#endif
