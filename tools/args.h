/* A command line, read by the table of commands: flags with their values, and words. */
#ifndef BND_TOOLS_ARGS_H
#define BND_TOOLS_ARGS_H

#include "tools/command.h"

enum { TOOLS_WORDS_MAX = 8, TOOLS_GIVEN_MAX = 64 };

struct tools_given {
    char name[TOOLS_FLAG_NAME_MAX];
    char *value; /* owned; NULL: the flag takes none */
};

struct tools_args {
    const struct tools_command *command;
    const struct tools_verb *verb; /* the one that was named, or NULL: the command has none, or it
                                      is optional */
    char *words[TOOLS_WORDS_MAX + 1]; /* owned; those after the verb, ended by NULL */
    size_t words_count;
    struct tools_given given[TOOLS_GIVEN_MAX]; /* in order; a flag may come again */
    size_t given_count;
};

/* Reads argv (argv[0] is the name of a command in the table): --flag VALUE or --flag=VALUE, words
 * in between, after -- words only. Returns -1 when all of it is known, else TOOLS_USAGE after
 * telling on stderr what is not, with the nearest that is: flags, verbs, and words too many or too
 * few for the verb (args: "A [B]" takes one or two). tools_args_free in any case. */
int tools_args_parse(int argc, const char **argv, struct tools_args *out);
void tools_args_free(struct tools_args *args);

/* The value of a flag's last mention, "" for one that takes none; NULL: not given. */
const char *tools_args_flag(const struct tools_args *args, const char *name);
/* The verb's name is this one. */
bool tools_args_is(const struct tools_args *args, const char *verb);
/* A whole number from min to max of a flag; absent: fallback. False: it was told on stderr what is
 * wrong with it. */
bool tools_args_number(const struct tools_args *args, const char *name, long min, long max,
                       long fallback, long *out);

#endif
