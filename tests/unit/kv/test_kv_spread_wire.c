/* What replicas ask each other: sizes that cannot be are refused before anything looks at them. */
#include "kv/spread_wire.h"

#include "placement/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int decode_with_key(enum kv_spread_op op, size_t key_len) {
    static uint8_t key[BND_KV_KEY_MAX + 1];
    static const uint8_t blob[KV_BLOB_ID_BYTES];
    struct bnd_buf items = {0}, bytes = {0};
    struct kv_spread_ask ask = {
        .op = op, .key = bnd_slice(key, key_len), .blob = blob, .items_count = 1};
    struct kv_given given = {.key = ask.key, .record = bnd_slice("r", 1)};
    if (op == KV_SPREAD_FETCH) {
        kv_name_put(&items, 1, ask.key);
    } else if (op == KV_SPREAD_GIVE) {
        kv_given_put(&items, &given);
    }
    ask.items = bnd_buf_slice(&items);
    kv_spread_ask_encode(&bytes, &ask);
    struct kv_spread_ask out;
    int rv = kv_spread_ask_decode(bnd_buf_slice(&bytes), &out);
    bnd_buf_free(&items);
    bnd_buf_free(&bytes);
    return rv;
}

static void test_keys_have_a_bound_everywhere(void **state) {
    static const enum kv_spread_op ops[] = {KV_SPREAD_LIST, KV_SPREAD_FETCH, KV_SPREAD_PIECE,
                                            KV_SPREAD_HAVE, KV_SPREAD_GIVE};
    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        assert_int_equal(decode_with_key(ops[i], BND_KV_KEY_MAX), 0);
        assert_int_equal(decode_with_key(ops[i], BND_KV_KEY_MAX + 1), BND_CORRUPT);
    }
}

static void test_a_count_says_what_is_there(void **state) {
    struct bnd_buf items = {0}, bytes = {0};
    struct kv_spread_ask out;
    (void)state;
    kv_name_put(&items, 1, bnd_slice_str("a"));
    kv_name_put(&items, 1, bnd_slice_str("b"));
    for (uint32_t count = 0; count < 4; count++) {
        const struct kv_spread_ask ask = {
            .op = KV_SPREAD_FETCH, .items = bnd_buf_slice(&items), .items_count = count};
        bnd_buf_reset(&bytes);
        kv_spread_ask_encode(&bytes, &ask);
        assert_int_equal(kv_spread_ask_decode(bnd_buf_slice(&bytes), &out),
                         count == 2 ? 0 : BND_CORRUPT);
    }
    bnd_buf_free(&items);
    bnd_buf_free(&bytes);
}

static void test_shards_and_pieces_have_a_bound(void **state) {
    static const uint8_t blob[KV_BLOB_ID_BYTES];
    struct bnd_buf bytes = {0};
    struct kv_spread_ask out;
    (void)state;
    struct kv_spread_ask ask = {.op = KV_SPREAD_TREE, .shard = BND_SHARDS_MAX};
    kv_spread_ask_encode(&bytes, &ask);
    assert_int_equal(kv_spread_ask_decode(bnd_buf_slice(&bytes), &out), BND_CORRUPT);
    ask = (struct kv_spread_ask){.op = KV_SPREAD_PIECE,
                                 .blob = blob,
                                 .key = bnd_slice_str("k"),
                                 .number = BND_KV_VALUE_MAX / BND_KV_INLINE_MAX + 1};
    bnd_buf_reset(&bytes);
    kv_spread_ask_encode(&bytes, &ask);
    assert_int_equal(kv_spread_ask_decode(bnd_buf_slice(&bytes), &out), BND_CORRUPT);
    ask.number = 0;
    ask.bytes = bnd_slice("x", 1); /* a piece where none is */
    bnd_buf_reset(&bytes);
    kv_spread_ask_encode(&bytes, &ask);
    assert_int_equal(kv_spread_ask_decode(bnd_buf_slice(&bytes), &out), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

static void test_a_tree_is_whole_or_equal(void **state) {
    static struct kv_tree tree;
    struct bnd_buf bytes = {0};
    struct kv_tree_answer answer;
    (void)state;
    kv_tree_answer_encode(&bytes, &tree, false, true);
    assert_int_equal(kv_tree_answer_decode(bnd_buf_slice(&bytes), &answer), 0);
    assert_true(answer.filled && !answer.equal);
    bytes.len -= 16;
    assert_int_equal(kv_tree_answer_decode(bnd_buf_slice(&bytes), &answer), BND_CORRUPT);
    bytes.len = 1;
    bytes.data[0] = 1; /* equal, and nothing else */
    assert_int_equal(kv_tree_answer_decode(bnd_buf_slice(&bytes), &answer), 0);
    bnd_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_have_a_bound_everywhere),
        cmocka_unit_test(test_a_count_says_what_is_there),
        cmocka_unit_test(test_shards_and_pieces_have_a_bound),
        cmocka_unit_test(test_a_tree_is_whole_or_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
