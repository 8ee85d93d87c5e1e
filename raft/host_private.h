/* The Raft host inside (internal to raft/): what its modules share. raft/README.md shows the pass.
 *
 * Rules:
 *  1. Everything runs on the host's loop. Callbacks of users come from host_pass only, so that a
 *     user may call back into the host from them: such calls only queue.
 *  2. Core inputs are called from the loop's events (mesh, journal, tick) and from the pass, never
 *     from inside a core's output.
 *  3. After host_fatal nothing is answered, sent or applied; the journal alone is finished. */
#ifndef BND_RAFT_HOST_PRIVATE_H
#define BND_RAFT_HOST_PRIVATE_H

#include "engine/journal/journal.h"
#include "raft/catchup.h"
#include "raft/group.h"
#include "raft/host.h"
#include "raft/readindex.h"

/* Committed entries waiting in one group: beyond it AppendEntries are dropped. */
#define BACKLOG_GROUP_BYTES_MAX (8u << 20)
/* Entries applied in one pass, over all groups; the rest goes on in the next one. */
#define APPLY_PASS_BYTES_MAX (4u << 20)
/* Messages waiting for the disk, over all groups; beyond it they are lost. */
#define HELD_BYTES_MAX (32u << 20)
/* Journal records not yet durable beyond which AppendEntries are dropped and proposals refused: the
 * cores' own records must always find room. */
#define JOURNAL_BATCH_BYTES_MAX (4u << 20)
#define JOURNAL_QUEUE_BYTES_MAX (48u << 20)
#define JOURNAL_QUEUE_BYTES_STOP (24u << 20)
/* Entries of one group proposed and not yet applied. */
#define FLYING_ENTRIES_MAX 64u
/* A proposal without an outcome for so long is answered BND_UNKNOWN. */
#define FLYING_NS_MAX (UINT64_C(40000) * BND_MS)
/* Reads waiting in one group. */
#define READS_GROUP_MAX 65536u
/* A state write answered BND_BUSY is tried again after this. */
#define STALL_RETRY_NS (UINT64_C(10) * BND_MS)

_Static_assert(JOURNAL_QUEUE_BYTES_STOP + BND_MESH_MESSAGE_MAX < JOURNAL_QUEUE_BYTES_MAX,
               "one more message fits behind the stop mark");

/* A group record on its way to the disk (host.making). */
struct making {
    struct bnd_link link;
    struct group *group;
    uint64_t lsn;
    uint64_t term, vote;
    struct bnd_buf entry;                 /* bootstrap: the configuration of entry 1; else empty */
    void (*done)(void *data, int status); /* may be NULL */
    void *data;
};

struct apply {
    struct bnd_link waiting; /* groups with backlog */
    struct bnd_link touched; /* groups in the batch */
    struct bnd_link answers; /* flying batches whose entries are in it */
    struct bnd_state_batch *batch;
    struct bnd_buf replies; /* of the answers, by offset */
    struct bnd_buf scratch;
    struct bnd_buf reply; /* of the operation under way */
    bool stalled;         /* the batch waits for the store */
    bool retry_due;
    struct bnd_timer retry;
};

/* Requests for the executor, and what it has (execute.c). */
struct executions {
    struct bnd_link groups; /* with some that wait */
    size_t count, bytes;
};

struct persist {
    struct bnd_state_persist request;
    bool running;
    uint64_t journal_bytes; /* the journal's bytes_written when it began */
    size_t cursor;          /* groups below it are compacted to the last persist */
    bool compacting;
};

/* A slot that the journal stops to name with this record: until it is durable a crash brings it
 * back. */
struct doomed_slot {
    uint32_t slot;
    uint64_t lsn;
};

/* space.c: another node whose disk is nearly full. */
struct tight_node {
    uint64_t node; /* 0: free */
    enum bnd_raft_space space;
    uint64_t heard_ns;
};
#define TIGHT_NODES_MAX                                                                            \
    64u /* more are taken for roomy: their bodies and journals refuse by themselves */

struct bnd_raft_host {
    struct bnd_raft_host_config config; /* with the defaults filled in */
    char *journal_dir;
    struct bnd_journal *journal;
    struct group **groups; /* sorted by gid */
    size_t groups_count, groups_cap;
    uint32_t slot_next;
    uint32_t slot_stored;  /* slot_next as the state has it; 0: it has none */
    uint32_t slot_storing; /* as the unwritten batch has it */
    struct doomed_slot *doomed;
    size_t doomed_count, doomed_cap;

    struct bnd_hook hook;
    struct bnd_timer tick;
    struct bnd_task wake; /* makes another pass come */
    bool wake_armed;
    bool tick_due;
    unsigned ticks;
    unsigned clock_ticks;
    size_t destroying; /* groups */
    size_t moving;     /* groups whose turn it is to exchange members */
    size_t yielding;   /* groups */
    size_t asking;     /* groups whose preferred leader is asked whether it will lead */
    bool retiring;     /* takes no leadership any more */
    uint64_t retire_until_ns;
    void (*retired)(void *data); /* to be told; NULL: nobody, or told */
    void *retired_data;

