/* Secrets at rest in group 0: sealed with the cluster key, tokens as hashes (architecture 5).
 * AES-256-GCM (NIST SP 800-38D): version u8, nonce 12, ciphertext, tag 16; SHA-256 (FIPS 180-4). */
#ifndef BND_CATALOG_SEAL_H
#define BND_CATALOG_SEAL_H

#include "base/bytes.h"
#include "base/env.h"

#define BND_CLUSTER_KEY_LEN 32
#define BND_SHA256_LEN 32
#define BND_TOKEN_TEXT_LEN 43 /* 32 random bytes as base64url without padding */

/* Appends the sealed form of `plain` to *out. The nonce comes from env's secrets. 0, BND_NOMEM,
 * BND_IO. */
int bnd_seal(struct bnd_env *env, const uint8_t key[BND_CLUSTER_KEY_LEN], struct bnd_slice plain,
             struct bnd_buf *out);
/* Appends the plain form. BND_CORRUPT: not sealed with this key, or changed since. */
int bnd_unseal(const uint8_t key[BND_CLUSTER_KEY_LEN], struct bnd_slice sealed,
               struct bnd_buf *out);

void bnd_sha256(struct bnd_slice data, uint8_t out[BND_SHA256_LEN]);

/* A new random token, terminated. Only its hash is stored. */
void bnd_token_make(struct bnd_env *env, char out[BND_TOKEN_TEXT_LEN + 1]);

/* Equal, in time that depends on the lengths only. */
bool bnd_secret_eq(struct bnd_slice a, struct bnd_slice b);

#endif
