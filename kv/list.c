/* Lists over all shards: those served here from the state, the others by one call per node; the
 * pages are merged, and end where the first of them was cut.
 *
 * A node that does not answer, or does not serve all that it was asked for, is left out and its
 * shards are asked of others, in rounds; every shard answers exactly once, or the list fails. While
 * this node's state asks to wait its own shards are tried again with each tick. */
#include "kv/forward.h"

#include "kv/requests.h"

#define CALL_NS (UINT64_C(5000) * BND_MS)
#define ROUNDS_MAX 4u
#define HELD_NS_MAX (UINT64_C(3000) * BND_MS)
#define NODES_MAX 64u /* asked in one list */

struct list_call {
    struct bnd_rpc_call call;
    struct list_op *op;
    uint64_t node;
    uint32_t *shards;
    size_t shards_count;
    bool calling;
    struct list_call *next;
};

struct page_at {
    struct page_at *next;
    struct kv_page_view view;
    struct bnd_reader r;
    struct bnd_kv_list_entry entry; /* the next one */
    bool has_entry;
    uint8_t bytes[];
};

struct list_op {
    struct kv_op op; /* first */
    struct bnd_kv_list *list;
    struct list_call *calls;
    struct page_at *pages;
    bool *answered; /* by shard */
    uint32_t shards_count;
    uint64_t bad[NODES_MAX]; /* nodes left out */
    size_t bad_count;
    unsigned rounds;
    size_t calling;
    struct bnd_task task;
    bool waiting, over;
    bool held; /* the state asked to wait: until the tick */
    uint64_t began_ns;
};

/* ---- its end
 * --------------------------------------------------------------------------------------- */

static void op_free(struct list_op *op) {
    while (op->calls != NULL) {
        struct list_call *call = op->calls;
        op->calls = call->next;
        if (call->calling) {
            bnd_rpc_cancel(&call->call);
        }
        bnd_free(call->shards);
        bnd_free(call);
    }
    while (op->pages != NULL) {
        struct page_at *page = op->pages;
        op->pages = page->next;
        bnd_free(page);
    }
    bnd_free(op->answered);
    kv_op_free(&op->op);
}

static void fail(struct list_op *op, int status) {
    struct bnd_kv_list *list = op->list;
    if (op->waiting) {
        op->over = true;
    } else {
        op_free(op);
    }
    list->cb(list, status, NULL, 0, false, bnd_slice(NULL, 0));
}

static void on_fail(struct kv_op *op, int status) {
    if (!((struct list_op *)op)->over) {
        fail((struct list_op *)op, status);
    }
}

/* ---- merging
 * --------------------------------------------------------------------------------------- */

static void page_next(struct page_at *page) {
    page->has_entry = page->r.rest.len > 0;
    if (page->has_entry) {
        page->entry = kv_page_entry_read(&page->r); /* checked by kv_page_decode */
    }
}

static int page_add(struct list_op *op, struct bnd_slice head, struct bnd_slice entries) {
    struct page_at *page = bnd_alloc(sizeof *page + head.len + entries.len);
    if (page == NULL) {
        return BND_NOMEM;
    }
    memcpy(page->bytes, head.data, head.len);
    if (entries.len > 0) {
        memcpy(page->bytes + head.len, entries.data, entries.len);
    }
    int rv = kv_page_decode(bnd_slice(page->bytes, head.len + entries.len), &page->view);
    if (rv != 0) {
        bnd_free(page);
        return rv;
    }
    page->r = bnd_reader(page->view.entries);
    page_next(page);
    page->next = op->pages;
    op->pages = page;
    return 0;
}

/* The smallest last key of the pages that were cut: nothing is known beyond it. */
static bool find_cut(const struct list_op *op, struct bnd_slice *out) {
    bool cut = false;
    for (const struct page_at *page = op->pages; page != NULL; page = page->next) {
        if (!page->view.complete && (!cut || bnd_slice_cmp(page->view.last, *out) < 0)) {
            *out = page->view.last;
            cut = true;
        }
    }
    return cut;
}

static struct page_at *least_page(const struct list_op *op) {
    struct page_at *least = NULL;
    for (struct page_at *page = op->pages; page != NULL; page = page->next) {
        if (page->has_entry &&
            (least == NULL || bnd_slice_cmp(page->entry.key, least->entry.key) < 0)) {
            least = page;
        }
    }
    return least;
}

