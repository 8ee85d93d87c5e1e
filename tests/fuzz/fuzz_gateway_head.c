/* Heads: no crash, slices inside the head, and one reading; then what follows as a chunked body,
 * cut in two places: the same bytes, the same end. */
#include "gateway/http/chunked.h"
#include "gateway/http/head.h"
#include "tests/fuzz/fuzz.h"

static void assert_inside(struct bnd_slice part, struct bnd_slice whole) {
    if (part.len > 0) {
        BND_ASSERT(part.data >= whole.data);
        BND_ASSERT(part.data + part.len <= whole.data + whole.len);
    }
}

static void check_head(struct bnd_slice text) {
    struct bnd_http_header fields[BND_HTTP_HEADERS_MAX];
    struct bnd_http_head head = {.headers = fields};
    const char *why = NULL;
    unsigned status = bnd_http_head_parse(text, BND_HTTP_HEADERS_MAX, &head, &why);
    if (status != 0) {
        BND_ASSERT(status >= 400 && status <= 505 && why != NULL);
        return;
    }
    BND_ASSERT(text.len >= 4 && memcmp(text.data + text.len - 4, "\r\n\r\n", 4) == 0);
    BND_ASSERT(!(head.chunked && head.has_content_length));
    assert_inside(head.target, text);
    assert_inside(head.query, text);
    assert_inside(head.host, text);
    for (size_t i = 0; i < head.header_count; i++) {
        assert_inside(fields[i].name, text);
        assert_inside(fields[i].value, text);
        BND_ASSERT(bnd_http_token_valid(fields[i].name) && bnd_http_value_valid(fields[i].value));
    }
    size_t checked = 0;
    BND_ASSERT(bnd_http_head_scan(text, &checked) == (long)text.len); /* no end before its end */
}

/* Decodes text in two pieces; returns the result, and what was decoded as a sum and a length. */
static enum bnd_http_chunked_result decode(struct bnd_slice text, size_t cut, uint64_t *out_sum,
                                           size_t *out_used) {
    struct bnd_http_chunked decoder = {0};
    struct bnd_slice pieces[2] = {bnd_slice(text.data, cut),
                                  bnd_slice(text.data + cut, text.len - cut)};
    enum bnd_http_chunked_result result = BND_HTTP_CHUNKED_MORE;
    *out_sum = 0;
    *out_used = 0;
    for (unsigned i = 0; i < 2 && result == BND_HTTP_CHUNKED_MORE; i++) {
        size_t before = pieces[i].len;
        do {
            struct bnd_slice part = {0};
            result = bnd_http_chunked_next(&decoder, &pieces[i], &part);
            for (size_t n = 0; result == BND_HTTP_CHUNKED_DATA && n < part.len; n++) {
                *out_sum = *out_sum * 31 + part.data[n];
            }
        } while (result == BND_HTTP_CHUNKED_DATA);
        *out_used += before - pieces[i].len;
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_slice text = bnd_slice(data, size);
    size_t checked = 0;
    long len = bnd_http_head_scan(text, &checked);
    if (len > 0) {
        check_head(bnd_slice(data, (size_t)len));
        text = bnd_slice(data + len, size - (size_t)len);
    }
    check_head(bnd_slice(data, size));
    uint64_t sums[2];
    size_t used[2];
    enum bnd_http_chunked_result whole = decode(text, 0, &sums[0], &used[0]);
    enum bnd_http_chunked_result cut = decode(text, text.len / 2, &sums[1], &used[1]);
    BND_ASSERT(whole == cut && sums[0] == sums[1] && used[0] == used[1]);
    uint8_t out[256];
    size_t out_len = 0;
    if (size <= sizeof out &&
        bnd_http_percent_decode(bnd_slice(data, size), 0, out, &out_len) == 0) {
        BND_ASSERT(out_len <= size);
    }
    return 0;
}
