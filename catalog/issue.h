/* Making credentials: the secret for its owner, the record for group 0. What is returned as text is
 * nowhere else. */
#ifndef BND_CATALOG_ISSUE_H
#define BND_CATALOG_ISSUE_H

#include "base/env.h"
#include "catalog/command.h"
#include "catalog/seal.h"

#define BND_TOKEN_ID_TEXT (32 + 1)   /* hex */
#define BND_ACCESS_KEY_TEXT (20 + 1) /* "BND" and 17 of A-Z, 2-7 */
#define BND_SECRET_KEY_TEXT (40 + 1)

/* All append the encoded record to *record (check record->failed). scope is borrowed. */

struct bnd_issue_scope {
    uint32_t permissions;
    struct bnd_slice bucket; /* a valid name; empty: every bucket */
    struct bnd_slice label;
};

/* A bearer token: the record for BND_CATALOG_TOKEN_PUT. */
void bnd_issue_token(struct bnd_env *env, const struct bnd_issue_scope *scope,
                     struct bnd_buf *record, char out_id[BND_TOKEN_ID_TEXT],
                     char out_token[BND_TOKEN_TEXT_LEN + 1]);

/* An S3 key: the record for BND_CATALOG_KEY_PUT, its secret sealed. Errors of bnd_seal. */
int bnd_issue_s3_key(struct bnd_env *env, const uint8_t cluster_key[BND_CLUSTER_KEY_LEN],
                     const struct bnd_issue_scope *scope, struct bnd_buf *record,
                     char out_access_key[BND_ACCESS_KEY_TEXT],
                     char out_secret[BND_SECRET_KEY_TEXT]);

/* The next CA of the cluster, all for BND_CATALOG_CA_BEGIN; check each ->failed. Owned by the
 * caller.
 */
struct bnd_issue_ca {
    struct bnd_buf certificate; /* a */
    struct bnd_buf sealed_key;  /* b */
    struct bnd_buf link;        /* c */
};
/* BND_CORRUPT: the key of the CA there is cannot be unsealed; errors of bnd_pki_ca_succeed. */
int bnd_issue_next_ca(struct bnd_env *env, const uint8_t cluster_key[BND_CLUSTER_KEY_LEN],
                      const struct bnd_settings *settings, struct bnd_issue_ca *out,
                      struct bnd_error *err);
void bnd_issue_ca_free(struct bnd_issue_ca *ca);

/* The join record of BND_CATALOG_JOIN_TOKEN for a secret that the caller made with bnd_token_make.
 */
void bnd_issue_join(struct bnd_slice secret, uint64_t expires_ms, struct bnd_buf *record);

/* ---- join tokens: "<SHA-256 of the CA certificate, hex>.<id, hex>.<secret>" (SPEC.md, "Join")
 * ---- */

#define BND_JOIN_ID_LEN 16
#define BND_JOIN_FINGERPRINT_LEN 32
#define BND_JOIN_TOKEN_TEXT                                                                        \
    (2 * BND_JOIN_FINGERPRINT_LEN + 1 + 2 * BND_JOIN_ID_LEN + 1 + BND_TOKEN_TEXT_LEN + 1)

struct bnd_join_token {
    uint8_t ca_fingerprint[BND_JOIN_FINGERPRINT_LEN];
    uint8_t id[BND_JOIN_ID_LEN];
    char secret[BND_TOKEN_TEXT_LEN + 1];
};

/* A new random token for the cluster of this CA (PEM), good as long as that CA is trusted.
 * BND_INVALID: that is no certificate. */
int bnd_join_token_make(struct bnd_env *env, struct bnd_slice ca_cert, struct bnd_join_token *out);
void bnd_join_token_text(const struct bnd_join_token *token, char out[BND_JOIN_TOKEN_TEXT]);
/* BND_INVALID. */
int bnd_join_token_parse(const char *text, struct bnd_join_token *out);

#endif
