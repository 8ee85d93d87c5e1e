/* What a client of a database may run, and its limits: D1's (reference/sql.md, 4). */
#include "tests/unit/sql/connection_rig.h"

static void goes(struct rig *rig, const char *sql) {
    begin(rig);
    add(rig, sql, 0);
    assert_int_equal(go(rig), 0);
    if (rig->run.outcome != BND_SQL_DONE) {
        fail_msg("%s: %s", sql, text(rig));
    }
}

/* Fails, with a message that ends or goes on so. */
static void refused(struct rig *rig, const char *sql, const char *why) {
    begin(rig);
    add(rig, sql, 0);
    assert_int_equal(go(rig), 0);
    if (rig->run.outcome != BND_SQL_FAILED || strstr(text(rig), why) == NULL) {
        fail_msg("%s: %s", sql, text(rig));
    }
}

static void test_refused(void **state) {
    struct rig rig;
    rig_open(&rig);
    goes(&rig, "CREATE TABLE t (x)");
    static const char *const statements[] = {
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "CREATE TEMP TABLE x (y)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE TABLE temp.x (y)",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA page_size = 512",
        "PRAGMA writable_schema = ON",
        "PRAGMA synchronous = FULL",
        "PRAGMA cache_size = 1000000",
        "PRAGMA temp_store = FILE",
        "PRAGMA user_version = 1",
        "PRAGMA schema_version = 1",
        "PRAGMA auto_vacuum = FULL",
        "PRAGMA incremental_vacuum",
        "PRAGMA integrity_check",
        "PRAGMA mmap_size = 100000",
        "PRAGMA hard_heap_limit = 1",
        "PRAGMA max_page_count = 1",
        "PRAGMA query_only = OFF",
        "PRAGMA trusted_schema = ON",
        "PRAGMA case_sensitive_like = maybe",
        "PRAGMA optimize = all",
        "PRAGMA compile_options",
        "SELECT sqlite_version()",
        "SELECT sqlite_source_id()",
        "SELECT sqlite_compileoption_get(0)",
        "SELECT load_extension('x')",
        "SELECT fts5(1)",
        "SELECT * FROM pragma_journal_mode",
        "CREATE VIRTUAL TABLE d USING dbstat",
        "CREATE VIRTUAL TABLE d USING fts4 (x)",
        "SELECT * FROM sqlite_dbpage",
        "UPDATE sqlite_schema SET sql = 'x'",
        "DELETE FROM sqlite_schema",
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        refused(&rig, statements[i], "SQLITE_");
    }
    goes(&rig, "CREATE VIRTUAL TABLE f USING fts5 (x)");
    refused(&rig, "DELETE FROM f_data", "table f_data may not be modified");
    refused(&rig, "DROP TABLE f_data", "table f_data may not be dropped");
    goes(&rig, "DROP TABLE f");
    refused(&rig, "VACUUM", "cannot VACUUM from within a transaction: SQLITE_ERROR");
    refused(&rig, "VACUUM INTO '/tmp/bnd-sql-vacuum'", "cannot VACUUM from within a transaction");
    refused(&rig, "PRAGMA journal_mode", "not authorized: SQLITE_AUTH");
    assert_string_equal(rows(&rig, "SELECT name FROM sqlite_schema"), "[{\"name\":\"t\"}]");
    rig_close(&rig);
}

static void test_transactions(void **state) {
    struct rig rig;
    rig_open(&rig);
    static const char *const statements[] = {"BEGIN",       "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK",
                                             "SAVEPOINT s", "RELEASE s",       "END"};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        refused(&rig, statements[i], "To execute a transaction, please use the state.storage.");
    }
    refused(&rig, "SELECT nope", "no such column"); /* and says no more of it */
    rig_close(&rig);
}

static void test_own_names(void **state) {
    struct rig rig;
    rig_open(&rig);
    goes(&rig, "CREATE TABLE t (x)");
    goes(&rig, "CREATE TABLE _cfx (x)");
    static const char *const statements[] = {
        "CREATE TABLE _cf_KV (x)",
        "CREATE TABLE \"_CF_kv\" (x)",
        "CREATE VIEW _cf_v AS SELECT 1",
        "CREATE INDEX _cf_i ON t (x)",
        "CREATE TRIGGER _cf_t AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE _cf_f USING fts5 (x)",
        "ALTER TABLE t RENAME TO _cf_t",
        "PRAGMA table_info(_cf_KV)",
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        refused(&rig, statements[i], "SQLITE_AUTH");
    }
    goes(&rig, "ALTER TABLE t RENAME TO u");
    goes(&rig, "ALTER TABLE u RENAME COLUMN x TO y");
    goes(&rig, "ALTER TABLE u ADD COLUMN z DEFAULT 1");
    goes(&rig, "ALTER TABLE u DROP COLUMN z");
    rig_close(&rig);
}

