/* The memory of the last seconds: exact sums, bounded lists, and honesty about what it lacks. */
#include "kv/recent.h"
#include "kv/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW UINT64_C(1700000000)

static struct kv_entry entry(const char *key, uint64_t second, uint16_t counter) {
    return (struct kv_entry){
        .namespace_id = 7,
        .key = bnd_slice_str(key),
        .seen.version = {.hlc = kv_hlc_of(second * 1000 + 5) | counter, .writer = 1}};
}

static struct kv_recent *make(size_t bytes_max) {
    struct kv_recent *recent = NULL;
    assert_int_equal(kv_recent_create(4, bytes_max, &recent), 0);
    kv_recent_tick(recent, NOW);
    assert_int_equal(kv_recent_begin(recent, 1, NOW - 8), 0);
    return recent;
}

static void applied(struct kv_recent *recent, uint32_t shard, const struct kv_entry *was,
                    const struct kv_entry *is) {
    const struct kv_entry *any = is != NULL ? is : was;
    const struct kv_seen none = {0};
    const struct kv_replaced replaced =
        kv_replaced(any->namespace_id, any->key, was != NULL ? was->seen : none,
                    is != NULL ? is->seen : none);
    kv_recent_applied(recent, shard, &replaced);
}

static bool collect(void *data, const struct kv_entry *e) {
    char *text = data;
    (void)strncat(text, (const char *)e->key.data, e->key.len);
    return strlen(text) < 60;
}

static void assert_listed(const struct kv_recent *recent, uint64_t second, const char *keys) {
    char text[64] = "";
    kv_recent_list(recent, 1, second, collect, text);
    assert_string_equal(text, keys);
}

static void test_order_of_arrival_does_not_matter(void **state) {
    (void)state;
    struct kv_recent *a = make(1 << 20), *b = make(1 << 20);
    struct kv_entry x1 = entry("x", NOW - 4, 0), x2 = entry("x", NOW - 2, 0);
    struct kv_entry y = entry("y", NOW - 4, 1);
    applied(a, 1, NULL, &x1);
    applied(a, 1, NULL, &y);
    applied(a, 1, &x1, &x2);
    applied(b, 1, NULL, &x2); /* it never saw x1 */
    applied(b, 1, NULL, &y);
    for (uint64_t s = NOW - 8; s <= NOW; s++) {
        struct kv_recent_sum of_a = kv_recent_sum(a, 1, s), of_b = kv_recent_sum(b, 1, s);
        assert_true(of_a.known && of_b.known && !of_a.lost);
        assert_true(bnd_hash128_eq(of_a.sum, of_b.sum));
        assert_int_equal(of_a.count, of_b.count);
    }
    assert_int_equal(kv_recent_sum(a, 1, NOW - 4).count, 1);
    assert_listed(a, NOW - 4, "y");
    assert_listed(a, NOW - 2, "x");
    kv_recent_destroy(a);
    kv_recent_destroy(b);
}

static void test_a_missing_record_shows_in_its_second(void **state) {
    (void)state;
    struct kv_recent *a = make(1 << 20), *b = make(1 << 20);
    struct kv_entry x = entry("x", NOW - 4, 0), y = entry("y", NOW - 3, 0);
    applied(a, 1, NULL, &x);
    applied(a, 1, NULL, &y);
    applied(b, 1, NULL, &y);
    assert_false(
        bnd_hash128_eq(kv_recent_sum(a, 1, NOW - 4).sum, kv_recent_sum(b, 1, NOW - 4).sum));
    assert_true(bnd_hash128_eq(kv_recent_sum(a, 1, NOW - 3).sum, kv_recent_sum(b, 1, NOW - 3).sum));
    applied(a, 1, &x, NULL); /* dropped */
    assert_true(bnd_hash128_eq(kv_recent_sum(a, 1, NOW - 4).sum, kv_recent_sum(b, 1, NOW - 4).sum));
    kv_recent_destroy(a);
    kv_recent_destroy(b);
}

