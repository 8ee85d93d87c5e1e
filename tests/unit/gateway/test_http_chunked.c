/* The chunked coding: the same answer however the bytes are cut, and no second reading of any. */
#include "gateway/http/chunked.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Decodes text in pieces of `step` bytes; *out_rest is what was left behind the end. */
static enum bnd_http_chunked_result decode(struct bnd_slice text, size_t step, struct bnd_buf *out,
                                           size_t *out_rest) {
    struct bnd_http_chunked decoder = {0};
    for (size_t at = 0; at < text.len;) {
        size_t n = step < text.len - at ? step : text.len - at;
        struct bnd_slice in = bnd_slice(text.data + at, n);
        struct bnd_slice data;
        enum bnd_http_chunked_result result = BND_HTTP_CHUNKED_DATA;
        while (result == BND_HTTP_CHUNKED_DATA) {
            result = bnd_http_chunked_next(&decoder, &in, &data);
            if (result == BND_HTTP_CHUNKED_DATA) {
                bnd_buf_append_slice(out, data);
            }
        }
        at += n;
        *out_rest = text.len - at + in.len;
        if (result != BND_HTTP_CHUNKED_MORE) {
            return result;
        }
    }
    return BND_HTTP_CHUNKED_MORE;
}

static void check(const char *text, enum bnd_http_chunked_result expected, const char *body,
                  size_t rest_expected) {
    for (size_t step = 1; step <= strlen(text); step++) {
        BND_AUTO_BUF struct bnd_buf out = {0};
        size_t rest = 0;
        enum bnd_http_chunked_result got = decode(bnd_slice_str(text), step, &out, &rest);
        if (got != expected) {
            fail_msg("step %zu: %d, expected %d:\n%s", step, (int)got, (int)expected, text);
        }
        if (expected == BND_HTTP_CHUNKED_END) {
            assert_true(bnd_slice_eq(bnd_buf_slice(&out), bnd_slice_str(body)));
            assert_int_equal(rest, rest_expected);
        }
    }
}

static void test_accepts(void **state) {
    (void)state;
    check("0\r\n\r\n", BND_HTTP_CHUNKED_END, "", 0);
    check("5\r\nhello\r\n0\r\n\r\nGET", BND_HTTP_CHUNKED_END, "hello", 3);
    check("a\r\n0123456789\r\nA;x=\"y\"; z\r\n0123456789\r\n000\r\nT: v\r\nU:\r\n\r\n",
          BND_HTTP_CHUNKED_END, "01234567890123456789", 0);
    check("5\r\nhello\r\n0\r\n", BND_HTTP_CHUNKED_MORE, "", 0);
    check("0000000000000001\r\nx\r\n0\r\n\r\n", BND_HTTP_CHUNKED_END, "x", 0);
}

static void test_refuses(void **state) {
    (void)state;
    static const char *const cases[] = {
        "\r\n0\r\n\r\n",
        ";x\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t;x\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rXhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\rX0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "g\r\n",
        "8000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "00000000000000005\r\nhello\r\n",
        "10000000000000005\r\nhello\r\n",
        "0\r\n\n",
        "0\r\n\rX",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\r\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
        "0\r\nX: \x01\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check(cases[i], BND_HTTP_CHUNKED_BAD, "", 0);
    }
}

static void test_lines_are_bounded(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf text = {0};
    size_t rest = 0;
    BND_AUTO_BUF struct bnd_buf out = {0};
    bnd_buf_append_str(&text, "5;");
    for (size_t i = 0; i < BND_HTTP_CHUNK_LINE_MAX; i++) {
        bnd_buf_append_str(&text, "x");
    }
    assert_int_equal(decode(bnd_buf_slice(&text), 100, &out, &rest), BND_HTTP_CHUNKED_BAD);
    bnd_buf_reset(&text);
    bnd_buf_append_str(&text, "0\r\n");
    while (text.len < BND_HTTP_TRAILER_BYTES_MAX) {
        bnd_buf_append_str(&text, "Name: value\r\n");
    }
    assert_int_equal(decode(bnd_buf_slice(&text), 100, &out, &rest), BND_HTTP_CHUNKED_MORE);
    bnd_buf_append_str(&text, "Name: value\r\n");
    assert_int_equal(decode(bnd_buf_slice(&text), 100, &out, &rest), BND_HTTP_CHUNKED_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_lines_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
