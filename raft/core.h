/* The core of one Raft group: consensus alone, without disk, network or clock of its own.
 *
 * It is a seam: raft/core_libraft.c puts Debian's libraft 0.15.0 behind it, with the guards of
 * raft/guard.h, and is the only file that knows the library
 * (docs/design/0040-libraft-behind-a-seam.md). Inputs are the functions below; what the core wants
 * done comes out through struct bnd_core_ops, called from inside inputs, in order.
 *
 * How it works together with its host:
 *  1. Log operations (meta, append, truncate, install) are numbered 1, 2, 3, ... (`op`). The host
 * journals them in that order and says bnd_core_persisted(core, op) once everything up to op is
 * durable: later, never from inside an output, each op once, several at a time is fine.
 *  2. A message may leave only when op `after_op` is durable (0: at once). The host holds it until
 * then; messages to one receiver keep their order. Any message may be lost instead.
 *  3. Outputs never call inputs of the same core (asserted). Slices in outputs are borrowed until
 * the call returns.
 *  4. Committed entries come through `apply`, each once per life of the core, in order of index
 * from start.index + 1 without a gap, barriers and configurations included. After an install the
 * next is install index + 1.
 *  5. A proposal has no other outcome than the entry that is applied at its index: if its term is
 * the proposal's term it was executed, else certainly not. Losing leadership is no outcome.
 *  6. `fatal` is final: a case that is not handled in memory, a broken invariant, or no memory.
 * Every later input does nothing. The host makes its journal durable and stops the process (status
 * 75); recovery from the journal is the only path.
 *  7. A storage error is never an input: the host stops (bnd_core_persist_failed).
 *
 * One loop owns a core. Time and randomness come from env. Memory: the log since the last
 * compaction is held in RAM; see bnd_core_compact. */
#ifndef BND_RAFT_CORE_H
#define BND_RAFT_CORE_H

#include "base/env.h"
#include "raft/configuration.h"
#include "raft/guard.h"
#include "raft/message.h"

struct bnd_core;

/* Kinds of entries, in struct bnd_journal_entry.kind, on disk and on the wire. */
enum bnd_core_kind {
    BND_CORE_COMMAND = 1,   /* data: what was proposed */
    BND_CORE_BARRIER,       /* no data */
    BND_CORE_CONFIGURATION, /* data: bnd_raft_configuration_encode */
};

struct bnd_core_ops {
    /* Term and vote (0: none) to journal. Before the core uses them in any message: see after_op.
     */
    void (*persist_meta)(void *owner, uint64_t op, uint64_t term, uint64_t vote);
    /* Consecutive entries, directly after the last one (or after the last truncate or install). */
    void (*append)(void *owner, uint64_t op, const struct bnd_journal_entry *entries, size_t count);
    /* Entries from index on are no longer part of the log. */
    void (*truncate)(void *owner, uint64_t op, uint64_t index);
    /* An INSTALL message that the host gave to bnd_core_recv takes effect: one journal record
     * replaces the whole log by start (slot 0: the host puts its own) and switches to the state
     * fetched under export_id. */
    void (*install)(void *owner, uint64_t op, const struct bnd_journal_start *start,
                    uint64_t export_id);
    /* message->from is self. Returns 0, or a code if it was certainly not queued: with guard G5 it
     * is ignored, a message not sent is a message lost. INSTALL is special: start.index is the
     * least index the receiver must reach; the host answers it by an export at an index E >=
     * start.index (waiting until that is applied and written), sends the message on with E's tuple
     * and its export id, and ignores INSTALLs to a receiver that it is already serving (one may
     * come per heartbeat). bnd_core_install_failed lets the core try again at once. */
    int (*send)(void *owner, const struct bnd_message *message, uint64_t after_op);
    /* A committed entry: queue it (copy it), do not execute it here. */
    void (*apply)(void *owner, const struct bnd_journal_entry *entry);
    /* Role, term, leader, readiness or configuration differ from before this input. At most once
     * per input, last. */
    void (*changed)(void *owner);
    void (*fatal)(void *owner, const struct bnd_error *why);
};

