/* Proposals until they have an outcome (architecture 5, "An outcome is never guessed").
 *
 * All proposals of a pass to a group share one entry, cut near entry_bytes_max. A batch waits in
 * `queue` until the group's leader here is ready, then flies under (index, term) until that index
 * is applied: the same term means executed, another term means certainly not. Losing leadership
 * decides nothing about what flies; it only ends what was never proposed. What a snapshot covers,
 * or what has no outcome for FLYING_NS_MAX, is BND_UNKNOWN.
 *
 * Bounds: proposals_bytes_max on the node, proposals_group_bytes_max and FLYING_ENTRIES_MAX per
 * group. */
#include "raft/host_private.h"

#include "base/alloc.h"
#include "raft/entry.h"

struct proposal {
    size_t bytes;
    struct outcome outcome;
};
_Static_assert(sizeof(struct proposal) <= sizeof((struct bnd_raft_propose){0}.priv),
               "what the host keeps with a proposal fits into it");

static struct proposal *proposal_of(struct bnd_raft_propose *propose) {
    return (struct proposal *)(void *)propose->priv;
}

static struct bnd_raft_propose *propose_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct bnd_raft_propose, link);
}

/* ---- batches ----------------------------------------------------------------------------------*/

static struct batch *batch_new(struct group *group) {
    struct batch *batch = bnd_zalloc(sizeof *batch);
    if (batch == NULL) {
        return NULL;
    }
    batch->group = group;
    batch->since_ns = bnd_now_ns(group->host->config.env);
    bnd_list_init(&batch->proposals);
    entry_begin(&batch->bytes);
    if (batch->bytes.failed) {
        bnd_free(batch);
        return NULL;
    }
    return batch;
}

static void batch_free(struct batch *batch) {
    BND_ASSERT(bnd_list_empty(&batch->proposals) && !bnd_link_linked(&batch->link));
    bnd_buf_free(&batch->bytes);
    bnd_free(batch);
}

void propose_outcome(struct bnd_raft_propose *propose, const struct outcome *outcome) {
    proposal_of(propose)->outcome = *outcome;
}

bool propose_executed(const struct bnd_raft_propose *propose) {
    return ((const struct proposal *)(const void *)propose->priv)->outcome.executed;
}

void propose_answer(struct batch *batch) {
    struct group *group = batch->group;
    struct bnd_raft_host *host = group->host;
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&batch->proposals)) != NULL) {
        struct bnd_raft_propose *propose = propose_at(link);
        const struct proposal *proposal = proposal_of(propose);
        group->proposals_bytes -= proposal->bytes;
        host->proposals_bytes -= proposal->bytes;
        struct bnd_slice reply = bnd_slice(NULL, 0);
        const struct outcome *outcome = &proposal->outcome;
        if (outcome->reply_len > 0) {
            reply = bnd_slice(host->apply.replies.data + outcome->reply_at, outcome->reply_len);
        }
        propose->cb(propose, outcome->status, reply);
    }
    batch_free(batch);
}

static void answer_all(struct batch *batch, int status) {
    for (struct bnd_link *link = batch->proposals.next; link != &batch->proposals;
         link = link->next) {
        const struct outcome refused = {.status = status};
        propose_outcome(propose_at(link), &refused);
    }
    propose_answer(batch);
}

static struct batch *first_batch(struct bnd_link *list) {
    return bnd_list_empty(list) ? NULL : BND_CONTAINER(list->next, struct batch, link);
}

static void land(struct batch *batch) {
    bnd_link_remove(&batch->link);
    batch->group->flying_count--;
}

static void queued(struct group *group) {
    if (!bnd_link_linked(&group->propose_link)) {
        bnd_list_push(&group->host->proposing, &group->propose_link);
    }
    host_wake(group->host);
}

/* ---- in ---------------------------------------------------------------------------------------*/

