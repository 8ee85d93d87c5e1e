#include "gateway/s3/hash.h"

#include "base/assert.h"

#include <openssl/crypto.h>
#include <pthread.h>

#define BLOCK_BYTES 64 /* of SHA-256 */
#define INNER_PAD 0x36
#define OUTER_PAD 0x5c

static EVP_MD *hashes[BND_CHECKSUM_COUNT];
static pthread_once_t hashes_once = PTHREAD_ONCE_INIT;

static void fetch_all(void) {
    static const char *const names[BND_CHECKSUM_COUNT] = {
        [BND_CHECKSUM_MD5] = "MD5",       [BND_CHECKSUM_SHA1] = "SHA1",
        [BND_CHECKSUM_SHA256] = "SHA256", [BND_CHECKSUM_SHA384] = "SHA384",
        [BND_CHECKSUM_SHA512] = "SHA512",
    };
    for (size_t kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        if (names[kind] != NULL) {
            hashes[kind] = EVP_MD_fetch(NULL, names[kind], NULL);
            BND_ASSERT(hashes[kind] != NULL);
        }
    }
}

const EVP_MD *s3_hash(enum bnd_checksum kind) {
    BND_ASSERT(kind < BND_CHECKSUM_COUNT);
    (void)pthread_once(&hashes_once, fetch_all);
    return hashes[kind];
}

void s3_sha256(struct bnd_slice data, uint8_t out[S3_SHA256_LEN]) {
    int ok = EVP_Digest(data.data, data.len, out, NULL, s3_hash(BND_CHECKSUM_SHA256), NULL);
    BND_ASSERT(ok == 1);
}

static void hash_padded(EVP_MD_CTX *context, const uint8_t block[BLOCK_BYTES], uint8_t pad,
                        struct bnd_slice data, uint8_t out[S3_SHA256_LEN]) {
    uint8_t padded[BLOCK_BYTES];
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        padded[i] = block[i] ^ pad;
    }
    int ok = EVP_DigestInit_ex2(context, s3_hash(BND_CHECKSUM_SHA256), NULL) == 1 &&
             EVP_DigestUpdate(context, padded, sizeof padded) == 1 &&
             EVP_DigestUpdate(context, data.data, data.len) == 1 &&
             EVP_DigestFinal_ex(context, out, NULL) == 1;
    BND_ASSERT(ok == 1);
    OPENSSL_cleanse(padded, sizeof padded);
}

void s3_hmac(struct bnd_slice key, struct bnd_slice data, uint8_t out[S3_SHA256_LEN]) {
    uint8_t block[BLOCK_BYTES] = {0};
    uint8_t inner[S3_SHA256_LEN];
    if (key.len > sizeof block) {
        s3_sha256(key, block);
    } else if (key.len > 0) {
        memcpy(block, key.data, key.len);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    BND_ASSERT(context != NULL);
    hash_padded(context, block, INNER_PAD, data, inner);
    hash_padded(context, block, OUTER_PAD, bnd_slice(inner, sizeof inner), out);
    EVP_MD_CTX_free(context);
    OPENSSL_cleanse(block, sizeof block);
}
