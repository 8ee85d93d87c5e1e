/* The request id table of one group in memory (internal to dedupe.c): every record that the state
 * holds, so that deciding about an operation reads nothing from the store. Loaded at open and after
 * an install; changed only together with the batch that changes the state.
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
    struct bnd_link link; /* an outcome: in minter.outcomes */
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
};

/* Frees all records; the table is empty afterwards. */
void dedupe_table_clear(struct dedupe_table *table);

/* The minter, or NULL if it has no record. */
struct dedupe_minter *dedupe_table_minter(const struct dedupe_table *table, uint64_t id);

/* The outcome of (minter, seq), or NULL; minter may be NULL. */
struct dedupe_record *dedupe_table_outcome(const struct dedupe_minter *minter, uint64_t seq);

/* Adds an outcome (seq > 0), which must not be there. BND_NOMEM. */
int dedupe_table_add(struct dedupe_table *table, uint64_t minter, uint64_t seq,
                     uint64_t deadline_ms, int status, struct bnd_slice reply);

/* Sets the minter's mark, new or moved. BND_NOMEM. */
int dedupe_table_mark(struct dedupe_table *table, uint64_t minter, uint64_t low_seq,
                      uint64_t until_ms);

/* The record that expires first, or NULL. */
struct dedupe_record *dedupe_table_oldest(const struct dedupe_table *table);

/* Removes and frees a record, and its minter with its last one. */
void dedupe_table_remove(struct dedupe_table *table, struct dedupe_record *record);

#endif
