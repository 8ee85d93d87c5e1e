/* Between the cores and the journal: a core's numbered operations become journal records, and what
 * the journal says is durable becomes bnd_core_persisted, in the same order (core.h, 1 and 2).
 *
 * One group's operations are in the journal in the order of their numbers, so the durable ones are
 * a prefix of its ring. The journal's bound is never met by a core's records: AppendEntries and
 * proposals stop at half of it (host_congested), and what remains is small. A record that is
 * refused all the same stops the node, because a core cannot take an operation back.
 *
 * Failure modes: an error of the journal is final; a core that reports fatal stops the node after
 * everything collected, its own truncation included, is durable. */
#include "raft/host_private.h"

#include "base/alloc.h"

/* ---- the ring of operations -------------------------------------------------------------------*/

static int ring_grow(struct group_ops *ops) {
    size_t cap = ops->cap == 0 ? 16 : ops->cap * 2;
    struct group_op *items = bnd_calloc(cap, sizeof *items);
    if (items == NULL) {
        return BND_NOMEM;
    }
    for (size_t i = 0; i < ops->count; i++) {
        items[i] = ops->items[(ops->head + i) & (ops->cap - 1)];
    }
    bnd_free(ops->items);
    ops->items = items;
    ops->head = 0;
    ops->cap = cap;
    return 0;
}

static void record(struct group *group, uint64_t op, int rv, uint64_t lsn) {
    struct group_ops *ops = &group->ops;
    if (rv == 0 && ops->count == ops->cap) {
        rv = ring_grow(ops);
    }
    if (rv != 0) {
        host_fatal_group(group, rv, "a record of its log could not be journalled");
        return;
    }
    ops->items[(ops->head + ops->count) & (ops->cap - 1)] = (struct group_op){.op = op, .lsn = lsn};
    ops->count++;
    group->host->lsn_last = lsn;
    if (!bnd_link_linked(&group->ops_link)) {
        bnd_list_push(&group->host->storing, &group->ops_link);
    }
}

void storage_forget(struct group *group) {
    bnd_free(group->ops.items);
    group->ops = (struct group_ops){0};
    if (bnd_link_linked(&group->ops_link)) {
        bnd_link_remove(&group->ops_link);
    }
}

/* ---- outputs of the cores ---------------------------------------------------------------------*/

static void core_persist_meta(void *owner, uint64_t op, uint64_t term, uint64_t vote) {
    struct group *group = owner;
    uint64_t lsn = 0;
    int rv = bnd_journal_meta(group->host->journal, group->gid, term, vote, &lsn);
    group->ops.meta_lsn = lsn;
    record(group, op, rv, lsn);
}

static void core_append(void *owner, uint64_t op, const struct bnd_journal_entry *entries,
                        size_t count) {
    struct group *group = owner;
    uint64_t lsn = 0;
    int rv = 0;
    for (size_t i = 0; i < count && rv == 0; i++) {
        rv = bnd_journal_append(group->host->journal, group->gid, &entries[i], &lsn);
    }
    group->host->stats.entries += count;
    record(group, op, rv, lsn);
}

static void core_truncate(void *owner, uint64_t op, uint64_t index) {
    struct group *group = owner;
    uint64_t lsn = 0;
    int rv = bnd_journal_truncate(group->host->journal, group->gid, index, &lsn);
    record(group, op, rv, lsn);
}

static void core_install(void *owner, uint64_t op, const struct bnd_journal_start *start,
                         uint64_t export_id) {
    struct group *group = owner;
    struct bnd_journal_start installed = *start;
    uint64_t lsn = 0;
    installed.slot = import_slot(group, op, start, export_id);
    int rv = bnd_journal_install(group->host->journal, group->gid, &installed, &lsn);
    record(group, op, rv, lsn);
}

static int core_send(void *owner, const struct bnd_message *message, uint64_t after_op) {
    return transport_send(owner, message, after_op);
}

static void core_apply(void *owner, const struct bnd_journal_entry *entry) {
    export_entry(owner, entry);
    apply_queue(owner, entry);
}

static void core_changed(void *owner) {
    struct group *group = owner;
    if (!bnd_link_linked(&group->changed_link)) {
        bnd_list_push(&group->host->changed, &group->changed_link);
    }
    host_wake(group->host);
}

static void core_fatal(void *owner, const struct bnd_error *why) {
    struct group *group = owner;
    struct bnd_error error = *why;
    (void)BND_WRAP(&error, error.code, "group %llu", (unsigned long long)group->gid);
    host_fatal(group->host, &error);
}

const struct bnd_core_ops storage_core_ops = {
    .persist_meta = core_persist_meta,
    .append = core_append,
    .truncate = core_truncate,
    .install = core_install,
    .send = core_send,
    .apply = core_apply,
    .changed = core_changed,
    .fatal = core_fatal,
};

/* ---- the journal ------------------------------------------------------------------------------*/

/* Takes the durable prefix of the group's ring; returns its last op, or 0. */
static uint64_t durable_prefix(struct group *group, uint64_t lsn) {
    struct group_ops *ops = &group->ops;
    uint64_t op = 0;
    while (ops->count > 0 && ops->items[ops->head].lsn <= lsn) {
        op = ops->items[ops->head].op;
        ops->head = (ops->head + 1) & (ops->cap - 1);
        ops->count--;
    }
    if (ops->count == 0 && bnd_link_linked(&group->ops_link)) {
        bnd_link_remove(&group->ops_link);
    }
    return op;
}

