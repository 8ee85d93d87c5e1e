/* Bulk bodies: what is taken, what is refused and why, and that memory is counted. */
#include "base/alloc.h"
#include "base/error.h"
#include "gateway/kv/bulk_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_MS UINT64_C(1700000000000)

struct rig {
    struct gateway_front front;
    struct kv_bulk_body body;
    struct bnd_buf aside; /* all that was put aside */
};

static void rig_init(struct rig *rig, bool deleting) {
    *rig = (struct rig){.front = {.kv_limits = kv_limits_or_default(&(struct kv_limits){0}),
                                  .bytes_max = 1u << 30}};
    rig->body.front = &rig->front;
    rig->body.now_ms = NOW_MS;
    rig->body.deleting = deleting;
    rig->body.here_max = SIZE_MAX;
    kv_bulk_body_init(&rig->body);
}

static int feed(struct rig *rig, const char *text, size_t step) {
    size_t len = strlen(text);
    int rv = 0;
    for (size_t at = 0; at < len && rv == 0; at += step) {
        rv = kv_bulk_body_feed(&rig->body, bnd_slice(text + at, step < len - at ? step : len - at));
        bnd_buf_append_slice(&rig->aside, bnd_buf_slice(&rig->body.aside));
        kv_bulk_body_taken(&rig->body);
    }
    return rv != 0 ? rv : kv_bulk_body_end(&rig->body);
}

static void same(struct bnd_slice got, const char *expected) {
    assert_true(bnd_slice_eq(got, bnd_slice_str(expected)));
}

static void pairs_are_read_however_they_are_cut(void **state) {
    static const char text[] =
        " [ {\"key\":\"a\\u00e9\",\"value\":\"v\\n\"},"
        "{\"value\":\"aGVsbG8=\",\"metadata\" : { \"b\" : [ 1, \"}\" ] } ,\"key\":\"b\","
        "\"base64\":true,\"expiration_ttl\":60},"
        "{\"key\":\"c\",\"value\":\"\",\"expiration\":1700000100,\"metadata\":\"m\",\"other\":[{}]}"
        ","
        "{\"key\":\"d\",\"value\":\"x\",\"metadata\":null,\"expiration\":null,\"base64\":false},"
        "{\"key\":\"e\",\"value\":\"1\",\"value\":\"2\",\"metadata\":17}]";
    for (size_t step = 1; step < 64; step++) {
        struct rig rig;
        rig_init(&rig, false);
        assert_int_equal(feed(&rig, text, step), 0);
        const struct kv_pair *p = rig.body.pairs;
        assert_int_equal(rig.body.count, 5);
        same(p[0].key, "a\xc3\xa9");
        same(p[0].value, "v\n");
        same(p[0].metadata, "");
        assert_int_equal(p[0].expires_ms, 0);
        same(p[1].key, "b");
        same(p[1].value, "hello");
        same(p[1].metadata, "{\"b\":[1,\"}\"]}");
        assert_int_equal(p[1].expires_ms, NOW_MS + 60000);
        same(p[2].value, "");
        same(p[2].metadata, "\"m\"");
        assert_int_equal(p[2].expires_ms, NOW_MS + 100000);
        same(p[3].metadata, "");
        same(p[4].value, "2");
        same(p[4].metadata, "17");
        kv_bulk_body_free(&rig.body);
        assert_int_equal(rig.front.bytes, 0);
    }
}

static void refused(bool deleting, const char *text, unsigned status, const char *why) {
    static const size_t steps[] = {1, 7, 1u << 20};
    for (size_t i = 0; i < 3; i++) {
        struct rig rig;
        rig_init(&rig, deleting);
        assert_int_equal(feed(&rig, text, steps[i]), BND_INVALID);
        assert_int_equal(rig.body.refusal.status, status);
        assert_string_equal(rig.body.refusal.text, why);
        kv_bulk_body_free(&rig.body);
        assert_int_equal(rig.front.bytes, 0);
    }
}

