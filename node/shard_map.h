/* The shard map: which nodes should hold each group, derived from the catalog's view (architecture
 * 5; ADR 0002).
 *
 * It is no state of its own: every process computes the same map from the same revision of group 0,
 * whose node records are the replicated truth. The map is the desired state; a group's own
 * configuration is the real one, and where this node knows it, it wins. */
#ifndef BND_NODE_SHARD_MAP_H
#define BND_NODE_SHARD_MAP_H

#include "catalog/catalog.h"
#include "net/mesh_tcp.h"
#include "objects/objects.h"
#include "placement/rendezvous.h"
#include "raft/client.h"
#include "raft/host.h"

struct node_shard_map {
    uint64_t revision; /* of the view it was made from; 0: none yet */
    uint32_t shards;
    struct bnd_place_node *nodes;
    size_t nodes_count;
    uint64_t *leaders; /* nodes that may lead */
    size_t leaders_count;
    size_t replicas; /* wanted per group */
    bool sql;        /* its groups are founded, or being founded */
};

/* Makes *map anew from the view. BND_NOMEM: the old map stays. */
int node_shard_map_update(struct node_shard_map *map, const struct bnd_catalog_view *view);
void node_shard_map_free(struct node_shard_map *map);

/* The nodes that should hold gid, best first; returns how many. */
size_t node_shard_map_group(const struct node_shard_map *map, uint64_t gid,
                            uint64_t out[BND_REPLICAS_MAX]);

/* How many groups of Raft the cluster has. */
size_t node_shard_map_groups(const struct node_shard_map *map);

/* Tells the shard client, and the host (NULL in a gateway), where every group belongs. */
void node_shard_map_publish(const struct node_shard_map *map, struct bnd_shard_client *client,
                            struct bnd_raft_host *host);

/* The replicas that a body of this shard goes to: the group's own members where the host has the
 * group (voters first), else the map's. BND_UNAVAILABLE: no map yet. */
int node_shard_map_replicas(const struct node_shard_map *map, const struct bnd_raft_host *host,
                            uint32_t shard, struct bnd_object_replicas *out);

#endif
