/* The head parser: what it accepts, what it refuses with which status, and what it extracts. */
#include "base/error.h"
#include "gateway/http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct bnd_http_header fields[BND_HTTP_HEADERS_MAX];
static struct bnd_http_head head;
static const char *why;

static unsigned parse_bytes(struct bnd_slice bytes) {
    head = (struct bnd_http_head){.headers = fields};
    why = "";
    return bnd_http_head_parse(bytes, BND_HTTP_HEADERS_MAX, &head, &why);
}

static unsigned parse(const char *text) {
    return parse_bytes(bnd_slice_str(text));
}

static void assert_slice(struct bnd_slice got, const char *expected) {
    if (!bnd_slice_eq(got, bnd_slice_str(expected))) {
        fail_msg("got '%.*s', expected '%s'", (int)got.len, (const char *)got.data, expected);
    }
}

static void test_extracts(void **state) {
    (void)state;
    assert_int_equal(parse("PUT /a%2Fb/c?x=1&y HTTP/1.1\r\nHost: h.example:7702\r\n"
                           "Content-Length:  5 \r\nX-Meta:\t\r\nExpect: 100-Continue\r\n\r\n"),
                     0);
    assert_int_equal(head.method, BND_HTTP_PUT);
    assert_slice(head.target, "/a%2Fb/c?x=1&y");
    assert_slice(head.path, "/a%2Fb/c");
    assert_slice(head.query, "x=1&y");
    assert_slice(head.host, "h.example:7702");
    assert_int_equal(head.version_minor, 1);
    assert_true(head.has_content_length && head.content_length == 5 && !head.chunked);
    assert_true(head.keep_alive && head.expect_continue);
    assert_int_equal(head.header_count, 4);
    assert_slice(head.headers[2].value, "");
    size_t from = 0;
    assert_ptr_equal(bnd_http_head_find(fields, 4, "content-LENGTH", &from), &fields[1]);
    assert_int_equal(from, 2);
    assert_null(bnd_http_head_find(fields, 4, "content-length", &from));
}

static void test_forms(void **state) {
    (void)state;
    assert_int_equal(parse("GET http://other:80?q HTTP/1.1\r\nHost: h\r\n\r\n"), 0);
    assert_slice(head.host, "other:80");
    assert_slice(head.path, "/");
    assert_slice(head.query, "q");
    assert_int_equal(parse("GET HTTPS://[::1]/p HTTP/1.1\r\nHost: h\r\n\r\n"), 0);
    assert_slice(head.host, "[::1]");
    assert_slice(head.path, "/p");
    assert_int_equal(parse("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"), 0);
    assert_slice(head.path, "*");
    assert_slice(head.host, "");
    assert_int_equal(parse("PURGE /x HTTP/1.0\r\n\r\n"), 0);
    assert_int_equal(head.method, BND_HTTP_OTHER);
    assert_slice(head.method_token, "PURGE");
    assert_false(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 0);
    assert_true(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: a, CLOSE ,keep-alive\r\n\r\n"),
                     0);
    assert_false(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"), 0);
    assert_true(head.chunked && !head.has_content_length);
}

static void test_values_are_8_bit_clean(void **state) {
    (void)state;
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: h\r\nM: {\"u\":\"\xc3\xbc\"}\t\xff\r\n\r\n"),
                     0);
    assert_slice(head.headers[1].value, "{\"u\":\"\xc3\xbc\"}\t\xff");
    for (int c = 0; c < 256; c++) {
        char text[64];
        int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nM: a%cb\r\n\r\n", c);
        unsigned expected = (c < 32 && c != '\t') || c == 127 ? 400 : 0;
        assert_int_equal(parse_bytes(bnd_slice(text, (size_t)n)), expected);
    }
}

/* Values are looked at eight bytes at a time: every byte at every place of two eights and a rest,
 * beside bytes that stand next to the forbidden ones. */
static void test_values_at_every_place(void **state) {
    (void)state;
    static const uint8_t beside[] = {'a', ' ', '~', '\t', 0x80, 0xff};
    for (size_t b = 0; b < sizeof beside; b++) {
        for (size_t at = 0; at < 19; at++) {
            for (int c = 0; c < 256; c++) {
                uint8_t value[19];
                memset(value, beside[b], sizeof value);
                value[at] = (uint8_t)c;
                bool valid = (c >= 32 && c != 127) || c == '\t';
                assert_int_equal(bnd_http_value_valid(bnd_slice(value, sizeof value)), valid);
            }
        }
    }
}

static void test_name_bytes(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[64];
        int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\na%cb: x\r\n\r\n", c);
        bool token = c != 0 && c < 127 && c > 32 && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;
        bool colon = c == ':'; /* name "a", value "b: x" */
        assert_int_equal(parse_bytes(bnd_slice(text, (size_t)n)), token || colon ? 0 : 400);
    }
}