    enum bnd_raft_space space; /* this node's disk */
    struct tight_node tight[TIGHT_NODES_MAX];
    size_t tight_count;

    struct bnd_link storing;   /* groups with pending ops */
    struct bnd_link making;    /* struct making */
    struct bnd_link made;      /* likewise, durable: done is still to be told */
    struct bnd_link proposing; /* groups with queued batches */
    struct bnd_link changed;   /* groups */
    struct bnd_link reading;   /* groups with reads */
    struct executions executions;
    struct apply apply;
    struct persist persist;
    struct readindex readindex;
    struct replica_reads replica_reads;
    struct exports exports;
    struct imports imports;

    struct bnd_buf frame; /* one message on its way out */
    size_t held_bytes;
    size_t proposals_bytes;
    uint64_t lsn_last, lsn_durable;
    uint64_t stamp_ms; /* newest applied in any group */
    struct bnd_raft_host_stats stats;
    uint64_t frames_dropped; /* malformed, unknown or unwanted */

    bool dead; /* host_fatal was called */
    bool dead_told;
    struct bnd_error dead_why;
    bool closing;
    bool journal_failed;
    bool close_begun, journal_closing, journal_closed;
    void (*closed)(void *data);
    void *closed_data;
};

/* Stops the host for good, once; `fatal` is told when everything collected in the journal is
 * durable, or at once if the journal is what failed. */
void host_fatal(struct bnd_raft_host *host, const struct bnd_error *why);
/* host_fatal with a code and the group's number in the message. */
void host_fatal_group(struct group *group, int code, const char *what);
/* Another pass comes soon. */
void host_wake(struct bnd_raft_host *host);
/* True if proposals are refused: the store stalls or the journal's queue is long. */
bool host_congested(const struct bnd_raft_host *host);

/* slots.c: numbers of state ranges, local to this node. A number is used again only after a crash
 * that left nothing of its range, so that old bytes are never taken for a group's state. */
/* Reads or computes the next slot and drops what lies in slots that no group owns. After all groups
 * are opened. BND_CORRUPT, BND_IO, BND_NOMEM. */
int slots_open(struct bnd_raft_host *host, struct bnd_error *err);
uint32_t slots_new(struct bnd_raft_host *host);
/* Puts the next slot into a batch, of which at most one is unwritten at a time, so that no slot's
 * data is persisted before its number. */
void slots_store(struct bnd_raft_host *host, struct bnd_state_batch *batch);
/* That batch is written. */
void slots_stored(struct bnd_raft_host *host);
/* Drops the state of [from, to) in the background; nothing in the journal may name them. */
void slots_drop(struct bnd_raft_host *host, uint32_t from, uint32_t to);
/* Drops a slot once everything that is collected in the journal now is durable. */
void slots_drop_later(struct bnd_raft_host *host, uint32_t slot);
/* Drops those whose time has come. */
void slots_pass(struct bnd_raft_host *host);
/* Makes a group; configuration NULL: empty, to be filled by its leader. Its record is collected
 * now; `done` (may be NULL) comes in a pass once it is durable. BND_EXISTS, BND_FULL, BND_NOMEM. */
int host_group_make(struct bnd_raft_host *host, uint64_t gid,
                    const struct bnd_raft_configuration *configuration,
                    void (*done)(void *data, int status), void *data);

/* storage.c: between the cores and the journal. */
int storage_open(struct bnd_raft_host *host, struct bnd_error *err);
extern const struct bnd_core_ops storage_core_ops;
/* Frees the ring of ops and takes the group out of host.storing. */
void storage_forget(struct group *group);

/* transport.c: Raft messages over the mesh. */
void transport_open(struct bnd_raft_host *host);
/* Output `send` of the cores. */
int transport_send(struct group *group, const struct bnd_message *message, uint64_t after_op);
/* Sends what waited for ops that are durable now. */
void transport_release(struct group *group);
/* True if the group can take more entries now. */
bool transport_has_room(const struct group *group);
/* Forgets what waits. */
void transport_forget(struct group *group);

/* propose.c: proposals until they have an outcome. */
void propose_pass(struct bnd_raft_host *host);
/* Leadership or term changed: what is not proposed is answered BND_NOTLEADER. */
void propose_changed(struct group *group);
/* Answers overdue proposals. */
void propose_tick(struct bnd_raft_host *host);
/* An applied batch that is another term's entry: proposed again, or BND_NOTLEADER. */
void propose_again(struct batch *batch);
/* Everything at or below index can no longer be told apart (a snapshot covers it): BND_UNKNOWN. */
void propose_covered(struct group *group, uint64_t index);
/* Answers everything of the group: what was never proposed with `queued`, the rest BND_UNKNOWN. */
void propose_cancel(struct group *group, int queued);
/* Answers each proposal of a batch with the outcome set in it, and frees the batch. */
void propose_answer(struct batch *batch);
/* An outcome of an operation; its reply is a place in host.apply.replies. */
struct outcome {
    bool executed; /* by the state machine, now or when the id first came; else refused */
    int status;
    size_t reply_at, reply_len;
};
void propose_outcome(struct bnd_raft_propose *propose, const struct outcome *outcome);
/* True, inside cb, if status and reply are the state machine's and not the host's. */
bool propose_executed(const struct bnd_raft_propose *propose);

