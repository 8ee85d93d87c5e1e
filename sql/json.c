#include "sql/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

/* What stands for a byte inside a string: itself, a letter after a backslash, 'u' for \u00xx, or
 * 'm' where it is one of more. */
enum { PLAIN = 0 };
static const uint8_t escapes[256] = {
    [0x00 ... 0x07] = 'u', ['\b'] = 'b',  ['\t'] = 't',         ['\n'] = 'n',
    [0x0b] = 'u',          ['\f'] = 'f',  ['\r'] = 'r',         [0x0e ... 0x1f] = 'u',
    ['"'] = '"',           ['\\'] = '\\', [0x80 ... 0xff] = 'm'};

/* How many bytes one U+FFFD stands for: the longest beginning of a character, at least one. */
static size_t broken_length(struct bnd_slice text) {
    uint8_t lead = text.data[0];
    size_t wanted = lead >= 0xf0 && lead <= 0xf4   ? 4
                    : lead >= 0xe0 && lead <= 0xef ? 3
                    : lead >= 0xc2 && lead <= 0xdf ? 2
                                                   : 1;
    size_t len = 1;
    while (len < wanted && len < text.len) {
        uint8_t c = text.data[len];
        uint8_t low = len > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = len > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (c < low || c > high) {
            break;
        }
        len++;
    }
    return len;
}

/* Writes the character that begins the text, or U+FFFD; how many bytes it is. */
static size_t put_character(struct bnd_buf *out, struct bnd_slice text) {
    size_t len = bnd_utf8_next(text);
    if (len > 0) {
        bnd_buf_append(out, text.data, len);
        return len;
    }
    bnd_buf_append_str(out, "\xef\xbf\xbd");
    return broken_length(text);
}

void sql_json_text(struct bnd_buf *out, struct bnd_slice text) {
    for (size_t at = 0; at < text.len;) {
        at += put_character(out, bnd_slice(text.data + at, text.len - at));
    }
}

/* Writes what begins the text and is not plain; its length. */
static size_t put_special(struct bnd_buf *out, struct bnd_slice text) {
    uint8_t c = text.data[0], escape = escapes[c];
    if (escape == 'm') {
        return put_character(out, text);
    }
    if (escape == 'u') {
        bnd_buf_printf(out, "\\u%04x", c);
    } else {
        bnd_buf_u8(out, '\\');
        bnd_buf_u8(out, escape);
    }
    return 1;
}

void sql_json_string(struct bnd_buf *out, struct bnd_slice text) {
    bnd_buf_u8(out, '"');
    size_t from = 0, at = 0;
    while (at < text.len) {
        if (escapes[text.data[at]] == PLAIN) {
            at++;
            continue;
        }
        bnd_buf_append(out, text.data + from, at - from);
        at += put_special(out, bnd_slice(text.data + at, text.len - at));
        from = at;
    }
    bnd_buf_append(out, text.data + from, at - from);
    bnd_buf_u8(out, '"');
}

void sql_json_double(struct bnd_buf *out, double value) {
    char text[40];
    if (!isfinite(value)) {
        bnd_buf_append_str(out, "null");
        return;
    }
    if (fabs(value) < 1e15 && value == (double)(int64_t)value) {
        bnd_buf_printf(out, "%lld", (long long)value);
        return;
    }
    /* Up to 15 digits any double is told apart from its neighbours, unless it is subnormal. */
    for (int digits = fabs(value) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    bnd_buf_append_str(out, text);
}

void sql_json_bytes(struct bnd_buf *out, struct bnd_slice bytes) {
    bnd_buf_u8(out, '[');
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.data[i];
        char digits[4];
        size_t len = 0;
        if (i > 0) {
            digits[len++] = ',';
        }
        if (byte >= 100) {
            digits[len++] = (char)('0' + byte / 100);
        }
        if (byte >= 10) {
            digits[len++] = (char)('0' + byte / 10 % 10);
        }
        digits[len++] = (char)('0' + byte % 10);
        bnd_buf_append(out, digits, len);
    }
    bnd_buf_u8(out, ']');
}

void sql_json_integer(struct bnd_buf *out, int64_t value) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        digits[--at] = '-';
    }
    bnd_buf_append(out, digits + at, sizeof digits - at);
}

void sql_json_column(struct bnd_buf *out, sqlite3_stmt *statement, int column) {
    const void *data;
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        sql_json_integer(out, sqlite3_column_int64(statement, column));
        break;
    case SQLITE_FLOAT:
        sql_json_double(out, sqlite3_column_double(statement, column));
        break;
    case SQLITE_TEXT:
        data = sqlite3_column_text(statement, column);
        out->failed = out->failed || data == NULL;
        sql_json_string(
            out,
            bnd_slice(data, data == NULL ? 0 : (size_t)sqlite3_column_bytes(statement, column)));
        break;
    case SQLITE_BLOB:
        data = sqlite3_column_blob(statement, column);
        sql_json_bytes(
            out,
            bnd_slice(data, data == NULL ? 0 : (size_t)sqlite3_column_bytes(statement, column)));
        break;
    default:
        bnd_buf_append_str(out, "null");
    }
}

void sql_json_ms(struct bnd_buf *out, uint64_t ns) {
    uint32_t rest = (uint32_t)(ns % 1000000 / 100);
    char fraction[5] = {'.'};
    for (size_t i = sizeof fraction - 1; i > 0; i--, rest /= 10) {
        fraction[i] = (char)('0' + rest % 10);
    }
    sql_json_integer(out, (int64_t)(ns / 1000000));
    bnd_buf_append(out, fraction, sizeof fraction);
}
