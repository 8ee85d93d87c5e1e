/* See readindex.h. */
#include "raft/host_private.h"

#include "base/alloc.h"

/* A frame unanswered for so long is lost. */
#define READ_FRAME_NS_MAX (UINT64_C(250) * BND_MS)

static struct bnd_raft_read *read_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct bnd_raft_read, link);
}

static bool idle(const struct group *group) {
    return bnd_list_empty(&group->reads.waiting) && bnd_list_empty(&group->reads.asked) &&
           bnd_list_empty(&group->reads.granted);
}

static void unlink_idle(struct group *group) {
    if (idle(group) && bnd_link_linked(&group->reads_link)) {
        group->reads.seq = 0;
        bnd_link_remove(&group->reads_link);
    }
}

/* ---- in ---------------------------------------------------------------------------------------*/

int bnd_raft_read(struct bnd_raft_host *host, uint64_t gid, struct bnd_raft_read *read) {
    if (host->dead || host->closing) {
        return BND_CANCELED;
    }
    struct group *group = group_running(host, gid);
    if (group == NULL) {
        return BND_NOTFOUND;
    }
    if (group->status.role != BND_CORE_LEADER) {
        return BND_NOTLEADER;
    }
    if (group->reads.count >= READS_GROUP_MAX) {
        return BND_FULL;
    }
    read->link = (struct bnd_link){0};
    read->index = 0;
    bnd_list_push(&group->reads.waiting, &read->link);
    group->reads.count++;
    if (!bnd_link_linked(&group->reads_link)) {
        bnd_list_push(&host->reading, &group->reads_link);
    }
    host->stats.reads++;
    host_wake(host);
    return 0;
}

static void answer(struct group *group, struct bnd_link *list, int status) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(list)) != NULL) {
        struct bnd_raft_read *read = read_at(link);
        group->reads.count--;
        read->cb(read, status, NULL);
    }
}

void readindex_cancel(struct group *group, int status) {
    group->reads.seq = 0;
    struct bnd_link all;
    bnd_list_take(&group->reads.granted, &all);
    bnd_list_move(&group->reads.asked, &all);
    bnd_list_move(&group->reads.waiting, &all);
    unlink_idle(group);
    answer(group, &all, status); /* last: a callback may ask again */
}

void readindex_drop(struct group *group) {
    struct bnd_link *lists[] = {&group->reads.waiting, &group->reads.asked, &group->reads.granted};
    for (size_t i = 0; i < 3; i++) {
        while (bnd_list_pop(lists[i]) != NULL) {
        }
    }
    group->reads.count = 0;
    unlink_idle(group);
}

/* ---- peers ------------------------------------------------------------------------------------*/

static struct read_peer *peer_find(struct readindex *index, uint64_t node) {
    for (size_t i = 0; i < index->peers_count; i++) {
        if (index->peers[i].node == node) {
            return &index->peers[i];
        }
    }
    return NULL;
}

static struct read_peer *peer_get(struct readindex *index, uint64_t node) {
    struct read_peer *peer = peer_find(index, node);
    if (peer != NULL) {
        return peer;
    }
    if (!BND_ROOM(index->peers, index->peers_count, index->peers_cap, 8)) {
        return NULL;
    }
    peer = &index->peers[index->peers_count++];
    *peer = (struct read_peer){.node = node};
    return peer;
}

/* Puts a group among those the peer is to be asked about; sorted, once. */
static void peer_want(struct read_peer *peer, uint64_t gid) {
    struct bnd_buf *pending = &peer->pending;
    size_t low = 0;
    size_t high = pending->len / 8;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bnd_get_u64(pending->data + middle * 8) < gid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool there = low < pending->len / 8 && bnd_get_u64(pending->data + low * 8) == gid;
    if (there || !bnd_buf_reserve(pending, 8)) {
        pending->failed = false; /* without memory the next tick asks again */
        return;
    }
    memmove(pending->data + (low + 1) * 8, pending->data + low * 8, pending->len - low * 8);
    bnd_put_u64(pending->data + low * 8, gid);
    pending->len += 8;
}

static bool acked(const struct group *group, uint64_t node) {
    for (size_t i = 0; i < group->reads.acked_count; i++) {
        if (group->reads.acked[i] == node) {
            return true;
        }
    }
    return false;
}

/* Fills the frame with the groups whose round still needs this peer; returns how many. */
static uint32_t fill_frame(struct bnd_raft_host *host, struct read_peer *peer) {
    uint32_t count = 0;
    size_t at = 0;
    bnd_buf_reset(&peer->asked);
    read_frame_begin(&host->frame, READ_FRAME_ASK, ++host->readindex.round_last);
    for (; at < peer->pending.len && count < READ_FRAME_ITEMS_MAX; at += 8) {
        struct group *group = group_running(host, bnd_get_u64(peer->pending.data + at));
        if (group == NULL || group->reads.seq == 0 || acked(group, peer->node)) {
            continue;
        }
        const struct read_item item = {.gid = group->gid, .term = group->reads.term};
        const struct read_asked asked = {.gid = group->gid, .seq = group->reads.seq};
        read_frame_item(&host->frame, READ_FRAME_ASK, &item);
        bnd_buf_append(&peer->asked, &asked, sizeof asked);
        count++;
    }
    read_frame_end(&host->frame, count);
    peer->pending.len -= at;
    memmove(peer->pending.data, peer->pending.data + at, peer->pending.len);
    return count;
}

