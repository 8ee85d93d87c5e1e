/* The aws-chunked decoder: what it makes of a body must not depend on how the body is cut, and
 * never be more than the body. The first byte picks the coding and the cut. */
#include "gateway/s3/chunked.h"
#include "tests/fuzz/fuzz.h"

static enum s3_chunked_result decode(enum s3_payload payload, struct bnd_slice body, size_t step,
                                     struct bnd_buf *out) {
    static const char seed[] = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    struct s3_signature signature = {.payload = payload,
                                     .signature = bnd_slice_str(seed),
                                     .time = bnd_slice_str("20130524T000000Z"),
                                     .date = bnd_slice_str("20130524"),
                                     .region = bnd_slice_str("us-east-1")};
    const struct s3_signing_key key = {{7}};
    struct s3_chunked decoder;
    enum s3_chunked_result result = S3_CHUNKED_MORE;
    int rv = s3_chunked_init(&decoder, &signature, &key);
    BND_ASSERT(rv == 0);
    for (size_t at = 0; at < body.len && result == S3_CHUNKED_MORE; at += step) {
        struct bnd_slice in = fuzz_piece(body, at, step);
        struct bnd_slice piece;
        while ((result = s3_chunked_next(&decoder, &in, &piece)) == S3_CHUNKED_DATA) {
            BND_ASSERT(piece.len > 0);
            bnd_buf_append_slice(out, piece);
        }
        BND_ASSERT(result != S3_CHUNKED_MORE || in.len == 0);
    }
    if (result == S3_CHUNKED_END) {
        for (size_t i = 0; i < decoder.trailer_count; i++) {
            BND_ASSERT(bnd_http_token_valid(decoder.trailers[i].name));
            BND_ASSERT(bnd_http_value_valid(decoder.trailers[i].value));
        }
    }
    s3_chunked_free(&decoder);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    BND_AUTO_BUF struct bnd_buf whole = {0};
    BND_AUTO_BUF struct bnd_buf cut = {0};
    enum s3_payload payload = S3_PAYLOAD_CHUNKED_SIGNED + data[0] % 3;
    size_t step = 1 + (data[0] >> 2) % 31;
    struct bnd_slice body = bnd_slice(data + 1, size - 1);
    enum s3_chunked_result first = decode(payload, body, body.len + 1, &whole);
    enum s3_chunked_result second = decode(payload, body, step, &cut);
    BND_ASSERT(first == second);
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&whole), bnd_buf_slice(&cut)));
    BND_ASSERT(whole.len <= body.len);
    return 0;
}
