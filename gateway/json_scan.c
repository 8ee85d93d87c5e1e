#include "gateway/json_scan.h"

#include "base/error.h"
#include "base/utf8.h"

enum state {
    VALUE,        /* one must come */
    VALUE_OR_END, /* after [ */
    NAME_OR_END,  /* after { */
    NAME,         /* after a comma in an object */
    COLON,
    AFTER, /* a value: comma or end */
    STRING,
    ESCAPE,
    HEX,
    NUMBER,
    LITERAL,
};

/* Where in a number: what may follow differs. */
enum number { MINUS, ZERO, INTEGER, POINT, FRACTION, EXPONENT, SIGN, POWER };

static int tell(struct gateway_json *json, enum gateway_json_event event, struct bnd_slice bytes,
                bool last) {
    return json->on == NULL ? 0 : json->on(json->data, event, bytes, last);
}

static int tell_text(struct gateway_json *json, struct bnd_slice bytes, bool last) {
    return tell(json, json->is_name ? GATEWAY_JSON_NAME : GATEWAY_JSON_STRING, bytes, last);
}

static bool in_object(const struct gateway_json *json) {
    size_t at = json->depth - 1;
    return (json->objects[at / 8] >> (at % 8) & 1) != 0;
}

static void value_ended(struct gateway_json *json) {
    json->state = AFTER;
}

/* ---- containers
 * ------------------------------------------------------------------------------------------ */

static int open_container(struct gateway_json *json, bool object) {
    if (json->depth == GATEWAY_JSON_DEPTH_MAX) {
        return BND_INVALID;
    }
    uint8_t bit = (uint8_t)(1u << (json->depth % 8));
    uint8_t *byte = &json->objects[json->depth / 8];
    *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
    json->depth++;
    json->state = object ? NAME_OR_END : VALUE_OR_END;
    return tell(json, object ? GATEWAY_JSON_OBJECT_BEGIN : GATEWAY_JSON_ARRAY_BEGIN,
                bnd_slice(NULL, 0), true);
}

static int close_container(struct gateway_json *json, bool object) {
    if (json->depth == 0 || in_object(json) != object) {
        return BND_INVALID;
    }
    int rv = tell(json, object ? GATEWAY_JSON_OBJECT_END : GATEWAY_JSON_ARRAY_END,
                  bnd_slice(NULL, 0), true);
    json->depth--;
    value_ended(json);
    return rv;
}

/* ---- strings
 * ---------------------------------------------------------------------------------------------- */

static void begin_string(struct gateway_json *json, bool is_name) {
    json->state = STRING;
    json->is_name = is_name;
    json->utf8_left = 0;
    json->surrogate = 0;
}