/* Heads that two parsers of one chain could take for different requests, and plain nonsense. */
static const struct {
    const char *text;
    unsigned status;
} refused[] = {
    /* framing */
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551617\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0b"
     "chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
     "Transfer-Encoding: chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\r\n : chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\t\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\t5\r\n\r\n", 400},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    /* lines */
    {"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n", 400},
    {"GET / HTTP/1.1\nHost: h\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\n\rX", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\n\r\nX", 400},
    {"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"", 400},
    /* host */
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
    {"GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h, i\r\nHost : x\r\n\r\n", 400},
    {"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    /* the request line */
    {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
    {"GET /\tHTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET /\xc3\xbc HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET /#f HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET /\r\n\r\n", 400},
    {"GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400},
    {"GET / http/1.1\r\nHost: h\r\n\r\n", 400},
    {"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
    {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
    {"GET / HTTP/0.9\r\n\r\n", 505},
    {"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n", 417},
};

static void test_refuses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        unsigned status = parse(refused[i].text);
        if (status != refused[i].status || why[0] == 0) {
            fail_msg("case %zu: %u (%s), expected %u:\n%s", i, status, why, refused[i].status,
                     refused[i].text);
        }
    }
}

static void test_header_count(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf text = {0};
    bnd_buf_append_str(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (unsigned i = 1; i < BND_HTTP_HEADERS_MAX; i++) {
        bnd_buf_printf(&text, "x-%u: y\r\n", i);
    }
    struct bnd_buf more = {0};
    bnd_buf_append_slice(&more, bnd_buf_slice(&text));
    bnd_buf_append_str(&text, "\r\n");
    assert_int_equal(parse_bytes(bnd_buf_slice(&text)), 0);
    assert_int_equal(head.header_count, BND_HTTP_HEADERS_MAX);
    bnd_buf_append_str(&more, "one-more: y\r\n\r\n");
    assert_int_equal(parse_bytes(bnd_buf_slice(&more)), 431);
    bnd_buf_free(&more);
}

static void test_scan(void **state) {
    (void)state;
    const char *text = "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET";
    long expected = (long)strlen(text) - 3;
    size_t checked = 0;
    assert_int_equal(bnd_http_head_scan(bnd_slice_str(text), &checked), expected);
    checked = 0;
    for (size_t n = 0; n < strlen(text); n++) { /* byte by byte */
        long got = bnd_http_head_scan(bnd_slice(text, n), &checked);
        assert_int_equal(got, (long)n < expected ? 0 : expected);
        if (got != 0) {
            break;
        }
    }
    checked = 0;
    assert_int_equal(bnd_http_head_scan(bnd_slice_str("GET / HTTP/1.1\nHost"), &checked), -1);
    checked = 0;
    assert_int_equal(bnd_http_head_scan(bnd_slice_str("\n"), &checked), -1);
    checked = 0;
    assert_int_equal(bnd_http_head_scan(bnd_slice_str("\r\nGET"), &checked), 2);
    checked = 0;
    assert_int_equal(bnd_http_head_scan(bnd_slice_str("A\r\nB\r\n\n"), &checked), -1);
}

static void test_decode(void **state) {
    (void)state;
    uint8_t out[32];
    size_t len = 0;
    assert_int_equal(bnd_http_percent_decode(bnd_slice_str("a%2fb%C3%bc+%00"), 0, out, &len), 0);
    assert_int_equal(len, 7);
    assert_memory_equal(out, "a/b\xc3\xbc+\0", 7);
    assert_int_equal(bnd_http_percent_decode(bnd_slice_str("a+b"), BND_HTTP_DECODE_PLUS, out, &len),
                     0);
    assert_memory_equal(out, "a b", 3);
    static const char *const bad[] = {"%", "%2", "a%2", "%g0", "%0g", "%%20", "%-1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(bnd_http_percent_decode(bnd_slice_str(bad[i]), 0, out, &len), BND_INVALID);
    }
}

static void test_query(void **state) {
    (void)state;
    struct bnd_slice rest = bnd_slice_str("&a=1=2&&b&c=&=d");
    static const char *const names[] = {"a", "b", "c", ""};
    static const char *const values[] = {"1=2", "", "", "d"};
    struct bnd_slice name;
    struct bnd_slice value;
    bool has = false;
    for (size_t i = 0; i < 4; i++) {
        assert_true(bnd_http_query_next(&rest, &name, &value, &has));
        assert_slice(name, names[i]);
        assert_slice(value, values[i]);
        assert_int_equal(has, i != 1);
    }
    assert_false(bnd_http_query_next(&rest, &name, &value, &has));
    assert_true(bnd_http_query_find(bnd_slice_str("x=1&uploads"), "uploads", &value));
    assert_false(bnd_http_query_find(bnd_slice_str("x=1&uploads"), "upload", &value));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extracts),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_values_are_8_bit_clean),
        cmocka_unit_test(test_values_at_every_place),
        cmocka_unit_test(test_name_bytes),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_header_count),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
