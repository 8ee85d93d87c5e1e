/* The records of the shards that a node holds: column family KV of the state, and the cache in
 * front of it (ADR 0090; SPEC.md, "KV").
 *
 * What it promises:
 *  1. Of two versions of a key the higher one stands, in whichever order they come (apply).
 *  2. What a read gives is what the last change left, whether it is in memory, in the batch that is
 *     being collected, or written.
 *  3. Changes of one commit become visible to scans, and durable, together with its log index.
 *
 * Changes are collected in one batch, in the order of the calls; kv_store_commit writes it. The
 * hook `changed` is called for each change, from inside the call that makes it. One loop owns it.
 * Errors: BND_CORRUPT, BND_IO, BND_NOMEM; after one of them the node must stop: what was collected
 * cannot be told from what was not. */
#ifndef BND_KV_STORE_H
#define BND_KV_STORE_H

#include "engine/state.h"
#include "kv/cache.h"
#include "kv/keys.h"
#include "kv/record.h"

struct kv_store;

/* What a replica knows of its own copy of a shard. */
struct kv_marks {
    bool there;  /* false: it never held the shard, or has dropped it */
    bool filled; /* it has been equal with a replica that was, under this epoch or before */
    /* Of the replicas of this epoch's map that are not filled there: bit i, replica i has been
     * equal with this one, and counts as filled. */
    uint8_t counted;
    uint32_t epoch;     /* of the map: it has sealed itself against older ones */
    uint64_t refused;   /* new versions below it are refused; 0: none */
    uint64_t collected; /* the horizon below which what is dead may be gone */
};

/* A key's record before and after; hlc 0: none. Borrowed for the call. */
struct kv_change {
    uint32_t shard;
    uint64_t namespace_id;
    struct bnd_slice key;
    struct kv_seen was, is;
};

struct kv_store_config {
    struct bnd_state *state; /* borrowed */
    size_t cache_bytes;
    void *owner;
    void (*changed)(void *owner, const struct kv_change *change);
    /* All records of the shard are gone, without a `changed` for each. */
    void (*wiped)(void *owner, uint32_t shard);
};

/* Loads what was written with the last commit. BND_CORRUPT, BND_VERSION, BND_IO, BND_NOMEM. */
int kv_store_create(const struct kv_store_config *config, struct kv_store **out,
                    struct bnd_error *err);
/* No scan may be open, no entry of the cache pinned. NULL allowed. What was not committed is lost.
 */
void kv_store_destroy(struct kv_store *store);

/* Of the last commit; 0: there was none. */
uint64_t kv_store_applied(const struct kv_store *store);
uint64_t kv_store_hlc(const struct kv_store *store);
/* The index that a crash now would leave. Blocking. */
int kv_store_applied_persisted(struct kv_store *store, uint64_t *out);
/* The state was lost while the node had the log of what was in it: shards without marks have
 * nothing, whatever the map says. */
bool kv_store_lost(const struct kv_store *store);

/* ---- changes
 * ------------------------------------------------------------------------------------- */

enum kv_outcome {
    KV_WON,   /* stored */
    KV_EQUAL, /* this very version was there */
    KV_LOST,  /* a newer one stands */
    KV_LACKS, /* not stored: pieces of its value are missing */
};
struct kv_applied {
    enum kv_outcome outcome;
    struct kv_seen stands; /* the key's record now */
};
struct kv_apply {
    uint32_t shard;
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_slice record; /* encoded; BND_CORRUPT if it is none */
    bool hot;                /* likely to be read soon: goes into the cache */
    uint64_t now_ms;         /* wall clock: a superseded blob stays for its readers */
};
int kv_store_apply(struct kv_store *store, const struct kv_apply *apply, struct kv_applied *out);

struct kv_piece {
    uint32_t shard;
    uint64_t namespace_id;
    struct bnd_slice key;
    const uint8_t *blob;    /* [KV_BLOB_ID_BYTES] */
    uint32_t number;        /* from 0 */
    struct bnd_slice bytes; /* <= BND_KV_INLINE_MAX */
};
/* Pieces come in order; one again is stored again. *out_lacks: one before it is missing, nothing
 * was stored. now_ms: wall clock; for an hour after the last one they wait for a record to name
 * them.
 */
int kv_store_piece_put(struct kv_store *store, const struct kv_piece *piece, uint64_t now_ms,
                       bool *out_lacks);
/* How many pieces of a blob are here, from the first on. */
int kv_store_pieces(struct kv_store *store, uint32_t shard, const uint8_t *blob, uint32_t *out);
/* Into *out. BND_NOTFOUND. */
int kv_store_piece_get(struct kv_store *store, uint32_t shard, const uint8_t *blob, uint32_t number,
                       struct bnd_buf *out);

/* Deletes the record of this very version, or nothing; for what is dead below the collected
 * horizon, and for what is read no more. Needs no log: what a crash brings back is deleted again.
 */
int kv_store_forget(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                    struct bnd_slice key, struct bnd_kv_version version, uint64_t now_ms);
/* Forgets up to `most` records of a namespace in a shard, going on after *cursor (zeroed at first).
 * *out_more: there are more. */
int kv_store_namespace_drop(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                            size_t most, uint64_t now_ms, struct kv_key *cursor, bool *out_more);
/* The first namespace id in a shard that is >= from; 0: none. To find what belongs to no namespace
 * any more. */
