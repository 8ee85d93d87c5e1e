/* How a replica that is not wanted learns that it is no member any more (host.h: group_removed).
 *
 * Whoever is removed gets no more messages, not even the entry that removed it. So a replica whose
 * own wish leaves it out asks the wanted nodes, one after the other, now and then. The leader
 * answers by a linearizable read: as of a committed index we were no member. If no configuration in
 * our log is later than that (an earlier one that differs was never committed), we hold nothing that
 * anyone counts on: to be counted again we would have to be added by a later entry, and to have it.
 *
 * Failure modes: every loss is a later question. */
#include "raft/host_private.h"

#include "base/alloc.h"
#include "raft/export_chunk.h"

/* Every so many ticks a replica asks. */
#define ASK_TICKS 8u
#define ANSWER_NS_MAX (UINT64_C(3000) * BND_MS)

/* ---- the leader -------------------------------------------------------------------------------*/

struct serving {
    struct bnd_raft_read read;
    struct bnd_raft_host *host;
    struct bnd_rpc_request *request;
};

static void answer(struct bnd_raft_read *read, int status, const struct bnd_fsm_read *context) {
    struct serving *serving = read->data;
    struct bnd_rpc_request *request = serving->request;
    struct group *group =
        context == NULL ? NULL : group_running(serving->host, context->gid);
    int rv = status != 0 ? status : group == NULL ? BND_NOTFOUND : 0;
    BND_AUTO_BUF struct bnd_buf reply = {0};
    if (rv == 0) {
        group_refresh(group);
        const struct bnd_core_status *now = &group->status;
        const struct bnd_raft_configuration *members = &now->configuration;
        const struct export_member told = {
            .member = bnd_raft_configuration_find(members, request->from) < members->count,
            .as_of = now->commit,
        };
        export_member_encode(&told, &reply);
        rv = !now->configuration_committed ? BND_BUSY : reply.failed ? BND_NOMEM : 0;
    }
    struct bnd_slice bytes = bnd_buf_slice(&reply);
    bnd_rpc_reply(request, rv, &bytes, rv == 0 ? 1 : 0);
    bnd_free(serving);
}

void leave_serve(struct bnd_raft_host *host, struct bnd_rpc_request *request, uint64_t gid) {
    struct serving *serving = bnd_zalloc(sizeof *serving);
    int rv = BND_NOMEM;
    if (serving != NULL) {
        serving->host = host;
        serving->request = request;
        serving->read = (struct bnd_raft_read){.cb = answer, .data = serving};
        rv = bnd_raft_read(host, gid, &serving->read);
    }
    if (rv != 0) {
        bnd_free(serving);
        bnd_rpc_reply(request, rv, NULL, 0);
    }
}

/* ---- the replica ------------------------------------------------------------------------------*/

static bool may_be_removed(const struct group *group) {
    return group->phase == GROUP_RUNNING && !group->destroying && group->want.count > 0 &&
           group->host->config.group_removed != NULL &&
           group->status.role != BND_CORE_LEADER &&
           !member_wants(group, group->host->config.node_id);
}

static void on_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct group *group = call->data;
    struct export_member told;
    group->leave.asking = false;
    if (status != 0 || export_member_decode(reply, &told, NULL) != 0 || group->host->dead ||
        !may_be_removed(group)) {
        return;
    }
    if (!told.member) {
        group->leave.removed_index = told.as_of;
    }
}

/* Nothing newer has come since: at the last moment, by the log as it is now. */
static bool is_removed(struct group *group) {
    uint64_t index = group->leave.removed_index;
    group->leave.removed_index = 0;
    if (index == 0) {
        return false;
    }
    group_refresh(group);
    return index >= group->status.configuration_index;
}

static void ask(struct group *group) {
    struct group_leave *leave = &group->leave;
    struct bnd_raft_host *host = group->host;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    const struct export_request request = {.op = EXPORT_MEMBER, .gid = group->gid};
    export_request_encode(&request, &bytes);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    leave->call = (struct bnd_rpc_call){.cb = on_answer, .data = group};
    uint64_t to = group->want.nodes[leave->turn++ % group->want.count];
    leave->asking = !bytes.failed &&
                    bnd_rpc_call(host->config.rpc, &leave->call, to, BND_MESH_CONTROL,
                                 BND_RPC_EXPORT, &part, 1, ANSWER_NS_MAX) == 0;
}

void leave_tick(struct bnd_raft_host *host) {
    for (size_t i = 0; i < host->groups_count && !host->dead; i++) {
        struct group *group = host->groups[i];
        bool may = may_be_removed(group);
        if (may && is_removed(group)) {
            host->config.group_removed(host->config.owner, group->gid);
        } else if (may && !group->leave.asking && host->ticks % ASK_TICKS == 0) {
            ask(group);
        }
    }
}

void leave_forget(struct group *group) {
    if (group->leave.asking) {
        bnd_rpc_cancel(&group->leave.call);
    }
    group->leave = (struct group_leave){0};
}
