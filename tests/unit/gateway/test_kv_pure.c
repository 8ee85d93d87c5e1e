/* KV's pure parts: what a request may say, cursors, form data, JSON in pieces. */
#include "base/alloc.h"
#include "base/error.h"
#include "gateway/json_scan.h"
#include "gateway/kv/cursor.h"
#include "gateway/kv/multipart.h"
#include "gateway/kv/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_MS UINT64_C(1700000000123)
#define NOW_S UINT64_C(1700000000)

static struct kv_limits limits(void) {
    return kv_limits_or_default(&(struct kv_limits){0});
}

static void expect(bool ok, const struct kv_refusal *refusal, unsigned status, const char *text) {
    assert_false(ok);
    assert_int_equal(refusal->status, status);
    assert_string_equal(refusal->text, text);
}

/* Who reads is not told of a write, and what is unknown is called so. */
static void codes_of_the_store(void **state) {
    static const struct {
        int code;
        bool reads;
        unsigned status;
        const char *text;
    } said[] = {
        {BND_UNKNOWN, false, 503, "it is not known whether this was stored: try again"},
        {BND_UNAVAILABLE, true, 503, "no replica can be reached"},
        {BND_UNAVAILABLE, false, 503,
         "too few replicas can be reached; a write may or may not have been stored"},
        {BND_NOSPACE, false, 507, NULL},
        {BND_FULL, false, 503, NULL},
        {BND_NOTFOUND, true, 404, "namespace not found"},
        {BND_TOOBIG, false, 400, NULL},
        {BND_CORRUPT, true, 500, NULL},
    };
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        struct kv_refusal r;
        kv_refuse_code(&r, said[i].code, said[i].reads);
        assert_int_equal(r.status, said[i].status);
        assert_string_equal(r.text,
                            said[i].text == NULL ? bnd_code_text(said[i].code) : said[i].text);
    }
}

/* ---- rules
 * ------------------------------------------------------------------------------------------------
 */

static void keys(void **state) {
    struct kv_refusal r;
    char key[514];
    memset(key, 'k', sizeof key);
    assert_true(kv_key_check(bnd_slice(key, 512), &r));
    assert_true(kv_key_check(bnd_slice_str("..."), &r));
    assert_true(kv_key_check(bnd_slice("a\0b", 3), &r));
    expect(kv_key_check(bnd_slice(key, 513), &r), &r, 414,
           "UTF-8 encoded length of 513 exceeds key length limit of 512.");
    expect(kv_key_check(bnd_slice_str(""), &r), &r, 400, "Key names must not be empty");
    expect(kv_key_check(bnd_slice_str(".."), &r), &r, 400,
           "Illegal key name \"..\". Please use a different name.");
    expect(kv_key_check(bnd_slice_str("\xff"), &r), &r, 400, "Key names must be valid UTF-8");
    assert_true(kv_prefix_check(bnd_slice_str(""), &r));
    assert_false(kv_prefix_check(bnd_slice(key, 513), &r));
}

static bool expiry(const char *absolute, const char *ttl, uint64_t *ms, struct kv_refusal *r) {
    struct kv_limits l = limits();
    struct bnd_slice none = bnd_slice(NULL, 0);
    return kv_expiry_check(&l, absolute == NULL ? none : bnd_slice_str(absolute),
                           ttl == NULL ? none : bnd_slice_str(ttl), NOW_MS, ms, r);
}

static void expirations(void **state) {
    struct kv_refusal r;
    uint64_t ms = 1;
    assert_true(expiry(NULL, NULL, &ms, &r));
    assert_int_equal(ms, 0);
    assert_true(expiry(NULL, "60", &ms, &r));
    assert_int_equal(ms, (NOW_S + 60) * 1000);
    assert_true(expiry("1700000060", NULL, &ms, &r));
    assert_int_equal(ms, (NOW_S + 60) * 1000);
    assert_true(expiry("12", "90", &ms, &r)); /* the TTL wins */
    assert_int_equal(ms, (NOW_S + 90) * 1000);
    expect(expiry(NULL, "59", &ms, &r), &r, 400,
           "Invalid expiration_ttl of 59. Expiration TTL must be at least 60.");
    expect(expiry(NULL, "0", &ms, &r), &r, 400,
           "Invalid expiration_ttl of 0. Please specify integer greater than 0.");
    expect(expiry(NULL, "-5", &ms, &r), &r, 400,
           "Invalid expiration_ttl of -5. Please specify integer greater than 0.");
    expect(expiry(NULL, "", &ms, &r), &r, 400,
           "Invalid expiration_ttl of . Please specify integer greater than 0.");
    expect(expiry(NULL, "9999999999999999999999", &ms, &r), &r, 400,
           "Invalid expiration_ttl of 9999999999999999999999. Please specify integer greater than "
           "0.");
    expect(expiry("1700000000", NULL, &ms, &r), &r, 400,
           "Invalid expiration of 1700000000. Please specify integer greater than the current "
           "number of seconds since the UNIX epoch.");
    expect(expiry("1700000059", NULL, &ms, &r), &r, 400,
           "Invalid expiration of 1700000059. Expiration times must be at least 60 seconds in the "
           "future.");
    expect(expiry("n\xc3\xa4n\r\n", NULL, &ms, &r), &r, 400,
           "Invalid expiration of n??n??. Please specify integer greater than the current number "
           "of seconds since the UNIX epoch.");
}

