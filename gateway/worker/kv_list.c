/* GET /: a page of a namespace's keys. Metadata is told as the text of its JSON: the runtime parses
 * it. */
#include "gateway/worker/worker_private.h"

#include "base/alloc.h"
#include "gateway/kv/listing.h"

static const struct kv_listing_words words = {
    .limit = "key_count_limit", .limit_min = 1, .bad_cursor = "Invalid \"list keys\" cursor"};

struct listing {
    struct kv_listing page;
    uint8_t space[];
};

static void clean_listing(struct worker_op *op) {
    struct listing *listing = op->data;
    kv_listing_free(&listing->page);
    bnd_free(listing);
}

static void asked(struct worker_op *op, int rv) {
    if (rv != 0) {
        kv_op_fail_code(op, rv);
    }
}

static void on_page(struct bnd_kv_list *list, int status, const struct bnd_kv_list_entry *entries,
                    size_t count, bool complete, struct bnd_slice last) {
    struct worker_op *op = list->data;
    struct listing *listing = op->data;
    BND_AUTO_BUF struct bnd_buf out = {0};
    if (status != 0) {
        kv_op_fail_code(op, status);
        return;
    }
    if (count == 0 && !complete) {
        asked(op, kv_listing_ask_on(&listing->page, op->services->kv, last));
        return;
    }
    bnd_buf_append_str(&out, "{\"keys\":[");
    kv_listing_entries(&out, entries, count, true);
    bnd_buf_append_str(&out, complete ? "],\"list_complete\":true}" : "],\"list_complete\":false");
    if (!complete) {
        bnd_buf_append_str(&out, ",\"cursor\":\"");
        kv_cursor_encode(&out, &listing->page.scope, last);
        bnd_buf_append_str(&out, "\"}");
    }
    if (out.failed) {
        kv_op_fail_code(op, BND_NOMEM);
        return;
    }
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("application/json")},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = 1, .body = bnd_buf_slice(&out)};
    worker_respond(op, &response);
}

void kv_run_list(struct worker_op *op) {
    struct kv_refusal refusal;
    struct bnd_slice query = op->http->head->query;
    struct listing *listing = bnd_zalloc(sizeof *listing + query.len + 1);
    if (listing == NULL) {
        kv_op_fail_code(op, BND_NOMEM);
        return;
    }
    op->data = listing;
    op->clean = clean_listing;
    listing->page.list.cb = on_page;
    listing->page.list.data = op;
    if (!kv_listing_read(&listing->page, op->kv.namespace_id, query, listing->space, &words,
                         &refusal)) {
        kv_op_refuse(op, &refusal);
        return;
    }
    asked(op, kv_listing_ask(&listing->page, op->services->kv));
}
