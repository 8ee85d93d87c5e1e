/* The Raft host of a node: all its groups, on one loop, over one journal, one mesh, one state
 * (architecture 4-7; reference: raft/README.md).
 *
 * What it promises its users:
 *  1. A proposal answered 0 (or with the state machine's own code) is committed, applied and
 * written here, and survives the loss of any minority of the group's voters.
 *  2. A request id is executed at most once; a retry gets the first outcome (raft/dedupe).
 *  3. A read answered 0 sees everything acknowledged anywhere before it began (batched read index).
 *  4. An outcome is never guessed: BND_NOTLEADER, BND_BUSY, BND_FULL and BND_NOSPACE mean certainly
 * not executed (by this proposal: an earlier one under the same id may have been), and so does a
 * state machine's BND_CONFLICT (fsm.h); BND_UNKNOWN and BND_EXPIRED mean that only the request id
 * can tell.
 *  5. Whatever cannot be handled safely stops the node through `fatal`, after the journal is in
 * order. */
#ifndef BND_RAFT_HOST_H
#define BND_RAFT_HOST_H

#include "base/env.h"
#include "base/histogram.h"
#include "base/pacer.h"
#include "engine/state.h"
#include "net/mesh.h"
#include "net/rpc.h"
#include "raft/configuration.h"
#include "raft/fsm.h"

#define BND_RAFT_COMMAND_MAX                                                                       \
    (1u << 20) /* one command; entries of several are cut near entry_bytes_max */

/* Of a request that is executed on the leader, and of its outcome. */
#define BND_RAFT_EXECUTE_BODY_MAX ((4u << 20) + 4096u)
#define BND_RAFT_EXECUTE_REPLY_MAX ((6u << 20) + 4096u)

struct bnd_raft_host;
struct bnd_raft_execution;
struct bnd_journal;
struct bnd_journal_group;

/* The guards of raft/guard.h, as bits: all on in production; the simulator switches them off one by
 * one. */
#define BND_RAFT_GUARDS_ALL UINT32_MAX

struct bnd_raft_host_config {
    struct bnd_env *env; /* all borrowed for the host's life */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    const char *journal_dir;      /* copied; the host owns the journal */
    size_t journal_segment_bytes; /* 0: the journal's default */
    uint64_t cluster_id;
    uint64_t node_id;
    uint32_t heartbeat_ms;  /* 0: 100: a leader's, where it sends nothing else */
    uint32_t tick_ms;       /* 0: heartbeat_ms, at most that: how often time is looked at */
    uint32_t election_ms;   /* 0: 1,000; each wait is drawn from [election, 2 x election] */
    uint32_t guards;        /* BND_RAFT_GUARDS_ALL */
    size_t entry_bytes_max; /* 0: 256 KiB: proposals of one pass are coalesced up to this */
    size_t
        proposals_bytes_max; /* 0: 32 MiB waiting or in flight on this node; beyond it BND_FULL */
    size_t proposals_group_bytes_max; /* 0: 8 MiB, likewise per group */
    size_t
        log_bytes_group_max; /* 0: 1 MiB of retained log in RAM per group before it is compacted */
    size_t log_bytes_node_max;    /* 0: 64 MiB over all groups */
    size_t unpersisted_bytes_max; /* 0: 64 MiB of state above the persisted tuple before a persist
                                     is asked */
    uint32_t moves_max; /* 0: 4 groups that this node leads exchange members at a time; groups that
                           lack voters are not counted */
    struct bnd_pacer *pacer; /* borrowed: how fast states of groups are taken in; NULL: no bound */
    size_t dedupe_entries_max; /* 0: 65,536 request ids per group; the same on every node of a
                                  cluster */

    size_t executions_max;       /* 0: 4,096 requests waiting for the executor or with it */
    size_t executions_bytes_max; /* 0: 64 MiB of their bodies */

