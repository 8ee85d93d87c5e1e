/* Tasks that only read (leader_private.h): behind a read barrier, then on one of a few connections
 * pinned to what is committed.
 *
 *     reads_new ──(no barrier under way)──> reads_asked ──granted──> reads_ready ──> a reader's
 * batch
 *
 * One barrier serves all that arrived before it was asked for. A batch reads at the newest version
 * that was granted, which is at least each task's own.
 *
 * Invariants:
 *  1. A task runs at a version that was committed when a barrier asked for after its arrival was
 *     granted.
 *  2. What was read while the slot was replaced or the database deleted is thrown away: its pages
 * may be of several versions.
 *  3. A connection lives on over versions of one epoch in one slot only.
 *  4. What ran here is answered only when its id has no outcome (README, 4): an earlier attempt may
 * have written, a batch that reads a table and drops it, which a reader cannot even prepare now. */
#include "base/alloc.h"
#include "sql/leader_private.h"

/* ---- barriers
 * --------------------------------------------------------------------------------------------- */

static void on_granted_read(struct bnd_raft_read *read, int status,
                            const struct bnd_fsm_read *context) {
    struct sql_barrier *barrier = read->data;
    if (barrier->cb != NULL) {
        barrier->cb(barrier->data, status, context);
    }
    bnd_free(barrier);
}

int sql_barrier_ask(struct sql_leader *leader, uint64_t gid,
                    void (*cb)(void *data, int status, const struct bnd_fsm_read *context),
                    void *data, struct sql_barrier **out) {
    struct sql_barrier *barrier = bnd_zalloc(sizeof *barrier);
    if (barrier == NULL) {
        return BND_NOMEM;
    }
    barrier->cb = cb;
    barrier->data = data;
    barrier->read = (struct bnd_raft_read){.cb = on_granted_read, .data = barrier};
    int rv = bnd_raft_read_replica(leader->host, gid, &barrier->read);
    if (rv != 0) {
        bnd_free(barrier);
        return rv;
    }
    *out = barrier;
    return 0;
}

void sql_barrier_forget(struct sql_barrier *barrier) {
    if (barrier != NULL) {
        barrier->cb = NULL;
    }
}

/* ---- tasks
 * ------------------------------------------------------------------------------------------------
 */

void sql_reads_refuse(struct sql_database *database, int status) {
    sql_database_refuse(database, &database->reads_new, status);
    sql_database_refuse(database, &database->reads_asked, status);
    sql_database_refuse(database, &database->reads_ready, status);
}

/* The writer finds out what is there, or makes it; of what was asked for here the leader's. */
static void to_writer(struct sql_database *database, struct bnd_link *tasks) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(tasks)) != NULL) {
        struct sql_task *task = BND_CONTAINER(link, struct sql_task, link);
        if (task->owned == NULL) {
            sql_database_enqueue(database, task, false);
        } else {
            sql_database_release(database, task);
            sql_task_refuse(task, BND_BUSY);
        }
    }
}

void sql_reads_interrupt(struct sql_database *database) {
    for (size_t i = 0; i < SQL_READERS_MAX; i++) {
        database->readers[i].stop = true;
    }
}

/* ---- a batch on the pool
 * ---------------------------------------------------------------------------------- */

static int reader_open(struct sql_reader *reader) {
    struct sql_leader *leader = reader->database->leader;
    if (reader->stale) {
        sql_connected_close(&reader->connected);
        reader->stale = false;
    }
    if (reader->connected.connection == NULL) {
        const struct sql_view_config config = {
            .at = reader->target.at,
            .page_count = reader->target.page_count,
            .pages_bytes_max = leader->config.memory_bytes / 16,
            .unspoiled = !sql_rule(leader, SQL_RULE_SPOIL),
        };
        return sql_connected_open(&reader->connected, leader->config.env, &config);
    }
    sql_view_pin(reader->connected.view, reader->target.at.version, reader->target.page_count,
                 reader->changed_known ? reader->changed : NULL, reader->changed_count);
    return 0;
}

static void on_run(struct bnd_work *work) {
    struct sql_reader *reader = work->data;
    struct bnd_env *env = reader->database->leader->config.env;
    uint64_t begun_ns = bnd_clock_ns(env);
    uint64_t now_ns = begun_ns;
    size_t bytes = 0;
    struct bnd_link ran;
    bnd_list_init(&ran);
    reader->status = reader_open(reader);
    reader->ran_count = 0;
    bool last = reader->status != 0;
    while (!last && !reader->stop && !bnd_list_empty(&reader->tasks)) {
        struct bnd_link *link = bnd_list_pop(&reader->tasks);
        struct sql_task *task = BND_CONTAINER(link, struct sql_task, link);
        task->ran.last_row_id = reader->last_row_id;
        reader->stale = !sql_task_run(task, &reader->connected, true, &reader->stop);
        bnd_list_push(&ran, link);
        bytes += task->ran.text.len;
        reader->ran_count++;
        now_ns = bnd_clock_ns(env);
        last = reader->stale || bytes > SQL_RUN_BYTES_MAX || now_ns - begun_ns > SQL_RUN_NS_MAX;
    }
    reader->ran_ns = now_ns - begun_ns;
    if (reader->connected.view != NULL) {
        sql_view_rest(reader->connected.view);
    }
    bnd_list_move(&reader->tasks, &reader->left);
    bnd_list_move(&ran, &reader->tasks);
}

