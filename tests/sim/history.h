/* What the clients of one Raft group asked and were told, and whether that was linearizable.
 *
 * The replicas' agreed order of commands (tests/sim/ledger.h) fixes the place of every write, so no
 * search is needed: a model of the key-value machine is replayed over it, and then
 *  1. every answer is the model's answer at its place;
 *  2. every acknowledged write has a place, and what was "certainly not executed" has none;
 *  3. places respect real time: an operation's place is above those of all that returned before it
 * began; a read takes the lowest such place whose value it can have seen, and there must be one.
 * Every command is unique (by its token), so one command has one operation. */
#ifndef BND_TESTS_SIM_HISTORY_H
#define BND_TESTS_SIM_HISTORY_H

#include "tests/sim/ledger.h"

#define BND_SIM_KEYS 64

enum bnd_sim_op_kind { BND_SIM_PUT, BND_SIM_APPEND, BND_SIM_ADD, BND_SIM_CAS, BND_SIM_GET };

enum bnd_sim_outcome {
    BND_SIM_PENDING,     /* or unknown: may take effect at any time */
    BND_SIM_ANSWERED,    /* status and reply are the state machine's */
    BND_SIM_NOT_EXECUTED /* certainly not, now and for ever */
};

struct bnd_sim_op {
    enum bnd_sim_op_kind kind;
    uint8_t key;
    uint64_t token;    /* put, append and cas: the value; add: the delta. Unique */
    uint64_t expected; /* cas: a token, or 0 for "not there" */
    uint64_t invoked_ns;
    uint64_t returned_ns;
    enum bnd_sim_outcome outcome;
    int status;
    uint8_t *reply; /* owned */
    size_t reply_len;
    /* filled by the check */
    uint64_t command;
    uint64_t place; /* 1 and up; 0: none */
};

struct bnd_sim_history {
    struct bnd_sim_op *ops; /* in order of invocation */
    size_t count, cap;
};

void bnd_sim_history_free(struct bnd_sim_history *history);
/* Returns the number of the new operation. invoked_ns never falls. */
size_t bnd_sim_history_invoke(struct bnd_sim_history *history, const struct bnd_sim_op *op);
/* Once per operation. reply is copied. */
void bnd_sim_history_return(struct bnd_sim_history *history, size_t op, uint64_t now_ns,
                            enum bnd_sim_outcome outcome, int status, struct bnd_slice reply);
/* The command (or, for a read, the query) of an operation: appended to *out. */
void bnd_sim_op_command(const struct bnd_sim_op *op, struct bnd_buf *out);

void bnd_sim_history_check(struct bnd_sim_history *history, const struct bnd_sim_ledger *ledger,
                           struct bnd_sim_check *check);

#endif
