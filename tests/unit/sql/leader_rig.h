/* One node's Raft host and SQL service on real threads, files and RocksDB, without its ports: the
 * test is the node's loop. */
#ifndef BND_TESTS_UNIT_SQL_LEADER_RIG_H
#define BND_TESTS_UNIT_SQL_LEADER_RIG_H

#include "base/alloc.h"
#include "engine/io/io.h"
#include "engine/rocks/rocks.h"
#include "placement/shard.h"
#include "raft/core.h"
#include "sql/sql.h"
#include "tests/unit/sql/time_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function"

/* RocksDB is not built with the thread sanitizer, which so sees none of its locks. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "race:librocksdb.so\ncalled_from_lib:librocksdb.so\n";
}

#define RIG_GID ((uint64_t)BND_GROUP_SQL << 32)

struct sql_rig {
    char dir[64];
    struct bnd_env *env;
    struct bnd_mesh mesh; /* of a node alone */
    struct bnd_rpc *rpc;
    struct bnd_state *state;
    struct bnd_raft_host *host;
    struct bnd_shard_client *client;
    struct bnd_sql *sql;
    uint64_t keep_ms; /* set before rig_start; 0: for ever */
    bool holds_time;  /* and this: long waits are the test's (time_rig.h) */
    struct bnd_timer timer;
    bool (*until)(void *data);
    void *until_data;
    bool closed;
};

/* ---- a mesh without peers -------------------------------------------------------------------- */

static uint64_t alone_self(struct bnd_mesh *mesh) {
    (void)mesh;
    return 1;
}
static void alone_receive(struct bnd_mesh *mesh, enum bnd_mesh_kind kind, bnd_mesh_recv_cb cb,
                          void *owner) {
    (void)mesh, (void)kind, (void)cb, (void)owner;
}
static void alone_watch(struct bnd_mesh *mesh, bnd_mesh_peer_cb cb, void *owner) {
    (void)mesh, (void)cb, (void)owner;
}
static int alone_send(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane,
                      enum bnd_mesh_kind kind, const struct bnd_slice *parts, size_t count) {
    (void)mesh, (void)to, (void)lane, (void)kind, (void)parts, (void)count;
    return BND_CLOSED;
}
static size_t alone_queued(struct bnd_mesh *mesh, uint64_t to, enum bnd_mesh_lane lane) {
    (void)mesh, (void)to, (void)lane;
    return 0;
}
static bool alone_up(struct bnd_mesh *mesh, uint64_t node) {
    (void)mesh, (void)node;
    return false;
}
static uint64_t alone_silence(struct bnd_mesh *mesh, uint64_t node) {
    (void)mesh, (void)node;
    return UINT64_MAX;
}
static bool alone_clock(struct bnd_mesh *mesh, uint64_t node, int64_t *out) {
    (void)mesh, (void)node, (void)out;
    return false;
}
static const struct bnd_mesh_ops alone = {alone_self,   alone_receive, alone_watch,   alone_send,
                                          alone_queued, alone_up,      alone_silence, alone_clock};

/* ---- the node -------------------------------------------------------------------------------- */

static int rig_fsm(void *owner, uint64_t gid, struct bnd_fsm *out, struct bnd_error *err) {
    return bnd_sql_fsm_make(((struct sql_rig *)owner)->sql, gid, out, err);
}
static void rig_execute(void *owner, struct bnd_raft_execution *execution) {
    bnd_sql_execute(((struct sql_rig *)owner)->sql, execution);
}
static void rig_changed(void *owner, uint64_t gid) {
    bnd_sql_group_changed(((struct sql_rig *)owner)->sql, gid);
}
static bool rig_wanted(void *owner, uint64_t gid, uint64_t from) {
    (void)owner, (void)gid, (void)from;
    return false;
}
static void rig_fatal(void *owner, const struct bnd_error *why) {
    (void)owner;
    (void)fprintf(stderr, "fatal: %s\n", why->message);
    abort();
}

/* Runs the loop until it is so. */
static void rig_looks(struct bnd_timer *timer) {
    struct sql_rig *rig = timer->data;
    if (rig->until(rig->until_data)) {
        bnd_io_env_stop(rig->env);
    } else {
        bnd_timer_start(rig->env, timer, BND_MS);
    }
}
static void rig_run(struct sql_rig *rig, bool (*until)(void *data), void *data) {
    rig->until = until;
    rig->until_data = data;
    rig->timer = (struct bnd_timer){.cb = rig_looks, .data = rig};
    bnd_timer_start(rig->env, &rig->timer, 0);
    bnd_io_env_run(rig->env);
}
static bool rig_flag(void *data) {
    return *(bool *)data;
}

