/* The guards that make Debian's libraft 0.15.0 safe (docs/design/0040-libraft-behind-a-seam.md).
 *
 * Each is a pure function over a picture of the core's state and a message, and has a bit: off, the
 * function answers as if the guard did not exist, so that the simulator can show what it is for. B
 * numbers are the library's bugs that a guard stands against. */
#ifndef BND_RAFT_GUARD_H
#define BND_RAFT_GUARD_H

#include "raft/message.h"

enum bnd_guard {
    /* G1 (B1): a new leader's barrier; results of its term wait until the barrier is stored here.
     */
    BND_GUARD_BARRIER = 1u << 0,
    /* G2 (B2, B3): a follower acknowledges only what the leader of this term has verified. */
    BND_GUARD_ACK = 1u << 1,
    /* G3 (B4, B5): no election while a log write is pending. */
    BND_GUARD_ELECTION = 1u << 2,
    /* G4 (B6): no snapshot over, and no rollback of, an uncommitted configuration entry. */
    BND_GUARD_CONFIGURATION = 1u << 3,
    /* G5 (B7): a send never fails. */
    BND_GUARD_SEND = 1u << 4,
    /* G6 (B8): a storage error stops the process and is never reported into the library. */
    BND_GUARD_STORAGE = 1u << 5,
    /* G7 (B16): membership changes only after this term's barrier is committed. */
    BND_GUARD_MEMBERSHIP = 1u << 6,
    /* G8: a sole voter leads only in a term of its own, new after every start: the library reuses
     * the term, and the entries lost in a crash would come again with other content under the same
     * index and term. */
    BND_GUARD_SOLE_VOTER = 1u << 7,
    /* B9: a conflicting AppendEntries waits until pending log writes have drained. */
    BND_GUARD_CONFLICT = 1u << 8,
    /* B12: no second vote in a term. */
    BND_GUARD_VOTE = 1u << 9,
    /* B3b: nothing is sent to nobody. */
    BND_GUARD_ADDRESS = 1u << 10,
    /* An AppendEntries that begins below our commit index is cut to what lies above: of entries it
     * has compacted the library knows no terms, takes the first of them for new, and appends it
     * behind its last one, under another index. */
    BND_GUARD_PREFIX = 1u << 11,
    /* B18: who by its own log does not vote answers candidates all the same (Ongaro, 4.2.2): a
     * candidate that counts it has a later configuration, and may not come to lead without it. The
     * library refuses, and its standby never forgets a leader that has gone. */
    BND_GUARD_STANDBY = 1u << 12,
    /* G9: a replica that was destroyed and made again answers for the log that it had had. Whatever
     * it acknowledged may have been counted, under configurations that old candidates still hold:
     * it votes for nobody whose log ends before that one did, and does not stand itself. */
    BND_GUARD_FLOOR = 1u << 13,
    /* B19: who asks for a pre-vote in a term below ours is told ours. The library repeats the
     * asker's: a voter with the longer log and the lower term then never hears of the higher one,
     * nor does the other ever win. */
    BND_GUARD_TERM = 1u << 14,
    /* G10: a configuration goes to who does not vote by it only once it is committed. With the
     * longer log, but no vote, it would refuse the voters who lack it, and they may need it by the
     * configuration before. */
    BND_GUARD_WITHHOLD = 1u << 15,
};

enum bnd_core_role {
    BND_CORE_FOLLOWER,
    BND_CORE_CANDIDATE,
    BND_CORE_LEADER,
};

