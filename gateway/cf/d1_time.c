/* Time Travel: the bookmark of now or of a time, and restoring to one, in place. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/s3/date.h"
#include "gateway/s3/query.h"

struct time_op {
    struct cf_d1_op op; /* first */
    struct bnd_sql_admin admin;
    bool restoring;
    bool by_time;
    uint64_t stamp_ms;
    struct bnd_sql_bookmark bookmark; /* not by time: to restore to */
    struct s3_query query;
    uint8_t space[];
};

static void missing(struct rest_request *request, bool by_time) {
    rest_fail(request, 400, D1_MALFORMED,
              by_time
                  ? "There is no bookmark of that time: the database is younger, or its history "
                    "is not kept for so long"
                  : "The bookmark is not one of this database, or its history is not kept for "
                    "so long");
}

/* True: the request goes on, or has been ended. */
static bool failed(struct rest_request *request, int status, bool by_time) {
    struct time_op *op = request->data;
    if (status == 0) {
        return false;
    }
    if (status != BND_NOTFOUND) {
        cf_d1_fail(request, status);
    } else if (!d1_use_missing(&op->op.use)) {
        missing(request, by_time);
    }
    return true;
}

/* ---- restore
 * ------------------------------------------------------------------------------------------------
 */

static void on_restored(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    if (!failed(request, status, false)) {
        rest_reply(request,
                   json_pack("{s:o, s:o, s:s}", "bookmark", cf_d1_bookmark_json(&admin->bookmark),
                             "previous_bookmark", cf_d1_bookmark_json(&admin->previous), "message",
                             "The database has been restored"));
    }
}

static int restore(struct d1_use *use, const struct bnd_sql_bookmark *target) {
    struct rest_request *request = use->data;
    struct time_op *op = request->data;
    op->admin = (struct bnd_sql_admin){.cb = on_restored, .data = request};
    return bnd_sql_restore(use->sql, &op->admin, use->uuid, target);
}

/* ---- bookmark
 * ------------------------------------------------------------------------------------------------
 */

static void on_time(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    struct time_op *op = request->data;
    if (failed(request, status, true)) {
        return;
    }
    op->bookmark = admin->bookmark;
    if (!op->restoring) {
        rest_reply(request, json_pack("{s:o}", "bookmark", cf_d1_bookmark_json(&op->bookmark)));
        return;
    }
    int rv = restore(&op->op.use, &op->bookmark);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

static void on_info(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    if (!failed(request, status, false)) {
        rest_reply(request,
                   json_pack("{s:o}", "bookmark", cf_d1_bookmark_json(&admin->info.bookmark)));
    }
}

static int act(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct time_op *op = request->data;
    if (op->restoring && !op->by_time) {
        return restore(use, &op->bookmark);
    }
    op->admin = (struct bnd_sql_admin){.cb = op->by_time ? on_time : on_info, .data = request};
    return op->by_time ? bnd_sql_at_time(use->sql, &op->admin, use->uuid, op->stamp_ms)
                       : bnd_sql_info(use->sql, &op->admin, use->uuid);
}

/* ---- what is asked for
 * ------------------------------------------------------------------------------------------------
 */

/* Text of a time, or seconds or milliseconds since 1970. */
static bool time_parse(struct bnd_slice text, uint64_t *out_ms) {
    uint64_t number = 0;
    if (s3_date_iso_parse(text, out_ms)) {
        return true;
    }
    if (!s3_decimal(text, &number)) {
        return false;
    }
    *out_ms = text.len <= 10 ? number * 1000 : number;
    return true;
}

/* NULL, or why not. */
static const char *read_query(struct time_op *op, struct bnd_slice raw, uint64_t now_ms) {
    const char *why = NULL;
    if (s3_query_parse(raw, op->space, &op->query, &why) != S3_OK) {
        return why;
    }
    struct bnd_slice stamp = s3_query_get(&op->query, "timestamp");
    struct bnd_slice bookmark = s3_query_get(&op->query, "bookmark");
    op->by_time = stamp.len > 0;
    if (op->by_time && bookmark.len > 0) {
        return "bookmark or timestamp, one of them";
    }
    if (op->by_time && !time_parse(stamp, &op->stamp_ms)) {
        return "timestamp must be a time as 2009-10-12T17:50:30Z or a number of seconds";
    }
    if (op->by_time && op->stamp_ms > now_ms) {
        return "timestamp must be a time in the past";
    }
    if (!op->restoring || op->by_time) {
        return NULL;
    }
    if (bookmark.len == 0) {
        return "bookmark or timestamp is missing";
    }
    return bnd_sql_bookmark_parse(bookmark, &op->bookmark) == 0 ? NULL
                                                                : "bookmark has another form";
}

static void run(struct rest_request *request, bool restoring) {
    struct bnd_slice raw = request->http->head->query;
    if (!cf_d1_begin(request, sizeof(struct time_op) + raw.len + 1, NULL)) {
        return;
    }
    struct time_op *op = request->data;
    op->restoring = restoring;
    const char *why = read_query(op, raw, bnd_wall_ms(request->services->env));
    if (why != NULL) {
        rest_fail(request, 400, D1_MALFORMED, why);
        return;
    }
    op->op.use.act = act;
    d1_use_start(&op->op.use);
}

void cf_d1_run_bookmark(struct rest_request *request) {
    run(request, false);
}

void cf_d1_run_restore(struct rest_request *request) {
    run(request, true);
}
