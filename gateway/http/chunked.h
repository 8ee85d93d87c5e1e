/* The chunked transfer coding: a pure, incremental, strict decoder (RFC 9112 7.1, ADR 0035).
 *
 * Accepted: 1 to 16 hex digits below 2^63, then nothing or ";" and an extension of field-value
 * bytes; CR LF; exactly that many bytes; CR LF; ...; the chunk of size 0; trailer lines with token
 * names and valid values; CR LF. Extensions and trailers are checked and dropped. White space
 * around the size, bare CR or LF, size lines above BND_HTTP_CHUNK_LINE_MAX and trailers above
 * BND_HTTP_TRAILER_BYTES_MAX are errors. */
#ifndef BND_GATEWAY_HTTP_CHUNKED_H
#define BND_GATEWAY_HTTP_CHUNKED_H

#include "base/bytes.h"

#define BND_HTTP_CHUNK_LINE_MAX 512u
#define BND_HTTP_TRAILER_BYTES_MAX (8u << 10)

/* Zero-initialised is the beginning of a body. */
struct bnd_http_chunked {
    uint64_t left;  /* of the chunk's data */
    uint16_t line;  /* bytes of the size line or of the trailers so far */
    uint8_t digits; /* of the size */
    uint8_t state;
};

enum bnd_http_chunked_result {
    BND_HTTP_CHUNKED_MORE, /* all input is used */
    BND_HTTP_CHUNKED_DATA, /* *out_data is the next piece; call again with the rest */
    BND_HTTP_CHUNKED_END,  /* the body has ended; the rest is the next request's */
    BND_HTTP_CHUNKED_BAD,
};

/* Takes bytes off *in. *out_data points into them and is set for DATA only. After END or BAD the
 * decoder is not called again. */
enum bnd_http_chunked_result bnd_http_chunked_next(struct bnd_http_chunked *decoder,
                                                   struct bnd_slice *in,
                                                   struct bnd_slice *out_data);

#endif
