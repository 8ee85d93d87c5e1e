/* What a core refuses to be opened with: each recovered log is right but for one thing. */
#include "raft/core_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

/* A start at 10 of term 3, entries 11 to 13 of terms 3, 3, 5, the group in term 6. */
struct recovered {
    struct bnd_buf configuration;
    struct bnd_journal_entry entries[3];
    struct bnd_core_config config;
    size_t skip;
};

static int setup(void **state) {
    struct recovered *r = calloc(1, sizeof *r);
    const struct bnd_raft_configuration members = {.count = 1, .members = {{1, BND_RAFT_VOTER}}};
    bnd_raft_configuration_encode(&members, &r->configuration);
    for (size_t i = 0; i < 3; i++) {
        r->entries[i] = (struct bnd_journal_entry){.index = 11 + i,
                                                   .term = i < 2 ? 3 : 5,
                                                   .kind = BND_CORE_COMMAND,
                                                   .data = bnd_slice_str("x")};
    }
    r->config = (struct bnd_core_config){.gid = 1,
                                         .term = 6,
                                         .start = {.index = 10,
                                                   .term = 3,
                                                   .config_index = 4,
                                                   .config = bnd_buf_slice(&r->configuration)},
                                         .entries = r->entries,
                                         .entries_count = 3};
    *state = r;
    return 0;
}

static int teardown(void **state) {
    struct recovered *r = *state;
    bnd_buf_free(&r->configuration);
    free(r);
    return 0;
}

static int check(struct recovered *r) {
    struct bnd_error err;
    return core_check_recovered(&r->config, &r->skip, &err);
}

static void logs_that_may_be(void **state) {
    struct recovered *r = *state;
    assert_int_equal(check(r), 0);
    assert_int_equal(r->skip, 0);
    for (size_t i = 0; i < 3; i++) {
        r->entries[i].index = 9 + i; /* a state that covers some */
    }
    assert_int_equal(check(r), 0);
    assert_int_equal(r->skip, 0);
    for (size_t i = 0; i < 3; i++) {
        r->entries[i].index = 5 + i; /* one that has passed all: none is taken */
    }
    r->config.start.term = 5;
    assert_int_equal(check(r), 0);
    assert_int_equal(r->skip, 3);
    r->config.entries_count = 0;
    assert_int_equal(check(r), 0);
}

static void impossible_starts(void **state) {
    struct recovered *r = *state;
    r->config.start.term = 0;
    assert_int_equal(check(r), BND_CORRUPT);
    r->config.start.term = 7;
    r->config.entries_count = 0;
    assert_int_equal(check(r), BND_CORRUPT);
    r->config.start.term = 3;
    r->config.start.config_index = 0;
    assert_int_equal(check(r), BND_CORRUPT);
    r->config.start.config_index = 11;
    assert_int_equal(check(r), BND_CORRUPT);
    r->config.start.config_index = 10;
    assert_int_equal(check(r), 0);
    r->config.start.config.len--;
    assert_int_equal(check(r), BND_CORRUPT);
}

static void entries_that_do_not_follow(void **state) {
    struct recovered *r = *state;
    r->entries[1].index = 13;
    assert_int_equal(check(r), BND_CORRUPT);
    r->entries[1].index = 12;
    r->entries[2].term = 2; /* falls */
    assert_int_equal(check(r), BND_CORRUPT);
    r->entries[2].term = 7; /* above the group's */
    assert_int_equal(check(r), BND_CORRUPT);
    r->entries[2].term = 6;
    assert_int_equal(check(r), 0);
    r->entries[2].kind = 99;
    assert_int_equal(check(r), BND_CORRUPT);
    r->entries[2].kind = BND_CORE_CONFIGURATION; /* whose bytes are cut */
    r->entries[2].data = bnd_slice(r->configuration.data, r->configuration.len - 1);
    assert_int_equal(check(r), BND_CORRUPT);
}

static void entries_that_do_not_meet_the_start(void **state) {
    struct recovered *r = *state;
    for (size_t i = 0; i < 3; i++) {
        r->entries[i].index++; /* 11 is missing */
    }
    assert_int_equal(check(r), BND_CORRUPT);
    for (size_t i = 0; i < 3; i++) {
        r->entries[i].index = i;
    }
    assert_int_equal(check(r), BND_CORRUPT); /* there is no entry 0 */
    for (size_t i = 0; i < 3; i++) {
        r->entries[i] =
            (struct bnd_journal_entry){.index = 10 + i, .term = 4, .kind = BND_CORE_BARRIER};
    }
    assert_int_equal(check(r), BND_CORRUPT); /* another entry 10 than the state's */
    r->entries[0].term = 3;
    assert_int_equal(check(r), 0);
    r->config.start.term = 4;
    r->config.entries = &r->entries[1];
    r->config.entries_count = 1;
    r->entries[1].term = 3; /* older than the entry before it */
    assert_int_equal(check(r), BND_CORRUPT);
}

static void a_log_begins_with_a_configuration(void **state) {
    struct recovered *r = *state;
    r->config.start = (struct bnd_journal_start){0};
    r->config.entries_count = 1;
    r->entries[0].index = 1;
    assert_int_equal(check(r), BND_CORRUPT);
    r->entries[0].kind = BND_CORE_CONFIGURATION;
    r->entries[0].data = bnd_buf_slice(&r->configuration);
    assert_int_equal(check(r), 0);
    r->entries[0].term = 0;
    assert_int_equal(check(r), BND_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(logs_that_may_be),
        TEST(impossible_starts),
        TEST(entries_that_do_not_follow),
        TEST(entries_that_do_not_meet_the_start),
        TEST(a_log_begins_with_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
