/* AWS Signature Version 4 for S3: in the Authorization header, presigned in the query, and over the
 * chunks of an aws-chunked body ("Authenticating Requests (AWS Signature Version 4)", Amazon S3 API
 * reference).
 *
 * Pure but for OpenSSL's digests: no clock, no state, no key store. Parse, look the secret up,
 * verify. */
#ifndef BND_GATEWAY_S3_SIGV4_H
#define BND_GATEWAY_S3_SIGV4_H

#include "gateway/http/head.h"
#include "gateway/s3/error.h"

#define S3_SKEW_MAX_MS UINT64_C(900000)   /* 15 minutes */
#define S3_PRESIGN_MAX_S UINT64_C(604800) /* 7 days */
#define S3_SIGNATURE_LEN 64               /* hex */
#define S3_SECRET_MAX 256u                /* bytes of a secret key */

/* How the body is signed. */
enum s3_payload {
    S3_PAYLOAD_UNSIGNED,       /* UNSIGNED-PAYLOAD, and presigned requests */
    S3_PAYLOAD_HASH,           /* its SHA-256 is in the signature: verify it at the body's end */
    S3_PAYLOAD_CHUNKED_SIGNED, /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
    S3_PAYLOAD_CHUNKED_SIGNED_TRAILER,   /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER */
    S3_PAYLOAD_CHUNKED_UNSIGNED_TRAILER, /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};

/* A parsed signature: slices borrow from the head. */
struct s3_signature {
    bool presigned;
    struct bnd_slice
        access_key; /* as sent; for presigned requests still percent-encoded text without '%' */
    struct bnd_slice date; /* YYYYMMDD of the scope */
    struct bnd_slice region;
    struct bnd_slice signed_headers; /* "host;x-amz-date" */
    struct bnd_slice signature;      /* S3_SIGNATURE_LEN hex digits */
    struct bnd_slice time;           /* YYYYMMDDTHHMMSSZ */
    uint64_t time_ms;                /* the same, since 1970 */
    uint64_t expires_s;              /* presigned only */
    enum s3_payload payload;
    uint8_t payload_hash[32];      /* with S3_PAYLOAD_HASH */
    struct bnd_slice payload_text; /* the value that goes into the canonical request */
    char decoded[512];             /* private: where percent-decoded query values live */
};

/* True if the request carries a signature at all (header or query). */
bool s3_signature_present(const struct bnd_http_head *head);

/* Reads the signature and checks everything that needs no secret: algorithm, scope
 * ("/s3/aws4_request"), region (auto, us-east-1 or empty), dates, skew against now_ms, expiry, that
 * host and every x-amz-* header are signed. On error *why is a constant sentence. */
enum s3_error s3_signature_parse(const struct bnd_http_head *head, uint64_t now_ms,
                                 struct s3_signature *out, const char **why);

/* What signs: derived from a secret, a date and a region. Also signs the chunks of a body. */
struct s3_signing_key {
    uint8_t bytes[32];
};
/* secret: at most S3_SECRET_MAX bytes (asserted). */
void s3_signing_key_derive(struct bnd_slice secret, struct bnd_slice date, struct bnd_slice region,
                           struct s3_signing_key *out);

/* The signature that a request with this head must carry: what a client puts into it, and what
 * s3_signature_verify compares with. S3_InternalError without memory. */
enum s3_error s3_signature_compute(const struct s3_signature *signature,
                                   const struct bnd_http_head *head,
                                   const struct s3_signing_key *key, uint8_t out[32]);

/* Recomputes the signature. S3_SignatureDoesNotMatch, or S3_InternalError without memory. */
enum s3_error s3_signature_verify(const struct s3_signature *signature,
                                  const struct bnd_http_head *head,
                                  const struct s3_signing_key *key);

/* The signature of the next chunk of a signed aws-chunked body. previous and out: S3_SIGNATURE_LEN
 * hex digits; for the first chunk previous is the request's own. hash: SHA-256 of the chunk's
 * bytes. */
void s3_chunk_sign(const struct s3_signature *signature, const struct s3_signing_key *key,
                   const char previous[S3_SIGNATURE_LEN], const uint8_t hash[32],
                   char out[S3_SIGNATURE_LEN + 1]);
/* The same of the trailer: hash is the SHA-256 of "name:value\n" of every trailing header. */
void s3_trailer_sign(const struct s3_signature *signature, const struct s3_signing_key *key,
                     const char previous[S3_SIGNATURE_LEN], const uint8_t hash[32],
                     char out[S3_SIGNATURE_LEN + 1]);

#endif
