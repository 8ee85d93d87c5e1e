/* JSON of values: text that is no UTF-8 as JavaScript sees it, doubles that read back equal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sql/json.h"

static void string_is(const char *bytes, size_t len, const char *wanted) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    sql_json_string(&out, bnd_slice(bytes, len));
    bnd_buf_u8(&out, 0);
    assert_string_equal((char *)out.data, wanted);
}

#define BROKEN "\xef\xbf\xbd"

static void test_strings(void **state) {
    string_is("", 0, "\"\"");
    string_is("plain /", 7, "\"plain /\"");
    string_is("\"\\\b\f\n\r\t\x01\x1f\x7f", 10, "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    string_is("a\0b", 3, "\"a\\u0000b\"");
    string_is("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
              "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

/* The sequences of the Unicode standard's table 3-8 and around it: one U+FFFD for each longest
 * beginning of a character. */
static void test_broken_strings(void **state) {
    string_is("\xff", 1, "\"" BROKEN "\"");
    string_is("a\x80z", 3, "\"a" BROKEN "z\"");
    string_is("\xc0\xaf", 2, "\"" BROKEN BROKEN "\"");            /* overlong */
    string_is("\xe0\x9f\x80", 3, "\"" BROKEN BROKEN BROKEN "\""); /* overlong */
    string_is("\xed\xa0\x80", 3, "\"" BROKEN BROKEN BROKEN "\""); /* a surrogate */
    string_is("\xe2\x82z", 3, "\"" BROKEN "z\"");                 /* cut off */
    string_is("\xf0\x9f\x98", 3, "\"" BROKEN "\"");               /* cut off at the end */
    string_is("\xf0\x80\x80\x41", 4, "\"" BROKEN BROKEN BROKEN "A\"");
    string_is("\xf4\x90\x80\x80", 4, "\"" BROKEN BROKEN BROKEN BROKEN "\""); /* above U+10FFFF */
    string_is("\xf1\x80\x80\xe1\x80\xc2", 6, "\"" BROKEN BROKEN BROKEN "\"");
}

static void double_is(double value, const char *wanted) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    sql_json_double(&out, value);
    bnd_buf_u8(&out, 0);
    assert_string_equal((char *)out.data, wanted);
}

static void test_doubles(void **state) {
    double_is(0, "0");
    double_is(-0.0, "0");
    double_is(1, "1");
    double_is(-17, "-17");
    double_is(0.1, "0.1");
    double_is(0.1 + 0.2, "0.30000000000000004");
    double_is(1e15, "1e+15");
    double_is(1e21, "1e+21");
    double_is(5e-324, "5e-324");
    double_is(1.7976931348623157e308, "1.7976931348623157e+308");
    double_is(INFINITY, "null");
    double_is(-INFINITY, "null");
    double_is(NAN, "null");
}

static void test_doubles_read_back(void **state) {
    uint64_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        double value, back;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        BND_AUTO_BUF struct bnd_buf out = {0};
        sql_json_double(&out, value);
        bnd_buf_u8(&out, 0);
        back = strtod((char *)out.data, NULL);
        assert_true(back == value);
    }
}

static void test_bytes(void **state) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    sql_json_bytes(&out, bnd_slice("\x00\x09\x0a\x63\x64\xff", 6));
    bnd_buf_u8(&out, 0);
    assert_string_equal((char *)out.data, "[0,9,10,99,100,255]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings), cmocka_unit_test(test_broken_strings),
        cmocka_unit_test(test_doubles), cmocka_unit_test(test_doubles_read_back),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
