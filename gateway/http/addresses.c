/* See addresses.h. Linear probing at a load of at most one half; leaving moves later entries of a
 * run back, so that there are no tombstones. */
#include "gateway/http/addresses.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

#include <arpa/inet.h>
#include <string.h>

#define CAP_MIN 64

uint64_t http_address_key(const char *text) {
    char host[INET6_ADDRSTRLEN + 1];
    uint8_t bytes[16];
    const char *colon = strrchr(text, ':');
    size_t skip = text[0] == '[';
    size_t len = colon == NULL ? 0 : (size_t)(colon - text) - 2 * skip;
    if (colon == NULL || len >= sizeof host) {
        return bnd_hash64(bnd_slice_str(text), 0);
    }
    memcpy(host, text + skip, len);
    host[len] = 0;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET, host, bytes) == 1) {
        return UINT64_C(0xffff) << 32 | bnd_get_be32(bytes);
    }
    if (inet_pton(AF_INET6, host, bytes) != 1) {
        return bnd_hash64(bnd_slice_str(text), 0);
    }
    return memcmp(bytes, mapped, sizeof mapped) == 0
               ? UINT64_C(0xffff) << 32 | bnd_get_be32(bytes + 12)
               : bnd_get_be64(bytes);
}

static size_t home(const struct http_addresses *addresses, uint64_t key) {
    uint8_t bytes[8];
    bnd_put_u64(bytes, key);
    return (size_t)bnd_hash64(bnd_slice(bytes, sizeof bytes), addresses->seed) &
           (addresses->cap - 1);
}

/* Where the key is, or the free place that ends its run. */
static size_t find(const struct http_addresses *addresses, uint64_t key) {
    size_t at = home(addresses, key);
    while (addresses->places[at].count > 0 && addresses->places[at].key != key) {
        at = (at + 1) & (addresses->cap - 1);
    }
    return at;
}

static bool grow(struct http_addresses *addresses) {
    struct http_addresses larger = {
        .cap = addresses->cap == 0 ? CAP_MIN : 2 * addresses->cap,
        .used = addresses->used,
        .seed = addresses->seed,
    };
    larger.places = bnd_calloc(larger.cap, sizeof *larger.places);
    if (larger.places == NULL) {
        return false;
    }
    for (size_t i = 0; i < addresses->cap; i++) {
        if (addresses->places[i].count > 0) {
            larger.places[find(&larger, addresses->places[i].key)] = addresses->places[i];
        }
    }
    bnd_free(addresses->places);
    *addresses = larger;
    return true;
}

bool http_addresses_enter(struct http_addresses *addresses, uint64_t key, size_t most) {
    if (2 * (addresses->used + 1) > addresses->cap && !grow(addresses)) {
        return false;
    }
    struct http_address *place = &addresses->places[find(addresses, key)];
    if (place->count >= most) {
        return false;
    }
    addresses->used += place->count == 0;
    place->key = key;
    place->count++;
    return true;
}

void http_addresses_leave(struct http_addresses *addresses, uint64_t key) {
    size_t mask = addresses->cap - 1;
    size_t hole = find(addresses, key);
    BND_ASSERT(addresses->places[hole].count > 0);
    if (--addresses->places[hole].count > 0) {
        return;
    }
    addresses->used--;
    for (size_t at = (hole + 1) & mask; addresses->places[at].count > 0; at = (at + 1) & mask) {
        size_t from_home = (at - home(addresses, addresses->places[at].key)) & mask;
        if (from_home >= ((at - hole) & mask)) { /* its home is not after the hole */
            addresses->places[hole] = addresses->places[at];
            addresses->places[at].count = 0;
            hole = at;
        }
    }
}

void http_addresses_free(struct http_addresses *addresses) {
    bnd_free(addresses->places);
    addresses->places = NULL;
}
