/* Pure parts: conditions by table, and the codecs of manifests, commands and queries. */
#include "objects/objects_private.h"

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

/* ---- commands and queries that no caller makes
 * ------------------------------------------------------- */

static int command_of(const struct objects_command *command, size_t at, unsigned byte) {
    struct objects_conditions room;
    struct objects_command out;
    struct bnd_buf bytes = {0};
    objects_command_encode(&bytes, command);
    if (at > 0) {
        bytes.data[at - 1] = (uint8_t)byte;
    }
    int rv = objects_command_decode(bnd_buf_slice(&bytes), &room, &out);
    bnd_buf_free(&bytes);
    return rv;
}

static void test_impossible_commands(void **state) {
    (void)state;
    static const uint8_t id[BND_OBJECT_ID_BYTES] = {1};
    static const uint8_t long_key[BND_OBJECT_KEY_MAX + 1];
    struct objects_conditions conditions = {.view = bnd_object_conditions_none()};
    struct objects_command command = {
        .kind = OBJECTS_DELETE, .key = bnd_slice_str("k"), .conditions = &conditions};
    assert_int_equal(command_of(&command, 0, 0), 0);
    assert_int_equal(command_of(&command, 1, 0), BND_INVALID);
    assert_int_equal(command_of(&command, 1, OBJECTS_TICK + 1), BND_INVALID);
    assert_int_equal(command_of(&command, 1 + 8 + 4 + 1 + 1, 32),
                     BND_INVALID); /* a condition to come */
    command.key = bnd_slice(long_key, sizeof long_key);
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);
    command.key = bnd_slice_str("");
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);
    command.key = bnd_slice_str("k");
    conditions.view.match_given = true;
    conditions.view.match_count = 1;
    conditions.view.match = conditions.match;
    const size_t count_at = 1 + 8 + 4 + 1 + 1 + 1;
    assert_int_equal(command_of(&command, 0, 0), 0);
    assert_int_equal(command_of(&command, count_at, BND_OBJECT_ETAGS_MAX + 1), BND_INVALID);
    assert_int_equal(command_of(&command, count_at + 1, BND_ETAG_WILDCARD + 1), BND_INVALID);

    command = (struct objects_command){.kind = OBJECTS_SEAL, .bucket = 1};
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID); /* attempts begin at 1 */
    command.attempt = 1;
    assert_int_equal(command_of(&command, 0, 0), 0);

    command = (struct objects_command){.kind = OBJECTS_DELETE_MANY, .count = BND_OBJECT_DELETE_MAX};
    assert_int_equal(command_of(&command, 0, 0), 0);
    command.count++;
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);
    command.count = 0;
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);

    command = (struct objects_command){.kind = OBJECTS_COMPLETE,
                                       .key = bnd_slice_str("k"),
                                       .upload_id = id,
                                       .count = 1,
                                       .items = bnd_slice(long_key, OBJECTS_PART_REF_BYTES)};
    assert_int_equal(command_of(&command, 0, 0), 0);
    command.items.len++;
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);
    command.items.len = 0;
    command.count = 0;
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);

    command = (struct objects_command){.kind = OBJECTS_PART,
                                       .key = bnd_slice_str("k"),
                                       .upload_id = id,
                                       .have_count = BND_REPLICAS_MAX,
                                       .part = {.number = 1}};
    assert_int_equal(command_of(&command, 0, 0), 0);
    assert_int_equal(command_of(&command, 1 + 8 + 4 + 1 + 16 + 8 + 1, BND_REPLICAS_MAX + 1),
                     BND_INVALID);
    command.part.number = 0;
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);
    command.part.number = BND_OBJECT_PARTS_MAX + 1;
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);
    command.part.number = 1;
    command.part.size = BND_OBJECT_BODY_MAX + 1;
    assert_int_equal(command_of(&command, 0, 0), BND_INVALID);
}

