/* Which statements of a large file are executed where: indexes behind their tables, if that comes
 * to the same. */
#include "gateway/d1/outline.h"
#include "gateway/d1/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Calls each with every statement of a text, semicolon included. */
static void walk(const char *text, void (*each)(void *data, struct bnd_slice statement),
                 void *data) {
    struct bnd_slice left = bnd_slice_str(text);
    while (left.len > 0) {
        struct d1_split split = {0};
        bool ended = false;
        size_t len = d1_split_next(&split, left, &ended);
        if (ended || d1_split_open(&split)) {
            each(data, bnd_slice(left.data, len));
        }
        left = bnd_slice(left.data + len, left.len - len);
    }
}

struct run {
    struct d1_outline outline;
    struct bnd_buf text; /* as it is executed */
};

static void add(void *data, struct bnd_slice statement) {
    assert_int_equal(d1_outline_add(&((struct run *)data)->outline, statement), 0);
}

static void place(void *data, struct bnd_slice statement) {
    struct run *run = data;
    struct bnd_buf moved = {0};
    if (!d1_outline_place(&run->outline, statement, &moved)) {
        bnd_buf_append_slice(&run->text, statement);
    }
    bnd_buf_append_slice(&run->text, bnd_buf_slice(&moved));
    bnd_buf_free(&moved);
}

static void becomes(const char *text, size_t moved, const char *expected) {
    struct run run = {0};
    walk(text, add, &run);
    assert_int_equal(d1_outline_moved(&run.outline), moved);
    walk(text, place, &run);
    bnd_buf_u8(&run.text, 0);
    assert_string_equal((const char *)run.text.data, expected);
    d1_outline_free(&run.outline);
    bnd_buf_free(&run.text);
}

static void stays(const char *text) {
    becomes(text, 0, text);
}

static void indexes_of_a_dump_come_behind_their_tables(void **state) {
    becomes(
        "PRAGMA x;CREATE TABLE a(v);INSERT INTO a VALUES(1);CREATE TABLE b(v);"
        "INSERT INTO b VALUES('CONFLICT');CREATE INDEX i ON b(v);CREATE UNIQUE INDEX j ON a(v);",
        2,
        "PRAGMA x;CREATE TABLE a(v);CREATE UNIQUE INDEX j ON a(v);\n;\nINSERT INTO a VALUES(1);"
        "CREATE TABLE b(v);CREATE INDEX i ON b(v);\n;\nINSERT INTO b VALUES('CONFLICT');");
    becomes("CREATE TABLE IF NOT EXISTS \"a \"\"b\" (v); -- t\n"
            "create index if not exists main.[i j] /* on x */ on `A \"b`(v) WHERE v>1",
            1,
            "CREATE TABLE IF NOT EXISTS \"a \"\"b\" (v); -- t\n"
            "create index if not exists main.[i j] /* on x */ on `A \"b`(v) WHERE v>1\n;\n");
    /* once, though the table is made twice; and not one of a table that was there */
    becomes("CREATE TABLE a(v);CREATE TABLE IF NOT EXISTS a(v);INSERT INTO a VALUES(1);"
            "CREATE INDEX i ON a(v);CREATE INDEX k ON old(v);",
            2,
            "CREATE TABLE a(v);CREATE INDEX i ON a(v);\n;\nCREATE TABLE IF NOT EXISTS a(v);"
            "INSERT INTO a VALUES(1);CREATE INDEX k ON old(v);");
    /* what comes before its table is where it was */
    becomes("CREATE INDEX k ON a(v);CREATE TABLE a(v);", 1,
            "CREATE INDEX k ON a(v);CREATE TABLE a(v);");
}

