/* Exports: the sender's half of catchup.h.
 *
 * An export is the group's state as of one moment between two batches (iterators over all families,
 * made in one pass) and every entry committed since. It is pulled: one chunk per request, made when
 * it is asked for, kept until the next so that a lost answer can be repeated. Any replica may
 * serve; what it serves is committed.
 *
 * Invariant: the tail holds exactly the committed entries above max(E, have), in order.
 *
 * Failure modes: an iterator that fails, no memory, a tail over its bound: the export ends, the
 * receiver's next pull says BND_NOTFOUND and it begins anew. */
#include "raft/host_private.h"

#include "base/alloc.h"
#include "raft/export_chunk.h"

struct export {
    struct bnd_link link;
    struct group *group;
    struct bnd_rpc_request *opening; /* OPEN, unanswered: not begun yet */
    uint64_t id;
    uint64_t to;
    uint64_t used_ns;
    uint8_t from_key[4], to_key[4];
    struct bnd_state_iter *iters[BND_CF_COUNT];
    size_t family; /* of the next pair; BND_CF_COUNT: no more */
    struct export_total total;
    uint64_t seq;         /* of the chunk kept */
    struct bnd_buf chunk; /* as sent */
    struct bnd_buf tail;  /* entries not yet known to be there, from tail_at on */
    size_t tail_at;
    uint64_t have;
};

static struct export *export_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct export, link);
}

static bool state_sent(const struct export *export) {
    return export->opening == NULL && export->family == BND_CF_COUNT;
}

/* Once the state is over, what the receiver lacks stays in RAM for the leader's own messages; the
 * entry before it too, whose term they name. */
static void keep_log(struct group *group) {
    struct exports *exports = &group->host->exports;
    uint64_t above = UINT64_MAX;
    for (struct bnd_link *link = exports->list.next; link != &exports->list; link = link->next) {
        const struct export *export = export_at(link);
        if (export->group == group && state_sent(export) && export->have - 1 < above) {
            above = export->have - 1;
        }
    }
    if (group->core != NULL) {
        bnd_core_keep_above(group->core, above);
    }
}

static void end_iters(struct export *export) {
    const struct bnd_state_ops *ops = export->group->host->config.state->ops;
    for (size_t i = 0; i < BND_CF_COUNT; i++) {
        if (export->iters[i] != NULL) {
            ops->iter_destroy(export->iters[i]);
            export->iters[i] = NULL;
        }
    }
}

static void export_end(struct export *export) {
    struct group *group = export->group;
    if (export->opening != NULL) {
        bnd_rpc_reply(export->opening, BND_UNAVAILABLE, NULL, 0);
    }
    end_iters(export);
    bnd_link_remove(&export->link);
    group->host->exports.count--;
    group->exports--;
    bnd_buf_free(&export->chunk);
    bnd_buf_free(&export->tail);
    bnd_free(export);
    keep_log(group);
}

void export_forget(struct group *group) {
    struct exports *exports = &group->host->exports;
    struct bnd_link *link = exports->list.next;
    while (group->exports > 0 && link != &exports->list) {
        struct export *export = export_at(link);
        link = link->next;
        if (export->group == group) {
            export_end(export);
        }
    }
}

/* ---- the tail ---------------------------------------------------------------------------------*/

static struct bnd_slice tail_rest(const struct export *export) {
    return bnd_slice(export->tail.data + export->tail_at, export->tail.len - export->tail_at);
}

void export_entry(struct group *group, const struct bnd_journal_entry *entry) {
    struct exports *exports = &group->host->exports;
    struct bnd_link *link = exports->list.next;
    while (group->exports > 0 && link != &exports->list) {
        struct export *export = export_at(link);
        link = link->next;
        if (export->group != group || export->opening != NULL) {
            continue;
        }
        export_entry_encode(entry, &export->tail);
        if (export->tail.failed || tail_rest(export).len > EXPORT_TAIL_BYTES_MAX) {
            export_end(export);
        }
    }
}

static void tail_trim(struct export *export, uint64_t have) {
    struct bnd_reader r = bnd_reader(tail_rest(export));
    while (r.rest.len > 0) {
        struct bnd_reader before = r;
        if (export_entry_next(&r).index > have) {
            r = before;
            break;
        }
    }
    size_t left = r.rest.len;
    export->tail_at = export->tail.len - left;
    export->have = have > export->have ? have : export->have;
    if (export->tail_at > 0 && export->tail_at >= left) {
        memmove(export->tail.data, export->tail.data + export->tail_at, left);
        export->tail.len = left;
        export->tail_at = 0;
    }
}

static void take_entries(const struct export *export, struct export_chunk *chunk) {
    struct bnd_slice rest = tail_rest(export);
    struct bnd_reader r = bnd_reader(rest);
    while (r.rest.len > 0 && rest.len - r.rest.len < EXPORT_CHUNK_BYTES) {
        (void)export_entry_next(&r);
        BND_ASSERT(!r.failed);
        chunk->entries_count++;
    }
    chunk->entries = bnd_slice(rest.data, rest.len - r.rest.len);
}

