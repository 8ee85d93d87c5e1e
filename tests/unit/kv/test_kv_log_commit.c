/* How the KV log (kv_log_rig.h) brings what it has applied into the state: in pieces, on a thread,
 * for who scans, while the state is busy. */
#include "tests/unit/kv/kv_log_rig.h"

/* A state that stalls delays what is told beyond a bound, and loses nothing. */
static void test_stall(void **state) {
    struct rig rig;
    rig_open(&rig, 5);
    BND_AUTO uint8_t *value = bnd_zalloc(20000);
    bnd_sim_store_stall(rig.disk_store, 500 * BND_MS);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(put_value(&rig, i % KEYS, bnd_slice(value, 20000)), 0);
        run_for(&rig, 10);
    }
    /* Seven are to be written, and the 27th of the next ones reaches the bound. */
    assert_int_equal(rig.told, 33);
    assert_true(kv_log_committing(rig.log));
    assert_false(kv_log_commit(rig.log));
    for (unsigned i = 0; i < 33; i++) {
        assert_int_equal(stands(&rig, i), rig.told_hlc[i]);
    }
    run_for(&rig, 1000);
    assert_int_equal(rig.told, 40);
    bnd_sim_env_enter(rig.sim);
    assert_true(kv_log_commit(rig.log));
    bnd_sim_env_leave(rig.sim);
    assert_int_equal(kv_store_applied(rig.store), 40);
    rig_close(&rig);
}

/* The state holds something of KV. */
static bool is_written(const struct rig *rig) {
    const struct bnd_state_ops *ops = rig->state->ops;
    struct bnd_state_iter *iter =
        ops->iter(rig->state, BND_CF_KV, bnd_slice("", 0), bnd_slice("\xff", 1));
    bool any = ops->iter_valid(iter);
    ops->iter_destroy(iter);
    return any;
}

/* While a thread writes, what it writes is read, more is collected, and who scans waits. */
static void test_a_thread_commits(void **state) {
    struct rig rig;
    rig_open(&rig, 21);
    assert_int_equal(put(&rig, 1), 0);
    run_for(&rig, 100);
    bnd_sim_env_enter(rig.sim);
    kv_log_pace(rig.log);
    bnd_sim_env_leave(rig.sim);
    assert_true(kv_log_committing(rig.log));
    assert_int_equal(stands(&rig, 1), rig.told_hlc[1]);
    assert_int_equal(put(&rig, 2), 0);
    bool refused = false;
    while (rig.committed == 0) {
        assert_true(bnd_sim_world_step(rig.world));
        if (kv_log_committing(rig.log) && is_written(&rig)) {
            bnd_sim_env_enter(rig.sim);
            refused = refused || !kv_log_commit(rig.log);
            bnd_sim_env_leave(rig.sim);
        }
    }
    assert_true(refused);
    assert_int_equal(kv_store_applied(rig.store), 1);
    run_for(&rig, 100);
    assert_int_equal(stands(&rig, 2), rig.told_hlc[2]);
    bnd_sim_env_enter(rig.sim);
    kv_log_pace(rig.log);
    assert_true(kv_log_commit(rig.log)); /* no thread has begun: it is taken over */
    bnd_sim_env_leave(rig.sim);
    assert_int_equal(kv_store_applied(rig.store), 2);
    rig_close(&rig);
}

static void test_close_waits_for_the_thread(void **state) {
    struct rig rig;
    rig_open(&rig, 22);
    assert_int_equal(put(&rig, 1), 0);
    run_for(&rig, 100);
    bnd_sim_env_enter(rig.sim);
    kv_log_pace(rig.log);
    kv_log_close(rig.log, on_closed, &rig);
    bnd_sim_env_leave(rig.sim);
    while (!rig.closed) {
        assert_true(bnd_sim_world_step(rig.world));
    }
    assert_true(is_written(&rig));
    rig_free(&rig);
}

/* What was told is read before any commit, a scan waits for one, and a crash before it loses
 * nothing. */
static void test_told_before_committed(void **state) {
    struct rig rig;
    rig_open(&rig, 13);
    assert_int_equal(put(&rig, 1), 0);
    run_for(&rig, 100);
    assert_int_equal(rig.told, 1);
    assert_int_equal(stands(&rig, 1), rig.told_hlc[1]);
    assert_true(kv_store_dirty(rig.store));
    crash(&rig, BND_SIM_POWER);
    assert_int_equal(stands(&rig, 1), rig.told_hlc[1]);
    assert_int_equal(put(&rig, 2), 0);
    run_for(&rig, 100);
    bnd_sim_env_enter(rig.sim);
    assert_true(kv_log_commit(rig.log));
    bnd_sim_env_leave(rig.sim);
    assert_false(kv_store_dirty(rig.store));
    assert_int_equal(kv_store_applied(rig.store), 2);
    rig_close(&rig);
}
/* With batches of up to so many bytes. */
static void open_with(struct rig *rig, uint64_t seed, size_t commit_bytes) {
    rig_open(rig, seed);
    rig->config.commit_bytes = commit_bytes;
    crash(rig, BND_SIM_KILL);
}