static void what_would_come_out_otherwise_stays(void **state) {
    stays("CREATE TABLE a(v);INSERT INTO a VALUES(1);ALTER TABLE a RENAME TO b;CREATE INDEX i ON "
          "a(v)");
    stays("CREATE TABLE a(v);drop table c;CREATE INDEX i ON a(v);");
    static const char *const meddling[] = {
        "INSERT OR IGNORE INTO a VALUES(1);",
        "REPLACE INTO a VALUES(1);",
        "INSERT INTO a VALUES(1) ON CONFLICT DO NOTHING;",
        "UPDATE a SET v=1;",
        "DELETE FROM a;",
        "INSERT INTO a SELECT 1;",
        "WITH x AS (SELECT 1) INSERT INTO a SELECT 1 FROM x;",
        "CREATE TRIGGER g AFTER INSERT ON a BEGIN DELETE FROM a; END;INSERT INTO a VALUES(1);",
        "DELETE FROM sqlite_sequence WHERE name='a';"};
    for (size_t i = 0; i < sizeof meddling / sizeof *meddling; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "CREATE TABLE a(v);%sCREATE UNIQUE INDEX i ON a(v);",
                       meddling[i]);
        stays(text);
    }
    becomes("CREATE TABLE a(v);DELETE FROM a;CREATE INDEX i ON a(v);", 1, /* rows may meddle */
            "CREATE TABLE a(v);CREATE INDEX i ON a(v);\n;\nDELETE FROM a;");
    becomes("CREATE TABLE a(v);DELETE FROM sqlite_sequence;INSERT INTO a VALUES(1);"
            "CREATE UNIQUE INDEX i ON a(v);CREATE TRIGGER g DELETE ON a BEGIN SELECT 1; END;",
            1,
            "CREATE TABLE a(v);CREATE UNIQUE INDEX i ON a(v);\n;\nDELETE FROM sqlite_sequence;"
            "INSERT INTO a VALUES(1);CREATE TRIGGER g DELETE ON a BEGIN SELECT 1; END;");
}

/* With what is filled in the end, in order, behind it. */
static void becomes_filled(const char *text, const char *expected, const char *names) {
    struct run run = {.outline = {.fills = true}};
    char name[D1_OUTLINE_NAME_MAX];
    size_t at = 0;
    walk(text, add, &run);
    walk(text, place, &run);
    bnd_buf_u8(&run.text, 0);
    assert_string_equal((const char *)run.text.data, expected);
    bnd_buf_reset(&run.text);
    while (d1_outline_empty(&run.outline, &at, name)) {
        bnd_buf_append_str(&run.text, name);
        bnd_buf_u8(&run.text, ';');
    }
    bnd_buf_u8(&run.text, 0);
    assert_string_equal((const char *)run.text.data, names);
    d1_outline_free(&run.outline);
    bnd_buf_free(&run.text);
}

static void plain_indexes_are_made_empty_and_filled(void **state) {
    becomes_filled(
        "CREATE TABLE a(v);INSERT INTO a VALUES(1);CREATE INDEX i ON a(v);"
        "create index if not exists main.\"j \"\"1\" on a ( `v` collate [x] desc,w ASC ) \n;",
        "CREATE TABLE a(v);INSERT INTO a VALUES(1);CREATE INDEX i ON a(v)\nWHERE 0;\n"
        "create index if not exists main.\"j \"\"1\" on a ( `v` collate [x] desc,w ASC )"
        "\nWHERE 0;\n",
        "i;j \"1;");
    /* without a semicolon, of a table that was there */
    becomes_filled("INSERT INTO a VALUES(1);CREATE INDEX i ON a(v)",
                   "INSERT INTO a VALUES(1);CREATE INDEX i ON a(v)\nWHERE 0;\n", "i;");
    static const char *const others[] = {
        "UNIQUE INDEX i ON a(v+1)",    "INDEX i ON a(v) WHERE v>1",
        "INDEX i ON a(lower(v))",      "INDEX i ON a(v+1)",
        "INDEX i ON a('v')",           "INDEX i ON a(v DESC NULLS LAST)",
        "INDEX i ON a(v) -- as it is", "INDEX i ON a(v,)"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char text[128];
        char expected[128];
        (void)snprintf(text, sizeof text, "CREATE TABLE a(v);INSERT INTO a VALUES(1);CREATE %s\n;",
                       others[i]);
        (void)snprintf(expected, sizeof expected,
                       "CREATE TABLE a(v);CREATE %s\n;\n;\nINSERT INTO a VALUES(1);", others[i]);
        becomes_filled(text, expected, "");
    }
    static const char *const readers[] = {"SELECT v FROM a INDEXED BY i;", "UPDATE a SET v=2;",
                                          "INSERT INTO a SELECT v FROM a;"};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        char text[128];
        char expected[128];
        (void)snprintf(text, sizeof text, "CREATE TABLE a(v);CREATE INDEX i ON a(v);%s",
                       readers[i]);
        (void)snprintf(expected, sizeof expected,
                       "CREATE TABLE a(v);CREATE INDEX i ON a(v);\n;\n%s", readers[i]);
        becomes_filled(text, expected, "");
    }
    becomes_filled("CREATE TABLE a(v);CREATE INDEX i ON a(v);ALTER TABLE a RENAME TO b;",
                   "CREATE TABLE a(v);CREATE INDEX i ON a(v);ALTER TABLE a RENAME TO b;", "");
}

