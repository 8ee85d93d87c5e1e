/* Handing leaderships over: why, to whom, and how (host.h: bnd_raft_group_prefer,
 * bnd_raft_host_retire; ADR 0073).
 *
 * How: the host stops proposals of the group, waits until the successor has the whole log durably,
 * and sends TimeoutNow itself, never through raft_transfer (reference: raft.md, B10 to B12). What
 * becomes of it shows as a changed leader, or not: after one election timeout proposals go on.
 *
 * Why: a member that must leave (member.c), a clean stop (retiring), or a preferred leader. The
 * last is put off while anything in the group is still on its way, is made only after that voter
 * has said that it will lead, waits longer after each time it led to nothing, and moves only a few
 * groups at once.
 *
 * Failure modes: a lost TimeoutNow costs the group one election timeout without writes; a successor
 * that dies right then costs what any leader's death costs. */
#include "raft/host_private.h"

#include "base/assert.h"
#include "raft/clock.h"
#include "raft/export_chunk.h"
#include "raft/member_plan.h"

/* Of balancing, on this node, at once. */
#define BALANCE_AT_ONCE 4u
/* In election timeouts: so long the preferred voter must have been fit, and so long lies between
 * two questions to it; and so long a group is left in peace after an attempt, doubled up to
 * CALM_DOUBLINGS times while attempts follow each other. Who is not named waits for neither. */
#define BALANCE_FIT_ELECTIONS 3u
#define BALANCE_CALM_ELECTIONS 10u
#define BALANCE_CALM_DOUBLINGS 5u
/* In election timeouts: a stop waits so long for its leaderships to go. */
#define RETIRE_ELECTIONS 2u
#define ANSWER_NS_MAX (UINT64_C(1000) * BND_MS)

static uint64_t elections_ns(const struct bnd_raft_host *host, uint64_t count) {
    return host->config.election_ms * count * BND_MS;
}

static bool mesh_up(const struct bnd_raft_host *host, uint64_t node) {
    return host->config.mesh->ops->up(host->config.mesh, node);
}

/* ---- how --------------------------------------------------------------------------------------*/

/* Of two voters that may follow: one that was asked for, then a wanted one, then one with room on
 * its disk, then one whose clock is right. */
static unsigned rank_of(const struct group *group, uint64_t node) {
    return 8u * (node == group->yield_to) + 4u * member_wants(group, node) +
           2u * (bnd_raft_node_space(group->host, node) == BND_RAFT_SPACE_OK) +
           clock_fit(group, node);
}

uint64_t host_successor(const struct group *group) {
    const struct bnd_core_status *status = &group->status;
    uint64_t best = 0;
    uint64_t best_match = 0;
    unsigned best_rank = 0;
    for (size_t i = 0; i < status->configuration.count; i++) {
        const struct bnd_raft_member *member = &status->configuration.members[i];
        uint64_t match = status->peers[i].match;
        if (member->role != BND_RAFT_VOTER || member->node == group->host->config.node_id ||
            !status->peers[i].recent) {
            continue;
        }
        unsigned rank = rank_of(group, member->node);
        if (rank > best_rank || (rank == best_rank && match >= best_match)) {
            best = member->node;
            best_match = match;
            best_rank = rank;
        }
    }
    return best;
}

void host_yield(struct group *group, uint64_t to) {
    struct bnd_raft_host *host = group->host;
    if (group->yield_until_ns == 0) {
        group->yield_until_ns = bnd_now_ns(host->config.env) + elections_ns(host, 1);
        group->yield_asked = false;
        group->yield_to = to;
        host->yielding++;
        host_wake(host);
    }
}

static void yield_step(struct group *group, uint64_t now) {
    struct bnd_raft_host *host = group->host;
    group_refresh(group);
    if (group->status.role != BND_CORE_LEADER || now >= group->yield_until_ns) {
        group->yield_until_ns = 0;
        group->yield_to = 0;
        host->yielding--;
        host_wake(host);
    } else if (!group->yield_asked) {
        uint64_t next = host_successor(group);
        group->yield_asked = next != 0 && bnd_core_transfer(group->core, next) == 0;
    }
}

/* ---- a clean stop -----------------------------------------------------------------------------*/

