/* bindery status: the cluster as one node sees it; shard ls (and node ls) show a part of the same
 * answer. */
#include "tools/api.h"
#include "tools/commands.h"
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

void tools_print_nodes(const json_t *nodes) {
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

static void print_groups(const json_t *groups) {
    size_t i = 0;
    json_t *group = NULL;
    (void)printf("%-10s %-6s %-7s %-6s %-10s %s\n", "KIND", "SHARD", "LEADER", "TERM", "APPLIED",
                 "MEMBERS");
    json_array_foreach(groups, i, group) {
        size_t j = 0;
        json_t *member = NULL;
        (void)printf("%-10s %-6lld %-7lld %-6lld %-10lld", text(group, "kind"),
                     number(group, "shard"), number(group, "leader"), number(group, "term"),
                     number(group, "applied"));
        json_array_foreach(json_object_get(group, "members"), j, member) {
            (void)printf(" %lld:%s", number(member, "node"), text(member, "role"));
        }
        (void)printf("\n");
    }
}

/* What is said of the cluster in one word, and why not "healthy". */
struct health {
    size_t storage, gateways, down; /* nodes */
    size_t groups, leaderless,
        changing; /* a group that changes has a member that does not vote yet */
    long long moves_left;
    bool settled;
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
                            .settled = json_is_true(json_object_get(status, "settled"))};
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

static void print_problems(const struct health *health) {
    if (health->down > 0) {
        (void)printf("  %zu storage node%s down\n", health->down,
                     health->down == 1 ? " is" : "s are");
    }
    if (health->leaderless > 0) {
        (void)printf("  %zu group%s without a leader: requests to them wait\n", health->leaderless,
                     plural(health->leaderless));
    }
    if (health->changing > 0) {
        (void)printf("  %zu group%s with a replica that is catching up\n", health->changing,
                     plural(health->changing));
    }
    if (health->moves_left > 0) {
        (void)printf("  %lld replicas are still to be moved\n", health->moves_left);
    }
    if (!health->settled && health->leaderless + health->changing == 0) {
        (void)printf("  not every group has all its voters yet: `bindery shard ls`\n");
    }
}

static void print_summary(const json_t *status) {
    struct health health = health_of(status);
    bool fine = health.settled && health.down == 0 && health.moves_left == 0;
    (void)printf("Cluster %s, as node %lld sees it (revision %lld): %s\n", text(status, "cluster"),
                 number(status, "self"), number(status, "revision"),
                 fine                     ? "healthy"
                 : health.leaderless == 0 ? "serving, but:"
                                          : "in trouble:");
    if (fine) {
        (void)printf("  %zu storage node%s, all up; %zu gateway%s; %zu groups here, each with a "
                     "leader and all its voters\n",
                     health.storage, plural(health.storage), health.gateways,
                     plural(health.gateways), health.groups);
    }
    print_problems(&health);
    (void)printf("\n");
    tools_print_nodes(json_object_get(status, "nodes"));
}

int tools_show(const struct tools_api *api, const char *key, void (*print)(const json_t *part)) {
    json_t *status = tools_api_call(api, "GET", STATUS_PATH, NULL);
    if (status == NULL) {
        return TOOLS_FAILED;
    }
    const json_t *part = key == NULL ? status : json_object_get(status, key);
    if (api->json) {
        tools_api_print(part);
    } else {
        print(part);
    }
    json_decref(status);
    return TOOLS_OK;
}

int tools_cmd_status(int argc, const char **argv) {
    struct tools_api api;
    int status = tools_api_parse(argc, argv, &api);
    status = status != -1 ? status : tools_show(&api, NULL, print_summary);
    tools_api_free(&api);
    return status;
}

int tools_cmd_shard(int argc, const char **argv) {
    struct tools_api api;
    int status = tools_api_parse(argc, argv, &api);
    status = status != -1 ? status : tools_show(&api, "groups", print_groups);
    tools_api_free(&api);
    return status;
}
