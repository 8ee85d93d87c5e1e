/* Ranges of bytes. */
#include "gateway/s3/range.h"

#include "gateway/http/head.h"
#include "gateway/s3/query.h"

/* Splits "bytes=first-last"; either number may be missing, and then its text is empty. */
static bool split(struct bnd_slice text, struct bnd_slice *out_first, struct bnd_slice *out_last) {
    if (text.len < 7 || !bnd_http_text_is(bnd_slice(text.data, 6), "bytes=")) {
        return false;
    }
    text = bnd_slice(text.data + 6, text.len - 6);
    const uint8_t *dash = memchr(text.data, '-', text.len);
    if (dash == NULL || memchr(text.data, ',', text.len) != NULL) {
        return false;
    }
    *out_first = bnd_slice(text.data, (size_t)(dash - text.data));
    *out_last = bnd_slice(dash + 1, text.len - out_first->len - 1);
    return true;
}

/* Numbers too long for s3_decimal are larger than any object. */
static bool number(struct bnd_slice text, uint64_t *out) {
    if (s3_decimal(text, out)) {
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    *out = UINT64_MAX >> 1;
    return text.len > 0;
}

enum s3_range s3_range_read(struct bnd_slice text, uint64_t size, uint64_t *out_offset,
                            uint64_t *out_length) {
    struct bnd_slice first_text;
    struct bnd_slice last_text;
    uint64_t first = 0;
    uint64_t last = 0;
    *out_offset = 0;
    *out_length = size;
    if (text.len == 0 || !split(text, &first_text, &last_text)) {
        return S3_RANGE_WHOLE;
    }
    if (first_text.len == 0) {
        if (!number(last_text, &last)) {
            return S3_RANGE_WHOLE;
        }
        if (last == 0 || size == 0) {
            return S3_RANGE_UNSATISFIABLE;
        }
        *out_length = last < size ? last : size;
        *out_offset = size - *out_length;
        return S3_RANGE_PART;
    }
    last = UINT64_MAX >> 1;
    if (!number(first_text, &first) || (last_text.len > 0 && !number(last_text, &last)) ||
        last < first) {
        return S3_RANGE_WHOLE;
    }
    if (first >= size) {
        return S3_RANGE_UNSATISFIABLE;
    }
    *out_offset = first;
    *out_length = (last < size - 1 ? last : size - 1) - first + 1;
    return S3_RANGE_PART;
}

bool s3_copy_range_read(struct bnd_slice text, uint64_t size, uint64_t *out_offset,
                        uint64_t *out_length) {
    struct bnd_slice first_text;
    struct bnd_slice last_text;
    uint64_t first = 0;
    uint64_t last = 0;
    if (!split(text, &first_text, &last_text) || !s3_decimal(first_text, &first) ||
        !s3_decimal(last_text, &last) || last < first || last >= size) {
        return false;
    }
    *out_offset = first;
    *out_length = last - first + 1;
    return true;
}
