/* Both ends of a push. The sender keeps what is under way by its number; the receiver answers when
 * the entry is durable and applied.
 *
 * Numbers begin at random: an answer to a node's former life must meet nothing of its present one.
 */
#include "kv/push.h"

/* Above this a body goes to the mesh by itself, not through the pass's buffer. */
#define COPY_BYTES_MAX 4096u
/* A pass's message is sent when it has grown to this. */
#define MESSAGE_BYTES (256u << 10)
/* Answers that a peer does not take are dropped beyond this: it asks again. */
#define ACKS_BYTES_MAX (1u << 20)
#define CHAINS 4096u

struct peer {
    uint64_t node;
    struct bnd_buf pushes, acks;
};

struct kv_push {
    struct kv_push_to *chains[CHAINS];
    uint64_t seq;
    size_t under_way;
    struct peer *peers; /* sorted by node */
    size_t peers_count, peers_cap;
};

int kv_push_create(struct bnd_kv *kv, struct kv_push **out) {
    struct kv_push *push = bnd_zalloc(sizeof *push);
    if (push == NULL) {
        return BND_NOMEM;
    }
    push->seq = bnd_random(kv->config.env);
    *out = push;
    return 0;
}

void kv_push_destroy(struct kv_push *push) {
    if (push == NULL) {
        return;
    }
    BND_ASSERT(push->under_way == 0);
    for (size_t i = 0; i < push->peers_count; i++) {
        bnd_buf_free(&push->peers[i].pushes);
        bnd_buf_free(&push->peers[i].acks);
    }
    bnd_free(push->peers);
    bnd_free(push);
}

/* Made when first needed. NULL: no memory, or too many. */
static struct peer *peer_of(struct kv_push *push, uint64_t node) {
    size_t low = 0;
    size_t high = push->peers_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (push->peers[mid].node < node) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low < push->peers_count && push->peers[low].node == node) {
        return &push->peers[low];
    }
    if (push->peers_count >= KV_NODES_MAX ||
        !BND_ROOM(push->peers, push->peers_count, push->peers_cap, 8)) {
        return NULL;
    }
    memmove(&push->peers[low + 1], &push->peers[low],
            (push->peers_count - low) * sizeof *push->peers);
    push->peers[low] = (struct peer){.node = node};
    push->peers_count++;
    return &push->peers[low];
}

/* ---- the sender's side
 * ---------------------------------------------------------------------------- */

/* The mesh's status: a message that it does not take is as one that is lost, whoever waits sends
 * again. */
static int flush_pushes(struct bnd_kv *kv, struct peer *peer, struct bnd_slice body) {
    struct bnd_mesh *mesh = kv->config.mesh;
    struct bnd_slice parts[2] = {bnd_buf_slice(&peer->pushes), body};
    int rv = 0;
    if (peer->pushes.len > 0 && !peer->pushes.failed) {
        enum bnd_mesh_lane lane = body.len > COPY_BYTES_MAX * 16 ? BND_MESH_BULK : BND_MESH_CONTROL;
        rv = mesh->ops->send(mesh, peer->node, lane, BND_MESH_KV, parts, body.len > 0 ? 2 : 1);
        kv->stats.pushes_sent++;
    }
    bnd_buf_reset(&peer->pushes);
    return rv;
}

static void message_begin(struct bnd_kv *kv, struct bnd_buf *buf, enum kv_message kind) {
    if (buf->len == 0) {
        bnd_buf_u8(buf, (uint8_t)kind);
    }
    kv_wake(kv);
}

static struct kv_push_to **place_of(struct kv_push *push, uint64_t seq) {
    struct kv_push_to **place = &push->chains[seq & (CHAINS - 1)];
    while (*place != NULL && (*place)->seq != seq) {
        place = &(*place)->next;
    }
    return place;
}

