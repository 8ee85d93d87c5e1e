#include "tools/serve.h"

#include "base/alloc.h"
#include "engine/io/io.h"
#include "node/join.h"
#include "raft/core.h"
#include "tools/command.h"
#include "tools/settings_options.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

struct serve {
    struct bnd_config config;
    struct bnd_node_addresses addresses;
    struct bnd_env *env;
    const struct tools_service *service;
    void *running; /* of the service */
    int status;    /* of the exit */
    bool signaled;
    struct bnd_timer watchdog;
    uint64_t watchdog_ns;
};

static bool print_secrets(const struct serve *serve, const struct node_genesis_secrets *secrets,
                          FILE *out) {
    int length = fprintf(
        out,
        "A new cluster was made. These are shown once:\n"
        "  admin token    %s\n  S3 access key  %s\n  S3 secret key  %s\n  join token     %s\n"
        "Another node joins with: bindery start --data DIR --join %s --token JOIN-TOKEN\n",
        secrets->token, secrets->access_key, secrets->secret_key, secrets->join,
        serve->addresses.advertise);
    return length > 0 && fflush(out) == 0;
}

/* Into the file that was asked for, durable and readable by its owner only. */
static bool write_secrets(const struct serve *serve, const struct node_genesis_secrets *secrets) {
    int fd = open(serve->config.secrets_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out == NULL) {
        if (fd >= 0) {
            (void)close(fd); /* nothing was written */
        }
        return false;
    }
    bool ok = fchmod(fd, 0600) == 0 && print_secrets(serve, secrets, out) && fsync(fd) == 0;
    return fclose(out) == 0 && ok;
}

/* They are in no other place: where the file fails, they are printed all the same. */
static void show_secrets(const struct serve *serve, const struct node_genesis_secrets *secrets) {
    const char *file = serve->config.secrets_file;
    if (file[0] != 0 && write_secrets(serve, secrets)) {
        bnd_log(serve->env, BND_LOG_INFO, "node", "a new cluster was made; its secrets are in %s",
                file);
        return;
    }
    if (file[0] != 0) {
        bnd_log(serve->env, BND_LOG_ERROR, "node",
                "secrets_file %s cannot be written (%s): they follow on stdout", file,
                strerror(errno));
    }
    (void)print_secrets(serve, secrets, stdout); /* a closed stdout is the reader's choice */
}

/* ---- the service manager: not run by systemd, sd_notify does nothing
 * ------------------------------------------------------------------------------------------------
 */

static void on_watchdog(struct bnd_timer *timer) {
    struct serve *serve = timer->data;
    (void)sd_notify(0, "WATCHDOG=1");
    bnd_timer_start(serve->env, timer, serve->watchdog_ns);
}

/* From the loop, so that a loop that stands still is seen: three times per WatchdogSec. */
static void start_watchdog(struct serve *serve) {
    uint64_t within_us = 0;
    if (sd_watchdog_enabled(0, &within_us) > 0) {
        serve->watchdog_ns = within_us * 1000 / 3;
        serve->watchdog = (struct bnd_timer){.cb = on_watchdog, .data = serve};
        bnd_timer_start(serve->env, &serve->watchdog, serve->watchdog_ns);
    }
}

static void on_ready(void *data, const struct node_genesis_secrets *secrets) {
    struct serve *serve = data;
    if (secrets != NULL) {
        show_secrets(serve, secrets);
    }
    (void)sd_notifyf(0, "READY=1\nSTATUS=serving on %s", serve->addresses.rest);
    start_watchdog(serve);
}

static void on_stopped(void *data, int status, const struct bnd_error *err) {
    struct serve *serve = data;
    serve->status = status;
    if (status != 0) {
        bnd_log(serve->env, BND_LOG_ERROR, "node", "stopped: %s", err->message);
        _exit(status); /* nothing may be taken down after a fatal stop: recovery starts from what is
                          durable */
    }
    serve->running = NULL;
    bnd_io_env_stop(serve->env);
}

static void on_signal(void *data, int signal) {
    struct serve *serve = data;
    if (signal == SIGHUP) {
        if (serve->running != NULL) {
            serve->service->reload(serve->running);
        }
        return;
    }
    serve->signaled = true;
    if (serve->running == NULL) {
        bnd_io_env_stop(serve->env);
        return;
    }
    (void)sd_notify(0, "STOPPING=1\nSTATUS=stopping");
    serve->service->stop(serve->running);
}

