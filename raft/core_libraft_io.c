/* The callbacks that libraft calls, turned into outputs: raft_io, raft_fsm, and the library's
 * types. See core_libraft.c for the invariants. */
#include "raft/core_libraft_private.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <limits.h>

/* ---- the library's types ----------------------------------------------------------------------
 */

const int core_to_library_role[] = {
    [BND_RAFT_SPARE] = RAFT_SPARE,
    [BND_RAFT_STANDBY] = RAFT_STANDBY,
    [BND_RAFT_VOTER] = RAFT_VOTER,
};

static enum bnd_raft_role from_library_role(int role) {
    return role == RAFT_VOTER ? BND_RAFT_VOTER
                              : (role == RAFT_STANDBY ? BND_RAFT_STANDBY : BND_RAFT_SPARE);
}

void core_address_of(uint64_t node, char out[ADDRESS_BYTES]) {
    char digits[ADDRESS_BYTES]; /* from the last one; 20 at most */
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + node % 10);
        node /= 10;
    } while (node > 0);
    for (size_t i = 0; i < count; i++) {
        out[i] = digits[count - 1 - i];
    }
    out[count] = 0;
}

/* 0 or the library's code; *out is to be closed only on success. */
int core_to_library_configuration(const struct bnd_raft_configuration *configuration,
                                  struct raft_configuration *out) {
    raft_configuration_init(out);
    for (size_t i = 0; i < configuration->count; i++) {
        char address[ADDRESS_BYTES];
        core_address_of(configuration->members[i].node, address);
        int rv = raft_configuration_add(out, configuration->members[i].node, address,
                                        core_to_library_role[configuration->members[i].role]);
        if (rv != 0) {
            raft_configuration_close(out);
            return rv;
        }
    }
    return 0;
}

void core_from_library_configuration(const struct raft_configuration *configuration,
                                     struct bnd_raft_configuration *out) {
    BND_ASSERT(configuration->n <= BND_RAFT_MEMBERS_MAX);
    out->count = configuration->n;
    for (unsigned i = 0; i < configuration->n; i++) {
        out->members[i].node = configuration->servers[i].id;
        out->members[i].role = from_library_role(configuration->servers[i].role);
    }
}

bool core_append_library_configuration(struct bnd_slice encoded, struct bnd_buf *out) {
    struct bnd_raft_configuration configuration;
    struct raft_configuration library;
    struct raft_buffer buffer;
    if (bnd_raft_configuration_decode(encoded, &configuration, NULL) != 0 ||
        core_to_library_configuration(&configuration, &library) != 0) {
        return false;
    }
    int rv = raft_configuration_encode(&library, &buffer);
    raft_configuration_close(&library);
    if (rv != 0) {
        return false;
    }
    bnd_buf_append(out, buffer.base, buffer.len);
    raft_free(buffer.base);
    return !out->failed;
}

/* The library exports an encoder of its configuration entries but no decoder: format 1, u64 count,
 * then for each: u64 id, address with its 0, u8 role; padded with anything to 8. */
static void decode_library_configuration(const struct raft_buffer *buffer,
                                         struct bnd_raft_configuration *out) {
    struct bnd_reader r = bnd_reader(bnd_slice(buffer->base, buffer->len));
    uint8_t format = bnd_read_u8(&r);
    uint64_t count = bnd_read_u64(&r);
    BND_ASSERT(format == 1);
    BND_ASSERT(count > 0 && count <= BND_RAFT_MEMBERS_MAX);
    out->count = (size_t)count;
    for (size_t i = 0; i < out->count; i++) {
        out->members[i].node = bnd_read_u64(&r);
        while (!r.failed && bnd_read_u8(&r) != 0) {
        }
        out->members[i].role = from_library_role(bnd_read_u8(&r));
    }
    BND_ASSERT(!r.failed);
}

/* ---- the library's log, read in place ----------------------------------------------------------
 */

uint64_t core_log_count(const struct raft_log *log) {
    return log->front <= log->back ? log->back - log->front : log->size - log->front + log->back;
}

