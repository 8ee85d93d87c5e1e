/* The KV log (kv_log_rig.h): what is told as applied survives, nothing is applied before it is
 * durable, the journal gets shorter. */
#include "tests/unit/kv/kv_log_rig.h"

/* ---- tests
 * --------------------------------------------------------------------------------------- */

static void test_applied_once_durable(void **state) {
    struct rig rig;
    rig_open(&rig, 1);
    run_for(&rig, 100);
    assert_int_equal(put(&rig, 1), 0);
    assert_int_equal(stands(&rig, 1), 0); /* not durable yet */
    assert_int_equal(rig.told, 0);
    run_for(&rig, 1000);
    assert_int_equal(rig.told, 1);
    assert_int_equal(rig.last.outcome, KV_WON);
    assert_int_equal(stands(&rig, 1), rig.told_hlc[1]);
    rig_close(&rig);
}

/* Whatever the crash does, what was told is there again, and the clock is above it. */
static void test_told_survives(void **state) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        rig.config.persist_ns = 700 * BND_MS;
        for (unsigned round = 0; round < 12; round++) {
            for (unsigned i = 0; i < 20; i++) {
                assert_int_equal(put(&rig, (i * 7 + round) % KEYS), 0);
                run_for(&rig, i % 4);
            }
            run_for(&rig, (seed * 37 + round * 211) % 900);
            crash(&rig, round % 2 == 0 ? BND_SIM_POWER : BND_SIM_KILL);
            for (unsigned key = 0; key < KEYS; key++) {
                assert_true(stands(&rig, key) >= rig.told_hlc[key]);
                assert_true(rig.hlc.last >= rig.told_hlc[key]);
            }
        }
        assert_true(rig.told > 100);
        assert_false(rig.fatal);
        rig_close(&rig);
    }
}

static void test_compacted(void **state) {
    struct rig rig;
    rig_open(&rig, 3);
    rig.config.persist_ns = 2000 * BND_MS;
    crash(&rig, BND_SIM_KILL); /* with that setting */
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(put(&rig, i), 0);
    }
    run_for(&rig, 100);
    assert_true(kv_log_bytes(rig.log) > 0);
    run_for(&rig, 6000);
    assert_int_equal(kv_log_bytes(rig.log), 0);
    crash(&rig, BND_SIM_POWER);
    assert_int_equal(kv_log_bytes(rig.log), 0); /* the journal has forgotten them */
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(stands(&rig, i), rig.told_hlc[i]);
    }
    rig_close(&rig);
}

/* Entries that lose leave the journal as others do. */
static void test_compacted_of_losers(void **state) {
    struct rig rig;
    rig_open(&rig, 14);
    rig.config.persist_ns = 2000 * BND_MS;
    crash(&rig, BND_SIM_KILL); /* with that setting */
    assert_int_equal(put(&rig, 1), 0);
    run_for(&rig, 6000);
    assert_int_equal(kv_log_bytes(rig.log), 0);
    bnd_sim_env_enter(rig.sim);
    const struct kv_record older = {.version = {1, 1}, .value = bnd_slice_str("v"), .size = 1};
    assert_int_equal(append(&rig, kv_log_entry_record(SHARD, NS, bnd_slice("k1", 3), &older)), 0);
    bnd_sim_env_leave(rig.sim);
    run_for(&rig, 100);
    assert_int_equal(rig.last.outcome, KV_LOST);
    run_for(&rig, 6000);
    crash(&rig, BND_SIM_POWER);
    assert_int_equal(kv_log_bytes(rig.log), 0);
    rig_close(&rig);
}

