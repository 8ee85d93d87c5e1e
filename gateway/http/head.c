#include "gateway/http/head.h"

#include "base/error.h"

/* Character classes of RFC 9110 5.6.2, RFC 9112 3.2 and RFC 3986 3.2.2. */
enum { TOKEN = 1, VALUE = 2, TARGET = 4, HOST = 8 };

static const uint8_t classes[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = TOKEN | VALUE | TARGET | HOST,
    ['"'] = VALUE | TARGET,
    ['#'] = TOKEN | VALUE, /* a fragment is never sent */
    ['$'] = TOKEN | VALUE | TARGET | HOST,
    ['%'] = TOKEN | VALUE | TARGET | HOST,
    ['&'] = TOKEN | VALUE | TARGET | HOST,
    ['\''] = TOKEN | VALUE | TARGET | HOST,
    ['('] = VALUE | TARGET | HOST,
    [')'] = VALUE | TARGET | HOST,
    ['*'] = TOKEN | VALUE | TARGET | HOST,
    ['+'] = TOKEN | VALUE | TARGET | HOST,
    [','] = VALUE | TARGET | HOST,
    ['-'] = TOKEN | VALUE | TARGET | HOST,
    ['.'] = TOKEN | VALUE | TARGET | HOST,
    ['/'] = VALUE | TARGET,
    ['0' ... '9'] = TOKEN | VALUE | TARGET | HOST,
    [':'] = VALUE | TARGET | HOST,
    [';'] = VALUE | TARGET | HOST,
    ['<'] = VALUE | TARGET,
    ['='] = VALUE | TARGET | HOST,
    ['>'] = VALUE | TARGET,
    ['?'] = VALUE | TARGET,
    ['@'] = VALUE | TARGET, /* user information in Host is refused */
    ['A' ... 'Z'] = TOKEN | VALUE | TARGET | HOST,
    ['['] = VALUE | TARGET | HOST,
    ['\\'] = VALUE | TARGET,
    [']'] = VALUE | TARGET | HOST,
    ['^'] = TOKEN | VALUE | TARGET,
    ['_'] = TOKEN | VALUE | TARGET | HOST,
    ['`'] = TOKEN | VALUE | TARGET,
    ['a' ... 'z'] = TOKEN | VALUE | TARGET | HOST,
    ['{'] = VALUE | TARGET,
    ['|'] = TOKEN | VALUE | TARGET,
    ['}'] = VALUE | TARGET,
    ['~'] = TOKEN | VALUE | TARGET | HOST,
    [0x80 ... 0xff] = VALUE, /* raw UTF-8 in values is workerd's habit */
};

static bool all_of(struct bnd_slice text, uint8_t class) {
    for (size_t i = 0; i < text.len; i++) {
        if ((classes[text.data[i]] & class) == 0) {
            return false;
        }
    }
    return true;
}

#define EVERY(byte) (UINT64_C(0x0101010101010101) * (byte))

/* True if none of eight bytes is a control character, HTAB included. The two tests for "a byte
 * below n" and "a byte that is 0" are exact for the eight as a whole. */
static bool plain_eight(const uint8_t *at) {
    uint64_t x = bnd_get_u64(at);
    uint64_t del = x ^ EVERY(0x7f);
    return ((((x - EVERY(0x20)) & ~x) | ((del - EVERY(1)) & ~del)) & EVERY(0x80)) == 0;
}

bool bnd_http_value_valid(struct bnd_slice value) {
    while (value.len >= 8) {
        if (!plain_eight(value.data) && !all_of(bnd_slice(value.data, 8), VALUE)) {
            return false;
        }
        value = bnd_slice(value.data + 8, value.len - 8);
    }
    return all_of(value, VALUE);
}

bool bnd_http_token_valid(struct bnd_slice token) {
    return token.len > 0 && all_of(token, TOKEN);
}