const struct raft_entry *core_log_entry(const struct raft_log *log, uint64_t index) {
    if (index <= log->offset || index > log->offset + core_log_count(log)) {
        return NULL;
    }
    return &log->entries[(log->front + (size_t)(index - 1 - log->offset)) % log->size];
}

uint64_t core_log_term_of(const void *log_pointer, uint64_t index) {
    const struct raft_log *log = log_pointer;
    const struct raft_entry *entry = core_log_entry(log, index);
    if (entry != NULL) {
        return entry->term;
    }
    return index != 0 && index == log->snapshot.last_index ? log->snapshot.last_term : 0;
}

static size_t entry_cost(const struct raft_entry *entry) {
    return entry->buf.len + ENTRY_OVERHEAD_BYTES;
}

/* The bytes of all entries from index on. */
size_t core_log_cost_from(const struct bnd_core *core, uint64_t index) {
    const struct raft_log *log = &core->raft.log;
    size_t bytes = 0;
    uint64_t last = log->offset + core_log_count(log);
    for (uint64_t i = index > log->offset ? index : log->offset + 1; i <= last; i++) {
        bytes += entry_cost(core_log_entry(log, i));
    }
    return bytes;
}

/* ---- state for guards ---------------------------------------------------------------------------
 */

enum bnd_core_role core_role(const struct bnd_core *core) {
    switch (core->raft.state) {
    case RAFT_LEADER:
        return BND_CORE_LEADER;
    case RAFT_CANDIDATE:
        return BND_CORE_CANDIDATE;
    default:
        return BND_CORE_FOLLOWER;
    }
}

static bool is_voter(const struct bnd_core *core, uint64_t node) {
    const struct raft_configuration *c = &core->raft.configuration;
    for (unsigned i = 0; i < c->n; i++) {
        if (c->servers[i].id == node) {
            return c->servers[i].role == RAFT_VOTER;
        }
    }
    return false;
}

static unsigned voters(const struct bnd_core *core) {
    const struct raft_configuration *c = &core->raft.configuration;
    unsigned count = 0;
    for (unsigned i = 0; i < c->n; i++) {
        count += c->servers[i].role == RAFT_VOTER;
    }
    return count;
}

struct bnd_guard_state core_picture(struct bnd_core *core) {
    bool voter = is_voter(core, core->self);
    return (struct bnd_guard_state){
        .guards = core->guards,
        .role = core_role(core),
        .self = core->self,
        .term = core->raft.current_term,
        .vote = core->raft.voted_for,
        .commit = core->raft.commit_index,
        .stored = core->raft.last_stored,
        .last_index = raft_last_index(&core->raft),
        .barrier_index = core->barrier_index,
        .last_change = core->last_change,
        .verified_term = core->verified_term,
        .verified_index = core->verified_index,
        .floor_index = core->floor.index,
        .floor_term = core->floor.term,
        .ops_pending = core->pending_count,
        .voter = voter,
        .sole_voter = voter && voters(core) == 1,
        .has_leader =
            core->raft.state == RAFT_LEADER ||
            (core->raft.state == RAFT_FOLLOWER && core->raft.follower_state.current_leader.id != 0),
        .term_of = core_log_term_of,
        .log = &core->raft.log,
    };
}

bool core_guarded(const struct bnd_core *core, enum bnd_guard guard) {
    return (core->guards & (uint32_t)guard) != 0;
}

/* ---- outputs ------------------------------------------------------------------------------------
 */

/* Numbers a log operation. 0: failed, nothing may go out. */
static uint64_t next_op(struct bnd_core *core, enum pending_kind kind, void *request) {
    struct pending *pending = core->failed ? NULL : bnd_zalloc(sizeof *pending);
    if (pending == NULL) {
        CORE_FAIL(core, NOMEM, "group %llu: no memory for a log operation",
                  (unsigned long long)core->gid);
        return 0;
    }
    pending->op = ++core->op_last;
    pending->kind = kind;
    pending->request = request;
    bnd_list_push(&core->pending, &pending->link);
    core->pending_count++;
    return pending->op;
}

