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
    uint64_t place;  /* what is hashed: 0 for its own id, or that of the node it has replaced */
    uint32_t weight; /* 0: holds nothing (leaving) */
    uint64_t
        zone; /* hash of the zone label; nodes without one have a zone of their own (their id) */
};

/* The node ids that should hold group gid, best first, at most `wanted` (<= BND_REPLICAS_MAX) and
 * at most as many as there are nodes with weight. The order of nodes[] does not matter. Returns how
 * many were put in out[]. */
size_t bnd_place_group(const struct bnd_place_node *nodes, size_t count, uint64_t gid,
                       size_t wanted, uint64_t out[BND_REPLICAS_MAX]);

/* Who should lead, group after group: the best of a group's nodes that may lead and does not lead
 * its share yet, so that no node leads more than an eighth above the average, and one node's coming
 * or going moves few leaderships. The same sequence of groups gives the same leaders. */
struct bnd_place_leaders {
    const uint64_t *nodes; /* that may lead; borrowed */
    uint32_t *loads;       /* of each: leaderships given to it; the caller's, 0 at first */
    size_t count;
    size_t groups; /* in the sequence */
};

/* Moves the group's leader to the front of placed[] and those that may not lead out of it; the rest
 * keeps its order. Returns how many are left. */
size_t bnd_place_lead(struct bnd_place_leaders *leaders, uint64_t *placed, size_t count);

/* How many of `live` nodes should vote: the largest of 1, 3, 5 that is <= min(live, wanted); 0 for
 * none. With two nodes the second is a standby (architecture 5, "Voters"). */
size_t bnd_place_voters(size_t live, size_t wanted);

#endif
