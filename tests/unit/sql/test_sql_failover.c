/* Three nodes on the simulated world: their leaders crash, are cut off and come back while clients
 * write. What was acknowledged is there, once; what failed changed nothing; a read is never behind.
 */
#include "placement/shard.h"
#include "raft/client.h"
#include "raft/core.h"
#include "sql/sql.h"
#include "sql/sqlite.h"
#include "tests/sim/disk.h"
#include "tests/sim/env.h"
#include "tests/sim/mesh.h"
#include "tests/sim/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES 3
#define CLIENTS 6
#define GID ((uint64_t)BND_GROUP_SQL << 32)
#define SECOND (1000 * BND_MS)

static const uint8_t uuid[16] = {7, 7};

struct node {
    struct cluster *cluster;
    uint64_t id;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_clock clock;
    struct bnd_sim_env *env; /* NULL: down */
    struct bnd_mesh *mesh;
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_sql *sql;
    struct bnd_raft_host *host;
    struct bnd_shard_client *client;
    bool closed;
};

struct asking {
    struct cluster *cluster;
    struct bnd_sql_call call;
    unsigned number;
    bool under_way;
    unsigned turn;
    long insert; /* its row, if it is one */
    long seen;   /* rows acknowledged before */
};

struct cluster {
    struct bnd_sim_world *world;
    struct bnd_sim_net *net;
    struct node nodes[NODES];
    struct node asker; /* a gateway: never crashes */
    struct asking clients[CLIENTS];
    unsigned turns_max; /* of each client */
    long rows_last;
    long acknowledged, failures, unknown, reads;
    long idle_forks; /* told */
    uint8_t idle_fork[16];
    uint8_t fate[4096]; /* of each row: 1 acknowledged, 2 perhaps */
};

/* ---- nodes ----------------------------------------------------------------------------------- */

static int node_fsm(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err) {
    return bnd_sql_fsm_make(((struct node *)owner)->sql, gid, out, err);
}
static void node_execute(void *owner, struct bnd_raft_execution *execution) {
    bnd_sql_execute(((struct node *)owner)->sql, execution);
}
static void node_changed(void *owner, uint64_t gid) {
    bnd_sql_group_changed(((struct node *)owner)->sql, gid);
}
static bool node_wanted(void *owner, uint64_t gid, uint64_t from) {
    (void)owner, (void)gid, (void)from;
    return false;
}
static void node_fatal(void *owner, const struct bnd_error *why) {
    (void)owner;
    fail_msg("fatal: %s", why->message);
}

static void node_idle_fork(void *owner, const uint8_t of[16]) {
    struct cluster *c = ((struct node *)owner)->cluster;
    c->idle_forks++;
    memcpy(c->idle_fork, of, sizeof c->idle_fork);
}

static void service_start(struct node *node, struct bnd_env *env) {
    const uint64_t members[NODES] = {1, 2, 3};
    const struct bnd_shard_client_config client = {
        .env = env, .rpc = node->rpc, .host = node->host};
    assert_int_equal(bnd_shard_client_create(&client, &node->client), 0);
    bnd_shard_client_members(node->client, GID, members, NODES);
    bnd_sql_start(node->sql, node->client, node->host);
    bnd_sql_shards(node->sql, 1);
}

