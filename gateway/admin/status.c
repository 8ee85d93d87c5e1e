/* /bindery/v1/status: nodes, groups and what is still to be moved. The groups are asked of their
 * leaders (raft/survey.h); one that nobody leads is shown as this node knows it. With ?local nobody
 * is asked: the groups of this node, as it sees them. It is answered also when no majority of group
 * 0 can be reached: then by the last view, whose age is told. */
#include "base/alloc.h"
#include "base/version.h"
#include "gateway/admin/admin_private.h"
#include "placement/shard.h"
#include "raft/survey.h"

#include <string.h>

#define SURVEY_NS (UINT64_C(2000) * BND_MS)

/* Of one node, over all groups. */
struct tally {
    size_t replicas, leads;
    size_t arriving; /* wanted there, and not yet full members */
    size_t leaving;  /* members there that are not wanted */
    size_t filling;  /* wanted there, and not known to have everything yet */
};

struct status {
    const struct bnd_gateway_services *services;
    const struct bnd_catalog_view *view;
    const struct bnd_survey_result *survey; /* NULL: of this node only */
    struct tally *tallies;                  /* by place in the view */
    json_t *groups;
    size_t unsettled; /* groups */
    size_t moves;     /* replicas */
};

const char *admin_node_state_text(enum bnd_node_state state) {
    switch (state) {
    case BND_NODE_ACTIVE:
        return "active";
    case BND_NODE_DRAINING:
        return "draining";
    case BND_NODE_GONE:
        return "gone";
    case BND_NODE_LEAVING:
        return "leaving";
    }
    return "unknown";
}

static const char *role_text(enum bnd_raft_role role) {
    return role == BND_RAFT_VOTER ? "voter" : role == BND_RAFT_STANDBY ? "standby" : "spare";
}

static struct tally *tally_of(const struct status *status, uint64_t node) {
    size_t i = 0;
    while (i < status->view->nodes_count && status->view->nodes[i].id != node) {
        i++;
    }
    return &status->tallies[i]; /* one more for ids that are not in the view */
}

static bool node_up(const struct bnd_gateway_services *services, uint64_t node) {
    return node == services->self || services->mesh->ops->up(services->mesh, node);
}

/* ---- groups -----------------------------------------------------------------------------------*/

/* As its leader told, else with leader 0 as this node has it. False: it has nothing of it. */
static bool know(const struct status *status, uint64_t gid, struct bnd_survey_group *out) {
    const struct bnd_survey_group *told =
        status->survey == NULL ? NULL : bnd_survey_find(status->survey, gid);
    struct bnd_survey_group group = {.gid = gid};
    struct bnd_raft_group_status here;
    *out = group;
    if (told != NULL) {
        *out = *told;
        return true;
    }
    if (status->services->host == NULL ||
        bnd_raft_group_status(status->services->host, gid, &here) != 0) {
        return false;
    }
    group.leader = status->survey == NULL ? here.leader : 0;
    group.committed = status->survey == NULL;
    group.term = here.term;
    group.commit = here.commit;
    group.applied = here.applied;
    group.time_suspended = here.jump_to_ms != 0;
    group.configuration.count = here.members_count;
    memcpy(group.configuration.members, here.members, sizeof here.members);
    *out = group;
    return true;
}

static bool among(const uint64_t *nodes, size_t count, uint64_t node) {
    size_t i = 0;
    while (i < count && nodes[i] != node) {
        i++;
    }
    return i < count;
}

/* Counts what is where; returns how many replicas are still to be moved. */
static size_t count_moves(struct status *status, const struct bnd_survey_group *group,
                          const uint64_t *wanted, size_t wanted_count) {
    const struct bnd_raft_configuration *members = &group->configuration;
    size_t arriving = 0;
    size_t leaving = 0;
    for (size_t i = 0; i < members->count; i++) {
        struct tally *tally = tally_of(status, members->members[i].node);
        bool extra = wanted_count > 0 && !among(wanted, wanted_count, members->members[i].node);
        tally->replicas++;
        tally->leaving += extra;
        leaving += extra;
    }
    for (size_t i = 0; i < wanted_count; i++) {
        size_t at = bnd_raft_configuration_find(members, wanted[i]);
        bool missing = at == members->count || members->members[at].role == BND_RAFT_SPARE;
        tally_of(status, wanted[i])->arriving += missing;
        arriving += missing;
    }
    tally_of(status, group->leader)->leads++;
    return arriving > leaving ? arriving : leaving;
}

