/* bindery start: a node, in the foreground, until SIGTERM or SIGINT. */
#include "engine/io/io.h"
#include "node/join.h"
#include "node/node.h"
#include "raft/core.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/settings_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

struct start {
    struct bnd_config config;
    struct bnd_node_addresses addresses;
    struct bnd_env *env;
    struct bnd_node *node;
    int status; /* of the exit */
    bool signaled;
};

static void show_secrets(const struct start *start, const struct node_genesis_secrets *secrets) {
    (void)printf(
        "A new cluster was made. These are shown once:\n"
        "  admin token    %s\n  S3 access key  %s\n  S3 secret key  %s\n  join token     %s\n"
        "Another node joins with: bindery start --data DIR --join %s --token JOIN-TOKEN\n",
        secrets->token, secrets->access_key, secrets->secret_key, secrets->join,
        start->addresses.advertise);
    (void)fflush(stdout); /* a closed stdout is the reader's choice */
}

static void on_ready(void *data, const struct node_genesis_secrets *secrets) {
    struct start *start = data;
    if (secrets != NULL) {
        show_secrets(start, secrets);
    }
    (void)sd_notify(0, "READY=1"); /* not run by systemd: does nothing */
}

static void on_stopped(void *data, int status, const struct bnd_error *err) {
    struct start *start = data;
    start->status = status;
    if (status != 0) {
        bnd_log(start->env, BND_LOG_ERROR, "node", "stopped: %s", err->message);
        _exit(status); /* nothing may be taken down after a fatal stop: recovery starts from what is
                          durable */
    }
    start->node = NULL;
    bnd_io_env_stop(start->env);
}

static void on_signal(void *data, int signal) {
    struct start *start = data;
    start->signaled = true;
    if (start->node == NULL) {
        bnd_io_env_stop(start->env);
        return;
    }
    (void)sd_notify(0, "STOPPING=1");
    bnd_node_stop(start->node);
}

struct join_result {
    struct start *start;
    int status;
    bool done;
};

static void on_joined(void *data, int status, const struct bnd_error *err) {
    struct join_result *result = data;
    result->status = status;
    result->done = true;
    if (status != 0) {
        (void)fprintf(stderr, "bindery: joining %s failed: %s\n", result->start->config.join,
                      err->message);
    }
    bnd_io_env_stop(result->start->env);
}

/* Makes this directory a member, unless it is one already: join flags may be repeated for ever. */
static int join_if_new(struct start *start, struct bnd_error *err) {
    struct node_join *join = NULL;
    struct join_result result = {.start = start};
    int rv = start->env->ops->dir_make(start->env, start->config.data, err);
    if (rv != 0 || start->config.join[0] == 0 ||
        bnd_node_is_member(start->env, start->config.data)) {
        return rv;
    }
    struct node_join_options options = {
        .env = start->env,
        .config = &start->config,
        .peer_address = start->addresses.advertise,
        .done = on_joined,
        .data = &result,
    };
    rv = node_join_start(&options, &join, err);
    if (rv != 0) {
        return rv;
    }
    bnd_io_env_run(start->env);
    if (!result.done) {
        return BND_FAIL(err, CANCELED, "stopped while joining");
    }
    return result.status == 0 ? 0 : bnd_error_set(err, result.status, "this node is not a member");
}

static enum bnd_log_level log_level(const char *name) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (enum bnd_log_level)i;
        }
    }
    return BND_LOG_INFO;
}

static int run(struct start *start) {
    struct bnd_error err = {0};
    struct bnd_io_options options = {.on_signal = on_signal,
                                     .signal_data = start,
                                     .log_level = log_level(start->config.log_level)};
    struct bnd_node_callbacks callbacks = {.data = start, .ready = on_ready, .stopped = on_stopped};
    int rv = bnd_core_library_init(&err);
    rv = rv != 0 ? rv : bnd_io_env_create(&options, &start->env, &err);
    rv = rv != 0 ? rv : bnd_node_addresses(&start->config, &start->addresses, &err);
    rv = rv != 0 ? rv : join_if_new(start, &err);
    if (rv == 0 && !start->signaled) {
        rv = bnd_node_start(start->env, &start->config, &callbacks, &start->node, &err);
    }
    if (rv != 0) {
        return tools_fail(&err);
    }
    if (!start->signaled) {
        bnd_io_env_run(start->env);
    }
    bnd_io_env_destroy(start->env);
    return start->status;
}

int tools_cmd_start(int argc, const char **argv) {
    struct start *start = calloc(1, sizeof *start);
    if (start == NULL) {
        return TOOLS_FAILED;
    }
    int status = tools_settings_parse(argc, argv, "[settings]", &start->config, NULL);
    if (status == -1) {
        status = run(start);
    }
    free(start);
    return status;
}
