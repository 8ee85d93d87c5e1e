/* The state machine of an SQL group (ADR 0102, raft/fsm.h). Inside sql/ only.
 *
 * Invariants
 *  1. Every check of a command comes before its first write: a refused command changes nothing.
 *  2. What it decides, it decides from the state, the entry and its context. What it keeps in
 * memory only spares reads, and a look into the state gives the same.
 *  3. In an epoch every page's versions end with an image; spans stand upon the newest version.
 *  4. Of a number's pages all that a version from its cutoff on needs is there while its database
 *     lives, and what a fork needs until that has been swept.
 *  5. BND_CORRUPT, BND_IO and BND_NOMEM from apply are this node's trouble: the host must stop. A
 *     damaged command is BND_INVALID, on every replica alike. */
#ifndef BND_SQL_FSM_H
#define BND_SQL_FSM_H

#include "raft/fsm.h"
#include "sql/pack.h"
#include "sql/records.h"
#include "sql/rules.h"

/* A deleted database's pages are swept so long after it, for those who read them. */
#define SQL_DEAD_KEEP_MS UINT64_C(600000)
#define SQL_SWEEP_COMMAND_MAX 16u /* keys deleted with each command, while there are any */
#define SQL_SWEEP_TICK_MAX 1000u  /* and with a TICK */

struct sql_fsm;

/* What the node that runs the machine wants to know; each may be NULL. */
struct sql_fsm_hooks {
    void *owner;
    /* The machine's slot and state are as they stand now, and whatever was read before is void: at
     * start, and after another slot took the place of the group's. */
    void (*opened)(void *owner, struct sql_fsm *fsm);
    void (*closed)(void *owner, struct sql_fsm *fsm);
    /* A commit is applied, in a batch that is not written yet: the version it made, and its pages
     * as its record has them (SPEC.md, "SQL state", tag c). */
    void (*changed)(void *owner, const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version,
                    uint32_t pages_count, struct bnd_slice pages);
    uint32_t rules_off; /* for the simulator (rules.h) */
};

struct sql_head; /* fsm_commit.c */
struct sql_plan; /* fsm_plan.h */

struct sql_fsm {
    struct sql_fsm_hooks hooks;
    uint64_t gid;
    uint32_t slot;
    struct bnd_state *state; /* NULL before open */
    struct bnd_link link;    /* the owner's, and what follows */
    uint8_t looked_at[BND_SQL_UUID_BYTES];
    bool proposing;

    /* As the newest batch leaves them. */
    struct sql_head *heads; /* newest versions of pages, by number and page modulo; NULL: none */
    bool due_known;
    uint64_t due_ms; /* when the first dead number may be swept; UINT64_MAX: there is none */
    bool pass_known;
    bool passing;          /* a pass of the retention is under way */
    struct sql_plan *plan; /* of it; NULL: none yet */
    uint64_t collected;    /* keys that passes have deleted since the machine was made */
    bool lease_known;
    uint64_t lease_ms; /* no lease is over before; UINT64_MAX: there is none */

    struct sql_unpacker *unpacker;
    struct bnd_buf joined;   /* staged parts */
    struct bnd_buf unpacked; /* what the hash is over, then the answer */
    struct bnd_buf pages;    /* numbers of the changed ones, for the commit record */
    struct bnd_buf value;    /* being written */
};

/* Returns owned by out: closed through its ops. BND_NOMEM. The hooks are copied. */
int sql_fsm_create(uint64_t gid, const struct sql_fsm_hooks *hooks, struct bnd_fsm *out);

#endif