/* ---- after it
 * --------------------------------------------------------------------------------------------- */

/* Is what was read the database at reader.target? */
static bool still_there(struct sql_reader *reader) {
    struct sql_database *database = reader->database;
    struct bnd_raft_group_status status;
    struct sql_base now;
    return bnd_raft_group_status(database->leader->host, database->gid, &status) == 0 &&
           status.slot == reader->target.at.slot &&
           sql_base_look(database->leader, status.slot, database->uuid, &now) == 0 &&
           now.at.number == reader->target.at.number;
}

/* Answers with what an earlier attempt did, if one did: what can only be read now, or not be
 * prepared any more, because of it. */
static bool answered_before(const struct sql_database *database, struct sql_task *task) {
    bool may_have_written = task->owned == NULL && !task->request.read_only;
    return may_have_written && sql_task_answer_known(task, database->gid);
}

/* A read that could not be done. Takes the task. */
static void retry(struct sql_database *database, struct sql_task *task, int status) {
    sql_task_forget_run(task);
    bool may_help = status == BND_NOTFOUND || status == BND_NOMEM || status == BND_BUSY;
    if (may_help && task->local == NULL && !database->leader->closing &&
        ++task->runs < SQL_RUNS_MAX) {
        bnd_list_push(&database->reads_new, &task->link);
        return;
    }
    sql_database_release(database, task);
    if (may_help) {
        sql_task_refuse(task, BND_BUSY);
    } else if (!answered_before(database, task)) {
        sql_task_fail(task, status);
    }
}

static void settle_task(struct sql_reader *reader, struct sql_task *task, bool there) {
    struct sql_database *database = reader->database;
    if (!there) {
        retry(database, task, BND_BUSY);
    } else if (task->ran.wants_writer && task->ran.status == 0) {
        sql_task_forget_run(task);
        if (task->local != NULL) {
            retry(database, task, BND_BUSY); /* the leader's business */
        } else {
            sql_database_enqueue(database, task, false);
        }
    } else if (task->ran.status != 0) {
        retry(database, task, task->ran.status);
    } else {
        database->leader->config.stats->reads++;
        sql_database_release(database, task);
        if (!answered_before(database, task)) {
            sql_task_answer(task, reader->target.bookmark);
        }
    }
}

static void on_done(struct bnd_work *work, int status) {
    struct sql_reader *reader = work->data;
    struct sql_database *database = reader->database;
    struct sql_leader *leader = database->leader;
    struct bnd_link ran;
    struct bnd_link *link = NULL;
    sql_leader_worked(leader, true);
    reader->busy = false;
    reader->base = reader->target;
    if (status != 0 || leader->closing) {
        sql_database_refuse(database, &reader->tasks, BND_NOTLEADER);
        sql_database_refuse(database, &reader->left, BND_NOTLEADER);
        return;
    }
    bool there = still_there(reader);
    if (reader->ran_count > 0) {
        database->read_ns = (7 * database->read_ns + reader->ran_ns / reader->ran_count) / 8;
    }
    bnd_list_take(&reader->tasks, &ran);
    while ((link = bnd_list_pop(&ran)) != NULL) {
        settle_task(reader, BND_CONTAINER(link, struct sql_task, link), there);
    }
    while ((link = bnd_list_pop(&reader->left)) != NULL) {
        struct sql_task *task = BND_CONTAINER(link, struct sql_task, link);
        if (reader->status != 0 || !there) {
            retry(database, task, there ? reader->status : BND_BUSY);
        } else {
            bnd_list_push(&database->reads_ready, link);
        }
    }
    reader->stale = reader->stale || !there;
    sql_leader_used(database);
    sql_database_kick(database);
}

/* ---- before it
 * -------------------------------------------------------------------------------------------- */

/* What may differ between the reader's version and the one it moves to. */
static void collect_changed(struct sql_reader *reader) {
    const struct sql_database *database = reader->database;
    uint64_t from = reader->base.at.version;
    uint64_t to = reader->target.at.version;
    reader->changed_count = 0;
    reader->changed_known = from >= database->changed_after && to <= database->changed_until;
    for (size_t i = 0; i < database->changed_count && reader->changed_known; i++) {
        const struct sql_changed *changed =
            &database->changed[(database->changed_first + i) % SQL_CHANGED_MAX];
        if (changed->version <= from || changed->version > to) {
            continue;
        }
        reader->changed_known =
            BND_ROOM(reader->changed, reader->changed_count, reader->changed_cap, 64);
        if (reader->changed_known) {
            reader->changed[reader->changed_count++] = changed->page;
        }
    }
    if (reader->changed == NULL) { /* NULL would say "any" */
        reader->changed_known =
            reader->changed_known &&
            BND_ROOM(reader->changed, reader->changed_count, reader->changed_cap, 64);
    }
}