/* ---- the state --------------------------------------------------------------------------------*/

/* Fails, or fills *pairs with the next of them, up to bytes_max. */
static int take_pairs(struct export *export, size_t bytes_max, struct bnd_buf *pairs,
                      uint32_t *out_count) {
    const struct bnd_state_ops *ops = export->group->host->config.state->ops;
    uint32_t count = 0;
    while (export->family < BND_CF_COUNT && pairs->len < bytes_max) {
        struct bnd_state_iter *iter = export->iters[export->family];
        if (!ops->iter_valid(iter)) {
            int rv = ops->iter_status(iter);
            if (rv != 0) {
                return rv;
            }
            export->family++;
            continue;
        }
        struct bnd_slice key = ops->iter_key(iter);
        BND_ASSERT(key.len >= 4);
        const struct export_pair pair = {
            .family = (enum bnd_state_cf) export->family,
            .key = bnd_slice(key.data + 4, key.len - 4),
            .value = ops->iter_value(iter),
        };
        export_pair_encode(&pair, pairs);
        ops->iter_next(iter);
        count++;
    }
    *out_count = count;
    return pairs->failed ? BND_NOMEM : 0;
}

static int make_chunk(struct export *export, uint32_t pairs_max) {
    struct group *group = export->group;
    BND_AUTO_BUF struct bnd_buf pairs = {0};
    struct export_chunk chunk = {.export_id = export->id, .seq = export->seq + 1};
    bool bounded = pairs_max != 0 && pairs_max < EXPORT_CHUNK_BYTES;
    int rv =
        take_pairs(export, bounded ? pairs_max : EXPORT_CHUNK_BYTES, &pairs, &chunk.pairs_count);
    if (rv != 0) {
        return rv;
    }
    chunk.pairs = bnd_buf_slice(&pairs);
    group->host->stats.export_bytes += pairs.len;
    export->total = export_total_add(export->total, chunk.pairs_count, chunk.pairs);
    chunk.total = export->total;
    take_entries(export, &chunk);
    group_refresh(group);
    chunk.term = group->status.term;
    chunk.last_index = group->status.last_index;
    chunk.last = export->family == BND_CF_COUNT;
    if (chunk.last) {
        end_iters(export);
        keep_log(group);
    }
    bnd_buf_reset(&export->chunk);
    export_chunk_encode(&chunk, &export->chunk);
    export->seq++;
    return export->chunk.failed ? BND_NOMEM : 0;
}

/* ---- requests ---------------------------------------------------------------------------------*/

static void serve_open(struct bnd_raft_host *host, struct bnd_rpc_request *request, uint64_t gid) {
    struct group *group = group_running(host, gid);
    struct bnd_link *link = host->exports.list.next;
    while (group != NULL && link != &host->exports.list) {
        struct export *old = export_at(link);
        link = link->next;
        if (old->group == group && old->to == request->from) {
            export_end(old); /* its receiver begins anew */
        }
    }
    struct export *export = NULL;
    if (group != NULL && host->exports.count < EXPORTS_MAX) {
        export = bnd_zalloc(sizeof *export);
    }
    if (export == NULL) {
        bnd_rpc_reply(request, group == NULL ? BND_NOTFOUND : BND_FULL, NULL, 0);
        return;
    }
    export->group = group;
    export->opening = request;
    export->to = request->from;
    export->used_ns = bnd_now_ns(host->config.env);
    do {
        export->id = bnd_random(host->config.env);
    } while (export->id == 0);
    bnd_list_push(&host->exports.list, &export->link);
    host->exports.count++;
    group->exports++;
    host_wake(host); /* the pass answers */
}

static struct export *find(struct bnd_raft_host *host, uint64_t id, uint64_t from) {
    for (struct bnd_link *link = host->exports.list.next; link != &host->exports.list;
         link = link->next) {
        struct export *export = export_at(link);
        if (export->id == id && export->to == from && export->opening == NULL) {
            return export;
        }
    }
    return NULL;
}

static int serve_pull(struct export *export, const struct export_request *pull) {
    if (pull->seq == export->seq && export->seq > 0) {
        return 0; /* the same again */
    }
    if (pull->seq != export->seq + 1) {
        return BND_INVALID;
    }
    tail_trim(export, pull->have);
    return make_chunk(export, pull->pairs_max);
}

