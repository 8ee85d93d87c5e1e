/* Requests that are executed on a group's leader (ADR 0101).
 *
 *     begin ──> waiting ──ready, in a pass──> running ──reply──────────> told
 *                  │                             │
 *                  └─ no leader: NOTLEADER       └─ no leader: UNKNOWN, told at once;
 *                                                   the executor's reply then only frees
 *
 * Invariants:
 *  1. Whoever asked is told once, or has forgotten the execution.
 *  2. The executor has an execution from its hook until its reply, whatever was told meanwhile.
 *  3. What was never given to the executor is never told UNKNOWN.
 *
 * Failure modes: an executor that never replies holds its place and its asker's time; one that
 * replies after the host's close uses freed memory, hence the assertion there. */
#include "raft/execute.h"

#include "base/alloc.h"
#include "raft/dedupe.h"
#include "raft/host_private.h"

/* A leader that is not ready for so long is not asked any more. */
#define WAITING_NS_MAX (UINT64_C(3000) * BND_MS)

struct execution {
    struct bnd_raft_execution given;
    struct bnd_link link; /* in its group's waiting or running; unlinked: nobody asks any more */
    struct bnd_raft_host *host;
    execute_cb told;
    void *data;
    uint64_t since_ns;
    uint64_t term; /* in which it runs */
    uint8_t body[];
};

static struct execution *execution_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct execution, link);
}

static void give_back(struct execution *execution) {
    struct bnd_raft_host *host = execution->host;
    host->executions.count--;
    host->executions.bytes -= execution->given.body.len;
    bnd_free(execution);
}

/* The host's list has the group while some wait. */
static void list_group(struct group *group) {
    struct bnd_link *link = &group->executions.host_link;
    bool waits = !bnd_list_empty(&group->executions.waiting);
    if (waits && !bnd_link_linked(link)) {
        bnd_list_push(&group->host->executions.groups, link);
    } else if (!waits && bnd_link_linked(link)) {
        bnd_link_remove(link);
    }
}

/* ---- in ---------------------------------------------------------------------------------------*/

static int admit(const struct bnd_raft_host *host, const struct group *group,
                 const struct execute_request *request) {
    if (group == NULL) {
        return BND_NOTFOUND;
    }
    if (request->body.len > BND_RAFT_EXECUTE_BODY_MAX) {
        return BND_TOOBIG;
    }
    if (host->config.execute == NULL) {
        return BND_UNSUPPORTED;
    }
    if (group->status.role != BND_CORE_LEADER) {
        return BND_NOTLEADER;
    }
    bool full = host->executions.count >= host->config.executions_max ||
                host->executions.bytes + request->body.len > host->config.executions_bytes_max;
    return full ? BND_FULL : 0;
}

int execute_begin(struct bnd_raft_host *host, const struct execute_request *request,
                  execute_cb told, void *data, struct execution **out) {
    if (host->dead || host->closing) {
        return BND_CANCELED;
    }
    struct group *group = group_running(host, request->gid);
    int rv = admit(host, group, request);
    if (rv != 0) {
        return rv;
    }
    struct execution *execution = bnd_zalloc(sizeof *execution + request->body.len);
    if (execution == NULL) {
        return BND_FULL;
    }
    if (request->body.len > 0) {
        memcpy(execution->body, request->body.data, request->body.len);
    }
    execution->given = (struct bnd_raft_execution){
        .gid = request->gid,
        .id = request->id,
        .low_seq = request->low_seq,
        .deadline_ms = request->deadline_ms,
        .body = bnd_slice(execution->body, request->body.len),
    };
    execution->host = host;
    execution->told = told;
    execution->data = data;
    execution->since_ns = bnd_now_ns(host->config.env);
    host->executions.count++;
    host->executions.bytes += request->body.len;
    bnd_list_push(&group->executions.waiting, &execution->link);
    list_group(group);
    *out = execution;
    host_wake(host);
    return 0;
}

void execute_forget(struct execution *execution) {
    execution->told = NULL;
    if (bnd_link_linked(&execution->link)) {
        bnd_link_remove(&execution->link);
    }
    if (execution->host == NULL) {
        bnd_free(execution); /* execute_drop left it */
    } else if (execution->term == 0) {
        list_group(group_find(execution->host, execution->given.gid));
        give_back(execution);
    }
}

/* ---- out --------------------------------------------------------------------------------------*/

static void tell(struct execution *execution, bool executed, int status, struct bnd_slice bytes) {
    execute_cb told = execution->told;
    execution->told = NULL;
    told(execution->data, executed, status, bytes);
}

