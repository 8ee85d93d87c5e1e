/* The service (sql.h): queries through the shard client to the group's leader, wherever that is;
 * the executor and the state machines of a node; and their ends. */
#include "base/alloc.h"
#include "placement/shard.h"
#include "sql/sql_private.h"

#define QUERY_NS (UINT64_C(30000) * BND_MS)

int sql_gid(const struct bnd_sql *sql, const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t *out) {
    if (sql->shards == 0 || sql->closing) {
        return BND_UNAVAILABLE;
    }
    uint32_t shard =
        bnd_shard_of(BND_GROUP_SQL, 0, bnd_slice(uuid, BND_SQL_UUID_BYTES), sql->shards);
    *out = bnd_gid(BND_GROUP_SQL, shard);
    return 0;
}

/* ---- queries
 * ---------------------------------------------------------------------------------------------- */

void sql_call_end(struct bnd_sql_call *call, int status, struct bnd_slice reply) {
    struct bnd_sql_answer answer = {0};
    if (status == 0) {
        status = bnd_sql_answer_decode(reply, &answer);
    }
    bnd_link_remove(&call->link);
    call->cb(call, status, status == 0 ? &answer : NULL);
}

static void on_answer(struct bnd_shard_call *shard, int status, struct bnd_slice reply) {
    sql_call_end(shard->data, status, reply);
}

int sql_call_leader(struct bnd_sql_call *call, const uint8_t uuid[BND_SQL_UUID_BYTES],
                    struct bnd_slice request) {
    uint64_t gid = 0;
    int rv = sql_gid(call->sql, uuid, &gid);
    if (rv != 0) {
        return rv;
    }
    const struct bnd_slice parts[] = {bnd_slice(uuid, BND_SQL_UUID_BYTES), request};
    call->shard = (struct bnd_shard_call){.cb = on_answer, .data = call};
    return bnd_shard_call(call->sql->client, &call->shard, BND_SHARD_EXECUTE, gid, parts, 2,
                          QUERY_NS);
}

int bnd_sql_query(struct bnd_sql *sql, struct bnd_sql_call *call,
                  const uint8_t uuid[BND_SQL_UUID_BYTES], struct bnd_slice request) {
    if (request.len > BND_SQL_REQUEST_MAX) {
        return BND_TOOBIG;
    }
    call->sql = sql;
    call->link = (struct bnd_link){0};
    call->replica = NULL;
    int rv = sql_replica_ask(call, uuid, request);
    rv = rv == 0 ? 0 : sql_call_leader(call, uuid, request);
    if (rv == 0) {
        bnd_list_push(&sql->calls, &call->link);
    }
    return rv;
}

static void call_forget(struct bnd_sql_call *call) {
    if (call->replica != NULL) {
        sql_replica_forget(call);
    } else {
        bnd_shard_call_cancel(&call->shard);
    }
}

void bnd_sql_cancel(struct bnd_sql_call *call) {
    if (bnd_link_linked(&call->link)) {
        bnd_link_remove(&call->link);
        call_forget(call);
    }
}

/* ---- state machines
 * --------------------------------------------------------------------------------------- */

static void on_fsm_opened(void *owner, struct sql_fsm *fsm) {
    struct bnd_sql *sql = owner;
    if (!bnd_link_linked(&fsm->link)) {
        bnd_list_push(&sql->machines, &fsm->link);
    }
}

static void on_fsm_closed(void *owner, struct sql_fsm *fsm) {
    struct bnd_sql *sql = owner;
    if (bnd_link_linked(&fsm->link)) {
        sql->stats.collected_keys += fsm->collected;
        bnd_link_remove(&fsm->link);
    }
}

static void on_fsm_changed(void *owner, const uint8_t uuid[BND_SQL_UUID_BYTES], uint64_t version,
                           uint32_t pages_count, struct bnd_slice pages) {
    struct bnd_sql *sql = owner;
    sql_leader_changed(sql->leader, uuid, version, pages_count, pages);
}

int bnd_sql_fsm_make(struct bnd_sql *sql, uint64_t gid, struct bnd_fsm *out,
                     struct bnd_error *err) {
    const struct sql_fsm_hooks hooks = {
        .owner = sql,
        .opened = on_fsm_opened,
        .closed = on_fsm_closed,
        .changed = on_fsm_changed,
        .rules_off = sql->config.rules_off,
    };
    int rv = sql_fsm_create(gid, &hooks, out);
    return rv == 0
               ? 0
               : BND_FAIL(err, NOMEM, "the state machine of group %llx", (unsigned long long)gid);
}