/* A picture of one core, taken when a guard is asked. */
struct bnd_guard_state {
    uint32_t guards; /* bits of enum bnd_guard that are on */
    enum bnd_core_role role;
    uint64_t self;
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
    uint64_t stored;         /* last index durable here, of what the library still has */
    uint64_t last_index;     /* last index in memory */
    uint64_t barrier_index;  /* leader: of this term's barrier; 0: none proposed yet */
    uint64_t last_change;    /* highest index of a configuration entry in memory; 0: none */
    uint64_t verified_term;  /* the term in which ... */
    uint64_t verified_index; /* ... everything up to here was matched against its leader */
    uint64_t floor_index;    /* where the log of the destroyed replica before this one ended */
    uint64_t floor_term;     /* (0: there was none) */
    size_t ops_pending;      /* log writes handed out and not yet durable */
    bool voter;              /* self votes in the latest configuration */
    bool sole_voter;         /* and is the only one */
    bool has_leader;         /* self leads, or follows a leader that it has heard of */
    /* The term of the entry at an index, 0 if not known. */
    uint64_t (*term_of)(const void *log, uint64_t index);
    const void *log;
};

/* What to do with a message that came in. */
enum bnd_guard_verdict {
    BND_GUARD_DELIVER,
    BND_GUARD_HOLD,  /* G1: again when the barrier is stored or the leadership is over */
    BND_GUARD_DELAY, /* B9: again, in order, when no log write is pending */
    BND_GUARD_DROP,
    BND_GUARD_FATAL_ROLLBACK, /* G4: it would remove a configuration entry: truncate at *out_index,
                                 stop */
    BND_GUARD_FATAL_TWO_LEADERS, /* another leader in our own term: the group's safety is gone, stop
                                  */
};

/* Judges an incoming message. *out_index is set for FATAL_ROLLBACK only. */
enum bnd_guard_verdict bnd_guard_incoming(const struct bnd_guard_state *state,
                                          const struct bnd_message *message, uint64_t *out_index);

/* PREFIX: cuts an AppendEntries in place (its entries stay borrowed) so that it begins at our
 * commit index or above. Everything up to there is in the log of every leader of our term or a
 * later one (leader completeness), so nothing is left to compare; what contradicts that stays as it
 * is. */
void bnd_guard_cut_prefix(const struct bnd_guard_state *state, struct bnd_message *message);

/* The first index at which an AppendEntries conflicts with our log (an entry there has another
 * term), or 0. */
uint64_t bnd_guard_conflict(const struct bnd_guard_state *state, const struct bnd_message *message);

/* G2 and B3b: judges, and may lower the acknowledged index of, a message about to leave.
 * `appending_end` is prev_index + count of the AppendEntries being handled at this moment, 0 if
 * none. False: do not send it. */
bool bnd_guard_outgoing(const struct bnd_guard_state *state, uint64_t appending_end,
                        struct bnd_message *message);

/* G10: cuts an AppendEntries about to leave before a configuration entry that its receiver may not
 * have yet. */
void bnd_guard_withhold(const struct bnd_guard_state *state, bool receiver_votes,
                        struct bnd_message *message);

/* B18: the library has refused this VOTE, on which `before` was taken: is it to be granted? Asked
 * with the picture after the refusal, when the term may have risen to the message's. */
bool bnd_guard_grants_vote(const struct bnd_guard_state *before,
                           const struct bnd_guard_state *state, const struct bnd_message *message);

/* B19: the term of our refusal of this VOTE, where the library would say `term`. */
uint64_t bnd_guard_refusal_term(const struct bnd_guard_state *state,
                                const struct bnd_message *message, uint64_t term);

/* B18: must a follower whose election timeout has passed forget its leader? Voters stand. Not while
 * a log write is pending, which the library will answer to that leader (B3b). */
bool bnd_guard_must_forget_leader(const struct bnd_guard_state *state);

/* G3, G9: may the library's clock tick now? */
bool bnd_guard_may_tick(const struct bnd_guard_state *state);

/* G4: may the library forget its log up to last applied = commit? */
bool bnd_guard_may_compact(const struct bnd_guard_state *state);

/* G7: may the configuration be changed by this leader now? */
bool bnd_guard_may_change(const struct bnd_guard_state *state);

/* G8: must the term be raised before this node may lead? */
bool bnd_guard_must_raise_term(const struct bnd_guard_state *state);

#endif
