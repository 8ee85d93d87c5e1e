/* What needs no cluster: targets, parameters, conditions, ranges, dates, base64, digests, metadata,
 * XML in and out. */
#include "base/utf8.h"
#include "gateway/s3/base64.h"
#include "gateway/s3/conditions.h"
#include "gateway/s3/digest.h"
#include "gateway/s3/fields.h"
#include "gateway/s3/hash.h"
#include "gateway/s3/range.h"
#include "gateway/s3/target.h"
#include "gateway/s3/xml_read.h"
#include "gateway/s3/xml_write.h"
#include "tests/unit/gateway/s3_head.h"

#include <stdio.h>

static void assert_text(struct bnd_slice got, const char *expected) {
    if (!bnd_slice_eq(got, bnd_slice_str(expected))) {
        fail_msg("'%.*s', expected '%s'", (int)got.len, (const char *)got.data, expected);
    }
}

/* ---- targets
 * ---------------------------------------------------------------------------------- */

struct target_case {
    const char *method;
    const char *target;
    const char *host;
    const char *more; /* header lines */
    enum s3_error error;
    enum s3_operation operation;
    const char *bucket;
    const char *key;
};

static void check_target(const struct target_case *c) {
    char lines[4096];
    uint8_t space[4096];
    uint8_t query_space[4096];
    struct s3_query query;
    struct s3_target target = {0};
    const char *why = NULL;
    (void)snprintf(lines, sizeof lines, "%s %s HTTP/1.1\nHost: %s\n%s", c->method, c->target,
                   c->host == NULL ? "127.0.0.1:7702" : c->host, c->more == NULL ? "" : c->more);
    struct s3_test_head *made = s3_test_head_make(lines);
    assert_true(s3_target_space(&made->head) <= sizeof space);
    enum s3_error error = s3_query_parse(made->head.query, query_space, &query, &why);
    if (error == S3_OK) {
        error = s3_target_parse(&made->head, &query, "s3.example.com", space, &target, &why);
    }
    if (error != c->error) {
        fail_msg("%s, expected %s: %s", s3_error_code(error), s3_error_code(c->error), lines);
    }
    if (error == S3_OK) {
        if (target.operation != c->operation) {
            fail_msg("%s, expected %s: %s", s3_operation_name(target.operation),
                     s3_operation_name(c->operation), lines);
        }
        assert_text(target.bucket, c->bucket);
        assert_text(target.key, c->key);
    } else {
        assert_non_null(why);
    }
    s3_test_head_free(made);
}

