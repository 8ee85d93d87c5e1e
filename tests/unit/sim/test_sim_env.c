/* The simulated node: what its loop, clock and disk promise (tests/sim/env.h, disk.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "tests/sim/env.h"

struct rig {
    struct bnd_sim_world *world;
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *sim;
    struct bnd_env *env;
    int answers;
    int status;
    int order[16];
};

static void boot(struct rig *rig) {
    rig->sim = bnd_sim_env_create(rig->world, rig->disk, NULL, 1);
    rig->env = bnd_sim_env(rig->sim);
}

static void rig_open(struct rig *rig, uint64_t seed) {
    *rig = (struct rig){0};
    rig->world = bnd_sim_world_create(seed);
    rig->disk = bnd_sim_disk_create(rig->world, 1, 0);
    boot(rig);
}

static void rig_close(struct rig *rig) {
    bnd_sim_env_stop(rig->sim);
    bnd_sim_disk_destroy(rig->disk);
    bnd_sim_world_destroy(rig->world);
}

static void crash(struct rig *rig, enum bnd_sim_crash kind) {
    bnd_sim_env_crash(rig->sim, kind);
    boot(rig);
}

static struct bnd_file *open_file(struct rig *rig, const char *path, unsigned flags) {
    struct bnd_file *file = NULL;
    assert_int_equal(rig->env->ops->file_open(rig->env, path, flags, &file, NULL), 0);
    return file;
}

static void make_file(struct rig *rig, const char *path, const void *data, size_t len,
                      bool durable) {
    struct bnd_file *file = open_file(rig, path, BND_OPEN_WRITE | BND_OPEN_CREATE);
    if (len > 0) {
        assert_int_equal(rig->env->ops->file_pwrite(rig->env, file, data, len, 0, NULL), 0);
    }
    if (durable) {
        assert_int_equal(rig->env->ops->file_sync(rig->env, file, NULL), 0);
        assert_int_equal(rig->env->ops->dir_sync(rig->env, "", NULL), 0);
    }
    rig->env->ops->file_close(rig->env, file);
}

static long read_file(struct rig *rig, const char *path, void *out, size_t len) {
    struct bnd_file *file = NULL;
    if (rig->env->ops->file_open(rig->env, path, BND_OPEN_READ, &file, NULL) != 0) {
        return -1;
    }
    size_t got = 0;
    assert_int_equal(rig->env->ops->file_pread(rig->env, file, out, len, 0, &got, NULL), 0);
    rig->env->ops->file_close(rig->env, file);
    return (long)got;
}

static void on_io(struct bnd_io *io, int status, size_t bytes) {
    struct rig *rig = io->data;
    rig->status = status;
    rig->order[rig->answers++] = (int)bytes;
}

/* ---- loop
 * ------------------------------------------------------------------------------------------- */

static void on_timer(struct bnd_timer *timer) {
    struct rig *rig = timer->data;
    rig->order[rig->answers++] = 1;
}

static void on_task(struct bnd_task *task) {
    struct rig *rig = task->data;
    rig->order[rig->answers++] = 2;
}

static void on_hook(struct bnd_hook *hook) {
    struct rig *rig = hook->data;
    rig->order[rig->answers++] = 3;
}

static void test_pass_runs_timers_then_tasks_then_hooks(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    struct bnd_timer timer = {.cb = on_timer, .data = &rig};
    struct bnd_task task = {.cb = on_task, .data = &rig};
    struct bnd_hook hook = {.cb = on_hook, .data = &rig};
    rig.env->ops->hook_add(rig.env, &hook);
    bnd_timer_start(rig.env, &timer, 0);
    bnd_defer(rig.env, &task);
    assert_int_equal(rig.answers, 0); /* never inside the call */
    bnd_sim_run_for(rig.world, BND_MS);
    assert_int_equal(rig.answers, 3);
    assert_int_equal(rig.order[0], 1);
    assert_int_equal(rig.order[1], 2);
    assert_int_equal(rig.order[2], 3);
    rig.env->ops->hook_remove(rig.env, &hook);
    rig_close(&rig);
}