/* What is committed while a persist is under way is not persisted by it: the journal keeps it. */
static void test_committed_after_persist(void **state) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        rig.config.persist_ns = 500 * BND_MS;
        bnd_sim_store_persist_max(rig.disk_store, 400 * BND_MS);
        crash(&rig, BND_SIM_KILL); /* with that setting */
        for (unsigned i = 0; i < 300; i++) {
            assert_int_equal(put(&rig, i % KEYS), 0);
            run_for(&rig, 20);
            bnd_sim_env_enter(rig.sim);
            assert_true(kv_log_commit(rig.log));
            bnd_sim_env_leave(rig.sim);
        }
        crash(&rig, BND_SIM_POWER);
        for (unsigned key = 0; key < KEYS; key++) {
            assert_int_equal(stands(&rig, key), rig.told_hlc[key]);
        }
        rig_close(&rig);
    }
}

static void test_bounded(void **state) {
    struct rig rig;
    rig_open(&rig, 4);
    rig.config.log_bytes_max = 20000;
    rig.config.persist_bytes = 10000;
    crash(&rig, BND_SIM_KILL);
    run_for(&rig, 50);
    BND_AUTO uint8_t *value = bnd_zalloc(1000);
    unsigned taken = 0;
    while (put_value(&rig, taken % KEYS, bnd_slice(value, 1000)) == 0) {
        taken++;
        assert_true(taken < 100);
    }
    assert_int_equal(put_value(&rig, 1, bnd_slice(value, 1000)), BND_FULL);
    assert_true(kv_log_bytes(rig.log) <= 20000);
    run_for(&rig, 4000); /* it persists by bytes, and there is room again */
    assert_int_equal(put_value(&rig, 1, bnd_slice(value, 1000)), 0);
    run_for(&rig, 100);
    assert_int_equal(rig.told, taken + 1);
    rig_close(&rig);
}

/* The state is gone, the log knows that there was more: nothing is believed to be filled. */
static void test_state_lost(void **state) {
    struct rig rig;
    rig_open(&rig, 6);
    rig.config.persist_ns = 1000 * BND_MS;
    crash(&rig, BND_SIM_KILL);
    const struct kv_marks filled = {.there = true, .filled = true};
    mark(&rig, &filled, false);
    assert_int_equal(put(&rig, 1), 0);
    run_for(&rig, 5000);
    assert_int_equal(put(&rig, 2), 0);
    const struct kv_marks next = {.there = true, .filled = true, .epoch = 2};
    mark(&rig, &next,
         false); /* above what the log has forgotten: it is not to be believed, either */
    run_for(&rig, 100);
    assert_true(kv_store_marks(rig.store, SHARD).filled);
    assert_false(kv_store_lost(rig.store));
    bnd_sim_env_crash(rig.sim, BND_SIM_KILL);
    bnd_sim_store_wipe(rig.disk_store);
    assert_int_equal(boot_with(&rig), 0);
    assert_true(kv_store_lost(rig.store));
    assert_false(kv_store_marks(rig.store, SHARD).filled);
    assert_int_equal(stands(&rig, 1), 0);
    assert_int_equal(stands(&rig, 2), rig.told_hlc[2]);
    rig_close(&rig);
}

static bool is_told(void *data) {
    return ((struct rig *)data)->told > 0;
}

/* Of two writes the second is not durable with the first, and is not told with it. */
static void test_durable_first(void **state) {
    struct rig rig;
    rig_open(&rig, 12);
    assert_int_equal(put(&rig, 1), 0);
    bnd_sim_run_for(rig.world, BND_MS / 25); /* a pass, and no write of the disk: it is under way */
    assert_int_equal(rig.told, 0);
    assert_int_equal(put(&rig, 2), 0);
    assert_true(bnd_sim_run_until_true(rig.world, is_told, &rig, 1000 * BND_MS));
    assert_int_equal(rig.told, 1);
    assert_int_equal(stands(&rig, 2), 0);
    run_for(&rig, 1000);
    assert_int_equal(rig.told, 2);
    rig_close(&rig);
}

/* ---- a start that applies much again
 * ------------------------------------------------------------------------------------------ */

