/* What D1's surfaces take and tell, without a cluster: bodies of queries, sessions, failures. */
#include "gateway/d1/body.h"
#include "gateway/d1/dump.h"
#include "gateway/d1/query.h"
#include "gateway/d1/rules.h"
#include "gateway/d1/split.h"
#include "gateway/d1/sqlite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct bnd_sql_request plain = {
    .results = BND_SQL_OBJECTS, .session = BND_SQL_PRIMARY, .script = true};

/* A body fed in pieces of `step` bytes. */
static int read_body(struct d1_body *body, const char *text, bool rest, size_t step) {
    size_t len = strlen(text);
    int rv = 0;
    d1_body_init(body, &plain, rest);
    for (size_t at = 0; at < len && rv == 0; at += step) {
        size_t piece = len - at < step ? len - at : step;
        rv = d1_body_feed(body, bnd_slice(text + at, piece));
    }
    return rv != 0 ? rv : d1_body_end(body);
}

/* One statement a line: its text, and its parameters as type:value. */
static void describe(const struct d1_body *body, char *out, size_t room) {
    struct bnd_sql_request request;
    size_t len = 0;
    assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&body->request), &request), 0);
    for (uint32_t i = 0; i < request.statements_count; i++) {
        struct bnd_sql_statement statement;
        bnd_sql_request_next(&request, &statement);
        len += (size_t)snprintf(out + len, room - len, "%.*s", (int)statement.text.len,
                                (const char *)statement.text.data);
        for (uint32_t p = 0; p < statement.params_count; p++) {
            struct bnd_sql_value value;
            bnd_sql_statement_next(&statement, &value);
            static const char *const names[] = {"null", "int", "real", "text", "blob"};
            len += (size_t)snprintf(out + len, room - len, " %s:", names[value.type]);
            if (value.type == BND_SQL_INTEGER) {
                len += (size_t)snprintf(out + len, room - len, "%lld", (long long)value.integer);
            } else if (value.type == BND_SQL_REAL) {
                len += (size_t)snprintf(out + len, room - len, "%g", value.real);
            } else if (value.type == BND_SQL_TEXT) {
                len += (size_t)snprintf(out + len, room - len, "%.*s", (int)value.bytes.len,
                                        (const char *)value.bytes.data);
            } else if (value.type == BND_SQL_BLOB) {
                for (size_t b = 0; b < value.bytes.len; b++) {
                    len += (size_t)snprintf(out + len, room - len, "%02x", value.bytes.data[b]);
                }
            }
        }
        len += (size_t)snprintf(out + len, room - len, ";");
    }
}

static void takes(const char *text, bool rest, const char *expected) {
    static const size_t steps[] = {1, 3, 1000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct d1_body body;
        char got[512] = "";
        if (read_body(&body, text, rest, steps[i]) != 0) {
            fail_msg("%s: %s", text, body.why);
        }
        describe(&body, got, sizeof got);
        assert_string_equal(got, expected);
        d1_body_free(&body);
    }
}

static void refuses(const char *text, bool rest, const char *why) {
    static const size_t steps[] = {1, 1000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct d1_body body;
        assert_int_equal(read_body(&body, text, rest, steps[i]), BND_INVALID);
        assert_string_equal(body.why, why);
        d1_body_free(&body);
    }
}

static void a_statement_has_text_and_parameters(void **state) {
    for (int rest = 0; rest < 2; rest++) {
        takes("{\"sql\":\"select 1\"}", rest, "select 1;");
        takes("{\"sql\":\"s\",\"params\":[]}", rest, "s;");
        takes("{\"sql\":\"s\",\"params\":null}", rest, "s;");
        takes("{\"params\":[7],\"sql\":\"s \\\"\\u00fc\\ud83d\\ude00\"}", rest,
              "s \"\xc3\xbc\xf0\x9f\x98\x80 real:7;");
        takes(" { \"sql\" : \"s\" , \"other\" : {\"sql\":[{}]}, \"more\":[1,\"x\"], \"n\":1 } ",
              rest, "s;");
    }
}