static bool same_line(const struct sql_base *a, const struct sql_base *b) {
    return a->at.slot == b->at.slot && a->at.number == b->at.number && a->at.epoch == b->at.epoch;
}

/* False: the pool has no room. */
static bool reader_start(struct sql_reader *reader, size_t tasks_max) {
    struct sql_database *database = reader->database;
    reader->target = database->read_base;
    reader->last_row_id = database->last_row_id;
    bool stays = same_line(&reader->base, &reader->target);
    if (reader->connected.connection != NULL && !stays &&
        sql_rule(database->leader, SQL_RULE_EPOCH)) {
        reader->stale = true;
    }
    if (reader->base.at.version > reader->target.at.version) { /* an older grant came later */
        reader->stale = true;
    }
    collect_changed(reader);
    sql_database_take(database, &database->reads_ready, &reader->tasks, tasks_max);
    if (bnd_list_empty(&reader->tasks)) {
        return true;
    }
    reader->work = (struct bnd_work){.run = on_run, .done = on_done, .data = reader};
    if (sql_leader_work(database->leader, &reader->work, true) != 0) {
        bnd_list_move(&reader->tasks, &database->reads_ready);
        return false;
    }
    reader->busy = true;
    return true;
}

static void start_ready(struct sql_database *database) {
    size_t ready = 0;
    size_t idle = 0;
    for (struct bnd_link *link = database->reads_ready.next; link != &database->reads_ready;
         link = link->next) {
        ready++;
    }
    for (size_t i = 0; i < SQL_READERS_MAX; i++) {
        idle += !database->readers[i].busy;
    }
    if (ready == 0 || idle == 0) {
        return;
    }
    size_t each = (ready + idle - 1) / idle;
    size_t worth = SQL_READ_NS_MIN / (database->read_ns + 1) + 1;
    each = each > worth ? each : worth;
    each = each < SQL_RUN_TASKS_MAX ? each : SQL_RUN_TASKS_MAX;
    for (size_t i = 0; i < SQL_READERS_MAX && !bnd_list_empty(&database->reads_ready); i++) {
        if (!database->readers[i].busy && !reader_start(&database->readers[i], each)) {
            sql_leader_starved(database);
            return;
        }
    }
}

static void granted(struct sql_database *database, uint32_t slot) {
    struct sql_base base;
    int rv = sql_base_look(database->leader, slot, database->uuid, &base);
    switch (rv) {
    case 0:
        database->read_base = base;
        bnd_list_move(&database->reads_asked, &database->reads_ready);
        break;
    case BND_NOTFOUND:
        to_writer(database, &database->reads_asked);
        break;
    case BND_DENIED:
        sql_database_refuse(database, &database->reads_asked, BND_NOTFOUND);
        break;
    default:
        sql_database_refuse(database, &database->reads_asked, rv);
        break;
    }
}

static void on_granted(void *data, int status, const struct bnd_fsm_read *context) {
    struct sql_database *database = data;
    database->read_barrier = NULL;
    if (status != 0) {
        sql_database_refuse(database, &database->reads_asked,
                            status == BND_CANCELED ? BND_NOTLEADER : status);
    } else {
        granted(database, context->slot);
    }
    sql_database_kick(database);
}

/* Is the rule off that a barrier is for, on the leader or on a follower? */
static bool goes_without(const struct sql_database *database, uint32_t *out_slot) {
    struct bnd_raft_group_status status;
    if (database->leader->config.rules_off == 0 ||
        bnd_raft_group_status(database->leader->host, database->gid, &status) != 0) {
        return false;
    }
    *out_slot = status.slot;
    return status.state == BND_RAFT_LEADER ? !sql_rule(database->leader, SQL_RULE_BARRIER)
                                           : !sql_rule(database->leader, SQL_RULE_INDEX);
}

static void ask(struct sql_database *database) {
    uint32_t slot = 0;
    bnd_list_move(&database->reads_new, &database->reads_asked);
    if (goes_without(database, &slot)) {
        granted(database, slot);
        return;
    }
    int rv = sql_barrier_ask(database->leader, database->gid, on_granted, database,
                             &database->read_barrier);
    if (rv != 0) {
        bool retry_helps = bnd_code_class(rv) == BND_CLASS_RETRY;
        sql_database_refuse(database, &database->reads_asked, retry_helps ? rv : BND_NOTLEADER);
    }
}

void sql_reads_kick(struct sql_database *database) {
    if (database->read_barrier == NULL && !bnd_list_empty(&database->reads_new)) {
        ask(database);
    }
    start_ready(database);
}
