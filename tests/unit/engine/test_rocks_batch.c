/* Batches that live long: their memory, one read over another, a thread that writes one. */
#include "tests/unit/engine/io_test.h"

#include "engine/rocks/rocks.h"

#include <malloc.h>
#include <pthread.h>

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

struct world {
    char dir[32];
    struct bnd_env *env;
    struct bnd_state *store;
};

static void world_open(struct world *world) {
    char path[64];
    *world = (struct world){.dir = "/var/tmp/bnd-batch-XXXXXX", .env = test_env(BND_IO_AUTO)};
    assert_non_null(mkdtemp(world->dir));
    (void)snprintf(path, sizeof path, "%s/state", world->dir);
    const struct bnd_rocks_config config = {
        .env = world->env, .dir = path, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    assert_int_equal(bnd_rocks_open(&config, &world->store, NULL), 0);
}

static void world_close(struct world *world) {
    char command[96];
    world->store->ops->close(world->store);
    bnd_io_env_destroy(world->env);
    (void)snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
}

static void of_a_large_batch_none_stays(void **state) {
    struct world world;
    size_t live = 0;
    const struct counted counted = {{.made = on_made, .freed = on_freed}, &live};
    BND_AUTO uint8_t *piece = bnd_zalloc(PIECE_BYTES);
    BND_AUTO_BUF struct bnd_buf out = {0};
    world_open(&world);
    struct bnd_state *store = world.store;
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
    world_close(&world);
}

/* `key` as the batch has it: `value`, or NULL: it is not there. */
static void expect(struct bnd_state_batch *batch, const struct bnd_state_ops *ops, const char *key,
                   const char *value) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    int rv = ops->batch_get(batch, BND_CF_KV, bnd_slice_str(key), &out);
    assert_int_equal(rv, value == NULL ? BND_NOTFOUND : 0);
    assert_true(value == NULL || bnd_slice_eq(bnd_buf_slice(&out), bnd_slice_str(value)));
}

static void a_batch_is_read_over_another(void **state) {
    struct world world;
    world_open(&world);
    struct bnd_state *store = world.store;
    const struct bnd_state_ops *ops = store->ops;
    struct bnd_state_batch *below = ops->batch_create(store);
    struct bnd_state_batch *batch = ops->batch_create(store);
    put(ops, batch, 0, bnd_slice_str("state"));
    put(ops, batch, 3, bnd_slice_str("state"));
    assert_int_equal(ops->write(store, batch), 0);
    ops->batch_clear(batch);
    put(ops, below, 1, bnd_slice_str("below"));
    put(ops, below, 2, bnd_slice_str("below"));
    ops->batch_delete(below, BND_CF_KV, bnd_slice_str("k3"));
    ops->batch_over(batch, below);
    ops->batch_delete(batch, BND_CF_KV, bnd_slice_str("k1"));
    expect(batch, ops, "k0", "state");
    expect(batch, ops, "k1", NULL);
    expect(batch, ops, "k2", "below");
    expect(batch, ops, "k3", NULL);
    assert_int_equal(ops->write(store, below), 0);
    expect(batch, ops, "k2", "below"); /* from either */
    ops->batch_over(batch, NULL);
    ops->batch_clear(below);
    expect(batch, ops, "k2", "below");
    expect(batch, ops, "k3", NULL);
    assert_int_equal(ops->write(store, batch), 0);
    ops->batch_clear(batch);
    expect(batch, ops, "k1", NULL);
    ops->batch_destroy(batch);
    ops->batch_destroy(below);
    world_close(&world);
}

/* ---- a thread that writes ---- */

#define ROUNDS 200u

struct writer {
    struct bnd_state *store;
    struct bnd_state_batch *batch;
    int status;
};

static void *write_batch(void *data) {
    struct writer *writer = data;
    writer->status = writer->store->ops->write(writer->store, writer->batch);
    return NULL;
}

/* What a thread writes is read meanwhile, and others write: none is lost. */
static void a_thread_writes_while_others_do(void **state) {
    struct world world;
    world_open(&world);
    struct bnd_state *store = world.store;
    const struct bnd_state_ops *ops = store->ops;
    struct bnd_state_batch *below = ops->batch_create(store);
    struct bnd_state_batch *batch = ops->batch_create(store);
    struct bnd_state_batch *other = ops->batch_create(store);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char text[8];
        pthread_t thread;
        (void)snprintf(text, sizeof text, "%u", round);
        for (unsigned i = 0; i < 50; i++) {
            put(ops, below, i, bnd_slice_str(text));
        }
        ops->batch_over(batch, below);
        struct writer writer = {.store = store, .batch = below};
        assert_int_equal(pthread_create(&thread, NULL, write_batch, &writer), 0);
        put(ops, other, 100 + round, bnd_slice_str(text));
        assert_int_equal(ops->write(store, other), 0);
        ops->batch_clear(other);
        for (unsigned i = 0; i < 50; i++) {
            char key[8];
            (void)snprintf(key, sizeof key, "k%u", i);
            expect(batch, ops, key, text);
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(writer.status, 0);
        ops->batch_over(batch, NULL);
        ops->batch_clear(below);
        expect(batch, ops, "k49", text);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        char key[8];
        char text[8];
        (void)snprintf(key, sizeof key, "k%u", 100 + round);
        (void)snprintf(text, sizeof text, "%u", round);
        expect(batch, ops, key, text);
    }
    ops->batch_destroy(other);
    ops->batch_destroy(batch);
    ops->batch_destroy(below);
    world_close(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_a_large_batch_none_stays),
                                       cmocka_unit_test(a_batch_is_read_over_another),
                                       cmocka_unit_test(a_thread_writes_while_others_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