static void on_request(void *owner, struct bnd_rpc_request *request) {
    struct bnd_raft_host *host = owner;
    struct export_request asked;
    if (host->dead || host->closing) {
        bnd_rpc_reply(request, BND_UNAVAILABLE, NULL, 0);
        return;
    }
    if (export_request_decode(request->payload, &asked, NULL) != 0) {
        bnd_rpc_reply(request, BND_INVALID, NULL, 0);
        return;
    }
    if (asked.op == EXPORT_OPEN) {
        serve_open(host, request, asked.gid);
        return;
    }
    if (asked.op == EXPORT_MEMBER) {
        leave_serve(host, request, asked.gid);
        return;
    }
    if (asked.op == EXPORT_LEAD) {
        bnd_rpc_reply(request, handover_serve(host, asked.gid), NULL, 0);
        return;
    }
    struct export *export = find(host, asked.export_id, request->from);
    int rv = export == NULL ? BND_NOTFOUND : 0;
    if (rv == 0 && asked.op == EXPORT_PULL) {
        export->used_ns = bnd_now_ns(host->config.env);
        rv = serve_pull(export, &asked);
        struct bnd_slice chunk = bnd_buf_slice(&export->chunk);
        bnd_rpc_reply(request, rv, &chunk, rv == 0 ? 1 : 0);
    } else {
        bnd_rpc_reply(request, rv, NULL, 0);
    }
    if (export != NULL && (rv != 0 || asked.op == EXPORT_CLOSE)) {
        export_end(export);
    }
}

/* ---- the pass ---------------------------------------------------------------------------------*/

/* The state is exactly what the core has put out: nothing lies between it and the entries to come.
 */
static bool at_rest(struct group *group) {
    group_refresh(group);
    return !group->host->apply.stalled && group->written.index > 0 &&
           group->written.index == group->status.applied;
}

static int begin(struct export *export) {
    struct group *group = export->group;
    struct bnd_state *state = group->host->config.state;
    bnd_put_be32(export->from_key, group->slot);
    bnd_put_be32(export->to_key, group->slot + 1);
    for (size_t i = 0; i < BND_CF_COUNT; i++) {
        export->iters[i] =
            state->ops->iter(state, (enum bnd_state_cf)i, bnd_slice(export->from_key, 4),
                             bnd_slice(export->to_key, 4));
        if (export->iters[i] == NULL) {
            return BND_NOMEM;
        }
    }
    const struct export_opened opened = {
        .export_id = export->id, .index = group->written.index, .term = group->written.term};
    BND_AUTO_BUF struct bnd_buf reply = {0};
    export_opened_encode(&opened, &reply);
    if (reply.failed) {
        return BND_NOMEM;
    }
    export->have = group->written.index;
    struct bnd_slice bytes = bnd_buf_slice(&reply);
    bnd_rpc_reply(export->opening, 0, &bytes, 1);
    export->opening = NULL;
    group->host->stats.installs_sent++;
    return 0;
}

void export_pass(struct bnd_raft_host *host) {
    struct bnd_link *link = host->exports.list.next;
    while (link != &host->exports.list) {
        struct export *export = export_at(link);
        link = link->next;
        if (export->opening != NULL && at_rest(export->group) && begin(export) != 0) {
            export_end(export);
        }
    }
}

/* Once the state is sent it may be installed, and the answer lost: who is asked then has it and
 * says so, or goes on with what it has begun. */
static bool serves(const struct bnd_raft_host *host, const struct group *group, uint64_t node) {
    for (struct bnd_link *link = host->exports.list.next; link != &host->exports.list;
         link = link->next) {
        const struct export *export = export_at(link);
        if (export->group == group && export->to == node && !state_sent(export)) {
            return true;
        }
    }
    return false;
}

/* Messages are lost and receivers die: whoever waits for an INSTALL without pulling is asked again.
 */
static void ask_again(struct group *group) {
    const struct bnd_core_status *status = &group->status;
    for (size_t i = 0; status->role == BND_CORE_LEADER && i < status->configuration.count; i++) {
        uint64_t node = status->configuration.members[i].node;
        if (status->peers[i].installing && !serves(group->host, group, node)) {
            bnd_core_install_failed(group->core, node);
        }
    }
}

void export_tick(struct bnd_raft_host *host) {
    uint64_t now = bnd_now_ns(host->config.env);
    struct bnd_link *link = host->exports.list.next;
    while (link != &host->exports.list) {
        struct export *export = export_at(link);
        link = link->next;
        if (now - export->used_ns > EXPORT_IDLE_NS_MAX) {
            export_end(export);
        }
    }
    for (size_t i = 0; host->ticks % 8 == 0 && i < host->groups_count && !host->dead; i++) {
        if (host->groups[i]->phase == GROUP_RUNNING && !host->groups[i]->destroying) {
            ask_again(host->groups[i]); /* by the picture of persist_log_tick, in the same tick */
        }
    }
}

void export_open(struct bnd_raft_host *host) {
    bnd_rpc_serve(host->config.rpc, BND_RPC_EXPORT, on_request, host);
}

void export_close(struct bnd_raft_host *host) {
    while (!bnd_list_empty(&host->exports.list)) {
        export_end(export_at(host->exports.list.next));
    }
    bnd_rpc_serve(host->config.rpc, BND_RPC_EXPORT, NULL, NULL);
}
