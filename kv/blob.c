/* Large values: each piece goes to every replica that is up and has all before it, this node among
 * them where it is one; it is told once enough of those that count have it and the others have
 * answered or had their time. Who misses one is out: a replica that lacks a piece refuses the
 * record. Pieces are not fenced by themselves: the record that names them is. */
#include "kv/blob.h"

#include "kv/coordinate.h"

#define BLOBS_MAX 4096u
/* A replica that has not answered by then is out. */
#define PIECE_NS (UINT64_C(3000) * BND_MS)
/* One that is up and has not answered is sent it again. */
#define RESEND_NS (UINT64_C(1000) * BND_MS)

static void add_target(struct bnd_kv_blob *blob, uint64_t node);

int bnd_kv_blob_begin(struct bnd_kv *kv, uint64_t namespace_id, struct bnd_slice key,
                      struct bnd_kv_blob **out) {
    if (key.len == 0 || key.len > BND_KV_KEY_MAX) {
        return BND_INVALID;
    }
    if (kv->closing || kv->view.shards_count == 0) {
        return BND_UNAVAILABLE;
    }
    if (kv->forward->blobs_count >= BLOBS_MAX) {
        return BND_FULL;
    }
    struct bnd_kv_blob *blob = bnd_zalloc(sizeof *blob);
    if (blob == NULL) {
        return BND_NOMEM;
    }
    blob->kv = kv;
    blob->namespace_id = namespace_id;
    blob->shard = kv_shard_of(kv, namespace_id, key);
    memcpy(blob->key, key.data, key.len);
    blob->key_len = (uint16_t)key.len;
    bnd_put_be64(blob->id, kv_wall_ms(kv));
    bnd_put_u64(blob->id + 8, bnd_random(kv->config.env));
    const struct bnd_kv_shard *map = &kv->view.shards[blob->shard];
    for (size_t i = 0; i < map->replicas_count; i++) {
        uint64_t node = map->replicas[i].node;
        if (node == kv->config.self) {
            blob->own = blob->own_has_all = kv->store != NULL;
        } else if (kv->config.mesh->ops->up(kv->config.mesh, node)) {
            add_target(blob, node);
        }
    }
    bnd_list_push(&kv->forward->blobs, &blob->link);
    kv->forward->blobs_count++;
    *out = blob;
    return 0;
}

/* ---- a piece
 * --------------------------------------------------------------------------------------- */

static unsigned counting(const struct bnd_kv_blob *blob) {
    const struct bnd_kv *kv = blob->kv;
    unsigned count = blob->own && blob->own_has_all && !blob->own_waiting &&
                     kv_counts(kv, blob->shard, kv->config.self);
    for (size_t i = 0; i < blob->targets_count; i++) {
        const struct kv_blob_target *target = &blob->targets[i];
        count += target->has_all && !target->waiting && kv_counts(kv, blob->shard, target->to.node);
    }
    return count;
}

static bool any_waiting(const struct bnd_kv_blob *blob) {
    bool waiting = blob->own_waiting;
    for (size_t i = 0; i < blob->targets_count; i++) {
        waiting = waiting || blob->targets[i].waiting;
    }
    return waiting;
}

static void piece_end(struct bnd_kv_blob *blob) {
    if (blob->entry != NULL) {
        blob->entry->data = NULL;
        kv_log_entry_unref(blob->entry);
        blob->entry = NULL;
    }
    for (size_t i = 0; i < blob->targets_count; i++) {
        struct kv_blob_target *target = &blob->targets[i];
        kv_push_forget(blob->kv, &target->to);
        target->has_all = target->has_all && !target->waiting;
        target->waiting = false;
    }
    blob->own_has_all = blob->own_has_all && !blob->own_waiting;
    blob->own_waiting = false;
}

static void tell(struct bnd_kv_blob *blob, int status) {
    void (*cb)(void *data, int status) = blob->cb;
    piece_end(blob);
    blob->cb = NULL;
    cb(blob->data, status);
}

static void judge(struct bnd_kv_blob *blob) {
    if (blob->cb == NULL || any_waiting(blob)) {
        return;
    }
    struct bnd_kv_namespace of = {0};
    bool local = kv_namespace(blob->kv, blob->namespace_id, &of) == KV_NAMESPACE_THERE && of.local;
    unsigned needed = local ? 1 : kv_needed(blob->kv, blob->shard);
    tell(blob, counting(blob) >= needed && needed > 0 ? 0 : BND_UNAVAILABLE);
}

static void on_answered(struct kv_push_to *to, const struct kv_ack *ack) {
    struct kv_blob_target *target = to->data;
    target->waiting = false;
    target->has_all = target->has_all && ack->status == KV_ACK_OK;
    judge(target->blob);
}

static void on_applied(struct kv_log_entry *entry, int status) {
    struct bnd_kv_blob *blob = entry->data;
    if (blob == NULL || status != 0) {
        return; /* over; or it closes, and everything is cancelled */
    }
    blob->own_waiting = false;
    blob->own_has_all = entry->result.outcome != KV_LACKS;
    judge(blob);
}

