/* Codecs of requests, answers and bookmarks: everything there and back, nothing cut, bent or
 * followed by more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sql/bookmark.h"

static void put_sample(struct bnd_buf *out, enum bnd_sql_session session) {
    struct bnd_sql_request header = {.results = BND_SQL_ROWS, .session = session, .script = true};
    struct bnd_sql_bookmark bookmark = {.epoch = 1, .version = BND_SQL_VERSION_MAX};
    memset(bookmark.hash, 0xab, sizeof bookmark.hash);
    bnd_sql_bookmark_put(header.bookmark, &bookmark);
    bnd_sql_request_begin(out, &header);
    bnd_sql_request_statement(out, bnd_slice_str("SELECT ?, ?, ?, ?, ?"), 5);
    static const struct bnd_sql_value values[] = {
        {.type = BND_SQL_NULL},
        {.type = BND_SQL_INTEGER, .integer = INT64_MIN},
        {.type = BND_SQL_REAL, .real = -0.1},
        {.type = BND_SQL_TEXT, .bytes = {(const uint8_t *)"text", 4}},
        {.type = BND_SQL_BLOB, .bytes = {(const uint8_t *)"\0\xff", 2}},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        bnd_sql_request_param(out, &values[i]);
    }
    bnd_sql_request_statement(out, bnd_slice_str(""), 0);
    bnd_sql_request_end(out, 2);
}

static void check_sample(struct bnd_sql_request *request) {
    struct bnd_sql_statement statement;
    struct bnd_sql_value value;
    assert_int_equal(request->statements_count, 2);
    bnd_sql_request_next(request, &statement);
    assert_true(bnd_slice_eq(statement.text, bnd_slice_str("SELECT ?, ?, ?, ?, ?")));
    assert_int_equal(statement.params_count, 5);
    bnd_sql_statement_next(&statement, &value);
    assert_int_equal(value.type, BND_SQL_NULL);
    bnd_sql_statement_next(&statement, &value);
    assert_true(value.type == BND_SQL_INTEGER && value.integer == INT64_MIN);
    bnd_sql_statement_next(&statement, &value);
    assert_true(value.type == BND_SQL_REAL && value.real == -0.1);
    bnd_sql_statement_next(&statement, &value);
    assert_true(value.type == BND_SQL_TEXT && bnd_slice_eq(value.bytes, bnd_slice_str("text")));
    bnd_sql_statement_next(&statement, &value);
    assert_true(value.type == BND_SQL_BLOB && bnd_slice_eq(value.bytes, bnd_slice("\0\xff", 2)));
    bnd_sql_request_next(request, &statement);
    assert_int_equal(statement.text.len, 0);
    assert_int_equal(statement.params_count, 0);
}

static void test_request(void **state) {
    for (int session = BND_SQL_PRIMARY; session <= BND_SQL_NO_SESSION; session++) {
        BND_AUTO_BUF struct bnd_buf buf = {0};
        struct bnd_sql_request request;
        put_sample(&buf, (enum bnd_sql_session)session);
        assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&buf), &request), 0);
        assert_int_equal(request.results, BND_SQL_ROWS);
        assert_int_equal(request.session, session);
        assert_true(request.script && !request.read_only);
        assert_int_equal(request.bookmark[27], session == BND_SQL_BOOKMARK ? 0xab : 0);
        check_sample(&request);
        for (size_t cut = 0; cut < buf.len; cut++) {
            assert_int_equal(bnd_sql_request_decode(bnd_slice(buf.data, cut), &request),
                             BND_CORRUPT);
        }
        bnd_buf_u8(&buf, 0);
        assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&buf), &request), BND_CORRUPT);
    }
}

static void test_request_flags(void **state) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    struct bnd_sql_request request = {
        .results = BND_SQL_OBJECTS, .session = BND_SQL_UNCONSTRAINED, .read_only = true};
    bnd_sql_request_begin(&buf, &request);
    bnd_sql_request_end(&buf, 0);
    assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&buf), &request), 0);
    assert_true(request.read_only && !request.script && !request.unlinked);
    request.unlinked = true;
    bnd_buf_reset(&buf);
    bnd_sql_request_begin(&buf, &request);
    bnd_sql_request_end(&buf, 0);
    assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&buf), &request), 0);
    assert_true(request.read_only && !request.script && request.unlinked);
    assert_int_equal(request.results, BND_SQL_OBJECTS);
}

static int decode_fill(const struct bnd_sql_request *header, enum bnd_sql_type type,
                       uint32_t statements, uint32_t params) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    const struct bnd_sql_value value = {.type = type};
    struct bnd_sql_request request;
    bnd_sql_request_begin(&buf, header);
    for (uint32_t i = 0; i < statements; i++) {
        bnd_sql_request_statement(&buf, bnd_slice_str("name"), params);
        for (uint32_t j = 0; j < params; j++) {
            bnd_sql_request_param(&buf, &value);
        }
    }
    bnd_sql_request_end(&buf, statements);
    int rv = bnd_sql_request_decode(bnd_buf_slice(&buf), &request);
    assert_true(rv != 0 || request.fill);
    return rv;
}

static void test_request_fill(void **state) {
    struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .fill = true};
    assert_int_equal(decode_fill(&header, BND_SQL_INTEGER, 1, 1), 0);
    assert_int_equal(decode_fill(&header, BND_SQL_TEXT, 1, 1), BND_CORRUPT);
    assert_int_equal(decode_fill(&header, BND_SQL_INTEGER, 1, 0), BND_CORRUPT);
    assert_int_equal(decode_fill(&header, BND_SQL_INTEGER, 1, 2), BND_CORRUPT);
    assert_int_equal(decode_fill(&header, BND_SQL_INTEGER, 2, 1), BND_CORRUPT);
    header.script = true;
    assert_int_equal(decode_fill(&header, BND_SQL_INTEGER, 1, 1), BND_CORRUPT);
    header.script = false;
    header.read_only = true;
    assert_int_equal(decode_fill(&header, BND_SQL_INTEGER, 1, 1), BND_CORRUPT);
}

static int decode_pages(uint32_t first, uint32_t count, struct bnd_sql_request *out) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    struct bnd_sql_request request = {.results = BND_SQL_ROWS,
                                      .session = BND_SQL_BOOKMARK,
                                      .read_only = true,
                                      .pages_first = first,
                                      .pages_count = 1};
    bnd_sql_request_begin(&buf, &request);
    bnd_sql_request_end(&buf, 0);
    bnd_put_u32(buf.data + buf.len - 4, count);
    for (size_t cut = 0; cut < buf.len; cut++) {
        assert_int_equal(bnd_sql_request_decode(bnd_slice(buf.data, cut), out), BND_CORRUPT);
    }
    return bnd_sql_request_decode(bnd_buf_slice(&buf), out);
}

/* Pages, and a statement behind them that is sound by itself. */
static int decode_pages_and_statement(struct bnd_sql_request *out) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    const struct bnd_sql_request request = {.results = BND_SQL_ROWS,
                                            .session = BND_SQL_PRIMARY,
                                            .read_only = true,
                                            .pages_first = 1,
                                            .pages_count = 1};
    bnd_sql_request_begin(&buf, &request);
    bnd_sql_request_statement(&buf, bnd_slice_str("SELECT 1"), 0);
    bnd_put_u32(buf.data + 4, 1);
    return bnd_sql_request_decode(bnd_buf_slice(&buf), out);
}

