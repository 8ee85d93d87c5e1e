/* bindery status: the cluster as one node sees it; shard ls (and node ls) show a part of the same
 * answer: groups and KV's shards, or nodes. */
#include "tools/api.h"
#include "tools/commands.h"
#include "tools/fleet.h"
#include "tools/show.h"

#include <stdio.h>
#include <string.h>

#define STATUS_PATH "/bindery/v1/status"

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static long long number(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

/* "12 + 3 - 1": has, is to get, is to give away. */
static void print_replicas(const json_t *node) {
    char out[64];
    long long arriving = number(node, "arriving");
    long long leaving = number(node, "leaving");
    int len = snprintf(out, sizeof out, "%lld", number(node, "replicas"));
    if (arriving > 0) {
        len += snprintf(out + len, sizeof out - (size_t)len, " +%lld", arriving);
    }
    if (leaving > 0) {
        len += snprintf(out + len, sizeof out - (size_t)len, " -%lld", leaving);
    }
    (void)printf("%-14s", out);
}

static void print_nodes(const json_t *nodes) {
    size_t i = 0;
    json_t *node = NULL;
    (void)printf("%-6s %-24s %-8s %-10s %-5s %-7s %-14s%s\n", "NODE", "ADDRESS", "ROLE", "STATE",
                 "UP", "LEADS", "REPLICAS", "ZONE");
    json_array_foreach(nodes, i, node) {
        (void)printf("%-6lld %-24s %-8s %-10s %-5s %-7lld ", number(node, "id"),
                     text(node, "address"), text(node, "role"), text(node, "state"),
                     json_is_true(json_object_get(node, "up")) ? "yes" : "no",
                     number(node, "leads"));
        print_replicas(node);
        (void)printf("%s\n", text(node, "zone"));
    }
}

static void print_members(const json_t *members) {
    size_t i = 0;
    json_t *member = NULL;
    json_array_foreach(members, i, member) {
        (void)printf(" %lld:%s", number(member, "node"), text(member, "role"));
    }
    (void)printf("\n");
}

/* KV's shards have no leader, and an epoch where groups have a term. */
static void print_shards(const json_t *shards) {
    size_t i = 0;
    json_t *shard = NULL;
    (void)printf("%-10s %-6s %-7s %-6s %-10s %s\n", "KIND", "SHARD", "LEADER", "TERM", "APPLIED",
                 "MEMBERS");
    json_array_foreach(shards, i, shard) {
        (void)printf("%-10s %-6lld ", text(shard, "kind"), number(shard, "shard"));
        if (json_object_get(shard, "epoch") != NULL) {
            (void)printf("%-7s %-6lld %-10s", "-", number(shard, "epoch"), "-");
        } else {
            (void)printf("%-7lld %-6lld %-10lld", number(shard, "leader"), number(shard, "term"),
                         number(shard, "applied"));
        }
        print_members(json_object_get(shard, "members"));
    }
}

/* What is said of the cluster in one word, and why not "healthy". */
struct health {
    size_t storage, gateways, down; /* nodes */
    size_t groups, leaderless,
        changing; /* a group that changes has a member that does not vote yet */
    long long moves_left, kv_moves_left;
    bool settled, answers;
};

static void count_nodes(const json_t *nodes, struct health *out) {
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        if (strcmp(text(node, "state"), "gone") != 0) {
            bool gateway = strcmp(text(node, "role"), "gateway") == 0;
            out->gateways += gateway;
            out->storage += !gateway;
            out->down += !gateway && !json_is_true(json_object_get(node, "up"));
        }
    }
}

static bool all_vote(const json_t *group) {
    const json_t *members = json_object_get(group, "members");
    for (size_t i = 0; i < json_array_size(members); i++) {
        if (strcmp(text(json_array_get(members, i), "role"), "voter") != 0) {
            return false;
        }
    }
    return true;
}

static struct health health_of(const json_t *status) {
    const json_t *groups = json_object_get(status, "groups");
    struct health health = {.groups = json_array_size(groups),
                            .moves_left = number(status, "moves_left"),
                            .kv_moves_left = number(status, "kv_moves_left"),
                            .settled = json_is_true(json_object_get(status, "settled")),
                            .answers = json_is_true(json_object_get(status, "group0_answers"))};
    count_nodes(json_object_get(status, "nodes"), &health);
    for (size_t i = 0; i < health.groups; i++) {
        const json_t *group = json_array_get(groups, i);
        health.leaderless += number(group, "leader") == 0;
        health.changing += !all_vote(group);
    }
    return health;
}

static const char *plural(size_t count) {
    return count == 1 ? "" : "s";
}

/* ---- groups that nobody leads
 * ------------------------------------------------------------------*/

