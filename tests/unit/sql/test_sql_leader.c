/* The executor on one node, on real threads: what many clients did at once is counted exactly, and
 * everything that was asked is answered once. */
#include "tests/unit/sql/leader_rig.h"

#define CLIENTS 32
#define ROUNDS 40

static const uint8_t uuid_a[16] = {1, 2, 3};
static const uint8_t uuid_b[16] = {9, 9};

/* The integer behind "name": in an answer. */
static long number_of(const char *text, const char *name) {
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(text, key);
    if (at == NULL) {
        fail_msg("no %s in %s", name, text);
        return -1;
    }
    return strtol(at + strlen(key), NULL, 10);
}

static void a_database_is_made_and_used(void **state) {
    struct sql_rig *rig = *state;
    (void)rig_expect(rig, uuid_a, "SELECT 1 AS one\0", BND_SQL_DONE); /* made by a read */
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, "INSERT INTO t VALUES(1, 10)\0INSERT INTO t VALUES(2, 20)\0",
                     BND_SQL_DONE);
    const char *text = rig_expect(rig, uuid_a, "SELECT sum(v) AS total FROM t\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "total"), 30);
    text = rig_expect(rig, uuid_a, "INSERT INTO t VALUES(3, 1)\0INSERT INTO t VALUES(1, 1)\0",
                      BND_SQL_FAILED);
    assert_non_null(strstr(text, "UNIQUE constraint failed: t.id"));
    text = rig_expect(rig, uuid_a, "SELECT count(*) AS n FROM t\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 2);
    text = rig_expect(rig, uuid_b, "SELECT count(*) AS n FROM sqlite_schema\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 0);
}

/* ---- many at once ---- */

struct counting {
    struct sql_rig *rig;
    struct client *clients;
    long acknowledged; /* increments */
    unsigned running;
};

struct client {
    struct rig_call call;
    struct counting *all;
    unsigned round, step;
    long seen; /* acknowledged by anyone before the read was asked */
};

static void client_goes_on(struct rig_call *call);

static void client_asks(struct client *client) {
    static const char *const steps[] = {
        "UPDATE c SET n = n + 1 WHERE id = 1\0",
        "UPDATE c SET n = n + 1000 WHERE id = 1\0INSERT INTO c VALUES(1, 0)\0",
        "SELECT n FROM c WHERE id = 1\0",
        "DELETE FROM c WHERE id = 77\0SELECT n FROM c WHERE id = 1\0",
    };
    client->seen = client->all->acknowledged;
    client->call.then = client_goes_on;
    client->call.data = client;
    assert_int_equal(rig_ask(client->all->rig, &client->call, uuid_a, steps[client->step]), 0);
}

static void client_goes_on(struct rig_call *call) {
    struct client *client = call->data;
    assert_int_equal(call->status, 0);
    assert_int_equal(call->outcome, client->step == 1 ? BND_SQL_FAILED : BND_SQL_DONE);
    if (client->step == 0) {
        assert_true(call->wrote);
        client->all->acknowledged++;
    } else if (client->step > 1) {
        assert_true(number_of(call->text, "n") >= client->seen);
        assert_false(call->wrote);
    }
    client->step = (client->step + 1) % 4;
    client->round += client->step == 0;
    if (client->round < ROUNDS) {
        client_asks(client);
    } else {
        client->all->running--;
    }
}

static bool nobody_runs(void *data) {
    return ((struct counting *)data)->running == 0;
}

static void increments_of_many_clients_are_counted_exactly(void **state) {
    struct sql_rig *rig = *state;
    struct client clients[CLIENTS] = {0};
    struct counting all = {.rig = rig, .clients = clients, .running = CLIENTS};
    (void)rig_expect(rig, uuid_a,
                     "CREATE TABLE c(id INTEGER PRIMARY KEY, n)\0INSERT INTO c VALUES(1, 0)\0",
                     BND_SQL_DONE);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].all = &all;
        clients[i].step = i % 4;
        client_asks(&clients[i]);
    }
    rig_run(rig, nobody_runs, &all);
    const char *text = rig_expect(rig, uuid_a, "SELECT n FROM c\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), all.acknowledged);
    text = rig_expect(rig, uuid_a, "PRAGMA quick_check\0", BND_SQL_DONE);
    assert_non_null(strstr(text, "\"ok\""));
    for (unsigned i = 0; i < CLIENTS; i++) {
        free(clients[i].call.text);
    }
    struct bnd_sql_stats stats;
    bnd_sql_stats(rig->sql, &stats);
    assert_true(stats.entries < stats.transactions + stats.failures); /* they shared passes */
    assert_true(stats.reads > 0);
    assert_int_equal(stats.conflicts, 0);
}

#define DATABASES 40

static bool all_done(void *data) {
    const struct rig_call *calls = data;
    for (int i = 0; i < DATABASES; i++) {
        if (!calls[i].done) {
            return false;
        }
    }
    return true;
}

/* More at once than the pool is given. */
static void many_databases_at_once_all_get_their_turn(void **state) {
    struct sql_rig *rig = *state;
    static const char *const steps[] = {
        "SELECT 1\0",
        "CREATE TABLE t(v)\0INSERT INTO t VALUES(7)\0",
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 20000) "
        "SELECT max(c.n) + t.v AS n FROM c, t\0",
        "INSERT INTO t SELECT v FROM t\0",
        "SELECT count(*) + 20005 AS n FROM t\0",
    };
    static struct rig_call calls[DATABASES];
    memset(calls, 0, sizeof calls);
    for (size_t step = 0; step < sizeof steps / sizeof *steps; step++) {
        for (int i = 0; i < DATABASES; i++) {
            uint8_t uuid[16] = {3, (uint8_t)i};
            assert_int_equal(rig_ask(rig, &calls[i], uuid, steps[step]), 0);
        }
        rig_run(rig, all_done, calls);
        for (int i = 0; i < DATABASES; i++) {
            assert_int_equal(calls[i].status, 0);
            assert_int_equal(calls[i].outcome, BND_SQL_DONE);
            if (step == 2 || step == 4) {
                assert_int_equal(number_of(calls[i].text, "n"), 20007);
            }
        }
    }
    for (int i = 0; i < DATABASES; i++) {
        free(calls[i].text);
    }
}

