/* Linearizable reads of a replica that follows (readindex.h; ADR 0108).
 *
 *     waiting ──a frame leaves──> asked ──index──> granted ──written here──> read
 *        └───────────────┬──────────┴─────────────────┘
 *                        └─ no leader, it would not say, 50 ms: told, and who asked asks the leader
 *
 * Invariants:
 *  1. The leader names R after the read came here: what waits while a frame is in flight goes with
 *     the next one.
 *  2. It names R only where it and this node are a majority of the group's voters. This node was in
 *     its term when it asked, and so after the read came: no newer leader had been chosen by then,
 *     so none had committed anything, and what older ones and this one had committed is at or below
 *     R. What happens to either afterwards does not matter.
 *  3. A read runs when R is written here, of whatever slot the group has then.
 *  4. Every read is answered, within 50 ms and a tick of the timer.
 *
 * A follower hears that something is committed with what its leader sends next, maybe a heartbeat
 * later. So the answer names the term of the entry at R, too, and is as good as a heartbeat. */
#include "base/alloc.h"
#include "raft/host_private.h"

#define READ_NS_MAX (UINT64_C(50) * BND_MS)
#define TIMER_NS (UINT64_C(20) * BND_MS)
/* Where it did not help the leader is asked itself for so long. */
#define AVOID_NS (UINT64_C(1000) * BND_MS)

static struct bnd_raft_read *read_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct bnd_raft_read, link);
}

static struct group *group_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct group, replica_reads.host_link);
}

static void unlink_idle(struct group *group) {
    if (group->replica_reads.count == 0 && bnd_link_linked(&group->replica_reads.host_link)) {
        bnd_link_remove(&group->replica_reads.host_link);
    }
}

/* ---- in ---------------------------------------------------------------------------------------*/

static void on_timer(struct bnd_timer *timer) {
    struct bnd_raft_host *host = timer->data;
    struct replica_reads *all = &host->replica_reads;
    all->timer_armed = false;
    if (!bnd_list_empty(&all->groups)) {
        all->timer_armed = true;
        all->timer_due = true;
        bnd_timer_start(host->config.env, timer, TIMER_NS);
        host_wake(host);
    }
}

int bnd_raft_read_replica(struct bnd_raft_host *host, uint64_t gid, struct bnd_raft_read *read) {
    struct group *group = host->dead || host->closing ? NULL : group_running(host, gid);
    if (group == NULL || group->status.role == BND_CORE_LEADER) {
        return bnd_raft_read(host, gid, read);
    }
    struct group_replica_reads *reads = &group->replica_reads;
    uint64_t now_ns = bnd_now_ns(host->config.env);
    if (group->status.role != BND_CORE_FOLLOWER || group->status.leader == 0) {
        return BND_NOTLEADER;
    }
    if (now_ns < reads->avoid_until_ns) {
        return BND_BUSY;
    }
    if (reads->count >= READS_GROUP_MAX) {
        return BND_FULL;
    }
    read->link = (struct bnd_link){0};
    read->index = 0;
    read->since_ns = now_ns;
    bnd_list_push(&reads->waiting, &read->link);
    reads->count++;
    if (!bnd_link_linked(&reads->host_link)) {
        bnd_list_push(&host->replica_reads.groups, &reads->host_link);
    }
    if (!host->replica_reads.timer_armed) {
        host->replica_reads.timer_armed = true;
        bnd_timer_start(host->config.env, &host->replica_reads.timer, TIMER_NS);
    }
    host->stats.reads++;
    host_wake(host);
    return 0;
}

/* ---- out --------------------------------------------------------------------------------------*/

static void answer(struct group *group, struct bnd_link *list, int status) {
    struct bnd_link taken;
    struct bnd_link *link = NULL;
    bnd_list_take(list, &taken);
    while ((link = bnd_list_pop(&taken)) != NULL) {
        struct bnd_raft_read *read = read_at(link);
        group->replica_reads.count--;
        read->cb(read, status, NULL);
    }
}

