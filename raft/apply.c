/* Committed entries into the state: all of a pass, of all groups, in one batch (architecture 4).
 *
 * The cores only queue. Entries are applied once the previous batch is written, over an indexed
 * batch, so that every decision sees every earlier entry on every replica alike; answers and reads
 * wait for "written". Every batch stores the tuple of each group it touches.
 *
 * The store may ask to wait (BND_BUSY): then the batch is kept as it is and tried again by a timer,
 * nothing more is applied, proposals are refused and AppendEntries dropped (host_congested), so
 * that what waits stays bounded.
 *
 * Failure modes: an entry that cannot be read, or a store that fails, stops the node; skipping
 * would let this replica drift from the others. */
#include "raft/host_private.h"

#include "raft/clock.h"
#include "raft/dedupe.h"
#include "raft/entry.h"

#define BACKLOG_HEADER_BYTES 21

/* ---- the backlog ------------------------------------------------------------------------------*/

void apply_queue(struct group *group, const struct bnd_journal_entry *entry) {
    struct bnd_raft_host *host = group->host;
    struct bnd_buf *bytes = &group->backlog.bytes;
    bnd_buf_u64(bytes, entry->index);
    bnd_buf_u64(bytes, entry->term);
    bnd_buf_u8(bytes, entry->kind);
    bnd_buf_bytes(bytes, entry->data);
    if (bytes->failed) {
        host_fatal_group(group, BND_NOMEM, "no memory for committed entries");
        return;
    }
    if (!bnd_link_linked(&group->apply_link)) {
        bnd_list_push(&host->apply.waiting, &group->apply_link);
    }
    host_wake(host);
}

static bool backlog_empty(const struct group *group) {
    return group->backlog.at == group->backlog.bytes.len;
}

static void backlog_next(struct group *group, struct bnd_journal_entry *out) {
    struct group_backlog *backlog = &group->backlog;
    struct bnd_slice all = bnd_buf_slice(&backlog->bytes);
    struct bnd_reader r = bnd_reader(bnd_slice(all.data + backlog->at, all.len - backlog->at));
    out->index = bnd_read_u64(&r);
    out->term = bnd_read_u64(&r);
    out->kind = bnd_read_u8(&r);
    out->data = bnd_read_bytes(&r);
    BND_ASSERT(!r.failed);
    backlog->at += BACKLOG_HEADER_BYTES + out->data.len;
}

/* Gives back the room of what was applied; nothing may still point into it. */
static void backlog_trim(struct group *group) {
    struct group_backlog *backlog = &group->backlog;
    size_t left = backlog->bytes.len - backlog->at;
    if (left == 0 && backlog->bytes.cap > APPLY_PASS_BYTES_MAX) {
        bnd_buf_free(&backlog->bytes);
    } else if (backlog->at >= left) {
        memmove(backlog->bytes.data, backlog->bytes.data + backlog->at, left);
        backlog->bytes.len = left;
    } else {
        return;
    }
    backlog->at = 0;
}

void apply_drop_backlog(struct group *group) {
    if (bnd_link_linked(&group->apply_link)) {
        bnd_link_remove(&group->apply_link);
    }
    bnd_buf_free(&group->backlog.bytes);
    group->backlog = (struct group_backlog){0};
}

void apply_forget(struct group *group) {
    BND_ASSERT(!bnd_link_linked(&group->touched_link));
    apply_drop_backlog(group);
}

/* ---- one entry --------------------------------------------------------------------------------*/

/* One operation: its outcome, new or remembered, with the reply in apply.replies. */
static int apply_operation(struct group *group, struct dedupe *dedupe,
                           const struct bnd_fsm_apply *context,
                           const struct entry_operation *operation, struct outcome *out) {
    struct bnd_buf *replies = &group->host->apply.replies;
    enum dedupe_verdict verdict = DEDUPE_REFUSED;
    *out = (struct outcome){.reply_at = replies->len};
    int rv = dedupe_check(dedupe, operation, &verdict, &out->status, replies);
    out->executed = verdict != DEDUPE_REFUSED;
    out->reply_len = replies->len - out->reply_at;
    if (rv != 0 || verdict != DEDUPE_EXECUTE) {
        return rv == 0 && replies->failed ? BND_NOMEM : rv;
    }
    /* An own buffer: the state machine must find it empty on entry. */
    struct bnd_buf *reply = &group->host->apply.reply;
    bnd_buf_reset(reply);
    out->status = clock_is_command(operation->command)
                      ? clock_apply(&group->applying, operation->command, reply)
                      : group->fsm.ops->apply(group->fsm.self, context, operation->command, reply);
    if (out->status == BND_NOMEM || out->status == BND_CORRUPT || out->status == BND_IO) {
        return out
            ->status; /* this node's trouble: stored as an outcome it would tell replicas apart */
    }
    if (out->status == BND_CONFLICT) {
        return 0; /* no outcome: the id is still free */
    }
    BND_ASSERT(reply->len <= BND_RAFT_REPLY_MAX);
    bnd_buf_append_slice(replies, bnd_buf_slice(reply));
    if (reply->failed || replies->failed) {
        return BND_NOMEM;
    }
    out->reply_len = reply->len;
    return dedupe_store(dedupe, operation, out->status, bnd_buf_slice(reply));
}