static void metadata_values_and_counts(void **state) {
    struct kv_refusal r;
    struct kv_limits l = limits();
    uint32_t n = 0;
    char text[1026];
    memset(text, '1', sizeof text);
    assert_true(kv_metadata_check(bnd_slice(NULL, 0), &r));
    assert_true(kv_metadata_check(bnd_slice_str("{\"\xc3\xbc\":[1,2.5e9,null]}"), &r));
    assert_true(kv_metadata_check(bnd_slice(text, 1024), &r));
    expect(kv_metadata_check(bnd_slice(text, 1025), &r), &r, 413,
           "Metadata length of 1025 exceeds limit of 1024.");
    expect(kv_metadata_check(bnd_slice_str("\"\xff\""), &r), &r, 400,
           "Metadata must be valid UTF-8");
    expect(kv_metadata_check(bnd_slice_str("{a:1}"), &r), &r, 400, "Metadata must be valid JSON");
    assert_true(kv_value_check(&l, 25u << 20, &r));
    expect(kv_value_check(&l, (25u << 20) + 1, &r), &r, 413,
           "Value length of 26214401 exceeds limit of 26214400.");
    assert_true(kv_limit_check(bnd_slice(NULL, 0), 1, "key_count_limit", &n, &r));
    assert_int_equal(n, 1000);
    assert_true(kv_limit_check(bnd_slice_str("7"), 1, "key_count_limit", &n, &r));
    assert_int_equal(n, 7);
    expect(kv_limit_check(bnd_slice_str("0"), 1, "key_count_limit", &n, &r), &r, 400,
           "Invalid key_count_limit of 0. Please specify an integer greater than 0.");
    expect(kv_limit_check(bnd_slice_str("1001"), 1, "key_count_limit", &n, &r), &r, 400,
           "Invalid key_count_limit of 1001. Please specify an integer less than 1000.");
    expect(kv_cache_ttl_check(&l, bnd_slice_str("29"), &n, &r), &r, 400,
           "Invalid cache_ttl of 29. Cache TTL must be at least 30.");
    assert_true(kv_cache_ttl_check(&l, bnd_slice_str("99999999999"), &n, &r));
    assert_int_equal(n, UINT32_MAX);
}

/* ---- cursors
 * ---------------------------------------------------------------------------------------------- */

static void a_cursor_is_of_one_list(void **state) {
    struct bnd_buf text = {0};
    struct bnd_buf last = {0};
    struct kv_cursor_scope scope = {7, bnd_slice_str("p/")};
    kv_cursor_encode(&text, &scope, bnd_slice_str("p/last"));
    assert_true(kv_cursor_decode(bnd_buf_slice(&text), &scope, &last));
    assert_true(bnd_slice_eq(bnd_buf_slice(&last), bnd_slice_str("p/last")));
    struct kv_cursor_scope others[] = {{8, bnd_slice_str("p/")}, {7, bnd_slice_str("p")}};
    for (size_t i = 0; i < 2; i++) {
        assert_false(kv_cursor_decode(bnd_buf_slice(&text), &others[i], &last));
    }
    for (size_t i = 0; i < text.len; i++) { /* any one character changed */
        uint8_t was = text.data[i];
        text.data[i] = was == 'A' ? 'B' : 'A';
        assert_false(kv_cursor_decode(bnd_buf_slice(&text), &scope, &last));
        text.data[i] = was;
    }
    assert_false(kv_cursor_decode(bnd_slice_str("!"), &scope, &last));
    assert_false(kv_cursor_decode(bnd_slice(text.data, 6), &scope, &last));
    bnd_buf_reset(&last);
    assert_true(kv_cursor_decode(bnd_slice_str(""), &scope, &last));
    assert_int_equal(last.len, 0);
    bnd_buf_free(&text);
    bnd_buf_free(&last);
}

/* ---- form data
 * -------------------------------------------------------------------------------------------- */

#define FORM "multipart/form-data; boundary=XYZ"

