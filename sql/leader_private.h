/* The executor inside (leader.h): what its parts share.
 *
 *   leader.c    databases by uuid, tasks by request id, groups and their terms, memory
 *   task.c      one request: asked once or by several attempts, answered once
 *   database.c  a database: its queue and the state of its writer
 *   pass.c      tasks run on the writer, proposed, and answered when they have their outcomes
 *   reader.c    tasks run on readers
 *
 * Threads: a pass or a reader's batch is the pool's from its submission until its `done`, and with
 * it: the connections and views it names, and of its tasks the fields of struct sql_ran. All else
 * is the loop's. */
#ifndef BND_SQL_LEADER_PRIVATE_H
#define BND_SQL_LEADER_PRIVATE_H

#include "sql/connection.h"
#include "sql/leader.h"
#include "sql/pack.h"

#define SQL_READERS_MAX 4u
/* On the pool at once, of all databases: a statement may run for 30 s, and the journal, bodies and
 * writers of other databases need threads too. */
#define SQL_WORKS_MAX 6u
#define SQL_READS_MAX 4u
/* Of one run on the pool; what is left goes into the next. */
#define SQL_RUN_TASKS_MAX 128u
#define SQL_RUN_NS_MAX (UINT64_C(25) * BND_MS)
/* Reads are spread over readers only in batches of so much work: to wake a thread, and the loop
 * after it, costs as much as a few short ones. */
#define SQL_READ_NS_MIN UINT64_C(300000)
#define SQL_RUN_BYTES_MAX (2u << 20) /* of answers and commands */
/* Of one database; beyond it BND_FULL. (All of a node's are bounded by the host.) */
#define SQL_QUEUE_TASKS_MAX 2048u
#define SQL_QUEUE_BYTES_MAX ((size_t)16 << 20)
#define SQL_RUNS_MAX 8u /* of one task, then BND_BUSY */

/* ---- a barrier: bnd_raft_read_replica that can be forgotten ---- */

struct sql_barrier {
    struct bnd_raft_read read;
    void (*cb)(void *data, int status, const struct bnd_fsm_read *context); /* NULL: forgotten */
    void *data;
};
/* As bnd_raft_read_replica. cb comes once, later, and the barrier is gone. BND_NOMEM. */
int sql_barrier_ask(struct sql_leader *leader, uint64_t gid,
                    void (*cb)(void *data, int status, const struct bnd_fsm_read *context),
                    void *data, struct sql_barrier **out);
void sql_barrier_forget(struct sql_barrier *barrier); /* NULL allowed */

/* ---- tasks ---- */

/* What a run made of a task; the pool's while it runs. */
struct sql_ran {
    int status; /* 0, or why it could not be run (nothing is changed then) */
    enum bnd_sql_outcome outcome;
    struct bnd_buf text;
    bool wants_writer;
    bool changed;
    uint64_t version;        /* made */
    uint32_t page_count;     /* at it */
    int64_t last_row_id;     /* before, then after it */
    struct bnd_buf commands; /* of sql_packer_commit */
    uint32_t commands_count;
};

struct sql_task {
    struct bnd_link link; /* in one list of its database, pass or reader */
    struct sql_task *id_next;
    struct sql_leader *leader;
    struct bnd_raft_request_id id;
    struct bnd_raft_execution *asked; /* chained through ->data */
    struct sql_local
        *local;     /* asked for here, of this replica: then it has no id, and it borrows */
    uint8_t *owned; /* its request from here; else, */
    struct bnd_sql_request request; /* the body of the first that asked */
    bool primary;                   /* this node leads */
    uint8_t uuid[BND_SQL_UUID_BYTES];
    size_t bytes;
    unsigned runs;
    bool counted; /* in its database's queue */
    struct sql_ran ran;
};

/* A task for an execution; answers it when it cannot be one (NULL is returned then). */
struct sql_task *sql_task_create(struct sql_leader *leader, struct bnd_raft_execution *execution);
/* A task for a read of this replica. NULL: no memory, or the request is none. */
struct sql_task *sql_task_create_local(struct sql_leader *leader, struct sql_local *local,
                                       struct bnd_slice request);
/* The task under way with this id, or NULL. */
struct sql_task *sql_task_find(struct sql_leader *leader, const struct bnd_raft_request_id *id);
void sql_task_join(struct sql_task *task, struct bnd_raft_execution *execution);
bool sql_task_reads(const struct sql_task *task); /* it looks as if it only read */
/* It names last_insert_rowid(), which only the leader knows. */
bool sql_task_asks_last_row(const struct sql_task *task);
bool sql_task_wanted(const struct sql_task *task); /* somebody asks, and its time is not over */
void sql_task_forget_run(struct sql_task *task);

