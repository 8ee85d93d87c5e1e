/* S3 on a real node: what clients see of every operation and every error, over sockets, through
 * Raft, the journal and the body store. */
#include "gateway/s3/base64.h"
#include "gateway/s3/chunked.h"
#include "gateway/s3/digest.h"
#include "tests/integration/s3_rig.h"

#define ASK(m, t, ...)                                                                             \
    &(struct s3_ask) {                                                                             \
        .method = (m), .target = (t), __VA_ARGS__                                                  \
    }
#define TEXT(text) .body = bnd_slice_str(text)

static void make_bucket(struct s3_rig *rig, const char *target) {
    s3_expect(rig, ASK("PUT", target), 200, NULL);
}

/* n bytes, different everywhere. */
static uint8_t *pattern(size_t n) {
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(i * 131 + i / 251 + i / 65536);
    }
    return bytes;
}

/* ---- buckets
 * --------------------------------------------------------------------------------- */

static void test_buckets(void **state) {
    struct s3_rig *rig = *state;
    s3_expect(rig, ASK("HEAD", "/bkt-one"), 404, NULL);
    make_bucket(rig, "/bkt-one");
    s3_expect(rig, ASK("PUT", "/bkt-one"), 409, "<Code>BucketAlreadyOwnedByYou</Code>");
    s3_expect(rig, ASK("PUT", "/bkt-two/", TEXT("<CreateBucketConfiguration/>")), 200, NULL);
    s3_expect(rig, ASK("PUT", "/Bad_Name"), 400, "<Code>InvalidBucketName</Code>");
    s3_expect(rig, ASK("HEAD", "/bkt-one"), 200, "x-amz-bucket-region: auto");
    s3_expect(rig, ASK("GET", "/bkt-one?location"), 200, ">auto</LocationConstraint>");
    s3_expect(rig, ASK("GET", "/"), 200, "<Name>bkt-one</Name>");
    s3_expect(rig, ASK("GET", "/?prefix=bkt-t"), 200, "<Buckets><Bucket><Name>bkt-two</Name>");
    s3_expect(rig, ASK("GET", "/?max-buckets=1&prefix=bkt-"), 200,
              "<ContinuationToken>bkt-one</ContinuationToken>");
    s3_expect(rig, ASK("GET", "/?continuation-token=bkt-one&prefix=bkt-"), 200,
              "<Buckets><Bucket><Name>bkt-two</Name>");
    s3_expect(rig, ASK("PUT", "/bkt-one/key", TEXT("x")), 200, NULL);
    s3_expect(rig, ASK("DELETE", "/bkt-one"), 409, "<Code>BucketNotEmpty</Code>");
    s3_expect(rig, ASK("PUT", "/bkt-one/key2", TEXT("x")), 200, NULL); /* writable again */
    s3_expect(rig, ASK("DELETE", "/bkt-one/key"), 204, NULL);
    s3_expect(rig, ASK("DELETE", "/bkt-one/key2"), 204, NULL);
    s3_expect(rig, ASK("DELETE", "/bkt-one"), 204, NULL);
    s3_expect(rig, ASK("DELETE", "/bkt-one"), 404, "<Code>NoSuchBucket</Code>");
    s3_expect(rig, ASK("GET", "/bkt-one/key"), 404, "<Code>NoSuchBucket</Code>");
    s3_expect(rig, ASK("PUT", "/bkt-one/key", TEXT("x")), 404, "<Code>NoSuchBucket</Code>");
    s3_expect(rig, ASK("GET", "/bkt-one?list-type=2"), 404, "<Code>NoSuchBucket</Code>");
    /* made anew: empty, and writable */
    make_bucket(rig, "/bkt-one");
    s3_expect(rig, ASK("GET", "/bkt-one/key"), 404, "<Code>NoSuchKey</Code>");
    s3_expect(rig, ASK("PUT", "/bkt-one/key", TEXT("x")), 200, NULL);
}

static void test_path_segments(void **state) {
    struct s3_rig *rig = *state;
    s3_expect(rig, ASK("PUT", "/segments-bad", .headers = "x-bindery-path-segments: 17\n"), 400,
              "<Code>InvalidArgument</Code>");
    s3_expect(rig, ASK("PUT", "/segments", .headers = "x-bindery-path-segments: 5\n"), 200, NULL);
    s3_expect(rig, ASK("PUT", "/segments/c1/v1/do/ns/id/log/1/1", TEXT("l")), 200, NULL);
    s3_expect(rig, ASK("PUT", "/segments/c1/v1/do/ns/id/own.json", TEXT("o")), 200, NULL);
    s3_expect(rig, ASK("GET", "/segments?list-type=2&prefix=c1/v1/do/ns/id/log/"), 200,
              "<Key>c1/v1/do/ns/id/log/1/1</Key>");
    s3_expect(rig, ASK("GET", "/segments?list-type=2&prefix=c1/v1/"), 200,
              "<KeyCount>2</KeyCount>");
}

/* ---- objects
 * --------------------------------------------------------------------------------- */

