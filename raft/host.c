/* The host: groups, the pass, and the public calls (raft/host.h; raft/README.md shows the pass).
 *
 * Everything that users are told comes from the pass, which the loop runs after its events. Calls
 * of users only queue, so that they may come from inside callbacks. */
#include "raft/host_private.h"

#include "base/alloc.h"
#include "raft/clock.h"

/* ---- stopping for good ------------------------------------------------------------------------*/

static void tell_fatal(struct bnd_raft_host *host) {
    bool finished =
        host->journal_failed || host->journal == NULL || host->lsn_durable >= host->lsn_last;
    if (host->dead && !host->dead_told && finished && !host->closing) {
        host->dead_told = true;
        host->config.fatal(host->config.owner, &host->dead_why);
    }
}

void host_fatal(struct bnd_raft_host *host, const struct bnd_error *why) {
    if (!host->dead) {
        host->dead = true;
        host->dead_why = *why;
    }
    host_wake(host); /* the pass submits the journal and tells */
}

void host_fatal_group(struct group *group, int code, const char *what) {
    struct bnd_error why;
    (void)bnd_error_set(&why, code, "group %llu: %s: %s", (unsigned long long)group->gid, what,
                        bnd_code_text(code));
    host_fatal(group->host, &why);
}

/* ---- the pass ---------------------------------------------------------------------------------*/

static void on_wake(struct bnd_task *task) {
    struct bnd_raft_host *host = task->data;
    host->wake_armed = false;
    if (host->closing) {
        close_step(host);
    } /* else its coming is all: the hook runs after it */
}

void host_wake(struct bnd_raft_host *host) {
    if (!host->wake_armed) {
        host->wake_armed = true;
        bnd_defer(host->config.env, &host->wake);
    }
}

bool host_congested(const struct bnd_raft_host *host) {
    struct bnd_journal_stats stats;
    bnd_journal_stats(host->journal, &stats);
    return host->apply.stalled || stats.bytes_queued > JOURNAL_QUEUE_BYTES_STOP;
}

/* Role, term, leader or members of some groups differ. */
static void pass_changed(struct bnd_raft_host *host) {
    struct bnd_link *link = NULL;
    while (!host->dead && (link = bnd_list_pop(&host->changed)) != NULL) {
        struct group *group = BND_CONTAINER(link, struct group, changed_link);
        enum bnd_core_role role = group->status.role;
        group_refresh(group);
        host->stats.elections += role != BND_CORE_LEADER && group->status.role == BND_CORE_LEADER;
        propose_changed(group);
        readindex_changed(group);
        replica_read_changed(group);
        execute_changed(group);
        member_step(group);
        host->config.group_changed(host->config.owner, group->gid);
    }
}

static void finish_making(struct making *making, int status) {
    if (making->done != NULL) {
        making->done(making->data, status);
    }
    bnd_buf_free(&making->entry);
    bnd_free(making);
}

/* Opens the groups whose records are durable. */
static void pass_made(struct bnd_raft_host *host) {
    struct bnd_link *link = NULL;
    while (!host->dead && (link = bnd_list_pop(&host->made)) != NULL) {
        struct making *making = BND_CONTAINER(link, struct making, link);
        struct group *group = making->group;
        const struct bnd_journal_entry first = {
            .index = 1,
            .term = making->term,
            .kind = BND_CORE_CONFIGURATION,
            .data = bnd_buf_slice(&making->entry),
        };
        const struct bnd_journal_group fresh = {
            .gid = group->gid,
            .exists = true,
            .term = making->term,
            .vote = making->vote,
            .floor = group->floor,
            .start = {.slot = group->slot},
            .entries = &first,
            .entries_count = making->entry.len > 0 ? 1 : 0,
        };
        struct bnd_error why;
        int rv = group_open(group, &fresh, &why);
        if (rv != 0) {
            host_fatal(host, &why);
        } else {
            group_start(group);
        }
        finish_making(making, rv);
    }
}

/* Takes groups away that were destroyed, between batches. */
static void pass_destroy(struct bnd_raft_host *host) {
    for (size_t i = 0; host->destroying > 0 && !host->apply.stalled && i < host->groups_count;
         i++) {
        struct group *group = host->groups[i];
        if (!group->destroying) {
            continue;
        }
        propose_cancel(group, BND_NOTLEADER);
        readindex_cancel(group, BND_NOTLEADER);
        replica_read_cancel(group, BND_NOTLEADER);
        execute_cancel(group, BND_NOTLEADER);
        uint32_t slot = group->slot;
        group_stop(group);
        slots_drop_later(host, slot); /* the journal's record of it may not be durable yet */
        host->destroying--;
    }
}

