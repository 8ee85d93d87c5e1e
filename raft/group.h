/* One group of the host: its core, its state machine, and the queues between them (internal).
 *
 * Who fills which part: storage.c ops; transport.c held; propose.c queue and flying; apply.c
 * backlog, applying and written; readindex.c reads; replica_read.c
 * replica_reads; execute.c executions; persist.c persisted; member.c want; handover.c
 * balance and yield. */
#ifndef BND_RAFT_GROUP_H
#define BND_RAFT_GROUP_H

#include "raft/core.h"
#include "raft/dedupe_table.h"
#include "raft/host.h"
#include "raft/tuple.h"

enum group_phase {
    GROUP_GONE,    /* destroyed here: only term and vote are known */
    GROUP_MAKING,  /* its record is on the way to the disk */
    GROUP_RUNNING, /* core and fsm are there */
};

/* The proposals of one entry, in the order of its operations. */
struct batch {
    struct bnd_link link; /* in group.queue, group.flying, or apply's answers */
    struct group *group;
    struct bnd_buf bytes; /* the entry */
    struct bnd_link proposals;
    uint32_t count;
    uint64_t index; /* once proposed */
    uint64_t term;
    uint64_t since_ns; /* when it was first proposed; 0: never */
    bool executed;     /* once applied: its own term's entry is at index */
};

/* A core's log operation and the journal record that makes it durable. */
struct group_op {
    uint64_t op;
    uint64_t lsn;
};

struct group_ops {
    struct group_op *items; /* a ring of cap (power of two) */
    size_t head, count, cap;
    uint64_t durable;  /* the highest durable op */
    uint64_t meta_lsn; /* of the newest term and vote */
};

/* Committed entries not yet applied: { u64 index, u64 term, u8 kind, u32 length, data } each. */
struct group_backlog {
    struct bnd_buf bytes;
    size_t at;
};

struct group_reads {
    struct bnd_link waiting; /* for the next round */
    struct bnd_link asked;   /* in the round under way */
    struct bnd_link granted; /* until index is written */
    uint64_t seq;            /* of the round under way; 0: none */
    uint64_t seq_last;
    uint64_t term;
    uint64_t acked[BND_RAFT_MEMBERS_MAX]; /* nodes */
    size_t acked_count;
    size_t count; /* in the three lists */
};

/* Requests for the executor (execute.c). */
struct group_executions {
    struct bnd_link waiting;   /* for this node to be ready */
    struct bnd_link running;   /* the executor has them, and somebody waits for the outcome */
    struct bnd_link host_link; /* in host.executions.groups while some wait */
};

/* Reads of this replica while another node leads (replica_read.c). */
struct group_replica_reads {
    struct bnd_link waiting;    /* for a frame to the leader */
    struct bnd_link asked;      /* in the frame in flight */
    struct bnd_link granted;    /* until index is written */
    struct bnd_link refused;    /* the leader would not say */
    struct bnd_link host_link;  /* in host.replica_reads.groups while there are some */
    uint64_t round;             /* of the frame in flight that asks for the group; 0: none */
    uint64_t leader, term;      /* it asks, in which */
    uint64_t index, index_term; /* the newest answer, of said_leader in said_term */
    uint64_t said_leader, said_term;
    uint64_t avoid_until_ns; /* not asked before: it did not help */
    size_t count;            /* in the four lists */
};

struct import;

/* Who should be in the group; kept while its struct lives, in whatever phase. */
struct group_want {
    uint64_t nodes[BND_RAFT_MEMBERS_MAX];
    size_t count;            /* 0: no wish */
    uint64_t changed_ns;     /* the wish came, or became another */
    uint64_t even_since_ns;  /* that many voters; 0: odd */
    uint64_t yield_after_ns; /* no handing over before */
    bool moving;             /* it is the group's turn to exchange members */
    uint64_t moved_ns;       /* it last came further in its turn, or had none; */
    uint64_t moved_mark;     /* how far it was then */
};

/* Who should lead (handover.c); kept while its struct lives. */
struct group_balance {
    uint64_t order[BND_RAFT_MEMBERS_MAX]; /* nodes, best first */
    size_t count;                         /* 0: nobody is preferred */
    uint64_t to;                          /* who should lead instead of this node; 0: nobody */
    uint64_t fit_ns;                      /* since when */
    struct bnd_rpc_call call;             /* will it? */
    bool asking;
    uint64_t ask_ns;         /* not before */
    uint64_t at_ns, calm_ns; /* of the last attempt: when, and no other before */
    unsigned attempts;       /* that followed each other, but the first */
};

