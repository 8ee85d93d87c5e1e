/* The core on Debian's libraft 0.15.0: inputs. core_libraft_open.c is its begin and end,
 * core_libraft_io.c the callbacks that the library calls, and so the outputs.
 *
 * The library calls our raft_io and raft_fsm from inside raft_start, tick, recv and request
 * callbacks. Its own log in memory is read in place.
 *
 * Invariants:
 *  1. No callback of the library's is called from inside a call of the library's, and none of its
 * public functions from inside its callbacks (B14): what they ask for is put on `later` and done by
 * core_settle().
 *  2. Pending log operations are answered in order, always with success (G6, B8), also at close:
 * the library would answer an error by truncating its log, twice if two were pending.
 *  3. References that sends hold are given back in the same input (B9).
 *  4. Everything applied is put out before anything may leave the library's log.
 *
 * Failure modes: no memory, a library that gives up (state UNAVAILABLE, B13), or a case that a
 * guard calls fatal end in `fatal`; from the moment it is noticed no further output leaves this
 * core. */
#include "raft/core_libraft_private.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "raft/core_private.h"

#include <limits.h>

/* ---- after every call into the library
 * ------------------------------------------------------------ */

static void deliver(struct bnd_core *core, const struct bnd_message *message);

static void request_done(struct raft_barrier *req, int status) {
    (void)status; /* what was applied tells the outcome, never this */
    bnd_free(req);
}

static int propose_barrier(struct bnd_core *core) {
    struct raft_barrier *req = bnd_zalloc(sizeof *req);
    if (req == NULL || raft_barrier(&core->raft, req, request_done) != 0) {
        bnd_free(req);
        CORE_FAIL(core, NOMEM, "group %llu: no memory for a barrier",
                  (unsigned long long)core->gid);
        return BND_NOMEM;
    }
    return 0;
}

/* G1: whoever has become leader proposes its barrier before it hears anything else. */
static bool lead(struct bnd_core *core) {
    bool leader = core->raft.state == RAFT_LEADER;
    bool became = leader && !core->was_leader;
    core->was_leader = leader;
    if (!leader) {
        core->barrier_index = 0;
    }
    if (became && propose_barrier(core) == 0) {
        core->barrier_index = raft_last_index(&core->raft);
    }
    return became;
}

static bool from_leader(const struct bnd_message *message) {
    return message->type == BND_MESSAGE_APPEND || message->type == BND_MESSAGE_INSTALL;
}

static void park(struct bnd_core *core, struct bnd_parked *parked,
                 const struct bnd_message *message) {
    if (bnd_parked_push(parked, message) != 0) {
        core->dropped++; /* like a lossy network */
    }
}

/* Asks the guards, and does as they say. Returns the verdict. */
static enum bnd_guard_verdict judge(struct bnd_core *core, const struct bnd_message *original) {
    struct bnd_guard_state state = core_picture(core);
    struct bnd_message cut = *original;
    const struct bnd_message *message = &cut;
    bnd_guard_cut_prefix(&state, &cut);
    uint64_t index = 0;
    enum bnd_guard_verdict verdict = bnd_guard_incoming(&state, message, &index);
    switch (verdict) {
    case BND_GUARD_DELIVER:
        deliver(core, message);
        break;
    case BND_GUARD_HOLD:
        park(core, &core->held, message);
        break;
    case BND_GUARD_DELAY:
        park(core, &core->delayed, message);
        break;
    case BND_GUARD_DROP:
        core->dropped++;
        break;
    case BND_GUARD_FATAL_ROLLBACK:
        core_put_truncate(core, index);
        CORE_FAIL(core, UNSUPPORTED,
                  "group %llu: a configuration entry at or above %llu is rolled back by node %llu; "
                  "restart recovers",
                  (unsigned long long)core->gid, (unsigned long long)index,
                  (unsigned long long)message->from);
        break;
    case BND_GUARD_FATAL_TWO_LEADERS:
        CORE_FAIL(core, CORRUPT, "group %llu: node %llu leads in our own term %llu",
                  (unsigned long long)core->gid, (unsigned long long)message->from,
                  (unsigned long long)message->term);
        break;
    }
    return verdict;
}

