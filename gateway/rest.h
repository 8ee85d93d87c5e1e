/* The REST port (architecture 2, 12): health and metrics for everybody, the rest for bearers of a
 * token.
 *
 *   /livez /readyz /metrics     gateway/admin, without a token
 *   /bindery/v1/...             gateway/admin: the cluster itself
 *   /client/v4/...              gateway/cf: what wrangler calls */
#ifndef BND_GATEWAY_REST_H
#define BND_GATEWAY_REST_H

#include "gateway/gateway.h"

struct bnd_rest;

/* services is borrowed until destroy. BND_NOMEM. */
int bnd_rest_create(const struct bnd_gateway_services *services, struct bnd_rest **out);
/* When every request has ended (after the server's on_closed). NULL allowed. */
void bnd_rest_destroy(struct bnd_rest *rest);

/* The handler for a server whose owner is a struct bnd_rest. */
const struct bnd_http_handler *bnd_rest_handler(void);

#endif