/* Term and vote change one after the other in the library; they go out as one record, before
 * whatever else goes out next. */
void core_flush_meta(struct bnd_core *core) {
    if (!core->meta_dirty) {
        return;
    }
    core->meta_dirty = false;
    uint64_t op = next_op(core, PENDING_MARK, NULL);
    if (op != 0) {
        core->op_hold = op;
        core->ops->persist_meta(core->owner, op, core->term, core->vote);
    }
}

/* The neutral form of n consecutive entries from `index`, in core's scratch until the next call.
 * NULL: failed. */
const struct bnd_journal_entry *
core_translate(struct bnd_core *core, const struct raft_entry *entries, size_t n, uint64_t index) {
    if (n > core->entries_cap) {
        void *grown = bnd_realloc(core->entries, n * sizeof *core->entries);
        if (grown == NULL) {
            goto failed;
        }
        core->entries = grown;
        core->entries_cap = n;
    }
    size_t changes = 0;
    for (size_t i = 0; i < n; i++) {
        changes += entries[i].type == RAFT_CHANGE;
    }
    bnd_buf_reset(&core->scratch);
    /* Reserved at once: slices into it must not move. */
    if (changes > 0 && !bnd_buf_reserve(&core->scratch, changes * CONFIGURATION_BYTES_MAX)) {
        goto failed;
    }
    for (size_t i = 0; i < n; i++) {
        struct bnd_journal_entry *out = &core->entries[i];
        *out = (struct bnd_journal_entry){.index = index + i, .term = entries[i].term};
        if (entries[i].type == RAFT_COMMAND) {
            out->kind = BND_CORE_COMMAND;
            out->data = bnd_slice(entries[i].buf.base, entries[i].buf.len);
        } else if (entries[i].type == RAFT_BARRIER) {
            out->kind = BND_CORE_BARRIER; /* the library's own data is 8 undefined bytes */
        } else {
            struct bnd_raft_configuration configuration;
            decode_library_configuration(&entries[i].buf, &configuration);
            size_t before = core->scratch.len;
            bnd_raft_configuration_encode(&configuration, &core->scratch);
            out->kind = BND_CORE_CONFIGURATION;
            out->data = bnd_slice(core->scratch.data + before, core->scratch.len - before);
        }
    }
    return core->entries;
failed:
    CORE_FAIL(core, NOMEM, "group %llu: no memory for %zu entries", (unsigned long long)core->gid,
              n);
    return NULL;
}

int core_put_message(void *data, const struct bnd_message *message) {
    struct bnd_core *core = data;
    uint64_t after = core->op_hold > core->op_durable ? core->op_hold : 0;
    return core->ops->send(core->owner, message, after);
}

void core_put_applied(struct bnd_core *core) {
    while (!core->failed && core->applied_out < core->raft.last_applied) {
        uint64_t index = core->applied_out + 1;
        const struct raft_entry *entry = core_log_entry(&core->raft.log, index);
        if (entry == NULL) {
            CORE_FAIL(core, CORRUPT, "group %llu: applied entry %llu is not in the log",
                      (unsigned long long)core->gid, (unsigned long long)index);
            return;
        }
        const struct bnd_journal_entry *out = core_translate(core, entry, 1, index);
        if (out != NULL) {
            core->applied_out = index;
            core->ops->apply(core->owner, out);
        }
    }
}

static void put_later(struct bnd_core *core, enum later_kind kind, void *request) {
    if (!BND_ROOM(core->later, core->later_count, core->later_cap, 16)) {
        CORE_FAIL(core, NOMEM, "group %llu: no memory for a send", (unsigned long long)core->gid);
        return;
    }
    core->later[core->later_count++] = (struct later){.kind = kind, .request = request};
}

/* ---- raft_io ------------------------------------------------------------------------------------
 */

static int io_init(struct raft_io *io, raft_id id, const char *address) {
    (void)io, (void)id, (void)address; /* known already */
    return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb cb) {
    struct bnd_core *core = io->impl;
    core->io_closed = cb; /* bnd_core_close calls it, last */
}