static void rig_done(void *data, int status) {
    assert_int_equal(status, 0);
    *(bool *)data = true;
}
static bool rig_leads(void *data) {
    struct bnd_raft_group_status status;
    return bnd_raft_group_status(((struct sql_rig *)data)->host, RIG_GID, &status) == 0 &&
           status.ready;
}

/* The group is made, and led. */
static void rig_found(struct sql_rig *rig) {
    const struct bnd_raft_member self = {.node = 1, .role = BND_RAFT_VOTER};
    bool made = false;
    assert_int_equal(bnd_raft_group_bootstrap(rig->host, RIG_GID, &self, 1, rig_done, &made), 0);
    rig_run(rig, rig_flag, &made);
    rig_run(rig, rig_leads, rig);
}

static void rig_start(struct sql_rig *rig, size_t memory_bytes) {
    struct bnd_error err = {0};
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/bnd-sql-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    assert_int_equal(bnd_io_env_create(NULL, &rig->env, &err), 0);
    if (rig->holds_time) {
        time_take(rig->env);
    }
    rig->mesh.ops = &alone;
    assert_int_equal(bnd_rpc_create(rig->env, &rig->mesh, 0, &rig->rpc), 0);
    char state[80];
    char journal[80];
    (void)snprintf(state, sizeof state, "%s/state", rig->dir);
    (void)snprintf(journal, sizeof journal, "%s/journal", rig->dir);
    const struct bnd_rocks_config rocks = {
        .env = rig->env, .dir = state, .memory_bytes = 64u << 20};
    assert_int_equal(bnd_rocks_open(&rocks, &rig->state, &err), 0);
    const struct bnd_sql_config sql = {.env = rig->env,
                                       .state = rig->state,
                                       .self = 1,
                                       .name = "node-1",
                                       .memory_bytes = memory_bytes,
                                       .keep_ms = rig->keep_ms};
    assert_int_equal(bnd_sql_create(&sql, &rig->sql), 0);
    assert_int_equal(rig->env->ops->dir_make(rig->env, journal, &err), 0);
    const struct bnd_raft_host_config host = {.env = rig->env,
                                              .mesh = &rig->mesh,
                                              .rpc = rig->rpc,
                                              .state = rig->state,
                                              .journal_dir = journal,
                                              .journal_segment_bytes = 8u << 20,
                                              .cluster_id = 1,
                                              .node_id = 1,
                                              .guards = BND_RAFT_GUARDS_ALL,
                                              .owner = rig,
                                              .fsm_make = rig_fsm,
                                              .execute = rig_execute,
                                              .group_wanted = rig_wanted,
                                              .group_changed = rig_changed,
                                              .fatal = rig_fatal};
    if (bnd_raft_host_create(&host, &rig->host, &err) != 0) {
        fail_msg("%s", err.message);
    }
    const struct bnd_shard_client_config client = {
        .env = rig->env, .rpc = rig->rpc, .host = rig->host};
    assert_int_equal(bnd_shard_client_create(&client, &rig->client), 0);
    bnd_sql_start(rig->sql, rig->client, rig->host);
    rig_found(rig);
    const uint64_t node = 1;
    bnd_shard_client_members(rig->client, RIG_GID, &node, 1);
    bnd_sql_shards(rig->sql, 1);
}

static void rig_closed(void *data) {
    ((struct sql_rig *)data)->closed = true;
}