/* What is done once per tick and may call users. */
static void pass_tick(struct bnd_raft_host *host) {
    if (!host->tick_due) {
        return;
    }
    host->tick_due = false;
    propose_tick(host);
    readindex_tick(host);
    execute_tick(host);
    persist_tick(host);
    member_tick(host);
    clock_tick(host);
    space_tick(host);
    handover_tick(host);
    if (++host->ticks % 8 == 0) {
        persist_log_tick(host);
    }
    export_tick(host);
    leave_tick(host);
}

static void pass(struct bnd_hook *hook) {
    struct bnd_raft_host *host = hook->data;
    if (!host->dead && !host->closing) {
        pass_made(host);
        pass_changed(host);
        pass_tick(host);
        handover_pass(host);
        import_covered(host);
        propose_pass(host);
        replica_read_learn(host);
    }
    bnd_journal_submit(host->journal);
    if (!host->dead && !host->closing) {
        apply_pass(host);
    }
    if (!host->dead && !host->closing) {
        pass_destroy(host);
        slots_pass(host);
        export_pass(host);
        import_pass(host);
        execute_pass(host);
        readindex_pass(host);
        replica_read_pass(host);
        persist_pass(host);
    }
    tell_fatal(host);
}

/* Who retires stands for no election any more; it goes on voting. */
static bool may_tick(struct group *group) {
    if (!group->host->retiring) {
        return true;
    }
    group_refresh(group);
    return group->status.role == BND_CORE_LEADER;
}

/* Leaders look at the time once per heartbeat and all at the same tick, so that their heartbeats
 * leave together: a message, a wake-up and an answer per peer, whatever the number of groups. */
static bool is_off_beat(const struct bnd_raft_host *host, const struct group *group) {
    unsigned beat = host->config.heartbeat_ms / host->config.tick_ms;
    return beat > 1 && group->status.role == BND_CORE_LEADER && host->ticks % beat != 0;
}

static void on_tick(struct bnd_timer *timer) {
    struct bnd_raft_host *host = timer->data;
    bnd_timer_start(host->config.env, timer, host->config.tick_ms * BND_MS);
    for (size_t i = 0; i < host->groups_count && !host->dead; i++) {
        struct group *group = host->groups[i];
        if (group->phase == GROUP_RUNNING && !group->destroying && may_tick(group) &&
            !is_off_beat(host, group)) {
            leader_lost_tick(group);
            bnd_core_tick(group->core);
        }
    }
    host->tick_due = true;
    host_wake(host);
}

/* ---- create -----------------------------------------------------------------------------------*/

static void fill_defaults(struct bnd_raft_host_config *config) {
#define DEFAULT(field, value) config->field = config->field == 0 ? (value) : config->field
    DEFAULT(heartbeat_ms, 100);
    DEFAULT(tick_ms, config->heartbeat_ms);
    DEFAULT(election_ms, 1000);
    DEFAULT(entry_bytes_max, 256u << 10);
    DEFAULT(proposals_bytes_max, 32u << 20);
    DEFAULT(proposals_group_bytes_max, 8u << 20);
    DEFAULT(log_bytes_group_max, 1u << 20);
    DEFAULT(log_bytes_node_max, 64u << 20);
    DEFAULT(unpersisted_bytes_max, 64u << 20);
    DEFAULT(moves_max, 4);
    DEFAULT(dedupe_entries_max, 65536);
    DEFAULT(executions_max, 4096);
    DEFAULT(executions_bytes_max, 64u << 20);
#undef DEFAULT
}

static struct bnd_raft_host *host_new(const struct bnd_raft_host_config *config) {
    struct bnd_raft_host *host = bnd_zalloc(sizeof *host);
    if (host == NULL) {
        return NULL;
    }
    host->config = *config;
    fill_defaults(&host->config);
    host->journal_dir = bnd_strdup(config->journal_dir);
    host->config.journal_dir = host->journal_dir;
    bnd_list_init(&host->storing);
    bnd_list_init(&host->making);
    bnd_list_init(&host->made);
    bnd_list_init(&host->proposing);
    bnd_list_init(&host->changed);
    bnd_list_init(&host->reading);
    bnd_list_init(&host->executions.groups);
    bnd_list_init(&host->exports.list);
    import_open(host);
    host->hook = (struct bnd_hook){.cb = pass, .data = host};
    host->tick = (struct bnd_timer){.cb = on_tick, .data = host};
    host->wake = (struct bnd_task){.cb = on_wake, .data = host};
    if (host->journal_dir == NULL || apply_open(host) != 0) {
        bnd_free(host->journal_dir);
        bnd_free(host);
        return NULL;
    }
    return host;
}

/* Frees a host that never ran. The journal closes by itself. */
static void ignore_closed(void *data) {
    (void)data;
}