static void make_ready(struct bnd_raft_host *host, uint64_t lsn) {
    while (!bnd_list_empty(&host->making)) {
        struct making *making = BND_CONTAINER(host->making.next, struct making, link);
        if (making->lsn > lsn) {
            return;
        }
        bnd_link_remove(&making->link);
        bnd_list_push(&host->made, &making->link);
        host_wake(host);
    }
}

static void on_durable(void *owner, uint64_t lsn) {
    struct bnd_raft_host *host = owner;
    host->lsn_durable = lsn;
    if (!host->dead && !host->closing) {
        make_ready(host, lsn);
        struct bnd_link *link = host->storing.next;
        while (link != &host->storing && !host->dead) {
            struct group *group = BND_CONTAINER(link, struct group, ops_link);
            link = link->next; /* a core's new operations go to the tail, never before it */
            uint64_t op = durable_prefix(group, lsn);
            if (op != 0 && !group->destroying) { /* else its journal has ended */
                group->ops.durable = op;
                import_durable(group, op);
                bnd_core_persisted(group->core, op);
                transport_release(group);
            }
        }
        if (host->config.durable != NULL && !host->dead) {
            host->config.durable(host->config.owner, lsn);
        }
    }
    host_wake(host);
}

static void on_failed(void *owner, const struct bnd_error *why) {
    struct bnd_raft_host *host = owner;
    struct bnd_error error = *why;
    (void)BND_WRAP(&error, error.code, "journal");
    host->journal_failed = true;
    host_fatal(host, &error);
}

struct opening {
    struct bnd_raft_host *host;
    struct bnd_error *err;
};

/* G9: it was being filled again when the node went down, and has not reached what it once had.
 * Nobody counts it before that, so that it may begin anew, and must: by the configuration of so
 * early a log it might lead alone. */
static bool is_unfinished(const struct bnd_journal_group *recovered) {
    const struct bnd_journal_floor *floor = &recovered->floor;
    size_t count = recovered->entries_count;
    uint64_t last = recovered->start.index + count;
    uint64_t term = count > 0 ? recovered->entries[count - 1].term : recovered->start.term;
    return recovered->exists && last > 0 &&
           (term < floor->term || (term == floor->term && last < floor->index));
}

static int open_group(void *data, const struct bnd_journal_group *recovered) {
    struct opening *opening = data;
    struct group *group = NULL;
    bool other = false;
    const struct bnd_raft_host_config *config = &opening->host->config;
    int rv = config->other_group == NULL
                 ? 0
                 : config->other_group(config->owner, recovered, &other, opening->err);
    if (rv != 0 || other) {
        return rv;
    }
    rv = group_add(opening->host, recovered->gid, &group);
    if (rv != 0) {
        return BND_FAIL(opening->err, NOMEM, "no memory for a group");
    }
    group->known = true;
    group->floor = recovered->floor;
    group->destroying = is_unfinished(recovered); /* until end_unfinished */
    if (!recovered->exists || group->destroying) {
        group->gone_term = recovered->term;
        group->gone_vote = recovered->vote;
        return 0;
    }
    return group_open(group, recovered, opening->err);
}

static int end_unfinished(struct bnd_raft_host *host, struct bnd_error *err) {
    for (size_t i = 0; i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        if (!group->destroying) {
            continue;
        }
        group->destroying = false;
        int rv = bnd_journal_destroy(host->journal, group->gid, &group->floor, &host->lsn_last);
        if (rv != 0) {
            return bnd_error_set(err, rv, "group %llu cannot begin anew",
                                 (unsigned long long)group->gid);
        }
    }
    return 0;
}

/* Small segments are for tests: half of one, so that the largest entry still fits from 4 MiB up. */
static size_t batch_bytes(size_t segment_bytes) {
    size_t half = segment_bytes / 2;
    return half < JOURNAL_BATCH_BYTES_MAX && half > 0 ? half : JOURNAL_BATCH_BYTES_MAX;
}

int storage_open(struct bnd_raft_host *host, struct bnd_error *err) {
    struct bnd_journal_config config = {
        .env = host->config.env,
        .dir = host->journal_dir,
        .cluster_id = host->config.cluster_id,
        .node_id = host->config.node_id,
        .segment_bytes = host->config.journal_segment_bytes,
        .batch_bytes_max = batch_bytes(host->config.journal_segment_bytes),
        .queue_bytes_max = JOURNAL_QUEUE_BYTES_MAX,
        .owner = host,
        .durable = on_durable,
        .failed = on_failed,
    };
    int rv = bnd_journal_open(&config, &host->journal, err);
    if (rv != 0) {
        return BND_WRAP(err, rv, "journal");
    }
    struct opening opening = {.host = host, .err = err};
    rv = bnd_journal_each_group(host->journal, open_group, &opening);
    bnd_journal_recovered(host->journal);
    host->lsn_durable = bnd_journal_durable(host->journal);
    host->lsn_last = host->lsn_durable;
    return rv == 0 ? end_unfinished(host, err) : rv;
}