static bool unpark_held(struct bnd_core *core) {
    if (core->held.count == 0 ||
        (core->raft.state == RAFT_LEADER && core->raft.last_stored < core->barrier_index)) {
        return false;
    }
    struct bnd_message message;
    struct bnd_buf memory;
    for (size_t n = core->held.count; n > 0 && bnd_parked_pop(&core->held, &message, &memory);
         n--) {
        (void)judge(core, &message); /* it may be held again */
        bnd_message_release(&message);
        bnd_buf_free(&memory);
    }
    return true;
}

/* In order: once one has to wait again, so do all behind it. */
static bool unpark_delayed(struct bnd_core *core) {
    if (core->delayed.count == 0 || core->pending_count > 0) {
        return false;
    }
    struct bnd_message message;
    struct bnd_buf memory;
    bool waits = false;
    for (size_t n = core->delayed.count; n > 0 && bnd_parked_pop(&core->delayed, &message, &memory);
         n--) {
        if (waits) {
            park(core, &core->delayed, &message);
        } else {
            waits = judge(core, &message) == BND_GUARD_DELAY;
        }
        bnd_message_release(&message);
        bnd_buf_free(&memory);
    }
    return true;
}

static uint64_t leader_of(const struct bnd_core *core) {
    switch (core->raft.state) {
    case RAFT_LEADER:
        return core->self;
    case RAFT_FOLLOWER:
        return core->raft.follower_state.current_leader.id;
    default:
        return 0;
    }
}

static bool ready(const struct bnd_core *core) {
    return core->raft.state == RAFT_LEADER && core->barrier_index > 0 &&
           core->raft.commit_index >= core->barrier_index;
}

static void notify(struct bnd_core *core) {
    struct notice now = {
        .role = core_role(core),
        .term = core->raft.current_term,
        .leader = leader_of(core),
        .change = core->last_change,
        .ready = ready(core),
        .committed = core->last_change <= core->raft.commit_index,
    };
    const struct notice *old = &core->notice;
    bool same = now.role == old->role && now.term == old->term && now.leader == old->leader &&
                now.change == old->change && now.ready == old->ready &&
                now.committed == old->committed;
    core->notice = now;
    if (!same && core->ops->changed != NULL) {
        core->ops->changed(core->owner);
    }
}

static bool enter(struct bnd_core *core) {
    BND_ASSERT(!core->inside); /* an output called an input */
    if (core->dead || !core->started) {
        return false;
    }
    core->inside = true;
    return true;
}

/* Does everything that callbacks put off, until nothing is left. */
void core_settle(struct bnd_core *core) {
    bool again = true;
    while (again && !core->failed) {
        core_put_applied(core);
        again = core_run_later(core);
        again |= lead(core);
        again |= unpark_held(core);
        again |= unpark_delayed(core);
    }
    core_flush_meta(core);
    if (core->raft.state == RAFT_UNAVAILABLE) {
        CORE_FAIL(core, CORRUPT, "group %llu: the library gave up: %s",
                  (unsigned long long)core->gid, raft_errmsg(&core->raft));
    }
    /* The library counts entries; we count bytes. */
    bool compact = core->compact_wanted || core->log_bytes > core->log_bytes_max;
    raft_set_snapshot_threshold(&core->raft, compact ? 1 : UINT_MAX);
    if (core->failed) {
        core->dead = true;
        core->ops->fatal(core->owner, &core->failure);
    } else {
        notify(core);
    }
    core->inside = false;
}

/* ---- messages in
 * ---------------------------------------------------------------------------------- */

