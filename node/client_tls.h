/* The certificate of the client ports: the user's, or one from the cluster's CA (architecture 12).
 */
#ifndef BND_NODE_CLIENT_TLS_H
#define BND_NODE_CLIENT_TLS_H

#include "catalog/catalog.h"
#include "net/tls.h"
#include "node/config.h"
#include "node/identity.h"

/* Makes the server context. With tls_cert and tls_key set: from those files. Else from
 * certs/server.pem, which is issued for the node's addresses (and localhost) with the CA key of the
 * view, when it is missing, nearly past its time, of other addresses or of another CA. BND_BUSY: it
 * has to be issued and view is NULL: call again with one. *out is owned; NULL when
 * config->insecure. Blocking. */
int node_client_tls(struct bnd_env *env, const struct bnd_config *config,
                    const struct node_identity *identity, const struct bnd_catalog_view *view,
                    struct bnd_tls_context **out, struct bnd_error *err);

#endif
