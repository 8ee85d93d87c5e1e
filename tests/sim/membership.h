/* Who should be in which group, and which machines there are: what the catalog's group 0 and the
 * shard map are to real nodes (node/shard_map.c), decided here in one place.
 *
 * As in a real cluster each node learns of a wish some time after it was made, on its own, and
 * knows nothing after a start; it makes a group only if it knows itself wanted; it destroys one
 * when it is told that it was removed. A machine that is lost for good takes its disk along and its
 * id is never used again: another machine takes its place under a new one. */
#ifndef BND_TESTS_SIM_MEMBERSHIP_H
#define BND_TESTS_SIM_MEMBERSHIP_H

#include "tests/sim/cluster.h"

/* Sets the wish of every group to nodes 1 to count. */
void bnd_sim_membership_found(struct bnd_sim_cluster *cluster, size_t count);
/* The node's life has begun: it learns of the wishes soon. */
void bnd_sim_membership_start(struct bnd_sim_node *node);
/* Its life is over: it has forgotten them. */
void bnd_sim_membership_forget(struct bnd_sim_node *node);
/* Does the node know itself wanted in the group? */
bool bnd_sim_membership_knows(const struct bnd_sim_node *node, uint64_t gid);

/* Wishes other members for a drawn group. */
void bnd_sim_membership_change(struct bnd_sim_cluster *cluster);
/* Loses a drawn machine for good and puts another in its place, if every group can bear that now: a
 * majority of its voters remains, and no change of its members is under way. False: not now. */
bool bnd_sim_membership_replace(struct bnd_sim_cluster *cluster);

/* True if the group has a ready leader, members and voters as wanted, every wanted node is up and
 * has applied all that is committed, and no other node has the group any more. */
bool bnd_sim_membership_settled(const struct bnd_sim_cluster *cluster, size_t group);
/* One line per node to stderr: what it makes of the group. */
void bnd_sim_membership_print(const struct bnd_sim_cluster *cluster, size_t group);

#endif