/* A standby that is to vote may still be getting its data. */
static void count_filling(struct status *status, const struct bnd_survey_group *group,
                          const uint64_t *wanted, size_t wanted_count) {
    const struct bnd_raft_configuration *members = &group->configuration;
    for (size_t i = 0; i < wanted_count; i++) {
        size_t at = bnd_raft_configuration_find(members, wanted[i]);
        tally_of(status, wanted[i])->filling +=
            at == members->count || members->members[at].role != BND_RAFT_VOTER;
    }
}

static json_t *members_json(const struct bnd_raft_configuration *configuration) {
    json_t *members = json_array();
    for (size_t i = 0; i < configuration->count; i++) {
        (void)json_array_append_new(
            members, json_pack("{s:I, s:s}", "node", (json_int_t)configuration->members[i].node,
                               "role", role_text(configuration->members[i].role)));
    }
    return members;
}

static json_t *ids_json(const uint64_t *nodes, size_t count) {
    json_t *ids = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(ids, json_integer((json_int_t)nodes[i]));
    }
    return ids;
}

static const char *kind_text(uint64_t gid) {
    switch (bnd_gid_kind(gid)) {
    case BND_GROUP_SYSTEM:
        return "system";
    case BND_GROUP_SQL:
        return "sql";
    default:
        return "objects";
    }
}

static void add_group(struct status *status, uint64_t gid) {
    const struct bnd_gateway_services *services = status->services;
    struct bnd_survey_group group;
    bool known = know(status, gid, &group);
    if (!known && status->survey == NULL) {
        return; /* another node's */
    }
    uint64_t wanted[BND_REPLICAS_MAX];
    size_t count = services->wanted(services->owner, gid, wanted); /* 0 before the first view */
    size_t moves = known ? count_moves(status, &group, wanted, count) : 0;
    size_t voters = bnd_raft_configuration_voters(&group.configuration);
    if (known && (moves > 0 || voters != bnd_place_voters(count, count))) {
        count_filling(status, &group, wanted, count);
    }
    status->moves += moves;
    status->unsettled += group.leader == 0 || !group.committed || moves > 0 ||
                         voters != bnd_place_voters(count, count);
    (void)json_array_append_new(
        status->groups,
        json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "gid", (json_int_t)gid,
                  "kind", kind_text(gid), "shard",
                  (json_int_t)bnd_gid_shard(gid), "leader", (json_int_t)group.leader, "term",
                  (json_int_t)group.term, "commit", (json_int_t)group.commit, "applied",
                  (json_int_t)group.applied, "time_suspended", group.time_suspended, "members",
                  members_json(&group.configuration), "wanted", ids_json(wanted, count)));
}

/* ---- nodes ------------------------------------------------------------------------------------*/

/* As this node knows it: of itself, and of those that follow it in some group. NULL: a gateway. */
static const char *disk_text(const struct bnd_gateway_services *services, uint64_t node) {
    static const char *const texts[] = {[BND_RAFT_SPACE_OK] = "ok",
                                        [BND_RAFT_SPACE_LOW] = "nearly full",
                                        [BND_RAFT_SPACE_NONE] = "full"};
    return services->host == NULL ? NULL : texts[bnd_raft_node_space(services->host, node)];
}

static json_t *nodes_json(const struct status *status) {
    json_t *nodes = json_array();
    for (size_t i = 0; i < status->view->nodes_count; i++) {
        const struct bnd_node_record *node = &status->view->nodes[i];
        const struct tally *tally = &status->tallies[i];
        (void)json_array_append_new(
            nodes,
            json_pack("{s:I, s:s, s:o, s:o, s:s, s:b, s:s?, s:I, s:I, s:I, s:I, s:I}", "id",
                      (json_int_t)node->id, "role",
                      node->role == BND_NODE_GATEWAY ? "gateway" : "storage", "address",
                      rest_text_json(node->address), "zone", rest_text_json(node->zone), "state",
                      admin_node_state_text(node->state), "up",
                      node->state != BND_NODE_GONE && node_up(status->services, node->id), "disk",
                      disk_text(status->services, node->id), "replaced",
                      (json_int_t)(node->place == node->id ? 0 : node->place), "replicas",
                      (json_int_t)tally->replicas, "leads", (json_int_t)tally->leads, "arriving",
                      (json_int_t)tally->arriving, "leaving",
                      (json_int_t)tally->leaving)); /* without memory the answer is cut off: NULL */
    }
    return nodes;
}

/* ---- what the moves cost ----------------------------------------------------------------------*/

/* By what a replica of this node takes on average, and the most that a node takes in; null where
 * that is not known. Nodes are filled side by side: the one that lacks most is the last. */
