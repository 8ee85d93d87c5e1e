/* The addresses of a node's ports, from its settings (node.h). */
#include "node/node.h"

#include <stdio.h>
#include <string.h>

static int format_address(const char *host, uint64_t port, char out[BND_ADDRESS_MAX],
                          struct bnd_error *err) {
    bool bare_v6 = strchr(host, ':') != NULL && host[0] != '[';
    int len = snprintf(out, BND_ADDRESS_MAX, bare_v6 ? "[%s]:%llu" : "%s:%llu", host,
                       (unsigned long long)port);
    if (len < 0 || len >= BND_ADDRESS_MAX) {
        return BND_FAIL(err, INVALID, "address too long: %.80s", host);
    }
    return 0;
}

int bnd_node_addresses(const struct bnd_config *config, struct bnd_node_addresses *out,
                       struct bnd_error *err) {
    struct bnd_node_addresses addresses;
    const char *advertise = config->advertise[0] != 0 ? config->advertise : config->listen;
    int rv = format_address(config->listen, config->base_port, addresses.rest, err);
    rv = rv != 0 ? rv
                 : format_address(config->listen, config->base_port + 1, addresses.bindings, err);
    rv = rv != 0 ? rv : format_address(config->listen, config->base_port + 2, addresses.s3, err);
    rv = rv != 0 ? rv : format_address(config->listen, config->base_port + 3, addresses.peers, err);
    rv = rv != 0 ? rv : format_address(advertise, config->base_port + 3, addresses.advertise, err);
    if (rv == 0) {
        *out = addresses;
    }
    return rv;
}
