/* Spans, page values, keys, records: what is written reads back, and a byte that has changed, or a
 * value under another's key, is found. */
#include "base/alloc.h"
#include "base/error.h"
#include "sql/records.h"
#include "sql/varint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SLOT = 3 };

static uint64_t seed = 1;

static uint64_t draw(uint64_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

static void fill(uint8_t page[SQL_PAGE_BYTES]) {
    for (size_t i = 0; i < SQL_PAGE_BYTES; i++) {
        page[i] = (uint8_t)draw(256);
    }
}

static size_t diff_of(const uint8_t *old, const uint8_t *new, uint8_t out[2 * SQL_PAGE_BYTES]) {
    return sql_spans_diff(old, new, out, 2 * SQL_PAGE_BYTES);
}

static void spans_turn_old_into_new(void **state) {
    static uint8_t old[SQL_PAGE_BYTES];
    static uint8_t new[SQL_PAGE_BYTES];
    static uint8_t spans[2 * SQL_PAGE_BYTES];
    fill(old);
    for (int round = 0; round < 3000; round++) {
        memcpy(new, old, sizeof new);
        for (uint64_t runs = 1 + draw(20); runs > 0; runs--) {
            size_t len = 1 + draw(round % 10 == 0 ? 2000 : 10);
            size_t at = draw(4) == 0 ? SQL_PAGE_BYTES - len : draw(SQL_PAGE_BYTES - len + 1);
            for (size_t i = 0; i < len; i++) {
                new[at + i] = (uint8_t)(new[at + i] + (draw(8) == 0 ? 0 : 1));
            }
        }
        size_t len = diff_of(old, new, spans);
        assert_true(len > 0 || memcmp(old, new, sizeof new) == 0);
        if (len > 0) {
            assert_true(sql_spans_valid(bnd_slice(spans, len)));
            assert_true(sql_spans_diff(old, new, spans, len) == len);
            assert_true(sql_spans_diff(old, new, spans, len - 1) == SIZE_MAX);
            (void)diff_of(old, new, spans);
            sql_spans_apply(bnd_slice(spans, len), old);
        }
        assert_memory_equal(old, new, sizeof new);
    }
}

static void near_differences_are_one_run(void **state) {
    static const uint8_t old[SQL_PAGE_BYTES];
    uint8_t new[SQL_PAGE_BYTES] = {0};
    uint8_t spans[2 * SQL_PAGE_BYTES];
    assert_int_equal(diff_of(old, new, spans), 0);
    new[10] = 1;
    new[13] = 2; /* two equal bytes between: as cheap as a run */
    static const uint8_t one[] = {10, 3, 1, 0, 0, 2};
    assert_int_equal(diff_of(old, new, spans), sizeof one);
    assert_memory_equal(spans, one, sizeof one);
    new[13] = 0;
    new[14] = 2; /* three: dearer */
    static const uint8_t two[] = {10, 0, 1, 3, 0, 2};
    assert_int_equal(diff_of(old, new, spans), sizeof two);
    assert_memory_equal(spans, two, sizeof two);
    new[SQL_PAGE_BYTES - 1] = 3;
    static const uint8_t three[] = {10, 0, 1, 3, 0, 2, 0xf0, 0x1f, 0, 3};
    assert_int_equal(diff_of(old, new, spans), sizeof three);
    assert_memory_equal(spans, three, sizeof three);
}

static void what_is_no_span_is_told(void **state) {
    static const struct {
        size_t len;
        uint8_t bytes[8];
    } bad[] = {
        {0, {0}},
        {1, {0}},                         /* no length */
        {2, {0, 0}},                      /* no bytes */
        {3, {0, 1, 7}},                   /* one of two bytes */
        {4, {0x80, 0x20, 0, 7}},          /* begins at 4,096 */
        {5, {0xff, 0x1f, 1, 7, 7}},       /* ends behind the page */
        {7, {0xff, 0x1f, 0, 7, 0, 0, 7}}, /* the second one does */
        {4, {0x80, 0x80, 0x80, 0x80}},    /* a number that does not end */
        {8, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(sql_spans_valid(bnd_slice(bad[i].bytes, bad[i].len)));
    }
    static const uint8_t last[] = {0xff, 0x1f, 0, 7};
    assert_true(sql_spans_valid(bnd_slice(last, sizeof last)));
}

static void numbers_read_back(void **state) {
    for (unsigned bit = 0; bit < 64; bit++) {
        for (uint64_t v = (UINT64_C(1) << bit) - 1; v <= (UINT64_C(1) << bit); v++) {
            uint8_t bytes[SQL_VARINT_MAX];
            size_t len = sql_varint_put(bytes, v);
            struct bnd_reader r = bnd_reader(bnd_slice(bytes, len));
            assert_true(sql_varint_read(&r) == v && bnd_reader_done(&r));
            r = bnd_reader(bnd_slice(bytes, len - 1));
            (void)sql_varint_read(&r);
            assert_true(r.failed);
        }
    }
    static const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2};
    struct bnd_reader r = bnd_reader(bnd_slice(over, sizeof over));
    (void)sql_varint_read(&r);
    assert_true(r.failed);
}

/* Every bit of a value, and of the key it stands under. */
static void expect_flips_found(const struct sql_key *key, struct bnd_buf *value,
                               int (*decode)(struct bnd_slice key, struct bnd_slice value)) {
    struct sql_key other = *key;
    assert_int_equal(decode(sql_key_rest(key), bnd_buf_slice(value)), 0);
    for (size_t i = 0; i < 8 * value->len; i++) {
        value->data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(decode(sql_key_rest(key), bnd_buf_slice(value)), BND_CORRUPT);
        value->data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t i = 8 * SQL_KEY_SLOT_BYTES; i < 8 * key->len; i++) {
        other.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(decode(sql_key_rest(&other), bnd_buf_slice(value)), BND_CORRUPT);
        other.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t len = 0; len < value->len; len++) {
        assert_int_equal(decode(sql_key_rest(key), bnd_slice(value->data, len)), BND_CORRUPT);
    }
    for (uint32_t slot = 0; slot < 3; slot++) { /* a replica has another slot: the same value */
        bnd_put_be32(other.bytes, slot);
        assert_int_equal(decode(sql_key_rest(&other), bnd_buf_slice(value)), 0);
    }
    bnd_buf_free(value);
}

static int decode_page(struct bnd_slice key, struct bnd_slice value) {
    struct sql_page_value out;
    return sql_page_value_decode(key, value, &out);
}

static void damaged_page_values_are_found(void **state) {
    static uint8_t image[SQL_PAGE_BYTES];
    static const uint8_t spans[] = {10, 3, 1, 0, 0, 2};
    struct bnd_buf value = {0};
    struct sql_key key;
    struct sql_page_value page = {.form = SQL_PAGE_SPANS,
                                  .place = 2,
                                  .row_bytes = 90,
                                  .bytes = bnd_slice(spans, sizeof spans)};
    sql_key_page(&key, SLOT, 5, 6, 7, 8);
    sql_page_value_encode(&value, &key, &page);
    assert_int_equal(value.len, 1 + 1 + 1 + 2 + sizeof spans + 4);
    expect_flips_found(&key, &value, decode_page);
    fill(image);
    page = (struct sql_page_value){.form = SQL_PAGE_IMAGE, .bytes = bnd_slice(image, 4096)};
    sql_page_value_encode(&value, &key, &page);
    expect_flips_found(&key, &value, decode_page);
}

/* Values whose check is right and whose fields are not. */
static void senseless_page_values_are_refused(void **state) {
    static const uint8_t spans[] = {10, 3, 1, 0, 0, 2};
    const struct bnd_slice bytes = bnd_slice(spans, sizeof spans);
    const struct sql_page_value bad[] = {
        {.form = SQL_PAGE_SPANS, .place = 0, .row_bytes = 6, .bytes = bytes},
        {.form = SQL_PAGE_SPANS, .place = 17, .row_bytes = 100, .bytes = bytes},
        {.form = SQL_PAGE_SPANS, .place = 2, .row_bytes = 4097, .bytes = bytes},
        {.form = SQL_PAGE_SPANS, .place = 2, .row_bytes = 5, .bytes = bytes},
        {.form = SQL_PAGE_SPANS, .place = 1, .row_bytes = 7, .bytes = bytes},
        {.form = SQL_PAGE_SPANS, .place = 1, .row_bytes = 5, .bytes = bnd_slice(spans, 5)},
        {.form = SQL_PAGE_IMAGE, .bytes = bytes},
        {.form = 3, .bytes = bytes},
    };
    struct sql_key key;
    sql_key_page(&key, SLOT, 5, 6, 7, 8);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bnd_buf value = {0};
        sql_page_value_encode(&value, &key, &bad[i]);
        assert_int_equal(decode_page(sql_key_rest(&key), bnd_buf_slice(&value)), BND_CORRUPT);
        bnd_buf_free(&value);
    }
}

