/* Hashes for placement and integrity: XXH3 (xxHash 0.8 format, frozen since 0.8.0). Not
 * cryptographic. */
#ifndef BND_BASE_HASH_H
#define BND_BASE_HASH_H

#include "base/bytes.h"

struct bnd_hash128 {
    uint64_t low;
    uint64_t high;
};

uint64_t bnd_hash64(struct bnd_slice data, uint64_t seed);
struct bnd_hash128 bnd_hash128(struct bnd_slice data, uint64_t seed);

/* Over several slices as if they were joined. */
uint64_t bnd_hash64_parts(const struct bnd_slice *parts, size_t count, uint64_t seed);

static inline bool bnd_hash128_eq(struct bnd_hash128 a, struct bnd_hash128 b) {
    return a.low == b.low && a.high == b.high;
}

#endif
