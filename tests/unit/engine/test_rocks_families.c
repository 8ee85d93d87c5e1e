/* A store that a program wrote which did not know all families: it opens, to be read and to be
 * written. */
#include "tests/unit/engine/io_test.h"

#include "engine/rocks/rocks.h"

#include <rocksdb/c.h>

static struct bnd_slice str(const char *text) {
    return bnd_slice_str(text);
}

/* What the program before a family left: the store without it. */
static void drop_family(const char *path, const char *name) {
    char dir[120];
    size_t count = 0;
    char *text = NULL;
    rocksdb_column_family_handle_t *handles[16];
    const rocksdb_options_t *options[16];
    (void)snprintf(dir, sizeof dir, "%s/rocks", path);
    rocksdb_options_t *plain = rocksdb_options_create();
    char **names = rocksdb_list_column_families(plain, dir, &count, &text);
    assert_null(text);
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++) {
        options[i] = plain;
    }
    rocksdb_t *db = rocksdb_open_column_families(plain, dir, (int)count, (const char **)names,
                                                 options, handles, &text);
    assert_null(text);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            rocksdb_drop_column_family(db, handles[i], &text);
            assert_null(text);
        }
        rocksdb_column_family_handle_destroy(handles[i]);
    }
    rocksdb_close(db);
    rocksdb_list_column_families_destroy(names, count);
    rocksdb_options_destroy(plain);
}

static void write_one(struct bnd_state *state, enum bnd_state_cf cf, const char *value) {
    struct bnd_state_batch *batch = state->ops->batch_create(state);
    state->ops->batch_put(batch, cf, str("key"), str(value));
    assert_int_equal(state->ops->write(state, batch), 0);
    state->ops->batch_destroy(batch);
}

/* want NULL: not found, by a get and by an iterator. */
static void expect(struct bnd_state *state, enum bnd_state_cf cf, const char *want) {
    struct bnd_buf out = {0};
    assert_int_equal(state->ops->get(state, cf, str("key"), &out), want == NULL ? BND_NOTFOUND : 0);
    struct bnd_state_iter *iter = state->ops->iter(state, cf, str("a"), str("z"));
    assert_non_null(iter);
    assert_int_equal(state->ops->iter_valid(iter), want != NULL);
    assert_int_equal(state->ops->iter_status(iter), 0);
    if (want != NULL) {
        assert_true(bnd_slice_eq(bnd_buf_slice(&out), str(want)));
        assert_true(bnd_slice_eq(state->ops->iter_value(iter), str(want)));
    }
    state->ops->iter_seek(iter, str("b"));
    state->ops->iter_destroy(iter);
    bnd_buf_free(&out);
}

static struct bnd_state *open_store(struct bnd_env *env, const char *path, bool read_only) {
    struct bnd_rocks_config config = {
        .env = env, .dir = path, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    struct bnd_state *state = NULL;
    struct bnd_error err = {0};
    int rv = read_only ? bnd_rocks_open_read_only(env, path, &state, &err)
                       : bnd_rocks_open(&config, &state, &err);
    if (rv != 0) {
        fail_msg("%s", err.message);
    }
    return state;
}

static void a_store_older_than_a_family_opens(void **state) {
    char dir[] = "/var/tmp/bnd-families-XXXXXX";
    char path[64];
    char command[96];
    struct bnd_env *env = test_env(BND_IO_AUTO);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/state", dir);
    struct bnd_state *store = open_store(env, path, false);
    write_one(store, BND_CF_OBJECTS, "value");
    store->ops->close(store); /* persists */
    drop_family(path, "sql");

    struct bnd_state *look = open_store(env, path, true);
    expect(look, BND_CF_OBJECTS, "value");
    expect(look, BND_CF_SQL, NULL);
    look->ops->close(look);

    store = open_store(env, path, false);
    expect(store, BND_CF_OBJECTS, "value");
    write_one(store, BND_CF_SQL, "page");
    expect(store, BND_CF_SQL, "page");
    store->ops->close(store);
    bnd_io_env_destroy(env);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_store_older_than_a_family_opens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
