/* The logbook accepts logs as Raft makes them and finds what may not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "raft/core.h"
#include "tests/sim/logbook.h"

static struct bnd_sim_check check;
static struct bnd_sim_logbook logbook;

static int setup(void **state) {
    (void)state;
    check = (struct bnd_sim_check){0};
    bnd_sim_logbook_init(&logbook, 1, &check);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    bnd_sim_logbook_free(&logbook);
    return 0;
}

static void entry(uint64_t node, uint64_t index, uint64_t term, const char *text) {
    const struct bnd_journal_entry e = {
        .index = index, .term = term, .kind = BND_CORE_COMMAND, .data = bnd_slice_str(text)};
    bnd_sim_logbook_entry(&logbook, node, &e);
}

static void equal_logs_pass(void **state) {
    (void)state;
    for (uint64_t index = 1; index <= 3000; index++) {
        for (uint64_t node = 1; node <= 3; node++) {
            entry(node, index, 1 + index / 100, index % 2 == 0 ? "even" : "odd");
            bnd_sim_logbook_committed(&logbook, node, index, 1 + index / 100, 40);
        }
    }
    entry(1, 7, 2, "another term may hold another entry");
    assert_int_equal(check.violations, 0);
}

static void one_entry_per_index_and_term(void **state) {
    (void)state;
    entry(1, 5, 2, "a");
    entry(2, 5, 3, "b");
    assert_int_equal(check.violations, 0);
    entry(2, 5, 2, "c");
    assert_int_equal(check.violations, 1);
    assert_non_null(strstr(check.first, "nodes 1 and 2 hold different entries"));
}

static void one_term_per_committed_index(void **state) {
    (void)state;
    bnd_sim_logbook_committed(&logbook, 1, 9, 2, 2);
    bnd_sim_logbook_committed(&logbook, 2, 9, 2, 3);
    assert_int_equal(check.violations, 0);
    bnd_sim_logbook_committed(&logbook, 3, 9, 3, 3);
    assert_int_equal(check.divergences, 1);
    assert_non_null(strstr(check.first_divergence, "node 3 has term 3 committed, others term 2"));
}

static uint64_t always_two(void *log, uint64_t index) {
    (void)log, (void)index;
    return 2;
}

static void a_leader_has_what_was_committed_before_its_term(void **state) {
    (void)state;
    bnd_sim_logbook_committed(&logbook, 1, 9, 2, 4);
    bnd_sim_logbook_leader(&logbook, 2, 5, 9, always_two, NULL);
    bnd_sim_logbook_leader(&logbook, 2, 4, 3, always_two,
                           NULL); /* committed in its own term or later */
    assert_int_equal(check.violations, 0);
    bnd_sim_logbook_leader(&logbook, 2, 5, 8, always_two, NULL);
    assert_int_equal(check.divergences, 1);
    bnd_sim_logbook_committed(&logbook, 1, 10, 3, 4);
    bnd_sim_logbook_leader(&logbook, 2, 5, 12, always_two, NULL); /* has another one there */
    assert_int_equal(check.divergences, 2);
}

static void changes_of_members_are_counted_once(void **state) {
    (void)state;
    const struct bnd_raft_configuration first = {.count = 1, .members = {{1, BND_RAFT_VOTER}}};
    const struct bnd_raft_configuration grown = {
        .count = 3, .members = {{1, BND_RAFT_VOTER}, {2, BND_RAFT_VOTER}, {3, BND_RAFT_STANDBY}}};
    const struct bnd_raft_configuration moved = {
        .count = 2, .members = {{2, BND_RAFT_VOTER}, {3, BND_RAFT_VOTER}}};
    struct bnd_sim_member_changes changes = bnd_sim_logbook_configuration(&logbook, 1, &first);
    assert_int_equal(changes.joins, 0); /* the founders */
    changes = bnd_sim_logbook_configuration(&logbook, 5, &grown);
    assert_int_equal(changes.joins, 1);
    assert_int_equal(changes.removals, 0);
    changes = bnd_sim_logbook_configuration(&logbook, 8, &moved);
    assert_int_equal(changes.joins, 1);
    assert_int_equal(changes.removals, 1);
    changes = bnd_sim_logbook_configuration(&logbook, 5, &grown); /* by a node that is behind */
    assert_int_equal(changes.joins + changes.removals, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(equal_logs_pass),
        TEST(one_entry_per_index_and_term),
        TEST(one_term_per_committed_index),
        TEST(a_leader_has_what_was_committed_before_its_term),
        TEST(changes_of_members_are_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
