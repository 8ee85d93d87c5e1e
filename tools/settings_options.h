/* Command lines that take the settings of node/config.h as flags: `start`, `gateway`, `config
 * check`. */
#ifndef BND_TOOLS_SETTINGS_OPTIONS_H
#define BND_TOOLS_SETTINGS_OPTIONS_H

#include "node/config.h"

/* Parses argv (argv[0] is the command's name) with popt: every setting as --flag VALUE, --config
 * FILE, --help; adds the environment and the file. words: where the words that are no flags go, at
 * most 8, ended by NULL; may be NULL if none is allowed. Returns -1 when *out is filled, else the
 * exit status (help was printed, or an error). */
int tools_settings_parse(int argc, const char **argv, const char *help, struct bnd_config *out,
                         const char **words);

#endif