static void node_start(struct node *node, bool gateway) {
    struct cluster *c = node->cluster;
    struct bnd_error err = {0};
    node->env = bnd_sim_env_create(c->world, node->disk, &node->clock, node->id);
    bnd_sim_env_enter(node->env);
    struct bnd_env *env = bnd_sim_env(node->env);
    node->mesh = bnd_sim_net_attach(c->net, node->env);
    assert_int_equal(bnd_rpc_create(env, node->mesh, 0, &node->rpc), 0);
    node->state = gateway ? NULL : bnd_sim_store_open(node->store, node->env);
    const struct bnd_sql_config sql = {
        .env = env,
        .state = node->state,
        .self = node->id,
        .name = "node",
        .idle_fork = node_idle_fork,
        .owner = node,
    };
    assert_int_equal(bnd_sql_create(&sql, &node->sql), 0);
    const struct bnd_raft_host_config host = {.env = env,
                                              .mesh = node->mesh,
                                              .rpc = node->rpc,
                                              .state = node->state,
                                              .journal_dir = "/journal",
                                              .journal_segment_bytes = 4u << 20,
                                              .cluster_id = 1,
                                              .node_id = node->id,
                                              .guards = BND_RAFT_GUARDS_ALL,
                                              .owner = node,
                                              .fsm_make = node_fsm,
                                              .execute = node_execute,
                                              .group_wanted = node_wanted,
                                              .group_changed = node_changed,
                                              .fatal = node_fatal};
    if (!gateway && bnd_raft_host_create(&host, &node->host, &err) != 0) {
        fail_msg("%s", err.message);
    }
    service_start(node, env);
    bnd_sim_env_leave(node->env);
}

static void node_crash(struct node *node) {
    bnd_sim_env_crash(node->env, BND_SIM_POWER);
    node->env = NULL;
    node->host = NULL;
}

static void on_closed(void *data) {
    ((struct node *)data)->closed = true;
}
static bool is_closed(void *data) {
    return ((struct node *)data)->closed;
}
static void wait_closed(struct node *node) {
    bnd_sim_env_leave(node->env);
    assert_true(bnd_sim_run_until_true(node->cluster->world, is_closed, node, 60 * SECOND));
    bnd_sim_env_enter(node->env);
    node->closed = false;
}

static void node_stop(struct node *node) {
    bnd_sim_env_enter(node->env);
    bnd_sql_close(node->sql, on_closed, node);
    wait_closed(node);
    bnd_shard_client_destroy(node->client);
    if (node->host != NULL) {
        bnd_raft_host_close(node->host, on_closed, node);
        wait_closed(node);
    }
    bnd_sql_destroy(node->sql);
    bnd_rpc_destroy(node->rpc);
    bnd_sim_net_detach(node->mesh);
    if (node->state != NULL) {
        node->state->ops->close(node->state);
    }
    bnd_sim_env_leave(node->env);
    bnd_sim_env_stop(node->env);
    node->env = NULL;
}

static void on_bootstrapped(void *data, int status) {
    assert_int_equal(status, 0);
    ((struct node *)data)->closed = true;
}

static struct cluster *cluster_open(uint64_t seed) {
    struct cluster *c = calloc(1, sizeof *c);
    struct bnd_sim_net_config net;
    struct bnd_raft_member members[NODES];
    c->world = bnd_sim_world_create(seed);
    bnd_sim_net_config_default(&net);
    c->net = bnd_sim_net_create(c->world, &net);
    for (uint64_t i = 0; i <= NODES; i++) {
        struct node *node = i < NODES ? &c->nodes[i] : &c->asker;
        node->cluster = c;
        node->id = i + 1;
        node->disk = bnd_sim_disk_create(c->world, node->id, 0);
        node->store = bnd_sim_store_create(c->world, node->id);
        node_start(node, i == NODES);
        if (i < NODES) {
            members[i] = (struct bnd_raft_member){.node = i + 1, .role = BND_RAFT_VOTER};
        }
    }
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &c->nodes[i];
        bnd_sim_env_enter(node->env);
        assert_int_equal(
            bnd_raft_group_bootstrap(node->host, GID, members, NODES, on_bootstrapped, node), 0);
        wait_closed(node);
        bnd_sim_env_leave(node->env);
    }
    return c;
}

static void cluster_close(struct cluster *c) {
    for (size_t i = 0; i <= NODES; i++) {
        struct node *node = i < NODES ? &c->nodes[i] : &c->asker;
        if (node->env != NULL) {
            node_stop(node);
        }
        bnd_sim_store_destroy(node->store);
        bnd_sim_disk_destroy(node->disk);
    }
    bnd_sim_net_destroy(c->net);
    bnd_sim_world_destroy(c->world);
    free(c);
}

