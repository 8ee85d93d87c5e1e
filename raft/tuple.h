/* What a group's state says about itself: how far it is applied, and under which configuration
 * (SPEC.md, "State: Raft"). Written with every batch that touches the group, barriers and
 * configuration entries included, so that a snapshot of the group is this tuple and its range. */
#ifndef BND_RAFT_TUPLE_H
#define BND_RAFT_TUPLE_H

#include "engine/state.h"
#include "raft/configuration.h"

#define TUPLE_STATE_VERSION 1u

struct tuple {
    uint64_t index; /* applied; 0: nothing yet */
    uint64_t term;
    struct bnd_raft_configuration configuration; /* as of index */
    uint64_t configuration_index;
    uint64_t stamp_ms; /* of the newest entry */
    uint32_t state_version;
    uint64_t dedupe_count; /* records of the request id table */
    uint64_t jump_from_ms; /* the stamp jumped between these two, and nobody has confirmed it: */
    uint64_t jump_to_ms;   /* deletion by time is suspended; 0: no such jump */
};

/* Keys of BND_CF_RAFT, each after the slot in big-endian. */
enum tuple_key {
    TUPLE_KEY_APPLIED = 'a',   /* the tuple */
    TUPLE_KEY_OUTCOME = 'd',   /* minter, seq -> outcome */
    TUPLE_KEY_STAGED = 'e',    /* in a staging slot of an import only: index -> entry */
    TUPLE_KEY_MINTER = 'm',    /* minter -> lowest seq that may still be executed */
    TUPLE_KEY_SLOT_NEXT = 'n', /* slot 0 only: u32, the next slot never used */
};

/* Slot 0 holds nothing of a group, only the host's own key: the next slot never used. */
#define TUPLE_KEY_BYTES_MAX 21

/* Writes slot | kind and the numbers, big-endian, into key; returns the slice. */
struct bnd_slice tuple_key(uint8_t key[TUPLE_KEY_BYTES_MAX], uint32_t slot, enum tuple_key kind,
                           const uint64_t *numbers, size_t count);

/* young: the request ids stored with it (dedupe.c). */
void tuple_encode(const struct tuple *tuple, struct bnd_slice young, struct bnd_buf *out);
/* out_young borrows from bytes. BND_CORRUPT, BND_VERSION. */
int tuple_decode(struct bnd_slice bytes, struct tuple *out, struct bnd_slice *out_young,
                 struct bnd_error *err);

/* Reads a slot's tuple as it is now, or as a crash would leave it; a slot without one gives index
 * 0. Blocking when persisted. BND_CORRUPT, BND_VERSION, BND_IO. */
int tuple_load(struct bnd_state *state, uint32_t slot, bool persisted, struct tuple *out,
               struct bnd_error *err);
/* Puts it into a batch (with a group's request ids: dedupe_tuple_store). BND_NOMEM. */
int tuple_store(struct bnd_state *state, struct bnd_state_batch *batch, uint32_t slot,
                const struct tuple *tuple, struct bnd_slice young);

#endif
