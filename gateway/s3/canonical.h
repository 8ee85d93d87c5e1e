/* The canonical request of Signature Version 4: internal to gateway/s3. */
#ifndef BND_GATEWAY_S3_CANONICAL_H
#define BND_GATEWAY_S3_CANONICAL_H

#include "gateway/s3/sigv4.h"

/* SHA-256 of the canonical request. Path and query are decoded and encoded again, so that every
 * spelling of the same request has the same signature; in a query '+' is a space. BND_NOMEM;
 * BND_INVALID for a broken %-escape. */
int s3_canonical_hash(const struct s3_signature *signature, const struct bnd_http_head *head,
                      uint8_t out[32]);

/* Appends text as AWS encodes it: A-Z a-z 0-9 - . _ ~ as they are, '/' too if keep_slash, else %XX.
 */
void s3_uri_encode(struct bnd_buf *out, struct bnd_slice text, bool keep_slash);

#endif
