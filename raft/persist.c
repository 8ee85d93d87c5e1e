/* Making applied state durable, and the journal shorter (architecture 6, "Compaction").
 *
 * The journal keeps every record above the *persisted* tuple of its group. When the state holds too
 * much that a crash would lose, or the journal has grown by as much, the state is asked to persist;
 * then each group's tuple is read back as a crash would leave it, and the journal compacted to the
 * tuple of the persist before: the entries between stay for followers that are a little behind when
 * this node restarts and leads. That is the only thing that moves the journal's start; freeing the
 * cores' RAM is their own.
 *
 * Failure modes: a persist that fails, or a tuple that cannot be read back, stops the node. */
#include "raft/host_private.h"

/* Groups looked at in one pass: each is a read of the persisted state. */
#define COMPACT_GROUPS_PASS 64u

static void persisted(struct bnd_state_persist *request, int status) {
    struct bnd_raft_host *host = request->data;
    host->persist.running = false;
    if (host->closing) {
        close_step(host);
        return;
    }
    if (status != 0) {
        struct bnd_error why;
        (void)bnd_error_set(&why, status, "the state could not be persisted");
        host_fatal(host, &why);
    } else {
        host->stats.persists++;
        host->persist.compacting = true;
        host->persist.cursor = 0;
    }
    host_wake(host);
}

void persist_tick(struct bnd_raft_host *host) {
    struct persist *persist = &host->persist;
    if (persist->running || persist->compacting) {
        return;
    }
    struct bnd_state *state = host->config.state;
    struct bnd_journal_stats journal;
    bnd_journal_stats(host->journal, &journal);
    uint64_t grown = journal.bytes_written - persist->journal_bytes;
    if (state->ops->unpersisted_bytes(state) <= host->config.unpersisted_bytes_max &&
        grown <= host->config.unpersisted_bytes_max) {
        return;
    }
    persist->request = (struct bnd_state_persist){.cb = persisted, .data = host};
    int rv = state->ops->persist(state, &persist->request);
    if (rv == 0) {
        persist->running = true;
        persist->journal_bytes = journal.bytes_written;
    } else if (rv != BND_BUSY && rv != BND_FULL) {
        struct bnd_error why;
        (void)bnd_error_set(&why, rv, "the state could not be persisted");
        host_fatal(host, &why);
    } /* else it is asked again at the next tick */
}

static int compact_to(struct group *group, const struct tuple *tuple, struct bnd_error *err) {
    struct bnd_raft_host *host = group->host;
    BND_AUTO_BUF struct bnd_buf configuration = {0};
    bnd_raft_configuration_encode(&tuple->configuration, &configuration);
    if (configuration.failed) {
        return BND_FAIL(err, NOMEM, "no memory for a configuration");
    }
    const struct bnd_journal_start start = {
        .index = tuple->index,
        .term = tuple->term,
        .slot = group->slot,
        .config = bnd_buf_slice(&configuration),
        .config_index = tuple->configuration_index,
    };
    int rv = bnd_journal_compact(host->journal, group->gid, &start, &host->lsn_last);
    if (rv != 0) {
        return bnd_error_set(err, rv, "group %llu: its log could not be compacted",
                             (unsigned long long)group->gid);
    }
    group->journal_start = tuple->index;
    return 0;
}

static int compact(struct group *group, struct bnd_error *err) {
    struct tuple tuple;
    int rv = tuple_load(group->host->config.state, group->slot, true, &tuple, err);
    if (rv != 0) {
        return rv;
    }
    BND_ASSERT(tuple.index >= group->settled.index && tuple.index <= group->written.index);
    if (group->settled.index > group->journal_start) {
        rv = compact_to(group, &group->settled, err);
    }
    if (rv == 0) {
        group->settled = tuple;
    }
    return rv;
}

void persist_pass(struct bnd_raft_host *host) {
    struct persist *persist = &host->persist;
    for (size_t i = 0; persist->compacting && i < COMPACT_GROUPS_PASS; i++) {
        if (persist->cursor >= host->groups_count) {
            persist->compacting = false;
            return;
        }
        struct group *group = host->groups[persist->cursor];
        struct bnd_error why;
        int rv = 0;
        if (group->phase == GROUP_RUNNING && !group->destroying &&
            group->written.index > group->journal_start) {
            rv = compact(group, &why);
        }
        if (rv == BND_FULL) {
            return; /* the journal is behind: again in a later pass */
        }
        if (rv != 0) {
            host_fatal(host, &why);
            return;
        }
        persist->cursor++;
    }
    if (persist->compacting) {
        host_wake(host);
    }
}

void persist_log_tick(struct bnd_raft_host *host) {
    size_t total = 0;
    for (size_t i = 0; i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        if (group->phase == GROUP_RUNNING) {
            group_refresh(group);
            total += group->status.log_bytes;
        }
    }
    if (total <= host->config.log_bytes_node_max) {
        return;
    }
    size_t share = host->config.log_bytes_node_max / host->groups_count;
    for (size_t i = 0; i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        if (group->phase == GROUP_RUNNING && group->status.log_bytes > share) {
            bnd_core_compact(group->core, share / 2);
        }
    }
}
