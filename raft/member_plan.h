/* The next change of a group's members, decided from a picture (internal to raft/; ADR 0071).
 *
 * Rules:
 *  1. Additions first (spare, then standby), then promotions, removals, the leader's own leaving,
 * and demotions last: no majority is left to a voter that is not wanted.
 *  2. Voters rest in the numbers 1, 3, 5: a change that makes the number even is made only if one
 *     that makes it odd again can follow at once.
 *  3. Nobody is promoted who was not heard from within an election timeout or is not caught up, and
 *     no change leaves fewer voters that were heard from than a majority. No voter goes before what
 *     was heard is newer than the wish: one that the wish leaves out because it is gone for good
 * has to fall silent first, or the last majority may be left to it.
 *  4. A wanted node that never comes up delays nobody: it only leaves its place empty. */
#ifndef BND_RAFT_MEMBER_PLAN_H
#define BND_RAFT_MEMBER_PLAN_H

#include "raft/configuration.h"

struct member_view {
    uint64_t self; /* the leader; a voter */
    const struct bnd_raft_configuration *configuration;
    bool heard[BND_RAFT_MEMBERS_MAX];     /* by member: answered within an election timeout; self:
                                             true */
    bool caught_up[BND_RAFT_MEMBERS_MAX]; /* by member: nearly the whole log is stored there */
    const uint64_t *wanted;               /* nodes, in order of preference as voters */
    size_t wanted_count;
    bool up[BND_RAFT_MEMBERS_MAX]; /* by wanted node: there is a connection to it */
    bool settled;   /* whoever is gone had the time to fall silent since the wish came */
    bool impatient; /* an even number of voters has lasted: go back rather than wait for more */
};

enum member_action {
    MEMBER_REST, /* nothing can or need be done */
    MEMBER_ADD,
    MEMBER_STANDBY, /* make it one: of a spare, or of a voter */
    MEMBER_PROMOTE,
    MEMBER_REMOVE,
    MEMBER_HAND_OVER, /* leadership, to this node */
};

struct member_step {
    enum member_action action;
    uint64_t node;
};

/* How many of so many wanted nodes are to be voters: 1, 3 or 5. */
size_t member_target(size_t wanted_count);

/* True if members and voters are as wanted, so that there is nothing to plan. */
bool member_as_wanted(const struct bnd_raft_configuration *configuration, const uint64_t *wanted,
                      size_t wanted_count);

struct member_step member_plan(const struct member_view *view);

#endif
