/* One request (leader_private.h): made of the first execution that asks for it, joined by the
 * others with its id, and answered once, to all of them. */
#include "base/alloc.h"
#include "sql/leader_private.h"

#include <strings.h>

/* ---- ids
 * --------------------------------------------------------------------------------------------------
 */

static struct sql_task **id_slot(const struct sql_leader *leader,
                                 const struct bnd_raft_request_id *id) {
    uint64_t mixed =
        (id->minter ^ (id->seq * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xbf58476d1ce4e5b9);
    return &leader->ids[(mixed >> 32) & (leader->ids_buckets - 1)];
}

struct sql_task *sql_task_find(struct sql_leader *leader, const struct bnd_raft_request_id *id) {
    struct sql_task *task = *id_slot(leader, id);
    while (task != NULL && (task->id.minter != id->minter || task->id.seq != id->seq)) {
        task = task->id_next;
    }
    return task;
}

static void id_remove(struct sql_task *task) {
    struct sql_task **at = id_slot(task->leader, &task->id);
    while (*at != task) {
        at = &(*at)->id_next;
    }
    *at = task->id_next;
}

/* ---- life
 * -------------------------------------------------------------------------------------------------
 */

static int decode(struct sql_task *task, struct bnd_slice body) {
    if (body.len < BND_SQL_UUID_BYTES) {
        return BND_CORRUPT;
    }
    memcpy(task->uuid, body.data, BND_SQL_UUID_BYTES);
    return bnd_sql_request_decode(
        bnd_slice(body.data + BND_SQL_UUID_BYTES, body.len - BND_SQL_UUID_BYTES), &task->request);
}

struct sql_task *sql_task_create(struct sql_leader *leader, struct bnd_raft_execution *execution) {
    struct sql_task *task = bnd_zalloc(sizeof *task);
    if (task == NULL) {
        bnd_raft_execution_reply(execution, false, BND_BUSY, bnd_slice(NULL, 0));
        return NULL;
    }
    int rv = decode(task, execution->body);
    if (rv != 0) {
        bnd_free(task);
        bnd_raft_execution_reply(execution, true, rv, bnd_slice(NULL, 0));
        return NULL;
    }
    execution->data = NULL;
    task->leader = leader;
    task->primary = true;
    task->asked = execution;
    task->id = execution->id;
    task->bytes = sizeof *task + execution->body.len;
    struct sql_task **slot = id_slot(leader, &execution->id);
    task->id_next = *slot;
    *slot = task;
    return task;
}

struct sql_task *sql_task_create_local(struct sql_leader *leader, struct sql_local *local,
                                       struct bnd_slice request) {
    struct sql_task *task = bnd_zalloc(sizeof *task);
    uint8_t *owned = bnd_memdup(request.data, request.len);
    if (task == NULL || owned == NULL ||
        bnd_sql_request_decode(bnd_slice(owned, request.len), &task->request) != 0) {
        bnd_free(owned);
        bnd_free(task);
        return NULL;
    }
    task->leader = leader;
    task->local = local;
    task->owned = owned;
    task->bytes = sizeof *task + request.len;
    local->task = task;
    return task;
}

void sql_task_join(struct sql_task *task, struct bnd_raft_execution *execution) {
    if (task->asked == NULL) { /* only where answers do not wait for their commits */
        execution->data = NULL;
        task->asked = execution;
        return;
    }
    execution->data = task->asked->data; /* behind the first: the body borrowed is its */
    task->asked->data = execution;
}

bool sql_task_wanted(const struct sql_task *task) {
    return task->local != NULL ||
           (task->asked != NULL &&
            task->asked->deadline_ms >=
                bnd_raft_group_stamp_ms(task->leader->host, task->asked->gid));
}

void sql_task_forget_run(struct sql_task *task) {
    bnd_buf_free(&task->ran.text);
    bnd_buf_free(&task->ran.commands);
    task->ran = (struct sql_ran){0};
}

static void tell(struct sql_task *task, bool executed, int status, struct bnd_slice bytes) {
    struct bnd_raft_execution *asked = task->asked;
    task->asked = NULL;
    while (asked != NULL) {
        struct bnd_raft_execution *next = asked->data;
        bnd_raft_execution_reply(asked, executed, status, bytes);
        asked = next;
    }
    struct sql_local *local = task->local;
    if (local != NULL) {
        task->local = NULL;
        local->task = NULL;
        local->cb(local, status, bytes);
    }
}

static void reply(struct sql_task *task, bool executed, int status, struct bnd_slice bytes) {
    BND_ASSERT(!bnd_link_linked(&task->link) && !task->counted);
    if (task->owned == NULL) {
        id_remove(task);
    }
    tell(task, executed, status, bytes);
    sql_task_forget_run(task);
    bnd_free(task->owned);
    bnd_free(task);
}

void sql_task_refuse(struct sql_task *task, int status) {
    reply(task, false, status, bnd_slice(NULL, 0));
}

void sql_task_fail(struct sql_task *task, int status) {
    reply(task, true, status, bnd_slice(NULL, 0));
}

/* ---- answers
 * ---------------------------------------------------------------------------------------------- */

static struct bnd_sql_answer as_ran(const struct sql_task *task,
                                    const uint8_t bookmark[BND_SQL_BOOKMARK_BYTES]) {
    struct bnd_sql_answer what = {
        .outcome = task->ran.outcome,
        .wrote = task->ran.changed,
        .text = bnd_buf_slice(&task->ran.text),
    };
    memcpy(what.bookmark, bookmark, BND_SQL_BOOKMARK_BYTES);
    return what;
}

void sql_task_answer_early(struct sql_task *task, const uint8_t bookmark[BND_SQL_BOOKMARK_BYTES]) {
    const struct bnd_sql_answer what = as_ran(task, bookmark);
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_sql_answer_encode(&bytes, &what);
    tell(task, true, 0, bnd_buf_slice(&bytes));
}

static void answer(struct sql_task *task, const struct bnd_sql_answer *what) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_sql_answer_encode(&bytes, what);
    if (bytes.failed) {
        sql_task_refuse(task, BND_UNKNOWN); /* a retry learns it */
    } else if (bytes.len > BND_RAFT_EXECUTE_REPLY_MAX) {
        sql_task_fail(task, BND_TOOBIG);
    } else {
        reply(task, true, 0, bnd_buf_slice(&bytes));
    }
}

