/* Files: every test on io_uring (if this system allows it) and on threads. */
#include "tests/unit/engine/io_test.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

struct world {
    struct bnd_env *env;
    char dir[64];
    int left;
    char logged[1100];
};

static void on_log(void *data, enum bnd_log_level level, const char *component, const char *line) {
    struct world *world = data;
    (void)snprintf(world->logged, sizeof world->logged, "%s", line);
}

static int setup(struct world *world, enum bnd_io_backend backend) {
    struct bnd_io_options options = {
        .backend = backend, .log = on_log, .log_data = world, .io_depth = 8, .io_queue_max = 300};
    (void)strcpy(world->dir, "/var/tmp/bnd-io-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    struct bnd_error err = {0};
    int rv = bnd_io_env_create(&options, &world->env, &err);
    if (rv != 0) {
        print_error("%s\n", err.message);
    }
    return rv;
}

static int setup_uring(void **state) {
    struct world *world = bnd_zalloc(sizeof *world);
    *state = world;
    if (setup(world, BND_IO_URING) == BND_UNSUPPORTED) {
        world->env = NULL;
    }
    return 0;
}

static int setup_threads(void **state) {
    struct world *world = bnd_zalloc(sizeof *world);
    *state = world;
    return setup(world, BND_IO_THREADS);
}

static int remove_one(void *data, const char *name) {
    struct world *world = data;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", world->dir, name);
    struct bnd_error err;
    int rv = world->env->ops->unlink(world->env, path, &err);
    if (rv != 0) {
        assert_int_equal(rmdir(path), 0);
    }
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    if (world->env != NULL) {
        assert_int_equal(world->env->ops->dir_list(world->env, world->dir, remove_one, world, NULL),
                         0);
        bnd_io_env_destroy(world->env);
    }
    assert_int_equal(rmdir(world->dir), 0);
    bnd_free(world);
    return 0;
}

static struct world *world_of(void **state) {
    struct world *world = *state;
    if (world->env == NULL) {
        skip();
    }
    return world;
}

static struct bnd_file *open_in(struct world *world, const char *name, unsigned flags) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", world->dir, name);
    struct bnd_file *file = NULL;
    struct bnd_error err = {0};
    if (world->env->ops->file_open(world->env, path, flags, &file, &err) != 0) {
        fail_msg("%s", err.message);
    }
    return file;
}

#define RDWR (BND_OPEN_READ | BND_OPEN_WRITE | BND_OPEN_CREATE)

struct op {
    struct bnd_io io;
    struct world *world;
    int status;
    size_t bytes;
    int answers;
};

static void on_op(struct bnd_io *io, int status, size_t bytes) {
    struct op *op = io->data;
    op->status = status;
    op->bytes = bytes;
    op->answers++;
    if (--op->world->left == 0) {
        bnd_io_env_stop(op->world->env);
    }
}

static void op_init(struct op *op, struct world *world) {
    *op = (struct op){.world = world, .io = {.cb = on_op, .data = op}};
    world->left++;
}

static void writes_are_read_back_and_reads_stop_at_the_end(void **state) {
    struct world *world = world_of(state);
    const struct bnd_env_ops *ops = world->env->ops;
    struct bnd_file *file = open_in(world, "f", RDWR);
    enum { COUNT = 100, LEN = 10000 };
    uint8_t *data = bnd_alloc(COUNT * LEN);
    for (int i = 0; i < COUNT * LEN; i++) {
        data[i] = (uint8_t)(i * 7 + i / 251);
    }
    struct op ops_io[COUNT];
    for (int i = 0; i < COUNT; i++) { /* far more than the depth of 8 */
        op_init(&ops_io[i], world);
        struct bnd_iov iov = {.data = data + i * LEN, .len = LEN};
        assert_int_equal(ops->file_write(world->env, file, &ops_io[i].io, iov, (uint64_t)i * LEN,
                                         i % 10 == 0 ? BND_WRITE_DSYNC : 0),
                         0);
        assert_int_equal(ops_io[i].answers, 0);
    }
    bnd_io_env_run(world->env);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(ops_io[i].status, 0);
        assert_int_equal(ops_io[i].bytes, LEN);
        assert_int_equal(ops_io[i].answers, 1);
    }
    uint8_t *back = bnd_zalloc(COUNT * LEN + 5000);
    struct op read_op;
    op_init(&read_op, world);
    struct bnd_iov iov = {.data = back, .len = COUNT * LEN + 5000};
    assert_int_equal(ops->file_read(world->env, file, &read_op.io, iov, 0), 0);
    bnd_io_env_run(world->env);
    assert_int_equal(read_op.status, 0);
    assert_int_equal(read_op.bytes, COUNT * LEN);
    assert_memory_equal(back, data, COUNT * LEN);
    op_init(&read_op, world); /* wholly past the end */
    assert_int_equal(ops->file_read(world->env, file, &read_op.io, iov, COUNT * LEN), 0);
    struct op sync_op;
    op_init(&sync_op, world);
    assert_int_equal(ops->file_datasync(world->env, file, &sync_op.io), 0);
    bnd_io_env_run(world->env);
    assert_int_equal(read_op.status, 0);
    assert_int_equal(read_op.bytes, 0);
    assert_int_equal(sync_op.status, 0);
    ops->file_close(world->env, file);
    bnd_free(data);
    bnd_free(back);
}

