/* The request id table of a group: part of its replicated state, so that a retry gets the first
 * outcome from whoever leads by then (architecture 5, "Requests"; ADR 0045).
 *
 * Rules, the same on every replica because they depend on (state, entry) alone:
 *  1. An id with an outcome in the table is not executed: the outcome is the answer.
 *  2. An id below its minter's low_seq is not executed (BND_EXPIRED): its outcome was dropped.
 *  3. An id past its deadline, in stamps, is not executed (BND_EXPIRED): its outcome may be swept.
 *     A deadline more than DEDUPE_DEADLINE_MS_MAX ahead is BND_INVALID: it would never be swept.
 *  4. A full table executes nothing new (BND_FULL).
 *  5. Everything else is executed and its outcome stored, in the same batch; but not BND_CONFLICT,
 *     which is none: the id stays free.
 * A record lives until its deadline is past: rule 3 then stands in for it.
 *
 * The records are in the state; a copy of them all is in memory (dedupe_table.h), which is what the
 * rules look at: nothing is read from the store but at open. */
#ifndef BND_RAFT_DEDUPE_H
#define BND_RAFT_DEDUPE_H

#include "raft/dedupe_table.h"
#include "raft/entry.h"
#include "raft/tuple.h"

#define DEDUPE_DEADLINE_MS_MAX UINT64_C(600000)
/* Expired records swept with an entry: this many, and two for each of its operations. */
#define DEDUPE_SWEEP_MIN 16u
/* Records dropped by one operation's low_seq; the rest goes with the next ones. */
#define DEDUPE_DROP_MAX 1024u
/* Records stored with the tuple: those last made, up to so many bytes. Most are dropped before they
 * get a key of their own. */
#define DEDUPE_YOUNG_BYTES_MAX 1024u
/* Most bytes of a reply that can be stored, and so of any reply of apply. */
#define BND_RAFT_REPLY_MAX 4096u

/* What the rules need; changed in place by the functions below. */
struct dedupe {
    struct bnd_state *state;
    struct bnd_state_batch *batch;
    struct dedupe_table *table; /* the records as the batch leaves them */
    uint32_t slot;
    uint64_t stamp_ms;
    uint64_t count_max;
    struct bnd_buf *scratch; /* reused memory */
};

/* Reads a slot's records, those of its tuple and those with keys of their own, into an empty table;
 * count is what the tuple says. BND_CORRUPT if there are more or fewer, or one is damaged; BND_IO,
 * BND_NOMEM. The table is cleared on error. */
int dedupe_load(struct bnd_state *state, uint32_t slot, uint64_t count, struct dedupe_table *out,
                struct bnd_error *err);

/* Puts the tuple, with the table's young records, into a batch. BND_NOMEM. */
int dedupe_tuple_store(struct bnd_state *state, struct bnd_state_batch *batch, uint32_t slot,
                       const struct tuple *tuple, const struct dedupe_table *table);

enum dedupe_verdict { DEDUPE_EXECUTE, DEDUPE_ANSWERED, DEDUPE_REFUSED };

/* Decides about one operation, after dropping what its low_seq allows. ANSWERED: *out_status and
 * the reply appended to *reply are the first outcome; REFUSED: *out_status is the code. BND_NOMEM
 * is final for the node. */
int dedupe_check(struct dedupe *dedupe, const struct entry_operation *operation,
                 enum dedupe_verdict *out_verdict, int *out_status, struct bnd_buf *reply);

/* Stores the outcome of an operation just executed. Errors as above. */
int dedupe_store(struct dedupe *dedupe, const struct entry_operation *operation, int status,
                 struct bnd_slice reply);

/* Drops records past their deadline, at most `max`. */
void dedupe_sweep(struct dedupe *dedupe, size_t max);

#endif