static int apply_command(struct group *group, const struct bnd_journal_entry *entry,
                         struct batch *answer, struct bnd_error *err) {
    struct bnd_raft_host *host = group->host;
    struct tuple *tuple = &group->applying;
    struct entry decoded;
    int rv = entry_decode(entry->data, &decoded, err);
    if (rv != 0) {
        return rv;
    }
    BND_ASSERT(answer == NULL || answer->count == decoded.count);
    clock_move(tuple, decoded.stamp_ms);
    struct dedupe dedupe = {
        .state = host->config.state,
        .batch = host->apply.batch,
        .table = &group->ids,
        .slot = group->slot,
        .stamp_ms = tuple->stamp_ms,
        .count_max = host->config.dedupe_entries_max,
        .scratch = &host->apply.scratch,
    };
    struct bnd_fsm_apply context = {
        .gid = group->gid,
        .index = entry->index,
        .term = entry->term,
        .stamp_ms = tuple->stamp_ms,
        .slot = group->slot,
        .state_version = tuple->state_version,
        .state = host->config.state,
        .batch = host->apply.batch,
    };
    dedupe_sweep(&dedupe, DEDUPE_SWEEP_MIN + 2 * (size_t)decoded.count);
    struct bnd_link *asker = answer == NULL ? NULL : answer->proposals.next;
    for (uint32_t i = 0; i < decoded.count && rv == 0; i++) {
        struct entry_operation operation;
        entry_next(&decoded, &operation);
        context.position = i;
        context.time_suspended = tuple->jump_to_ms != 0;
        struct outcome outcome;
        rv = apply_operation(group, &dedupe, &context, &operation, &outcome);
        if (rv == 0 && asker != NULL) {
            propose_outcome(BND_CONTAINER(asker, struct bnd_raft_propose, link), &outcome);
            asker = asker->next;
        }
    }
    tuple->dedupe_count = group->ids.count;
    return rv == 0 ? 0 : bnd_error_set(err, rv, "an operation could not be applied");
}

static int apply_configuration(struct group *group, const struct bnd_journal_entry *entry,
                               struct bnd_error *err) {
    struct tuple *tuple = &group->applying;
    tuple->configuration_index = entry->index;
    return bnd_raft_configuration_decode(entry->data, &tuple->configuration, err);
}

/* Takes the proposals that fly under this index: with the term they tell their outcome. Several
 * may, of different terms, if this node led more than once. Returns those executed, or NULL. */
static struct batch *take_answer(struct group *group, const struct bnd_journal_entry *entry) {
    struct batch *executed = NULL;
    while (!bnd_list_empty(&group->flying)) {
        struct batch *batch = BND_CONTAINER(group->flying.next, struct batch, link);
        BND_ASSERT(batch->index >= entry->index);
        if (batch->index != entry->index) {
            break;
        }
        bnd_link_remove(&batch->link);
        group->flying_count--;
        batch->executed = batch->term == entry->term;
        executed = batch->executed ? batch : executed;
        bnd_list_push(&group->host->apply.answers, &batch->link);
    }
    return executed;
}

static int apply_entry(struct group *group, const struct bnd_journal_entry *entry,
                       struct bnd_error *err) {
    struct tuple *tuple = &group->applying;
    BND_ASSERT(entry->index == tuple->index + 1 && entry->term >= tuple->term);
    struct batch *answer = take_answer(group, entry);
    tuple->index = entry->index;
    tuple->term = entry->term;
    if (!bnd_link_linked(&group->touched_link)) {
        bnd_list_push(&group->host->apply.touched, &group->touched_link);
    }
    group->host->stats.applied++;
    switch (entry->kind) {
    case BND_CORE_COMMAND:
        return apply_command(group, entry, answer, err);
    case BND_CORE_CONFIGURATION:
        return apply_configuration(group, entry, err);
    case BND_CORE_BARRIER:
        return 0;
    default:
        return BND_FAIL(err, VERSION, "entry kind %u is not known", entry->kind);
    }
}

/* ---- the batch --------------------------------------------------------------------------------*/

/* Applies a group's backlog as far as *budget bytes go. */
static int apply_group(struct group *group, size_t *budget, struct bnd_error *err) {
    int rv = 0;
    while (rv == 0 && !backlog_empty(group) && *budget > 0) {
        struct bnd_journal_entry entry;
        backlog_next(group, &entry);
        rv = apply_entry(group, &entry, err);
        if (rv != 0) {
            return BND_WRAP(err, rv, "group %llu: entry %llu", (unsigned long long)group->gid,
                            (unsigned long long)entry.index);
        }
        size_t cost = BACKLOG_HEADER_BYTES + entry.data.len;
        *budget -= cost < *budget ? cost : *budget;
    }
    backlog_trim(group);
    return 0;
}

