/* Between the files of gateway/admin. */
#ifndef BND_GATEWAY_ADMIN_ADMIN_PRIVATE_H
#define BND_GATEWAY_ADMIN_ADMIN_PRIVATE_H

#include "gateway/rest_request.h"

void admin_run_metrics(struct rest_request *request);
void admin_run_status(struct rest_request *request);
void admin_run_node_drain(struct rest_request *request);
void admin_run_node_undrain(struct rest_request *request);
void admin_run_node_decommission(struct rest_request *request);
void admin_run_node_replace(struct rest_request *request);

void admin_run_ca(struct rest_request *request);
void admin_run_ca_rotate(struct rest_request *request);
void admin_run_ca_finish(struct rest_request *request);

/* What of KV is still to be moved. */
struct admin_kv_moves {
    size_t shards, replicas;
};
/* [{"kind": "kv", "shard", "epoch", "members": [{"node", "role": "filled", "filling" or
 * "leaving"}]}], of the shards that have been made; adds to moves. The caller's; without memory
 * NULL, or cut off. */
json_t *admin_kv_shards(const struct bnd_gateway_services *services,
                        const struct bnd_catalog_view *view, struct admin_kv_moves *moves);

/* "active", "draining", ... */
const char *admin_node_state_text(enum bnd_node_state state);

/* Appends text, with a # HELP line before each # TYPE line of a metric that is known. */
void admin_metrics_help(struct bnd_slice text, struct bnd_buf *out);

#endif