/* Where no row can be told from another by it before it is made: else it comes before the rows. */
static void unique_ones_are_filled_behind_all_rows(void **state) {
    static const char filled[] = "CREATE TABLE a(v DEFAULT 'references');INSERT INTO a VALUES(1);"
                                 "CREATE TABLE b(v);CREATE UNIQUE INDEX i ON a(v)\nWHERE 0;\n";
    becomes_filled("CREATE TABLE a(v DEFAULT 'references');INSERT INTO a VALUES(1);"
                   "CREATE TABLE b(v);CREATE UNIQUE INDEX i ON a(v);",
                   filled, "i;");
    becomes_filled("CREATE TABLE a(v);CREATE UNIQUE INDEX i ON a(v);INSERT INTO a VALUES(1);"
                   "CREATE UNIQUE INDEX j ON a(v);",
                   "CREATE TABLE a(v);CREATE UNIQUE INDEX i ON a(v);\n;\nINSERT INTO a VALUES(1);"
                   "CREATE UNIQUE INDEX j ON a(v)\nWHERE 0;\n",
                   "j;");
    becomes_filled("CREATE TABLE a(v);CREATE TABLE b(v /* */ References a(v));"
                   "INSERT INTO a VALUES(1);CREATE UNIQUE INDEX i ON a(v);",
                   "CREATE TABLE a(v);CREATE UNIQUE INDEX i ON a(v);\n;\n"
                   "CREATE TABLE b(v /* */ References a(v));INSERT INTO a VALUES(1);",
                   "");
    struct run run = {.outline = {.fills = true, .unlinked = true}};
    walk("CREATE TABLE a(v REFERENCES a(v));INSERT INTO a VALUES(1);CREATE UNIQUE INDEX i ON a(v);",
         add, &run);
    assert_int_equal(d1_outline_moved(&run.outline), 0);
    d1_outline_free(&run.outline);
}

static void what_is_kept_is_bounded(void **state) {
    struct run run = {0};
    static char text[(300 << 10) + 64];
    memset(text, ' ', sizeof text);
    memcpy(text, "CREATE INDEX i ON a(v)", 22);
    for (int i = 0; i < 8; i++) {
        add(&run, bnd_slice(text, sizeof text));
    }
    assert_int_equal(d1_outline_moved(&run.outline), 3);
    assert_true(run.outline.texts.len <= D1_OUTLINE_BYTES_MAX);
    for (int i = 0; i < 9; i++) { /* one more than there were */
        struct bnd_buf moved = {0};
        assert_false(d1_outline_place(&run.outline, bnd_slice(text, sizeof text), &moved));
    }
    char name[D1_OUTLINE_NAME_MAX + 64];
    (void)snprintf(name, sizeof name, "CREATE INDEX i ON %0*d(v)", D1_OUTLINE_NAME_MAX, 1);
    d1_outline_free(&run.outline);
    add(&run, bnd_slice_str(name)); /* a name that is too long is not told apart */
    assert_int_equal(d1_outline_moved(&run.outline), 0);
    d1_outline_free(&run.outline);
}

/* A file of 5 GiB has room for two hundred million of them. */
static void indexes_are_bounded_in_number(void **state) {
    struct run run = {0};
    struct bnd_buf moved = {0};
    struct bnd_slice index = bnd_slice_str("CREATE INDEX i ON a(v);");
    for (size_t i = 0; i < D1_OUTLINE_INDEXES_MAX + 2; i++) {
        add(&run, index);
    }
    assert_int_equal(d1_outline_moved(&run.outline), D1_OUTLINE_INDEXES_MAX);
    assert_false(d1_outline_place(&run.outline, bnd_slice_str("CREATE TABLE a(v);"), &moved));
    assert_int_equal(moved.len, D1_OUTLINE_INDEXES_MAX * (index.len + 3));
    for (size_t i = 0; i < D1_OUTLINE_INDEXES_MAX + 2; i++) {
        assert_int_equal(d1_outline_place(&run.outline, index, &moved), i < D1_OUTLINE_INDEXES_MAX);
    }
    bnd_buf_free(&moved);
    d1_outline_free(&run.outline);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indexes_of_a_dump_come_behind_their_tables),
        cmocka_unit_test(what_would_come_out_otherwise_stays),
        cmocka_unit_test(plain_indexes_are_made_empty_and_filled),
        cmocka_unit_test(unique_ones_are_filled_behind_all_rows),
        cmocka_unit_test(what_is_kept_is_bounded),
        cmocka_unit_test(indexes_are_bounded_in_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
