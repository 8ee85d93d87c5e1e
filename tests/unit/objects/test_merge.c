/* One page out of the answers of several shards: nothing behind the end of a cut answer, nothing
 * twice, and no answer that could not be one. */
#include "objects/command.h"
#include "objects/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ANSWERS = 3 };

struct page {
    struct objects_answer answers[ANSWERS];
    struct objects_merge merge;
    char text[64]; /* the keys in order; a prefix is followed by '/' */
};

/* keys: one character each; 'A' is the prefix "A". */
static int answer_set(struct objects_answer *answer, const char *keys, bool truncated) {
    struct bnd_buf bytes = {0};
    bnd_buf_u8(&bytes, truncated ? 1 : 0);
    for (const char *key = keys; *key != 0; key++) {
        bool is_prefix = *key >= 'A' && *key <= 'Z';
        struct objects_item item = {.is_prefix = is_prefix,
                                    .key = bnd_slice(key, 1),
                                    .value = bnd_slice("v", is_prefix ? 0 : 1)};
        objects_item_encode(&bytes, &item);
    }
    int rv = objects_answer_set(answer, bnd_buf_slice(&bytes));
    bnd_buf_free(&bytes);
    return rv;
}

/* answers: as answer_set, with '+' at the end of a cut one. */
static void merge(struct page *page, const char *const answers[ANSWERS], uint32_t limit) {
    *page = (struct page){0};
    for (size_t i = 0; i < ANSWERS; i++) {
        char keys[32];
        size_t len = strlen(answers[i]);
        bool cut = len > 0 && answers[i][len - 1] == '+';
        memcpy(keys, answers[i], len + 1);
        keys[cut ? len - 1 : len] = 0;
        assert_int_equal(answer_set(&page->answers[i], keys, cut), 0);
    }
    assert_int_equal(objects_merge(&page->merge, page->answers, ANSWERS, limit), 0);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&page->merge.items));
    struct objects_item item;
    size_t at = 0;
    while (objects_item_next(&r, &item)) {
        page->text[at++] = (char)item.key.data[0];
    }
    page->text[at] = 0;
    assert_int_equal(at, page->merge.count);
    for (size_t i = 0; i < ANSWERS; i++) {
        objects_answer_free(&page->answers[i]);
    }
    bnd_buf_free(&page->merge.items);
}

static void test_a_page_ends_where_the_first_cut_answer_does(void **state) {
    struct page page;
    (void)state;
    const char *const none[ANSWERS] = {"ad", "be", "cf"};
    merge(&page, none, 10);
    assert_string_equal(page.text, "abcdef");
    assert_false(page.merge.truncated);
    const char *const one[ANSWERS] = {"ac+", "bde", ""};
    merge(&page, one, 10);
    assert_string_equal(page.text, "abc"); /* the first shard may have more before d */
    assert_true(page.merge.truncated);
    const char *const two[ANSWERS] = {"ae+", "bc+", "dfg"};
    merge(&page, two, 10);
    assert_string_equal(page.text, "abc");
    const char *const other_way[ANSWERS] = {"bc+", "ae+", "dfg"};
    merge(&page, other_way, 10);
    assert_string_equal(page.text, "abc");
    merge(&page, none, 4);
    assert_string_equal(page.text, "abcd");
    assert_true(page.merge.truncated);
}

static void test_a_prefix_of_several_shards_is_one_item(void **state) {
    struct page page;
    (void)state;
    const char *const prefixes[ANSWERS] = {"Aa", "A", "AB"};
    merge(&page, prefixes, 10);
    assert_string_equal(page.text, "ABa");
    const char *const at_the_limit[ANSWERS] = {"A", "A", "A"};
    merge(&page, at_the_limit, 1);
    assert_string_equal(page.text, "A");
    assert_false(page.merge.truncated);
}

static void test_what_is_no_answer_is_refused(void **state) {
    struct objects_answer answer = {0};
    struct bnd_buf bytes = {0};
    (void)state;
    assert_int_equal(answer_set(&answer, "ab", false), 0);
    assert_int_equal(answer_set(&answer, "ba", false), BND_CORRUPT); /* out of order */
    assert_int_equal(answer_set(&answer, "", true), BND_CORRUPT);    /* cut, and empty: no way on */
    assert_int_equal(objects_answer_set(&answer, bnd_slice_str("")), BND_CORRUPT);
    assert_int_equal(objects_answer_set(&answer, bnd_slice_str("\2")), BND_CORRUPT);
    bnd_buf_u8(&bytes, 0);
    const struct objects_item item = {.key = bnd_slice_str("k"), .value = bnd_slice_str("v")};
    objects_item_encode(&bytes, &item);
    assert_int_equal(objects_answer_set(&answer, bnd_buf_slice(&bytes)), 0);
    assert_int_equal(objects_answer_set(&answer, bnd_slice(bytes.data, bytes.len - 1)),
                     BND_CORRUPT);
    bytes.data[1] = 1; /* a prefix with a value */
    assert_int_equal(objects_answer_set(&answer, bnd_buf_slice(&bytes)), BND_CORRUPT);
    bytes.data[1] = 2;
    assert_int_equal(objects_answer_set(&answer, bnd_buf_slice(&bytes)), BND_CORRUPT);
    bnd_buf_reset(&bytes);
    static const uint8_t long_key[BND_OBJECT_KEY_MAX + 1];
    const struct objects_item too_long = {.key = bnd_slice(long_key, sizeof long_key),
                                          .value = bnd_slice_str("v")};
    bnd_buf_u8(&bytes, 0);
    objects_item_encode(&bytes, &too_long);
    assert_int_equal(objects_answer_set(&answer, bnd_buf_slice(&bytes)), BND_CORRUPT);
    objects_answer_free(&answer);
    bnd_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_page_ends_where_the_first_cut_answer_does),
        cmocka_unit_test(test_a_prefix_of_several_shards_is_one_item),
        cmocka_unit_test(test_what_is_no_answer_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
