#include "tools/command.h"

#include "node/config.h"
#include "tools/commands.h"

#include <stdarg.h>
#include <stdio.h>

const struct tools_command *tools_commands(void) {
    static const struct tools_command commands[] = {
        {"start", "run a node: makes a cluster, joins one, or goes on", tools_cmd_start},
        {"gateway", "run a gateway: the client ports without storage", tools_cmd_gateway},
        {"status", "the cluster as one node sees it", tools_cmd_status},
        {"top", "a live view of the cluster: load, latency, groups", tools_cmd_top},
        {"node", "node ls, drain, undrain, decommission, replace: the nodes", tools_cmd_node},
        {"shard", "shard ls: the Raft groups", tools_cmd_shard},
        {"token", "token create, ls, rm: API tokens; token join: for one more node",
         tools_cmd_token},
        {"key", "key create, ls, rm: S3 keys", tools_cmd_key},
        {"clock", "the nodes' clocks; clock confirm: after a jump of time", tools_cmd_clock},
        {"inspect", "inspect journal DIR: look into files, read-only", tools_cmd_inspect},
        {"workerd-config", "write a workerd configuration for a wrangler project",
         tools_cmd_workerd_config},
        {"config", "check the settings and print them", tools_cmd_config},
        {"version", "print the version", tools_cmd_version},
        {0},
    };
    return commands;
}

int tools_fail(const struct bnd_error *err) {
    (void)fprintf(stderr, "bindery: %s\n", err->message);
    return TOOLS_FAILED;
}

int tools_usage(const char *command, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const char *space = command[0] == 0 ? "" : " ";
    (void)fprintf(stderr, "bindery%s%s: ", space, command);
    (void)vfprintf(stderr, fmt, args);
    (void)fprintf(stderr, "; see `bindery%s%s --help`\n", space, command);
    va_end(args);
    return TOOLS_USAGE;
}

int tools_unknown(const char *command, const char *what, const char *word,
                  const char *const *known) {
    const char *nearest = bnd_nearest_name(word, known);
    if (nearest == NULL) {
        return tools_usage(command, "unknown %s %s", what, word);
    }
    return tools_usage(command, "unknown %s %s, did you mean %s?", what, word, nearest);
}
