/* The cluster's certificates, by OpenSSL.
 *
 * Invariants: (1) what a certificate says comes from the CA holder alone, never from the request;
 * (2) leaf certificates are no CAs, and the CA signs no CAs (path length 0); (3) outputs are
 * written only on success.
 *
 * Failure modes: OpenSSL without memory looks like any other failure of it; both are told as
 * BND_NOMEM where input was not involved, as BND_INVALID where it was. */
#include "net/pki.h"

#include "base/alloc.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define DAY_S UINT64_C(86400)
#define HOSTS_MAX 32
#define HOST_BYTES_MAX 253
#define FILE_BYTES_MAX (1u << 20)
#define URI_PREFIX "bindery://"
#define URI_NODE "/node/"

static int no_password(char *out, int size, int writing, void *data) {
    return 0;
}

static int fail(struct bnd_error *err, int code, const char *what) {
    unsigned long detail = ERR_get_error();
    const char *reason = detail == 0 ? NULL : ERR_reason_error_string(detail);
    ERR_clear_error();
    return bnd_error_set(err, code, "%s%s%s", what, reason == NULL ? "" : ": ",
                         reason == NULL ? "" : reason);
}

/* ---- PEM
 * ---------------------------------------------------------------------------------------------- */

static BIO *reader_of(struct bnd_slice pem) {
    return pem.len > FILE_BYTES_MAX
               ? NULL
               : BIO_new_mem_buf(pem.len == 0 ? "" : (const char *)pem.data, (int)pem.len);
}

static X509 *read_certificate(struct bnd_slice pem) {
    BIO *bio = reader_of(pem);
    X509 *x509 = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, no_password, NULL);
    BIO_free(bio);
    return x509;
}

static EVP_PKEY *read_key(struct bnd_slice pem) {
    BIO *bio = reader_of(pem);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    return key;
}

static X509_REQ *read_csr(struct bnd_slice pem) {
    BIO *bio = reader_of(pem);
    X509_REQ *csr = bio == NULL ? NULL : PEM_read_bio_X509_REQ(bio, NULL, no_password, NULL);
    BIO_free(bio);
    return csr;
}

/* Copies what a memory BIO holds into *out and frees the BIO; written: whether the PEM writer
 * succeeded. */
static int take_pem(BIO *bio, bool written, struct bnd_buf *out, struct bnd_error *err) {
    char *text = NULL;
    long len = bio != NULL && written ? BIO_get_mem_data(bio, &text) : 0;
    struct bnd_buf copy = {0};
    if (len > 0) {
        bnd_buf_append(&copy, text, (size_t)len);
    }
    BIO_free(bio);
    if (len <= 0 || copy.failed) {
        bnd_buf_free(&copy);
        return fail(err, BND_NOMEM, "PEM output");
    }
    bnd_buf_free(out);
    *out = copy;
    return 0;
}

static int write_certificate(X509 *x509, struct bnd_buf *out, struct bnd_error *err) {
    BIO *bio = BIO_new(BIO_s_mem());
    return take_pem(bio, bio != NULL && PEM_write_bio_X509(bio, x509) == 1, out, err);
}

static int write_key(EVP_PKEY *key, struct bnd_buf *out, struct bnd_error *err) {
    BIO *bio = BIO_new(BIO_s_mem());
    bool written =
        bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    return take_pem(bio, written, out, err);
}

/* ---- building certificates
 * ------------------------------------------------------------------------------ */

static bool set_serial(X509 *x509) {
    BIGNUM *serial = BN_new();
    bool ok = serial != NULL && BN_rand(serial, 159, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x509)) != NULL;
    BN_free(serial);
    return ok;
}

static bool set_validity(X509 *x509, uint64_t now_ms, uint64_t days) {
    uint64_t now_s = now_ms / 1000;
    uint64_t from_s = now_s > BND_PKI_SLACK_S ? now_s - BND_PKI_SLACK_S : 0;
    return ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)from_s) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)(now_s + days * DAY_S)) != NULL;
}

static bool add_extension(X509 *x509, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = extension != NULL && X509_add_ext(x509, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool set_subject(X509 *x509, const char *common_name) {
    X509_NAME *name = X509_get_subject_name(x509);
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"Bindery", -1, -1,
                                      0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)common_name, -1,
                                      -1, 0) == 1;
}

