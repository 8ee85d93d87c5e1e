/* A connection: answers in D1's form, its messages, transactions, what only may read, what is kept
 * between requests, what ends a run early. */
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/sql/connection_rig.h"

/* ---- answers ---- */

static void test_element(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_string_equal(
        ask(&rig, "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"),
        "[{\"success\":true,\"results\":[],\"meta\":{\"served_by\":\"n1\",\"served_by_primary\":"
        "true,\"duration\":0.0000,\"changes\":0,\"last_row_id\":0,\"changed_db\":true,\"size_"
        "after\":"
        "8192,\"rows_read\":1,\"rows_written\":2,\"timings\":{\"sql_duration_ms\":0.0000}}}]");
    rig.run.served = (struct sql_served){.node = "a \"node\""};
    assert_string_equal(
        ask(&rig, "INSERT INTO t (name) VALUES ('a'), ('b') RETURNING *"),
        "[{\"success\":true,\"results\":[{\"id\":1,\"name\":\"a\"},{\"id\":2,\"name\":\"b\"}],"
        "\"meta\":"
        "{\"served_by\":\"a "
        "\\\"node\\\"\",\"served_by_primary\":false,\"duration\":0.0000,\"changes\":"
        "2,\"last_row_id\":2,\"changed_db\":true,\"size_after\":8192,\"rows_read\":4,\"rows_"
        "written\":"
        "2,\"timings\":{\"sql_duration_ms\":0.0000}}}]");
    assert_int_equal(rig.run.last_row_id, 2);
    rig_close(&rig);
}

static void test_rows_and_objects(void **state) {
    struct rig rig;
    rig_open(&rig);
    static const char *const twice = "SELECT 1 AS a, 2 AS b, 3 AS a UNION ALL SELECT 4, 5, 6";
    assert_string_equal(rows(&rig, twice), "[{\"a\":3,\"b\":2},{\"a\":6,\"b\":5}]");
    assert_string_equal(rows(&rig, "SELECT 1 AS \"a\"\"\n\" WHERE 0"), "[]");
    rig.header.results = BND_SQL_ROWS;
    assert_string_equal(rows(&rig, twice),
                        "{\"columns\":[\"a\",\"b\",\"a\"],\"rows\":[[1,2,3],[4,5,6]]}");
    assert_string_equal(rows(&rig, "SELECT 1 AS \"a\"\"\n\" WHERE 0"),
                        "{\"columns\":[\"a\\\"\\n\"],\"rows\":[]}");
    assert_string_equal(rows(&rig, "CREATE TABLE t (x)"), "{\"columns\":[],\"rows\":[]}");
    rig_close(&rig);
}

/* Every type goes in by a parameter and comes out as D1 tells it. */
static void test_types(void **state) {
    struct rig rig;
    rig_open(&rig);
    begin(&rig);
    add(&rig, "SELECT ? AS n, ? AS i, ? AS r, ? AS t, ? AS b, typeof(?2) || typeof(?3) AS k", 5);
    param(&rig, (struct bnd_sql_value){.type = BND_SQL_NULL});
    param(&rig, (struct bnd_sql_value){.type = BND_SQL_INTEGER, .integer = INT64_MIN});
    param(&rig, (struct bnd_sql_value){.type = BND_SQL_REAL, .real = 0.1});
    param(&rig,
          (struct bnd_sql_value){.type = BND_SQL_TEXT, .bytes = bnd_slice("a\0\xc3\xa9\"", 5)});
    param(&rig,
          (struct bnd_sql_value){.type = BND_SQL_BLOB, .bytes = bnd_slice("\0\x09\x63\xff", 4)});
    (void)done(&rig);
    assert_string_equal(
        results(&rig, 0),
        "[{\"n\":null,\"i\":-9223372036854775808,\"r\":0.1,\"t\":\"a\\u0000\xc3\xa9\\\"\","
        "\"b\":[0,9,99,255],\"k\":\"integerreal\"}]");
    assert_string_equal(
        rows(&rig, "SELECT '' AS t, x'' AS b, 1.0 AS one, 1e300 * 1e300 AS inf, -0.0 AS z"),
        "[{\"t\":\"\",\"b\":[],\"one\":1,\"inf\":null,\"z\":0}]");
    assert_string_equal(
        rows(&rig, "SELECT CAST(x'61ff62' AS TEXT) AS t, 1e21 AS e, 9007199254740993 AS i"),
        "[{\"t\":\"a\xef\xbf\xbd"
        "b\",\"e\":1e+21,\"i\":9007199254740993}]");
    rig_close(&rig);
}

