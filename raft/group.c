/* See group.h. */
#include "raft/group.h"

#include "base/alloc.h"
#include "raft/dedupe.h"
#include "raft/host_private.h"

static size_t group_place(const struct bnd_raft_host *host, uint64_t gid) {
    size_t low = 0;
    size_t high = host->groups_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (host->groups[middle]->gid < gid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct group *group_find(const struct bnd_raft_host *host, uint64_t gid) {
    size_t at = group_place(host, gid);
    bool found = at < host->groups_count && host->groups[at]->gid == gid;
    return found ? host->groups[at] : NULL;
}

struct group *group_running(const struct bnd_raft_host *host, uint64_t gid) {
    struct group *group = group_find(host, gid);
    return group != NULL && group->phase == GROUP_RUNNING && !group->destroying ? group : NULL;
}

static struct group *group_new(struct bnd_raft_host *host, uint64_t gid) {
    struct group *group = bnd_zalloc(sizeof *group);
    if (group == NULL) {
        return NULL;
    }
    group->host = host;
    group->gid = gid;
    dedupe_table_init(&group->ids);
    bnd_list_init(&group->held);
    bnd_list_init(&group->queue);
    bnd_list_init(&group->flying);
    bnd_list_init(&group->executions.waiting);
    bnd_list_init(&group->executions.running);
    bnd_list_init(&group->reads.waiting);
    bnd_list_init(&group->reads.asked);
    bnd_list_init(&group->reads.granted);
    bnd_list_init(&group->replica_reads.waiting);
    bnd_list_init(&group->replica_reads.asked);
    bnd_list_init(&group->replica_reads.granted);
    bnd_list_init(&group->replica_reads.refused);
    return group;
}

int group_add(struct bnd_raft_host *host, uint64_t gid, struct group **out) {
    size_t at = group_place(host, gid);
    BND_ASSERT(at == host->groups_count || host->groups[at]->gid != gid);
    bool room = BND_ROOM(host->groups, host->groups_count, host->groups_cap, 64);
    struct group *group = room ? group_new(host, gid) : NULL;
    if (group == NULL) {
        return BND_NOMEM;
    }
    memmove(host->groups + at + 1, host->groups + at,
            (host->groups_count - at) * sizeof(struct group *));
    host->groups[at] = group;
    host->groups_count++;
    *out = group;
    return 0;
}

/* The persisted tuple must lie within the journal's log: not below where it starts, not above its
 * last entry, and of the same term. */
static int fits(const struct group *group, const struct bnd_journal_group *recovered,
                struct bnd_error *err) {
    const struct tuple *tuple = &group->written;
    uint64_t start = recovered->start.index;
    if (tuple->index < start) {
        return BND_FAIL(err, CORRUPT,
                        "group %llu: the journal starts at %llu, but the state holds only %llu",
                        (unsigned long long)group->gid, (unsigned long long)start,
                        (unsigned long long)tuple->index);
    }
    if (tuple->index > start + recovered->entries_count) {
        return BND_FAIL(err, CORRUPT,
                        "group %llu: the state holds %llu, but the journal ends at %llu",
                        (unsigned long long)group->gid, (unsigned long long)tuple->index,
                        (unsigned long long)(start + recovered->entries_count));
    }
    uint64_t term = tuple->index == start ? recovered->start.term
                                          : recovered->entries[tuple->index - start - 1].term;
    if (term != tuple->term) {
        return BND_FAIL(err, CORRUPT,
                        "group %llu: index %llu has term %llu in the journal, %llu "
                        "in the state",
                        (unsigned long long)group->gid, (unsigned long long)tuple->index,
                        (unsigned long long)term, (unsigned long long)tuple->term);
    }
    return 0;
}

static int open_fsm(struct group *group, struct bnd_error *err) {
    struct bnd_raft_host *host = group->host;
    int rv = host->config.fsm_make(host->config.owner, group->gid, &group->fsm, err);
    if (rv != 0) {
        group->fsm = (struct bnd_fsm){0};
        return BND_WRAP(err, rv, "group %llu", (unsigned long long)group->gid);
    }
    rv = group->fsm.ops->open(group->fsm.self, group->gid, group->slot, host->config.state, err);
    return rv == 0 ? 0 : BND_WRAP(err, rv, "group %llu", (unsigned long long)group->gid);
}

static int open_core(struct group *group, const struct bnd_journal_group *recovered,
                     struct bnd_error *err) {
    struct bnd_raft_host *host = group->host;
    const struct tuple *tuple = &group->written;
    BND_AUTO_BUF struct bnd_buf configuration = {0};
    if (tuple->configuration.count > 0) {
        bnd_raft_configuration_encode(&tuple->configuration, &configuration);
    }
    if (configuration.failed) {
        return BND_FAIL(err, NOMEM, "no memory for a configuration");
    }
    struct bnd_core_config config = {
        .env = host->config.env,
        .ops = &storage_core_ops,
        .owner = group,
        .gid = group->gid,
        .self = host->config.node_id,
        .election_ms = host->config.election_ms,
        /* Due at the leader's next look at the time, however late that tick came. */
        .heartbeat_ms = host->config.tick_ms < host->config.heartbeat_ms
                            ? host->config.heartbeat_ms - host->config.tick_ms / 2
                            : host->config.heartbeat_ms,
        .guards = host->config.guards,
        .log_bytes_max = host->config.log_bytes_group_max,
        .term = recovered->term,
        .vote = recovered->vote,
        .floor = recovered->floor,
        .start = {.index = tuple->index,
                  .term = tuple->term,
                  .config = bnd_buf_slice(&configuration),
                  .config_index = tuple->configuration_index},
        .entries = recovered->entries,
        .entries_count = recovered->entries_count,
    };
    int rv = bnd_core_open(&config, &group->core, err);
    return rv == 0 ? 0 : BND_WRAP(err, rv, "group %llu", (unsigned long long)group->gid);
}

int group_load_ids(struct group *group, const struct tuple *tuple, struct bnd_error *err) {
    dedupe_table_clear(&group->ids);
    return dedupe_load(group->host->config.state, group->slot, tuple->dedupe_count, &group->ids,
                       err);
}

int group_open(struct group *group, const struct bnd_journal_group *recovered,
               struct bnd_error *err) {
    group->slot = recovered->start.slot;
    int rv = tuple_load(group->host->config.state, group->slot, true, &group->written, err);
    rv = rv == 0 ? fits(group, recovered, err) : rv;
    rv = rv == 0 ? group_load_ids(group, &group->written, err) : rv;
    rv = rv == 0 ? open_fsm(group, err) : rv;
    rv = rv == 0 ? open_core(group, recovered, err) : rv;
    if (rv != 0) {
        return rv; /* group_stop closes what was opened */
    }
    group->applying = group->written;
    group->stamp_ms = group->written.stamp_ms;
    group->settled = group->written;
    group->journal_start = recovered->start.index;
    return 0;
}

void group_start(struct group *group) {
    group->phase = GROUP_RUNNING;
    bnd_core_start(group->core);
    group_refresh(group);
}

static void unlink_if(struct bnd_link *link) {
    if (bnd_link_linked(link)) {
        bnd_link_remove(link);
    }
}

void group_stop(struct group *group) {
    BND_ASSERT(bnd_list_empty(&group->queue) && bnd_list_empty(&group->flying));
    BND_ASSERT(!bnd_link_linked(&group->reads_link));
    BND_ASSERT(!bnd_link_linked(&group->replica_reads.host_link));
    BND_ASSERT(bnd_list_empty(&group->executions.waiting));
    BND_ASSERT(bnd_list_empty(&group->executions.running));
    export_forget(group);
    import_forget(group);
    leave_forget(group);
    handover_forget(group);
    member_forget(group);
    if (group->core != NULL) {
        bnd_core_status(group->core, &group->status);
        group->gone_term = group->status.term;
        group->gone_vote = group->status.vote;
    }
    bnd_core_close(group->core);
    group->core = NULL;
    if (group->fsm.ops != NULL) {
        group->fsm.ops->close(group->fsm.self);
    }
    group->fsm = (struct bnd_fsm){0};
    storage_forget(group);
    transport_forget(group);
    apply_forget(group);
    dedupe_table_clear(&group->ids);
    unlink_if(&group->changed_link);
    unlink_if(&group->propose_link);
    group->written = (struct tuple){.state_version = TUPLE_STATE_VERSION};
    group->applying = group->written;
    group->status = (struct bnd_core_status){0};
    group->phase = GROUP_GONE;
    group->destroying = false;
    group->host->yielding -= group->yield_until_ns != 0;
    group->yield_until_ns = 0;
}

void group_free(struct group *group) {
    group_stop(group);
    bnd_free(group);
}

void group_refresh(struct group *group) {
    bnd_core_status(group->core, &group->status);
}
