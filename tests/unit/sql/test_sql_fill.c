/* Indexes that are filled in steps are what SQLite makes in one: whatever the columns, their order
 * and their values are, and however small the steps. */
#include "sql/connection_private.h"
#include "tests/unit/sql/connection_rig.h"

#include <stdlib.h>

static void fill_begin(struct rig *rig, const char *index, int64_t rows_max) {
    rig->header.fill = true;
    begin(rig);
    add(rig, index, 1);
    param(rig, (struct bnd_sql_value){.type = BND_SQL_INTEGER, .integer = rows_max});
    rig->header.fill = false;
}

/* Whether it is whole now. */
static bool fill(struct rig *rig, const char *index, int64_t rows_max) {
    fill_begin(rig, index, rows_max);
    (void)done(rig);
    return strcmp(results(rig, 0), "{\"columns\":[\"whole\"],\"rows\":[[1]]}") == 0;
}

/* Every entry of every index is its row's, and every row has its entries. */
static void is_sound(struct rig *rig) {
    sqlite3_stmt *statement = NULL;
    rig->connection->authorizer.trusted = true;
    assert_int_equal(
        sqlite3_prepare_v2(rig->connection->db, "PRAGMA integrity_check", -1, &statement, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(statement, 0), "ok");
    (void)sqlite3_finalize(statement);
    rig->connection->authorizer.trusted = false;
}

/* NULLs, numbers of all kinds, texts that differ in case only, blobs; each several times. */
static const char fill_t[] =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT OR "
    "IGNORE INTO t "
    "SELECT (i * 7919) % 1009, CASE i % 6 WHEN 0 THEN NULL WHEN 1 THEN i % 5 WHEN 2 THEN i / 7.0 "
    "WHEN 3 THEN char(65 + i % 3, 97 + i % 4) WHEN 4 THEN lower(char(65 + i % 3, 97 + i % 4)) ELSE "
    "zeroblob(i % 3) END, CASE WHEN i % 4 = 0 THEN NULL ELSE char(65 + i % 2 * 32 + i % 5) END, "
    "i % 9 FROM n";

static const struct form {
    const char *table;
    const char *index; /* behind CREATE INDEX */
    const char *name;
    bool at_once; /* it cannot be seen as a table */
} forms[] = {
    {"t(id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE, c REAL)", "i ON t (a)", "i", false},
    {"t(id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE, c REAL)", "i ON t(a DESC)", "I", false},
    {"t(id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE, c REAL)", "i ON t(b)", "i", false},
    {"t(id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE, c REAL)",
     "\"i \"\"1\" ON t(b COLLATE BINARY DESC, a ASC)", "i \"1", false},
    {"t(id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE, c REAL)",
     "i ON t(c, a DESC, b COLLATE RTRIM)", "i", false},
    {"t(id INT, a TEXT, b, c INTEGER)", "i ON t(a, id DESC)", "i", false},
    {"t(x INT, a NUMERIC, c, rowid)", "i ON t(rowid, a, c)", "i", false},
    {"t(\"a \"\"b\" INTEGER, a, b, c, d AS (a || b) STORED, e AS (c + 1))",
     "i ON t(\"a \"\"b\", d, e)", "i", false},
    {"t(x INT, a, b TEXT, c, PRIMARY KEY(x DESC, b COLLATE NOCASE, c)) WITHOUT ROWID",
     "i ON t(b, a DESC)", "i", false},
    {"t(x, a, b, c)", "i ON t(a, b, c, x, a, b DESC, c, x, a, b, c, x, a, b, c DESC)", "i", false},
    {"t(x, a, b, c)", "i ON t(a, b, c, x, a, b, c, x, a, b, c, x, a, b, c, x)", "i", true},
    {"t(rowid, oid, _rowid_, c)", "i ON t(c)", "i", true},
    {"t(x, a, b, c)", "i ON t(\"nowhere\", a)", "i", true},
};

static void make(struct rig *rig, const struct form *form) {
    char sql[512];
    (void)snprintf(sql, sizeof sql, "CREATE TABLE %s", form->table);
    (void)ask(rig, sql);
    (void)snprintf(sql, sizeof sql, "CREATE INDEX %s" BND_SQL_FILL_SUFFIX ";", form->index);
    (void)ask(rig, sql);
}

static const char inserts[] =
    "INSERT OR IGNORE INTO t SELECT 2000 + value, value, 'x' || value, -value FROM "
    "json_each('[1,2,3]')";

static void any_form_is_filled_in_any_steps(void **state) {
    static const int64_t steps[] = {1, 7, 100, 100000};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            struct rig rig;
            rig_open(&rig);
            make(&rig, &forms[i]);
            (void)ask(&rig, fill_t);
            (void)ask(&rig, "SELECT count(*) FROM t");
            int64_t rows = strtol(strstr(results(&rig, 0), ":") + 1, NULL, 10);
            int64_t count = 0;
            while (!fill(&rig, forms[i].name, steps[s])) {
                is_sound(&rig);
                assert_true(++count <= rows);
            }
            assert_true(rows > 100 && count == (forms[i].at_once ? 0 : rows / steps[s]));
            is_sound(&rig);
            char expected[512];
            (void)snprintf(expected, sizeof expected, "CREATE INDEX %s", forms[i].index);
            (void)ask(&rig, "CREATE TABLE other(v)");
            begin(&rig);
            add(&rig, "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql = ?", 1);
            param(&rig,
                  (struct bnd_sql_value){.type = BND_SQL_TEXT, .bytes = bnd_slice_str(expected)});
            (void)done(&rig);
            assert_string_equal(results(&rig, 0), "[{\"count(*)\":1}]");
            assert_true(fill(&rig, forms[i].name, 1)); /* nothing more */
            (void)ask(&rig, inserts);
            (void)ask(&rig, "DELETE FROM t WHERE c % 2 = 1");
            is_sound(&rig);
            rig_close(&rig);
        }
    }
}

