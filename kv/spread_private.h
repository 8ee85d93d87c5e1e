/* Inside the spread: spread.c makes it, holds the shards and runs slices; call.c calls a peer;
 * build.c trees, and what is collected; transfer.c records both ways; exchange.c whole trees;
 * spread_serve.c what others ask; digest.c the last seconds; move.c a replica's life;
 * horizon.c horizons.
 *
 * Bounds: KV_SPREAD_EXCHANGES exchanges that this node began and KV_SPREAD_SERVED requests that it
 * serves are under way, each within a fixed memory; a slice looks at KV_SPREAD_SLICE records, of a
 * tree at twice as many. */
#ifndef BND_KV_SPREAD_PRIVATE_H
#define BND_KV_SPREAD_PRIVATE_H

#include "base/alloc.h"
#include "base/assert.h"
#include "kv/entry.h"
#include "kv/kv_private.h"
#include "kv/recent.h"
#include "kv/rules.h"
#include "kv/spread.h"
#include "kv/spread_wire.h"
#include "kv/walk.h"

#define KV_SPREAD_EXCHANGES 8u
#define KV_SPREAD_SERVED 16u
#define KV_SPREAD_SLICE 512u
#define KV_SPREAD_LASTING_SLICE 1024u /* about a millisecond */
#define SPREAD_PEERS_MAX (BND_KV_REPLICAS_MAX + 1)
#define SPREAD_BATCH_BYTES (256u << 10) /* of records in one message */
#define SPREAD_BATCH_ITEMS 128u         /* of names and records in one message */
#define SPREAD_LIST_ITEMS 1024u         /* of versions in one message */
#define SPREAD_LIST_SCANNED 16384u      /* records looked at for one message */
#define SPREAD_QUEUED_MAX (1u << 20)    /* bytes queued to a peer: above it we wait */
#define SPREAD_CALL_NS (5000 * BND_MS)
#define SPREAD_WAIT_NS (20 * BND_MS) /* for a queue, the log or a busy peer */
#define SPREAD_TRIES 5u
#define SPREAD_TICK_NS (1000 * BND_MS)
#define SPREAD_SLICE_NS (1 * BND_MS)   /* between two slices, which take about as long */
#define SPREAD_AGAIN_NS (500 * BND_MS) /* after an exchange that failed, times its failures */
#define SPREAD_EXCHANGE_EVERY_NS (60000 * BND_MS)
#define SPREAD_SETTLING_NS (10000 * BND_MS) /* after a start: the last seconds are not known yet */
#define SPREAD_RECENT_BYTES (16u << 20)
#define SPREAD_DIGEST_OLDEST_S 8u
#define SPREAD_DIGEST_SECONDS 6u /* 8 to 3 s old */

/* ---- work in slices (spread.c)
 * ----------------------------------------------------------------------- */

/* run looks at up to `most` records, with the store not dirty. 1: again; 0: it is done, and is not
 * called again; else an error of the store: fatal. */
struct spread_job {
    struct bnd_link link;
    bool lasts; /* its turn lasts until it is done: one of these after the other, beside the rest */
    int (*run)(struct spread_job *job, size_t most);
};
void spread_job_add(struct kv_spread *spread, struct spread_job *job); /* if it is not there */
void spread_job_remove(struct spread_job *job);                        /* idempotent */

/* ---- calls with a deadline, again where one was lost (call.c)
 * ---------------------------------------- */

struct spread_call {
    /* reply is borrowed; another call may be made from inside. */
    void (*cb)(struct spread_call *call, int status, struct bnd_slice reply);
    void *data;
    uint64_t peer;
    /* private */
    struct kv_spread *spread;
    unsigned tries;
    struct bnd_buf request;
    struct bnd_rpc_call rpc;
    struct bnd_timer timer;
};
/* cb comes later, once, unless spread_call_end comes first. */
void spread_call(struct kv_spread *spread, struct spread_call *call,
                 const struct kv_spread_ask *ask);
void spread_call_end(struct kv_spread *spread, struct spread_call *call); /* frees what it holds */

/* ---- records both ways (transfer.c)
 * ------------------------------------------------------------------ */