/* Entries and one batch of all their data, as the library wants to own them. False: no memory. */
static bool library_entries(const struct bnd_message_append *append, struct raft_entry **out) {
    struct bnd_buf batch = {0};
    struct raft_entry *entries = raft_calloc(append->entries_count, sizeof *entries);
    bool ok = entries != NULL && bnd_buf_reserve(&batch, 1); /* never NULL, even without data */
    for (size_t i = 0; ok && i < append->entries_count; i++) {
        const struct bnd_journal_entry *entry = &append->entries[i];
        size_t before = batch.len;
        entries[i].term = entry->term;
        if (entry->kind == BND_CORE_CONFIGURATION) {
            entries[i].type = RAFT_CHANGE;
            ok = core_append_library_configuration(entry->data, &batch);
        } else {
            entries[i].type = entry->kind == BND_CORE_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
            bnd_buf_append_slice(&batch, entry->data);
        }
        entries[i].buf.len = batch.len - before;
    }
    if (!ok || batch.failed) {
        bnd_buf_free(&batch);
        raft_free(entries);
        return false;
    }
    uint8_t *data = batch.data; /* bnd_alloc's, which the library frees with */
    for (size_t i = 0; i < append->entries_count; i++) {
        entries[i].batch = batch.data;
        entries[i].buf.base = data;
        data += entries[i].buf.len;
    }
    *out = entries;
    return true;
}

static bool library_install(const struct bnd_message_install *install,
                            struct raft_install_snapshot *out) {
    struct bnd_raft_configuration configuration;
    uint8_t *data = raft_malloc(8);
    if (data == NULL ||
        bnd_raft_configuration_decode(install->start.config, &configuration, NULL) != 0 ||
        core_to_library_configuration(&configuration, &out->conf) != 0) {
        raft_free(data);
        return false;
    }
    bnd_put_u64(data, install->export_id);
    out->last_index = install->start.index;
    out->last_term = install->start.term;
    out->conf_index = install->start.config_index;
    out->data = (struct raft_buffer){.base = data, .len = 8};
    return true;
}

/* False: no memory, the message is lost. */
static bool library_message(const struct bnd_message *m, struct raft_message *out) {
    out->type = (unsigned short)m->type;
    out->server_id = m->from;
    switch (m->type) {
    case BND_MESSAGE_APPEND:
        out->append_entries = (struct raft_append_entries){
            .term = m->term,
            .prev_log_index = m->append.prev_index,
            .prev_log_term = m->append.prev_term,
            .leader_commit = m->append.commit,
            .n_entries = (unsigned)m->append.entries_count,
        };
        return m->append.entries_count == 0 ||
               library_entries(&m->append, &out->append_entries.entries);
    case BND_MESSAGE_APPEND_RESULT:
        out->append_entries_result = (struct raft_append_entries_result){
            .term = m->term,
            .rejected = m->append_result.rejected,
            .last_log_index = m->append_result.last_index,
        };
        return true;
    case BND_MESSAGE_VOTE:
        out->request_vote = (struct raft_request_vote){
            .term = m->term,
            .candidate_id = m->vote.candidate,
            .last_log_index = m->vote.last_index,
            .last_log_term = m->vote.last_term,
            .disrupt_leader = m->vote.disrupt,
            .pre_vote = m->vote.pre_vote,
        };
        return true;
    case BND_MESSAGE_VOTE_RESULT:
        out->request_vote_result = (struct raft_request_vote_result){
            .term = m->term,
            .vote_granted = m->vote_result.granted,
            .pre_vote = TO_RAFT_TRIBOOL(m->vote_result.pre_vote),
        };
        return true;
    case BND_MESSAGE_INSTALL:
        out->install_snapshot.term = m->term;
        return library_install(&m->install, &out->install_snapshot);
    case BND_MESSAGE_TIMEOUT_NOW:
        out->timeout_now = (struct raft_timeout_now){
            .term = m->term,
            .last_log_index = m->timeout_now.last_index,
            .last_log_term = m->timeout_now.last_term,
        };
        return true;
    default:
        return false;
    }
}