static struct raft_snapshot *make_snapshot(const struct base *base) {
    struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);
    struct raft_buffer *buffer = raft_calloc(1, sizeof *buffer);
    void *data = raft_calloc(1, 8); /* the library wants bytes; they mean nothing */
    struct raft_configuration configuration;
    if (snapshot == NULL || buffer == NULL || data == NULL ||
        core_to_library_configuration(&base->configuration, &configuration) != 0) {
        raft_free(snapshot);
        raft_free(buffer);
        raft_free(data);
        return NULL;
    }
    *buffer = (struct raft_buffer){.base = data, .len = 8};
    snapshot->index = base->index;
    snapshot->term = base->term;
    snapshot->configuration = configuration;
    snapshot->configuration_index = base->configuration_index;
    snapshot->bufs = buffer;
    snapshot->n_bufs = 1;
    return snapshot;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries) {
    struct bnd_core *core = io->impl;
    *snapshot = NULL;
    if (core->base.index > 0) {
        *snapshot = make_snapshot(&core->base);
        if (*snapshot == NULL) {
            return RAFT_NOMEM;
        }
    }
    *term = core->term;
    *voted_for = core->vote;
    *start_index = core->load_first;
    *entries = core->load_entries;
    *n_entries = core->load_count;
    core->load_entries = NULL;
    core->load_count = 0;
    return 0;
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                    raft_io_recv_cb recv) {
    struct bnd_core *core = io->impl;
    (void)msecs; /* the host ticks */
    core->tick = tick;
    core->recv = recv;
    return 0;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf) {
    (void)io, (void)conf;
    BND_UNREACHABLE("the host bootstraps through its journal");
}

static int io_set_term(struct raft_io *io, raft_term term) {
    struct bnd_core *core = io->impl;
    core->term = term;
    core->vote = 0;
    core->meta_dirty = true;
    return 0;
}

static int io_set_vote(struct raft_io *io, raft_id server_id) {
    struct bnd_core *core = io->impl;
    core->vote = server_id;
    core->meta_dirty = true;
    return 0;
}

static bool neutral_message(struct bnd_core *core, const struct raft_message *message,
                            struct bnd_message *out) {
    *out = (struct bnd_message){
        .gid = core->gid,
        .from = core->self,
        .to = message->server_address == NULL ? 0 : message->server_id,
        .type = (enum bnd_message_type)message->type,
    };
    switch (message->type) {
    case RAFT_IO_APPEND_ENTRIES: {
        const struct raft_append_entries *a = &message->append_entries;
        out->term = a->term;
        out->append = (struct bnd_message_append){
            .prev_index = a->prev_log_index,
            .prev_term = a->prev_log_term,
            .commit = a->leader_commit,
            .entries_count = a->n_entries,
        };
        if (a->n_entries > 0) {
            out->append.entries =
                core_translate(core, a->entries, a->n_entries, a->prev_log_index + 1);
        }
        return a->n_entries == 0 || out->append.entries != NULL;
    }
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        out->term = message->append_entries_result.term;
        out->append_result = (struct bnd_message_append_result){
            .rejected = message->append_entries_result.rejected,
            .last_index = message->append_entries_result.last_log_index,
        };
        return true;
    case RAFT_IO_REQUEST_VOTE:
        out->term = message->request_vote.term;
        out->vote = (struct bnd_message_vote){
            .candidate = message->request_vote.candidate_id,
            .last_index = message->request_vote.last_log_index,
            .last_term = message->request_vote.last_log_term,
            .disrupt = message->request_vote.disrupt_leader,
            .pre_vote = message->request_vote.pre_vote,
        };
        return true;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        out->term = message->request_vote_result.term;
        out->vote_result = (struct bnd_message_vote_result){
            .granted = message->request_vote_result.vote_granted,
            .pre_vote = message->request_vote_result.pre_vote == raft_tribool_true,
        };
        return true;
    case RAFT_IO_INSTALL_SNAPSHOT: {
        struct bnd_raft_configuration configuration;
        core_from_library_configuration(&message->install_snapshot.conf, &configuration);
        bnd_buf_reset(&core->scratch);
        bnd_raft_configuration_encode(&configuration, &core->scratch);
        out->term = message->install_snapshot.term;
        out->install.start = (struct bnd_journal_start){
            .index = message->install_snapshot.last_index,
            .term = message->install_snapshot.last_term,
            .config = bnd_buf_slice(&core->scratch),
            .config_index = message->install_snapshot.conf_index,
        };
        return !core->scratch.failed;
    }
    default:
        BND_UNREACHABLE("the library sends TimeoutNow only for raft_transfer");
    }
}

