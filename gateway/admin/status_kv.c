/* The part of the status that tells of KV's shards: their map in group 0 as this node knows it.
 * They have no leaders; who counts for acknowledgements is "filled". */
#include "gateway/admin/admin_private.h"
#include "placement/shard.h"

struct kv_shard_row {
    const struct bnd_kv_shard *shard;
    uint64_t wanted[BND_REPLICAS_MAX];
    size_t wanted_count; /* 0 before the first view */
};

static void add_member(json_t *members, uint64_t node, const char *role) {
    (void)json_array_append_new(members,
                                json_pack("{s:I, s:s}", "node", (json_int_t)node, "role", role));
}

static json_t *members_json(const struct bnd_kv_shard *shard) {
    json_t *members = json_array();
    for (size_t i = 0; i < shard->replicas_count; i++) {
        const struct bnd_kv_replica *replica = &shard->replicas[i];
        add_member(members, replica->node, replica->filled ? "filled" : "filling");
    }
    if (shard->leaving != 0) {
        add_member(members, shard->leaving, "leaving");
    }
    return members;
}

static bool is_wanted(const struct kv_shard_row *row, uint64_t node) {
    size_t i = 0;
    while (i < row->wanted_count && row->wanted[i] != node) {
        i++;
    }
    return i < row->wanted_count;
}

/* Replicas that are still to be filled, or to go. */
static size_t count_moves(const struct kv_shard_row *row) {
    const struct bnd_kv_shard *shard = row->shard;
    size_t filled = 0;
    size_t leaving = shard->leaving != 0;
    for (size_t i = 0; i < shard->replicas_count; i++) {
        bool stays = row->wanted_count == 0 || is_wanted(row, shard->replicas[i].node);
        filled += stays && shard->replicas[i].filled;
        leaving += !stays;
    }
    size_t wanted = row->wanted_count == 0 ? shard->replicas_count : row->wanted_count;
    size_t arriving = wanted - filled;
    return arriving > leaving ? arriving : leaving;
}

static void find_wanted(const struct bnd_gateway_services *services, uint32_t number,
                        struct kv_shard_row *row) {
    size_t count = services->wanted(services->owner, bnd_gid(BND_GROUP_KV, number), row->wanted);
    row->wanted_count = count < BND_KV_REPLICAS_MAX ? count : BND_KV_REPLICAS_MAX;
}

json_t *admin_kv_shards(const struct bnd_gateway_services *services,
                        const struct bnd_catalog_view *view, struct admin_kv_moves *moves) {
    json_t *shards = json_array();
    for (uint32_t number = 0; number < view->kv_shards_count; number++) {
        struct kv_shard_row row = {.shard = &view->kv_shards[number]};
        if (row.shard->epoch == 0) {
            continue; /* made with the first namespace */
        }
        find_wanted(services, number, &row);
        size_t left = count_moves(&row);
        moves->replicas += left;
        moves->shards += left > 0;
        (void)json_array_append_new(shards, json_pack("{s:s, s:I, s:I, s:o}", "kind", "kv", "shard",
                                                      (json_int_t)number, "epoch",
                                                      (json_int_t)row.shard->epoch, "members",
                                                      members_json(row.shard)));
    }
    return shards;
}
