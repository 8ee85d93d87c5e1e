/* SQLite over the VFS and the state machine of a group: what was committed is what a plain SQLite
 * database has, whatever was rolled back, failed, dropped, shrunk and grown again in between. */
#include "sql/sqlite.h"
#include "sql/vfs.h"
#include "tests/unit/sql/machine.h"

#include <stdio.h>

#define UUID 5
#define CACHE_PAGES 4 /* few, so that what may be forgotten is */

struct fixture {
    struct machine *m;
    struct sql_view *view; /* the writer's */
    sqlite3 *db;
    bool exclusive; /* as connections of sql/connection.h are */
    struct sql_pending pending[64];
    size_t pending_count;
};

/* ---- connections ----------------------------------------------------------------------------- */

static int run(sqlite3 *db, const char *text) {
    char *message = NULL;
    int code = sqlite3_exec(db, text, NULL, NULL, &message);
    sqlite3_free(message);
    return code;
}

static void must(sqlite3 *db, const char *text) {
    if (run(db, text) != SQLITE_OK) {
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    }
}

/* The first column of the first row, as text; "" for none. */
static const char *value(sqlite3 *db, const char *text) {
    static char out[4][256];
    static unsigned turn;
    char *to = out[turn++ % 4];
    sqlite3_stmt *statement = NULL;
    to[0] = 0;
    if (sqlite3_prepare_v2(db, text, -1, &statement, NULL) != SQLITE_OK) {
        (void)snprintf(to, 256, "error: %s", sqlite3_errmsg(db));
        return to;
    }
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW && sqlite3_column_text(statement, 0) != NULL) {
        (void)snprintf(to, 256, "%s", (const char *)sqlite3_column_text(statement, 0));
    } else if (code != SQLITE_DONE && code != SQLITE_ROW) {
        (void)snprintf(to, 256, "error: %s", sqlite3_errmsg(db));
    }
    (void)sqlite3_finalize(statement);
    return to;
}

static sqlite3 *connect_to(struct fixture *f, struct sql_view *view, int flags) {
    sqlite3 *db = NULL;
    sql_vfs_enter(bnd_sim_env(f->m->env), view);
    assert_int_equal(sqlite3_open_v2(sql_view_name(view), &db, flags, SQL_VFS_NAME), SQLITE_OK);
    must(db, "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA cache_spill=OFF");
    return db;
}

static struct sql_view *view_at(struct fixture *f, bool writer) {
    struct sql_database_record record = machine_record(f->m, UUID);
    const struct sql_view_config config = {
        .at = machine_at(f->m, &record),
        .page_count = record.page_count,
        .writer = writer,
        .pages_bytes_max = CACHE_PAGES * SQL_PAGE_BYTES,
    };
    struct sql_view *view = NULL;
    assert_int_equal(sql_view_create(&config, &view), 0);
    return view;
}

static void writer_open(struct fixture *f) {
    f->view = view_at(f, true);
    f->db = connect_to(f, f->view, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (f->exclusive) {
        must(f->db, "PRAGMA locking_mode=EXCLUSIVE");
    }
}

static void pending_free(struct fixture *f) {
    for (size_t i = 0; i < f->pending_count; i++) {
        sql_change_set_free(&f->pending[i].set);
    }
    f->pending_count = 0;
}

static void writer_close(struct fixture *f) {
    assert_int_equal(sqlite3_close(f->db), SQLITE_OK);
    sql_view_destroy(f->view);
    f->view = NULL;
    pending_free(f);
}

/* Keeps what the last transaction left. */
static bool take(struct fixture *f) {
    struct sql_pending *pending = &f->pending[f->pending_count];
    bool changed = sql_view_take(f->view, pending);
    f->pending_count += changed;
    assert_true(f->pending_count < 64);
    return changed;
}

/* A page without SQLite, pending or not, is what SQLite reads there. */
static void assert_page(struct fixture *f, uint32_t number) {
    uint8_t page[SQL_PAGE_BYTES];
    uint8_t read[SQL_PAGE_BYTES];
    bool cut = false;
    assert_int_equal(sql_view_page(f->view, number, page), 0);
    assert_int_equal(
        sql_view_read(f->view, (uint64_t)(number - 1) * SQL_PAGE_BYTES, sizeof read, read, &cut),
        0);
    assert_memory_equal(page, read, sizeof page);
}

/* Every page up to the end has bytes, also those that SQLite left out when it grew the file. */
static void assert_whole(struct fixture *f) {
    static uint8_t bytes[SQL_PAGE_BYTES];
    struct sql_database_record record = machine_record(f->m, UUID);
    struct sql_at at = machine_at(f->m, &record);
    for (uint32_t page = 1; page <= record.page_count; page++) {
        assert_int_equal(sql_history_page(&at, page, bytes, NULL), 0);
    }
}

/* Commits the first of what is pending. */
static void commit(struct fixture *f, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct sql_pending *pending = &f->pending[i];
        struct sql_database_record record = machine_record(f->m, UUID);
        assert_true(record.version + 1 == pending->version);
        const struct machine_commit what = {
            .uuid = UUID,
            .header = machine_header(f->m, &record, pending->page_count),
            .set = &pending->set,
        };
        assert_int_equal(machine_commit(f->m, &what), 0);
        sql_view_committed(f->view, pending->version);
        sql_change_set_free(&pending->set);
    }
    f->pending_count -= count;
    memmove(f->pending, f->pending + count, f->pending_count * sizeof *f->pending);
    machine_equal(f->m);
    assert_whole(f);
}