/* ---- history ---- */

static void a_restore_goes_back_and_its_undo_forth(void **state) {
    struct sql_rig *rig = *state;
    struct rig_admin admin;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0INSERT INTO t VALUES(1)\0", BND_SQL_DONE);
    struct bnd_sql_bookmark before = rig_bookmark(rig, uuid_a);
    (void)rig_expect(rig, uuid_a, "INSERT INTO t VALUES(2)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, "CREATE TABLE later(a)\0", BND_SQL_DONE);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_restore(rig->sql, &admin.admin, uuid_a, &before)), 0);
    struct bnd_sql_bookmark undo = admin.admin.previous;
    const char *text = rig_expect(rig, uuid_a, "SELECT count(*) AS n FROM t\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 1);
    (void)rig_expect(rig, uuid_a, "INSERT INTO later VALUES(1)\0", BND_SQL_FAILED);
    (void)rig_expect(rig, uuid_a, "INSERT INTO t VALUES(3)\0", BND_SQL_DONE);
    uint8_t fork[16];
    bnd_sql_fork_uuid(rig->sql, uuid_a, fork);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_fork(rig->sql, &admin.admin, uuid_a, &undo, fork)), 0);
    text = rig_expect(rig, fork, "SELECT group_concat(v) || count(*) AS n FROM t, later\0",
                      BND_SQL_DONE);
    text = rig_expect(rig, fork, "SELECT sum(v) AS n FROM t\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 3);
    (void)rig_expect(rig, fork, "INSERT INTO later VALUES(1)\0", BND_SQL_DONE);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_restore(rig->sql, &admin.admin, uuid_a, &undo)), 0);
    text = rig_expect(rig, uuid_a, "SELECT sum(v) AS n FROM t\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 3);
    text = rig_expect(rig, uuid_a, "PRAGMA quick_check\0", BND_SQL_DONE);
    assert_non_null(strstr(text, "\"ok\""));
}

struct filled {
    struct bnd_sql_call call;
    bool done;
    int status;
};

static void on_filled(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct filled *of = call->data;
    of->done = true;
    of->status = status;
    assert_true(status != 0 || (answer->outcome == BND_SQL_DONE && answer->wrote));
}

/* A connection that knew the index while it was empty knows that it is not any more. */
static void a_filled_index_is_known_to_all(void **state) {
    static const struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .fill = true};
    const struct bnd_sql_value rows = {.type = BND_SQL_INTEGER, .integer = 100};
    struct sql_rig *rig = *state;
    BND_AUTO_BUF struct bnd_buf request = {0};
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, "CREATE INDEX i ON t(v)" BND_SQL_FILL_SUFFIX "\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, "INSERT INTO t VALUES(3),(1),(2)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, "SELECT v FROM t INDEXED BY i WHERE v > 0\0", BND_SQL_FAILED);
    struct filled filled = {.call = {.cb = on_filled, .data = &filled}};
    bnd_sql_request_begin(&request, &header);
    bnd_sql_request_statement(&request, bnd_slice_str("i"), 1);
    bnd_sql_request_param(&request, &rows);
    bnd_sql_request_end(&request, 1);
    assert_int_equal(bnd_sql_query(rig->sql, &filled.call, uuid_a, bnd_buf_slice(&request)), 0);
    rig_run(rig, rig_flag, &filled.done);
    assert_int_equal(filled.status, 0);
    /* SQLite looks at the age of its schema when it runs something, not for what it refuses. */
    (void)rig_expect(rig, uuid_a, "SELECT v FROM t\0", BND_SQL_DONE);
    const char *text =
        rig_expect(rig, uuid_a, "SELECT group_concat(v) + 0 AS n FROM t INDEXED BY i WHERE v > 0\0",
                   BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 1); /* of 1,2,3 */
}

