/* Signatures: the examples of the Amazon S3 API reference ("Signature Calculations for the
 * Authorization Header", "... Transferring Payload in Multiple Chunks", "... Including Trailing
 * Headers", "Authenticating Requests: Using Query Parameters"), and every way to spoil them. */
#include "gateway/s3/chunked.h"
#include "tests/unit/gateway/s3_head.h"

#include <stdio.h>

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SCOPE "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
#define THEN_MS UINT64_C(1369353600000) /* 2013-05-24T00:00:00Z */
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

#define AUTH(headers, signature)                                                                   \
    "Authorization: AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=" headers                 \
    ", Signature=" signature "\n"

#define GET_OBJECT_WITH(range, signature)                                                          \
    "GET /test.txt HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\nRange: " range "\n"             \
    "x-amz-content-sha256: " EMPTY "\nx-amz-date: 20130524T000000Z\n" AUTH(                        \
        "host;range;x-amz-content-sha256;x-amz-date", signature)
#define GET_OBJECT                                                                                 \
    GET_OBJECT_WITH("bytes=0-9", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb4" \
                                 "1")

#define PRESIGNED_QUERY                                                                            \
    "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F"        \
    "us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"                \
    "&X-Amz-SignedHeaders=host&X-Amz-Signature="                                                   \
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
#define PRESIGNED                                                                                  \
    "GET /test.txt" PRESIGNED_QUERY " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"

/* What a client that knows the secret is told. */
static enum s3_error check_at(const char *lines, uint64_t now_ms, const char *secret) {
    struct s3_test_head *made = s3_test_head_make(lines);
    struct s3_signature signature;
    struct s3_signing_key key;
    const char *why = NULL;
    assert_true(s3_signature_present(&made->head));
    enum s3_error error = s3_signature_parse(&made->head, now_ms, &signature, &why);
    assert_true(error == S3_OK || why != NULL);
    if (error == S3_OK) {
        s3_signing_key_derive(bnd_slice_str(secret), signature.date, signature.region, &key);
        error = s3_signature_verify(&signature, &made->head, &key);
    }
    s3_test_head_free(made);
    return error;
}

static void expect(const char *lines, enum s3_error expected) {
    enum s3_error got = check_at(lines, THEN_MS, SECRET);
    if (got != expected) {
        fail_msg("%s, expected %s:\n%s", s3_error_code(got), s3_error_code(expected), lines);
    }
}

static void test_examples(void **state) {
    (void)state;
    expect(GET_OBJECT, S3_OK);
    expect("PUT /test%24file.text HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"
           "Content-Length: 25\n"
           "Date: Fri, 24 May 2013 00:00:00 GMT\nx-amz-date: 20130524T000000Z\n"
           "x-amz-storage-class: REDUCED_REDUNDANCY\nx-amz-content-sha256: "
           "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n" AUTH(
               "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
               "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
           S3_OK);
    expect("GET /?lifecycle HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"
           "x-amz-date: 20130524T000000Z\nx-amz-content-sha256: " EMPTY
           "\n" AUTH("host;x-amz-content-sha256;x-amz-date",
                     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
           S3_OK);
    expect("GET /?max-keys=2&prefix=J HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"
           "x-amz-date: 20130524T000000Z\nx-amz-content-sha256: " EMPTY
           "\n" AUTH("host;x-amz-content-sha256;x-amz-date",
                     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
           S3_OK);
    expect(PRESIGNED, S3_OK);
}

static void test_other_spellings_have_the_same_signature(void **state) {
    (void)state;
    /* parameters in another order, names of headers in another case, more blanks */
    expect("GET /?prefix=J&max-keys=2 HTTP/1.1\nhOST:   examplebucket.s3.amazonaws.com\n"
           "X-Amz-Date: 20130524T000000Z\nX-Amz-Content-SHA256: " EMPTY
           "\n" AUTH("host;x-amz-content-sha256;x-amz-date",
                     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
           S3_OK);
    expect("PUT /test$file.text HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"
           "Date: Fri, 24 May  2013   00:00:00 GMT\nx-amz-date: 20130524T000000Z\n"
           "x-amz-storage-class: REDUCED_REDUNDANCY\nx-amz-content-sha256: "
           "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n" AUTH(
               "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
               "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
           S3_OK);
}

static void test_forgeries(void **state) {
    (void)state;
    expect(GET_OBJECT_WITH("bytes=0-8",
                           "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
           S3_SignatureDoesNotMatch);
    expect(GET_OBJECT_WITH("bytes=0-9",
                           "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb42"),
           S3_SignatureDoesNotMatch);
    assert_int_equal(check_at(GET_OBJECT, THEN_MS, SECRET "x"), S3_SignatureDoesNotMatch);
    expect("GET /test.txt" PRESIGNED_QUERY "&partNumber=2 HTTP/1.1\n"
           "Host: examplebucket.s3.amazonaws.com\n",
           S3_SignatureDoesNotMatch);
    expect("GET /other.txt" PRESIGNED_QUERY " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n",
           S3_SignatureDoesNotMatch);
    expect("PUT /test.txt" PRESIGNED_QUERY " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n",
           S3_SignatureDoesNotMatch);
    expect("GET /test.txt" PRESIGNED_QUERY " HTTP/1.1\nHost: otherbucket.s3.amazonaws.com\n",
           S3_SignatureDoesNotMatch);
    /* A header that changes what the request means must be signed. */
    expect("GET /test.txt" PRESIGNED_QUERY " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n"
           "x-amz-copy-source: /a/b\n",
           S3_AccessDenied);
    expect("GET /t HTTP/1.1\nHost: h\nx-amz-content-sha256: " EMPTY
           "\nx-amz-date: 20130524T000000Z\n" AUTH(
               "x-amz-content-sha256;x-amz-date",
               "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
           S3_AccessDenied);
}

static void test_times(void **state) {
    (void)state;
    const uint64_t minute = 60000;
    assert_int_equal(check_at(GET_OBJECT, THEN_MS + 15 * minute, SECRET), S3_OK);
    assert_int_equal(check_at(GET_OBJECT, THEN_MS - 15 * minute, SECRET), S3_OK);
    assert_int_equal(check_at(GET_OBJECT, THEN_MS + 15 * minute + 1, SECRET),
                     S3_RequestTimeTooSkewed);
    assert_int_equal(check_at(GET_OBJECT, THEN_MS - 15 * minute - 1, SECRET),
                     S3_RequestTimeTooSkewed);
    assert_int_equal(check_at(PRESIGNED, THEN_MS + 86400 * UINT64_C(1000), SECRET), S3_OK);
    assert_int_equal(check_at(PRESIGNED, THEN_MS + 86400 * UINT64_C(1000) + 1, SECRET),
                     S3_AccessDenied);
    assert_int_equal(check_at(PRESIGNED, THEN_MS - 16 * minute, SECRET), S3_AccessDenied);
}

/* One presigned parameter replaced. */
static void expect_presigned(const char *credential, const char *date, const char *expires,
                             enum s3_error expected) {
    char lines[1024];
    (void)snprintf(lines, sizeof lines,
                   "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%s&X-Amz-Date="
                   "%s&X-Amz-Expires=%s&X-Amz-SignedHeaders=host&X-Amz-Signature=" EMPTY
                   " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n",
                   credential, date, expires);
    expect(lines, expected);
}

static void test_malformed(void **state) {
    (void)state;
    const char *good = "A%2F20130524%2Fauto%2Fs3%2Faws4_request";
    const char *date = "20130524T000000Z";
    expect_presigned(good, date, "1", S3_SignatureDoesNotMatch);
    expect_presigned(good, date, "604800", S3_SignatureDoesNotMatch);
    expect_presigned(good, date, "604801", S3_AuthorizationQueryParametersError);
    expect_presigned(good, date, "0", S3_AuthorizationQueryParametersError);
    expect_presigned(good, date, "-1", S3_AuthorizationQueryParametersError);
    expect_presigned(good, "20130524T000000", "60", S3_AuthorizationQueryParametersError);
    expect_presigned(good, "20131324T000000Z", "60", S3_AuthorizationQueryParametersError);
    expect_presigned(good, "20130525T000000Z", "60", S3_AuthorizationQueryParametersError);
    expect_presigned("A%2F20130524%2Fauto%2Fec2%2Faws4_request", date, "60",
                     S3_AuthorizationQueryParametersError);
    expect_presigned("A%2F20130524%2Feu-west-1%2Fs3%2Faws4_request", date, "60",
                     S3_AuthorizationQueryParametersError);
    expect_presigned("20130524%2Fauto%2Fs3%2Faws4_request", date, "60",
                     S3_AuthorizationQueryParametersError);
    expect_presigned("%2F20130524%2Fauto%2Fs3%2Faws4_request", date, "60",
                     S3_AuthorizationQueryParametersError);
    expect("GET / HTTP/1.1\nHost: h\nAuthorization: Bearer x\n", S3_AuthorizationHeaderMalformed);
    expect("GET / HTTP/1.1\nHost: h\nAuthorization: AWS4-HMAC-SHA256 Credential=" SCOPE
           ", SignedHeaders=host\n",
           S3_AuthorizationHeaderMalformed);
    expect("GET / HTTP/1.1\nHost: h\n" AUTH("host", EMPTY), S3_AccessDenied); /* no date */
    expect("GET / HTTP/1.1\nHost: h\nx-amz-date: 20130524T000000Z\n" AUTH("host;x-amz-date", EMPTY),
           S3_MissingSecurityHeader);
    expect("GET / HTTP/1.1\nHost: h\nx-amz-date: 20130524T000000Z\nx-amz-content-sha256: "
           "nonsense\n" AUTH("host;x-amz-content-sha256;x-amz-date", EMPTY),
           S3_InvalidArgument);
}

static void test_absence(void **state) {
    (void)state;
    struct s3_test_head *made = s3_test_head_make("GET /?list-type=2 HTTP/1.1\nHost: h\n");
    assert_false(s3_signature_present(&made->head));
    s3_test_head_free(made);
}

/* ---- chunks
 * ----------------------------------------------------------------------------------- */

#define CHUNKED_HEAD(payload, more, headers, signature)                                            \
    "PUT /examplebucket/chunkObject.txt HTTP/1.1\nHost: s3.amazonaws.com\n"                        \
    "x-amz-date: 20130524T000000Z\nx-amz-storage-class: REDUCED_REDUNDANCY\n"                      \
    "x-amz-content-sha256: " payload "\nContent-Encoding: aws-chunked\n"                           \
    "x-amz-decoded-content-length: 66560\n" more                                                   \
    AUTH(headers, signature)

#define SIGNED_HEAD                                                                                \
    CHUNKED_HEAD("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "Content-Length: 66824\n",                  \
                 "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"           \
                 "x-amz-decoded-content-length;x-amz-storage-class",                               \
                 "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
#define TRAILER_HEAD                                                                               \
    CHUNKED_HEAD("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",                                     \
                 "x-amz-trailer: x-amz-checksum-crc32c\nTransfer-Encoding: chunked\n",             \
                 "content-encoding;host;x-amz-content-sha256;x-amz-date;"                          \
                 "x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",                 \
                 "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")

static void append_chunk(struct bnd_buf *out, size_t len, const char *signature) {
    bnd_buf_printf(out, "%zx;chunk-signature=%s\r\n", len, signature);
    for (size_t i = 0; i < len; i++) {
        bnd_buf_u8(out, 'a');
    }
    if (len > 0) {
        bnd_buf_append_str(out, "\r\n");
    }
}

/* Decodes body in pieces of `step` bytes; *out_count is how many 'a' came. */
static enum s3_chunked_result decode(const char *lines, const struct bnd_buf *body, size_t step,
                                     size_t *out_count, struct s3_chunked *decoder) {
    struct s3_test_head *made = s3_test_head_make(lines);
    struct s3_signature signature;
    struct s3_signing_key key;
    const char *why = NULL;
    enum s3_chunked_result result = S3_CHUNKED_MORE;
    assert_int_equal(s3_signature_parse(&made->head, THEN_MS, &signature, &why), S3_OK);
    s3_signing_key_derive(bnd_slice_str(SECRET), signature.date, signature.region, &key);
    assert_int_equal(s3_signature_verify(&signature, &made->head, &key), S3_OK);
    assert_int_equal(s3_chunked_init(decoder, &signature, &key), 0);
    *out_count = 0;
    for (size_t at = 0; at < body->len && result == S3_CHUNKED_MORE; at += step) {
        struct bnd_slice in =
            bnd_slice(body->data + at, step < body->len - at ? step : body->len - at);
        struct bnd_slice data;
        while ((result = s3_chunked_next(decoder, &in, &data)) == S3_CHUNKED_DATA) {
            for (size_t i = 0; i < data.len; i++) {
                *out_count += data.data[i] == 'a' ? 1 : 0;
            }
        }
    }
    s3_test_head_free(made);
    return result;
}

static void signed_body(struct bnd_buf *out) {
    append_chunk(out, 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
    append_chunk(out, 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
    append_chunk(out, 0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    bnd_buf_append_str(out, "\r\n");
}

static void test_signed_chunks(void **state) {
    (void)state;
    static const size_t steps[] = {1, 7, 4096, 65536, 100000};
    BND_AUTO_BUF struct bnd_buf body = {0};
    signed_body(&body);
    assert_int_equal(body.len, 66824); /* as the example says */
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct s3_chunked decoder;
        size_t count = 0;
        assert_int_equal(decode(SIGNED_HEAD, &body, steps[i], &count, &decoder), S3_CHUNKED_END);
        assert_int_equal(count, 66560);
        assert_int_equal(decoder.trailer_count, 0);
        s3_chunked_free(&decoder);
    }
}

static void test_any_changed_byte_is_noticed(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf body = {0};
    signed_body(&body);
    for (size_t at = 0; at < body.len; at += at < 100 || at + 300 > body.len ? 1 : 8191) {
        struct s3_chunked decoder;
        size_t count = 0;
        body.data[at] ^= 1;
        if (decode(SIGNED_HEAD, &body, 4096, &count, &decoder) == S3_CHUNKED_END) {
            fail_msg("a change of byte %zu passed", at);
        }
        s3_chunked_free(&decoder);
        body.data[at] ^= 1;
    }
}

static void test_changed_data_is_forged(void **state) {
    (void)state;
    BND_AUTO_BUF struct bnd_buf body = {0};
    BND_AUTO_BUF struct bnd_buf shifted = {0};
    struct s3_chunked decoder;
    size_t count = 0;
    signed_body(&body);
    /* one byte less in the first chunk, said honestly */
    append_chunk(&shifted, 65535,
                 "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
    assert_int_equal(decode(SIGNED_HEAD, &shifted, 4096, &count, &decoder), S3_CHUNKED_FORGED);
    s3_chunked_free(&decoder);
    /* the chunks in another order */
    bnd_buf_reset(&shifted);
    append_chunk(&shifted, 1024,
                 "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
    assert_int_equal(decode(SIGNED_HEAD, &shifted, 4096, &count, &decoder), S3_CHUNKED_FORGED);
    s3_chunked_free(&decoder);
    /* the end before the data */
    bnd_buf_reset(&shifted);
    append_chunk(&shifted, 0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    assert_int_equal(decode(SIGNED_HEAD, &shifted, 4096, &count, &decoder), S3_CHUNKED_FORGED);
    s3_chunked_free(&decoder);
    /* cut short */
    body.len -= 1;
    assert_int_equal(decode(SIGNED_HEAD, &body, 4096, &count, &decoder), S3_CHUNKED_MORE);
    s3_chunked_free(&decoder);
}

static void trailer_body(struct bnd_buf *out, const char *line_end, const char *checksum) {
    append_chunk(out, 65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2");
    append_chunk(out, 1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7");
    append_chunk(out, 0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992");
    bnd_buf_printf(out,
                   "x-amz-checksum-crc32c:%s%sx-amz-trailer-signature:"
                   "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
                   checksum, line_end);
}

static void test_signed_trailers(void **state) {
    (void)state;
    static const char *const ends[] = {"\r\n", "\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        BND_AUTO_BUF struct bnd_buf body = {0};
        struct s3_chunked decoder;
        size_t count = 0;
        trailer_body(&body, ends[i], "sOO8/Q==");
        assert_int_equal(decode(TRAILER_HEAD, &body, 1000, &count, &decoder), S3_CHUNKED_END);
        assert_int_equal(decoder.trailer_count, 1);
        assert_true(bnd_slice_eq(decoder.trailers[0].name, bnd_slice_str("x-amz-checksum-crc32c")));
        assert_true(bnd_slice_eq(decoder.trailers[0].value, bnd_slice_str("sOO8/Q==")));
        s3_chunked_free(&decoder);
    }
    BND_AUTO_BUF struct bnd_buf forged = {0};
    struct s3_chunked decoder;
    size_t count = 0;
    trailer_body(&forged, "\r\n", "sOO8/A==");
    assert_int_equal(decode(TRAILER_HEAD, &forged, 1000, &count, &decoder), S3_CHUNKED_FORGED);
    s3_chunked_free(&decoder);
    /* without the signature of the trailers */
    bnd_buf_reset(&forged);
    trailer_body(&forged, "\r\n\r\n", "sOO8/Q==");
    assert_int_equal(decode(TRAILER_HEAD, &forged, 1000, &count, &decoder), S3_CHUNKED_BAD);
    s3_chunked_free(&decoder);
}

/* ---- unsigned chunks: the grammar
 * ----------------------------------------------------------- */

static void check_unsigned(const char *text, enum s3_chunked_result expected) {
    for (size_t step = 1; step <= strlen(text); step++) {
        struct s3_signature signature = {.payload = S3_PAYLOAD_CHUNKED_UNSIGNED_TRAILER,
                                         .signature = bnd_slice_str(EMPTY)};
        struct s3_signing_key key = {{0}};
        struct s3_chunked decoder;
        enum s3_chunked_result result = S3_CHUNKED_MORE;
        size_t at = 0;
        assert_int_equal(s3_chunked_init(&decoder, &signature, &key), 0);
        for (; at < strlen(text) && result == S3_CHUNKED_MORE; at += step) {
            size_t n = step < strlen(text) - at ? step : strlen(text) - at;
            struct bnd_slice in = bnd_slice(text + at, n);
            struct bnd_slice data;
            do {
                result = s3_chunked_next(&decoder, &in, &data);
            } while (result == S3_CHUNKED_DATA);
        }
        if (result != expected) {
            fail_msg("step %zu: %d, expected %d: %s", step, (int)result, (int)expected, text);
        }
        s3_chunked_free(&decoder);
    }
}

static void test_unsigned_grammar(void **state) {
    (void)state;
    check_unsigned("0\r\n\r\n", S3_CHUNKED_END);
    check_unsigned("3\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32: AAAAAA==\r\n\r\n",
                   S3_CHUNKED_END);
    check_unsigned("3\r\nabc\r\n0\r\n", S3_CHUNKED_MORE);
    check_unsigned("\r\n", S3_CHUNKED_BAD);
    check_unsigned("g\r\n", S3_CHUNKED_BAD);
    check_unsigned("3;chunk-signature=" EMPTY "\r\nabc\r\n", S3_CHUNKED_BAD);
    check_unsigned("3 \r\nabc\r\n", S3_CHUNKED_BAD);
    check_unsigned("3\nabc\r\n", S3_CHUNKED_BAD);
    check_unsigned("3\r\nabcd\r\n", S3_CHUNKED_BAD);
    check_unsigned("3\r\nabc\r0", S3_CHUNKED_BAD);
    check_unsigned("ffffffffff\r\n", S3_CHUNKED_BAD);
    check_unsigned("00000000000000000\r\n", S3_CHUNKED_BAD);
    check_unsigned("0\r\nno colon\r\n", S3_CHUNKED_BAD);
    check_unsigned("0\r\n: v\r\n", S3_CHUNKED_BAD);
    check_unsigned("0\r\na b: v\r\n", S3_CHUNKED_BAD);
    check_unsigned("0\r\na: v\x01\r\n", S3_CHUNKED_BAD);
    check_unsigned("0\r\nx-amz-trailer-signature:" EMPTY "\r\n", S3_CHUNKED_BAD);
    check_unsigned("0\r\na:1\r\nb:1\r\nc:1\r\nd:1\r\ne:1\r\nf:1\r\ng:1\r\nh:1\r\ni:1\r\n",
                   S3_CHUNKED_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_other_spellings_have_the_same_signature),
        cmocka_unit_test(test_forgeries),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_absence),
        cmocka_unit_test(test_signed_chunks),
        cmocka_unit_test(test_any_changed_byte_is_noticed),
        cmocka_unit_test(test_changed_data_is_forged),
        cmocka_unit_test(test_signed_trailers),
        cmocka_unit_test(test_unsigned_grammar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
