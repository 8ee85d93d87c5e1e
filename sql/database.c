/* A database on its group's leader: its queue, and the life of its writer.
 *
 *               first task              ┌──────────── the pass is clean ─────────────┐
 *   CLOSED ──────────────────> (open) ──v                                            │
 *    │  ^  there is none           IDLE ──task──> RUNNING ──ran──> PROPOSED ─outcomes─┤
 *    │  └──── CREATING <───┐         │ idle, memory  │ lost            │ lost: the    │
 *    │   or: an outcome    │         v               v                 v pass goes on │
 *    └── is unknown ───────┘      CLOSED <───────────┴─────────────────┴── not clean ─┘
 *
 * Invariants:
 *  1. A writer that is open was opened in the term this node leads its group in, and its view
 * stands on `base`, which is committed.
 *  2. Every task is in one list: the queue, a pass, a list of reads, a reader's batch.
 *  3. Whatever ends the leadership replies to all that waits; what runs is replied to when it comes
 *     back from the pool; what was proposed when its outcome comes. */
#include "base/alloc.h"
#include "sql/leader_private.h"
#include "sql/varint.h"

/* ---- connections
 * ------------------------------------------------------------------------------------------ */

int sql_connected_open(struct sql_connected *connected, struct bnd_env *env,
                       const struct sql_view_config *config) {
    struct sql_connected made = {0};
    int rv = sql_view_create(config, &made.view);
    if (rv != 0) {
        return rv;
    }
    const struct sql_connection_config options = {
        .vfs = SQL_VFS_NAME,
        .name = sql_view_name(made.view),
        .read_only = !config->writer,
    };
    sql_vfs_enter(env, made.view);
    rv = sql_connection_open(&options, &made.connection, NULL);
    sql_vfs_leave();
    int error = sql_view_error(made.view);
    if (rv != 0) {
        sql_view_destroy(made.view);
        return error != 0 ? error : rv;
    }
    *connected = made;
    return 0;
}

void sql_connected_close(struct sql_connected *connected) {
    sql_connection_close(connected->connection);
    sql_view_destroy(connected->view);
    *connected = (struct sql_connected){0};
}

size_t sql_connected_bytes(const struct sql_connected *connected) {
    if (connected->view == NULL) {
        return 0;
    }
    return sql_connection_bytes(connected->connection) + sql_view_bytes(connected->view);
}

/* ---- life
 * -------------------------------------------------------------------------------------------------
 */

void sql_database_init(struct sql_database *database, struct sql_leader *leader, uint64_t gid,
                       const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    *database = (struct sql_database){.leader = leader, .gid = gid};
    memcpy(database->uuid, uuid, BND_SQL_UUID_BYTES);
    bnd_list_init(&database->queue);
    bnd_list_init(&database->reads_new);
    bnd_list_init(&database->reads_asked);
    bnd_list_init(&database->reads_ready);
    for (size_t i = 0; i < SQL_READERS_MAX; i++) {
        database->readers[i].database = database;
        bnd_list_init(&database->readers[i].tasks);
        bnd_list_init(&database->readers[i].left);
    }
}

void sql_database_free(struct sql_database *database) {
    BND_ASSERT(sql_database_idle(database));
    sql_connected_close(&database->writer);
    for (size_t i = 0; i < SQL_READERS_MAX; i++) {
        sql_connected_close(&database->readers[i].connected);
        bnd_free(database->readers[i].changed);
    }
    bnd_free(database->changed);
    bnd_free(database);
}

bool sql_database_idle(const struct sql_database *database) {
    bool busy = database->tasks_count > 0 || database->pass != NULL ||
                database->state == SQL_WRITER_CREATING || database->read_barrier != NULL ||
                bnd_link_linked(&database->starved_link) || bnd_link_linked(&database->ready_link);
    for (size_t i = 0; i < SQL_READERS_MAX; i++) {
        busy = busy || database->readers[i].busy;
    }
    return !busy;
}

void sql_database_close_writer(struct sql_database *database) {
    sql_connected_close(&database->writer);
    database->state = SQL_WRITER_CLOSED;
}

/* ---- tasks
 * ------------------------------------------------------------------------------------------------
 */

static bool has_room(const struct sql_database *database, const struct sql_task *task) {
    return database->tasks_count < SQL_QUEUE_TASKS_MAX &&
           database->tasks_bytes + task->bytes <= SQL_QUEUE_BYTES_MAX;
}

static void count(struct sql_database *database, struct sql_task *task) {
    task->counted = true;
    database->tasks_count++;
    database->tasks_bytes += task->bytes;
}

void sql_database_enqueue(struct sql_database *database, struct sql_task *task, bool first) {
    if (!task->counted) {
        count(database, task);
    }
    bnd_list_push(first ? database->queue.next : &database->queue, &task->link);
}

