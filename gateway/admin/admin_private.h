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

/* "active", "draining", ... */
const char *admin_node_state_text(enum bnd_node_state state);

/* Appends text, with a # HELP line before each # TYPE line of a metric that is known. */
void admin_metrics_help(struct bnd_slice text, struct bnd_buf *out);

#endif