static void test_request_pages(void **state) {
    struct bnd_sql_request request;
    assert_int_equal(decode_pages_and_statement(&request), BND_CORRUPT);
    assert_int_equal(decode_pages(UINT32_MAX, BND_SQL_PAGES_MAX, &request), 0);
    assert_true(request.pages_first == UINT32_MAX && request.pages_count == BND_SQL_PAGES_MAX);
    assert_true(request.statements_count == 0 && request.read_only);
    assert_int_equal(decode_pages(0, 1, &request), BND_CORRUPT);
    assert_int_equal(decode_pages(1, 0, &request), BND_CORRUPT);
    assert_int_equal(decode_pages(1, BND_SQL_PAGES_MAX + 1, &request), BND_CORRUPT);
    BND_AUTO_BUF struct bnd_buf both = {0};
    request = (struct bnd_sql_request){
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .pages_first = 1, .pages_count = 1};
    bnd_sql_request_begin(&both, &request);
    bnd_sql_request_statement(&both, bnd_slice_str("SELECT 1"), 0);
    bnd_sql_request_end(&both, 1);
    assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&both), &request), BND_CORRUPT);
}

static int decode_with(size_t at, uint8_t byte) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    struct bnd_sql_request request;
    put_sample(&buf, BND_SQL_PRIMARY);
    buf.data[at] = byte;
    return bnd_sql_request_decode(bnd_buf_slice(&buf), &request);
}

