/* What one Raft group has decided, as its replicas show it: pure bookkeeping, no simulator needed.
 *
 * Checks, as things are told: the same command, term and outcome at one (index, position) on every
 * replica, and the same state hash after it; no command at a place that other replicas passed
 * without one; no command twice; one leader, in one of its lives, per term. */
#ifndef BND_TESTS_SIM_LEDGER_H
#define BND_TESTS_SIM_LEDGER_H

#include "base/bytes.h"
#include "tests/sim/check.h"

struct bnd_sim_applied {
    uint64_t index;
    uint32_t position;
    uint64_t term;
    struct bnd_slice command;
    int status;    /* the state machine's */
    uint64_t hash; /* of the state after it */
};

struct bnd_sim_ledger_entry {
    uint64_t index;
    uint32_t position;
    uint64_t term;
    uint64_t command; /* bnd_sim_command_hash */
    int status;
    uint64_t hash;
};

struct bnd_sim_ledger {
    uint64_t gid;
    struct bnd_sim_check *check;
    struct bnd_sim_ledger_entry *entries; /* by (index, position) */
    size_t count, cap;
    struct {
        uint64_t term, node, life;
    } * leaders;
    size_t leaders_count, leaders_cap;
    uint64_t *seen; /* hashes of executed commands: open addressing, 0 empty */
    size_t seen_cap;
};

uint64_t bnd_sim_command_hash(struct bnd_slice command); /* never 0 */

void bnd_sim_ledger_init(struct bnd_sim_ledger *ledger, uint64_t gid, struct bnd_sim_check *check);
void bnd_sim_ledger_free(struct bnd_sim_ledger *ledger);
/* A replica applied a command. Replicas that restart may tell the same again. */
void bnd_sim_ledger_applied(struct bnd_sim_ledger *ledger, uint64_t node,
                            const struct bnd_sim_applied *applied);
/* A node is leader in a term. `life` counts its incarnations, from 1 on; 0 while the leadership is
 * not durable: a crash then leaves nothing of it, and the next life may well take the same term
 * again. */
void bnd_sim_ledger_leader(struct bnd_sim_ledger *ledger, uint64_t node, uint64_t life,
                           uint64_t term);
/* The leader of a term that was told of; 0 if none. */
uint64_t bnd_sim_ledger_leader_of(const struct bnd_sim_ledger *ledger, uint64_t term);

#endif
