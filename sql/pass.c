/* A pass of the writer: tasks run back to back on pending versions, every change set proposed in
 * one go, and everything answered when all outcomes are in (ADR 0100, "Execution", "Outcome").
 *
 *     start ──pool: run──> propose ──outcomes, or a barrier──> settle
 *
 * Invariants:
 *  1. What a task was answered stands on committed versions alone: its own operation, or an
 *     operation of the pass that was committed on the version that it saw or upon it, or (no
 *     operation at all) a read barrier after which the database was still at the pass's base.
 *  2. Behind the first operation that did not commit as it was run, nothing of the pass counts:
 *     such tasks run again, unless their id has an outcome.
 *  3. A large transaction (more than one command) is the last of its pass; its parts are proposed a
 *     few at a time, its commit when all are there.
 *  4. A pass outlives its database's interest (detach) and the leader's (abandon) until the host
 * has answered what was proposed. */
#include "base/alloc.h"
#include "sql/leader_private.h"

#define PARTS_FLYING_MAX 6u /* 3 MiB of the group's 8 MiB of proposals */
#define STAGE_DEADLINE_MS UINT64_C(30000)

enum op_state {
    OP_NONE,     /* the task changed nothing */
    OP_WAITING,  /* proposed, or its parts are */
    OP_SKIPPED,  /* not proposed: something before it was not */
    OP_ANSWERED, /* status and reply are there */
};

/* A task of the pass, with its operation. */
struct item {
    struct bnd_raft_propose propose;
    struct sql_pass *pass;
    struct sql_task *task; /* NULL: abandoned */
    enum op_state state;
    int status;
    size_t reply_len;
    uint8_t *reply;
};

/* Parts of a large transaction on their way. */
struct part {
    struct bnd_raft_propose propose;
    struct sql_pass *pass;
};

struct sql_pass {
    struct sql_leader *leader;     /* NULL: abandoned */
    struct sql_database *database; /* NULL: detached */
    struct bnd_work work;
    struct bnd_link tasks; /* before and while it runs */
    struct bnd_link left;  /* not run */
    struct sql_packer *packer;
    struct sql_connected writer; /* the database's, while on the pool */
    _Atomic bool stop;           /* end what runs, and run nothing more */
    struct sql_base base;
    struct sql_view_config view;
    uint64_t gid, term;
    uint8_t attempt[16];
    int64_t last_row_id;
    int open_status;
    bool broken; /* the connection must go */
    /* on the loop, then */
    struct item *items;
    size_t items_count;
    size_t waiting; /* for the host: operations, parts, the barrier */
    bool barrier_ok;
    bool reading;
    struct bnd_raft_read read;
    struct bnd_reader parts; /* of the large one: what is not proposed yet */
    uint32_t parts_left, parts_flying;
    uint64_t parts_minter, parts_seq;
    int parts_status;
    bool settling;
};

static void settle_if_all(struct sql_pass *pass);

/* ---- on the pool
 * ------------------------------------------------------------------------------------------ */

/* The kept answer, and the commands. */
static int pack(struct sql_pass *pass, struct sql_ran *ran, struct sql_pending *pending) {
    BND_AUTO_BUF struct bnd_buf answer = {0};
    if (ran->text.len <= SQL_ANSWER_KEPT_MAX) {
        const struct bnd_sql_answer what = {
            .outcome = BND_SQL_DONE, .wrote = true, .text = bnd_buf_slice(&ran->text)};
        bnd_sql_answer_encode(&answer, &what);
    }
    if (answer.len > SQL_ANSWER_KEPT_MAX) {
        bnd_buf_reset(&answer);
    }
    struct sql_commit header = {
        .number = pass->base.at.number,
        .epoch = pass->base.at.epoch,
        .term = pass->term,
        .base = pending->version - 1,
        .page_count = pending->page_count,
    };
    memcpy(header.attempt, pass->attempt, sizeof header.attempt);
    ran->version = pending->version;
    ran->page_count = pending->page_count;
    int rv = sql_packer_commit(pass->packer, pass->database->uuid, &header, &pending->set,
                               bnd_buf_slice(&answer), &ran->commands, &ran->commands_count);
    return rv == 0 && answer.failed ? BND_NOMEM : rv;
}

/* Runs a task. False: the connection must go, and with it the pending version that the task may
 * have made. */