void sql_task_answer(struct sql_task *task, const uint8_t bookmark[BND_SQL_BOOKMARK_BYTES]) {
    const struct bnd_sql_answer what = as_ran(task, bookmark);
    struct bnd_sql_stats *stats = task->leader->config.stats;
    stats->failures += what.outcome == BND_SQL_FAILED;
    stats->transactions += what.wrote;
    answer(task, &what);
}

void sql_task_answer_kept(struct sql_task *task, struct bnd_slice kept) {
    struct bnd_sql_answer what = {0};
    if (kept.len < BND_SQL_BOOKMARK_BYTES) {
        sql_task_fail(task, BND_CORRUPT); /* no reply of a commit */
        return;
    }
    struct bnd_slice rest =
        bnd_slice(kept.data + BND_SQL_BOOKMARK_BYTES, kept.len - BND_SQL_BOOKMARK_BYTES);
    if (rest.len == 0 || bnd_sql_answer_decode(rest, &what) != 0) {
        what = (struct bnd_sql_answer){.outcome = BND_SQL_LOST, .wrote = true};
    }
    memcpy(what.bookmark, kept.data, BND_SQL_BOOKMARK_BYTES);
    answer(task, &what);
}

bool sql_task_answer_known(struct sql_task *task, uint64_t gid) {
    int status = 0;
    struct bnd_slice known = {0};
    int rv = sql_rule(task->leader, SQL_RULE_OUTCOME)
                 ? bnd_raft_outcome(task->leader->host, gid, &task->id, &status, &known)
                 : BND_NOTFOUND;
    if (rv == BND_NOTFOUND && (task->asked == NULL || sql_task_wanted(task))) {
        return false;
    }
    if (rv == BND_NOTFOUND) { /* an outcome may be swept by now */
        sql_task_refuse(task, BND_EXPIRED);
    } else if (rv != 0) {
        sql_task_refuse(task, rv);
    } else if (status == 0) {
        sql_task_answer_kept(task, known);
    } else {
        sql_task_fail(task, status);
    }
    return true;
}

/* ---- what it looks like
 * ----------------------------------------------------------------------------------- */

/* Past blanks and comments. */
static struct bnd_slice skip_blank(struct bnd_slice text) {
    size_t at = 0;
    while (at < text.len) {
        const char *p = (const char *)text.data + at;
        size_t left = text.len - at;
        if (memchr(" \t\r\n\f", *p, 5) != NULL) {
            at++;
        } else if (left >= 2 && p[0] == '-' && p[1] == '-') {
            const char *end = memchr(p, '\n', left);
            at += end == NULL ? left : (size_t)(end - p);
        } else if (left >= 2 && p[0] == '/' && p[1] == '*') {
            const char *end = memmem(p + 2, left - 2, "*/", 2);
            at += end == NULL ? left : (size_t)(end + 2 - p);
        } else {
            break;
        }
    }
    return bnd_slice(text.data + at, text.len - at);
}