static void test_what_is_known(void **state) {
    (void)state;
    struct kv_recent *recent = make(1 << 20);
    assert_false(kv_recent_sum(recent, 0, NOW).known); /* never begun */
    assert_false(kv_recent_sum(recent, 1, NOW - 9).known);
    assert_true(kv_recent_sum(recent, 1, NOW - 8).known);
    assert_true(kv_recent_sum(recent, 1, NOW + KV_RECENT_AHEAD).known);
    assert_false(kv_recent_sum(recent, 1, NOW + KV_RECENT_AHEAD + 1).known);
    struct kv_entry old = entry("x", NOW - 9, 0), now = entry("x", NOW, 0);
    applied(recent, 1, NULL, &old); /* nowhere */
    applied(recent, 1, &old, &now); /* only here */
    assert_int_equal(kv_recent_sum(recent, 1, NOW).count, 1);
    kv_recent_tick(recent, NOW + 12);
    assert_true(kv_recent_sum(recent, 1, NOW).known);
    assert_listed(recent, NOW, "x");
    kv_recent_tick(recent, NOW + 13);
    assert_false(kv_recent_sum(recent, 1, NOW).known);
    assert_int_equal(kv_recent_bytes(recent), 0);
    applied(recent, 1, &now, NULL); /* its second is gone: nothing to take out */
    kv_recent_tick(recent, NOW + 1000);
    kv_recent_tick(recent, NOW + 999); /* the clock went back a little */
    assert_true(kv_recent_sum(recent, 1, NOW + 1000).known);
    kv_recent_destroy(recent);
}

static void test_a_clock_that_was_far_ahead_is_put_right(void **state) {
    (void)state;
    struct kv_recent *recent = make(1 << 20);
    kv_recent_tick(recent, NOW + 3600);
    struct kv_entry ahead = entry("x", NOW + 3600, 0);
    applied(recent, 1, NULL, &ahead);
    kv_recent_tick(recent, NOW);
    assert_int_equal(kv_recent_bytes(recent), 0);
    assert_false(kv_recent_sum(recent, 1, NOW).known); /* it was not looking */
    kv_recent_tick(recent, NOW + 10);
    struct kv_entry now = entry("x", NOW + 10, 0);
    applied(recent, 1, &ahead, &now);
    assert_true(kv_recent_sum(recent, 1, NOW + 10).known);
    assert_int_equal(kv_recent_sum(recent, 1, NOW + 10).count, 1);
    kv_recent_destroy(recent);
}

static void test_a_stamp_from_far_ahead_is_not_known(void **state) {
    (void)state;
    struct kv_recent *recent = make(1 << 20);
    struct kv_entry x1 = entry("x", NOW + 10, 0), x2 = entry("x", NOW + 10, 1);
    applied(recent, 1, NULL, &x1);
    kv_recent_tick(recent, NOW + 10);
    applied(recent, 1, &x1, &x2); /* x1 is in no sum */
    assert_false(kv_recent_sum(recent, 1, NOW + 10).known);
    assert_true(kv_recent_sum(recent, 1, NOW + 9).known);
    kv_recent_destroy(recent);
}

static void test_lists_are_bounded_and_say_so(void **state) {
    (void)state;
    struct kv_recent *recent = make(4096), *large = make(1 << 20);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        struct kv_entry e = entry(key, NOW - 3, (uint16_t)i);
        applied(recent, 1, NULL, &e);
        applied(large, 1, NULL, &e);
        assert_true(kv_recent_bytes(recent) <= 4096);
    }
    struct kv_recent_sum sum = kv_recent_sum(recent, 1, NOW - 3);
    assert_true(sum.lost);
    assert_false(kv_recent_sum(recent, 1, NOW - 2).lost);
    assert_false(kv_recent_sum(large, 1, NOW - 3).lost);
    assert_true(
        bnd_hash128_eq(sum.sum, kv_recent_sum(large, 1, NOW - 3).sum)); /* exact all the same */
    for (int i = 0; i < 1000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        struct kv_entry e = entry(key, NOW - 3, (uint16_t)i);
        applied(recent, 1, &e, NULL);
    }
    assert_int_equal(kv_recent_bytes(recent), 0);
    assert_int_equal(kv_recent_sum(recent, 1, NOW - 3).count, 0);
    kv_recent_destroy(recent);
    kv_recent_destroy(large);
}

static void test_begun_anew_it_is_empty(void **state) {
    (void)state;
    struct kv_recent *recent = make(1 << 20);
    struct kv_entry x = entry("x", NOW, 0);
    applied(recent, 1, NULL, &x);
    assert_int_equal(kv_recent_begin(recent, 1, NOW + 2), 0);
    assert_int_equal(kv_recent_bytes(recent), 0);
    assert_false(kv_recent_sum(recent, 1, NOW).known);
    assert_int_equal(kv_recent_sum(recent, 1, NOW + 2).count, 0);
    kv_recent_destroy(recent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_arrival_does_not_matter),
        cmocka_unit_test(test_a_missing_record_shows_in_its_second),
        cmocka_unit_test(test_what_is_known),
        cmocka_unit_test(test_a_clock_that_was_far_ahead_is_put_right),
        cmocka_unit_test(test_a_stamp_from_far_ahead_is_not_known),
        cmocka_unit_test(test_lists_are_bounded_and_say_so),
        cmocka_unit_test(test_begun_anew_it_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
