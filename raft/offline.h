/* The groups of a stopped node, read from its files: for `bindery doctor --data` and `bindery
 * recover` (ADR 0085). Nothing here runs a group; the node's process must not run either. */
#ifndef BND_RAFT_OFFLINE_H
#define BND_RAFT_OFFLINE_H

#include "engine/state.h"
#include "raft/configuration.h"

struct bnd_raft_offline {
    struct bnd_env *env;
    struct bnd_state *state; /* opened to be read; not of bnd_raft_recover */
    const char *journal_dir;
    uint64_t cluster_id;
    uint64_t node_id;
    bool (*is_other)(uint64_t gid); /* a group that no Raft runs, left out; NULL: none is */
};

struct bnd_raft_offline_group {
    uint64_t gid;
    uint64_t term;
    uint64_t last, last_term;       /* of the log */
    uint64_t applied, applied_term; /* as persisted: the rest is applied again by the next start */
    uint64_t stamp_ms;              /* the newest of state and log */
    uint32_t slot;
    struct bnd_raft_configuration configuration; /* the newest of state and log; may be empty */
    int status; /* 0; or BND_CORRUPT, BND_VERSION: the node will not start with it, `why` says it */
    char why[BND_ERROR_MESSAGE_MAX];
};

/* Reads journal and applied tuples and calls each(group), in order of gid, for every group that is
 * here. Blocking. Errors of bnd_journal_read; what each returned. out_torn (may be NULL): bytes of
 * a last write that was cut. */
int bnd_raft_offline_each(const struct bnd_raft_offline *from,
                          int (*each)(void *data, const struct bnd_raft_offline_group *group),
                          void *data, uint64_t *out_torn, struct bnd_error *err);

/* The first state slot above all that were ever used here. BND_CORRUPT, BND_IO. */
int bnd_raft_offline_slot_next(const struct bnd_raft_offline *from,
                               const struct bnd_raft_offline_group *groups, size_t count,
                               uint32_t *out, struct bnd_error *err);

struct bnd_raft_recovery {
    const struct bnd_raft_offline_group *groups; /* as read: those that are here */
    size_t groups_count;
    const uint64_t *lost; /* groups of which nothing is here: they are made anew, empty */
    size_t lost_count;
    uint32_t slot_next;       /* the first slot for those */
    uint64_t command_gid;     /* of this group: */
    struct bnd_slice command; /* is the first command that it executes after the recovery */
    uint64_t minter;          /* random, not 0: of the command's request id */
};

/* Makes this node the sole voter of every group: appends to each log a new term voted for by this
 * node, a configuration of it alone and, in one group, a command. Everything that stands in the
 * logs here becomes committed. One journal batch, so that a crash leaves all or nothing, up to
 * about 20,000 groups; beyond, do it again. done: on the env's loop, after the journal was closed;
 * status 0: durable. Immediate errors (done never comes): those of bnd_journal_open; BND_NOMEM. All
 * is copied. */
int bnd_raft_recover(const struct bnd_raft_offline *from, const struct bnd_raft_recovery *recovery,
                     void (*done)(void *data, int status, const struct bnd_error *err), void *data,
                     struct bnd_error *err);

/* Makes groups anew whose state is lost here while other replicas have it: each is destroyed and
 * created again, empty, under the slots slot_next, slot_next + 1, ... What it had promised stays
 * known (DESTROY keeps term, vote and where the log ended): it votes for no log that lacks what it
 * had acknowledged, and its leader fills it again. A crash leaves each of them as it was or made
 * anew. done and errors as above. */
struct bnd_raft_anew_group {
    uint64_t gid;
    uint64_t last, last_term; /* where its log ended, or an earlier one of this node had */
};
struct bnd_raft_anew {
    const struct bnd_raft_anew_group *groups;
    size_t count;
    uint32_t slot_next;
};
int bnd_raft_make_anew(const struct bnd_raft_offline *from, const struct bnd_raft_anew *anew,
                       void (*done)(void *data, int status, const struct bnd_error *err),
                       void *data, struct bnd_error *err);

#endif
