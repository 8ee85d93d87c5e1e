/* Pure parts: conditions by table, and the codecs of manifests, commands and queries. */
#include "objects/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ETAG "0a000000000000000000000000000000"

/* etag list in one string: s(trong), w(eak) of the object's etag, S, W of another, * wildcard;
 * NULL: not given. */
struct row {
    const char *match;
    const char *not_match;
    uint64_t before;
    uint64_t after;
    bool seconds;
    bool exists;
    enum bnd_condition_result result;
};

#define NO BND_OBJECT_NO_TIME
/* The object was uploaded at 5,500 ms. */
static const struct row rows[] = {
    {NULL, NULL, NO, NO, false, true, BND_CONDITION_OK},
    {NULL, NULL, NO, NO, false, false, BND_CONDITION_OK},
    {"s", NULL, NO, NO, false, true, BND_CONDITION_OK},
    {"Ss", NULL, NO, NO, false, true, BND_CONDITION_OK},
    {"w", NULL, NO, NO, false, true, BND_CONDITION_FAILED}, /* strong comparison */
    {"S", NULL, NO, NO, false, true, BND_CONDITION_FAILED},
    {"*", NULL, NO, NO, false, true, BND_CONDITION_OK},
    {"", NULL, NO, NO, false, true, BND_CONDITION_FAILED},
    {"*", NULL, NO, NO, false, false, BND_CONDITION_FAILED},
    {NULL, "s", NO, NO, false, true, BND_CONDITION_NOT_MODIFIED},
    {NULL, "w", NO, NO, false, true, BND_CONDITION_NOT_MODIFIED}, /* weak comparison */
    {NULL, "SW", NO, NO, false, true, BND_CONDITION_OK},
    {NULL, "*", NO, NO, false, true, BND_CONDITION_NOT_MODIFIED},
    {NULL, "*", NO, NO, false, false, BND_CONDITION_OK},
    {NULL, "", NO, NO, false, true, BND_CONDITION_OK},
    {NULL, NULL, 5501, NO, false, true, BND_CONDITION_OK},
    {NULL, NULL, 5500, NO, false, true, BND_CONDITION_FAILED}, /* strict */
    {NULL, NULL, 5999, NO, true, true, BND_CONDITION_FAILED},  /* 5 < 5 */
    {NULL, NULL, 6000, NO, true, true, BND_CONDITION_OK},
    {NULL, NULL, 1, NO, false, false, BND_CONDITION_OK},
    {NULL, NULL, NO, 5499, false, true, BND_CONDITION_OK},
    {NULL, NULL, NO, 5500, false, true, BND_CONDITION_NOT_MODIFIED},
    {NULL, NULL, NO, 5000, true, true, BND_CONDITION_NOT_MODIFIED},
    {NULL, NULL, NO, 4999, true, true, BND_CONDITION_OK},
    {NULL, NULL, NO, 1, false, false, BND_CONDITION_FAILED},
    {"s", NULL, 1, NO, false, true, BND_CONDITION_OK},    /* match stands for before */
    {NULL, "S", NO, 9999, false, true, BND_CONDITION_OK}, /* not_match stands for after */
    {NULL, "s", NO, 1, false, true, BND_CONDITION_NOT_MODIFIED},
    {"S", "s", NO, NO, false, true, BND_CONDITION_FAILED}, /* 412 before 304 */
    {"s", "s", NO, NO, false, true, BND_CONDITION_NOT_MODIFIED},
};

static size_t etags(const char *text, struct bnd_etag *out) {
    size_t count = 0;
    for (; text != NULL && text[count] != 0; count++) {
        char c = text[count];
        out[count].kind = c == '*'               ? BND_ETAG_WILDCARD
                          : c == 's' || c == 'S' ? BND_ETAG_STRONG
                                                 : BND_ETAG_WEAK;
        out[count].value = bnd_slice_str(c == 's' || c == 'w' ? ETAG : "other");
    }
    return count;
}

static void test_conditions(void **state) {
    (void)state;
    struct bnd_object_meta meta = {.uploaded_ms = 5500, .etag_md5 = {10}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bnd_etag match[4];
        struct bnd_etag not_match[4];
        struct objects_conditions conditions = {
            .view = {
                .match = match,
                .match_count = etags(rows[i].match, match),
                .match_given = rows[i].match != NULL,
                .not_match = not_match,
                .not_match_count = etags(rows[i].not_match, not_match),
                .not_match_given = rows[i].not_match != NULL,
                .uploaded_before_ms = rows[i].before,
                .uploaded_after_ms = rows[i].after,
                .seconds = rows[i].seconds,
            }};
        const struct bnd_object_meta *object = rows[i].exists ? &meta : NULL;
        if (bnd_object_conditions_check(&conditions.view, object) != rows[i].result) {
            fail_msg("row %zu", i);
        }
        /* And after a journey through a command. */
        struct bnd_buf bytes = {0};
        struct objects_conditions room;
        struct objects_command command = {
            .kind = OBJECTS_DELETE, .key = bnd_slice_str("k"), .conditions = &conditions};
        objects_command_encode(&bytes, &command);
        assert_int_equal(objects_command_decode(bnd_buf_slice(&bytes), &room, &command), 0);
        if (bnd_object_conditions_check(&room.view, object) != rows[i].result) {
            fail_msg("row %zu, decoded", i);
        }
        bnd_buf_free(&bytes);
    }
}