/* Lists that hold more than there is room for, with all their items. */
static void test_lists_in_commands_are_bounded(void **state) {
    (void)state;
    static const uint8_t id[BND_OBJECT_ID_BYTES] = {1};
    static const uint8_t zero[8];
    struct objects_conditions room;
    struct objects_command out;
    struct bnd_buf bytes = {0};
    struct bnd_buf more = {0};
    struct objects_conditions conditions = {.view = bnd_object_conditions_none()};
    conditions.view.match_given = true;
    conditions.view.match_count = BND_OBJECT_ETAGS_MAX;
    conditions.view.match = conditions.match;
    struct objects_command command = {
        .kind = OBJECTS_DELETE, .key = bnd_slice_str("k"), .conditions = &conditions};
    objects_command_encode(&bytes, &command);
    assert_int_equal(objects_command_decode(bnd_buf_slice(&bytes), &room, &out), 0);
    bytes.data[1 + 8 + 4 + 1 + 1]++;
    bnd_buf_append(&bytes, zero, 1 + 4);
    assert_int_equal(objects_command_decode(bnd_buf_slice(&bytes), &room, &out), BND_INVALID);

    const size_t count_at = 1 + 8 + 4 + 1 + 16 + 8;
    bnd_buf_reset(&bytes);
    command = (struct objects_command){.kind = OBJECTS_PART,
                                       .key = bnd_slice_str("k"),
                                       .upload_id = id,
                                       .have_count = BND_REPLICAS_MAX,
                                       .part = {.number = 1}};
    objects_command_encode(&bytes, &command);
    bnd_buf_append(&more, bytes.data, count_at + 1);
    bnd_buf_append(&more, zero, 8);
    bnd_buf_append(&more, bytes.data + count_at + 1, bytes.len - count_at - 1);
    more.data[count_at]++;
    assert_int_equal(objects_command_decode(bnd_buf_slice(&more), &room, &out), BND_INVALID);
    for (unsigned kind = 0; kind < 256;
         kind += kind == 0 ? OBJECTS_TICK + 1 : 1) { /* nothing but a kind */
        uint8_t bare[9] = {(uint8_t)kind};
        assert_int_equal(objects_command_decode(bnd_slice(bare, sizeof bare), &room, &out),
                         BND_INVALID);
    }
    bnd_buf_free(&bytes);
    bnd_buf_free(&more);
}

static void test_a_command_ends_where_it_says(void **state) {
    (void)state;
    struct objects_conditions room;
    struct objects_command out;
    struct bnd_buf bytes = {0};
    struct objects_command command = {.kind = OBJECTS_TICK};
    objects_command_encode(&bytes, &command);
    assert_int_equal(objects_command_decode(bnd_buf_slice(&bytes), &room, &out), 0);
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(objects_command_decode(bnd_buf_slice(&bytes), &room, &out), BND_INVALID);
    bnd_buf_free(&bytes);
}

static int query_of(const struct objects_query *query, size_t more) {
    struct objects_query out;
    struct bnd_buf bytes = {0};
    objects_query_encode(&bytes, query);
    for (size_t i = 0; i < more; i++) {
        bnd_buf_u8(&bytes, 0);
    }
    int rv = objects_query_decode(bnd_buf_slice(&bytes), &out);
    bnd_buf_free(&bytes);
    return rv;
}

static void test_impossible_queries(void **state) {
    (void)state;
    static const uint8_t long_key[BND_OBJECT_KEY_MAX + 1];
    struct objects_query query = {.kind = OBJECTS_LIST, .limit = BND_OBJECT_LIST_MAX};
    assert_int_equal(query_of(&query, 0), 0);
    assert_int_equal(query_of(&query, 1), BND_INVALID);
    query.limit++;
    assert_int_equal(query_of(&query, 0), BND_INVALID);
    query.limit = 0;
    assert_int_equal(query_of(&query, 0), BND_INVALID);
    query.limit = 1;
    struct bnd_slice *const texts[] = {&query.prefix, &query.delimiter, &query.after};
    for (size_t i = 0; i < 3; i++) {
        *texts[i] = bnd_slice(long_key, sizeof long_key);
        assert_int_equal(query_of(&query, 0), BND_INVALID);
        texts[i]->len--;
        assert_int_equal(query_of(&query, 0), 0);
        texts[i]->len = 0;
    }
}

