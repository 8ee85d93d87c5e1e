/* A replica's life, from the map and from its own marks. Each step does what is next, if it can be
 * done now, and is called again after a second, and whenever something has changed. What is told to
 * group 0 is told again until the map shows it.
 *
 *   no marks -- in the map --> marks (filled, where nothing has been written yet) --> tree is built
 *   filling:  equal with the sealed leaver, or with every other filled replica --> marks: filled
 *             --> FILLED
 *   leaving:  sealed, equal with every replica --> LEFT
 *   in neither set: the shard is dropped, marks and all
 *
 * Marks go through the log, so a crash at any point finds either what was before or what is after;
 * what was done in memory only (exchanges) is done again. */
#include "kv/spread_private.h"

static const struct bnd_kv_replica *replica(const struct spread_shard *shard, uint64_t node) {
    size_t at = bnd_kv_shard_find(&shard->map, node);
    return at < shard->map.replicas_count ? &shard->map.replicas[at] : NULL;
}

bool spread_fills(const struct spread_shard *shard, uint64_t node) {
    const struct bnd_kv_replica *of = replica(shard, node);
    return of != NULL && !of->filled;
}

uint64_t spread_sole_filled(const struct spread_shard *shard) {
    uint64_t sole = 0;
    for (size_t i = 0; i < shard->map.replicas_count; i++) {
        if (shard->map.replicas[i].filled) {
            if (sole != 0) {
                return 0;
            }
            sole = shard->map.replicas[i].node;
        }
    }
    return sole;
}

/* ---- marks
 * -------------------------------------------------------------------------------------------- */

static void on_marked(void *data, int status) {
    struct spread_shard *shard = data;
    shard->marking = NULL;
    shard->wiping = false;
    spread_served_marked(shard->spread, shard->number, status);
    if (status == 0) {
        spread_step(shard);
        spread_exchanges_run(shard->spread);
    }
}

static void on_mark_applied(void *data, int status) {
    struct spread_ticket *ticket = data;
    void (*cb)(void *, int) = ticket->cb;
    void *of = ticket->data;
    bnd_free(ticket);
    if (cb != NULL) {
        cb(of, status);
    }
}

void spread_mark(struct spread_shard *shard, const struct kv_marks *marks, bool wipe) {
    BND_ASSERT(shard->marking == NULL);
    struct spread_ticket *ticket = spread_ticket_new(on_marked, shard);
    if (ticket == NULL) {
        return; /* the next tick tries again */
    }
    if (kv_mark(shard->spread->kv, shard->number, marks, wipe, on_mark_applied, ticket) != 0) {
        spread_ticket_void(ticket, false);
        return;
    }
    shard->marking = ticket;
    shard->wiping = wipe;
}

static void tell(struct spread_shard *shard, enum bnd_kv_tell_kind kind) {
    const struct bnd_kv *kv = shard->spread->kv;
    const struct bnd_kv_tell told = {.kind = kind,
                                     .shard = shard->number,
                                     .epoch = shard->map.epoch,
                                     .horizon = spread_marks(shard).collected};
    kv->config.tell(kv->config.owner, &told);
}

/* The first marks. Where the map has made the first replicas, or this one was one from the first
 * epoch on, nothing can be missing here; unless the state was lost. */
static void marks_begin(struct spread_shard *shard) {
    const struct bnd_kv_replica *own = replica(shard, shard->spread->kv->config.self);
    bool had = kv_store_lost(shard->spread->kv->store) || shard->map.collected != 0;
    const struct kv_marks marks = {.there = true,
                                   .filled = own != NULL && own->filled && !had,
                                   .epoch = shard->map.epoch,
                                   .refused = shard->map.horizon,
                                   .collected = shard->map.collected};
    spread_mark(shard, &marks, false);
}

/* What the marks should say by now; they are behind where it is not what they say. */
static struct kv_marks marks_wanted(const struct spread_shard *shard, struct kv_marks marks) {
    const struct kv_spread *spread = shard->spread;
    const struct bnd_kv_replica *own = replica(shard, spread->kv->config.self);
    bool left_out = own == NULL || !own->filled;
    /* Filled under an older epoch, and not in this one: group 0 has taken it back, or has never
     * heard of it. */
    if (own != NULL && !own->filled && marks.epoch < shard->map.epoch &&
        kv_rule(spread->kv, KV_RULE_FILL)) {
        marks.filled = false;
    }
    bool behind = marks.collected < shard->map.collected;
    if (behind && left_out && kv_rule(spread->kv, KV_RULE_WIPE)) {
        marks.filled = false; /* it will have to forget what is below, and lack it */
    }
    marks.counted = marks.epoch == shard->map.epoch ? marks.counted : 0;
    marks.epoch = shard->map.epoch;
    marks.refused = shard->map.horizon > marks.refused ? shard->map.horizon : marks.refused;
    if (behind && (!left_out || !kv_rule(spread->kv, KV_RULE_WIPE))) {
        marks.collected = shard->map.collected; /* it has confirmed: the next tree collects */
    }
    return marks;
}