static void commit_all(struct fixture *f) {
    commit(f, f->pending_count);
}

static void writes(struct fixture *f, const char *text) {
    must(f->db, text);
    assert_true(take(f));
}

/* A reader at what is committed now. */
struct reader {
    struct sql_view *view;
    sqlite3 *db;
};

static struct reader reader_open(struct fixture *f) {
    struct reader reader = {.view = view_at(f, false)};
    reader.db = connect_to(f, reader.view, SQLITE_OPEN_READONLY);
    return reader;
}

static void reader_close(struct reader *reader) {
    assert_int_equal(sqlite3_close(reader->db), SQLITE_OK);
    sql_view_destroy(reader->view);
}

static void assert_sound(sqlite3 *db) {
    assert_string_equal(value(db, "PRAGMA integrity_check"), "ok");
}

static int fixture_setup(void **state) {
    struct fixture *f = bnd_zalloc(sizeof *f);
    void *machine = NULL;
    assert_int_equal(machine_setup(&machine), 0);
    f->m = machine;
    assert_int_equal(sql_vfs_register(bnd_sim_env(f->m->env)), 0);
    assert_int_equal(machine_simple(f->m, SQL_CREATE, UUID), 0);
    writer_open(f);
    *state = f;
    return 0;
}

static int fixture_teardown(void **state) {
    struct fixture *f = *state;
    writer_close(f);
    sql_vfs_leave();
    void *machine = f->m;
    (void)machine_teardown(&machine);
    bnd_free(f);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void the_first_write_makes_the_database(void **state) {
    struct fixture *f = *state;
    struct reader empty = reader_open(f);
    assert_string_equal(value(empty.db, "SELECT count(*) FROM sqlite_schema"), "0");
    reader_close(&empty);
    writes(f,
           "BEGIN; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 2); COMMIT");
    commit_all(f);
    struct reader reader = reader_open(f);
    assert_string_equal(value(reader.db, "SELECT count(*) FROM sqlite_schema"), "1");
    assert_sound(reader.db);
    reader_close(&reader);
}

static void what_fails_or_is_rolled_back_leaves_no_version(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, p INTEGER REFERENCES t(id) DEFERRABLE "
              "INITIALLY DEFERRED)");
    writes(f, "INSERT INTO t VALUES(1, NULL)");
    uint64_t version = sql_view_version(f->view);
    assert_int_equal(run(f->db, "INSERT INTO t VALUES(1, NULL)"), SQLITE_CONSTRAINT);
    assert_false(take(f));
    must(f->db, "BEGIN; INSERT INTO t VALUES(2, NULL); ROLLBACK");
    assert_false(take(f));
    assert_int_equal(
        run(f->db, "PRAGMA foreign_keys=ON; BEGIN; INSERT INTO t VALUES(3, 99); COMMIT"),
        SQLITE_CONSTRAINT);
    must(f->db, "ROLLBACK");
    assert_false(take(f));
    assert_int_equal(run(f->db, "INSERT OR ROLLBACK INTO t VALUES(1, NULL)"), SQLITE_CONSTRAINT);
    must(f->db, "UPDATE t SET p = NULL WHERE id = 77");
    assert_false(take(f));
    assert_true(sql_view_version(f->view) == version);
    writes(f, "INSERT INTO t VALUES(4, 1)");
    assert_true(sql_view_version(f->view) == version + 1);
    commit_all(f);
    struct reader reader = reader_open(f);
    assert_string_equal(value(reader.db, "SELECT group_concat(id) FROM t"), "1,4");
    assert_sound(reader.db);
    reader_close(&reader);
}

