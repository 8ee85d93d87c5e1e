/* GET of a page of keys. An empty page comes only as the last one: pagers end there. */
#include "base/alloc.h"
#include "gateway/cf/kv.h"
#include "gateway/kv/listing.h"

#define WHAT "list keys"

static const struct kv_listing_words words = {
    .limit = "limit", .limit_min = 10, .bad_cursor = "invalid \"list keys\" cursor"};

struct keys_op {
    struct cf_kv_op op; /* first */
    struct kv_listing page;
    uint8_t space[];
};

static void clean_keys(struct rest_request *request) {
    struct keys_op *op = request->data;
    kv_listing_free(&op->page);
}

static void asked(struct rest_request *request, int rv) {
    if (rv != 0) {
        cf_kv_fail_code(request, WHAT, rv);
    }
}

static void on_page(struct bnd_kv_list *list, int status, const struct bnd_kv_list_entry *entries,
                    size_t count, bool complete, struct bnd_slice last) {
    struct rest_request *request = list->data;
    struct keys_op *op = request->data;
    BND_AUTO_BUF struct bnd_buf out = {0};
    if (status != 0) {
        cf_kv_fail_code(request, WHAT, status);
        return;
    }
    if (count == 0 && !complete) {
        asked(request, kv_listing_ask_on(&op->page, request->services->kv, last));
        return;
    }
    bnd_buf_append_str(&out, "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":[");
    kv_listing_entries(&out, entries, count, false);
    bnd_buf_printf(&out, "],\"result_info\":{\"count\":%zu,\"cursor\":\"", count);
    if (!complete) {
        kv_cursor_encode(&out, &op->page.scope, last);
    }
    bnd_buf_append_str(&out, "\"}}");
    rest_reply_text(request, &out);
}

static void begin_keys(struct rest_request *request) {
    struct keys_op *op = request->data;
    struct kv_refusal refusal;
    op->page.list.cb = on_page;
    op->page.list.data = request;
    if (!kv_listing_read(&op->page, op->op.namespace_id, request->http->head->query, op->space,
                         &words, &refusal)) {
        cf_kv_refuse(request, WHAT, &refusal);
        return;
    }
    asked(request, kv_listing_ask(&op->page, request->services->kv));
}

void cf_kv_run_keys(struct rest_request *request) {
    const struct cf_kv_open open = {.bytes =
                                        sizeof(struct keys_op) + request->http->head->query.len + 1,
                                    .what = WHAT,
                                    .found = begin_keys,
                                    .clean = clean_keys};
    cf_kv_open(request, &open);
}