static void test_timer_fires_at_its_time_and_not_when_stopped(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    struct bnd_timer timer = {.cb = on_timer, .data = &rig};
    struct bnd_timer stopped = {.cb = on_timer, .data = &rig};
    uint64_t start = bnd_now_ns(rig.env);
    assert_true(start >= 10 * 1000 * BND_MS);
    bnd_timer_start(rig.env, &timer, 50 * BND_MS);
    bnd_timer_start(rig.env, &stopped, 10 * BND_MS);
    bnd_timer_stop(rig.env, &stopped);
    bnd_sim_run_for(rig.world, 49 * BND_MS);
    assert_int_equal(rig.answers, 0);
    bnd_sim_run_for(rig.world, 2 * BND_MS);
    assert_int_equal(rig.answers, 1);
    assert_int_equal(bnd_now_ns(rig.env) - start, 51 * BND_MS);
    rig_close(&rig);
}

static void test_pause_delays_the_loop(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    struct bnd_timer timer = {.cb = on_timer, .data = &rig};
    bnd_timer_start(rig.env, &timer, BND_MS);
    bnd_sim_env_pause(rig.sim, 100 * BND_MS);
    bnd_sim_run_for(rig.world, 99 * BND_MS);
    assert_int_equal(rig.answers, 0);
    bnd_sim_run_for(rig.world, 2 * BND_MS);
    assert_int_equal(rig.answers, 1);
    rig_close(&rig);
}

static void work_run(struct bnd_work *work) {
    struct rig *rig = work->data;
    rig->order[rig->answers++] = (int)(intptr_t)work->priv[0];
}

static void work_done(struct bnd_work *work, int status) {
    struct rig *rig = work->data;
    rig->status += status == 0 ? 1 : 0;
}

static void test_works_of_one_pin_run_in_order(void **state) {
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        struct bnd_work works[6] = {0};
        struct bnd_task post = {.cb = on_task, .data = &rig};
        for (size_t i = 0; i < 6; i++) {
            works[i] =
                (struct bnd_work){.run = work_run, .done = work_done, .data = &rig, .pin = 7};
            works[i].priv[0] = (void *)(intptr_t)i;
            assert_int_equal(rig.env->ops->work(rig.env, &works[i]), 0);
        }
        assert_int_equal(rig.answers, 0);
        bnd_sim_run_for(rig.world, 100 * BND_MS);
        assert_int_equal(rig.answers, 6);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(rig.order[i], i);
        }
        assert_int_equal(rig.status, 6);
        bnd_post(rig.env, &post);
        bnd_sim_run_for(rig.world, BND_MS);
        assert_int_equal(rig.order[6], 2);
        rig_close(&rig);
    }
}

static void test_wall_clock_jumps_and_drifts(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    struct bnd_sim_clock clock = {.drift_ppm = 1000};
    bnd_sim_env_stop(rig.sim);
    rig.sim = bnd_sim_env_create(rig.world, rig.disk, &clock, 1);
    rig.env = bnd_sim_env(rig.sim);
    uint64_t before = bnd_wall_ms(rig.env);
    bnd_sim_run_for(rig.world, 100000 * BND_MS);
    assert_int_equal(bnd_wall_ms(rig.env) - before, 100100);
    clock.offset_ms -= 3600000;
    assert_int_equal(before + 100100 - bnd_wall_ms(rig.env), 3600000);
    rig_close(&rig);
}

/* ---- memory
 * ----------------------------------------------------------------------------------------- */

static void test_crash_frees_what_the_node_held(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    bnd_sim_env_enter(rig.sim);
    void *kept = bnd_alloc(100);
    void *grown = bnd_realloc(bnd_alloc(10), 1000);
    void *freed = bnd_alloc_aligned(4096, 4096);
    bnd_free(freed);
    bnd_sim_env_leave(rig.sim);
    assert_non_null(kept);
    assert_non_null(grown);
    assert_int_equal(bnd_sim_env_blocks(rig.sim), 2);
    crash(&rig, BND_SIM_KILL); /* a leak here is seen by the asan build */
    assert_int_equal(bnd_sim_env_blocks(rig.sim), 0);
    rig_close(&rig);
}

/* ---- disk
 * ------------------------------------------------------------------------------------------- */

static void test_synced_file_survives_power_loss(void **state) {
    for (uint64_t seed = 1; seed < 50; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        make_file(&rig, "a", "hello", 5, true);
        crash(&rig, BND_SIM_POWER);
        char got[8] = {0};
        assert_int_equal(read_file(&rig, "a", got, sizeof got), 5);
        assert_memory_equal(got, "hello", 5);
        rig_close(&rig);
    }
}

