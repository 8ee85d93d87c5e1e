/* A gateway: the same program without storage (architecture 2). It runs beside workerd or an
 * application, knows the shard map and sends each request to its leader, so that a node's death is
 * not its client's business. It has a node's identity (an id from group 0, a certificate) and the
 * client ports, but no journal, no state, no bodies and no groups: group 0 knows it as a gateway of
 * weight 0, so that nothing is ever placed on it. It holds the cluster key, as it judges S3
 * signatures: a gateway's machine is trusted like a node's. */
#ifndef BND_NODE_GATEWAY_NODE_H
#define BND_NODE_GATEWAY_NODE_H

#include "node/node.h"

struct bnd_gateway_node;

/* Starts the gateway of config->data, whose directory holds a gateway's identity (node/join.h with
 * BND_NODE_GATEWAY comes before). Runs on env's loop; callbacks as a node's: ready once, with NULL,
 * when the client ports are open; stopped last. *out is owned by the callee until `stopped`.
 * BND_LOCKED: a second process; BND_INVALID: a storage node's directory; BND_NOTFOUND: no identity;
 * and what any part says, with its name. */
int bnd_gateway_node_start(struct bnd_env *env, const struct bnd_config *config,
                           const struct bnd_node_callbacks *callbacks,
                           struct bnd_gateway_node **out, struct bnd_error *err);

/* A clean stop: clients first. Idempotent. */
void bnd_gateway_node_stop(struct bnd_gateway_node *node);
/* As bnd_node_reload. */
void bnd_gateway_node_reload(struct bnd_gateway_node *node);

#endif
