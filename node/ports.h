/* The limits of the client ports, as the settings say: the same for nodes and gateways. */
#ifndef BND_NODE_PORTS_H
#define BND_NODE_PORTS_H

#include "gateway/d1/rules.h"
#include "gateway/http/server.h"
#include "gateway/kv/rules.h"
#include "node/config.h"

struct bnd_http_limits node_port_limits(const struct bnd_config *config);
struct kv_limits node_kv_limits(const struct bnd_config *config);
struct d1_limits node_d1_limits(const struct bnd_config *config);

#endif
