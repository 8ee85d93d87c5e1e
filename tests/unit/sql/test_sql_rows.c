/* Rows read and written are D1's own numbers, statement by statement (reference/sql.md, 3): most of
 * these were measured in workerd; docs/design/0103-sqlite-and-its-counters.md. */
#include "tests/unit/sql/connection_rig.h"

static void counts(struct rig *rig, const char *sql, uint64_t read, uint64_t written) {
    (void)ask(rig, sql);
    if (rig->run.rows_read != read || rig->run.rows_written != written) {
        fail_msg("%s: %llu read, %llu written instead of %llu, %llu", sql,
                 (unsigned long long)rig->run.rows_read, (unsigned long long)rig->run.rows_written,
                 (unsigned long long)read, (unsigned long long)written);
    }
    char told[64];
    snprintf(told, sizeof told, "\"rows_read\":%llu,\"rows_written\":%llu,",
             (unsigned long long)read, (unsigned long long)written);
    assert_non_null(strstr(text(rig), told));
}

static void fill(struct rig *rig, const char *into, int count) {
    char sql[512];
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT "
             "INTO %s FROM n",
             count, into);
    (void)ask(rig, sql);
}

static void test_reads(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b INT)");
    (void)ask(&rig, "CREATE INDEX t_a ON t (a)");
    fill(&rig, "t SELECT i, i % 100, i % 7", 1000);
    counts(&rig, "SELECT b FROM t WHERE id = 500", 1, 0);
    counts(&rig, "SELECT b FROM t WHERE id = 5000", 1, 0);
    counts(&rig, "SELECT b FROM t WHERE a >= 10 AND a < 20", 101, 0);
    counts(&rig, "SELECT b FROM t WHERE a = 10", 11, 0);
    counts(&rig, "SELECT b FROM t WHERE a = 1000", 0, 0);
    counts(&rig, "SELECT b FROM t", 1000, 0);
    counts(&rig, "SELECT b FROM t ORDER BY b", 2000, 0);
    counts(&rig, "SELECT b, count(*) FROM t GROUP BY b", 2000, 0);
    counts(&rig, "SELECT count(*) FROM t", 1000, 0);
    counts(&rig, "SELECT b FROM t WHERE id IN (1, 2, 3)", 6, 0);
    counts(&rig,
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
           "SELECT i FROM n",
           101, 0);
    counts(&rig, "SELECT 1", 0, 0);
    (void)ask(&rig, "CREATE TABLE empty (x)");
    counts(&rig, "SELECT x FROM empty", 1, 0);
    rig_close(&rig);
}

static void test_joins(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT)");
    (void)ask(&rig, "CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INT, k INT)");
    fill(&rig, "a SELECT i, 'a' || i", 200);
    fill(&rig, "b SELECT i, i, i % 50", 200);
    counts(&rig, "SELECT name FROM b JOIN a ON a.id = b.a_id", 400, 0);
    (void)ask(&rig, "CREATE INDEX b_k ON b (k)");
    counts(&rig, "SELECT name FROM b JOIN a ON a.id = b.a_id WHERE k BETWEEN 10 AND 19", 81, 0);
    rig_close(&rig);
}

static void test_writes(void **state) {
    struct rig rig;
    rig_open(&rig);
    counts(&rig, "CREATE TABLE zero (id INTEGER PRIMARY KEY, a INT, b INT)", 1, 2);
    (void)ask(&rig, "CREATE TABLE one (id INTEGER PRIMARY KEY, a INT, b INT)");
    (void)ask(&rig, "CREATE INDEX one_a ON one (a)");
    (void)ask(&rig, "CREATE TABLE two (id INTEGER PRIMARY KEY, a INT, b INT)");
    (void)ask(&rig, "CREATE INDEX two_a ON two (a)");
    (void)ask(&rig, "CREATE INDEX two_b ON two (b)");
    counts(&rig, "INSERT INTO zero (a, b) VALUES (1, 2)", 0, 1);
    counts(&rig, "INSERT INTO one (a, b) VALUES (1, 2)", 0, 2);
    counts(&rig, "INSERT INTO two (a, b) VALUES (1, 2)", 0, 3);
    fill(&rig, "one (a, b) SELECT i % 100 + 10, i", 1000);
    fill(&rig, "two (a, b) SELECT i % 100 + 10, i", 1000);
    counts(&rig, "UPDATE one SET a = a + 1000 WHERE a = 50", 31, 20);
    counts(&rig, "UPDATE one SET b = 0 WHERE id = 7", 1, 1);
    counts(&rig, "UPDATE one SET a = 0 WHERE id = 7", 1, 2);
    counts(&rig, "DELETE FROM two WHERE a = 50", 11, 10);
    (void)ask(&rig, "CREATE TABLE all200 (x)");
    fill(&rig, "all200 SELECT i", 200);
    counts(&rig, "DELETE FROM all200", 0, 200);
    (void)ask(&rig, "CREATE TABLE copy (id INTEGER PRIMARY KEY, a INT)");
    (void)ask(&rig, "CREATE INDEX copy_a ON copy (a)");
    counts(&rig, "INSERT INTO copy (a) SELECT b FROM one WHERE a BETWEEN 60 AND 64", 51, 100);
    (void)ask(&rig, "CREATE TABLE late (x)");
    fill(&rig, "late SELECT i", 1001);
    counts(&rig, "CREATE INDEX late_x ON late (x)", 2007, 1002);
    rig_close(&rig);
}

static void test_conflicts(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE u (k TEXT PRIMARY KEY, v INT)");
    (void)ask(&rig, "INSERT INTO u VALUES ('a', 1)");
    counts(&rig, "INSERT INTO u VALUES ('a', 2) ON CONFLICT (k) DO UPDATE SET v = excluded.v", 1,
           1);
    counts(&rig, "INSERT INTO u VALUES ('b', 2) ON CONFLICT (k) DO UPDATE SET v = excluded.v", 0,
           2);
    counts(&rig, "REPLACE INTO u VALUES ('a', 3)", 1, 2);
    counts(&rig, "INSERT OR IGNORE INTO u VALUES ('a', 4)", 0, 0);
    rig_close(&rig);
}

static void test_full_text(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE VIRTUAL TABLE f USING fts5(body)");
    counts(&rig, "INSERT INTO f VALUES ('the quick brown fox')", 0, 1);
    counts(&rig, "SELECT body FROM f WHERE f MATCH 'quick'", 1, 0);
    rig_close(&rig);
}

/* A batch sums nothing up: each element has its own; and a kept statement counts anew. */
static void test_per_statement(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t (id INTEGER PRIMARY KEY, x)");
    begin(&rig);
    add(&rig, "INSERT INTO t (x) VALUES (1)", 0);
    add(&rig, "INSERT INTO t (x) VALUES (1)", 0);
    add(&rig, "SELECT x FROM t", 0);
    add(&rig, "SELECT x FROM t", 0);
    const char *at = done(&rig);
    static const char *const told[] = {
        "\"rows_read\":0,\"rows_written\":1,", "\"rows_read\":0,\"rows_written\":1,",
        "\"rows_read\":2,\"rows_written\":0,", "\"rows_read\":2,\"rows_written\":0,"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        at = strstr(at, "\"rows_read\":");
        assert_non_null(at);
        assert_memory_equal(at, told[i], strlen(told[i]));
        at++;
    }
    assert_int_equal(rig.run.rows_read, 4);
    assert_int_equal(rig.run.rows_written, 2);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),     cmocka_unit_test(test_joins),
        cmocka_unit_test(test_writes),    cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_full_text), cmocka_unit_test(test_per_statement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