/* A refusal of the library's. B18: it becomes a vote if it has no other reason than that we do not
 * vote. B19: else it says our term. */
static void refuse(struct bnd_core *core, struct bnd_message *result) {
    struct bnd_guard_state state = core_picture(core);
    const struct bnd_message *vote = core->voting;
    if (vote == NULL || result->to != vote->from) {
        return;
    }
    if (!bnd_guard_grants_vote(core->voting_on, &state, vote)) {
        result->term = bnd_guard_refusal_term(&state, vote, result->term);
        return;
    }
    result->vote_result.granted = true;
    result->term = vote->term;
    if (!vote->vote.pre_vote) {
        core->vote = vote->vote.candidate;
        core->raft.voted_for = vote->vote.candidate;
        core->meta_dirty = true;
        core_flush_meta(core);
    }
}

static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
                   raft_io_send_cb cb) {
    struct bnd_core *core = io->impl;
    core_flush_meta(core);
    struct bnd_message neutral;
    int rv = 0;
    if (!core->failed && neutral_message(core, message, &neutral)) {
        if (neutral.type == BND_MESSAGE_VOTE_RESULT && !neutral.vote_result.granted) {
            refuse(core, &neutral);
        }
        struct bnd_guard_state state = core_picture(core);
        if (neutral.type == BND_MESSAGE_APPEND_RESULT && neutral.append_result.rejected != 0) {
            core->appending_rejected = true;
        }
        if (!bnd_guard_outgoing(&state, core->appending_end, &neutral)) {
            core->dropped++;
        } else if (neutral.type == BND_MESSAGE_APPEND) {
            bnd_guard_withhold(&state, is_voter(core, neutral.to), &neutral);
            rv = bnd_message_split(&neutral, core->message_bytes_max, core_put_message, core);
        } else {
            rv = core_put_message(core, &neutral);
        }
    }
    if (rv != 0 && !core_guarded(core, BND_GUARD_SEND)) {
        return RAFT_NOCONNECTION;
    }
    req->cb = cb;
    if (cb != NULL) {
        put_later(core, LATER_SEND, req);
    }
    return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb) {
    struct bnd_core *core = io->impl;
    req->cb = cb;
    core_flush_meta(core);
    uint64_t last = raft_last_index(&core->raft);
    BND_ASSERT(n > 0 && last >= n);
    uint64_t first = last - n + 1;
    const struct bnd_journal_entry *out = core_translate(core, entries, n, first);
    for (unsigned i = 0; i < n; i++) {
        core->log_bytes += entry_cost(&entries[i]);
        if (entries[i].type == RAFT_CHANGE) {
            core->last_change = first + i;
        }
    }
    uint64_t op = out == NULL ? 0 : next_op(core, PENDING_APPEND, req);
    if (op != 0) {
        core->ops->append(core->owner, op, out, n);
    }
    return 0;
}

void core_put_truncate(struct bnd_core *core, uint64_t index) {
    core_flush_meta(core);
    uint64_t op = next_op(core, PENDING_MARK, NULL);
    if (op != 0) {
        core->op_hold = op;
        core->ops->truncate(core->owner, op, index);
    }
}