/* What two sides must agree on before they compare. */
struct spread_scope {
    uint32_t shard, epoch;
    uint64_t refused, collected;
};

/* Fetches what is wanted, then gives what is to be given. want, give: names (kv_name_put). */
struct spread_transfer {
    struct spread_scope scope;
    uint64_t peer;
    bool fresh; /* of the last seconds: taken as pushes are */
    struct bnd_buf want, give;
    void (*cb)(struct spread_transfer *transfer, int status);
    void *data;
    /* private */
    struct kv_spread *spread;
    struct spread_call call;
    struct bnd_timer timer;
    size_t want_at, give_at;       /* what has been taken, and what is in a batch */
    struct bnd_buf batch, scratch; /* what was fetched, or is being given; one record or piece */
    struct bnd_reader fetched;     /* of the batch, what is not taken */
    uint32_t batch_count;
    struct spread_ticket *ticket;   /* what the log has of the batch */
    bool settled;                   /* ticket: no more of it comes */
    uint8_t blob[KV_BLOB_ID_BYTES]; /* of the record in hand */
    uint32_t pieces, pieces_at;     /* of it: all, and the next one to move; 0: none in hand */
};
/* peer, scope, fresh, want, give, cb are set. cb comes later, once, unless _end comes first. */
void spread_transfer_begin(struct kv_spread *spread, struct spread_transfer *transfer);
void spread_transfer_end(struct kv_spread *spread, struct spread_transfer *transfer);

/* What waits for several entries of the log, and may go before they are applied. */
struct spread_ticket {
    unsigned refs; /* entries under way, and one of the owner's until it is settled */
    int status;    /* the first that is not 0. BND_NOTFOUND: pieces are missing, it is not stored */
    void (*cb)(void *data, int status);
    void *data;
};
struct spread_ticket *spread_ticket_new(void (*cb)(void *data, int status), void *data);
/* No more entries follow. True: none is under way, and the ticket is gone; *out_status is its
 * status. False: cb comes, after which it is gone. */
bool spread_ticket_settle(struct spread_ticket *ticket, int *out_status);
/* cb does not come. settled: as above was called. NULL allowed. */
void spread_ticket_void(struct spread_ticket *ticket, bool settled);

/* A record or piece that came from a replica: into the log under the ticket, if it is wanted here
 * (newer, not dead below what is collected, of a namespace that is; fresh: not below the refused
 * horizon). 0; BND_FULL: later; BND_EPOCH: the shard is not here any more; BND_NOSPACE;
 * BND_CORRUPT, BND_NOMEM. */
int spread_take(struct kv_spread *spread, uint32_t shard, const struct kv_given *given, bool fresh,
                struct spread_ticket *ticket);
int spread_take_piece(struct kv_spread *spread, const struct kv_piece *piece,
                      struct spread_ticket *ticket);
/* Whether it is; out borrows from given. */
int spread_wants(struct kv_spread *spread, uint32_t shard, const struct kv_given *given, bool fresh,
                 struct kv_record *out, bool *out_wanted);
bool spread_gone(const struct kv_spread *spread, uint64_t namespace_id);

/* ---- shards
 * -------------------------------------------------------------------------------------- */

enum spread_role { SPREAD_NONE, SPREAD_REPLICA, SPREAD_LEAVING };

struct spread_peer {
    uint64_t node;
    struct spread_scope merged; /* of the last whole exchange; epoch 0: none */
    bool merged_filled;         /* the other side was filled then */
    uint32_t answered_epoch; /* it counts this replica as filled, from this epoch's exchange on */
    bool wanted;
    uint64_t due_ns, again_ns;
    uint64_t up_ns; /* when it came up last */
    unsigned failures;
    bool exchanging;
};

/* A tree being built, below a horizon: what is dead there is deleted. Or: everything below
 * `purge` is deleted, and no tree is built. */
struct spread_purge {
    struct bnd_kv *kv;
    struct spread_shard *shard; /* NULL: ended */
    struct bnd_state_persist request;
};
struct spread_build {
    struct spread_job job;
    struct spread_shard *shard;
    struct kv_walk walk;
    bool running;
    uint64_t purge;
    struct spread_purge *purging; /* waits to be persisted */
};