static void direct_writes_are_durable_and_direct_reads_end_at_an_odd_size(void **state) {
    struct world *world = world_of(state);
    const struct bnd_env_ops *ops = world->env->ops;
    struct bnd_file *file = open_in(world, "d", RDWR | BND_OPEN_DIRECT);
    uint8_t *data = bnd_alloc_aligned(BND_DIRECT_ALIGN, 4 * BND_DIRECT_ALIGN);
    memset(data, 0xa5, 4 * BND_DIRECT_ALIGN);
    struct op op;
    op_init(&op, world);
    struct bnd_iov iov = {.data = data, .len = 2 * BND_DIRECT_ALIGN};
    assert_int_equal(ops->file_write(world->env, file, &op.io, iov, 0, BND_WRITE_DSYNC), 0);
    bnd_io_env_run(world->env);
    assert_int_equal(op.status, 0);
    assert_int_equal(op.bytes, 2 * BND_DIRECT_ALIGN);
    assert_int_equal(ops->file_truncate(world->env, file, 5000, NULL), 0);
    uint64_t size = 0;
    assert_int_equal(ops->file_size(world->env, file, &size, NULL), 0);
    assert_int_equal(size, 5000);
    memset(data, 0, 4 * BND_DIRECT_ALIGN);
    op_init(&op, world);
    iov.len = 4 * BND_DIRECT_ALIGN;
    assert_int_equal(ops->file_read(world->env, file, &op.io, iov, 0), 0);
    bnd_io_env_run(world->env);
    assert_int_equal(op.status, 0);
    assert_int_equal(op.bytes, 5000);
    assert_int_equal(data[4999], 0xa5);
    size_t got = 0;
    assert_int_equal(ops->file_pread(world->env, file, data, iov.len, 0, &got, NULL), 0);
    assert_int_equal(got, 5000);
    ops->file_close(world->env, file);
    bnd_free(data);
}

static void the_queue_is_bounded(void **state) {
    struct world *world = world_of(state);
    struct bnd_file *file = open_in(world, "q", RDWR);
    static uint8_t bytes[16];
    struct op *all = bnd_calloc(301, sizeof *all);
    for (int i = 0; i < 301; i++) {
        op_init(&all[i], world);
        struct bnd_iov iov = {.data = bytes, .len = sizeof bytes};
        assert_int_equal(
            world->env->ops->file_write(world->env, file, &all[i].io, iov, (uint64_t)i * 16, 0),
            i < 300 ? 0 : BND_FULL);
    }
    world->left--;
    bnd_io_env_run(world->env);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(all[i].status, 0);
    }
    assert_int_equal(all[300].answers, 0);
    world->env->ops->file_close(world->env, file);
    bnd_free(all);
}

static void errors_name_the_call_the_path_and_the_reason(void **state) {
    struct world *world = world_of(state);
    const struct bnd_env_ops *ops = world->env->ops;
    struct bnd_file *file = NULL;
    struct bnd_error err = {0};
    assert_int_equal(ops->file_open(world->env, "/nonexistent/x", BND_OPEN_READ, &file, &err),
                     BND_NOTFOUND);
    assert_string_equal(err.message, "open /nonexistent/x: No such file or directory");
    assert_null(file);
    file = open_in(world, "e", RDWR | BND_OPEN_EXCLUSIVE);
    ops->file_close(world->env, file);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/e", world->dir);
    assert_int_equal(ops->file_open(world->env, path, RDWR | BND_OPEN_EXCLUSIVE, &file, &err),
                     BND_EXISTS);
    file = open_in(world, "e", BND_OPEN_READ);
    struct op op;
    op_init(&op, world);
    char byte = 1;
    assert_int_equal(
        ops->file_write(world->env, file, &op.io, (struct bnd_iov){.data = &byte, .len = 1}, 0, 0),
        0);
    bnd_io_env_run(world->env);
    assert_int_equal(op.status, BND_IO);
    assert_non_null(strstr(world->logged, "write "));
    assert_non_null(strstr(world->logged, path));
    assert_non_null(strstr(world->logged, "Bad file descriptor"));
    ops->file_close(world->env, file);
}

