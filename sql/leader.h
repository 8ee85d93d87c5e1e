/* The executor: requests for databases whose groups this node leads (ADR 0100, "Execution",
 * "Outcome", "Reads"). What it promises is in sql.h. On the loop, but for what runs on the pool.
 * Inside sql/ only. */
#ifndef BND_SQL_LEADER_H
#define BND_SQL_LEADER_H

#include "raft/client.h"
#include "sql/rules.h"
#include "sql/sql.h"
#include "sql/vfs.h"

struct sql_leader;

struct sql_leader_config {
    struct bnd_env *env; /* all borrowed for its life */
    struct bnd_state *state;
    const char *name;    /* of the node */
    size_t memory_bytes; /* of connections and their caches, before idle databases are closed */
    uint32_t rules_off;
    uint32_t cut_at_bytes;       /* sql.h */
    struct bnd_sql_stats *stats; /* counted up */
};

/* BND_NOMEM. */
int sql_leader_create(const struct sql_leader_config *config, struct sql_leader **out);
/* Before the first execution. */
void sql_leader_start(struct sql_leader *leader, struct bnd_shard_client *client,
                      struct bnd_raft_host *host);
/* Everything is replied to: at once what waits or was proposed (BND_UNKNOWN), then what runs on the
 * pool. `closed` comes last, later; afterwards only sql_leader_execute may be called. */
void sql_leader_close(struct sql_leader *leader, void (*closed)(void *data), void *data);
/* Closed, or never asked. NULL allowed. */
void sql_leader_destroy(struct sql_leader *leader);

/* bnd_raft_host_config.execute. The body: uuid, then an encoded request. */
void sql_leader_execute(struct sql_leader *leader, struct bnd_raft_execution *execution);
/* A read of this node's own replica. */
struct sql_local {
    /* status 0: an encoded answer, borrowed until cb returns. Else the leader must be asked. */
    void (*cb)(struct sql_local *local, int status, struct bnd_slice answer);
    void *data;
    struct sql_task *task; /* private */
};
/* Runs a request on the state as it stands, if that has reached `version`; SQL_READ_NEWEST: behind
 * a read barrier, whoever leads (bnd_raft_read_replica). cb comes later, once. Errors, and cb never
 * comes: BND_BUSY: not there yet; BND_UNSUPPORTED: it does not look as if it only read;
 * BND_NOTFOUND: no replica here, or no such database in it; BND_NOMEM, BND_IO, BND_CORRUPT,
 * BND_CANCELED (closing). request: encoded, copied. */
#define SQL_READ_NEWEST UINT64_MAX
int sql_leader_read(struct sql_leader *leader, struct sql_local *local, uint64_t gid,
                    const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version,
                    struct bnd_slice request);
void sql_local_cancel(struct sql_local *local); /* cb will not come; idempotent */

/* A replica here has applied a commit (sql_fsm_hooks.changed). */
void sql_leader_changed(struct sql_leader *leader, const uint8_t uuid[BND_SQL_UUID_BYTES],
                        uint64_t version, uint32_t pages_count, struct bnd_slice pages);

/* bnd_raft_host_config.group_changed, of an SQL group. */
void sql_leader_group_changed(struct sql_leader *leader, uint64_t gid);

#endif