static void add_cost(const struct status *status, json_t *answer) {
    const struct bnd_gateway_services *services = status->services;
    struct bnd_gateway_moving moving = {0};
    size_t most = 0;
    size_t all = 0;
    if (services->moving != NULL) {
        services->moving(services->owner, &moving);
    }
    for (size_t i = 0; i < status->view->nodes_count; i++) {
        most = status->tallies[i].filling > most ? status->tallies[i].filling : most;
        all += status->tallies[i].filling;
    }
    bool known = moving.replica_bytes > 0 || all == 0;
    bool bound = known && (moving.bytes_per_s > 0 || all == 0);
    uint64_t bytes = all * moving.replica_bytes;
    uint64_t seconds =
        moving.bytes_per_s == 0
            ? 0
            : (most * moving.replica_bytes + moving.bytes_per_s - 1) / moving.bytes_per_s;
    (void)json_object_set_new(answer, "move_bytes_left",
                              known ? json_integer((json_int_t)bytes) : json_null());
    (void)json_object_set_new(answer, "move_seconds_left", /* without memory it is left out */
                              bound ? json_integer((json_int_t)seconds) : json_null());
}

/* ---- the answer -------------------------------------------------------------------------------*/

/* result NULL: of this node only. */
static void answer(struct rest_request *request, const struct bnd_survey_result *result) {
    const struct bnd_catalog_view *view = bnd_catalog_last_view(request->services->catalog);
    struct status status = {.services = request->services,
                            .view = view,
                            .survey = result,
                            .tallies = bnd_calloc(view->nodes_count + 1, sizeof(struct tally)),
                            .groups = json_array()};
    if (status.tallies == NULL) {
        json_decref(status.groups);
        rest_fail_code(request, BND_NOMEM);
        return;
    }
    add_group(&status, BND_GID_SYSTEM);
    for (uint32_t shard = 0; shard < view->settings.shards; shard++) {
        add_group(&status, bnd_gid(BND_GROUP_OBJECTS, shard));
    }
    for (uint32_t shard = 0; view->sql_founders_count > 0 && shard < view->settings.shards;
         shard++) {
        add_group(&status, bnd_gid(BND_GROUP_SQL, shard));
    }
    struct admin_kv_moves kv = {0};
    json_t *kv_shards = admin_kv_shards(request->services, view, &kv);
    json_t *nodes = nodes_json(&status);
    uint64_t age_ms = bnd_catalog_age_ms(request->services->catalog);
    json_t *reply =
        json_pack("{s:o, s:I, s:s, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "cluster",
                  rest_text_json(view->settings.account), "self",
                  (json_int_t)request->services->self, "version", BND_VERSION_TEXT, "settled",
                  status.unsettled + kv.shards == 0 && age_ms <= BND_CATALOG_STALE_MS,
                  "group0_answers", age_ms <= BND_CATALOG_STALE_MS, "view_age_ms",
                  age_ms == UINT64_MAX ? json_null() : json_integer((json_int_t)age_ms), "revision",
                  (json_int_t)view->revision, "moves_left", (json_int_t)status.moves,
                  "kv_moves_left", (json_int_t)kv.replicas, "nodes_silent",
                  (json_int_t)(result == NULL ? 0 : result->nodes_silent), "nodes", nodes, "groups",
                  status.groups, "kv_shards", kv_shards);
    add_cost(&status, reply);
    bnd_free(status.tallies);
    rest_reply(request, reply);
}

static void on_survey(void *data, const struct bnd_survey_result *result) {
    answer(data, result);
}

void admin_run_status(struct rest_request *request) {
    const struct bnd_gateway_services *services = request->services;
    if (bnd_slice_starts(request->http->head->query, bnd_slice_str("local"))) {
        answer(request, NULL);
        return;
    }
    const struct bnd_catalog_view *view = bnd_catalog_last_view(services->catalog);
    BND_AUTO uint64_t *asked = bnd_calloc(view->nodes_count + 1, sizeof *asked);
    struct bnd_survey *survey = NULL; /* waited for: it is short */
    size_t count = 0;
    for (size_t i = 0; asked != NULL && i < view->nodes_count; i++) {
        const struct bnd_node_record *node = &view->nodes[i];
        if (node->role == BND_NODE_STORAGE && node->state != BND_NODE_GONE &&
            node_up(services, node->id)) {
            asked[count++] = node->id;
        }
    }
    int rv = asked == NULL ? BND_NOMEM
                           : bnd_survey_start(services->env, services->rpc, asked, count, SURVEY_NS,
                                              on_survey, request, &survey);
    if (rv != 0) {
        rest_fail_code(request, rv);
    }
}
