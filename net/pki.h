/* The cluster's certificates (architecture 5 and 12): ECDSA P-256, SHA-256, X.509 v3.
 *
 * A cluster has one CA, or two while it is being changed (ADR 0091). Its node certificates carry
 * exactly one URI SAN `bindery://<cluster>/node/<id>`: cluster is 32 lowercase hex digits, id
 * decimal without leading zeros, from 1. Nothing else in a certificate gives a node its name; a
 * certificate of the same CA without that URI (client ports) is no peer.
 *
 * Everything is PEM in and out, blocking but short (well under a millisecond), of any thread. Times
 * are the caller's clock, so that nothing here reads one. Keys come from OpenSSL's generator. */
#ifndef BND_NET_PKI_H
#define BND_NET_PKI_H

#include "base/bytes.h"
#include "base/env.h"
#include "base/error.h"

#define BND_PKI_CLUSTER_BYTES 16
#define BND_PKI_FINGERPRINT_BYTES 32
#define BND_PKI_CA_DAYS 3650
#define BND_PKI_LEAF_DAYS 365
#define BND_PKI_SLACK_S 86400 /* not-before lies this far in the past, for clocks that disagree */

struct bnd_pki_identity {
    uint8_t cluster[BND_PKI_CLUSTER_BYTES];
    uint64_t node;
};

/* The CA as its holder keeps it. */
struct bnd_pki_ca {
    struct bnd_slice certificate_pem;
    struct bnd_slice key_pem;
};

/* Outputs (struct bnd_buf, zero-initialised or reusable) are owned by the caller and replaced; on
 * failure they are untouched. All: BND_NOMEM; BND_INVALID for PEM that cannot be parsed (err says
 * which). */

/* A new self-signed CA for a cluster, valid BND_PKI_CA_DAYS from now_ms (wall clock, ms since
 * 1970). */
int bnd_pki_ca_create(const uint8_t cluster[BND_PKI_CLUSTER_BYTES], uint64_t now_ms,
                      struct bnd_buf *out_certificate_pem, struct bnd_buf *out_key_pem,
                      struct bnd_error *err);

/* The CA after another one. Owned by the caller. */
struct bnd_pki_successor {
    struct bnd_buf certificate_pem; /* self-signed */
    struct bnd_buf key_pem;
    struct bnd_buf link_pem; /* the same name and key, signed by the old CA */
};

/* A new CA under the name of the old one. Whoever sends the link along with a certificate of the
 * new CA is believed by who trusts the old one alone ("new with old", RFC 4210 4.4). */
int bnd_pki_ca_succeed(const struct bnd_pki_ca *old, uint64_t now_ms, struct bnd_pki_successor *out,
                       struct bnd_error *err);
void bnd_pki_successor_free(struct bnd_pki_successor *successor); /* wipes the key */

/* A new private key, PKCS#8. */
int bnd_pki_key_create(struct bnd_buf *out_key_pem, struct bnd_error *err);

/* A PKCS#10 request that proves possession of the key. It names nothing: names are the CA holder's
 * to give. */
int bnd_pki_csr_create(struct bnd_slice key_pem, struct bnd_buf *out_csr_pem,
                       struct bnd_error *err);

/* SHA-256 over the request's public key (SubjectPublicKeyInfo in DER): a join token belongs to the
 * first it sees. */
int bnd_pki_csr_fingerprint(struct bnd_slice csr_pem, uint8_t out[BND_PKI_FINGERPRINT_BYTES],
                            struct bnd_error *err);

/* Signs a node certificate for the request's key, valid BND_PKI_LEAF_DAYS. Only the key is taken
 * from the request; its signature is checked (BND_DENIED). Use: client and server authentication.
 */
int bnd_pki_node_sign(const struct bnd_pki_ca *ca, struct bnd_slice csr_pem,
                      const struct bnd_pki_identity *identity, uint64_t now_ms,
                      struct bnd_buf *out_certificate_pem, struct bnd_error *err);

/* Signs a certificate for a client port with a SAN for each host (numeric addresses become IP SANs,
 * all else DNS). hosts: 1 to 32, each at most 253 bytes. It carries no node identity. */
int bnd_pki_server_sign(const struct bnd_pki_ca *ca, struct bnd_slice csr_pem,
                        const char *const *hosts, size_t host_count, uint64_t now_ms,
                        struct bnd_buf *out_certificate_pem, struct bnd_error *err);

/* The identity in a node certificate (DER, as bnd_conn_peer_certificate gives it; hostile). It does
 * NOT verify the signature: TLS has. BND_CORRUPT: not a certificate. BND_DENIED: no URI SAN,
 * several, or one of another form. */
int bnd_pki_identity_read(struct bnd_slice certificate_der, struct bnd_pki_identity *out,
                          struct bnd_error *err);

/* As a stranger would check it: the first certificate is signed by one of the CAs, in time, a
 * client's and a server's, and carries an identity. BND_DENIED with the reason. For a joiner that
 * looks at what it was given, and `bindery doctor`. */
int bnd_pki_node_verify(struct bnd_slice ca_pem, struct bnd_slice certificate_pem, uint64_t now_ms,
                        struct bnd_pki_identity *out, struct bnd_error *err);

/* SHA-256 over the DER of the first certificate: what a join token pins. */
int bnd_pki_fingerprint(struct bnd_slice certificate_pem, uint8_t out[BND_PKI_FINGERPRINT_BYTES],
                        struct bnd_error *err);

/* Has one of the certificates that fingerprint? */
bool bnd_pki_has_fingerprint(struct bnd_slice certificates_pem,
                             const uint8_t fingerprint[BND_PKI_FINGERPRINT_BYTES]);

/* How many certificates there are. */
size_t bnd_pki_count(struct bnd_slice certificates_pem);

/* Is the first certificate signed with the key of the first CA? Of time and use it says nothing. */
bool bnd_pki_signed_by(struct bnd_slice ca_pem, struct bnd_slice certificate_pem);

/* When the first certificate stops being valid, seconds since 1970: renewal is due before. */
int bnd_pki_expiry(struct bnd_slice certificate_pem, uint64_t *out_s, struct bnd_error *err);

/* Reads a whole file of at most 1 MiB (a user's certificate or key). Blocking. Errors of env files;
 * BND_TOOBIG. */
int bnd_pki_load(struct bnd_env *env, const char *path, struct bnd_buf *out, struct bnd_error *err);

#endif
