/* `bindery inspect state` on a store with records that nothing of ours writes: each is told once, and
 * what comes after it is still shown. tests/cluster/test_cli.py looks at a node's own state. */
#include "base/alloc.h"
#include "engine/io/io.h"
#include "engine/rocks/rocks.h"
#include "sql/records.h"
#include "tools/inspect_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SEAL "s\0\0\0\0\0\0\0\1" /* of bucket 1: see SPEC.md, "Objects" */

struct world {
    struct bnd_env *env;
    struct bnd_state *state;
    char dir[64];
    char text[8192]; /* what was printed, a line each */
};

static int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    struct bnd_error err = {0};
    assert_non_null(world);
    (void)strcpy(world->dir, "/var/tmp/bnd-inspect-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    assert_int_equal(bnd_io_env_create(NULL, &world->env, &err), 0);
    struct bnd_rocks_config config = {
        .env = world->env, .dir = world->dir, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    assert_int_equal(bnd_rocks_open(&config, &world->state, &err), 0);
    *state = world;
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    char command[128];
    world->state->ops->close(world->state);
    bnd_io_env_destroy(world->env);
    (void)snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static void put(struct world *world, struct bnd_slice key) {
    static const uint8_t seal[9] = {7}; /* attempt 7, open */
    const struct bnd_state_ops *ops = world->state->ops;
    struct bnd_state_batch *batch = ops->batch_create(world->state);
    ops->batch_put(batch, BND_CF_OBJECTS, key, bnd_slice(seal, sizeof seal));
    assert_int_equal(ops->write(world->state, batch), 0);
    ops->batch_destroy(batch);
}

static void take_line(void *data, const char *line) {
    struct world *world = data;
    size_t len = strlen(world->text);
    (void)snprintf(world->text + len, sizeof world->text - len, "%s\n", line);
}

static size_t count(const char *text, const char *what) {
    size_t found = 0;
    for (; (text = strstr(text, what)) != NULL; text++) {
        found++;
    }
    return found;
}

static void test_keys_without_a_record(void **state) {
    struct world *world = *state;
    struct bnd_error err = {0};
    put(world, bnd_slice("\0\0\0\xff" SEAL, 13));
    put(world, bnd_slice("\0\0\1", 3)); /* in the range of slot 255, and no slot */
    put(world, bnd_slice("\0\0\1\2", 4));
    put(world, bnd_slice("\0\0\1\3" SEAL, 13));
    struct tools_state_look look = {
        .state = world->state, .records = true, .print = take_line, .data = world};
    assert_int_equal(tools_inspect_state(&look, &err), BND_CORRUPT);
    assert_string_equal(err.message, "2 records or files are damaged");
    assert_int_equal(count(world->text, "DAMAGED: objects: %00%00%01: a key that ends"), 1);
    assert_int_equal(count(world->text, "DAMAGED: objects: %00%00%01%02: a key that ends"), 1);
    assert_int_equal(count(world->text, "DAMAGED"), 2);
    assert_int_equal(count(world->text, "seal of bucket 1: attempt 7, open"), 2);
    assert_non_null(strstr(world->text, "slot 255\n"));
    assert_non_null(strstr(world->text, "slot 259\n"));
}

static void put_sql(struct world *world, const struct sql_key *key, struct bnd_buf *value) {
    const struct bnd_state_ops *ops = world->state->ops;
    struct bnd_state_batch *batch = ops->batch_create(world->state);
    ops->batch_put(batch, BND_CF_SQL, sql_key_slice(key), bnd_buf_slice(value));
    assert_int_equal(ops->write(world->state, batch), 0);
    ops->batch_destroy(batch);
    bnd_buf_reset(value);
}

static void test_records_of_sql(void **state) {
    struct world *world = *state;
    struct bnd_error err = {0};
    struct bnd_buf value = {0};
    struct sql_key key;
    static const uint8_t uuid[BND_SQL_UUID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t spans[] = {10, 0, 1};
    const struct sql_database_row database = {
        .record = {
            .state = SQL_DATABASE_LIVE, .number = 5, .version = 77, .page_count = 9, .cutoff = 64}};
    const struct sql_epoch_row epoch = {4, 0, 60, 61, 0, 65};
    const struct sql_pass_row pass = {.number = 5, .cutoff = 65, .section = SQL_SECTION_PAGES};
    const struct sql_page_value page = {
        .form = SQL_PAGE_SPANS, .place = 2, .row_bytes = 90, .bytes = bnd_slice(spans, 3)};
    sql_key_database(&key, 2, uuid);
    sql_database_encode(&value, &key, &database);
    put_sql(world, &key, &value);
    sql_key_pair(&key, 2, SQL_TAG_EPOCH, 5, 0);
    sql_epoch_encode(&value, &key, &epoch);
    put_sql(world, &key, &value);
    sql_key_tag(&key, 2, SQL_TAG_PASS);
    sql_pass_encode(&value, &key, &pass);
    put_sql(world, &key, &value);
    sql_key_page(&key, 2, 5, 6, 0, 70);
    sql_page_value_encode(&value, &key, &page);
    put_sql(world, &key, &value);
    sql_page_value_encode(&value, &key, &page);
    sql_key_page(&key, 2, 5, 7, 0, 70); /* another page's */
    put_sql(world, &key, &value);
    struct tools_state_look look = {
        .state = world->state, .records = true, .print = take_line, .data = world};
    assert_int_equal(tools_inspect_state(&look, &err), BND_CORRUPT);
    assert_int_equal(count(world->text, "DAMAGED: sql: p%00%00%00%05%00%00%00%07"), 1);
    assert_int_equal(count(world->text, "DAMAGED"), 1);
    assert_non_null(strstr(world->text, "database 01020304-0506-0708-0000-000000000000: number 5"));
    assert_non_null(strstr(world->text, "kept from version 64 on"));
    assert_non_null(
        strstr(world->text, "over number 4 epoch 0 version 60, to be read from version 65 on"));
    assert_non_null(strstr(world->text, "number 5: what is not kept is deleted, now of its pages"));
    assert_non_null(strstr(world->text, "number 5 page 6 epoch 0 version 70: spans of 3 bytes"));
    assert_non_null(strstr(world->text, "sql: 1 databases, 1 epochs, 1 versions of pages"));
    bnd_buf_free(&value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys_without_a_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_of_sql, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
