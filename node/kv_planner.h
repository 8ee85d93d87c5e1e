/* Who changes the map of KV's shards (placement/kv_map.h; ADR 0090): the planner, on the node that
 * leads group 0, and each node for its own replicas.
 *
 * The planner looks once a second, and whenever the view changes, at every shard and sends the next
 * step of those that are not as they should be. It keeps nothing: two planners at once, or one that
 * knows an old view, are refused by the epoch. It does nothing before the first namespace is made,
 * so that a cluster without KV has no map, and nodes of a version without KV can be in it. */
#ifndef BND_NODE_KV_PLANNER_H
#define BND_NODE_KV_PLANNER_H

#include "catalog/catalog.h"
#include "kv/kv.h"
#include "node/config.h"
#include "node/shard_map.h"
#include "raft/host.h"

#define NODE_KV_COMMANDS_MAX 8 /* of each, plans and tells, under way */

struct node_kv_command {
    struct bnd_catalog_call call;
    uint32_t shard;
    bool busy;
};

struct node_kv_planner {
    struct bnd_env *env; /* all borrowed */
    struct bnd_mesh *mesh;
    struct bnd_raft_host *host;
    struct bnd_catalog *catalog;
    const struct node_shard_map *map;
    uint64_t self;
    /* A horizon lies kv_horizon_s back, and the next is proposed so much later; a node that is
     * silent for kv_absent_s (since this process began, at most) holds none back any more; `moves`
     * shards are filled or handed over at a time. */
    const struct bnd_config *config;
    /* private */
    struct bnd_timer timer;
    uint64_t started_ns;
    uint32_t next; /* where the next look begins */
    struct node_kv_command plans[NODE_KV_COMMANDS_MAX];
    struct node_kv_command tells[NODE_KV_COMMANDS_MAX];
};

void node_kv_planner_start(struct node_kv_planner *planner);
/* The view, and the shard map with it, changed. */
void node_kv_planner_view(struct node_kv_planner *planner);
/* Tells group 0 of a replica of this node; dropped when too many are under way: it is told again.
 */
void node_kv_planner_tell(struct node_kv_planner *planner, const struct bnd_kv_tell *tell);
/* Before catalog and host go. Idempotent; also if it was never started. */
void node_kv_planner_close(struct node_kv_planner *planner);

/* True if a shard of KV has the node as a replica, or it hands one over. */
bool node_kv_needs(const struct bnd_catalog_view *view, uint64_t node);

#endif
