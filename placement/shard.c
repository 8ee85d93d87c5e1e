#include "placement/shard.h"

#include "base/assert.h"
#include "base/hash.h"

uint32_t bnd_shard_of(enum bnd_group_kind kind, uint64_t scope, struct bnd_slice name,
                      uint32_t shards) {
    BND_ASSERT(shards > 0 && shards <= BND_SHARDS_MAX && (shards & (shards - 1)) == 0);
    uint8_t head[9];
    head[0] = (uint8_t)kind;
    bnd_put_u64(head + 1, scope);
    struct bnd_slice parts[2] = {bnd_slice(head, sizeof head), name};
    return (uint32_t)bnd_hash64_parts(parts, 2, 0) & (shards - 1);
}

struct bnd_slice bnd_object_placed_part(struct bnd_slice key, uint8_t segments) {
    unsigned slashes = 0;
    for (size_t i = 0; segments > 0 && i < key.len; i++) {
        if (key.data[i] == '/' && ++slashes == segments) {
            return bnd_slice(key.data, i);
        }
    }
    return key;
}

uint64_t bnd_object_gid(uint64_t bucket_id, uint8_t segments, struct bnd_slice key,
                        uint32_t shards) {
    struct bnd_slice placed = bnd_object_placed_part(key, segments);
    return bnd_gid(BND_GROUP_OBJECTS, bnd_shard_of(BND_GROUP_OBJECTS, bucket_id, placed, shards));
}

bool bnd_object_prefix_gid(uint64_t bucket_id, uint8_t segments, struct bnd_slice prefix,
                           uint32_t shards, uint64_t *out_gid) {
    struct bnd_slice placed = bnd_object_placed_part(prefix, segments);
    if (segments == 0 || placed.len == prefix.len) {
        return false;
    }
    *out_gid = bnd_object_gid(bucket_id, segments, prefix, shards);
    return true;
}
