#include "base/utf8.h"

size_t bnd_utf8_next(struct bnd_slice text) {
    if (text.len == 0) {
        return 0;
    }
    uint8_t c = text.data[0];
    if (c < 0x80) {
        return 1;
    }
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || text.len < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    uint8_t next = text.data[1];
    /* overlong forms, surrogates, beyond U+10FFFF */
    if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
        (c == 0xf4 && next > 0x8f)) {
        return 0;
    }
    return len;
}

bool bnd_utf8_valid(struct bnd_slice text) {
    while (text.len > 0) {
        size_t len = bnd_utf8_next(text);
        if (len == 0) {
            return false;
        }
        text = bnd_slice(text.data + len, text.len - len);
    }
    return true;
}