static int decode_database(struct bnd_slice key, struct bnd_slice value) {
    struct sql_database_row out;
    return sql_database_decode(key, value, &out);
}
static int decode_epoch(struct bnd_slice key, struct bnd_slice value) {
    struct sql_epoch_row out;
    return sql_epoch_decode(key, value, &out);
}
static int decode_commit(struct bnd_slice key, struct bnd_slice value) {
    struct sql_commit_row out;
    return sql_commit_decode(key, value, &out);
}
static int decode_fork(struct bnd_slice key, struct bnd_slice value) {
    struct sql_fork_row out;
    return sql_fork_decode(key, value, &out);
}
static int decode_number(struct bnd_slice key, struct bnd_slice value) {
    uint32_t out = 0;
    return sql_number_decode(key, value, &out);
}
static int decode_pass(struct bnd_slice key, struct bnd_slice value) {
    struct sql_pass_row row;
    return sql_pass_decode(key, value, &row);
}
static int decode_lease(struct bnd_slice key, struct bnd_slice value) {
    struct sql_lease_row out;
    return sql_lease_decode(key, value, &out);
}

static int decode_dead(struct bnd_slice key, struct bnd_slice value) {
    struct sql_dead_row out;
    return sql_dead_decode(key, value, &out);
}

static void records_read_back_and_damage_is_found(void **state) {
    struct bnd_buf value = {0};
    struct sql_key key;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {1, 2, 3};
    static const struct sql_database_row database = {.record = {.state = SQL_DATABASE_LIVE,
                                                                .number = 5,
                                                                .epoch = 2,
                                                                .version = 77,
                                                                .page_count = 9,
                                                                .stamp_ms = 1000,
                                                                .created_ms = 900,
                                                                .hash = {4},
                                                                .cutoff = 3},
                                                     .staged = 2,
                                                     .attempt = {6}};
    struct sql_database_row read;
    sql_key_database(&key, SLOT, uuid);
    sql_database_encode(&value, &key, &database);
    assert_int_equal(sql_database_decode(sql_key_rest(&key), bnd_buf_slice(&value), &read), 0);
    struct bnd_buf again = {0};
    sql_database_encode(&again, &key, &read);
    assert_true(bnd_slice_eq(bnd_buf_slice(&again), bnd_buf_slice(&value)));
    bnd_buf_free(&again);
    assert_int_equal(read.record.version, 77);
    assert_int_equal(read.staged, 2);
    expect_flips_found(&key, &value, decode_database);

    static const struct sql_epoch_row epoch = {5, 1, 60, 61, 1000, 70};
    struct sql_epoch_row read_epoch;
    sql_key_pair(&key, SLOT, SQL_TAG_EPOCH, 5, 2);
    sql_epoch_encode(&value, &key, &epoch);
    assert_int_equal(sql_epoch_decode(sql_key_rest(&key), bnd_buf_slice(&value), &read_epoch), 0);
    assert_true(read_epoch.parent_number == 5 && read_epoch.parent_epoch == 1 &&
                read_epoch.parent_version == 60 && read_epoch.first_version == 61 &&
                read_epoch.stamp_ms == 1000 && read_epoch.cutoff == 70);
    expect_flips_found(&key, &value, decode_epoch);

    static const uint8_t pages[] = {1, 2, 6};
    const struct sql_commit_row commit = {
        .record = {2, 77, 1000, 9, {4}}, .pages_count = 3, .pages = bnd_slice(pages, sizeof pages)};
    struct sql_commit_row read_commit;
    sql_key_commit(&key, SLOT, 5, 77);
    sql_commit_encode(&value, &key, &commit);
    assert_int_equal(sql_commit_decode(sql_key_rest(&key), bnd_buf_slice(&value), &read_commit), 0);
    assert_true(read_commit.record.version == 77 && read_commit.record.epoch == 2 &&
                read_commit.record.page_count == 9 && read_commit.record.stamp_ms == 1000);
    assert_true(bnd_slice_eq(read_commit.pages, commit.pages));
    expect_flips_found(&key, &value, decode_commit);

    const struct sql_fork_row fork = {2, 77};
    sql_key_pair(&key, SLOT, SQL_TAG_FORK, 5, 6);
    sql_fork_encode(&value, &key, &fork);
    expect_flips_found(&key, &value, decode_fork);

    const struct sql_lease_row lease = {{1}, {2}, true, {2, 3, {4}}, 123456};
    sql_key_number(&key, SLOT, SQL_TAG_LEASE, 5);
    sql_lease_encode(&value, &key, &lease);
    expect_flips_found(&key, &value, decode_lease);

    sql_key_number(&key, SLOT, SQL_TAG_PINNED, 5);
    sql_number_encode(&value, &key, 4);
    expect_flips_found(&key, &value, decode_number);

    static const uint8_t last[] = {'p', 0, 0, 0, 5};
    const struct sql_dead_row dead = {4, SQL_SECTION_PAGES, bnd_slice(last, sizeof last)};
    sql_key_dead(&key, SLOT, 123456, 5);
    sql_dead_encode(&value, &key, &dead);
    expect_flips_found(&key, &value, decode_dead);
}

