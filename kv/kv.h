/* KV: last-writer-wins records on the replicas of each shard (architecture 10; ADR 0090).
 *
 * Promises:
 *  1. A put or delete answered 0 with durability BND_KV_REPLICATED is durable on two replicas (on
 *     one, where the shard has only one) and wins over every write answered before it began.
 *  2. Replicas that can talk become equal: within seconds, at the latest by the exchange of a
 * minute.
 *  3. What was deleted, has expired or was superseded never comes back.
 *  4. Through one node a client reads its own writes.
 *  5. A value is served whole and unchanged, or an error.
 *
 * One per process, on one loop. A gateway has one without a store. All callbacks come on the loop,
 * later, exactly once for every call that returned 0. */
#ifndef BND_KV_KV_H
#define BND_KV_KV_H

#include "base/env.h"
#include "engine/journal/journal.h"
#include "engine/state.h"
#include "net/mesh.h"
#include "net/rpc.h"
#include "placement/kv_map.h"

#define BND_KV_KEY_MAX 512u
#define BND_KV_METADATA_MAX 1024u
#define BND_KV_VALUE_MAX (25u << 20)
#define BND_KV_LIST_MAX 1000u
#define BND_KV_INLINE_MAX (256u << 10) /* larger values travel in pieces of this size */

struct bnd_kv;

struct bnd_kv_version {
    uint64_t hlc; /* wall-clock ms << 16 | counter; 0: no version */
    uint64_t writer;
};

/* ---- what it is told
 * ------------------------------------------------------------------------------ */

/* A namespace as group 0 has it. Ids are never reused. */
struct bnd_kv_namespace {
    uint64_t id;
    bool local; /* a minority may write; see ADR 0090 for what can be lost */
};

/* Borrowed for the call. */
struct bnd_kv_view {
    uint64_t revision;
    const struct bnd_kv_shard *shards;         /* [shards_count] */
    uint32_t shards_count;                     /* a power of two */
    const struct bnd_kv_namespace *namespaces; /* sorted by id */
    size_t namespaces_count;
    uint64_t namespace_next; /* every id below it that is not listed is deleted */
};

/* What a replica tells group 0. Sent again until the map shows it; the outcome does not matter. */
enum bnd_kv_tell_kind {
    BND_KV_TELL_FILLED,
    BND_KV_TELL_LEFT,
    BND_KV_TELL_CONFIRM,
    BND_KV_TELL_UNFILLED /* the map says filled, and the data is not here: the state was made anew
                          */
};
struct bnd_kv_tell {
    enum bnd_kv_tell_kind kind;
    uint32_t shard, epoch; /* of the map under which it came true */
    uint64_t horizon;      /* CONFIRM; FILLED: the collected one it was reached under */
    /* CONFIRM: who it has been equal with since both refuse what is below the horizon: every other
     * filled replica of the map. */
    uint64_t equal[BND_KV_REPLICAS_MAX];
    size_t equal_count;
};

#define BND_KV_SMALL_BYTES ((size_t)128 << 10) /* 1 to 3 ms */

struct bnd_kv_config {
    struct bnd_env *env; /* all borrowed for its life */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state; /* NULL: no store (a gateway) */
    uint64_t self;
    size_t cache_bytes; /* of records in memory; 0: 32 MiB */
    size_t small_bytes; /* what the loop writes into the state at once; 0: BND_KV_SMALL_BYTES */
    uint32_t rules_off; /* bits of rules that the simulator switches off one by one */
    void *owner;
    void (*tell)(void *owner, const struct bnd_kv_tell *tell); /* fire and forget */
    bool (*view_fresh)(void *owner);  /* group 0 has answered within BND_CATALOG_STALE_MS */
    bool (*clock_fit)(void *owner);   /* this node's clock is within its bound */
    bool (*has_room)(void *owner);    /* admission: the disk has its reserve */
    void (*view_wanted)(void *owner); /* somebody has a newer map: ask group 0 now */
    void (*fatal)(void *owner, const struct bnd_error *why); /* stop the process (75) */
};

int bnd_kv_create(const struct bnd_kv_config *config, struct bnd_kv **out, struct bnd_error *err);

/* Before bnd_kv_start: the recovered journal group of BND_GID_KV_LOG, if there is one. Applies what
 * the state lacks. */
int bnd_kv_recover(struct bnd_kv *kv, const struct bnd_journal_group *group, struct bnd_error *err);
/* From here on it answers peers. journal: NULL without a store. durable() is to be told below. */
int bnd_kv_start(struct bnd_kv *kv, struct bnd_journal *journal, struct bnd_error *err);
/* All journal records up to lsn are durable. */
void bnd_kv_durable(struct bnd_kv *kv, uint64_t lsn);

/* The newest view; the first one opens it for clients. BND_NOMEM: the old one stays. */
int bnd_kv_view_set(struct bnd_kv *kv, const struct bnd_kv_view *view);

/* Answers everything under way with BND_CANCELED; `closed` comes last. */
void bnd_kv_close(struct bnd_kv *kv, void (*closed)(void *data), void *data);

