/* A leader whose connection is gone is most likely gone itself: its groups do not wait for the
 * whole election timeout, but stand in turns, soon (host_private.h; ADR 0077).
 *
 * Only time is touched: who stands asks for votes as always, and a voter that still hears the
 * leader refuses them. */
#include "raft/host_private.h"

#define TURN_TICKS 3u /* between one voter's stand and the next one's */

/* The node's turn among the voters but the leader, another one for each group, so that the groups
 * of a dead leader spread over the others; false: it has none. */
static bool turn_of(const struct group *group, uint64_t leader, size_t *out) {
    const struct bnd_raft_configuration *members = &group->status.configuration;
    size_t voters = 0;
    size_t self = SIZE_MAX;
    for (size_t i = 0; i < members->count; i++) {
        if (members->members[i].role == BND_RAFT_VOTER && members->members[i].node != leader) {
            self = members->members[i].node == group->host->config.node_id ? voters : self;
            voters++;
        }
    }
    if (self == SIZE_MAX) {
        return false;
    }
    *out = (self + (size_t)(group->gid % voters)) % voters;
    return true;
}

void leader_lost_tick(struct group *group) {
    struct bnd_raft_host *host = group->host;
    struct bnd_mesh *mesh = host->config.mesh;
    uint64_t leader = group->status.leader;
    bool lost = group->status.role == BND_CORE_FOLLOWER && leader != 0 &&
                leader != host->config.node_id && !mesh->ops->up(mesh, leader);
    size_t turn = 0;
    if (lost && !group->leader_lost && turn_of(group, leader, &turn)) {
        uint64_t ticks = turn * TURN_TICKS + bnd_random(host->config.env) % 2;
        bnd_core_leader_lost(group->core, leader, (uint32_t)(ticks * host->config.tick_ms));
    }
    group->leader_lost = lost;
}