    void *owner;
    /* Makes the state machine of a group of this kind (host takes it; closed by its ops). */
    int (*fsm_make)(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err);
    /* A Raft message came for a group that this node does not have: may it be made, empty, to be
     * filled by its leader? (from is an authenticated member of the cluster.) */
    bool (*group_wanted)(void *owner, uint64_t gid, uint64_t from);
    /* Does the node hold everything that the group's state counts on beside the log? Asked by the
     * leader, on ticks, before it makes the node a voter, and of every other wanted voter before it
     * takes a voter away that is up: false only puts that off. NULL: always. */
    bool (*holds_all)(void *owner, uint64_t gid, uint64_t node);
    /* Executes a request on the leader (ADR 0101): comes from the pass, and only while this node
     * leads the group and is ready in it. Must lead to one bnd_raft_execution_reply, from inside or
     * later. NULL: callers are told BND_UNAVAILABLE in the end. */
    void (*execute)(void *owner, struct bnd_raft_execution *execution);
    /* Something changed in a group here: role, leader, term, members. For metrics and waiting
     * calls. */
    void (*group_changed)(void *owner, uint64_t gid);
    /* The group's leader says that this node, which bnd_raft_group_want leaves out, is in its
     * configuration no more: the group may be destroyed, from inside this callback (later it may
     * have been added again). Told again and again until it is, or is wanted. May be NULL. */
    void (*group_removed)(void *owner, uint64_t gid);
    /* This node's clock is off by so much against the voters' median (ahead: positive), or is right
     * again. A node that is off hands its leaderships over where it can. May be NULL. */
    void (*clock_changed)(void *owner, int64_t ahead_ms, bool off);
    /* The group's time has jumped, so that deletion by time is suspended in it; to_ms 0: that is
     * over, an operator has confirmed it. On every replica. May be NULL. */
    void (*time_jumped)(void *owner, uint64_t gid, uint64_t from_ms, uint64_t to_ms);
    /* A recovered group of the journal that is another's and that no Raft runs: *out_other, and the
     * host leaves it alone. Asked for each from inside create; group is borrowed. An error stops
     * create. NULL: all are the host's. */
    int (*other_group)(void *owner, const struct bnd_journal_group *group, bool *out_other,
                       struct bnd_error *err);
    /* All journal records up to lsn are durable, also those of others. May be NULL. */
    void (*durable)(void *owner, uint64_t lsn);
    /* Final: the process must stop with status 75 and this reason. Nothing is answered after it. */
    void (*fatal)(void *owner, const struct bnd_error *why);
};

/* Opens journal and state, recovers every group and starts them. Blocking (start-up); after
 * bnd_core_library_init. On success
 * *out is owned by the caller. Errors: those of bnd_journal_open; BND_CORRUPT when journal and
 * state do not fit together. */
int bnd_raft_host_create(const struct bnd_raft_host_config *config, struct bnd_raft_host **out,
                         struct bnd_error *err);

/* Stops all groups; every proposal and read under way is answered BND_UNKNOWN or BND_CANCELED
 * first; journal writes under way are finished; then `closed`, last. Does not close mesh, rpc or
 * state. */
void bnd_raft_host_close(struct bnd_raft_host *host, void (*closed)(void *data), void *data);

/* Makes a new group with these members (this node among them as a voter), durably, before it
 * returns control to `done` (later, on the loop). Only for the first node of a cluster, or once by
 * each member alike. BND_EXISTS. */
int bnd_raft_group_bootstrap(struct bnd_raft_host *host, uint64_t gid,
                             const struct bnd_raft_member *members, size_t count,
                             void (*done)(void *data, int status), void *data);

/* Removes a group and its state from this node; its term and vote stay known. Only when this node
 * is in no configuration of it: the caller has that from the group's leader. */
int bnd_raft_group_destroy(struct bnd_raft_host *host, uint64_t gid);

/* One proposal. The caller owns the struct until cb; zero it before first use. */
struct bnd_raft_request_id {
    uint64_t minter; /* unique per process that mints ids: random, non-zero */
    uint64_t seq;    /* rising from 1 */
};

struct bnd_raft_propose {
    struct bnd_raft_request_id id;
    uint64_t
        low_seq; /* the minter's lowest seq not yet answered: outcomes below it are forgotten */
    uint64_t deadline_ms;     /* in the group's stamps: apply refuses the id later (BND_EXPIRED) */
    struct bnd_slice command; /* copied by the call */
    /* status and reply: the state machine's, or this host's code with an empty reply. */
    void (*cb)(struct bnd_raft_propose *propose, int status, struct bnd_slice reply);
    void *data;
    /* private to raft/ */
    struct bnd_link link;
    void *priv[8];
};

/* Proposes on this node. Answered through cb, later. Immediate errors (cb never called):
 * BND_NOTLEADER, BND_FULL, BND_BUSY (admission stopped: the store stalls, or the disk is nearly
 * full and the leadership is being handed over), BND_NOSPACE (bnd_raft_host_space), BND_TOOBIG,
 * BND_NOTFOUND (no such group here). */
int bnd_raft_propose(struct bnd_raft_host *host, uint64_t gid, struct bnd_raft_propose *propose);

struct bnd_raft_read {
    /* status 0: now, from inside this callback, the state may be read at context. BND_NOTLEADER,
     * BND_CANCELED: not read, ask again elsewhere. */
    void (*cb)(struct bnd_raft_read *read, int status, const struct bnd_fsm_read *context);
    void *data;
    struct bnd_link link;
    uint64_t index; /* private, and since_ns */
    uint64_t since_ns;
};

/* Waits until this node may serve a linearizable read of the group: leader only. Immediate errors
 * as above. */
