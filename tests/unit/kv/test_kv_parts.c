/* Records, the clock, the cache: the parts of kv/ that touch no world. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "kv/cache.h"
#include "kv/hlc.h"

static struct kv_record sample(uint64_t hlc, const char *value) {
    return (struct kv_record){.version = {hlc, 3},
                              .epoch = 7,
                              .expires_ms = 99,
                              .metadata = bnd_slice_str("{\"a\":1}"),
                              .value = bnd_slice_str(value),
                              .size = (uint32_t)strlen(value)};
}

static struct bnd_slice encoded(struct bnd_buf *buf, const struct kv_record *record) {
    bnd_buf_reset(buf);
    assert_true(bnd_buf_reserve(buf, kv_record_bytes(record)));
    kv_record_encode(record, buf->data);
    return bnd_slice(buf->data, kv_record_bytes(record));
}

/* ---- records
 * ----------------------------------------------------------------------------------- */

static void test_record_round_trip(void **state) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    struct kv_record in = sample(5, "value");
    struct kv_record out;
    struct bnd_slice bytes = encoded(&buf, &in);
    assert_int_equal(kv_record_decode(bytes, &out), 0);
    assert_int_equal(out.version.hlc, 5);
    assert_int_equal(out.version.writer, 3);
    assert_int_equal(out.epoch, 7);
    assert_int_equal(out.expires_ms, 99);
    assert_true(bnd_slice_eq(out.metadata, in.metadata));
    assert_true(bnd_slice_eq(out.value, in.value));
    for (size_t cut = 0; cut < bytes.len; cut++) {
        assert_int_equal(kv_record_decode(bnd_slice(bytes.data, cut), &out), BND_CORRUPT);
    }
    in = (struct kv_record){.version = {6, 1}, .flags = KV_RECORD_BLOB, .size = 300000};
    memset(in.blob, 0x5a, sizeof in.blob);
    assert_int_equal(kv_record_decode(encoded(&buf, &in), &out), 0);
    assert_memory_equal(out.blob, in.blob, sizeof in.blob);
    assert_int_equal(out.size, 300000);
}

static void test_record_unsound(void **state) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    struct kv_record out;
    struct kv_record in = {.version = {6, 1}, .flags = KV_RECORD_TOMBSTONE};
    struct bnd_slice bytes = encoded(&buf, &in);
    assert_int_equal(kv_record_decode(bytes, &out), 0);
    static const struct {
        size_t at;
        uint8_t value;
    } damages[] = {{0, 2}, {1, 8}, {1, 3}, {2, 1}, {4, 1}, {12, 0}, {28, 1}};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        uint8_t was = buf.data[damages[i].at];
        buf.data[damages[i].at] = damages[i].value;
        assert_int_equal(kv_record_decode(bytes, &out), BND_CORRUPT);
        buf.data[damages[i].at] = was;
    }
    in = (struct kv_record){.version = {6, 1}, .flags = KV_RECORD_BLOB, .size = 5};
    assert_int_equal(kv_record_decode(encoded(&buf, &in), &out), BND_CORRUPT);
}

static void test_seen(void **state) {
    struct kv_seen seen = {.version = {kv_hlc_of(1000), 1}};
    assert_false(kv_seen_absent(seen, 5000));
    assert_false(kv_seen_dead(seen, kv_hlc_of(9000)));
    seen.expires_ms = 2000;
    assert_false(kv_seen_absent(seen, 1999));
    assert_true(kv_seen_absent(seen, 2000));
    assert_false(kv_seen_dead(seen, kv_hlc_of(1999)));
    assert_true(kv_seen_dead(seen, kv_hlc_of(2000)));
    seen = (struct kv_seen){.version = {kv_hlc_of(1000), 1}, .tombstone = true};
    assert_true(kv_seen_absent(seen, 0));
    assert_false(kv_seen_dead(seen, kv_hlc_of(1000))); /* at the horizon: not below it */
    assert_true(kv_seen_dead(seen, kv_hlc_of(1000) + 1));
    assert_true(kv_seen_absent((struct kv_seen){0}, 0));
    assert_false(kv_seen_dead((struct kv_seen){0}, kv_hlc_of(1)));
}

/* ---- the clock
 * --------------------------------------------------------------------------------- */

static void test_hlc(void **state) {
    struct kv_hlc clock = {0};
    uint64_t a = kv_hlc_next(&clock, 1000);
    uint64_t b = kv_hlc_next(&clock, 1000);
    uint64_t c = kv_hlc_next(&clock, 500); /* the wall clock went back */
    assert_int_equal(kv_hlc_ms(a), 1000);
    assert_true(a < b && b < c);
    kv_hlc_see(&clock, kv_hlc_of(2500), 1000);
    assert_true(kv_hlc_next(&clock, 1000) > kv_hlc_of(2500));
    kv_hlc_see(&clock, kv_hlc_of(3001), 1000); /* too far ahead: does not carry the clock along */
    assert_true(kv_hlc_next(&clock, 1000) < kv_hlc_of(3001));
    assert_false(kv_hlc_ahead(kv_hlc_of(3000), 1000));
    assert_true(kv_hlc_ahead(kv_hlc_of(3001), 1000));
    clock.last = kv_hlc_of(2000) | 0xffff; /* the counter runs over into the milliseconds */
    assert_int_equal(kv_hlc_ms(kv_hlc_next(&clock, 1000)), 2001);
    /* the wall clock was far ahead, and is right again: nobody would take what it stamped */
    clock.last = kv_hlc_of(5000);
    assert_int_equal(kv_hlc_ms(kv_hlc_next(&clock, 1000)), 1000);
}