struct join_result {
    struct serve *serve;
    int status;
    bool done;
};

static void on_joined(void *data, int status, const struct bnd_error *err) {
    struct join_result *result = data;
    result->status = status;
    result->done = true;
    if (status != 0) {
        (void)fprintf(stderr, "bindery: joining %s failed: %s\n", result->serve->config.join,
                      err->message);
    }
    bnd_io_env_stop(result->serve->env);
}

/* Makes this directory a member, unless it is one already: join flags may be repeated for ever. */
static int join_if_new(struct serve *serve, struct bnd_error *err) {
    struct node_join *join = NULL;
    struct join_result result = {.serve = serve};
    if (serve->config.data[0] == 0) {
        return BND_FAIL(err, INVALID, "data: the data directory must be given (--data DIR)");
    }
    int rv = serve->env->ops->dir_make(serve->env, serve->config.data, err);
    if (rv != 0 || bnd_node_is_member(serve->env, serve->config.data)) {
        return rv;
    }
    if (serve->config.join[0] == 0) {
        return serve->service->role == BND_NODE_STORAGE
                   ? 0
                   : BND_FAIL(err, INVALID, "join: a new gateway needs --join and --token");
    }
    struct node_join_options options = {
        .env = serve->env,
        .config = &serve->config,
        .peer_address = serve->addresses.advertise,
        .role = serve->service->role,
        .done = on_joined,
        .data = &result,
    };
    (void)sd_notifyf(0, "STATUS=joining %s", serve->config.join);
    rv = node_join_start(&options, &join, err);
    if (rv != 0) {
        return rv;
    }
    bnd_io_env_run(serve->env);
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

/* Each connection is a file: as many as the system lets us. */
static void raise_files(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* refused: the limit stays, accepts fail there */
    }
}

#define ALLOC_KEEP_BYTES (2u << 20)
/* Statements of SQL may hold six of them for long (sql/leader_private.h). */
#define WORK_THREADS 8u

/* Bursts of large buffers must not stay with the process: few arenas, and what is large goes back
 * to the system at once (the bound would else rise with the first one that is freed). */
static void tame_allocator(void) {
    (void)mallopt(M_ARENA_MAX, 2); /* 0: not supported, nothing to be done about */
    (void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
    bnd_alloc_keep(ALLOC_KEEP_BYTES);
}

static int run(struct serve *serve) {
    struct bnd_error err = {0};
    struct bnd_io_options options = {.work_threads = WORK_THREADS,
                                     .on_signal = on_signal,
                                     .signal_data = serve,
                                     .log_level = log_level(serve->config.log_level)};
    struct bnd_node_callbacks callbacks = {.data = serve, .ready = on_ready, .stopped = on_stopped};
    raise_files();
    tame_allocator();
    int rv = bnd_core_library_init(&err);
    rv = rv != 0 ? rv : bnd_io_env_create(&options, &serve->env, &err);
    rv = rv != 0 ? rv : bnd_node_addresses(&serve->config, &serve->addresses, &err);
    rv = rv != 0 ? rv : join_if_new(serve, &err);
    if (rv == 0 && !serve->signaled) {
        (void)sd_notify(0, "STATUS=recovering");
        rv = serve->service->start(serve->env, &serve->config, &callbacks, &serve->running, &err);
    }
    if (rv != 0) {
        int failed = tools_fail(&err);
        return rv == BND_NOSPACE   ? BND_NODE_EXIT_STOP /* space may return by itself */
               : rv == BND_INVALID ? TOOLS_USAGE        /* wrong settings do not become right */
                                   : failed;
    }
    if (!serve->signaled) {
        bnd_io_env_run(serve->env);
    }
    bnd_io_env_destroy(serve->env);
    bnd_alloc_keep(0);
    return serve->status;
}

int tools_serve(int argc, const char **argv, const struct tools_service *service) {
    struct serve *serve = calloc(1, sizeof *serve);
    if (serve == NULL) {
        return TOOLS_FAILED;
    }
    serve->service = service;
    int status = tools_settings_parse(argc, argv, &serve->config);
    if (status == -1) {
        status = run(serve);
    }
    free(serve);
    return status;
}