static bool is_up(const json_t *nodes, long long id) {
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        if (number(node, "id") == id) {
            return json_is_true(json_object_get(node, "up"));
        }
    }
    return false;
}

/* Of one group: its voters, and those of them that are down. */
struct quorum {
    size_t voters, down;
};

static struct quorum quorum_of(const json_t *status, const json_t *group) {
    const json_t *members = json_object_get(group, "members");
    struct quorum quorum = {0};
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *member = json_array_get(members, i);
        if (strcmp(text(member, "role"), "voter") == 0) {
            quorum.voters++;
            quorum.down += !is_up(json_object_get(status, "nodes"), number(member, "node"));
        }
    }
    return quorum;
}

/* Which nodes would give groups without a leader their majority back, and how many groups. */
static void print_missing(const json_t *status) {
    const json_t *nodes = json_object_get(status, "nodes");
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        const json_t *groups = json_object_get(status, "groups");
        size_t wait = 0;
        for (size_t k = 0; k < json_array_size(groups); k++) {
            const json_t *group = json_array_get(groups, k);
            const json_t *members = json_object_get(group, "members");
            for (size_t m = 0; number(group, "leader") == 0 && m < json_array_size(members); m++) {
                const json_t *member = json_array_get(members, m);
                wait += number(member, "node") == number(node, "id") &&
                        strcmp(text(member, "role"), "voter") == 0;
            }
        }
        if (wait > 0 && !json_is_true(json_object_get(node, "up"))) {
            (void)printf("    node %lld at %s is missing to %zu of them\n", number(node, "id"),
                         text(node, "address"), wait);
        }
    }
}

static void print_leaderless(const json_t *status, size_t leaderless) {
    const json_t *groups = json_object_get(status, "groups");
    size_t lost = 0;
    size_t unknown = 0;
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        if (number(group, "leader") == 0) {
            struct quorum quorum = quorum_of(status, group);
            unknown += quorum.voters == 0;
            lost += quorum.voters > 0 && 2 * (quorum.voters - quorum.down) <= quorum.voters;
        }
    }
    (void)printf("  %zu group%s without a leader: requests to them wait\n", leaderless,
                 leaderless == 1 ? "" : "s");
    if (lost > 0) {
        (void)printf("  of %zu no majority of the voters is up:\n", lost);
        print_missing(status);
        (void)printf("  start those nodes again; nothing is lost. Only if most will never come "
                     "back: `bindery recover`\n");
    }
    if (unknown > 0) {
        (void)printf("  of %zu this node has no replica, and nobody who has answers\n", unknown);
    }
}

static void print_age(const json_t *status) {
    const json_t *age = json_object_get(status, "view_age_ms");
    if (json_is_true(json_object_get(status, "group0_answers"))) {
        return;
    }
    if (json_is_integer(age)) {
        (void)printf("  no majority of group 0 answers: nodes are shown as they were %lld s ago\n",
                     (long long)json_integer_value(age) / 1000);
    } else {
        (void)printf(
            "  no majority of group 0 has answered since this node started: nodes are shown "
            "as its files have them\n");
    }
}

/* ---- what is said of the cluster
 * ---------------------------------------------------------------*/

/* "  12 replicas are still to be moved: about 3.4 GiB, at least 55 s" */
static void print_moves(const json_t *status, long long left) {
    const json_t *bytes = json_object_get(status, "move_bytes_left");
    const json_t *seconds = json_object_get(status, "move_seconds_left");
    (void)printf("  %lld replica%s still to be moved", left, left == 1 ? " is" : "s are");
    if (json_is_integer(bytes)) {
        (void)printf(": about %.1f MiB", (double)json_integer_value(bytes) / (1 << 20));
    }
    if (json_is_integer(seconds)) {
        (void)printf(", at least %lld s", (long long)json_integer_value(seconds));
    }
    (void)printf("\n");
}

static void print_problems(const json_t *status, const struct health *health) {
    print_age(status);
    if (health->down > 0) {
        (void)printf("  %zu storage node%s down\n", health->down,
                     health->down == 1 ? " is" : "s are");
    }
    if (health->leaderless > 0) {
        print_leaderless(status, health->leaderless);
    }
    if (health->changing > 0) {
        (void)printf("  %zu group%s with a replica that is catching up\n", health->changing,
                     plural(health->changing));
    }
    if (health->moves_left > 0) {
        print_moves(status, health->moves_left);
    }
    if (health->kv_moves_left > 0) {
        (void)printf("  %lld replica%s of KV's shards still to be filled, or to go\n",
                     health->kv_moves_left, health->kv_moves_left == 1 ? " is" : "s are");
    }
    if (!health->settled && health->leaderless + health->changing == 0 && health->answers &&
        health->kv_moves_left == 0) {
        (void)printf("  not every group has all its voters yet: `bindery shard ls`\n");
    }
}