/* ---- messages ---- */

static void test_messages(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig,
              "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL UNIQUE, c CHECK (c > 0))");
    (void)ask(&rig, "INSERT INTO t VALUES (1, 'x', 1)");
    ask_fails(
        &rig, "INSERT INTO t VALUES (2, 'x', 1)",
        "UNIQUE constraint failed: t.b: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)");
    ask_fails(&rig, "INSERT INTO t VALUES (1, 'y', 1)",
              "UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT (extended: "
              "SQLITE_CONSTRAINT_PRIMARYKEY)");
    ask_fails(
        &rig, "INSERT INTO t VALUES (3, NULL, 1)",
        "NOT NULL constraint failed: t.b: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_NOTNULL)");
    ask_fails(
        &rig, "INSERT INTO t VALUES (3, 'z', 0)",
        "CHECK constraint failed: c > 0: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)");
    ask_fails(&rig, "SELECT * FROM nope", "no such table: nope: SQLITE_ERROR");
    ask_fails(&rig, "SELECT nope FROM t", "no such column: nope at offset 7: SQLITE_ERROR");
    ask_fails(&rig, "SELEC 1", "near \"SELEC\": syntax error at offset 0: SQLITE_ERROR");
    ask_fails(&rig, "SELECT 'open", "unrecognized token: \"'open\" at offset 7: SQLITE_ERROR");
    ask_fails(&rig, "SELECT", "incomplete input: SQLITE_ERROR");
    ask_fails(&rig, "SELECT abs(-9223372036854775808)", "integer overflow: SQLITE_ERROR");
    ask_fails(&rig, "", "No SQL statements detected.");
    ask_fails(&rig, " ; -- nothing\n /* at all */ ;", "No SQL statements detected.");
    begin(&rig);
    bnd_sql_request_statement(&rig.request, bnd_slice("SELECT 1\0, 2", 12), 0);
    rig.statements = 1;
    failed(&rig, "the SQL text holds a NUL character: SQLITE_ERROR");
    rig_close(&rig);
}

static void test_bindings(void **state) {
    struct rig rig;
    rig_open(&rig);
    for (uint32_t count = 0; count <= 3; count++) {
        begin(&rig);
        add(&rig, "SELECT ?1 + ?2 AS s", count);
        for (uint32_t i = 0; i < count; i++) {
            param(&rig, (struct bnd_sql_value){.type = BND_SQL_INTEGER, .integer = 4});
        }
        if (count == 2) {
            (void)done(&rig);
            assert_string_equal(results(&rig, 0), "[{\"s\":8}]");
        } else {
            failed(&rig, "Wrong number of parameter bindings for SQL query.");
        }
    }
    /* A kept statement forgets what was bound to it. */
    begin(&rig);
    add(&rig, "SELECT ?1 + ?2 AS s", 2);
    param(&rig, (struct bnd_sql_value){.type = BND_SQL_NULL});
    param(&rig, (struct bnd_sql_value){.type = BND_SQL_INTEGER, .integer = 4});
    (void)done(&rig);
    assert_string_equal(results(&rig, 0), "[{\"s\":null}]");
    rig_close(&rig);
}

/* ---- several statements ---- */

static void test_script(void **state) {
    struct rig rig;
    rig_open(&rig);
    rig.header.script = true;
    (void)ask(&rig,
              "\xef\xbb\xbf-- a migration; with a comment\n"
              "CREATE TABLE t (x); /* ; */ INSERT INTO t VALUES ('a;b');;\n"
              "CREATE TRIGGER tt AFTER INSERT ON t BEGIN UPDATE t SET x = x || '!'; SELECT 1; END;"
              "INSERT INTO t VALUES ('c'); SELECT x FROM t -- the end");
    assert_string_equal(results(&rig, 4), "[{\"x\":\"a;b!\"},{\"x\":\"c!\"}]");
    assert_null(strstr(strstr(text(&rig), "c!"), "\"results\"")); /* five elements, no more */
    begin(&rig);
    add(&rig, "DELETE FROM t; INSERT INTO t VALUES (?)", 1);
    param(&rig, (struct bnd_sql_value){.type = BND_SQL_INTEGER, .integer = 9});
    (void)done(&rig);
    ask_fails(
        &rig, "DELETE FROM t WHERE x = ?; SELECT 1",
        "When executing multiple SQL statements in a single call, only the last statement can "
        "have parameters.");
    ask_fails(&rig, "DELETE FROM t; SELECT nope FROM t",
              "no such column: nope at offset 7: SQLITE_ERROR");
    assert_string_equal(rows(&rig, "SELECT x FROM t"), "[{\"x\":\"9!\"}]");
    rig_close(&rig);
}

