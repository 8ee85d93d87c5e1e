/* Certificates that outlive nobody: a member renews its own before it ends, and takes the client
 * ports' anew, without a restart (architecture 12).
 *
 * Once a day, and when asked (SIGHUP): the node's certificate is signed anew with the CA key of
 * group 0 if it ends within 30 days; the client ports' is read again from tls_cert and tls_key, or
 * issued anew if near its end (node/client_tls.h). Connections made before keep theirs. Whatever
 * fails is logged, and the old certificate stays.
 *
 * While the cluster's CA is being changed (ADR 0091), as the views of group 0 tell: the node trusts
 * both CAs, has its certificate signed by the new one, says so to group 0, and in the end trusts
 * the new one alone. What fails is tried again every 10 s. */
#ifndef BND_NODE_CERTIFICATES_H
#define BND_NODE_CERTIFICATES_H

#include "gateway/gateway.h"
#include "net/mesh_tcp.h"
#include "node/config.h"
#include "node/identity.h"

struct node_certificates {
    struct bnd_env *env; /* all borrowed */
    const struct bnd_config *config;
    struct node_identity *identity; /* node_cert is replaced */
    struct bnd_mesh_tcp *mesh;
    struct bnd_catalog *catalog;
    struct bnd_gateway **gateway; /* NULL there: the ports are not open yet */
    struct bnd_tls_context **tls; /* of the ports: replaced */
    /* private */
    struct bnd_timer timer;
    struct bnd_timer retry;
    struct bnd_catalog_call call; /* that this node has a certificate of the newest CA */
    bool calling;
    bool mesh_stale;     /* the files have what the mesh does not use yet */
    uint64_t ports_seen; /* which CA the client ports' certificate was last looked at for */
};

/* Signs the node's certificate anew if it ends within 30 days or is not of the settings' CA, into
 * certs/node.pem, and makes certs/ca.pem the CAs to trust; both also in *identity. A crash anywhere
 * leaves files that fit each other. *out_renewed: something changed. Blocking. BND_CORRUPT: the CA
 * key cannot be unsealed; errors of files. */
int node_certificate_renew(struct bnd_env *env, const char *dir, struct node_identity *identity,
                           const struct bnd_settings *settings, bool *out_renewed,
                           struct bnd_error *err);

/* Begins the daily look, the first in a minute. */
void node_certificates_start(struct node_certificates *certificates);
/* Group 0 has a new view. */
void node_certificates_update(struct node_certificates *certificates,
                              const struct bnd_catalog_view *view);
/* Looks now. */
void node_certificates_reload(struct node_certificates *certificates);
void node_certificates_stop(struct node_certificates *certificates); /* also if never started */

#endif