int kv_store_namespace_next(struct kv_store *store, uint32_t shard, uint64_t from, uint64_t *out);
/* Deletes the pieces, about `most`, of blobs that no record names: superseded 10 minutes ago, or
 * not named an hour after the last piece came. */
int kv_store_sweep(struct kv_store *store, uint32_t shard, uint64_t now_ms, size_t most);

struct kv_marks kv_store_marks(const struct kv_store *store, uint32_t shard);
/* The marks to be, from this commit on. wipe: first the whole shard is dropped. Marks that are not
 * `there` go. Through the log: see kv/log.h. */
int kv_store_marks_set(struct kv_store *store, uint32_t shard, const struct kv_marks *marks,
                       bool wipe);
/* The log is applied again from here on, with a commit now and then; until kv_store_recovered
 * nobody is served, and what would be BND_BUSY waits. lost: the state was, and marks of the log are
 * not believed; which a crash meanwhile does not make it forget. */
void kv_store_recovering(struct kv_store *store, bool lost);
/* All of the log that the state lacked was applied again: commits it. Shards whose marks a damaged
 * file took are not filled, whatever the log says: unless it has dropped them since. */
int kv_store_recovered(struct kv_store *store, uint64_t applied, uint64_t hlc);

/* Writes what was collected, together with the index of the last log entry applied and the clock.
 * BND_BUSY: the state asks to wait; nothing was written, call again later. */
int kv_store_commit(struct kv_store *store, uint64_t applied, uint64_t hlc);
/* The same in three steps, of which the second may run on another thread, while this one collects
 * and reads on: what is collected so far is being written from begin on; run does that, and is
 * repeated while it answers BND_BUSY; end, after run has answered 0. Nothing else is committed, and
 * no shard wiped, between begin and end. False: there is nothing to write. */
bool kv_store_commit_begin(struct kv_store *store, uint64_t applied, uint64_t hlc);
int kv_store_commit_run(struct kv_store *store);
void kv_store_commit_end(struct kv_store *store);
/* Something is collected that no commit has written. */
bool kv_store_dirty(const struct kv_store *store);
/* About how many bytes, without what is being written. */
size_t kv_store_collected(const struct kv_store *store);

/* ---- reads
 * --------------------------------------------------------------------------------------- */

/* In memory, or NULL. See kv/cache.h. */
struct kv_cached *kv_store_cached(struct kv_store *store, uint64_t namespace_id,
                                  struct bnd_slice key);
/* Whole, whether in memory or not; out borrows from *bytes. Puts it into the cache. BND_NOTFOUND:
 * there is no record at all (a tombstone is one). */
int kv_store_get(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                 struct bnd_slice key, struct bnd_buf *bytes, struct kv_record *out);
/* As kv_store_get, encoded as it was applied, and the cache is left alone: for other nodes. */
int kv_store_get_encoded(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                         struct bnd_slice key, struct bnd_buf *out);
/* Without value. hlc 0: none. */
int kv_store_seen(struct kv_store *store, uint32_t shard, uint64_t namespace_id,
                  struct bnd_slice key, struct kv_seen *out);

/* The records of a shard as of the last commit, in order of (namespace, key). Zero it first; it
 * must not move while it is open. Nothing of what is being collected is seen. */
struct kv_scan {
    struct kv_store *store; /* private */
    struct bnd_state_iter *iter;
    struct kv_key from, to;
    bool begun;
};
struct kv_scanned {
    uint64_t namespace_id;
    struct bnd_slice key;    /* until the next kv_scan_next */
    struct kv_record record; /* its value only where it is small (not SPLIT) */
};
/* namespace_id 0: all; else those of it whose keys begin with prefix and are above after. */
struct kv_scan_range {
    uint32_t shard;
    uint64_t namespace_id;
    struct bnd_slice prefix, after;
};
/* BND_NOMEM. */
int kv_scan_open(struct kv_scan *scan, struct kv_store *store, const struct kv_scan_range *range);
/* BND_NOTFOUND: the end. */
int kv_scan_next(struct kv_scan *scan, struct kv_scanned *out);
void kv_scan_close(struct kv_scan *scan); /* also of a zeroed one */

/* A page of a list over the shards that are here, in key order. */
struct kv_list_query {
    const uint32_t *shards; /* [shards_count] */
    size_t shards_count;
    uint64_t namespace_id;
    struct bnd_slice prefix, after;
    uint32_t limit;
    uint32_t scan_max; /* records looked at, absent ones included */
    uint64_t now_ms;
};
struct kv_page {
    struct bnd_buf entries; /* of kv_page_entry, encoded (SPEC.md, "KV") */
    size_t count;
    bool complete;                /* there is none after the last */
    uint8_t last[BND_KV_KEY_MAX]; /* else: where to go on after */
    size_t last_len;
};
/* out: zeroed; kv_page_free frees what is in it. */
int kv_store_list(struct kv_store *store, const struct kv_list_query *query, struct kv_page *out);
void kv_page_free(struct kv_page *page);
void kv_page_entry_encode(struct bnd_buf *out, const struct bnd_kv_list_entry *entry);
/* Fails the reader for what is none. */
struct bnd_kv_list_entry kv_page_entry_read(struct bnd_reader *r);

struct kv_store_stats {
    size_t cache_bytes, records_cached;
};
void kv_store_stats(const struct kv_store *store, struct kv_store_stats *out);

#endif
