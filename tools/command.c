#include "tools/command.h"

#include "node/config.h"
#include "tools/api.h"
#include "tools/commands.h"
#include "tools/settings_options.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct tools_verb shard_verbs[] = {
    {"ls", "", "list those of one node, with leader and members"}, {0}};
static const struct tools_verb clock_verbs[] = {
    {"confirm", "", "after a jump of time, when the clocks are right: let deletion by time go on"},
    {0}};
static const struct tools_verb config_verbs[] = {
    {"check", "", "print the settings as a node would see them, or what is wrong with them"}, {0}};
static const struct tools_verb completion_verbs[] = {
    {"bash", "", "for bash: source <(bindery completion bash)"},
    {"zsh", "", "for zsh: bindery completion zsh > _bindery, in a directory of $fpath"},
    {"fish", "", "for fish: bindery completion fish > ~/.config/fish/completions/bindery.fish"},
    {0}};

static const struct tools_command commands[] = {
    {.name = "start",
     .summary = "run a node: makes a cluster, joins one, or goes on",
     .run = tools_cmd_start,
     .common = TOOLS_COMMON_SETTINGS,
     .about = "On an empty --data directory it makes a new cluster and prints its credentials, "
              "once; with --join and --token it joins one instead. On the directory of a member it "
              "goes on, and ignores both."},
    {.name = "gateway",
     .summary = "run a gateway: the client ports without storage",
     .run = tools_cmd_gateway,
     .common = TOOLS_COMMON_SETTINGS},
    {.name = "status",
     .summary = "the cluster as one node sees it",
     .run = tools_cmd_status,
     .common = TOOLS_COMMON_API,
     .about = "Exit status 1: the node does not answer, group 0 has no majority, or a group has no "
              "leader. What is known is shown nevertheless."},
    {.name = "top",
     .summary = "a live view of the cluster: load, latency, groups",
     .run = tools_cmd_top,
     .flags = tools_top_flags,
     .common = TOOLS_COMMON_API},
    {.name = "doctor",
     .summary = "what is wrong with a running cluster, or a stopped node's files, and what to do",
     .run = tools_cmd_doctor,
     .flags = tools_doctor_flags,
     .common = TOOLS_COMMON_API,
     .about = "Exit status 1: something is bad. With --data everything that is in use is read and "
              "verified, and nothing changed."},
    {.name = "recover",
     .summary = "from quorum loss: make a stopped node the only voter of its groups",
     .run = tools_cmd_recover,
     .flags = tools_recover_flags,
     .about = "Only when the majority of the nodes is lost for good. It says what may be lost, and "
              "asks. The other nodes must never be started again with their data."},
    {.name = "node",
     .summary = "the nodes of the cluster",
     .run = tools_cmd_node,
     .verbs = tools_node_verbs,
     .flags = tools_node_flags,
     .common = TOOLS_COMMON_API},
    {.name = "shard",
     .summary = "the Raft groups of a node",
     .run = tools_cmd_shard,
     .verbs = shard_verbs,
     .common = TOOLS_COMMON_API},
    {.name = "r2",
     .summary = "buckets and objects",
     .run = tools_cmd_r2,
     .verbs = tools_r2_verbs,
     .flags = tools_r2_flags,
     .common = TOOLS_COMMON_API},
    {.name = "kv",
     .summary = "KV namespaces and keys",
     .run = tools_cmd_kv,
     .verbs = tools_kv_verbs,
     .flags = tools_kv_flags,
     .common = TOOLS_COMMON_API,
     .about = "A namespace is named by its id or its title."},
    {.name = "d1",
     .summary = "D1 databases: statements and Time Travel",
     .run = tools_cmd_d1,
     .verbs = tools_d1_verbs,
     .flags = tools_d1_flags,
     .common = TOOLS_COMMON_API,
     .about = "A database is named by its uuid or its name."},
    {.name = "token",
     .summary = "API tokens; join tokens for new nodes and gateways",
     .run = tools_cmd_token,
     .verbs = tools_token_verbs,
     .flags = tools_token_flags,
     .common = TOOLS_COMMON_API},
    {.name = "key",
     .summary = "S3 keys",
     .run = tools_cmd_key,
     .verbs = tools_key_verbs,
     .flags = tools_key_flags,
     .common = TOOLS_COMMON_API},
    {.name = "ca",
     .summary = "the cluster's CA: how it is, and its change in two steps",
     .run = tools_cmd_ca,
     .verbs = tools_ca_verbs,
     .verb_optional = true,
     .flags = tools_ca_flags,
     .common = TOOLS_COMMON_API},
    {.name = "clock",
     .summary = "a node's clock against the others'",
     .run = tools_cmd_clock,
     .verbs = clock_verbs,
     .verb_optional = true,
     .common = TOOLS_COMMON_API},
    {.name = "inspect",
     .summary = "look into a stopped node's files, read-only",
     .run = tools_cmd_inspect,
     .verbs = tools_inspect_verbs,
     .flags = tools_inspect_flags,
     .about =
         "Nothing is changed. Damage is told and does not end the output, but the exit status is "
         "1. Which group has which slot of the state is in the journal."},
    {.name = "workerd-config",
     .summary = "write a workerd configuration for a wrangler project",
     .run = tools_cmd_workerd_config,
     .args = "wrangler.jsonc",
     .flags = tools_workerd_config_flags},
    {.name = "config",
     .summary = "check the settings and print them",
     .run = tools_cmd_config,
     .verbs = config_verbs,
     .common = TOOLS_COMMON_SETTINGS},
    {.name = "completion",
     .summary = "print a completion script for a shell",
     .run = tools_cmd_completion,
     .verbs = completion_verbs},
    {.name = "man", .summary = "print the manual page (bindery.1)", .run = tools_cmd_man},
    {.name = "version", .summary = "print the version", .run = tools_cmd_version},
    {0},
};

const struct tools_command *tools_commands(void) {
    return commands;
}

const struct tools_command *tools_command_find(const char *name) {
    for (const struct tools_command *command = commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static void each_own(const struct tools_flag *flags,
                     void (*each)(void *data, const struct tools_flag *flag), void *data) {
    for (; flags != NULL && flags->name != NULL; flags++) {
        each(data, flags);
    }
}

void tools_each_flag(const struct tools_command *command,
                     void (*each)(void *data, const struct tools_flag *flag), void *data) {
    each_own(command->flags, each, data);
    if (command->common == TOOLS_COMMON_API) {
        each_own(tools_api_flags, each, data);
    }
    if (command->common != TOOLS_COMMON_SETTINGS) {
        return;
    }
    for (const struct bnd_setting *setting = bnd_settings_table(); setting->name != NULL;
         setting++) {
        char name[TOOLS_FLAG_NAME_MAX];
        bnd_setting_flag(setting, name, sizeof name);
        struct tools_flag flag = {name, setting->type == BND_SETTING_BOOL ? NULL : setting->value,
                                  setting->help};
        each(data, &flag);
    }
    each_own(tools_settings_flags, each, data);
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
