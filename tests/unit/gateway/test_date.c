/* Times as text. */
#include "gateway/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void dates_of_http_are_written_and_read(void **state) {
    char text[GATEWAY_DATE_TEXT];
    uint64_t ms = 0;
    gateway_date_http(UINT64_C(1700000000500), text);
    assert_string_equal(text, "Tue, 14 Nov 2023 22:13:20 GMT");
    gateway_date_iso(UINT64_C(1700000000500), text);
    assert_string_equal(text, "2023-11-14T22:13:20.500Z");
    gateway_date_iso(UINT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.615Z");
    static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(gateway_date_parse(bnd_slice_str(forms[i]), &ms));
        assert_int_equal(ms, UINT64_C(784111777000));
    }
    static const char *const none[] = {"",
                                       "0",
                                       "Sun, 06 Nov 1994 08:49:37 GMT+1",
                                       "Sun, 06 Nov 1994 08:49:37",
                                       "Sun, 06 Nov 1960 08:49:37 GMT",
                                       "Sun, 36 Nov 1994 08:49:37 GMT",
                                       "Thu, 31 Nov 1994 08:49:37 GMT",
                                       "Sun, 06 Nix 1994 08:49:37 GMT"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(gateway_date_parse(bnd_slice_str(none[i]), &ms));
    }
}

static void is_time(const char *text, uint64_t expected_ms) {
    uint64_t ms = 0;
    if (!gateway_date_iso_parse(bnd_slice_str(text), &ms) || ms != expected_ms) {
        fail_msg("%s", text);
    }
}

static void times_are_read(void **state) {
    is_time("1970-01-01T00:00Z", 0);
    is_time("2009-10-12T17:50Z", UINT64_C(1255369800000));
    is_time("2009-10-12T17:50:30Z", UINT64_C(1255369830000));
    is_time("2009-10-12T17:50:30.123Z", UINT64_C(1255369830123));
    is_time("2009-10-12T17:50:30.123456789Z", UINT64_C(1255369830123));
    is_time("2009-10-12T19:50:30.5+02:00", UINT64_C(1255369830500));
    is_time("2009-10-12T16:20:30-01:30", UINT64_C(1255369830000));
    is_time("2024-02-29T00:00:00.05Z", UINT64_C(1709164800050));
}

static void what_is_no_time_is_refused(void **state) {
    static const char *const none[] = {
        "",
        "2009-10-12",
        "2009-10-12T17:50",
        "2009-10-12T17:50:30",
        "2009-10-12 17:50:30Z",
        "2009-10-12T17:50:30Zx",
        "2009-10-12T17:50:30z",
        "2009-10-12T17:50.5Z",
        "2009-10-12T17:50:30.Z",
        "2009-10-12T17:50:30.1234567890Z",
        "2009-10-12T17:50:30+2:00",
        "2009-10-12T17:50:30+02:60",
        "2009-10-12T17:50:30+02:00 ",
        "2009-13-12T17:50:30Z",
        "2009-00-12T17:50:30Z",
        "2009-02-29T17:50:30Z", /* no such day */
        "2009-10-12T24:00:00Z",
        "2009-10-12T17:60:00Z",
        "2009-+1-+2T+1:+5Z", /* numbers have no signs and no spaces */
        "2009- 1- 2T 1: 5Z",
        "1969-10-12T17:50:30Z",
        "1970-01-01T00:00:00+00:01",
    };
    uint64_t ms = 0;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        if (gateway_date_iso_parse(bnd_slice_str(none[i]), &ms)) {
            fail_msg("%s", none[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_of_http_are_written_and_read),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(what_is_no_time_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