/* 12 MB that no persist has reached, and then the shard is dropped and filled anew. */
static void put_much(struct rig *rig) {
    BND_AUTO uint8_t *value = bnd_zalloc(200000);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(put_value(rig, i, bnd_slice(value, 200000)), 0);
        run_for(rig, 50);
    }
    assert_int_equal(rig->told, 60);
}

/* Not in one batch, and where the state asks to wait, the start does. */
static void test_much_is_applied_again_in_parts(void **state) {
    struct rig rig;
    const struct kv_marks filled = {.there = true, .filled = true};
    rig_open(&rig, 14);
    put_much(&rig);
    mark(&rig, &filled, true);
    assert_int_equal(put(&rig, 1), 0);
    run_for(&rig, 100);
    bnd_sim_env_crash(rig.sim, BND_SIM_KILL);
    bnd_sim_store_stall(rig.disk_store, 60000 * BND_MS);
    rig.watch_writes = UINT32_MAX;
    assert_int_equal(boot_with(&rig), 0);
    assert_true(watched.writes > 10);
    assert_true(watched.batch_max < (size_t)2 << 20);
    assert_int_equal(stands(&rig, 1), rig.told_hlc[1]);
    assert_int_equal(stands(&rig, 2), 0);
    assert_true(kv_store_marks(rig.store, SHARD).filled);
    assert_false(kv_store_dirty(rig.store));
    rig_close(&rig);
}

/* The state was lost; the start that applies the log again ends in its midst, and a part of what it
 * wrote is durable. The next one believes the log's marks as little. */
static void test_state_lost_and_start_cut_short(void **state) {
    struct rig rig;
    struct bnd_state_persist persist = {.cb = ignore_persisted};
    rig_open(&rig, 15);
    rig.config.persist_ns = 1000 * BND_MS;
    crash(&rig, BND_SIM_KILL);
    assert_int_equal(put(&rig, 1), 0);
    run_for(&rig, 5000);
    rig.config.persist_ns = 0;
    crash(&rig, BND_SIM_KILL);
    rig.told = 0;
    put_much(&rig);
    const struct kv_marks filled = {.there = true, .filled = true, .epoch = 2};
    mark(&rig, &filled, false);
    run_for(&rig, 100);
    bnd_sim_env_crash(rig.sim, BND_SIM_KILL);
    bnd_sim_store_wipe(rig.disk_store);
    rig.watch_writes = 3;
    assert_int_equal(boot_with(&rig), BND_IO);
    uint64_t reached = kv_store_applied(rig.store);
    assert_true(reached > 0);
    assert_int_equal(rig.state->ops->persist(rig.state, &persist), 0);
    run_for(&rig, 1000);
    bnd_sim_env_crash(rig.sim, BND_SIM_KILL);
    rig.watch_writes = UINT32_MAX;
    assert_int_equal(boot_with(&rig), 0);
    assert_true(watched.writes < 60); /* it went on from there */
    assert_int_equal(stands(&rig, 59), rig.told_hlc[59]);
    assert_true(kv_store_lost(rig.store));
    assert_false(kv_store_marks(rig.store, SHARD).filled);
    crash(&rig, BND_SIM_KILL);
    assert_true(kv_store_lost(rig.store));
    rig_close(&rig);
}

/* A shard's range is gone with a damaged file; the log says later that it was filled: it is not. */
static void test_marks_lost(void **state) {
    struct rig rig;
    rig_open(&rig, 7);
    const struct kv_marks empty = {.there = true};
    const struct kv_marks filled = {.there = true, .filled = true};
    mark(&rig, &empty, false);
    run_for(&rig, 100);
    uint8_t from[4];
    uint8_t to[4];
    bnd_put_be32(from, KV_SLOT(SHARD));
    bnd_put_be32(to, KV_SLOT(SHARD) + 1);
    rig.config.persist_ns = 500 * BND_MS;
    crash(&rig, BND_SIM_KILL);
    assert_int_equal(rig.state->ops->drop_range(rig.state, bnd_slice(from, 4), bnd_slice(to, 4)),
                     0);
    assert_int_equal(put(&rig, 9), 0);
    run_for(&rig, 4000); /* persisted like this */
    rig.config.persist_ns = 0;
    crash(&rig, BND_SIM_KILL);
    assert_true(kv_store_marks(rig.store, SHARD).there);
    mark(&rig, &filled, false); /* of before the damage, as the log has it */
    run_for(&rig, 100);
    crash(&rig, BND_SIM_KILL);
    assert_true(kv_store_marks(rig.store, SHARD).there);
    assert_false(kv_store_marks(rig.store, SHARD).filled);
    rig_close(&rig);
}