void replica_read_cancel(struct group *group, int status) {
    struct group_replica_reads *reads = &group->replica_reads;
    struct bnd_link all;
    bnd_list_take(&reads->granted, &all);
    bnd_list_move(&reads->asked, &all);
    bnd_list_move(&reads->waiting, &all);
    bnd_list_move(&reads->refused, &all);
    reads->round = 0;
    answer(group, &all, status);
    unlink_idle(group);
}

void replica_read_drop(struct group *group) {
    struct group_replica_reads *reads = &group->replica_reads;
    struct bnd_link *lists[] = {&reads->waiting, &reads->asked, &reads->granted, &reads->refused};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        while (bnd_list_pop(lists[i]) != NULL) {
        }
    }
    reads->count = 0;
    unlink_idle(group);
}

static void run_granted(struct group *group) {
    const struct bnd_fsm_read context = {
        .gid = group->gid,
        .applied = group->written.index,
        .stamp_ms = group->written.stamp_ms,
        .slot = group->slot,
        .state = group->host->config.state,
    };
    /* In order of index: a later answer's is never lower. */
    while (!bnd_list_empty(&group->replica_reads.granted)) {
        struct bnd_raft_read *read = read_at(group->replica_reads.granted.next);
        if (read->index > context.applied) {
            return;
        }
        bnd_link_remove(&read->link);
        group->replica_reads.count--;
        read->cb(read, 0, &context);
    }
}

/* Tells those that have waited too long. */
static void expire(struct group *group, uint64_t now_ns) {
    struct group_replica_reads *reads = &group->replica_reads;
    struct bnd_link *lists[] = {&reads->granted, &reads->asked, &reads->waiting};
    struct bnd_link late;
    bnd_list_init(&late);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        while (!bnd_list_empty(lists[i]) &&
               now_ns - read_at(lists[i]->next)->since_ns > READ_NS_MAX) {
            bnd_list_push(&late, bnd_list_pop(lists[i]));
        }
    }
    reads->round = bnd_list_empty(&reads->asked) ? 0 : reads->round;
    if (!bnd_list_empty(&late)) {
        reads->avoid_until_ns = now_ns + AVOID_NS;
        answer(group, &late, BND_BUSY);
    }
}

void replica_read_changed(struct group *group) {
    struct group_replica_reads *reads = &group->replica_reads;
    bool same = group->status.role == BND_CORE_FOLLOWER && group->status.term == reads->term &&
                group->status.leader == reads->leader;
    if (reads->round != 0 && !same) {
        reads->round = 0;
        bnd_list_move(&reads->asked, &reads->refused);
    }
}

/* ---- asking -----------------------------------------------------------------------------------*/

static struct index_peer *peer_find(struct replica_reads *all, uint64_t node) {
    for (size_t i = 0; i < all->peers_count; i++) {
        if (all->peers[i].node == node) {
            return &all->peers[i];
        }
    }
    return NULL;
}

static struct index_peer *peer_get(struct replica_reads *all, uint64_t node) {
    struct index_peer *peer = peer_find(all, node);
    if (peer != NULL) {
        return peer;
    }
    if (!BND_ROOM(all->peers, all->peers_count, all->peers_cap, 8)) {
        return NULL;
    }
    peer = &all->peers[all->peers_count++];
    *peer = (struct index_peer){.node = node};
    return peer;
}

static void put(struct replica_reads *all, struct index_peer *peer, struct group *group) {
    struct group_replica_reads *reads = &group->replica_reads;
    const struct read_item item = {.gid = group->gid, .term = group->status.term};
    if (peer->round == 0) {
        peer->round = ++all->round_last;
        bnd_buf_reset(&peer->asked);
        read_frame_begin(&peer->frame, READ_FRAME_INDEX_ASK, peer->round);
    }
    read_frame_item(&peer->frame, READ_FRAME_INDEX_ASK, &item);
    bnd_buf_u64(&peer->asked, group->gid);
    reads->round = peer->round;
    reads->leader = peer->node;
    reads->term = item.term;
    bnd_list_move(&reads->waiting, &reads->asked);
}