static bool marks_eq(const struct kv_marks *a, const struct kv_marks *b) {
    return a->filled == b->filled && a->counted == b->counted && a->epoch == b->epoch &&
           a->refused == b->refused && a->collected == b->collected;
}

/* ---- filling and leaving
 * ------------------------------------------------------------------------------ */

/* What has just been done was not enough: not at once again. */
static void want_again(struct spread_shard *shard, struct spread_peer *peer) {
    if (!peer->wanted) {
        peer->again_ns = spread_now_ns(shard->spread) + SPREAD_AGAIN_NS;
    }
    spread_want(peer);
}

/* True: it has been merged with under the scope. Else it is wanted. */
static bool merged_or_wanted(struct spread_peer *peer, const struct spread_scope *scope) {
    if (peer != NULL && !spread_merged(peer, scope)) {
        spread_want(peer);
    }
    return peer != NULL && spread_merged(peer, scope);
}

bool spread_merged_filled(struct spread_shard *shard, const struct spread_scope *scope) {
    bool all = true;
    for (size_t i = 0; i < shard->map.replicas_count; i++) {
        const struct bnd_kv_replica *of = &shard->map.replicas[i];
        if (of->filled && of->node != shard->spread->kv->config.self) {
            struct spread_peer *peer = spread_peer(shard, of->node);
            bool merged = merged_or_wanted(peer, scope);
            if (merged && !peer->merged_filled) { /* it lacks what it had: not yet */
                want_again(shard, peer);
                merged = false;
            }
            all = all && merged;
        }
    }
    return all;
}

static bool is_full(struct spread_shard *shard, const struct spread_scope *scope) {
    struct spread_peer *leaver = spread_peer(shard, shard->map.leaving);
    uint64_t sole = spread_sole_filled(shard);
    bool with_leaver = leaver != NULL && merged_or_wanted(leaver, scope) && leaver->merged_filled;
    bool with_all = spread_merged_filled(shard, scope);
    if (sole != 0) {
        struct spread_peer *peer = spread_peer(shard, sole);
        bool answered = peer != NULL && peer->answered_epoch == scope->epoch;
        if (with_all && !answered) {
            want_again(shard, peer);
        }
        return with_all && answered;
    }
    return with_leaver || with_all;
}

static void fill_step(struct spread_shard *shard, struct kv_marks marks,
                      const struct spread_scope *scope) {
    if (marks.filled) {
        tell(shard, BND_KV_TELL_FILLED);
    } else if (is_full(shard, scope) || !kv_rule(shard->spread->kv, KV_RULE_FILL)) {
        marks.filled = true;
        spread_mark(shard, &marks, false);
    }
}

static void leave_step(struct spread_shard *shard, const struct spread_scope *scope) {
    bool all = true;
    for (size_t i = 0; i < shard->map.replicas_count; i++) {
        all = merged_or_wanted(spread_peer(shard, shard->map.replicas[i].node), scope) && all;
    }
    if (all || !kv_rule(shard->spread->kv, KV_RULE_LEAVE)) {
        tell(shard, BND_KV_TELL_LEFT);
    }
}

/* ---- the step
 * ----------------------------------------------------------------------------------------- */

static void none_step(struct spread_shard *shard, struct kv_marks marks) {
    if (marks.there) {
        const struct kv_marks nothing = {0};
        spread_build_end(shard);
        spread_mark(shard, &nothing, true);
    }
}

/* With marks that are as wanted, and a tree below them. */
static void settled_step(struct spread_shard *shard, enum spread_role role, struct kv_marks marks) {
    struct spread_scope scope;
    if (!spread_scope(shard, &scope)) {
        return;
    }
    const struct bnd_kv_replica *own = replica(shard, shard->spread->kv->config.self);
    if (role == SPREAD_LEAVING) {
        leave_step(shard, &scope);
    } else if (!own->filled) {
        fill_step(shard, marks, &scope);
    } else if (!marks.filled) {
        tell(shard, BND_KV_TELL_UNFILLED);
    } else {
        spread_horizon_step(shard, &scope);
    }
}

void spread_step(struct spread_shard *shard) {
    struct kv_spread *spread = shard->spread;
    struct kv_marks marks = spread_marks(shard);
    enum spread_role role = spread_role(shard, spread->kv->config.self);
    if (shard->marking != NULL) {
        return;
    }
    if (role == SPREAD_NONE) {
        none_step(shard, marks);
        return;
    }
    if (!marks.there && role == SPREAD_LEAVING) {
        tell(shard, BND_KV_TELL_LEFT); /* it has nothing to hand over */
        return;
    }
    if (!marks.there) {
        marks_begin(shard);
        return;
    }
    const struct kv_marks wanted = marks_wanted(shard, marks);
    if (!marks_eq(&marks, &wanted)) {
        spread_build_end(shard);
        spread_mark(shard, &wanted, false);
        return;
    }
    if (marks.collected < shard->map.collected) {
        spread_build_begin(shard, shard->map.collected);
    } else if (shard->tree == NULL || shard->tree->horizon != marks.collected ||
               (!shard->tree->built && !shard->build.running)) {
        spread_build_begin(shard, 0);
    } else {
        settled_step(shard, role, marks);
    }
}
