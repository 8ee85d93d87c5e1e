#include "catalog/seal.h"

#include "base/assert.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

enum { SEAL_VERSION = 1, NONCE_LEN = 12, TAG_LEN = 16, OVERHEAD = 1 + NONCE_LEN + TAG_LEN };

static void context_free(EVP_CIPHER_CTX **context) {
    EVP_CIPHER_CTX_free(*context);
}
#define AUTO_CONTEXT __attribute__((cleanup(context_free))) EVP_CIPHER_CTX *

int bnd_seal(struct bnd_env *env, const uint8_t key[BND_CLUSTER_KEY_LEN], struct bnd_slice plain,
             struct bnd_buf *out) {
    BND_ASSERT(plain.len <= INT32_MAX);
    if (!bnd_buf_reserve(out, plain.len + OVERHEAD)) {
        return BND_NOMEM;
    }
    AUTO_CONTEXT context = EVP_CIPHER_CTX_new();
    uint8_t *nonce = out->data + out->len + 1;
    uint8_t *cipher = nonce + NONCE_LEN;
    int len = 0;
    out->data[out->len] = SEAL_VERSION;
    env->ops->random_secret(env, nonce, NONCE_LEN);
    if (context == NULL || EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
        EVP_EncryptUpdate(context, cipher, &len, plain.data, (int)plain.len) != 1 ||
        EVP_EncryptFinal_ex(context, cipher + len, &len) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_LEN, cipher + plain.len) != 1) {
        return BND_IO;
    }
    out->len += plain.len + OVERHEAD;
    return 0;
}

int bnd_unseal(const uint8_t key[BND_CLUSTER_KEY_LEN], struct bnd_slice sealed,
               struct bnd_buf *out) {
    if (sealed.len < OVERHEAD || sealed.len > INT32_MAX || sealed.data[0] != SEAL_VERSION) {
        return BND_CORRUPT;
    }
    size_t plain_len = sealed.len - OVERHEAD;
    if (!bnd_buf_reserve(out, plain_len + 1)) {
        return BND_NOMEM;
    }
    AUTO_CONTEXT context = EVP_CIPHER_CTX_new();
    const uint8_t *nonce = sealed.data + 1;
    const uint8_t *cipher = nonce + NONCE_LEN;
    uint8_t tag[TAG_LEN];
    memcpy(tag, cipher + plain_len, TAG_LEN);
    int len = 0;
    if (context == NULL || EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
        EVP_DecryptUpdate(context, out->data + out->len, &len, cipher, (int)plain_len) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) != 1 ||
        EVP_DecryptFinal_ex(context, out->data + out->len + len, &len) != 1) {
        return BND_CORRUPT;
    }
    out->len += plain_len;
    return 0;
}

void bnd_sha256(struct bnd_slice data, uint8_t out[BND_SHA256_LEN]) {
    unsigned len = 0;
    int ok = EVP_Digest(data.data, data.len, out, &len, EVP_sha256(), NULL);
    BND_ASSERT(ok == 1);
    BND_ASSERT(len == BND_SHA256_LEN);
}

void bnd_token_make(struct bnd_env *env, char out[BND_TOKEN_TEXT_LEN + 1]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[33] = {0}; /* 32 random ones; the last is padding whose digit is cut */
    env->ops->random_secret(env, bytes, 32);
    for (size_t i = 0; i < BND_TOKEN_TEXT_LEN; i++) {
        size_t bit = i * 6;
        unsigned pair = (unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
        out[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    out[BND_TOKEN_TEXT_LEN] = 0;
    OPENSSL_cleanse(bytes, sizeof bytes);
}

bool bnd_secret_eq(struct bnd_slice a, struct bnd_slice b) {
    return a.len == b.len && CRYPTO_memcmp(a.data, b.data, a.len) == 0;
}
