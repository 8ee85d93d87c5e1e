/* Calls of other nodes. What this node does not serve is BND_EPOCH: the asker looks elsewhere, and
 * at its map. Nothing is forwarded any further. */
#include "kv/requests.h"

#include "kv/coordinate.h"
#include "kv/forward.h"

/* Records that one page of a list looks at. */
#define LIST_SCAN_MAX 20000u
#define HELD_MAX 64u

struct serving {
    struct bnd_rpc_request *request;
    uint8_t payload[]; /* what the write borrows from */
};

static void reply_status(struct bnd_rpc_request *request, int status) {
    bnd_rpc_reply(request, status, NULL, 0);
}

static void reply_bytes(struct bnd_rpc_request *request, const struct bnd_buf *head,
                        struct bnd_slice body) {
    struct bnd_slice parts[2] = {bnd_buf_slice(head), body};
    if (head->failed) {
        reply_status(request, BND_NOMEM);
        return;
    }
    bnd_rpc_reply(request, 0, parts, body.len > 0 ? 2 : 1);
}

/* ---- puts
 * ---------------------------------------------------------------------------------------- */

static void on_written(void *data, int status, const struct kv_put_answer *answer) {
    struct serving *serving = data;
    BND_AUTO_BUF struct bnd_buf out = {0};
    if (status == 0) {
        kv_put_answer_encode(&out, answer);
        reply_bytes(serving->request, &out, bnd_slice(NULL, 0));
    } else {
        /* Once stamped it must not be tried elsewhere: whoever asks does not know above what. */
        reply_status(serving->request, answer->version.hlc != 0 ? BND_UNKNOWN : status);
    }
    bnd_free(serving);
}

static void serve_put(struct bnd_kv *kv, struct bnd_rpc_request *request) {
    struct bnd_slice payload = request->payload;
    struct serving *serving = bnd_alloc(sizeof *serving + payload.len);
    struct kv_write_params params;
    int rv = BND_NOMEM;
    if (serving != NULL) {
        serving->request = request;
        memcpy(serving->payload, payload.data, payload.len);
        rv = kv_call_put_decode(bnd_slice(serving->payload, payload.len), &params);
    }
    if (rv == 0 && kv->view.shards_count == 0) {
        rv = BND_EPOCH;
    }
    rv = rv != 0 ? rv : kv_coordinate_write(kv, &params, on_written, serving);
    if (rv != 0) {
        bnd_free(serving);
        reply_status(request, rv);
    }
}

/* ---- reads
 * ---------------------------------------------------------------------------------------- */

/* Whether this node may answer for the key. any: also while it hands the shard over. */
static bool answers(const struct bnd_kv *kv, uint64_t namespace_id, struct bnd_slice key, bool any,
                    uint32_t *out_shard) {
    if (kv->view.shards_count == 0) {
        return false;
    }
    *out_shard = kv_shard_of(kv, namespace_id, key);
    return kv_serves(kv, *out_shard) || (any && kv_hands_over(kv, *out_shard));
}

static void serve_get(struct bnd_kv *kv, struct bnd_rpc_request *request) {
    struct kv_call_get get;
    uint32_t shard = 0;
    BND_AUTO_BUF struct bnd_buf record = {0};
    int rv = kv_call_get_decode(request->payload, &get);
    if (rv == 0 && !answers(kv, get.namespace_id, get.key, get.any, &shard)) {
        rv = BND_EPOCH;
    }
    rv = rv != 0 ? rv : kv_store_get_encoded(kv->store, shard, get.namespace_id, get.key, &record);
    if (rv == 0) {
        reply_bytes(request, &record, bnd_slice(NULL, 0));
    } else {
        reply_status(request, rv);
    }
}

static void serve_read(struct bnd_kv *kv, struct bnd_rpc_request *request) {
    struct kv_call_read read;
    uint32_t shard = 0;
    BND_AUTO_BUF struct bnd_buf piece = {0};
    int rv = kv_call_read_decode(request->payload, &read);
    if (rv == 0 && !answers(kv, read.namespace_id, read.key, false, &shard)) {
        rv = BND_EPOCH;
    }
    rv = rv != 0 ? rv : kv_read_here(kv, shard, &read, &piece);
    if (rv == 0) {
        reply_bytes(request, &piece, bnd_slice(NULL, 0));
    } else {
        reply_status(request, rv);
    }
}