static void a_pinned_reader_stands_still_beside_the_writer(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    writes(f, "INSERT INTO t(v) SELECT value FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL "
              "SELECT value + 1 FROM c LIMIT 50) SELECT value FROM c)");
    commit_all(f);
    struct reader reader = reader_open(f);
    must(reader.db, "BEGIN");
    assert_string_equal(value(reader.db, "SELECT count(*) FROM t"), "50");
    for (int i = 0; i < 200; i++) {
        writes(f, "INSERT INTO t(v) VALUES(zeroblob(200))");
        if (i % 20 == 19) {
            commit_all(f);
        }
        if (i % 50 == 0) {
            assert_string_equal(value(reader.db, "SELECT count(*) FROM t"), "50");
        }
    }
    assert_int_equal(run(reader.db, "INSERT INTO t(v) VALUES(1)"), SQLITE_READONLY);
    assert_string_equal(value(reader.db, "SELECT count(*) FROM t"), "50");
    must(reader.db, "COMMIT");
    struct sql_database_record record = machine_record(f->m, UUID);
    sql_view_pin(reader.view, record.version, record.page_count, NULL, 0);
    assert_string_equal(value(reader.db, "SELECT count(*) FROM t"), "250");
    assert_sound(reader.db);
    reader_close(&reader);
}

/* A reader that is told which pages changed keeps the others, and they are right. */
static void a_reader_moves_on_page_by_page(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); ");
    commit_all(f);
    struct reader reader = reader_open(f);
    for (int i = 1; i <= 120; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "INSERT INTO t VALUES(%d, zeroblob(%d))", i,
                       i % 7 == 0 ? 9000 : 300);
        writes(f, i % 11 == 0 ? "DELETE FROM t WHERE id % 5 = 0" : text);
        struct sql_pending pending = f->pending[0];
        commit_all(f);
        sql_view_pin(reader.view, pending.version, pending.page_count, pending.pages,
                     pending.pages_count);
        assert_string_equal(value(reader.db, "SELECT count(*) || ' ' || sum(length(v)) FROM t"),
                            value(f->db, "SELECT count(*) || ' ' || sum(length(v)) FROM t"));
    }
    assert_sound(reader.db);
    assert_true(sql_view_bytes(reader.view) < 48 * SQL_PAGE_BYTES);
    reader_close(&reader);
}

static void pages_that_sqlite_left_out_are_zeros(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    commit_all(f);
    writes(f, "BEGIN; INSERT INTO t VALUES(1, zeroblob(40000)); INSERT INTO t VALUES(2, 2);"
              "INSERT INTO t VALUES(3, zeroblob(40000)); DELETE FROM t WHERE id <> 2; COMMIT");
    commit_all(f);
    assert_string_equal(value(f->db, "PRAGMA freelist_count"), "20");
    writes(f, "INSERT INTO t VALUES(4, zeroblob(60000))");
    commit_all(f);
    assert_sound(f->db);
}

static void what_writes_the_same_makes_no_version(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    writes(f, "INSERT INTO t VALUES(1, 2)");
    must(f->db, "UPDATE t SET v = 2");
    assert_false(take(f));
    writes(f, "UPDATE t SET v = 3");
    commit_all(f);
    assert_string_equal(value(f->db, "SELECT v FROM t"), "3");
}

/* What is not committed is nowhere but in the view: it stays there, while others may be forgotten.
 */
