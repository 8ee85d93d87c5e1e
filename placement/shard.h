/* Names to shards to groups (architecture 5). Pure functions: no I/O, no memory, same answer on
 * every node and in every version; the hash function has a version of its own, kept in the
 * cluster's settings. */
#ifndef BND_PLACEMENT_SHARD_H
#define BND_PLACEMENT_SHARD_H

#include "base/bytes.h"

/* Kinds of group. A group's id is kind << 32 | shard; the one SYSTEM group is "group 0". KV only
 * places keys: its shards have no Raft. KV_LOG is a node's own log of KV in the journal (ADR 0090),
 * which no Raft runs either. */
enum bnd_group_kind {
    BND_GROUP_SYSTEM = 0,
    BND_GROUP_OBJECTS = 1,
    BND_GROUP_KV = 2,
    BND_GROUP_KV_LOG = 3,
    BND_GROUP_SQL = 4
};

#define BND_GID_SYSTEM UINT64_C(0)
#define BND_GID_KV_LOG (UINT64_C(3) << 32)
#define BND_SHARDS_MAX 65536u
#define BND_SHARDS_DEFAULT 64u
#define BND_SHARD_HASH_VERSION 1u

static inline uint64_t bnd_gid(enum bnd_group_kind kind, uint32_t shard) {
    return ((uint64_t)kind << 32) | shard;
}
static inline enum bnd_group_kind bnd_gid_kind(uint64_t gid) {
    return (enum bnd_group_kind)(gid >> 32);
}
static inline uint32_t bnd_gid_shard(uint64_t gid) {
    return (uint32_t)gid;
}

/* A group of the journal that no Raft runs. */
static inline bool bnd_gid_is_log(uint64_t gid) {
    return bnd_gid_kind(gid) == BND_GROUP_KV_LOG;
}

/* The shard of a name in a service: xxh3_64 over kind, scope and name, lowest bits, so that
 * doubling `shards` splits each shard in two. shards: a power of two up to BND_SHARDS_MAX
 * (asserted). */
uint32_t bnd_shard_of(enum bnd_group_kind kind, uint64_t scope, struct bnd_slice name,
                      uint32_t shards);

/* The part of an object's key that places it: its first `segments` path segments ("a/b/c" has 3),
 * or the whole key when it has fewer or when segments is 0. */
struct bnd_slice bnd_object_placed_part(struct bnd_slice key, uint8_t segments);

/* The group that holds an object of a bucket. */
uint64_t bnd_object_gid(uint64_t bucket_id, uint8_t segments, struct bnd_slice key,
                        uint32_t shards);

/* True, and *out_gid set, if every key with this prefix is in one group: the prefix holds
 * `segments` slashes. */
bool bnd_object_prefix_gid(uint64_t bucket_id, uint8_t segments, struct bnd_slice prefix,
                           uint32_t shards, uint64_t *out_gid);

#endif
