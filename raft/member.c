/* Moving a group towards its wanted members (host.h: bnd_raft_group_want; ADR 0071).
 *
 * The wish is kept in memory with the group. The leader, once its term's barrier is committed (G7),
 * makes one change at a time as raft/member_plan.h says, whenever a change is committed and on
 * every tick; so a retry is a later tick, and nothing is queued. What stands in the way (a node
 * that is down, a promotion given up) is looked at again then.
 *
 * Exchanging members moves data: only so many groups have their turn at a time (moves_max), in
 * order of their ids. A turn ends when the group is as wanted, with the leadership, or when nothing
 * comes of it for a while; others go first then. A group that lacks voters does not wait for a
 * turn, nor does the system's, on which every other waits.
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
/* Who is gone has fallen silent so long after the wish that leaves him out. */
#define SETTLED_ELECTIONS 2u
/* So long may a turn pass without any progress, and so long the group then stands back. */
#define TURN_ELECTIONS 30u

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

static bool holds_all(const struct group *group, uint64_t node) {
    const struct bnd_raft_host_config *config = &group->host->config;
    return config->holds_all == NULL || config->holds_all(config->owner, group->gid, node);
}

/* What a wanted standby lacks beside the log would count as lost with the others' copies. */
static bool may_vote(const struct group *group, size_t at) {
    const struct bnd_raft_member *member = &group->status.configuration.members[at];
    if (member->role != BND_RAFT_STANDBY || !member_wants(group, member->node)) {
        return true;
    }
    return group->status.peers[at].recent && holds_all(group, member->node);
}

/* A voter that is up is taken away only when the others do without its copies; one that is down has
 * none to give. */
static bool may_go(const struct group *group, uint64_t node) {
    const struct bnd_raft_configuration *configuration = &group->status.configuration;
    struct bnd_mesh *mesh = group->host->config.mesh;
    size_t at = bnd_raft_configuration_find(configuration, node);
    bool may = true;
    if (configuration->members[at].role != BND_RAFT_VOTER || !mesh->ops->up(mesh, node)) {
        return true;
    }
    for (size_t i = 0; i < configuration->count; i++) { /* all are asked at once */
        const struct bnd_raft_member *member = &configuration->members[i];
        if (i != at && member->role == BND_RAFT_VOTER && member_wants(group, member->node)) {
            may = holds_all(group, member->node) && may;
        }
    }
    return may;
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
        .settled = bnd_now_ns(group->host->config.env) - want->changed_ns >=
                   elections_ns(group, SETTLED_ELECTIONS),
    };
    for (size_t i = 0; i < status->configuration.count; i++) {
        out->heard[i] = status->peers[i].recent;
        out->caught_up[i] = member_caught_up(group, i) && may_vote(group, i);
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
        if (may_go(group, step.node)) {
            (void)bnd_core_member_remove(group->core, step.node);
        }
        return;
    }
}

/* ---- turns ------------------------------------------------------------------------------------*/

static void end_turn(struct group *group) {
    group->host->moving -= group->want.moving;
    group->want.moving = false;
}

void member_forget(struct group *group) {
    end_turn(group);
    group->want.moved_ns = 0;
}

/* Rises with every change of members, and with every entry that a member to be has got. */
static uint64_t progress(const struct group *group) {
    const struct bnd_core_status *status = &group->status;
    uint64_t mark = status->configuration_index;
    for (size_t i = 0; i < status->configuration.count; i++) {
        const struct bnd_raft_member *member = &status->configuration.members[i];
        if (member->role != BND_RAFT_VOTER && member_wants(group, member->node)) {
            mark += status->peers[i].match + !status->peers[i].installing;
        }
    }
    return mark;
}

static bool lacks_voters(const struct group *group) {
    return bnd_raft_configuration_voters(&group->status.configuration) <
           member_target(group->want.count);
}

/* A state on its way is progress that shows only at its end. */
static bool is_served(const struct group *group) {
    return group->exports > 0;
}

/* Is it this group's turn, or may it begin one? */
static bool has_turn(struct group *group) {
    struct bnd_raft_host *host = group->host;
    struct group_want *want = &group->want;
    uint64_t now = bnd_now_ns(host->config.env);
    uint64_t mark = progress(group);
    if (group->gid == 0 || lacks_voters(group)) {
        return true;
    }
    if (want->moving) {
        if (mark != want->moved_mark || is_served(group)) {
            want->moved_mark = mark;
            want->moved_ns = now;
        } else if (now - want->moved_ns > elections_ns(group, TURN_ELECTIONS)) {
            end_turn(group);
            want->moved_ns = now;
        }
        return want->moving;
    }
    bool stands_back =
        want->moved_ns != 0 && now - want->moved_ns < elections_ns(group, TURN_ELECTIONS);
    if (host->moving >= host->config.moves_max || stands_back) {
        return false;
    }
    want->moving = true;
    want->moved_mark = mark;
    want->moved_ns = now;
    host->moving++;
    return true;
}

/* ---- steps ------------------------------------------------------------------------------------*/

static bool may_step(const struct group *group) {
    return group->phase == GROUP_RUNNING && !group->destroying && group->want.count > 0 &&
           group->status.role == BND_CORE_LEADER && group->yield_until_ns == 0;
}

/* Whatever refuses the step (another change, a lost leadership) is seen again at the next tick. */
void member_step(struct group *group) {
    const struct group_want *want = &group->want;
    if (!may_step(group) ||
        member_as_wanted(&group->status.configuration, want->nodes, want->count)) {
        if (want->moving && group->yield_until_ns == 0) {
            end_turn(group);
            group->want.moved_ns = 0;
        }
        return;
    }
    group_refresh(group);
    const struct bnd_core_status *status = &group->status;
    if (!status->ready || status->changing || !status->configuration_committed) {
        return;
    }
    if (!has_turn(group)) {
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
    struct group_want *want = &group->want;
    bool same = want->count == count;
    for (size_t i = 0; i < count; i++) {
        same = same && want->nodes[i] == members[i].node;
        want->nodes[i] = members[i].node;
    }
    want->count = count;
    if (!same) {
        want->changed_ns = bnd_now_ns(host->config.env);
    }
    host_wake(host);
}
