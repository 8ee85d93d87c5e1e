/* TLS contexts: OpenSSL set up once per certificate and role.
 *
 * Invariants: (1) a context is read-only after creation, so that several loops may use it; (2) it
 * lives until its last connection is gone; (3) no password prompt and no file access ever comes
 * from here. */
#include "net/tls_private.h"

#include "base/alloc.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static int no_password(char *out, int size, int writing, void *data) {
    return 0;
}

static int fail_openssl(struct bnd_error *err, const char *what) {
    unsigned long code = ERR_get_error();
    char text[160] = "no detail";
    if (code != 0) {
        ERR_error_string_n(code, text, sizeof text);
    }
    ERR_clear_error();
    return BND_FAIL(err, INVALID, "%s: %s", what, text);
}

static BIO *memory_bio(struct bnd_slice pem) {
    return pem.len == 0 || pem.len > INT32_MAX ? NULL : BIO_new_mem_buf(pem.data, (int)pem.len);
}

/* PEM_read at the end of its input reports this, and not an error. */
static bool pem_at_end(void) {
    unsigned long code = ERR_peek_last_error();
    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

static int load_certificate(SSL_CTX *ctx, struct bnd_slice pem, struct bnd_error *err) {
    BIO *bio = memory_bio(pem);
    if (bio == NULL) {
        return BND_FAIL(err, INVALID, "TLS certificate is missing");
    }
    int rv = 0;
    unsigned count = 0;
    for (;; count++) {
        X509 *x509 = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (x509 == NULL) {
            break;
        }
        long ok =
            count == 0 ? SSL_CTX_use_certificate(ctx, x509) : SSL_CTX_add1_chain_cert(ctx, x509);
        X509_free(x509);
        if (ok != 1) {
            rv = fail_openssl(err, "TLS certificate is not usable");
            goto done;
        }
    }
    if (count == 0 || !pem_at_end()) {
        rv = fail_openssl(err, "TLS certificate is not PEM");
    }
done:
    ERR_clear_error();
    BIO_free(bio);
    return rv;
}

static int load_key(SSL_CTX *ctx, struct bnd_slice pem, struct bnd_error *err) {
    BIO *bio = memory_bio(pem);
    if (bio == NULL) {
        return BND_FAIL(err, INVALID, "TLS key is missing");
    }
    int rv = 0;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    if (key == NULL) {
        rv = fail_openssl(err, "TLS key is not PEM, or has a password");
    } else if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        rv = fail_openssl(err, "TLS key is not that of the certificate");
    }
    EVP_PKEY_free(key);
    BIO_free(bio);
    return rv;
}

static int load_cas(SSL_CTX *ctx, struct bnd_slice pem, struct bnd_error *err) {
    BIO *bio = memory_bio(pem);
    if (bio == NULL) {
        return BND_FAIL(err, INVALID, "TLS CA certificate is missing");
    }
    int rv = 0;
    unsigned count = 0;
    X509 *x509 = NULL;
    while ((x509 = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        int ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x509);
        X509_free(x509);
        count++;
        if (ok != 1) {
            rv = fail_openssl(err, "TLS CA certificate is not usable");
            goto done;
        }
    }
    if (count == 0 || !pem_at_end()) {
        rv = fail_openssl(err, "TLS CA certificate is not PEM");
    }
done:
    ERR_clear_error();
    BIO_free(bio);
    return rv;
}

static X509 *find_pinned(const struct bnd_tls_context *context, STACK_OF(X509) * chain) {
    for (int i = 0; i < sk_X509_num(chain); i++) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned len = 0;
        X509 *x509 = sk_X509_value(chain, i);
        if (X509_digest(x509, EVP_sha256(), digest, &len) == 1 && len == 32 &&
            CRYPTO_memcmp(digest, context->ca_fingerprint, 32) == 0) {
            return x509;
        }
    }
    return NULL;
}

/* The joiner's check: it knows its cluster's CA only by the digest in the token. The certificate
 * with that digest, if the server sent it, becomes the only trust anchor of an ordinary
 * verification. */