static bool run_task(struct sql_pass *pass, struct sql_task *task) {
    struct sql_ran *ran = &task->ran;
    struct sql_pending pending;
    ran->last_row_id = pass->last_row_id;
    bool sound = sql_task_run(task, &pass->writer, false, &pass->stop);
    bool changed = sql_view_take(pass->writer.view, &pending);
    if (!changed) {
        return sound;
    }
    pass->last_row_id = ran->last_row_id;
    sound = sound && ran->status == 0 && ran->outcome == BND_SQL_DONE;
    if (sound) {
        int rv = pack(pass, ran, &pending);
        sound = rv == 0;
        ran->changed = sound;
        ran->status = rv;
    }
    sql_change_set_free(&pending.set);
    return sound;
}

static void on_run(struct bnd_work *work) {
    struct sql_pass *pass = work->data;
    struct bnd_env *env = pass->leader->config.env;
    struct bnd_link *link = NULL;
    struct bnd_link ran;
    uint64_t until_ns = bnd_clock_ns(env) + SQL_RUN_NS_MAX;
    size_t bytes = 0;
    bool last = false;
    bnd_list_init(&ran);
    if (pass->writer.connection == NULL) {
        pass->open_status = sql_connected_open(&pass->writer, env, &pass->view);
        last = pass->open_status != 0;
    }
    while (!last && !pass->stop && (link = bnd_list_pop(&pass->tasks)) != NULL) {
        struct sql_task *task = BND_CONTAINER(link, struct sql_task, link);
        bnd_list_push(&ran, link);
        pass->broken = !run_task(pass, task);
        bytes += task->ran.text.len + task->ran.commands.len;
        last = pass->broken || bytes > SQL_RUN_BYTES_MAX || task->ran.commands_count > 1 ||
               bnd_clock_ns(env) > until_ns;
    }
    if (pass->writer.view != NULL) {
        sql_view_rest(pass->writer.view);
    }
    bnd_list_take(&pass->tasks, &pass->left);
    while ((link = bnd_list_pop(&ran)) != NULL) {
        bnd_list_push(&pass->tasks, link);
    }
}

/* ---- start
 * ------------------------------------------------------------------------------------------------
 */

static void on_ran(struct bnd_work *work, int status);

static int pass_create(struct sql_database *database, struct sql_pass **out) {
    struct sql_leader *leader = database->leader;
    struct sql_pass *pass = bnd_zalloc(sizeof *pass);
    int rv = pass == NULL ? BND_NOMEM : sql_leader_packer(leader, &pass->packer);
    if (rv != 0) {
        bnd_free(pass);
        return rv;
    }
    pass->leader = leader;
    pass->database = database;
    pass->gid = database->gid;
    pass->term =
        sql_rule(leader, SQL_RULE_TERM) ? database->term : sql_leader_term(leader, database->gid);
    pass->last_row_id = database->last_row_id;
    pass->base = database->base;
    pass->writer = database->writer;
    pass->view = (struct sql_view_config){
        .at = database->base.at,
        .page_count = database->base.page_count,
        .writer = true,
        .pages_bytes_max = leader->config.memory_bytes / 16,
    };
    uint64_t random[2] = {bnd_random(leader->config.env), bnd_random(leader->config.env)};
    memcpy(pass->attempt, random, sizeof pass->attempt);
    bnd_list_init(&pass->tasks);
    bnd_list_init(&pass->left);
    pass->work = (struct bnd_work){.run = on_run, .done = on_ran, .data = pass};
    pass->work.pin = bnd_get_u64(database->uuid) | 1;
    *out = pass;
    return 0;
}

static void pass_free(struct sql_pass *pass) {
    for (size_t i = 0; i < pass->items_count; i++) {
        bnd_free(pass->items[i].reply);
    }
    bnd_free(pass->items);
    bnd_free(pass);
}

/* Gives tasks back to the queue, before what is in it, in their order. */
static void give_back(struct sql_database *database, struct bnd_link *tasks) {
    while (!bnd_list_empty(tasks)) {
        struct sql_task *task = BND_CONTAINER(tasks->prev, struct sql_task, link);
        bnd_link_remove(&task->link);
        sql_database_enqueue(database, task, true);
    }
}

