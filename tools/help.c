/* --help. Lines are folded at 80 columns; flags and verbs line up in two columns. */
#include "tools/help.h"

#include <string.h>

enum { LEFT = 28, WIDTH = 80 };

/* Text that goes on at a column, folded at words. */
static void fold(FILE *out, const char *text, size_t column, size_t indent) {
    while (*text != 0) {
        size_t len = strcspn(text, " ");
        if (column > indent && column + len + 1 > WIDTH) {
            (void)fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            (void)fputc(' ', out);
            column++;
        }
        (void)fwrite(text, 1, len, out); /* a closed stdout is the reader's choice */
        column += len;
        text += len + strspn(text + len, " ");
    }
    (void)fputc('\n', out);
}

static void row(FILE *out, const char *left, const char *help) {
    size_t len = strlen(left) + 2;
    (void)fprintf(out, "  %s", left);
    if (len + 2 > LEFT) {
        (void)fputc('\n', out);
        len = 0;
    }
    (void)fprintf(out, "%*s", (int)(LEFT - len), "");
    fold(out, help, LEFT, LEFT);
}

static void flag_row(void *data, const struct tools_flag *flag) {
    char left[2 * TOOLS_FLAG_NAME_MAX];
    (void)snprintf(left, sizeof left, "--%s%s%s", flag->name, flag->value == NULL ? "" : " ",
                   flag->value == NULL ? "" : flag->value); /* fits */
    row(data, left, flag->help);
}

void tools_help_all(FILE *out) {
    (void)fprintf(out, "Usage: bindery COMMAND [flags]\n\nCommands:\n");
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        (void)fprintf(out, "  %-*s", LEFT - 12, command->name);
        fold(out, command->summary, LEFT - 10, LEFT - 10);
    }
    (void)fprintf(out, "\n`bindery COMMAND --help` tells of its flags. Completion for shells: "
                       "`bindery completion`.\n");
}

void tools_help_command(const struct tools_command *command, FILE *out) {
    char left[2 * TOOLS_FLAG_NAME_MAX];
    const char *args = command->args == NULL ? "" : command->args;
    (void)fprintf(out, "Usage: bindery %s%s%s%s [flags]\n\n", command->name,
                  command->verbs == NULL   ? ""
                  : command->verb_optional ? " [COMMAND]"
                                           : " COMMAND",
                  args[0] == 0 ? "" : " ", args);
    fold(out, command->summary, 0, 0);
    if (command->verbs != NULL) {
        (void)fprintf(out, "\nCommands:\n");
        for (const struct tools_verb *verb = command->verbs; verb->name != NULL; verb++) {
            (void)snprintf(left, sizeof left, "%s%s%s", verb->name, verb->args[0] == 0 ? "" : " ",
                           verb->args); /* fits */
            row(out, left, verb->help);
        }
    }
    (void)fprintf(out, "\nFlags:\n");
    tools_each_flag(command, flag_row, out);
    row(out, "--help", "this text");
    if (command->about != NULL) {
        (void)fputc('\n', out);
        fold(out, command->about, 0, 0);
    }
}