static void parameters_have_the_type_that_is_written(void **state) {
    takes(
        "{\"sql\":\"s\",\"params\":[1,-1,0,1.5,1e3,-0.25,\"t\",\"\",true,false,null,[],[0,255,7]]}",
        true,
        "s real:1 real:-1 real:0 real:1.5 real:1000 real:-0.25 text:t text: real:1 real:0 null: "
        "blob: blob:00ff07;");
    takes("{\"sql\":\"s\",\"params\":[9223372036854775807,1.0,-1e-7,[1e2]]}", true,
          "s real:9.22337e+18 real:1 real:-1e-07 blob:64;");
}

static void many_statements_come_in_order(void **state) {
    takes("[{\"sql\":\"a\",\"params\":[1]},{\"sql\":\"b\"},{\"params\":[\"x\"],\"sql\":\"c\"}]",
          false, "a real:1;b;c text:x;");
    takes("{\"batch\":[{\"sql\":\"a\",\"params\":[1]},{\"sql\":\"b\"}],\"note\":1}", true,
          "a real:1;b;");
}

static void what_is_no_query_is_refused(void **state) {
    refuses("", true, "the body is not valid JSON");
    refuses("{\"sql\":\"s\"", true, "the body is not valid JSON");
    refuses("{\"sql\":\"s\"}x", true, "the body is not valid JSON");
    refuses("[{\"sql\":\"s\"}]", true, "the body must be a JSON object");
    refuses("\"s\"", true, "the body must be a JSON object");
    refuses("7", false, "the body must be a statement or an array of them");
    refuses("[\"s\"]", false, "a statement must be an object");
    refuses("[]", false, "No SQL statements detected.");
    refuses("{\"batch\":[]}", true, "No SQL statements detected.");
    refuses("{}", true, "a statement has no \"sql\"");
    refuses("[{\"sql\":\"s\"},{\"params\":[]}]", false, "a statement has no \"sql\"");
    refuses("{\"sql\":7}", true, "\"sql\" must be a string");
    refuses("{\"sql\":[\"s\"]}", true, "\"sql\" must be a string");
    refuses("{\"sql\":null}", true, "\"sql\" must be a string");
    refuses("{\"sql\":\"s\",\"params\":\"x\"}", true, "\"params\" must be an array");
    refuses("{\"sql\":\"s\",\"params\":{}}", true, "\"params\" must be an array");
    refuses("{\"sql\":\"s\",\"sql\":\"t\"}", true, "\"sql\" is there twice");
    refuses("{\"params\":[],\"sql\":\"s\",\"params\":[1]}", true, "\"params\" is there twice");
    refuses("{\"batch\":{}}", true, "\"batch\" must be an array");
    refuses("{\"sql\":\"s\",\"batch\":[{\"sql\":\"t\"}]}", true,
            "\"batch\" and \"sql\", one at a time");
    refuses("{\"batch\":[{\"sql\":\"t\"}],\"sql\":\"s\"}", true,
            "\"batch\" and \"sql\", one at a time");
    refuses("{\"batch\":[{\"sql\":\"t\"}],\"batch\":[]}", true, "\"batch\" is there twice");
    refuses("{\"sql\":\"s\",\"params\":[1,{}]}", true,
            "parameter 2 is an object, which SQL does not have");
    refuses("{\"sql\":\"s\",\"params\":[[1,256]]}", true,
            "parameter 1 is an array of something else than bytes");
    refuses("{\"sql\":\"s\",\"params\":[[-1]]}", true,
            "parameter 1 is an array of something else than bytes");
    refuses("{\"sql\":\"s\",\"params\":[[1.5]]}", true,
            "parameter 1 is an array of something else than bytes");
    refuses("{\"sql\":\"s\",\"params\":[[\"a\"]]}", true,
            "parameter 1 is an array of something else than bytes");
    refuses("{\"sql\":\"s\",\"params\":[[[1]]]}", true,
            "parameter 1 is an array of something else than bytes");
    refuses("{\"sql\":\"s\",\"params\":[1e999]}", true, "a number is out of range");
}