static int admit(const struct bnd_raft_host *host, const struct group *group,
                 const struct bnd_raft_propose *propose, size_t bytes) {
    if (group == NULL) {
        return BND_NOTFOUND;
    }
    if (propose->command.len > BND_RAFT_COMMAND_MAX) {
        return BND_TOOBIG;
    }
    if (propose->id.minter == 0 || propose->id.seq == 0 || propose->low_seq > propose->id.seq) {
        return BND_INVALID;
    }
    if (group->status.role != BND_CORE_LEADER) {
        return BND_NOTLEADER;
    }
    if (host_congested(host)) {
        return BND_BUSY;
    }
    if (host->proposals_bytes + bytes > host->config.proposals_bytes_max ||
        group->proposals_bytes + bytes > host->config.proposals_group_bytes_max) {
        return BND_FULL;
    }
    return space_admit(group, propose->command);
}

/* The batch that takes `bytes` more: the last one queued, or a new one. */
static struct batch *batch_for(struct group *group, size_t bytes) {
    if (!bnd_list_empty(&group->queue)) {
        struct batch *last = BND_CONTAINER(group->queue.prev, struct batch, link);
        if (last->bytes.len + bytes <= group->host->config.entry_bytes_max) {
            return last;
        }
    }
    struct batch *batch = batch_new(group);
    if (batch != NULL) {
        bnd_list_push(&group->queue, &batch->link);
        queued(group);
    }
    return batch;
}

int bnd_raft_propose(struct bnd_raft_host *host, uint64_t gid, struct bnd_raft_propose *propose) {
    if (host->dead || host->closing) {
        return BND_CANCELED;
    }
    size_t bytes = ENTRY_OPERATION_BYTES + propose->command.len;
    struct group *group = group_running(host, gid);
    int rv = admit(host, group, propose, bytes);
    if (rv != 0) {
        return rv;
    }
    struct batch *batch = batch_for(group, bytes);
    if (batch == NULL) {
        return BND_FULL;
    }
    const struct entry_operation operation = {
        .id = propose->id,
        .low_seq = propose->low_seq,
        .deadline_ms = propose->deadline_ms,
        .command = propose->command,
    };
    entry_append(&batch->bytes, &operation);
    if (batch->bytes.failed) {
        batch->bytes.failed = false; /* nothing was appended: the others of the batch are whole */
        if (batch->count == 0) {
            bnd_link_remove(&batch->link);
            batch_free(batch);
        }
        return BND_FULL;
    }
    batch->count++;
    *proposal_of(propose) = (struct proposal){.bytes = bytes};
    propose->link = (struct bnd_link){0};
    bnd_list_push(&batch->proposals, &propose->link);
    group->proposals_bytes += bytes;
    host->proposals_bytes += bytes;
    host->stats.proposals++;
    return 0;
}

/* ---- the pass ---------------------------------------------------------------------------------*/

/* By index: what an earlier leadership of ours proposed may lie above a log cut since. */
static void fly(struct group *group, struct batch *batch) {
    struct bnd_link *before = &group->flying;
    while (before->prev != &group->flying &&
           BND_CONTAINER(before->prev, struct batch, link)->index > batch->index) {
        before = before->prev;
    }
    bnd_list_push(before, &batch->link);
    group->flying_count++;
}

/* Proposes one batch. BND_NOTLEADER: certainly not proposed. */
static int launch(struct group *group, struct batch *batch) {
    uint64_t stamp = bnd_wall_ms(group->host->config.env);
    stamp = stamp > group->stamp_ms ? stamp : group->stamp_ms;
    entry_seal(&batch->bytes, stamp, batch->count);
    int rv =
        bnd_core_propose(group->core, bnd_buf_slice(&batch->bytes), &batch->index, &batch->term);
    if (rv == 0) {
        group->stamp_ms = stamp;
        bnd_link_remove(&batch->link);
        fly(group, batch);
    }
    return rv;
}

