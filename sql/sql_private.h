/* The service inside: what sql.c and admin.c share. */
#ifndef BND_SQL_SQL_PRIVATE_H
#define BND_SQL_SQL_PRIVATE_H

#include "sql/fsm.h"
#include "sql/leader.h"

struct bnd_sql {
    struct bnd_sql_config config; /* name: copied */
    struct bnd_shard_client *client;
    struct bnd_raft_host *host;
    struct sql_leader *leader; /* NULL in a gateway process */
    uint32_t shards;           /* 0: not known */
    struct bnd_link calls;     /* bnd_sql_call, bnd_sql_admin: under way */
    struct bnd_link admins;
    struct bnd_link machines; /* sql_fsm */
    struct bnd_link digests;  /* digest.c's runs */
    struct bnd_timer tick;
    struct bnd_timer retain;
    struct bnd_sql_stats stats;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
    struct bnd_task closed_task;
};

/* The group of a database. BND_UNAVAILABLE: the number of shards is not known, or it is closing. */
int sql_gid(const struct bnd_sql *sql, const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t *out);

/* sql.c: sends a call to the group's leader; ends one. */
int sql_call_leader(struct bnd_sql_call *call, const uint8_t uuid[BND_SQL_UUID_BYTES],
                    struct bnd_slice request);
void sql_call_end(struct bnd_sql_call *call, int status, struct bnd_slice reply);

/* replica.c: asks this node's replica, if the request's session allows that and there is one;
 * goes to the leader by itself when that does not help. Not 0: ask the leader. */
int sql_replica_ask(struct bnd_sql_call *call, const uint8_t uuid[BND_SQL_UUID_BYTES],
                    struct bnd_slice request);
void sql_replica_forget(struct bnd_sql_call *call);

/* upkeep.c: has the groups that this node leads delete what is dead, and what is not kept any more.
 */
void sql_upkeep_init(struct bnd_sql *sql);
void sql_upkeep_start(struct bnd_sql *sql);
void sql_upkeep_stop(struct bnd_sql *sql);

/* digest.c: ends those that wait for the pool. */
void sql_digests_close(struct bnd_sql *sql);

/* Answers an admin call with what is known of its outcome. */
void sql_admin_end(struct bnd_sql_admin *admin, int status);

#endif