static void there_are_bounds(void **state) {
    struct d1_body body;
    static char text[BND_SQL_REQUEST_MAX + 64];
    memset(text, 'a', sizeof text);
    memcpy(text, "{\"sql\":\"", 8);
    d1_body_init(&body, &plain, true);
    assert_int_equal(d1_body_feed(&body, bnd_slice(text, sizeof text)), BND_TOOBIG);
    d1_body_free(&body);
    d1_body_init(&body, &plain, false);
    int rv = d1_body_feed(&body, bnd_slice_str("[{\"sql\":\"a\"}"));
    for (unsigned i = 1; i <= BND_SQL_STATEMENTS_MAX && rv == 0; i++) {
        rv = d1_body_feed(&body, bnd_slice_str(",{\"sql\":\"a\"}"));
    }
    assert_int_equal(rv, BND_TOOBIG);
    d1_body_free(&body);
    memset(text, '9', sizeof text);
    memcpy(text, "{\"sql\":\"a\",\"params\":[", 21);
    memcpy(text + 21 + 128, "]}", 3);
    refuses(text, true, "a number has more than 127 digits");
}

static void a_session_is_a_constraint_or_a_bookmark(void **state) {
    static const char bookmark[] = "00000001-00000000-00050000-000102030405060708090a0b0c0d0e0f";
    struct bnd_sql_request header = {0};
    struct bnd_sql_bookmark got;
    assert_true(d1_session_read(bnd_slice_str("first-primary"), &header));
    assert_int_equal(header.session, BND_SQL_PRIMARY);
    assert_true(d1_session_read(bnd_slice_str("first-unconstrained"), &header));
    assert_int_equal(header.session, BND_SQL_UNCONSTRAINED);
    assert_true(d1_session_read(bnd_slice_str(bookmark), &header));
    assert_int_equal(header.session, BND_SQL_BOOKMARK);
    bnd_sql_bookmark_get(header.bookmark, &got);
    assert_int_equal(got.epoch, 1);
    assert_int_equal(got.version, 5);
    assert_false(d1_session_read(bnd_slice_str("last-primary"), &header));
    assert_false(d1_session_read(bnd_slice(bookmark, sizeof bookmark - 2), &header));
}

/* Applications run again what failed with a lost connection: it must not be said of what may have
 * been executed. */
static void only_what_was_not_executed_may_be_run_again(void **state) {
    static const int certain[] = {BND_UNAVAILABLE, BND_NOTLEADER, BND_BUSY};
    static const int others[] = {BND_UNKNOWN, BND_TIMEOUT, BND_EXPIRED,  BND_CLOSED,
                                 BND_TOOBIG,  BND_IO,      BND_CORRUPT,  BND_FULL,
                                 BND_NOSPACE, BND_NOMEM,   BND_NOTFOUND, BND_INVALID};
    struct d1_failure failure;
    for (size_t i = 0; i < sizeof certain / sizeof certain[0]; i++) {
        d1_failure(certain[i], bnd_slice_str("db"), &failure);
        assert_string_equal(failure.text, "Network connection lost.");
        assert_int_equal(failure.status, 503);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        d1_failure(others[i], bnd_slice_str("db"), &failure);
        assert_null(strstr(failure.text, "Network connection lost"));
    }
    d1_failure(BND_NOTFOUND, bnd_slice_str("d\001b"), &failure);
    assert_string_equal(failure.text, "The database d?b could not be found");
    assert_int_equal(failure.code, D1_NO_DATABASE);
    assert_null(strstr(d1_text_lost, "Network connection lost"));
}

static void counts(const char *text, uint64_t expected) {
    struct d1_split split = {0};
    uint64_t ended = 0;
    size_t len = strlen(text);
    if (d1_split_count(bnd_slice_str(text)) != expected) {
        fail_msg("%s", text);
    }
    for (size_t i = 0; i < len; i++) { /* the same byte by byte */
        bool end = false;
        assert_int_equal(d1_split_next(&split, bnd_slice(text + i, 1), &end), 1);
        ended += end;
    }
    if (ended != expected && ended + 1 != expected) {
        fail_msg("byte by byte: %s", text);
    }
}

