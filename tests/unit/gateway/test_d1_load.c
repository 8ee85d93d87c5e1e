/* Imports of files, piece by piece, on a real host: whole or not at all. */
#include "base/alloc.h"
#include "gateway/d1/load.h"
#include "tests/unit/sql/leader_rig.h"

#define FRONT_BYTES (16u << 20)
#define ROWS 20000u /* more than one piece, and many reads */

static const uint8_t uuid_a[16] = {1, 2, 3};

struct world {
    struct sql_rig rig; /* first */
    struct gateway_front front;
    struct d1_spool *spool;
    struct d1_load load;
    struct d1_load_wait wait;
    struct bnd_buf file;
    uint64_t shorter; /* than it was when it came: bytes */
    bool opened, ended;
};

/* ---- a file ---- */

static void put(struct world *world, const char *text) {
    bnd_buf_append_str(&world->file, text);
}

static void put_rows(struct world *world) {
    for (unsigned i = 0; i < ROWS; i++) {
        bnd_buf_printf(&world->file, "INSERT INTO many VALUES (%u, 'row %u; of the file''s');\n", i,
                       i * 7919 % ROWS);
    }
}

static void on_spooled(struct d1_spool *spool, int status, struct bnd_slice bytes) {
    struct world *world = spool->data;
    (void)bytes;
    assert_int_equal(status, 0);
    world->opened = true;
}

static void spool_file(struct world *world) {
    const struct d1_spool config = {.env = world->rig.env,
                                    .dir = world->rig.dir,
                                    .bytes_max = world->file.len,
                                    .cb = on_spooled,
                                    .data = world};
    world->opened = false;
    assert_int_equal(d1_spool_open(&config, &world->spool), 0);
    rig_run(&world->rig, rig_flag, &world->opened);
    world->opened = false;
    assert_int_equal(d1_spool_write(world->spool, bnd_buf_slice(&world->file)), 0);
    rig_run(&world->rig, rig_flag, &world->opened);
    assert_int_equal(world->spool->size, world->file.len);
    world->spool->size += world->shorter;
}

/* ---- an import ---- */

static void on_ended(struct d1_load_wait *wait) {
    struct world *world = wait->data;
    assert_false(world->ended);
    world->ended = true;
}

static void load_begin(struct world *world) {
    spool_file(world);
    world->load.env = world->rig.env;
    world->load.sql = world->rig.sql;
    world->load.front = &world->front;
    world->load.spool = world->spool;
    memcpy(world->load.uuid, uuid_a, sizeof uuid_a);
    world->wait = (struct d1_load_wait){.cb = on_ended, .data = world};
    world->ended = false;
    assert_int_equal(d1_load_start(&world->load), 0);
    assert_true(world->front.bytes > 0);
    d1_load_wait(&world->load, &world->wait);
}

static void load_end(struct world *world) {
    d1_load_free(&world->load);
    d1_spool_close(world->spool);
    bnd_buf_free(&world->file);
    world->load = (struct d1_load){0};
    world->shorter = 0;
    assert_int_equal(world->front.bytes, 0);
}

static void load(struct world *world) {
    load_begin(world);
    rig_run(&world->rig, rig_flag, &world->ended);
}

static const char *ask(struct world *world, const char *statements) {
    return rig_expect(&world->rig, uuid_a, statements, BND_SQL_DONE);
}

static bool says(struct world *world, const char *statements, const char *what) {
    return strstr(ask(world, statements), what) != NULL;
}

static void loads(struct world *world, uint64_t statements) {
    load(world);
    if (world->load.state != D1_LOADED) {
        fail_msg("%d: %.*s", world->load.status, (int)world->load.text.len,
                 (const char *)world->load.text.data);
    }
    assert_int_equal(world->load.statements, statements);
    struct bnd_sql_bookmark made = rig_bookmark(&world->rig, uuid_a);
    assert_memory_equal(&world->load.bookmark, &made, sizeof made);
    assert_true(says(world, "PRAGMA quick_check\0", "\"ok\""));
}

/* ---- whole ---- */