static int shards_of(const struct bnd_kv *kv, const struct kv_call_list *list, uint32_t *out) {
    for (uint32_t i = 0; i < list->shards_count; i++) {
        out[i] = kv_call_list_shard(list, i);
        if (out[i] >= kv->view.shards_count || !kv_serves(kv, out[i])) {
            return BND_EPOCH;
        }
    }
    return 0;
}

int kv_list_here(struct bnd_kv *kv, const struct kv_list_query *query, struct kv_page *out) {
    struct kv_list_query bounded = *query;
    bounded.scan_max = LIST_SCAN_MAX;
    bounded.now_ms = kv_wall_ms(kv);
    if (!kv_log_commit_for_list(kv->log)) {
        return BND_BUSY; /* what was acknowledged must be in the list */
    }
    return kv_store_list(kv->store, &bounded, out);
}

/* A list that waits until a thread has ended its commit. */
struct held {
    struct bnd_link link;
    struct bnd_rpc_request *request;
    size_t len;
    uint8_t payload[]; /* the request's is lent only */
};

static int hold(struct bnd_kv *kv, struct bnd_rpc_request *request) {
    struct held *held =
        kv->held_count < HELD_MAX ? bnd_alloc(sizeof *held + request->payload.len) : NULL;
    if (held == NULL) {
        return BND_BUSY;
    }
    *held = (struct held){.request = request, .len = request->payload.len};
    memcpy(held->payload, request->payload.data, held->len);
    bnd_list_push(&kv->held, &held->link);
    kv->held_count++;
    return 0;
}

static void serve_list(struct bnd_kv *kv, struct bnd_rpc_request *request) {
    struct kv_call_list list = {0};
    struct kv_page page = {0};
    BND_AUTO uint32_t *shards = NULL;
    BND_AUTO_BUF struct bnd_buf head = {0};
    int rv = kv_call_list_decode(request->payload, &list);
    if (rv == 0) {
        shards = bnd_calloc((size_t)list.shards_count + 1, sizeof *shards);
        rv = shards == NULL ? BND_NOMEM : shards_of(kv, &list, shards);
    }
    const struct kv_list_query query = {.shards = shards,
                                        .shards_count = list.shards_count,
                                        .namespace_id = list.namespace_id,
                                        .prefix = list.prefix,
                                        .after = list.after,
                                        .limit = list.limit};
    rv = rv != 0 ? rv : kv_list_here(kv, &query, &page);
    if (rv == 0) {
        kv_page_head(&head, &page);
        reply_bytes(request, &head, bnd_buf_slice(&page.entries));
    } else if (rv != BND_BUSY || !kv_log_committing(kv->log) || hold(kv, request) != 0) {
        reply_status(request, rv);
    }
    kv_page_free(&page);
}

void kv_serve_held(struct bnd_kv *kv) {
    struct bnd_link held;
    struct bnd_link *link = NULL;
    bnd_list_take(&kv->held, &held);
    kv->held_count = 0;
    while ((link = bnd_list_pop(&held)) != NULL) {
        struct held *one = BND_CONTAINER(link, struct held, link);
        one->request->payload = bnd_slice(one->payload, one->len);
        kv_serve(kv, one->request);
        bnd_free(one);
    }
}

void kv_serve(struct bnd_kv *kv, struct bnd_rpc_request *request) {
    uint8_t op = request->payload.len == 0 ? 0 : request->payload.data[0];
    if (kv->store == NULL || kv->closing || !kv->started) {
        reply_status(request, BND_UNSUPPORTED);
        return;
    }
    if (op < KV_SPREAD_OPS_END) {
        kv_spread_call(kv->spread, request);
        return;
    }
    switch (op) {
    case KV_CALL_PUT:
        serve_put(kv, request);
        return;
    case KV_CALL_GET:
        serve_get(kv, request);
        return;
    case KV_CALL_READ:
        serve_read(kv, request);
        return;
    case KV_CALL_LIST:
        serve_list(kv, request);
        return;
    default:
        reply_status(request, BND_UNSUPPORTED);
    }
}