static void pending_pages_outlive_committed_ones(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    for (int i = 0; i < 12; i++) {
        writes(f, "INSERT INTO t(v) VALUES(zeroblob(5000))");
    }
    commit(f, 6);
    must(f->db, "PRAGMA cache_size=2"); /* SQLite's own forgets, too */
    for (int i = 0; i < 20; i++) {
        assert_string_equal(
            value(f->db, "SELECT count(*) || ':' || sum(v = zeroblob(5000)) FROM t"), "12:12");
    }
    writes(f, "UPDATE t SET v = zeroblob(6000)");
    commit_all(f);
    assert_string_equal(value(f->db, "SELECT sum(v = zeroblob(6000)) FROM t"), "12");
    assert_sound(f->db);
}

/* Reference: dropped versions, then as many others: SQLite's change counter is the same again. */
static void dropped_rows_are_not_served_again(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    commit_all(f);
    writes(f, "INSERT INTO t VALUES(1, 'dropped')");
    assert_string_equal(value(f->db, "SELECT v FROM t"), "dropped");
    writer_close(f);
    writer_open(f);
    assert_string_equal(value(f->db, "SELECT count(*) FROM t"), "0");
    writes(f, "INSERT INTO t VALUES(1, 'kept')");
    commit_all(f);
    assert_string_equal(value(f->db, "SELECT v FROM t"), "kept");
    assert_sound(f->db);
}

static void a_dropped_table_takes_no_rows(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    commit_all(f);
    writes(f, "CREATE TABLE lost(a)");
    writer_close(f);
    writer_open(f);
    writes(f, "CREATE TABLE other(b)");
    assert_int_equal(run(f->db, "INSERT INTO lost VALUES(1)"), SQLITE_ERROR);
    commit_all(f);
    struct reader reader = reader_open(f);
    assert_sound(reader.db);
    reader_close(&reader);
}

/* Another writer commits on the same base, in place of what is pending; the view is moved there
 * and its connection is kept. */
static void replaced_from_elsewhere(struct fixture *f, const char *text, bool spoil) {
    struct fixture other = {.m = f->m};
    writer_open(&other);
    writes(&other, text);
    commit_all(&other);
    writer_close(&other);
    pending_free(f);
    struct sql_database_record record = machine_record(f->m, UUID);
    struct sql_at at = machine_at(f->m, &record);
    sql_view_drop(f->view, &at, record.page_count, spoil);
}

/* Why a connection may not outlive a drop: over one that does, each of these goes wrong. */
static void a_kept_connection_serves_what_was_dropped(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    commit_all(f);
    writes(f, "INSERT INTO t VALUES(1, 'dropped')");
    replaced_from_elsewhere(f, "INSERT INTO t VALUES(1, 'kept')", false);
    assert_string_equal(value(f->db, "SELECT v FROM t"), "dropped");
}

static void a_spoiled_counter_makes_it_read_again(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    commit_all(f);
    writes(f, "INSERT INTO t VALUES(1, 'dropped')");
    replaced_from_elsewhere(f, "INSERT INTO t VALUES(1, 'kept')", true);
    assert_string_equal(value(f->db, "SELECT v FROM t"), "kept");
}

static void but_not_know_that_a_table_is_gone(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    commit_all(f);
    writes(f, "CREATE TABLE lost(a)");
    replaced_from_elsewhere(f, "CREATE TABLE other(b, c DEFAULT 7)", true);
    writes(f, "INSERT INTO lost VALUES(1)");
    commit_all(f);
    struct reader reader = reader_open(f);
    assert_string_equal(value(reader.db, "SELECT count(*) FROM other"), "1"); /* its row */
    reader_close(&reader);
}

