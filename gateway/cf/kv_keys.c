/* GET of a page of keys. An empty page comes only as the last one: pagers end there. */
#include "base/alloc.h"
#include "gateway/cf/kv.h"
#include "gateway/kv/cursor.h"
#include "gateway/kv/json_scan.h"
#include "gateway/s3/query.h"

#define LIMIT_MIN 10u
#define WHAT "list keys"

struct keys_op {
    struct cf_kv_op op; /* first */
    struct bnd_kv_list list;
    struct kv_cursor_scope scope;
    struct bnd_buf after;
    struct s3_query query;
    uint8_t space[];
};

static void clean_keys(struct rest_request *request) {
    struct keys_op *op = request->data;
    bnd_buf_free(&op->after);
}

static void put_entry(struct bnd_buf *out, const struct bnd_kv_list_entry *entry) {
    bnd_buf_append_str(out, "{\"name\":");
    kv_json_string(out, entry->key);
    if (entry->expires_ms > 0) {
        bnd_buf_printf(out, ",\"expiration\":%llu", (unsigned long long)(entry->expires_ms / 1000));
    }
    if (entry->metadata.len > 0) {
        bnd_buf_append_str(out, ",\"metadata\":");
        bnd_buf_append_slice(out, entry->metadata);
    }
    bnd_buf_u8(out, '}');
}

static void ask(struct rest_request *request);

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
        bnd_buf_reset(&op->after);
        bnd_buf_append_slice(&op->after, last);
        ask(request);
        return;
    }
    bnd_buf_append_str(&out, "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":[");
    for (size_t i = 0; i < count; i++) {
        bnd_buf_append_str(&out, i > 0 ? "," : "");
        put_entry(&out, &entries[i]);
    }
    bnd_buf_printf(&out, "],\"result_info\":{\"count\":%zu,\"cursor\":\"", count);
    if (!complete) {
        kv_cursor_encode(&out, &op->scope, last);
    }
    bnd_buf_append_str(&out, "\"}}");
    rest_reply_text(request, &out);
}

static void ask(struct rest_request *request) {
    struct keys_op *op = request->data;
    op->list.after = bnd_buf_slice(&op->after);
    int rv = op->after.failed ? BND_NOMEM : bnd_kv_list(request->services->kv, &op->list);
    if (rv != 0) {
        cf_kv_fail_code(request, WHAT, rv);
    }
}

static bool read_options(struct rest_request *request, struct kv_refusal *refusal) {
    struct keys_op *op = request->data;
    const char *why = NULL;
    if (s3_query_parse(request->http->head->query, op->space, &op->query, &why) != S3_OK) {
        return kv_refuse(refusal, 400, KV_BAD_REQUEST, "%s", why);
    }
    struct bnd_slice prefix = s3_query_get(&op->query, "prefix");
    op->scope = (struct kv_cursor_scope){op->op.namespace_id, prefix};
    op->list = (struct bnd_kv_list){
        .namespace_id = op->op.namespace_id, .prefix = prefix, .cb = on_page, .data = request};
    if (!kv_prefix_check(prefix, refusal) ||
        !kv_limit_check(s3_query_get(&op->query, "limit"), LIMIT_MIN, "limit", &op->list.limit,
                        refusal)) {
        return false;
    }
    return kv_cursor_decode(s3_query_get(&op->query, "cursor"), &op->scope, &op->after) ||
           kv_refuse(refusal, 400, KV_BAD_CURSOR, "invalid \"list keys\" cursor");
}

static void begin_keys(struct rest_request *request) {
    struct kv_refusal refusal;
    if (!read_options(request, &refusal)) {
        cf_kv_refuse(request, WHAT, &refusal);
        return;
    }
    ask(request);
}

void cf_kv_run_keys(struct rest_request *request) {
    const struct cf_kv_open open = {.bytes =
                                        sizeof(struct keys_op) + request->http->head->query.len + 1,
                                    .what = WHAT,
                                    .found = begin_keys,
                                    .clean = clean_keys};
    cf_kv_open(request, &open);
}
