/* Connections: one shape for plain TCP and TLS (ADR 0030). The mesh and the HTTP server are written
 * against this header and do not know which of the two they have.
 *
 * A connection is owned by the loop of its env; every call and callback is on that thread. It holds
 * at most one received TCP chunk and about BND_CONN_CIPHER_MAX encrypted bytes: with reading off
 * nothing is taken from the kernel, and a queued write is encrypted piece by piece as the kernel
 * drains. */
#ifndef BND_NET_CONN_H
#define BND_NET_CONN_H

#include "base/env.h"

struct bnd_conn;
struct bnd_tls_context; /* net/tls.h */

#define BND_CONN_CIPHER_MAX (64u << 10)
#define BND_CONN_HANDSHAKE_NS (10000 * BND_MS) /* default bound of a TLS handshake */

/* Any may be NULL. Events come from the loop, never from inside a call of this header. Inside an
 * event the owner may call everything here, bnd_conn_close included. */
struct bnd_conn_events {
    /* At most once, first: the TLS handshake is complete and the peer verified as the context asks;
     * plain connections open in the next pass. Bytes written before are queued and follow it. */
    void (*on_open)(void *owner);
    /* data is borrowed until the call returns. No call comes after bnd_conn_read(false), also none
     * from bytes already received: they wait. */
    void (*on_read)(void *owner, const uint8_t *data, size_t len);
    /* At most once; nothing is read after it. 0: the peer ended its side (TLS: with close_notify).
     * BND_CLOSED: the stream was cut (TLS: also TCP end without close_notify, which some HTTP
     * clients do). BND_TIMEOUT: no handshake in time. BND_DENIED: handshake or certificate refused,
     * see bnd_conn_failure. BND_CORRUPT: bytes that are not TLS. Else what the stream said. */
    void (*on_end)(void *owner, int status);
};

struct bnd_conn_options {
    struct bnd_env *env;
    struct bnd_stream *stream;
    /* NULL: plain. Its role (server or client) is this connection's. */
    struct bnd_tls_context *tls;
    /* TLS client: SNI, and the name the certificate must carry; NULL: neither. */
    const char *server_name;
    uint64_t handshake_timeout_ns; /* 0: BND_CONN_HANDSHAKE_NS */
};

/* Takes options->stream if it returns 0; a TLS handshake begins in the next pass. The stream must
 * be unbound. The context may be destroyed before the connection. Reading starts off. BND_NOMEM. */
int bnd_conn_create(const struct bnd_conn_options *options, struct bnd_conn **out);

/* Sets or replaces the events, which must outlive the connection. To be called before the first
 * pass. */
void bnd_conn_bind(struct bnd_conn *conn, const struct bnd_conn_events *events, void *owner);

/* on_read is called while on. Bytes held back are delivered in a later pass, never from inside. */
void bnd_conn_read(struct bnd_conn *conn, bool on);

/* Takes what can be sent at once without a callback: returns the bytes taken (0 and up), or a code.
 * At most BND_CONN_CIPHER_MAX of them may be in the connection's own buffer. Returns 0 before the
 * handshake is complete and while a queued write is under way. */
long bnd_conn_try_write(struct bnd_conn *conn, const struct bnd_iov *iov, unsigned count);

/* Queues a write behind the others: cb(0) when the kernel has all of it. count <= 16 and iov[] is
 * copied; the bytes it names are borrowed until cb. BND_CLOSED after an end with an error or after
 * shutdown. */
int bnd_conn_write(struct bnd_conn *conn, struct bnd_write *write, const struct bnd_iov *iov,
                   unsigned count);

/* Bytes taken and not yet in the kernel. */
size_t bnd_conn_queued(struct bnd_conn *conn);

/* Ends our side after the queued writes (TLS: close_notify, then TCP FIN). Idempotent. */
void bnd_conn_shutdown(struct bnd_conn *conn);

/* Ends the connection: no event comes after this call; writes under way are answered BND_CANCELED,
 * later; on_closed (may be NULL) comes last and later, after which the connection is gone. A
 * close_notify is sent if it can go at once. */
void bnd_conn_close(struct bnd_conn *conn, void (*on_closed)(void *data), void *data);

/* The peer's address, "host:port". */
void bnd_conn_peer(struct bnd_conn *conn, char out[BND_ADDRESS_MAX]);

bool bnd_conn_is_tls(const struct bnd_conn *conn);

/* After on_open: the peer's certificate in DER, owned by *out (empty: none was sent, or a plain
 * connection). It has been verified against the context's CA, for net/pki.h to read. BND_NOMEM. */
int bnd_conn_peer_certificate(struct bnd_conn *conn, struct bnd_buf *out);

/* After on_open: the ALPN protocol agreed on; empty: none. Borrowed from the connection. */
struct bnd_slice bnd_conn_alpn(struct bnd_conn *conn);

/* Why the connection ended, for a log line; "" if there is nothing to say. Valid until close. */
const char *bnd_conn_failure(const struct bnd_conn *conn);

#endif