/* Epoch and version of it may well be those of a version here. */
static void a_bookmark_of_another_database_is_refused(void **state) {
    struct sql_rig *rig = *state;
    struct rig_admin admin;
    uint8_t fork[16];
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *uuid = i == 0 ? uuid_a : uuid_b;
        (void)rig_expect(rig, uuid, "CREATE TABLE t(v)\0", BND_SQL_DONE);
        (void)rig_expect(rig, uuid,
                         i == 0 ? "INSERT INTO t VALUES(1)\0" : "INSERT INTO t VALUES(2)\0",
                         BND_SQL_DONE);
    }
    struct bnd_sql_bookmark own = rig_bookmark(rig, uuid_a);
    struct bnd_sql_bookmark others = rig_bookmark(rig, uuid_b);
    assert_true(own.version == others.version && own.epoch == others.epoch);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_restore(rig->sql, &admin.admin, uuid_a, &others)),
        BND_NOTFOUND);
    bnd_sql_fork_uuid(rig->sql, uuid_a, fork);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_fork(rig->sql, &admin.admin, uuid_a, &others, fork)),
        BND_NOTFOUND);
    assert_int_equal(rig_bookmark(rig, uuid_a).version, own.version);
}

static void a_deleted_database_is_not_made_again(void **state) {
    struct sql_rig *rig = *state;
    struct rig_admin admin;
    struct rig_call call = {0};
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_delete_database(rig->sql, &admin.admin, uuid_a)), 0);
    static const char *const asked[] = {"SELECT 1\0", "INSERT INTO t VALUES(1)\0"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(rig_ask(rig, &call, uuid_a, asked[i]), 0);
        rig_run(rig, rig_flag, &call.done);
        assert_int_equal(call.status, BND_NOTFOUND);
    }
}

/* ---- retention ---- */

struct aging {
    struct sql_rig *rig;
    struct rig_admin admin;
    const uint8_t *uuid;
    struct bnd_sql_bookmark oldest;
    bool asked;
};

/* Forks at the oldest bookmark until that is refused. */
static bool is_too_old(void *data) {
    struct aging *aging = data;
    uint8_t fork[16];
    if (aging->asked && !aging->admin.done) {
        return false;
    }
    if (aging->asked && aging->admin.status == BND_NOTFOUND) {
        return true;
    }
    assert_true(!aging->asked || aging->admin.status == 0);
    bnd_sql_fork_uuid(aging->rig->sql, aging->uuid, fork);
    rig_admin_begin(&aging->admin);
    assert_int_equal(
        bnd_sql_fork(aging->rig->sql, &aging->admin.admin, aging->uuid, &aging->oldest, fork), 0);
    aging->asked = true;
    return false;
}

