/* The map of one KV shard: who holds it, who leaves it, and below which version tombstones are
 * gone (ADR 0090). State of group 0; everything here is pure: the transitions are made by the
 * catalog's state machine, and by nobody else.
 *
 * Invariants: 1. a shard has a filled replica; 2. no node is both a replica and leaving; 3. the
 * epoch rises by one whenever somebody becomes a replica, ceases to be one, or counts as filled no
 * more: whoever acts under an older one is out of date; 4. collected <= horizon, and a filled
 * replica has confirmed what is collected; 5. nothing is collected during a handover.
 *
 * Every transition names the epoch it was decided under. BND_EPOCH: another came first, look
 * again. BND_NOTFOUND: the node is none of the shard's. One that has been made already is 0 again,
 * and changes nothing. What is refused changes nothing. */
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
    uint64_t confirmed; /* the horizon it has confirmed last, or that it was filled above */
};

/* Horizons are versions' HLC: wall-clock ms << 16. */
struct bnd_kv_shard {
    uint32_t epoch;                                      /* 0: the shard has no replicas yet */
    struct bnd_kv_replica replicas[BND_KV_REPLICAS_MAX]; /* sorted by node */
    size_t replicas_count;
    uint64_t leaving;   /* the node that hands its data over; 0: none, a move may begin */
    uint64_t horizon;   /* proposed: new versions below it are refused */
    uint64_t collected; /* confirmed by all that count: what is dead below it may be deleted */
};

/* The replica's place in replicas[], or replicas_count. */
size_t bnd_kv_shard_find(const struct bnd_kv_shard *shard, uint64_t node);

/* The first replicas of a shard (epoch 0 -> 1), all filled: nothing has been written. BND_EPOCH: it
 * has some. BND_INVALID: none, too many, 0, or one twice. */
int bnd_kv_shard_init(struct bnd_kv_shard *shard, const uint64_t *nodes, size_t count);

/* One step of a move: `joins` (0: nobody) becomes a replica that fills, `leaves` (0: nobody)
 * becomes the leaving one; epoch + 1. BND_BUSY: a node is leaving, or a replica is not filled (but
 * one that is not filled may always leave): the move before is not over. BND_INVALID: joins is a
 * replica, leaves is none, too many, or nobody would be left that is filled. */
int bnd_kv_shard_move(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t joins, uint64_t leaves);

/* The replica has been equal with the sealed leaver, or with every other filled one (ADR 0090,
 * Moves), and holds nothing below `collected` that it had before that was collected. BND_EPOCH
 * also: another horizon has been collected since. */
int bnd_kv_shard_filled(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node,
                        uint64_t collected);

/* The replica counts as filled no more: it has lost its data, or has been away for longer than
 * horizons wait for it. Epoch + 1. Before it is filled again it drops what it holds below
 * `collected`, if its own is older. BND_INVALID: nobody else is filled. */
int bnd_kv_shard_unfilled(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node);

/* The leaving node is equal with every replica, or will never come back. */
int bnd_kv_shard_left(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t node);

/* Proposes a horizon. BND_BUSY: the present one is not collected, or a node is leaving.
 * BND_INVALID: it is not above the present one. */
int bnd_kv_shard_propose(struct bnd_kv_shard *shard, uint32_t epoch, uint64_t horizon);

/* A filled replica refuses what is new below the horizon, and has since been equal with each of
 * equal[] while that one refused it too. Among them must be every other filled replica, so that any
 * two have been compared by whichever confirms later; BND_EPOCH: one is missing, or it is another
 * horizon; BND_BUSY: it is not filled. Once all that are filled have confirmed, and nobody is
 * leaving, the horizon is collected. */
struct bnd_kv_confirmation {
    uint64_t node;
    uint64_t horizon;
    const uint64_t *equal; /* borrowed */
    size_t equal_count;
};
int bnd_kv_shard_confirm(struct bnd_kv_shard *shard, uint32_t epoch,
                         const struct bnd_kv_confirmation *confirmation);

/* All other nodes that store are lost for ever (ADR 0085): the survivor is the shard's one replica,
 * filled with whatever it has. Epoch + gap: above what the lost ones can have reached. */
void bnd_kv_shard_recover(struct bnd_kv_shard *shard, uint64_t survivor, uint32_t gap);

void bnd_kv_shard_encode(struct bnd_buf *out, const struct bnd_kv_shard *shard);
/* BND_CORRUPT for bytes that are not exactly one shard with replicas that keeps the invariants. */
int bnd_kv_shard_decode(struct bnd_slice bytes, struct bnd_kv_shard *out);

/* ---- what to do next
 * ---------------------------------------------------------------------------------- */

enum bnd_kv_step_kind {
    BND_KV_STEP_NONE,
    BND_KV_STEP_INIT,
    BND_KV_STEP_MOVE,
    BND_KV_STEP_LEFT,
    BND_KV_STEP_UNFILLED,
    BND_KV_STEP_PROPOSE
};
struct bnd_kv_step {
    enum bnd_kv_step_kind kind;
    uint64_t nodes[BND_KV_REPLICAS_MAX]; /* INIT */
    size_t nodes_count;
    uint64_t joins, leaves; /* MOVE; LEFT, UNFILLED: leaves */
    uint64_t horizon;       /* PROPOSE */
};

/* What the planner knows of a node. */
enum bnd_kv_node {
    BND_KV_NODE_UP,
    BND_KV_NODE_DOWN,   /* not heard of; it is waited for */
    BND_KV_NODE_ABSENT, /* for so long that horizons do not wait for it any more */
    BND_KV_NODE_GONE    /* for ever: it will not hand anything over */
};
struct bnd_kv_plan {
    const uint64_t *wanted; /* the replicas there should be (bnd_place_group), best first; at most
                               BND_KV_REPLICAS_MAX */
    size_t wanted_count;
    enum bnd_kv_node (*node)(void *data, uint64_t node);
    void *data;
    /* A horizon of now - age is proposed when that is above the last one by `every`. */
    uint64_t now_ms, horizon_age_ms, horizon_every_ms;
};
/* "move", ... */
const char *bnd_kv_step_text(enum bnd_kv_step_kind kind);

/* The next command for a shard, or NONE. Deterministic; a step it returns is never refused. A node
 * that is not up does not become a replica, but for the first ones. */
struct bnd_kv_step bnd_kv_plan_step(const struct bnd_kv_shard *shard,
                                    const struct bnd_kv_plan *plan);

#endif
