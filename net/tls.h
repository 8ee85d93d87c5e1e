/* TLS contexts: what a side of a connection shows and demands (architecture 12). Connections are
 * net/conn.h.
 *
 * OpenSSL over memory BIOs: no socket, clock or file of its own. Certificates are judged at the
 * env's wall clock when the handshake begins. OpenSSL's random generator is its own: handshakes do
 * not replay from a seed, and so the simulator has no TLS (ADR 0030). Renegotiation, compression
 * and session caches are off. */
#ifndef BND_NET_TLS_H
#define BND_NET_TLS_H

#include "base/bytes.h"
#include "base/error.h"

struct bnd_tls_context;

enum bnd_tls_role { BND_TLS_SERVER, BND_TLS_CLIENT };

/* What is demanded of the other side's certificate. */
enum bnd_tls_verify {
    BND_TLS_VERIFY_CA,       /* one is needed, and must chain to ca_pem */
    BND_TLS_VERIFY_OPTIONAL, /* servers only: none is well, but one shown must chain to ca_pem */
    BND_TLS_VERIFY_PINNED,   /* clients only: must chain to the CA certificate, sent along by the
                                server,   whose SHA-256 over DER is ca_fingerprint */
    BND_TLS_VERIFY_NONE, /* servers: none is asked for. Clients: anybody is believed; for tests and
                            probes. */
};

struct bnd_tls_config {
    enum bnd_tls_role role;
    enum bnd_tls_verify verify;
    struct bnd_slice
        certificate_pem; /* leaf first, then its chain; servers need it; clients: empty = none */
    struct bnd_slice key_pem; /* of the leaf */
    struct bnd_slice ca_pem;  /* one or more CA certificates, for VERIFY_CA and VERIFY_OPTIONAL */
    const uint8_t *ca_fingerprint; /* 32 bytes, for VERIFY_PINNED */
    const char *alpn; /* one protocol ("http/1.1"), NULL: no ALPN. A server ignores what a
                         client offers beside it and never refuses for it. */
    bool tls13_only;  /* peers; else TLS 1.2 with forward secrecy and AEAD, or 1.3 */
};

/* Parses and checks everything, so that a wrong certificate is found at the start and not at the
 * first client. BND_INVALID: PEM that cannot be parsed, a key that is not the certificate's,
 * something missing; err says what. BND_NOMEM. Thread-safe: a context may serve connections of
 * several loops. */
int bnd_tls_context_create(const struct bnd_tls_config *config, struct bnd_tls_context **out,
                           struct bnd_error *err);

/* Connections made from it live on. NULL allowed. */
void bnd_tls_context_destroy(struct bnd_tls_context *context);

#endif
