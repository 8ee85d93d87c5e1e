/* How many connections each client address has (internal to gateway/http).
 *
 * An open-addressed table of the addresses that have any: it grows with their number and shrinks
 * never; its hash is seeded, so that nobody can choose addresses that collide. IPv4 addresses count
 * each for itself, IPv6 ones by their /64: one client commonly has that much. */
#ifndef BND_GATEWAY_HTTP_ADDRESSES_H
#define BND_GATEWAY_HTTP_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_address {
    uint64_t key;
    uint32_t count; /* 0: a free place */
};

struct http_addresses {
    struct http_address *places; /* cap of them, a power of two */
    size_t cap;
    size_t used;
    uint64_t seed; /* set before first use */
};

/* The key of "1.2.3.4:80" or "[2001:db8::1]:80"; of other text, its hash. */
uint64_t http_address_key(const char *text);

/* One connection more; false: it has `most` already, or there is no memory to count it. */
bool http_addresses_enter(struct http_addresses *addresses, uint64_t key, size_t most);
/* One less. */
void http_addresses_leave(struct http_addresses *addresses, uint64_t key);
void http_addresses_free(struct http_addresses *addresses);

#endif
