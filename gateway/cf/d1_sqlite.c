/* GET .../sqlite[?bookmark=|timestamp=]: the database as a file that SQLite opens, as it is now or
 * was at a place in its history. Ours: Cloudflare's API has none.
 *
 * Its pages, in order, as its history has them: read from a branch, so that all are of one version
 * whatever is written meanwhile and whoever leads (ADR 0106), a part at a time, from this node's
 * replica where there is one. Held is one part.
 *
 *   branch ──> ask ──pages──> send ──> ask ... ──> end
 *               ^ └─ not now ─┘
 *
 * Invariants: 1. the length is told before the first byte, so that a client cannot take a part for
 * the whole; 2. nothing is sent before the first page is what SQLite takes for a database of that
 * length; 3. a page that cannot be read cuts the answer. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/d1/again.h"
#include "gateway/d1/sqlite.h"

#define CHARGE_BYTES ((size_t)3 << 20) /* a part as an answer, and as it is sent */

struct sqlite_op {
    struct cf_d1_op op; /* first */
    struct cf_d1_place place;
    struct bnd_sql_admin admin;
    struct d1_branch branch;
    struct bnd_buf request, part;
    struct bnd_sql_call call;
    struct d1_again again;
    struct bnd_http_write write;
    uint64_t sent;
    bool charged;
    bool begun; /* the answer: failures cut it now */
    struct s3_query query;
    uint8_t space[];
};

static void clean(struct rest_request *request) {
    struct sqlite_op *op = request->data;
    d1_branch_end(&op->branch);
    if (op->charged) {
        gateway_discharge(request->services->front, CHARGE_BYTES);
    }
    bnd_buf_free(&op->request);
    bnd_buf_free(&op->part);
}

/* The branch is there for as long as it is renewed: that it is gone is no news of the database. */
static void fail(struct rest_request *request, int status) {
    const struct sqlite_op *op = request->data;
    if (!op->begun) {
        cf_d1_fail(request, status == BND_NOTFOUND ? BND_UNAVAILABLE : status);
        return;
    }
    bnd_log(request->services->env, BND_LOG_WARN, "d1",
            "the download of a database was cut after %llu of %llu bytes: %s",
            (unsigned long long)op->sent, (unsigned long long)op->branch.bytes,
            bnd_code_text(status));
    rest_abort(request);
}

/* ---- parts
 * ------------------------------------------------------------------------------------------------
 */

static void ask(struct rest_request *request);
static void on_again(struct bnd_timer *timer);

static void end(struct rest_request *request) {
    bnd_http_end(request->http);
    rest_release(request);
}

static void on_sent(struct bnd_http_write *write, int status) {
    struct rest_request *request = write->data;
    struct sqlite_op *op = request->data;
    if (status != 0) {
        rest_abort(request);
        return;
    }
    op->sent += op->part.len;
    if (op->sent == op->branch.bytes) {
        end(request);
    } else {
        ask(request);
    }
}

/* False: the request has been ended. */
static bool begin_answer(struct rest_request *request) {
    struct sqlite_op *op = request->data;
    char at[BND_SQL_BOOKMARK_TEXT + 1];
    bnd_sql_bookmark_text(&op->branch.at, at);
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/vnd.sqlite3")},
        {bnd_slice_str("X-Bindery-Bookmark"), bnd_slice_str(at)},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = sizeof headers / sizeof *headers};
    op->begun = bnd_http_begin(request->http, &response, op->branch.bytes) == 0;
    if (!op->begun) {
        rest_abort(request);
    }
    return op->begun;
}

static void send(struct rest_request *request) {
    struct sqlite_op *op = request->data;
    if (!op->begun && !begin_answer(request)) {
        return;
    }
    op->write = (struct bnd_http_write){.cb = on_sent, .data = request};
    if (bnd_http_write(request->http, &op->write, bnd_buf_slice(&op->part)) != 0) {
        rest_abort(request);
    }
}

static uint64_t pages_left(const struct sqlite_op *op) {
    return (op->branch.bytes - op->sent) / BND_SQL_PAGE_BYTES;
}

static uint32_t pages_next(const struct sqlite_op *op) {
    uint64_t left = pages_left(op);
    return left < BND_SQL_PAGES_MAX ? (uint32_t)left : BND_SQL_PAGES_MAX;
}

/* Whole, and of the version that all others are of. */
static bool is_next(const struct sqlite_op *op, const struct bnd_sql_answer *answer) {
    uint8_t made[BND_SQL_BOOKMARK_BYTES];
    bnd_sql_bookmark_put(made, &op->branch.made);
    return answer->outcome == BND_SQL_DONE &&
           answer->text.len == (size_t)pages_next(op) * BND_SQL_PAGE_BYTES &&
           memcmp(answer->bookmark, made, sizeof made) == 0;
}

