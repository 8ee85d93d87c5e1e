#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t bnd_hash64(struct bnd_slice data, uint64_t seed) {
    return XXH3_64bits_withSeed(data.data, data.len, seed);
}

struct bnd_hash128 bnd_hash128(struct bnd_slice data, uint64_t seed) {
    XXH128_hash_t h = XXH3_128bits_withSeed(data.data, data.len, seed);
    return (struct bnd_hash128){.low = h.low64, .high = h.high64};
}

uint64_t bnd_hash64_parts(const struct bnd_slice *parts, size_t count, uint64_t seed) {
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset_withSeed(&state, seed); /* fails only for a NULL state */
    for (size_t i = 0; i < count; i++) {
        (void)XXH3_64bits_update(&state, parts[i].data, parts[i].len);
    }
    return XXH3_64bits_digest(&state);
}
