#include "catalog/issue.h"

#include "base/assert.h"
#include "net/pki.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

enum { TOKEN_ID_LEN = 16 };

/* count characters of a 32-letter alphabet, without bias. */
static void random_letters(struct bnd_env *env, char *out, size_t count) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    for (size_t i = 0; i < count; i++) {
        uint8_t byte = 0;
        env->ops->random_secret(env, &byte, 1);
        out[i] = letters[byte & 31];
    }
    out[count] = 0;
}

void bnd_issue_token(struct bnd_env *env, const struct bnd_issue_scope *scope,
                     struct bnd_buf *record, char out_id[BND_TOKEN_ID_TEXT],
                     char out_token[BND_TOKEN_TEXT_LEN + 1]) {
    uint8_t id[TOKEN_ID_LEN];
    uint8_t hash[BND_SHA256_LEN];
    env->ops->random_secret(env, id, sizeof id);
    bnd_hex_encode(id, sizeof id, out_id);
    bnd_token_make(env, out_token);
    bnd_sha256(bnd_slice_str(out_token), hash);
    struct bnd_token_record token = {
        .id = bnd_slice_str(out_id),
        .permissions = scope->permissions,
        .secret_hash = bnd_slice(hash, sizeof hash),
        .label = scope->label,
        .bucket = scope->bucket,
    };
    bnd_token_encode(record, &token);
}

int bnd_issue_s3_key(struct bnd_env *env, const uint8_t cluster_key[BND_CLUSTER_KEY_LEN],
                     const struct bnd_issue_scope *scope, struct bnd_buf *record,
                     char out_access_key[BND_ACCESS_KEY_TEXT],
                     char out_secret[BND_SECRET_KEY_TEXT]) {
    BND_AUTO_BUF struct bnd_buf sealed = {0};
    memcpy(out_access_key, "BND", 3);
    random_letters(env, out_access_key + 3, BND_ACCESS_KEY_TEXT - 4);
    random_letters(env, out_secret, BND_SECRET_KEY_TEXT - 1);
    int rv = bnd_seal(env, cluster_key, bnd_slice_str(out_secret), &sealed);
    if (rv != 0) {
        OPENSSL_cleanse(out_secret, BND_SECRET_KEY_TEXT);
        return rv;
    }
    struct bnd_key_record key = {
        .access_key = bnd_slice_str(out_access_key),
        .permissions = scope->permissions,
        .sealed_secret = bnd_buf_slice(&sealed),
        .bucket = scope->bucket,
        .label = scope->label,
    };
    bnd_key_encode(record, &key);
    return 0;
}

void bnd_issue_ca_free(struct bnd_issue_ca *ca) {
    bnd_buf_free(&ca->certificate);
    bnd_buf_free(&ca->sealed_key);
    bnd_buf_free(&ca->link);
}

int bnd_issue_next_ca(struct bnd_env *env, const uint8_t cluster_key[BND_CLUSTER_KEY_LEN],
                      const struct bnd_settings *settings, struct bnd_issue_ca *out,
                      struct bnd_error *err) {
    BND_AUTO_BUF struct bnd_buf old_key = {0};
    struct bnd_pki_successor next = {0};
    struct bnd_issue_ca made = {0};
    if (bnd_unseal(cluster_key, settings->ca_key, &old_key) != 0) {
        return BND_FAIL(err, CORRUPT, "the CA key cannot be unsealed with this node's cluster key");
    }
    const struct bnd_pki_ca old = {settings->ca_cert, bnd_buf_slice(&old_key)};
    int rv = bnd_pki_ca_succeed(&old, bnd_wall_ms(env), &next, err);
    OPENSSL_cleanse(old_key.data, old_key.cap);
    if (rv == 0) {
        rv = bnd_seal(env, cluster_key, bnd_buf_slice(&next.key_pem), &made.sealed_key);
        bnd_buf_append_slice(&made.certificate, bnd_buf_slice(&next.certificate_pem));
        bnd_buf_append_slice(&made.link, bnd_buf_slice(&next.link_pem));
    }
    bnd_pki_successor_free(&next);
    if (rv == 0 && (made.certificate.failed || made.link.failed)) {
        rv = BND_FAIL(err, NOMEM, "no memory for a CA");
    }
    if (rv != 0) {
        bnd_issue_ca_free(&made);
        return rv;
    }
    *out = made;
    return 0;
}

void bnd_issue_join(struct bnd_slice secret, uint64_t expires_ms, struct bnd_buf *record) {
    uint8_t hash[BND_SHA256_LEN];
    bnd_sha256(secret, hash);
    struct bnd_join_record join = {
        .secret_hash = bnd_slice(hash, sizeof hash),
        .expires_ms = expires_ms,
    };
    bnd_join_encode(record, &join);
}

/* ---- join tokens ---------------------------------------------------------------------------- */

_Static_assert(BND_JOIN_FINGERPRINT_LEN == BND_PKI_FINGERPRINT_BYTES, "a token pins a CA");

int bnd_join_token_make(struct bnd_env *env, struct bnd_slice ca_cert, struct bnd_join_token *out) {
    struct bnd_join_token token;
    int rv = bnd_pki_fingerprint(ca_cert, token.ca_fingerprint, NULL);
    if (rv != 0) {
        return rv;
    }
    env->ops->random_secret(env, token.id, sizeof token.id);
    bnd_token_make(env, token.secret);
    *out = token;
    return 0;
}

void bnd_join_token_text(const struct bnd_join_token *token, char out[BND_JOIN_TOKEN_TEXT]) {
    char fingerprint[2 * BND_JOIN_FINGERPRINT_LEN + 1];
    char id[2 * BND_JOIN_ID_LEN + 1];
    bnd_hex_encode(token->ca_fingerprint, sizeof token->ca_fingerprint, fingerprint);
    bnd_hex_encode(token->id, sizeof token->id, id);
    (void)snprintf(out, BND_JOIN_TOKEN_TEXT, "%s.%s.%s", fingerprint, id, token->secret); /* fits */
}

int bnd_join_token_parse(const char *text, struct bnd_join_token *out) {
    const char *id = strchr(text, '.');
    const char *secret = id == NULL ? NULL : strchr(id + 1, '.');
    struct bnd_join_token token;
    if (secret == NULL || strlen(secret + 1) != BND_TOKEN_TEXT_LEN ||
        bnd_hex_decode(bnd_slice(text, (size_t)(id - text)), token.ca_fingerprint,
                       sizeof token.ca_fingerprint) != 0 ||
        bnd_hex_decode(bnd_slice(id + 1, (size_t)(secret - id - 1)), token.id, sizeof token.id) !=
            0) {
        return BND_INVALID;
    }
    memcpy(token.secret, secret + 1, sizeof token.secret);
    *out = token;
    return 0;
}
