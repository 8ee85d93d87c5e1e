/* /bindery/v1/clock: this node's clock against the others', and groups whose time has jumped.
 * Confirming tells every group of the cluster, one after the other, wherever it is. */
#include "base/alloc.h"
#include "gateway/rest_request.h"
#include "placement/shard.h"

/* ---- the picture ------------------------------------------------------------------------------*/

struct picture {
    const struct bnd_raft_host *host;
    json_t *groups;
};

static void add_suspended(void *data, uint64_t gid) {
    struct picture *picture = data;
    struct bnd_raft_group_status status;
    if (bnd_raft_group_status(picture->host, gid, &status) != 0 || status.jump_to_ms == 0) {
        return;
    }
    (void)json_array_append_new(picture->groups, /* without memory the answer is cut off: NULL */
                                json_pack("{s:I, s:o, s:o}", "gid", (json_int_t)gid, "from",
                                          rest_time_json(status.jump_from_ms), "to",
                                          rest_time_json(status.jump_to_ms)));
}

static json_t *peers_json(const struct bnd_gateway_services *services) {
    const struct bnd_catalog_view *view = bnd_catalog_view(services->catalog);
    json_t *peers = json_array();
    for (size_t i = 0; i < view->nodes_count; i++) {
        uint64_t node = view->nodes[i].id;
        int64_t offset = 0;
        if (node == services->self || view->nodes[i].state == BND_NODE_GONE) {
            continue;
        }
        bool known = services->mesh->ops->clock_offset_ms(services->mesh, node, &offset);
        (void)json_array_append_new(peers,
                                    json_pack("{s:I, s:o}", "node", (json_int_t)node, "ahead_ms",
                                              known ? json_integer(offset) : json_null()));
    }
    return peers;
}

static void run_clock(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    struct bnd_raft_host_stats stats = {0};
    struct picture picture = {.host = services->host, .groups = json_array()};
    if (services->host != NULL) {
        bnd_raft_host_stats(services->host, &stats);
        bnd_raft_each_group(services->host, add_suspended, &picture);
    }
    rest_reply(
        request,
        json_pack("{s:I, s:o, s:b, s:o, s:o}", "self", (json_int_t)services->self, "ahead_ms",
                  stats.clock_known ? json_integer(stats.clock_ahead_ms) : json_null(), "off",
                  stats.clock_off, "peers", peers_json(services), "suspended", picture.groups));
}

/* ---- confirming -------------------------------------------------------------------------------*/

struct confirming {
    struct bnd_shard_call call;
    struct rest_request *request;
    uint8_t command[BND_RAFT_CONFIRM_BYTES];
    uint32_t shards;
    uint32_t next; /* 0: group 0, then the shards of objects, then those of SQL */
    uint32_t groups;
    uint32_t confirmed;
};

static void confirm_next(struct confirming *confirming);

static void on_confirmed(struct bnd_shard_call *call, int status, struct bnd_slice reply) {
    struct confirming *confirming = call->data;
    if (status != 0) {
        rest_fail_code(confirming->request, status); /* asked again, the rest is confirmed */
        return;
    }
    confirming->confirmed += reply.len == 1 && reply.data[0] == 1;
    confirm_next(confirming);
}

static void confirm_next(struct confirming *confirming) {
    struct rest_request *request = confirming->request;
    uint32_t at = confirming->next++;
    if (at == confirming->groups) {
        rest_reply(request, json_pack("{s:I}", "confirmed", (json_int_t)confirming->confirmed));
        return;
    }
    uint64_t gid = BND_GID_SYSTEM;
    if (at > 0) {
        gid = at <= confirming->shards ? bnd_gid(BND_GROUP_OBJECTS, at - 1)
                                       : bnd_gid(BND_GROUP_SQL, at - 1 - confirming->shards);
    }
    struct bnd_slice part = bnd_slice(confirming->command, sizeof confirming->command);
    confirming->call = (struct bnd_shard_call){.cb = on_confirmed, .data = confirming};
    int rv = bnd_shard_call(request->services->client, &confirming->call, BND_SHARD_WRITE, gid,
                            &part, 1, 0);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

static void clean(struct rest_request *request) {
    bnd_free(request->data);
}

/* The newest stamp that can have been seen when the operator decided. */
static uint64_t up_to(const struct bnd_gateway_services *services) {
    uint64_t wall = bnd_wall_ms(services->env);
    uint64_t stamp = services->host == NULL ? 0 : bnd_raft_stamp_ms(services->host);
    return wall > stamp ? wall : stamp;
}

static void run_confirm(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    struct confirming *confirming = bnd_zalloc(sizeof *confirming);
    if (confirming == NULL) {
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    request->data = confirming;
    request->clean = clean;
    confirming->request = request;
    const struct bnd_catalog_view *view = bnd_catalog_view(services->catalog);
    confirming->shards = view->settings.shards;
    confirming->groups = confirming->shards * (view->sql_founders_count > 0 ? 2 : 1) + 1;
    bnd_raft_confirm_time(up_to(services), confirming->command);
    confirm_next(confirming);
}

const struct rest_route rest_clock_routes[] = {
    {BND_HTTP_GET, "/bindery/v1/clock", BND_PERM_CLUSTER_ADMIN, 0, run_clock},
    {BND_HTTP_POST, "/bindery/v1/clock/confirm", BND_PERM_CLUSTER_ADMIN, 0, run_confirm},
    {0},
};
