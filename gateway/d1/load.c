#include "gateway/d1/load.h"

#include "base/assert.h"
#include "gateway/d1/rules.h"

#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#define STATEMENT_BYTES_MAX (1u << 20) /* SQLite's own limit is far below, and says so */
#define PIECE_PARTS_MAX 16u
/* A step of filling an index reads its table once, for which it has the time of any statement, and
 * makes so many entries as a transaction has room for. */
#define FILL_BYTES_MAX (UINT64_C(512) << 20) /* of a file */
#define FILL_ROWS_MAX 524288

static void go_on(struct d1_load *load);
static void finish(struct d1_load *load);

/* ---- the end
 * ------------------------------------------------------------------------------------------------
 */

static void end(struct d1_load *load, enum d1_load_state state) {
    struct bnd_link *link = NULL;
    load->state = state;
    d1_branch_end(&load->branch);
    bnd_buf_free(&load->piece);
    bnd_buf_free(&load->moved);
    bnd_buf_free(&load->request);
    d1_outline_free(&load->outline);
    gateway_discharge(load->front, load->charged);
    load->charged = 0;
    while ((link = bnd_list_pop(&load->waits)) != NULL) {
        struct d1_load_wait *wait = BND_CONTAINER(link, struct d1_load_wait, link);
        wait->cb(wait);
    }
}

static void fail(struct d1_load *load, int status) {
    load->status = status;
    end(load, D1_LOAD_FAILED);
}

static void fail_text(struct d1_load *load, struct bnd_slice text) {
    bnd_buf_append_slice(&load->text, text);
    fail(load, load->text.failed ? BND_NOMEM : 0);
}

/* ---- in the database's place
 * ------------------------------------------------------------------------------------------------
 */

static void swap(struct d1_load *load);

static void on_swap_again(struct bnd_timer *timer) {
    swap(timer->data);
}

static void on_swapped(struct bnd_sql_admin *admin, int status) {
    struct d1_load *load = admin->data;
    load->asking = false;
    if (d1_again_later(&load->again, status, on_swap_again)) {
        return;
    }
    if (status == 0) {
        load->bookmark = admin->bookmark;
        d1_branch_taken(&load->branch);
        end(load, D1_LOADED);
    } else if (status == BND_PRECONDITION) {
        fail_text(load, bnd_slice_str("The import took no effect: for a while this process could "
                                      "not reach the database's replicas"));
    } else {
        fail(load, status);
    }
}

static void swap(struct d1_load *load) {
    load->admin = (struct bnd_sql_admin){.cb = on_swapped, .data = load};
    int rv = bnd_sql_swap(load->sql, &load->admin, load->uuid, load->branch.uuid, load->version);
    load->asking = rv == 0;
    if (rv != 0 && !d1_again_later(&load->again, rv, on_swap_again)) {
        fail(load, rv);
    }
}

/* ---- statements
 * ------------------------------------------------------------------------------------------------
 */

static void on_call_again(struct bnd_timer *timer);

static void call(struct d1_load *load, void (*cb)(struct bnd_sql_call *call, int status,
                                                  const struct bnd_sql_answer *answer)) {
    if (load->request.failed) {
        fail(load, BND_NOMEM);
        return;
    }
    load->call = (struct bnd_sql_call){.cb = cb, .data = load};
    int rv =
        bnd_sql_query(load->sql, &load->call, load->branch.uuid, bnd_buf_slice(&load->request));
    load->calling = rv == 0;
    if (rv != 0 && !d1_again_later(&load->again, rv, on_call_again)) {
        fail(load, rv);
    }
}

static void on_call_again(struct bnd_timer *timer) {
    struct d1_load *load = timer->data;
    call(load, load->call.cb);
}

static void on_checked(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct d1_load *load = call->data;
    load->calling = false;
    if (d1_again_later(&load->again, status, on_call_again)) {
        return;
    }
    if (status != 0 && status != BND_TOOBIG) {
        fail(load, status);
        return;
    }
    if (status == 0 && answer->outcome != BND_SQL_DONE) {
        fail_text(load, answer->text);
        return;
    }
    json_t *all = status != 0 ? NULL
                              : json_loadb((const char *)answer->text.data, answer->text.len,
                                           JSON_ALLOW_NUL, NULL);
    const json_t *rows =
        json_object_get(json_object_get(json_array_get(all, 1), "results"), "rows");
    bool sound = json_is_array(rows) && json_array_size(rows) == 0;
    json_decref(all);
    if (sound) {
        swap(load);
    } else {
        fail_text(load, bnd_slice_str("FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: "
                                      "SQLITE_CONSTRAINT_FOREIGNKEY)"));
    }
}