static uint8_t lower(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool bnd_http_text_is(struct bnd_slice text, const char *expected) {
    size_t i = 0;
    for (; i < text.len && expected[i] != 0; i++) {
        if (lower(text.data[i]) != lower((uint8_t)expected[i])) {
            return false;
        }
    }
    return i == text.len && expected[i] == 0;
}

const struct bnd_http_header *bnd_http_head_find(const struct bnd_http_header *headers,
                                                 size_t count, const char *name, size_t *from) {
    size_t len = strlen(name);
    for (size_t i = *from; i < count; i++) {
        if (headers[i].name.len == len && bnd_http_text_is(headers[i].name, name)) {
            *from = i + 1;
            return &headers[i];
        }
    }
    *from = count;
    return NULL;
}

long bnd_http_head_scan(struct bnd_slice data, size_t *checked) {
    size_t at = *checked;
    while (at < data.len) {
        const uint8_t *found = memchr(data.data + at, '\n', data.len - at);
        if (found == NULL) {
            break;
        }
        size_t lf = (size_t)(found - data.data);
        if (lf == 0 || data.data[lf - 1] != '\r') {
            return -1;
        }
        bool empty_line = lf == 1 || data.data[lf - 2] == '\n';
        at = lf + 1;
        if (empty_line) {
            return (long)at;
        }
    }
    *checked = data.len;
    return 0;
}

/* ---- lines
 * -------------------------------------------------------------------------------------- */

/* Cuts the first line, without its CR LF, off *rest. False if there is none or its LF has no CR
 * before it. A CR elsewhere in it is of no class of bytes, so that what stands there is refused:
 * has_cr says then why. */
static bool line_next(struct bnd_slice *rest, struct bnd_slice *out) {
    const uint8_t *lf = rest->len == 0 ? NULL : memchr(rest->data, '\n', rest->len);
    if (lf == NULL || lf == rest->data || lf[-1] != '\r') {
        return false;
    }
    size_t len = (size_t)(lf - rest->data) - 1;
    *out = bnd_slice(rest->data, len);
    *rest = bnd_slice(lf + 1, rest->len - len - 2);
    return true;
}

static bool has_cr(struct bnd_slice line) {
    return memchr(line.data, '\r', line.len) != NULL;
}

static struct bnd_slice trimmed(struct bnd_slice s) {
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s = bnd_slice(s.data + 1, s.len - 1);
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Splits at the first `mark`; false and *out_left = all of it if there is none. */
static bool split(struct bnd_slice s, uint8_t mark, struct bnd_slice *out_left,
                  struct bnd_slice *out_right) {
    const uint8_t *found = s.len == 0 ? NULL : memchr(s.data, mark, s.len);
    size_t at = found == NULL ? s.len : (size_t)(found - s.data);
    *out_left = bnd_slice(s.data, at);
    *out_right = found == NULL ? bnd_slice(NULL, 0) : bnd_slice(s.data + at + 1, s.len - at - 1);
    return found != NULL;
}

static enum bnd_http_method method_of(struct bnd_slice token) {
    static const struct {
        const char *text;
        enum bnd_http_method method;
    } table[] = {
        {"GET", BND_HTTP_GET},         {"PUT", BND_HTTP_PUT},       {"HEAD", BND_HTTP_HEAD},
        {"POST", BND_HTTP_POST},       {"DELETE", BND_HTTP_DELETE}, {"PATCH", BND_HTTP_PATCH},
        {"OPTIONS", BND_HTTP_OPTIONS},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (bnd_slice_eq(token, bnd_slice_str(table[i].text))) {
            return table[i].method;
        }
    }
    return BND_HTTP_OTHER;
}

/* ---- the request line
 * --------------------------------------------------------------------------- */

static unsigned refuse(const char **why, unsigned status, const char *text) {
    *why = text;
    return status;
}

/* "HTTP/1.0" or "HTTP/1.1". */
static unsigned parse_version(struct bnd_slice text, struct bnd_http_head *out, const char **why) {
    if (text.len != 8 || memcmp(text.data, "HTTP/", 5) != 0 || text.data[6] != '.' ||
        text.data[5] < '0' || text.data[5] > '9' || text.data[7] < '0' || text.data[7] > '9') {
        return refuse(why, 400, "the request line does not end with an HTTP version");
    }
    if (text.data[5] != '1' || text.data[7] > '1') {
        return refuse(why, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    out->version_minor = text.data[7] == '1' ? 1 : 0;
    return 0;
}

/* origin-form, absolute-form with http or https, or "*" with OPTIONS. */
static unsigned parse_target(struct bnd_http_head *out, const char **why) {
    struct bnd_slice t = out->target;
    if (t.len == 0 || !all_of(t, TARGET)) {
        return refuse(why, 400, "the request target is empty or has an illegal byte");
    }
    if (t.len == 1 && t.data[0] == '*' && out->method == BND_HTTP_OPTIONS) {
        out->path = t;
        return 0;
    }
    if (t.data[0] != '/') {
        size_t scheme = t.len >= 7 && bnd_http_text_is(bnd_slice(t.data, 7), "http://")    ? 7
                        : t.len >= 8 && bnd_http_text_is(bnd_slice(t.data, 8), "https://") ? 8
                                                                                           : 0;
        if (scheme == 0) {
            return refuse(why, 400, "the request target is neither a path nor an http URL");
        }
        size_t end = scheme;
        while (end < t.len && t.data[end] != '/' && t.data[end] != '?') {
            end++;
        }
        out->host = bnd_slice(t.data + scheme, end - scheme);
        if (out->host.len == 0 || !all_of(out->host, HOST)) {
            return refuse(why, 400, "the request target has an illegal host");
        }
        t = bnd_slice(t.data + end, t.len - end);
    }
    (void)split(t, '?', &out->path, &out->query); /* no '?' leaves the query empty */
    if (out->path.len == 0) {
        out->path = bnd_slice_str("/");
    }
    return 0;
}

static unsigned parse_request_line(struct bnd_slice line, struct bnd_http_head *out,
                                   const char **why) {
    struct bnd_slice rest;
    struct bnd_slice version;
    if (!split(line, ' ', &out->method_token, &rest) || !bnd_http_token_valid(out->method_token)) {
        return refuse(why, 400, "the request line does not begin with a method");
    }
    if (!split(rest, ' ', &out->target, &version)) {
        return refuse(why, 400, "the request line has no HTTP version");
    }
    unsigned status = parse_version(version, out, why);
    if (status != 0) {
        return status;
    }
    out->method = method_of(out->method_token);
    return parse_target(out, why);
}

/* ---- fields
 * ------------------------------------------------------------------------------------- */

/* What the fields said about framing, host and connection, judged together at the end. */
struct seen {
    bool host;
    bool transfer_encoding;
    bool close;
    bool keep_alive;
    struct bnd_slice host_value;
};

static unsigned parse_content_length(struct bnd_slice value, struct bnd_http_head *out,
                                     const char **why) {
    if (out->has_content_length) {
        return refuse(why, 400, "Content-Length was given twice");
    }
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || length > ((uint64_t)INT64_MAX - 9) / 10) {
            return refuse(why, 400, "Content-Length is not a decimal number below 2^63");
        }
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (value.len == 0) {
        return refuse(why, 400, "Content-Length is empty");
    }
    out->has_content_length = true;
    out->content_length = length;
    return 0;
}

static unsigned parse_transfer_encoding(struct bnd_slice value, struct bnd_http_head *out,
                                        struct seen *seen, const char **why) {
    if (seen->transfer_encoding) {
        return refuse(why, 400, "Transfer-Encoding was given twice");
    }
    seen->transfer_encoding = true;
    if (!bnd_http_text_is(value, "chunked")) {
        bool ends_chunked =
            value.len > 7 && bnd_http_text_is(bnd_slice(value.data + value.len - 7, 7), "chunked");
        return ends_chunked ? refuse(why, 501, "the only transfer coding known here is chunked")
                            : refuse(why, 400, "Transfer-Encoding does not end with chunked");
    }
    out->chunked = true;
    return 0;
}

/* "close" wins over "keep-alive", whatever their order. */
static void parse_connection(struct bnd_slice value, struct seen *seen) {
    struct bnd_slice item;
    bool more = true;
    while (more) {
        more = split(value, ',', &item, &value);
        item = trimmed(item);
        seen->close = seen->close || bnd_http_text_is(item, "close");
        seen->keep_alive = seen->keep_alive || bnd_http_text_is(item, "keep-alive");
    }
}

static unsigned parse_known(const struct bnd_http_header *field, struct bnd_http_head *out,
                            struct seen *seen, const char **why) {
    switch (field->name.len) {
    case 4:
        if (bnd_http_text_is(field->name, "host")) {
            if (seen->host) {
                return refuse(why, 400, "Host was given twice");
            }
            seen->host = true;
            seen->host_value = field->value;
            if (!all_of(field->value, HOST)) {
                return refuse(why, 400, "Host has an illegal byte");
            }
        }
        return 0;
    case 14:
        return bnd_http_text_is(field->name, "content-length")
                   ? parse_content_length(field->value, out, why)
                   : 0;
    case 17:
        return bnd_http_text_is(field->name, "transfer-encoding")
                   ? parse_transfer_encoding(field->value, out, seen, why)
                   : 0;
    case 10:
        if (bnd_http_text_is(field->name, "connection")) {
            parse_connection(field->value, seen);
        }
        return 0;
    case 6:
        if (bnd_http_text_is(field->name, "expect") && out->version_minor > 0) {
            if (!bnd_http_text_is(field->value, "100-continue")) {
                return refuse(why, 417, "the only expectation known here is 100-continue");
            }
            out->expect_continue = true;
        }
        return 0;
    default:
        return 0;
    }
}

static unsigned parse_field(struct bnd_slice line, struct bnd_http_header *out, const char **why) {
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        return refuse(why, 400, "a header line begins with white space");
    }
    struct bnd_slice value;
    if (!split(line, ':', &out->name, &value)) {
        return refuse(why, 400, "a header line has no colon");
    }
    if (!bnd_http_token_valid(out->name)) {
        return refuse(why, 400, "a header name is empty or has an illegal byte");
    }
    out->value = trimmed(value);
    return bnd_http_value_valid(out->value)
               ? 0
               : refuse(why, 400, "a header value has a control character");
}

static unsigned judge_together(struct bnd_http_head *out, const struct seen *seen,
                               const char **why) {
    if (seen->transfer_encoding && out->has_content_length) {
        return refuse(why, 400, "Content-Length and Transfer-Encoding exclude each other");
    }
    if (seen->transfer_encoding && out->version_minor == 0) {
        return refuse(why, 400, "Transfer-Encoding does not exist in HTTP/1.0");
    }
    if (!seen->host && out->version_minor > 0) {
        return refuse(why, 400, "HTTP/1.1 needs a Host header");
    }
    if (out->host.len == 0) {
        out->host = seen->host_value;
    }
    return 0;
}

/* A tab around their values is legal, but llhttp 8.1 reads "chunked\t" as another coding and so
 * finds no body: two readings. */
static bool is_framing(struct bnd_slice name) {
    return (name.len == 14 && bnd_http_text_is(name, "content-length")) ||
           (name.len == 17 && bnd_http_text_is(name, "transfer-encoding"));
}

static unsigned parse_fields(struct bnd_slice rest, size_t headers_max, struct bnd_http_head *out,
                             const char **why) {
    struct seen seen = {0};
    struct bnd_slice line;
    for (;;) {
        if (!line_next(&rest, &line)) {
            return refuse(why, 400, "a header line does not end with CR LF");
        }
        if (line.len == 0) {
            break;
        }
        if (out->header_count == headers_max) {
            return refuse(why, 431, "too many headers");
        }
        struct bnd_http_header *field = &out->headers[out->header_count];
        unsigned status = parse_field(line, field, why);
        if (status == 0 && is_framing(field->name) && memchr(line.data, '\t', line.len) != NULL) {
            status = refuse(why, 400, "a tab stands in a header that frames the body");
        }
        if (status == 0) {
            status = parse_known(field, out, &seen, why);
        }
        if (status != 0) {
            return has_cr(line) ? refuse(why, 400, "a header line does not end with CR LF")
                                : status;
        }
        out->header_count++;
    }
    if (rest.len != 0) {
        return refuse(why, 400, "bytes follow the empty line of the head");
    }
    out->keep_alive = !seen.close && (out->version_minor > 0 || seen.keep_alive);
    return judge_together(out, &seen, why);
}

unsigned bnd_http_head_parse(struct bnd_slice head, size_t headers_max, struct bnd_http_head *out,
                             const char **why) {
    struct bnd_http_header *headers = out->headers;
    *out = (struct bnd_http_head){.headers = headers};
    struct bnd_slice line;
    if (!line_next(&head, &line)) {
        return refuse(why, 400, "the request line does not end with CR LF");
    }
    unsigned status = parse_request_line(line, out, why);
    if (status != 0) {
        return has_cr(line) ? refuse(why, 400, "the request line does not end with CR LF") : status;
    }
    size_t most = headers_max < BND_HTTP_HEADERS_MAX ? headers_max : BND_HTTP_HEADERS_MAX;
    return parse_fields(head, most, out, why);
}

/* ---- targets
 * ------------------------------------------------------------------------------------ */

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int bnd_http_percent_decode(struct bnd_slice text, unsigned flags, uint8_t *out, size_t *out_len) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return BND_INVALID;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && (flags & BND_HTTP_DECODE_PLUS) != 0) {
            c = ' ';
        }
        out[n++] = c;
    }
    *out_len = n;
    return 0;
}

bool bnd_http_query_next(struct bnd_slice *rest, struct bnd_slice *out_name,
                         struct bnd_slice *out_value, bool *out_has_value) {
    while (rest->len > 0) {
        struct bnd_slice piece;
        (void)split(*rest, '&', &piece, rest);
        if (piece.len == 0) {
            continue;
        }
        bool has_value = split(piece, '=', out_name, out_value);
        if (out_has_value != NULL) {
            *out_has_value = has_value;
        }
        return true;
    }
    return false;
}

bool bnd_http_query_find(struct bnd_slice query, const char *name, struct bnd_slice *out_value) {
    struct bnd_slice found;
    struct bnd_slice value;
    while (bnd_http_query_next(&query, &found, &value, NULL)) {
        if (bnd_slice_eq(found, bnd_slice_str(name))) {
            *out_value = value;
            return true;
        }
    }
    return false;
}