/* ---- records in the state
 * ---------------------------------------------------------------------------- */

static int manifest_of(const struct bnd_object_meta *meta, size_t body_len, size_t at,
                       unsigned byte) {
    static const uint8_t body[100];
    struct bnd_object_meta out;
    struct bnd_slice out_body;
    struct bnd_buf bytes = {0};
    objects_manifest_encode(&bytes, meta, bnd_slice(body, body_len), OBJECTS_WHOLE);
    if (at > 0) {
        bytes.data[at - 1] = (uint8_t)byte;
    }
    int rv = objects_manifest_decode(bnd_buf_slice(&bytes), &out, &out_body);
    bnd_buf_free(&bytes);
    return rv;
}

static void test_impossible_manifests(void **state) {
    (void)state;
    struct bnd_object_meta meta = {.size = 5, .fields = bnd_object_fields_none()};
    assert_int_equal(manifest_of(&meta, 5, 0, 0), 0);
    assert_int_equal(manifest_of(&meta, 5, 1, OBJECTS_MANIFEST_FORMAT + 1), BND_CORRUPT);
    assert_int_equal(manifest_of(&meta, 5, 2, BND_PROFILE_PARTS + 1), BND_CORRUPT);
    assert_int_equal(manifest_of(&meta, 5, 3, 2), BND_CORRUPT);      /* an unknown flag */
    assert_int_equal(manifest_of(&meta, 5, 4 + 16, 6), BND_CORRUPT); /* a byte more than there is */
    meta.parts = 1;
    assert_int_equal(manifest_of(&meta, 5, 0, 0), BND_CORRUPT);
    meta = (struct bnd_object_meta){.profile = BND_PROFILE_COPIES,
                                    .size = BND_OBJECT_BODY_MAX,
                                    .fields = bnd_object_fields_none()};
    assert_int_equal(manifest_of(&meta, 0, 0, 0), 0);
    meta.size++;
    assert_int_equal(manifest_of(&meta, 0, 0, 0), BND_CORRUPT);
    meta = (struct bnd_object_meta){.profile = BND_PROFILE_PARTS,
                                    .parts = BND_OBJECT_PARTS_MAX,
                                    .fields = bnd_object_fields_none()};
    assert_int_equal(manifest_of(&meta, 0, 0, 0), 0);
    meta.parts++;
    assert_int_equal(manifest_of(&meta, 0, 0, 0), BND_CORRUPT);
    meta.parts = 0;
    assert_int_equal(manifest_of(&meta, 0, 0, 0), BND_CORRUPT);
    meta = (struct bnd_object_meta){.size = 5, .fields = bnd_object_fields_none()};
    const size_t checksums_at = 3 + 16 + 8 + 8 + 16 + 4 + 1;
    assert_int_equal(manifest_of(&meta, 5, checksums_at + 1, 1),
                     BND_CORRUPT); /* composite of nothing */
    static uint8_t big[BND_OBJECT_FIELD_MAX + 1];
    meta.fields.content_type = bnd_slice(big, sizeof big);
    assert_int_equal(manifest_of(&meta, 5, 0, 0), BND_CORRUPT);
    meta.fields = bnd_object_fields_none();
    struct bnd_buf custom = {0};
    bnd_object_custom_add(&custom, bnd_slice_str("n"), bnd_slice_str("v"));
    bnd_buf_u8(&custom, 0);
    meta.fields.custom = bnd_buf_slice(&custom); /* a pair cut short */
    assert_int_equal(manifest_of(&meta, 5, 0, 0), BND_CORRUPT);
    bnd_buf_reset(&custom);
    bnd_object_custom_add(&custom, bnd_slice_str(""), bnd_slice_str("v"));
    meta.fields.custom = bnd_buf_slice(&custom); /* without a name */
    assert_int_equal(manifest_of(&meta, 5, 0, 0), BND_CORRUPT);
    bnd_buf_free(&custom);
}