/* A connection that knows no table yet (it was opened on an empty branch) would look at none, and
 * not find out that there are some: SQLite looks at its schema's age when it touches a table. */
static void check_links(struct d1_load *load) {
    static const char look_again[] = "SELECT 1 FROM sqlite_schema LIMIT 1";
    static const struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .read_only = true};
    bnd_buf_reset(&load->request);
    bnd_sql_request_begin(&load->request, &header);
    bnd_sql_request_statement(&load->request, bnd_slice_str(look_again), 0);
    bnd_sql_request_statement(&load->request, bnd_slice_str("PRAGMA foreign_key_check"), 0);
    bnd_sql_request_end(&load->request, 2);
    call(load, on_checked);
}

static uint64_t number_of(const json_t *meta, const char *name) {
    return (uint64_t)json_integer_value(json_object_get(meta, name));
}

static void count(struct d1_load *load, const struct bnd_sql_answer *answer) {
    json_t *meta = d1_meta(answer->text);
    load->rows_read += number_of(meta, "rows_read");
    load->rows_written += number_of(meta, "rows_written");
    load->size_bytes = number_of(meta, "size_after");
    load->duration_ms += json_number_value(json_object_get(meta, "duration"));
    json_decref(meta);
}

/* False: it is asked again, or the import has ended. */
static bool was_executed(struct d1_load *load, int status) {
    load->calling = false;
    if (d1_again_later(&load->again, status, on_call_again)) {
        return false;
    }
    if (status != 0) { /* NOTFOUND: the branch is gone, its lease was over */
        fail(load, status == BND_NOTFOUND ? BND_UNAVAILABLE : status);
    }
    return status == 0;
}

static void take_answer(struct d1_load *load, const struct bnd_sql_answer *answer) {
    struct bnd_sql_bookmark bookmark;
    bnd_sql_bookmark_get(answer->bookmark, &bookmark);
    load->version = bookmark.version;
    if (answer->outcome == BND_SQL_DONE) {
        count(load, answer);
    }
}

static void on_executed(struct bnd_sql_call *call, int status,
                        const struct bnd_sql_answer *answer) {
    struct d1_load *load = call->data;
    if (!was_executed(load, status)) {
        return;
    }
    if (answer->outcome == BND_SQL_FAILED) {
        fail_text(load, answer->text);
        return;
    }
    take_answer(load, answer);
    go_on(load);
}

/* ---- indexes that are filled
 * ------------------------------------------------------------------------------------------------
 */

static bool ends_with(struct bnd_slice text, const char *end) {
    size_t len = strlen(end);
    return text.len >= len && memcmp(text.data + text.len - len, end, len) == 0;
}

/* Fewer entries may do: less is changed, sorted, and sooner. A step of which it is not known
 * whether it was executed may be, before the next one or not at all: that finds out. */
static bool was_too_much(int status, const struct bnd_sql_answer *answer) {
    static const char *const ends[] = {": SQLITE_TOOBIG", ": SQLITE_NOMEM", ": SQLITE_INTERRUPT"};
    bool much = status != 0 && bnd_code_class(status) == BND_CLASS_UNKNOWN;
    for (size_t i = 0; status == 0 && i < sizeof ends / sizeof *ends; i++) {
        much = much || (answer->outcome == BND_SQL_FAILED && ends_with(answer->text, ends[i]));
    }
    return much;
}

static bool is_whole(const struct bnd_sql_answer *answer) {
    json_t *all =
        json_loadb((const char *)answer->text.data, answer->text.len, JSON_ALLOW_NUL, NULL);
    const json_t *rows =
        json_object_get(json_object_get(json_array_get(all, 0), "results"), "rows");
    bool whole = json_integer_value(json_array_get(json_array_get(rows, 0), 0)) == 1;
    json_decref(all);
    return whole;
}