/* What is told of a body given in pieces of `step`: "name=bytes;..." and '.' for the end, or '!'.
 */
static const char *form(const char *type, const char *body, size_t step) {
    static char told[4096];
    struct kv_multipart parser;
    struct bnd_buf out = {0};
    size_t len = strlen(body);
    int event = kv_multipart_init(&parser, bnd_slice_str(type));
    if (event != 0) {
        return "?";
    }
    for (size_t at = 0; at < len && event >= 0; at += step) {
        struct bnd_slice in = bnd_slice(body + at, step < len - at ? step : len - at);
        struct bnd_slice text;
        while ((event = kv_multipart_next(&parser, &in, &text)) > KV_MULTIPART_MORE &&
               event != KV_MULTIPART_DONE) {
            bnd_buf_append_str(&out, event == KV_MULTIPART_PART && out.len > 0 ? ";" : "");
            bnd_buf_append_slice(&out, text);
            bnd_buf_append_str(&out, event == KV_MULTIPART_PART ? "=" : "");
        }
    }
    bnd_buf_append_str(&out, event < 0 ? "!" : event == KV_MULTIPART_DONE ? "." : "");
    bnd_buf_u8(&out, 0);
    assert_true(out.len < sizeof told);
    memcpy(told, out.data, out.len);
    bnd_buf_free(&out);
    return told;
}

static void forms_are_read_however_they_are_cut(void **state) {
    static const char *const cases[][2] = {
        {"--XYZ\r\nContent-Disposition: form-data; name=\"value\"\r\n\r\nhello\r\n--XYZ\r\n"
         "content-disposition:form-data;name=metadata\r\nX: y\r\n\r\n{}\r\n--XYZ--\r\n",
         "value=hello;metadata={}."},
        {"preamble\r\n--XYZ \t\r\nContent-Disposition: form-data; filename=\"a;name=\\\"x\"; "
         "name=\"v\\\"w\"\r\n\r\n\r\n--XYZ--",
         "v\"w=."},
        {"--XYZ\r\n\r\n\r\r\n\r\n--XY\r\n--XYz\n--XYZ\r\n--XYZ--",
         "=\r\r\n\r\n--XY\r\n--XYz\n--XYZ."},
        {"--XYZ\r\nA: b\r\n\r\n--XYZ\r\n--XYZ--", "=--XYZ."}, /* no line end before: bytes */
        {"--XYZ--", "."},
        {"--XYZ\r\nA: b\r\n\r\nendless", "=endless"},
        {"--XYZ\r\nA: b\r\n\r\nx\r\n--XYZQ", "=x!"},
        {"--XYZ\rA", "!"},
        {"--XYZ-A", "!"},
        {"nothing", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step < 40; step++) {
            assert_string_equal(form(FORM, cases[i][0], step), cases[i][1]);
        }
    }
}

static void content_types(void **state) {
    assert_true(kv_multipart_is(bnd_slice_str("Multipart/Form-Data ;boundary=x")));
    assert_false(kv_multipart_is(bnd_slice_str("multipart/form-data2")));
    assert_false(kv_multipart_is(bnd_slice_str("text/plain; x=multipart/form-data")));
    assert_string_equal(form("multipart/form-data", "--\r\n", 9), "?");
    assert_string_equal(form("multipart/form-data; boundary=", "--\r\n", 9), "?");
    assert_string_equal(form("multipart/form-data; boundary=\"a\\\"b\"", "--\r\n", 9), "?");
    assert_string_equal(form("multipart/form-data; charset=x; boundary=\"a b\"", "--a b--", 9),
                        ".");
    char type[128] = "multipart/form-data; boundary=";
    memset(type + strlen(type), 'b', 71);
    assert_string_equal(form(type, "x", 1), "?");
    type[strlen(type) - 1] = 0;
    assert_string_equal(form(type, "x", 1), "");
    /* a part's head without end */
    char *body = malloc(KV_MULTIPART_HEAD_MAX + 100);
    strcpy(body, "--XYZ\r\n");
    memset(body + 7, 'h', KV_MULTIPART_HEAD_MAX + 1);
    body[7 + KV_MULTIPART_HEAD_MAX + 1] = 0;
    assert_string_equal(form(FORM, body, 100), "!");
    free(body);
}

/* ---- JSON
 * ------------------------------------------------------------------------------------------------
 */

struct seen {
    struct bnd_buf text;
    bool in;
};

static int see(void *data, enum gateway_json_event event, struct bnd_slice bytes, bool last) {
    static const char signs[] = "{}[]nsdTF0";
    struct seen *seen = data;
    bool pieces =
        event == GATEWAY_JSON_NAME || event == GATEWAY_JSON_STRING || event == GATEWAY_JSON_NUMBER;
    if (!seen->in) {
        bnd_buf_u8(&seen->text, (uint8_t)signs[event]);
    }
    seen->in = pieces && !last;
    bnd_buf_append_slice(&seen->text, bytes);
    return 0;
}