static void statements_are_told_apart(void **state) {
    counts("", 0);
    counts(" ; -- only a comment\n;;/* ; */ ; ", 0);
    counts("SELECT 1", 1);
    counts("SELECT 1;", 1);
    counts("SELECT 1; SELECT 2", 2);
    counts("SELECT 1;;SELECT 2;", 2);
    counts("SELECT ';' , \";\" , `;`, [;] ; x", 2);
    counts("SELECT 'it''s;'; SELECT 2", 2);
    counts("SELECT 1 -- ;\n, 2; x", 2);
    counts("SELECT 1 /* ; * / ; */; x", 2);
    counts("SELECT 3-1; SELECT 4/2; SELECT 1-", 3);
    counts("CREATE TABLE trigger (a); SELECT 1;", 2);
    counts("CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET v = 1; SELECT 2; END; SELECT 3;",
           2);
    counts("create temp trigger g after insert on t begin select case when 1 then 2 end; end; x",
           2);
    counts("EXPLAIN QUERY PLAN CREATE TRIGGER g DELETE ON t BEGIN SELECT 1; END; x", 2);
    counts("CREATE TRIGGER g DELETE ON t BEGIN SELECT 1; END/* */ ; x", 2);
    counts("CREATE INDEX i ON t (v); END; x", 3);
}

/* Though a row says so, too, and though the rows are no JSON: they are not read. */
static void meta_is_found_behind_the_rows(void **state) {
    json_t *meta =
        d1_meta(bnd_slice_str("[{\"meta\":1,\"results\":[[[\"\\\"meta\\\":2\",}"
                              ",\"meta\":{\"served_by\":\"a\\\"meta\\\":3\",\"n\":4}}]"));
    assert_int_equal(json_integer_value(json_object_get(meta, "n")), 4);
    json_decref(meta);
    assert_null(d1_meta(bnd_slice_str("[]")));
    assert_null(d1_meta(bnd_slice_str("[{\"meta\":")));
}

#define RESULT(rows) "{\"results\":{\"columns\":[],\"rows\":" rows "},\"success\":true,\"meta\":{}}"
#define SCHEMA                                                                                     \
    "[[\"t \\\"1\",\"table\",\"CREATE TABLE \\\"t \\\"\\\"1\\\" (a, b)\"],"                        \
    "[\"u\",\"table\",\"CREATE TABLE u (c)\"],"                                                    \
    "[\"sqlite_sequence\",\"table\",\"CREATE TABLE sqlite_sequence(name,seq)\"],"                  \
    "[\"sqlite_stat1\",\"table\",\"CREATE TABLE sqlite_stat1(tbl,idx,stat)\"],"                    \
    "[\"_cf_KV\",\"table\",\"CREATE TABLE _cf_KV(k)\"],"                                           \
    "[\"i\",\"index\",\"CREATE INDEX i ON u (c)\"],[\"w\",\"view\",\"CREATE VIEW w AS SELECT "     \
    "1\"]]"

#define TABLES "[[\"main\",\"u\",\"table\",1,1,0],[\"main\",\"t\",\"table\",2,0,0]]"

/* The statements of a request, one a line. */
static void statements_of(const struct bnd_buf *bytes, char *out, size_t room) {
    struct bnd_sql_request request;
    size_t len = 0;
    assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(bytes), &request), 0);
    assert_true(request.read_only);
    for (uint32_t i = 0; i < request.statements_count; i++) {
        struct bnd_sql_statement statement;
        bnd_sql_request_next(&request, &statement);
        len += (size_t)snprintf(out + len, room - len, "%.*s\n", (int)statement.text.len,
                                (const char *)statement.text.data);
    }
}

/* What the database answers, in turn; NULL: that is all. */
static void dumps(struct d1_dump *dump, const char *const *answers, const char *expected) {
    struct bnd_buf request = {0};
    struct bnd_buf text = {0};
    assert_int_equal(
        d1_dump_take_schema(dump, bnd_slice_str("[" RESULT(SCHEMA) "," RESULT(TABLES) "]")), 0);
    while (d1_dump_next(dump, &request, &text)) {
        assert_non_null(*answers);
        assert_int_equal(d1_dump_take(dump, bnd_slice_str(*answers++), &text), 0);
    }
    assert_null(*answers);
    bnd_buf_u8(&text, 0);
    assert_string_equal((const char *)text.data, expected);
    bnd_buf_free(&request);
    bnd_buf_free(&text);
    d1_dump_free(dump);
}

#define COLUMN(name) "[0,\"" name "\",\"\",0,null,0,0]"
#define LITERAL(name)                                                                              \
    "CASE WHEN typeof(" name ")='text' AND instr(" name ",char(0))>0 THEN 'CAST(X'''||hex(" name   \
    ")||''' AS TEXT)' ELSE quote(" name ") END"