static int tell_code_point(struct gateway_json *json, uint32_t c) {
    uint8_t bytes[4];
    size_t len = 0;
    if (c < 0x80) {
        bytes[len++] = (uint8_t)c;
    } else if (c < 0x800) {
        bytes[len++] = (uint8_t)(0xc0 | c >> 6);
        bytes[len++] = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        bytes[len++] = (uint8_t)(0xe0 | c >> 12);
        bytes[len++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        bytes[len++] = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        bytes[len++] = (uint8_t)(0xf0 | c >> 18);
        bytes[len++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        bytes[len++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        bytes[len++] = (uint8_t)(0x80 | (c & 0x3f));
    }
    return tell_text(json, bnd_slice(bytes, len), false);
}

/* A high surrogate that no low one followed. */
static int flush_surrogate(struct gateway_json *json) {
    int rv = json->surrogate == 0 ? 0 : tell_code_point(json, 0xfffd);
    json->surrogate = 0;
    return rv;
}

static int unit(struct gateway_json *json, uint32_t c) {
    bool low = c >= 0xdc00 && c <= 0xdfff;
    if (low && json->surrogate != 0) {
        c = 0x10000 + ((json->surrogate - 0xd800) << 10) + (c - 0xdc00);
        json->surrogate = 0;
        return tell_code_point(json, c);
    }
    int rv = flush_surrogate(json);
    if (rv == 0 && c >= 0xd800 && c <= 0xdbff) {
        json->surrogate = c;
        return 0;
    }
    return rv != 0 ? rv : tell_code_point(json, low ? 0xfffd : c);
}

static int escape(struct gateway_json *json, uint8_t c) {
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    json->state = STRING;
    if (c == 'u') {
        json->state = HEX;
        json->hex = 0;
        json->hex_left = 4;
        return 0;
    }
    for (size_t i = 0; i < sizeof from - 1; i++) {
        if ((uint8_t)from[i] == c) {
            int rv = flush_surrogate(json);
            return rv != 0 ? rv : tell_text(json, bnd_slice(&to[i], 1), false);
        }
    }
    return BND_INVALID;
}

static int hex(struct gateway_json *json, uint8_t c) {
    uint8_t digit = 0;
    if (c >= '0' && c <= '9') {
        digit = (uint8_t)(c - '0');
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        digit = (uint8_t)((c | 0x20) - 'a' + 10);
    } else {
        return BND_INVALID;
    }
    json->hex = json->hex << 4 | digit;
    if (--json->hex_left > 0) {
        return 0;
    }
    json->state = STRING;
    return unit(json, json->hex);
}

/* The second byte's range is what excludes overlong forms, surrogates and what is too large (RFC
 * 3629 4). */
static bool utf8_byte(struct gateway_json *json, uint8_t c) {
    if (json->utf8_left > 0) {
        bool ok = c >= json->utf8_low && c <= json->utf8_high;
        json->utf8_low = 0x80;
        json->utf8_high = 0xbf;
        json->utf8_left--;
        return ok;
    }
    json->utf8_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    json->utf8_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    json->utf8_left = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    return c < 0x80 || (c >= 0xc2 && c <= 0xf4);
}

/* As many bytes of the string as stand for themselves; *at moves behind them. */
static int string_run(struct gateway_json *json, struct bnd_slice bytes, size_t *at) {
    size_t begin = *at;
    size_t i = begin;
    for (; i < bytes.len; i++) {
        uint8_t c = bytes.data[i];
        if (json->utf8_left == 0 && (c == '"' || c == '\\')) {
            break;
        }
        if (c < 0x20 || ((c >= 0x80 || json->utf8_left > 0) && !utf8_byte(json, c))) {
            return BND_INVALID;
        }
    }
    *at = i;
    if (i == begin) {
        return 0;
    }
    int rv = flush_surrogate(json);
    return rv != 0 ? rv : tell_text(json, bnd_slice(bytes.data + begin, i - begin), false);
}

static int string(struct gateway_json *json, struct bnd_slice bytes, size_t *at) {
    int rv = string_run(json, bytes, at);
    if (rv != 0 || *at == bytes.len) {
        return rv;
    }
    uint8_t c = bytes.data[(*at)++];
    if (c == '\\') {
        json->state = ESCAPE;
        return 0;
    }
    rv = flush_surrogate(json);
    rv = rv != 0 ? rv : tell_text(json, bnd_slice(NULL, 0), true);
    if (json->is_name) {
        json->state = COLON;
    } else {
        value_ended(json);
    }
    return rv;
}

/* ---- numbers
 * ---------------------------------------------------------------------------------------------- */

/* The next place in a number, or -1: c is not a part of it. */
static int number_next(enum number at, uint8_t c) {
    bool digit = c >= '0' && c <= '9';
    bool e = (c | 0x20) == 'e';
    switch (at) {
    case MINUS:
        return c == '0' ? ZERO : digit ? INTEGER : -1;
    case ZERO:
        return c == '.' ? POINT : e ? EXPONENT : -1;
    case INTEGER:
        return digit ? INTEGER : c == '.' ? POINT : e ? EXPONENT : -1;
    case POINT:
        return digit ? FRACTION : -1;
    case FRACTION:
        return digit ? FRACTION : e ? EXPONENT : -1;
    case EXPONENT:
        return digit ? POWER : c == '+' || c == '-' ? SIGN : -1;
    case SIGN:
    case POWER:
        return digit ? POWER : -1;
    }
    return -1;
}

static bool number_whole(enum number at) {
    return at == ZERO || at == INTEGER || at == FRACTION || at == POWER;
}

static int end_number(struct gateway_json *json) {
    if (!number_whole((enum number)json->number)) {
        return BND_INVALID;
    }
    value_ended(json);
    return tell(json, GATEWAY_JSON_NUMBER, bnd_slice(NULL, 0), true);
}

static int number(struct gateway_json *json, struct bnd_slice bytes, size_t *at) {
    size_t begin = *at;
    int next = 0;
    for (; *at < bytes.len; (*at)++) {
        next = number_next((enum number)json->number, bytes.data[*at]);
        if (next < 0) {
            break;
        }
        json->number = (uint8_t)next;
    }
    int rv = *at == begin ? 0
                          : tell(json, GATEWAY_JSON_NUMBER,
                                 bnd_slice(bytes.data + begin, *at - begin), false);
    return rv == 0 && next < 0 ? end_number(json) : rv;
}

/* ---- all
 * ---------------------------------------------------------------------------------------------- */

static int literal(struct gateway_json *json, uint8_t c) {
    if ((uint8_t)json->literal[json->literal_at] != c) {
        return BND_INVALID;
    }
    json->literal_at++;
    if (json->literal[json->literal_at] != 0) {
        return 0;
    }
    value_ended(json);
    enum gateway_json_event event = json->literal[0] == 't'   ? GATEWAY_JSON_TRUE
                                    : json->literal[0] == 'f' ? GATEWAY_JSON_FALSE
                                                              : GATEWAY_JSON_NULL;
    return tell(json, event, bnd_slice(NULL, 0), true);
}

static int begin_value(struct gateway_json *json, struct bnd_slice bytes, size_t *at) {
    uint8_t c = bytes.data[*at];
    (*at)++;
    switch (c) {
    case '{':
    case '[':
        return open_container(json, c == '{');
    case '"':
        begin_string(json, false);
        return 0;
    case 't':
    case 'f':
    case 'n':
        json->literal = c == 't' ? "true" : c == 'f' ? "false" : "null";
        json->literal_at = 1;
        json->state = LITERAL;
        return 0;
    default:
        break;
    }
    int first = c == '-' ? MINUS : number_next(MINUS, c);
    if (first < 0) {
        return BND_INVALID;
    }
    json->state = NUMBER;
    json->number = (uint8_t)first;
    return tell(json, GATEWAY_JSON_NUMBER, bnd_slice(&bytes.data[*at - 1], 1), false);
}

static int after(struct gateway_json *json, uint8_t c) {
    if (c == ',' && json->depth > 0) {
        json->state = in_object(json) ? NAME : VALUE;
        return 0;
    }
    return c == '}' || c == ']' ? close_container(json, c == '}') : BND_INVALID;
}

/* Between tokens; white space is passed over. */
static int between(struct gateway_json *json, struct bnd_slice bytes, size_t *at) {
    uint8_t c = bytes.data[*at];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        (*at)++;
        return 0;
    }
    if (json->state == VALUE || (json->state == VALUE_OR_END && c != ']')) {
        return begin_value(json, bytes, at);
    }
    (*at)++;
    if ((json->state == NAME || json->state == NAME_OR_END) && c == '"') {
        begin_string(json, true);
        return 0;
    }
    if (json->state == COLON && c == ':') {
        json->state = VALUE;
        return 0;
    }
    if ((json->state == NAME_OR_END && c == '}') || (json->state == VALUE_OR_END && c == ']')) {
        return close_container(json, c == '}');
    }
    return json->state == AFTER ? after(json, c) : BND_INVALID;
}

static int step(struct gateway_json *json, struct bnd_slice bytes, size_t *at) {
    switch ((enum state)json->state) {
    case STRING:
        return string(json, bytes, at);
    case ESCAPE:
        return escape(json, bytes.data[(*at)++]);
    case HEX:
        return hex(json, bytes.data[(*at)++]);
    case NUMBER:
        return number(json, bytes, at);
    case LITERAL:
        return literal(json, bytes.data[(*at)++]);
    default:
        return between(json, bytes, at);
    }
}

static void capture(struct bnd_buf *out, size_t max, struct bnd_slice bytes) {
    size_t room = out->len > max ? 0 : max + 1 - out->len;
    bnd_buf_append(out, bytes.data, bytes.len < room ? bytes.len : room);
}

void gateway_json_init(struct gateway_json *json,
                       int (*on)(void *data, enum gateway_json_event event, struct bnd_slice bytes,
                                 bool last),
                       void *data) {
    *json = (struct gateway_json){.on = on, .data = data, .state = VALUE};
}

int gateway_json_feed(struct gateway_json *json, struct bnd_slice bytes) {
    size_t at = 0;
    while (at < bytes.len) {
        struct bnd_buf *captured = json->capture;
        size_t begin = at;
        int rv = step(json, bytes, &at);
        if (rv != 0) {
            return rv;
        }
        if (captured != NULL) {
            capture(captured, json->capture_max, bnd_slice(bytes.data + begin, at - begin));
        }
    }
    return 0;
}

int gateway_json_end(struct gateway_json *json) {
    if (json->state == NUMBER && json->depth == 0) {
        int rv = end_number(json);
        if (rv != 0) {
            return rv;
        }
    }
    return json->depth == 0 && json->state == AFTER ? 0 : BND_INVALID;
}

bool gateway_json_valid(struct bnd_slice text) {
    struct gateway_json json;
    gateway_json_init(&json, NULL, NULL);
    return gateway_json_feed(&json, text) == 0 && gateway_json_end(&json) == 0;
}

/* The escape of a byte that may not stand for itself in a string. */
static void put_escaped(struct bnd_buf *out, uint8_t c) {
    if (c == '"' || c == '\\') {
        bnd_buf_u8(out, '\\');
        bnd_buf_u8(out, c);
    } else {
        bnd_buf_printf(out, "\\u%04x", c);
    }
}

void gateway_json_string(struct bnd_buf *out, struct bnd_slice text) {
    size_t begin = 0;
    bnd_buf_u8(out, '"');
    for (size_t i = 0; i < text.len;) {
        uint8_t c = text.data[i];
        size_t len = c < 0x80 ? 1 : bnd_utf8_next(bnd_slice(text.data + i, text.len - i));
        bool plain = len > 0 && c >= 0x20 && c != '"' && c != '\\';
        size_t next = i + (len == 0 ? 1 : len);
        if (!plain) {
            bnd_buf_append(out, text.data + begin, i - begin);
            begin = next;
            if (len == 0) {
                bnd_buf_append_str(out, "\xef\xbf\xbd");
            } else {
                put_escaped(out, c);
            }
        }
        i = next;
    }
    bnd_buf_append(out, text.data + begin, text.len - begin);
    bnd_buf_u8(out, '"');
}

void gateway_json_compact(struct bnd_buf *out, struct bnd_slice text) {
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!in_string && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            continue;
        }
        if (c == 0x7f) {
            put_escaped(out, c);
            continue;
        }
        bnd_buf_u8(out, c);
        if (in_string && c == '\\' && i + 1 < text.len) {
            bnd_buf_u8(out, text.data[++i]);
        } else if (c == '"') {
            in_string = !in_string;
        }
    }
}