struct bnd_core_config {
    struct bnd_env *env; /* borrowed for the core's life */
    const struct bnd_core_ops *ops;
    void *owner;
    uint64_t gid;
    uint64_t self;               /* node id, not 0 */
    uint32_t election_ms;        /* 0: 1,000. Each wait is drawn from [election, 2 x election] */
    uint32_t heartbeat_ms;       /* 0: 100; below election_ms */
    uint32_t install_timeout_ms; /* 0: 600,000: an INSTALL not answered by then is sent again */
    uint32_t guards;             /* bits of enum bnd_guard; BND_RAFT_GUARDS_ALL */
    size_t message_bytes_max;    /* 0: 256 KiB of entries per APPEND; a larger entry goes alone */
    size_t log_bytes_max; /* 0: 1 MiB: above it the core compacts its RAM by itself, to half */

    /* As recovered; all borrowed until bnd_core_open returns. */
    uint64_t term;
    uint64_t vote;
    struct bnd_journal_floor floor; /* G9; the log is empty or not below it */
    /* The persisted tuple: the state machine holds, durably, everything up to start.index. Index 0:
     * an empty group (bootstrapped: entry 1 is its configuration; joining: no entries). slot is not
     * looked at. */
    struct bnd_journal_start start;
    /* What the journal has, consecutive; may begin at or below start.index (kept in RAM for slow
     * followers) and must otherwise begin at start.index + 1. Entries that end below start.index
     * are ignored. */
    const struct bnd_journal_entry *entries;
    size_t entries_count;
};

/* Process-wide, once, before the first core is opened and before other threads exist: gives the
 * library base/alloc (its heap is one global pointer, so it cannot be per core) and checks that it
 * is 0.15.0. BND_VERSION. */
int bnd_core_library_init(struct bnd_error *err);

/* Makes a core from recovered state; no output is called. On success *out is owned by the caller.
 * BND_INVALID: self 0, timeouts. BND_CORRUPT: gaps, falling terms, a term above config->term, an
 * undecodable configuration, no configuration in entry 1, entries that contradict start. BND_NOMEM.
 */
int bnd_core_open(const struct bnd_core_config *config, struct bnd_core **out,
                  struct bnd_error *err);

/* Begins: from here on outputs come. A sole voter elects itself here. Once, before any other input.
 */
void bnd_core_start(struct bnd_core *core);

/* Ends and frees the core at once; no output is called, nothing of it is used afterwards. NULL
 * allowed. */
void bnd_core_close(struct bnd_core *core);

/* Time has passed. To be called every heartbeat_ms or more often, with env's time. */
void bnd_core_tick(struct bnd_core *core);

/* The connection to `node` is gone. If the group follows it and nothing is heard from it meanwhile,
 * its election timeout ends within wait_ms (a later end is moved, an earlier one stays). */
void bnd_core_leader_lost(struct bnd_core *core, uint64_t node, uint32_t wait_ms);

/* A message for this group from an authenticated member of the cluster; message->from is set,
 * everything is borrowed until the call returns. An INSTALL only once its state is fetched and
 * ready to be switched to, with start as fetched: then `install` comes out, unless the log has all
 * of it already. */
void bnd_core_recv(struct bnd_core *core, const struct bnd_message *message);

/* The leader of `term` has said that everything up to index is committed, and the term of the entry
 * there. If the core follows it in that term and has that entry, durably, this is taken in as the
 * heartbeat that would say so. */
void bnd_core_commit_told(struct bnd_core *core, uint64_t leader, uint64_t term, uint64_t index,
                          uint64_t index_term);

/* Everything up to `op` is durable. op must be one that was handed out; lower than before is
 * ignored. */
void bnd_core_persisted(struct bnd_core *core, uint64_t op);

/* The journal failed: `fatal` comes out (guard G6). With the guard off the library is told, for the
 * simulator. */
void bnd_core_persist_failed(struct bnd_core *core);

/* Proposes one entry with these bytes (copied; not empty). On success index and term tell where it
 * is; see promise
 * 5. BND_NOTLEADER: certainly not proposed. BND_NOMEM comes with `fatal`. */
