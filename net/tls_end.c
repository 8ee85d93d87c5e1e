/* One end of a TLS connection as a transformer of bytes: OpenSSL's state machine without a socket.
 *
 * Failure modes: every fatal error leaves a code and a text in `failure`; an alert for the peer may
 * then be in `out`. After a fatal error nothing but tls_end_close may be called. */
#include "net/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* X509_VERIFY_PARAM_set1_ip_asc knows what is an address; a name gets SNI as well, an address must
 * not (RFC 6066, 3). */
static int set_server_name(SSL *ssl, const char *name) {
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1) {
        return 0;
    }
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set_tlsext_host_name(ssl, name) != 1 ||
        X509_VERIFY_PARAM_set1_host(param, name, 0) != 1) {
        ERR_clear_error();
        return BND_INVALID;
    }
    return 0;
}

int tls_end_init(struct tls_end *end, struct bnd_tls_context *context, const char *server_name,
                 uint64_t wall_ms) {
    memset(end, 0, sizeof *end);
    SSL *ssl = SSL_new(context->ssl_ctx);
    BIO *bio = ssl == NULL ? NULL : BIO_new(context->bio_method);
    if (bio == NULL) {
        SSL_free(ssl);
        ERR_clear_error();
        return BND_NOMEM;
    }
    BIO_set_data(bio, end);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), (time_t)(wall_ms / 1000));
    if (context->role == BND_TLS_SERVER) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
        int rv = server_name == NULL ? 0 : set_server_name(ssl, server_name);
        if (rv != 0) {
            SSL_free(ssl);
            return rv;
        }
    }
    end->ssl = ssl;
    end->context = tls_context_ref(context);
    return 0;
}

void tls_end_close(struct tls_end *end) {
    if (end->ssl != NULL) {
        SSL_free(end->ssl);
        bnd_tls_context_destroy(end->context);
    }
    bnd_buf_free(&end->out);
    end->ssl = NULL;
    end->context = NULL;
}

/* Whether the bytes were no TLS at all, as opposed to TLS that was refused. */
static bool reason_is_garbage(int reason) {
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_LENGTH_MISMATCH:
    case SSL_R_LENGTH_TOO_SHORT:
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_BAD_PACKET:
        return true;
    default:
        return false;
    }
}

/* Alerts of the peer are reasons from SSL_AD_REASON_OFFSET up. */
static int fail_ssl(struct tls_end *end) {
    if (end->out.failed) {
        (void)snprintf(end->failure, sizeof end->failure, "out of memory");
        return BND_NOMEM;
    }
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    long verified = SSL_get_verify_result(end->ssl);
    if (verified != X509_V_OK && ERR_GET_REASON(code) < SSL_AD_REASON_OFFSET) {
        (void)snprintf(end->failure, sizeof end->failure, "certificate refused: %s",
                       X509_verify_cert_error_string(verified));
        ERR_clear_error();
        return BND_DENIED;
    }
    (void)snprintf(end->failure, sizeof end->failure, "TLS: %s",
                   reason == NULL ? "protocol error" : reason);
    ERR_clear_error();
    bool garbage = code == 0 || reason_is_garbage(ERR_GET_REASON(code)) ||
                   (SSL_is_init_finished(end->ssl) && ERR_GET_REASON(code) < SSL_AD_REASON_OFFSET);
    return garbage ? BND_CORRUPT : BND_DENIED;
}

int tls_end_handshake(struct tls_end *end) {
    ERR_clear_error();
    int rv = SSL_do_handshake(end->ssl);
    if (rv == 1) {
        return 1;
    }
    return SSL_get_error(end->ssl, rv) == SSL_ERROR_WANT_READ ? 0 : fail_ssl(end);
}

long tls_end_read(struct tls_end *end, uint8_t *out, size_t len) {
    ERR_clear_error();
    int rv = SSL_read(end->ssl, out, (int)len);
    if (rv > 0) {
        return rv;
    }
    switch (SSL_get_error(end->ssl, rv)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return BND_CLOSED;
    default:
        return fail_ssl(end);
    }
}

long tls_end_write(struct tls_end *end, const uint8_t *data, size_t len) {
    BND_ASSERT(len > 0);
    ERR_clear_error();
    int rv = SSL_write(end->ssl, data,
                       (int)(len < SSL3_RT_MAX_PLAIN_LENGTH ? len : SSL3_RT_MAX_PLAIN_LENGTH));
    return rv > 0 ? rv : fail_ssl(end);
}

void tls_end_notify(struct tls_end *end) {
    ERR_clear_error();
    (void)SSL_shutdown(
        end->ssl); /* 0 or 1: the alert is in out; an error changes nothing, we are leaving */
    ERR_clear_error();
}
