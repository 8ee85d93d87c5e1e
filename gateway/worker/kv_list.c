/* GET /: a page of a namespace's keys. */
#include "gateway/worker/worker_private.h"

#include "base/alloc.h"
#include "gateway/kv/cursor.h"
#include "gateway/kv/json_scan.h"
#include "gateway/s3/query.h"

struct listing {
    struct bnd_kv_list list;
    struct kv_cursor_scope scope;
    struct bnd_buf after;
    struct s3_query query;
    uint8_t space[];
};

static void clean_listing(struct kv_op *op) {
    struct listing *listing = op->data;
    bnd_buf_free(&listing->after);
    bnd_free(listing);
}

/* Metadata is told as the text of its JSON: the runtime parses it. */
static void put_entry(struct bnd_buf *out, const struct bnd_kv_list_entry *entry) {
    bnd_buf_append_str(out, "{\"name\":");
    kv_json_string(out, entry->key);
    if (entry->expires_ms > 0) {
        bnd_buf_printf(out, ",\"expiration\":%llu", (unsigned long long)(entry->expires_ms / 1000));
    }
    if (entry->metadata.len > 0) {
        bnd_buf_append_str(out, ",\"metadata\":");
        kv_json_string(out, entry->metadata);
    }
    bnd_buf_u8(out, '}');
}

static void ask(struct kv_op *op);

static void on_page(struct bnd_kv_list *list, int status, const struct bnd_kv_list_entry *entries,
                    size_t count, bool complete, struct bnd_slice last) {
    struct kv_op *op = list->data;
    struct listing *listing = op->data;
    BND_AUTO_BUF struct bnd_buf out = {0};
    if (status != 0) {
        kv_op_fail_code(op, status);
        return;
    }
    if (count == 0 && !complete) { /* an empty page would end the pagers of some clients */
        bnd_buf_reset(&listing->after);
        bnd_buf_append_slice(&listing->after, last);
        ask(op);
        return;
    }
    bnd_buf_append_str(&out, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) {
        bnd_buf_append_str(&out, i > 0 ? "," : "");
        put_entry(&out, &entries[i]);
    }
    bnd_buf_append_str(&out, complete ? "],\"list_complete\":true}" : "],\"list_complete\":false");
    if (!complete) {
        bnd_buf_append_str(&out, ",\"cursor\":\"");
        kv_cursor_encode(&out, &listing->scope, last);
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
    kv_op_respond(op, &response);
}

static void ask(struct kv_op *op) {
    struct listing *listing = op->data;
    listing->list.after = bnd_buf_slice(&listing->after);
    int rv = listing->after.failed ? BND_NOMEM : bnd_kv_list(op->services->kv, &listing->list);
    if (rv != 0) {
        kv_op_fail_code(op, rv);
    }
}

static bool read_options(struct kv_op *op, struct kv_refusal *refusal) {
    struct listing *listing = op->data;
    const char *why = NULL;
    if (s3_query_parse(op->http->head->query, listing->space, &listing->query, &why) != S3_OK) {
        return kv_refuse(refusal, 400, KV_BAD_REQUEST, "%s", why);
    }
    struct bnd_slice prefix = s3_query_get(&listing->query, "prefix");
    listing->scope = (struct kv_cursor_scope){op->namespace_id, prefix};
    listing->list = (struct bnd_kv_list){
        .namespace_id = op->namespace_id, .prefix = prefix, .cb = on_page, .data = op};
    if (!kv_prefix_check(prefix, refusal) ||
        !kv_limit_check(s3_query_get(&listing->query, "key_count_limit"), 1, "key_count_limit",
                        &listing->list.limit, refusal)) {
        return false;
    }
    return kv_cursor_decode(s3_query_get(&listing->query, "cursor"), &listing->scope,
                            &listing->after) ||
           kv_refuse(refusal, 400, KV_BAD_CURSOR, "Invalid \"list keys\" cursor");
}

void kv_run_list(struct kv_op *op) {
    struct kv_refusal refusal;
    struct listing *listing = bnd_zalloc(sizeof *listing + op->http->head->query.len + 1);
    if (listing == NULL) {
        kv_op_fail_code(op, BND_NOMEM);
        return;
    }
    op->data = listing;
    op->clean = clean_listing;
    if (!read_options(op, &refusal)) {
        kv_op_refuse(op, &refusal);
        return;
    }
    ask(op);
}