static void a_pass_reads_back_and_damage_is_found(void **state) {
    static const uint8_t last[] = {'p', 0, 0, 0, 5};
    struct sql_key key;
    struct bnd_buf value = {0};
    const struct sql_pass_row pass = {4, 70, SQL_SECTION_PAGES, true, bnd_slice(last, sizeof last)};
    struct sql_pass_row read_pass;
    sql_key_tag(&key, SLOT, SQL_TAG_PASS);
    sql_pass_encode(&value, &key, &pass);
    assert_int_equal(sql_pass_decode(sql_key_rest(&key), bnd_buf_slice(&value), &read_pass), 0);
    assert_true(read_pass.number == 4 && read_pass.cutoff == 70 && read_pass.row_goes_on &&
                read_pass.section == SQL_SECTION_PAGES && bnd_slice_eq(read_pass.last, pass.last));
    expect_flips_found(&key, &value, decode_pass);
}

/* A line of parents that would be a ring is damage, and so are pages beyond the database. */
static void senseless_records_are_refused(void **state) {
    static const struct sql_epoch_row bad[] = {
        {5, 2, 1, 1, 1, 0}, {5, 3, 1, 1, 1, 0}, {6, 0, 1, 1, 1, 0}, {5, 1, 1, 1, 1, UINT64_MAX}};
    struct sql_key key;
    struct bnd_buf value = {0};
    sql_key_pair(&key, SLOT, SQL_TAG_EPOCH, 5, 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bnd_buf_reset(&value);
        sql_epoch_encode(&value, &key, &bad[i]);
        assert_int_equal(decode_epoch(sql_key_rest(&key), bnd_buf_slice(&value)), BND_CORRUPT);
    }
    static const uint8_t pages[] = {1, 2, 7, 0};
    sql_key_commit(&key, SLOT, 5, 77);
    for (uint32_t count = 3; count <= 4; count++) { /* page 10 of 9; one that does not rise */
        struct sql_commit_row commit = {.record = {2, 77, 1000, count == 3 ? 9 : 10, {4}},
                                        .pages_count = count,
                                        .pages = bnd_slice(pages, count)};
        bnd_buf_reset(&value);
        sql_commit_encode(&value, &key, &commit);
        assert_int_equal(decode_commit(sql_key_rest(&key), bnd_buf_slice(&value)), BND_CORRUPT);
    }
    bnd_buf_free(&value);
}

