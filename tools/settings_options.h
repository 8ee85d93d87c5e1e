/* Command lines that take the settings of node/config.h as flags: `start`, `gateway`, `config
 * check`. */
#ifndef BND_TOOLS_SETTINGS_OPTIONS_H
#define BND_TOOLS_SETTINGS_OPTIONS_H

#include "node/config.h"
#include "tools/args.h"

/* What such a command takes besides the settings. */
extern const struct tools_flag tools_settings_flags[];

/* Parses argv (argv[0] is the command's name) and adds the environment and the file of --config.
 * Returns -1 when *out is filled, else the exit status: it was told on stderr what is wrong.
 * Settings that are wrong stay so: TOOLS_USAGE, which the unit does not restart after. */
int tools_settings_parse(int argc, const char **argv, struct bnd_config *out);

#endif