static void what_is_wrong_is_said(void **state) {
    refused(false, "", 400, "The body is not valid JSON");
    refused(false, "{}", 400, "The body must be a JSON array");
    refused(false, "[1]", 400, "The body must be a JSON array of objects");
    refused(false, "[\"a\"]", 400, "The body must be a JSON array of objects");
    refused(false, "[[]]", 400, "The body must be a JSON array of objects");
    refused(false, "[{\"key\":\"a\",\"value\":\"b\"}", 400, "The body is not valid JSON");
    refused(false, "[{\"key\":\"a\",\"value\":\"b\"},]", 400, "The body is not valid JSON");
    refused(false, "[{\"value\":\"b\"}]", 400, "pair 0 has no key");
    refused(false, "[{\"key\":\"a\",\"value\":\"b\"},{\"key\":\"a\"}]", 400, "pair 1 has no value");
    refused(false, "[{\"key\":1,\"value\":\"b\"}]", 400, "pair 0: key has the wrong type");
    refused(false, "[{\"key\":\"a\",\"value\":{}}]", 400, "pair 0: value has the wrong type");
    refused(false, "[{\"key\":\"a\",\"value\":\"b\",\"base64\":1}]", 400,
            "pair 0: base64 has the wrong type");
    refused(false, "[{\"key\":\"a\",\"value\":\"b\",\"expiration_ttl\":\"60\"}]", 400,
            "pair 0: expiration_ttl has the wrong type");
    refused(false, "[{\"key\":\"a\",\"value\":\"b\",\"expiration_ttl\":59}]", 400,
            "pair 0: Invalid expiration_ttl of 59. Expiration TTL must be at least 60.");
    refused(false, "[{\"key\":\"a\",\"value\":\"b\",\"expiration_ttl\":6e1}]", 400,
            "pair 0: Invalid expiration_ttl of 6e1. Please specify integer greater than 0.");
    refused(false, "[{\"key\":\"..\",\"value\":\"b\"}]", 400,
            "pair 0: Illegal key name \"..\". Please use a different name.");
    refused(false, "[{\"key\":\"a\",\"value\":\"b=\",\"base64\":true}]", 400,
            "pair 0: the value is not base64");
    refused(true, "[{\"key\":\"a\"}]", 400, "The body must be a JSON array of keys");
    refused(true, "[\"a\",\"\"]", 400, "pair 1: Key names must not be empty");
}

static void a_key_a_value_and_metadata_too_long(void **state) {
    struct rig rig;
    char text[10000];
    char long_text[2000];
    memset(long_text, '1', sizeof long_text);
    (void)snprintf(text, sizeof text, "[{\"key\":\"%.513s\",\"value\":\"b\"}]", long_text);
    refused(false, text, 414,
            "pair 0: UTF-8 encoded length of 513 exceeds key length limit of 512.");
    (void)snprintf(text, sizeof text, "[{\"key\":\"a\",\"value\":\"b\",\"metadata\":%.1025s}]",
                   long_text);
    refused(false, text, 413, "pair 0: Metadata length of 1025 exceeds limit of 1024.");
    /* Never what is left of it: the number must not become a shorter one. */
    (void)snprintf(text, sizeof text, "[{\"key\":\"a\",\"value\":\"b\",\"metadata\":%8193s}]",
                   "12345678");
    refused(false, text, 413, "pair 0: Metadata length exceeds limit of 1024.");
    rig_init(&rig, false);
    rig.front.kv_limits.value_bytes_max = 9;
    assert_int_equal(feed(&rig, "[{\"key\":\"a\",\"value\":\"0123456789\"}]", 5), BND_INVALID);
    assert_string_equal(rig.body.refusal.text, "pair 0: Value length of 10 exceeds limit of 9.");
    assert_int_equal(rig.body.refusal.status, 413);
    kv_bulk_body_free(&rig.body);
    rig_init(&rig, false); /* of the value that base64 stands for */
    rig.front.kv_limits.value_bytes_max = 9;
    assert_int_equal(feed(&rig, "[{\"key\":\"a\",\"value\":\"MDEyMzQ1Njc4\",\"base64\":true}]", 5),
                     0);
    kv_bulk_body_free(&rig.body);
}

static void aside_is(const struct rig *rig, size_t pair, const char *value, const char *metadata) {
    const struct kv_pair *p = &rig->body.pairs[pair];
    assert_int_not_equal(p->aside, KV_PAIR_HERE);
    assert_true(p->aside + p->value.len + p->metadata.len <= rig->aside.len);
    same(bnd_slice(rig->aside.data + p->aside, p->value.len), value);
    same(bnd_slice(rig->aside.data + p->aside + p->value.len, p->metadata.len), metadata);
}

#define LONG                                                                                       \
    "longer than all of the short ones that are put aside before it, together with metadata"