static void on_answer(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct rest_request *request = call->data;
    struct sqlite_op *op = request->data;
    if (d1_again_later(&op->again, status, on_again)) {
        return;
    }
    if (status != 0) {
        fail(request, status);
        return;
    }
    if (!is_next(op, answer) ||
        (op->sent == 0 && !d1_sqlite_header_sound(answer->text, op->branch.bytes))) {
        fail(request, BND_CORRUPT);
        return;
    }
    bnd_buf_reset(&op->part);
    bnd_buf_append_slice(&op->part, answer->text);
    if (op->part.failed) {
        fail(request, BND_NOMEM);
    } else {
        send(request);
    }
}

static void ask(struct rest_request *request) {
    struct sqlite_op *op = request->data;
    if (request->http->aborted) { /* nobody waits for it: nor is it waited for where it stops */
        rest_abort(request);
        return;
    }
    struct bnd_sql_request header = {
        .results = BND_SQL_ROWS,
        .session = BND_SQL_BOOKMARK,
        .read_only = true,
        .pages_first = (uint32_t)(op->sent / BND_SQL_PAGE_BYTES) + 1,
        .pages_count = pages_next(op),
    };
    bnd_sql_bookmark_put(header.bookmark, &op->branch.made);
    bnd_buf_reset(&op->request);
    bnd_sql_request_begin(&op->request, &header);
    bnd_sql_request_end(&op->request, 0);
    op->call = (struct bnd_sql_call){.cb = on_answer, .data = request};
    int rv = op->request.failed ? BND_NOMEM
                                : bnd_sql_query(request->services->sql, &op->call, op->branch.uuid,
                                                bnd_buf_slice(&op->request));
    if (rv != 0 && !d1_again_later(&op->again, rv, on_again)) {
        fail(request, rv);
    }
}

static void on_again(struct bnd_timer *timer) {
    ask(timer->data);
}

/* ---- the branch
 * ------------------------------------------------------------------------------------------------
 */

static void on_branch(struct d1_branch *branch, int status) {
    struct rest_request *request = branch->data;
    struct sqlite_op *op = request->data;
    bool placed = op->place.by_time || op->place.by_bookmark;
    if (status != 0) {
        (void)(placed ? cf_d1_failed_place(request, status, op->place.by_time)
                      : cf_d1_failed(request, status)); /* or it is looked for once more */
    } else if (branch->bytes > 0) {
        ask(request);
    } else if (begin_answer(request)) { /* an empty file is an empty database */
        end(request);
    }
}

static int begin_branch(struct d1_use *use, const struct bnd_sql_bookmark *at) {
    struct rest_request *request = use->data;
    struct sqlite_op *op = request->data;
    op->branch = (struct d1_branch){
        .env = request->services->env, .sql = use->sql, .cb = on_branch, .data = request};
    if (at != NULL) {
        op->branch.past = true;
        op->branch.at = *at;
    }
    return d1_branch_begin(&op->branch, use->uuid, false);
}

static void on_time(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    struct sqlite_op *op = request->data;
    if (cf_d1_failed_place(request, status, true)) {
        return;
    }
    const struct bnd_sql_bookmark at = admin->bookmark;
    int rv = begin_branch(&op->op.use, &at);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

static int act(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct sqlite_op *op = request->data;
    if (!op->place.by_time) {
        return begin_branch(use, op->place.by_bookmark ? &op->place.bookmark : NULL);
    }
    op->admin = (struct bnd_sql_admin){.cb = on_time, .data = request};
    return bnd_sql_at_time(use->sql, &op->admin, use->uuid, op->place.stamp_ms);
}

void cf_d1_run_sqlite(struct rest_request *request) {
    struct bnd_slice raw = request->http->head->query;
    const char *why = NULL;
    if (!cf_d1_begin(request, sizeof(struct sqlite_op) + raw.len + 1, clean)) {
        return;
    }
    struct sqlite_op *op = request->data;
    if (s3_query_parse(raw, op->space, &op->query, &why) == S3_OK) {
        why = cf_d1_place_read(&op->query, bnd_wall_ms(request->services->env), &op->place);
    }
    if (why != NULL) {
        rest_fail(request, 400, D1_MALFORMED, why);
        return;
    }
    int rv = gateway_charge(request->services->front, CHARGE_BYTES);
    if (rv != 0) {
        cf_d1_fail(request, rv);
        return;
    }
    op->charged = true;
    op->again = (struct d1_again){.env = request->services->env, .data = request};
    op->op.use.act = act;
    d1_use_start(&op->op.use);
}