static void test_unsynced_things_are_sometimes_lost_and_sometimes_not(void **state) {
    unsigned names_lost = 0, data_lost = 0, data_kept = 0;
    for (uint64_t seed = 1; seed < 100; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        make_file(&rig, "a", "old", 3, true);
        make_file(&rig, "a", "new", 3, false);
        make_file(&rig, "b", "x", 1, false);
        crash(&rig, BND_SIM_POWER);
        char got[8] = {0};
        assert_int_equal(read_file(&rig, "a", got, sizeof got), 3);
        data_lost += memcmp(got, "old", 3) == 0 ? 1u : 0u;
        data_kept += memcmp(got, "new", 3) == 0 ? 1u : 0u;
        names_lost += read_file(&rig, "b", got, sizeof got) < 0 ? 1u : 0u;
        rig_close(&rig);
    }
    assert_int_equal(data_lost + data_kept, 99); /* one sector: never torn */
    assert_in_range(data_lost, 10, 89);
    assert_in_range(names_lost, 10, 89);
}

static void test_killed_process_loses_nothing_written(void **state) {
    struct rig rig;
    rig_open(&rig, 3);
    make_file(&rig, "a", "abc", 3, false);
    crash(&rig, BND_SIM_KILL);
    char got[8];
    assert_int_equal(read_file(&rig, "a", got, sizeof got), 3);
    rig_close(&rig);
}

static void test_write_under_way_is_torn_by_sectors(void **state) {
    static uint8_t data[4096] __attribute__((aligned(4096)));
    unsigned torn = 0, whole = 0, none = 0;
    memset(data, 7, sizeof data);
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        static const uint8_t zeros[4096];
        make_file(&rig, "a", zeros, sizeof zeros, true);
        struct bnd_file *file = open_file(&rig, "a", BND_OPEN_WRITE | BND_OPEN_DIRECT);
        struct bnd_io io = {.cb = on_io, .data = &rig};
        assert_int_equal(rig.env->ops->file_write(rig.env, file, &io,
                                                  (struct bnd_iov){data, sizeof data}, 0,
                                                  BND_WRITE_DSYNC),
                         0);
        crash(&rig, BND_SIM_POWER);
        assert_int_equal(rig.answers, 0);
        uint8_t got[4096];
        assert_int_equal(read_file(&rig, "a", got, sizeof got), 4096);
        unsigned kept = 0;
        for (size_t s = 0; s < 8; s++) {
            assert_true(got[s * 512] == got[s * 512 + 511]); /* a sector is never torn */
            kept += got[s * 512] == 7 ? 1u : 0u;
        }
        torn += kept > 0 && kept < 8 ? 1u : 0u;
        whole += kept == 8 ? 1u : 0u;
        none += kept == 0 ? 1u : 0u;
        rig_close(&rig);
    }
    assert_true(torn > 20 && whole > 20 && none > 20);
}

static void test_answered_dsync_write_survives(void **state) {
    static uint8_t data[4096] __attribute__((aligned(4096)));
    memset(data, 9, sizeof data);
    for (uint64_t seed = 1; seed < 50; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        make_file(&rig, "a", "older, not synced", 17, false);
        assert_int_equal(rig.env->ops->dir_sync(rig.env, "", NULL), 0);
        struct bnd_file *file = open_file(&rig, "a", BND_OPEN_WRITE | BND_OPEN_DIRECT);
        struct bnd_io io = {.cb = on_io, .data = &rig};
        assert_int_equal(rig.env->ops->file_write(rig.env, file, &io,
                                                  (struct bnd_iov){data, sizeof data}, 0,
                                                  BND_WRITE_DSYNC),
                         0);
        bnd_sim_run_for(rig.world, 100 * BND_MS);
        assert_int_equal(rig.answers, 1);
        assert_int_equal(rig.status, 0);
        crash(&rig, BND_SIM_POWER);
        uint8_t got[4096];
        assert_int_equal(read_file(&rig, "a", got, sizeof got), 4096);
        assert_memory_equal(got, data, sizeof data); /* the older write must not come back */
        rig_close(&rig);
    }
}

static void test_rename_is_atomic_and_needs_dir_sync(void **state) {
    unsigned before = 0, after = 0;
    for (uint64_t seed = 1; seed < 100; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        make_file(&rig, "a", "old", 3, true);
        make_file(&rig, "t", "new", 3, true);
        assert_int_equal(rig.env->ops->rename(rig.env, "t", "a", NULL), 0);
        crash(&rig, BND_SIM_POWER);
        char a[8] = {0};
        char t[8] = {0};
        assert_int_equal(read_file(&rig, "a", a, sizeof a), 3);
        bool renamed = read_file(&rig, "t", t, sizeof t) < 0;
        assert_memory_equal(a, renamed ? "new" : "old", 3);
        after += renamed ? 1u : 0u;
        before += renamed ? 0u : 1u;
        rig_close(&rig);
    }
    assert_true(before > 10 && after > 10);
}