/* Puts what waits into the frame to the group's leader, unless one is in flight. */
static void ask(struct group *group) {
    struct replica_reads *all = &group->host->replica_reads;
    struct group_replica_reads *reads = &group->replica_reads;
    if (bnd_list_empty(&reads->waiting) || reads->round != 0) {
        return;
    }
    group_refresh(group);
    uint64_t leader = group->status.leader;
    if (group->status.role != BND_CORE_FOLLOWER || leader == 0) {
        bnd_list_move(&reads->waiting, &reads->refused);
        return;
    }
    struct index_peer *peer = peer_get(all, leader);
    bool room = peer != NULL && !peer->sent && peer->asked.len / 8 < READ_FRAME_ITEMS_MAX;
    if (room && readindex_confirms(group, group->status.term, leader)) {
        put(all, peer, group);
    }
}

/* The frame is lost, or was never sent. */
static void give_up(struct bnd_raft_host *host, struct index_peer *peer) {
    for (size_t at = 0; at < peer->asked.len; at += 8) {
        struct group *group = group_find(host, bnd_get_u64(peer->asked.data + at));
        if (group != NULL && group->replica_reads.round == peer->round) {
            group->replica_reads.round = 0;
            bnd_list_move(&group->replica_reads.asked, &group->replica_reads.refused);
        }
    }
    bnd_buf_reset(&peer->asked);
    peer->round = 0;
    peer->sent = false;
}

static void send_frame(struct bnd_raft_host *host, struct index_peer *peer) {
    struct bnd_mesh *mesh = host->config.mesh;
    if (peer->round == 0 || peer->sent) {
        return;
    }
    read_frame_end(&peer->frame, (uint32_t)(peer->asked.len / 8));
    struct bnd_slice bytes = bnd_buf_slice(&peer->frame);
    if (peer->frame.failed || peer->asked.failed ||
        mesh->ops->send(mesh, peer->node, BND_MESH_CONTROL, BND_MESH_READ, &bytes, 1) != 0) {
        give_up(host, peer);
        return;
    }
    peer->sent = true;
    peer->sent_ns = bnd_now_ns(host->config.env);
    host->stats.read_rounds++;
}

/* ---- the pass ---------------------------------------------------------------------------------*/

void replica_read_learn(struct bnd_raft_host *host) {
    for (struct bnd_link *link = host->replica_reads.groups.next;
         link != &host->replica_reads.groups && !host->dead; link = link->next) {
        struct group *group = group_at(link);
        const struct group_replica_reads *reads = &group->replica_reads;
        if (!bnd_list_empty(&reads->granted) && reads->index > group->applying.index) {
            bnd_core_commit_told(group->core, reads->said_leader, reads->said_term, reads->index,
                                 reads->index_term);
        }
    }
}

static void look_at_time(struct bnd_raft_host *host) {
    struct replica_reads *all = &host->replica_reads;
    uint64_t now_ns = bnd_now_ns(host->config.env);
    if (!all->timer_due) {
        return;
    }
    all->timer_due = false;
    for (struct bnd_link *link = all->groups.next; link != &all->groups; link = link->next) {
        expire(group_at(link), now_ns);
    }
    for (size_t i = 0; i < all->peers_count; i++) {
        if (all->peers[i].sent && now_ns - all->peers[i].sent_ns > READ_NS_MAX) {
            give_up(host, &all->peers[i]);
        }
    }
}

void replica_read_pass(struct bnd_raft_host *host) {
    struct replica_reads *all = &host->replica_reads;
    look_at_time(host);
    for (struct bnd_link *link = all->groups.next; link != &all->groups; link = link->next) {
        ask(group_at(link));
    }
    for (size_t i = 0; i < all->peers_count; i++) {
        send_frame(host, &all->peers[i]);
    }
    struct bnd_link *link = all->groups.next;
    while (link != &all->groups) {
        struct group *group = group_at(link);
        link = link->next;
        run_granted(group);
        answer(group, &group->replica_reads.refused, BND_NOTLEADER);
        unlink_idle(group);
    }
}

/* ---- frames in --------------------------------------------------------------------------------*/

