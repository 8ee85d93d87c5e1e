/* Parts of the cluster's status that several commands print. */
#ifndef BND_TOOLS_SHOW_H
#define BND_TOOLS_SHOW_H

#include "tools/api.h"

/* Asks for the status and prints its nodes, as JSON if that was asked for. Returns the exit status. */
int tools_show_nodes(const struct tools_api *api);

#endif