int kv_push_send(struct bnd_kv *kv, struct kv_push_to *to, const struct kv_log_entry *entry,
                 uint32_t epoch) {
    struct kv_push *push = kv->push;
    struct bnd_mesh *mesh = kv->config.mesh;
    BND_ASSERT(to->seq == 0);
    if (!mesh->ops->up(mesh, to->node)) {
        return BND_CLOSED;
    }
    struct peer *peer = peer_of(push, to->node);
    if (peer == NULL) {
        return BND_NOMEM;
    }
    push->seq += push->seq == UINT64_MAX ? 2 : 1; /* never 0 */
    const struct kv_pushed pushed = {.seq = push->seq,
                                     .kind = entry->kind,
                                     .shard = entry->shard,
                                     .epoch = epoch,
                                     .namespace_id = entry->namespace_id,
                                     .key = entry->key,
                                     .blob = entry->blob,
                                     .number = entry->number,
                                     .body = entry->body};
    bool copied = entry->body.len <= COPY_BYTES_MAX;
    if (peer->pushes.len >= MESSAGE_BYTES || (!copied && peer->pushes.len > 0)) {
        (void)flush_pushes(kv, peer, bnd_slice(NULL, 0));
    }
    message_begin(kv, &peer->pushes, KV_MESSAGE_PUSHES);
    kv_pushed_head(&peer->pushes, &pushed);
    if (copied) {
        bnd_buf_append_slice(&peer->pushes, entry->body);
    }
    if (peer->pushes.failed) {
        bnd_buf_reset(&peer->pushes); /* what else was in it is lost like a message */
        return BND_NOMEM;
    }
    int rv = copied ? 0 : flush_pushes(kv, peer, entry->body);
    if (rv != 0) {
        return rv;
    }
    to->seq = push->seq;
    struct kv_push_to **chain = &push->chains[to->seq & (CHAINS - 1)];
    to->next = *chain;
    *chain = to;
    push->under_way++;
    return 0;
}

void kv_push_forget(struct bnd_kv *kv, struct kv_push_to *to) {
    if (to->seq == 0) {
        return;
    }
    struct kv_push_to **place = place_of(kv->push, to->seq);
    BND_ASSERT(*place == to);
    *place = to->next;
    to->seq = 0;
    kv->push->under_way--;
}

static void take_ack(struct bnd_kv *kv, uint64_t from, const struct kv_ack *ack) {
    struct kv_push_to *to = ack->seq == 0 ? NULL : *place_of(kv->push, ack->seq);
    if (to != NULL && to->node == from) {
        kv_push_forget(kv, to);
        to->answered(to, ack);
    }
}

void kv_push_tick(struct bnd_kv *kv) {
    struct bnd_mesh *mesh = kv->config.mesh;
    for (size_t i = 0; kv->push->under_way > 0 && i < CHAINS; i++) {
        struct kv_push_to *to = kv->push->chains[i];
        while (to != NULL && mesh->ops->up(mesh, to->node)) {
            to = to->next;
        }
        if (to != NULL) {
            const struct kv_ack lost = {.seq = to->seq, .status = KV_ACK_LOST};
            kv_push_forget(kv, to);
            to->answered(to, &lost);
            i--; /* the chain may be another now */
        }
    }
}

/* ---- the receiver's side
 * -------------------------------------------------------------------------- */

static void answer(struct bnd_kv *kv, uint64_t to, const struct kv_ack *ack) {
    struct peer *peer = peer_of(kv->push, to);
    if (peer != NULL && peer->acks.len < ACKS_BYTES_MAX) {
        message_begin(kv, &peer->acks, KV_MESSAGE_ACKS);
        kv_ack_put(&peer->acks, ack);
    }
}

static void applied(struct kv_log_entry *entry, int status) {
    struct bnd_kv *kv = entry->data;
    struct kv_ack ack = {.seq = entry->seq, .version = entry->result.stands.version};
    if (status != 0) {
        return; /* it closes: whoever waits finds the peer gone */
    }
    switch (entry->result.outcome) {
    case KV_WON:
    case KV_EQUAL:
        ack.status = KV_ACK_OK;
        break;
    case KV_LOST:
        ack.status = kv_rule(kv, KV_RULE_NEWER) ? KV_ACK_NEWER : KV_ACK_OK;
        break;
    case KV_LACKS:
        ack.status = KV_ACK_LACKS;
        break;
    }
    answer(kv, entry->peer, &ack);
}

/* Whether this node may store it under the map that it has. */
static enum kv_ack_status check_map(struct bnd_kv *kv, const struct kv_pushed *pushed,
                                    struct kv_ack *ack) {
    if (pushed->shard >= kv->view.shards_count) {
        return KV_ACK_EPOCH;
    }
    const struct bnd_kv_shard *shard = &kv->view.shards[pushed->shard];
    uint32_t sealed = kv_store_marks(kv->store, pushed->shard).epoch;
    uint32_t epoch = shard->epoch > sealed ? shard->epoch : sealed;
    ack->version.hlc = epoch;
    if (pushed->epoch > shard->epoch) {
        kv->config.view_wanted(kv->config.owner);
    }
    const struct bnd_kv_replica *own = kv_replica(kv, pushed->shard, kv->config.self);
    bool member = own != NULL;
    if (kv_rule(kv, KV_RULE_SEAL) && (pushed->epoch != epoch || shard->epoch != epoch || !member)) {
        return KV_ACK_EPOCH;
    }
    /* It counts by the map, and has forgotten what it was counted for: not until the map knows. */
    if (member && own->filled && !kv_store_marks(kv->store, pushed->shard).filled &&
        kv_rule(kv, KV_RULE_FILL)) {
        return KV_ACK_EPOCH;
    }
    bool gone = kv_namespace(kv, pushed->namespace_id, NULL) == KV_NAMESPACE_GONE;
    return gone && kv_rule(kv, KV_RULE_NAMESPACE) ? KV_ACK_GONE : KV_ACK_OK;
}

