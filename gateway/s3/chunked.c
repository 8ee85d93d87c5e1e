/* The aws-chunked decoder: a machine over bytes.
 *
 *   LINE -> DATA -> DATA_END -> LINE ...
 *        -> (size 0) TRAILER_LINE ... -> END
 *
 * Invariants: 1. `previous` is the signature of the last chunk that was verified; 2. `given` is the
 * one that the chunk being read must have; 3. a chunk's signature is checked when its data is
 * complete, the last one's (of no data) at once. */
#include "gateway/s3/chunked.h"

#include "base/assert.h"
#include "base/error.h"
#include "gateway/s3/hash.h"

#include <openssl/crypto.h>

enum { LINE, DATA, DATA_CR, DATA_LF, TRAILER, ENDED };

#define CHUNK_EXTENSION ";chunk-signature="
#define TRAILER_SIGNATURE "x-amz-trailer-signature"

int s3_chunked_init(struct s3_chunked *decoder, const struct s3_signature *signature,
                    const struct s3_signing_key *key) {
    memset(decoder, 0, sizeof *decoder);
    BND_ASSERT(signature->payload >= S3_PAYLOAD_CHUNKED_SIGNED);
    BND_ASSERT(signature->signature.len == S3_SIGNATURE_LEN);
    decoder->signature = signature;
    decoder->key = *key;
    decoder->is_signed = signature->payload != S3_PAYLOAD_CHUNKED_UNSIGNED_TRAILER;
    decoder->has_trailer = signature->payload != S3_PAYLOAD_CHUNKED_SIGNED;
    memcpy(decoder->previous, signature->signature.data, S3_SIGNATURE_LEN);
    decoder->hash = decoder->is_signed ? EVP_MD_CTX_new() : NULL;
    return decoder->is_signed && decoder->hash == NULL ? BND_NOMEM : 0;
}

void s3_chunked_free(struct s3_chunked *decoder) {
    EVP_MD_CTX_free(decoder->hash);
    decoder->hash = NULL;
}

/* ---- signatures
 * --------------------------------------------------------------------------------------- */

static bool chunk_genuine(struct s3_chunked *decoder) {
    uint8_t hash[32];
    char computed[S3_SIGNATURE_LEN + 1];
    if (!decoder->is_signed) {
        return true;
    }
    int done = EVP_DigestFinal_ex(decoder->hash, hash, NULL);
    BND_ASSERT(done == 1);
    s3_chunk_sign(decoder->signature, &decoder->key, decoder->previous, hash, computed);
    if (CRYPTO_memcmp(computed, decoder->given, S3_SIGNATURE_LEN) != 0) {
        return false;
    }
    memcpy(decoder->previous, computed, S3_SIGNATURE_LEN);
    return true;
}

static bool trailer_genuine(struct s3_chunked *decoder, struct bnd_slice given) {
    uint8_t hash[32];
    char computed[S3_SIGNATURE_LEN + 1];
    s3_sha256(bnd_slice(decoder->text, decoder->text_len), hash);
    s3_trailer_sign(decoder->signature, &decoder->key, decoder->previous, hash, computed);
    return given.len == S3_SIGNATURE_LEN &&
           CRYPTO_memcmp(computed, given.data, S3_SIGNATURE_LEN) == 0;
}

/* ---- the size line
 * ------------------------------------------------------------------------------------ */

static bool hex_digit(char c, uint64_t *out) {
    if (c >= '0' && c <= '9') {
        *out = (uint64_t)(c - '0');
    } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
        *out = (uint64_t)((c | 32) - 'a' + 10);
    } else {
        return false;
    }
    return true;
}

/* "size[;chunk-signature=...]" without its CR LF. */
static bool read_size(struct s3_chunked *decoder) {
    uint64_t size = 0;
    uint64_t digit = 0;
    size_t at = 0;
    for (; at < decoder->line_len && hex_digit(decoder->line[at], &digit); at++) {
        size = size * 16 + digit;
        if (at >= 16 || size > S3_CHUNK_BYTES_MAX) {
            return false;
        }
    }
    struct bnd_slice rest = bnd_slice(decoder->line + at, decoder->line_len - at);
    struct bnd_slice extension = bnd_slice_str(CHUNK_EXTENSION);
    decoder->left = size;
    if (at == 0 || !decoder->is_signed) {
        return at > 0 && rest.len == 0;
    }
    if (rest.len != extension.len + S3_SIGNATURE_LEN || !bnd_slice_starts(rest, extension)) {
        return false;
    }
    memcpy(decoder->given, rest.data + extension.len, S3_SIGNATURE_LEN);
    int done = EVP_DigestInit_ex2(decoder->hash, s3_hash(BND_CHECKSUM_SHA256), NULL);
    BND_ASSERT(done == 1);
    return true;
}

/* Adds one byte to the line. 1: the line is complete (its CR LF left out); 0: more; -1: too long,
 * or a bare CR or LF. A LF right before the CR LF is dropped where lf_ok: AWS's own example of a
 * signed trailer, and clients made after it, have it. */
static int line_add(struct s3_chunked *decoder, uint8_t byte, bool lf_ok) {
    if (byte == '\n' && decoder->line_len > 0 && decoder->line[decoder->line_len - 1] == '\r') {
        decoder->line_len--;
        if (lf_ok && decoder->line_len > 0 && decoder->line[decoder->line_len - 1] == '\n') {
            decoder->line_len--;
        }
        return memchr(decoder->line, '\r', decoder->line_len) == NULL &&
                       memchr(decoder->line, '\n', decoder->line_len) == NULL
                   ? 1
                   : -1;
    }
    if (decoder->line_len == sizeof decoder->line) {
        return -1;
    }
    decoder->line[decoder->line_len++] = (char)byte;
    return 0;
}