static void test_operations(void **state) {
    (void)state;
    static const struct target_case cases[] = {
        {"GET", "/", NULL, NULL, S3_OK, S3_LIST_BUCKETS, "", ""},
        {"PUT", "/bkt", NULL, NULL, S3_OK, S3_CREATE_BUCKET, "bkt", ""},
        {"PUT", "/bkt/", NULL, NULL, S3_OK, S3_CREATE_BUCKET, "bkt", ""},
        {"HEAD", "/bkt", NULL, NULL, S3_OK, S3_HEAD_BUCKET, "bkt", ""},
        {"DELETE", "/bkt", NULL, NULL, S3_OK, S3_DELETE_BUCKET, "bkt", ""},
        {"GET", "/bkt?location", NULL, NULL, S3_OK, S3_BUCKET_LOCATION, "bkt", ""},
        {"GET", "/bkt?list-type=2&prefix=a", NULL, NULL, S3_OK, S3_LIST_OBJECTS, "bkt", ""},
        {"GET", "/bkt?uploads", NULL, NULL, S3_OK, S3_LIST_UPLOADS, "bkt", ""},
        {"POST", "/bkt?delete", NULL, NULL, S3_OK, S3_DELETE_OBJECTS, "bkt", ""},
        {"GET", "/bkt/a", NULL, NULL, S3_OK, S3_GET_OBJECT, "bkt", "a"},
        {"HEAD", "/bkt/a", NULL, NULL, S3_OK, S3_HEAD_OBJECT, "bkt", "a"},
        {"PUT", "/bkt/a?x-id=PutObject", NULL, NULL, S3_OK, S3_PUT_OBJECT, "bkt", "a"},
        {"PUT", "/bkt/a", NULL, "x-amz-copy-source: /b/c\n", S3_OK, S3_COPY_OBJECT, "bkt", "a"},
        {"DELETE", "/bkt/a", NULL, NULL, S3_OK, S3_DELETE_OBJECT, "bkt", "a"},
        {"POST", "/bkt/a?uploads=", NULL, NULL, S3_OK, S3_CREATE_UPLOAD, "bkt", "a"},
        {"PUT", "/bkt/a?partNumber=1&uploadId=x", NULL, NULL, S3_OK, S3_UPLOAD_PART, "bkt", "a"},
        {"PUT", "/bkt/a?partNumber=1&uploadId=x", NULL, "x-amz-copy-source: /b/c\n", S3_OK,
         S3_UPLOAD_PART_COPY, "bkt", "a"},
        {"POST", "/bkt/a?uploadId=x", NULL, NULL, S3_OK, S3_COMPLETE_UPLOAD, "bkt", "a"},
        {"DELETE", "/bkt/a?uploadId=x", NULL, NULL, S3_OK, S3_ABORT_UPLOAD, "bkt", "a"},
        {"GET", "/bkt/a?uploadId=x", NULL, NULL, S3_OK, S3_LIST_PARTS, "bkt", "a"},
        {"POST", "/bkt/a", NULL, NULL, S3_MethodNotAllowed, 0, "", ""},
        {"DELETE", "/", NULL, NULL, S3_MethodNotAllowed, 0, "", ""},
        {"PUT", "/bkt/a?uploads", NULL, NULL, S3_MethodNotAllowed, 0, "", ""},
        {"PATCH", "/bkt/a", NULL, NULL, S3_MethodNotAllowed, 0, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_target(&cases[i]);
    }
}

static void test_names(void **state) {
    (void)state;
    static const struct target_case cases[] = {
        {"GET", "/bkt/a/b//c/../d", NULL, NULL, S3_OK, S3_GET_OBJECT, "bkt", "a/b//c/../d"},
        {"GET", "/bkt//a", NULL, NULL, S3_OK, S3_GET_OBJECT, "bkt", "/a"},
        {"GET", "/bkt/a%20b+%C3%A9%2Fz", NULL, NULL, S3_OK, S3_GET_OBJECT, "bkt", "a b+\xc3\xa9/z"},
        {"GET", "/bkt/%ff", NULL, NULL, S3_InvalidURI, 0, "", ""},
        {"GET", "/bkt/a%00", NULL, NULL, S3_InvalidURI, 0, "", ""},
        {"GET", "/bkt/%zz", NULL, NULL, S3_InvalidURI, 0, "", ""},
        {"GET", "/Bkt/a", NULL, NULL, S3_InvalidBucketName, 0, "", ""},
        {"GET", "/ab/a", NULL, NULL, S3_InvalidBucketName, 0, "", ""},
        {"GET", "//a", NULL, NULL, S3_InvalidBucketName, 0, "", ""},
        {"GET", "/bkt%2Fa/b", NULL, NULL, S3_InvalidBucketName, 0, "", ""},
        /* virtual-host style */
        {"GET", "/a/b", "bkt.localhost:7702", NULL, S3_OK, S3_GET_OBJECT, "bkt", "a/b"},
        {"GET", "/", "bkt.s3.example.com", NULL, S3_OK, S3_LIST_OBJECTS, "bkt", ""},
        {"PUT", "/", "BKT.s3.anything.test", NULL, S3_OK, S3_CREATE_BUCKET, "bkt", ""},
        {"GET", "/x-y/a", "s3.example.com", NULL, S3_OK, S3_GET_OBJECT, "x-y", "a"},
        {"GET", "/bkt/a", "node1.example.com", NULL, S3_OK, S3_GET_OBJECT, "bkt", "a"},
        {"GET", "/bkt/a", "localhost:7702", NULL, S3_OK, S3_GET_OBJECT, "bkt", "a"},
        {"GET", "/bkt/a", "[::1]:7702", NULL, S3_OK, S3_GET_OBJECT, "bkt", "a"},
        {"GET", "/a", "a_b.localhost", NULL, S3_InvalidBucketName, 0, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_target(&cases[i]);
    }
    char target[4096];
    (void)snprintf(target, sizeof target, "/bkt/%01024d", 0);
    check_target(
        &(struct target_case){"GET", target, NULL, NULL, S3_OK, S3_GET_OBJECT, "bkt", target + 5});
    (void)snprintf(target, sizeof target, "/bkt/%01025d", 0);
    check_target(&(struct target_case){"GET", target, NULL, NULL, S3_KeyTooLongError, 0, "", ""});
}

static void test_what_r2_has_not(void **state) {
    (void)state;
    static const struct target_case cases[] = {
        {"GET", "/bkt?versioning", NULL, NULL, S3_NotImplemented, 0, "", ""},
        {"GET", "/bkt?versions", NULL, NULL, S3_NotImplemented, 0, "", ""},
        {"PUT", "/bkt/a?acl", NULL, NULL, S3_NotImplemented, 0, "", ""},
        {"PUT", "/bkt/a?%61cl", NULL, NULL, S3_NotImplemented, 0, "", ""}, /* signed as acl */
        {"DELETE", "/bkt/a?versionId=1", NULL, NULL, S3_NotImplemented, 0, "", ""},
        {"GET", "/bkt/a?tagging", NULL, NULL, S3_NotImplemented, 0, "", ""},
        {"PUT", "/bkt/a", NULL, "x-amz-tagging: a=b\n", S3_NotImplemented, 0, "", ""},
        {"PUT", "/bkt/a", NULL, "x-amz-server-side-encryption: aws:kms\n", S3_NotImplemented, 0, "",
         ""},
        {"PUT", "/bkt/a", NULL, "X-Amz-Acl: public-read\n", S3_NotImplemented, 0, "", ""},
        {"PUT", "/bkt/a", NULL, "X-Amz-Acl: private\n", S3_OK, S3_PUT_OBJECT, "bkt", "a"},
        {"PUT", "/bkt/a?a=1&a=2", NULL, NULL, S3_InvalidArgument, 0, "", ""},
        {"PUT", "/bkt/a?a=%zz", NULL, NULL, S3_InvalidArgument, 0, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_target(&cases[i]);
    }
}

static void check_source(const char *text, enum s3_error expected, const char *bucket,
                         const char *key) {
    uint8_t space[256];
    struct bnd_slice got_bucket;
    struct bnd_slice got_key;
    const char *why = NULL;
    assert_int_equal(s3_copy_source_parse(bnd_slice_str(text), space, &got_bucket, &got_key, &why),
                     expected);
    if (expected == S3_OK) {
        assert_text(got_bucket, bucket);
        assert_text(got_key, key);
    }
}

static void test_copy_sources(void **state) {
    (void)state;
    check_source("/bkt/a%20b/c", S3_OK, "bkt", "a b/c");
    check_source("bkt/a", S3_OK, "bkt", "a");
    check_source("/bkt/a?versionId=null", S3_NotImplemented, "", "");
    check_source("/bkt", S3_InvalidArgument, "", "");
    check_source("", S3_InvalidArgument, "", "");
    check_source("/B/a", S3_InvalidBucketName, "", "");
}

/* ---- conditions, ranges, dates
 * ---------------------------------------------------------------- */

#define ETAG "d41d8cd98f00b204e9800998ecf8427e"
#define UPLOADED_MS UINT64_C(1700000000500) /* Tue, 14 Nov 2023 22:13:20.500 GMT */
#define THEN "Tue, 14 Nov 2023 22:13:20 GMT"
#define BEFORE "Tue, 14 Nov 2023 22:13:19 GMT"

static void check_condition(const char *lines, bool exists, enum bnd_condition_result expected) {
    char text[2048];
    struct s3_conditions conditions;
    struct bnd_object_meta meta = {.uploaded_ms = UPLOADED_MS};
    const char *why = NULL;
    assert_int_equal(bnd_hex_decode(bnd_slice_str(ETAG), meta.etag_md5, 16), 0);
    (void)snprintf(text, sizeof text, "GET / HTTP/1.1\nHost: h\n%s", lines);
    struct s3_test_head *made = s3_test_head_make(text);
    assert_int_equal(s3_conditions_read(&made->head, "", &conditions, &why), S3_OK);
    enum bnd_condition_result got =
        bnd_object_conditions_check(&conditions.conditions, exists ? &meta : NULL);
    if (got != expected) {
        fail_msg("%d, expected %d: %s", (int)got, (int)expected, lines);
    }
    s3_test_head_free(made);
}

static void test_conditions(void **state) {
    (void)state;
    const enum bnd_condition_result ok = BND_CONDITION_OK;
    const enum bnd_condition_result failed = BND_CONDITION_FAILED;
    const enum bnd_condition_result same = BND_CONDITION_NOT_MODIFIED;
    check_condition("", true, ok);
    check_condition("If-Match: \"" ETAG "\"\n", true, ok);
    check_condition("If-Match: " ETAG "\n", true, ok); /* without quotes, as some clients */
    check_condition("If-Match: \"x\", \"" ETAG "\"\n", true, ok);
    check_condition("If-Match: \"x\"\nIf-Match: \"" ETAG "\"\n", true, ok);
    check_condition("If-Match: W/\"" ETAG "\"\n", true, failed);
    check_condition("If-Match: \"x\"\n", true, failed);
    check_condition("If-Match: *\n", true, ok);
    check_condition("If-Match: *\n", false, failed);
    check_condition("If-None-Match: *\n", true, same);
    check_condition("If-None-Match: *\n", false, ok);
    check_condition("If-None-Match: W/\"" ETAG "\"\n", true, same);
    check_condition("If-None-Match: \"x\"\n", true, ok);
    check_condition("If-Modified-Since: " THEN "\n", true, same);
    check_condition("If-Modified-Since: " BEFORE "\n", true, ok);
    check_condition("If-Unmodified-Since: " THEN "\n", true, ok);
    check_condition("If-Unmodified-Since: " BEFORE "\n", true, failed);
    check_condition("If-Modified-Since: yesterday\n", true, ok);
    check_condition("If-None-Match: \"x\"\nIf-Modified-Since: " THEN "\n", true, ok);
    check_condition("If-Match: \"" ETAG "\"\nIf-Unmodified-Since: " BEFORE "\n", true, ok);
}

static void test_bad_conditions(void **state) {
    (void)state;
    struct s3_conditions conditions;
    const char *why = NULL;
    struct s3_test_head *made = s3_test_head_make("GET / HTTP/1.1\nHost: h\nIf-Match: \"open\n");
    assert_int_equal(s3_conditions_read(&made->head, "", &conditions, &why), S3_InvalidArgument);
    s3_test_head_free(made);
    BND_AUTO_BUF struct bnd_buf many = {0};
    bnd_buf_append_str(&many, "GET / HTTP/1.1\nHost: h\nIf-None-Match: \"a\"");
    for (unsigned i = 0; i < BND_OBJECT_ETAGS_MAX; i++) {
        bnd_buf_append_str(&many, ",\"a\"");
    }
    bnd_buf_append(&many, "\n", 2);
    made = s3_test_head_make((const char *)many.data);
    assert_int_equal(s3_conditions_read(&made->head, "", &conditions, &why), S3_InvalidArgument);
    s3_test_head_free(made);
}

static void check_range(const char *text, uint64_t size, enum s3_range expected, uint64_t offset,
                        uint64_t length) {
    uint64_t got_offset = 0;
    uint64_t got_length = 0;
    enum s3_range got = s3_range_read(bnd_slice_str(text), size, &got_offset, &got_length);
    if (got != expected ||
        (got != S3_RANGE_UNSATISFIABLE && (got_offset != offset || got_length != length))) {
        fail_msg("%s of %llu: %d %llu+%llu", text, (unsigned long long)size, (int)got,
                 (unsigned long long)got_offset, (unsigned long long)got_length);
    }
}

static void test_ranges(void **state) {
    (void)state;
    check_range("bytes=0-9", 100, S3_RANGE_PART, 0, 10);
    check_range("bytes=90-", 100, S3_RANGE_PART, 90, 10);
    check_range("bytes=90-1000", 100, S3_RANGE_PART, 90, 10);
    check_range("bytes=-10", 100, S3_RANGE_PART, 90, 10);
    check_range("bytes=-1000", 100, S3_RANGE_PART, 0, 100);
    check_range("bytes=99-99", 100, S3_RANGE_PART, 99, 1);
    check_range("bytes=0-99999999999999999999999", 100, S3_RANGE_PART, 0, 100);
    check_range("bytes=100-", 100, S3_RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=-0", 100, S3_RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=0-", 0, S3_RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=9-0", 100, S3_RANGE_WHOLE, 0, 100);
    check_range("bytes=0-1,3-4", 100, S3_RANGE_WHOLE, 0, 100);
    check_range("lines=0-1", 100, S3_RANGE_WHOLE, 0, 100);
    check_range("bytes=-", 100, S3_RANGE_WHOLE, 0, 100);
    check_range("bytes=a-b", 100, S3_RANGE_WHOLE, 0, 100);
    uint64_t offset = 0;
    uint64_t length = 0;
    assert_true(s3_copy_range_read(bnd_slice_str("bytes=1-9"), 10, &offset, &length));
    assert_int_equal(offset, 1);
    assert_int_equal(length, 9);
    assert_false(s3_copy_range_read(bnd_slice_str("bytes=1-10"), 10, &offset, &length));
    assert_false(s3_copy_range_read(bnd_slice_str("bytes=1-"), 10, &offset, &length));
    assert_false(s3_copy_range_read(bnd_slice_str("bytes=-1"), 10, &offset, &length));
}

/* ---- base64, digests
 * -------------------------------------------------------------------------- */

static void test_base64(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xfb\xff", "+/8="}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        BND_AUTO_BUF struct bnd_buf text = {0};
        BND_AUTO_BUF struct bnd_buf back = {0};
        s3_base64_encode(&text, bnd_slice_str(pairs[i][0]), false);
        assert_text(bnd_buf_slice(&text), pairs[i][1]);
        assert_true(s3_base64_decode(bnd_buf_slice(&text), false, &back));
        assert_text(bnd_buf_slice(&back), pairs[i][0]);
    }
    BND_AUTO_BUF struct bnd_buf url = {0};
    BND_AUTO_BUF struct bnd_buf back = {0};
    s3_base64_encode(&url, bnd_slice_str("\xfb\xff"), true);
    assert_text(bnd_buf_slice(&url), "-_8");
    assert_true(s3_base64_decode(bnd_buf_slice(&url), true, &back));
    static const char *const bad[] = {
        "Zg", "Zg=", "Zh==", "Z===", "Zm9=", "Zm9v\n", "Zm 9", "-_8="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(s3_base64_decode(bnd_slice_str(bad[i]), false, &back));
    }
}

static void check_digest(enum bnd_checksum kind, const char *expected) {
    struct s3_digest digest;
    struct bnd_object_checksums sums;
    char hex[2 * BND_CHECKSUM_BYTES_MAX + 1];
    static const char text[] = "123456789";
    for (size_t cut = 0; cut <= 9; cut++) {
        assert_int_equal(s3_digest_init(&digest, 1u << kind), 0);
        s3_digest_update(&digest, bnd_slice(text, cut));
        s3_digest_update(&digest, bnd_slice(text + cut, 9 - cut));
        s3_digest_final(&digest, &sums);
        s3_digest_free(&digest);
        assert_int_equal(sums.present, 1u << kind);
        bnd_hex_encode(sums.value[kind], bnd_checksum_bytes(kind), hex);
        assert_string_equal(hex, expected);
    }
}

static void test_digests(void **state) {
    (void)state;
    /* the check values of the CRC catalogue (reveng), and of coreutils */
    check_digest(BND_CHECKSUM_CRC32, "cbf43926");
    check_digest(BND_CHECKSUM_CRC32C, "e3069283");
    check_digest(BND_CHECKSUM_CRC64NVME, "ae8b14860a799888");
    check_digest(BND_CHECKSUM_MD5, "25f9e794323b453885f5181f1b624d0b");
    check_digest(BND_CHECKSUM_SHA1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
    check_digest(BND_CHECKSUM_SHA256,
                 "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
}

static void test_crcs_join(void **state) {
    (void)state;
    static const enum bnd_checksum kinds[] = {BND_CHECKSUM_CRC32, BND_CHECKSUM_CRC32C,
                                              BND_CHECKSUM_CRC64NVME};
    uint8_t data[5000];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 31 + i / 7);
    }
    for (size_t k = 0; k < 3; k++) {
        for (size_t cut = 0; cut <= sizeof data; cut += 833) {
            struct s3_digest digests[3];
            struct bnd_object_checksums sums[3];
            const struct bnd_slice pieces[3] = {bnd_slice(data, cut),
                                                bnd_slice(data + cut, sizeof data - cut),
                                                bnd_slice(data, sizeof data)};
            for (size_t i = 0; i < 3; i++) {
                assert_int_equal(s3_digest_init(&digests[i], 1u << kinds[k]), 0);
                s3_digest_update(&digests[i], pieces[i]);
                s3_digest_final(&digests[i], &sums[i]);
            }
            s3_crc_join(kinds[k], sums[0].value[kinds[k]], sums[1].value[kinds[k]], pieces[1].len);
            assert_memory_equal(sums[0].value[kinds[k]], sums[2].value[kinds[k]],
                                bnd_checksum_bytes(kinds[k]));
        }
    }
}

/* ---- metadata
 * --------------------------------------------------------------------------------- */

static enum s3_error read_fields(const char *lines, struct bnd_buf *space,
                                 struct bnd_object_fields *out, struct s3_test_head **made) {
    const char *why = NULL;
    *made = s3_test_head_make(lines);
    return s3_fields_read(&(*made)->head, space, out, &why);
}

static const struct bnd_http_header *find_reply(const struct s3_reply *reply, const char *name) {
    size_t from = 0;
    return bnd_http_head_find(s3_reply_headers(reply), reply->count, name, &from);
}

static void test_metadata_comes_back(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf space = {0};
    struct bnd_object_fields fields;
    struct s3_test_head *made;
    struct s3_reply reply = {0};
    assert_int_equal(
        read_fields("PUT / HTTP/1.1\nHost: h\nContent-Type: text/x\nContent-Encoding: "
                    "aws-chunked,gzip\nCache-Control: no-cache\nExpires: " THEN
                    "\nx-amz-meta-Colour: blue\nX-AMZ-META-u: \xc3\xbc\nx-amz-meta-e:\n",
                    &space, &fields, &made),
        S3_OK);
    s3_fields_write(&fields, &reply);
    assert_text(find_reply(&reply, "content-type")->value, "text/x");
    assert_text(find_reply(&reply, "content-encoding")->value, "gzip");
    assert_text(find_reply(&reply, "cache-control")->value, "no-cache");
    assert_text(find_reply(&reply, "expires")->value, THEN);
    assert_text(find_reply(&reply, "x-amz-meta-colour")->value, "blue");
    assert_text(find_reply(&reply, "x-amz-meta-u")->value, "\xc3\xbc");
    assert_text(find_reply(&reply, "x-amz-meta-e")->value, "");
    assert_null(find_reply(&reply, "x-amz-missing-meta"));
    s3_reply_free(&reply);
    s3_test_head_free(made);
}

static void test_metadata_no_header_can_hold(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf custom = {0};
    struct bnd_object_fields fields = bnd_object_fields_none();
    struct s3_reply reply = {0};
    for (int i = 0; i < 500; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        bnd_object_custom_add(&custom, bnd_slice_str(name), bnd_slice_str("v"));
    }
    bnd_object_custom_add(&custom, bnd_slice_str("line"), bnd_slice_str("a\r\nb: c"));
    bnd_object_custom_add(&custom, bnd_slice_str("a b"), bnd_slice_str("v"));
    fields.custom = bnd_buf_slice(&custom);
    s3_fields_write(&fields, &reply);
    assert_false(reply.failed);
    assert_int_equal(reply.count, 1 + 500 + 1);
    assert_text(find_reply(&reply, "content-type")->value, "application/octet-stream");
    assert_text(find_reply(&reply, "x-amz-meta-n499")->value, "v");
    assert_text(find_reply(&reply, "x-amz-missing-meta")->value, "2");
    s3_reply_free(&reply);
}

static void test_metadata_bounds(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf space = {0};
    struct bnd_object_fields fields;
    struct s3_test_head *made;
    char lines[16384];
    /* 1 byte of name and 8191 of value, then one more */
    (void)snprintf(lines, sizeof lines, "PUT / HTTP/1.1\nHost: h\nx-amz-meta-a: %08191d\n", 0);
    assert_int_equal(read_fields(lines, &space, &fields, &made), S3_OK);
    s3_test_head_free(made);
    (void)snprintf(lines, sizeof lines, "PUT / HTTP/1.1\nHost: h\nx-amz-meta-a: %08192d\n", 0);
    assert_int_equal(read_fields(lines, &space, &fields, &made), S3_MetadataTooLarge);
    s3_test_head_free(made);
    (void)snprintf(lines, sizeof lines, "PUT / HTTP/1.1\nHost: h\nContent-Type: %02049d\n", 0);
    assert_int_equal(read_fields(lines, &space, &fields, &made), S3_InvalidArgument);
    s3_test_head_free(made);
    (void)snprintf(lines, sizeof lines, "PUT / HTTP/1.1\nHost: h\nx-amz-storage-class: GLACIER\n");
    assert_int_equal(read_fields(lines, &space, &fields, &made), S3_InvalidStorageClass);
    s3_test_head_free(made);
}

/* ---- XML
 * -------------------------------------------------------------------------------------- */

static void test_xml_text(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf xml = {0};
    s3_xml_key(&xml, "K", bnd_slice("a<&>\"\x01\n\xc3\xa9\xff\x00z\xef\xbf\xbf", 15), false);
    assert_text(
        bnd_buf_slice(&xml),
        "<K>a&lt;&amp;&gt;&quot;&#x1;&#xA;\xc3\xa9\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd</K>");
    bnd_buf_reset(&xml);
    s3_xml_key(&xml, "K", bnd_slice("a b/\xff\x01", 6), true);
    assert_text(bnd_buf_slice(&xml), "<K>a%20b/%FF%01</K>");
    assert_false(bnd_utf8_valid(bnd_slice_str("\xed\xa0\x80")));     /* a surrogate */
    assert_false(bnd_utf8_valid(bnd_slice_str("\xc0\x80")));         /* overlong */
    assert_false(bnd_utf8_valid(bnd_slice_str("\xf4\x90\x80\x80"))); /* beyond Unicode */
    assert_true(bnd_utf8_valid(bnd_slice_str("\xf4\x8f\xbf\xbf \xe2\x82\xac")));
}

static int collect(void *data, const char *path, struct bnd_slice text) {
    struct bnd_buf *out = data;
    bnd_buf_append_str(out, path);
    bnd_buf_append_str(out, "=");
    bnd_buf_append_slice(out, text);
    bnd_buf_append_str(out, ";");
    return strcmp(path, "A/stop") == 0 ? BND_TOOBIG : 0;
}

static void check_xml(const char *document, int expected, const char *seen) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    int rv = s3_xml_parse(bnd_slice_str(document), collect, &out);
    if (rv != expected) {
        fail_msg("%s, expected %s: %s", bnd_code_name(rv), bnd_code_name(expected), document);
    }
    if (rv == 0 || rv == BND_INVALID) {
        assert_text(bnd_buf_slice(&out), seen);
    }
}

static void test_xml_reading(void **state) {
    (void)state;
    check_xml("<A xmlns=\"" S3_XML_NAMESPACE "\"><b>x&amp;&#65;</b><b/></A>", 0,
              "A/b=x&A;A/b=;A=;");
    check_xml("<?xml version=\"1.0\"?>\n<A>\n <b><![CDATA[<]]></b>\n</A>\n", 0, "A/b=<;A=\n;");
    check_xml("<A><stop/><b/></A>", BND_TOOBIG, "");
    check_xml("", BND_INVALID, "");
    check_xml("<A>", BND_INVALID, "");
    check_xml("<A></B>", BND_INVALID, "");
    check_xml("<A>\xff</A>", BND_INVALID, "");
    check_xml("<!DOCTYPE A [<!ENTITY e \"x\">]><A>&e;</A>", BND_INVALID, "");
    check_xml("<!DOCTYPE A SYSTEM \"file:///etc/passwd\"><A/>", BND_INVALID, "");
    check_xml("<A>&e;</A>", BND_INVALID, "");
    check_xml("<A><b><c><d><e><f>x</f></e></d></c></b></A>", 0,
              "A/b/c/d/e/f=x;A/b/c/d/e=;A/b/c/d=;A/b/c=;A/b=;A=;");
    check_xml("<A><b><c><d><e><f><g/></f></e></d></c></b></A>", BND_INVALID, "");
    /* expat tells the end of an empty element also when its start was refused */
    check_xml("<A23456789012345678901234567890123456789012345678901234567890123456/>", BND_INVALID,
              "");
}

/* RFC 4231, cases 1, 2, 6 and 7: keys shorter and longer than a block. */
static void test_hmac(void **state) {
    (void)state;
    static const struct {
        const char *key;
        size_t key_repeat;
        const char *data;
        const char *mac;
    } cases[] = {
        {"\x0b", 20, "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"Jefe", 1, "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"\xaa", 131, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"\xaa", 131,
         "This is a test using a larger than block-size key and a larger than block-size data. "
         "The key needs to be hashed before being used by the HMAC algorithm.",
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bnd_buf key = {0};
        uint8_t mac[S3_SHA256_LEN];
        char text[2 * S3_SHA256_LEN + 1];
        for (size_t n = 0; n < cases[i].key_repeat; n++) {
            bnd_buf_append_str(&key, cases[i].key);
        }
        s3_hmac(bnd_buf_slice(&key), bnd_slice_str(cases[i].data), mac);
        bnd_hex_encode(mac, sizeof mac, text);
        assert_string_equal(text, cases[i].mac);
        bnd_buf_free(&key);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_r2_has_not),
        cmocka_unit_test(test_copy_sources),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_bad_conditions),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_crcs_join),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_metadata_comes_back),
        cmocka_unit_test(test_metadata_no_header_can_hold),
        cmocka_unit_test(test_metadata_bounds),
        cmocka_unit_test(test_xml_text),
        cmocka_unit_test(test_xml_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
