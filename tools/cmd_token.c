/* bindery token join: a join token for one more node. */
#include "tools/api.h"
#include "tools/command.h"
#include "tools/commands.h"

#include <stdio.h>
#include <string.h>

static int make_join_token(const struct tools_api *api) {
    json_t *result = tools_api_call(api, "/bindery/v1/join-tokens", "{}");
    if (result == NULL) {
        return TOOLS_FAILED;
    }
    if (api->json) {
        tools_api_print(result);
    } else {
        (void)printf("%s\n", json_string_value(json_object_get(result, "token")));
    }
    json_decref(result);
    return TOOLS_OK;
}

int tools_cmd_token(int argc, const char **argv) {
    static const char *const known[] = {"join", NULL};
    struct tools_api api;
    const char *words[5];
    int status = tools_api_parse(argc, argv, "join [flags]", &api, words);
    if (status == -1 && words[0] == NULL) {
        status = tools_usage("token", "what to do is missing: join");
    } else if (status == -1 && strcmp(words[0], "join") != 0) {
        status = tools_unknown("token", "command", words[0], known);
    }
    status = status != -1 ? status : make_join_token(&api);
    tools_api_free(&api);
    return status;
}