static void add_target(struct bnd_kv_blob *blob, uint64_t node) {
    struct kv_blob_target *target = &blob->targets[blob->targets_count++];
    target->blob = blob;
    target->has_all = true;
    target->to = (struct kv_push_to){.answered = on_answered, .data = target, .node = node};
}

/* One that is up but cannot take it now (the bulk lane is only being connected, or full) is sent it
 * again by the tick. */
static void send_to(struct kv_blob_target *target) {
    struct bnd_kv_blob *blob = target->blob;
    struct bnd_kv *kv = blob->kv;
    uint32_t epoch = kv->view.shards[blob->shard].epoch;
    kv_push_forget(kv, &target->to);
    int rv = kv_push_send(kv, &target->to, blob->entry, epoch);
    target->waiting = rv == 0 || kv->config.mesh->ops->up(kv->config.mesh, target->to.node);
    target->has_all = target->waiting;
    target->sent_ns = bnd_now_ns(kv->config.env);
}

static void send(struct bnd_kv_blob *blob) {
    struct bnd_kv *kv = blob->kv;
    if (blob->own && blob->own_has_all) {
        blob->own_waiting = kv_log_append(kv->log, blob->entry) == 0;
        blob->own_has_all = blob->own_waiting;
    }
    for (size_t i = 0; i < blob->targets_count; i++) {
        struct kv_blob_target *target = &blob->targets[i];
        if (target->has_all) {
            send_to(target);
        }
    }
}

int bnd_kv_blob_piece(struct bnd_kv_blob *blob, struct bnd_slice piece,
                      void (*cb)(void *data, int status), void *data) {
    BND_ASSERT(blob->cb == NULL);
    struct bnd_kv *kv = blob->kv;
    if (piece.len == 0 || piece.len > BND_KV_INLINE_MAX ||
        blob->size % BND_KV_INLINE_MAX != 0) { /* the last one was the last */
        return BND_INVALID;
    }
    if (blob->size + piece.len > BND_KV_VALUE_MAX) {
        return BND_TOOBIG;
    }
    if (!bnd_link_linked(&blob->link)) {
        return BND_UNAVAILABLE;
    }
    if (blob->own && !kv->config.has_room(kv->config.owner)) {
        return BND_NOSPACE;
    }
    const struct kv_piece made = {.shard = blob->shard,
                                  .namespace_id = blob->namespace_id,
                                  .key = bnd_slice(blob->key, blob->key_len),
                                  .blob = blob->id,
                                  .number = blob->pieces,
                                  .bytes = piece};
    blob->entry = kv_log_entry_piece(&made);
    if (blob->entry == NULL) {
        return BND_NOMEM;
    }
    blob->entry->applied = on_applied;
    blob->entry->data = blob;
    blob->cb = cb;
    blob->data = data;
    blob->sent_ns = bnd_now_ns(kv->config.env);
    blob->pieces++;
    blob->size += (uint32_t)piece.len;
    send(blob); /* where nobody took it, the tick tells */
    return 0;
}

void kv_blob_tick(struct bnd_kv_blob *blob, uint64_t now_ns) {
    if (blob->cb == NULL) {
        return;
    }
    for (size_t i = 0; i < blob->targets_count; i++) {
        struct kv_blob_target *target = &blob->targets[i];
        bool late = now_ns - target->sent_ns > RESEND_NS;
        if (target->waiting && (late || !kv_push_under_way(&target->to))) {
            send_to(target);
        }
    }
    if (now_ns - blob->sent_ns > PIECE_NS) {
        piece_end(blob);
    }
    judge(blob);
}

/* ---- its end
 * --------------------------------------------------------------------------------------- */

void kv_blob_cancel(struct bnd_kv_blob *blob) {
    bnd_link_remove(&blob->link);
    blob->kv->forward->blobs_count--;
    if (blob->cb != NULL) {
        tell(blob, BND_CANCELED);
    }
}

void bnd_kv_blob_free(struct bnd_kv_blob *blob) {
    if (blob == NULL) {
        return;
    }
    if (bnd_link_linked(&blob->link)) {
        piece_end(blob);
        bnd_link_remove(&blob->link);
        blob->kv->forward->blobs_count--;
    }
    bnd_free(blob);
}

bool kv_blob_on(const struct bnd_kv_blob *blob, uint64_t node) {
    bool on = blob->own && blob->own_has_all && node == blob->kv->config.self;
    for (size_t i = 0; i < blob->targets_count; i++) {
        on = on || (blob->targets[i].has_all && blob->targets[i].to.node == node);
    }
    return on;
}

void kv_blob_params(const struct bnd_kv_blob *blob, struct kv_write_params *params) {
    params->flags = KV_RECORD_BLOB;
    params->size = blob->size;
    params->value = bnd_slice(NULL, 0);
    memcpy(params->blob, blob->id, sizeof params->blob);
}