static enum s3_chunked_result end_size_line(struct s3_chunked *decoder) {
    if (!read_size(decoder)) {
        return S3_CHUNKED_BAD;
    }
    decoder->line_len = 0;
    decoder->state = decoder->left > 0 ? DATA : TRAILER;
    return decoder->left == 0 && !chunk_genuine(decoder) ? S3_CHUNKED_FORGED : S3_CHUNKED_MORE;
}

/* ---- trailers
 * ----------------------------------------------------------------------------------------- */

static bool keep_trailer(struct s3_chunked *decoder, struct bnd_slice name,
                         struct bnd_slice value) {
    if (decoder->trailer_count == S3_TRAILERS_MAX ||
        name.len + value.len + 2 > sizeof decoder->text - decoder->text_len) {
        return false;
    }
    char *at = decoder->text + decoder->text_len;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        at[i] = (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
    }
    at[name.len] = ':';
    memcpy(at + name.len + 1, value.data, value.len);
    at[name.len + 1 + value.len] = '\n';
    decoder->text_len += name.len + value.len + 2;
    decoder->trailers[decoder->trailer_count++] = (struct s3_trailer){
        .name = bnd_slice(at, name.len), .value = bnd_slice(at + name.len + 1, value.len)};
    return true;
}

static struct bnd_slice trimmed(struct bnd_slice text) {
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = bnd_slice(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

/* One line behind the last chunk. Signed trailers are complete only with their signature, which is
 * the last of them. */
static enum s3_chunked_result end_trailer_line(struct s3_chunked *decoder) {
    struct bnd_slice line = bnd_slice(decoder->line, decoder->line_len);
    decoder->line_len = 0;
    bool signature_due = decoder->is_signed && decoder->has_trailer;
    if (line.len == 0) {
        bool complete = !signature_due || decoder->given[0] == 0;
        decoder->state = ENDED;
        return complete ? S3_CHUNKED_END : S3_CHUNKED_BAD;
    }
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (!decoder->has_trailer || colon == NULL || (signature_due && decoder->given[0] == 0)) {
        return S3_CHUNKED_BAD;
    }
    struct bnd_slice name = bnd_slice(line.data, (size_t)(colon - line.data));
    struct bnd_slice value = trimmed(bnd_slice(colon + 1, line.len - name.len - 1));
    if (!bnd_http_token_valid(name) || !bnd_http_value_valid(value)) {
        return S3_CHUNKED_BAD;
    }
    if (bnd_http_text_is(name, TRAILER_SIGNATURE)) {
        if (!signature_due) {
            return S3_CHUNKED_BAD;
        }
        decoder->given[0] = 0; /* marks the signature as seen */
        return trailer_genuine(decoder, value) ? S3_CHUNKED_MORE : S3_CHUNKED_FORGED;
    }
    return keep_trailer(decoder, name, value) ? S3_CHUNKED_MORE : S3_CHUNKED_BAD;
}

/* ---- the machine
 * --------------------------------------------------------------------------------------- */

static enum s3_chunked_result take_byte(struct s3_chunked *decoder, uint8_t byte) {
    int complete = 0;
    switch (decoder->state) {
    case LINE:
        complete = line_add(decoder, byte, false);
        return complete < 0   ? S3_CHUNKED_BAD
               : complete > 0 ? end_size_line(decoder)
                              : S3_CHUNKED_MORE;
    case TRAILER:
        complete = line_add(decoder, byte, true);
        return complete < 0   ? S3_CHUNKED_BAD
               : complete > 0 ? end_trailer_line(decoder)
                              : S3_CHUNKED_MORE;
    case DATA_CR:
        decoder->state = DATA_LF;
        return byte == '\r' ? S3_CHUNKED_MORE : S3_CHUNKED_BAD;
    case DATA_LF:
        decoder->state = LINE;
        if (byte != '\n') {
            return S3_CHUNKED_BAD;
        }
        return chunk_genuine(decoder) ? S3_CHUNKED_MORE : S3_CHUNKED_FORGED;
    default:
        BND_UNREACHABLE("aws-chunked state");
    }
}

enum s3_chunked_result s3_chunked_next(struct s3_chunked *decoder, struct bnd_slice *in,
                                       struct bnd_slice *out_data) {
    BND_ASSERT(decoder->state != ENDED);
    while (in->len > 0) {
        if (decoder->state == DATA) {
            size_t n = decoder->left < in->len ? (size_t)decoder->left : in->len;
            *out_data = bnd_slice(in->data, n);
            *in = bnd_slice(in->data + n, in->len - n);
            decoder->left -= n;
            decoder->state = decoder->left == 0 ? DATA_CR : DATA;
            if (decoder->is_signed) {
                int done = EVP_DigestUpdate(decoder->hash, out_data->data, n);
                BND_ASSERT(done == 1);
            }
            return S3_CHUNKED_DATA;
        }
        enum s3_chunked_result result = take_byte(decoder, in->data[0]);
        *in = bnd_slice(in->data + 1, in->len - 1);
        if (result != S3_CHUNKED_MORE) {
            return result;
        }
    }
    return S3_CHUNKED_MORE;
}