static void succeed(struct list_op *op) {
    struct bnd_kv_list *list = op->list;
    BND_AUTO struct bnd_kv_list_entry *entries = bnd_calloc(list->limit, sizeof *entries);
    struct bnd_slice cut = {0};
    if (entries == NULL) {
        fail(op, BND_NOMEM);
        return;
    }
    bool is_cut = find_cut(op, &cut);
    size_t count = 0;
    struct page_at *page = NULL;
    while ((page = least_page(op)) != NULL && count < list->limit &&
           (!is_cut || bnd_slice_cmp(page->entry.key, cut) <= 0)) {
        entries[count++] = page->entry;
        page_next(page);
    }
    bool full = page != NULL && count == list->limit;
    struct bnd_slice last = full ? entries[count - 1].key : cut;
    bool complete = !full && !is_cut;
    if (complete && count > 0) {
        last = entries[count - 1].key;
    }
    /* The entries borrow from the pages: told before the op is freed, and not again. */
    op->over = true;
    list->cb(list, 0, entries, count, complete, last);
    op_free(op);
}

/* ---- asking
 * ---------------------------------------------------------------------------------------- */

static bool is_bad(const struct list_op *op, uint64_t node) {
    bool bad = false;
    for (size_t i = 0; i < op->bad_count; i++) {
        bad = bad || op->bad[i] == node;
    }
    return bad;
}

static void add_bad(struct list_op *op, uint64_t node) {
    if (!is_bad(op, node) && op->bad_count < NODES_MAX) {
        op->bad[op->bad_count++] = node;
    }
}

/* A node that serves the shard, preferably one that is asked already. 0: none. */
static uint64_t node_for(const struct list_op *op, uint32_t shard) {
    const struct bnd_kv *kv = op->op.kv;
    struct kv_tried tried = {0};
    uint64_t first = 0;
    uint64_t node = 0;
    while ((node = kv_candidate(kv, shard, &tried, false)) != 0) {
        if (is_bad(op, node)) {
            continue;
        }
        first = first == 0 ? node : first;
        for (const struct list_call *call = op->calls; call != NULL; call = call->next) {
            if (call->node == node && !call->calling && call->shards_count > 0) {
                return node;
            }
        }
    }
    return first;
}

static struct list_call *call_for(struct list_op *op, uint64_t node) {
    for (struct list_call *call = op->calls; call != NULL; call = call->next) {
        if (call->node == node && !call->calling) {
            return call;
        }
    }
    struct list_call *call = bnd_zalloc(sizeof *call);
    if (call != NULL) {
        call->op = op;
        call->node = node;
        call->shards = bnd_calloc(op->shards_count, sizeof *call->shards);
        call->next = op->calls;
        op->calls = call;
    }
    return call == NULL || call->shards == NULL ? NULL : call;
}

static void query_of(const struct list_op *op, const uint32_t *shards, size_t count,
                     struct kv_list_query *out) {
    *out = (struct kv_list_query){.shards = shards,
                                  .shards_count = count,
                                  .namespace_id = op->list->namespace_id,
                                  .prefix = op->list->prefix,
                                  .after = op->list->after,
                                  .limit = op->list->limit};
}

/* All that this node serves. */
static int list_own(struct list_op *op) {
    struct bnd_kv *kv = op->op.kv;
    BND_AUTO uint32_t *shards = bnd_calloc(op->shards_count, sizeof *shards);
    BND_AUTO_BUF struct bnd_buf head = {0};
    struct kv_page page = {0};
    struct kv_list_query query;
    size_t count = 0;
    if (shards == NULL) {
        return BND_NOMEM;
    }
    for (uint32_t i = 0; i < op->shards_count; i++) {
        if (!op->answered[i] && kv_serves(kv, i)) {
            shards[count++] = i;
        }
    }
    if (count == 0) {
        return 0;
    }
    query_of(op, shards, count, &query);
    int rv = kv_list_here(kv, &query, &page);
    if (rv == 0) {
        kv_page_head(&head, &page);
        rv = head.failed ? BND_NOMEM
                         : page_add(op, bnd_buf_slice(&head), bnd_buf_slice(&page.entries));
    }
    for (size_t i = 0; rv == 0 && i < count; i++) {
        op->answered[shards[i]] = true;
    }
    kv_page_free(&page);
    return rv;
}

static void next_round(struct list_op *op);

static void on_reply(struct bnd_rpc_call *of, int status, struct bnd_slice reply) {
    struct list_call *call = of->data;
    struct list_op *op = call->op;
    call->calling = false;
    op->calling--;
    status = status == 0 ? page_add(op, reply, bnd_slice(NULL, 0)) : status;
    if (status == 0) {
        for (size_t i = 0; i < call->shards_count; i++) {
            op->answered[call->shards[i]] = true;
        }
    } else {
        add_bad(op, call->node);
    }
    call->shards_count = 0;
    if (op->calling == 0) {
        next_round(op);
    }
}