static void test_put_and_get(void **state) {
    struct s3_rig *rig = *state;
    make_bucket(rig, "/objects");
    s3_expect(rig,
              ASK("PUT", "/objects/dir/a%20b",
                  .headers = "Content-Type: text/plain\nx-amz-meta-Colour: blue\n"
                             "Cache-Control: no-cache\n",
                  TEXT("hello")),
              200, "ETag: \"5d41402abc4b2a76b9719d911017c592\"");
    s3_expect(rig, ASK("GET", "/objects/dir/a%20b"), 200, "\r\n\r\nhello");
    s3_expect(rig, ASK("HEAD", "/objects/dir/a%20b"), 200, "Content-Length: 5");
    s3_expect(rig, ASK("HEAD", "/objects/dir/a%20b"), 200, "x-amz-meta-colour: blue");
    s3_expect(rig, ASK("GET", "/objects/dir/a%20b"), 200, "Content-Type: text/plain");
    s3_expect(rig, ASK("GET", "/objects/dir/a%20b?response-content-type=text/x"), 200,
              "Content-Type: text/x");
    s3_expect(rig, ASK("PUT", "/objects/empty"), 200, "d41d8cd98f00b204e9800998ecf8427e");
    s3_expect(rig, ASK("GET", "/objects/empty"), 200, "Content-Length: 0");
    s3_expect(rig, ASK("GET", "/objects/none"), 404, "<Code>NoSuchKey</Code>");
    struct s3_answer answer = s3_do(rig, ASK("HEAD", "/objects/none"));
    assert_int_equal(answer.status, 404);
    assert_int_equal(answer.body.len, 0);
    bnd_buf_free(&answer.bytes);
    s3_expect(rig, ASK("DELETE", "/objects/empty"), 204, NULL);
    s3_expect(rig, ASK("DELETE", "/objects/empty"), 204, NULL);
    s3_expect(rig, ASK("GET", "/objects/empty"), 404, "<Code>NoSuchKey</Code>");
}

static void test_ranges(void **state) {
    struct s3_rig *rig = *state;
    make_bucket(rig, "/ranges");
    s3_expect(rig, ASK("PUT", "/ranges/k", TEXT("0123456789")), 200, NULL);
    s3_expect(rig, ASK("GET", "/ranges/k", .headers = "Range: bytes=2-4\n"), 206, "\r\n\r\n234");
    s3_expect(rig, ASK("GET", "/ranges/k", .headers = "Range: bytes=2-4\n"), 206,
              "Content-Range: bytes 2-4/10");
    s3_expect(rig, ASK("GET", "/ranges/k", .headers = "Range: bytes=-3\n"), 206, "\r\n\r\n789");
    s3_expect(rig, ASK("HEAD", "/ranges/k", .headers = "Range: bytes=5-\n"), 206,
              "Content-Length: 5");
    s3_expect(rig, ASK("GET", "/ranges/k", .headers = "Range: bytes=10-\n"), 416,
              "<Code>InvalidRange</Code>");
    s3_expect(rig, ASK("GET", "/ranges/k", .headers = "Range: bytes=2-4\nIf-Range: \"other\"\n"),
              200, "\r\n\r\n0123456789");
    s3_expect(rig, ASK("GET", "/ranges/k?partNumber=1"), 200, "0123456789");
    s3_expect(rig, ASK("GET", "/ranges/k?partNumber=2"), 416, "<Code>InvalidPartNumber</Code>");
}

static void test_conditions(void **state) {
    struct s3_rig *rig = *state;
    const char *none = "If-None-Match: *\n";
    const char *first = "If-Match: \"0cc175b9c0f1b6a831c399e269772661\"\n"; /* of "a" */
    const char *future = "If-Unmodified-Since: Fri, 01 Jan 2100 00:00:00 GMT\n";
    const char *past = "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\n";
    make_bucket(rig, "/conditions");
    s3_expect(rig, ASK("PUT", "/conditions/k", .headers = first, TEXT("a")), 412,
              "<Code>PreconditionFailed</Code>");
    s3_expect(rig, ASK("PUT", "/conditions/k", .headers = none, TEXT("a")), 200, NULL);
    s3_expect(rig, ASK("PUT", "/conditions/k", .headers = none, TEXT("b")), 412,
              "<Code>PreconditionFailed</Code>");
    s3_expect(rig, ASK("GET", "/conditions/k"), 200, "\r\n\r\na");
    s3_expect(rig, ASK("PUT", "/conditions/k", .headers = first, TEXT("b")), 200, NULL);
    s3_expect(rig, ASK("PUT", "/conditions/k", .headers = first, TEXT("c")), 412, NULL);
    s3_expect(rig, ASK("GET", "/conditions/k", .headers = first), 412, "PreconditionFailed");
    s3_expect(rig,
              ASK("GET", "/conditions/k",
                  .headers = "If-None-Match: \"92eb5ffee6ae2fec3ad71c777531578f\"\n"),
              304, "ETag: \"92eb5ffee6ae2fec3ad71c777531578f\"");
    s3_expect(rig, ASK("GET", "/conditions/k", .headers = past), 412, NULL);
    s3_expect(rig, ASK("GET", "/conditions/k", .headers = future), 200, NULL);
    s3_expect(rig, ASK("DELETE", "/conditions/k", .headers = first), 412, NULL);
    s3_expect(rig, ASK("DELETE", "/conditions/k", .headers = "If-Match: *\n"), 204, NULL);
    s3_expect(rig, ASK("GET", "/conditions/k"), 404, NULL);
}

