/* Appended -> durable -> applied -> told, and committed with others.
 *
 * What is applied is in the store's batch, where every read of a key finds it. The batch is
 * committed when it has grown to commit_bytes, COMMIT_NS after the one before, and before somebody
 * scans: one large write of the state costs less than many small ones, and a record that is
 * replaced meanwhile is never written. While lists come it is kept below small_bytes. A crash loses
 * the batch; the journal has its entries.
 *
 * A thread of the pool writes it, while the next one is collected. The loop writes what is small
 * itself where somebody waits, and takes over (`taken`) what no thread has begun if that is small
 * too, or LATE_NS have passed: it depends on no thread that is busy with something else.
 *
 * Invariants: (1) `waiting` holds the entries appended and not applied, by index; `applied` those
 * that are not told; (2) the state's index is that of the last entry committed; (3) the journal is
 * compacted only up to an index read back from what is persisted; (4) while a commit is under way,
 * or the state asks to wait, nothing is told that would make the batch larger than hold_bytes and
 * what was applied then. */
#include "kv/log.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "placement/shard.h"

#include <stdatomic.h>

#define LOG_BYTES_MAX ((size_t)256 << 20)
#define PERSIST_BYTES ((size_t)32 << 20)
#define PERSIST_NS (UINT64_C(60000) * BND_MS)
/* Appended and not applied; less than what the journal leaves for Raft's own records. */
#define WAITING_BYTES_MAX ((size_t)16 << 20)
#define TICK_NS (UINT64_C(1000) * BND_MS)
#define COMMIT_BYTES ((size_t)2 << 20)
#define COMMIT_NS (UINT64_C(500) * BND_MS)
/* So long after a list the next one is expected. */
#define LISTS_NS (UINT64_C(10000) * BND_MS)
#define LATE_NS (UINT64_C(20) * BND_MS)
/* Likewise of what is applied again at a start, where no loop waits for a commit. */
#define RECOVER_BYTES ((size_t)1 << 20)
/* A write that the state was too busy for is tried again after this. */
#define STALL_RETRY_NS (UINT64_C(10) * BND_MS)
#define LOG_TERM 1u
#define LOG_ENTRY_KIND 1u

struct kv_log {
    struct kv_log_config config;
    struct bnd_journal *journal; /* NULL: not started, or closed */
    bool known;                  /* the journal has the group */
    uint64_t start, last;        /* indexes: of the group's start, of its last entry */
    uint64_t applied_index;      /* in the batch, or committed */
    struct bnd_link waiting, applied;
    size_t waiting_bytes;
    uint64_t durable_lsn;
    struct bnd_timer retry, tick;
    bool stepping, dead;
    bool stalled; /* the state asked to wait: until the retry */
    struct bnd_work commit_work;
    bool begun;        /* a commit has begun and not ended; it is under way while: */
    bool working;      /* the pool has the work, whoever took it */
    atomic_bool taken; /* by its thread, or by the loop */
    int commit_status; /* of the thread's */
    size_t begun_bytes;
    uint64_t begun_ns;    /* of the last commit, also after its end */
    uint64_t lists_until; /* ns; 0: none came yet */
    bool ending;          /* end_task is to come: the loop has ended what it took over */
    bool persist_due;     /* waits for the end of a commit */
    struct bnd_task end_task;
    /* bytes of entries, counted up: appended; told; up to the last compaction */
    uint64_t bytes_appended, bytes_told, bytes_compacted;
    struct bnd_state_persist persist;
    bool persisting, compacting;
    uint64_t persist_bytes, persisted_ns; /* bytes_told when it was asked; when it ended */
    void (*closed)(void *data);
    void *closed_data;
    struct bnd_task close_task, submit_task;
    bool closing, submitting;
};

static void die(struct kv_log *log, int code, const char *what) {
    struct bnd_error why;
    (void)bnd_error_set(&why, code, "KV: %s: %s", what, bnd_code_text(code));
    if (!log->dead) {
        log->dead = true;
        log->config.fatal(log->config.owner, &why);
    }
}