static bool leads(const struct group *group) {
    return group->phase == GROUP_RUNNING && !group->destroying &&
           group->status.role == BND_CORE_LEADER;
}

/* Is there anybody who could lead instead? By connection: who was heard from is forgotten once per
 * election timeout. */
static bool has_heirs(const struct group *group) {
    const struct bnd_raft_configuration *configuration = &group->status.configuration;
    for (size_t i = 0; i < configuration->count; i++) {
        const struct bnd_raft_member *member = &configuration->members[i];
        if (member->role == BND_RAFT_VOTER && member->node != group->host->config.node_id &&
            mesh_up(group->host, member->node)) {
            return true;
        }
    }
    return false;
}

static void retire_pass(struct bnd_raft_host *host, uint64_t now) {
    if (host->retired == NULL) {
        return;
    }
    bool left = false;
    for (size_t i = 0; i < host->groups_count && now < host->retire_until_ns; i++) {
        struct group *group = host->groups[i];
        if (leads(group) && has_heirs(group)) {
            left = true;
            host_yield(group, 0);
        }
    }
    if (!left) {
        void (*retired)(void *data) = host->retired;
        host->retired = NULL;
        retired(host->retired_data);
    }
}

void bnd_raft_host_retire(struct bnd_raft_host *host, void (*retired)(void *data), void *data) {
    host->retiring = true;
    host->retired = retired;
    host->retired_data = data;
    host->retire_until_ns = bnd_now_ns(host->config.env) + elections_ns(host, RETIRE_ELECTIONS);
    host_wake(host);
}

void bnd_raft_step_down_all(struct bnd_raft_host *host) {
    for (size_t i = 0; i < host->groups_count && !host->dead && !host->closing; i++) {
        if (leads(host->groups[i])) {
            host_yield(host->groups[i], 0);
        }
    }
}

/* ---- preferred leaders ------------------------------------------------------------------------*/

static size_t preference(const struct group *group, uint64_t node) {
    size_t at = 0;
    while (at < group->balance.count && group->balance.order[at] != node) {
        at++;
    }
    return at;
}

/* A voter that is connected, has nearly all of the log, room on its disk, and a good clock. */
static bool is_fit(const struct group *group, size_t at) {
    const struct bnd_raft_member *member = &group->status.configuration.members[at];
    return member->role == BND_RAFT_VOTER && mesh_up(group->host, member->node) &&
           member_caught_up(group, at) && clock_fit(group, member->node) &&
           bnd_raft_node_space(group->host, member->node) == BND_RAFT_SPACE_OK;
}

/* Nothing is on its way that a new leader would have to begin anew. */
static bool quiet(const struct group *group) {
    const struct bnd_core_status *status = &group->status;
    const struct group_want *want = &group->want;
    for (size_t i = 0; i < status->configuration.count; i++) {
        if (mesh_up(group->host, status->configuration.members[i].node) &&
            !member_caught_up(group, i)) {
            return false;
        }
    }
    return status->ready && !status->changing && status->configuration_committed &&
           (want->count == 0 || member_as_wanted(&status->configuration, want->nodes, want->count));
}

/* The voter that should lead instead of this node: the most preferred one that is fit; 0: none. */
static uint64_t better_leader(const struct group *group) {
    const struct bnd_raft_configuration *configuration = &group->status.configuration;
    uint64_t self = group->host->config.node_id;
    uint64_t best = self;
    for (size_t i = 0; i < configuration->count; i++) {
        uint64_t node = configuration->members[i].node;
        if (node != self && preference(group, node) < preference(group, best) && is_fit(group, i)) {
            best = node;
        }
    }
    return best == self ? 0 : best;
}

static bool is_unnamed(const struct group *group) {
    return preference(group, group->host->config.node_id) == group->balance.count;
}

/* Whom to hand over to by the group's newest picture; 0: nobody, or not now. */
static uint64_t balance_to(struct group *group) {
    group_refresh(group);
    bool can = leads(group) && group->yield_until_ns == 0 && !group->host->retiring;
    return can && (is_unnamed(group) || quiet(group)) ? better_leader(group) : 0;
}

