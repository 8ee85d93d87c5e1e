/* A process that serves in the foreground until SIGTERM or SIGINT: what `start` and `gateway` have
 * in common. */
#ifndef BND_TOOLS_SERVE_H
#define BND_TOOLS_SERVE_H

#include "node/node.h"

/* What is served. start and stop as bnd_node_start and bnd_node_stop. */
struct tools_service {
    enum bnd_node_role role; /* joins as this */
    int (*start)(struct bnd_env *env, const struct bnd_config *config,
                 const struct bnd_node_callbacks *callbacks, void **out, struct bnd_error *err);
    void (*stop)(void *running);
    void (*reload)(void *running); /* SIGHUP */
};

/* Reads the settings from argv, joins if the data directory is new and --join was given, serves.
 * Returns the exit status. */
int tools_serve(int argc, const char **argv, const struct tools_service *service);

#endif
