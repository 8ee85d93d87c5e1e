/* Cursors of key lists: internal to gateway/. Pure.
 *
 * A cursor is base64url of: u8 version 1, u32 check, the last key told. The list goes on above that
 * key, whatever was written or deleted meanwhile, on any node and after any restart. The check is a
 * hash of namespace, prefix and key: a cursor of another list, or a damaged one, is refused. */
#ifndef BND_GATEWAY_KV_CURSOR_H
#define BND_GATEWAY_KV_CURSOR_H

#include "base/bytes.h"

struct kv_cursor_scope {
    uint64_t namespace_id;
    struct bnd_slice prefix;
};

/* Appends the text. */
void kv_cursor_encode(struct bnd_buf *out, const struct kv_cursor_scope *scope,
                      struct bnd_slice last);
/* Appends the key to *last. False: it is none of this list. Empty text is well: from the first. */
bool kv_cursor_decode(struct bnd_slice text, const struct kv_cursor_scope *scope,
                      struct bnd_buf *last);

#endif
