/* The memory of a batch that lives long. */
#include "tests/unit/engine/io_test.h"

#include "engine/rocks/rocks.h"

#include <malloc.h>

#define PIECES 20u
#define PIECE_BYTES ((size_t)1 << 20)

struct counted {
    struct bnd_alloc_observer observer; /* first */
    size_t *live;
};

static void on_made(const struct bnd_alloc_observer *self, void *memory) {
    *((const struct counted *)self)->live += malloc_usable_size(memory);
}

static void on_freed(const struct bnd_alloc_observer *self, void *memory) {
    *((const struct counted *)self)->live -= malloc_usable_size(memory);
}

static void put(const struct bnd_state_ops *ops, struct bnd_state_batch *batch, unsigned number,
                struct bnd_slice value) {
    char key[8];
    (void)snprintf(key, sizeof key, "k%u", number);
    ops->batch_put(batch, BND_CF_KV, bnd_slice_str(key), value);
}

static void of_a_large_batch_none_stays(void **state) {
    char dir[] = "/var/tmp/bnd-batch-XXXXXX";
    char path[64];
    char command[96];
    size_t live = 0;
    const struct counted counted = {{.made = on_made, .freed = on_freed}, &live};
    BND_AUTO uint8_t *piece = bnd_zalloc(PIECE_BYTES);
    BND_AUTO_BUF struct bnd_buf out = {0};
    struct bnd_env *env = test_env(BND_IO_AUTO);
    struct bnd_state *store = NULL;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/state", dir);
    const struct bnd_rocks_config config = {
        .env = env, .dir = path, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    assert_int_equal(bnd_rocks_open(&config, &store, NULL), 0);
    const struct bnd_state_ops *ops = store->ops;
    struct bnd_state_batch *batch = ops->batch_create(store);

    (void)bnd_alloc_observe(&counted.observer);
    for (unsigned i = 0; i < PIECES; i++) {
        put(ops, batch, i, bnd_slice(piece, PIECE_BYTES));
    }
    size_t filled = live;
    ops->batch_clear(batch);
    (void)bnd_alloc_observe(NULL);
    assert_true(filled > PIECES * PIECE_BYTES);
    assert_true(live < PIECE_BYTES);

    put(ops, batch, 1, bnd_slice_str("small"));
    assert_int_equal(ops->write(store, batch), 0);
    ops->batch_destroy(batch);
    assert_int_equal(ops->get(store, BND_CF_KV, bnd_slice_str("k1"), &out), 0);
    assert_true(bnd_slice_eq(bnd_buf_slice(&out), bnd_slice_str("small")));
    ops->close(store);
    bnd_io_env_destroy(env);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_a_large_batch_none_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