static int verify_pinned(X509_STORE_CTX *outer, void *data) {
    const struct bnd_tls_context *context = data;
    X509 *ca = find_pinned(context, X509_STORE_CTX_get0_untrusted(outer));
    if (ca == NULL) {
        X509_STORE_CTX_set_error(outer, X509_V_ERR_CERT_UNTRUSTED);
        return 0;
    }
    int ok = 0;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *inner = X509_STORE_CTX_new();
    if (store != NULL && inner != NULL && X509_STORE_add_cert(store, ca) == 1 &&
        X509_STORE_CTX_init(inner, store, X509_STORE_CTX_get0_cert(outer),
                            X509_STORE_CTX_get0_untrusted(outer)) == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(inner);
        X509_VERIFY_PARAM_set_time(param,
                                   X509_VERIFY_PARAM_get_time(X509_STORE_CTX_get0_param(outer)));
        ok = X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER) == 1 &&
             X509_verify_cert(inner) == 1;
        X509_STORE_CTX_set_error(outer, X509_STORE_CTX_get_error(inner));
    } else {
        X509_STORE_CTX_set_error(outer, X509_V_ERR_OUT_OF_MEM);
    }
    X509_STORE_CTX_free(inner);
    X509_STORE_free(store);
    return ok;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *offered, unsigned offered_len, void *data) {
    const struct bnd_tls_context *context = data;
    for (unsigned at = 0; at < offered_len; at += 1u + offered[at]) {
        unsigned len = offered[at];
        if (at + 1 + len > offered_len) {
            break;
        }
        if (len == context->alpn[0] && memcmp(offered + at + 1, context->alpn + 1, len) == 0) {
            *out = offered + at + 1;
            *out_len = (unsigned char)len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int set_alpn(struct bnd_tls_context *context, const char *alpn, struct bnd_error *err) {
    if (alpn == NULL) {
        return 0;
    }
    size_t len = strlen(alpn);
    if (len == 0 || len > 255) {
        return BND_FAIL(err, INVALID, "ALPN protocol of %zu bytes", len);
    }
    context->alpn[0] = (uint8_t)len;
    memcpy(context->alpn + 1, alpn, len);
    if (context->role == BND_TLS_SERVER) {
        SSL_CTX_set_alpn_select_cb(context->ssl_ctx, select_alpn, context);
    } else if (SSL_CTX_set_alpn_protos(context->ssl_ctx, context->alpn, (unsigned)len + 1) != 0) {
        return BND_FAIL(err, NOMEM, "ALPN");
    }
    return 0;
}

static int set_verify(struct bnd_tls_context *context, const struct bnd_tls_config *config,
                      struct bnd_error *err) {
    SSL_CTX *ctx = context->ssl_ctx;
    bool server = config->role == BND_TLS_SERVER;
    switch (config->verify) {
    case BND_TLS_VERIFY_NONE:
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return 0;
    case BND_TLS_VERIFY_PINNED:
        if (server || config->ca_fingerprint == NULL) {
            return BND_FAIL(err, INVALID, "a pinned CA needs a client and a fingerprint");
        }
        memcpy(context->ca_fingerprint, config->ca_fingerprint, 32);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, verify_pinned, context);
        return 0;
    case BND_TLS_VERIFY_OPTIONAL:
        if (!server) {
            return BND_FAIL(err, INVALID, "a client cannot make the server's certificate optional");
        }
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        return load_cas(ctx, config->ca_pem, err);
    case BND_TLS_VERIFY_CA:
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                           NULL);
        return load_cas(ctx, config->ca_pem, err);
    }
    return BND_FAIL(err, INVALID, "unknown kind of verification %d", (int)config->verify);
}

static int set_protocol(SSL_CTX *ctx, bool tls13_only, struct bnd_error *err) {
    if (SSL_CTX_set_min_proto_version(ctx, tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1) {
        return fail_openssl(err, "TLS protocol settings");
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return 0;
}

/* ---- the BIO between OpenSSL and struct tls_end
 * ------------------------------------------------------ */

static int bio_write(BIO *bio, const char *data, int len) {
    struct tls_end *end = BIO_get_data(bio);
    bnd_buf_append(&end->out, data, (size_t)len);
    return end->out.failed ? -1 : len;
}

static int bio_read(BIO *bio, char *out, int len) {
    struct tls_end *end = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (end->in.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t take = (size_t)len < end->in.len ? (size_t)len : end->in.len;
    memcpy(out, end->in.data, take);
    end->in = bnd_slice(end->in.data + take, end->in.len - take);
    return (int)take;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method_create(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "bindery");
    if (method == NULL || BIO_meth_set_write(method, bio_write) != 1 ||
        BIO_meth_set_read(method, bio_read) != 1 || BIO_meth_set_ctrl(method, bio_ctrl) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

/* ---- public
 * ------------------------------------------------------------------------------------------- */

static int context_init(struct bnd_tls_context *context, const struct bnd_tls_config *config,
                        struct bnd_error *err) {
    bool server = config->role == BND_TLS_SERVER;
    context->role = config->role;
    context->verify = config->verify;
    context->ssl_ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    context->bio_method = bio_method_create();
    if (context->ssl_ctx == NULL || context->bio_method == NULL) {
        ERR_clear_error();
        return BND_FAIL(err, NOMEM, "TLS context");
    }
    int rv = set_protocol(context->ssl_ctx, config->tls13_only, err);
    if (rv == 0 && (server || config->certificate_pem.len > 0)) {
        rv = load_certificate(context->ssl_ctx, config->certificate_pem, err);
        rv = rv == 0 ? load_key(context->ssl_ctx, config->key_pem, err) : rv;
    }
    rv = rv == 0 ? set_verify(context, config, err) : rv;
    return rv == 0 ? set_alpn(context, config->alpn, err) : rv;
}

int bnd_tls_context_create(const struct bnd_tls_config *config, struct bnd_tls_context **out,
                           struct bnd_error *err) {
    struct bnd_tls_context *context = bnd_zalloc(sizeof *context);
    if (context == NULL) {
        return BND_FAIL(err, NOMEM, "TLS context");
    }
    atomic_init(&context->refs, 1);
    ERR_clear_error();
    int rv = context_init(context, config, err);
    if (rv != 0) {
        bnd_tls_context_destroy(context);
        return rv;
    }
    *out = context;
    return 0;
}

struct bnd_tls_context *tls_context_ref(struct bnd_tls_context *context) {
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void bnd_tls_context_destroy(struct bnd_tls_context *context) {
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    SSL_CTX_free(context->ssl_ctx);
    BIO_meth_free(context->bio_method);
    bnd_free(context);
}