void sql_database_release(struct sql_database *database, struct sql_task *task) {
    if (task->counted) {
        task->counted = false;
        database->tasks_count--;
        database->tasks_bytes -= task->bytes;
    }
}

int sql_database_add_local(struct sql_database *database, struct sql_task *task,
                           const struct sql_base *base) {
    if (!has_room(database, task)) {
        return BND_FULL;
    }
    database->used_ns = bnd_now_ns(database->leader->config.env);
    count(database, task);
    if (base == NULL) {
        bnd_list_push(&database->reads_new, &task->link);
    } else {
        database->read_base = *base; /* the state only moves on: it is nobody's past */
        bnd_list_push(&database->reads_ready, &task->link);
    }
    sql_leader_ready(database);
    return 0;
}

void sql_database_add(struct sql_database *database, struct sql_task *task) {
    if (!has_room(database, task)) {
        sql_task_refuse(task, BND_FULL);
        return;
    }
    database->used_ns = bnd_now_ns(database->leader->config.env);
    if (sql_task_reads(task)) {
        count(database, task);
        bnd_list_push(&database->reads_new, &task->link);
    } else {
        sql_database_enqueue(database, task, false);
    }
    sql_leader_ready(database);
}

void sql_database_take(struct sql_database *database, struct bnd_link *from, struct bnd_link *to,
                       size_t tasks_max) {
    for (size_t i = 0; i < tasks_max && !bnd_list_empty(from); i++) {
        struct bnd_link *link = bnd_list_pop(from);
        struct sql_task *task = BND_CONTAINER(link, struct sql_task, link);
        if (sql_task_wanted(task)) {
            bnd_list_push(to, link);
        } else {
            sql_database_release(database, task);
            sql_task_refuse(task, BND_EXPIRED);
        }
    }
}

void sql_database_refuse(struct sql_database *database, struct bnd_link *tasks, int status) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(tasks)) != NULL) {
        struct sql_task *task = BND_CONTAINER(link, struct sql_task, link);
        sql_database_release(database, task);
        if (status == BND_NOTFOUND || status == BND_CORRUPT || status == BND_IO) {
            sql_task_fail(task, status);
        } else {
            sql_task_refuse(task, status);
        }
    }
}

/* ---- what is committed
 * ------------------------------------------------------------------------------------ */

int sql_base_look(const struct sql_leader *leader, uint32_t slot,
                  const uint8_t uuid[BND_SQL_UUID_BYTES], struct sql_base *out) {
    struct bnd_state *state = leader->config.state;
    struct sql_database_record record;
    int rv = sql_history_database(state, slot, uuid, &record);
    if (rv != 0) {
        return rv;
    }
    if (record.state == SQL_DATABASE_DELETED) {
        return BND_DENIED;
    }
    *out = (struct sql_base){
        .at = {.state = state,
               .slot = slot,
               .number = record.number,
               .epoch = record.epoch,
               .version = record.version},
        .page_count = record.page_count,
    };
    struct bnd_sql_bookmark bookmark = {.epoch = record.epoch, .version = record.version};
    memcpy(bookmark.hash, record.hash, sizeof bookmark.hash);
    bnd_sql_bookmark_put(out->bookmark, &bookmark);
    return 0;
}

static void changed_add(struct sql_database *database, uint64_t version, uint32_t page) {
    if (database->changed_count == SQL_CHANGED_MAX) { /* the oldest version is not whole any more */
        database->changed_after = database->changed[database->changed_first].version;
        database->changed_first = (database->changed_first + 1) % SQL_CHANGED_MAX;
        database->changed_count--;
    }
    size_t at = (database->changed_first + database->changed_count++) % SQL_CHANGED_MAX;
    database->changed[at] = (struct sql_changed){.version = version, .page = page};
}

static bool has_readers(const struct sql_database *database) {
    bool some = false;
    for (size_t i = 0; i < SQL_READERS_MAX; i++) {
        const struct sql_reader *reader = &database->readers[i];
        some = some || reader->busy || reader->connected.connection != NULL;
    }
    return some;
}

void sql_database_changed(struct sql_database *database, uint64_t version, uint32_t pages_count,
                          struct bnd_slice pages) {
    if (database->changed == NULL && has_readers(database)) {
        database->changed = bnd_calloc(SQL_CHANGED_MAX, sizeof *database->changed);
    }
    if (database->changed == NULL) {
        return; /* without memory readers forget more than they must */
    }
    if (version != database->changed_until + 1) { /* restored, or installed, between */
        database->changed_count = 0;
        database->changed_after = version - 1;
    }
    database->changed_until = version;
    struct bnd_reader r = bnd_reader(pages);
    uint32_t page = 0;
    for (uint32_t i = 0; i < pages_count; i++) {
        page += (uint32_t)sql_varint_read(&r);
        changed_add(database, version, page);
    }
}

/* ---- the writer opens
 * ------------------------------------------------------------------------------------- */

