/* The chain rule, change sets, and the commands that carry them. */
#include "base/alloc.h"
#include "base/error.h"
#include "raft/host.h"
#include "sql/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t old_page[SQL_PAGE_BYTES];
static uint8_t new_page[SQL_PAGE_BYTES];

/* The change of `count` bytes, each far from the next, as one set. */
static struct sql_page_change change_of(const struct sql_page_found *found, unsigned count,
                                        struct sql_page_found *out_found) {
    static struct bnd_buf kept; /* what the change borrows from */
    struct sql_change_set set = {0};
    struct sql_page_change change = {0};
    uint32_t page = 0;
    memset(old_page, 7, sizeof old_page);
    memcpy(new_page, old_page, sizeof new_page);
    for (unsigned i = 0; i < count; i++) {
        new_page[i * 8] = 9;
    }
    sql_change_set_page(&set, 4, found == NULL ? NULL : old_page, found, new_page, 50, out_found);
    bnd_buf_free(&kept);
    kept = set.pages;
    if (set.count > 0) {
        struct bnd_reader r = bnd_reader(bnd_buf_slice(&kept));
        assert_int_equal(sql_change_set_next(&r, &page, &change), 0);
        assert_true(bnd_reader_done(&r));
        assert_int_equal(change.page, 4);
    }
    return change;
}

static void the_chain_rule_says_which_form_a_page_has(void **state) {
    const struct {
        struct sql_page_found found;
        unsigned count;
        enum sql_page_form form;
    } cases[] = {
        {{.version = 49}, 1, SQL_PAGE_SPANS},                    /* upon an image */
        {{.version = 49, .inherited = true}, 1, SQL_PAGE_IMAGE}, /* first in its epoch */
        {{.version = 9, .spans = 15, .spans_bytes = 100}, 1, SQL_PAGE_SPANS},
        {{.version = 9, .spans = 16, .spans_bytes = 100}, 1, SQL_PAGE_IMAGE},
        {{.version = 9, .spans = 2, .spans_bytes = 4093}, 1, SQL_PAGE_SPANS}, /* 3 bytes: full */
        {{.version = 9, .spans = 2, .spans_bytes = 4094}, 1, SQL_PAGE_IMAGE},
        {{.version = 9, .spans = 2, .spans_bytes = 4096}, 1, SQL_PAGE_IMAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sql_page_found made;
        struct sql_page_change change = change_of(&cases[i].found, cases[i].count, &made);
        assert_int_equal(change.value.form, cases[i].form);
        assert_int_equal(made.version, 50);
        assert_false(made.inherited);
        if (cases[i].form == SQL_PAGE_SPANS) {
            assert_int_equal(change.back, 50 - cases[i].found.version);
            assert_int_equal(change.value.place, cases[i].found.spans + 1);
            assert_int_equal(change.value.row_bytes, cases[i].found.spans_bytes + 3);
            assert_int_equal(made.spans, change.value.place);
            assert_int_equal(made.spans_bytes, change.value.row_bytes);
        } else {
            assert_int_equal(made.spans, 0);
            assert_int_equal(made.spans_bytes, 0);
        }
    }
    struct sql_page_found made;
    assert_int_equal(change_of(NULL, 1, &made).value.form, SQL_PAGE_IMAGE); /* no bytes before */
    assert_int_equal(made.spans, 0);
}

static void spans_that_are_not_smaller_are_an_image(void **state) {
    struct sql_change_set set = {0};
    struct sql_page_found found = {.version = 1};
    struct sql_page_found made;
    memset(old_page, 7, sizeof old_page);
    memset(new_page, 8, sizeof new_page);
    sql_change_set_page(&set, 1, old_page, &found, new_page, 2, &made);
    assert_int_equal(made.spans, 0);
    memcpy(new_page, old_page, 4); /* 4,092 bytes and their head of 3 */
    sql_change_set_page(&set, 2, old_page, &found, new_page, 2, &made);
    assert_int_equal(made.spans, 1);
    assert_int_equal(made.spans_bytes, 4095);
    new_page[3] = 8; /* 4,093 bytes and their head: no fewer than a page has */
    sql_change_set_page(&set, 3, old_page, &found, new_page, 2, &made);
    assert_int_equal(made.spans, 0);
    memcpy(new_page, old_page, sizeof old_page);
    sql_change_set_page(&set, 4, old_page, &found, new_page, 2, &made); /* equal: left out */
    assert_int_equal(set.count, 3);
    assert_true(made.version == 1 && made.spans == 0);
    sql_change_set_free(&set);
}

static void what_is_no_change_set_is_refused(void **state) {
    struct sql_change_set set = {0};
    struct sql_page_found found = {.version = 1};
    struct sql_page_found made;
    memset(old_page, 7, sizeof old_page);
    memcpy(new_page, old_page, sizeof new_page);
    new_page[100] = 1;
    sql_change_set_page(&set, 5, old_page, &found, new_page, 2, &made);
    uint8_t bytes[32];
    size_t len = set.pages.len;
    assert_true(len <= sizeof bytes);
    static const struct {
        size_t at;
        uint8_t value;
        const char *what;
    } bad[] = {
        {0, 0, "the same page again"}, {1, 3, "a form"},        {1, 0, "a form"},
        {2, 0, "upon itself"},         {3, 0, "no place"},      {3, 17, "a place too high"},
        {4, 9, "bytes of a row"},      {6, 2, "shorter spans"}, {6, 4, "longer spans"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t page = 0;
        struct sql_page_change change;
        memcpy(bytes, set.pages.data, len);
        bytes[bad[i].at] = bad[i].value;
        struct bnd_reader r = bnd_reader(bnd_slice(bytes, len));
        if (sql_change_set_next(&r, &page, &change) != BND_INVALID) {
            fail_msg("%s is taken", bad[i].what);
        }
        assert_int_equal(page, 0);
    }
    for (size_t cut = 0; cut < len; cut++) {
        uint32_t page = 0;
        struct sql_page_change change;
        struct bnd_reader r = bnd_reader(bnd_slice(set.pages.data, cut));
        assert_int_equal(sql_change_set_next(&r, &page, &change), BND_INVALID);
    }
    uint32_t page = UINT32_MAX - 4; /* and 5 more is none */
    struct sql_page_change change;
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&set.pages));
    assert_int_equal(sql_change_set_next(&r, &page, &change), BND_INVALID);
    sql_change_set_free(&set);
}