/* ---- applying
 * ------------------------------------------------------------------------------------- */

static int apply_record(struct kv_log *log, struct kv_log_entry *entry, uint64_t wall_ms) {
    const struct kv_apply apply = {.shard = entry->shard,
                                   .namespace_id = entry->namespace_id,
                                   .key = entry->key,
                                   .record = entry->body,
                                   .hot = entry->hot,
                                   .now_ms = wall_ms};
    return kv_store_apply(log->config.store, &apply, &entry->result);
}

static int apply_piece(struct kv_log *log, struct kv_log_entry *entry, uint64_t wall_ms) {
    const struct kv_piece piece = {.shard = entry->shard,
                                   .namespace_id = entry->namespace_id,
                                   .key = entry->key,
                                   .blob = entry->blob,
                                   .number = entry->number,
                                   .bytes = entry->body};
    bool lacks = false;
    int rv = kv_store_piece_put(log->config.store, &piece, wall_ms, &lacks);
    entry->result.outcome = lacks ? KV_LACKS : KV_WON;
    return rv;
}

/* BND_BUSY: nothing was changed, again later (not while it recovers). */
static int apply_one(struct kv_log *log, struct kv_log_entry *entry) {
    switch (entry->kind) {
    case KV_LOG_RECORD:
        return apply_record(log, entry, bnd_wall_ms(log->config.env));
    case KV_LOG_PIECE:
        return apply_piece(log, entry, bnd_wall_ms(log->config.env));
    default:
        return kv_store_marks_set(log->config.store, entry->shard, &entry->marks, entry->wipe);
    }
}

static void tell(struct kv_log *log, struct bnd_link *list, int status) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(list)) != NULL) {
        struct kv_log_entry *entry = BND_CONTAINER(link, struct kv_log_entry, link);
        log->bytes_told += status == 0 ? entry->len : 0;
        log->waiting_bytes -= entry->len;
        if (entry->applied != NULL) {
            entry->applied(entry, status);
        }
        kv_log_entry_unref(entry);
    }
}

static void close_step(struct kv_log *log) {
    if (log->closing && !log->persisting && !log->working) {
        bnd_defer(log->config.env, &log->close_task);
    }
}

static void stall(struct kv_log *log) {
    log->stalled = true;
    bnd_timer_start(log->config.env, &log->retry, STALL_RETRY_NS);
}

/* All that is durable goes into the batch. False: stop. */
static bool apply_durable(struct kv_log *log) {
    while (!bnd_list_empty(&log->waiting)) {
        struct kv_log_entry *entry = BND_CONTAINER(log->waiting.next, struct kv_log_entry, link);
        if (entry->lsn > log->durable_lsn) {
            break;
        }
        int rv = apply_one(log, entry);
        if (rv == BND_BUSY) {
            stall(log);
            break;
        }
        if (rv != 0) {
            die(log, rv, "an entry could not be applied");
            return false;
        }
        bnd_link_remove(&entry->link);
        bnd_list_push(&log->applied, &entry->link);
        log->applied_index = entry->index;
    }
    return true;
}

/* ---- commits
 * -------------------------------------------------------------------------------------- */

/* What a write has answered. True: it was written. */
static bool written(struct kv_log *log, int status) {
    if (status == BND_BUSY) {
        stall(log);
    } else if (status != 0) {
        die(log, status, "the state could not be written");
    }
    return status == 0;
}

/* Ends the commit that has begun, here. False: a thread is at it, or not now. */
static bool take_over(struct kv_log *log) {
    if (log->stalled || atomic_exchange(&log->taken, true)) {
        return false;
    }
    bool done = written(log, kv_store_commit_run(log->config.store));
    if (done) {
        kv_store_commit_end(log->config.store);
        log->begun = false;
        if (!log->ending) {
            log->ending = true;
            bnd_defer(log->config.env, &log->end_task);
        }
    } else {
        atomic_store(&log->taken, false);
    }
    return done;
}