static void propose_group(struct group *group) {
    struct batch *batch = NULL;
    while (group->status.ready && group->yield_until_ns == 0 &&
           group->flying_count < FLYING_ENTRIES_MAX && !group->host->dead &&
           (batch = first_batch(&group->queue)) != NULL) {
        if (launch(group, batch) != 0) {
            break; /* no longer the leader: `changed` follows and answers; or fatal */
        }
    }
    if (bnd_list_empty(&group->queue)) {
        bnd_link_remove(&group->propose_link);
    }
}

void propose_stamp(struct group *group) {
    if (!group->status.ready || group->yield_until_ns != 0 || group->flying_count > 0 ||
        !bnd_list_empty(&group->queue) || host_congested(group->host)) {
        return;
    }
    struct batch *batch = batch_new(group);
    if (batch != NULL) {
        bnd_list_push(&group->queue, &batch->link);
        queued(group);
    }
}

void propose_pass(struct bnd_raft_host *host) {
    struct bnd_link *link = host->proposing.next;
    while (link != &host->proposing && !host->dead) {
        struct group *group = BND_CONTAINER(link, struct group, propose_link);
        link = link->next;
        propose_group(group);
    }
}

/* ---- outcomes ---------------------------------------------------------------------------------*/

void propose_changed(struct group *group) {
    if (group->status.role == BND_CORE_LEADER) {
        return;
    }
    struct batch *batch = NULL;
    while ((batch = first_batch(&group->queue)) != NULL) {
        bnd_link_remove(&batch->link);
        answer_all(batch, BND_NOTLEADER);
    }
}

void propose_again(struct batch *batch) {
    struct group *group = batch->group;
    if (group->status.role != BND_CORE_LEADER) {
        answer_all(batch, BND_NOTLEADER);
        return;
    }
    batch->index = 0;
    batch->term = 0;
    bnd_list_push(group->queue.next, &batch->link); /* before all others: it is older */
    queued(group);
}

void propose_covered(struct group *group, uint64_t index) {
    struct batch *batch = NULL;
    while ((batch = first_batch(&group->flying)) != NULL && batch->index <= index) {
        land(batch);
        answer_all(batch, BND_UNKNOWN);
    }
}

void propose_cancel(struct group *group, int status) {
    struct batch *batch = NULL;
    while ((batch = first_batch(&group->queue)) != NULL) {
        bnd_link_remove(&batch->link);
        answer_all(batch, status);
    }
    propose_covered(group, UINT64_MAX);
}

static void answer_overdue(struct bnd_link *list, uint64_t before_ns, int status) {
    struct bnd_link *link = list->next;
    while (link != list) {
        struct batch *batch = BND_CONTAINER(link, struct batch, link);
        link = link->next;
        if (batch->since_ns < before_ns) {
            if (batch->index != 0) {
                land(batch);
            } else {
                bnd_link_remove(&batch->link);
            }
            answer_all(batch, status);
        }
    }
}

void propose_tick(struct bnd_raft_host *host) {
    uint64_t now = bnd_now_ns(host->config.env);
    uint64_t before = now > FLYING_NS_MAX ? now - FLYING_NS_MAX : 0;
    for (size_t i = 0; i < host->groups_count && !host->dead; i++) {
        answer_overdue(&host->groups[i]->flying, before, BND_UNKNOWN);
        answer_overdue(&host->groups[i]->queue, before, BND_NOTLEADER);
    }
}

void propose_drop(struct group *group) {
    struct bnd_link *lists[] = {&group->queue, &group->flying};
    for (size_t i = 0; i < 2; i++) {
        struct batch *batch = NULL;
        while ((batch = first_batch(lists[i])) != NULL) {
            bnd_link_remove(&batch->link);
            while (bnd_list_pop(&batch->proposals) != NULL) {
            }
            batch_free(batch);
        }
    }
    group->flying_count = 0;
}