/* ---- packing ----------------------------------------------------------------------------------*/

static uint64_t seed = 1;

static void fill_random(uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(seed >> 33);
    }
}

static void add_images(struct sql_change_set *set, uint32_t count) {
    for (uint32_t page = 1; page <= count; page++) {
        struct sql_page_found made;
        fill_random(new_page, sizeof new_page);
        sql_change_set_page(set, page, NULL, NULL, new_page, 2, &made);
    }
}

/* Takes a transaction's commands apart again: what they carry is what was given. */
static void expect_travels(struct sql_packer *packer, struct sql_change_set *set,
                           struct bnd_slice answer, uint32_t parts) {
    struct sql_unpacker *unpacker = NULL;
    struct bnd_buf commands = {0};
    struct bnd_buf joined = {0};
    struct bnd_buf out = {0};
    uint32_t count = 0;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {9};
    const struct sql_commit header = {
        .number = 3, .epoch = 4, .term = 5, .base = 6, .page_count = 7, .attempt = {8}};
    struct sql_command command;
    size_t before = set->pages.len;
    assert_int_equal(sql_packer_commit(packer, uuid, &header, set, answer, &commands, &count), 0);
    assert_int_equal(set->pages.len, before);
    assert_int_equal(count, parts + 1);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&commands));
    for (uint32_t i = 0; i < count; i++) {
        struct bnd_slice bytes = bnd_read_bytes(&r);
        assert_true(bytes.len <= BND_RAFT_COMMAND_MAX);
        assert_int_equal(sql_command_decode(bytes, &command), 0);
        assert_memory_equal(command.uuid, uuid, sizeof uuid);
        if (i < parts) {
            assert_int_equal(command.op, SQL_STAGE);
            assert_int_equal(command.u.stage.number, 3);
            assert_int_equal(command.u.stage.part, i);
            assert_memory_equal(command.u.stage.attempt, header.attempt, 16);
            bnd_buf_append_slice(&joined, command.u.stage.bytes);
        }
    }
    assert_true(bnd_reader_done(&r));
    assert_int_equal(command.op, SQL_COMMIT);
    const struct sql_commit *commit = &command.u.commit;
    assert_true(commit->number == 3 && commit->epoch == 4 && commit->term == 5 &&
                commit->base == 6 && commit->page_count == 7);
    assert_int_equal(commit->staged, parts);
    assert_int_equal(commit->pages_count, set->count);
    struct bnd_slice packed = parts > 0 ? bnd_buf_slice(&joined) : commit->packed;
    assert_int_equal(sql_unpacker_create(&unpacker), 0);
    size_t total = (size_t)commit->pages_bytes + commit->answer_bytes;
    assert_int_equal(sql_unpack(unpacker, packed, total, &out), 0);
    assert_int_equal(out.len, set->pages.len + answer.len);
    assert_memory_equal(out.data, set->pages.data, set->pages.len);
    assert_memory_equal(out.data + set->pages.len, answer.data, answer.len);
    assert_int_equal(sql_unpack(unpacker, packed, total - 1, &out), BND_INVALID);
    assert_int_equal(sql_unpack(unpacker, packed, total + 1, &out), BND_INVALID);
    assert_int_equal(out.len, total);
    sql_unpacker_destroy(unpacker);
    bnd_buf_free(&commands);
    bnd_buf_free(&joined);
    bnd_buf_free(&out);
}

