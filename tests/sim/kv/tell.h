/* What group 0 makes of what KV's replicas tell it, for tests that have no group 0. */
#ifndef BND_TESTS_SIM_KV_TELL_H
#define BND_TESTS_SIM_KV_TELL_H

#include "kv/kv.h"

/* The transition that node `from` asks for. As bnd_kv_shard_filled and the others. */
static inline int simkv_tell_make(struct bnd_kv_shard *shard, uint64_t from,
                                  const struct bnd_kv_tell *tell) {
    const struct bnd_kv_confirmation confirmation = {.node = from,
                                                     .horizon = tell->horizon,
                                                     .equal = tell->equal,
                                                     .equal_count = tell->equal_count};
    switch (tell->kind) {
    case BND_KV_TELL_FILLED:
        return bnd_kv_shard_filled(shard, tell->epoch, from, tell->horizon);
    case BND_KV_TELL_LEFT:
        return bnd_kv_shard_left(shard, tell->epoch, from);
    case BND_KV_TELL_CONFIRM:
        return bnd_kv_shard_confirm(shard, tell->epoch, &confirmation);
    case BND_KV_TELL_UNFILLED:
        return bnd_kv_shard_unfilled(shard, tell->epoch, from);
    }
    return BND_INVALID;
}

static inline bool simkv_map_same(const struct bnd_kv_shard *a, const struct bnd_kv_shard *b) {
    BND_AUTO_BUF struct bnd_buf x = {0};
    BND_AUTO_BUF struct bnd_buf y = {0};
    bnd_kv_shard_encode(&x, a);
    bnd_kv_shard_encode(&y, b);
    return bnd_slice_eq(bnd_buf_slice(&x), bnd_buf_slice(&y));
}

#endif