static void test_large_bodies(void **state) {
    struct s3_rig *rig = *state;
    const size_t size = (20u << 20) + 12345;
    uint8_t *bytes = pattern(size);
    make_bucket(rig, "/large");
    s3_expect(rig, ASK("PUT", "/large/k", .body = bnd_slice(bytes, size)), 200, "ETag: ");
    struct s3_answer answer = s3_do(rig, ASK("GET", "/large/k"));
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, size);
    assert_memory_equal(answer.body.data, bytes, size);
    bnd_buf_free(&answer.bytes);
    answer = s3_do(rig, ASK("GET", "/large/k", .headers = "Range: bytes=65530-1310729\n"));
    assert_int_equal(answer.status, 206);
    assert_int_equal(answer.body.len, 1310729 - 65530 + 1);
    assert_memory_equal(answer.body.data, bytes + 65530, answer.body.len);
    bnd_buf_free(&answer.bytes);
    s3_expect(rig, ASK("PUT", "/large/copy", .headers = "x-amz-copy-source: /large/k\n"), 200,
              "<CopyObjectResult");
    answer = s3_do(rig, ASK("GET", "/large/copy"));
    assert_int_equal(answer.body.len, size);
    assert_memory_equal(answer.body.data, bytes, size);
    bnd_buf_free(&answer.bytes);
    free(bytes);
}

/* ---- integrity: what is wrong is stored nowhere
 * ---------------------------------------------- */

static void sign_chunk(const struct s3_signature *signature, const struct s3_signing_key *key,
                       struct bnd_slice data, char previous[65], struct bnd_buf *out) {
    uint8_t hash[32];
    char next[65];
    bnd_sha256(data, hash);
    s3_chunk_sign(signature, key, previous, hash, next);
    memcpy(previous, next, sizeof next);
    bnd_buf_printf(out, "%zx;chunk-signature=%s\r\n", data.len, next);
    bnd_buf_append_slice(out, data);
    bnd_buf_append_str(out, "\r\n");
}

#define CHUNKED_LEN (5 + 17 + 64 + 2 + 70000 + 2 + 1 + 17 + 64 + 2 + 2)

static void chunked_body(struct s3_rig *rig, const struct s3_signature *signature,
                         const struct s3_signing_key *key, struct bnd_buf *out) {
    uint8_t *bytes = pattern(70000);
    char previous[65];
    memcpy(previous, signature->signature.data, 64);
    previous[64] = 0;
    sign_chunk(signature, key, bnd_slice(bytes, 70000), previous, out);
    sign_chunk(signature, key, bnd_slice(bytes, 0), previous, out);
    free(bytes);
}

static void forged_body(struct s3_rig *rig, const struct s3_signature *signature,
                        const struct s3_signing_key *key, struct bnd_buf *out) {
    chunked_body(rig, signature, key, out);
    out->data[1000] ^= 1;
}

static void test_chunked_bodies(void **state) {
    struct s3_rig *rig = *state;
    const char *decoded = "Content-Encoding: aws-chunked\nx-amz-decoded-content-length: 70000\n";
    const char *payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    make_bucket(rig, "/chunked");
    s3_expect(rig,
              ASK("PUT", "/chunked/k", .headers = decoded, .payload = payload,
                  .make_body = chunked_body, .body_len = CHUNKED_LEN),
              200, NULL);
    struct s3_answer answer = s3_do(rig, ASK("GET", "/chunked/k"));
    uint8_t *bytes = pattern(70000);
    assert_int_equal(answer.body.len, 70000);
    assert_memory_equal(answer.body.data, bytes, 70000);
    assert_false(rig_holds(answer.head, "aws-chunked"));
    free(bytes);
    bnd_buf_free(&answer.bytes);
    s3_expect(rig,
              ASK("PUT", "/chunked/forged", .headers = decoded, .payload = payload,
                  .make_body = forged_body, .body_len = CHUNKED_LEN),
              403, "<Code>SignatureDoesNotMatch</Code>");
    s3_expect(rig, ASK("GET", "/chunked/forged"), 404, NULL);
    s3_expect(rig,
              ASK("PUT", "/chunked/t",
                  .headers = "x-amz-decoded-content-length: 9\nx-amz-trailer: "
                             "x-amz-checksum-crc32c\n",
                  .payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                  TEXT("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32c: 4waSgw==\r\n\r\n")),
              200, "x-amz-checksum-crc32c: 4waSgw==");
    s3_expect(rig, ASK("GET", "/chunked/t", .headers = "x-amz-checksum-mode: ENABLED\n"), 200,
              "x-amz-checksum-crc32c: 4waSgw==");
    s3_expect(rig,
              ASK("PUT", "/chunked/bad",
                  .headers = "x-amz-decoded-content-length: 9\nx-amz-trailer: "
                             "x-amz-checksum-crc32c\n",
                  .payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                  TEXT("9\r\n123456780\r\n0\r\nx-amz-checksum-crc32c: 4waSgw==\r\n\r\n")),
              400, "<Code>BadDigest</Code>");
    s3_expect(rig,
              ASK("PUT", "/chunked/bad", .headers = "x-amz-decoded-content-length: 8\n",
                  .payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                  TEXT("9\r\n123456789\r\n0\r\n\r\n")),
              400, "<Code>IncompleteBody</Code>");
    s3_expect(rig,
              ASK("PUT", "/chunked/bad", .payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                  TEXT("0\r\n\r\n")),
              411, "<Code>MissingContentLength</Code>");
    s3_expect(rig, ASK("GET", "/chunked/bad"), 404, NULL);
}

