/* Imports: the receiver's half of catchup.h.
 *
 * Stages of one: opening, pulling (and from then on, until the end, one pull after the other),
 * persisted, installed, fed. An INSTALL and the staged entries are given to the core as if its
 * present leader had sent them. That is true in substance: the sender vouches with its own term,
 * they are used only under a leader of that term or a later one, and such a leader's log holds
 * everything that was committed before (Raft, section 5.4.3).
 *
 * Invariants:
 *  1. Nothing but the import writes to its two slots; nothing of them is read by anyone else until
 *     the journal record that names the fresh slot is durable.
 *  2. The core gets the INSTALL only after a persist of the whole fresh slot, read back.
 *  3. Once given, an import stays until it is installed or the log has reached its index otherwise:
 *     the core may take up the message late.
 *
 * Failure modes: a lost or damaged chunk, another sender's life, a full store: the import ends, its
 * slots are dropped, and the leader's next INSTALL begins another. A state machine that cannot open
 * the fresh slot stops the node. */
#include "raft/host_private.h"

#include "base/alloc.h"
#include "raft/export_chunk.h"

/* Staged entries given to the core at once. */
#define FEED_ENTRIES_MAX 64u
#define FEED_BYTES_MAX (256u << 10)
#define HAND_AGAIN_NS (UINT64_C(1000) * BND_MS)
/* Between pulls while there is nothing new. */
#define PULL_PAUSE_NS (UINT64_C(50) * BND_MS)

enum stage { OPENING, PULLING, PERSISTING, PERSISTED, HANDED, INSTALLING, FEEDING, CLOSING, DONE };

struct import {
    struct bnd_link link;
    struct bnd_raft_host *host;
    struct group *group; /* NULL: forgotten, a persist is under way */
    enum stage stage;
    uint64_t id; /* what the core knows it by */
    uint64_t from, export_id;
    uint64_t index, term; /* of the state */
    uint32_t slot, staging_slot;
    uint32_t old_slot; /* once installed; 0: dropped */

    struct bnd_rpc_call call;
    bool calling;
    unsigned tries;
    uint64_t pull_after_ns;
    uint64_t seq; /* of the last chunk written */
    struct export_total total;
    struct bnd_buf chunk; /* received, not yet written; empty: none */
    bool sender_gone;     /* it said that it knows nothing of the export */
    bool whole;           /* all pairs are written */
    uint64_t staged;      /* entries (index, staged] are */
    uint64_t sender_term; /* the highest that it said */
    uint64_t sender_last; /* of its log, with the last chunk */

    struct bnd_state_persist persist;
    bool persisting;
    uint64_t handed_ns;
    uint64_t install_op;
};

static struct import *import_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct import, link);
}

/* ---- begin and end ----------------------------------------------------------------------------*/

static void drop(struct bnd_raft_host *host, uint32_t *slot) {
    if (*slot != 0) {
        slots_drop(host, *slot, *slot + 1);
        *slot = 0;
    }
}

static void import_free(struct import *import) {
    bnd_link_remove(&import->link);
    import->host->imports.count--;
    bnd_buf_free(&import->chunk);
    bnd_free(import);
}

/* Ends it wherever it is. What the group owns by now stays. */
static void import_end(struct import *import) {
    struct bnd_raft_host *host = import->host;
    if (import->calling) {
        bnd_rpc_cancel(&import->call);
        import->calling = false;
    }
    if (import->group != NULL) {
        import->group->import = NULL;
        import->group = NULL;
    }
    if (import->stage == INSTALLING) { /* its record is on the way and names the fresh slot */
        slots_drop_later(host, import->slot);
        import->slot = 0;
    }
    drop(host, &import->slot);
    drop(host, &import->staging_slot);
    drop(host, &import->old_slot);
    if (!import->persisting) {
        import_free(import);
    } /* else its callback frees it */
}

/* Handed to the core, it has to stay (invariant 3), but nothing more is pulled. */
static void import_fail(struct import *import, int code, const char *what) {
    bnd_log(import->host->config.env, import->stage == OPENING ? BND_LOG_DEBUG : BND_LOG_WARN,
            "raft", "group %llu: state of index %llu from node %llu: %s: %s",
            (unsigned long long)import->group->gid, (unsigned long long)import->index,
            (unsigned long long)import->from, what, bnd_code_text(code));
    if (import->stage == HANDED || import->stage == INSTALLING) {
        import->sender_gone = true;
        bnd_buf_reset(&import->chunk);
    } else {
        import_end(import);
    }
}