/* What the index says is what the table says. */
static void a_filled_index_is_used(void **state) {
    struct rig rig;
    rig_open(&rig);
    make(&rig, &forms[0]);
    (void)ask(&rig, fill_t);
    assert_false(fill(&rig, "i", 250));
    ask_fails(&rig, "SELECT id FROM t INDEXED BY i WHERE a = 3",
              "no query solution: SQLITE_ERROR"); /* half of it says nothing */
    (void)ask(&rig, "SELECT 1");
    assert_true(fill(&rig, "i", 250));
    char by_index[4096];
    (void)snprintf(by_index, sizeof by_index, "%s",
                   rows(&rig, "SELECT id FROM t INDEXED BY i WHERE a = 3 ORDER BY id"));
    assert_string_equal(by_index,
                        rows(&rig, "SELECT id FROM t NOT INDEXED WHERE a = 3 ORDER BY id"));
    assert_non_null(strstr(by_index, "id"));
    ask_fails(&rig, "SELECT * FROM _cf_filled",
              "no such table: _cf_filled: SQLITE_ERROR"); /* nothing of it stays */
    ask_fails(&rig, "UPDATE sqlite_schema SET sql = ''",
              "table sqlite_master may not be modified: SQLITE_ERROR");
    rig_close(&rig);
}

static void what_is_no_index_is_told(void **state) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE TABLE t(v UNIQUE)");
    fill_begin(&rig, "i", 5);
    failed(&rig, "no such index: SQLITE_ERROR");
    fill_begin(&rig, "t", 5);
    failed(&rig, "no such index: SQLITE_ERROR");
    rig_close(&rig);
}

/* ---- UNIQUE ---- */

/* Values of which none, some or all are equal: to each other as they are, by their collation, by
 * their number, or, being NULL, to nothing. */
static const char *const rows_of[] = {
    "(1,'a','x',1),(2,'b','y',2),(3,'c','z',3)",
    "(1,'a','x',1),(2,'A','X',2),(3,'a ','x ',3)",
    "(1,1,1,1),(2,1.0,'1',1),(3,'1',2,1)",
    "(1,NULL,NULL,NULL),(2,NULL,NULL,NULL),(3,NULL,'x',NULL)",
    "(1,NULL,'x',1),(2,NULL,'x',1),(3,2,'x',1)",
    "(1,x'61','x',1),(2,'a','x',1),(3,x'61','y',1)",
    "(3,7,'p',0),(2,7,'q',0),(1,7,'r',-0.0)",
    "(1,'a','x',1),(2,'a','x',1),(3,'b','x',NULL)",
};

