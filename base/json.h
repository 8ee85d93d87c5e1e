/* Text inside a JSON string (RFC 8259, 7), for what is written by hand: lines of `bindery inspect`.
 */
#ifndef BND_BASE_JSON_H
#define BND_BASE_JSON_H

#include "base/bytes.h"

/* Appends text without its quotes: controls, quotes and backslashes escaped; bytes that are not
 * ASCII as U+0080 to U+00FF, so that what is not UTF-8 is JSON, too. */
static inline void bnd_json_text(struct bnd_buf *out, const char *text) {
    for (const char *at = text; *at != 0; at++) {
        uint8_t c = (uint8_t)*at;
        if (c < 0x20 || c >= 0x7f) {
            bnd_buf_printf(out, "\\u%04x", c);
        } else {
            if (c == '"' || c == '\\') {
                bnd_buf_u8(out, '\\');
            }
            bnd_buf_u8(out, c);
        }
    }
}

#endif
