/* Branches on a real host, whose clock and long timers are the test's: there as long as they are
 * kept, gone with their end, and of what they were asked for. */
#include "gateway/d1/branch.h"
#include "tests/unit/sql/leader_rig.h"

#define STEP_MS 4000u /* of a lease of 30 s */

static const uint8_t uuid_a[16] = {1, 2, 3};
static const uint8_t uuid_b[16] = {9, 9};

struct begun {
    struct d1_branch branch;
    bool done;
    int status;
};

static void on_branch(struct d1_branch *branch, int status) {
    struct begun *of = branch->data;
    assert_false(of->done);
    of->done = true;
    of->status = status;
}

static int branch_wait(struct sql_rig *rig, struct begun *of, bool holds) {
    assert_int_equal(d1_branch_begin(&of->branch, uuid_a, holds), 0);
    rig_run(rig, rig_flag, &of->done);
    return of->status;
}

static void begun_init(struct sql_rig *rig, struct begun *out) {
    *out =
        (struct begun){.branch = {.env = rig->env, .sql = rig->sql, .cb = on_branch, .data = out}};
}

/* What a statement alone comes to. */
static int comes_to(struct sql_rig *rig, const uint8_t uuid[16], const char *statements) {
    struct rig_call call = {0};
    assert_int_equal(rig_ask(rig, &call, uuid, statements), 0);
    rig_run(rig, rig_flag, &call.done);
    assert_true(call.status != 0 || call.outcome == BND_SQL_DONE);
    free(call.text);
    return call.status;
}

static const char insert[] = "INSERT INTO t VALUES(2)\0";
static const char select_all[] = "SELECT group_concat(v) AS v FROM t\0";

/* The same once what was begun before has come to its end; each answer is a step of the group. */
static int comes_to_in_the_end(struct sql_rig *rig, const uint8_t uuid[16], const char *statements,
                               int wanted) {
    int status = comes_to(rig, uuid, statements);
    for (int i = 0; i < 100 && status != wanted; i++) {
        status = comes_to(rig, uuid, statements);
    }
    return status;
}

static void make(struct sql_rig *rig) {
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, "INSERT INTO t VALUES(1)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_b, "CREATE TABLE t(v)\0INSERT INTO t VALUES(0)\0", BND_SQL_DONE);
}

/* Another database of the group is written at every step: time in it is that of its entries. */
static void pass(struct sql_rig *rig, unsigned steps) {
    for (unsigned i = 0; i < steps; i++) {
        time_passes(STEP_MS);
        (void)rig_expect(rig, uuid_b, "UPDATE t SET v = v + 1\0", BND_SQL_DONE);
    }
}

/* Through minutes of leases, and one in which nobody could be asked. */
static void it_is_there_as_long_as_it_is_kept(void **state) {
    struct sql_rig *rig = *state;
    struct begun begun;
    make(rig);
    begun_init(rig, &begun);
    assert_int_equal(branch_wait(rig, &begun, true), 0);
    pass(rig, 20);
    bnd_sql_shards(rig->sql, 0);
    time_passes(2 * STEP_MS);
    bnd_sql_shards(rig->sql, 1);
    pass(rig, 20);
    assert_non_null(strstr(rig_expect(rig, begun.branch.uuid, select_all, BND_SQL_DONE), "\"1\""));
    assert_int_equal(comes_to(rig, uuid_a, insert), BND_LOCKED);
    assert_int_equal(comes_to(rig, uuid_a, select_all), 0);
    d1_branch_end(&begun.branch);
    assert_int_equal(time_place(&begun.branch.timer), time_rig.count); /* asked for no more */
    assert_int_equal(comes_to_in_the_end(rig, uuid_a, insert, 0), 0);
    assert_int_equal(comes_to_in_the_end(rig, begun.branch.uuid, select_all, BND_NOTFOUND),
                     BND_NOTFOUND);
}

/* Of the present, which its maker is told: it is what a restore comes back to. */
static void it_begins_as_the_present(void **state) {
    struct sql_rig *rig = *state;
    struct begun begun;
    make(rig);
    struct bnd_sql_bookmark present = rig_bookmark(rig, uuid_a);
    begun_init(rig, &begun);
    assert_int_equal(branch_wait(rig, &begun, false), 0);
    assert_memory_equal(&begun.branch.at, &present, sizeof present);
    assert_int_equal(begun.branch.bytes, 2 * BND_SQL_PAGE_BYTES);
    struct bnd_sql_bookmark made = rig_bookmark(rig, begun.branch.uuid);
    assert_memory_equal(&begun.branch.made, &made, sizeof made);
    assert_int_equal(comes_to(rig, uuid_a, insert), 0); /* it holds nothing */
    assert_non_null(strstr(rig_expect(rig, begun.branch.uuid, select_all, BND_SQL_DONE), "\"1\""));
    d1_branch_end(&begun.branch);
}

static void it_begins_at_a_place_in_the_past(void **state) {
    struct sql_rig *rig = *state;
    struct begun begun;
    make(rig);
    begun_init(rig, &begun);
    begun.branch.past = true;
    begun.branch.at = rig_bookmark(rig, uuid_a);
    const struct bnd_sql_bookmark at = begun.branch.at;
    assert_int_equal(comes_to(rig, uuid_a, insert), 0);
    assert_int_equal(branch_wait(rig, &begun, false), 0);
    assert_memory_equal(&begun.branch.at, &at, sizeof at);
    pass(rig, 20); /* asked for again it is the same */
    assert_memory_equal(&begun.branch.at, &at, sizeof at);
    assert_non_null(strstr(rig_expect(rig, begun.branch.uuid, select_all, BND_SQL_DONE), "\"1\""));
    d1_branch_end(&begun.branch);
}

/* What cannot be made is told, and nothing of it goes on. */
static void what_is_held_is_not_held_twice(void **state) {
    struct sql_rig *rig = *state;
    struct begun first;
    struct begun second;
    make(rig);
    begun_init(rig, &first);
    begun_init(rig, &second);
    assert_int_equal(branch_wait(rig, &first, true), 0);
    assert_int_equal(branch_wait(rig, &second, true), BND_LOCKED);
    assert_int_equal(time_place(&second.branch.timer), time_rig.count);
    d1_branch_end(&second.branch);
    assert_int_equal(comes_to(rig, first.branch.uuid, select_all), 0);
    d1_branch_end(&first.branch);
    d1_branch_end(&(struct d1_branch){0});
}

static int start(void **state) {
    return rig_setup(state, (struct sql_rig){.holds_time = true}, 0);
}

#define TEST(name) RIG_TEST(name, start)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_is_there_as_long_as_it_is_kept),
        TEST(it_begins_as_the_present),
        TEST(it_begins_at_a_place_in_the_past),
        TEST(what_is_held_is_not_held_twice),
    };
    return cmocka_run_group_tests(tests, rig_library, NULL);
}
