/* Requests of a KV binding, from the one who asks to their operation. */
#include "gateway/worker/worker_private.h"

#include <string.h>

/* ---- ends
 * ------------------------------------------------------------------------------------------------
 */

void kv_op_refuse(struct worker_op *op, const struct kv_refusal *refusal) {
    worker_fail(op, refusal->status, refusal->text);
}

void kv_op_fail_code(struct worker_op *op, int status) {
    struct kv_refusal refusal;
    if (status == BND_NOTFOUND) {
        worker_fail(op, 400, worker_kv_kind.missing);
        return;
    }
    kv_refuse_code(&refusal, status, op->kv.reads);
    if (refusal.status == 500) {
        bnd_log(op->services->env, BND_LOG_ERROR, "kv", "%.*s of a binding: %s",
                (int)op->http->head->method_token.len,
                (const char *)op->http->head->method_token.data, refusal.text);
    }
    kv_op_refuse(op, &refusal);
}

/* ---- to the operation
 * -------------------------------------------------------------------------------------------- */

struct bnd_slice kv_parameter(const struct worker_op *op, const char *name) {
    struct bnd_slice value;
    return bnd_http_query_find(op->http->head->query, name, &value) ? value : bnd_slice(NULL, 0);
}

/* The key is the whole path behind its first slash, one segment. False: the op has ended. */
static bool read_key(struct worker_op *op) {
    struct bnd_slice raw = op->http->head->path;
    struct kv_refusal refusal;
    raw = bnd_slice(raw.data + 1, raw.len - 1);
    if (raw.len > 0 && memchr(raw.data, '/', raw.len) != NULL) {
        worker_fail(op, 404, "No such route: a key is one segment of the path");
        return false;
    }
    if (raw.len > sizeof op->kv.key) {
        worker_fail(op, 414, "UTF-8 encoded length exceeds key length limit of 512.");
        return false;
    }
    if (bnd_http_text_is(kv_parameter(op, "urlencoded"), "true")) {
        if (bnd_http_percent_decode(raw, 0, op->kv.key, &op->kv.key_len) != 0) {
            worker_fail(op, 400, "Could not URL-decode key name");
            return false;
        }
    } else {
        memcpy(op->kv.key, raw.data, raw.len);
        op->kv.key_len = raw.len;
    }
    if (!kv_key_check(kv_op_key(op), &refusal)) {
        kv_op_refuse(op, &refusal);
        return false;
    }
    return true;
}

struct step {
    enum worker_operation operation;
    uint32_t permission;
    bool key;
    void (*run)(struct worker_op *op);
};

static const struct step *step_of(const struct bnd_http_head *head) {
    static const struct step get = {WORKER_KV_GET, BND_PERM_KV_READ, true, kv_run_get};
    static const struct step put = {WORKER_KV_PUT, BND_PERM_KV_WRITE, true, kv_run_put};
    static const struct step delete = {WORKER_KV_DELETE, BND_PERM_KV_WRITE, true, kv_run_delete};
    static const struct step list = {WORKER_KV_LIST, BND_PERM_KV_READ, false, kv_run_list};
    static const struct step bulk = {WORKER_KV_BULK_GET, BND_PERM_KV_READ, false, kv_run_bulk_get};
    switch (head->method) {
    case BND_HTTP_GET:
        return head->path.len == 1 ? &list : &get;
    case BND_HTTP_PUT:
        return &put;
    case BND_HTTP_DELETE:
        return &delete;
    case BND_HTTP_POST:
        return bnd_slice_eq(head->path, bnd_slice_str("/bulk/get")) ? &bulk : NULL;
    default:
        return NULL;
    }
}

static void run(struct worker_op *op) {
    const struct bnd_http_head *head = op->http->head;
    const struct step *step = head->path.data[0] == '/' ? step_of(head) : NULL;
    const struct bnd_slice *consistency = bnd_http_header(op->http, "x-bindery-consistency");
    if (step == NULL) {
        worker_fail(op, 405, "A KV binding does not have this call");
        return;
    }
    op->http->operation = (uint8_t)step->operation;
    if ((op->permissions & step->permission) == 0) {
        worker_fail(op, 403, "The token may not do this with KV");
        return;
    }
    op->kv.namespace_id = op->id;
    op->kv.key_len = 0;
    op->kv.reads = step->permission == BND_PERM_KV_READ;
    op->kv.newest = consistency != NULL && bnd_http_text_is(*consistency, "newest");
    if (consistency != NULL && !op->kv.newest && !bnd_http_text_is(*consistency, "any")) {
        worker_fail(op, 400, "X-Bindery-Consistency must be newest or any");
        return;
    }
    if (!step->key || read_key(op)) {
        step->run(op);
    }
}

static bool find(const struct bnd_gateway_services *services, struct bnd_slice named,
                 uint64_t *out_id) {
    const struct bnd_kv_namespace_record *record =
        bnd_catalog_find_kv_namespace(services->catalog, named);
    if (record != NULL) {
        *out_id = record->id;
    }
    return record != NULL;
}

const struct worker_kind worker_kv_kind = {
    .prefix = "kv:",
    .find = find,
    .missing = "The KV namespace does not exist",
    .run = run,
    .fail = worker_fail,
};