int sql_pass_start(struct sql_database *database) {
    struct sql_pass *pass = NULL;
    int rv = pass_create(database, &pass);
    if (rv != 0) {
        return rv;
    }
    sql_database_take(database, &database->queue, &pass->tasks, SQL_RUN_TASKS_MAX);
    if (bnd_list_empty(&pass->tasks)) {
        sql_leader_packer_back(database->leader, pass->packer);
        pass_free(pass);
        return 0;
    }
    rv = sql_leader_work(database->leader, &pass->work, false);
    if (rv != 0) {
        give_back(database, &pass->tasks);
        sql_leader_packer_back(database->leader, pass->packer);
        pass_free(pass);
        return rv;
    }
    database->writer = (struct sql_connected){0};
    database->pass = pass;
    database->state = SQL_WRITER_RUNNING;
    return 0;
}

/* ---- propose
 * ---------------------------------------------------------------------------------------------- */

static void on_outcome(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct item *item = propose->data;
    struct sql_pass *pass = item->pass;
    item->state = OP_ANSWERED;
    item->status = status;
    if (status == 0 && reply.len > 0) {
        item->reply = bnd_memdup(reply.data, reply.len);
        item->reply_len = reply.len;
        if (item->reply == NULL) {
            item->status = BND_UNKNOWN; /* a retry learns it */
        }
    }
    pass->waiting--;
    settle_if_all(pass);
}

/* The command goes out under the client's id. */
static int propose_commit(struct item *item, struct bnd_slice command) {
    const struct bnd_raft_execution *asked = item->task->asked;
    item->propose = (struct bnd_raft_propose){
        .id = asked->id,
        .low_seq = asked->low_seq,
        .deadline_ms = asked->deadline_ms,
        .command = command,
        .cb = on_outcome,
        .data = item,
    };
    int rv = bnd_raft_propose(item->pass->leader->host, item->pass->gid, &item->propose);
    if (rv == 0) {
        item->state = OP_WAITING;
        item->pass->waiting++;
    } else {
        item->state = OP_ANSWERED;
        item->status = rv == BND_NOTFOUND || rv == BND_CANCELED ? BND_NOTLEADER : rv;
    }
    return rv;
}

static void propose_parts(struct sql_pass *pass);

static void on_part(struct bnd_raft_propose *propose, int status, struct bnd_slice reply) {
    struct part *part = propose->data;
    struct sql_pass *pass = part->pass;
    (void)reply;
    bnd_free(part);
    pass->waiting--;
    pass->parts_flying--;
    if (status != 0 && pass->parts_status == 0) {
        pass->parts_status = status;
    }
    propose_parts(pass);
    settle_if_all(pass);
}

static int propose_part(struct sql_pass *pass, struct bnd_slice command) {
    struct bnd_raft_host *host = pass->leader->host;
    struct part *part = bnd_zalloc(sizeof *part);
    if (part == NULL) {
        return BND_BUSY;
    }
    uint64_t seq = ++pass->parts_seq;
    part->pass = pass;
    part->propose = (struct bnd_raft_propose){
        .id = {.minter = pass->parts_minter, .seq = seq},
        .low_seq = 1,
        .deadline_ms = bnd_raft_group_stamp_ms(host, pass->gid) + STAGE_DEADLINE_MS,
        .command = command,
        .cb = on_part,
        .data = part,
    };
    int rv = bnd_raft_propose(host, pass->gid, &part->propose);
    if (rv != 0) {
        bnd_free(part);
        return rv;
    }
    pass->parts_flying++;
    pass->waiting++;
    return 0;
}

/* What is not executed of the parts is not of the transaction either. */
static int as_commit(int status) {
    switch (status) {
    case BND_UNKNOWN: /* a part is put down or not: the commit was not proposed */
    case BND_EXPIRED:
        return BND_BUSY;
    default:
        return status;
    }
}

/* As many parts as may fly; the commit when all are answered. The large one is the last item. */
static void propose_parts(struct sql_pass *pass) {
    struct item *item = pass->items_count == 0 ? NULL : &pass->items[pass->items_count - 1];
    if (pass->leader == NULL || item == NULL || pass->parts_minter == 0 || item->state != OP_NONE) {
        return;
    }
    while (pass->parts_status == 0 && pass->parts_left > 1 &&
           pass->parts_flying < PARTS_FLYING_MAX) {
        struct bnd_reader before = pass->parts;
        int rv = propose_part(pass, bnd_read_bytes(&pass->parts));
        if (rv == BND_FULL && pass->parts_flying > 0) {
            pass->parts = before; /* when one is answered */
            return;
        }
        pass->parts_status = rv;
        pass->parts_left--;
    }
    if (pass->parts_flying > 0) {
        return;
    }
    if (pass->parts_status != 0) {
        item->state = OP_ANSWERED;
        item->status = as_commit(pass->parts_status);
        return;
    }
    (void)propose_commit(item, bnd_read_bytes(&pass->parts));
}