/* G2: what this AppendEntries, once accepted, has shown to be equal to its leader's log. */
static void note_verified(struct bnd_core *core, const struct bnd_message *message) {
    if (core->appending_rejected || core->raft.current_term != message->term ||
        core->raft.state != RAFT_FOLLOWER) {
        return;
    }
    if (core->verified_term != message->term) {
        core->verified_term = message->term;
        core->verified_index = 0;
    }
    if (core->appending_end > core->verified_index &&
        raft_last_index(&core->raft) >= core->appending_end) {
        core->verified_index = core->appending_end;
    }
}

static const struct raft_server *server_of(const struct bnd_core *core, uint64_t node) {
    const struct raft_configuration *c = &core->raft.configuration;
    for (unsigned i = 0; i < c->n; i++) {
        if (c->servers[i].id == node) {
            return &c->servers[i];
        }
    }
    return NULL;
}

static struct raft_progress *progress_of(struct bnd_core *core, uint64_t node) {
    const struct raft_server *server = server_of(core, node);
    if (core->raft.state != RAFT_LEADER || server == NULL) {
        return NULL;
    }
    return &core->raft.leader_state.progress[server - core->raft.configuration.servers];
}

/* B20: a follower whose replica was made anew (ADR 0086) refuses what its leader thinks it has had
 * for long; the library takes that for a stale message, for ever. To believe less of a follower is
 * always safe: what it is sent again, it has or takes, and nothing that was committed goes back. */
static void note_fallen(struct bnd_core *core, const struct bnd_message *message) {
    struct raft_progress *progress = progress_of(core, message->from);
    if (progress == NULL || message->type != BND_MESSAGE_APPEND_RESULT ||
        message->term != core->raft.current_term || message->append_result.rejected == 0 ||
        message->append_result.last_index >= progress->match_index ||
        progress->state == PROGRESS_SNAPSHOT) {
        return;
    }
    progress->match_index = message->append_result.last_index;
    progress->next_index = message->append_result.last_index + 1;
    progress->state = PROGRESS_PROBE;
}

static void deliver(struct bnd_core *core, const struct bnd_message *message) {
    char address[ADDRESS_BYTES];
    core_address_of(message->from, address);
    struct raft_message library = {.server_address = address};
    if (core->failed || !library_message(message, &library)) {
        core->dropped++;
        return;
    }
    bool append = message->type == BND_MESSAGE_APPEND && message->term >= core->raft.current_term;
    core->appending_end = append ? message->append.prev_index + message->append.entries_count : 0;
    core->appending_rejected = false;
    note_fallen(core, message);
    struct bnd_guard_state before;
    if (message->type == BND_MESSAGE_VOTE) {
        before = core_picture(core);
        core->voting = message;
        core->voting_on = &before;
    }
    core->recv(&core->io, &library);
    core->voting = NULL;
    core->voting_on = NULL;
    if (append) {
        note_verified(core, message);
    }
    core->appending_end = 0;
    core_put_applied(core);
}

void bnd_core_recv(struct bnd_core *core, const struct bnd_message *message) {
    if (!enter(core)) {
        return;
    }
    BND_ASSERT(message->gid == core->gid);
    if (message->from == 0 || message->from == core->self) {
        core->dropped++;
    } else if (from_leader(message) && core->delayed.count > 0) {
        park(core, &core->delayed, message);
    } else {
        (void)judge(core, message);
    }
    core_settle(core);
}

/* Nothing but log matching at index rests on it: a heartbeat with index for both what precedes it
 * and what is committed, as the leader may send at any time and the network may deliver late. */
void bnd_core_commit_told(struct bnd_core *core, uint64_t leader, uint64_t term, uint64_t index,
                          uint64_t index_term) {
    if (!enter(core)) {
        return;
    }
    const struct raft *raft = &core->raft;
    const struct bnd_message heartbeat = {
        .gid = core->gid,
        .from = leader,
        .to = core->self,
        .term = term,
        .type = BND_MESSAGE_APPEND,
        .append = {.prev_index = index, .prev_term = index_term, .commit = index},
    };
    if (raft->state == RAFT_FOLLOWER && raft->current_term == term && leader_of(core) == leader &&
        raft->commit_index < index && raft->last_stored >= index &&
        core_log_term_of(&raft->log, index) == index_term && core->delayed.count == 0) {
        (void)judge(core, &heartbeat);
    }
    core_settle(core);
}

