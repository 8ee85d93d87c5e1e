/* The JSON scanner against jansson, and against itself with the text cut otherwise. */
#include "base/utf8.h"
#include "gateway/json_scan.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

static int tell(void *data, enum gateway_json_event event, struct bnd_slice bytes, bool last) {
    struct bnd_buf *out = data;
    bnd_buf_append_slice(out, bytes);
    if (last) {
        bnd_buf_u8(out, (uint8_t)event);
    }
    return 0;
}

static bool scan(struct bnd_slice text, size_t step, struct bnd_buf *out) {
    struct gateway_json json;
    gateway_json_init(&json, tell, out);
    for (size_t at = 0; at < text.len; at += step) {
        if (gateway_json_feed(&json, fuzz_piece(text, at, step)) != 0) {
            return false;
        }
    }
    return gateway_json_end(&json) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    BND_AUTO_BUF struct bnd_buf whole = {0};
    BND_AUTO_BUF struct bnd_buf cut = {0};
    BND_AUTO_BUF struct bnd_buf quoted = {0};
    struct bnd_slice text = bnd_slice(data, size);
    bool valid = scan(text, size + 1, &whole);
    bool again = scan(text, size == 0 ? 1 : data[0] % 7u + 1, &cut);
    BND_ASSERT(valid == again);
    BND_ASSERT(!valid || bnd_slice_eq(bnd_buf_slice(&whole), bnd_buf_slice(&cut)));
    json_t *oracle = json_loadb((const char *)data, size,
                                JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    /* jansson takes a NUL for the end of the text. */
    BND_ASSERT(oracle == NULL || valid || memchr(data, 0, size) != NULL);
    json_decref(oracle);
    /* Any UTF-8 as a string is read back as it was. */
    if (bnd_utf8_valid(text)) {
        BND_AUTO_BUF struct bnd_buf back = {0};
        gateway_json_string(&quoted, text);
        valid = scan(bnd_buf_slice(&quoted), quoted.len, &back);
        BND_ASSERT(valid && back.len == size + 1 &&
                   memcmp(back.data, size > 0 ? data : back.data, size) == 0);
    }
    return 0;
}
