/* The bytes of a state export (internal to raft/; SPEC.md, "State export"). */
#ifndef BND_RAFT_EXPORT_CHUNK_H
#define BND_RAFT_EXPORT_CHUNK_H

#include "base/hash.h"
#include "engine/journal/journal.h"
#include "engine/state.h"

enum export_op { EXPORT_OPEN = 1, EXPORT_PULL, EXPORT_CLOSE, EXPORT_MEMBER, EXPORT_LEAD };

/* What a receiver asks. */
struct export_request {
    enum export_op op;
    uint64_t gid;       /* OPEN, MEMBER, LEAD */
    uint64_t export_id; /* PULL, CLOSE */
    uint64_t seq;       /* PULL: of the chunk, from 1; the same again repeats it */
    uint64_t have;      /* PULL: entries up to here are not needed any more */
    uint32_t pairs_max; /* PULL: bytes of pairs; the last one may go beyond. 0: as many as may be */
};

void export_request_encode(const struct export_request *request, struct bnd_buf *out);
/* BND_CORRUPT. */
int export_request_decode(struct bnd_slice bytes, struct export_request *out,
                          struct bnd_error *err);

/* Answer to OPEN: the state at (index, term). */
struct export_opened {
    uint64_t export_id;
    uint64_t index, term;
};

void export_opened_encode(const struct export_opened *opened, struct bnd_buf *out);
/* BND_CORRUPT. */
int export_opened_decode(struct bnd_slice bytes, struct export_opened *out, struct bnd_error *err);

/* Answer to MEMBER: is the asker in the configuration that is committed, as of which index? */
struct export_member {
    bool member;
    uint64_t as_of;
};

void export_member_encode(const struct export_member *told, struct bnd_buf *out);
/* BND_CORRUPT. */
int export_member_decode(struct bnd_slice bytes, struct export_member *out, struct bnd_error *err);

/* How much state has passed: the chunks' pairs, counted and hashed in their order. */
struct export_total {
    uint64_t pairs;
    struct bnd_hash128 hash;
};

/* Answer to PULL. pairs: { u8 family, bytes key without slot, bytes value } each; entries: { u64
 * index, u64 term, u8 kind, bytes data } each, consecutive. */
struct export_chunk {
    bool last; /* no more pairs follow: total is the whole */
    uint64_t export_id;
    uint64_t seq;
    uint64_t term;       /* the sender's, when it answered */
    uint64_t last_index; /* of the sender's log */
    uint32_t pairs_count;
    struct bnd_slice pairs;
    struct export_total total; /* with this chunk's pairs */
    uint32_t entries_count;
    struct bnd_slice entries;
};

struct export_pair {
    enum bnd_state_cf family;
    struct bnd_slice key, value;
};

/* total after `pairs`, given total before. */
struct export_total export_total_add(struct export_total before, uint32_t pairs_count,
                                     struct bnd_slice pairs);

void export_pair_encode(const struct export_pair *pair, struct bnd_buf *out);
void export_entry_encode(const struct bnd_journal_entry *entry, struct bnd_buf *out);
/* Bytes of an encoded entry. */
size_t export_entry_bytes(const struct bnd_journal_entry *entry);
void export_chunk_encode(const struct export_chunk *chunk, struct bnd_buf *out);

/* Slices borrow from bytes. Everything in it is checked: the walks below cannot fail on a decoded
 * chunk. BND_CORRUPT: cut, too long, wrong hash, unknown family or kind, gaps between entries.
 * BND_VERSION: another format. */
int export_chunk_decode(struct bnd_slice bytes, struct export_chunk *out, struct bnd_error *err);

/* Takes the next one off r (a reader over pairs or entries of a decoded chunk). */
struct export_pair export_pair_next(struct bnd_reader *r);
struct bnd_journal_entry export_entry_next(struct bnd_reader *r);

#endif
