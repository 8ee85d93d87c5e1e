/* The view: what group 0 says of shards and namespaces, copied, and asked about. */
#include "kv/kv_private.h"

static int compare_namespaces(uint64_t id, const struct bnd_kv_namespace *of) {
    return id < of->id ? -1 : id > of->id;
}

enum kv_namespace_state kv_namespace(const struct bnd_kv *kv, uint64_t id,
                                     struct bnd_kv_namespace *out) {
    size_t low = 0;
    size_t high = kv->view.namespaces_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = compare_namespaces(id, &kv->view.namespaces[mid]);
        if (order == 0) {
            if (out != NULL) {
                *out = kv->view.namespaces[mid];
            }
            return KV_NAMESPACE_THERE;
        }
        low = order > 0 ? mid + 1 : low;
        high = order < 0 ? mid : high;
    }
    return id < kv->view.namespace_next ? KV_NAMESPACE_GONE : KV_NAMESPACE_UNKNOWN;
}

const struct bnd_kv_replica *kv_replica(const struct bnd_kv *kv, uint32_t shard, uint64_t node) {
    const struct bnd_kv_shard *map = &kv->view.shards[shard];
    for (size_t i = 0; i < map->replicas_count; i++) {
        if (map->replicas[i].node == node) {
            return &map->replicas[i];
        }
    }
    return NULL;
}

static uint8_t replica_bit(const struct bnd_kv *kv, uint32_t shard,
                           const struct bnd_kv_replica *replica) {
    return (uint8_t)(1u << (replica - kv->view.shards[shard].replicas));
}

bool kv_counts(const struct bnd_kv *kv, uint32_t shard, uint64_t node) {
    const struct bnd_kv_replica *replica = kv_replica(kv, shard, node);
    if (replica == NULL || replica->filled) {
        return replica != NULL;
    }
    unsigned counted = kv->view.here[shard].counted;
    if (kv->store != NULL) {
        struct kv_marks marks = kv_store_marks(kv->store, shard);
        bool of_epoch = marks.there && marks.epoch == kv->view.shards[shard].epoch;
        counted |= of_epoch ? marks.counted : 0;
    }
    return (counted & replica_bit(kv, shard, replica)) != 0;
}

uint8_t kv_counts_set(struct bnd_kv *kv, uint32_t shard, uint64_t node) {
    const struct bnd_kv_replica *replica = kv_replica(kv, shard, node);
    if (replica == NULL) {
        return 0;
    }
    uint8_t bit = replica_bit(kv, shard, replica);
    kv->view.here[shard].counted = (uint8_t)(kv->view.here[shard].counted | bit);
    return bit;
}

bool kv_serves(const struct bnd_kv *kv, uint32_t shard) {
    if (kv->store == NULL || shard >= kv->view.shards_count) {
        return false;
    }
    const struct bnd_kv_replica *own = kv_replica(kv, shard, kv->config.self);
    if (own == NULL || !own->filled) {
        return false;
    }
    struct kv_marks marks = kv_store_marks(kv->store, shard);
    return marks.there && marks.filled && marks.epoch <= kv->view.shards[shard].epoch;
}

bool kv_hands_over(const struct bnd_kv *kv, uint32_t shard) {
    return kv->store != NULL && kv->view.shards[shard].leaving == kv->config.self &&
           kv_store_marks(kv->store, shard).there;
}

/* ---- a new one
 * ------------------------------------------------------------------------------------- */

/* NULL: no memory, unless there is nothing to copy. */
static void *copy_of(const void *items, size_t bytes) {
    return bytes == 0 ? bnd_alloc(1) : bnd_memdup(items, bytes);
}

/* One that was listed is not any more, or of those made since not all are. Of what was deleted
 * before the first view nothing is known. */
static bool any_deleted(const struct kv_view *was, const struct bnd_kv_view *is) {
    size_t at = 0;
    size_t kept = 0;
    size_t made = 0;
    for (size_t i = 0; i < is->namespaces_count; i++) {
        uint64_t id = is->namespaces[i].id;
        while (at < was->namespaces_count && was->namespaces[at].id < id) {
            at++;
        }
        kept += at < was->namespaces_count && was->namespaces[at].id == id;
        made += id >= was->namespace_next;
    }
    return was->shards_count == 0 || kept < was->namespaces_count ||
           made < is->namespace_next - was->namespace_next;
}

/* What this node knows of each shard beside the map stays; who counts was said of an epoch. */
static void carry_over(struct bnd_kv *kv, const struct kv_view *was, const bool *served) {
    uint64_t now = bnd_now_ns(kv->config.env);
    for (uint32_t i = 0; i < kv->view.shards_count && i < was->shards_count; i++) {
        kv->view.here[i] = was->here[i];
        if (was->shards[i].epoch != kv->view.shards[i].epoch) {
            kv->view.here[i].counted = 0;
        }
        if (served[i] && !kv_serves(kv, i)) {
            kv->view.here[i].left_ns = now;
        }
    }
}

static void take(struct bnd_kv *kv, const struct kv_view *is, const bool *served) {
    struct kv_view was = kv->view;
    kv->view = *is;
    carry_over(kv, &was, served);
    bnd_free(was.shards);
    bnd_free(was.here);
    bnd_free(was.namespaces);
}

int kv_view_copy(struct bnd_kv *kv, const struct bnd_kv_view *view, bool *out_deleted) {
    BND_ASSERT(view->shards_count > 0 && view->shards_count <= BND_SHARDS_MAX);
    BND_ASSERT(kv->view.shards_count == 0 || kv->view.shards_count == view->shards_count);
    BND_AUTO bool *served = bnd_calloc(view->shards_count, sizeof *served);
    struct kv_view is = {.revision = view->revision,
                         .shards_count = view->shards_count,
                         .namespaces_count = view->namespaces_count,
                         .namespace_next = view->namespace_next};
    is.shards = copy_of(view->shards, view->shards_count * sizeof *view->shards);
    is.here = bnd_calloc(view->shards_count, sizeof *is.here);
    is.namespaces = copy_of(view->namespaces, view->namespaces_count * sizeof *view->namespaces);
    if (served == NULL || is.shards == NULL || is.here == NULL || is.namespaces == NULL) {
        bnd_free(is.shards);
        bnd_free(is.here);
        bnd_free(is.namespaces);
        return BND_NOMEM;
    }
    for (uint32_t i = 0; i < kv->view.shards_count; i++) {
        served[i] = kv_serves(kv, i);
    }
    *out_deleted = any_deleted(&kv->view, view);
    take(kv, &is, served);
    return 0;
}

void kv_view_free(struct bnd_kv *kv) {
    bnd_free(kv->view.shards);
    bnd_free(kv->view.here);
    bnd_free(kv->view.namespaces);
    kv->view = (struct kv_view){0};
}