/* Never given to the executor. */
static void refuse(struct execution *execution, int status) {
    bnd_link_remove(&execution->link);
    tell(execution, false, status, bnd_slice(NULL, 0));
    give_back(execution);
}

static void refuse_waiting(struct group *group, int status) {
    while (!bnd_list_empty(&group->executions.waiting)) {
        refuse(execution_at(group->executions.waiting.next), status);
    }
    list_group(group);
}

/* Those of other terms than this one: what they propose, or have proposed, only their ids tell. */
static void leave_running(struct group *group, uint64_t term) {
    struct bnd_link *link = group->executions.running.next;
    while (link != &group->executions.running) {
        struct execution *execution = execution_at(link);
        link = link->next;
        if (execution->term != term) {
            bnd_link_remove(&execution->link);
            tell(execution, false, BND_UNKNOWN, bnd_slice(NULL, 0));
        }
    }
}

void bnd_raft_execution_reply(struct bnd_raft_execution *given, bool executed, int status,
                              struct bnd_slice bytes) {
    struct execution *execution = BND_CONTAINER(given, struct execution, given);
    BND_ASSERT(execution->term != 0);
    BND_ASSERT(bytes.len <= BND_RAFT_EXECUTE_REPLY_MAX);
    BND_ASSERT(executed || status != 0);
    if (execution->told != NULL) {
        bnd_link_remove(&execution->link);
        if (!execution->host->dead) {
            tell(execution, executed, status, bytes);
        }
    }
    give_back(execution);
}

/* As dedupe_check decides; a look at the table changes nothing. */
int bnd_raft_outcome(const struct bnd_raft_host *host, uint64_t gid,
                     const struct bnd_raft_request_id *id, int *out_status,
                     struct bnd_slice *out_reply) {
    const struct group *group = group_running(host, gid);
    if (group == NULL) {
        return BND_NOTFOUND;
    }
    const struct dedupe_minter *minter = dedupe_table_minter(&group->ids, id->minter);
    const struct dedupe_record *first = dedupe_table_outcome(minter, id->seq);
    if (minter != NULL && id->seq < minter->low_seq) {
        return BND_EXPIRED;
    }
    if (first == NULL) {
        return BND_NOTFOUND;
    }
    *out_status = first->status;
    *out_reply = bnd_slice(first->reply, first->reply_len);
    return 0;
}

/* ---- the pass ---------------------------------------------------------------------------------*/

void execute_changed(struct group *group) {
    bool leads = group->status.role == BND_CORE_LEADER;
    if (!leads) {
        refuse_waiting(group, BND_NOTLEADER);
    }
    leave_running(group, leads ? group->status.term : 0);
}

void execute_cancel(struct group *group, int status) {
    refuse_waiting(group, status);
    leave_running(group, 0);
}

static void run_group(struct group *group) {
    struct bnd_raft_host *host = group->host;
    while (group->status.ready && group->written.index >= group->status.barrier_index &&
           group->yield_until_ns == 0 && !host->dead &&
           !bnd_list_empty(&group->executions.waiting)) {
        struct execution *execution = execution_at(group->executions.waiting.next);
        bnd_link_remove(&execution->link);
        bnd_list_push(&group->executions.running, &execution->link);
        execution->term = group->status.term;
        host->stats.executions++;
        host->config.execute(host->config.owner, &execution->given);
    }
    list_group(group);
}

/* Who is told at once may cancel what waits in any group. */
void execute_pass(struct bnd_raft_host *host) {
    struct bnd_link groups;
    struct bnd_link *link = NULL;
    bnd_list_take(&host->executions.groups, &groups);
    while ((link = bnd_list_pop(&groups)) != NULL) {
        run_group(BND_CONTAINER(link, struct group, executions.host_link));
    }
}

void execute_tick(struct bnd_raft_host *host) {
    uint64_t now = bnd_now_ns(host->config.env);
    struct bnd_link *at = host->executions.groups.next;
    while (at != &host->executions.groups && !host->dead) {
        struct group *group = BND_CONTAINER(at, struct group, executions.host_link);
        at = at->next;
        struct bnd_link *waiting = &group->executions.waiting;
        while (!bnd_list_empty(waiting) &&
               now - execution_at(waiting->next)->since_ns > WAITING_NS_MAX) {
            refuse(execution_at(waiting->next), BND_NOTLEADER);
        }
        list_group(group);
    }
}

void execute_drop(struct group *group) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&group->executions.waiting)) != NULL) {
        execution_at(link)->host = NULL; /* its asker's, until it forgets it */
    }
    while ((link = bnd_list_pop(&group->executions.running)) != NULL) {
        execution_at(link)->told = NULL;
    }
    list_group(group);
}
