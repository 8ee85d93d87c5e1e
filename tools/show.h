/* Parts of the cluster's status that several commands print. */
#ifndef BND_TOOLS_SHOW_H
#define BND_TOOLS_SHOW_H

#include "tools/api.h"

/* Asks for the status and prints it: the part called `key` by `print`, or with key NULL the whole;
 * as JSON if that was asked for. Returns the exit status. */
int tools_show(const struct tools_api *api, const char *key, void (*print)(const json_t *part));

void tools_print_nodes(const json_t *nodes);

#endif