static void begin_parts(struct item *item) {
    struct sql_pass *pass = item->pass;
    while (pass->parts_minter == 0) {
        pass->parts_minter = bnd_random(pass->leader->config.env);
    }
    pass->parts = bnd_reader(bnd_buf_slice(&item->task->ran.commands));
    pass->parts_left = item->task->ran.commands_count;
    propose_parts(pass);
}

/* Proposes all operations, in order, up to the first that the host does not take. Returns how many
 * there are. */
static size_t propose_all(struct sql_pass *pass) {
    size_t ops = 0;
    int rv = 0;
    for (size_t i = 0; i < pass->items_count; i++) {
        struct item *item = &pass->items[i];
        struct sql_ran *ran = &item->task->ran;
        if (!ran->changed) {
            continue;
        }
        ops++;
        if (rv != 0) {
            item->state = OP_SKIPPED;
        } else if (ran->commands_count > 1) {
            begin_parts(item);
        } else {
            struct bnd_reader commands = bnd_reader(bnd_buf_slice(&ran->commands));
            rv = propose_commit(item, bnd_read_bytes(&commands));
        }
    }
    return ops;
}

static void on_barrier(struct bnd_raft_read *read, int status, const struct bnd_fsm_read *context) {
    struct sql_pass *pass = read->data;
    pass->waiting--;
    if (status == 0 && pass->database != NULL) {
        struct sql_base now;
        pass->barrier_ok = sql_base_look(pass->database->leader, context->slot, pass->database->uuid, &now) == 0 &&
                           now.at.number == pass->base.at.number &&
                           now.at.epoch == pass->base.at.epoch &&
                           now.at.version == pass->base.at.version;
    }
    settle_if_all(pass);
}

/* Nothing was proposed: is the base still what is committed, and this node its leader? */
static void ask_barrier(struct sql_pass *pass) {
    if (!sql_rule(pass->leader, SQL_RULE_BARRIER)) {
        pass->barrier_ok = true;
        return;
    }
    pass->read = (struct bnd_raft_read){.cb = on_barrier, .data = pass};
    if (bnd_raft_read(pass->leader->host, pass->gid, &pass->read) == 0) {
        pass->waiting++;
    }
}

/* ---- settle
 * -----------------------------------------------------------------------------------------------
 */

/* Did the operation commit as it was run: the next version, on the version it was made on? Epoch
 * and version tell it from an outcome that its id had before: that one is of a version which the
 * state had when the writer was opened, in this term and behind everything unknown (open_writer).
 */
static bool committed_here(const struct sql_pass *pass, const struct item *item) {
    if (item->state != OP_ANSWERED || item->status != 0 ||
        item->reply_len < BND_SQL_BOOKMARK_BYTES) {
        return false;
    }
    struct bnd_sql_bookmark bookmark;
    bnd_sql_bookmark_get(item->reply, &bookmark);
    return bookmark.epoch == pass->base.at.epoch && bookmark.version == item->task->ran.version;
}

static void let_go(struct sql_pass *pass, struct sql_task *task) {
    if (pass->database != NULL) {
        sql_database_release(pass->database, task);
    }
}

/* A task that has to run again, or cannot. Takes it. */
static void again(struct sql_pass *pass, struct sql_task *task, struct bnd_link *retries) {
    sql_task_forget_run(task);
    if (pass->database == NULL || task->asked == NULL) {
        let_go(pass, task);
        sql_task_refuse(task, BND_NOTLEADER);
    } else if (++task->runs >= SQL_RUNS_MAX) {
        let_go(pass, task);
        sql_task_refuse(task, BND_BUSY);
    } else {
        bnd_list_push(retries, &task->link);
    }
}