static void a_dump_has_what_is_there(void **state) {
    static const char *const answers[] = {
        "[" RESULT("[" COLUMN("a") "," COLUMN("b \\\"") ",[2,\"g\",\"\",0,null,0,2]]") "]",
        "[" RESULT("[[\"1\",\"1\",\"'x''y'\"],[\"2\",\"NULL\",\"X'00'\"]]") "]",
        "[" RESULT("[[0,\"c\",\"\",1,null,1,0]]") "]",
        "[" RESULT("[]") "]",
        "[" RESULT("[" COLUMN("name") "," COLUMN("seq") "]") "]",
        "[" RESULT("[[\"1\",\"'u'\",\"7\"]]") "]",
        NULL};
    struct d1_dump dump = {0};
    dumps(&dump, answers,
          "PRAGMA defer_foreign_keys=TRUE;\n"
          "CREATE TABLE IF NOT EXISTS \"t \"\"1\" (a, b);\n"
          "INSERT INTO \"t \"\"1\" (\"a\",\"b \"\"\") VALUES(1,'x''y');\n"
          "INSERT INTO \"t \"\"1\" (\"a\",\"b \"\"\") VALUES(NULL,X'00');\n"
          "CREATE TABLE u (c);\n"
          "DELETE FROM sqlite_sequence;\n"
          "INSERT INTO \"sqlite_sequence\" (\"name\",\"seq\") VALUES('u',7);\n"
          "CREATE INDEX i ON u (c);\n"
          "CREATE VIEW w AS SELECT 1;\n");
}

static void a_dump_may_leave_out(void **state) {
    static const char *const none[] = {NULL};
    static const char *const one[] = {"[" RESULT("[" COLUMN("c") "]") "]",
                                      "[" RESULT("[[\"1\",\"1.5\"]]") "]", NULL};
    struct d1_dump no_data = {.no_data = true};
    dumps(&no_data, none,
          "PRAGMA defer_foreign_keys=TRUE;\n"
          "CREATE TABLE IF NOT EXISTS \"t \"\"1\" (a, b);\nCREATE TABLE u (c);\n"
          "DELETE FROM sqlite_sequence;\nCREATE INDEX i ON u (c);\nCREATE VIEW w AS SELECT 1;\n");
    json_t *tables = json_pack("[s, s]", "u", "i");
    struct d1_dump some = {.no_schema = true, .tables = tables};
    dumps(&some, one, "PRAGMA defer_foreign_keys=TRUE;\nINSERT INTO \"u\" (\"c\") VALUES(1.5);\n");
    json_decref(tables);
}

/* Goes on to the question in hand and compares it. */
static void asks(struct d1_dump *dump, const char *expected) {
    struct bnd_buf request = {0};
    struct bnd_buf text = {0};
    char statements[2048];
    assert_true(d1_dump_next(dump, &request, &text));
    statements_of(&request, statements, sizeof statements);
    assert_string_equal(statements, expected);
    bnd_buf_free(&request);
    bnd_buf_free(&text);
}

static void dump_takes(struct d1_dump *dump, const char *answer) {
    struct bnd_buf text = {0};
    assert_int_equal(d1_dump_take(dump, bnd_slice_str(answer), &text), 0);
    bnd_buf_free(&text);
}

/* Takes as many rows as were asked for, each with the key. */
static void takes_rows(struct d1_dump *dump, const char *key) {
    json_t *rows = json_array();
    for (unsigned i = 0; i < dump->limit; i++) {
        assert_int_equal(json_array_append_new(rows, json_pack("[s, s]", key, "1")), 0);
    }
    json_t *answer = json_pack("[{s:{s:o}}]", "results", "rows", rows);
    char *text = json_dumps(answer, JSON_COMPACT);
    dump_takes(dump, text);
    free(text);
    json_decref(answer);
}