static void test_request_unsound(void **state) {
    assert_int_equal(decode_with(0, 2), BND_VERSION);
    assert_int_equal(decode_with(1, 0), BND_CORRUPT); /* results */
    assert_int_equal(decode_with(1, 3), BND_CORRUPT);
    assert_int_equal(decode_with(2, 0), BND_CORRUPT); /* session */
    assert_int_equal(decode_with(2, 4), 0);
    assert_int_equal(decode_with(2, 5), BND_CORRUPT);
    assert_int_equal(decode_with(3, 32), BND_CORRUPT); /* flags */
    assert_int_equal(decode_with(3, 16), BND_CORRUPT); /* fill, and something else */
    assert_int_equal(decode_with(3, 8), BND_CORRUPT);  /* pages, and statements */
    assert_int_equal(decode_with(4, 3), BND_CORRUPT);  /* statements */
    assert_int_equal(decode_with(4, 1), BND_CORRUPT);  /* one is left over */
    assert_int_equal(decode_with(7, 1), BND_CORRUPT);  /* more than 10,000 */
    assert_int_equal(decode_with(35, 1), BND_CORRUPT); /* params: more than there are bytes */
    assert_int_equal(decode_with(36, 5), BND_CORRUPT); /* type */
    assert_int_equal(decode_with(36, 0), 0);
}

/* Versions have 48 bits: no text can be made of more. */
static void test_bookmark_beyond(void **state) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    struct bnd_sql_request request;
    struct bnd_sql_answer answer = {.outcome = BND_SQL_DONE};
    put_sample(&buf, BND_SQL_BOOKMARK);
    buf.data[4 + 4 + 6] = 1;
    assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&buf), &request), BND_CORRUPT);
    bnd_buf_reset(&buf);
    bnd_sql_answer_encode(&buf, &answer);
    assert_int_equal(bnd_sql_answer_decode(bnd_buf_slice(&buf), &answer), 0);
    buf.data[3 + 4 + 6] = 1;
    assert_int_equal(bnd_sql_answer_decode(bnd_buf_slice(&buf), &answer), BND_CORRUPT);
}

static void test_request_statements(void **state) {
    for (uint32_t count = BND_SQL_STATEMENTS_MAX; count <= BND_SQL_STATEMENTS_MAX + 1; count++) {
        BND_AUTO_BUF struct bnd_buf buf = {0};
        struct bnd_sql_request request = {.results = BND_SQL_OBJECTS, .session = BND_SQL_PRIMARY};
        bnd_sql_request_begin(&buf, &request);
        for (uint32_t i = 0; i < count; i++) {
            bnd_sql_request_statement(&buf, bnd_slice_str("SELECT 1"), 0);
        }
        bnd_sql_request_end(&buf, count);
        assert_int_equal(bnd_sql_request_decode(bnd_buf_slice(&buf), &request),
                         count > BND_SQL_STATEMENTS_MAX ? BND_CORRUPT : 0);
    }
}