/* Without `script` they make one element, as D1 has it. */
static void test_several_in_one(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2); SELECT x FROM t; -- end");
    assert_string_equal(results(&rig, 0), "[{\"x\":1},{\"x\":2}]");
    assert_null(strstr(strstr(text(&rig), "results") + 1, "results"));
    assert_non_null(strstr(text(&rig), "\"changes\":2,"));
    assert_int_equal(rig.run.rows_written, 2 + 2);
    (void)ask(&rig, "SELECT x FROM t; INSERT INTO t VALUES (3) RETURNING x");
    assert_string_equal(results(&rig, 0), "[{\"x\":3}]");
    rig_close(&rig);
}

/* A long script of short statements: neither the limit of one statement nor its square. */
static void test_long_script(void **state) {
    struct rig rig;
    rig_open(&rig);
    rig.header.script = true;
    BND_AUTO_BUF struct bnd_buf sql = {0};
    bnd_buf_append_str(&sql, "CREATE TABLE t (x);");
    for (int i = 0; i < 9998; i++) {
        bnd_buf_printf(&sql, "INSERT INTO t VALUES (%d); -- %0300d\n", i, i);
    }
    bnd_buf_append_str(&sql, "SELECT count(*) AS n FROM t");
    begin(&rig);
    bnd_sql_request_statement(&rig.request, bnd_buf_slice(&sql), 0);
    rig.statements = 1;
    assert_non_null(strstr(done(&rig), "[{\"n\":9998}]"));
    (void)ask(&rig, "DROP TABLE t");
    bnd_buf_append_str(&sql, "; SELECT 1");
    begin(&rig);
    bnd_sql_request_statement(&rig.request, bnd_buf_slice(&sql), 0);
    rig.statements = 1;
    failed(&rig, "more than 10000 statements in one request: SQLITE_ERROR");
    rig_close(&rig);
}

/* ---- transactions ---- */

static void test_all_or_nothing(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (x UNIQUE)");
    (void)ask(&rig, "INSERT INTO t VALUES (1)");
    begin(&rig);
    add(&rig, "INSERT INTO t VALUES (2)", 0);
    add(&rig, "CREATE TABLE other (y)", 0);
    add(&rig, "INSERT OR ROLLBACK INTO t VALUES (1)", 0);
    failed(&rig,
           "UNIQUE constraint failed: t.x: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)");
    begin(&rig);
    add(&rig, "INSERT INTO t VALUES (2)", 0);
    add(&rig, "INSERT OR FAIL INTO t VALUES (3), (1)", 0);
    failed(&rig,
           "UNIQUE constraint failed: t.x: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)");
    assert_string_equal(rows(&rig, "SELECT x FROM t"), "[{\"x\":1}]");
    ask_fails(&rig, "SELECT * FROM other", "no such table: other: SQLITE_ERROR");
    rig_close(&rig);
}

static void test_foreign_keys(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE p (id INTEGER PRIMARY KEY)");
    (void)ask(&rig, "CREATE TABLE c (p INT REFERENCES p (id))");
    static const char *const broken = "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: "
                                      "SQLITE_CONSTRAINT_FOREIGNKEY)";
    ask_fails(&rig, "INSERT INTO c VALUES (1)", broken);
    ask_fails(&rig, "PRAGMA foreign_keys=OFF; INSERT INTO c VALUES (1)", broken);
    ask_fails(&rig, "PRAGMA defer_foreign_keys=ON; INSERT INTO c VALUES (1)",
              broken); /* at its end */
    begin(&rig);
    add(&rig, "PRAGMA defer_foreign_keys = on", 0);
    add(&rig, "INSERT INTO c VALUES (1)", 0);
    add(&rig, "INSERT INTO p VALUES (1)", 0);
    (void)done(&rig);
    ask_fails(&rig, "INSERT INTO c VALUES (2)", broken); /* which is over by now */
    assert_string_equal(rows(&rig, "SELECT p FROM c"), "[{\"p\":1}]");
    rig_close(&rig);
}

