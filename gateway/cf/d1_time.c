/* Time Travel: the bookmark of now or of a time, and restoring to one, in place. */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/date.h"
#include "gateway/s3/query.h"

struct time_op {
    struct cf_d1_op op; /* first */
    struct bnd_sql_admin admin;
    bool restoring;
    struct cf_d1_place place;
    struct s3_query query;
    uint8_t space[];
};

bool cf_d1_failed_place(struct rest_request *request, int status, bool by_time) {
    struct cf_d1_op *op = request->data;
    if (status != BND_NOTFOUND) {
        return cf_d1_failed(request, status);
    }
    if (!d1_use_missing(&op->use)) {
        rest_fail(request, 400, D1_MALFORMED,
                  by_time ? "There is no bookmark of that time: the database is younger, or its "
                            "history is not kept for so long"
                          : "The bookmark is not one of this database, or its history is not kept "
                            "for so long");
    }
    return true;
}

/* ---- restore
 * ------------------------------------------------------------------------------------------------
 */

static void on_restored(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    if (!cf_d1_failed_place(request, status, false)) {
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
    if (cf_d1_failed_place(request, status, true)) {
        return;
    }
    if (!op->restoring) {
        rest_reply(request, json_pack("{s:o}", "bookmark", cf_d1_bookmark_json(&admin->bookmark)));
        return;
    }
    op->place.bookmark = admin->bookmark;
    int rv = restore(&op->op.use, &op->place.bookmark);
    if (rv != 0) {
        cf_d1_fail(request, rv);
    }
}

static void on_info(struct bnd_sql_admin *admin, int status) {
    struct rest_request *request = admin->data;
    if (!cf_d1_failed_place(request, status, false)) {
        rest_reply(request,
                   json_pack("{s:o}", "bookmark", cf_d1_bookmark_json(&admin->info.bookmark)));
    }
}

static int act(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct time_op *op = request->data;
    bool by_time = op->place.by_time;
    if (op->restoring && !by_time) {
        return restore(use, &op->place.bookmark);
    }
    op->admin = (struct bnd_sql_admin){.cb = by_time ? on_time : on_info, .data = request};
    return by_time ? bnd_sql_at_time(use->sql, &op->admin, use->uuid, op->place.stamp_ms)
                   : bnd_sql_info(use->sql, &op->admin, use->uuid);
}

/* ---- what is asked for
 * ------------------------------------------------------------------------------------------------
 */

/* Text of a time, or seconds or milliseconds since 1970. */
static bool time_parse(struct bnd_slice text, uint64_t *out_ms) {
    uint64_t number = 0;
    if (gateway_date_iso_parse(text, out_ms)) {
        return true;
    }
    if (!s3_decimal(text, &number)) {
        return false;
    }
    *out_ms = text.len <= 10 ? number * 1000 : number;
    return true;
}

const char *cf_d1_place_read(const struct s3_query *query, uint64_t now_ms,
                             struct cf_d1_place *out) {
    struct bnd_slice stamp = s3_query_get(query, "timestamp");
    struct bnd_slice bookmark = s3_query_get(query, "bookmark");
    out->by_time = stamp.len > 0;
    out->by_bookmark = bookmark.len > 0;
    if (out->by_time && out->by_bookmark) {
        return "bookmark or timestamp, one of them";
    }
    if (out->by_time && !time_parse(stamp, &out->stamp_ms)) {
        return "timestamp must be a time as 2009-10-12T17:50:30Z or a number of seconds";
    }
    if (out->by_time && out->stamp_ms > now_ms) {
        return "timestamp must be a time in the past";
    }
    if (out->by_bookmark && bnd_sql_bookmark_parse(bookmark, &out->bookmark) != 0) {
        return "bookmark has another form";
    }
    return NULL;
}

/* NULL, or why not. */
static const char *read_query(struct time_op *op, struct bnd_slice raw, uint64_t now_ms) {
    const char *why = NULL;
    if (s3_query_parse(raw, op->space, &op->query, &why) != S3_OK) {
        return why;
    }
    why = cf_d1_place_read(&op->query, now_ms, &op->place);
    if (why == NULL && op->restoring && !op->place.by_time && !op->place.by_bookmark) {
        why = "bookmark or timestamp is missing";
    }
    return why;
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