static void rows_come_in_pages_behind_their_key(void **state) {
    struct d1_dump dump = {0};
    assert_int_equal(
        d1_dump_take_schema(&dump, bnd_slice_str("[" RESULT(SCHEMA) "," RESULT(TABLES) "]")), 0);
    asks(&dump, "PRAGMA table_xinfo(\"t \"\"1\")\n");
    dump_takes(&dump, "[" RESULT("[" COLUMN("ROWID") "]") "]"); /* that name is taken */
    asks(&dump, "SELECT quote(_rowid_)," LITERAL("\"ROWID\"") " FROM \"t \"\"1\" ORDER BY _rowid_ "
                                                              "LIMIT 64\n");
    assert_true(d1_dump_shrink(&dump));
    asks(&dump, "SELECT quote(_rowid_)," LITERAL("\"ROWID\"") " FROM \"t \"\"1\" ORDER BY _rowid_ "
                                                              "LIMIT 8\n");
    takes_rows(&dump, "77");
    asks(&dump,
         "SELECT quote(_rowid_)," LITERAL("\"ROWID\"") " FROM \"t \"\"1\" WHERE (_rowid_)>(77)"
                                                       " ORDER BY _rowid_ LIMIT 32\n");
    assert_true(d1_dump_shrink(&dump));
    assert_true(d1_dump_shrink(&dump));
    assert_false(d1_dump_shrink(&dump)); /* a single row */
    dump_takes(&dump, "[" RESULT("[]") "]");
    asks(&dump, "PRAGMA table_xinfo(\"u\")\n"); /* WITHOUT ROWID, with a key of two columns */
    dump_takes(&dump, "[" RESULT("[[0,\"c\",\"\",1,null,2,0],[1,\"d\",\"\",1,null,1,0]]") "]");
    asks(&dump, "SELECT concat_ws(','," LITERAL("\"d\"") "," LITERAL("\"c\"") ")," LITERAL(
                    "\"c\"") "," LITERAL("\"d\"") " FROM \"u\" ORDER BY \"d\" COLLATE BINARY,\"c\" "
                                                  "COLLATE BINARY LIMIT 64\n");
    takes_rows(&dump, "'x',2");
    asks(&dump, "SELECT concat_ws(','," LITERAL("\"d\"") "," LITERAL("\"c\"") ")," LITERAL(
                    "\"c\"") "," LITERAL("\"d\"") " FROM \"u\" WHERE (\"d\" COLLATE BINARY,\"c\" "
                                                  "COLLATE BINARY)>('x',2) ORDER BY \"d\" COLLATE "
                                                  "BINARY,\"c\" COLLATE BINARY LIMIT 256\n");
    dump_takes(&dump, "[" RESULT("[]") "]");
    asks(&dump, "PRAGMA table_xinfo(\"sqlite_sequence\")\n");
    dump_takes(&dump, "[" RESULT("[" COLUMN("rowid") "," COLUMN("_RowId_") "," COLUMN("oid") "]") "]");
    struct bnd_buf request = {0};
    struct bnd_buf text = {0};
    char statements[2048];
    assert_true(d1_dump_next(&dump, &request, &text)); /* nothing to be told apart by */
    statements_of(&request, statements, sizeof statements);
    assert_non_null(strstr(statements, "SELECT NULL,CASE"));
    assert_non_null(strstr(statements, " FROM \"sqlite_sequence\" LIMIT 64 OFFSET 0\n"));
    takes_rows(&dump, "x");
    assert_true(d1_dump_next(&dump, &request, &text));
    statements_of(&request, statements, sizeof statements);
    assert_non_null(strstr(statements, " FROM \"sqlite_sequence\" LIMIT 256 OFFSET 64\n"));
    bnd_buf_free(&request);
    bnd_buf_free(&text);
    d1_dump_free(&dump);
}

/* A result more than there may be columns: two values share one. */
static void the_widest_table_has_room_for_its_key(void **state) {
    struct d1_dump dump = {0};
    struct bnd_buf request = {0};
    struct bnd_buf text = {0};
    static char statements[32768];
    json_t *columns = json_array();
    for (int i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i);
        assert_int_equal(json_array_append_new(
                             columns, json_pack("[i, s, s, i, n, i, i]", i, name, "", 0, 0, 0)),
                         0);
    }
    json_t *answer = json_pack("[{s:{s:o}}]", "results", "rows", columns);
    char *bytes = json_dumps(answer, JSON_COMPACT);
    assert_int_equal(
        d1_dump_take_schema(&dump, bnd_slice_str("[" RESULT(SCHEMA) "," RESULT(TABLES) "]")), 0);
    assert_true(d1_dump_next(&dump, &request, &text));
    dump_takes(&dump, bytes);
    assert_true(d1_dump_next(&dump, &request, &text));
    statements_of(&request, statements, sizeof statements);
    assert_non_null(strstr(statements, "quote(\"c0\") END||','||CASE"));
    assert_non_null(strstr(statements, "quote(\"c1\") END,CASE"));
    free(bytes);
    json_decref(answer);
    bnd_buf_free(&request);
    bnd_buf_free(&text);
    d1_dump_free(&dump);
}