static void test_lost_directory_takes_its_files_along(void **state) {
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        assert_int_equal(rig.env->ops->dir_make(rig.env, "d/", NULL), 0);
        assert_int_equal(rig.env->ops->dir_make(rig.env, "x/y", NULL), BND_NOTFOUND);
        make_file(&rig, "d/f", "1", 1, false);
        assert_int_equal(rig.env->ops->dir_sync(rig.env, "d", NULL), 0);
        crash(&rig, BND_SIM_POWER);
        char got[8];
        bool there = rig.env->ops->dir_sync(rig.env, "d", NULL) == 0;
        assert_int_equal(read_file(&rig, "d/f", got, sizeof got) >= 0, there);
        rig_close(&rig);
    }
}

static int collect(void *data, const char *name) {
    strcat(strcat(data, name), " ");
    return 0;
}

static void test_list_is_in_byte_order_and_of_one_level(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    rig.env->ops->dir_make(rig.env, "d", NULL);
    rig.env->ops->dir_make(rig.env, "d/e", NULL);
    make_file(&rig, "d/b", "", 0, false);
    make_file(&rig, "d/a", "", 0, false);
    make_file(&rig, "d/e/z", "", 0, false);
    make_file(&rig, "da", "", 0, false);
    char names[64] = {0};
    assert_int_equal(rig.env->ops->dir_list(rig.env, "d", collect, names, NULL), 0);
    assert_string_equal(names, "a b e ");
    rig_close(&rig);
}

static void test_full_disk_and_injected_errors(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    static const uint8_t data[8192];
    make_file(&rig, "a", data, 4096, true);
    bnd_sim_disk_capacity(rig.disk, 6000);
    struct bnd_file *file = open_file(&rig, "a", BND_OPEN_WRITE);
    assert_int_equal(rig.env->ops->file_pwrite(rig.env, file, data, 4096, 4096, NULL), BND_NOSPACE);
    assert_int_equal(rig.env->ops->file_pwrite(rig.env, file, data, 4096, 0, NULL), 0);
    bnd_sim_disk_fail(rig.disk, 2, BND_IO, false);
    assert_int_equal(rig.env->ops->file_sync(rig.env, file, NULL), 0);
    assert_int_equal(rig.env->ops->file_sync(rig.env, file, NULL), BND_IO);
    assert_int_equal(rig.env->ops->file_sync(rig.env, file, NULL), 0);
    bnd_sim_disk_fail(rig.disk, 1, BND_IO, true);
    struct bnd_io io = {.cb = on_io, .data = &rig};
    assert_int_equal(rig.env->ops->file_datasync(rig.env, file, &io), 0);
    bnd_sim_run_for(rig.world, 100 * BND_MS);
    assert_int_equal(rig.status, BND_IO);
    bnd_sim_disk_heal(rig.disk);
    assert_int_equal(rig.env->ops->file_sync(rig.env, file, NULL), 0);
    rig.env->ops->file_close(rig.env, file);
    rig_close(&rig);
}

static void test_stall_holds_requests_already_under_way(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    make_file(&rig, "a", "x", 1, true);
    struct bnd_file *file = open_file(&rig, "a", BND_OPEN_WRITE);
    struct bnd_io io = {.cb = on_io, .data = &rig};
    assert_int_equal(rig.env->ops->file_datasync(rig.env, file, &io), 0);
    bnd_sim_disk_stall(rig.disk, 500 * BND_MS);
    bnd_sim_run_for(rig.world, 499 * BND_MS);
    assert_int_equal(rig.answers, 0);
    bnd_sim_run_for(rig.world, 10 * BND_MS);
    assert_int_equal(rig.answers, 1);
    rig.env->ops->file_close(rig.env, file);
    rig_close(&rig);
}

static void test_flip_changes_one_bit(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    make_file(&rig, "a", "aaa", 3, true);
    assert_int_equal(bnd_sim_disk_flip(rig.disk, "a", 1, 1), 0);
    assert_int_equal(bnd_sim_disk_flip(rig.disk, "a", 3, 1), BND_RANGE);
    assert_int_equal(bnd_sim_disk_flip(rig.disk, "b", 0, 1), BND_NOTFOUND);
    char got[4] = {0};
    read_file(&rig, "a", got, 3);
    assert_string_equal(got, "aca");
    rig_close(&rig);
}

