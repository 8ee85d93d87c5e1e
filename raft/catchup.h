/* Catching up beyond the log (internal to raft/; architecture 6, ADR 0070).
 *
 * A follower that is behind the leader's log in RAM is told so by an INSTALL message and opens an
 * export there: the group's range of the state at an index E, pulled chunk by chunk into a fresh
 * slot, and beside it every entry committed since, staged in a slot of its own. Once the fresh slot
 * is persisted, the core is given an INSTALL at E, whose journal record switches slot and log
 * together; then the staged entries go into the core as AppendEntries, until the leader's own reach
 * it again. So the sender needs to keep only what the receiver has not pulled yet, however long the
 * state takes, and a receiver that pulls faster than clients write arrives.
 *
 * Whatever interrupts this leaves the old state, or the new one; the other slots are dropped at
 * once, or at the next start. */
#ifndef BND_RAFT_CATCHUP_H
#define BND_RAFT_CATCHUP_H

#include "base/env.h"

#include "engine/journal/journal.h"

struct bnd_message;
struct bnd_raft_host;
struct group;

/* At once on a node. */
#define EXPORTS_MAX 4u
#define IMPORTS_MAX 4u
/* Of pairs in one chunk where their pace is bounded: what comes in this time, so that entries are
 * pulled at least so often; but not less than the least. */
#define IMPORT_PACED_PARTS 8u /* of a second */
#define IMPORT_PACED_BYTES_MIN (16u << 10)
/* The longest wait between pulls for the pace: entries must not wait longer at the sender. */
#define IMPORT_PACE_NS_MAX (UINT64_C(250) * BND_MS)
/* A pull that brought so many bytes of entries is followed by the next at once, whatever the pace:
 * clients write faster, and what waits at the sender is bounded. */
#define IMPORT_ENTRIES_HURRY_BYTES (256u << 10)
/* Entries committed and not pulled, per export; beyond it the receiver is too slow and begins anew.
 */
#define EXPORT_TAIL_BYTES_MAX (16u << 20)
/* Of pairs, and of entries, in one chunk; the last one of each may go beyond. */
#define EXPORT_CHUNK_BYTES (512u << 10)
/* An export that nobody pulls is given up. */
#define EXPORT_IDLE_NS_MAX (UINT64_C(20000) * BND_MS)
/* A pull unanswered for so long is repeated, so often. */
#define IMPORT_CALL_NS_MAX (UINT64_C(3000) * BND_MS)
#define IMPORT_TRIES_MAX 5u

struct exports {
    struct bnd_link list; /* struct export */
    size_t count;
};

struct imports {
    struct bnd_link list; /* struct import */
    size_t count;
    uint64_t id_last;
    size_t persisting; /* persists under way, of forgotten imports too */
    size_t covering;   /* groups whose covered_index is set */
    struct bnd_timer paced; /* wakes the pass for the pull that may go on next */
};

/* ---- export.c: the sender ---------------------------------------------------------------------*/

void export_open(struct bnd_raft_host *host);
void export_close(struct bnd_raft_host *host);
/* A committed entry of the group. */
void export_entry(struct group *group, const struct bnd_journal_entry *entry);
/* Answers those that wait for a state at rest; after apply_pass. */
void export_pass(struct bnd_raft_host *host);
/* Ends what nobody pulls, and lets cores ask again for followers that nobody serves. */
void export_tick(struct bnd_raft_host *host);
/* The group's state goes away, or is another: its exports end. */
void export_forget(struct group *group);

/* ---- import.c: the receiver -------------------------------------------------------------------*/

/* An INSTALL message came for a running group: begins an import, unless one is under way; or tells
 * the leader that the log has all of it. */
void import_invited(struct group *group, const struct bnd_message *message);
/* Output `install` of the group's core: returns the slot that its journal record switches to. */
uint32_t import_slot(struct group *group, uint64_t op, const struct bnd_journal_start *start,
                     uint64_t export_id);
/* Everything up to op is durable: switches the group over if the install is among it. Before the
 * core hears of it. */
void import_durable(struct group *group, uint64_t op);
/* Proposals that an install has covered are answered; before apply_pass. */
void import_covered(struct bnd_raft_host *host);
/* Writes, persists, installs, feeds; after apply_pass. */
void import_pass(struct bnd_raft_host *host);
/* The group stops: nothing of its import stays. */
void import_forget(struct group *group);
void import_open(struct bnd_raft_host *host);
void import_close(struct bnd_raft_host *host);

#endif
