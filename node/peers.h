/* Where the members of the cluster are, as this node last heard: what it dials before it can ask
 * group 0. File `peers` of the data directory and field of the join reply (SPEC.md, "Data
 * directory"). */
#ifndef BND_NODE_PEERS_H
#define BND_NODE_PEERS_H

#include "catalog/catalog.h"

/* Appends the encoded list of all nodes of the view that are not gone. Gateways are
 * left out: nobody asks one for a group. */
void node_peers_encode(struct bnd_buf *out, const struct bnd_node_record *nodes, size_t count);

/* Calls each(id, address) for every peer; address is terminated. BND_CORRUPT; or what each
 * returned. */
int node_peers_each(struct bnd_slice bytes,
                    int (*each)(void *data, uint64_t node, const char *address), void *data);

#endif
