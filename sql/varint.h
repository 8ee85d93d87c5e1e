/* Numbers of 1 to 10 bytes: 7 bits each, the lowest first (SPEC.md, "SQL state"). Inside sql/ only.
 */
#ifndef BND_SQL_VARINT_H
#define BND_SQL_VARINT_H

#include "base/bytes.h"

#define SQL_VARINT_MAX 10u

/* out: room of SQL_VARINT_MAX. Returns how many it took. */
static inline size_t sql_varint_put(uint8_t *out, uint64_t v) {
    size_t len = 0;
    for (; v >= 0x80; v >>= 7) {
        out[len++] = (uint8_t)(v | 0x80);
    }
    out[len++] = (uint8_t)v;
    return len;
}

static inline void sql_varint_append(struct bnd_buf *out, uint64_t v) {
    uint8_t bytes[SQL_VARINT_MAX];
    bnd_buf_append(out, bytes, sql_varint_put(bytes, v));
}

static inline uint64_t sql_varint_read(struct bnd_reader *r) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = bnd_read_u8(r);
        if (shift == 63 && byte > 1) {
            break;
        }
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return r->failed ? 0 : v;
        }
    }
    r->failed = true;
    return 0;
}

#endif
