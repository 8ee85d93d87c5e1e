/* Uploads on disk: what was written is read back, and no name is left of it, however it ends. */
#include "gateway/d1/spool.h"

#include "base/alloc.h"
#include "engine/io/io.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PIECE (64u << 10)
#define PIECES 5u /* more than one read */

struct world {
    struct bnd_env *env;
    char dir[64];
    struct d1_spool *spool;
    uint8_t piece[PIECE];
    unsigned written;
    uint64_t read;
    int status;
    bool close_when_open;
};

static int setup(void **state) {
    struct world *world = bnd_zalloc(sizeof *world);
    struct bnd_error err = {0};
    (void)snprintf(world->dir, sizeof world->dir, "/var/tmp/bnd-spool-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    assert_int_equal(bnd_io_env_create(NULL, &world->env, &err), 0);
    *state = world;
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    DIR *dir = opendir(world->dir);
    size_t entries = 0;
    bnd_io_env_destroy(world->env); /* whatever was being closed is closed */
    while (readdir(dir) != NULL) {
        entries++;
    }
    (void)closedir(dir);
    assert_int_equal(entries, 2); /* itself and its parent */
    assert_int_equal(rmdir(world->dir), 0);
    bnd_free(world);
    return 0;
}

static void stop(struct world *world, int status) {
    world->status = status;
    bnd_io_env_stop(world->env);
}

static uint8_t byte_at(uint64_t offset) {
    return (uint8_t)(offset / PIECE * 7 + offset % 251);
}

static void on_read(struct d1_spool *spool, int status, struct bnd_slice bytes) {
    struct world *world = spool->data;
    if (status != 0 || bytes.len == 0) {
        stop(world, status);
        return;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        assert_int_equal(bytes.data[i], byte_at(world->read + i));
    }
    world->read += bytes.len;
    assert_int_equal(d1_spool_read(spool, world->read), 0);
}

static void on_written(struct d1_spool *spool, int status, struct bnd_slice bytes) {
    struct world *world = spool->data;
    assert_int_equal(bytes.len, 0);
    if (status != 0 || world->close_when_open) {
        stop(world, status);
        return;
    }
    assert_int_equal(spool->size, (uint64_t)world->written * PIECE);
    if (world->written == PIECES) {
        spool->cb = on_read;
        assert_int_equal(d1_spool_read(spool, 0), 0);
        return;
    }
    for (size_t i = 0; i < PIECE; i++) {
        world->piece[i] = byte_at((uint64_t)world->written * PIECE + i);
    }
    world->written++;
    assert_int_equal(d1_spool_write(spool, bnd_slice(world->piece, PIECE)), 0);
}

static void open_beside(struct world *world, uint64_t bytes_max, uint64_t to_come) {
    const struct d1_spool config = {.env = world->env,
                                    .dir = world->dir,
                                    .bytes_max = bytes_max,
                                    .to_come = to_come,
                                    .cb = on_written,
                                    .data = world};
    assert_int_equal(d1_spool_open(&config, &world->spool), 0);
}

static void open_spool(struct world *world, uint64_t bytes_max) {
    open_beside(world, bytes_max, 0);
}

static void what_was_written_is_read(void **state) {
    struct world *world = *state;
    open_spool(world, PIECES * PIECE);
    bnd_io_env_run(world->env);
    assert_int_equal(world->status, 0);
    assert_int_equal(world->read, PIECES * PIECE);
    d1_spool_close(world->spool);
}

static void a_disk_without_room_is_told_before_the_first_byte(void **state) {
    struct world *world = *state;
    open_spool(world, UINT64_C(1) << 60);
    bnd_io_env_run(world->env);
    assert_int_equal(world->status, BND_NOSPACE);
    assert_int_equal(world->written, 0);
    d1_spool_close(world->spool);
}

/* A twentieth of the disk stays free. */
static void what_would_touch_the_reserve_is_refused(void **state) {
    struct world *world = *state;
    struct bnd_error err = {0};
    uint64_t left = 0;
    uint64_t total = 0;
    assert_int_equal(world->env->ops->disk_space(world->env, world->dir, &left, &total, &err), 0);
    uint64_t half = total / 40;
    open_spool(world, left > half ? left - half : 1);
    bnd_io_env_run(world->env);
    assert_int_equal(world->status, BND_NOSPACE);
    d1_spool_close(world->spool);
}

static void the_room_of_others_is_theirs(void **state) {
    struct world *world = *state;
    open_beside(world, 1, UINT64_C(1) << 60);
    bnd_io_env_run(world->env);
    assert_int_equal(world->status, BND_NOSPACE);
    d1_spool_close(world->spool);
}

static void a_directory_that_is_not_there_is_told(void **state) {
    struct world *world = *state;
    const struct d1_spool config = {
        .env = world->env, .dir = "/var/tmp/bnd-spool-none", .cb = on_written, .data = world};
    assert_int_equal(d1_spool_open(&config, &world->spool), 0);
    bnd_io_env_run(world->env);
    assert_int_not_equal(world->status, 0);
    d1_spool_close(world->spool);
    d1_spool_close(NULL);
}

/* Spools are opened one after the other: when the next one is open, this one was. */
static void wait_behind(struct world *world) {
    open_spool(world, 1);
    world->close_when_open = true;
    bnd_io_env_run(world->env);
    assert_int_equal(world->status, 0);
    d1_spool_close(world->spool);
}

/* Nothing is told any more, and what the pool has in hand is undone behind it. */
static void it_may_be_closed_while_it_opens(void **state) {
    struct world *world = *state;
    open_spool(world, 1);
    d1_spool_close(world->spool);
    wait_behind(world);
    assert_int_equal(world->written, 0);
}

static void it_may_be_closed_while_it_reads(void **state) {
    struct world *world = *state;
    open_spool(world, PIECE);
    world->close_when_open = true;
    bnd_io_env_run(world->env);
    assert_int_equal(d1_spool_read(world->spool, 0), 0);
    d1_spool_close(world->spool);
    wait_behind(world);
    assert_int_equal(world->read, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_read),
        TEST(a_disk_without_room_is_told_before_the_first_byte),
        TEST(what_would_touch_the_reserve_is_refused),
        TEST(the_room_of_others_is_theirs),
        TEST(a_directory_that_is_not_there_is_told),
        TEST(it_may_be_closed_while_it_opens),
        TEST(it_may_be_closed_while_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
