/* A file of level 0 that cannot be opened, beside one with a dropped range: the store is refused,
 * and can still be looked at. */
#include "tests/unit/engine/io_test.h"

#include "engine/rocks/rocks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define VALUE "what the damaged file holds"

struct place {
    struct bnd_env *env;
    char dir[40], state[64];
};

static struct bnd_slice str(const char *text) {
    return bnd_slice_str(text);
}

static int setup(void **state) {
    struct place *place = bnd_zalloc(sizeof *place);
    (void)snprintf(place->dir, sizeof place->dir, "/var/tmp/bnd-damage-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    (void)snprintf(place->state, sizeof place->state, "%s/state", place->dir);
    place->env = test_env(BND_IO_AUTO);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", place->dir);
    assert_int_equal(system(command), 0);
    bnd_io_env_destroy(place->env);
    bnd_free(place);
    return 0;
}

static int open_store(struct place *place, struct bnd_state **out, struct bnd_error *err) {
    struct bnd_rocks_config config = {
        .env = place->env, .dir = place->state, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    return bnd_rocks_open(&config, out, err);
}

static struct bnd_state *opened(struct place *place) {
    struct bnd_state *store = NULL;
    struct bnd_error err = {0};
    if (open_store(place, &store, &err) != 0) {
        fail_msg("%s", err.message);
    }
    return store;
}

/* A file with a value, then a newer one with a dropped range: both stay in level 0. */
static void fill(struct place *place) {
    struct bnd_state *store = opened(place);
    struct bnd_state_batch *batch = store->ops->batch_create(store);
    store->ops->batch_put(batch, BND_CF_OBJECTS, str("key"), str(VALUE));
    assert_int_equal(store->ops->write(store, batch), 0);
    store->ops->batch_destroy(batch);
    store->ops->close(store); /* persists */
    store = opened(place);
    assert_int_equal(store->ops->drop_range(store, str("a"), str("b")), 0);
    store->ops->close(store);
}

/* Makes way with the last bytes of the one table that holds VALUE. */
static void damage(struct place *place, void (*how)(const char *path, off_t size)) {
    char path[400];
    int found = 0;
    (void)snprintf(path, sizeof path, "%s/rocks", place->state);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char content[8192];
        if (strstr(entry->d_name, ".sst") == NULL) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/rocks/%s", place->state, entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t size = read(fd, content, sizeof content);
        close(fd);
        assert_true(size > 0 && size < (ssize_t)sizeof content);
        if (memmem(content, (size_t)size, VALUE, strlen(VALUE)) != NULL) {
            how(path, size);
            found++;
        }
    }
    closedir(dir);
    assert_int_equal(found, 1);
}

static void cut_off(const char *path, off_t size) {
    assert_int_equal(truncate(path, size - 100), 0);
}

static void overwrite(const char *path, off_t size) {
    static const uint8_t wrong[16] = {1, 2, 3};
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, wrong, sizeof wrong, size - (off_t)sizeof wrong), sizeof wrong);
    close(fd);
}

static int list(struct bnd_state *store, enum bnd_state_cf cf, bool *out_any) {
    struct bnd_state_iter *iter = store->ops->iter(store, cf, str("a"), str("z"));
    assert_non_null(iter);
    store->ops->iter_seek(iter, str("c"));
    *out_any = store->ops->iter_valid(iter);
    int rv = store->ops->iter_status(iter);
    store->ops->iter_destroy(iter);
    return rv;
}

static void check(struct place *place) {
    struct bnd_state *store = NULL;
    struct bnd_error err = {0};
    assert_int_equal(open_store(place, &store, &err), BND_CORRUPT);
    assert_non_null(strstr(err.message, "state: open: "));
    assert_non_null(strstr(err.message, ".sst"));

    bool any = true;
    struct bnd_buf out = {0};
    assert_int_equal(bnd_rocks_open_read_only(place->env, place->state, &store, &err), 0);
    assert_int_equal(list(store, BND_CF_OBJECTS, &any), BND_CORRUPT);
    assert_false(any);
    assert_int_equal(store->ops->get(store, BND_CF_OBJECTS, str("key"), &out), BND_CORRUPT);
    assert_int_equal(list(store, BND_CF_SQL, &any), 0); /* has no part in it */
    bnd_buf_free(&out);
    store->ops->close(store);
}

static void a_table_cut_off_is_not_listed(void **state) {
    fill(*state);
    damage(*state, cut_off);
    check(*state);
}

static void a_table_without_a_footer_is_not_listed(void **state) {
    fill(*state);
    damage(*state, overwrite);
    check(*state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_table_cut_off_is_not_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_without_a_footer_is_not_listed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
