/* What the journal promises across a loss of power: cut at every change of the disk, with every
 * class of un-synced sectors kept, then opened, compared with the model, written on and opened
 * again. */
#include "tests/unit/engine/journal_model.h"

#define DRIVE 500

/* Opens after a crash; everything acknowledged must be there. */
static void reopen(struct fixture *f) {
    uint64_t durable = f->durable;
    struct bnd_error err = {0};
    fixture_close(f);
    crash_reboot(f->world);
    int rv = fixture_open(f, &err);
    if (rv != 0) {
        print_error("keep %u: %s\n", f->world->keep, err.message);
    }
    assert_int_equal(rv, 0);
    fixture_check(f, durable);
}

static uint64_t run(uint64_t seed, size_t count, uint64_t cut_at, unsigned keep) {
    struct fixture f;
    fixture_init(&f, seed);
    f.world->cut_at = cut_at;
    f.world->keep = keep;
    struct bnd_error err;
    if (fixture_open(&f, &err) == 0) {
        fixture_drive(&f, count);
    }
    uint64_t ops = f.world->ops;
    reopen(&f);
    fixture_drive(&f, 30);
    reopen(&f); /* a clean end is a cut with nothing under way */
    fixture_close(&f);
    fixture_free(&f);
    return ops;
}

static void every_write_cut(void **state) {
    uint64_t ops = run(1, DRIVE, 0, 0);
    assert_true(ops > 200);
    for (uint64_t cut = 1; cut <= ops; cut++) {
        for (unsigned keep = 0; keep < CRASH_KEEPS + 2; keep++) {
            (void)run(1, DRIVE, cut, keep);
        }
    }
}

/* Crash after crash on one disk, at random operations: torn batches under torn batches. */
static void crash_after_crash(void **state) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture f;
        struct bnd_error err;
        fixture_init(&f, seed);
        assert_int_equal(fixture_open(&f, &err), 0);
        for (int round = 0; round < 25; round++) {
            f.world->cut_at = f.world->ops + 1 + fixture_random(&f, 40);
            f.world->keep = (unsigned)fixture_random(&f, 40);
            fixture_drive(&f, 1 + fixture_random(&f, 120));
            uint64_t durable = f.durable;
            fixture_close(&f);
            crash_reboot(f.world);
            /* The power goes again while it opens. */
            f.world->cut_at = fixture_random(&f, 6);
            f.world->keep = (unsigned)fixture_random(&f, 40);
            if (fixture_open(&f, &err) != 0) {
                assert_true(f.world->dead);
            } else {
                fixture_check(&f, durable);
                durable = f.durable;
            }
            f.durable = durable;
            reopen(&f);
        }
        fixture_close(&f);
        fixture_free(&f);
    }
}

/* A killed process leaves a write that is readable and not durable: what open then serves must
 * survive a loss of power, entries and names of files alike. */
static void every_write_killed(void **state) {
    uint64_t ops = run(2, DRIVE, 0, 0);
    for (uint64_t cut = 1; cut <= ops; cut++) {
        for (unsigned keep = 0; keep < CRASH_KEEPS; keep += 3) {
            for (uint64_t again = 0; again < 8; again++) {
                struct fixture f;
                struct bnd_error err;
                fixture_init(&f, 2);
                f.world->cut_at = cut;
                f.world->kill = true;
                if (fixture_open(&f, &err) == 0) {
                    fixture_drive(&f, DRIVE);
                }
                reopen(&f);
                f.world->cut_at = again;
                f.world->keep = keep;
                fixture_drive(&f, again > 0 ? 40 : 0);
                reopen(&f);
                fixture_close(&f);
                fixture_free(&f);
            }
        }
    }
}

/* Segments are recycled and relocated in these runs: else the two tests above show less than they
 * say. */
static void runs_do_enough(void **state) {
    struct fixture f;
    struct bnd_error err;
    fixture_init(&f, 1);
    assert_int_equal(fixture_open(&f, &err), 0);
    fixture_drive(&f, DRIVE);
    struct bnd_journal_stats stats;
    bnd_journal_stats(f.journal, &stats);
    assert_true(stats.rewritten_records > 0);
    assert_null(crash_file(f.world, "0000000000000001.seg")); /* recycled */
    fixture_close(&f);
    fixture_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_do_enough),
        cmocka_unit_test(every_write_cut),
        cmocka_unit_test(every_write_killed),
        cmocka_unit_test(crash_after_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