struct leaf {
    const struct bnd_pki_ca *ca;
    struct bnd_slice csr_pem;
    const char *common_name;
    GENERAL_NAMES *names; /* borrowed */
    const char *usage;
    uint64_t now_ms;
};

static bool build_leaf(X509 *x509, X509 *issuer, EVP_PKEY *subject_key, const struct leaf *leaf) {
    return X509_set_version(x509, X509_VERSION_3) == 1 && set_serial(x509) &&
           set_validity(x509, leaf->now_ms, BND_PKI_LEAF_DAYS) &&
           set_subject(x509, leaf->common_name) &&
           X509_set_issuer_name(x509, X509_get_subject_name(issuer)) == 1 &&
           X509_set_pubkey(x509, subject_key) == 1 &&
           add_extension(x509, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x509, issuer, NID_key_usage, "critical,digitalSignature") &&
           add_extension(x509, issuer, NID_ext_key_usage, leaf->usage) &&
           add_extension(x509, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(x509, issuer, NID_authority_key_identifier, "keyid:always") &&
           X509_add1_ext_i2d(x509, NID_subject_alt_name, leaf->names, 0, X509V3_ADD_APPEND) == 1;
}

static int sign_leaf(const struct leaf *leaf, struct bnd_buf *out, struct bnd_error *err) {
    int rv = 0;
    X509 *issuer = read_certificate(leaf->ca->certificate_pem);
    EVP_PKEY *issuer_key = read_key(leaf->ca->key_pem);
    X509_REQ *csr = read_csr(leaf->csr_pem);
    X509 *x509 = X509_new();
    EVP_PKEY *subject_key = csr == NULL ? NULL : X509_REQ_get0_pubkey(csr);
    if (issuer == NULL || issuer_key == NULL || X509_check_private_key(issuer, issuer_key) != 1) {
        rv = fail(err, BND_INVALID, "CA certificate and key");
    } else if (subject_key == NULL) {
        rv = fail(err, BND_INVALID, "certificate request");
    } else if (X509_REQ_verify(csr, subject_key) != 1) {
        rv = fail(err, BND_DENIED, "certificate request is not signed by its own key");
    } else if (x509 == NULL || !build_leaf(x509, issuer, subject_key, leaf) ||
               X509_sign(x509, issuer_key, EVP_sha256()) == 0) {
        rv = fail(err, BND_NOMEM, "certificate cannot be made");
    } else {
        rv = write_certificate(x509, out, err);
    }
    X509_free(x509);
    X509_REQ_free(csr);
    EVP_PKEY_free(issuer_key);
    X509_free(issuer);
    return rv;
}

/* Adds a SAN; type GEN_URI or GEN_DNS. */
static bool add_name(GENERAL_NAMES *names, int type, const char *text) {
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    if (name == NULL || value == NULL || ASN1_STRING_set(value, text, -1) != 1) {
        goto failed;
    }
    GENERAL_NAME_set0_value(name, type, value);
    value = NULL;
    if (sk_GENERAL_NAME_push(names, name) > 0) {
        return true;
    }
failed:
    ASN1_IA5STRING_free(value);
    GENERAL_NAME_free(name);
    return false;
}

/* A numeric address becomes an IP SAN. */
static bool add_host(GENERAL_NAMES *names, const char *host) {
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    if (address == NULL) {
        ERR_clear_error();
        return add_name(names, GEN_DNS, host);
    }
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (name == NULL) {
        ASN1_OCTET_STRING_free(address);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_IPADD, address);
    if (sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

/* ---- the calls
 * ------------------------------------------------------------------------------------------ */

static bool build_ca(X509 *x509, EVP_PKEY *key, const char *common_name, uint64_t now_ms) {
    return X509_set_version(x509, X509_VERSION_3) == 1 && set_serial(x509) &&
           set_validity(x509, now_ms, BND_PKI_CA_DAYS) && set_subject(x509, common_name) &&
           X509_set_issuer_name(x509, X509_get_subject_name(x509)) == 1 &&
           X509_set_pubkey(x509, key) == 1 &&
           add_extension(x509, x509, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(x509, x509, NID_subject_key_identifier, "hash") &&
           X509_sign(x509, key, EVP_sha256()) != 0;
}

int bnd_pki_ca_create(const uint8_t cluster[BND_PKI_CLUSTER_BYTES], uint64_t now_ms,
                      struct bnd_buf *out_certificate_pem, struct bnd_buf *out_key_pem,
                      struct bnd_error *err) {
    char hex[2 * BND_PKI_CLUSTER_BYTES + 1];
    char common_name[64];
    bnd_hex_encode(cluster, BND_PKI_CLUSTER_BYTES, hex);
    (void)snprintf(common_name, sizeof common_name, "Bindery CA %s", hex);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    struct bnd_buf key_pem = {0};
    int rv = 0;
    if (key == NULL || x509 == NULL || !build_ca(x509, key, common_name, now_ms)) {
        rv = fail(err, BND_NOMEM, "CA cannot be made");
    } else {
        rv = write_key(key, &key_pem, err);
        rv = rv == 0 ? write_certificate(x509, out_certificate_pem, err) : rv;
    }
    if (rv == 0) {
        bnd_buf_free(out_key_pem);
        *out_key_pem = key_pem;
    } else {
        bnd_buf_free(&key_pem);
    }
    X509_free(x509);
    EVP_PKEY_free(key);
    return rv;
}

void bnd_pki_successor_free(struct bnd_pki_successor *successor) {
    if (successor->key_pem.data != NULL) {
        OPENSSL_cleanse(successor->key_pem.data, successor->key_pem.cap);
    }
    bnd_buf_free(&successor->certificate_pem);
    bnd_buf_free(&successor->key_pem);
    bnd_buf_free(&successor->link_pem);
}

/* A CA certificate of that name and key: self-signed, or the link, signed by the old CA. */
static bool build_successor(X509 *x509, X509 *old, EVP_PKEY *key, EVP_PKEY *old_key,
                            uint64_t now_ms) {
    X509 *issuer = old_key == NULL ? x509 : old;
    return X509_set_version(x509, X509_VERSION_3) == 1 && set_serial(x509) &&
           set_validity(x509, now_ms, BND_PKI_CA_DAYS) &&
           X509_set_subject_name(x509, X509_get_subject_name(old)) == 1 &&
           X509_set_issuer_name(x509, X509_get_subject_name(old)) == 1 &&
           X509_set_pubkey(x509, key) == 1 &&
           add_extension(x509, x509, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(x509, x509, NID_subject_key_identifier, "hash") &&
           add_extension(x509, issuer, NID_authority_key_identifier, "keyid:always") &&
           X509_sign(x509, old_key == NULL ? key : old_key, EVP_sha256()) != 0;
}

static int write_successor(X509 *old, EVP_PKEY *old_key, uint64_t now_ms,
                           struct bnd_pki_successor *out, struct bnd_error *err) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *itself = X509_new();
    X509 *link = X509_new();
    int rv = 0;
    if (key == NULL || itself == NULL || link == NULL ||
        !build_successor(itself, old, key, NULL, now_ms) ||
        !build_successor(link, old, key, old_key, now_ms)) {
        rv = fail(err, BND_NOMEM, "CA cannot be made");
    }
    rv = rv != 0 ? rv : write_key(key, &out->key_pem, err);
    rv = rv != 0 ? rv : write_certificate(itself, &out->certificate_pem, err);
    rv = rv != 0 ? rv : write_certificate(link, &out->link_pem, err);
    X509_free(link);
    X509_free(itself);
    EVP_PKEY_free(key);
    return rv;
}

int bnd_pki_ca_succeed(const struct bnd_pki_ca *old, uint64_t now_ms, struct bnd_pki_successor *out,
                       struct bnd_error *err) {
    struct bnd_pki_successor made = {0};
    X509 *x509 = read_certificate(old->certificate_pem);
    EVP_PKEY *key = read_key(old->key_pem);
    int rv = x509 == NULL || key == NULL || X509_check_private_key(x509, key) != 1
                 ? fail(err, BND_INVALID, "CA certificate and key")
                 : write_successor(x509, key, now_ms, &made, err);
    EVP_PKEY_free(key);
    X509_free(x509);
    if (rv != 0) {
        bnd_pki_successor_free(&made);
        return rv;
    }
    bnd_pki_successor_free(out);
    *out = made;
    return 0;
}

int bnd_pki_key_create(struct bnd_buf *out_key_pem, struct bnd_error *err) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    int rv =
        key == NULL ? fail(err, BND_NOMEM, "key cannot be made") : write_key(key, out_key_pem, err);
    EVP_PKEY_free(key);
    return rv;
}

int bnd_pki_csr_create(struct bnd_slice key_pem, struct bnd_buf *out_csr_pem,
                       struct bnd_error *err) {
    EVP_PKEY *key = read_key(key_pem);
    if (key == NULL) {
        return fail(err, BND_INVALID, "private key");
    }
    X509_REQ *csr = X509_REQ_new();
    int rv = 0;
    if (csr == NULL || X509_REQ_set_version(csr, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(csr, key) != 1 || X509_REQ_sign(csr, key, EVP_sha256()) == 0) {
        rv = fail(err, BND_NOMEM, "certificate request cannot be made");
    } else {
        BIO *bio = BIO_new(BIO_s_mem());
        rv = take_pem(bio, bio != NULL && PEM_write_bio_X509_REQ(bio, csr) == 1, out_csr_pem, err);
    }
    X509_REQ_free(csr);
    EVP_PKEY_free(key);
    return rv;
}

int bnd_pki_csr_fingerprint(struct bnd_slice csr_pem, uint8_t out[BND_PKI_FINGERPRINT_BYTES],
                            struct bnd_error *err) {
    X509_REQ *csr = read_csr(csr_pem);
    uint8_t *der = NULL;
    int len = csr == NULL ? -1 : i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(csr), &der);
    X509_REQ_free(csr);
    if (len <= 0) {
        return fail(err, BND_INVALID, "certificate request");
    }
    uint8_t digest[EVP_MAX_MD_SIZE];
    int ok = EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
    if (ok != 1) {
        return fail(err, BND_NOMEM, "SHA-256");
    }
    memcpy(out, digest, BND_PKI_FINGERPRINT_BYTES);
    return 0;
}

int bnd_pki_node_sign(const struct bnd_pki_ca *ca, struct bnd_slice csr_pem,
                      const struct bnd_pki_identity *identity, uint64_t now_ms,
                      struct bnd_buf *out_certificate_pem, struct bnd_error *err) {
    if (identity->node == 0) {
        return BND_FAIL(err, INVALID, "node id 0");
    }
    char hex[2 * BND_PKI_CLUSTER_BYTES + 1];
    char uri[96];
    char common_name[64];
    bnd_hex_encode(identity->cluster, BND_PKI_CLUSTER_BYTES, hex);
    (void)snprintf(uri, sizeof uri, URI_PREFIX "%s" URI_NODE "%llu", hex,
                   (unsigned long long)identity->node);
    (void)snprintf(common_name, sizeof common_name, "node %llu",
                   (unsigned long long)identity->node);
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    int rv = 0;
    if (names == NULL || !add_name(names, GEN_URI, uri)) {
        rv = fail(err, BND_NOMEM, "certificate names");
    } else {
        struct leaf leaf = {ca, csr_pem, common_name, names, "serverAuth,clientAuth", now_ms};
        rv = sign_leaf(&leaf, out_certificate_pem, err);
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return rv;
}

int bnd_pki_server_sign(const struct bnd_pki_ca *ca, struct bnd_slice csr_pem,
                        const char *const *hosts, size_t host_count, uint64_t now_ms,
                        struct bnd_buf *out_certificate_pem, struct bnd_error *err) {
    if (host_count == 0 || host_count > HOSTS_MAX) {
        return BND_FAIL(err, INVALID, "a server certificate needs 1 to %d host names, not %zu",
                        HOSTS_MAX, host_count);
    }
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    int rv = names == NULL ? fail(err, BND_NOMEM, "certificate names") : 0;
    for (size_t i = 0; i < host_count && rv == 0; i++) {
        size_t len = strlen(hosts[i]);
        if (len == 0 || len > HOST_BYTES_MAX) {
            rv = BND_FAIL(err, INVALID, "host name of %zu bytes", len);
        } else if (!add_host(names, hosts[i])) {
            rv = fail(err, BND_NOMEM, "certificate names");
        }
    }
    if (rv == 0) {
        struct leaf leaf = {ca, csr_pem, "Bindery server", names, "serverAuth", now_ms};
        rv = sign_leaf(&leaf, out_certificate_pem, err);
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return rv;
}

/* ---- reading certificates
 * -------------------------------------------------------------------------------- */

static bool parse_decimal(struct bnd_slice text, uint64_t *out) {
    uint64_t value = 0;
    if (text.len == 0 || text.len > 20 || text.data[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';
        if (text.data[i] < '0' || text.data[i] > '9' || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool parse_uri(struct bnd_slice uri, struct bnd_pki_identity *out) {
    struct bnd_reader r = bnd_reader(uri);
    struct bnd_slice prefix = bnd_read_raw(&r, strlen(URI_PREFIX));
    struct bnd_slice hex = bnd_read_raw(&r, (size_t)2 * BND_PKI_CLUSTER_BYTES);
    struct bnd_slice kind = bnd_read_raw(&r, strlen(URI_NODE));
    if (r.failed || !bnd_slice_eq(prefix, bnd_slice_str(URI_PREFIX)) ||
        !bnd_slice_eq(kind, bnd_slice_str(URI_NODE))) {
        return false;
    }
    for (size_t i = 0; i < hex.len; i++) {
        if (hex.data[i] >= 'A' && hex.data[i] <= 'F') {
            return false; /* one name, one spelling */
        }
    }
    return bnd_hex_decode(hex, out->cluster, BND_PKI_CLUSTER_BYTES) == 0 &&
           parse_decimal(r.rest, &out->node);
}

static int identity_of(X509 *x509, struct bnd_pki_identity *out, struct bnd_error *err) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    struct bnd_pki_identity found = {{0}, 0};
    unsigned uris = 0;
    bool ok = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type = 0;
        ASN1_IA5STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_URI) {
            uris++;
            ok = parse_uri(
                bnd_slice(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value)), &found);
        }
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    ERR_clear_error();
    if (uris != 1 || !ok) {
        return BND_FAIL(err, DENIED, "certificate carries no node identity (%u URI names)", uris);
    }
    *out = found;
    return 0;
}

int bnd_pki_identity_read(struct bnd_slice certificate_der, struct bnd_pki_identity *out,
                          struct bnd_error *err) {
    const unsigned char *at = certificate_der.data;
    X509 *x509 = certificate_der.len == 0 || certificate_der.len > FILE_BYTES_MAX
                     ? NULL
                     : d2i_X509(NULL, &at, (long)certificate_der.len);
    if (x509 == NULL) {
        return fail(err, BND_CORRUPT, "not a certificate");
    }
    int rv = identity_of(x509, out, err);
    X509_free(x509);
    return rv;
}

/* Both purposes are needed: a peer dials and is dialled. */
static int verify_chain(X509_STORE *store, X509 *x509, uint64_t now_ms, struct bnd_error *err) {
    static const int purposes[] = {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT};
    for (size_t i = 0; i < sizeof purposes / sizeof *purposes; i++) {
        X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        if (ctx == NULL || X509_STORE_CTX_init(ctx, store, x509, NULL) != 1) {
            X509_STORE_CTX_free(ctx);
            return fail(err, BND_NOMEM, "certificate verification");
        }
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_time(param, (time_t)(now_ms / 1000));
        int ok = X509_VERIFY_PARAM_set_purpose(param, purposes[i]) == 1 ? X509_verify_cert(ctx) : 0;
        int reason = X509_STORE_CTX_get_error(ctx);
        X509_STORE_CTX_free(ctx);
        ERR_clear_error();
        if (ok != 1) {
            return BND_FAIL(err, DENIED, "certificate refused: %s",
                            X509_verify_cert_error_string(reason));
        }
    }
    return 0;
}

/* Adds all certificates of the text; false: there is none, or one is broken. */
static bool trust_all(X509_STORE *store, struct bnd_slice pem) {
    BIO *bio = reader_of(pem);
    X509 *x509 = NULL;
    unsigned added = 0;
    bool ok = bio != NULL;
    while (ok && (x509 = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        ok = X509_STORE_add_cert(store, x509) == 1;
        X509_free(x509);
        added++;
    }
    ok = ok && added > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    return ok;
}

int bnd_pki_node_verify(struct bnd_slice ca_pem, struct bnd_slice certificate_pem, uint64_t now_ms,
                        struct bnd_pki_identity *out, struct bnd_error *err) {
    int rv = 0;
    X509 *x509 = read_certificate(certificate_pem);
    X509_STORE *store = X509_STORE_new();
    if (store == NULL) {
        rv = fail(err, BND_NOMEM, "certificate verification");
    } else if (x509 == NULL || !trust_all(store, ca_pem)) {
        rv = fail(err, BND_INVALID, x509 == NULL ? "node certificate" : "CA certificate");
    } else {
        rv = verify_chain(store, x509, now_ms, err);
        rv = rv == 0 ? identity_of(x509, out, err) : rv;
    }
    X509_STORE_free(store);
    X509_free(x509);
    return rv;
}

bool bnd_pki_signed_by(struct bnd_slice ca_pem, struct bnd_slice certificate_pem) {
    X509 *ca = read_certificate(ca_pem);
    X509 *x509 = read_certificate(certificate_pem);
    bool ok = ca != NULL && x509 != NULL && X509_verify(x509, X509_get0_pubkey(ca)) == 1;
    X509_free(x509);
    X509_free(ca);
    ERR_clear_error();
    return ok;
}

/* Calls each until it says true, and says whether one did. */
static bool any_certificate(struct bnd_slice pem, bool (*each)(const X509 *x509, void *data),
                            void *data) {
    BIO *bio = reader_of(pem);
    X509 *x509 = NULL;
    bool found = false;
    while (!found && bio != NULL &&
           (x509 = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        found = each(x509, data);
        X509_free(x509);
    }
    ERR_clear_error();
    BIO_free(bio);
    return found;
}

static bool fingerprint_is(const X509 *x509, void *data) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    return X509_digest(x509, EVP_sha256(), digest, &len) == 1 && len == BND_PKI_FINGERPRINT_BYTES &&
           memcmp(digest, data, BND_PKI_FINGERPRINT_BYTES) == 0;
}

bool bnd_pki_has_fingerprint(struct bnd_slice certificates_pem,
                             const uint8_t fingerprint[BND_PKI_FINGERPRINT_BYTES]) {
    uint8_t wanted[BND_PKI_FINGERPRINT_BYTES];
    memcpy(wanted, fingerprint, sizeof wanted);
    return any_certificate(certificates_pem, fingerprint_is, wanted);
}

static bool count_one(const X509 *x509, void *data) {
    (*(size_t *)data)++;
    return false;
}

size_t bnd_pki_count(struct bnd_slice certificates_pem) {
    size_t count = 0;
    (void)any_certificate(certificates_pem, count_one, &count); /* false: it counts them all */
    return count;
}

int bnd_pki_fingerprint(struct bnd_slice certificate_pem, uint8_t out[BND_PKI_FINGERPRINT_BYTES],
                        struct bnd_error *err) {
    X509 *x509 = read_certificate(certificate_pem);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int ok = x509 == NULL ? 0 : X509_digest(x509, EVP_sha256(), digest, &len);
    X509_free(x509);
    if (ok != 1 || len != BND_PKI_FINGERPRINT_BYTES) {
        return fail(err, BND_INVALID, "certificate");
    }
    memcpy(out, digest, BND_PKI_FINGERPRINT_BYTES);
    return 0;
}

int bnd_pki_expiry(struct bnd_slice certificate_pem, uint64_t *out_s, struct bnd_error *err) {
    X509 *x509 = read_certificate(certificate_pem);
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0;
    int seconds = 0;
    int ok = x509 == NULL || epoch == NULL
                 ? 0
                 : ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(x509));
    ASN1_TIME_free(epoch);
    X509_free(x509);
    if (ok != 1 || days < 0 || seconds < 0) {
        return fail(err, BND_INVALID, "certificate");
    }
    *out_s = (uint64_t)days * DAY_S + (uint64_t)seconds;
    return 0;
}

int bnd_pki_load(struct bnd_env *env, const char *path, struct bnd_buf *out,
                 struct bnd_error *err) {
    struct bnd_file *file = NULL;
    struct bnd_buf read = {0};
    uint64_t size = 0;
    size_t got = 0;
    int rv = env->ops->file_open(env, path, BND_OPEN_READ, &file, err);
    if (rv != 0) {
        return rv;
    }
    rv = env->ops->file_size(env, file, &size, err);
    if (rv == 0 && size > FILE_BYTES_MAX) {
        rv = BND_FAIL(err, TOOBIG, "%s has %llu bytes, more than any certificate", path,
                      (unsigned long long)size);
    }
    if (rv == 0 && !bnd_buf_reserve(&read, (size_t)size)) {
        rv = BND_FAIL(err, NOMEM, "%s", path);
    }
    if (rv == 0) {
        rv = env->ops->file_pread(env, file, read.data, (size_t)size, 0, &got, err);
    }
    env->ops->file_close(env, file);
    if (rv != 0) {
        bnd_buf_free(&read);
        return rv;
    }
    read.len = got;
    bnd_buf_free(out);
    *out = read;
    return 0;
}
