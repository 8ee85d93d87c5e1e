/* The aws-chunked coding of bodies: a pure, incremental, strict decoder ("Signature Calculations
 * for the Authorization Header: Transferring Payload in Multiple Chunks", with and without trailing
 * headers, Amazon S3 API reference).
 *
 *   hex-size ["; chunk-signature=" 64 hex] CR LF data CR LF ... a chunk of size 0 without data,
 * then trailer lines "name:value" CR LF, with signed trailers "x-amz-trailer-signature:" last; CR
 * LF.
 *
 * Data comes out before the signature of its chunk has been checked: nothing may become visible
 * before END. Bounds: size lines of S3_CHUNK_LINE_MAX, chunks of S3_CHUNK_BYTES_MAX, trailers of
 * S3_TRAILER_BYTES_MAX bytes. */
#ifndef BND_GATEWAY_S3_CHUNKED_H
#define BND_GATEWAY_S3_CHUNKED_H

#include "gateway/s3/sigv4.h"

#define S3_CHUNK_LINE_MAX 256u
#define S3_CHUNK_BYTES_MAX (UINT64_C(5) << 30)
#define S3_TRAILER_BYTES_MAX 2048u
#define S3_TRAILERS_MAX 8u

struct s3_trailer {
    struct bnd_slice name;
    struct bnd_slice value;
};

enum s3_chunked_result {
    S3_CHUNKED_MORE,   /* all input is used */
    S3_CHUNKED_DATA,   /* *out_data is the next piece; call again with the rest */
    S3_CHUNKED_END,    /* the last byte of the coding: nothing may follow */
    S3_CHUNKED_BAD,    /* not of this form */
    S3_CHUNKED_FORGED, /* a signature does not fit */
};

struct s3_chunked {
    struct s3_trailer trailers[S3_TRAILERS_MAX]; /* after END: without the signature */
    size_t trailer_count;
    /* private */
    const struct s3_signature *signature;
    struct s3_signing_key key;
    bool is_signed;
    bool has_trailer;
    int state;
    uint64_t left;
    size_t line_len;
    size_t text_len;
    void *hash; /* EVP_MD_CTX of the chunk's data */
    char previous[S3_SIGNATURE_LEN + 1];
    char given[S3_SIGNATURE_LEN + 1];
    char line[S3_CHUNK_LINE_MAX];
    char text[S3_TRAILER_BYTES_MAX]; /* the trailers, as lines ending with LF */
};

/* signature: borrowed; its payload is one of the three STREAMING kinds (asserted). BND_NOMEM (then
 * free it all the same). */
int s3_chunked_init(struct s3_chunked *decoder, const struct s3_signature *signature,
                    const struct s3_signing_key *key);
void s3_chunked_free(struct s3_chunked *decoder); /* zeroed: allowed */

/* Takes bytes off *in. *out_data points into them and is set for DATA only. After END, BAD or
 * FORGED it is not called again. */
enum s3_chunked_result s3_chunked_next(struct s3_chunked *decoder, struct bnd_slice *in,
                                       struct bnd_slice *out_data);

#endif
