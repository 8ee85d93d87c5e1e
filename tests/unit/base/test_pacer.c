/* The pace: over any stretch no more than the rate allows, and what was not used is not saved up.
 */
#include "base/pacer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

static void test_no_bound(void **state) {
    struct bnd_pacer pacer = {0};
    assert_int_equal(bnd_pacer_add(&pacer, 5, UINT64_MAX), 5);
    assert_int_equal(bnd_pacer_add(NULL, 7, 1), 7);
}

static void test_it_takes_as_long_as_the_rate_says(void **state) {
    static const uint64_t rates[] = {1 << 20, 64 << 20, UINT64_C(40) << 30};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct bnd_pacer pacer = {.bytes_per_s = rates[i]};
        uint64_t now = 1000 * SECOND;
        for (unsigned k = 0; k < 1000; k++) { /* 10 seconds' worth, each as soon as it may be */
            uint64_t free_ns = bnd_pacer_add(&pacer, now, rates[i] / 100);
            now = free_ns > now ? free_ns : now;
        }
        uint64_t took = now - 1000 * SECOND;
        assert_true(took + BND_PACER_SLACK_NS >= 10 * SECOND - SECOND / 50);
        assert_true(took <= 10 * SECOND);
    }
}

static void test_users_share_it(void **state) {
    struct bnd_pacer pacer = {.bytes_per_s = 1000};
    uint64_t now = 10 * SECOND;
    uint64_t first = bnd_pacer_add(&pacer, now, 1000);
    uint64_t second = bnd_pacer_add(&pacer, now, 1000);
    assert_int_equal(second - first, SECOND);
}

static void test_idle_time_is_not_saved_up(void **state) {
    struct bnd_pacer pacer = {.bytes_per_s = 1000};
    (void)bnd_pacer_add(&pacer, SECOND, 1);
    uint64_t now = 3600 * SECOND;
    assert_int_equal(bnd_pacer_add(&pacer, now, 2000), now - BND_PACER_SLACK_NS + 2 * SECOND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_bound),
        cmocka_unit_test(test_it_takes_as_long_as_the_rate_says),
        cmocka_unit_test(test_users_share_it),
        cmocka_unit_test(test_idle_time_is_not_saved_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
