/* SQL databases: SQLite executed ahead on a group's leader, replicated as page histories (ADR
 * 0100).
 *
 * Promises:
 *  1. A transaction answered DONE is committed: durable on a majority, whole, in the order of the
 *     answers (strict serializable per database).
 *  2. A request id is executed at most once; a retry gets the first answer, or LOST.
 *  3. A read on the primary sees everything acknowledged before it began.
 *  4. FAILED means: nothing was changed.
 *  5. Every version can be restored and forked for keep_ms after another took its place (ADR 0105).
 *
 * One per process, on one loop; a gateway has one without a host. Callbacks come on the loop,
 * later, once for every call that returned 0. */
#ifndef BND_SQL_SQL_H
#define BND_SQL_SQL_H

#include "raft/client.h"
#include "raft/host.h"
#include "sql/bookmark.h"
#include "sql/request.h"

struct bnd_sql;

struct bnd_sql_config {
    struct bnd_env *env;     /* all borrowed for its life */
    struct bnd_state *state; /* NULL in a gateway process */
    uint64_t self;
    const char *name;    /* of the node, in meta.served_by; copied */
    size_t memory_bytes; /* of page caches; 0: 64 MiB */
    uint64_t keep_ms;    /* how long versions are kept that others took the place of; 0: for ever */
    uint32_t rules_off;  /* bits of rules that the simulator switches off one by one */
    /* Change sets above so many bytes are put down in parts of so many, for the simulator to see
     * that without large ones; 0: those that are no command of Raft's as a whole. */
    uint32_t cut_at_bytes;
    /* A fork that nobody has written for an hour, in a group that this node leads: told again and
     * again, so that one whose maker died before it had a name can be given an end. On the loop.
     * NULL: nobody asks. */
    void (*idle_fork)(void *owner, const uint8_t uuid[BND_SQL_UUID_BYTES]);
    void *owner;
};

/* Made before the host, which asks it for state machines from inside its creation; started with the
 * host (NULL in a gateway process) and the client once they are there, before anything else is
 * called. */
int bnd_sql_create(const struct bnd_sql_config *config, struct bnd_sql **out);
void bnd_sql_start(struct bnd_sql *sql, struct bnd_shard_client *client,
                   struct bnd_raft_host *host);
/* Before the host is closed: answers everything under way, calls and executions; nothing runs on
 * the pool any more when `closed` comes, last. The state machines go on, and every later execution
 * is replied to with BND_NOTLEADER at once. */
void bnd_sql_close(struct bnd_sql *sql, void (*closed)(void *data), void *data);
/* After the host is closed, and with it the state machines. NULL allowed. */
void bnd_sql_destroy(struct bnd_sql *sql);

/* Shards per cluster, once known; calls before it are BND_UNAVAILABLE. */
void bnd_sql_shards(struct bnd_sql *sql, uint32_t shards);

/* For the host: the state machine of a group of kind SQL, what the leader does with EXECUTE, and
 * that something changed in a group (bnd_raft_host_config). */
int bnd_sql_fsm_make(struct bnd_sql *sql, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err);
void bnd_sql_execute(struct bnd_sql *sql, struct bnd_raft_execution *execution);
void bnd_sql_group_changed(struct bnd_sql *sql, uint64_t gid);

/* ---- calls ---- */

struct bnd_sql_call {
    /* status 0: answer (borrowed until cb returns). BND_NOTFOUND: it was deleted (one that
     * never was is made: whether there is one, group 0 says); BND_LOCKED: it would have changed what
     * is being imported into; BND_UNAVAILABLE, BND_NOSPACE,
     * BND_FULL: certainly not executed; BND_UNKNOWN; BND_TOOBIG: the request, or the answer. */
    void (*cb)(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer);
    void *data;
    struct bnd_shard_call shard; /* private, and what follows */
    struct bnd_sql *sql;
    struct bnd_link link;
    struct sql_replica_read *replica; /* while this node's replica is asked */
};
/* request: encoded (sql/request.h), copied. */
int bnd_sql_query(struct bnd_sql *sql, struct bnd_sql_call *call,
                  const uint8_t uuid[BND_SQL_UUID_BYTES], struct bnd_slice request);
/* Forgets it; it may still be executed. */
void bnd_sql_cancel(struct bnd_sql_call *call);