static void send_call(struct list_call *call) {
    struct list_op *op = call->op;
    struct bnd_kv *kv = op->op.kv;
    BND_AUTO_BUF struct bnd_buf shards = {0};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    for (size_t i = 0; i < call->shards_count; i++) {
        bnd_buf_u32(&shards, call->shards[i]);
    }
    const struct kv_call_list list = {.namespace_id = op->list->namespace_id,
                                      .prefix = op->list->prefix,
                                      .after = op->list->after,
                                      .limit = op->list->limit,
                                      .shards = bnd_buf_slice(&shards),
                                      .shards_count = (uint32_t)call->shards_count};
    kv_call_list_encode(&bytes, &list);
    struct bnd_slice part = bnd_buf_slice(&bytes);
    call->call = (struct bnd_rpc_call){.cb = on_reply, .data = call};
    int rv = bytes.failed || shards.failed
                 ? BND_NOMEM
                 : bnd_rpc_call(kv->config.rpc, &call->call, call->node, BND_MESH_CONTROL,
                                BND_RPC_KV, &part, 1, CALL_NS);
    if (rv != 0) {
        add_bad(op, call->node);
        call->shards_count = 0;
        return;
    }
    call->calling = true;
    op->calling++;
}

/* Gives each shard without an answer to a node. BND_UNAVAILABLE: there is none for one of them. */
static int share_out(struct list_op *op, bool *out_all) {
    *out_all = true;
    for (uint32_t i = 0; i < op->shards_count; i++) {
        if (op->answered[i]) {
            continue;
        }
        uint64_t node = node_for(op, i);
        struct list_call *call = node == 0 ? NULL : call_for(op, node);
        if (call == NULL) {
            return node == 0 ? BND_UNAVAILABLE : BND_NOMEM;
        }
        call->shards[call->shards_count++] = i;
        *out_all = false;
    }
    return 0;
}

static void next_round(struct list_op *op) {
    bool all = false;
    while (op->calling == 0) {
        int rv = op->rounds >= ROUNDS_MAX ? BND_UNAVAILABLE : list_own(op);
        op->held = rv == BND_BUSY && bnd_now_ns(op->op.kv->config.env) - op->began_ns < HELD_NS_MAX;
        if (op->held) {
            return;
        }
        op->rounds++;
        rv = rv != 0 ? rv : share_out(op, &all);
        if (rv != 0 || all) {
            if (rv != 0) {
                fail(op, rv);
            } else {
                succeed(op);
            }
            return;
        }
        for (struct list_call *call = op->calls; call != NULL; call = call->next) {
            if (!call->calling && call->shards_count > 0) {
                send_call(call);
            }
        }
    }
}

static void on_task(struct bnd_task *task) {
    struct list_op *op = task->data;
    op->waiting = false;
    if (op->over) {
        op_free(op);
    } else {
        next_round(op);
    }
}

/* Its calls have deadlines, its rounds a bound. */
static void on_tick(struct kv_op *op, uint64_t now_ns) {
    if (((struct list_op *)op)->held) {
        next_round((struct list_op *)op);
    }
}

int bnd_kv_list(struct bnd_kv *kv, struct bnd_kv_list *list) {
    if (list->limit == 0 || list->limit > BND_KV_LIST_MAX || list->prefix.len > BND_KV_KEY_MAX ||
        list->after.len > BND_KV_KEY_MAX || list->namespace_id == 0) {
        return BND_INVALID;
    }
    if (kv->closing || kv->view.shards_count == 0) {
        return BND_UNAVAILABLE;
    }
    if (kv_namespace(kv, list->namespace_id, NULL) != KV_NAMESPACE_THERE) {
        return BND_NOTFOUND;
    }
    struct list_op *op = kv_op_new(kv, sizeof *op, on_tick, on_fail);
    if (op == NULL) {
        return BND_FULL;
    }
    op->list = list;
    op->began_ns = bnd_now_ns(kv->config.env);
    op->shards_count = kv->view.shards_count;
    op->answered = bnd_calloc(op->shards_count, sizeof *op->answered);
    if (op->answered == NULL) {
        op_free(op);
        return BND_NOMEM;
    }
    op->task = (struct bnd_task){.cb = on_task, .data = op};
    op->waiting = true;
    bnd_defer(kv->config.env, &op->task);
    return 0;
}