static void test_digests(void **state) {
    struct s3_rig *rig = *state;
    static const char *const sums[] = {
        "Content-MD5: JfnnlDI7RTiF9RgfG2JNCw==\n",
        "x-amz-checksum-crc32: y/Q5Jg==\n",
        "x-amz-checksum-crc32c: 4waSgw==\n",
        "x-amz-checksum-crc64nvme: rosUhgp5mIg=\n",
        "x-amz-checksum-sha1: 98O8HYCOBHMq32eZZczDTKeuNEE=\n",
        "x-amz-checksum-sha256: FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=\n",
    };
    make_bucket(rig, "/digests");
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        s3_expect(rig, ASK("PUT", "/digests/ok", .headers = sums[i], TEXT("123456789")), 200,
                  i == 0 ? NULL : "x-amz-checksum-type: FULL_OBJECT");
        s3_expect(rig, ASK("PUT", "/digests/bad", .headers = sums[i], TEXT("123456780")), 400,
                  "<Code>BadDigest</Code>");
    }
    s3_expect(rig, ASK("PUT", "/digests/bad", .headers = "Content-MD5: xyz\n", TEXT("a")), 400,
              "<Code>InvalidDigest</Code>");
    s3_expect(rig,
              ASK("PUT", "/digests/sha",
                  .payload = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
                  TEXT("123456789")),
              200, NULL);
    s3_expect(rig,
              ASK("PUT", "/digests/bad",
                  .payload = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
                  TEXT("123456780")),
              400, "<Code>XAmzContentSHA256Mismatch</Code>");
    /* a body that ends early: no answer can be relied on, nothing is stored */
    struct s3_answer answer = s3_do(rig, ASK("PUT", "/digests/bad", TEXT("123456789"), .cut = 1));
    assert_true(answer.status == 0 || answer.status >= 400);
    bnd_buf_free(&answer.bytes);
    s3_expect(rig, ASK("GET", "/digests/bad"), 404, "<Code>NoSuchKey</Code>");
}

/* ---- lists
 * ----------------------------------------------------------------------------------- */

/* The text of the first element of that name, or "". */
static void element(struct bnd_slice body, const char *name, char *out, size_t cap) {
    char open[64];
    (void)snprintf(open, sizeof open, "<%s>", name);
    const char *at = memmem(body.data, body.len, open, strlen(open));
    size_t len = 0;
    if (at != NULL) {
        at += strlen(open);
        while (at[len] != '<' && len + 1 < cap) {
            len++;
        }
        memcpy(out, at, len);
    }
    out[len] = 0;
}

static size_t count_of(struct bnd_slice body, const char *text) {
    size_t count = 0;
    const uint8_t *at = body.data;
    const uint8_t *end = body.data + body.len;
    while (at < end && (at = memmem(at, (size_t)(end - at), text, strlen(text))) != NULL) {
        count++;
        at += strlen(text);
    }
    return count;
}

/* Walks all pages; returns the number of keys and prefixes, each checked to come once. */
static size_t walk(struct s3_rig *rig, const char *base, const char *parameter, const char *next) {
    char target[1024];
    char token[512] = "";
    size_t total = 0;
    for (int pages = 0; pages < 50; pages++) {
        (void)snprintf(target, sizeof target, "%s%s%s%s", base, token[0] == 0 ? "" : "&",
                       token[0] == 0 ? "" : parameter, token);
        struct s3_answer answer = s3_do(rig, ASK("GET", target));
        assert_int_equal(answer.status, 200);
        total += count_of(answer.body, "<Key>") + count_of(answer.body, "<CommonPrefixes>");
        bool more = rig_holds(answer.body, "<IsTruncated>true");
        element(answer.body, next, token, sizeof token);
        bnd_buf_free(&answer.bytes);
        if (!more) {
            return total;
        }
        assert_true(token[0] != 0);
    }
    fail_msg("no end of %s", base);
    return 0;
}