/* ---- for the host
 * ----------------------------------------------------------------------------------------- */

void bnd_sql_execute(struct bnd_sql *sql, struct bnd_raft_execution *execution) {
    sql_leader_execute(sql->leader, execution);
}

void bnd_sql_group_changed(struct bnd_sql *sql, uint64_t gid) {
    if (sql->leader != NULL && bnd_gid_kind(gid) == BND_GROUP_SQL) {
        sql_leader_group_changed(sql->leader, gid);
    }
}

/* ---- life
 * -------------------------------------------------------------------------------------------------
 */

static void on_all_closed(struct bnd_task *task) {
    struct bnd_sql *sql = task->data;
    sql->closed(sql->closed_data);
}

static int make_executor(struct bnd_sql *sql) {
    int rv = sql_vfs_register(sql->config.env);
    if (rv != 0) {
        return rv;
    }
    const struct sql_leader_config config = {
        .env = sql->config.env,
        .state = sql->config.state,
        .name = sql->config.name,
        .memory_bytes = sql->config.memory_bytes,
        .rules_off = sql->config.rules_off,
        .cut_at_bytes = sql->config.cut_at_bytes,
        .stats = &sql->stats,
    };
    return sql_leader_create(&config, &sql->leader);
}

int bnd_sql_create(const struct bnd_sql_config *config, struct bnd_sql **out) {
    struct bnd_sql *sql = bnd_zalloc(sizeof *sql);
    if (sql == NULL) {
        return BND_NOMEM;
    }
    sql->config = *config;
    bnd_list_init(&sql->calls);
    bnd_list_init(&sql->admins);
    bnd_list_init(&sql->machines);
    bnd_list_init(&sql->digests);
    sql_upkeep_init(sql);
    sql->closed_task = (struct bnd_task){.cb = on_all_closed, .data = sql};
    sql->config.name = bnd_strdup(config->name == NULL ? "" : config->name);
    int rv = sql->config.name == NULL ? BND_NOMEM : 0;
    if (rv == 0 && config->state != NULL) {
        rv = make_executor(sql);
    }
    if (rv != 0) {
        bnd_sql_destroy(sql);
        return rv;
    }
    *out = sql;
    return 0;
}

void bnd_sql_start(struct bnd_sql *sql, struct bnd_shard_client *client,
                   struct bnd_raft_host *host) {
    sql->client = client;
    sql->host = host;
    if (host != NULL) {
        sql_leader_start(sql->leader, client, host);
        sql_upkeep_start(sql);
    }
}

static void on_leader_closed(void *data) {
    struct bnd_sql *sql = data;
    sql->closed(sql->closed_data);
}

void bnd_sql_close(struct bnd_sql *sql, void (*closed)(void *data), void *data) {
    BND_ASSERT(!sql->closing);
    sql->closing = true;
    sql->closed = closed;
    sql->closed_data = data;
    sql_upkeep_stop(sql);
    while (!bnd_list_empty(&sql->calls)) {
        struct bnd_sql_call *call = BND_CONTAINER(sql->calls.next, struct bnd_sql_call, link);
        call_forget(call);
        sql_call_end(call, BND_UNKNOWN, bnd_slice(NULL, 0));
    }
    while (!bnd_list_empty(&sql->admins)) {
        struct bnd_sql_admin *admin = BND_CONTAINER(sql->admins.next, struct bnd_sql_admin, link);
        bnd_shard_call_cancel(&admin->shard);
        sql_admin_end(admin, BND_UNKNOWN);
    }
    sql_digests_close(sql);
    if (sql->leader != NULL) {
        sql_leader_close(sql->leader, on_leader_closed, sql);
    } else {
        bnd_defer(sql->config.env, &sql->closed_task);
    }
}

void bnd_sql_destroy(struct bnd_sql *sql) {
    if (sql == NULL) {
        return;
    }
    sql_leader_destroy(sql->leader);
    bnd_free((char *)sql->config.name);
    bnd_free(sql);
}

void bnd_sql_shards(struct bnd_sql *sql, uint32_t shards) {
    sql->shards = shards;
}

void bnd_sql_stats(const struct bnd_sql *sql, struct bnd_sql_stats *out) {
    *out = sql->stats;
    for (const struct bnd_link *link = sql->machines.next; link != &sql->machines;
         link = link->next) {
        out->collected_keys += BND_CONTAINER(link, const struct sql_fsm, link)->collected;
    }
}