/* An operation that did not commit here, by what became of it. Takes its task. */
static void settle_other(struct sql_pass *pass, struct item *item, struct bnd_link *retries) {
    struct sql_task *task = item->task;
    if (item->state != OP_ANSWERED || item->status == BND_CONFLICT) {
        pass->leader->config.stats->conflicts += item->state == OP_ANSWERED;
        again(pass, task, retries);
        return;
    }
    let_go(pass, task);
    switch (item->status) {
    case 0: /* the outcome of an earlier attempt */
        sql_task_answer_kept(task, bnd_slice(item->reply, item->reply_len));
        break;
    case BND_NOTFOUND: /* the database was deleted */
    case BND_LOCKED: /* it is being imported into */
    case BND_TOOBIG:
        sql_task_fail(task, item->status);
        break;
    default:
        sql_task_refuse(task, item->status);
        break;
    }
}

/* A task that changed nothing, on versions that are committed. Takes it. */
static void settle_seen(struct sql_pass *pass, struct sql_task *task, const uint8_t *bookmark) {
    int status = task->ran.status;
    let_go(pass, task);
    if (sql_task_answer_known(task, pass->gid)) {
        return;
    }
    if (status == 0) {
        sql_task_answer(task, bookmark);
    } else if (status == BND_NOTFOUND || status == BND_NOMEM) { /* again may help */
        sql_task_refuse(task, BND_BUSY);
    } else {
        sql_task_fail(task, status);
    }
}

/* What is committed of the pass is the database's base now. */
static void move_base(struct sql_pass *pass, const struct item *item) {
    const struct sql_ran *ran = &item->task->ran;
    struct sql_database *database = pass->database;
    pass->base.at.version = ran->version;
    pass->base.page_count = ran->page_count;
    memcpy(pass->base.bookmark, item->reply, BND_SQL_BOOKMARK_BYTES);
    if (database != NULL) {
        database->base = pass->base;
        database->last_row_id = ran->last_row_id;
    }
}

/* Index of the first operation that did not commit as it was run; items_count: all did. */
static size_t first_failed(const struct sql_pass *pass, size_t *out_committed) {
    *out_committed = 0;
    for (size_t i = 0; i < pass->items_count; i++) {
        if (!pass->items[i].task->ran.changed) {
            continue;
        }
        if (!committed_here(pass, &pass->items[i])) {
            return i;
        }
        (*out_committed)++;
    }
    return pass->items_count;
}

static void settle_committed(struct sql_pass *pass, struct item *item) {
    struct sql_task *task = item->task;
    move_base(pass, item);
    pass->leader->config.stats->change_set_bytes += task->ran.commands.len;
    let_go(pass, task);
    sql_task_answer(task, item->reply);
}

/* Answers, or gives back, every task. Returns whether the writer may go on. */
static bool settle_items(struct sql_pass *pass, struct bnd_link *retries, bool *out_unsure) {
    size_t committed = 0;
    size_t failed = first_failed(pass, &committed);
    bool base_seen = committed > 0 || pass->barrier_ok;
    for (size_t i = 0; i < pass->items_count; i++) {
        struct item *item = &pass->items[i];
        bool stands = (i < failed && base_seen) || !sql_rule(pass->leader, SQL_RULE_BASE);
        if (!item->task->ran.changed && stands) {
            settle_seen(pass, item->task, pass->base.bookmark);
        } else if (!item->task->ran.changed) {
            again(pass, item->task, retries);
        } else if (i < failed) {
            settle_committed(pass, item);
        } else {
            *out_unsure = *out_unsure || (item->state == OP_ANSWERED &&
                                          bnd_code_class(item->status) == BND_CLASS_UNKNOWN);
            settle_other(pass, item, retries);
        }
    }
    return failed == pass->items_count && base_seen;
}

/* The rule that the connection goes with its versions, switched off. */
static void keep_writer(struct sql_pass *pass) {
    struct sql_database *database = pass->database;
    if (sql_base_look(database->leader, database->base.at.slot, database->uuid, &database->base) != 0) {
        sql_database_close_writer(database);
        return;
    }
    sql_view_drop(database->writer.view, &database->base.at, database->base.page_count,
                  sql_rule(pass->leader, SQL_RULE_SPOIL));
}

