/* What the logs of one Raft group's replicas hold, as watchers see it in their memory: pure
 * bookkeeping.
 *
 * Checks (Ongaro, Raft, figure 3.2), long before a state machine could show it:
 *  - Log Matching: entries of one index and term are the same everywhere;
 *  - State Machine Safety: what is committed at an index has one term everywhere;
 *  - Leader Completeness: a leader's log holds what was committed in terms before its own. */
#ifndef BND_TESTS_SIM_LOGBOOK_H
#define BND_TESTS_SIM_LOGBOOK_H

#include "engine/journal/journal.h"
#include "raft/configuration.h"
#include "tests/sim/check.h"

struct bnd_sim_committed {
    uint64_t term;
    uint64_t known_in; /* the term in which it was first seen to be committed; 0: not yet */
};

struct bnd_sim_logbook {
    uint64_t gid;
    struct bnd_sim_check *check;
    struct bnd_sim_committed *committed; /* [index] */
    size_t committed_cap;
    uint64_t committed_last;
    struct bnd_sim_logged *logged; /* by (index, term): open addressing */
    size_t logged_count, logged_cap;
    struct bnd_raft_configuration configuration; /* the newest committed, and its index */
    uint64_t configuration_index;
};

void bnd_sim_logbook_init(struct bnd_sim_logbook *logbook, uint64_t gid,
                          struct bnd_sim_check *check);
void bnd_sim_logbook_free(struct bnd_sim_logbook *logbook);

/* A node's log holds this entry. */
void bnd_sim_logbook_entry(struct bnd_sim_logbook *logbook, uint64_t node,
                           const struct bnd_journal_entry *entry);
/* A node in `known_in` takes the entry of this term for committed. */
void bnd_sim_logbook_committed(struct bnd_sim_logbook *logbook, uint64_t node, uint64_t index,
                               uint64_t term, uint64_t known_in);
/* A node begins to lead `term` with a log up to last_index; term_of gives an entry's term, 0 if it
 * is not in memory. */
void bnd_sim_logbook_leader(struct bnd_sim_logbook *logbook, uint64_t node, uint64_t term,
                            uint64_t last_index, uint64_t (*term_of)(void *log, uint64_t index),
                            void *log);

struct bnd_sim_member_changes {
    uint64_t joins;    /* members that vote now and did not */
    uint64_t removals; /* members no more */
};
/* A node takes the configuration of this index for committed: how it differs from the newest before
 * it, once. */
struct bnd_sim_member_changes
bnd_sim_logbook_configuration(struct bnd_sim_logbook *logbook, uint64_t index,
                              const struct bnd_raft_configuration *configuration);

#endif
