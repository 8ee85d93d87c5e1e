/* Connections to nothing in common run in parallel; one is interrupted from another thread. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/unit/sql/connection_rig.h"

#define THREADS 4

static void *insert_and_count(void *data) {
    struct rig rig;
    rig_open(&rig);
    (void)ask(&rig, "CREATE VIRTUAL TABLE f USING fts5(body)");
    (void)ask(&rig, "CREATE TABLE t (id INTEGER PRIMARY KEY, r INT DEFAULT (random()))");
    for (int i = 0; i < 100; i++) {
        (void)ask(&rig, "INSERT INTO t DEFAULT VALUES");
        (void)ask(&rig, "INSERT INTO f SELECT 'word ' || count(*) FROM t");
    }
    (void)ask(&rig, "SELECT count(*) AS n FROM f WHERE f MATCH 'word'");
    *(bool *)data = strcmp(results(&rig, 0), "[{\"n\":100}]") == 0;
    rig_close(&rig);
    return NULL;
}

static void test_in_parallel(void **state) {
    pthread_t threads[THREADS];
    bool good[THREADS] = {false};
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, insert_and_count, &good[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(good[i]);
    }
}

struct runner {
    _Atomic bool runs, stop;
};

static void *stop_what_runs(void *data) {
    struct runner *runner = data;
    while (!runner->runs) {
        sched_yield();
    }
    runner->stop = true;
    return NULL;
}

static uint64_t runs(void *data) {
    struct runner *runner = data;
    runner->runs = true;
    return 0;
}

static void test_interrupted(void **state) {
    struct rig rig;
    rig_open(&rig);
    struct runner runner = {0};
    rig.run.stop = &runner.stop;
    rig.run.clock = (struct sql_clock){.now_ns = runs, .data = &runner};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_what_runs, &runner), 0);
    ask_fails(
        &rig,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "interrupted: SQLITE_INTERRUPT");
    assert_int_equal(pthread_join(thread, NULL), 0);
    runner.stop = false;
    assert_string_equal(rows(&rig, "SELECT 1 AS one"), "[{\"one\":1}]");
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_parallel),
                                       cmocka_unit_test(test_interrupted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