/* True: nothing is collected any more. */
static bool commit(struct kv_log *log) {
    if (log->stalled || (log->begun && !take_over(log))) {
        return false;
    }
    return written(log,
                   kv_store_commit(log->config.store, log->applied_index, log->config.hlc->last));
}

/* On the pool. */
static void run_commit(struct bnd_work *work) {
    struct kv_log *log = work->data;
    if (!atomic_exchange(&log->taken, true)) {
        log->commit_status = kv_store_commit_run(log->config.store);
    } else {
        log->commit_status = BND_CANCELED;
    }
}

static void commit_submit(struct kv_log *log) {
    int rv = log->config.env->ops->work(log->config.env, &log->commit_work);
    log->working = rv == 0;
    if (rv != 0) {
        (void)take_over(log);
    }
}

/* Has what is collected written by a thread; by the loop where none is free. */
static void commit_begin(struct kv_log *log) {
    if (log->begun || log->working || log->stalled) {
        return;
    }
    log->begun_bytes = kv_store_collected(log->config.store);
    log->begun_ns = bnd_now_ns(log->config.env);
    log->begun =
        kv_store_commit_begin(log->config.store, log->applied_index, log->config.hlc->last);
    if (log->begun) {
        atomic_store(&log->taken, false);
        commit_submit(log);
    }
}

static bool lists_come(const struct kv_log *log) {
    return bnd_now_ns(log->config.env) < log->lists_until;
}

static size_t hold_bytes(const struct kv_log *log) {
    return log->config.commit_bytes + 3 * log->config.small_bytes;
}

static bool is_late(const struct kv_log *log) {
    return bnd_now_ns(log->config.env) - log->begun_ns >= LATE_NS;
}

/* As commit, where the loop has only what is small to write; else a thread begins, whose end is
 * told. */
static bool commit_small(struct kv_log *log) {
    size_t collected = kv_store_collected(log->config.store);
    size_t small = log->config.small_bytes;
    if (log->begun && log->begun_bytes > small && !is_late(log)) {
        return false;
    }
    if (!log->begun && !log->working && !log->stalled && collected > small) {
        commit_begin(log);
        return !kv_store_dirty(log->config.store);
    }
    return commit(log);
}

static void step(struct kv_log *log) {
    if (log->dead || log->closing || log->stepping || !apply_durable(log)) {
        return;
    }
    size_t enough = lists_come(log) ? log->config.small_bytes : log->config.commit_bytes;
    if (kv_store_collected(log->config.store) >= enough) {
        commit_begin(log);
    }
    if (kv_store_collected(log->config.store) >= hold_bytes(log) && !commit(log)) {
        return; /* the retry comes back here, or the end of the commit */
    }
    struct bnd_link told;
    bnd_list_take(&log->applied, &told);
    log->stepping = true; /* who is told may append */
    tell(log, &told, 0);
    log->stepping = false;
}

static void on_retry(struct bnd_timer *timer) {
    struct kv_log *log = timer->data;
    log->stalled = false;
    if (log->begun && !log->working) {
        commit_submit(log);
    }
    step(log);
}

static void ask_persist(struct kv_log *log);

/* Whoever waited for the end of a commit goes on. */
static void commit_ended(struct kv_log *log) {
    step(log);
    if (log->persist_due) {
        log->persist_due = false;
        ask_persist(log);
    }
    if (log->config.committed != NULL) {
        log->config.committed(log->config.owner);
    }
}

static void on_end_task(struct bnd_task *task) {
    struct kv_log *log = task->data;
    log->ending = false;
    if (!log->dead && !log->closing) {
        commit_ended(log);
    }
}

