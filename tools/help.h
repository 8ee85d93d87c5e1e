/* What is written from the table of commands: --help, completions of shells, the manual page. */
#ifndef BND_TOOLS_HELP_H
#define BND_TOOLS_HELP_H

#include "tools/command.h"

#include <stdio.h>

/* The list of commands. */
void tools_help_all(FILE *out);
/* One command: verbs, flags, what it is about. */
void tools_help_command(const struct tools_command *command, FILE *out);

/* A completion script. shell: "bash", "zsh" or "fish". */
void tools_help_completion(const char *shell, FILE *out);
/* bindery.1 in roff. */
void tools_help_manual(FILE *out);

#endif