static void test_multipart_etag_is_compared_with_its_count(void **state) {
    (void)state;
    struct bnd_object_meta meta = {.etag_md5 = {10}, .parts = 3};
    struct bnd_etag etag = {.value = bnd_slice_str(ETAG "-3")};
    struct bnd_object_conditions conditions = bnd_object_conditions_none();
    conditions.match = &etag;
    conditions.match_count = 1;
    conditions.match_given = true;
    assert_int_equal(bnd_object_conditions_check(&conditions, &meta), BND_CONDITION_OK);
    etag.value = bnd_slice_str(ETAG);
    assert_int_equal(bnd_object_conditions_check(&conditions, &meta), BND_CONDITION_FAILED);
}

static void test_manifest(void **state) {
    (void)state;
    struct bnd_buf custom = {0};
    struct bnd_buf bytes = {0};
    bnd_object_custom_add(&custom, bnd_slice("a\0b", 3), bnd_slice_str(""));
    bnd_object_custom_add(&custom, bnd_slice_str("\xff"), bnd_slice_str("v"));
    struct bnd_object_meta meta = {.version = {1, 2, 3},
                                   .size = 5,
                                   .etag_md5 = {9},
                                   .uploaded_ms = 1,
                                   .fields = bnd_object_fields_none()};
    meta.checksums.present = (1 << BND_CHECKSUM_SHA512) | (1 << BND_CHECKSUM_CRC64NVME);
    meta.checksums.composite = 1 << BND_CHECKSUM_CRC64NVME;
    memset(meta.checksums.value[BND_CHECKSUM_SHA512], 7, 64);
    memset(meta.checksums.value[BND_CHECKSUM_CRC64NVME], 8, 8);
    meta.fields.cache_control = bnd_slice("", 0); /* there, and empty */
    meta.fields.content_encoding = bnd_slice_str("gzip");
    meta.fields.cache_expiry_ms = 12345;
    meta.fields.custom = bnd_buf_slice(&custom);
    meta.fields.cache_control.data = (const uint8_t *)"";
    objects_manifest_encode(&bytes, &meta, bnd_slice_str("hello"), OBJECTS_WHOLE);
    objects_manifest_stamp(bytes.data, 777);

    struct bnd_object_meta got;
    struct bnd_slice body;
    assert_int_equal(objects_manifest_decode(bnd_buf_slice(&bytes), &got, &body), 0);
    assert_true(bnd_slice_eq(body, bnd_slice_str("hello")));
    assert_int_equal(got.uploaded_ms, 777);
    assert_memory_equal(&got.checksums, &meta.checksums, sizeof meta.checksums);
    assert_non_null(got.fields.cache_control.data);
    assert_int_equal(got.fields.cache_control.len, 0);
    assert_null(got.fields.content_type.data);
    assert_true(bnd_slice_eq(got.fields.custom, meta.fields.custom));
    assert_int_equal(got.fields.cache_expiry_ms, 12345);
    for (size_t len = 0; len < bytes.len; len++) { /* every cut is refused */
        assert_int_equal(objects_manifest_decode(bnd_slice(bytes.data, len), &got, &body),
                         BND_CORRUPT);
    }
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(objects_manifest_decode(bnd_buf_slice(&bytes), &got, &body), BND_CORRUPT);

    bnd_buf_reset(&bytes);
    objects_manifest_encode(&bytes, &meta, bnd_slice_str("hello"), 0);
    assert_int_equal(objects_manifest_decode(bnd_buf_slice(&bytes), &got, &body), 0);
    assert_null(body.data);
    assert_null(got.fields.custom.data);
    bnd_buf_free(&bytes);
    bnd_buf_free(&custom);
}

static void test_field_bounds(void **state) {
    (void)state;
    static uint8_t big[BND_OBJECT_CUSTOM_MAX + 1];
    struct bnd_object_fields fields = bnd_object_fields_none();
    struct bnd_buf custom = {0};
    fields.content_type = bnd_slice(big, BND_OBJECT_FIELD_MAX + 1);
    assert_int_equal(objects_fields_check(&fields), BND_INVALID);
    fields.content_type.len--;
    assert_int_equal(objects_fields_check(&fields), 0);
    bnd_object_custom_add(&custom, bnd_slice_str("n"), bnd_slice(big, BND_OBJECT_CUSTOM_MAX - 1));
    fields.custom = bnd_buf_slice(&custom);
    assert_int_equal(objects_fields_check(&fields), 0);
    bnd_object_custom_add(&custom, bnd_slice_str("m"), bnd_slice(NULL, 0));
    fields.custom = bnd_buf_slice(&custom);
    assert_int_equal(objects_fields_check(&fields), BND_INVALID);
    bnd_buf_free(&custom);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_multipart_etag_is_compared_with_its_count),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_field_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