/* A replica that is not wanted asks whether it is still a member (leave.c). */
struct group_leave {
    struct bnd_rpc_call call;
    bool asking;
    unsigned turn;          /* whom to ask */
    uint64_t removed_index; /* as of which it is no member: to be told; 0: none */
};

struct group {
    struct bnd_raft_host *host;
    uint64_t gid;
    enum group_phase phase;
    bool destroying;
    bool known; /* it is here, or was */
    uint32_t slot;
    uint64_t gone_term, gone_vote;  /* of a destroyed group */
    struct bnd_journal_floor floor; /* of the last time it was destroyed (G9) */

    struct bnd_core *core;
    struct bnd_fsm fsm;
    struct bnd_core_status status; /* as of the last group_refresh */
    struct bnd_link changed_link;  /* in host.changed */

    struct group_ops ops;
    struct bnd_link ops_link; /* in host.storing while ops are pending */
    struct bnd_link held;     /* struct held_message, in order */
    uint64_t last_index;      /* of the log, as journalled */

    struct bnd_link queue;  /* batches not yet proposed */
    struct bnd_link flying; /* batches proposed, in order of index */
    size_t flying_count;
    size_t proposals_bytes;  /* of both */
    uint64_t stamp_ms;       /* the newest given to an entry here or applied */
    uint64_t yield_until_ns; /* the leadership is being handed over: nothing is proposed; 0: no */
    bool yield_asked;        /* and another voter was told to stand */
    uint64_t clock_after_ns; /* no handing over because of the clock before (clock.c) */
    uint64_t space_after_ns; /* likewise because of the disk (space.c) */
    uint64_t yield_to;       /* who is to lead next; 0: whoever can */
    struct bnd_link propose_link; /* in host.proposing while queue is not empty */

    struct group_backlog backlog;
    struct bnd_link apply_link;   /* in host.apply.waiting while there is backlog */
    struct bnd_link touched_link; /* in host.apply.touched while the batch holds some of it */
    struct tuple applying;        /* with the unwritten batch */
    struct dedupe_table ids;      /* likewise */
    struct tuple written;
    struct tuple settled;   /* as the last persist left it */
    uint64_t journal_start; /* index; never above settled */

    bool leader_lost; /* its connection is gone, and an election begins soon */

    struct group_want want;
    struct group_balance balance;
    struct group_leave leave;
    size_t exports;         /* of its state, under way (export.c) */
    struct import *import;  /* of another replica's state, under way (import.c); or NULL */
    uint64_t covered_index; /* installed, and proposals up to it not yet answered; 0: none */

    struct group_executions executions;
    struct group_reads reads;
    struct bnd_link reads_link; /* in host.reading while a read waits */
    struct group_replica_reads replica_reads;
};

/* Makes the struct, empty and GONE, and puts it into the host's table. BND_NOMEM. */
int group_add(struct bnd_raft_host *host, uint64_t gid, struct group **out);
/* The group of a gid in any phase, or NULL. */
struct group *group_find(const struct bnd_raft_host *host, uint64_t gid);
/* The group if it is RUNNING, or NULL. */
struct group *group_running(const struct bnd_raft_host *host, uint64_t gid);

/* Makes fsm and core of a group whose record is durable, from its persisted tuple and the journal's
 * entries (borrowed). The core is not started. Errors of fsm_make, fsm.open, bnd_core_open;
 * BND_CORRUPT: journal and state do not fit together. */
int group_open(struct group *group, const struct bnd_journal_group *recovered,
               struct bnd_error *err);
/* Reads the request ids of the group's slot, whose tuple is given, in place of those in memory.
 * Errors of dedupe_load. */
int group_load_ids(struct group *group, const struct tuple *tuple, struct bnd_error *err);
/* Starts the core of an opened group: RUNNING. */
void group_start(struct group *group);

/* Closes core and fsm and forgets all queues; what still waits for an answer must have had it. */
void group_stop(struct group *group);
/* group_stop, and frees the struct (not its place in the table). */
void group_free(struct group *group);

/* Takes a new picture of the core. */
void group_refresh(struct group *group);

#endif