int bnd_raft_read(struct bnd_raft_host *host, uint64_t gid, struct bnd_raft_read *read);

/* The same on whatever replica this node has (ADR 0108): one that follows asks its leader what is
 * committed and waits until that is applied here. Meant for who can ask the leader instead:
 * BND_NOTLEADER (no leader is known, or it would not say) and BND_BUSY (no answer, or not applied,
 * within 50 ms; and for a second afterwards) say so, at once or through cb. */
int bnd_raft_read_replica(struct bnd_raft_host *host, uint64_t gid, struct bnd_raft_read *read);

/* A request that a group's leader executes before anything is proposed (BND_SHARD_EXECUTE of
 * raft/client.h; ADR 0101): what is then proposed under its id, if anything, is decided there. The
 * executor has it from bnd_raft_host_config.execute until it replies.
 *
 * - The same id may come again while the first is still being executed (its asker could not know),
 *   also to another node that leads by then: to join the two is the executor's business. Whatever
 *   it proposes goes under id, low_seq and deadline_ms as they are here, so that of all attempts
 *   together one at most has an outcome.
 * - When this node stops leading the group its askers are told BND_UNKNOWN at once, and ask the
 *   next leader under the same id. The executor goes on and replies all the same; nobody hears it.
 * - Everything must be replied to before bnd_raft_host_close. */
struct bnd_raft_execution {
    uint64_t gid;
    struct bnd_raft_request_id id;
    uint64_t low_seq;
    uint64_t deadline_ms;  /* in the group's stamps: nothing proposed under the id is executed later */
    struct bnd_slice body; /* borrowed until the reply */
    void *data;            /* the executor's own */
};

/* Ends an execution; its memory goes. executed: status and bytes (at most
 * BND_RAFT_EXECUTE_REPLY_MAX, copied or sent before it returns) are the final outcome. Else status
 * is a code that says why not: BND_NOTLEADER, BND_BUSY, BND_FULL, BND_NOSPACE: certainly nothing
 * was and will be executed; BND_UNKNOWN: perhaps, so that the asker retries under the same id.
 * The asker's callback may be called from inside. */
void bnd_raft_execution_reply(struct bnd_raft_execution *execution, bool executed, int status,
                              struct bnd_slice bytes);

/* What the state here, with everything applied to it, says of a request id: 0 with *out_status and
 * *out_reply (borrowed until this call of the loop returns): it was executed, and had this outcome.
 * BND_NOTFOUND: it has none, or the group is not here; of an id whose deadline is past by the newest
 * stamp that says nothing, as outcomes are swept then. BND_EXPIRED: its minter has had its answer,
 * and the outcome was forgotten. */
int bnd_raft_outcome(const struct bnd_raft_host *host, uint64_t gid,
                     const struct bnd_raft_request_id *id, int *out_status,
                     struct bnd_slice *out_reply);

/* The members the group should have, sorted by node id (roles: VOTER for all wanted replicas). The
 * leader moves the group there one change at a time: spare -> standby (caught up) -> voter,
 * additions before removals, and only in numbers of voters 1, 3, 5: at two wanted voters the second
 * stays standby. No voter goes for two election timeouts after the wish changed (ADR 0071).
 * Idempotent; kept in memory only: every node calls it whenever the shard map
 * changes and after start. */
void bnd_raft_group_want(struct bnd_raft_host *host, uint64_t gid,
                         const struct bnd_raft_member *members, size_t count);

/* Who should lead the group, best first (at most BND_RAFT_MEMBERS_MAX; none: whoever leads). A
 * leader hands over to a voter that goes before it once that voter has answered and had nearly the
 * whole log for three election timeouts, and nothing in the group is on its way: changes of
 * members, followers catching up. A leader that is not named hands over at once; it leads only for
 * want of others. At most four groups of a node at once; attempts in a group are ten election
 * timeouts apart, more when they lead to nothing. Kept in memory only, as bnd_raft_group_want,
 * which comes first. */
void bnd_raft_group_prefer(struct bnd_raft_host *host, uint64_t gid, const uint64_t *nodes,
                           size_t count);

/* Hands every leadership over, and takes none any more: for a clean stop. retired comes once,
 * later, on the loop: when this node leads nothing that another voter could, or after two election
 * timeouts; never after bnd_raft_host_close or `fatal`. */
void bnd_raft_host_retire(struct bnd_raft_host *host, void (*retired)(void *data), void *data);

/* Asks every leader here to hand over, to a wanted voter if it can, then to the most advanced. Best
 * effort; the node may lead again. */
void bnd_raft_step_down_all(struct bnd_raft_host *host);