/* Every way to cut a create, write, sync, rename, dir_sync sequence leaves one of the two states
 * that its author counts on; and a cut after its end leaves the new one. */
static void test_cut_after_every_change(void **state) {
    for (int keep = 0; keep < BND_SIM_KEEPS; keep++) {
        bool finished = false;
        for (uint64_t n = 1; !finished; n++) {
            struct rig rig;
            rig_open(&rig, n);
            make_file(&rig, "a", "old", 3, true);
            bnd_sim_disk_cut_at(rig.disk, n, (enum bnd_sim_keep)keep);
            struct bnd_file *file = NULL;
            int rv = rig.env->ops->file_open(rig.env, "t", BND_OPEN_WRITE | BND_OPEN_CREATE, &file,
                                             NULL);
            rv = rv != 0 ? rv : rig.env->ops->file_pwrite(rig.env, file, "new", 3, 0, NULL);
            rv = rv != 0 ? rv : rig.env->ops->file_sync(rig.env, file, NULL);
            rv = rv != 0 ? rv : rig.env->ops->rename(rig.env, "t", "a", NULL);
            rv = rv != 0 ? rv : rig.env->ops->dir_sync(rig.env, "", NULL);
            finished = rv == 0;
            assert_int_equal(bnd_sim_disk_is_cut(rig.disk), !finished);
            assert_int_equal(bnd_sim_env_halted(rig.sim), !finished);
            crash(&rig, BND_SIM_POWER);
            char got[8] = {0};
            assert_int_equal(read_file(&rig, "a", got, sizeof got), 3);
            if (finished) {
                assert_memory_equal(got, "new", 3);
            } else {
                assert_true(memcmp(got, "old", 3) == 0 || memcmp(got, "new", 3) == 0);
            }
            rig_close(&rig);
        }
    }
}

static uint64_t busy_run(uint64_t seed) {
    struct rig rig;
    rig_open(&rig, seed);
    make_file(&rig, "a", "x", 1, true);
    struct bnd_file *file = open_file(&rig, "a", BND_OPEN_WRITE);
    struct bnd_io io[10] = {0};
    for (size_t i = 0; i < 10; i++) {
        io[i] = (struct bnd_io){.cb = on_io, .data = &rig};
        uint64_t value = bnd_random(rig.env);
        assert_int_equal(rig.env->ops->file_write(rig.env, file, &io[i],
                                                  (struct bnd_iov){&value, sizeof value}, i * 100,
                                                  BND_WRITE_DSYNC),
                         0);
        bnd_sim_run_for(rig.world, 2 * BND_MS);
    }
    bnd_sim_run_for(rig.world, 100 * BND_MS);
    rig.env->ops->file_close(rig.env, file);
    uint64_t hash = bnd_sim_trace_hash(rig.world);
    rig_close(&rig);
    return hash;
}

static void test_same_seed_same_trace(void **state) {
    assert_int_equal(busy_run(11), busy_run(11));
    assert_true(busy_run(11) != busy_run(12));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass_runs_timers_then_tasks_then_hooks),
        cmocka_unit_test(test_timer_fires_at_its_time_and_not_when_stopped),
        cmocka_unit_test(test_pause_delays_the_loop),
        cmocka_unit_test(test_works_of_one_pin_run_in_order),
        cmocka_unit_test(test_wall_clock_jumps_and_drifts),
        cmocka_unit_test(test_crash_frees_what_the_node_held),
        cmocka_unit_test(test_synced_file_survives_power_loss),
        cmocka_unit_test(test_unsynced_things_are_sometimes_lost_and_sometimes_not),
        cmocka_unit_test(test_killed_process_loses_nothing_written),
        cmocka_unit_test(test_write_under_way_is_torn_by_sectors),
        cmocka_unit_test(test_answered_dsync_write_survives),
        cmocka_unit_test(test_rename_is_atomic_and_needs_dir_sync),
        cmocka_unit_test(test_lost_directory_takes_its_files_along),
        cmocka_unit_test(test_list_is_in_byte_order_and_of_one_level),
        cmocka_unit_test(test_full_disk_and_injected_errors),
        cmocka_unit_test(test_stall_holds_requests_already_under_way),
        cmocka_unit_test(test_flip_changes_one_bit),
        cmocka_unit_test(test_cut_after_every_change),
        cmocka_unit_test(test_same_seed_same_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
