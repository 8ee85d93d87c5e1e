/* bindery node ls, drain, undrain, decommission, replace: what becomes of the nodes. */
#include "tools/api.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call {
    struct tools_api api;
    const char *words[TOOLS_API_WORDS + 1];
    int force;
};

static const char help[] =
    "ls | drain NODE | undrain NODE | decommission NODE | replace DEAD NEW  [flags]\n"
    "\n"
    "  drain         give its leaderships away and take none: before work on it\n"
    "  undrain       lead again; also calls a decommission off\n"
    "  decommission  move everything away from it, one replica of a group at a time; then its id\n"
    "                is refused for ever (bindery status shows what is left)\n"
    "  replace       a dead node's place is taken by a new one that has joined; nothing else moves\n";

/* NODE as it is put into a path; false: no id, told. */
static bool check_id(const char *what, const char *word) {
    if (word == NULL) {
        (void)tools_usage("node", "%s: which node is missing", what);
        return false;
    }
    if (word[0] == 0 || strspn(word, "0123456789") != strlen(word) || strlen(word) > 18) {
        (void)tools_usage("node", "%s: %s is no node id; see `bindery node ls`", what, word);
        return false;
    }
    return true;
}

static int post(const struct call *call, const char *verb, const char *id, const char *with) {
    char path[96];
    char body[96];
    int len = snprintf(path, sizeof path, "/bindery/v1/nodes/%s/%s", id, verb);
    len += with == NULL
               ? snprintf(body, sizeof body, "{\"force\":%s}", call->force ? "true" : "false")
               : snprintf(body, sizeof body, "{\"force\":%s,\"with\":%lld}",
                          call->force ? "true" : "false", strtoll(with, NULL, 10));
    (void)len; /* ids have at most 18 digits */
    json_t *result = tools_api_call(&call->api, "POST", path, body);
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (call->api.json) {
        tools_api_print(result);
    } else {
        const char *state = json_string_value(json_object_get(result, "state"));
        (void)printf("node %lld: %s\n", (long long)json_integer_value(json_object_get(result, "id")),
                     state == NULL ? "?" : state);
    }
    json_decref(result);
    return TOOLS_OK;
}

static int run(const struct call *call) {
    static const char *const known[] = {"ls",           "drain",   "undrain",
                                        "decommission", "replace", NULL};
    const char *verb = call->words[0];
    size_t i = 0;
    while (verb != NULL && known[i] != NULL && strcmp(known[i], verb) != 0) {
        i++;
    }
    if (verb == NULL) {
        return tools_usage("node",
                           "what to do is missing: ls, drain, undrain, decommission, replace");
    }
    if (known[i] == NULL) {
        return tools_unknown("node", "command", verb, known);
    }
    bool two = strcmp(verb, "replace") == 0;
    size_t takes = i == 0 ? 1 : two ? 3 : 2;
    for (size_t w = 1; w < takes; w++) {
        if (!check_id(verb, call->words[w])) {
            return TOOLS_USAGE;
        }
    }
    if (call->words[takes] != NULL) {
        return tools_usage("node", "unexpected argument %s", call->words[takes]);
    }
    return i == 0 ? tools_show(&call->api, "nodes", tools_print_nodes)
                  : post(call, verb, call->words[1], two ? call->words[2] : NULL);
}

int tools_cmd_node(int argc, const char **argv) {
    struct call call = {0};
    struct poptOption own[] = {
        {"force", 0, POPT_ARG_NONE, &call.force, 0,
         "also if groups lose voters by it, or the node to replace is up", NULL},
        POPT_TABLEEND};
    struct tools_api_usage usage = {.help = help, .own = own};
    int status = tools_api_parse(argc, argv, &usage, &call.api, call.words);
    status = status != -1 ? status : run(&call);
    tools_api_free(&call.api);
    return status;
}
