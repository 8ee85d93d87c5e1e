#include "node/sql_node.h"

#include "base/alloc.h"
#include "placement/shard.h"

#include <stdio.h>

/* Groups that the journal had no room for are made a little later. */
#define RETRY_NS (100 * BND_MS)

/* ---- founding ---------------------------------------------------------------------------------*/

static bool is_founder(const struct node_sql *node) {
    for (size_t i = 0; i < node->founders_count; i++) {
        if (node->founders[i] == node->self) {
            return true;
        }
    }
    return false;
}

static int make_group(struct node_sql *node, uint64_t gid) {
    struct bnd_raft_member members[BND_SQL_FOUNDERS_MAX];
    if (bnd_raft_group_known(node->host, gid)) {
        return 0;
    }
    for (size_t i = 0; i < node->founders_count; i++) {
        members[i] = (struct bnd_raft_member){.node = node->founders[i], .role = BND_RAFT_VOTER};
    }
    int rv = bnd_raft_group_bootstrap(node->host, gid, members, node->founders_count, NULL, NULL);
    return rv == BND_EXISTS ? 0 : rv;
}

static void found(struct node_sql *node) {
    while (node->made < node->shards && !node->closing) {
        int rv = make_group(node, bnd_gid(BND_GROUP_SQL, node->made));
        if (rv == BND_CANCELED) {
            return; /* the host ends */
        }
        if (rv != 0) {
            if (rv != BND_FULL) {
                bnd_log(node->env, BND_LOG_ERROR, "node", "group %u of SQL is not made: %s",
                        node->made, bnd_code_text(rv));
            }
            bnd_timer_start(node->env, &node->retry, RETRY_NS);
            return;
        }
        node->made++;
    }
}

static void on_retry(struct bnd_timer *timer) {
    found(timer->data);
}

void node_sql_view(struct node_sql *node, const struct bnd_catalog_view *view) {
    bnd_sql_shards(node->sql, view->settings.shards);
    if (node->host == NULL || node->founders_count > 0 || view->sql_founders_count == 0) {
        return;
    }
    node->founders_count = view->sql_founders_count;
    memcpy(node->founders, view->sql_founders, sizeof node->founders);
    if (is_founder(node)) {
        node->shards = view->settings.shards;
        found(node);
    }
}

/* ---- forks without a name ---------------------------------------------------------------------*/

static void on_fork_deleted(struct bnd_sql_admin *admin, int status) {
    struct node_sql *node = admin->data;
    char text[BND_D1_UUID_TEXT + 1];
    bnd_d1_uuid_text(node->fork.uuid, text);
    bnd_log(node->env, BND_LOG_INFO, "node", "%s, a fork that never had a name, is deleted: %s",
            text, bnd_code_text(status));
    node->fork.asking = false;
}

static void on_fork(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct node_sql *node = call->data;
    struct bnd_d1_database database;
    if (status == BND_NOTFOUND && !node->closing) {
        node->fork.admin = (struct bnd_sql_admin){.cb = on_fork_deleted, .data = node};
        node->fork.asking =
            bnd_sql_delete_database(node->sql, &node->fork.admin, node->fork.uuid) == 0;
        return;
    }
    if (status == 0 && bnd_d1_database_decode(reply, &database) == 0) {
        bnd_catalog_d1_learn(node->catalog, &database);
    }
    node->fork.asking = false;
}

static void on_idle_fork(void *owner, const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    struct node_sql *node = owner;
    struct node_sql_fork *fork = &node->fork;
    char text[BND_D1_UUID_TEXT + 1];
    uint8_t known[BND_D1_UUID_BYTES];
    bnd_d1_uuid_text(uuid, text);
    if (node->catalog == NULL || node->closing || fork->asking ||
        bnd_catalog_d1_known(node->catalog, bnd_slice_str(text), known)) {
        return;
    }
    memcpy(fork->uuid, uuid, sizeof fork->uuid);
    const struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_D1_DATABASE,
                                            .a = bnd_slice(fork->uuid, sizeof fork->uuid)};
    fork->call = (struct bnd_catalog_call){.cb = on_fork, .data = node};
    fork->asking = bnd_catalog_read(node->catalog, &fork->call, &query, 0) == 0;
}

/* ---- life -------------------------------------------------------------------------------------*/

int node_sql_create(struct node_sql *node, struct bnd_error *err) {
    char name[32];
    (void)snprintf(name, sizeof name, "node-%llu", (unsigned long long)node->self);
    const struct bnd_sql_config config = {.env = node->env,
                                          .state = node->state,
                                          .self = node->self,
                                          .name = name,
                                          .memory_bytes = node->memory_bytes,
                                          .keep_ms = node->keep_ms,
                                          .idle_fork = on_idle_fork,
                                          .owner = node};
    node->retry = (struct bnd_timer){.cb = on_retry, .data = node};
    int rv = bnd_sql_create(&config, &node->sql);
    return rv == 0 ? 0 : bnd_error_set(err, rv, "SQL: %s", bnd_code_text(rv));
}

void node_sql_start(struct node_sql *node, struct bnd_shard_client *client,
                    struct bnd_raft_host *host) {
    node->host = host;
    bnd_sql_start(node->sql, client, host);
}

void node_sql_execute(struct node_sql *node, struct bnd_raft_execution *execution) {
    if (bnd_gid_kind(execution->gid) == BND_GROUP_SQL) {
        bnd_sql_execute(node->sql, execution);
    } else { /* no other kind of group executes anything */
        bnd_raft_execution_reply(execution, true, BND_UNSUPPORTED, bnd_slice(NULL, 0));
    }
}

static void on_closed(void *data) {
    struct node_sql *node = data;
    node->closed(node->closed_data);
}

void node_sql_close(struct node_sql *node, void (*closed)(void *data), void *data) {
    node->closing = true;
    bnd_timer_stop(node->env, &node->retry);
    if (node->sql == NULL) {
        closed(data);
        return;
    }
    node->closed = closed;
    node->closed_data = data;
    bnd_sql_close(node->sql, on_closed, node);
}

void node_sql_destroy(struct node_sql *node) {
    bnd_sql_destroy(node->sql);
    node->sql = NULL;
}