/* Each replies to all that asked and frees the task, which is in no list. */
void sql_task_refuse(struct sql_task *task, int status); /* not executed, or BND_UNKNOWN */
void sql_task_fail(struct sql_task *task, int status);   /* that is the outcome */
void sql_task_answer(struct sql_task *task,
                     const uint8_t bookmark[BND_SQL_BOOKMARK_BYTES]); /* as it ran */
/* Answers and does not free it: for the rule that nobody does so. It is not run again. */
void sql_task_answer_early(struct sql_task *task, const uint8_t bookmark[BND_SQL_BOOKMARK_BYTES]);
/* From the reply of a commit that was made under its id, now or in an earlier attempt. */
void sql_task_answer_kept(struct sql_task *task, struct bnd_slice reply);
/* What is in the id table; false: nothing. */
bool sql_task_answer_known(struct sql_task *task, uint64_t gid);

/* ---- databases ---- */

/* A connection over its view. */
struct sql_connected {
    struct sql_view *view;
    struct sql_connection *connection;
};
/* On the pool. */
int sql_connected_open(struct sql_connected *connected, struct bnd_env *env,
                       const struct sql_view_config *config);
void sql_connected_close(struct sql_connected *connected); /* idempotent */
size_t sql_connected_bytes(const struct sql_connected *connected);

/* On the pool: runs a task and fills most of task->ran; ends early when stop is set. False: the
 * connection is good for nothing but being closed. */
bool sql_task_run(struct sql_task *task, struct sql_connected *on, bool read_only,
                  const _Atomic bool *stop);

/* What is committed, as this node's state has it. */
struct sql_base {
    struct sql_at at;
    uint32_t page_count;
    uint8_t bookmark[BND_SQL_BOOKMARK_BYTES];
};

struct sql_reader {
    struct sql_database *database;
    struct sql_connected connected;
    struct sql_base base; /* its view is at it while it is open */
    struct bnd_work work;
    bool busy;
    bool stale;             /* close it before it is used again */
    struct bnd_link tasks;  /* of the batch */
    struct bnd_link left;   /* not run */
    uint64_t ran_ns;        /* by the batch */
    uint32_t ran_count;
    struct sql_base target; /* of the batch */
    uint32_t *changed;      /* between the two; NULL: unknown */
    size_t changed_count, changed_cap;
    bool changed_known;
    int64_t last_row_id;
    _Atomic bool stop; /* end what runs, and run nothing more: the leader is closing */
    int status;        /* of the batch: it could not be opened */
};

enum sql_writer_state {
    SQL_WRITER_CLOSED,
    SQL_WRITER_CREATING, /* a proposal says what is there */
    SQL_WRITER_IDLE,     /* open */
    SQL_WRITER_RUNNING,  /* a pass is on the pool */
    SQL_WRITER_PROPOSED, /* a pass waits for its outcomes */
};

/* Pages that committed versions changed, so that readers keep the others. */
#define SQL_CHANGED_MAX 4096u
struct sql_changed {
    uint64_t version;
    uint32_t page;
};

struct sql_database {
    struct sql_leader *leader;
    struct sql_database *bucket_next;
    struct bnd_link lru_link;
    struct bnd_link ready_link;   /* has new tasks */
    struct bnd_link starved_link; /* waits for room on the pool */
    uint8_t uuid[BND_SQL_UUID_BYTES];
    uint64_t gid;
    uint64_t used_ns;
    size_t bytes; /* as counted in leader.bytes */

    struct bnd_link queue; /* tasks for the writer */
    size_t tasks_count, tasks_bytes;
    enum sql_writer_state state;
    struct sql_connected writer;
    struct sql_base base; /* of the writer: what its pending versions stand on */
    uint64_t term;        /* it was opened in */
    bool unsure;          /* an outcome is unknown: open it through the log */
    bool lost;            /* leadership or term is gone: what runs is not proposed */
    int64_t last_row_id;  /* last_insert_rowid(): connections come and go, a database's does not */
    struct sql_pass *pass;
    struct bnd_shard_call create;

    struct bnd_link reads_new, reads_asked, reads_ready;
    struct sql_barrier *read_barrier;
    struct sql_base read_base; /* newest granted */
    uint64_t read_ns;          /* that one takes, on the average of late */
    struct sql_reader readers[SQL_READERS_MAX];
    struct sql_changed *changed; /* a ring */
    size_t changed_first, changed_count;
    uint64_t changed_after, changed_until; /* every change of versions between is in the ring */
};

