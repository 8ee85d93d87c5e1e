/* SQL in a process: bnd_sql with what the node, or a gateway, has for it, and the founding of its
 * groups (ADR 0100).
 *
 * Founding: group 0 tells who makes the groups of SQL. Each of these nodes makes every group once,
 * with exactly them as its voters; one that it has, or had and left, it leaves alone.
 *
 * Forks without a name: one that group 0 does not know is deleted (ADR 0105). */
#ifndef BND_NODE_SQL_NODE_H
#define BND_NODE_SQL_NODE_H

#include "catalog/catalog.h"
#include "sql/sql.h"

struct node_sql {
    struct bnd_env *env;     /* all borrowed */
    struct bnd_state *state; /* NULL: a gateway, which stores nothing */
    uint64_t self;
    size_t memory_bytes; /* of page caches */
    uint64_t keep_ms;    /* of versions that others took the place of; 0: for ever */
    /* read by others; NULL: not made yet, or gone */
    struct bnd_sql *sql;
    struct bnd_catalog *catalog; /* borrowed, from when it is there until it ends */
    /* private */
    struct bnd_raft_host *host;
    struct node_sql_fork {
        bool asking; /* group 0 for it, or deleting it */
        uint8_t uuid[BND_SQL_UUID_BYTES];
        struct bnd_catalog_call call;
        struct bnd_sql_admin admin;
    } fork;
    uint64_t founders[BND_SQL_FOUNDERS_MAX]; /* as the view told; none: there is nothing to make */
    size_t founders_count;
    uint32_t shards;
    uint32_t made; /* shards below it are looked after */
    struct bnd_timer retry;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* Before the Raft host, which asks it for state machines. */
int node_sql_create(struct node_sql *node, struct bnd_error *err);
/* Once host (NULL in a gateway) and client are there. */
void node_sql_start(struct node_sql *node, struct bnd_shard_client *client,
                    struct bnd_raft_host *host);
void node_sql_view(struct node_sql *node, const struct bnd_catalog_view *view);
/* For bnd_raft_host_config.execute. */
void node_sql_execute(struct node_sql *node, struct bnd_raft_execution *execution);
/* Before the Raft host is closed. closed comes later, also if it was never created. */
void node_sql_close(struct node_sql *node, void (*closed)(void *data), void *data);
/* After the Raft host is closed. */
void node_sql_destroy(struct node_sql *node);

#endif