struct spread_shard {
    struct kv_spread *spread;
    uint32_t number;
    struct bnd_kv_shard map; /* epoch 0: not known */
    struct kv_tree *tree;    /* while there are marks */
    struct spread_build build;
    struct spread_peer peers[SPREAD_PEERS_MAX]; /* the other replicas, and who leaves */
    size_t peers_count;
    struct spread_ticket *marking; /* marks are being written */
    bool wiping;                   /* with all that the shard holds: nothing is taken into it */
    bool compares; /* since this node started a tree was built: it has asked for all */
};

struct spread_digest;
struct spread_served;

struct kv_spread {
    struct bnd_kv *kv;
    bool open;                   /* there is a view */
    struct spread_shard *shards; /* [shards_count] */
    uint32_t shards_count;
    uint32_t next; /* the shard whose turn it is to begin an exchange */
    struct kv_recent *recent;
    struct bnd_link jobs, lasting; /* struct spread_job */
    bool lasting_next;             /* whose turn it is */
    struct bnd_timer slice_timer, tick_timer;
    struct bnd_hook hook;
    bool slicing, slice_due;   /* the timer runs; it has, and waits for a commit */
    struct bnd_link exchanges; /* struct spread_exchange */
    size_t exchanges_count;
    struct bnd_link served; /* struct spread_served */
    size_t served_count;
    struct bnd_link digests; /* struct spread_digest */
};

static inline uint64_t spread_now_ns(const struct kv_spread *spread) {
    return bnd_now_ns(spread->kv->config.env);
}
static inline struct kv_marks spread_marks(const struct spread_shard *shard) {
    return kv_store_marks(shard->spread->kv->store, shard->number);
}
enum spread_role spread_role(const struct spread_shard *shard, uint64_t node);
/* NULL: the number is none, or nothing is known of it. */
struct spread_shard *spread_shard(struct kv_spread *spread, uint32_t number);
struct spread_peer *spread_peer(struct spread_shard *shard, uint64_t node);
/* The scope under which this replica compares now. False: it does not (no marks, sealed for
 * another epoch, no tree). */
bool spread_scope(const struct spread_shard *shard, struct spread_scope *out);
static inline bool spread_scope_eq(const struct spread_scope *a, const struct spread_scope *b) {
    return a->epoch == b->epoch && a->refused == b->refused && a->collected == b->collected;
}

/* build.c: begins what the marks ask for, if it is not under way. */
void spread_build_begin(struct spread_shard *shard, uint64_t purge);
void spread_build_end(struct spread_shard *shard); /* idempotent */

/* move.c: one step of a replica's life, whatever is next. */
void spread_step(struct spread_shard *shard);
/* The node is a replica by the map, and not filled. */
bool spread_fills(const struct spread_shard *shard, uint64_t node);
/* The one filled replica, if there is only one; else 0. */
uint64_t spread_sole_filled(const struct spread_shard *shard);
/* horizon.c */
void spread_horizon_step(struct spread_shard *shard, const struct spread_scope *scope);
/* Every other filled replica has been merged with under the present scope. */
bool spread_merged_filled(struct spread_shard *shard, const struct spread_scope *scope);
static inline bool spread_merged(const struct spread_peer *peer, const struct spread_scope *scope) {
    return spread_scope_eq(&peer->merged, scope);
}
void spread_mark(struct spread_shard *shard, const struct kv_marks *marks, bool wipe);
/* Still to be compared with, as soon as it can be. */
void spread_want(struct spread_peer *peer);

/* exchange.c */
void spread_exchanges_run(struct kv_spread *spread); /* begins what is wanted and due */
void spread_exchanges_end(struct kv_spread *spread);
/* digest.c */
void spread_digests_run(struct kv_spread *spread); /* each second */
void spread_digests_end(struct kv_spread *spread);
void spread_digest_serve(struct kv_spread *spread, const struct kv_spread_ask *ask, uint64_t from,
                         struct bnd_buf *out);
/* spread_serve.c */
void spread_served_end(struct kv_spread *spread);
/* The shard's marks are applied, or (status) never will be. */
void spread_served_marked(struct kv_spread *spread, uint32_t shard, int status);
#endif
