/* Health and the cluster itself: /livez /readyz /bindery/v1/status, join tokens. */
#include "base/alloc.h"
#include "base/version.h"
#include "catalog/issue.h"
#include "gateway/admin/admin_private.h"
#include "gateway/rest_request.h"
#include "placement/rendezvous.h"
#include "placement/shard.h"

#include <string.h>

/* ---- health
 * --------------------------------------------------------------------------------------------- */

static void run_livez(struct rest_request *request) {
    rest_text(request, 200, bnd_slice_str("ok\n"));
}

static void run_readyz(struct rest_request *request) {
    BND_AUTO_BUF struct bnd_buf lines = {0};
    const struct bnd_gateway_services *services = request->services;
    bool ok = services->ready(services->owner, &lines);
    bool verbose = bnd_slice_starts(request->http->head->query, bnd_slice_str("verbose"));
    if (verbose || !ok) {
        rest_text(request, ok ? 200 : 503, bnd_buf_slice(&lines));
    } else {
        rest_text(request, 200, bnd_slice_str("ok\n"));
    }
}

/* ---- status
 * --------------------------------------------------------------------------------------------- */

static const char *node_state_text(enum bnd_node_state state) {
    switch (state) {
    case BND_NODE_ACTIVE:
        return "active";
    case BND_NODE_DRAINING:
        return "draining";
    case BND_NODE_GONE:
        return "gone";
    }
    return "unknown";
}

static json_t *nodes_json(const struct bnd_gateway_services *services,
                          const struct bnd_catalog_view *view) {
    json_t *nodes = json_array();
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct bnd_node_record *node = &view->nodes[i];
        bool up = node->id == services->self || services->mesh->ops->up(services->mesh, node->id);
        (void)json_array_append_new(
            nodes, json_pack("{s:I, s:s, s:o, s:o, s:s, s:b}", "id", (json_int_t)node->id, "role",
                             node->role == BND_NODE_GATEWAY ? "gateway" : "storage", "address",
                             rest_text_json(node->address), "zone", rest_text_json(node->zone),
                             "state", node_state_text(node->state), "up",
                             up)); /* without memory the answer is cut off: NULL */
    }
    return nodes;
}

struct status_walk {
    const struct bnd_gateway_services *services;
    json_t *groups;
    size_t count;
    size_t unsettled;
    size_t voters_wanted;
};

static const char *role_text(enum bnd_raft_role role) {
    return role == BND_RAFT_VOTER ? "voter" : role == BND_RAFT_STANDBY ? "standby" : "spare";
}

static void walk_group(void *data, uint64_t gid) {
    struct status_walk *walk = data;
    struct bnd_raft_group_status status;
    if (bnd_raft_group_status(walk->services->host, gid, &status) != 0) {
        return;
    }
    json_t *members = json_array();
    size_t voters = 0;
    for (size_t i = 0; i < status.members_count; i++) {
        voters += status.members[i].role == BND_RAFT_VOTER;
        (void)json_array_append_new(members, json_pack("{s:I, s:s}", "node",
                                                       (json_int_t)status.members[i].node, "role",
                                                       role_text(status.members[i].role)));
    }
    walk->count++;
    walk->unsettled += status.leader == 0 || voters != walk->voters_wanted;
    (void)json_array_append_new(
        walk->groups,
        json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "gid", (json_int_t)gid, "kind",
                  bnd_gid_kind(gid) == BND_GROUP_SYSTEM ? "system" : "objects", "shard",
                  (json_int_t)bnd_gid_shard(gid), "leader", (json_int_t)status.leader, "term",
                  (json_int_t)status.term, "commit", (json_int_t)status.commit, "applied",
                  (json_int_t)status.applied, "time_suspended", status.jump_to_ms != 0, "members",
                  members));
}

static size_t active_nodes(const struct bnd_catalog_view *view) {
    size_t count = 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        count += view->nodes[i].state == BND_NODE_ACTIVE && view->nodes[i].weight > 0;
    }
    return count;
}