/* Byte order of keys: versions of a page newest first, pages of a database side by side. */
static void keys_stand_in_the_order_that_reading_needs(void **state) {
    struct sql_key keys[6];
    sql_key_page(&keys[0], SLOT, 5, 1, 0, 300);
    sql_key_page(&keys[1], SLOT, 5, 1, 0, 2);
    sql_key_page(&keys[2], SLOT, 5, 1, 1, 301);
    sql_key_page(&keys[3], SLOT, 5, 2, 0, 7);
    sql_key_page(&keys[4], SLOT, 256, 1, 0, 7);
    sql_key_number(&keys[5], SLOT, SQL_TAG_PAGE, 256);
    sql_key_past(&keys[5]);
    for (size_t i = 0; i + 1 < sizeof keys / sizeof *keys; i++) {
        assert_true(bnd_slice_cmp(sql_key_slice(&keys[i]), sql_key_slice(&keys[i + 1])) < 0);
    }
    sql_key_number(&keys[0], SLOT, SQL_TAG_PAGE, UINT32_MAX);
    sql_key_past(&keys[0]);
    assert_int_equal(keys[0].len, 5);
    assert_int_equal(keys[0].bytes[4], 'q');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_turn_old_into_new),
        cmocka_unit_test(near_differences_are_one_run),
        cmocka_unit_test(what_is_no_span_is_told),
        cmocka_unit_test(numbers_read_back),
        cmocka_unit_test(damaged_page_values_are_found),
        cmocka_unit_test(senseless_page_values_are_refused),
        cmocka_unit_test(records_read_back_and_damage_is_found),
        cmocka_unit_test(a_pass_reads_back_and_damage_is_found),
        cmocka_unit_test(senseless_records_are_refused),
        cmocka_unit_test(keys_stand_in_the_order_that_reading_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