/* Of every database, each in its turn; and the present is as it was. */
static void what_is_old_goes_by_itself(void **state) {
    struct sql_rig *rig = *state;
    struct aging aging[2] = {{.rig = rig, .uuid = uuid_a}, {.rig = rig, .uuid = uuid_b}};
    struct bnd_sql_stats stats;
    for (size_t i = 0; i < 2; i++) {
        (void)rig_expect(rig, aging[i].uuid, "CREATE TABLE t(v)\0", BND_SQL_DONE);
        aging[i].oldest = rig_bookmark(rig, aging[i].uuid);
        for (int n = 0; n < 100; n++) {
            (void)rig_expect(rig, aging[i].uuid, "INSERT INTO t VALUES(1)\0", BND_SQL_DONE);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        rig_run(rig, is_too_old, &aging[i]);
        const char *text =
            rig_expect(rig, aging[i].uuid, "SELECT sum(v) AS n FROM t\0", BND_SQL_DONE);
        assert_int_equal(number_of(text, "n"), 100);
    }
    bnd_sql_stats(rig->sql, &stats);
    assert_true(stats.cutoffs >= 2 && stats.collected_keys > 0);
}

/* ---- bounds ---- */

/* More pages have changed since than the executor remembers: a reader forgets all it has. */
static void a_reader_far_behind_keeps_nothing(void **state) {
    struct sql_rig *rig = *state;
    char text[256];
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(id INTEGER PRIMARY KEY, k, v)\0", BND_SQL_DONE);
    for (int i = 0; i < 3; i++) {
        memset(text, 0, sizeof text);
        (void)snprintf(
            text, sizeof text,
            "WITH RECURSIVE c(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM c LIMIT 1700) "
            "INSERT INTO t SELECT n, 0, zeroblob(3500) FROM c",
            i * 1700);
        (void)rig_expect(rig, uuid_a, text, BND_SQL_DONE);
    }
    static const char sum[] = "SELECT sum(k) AS n FROM t WHERE id BETWEEN 3400 AND 3499\0";
    assert_int_equal(number_of(rig_expect(rig, uuid_a, sum, BND_SQL_DONE), "n"), 0);
    for (int i = 0; i < 3; i++) {
        memset(text, 0, sizeof text);
        (void)snprintf(text, sizeof text, "UPDATE t SET k = 1 WHERE id BETWEEN %d AND %d",
                       (2 - i) * 1700, (2 - i) * 1700 + 1699);
        (void)rig_expect(rig, uuid_a, text, BND_SQL_DONE);
    }
    assert_int_equal(number_of(rig_expect(rig, uuid_a, sum, BND_SQL_DONE), "n"), 100);
}

static void a_large_transaction_goes_in_parts_and_too_large_a_one_fails(void **state) {
    struct sql_rig *rig = *state;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a,
                     "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 8) "
                     "INSERT INTO t SELECT randomblob(900000) FROM c\0",
                     BND_SQL_DONE);
    const char *text = rig_expect(rig, uuid_a, "SELECT sum(length(v)) AS n FROM t\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 7200000);
    text = rig_expect(rig, uuid_a,
                      "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 20) "
                      "INSERT INTO t SELECT randomblob(900000) FROM c\0",
                      BND_SQL_FAILED);
    assert_non_null(strstr(text, "SQLITE_TOOBIG"));
    text = rig_expect(rig, uuid_a, "SELECT sum(length(v)) AS n FROM t\0", BND_SQL_DONE);
    assert_int_equal(number_of(text, "n"), 7200000);
}

static void idle_databases_are_closed_for_others(void **state) {
    struct sql_rig *rig = *state;
    struct bnd_sql_stats stats;
    for (int i = 0; i < 60; i++) {
        uint8_t uuid[16] = {42, (uint8_t)i};
        (void)rig_expect(rig, uuid, "CREATE TABLE t(v)\0INSERT INTO t VALUES(zeroblob(20000))\0",
                         BND_SQL_DONE);
        bnd_sql_stats(rig->sql, &stats);
        assert_true(stats.pages_bytes <= (5u << 20));
    }
    assert_true(stats.databases_open < 60);
    for (int i = 0; i < 60; i++) {
        uint8_t uuid[16] = {42, (uint8_t)i};
        const char *text =
            rig_expect(rig, uuid, "SELECT sum(length(v)) AS n FROM t\0", BND_SQL_DONE);
        assert_int_equal(number_of(text, "n"), 20000);
    }
}

/* ---- ends ---- */

static void everything_is_answered_when_the_service_closes(void **state) {
    struct sql_rig rig = {0};
    struct rig_call calls[CLIENTS] = {0};
    (void)state;
    rig_start(&rig, 0);
    (void)rig_expect(&rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(rig_ask(&rig, &calls[i], uuid_a,
                                 i % 2 == 0 ? "INSERT INTO t VALUES(1)\0" : "SELECT * FROM t\0"),
                         0);
    }
    rig_run(&rig, rig_flag, &calls[0].done); /* some are done, some run */
    rig_stop(&rig);
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(calls[i].done);
        assert_true(calls[i].status == 0 || calls[i].status == BND_UNKNOWN);
        free(calls[i].text);
    }
}

static int start(void **state) {
    return rig_setup(state, (struct sql_rig){0}, 0);
}

static int start_small(void **state) {
    return rig_setup(state, (struct sql_rig){0}, 4u << 20);
}

static int start_forgetful(void **state) {
    return rig_setup(state, (struct sql_rig){.keep_ms = 200}, 0);
}

#define TEST(name) RIG_TEST(name, start)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_database_is_made_and_used),
        TEST(increments_of_many_clients_are_counted_exactly),
        TEST(many_databases_at_once_all_get_their_turn),
        TEST(a_restore_goes_back_and_its_undo_forth),
        TEST(a_bookmark_of_another_database_is_refused),
        TEST(a_filled_index_is_known_to_all),
        TEST(a_deleted_database_is_not_made_again),
        TEST(a_reader_far_behind_keeps_nothing),
        TEST(a_large_transaction_goes_in_parts_and_too_large_a_one_fails),
        RIG_TEST(idle_databases_are_closed_for_others, start_small),
        RIG_TEST(what_is_old_goes_by_itself, start_forgetful),
        cmocka_unit_test(everything_is_answered_when_the_service_closes),
    };
    return cmocka_run_group_tests(tests, rig_library, NULL);
}
