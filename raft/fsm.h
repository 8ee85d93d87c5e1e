/* What a service gives the Raft host: a state machine per group (architecture 4, 5).
 *
 * The replicated state of a group is the range of keys of every column family that begins with the
 * group's slot. Everything the group decides, it decides in `apply`, from that state, the command
 * and its context alone: no clock, no I/O beyond the batch, no randomness, no failure that another
 * replica would not have. */
#ifndef BND_RAFT_FSM_H
#define BND_RAFT_FSM_H

#include "engine/state.h"

/* What one command is applied under. Borrowed until apply returns. */
struct bnd_fsm_apply {
    uint64_t gid;
    uint64_t index;    /* of the entry; several commands of one entry share it */
    uint32_t position; /* of the command in its entry: (index, position) is unique and rising */
    uint64_t term;
    uint64_t stamp_ms; /* the entry's time, the leader's wall clock made monotonic in the group: the
                          only clock apply may read */
    bool time_suspended; /* the stamp has jumped and nobody has confirmed it: delete nothing because
                            its time is over (architecture 5, "Time") */
    uint32_t slot;
    uint32_t state_version;  /* behaviour may depend on it; raised by an entry (architecture 6) */
    struct bnd_state *state; /* for its ops only: apply reads and writes through the batch */
    struct bnd_state_batch *batch;
};

/* What a read runs over: the state after everything acknowledged before the read began. */
struct bnd_fsm_read {
    uint64_t gid;
    uint64_t applied;  /* index */
    uint64_t stamp_ms; /* of the newest applied entry */
    uint32_t slot;
    struct bnd_state *state;
};

struct bnd_fsm_ops {
    /* (Re)loads what the machine keeps in memory beside the state: at start, and after another slot
     * took the place of the group's state. Errors stop the node. */
    int (*open)(void *fsm, uint64_t gid, uint32_t slot, struct bnd_state *state,
                struct bnd_error *err);

    /* Decides and applies one command; appends the answer to *reply (empty on entry). Returns the
     * command's outcome: 0 or a code, which is stored with the reply under the request id and given
     * to whoever asked, now or by a retry. After a non-zero return the batch must be as it was on
     * entry. A command that cannot be decoded is BND_INVALID, on every replica alike. BND_NOMEM,
     * BND_CORRUPT and BND_IO are no outcome but this node's trouble: the host stops through
     * `fatal`. BND_CONFLICT is no outcome either: the command was made on a state that is not there
     * any more. Whoever asked is told, without a reply; nothing is stored under the request id, so
     * that a later operation with this id is decided anew. The machine must answer a late copy of
     * the same command so for ever. A reply has at most 4,096 bytes. */
    int (*apply)(void *fsm, const struct bnd_fsm_apply *context, struct bnd_slice command,
                 struct bnd_buf *reply);

    /* The batch with everything up to `index` is written: in-memory copies may now follow. May be
     * NULL. */
    void (*written)(void *fsm, uint64_t index);

    /* Answers one linearizable query from the state. On the group's loop; bounded work (a list
     * page, not a scan). Returns 0 or a code and fills *reply. */
    int (*read)(void *fsm, const struct bnd_fsm_read *context, struct bnd_slice query,
                struct bnd_buf *reply);

    /* Does the command make the state grow, so that it must be refused when disks are nearly full?
     * Any bytes; asked before they are proposed, by the leader alone. NULL: none does much. */
    bool (*grows)(void *fsm, struct bnd_slice command);

    /* The group is gone or the node stops. Takes fsm. */
    void (*close)(void *fsm);
};

struct bnd_fsm {
    const struct bnd_fsm_ops *ops;
    void *self;
};

#endif