static int io_truncate(struct raft_io *io, raft_index index) {
    struct bnd_core *core = io->impl;
    core->log_bytes -= core_log_cost_from(core, index); /* the entries are still there */
    if (core->verified_index >= index) {
        core->verified_index = index - 1;
    }
    if (core->last_change >= index) { /* only with guard G4 off */
        uint64_t i = index - 1;
        const struct raft_entry *entry = NULL;
        while ((entry = core_log_entry(&core->raft.log, i)) != NULL && entry->type != RAFT_CHANGE) {
            i--;
        }
        core->last_change = entry != NULL ? i : core->base.configuration_index;
    }
    core_put_truncate(core, index);
    return 0;
}

/* Which entries go when the log is compacted at `index`: those up to the result, if it has them. */
static uint64_t drop_upto(const struct bnd_core *core, uint64_t index) {
    const struct raft_log *log = &core->raft.log;
    size_t keep_bytes = core->compact_wanted ? core->compact_bytes : core->log_bytes_max / 2;
    uint64_t kept_from = log->offset + core_log_count(log) + 1;
    size_t bytes = 0;
    while (kept_from > log->offset + 1) {
        bytes += entry_cost(core_log_entry(log, kept_from - 1));
        if (bytes > keep_bytes) {
            break;
        }
        kept_from--;
    }
    uint64_t upto = kept_from - 1;
    if (upto >= index) { /* the entry at index stays: its term is asked for first */
        upto = index - 1;
    }
    return upto < core->keep_above ? upto : core->keep_above;
}

static void take_base(struct bnd_core *core, const struct raft_snapshot *snapshot) {
    core->base.index = snapshot->index;
    core->base.term = snapshot->term;
    core->base.configuration_index = snapshot->configuration_index;
    core_from_library_configuration(&snapshot->configuration, &core->base.configuration);
}

static void put_install(struct bnd_core *core, struct raft_io_snapshot_put *req,
                        const struct raft_snapshot *snapshot) {
    BND_ASSERT(snapshot->n_bufs == 1 && snapshot->bufs[0].len == 8);
    core_flush_meta(core);
    take_base(core, snapshot);
    core->last_change = snapshot->configuration_index;
    core->log_bytes = 0;
    core->installs++;
    core->install_buffers = snapshot->bufs;
    uint64_t export_id = bnd_get_u64(snapshot->bufs[0].base);
    bnd_buf_reset(&core->scratch);
    bnd_raft_configuration_encode(&core->base.configuration, &core->scratch);
    if (core->scratch.failed) {
        CORE_FAIL(core, NOMEM, "group %llu: no memory for an install",
                  (unsigned long long)core->gid);
    }
    uint64_t op = next_op(core, PENDING_INSTALL, req);
    if (op != 0) {
        core->op_hold = op;
        struct bnd_journal_start start = {
            .index = snapshot->index,
            .term = snapshot->term,
            .config = bnd_buf_slice(&core->scratch),
            .config_index = snapshot->configuration_index,
        };
        core->ops->install(core->owner, op, &start, export_id);
    }
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb) {
    struct bnd_core *core = io->impl;
    (void)trailing; /* ours is set when it is answered */
    req->cb = cb;
    if (snapshot == &core->raft.snapshot.pending) {
        put_later(core, LATER_SNAPSHOT_PUT, req);
    } else {
        put_install(core, req, snapshot);
    }
    return 0;
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb) {
    req->cb = cb;
    put_later(io->impl, LATER_SNAPSHOT_GET, req);
    return 0;
}

static raft_time io_time(struct raft_io *io) {
    const struct bnd_core *core = io->impl;
    return bnd_now_ms(core->env);
}

static int io_random(struct raft_io *io, int min, int max) {
    const struct bnd_core *core = io->impl;
    BND_ASSERT(min <= max);
    return min + (int)(bnd_random(core->env) % (uint64_t)(max - min + 1));
}

/* ---- raft_fsm -----------------------------------------------------------------------------------
 */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result) {
    (void)fsm, (void)buf; /* core_put_applied reads the log: barriers and changes never come here */
    *result = NULL;
    return 0;
}