/* What one request sets, the next does not find. */
static void test_settings_end(void **state) {
    struct rig rig;
    rig_open(&rig);
    static const char *const like = "SELECT 'A' LIKE 'a' AS l";
    assert_string_equal(rows(&rig, like), "[{\"l\":1}]");
    begin(&rig);
    add(&rig, "PRAGMA case_sensitive_like = ON", 0);
    add(&rig, like, 0);
    (void)done(&rig);
    assert_string_equal(results(&rig, 1), "[{\"l\":0}]");
    assert_string_equal(rows(&rig, like), "[{\"l\":1}]");
    ask_fails(&rig, "PRAGMA case_sensitive_like = ON; SELECT nope", /* and if it fails */
              "no such column: nope at offset 7: SQLITE_ERROR");
    assert_string_equal(rows(&rig, like), "[{\"l\":1}]");
    static const char *const deferred = "PRAGMA defer_foreign_keys"; /* ends with its transaction */
    begin(&rig);
    add(&rig, "PRAGMA defer_foreign_keys = ON", 0);
    add(&rig, deferred, 0);
    (void)done(&rig);
    assert_string_equal(results(&rig, 1), "[{\"defer_foreign_keys\":1}]");
    assert_string_equal(rows(&rig, deferred), "[{\"defer_foreign_keys\":0}]");
    (void)ask(&rig, "CREATE TABLE t (x CHECK (x > 0))");
    (void)ask(&rig, "PRAGMA ignore_check_constraints = ON; INSERT INTO t VALUES (-1)");
    ask_fails(
        &rig, "INSERT INTO t VALUES (-1)",
        "CHECK constraint failed: x > 0: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)");
    rig_close(&rig);
}

/* ---- what only may read ---- */

static const char *attempt(struct rig *rig, const char *sql) {
    begin(rig);
    add(rig, sql, 0);
    assert_int_equal(go(rig), 0);
    return rig->run.wants_writer ? "writer" : rig->run.outcome == BND_SQL_DONE ? "done" : text(rig);
}

static void test_read_only_run(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (x)");
    rig.run.read_only = true;
    assert_string_equal(attempt(&rig, "SELECT x FROM t"), "done");
    assert_string_equal(attempt(&rig, "PRAGMA table_info('t')"), "done");
    assert_string_equal(attempt(&rig, "PRAGMA foreign_keys"), "done");
    assert_string_equal(attempt(&rig, "EXPLAIN INSERT INTO t VALUES (1)"), "done");
    assert_string_equal(attempt(&rig, "CREATE TABLE IF NOT EXISTS t (x)"), "writer");
    assert_string_equal(attempt(&rig, "SELECT nope"),
                        "no such column: nope at offset 7: SQLITE_ERROR");
    assert_string_equal(attempt(&rig, "INSERT INTO t VALUES (1)"), "writer");
    assert_string_equal(attempt(&rig, "SELECT 1; DELETE FROM t"), "writer");
    assert_string_equal(attempt(&rig, "PRAGMA optimize"), "writer");
    assert_string_equal(attempt(&rig, "PRAGMA case_sensitive_like=ON"), "writer");
    begin(&rig);
    add(&rig, "SELECT 1", 0);
    add(&rig, "CREATE TABLE u (y)", 0);
    add(&rig, "SELECT y FROM u", 0); /* cannot be prepared before */
    assert_int_equal(go(&rig), 0);
    assert_true(rig.run.wants_writer);
    rig.run.read_only = false;
    assert_string_equal(rows(&rig, "SELECT count(*) AS n FROM t"), "[{\"n\":0}]");
    ask_fails(&rig, "SELECT y FROM u", "no such table: u: SQLITE_ERROR");
    rig_close(&rig);
}