static bool begins_with(struct bnd_slice text, const char *word) {
    size_t len = strlen(word);
    if (text.len < len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if ((text.data[i] | 0x20) != word[i]) {
            return false;
        }
    }
    return true;
}

bool sql_task_reads(const struct sql_task *task) {
    static const char *const words[] = {"select", "with", "explain", "pragma", "values"};
    if (task->request.read_only || task->request.fill) {
        return task->request.read_only;
    }
    struct bnd_sql_request request = task->request;
    struct bnd_sql_statement statement;
    if (request.statements_count == 0) {
        return true;
    }
    bnd_sql_request_next(&request, &statement);
    struct bnd_slice text = skip_blank(statement.text);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (begins_with(text, words[i])) {
            return true;
        }
    }
    return false;
}

bool sql_task_asks_last_row(const struct sql_task *task) {
    static const char name[] = "last_insert_rowid";
    const size_t before = sizeof "last" - 1; /* its first "_" */
    const size_t len = sizeof name - 1;
    struct bnd_slice rest = task->request.statements.rest;
    size_t at = 0;
    while (at < rest.len) {
        const uint8_t *found = memchr(rest.data + at, '_', rest.len - at);
        if (found == NULL) {
            return false;
        }
        at = (size_t)(found - rest.data);
        if (at >= before && rest.len - at >= len - before &&
            strncasecmp((const char *)found - before, name, len) == 0) {
            return true;
        }
        at++;
    }
    return false;
}

/* ---- a run (on the pool)
 * ---------------------------------------------------------------------------------- */

static void say(struct bnd_buf *text, const char *message) {
    bnd_buf_reset(text);
    bnd_buf_append_str(text, message);
}

/* What SQLite calls a full disk or an input/output error has another name here. */
static int explain(struct sql_ran *ran, int rv, int error) {
    if (error == BND_TOOBIG) {
        ran->outcome = BND_SQL_FAILED;
        say(&ran->text, "transaction changes more pages than one may: SQLITE_TOOBIG");
        return ran->text.failed ? BND_NOMEM : 0;
    }
    return error != 0 ? error : rv;
}

static uint64_t now_ns(void *data) {
    return bnd_clock_ns(data);
}

_Static_assert(SQL_PAGE_BYTES == BND_SQL_PAGE_BYTES, "what is asked for is what is kept");
_Static_assert(SQL_PAGE_BYTES *BND_SQL_PAGES_MAX <= BND_SQL_ANSWER_MAX, "an answer has room");

/* The pages that are asked for, as far as there are so many. */
static int copy_pages(const struct bnd_sql_request *request, struct sql_view *view,
                      struct bnd_buf *out) {
    uint8_t page[SQL_PAGE_BYTES];
    uint64_t past = (uint64_t)request->pages_first + request->pages_count;
    uint64_t end = (uint64_t)sql_view_size(view) + 1;
    int rv = 0;
    for (uint64_t number = request->pages_first; rv == 0 && number < past && number < end;
         number++) {
        rv = sql_view_page(view, (uint32_t)number, page);
        if (rv == 0) {
            bnd_buf_append(out, page, sizeof page);
        }
    }
    return rv == 0 && out->failed ? BND_NOMEM : rv;
}

/* A connection that ran nothing is as good as before. */
static bool run_pages(struct sql_task *task, struct sql_connected *on) {
    struct sql_ran *ran = &task->ran;
    ran->outcome = BND_SQL_DONE;
    ran->status = copy_pages(&task->request, on->view, &ran->text);
    return true;
}

bool sql_task_run(struct sql_task *task, struct sql_connected *on, bool read_only,
                  const _Atomic bool *stop) {
    struct sql_ran *ran = &task->ran;
    if (task->request.pages_count > 0) {
        return run_pages(task, on);
    }
    struct sql_run run = {
        .request = &task->request,
        .served = {.node = task->leader->config.name, .primary = task->primary},
        .clock = {.now_ns = now_ns, .data = task->leader->config.env},
        .stop = stop,
        .read_only = read_only,
        .last_row_id = ran->last_row_id,
    };
    sql_vfs_enter(task->leader->config.env, NULL);
    int rv = sql_connection_run(on->connection, &run);
    sql_vfs_leave();
    ran->outcome = run.outcome;
    ran->wants_writer = run.wants_writer;
    ran->last_row_id = run.last_row_id;
    ran->text = run.text;
    ran->status = explain(ran, rv, sql_view_error(on->view));
    return rv == 0 || rv == BND_TOOBIG;
}
