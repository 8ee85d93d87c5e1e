/* Inside kv/: what the parts of one node's KV share. kv.c owns it; coordinate.c puts, push.c what
 * replicas send each other for puts, forward.c what goes to other nodes, list.c lists, spread.c
 * what makes replicas equal.
 *
 * Everything runs on one loop. Callbacks of users come later (or as BND_KV_NOW), and users may call
 * back into kv from inside them. */
#ifndef BND_KV_KV_PRIVATE_H
#define BND_KV_KV_PRIVATE_H

#include "base/alloc.h"
#include "base/assert.h"
#include "kv/hlc.h"
#include "kv/kv.h"
#include "kv/log.h"
#include "kv/rules.h"
#include "kv/spread.h"
#include "kv/store.h"
#include "placement/shard.h"

#define KV_NODES_MAX 1024u

/* A shard as this node has it, beside its map. */
struct kv_shard_here {
    /* As kv_marks.counted, from the moment on in which it was equal; the marks follow, and are told
     * of when they are durable (ADR 0090, "Moves"). */
    uint8_t counted;
    uint64_t left_ns; /* when this node ceased to be a filled replica; 0: never */
    bool was_serving;
};

struct kv_view {
    uint64_t revision;
    struct bnd_kv_shard *shards;
    struct kv_shard_here *here;
    uint32_t shards_count;               /* 0: no view yet */
    struct bnd_kv_namespace *namespaces; /* sorted by id */
    size_t namespaces_count;
    uint64_t namespace_next;
};

/* What goes on in the background (upkeep.c). */
struct kv_upkeep {
    uint32_t drop_left;       /* shards to be looked at for what is of no namespace; 0: none */
    uint32_t drop_shard;      /* the one whose turn it is */
    uint64_t drop_namespace;  /* in it: look at those from here on */
    struct kv_key drop_after; /* of that one: what is up to here has gone; empty: none of it */
    uint64_t drop_again_ns;   /* all once more then; 0: no */
    uint32_t sweep_shard;
};

struct kv_peer {
    uint64_t node;
    bool up; /* as the spread was told */
};

struct kv_coordinate;
struct kv_push;
struct kv_forward;

struct bnd_kv {
    struct bnd_kv_config config;
    struct kv_hlc hlc;
    struct kv_clock clock;
    struct kv_store *store; /* NULL: a gateway; then log and spread are too */
    struct kv_log *log;
    struct kv_spread *spread;
    struct kv_coordinate *coordinate;
    struct kv_push *push;
    struct kv_forward *forward;
    struct kv_view view;
    struct bnd_timer tick;
    uint64_t ticks;
    bool sweep_due;             /* each second, and until what is collected is committed */
    struct bnd_task flush_task; /* what the pass has collected leaves with it */
    bool flush_armed;
    struct kv_upkeep upkeep;
    struct bnd_link held; /* lists asked for by others, until a commit has ended (requests.c) */
    size_t held_count;
    struct kv_peer *peers; /* [peers_count] the other nodes of the map */
    size_t peers_count;
    bool started, closing, close_begun, log_closed;
    void (*closed)(void *data);
    void *closed_data;
    struct bnd_task close_task;
    unsigned persists; /* that the spread has asked for; a close waits for them */
    struct bnd_kv_stats stats;
};

/* ---- the view
 * ------------------------------------------------------------------------------------ */

static inline uint32_t kv_shard_of(const struct bnd_kv *kv, uint64_t namespace_id,
                                   struct bnd_slice key) {
    return bnd_shard_of(BND_GROUP_KV, namespace_id, key, kv->view.shards_count);
}
enum kv_namespace_state { KV_NAMESPACE_THERE, KV_NAMESPACE_GONE, KV_NAMESPACE_UNKNOWN };
/* out may be NULL; set where it is there. */
enum kv_namespace_state kv_namespace(const struct bnd_kv *kv, uint64_t id,
                                     struct bnd_kv_namespace *out);
/* The node's entry among the shard's replicas, or NULL. */
const struct bnd_kv_replica *kv_replica(const struct bnd_kv *kv, uint32_t shard, uint64_t node);
/* The replica counts as filled: by the map, or because it has been equal with this node. */
bool kv_counts(const struct bnd_kv *kv, uint32_t shard, uint64_t node);
/* It does from now on. Returns its bit among those counted; 0: it is no replica. */
uint8_t kv_counts_set(struct bnd_kv *kv, uint32_t shard, uint64_t node);
/* view.c. out_deleted: a namespace may be gone that was not before. BND_NOMEM: the old view stays.
 */
int kv_view_copy(struct bnd_kv *kv, const struct bnd_kv_view *view, bool *out_deleted);
void kv_view_free(struct bnd_kv *kv);
/* This node answers reads of the shard and may coordinate its puts: a filled replica by the map,
 * and by its own marks. */
bool kv_serves(const struct bnd_kv *kv, uint32_t shard);
/* It leaves the shard, and still has it. */
bool kv_hands_over(const struct bnd_kv *kv, uint32_t shard);
static inline bool kv_rule(const struct bnd_kv *kv, uint32_t rule) {
    return (kv->config.rules_off & rule) == 0;
}
/* This node may stamp for the shard: its clock is within the bound, and has not jumped (which is of
 * no interest where nobody else stamps). */
bool kv_clock_fit(struct bnd_kv *kv, uint32_t shard);
static inline uint64_t kv_wall_ms(const struct bnd_kv *kv) {
    return bnd_wall_ms(kv->config.env);
}

/* ---- for the spread: into the log, at once; applied later, seen through kv_spread_changed
 * ------------ */

/* A record that came by exchange. done (may be NULL) is told what became of it; status as
 * kv_log_entry.applied. BND_FULL: later again; BND_CORRUPT: no record; BND_NOMEM. */
struct kv_take {
    uint32_t shard;
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_slice record;
    void (*done)(void *data, int status, const struct kv_applied *applied);
    void *data;
};
int kv_take(struct bnd_kv *kv, const struct kv_take *take);
int kv_take_piece(struct bnd_kv *kv, const struct kv_piece *piece,
                  void (*done)(void *data, int status, const struct kv_applied *applied),
                  void *data);
/* The shard's marks from when they are durable on: kv_store_marks shows them then, and done (may be
 * NULL) is told. wipe: the shard is dropped first. */
int kv_mark(struct bnd_kv *kv, uint32_t shard, const struct kv_marks *marks, bool wipe,
            void (*done)(void *data, int status), void *data);

void kv_fatal(struct bnd_kv *kv, int code, const char *what);
/* At the end of this pass: pushes and answers are sent. */
void kv_wake(struct bnd_kv *kv);

/* upkeep.c: a little of it, each tick in which there is something to drop; sweeps: each second. */
void kv_upkeep_tick(struct bnd_kv *kv, bool sweeps);
/* Namespaces were deleted, or may have been before the first view. */
void kv_upkeep_deleted(struct bnd_kv *kv);

#endif
