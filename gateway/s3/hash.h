/* OpenSSL's hashes, looked up once: what the library does by itself each time one of its own names
 * (EVP_sha256()) is used costs more than hashing a small request. */
#ifndef BND_GATEWAY_S3_HASH_H
#define BND_GATEWAY_S3_HASH_H

#include "objects/objects.h"

#include <openssl/evp.h>

#define S3_SHA256_LEN 32

/* NULL: the checksum is no hash (the CRCs). Kept for the life of the process; any thread. */
const EVP_MD *s3_hash(enum bnd_checksum kind);

/* Both assert that OpenSSL has memory, as it does itself in places. */
void s3_sha256(struct bnd_slice data, uint8_t out[S3_SHA256_LEN]);
/* RFC 2104 with SHA-256. */
void s3_hmac(struct bnd_slice key, struct bnd_slice data, uint8_t out[S3_SHA256_LEN]);

#endif
