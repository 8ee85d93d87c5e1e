/* The decoder of KV shards' maps. What it accepts encodes to the same bytes, and the planner and
 * the transitions live with it. */
#include "placement/kv_map.h"
#include "tests/fuzz/fuzz.h"

static enum bnd_kv_node node_of(void *data, uint64_t node) {
    return (enum bnd_kv_node)((node ^ (uint64_t)(uintptr_t)data) & 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_kv_shard shard;
    if (bnd_kv_shard_decode(bnd_slice(data, size), &shard) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    bnd_kv_shard_encode(&again, &shard);
    fuzz_same(&again, bnd_slice(data, size));
    uint64_t wanted[] = {1, 2, 3};
    struct bnd_kv_plan plan = {
        .wanted = wanted, .wanted_count = 3, .node = node_of, .now_ms = UINT64_C(1) << 41};
    (void)bnd_kv_plan_step(&shard, &plan);
    struct bnd_kv_confirmation confirmation = {.node = shard.replicas[0].node,
                                               .horizon = shard.horizon,
                                               .equal = wanted,
                                               .equal_count = 3};
    (void)bnd_kv_shard_confirm(&shard, shard.epoch, &confirmation);
    (void)bnd_kv_shard_filled(&shard, shard.epoch, shard.replicas[0].node, shard.collected);
    (void)bnd_kv_shard_left(&shard, shard.epoch, shard.leaving);
    return 0;
}
