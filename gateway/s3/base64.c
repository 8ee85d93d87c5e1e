/* Base64, both alphabets, with one spelling per value. */
#include "gateway/s3/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void s3_base64_encode(struct bnd_buf *out, struct bnd_slice data, bool url) {
    const char *alphabet = url ? url_safe : standard;
    for (size_t i = 0; i < data.len; i += 3) {
        size_t n = data.len - i < 3 ? data.len - i : 3;
        uint32_t bits = (uint32_t)data.data[i] << 16;
        bits |= n > 1 ? (uint32_t)data.data[i + 1] << 8 : 0;
        bits |= n > 2 ? (uint32_t)data.data[i + 2] : 0;
        for (size_t k = 0; k < 4; k++) {
            if (k <= n) {
                bnd_buf_u8(out, (uint8_t)alphabet[bits >> (18 - 6 * k) & 63]);
            } else if (!url) {
                bnd_buf_u8(out, '=');
            }
        }
    }
}

static int value_of(uint8_t c, bool url) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (url ? '-' : '+')) {
        return 62;
    }
    return c == (url ? '_' : '/') ? 63 : -1;
}

bool s3_base64_decode(struct bnd_slice text, bool url, struct bnd_buf *out) {
    if (!url) {
        if (text.len % 4 != 0) {
            return false;
        }
        for (int i = 0; i < 2 && text.len > 0 && text.data[text.len - 1] == '='; i++) {
            text.len--;
        }
    }
    if (text.len % 4 == 1) {
        return false;
    }
    for (size_t i = 0; i < text.len; i += 4) {
        size_t n = text.len - i < 4 ? text.len - i : 4;
        uint32_t bits = 0;
        for (size_t k = 0; k < n; k++) {
            int value = value_of(text.data[i + k], url);
            if (value < 0) {
                return false;
            }
            bits |= (uint32_t)value << (18 - 6 * k);
        }
        uint8_t bytes[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
        if ((n == 2 && (bytes[1] | bytes[2]) != 0) || (n == 3 && bytes[2] != 0)) {
            return false; /* left-over bits: a second spelling */
        }
        bnd_buf_append(out, bytes, n - 1);
    }
    return true;
}

bool s3_base64_decode_exact(struct bnd_slice text, uint8_t *out, size_t len) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    if (text.len != (len + 2) / 3 * 4 || !s3_base64_decode(text, false, &bytes) || bytes.failed ||
        bytes.len != len) {
        return false;
    }
    memcpy(out, bytes.data, len);
    return true;
}