/* Room on a node's disk (ADR 0076). */
enum bnd_raft_space {
    BND_RAFT_SPACE_OK,
    BND_RAFT_SPACE_LOW, /* only commands that do not grow the state are taken (bnd_fsm_ops.grows) */
    BND_RAFT_SPACE_NONE, /* no command is taken at all, so that the journal never meets a full disk
                          */
};

/* Tells the host of its own disk; OK until told. A node without room hands its leaderships to
 * voters that have some; where a majority of a group's voters has none, its leader refuses
 * (BND_NOSPACE) what they could not take. */
void bnd_raft_host_space(struct bnd_raft_host *host, enum bnd_raft_space space);

/* This node's, or what another node has told in the last seconds to a group that is led here;
 * OK: nothing else is known. */
enum bnd_raft_space bnd_raft_node_space(const struct bnd_raft_host *host, uint64_t node);

enum bnd_raft_state { BND_RAFT_FOLLOWER, BND_RAFT_CANDIDATE, BND_RAFT_LEADER, BND_RAFT_INSTALLING };

struct bnd_raft_group_status {
    uint64_t gid;
    enum bnd_raft_state state;
    uint64_t term, leader; /* leader 0: not known */
    bool ready; /* leader whose barrier of this term is applied: reads and changes are served */
    uint64_t commit, applied, last_index, persisted, stamp_ms;
    uint64_t jump_from_ms, jump_to_ms; /* the stamp jumped so, unconfirmed; 0: no */
    uint32_t slot;
    struct bnd_raft_member members[BND_RAFT_MEMBERS_MAX]; /* latest configuration in the log */
    uint64_t match[BND_RAFT_MEMBERS_MAX];                 /* leader only: stored index of each */
    size_t members_count;
    uint64_t log_bytes; /* retained in RAM */
};

/* BND_NOTFOUND. */
int bnd_raft_group_status(const struct bnd_raft_host *host, uint64_t gid,
                          struct bnd_raft_group_status *out);
/* Does this node lead the group, by the last picture? */
bool bnd_raft_leads(const struct bnd_raft_host *host, uint64_t gid);
/* Is the group here, or was it once? Who had it and left makes it anew only for its leader. */
bool bnd_raft_group_known(const struct bnd_raft_host *host, uint64_t gid);
/* Calls each(gid) in rising order. */
void bnd_raft_each_group(const struct bnd_raft_host *host, void (*each)(void *data, uint64_t gid),
                         void *data);

struct bnd_raft_host_stats {
    uint64_t proposals, entries, applied, reads, read_rounds, elections, installs_sent,
        installs_received;
    uint64_t persists, messages_sent, messages_held, journal_bytes, proposals_bytes;
    uint64_t journal_batches;     /* durable writes */
    struct bnd_histogram commits; /* entries led here: from the first proposal to applied */
    uint64_t clock_handovers;     /* of leaderships, because this node's clock is off */
    bool clock_known;             /* against a majority of some group's voters */
    bool clock_off;               /* more than 500 ms from their median */
    int64_t clock_ahead_ms;       /* of the median */
    uint64_t handovers;           /* begun, to preferred leaders */
    uint64_t export_bytes;        /* of state, sent to other nodes since start */
    uint64_t moving;              /* groups led here that exchange members now */
    uint64_t executions;          /* requests given to the executor */
};
void bnd_raft_host_stats(const struct bnd_raft_host *host, struct bnd_raft_host_stats *out);

/* The host's journal, for groups that are others' (bnd_raft_host_config.other_group). They end their
 * work with it before the host is closed. */
struct bnd_journal *bnd_raft_host_shared_journal(struct bnd_raft_host *host);

/* Of the host's journal (engine/journal/journal.h). */
struct bnd_journal_stats;
void bnd_raft_host_journal(const struct bnd_raft_host *host, struct bnd_journal_stats *out);

/* The command with which an operator confirms a group's time: for bnd_raft_propose or a write of
 * bnd_shard_call. It confirms a jump to a stamp of at most up_to_ms; the reply is one byte, 1:
 * there was one. */
#define BND_RAFT_CONFIRM_BYTES 10
void bnd_raft_confirm_time(uint64_t up_to_ms, uint8_t out[BND_RAFT_CONFIRM_BYTES]);

/* True while deletion by time is suspended in the group, as this node has it. */
bool bnd_raft_time_suspended(const struct bnd_raft_host *host, uint64_t gid);

/* The newest stamp seen in any group: what an operator confirms. */
uint64_t bnd_raft_stamp_ms(const struct bnd_raft_host *host);

/* The same, but no later than this group can be: a clock that jumped may have moved the time of one
 * group by hours and that of no other. For deadlines of what is proposed to the group, and for what
 * is old in it (architecture 5). */
uint64_t bnd_raft_group_stamp_ms(const struct bnd_raft_host *host, uint64_t gid);

#endif