void import_forget(struct group *group) {
    if (group->import != NULL) {
        import_end(group->import);
    }
    group->host->imports.covering -= group->covered_index != 0;
    group->covered_index = 0;
}

static void on_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply);

static void ask(struct import *import, const struct export_request *request) {
    struct bnd_raft_host *host = import->host;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    export_request_encode(request, &bytes);
    import->call = (struct bnd_rpc_call){.cb = on_answer, .data = import};
    struct bnd_slice part = bnd_buf_slice(&bytes);
    int rv = bytes.failed
                 ? BND_NOMEM
                 : bnd_rpc_call(host->config.rpc, &import->call, import->from, BND_MESH_BULK,
                                BND_RPC_EXPORT, &part, 1, IMPORT_CALL_NS_MAX);
    import->calling = rv == 0;
    if (rv != 0) { /* a lost connection may come back: at a later tick, a few times */
        import->tries++;
        import->pull_after_ns = bnd_now_ns(host->config.env) + IMPORT_CALL_NS_MAX / 4;
    }
}

/* Bytes of pairs to ask for at once. */
static uint32_t pairs_max(const struct bnd_pacer *pacer) {
    if (pacer == NULL || pacer->bytes_per_s == 0) {
        return 0;
    }
    uint64_t bytes = pacer->bytes_per_s / IMPORT_PACED_PARTS;
    bytes = bytes < IMPORT_PACED_BYTES_MIN ? IMPORT_PACED_BYTES_MIN : bytes;
    return bytes < EXPORT_CHUNK_BYTES ? (uint32_t)bytes : 0;
}

static void ask_pull(struct import *import) {
    const struct export_request pull = {
        .op = EXPORT_PULL,
        .export_id = import->export_id,
        .seq = import->seq + 1,
        .have = import->staged,
        .pairs_max = pairs_max(import->host->config.pacer),
    };
    ask(import, &pull);
}

void import_invited(struct group *group, const struct bnd_message *message) {
    struct bnd_raft_host *host = group->host;
    group_refresh(group);
    if (message->install.start.index <= group->status.commit) {
        /* An earlier answer was lost: the core tells the leader that it has all of this, so that
         * entries come again. */
        bnd_core_recv(group->core, message);
        return;
    }
    if (group->import != NULL || host->imports.count >= IMPORTS_MAX || host->dead ||
        message->term < group->status.term) {
        return;
    }
    struct import *import = bnd_zalloc(sizeof *import);
    if (import == NULL) {
        return; /* the next INSTALL tries again */
    }
    import->host = host;
    import->group = group;
    import->id = ++host->imports.id_last;
    import->from = message->from;
    import->sender_term = message->term;
    group->import = import;
    bnd_list_push(&host->imports.list, &import->link);
    host->imports.count++;
    const struct export_request open = {.op = EXPORT_OPEN, .gid = group->gid};
    ask(import, &open);
}

/* ---- answers ----------------------------------------------------------------------------------*/

static void opened(struct import *import, struct bnd_slice reply) {
    struct export_opened answer;
    if (export_opened_decode(reply, &answer, NULL) != 0) {
        import_fail(import, BND_CORRUPT, "the opening");
        return;
    }
    import->export_id = answer.export_id;
    import->index = answer.index;
    import->term = answer.term;
    import->staged = answer.index;
    import->slot = slots_new(import->host);
    import->staging_slot = slots_new(import->host);
    import->stage = PULLING;
    ask_pull(import);
}

/* Keeps the chunk for the pass, if it is the next one. */
static void pulled(struct import *import, struct bnd_slice reply) {
    struct export_chunk chunk;
    struct bnd_error why = {0};
    if (export_chunk_decode(reply, &chunk, &why) != 0) {
        import_fail(import, why.code, why.message);
        return;
    }
    struct export_total total = export_total_add(import->total, chunk.pairs_count, chunk.pairs);
    struct bnd_reader r = bnd_reader(chunk.entries);
    bool follows = chunk.entries_count == 0 || export_entry_next(&r).index == import->staged + 1;
    if (chunk.export_id != import->export_id || chunk.seq != import->seq + 1 || !follows ||
        total.pairs != chunk.total.pairs || !bnd_hash128_eq(total.hash, chunk.total.hash) ||
        (import->whole && chunk.pairs_count > 0)) {
        import_fail(import, BND_CORRUPT, "a chunk does not follow the last");
        return;
    }
    bnd_buf_reset(&import->chunk);
    bnd_buf_append_slice(&import->chunk, reply);
    if (import->chunk.failed) {
        import_fail(import, BND_NOMEM, "a chunk");
        return;
    }
    host_wake(import->host);
}