/* What the state knows of a database. */
struct bnd_sql_info {
    struct bnd_sql_bookmark bookmark; /* newest */
    uint64_t stamp_ms, created_ms;
    uint64_t size_bytes; /* pages of 4 KiB, free ones included */
};
struct bnd_sql_admin {
    /* status 0; BND_NOTFOUND; BND_EXISTS; BND_LOCKED (it is being imported into); BND_CONFLICT (restore: it changes all the time); and
     * those above. */
    void (*cb)(struct bnd_sql_admin *admin, int status);
    void *data;
    struct bnd_sql_info info;         /* CREATE, INFO, FORK, BRANCH */
    struct bnd_sql_bookmark bookmark; /* AT_TIME: the place; RESTORE, SWAP: the new newest */
    struct bnd_sql_bookmark previous; /* RESTORE, SWAP: before it: restoring that undoes it; BRANCH:
                                         what it was made of */
    struct bnd_shard_call shard;      /* private, and what follows */
    struct bnd_sql *sql;
    struct bnd_link link;
    uint8_t kind;
    uint8_t uuid[BND_SQL_UUID_BYTES];
    struct bnd_sql_bookmark target;
    unsigned attempts;
};
int bnd_sql_create_database(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                            const uint8_t uuid[BND_SQL_UUID_BYTES]);
int bnd_sql_delete_database(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                            const uint8_t uuid[BND_SQL_UUID_BYTES]);
int bnd_sql_info(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                 const uint8_t uuid[BND_SQL_UUID_BYTES]);
int bnd_sql_at_time(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                    const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t stamp_ms);
/* In place: everything after target is no more the database's present; it stays in its history. */
int bnd_sql_restore(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                    const uint8_t uuid[BND_SQL_UUID_BYTES], const struct bnd_sql_bookmark *target);
/* uuid_new must lie in the shard of the source: bnd_sql_fork_uuid draws one. */
int bnd_sql_fork(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                 const uint8_t uuid[BND_SQL_UUID_BYTES], const struct bnd_sql_bookmark *at,
                 const uint8_t uuid_new[BND_SQL_UUID_BYTES]);
void bnd_sql_fork_uuid(struct bnd_sql *sql, const uint8_t uuid[BND_SQL_UUID_BYTES],
                       uint8_t out[BND_SQL_UUID_BYTES]);

/* A fork of the present that nobody has a name for, for as long as it is asked for again every
 * BND_SQL_LEASE_MS; then it is deleted. holds: meanwhile nothing changes the database, and what
 * tries is BND_LOCKED, and so is a second branch that holds it. branch: drawn by
 * bnd_sql_fork_uuid. */
#define BND_SQL_LEASE_MS UINT64_C(30000)
int bnd_sql_branch(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                   const uint8_t uuid[BND_SQL_UUID_BYTES],
                   const uint8_t branch[BND_SQL_UUID_BYTES], bool holds);
/* The same of a place in its history, which the branch keeps: BND_NOTFOUND also where there is no
 * such place (any more). It holds nothing. */
int bnd_sql_branch_at(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                      const uint8_t uuid[BND_SQL_UUID_BYTES],
                      const uint8_t branch[BND_SQL_UUID_BYTES], const struct bnd_sql_bookmark *at);
/* The database becomes what the branch that holds it is, at the version its maker knows: the branch
 * is gone then, and what the database was stays in its history. BND_PRECONDITION: the branch is
 * gone, or another. */
int bnd_sql_swap(struct bnd_sql *sql, struct bnd_sql_admin *admin,
                 const uint8_t uuid[BND_SQL_UUID_BYTES], const uint8_t branch[BND_SQL_UUID_BYTES],
                 uint64_t version);
void bnd_sql_admin_cancel(struct bnd_sql_admin *admin);

/* What this node's replica holds of a database: every page of one version, read from the state and
 * hashed, so that replicas can be compared. */
struct bnd_sql_digest {
    /* status 0; BND_CORRUPT: see damaged; BND_NOTFOUND: it was deleted, or the version has been
     * collected; BND_BUSY: the replica was replaced meanwhile, ask again; BND_CANCELED: the node
     * stops, or it is not wanted any more; BND_IO, BND_NOMEM. */
    void (*cb)(struct bnd_sql_digest *digest, int status);
    /* Asked every few MiB of pages, on the loop; NULL: it is. */
    bool (*wanted)(const struct bnd_sql_digest *digest);
    void *data;
    struct bnd_sql_bookmark at; /* what is read */
    uint32_t pages;             /* of it */
    uint32_t damaged;           /* the page that cannot be read; 0: none */
    uint64_t hash;
};
/* version 0: the newest one here. Besides cb's: BND_UNSUPPORTED: no replica of it here; BND_BUSY:
 * the version is not here yet. digest lives until cb. */
int bnd_sql_digest(struct bnd_sql *sql, struct bnd_sql_digest *digest,
                   const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version);

struct bnd_sql_stats {
    uint64_t queries, transactions, failures, conflicts, reads, entries, change_set_bytes;
    uint64_t databases_open, pages_bytes;
    uint64_t cutoffs;        /* given by this node, as a leader */
    uint64_t collected_keys; /* that the retention has deleted here */
};
void bnd_sql_stats(const struct bnd_sql *sql, struct bnd_sql_stats *out);

#endif