static void test_lists(void **state) {
    struct s3_rig *rig = *state;
    static const char *const keys[] = {"a/1", "a/2", "a/3", "b", "c/x/1", "c/y", "d", "e%20%C3%A9"};
    make_bucket(rig, "/lists");
    s3_expect(rig, ASK("GET", "/lists?list-type=2"), 200, "<KeyCount>0</KeyCount>");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char target[64];
        (void)snprintf(target, sizeof target, "/lists/%s", keys[i]);
        s3_expect(rig, ASK("PUT", target, TEXT("v")), 200, NULL);
    }
    assert_int_equal(
        walk(rig, "/lists?list-type=2", "continuation-token=", "NextContinuationToken"), 8);
    assert_int_equal(
        walk(rig, "/lists?list-type=2&max-keys=1", "continuation-token=", "NextContinuationToken"),
        8);
    assert_int_equal(walk(rig, "/lists?list-type=2&delimiter=/&max-keys=1",
                          "continuation-token=", "NextContinuationToken"),
                     5);
    assert_int_equal(
        walk(rig, "/lists?delimiter=/&max-keys=1&encoding-type=url", "marker=", "NextMarker"), 5);
    assert_int_equal(walk(rig, "/lists?max-keys=3&encoding-type=url", "marker=", "NextMarker"), 8);
    s3_expect(rig, ASK("GET", "/lists?list-type=2&delimiter=/&prefix=c/"), 200,
              "<CommonPrefixes><Prefix>c/x/</Prefix></CommonPrefixes>");
    s3_expect(rig, ASK("GET", "/lists?list-type=2&start-after=c/y&max-keys=1"), 200,
              "<Key>d</Key>");
    s3_expect(rig, ASK("GET", "/lists?list-type=2&prefix=e&encoding-type=url"), 200,
              "<Key>e%20%C3%A9</Key>");
    s3_expect(rig, ASK("GET", "/lists?list-type=2&prefix=e"), 200, "<Key>e \xc3\xa9</Key>");
    s3_expect(rig, ASK("GET", "/lists?list-type=2&max-keys=0"), 200,
              "<IsTruncated>false</IsTruncated>");
    s3_expect(rig, ASK("GET", "/lists?list-type=2&max-keys=x"), 400, "InvalidArgument");
    s3_expect(rig, ASK("GET", "/lists?list-type=2&continuation-token=%21"), 400, "InvalidArgument");
    s3_expect(rig, ASK("GET", "/lists?list-type=1"), 400, "InvalidArgument");
    s3_expect(rig, ASK("GET", "/lists?encoding-type=xml"), 400, "InvalidArgument");
}

/* ---- many, copies
 * ---------------------------------------------------------------------------- */

static void test_delete_objects(void **state) {
    struct s3_rig *rig = *state;
    make_bucket(rig, "/many");
    s3_expect(rig, ASK("PUT", "/many/a", TEXT("v")), 200, NULL);
    s3_expect(rig, ASK("PUT", "/many/b%26", TEXT("v")), 200, NULL);
    s3_expect(rig,
              ASK("POST", "/many?delete",
                  TEXT("<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object>"
                       "<Object><Key>b&amp;</Key></Object></Delete>")),
              200, "<Deleted><Key>b&amp;</Key></Deleted>");
    s3_expect(rig, ASK("GET", "/many/a"), 404, "NoSuchKey");
    s3_expect(rig, ASK("GET", "/many/b%26"), 404, "NoSuchKey");
    s3_expect(rig,
              ASK("POST", "/many?delete",
                  TEXT("<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>")),
              200, "\"></DeleteResult>");
    s3_expect(rig, ASK("POST", "/many?delete", TEXT("<Delete></Delete>")), 400, "MalformedXML");
    s3_expect(rig, ASK("POST", "/many?delete", TEXT("<!DOCTYPE x><Delete/>")), 400, "MalformedXML");
    s3_expect(rig, ASK("POST", "/many?delete", TEXT("nonsense")), 400, "MalformedXML");
    s3_expect(
        rig,
        ASK("POST", "/not-there?delete", TEXT("<Delete><Object><Key>a</Key></Object></Delete>")),
        404, "NoSuchBucket");
}

static void test_copies(void **state) {
    struct s3_rig *rig = *state;
    make_bucket(rig, "/copies");
    s3_expect(rig,
              ASK("PUT", "/copies/a",
                  .headers = "Content-Type: text/a\nx-amz-meta-one: 1\nx-amz-meta-two: 2\n",
                  TEXT("bytes")),
              200, NULL);
    s3_expect(rig, ASK("PUT", "/copies/b", .headers = "x-amz-copy-source: /copies/a\n"), 200,
              "<CopyObjectResult");
    s3_expect(rig, ASK("GET", "/copies/b"), 200, "\r\n\r\nbytes");
    s3_expect(rig, ASK("GET", "/copies/b"), 200, "x-amz-meta-one: 1");
    s3_expect(rig, ASK("GET", "/copies/b"), 200, "Content-Type: text/a");
    s3_expect(rig, ASK("PUT", "/copies/a", .headers = "x-amz-copy-source: copies/a\n"), 400,
              "InvalidRequest");
    s3_expect(rig,
              ASK("PUT", "/copies/c",
                  .headers = "x-amz-copy-source: copies/a\nx-amz-metadata-directive: REPLACE\n"
                             "x-amz-meta-three: 3\n"),
              200, NULL);
    s3_expect(rig, ASK("HEAD", "/copies/c"), 200, "x-amz-meta-three: 3");
    struct s3_answer answer = s3_do(rig, ASK("HEAD", "/copies/c"));
    assert_false(rig_holds(answer.head, "x-amz-meta-one"));
    bnd_buf_free(&answer.bytes);
    s3_expect(rig,
              ASK("PUT", "/copies/a",
                  .headers = "x-amz-copy-source: copies/a\nx-amz-metadata-directive: MERGE\n"
                             "x-amz-meta-two: II\n"),
              200, NULL);
    s3_expect(rig, ASK("HEAD", "/copies/a"), 200, "x-amz-meta-two: II");
    s3_expect(rig, ASK("HEAD", "/copies/a"), 200, "x-amz-meta-one: 1");
    s3_expect(rig, ASK("HEAD", "/copies/a"), 200, "Content-Type: text/a");
    s3_expect(rig, ASK("PUT", "/copies/d", .headers = "x-amz-copy-source: copies/none\n"), 404,
              "NoSuchKey");
    s3_expect(rig, ASK("PUT", "/copies/d", .headers = "x-amz-copy-source: no-bucket/a\n"), 404,
              "NoSuchBucket");
    s3_expect(rig,
              ASK("PUT", "/copies/d",
                  .headers = "x-amz-copy-source: copies/a\n"
                             "x-amz-copy-source-if-match: \"other\"\n"),
              412, "PreconditionFailed");
    s3_expect(rig, ASK("GET", "/copies/d"), 404, "NoSuchKey");
}