static void on_answer(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct import *import = call->data;
    import->calling = false;
    if (import->host->dead) {
        return;
    }
    if (import->stage == CLOSING) {
        import->stage = DONE; /* whatever came of it */
        host_wake(import->host);
    } else if (status == BND_TIMEOUT || status == BND_CLOSED) {
        import->tries++;
        import->pull_after_ns = bnd_now_ns(import->host->config.env) + IMPORT_CALL_NS_MAX / 4;
    } else if (status != 0) {
        import->sender_gone = true; /* the pass decides: what is handed has to stay */
        host_wake(import->host);
    } else if (import->stage == OPENING) {
        import->tries = 0;
        opened(import, reply);
    } else {
        import->tries = 0;
        pulled(import, reply);
    }
}

/* ---- writing ----------------------------------------------------------------------------------*/

static void put_pairs(struct import *import, const struct export_chunk *chunk,
                      struct bnd_state_batch *batch, struct bnd_buf *key) {
    const struct bnd_state_ops *ops = import->host->config.state->ops;
    struct bnd_reader r = bnd_reader(chunk->pairs);
    for (uint32_t i = 0; i < chunk->pairs_count; i++) {
        struct export_pair pair = export_pair_next(&r);
        bnd_buf_reset(key);
        bnd_buf_be32(key, import->slot);
        bnd_buf_append_slice(key, pair.key);
        if (key->failed) {
            return;
        }
        ops->batch_put(batch, pair.family, bnd_buf_slice(key), pair.value);
    }
}

static void put_entries(struct import *import, const struct export_chunk *chunk,
                        struct bnd_state_batch *batch, struct bnd_buf *value) {
    const struct bnd_state_ops *ops = import->host->config.state->ops;
    struct bnd_reader r = bnd_reader(chunk->entries);
    for (uint32_t i = 0; i < chunk->entries_count; i++) {
        struct bnd_journal_entry entry = export_entry_next(&r);
        uint8_t key[TUPLE_KEY_BYTES_MAX];
        bnd_buf_reset(value);
        export_entry_encode(&entry, value);
        if (value->failed) {
            return;
        }
        ops->batch_put(
            batch, BND_CF_RAFT,
            tuple_key(key, import->staging_slot, TUPLE_KEY_STAGED, &entry.index, 1),
            bnd_buf_slice(value));
    }
}

/* The chunk into the state. BND_BUSY: later. */
static int write_chunk(struct import *import, const struct export_chunk *chunk) {
    struct bnd_raft_host *host = import->host;
    struct bnd_state *state = host->config.state;
    struct bnd_state_batch *batch = state->ops->batch_create(state);
    if (batch == NULL) {
        return BND_NOMEM;
    }
    BND_AUTO_BUF struct bnd_buf scratch = {0};
    slots_store(host, batch);
    put_pairs(import, chunk, batch, &scratch);
    put_entries(import, chunk, batch, &scratch);
    int rv = scratch.failed ? BND_NOMEM : state->ops->write(state, batch);
    state->ops->batch_destroy(batch);
    if (rv == 0) {
        slots_stored(host);
    }
    return rv;
}

static void on_paced(struct bnd_timer *timer) {
    host_wake(timer->data);
}

/* When the next chunk may be asked for; 0: at once. */
static uint64_t pace(struct import *import, const struct export_chunk *chunk) {
    struct bnd_raft_host *host = import->host;
    uint64_t now = bnd_now_ns(host->config.env);
    if (import->whole || chunk->entries.len >= IMPORT_ENTRIES_HURRY_BYTES) {
        return 0; /* nor is it accounted for: the debt would be waited for in one piece */
    }
    uint64_t free_ns = bnd_pacer_add(host->config.pacer, now, chunk->pairs.len);
    if (free_ns <= now) {
        return 0;
    }
    uint64_t wait = free_ns - now < IMPORT_PACE_NS_MAX ? free_ns - now : IMPORT_PACE_NS_MAX;
    bnd_timer_start(host->config.env, &host->imports.paced, wait);
    return now + wait;
}

