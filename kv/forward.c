#include "kv/forward.h"

#include "kv/blob.h"

#define OPS_MAX 65536u

int kv_forward_create(struct bnd_kv *kv, struct kv_forward **out) {
    struct kv_forward *forward = bnd_zalloc(sizeof *forward);
    if (forward == NULL) {
        return BND_NOMEM;
    }
    bnd_list_init(&forward->ops);
    bnd_list_init(&forward->blobs);
    kv_cache_init(&forward->remote, kv->config.cache_bytes / 4);
    forward->own = kv_own_create();
    if (forward->own == NULL) {
        bnd_free(forward);
        return BND_NOMEM;
    }
    *out = forward;
    return 0;
}

void kv_forward_destroy(struct kv_forward *forward) {
    if (forward == NULL) {
        return;
    }
    BND_ASSERT(forward->count == 0);
    kv_cache_close(&forward->remote);
    kv_own_destroy(forward->own);
    bnd_free(forward);
}

void *kv_op_new(struct bnd_kv *kv, size_t bytes, void (*tick)(struct kv_op *op, uint64_t now_ns),
                void (*fail)(struct kv_op *op, int status)) {
    struct kv_op *op = kv->forward->count < OPS_MAX ? bnd_zalloc(bytes) : NULL;
    if (op != NULL) {
        op->kv = kv;
        op->tick = tick;
        op->fail = fail;
        bnd_list_push(&kv->forward->ops, &op->link);
        kv->forward->count++;
    }
    return op;
}

void kv_op_free(struct kv_op *op) {
    bnd_link_remove(&op->link);
    op->kv->forward->count--;
    bnd_free(op);
}

void kv_forward_tick(struct bnd_kv *kv) {
    uint64_t now = bnd_now_ns(kv->config.env);
    struct bnd_link taken;
    struct bnd_link *link = NULL;
    bnd_list_take(&kv->forward->ops, &taken);
    while ((link = bnd_list_pop(&taken)) != NULL) {
        struct kv_op *op = BND_CONTAINER(link, struct kv_op, link);
        bnd_list_push(&kv->forward->ops, link);
        op->tick(op, now);
    }
    bnd_list_take(&kv->forward->blobs, &taken);
    while ((link = bnd_list_pop(&taken)) != NULL) {
        bnd_list_push(&kv->forward->blobs, link);
        kv_blob_tick(BND_CONTAINER(link, struct bnd_kv_blob, link), now);
    }
}

void kv_forward_close(struct bnd_kv *kv) {
    struct bnd_link taken;
    struct bnd_link *link = NULL;
    bnd_list_take(&kv->forward->ops, &taken);
    while ((link = bnd_list_pop(&taken)) != NULL) {
        struct kv_op *op = BND_CONTAINER(link, struct kv_op, link);
        bnd_list_push(&kv->forward->ops, link);
        op->fail(op, BND_CANCELED);
    }
    while (!bnd_list_empty(&kv->forward->blobs)) {
        kv_blob_cancel(BND_CONTAINER(kv->forward->blobs.next, struct bnd_kv_blob, link));
    }
}

/* ---- whom to ask
 * ---------------------------------------------------------------------------------- */

static bool was_tried(const struct kv_tried *tried, uint64_t node) {
    bool found = false;
    for (size_t i = 0; i < tried->count; i++) {
        found = found || tried->nodes[i] == node;
    }
    return found;
}

uint64_t kv_candidate(const struct bnd_kv *kv, uint32_t shard, struct kv_tried *tried, bool any) {
    const struct bnd_kv_shard *map = &kv->view.shards[shard];
    struct bnd_mesh *mesh = kv->config.mesh;
    uint64_t best = 0;
    uint64_t silence = UINT64_MAX;
    for (size_t i = 0; i < map->replicas_count; i++) {
        uint64_t node = map->replicas[i].node;
        if (node == kv->config.self || was_tried(tried, node) || !mesh->ops->up(mesh, node) ||
            (!any && !kv_counts(kv, shard, node))) {
            continue;
        }
        uint64_t heard = mesh->ops->silence_ns(mesh, node);
        if (best == 0 || heard < silence) {
            best = node;
            silence = heard;
        }
    }
    if (best != 0) {
        BND_ASSERT(tried->count < sizeof tried->nodes / sizeof tried->nodes[0]);
        tried->nodes[tried->count++] = best;
    }
    return best;
}

bool kv_elsewhere(int status) {
    switch (status) {
    case BND_EPOCH:
    case BND_BUSY:
    case BND_CLOSED:
    case BND_FULL:
    case BND_UNSUPPORTED:
    case BND_CANCELED:
    case BND_UNAVAILABLE:
    case BND_NOSPACE:
    case BND_NOMEM:
    case BND_TIMEOUT:
    case BND_IO:
    case BND_CORRUPT:
        return true;
    default:
        return false;
    }
}

int kv_status_for_user(int status) {
    switch (status) {
    case BND_EPOCH:
    case BND_BUSY:
    case BND_CLOSED:
    case BND_CANCELED:
    case BND_UNSUPPORTED:
        return BND_UNAVAILABLE;
    case BND_TIMEOUT:
        return BND_UNKNOWN;
    default:
        return status;
    }
}