/* What had nothing to do when it was kept may have something now. */
static void test_read_only_run_of_kept(void **state) {
    static const char *const drop = "DROP TRIGGER IF EXISTS g";
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (x)");
    rig.run.read_only = true;
    assert_string_equal(attempt(&rig, drop), "done");
    rig.run.read_only = false;
    (void)ask(&rig, "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END");
    rig.run.read_only = true;
    assert_string_equal(attempt(&rig, drop), "writer");
    rig.run.read_only = false;
    (void)ask(&rig, drop);
    assert_string_equal(rows(&rig, "SELECT name FROM sqlite_schema"), "[{\"name\":\"t\"}]");
    rig_close(&rig);
}

static void test_read_only_request(void **state) {
    struct rig rig;
    rig_open(&rig);
    static const char *const refused = "attempt to write a readonly database: SQLITE_READONLY";
    (void)ask(&rig, "CREATE TABLE t (x)");
    rig.header.read_only = true;
    for (int run_read_only = 0; run_read_only <= 1; run_read_only++) {
        rig.run.read_only = run_read_only == 1;
        assert_string_equal(attempt(&rig, "SELECT x FROM t"), "done");
        assert_string_equal(attempt(&rig, "INSERT INTO t VALUES (1)"), refused);
        assert_string_equal(attempt(&rig, "INSERT INTO t VALUES (1)"), refused);
        assert_string_equal(attempt(&rig, "SELECT 1; DROP TABLE t"), refused);
        assert_string_equal(attempt(&rig, "PRAGMA optimize"), refused);
        assert_string_equal(attempt(&rig, "EXPLAIN DELETE FROM t"), "done");
        assert_string_equal(attempt(&rig, "PRAGMA case_sensitive_like = ON"), "done");
    }
    rig.header.read_only = rig.run.read_only = false;
    assert_string_equal(rows(&rig, "SELECT count(*) AS n FROM t"), "[{\"n\":0}]");
    rig_close(&rig);
}

/* ---- what is kept ---- */

static void test_kept_statements(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (a)");
    (void)ask(&rig, "INSERT INTO t VALUES (1)");
    static const char *const all = "SELECT * FROM t";
    assert_string_equal(rows(&rig, all), "[{\"a\":1}]");
    (void)ask(&rig, "ALTER TABLE t ADD COLUMN b DEFAULT 2");
    assert_string_equal(rows(&rig, all), "[{\"a\":1,\"b\":2}]");
    (void)ask(&rig, "DROP TABLE t");
    ask_fails(&rig, all, "no such table: t: SQLITE_ERROR");
    (void)ask(&rig, "CREATE VIEW t AS SELECT 7 AS v");
    assert_string_equal(rows(&rig, all), "[{\"v\":7}]");
    begin(&rig); /* made and unmade in a transaction that fails */
    add(&rig, "DROP VIEW t", 0);
    add(&rig, "CREATE TABLE t (z)", 0);
    add(&rig, all, 0);
    add(&rig, "SELECT nope", 0);
    failed(&rig, "no such column: nope at offset 7: SQLITE_ERROR");
    assert_string_equal(rows(&rig, all), "[{\"v\":7}]");
    rig_close(&rig);
}

/* As many texts as one likes, in bounded memory. */
static void test_many_texts(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t most = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2000; i++) {
            char sql[64], wanted[64];
            snprintf(sql, sizeof sql, "SELECT %d AS n", i);
            snprintf(wanted, sizeof wanted, "[{\"n\":%d}]", i);
            assert_string_equal(rows(&rig, sql), wanted);
            size_t bytes = sql_connection_bytes(rig.connection);
            most = bytes > most ? bytes : most;
        }
    }
    assert_true(most < 2u << 20);
    rig_close(&rig);
}

static void test_last_row_id(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (id INTEGER PRIMARY KEY)");
    rig.run.last_row_id = 77;
    assert_string_equal(rows(&rig, "SELECT last_insert_rowid() AS l"), "[{\"l\":77}]");
    assert_non_null(strstr(text(&rig), "\"last_row_id\":77,\"changed_db\":false"));
    begin(&rig);
    add(&rig, "INSERT INTO t VALUES (5)", 0);
    add(&rig, "SELECT nope", 0);
    failed(&rig, "no such column: nope at offset 7: SQLITE_ERROR");
    assert_int_equal(rig.run.last_row_id, 77);
    (void)ask(&rig, "INSERT INTO t VALUES (5)");
    assert_int_equal(rig.run.last_row_id, 5);
    rig_close(&rig);
}