/* The first values stay, the others are handed on, each at its place among all of them. */
static void what_finds_no_room_is_put_aside(void **state) {
    static const char text[] = "[{\"key\":\"a\",\"value\":\"here\"},"
                               "{\"key\":\"b\",\"value\":\"first aside\",\"metadata\":{\"m\":1}},"
                               "{\"key\":\"c\",\"value\":\"aGVsbG8=\",\"base64\":true},"
                               "{\"key\":\"d\",\"value\":\"!\"},"
                               "{\"key\":\"e\",\"value\":\"\",\"metadata\":\"only this\"},"
                               "{\"key\":\"f\",\"value\":\"last of the short ones\"},"
                               "{\"key\":\"g\",\"value\":\"" LONG "\",\"metadata\":2}]";
    (void)state;
    for (size_t step = 1; step < sizeof text; step++) {
        struct rig rig;
        rig_init(&rig, false);
        rig.body.here_max = 5;
        assert_int_equal(feed(&rig, text, step), 0);
        const struct kv_pair *p = rig.body.pairs;
        assert_int_equal(rig.body.count, 7);
        same(p[0].value, "here");
        aside_is(&rig, 1, "first aside", "{\"m\":1}");
        same(p[1].key, "b");
        aside_is(&rig, 2, "hello", "");
        assert_int_equal(p[3].aside, KV_PAIR_HERE);
        same(p[3].value, "!");
        aside_is(&rig, 4, "", "\"only this\"");
        aside_is(&rig, 5, "last of the short ones", "");
        aside_is(&rig, 6, LONG, "2");
        kv_bulk_body_settle(&rig.body);
        same(p[5].key, "f");
        kv_bulk_body_free(&rig.body);
        bnd_buf_free(&rig.aside);
        assert_int_equal(rig.front.bytes, 0);
    }
}

static struct bnd_buf many_pairs(unsigned count, size_t value_bytes) {
    struct bnd_buf text = {0};
    BND_AUTO char *value = bnd_zalloc(value_bytes + 1);
    memset(value, 'v', value_bytes);
    for (unsigned i = 0; i < count; i++) {
        bnd_buf_printf(&text, "%s{\"key\":\"k%u\",\"value\":\"%s\"}", i == 0 ? "[" : ",", i, value);
    }
    bnd_buf_append_str(&text, "]");
    bnd_buf_u8(&text, 0);
    assert_false(text.failed);
    return text;
}

/* A body of any size takes the memory of its keys and of its largest value. */
static void memory_does_not_grow_with_the_body(void **state) {
    struct bnd_buf text = many_pairs(2000, 4000);
    struct rig rig;
    (void)state;
    rig_init(&rig, false);
    rig.front.bytes_max = 1u << 20;
    assert_int_equal(feed(&rig, (const char *)text.data, 65536), BND_INVALID); /* all in memory */
    kv_bulk_body_free(&rig.body);
    rig_init(&rig, false);
    rig.front.bytes_max = 1u << 20;
    rig.body.here_max = 100000;
    assert_int_equal(feed(&rig, (const char *)text.data, 65536), 0);
    assert_int_equal(rig.body.count, 2000);
    assert_true(rig.aside.len > 7000000);
    kv_bulk_body_settle(&rig.body);
    assert_true(rig.front.bytes < 100000 + 2000 * 140);
    kv_bulk_body_free(&rig.body);
    bnd_buf_free(&rig.aside);
    bnd_buf_free(&text);
    assert_int_equal(rig.front.bytes, 0);
}

static void counts_and_sizes_are_bounded(void **state) {
    struct rig rig;
    rig_init(&rig, true);
    rig.front.kv_limits.bulk_pairs_max = 2;
    assert_int_equal(feed(&rig, "[\"a\",\"b\"]", 3), 0);
    kv_bulk_body_free(&rig.body);
    rig_init(&rig, true);
    rig.front.kv_limits.bulk_pairs_max = 2;
    assert_int_equal(feed(&rig, "[\"a\",\"b\",\"c\"]", 3), BND_INVALID);
    assert_string_equal(rig.body.refusal.text, "You can send a maximum of 2 keys at a time");
    kv_bulk_body_free(&rig.body);
    rig_init(&rig, true);
    rig.front.kv_limits.bulk_bytes_max = 8;
    assert_int_equal(feed(&rig, "[\"a\",\"b\"]", 3), BND_INVALID);
    assert_int_equal(rig.body.refusal.status, 413);
    kv_bulk_body_free(&rig.body);
    rig_init(&rig, true);
    rig.front.bytes_max = 300;
    assert_int_equal(feed(&rig, "[\"a\",\"b\",\"c\"]", 3), BND_INVALID); /* it never will */
    assert_int_equal(rig.body.refusal.status, 413);
    assert_string_equal(rig.body.refusal.text,
                        "pair 1: it finds no room in the 300 bytes that requests may hold here");
    kv_bulk_body_free(&rig.body);
    assert_int_equal(rig.front.bytes, 0);
    rig_init(&rig, true);
    rig.front.bytes_max = 300;
    rig.front.bytes = 1; /* of another request */
    assert_int_equal(feed(&rig, "[\"a\",\"b\",\"c\"]", 3), BND_FULL);
    kv_bulk_body_free(&rig.body);
    assert_int_equal(rig.front.bytes, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_read_however_they_are_cut),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_key_a_value_and_metadata_too_long),
        cmocka_unit_test(counts_and_sizes_are_bounded),
        cmocka_unit_test(what_finds_no_room_is_put_aside),
        cmocka_unit_test(memory_does_not_grow_with_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