void sql_database_init(struct sql_database *database, struct sql_leader *leader, uint64_t gid,
                       const uint8_t uuid[BND_SQL_UUID_BYTES]);
/* Nothing runs, nothing waits. */
void sql_database_free(struct sql_database *database);
bool sql_database_idle(const struct sql_database *database);
/* Takes a task. */
void sql_database_add(struct sql_database *database, struct sql_task *task);
/* Takes a task that may be run on base, which is in the state (NULL: on what a barrier finds); or
 * not: BND_FULL. */
int sql_database_add_local(struct sql_database *database, struct sql_task *task,
                           const struct sql_base *base);
/* Goes on with whatever can go on. */
void sql_database_kick(struct sql_database *database);
/* This node does not lead its group any more, or in another term. */
void sql_database_lost(struct sql_database *database);
/* Replies to everything but what runs. */
void sql_database_stop(struct sql_database *database);
void sql_database_enqueue(struct sql_database *database, struct sql_task *task, bool first);
/* Takes it out of the database's counts. */
void sql_database_release(struct sql_database *database, struct sql_task *task);
/* Up to so many tasks of one list into another; those that nobody waits for are refused. */
void sql_database_take(struct sql_database *database, struct bnd_link *from, struct bnd_link *to,
                       size_t tasks_max);
/* Answers all of a list: with the outcome, if trying again does not help. */
void sql_database_refuse(struct sql_database *database, struct bnd_link *tasks, int status);
/* What the state has of a database. BND_NOTFOUND: nothing; BND_DENIED: it was deleted; else as
 * sql_history_database. */
int sql_base_look(const struct sql_leader *leader, uint32_t slot,
                  const uint8_t uuid[BND_SQL_UUID_BYTES], struct sql_base *out);
/* Notes what a commit has changed, for readers; pages as its record has them. */
void sql_database_changed(struct sql_database *database, uint64_t version, uint32_t pages_count,
                          struct bnd_slice pages);
void sql_database_close_writer(struct sql_database *database);

/* ---- passes of the writer ---- */

/* Runs what is queued. BND_FULL: the pool has no room; BND_NOMEM. */
int sql_pass_start(struct sql_database *database);
/* Its database has let go of it: it waits for outcomes and answers. */
void sql_pass_detach(struct sql_pass *pass);
/* What runs of it is of no use any more. */
void sql_pass_interrupt(struct sql_pass *pass);
/* As detach, and every task is refused with BND_UNKNOWN now. */
void sql_pass_abandon(struct sql_pass *pass);

/* ---- readers ---- */

void sql_reads_kick(struct sql_database *database);
void sql_reads_refuse(struct sql_database *database, int status);
void sql_reads_interrupt(struct sql_database *database);

/* ---- the leader ---- */

struct sql_group_seen {
    uint64_t gid;
    uint64_t term; /* 0: this node does not lead it */
};

struct sql_leader {
    struct sql_leader_config config;
    struct bnd_shard_client *client;
    struct bnd_raft_host *host;
    struct sql_database **databases; /* buckets by uuid */
    size_t databases_buckets, databases_count;
    struct sql_task **ids; /* buckets */
    size_t ids_buckets;
    struct bnd_link lru;   /* databases, least used first */
    struct bnd_link ready; /* kicked by `start`, when all that came with them is there too */
    struct bnd_task start;
    struct bnd_link starved;
    struct bnd_timer retry;
    struct bnd_timer tick;
    struct sql_group_seen *groups;
    size_t groups_count, groups_cap;
    struct sql_packer **packers; /* free ones */
    size_t packers_count, packers_cap;
    size_t bytes;
    size_t works, reads; /* on the pool; reads: those of readers among them */
    struct bnd_task trim;
    bool trimming;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    struct bnd_task closed_task;
};

/* The term this node leads the group in and is ready; 0: it does not. */
uint64_t sql_leader_term(const struct sql_leader *leader, uint64_t gid);
/* BND_FULL: the node has as much of it on the pool as it may. */
int sql_leader_work(struct sql_leader *leader, struct bnd_work *work, bool reads);
void sql_leader_worked(struct sql_leader *leader, bool reads); /* first in every done */
void sql_leader_ready(struct sql_database *database); /* kicks it, later in this pass of the loop */
void sql_leader_starved(struct sql_database *database);
void sql_leader_used(struct sql_database *database); /* counts its memory again */
int sql_leader_packer(struct sql_leader *leader, struct sql_packer **out);
void sql_leader_packer_back(struct sql_leader *leader, struct sql_packer *packer);

static inline bool sql_rule(const struct sql_leader *leader, enum sql_rule rule) {
    return (leader->config.rules_off & rule) == 0;
}

#endif