static void on_commit(struct bnd_work *work, int status) {
    struct kv_log *log = work->data;
    log->working = false;
    if (log->closing) {
        close_step(log);
        return;
    }
    int rv = status != 0 ? status : log->commit_status;
    if (log->dead) {
        return;
    }
    if (rv ==
        BND_CANCELED) { /* the loop took it over; unless the state asked it to wait, it ended */
        if (log->begun && !log->stalled) {
            commit_submit(log);
        }
        return;
    }
    if (!written(log, rv)) {
        atomic_store(&log->taken, false);
        return;
    }
    kv_store_commit_end(log->config.store);
    log->begun = false;
    commit_ended(log);
}

void kv_log_durable(struct kv_log *log, uint64_t lsn) {
    log->durable_lsn = lsn > log->durable_lsn ? lsn : log->durable_lsn;
    step(log);
}

static bool is_open(const struct kv_log *log) {
    return !log->dead && !log->closing && log->journal != NULL;
}

bool kv_log_commit(struct kv_log *log) {
    return is_open(log) && (!kv_store_dirty(log->config.store) || commit_small(log));
}

bool kv_log_commit_for_list(struct kv_log *log) {
    log->lists_until = bnd_now_ns(log->config.env) + LISTS_NS;
    return kv_log_commit(log);
}

void kv_log_pace(struct kv_log *log) {
    if (!is_open(log)) {
        return;
    }
    if (log->begun && is_late(log)) {
        (void)take_over(log);
    }
    if (lists_come(log) || bnd_now_ns(log->config.env) - log->begun_ns >= COMMIT_NS) {
        commit_begin(log);
    }
}

bool kv_log_committing(const struct kv_log *log) {
    return is_open(log) && log->begun;
}

/* ---- appending
 * ------------------------------------------------------------------------------------ */

size_t kv_log_bytes(const struct kv_log *log) {
    return (size_t)(log->bytes_appended - log->bytes_compacted);
}

int kv_log_append(struct kv_log *log, struct kv_log_entry *entry) {
    BND_ASSERT(log->journal != NULL && !bnd_link_linked(&entry->link));
    if (log->dead || log->closing || log->waiting_bytes + entry->len > WAITING_BYTES_MAX ||
        bnd_journal_queued(log->journal) > WAITING_BYTES_MAX ||
        kv_log_bytes(log) + entry->len > log->config.log_bytes_max) {
        return BND_FULL;
    }
    const struct bnd_journal_entry journalled = {.index = log->last + 1,
                                                 .term = LOG_TERM,
                                                 .kind = LOG_ENTRY_KIND,
                                                 .data = bnd_slice(entry->bytes, entry->len)};
    int rv = bnd_journal_append(log->journal, BND_GID_KV_LOG, &journalled, &entry->lsn);
    if (rv != 0) {
        return rv;
    }
    entry->index = ++log->last;
    log->waiting_bytes += entry->len;
    log->bytes_appended += entry->len;
    bnd_list_push(&log->waiting, &kv_log_entry_ref(entry)->link);
    if (!log->submitting) {
        log->submitting = true;
        bnd_defer(log->config.env, &log->submit_task);
    }
    return 0;
}

/* What a pass has appended goes into one batch. */
static void on_submit_task(struct bnd_task *task) {
    struct kv_log *log = task->data;
    log->submitting = false;
    if (!log->closing) {
        bnd_journal_submit(log->journal);
    }
}

/* ---- persisting and compacting
 * -------------------------------------------------------------------- */

static void compact(struct kv_log *log) {
    uint64_t index = 0;
    int rv = kv_store_applied_persisted(log->config.store, &index);
    if (rv != 0) {
        die(log, rv, "what is persisted could not be read");
        return;
    }
    const struct bnd_journal_start start = {.index = index, .term = LOG_TERM};
    rv = index <= log->start ? 0 : bnd_journal_compact(log->journal, BND_GID_KV_LOG, &start, NULL);
    if (rv == BND_FULL) {
        return; /* the journal is behind: again with the next tick */
    }
    if (rv != 0) {
        die(log, rv, "the log could not be compacted");
        return;
    }
    log->compacting = false;
    log->start = index > log->start ? index : log->start;
    log->bytes_compacted = log->persist_bytes;
    bnd_journal_submit(log->journal);
}