static void test_segments_add_up(void **state) {
    (void)state;
    struct bnd_buf segments = {0};
    struct objects_segment segment = {.size = 10};
    objects_segment_encode(&segments, &segment);
    segment.size = 20;
    objects_segment_encode(&segments, &segment);
    struct bnd_slice bytes = bnd_buf_slice(&segments);
    assert_int_equal(objects_segments_check(bytes, 2, 30), 0);
    assert_int_equal(objects_segments_check(bytes, 2, 31), BND_CORRUPT);
    assert_int_equal(objects_segments_check(bytes, 3, 30), BND_CORRUPT);
    assert_int_equal(objects_segments_check(bytes, 1, 30), BND_CORRUPT);
    assert_int_equal(objects_segments_check(bnd_slice(bytes.data, bytes.len - 1), 2, 30),
                     BND_CORRUPT);
    segment.size = BND_OBJECT_BODY_MAX + 1;
    objects_segment_encode(&segments, &segment);
    assert_int_equal(objects_segments_check(bnd_buf_slice(&segments), 3, BND_OBJECT_BODY_MAX + 31),
                     BND_CORRUPT);
    /* And so does every object that is taken from an answer. */
    struct bnd_object object;
    struct bnd_buf manifest = {0};
    struct bnd_object_meta meta = {
        .profile = BND_PROFILE_PARTS, .parts = 2, .size = 31, .fields = bnd_object_fields_none()};
    objects_manifest_encode(&manifest, &meta, bnd_slice(NULL, 0), OBJECTS_WHOLE);
    segments.len = 2 * OBJECTS_SEGMENT_BYTES;
    assert_int_equal(
        objects_object_decode(bnd_buf_slice(&manifest), bnd_buf_slice(&segments), 1, &object),
        BND_CORRUPT);
    bnd_buf_free(&manifest);
    bnd_buf_free(&segments);
}

static void test_records_of_bodies_and_uploads(void **state) {
    (void)state;
    struct objects_body_record body = {.size = 5, .have_count = BND_REPLICAS_MAX};
    struct objects_upload_record upload = {.fields = bnd_object_fields_none()};
    struct objects_body_record body_out;
    struct objects_upload_record upload_out;
    struct bnd_buf bytes = {0};
    objects_body_encode(&bytes, &body);
    assert_int_equal(objects_body_decode(bnd_buf_slice(&bytes), &body_out), 0);
    bytes.data[16] = BND_REPLICAS_MAX + 1;
    bnd_buf_u64(&bytes, 1);
    assert_int_equal(objects_body_decode(bnd_buf_slice(&bytes), &body_out), BND_CORRUPT);
    bytes.data[16] = BND_REPLICAS_MAX;
    assert_int_equal(objects_body_decode(bnd_buf_slice(&bytes), &body_out), BND_CORRUPT);
    bnd_buf_reset(&bytes);
    body = (struct objects_body_record){.size = BND_OBJECT_BODY_MAX + 1};
    objects_body_encode(&bytes, &body);
    assert_int_equal(objects_body_decode(bnd_buf_slice(&bytes), &body_out), BND_CORRUPT);
    bnd_buf_reset(&bytes);
    objects_upload_encode(&bytes, &upload);
    assert_int_equal(objects_upload_decode(bnd_buf_slice(&bytes), &upload_out), 0);
    bytes.data[9] = 2;
    assert_int_equal(objects_upload_decode(bnd_buf_slice(&bytes), &upload_out), BND_CORRUPT);
    bytes.data[9] = 1;
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(objects_upload_decode(bnd_buf_slice(&bytes), &upload_out), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_multipart_etag_is_compared_with_its_count),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_field_bounds),
        cmocka_unit_test(test_impossible_commands),
        cmocka_unit_test(test_lists_in_commands_are_bounded),
        cmocka_unit_test(test_a_command_ends_where_it_says),
        cmocka_unit_test(test_impossible_queries),
        cmocka_unit_test(test_impossible_manifests),
        cmocka_unit_test(test_segments_add_up),
        cmocka_unit_test(test_records_of_bodies_and_uploads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
