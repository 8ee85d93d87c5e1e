#include "gateway/kv/cursor.h"

#include "base/hash.h"
#include "gateway/s3/base64.h"
#include "kv/kv.h"

enum { VERSION = 1, HEAD = 1 + 4 };

static uint32_t check_of(const struct kv_cursor_scope *scope, struct bnd_slice last) {
    uint64_t seed = bnd_hash64(scope->prefix, scope->namespace_id);
    return (uint32_t)(bnd_hash64(last, seed) >> 32);
}

void kv_cursor_encode(struct bnd_buf *out, const struct kv_cursor_scope *scope,
                      struct bnd_slice last) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_buf_u8(&bytes, VERSION);
    bnd_buf_u32(&bytes, check_of(scope, last));
    bnd_buf_append_slice(&bytes, last);
    s3_base64_encode(out, bnd_buf_slice(&bytes), true);
    out->failed = out->failed || bytes.failed;
}

bool kv_cursor_decode(struct bnd_slice text, const struct kv_cursor_scope *scope,
                      struct bnd_buf *last) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    if (text.len == 0) {
        return true;
    }
    if (text.len > (HEAD + BND_KV_KEY_MAX + 2) / 3 * 4 || !s3_base64_decode(text, true, &bytes) ||
        bytes.failed || bytes.len <= HEAD || bytes.len > HEAD + BND_KV_KEY_MAX ||
        bytes.data[0] != VERSION) {
        return false;
    }
    struct bnd_slice key = bnd_slice(bytes.data + HEAD, bytes.len - HEAD);
    if (bnd_get_u32(bytes.data + 1) != check_of(scope, key)) {
        return false;
    }
    bnd_buf_append_slice(last, key);
    return true;
}