static void on_persisted(struct bnd_state_persist *request, int status) {
    struct kv_log *log = request->data;
    log->persisting = false;
    if (log->closing) {
        close_step(log);
        return;
    }
    if (status != 0) {
        die(log, status, "the state could not be persisted");
        return;
    }
    log->persisted_ns = bnd_now_ns(log->config.env);
    log->compacting = true;
    compact(log);
}

static void ask_persist(struct kv_log *log) {
    struct bnd_state *state = log->config.state;
    if (!commit_small(log)) { /* also the index alone: entries that lost changed nothing else */
        log->persist_due = log->begun; /* what was told is to be persisted; else with a tick */
        return;
    }
    log->persist = (struct bnd_state_persist){.cb = on_persisted, .data = log};
    log->persist_bytes = log->bytes_told;
    int rv = state->ops->persist(state, &log->persist);
    if (rv == 0) {
        log->persisting = true;
    } else if (rv != BND_BUSY && rv != BND_FULL) {
        die(log, rv, "the state could not be persisted");
    } /* else with the next tick */
}

static void on_tick(struct bnd_timer *timer) {
    struct kv_log *log = timer->data;
    bnd_timer_start(log->config.env, timer, TICK_NS);
    if (log->dead || log->persisting || log->persist_due) {
        return;
    }
    if (log->compacting) {
        compact(log);
        return;
    }
    uint64_t grown = log->bytes_told - log->bytes_compacted;
    uint64_t waited = bnd_now_ns(log->config.env) - log->persisted_ns;
    if (grown > log->config.persist_bytes || (grown > 0 && waited > log->config.persist_ns)) {
        ask_persist(log);
    }
}

/* ---- recovery
 * -------------------------------------------------------------------------------------- */

/* What this node has stamped itself moves its clock on, however far ahead that was. */
static void see(struct kv_log *log, const struct kv_log_entry *entry) {
    struct kv_record record;
    if (entry->kind != KV_LOG_RECORD || kv_record_decode(entry->body, &record) != 0) {
        return;
    }
    struct kv_hlc *hlc = log->config.hlc;
    if (record.version.writer != log->config.self) {
        kv_hlc_see(hlc, record.version.hlc, bnd_wall_ms(log->config.env));
    } else if (record.version.hlc > hlc->last) {
        hlc->last = record.version.hlc;
    }
}

static int replay(struct kv_log *log, const struct bnd_journal_entry *journalled,
                  struct bnd_error *err) {
    struct kv_log_entry *entry = NULL;
    int rv = kv_log_entry_decode(journalled->data, &entry);
    if (rv == 0) {
        see(log, entry);
        rv = apply_one(log, entry);
        kv_log_entry_unref(entry);
    }
    if (rv == 0 && kv_store_collected(log->config.store) >= RECOVER_BYTES) {
        rv = kv_store_commit(log->config.store, journalled->index, log->config.hlc->last);
    }
    return rv == 0 ? 0
                   : bnd_error_set(err, rv, "KV log, entry %llu: %s",
                                   (unsigned long long)journalled->index, bnd_code_text(rv));
}

int kv_log_recover(struct kv_log *log, const struct bnd_journal_group *group,
                   struct bnd_error *err) {
    if (!group->exists) {
        return 0;
    }
    uint64_t applied = kv_store_applied(log->config.store);
    log->known = true;
    log->start = group->start.index;
    log->last = group->start.index + group->entries_count;
    if (applied > log->last) {
        return BND_FAIL(err, CORRUPT, "KV: the state holds entry %llu, the journal ends at %llu",
                        (unsigned long long)applied, (unsigned long long)log->last);
    }
    bool lost = applied < log->start; /* the state was, or its slot 0 */
    applied = lost ? log->start : applied;
    kv_store_recovering(log->config.store, lost);
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < group->entries_count; i++) {
        log->bytes_appended += group->entries[i].data.len;
        if (group->entries[i].index > applied) {
            rv = replay(log, &group->entries[i], err);
        }
    }
    log->bytes_told = log->bytes_appended;
    log->applied_index = log->last;
    return rv != 0 ? rv : kv_store_recovered(log->config.store, log->last, log->config.hlc->last);
}