static void take_chunk(struct import *import) {
    struct export_chunk chunk;
    int rv = export_chunk_decode(bnd_buf_slice(&import->chunk), &chunk, NULL);
    BND_ASSERT(rv == 0); /* it was, when it came */
    rv = write_chunk(import, &chunk);
    if (rv == BND_BUSY) {
        return;
    }
    if (rv != 0) {
        import_fail(import, rv, "a chunk could not be written");
        return;
    }
    import->seq = chunk.seq;
    import->total = chunk.total;
    import->staged += chunk.entries_count;
    import->sender_term = chunk.term > import->sender_term ? chunk.term : import->sender_term;
    import->sender_last = chunk.last_index;
    import->whole = import->whole || chunk.last;
    bool news = !import->whole || chunk.entries_count > 0;
    import->pull_after_ns =
        news ? pace(import, &chunk) : bnd_now_ns(import->host->config.env) + PULL_PAUSE_NS;
    bnd_buf_reset(&import->chunk);
}

/* ---- persisting -------------------------------------------------------------------------------*/

static void on_persisted(struct bnd_state_persist *persist, int status) {
    struct import *import = persist->data;
    struct bnd_raft_host *host = import->host;
    import->persisting = false;
    host->imports.persisting--;
    if (import->group == NULL) {
        import_free(import);
        if (host->closing) {
            close_step(host);
        }
    } else if (host->dead) {
        return;
    } else if (status != 0) {
        import_fail(import, status, "it could not be persisted");
    } else {
        import->stage = PERSISTED;
        host_wake(host);
    }
}

static void begin_persist(struct import *import) {
    struct bnd_state *state = import->host->config.state;
    import->persist = (struct bnd_state_persist){.cb = on_persisted, .data = import};
    int rv = state->ops->persist(state, &import->persist);
    if (rv == 0) {
        import->stage = PERSISTING;
        import->persisting = true;
        import->host->imports.persisting++;
    } else if (rv != BND_BUSY && rv != BND_FULL) {
        import_fail(import, rv, "it could not be persisted");
    } /* else at a later tick */
}

/* ---- installing -------------------------------------------------------------------------------*/

/* May the core be told now what the sender vouched for? */
static bool leader_knows(const struct import *import) {
    const struct bnd_core_status *status = &import->group->status;
    return status->role == BND_CORE_FOLLOWER && status->leader != 0 &&
           status->leader != import->host->config.node_id &&
           status->term >= import->sender_term && status->ops_last == status->ops_durable;
}

/* The log may have come to the state's last entry by itself while its commit index stays behind:
 * then the core takes no INSTALL up, and the leader, which waits for one, tells it of no commit. */
static bool log_has(const struct import *import) {
    struct bnd_journal_entry entry;
    return bnd_core_entry(import->group->core, import->index, &entry) == 0 &&
           entry.term == import->term;
}

/* What the state holds is committed. */
static void hand_commit(struct import *import) {
    struct group *group = import->group;
    const struct bnd_message message = {
        .gid = group->gid,
        .from = group->status.leader,
        .to = import->host->config.node_id,
        .term = group->status.term,
        .type = BND_MESSAGE_APPEND,
        .append = {.prev_index = import->index, .prev_term = import->term, .commit = import->index},
    };
    bnd_core_recv(group->core, &message);
}

static void hand(struct import *import) {
    struct group *group = import->group;
    uint64_t now = bnd_now_ns(import->host->config.env);
    group_refresh(group);
    if (group->status.commit >= import->index) {
        import_end(import); /* the log came there by itself */
        return;
    }
    if (!leader_knows(import) ||
        (import->stage == HANDED && now - import->handed_ns < HAND_AGAIN_NS)) {
        return;
    }
    if (log_has(import)) {
        import->handed_ns = now;
        import->stage = HANDED;
        hand_commit(import);
        return;
    }
    struct tuple tuple;
    struct bnd_error why = {0};
    int rv = tuple_load(import->host->config.state, import->slot, true, &tuple, &why);
    if (rv != 0 || tuple.index != import->index || tuple.term != import->term ||
        tuple.configuration.count == 0) {
        import_fail(import, rv == 0 ? BND_CORRUPT : rv, "its tuple");
        return;
    }
    BND_AUTO_BUF struct bnd_buf configuration = {0};
    bnd_raft_configuration_encode(&tuple.configuration, &configuration);
    if (configuration.failed) {
        return; /* at a later tick */
    }
    const struct bnd_message message = {
        .gid = group->gid,
        .from = group->status.leader,
        .to = import->host->config.node_id,
        .term = group->status.term,
        .type = BND_MESSAGE_INSTALL,
        .install = {.start = {.index = tuple.index,
                              .term = tuple.term,
                              .config = bnd_buf_slice(&configuration),
                              .config_index = tuple.configuration_index},
                    .export_id = import->id},
    };
    import->stage = HANDED;
    import->handed_ns = now;
    bnd_core_recv(group->core, &message);
}

