/* Counting connections by client address. */
#include "gateway/http/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void an_address_is_its_host(void **state) {
    (void)state;
    assert_int_equal(http_address_key("10.0.0.1:80"), http_address_key("10.0.0.1:65535"));
    assert_int_not_equal(http_address_key("10.0.0.1:80"), http_address_key("10.0.0.2:80"));
    assert_int_equal(http_address_key("[::ffff:10.0.0.1]:1"), http_address_key("10.0.0.1:2"));
    assert_int_equal(http_address_key("[2001:db8:1:2:3:4:5:6]:1"),
                     http_address_key("[2001:db8:1:2::9]:2"));
    assert_int_not_equal(http_address_key("[2001:db8:1:2::9]:1"),
                         http_address_key("[2001:db8:1:3::9]:1"));
    assert_int_equal(http_address_key("-"), http_address_key("-"));
}

/* Against plain counters, for many orders of coming and going. */
static void counts_are_right_in_any_order(void **state) {
    (void)state;
    enum { KEYS = 200, STEPS = 20000, MOST = 5 };
    static uint32_t counts[KEYS];
    struct http_addresses addresses = {.seed = 7};
    srand(1);
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned key = (unsigned)rand() % KEYS;
        if (rand() % 2 == 0) {
            assert_int_equal(http_addresses_enter(&addresses, key, MOST), counts[key] < MOST);
            counts[key] += counts[key] < MOST;
        } else if (counts[key] > 0) {
            http_addresses_leave(&addresses, key);
            counts[key]--;
        }
    }
    size_t used = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        used += counts[key] > 0;
        for (; counts[key] > 0; counts[key]--) {
            http_addresses_leave(&addresses, key);
        }
        assert_true(http_addresses_enter(&addresses, key, 1));
        assert_false(http_addresses_enter(&addresses, key, 1));
        http_addresses_leave(&addresses, key);
    }
    assert_in_range(used, 1, KEYS);
    assert_int_equal(addresses.used, 0);
    http_addresses_free(&addresses);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_its_host),
        cmocka_unit_test(counts_are_right_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
