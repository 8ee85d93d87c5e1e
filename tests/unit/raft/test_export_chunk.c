/* The bytes of a state export: whole or refused. */
#include "raft/export_chunk.h"

#include "base/alloc.h"
#include "raft/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// cmocka wants the above first
#include <cmocka.h>

static void make(struct bnd_buf *out, uint64_t second_index) {
    struct bnd_buf pairs = {0};
    struct bnd_buf entries = {0};
    const struct export_pair all[] = {
        {BND_CF_RAFT, bnd_slice_str("a"), bnd_slice_str("tuple")},
        {BND_CF_OBJECTS, bnd_slice_str("key"), bnd_slice_str("")},
    };
    for (size_t i = 0; i < 2; i++) {
        export_pair_encode(&all[i], &pairs);
    }
    const struct bnd_journal_entry first = {.index = 21, .term = 2, .kind = BND_CORE_BARRIER};
    const struct bnd_journal_entry second = {
        .index = second_index, .term = 3, .kind = BND_CORE_COMMAND, .data = bnd_slice_str("do")};
    export_entry_encode(&first, &entries);
    export_entry_encode(&second, &entries);
    assert_int_equal(entries.len, export_entry_bytes(&first) + export_entry_bytes(&second));
    struct export_chunk chunk = {.last = true,
                                 .export_id = 9,
                                 .seq = 1,
                                 .term = 3,
                                 .last_index = 22,
                                 .pairs_count = 2,
                                 .pairs = bnd_buf_slice(&pairs),
                                 .entries_count = 2,
                                 .entries = bnd_buf_slice(&entries)};
    chunk.total = export_total_add((struct export_total){0}, 2, chunk.pairs);
    export_chunk_encode(&chunk, out);
    bnd_buf_free(&pairs);
    bnd_buf_free(&entries);
}

static void a_chunk_comes_back(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    make(&bytes, 22);
    struct export_chunk chunk;
    assert_int_equal(export_chunk_decode(bnd_buf_slice(&bytes), &chunk, NULL), 0);
    assert_true(chunk.last && chunk.total.pairs == 2);
    struct bnd_reader r = bnd_reader(chunk.pairs);
    assert_true(bnd_slice_eq(export_pair_next(&r).value, bnd_slice_str("tuple")));
    struct export_pair second = export_pair_next(&r);
    assert_int_equal(second.family, BND_CF_OBJECTS);
    assert_true(bnd_slice_eq(second.key, bnd_slice_str("key")));
    r = bnd_reader(chunk.entries);
    assert_int_equal(export_entry_next(&r).index, 21);
    assert_int_equal(export_entry_next(&r).term, 3);
}

static void every_flipped_bit_and_every_cut_is_refused(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    make(&bytes, 22);
    struct export_chunk chunk;
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(export_chunk_decode(bnd_buf_slice(&bytes), &chunk, NULL), 0);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < bytes.len; len++) {
        assert_int_not_equal(export_chunk_decode(bnd_slice(bytes.data, len), &chunk, NULL), 0);
    }
}

static void a_gap_between_entries_is_refused(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    make(&bytes, 23);
    struct export_chunk chunk;
    assert_int_equal(export_chunk_decode(bnd_buf_slice(&bytes), &chunk, NULL), BND_CORRUPT);
}

static void an_entry_of_an_unknown_kind_is_refused(void **state) {
    (void)state;
    for (uint8_t kind = BND_CORE_BARRIER; kind < BND_CORE_BARRIER + 9; kind++) {
        BND_AUTO_BUF struct bnd_buf bytes = {0};
        BND_AUTO_BUF struct bnd_buf entries = {0};
        const struct bnd_journal_entry entry = {.index = 21, .term = 2, .kind = kind};
        export_entry_encode(&entry, &entries);
        struct export_chunk chunk = {.export_id = 9,
                                     .seq = 1,
                                     .term = 3,
                                     .last_index = 22,
                                     .entries_count = 1,
                                     .entries = bnd_buf_slice(&entries)};
        export_chunk_encode(&chunk, &bytes);
        assert_int_equal(export_chunk_decode(bnd_buf_slice(&bytes), &chunk, NULL),
                         kind == BND_CORE_BARRIER ? 0 : BND_CORRUPT);
    }
}

/* The same pairs, one of them left out or in another order: another total. */
static void the_total_knows_order_and_count(void **state) {
    (void)state;
    const struct export_total none = {0};
    struct export_total ab =
        export_total_add(export_total_add(none, 1, bnd_slice_str("a")), 1, bnd_slice_str("b"));
    struct export_total ba =
        export_total_add(export_total_add(none, 1, bnd_slice_str("b")), 1, bnd_slice_str("a"));
    struct export_total b = export_total_add(none, 1, bnd_slice_str("b"));
    assert_false(bnd_hash128_eq(ab.hash, ba.hash));
    assert_false(bnd_hash128_eq(ab.hash, b.hash));
    assert_int_equal(ab.pairs, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_comes_back),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_refused),
        cmocka_unit_test(a_gap_between_entries_is_refused),
        cmocka_unit_test(an_entry_of_an_unknown_kind_is_refused),
        cmocka_unit_test(the_total_knows_order_and_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
