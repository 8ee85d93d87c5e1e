/* What the server turned away, told to the operator: the first at once, then at most one line in
 * SHED_EVERY_NS with how many there were of each kind. */
#include "gateway/http/server_private.h"

#include <stdio.h>

#define SHED_EVERY_NS (10000 * BND_MS)

static const char *const names[HTTP_SHEDS] = {
    [HTTP_SHED_BOUND] = "connections over the bound",
    [HTTP_SHED_ADDRESS] = "connections over the bound of one address",
    [HTTP_SHED_HEAD] = "slow heads",
    [HTTP_SHED_BODY] = "slow bodies",
    [HTTP_SHED_WRITE] = "slow readers",
    [HTTP_SHED_BAD] = "bad heads",
    [HTTP_SHED_OVERLOAD] = "requests over a bound",
};

/* False: there was nothing to tell. */
static bool tell(struct bnd_http_server *server) {
    struct http_shed *shed = &server->shed;
    BND_AUTO_BUF struct bnd_buf line = {0};
    for (size_t i = 0; i < HTTP_SHEDS; i++) {
        if (shed->counts[i] > 0) {
            bnd_buf_printf(&line, "%s%llu %s", line.len == 0 ? "" : ", ",
                           (unsigned long long)shed->counts[i], names[i]);
            shed->counts[i] = 0;
        }
    }
    if (line.len == 0) {
        return false;
    }
    bnd_log(server->env, BND_LOG_WARN, "http", "%s refused: %.*s; last from %s", shed->address,
            line.failed ? 0 : (int)line.len, (const char *)line.data, shed->last);
    return true;
}

static void on_timer(struct bnd_timer *timer) {
    struct bnd_http_server *server = timer->data;
    if (tell(server)) {
        bnd_timer_start(server->env, timer, SHED_EVERY_NS);
    } else {
        server->shed.quiet = true;
    }
}

void http_shed_note(struct bnd_http_server *server, enum http_shed_kind kind, const char *peer) {
    struct http_shed *shed = &server->shed;
    shed->counts[kind]++;
    (void)snprintf(shed->last, sizeof shed->last, "%s", peer);
    if (shed->quiet) {
        shed->quiet = false;
        (void)tell(server);
        bnd_timer_start(server->env, &shed->timer, SHED_EVERY_NS);
    }
}

void http_shed_conn(struct http_conn *conn, enum http_shed_kind kind) {
    char peer[BND_ADDRESS_MAX];
    bnd_conn_peer(conn->net, peer);
    http_shed_note(conn->server, kind, peer);
}

void http_shed_open(struct bnd_http_server *server) {
    server->shed.timer = (struct bnd_timer){.cb = on_timer, .data = server};
    server->shed.quiet = true;
    server->env->ops->listener_address(server->env, server->listener, server->shed.address);
}

void http_shed_close(struct bnd_http_server *server) {
    (void)tell(server);
    bnd_timer_stop(server->env, &server->shed.timer);
}
