/* bindery start: a node, in the foreground, until SIGTERM or SIGINT. */
#include "tools/commands.h"
#include "tools/serve.h"

static int start(struct bnd_env *env, const struct bnd_config *config,
                 const struct bnd_node_callbacks *callbacks, void **out, struct bnd_error *err) {
    struct bnd_node *node = NULL;
    int rv = bnd_node_start(env, config, callbacks, &node, err);
    *out = node;
    return rv;
}

static void stop(void *running) {
    bnd_node_stop(running);
}

static void reload(void *running) {
    bnd_node_reload(running);
}

int tools_cmd_start(int argc, const char **argv) {
    static const struct tools_service service = {BND_NODE_STORAGE, start, stop, reload};
    return tools_serve(argc, argv, &service);
}