static void test_wipe_replayed(void **state) {
    struct rig rig;
    rig_open(&rig, 8);
    const struct kv_marks filled = {.there = true, .filled = true, .collected = 5};
    assert_int_equal(put(&rig, 1), 0);
    mark(&rig, &filled, true);
    assert_int_equal(put(&rig, 2), 0);
    run_for(&rig, 200);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(stands(&rig, 1), 0);
        assert_int_equal(stands(&rig, 2), rig.told_hlc[2]);
        assert_true(kv_store_marks(rig.store, SHARD).filled);
        assert_int_equal(kv_store_marks(rig.store, SHARD).collected, 5);
        crash(&rig, BND_SIM_POWER);
    }
    rig_close(&rig);
}

static void test_close_cancels(void **state) {
    struct rig rig;
    rig_open(&rig, 9);
    assert_int_equal(put(&rig, 1), 0);
    rig_close(&rig);
    assert_int_equal(rig.told, 1);
    assert_int_equal(rig.last_status, BND_CANCELED);
}

static void test_damaged_entries(void **state) {
    static const struct kv_marks marks = {.there = true, .filled = true, .epoch = 3, .refused = 4};
    static const uint8_t blob[KV_BLOB_ID_BYTES] = {1, 2};
    const struct kv_record record = {.version = {9, 1}, .size = 1, .value = bnd_slice_str("v")};
    const struct kv_piece piece = {.shard = SHARD,
                                   .namespace_id = NS,
                                   .key = bnd_slice_str("key"),
                                   .blob = blob,
                                   .number = 2,
                                   .bytes = bnd_slice_str("b")};
    struct kv_log_entry *made[] = {
        kv_log_entry_record(SHARD, NS, bnd_slice_str("key"), &record),
        kv_log_entry_piece(&piece),
        kv_log_entry_marks(SHARD, &marks, true),
    };
    for (size_t i = 0; i < 3; i++) {
        struct kv_log_entry *read = NULL;
        struct bnd_slice bytes = bnd_slice(made[i]->bytes, made[i]->len);
        assert_int_equal(kv_log_entry_decode(bytes, &read), 0);
        assert_true(bnd_slice_eq(bnd_slice(read->bytes, read->len), bytes));
        assert_int_equal(read->marks.epoch, made[i]->marks.epoch);
        kv_log_entry_unref(read);
        for (size_t cut = 0; cut < bytes.len; cut++) {
            read = NULL;
            assert_int_equal(kv_log_entry_decode(bnd_slice(bytes.data, cut), &read), BND_CORRUPT);
        }
        kv_log_entry_unref(made[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_applied_once_durable),
        cmocka_unit_test(test_told_survives),
        cmocka_unit_test(test_compacted),
        cmocka_unit_test(test_compacted_of_losers),
        cmocka_unit_test(test_committed_after_persist),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_durable_first),
        cmocka_unit_test(test_state_lost),
        cmocka_unit_test(test_much_is_applied_again_in_parts),
        cmocka_unit_test(test_state_lost_and_start_cut_short),
        cmocka_unit_test(test_marks_lost),
        cmocka_unit_test(test_wipe_replayed),
        cmocka_unit_test(test_close_cancels),
        cmocka_unit_test(test_damaged_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