static int send_frame(struct bnd_raft_host *host, uint64_t to) {
    struct bnd_mesh *mesh = host->config.mesh;
    struct bnd_slice bytes = bnd_buf_slice(&host->frame);
    if (host->frame.failed) {
        return BND_NOMEM;
    }
    return mesh->ops->send(mesh, to, BND_MESH_CONTROL, BND_MESH_READ, &bytes, 1);
}

/* What was asked and is not answered is wanted again. */
static void want_again(struct read_peer *peer) {
    for (size_t at = 0; at < peer->asked.len; at += sizeof(struct read_asked)) {
        struct read_asked asked;
        memcpy(&asked, peer->asked.data + at, sizeof asked);
        peer_want(peer, asked.gid);
    }
    bnd_buf_reset(&peer->asked);
    peer->round = 0;
}

static void ask_peer(struct bnd_raft_host *host, struct read_peer *peer) {
    if (peer->round != 0 || peer->blocked || peer->pending.len == 0) {
        return;
    }
    if (fill_frame(host, peer) == 0) {
        return;
    }
    if (peer->asked.failed || send_frame(host, peer->node) != 0) {
        want_again(peer);
        peer->blocked = true;
        return;
    }
    peer->round = host->readindex.round_last;
    peer->sent_ns = bnd_now_ns(host->config.env);
    host->stats.read_rounds++;
}

/* ---- rounds -----------------------------------------------------------------------------------*/

static bool majority(const struct group *group) {
    const struct bnd_raft_configuration *members = &group->status.configuration;
    size_t voters = 0;
    size_t yes = 0;
    for (size_t i = 0; i < members->count; i++) {
        uint64_t node = members->members[i].node;
        if (members->members[i].role == BND_RAFT_VOTER) {
            voters++;
            yes += node == group->host->config.node_id || acked(group, node);
        }
    }
    return yes * 2 > voters;
}

/* Grants what was asked if a majority says so. */
static void conclude(struct group *group) {
    if (group->reads.seq != 0 && majority(group)) {
        group->reads.seq = 0;
        bnd_list_move(&group->reads.asked, &group->reads.granted);
    }
}

static void begin_round(struct group *group) {
    struct group_reads *reads = &group->reads;
    group_refresh(group);
    if (!group->status.ready || reads->seq != 0 || bnd_list_empty(&reads->waiting)) {
        return;
    }
    for (struct bnd_link *link = reads->waiting.next; link != &reads->waiting; link = link->next) {
        read_at(link)->index = group->status.commit;
    }
    bnd_list_move(&reads->waiting, &reads->asked);
    reads->seq = ++reads->seq_last;
    reads->term = group->status.term;
    reads->acked_count = 0;
    const struct bnd_raft_configuration *members = &group->status.configuration;
    for (size_t i = 0; i < members->count; i++) {
        uint64_t node = members->members[i].node;
        if (members->members[i].role == BND_RAFT_VOTER && node != group->host->config.node_id) {
            struct read_peer *peer = peer_get(&group->host->readindex, node);
            if (peer != NULL) {
                peer_want(peer, group->gid);
            }
        }
    }
    conclude(group); /* a sole voter needs nobody */
}

static void run_granted(struct group *group) {
    const struct bnd_fsm_read context = {
        .gid = group->gid,
        .applied = group->written.index,
        .stamp_ms = group->written.stamp_ms,
        .slot = group->slot,
        .state = group->host->config.state,
    };
    /* In order of index: a later round's is never lower. */
    while (!bnd_list_empty(&group->reads.granted)) {
        struct bnd_raft_read *read = read_at(group->reads.granted.next);
        if (read->index > context.applied) {
            return;
        }
        bnd_link_remove(&read->link);
        group->reads.count--;
        read->cb(read, 0, &context);
    }
}

void readindex_changed(struct group *group) {
    if (idle(group)) {
        return;
    }
    if (group->status.role != BND_CORE_LEADER) {
        readindex_cancel(group, BND_NOTLEADER);
    } else if (group->reads.seq != 0 && group->reads.term != group->status.term) {
        group->reads.seq = 0;
        struct bnd_link asked;
        bnd_list_take(&group->reads.asked, &asked);
        unlink_idle(group);
        answer(group, &asked, BND_NOTLEADER);
    } else {
        conclude(group); /* the voters may be others now */
    }
}

void readindex_pass(struct bnd_raft_host *host) {
    struct bnd_link *link = host->reading.next;
    while (link != &host->reading) {
        struct group *group = BND_CONTAINER(link, struct group, reads_link);
        link = link->next;
        begin_round(group);
    }
    for (size_t i = 0; i < host->readindex.peers_count; i++) {
        ask_peer(host, &host->readindex.peers[i]);
    }
    link = host->reading.next;
    while (link != &host->reading) {
        struct group *group = BND_CONTAINER(link, struct group, reads_link);
        link = link->next;
        run_granted(group);
        unlink_idle(group);
    }
}

