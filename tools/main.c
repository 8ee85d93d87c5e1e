/* bindery: one program, many commands. */
#include "tools/help.h"

#include <string.h>

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-?") == 0;
}

static bool asks_for_help(int argc, const char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (is_help(argv[i])) {
            return true;
        }
    }
    return false;
}

static int run(const struct tools_command *command, int argc, const char **argv) {
    if (asks_for_help(argc, argv)) {
        tools_help_command(command, stdout);
        return TOOLS_OK;
    }
    return command->run(argc, argv);
}

static int unknown(const char *word) {
    const char *known[64];
    size_t count = 0;
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        known[count++] = command->name;
    }
    known[count] = NULL;
    return tools_unknown("", "command", word, known);
}

int main(int argc, const char **argv) {
    if (argc < 2) {
        tools_help_all(stderr);
        return TOOLS_USAGE;
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    const struct tools_command *command = tools_command_find(name);
    if (command != NULL) {
        argv[1] = name;
        return run(command, argc - 1, argv + 1);
    }
    if (is_help(name) || strcmp(name, "help") == 0) {
        command = argc > 2 ? tools_command_find(argv[2]) : NULL;
        if (command != NULL) {
            tools_help_command(command, stdout);
        } else {
            tools_help_all(stdout);
        }
        return TOOLS_OK;
    }
    return unknown(name);
}
