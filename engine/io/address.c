/* "1.2.3.4:7700" and "[::1]:7700", both ways. Names are never looked up here. */
#include "engine/io/io_private.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool parse_port(const char *text, uint16_t *out) {
    unsigned port = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 5) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

int io_address_parse(const char *text, struct sockaddr_storage *out, struct bnd_error *err) {
    char host[BND_ADDRESS_MAX];
    uint16_t port = 0;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || strlen(text) >= sizeof host || !parse_port(colon + 1, &port)) {
        return BND_FAIL(err, INVALID, "address '%.80s': want HOST:PORT with a numeric host", text);
    }
    bool v6 = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    size_t len = (size_t)(colon - text) - (v6 ? 2 : 0);
    memcpy(host, text + (v6 ? 1 : 0), len);
    host[len] = 0;
    struct sockaddr_storage address = {0};
    int rc = v6 ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)&address)
                : uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)&address);
    if (rc != 0) {
        return BND_FAIL(err, INVALID, "address '%.80s': '%s' is no numeric host", text, host);
    }
    *out = address;
    return 0;
}

void io_address_format(const struct sockaddr_storage *address, char out[BND_ADDRESS_MAX]) {
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        (void)uv_ip6_name(v6, host, sizeof host); /* the buffer fits every address */
        port = ntohs(v6->sin6_port);
        (void)snprintf(out, BND_ADDRESS_MAX, "[%s]:%u", host, port);
        return;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    (void)uv_ip4_name(v4, host, sizeof host); /* as above */
    port = ntohs(v4->sin_port);
    (void)snprintf(out, BND_ADDRESS_MAX, "%s:%u", host, port);
}
