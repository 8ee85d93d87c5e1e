/* What is taken when disks are nearly full (host.h: bnd_raft_host_space; ADR 0076).
 *
 * Every answer to an AppendEntries tells its leader of the sender's disk. A leader proposes a
 * command that makes the state grow only if a majority of the voters, connected ones, has room for
 * it; any other command, if a majority takes entries at all. A leader without room while such a
 * majority is there answers BND_BUSY and hands over.
 *
 * What is known of others is forgotten after a while: a node that tells nothing is down or answers
 * another leader, and counts as roomy once it is connected again. Its journal does not depend on
 * it: a follower without any room drops entries by itself. */
#include "raft/host_private.h"

#include "base/assert.h"

#define TIGHT_NS_MAX (UINT64_C(5000) * BND_MS)
/* In election timeouts: between two attempts to hand a group over. */
#define RETRY_ELECTIONS 2u

static bool is_fresh(const struct bnd_raft_host *host, const struct tight_node *tight) {
    return bnd_now_ns(host->config.env) - tight->heard_ns <= TIGHT_NS_MAX;
}

static size_t tight_at(const struct bnd_raft_host *host, uint64_t node) {
    size_t at = 0;
    while (at < host->tight_count && host->tight[at].node != node) {
        at++;
    }
    return at;
}

static void forget_stale(struct bnd_raft_host *host) {
    for (size_t i = host->tight_count; i > 0; i--) {
        if (!is_fresh(host, &host->tight[i - 1])) {
            host->tight[i - 1] = host->tight[--host->tight_count];
        }
    }
}

void space_heard(struct bnd_raft_host *host, uint64_t node, uint8_t space) {
    BND_ASSERT(space <= BND_RAFT_SPACE_NONE); /* the decoder's word */
    if (space == BND_RAFT_SPACE_OK && host->tight_count == 0) {
        return;
    }
    size_t at = tight_at(host, node);
    if (space == BND_RAFT_SPACE_OK) {
        if (at < host->tight_count) {
            host->tight[at] = host->tight[--host->tight_count];
        }
        return;
    }
    if (at == TIGHT_NODES_MAX) {
        return;
    }
    host->tight_count += at == host->tight_count;
    host->tight[at] = (struct tight_node){.node = node,
                                          .space = (enum bnd_raft_space)space,
                                          .heard_ns = bnd_now_ns(host->config.env)};
}

enum bnd_raft_space bnd_raft_node_space(const struct bnd_raft_host *host, uint64_t node) {
    if (node == host->config.node_id) {
        return host->space;
    }
    size_t at = tight_at(host, node);
    return at < host->tight_count && is_fresh(host, &host->tight[at]) ? host->tight[at].space
                                                                      : BND_RAFT_SPACE_OK;
}

void bnd_raft_host_space(struct bnd_raft_host *host, enum bnd_raft_space space) {
    host->space = space;
}

/* Voters that are here and whose disk is at most so full, beside their number. */
static size_t able(const struct group *group, enum bnd_raft_space most, size_t *out_voters) {
    const struct bnd_raft_configuration *members = &group->status.configuration;
    struct bnd_raft_host *host = group->host;
    struct bnd_mesh *mesh = host->config.mesh;
    size_t count = 0;
    *out_voters = 0;
    for (size_t i = 0; i < members->count; i++) {
        uint64_t node = members->members[i].node;
        if (members->members[i].role == BND_RAFT_VOTER) {
            bool here = node == host->config.node_id || mesh->ops->up(mesh, node);
            (*out_voters)++;
            count += here && bnd_raft_node_space(host, node) <= most;
        }
    }
    return count;
}

int space_admit(const struct group *group, struct bnd_slice command) {
    const struct bnd_raft_host *host = group->host;
    if (host->space == BND_RAFT_SPACE_OK && host->tight_count == 0) {
        return 0;
    }
    const struct bnd_fsm_ops *ops = group->fsm.ops;
    bool grows = ops->grows != NULL && ops->grows(group->fsm.self, command);
    enum bnd_raft_space most = grows ? BND_RAFT_SPACE_OK : BND_RAFT_SPACE_LOW;
    size_t voters = 0;
    size_t count = able(group, most, &voters);
    if (count > voters / 2) {
        return host->space <= most ? 0 : BND_BUSY;
    }
    /* Too few: full disks, or too few nodes to decide anything. */
    return able(group, BND_RAFT_SPACE_NONE, &voters) > voters / 2 ? BND_NOSPACE : 0;
}

static void hand_over(struct group *group, uint64_t now) {
    struct bnd_raft_host *host = group->host;
    group_refresh(group);
    if (group->status.role != BND_CORE_LEADER || group->yield_until_ns != 0 ||
        now < group->space_after_ns) {
        return;
    }
    uint64_t next = host_successor(group);
    if (next != 0 && bnd_raft_node_space(host, next) == BND_RAFT_SPACE_OK) {
        group->space_after_ns = now + (uint64_t)host->config.election_ms * RETRY_ELECTIONS * BND_MS;
        host_yield(group, next);
    }
}

void space_tick(struct bnd_raft_host *host) {
    forget_stale(host);
    uint64_t now = bnd_now_ns(host->config.env);
    for (size_t i = 0; host->space != BND_RAFT_SPACE_OK && i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        if (group->phase == GROUP_RUNNING && !group->destroying) {
            hand_over(group, now);
        }
    }
}
