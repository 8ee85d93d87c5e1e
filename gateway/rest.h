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

#define BND_REST_PORTS_MAX 4

struct bnd_rest_port {
    const char *name; /* the label of its counters in /metrics */
    const struct bnd_http_server *server;
};

/* The ports whose counters /metrics shows, in place of those given before; copied. count: at most
 * BND_REST_PORTS_MAX. The servers are borrowed: take them back (count 0) before any is closed. */
void bnd_rest_watch(struct bnd_rest *rest, const struct bnd_rest_port *ports, size_t count);

/* The handler for a server whose owner is a struct bnd_rest. */
const struct bnd_http_handler *bnd_rest_handler(void);
/* The names of what its requests do, for bnd_http_options.operations. */
const char *const *bnd_rest_operation_names(size_t *out_count);

#endif
