/* multipart/form-data: what is made of a body must not depend on how it is cut, and never be more
 * than the body. */
#include "gateway/kv/multipart.h"
#include "tests/fuzz/fuzz.h"

/* Appends every part's name and bytes; returns the last event or code. */
static int parse(struct bnd_slice body, size_t step, struct bnd_buf *out) {
    static const char type[] = "multipart/form-data; boundary=b";
    struct kv_multipart form;
    int event = kv_multipart_init(&form, bnd_slice_str(type));
    BND_ASSERT(event == 0);
    event = KV_MULTIPART_MORE;
    for (size_t at = 0; at < body.len && event == KV_MULTIPART_MORE; at += step) {
        struct bnd_slice in = fuzz_piece(body, at, step);
        struct bnd_slice text;
        while ((event = kv_multipart_next(&form, &in, &text)) > KV_MULTIPART_MORE &&
               event != KV_MULTIPART_DONE) {
            BND_ASSERT(event == KV_MULTIPART_PART || text.len > 0);
            if (event == KV_MULTIPART_PART) {
                bnd_buf_u8(out, 0);
            }
            bnd_buf_append_slice(out, text);
        }
        BND_ASSERT(event < 0 || in.len == 0);
    }
    return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    BND_AUTO_BUF struct bnd_buf whole = {0};
    BND_AUTO_BUF struct bnd_buf cut = {0};
    size_t step = size == 0 ? 1 : data[0] % 16u + 1;
    struct bnd_slice body = bnd_slice(data + (size > 0), size - (size > 0));
    int first = parse(body, body.len + 1, &whole);
    int second = parse(body, step, &cut);
    BND_ASSERT(first == second);
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&whole), bnd_buf_slice(&cut)));
    BND_ASSERT(whole.len <= 2 * body.len);
    /* The content type's own parameters. */
    struct kv_multipart form;
    (void)kv_multipart_init(&form, body); /* any refusal is well */
    return 0;
}