static enum kv_ack_status check_version(struct bnd_kv *kv, const struct kv_pushed *pushed,
                                        struct kv_ack *ack) {
    struct kv_record record;
    if (pushed->kind != KV_LOG_RECORD) {
        return kv->config.has_room(kv->config.owner) ? KV_ACK_OK : KV_ACK_FULL;
    }
    if (kv_record_decode(pushed->body, &record) != 0) {
        return KV_ACK_OK; /* told as damaged by who stores it */
    }
    uint64_t refused = kv_store_marks(kv->store, pushed->shard).refused;
    if (kv_hlc_ahead(record.version.hlc, kv_wall_ms(kv))) {
        return KV_ACK_AHEAD;
    }
    kv_hlc_see(&kv->hlc, record.version.hlc, kv_wall_ms(kv));
    if (record.version.hlc < refused && kv_rule(kv, KV_RULE_REFUSE)) {
        ack->version.hlc = refused;
        return KV_ACK_TOO_OLD;
    }
    bool grows = (record.flags & KV_RECORD_TOMBSTONE) == 0;
    return grows && !kv->config.has_room(kv->config.owner) ? KV_ACK_FULL : KV_ACK_OK;
}

static struct kv_log_entry *entry_of(const struct kv_pushed *pushed) {
    if (pushed->kind == KV_LOG_RECORD) {
        return kv_log_entry_encoded(pushed->shard, pushed->namespace_id, pushed->key, pushed->body);
    }
    const struct kv_piece piece = {.shard = pushed->shard,
                                   .namespace_id = pushed->namespace_id,
                                   .key = pushed->key,
                                   .blob = pushed->blob,
                                   .number = pushed->number,
                                   .bytes = pushed->body};
    return kv_log_entry_piece(&piece);
}

static void take_push(struct bnd_kv *kv, uint64_t from, const struct kv_pushed *pushed) {
    struct kv_ack ack = {.seq = pushed->seq};
    kv->stats.pushes_received++;
    ack.status = check_map(kv, pushed, &ack);
    if (ack.status == KV_ACK_OK) {
        ack.status = check_version(kv, pushed, &ack);
    }
    if (ack.status != KV_ACK_OK) {
        answer(kv, from, &ack);
        return;
    }
    struct kv_log_entry *entry = entry_of(pushed);
    int rv = BND_NOMEM;
    if (entry != NULL) {
        entry->applied = applied;
        entry->data = kv;
        entry->peer = from;
        entry->seq = pushed->seq;
        entry->hot = true;
        rv = kv_log_append(kv->log, entry);
    }
    kv_log_entry_unref(entry);
    if (rv != 0) {
        ack.status = KV_ACK_FULL;
        answer(kv, from, &ack);
    }
}

void kv_push_receive(struct bnd_kv *kv, uint64_t from, struct bnd_slice message) {
    struct bnd_reader r = bnd_reader(message);
    uint8_t kind = bnd_read_u8(&r);
    while (!r.failed && r.rest.len > 0) {
        if (kind == KV_MESSAGE_ACKS) {
            const struct kv_ack ack = kv_ack_read(&r);
            if (!r.failed) {
                take_ack(kv, from, &ack);
            }
        } else if (kind == KV_MESSAGE_PUSHES && kv->store != NULL) {
            const struct kv_pushed pushed = kv_pushed_read(&r);
            if (!r.failed) {
                take_push(kv, from, &pushed);
            }
        } else {
            return; /* of a later version, or for somebody else */
        }
    }
}

void kv_push_flush(struct bnd_kv *kv) {
    struct bnd_mesh *mesh = kv->config.mesh;
    for (size_t i = 0; i < kv->push->peers_count; i++) {
        struct peer *peer = &kv->push->peers[i];
        flush_pushes(kv, peer, bnd_slice(NULL, 0));
        if (peer->acks.len > 0 && !peer->acks.failed) {
            struct bnd_slice part = bnd_buf_slice(&peer->acks);
            (void)mesh->ops->send(mesh, peer->node, BND_MESH_CONTROL, BND_MESH_KV, &part, 1);
        }
        bnd_buf_reset(&peer->acks);
    }
}