static void nothing_but_views_can_be_opened(void **state) {
    struct fixture *f = *state;
    sqlite3 *db = NULL;
    assert_int_equal(
        sqlite3_open_v2("/tmp/bnd-no-such", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
        SQLITE_CANTOPEN);
    (void)sqlite3_close(db);
    assert_int_equal(run(f->db, "ATTACH '/tmp/bnd-no-such' AS other"), SQLITE_CANTOPEN);
    assert_int_equal(run(f->db, "ATTACH 'deadbeef' AS other"), SQLITE_CANTOPEN);
    writes(f, "CREATE TABLE t(a, b)");
    must(f->db, "CREATE TEMP TABLE s AS SELECT 1 AS a");
    must(f->db, "INSERT INTO s SELECT a FROM s UNION ALL SELECT 2 ORDER BY 1 DESC");
    (void)take(f);
    commit_all(f);
}

static void a_transaction_that_changes_too_much_fails_whole(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)");
    commit_all(f);
    must(f->db, "BEGIN");
    for (int i = 0; i < 18; i++) {
        must(f->db, "INSERT INTO t(v) VALUES(randomblob(1000000))");
    }
    assert_int_equal(run(f->db, "COMMIT"), SQLITE_FULL);
    assert_int_equal(sql_view_error(f->view), BND_TOOBIG);
    if (sqlite3_get_autocommit(f->db) == 0) {
        must(f->db, "ROLLBACK");
    }
    assert_false(take(f));
    assert_string_equal(value(f->db, "SELECT count(*) FROM t"), "0");
    writes(f, "INSERT INTO t(v) VALUES(randomblob(3000000))"); /* several commands */
    commit_all(f);
    assert_string_equal(value(f->db, "SELECT length(v) FROM t"), "3000000");
    assert_sound(f->db);
    assert_true(sql_view_bytes(f->view) < 1000000);
}

/* ---- against a plain database ---------------------------------------------------------------- */

static uint64_t draw(uint64_t *random, uint64_t below) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (*random >> 33) % below;
}

static void random_statement(uint64_t *random, char out[256]) {
    int id = (int)draw(random, 400);
    int bytes = (int)draw(random, draw(random, 10) == 0 ? 20000 : 300);
    switch (draw(random, 9)) {
    case 0:
    case 1:
    case 2:
        (void)snprintf(out, 256,
                       "INSERT OR REPLACE INTO t VALUES(%d, 'n%d', x'%02x' || zeroblob(%d))", id,
                       id * 7 % 31, id & 0xff, bytes);
        break;
    case 3:
        (void)snprintf(out, 256, "UPDATE t SET v = v || 'x' WHERE id BETWEEN %d AND %d", id,
                       id + 9);
        break;
    case 4:
        (void)snprintf(out, 256, "DELETE FROM t WHERE id BETWEEN %d AND %d", id,
                       id + (int)draw(random, 150));
        break;
    case 5:
        (void)snprintf(out, 256, "CREATE TABLE IF NOT EXISTS u%d(a, b)", id % 6);
        break;
    case 6:
        (void)snprintf(out, 256, "DROP TABLE IF EXISTS u%d", id % 6);
        break;
    case 7:
        (void)snprintf(out, 256, "INSERT INTO t VALUES(%d, 'u', NULL)", id);
        break;
    default:
        (void)snprintf(out, 256, "PRAGMA incremental_vacuum(%d)", (int)draw(random, 20));
        break;
    }
}

static const char *content(sqlite3 *db) {
    return value(db, "SELECT (SELECT count(*) || ':' || coalesce(sum(id * length(v)), 0) || ':' || "
                     "coalesce(group_concat(n, ''), '') FROM (SELECT * FROM t ORDER BY id DESC "
                     "LIMIT 40)) || (SELECT count(*) FROM t) || (SELECT group_concat(name) FROM "
                     "(SELECT name FROM sqlite_schema ORDER BY name))");
}

/* Drops what is pending, in both: the model goes back to its savepoint. */
static void drop_pending(struct fixture *f, sqlite3 *model) {
    writer_close(f);
    writer_open(f);
    must(model, "ROLLBACK; BEGIN");
}

