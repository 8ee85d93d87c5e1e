/* Listeners over libuv.
 *
 * Invariant: a listener is in env->listeners until libuv has closed its handle; then it is freed.
 * Failure modes: without memory for a connection, that one waits in the kernel and is asked for
 * again every 100 ms; libuv itself drops connections when the process has no descriptors left. */
#include "base/alloc.h"
#include "engine/io/io_private.h"

#include <errno.h>
#include <sys/socket.h>

#define RETRY_NS (100 * BND_MS)

struct bnd_listener {
    uv_tcp_t tcp;
    struct io_env *env;
    struct bnd_link link; /* env->listeners */
    bool closing;
    void (*on_accept)(void *data, struct bnd_stream *stream);
    void *data;
    struct bnd_timer retry;
};

static void on_close(uv_handle_t *handle) {
    struct bnd_listener *listener = handle->data;
    bnd_link_remove(&listener->link);
    bnd_free(listener);
}

void io_listener_close(struct bnd_env *base, struct bnd_listener *listener) {
    BND_ASSERT(!listener->closing);
    listener->closing = true;
    bnd_timer_stop(base, &listener->retry);
    uv_close((uv_handle_t *)&listener->tcp, on_close);
}

void io_listeners_close_all(struct io_env *env) {
    for (struct bnd_link *link = env->listeners.next; link != &env->listeners; link = link->next) {
        struct bnd_listener *listener = BND_CONTAINER(link, struct bnd_listener, link);
        if (!listener->closing) {
            io_listener_close(&env->base, listener);
        }
    }
}

static void accept_one(struct bnd_listener *listener) {
    struct bnd_env *base = &listener->env->base;
    struct bnd_stream *stream = io_stream_create(listener->env);
    if (stream == NULL) { /* libuv keeps this connection and takes no other meanwhile */
        bnd_timer_start(base, &listener->retry, RETRY_NS);
        return;
    }
    int rc = io_stream_accept(stream, (uv_stream_t *)&listener->tcp);
    if (rc != 0) { /* the connection is lost, not the listener */
        io_stream_close(base, stream, NULL, NULL);
        return;
    }
    listener->on_accept(listener->data, stream);
}

static void on_retry(struct bnd_timer *timer) {
    accept_one(timer->data);
}

static void on_connection(uv_stream_t *handle, int status) {
    struct bnd_listener *listener = handle->data;
    io_env_tick(listener->env);
    if (status == 0) { /* else accept(2) failed for one connection: the next event asks again */
        accept_one(listener);
    }
}

static int bind_and_listen(struct bnd_listener *listener, const struct sockaddr_storage *address,
                           int backlog) {
    int rc = 0;
    if (listener->env->options.reuse_port) {
        uv_os_fd_t fd = -1;
        int on = 1;
        rc = uv_fileno((uv_handle_t *)&listener->tcp, &fd);
        if (rc == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
            rc = uv_translate_sys_error(errno);
        }
    }
    /* libuv sets SO_REUSEADDR: a restart need not wait for TIME_WAIT. */
    rc = rc != 0 ? rc
                 : uv_tcp_bind(&listener->tcp, (const struct sockaddr *)(const void *)address, 0);
    return rc != 0 ? rc : uv_listen((uv_stream_t *)&listener->tcp, backlog, on_connection);
}

int io_listen(struct bnd_env *base, const char *address, int backlog,
              void (*on_accept)(void *data, struct bnd_stream *stream), void *data,
              struct bnd_listener **out, struct bnd_error *err) {
    struct io_env *env = io_env_of(base);
    struct sockaddr_storage at;
    int rv = io_address_parse(address, &at, err);
    if (rv != 0) {
        return rv;
    }
    if (env->destroying) {
        return BND_FAIL(err, CANCELED, "listen on %s: the loop is ending", address);
    }
    struct bnd_listener *listener = bnd_zalloc(sizeof *listener);
    if (listener == NULL) {
        return BND_FAIL(err, NOMEM, "listen on %s: out of memory", address);
    }
    int rc = uv_tcp_init_ex(&env->loop, &listener->tcp, (unsigned)at.ss_family);
    if (rc != 0) {
        bnd_free(listener);
        return bnd_error_set(err, io_code_from_errno(-rc), "listen on %s: %s", address,
                             uv_strerror(rc));
    }
    listener->tcp.data = listener;
    listener->env = env;
    listener->on_accept = on_accept;
    listener->data = data;
    listener->retry = (struct bnd_timer){.cb = on_retry, .data = listener};
    bnd_list_push(&env->listeners, &listener->link);
    rc = bind_and_listen(listener, &at, backlog);
    if (rc != 0) {
        io_listener_close(base, listener);
        return bnd_error_set(err, io_code_from_errno(-rc), "listen on %s: %s", address,
                             uv_strerror(rc));
    }
    *out = listener;
    return 0;
}

void io_listener_address(struct bnd_env *base, struct bnd_listener *listener,
                         char out[BND_ADDRESS_MAX]) {
    struct sockaddr_storage at = {0};
    int len = sizeof at;
    /* Fails only on a closed socket; a listener has one until it is gone. */
    BND_ASSERT(uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)(void *)&at, &len) == 0);
    io_address_format(&at, out);
}
