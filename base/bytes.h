/* Bytes: slices, growable buffers, and the little-endian codecs of every disk and wire format.
 *
 * Integers on disk and on the wire are read and written only through these functions, never by
 * copying structs. Keys in ordered maps use the big-endian forms, so that byte order is number
 * order. */
#ifndef BND_BASE_BYTES_H
#define BND_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes. data may be NULL only if len is 0. */
struct bnd_slice {
    const uint8_t *data;
    size_t len;
};

static inline struct bnd_slice bnd_slice(const void *data, size_t len) {
    return (struct bnd_slice){.data = data, .len = len};
}
static inline struct bnd_slice bnd_slice_str(const char *text) {
    return bnd_slice(text, strlen(text));
}
static inline bool bnd_slice_eq(struct bnd_slice a, struct bnd_slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
/* As memcmp, a shorter slice before the longer ones it begins. */
int bnd_slice_cmp(struct bnd_slice a, struct bnd_slice b);
static inline bool bnd_slice_starts(struct bnd_slice s, struct bnd_slice prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

/* A growable buffer. Zero-initialised is empty. An append that cannot get memory sets `failed` and
 * changes nothing; later appends are ignored: check once, at the end. */
struct bnd_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    bool failed;
};

void bnd_buf_free(struct bnd_buf *buf);  /* frees and zeroes; NULL-safe inside */
void bnd_buf_reset(struct bnd_buf *buf); /* len = 0, failed = false, memory kept */
bool bnd_buf_reserve(struct bnd_buf *buf, size_t more);
void bnd_buf_append(struct bnd_buf *buf, const void *data, size_t len);
void bnd_buf_append_slice(struct bnd_buf *buf, struct bnd_slice s);
void bnd_buf_append_str(struct bnd_buf *buf, const char *text);
void bnd_buf_printf(struct bnd_buf *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void bnd_buf_u8(struct bnd_buf *buf, uint8_t v);
void bnd_buf_u16(struct bnd_buf *buf, uint16_t v);
void bnd_buf_u32(struct bnd_buf *buf, uint32_t v);
void bnd_buf_u64(struct bnd_buf *buf, uint64_t v);
void bnd_buf_be32(struct bnd_buf *buf, uint32_t v);
void bnd_buf_be64(struct bnd_buf *buf, uint64_t v);
/* A u32 length, then the bytes; len must be below 2^32. */
void bnd_buf_bytes(struct bnd_buf *buf, struct bnd_slice s);
static inline struct bnd_slice bnd_buf_slice(const struct bnd_buf *buf) {
    return bnd_slice(buf->data, buf->len);
}
#define BND_AUTO_BUF __attribute__((cleanup(bnd_buf_free)))

/* A reader over a slice. A read past the end sets `failed` and returns zeros or empty slices; later
 * reads too: check once, at the end, with bnd_reader_done. */
struct bnd_reader {
    struct bnd_slice rest;
    bool failed;
};

static inline struct bnd_reader bnd_reader(struct bnd_slice s) {
    return (struct bnd_reader){.rest = s};
}
uint8_t bnd_read_u8(struct bnd_reader *r);
uint16_t bnd_read_u16(struct bnd_reader *r);
uint32_t bnd_read_u32(struct bnd_reader *r);
uint64_t bnd_read_u64(struct bnd_reader *r);
uint32_t bnd_read_be32(struct bnd_reader *r);
uint64_t bnd_read_be64(struct bnd_reader *r);
struct bnd_slice bnd_read_raw(struct bnd_reader *r, size_t len); /* borrows from the source */
struct bnd_slice bnd_read_bytes(struct bnd_reader *r);           /* of bnd_buf_bytes */
void bnd_read_into(struct bnd_reader *r, void *out, size_t len); /* a copy */
/* True if nothing failed and nothing is left: a decoder's last line. */
static inline bool bnd_reader_done(const struct bnd_reader *r) {
    return !r->failed && r->rest.len == 0;
}

/* Fixed places: exactly 2, 4 or 8 bytes at p. */
static inline void bnd_put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void bnd_put_u32(uint8_t *p, uint32_t v) {
    bnd_put_u16(p, (uint16_t)v);
    bnd_put_u16(p + 2, (uint16_t)(v >> 16));
}
static inline void bnd_put_u64(uint8_t *p, uint64_t v) {
    bnd_put_u32(p, (uint32_t)v);
    bnd_put_u32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t bnd_get_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}
static inline uint32_t bnd_get_u32(const uint8_t *p) {
    return (uint32_t)bnd_get_u16(p) | ((uint32_t)bnd_get_u16(p + 2) << 16);
}
static inline uint64_t bnd_get_u64(const uint8_t *p) {
    return (uint64_t)bnd_get_u32(p) | ((uint64_t)bnd_get_u32(p + 4) << 32);
}
static inline void bnd_put_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline uint32_t bnd_get_be32(const uint8_t *p) {
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}
static inline void bnd_put_be64(uint8_t *p, uint64_t v) {
    bnd_put_be32(p, (uint32_t)(v >> 32));
    bnd_put_be32(p + 4, (uint32_t)v);
}
static inline uint64_t bnd_get_be64(const uint8_t *p) {
    return ((uint64_t)bnd_get_be32(p) << 32) | bnd_get_be32(p + 4);
}

/* Lowercase hex: out gets 2 * len characters and a 0. */
void bnd_hex_encode(const uint8_t *data, size_t len, char *out);
/* Upper or lower case; returns 0, or BND_INVALID if text is not exactly 2 * len hex digits. */
int bnd_hex_decode(struct bnd_slice text, uint8_t *out, size_t len);

#endif
