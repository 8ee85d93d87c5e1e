/* Heads of HTTP/1.x requests: a pure, strict parser over one contiguous head (ADR 0035).
 *
 * Purpose: say once, and in one place, what bytes are a request. Whatever two parsers of one chain
 * could read differently is refused: request smuggling needs two readings.
 *
 * What holds after a parse that returned 0:
 *  1. Lines ended with CR LF and neither byte occurs anywhere else; no NUL, DEL or other control
 *     character but HTAB inside a value.
 *  2. Names are tokens, directly followed by ':'; no line began with white space (no folding).
 *  3. The body's length has one reading: none, one decimal Content-Length, or "chunked" alone (and
 *     then HTTP/1.1 and no Content-Length).
 *  4. Version is 1.0 or 1.1; 1.1 carried Host exactly once and 1.0 at most once.
 *  5. Every slice points into the caller's head, whose bytes are not changed (or is a constant: the
 *     path "/" of an absolute target without one).
 *
 * No allocation, no clock, no state: thread-safe. Sources: RFC 9110, RFC 9112. */
#ifndef BND_GATEWAY_HTTP_HEAD_H
#define BND_GATEWAY_HTTP_HEAD_H

#include "base/bytes.h"

#define BND_HTTP_HEAD_BYTES_MAX (64u << 10) /* request line, fields and the empty line */
#define BND_HTTP_HEADERS_MAX 128u

enum bnd_http_method {
    BND_HTTP_OTHER, /* see the token; CONNECT and TRACE are here too */
    BND_HTTP_GET,
    BND_HTTP_HEAD,
    BND_HTTP_PUT,
    BND_HTTP_POST,
    BND_HTTP_DELETE,
    BND_HTTP_PATCH,
    BND_HTTP_OPTIONS,
};

/* One field. In requests: name as sent, value without the white space around it. */
struct bnd_http_header {
    struct bnd_slice name;
    struct bnd_slice value;
};

struct bnd_http_head {
    enum bnd_http_method method;
    struct bnd_slice method_token; /* methods are case-sensitive */
    struct bnd_slice target;       /* as sent */
    struct bnd_slice path;         /* raw, not decoded; begins with '/', or is "*" (OPTIONS only) */
    struct bnd_slice query;        /* raw, without '?'; empty if there was none */
    struct bnd_slice host;         /* of an absolute target, else the Host field; may be empty */
    unsigned version_minor;        /* HTTP/1.<0 or 1> */
    bool has_content_length;
    bool chunked;
    bool keep_alive;      /* what the client asks for, after version and Connection */
    bool expect_continue; /* Expect: 100-continue, HTTP/1.1 only */
    uint64_t content_length;
    size_t header_count;
    struct bnd_http_header *headers; /* the caller's array, in the order received */
};

/* Looks for the end of a head in received bytes. *checked (0 at first) remembers how far it has
 * looked, so that a head arriving byte by byte costs no more than one arriving at once. Returns the
 * length of the head with its empty line, 0 if more bytes are needed, or -1 for an LF without CR
 * before it: no head. It does not bound the length: the caller does. */
long bnd_http_head_scan(struct bnd_slice data, size_t *checked);

/* Parses one whole head (the length bnd_http_head_scan returned). out->headers and headers_max (its
 * room, at most BND_HTTP_HEADERS_MAX is used) are the caller's. Returns 0, or the HTTP status to
 * refuse with - 400, 414, 417, 431, 501, 505 - and *why, a constant sentence. */
unsigned bnd_http_head_parse(struct bnd_slice head, size_t headers_max, struct bnd_http_head *out,
                             const char **why);

/* The first field of that name from index *from on (case-insensitive), or NULL; *from is moved
 * behind it. */
const struct bnd_http_header *bnd_http_head_find(const struct bnd_http_header *headers,
                                                 size_t count, const char *name, size_t *from);

/* ASCII case-insensitive equality. */
bool bnd_http_text_is(struct bnd_slice text, const char *expected);

/* True for bytes that may stand in a field value: HTAB, and everything but control characters. */
bool bnd_http_value_valid(struct bnd_slice value);

/* True for a non-empty token (RFC 9110 5.6.2). */
bool bnd_http_token_valid(struct bnd_slice token);

/* ---- targets
 * ------------------------------------------------------------------------------------ */

enum bnd_http_decode_flags { BND_HTTP_DECODE_PLUS = 1 /* '+' is a space: queries of HTML forms */ };

/* Decodes %XX into out, which has room for text.len bytes and may be text.data itself. Bytes of any
 * value may come out, 0 included: the caller checks. BND_INVALID: '%' without two hex digits. */
int bnd_http_percent_decode(struct bnd_slice text, unsigned flags, uint8_t *out, size_t *out_len);

/* Walks a raw query: "a=1&b&c=" gives (a,1), (b,""), (c,""). Empty pieces are skipped. *rest is the
 * query at first; returns false at the end. Nothing is decoded; *out_has_value tells "b" from
 * "b=" (NULL allowed). */
bool bnd_http_query_next(struct bnd_slice *rest, struct bnd_slice *out_name,
                         struct bnd_slice *out_value, bool *out_has_value);

/* The raw value of the first parameter whose raw name is exactly `name`; false if there is none. */
bool bnd_http_query_find(struct bnd_slice query, const char *name, struct bnd_slice *out_value);

#endif
