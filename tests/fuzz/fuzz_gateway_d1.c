/* Bodies of D1 queries: whole and cut they are the same, and what is taken is a request that its
 * decoder takes. */
#include "gateway/d1/body.h"
#include "tests/fuzz/fuzz.h"

static int read_body(struct d1_body *body, struct bnd_slice text, bool rest, size_t step) {
    static const struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .script = true};
    int rv = 0;
    d1_body_init(body, &header, rest);
    for (size_t at = 0; at < text.len && rv == 0; at += step) {
        rv = d1_body_feed(body, fuzz_piece(text, at, step));
    }
    return rv != 0 ? rv : d1_body_end(body);
}

static void check(struct bnd_slice text, bool rest, size_t step) {
    struct d1_body whole;
    struct d1_body cut;
    int rv = read_body(&whole, text, rest, text.len + 1);
    int again = read_body(&cut, text, rest, step);
    BND_ASSERT(rv == again && rv != BND_NOMEM);
    if (rv == 0) {
        struct bnd_sql_request request;
        BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&whole.request), bnd_buf_slice(&cut.request)));
        BND_ASSERT(bnd_sql_request_decode(bnd_buf_slice(&whole.request), &request) == 0);
        BND_ASSERT(request.statements_count > 0);
    } else {
        BND_ASSERT(whole.why[0] != 0 && cut.why[0] != 0); /* what is met first may differ */
    }
    d1_body_free(&whole);
    d1_body_free(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_slice text = bnd_slice(data, size);
    size_t step = size == 0 ? 1 : data[0] % 7u + 1;
    check(text, false, step);
    check(text, true, step);
    return 0;
}