/* execute.c: requests executed on the leader. */
/* Gives what waits to the executor, in groups that are led here and ready. */
void execute_pass(struct bnd_raft_host *host);
/* Leadership or term changed: what waits is answered BND_NOTLEADER, what runs BND_UNKNOWN. */
void execute_changed(struct group *group);
/* Answers what waits too long. */
void execute_tick(struct bnd_raft_host *host);
/* Answers everything of the group: what waits with `status`, what runs BND_UNKNOWN. */
void execute_cancel(struct group *group, int status);
/* Forgets what was not answered (after host_fatal nothing is). */
void execute_drop(struct group *group);

/* apply.c: committed entries into the state, one batch per pass. */
int apply_open(struct bnd_raft_host *host);
void apply_close(struct bnd_raft_host *host);
/* Output `apply` of the cores. */
void apply_queue(struct group *group, const struct bnd_journal_entry *entry);
void apply_pass(struct bnd_raft_host *host);
/* Forgets what waits to be applied in the group. */
void apply_drop_backlog(struct group *group);
/* Takes the group out of apply's lists; only while no batch is unwritten. */
void apply_forget(struct group *group);

/* Proposes an entry without operations, which moves the group's time; nothing if this node does not
 * lead it, or if something else is on its way. */
void propose_stamp(struct group *group);
/* What a leader here would stamp now; of a group that is not here, this node's clock. */
uint64_t host_group_now_ms(const struct bnd_raft_host *host, uint64_t gid);

/* Frees what was not answered (after host_fatal nothing is). */
void propose_drop(struct group *group);

/* persist.c: making applied state durable, and the journal shorter. */
void persist_pass(struct bnd_raft_host *host);
/* Asks for a persist if a bound is passed. */
void persist_tick(struct bnd_raft_host *host);
/* Frees RAM of the cores' logs above log_bytes_node_max. */
void persist_log_tick(struct bnd_raft_host *host);

/* member.c: towards the wanted members. */
/* The group stops: its turn is over. */
void member_forget(struct group *group);
/* Makes the next change, if this node leads the group and one is due. */
void member_step(struct group *group);
/* member_step for every group. */
void member_tick(struct bnd_raft_host *host);
/* Is the node among the wanted members? */
bool member_wants(const struct group *group, uint64_t node);

/* Is the member at this place of the group's last picture at most entries in flight behind? The
 * leader only. */
bool member_caught_up(const struct group *group, size_t at);

/* handover.c: giving leaderships away. */
/* Hands the leadership over, to this voter if it can (0: to any): proposals wait until another
 * leads (they are then answered BND_NOTLEADER), for one election timeout at most; the successor is
 * told to stand once it has the whole log. */
void host_yield(struct group *group, uint64_t to);
/* The other voter to hand over to: heard from; the one that was asked for first, a wanted one
 * before others, then one with a good clock, then the one that has most of the log; 0: none. */
uint64_t host_successor(const struct group *group);
/* Goes on with what is being handed over. */
void handover_pass(struct bnd_raft_host *host);
/* Begins to hand over to preferred leaders. */
void handover_tick(struct bnd_raft_host *host);
/* Would this node lead the group? 0, or why not. */
int handover_serve(struct bnd_raft_host *host, uint64_t gid);
void handover_forget(struct group *group);

/* survey.c: tells about the groups led here. */
void survey_open(struct bnd_raft_host *host);
void survey_close(struct bnd_raft_host *host);

/* space.c: what is taken when disks are nearly full. */
/* Another node's own word. */
void space_heard(struct bnd_raft_host *host, uint64_t node, uint8_t space);
/* May the command be proposed? 0, BND_NOSPACE, or BND_BUSY: another leader will take it. */
int space_admit(const struct group *group, struct bnd_slice command);
/* Hands leaderships over to voters with room. */
void space_tick(struct bnd_raft_host *host);

/* leave.c: whether a replica that is not wanted is still a member. */
/* Answers the question, as the leader. */
void leave_serve(struct bnd_raft_host *host, struct bnd_rpc_request *request, uint64_t gid);
/* Asks, and tells what is known. */
void leave_tick(struct bnd_raft_host *host);
void leave_forget(struct group *group);

/* leader_lost.c: with each tick, before the core's: stands for election soon where the leader's
 * connection is gone. */
void leader_lost_tick(struct group *group);

/* close.c: the end of a host, in steps. Tells `persisted` came while closing. */
void close_step(struct bnd_raft_host *host);

#endif
