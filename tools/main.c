/* bindery: one program, many commands. */
#include "tools/command.h"

#include <stdio.h>
#include <string.h>

static int help(FILE *out) {
    (void)fprintf(out, "Usage: bindery COMMAND [flags]\n\nCommands:\n");
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        (void)fprintf(out, "  %-14s %s\n", command->name, command->summary);
    }
    (void)fprintf(out, "\n`bindery COMMAND --help` tells of its flags.\n");
    return out == stdout ? TOOLS_OK : TOOLS_USAGE;
}

int main(int argc, const char **argv) {
    const char *known[64];
    size_t count = 0;
    if (argc < 2) {
        return help(stderr);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        return help(stdout);
    }
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        if (strcmp(argv[1], command->name) == 0 ||
            (strcmp(argv[1], "--version") == 0 && strcmp(command->name, "version") == 0)) {
            return command->run(argc - 1, argv + 1);
        }
        known[count++] = command->name;
    }
    known[count] = NULL;
    return tools_unknown("", "command", argv[1], known);
}