/* Frees RAM and nothing else: it copies nothing and is answered in the same input. */
static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs) {
    struct bnd_core *core = fsm->data;
    struct bnd_guard_state state = core_picture(core);
    /* Outputs come before anything leaves the log; settle() does both. */
    if (core->failed || !bnd_guard_may_compact(&state) ||
        core->keep_above <= core->raft.log.offset ||
        drop_upto(core, core->raft.last_applied) <= core->raft.log.offset) {
        return RAFT_BUSY;
    }
    *bufs = raft_calloc(1, sizeof **bufs);
    if (*bufs == NULL) {
        return RAFT_BUSY;
    }
    *n_bufs = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf) {
    (void)fsm; /* the state machine is the host's: it switched with the journal record */
    raft_free(buf->base);
    return 0;
}

void core_wire_library(struct bnd_core *core) {
    core->io = (struct raft_io){
        .version = 1,
        .impl = core,
        .init = io_init,
        .close = io_close,
        .load = io_load,
        .start = io_start,
        .bootstrap = io_bootstrap,
        .recover = io_bootstrap,
        .set_term = io_set_term,
        .set_vote = io_set_vote,
        .send = io_send,
        .append = io_append,
        .truncate = io_truncate,
        .snapshot_put = io_snapshot_put,
        .snapshot_get = io_snapshot_get,
        .time = io_time,
        .random = io_random,
    };
    core->fsm = (struct raft_fsm){
        .version = 1,
        .data = core,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static void answer_compaction(struct bnd_core *core, struct raft_io_snapshot_put *req) {
    struct raft *raft = &core->raft;
    uint64_t index = raft->snapshot.pending.index;
    uint64_t trailing = index - drop_upto(core, index);
    raft_set_snapshot_trailing(raft, trailing < UINT_MAX ? (unsigned)trailing : UINT_MAX);
    take_base(core, &raft->snapshot.pending);
    core->compact_wanted = false;
    req->cb(req, 0);
    core->log_bytes = core_log_cost_from(core, 0);
}

static void answer_get(struct bnd_core *core, struct raft_io_snapshot_get *req) {
    struct raft_snapshot *snapshot = core->failed ? NULL : make_snapshot(&core->base);
    req->cb(req, snapshot, snapshot == NULL ? RAFT_NOMEM : 0);
}

bool core_run_later(struct bnd_core *core) {
    bool any = core->later_count > 0;
    /* The list may grow while it is worked off. */
    for (size_t i = 0; i < core->later_count; i++) {
        struct later later = core->later[i];
        if (later.kind == LATER_SEND) {
            struct raft_io_send *req = later.request;
            req->cb(req, 0);
        } else if (later.kind == LATER_SNAPSHOT_GET) {
            answer_get(core, later.request);
        } else {
            answer_compaction(core, later.request);
        }
    }
    core->later_count = 0;
    return any;
}

static void answer_install(struct bnd_core *core, struct raft_io_snapshot_put *req, int status) {
    bool discarded = status != 0 || core->raft.state == RAFT_UNAVAILABLE;
    req->cb(req, status);
    if (discarded) {
        raft_free(core->install_buffers); /* the library forgets the array on this path */
    } else {
        core->applied_out = core->raft.last_applied;
        /* The library keeps it, and would then refuse every change. */
        core->raft.configuration_uncommitted_index = 0;
    }
    core->install_buffers = NULL;
}

void core_run_pending(struct bnd_core *core, uint64_t op, int status) {
    while (!bnd_list_empty(&core->pending)) {
        struct pending *first = BND_CONTAINER(core->pending.next, struct pending, link);
        if (first->op > op) {
            break;
        }
        bnd_link_remove(&first->link);
        core->pending_count--;
        if (first->kind == PENDING_APPEND) {
            struct raft_io_append *req = first->request;
            req->cb(req, status);
        } else if (first->kind == PENDING_INSTALL) {
            answer_install(core, first->request, status);
        }
        bnd_free(first);
        core_put_applied(core);
    }
}