/* What became of the answer to a step is not asked: the next one finds where it is to go on. */
static void on_filled(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct d1_load *load = call->data;
    if (load->fill_rows > 1 && was_too_much(status, answer)) {
        load->calling = false;
        load->fill_rows /= 2;
        finish(load);
        return;
    }
    if (!was_executed(load, status)) {
        return;
    }
    if (answer->outcome == BND_SQL_FAILED) {
        fail_text(load, answer->text);
        return;
    }
    take_answer(load, answer);
    if (answer->outcome == BND_SQL_DONE && is_whole(answer)) {
        load->filling[0] = 0;
    }
    finish(load);
}

/* False: all are. */
static bool fill(struct d1_load *load) {
    static const struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .fill = true};
    if (load->filling[0] == 0) {
        load->fill_rows = load->fill_rows_max;
        if (!d1_outline_empty(&load->outline, &load->fills_at, load->filling)) {
            return false;
        }
    }
    const struct bnd_sql_value rows = {.type = BND_SQL_INTEGER, .integer = load->fill_rows};
    bnd_buf_reset(&load->request);
    bnd_sql_request_begin(&load->request, &header);
    bnd_sql_request_statement(&load->request, bnd_slice_str(load->filling), 1);
    bnd_sql_request_param(&load->request, &rows);
    bnd_sql_request_end(&load->request, 1);
    call(load, on_filled);
    return true;
}

/* One text with all statements in it is one element of the answer. */
static void execute(struct d1_load *load) {
    const struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .unlinked = load->unlinked};
    bnd_buf_reset(&load->request);
    bnd_sql_request_begin(&load->request, &header);
    bnd_sql_request_statement(&load->request, bnd_slice(load->piece.data, load->statement_at), 0);
    bnd_sql_request_end(&load->request, 1);
    size_t left = load->piece.len - load->statement_at;
    memmove(load->piece.data, load->piece.data + load->statement_at, left);
    load->piece.len = left;
    load->statement_at = 0;
    call(load, on_executed);
}

/* ---- the file
 * ------------------------------------------------------------------------------------------------
 */

static struct bnd_slice skip(struct bnd_slice text, const char *what) {
    size_t len = strlen(what);
    while (text.len > 0 && memchr(" \t\r\n=(", text.data[0], 6) != NULL) {
        text = bnd_slice(text.data + 1, text.len - 1);
    }
    bool same = text.len >= len && strncasecmp((const char *)text.data, what, len) == 0;
    return same ? bnd_slice(text.data + len, text.len - len) : bnd_slice(NULL, 0);
}

/* PRAGMA defer_foreign_keys = TRUE, as D1's exports begin with: of one transaction, which the whole
 * import is meant to be. */
static bool puts_off_links(struct bnd_slice statement) {
    static const char *const on[] = {"true", "on", "1", "yes"};
    struct bnd_slice value = skip(skip(statement, "pragma"), "defer_foreign_keys");
    for (size_t i = 0; value.len > 0 && i < sizeof on / sizeof *on; i++) {
        if (skip(value, on[i]).len > 0) {
            return true;
        }
    }
    return false;
}

/* Of the first time through the file nothing is kept but its outline. */
static int on_outline(struct d1_load *load, struct bnd_slice statement) {
    bool rows = load->outline.rows;
    int rv = d1_outline_add(&load->outline, statement);
    load->outline.unlinked = load->outline.unlinked || (!rows && puts_off_links(statement));
    load->piece.len = 0;
    return rv;
}

static int on_statement(struct d1_load *load) {
    struct bnd_slice statement =
        bnd_slice(load->piece.data + load->statement_at, load->piece.len - load->statement_at);
    if (!load->outlined) {
        return on_outline(load, statement);
    }
    load->statements++;
    load->unlinked = load->unlinked || puts_off_links(statement);
    bnd_buf_reset(&load->moved);
    if (d1_outline_place(&load->outline, statement, &load->moved)) {
        load->piece.len = load->statement_at; /* it was executed before */
    }
    bnd_buf_append_slice(&load->piece, bnd_buf_slice(&load->moved));
    load->statement_at = load->piece.len;
    return load->moved.failed || load->piece.failed ? BND_NOMEM : 0;
}

static int take(struct d1_load *load, struct bnd_slice bytes) {
    int rv = 0;
    for (size_t at = 0; rv == 0 && at < bytes.len;) {
        bool ended = false;
        size_t len =
            d1_split_next(&load->split, bnd_slice(bytes.data + at, bytes.len - at), &ended);
        bnd_buf_append(&load->piece, bytes.data + at, len);
        at += len;
        rv = load->piece.failed ? BND_NOMEM : ended ? on_statement(load) : 0;
    }
    return rv;
}