static void abandon(struct bnd_raft_host *host) {
    for (size_t i = 0; i < host->groups_count; i++) {
        group_free(host->groups[i]);
    }
    bnd_free(host->groups);
    bnd_free(host->doomed);
    bnd_journal_close(host->journal, ignore_closed, NULL);
    apply_close(host);
    bnd_buf_free(&host->frame);
    bnd_free(host->journal_dir);
    bnd_free(host);
}

int bnd_raft_host_create(const struct bnd_raft_host_config *config, struct bnd_raft_host **out,
                         struct bnd_error *err) {
    BND_ASSERT(config->node_id != 0 && config->fsm_make != NULL && config->fatal != NULL);
    BND_ASSERT(config->group_wanted != NULL && config->group_changed != NULL);
    struct bnd_raft_host *host = host_new(config);
    if (host == NULL) {
        return BND_FAIL(err, NOMEM, "no memory for a Raft host");
    }
    int rv = storage_open(host, err);
    rv = rv == 0 ? slots_open(host, err) : rv;
    if (rv != 0) {
        abandon(host);
        return rv;
    }
    transport_open(host);
    readindex_open(host);
    replica_read_open(host);
    export_open(host);
    survey_open(host);
    host->config.env->ops->hook_add(host->config.env, &host->hook);
    for (size_t i = 0; i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        host->stamp_ms = group->stamp_ms > host->stamp_ms ? group->stamp_ms : host->stamp_ms;
        if (group->core != NULL) {
            group_start(group);
        }
    }
    bnd_timer_start(config->env, &host->tick, host->config.tick_ms * BND_MS);
    host_wake(host);
    *out = host;
    return 0;
}

/* ---- groups -----------------------------------------------------------------------------------*/

/* Collects the records of a new group. What of them is collected stays, whatever happens to the
 * rest: an empty group waits for a leader and harms nobody. */
static int journal_make(struct bnd_raft_host *host, struct making *making) {
    struct group *group = making->group;
    const struct bnd_journal_start start = {.slot = group->slot};
    int rv = bnd_journal_create(host->journal, group->gid, &start, &making->lsn);
    if (rv == 0 && making->entry.len > 0) {
        const struct bnd_journal_entry entry = {
            .index = 1,
            .term = making->term,
            .kind = BND_CORE_CONFIGURATION,
            .data = bnd_buf_slice(&making->entry),
        };
        rv = bnd_journal_meta(host->journal, group->gid, making->term, making->vote, &making->lsn);
        rv = rv == 0 ? bnd_journal_append(host->journal, group->gid, &entry, &making->lsn) : rv;
    }
    return rv;
}

static struct making *making_new(struct group *group,
                                 const struct bnd_raft_configuration *configuration) {
    struct making *making = bnd_zalloc(sizeof *making);
    if (making == NULL) {
        return NULL;
    }
    making->group = group;
    making->term = group->gone_term;
    making->vote = group->gone_vote;
    if (configuration != NULL) {
        bnd_raft_configuration_encode(configuration, &making->entry);
        if (making->term == 0) {
            making->term = 1; /* of entry 1 */
        }
    }
    if (making->entry.failed) {
        bnd_free(making);
        return NULL;
    }
    return making;
}

int host_group_make(struct bnd_raft_host *host, uint64_t gid,
                    const struct bnd_raft_configuration *configuration,
                    void (*done)(void *data, int status), void *data) {
    if (host_congested(host)) {
        return BND_FULL;
    }
    struct group *group = group_find(host, gid);
    if (group != NULL && group->phase != GROUP_GONE) {
        return BND_EXISTS;
    }
    int rv = group == NULL ? group_add(host, gid, &group) : 0;
    struct making *making = rv == 0 ? making_new(group, configuration) : NULL;
    if (making == NULL) {
        return BND_NOMEM;
    }
    group->slot = slots_new(host);
    rv = journal_make(host, making);
    if (rv != 0) {
        bnd_buf_free(&making->entry);
        bnd_free(making);
        host_fatal_group(group, rv, "its first records could not be journalled");
        return rv;
    }
    host->lsn_last = making->lsn;
    making->done = done;
    making->data = data;
    group->phase = GROUP_MAKING;
    group->known = true;
    bnd_list_push(&host->making, &making->link);
    host_wake(host);
    return 0;
}

int bnd_raft_group_bootstrap(struct bnd_raft_host *host, uint64_t gid,
                             const struct bnd_raft_member *members, size_t count,
                             void (*done)(void *data, int status), void *data) {
    struct bnd_raft_configuration configuration = {.count = count};
    if (host->dead || host->closing) {
        return BND_CANCELED;
    }
    if (count == 0 || count > BND_RAFT_MEMBERS_MAX) {
        return BND_INVALID;
    }
    memcpy(configuration.members, members, count * sizeof *members);
    size_t self = bnd_raft_configuration_find(&configuration, host->config.node_id);
    if (self == count || members[self].role != BND_RAFT_VOTER) {
        return BND_INVALID;
    }
    return host_group_make(host, gid, &configuration, done, data);
}

