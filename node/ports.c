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

/* The sizes of keys, metadata and values are the format's. */
struct kv_limits node_kv_limits(const struct bnd_config *config) {
    return (struct kv_limits){
        .namespaces_max = config->kv_namespaces_max,
        .bulk_pairs_max = config->kv_bulk_pairs_max,
        .bulk_bytes_max = config->kv_bulk_bytes_max,
        .bulk_get_max = config->kv_bulk_get_max,
        .ttl_min_s = config->kv_ttl_min_s,
    };
}

struct d1_limits node_d1_limits(const struct bnd_config *config) {
    return (struct d1_limits){.databases_max = config->d1_databases_max};
}
