/* The request id table of one group in memory (internal to dedupe.c): every record that the state
 * holds, so that deciding about an operation reads nothing from the store. Loaded at open and after
 * an install; changed only together with the batch that changes the state.
 *
 * A record is young, and then stored with the group's tuple, or has a key of its own in the state;
 * this table only keeps the young ones in order.
 *
 * Bounded by the cluster's bound on records (dedupe.h). Not thread-safe. */
#ifndef BND_RAFT_DEDUPE_TABLE_H
#define BND_RAFT_DEDUPE_TABLE_H

#include "base/bytes.h"
#include "base/queue.h"

struct dedupe_minter;

/* An outcome, or (seq 0) the minter's mark. */
struct dedupe_record {
    struct dedupe_minter *minter;
    struct bnd_link link;       /* an outcome: in minter.outcomes */
    struct bnd_link young_link; /* in table.young, or in no list: stored under its own key */
    uint64_t seq;
    uint64_t deadline_ms; /* of a mark: the latest among the outcomes it stands for */
    size_t place;         /* in the heap */
    int status;
    uint32_t reply_len;
    uint8_t reply[];
};

/* Lives while it has a record. */
struct dedupe_minter {
    uint64_t id;
    uint64_t low_seq;           /* of the mark; 0 without one */
    struct dedupe_record *mark; /* or NULL */
    struct bnd_link outcomes;   /* rising seq */
    size_t outcomes_count;
};

struct dedupe_table {
    struct dedupe_minter **minters; /* rising id */
    size_t minters_count, minters_cap;
    struct dedupe_record **heap; /* the first to expire on top: by deadline, minter, seq */
    size_t count, cap;           /* records */
    struct bnd_link young;       /* the newest last */
    size_t young_bytes;          /* their length in a tuple */
};

void dedupe_table_init(struct dedupe_table *table);

/* Frees all records; the table is empty afterwards. */
void dedupe_table_clear(struct dedupe_table *table);

/* The minter, or NULL if it has no record. */
struct dedupe_minter *dedupe_table_minter(const struct dedupe_table *table, uint64_t id);

/* The outcome of (minter, seq), or NULL; minter may be NULL. */
struct dedupe_record *dedupe_table_outcome(const struct dedupe_minter *minter, uint64_t seq);

/* Adds an outcome (seq > 0), which must not be there, as the newest young record. BND_NOMEM. */
int dedupe_table_add(struct dedupe_table *table, uint64_t minter, uint64_t seq,
                     uint64_t deadline_ms, int status, struct bnd_slice reply);

/* Sets the minter's mark, new or moved: the newest young record now. BND_NOMEM. */
int dedupe_table_mark(struct dedupe_table *table, uint64_t minter, uint64_t low_seq,
                      uint64_t until_ms);

/* The record that expires first, or NULL. */
struct dedupe_record *dedupe_table_oldest(const struct dedupe_table *table);

/* The oldest of the young records, or NULL; and it is young no longer. */
struct dedupe_record *dedupe_table_young(const struct dedupe_table *table);
void dedupe_table_settle(struct dedupe_table *table, struct dedupe_record *record);
static inline bool dedupe_record_young(const struct dedupe_record *record) {
    return bnd_link_linked(&record->young_link);
}

/* Bytes of a young record in a tuple: u64 minter, u64 seq, u64 deadline_ms, then of a mark u64
 * low_seq, of an outcome i32 status, u32 length, reply. */
size_t dedupe_record_bytes(const struct dedupe_record *record);

/* Removes and frees a record, and its minter with its last one. */
void dedupe_table_remove(struct dedupe_table *table, struct dedupe_record *record);

#endif