/* ---- reads
 * ---------------------------------------------------------------------------------------- */

struct bnd_kv_item {
    struct bnd_kv_version version;
    uint64_t expires_ms; /* wall clock; 0: never */
    struct bnd_slice metadata;
    uint64_t size;          /* of the value */
    struct bnd_slice value; /* whole when size <= BND_KV_INLINE_MAX, else empty: read pieces */
};

struct bnd_kv_get {
    /* Set by the caller; borrowed until cb. */
    uint64_t namespace_id;
    struct bnd_slice key;
    bool newest;          /* the newest among all live replicas, not any replica's */
    uint32_t cache_ttl_s; /* 0: 60; only where the answer came from another node */
    void (*cb)(struct bnd_kv_get *get, int status, const struct bnd_kv_item *item);
    void *data;
};
/* status 0: item, borrowed until the callback returns; BND_NOTFOUND: there is none (or it is
 * deleted, or expired); BND_UNAVAILABLE: no filled replica can be reached; BND_CORRUPT, BND_IO.
 * When the answer is in memory or state cb is called *before* this returns BND_KV_NOW; 0: later.
 * Other codes: cb never comes. */
#define BND_KV_NOW 1
int bnd_kv_get(struct bnd_kv *kv, struct bnd_kv_get *get);

/* A large value, piece after piece in order; status 0 with an empty piece: the end, with all of its
 * size told. BND_NOTFOUND: it was superseded meanwhile, and no replica has the rest any more. One
 * piece at a time; the struct may be abandoned between pieces. */
struct bnd_kv_read {
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_kv_version version; /* of the item that was got */
    uint64_t size;                 /* likewise */
    uint64_t offset;               /* 0 at first; moved on by each piece */
    void (*cb)(struct bnd_kv_read *read, int status, struct bnd_slice piece);
    void *data;
    uint8_t blob[16]; /* private, zero at first */
};
int bnd_kv_read(struct bnd_kv *kv, struct bnd_kv_read *read);

struct bnd_kv_list_entry {
    struct bnd_slice key;
    uint64_t expires_ms;
    struct bnd_slice metadata;
};
struct bnd_kv_list {
    uint64_t namespace_id;
    struct bnd_slice prefix, after; /* after: keys above this one; empty: from the first */
    uint32_t limit;                 /* 1 .. BND_KV_LIST_MAX */
    /* In UTF-8 byte order. complete: there is none after the last. entries may be empty while it is
     * not; then `last` is where to go on after. */
    void (*cb)(struct bnd_kv_list *list, int status, const struct bnd_kv_list_entry *entries,
               size_t count, bool complete, struct bnd_slice last);
    void *data;
};
int bnd_kv_list(struct bnd_kv *kv, struct bnd_kv_list *list);

/* ---- writes
 * --------------------------------------------------------------------------------------- */

enum bnd_kv_durability { BND_KV_REPLICATED, BND_KV_LOCAL };

struct bnd_kv_put {
    uint64_t namespace_id;
    struct bnd_slice key; /* borrowed until cb, as what follows */
    struct bnd_slice metadata;
    struct bnd_slice value;         /* <= BND_KV_INLINE_MAX; or blob is set */
    const struct bnd_kv_blob *blob; /* a large value, whole */
    uint64_t expires_ms;
    bool tombstone; /* a delete */
    /* 0; BND_UNAVAILABLE, BND_NOSPACE, BND_FULL: it is not stored; BND_NOTFOUND: no such namespace;
     * BND_UNKNOWN: too few replicas have answered, it may or may not be stored. */
    void (*cb)(struct bnd_kv_put *put, int status, enum bnd_kv_durability durability,
               struct bnd_kv_version version);
    void *data;
};
int bnd_kv_put(struct bnd_kv *kv, struct bnd_kv_put *put);

/* A value above BND_KV_INLINE_MAX on its way in: made durable piece by piece on the shard's
 * replicas, and named by a put afterwards. */
int bnd_kv_blob_begin(struct bnd_kv *kv, uint64_t namespace_id, struct bnd_slice key,
                      struct bnd_kv_blob **out);
/* piece: exactly BND_KV_INLINE_MAX bytes but for the last; borrowed until cb. One at a time. */
int bnd_kv_blob_piece(struct bnd_kv_blob *blob, struct bnd_slice piece,
                      void (*cb)(void *data, int status), void *data);
/* Frees it; pieces that no put names are swept. Also while a piece is under way: its cb does not
 * come. */
void bnd_kv_blob_free(struct bnd_kv_blob *blob);

/* ---- for people
 * ----------------------------------------------------------------------------------- */

struct bnd_kv_stats {
    uint64_t gets, gets_cached, gets_forwarded, puts, puts_local, puts_refused, restamped;
    uint64_t pushes_sent, pushes_received, digests_differing, exchanges, records_sent,
        records_taken;
    uint64_t tombstones_collected, wiped_shards, log_bytes, cache_bytes, records_cached;
    uint32_t shards_held, shards_filled, shards_building; /* trees being built */
};
void bnd_kv_stats(const struct bnd_kv *kv, struct bnd_kv_stats *out);

#endif
