/* What tls_context.c and tls_stream.c share with conn.c. */
#ifndef BND_NET_TLS_PRIVATE_H
#define BND_NET_TLS_PRIVATE_H

#include "net/conn.h"
#include "net/tls.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

#define TLS_FAILURE_MAX 200

struct bnd_tls_context {
    atomic_uint refs;
    SSL_CTX *ssl_ctx;
    BIO_METHOD *bio_method;
    enum bnd_tls_role role;
    enum bnd_tls_verify verify;
    uint8_t ca_fingerprint[32];
    uint8_t alpn[256]; /* length byte, then the protocol; alpn[0] == 0: none */
};

struct bnd_tls_context *tls_context_ref(struct bnd_tls_context *context);

struct tls_end;

/* One end of a TLS connection as a transformer of bytes: no stream, no events. Cipher bytes of the
 * peer are put in with tls_end_feed, those for the peer appear in `out`. */
struct tls_end {
    SSL *ssl;
    struct bnd_tls_context *context;
    struct bnd_slice in; /* borrowed: fed and not yet consumed */
    struct bnd_buf out;
    char failure[TLS_FAILURE_MAX];
};

/* wall_ms: when certificates are judged. BND_NOMEM, or BND_INVALID for a server_name that cannot be
 * one. */
int tls_end_init(struct tls_end *end, struct bnd_tls_context *context, const char *server_name,
                 uint64_t wall_ms);
void tls_end_close(struct tls_end *end); /* idempotent */

/* 1: complete. 0: needs more input. Else a code, and `failure` says why. */
int tls_end_handshake(struct tls_end *end);
/* > 0: bytes of plain text. 0: needs more input. BND_CLOSED: the peer's close_notify. Else a code.
 */
long tls_end_read(struct tls_end *end, uint8_t *out, size_t len);
/* Encrypts one record of at most 16 KiB: bytes taken, or a code. */
long tls_end_write(struct tls_end *end, const uint8_t *data, size_t len);
void tls_end_notify(struct tls_end *end); /* close_notify into out */

#endif