uint32_t import_slot(struct group *group, uint64_t op, const struct bnd_journal_start *start,
                     uint64_t export_id) {
    struct import *import = group->import;
    BND_ASSERT(import != NULL && import->id == export_id && import->stage == HANDED);
    BND_ASSERT(start->index == import->index && start->term == import->term);
    import->stage = INSTALLING;
    import->install_op = op;
    group->journal_start = start->index; /* the old slot's tuple moves nothing any more */
    return import->slot;
}

/* The batch under way, if there is one, still goes to the old slot; what is queued for it does not
 * matter any more. */
void import_durable(struct group *group, uint64_t op) {
    struct import *import = group->import;
    if (import == NULL || import->stage != INSTALLING || op < import->install_op) {
        return;
    }
    struct bnd_raft_host *host = group->host;
    struct tuple tuple;
    struct bnd_error why = {0};
    int rv = tuple_load(host->config.state, import->slot, false, &tuple, &why);
    if (rv == 0) {
        export_forget(group);
        apply_drop_backlog(group);
        import->old_slot = group->slot;
        group->slot = import->slot;
        import->slot = 0;
        group->written = tuple;
        group->applying = tuple;
        group->settled = tuple;
        rv = group_load_ids(group, &tuple, &why);
    }
    if (rv == 0) {
        rv = group->fsm.ops->open(group->fsm.self, group->gid, group->slot, host->config.state,
                                  &why);
    }
    if (rv != 0) {
        (void)BND_WRAP(&why, rv, "group %llu: an installed state", (unsigned long long)group->gid);
        host_fatal(host, &why);
        return;
    }
    host->imports.covering += group->covered_index == 0;
    group->covered_index = tuple.index;
    group->stamp_ms = tuple.stamp_ms > group->stamp_ms ? tuple.stamp_ms : group->stamp_ms;
    import->stage = FEEDING;
    host->stats.installs_received++;
    host_wake(host);
}

void import_covered(struct bnd_raft_host *host) {
    for (size_t i = 0; host->imports.covering > 0 && i < host->groups_count; i++) {
        struct group *group = host->groups[i];
        uint64_t index = group->covered_index;
        if (index != 0) {
            group->covered_index = 0;
            host->imports.covering--;
            propose_covered(group, index);
        }
    }
}

/* ---- feeding ----------------------------------------------------------------------------------*/

static int staged_entry(struct import *import, uint64_t index, struct bnd_buf *out,
                        struct bnd_journal_entry *entry) {
    struct bnd_state *state = import->host->config.state;
    uint8_t key[TUPLE_KEY_BYTES_MAX];
    int rv = state->ops->get(
        state, BND_CF_RAFT, tuple_key(key, import->staging_slot, TUPLE_KEY_STAGED, &index, 1), out);
    if (rv != 0) {
        return rv;
    }
    struct bnd_reader r = bnd_reader(bnd_buf_slice(out));
    *entry = export_entry_next(&r);
    return bnd_reader_done(&r) && entry->index == index ? 0 : BND_CORRUPT;
}

struct feed {
    struct bnd_journal_entry entries[FEED_ENTRIES_MAX];
    struct bnd_buf memory[FEED_ENTRIES_MAX];
    size_t count;
};

static int take_staged(struct import *import, uint64_t from, struct feed *feed) {
    size_t bytes = 0;
    int rv = 0;
    while (rv == 0 && feed->count < FEED_ENTRIES_MAX && bytes < FEED_BYTES_MAX &&
           from + feed->count <= import->staged) {
        size_t i = feed->count++;
        rv = staged_entry(import, from + i, &feed->memory[i], &feed->entries[i]);
        bytes += feed->memory[i].len;
    }
    return rv;
}

/* The term of the committed entry at this index. */
static int term_at(struct import *import, uint64_t index, uint64_t *out) {
    BND_AUTO_BUF struct bnd_buf memory = {0};
    struct bnd_journal_entry entry = {.term = import->term};
    int rv = index == import->index ? 0 : staged_entry(import, index, &memory, &entry);
    *out = entry.term;
    return rv;
}