static void a_full_disk_is_told_as_such(void **state) {
    struct world *world = world_of(state);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/small", world->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    if (mount("tmpfs", path, "tmpfs", 0, "size=256k") != 0) {
        skip(); /* needs the right to mount */
    }
    struct bnd_file *file = open_in(world, "small/f", RDWR);
    enum { LEN = 1 << 20 };
    uint8_t *data = bnd_zalloc(LEN);
    struct op op;
    op_init(&op, world);
    struct bnd_iov iov = {.data = data, .len = LEN};
    assert_int_equal(world->env->ops->file_write(world->env, file, &op.io, iov, 0, 0), 0);
    bnd_io_env_run(world->env);
    assert_int_equal(op.status, BND_NOSPACE);
    assert_non_null(strstr(world->logged, "No space left on device"));
    struct bnd_error err = {0};
    assert_int_equal(world->env->ops->file_pwrite(world->env, file, data, LEN, 0, &err),
                     BND_NOSPACE);
    assert_non_null(strstr(err.message, "small/f"));
    assert_non_null(strstr(err.message, "No space left on device"));
    uint64_t free_bytes = 1;
    uint64_t total = 0;
    assert_int_equal(world->env->ops->disk_space(world->env, path, &free_bytes, &total, NULL), 0);
    assert_int_equal(total, 256 * 1024);
    assert_int_equal(free_bytes, 0);
    world->env->ops->file_close(world->env, file);
    bnd_free(data);
    assert_int_equal(umount(path), 0);
}

static int collect(void *data, const char *name) {
    (void)strcat(data, name);
    (void)strcat(data, ",");
    return strcmp(name, "stop") == 0 ? BND_BUSY : 0;
}

static void directories_are_made_listed_in_order_and_synced(void **state) {
    struct world *world = world_of(state);
    const struct bnd_env_ops *ops = world->env->ops;
    static const char *const names[] = {"b", "a", "Z", "a1"};
    for (int i = 0; i < 4; i++) {
        ops->file_close(world->env, open_in(world, names[i], RDWR));
    }
    char path[128];
    char other[128];
    (void)snprintf(path, sizeof path, "%s/sub", world->dir);
    assert_int_equal(ops->dir_make(world->env, path, NULL), 0);
    assert_int_equal(ops->dir_make(world->env, path, NULL), 0);
    char seen[256] = "";
    assert_int_equal(ops->dir_list(world->env, world->dir, collect, seen, NULL), 0);
    assert_string_equal(seen, "Z,a,a1,b,sub,");
    (void)snprintf(path, sizeof path, "%s/b", world->dir);
    (void)snprintf(other, sizeof other, "%s/stop", world->dir);
    assert_int_equal(ops->dir_make(world->env, path, NULL), BND_EXISTS); /* a file */
    assert_int_equal(ops->rename(world->env, path, other, NULL), 0);
    assert_int_equal(ops->dir_sync(world->env, world->dir, NULL), 0);
    seen[0] = 0;
    assert_int_equal(ops->dir_list(world->env, world->dir, collect, seen, NULL), BND_BUSY);
    assert_string_equal(seen, "Z,a,a1,stop,");
    struct bnd_error err = {0};
    assert_int_equal(ops->unlink(world->env, path, &err), BND_NOTFOUND);
    assert_int_equal(ops->dir_list(world->env, "/nonexistent", collect, seen, &err), BND_NOTFOUND);
}

static void blocking_calls_move_everything(void **state) {
    struct world *world = world_of(state);
    const struct bnd_env_ops *ops = world->env->ops;
    struct bnd_file *file = open_in(world, "p", RDWR);
    assert_int_equal(ops->file_pwrite(world->env, file, "hello world", 11, 100, NULL), 0);
    assert_int_equal(ops->file_sync(world->env, file, NULL), 0);
    char out[32] = {0};
    size_t got = 0;
    assert_int_equal(ops->file_pread(world->env, file, out, sizeof out, 106, &got, NULL), 0);
    assert_int_equal(got, 5);
    assert_string_equal(out, "world");
    ops->file_close(world->env, file);
}

static void destroy_answers_every_request(void **state) {
    struct world *world = world_of(state);
    enum bnd_io_backend backend = bnd_io_env_backend(world->env);
    const struct bnd_env_ops *ops = world->env->ops;
    struct bnd_file *file = open_in(world, "c", RDWR);
    static uint8_t bytes[4096];
    struct op all[64];
    for (int i = 0; i < 64; i++) {
        op_init(&all[i], world);
        struct bnd_iov iov = {.data = bytes, .len = sizeof bytes};
        assert_int_equal(ops->file_write(world->env, file, &all[i].io, iov, 0, 0), 0);
    }
    world->left++; /* the answers of an env that ends do not stop it */
    bnd_io_env_stop(world->env);
    bnd_io_env_run(world->env); /* some reach the kernel; run waits for those */
    bnd_io_env_destroy(world->env);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(all[i].answers, 1);
        assert_true(all[i].status == 0 || all[i].status == BND_CANCELED);
    }
    world->env = test_env(backend);
    ops->file_close(world->env, file);
}

#define BOTH(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, setup_uring, teardown),                                  \
        cmocka_unit_test_setup_teardown(test, setup_threads, teardown)

int main(void) {
    (void)alarm(120);
    const struct CMUnitTest tests[] = {
        BOTH(writes_are_read_back_and_reads_stop_at_the_end),
        BOTH(direct_writes_are_durable_and_direct_reads_end_at_an_odd_size),
        BOTH(the_queue_is_bounded),
        BOTH(errors_name_the_call_the_path_and_the_reason),
        BOTH(a_full_disk_is_told_as_such),
        BOTH(directories_are_made_listed_in_order_and_synced),
        BOTH(blocking_calls_move_everything),
        BOTH(destroy_answers_every_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