/* Are this node and `other` a majority of the voters? */
static bool majority(const struct group *group, uint64_t other) {
    const struct bnd_raft_configuration *members = &group->status.configuration;
    uint64_t self = group->host->config.node_id;
    size_t voters = 0;
    size_t yes = 0;
    for (size_t i = 0; i < members->count; i++) {
        if (members->members[i].role == BND_RAFT_VOTER) {
            voters++;
            yes += members->members[i].node == self || members->members[i].node == other;
        }
    }
    return yes * 2 > voters;
}

static void name_index(struct bnd_raft_host *host, uint64_t from, struct read_item *item) {
    struct group *group = group_running(host, item->gid);
    if (group == NULL) {
        return;
    }
    group_refresh(group);
    item->ok = group->status.ready && group->status.role == BND_CORE_LEADER &&
               group->status.term == item->term && majority(group, from);
    if (item->ok) {
        item->index = group->status.commit;
        item->index_term = group->status.commit_term;
    }
}

void replica_read_asked(struct bnd_raft_host *host, uint64_t from, struct read_frame *frame) {
    struct bnd_mesh *mesh = host->config.mesh;
    read_frame_begin(&host->frame, READ_FRAME_INDEX, frame->round);
    for (uint32_t i = 0; i < frame->count; i++) {
        struct read_item item;
        read_frame_next(frame, &item);
        name_index(host, from, &item);
        read_frame_item(&host->frame, READ_FRAME_INDEX, &item);
    }
    read_frame_end(&host->frame, frame->count);
    struct bnd_slice bytes = bnd_buf_slice(&host->frame);
    if (!host->frame.failed) { /* a lost answer is one that is late */
        (void)mesh->ops->send(mesh, from, BND_MESH_CONTROL, BND_MESH_READ, &bytes, 1);
    }
}

static void take_index(struct group *group, uint64_t now_ns, const struct read_item *item) {
    struct group_replica_reads *reads = &group->replica_reads;
    reads->round = 0;
    if (!item->ok) {
        reads->avoid_until_ns = now_ns + AVOID_NS;
        bnd_list_move(&reads->asked, &reads->refused);
        return;
    }
    for (struct bnd_link *link = reads->asked.next; link != &reads->asked; link = link->next) {
        read_at(link)->index = item->index;
    }
    reads->index = item->index;
    reads->index_term = item->index_term;
    reads->said_leader = reads->leader;
    reads->said_term = item->term;
    bnd_list_move(&reads->asked, &reads->granted);
}

void replica_read_answered(struct bnd_raft_host *host, uint64_t from, struct read_frame *frame) {
    struct index_peer *peer = peer_find(&host->replica_reads, from);
    if (peer == NULL || !peer->sent || peer->round != frame->round ||
        frame->count != peer->asked.len / 8) {
        return; /* a frame that was given up */
    }
    uint64_t now_ns = bnd_now_ns(host->config.env);
    for (uint32_t i = 0; i < frame->count; i++) {
        struct read_item item;
        read_frame_next(frame, &item);
        uint64_t gid = bnd_get_u64(peer->asked.data + (size_t)i * 8);
        struct group *group = group_running(host, gid);
        if (group != NULL && group->replica_reads.round == frame->round) {
            item.ok = item.ok && item.gid == gid && item.term == group->replica_reads.term;
            take_index(group, now_ns, &item);
        }
    }
    bnd_buf_reset(&peer->asked);
    peer->round = 0;
    peer->sent = false;
    host_wake(host);
}

/* ---- life -------------------------------------------------------------------------------------*/

void replica_read_open(struct bnd_raft_host *host) {
    bnd_list_init(&host->replica_reads.groups);
    host->replica_reads.timer = (struct bnd_timer){.cb = on_timer, .data = host};
}

void replica_read_close(struct bnd_raft_host *host) {
    struct replica_reads *all = &host->replica_reads;
    bnd_timer_stop(host->config.env, &all->timer);
    for (size_t i = 0; i < all->peers_count; i++) {
        bnd_buf_free(&all->peers[i].frame);
        bnd_buf_free(&all->peers[i].asked);
    }
    bnd_free(all->peers);
    all->peers = NULL;
    all->peers_count = all->peers_cap = 0;
}