static void run_status(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    const struct bnd_catalog_view *view = bnd_catalog_view(services->catalog);
    size_t active = active_nodes(view);
    struct status_walk walk = {.services = services,
                               .groups = json_array(),
                               .voters_wanted = bnd_place_voters(active, view->settings.replicas)};
    if (services->host != NULL) {
        bnd_raft_each_group(services->host, walk_group, &walk);
    }
    /* In a cluster of no more nodes than replicas each node holds every group. */
    bool holds_all = active > view->settings.replicas || services->host == NULL ||
                     walk.count >= (size_t)view->settings.shards + 1;
    rest_reply(request,
               json_pack("{s:o, s:I, s:s, s:b, s:I, s:o, s:o}", "cluster",
                         rest_text_json(view->settings.account), "self", (json_int_t)services->self,
                         "version", BND_VERSION_TEXT, "settled", walk.unsettled == 0 && holds_all,
                         "revision", (json_int_t)view->revision, "nodes",
                         nodes_json(services, view), "groups", walk.groups));
}

/* ---- join tokens
 * ---------------------------------------------------------------------------------------- */

#define JOIN_TTL_DEFAULT_S 86400
#define JOIN_TTL_MAX_S 2592000

static void on_join_token(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct rest_request *request = call->data;
    if (status != 0) {
        rest_fail_code(request, status);
    } else {
        rest_reply(request, json_pack("{s:s}", "token", request->data));
    }
}

static void clean_secret(struct rest_request *request) {
    if (request->data != NULL) {
        memset(request->data, 0, strlen(request->data));
        bnd_free(request->data);
    }
}

/* The text is kept with the request until group 0 has its hash: a token that nobody can redeem is
 * not shown. */
static int make_join_token(struct rest_request *request, json_int_t ttl_s) {
    struct bnd_env *env = request->services->env;
    const struct bnd_catalog_view *view = bnd_catalog_view(request->services->catalog);
    BND_AUTO_BUF struct bnd_buf record = {0};
    struct bnd_join_token token;
    char text[BND_JOIN_TOKEN_TEXT];
    int rv = bnd_join_token_make(env, view->settings.ca_cert, &token);
    if (rv != 0) {
        return rv;
    }
    bnd_join_token_text(&token, text);
    bnd_issue_join(bnd_slice_str(token.secret), bnd_wall_ms(env) + (uint64_t)ttl_s * 1000, &record);
    request->data = bnd_strdup(text);
    request->clean = clean_secret;
    if (record.failed || request->data == NULL) {
        return BND_NOMEM;
    }
    struct bnd_catalog_command command = {.op = BND_CATALOG_JOIN_TOKEN,
                                          .a = bnd_slice(token.id, sizeof token.id),
                                          .b = bnd_buf_slice(&record)};
    request->call = (struct bnd_catalog_call){.cb = on_join_token, .data = request};
    return bnd_catalog_write(request->services->catalog, &request->call, &command, 0);
}

static void run_join_token(struct rest_request *request) {
    json_t *body = rest_body_object(request);
    if (body == NULL) {
        return;
    }
    json_t *ttl = json_object_get(body, "ttl_s");
    json_int_t ttl_s = ttl == NULL ? JOIN_TTL_DEFAULT_S : json_integer_value(ttl);
    json_decref(body);
    if (ttl_s < 1 || ttl_s > JOIN_TTL_MAX_S) {
        rest_fail(request, 400, REST_BAD_REQUEST,
                  "ttl_s must be a number of seconds from 1 to 2592000");
        return;
    }
    int rv = make_join_token(request, ttl_s);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}

const struct rest_route rest_admin_routes[] = {
    {BND_HTTP_GET, "/livez", 0, 0, run_livez},
    {BND_HTTP_GET, "/readyz", 0, 0, run_readyz},
    {BND_HTTP_GET, "/metrics", 0, 0, admin_run_metrics},
    {BND_HTTP_GET, "/bindery/v1/status", BND_PERM_CLUSTER_ADMIN, 0, run_status},
    {BND_HTTP_POST, "/bindery/v1/join-tokens", BND_PERM_CLUSTER_ADMIN, REST_BODY, run_join_token},
    {0},
};
