/* Moving a group towards its wanted members (host.h: bnd_raft_group_want; ADR 0071).
 *
 * The wish is kept in memory with the group. The leader, once its term's barrier is committed (G7),
 * makes one change at a time as raft/member_plan.h says, whenever a change is committed and on every
 * tick; so a retry is a later tick, and nothing is queued. What stands in the way (a node that is
 * down, a promotion given up) is looked at again then.
 *
 * A leader that must leave hands over (host_yield), and the next leader removes it. If nothing came
 * of it, proposals go on for a while before it tries again. */
#include "raft/host_private.h"

#include "base/assert.h"
#include "raft/member_plan.h"

/* Entries that a standby may be behind when it is promoted: what is in flight. The core then waits
 * for the rest. */
#define CAUGHT_UP_ENTRIES (2 * FLYING_ENTRIES_MAX)
/* In election timeouts: an even number of voters is left again after so long, and a handing over
 * that led to nothing (it holds proposals for one of them) is tried again. */
#define IMPATIENT_ELECTIONS 10u
#define HAND_OVER_ELECTIONS 3u

static uint64_t elections_ns(const struct group *group, uint32_t count) {
    return (uint64_t)group->host->config.election_ms * count * BND_MS;
}

bool member_wants(const struct group *group, uint64_t node) {
    for (size_t i = 0; i < group->want.count; i++) {
        if (group->want.nodes[i] == node) {
            return true;
        }
    }
    return false;
}

static void hand_over(struct group *group) {
    uint64_t now = bnd_now_ns(group->host->config.env);
    if (group->yield_until_ns == 0 && now >= group->want.yield_after_ns) {
        group->want.yield_after_ns = now + elections_ns(group, HAND_OVER_ELECTIONS);
        host_yield(group, 0);
    }
}

bool member_caught_up(const struct group *group, size_t at) {
    const struct bnd_core_peer *peer = &group->status.peers[at];
    return !peer->installing && peer->match + CAUGHT_UP_ENTRIES >= group->status.last_index;
}

static void look(const struct group *group, struct member_view *out) {
    const struct bnd_core_status *status = &group->status;
    const struct group_want *want = &group->want;
    struct bnd_mesh *mesh = group->host->config.mesh;
    uint64_t self = group->host->config.node_id;
    *out = (struct member_view){
        .self = self,
        .configuration = &status->configuration,
        .wanted = want->nodes,
        .wanted_count = want->count,
    };
    for (size_t i = 0; i < status->configuration.count; i++) {
        out->heard[i] = status->peers[i].recent;
        out->caught_up[i] = member_caught_up(group, i);
    }
    for (size_t i = 0; i < want->count; i++) {
        out->up[i] = want->nodes[i] == self || mesh->ops->up(mesh, want->nodes[i]);
    }
}

/* An even number of voters is meant to be passed through, not to last. */
static bool impatient(struct group *group) {
    struct group_want *want = &group->want;
    uint64_t now = bnd_now_ns(group->host->config.env);
    if (bnd_raft_configuration_voters(&group->status.configuration) % 2 != 0) {
        want->even_since_ns = 0;
        return false;
    }
    if (want->even_since_ns == 0) {
        want->even_since_ns = now;
    }
    return now - want->even_since_ns >= elections_ns(group, IMPATIENT_ELECTIONS);
}

static void take_step(struct group *group, struct member_step step) {
    switch (step.action) {
    case MEMBER_REST:
        return;
    case MEMBER_HAND_OVER:
        hand_over(group);
        return;
    case MEMBER_ADD:
        (void)bnd_core_member_add(group->core, step.node);
        return;
    case MEMBER_STANDBY:
        (void)bnd_core_member_assign(group->core, step.node, BND_RAFT_STANDBY);
        return;
    case MEMBER_PROMOTE:
        (void)bnd_core_member_assign(group->core, step.node, BND_RAFT_VOTER);
        return;
    case MEMBER_REMOVE:
        (void)bnd_core_member_remove(group->core, step.node);
        return;
    }
}

/* Whatever refuses the step (another change, a lost leadership) is seen again at the next tick. */
void member_step(struct group *group) {
    const struct group_want *want = &group->want;
    if (group->phase != GROUP_RUNNING || group->destroying || want->count == 0 ||
        group->status.role != BND_CORE_LEADER || group->yield_until_ns != 0 ||
        member_as_wanted(&group->status.configuration, want->nodes, want->count)) {
        return;
    }
    group_refresh(group);
    const struct bnd_core_status *status = &group->status;
    if (!status->ready || status->changing || !status->configuration_committed) {
        return;
    }
    struct member_view view;
    look(group, &view);
    view.impatient = impatient(group);
    take_step(group, member_plan(&view));
}

void member_tick(struct bnd_raft_host *host) {
    for (size_t i = 0; i < host->groups_count && !host->dead; i++) {
        member_step(host->groups[i]);
    }
}

void bnd_raft_group_want(struct bnd_raft_host *host, uint64_t gid,
                         const struct bnd_raft_member *members, size_t count) {
    BND_ASSERT(count <= BND_RAFT_MEMBERS_MAX);
    if (host->dead || host->closing) {
        return;
    }
    struct group *group = group_find(host, gid);
    if (group == NULL && group_add(host, gid, &group) != 0) {
        struct bnd_error why;
        (void)BND_FAIL(&why, NOMEM, "no memory for the wanted members of a group");
        host_fatal(host, &why);
        return;
    }
    group->want.count = count;
    for (size_t i = 0; i < count; i++) {
        group->want.nodes[i] = members[i].node;
    }
    host_wake(host);
}
