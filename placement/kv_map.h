/* The map of one KV shard: who holds it, who leaves it, and below which version tombstones are
 * gone (ADR 0090). State of group 0; everything here is pure: the transitions are made by the
 * catalog's state machine, and by nobody else.
 *
 * Every transition names the epoch it was decided under. BND_EPOCH: another came first, look
 * again. */
#ifndef BND_PLACEMENT_KV_MAP_H
#define BND_PLACEMENT_KV_MAP_H

#include "base/bytes.h"
#include "base/error.h"
#include "placement/rendezvous.h"

/* Never more, whatever the cluster's `replicas`: two of three always meet two of three. */
#define BND_KV_REPLICAS_MAX 3

struct bnd_kv_replica {
    uint64_t node;
    bool filled;        /* it counts for acknowledgements, serves and coordinates */
    uint64_t confirmed; /* the horizon it has confirmed last */
};

struct bnd_kv_shard {
    uint32_t epoch; /* 0: the shard has no replicas yet */
    struct bnd_kv_replica replicas[BND_KV_REPLICAS_MAX]; /* sorted by node */
    size_t replicas_count;
    uint64_t leaving;   /* the node that hands its data over; 0: none, a move may begin */
    uint64_t horizon;   /* proposed: new versions below it are refused */
    uint64_t collected; /* confirmed by all that count: what is dead below it may be deleted */
};

/* The first replicas of a shard (epoch 0 -> 1), all filled: nothing has been written. */
int bnd_kv_shard_init(struct bnd_kv_shard *shard, const uint64_t *nodes, size_t count);

/* One step of a move: `joins` (0: nobody) becomes a replica that fills, `leaves` (0: nobody) becomes the
 * leaving one; epoch + 1. BND_BUSY: a node is leaving, or a replica is not filled: the move before
 * is not over. BND_INVALID: joins is a replica, leaves is none, too many, or nobody would be left
 * that is filled. */
int bnd_kv_shard_move(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t joins, uint64_t leaves);

/* The replica has been equal with the sealed leaver, or with every other filled one (ADR 0090, Moves). */
int bnd_kv_shard_filled(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node);

/* The leaving node is equal with every replica, or will never come back. */
int bnd_kv_shard_left(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node);

/* Proposes a horizon above the present one. BND_BUSY: the present one is not collected. */
int bnd_kv_shard_propose(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t horizon);

/* The replica has been equal with all others that are up since it refuses what is below horizon. Once
 * all replicas have confirmed, or are in absent[] (down for longer than they are waited for), the
 * horizon is collected. */
int bnd_kv_shard_confirm(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node,
                         uint64_t horizon, const uint64_t *absent, size_t absent_count);

void bnd_kv_shard_encode(struct bnd_buf *out, const struct bnd_kv_shard *shard);
/* BND_CORRUPT for bytes that are not exactly one shard. */
int bnd_kv_shard_decode(struct bnd_slice bytes, struct bnd_kv_shard *out);

enum bnd_kv_step_kind {
    BND_KV_STEP_NONE,
    BND_KV_STEP_INIT,
    BND_KV_STEP_MOVE,
    BND_KV_STEP_LEFT,
    BND_KV_STEP_PROPOSE
};
struct bnd_kv_step {
    enum bnd_kv_step_kind kind;
    uint64_t joins, leaves; /* MOVE; LEFT: leaves */
    uint64_t horizon;       /* PROPOSE */
};
struct bnd_kv_plan {
    const uint64_t *wanted; /* the replicas there should be (bnd_place_group), best first */
    size_t wanted_count;
    bool (*gone)(void *data, uint64_t node); /* for ever: it will not hand anything over */
    void *data;
    uint64_t now_ms, horizon_age_ms, horizon_every_ms; /* propose now - age, when the last is older by every */
};
/* The next command for a shard, or NONE. Deterministic. */
struct bnd_kv_step bnd_kv_plan_step(const struct bnd_kv_shard *shard, const struct bnd_kv_plan *plan);

#endif
