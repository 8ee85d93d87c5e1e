/* A key-value state machine for tests and the simulator: small, but every way of going wrong shows.
 *
 *  - ADD and APPEND are not idempotent: a command applied twice changes the answer.
 *  - CAS decides inside apply, so that a replica that misses an earlier command decides otherwise.
 *  - A running hash over (index, position, command) of what was executed is part of the state:
 * replicas with equal hashes at an index have applied the same commands in the same places.
 *
 * Keys live in BND_CF_OBJECTS under slot | 'k' | key, the hash under slot | 'h'. */
#ifndef BND_TESTS_SIM_KV_FSM_H
#define BND_TESTS_SIM_KV_FSM_H

#include "raft/fsm.h"

#define KV_VALUE_MAX (64u << 10)
#define KV_SHOWN_MAX 1024u /* of a value in the reply of a refused CAS */

/* What an applied command did; borrowed until the call returns. */
struct kv_applied {
    uint64_t gid, index, term, stamp_ms;
    uint32_t position, slot;
    struct bnd_slice command;
    int status;
    uint64_t hash; /* of the state after it; 0 if it was refused */
};

/* May be NULL everywhere. Called inside apply, before the batch is written: after a crash the same
 * command may be seen again. */
struct kv_observer {
    void *owner;
    void (*applied)(void *owner, const struct kv_applied *applied);
    void (*opened)(void *owner, uint64_t gid, uint32_t slot);
    void (*written)(void *owner, uint64_t gid, uint64_t index);
};

/* Makes a machine; observer is borrowed for its life. BND_NOMEM. */
int kv_fsm_make(const struct kv_observer *observer, struct bnd_fsm *out);

/* Commands: appended to *out. Their replies: */
void kv_put(struct bnd_buf *out, struct bnd_slice key, struct bnd_slice value);    /* empty */
void kv_delete(struct bnd_buf *out, struct bnd_slice key);                         /* empty */
void kv_append(struct bnd_buf *out, struct bnd_slice key, struct bnd_slice bytes); /* u64 length */
void kv_add(struct bnd_buf *out, struct bnd_slice key, uint64_t delta);            /* u64 sum */
/* Puts value only if the key holds `expected` (empty: only if it is not there). Else
 * BND_PRECONDITION with (the first KV_SHOWN_MAX bytes of) what the key holds as reply. */
void kv_cas(struct bnd_buf *out, struct bnd_slice key, struct bnd_slice expected,
            struct bnd_slice value);
/* ADD, but only to a counter that stands at `base`, which the command was made on: else
 * BND_CONFLICT. */
void kv_add_on(struct bnd_buf *out, struct bnd_slice key, uint64_t base, uint64_t delta);

/* Queries. GET: the value, or BND_NOTFOUND. HASH: u64 running hash, u64 index of the last command
 * (zeros on an empty state). */
void kv_get(struct bnd_buf *out, struct bnd_slice key);
void kv_hash(struct bnd_buf *out);

/* The running hash and the index of the last command, straight from a slot's state. */
int kv_state_hash(struct bnd_state *state, uint32_t slot, uint64_t *out_hash, uint64_t *out_index);

#endif