static void test_pragmas(void **state) {
    struct rig rig;
    rig_open(&rig);
    goes(&rig, "CREATE TABLE p (id INTEGER PRIMARY KEY)");
    goes(&rig, "CREATE TABLE c (a INT REFERENCES p (id) ON DELETE CASCADE, b AS (a + 1))");
    goes(&rig, "CREATE INDEX c_a ON c (a)");
    rig.header.results = BND_SQL_ROWS;
    assert_string_equal(
        rows(&rig, "PRAGMA table_info(p)"),
        "{\"columns\":[\"cid\",\"name\",\"type\",\"notnull\",\"dflt_value\",\"pk\"],"
        "\"rows\":[[0,\"id\",\"INTEGER\",0,null,1]]}");
    assert_string_equal(rows(&rig, "SELECT name FROM pragma_table_info('c')"),
                        "{\"columns\":[\"name\"],\"rows\":[[\"a\"]]}");
    assert_string_equal(rows(&rig, "PRAGMA foreign_keys"),
                        "{\"columns\":[\"foreign_keys\"],\"rows\":[[1]]}");
    assert_string_equal(rows(&rig, "PRAGMA quick_check"),
                        "{\"columns\":[\"quick_check\"],\"rows\":[[\"ok\"]]}");
    static const char *const others[] = {"PRAGMA table_list",
                                         "PRAGMA table_xinfo(c)",
                                         "PRAGMA foreign_key_list('c')",
                                         "PRAGMA foreign_key_check",
                                         "PRAGMA foreign_key_check(c)",
                                         "PRAGMA index_list(c)",
                                         "PRAGMA index_info(c_a)",
                                         "PRAGMA index_xinfo(c_a)",
                                         "PRAGMA quick_check(1)",
                                         "PRAGMA quick_check(c)",
                                         "PRAGMA data_version",
                                         "PRAGMA page_size",
                                         "PRAGMA optimize",
                                         "PRAGMA optimize(-1)",
                                         "PRAGMA main.table_info(c)",
                                         "PRAGMA recursive_triggers = 'yes'",
                                         "PRAGMA legacy_alter_table = 1",
                                         "PRAGMA reverse_unordered_selects = true",
                                         "PRAGMA case_sensitive_like = Off",
                                         "PRAGMA defer_foreign_keys"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        goes(&rig, others[i]);
    }
    rig_close(&rig);
}

/* Limits of D1: what is just allowed, and what is not any more. */
static void test_limits(void **state) {
    struct rig rig;
    rig_open(&rig);
    goes(&rig, "SELECT length(zeroblob(2000000))");
    refused(&rig, "SELECT length(zeroblob(2000001))", "string or blob too big: SQLITE_TOOBIG");
    goes(&rig, "SELECT length(hex(zeroblob(999999)))");
    refused(&rig, "SELECT hex(zeroblob(1000001))", "string or blob too big: SQLITE_TOOBIG");
    goes(&rig, "CREATE TABLE t (x, y)");
    goes(&rig, "INSERT INTO t VALUES (zeroblob(1999000), 1)");
    refused(&rig, "INSERT INTO t VALUES (zeroblob(1000000), zeroblob(1000000))",
            "string or blob too big: SQLITE_TOOBIG");
    goes(&rig, "SELECT 'x' LIKE '12345678901234567890123456789012345678901234567890'");
    refused(&rig, "SELECT 'x' LIKE '123456789012345678901234567890123456789012345678901'",
            "LIKE or GLOB pattern too complex: SQLITE_ERROR");
    goes(&rig, "SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5");
    refused(&rig,
            "SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6",
            "too many terms in compound SELECT");
    BND_AUTO_BUF struct bnd_buf sql = {0};
    bnd_buf_append_str(&sql, "SELECT '");
    while (sql.len < 99999) {
        bnd_buf_u8(&sql, 'x');
    }
    bnd_buf_append_str(&sql, "'");
    bnd_buf_u8(&sql, 0);
    goes(&rig, (char *)sql.data);
    sql.len -= 2;
    bnd_buf_append(&sql, "x'", 3);
    refused(&rig, (char *)sql.data, "statement too long: SQLITE_TOOBIG");
    rig_close(&rig);
}

static void put_list(struct bnd_buf *sql, const char *begin_with, const char *each, int count,
                     const char *end_with) {
    bnd_buf_reset(sql);
    bnd_buf_append_str(sql, begin_with);
    for (int i = 0; i < count; i++) {
        bnd_buf_append_str(sql, i == 0 ? "" : ",");
        bnd_buf_printf(sql, each, i);
    }
    bnd_buf_append(sql, end_with, strlen(end_with) + 1);
}

static void test_counted_limits(void **state) {
    struct rig rig;
    rig_open(&rig);
    BND_AUTO_BUF struct bnd_buf sql = {0};
    put_list(&sql, "CREATE TABLE wide (", "c%d", 100, ")");
    goes(&rig, (char *)sql.data);
    put_list(&sql, "CREATE TABLE wider (", "c%d", 101, ")");
    refused(&rig, (char *)sql.data, "too many columns on wider");
    for (uint32_t count = 100; count <= 101; count++) {
        put_list(&sql, "SELECT 1 WHERE 5 IN (", "?", (int)count, ")");
        begin(&rig);
        add(&rig, (char *)sql.data, count);
        for (uint32_t i = 0; i < count; i++) {
            param(&rig, (struct bnd_sql_value){.type = BND_SQL_INTEGER, .integer = (int64_t)i});
        }
        if (count == 100) {
            (void)done(&rig);
        } else {
            failed(&rig, "too many SQL variables at offset 221: SQLITE_ERROR");
        }
    }
    put_list(&sql, "SELECT json_array(", "%d", 127, ")");
    goes(&rig, (char *)sql.data);
    put_list(&sql, "SELECT json_array(", "%d", 128, ")");
    refused(&rig, (char *)sql.data, "too many arguments on function json_array");
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_own_names), cmocka_unit_test(test_pragmas),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_counted_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
