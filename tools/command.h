/* The commands of the `bindery` program. Each has a file cmd_<name>.c; main.c finds them in the
 * table of command.c. */
#ifndef BND_TOOLS_COMMAND_H
#define BND_TOOLS_COMMAND_H

#include "base/error.h"

/* Exit statuses: 0 done; 1 it failed, the reason is on stderr; 2 the command line is wrong; 75
 * deliberate stop. */
enum tools_exit { TOOLS_OK = 0, TOOLS_FAILED = 1, TOOLS_USAGE = 2 };

struct tools_command {
    const char *name;
    const char *summary; /* one line for `bindery --help` */
    /* argv[0] is the command's name. Returns the exit status. */
    int (*run)(int argc, const char **argv);
};

/* All commands, ended by a NULL name. */
const struct tools_command *tools_commands(void);

/* "bindery: <message>" on stderr; returns TOOLS_FAILED. */
int tools_fail(const struct bnd_error *err);
/* "bindery <command>: <text>" and where to find help, on stderr; returns TOOLS_USAGE. command "":
 * the program. */
int tools_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As tools_usage for a word that is none of `known` (ended by NULL), with the nearest one. */
int tools_unknown(const char *command, const char *what, const char *word,
                  const char *const *known);

#endif