/* ---- life
 * ------------------------------------------------------------------------------------------ */

static void on_close_task(struct bnd_task *task) {
    struct kv_log *log = task->data;
    log->closed(log->closed_data);
}

int kv_log_create(const struct kv_log_config *config, struct kv_log **out) {
    struct kv_log *log = bnd_zalloc(sizeof *log);
    if (log == NULL) {
        return BND_NOMEM;
    }
    log->config = *config;
    if (config->log_bytes_max == 0) {
        log->config.log_bytes_max = LOG_BYTES_MAX;
    }
    if (config->persist_bytes == 0) {
        log->config.persist_bytes = PERSIST_BYTES;
    }
    if (config->persist_ns == 0) {
        log->config.persist_ns = PERSIST_NS;
    }
    if (config->small_bytes == 0) {
        log->config.small_bytes = BND_KV_SMALL_BYTES;
    }
    if (config->commit_bytes == 0) {
        log->config.commit_bytes = COMMIT_BYTES;
    }
    bnd_list_init(&log->waiting);
    bnd_list_init(&log->applied);
    log->applied_index = kv_store_applied(config->store);
    log->last = log->applied_index;
    log->retry = (struct bnd_timer){.cb = on_retry, .data = log};
    log->tick = (struct bnd_timer){.cb = on_tick, .data = log};
    log->close_task = (struct bnd_task){.cb = on_close_task, .data = log};
    log->end_task = (struct bnd_task){.cb = on_end_task, .data = log};
    log->submit_task = (struct bnd_task){.cb = on_submit_task, .data = log};
    log->commit_work = (struct bnd_work){.run = run_commit, .done = on_commit, .data = log};
    *out = log;
    return 0;
}

static int make_group(struct kv_log *log, struct bnd_error *err) {
    const struct bnd_journal_start start = {.index = log->last, .term = LOG_TERM};
    int rv = bnd_journal_together(log->journal, 2, 0);
    rv = rv != 0 ? rv : bnd_journal_create(log->journal, BND_GID_KV_LOG, &start, NULL);
    rv = rv != 0 ? rv : bnd_journal_meta(log->journal, BND_GID_KV_LOG, LOG_TERM, 0, NULL);
    return rv == 0 ? 0 : bnd_error_set(err, rv, "KV: its log cannot be made");
}

int kv_log_start(struct kv_log *log, struct bnd_journal *journal, struct bnd_error *err) {
    log->journal = journal;
    log->durable_lsn = bnd_journal_durable(journal);
    log->persisted_ns = bnd_now_ns(log->config.env);
    int rv = 0;
    if (!log->known && log->last > 0) {
        rv = BND_FAIL(err, CORRUPT, "KV: the state holds entry %llu, the journal none",
                      (unsigned long long)log->last);
    } else if (!log->known) {
        rv = make_group(log, err);
    }
    if (rv == 0) {
        bnd_timer_start(log->config.env, &log->tick, TICK_NS);
        step(log);
    }
    return rv;
}

void kv_log_close(struct kv_log *log, void (*closed)(void *data), void *data) {
    BND_ASSERT(!log->closing);
    log->closed = closed;
    log->closed_data = data;
    log->closing = true;
    bnd_timer_stop(log->config.env, &log->tick);
    bnd_timer_stop(log->config.env, &log->retry);
    tell(log, &log->applied, BND_CANCELED);
    tell(log, &log->waiting, BND_CANCELED);
    close_step(log);
}

void kv_log_destroy(struct kv_log *log) {
    if (log == NULL) {
        return;
    }
    BND_ASSERT(bnd_list_empty(&log->waiting) && bnd_list_empty(&log->applied));
    bnd_free(log);
}