/* Notes an attempt, and how long the group is left in peace after it. */
static void calm_down(struct group_balance *balance, const struct bnd_raft_host *host,
                      uint64_t now) {
    uint64_t calm_for_ns = balance->calm_ns - balance->at_ns;
    bool again = balance->calm_ns != 0 && now < balance->calm_ns + calm_for_ns;
    if (!again) {
        balance->attempts = 0;
    } else if (balance->attempts < BALANCE_CALM_DOUBLINGS) {
        balance->attempts++;
    }
    balance->at_ns = now;
    balance->calm_ns = now + (elections_ns(host, BALANCE_CALM_ELECTIONS) << balance->attempts);
}

static void on_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct group *group = call->data;
    struct bnd_raft_host *host = group->host;
    (void)reply;
    group->balance.asking = false;
    host->asking--;
    if (host->dead || host->closing || status != 0 || balance_to(group) != group->balance.to ||
        group->balance.to == 0) {
        return;
    }
    calm_down(&group->balance, host, bnd_now_ns(host->config.env));
    host->stats.handovers++;
    bnd_log(host->config.env, BND_LOG_DEBUG, "raft", "group %llu: node %llu is to lead",
            (unsigned long long)group->gid, (unsigned long long)group->balance.to);
    host_yield(group, group->balance.to);
}

static void ask(struct group *group) {
    struct group_balance *balance = &group->balance;
    struct bnd_raft_host *host = group->host;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    const struct export_request request = {.op = EXPORT_LEAD, .gid = group->gid};
    export_request_encode(&request, &bytes);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    balance->call = (struct bnd_rpc_call){.cb = on_answer, .data = group};
    balance->asking = !bytes.failed &&
                      bnd_rpc_call(host->config.rpc, &balance->call, balance->to, BND_MESH_CONTROL,
                                   BND_RPC_EXPORT, &part, 1, ANSWER_NS_MAX) == 0;
    host->asking += balance->asking;
}

int handover_serve(struct bnd_raft_host *host, uint64_t gid) {
    const struct group *group = group_running(host, gid);
    if (group == NULL) {
        return BND_NOTFOUND;
    }
    bool unnamed = group->balance.count > 0 && is_unnamed(group);
    bool unfit = host->stats.clock_off || host->space != BND_RAFT_SPACE_OK;
    return host->retiring || unnamed || unfit || group->import != NULL ? BND_UNAVAILABLE : 0;
}

static void balance_group(struct group *group, uint64_t now) {
    struct bnd_raft_host *host = group->host;
    struct group_balance *balance = &group->balance;
    uint64_t to = balance_to(group);
    if (to != balance->to) {
        balance->to = to;
        balance->fit_ns = now;
    }
    if (to == 0 || balance->asking || now < balance->ask_ns ||
        host->yielding + host->asking >= BALANCE_AT_ONCE) {
        return;
    }
    if (!is_unnamed(group) && (now < balance->calm_ns ||
                               now - balance->fit_ns < elections_ns(host, BALANCE_FIT_ELECTIONS))) {
        return;
    }
    balance->ask_ns = now + elections_ns(host, BALANCE_FIT_ELECTIONS);
    ask(group);
}

void handover_forget(struct group *group) {
    if (group->balance.asking) {
        bnd_rpc_cancel(&group->balance.call);
        group->balance.asking = false;
        group->host->asking--;
    }
}

void handover_tick(struct bnd_raft_host *host) {
    uint64_t now = bnd_now_ns(host->config.env);
    for (size_t i = 0; !host->retiring && i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        if (leads(group) && group->balance.count > 0) {
            balance_group(group, now);
        } else {
            group->balance.to = 0;
        }
    }
}

void handover_pass(struct bnd_raft_host *host) {
    uint64_t now = bnd_now_ns(host->config.env);
    retire_pass(host, now);
    for (size_t i = 0; host->yielding > 0 && i < host->groups_count; i++) {
        if (host->groups[i]->yield_until_ns != 0) {
            yield_step(host->groups[i], now);
        }
    }
}

void bnd_raft_group_prefer(struct bnd_raft_host *host, uint64_t gid, const uint64_t *nodes,
                           size_t count) {
    BND_ASSERT(count <= BND_RAFT_MEMBERS_MAX);
    struct group *group = group_find(host, gid);
    if (group != NULL) {
        if (count > 0) {
            memcpy(group->balance.order, nodes, count * sizeof *nodes);
        }
        group->balance.count = count;
    }
}