/* ---- multipart
 * ------------------------------------------------------------------------------- */

#define PART_BYTES (5u << 20)

static void begin_upload(struct s3_rig *rig, const char *target, const char *headers,
                         char out_id[64]) {
    struct s3_answer answer = s3_do(rig, ASK("POST", target, .headers = headers));
    assert_int_equal(answer.status, 200);
    element(answer.body, "UploadId", out_id, 64);
    assert_int_equal(strlen(out_id), 32);
    bnd_buf_free(&answer.bytes);
}

static void put_part(struct s3_rig *rig, const char *key, const char *id, unsigned number,
                     struct bnd_slice body, const char *headers, char out_etag[33]) {
    char target[256];
    (void)snprintf(target, sizeof target, "%s?partNumber=%u&uploadId=%s", key, number, id);
    struct s3_answer answer = s3_do(rig, ASK("PUT", target, .body = body, .headers = headers));
    assert_int_equal(answer.status, 200);
    const uint8_t *etag = memmem(answer.head.data, answer.head.len, "ETag: \"", 7);
    assert_non_null(etag);
    memcpy(out_etag, etag + 7, 32);
    out_etag[32] = 0;
    bnd_buf_free(&answer.bytes);
}

static void test_multipart(void **state) {
    struct s3_rig *rig = *state;
    char id[64];
    char target[256];
    char xml[1024];
    char etags[2][33];
    uint8_t *bytes = pattern(PART_BYTES + 1000);
    make_bucket(rig, "/parts");
    begin_upload(rig, "/parts/k?uploads", "Content-Type: text/parts\n", id);
    s3_expect(rig, ASK("GET", "/parts?uploads"), 200, id);
    s3_expect(rig, ASK("DELETE", "/parts"), 409, "BucketNotEmpty");
    put_part(rig, "/parts/k", id, 1, bnd_slice("old", 3), NULL, etags[0]);
    put_part(rig, "/parts/k", id, 1, bnd_slice(bytes, PART_BYTES), NULL, etags[0]);
    put_part(rig, "/parts/k", id, 7, bnd_slice(bytes + PART_BYTES, 1000), NULL, etags[1]);
    s3_expect(rig, ASK("GET", "/parts/k"), 404, "NoSuchKey");
    (void)snprintf(target, sizeof target, "/parts/k?uploadId=%s", id);
    s3_expect(rig, ASK("GET", target), 200, "<PartNumber>7</PartNumber>");
    const char *form = "<CompleteMultipartUpload><Part><PartNumber>%d</PartNumber><ETag>\"%s\""
                       "</ETag></Part><Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>"
                       "</CompleteMultipartUpload>";
    (void)snprintf(xml, sizeof xml, form, 7, etags[1], 1, etags[0]);
    s3_expect(rig, ASK("POST", target, TEXT(xml)), 400, "InvalidPartOrder");
    (void)snprintf(xml, sizeof xml, form, 1, etags[1], 7, etags[1]);
    s3_expect(rig, ASK("POST", target, TEXT(xml)), 400, "<Code>InvalidPart</Code>");
    (void)snprintf(xml, sizeof xml, form, 1, etags[0], 8, etags[1]);
    s3_expect(rig, ASK("POST", target, TEXT(xml)), 400, "<Code>InvalidPart</Code>");
    s3_expect(rig, ASK("POST", target, TEXT("<CompleteMultipartUpload/>")), 400, "MalformedXML");
    (void)snprintf(xml, sizeof xml, form, 1, etags[0], 7, etags[1]);
    s3_expect(rig, ASK("POST", target, .headers = "If-Match: *\n", TEXT(xml)), 412, NULL);
    s3_expect(rig, ASK("POST", target, TEXT(xml)), 200, "-2&quot;</ETag>");
    s3_expect(rig, ASK("POST", target, TEXT(xml)), 404, "NoSuchUpload");
    struct s3_answer answer = s3_do(rig, ASK("GET", "/parts/k"));
    assert_true(rig_holds(answer.head, "Content-Type: text/parts"));
    assert_int_equal(answer.body.len, PART_BYTES + 1000);
    assert_memory_equal(answer.body.data, bytes, PART_BYTES + 1000);
    bnd_buf_free(&answer.bytes);
    s3_expect(rig, ASK("HEAD", "/parts/k?partNumber=2"), 206, "x-amz-mp-parts-count: 2");
    s3_expect(rig, ASK("HEAD", "/parts/k?partNumber=2"), 206, "Content-Length: 1000");
    free(bytes);
}