/* ---- time and durability
 * --------------------------------------------------------------------------- */

/* G8 */
void core_raise_term(struct bnd_core *core) {
    core->term++;
    core->vote = core->self;
    core->raft.current_term = core->term;
    core->raft.voted_for = core->self;
    core->meta_dirty = true;
}

/* B18: as the library does when it leaves the state FOLLOWER. */
static void forget_leader(struct bnd_core *core) {
    raft_free(core->raft.follower_state.current_leader.address);
    core->raft.follower_state.current_leader.address = NULL;
    core->raft.follower_state.current_leader.id = 0;
}

/* A follower that has heard of no leader for its election timeout. */
static bool is_abandoned(const struct bnd_core *core) {
    return core->raft.state == RAFT_FOLLOWER &&
           bnd_now_ms(core->env) - core->raft.election_timer_start >=
               core->raft.follower_state.randomized_election_timeout;
}

void bnd_core_tick(struct bnd_core *core) {
    if (!enter(core)) {
        return;
    }
    struct bnd_guard_state state = core_picture(core);
    if (is_abandoned(core) && bnd_guard_must_forget_leader(&state)) {
        forget_leader(core); /* also below the floor (G9), where no election may begin */
    }
    if (bnd_guard_may_tick(&state)) {
        if (is_abandoned(core) && bnd_guard_must_raise_term(&state)) {
            core_raise_term(core);
        }
        core->tick(&core->io);
    }
    core_settle(core);
}

void bnd_core_leader_lost(struct bnd_core *core, uint64_t node, uint32_t wait_ms) {
    struct raft *raft = &core->raft;
    if (!enter(core)) {
        return;
    }
    if (raft->state == RAFT_FOLLOWER && raft->follower_state.current_leader.id == node) {
        uint64_t timeout_ms = raft->follower_state.randomized_election_timeout;
        uint64_t now_ms = bnd_now_ms(core->env);
        if (wait_ms < timeout_ms && now_ms >= timeout_ms &&
            raft->election_timer_start + timeout_ms > now_ms + wait_ms) {
            raft->election_timer_start = now_ms + wait_ms - timeout_ms;
        }
    }
    core_settle(core);
}

void bnd_core_persisted(struct bnd_core *core, uint64_t op) {
    if (!enter(core)) {
        return;
    }
    BND_ASSERT(op <= core->op_last);
    if (op > core->op_durable) {
        core->op_durable = op;
        core_run_pending(core, op, 0);
    }
    core_settle(core);
}

void bnd_core_persist_failed(struct bnd_core *core) {
    if (!enter(core)) {
        return;
    }
    if (core_guarded(core, BND_GUARD_STORAGE)) {
        CORE_FAIL(core, IO, "group %llu: the journal failed", (unsigned long long)core->gid);
    } else {
        core_run_pending(core, core->op_last, RAFT_IOERR);
    }
    core_settle(core);
}

/* ---- proposals and membership
 * ------------------------------------------------------------------------ */

static void apply_done(struct raft_apply *req, int status, void *result) {
    (void)status, (void)result; /* as request_done */
    bnd_free(req);
}

static void propose(struct bnd_core *core, struct bnd_slice data) {
    struct raft_apply *req = bnd_zalloc(sizeof *req);
    struct raft_buffer buffer = {.base = bnd_memdup(data.data, data.len), .len = data.len};
    if (req == NULL || buffer.base == NULL ||
        raft_apply(&core->raft, req, &buffer, 1, apply_done) != 0) {
        bnd_free(req);
        bnd_free(buffer.base);
        CORE_FAIL(core, NOMEM, "group %llu: no memory for a proposal",
                  (unsigned long long)core->gid);
    }
}

