/* Horizons (ADR 0090): what is proposed is refused for good before it is compared, and confirmed
 * once this replica has been equal with every other filled one while both refuse it. What is
 * collected is deleted by the scan that builds the next tree (build.c). */
#include "kv/spread_private.h"

void spread_horizon_step(struct spread_shard *shard, const struct spread_scope *scope) {
    struct bnd_kv *kv = shard->spread->kv;
    const struct bnd_kv_shard *map = &shard->map;
    const struct bnd_kv_replica *own = &map->replicas[bnd_kv_shard_find(map, kv->config.self)];
    if (map->horizon == map->collected || own->confirmed == map->horizon ||
        scope->refused != map->horizon) {
        return;
    }
    if (!spread_merged_filled(shard, scope) && kv_rule(kv, KV_RULE_CONFIRM)) {
        return;
    }
    struct bnd_kv_tell told = {.kind = BND_KV_TELL_CONFIRM,
                               .shard = shard->number,
                               .epoch = map->epoch,
                               .horizon = map->horizon};
    for (size_t i = 0; i < map->replicas_count; i++) {
        if (map->replicas[i].filled && map->replicas[i].node != kv->config.self) {
            told.equal[told.equal_count++] = map->replicas[i].node;
        }
    }
    kv->config.tell(kv->config.owner, &told);
}