/* ---- what ends a run ---- */

static uint64_t ten_ms_later(void *data) {
    return *(uint64_t *)data += 10 * 1000000;
}

static const char *const endless =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

static void test_timeout(void **state) {
    struct rig rig;
    uint64_t now = 5;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (x)");
    rig.run.clock = (struct sql_clock){.now_ns = ten_ms_later, .data = &now};
    rig.run.timeout_ms = 1000;
    begin(&rig);
    add(&rig, "INSERT INTO t VALUES (1)", 0);
    add(&rig, endless, 0);
    failed(&rig, "D1 DB exceeded its CPU time limit: the query ran too long and was interrupted: "
                 "SQLITE_INTERRUPT");
    assert_true(now < UINT64_C(2000) * 1000000);
    begin(&rig); /* many that are short */
    for (int i = 0; i < 1000; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "INSERT INTO t VALUES (%d)", i);
        add(&rig, sql, 0);
    }
    failed(&rig, "D1 DB exceeded its CPU time limit: the query ran too long and was interrupted: "
                 "SQLITE_INTERRUPT");
    assert_string_equal(rows(&rig, "SELECT count(*) AS n FROM t"), "[{\"n\":0}]");
    assert_true(rig.run.duration_ns > 0);
    rig_close(&rig);
}

/* Functions that take hours over strings as long as they may be. */
static void test_long_functions(void **state) {
    static const char *const calls[] = {
        "ltrim(replace(hex(zeroblob(999999)), '0', 'a'), replace(hex(zeroblob(75000)), '0', 'b') "
        "|| 'a')",
        "rtrim(replace(hex(zeroblob(999999)), '0', 'a'), replace(hex(zeroblob(75000)), '0', 'b') "
        "|| 'a')",
        "instr(zeroblob(1999999), zeroblob(999999) || x'01')",
        "replace(hex(zeroblob(999999)), hex(zeroblob(499999)) || '1', '')",
        "unhex(replace(hex(zeroblob(999999)), '0', 'x'), replace(hex(zeroblob(999990)), '0', 'y') "
        "|| 'x')",
    };
    struct rig rig;
    uint64_t now = 5;
    rig_open(&rig);
    rig.run.clock = (struct sql_clock){.now_ns = ten_ms_later, .data = &now};
    rig.run.timeout_ms = 1000;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT %s", calls[i]);
        ask_fails(&rig, sql,
                  "D1 DB exceeded its CPU time limit: the query ran too long and was interrupted: "
                  "SQLITE_INTERRUPT");
    }
    assert_string_equal(rows(&rig, "SELECT trim('xxaxx', 'yx') AS a, instr('abc', 'c') AS b, "
                                   "replace('aba', 'b', 'cc') AS c, hex(unhex('41-42', '-')) AS d"),
                        "[{\"a\":\"a\",\"b\":3,\"c\":\"acca\",\"d\":\"4142\"}]");
    rig_close(&rig);
}

struct interrupter {
    _Atomic bool stop;
    int calls;
};

static uint64_t interrupt_at_ten(void *data) {
    struct interrupter *self = data;
    if (++self->calls == 10) {
        self->stop = true;
    }
    return 0;
}

static void test_interrupt(void **state) {
    struct rig rig;
    rig_open(&rig);
    struct interrupter interrupter = {0};
    rig.run.clock = (struct sql_clock){.now_ns = interrupt_at_ten, .data = &interrupter};
    rig.run.stop = &interrupter.stop;
    ask_fails(&rig, endless, "interrupted: SQLITE_INTERRUPT");
    ask_fails(&rig, "SELECT 1", "interrupted: SQLITE_INTERRUPT"); /* set before it began */
    interrupter.stop = false;
    assert_string_equal(rows(&rig, "SELECT 1 AS one"), "[{\"one\":1}]");
    rig_close(&rig);
}

/* Rows of 20 KB: 314 of them have 6 MiB. */
static int ask_much(struct rig *rig, int rows_wanted) {
    char sql[256];
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
             "SELECT hex(zeroblob(10000)) AS h FROM n",
             rows_wanted);
    begin(rig);
    add(rig, "INSERT INTO t VALUES (1)", 0);
    add(rig, sql, 0);
    return go(rig);
}

