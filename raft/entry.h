/* What a COMMAND entry of the log holds: the operations of one pass, under one stamp (SPEC.md,
 * "Raft entries"). One without operations only moves the group's time. */
#ifndef BND_RAFT_ENTRY_H
#define BND_RAFT_ENTRY_H

#include "base/bytes.h"
#include "base/error.h"
#include "raft/host.h"

/* Bytes before the first operation, and before each command. */
#define ENTRY_HEADER_BYTES 14
#define ENTRY_OPERATION_BYTES 36

struct entry_operation {
    struct bnd_raft_request_id id;
    uint64_t low_seq; /* at most id.seq */
    uint64_t deadline_ms;
    struct bnd_slice command; /* borrowed */
};

/* A decoded entry: the header, and a reader over its operations. */
struct entry {
    uint64_t stamp_ms;
    uint32_t count;
    struct bnd_reader operations;
};

/* Begins an entry in an empty buffer: room for the header, filled in by entry_seal. */
void entry_begin(struct bnd_buf *out);
void entry_append(struct bnd_buf *out, const struct entry_operation *operation);
/* Writes the header in place; may be done again under another stamp. */
void entry_seal(struct bnd_buf *out, uint64_t stamp_ms, uint32_t count);

/* Checks all of it, operations included; the slices borrow from bytes. BND_VERSION: a version or
 * kind this build does not know. BND_CORRUPT: cut, too long, minter or seq 0, low_seq above seq. */
int entry_decode(struct bnd_slice bytes, struct entry *out, struct bnd_error *err);

/* The next operation of a decoded entry; call exactly count times. */
void entry_next(struct entry *entry, struct entry_operation *out);

#endif
