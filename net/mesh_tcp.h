/* The mesh over TCP and TLS 1.3 (architecture 6; ADR 0030; SPEC.md, "Peer protocol").
 *
 * One connection per peer pair and lane, both sides certified by the cluster's CA. The node with
 * the lower id dials; the other dials too after 3 to 6 s without a connection, so that a node whose
 * address changed can tell it. Messages of one loop pass leave in one write. A side that has been
 * silent for 200 ms pings; 3 s of the peer's silence, counted in loop ticks so that a paused
 * process does not blame its peers, end the connection. Either lane's end is the peer's end: both
 * are closed and made anew, with jittered back-off of at most 2 s.
 *
 * Reasons for refused connections and lost peers are logged (component "mesh"), at most 20 lines in
 * 10 s. All on the env's loop. */
#ifndef BND_NET_MESH_TCP_H
#define BND_NET_MESH_TCP_H

#include "net/mesh.h"
#include "net/pki.h"

struct bnd_mesh_tcp;
struct bnd_join_request;

/* The certificates of a node. ca_pem is one certificate; it is sent along, so that a joiner can
 * check it against its token's fingerprint. */
struct bnd_mesh_tcp_tls {
    struct bnd_slice certificate_pem;
    struct bnd_slice key_pem;
    struct bnd_slice ca_pem;
};

/* A stranger's one request: it came over TLS without a client certificate, so nothing is known of
 * the sender. Must lead to one bnd_mesh_join_reply, from inside or later. payload is borrowed until
 * the call returns. */
typedef void (*bnd_mesh_join_cb)(void *owner, struct bnd_join_request *request,
                                 struct bnd_slice payload);

struct bnd_mesh_tcp_config {
    struct bnd_env *env;
    uint64_t self;
    uint8_t cluster[BND_PKI_CLUSTER_BYTES];
    const char *listen_address;
    struct bnd_mesh_tcp_tls tls;
    size_t queue_bytes_max[BND_MESH_LANES]; /* per peer; 0: 16 MiB. At least what the largest
                                               message takes. */
    bnd_mesh_join_cb on_join;               /* NULL: strangers are refused */
    void *join_owner;
    /* Is the node, which is no peer, a member no more, for ever? It is told so. NULL: nobody is. */
    bool (*is_gone)(void *owner, uint64_t node);
    /* May the node, which is no peer but has the cluster's certificate, be one from now on? Where it
     * is to be dialled, set_peer says once that is known. NULL: nobody may. */
    bool (*admits)(void *owner, uint64_t node);
    /* A peer says that of this node. The last thing that the mesh does then: it may be closed from
     * inside. NULL: it is only logged. */
    void (*told_gone)(void *owner, uint64_t by);
    void *gone_owner;
};

/* Listens. BND_INVALID: certificates that do not fit each other, self or cluster; bounds. Errors of
 * listen. */
int bnd_mesh_tcp_create(const struct bnd_mesh_tcp_config *config, struct bnd_mesh_tcp **out,
                        struct bnd_error *err);

/* Closes every connection; watchers are told "down" from inside, receivers nothing more. Then
 * on_closed (may be NULL), later, after which the mesh is gone. Join requests may still be replied
 * to: the replies are dropped. */
void bnd_mesh_tcp_close(struct bnd_mesh_tcp *tcp, void (*on_closed)(void *data), void *data);

/* The interface of net/mesh.h. Lives as long as tcp. */
struct bnd_mesh *bnd_mesh_tcp_mesh(struct bnd_mesh_tcp *tcp);

/* "host:port" it listens on: port 0 asked for a free one. */
void bnd_mesh_tcp_address(struct bnd_mesh_tcp *tcp, char out[BND_ADDRESS_MAX]);

/* Admits a node and keeps a connection to it. A new address is used for the next dial; a live
 * connection stays. BND_INVALID: self, 0, or an address of BND_ADDRESS_MAX bytes or more.
 * BND_NOMEM. */
int bnd_mesh_tcp_set_peer(struct bnd_mesh_tcp *tcp, uint64_t node, const char *address);

/* Closes its connections (watchers are told from inside) and refuses it from now on. Unknown nodes:
 * nothing. */
void bnd_mesh_tcp_remove_peer(struct bnd_mesh_tcp *tcp, uint64_t node);

/* New certificates for connections made from now on; errors as of create, which leave the old in
 * place. */
int bnd_mesh_tcp_renew(struct bnd_mesh_tcp *tcp, const struct bnd_mesh_tcp_tls *tls,
                       struct bnd_error *err);

struct bnd_mesh_tcp_stats {
    uint64_t refused; /* connections: foreign certificates, other clusters, no hello in time, ... */
    uint64_t shed;    /* unidentified connections that made room for newer ones */
};
void bnd_mesh_tcp_stats(const struct bnd_mesh_tcp *tcp, struct bnd_mesh_tcp_stats *out);

/* ---- joining
 * ------------------------------------------------------------------------------------------ */

#define BND_MESH_JOIN_TIMEOUT_NS (30000 * BND_MS) /* a join connection's whole life, both sides */

/* "host:port" of the stranger; "-" when it is gone. */
void bnd_mesh_join_peer(const struct bnd_join_request *request, char out[BND_ADDRESS_MAX]);

/* Answers (status: 0 or a code; reply copied, at most BND_FRAME_JOIN_REPLY_MAX) and frees the
 * request. */
void bnd_mesh_join_reply(struct bnd_join_request *request, int status, struct bnd_slice reply);

struct bnd_join_call;

/* status: 0 or the code of the handler; BND_DENIED: the server's CA is not the one pinned;
 * BND_TIMEOUT, BND_CLOSED, BND_CORRUPT: unknown whether the request was served. failure: text for
 * the operator, "" if none. Both borrowed. */
typedef void (*bnd_mesh_join_done_cb)(void *data, int status, struct bnd_slice reply,
                                      const char *failure);

struct bnd_join_call_options {
    struct bnd_env *env;
    const char *address;           /* a member's peer address */
    const uint8_t *ca_fingerprint; /* 32 bytes, of the token */
    struct bnd_slice request;      /* copied; at most BND_FRAME_JOIN_REQUEST_MAX */
    bnd_mesh_join_done_cb cb;
    void *data;
};

/* Asks a member once, over TLS to a server whose CA has that fingerprint. cb exactly once, later,
 * within BND_MESH_JOIN_TIMEOUT_NS, unless canceled; the call is gone after it. BND_TOOBIG,
 * BND_NOMEM, errors of connect. */
int bnd_mesh_join_call(const struct bnd_join_call_options *options, struct bnd_join_call **out,
                       struct bnd_error *err);

/* No callback comes after it. The call is gone. */
void bnd_mesh_join_cancel(struct bnd_join_call *call);

#endif
