/* The node's KV log: one group of the journal that no Raft runs (ADR 0090, "Journal"; SPEC.md,
 * "KV"). What is to be stored is appended, and applied to the store once it is durable, in order,
 * one commit for all that became durable together; then whoever appended it is told.
 *
 * What it promises:
 *  1. An entry told as applied is found again after any crash: in the state, or above the state's
 *     index in the journal.
 *  2. Nothing is applied before it is durable, so the state never knows what the journal forgot.
 *  3. The journal keeps at most log_bytes_max of entries, and the queue of what is not applied yet
 *     is bounded: beyond, BND_FULL.
 * One loop owns it. An error of journal or state is final: `fatal`, and nothing is told any more.
 */
#ifndef BND_KV_LOG_H
#define BND_KV_LOG_H

#include "base/env.h"
#include "engine/journal/journal.h"
#include "kv/hlc.h"
#include "kv/store.h"

struct kv_log;

enum kv_log_kind { KV_LOG_RECORD = 1, KV_LOG_PIECE = 2, KV_LOG_MARKS = 3 };

/* One entry: made by kv_log_entry_*, shared by counting. Everything borrows from its own bytes. */
struct kv_log_entry {
    /* Set between making and append, by who makes it. status 0: applied and durable; result says
     * how (of PIECE: WON or LACKS). BND_CANCELED: the log closes. Called at most once, later. May
     * be NULL. */
    void (*applied)(struct kv_log_entry *entry, int status);
    void *data;
    uint64_t peer, seq; /* the maker's own */
    bool hot;           /* RECORD: kv_apply.hot */
    struct kv_applied result;
    /* as made */
    enum kv_log_kind kind;
    uint32_t shard;
    uint64_t namespace_id;
    struct bnd_slice key;
    struct bnd_slice body; /* RECORD: encoded record; PIECE: the piece */
    struct kv_marks marks;
    bool wipe;
    const uint8_t *blob;
    uint32_t number;
    /* private */
    struct bnd_link link;
    unsigned refs;
    uint64_t lsn, index;
    size_t len;
    uint8_t bytes[];
};

/* Each is owned by the caller (one count), or NULL: no memory. */
struct kv_log_entry *kv_log_entry_record(uint32_t shard, uint64_t namespace_id,
                                         struct bnd_slice key, const struct kv_record *record);
/* record: encoded, and sound. */
struct kv_log_entry *kv_log_entry_encoded(uint32_t shard, uint64_t namespace_id,
                                          struct bnd_slice key, struct bnd_slice record);
struct kv_log_entry *kv_log_entry_piece(const struct kv_piece *piece);
struct kv_log_entry *kv_log_entry_marks(uint32_t shard, const struct kv_marks *marks, bool wipe);
struct kv_log_entry *kv_log_entry_ref(struct kv_log_entry *entry);
void kv_log_entry_unref(struct kv_log_entry *entry); /* NULL allowed */
/* An entry from its bytes (recovery, inspection). BND_CORRUPT, BND_NOMEM. */
int kv_log_entry_decode(struct bnd_slice bytes, struct kv_log_entry **out);

struct kv_log_config {
    struct bnd_env *env;
    struct bnd_state *state;
    struct kv_store *store;
    struct kv_hlc *hlc;
    uint64_t self;
    size_t log_bytes_max; /* 0: 256 MiB */
    size_t commit_bytes;  /* 0: 2 MiB: a thread writes what is collected into the state beyond */
    size_t small_bytes;   /* 0: BND_KV_SMALL_BYTES: what the loop writes at once */
    size_t persist_bytes; /* 0: 32 MiB: a persist is asked for beyond */
    uint64_t persist_ns;  /* 0: 60 s: likewise, when anything was applied since */
    void *owner;
    void (*fatal)(void *owner, const struct bnd_error *why);
    /* A commit that kv_log_commit could not wait for has ended; may be NULL. */
    void (*committed)(void *owner);
};
int kv_log_create(const struct kv_log_config *config, struct kv_log **out);
/* Applies what the state lacks. BND_CORRUPT: journal and state do not fit together; errors of the
 * store. */
int kv_log_recover(struct kv_log *log, const struct bnd_journal_group *group,
                   struct bnd_error *err);
/* From here on it appends. */
int kv_log_start(struct kv_log *log, struct bnd_journal *journal, struct bnd_error *err);

/* Counts the entry once more until it was applied. BND_FULL: a bound is met; other errors of
 * bnd_journal_append. `applied` never comes then. */
int kv_log_append(struct kv_log *log, struct kv_log_entry *entry);
void kv_log_durable(struct kv_log *log, uint64_t lsn);
/* Commits what the store has collected: entries, and what was forgotten, swept, dropped beside
 * them; for scans, which see only what is committed. False: not now, a thread is at a commit or
 * begins one now (`committed` tells its end), the state asks to wait, or the log is not open. */
bool kv_log_commit(struct kv_log *log);
/* For a user's list: others are expected, and batches kept small for a while. */
bool kv_log_commit_for_list(struct kv_log *log);
/* Each 50 ms or so: begins a commit that is due by time, ends one that no thread has come to. */
void kv_log_pace(struct kv_log *log);
/* It has begun, and will end. */
bool kv_log_committing(const struct kv_log *log);

/* `closed` comes once, later: entries under way are told BND_CANCELED, a persist under way ends. */
void kv_log_close(struct kv_log *log, void (*closed)(void *data), void *data);
/* Frees one that was never started, or is closed. NULL allowed. */
void kv_log_destroy(struct kv_log *log);

size_t kv_log_bytes(const struct kv_log *log); /* of entries that the journal keeps */

#endif