static struct node *leader_of(struct cluster *c) {
    struct node *leader = NULL;
    uint64_t term = 0;
    for (size_t i = 0; i < NODES; i++) {
        struct bnd_raft_group_status status;
        if (c->nodes[i].env != NULL && bnd_raft_group_status(c->nodes[i].host, GID, &status) == 0 &&
            status.ready && status.term > term) {
            term = status.term;
            leader = &c->nodes[i];
        }
    }
    return leader;
}

static bool has_leader(void *data) {
    return leader_of(data) != NULL;
}

/* ---- clients --------------------------------------------------------------------------------- */

static void client_asks(struct asking *client);

static long number_of(const struct bnd_sql_answer *answer, const char *name) {
    char text[4096];
    (void)snprintf(text, sizeof text, "%.*s", (int)answer->text.len,
                   (const char *)answer->text.data);
    const char *at = strstr(text, name);
    return at == NULL ? -1 : strtol(at + strlen(name), NULL, 10);
}

static void on_answer(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct asking *client = call->data;
    struct cluster *c = client->cluster;
    client->under_way = false;
    if (client->insert != 0) {
        if (status == 0) {
            /* a retry may not meet the row of its own first attempt */
            assert_int_not_equal(answer->outcome, BND_SQL_FAILED);
            c->fate[client->insert] = 1;
            c->acknowledged++;
        } else {
            c->fate[client->insert] = status == BND_UNKNOWN ? 2 : 0;
            c->unknown += status == BND_UNKNOWN;
        }
    } else if (status == 0 && answer->outcome == BND_SQL_FAILED) {
        c->failures++;
    } else if (status == 0) {
        assert_int_equal(answer->outcome, BND_SQL_DONE);
        assert_true(number_of(answer, "\"n\":") >= client->seen);
        c->reads++;
    }
    if (client->turn < c->turns_max) {
        client_asks(client);
    }
}

static void client_asks(struct asking *client) {
    struct cluster *c = client->cluster;
    struct bnd_buf request = {0};
    const struct bnd_sql_request header = {.results = BND_SQL_OBJECTS,
                                           .session = BND_SQL_NO_SESSION};
    char text[128];
    client->insert = 0;
    client->seen = c->acknowledged;
    switch (client->turn++ % 4) {
    case 0:
    case 1:
        client->insert = ++c->rows_last;
        (void)snprintf(text, sizeof text, "INSERT INTO t VALUES(%ld, %u, randomblob(200))",
                       client->insert, client->number);
        break;
    case 2:
        (void)snprintf(text, sizeof text, "INSERT INTO t SELECT min(id), 0, 0 FROM t");
        break;
    default:
        (void)snprintf(text, sizeof text, "SELECT count(*) AS n FROM t");
        break;
    }
    bnd_sql_request_begin(&request, &header);
    bnd_sql_request_statement(&request, bnd_slice_str(text), 0);
    bnd_sql_request_end(&request, 1);
    client->call = (struct bnd_sql_call){.cb = on_answer, .data = client};
    client->under_way = true;
    assert_int_equal(bnd_sql_query(c->asker.sql, &client->call, uuid, bnd_buf_slice(&request)), 0);
    bnd_buf_free(&request);
}

struct once {
    struct bnd_sql_call call;
    bool done;
    int status;
    enum bnd_sql_outcome outcome;
    struct bnd_sql_bookmark bookmark;
    char text[65536];
};

static void on_once(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct once *once = call->data;
    once->done = true;
    once->status = status;
    once->text[0] = 0;
    if (answer != NULL) {
        once->outcome = answer->outcome;
        bnd_sql_bookmark_get(answer->bookmark, &once->bookmark);
        (void)snprintf(once->text, sizeof once->text, "%.*s", (int)answer->text.len,
                       (const char *)answer->text.data);
    }
}

static bool is_once(void *data) {
    return ((struct once *)data)->done;
}

/* Asks through a node: statements separated by NUL, the last ended by two. after: of a session, or
 * NULL. */
