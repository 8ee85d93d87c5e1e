/* bindery node ls, drain, undrain, decommission, replace: what becomes of the nodes. */
#include "tools/api.h"
#include "tools/commands.h"
#include "tools/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct tools_verb tools_node_verbs[] = {
    {"ls", "", "list them"},
    {"drain", "NODE", "give its leaderships away and take none: before work on it"},
    {"undrain", "NODE", "lead again; also calls a decommission off"},
    {"decommission", "NODE",
     "move everything away from it, one replica of a group at a time; then its id is refused for "
     "ever (`bindery status` shows what is left)"},
    {"replace", "DEAD NEW",
     "a dead node's place is taken by a new one that has joined; nothing else moves"},
    {0}};
const struct tools_flag tools_node_flags[] = {
    {"force", NULL, "also if groups lose voters by it, or the node to replace is up"}, {0}};

/* NODE as it is put into a path; false: no id, told. */
static bool check_id(const char *what, const char *word) {
    if (word[0] == 0 || strspn(word, "0123456789") != strlen(word) || strlen(word) > 18) {
        (void)tools_usage("node", "%s: %s is no node id; see `bindery node ls`", what, word);
        return false;
    }
    return true;
}

static int post(const struct tools_api *api, const char *verb, const char *id, const char *with) {
    bool force = tools_args_flag(&api->args, "force") != NULL;
    char path[96];
    char body[96];
    int len = snprintf(path, sizeof path, "/bindery/v1/nodes/%s/%s", id, verb);
    len += with == NULL ? snprintf(body, sizeof body, "{\"force\":%s}", force ? "true" : "false")
                        : snprintf(body, sizeof body, "{\"force\":%s,\"with\":%lld}",
                                   force ? "true" : "false", strtoll(with, NULL, 10));
    (void)len; /* ids have at most 18 digits */
    json_t *result = tools_api_call(api, "POST", path, body);
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (api->json) {
        tools_api_print(result);
    } else {
        const char *state = json_string_value(json_object_get(result, "state"));
        (void)printf("node %lld: %s\n",
                     (long long)json_integer_value(json_object_get(result, "id")),
                     state == NULL ? "?" : state);
    }
    json_decref(result);
    return TOOLS_OK;
}

static int run(const struct tools_api *api) {
    const struct tools_args *args = &api->args;
    if (tools_args_is(args, "ls")) {
        return tools_show_nodes(api);
    }
    for (size_t i = 0; i < args->words_count; i++) {
        if (!check_id(args->verb->name, args->words[i])) {
            return TOOLS_USAGE;
        }
    }
    return post(api, args->verb->name, args->words[0], args->words[1]);
}

int tools_cmd_node(int argc, const char **argv) {
    struct tools_api api;
    int status = tools_api_parse(argc, argv, &api);
    status = status != -1 ? status : run(&api);
    tools_api_free(&api);
    return status;
}