/* A table with such rows, whose index is not made yet. */
static void table_of(struct rig *rig, const struct form *form, const char *values) {
    char sql[512];
    rig_open(rig);
    (void)snprintf(sql, sizeof sql, "CREATE TABLE %s", form->table);
    (void)ask(rig, sql);
    (void)snprintf(sql, sizeof sql, "INSERT OR IGNORE INTO t VALUES %s", values);
    (void)ask(rig, sql);
}

/* What SQLite says of making it in one statement, "" if nothing. */
static void made_at_once(const struct form *form, const char *values, char *out, size_t room) {
    struct rig rig;
    char sql[512];
    table_of(&rig, form, values);
    (void)snprintf(sql, sizeof sql, "CREATE UNIQUE INDEX %s", form->index);
    begin(&rig);
    add(&rig, sql, 0);
    assert_int_equal(go(&rig), 0);
    (void)snprintf(out, room, "%s", rig.run.outcome == BND_SQL_DONE ? "" : text(&rig));
    rig_close(&rig);
}

/* The same of filling it. */
static void made_in_steps(const struct form *form, const char *values, int64_t step, char *out,
                          size_t room) {
    struct rig rig;
    char sql[512];
    bool whole = false;
    table_of(&rig, form, values);
    (void)snprintf(sql, sizeof sql, "CREATE UNIQUE INDEX %s" BND_SQL_FILL_SUFFIX, form->index);
    (void)ask(&rig, sql);
    out[0] = 0;
    while (!whole && out[0] == 0) {
        fill_begin(&rig, form->name, step);
        assert_int_equal(go(&rig), 0);
        (void)snprintf(out, room, "%s", rig.run.outcome == BND_SQL_DONE ? "" : text(&rig));
        whole = out[0] == 0 && strstr(text(&rig), "[[1]]") != NULL;
    }
    is_sound(&rig);
    if (whole) { /* and stays what it is */
        (void)snprintf(sql, sizeof sql,
                       "SELECT count(*) AS n FROM pragma_index_list('t') WHERE name = '%s' COLLATE "
                       "NOCASE AND \"unique\"",
                       form->name);
        assert_string_equal(rows(&rig, sql), "[{\"n\":1}]");
    }
    rig_close(&rig);
}

static void equal_rows_are_told_as_sqlite_tells_them(void **state) {
    unsigned made = 0;
    unsigned refused = 0;
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        for (size_t r = 0; r < sizeof rows_of / sizeof *rows_of; r++) {
            char expected[512];
            made_at_once(&forms[f], rows_of[r], expected, sizeof expected);
            for (int64_t step = 1; step < 5; step++) {
                char got[512];
                made_in_steps(&forms[f], rows_of[r], step, got, sizeof got);
                assert_string_equal(got, expected);
            }
            made += expected[0] == 0;
            refused += expected[0] != 0;
        }
    }
    assert_true(made > 20 && refused > 20);
}

/* Each allocation of a step fails in turn: nothing of it is there, and the next one goes on. */
static void a_step_without_memory_is_none(void **state) {
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        struct rig rig;
        rig_open(&rig);
        make(&rig, &forms[4]);
        (void)ask(&rig, fill_t);
        fill_begin(&rig, "i", 200);
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
        while (!fill(&rig, "i", 200)) {
        }
        is_sound(&rig);
        rig_close(&rig);
        if (asked < n) {
            break;
        }
    }
    assert_true(failures > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_form_is_filled_in_any_steps),
        cmocka_unit_test(a_filled_index_is_used),
        cmocka_unit_test(what_is_no_index_is_told),
        cmocka_unit_test(equal_rows_are_told_as_sqlite_tells_them),
        cmocka_unit_test(a_step_without_memory_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