static void feed_core(struct import *import) {
    struct group *group = import->group;
    uint64_t commit = group->status.commit;
    if (!leader_knows(import) || !transport_has_room(group)) {
        return;
    }
    struct bnd_message message = {
        .gid = group->gid,
        .from = group->status.leader,
        .to = import->host->config.node_id,
        .term = group->status.term,
        .type = BND_MESSAGE_APPEND,
        .append = {.prev_index = commit},
    };
    struct feed *feed = bnd_zalloc(sizeof *feed);
    int rv = feed == NULL ? BND_NOMEM : term_at(import, commit, &message.append.prev_term);
    rv = rv == 0 ? take_staged(import, commit + 1, feed) : rv;
    if (rv == 0) {
        message.append.entries = feed->entries;
        message.append.entries_count = feed->count;
        message.append.commit = commit + feed->count;
        bnd_core_recv(group->core, &message);
    }
    for (size_t i = 0; feed != NULL && i < feed->count; i++) {
        bnd_buf_free(&feed->memory[i]);
    }
    bnd_free(feed);
    if (rv != 0 && rv != BND_NOMEM) {
        import_fail(import, rv, "a staged entry");
    }
}

/* Feeds, and sees when the leader's own messages reach the log again. */
static void feed_step(struct import *import) {
    struct group *group = import->group;
    group_refresh(group);
    const struct bnd_core_status *status = &group->status;
    if (status->commit < import->staged) {
        feed_core(import);
        return;
    }
    bool reached = status->last_index > import->staged || import->staged >= import->sender_last;
    if (reached && !import->calling && import->chunk.len == 0) {
        const struct export_request close = {.op = EXPORT_CLOSE, .export_id = import->export_id};
        import->stage = CLOSING;
        ask(import, &close);
        import->stage = import->calling ? CLOSING : DONE;
    }
}

/* ---- the pass ---------------------------------------------------------------------------------*/

/* The sender has forgotten us, or does not answer: what is not handed ends; what is goes on with
 * what it has, and the leader asks again for the rest. */
static bool give_up(struct import *import) {
    if (!import->sender_gone && import->tries < IMPORT_TRIES_MAX) {
        return false;
    }
    if (import->stage < PERSISTING || (import->stage == FEEDING && !import->calling &&
                                       import->group->status.commit >= import->staged)) {
        import_fail(import, BND_UNAVAILABLE, "its sender does not answer");
        return true;
    }
    return false;
}

static void pull_step(struct import *import) {
    bool waits = import->calling || import->chunk.len > 0 || import->sender_gone ||
                 import->tries >= IMPORT_TRIES_MAX ||
                 bnd_now_ns(import->host->config.env) < import->pull_after_ns;
    if (waits || import->stage >= CLOSING) {
        return;
    }
    if (import->stage == OPENING) {
        const struct export_request open = {.op = EXPORT_OPEN, .gid = import->group->gid};
        ask(import, &open);
    } else {
        ask_pull(import);
    }
}

static void import_step(struct import *import) {
    struct group *group = import->group;
    if (import->old_slot != 0 && !bnd_link_linked(&group->touched_link)) {
        drop(import->host, &import->old_slot);
    }
    if (import->chunk.len > 0 && !import->host->apply.stalled) {
        take_chunk(import); /* may end it */
    }
    if (group->import == NULL || give_up(import)) {
        return;
    }
    pull_step(import);
    switch (import->stage) {
    case PULLING:
        if (import->whole) {
            begin_persist(import);
        }
        return;
    case PERSISTED:
    case HANDED:
        hand(import);
        return;
    case FEEDING:
        feed_step(import);
        return;
    case DONE:
        import_end(import);
        return;
    case OPENING:
    case PERSISTING:
    case INSTALLING:
    case CLOSING:
        return;
    }
}

void import_open(struct bnd_raft_host *host) {
    bnd_list_init(&host->imports.list);
    host->imports.paced = (struct bnd_timer){.cb = on_paced, .data = host};
}

void import_close(struct bnd_raft_host *host) {
    bnd_timer_stop(host->config.env, &host->imports.paced);
}

void import_pass(struct bnd_raft_host *host) {
    struct bnd_link *link = host->imports.list.next;
    while (link != &host->imports.list && !host->dead) {
        struct import *import = import_at(link);
        link = link->next;
        if (import->group != NULL && !import->group->destroying) {
            import_step(import);
        }
    }
}
