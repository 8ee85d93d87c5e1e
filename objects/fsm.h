/* The state machine of an object group (objects.h, raft/fsm.h). Inside objects/ only.
 *
 * Invariants
 *  1. Every check of a command comes before its first write: a refused command changes nothing.
 *  2. Every body that a manifest, a table of segments or a part names has a record 'b' with
 *     free_after_ms 0; a body that lost its name keeps the record until its time in 'f' is over,
 * and no body ever gets a name back.
 *  3. A command that brings a body is refused once the group's stamp is past the body's deadline;
 *     stamps never fall: a body without a record whose deadline is behind the stamp is garbage.
 *  4. BND_CORRUPT, BND_IO and BND_NOMEM from apply are this node's trouble, not the command's
 *     outcome: the host must stop. */
#ifndef BND_OBJECTS_FSM_H
#define BND_OBJECTS_FSM_H

#include "objects/command.h"
#include "objects/keys.h"
#include "objects/plain.h"

/* How long a body that was replaced or deleted lives on for those who read it. */
#define OBJECTS_BODY_KEEP_MS UINT64_C(600000)

struct objects_fsm;

/* What the node that runs the machine wants to know; both may be NULL. Never asked for decisions.
 */
struct objects_fsm_hooks {
    void *owner;
    /* A body was committed that these nodes have: from apply, before it is written. */
    void (*body)(void *owner, struct objects_fsm *fsm, const uint8_t *version,
                 const struct objects_body_record *record);
    void (*closed)(void *owner, struct objects_fsm *fsm);
};

/* Whether a bucket is sealed, as the newest batch leaves it: what a put asks every time. */
struct objects_seal_known {
    uint64_t bucket; /* 0: nothing is known (bucket ids begin with 1) */
    bool sealed;
};
#define OBJECTS_SEALS_KNOWN 16u

struct objects_fsm {
    struct objects_fsm_hooks hooks;
    uint64_t gid;
    uint32_t slot;
    struct bnd_state *state;   /* NULL before open */
    uint64_t applied_stamp_ms; /* of the newest command given to apply */
    uint64_t written_stamp_ms; /* of the newest command whose effects reads of state see */
    struct objects_seal_known seals[OBJECTS_SEALS_KNOWN]; /* by bucket modulo; fsm_seal.c */
    struct objects_plain plain; /* as the newest batch leaves it */
    struct bnd_link link;       /* the owner's */
    uint16_t sweep_fan; /* likewise: no body record lies below it (bodies/sweep.c, in a round) */
};

/* Returns owned by out: closed through its ops. BND_NOMEM. The hooks are copied. */
int objects_fsm_create(uint64_t gid, const struct objects_fsm_hooks *hooks, struct bnd_fsm *out);

#endif
