/* The checkers accept good histories and find every planted fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/sim/history.h"

struct rig {
    struct bnd_sim_check check;
    struct bnd_sim_ledger ledger;
    struct bnd_sim_history history;
    uint64_t index;
};

static void rig_open(struct rig *rig) {
    *rig = (struct rig){0};
    bnd_sim_ledger_init(&rig->ledger, 1, &rig->check);
}

/* Ends the run: exactly `violations`, the first one saying `text` ("": anything). */
static void rig_close(struct rig *rig, bool bad, const char *text) {
    bnd_sim_history_check(&rig->history, &rig->ledger, &rig->check);
    if (!bad) {
        assert_string_equal(rig->check.first, "");
    }
    assert_int_equal(rig->check.violations > 0, bad);
    assert_non_null(strstr(rig->check.first, text));
    bnd_sim_ledger_free(&rig->ledger);
    bnd_sim_history_free(&rig->history);
}

static size_t invoke(struct rig *rig, enum bnd_sim_op_kind kind, uint64_t token, uint64_t expected,
                     uint64_t at) {
    struct bnd_sim_op op = {
        .kind = kind, .key = 3, .token = token, .expected = expected, .invoked_ns = at};
    return bnd_sim_history_invoke(&rig->history, &op);
}

static void answer(struct rig *rig, size_t op, uint64_t at, int status, const uint64_t *words,
                   size_t count) {
    uint8_t bytes[64];
    for (size_t i = 0; i < count; i++) {
        bnd_put_u64(bytes + 8 * i, words[i]);
    }
    bnd_sim_history_return(&rig->history, op, at, BND_SIM_ANSWERED, status,
                           bnd_slice(bytes, 8 * count));
}

static void apply_on(struct rig *rig, uint64_t node, uint64_t index, size_t op, int status,
                     uint64_t hash) {
    BND_AUTO_BUF struct bnd_buf command = {0};
    bnd_sim_op_command(&rig->history.ops[op], &command);
    struct bnd_sim_applied applied = {.index = index,
                                      .term = 1,
                                      .command = bnd_buf_slice(&command),
                                      .status = status,
                                      .hash = hash};
    bnd_sim_ledger_applied(&rig->ledger, node, &applied);
}

static void apply(struct rig *rig, size_t op, int status) {
    rig->index++;
    apply_on(rig, 1, rig->index, op, status, rig->index);
    apply_on(rig, 2, rig->index, op, status, rig->index);
}

#define WORDS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8

static void test_good_history_passes(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_APPEND, 11, 0, 10);
    size_t b = invoke(&rig, BND_SIM_APPEND, 12, 0, 20); /* concurrent, and first */
    size_t r = invoke(&rig, BND_SIM_GET, 0, 0, 25);     /* concurrent with both: sees b alone */
    apply(&rig, b, 0);
    apply(&rig, a, 0);
    answer(&rig, r, 30, 0, WORDS(12));
    answer(&rig, b, 40, 0, WORDS(8));
    answer(&rig, a, 50, 0, WORDS(16));
    size_t late = invoke(&rig, BND_SIM_GET, 0, 0, 60);
    answer(&rig, late, 70, 0, WORDS(12, 11));
    size_t cas = invoke(&rig, BND_SIM_CAS, 13, 5, 80);
    apply(&rig, cas, BND_PRECONDITION);
    answer(&rig, cas, 90, BND_PRECONDITION, WORDS(12, 11));
    size_t put = invoke(&rig, BND_SIM_PUT, 14, 0, 100);
    apply(&rig, put, 0);
    answer(&rig, put, 110, 0, NULL, 0);
    size_t add = invoke(&rig, BND_SIM_ADD, 6, 0, 120);
    apply(&rig, add, 0);
    answer(&rig, add, 130, 0, WORDS(20));
    (void)invoke(&rig, BND_SIM_PUT, 15, 0, 140); /* never answered, never executed */
    size_t unknown = invoke(&rig, BND_SIM_CAS, 16, 20, 150);
    apply(&rig, unknown, 0); /* never answered, executed */
    size_t end = invoke(&rig, BND_SIM_GET, 0, 0, 160);
    answer(&rig, end, 170, 0, WORDS(16));
    rig_close(&rig, false, "");
}

static void test_lost_acknowledged_write(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_PUT, 11, 0, 10);
    answer(&rig, a, 20, 0, NULL, 0);
    rig_close(&rig, true, "lost");
}

static void test_stale_read(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_PUT, 11, 0, 10);
    apply(&rig, a, 0);
    answer(&rig, a, 20, 0, NULL, 0);
    size_t r = invoke(&rig, BND_SIM_GET, 0, 0, 30);
    answer(&rig, r, 40, 0, NULL, 0);
    rig_close(&rig, true, "stale");
}

static void test_reads_that_go_back(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_PUT, 11, 0, 10); /* never answered */
    apply(&rig, a, 0);
    size_t first = invoke(&rig, BND_SIM_GET, 0, 0, 20);
    answer(&rig, first, 30, 0, WORDS(11));
    size_t second = invoke(&rig, BND_SIM_GET, 0, 0, 40);
    answer(&rig, second, 50, 0, NULL, 0);
    rig_close(&rig, true, "stale");
}

