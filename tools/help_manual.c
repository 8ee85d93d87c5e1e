/* bindery.1: the manual page, from the same table as --help. */
#include "tools/help.h"

#include "base/version.h"

#include <string.h>

/* Text as roff takes it: a backslash or a hyphen is escaped, and so is a dot or quote that begins a
 * line. */
static void roff(FILE *out, const char *text) {
    for (const char *c = text; *c != 0; c++) {
        bool begins = c == text || c[-1] == '\n';
        if (begins && (*c == '.' || *c == '\'')) {
            (void)fputs("\\&", out); /* a closed stdout is the reader's choice */
        }
        if (*c == '\\') {
            (void)fputs("\\e", out);
        } else if (*c == '-') {
            (void)fputs("\\-", out);
        } else {
            (void)fputc(*c, out);
        }
    }
}

static void term(FILE *out, const char *bold, const char *rest, const char *help) {
    (void)fprintf(out, ".TP\n\\fB");
    roff(out, bold);
    (void)fprintf(out, "\\fR%s\\fI", rest[0] == 0 ? "" : " ");
    roff(out, rest);
    (void)fprintf(out, "\\fR\n");
    roff(out, help);
    (void)fputc('\n', out);
}

static void flag_term(void *data, const struct tools_flag *flag) {
    char name[TOOLS_FLAG_NAME_MAX + 2];
    (void)snprintf(name, sizeof name, "--%s", flag->name); /* fits */
    term(data, name, flag->value == NULL ? "" : flag->value, flag->help);
}

static void command_section(FILE *out, const struct tools_command *command) {
    (void)fprintf(out, ".SS bindery ");
    roff(out, command->name);
    if (command->args != NULL && command->args[0] != 0) {
        (void)fprintf(out, " \\fI");
        roff(out, command->args);
        (void)fprintf(out, "\\fR");
    }
    (void)fputc('\n', out);
    roff(out, command->summary);
    (void)fputc('\n', out);
    for (const struct tools_verb *verb = command->verbs; verb != NULL && verb->name != NULL;
         verb++) {
        term(out, verb->name, verb->args, verb->help);
    }
    /* What every node or client command takes is said once. */
    struct tools_command own = *command;
    own.common = TOOLS_COMMON_NONE;
    tools_each_flag(&own, flag_term, out);
    if (command->about != NULL) {
        (void)fprintf(out, ".PP\n");
        roff(out, command->about);
        (void)fputc('\n', out);
    }
    if (command->common == TOOLS_COMMON_API) {
        (void)fprintf(out, ".PP\nAlso the flags of client commands, below.\n");
    } else if (command->common == TOOLS_COMMON_SETTINGS) {
        (void)fprintf(out, ".PP\nAlso the settings, below, as flags.\n");
    }
}

void tools_help_manual(FILE *out) {
    const struct tools_command api = {.common = TOOLS_COMMON_API};
    const struct tools_command settings = {.common = TOOLS_COMMON_SETTINGS};
    (void)fprintf(out,
                  ".TH BINDERY 1 \"\" \"bindery %s\" \"User Commands\"\n.SH NAME\nbindery \\- the "
                  "storage cluster under Workers, on one's own machines\n.SH SYNOPSIS\n"
                  "\\fBbindery\\fR \\fICOMMAND\\fR [\\fIflags\\fR]\n.SH COMMANDS\n",
                  BND_VERSION_TEXT);
    for (const struct tools_command *command = tools_commands(); command->name != NULL; command++) {
        command_section(out, command);
    }
    (void)fprintf(out, ".SH FLAGS OF CLIENT COMMANDS\n");
    tools_each_flag(&api, flag_term, out);
    (void)fprintf(out,
                  ".SH SETTINGS\nA flag goes before the environment (\\fBBINDERY_BASE_PORT\\fR "
                  "for \\fBbase_port\\fR), which goes before the file of \\fB\\-\\-config\\fR, "
                  "which goes before the default.\n");
    tools_each_flag(&settings, flag_term, out);
    (void)fprintf(out, ".SH EXIT STATUS\n");
    term(out, "0", "", "done");
    term(out, "1", "", "it failed; the reason is on stderr");
    term(out, "2", "", "the command line or the settings are wrong");
    term(out, "75", "",
         "a node stopped deliberately (a disk or journal error): start it again, recovery is the "
         "way on");
    (void)fprintf(out, ".SH SEE ALSO\nThe README of the project, and \\fIdocs/\\fR beside it.\n");
}