int bnd_core_propose(struct bnd_core *core, struct bnd_slice data, uint64_t *out_index,
                     uint64_t *out_term);

/* Proposes an entry without data: to let followers compact, or to learn that everything before is
 * applied. */
int bnd_core_barrier(struct bnd_core *core, uint64_t *out_index, uint64_t *out_term);

/* Membership, one change at a time, by the leader. The effect shows in the status when the entry is
 * in the log, is final when it is applied. Promotion to VOTER first waits for the node to catch up
 * and may be given up (the role then stays; ask again). BND_NOTLEADER; BND_BUSY: another change is
 * under way, or (G7) this term's barrier is not yet committed; BND_EXISTS / BND_NOTFOUND: the node
 * is / is not a member; BND_INVALID: node 0, the same role again, or the leader itself (transfer
 * first); BND_FULL: BND_RAFT_MEMBERS_MAX. */
int bnd_core_member_add(struct bnd_core *core, uint64_t node); /* as SPARE */
int bnd_core_member_assign(struct bnd_core *core, uint64_t node, enum bnd_raft_role role);
int bnd_core_member_remove(struct bnd_core *core, uint64_t node);

/* Tells a voter to begin an election at once. The host stops proposals first. BND_NOTLEADER;
 * BND_INVALID: not another voter; BND_BUSY: it does not have our whole log. The outcome shows as a
 * changed leader, or not. */
int bnd_core_transfer(struct bnd_core *core, uint64_t to);

/* The state for an INSTALL to `node` could not be delivered: it may be asked for again. */
void bnd_core_install_failed(struct bnd_core *core, uint64_t node);

/* Frees RAM: applied entries are dropped until those left take at most keep_bytes. Takes effect
 * once, when the next entry is applied (on an idle leader: bnd_core_barrier), and is put off while
 * a configuration is uncommitted (G4). The journal is not touched: its compaction follows the
 * persisted tuple, not this. */
void bnd_core_compact(struct bnd_core *core, size_t keep_bytes);

/* Entries above index are not dropped by any compaction, the core's own included. UINT64_MAX: no
 * such limit. The host sets it while it streams entries after an export, within a bound of its own.
 */
void bnd_core_keep_above(struct bnd_core *core, uint64_t index);

/* An entry in RAM; data is borrowed until the next input. BND_NOTFOUND: compacted, or not there
 * yet. */
int bnd_core_entry(struct bnd_core *core, uint64_t index, struct bnd_journal_entry *out);

struct bnd_core_peer {
    uint64_t match;  /* leader only: stored there and equal to ours; the core's own: stored here */
    bool recent;     /* leader only: answered in this election timeout */
    bool installing; /* leader only: waits for an INSTALL */
};

struct bnd_core_status {
    enum bnd_core_role role;
    uint64_t term, vote;
    uint64_t leader; /* 0: not known */
    uint64_t commit, commit_term; /* its entry's; 0: not known */
    uint64_t applied; /* last entry given to `apply`, or start index */
    uint64_t stored;  /* last durable entry of the present log */
    uint64_t last_index, last_term;
    uint64_t first_index;   /* the first entry in RAM; last_index + 1: none */
    uint64_t barrier_index; /* leader: of this term's barrier; else 0 */
    bool ready;             /* leader, and the barrier is committed: reads and changes may go */
    struct bnd_raft_configuration configuration; /* latest in the log, committed or not */
    uint64_t configuration_index;
    bool configuration_committed;
    bool changing; /* leader: a change is uncommitted or a promotion catches up */
    struct bnd_core_peer peers[BND_RAFT_MEMBERS_MAX]; /* in the order of configuration */
    size_t log_bytes;                                 /* entries in RAM, with overhead */
    uint64_t ops_last, ops_durable;
    uint64_t installs; /* taken up since open, durable or not */
    uint64_t held, delayed,
        dropped; /* messages: waiting by G1, by B9; dropped by a guard since open */
};

void bnd_core_status(const struct bnd_core *core, struct bnd_core_status *out);

#endif