static void test_read_of_what_was_never_written(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t r = invoke(&rig, BND_SIM_GET, 0, 0, 20);
    answer(&rig, r, 30, 0, WORDS(77));
    rig_close(&rig, true, "never was");
}

static void test_read_of_the_future(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t r = invoke(&rig, BND_SIM_GET, 0, 0, 10);
    answer(&rig, r, 20, 0, WORDS(11));
    size_t a = invoke(&rig, BND_SIM_PUT, 11, 0, 30);
    apply(&rig, a, 0);
    rig_close(&rig, true, "before it began");
}

static void test_order_against_real_time(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_PUT, 11, 0, 10);
    answer(&rig, a, 20, 0, NULL, 0);
    size_t b = invoke(&rig, BND_SIM_PUT, 12, 0, 30);
    apply(&rig, b, 0);
    apply(&rig, a, 0);
    rig_close(&rig, true, "before it began");
}

static void test_executed_though_told_not(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_PUT, 11, 0, 10);
    apply(&rig, a, 0);
    bnd_sim_history_return(&rig.history, a, 20, BND_SIM_NOT_EXECUTED, BND_NOTLEADER,
                           bnd_slice(NULL, 0));
    rig_close(&rig, true, "told not");
}

static void test_wrong_reply_and_wrong_outcome(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_APPEND, 11, 0, 10);
    apply(&rig, a, 0);
    answer(&rig, a, 20, 0, WORDS(16));
    rig_close(&rig, true, "wrong reply");
    rig_open(&rig);
    a = invoke(&rig, BND_SIM_CAS, 11, 5, 10);
    apply(&rig, a, 0); /* the key is not there: it must not succeed */
    answer(&rig, a, 20, 0, NULL, 0);
    rig_close(&rig, true, "should give");
}

static void test_applied_twice(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_ADD, 11, 0, 10);
    apply(&rig, a, 0);
    apply(&rig, a, 0);
    rig_close(&rig, true, "second time");
}

static void test_replicas_that_differ(void **state) {
    struct rig rig;
    rig_open(&rig);
    size_t a = invoke(&rig, BND_SIM_PUT, 11, 0, 10);
    size_t b = invoke(&rig, BND_SIM_PUT, 12, 0, 10);
    apply_on(&rig, 1, 1, a, 0, 1);
    apply_on(&rig, 2, 1, b, 0, 1);
    rig_close(&rig, true, "another command");

    rig_open(&rig);
    a = invoke(&rig, BND_SIM_PUT, 11, 0, 10);
    apply_on(&rig, 1, 1, a, 0, 1);
    apply_on(&rig, 2, 1, a, 0, 2);
    rig_close(&rig, true, "differs");

    rig_open(&rig);
    a = invoke(&rig, BND_SIM_PUT, 11, 0, 10);
    b = invoke(&rig, BND_SIM_PUT, 12, 0, 10);
    apply_on(&rig, 1, 5, a, 0, 1);
    apply_on(&rig, 2, 4, b, 0, 1);
    rig_close(&rig, true, "executed none");
}

static void test_leaders(void **state) {
    struct rig rig;
    rig_open(&rig);
    bnd_sim_ledger_leader(&rig.ledger, 1, 1, 5);
    bnd_sim_ledger_leader(&rig.ledger, 1, 1, 5);
    bnd_sim_ledger_leader(&rig.ledger, 2, 1, 6);
    bnd_sim_ledger_leader(&rig.ledger, 3, 0, 7); /* lost in a crash before it was durable */
    bnd_sim_ledger_leader(&rig.ledger, 3, 2, 7);
    assert_int_equal(bnd_sim_ledger_leader_of(&rig.ledger, 6), 2);
    assert_int_equal(bnd_sim_ledger_leader_of(&rig.ledger, 8), 0);
    rig_close(&rig, false, "");
    rig_open(&rig);
    bnd_sim_ledger_leader(&rig.ledger, 1, 1, 5);
    bnd_sim_ledger_leader(&rig.ledger, 2, 1, 5);
    rig_close(&rig, true, "both lead");
    rig_open(&rig);
    bnd_sim_ledger_leader(&rig.ledger, 1, 1, 5);
    bnd_sim_ledger_leader(&rig.ledger, 1, 2, 5);
    rig_close(&rig, true, "after a restart");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_history_passes),
        cmocka_unit_test(test_lost_acknowledged_write),
        cmocka_unit_test(test_stale_read),
        cmocka_unit_test(test_reads_that_go_back),
        cmocka_unit_test(test_read_of_what_was_never_written),
        cmocka_unit_test(test_read_of_the_future),
        cmocka_unit_test(test_order_against_real_time),
        cmocka_unit_test(test_executed_though_told_not),
        cmocka_unit_test(test_wrong_reply_and_wrong_outcome),
        cmocka_unit_test(test_applied_twice),
        cmocka_unit_test(test_replicas_that_differ),
        cmocka_unit_test(test_leaders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
