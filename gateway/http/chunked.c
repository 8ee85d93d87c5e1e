/*   SIZE -> [EXTENSION ->] SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                             | (size 0)
 *                             v
 *                      TRAILER_START -> NAME -> VALUE -> VALUE_LF -> TRAILER_START ...
 *                             |
 *                             v
 *                          END_LF -> end                                                        */
#include "gateway/http/chunked.h"

#include "gateway/http/head.h"

enum state {
    SIZE, /* 0: the beginning */
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    ENDED,
    BAD,
};

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum state size_byte(struct bnd_http_chunked *d, uint8_t c) {
    int digit = hex_digit(c);
    if (digit >= 0) {
        d->left = d->left << 4 | (uint64_t)digit;
        d->digits++;
        return d->digits <= 16 && d->left <= INT64_MAX ? SIZE : BAD;
    }
    if (d->digits == 0) {
        return BAD;
    }
    return c == ';' ? EXTENSION : c == '\r' ? SIZE_LF : BAD;
}

static bool is_value(uint8_t c) {
    return bnd_http_value_valid(bnd_slice(&c, 1));
}

static bool is_token(uint8_t c) {
    return bnd_http_token_valid(bnd_slice(&c, 1));
}

/* One byte of anything but chunk data. */
static enum state line_byte(struct bnd_http_chunked *d, uint8_t c) {
    switch ((enum state)d->state) {
    case SIZE:
        return size_byte(d, c);
    case EXTENSION:
        return c == '\r' ? SIZE_LF : is_value(c) ? EXTENSION : BAD;
    case SIZE_LF:
        d->line = 0;
        d->digits = 0;
        return c != '\n' ? BAD : d->left > 0 ? DATA : TRAILER_START;
    case DATA_CR:
        return c == '\r' ? DATA_LF : BAD;
    case DATA_LF:
        d->line = 0;
        return c == '\n' ? SIZE : BAD;
    case TRAILER_START:
        return c == '\r' ? END_LF : is_token(c) ? TRAILER_NAME : BAD;
    case TRAILER_NAME:
        return c == ':' ? TRAILER_VALUE : is_token(c) ? TRAILER_NAME : BAD;
    case TRAILER_VALUE:
        return c == '\r' ? TRAILER_LF : is_value(c) ? TRAILER_VALUE : BAD;
    case TRAILER_LF:
        return c == '\n' ? TRAILER_START : BAD;
    case END_LF:
        return c == '\n' ? ENDED : BAD;
    case DATA:
    case ENDED:
    case BAD:
        break;
    }
    return BAD;
}

static bool line_too_long(const struct bnd_http_chunked *d) {
    return d->line >
           (d->state >= TRAILER_START ? BND_HTTP_TRAILER_BYTES_MAX : BND_HTTP_CHUNK_LINE_MAX);
}

enum bnd_http_chunked_result bnd_http_chunked_next(struct bnd_http_chunked *decoder,
                                                   struct bnd_slice *in,
                                                   struct bnd_slice *out_data) {
    while (in->len > 0) {
        if (decoder->state == DATA) {
            size_t n = decoder->left < in->len ? (size_t)decoder->left : in->len;
            *out_data = bnd_slice(in->data, n);
            *in = bnd_slice(in->data + n, in->len - n);
            decoder->left -= n;
            decoder->state = decoder->left == 0 ? DATA_CR : DATA;
            return BND_HTTP_CHUNKED_DATA;
        }
        decoder->line++;
        decoder->state = (uint8_t)line_byte(decoder, in->data[0]);
        *in = bnd_slice(in->data + 1, in->len - 1);
        if (decoder->state == BAD || line_too_long(decoder)) {
            decoder->state = BAD;
            return BND_HTTP_CHUNKED_BAD;
        }
        if (decoder->state == ENDED) {
            return BND_HTTP_CHUNKED_END;
        }
    }
    return BND_HTTP_CHUNKED_MORE;
}
