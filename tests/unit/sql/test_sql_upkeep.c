/* What a leader asks to be deleted, lap after lap over its databases: on a real host, whose clock
 * and long timers are the test's. */
#include "tests/unit/sql/leader_rig.h"

#define KEEP_MS 60000u
#define STEP_MS 4000u /* a look or two, and no deadline is passed in one */

static const uint8_t uuid_a[16] = {1, 2, 3};
static const uint8_t uuid_b[16] = {9, 9};

/* Something is written at every step: time in a group is that of its entries, and what was proposed
 * before has its outcome by then. */
static void grows_old(struct sql_rig *rig, uint64_t ms) {
    for (uint64_t passed = 0; passed < ms; passed += STEP_MS) {
        time_passes(STEP_MS);
        (void)rig_expect(rig, uuid_b, "UPDATE t SET v = v + 1\0", BND_SQL_DONE);
    }
}

static uint64_t cutoffs(const struct sql_rig *rig) {
    struct bnd_sql_stats stats;
    bnd_sql_stats(rig->sql, &stats);
    return stats.cutoffs;
}

static int fork_at(struct sql_rig *rig, const struct bnd_sql_bookmark *at) {
    struct rig_admin admin;
    uint8_t fork[16];
    bnd_sql_fork_uuid(rig->sql, uuid_a, fork);
    rig_admin_begin(&admin);
    return rig_admin_wait(rig, &admin, bnd_sql_fork(rig->sql, &admin.admin, uuid_a, at, fork));
}

/* Looked at again and again, until it is: not only by the first lap of a leader. */
static void what_grows_old_behind_the_first_lap_goes(void **state) {
    struct sql_rig *rig = *state;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    struct bnd_sql_bookmark oldest = rig_bookmark(rig, uuid_a);
    (void)rig_expect(rig, uuid_a, "INSERT INTO t VALUES(1)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_b, "CREATE TABLE t(v)\0INSERT INTO t VALUES(1)\0", BND_SQL_DONE);
    grows_old(rig, KEEP_MS - 2 * (uint64_t)STEP_MS); /* many laps */
    assert_int_equal(cutoffs(rig), 0);
    assert_int_equal(fork_at(rig, &oldest), 0);
    grows_old(rig, KEEP_MS);
    assert_true(cutoffs(rig) > 0);
    assert_int_equal(fork_at(rig, &oldest), BND_NOTFOUND);
    (void)rig_expect(rig, uuid_a, "SELECT v FROM t\0", BND_SQL_DONE);
}

static int start(void **state) {
    return rig_setup(state, (struct sql_rig){.holds_time = true, .keep_ms = KEEP_MS}, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_grows_old_behind_the_first_lap_goes, start),
    };
    return cmocka_run_group_tests(tests, rig_library, NULL);
}