static void on_created(struct bnd_shard_call *call, int status, struct bnd_slice reply) {
    struct sql_database *database = call->data;
    (void)reply;
    database->state = SQL_WRITER_CLOSED;
    switch (status) {
    case 0:
    case BND_EXISTS:
        database->unsure = false;
        break;
    case BND_NOTFOUND: /* it was deleted */
        database->unsure = false;
        sql_database_refuse(database, &database->queue, BND_NOTFOUND);
        sql_reads_refuse(database, BND_NOTFOUND);
        break;
    default: /* nothing of the tasks was proposed */
        sql_database_refuse(database, &database->queue,
                            status == BND_NOSPACE ? BND_NOSPACE : BND_BUSY);
        sql_reads_refuse(database, BND_BUSY);
        break;
    }
    sql_database_kick(database);
}

/* A proposal that says what is there: whatever was proposed before it is decided by then. */
static void create(struct sql_database *database) {
    struct sql_command command = {.op = SQL_CREATE};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    memcpy(command.uuid, database->uuid, BND_SQL_UUID_BYTES);
    sql_command_encode(&bytes, &command);
    database->create = (struct bnd_shard_call){.cb = on_created, .data = database};
    struct bnd_slice part = bnd_buf_slice(&bytes);
    int rv = bytes.failed ? BND_NOMEM
                          : bnd_shard_call(database->leader->client, &database->create,
                                           BND_SHARD_WRITE, database->gid, &part, 1, 0);
    if (rv != 0) {
        sql_database_refuse(database, &database->queue, BND_BUSY);
        sql_reads_refuse(database, BND_BUSY);
        return;
    }
    database->state = SQL_WRITER_CREATING;
}

/* The base of a new writer; the connection is opened by its first pass. */
static int open_writer(struct sql_database *database) {
    struct bnd_raft_group_status status;
    uint64_t term = sql_leader_term(database->leader, database->gid);
    if (term == 0 || bnd_raft_group_status(database->leader->host, database->gid, &status) != 0 ||
        status.state != BND_RAFT_LEADER || !status.ready || status.term != term) {
        return BND_NOTLEADER;
    }
    int rv = sql_base_look(database->leader, status.slot, database->uuid, &database->base);
    if (rv != 0) {
        return rv;
    }
    database->term = term;
    database->lost = false;
    database->state = SQL_WRITER_IDLE;
    return 0;
}

static void kick_writer(struct sql_database *database) {
    if (bnd_list_empty(&database->queue)) {
        return;
    }
    if (database->state == SQL_WRITER_CLOSED) {
        int rv = database->unsure ? BND_NOTFOUND : open_writer(database);
        if (rv == BND_NOTFOUND) {
            create(database);
            return;
        }
        if (rv != 0) {
            sql_database_refuse(database, &database->queue, rv == BND_DENIED ? BND_NOTFOUND : rv);
            return;
        }
    }
    if (database->state == SQL_WRITER_IDLE && sql_pass_start(database) != 0) {
        sql_leader_starved(database);
    }
}

void sql_database_kick(struct sql_database *database) {
    if (database->leader->closing) {
        return;
    }
    kick_writer(database);
    sql_reads_kick(database);
}

/* ---- ends
 * --------------------------------------------------------------------------------------------------
 */

void sql_database_lost(struct sql_database *database) {
    sql_database_refuse(database, &database->queue, BND_NOTLEADER);
    sql_reads_refuse(database, BND_NOTLEADER);
    switch (database->state) {
    case SQL_WRITER_IDLE:
        if (sql_rule(database->leader, SQL_RULE_TERM)) {
            sql_database_close_writer(database);
        }
        break;
    case SQL_WRITER_RUNNING:
        database->lost = true;
        sql_pass_interrupt(database->pass);
        break;
    case SQL_WRITER_PROPOSED:
        sql_pass_detach(database->pass);
        database->pass = NULL;
        sql_database_close_writer(database);
        break;
    default:
        break;
    }
}

void sql_database_stop(struct sql_database *database) {
    sql_database_refuse(database, &database->queue, BND_NOTLEADER);
    sql_reads_refuse(database, BND_NOTLEADER);
    sql_barrier_forget(database->read_barrier);
    database->read_barrier = NULL;
    if (database->state == SQL_WRITER_CREATING) {
        bnd_shard_call_cancel(&database->create);
        database->state = SQL_WRITER_CLOSED;
    }
    sql_reads_interrupt(database);
    if (database->state == SQL_WRITER_RUNNING) {
        sql_pass_interrupt(database->pass);
    }
    if (database->state == SQL_WRITER_PROPOSED) {
        sql_pass_abandon(database->pass);
        database->pass = NULL;
        sql_database_close_writer(database);
    }
    if (bnd_link_linked(&database->starved_link)) {
        bnd_link_remove(&database->starved_link);
    }
    if (bnd_link_linked(&database->ready_link)) {
        bnd_link_remove(&database->ready_link);
    }
}