/* The last entry that the group's log ever had here. */
static struct bnd_journal_floor end_of_log(struct group *group) {
    group_refresh(group);
    struct bnd_journal_floor end = {.index = group->status.last_index,
                                    .term = group->status.last_term};
    bool lower = end.term < group->floor.term ||
                 (end.term == group->floor.term && end.index < group->floor.index);
    return lower ? group->floor : end;
}

int bnd_raft_group_destroy(struct bnd_raft_host *host, uint64_t gid) {
    struct group *group = group_running(host, gid);
    if (host->dead || host->closing || group == NULL) {
        return host->dead || host->closing ? BND_CANCELED : BND_NOTFOUND;
    }
    group->floor = end_of_log(group);
    int rv = bnd_journal_destroy(host->journal, gid, &group->floor, &host->lsn_last);
    if (rv == 0) {
        group->destroying = true;
        host->destroying++;
        host_wake(host);
    }
    return rv;
}

/* ---- what can be seen -------------------------------------------------------------------------*/

static enum bnd_raft_state public_state(enum bnd_core_role role) {
    switch (role) {
    case BND_CORE_LEADER:
        return BND_RAFT_LEADER;
    case BND_CORE_CANDIDATE:
        return BND_RAFT_CANDIDATE;
    default:
        return BND_RAFT_FOLLOWER;
    }
}

int bnd_raft_group_status(const struct bnd_raft_host *host, uint64_t gid,
                          struct bnd_raft_group_status *out) {
    const struct group *group = group_running(host, gid);
    if (group == NULL) {
        return BND_NOTFOUND;
    }
    struct bnd_core_status status;
    bnd_core_status(group->core, &status);
    *out = (struct bnd_raft_group_status){
        .gid = gid,
        .state = group->import != NULL ? BND_RAFT_INSTALLING : public_state(status.role),
        .term = status.term,
        .leader = status.leader,
        .ready = status.ready && group->written.index >= status.barrier_index,
        .commit = status.commit,
        .applied = group->written.index,
        .last_index = status.last_index,
        .persisted = group->settled.index,
        .stamp_ms = group->written.stamp_ms,
        .jump_from_ms = group->written.jump_from_ms,
        .jump_to_ms = group->written.jump_to_ms,
        .slot = group->slot,
        .members_count = status.configuration.count,
        .log_bytes = status.log_bytes,
    };
    for (size_t i = 0; i < status.configuration.count; i++) {
        out->members[i] = status.configuration.members[i];
        out->match[i] = status.role == BND_CORE_LEADER ? status.peers[i].match : 0;
    }
    return 0;
}

bool bnd_raft_leads(const struct bnd_raft_host *host, uint64_t gid) {
    const struct group *group = group_running(host, gid);
    return group != NULL && group->status.role == BND_CORE_LEADER;
}

bool bnd_raft_group_known(const struct bnd_raft_host *host, uint64_t gid) {
    const struct group *group = group_find(host, gid);
    return group != NULL && group->known;
}

void bnd_raft_each_group(const struct bnd_raft_host *host, void (*each)(void *data, uint64_t gid),
                         void *data) {
    for (size_t i = 0; i < host->groups_count; i++) {
        if (host->groups[i]->phase == GROUP_RUNNING && !host->groups[i]->destroying) {
            each(data, host->groups[i]->gid);
        }
    }
}

void bnd_raft_host_stats(const struct bnd_raft_host *host, struct bnd_raft_host_stats *out) {
    struct bnd_journal_stats journal;
    bnd_journal_stats(host->journal, &journal);
    *out = host->stats;
    out->journal_bytes = journal.bytes_written;
    out->journal_batches = journal.batches;
    out->proposals_bytes = host->proposals_bytes;
    out->moving = host->moving;
}

struct bnd_journal *bnd_raft_host_shared_journal(struct bnd_raft_host *host) {
    return host->journal;
}

void bnd_raft_host_journal(const struct bnd_raft_host *host, struct bnd_journal_stats *out) {
    bnd_journal_stats(host->journal, out);
}

uint64_t bnd_raft_stamp_ms(const struct bnd_raft_host *host) {
    return host->stamp_ms;
}

uint64_t host_group_now_ms(const struct bnd_raft_host *host, uint64_t gid) {
    const struct group *group = group_running(host, gid);
    uint64_t wall = bnd_wall_ms(host->config.env);
    return group == NULL || wall > group->stamp_ms ? wall : group->stamp_ms;
}

uint64_t bnd_raft_group_stamp_ms(const struct bnd_raft_host *host, uint64_t gid) {
    uint64_t now = host_group_now_ms(host, gid);
    return host->stamp_ms < now ? host->stamp_ms : now;
}