static void random_transactions(struct fixture *f, const char *vacuum, uint64_t seed) {
    sqlite3 *model = NULL;
    char text[256];
    uint64_t random = seed;
    assert_int_equal(
        sqlite3_open_v2(":memory:", &model, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, NULL),
        SQLITE_OK);
    must(f->db, vacuum);
    (void)take(f); /* what turns it on writes page 1 */
    must(model, vacuum);
    const char *schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, n TEXT, v); ";
    writes(f, schema);
    writes(f, "CREATE INDEX i ON t(n)");
    must(model, schema);
    must(model, "CREATE INDEX i ON t(n)");
    commit_all(f);
    must(model, "BEGIN"); /* open: the pending versions; each transaction is a savepoint in it */
    struct reader reader = reader_open(f);
    for (int step = 0; step < 300; step++) {
        bool fails = draw(&random, 6) == 0;
        must(f->db, "BEGIN");
        must(model, "SAVEPOINT s");
        for (uint64_t i = draw(&random, 4) + 1; i > 0; i--) {
            random_statement(&random, text);
            int code = run(f->db, text);
            assert_int_equal(code, run(model, text));
        }
        must(f->db, fails ? "ROLLBACK" : "COMMIT");
        must(model, fails ? "ROLLBACK TO s; RELEASE s" : "RELEASE s");
        bool changed = take(f);
        assert_true(!fails || !changed);
        if (draw(&random, 25) == 0) {
            drop_pending(f, model);
        } else if (draw(&random, 5) == 0 || f->pending_count > 50) {
            commit_all(f);
            must(model, "COMMIT; BEGIN");
            struct sql_database_record record = machine_record(f->m, UUID);
            sql_view_pin(reader.view, record.version, record.page_count, NULL, 0);
            assert_string_equal(content(reader.db), content(model));
            assert_sound(reader.db);
        }
        assert_string_equal(content(f->db), content(model));
    }
    commit(f, f->pending_count / 2);
    assert_sound(f->db);
    reader_close(&reader);
    assert_int_equal(sqlite3_close(model), SQLITE_OK);
}

static void random_transactions_equal_a_plain_database(void **state) {
    random_transactions(*state, "PRAGMA auto_vacuum=NONE", 11);
}

static void random_transactions_with_shrinking(void **state) {
    random_transactions(*state, "PRAGMA auto_vacuum=FULL", 12);
}

static void random_transactions_with_shrinking_on_demand(void **state) {
    random_transactions(*state, "PRAGMA auto_vacuum=INCREMENTAL", 13);
}

static int exclusive_setup(void **state) {
    int rv = fixture_setup(state);
    struct fixture *f = *state;
    writer_close(f);
    f->exclusive = true;
    writer_open(f);
    return rv;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define EXCLUSIVE(name) cmocka_unit_test_setup_teardown(name, exclusive_setup, fixture_teardown)

static void pages_are_read_without_sqlite(void **state) {
    struct fixture *f = *state;
    writes(f, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
    writes(f, "INSERT INTO t SELECT value, zeroblob(900) FROM json_each('[1,2,3,4,5,6,7,8,9]')");
    for (uint32_t number = 1; number <= sql_view_size(f->view); number++) {
        assert_page(f, number);
    }
    commit_all(f);
    for (uint32_t number = 1; number <= sql_view_size(f->view); number++) {
        assert_page(f, number);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_first_write_makes_the_database),
        TEST(what_fails_or_is_rolled_back_leaves_no_version),
        TEST(a_pinned_reader_stands_still_beside_the_writer),
        TEST(a_reader_moves_on_page_by_page),
        TEST(dropped_rows_are_not_served_again),
        TEST(a_dropped_table_takes_no_rows),
        TEST(a_kept_connection_serves_what_was_dropped),
        TEST(a_spoiled_counter_makes_it_read_again),
        TEST(but_not_know_that_a_table_is_gone),
        TEST(nothing_but_views_can_be_opened),
        TEST(a_transaction_that_changes_too_much_fails_whole),
        TEST(random_transactions_equal_a_plain_database),
        TEST(random_transactions_with_shrinking),
        TEST(random_transactions_with_shrinking_on_demand),
        TEST(pages_that_sqlite_left_out_are_zeros),
        TEST(pages_are_read_without_sqlite),
        TEST(pending_pages_outlive_committed_ones),
        EXCLUSIVE(what_writes_the_same_makes_no_version),
        EXCLUSIVE(what_fails_or_is_rolled_back_leaves_no_version),
        EXCLUSIVE(a_pinned_reader_stands_still_beside_the_writer),
        EXCLUSIVE(a_reader_moves_on_page_by_page),
        EXCLUSIVE(dropped_rows_are_not_served_again),
        EXCLUSIVE(a_dropped_table_takes_no_rows),
        EXCLUSIVE(a_transaction_that_changes_too_much_fails_whole),
        EXCLUSIVE(random_transactions_equal_a_plain_database),
        EXCLUSIVE(random_transactions_with_shrinking),
        EXCLUSIVE(random_transactions_with_shrinking_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
