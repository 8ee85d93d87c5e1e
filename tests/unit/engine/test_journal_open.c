/* What an open finds on the disk and leaves there: after a loss of power, a kill, another
 * configuration. */
#include "tests/unit/engine/journal_rig.h"

/* A process that was killed while it opened may leave names that are not durable: the next one
 * makes them so before it answers, also when the pool does nothing for it. */
static void names_found_at_open_are_made_durable(void **state) {
    struct fixture *f = *state;
    for (uint64_t cut = 1; cut < 40; cut++) {
        struct bnd_error err;
        fixture_close(f);
        fixture_free(f);
        fixture_init(f, 5);
        f->world->cut_at = cut;
        f->world->kill = true;
        (void)fixture_open(f, &err);
        fixture_close(f);
        crash_reboot(f->world);
        f->world->work_full = true;
        assert_int_equal(fixture_open(f, &err), 0);
        create(f, GROUP);
        commit(f);
        assert_int_equal(f->durable, 1);
        assert_int_equal(reopen(f, &err), 0);
        assert_true(look(f, GROUP).group.exists);
    }
}

/* Writes an entry of `torn` bytes of which only the first sector stays, then one of `next` bytes.
 */
static void torn_then_next(struct fixture *f, size_t torn, size_t next) {
    struct bnd_error err = {0};
    struct bnd_journal_stats stats;
    uint64_t index = fill_all_but_one_block(f) + 1;
    assert_int_equal(append(f, index, torn, NULL), 0);
    f->world->cut_at = f->world->ops + 1;
    f->world->keep = 8;
    commit(f);
    assert_true(f->world->dead);
    assert_int_equal(reopen(f, &err), 0);
    bnd_journal_stats(f->journal, &stats);
    assert_true(stats.torn_bytes > 0);
    bnd_journal_recovered(f->journal);
    assert_int_equal(append(f, index, next, NULL), 0);
    commit(f);
    assert_int_equal(reopen(f, &err), 0);
    assert_int_equal(look(f, GROUP).group.entries_count, index);
}

/* The log does not end where it is damaged: what follows in the next segment was acknowledged. */
static void damage_before_the_next_segment_is_refused(void **state) {
    struct fixture *f = *state;
    struct bnd_error err = {0};
    uint64_t index = fill_all_but_one_block(f);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(f, ++index, 1000, NULL), 0);
        commit(f);
    }
    static const size_t places[] = {15 * 4096 + 20, 15 * 4096 + 100, 15 * 4096 + 900};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint8_t *byte = &crash_file(f->world, "0000000000000001.seg")->durable[places[i]];
        *byte ^= 1;
        assert_int_equal(reopen(f, &err), BND_CORRUPT);
        assert_non_null(strstr(err.message, "0000000000000001"));
        *byte ^= 1;
    }
    assert_int_equal(reopen(f, &err), 0);
    assert_int_equal(look(f, GROUP).group.entries_count, index);
}

/* What follows does not fit behind it and goes to the next segment: the torn one would be damage
 * before it. */
static void a_torn_batch_is_not_met_again_in_its_segment(void **state) {
    torn_then_next(*state, 1000, 6000);
}

/* What follows fits into the segment before: the torn one would be a batch that does not follow it.
 */
static void a_torn_batch_is_not_met_again_in_the_next_segment(void **state) {
    torn_then_next(*state, 6000, 1000);
}

/* The power goes at each write around a checkpoint of several batches: what follows later is not
 * inside it. */
static void a_checkpoint_cut_by_a_crash_is_finished(void **state) {
    struct fixture *f = *state;
    size_t cuts = 0;
    for (uint64_t after = 1; after <= 30; after++) {
        struct bnd_error err = {0};
        fixture_close(f);
        fixture_free(f);
        fixture_init(f, 5);
        assert_int_equal(fixture_open(f, &err), 0);
        for (uint64_t gid = 1; gid <= 300; gid++) {
            create(f, gid);
        }
        commit(f);
        f->world->cut_at = f->world->ops + after;
        for (uint64_t i = 1; !f->world->dead; i++) {
            (void)append(f, i, 3000, NULL);
            commit(f);
        }
        assert_int_equal(reopen(f, &err), 0);
        bnd_journal_recovered(f->journal);
        cuts += bnd_journal_meta(f->journal, 300, 5, 1, NULL) == 0;
        commit(f);
        assert_int_equal(reopen(f, &err), 0);
        assert_int_equal(look(f, 300).groups, 300);
        assert_int_equal(look(f, 300).group.term, 5);
    }
    assert_int_equal(cuts, 30);
}

/* Files that an earlier run left for later use have its size. */
static void files_of_another_size_are_not_used_again(void **state) {
    struct fixture *f = *state;
    struct bnd_error err = {0};
    struct bnd_file *file = NULL;
    uint8_t old[4096] = {1};
    while (crash_file(f->world, ".free") == NULL) {
        fixture_drive(f, 20);
    }
    assert_int_equal(crash_open(&f->world->env, "data/journal/00000000000000ff.tmp",
                                BND_OPEN_WRITE | BND_OPEN_CREATE, &file, &err),
                     0);
    assert_int_equal(crash_pwrite(&f->world->env, file, old, sizeof old, 100 * 4096, &err), 0);
    crash_close(&f->world->env, file);
    uint64_t lsn = f->durable;
    f->config.segment_bytes = 12 * 4096;
    fixture_close(f);
    assert_int_equal(fixture_open(f, &err), 0);
    fixture_check(f, lsn);
    assert_null(crash_file(f->world, ".tmp"));
    fixture_drive(f, 200);
    lsn = f->durable;
    assert_int_equal(reopen(f, &err), 0);
    fixture_check(f, lsn);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(names_found_at_open_are_made_durable),
        TEST(damage_before_the_next_segment_is_refused),
        TEST(a_torn_batch_is_not_met_again_in_its_segment),
        TEST(a_torn_batch_is_not_met_again_in_the_next_segment),
        TEST(a_checkpoint_cut_by_a_crash_is_finished),
        TEST(files_of_another_size_are_not_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
