/* What this node's replica of a database holds, as a hash of all its pages: an extension, for
 * `bindery doctor`, which compares replicas by it. */
#include "gateway/cf/d1.h"

struct pages_op {
    struct cf_d1_op op; /* first */
    struct bnd_sql_digest digest;
    uint64_t version; /* that is asked for; 0: the newest here */
};

static void answer(struct rest_request *request, const struct bnd_sql_digest *digest, int status) {
    char hash[17];
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)digest->hash);
    rest_reply(request, json_pack("{s:b, s:b, s:o, s:I, s:I, s:I, s:s?}", "replica", true, "behind",
                                  false, "bookmark", cf_d1_bookmark_json(&digest->at), "version",
                                  (json_int_t)digest->at.version, "pages",
                                  (json_int_t)digest->pages, "damaged_page",
                                  (json_int_t)digest->damaged, "hash", status == 0 ? hash : NULL));
}

/* The replica is not there yet, or was replaced meanwhile. */
static void answer_behind(struct rest_request *request) {
    rest_reply(request, json_pack("{s:b, s:b}", "replica", true, "behind", true));
}

static void on_digest(struct bnd_sql_digest *digest, int status) {
    struct rest_request *request = digest->data;
    if (status == BND_BUSY) {
        answer_behind(request);
    } else if (digest->damaged > 0 || !cf_d1_failed(request, status)) {
        answer(request, digest, status);
    }
}

/* Ten GB are read for a while: not for nobody, nor where it stops. */
static bool wanted(const struct bnd_sql_digest *digest) {
    const struct rest_request *request = digest->data;
    return !request->http->aborted;
}

static int act(struct d1_use *use) {
    struct rest_request *request = use->data;
    struct pages_op *op = request->data;
    op->digest = (struct bnd_sql_digest){.cb = on_digest, .wanted = wanted, .data = request};
    int rv = bnd_sql_digest(use->sql, &op->digest, use->uuid, op->version);
    if (rv == BND_UNSUPPORTED) { /* other nodes have it */
        rest_reply(request, json_pack("{s:b}", "replica", false));
    } else if (rv == BND_BUSY) {
        answer_behind(request);
    } else {
        return rv;
    }
    return 0;
}

void cf_d1_run_pages(struct rest_request *request) {
    struct bnd_slice text;
    uint64_t version = 0;
    if (bnd_http_query_find(request->http->head->query, "version", &text) &&
        !s3_decimal(text, &version)) {
        rest_fail(request, 400, D1_MALFORMED, "version must be a number");
        return;
    }
    if (cf_d1_begin(request, sizeof(struct pages_op), NULL)) {
        struct pages_op *op = request->data;
        op->version = version;
        op->op.use.act = act;
        d1_use_start(&op->op.use);
    }
}
