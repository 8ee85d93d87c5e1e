#include "node/ports.h"

struct bnd_http_limits node_port_limits(const struct bnd_config *config) {
    return (struct bnd_http_limits){
        .connections_max = (size_t)config->connections_max,
        .connections_per_address_max = (size_t)config->connections_per_address,
        .head_timeout_ns = config->head_timeout_ms * BND_MS,
        .body_timeout_ns = config->body_timeout_ms * BND_MS,
        .idle_timeout_ns = config->idle_timeout_ms * BND_MS,
    };
}