static void test_small_and_aborted_parts(void **state) {
    struct s3_rig *rig = *state;
    char id[64];
    char target[256];
    char xml[512];
    char etags[2][33];
    make_bucket(rig, "/aborted");
    begin_upload(rig, "/aborted/k?uploads", NULL, id);
    put_part(rig, "/aborted/k", id, 1, bnd_slice("small", 5), NULL, etags[0]);
    put_part(rig, "/aborted/k", id, 2, bnd_slice("last", 4), NULL, etags[1]);
    (void)snprintf(target, sizeof target, "/aborted/k?uploadId=%s", id);
    (void)snprintf(xml, sizeof xml,
                   "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part>"
                   "<Part><PartNumber>2</PartNumber><ETag>%s</ETag></Part>"
                   "</CompleteMultipartUpload>",
                   etags[0], etags[1]);
    s3_expect(rig, ASK("POST", target, TEXT(xml)), 400, "EntityTooSmall");
    s3_expect(rig, ASK("DELETE", target), 204, NULL);
    s3_expect(rig, ASK("DELETE", target), 404, "NoSuchUpload");
    s3_expect(rig, ASK("GET", target), 404, "NoSuchUpload");
    s3_expect(rig, ASK("GET", "/aborted/k?uploadId=nonsense"), 404, "NoSuchUpload");
    (void)snprintf(target, sizeof target, "/aborted/k?partNumber=1&uploadId=%s", id);
    s3_expect(rig, ASK("PUT", target, TEXT("x")), 404, "NoSuchUpload");
    (void)snprintf(target, sizeof target, "/aborted/k?partNumber=0&uploadId=%s", id);
    s3_expect(rig, ASK("PUT", target, TEXT("x")), 400, "InvalidArgument");
    s3_expect(rig, ASK("DELETE", "/aborted"), 204, NULL);
}

/* One object of two parts with a checksum of that kind; *out_whole is its text. */
static void complete_with(struct s3_rig *rig, enum bnd_checksum kind, const char *type,
                          const uint8_t *bytes, const char *expected) {
    const struct bnd_slice pieces[2] = {bnd_slice(bytes, PART_BYTES),
                                        bnd_slice(bytes + PART_BYTES, 1000)};
    BND_AUTO_BUF struct bnd_buf xml = {0};
    char headers[256];
    char target[256];
    char id[64];
    (void)snprintf(headers, sizeof headers,
                   "x-amz-checksum-algorithm: %s\nx-amz-checksum-type: %s\n",
                   s3_checksum_name(kind), type);
    begin_upload(rig, "/sums/k?uploads", headers, id);
    bnd_buf_append_str(&xml, "<CompleteMultipartUpload>");
    for (unsigned i = 0; i < 2; i++) {
        struct s3_digest digest;
        struct bnd_object_checksums sums;
        BND_AUTO_BUF struct bnd_buf text = {0};
        char etag[33];
        assert_int_equal(s3_digest_init(&digest, 1u << kind), 0);
        s3_digest_update(&digest, pieces[i]);
        s3_digest_final(&digest, &sums);
        s3_digest_free(&digest);
        s3_base64_encode(&text, bnd_slice(sums.value[kind], bnd_checksum_bytes(kind)), false);
        (void)snprintf(headers, sizeof headers, "%s: %.*s\n", s3_checksum_header(kind),
                       (int)text.len, (const char *)text.data);
        put_part(rig, "/sums/k", id, i + 1, pieces[i], headers, etag);
        bnd_buf_printf(&xml,
                       "<Part><PartNumber>%u</PartNumber><ETag>\"%s\"</ETag><%s>%.*s</%s></Part>",
                       i + 1, etag, s3_checksum_element(kind), (int)text.len,
                       (const char *)text.data, s3_checksum_element(kind));
    }
    bnd_buf_append_str(&xml, "</CompleteMultipartUpload>");
    (void)snprintf(target, sizeof target, "/sums/k?uploadId=%s", id);
    (void)snprintf(headers, sizeof headers, "%s: AAAAAA==\n", s3_checksum_header(kind));
    s3_expect(rig, ASK("POST", target, .headers = headers, .body = bnd_buf_slice(&xml)), 400,
              "<Code>BadDigest</Code>");
    (void)snprintf(headers, sizeof headers, "%s: %s\n", s3_checksum_header(kind), expected);
    s3_expect(rig, ASK("POST", target, .headers = headers, .body = bnd_buf_slice(&xml)), 200,
              expected);
    (void)snprintf(headers, sizeof headers, "%s: %s\r\n", s3_checksum_header(kind), expected);
    s3_expect(rig, ASK("HEAD", "/sums/k", .headers = "x-amz-checksum-mode: ENABLED\n"), 200,
              headers);
}