static void put_many(struct rig *rig, unsigned count) {
    BND_AUTO uint8_t *value = bnd_zalloc(20000);
    unsigned told = rig->told;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(put_value(rig, i % KEYS, bnd_slice(value, 20000)), 0);
    }
    run_for(rig, 100);
    assert_int_equal(rig->told, told + count);
}

static bool scan(struct rig *rig) {
    bnd_sim_env_enter(rig->sim);
    bool may = kv_log_commit(rig->log);
    bnd_sim_env_leave(rig->sim);
    return may;
}

static void pace(struct rig *rig) {
    bnd_sim_env_enter(rig->sim);
    kv_log_pace(rig->log);
    bnd_sim_env_leave(rig->sim);
}

/* The loop does not write 400 kB at once: a thread does, and who waits is told. */
static void test_a_scan_waits_for_much(void **state) {
    struct rig rig;
    open_with(&rig, 23, 1 << 20);
    put_many(&rig, 20);
    assert_false(kv_log_committing(rig.log)); /* nobody has asked */
    assert_true(kv_store_dirty(rig.store));
    assert_false(scan(&rig));
    assert_true(kv_log_committing(rig.log));
    assert_false(scan(&rig)); /* it is not taken over either */
    while (rig.committed == 0) {
        assert_true(bnd_sim_world_step(rig.world));
    }
    assert_int_equal(kv_store_applied(rig.store), 20);
    assert_true(scan(&rig));
    rig_close(&rig);
}

/* By time it is committed, too; and while lists come a smaller batch is enough. */
static void test_lists_keep_it_small(void **state) {
    struct rig rig;
    open_with(&rig, 24, 1 << 20);
    put_many(&rig, 1);
    pace(&rig);
    run_for(&rig, 100);
    assert_int_equal(rig.committed, 1);
    put_many(&rig, 8);
    pace(&rig); /* too soon */
    assert_false(kv_log_committing(rig.log));
    bnd_sim_env_enter(rig.sim);
    assert_false(kv_log_commit_for_list(rig.log));
    bnd_sim_env_leave(rig.sim);
    run_for(&rig, 100);
    assert_int_equal(rig.committed, 2);
    put_many(&rig, 8);
    assert_int_equal(rig.committed, 3);
    run_for(&rig, 11000);
    put_many(&rig, 8); /* no list came for long */
    assert_int_equal(rig.committed, 3);
    assert_true(kv_store_dirty(rig.store));
    rig_close(&rig);
}

static struct {
    const struct bnd_env_ops *sound;
    struct bnd_env_ops ops;
    struct bnd_work *work;
} busy;

static int busy_work(struct bnd_env *env, struct bnd_work *work) {
    assert_null(busy.work);
    busy.work = work;
    return 0;
}

/* All threads are at something that lasts: the loop ends the commit, and who waits is told. */
static void test_no_thread_comes(void **state) {
    struct rig rig;
    open_with(&rig, 25, 1 << 20);
    struct bnd_env *env = bnd_sim_env(rig.sim);
    busy.sound = env->ops;
    busy.ops = *env->ops;
    busy.ops.work = busy_work;
    busy.work = NULL;
    env->ops = &busy.ops;
    put_many(&rig, 20);
    assert_false(scan(&rig));
    pace(&rig); /* not late yet */
    assert_true(kv_log_committing(rig.log));
    run_for(&rig, 30);
    pace(&rig);
    assert_false(kv_log_committing(rig.log));
    assert_int_equal(kv_store_applied(rig.store), 20);
    run_for(&rig, 1);
    assert_int_equal(rig.committed, 1);
    assert_true(scan(&rig));
    env->ops = busy.sound;
    bnd_sim_env_enter(rig.sim);
    busy.work->run(busy.work);
    busy.work->done(busy.work, 0);
    bnd_sim_env_leave(rig.sim);
    assert_int_equal(rig.committed, 1);
    rig_close(&rig);
}

/* Each second finds more than the loop writes at once: it persists after a thread's commit. */
static void test_persists_under_load(void **state) {
    struct rig rig;
    rig_open(&rig, 26);
    rig.config.commit_bytes = 1 << 20;
    rig.config.persist_bytes = 2 << 20;
    crash(&rig, BND_SIM_KILL);
    BND_AUTO uint8_t *value = bnd_zalloc(5000);
    for (unsigned i = 0; i < 4000; i++) {
        assert_int_equal(put_value(&rig, i % KEYS, bnd_slice(value, 5000)), 0);
        run_for(&rig, 1);
        if (i % 50 == 0) {
            pace(&rig);
        }
    }
    assert_true(kv_log_bytes(rig.log) < 12000000); /* of 20 MB */
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_a_thread_commits),
        cmocka_unit_test(test_close_waits_for_the_thread),
        cmocka_unit_test(test_told_before_committed),
        cmocka_unit_test(test_a_scan_waits_for_much),
        cmocka_unit_test(test_lists_keep_it_small),
        cmocka_unit_test(test_no_thread_comes),
        cmocka_unit_test(test_persists_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