static void settle(struct sql_pass *pass) {
    struct bnd_link retries;
    bool unsure = false;
    bnd_list_init(&retries);
    bool clean = settle_items(pass, &retries, &unsure);
    struct sql_database *database = pass->database;
    if (database != NULL) {
        database->pass = NULL;
        database->unsure = database->unsure || (unsure && sql_rule(pass->leader, SQL_RULE_UNSURE));
        database->state = SQL_WRITER_IDLE;
        if (clean && !pass->broken) {
            sql_view_committed(database->writer.view, database->base.at.version);
        } else if (sql_rule(pass->leader, SQL_RULE_CLOSE) || pass->broken) {
            sql_database_close_writer(database);
        } else {
            keep_writer(pass);
        }
        give_back(database, &retries);
        sql_leader_used(database);
        sql_database_kick(database);
    }
    BND_ASSERT(bnd_list_empty(&retries));
    pass_free(pass);
}

static void settle_if_all(struct sql_pass *pass) {
    if (pass->waiting > 0 || pass->settling) {
        return;
    }
    if (pass->leader == NULL) {
        pass_free(pass);
        return;
    }
    pass->settling = true;
    settle(pass);
}

/* ---- after the pool
 * --------------------------------------------------------------------------------------- */

static bool items_make(struct sql_pass *pass) {
    size_t count = 0;
    for (struct bnd_link *link = pass->tasks.next; link != &pass->tasks; link = link->next) {
        count++;
    }
    pass->items = bnd_calloc(count, sizeof *pass->items);
    if (pass->items == NULL) {
        return false;
    }
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&pass->tasks)) != NULL) {
        struct item *item = &pass->items[pass->items_count++];
        item->pass = pass;
        item->task = BND_CONTAINER(link, struct sql_task, link);
    }
    return true;
}

/* Nothing of the pass is proposed. */
static void pass_void(struct sql_pass *pass) {
    struct sql_database *database = pass->database;
    bool gone = database->lost || pass->leader->closing;
    int damage = pass->open_status == BND_CORRUPT || pass->open_status == BND_IO ? pass->open_status
                                                                                 : BND_BUSY;
    sql_database_refuse(database, &pass->tasks, gone ? BND_NOTLEADER : damage);
    sql_database_refuse(database, &pass->left, gone ? BND_NOTLEADER : damage);
    database->pass = NULL;
    database->lost = false;
    sql_database_close_writer(database);
    pass_free(pass);
    sql_leader_used(database);
    sql_database_kick(database);
}

/* The rule that answers wait for their commits, switched off. */
static void release_early(struct sql_pass *pass) {
    struct bnd_sql_bookmark bookmark;
    bnd_sql_bookmark_get(pass->base.bookmark, &bookmark);
    for (size_t i = 0; i < pass->items_count; i++) {
        struct sql_task *task = pass->items[i].task;
        uint8_t bytes[BND_SQL_BOOKMARK_BYTES];
        bookmark.version = task->ran.changed ? task->ran.version : bookmark.version;
        bnd_sql_bookmark_put(bytes, &bookmark);
        sql_task_answer_early(task, bytes);
    }
}

static void on_ran(struct bnd_work *work, int status) {
    struct sql_pass *pass = work->data;
    struct sql_database *database = pass->database;
    sql_leader_worked(pass->leader, false);
    sql_leader_packer_back(pass->leader, pass->packer);
    database->writer = pass->writer;
    database->leader->config.stats->entries++;
    if (status != 0 || database->lost || pass->leader->closing || pass->open_status != 0 ||
        !items_make(pass)) {
        pass_void(pass);
        return;
    }
    give_back(database, &pass->left);
    database->state = SQL_WRITER_PROPOSED;
    pass->settling = true; /* not from inside */
    if (propose_all(pass) == 0) {
        ask_barrier(pass);
    }
    if (!sql_rule(pass->leader, SQL_RULE_RELEASE)) {
        release_early(pass);
    }
    pass->settling = false;
    settle_if_all(pass);
}

void sql_pass_interrupt(struct sql_pass *pass) {
    pass->stop = true;
}

void sql_pass_detach(struct sql_pass *pass) {
    for (size_t i = 0; i < pass->items_count; i++) {
        sql_database_release(pass->database, pass->items[i].task);
    }
    pass->database = NULL;
}

void sql_pass_abandon(struct sql_pass *pass) {
    sql_pass_detach(pass);
    for (size_t i = 0; i < pass->items_count; i++) {
        struct sql_task *task = pass->items[i].task;
        pass->items[i].task = NULL;
        sql_task_refuse(task, BND_UNKNOWN);
    }
    pass->leader = NULL;
}