static struct once *ask_begin(struct node *node, const char *statements,
                              const struct bnd_sql_bookmark *after) {
    static struct once once;
    struct bnd_buf request = {0};
    struct bnd_sql_request header = {.results = BND_SQL_OBJECTS, .session = BND_SQL_NO_SESSION};
    uint32_t count = 0;
    if (after != NULL) {
        header.session = BND_SQL_BOOKMARK;
        bnd_sql_bookmark_put(header.bookmark, after);
    }
    bnd_sim_env_enter(node->env);
    bnd_sql_request_begin(&request, &header);
    for (const char *text = statements; *text != 0; text += strlen(text) + 1) {
        bnd_sql_request_statement(&request, bnd_slice_str(text), 0);
        count++;
    }
    bnd_sql_request_end(&request, count);
    once.done = false;
    once.call = (struct bnd_sql_call){.cb = on_once, .data = &once};
    assert_int_equal(bnd_sql_query(node->sql, &once.call, uuid, bnd_buf_slice(&request)), 0);
    bnd_buf_free(&request);
    bnd_sim_env_leave(node->env);
    return &once;
}

static void ask_end(struct cluster *c, struct once *once) {
    assert_true(bnd_sim_run_until_true(c->world, is_once, once, 60 * SECOND));
    assert_int_equal(once->status, 0);
}

/* Asks one statement and waits. */
static struct once *ask_node(struct node *node, const char *text,
                             const struct bnd_sql_bookmark *after) {
    char statements[128] = {0};
    BND_ASSERT(strlen(text) < sizeof statements - 1);
    memcpy(statements, text, strlen(text));
    struct once *once = ask_begin(node, statements, after);
    ask_end(node->cluster, once);
    return once;
}

static const char *ask(struct cluster *c, const char *text) {
    return ask_node(&c->asker, text, NULL)->text;
}

static bool all_rest(void *data) {
    struct cluster *c = data;
    for (size_t i = 0; i < CLIENTS; i++) {
        if (c->clients[i].under_way) {
            return false;
        }
    }
    return true;
}

static void clients_start(struct cluster *c, unsigned turns_max) {
    c->turns_max = turns_max;
    bnd_sim_env_enter(c->asker.env);
    for (unsigned i = 0; i < CLIENTS; i++) {
        c->clients[i] = (struct asking){.cluster = c, .number = i};
        client_asks(&c->clients[i]);
    }
    bnd_sim_env_leave(c->asker.env);
}