void readindex_tick(struct bnd_raft_host *host) {
    uint64_t now = bnd_now_ns(host->config.env);
    for (size_t i = 0; i < host->readindex.peers_count; i++) {
        struct read_peer *peer = &host->readindex.peers[i];
        peer->blocked = false;
        if (peer->round != 0 && now - peer->sent_ns > READ_FRAME_NS_MAX) {
            want_again(peer);
        }
    }
    /* Whoever said no, had no memory, or became a voter since the round began. */
    for (struct bnd_link *link = host->reading.next; link != &host->reading; link = link->next) {
        struct group *group = BND_CONTAINER(link, struct group, reads_link);
        const struct bnd_raft_configuration *members = &group->status.configuration;
        for (size_t m = 0; group->reads.seq != 0 && m < members->count; m++) {
            uint64_t node = members->members[m].node;
            if (members->members[m].role == BND_RAFT_VOTER && node != host->config.node_id &&
                !acked(group, node)) {
                struct read_peer *peer = peer_get(&host->readindex, node);
                if (peer != NULL && peer->round == 0) {
                    peer_want(peer, group->gid);
                }
            }
        }
    }
}

/* ---- frames in --------------------------------------------------------------------------------*/

/* Only a term on disk counts: one that a crash could take back has promised nothing. */
bool readindex_confirms(const struct group *group, uint64_t term, uint64_t leader) {
    return group->status.term == term && group->status.role == BND_CORE_FOLLOWER &&
           (group->status.leader == 0 || group->status.leader == leader) &&
           group->ops.meta_lsn <= group->host->lsn_durable;
}

static bool confirms(struct bnd_raft_host *host, const struct read_item *item, uint64_t from) {
    struct group *group = group_running(host, item->gid);
    if (group == NULL) {
        return false;
    }
    group_refresh(group);
    return readindex_confirms(group, item->term, from);
}

static void on_ask(struct bnd_raft_host *host, uint64_t from, struct read_frame *frame) {
    read_frame_begin(&host->frame, READ_FRAME_ANSWER, frame->round);
    for (uint32_t i = 0; i < frame->count; i++) {
        struct read_item item;
        read_frame_next(frame, &item);
        item.ok = confirms(host, &item, from);
        read_frame_item(&host->frame, READ_FRAME_ANSWER, &item);
    }
    read_frame_end(&host->frame, frame->count);
    (void)send_frame(host, from); /* a lost answer is asked for again */
}

static void on_answer(struct bnd_raft_host *host, uint64_t from, struct read_frame *frame) {
    struct read_peer *peer = peer_find(&host->readindex, from);
    if (peer == NULL || peer->round == 0 || peer->round != frame->round ||
        frame->count != peer->asked.len / sizeof(struct read_asked)) {
        return; /* a frame that was given up */
    }
    for (uint32_t i = 0; i < frame->count; i++) {
        struct read_item item;
        struct read_asked asked;
        read_frame_next(frame, &item);
        memcpy(&asked, peer->asked.data + i * sizeof asked, sizeof asked);
        struct group *group = group_running(host, asked.gid);
        if (item.ok && item.gid == asked.gid && group != NULL && group->reads.seq == asked.seq &&
            group->reads.term == item.term && !acked(group, from) &&
            group->reads.acked_count < BND_RAFT_MEMBERS_MAX) {
            group->reads.acked[group->reads.acked_count++] = from;
            conclude(group);
        }
    }
    bnd_buf_reset(&peer->asked);
    peer->round = 0;
    host_wake(host);
}

static void on_frame(void *owner, uint64_t from, struct bnd_slice bytes) {
    struct bnd_raft_host *host = owner;
    if (host->dead || host->closing) {
        return;
    }
    struct read_frame frame;
    if (read_frame_decode(bytes, &frame, NULL) != 0) {
        host->frames_dropped++;
        return;
    }
    switch (frame.kind) {
    case READ_FRAME_ASK:
        on_ask(host, from, &frame);
        break;
    case READ_FRAME_ANSWER:
        on_answer(host, from, &frame);
        break;
    case READ_FRAME_INDEX_ASK:
        replica_read_asked(host, from, &frame);
        break;
    case READ_FRAME_INDEX:
        replica_read_answered(host, from, &frame);
        break;
    }
}

void readindex_open(struct bnd_raft_host *host) {
    struct bnd_mesh *mesh = host->config.mesh;
    mesh->ops->receive(mesh, BND_MESH_READ, on_frame, host);
}

void readindex_close(struct bnd_raft_host *host) {
    struct bnd_mesh *mesh = host->config.mesh;
    mesh->ops->receive(mesh, BND_MESH_READ, NULL, NULL);
    for (size_t i = 0; i < host->readindex.peers_count; i++) {
        bnd_buf_free(&host->readindex.peers[i].pending);
        bnd_buf_free(&host->readindex.peers[i].asked);
    }
    bnd_free(host->readindex.peers);
    host->readindex = (struct readindex){0};
}