static void test_answer_too_big(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (x)");
    assert_int_equal(ask_much(&rig, 320), BND_TOOBIG);
    assert_string_equal(rows(&rig, "SELECT count(*) AS n FROM t"), "[{\"n\":0}]");
    assert_int_equal(ask_much(&rig, 310), 0);
    assert_int_equal(rig.run.outcome, BND_SQL_DONE);
    rig_close(&rig);
}

static void test_memory_limit(void **state) {
    struct rig rig;
    rig_open(&rig);
    sql_connection_close(rig.connection);
    struct sql_connection_config config = {.name = ":memory:", .memory_bytes_max = 8u << 20};
    assert_int_equal(sql_connection_open(&config, &rig.connection, NULL), 0);
    ask_fails(&rig,
              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
              "SELECT i, hex(zeroblob(500)) AS h FROM n ORDER BY h || i LIMIT 1 OFFSET 99998",
              "D1 DB exceeded its memory limit: SQLITE_NOMEM");
    assert_true(sql_connection_bytes(rig.connection) < 8u << 20);
    assert_string_equal(rows(&rig, "SELECT 1 AS one"), "[{\"one\":1}]");
    rig_close(&rig);
}

/* Each allocation of a request fails in turn: it is not there at all, and says so. */
static void test_no_memory(void **state) {
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        struct rig rig;
        rig_open(&rig);
        (void)ask(&rig, "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)");
        begin(&rig);
        add(&rig, "INSERT INTO t (x) VALUES ('a') RETURNING id, x", 0);
        add(&rig, "SELECT count(*), group_concat(x) FROM t ORDER BY x", 0);
        bnd_buf_free(&rig.run.text);
        struct bnd_sql_request request;
        bnd_sql_request_end(&rig.request, rig.statements);
        assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&rig.request), &request), 0);
        rig.run.request = &request;
        (void)bnd_alloc_fail_at(n, 0);
        int rv = sql_connection_run(rig.connection, &rig.run);
        uint64_t asked = bnd_alloc_fail_at(0, 0);
        assert_true(rv == BND_NOMEM || (rv == 0 && rig.run.outcome == BND_SQL_DONE));
        failures += rv == BND_NOMEM;
        if (rv == 0) {
            assert_string_equal(rows(&rig, "SELECT count(*) AS n FROM t"), "[{\"n\":1}]");
        }
        rig_close(&rig);
        if (asked < n) {
            break;
        }
    }
    assert_true(failures > 20);
}

static void test_open_no_memory(void **state) {
    struct sql_connection_config config = {.name = ":memory:"};
    struct sql_connection *connection = NULL;
    int rv = BND_NOMEM;
    for (uint64_t n = 1; rv != 0; n++) {
        struct bnd_error err = {0};
        (void)bnd_alloc_fail_at(n, 0);
        rv = sql_connection_open(&config, &connection, &err);
        uint64_t asked = bnd_alloc_fail_at(0, 0);
        assert_true(rv == 0 || rv == BND_NOMEM);
        if (rv == 0 && asked >= n) { /* it could do without */
            sql_connection_close(connection);
            rv = BND_NOMEM;
        }
    }
    sql_connection_close(connection);
}

static void test_no_database(void **state) {
    char name[] = "/tmp/bnd-sql-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    char junk[8192];
    memset(junk, 'j', sizeof junk);
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    close(fd);
    struct sql_connection_config config = {.name = name};
    struct sql_connection *connection = NULL;
    struct bnd_error err = {0};
    assert_int_equal(sql_connection_open(&config, &connection, &err), BND_CORRUPT);
    assert_non_null(strstr(err.message, "file is not a database"));
    assert_null(connection);
    unlink(name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_element),
        cmocka_unit_test(test_rows_and_objects),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_script),
        cmocka_unit_test(test_several_in_one),
        cmocka_unit_test(test_long_script),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_foreign_keys),
        cmocka_unit_test(test_settings_end),
        cmocka_unit_test(test_read_only_run),
        cmocka_unit_test(test_read_only_run_of_kept),
        cmocka_unit_test(test_read_only_request),
        cmocka_unit_test(test_kept_statements),
        cmocka_unit_test(test_many_texts),
        cmocka_unit_test(test_last_row_id),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_long_functions),
        cmocka_unit_test(test_answer_too_big),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_open_no_memory),
        cmocka_unit_test(test_no_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