/* data NULL: a barrier. */
static int propose_entry(struct bnd_core *core, const struct bnd_slice *data, uint64_t *out_index,
                         uint64_t *out_term) {
    if (!enter(core)) {
        return BND_NOTLEADER;
    }
    int rv = BND_NOTLEADER;
    if (core->raft.state == RAFT_LEADER) {
        if (data == NULL) {
            (void)propose_barrier(core);
        } else {
            propose(core, *data);
        }
        rv = core->failed ? BND_NOMEM : 0;
    }
    if (rv == 0) {
        *out_index = raft_last_index(&core->raft);
        *out_term = core->raft.current_term;
    }
    core_settle(core);
    return rv;
}

int bnd_core_propose(struct bnd_core *core, struct bnd_slice data, uint64_t *out_index,
                     uint64_t *out_term) {
    BND_ASSERT(data.len > 0);
    return propose_entry(core, &data, out_index, out_term);
}

int bnd_core_barrier(struct bnd_core *core, uint64_t *out_index, uint64_t *out_term) {
    return propose_entry(core, NULL, out_index, out_term);
}

static bool changing(const struct bnd_core *core) {
    return core->raft.state == RAFT_LEADER && (core->raft.configuration_uncommitted_index != 0 ||
                                               core->raft.leader_state.promotee_id != 0);
}

static int may_change(struct bnd_core *core, uint64_t node) {
    struct bnd_guard_state state = core_picture(core);
    if (core->raft.state != RAFT_LEADER) {
        return BND_NOTLEADER;
    }
    if (node == 0 || node == core->self) {
        return BND_INVALID;
    }
    return changing(core) || !bnd_guard_may_change(&state) ? BND_BUSY : 0;
}

static void change_done(struct raft_change *req, int status) {
    (void)req, (void)status; /* the configuration tells */
}

/* The library's answer to a change that was checked before: all that is left is memory (B16). */
static int change_answer(struct bnd_core *core, int rv) {
    if (rv == 0) {
        return 0;
    }
    CORE_FAIL(core, NOMEM, "group %llu: a change of members failed in the library: %s",
              (unsigned long long)core->gid, raft_strerror(rv));
    return BND_NOMEM;
}

int bnd_core_member_add(struct bnd_core *core, uint64_t node) {
    if (!enter(core)) {
        return BND_NOTLEADER;
    }
    int rv = may_change(core, node);
    if (rv == 0 && server_of(core, node) != NULL) {
        rv = BND_EXISTS;
    }
    if (rv == 0 && core->raft.configuration.n >= BND_RAFT_MEMBERS_MAX) {
        rv = BND_FULL;
    }
    if (rv == 0) {
        char address[ADDRESS_BYTES];
        core_address_of(node, address);
        rv = change_answer(core, raft_add(&core->raft, &core->change, node, address, change_done));
    }
    core_settle(core);
    return rv;
}

int bnd_core_member_assign(struct bnd_core *core, uint64_t node, enum bnd_raft_role role) {
    if (!enter(core)) {
        return BND_NOTLEADER;
    }
    int rv = may_change(core, node);
    const struct raft_server *server = server_of(core, node);
    if (rv == 0 && server == NULL) {
        rv = BND_NOTFOUND;
    }
    if (rv == 0 && server->role == core_to_library_role[role]) {
        rv = BND_INVALID;
    }
    if (rv == 0) {
        rv = change_answer(core, raft_assign(&core->raft, &core->change, node,
                                             core_to_library_role[role], change_done));
    }
    core_settle(core);
    return rv;
}

int bnd_core_member_remove(struct bnd_core *core, uint64_t node) {
    if (!enter(core)) {
        return BND_NOTLEADER;
    }
    int rv = may_change(core, node);
    if (rv == 0 && server_of(core, node) == NULL) {
        rv = BND_NOTFOUND;
    }
    if (rv == 0) {
        rv = change_answer(core, raft_remove(&core->raft, &core->change, node, change_done));
    }
    core_settle(core);
    return rv;
}