static void a_change_set_travels_whole_or_in_parts(void **state) {
    static uint8_t answer[SQL_ANSWER_KEPT_MAX];
    struct sql_packer *packer = NULL;
    assert_int_equal(sql_packer_create(&packer), 0);
    fill_random(answer, sizeof answer);
    static const struct {
        uint32_t pages, parts;
    } cases[] = {{1, 0}, {30, 0}, {254, 0}, {260, 3}, {1000, 8}, {4090, 32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sql_change_set set = {0};
        add_images(&set, cases[i].pages);
        expect_travels(packer, &set, bnd_slice(answer, i % 2 == 0 ? sizeof answer : 1),
                       cases[i].parts);
        sql_change_set_free(&set);
    }
    sql_packer_destroy(packer);
}

static void too_long_a_change_set_is_refused(void **state) {
    struct sql_packer *packer = NULL;
    struct sql_change_set set = {0};
    struct bnd_buf commands = {0};
    uint32_t count = 0;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {9};
    const struct sql_commit header = {.page_count = 7};
    assert_int_equal(sql_packer_create(&packer), 0);
    add_images(&set, SQL_CHANGE_SET_MAX / SQL_PAGE_BYTES);
    assert_int_equal(
        sql_packer_commit(packer, uuid, &header, &set, bnd_slice(NULL, 0), &commands, &count),
        BND_TOOBIG);
    sql_change_set_free(&set);
    bnd_buf_free(&commands);
    sql_packer_destroy(packer);
}

static void what_is_not_one_frame_is_refused(void **state) {
    struct sql_packer *packer = NULL;
    struct sql_unpacker *unpacker = NULL;
    struct sql_change_set set = {0};
    struct bnd_buf commands = {0};
    struct bnd_buf out = {0};
    struct bnd_buf twice = {0};
    uint32_t count = 0;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {9};
    const struct sql_commit header = {.page_count = 7};
    struct sql_command command;
    assert_int_equal(sql_packer_create(&packer), 0);
    assert_int_equal(sql_unpacker_create(&unpacker), 0);
    add_images(&set, 1);
    assert_int_equal(
        sql_packer_commit(packer, uuid, &header, &set, bnd_slice(NULL, 0), &commands, &count), 0);
    struct bnd_slice bytes = bnd_slice(commands.data + 4, commands.len - 4);
    assert_int_equal(sql_command_decode(bytes, &command), 0);
    struct bnd_slice packed = command.u.commit.packed;
    for (size_t len = 0; len < packed.len; len += len < 40 ? 1 : 97) {
        assert_int_equal(sql_unpack(unpacker, bnd_slice(packed.data, len), set.pages.len, &out),
                         BND_INVALID);
    }
    bnd_buf_append_slice(&twice, packed);
    bnd_buf_append_slice(&twice, packed);
    assert_int_equal(sql_unpack(unpacker, bnd_buf_slice(&twice), 2 * set.pages.len, &out),
                     BND_INVALID);
    assert_int_equal(out.len, 0);
    assert_int_equal(sql_unpack(unpacker, packed, set.pages.len, &out), 0);
    sql_packer_destroy(packer);
    sql_unpacker_destroy(unpacker);
    sql_change_set_free(&set);
    bnd_buf_free(&commands);
    bnd_buf_free(&out);
    bnd_buf_free(&twice);
}

/* ---- codecs -----------------------------------------------------------------------------------*/

/* A branch is of the present, of what it holds, or of a version: nothing else. */
static void a_branch_is_of_one_of_three(void **state) {
    const struct sql_command command = {
        .op = SQL_BRANCH, .uuid = {7}, .u.branch = {.source = {1}, .holds = true}};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct sql_command read;
    sql_command_encode(&bytes, &command);
    assert_int_equal(sql_command_decode(bnd_buf_slice(&bytes), &read), 0);
    bytes.data[bytes.len - 1] = 3;
    assert_int_equal(sql_command_decode(bnd_buf_slice(&bytes), &read), BND_INVALID);
}

static void commands_read_back_and_others_are_refused(void **state) {
    static const uint8_t part[] = {1, 2, 3};
    const struct sql_command commands[] = {
        {.op = SQL_CREATE, .uuid = {1}},
        {.op = SQL_DELETE, .uuid = {2}},
        {.op = SQL_COMMIT,
         .uuid = {3},
         .u.commit = {1, 2, 3, 4, 5, 6, 7, 8, 0, {9}, bnd_slice(part, 0)}},
        {.op = SQL_STAGE, .uuid = {4}, .u.stage = {1, {2}, 3, bnd_slice(part, 3)}},
        {.op = SQL_RESTORE, .uuid = {5}, .u.restore = {1, {2, 3, {4}}}},
        {.op = SQL_FORK, .uuid = {6}, .u.fork = {{1}, {2, 3, {4}}}},
        {.op = SQL_TICK},
        {.op = SQL_BRANCH, .uuid = {7}, .u.branch = {{1}, true}},
        {.op = SQL_BRANCH, .uuid = {9}, .u.branch = {{1}, false, true, {2, 3, {4}}}},
        {.op = SQL_SWAP, .uuid = {8}, .u.swap = {{1}, 2}},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct bnd_buf bytes = {0};
        struct bnd_buf again = {0};
        struct sql_command read;
        sql_command_encode(&bytes, &commands[i]);
        assert_int_equal(sql_command_decode(bnd_buf_slice(&bytes), &read), 0);
        sql_command_encode(&again, &read);
        assert_true(bnd_slice_eq(bnd_buf_slice(&bytes), bnd_buf_slice(&again)));
        size_t whole = bytes.len - (commands[i].op == SQL_STAGE ? sizeof part - 1 : 0);
        for (size_t len = 0; len < whole; len++) {
            assert_int_equal(sql_command_decode(bnd_slice(bytes.data, len), &read), BND_INVALID);
        }
        if (commands[i].op != SQL_STAGE && commands[i].op != SQL_COMMIT) {
            bnd_buf_u8(&bytes, 0);
            assert_int_equal(sql_command_decode(bnd_buf_slice(&bytes), &read), BND_INVALID);
        }
        if (commands[i].op == SQL_COMMIT) {
            assert_int_equal(bytes.len, SQL_COMMIT_HEAD_BYTES);
        }
        bnd_buf_free(&bytes);
        bnd_buf_free(&again);
    }
    struct sql_command read;
    assert_int_equal(sql_command_decode(bnd_slice("\0", 1), &read), BND_INVALID);
    assert_int_equal(sql_command_decode(bnd_slice("\x0b", 1), &read), BND_INVALID);
}

static void commits_out_of_bounds_are_refused(void **state) {
    const struct sql_commit bad[] = {
        {.page_count = 0},
        {.page_count = 1, .base = BND_SQL_VERSION_MAX},
        {.page_count = 1, .pages_bytes = SQL_CHANGE_SET_MAX + 1},
        {.page_count = 1, .answer_bytes = SQL_ANSWER_KEPT_MAX + 1},
        {.page_count = 1, .staged = SQL_PARTS_MAX + 1},
        {.page_count = 1, .staged = 1, .packed = bnd_slice("x", 1)},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bnd_buf bytes = {0};
        struct sql_command read;
        const struct sql_command command = {.op = SQL_COMMIT, .u.commit = bad[i]};
        sql_command_encode(&bytes, &command);
        assert_int_equal(sql_command_decode(bnd_buf_slice(&bytes), &read), BND_INVALID);
        bnd_buf_free(&bytes);
    }
    const struct sql_command part = {
        .op = SQL_STAGE, .u.stage = {.part = SQL_PARTS_MAX, .bytes = bnd_slice("x", 1)}};
    struct bnd_buf bytes = {0};
    struct sql_command read;
    sql_command_encode(&bytes, &part);
    assert_int_equal(sql_command_decode(bnd_buf_slice(&bytes), &read), BND_INVALID);
    bnd_buf_free(&bytes);
}

static void queries_and_records_read_back(void **state) {
    for (int kind = 0; kind < 4; kind++) {
        const struct sql_query query = {.kind = (enum sql_query_kind)kind,
                                        .uuid = {7},
                                        .stamp_ms = kind == SQL_QUERY_AT_TIME ? 99 : 0};
        struct bnd_buf bytes = {0};
        struct sql_query read = {0};
        bool good = kind == SQL_QUERY_DATABASE || kind == SQL_QUERY_AT_TIME;
        sql_query_encode(&bytes, &query);
        assert_int_equal(sql_query_decode(bnd_buf_slice(&bytes), &read), good ? 0 : BND_INVALID);
        if (good) {
            assert_int_equal(read.stamp_ms, query.stamp_ms);
            assert_memory_equal(read.uuid, query.uuid, sizeof read.uuid);
        }
        bnd_buf_u8(&bytes, 0);
        assert_int_equal(sql_query_decode(bnd_buf_slice(&bytes), &read), BND_INVALID);
        bnd_buf_free(&bytes);
    }
    static const struct sql_database_record record = {SQL_DATABASE_LIVE, 1, 2, 3, 4, 5, 6, {7}, 0};
    struct sql_database_record read;
    struct bnd_buf bytes = {0};
    sql_record_encode(&bytes, &record);
    assert_int_equal(sql_record_decode(bnd_buf_slice(&bytes), &read), 0);
    assert_true(read.number == 1 && read.epoch == 2 && read.version == 3 && read.page_count == 4 &&
                read.stamp_ms == 5 && read.created_ms == 6 && read.hash[0] == 7);
    assert_int_equal(sql_record_decode(bnd_slice(bytes.data, bytes.len - 1), &read), BND_CORRUPT);
    bytes.data[4 + 4 + 6] = 1; /* a version of 49 bits */
    assert_int_equal(sql_record_decode(bnd_buf_slice(&bytes), &read), BND_CORRUPT);
    bytes.data[4 + 4 + 6] = 0;
    bytes.data[0] = 0; /* no number */
    assert_int_equal(sql_record_decode(bnd_buf_slice(&bytes), &read), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_chain_rule_says_which_form_a_page_has),
        cmocka_unit_test(spans_that_are_not_smaller_are_an_image),
        cmocka_unit_test(what_is_no_change_set_is_refused),
        cmocka_unit_test(a_change_set_travels_whole_or_in_parts),
        cmocka_unit_test(too_long_a_change_set_is_refused),
        cmocka_unit_test(what_is_not_one_frame_is_refused),
        cmocka_unit_test(a_branch_is_of_one_of_three),
        cmocka_unit_test(commands_read_back_and_others_are_refused),
        cmocka_unit_test(commits_out_of_bounds_are_refused),
        cmocka_unit_test(queries_and_records_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
