/* Bytes: growable buffers and readers. Invariant of struct bnd_buf: len <= cap; data is NULL only
 * if cap is 0. */
#include "base/bytes.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int bnd_slice_cmp(struct bnd_slice a, struct bnd_slice b) {
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

void bnd_buf_free(struct bnd_buf *buf) {
    bnd_free(buf->data);
    *buf = (struct bnd_buf){0};
}

void bnd_buf_reset(struct bnd_buf *buf) {
    buf->len = 0;
    buf->failed = false;
}

bool bnd_buf_reserve(struct bnd_buf *buf, size_t more) {
    BND_ASSERT(buf->len <= buf->cap);
    if (buf->failed) {
        return false;
    }
    if (more <= buf->cap - buf->len) {
        return true;
    }
    size_t need = 0;
    if (__builtin_add_overflow(buf->len, more, &need)) {
        buf->failed = true;
        return false;
    }
    size_t cap = buf->cap < 64 ? 64 : buf->cap;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    uint8_t *data = bnd_realloc(buf->data, cap);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

void bnd_buf_append(struct bnd_buf *buf, const void *data, size_t len) {
    if (len == 0 || !bnd_buf_reserve(buf, len)) {
        return;
    }
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
}

void bnd_buf_append_slice(struct bnd_buf *buf, struct bnd_slice s) {
    bnd_buf_append(buf, s.data, s.len);
}

void bnd_buf_append_str(struct bnd_buf *buf, const char *text) {
    bnd_buf_append(buf, text, strlen(text));
}

void bnd_buf_printf(struct bnd_buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    BND_ASSERT(need >= 0);
    if (bnd_buf_reserve(buf, (size_t)need + 1)) {
        (void)vsnprintf((char *)buf->data + buf->len, (size_t)need + 1, fmt, again);
        buf->len += (size_t)need;
    }
    va_end(again);
}

void bnd_buf_u8(struct bnd_buf *buf, uint8_t v) {
    bnd_buf_append(buf, &v, 1);
}

void bnd_buf_u16(struct bnd_buf *buf, uint16_t v) {
    uint8_t p[2];
    bnd_put_u16(p, v);
    bnd_buf_append(buf, p, sizeof p);
}

void bnd_buf_u32(struct bnd_buf *buf, uint32_t v) {
    uint8_t p[4];
    bnd_put_u32(p, v);
    bnd_buf_append(buf, p, sizeof p);
}

void bnd_buf_u64(struct bnd_buf *buf, uint64_t v) {
    uint8_t p[8];
    bnd_put_u64(p, v);
    bnd_buf_append(buf, p, sizeof p);
}

void bnd_buf_be32(struct bnd_buf *buf, uint32_t v) {
    uint8_t p[4];
    bnd_put_be32(p, v);
    bnd_buf_append(buf, p, sizeof p);
}

void bnd_buf_be64(struct bnd_buf *buf, uint64_t v) {
    uint8_t p[8];
    bnd_put_be64(p, v);
    bnd_buf_append(buf, p, sizeof p);
}

void bnd_buf_bytes(struct bnd_buf *buf, struct bnd_slice s) {
    BND_ASSERT(s.len <= UINT32_MAX);
    if (!bnd_buf_reserve(buf, s.len + 4)) {
        return;
    }
    bnd_buf_u32(buf, (uint32_t)s.len);
    bnd_buf_append(buf, s.data, s.len);
}

struct bnd_slice bnd_read_raw(struct bnd_reader *r, size_t len) {
    if (r->failed || r->rest.len < len) {
        r->failed = true;
        return bnd_slice(NULL, 0);
    }
    struct bnd_slice taken = bnd_slice(r->rest.data, len);
    if (len > 0) {
        r->rest.data += len;
        r->rest.len -= len;
    }
    return taken;
}

uint8_t bnd_read_u8(struct bnd_reader *r) {
    struct bnd_slice s = bnd_read_raw(r, 1);
    return s.len == 0 ? 0 : s.data[0];
}

uint16_t bnd_read_u16(struct bnd_reader *r) {
    struct bnd_slice s = bnd_read_raw(r, 2);
    return s.len == 0 ? 0 : bnd_get_u16(s.data);
}

uint32_t bnd_read_u32(struct bnd_reader *r) {
    struct bnd_slice s = bnd_read_raw(r, 4);
    return s.len == 0 ? 0 : bnd_get_u32(s.data);
}

uint64_t bnd_read_u64(struct bnd_reader *r) {
    struct bnd_slice s = bnd_read_raw(r, 8);
    return s.len == 0 ? 0 : bnd_get_u64(s.data);
}

uint32_t bnd_read_be32(struct bnd_reader *r) {
    struct bnd_slice s = bnd_read_raw(r, 4);
    return s.len == 0 ? 0 : bnd_get_be32(s.data);
}

uint64_t bnd_read_be64(struct bnd_reader *r) {
    struct bnd_slice s = bnd_read_raw(r, 8);
    return s.len == 0 ? 0 : bnd_get_be64(s.data);
}

struct bnd_slice bnd_read_bytes(struct bnd_reader *r) {
    uint32_t len = bnd_read_u32(r);
    return bnd_read_raw(r, len);
}

void bnd_read_into(struct bnd_reader *r, void *out, size_t len) {
    struct bnd_slice s = bnd_read_raw(r, len);
    if (r->failed) {
        memset(out, 0, len);
    } else if (len > 0) {
        memcpy(out, s.data, len);
    }
}

void bnd_hex_encode(const uint8_t *data, size_t len, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * len] = 0;
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int bnd_hex_decode(struct bnd_slice text, uint8_t *out, size_t len) {
    if (text.len != 2 * len) {
        return BND_INVALID;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (hex_digit(text.data[i]) < 0) {
            return BND_INVALID;
        }
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(hex_digit(text.data[2 * i]) << 4 | hex_digit(text.data[2 * i + 1]));
    }
    return 0;
}
