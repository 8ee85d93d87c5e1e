/* The bindings port: what bindings of a released workerd, configured as external HTTP services, are
 * answered with (docs/design/0094-kv-surfaces.md, docs/design/0104-d1-surfaces.md).
 *
 * A request names its binding in X-Bindery-Binding ("kv:<namespace id>", "d1:<uuid or name>") and
 * carries a bearer token; workerd injects both. Host and the authority of the path mean nothing. */
#ifndef BND_GATEWAY_WORKER_WORKER_H
#define BND_GATEWAY_WORKER_WORKER_H

#include "gateway/gateway.h"

struct worker;

/* services is borrowed until destroy. BND_NOMEM. */
int worker_create(const struct bnd_gateway_services *services, struct worker **out);
/* When every request has ended (after the server's on_closed). NULL allowed. */
void worker_destroy(struct worker *worker);

/* The handler for a server whose owner is a struct worker. */
const struct bnd_http_handler *worker_handler(void);
/* The names of what its requests do, for bnd_http_options.operations. */
const char *const *worker_operation_names(size_t *out_count);

#endif