static int fill_batch(struct bnd_raft_host *host, struct bnd_error *err) {
    size_t budget = APPLY_PASS_BYTES_MAX;
    while (budget > 0 && !bnd_list_empty(&host->apply.waiting)) {
        struct group *group = BND_CONTAINER(host->apply.waiting.next, struct group, apply_link);
        int rv = apply_group(group, &budget, err);
        if (rv != 0) {
            return rv;
        }
        bnd_link_remove(&group->apply_link);
        if (!backlog_empty(group)) {
            bnd_list_push(&host->apply.waiting, &group->apply_link); /* after the others */
        }
    }
    for (struct bnd_link *link = host->apply.touched.next; link != &host->apply.touched;
         link = link->next) {
        struct group *group = BND_CONTAINER(link, struct group, touched_link);
        if (dedupe_tuple_store(host->config.state, host->apply.batch, group->slot, &group->applying,
                               &group->ids) != 0) {
            return BND_FAIL(err, NOMEM, "no memory for an applied tuple");
        }
    }
    slots_store(host, host->apply.batch);
    return 0;
}

/* The batch is written: memory follows, then answers. */
static void finish_batch(struct bnd_raft_host *host) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&host->apply.touched)) != NULL) {
        struct group *group = BND_CONTAINER(link, struct group, touched_link);
        uint64_t jump_ms = group->written.jump_to_ms;
        group->written = group->applying;
        if (group->written.jump_to_ms != jump_ms && host->config.time_jumped != NULL) {
            host->config.time_jumped(host->config.owner, group->gid, group->written.jump_from_ms,
                                     group->written.jump_to_ms);
        }
        if (group->written.stamp_ms > group->stamp_ms) {
            group->stamp_ms = group->written.stamp_ms;
        }
        if (group->written.stamp_ms > host->stamp_ms) {
            host->stamp_ms = group->written.stamp_ms;
        }
        if (group->fsm.ops->written != NULL) {
            group->fsm.ops->written(group->fsm.self, group->written.index);
        }
    }
    slots_stored(host);
    host->config.state->ops->batch_clear(host->apply.batch);
    while ((link = bnd_list_pop(&host->apply.answers)) != NULL) {
        struct batch *batch = BND_CONTAINER(link, struct batch, link);
        if (batch->executed) {
            bnd_histogram_add(&host->stats.commits, bnd_now_ns(host->config.env) - batch->since_ns);
            propose_answer(batch);
        } else {
            propose_again(batch);
        }
    }
    bnd_buf_reset(&host->apply.replies);
}

static void write_batch(struct bnd_raft_host *host) {
    struct bnd_state *state = host->config.state;
    int rv = state->ops->write(state, host->apply.batch);
    if (rv == BND_BUSY) {
        host->apply.stalled = true;
        bnd_timer_start(host->config.env, &host->apply.retry, STALL_RETRY_NS);
        return;
    }
    host->apply.stalled = false;
    if (rv != 0) {
        struct bnd_error why;
        (void)bnd_error_set(&why, rv, "the state could not be written");
        host_fatal(host, &why);
        return;
    }
    finish_batch(host);
}

static void on_retry(struct bnd_timer *timer) {
    struct bnd_raft_host *host = timer->data;
    host->apply.retry_due = true;
    host_wake(host);
}

void apply_pass(struct bnd_raft_host *host) {
    if (host->apply.stalled) {
        if (!host->apply.retry_due) {
            return;
        }
        host->apply.retry_due = false;
        write_batch(host);
    }
    if (host->dead || host->apply.stalled || bnd_list_empty(&host->apply.waiting)) {
        return;
    }
    struct bnd_error why = {0};
    if (fill_batch(host, &why) != 0) {
        host_fatal(host, &why);
        return;
    }
    write_batch(host);
    if (!bnd_list_empty(&host->apply.waiting)) {
        host_wake(host);
    }
}

int apply_open(struct bnd_raft_host *host) {
    bnd_list_init(&host->apply.waiting);
    bnd_list_init(&host->apply.touched);
    bnd_list_init(&host->apply.answers);
    host->apply.retry = (struct bnd_timer){.cb = on_retry, .data = host};
    host->apply.batch = host->config.state->ops->batch_create(host->config.state);
    return host->apply.batch == NULL ? BND_NOMEM : 0;
}

void apply_close(struct bnd_raft_host *host) {
    bnd_timer_stop(host->config.env, &host->apply.retry);
    if (host->apply.batch != NULL) {
        host->config.state->ops->batch_destroy(host->apply.batch);
        host->apply.batch = NULL;
    }
    bnd_buf_free(&host->apply.replies);
    bnd_buf_free(&host->apply.reply);
    bnd_buf_free(&host->apply.scratch);
}