static void test_answer(void **state) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    struct bnd_sql_answer out;
    struct bnd_sql_answer in = {
        .outcome = BND_SQL_DONE, .wrote = true, .text = bnd_slice_str("[1]")};
    in.bookmark[27] = 9;
    bnd_sql_answer_encode(&buf, &in);
    assert_int_equal(bnd_sql_answer_decode(bnd_buf_slice(&buf), &out), 0);
    assert_true(out.wrote && out.outcome == BND_SQL_DONE && out.bookmark[27] == 9);
    assert_true(bnd_slice_eq(out.text, in.text));
    for (size_t cut = 0; cut < 31; cut++) {
        assert_int_equal(bnd_sql_answer_decode(bnd_slice(buf.data, cut), &out), BND_CORRUPT);
    }
    buf.data[2] = 2;
    assert_int_equal(bnd_sql_answer_decode(bnd_buf_slice(&buf), &out), BND_CORRUPT);
    buf.data[2] = 0;
    buf.data[1] = 4;
    assert_int_equal(bnd_sql_answer_decode(bnd_buf_slice(&buf), &out), BND_CORRUPT);
    buf.data[0] = 9;
    assert_int_equal(bnd_sql_answer_decode(bnd_buf_slice(&buf), &out), BND_VERSION);
}

/* ---- bookmarks ---- */

static void test_bookmark(void **state) {
    struct bnd_sql_bookmark in = {.epoch = 7, .version = 0x123456789abc}, out;
    memset(in.hash, 0x5c, sizeof in.hash);
    char text[BND_SQL_BOOKMARK_TEXT + 1];
    bnd_sql_bookmark_text(&in, text);
    assert_string_equal(text, "00000007-12345678-9abc0000-5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c");
    assert_int_equal(bnd_sql_bookmark_parse(bnd_slice_str(text), &out), 0);
    assert_true(out.epoch == 7 && out.version == in.version);
    assert_memory_equal(out.hash, in.hash, sizeof in.hash);
    uint8_t bytes[BND_SQL_BOOKMARK_BYTES];
    bnd_sql_bookmark_put(bytes, &in);
    bnd_sql_bookmark_get(bytes, &out);
    assert_true(out.epoch == 7 && out.version == in.version);
    assert_memory_equal(out.hash, in.hash, sizeof in.hash);
}

static void test_bookmark_unsound(void **state) {
    static const char *const texts[] = {
        "",
        "first-primary",
        "00000007-12345678-9abc0000-5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5",   /* short */
        "00000007-12345678-9abc0000-5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5", /* long */
        "00000007-12345678-9abc0000-5C5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c",  /* upper case */
        "0000000g-12345678-9abc0000-5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c",  /* no digit */
        "00000007_12345678-9abc0000-5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c",  /* no dash */
        "00000007-12345678-9abc0001-5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c",  /* 16 bits that are zero */
    };
    struct bnd_sql_bookmark out = {.epoch = 42};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(bnd_sql_bookmark_parse(bnd_slice_str(texts[i]), &out), BND_INVALID);
    }
    assert_int_equal(out.epoch, 42);
}

/* Clients compare the texts. */
static void test_bookmark_order(void **state) {
    static const struct bnd_sql_bookmark rising[] = {
        {.epoch = 0, .version = 0},        {.epoch = 0, .version = 1},
        {.epoch = 0, .version = 0xffff},   {.epoch = 0, .version = 0x10000},
        {.epoch = 0, .version = 1u << 31}, {.epoch = 0, .version = BND_SQL_VERSION_MAX},
        {.epoch = 1, .version = 0},        {.epoch = UINT32_MAX, .version = 0},
    };
    char before[BND_SQL_BOOKMARK_TEXT + 1] = "";
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++) {
        char text[BND_SQL_BOOKMARK_TEXT + 1];
        bnd_sql_bookmark_text(&rising[i], text);
        assert_true(strcmp(before, text) < 0);
        memcpy(before, text, sizeof text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_flags),
        cmocka_unit_test(test_request_pages),
        cmocka_unit_test(test_request_fill),
        cmocka_unit_test(test_request_unsound),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_request_statements),
        cmocka_unit_test(test_bookmark_beyond),
        cmocka_unit_test(test_bookmark),
        cmocka_unit_test(test_bookmark_unsound),
        cmocka_unit_test(test_bookmark_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