static void print_summary(const json_t *status) {
    struct health health = health_of(status);
    bool fine = health.settled && health.down == 0 && health.moves_left == 0;
    (void)printf("Cluster %s, as node %lld sees it (revision %lld): %s\n", text(status, "cluster"),
                 number(status, "self"), number(status, "revision"),
                 fine                                       ? "healthy"
                 : health.leaderless == 0 && health.answers ? "serving, but:"
                                                            : "in trouble:");
    if (fine) {
        (void)printf("  %zu storage node%s, all up; %zu gateway%s; %zu groups here, each with a "
                     "leader and all its voters\n",
                     health.storage, plural(health.storage), health.gateways,
                     plural(health.gateways), health.groups);
    }
    print_problems(status, &health);
    (void)printf("\n");
    print_nodes(json_object_get(status, "nodes"));
}

static void show(const struct tools_api *api, const json_t *part,
                 void (*print)(const json_t *part)) {
    if (api->json) {
        tools_api_print(part);
    } else {
        print(part);
    }
}

int tools_show_nodes(const struct tools_api *api) {
    json_t *status = tools_api_call(api, "GET", STATUS_PATH, NULL);
    if (status == NULL) {
        return TOOLS_FAILED;
    }
    show(api, json_object_get(status, "nodes"), print_nodes);
    json_decref(status);
    return TOOLS_OK;
}

/* Groups, then KV's shards. */
static int show_shards(const struct tools_api *api) {
    json_t *status = tools_api_call(api, "GET", STATUS_PATH, NULL);
    if (status == NULL) {
        return TOOLS_FAILED;
    }
    json_t *shards = json_object_get(status, "groups");
    (void)json_array_extend(shards, json_object_get(status, "kv_shards"));
    show(api, shards, print_shards);
    json_decref(status);
    return TOOLS_OK;
}

/* ---- each node's own word
 * ----------------------------------------------------------------------*/

static size_t led_by(const json_t *status, long long id) {
    const json_t *groups = json_object_get(status, "groups");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(groups); i++) {
        count += number(json_array_get(groups, i), "leader") == id;
    }
    return count;
}

/* In trouble one node's picture is not enough: each is asked itself. */
static void print_fleet(const struct tools_fleet *fleet) {
    (void)printf("\nEach node, asked itself:\n");
    for (size_t i = 0; i < fleet->count; i++) {
        const struct tools_node *node = &fleet->nodes[i];
        const json_t *nodes = json_object_get(node->status, "nodes");
        size_t k = 0;
        json_t *other = NULL;
        if (node->gateway) {
            continue;
        }
        if (node->status == NULL) {
            (void)printf("  node %lld does not answer: %s\n", node->id,
                         node->problem[0] != 0 ? node->problem : "no status");
            continue;
        }
        (void)printf("  node %lld answers, leads %zu of its %zu groups, and has connections to",
                     node->id, led_by(node->status, node->id),
                     json_array_size(json_object_get(node->status, "groups")));
        size_t seen = 0;
        json_array_foreach(nodes, k, other) {
            if (number(other, "id") != node->id && json_is_true(json_object_get(other, "up"))) {
                (void)printf("%s %lld", seen++ == 0 ? " node" : ",", number(other, "id"));
            }
        }
        (void)printf(seen == 0 ? " nobody\n" : "\n");
    }
}

static void ask_each(const struct tools_api *api) {
    struct tools_fleet fleet;
    if (tools_fleet_open(api, &fleet) != -1) {
        return;
    }
    if (tools_fleet_read(&fleet)) {
        print_fleet(&fleet);
    }
    tools_fleet_free(&fleet);
}

static int show_status(const struct tools_api *api) {
    json_t *status = tools_api_call(api, "GET", STATUS_PATH, NULL);
    if (status == NULL) {
        return TOOLS_FAILED;
    }
    struct health health = health_of(status);
    bool serves = health.leaderless == 0 && health.answers;
    if (api->json) {
        tools_api_print(status);
    } else {
        print_summary(status);
    }
    if (!serves && !api->json) {
        ask_each(api);
    }
    json_decref(status);
    return serves ? TOOLS_OK : TOOLS_FAILED;
}

int tools_cmd_status(int argc, const char **argv) {
    struct tools_api api;
    int status = tools_api_parse(argc, argv, &api);
    status = status != -1 ? status : show_status(&api);
    tools_api_free(&api);
    return status;
}

int tools_cmd_shard(int argc, const char **argv) {
    struct tools_api api;
    int status = tools_api_parse(argc, argv, &api);
    status = status != -1 ? status : show_shards(&api);
    tools_api_free(&api);
    return status;
}
