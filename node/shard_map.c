#include "node/shard_map.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "catalog/place.h"

int node_shard_map_update(struct node_shard_map *map, const struct bnd_catalog_view *view) {
    struct bnd_place_node *nodes = bnd_calloc(view->nodes_count, sizeof *nodes);
    uint64_t *leaders = bnd_calloc(view->nodes_count, sizeof *leaders);
    if (nodes == NULL || leaders == NULL) {
        bnd_free(nodes);
        bnd_free(leaders);
        return BND_NOMEM;
    }
    size_t count = 0;
    size_t leading = 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct bnd_node_record *record = &view->nodes[i];
        if (record->state != BND_NODE_GONE && record->role == BND_NODE_STORAGE) {
            nodes[count++] = bnd_catalog_place(record);
            if (record->state == BND_NODE_ACTIVE) {
                leaders[leading++] = record->id;
            }
        }
    }
    bnd_free(map->nodes);
    bnd_free(map->leaders);
    map->leaders = leaders;
    map->leaders_count = leading;
    map->nodes = nodes;
    map->nodes_count = count;
    map->revision = view->revision;
    map->shards = view->settings.shards;
    map->sql = view->sql_founders_count > 0;
    map->replicas =
        view->settings.replicas < BND_REPLICAS_MAX ? view->settings.replicas : BND_REPLICAS_MAX;
    return 0;
}

void node_shard_map_free(struct node_shard_map *map) {
    bnd_free(map->nodes);
    bnd_free(map->leaders);
    *map = (struct node_shard_map){0};
}

size_t node_shard_map_group(const struct node_shard_map *map, uint64_t gid,
                            uint64_t out[BND_REPLICAS_MAX]) {
    return bnd_place_group(map->nodes, map->nodes_count, gid, map->replicas, out);
}

size_t node_shard_map_groups(const struct node_shard_map *map) {
    return (size_t)map->shards * (map->sql ? 2 : 1) + 1;
}

struct publish {
    const struct node_shard_map *map;
    struct bnd_shard_client *client;
    struct bnd_raft_host *host; /* may be NULL */
    struct bnd_place_leaders leaders;
};

static void publish_group(struct publish *publish, uint64_t gid) {
    const struct node_shard_map *map = publish->map;
    struct bnd_raft_host *host = publish->host;
    uint64_t nodes[BND_REPLICAS_MAX];
    struct bnd_raft_member members[BND_REPLICAS_MAX];
    size_t count = node_shard_map_group(map, gid, nodes);
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && members[at - 1].node > nodes[i]; at--) {
            members[at] = members[at - 1];
        }
        members[at] = (struct bnd_raft_member){.node = nodes[i], .role = BND_RAFT_VOTER};
    }
    bnd_shard_client_members(publish->client, gid, nodes, count);
    if (host != NULL && count > 0) {
        bnd_raft_group_want(host, gid, members, count);
        bnd_raft_group_prefer(host, gid, nodes, bnd_place_lead(&publish->leaders, nodes, count));
    }
}

void node_shard_map_publish(const struct node_shard_map *map, struct bnd_shard_client *client,
                            struct bnd_raft_host *host) {
    uint32_t *loads = bnd_calloc(map->leaders_count + 1, sizeof *loads);
    struct publish publish = {
        .map = map,
        .client = client,
        .host = host,
        .leaders = {.nodes = map->leaders,
                    .loads = loads,
                    .count = loads == NULL ? 0 : map->leaders_count, /* then nobody is preferred */
                    .groups = node_shard_map_groups(map)},
    };
    publish_group(&publish, BND_GID_SYSTEM);
    for (uint32_t shard = 0; shard < map->shards; shard++) {
        publish_group(&publish, bnd_gid(BND_GROUP_OBJECTS, shard));
    }
    for (uint32_t shard = 0; map->sql && shard < map->shards; shard++) {
        publish_group(&publish, bnd_gid(BND_GROUP_SQL, shard));
    }
    bnd_free(loads);
}

static void add_members(const struct bnd_raft_group_status *status, bool voters,
                        struct bnd_object_replicas *out) {
    for (size_t i = 0; i < status->members_count && out->count < BND_REPLICAS_MAX; i++) {
        if ((status->members[i].role == BND_RAFT_VOTER) == voters) {
            out->nodes[out->count++] = status->members[i].node;
        }
    }
}

int node_shard_map_replicas(const struct node_shard_map *map, const struct bnd_raft_host *host,
                            uint32_t shard, struct bnd_object_replicas *out) {
    uint64_t gid = bnd_gid(BND_GROUP_OBJECTS, shard);
    struct bnd_raft_group_status status;
    *out = (struct bnd_object_replicas){0};
    if (host != NULL && bnd_raft_group_status(host, gid, &status) == 0) {
        add_members(&status, true, out);
        out->voters = out->count;
        add_members(&status, false, out);
    }
    if (out->voters > 0) {
        return 0;
    }
    if (map->revision == 0) {
        return BND_UNAVAILABLE;
    }
    out->count = node_shard_map_group(map, gid, out->nodes);
    out->voters = bnd_place_voters(out->count, map->replicas);
    return out->voters > 0 ? 0 : BND_UNAVAILABLE;
}