static void on_bytes(struct d1_spool *spool, int status, struct bnd_slice bytes) {
    struct d1_load *load = spool->data;
    if (status == 0 && bytes.len == 0) {
        status = BND_IO; /* the file is shorter than it was */
    }
    if (status != 0) {
        fail(load, status);
        return;
    }
    load->offset += bytes.len;
    int rv = take(load, bytes);
    if (rv == 0 && d1_split_between(&load->split)) {
        load->piece.len = load->statement_at; /* blanks, comments */
    }
    if (rv == 0 && load->offset == load->spool->size && d1_split_open(&load->split)) {
        rv = on_statement(load); /* without a semicolon */
    }
    if (rv != 0) {
        fail(load, rv);
    } else {
        go_on(load);
    }
}

/* All of the file has been executed. */
static void finish(struct d1_load *load) {
    if (load->statements == 0) {
        fail_text(load, bnd_slice_str("No SQL statements detected."));
    } else if (fill(load)) {
        return;
    } else if (load->unlinked) {
        check_links(load);
    } else {
        swap(load);
    }
}

/* The file has been looked through: from its beginning again, and now in earnest. Each index that
 * grows with the rows changes pages of its own. */
static int begin_branch(struct d1_load *load) {
    load->outline.fills = load->spool->size <= FILL_BYTES_MAX;
    size_t moved = d1_outline_moved(&load->outline);
    load->piece_bytes =
        D1_LOAD_PIECE_BYTES / (moved < PIECE_PARTS_MAX ? moved + 1 : PIECE_PARTS_MAX);
    load->outlined = true;
    load->offset = 0;
    load->split = (struct d1_split){0};
    bnd_buf_reset(&load->piece);
    return d1_branch_begin(&load->branch, load->uuid, true);
}

static void go_on(struct d1_load *load) {
    bool all = load->offset == load->spool->size;
    bool ready = load->statement_at >= load->piece_bytes || (all && load->statement_at > 0);
    int rv = 0;
    if (!load->outlined && all) {
        rv = begin_branch(load);
    } else if (load->outlined && ready) {
        execute(load);
    } else if (all) {
        finish(load);
    } else if (load->piece.len - load->statement_at > STATEMENT_BYTES_MAX) {
        fail_text(load, bnd_slice_str("statement too long: SQLITE_TOOBIG"));
    } else {
        rv = d1_spool_read(load->spool, load->offset);
    }
    if (rv != 0) {
        fail(load, rv);
    }
}

/* ---- life
 * ------------------------------------------------------------------------------------------------
 */

static void on_branch(struct d1_branch *branch, int status) {
    struct d1_load *load = branch->data;
    if (status != 0) {
        fail(load, status);
        return;
    }
    load->bookmark = branch->at;
    load->version = branch->made.version;
    go_on(load);
}

int d1_load_start(struct d1_load *load) {
    bnd_list_init(&load->waits);
    load->again = (struct d1_again){.env = load->env, .data = load};
    load->fill_rows_max = load->fill_rows_max > 0 ? load->fill_rows_max : FILL_ROWS_MAX;
    load->spool->cb = on_bytes;
    load->spool->data = load;
    load->branch =
        (struct d1_branch){.env = load->env, .sql = load->sql, .cb = on_branch, .data = load};
    int rv = gateway_charge(load->front, D1_LOAD_CHARGE_BYTES);
    if (rv != 0) {
        return rv;
    }
    rv = d1_spool_read(load->spool, 0);
    if (rv != 0) {
        gateway_discharge(load->front, D1_LOAD_CHARGE_BYTES);
        return rv;
    }
    load->charged = D1_LOAD_CHARGE_BYTES;
    return 0;
}

void d1_load_wait(struct d1_load *load, struct d1_load_wait *wait) {
    BND_ASSERT(load->state == D1_LOADING);
    bnd_list_push(&load->waits, &wait->link);
}

void d1_load_free(struct d1_load *load) {
    BND_ASSERT(bnd_list_empty(&load->waits));
    d1_again_stop(&load->again);
    if (load->calling) {
        bnd_sql_cancel(&load->call);
    }
    if (load->asking) {
        bnd_sql_admin_cancel(&load->admin);
    }
    load->calling = load->asking = false;
    if (load->state == D1_LOADING) {
        end(load, D1_LOAD_FAILED);
    }
    bnd_buf_free(&load->text);
}