/* As D1's exports are, and one statement behind the last semicolon. */
static void a_file_becomes_the_database(void **state) {
    struct world *world = *state;
    put(world, "PRAGMA defer_foreign_keys=TRUE;\n"
               "CREATE TABLE child (p REFERENCES parent(id), c REFERENCES parent(c));\n"
               "INSERT INTO child VALUES (7, 'x');\n"
               "CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT);\n");
    put_rows(world);
    put(world, "CREATE TABLE parent (id INTEGER PRIMARY KEY, c);\n"
               "INSERT INTO parent VALUES (7, 'x');\n"
               "CREATE INDEX by_v ON many (v DESC);\n"
               "CREATE UNIQUE INDEX by_c ON parent (c);\n"
               "-- nothing; of the file\n"
               "CREATE TRIGGER g AFTER DELETE ON parent BEGIN DELETE FROM child; END;\n"
               "CREATE VIEW w AS SELECT 'all of it' AS v -- to here");
    loads(world, ROWS + 10);
    assert_true(world->load.size_bytes > ROWS * 20);
    load_end(world);
    assert_true(says(world, "SELECT v FROM w\0", "all of it"));
    assert_true(says(world, "SELECT sum(id) AS n FROM many INDEXED BY by_v WHERE v > ''\0",
                     "\"n\":199990000"));
    assert_true(says(world, "SELECT sum(id) AS n FROM many NOT INDEXED\0", "\"n\":199990000"));
    assert_true(says(world, "SELECT count(*) AS n FROM sqlite_schema WHERE sql LIKE '%WHERE 0%'\0",
                     "\"n\":0"));
    assert_true(says(world, "SELECT count(*) AS n FROM sqlite_schema\0", "\"n\":7"));
    (void)ask(world, "DELETE FROM parent\0");
    assert_true(says(world, "SELECT count(*) AS n FROM child\0", "\"n\":0"));
    (void)rig_expect(&world->rig, uuid_a, "INSERT INTO child VALUES (8, 'x')\0", BND_SQL_FAILED);
}

/* One index behind the other, each in more steps than one. */
static void indexes_are_filled_in_any_steps(void **state) {
    struct world *world = *state;
    put(world, "CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT);\n");
    put_rows(world);
    put(world, "CREATE INDEX by_v ON many (v);CREATE INDEX \"by \"\"both\" ON many (v DESC, id);");
    world->load.fill_rows_max = 7001;
    loads(world, ROWS + 3);
    load_end(world);
    static const char *const sums[] = {
        "SELECT sum(id) AS n FROM many INDEXED BY by_v WHERE v > ''\0",
        "SELECT sum(id) AS n FROM many INDEXED BY \"by \"\"both\" WHERE v > ''\0"};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        assert_true(says(world, sums[i], "\"n\":199990000"));
    }
}

/* A foreign key looks it up from its first row on. */
static void an_index_that_rows_need_is_there_before_them(void **state) {
    struct world *world = *state;
    put(world, "CREATE TABLE p (v);CREATE TABLE c (v REFERENCES p(v));INSERT INTO p VALUES (1);"
               "INSERT INTO c VALUES (1);CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT);\n");
    put_rows(world);
    put(world, "PRAGMA defer_foreign_keys = 1;CREATE UNIQUE INDEX i ON p(v);");
    loads(world, ROWS + 7);
    load_end(world);
}

/* ---- or not at all ---- */

/* Soon: what held it is being deleted. */
static void it_is_as_it_was(struct world *world) {
    struct rig_call call = {0};
    int status = BND_LOCKED;
    assert_true(says(world, "SELECT group_concat(name) AS v FROM sqlite_schema\0", "\"kept\""));
    for (int i = 0; i < 100 && status == BND_LOCKED; i++) {
        assert_int_equal(rig_ask(&world->rig, &call, uuid_a, "UPDATE kept SET v = v + 1\0"), 0);
        rig_run(&world->rig, rig_flag, &call.done);
        status = call.status;
    }
    free(call.text);
    assert_int_equal(status, 0);
}

static void fails(struct world *world, const char *why) {
    load(world);
    assert_int_equal(world->load.state, D1_LOAD_FAILED);
    assert_int_equal(world->load.status, 0);
    bnd_buf_u8(&world->load.text, 0);
    assert_string_equal((const char *)world->load.text.data, why);
    load_end(world);
    it_is_as_it_was(world);
}