/* The checksum of the whole, or of the parts' checksums, computed here from the bytes. */
static void expected_sum(enum bnd_checksum kind, bool composite, const uint8_t *bytes,
                         char out[128]) {
    const struct bnd_slice pieces[2] = {bnd_slice(bytes, PART_BYTES),
                                        bnd_slice(bytes + PART_BYTES, 1000)};
    struct s3_digest whole;
    struct bnd_object_checksums sums;
    BND_AUTO_BUF struct bnd_buf text = {0};
    assert_int_equal(s3_digest_init(&whole, 1u << kind), 0);
    for (size_t i = 0; i < 2; i++) {
        struct s3_digest part;
        if (!composite) {
            s3_digest_update(&whole, pieces[i]);
            continue;
        }
        assert_int_equal(s3_digest_init(&part, 1u << kind), 0);
        s3_digest_update(&part, pieces[i]);
        s3_digest_final(&part, &sums);
        s3_digest_free(&part);
        s3_digest_update(&whole, bnd_slice(sums.value[kind], bnd_checksum_bytes(kind)));
    }
    s3_digest_final(&whole, &sums);
    s3_digest_free(&whole);
    s3_base64_encode(&text, bnd_slice(sums.value[kind], bnd_checksum_bytes(kind)), false);
    (void)snprintf(out, 128, "%.*s%s", (int)text.len, (const char *)text.data,
                   composite ? "-2" : "");
}

static void test_checksums_of_parts(void **state) {
    struct s3_rig *rig = *state;
    static const struct {
        enum bnd_checksum kind;
        const char *type;
    } cases[] = {
        {BND_CHECKSUM_CRC32, "FULL_OBJECT"},
        {BND_CHECKSUM_CRC32, "COMPOSITE"},
        {BND_CHECKSUM_CRC64NVME, "FULL_OBJECT"},
        {BND_CHECKSUM_SHA256, "COMPOSITE"},
    };
    uint8_t *bytes = pattern(PART_BYTES + 1000);
    make_bucket(rig, "/sums");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[128];
        expected_sum(cases[i].kind, cases[i].type[0] == 'C', bytes, expected);
        complete_with(rig, cases[i].kind, cases[i].type, bytes, expected);
    }
    s3_expect(rig,
              ASK("POST", "/sums/k?uploads",
                  .headers = "x-amz-checksum-algorithm: SHA256\nx-amz-checksum-type: "
                             "FULL_OBJECT\n"),
              400, "InvalidRequest");
    free(bytes);
}

static void test_part_copies(void **state) {
    struct s3_rig *rig = *state;
    char id[64];
    char target[256];
    char xml[256];
    char etag[64];
    make_bucket(rig, "/part-copies");
    s3_expect(rig, ASK("PUT", "/part-copies/source", TEXT("0123456789")), 200, NULL);
    begin_upload(rig, "/part-copies/k?uploads", NULL, id);
    (void)snprintf(target, sizeof target, "/part-copies/k?partNumber=1&uploadId=%s", id);
    s3_expect(rig,
              ASK("PUT", target,
                  .headers = "x-amz-copy-source: part-copies/source\n"
                             "x-amz-copy-source-range: bytes=2-10\n"),
              400, "InvalidArgument");
    struct s3_answer answer = s3_do(rig, ASK("PUT", target,
                                             .headers = "x-amz-copy-source: part-copies/source\n"
                                                        "x-amz-copy-source-range: bytes=2-5\n"));
    assert_int_equal(answer.status, 200);
    element(answer.body, "ETag", etag, sizeof etag);
    bnd_buf_free(&answer.bytes);
    (void)snprintf(target, sizeof target, "/part-copies/k?uploadId=%s", id);
    (void)snprintf(xml, sizeof xml,
                   "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part>"
                   "</CompleteMultipartUpload>",
                   etag);
    s3_expect(rig, ASK("POST", target, TEXT(xml)), 200, "-1&quot;</ETag>");
    s3_expect(rig, ASK("GET", "/part-copies/k"), 200, "\r\n\r\n2345");
}

/* ---- who asks
 * -------------------------------------------------------------------------------- */

static void test_strangers(void **state) {
    struct s3_rig *rig = *state;
    s3_expect(rig, ASK("GET", "/", .is_unsigned = true), 403, "<Code>AccessDenied</Code>");
    s3_expect(rig, ASK("GET", "/", .access_key = "BNDNOBODY"), 403,
              "<Code>InvalidAccessKeyId</Code>");
    s3_expect(rig, ASK("GET", "/", .secret = "wrong"), 403, "<Code>SignatureDoesNotMatch</Code>");
    s3_expect(rig, ASK("GET", "/?versioning"), 501, "<Code>NotImplemented</Code>");
    s3_expect(rig, ASK("PATCH", "/bkt/k"), 405, "<Code>MethodNotAllowed</Code>");
    s3_expect(rig, ASK("GET", "/"), 200, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_path_segments),
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_chunked_bodies),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_delete_objects),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_multipart),
        cmocka_unit_test(test_small_and_aborted_parts),
        cmocka_unit_test(test_checksums_of_parts),
        cmocka_unit_test(test_part_copies),
        cmocka_unit_test(test_strangers),
    };
    return cmocka_run_group_tests(tests, rig_start, rig_end);
}