static void rig_stop(struct sql_rig *rig) {
    rig->closed = false;
    bnd_sql_close(rig->sql, rig_closed, rig);
    rig_run(rig, rig_flag, &rig->closed);
    bnd_shard_client_destroy(rig->client);
    rig->closed = false;
    bnd_raft_host_close(rig->host, rig_closed, rig);
    rig_run(rig, rig_flag, &rig->closed);
    bnd_sql_destroy(rig->sql);
    bnd_rpc_destroy(rig->rpc);
    rig->state->ops->close(rig->state);
    bnd_io_env_destroy(rig->env);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", rig->dir);
    assert_int_equal(system(command), 0);
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct rig_call {
    struct bnd_sql_call call;
    bool done;
    int status;
    enum bnd_sql_outcome outcome;
    bool wrote;
    struct bnd_sql_bookmark bookmark;
    char *text; /* of the answer */
    void (*then)(struct rig_call *call);
    void *data;
};

static void rig_answered(struct bnd_sql_call *call, int status,
                         const struct bnd_sql_answer *answer) {
    struct rig_call *of = call->data;
    of->done = true;
    of->status = status;
    free(of->text);
    of->text = NULL;
    if (answer != NULL) {
        of->outcome = answer->outcome;
        of->wrote = answer->wrote;
        bnd_sql_bookmark_get(answer->bookmark, &of->bookmark);
        of->text = strndup((const char *)answer->text.data, answer->text.len);
    }
    if (of->then != NULL) {
        of->then(of);
    }
}

/* Statements separated by NUL, the last ended by two. */
static int rig_ask_in(struct sql_rig *rig, struct rig_call *call, const uint8_t uuid[16],
                      const char *statements, const struct bnd_sql_bookmark *after) {
    struct bnd_buf request = {0};
    struct bnd_sql_request header = {.results = BND_SQL_OBJECTS, .session = BND_SQL_PRIMARY};
    if (after != NULL) {
        header.session = BND_SQL_BOOKMARK;
        bnd_sql_bookmark_put(header.bookmark, after);
    }
    uint32_t count = 0;
    bnd_sql_request_begin(&request, &header);
    for (const char *text = statements; *text != 0; text += strlen(text) + 1) {
        bnd_sql_request_statement(&request, bnd_slice_str(text), 0);
        count++;
    }
    bnd_sql_request_end(&request, count);
    call->done = false;
    call->call = (struct bnd_sql_call){.cb = rig_answered, .data = call};
    int rv = bnd_sql_query(rig->sql, &call->call, uuid, bnd_buf_slice(&request));
    bnd_buf_free(&request);
    return rv;
}

static int rig_ask(struct sql_rig *rig, struct rig_call *call, const uint8_t uuid[16],
                   const char *statements) {
    return rig_ask_in(rig, call, uuid, statements, NULL);
}

/* Waits; the answer must be of this outcome. The text lives until the next. */
static const char *rig_expect(struct sql_rig *rig, const uint8_t uuid[16], const char *statements,
                              enum bnd_sql_outcome outcome) {
    static struct rig_call call;
    call.then = NULL;
    assert_int_equal(rig_ask(rig, &call, uuid, statements), 0);
    rig_run(rig, rig_flag, &call.done);
    if (call.status != 0 || call.outcome != outcome) {
        fail_msg("%s: status %d outcome %d: %s", statements, call.status, (int)call.outcome,
                 call.text == NULL ? "" : call.text);
    }
    return call.text;
}

/* ---- administering -------------------------------------------------------------------------- */

struct rig_admin {
    struct bnd_sql_admin admin;
    bool done;
    int status;
};

static void rig_administered(struct bnd_sql_admin *admin, int status) {
    struct rig_admin *of = admin->data;
    of->done = true;
    of->status = status;
}

static void rig_admin_begin(struct rig_admin *admin) {
    *admin = (struct rig_admin){.admin = {.cb = rig_administered, .data = admin}};
}

static int rig_admin_wait(struct sql_rig *rig, struct rig_admin *admin, int rv) {
    assert_int_equal(rv, 0);
    rig_run(rig, rig_flag, &admin->done);
    return admin->status;
}

static struct bnd_sql_bookmark rig_bookmark(struct sql_rig *rig, const uint8_t uuid[16]) {
    struct rig_admin admin;
    rig_admin_begin(&admin);
    assert_int_equal(rig_admin_wait(rig, &admin, bnd_sql_info(rig->sql, &admin.admin, uuid)), 0);
    return admin.admin.info.bookmark;
}

/* ---- as cmocka wants it --------------------------------------------------------------------- */

static inline int rig_library(void **state) {
    struct bnd_error err;
    (void)state;
    return bnd_core_library_init(&err);
}

/* One with these settings, for a test. */
static inline int rig_setup(void **state, struct sql_rig with, size_t memory_bytes) {
    static struct sql_rig rig;
    rig = with;
    rig_start(&rig, memory_bytes);
    *state = &rig;
    return 0;
}

static inline int rig_teardown(void **state) {
    rig_stop(*state);
    return 0;
}

#define RIG_TEST(name, start) cmocka_unit_test_setup_teardown(name, start, rig_teardown)

#endif