#define UNIQUE_FAILED                                                                              \
    "UNIQUE constraint failed: many.id: SQLITE_CONSTRAINT (extended: "                             \
    "SQLITE_CONSTRAINT_PRIMARYKEY)"
#define LINK_FAILED                                                                                \
    "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)"

static void what_fails_changes_nothing(void **state) {
    static const struct {
        const char *text;
        const char *why;
    } files[] = {
        {"-- nothing\n ;; /* at all */", "No SQL statements detected."},
        {"CREATE TABLE t(v);INSERT INTO t VALUES('cut of",
         "unrecognized token: \"'cut of\" at offset 21: SQLITE_ERROR"},
        {"CREATE TABLE t(v);INSERT INTO t VALUES(", "incomplete input: SQLITE_ERROR"},
        {"CREATE TABLE p(id INTEGER PRIMARY KEY);CREATE TABLE c(p REFERENCES p(id));"
         "INSERT INTO c VALUES(1);INSERT INTO p VALUES(1);",
         LINK_FAILED},
        {"PRAGMA defer_foreign_keys = on;CREATE TABLE p(id INTEGER PRIMARY KEY);"
         "CREATE TABLE c(p REFERENCES p(id));INSERT INTO c VALUES(1);INSERT INTO p VALUES(2);",
         LINK_FAILED},
        {"CREATE TABLE t(a,b);INSERT INTO t VALUES(1,2);INSERT INTO t VALUES(1,2);"
         "CREATE UNIQUE INDEX i ON t(a,b);",
         "UNIQUE constraint failed: t.a, t.b: SQLITE_CONSTRAINT (extended: "
         "SQLITE_CONSTRAINT_UNIQUE)"},
    };
    struct world *world = *state;
    (void)ask(world, "CREATE TABLE kept(v)\0INSERT INTO kept VALUES(1)\0");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        put(world, files[i].text);
        fails(world, files[i].why);
    }
    put(world, "CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT);\n"); /* pieces behind it */
    put_rows(world);
    put(world, "INSERT INTO many VALUES (77, NULL);CREATE INDEX by_v ON many (v);");
    fails(world, UNIQUE_FAILED);
    put(world, "CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT);\n");
    put(world, "INSERT INTO many VALUES (1, 1);INSERT INTO many VALUES (1, 2);"); /* and before */
    put_rows(world);
    fails(world, UNIQUE_FAILED);
}

/* What is there of it could well be executed. */
static void a_file_that_ends_too_soon_is_none(void **state) {
    struct world *world = *state;
    (void)ask(world, "CREATE TABLE kept(v)\0INSERT INTO kept VALUES(1)\0");
    put(world, "CREATE TABLE t(v);INSERT INTO t VALUES(1);\n");
    world->shorter = 1;
    load(world);
    assert_int_equal(world->load.state, D1_LOAD_FAILED);
    assert_int_equal(world->load.status, BND_IO);
    load_end(world);
    it_is_as_it_was(world);
}

static bool has_executed(void *data) {
    const struct world *world = data;
    return world->load.rows_written > 0;
}

static void one_that_is_given_up_changes_nothing(void **state) {
    struct world *world = *state;
    (void)ask(world, "CREATE TABLE kept(v)\0INSERT INTO kept VALUES(1)\0");
    put(world, "CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT);\n");
    put_rows(world);
    load_begin(world);
    rig_run(&world->rig, has_executed, world);
    assert_int_equal(world->load.state, D1_LOADING);
    bnd_link_remove(&world->wait.link);
    load_end(world);
    assert_false(world->ended);
    it_is_as_it_was(world);
}

static int start(void **state) {
    static struct world world;
    world = (struct world){.rig.holds_time = true, .front.bytes_max = FRONT_BYTES};
    rig_start(&world.rig, 0);
    (void)ask(&world, "SELECT 1\0"); /* it is there, and empty */
    *state = &world;
    return 0;
}

#define TEST(name) RIG_TEST(name, start)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_file_becomes_the_database),
        TEST(indexes_are_filled_in_any_steps),
        TEST(an_index_that_rows_need_is_there_before_them),
        TEST(what_fails_changes_nothing),
        TEST(a_file_that_ends_too_soon_is_none),
        TEST(one_that_is_given_up_changes_nothing),
    };
    return cmocka_run_group_tests(tests, rig_library, NULL);
}
