/* Which nodes should hold a group: weighted rendezvous hashing over failure domains (architecture
 * 5).
 *
 * Each node draws a score for each group from a hash; the highest scores win, at most one node per
 * zone while there are zones left. Adding a node moves only what it wins; removing one moves only
 * what it held. Pure. */
#ifndef BND_PLACEMENT_RENDEZVOUS_H
#define BND_PLACEMENT_RENDEZVOUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BND_REPLICAS_MAX 5

struct bnd_place_node {
    uint64_t id;
    uint32_t weight; /* 0: holds nothing (draining) */
    uint64_t
        zone; /* hash of the zone label; nodes without one have a zone of their own (their id) */
};

/* The node ids that should hold group gid, best first, at most `wanted` (<= BND_REPLICAS_MAX) and
 * at most as many as there are nodes with weight. The order of nodes[] does not matter. Returns how
 * many were put in out[]. */
size_t bnd_place_group(const struct bnd_place_node *nodes, size_t count, uint64_t gid,
                       size_t wanted, uint64_t out[BND_REPLICAS_MAX]);

/* How many of `live` nodes should vote: the largest of 1, 3, 5 that is <= min(live, wanted); 0 for
 * none. With two nodes the second is a standby (architecture 5, "Voters"). */
size_t bnd_place_voters(size_t live, size_t wanted);

#endif