static void what_is_no_answer_is_told(void **state) {
    struct d1_dump dump = {0};
    struct bnd_buf request = {0};
    struct bnd_buf text = {0};
    assert_int_equal(
        d1_dump_take_schema(
            &dump, bnd_slice_str("[" RESULT(
                       "[[\"f\",\"table\",\"CREATE VIRTUAL TABLE f USING fts5(x)\"]]") "]")),
        BND_UNSUPPORTED);
    assert_non_null(strstr(dump.why, "Virtual Tables"));
    assert_int_equal(d1_dump_take_schema(&dump, bnd_slice_str("[")), BND_CORRUPT);
    assert_int_equal(
        d1_dump_take_schema(&dump, bnd_slice_str("[" RESULT(SCHEMA) "," RESULT(TABLES) "]")), 0);
    assert_true(d1_dump_next(&dump, &request, &text));
    assert_int_equal(d1_dump_take(&dump, bnd_slice_str("["), &text), BND_CORRUPT);
    assert_int_equal(d1_dump_take(&dump, bnd_slice_str("[" RESULT("[]") "]"), &text), BND_CORRUPT);
    assert_int_equal(d1_dump_take(&dump, bnd_slice_str("[" RESULT("[" COLUMN("a") "]") "]"), &text),
                     0);
    assert_int_equal(d1_dump_take(&dump, bnd_slice_str("[{}]"), &text), BND_CORRUPT);
    d1_dump_free(&dump);
    bnd_buf_free(&request);
    bnd_buf_free(&text);
}

/* A header as SQLite writes it, of a database of two pages. */
static void only_what_sqlite_opens_is_a_database(void **state) {
    uint8_t pages[2 * BND_SQL_PAGE_BYTES] = "SQLite format 3\0\x10\0\1\1\0\x40\x20\x20";
    static const size_t counted[] = {16, 17, 18, 19, 24, 28, 31, 92, 0, 15};
    pages[27] = pages[95] = 7;
    pages[31] = 2;
    struct bnd_slice whole = bnd_slice(pages, sizeof pages);
    assert_true(d1_sqlite_header_sound(whole, sizeof pages));
    assert_true(d1_sqlite_header_sound(bnd_slice(pages, BND_SQL_PAGE_BYTES), sizeof pages));
    assert_false(d1_sqlite_header_sound(bnd_slice(pages, 512), sizeof pages));
    assert_false(d1_sqlite_header_sound(whole, sizeof pages + 1));
    assert_false(d1_sqlite_header_sound(whole, sizeof pages / 2));
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++) {
        pages[counted[i]] ^= 2; /* 18, 19: WAL needs one of 3 */
        assert_false(d1_sqlite_header_sound(whole, sizeof pages));
        pages[counted[i]] ^= 2;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_has_text_and_parameters),
        cmocka_unit_test(parameters_have_the_type_that_is_written),
        cmocka_unit_test(many_statements_come_in_order),
        cmocka_unit_test(what_is_no_query_is_refused),
        cmocka_unit_test(there_are_bounds),
        cmocka_unit_test(a_session_is_a_constraint_or_a_bookmark),
        cmocka_unit_test(only_what_was_not_executed_may_be_run_again),
        cmocka_unit_test(statements_are_told_apart),
        cmocka_unit_test(a_dump_has_what_is_there),
        cmocka_unit_test(meta_is_found_behind_the_rows),
        cmocka_unit_test(a_dump_may_leave_out),
        cmocka_unit_test(rows_come_in_pages_behind_their_key),
        cmocka_unit_test(the_widest_table_has_room_for_its_key),
        cmocka_unit_test(what_is_no_answer_is_told),
        cmocka_unit_test(only_what_sqlite_opens_is_a_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