static const char *scan(const char *text, size_t step) {
    static char told[4096];
    struct seen seen = {0};
    struct gateway_json json;
    size_t len = strlen(text);
    int rv = 0;
    gateway_json_init(&json, see, &seen);
    for (size_t at = 0; at < len && rv == 0; at += step) {
        rv = gateway_json_feed(&json, bnd_slice(text + at, step < len - at ? step : len - at));
    }
    rv = rv != 0 ? rv : gateway_json_end(&json);
    bnd_buf_u8(&seen.text, 0);
    memcpy(told, rv == 0 ? (const char *)seen.text.data : "!", rv == 0 ? seen.text.len : 2);
    bnd_buf_free(&seen.text);
    return told;
}

static void json_is_told_however_it_is_cut(void **state) {
    static const char *const cases[][2] = {
        {" {\"a\" : [ 1 , -0.5e+7,\"x\"] ,\"b\":{}, \"c\":[true,false,null]} ",
         "{na[d1d-0.5e+7sx]nb{}nc[TF0]}"},
        {"\"\\u00e9\\\"\\n\\ud83d\\ude00\"", "s\xc3\xa9\"\n\xf0\x9f\x98\x80"},
        {"\"\\ud83dx\\ude00\\ud83d\"", "s\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd"},
        {"\"\xe2\x82\xac\"", "s\xe2\x82\xac"},
        {"0", "d0"},
        {"\"\"", "s"},
        {"[]", "[]"},
    };
    static const char *const bad[] = {
        "",      "{",     "[1,]",     "{\"a\"}", "{\"a\":}",    "{a:1}",
        "01",    "1.",    ".5",       "-",       "1e",          "+1",
        "nul",   "tru e", "\"\x01\"", "\"\\x\"", "\"\xc0\"",    "\"\xed\xa0\x80\"",
        "[1 2]", "[1}",   "1 1",      "]",       "\"\\u12g4\"", "{\"a\":1,}",
        "\"a",   "'a'",   "NaN",      "[1,,2]",  "{,}"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step < 50; step++) {
            assert_string_equal(scan(cases[i][0], step), cases[i][1]);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t step = 1; step < 12; step++) {
            assert_string_equal(scan(bad[i], step), "!");
        }
    }
}

static void nesting_is_bounded(void **state) {
    char text[2 * GATEWAY_JSON_DEPTH_MAX + 3];
    memset(text, '[', GATEWAY_JSON_DEPTH_MAX);
    memset(text + GATEWAY_JSON_DEPTH_MAX, ']', GATEWAY_JSON_DEPTH_MAX);
    assert_true(gateway_json_valid(bnd_slice(text, 2 * GATEWAY_JSON_DEPTH_MAX)));
    memset(text, '[', GATEWAY_JSON_DEPTH_MAX + 1);
    memset(text + GATEWAY_JSON_DEPTH_MAX + 1, ']', GATEWAY_JSON_DEPTH_MAX + 1);
    assert_false(gateway_json_valid(bnd_slice(text, 2 * GATEWAY_JSON_DEPTH_MAX + 2)));
}

static void strings_are_quoted(void **state) {
    struct bnd_buf out = {0};
    gateway_json_string(&out, bnd_slice("a\"\\\n\0\xc3\xbc", 7));
    assert_true(
        bnd_slice_eq(bnd_buf_slice(&out), bnd_slice_str("\"a\\\"\\\\\\u000a\\u0000\xc3\xbc\"")));
    bnd_buf_reset(&out);
    gateway_json_string(&out, bnd_slice_str("a\xff\xc3(\xe2\x82"));
    assert_true(bnd_slice_eq(
        bnd_buf_slice(&out),
        bnd_slice_str("\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\"")));
    bnd_buf_reset(&out);
    gateway_json_compact(&out, bnd_slice_str(" {\n\"a b\\\" c\" :\t[1 , \"\x7f\"] }\r\n"));
    assert_true(bnd_slice_eq(bnd_buf_slice(&out), bnd_slice_str("{\"a b\\\" c\":[1,\"\\u007f\"]}")));
    bnd_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_of_the_store),
        cmocka_unit_test(keys),
        cmocka_unit_test(expirations),
        cmocka_unit_test(metadata_values_and_counts),
        cmocka_unit_test(a_cursor_is_of_one_list),
        cmocka_unit_test(forms_are_read_however_they_are_cut),
        cmocka_unit_test(content_types),
        cmocka_unit_test(json_is_told_however_it_is_cut),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(strings_are_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