int bnd_core_transfer(struct bnd_core *core, uint64_t to) {
    if (!enter(core)) {
        return BND_NOTLEADER;
    }
    uint64_t last = raft_last_index(&core->raft);
    const struct raft_server *server = server_of(core, to);
    const struct raft_progress *progress = progress_of(core, to);
    int rv = 0;
    if (core->raft.state != RAFT_LEADER) {
        rv = BND_NOTLEADER;
    } else if (server == NULL || server->role != RAFT_VOTER || to == core->self) {
        rv = BND_INVALID;
    } else if (progress->match_index != last) {
        rv = BND_BUSY;
    } else {
        struct bnd_guard_state state = core_picture(core);
        struct bnd_message message = {
            .gid = core->gid,
            .from = core->self,
            .to = to,
            .term = core->raft.current_term,
            .type = BND_MESSAGE_TIMEOUT_NOW,
            .timeout_now = {.last_index = last, .last_term = state.term_of(state.log, last)},
        };
        (void)core_put_message(core, &message); /* lost is lost: the leader shows it */
    }
    core_settle(core);
    return rv;
}

/* ---- compaction and state
 * ------------------------------------------------------------------------------ */

void bnd_core_install_failed(struct bnd_core *core, uint64_t node) {
    if (!enter(core)) {
        return;
    }
    struct raft_progress *progress = progress_of(core, node);
    if (progress != NULL && progress->state == PROGRESS_SNAPSHOT) {
        progress->snapshot_index = 0;
        progress->state = PROGRESS_PROBE;
    }
    core_settle(core);
}

void bnd_core_compact(struct bnd_core *core, size_t keep_bytes) {
    if (!enter(core)) {
        return;
    }
    core->compact_wanted = true;
    core->compact_bytes = keep_bytes;
    core_settle(core);
}

void bnd_core_keep_above(struct bnd_core *core, uint64_t index) {
    core->keep_above = index;
}

int bnd_core_entry(struct bnd_core *core, uint64_t index, struct bnd_journal_entry *out) {
    const struct raft_entry *entry = core_log_entry(&core->raft.log, index);
    if (entry == NULL) {
        return BND_NOTFOUND;
    }
    const struct bnd_journal_entry *neutral = core_translate(core, entry, 1, index);
    if (neutral == NULL) {
        return BND_NOMEM;
    }
    *out = *neutral;
    return 0;
}

static void fill_peers(const struct bnd_core *core, struct bnd_core_status *out) {
    for (unsigned i = 0; i < core->raft.configuration.n; i++) {
        const struct raft_progress *progress = &core->raft.leader_state.progress[i];
        bool self = core->raft.configuration.servers[i].id == core->self;
        out->peers[i] = (struct bnd_core_peer){
            .match = self ? core->raft.last_stored : progress->match_index,
            .recent = self || progress->recent_recv,
            .installing = progress->state == PROGRESS_SNAPSHOT,
        };
    }
}

void bnd_core_status(const struct bnd_core *core, struct bnd_core_status *out) {
    const struct raft *raft = &core->raft;
    const struct raft_log *log = &raft->log;
    *out = (struct bnd_core_status){
        .role = core_role(core),
        .term = core->started ? raft->current_term : core->term,
        .vote = core->started ? raft->voted_for : core->vote,
        .leader = leader_of(core),
        .commit = raft->commit_index,
        .applied = core->applied_out,
        .stored = raft->last_stored,
        .last_index = log->offset + core_log_count(log),
        .first_index = log->offset + 1,
        .barrier_index = core->barrier_index,
        .ready = ready(core),
        .configuration_index = core->last_change,
        .configuration_committed = core->last_change <= raft->commit_index,
        .changing = changing(core),
        .log_bytes = core->log_bytes,
        .ops_last = core->op_last,
        .ops_durable = core->op_durable,
        .installs = core->installs,
        .held = core->held.count,
        .delayed = core->delayed.count,
        .dropped = core->dropped,
    };
    out->last_term = core_log_term_of(log, out->last_index);
    out->commit_term = core_log_term_of(log, out->commit);
    core_from_library_configuration(&raft->configuration, &out->configuration);
    if (raft->state == RAFT_LEADER) {
        fill_peers(core, out);
    }
}