static void test_clock_jumps(void **state) {
    const uint64_t second = 1000000000;
    struct kv_clock clock = {0};
    assert_true(kv_clock_steady(&clock, 100000, 5 * second)); /* whatever they are at first */
    assert_true(kv_clock_steady(&clock, 101400, 6 * second)); /* it may be adjusted */
    assert_false(kv_clock_steady(&clock, 103000, 7 * second));
    assert_false(kv_clock_steady(&clock, 105900, 9 * second + second / 10 * 9));
    assert_true(kv_clock_steady(&clock, 106000, 10 * second));
    assert_false(kv_clock_steady(&clock, 6000, 11 * second)); /* back */
}

/* ---- the cache
 * --------------------------------------------------------------------------------- */

static struct bnd_slice key_of(unsigned i, char out[16]) {
    return bnd_slice(out, (size_t)snprintf(out, 16, "key%u", i));
}

static void put(struct kv_cache *cache, uint64_t ns, unsigned i, const char *value) {
    BND_AUTO_BUF struct bnd_buf buf = {0};
    char key[16];
    struct kv_record record = sample(i + 1, value);
    (void)kv_cache_put(cache, i % 4, ns, key_of(i, key), encoded(&buf, &record));
}

static bool has(struct kv_cache *cache, uint64_t ns, unsigned i, const char *value) {
    char key[16];
    const struct kv_cached *found = kv_cache_find(cache, ns, key_of(i, key));
    return found != NULL && bnd_slice_eq(found->record.value, bnd_slice_str(value));
}

static void test_cache(void **state) {
    struct kv_cache cache;
    kv_cache_init(&cache, 1 << 20);
    for (unsigned i = 0; i < 1000; i++) {
        put(&cache, 1, i, "one");
        put(&cache, 2, i, "two");
    }
    assert_int_equal(cache.count, 2000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(has(&cache, 1, i, "one"));
        assert_true(has(&cache, 2, i, "two"));
    }
    put(&cache, 1, 5, "new");
    assert_true(has(&cache, 1, 5, "new"));
    assert_int_equal(cache.count, 2000);
    char key[16];
    kv_cache_drop(&cache, 1, key_of(5, key));
    assert_null(kv_cache_find(&cache, 1, key_of(5, key)));
    kv_cache_drop_all(&cache, UINT32_MAX, 2);
    assert_int_equal(cache.count, 999);
    kv_cache_drop_all(&cache, 1, 0); /* 1, 9, 13, ...; 5 is gone already */
    assert_int_equal(cache.count, 750);
    kv_cache_close(&cache);
}

static void test_cache_bounded(void **state) {
    struct kv_cache cache;
    kv_cache_init(&cache, 64 << 10);
    put(&cache, 1, 0, "hot");
    for (unsigned i = 1; i < 5000; i++) {
        put(&cache, 1, i, "cold");
        assert_true(cache.bytes <= cache.bytes_max);
        assert_true(has(&cache, 1, 0, "hot")); /* looked at again and again: it stays */
    }
    assert_true(cache.count > 100);
    /* What is too large is not kept, and what stood there is gone. */
    BND_AUTO_BUF struct bnd_buf buf = {0};
    BND_AUTO uint8_t *large = bnd_zalloc(KV_CACHE_RECORD_MAX);
    struct kv_record record = {.version = {9, 9},
                               .size = KV_CACHE_RECORD_MAX,
                               .value = bnd_slice(large, KV_CACHE_RECORD_MAX)};
    char key[16];
    assert_null(kv_cache_put(&cache, 0, 1, key_of(0, key), encoded(&buf, &record)));
    assert_null(kv_cache_find(&cache, 1, key_of(0, key)));
    kv_cache_close(&cache);
}

static void test_cache_pinned(void **state) {
    struct kv_cache cache;
    kv_cache_init(&cache, 1 << 20);
    put(&cache, 1, 0, "first");
    char key[16];
    struct kv_cached *entry = kv_cache_find(&cache, 1, key_of(0, key));
    kv_cache_pin(entry);
    put(&cache, 1, 0, "second");
    assert_true(bnd_slice_eq(entry->record.value, bnd_slice_str("first")));
    assert_true(has(&cache, 1, 0, "second"));
    kv_cache_unpin(entry);
    kv_cache_close(&cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_round_trip),
        cmocka_unit_test(test_record_unsound),
        cmocka_unit_test(test_seen),
        cmocka_unit_test(test_hlc),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_cache_bounded),
        cmocka_unit_test(test_cache_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
