/* The commands of the `bindery` program: one table (command.c) that main.c, the parser of command
 * lines (args.h), --help, completions and the manual page (help.h) all read. Each command has a
 * file cmd_<name>.c. */
#ifndef BND_TOOLS_COMMAND_H
#define BND_TOOLS_COMMAND_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit statuses: 0 done; 1 it failed, the reason is on stderr; 2 the command line or the settings
 * are wrong; 75 deliberate stop. */
enum tools_exit { TOOLS_OK = 0, TOOLS_FAILED = 1, TOOLS_USAGE = 2 };

enum { TOOLS_FLAGS_MAX = 48, TOOLS_FLAG_NAME_MAX = 64 };

struct tools_flag {
    const char *name;  /* without -- */
    const char *value; /* what stands for its value in help: "FILE"; NULL: it takes none */
    const char *help;
};

/* What a command can do: "ls", or of two words "bucket ls". */
struct tools_verb {
    const char *name;
    const char *args; /* the words after it: "BUCKET [FILE]"; "" for none */
    const char *help;
};

/* The flags a command takes besides its own. */
enum tools_common {
    TOOLS_COMMON_NONE,
    TOOLS_COMMON_API,     /* where the cluster is and as whom: tools/api.h */
    TOOLS_COMMON_SETTINGS /* every setting of node/config.h, and --config */
};

struct tools_command {
    const char *name;
    const char *summary; /* one line for `bindery --help` */
    /* argv[0] is the command's name. Returns the exit status. */
    int (*run)(int argc, const char **argv);
    const char *args;               /* of a command without verbs; "" or NULL: none */
    const struct tools_verb *verbs; /* ended by a NULL name; NULL: none */
    bool verb_optional;             /* it does something without one, too */
    const struct tools_flag *flags; /* its own, ended by a NULL name; NULL: none */
    enum tools_common common;
    const char *about; /* a paragraph for --help and the manual; NULL: none */
};

/* All commands, ended by a NULL name. */
const struct tools_command *tools_commands(void);
/* The command of this name, or NULL. */
const struct tools_command *tools_command_find(const char *name);

/* Calls each with every flag of a command, its own first; the flag's texts live for the call. */
void tools_each_flag(const struct tools_command *command,
                     void (*each)(void *data, const struct tools_flag *flag), void *data);

/* "bindery: <message>" on stderr; returns TOOLS_FAILED. */
int tools_fail(const struct bnd_error *err);
/* "bindery <command>: <text>" and where to find help, on stderr; returns TOOLS_USAGE. command "":
 * the program. */
int tools_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As tools_usage for a word that is none of `known` (ended by NULL), with the nearest one. */
int tools_unknown(const char *command, const char *what, const char *word,
                  const char *const *known);

#endif