/* Every acknowledged row is there once, every refused one is not. */
static void assert_rows(struct cluster *c) {
    assert_non_null(strstr(ask(c, "PRAGMA quick_check"), "\"ok\""));
    const char *text = ask(c, "SELECT group_concat(id) AS ids FROM t");
    uint8_t found[sizeof c->fate] = {0};
    const char *at = strstr(text, "\"ids\":\"");
    for (at = at == NULL ? "" : at + 7; *at >= '0' && *at <= '9';) {
        char *end = NULL;
        long id = strtol(at, &end, 10);
        assert_true(id > 0 && id <= c->rows_last);
        assert_int_equal(found[id]++, 0);
        at = *end == ',' ? end + 1 : end;
    }
    for (long id = 1; id <= c->rows_last; id++) {
        if (found[id] != 1 && c->fate[id] == 1) {
            fail_msg("row %ld was acknowledged and is not there", id);
        }
        if (found[id] != 0 && c->fate[id] == 0) {
            fail_msg("row %ld was refused and is there", id);
        }
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void fault(struct cluster *c, unsigned kind) {
    assert_true(bnd_sim_run_until_true(c->world, has_leader, c, 60 * SECOND));
    struct node *leader = leader_of(c);
    switch (kind % 3) {
    case 0:
        node_crash(leader);
        bnd_sim_run_for(c->world, 3 * SECOND);
        node_start(leader, false);
        break;
    case 1: /* it goes on alone for a while, and leads no more when it is back */
        bnd_sim_net_isolate(c->net, leader->id, false);
        bnd_sim_run_for(c->world, 4 * SECOND);
        bnd_sim_net_heal(c->net);
        break;
    default: /* hands over in the middle of it */
        bnd_sim_env_enter(leader->env);
        bnd_raft_step_down_all(leader->host);
        bnd_sim_env_leave(leader->env);
        break;
    }
    bnd_sim_run_for(c->world, 2 * SECOND);
}

static void run_seed(uint64_t seed) {
    struct cluster *c = cluster_open(seed);
    (void)ask(c, "CREATE TABLE t(id INTEGER PRIMARY KEY, who, v)");
    clients_start(c, 160);
    for (unsigned i = 0; i < 6; i++) {
        bnd_sim_run_for(c->world, 300 * BND_MS);
        fault(c, i + (unsigned)seed);
    }
    assert_true(bnd_sim_run_until_true(c->world, all_rest, c, 600 * SECOND));
    assert_rows(c);
    assert_true(c->acknowledged > 100 && c->reads > 50 && c->failures > 50);
    cluster_close(c);
}

static void nothing_acknowledged_is_lost_over_changes_of_leaders(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        run_seed(seed);
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

static uint64_t deaf; /* to raft */

static bool hears(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                  struct bnd_slice message) {
    (void)data, (void)from, (void)message;
    return to != deaf || kind != BND_MESH_RAFT;
}

static void a_session_reads_on_any_replica_what_it_wrote(void **state) {
    (void)state;
    struct cluster *c = cluster_open(3);
    (void)ask(c, "CREATE TABLE t(id INTEGER PRIMARY KEY)");
    struct node *leader = leader_of(c);
    unsigned elsewhere = 0;
    for (int i = 1; i <= 30; i++) {
        char text[64];
        char wanted[16];
        (void)snprintf(text, sizeof text, "INSERT INTO t VALUES(%d)", i);
        (void)snprintf(wanted, sizeof wanted, "\"n\":%d", i);
        struct node *node = &c->nodes[i % NODES];
        struct bnd_sql_bookmark wrote = ask_node(node, text, NULL)->bookmark;
        node = &c->nodes[(i + 1) % NODES];
        if (i % 2 == 0) { /* a follower hears of a commit with the next heartbeat */
            bnd_sim_run_for(c->world, 300 * BND_MS);
        }
        const struct once *read = ask_node(node, "SELECT count(*) AS n FROM t", &wrote);
        assert_non_null(strstr(read->text, wanted));
        assert_true(read->bookmark.version >= wrote.version);
        bool primary = strstr(read->text, "\"served_by_primary\":true") != NULL;
        assert_true(primary || node != leader);
        elsewhere += !primary;
        (void)ask_node(node, i % 2 == 0 ? "DELETE FROM t WHERE id = 0" : "SELECT 1", &wrote);
    }
    assert_true(elsewhere > 5);
    /* a replica that is behind asks the leader */
    struct node *behind = leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
    deaf = behind->id;
    bnd_sim_net_filter(c->net, hears, NULL);
    struct bnd_sql_bookmark wrote = ask_node(leader, "INSERT INTO t VALUES(31)", NULL)->bookmark;
    const struct once *read = ask_node(behind, "SELECT count(*) AS n FROM t", &wrote);
    assert_non_null(strstr(read->text, "\"n\":31"));
    assert_non_null(strstr(read->text, "\"served_by_primary\":true"));
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

/* As fast as the leader, and never behind what was acknowledged anywhere. */
static void a_read_of_no_session_is_read_where_it_is_asked(void **state) {
    (void)state;
    struct cluster *c = cluster_open(5);
    (void)ask(c, "CREATE TABLE t(id INTEGER PRIMARY KEY)");
    struct node *leader = leader_of(c);
    unsigned elsewhere = 0;
    for (int i = 1; i <= 60; i++) {
        char text[64];
        char wanted[24];
        (void)snprintf(text, sizeof text, "INSERT INTO t VALUES(%d)", i);
        (void)snprintf(wanted, sizeof wanted, "\"n\":%d}", i);
        (void)ask_node(&c->nodes[i % NODES], text, NULL);
        struct node *node = &c->nodes[(i + i / NODES) % NODES];
        const struct once *read = ask_node(node, "SELECT count(*) AS n FROM t", NULL);
        assert_non_null(strstr(read->text, wanted));
        bool primary = strstr(read->text, "\"served_by_primary\":true") != NULL;
        assert_true(primary || node != leader);
        elsewhere += !primary;
    }
    assert_true(elsewhere >= 20);
    const char *last = ask_node(&c->nodes[0], "SELECT Last_Insert_RowID() AS n", NULL)->text;
    assert_non_null(strstr(last, "\"n\":60"));
    last = ask_node(&c->nodes[1], "SELECT 'a' AS _, last_insert_rowid() AS n", NULL)->text;
    assert_non_null(strstr(last, "\"n\":60"));
    /* what turns out to write, what is not there yet, and what fails */
    struct node *follower = leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
    const struct once *wrote =
        ask_node(follower, "WITH x AS (SELECT 61) INSERT INTO t SELECT * FROM x", NULL);
    assert_non_null(strstr(wrote->text, "\"changes\":1"));
    assert_non_null(strstr(ask_node(follower, "SELECT max(id) AS n FROM t", NULL)->text, ":61"));
    assert_int_equal(ask_node(follower, "SELECT * FROM u", NULL)->outcome, BND_SQL_FAILED);
    (void)ask_node(leader, "CREATE TABLE u(id)", NULL);
    assert_int_equal(ask_node(follower, "SELECT * FROM u", NULL)->outcome, BND_SQL_DONE);
    /* a replica that does not come so far asks the leader */
    deaf = follower->id;
    bnd_sim_net_filter(c->net, hears, NULL);
    (void)ask_node(leader, "INSERT INTO t VALUES(62)", NULL);
    const struct once *read = ask_node(follower, "SELECT max(id) AS n FROM t", NULL);
    assert_non_null(strstr(read->text, "\"n\":62"));
    assert_non_null(strstr(read->text, "\"served_by_primary\":true"));
    bnd_sim_net_filter(c->net, NULL, NULL);
    cluster_close(c);
}

static void a_read_that_nobody_waits_for_is_not_run(void **state) {
    (void)state;
    const struct bnd_sql_bookmark any = {0};
    struct bnd_sql_stats before;
    struct bnd_sql_stats after;
    struct cluster *c = cluster_open(4);
    (void)ask(c, "CREATE TABLE t(id INTEGER PRIMARY KEY)");
    struct node *leader = leader_of(c);
    bnd_sql_stats(leader->sql, &before);
    struct once *once = ask_begin(leader, "SELECT 1\0", &any);
    bnd_sim_env_enter(leader->env);
    bnd_sql_cancel(&once->call);
    bnd_sim_env_leave(leader->env);
    (void)ask_node(leader, "SELECT 2", &any);
    bnd_sql_stats(leader->sql, &after);
    assert_int_equal(after.queries, before.queries + 2); /* both were the replica's */
    assert_int_equal(after.reads, before.reads + 1);
    cluster_close(c);
}

/* ---- retries --------------------------------------------------------------------------------- */

static bool to_others(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                      struct bnd_slice message) {
    (void)from, (void)kind, (void)message;
    return to != ((const struct node *)data)->id;
}

/* Its leader dies with its answer; another is asked again, under the same id. */
static struct once *ask_twice(struct cluster *c, const char *statements) {
    assert_true(bnd_sim_run_until_true(c->world, has_leader, c, 60 * SECOND));
    struct node *leader = leader_of(c);
    bnd_sim_net_filter(c->net, to_others, &c->asker);
    struct once *once = ask_begin(&c->asker, statements, NULL);
    bnd_sim_run_for(c->world, SECOND / 2);
    assert_false(once->done);
    node_crash(leader);
    bnd_sim_net_filter(c->net, NULL, NULL);
    ask_end(c, once);
    node_start(leader, false);
    return once;
}

/* A reader cannot prepare it any more. */
static void a_retry_of_what_dropped_its_table_gets_the_first_answer(void **state) {
    (void)state;
    struct cluster *c = cluster_open(5);
    (void)ask(c, "CREATE TABLE t(id INTEGER PRIMARY KEY)");
    (void)ask(c, "INSERT INTO t VALUES(1), (2)");
    const struct once *once = ask_twice(c, "SELECT count(*) AS n FROM t\0DROP TABLE t\0");
    assert_int_equal(once->outcome, BND_SQL_DONE);
    assert_non_null(strstr(once->text, "\"n\":2"));
    assert_non_null(strstr(ask(c, "SELECT id FROM t"), "no such table: t"));
    cluster_close(c);
}

/* The rows that it reads are too many, once it has written its own. */
static void a_retry_of_what_made_its_answer_too_big_gets_the_first_answer(void **state) {
    (void)state;
    struct cluster *c = cluster_open(5);
    (void)ask(c, "CREATE TABLE t(v)");
    const struct once *once =
        ask_twice(c, "SELECT hex(v) FROM t\0"
                     "INSERT INTO t SELECT zeroblob(900000) FROM (VALUES(1), (2), (3), (4))\0");
    assert_int_equal(once->outcome, BND_SQL_DONE);
    assert_non_null(strstr(once->text, "\"results\":[]"));
    assert_non_null(strstr(ask(c, "SELECT count(*) AS n FROM t"), "\"n\":4"));
    cluster_close(c);
}

static void on_admin(struct bnd_sql_admin *admin, int status) {
    assert_int_equal(status, 0);
    *(bool *)admin->data = true;
}

static bool is_set(void *data) {
    return *(bool *)data;
}

static bool is_told_twice(void *data) {
    return ((struct cluster *)data)->idle_forks >= 2;
}

/* Its maker may have died before it had a name. Nobody is told of one that is written, nor of what
 * is no fork. */
static void of_a_fork_that_nobody_writes_its_node_is_told(void **state) {
    (void)state;
    struct cluster *c = cluster_open(5);
    (void)ask(c, "CREATE TABLE t(v)");
    struct bnd_sql_bookmark at = ask_node(&c->asker, "SELECT 1", NULL)->bookmark;
    bool forked = false;
    uint8_t fork[16];
    struct bnd_sql_admin admin = {.cb = on_admin, .data = &forked};
    bnd_sim_env_enter(c->asker.env);
    bnd_sql_fork_uuid(c->asker.sql, uuid, fork);
    assert_int_equal(bnd_sql_fork(c->asker.sql, &admin, uuid, &at, fork), 0);
    bnd_sim_env_leave(c->asker.env);
    assert_true(bnd_sim_run_until_true(c->world, is_set, &forked, 60 * SECOND));
    bnd_sim_run_for(c->world, UINT64_C(3500) * SECOND);
    assert_int_equal(c->idle_forks, 0);
    assert_true(bnd_sim_run_until_true(c->world, is_told_twice, c, 500 * SECOND));
    assert_memory_equal(c->idle_fork, fork, sizeof fork);
    cluster_close(c);
}

static int library(void **state) {
    struct bnd_error err;
    (void)state;
    sql_sqlite_start(); /* outside every node's memory */
    return bnd_core_library_init(&err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_over_changes_of_leaders),
        cmocka_unit_test(a_session_reads_on_any_replica_what_it_wrote),
        cmocka_unit_test(a_read_of_no_session_is_read_where_it_is_asked),
        cmocka_unit_test(a_read_that_nobody_waits_for_is_not_run),
        cmocka_unit_test(a_retry_of_what_dropped_its_table_gets_the_first_answer),
        cmocka_unit_test(a_retry_of_what_made_its_answer_too_big_gets_the_first_answer),
        cmocka_unit_test(of_a_fork_that_nobody_writes_its_node_is_told),
    };
    return cmocka_run_group_tests(tests, library, NULL);
}
