/* See page.h.
 *
 * A run is (bytes left out since the run before, length - 1, the bytes). Two differences with at
 * most GAP_MAX equal bytes between them make one run: a run of its own costs two bytes or more. */
#include "sql/page.h"

#include "base/assert.h"
#include "base/error.h"
#include "sql/varint.h"

#define GAP_MAX 2u
#define RUN_HEAD_MAX 4u /* two numbers below 2^14 */

_Static_assert(SQL_PAGE_BYTES < 1u << 14, "offsets and lengths have two bytes at most");
_Static_assert(SQL_CHAIN_BYTES_MAX <= UINT16_MAX, "bytes of a row are a u16");

/* The first place from `at` on where they differ; SQL_PAGE_BYTES: none. */
static size_t next_difference(const uint8_t *old, const uint8_t *new, size_t at) {
    while (at % 8 != 0 && at < SQL_PAGE_BYTES) {
        if (old[at] != new[at]) {
            return at;
        }
        at++;
    }
    for (; at < SQL_PAGE_BYTES; at += 8) {
        uint64_t a = bnd_get_u64(old + at);
        uint64_t b = bnd_get_u64(new + at);
        if (a != b) {
            return at + (size_t)__builtin_ctzll(a ^ b) / 8;
        }
    }
    return SQL_PAGE_BYTES;
}

/* Where the run that begins with the difference at `at` ends: behind its last difference. */
static size_t run_end(const uint8_t *old, const uint8_t *new, size_t at) {
    size_t end = at + 1;
    for (size_t i = end; i < SQL_PAGE_BYTES && i - end <= GAP_MAX; i++) {
        if (old[i] != new[i]) {
            end = i + 1;
        }
    }
    return end;
}

size_t sql_spans_diff(const uint8_t old[SQL_PAGE_BYTES], const uint8_t new[SQL_PAGE_BYTES],
                      uint8_t *out, size_t room) {
    size_t len = 0;
    size_t before = 0;
    size_t at = next_difference(old, new, 0);
    while (at < SQL_PAGE_BYTES) {
        uint8_t head[2 * SQL_VARINT_MAX];
        size_t end = run_end(old, new, at);
        size_t head_len = sql_varint_put(head, at - before);
        head_len += sql_varint_put(head + head_len, end - at - 1);
        BND_ASSERT(head_len <= RUN_HEAD_MAX);
        if (head_len + end - at > room - len) {
            return SIZE_MAX;
        }
        memcpy(out + len, head, head_len);
        memcpy(out + len + head_len, new + at, end - at);
        len += head_len + end - at;
        before = end;
        at = next_difference(old, new, end);
    }
    return len;
}

/* The next run: where it begins, and its bytes. False: it is none. */
static bool next_run(struct bnd_reader *r, size_t *at, struct bnd_slice *out) {
    uint64_t left_out = sql_varint_read(r);
    uint64_t length = sql_varint_read(r);
    if (r->failed || left_out >= SQL_PAGE_BYTES || length >= SQL_PAGE_BYTES ||
        *at + left_out + length >= SQL_PAGE_BYTES) {
        return false;
    }
    *at += (size_t)left_out;
    *out = bnd_read_raw(r, (size_t)length + 1);
    return !r->failed;
}

bool sql_spans_valid(struct bnd_slice spans) {
    struct bnd_reader r = bnd_reader(spans);
    size_t at = 0;
    struct bnd_slice run;
    while (r.rest.len > 0) {
        if (!next_run(&r, &at, &run)) {
            return false;
        }
        at += run.len;
    }
    return at > 0;
}

void sql_spans_apply(struct bnd_slice spans, uint8_t page[SQL_PAGE_BYTES]) {
    struct bnd_reader r = bnd_reader(spans);
    size_t at = 0;
    struct bnd_slice run = {0};
    while (r.rest.len > 0) {
        bool valid = next_run(&r, &at, &run);
        BND_ASSERT(valid);
        memcpy(page + at, run.data, run.len);
        at += run.len;
    }
}

bool sql_page_value_sound(const struct sql_page_value *value) {
    if (value->form == SQL_PAGE_IMAGE) {
        return value->bytes.len == SQL_PAGE_BYTES;
    }
    return value->form == SQL_PAGE_SPANS && value->place > 0 &&
           value->place <= SQL_CHAIN_SPANS_MAX && value->row_bytes <= SQL_CHAIN_BYTES_MAX &&
           value->row_bytes >= value->bytes.len &&
           (value->place > 1 || value->row_bytes == value->bytes.len) &&
           sql_spans_valid(value->bytes);
}

void sql_page_value_encode(struct bnd_buf *out, const struct sql_key *key,
                           const struct sql_page_value *value) {
    size_t begin = sql_value_begin(out);
    bnd_buf_u8(out, (uint8_t)value->form);
    if (value->form == SQL_PAGE_SPANS) {
        bnd_buf_u8(out, value->place);
        bnd_buf_u16(out, value->row_bytes);
    }
    bnd_buf_append_slice(out, value->bytes);
    sql_value_end(out, begin, key);
}

int sql_page_value_decode(struct bnd_slice key, struct bnd_slice bytes,
                          struct sql_page_value *out) {
    struct bnd_reader r;
    int rv = sql_value_open(key, bytes, &r);
    if (rv != 0) {
        return rv;
    }
    struct sql_page_value value = {0};
    uint8_t form = bnd_read_u8(&r);
    if (form != SQL_PAGE_IMAGE && form != SQL_PAGE_SPANS) {
        return BND_CORRUPT;
    }
    value.form = (enum sql_page_form)form;
    if (form == SQL_PAGE_SPANS) {
        value.place = bnd_read_u8(&r);
        value.row_bytes = bnd_read_u16(&r);
    }
    value.bytes = r.rest;
    if (r.failed || !sql_page_value_sound(&value)) {
        return BND_CORRUPT;
    }
    *out = value;
    return 0;
}
