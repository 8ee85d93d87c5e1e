/* Connections: events from the network, the work at the end of a pass, and the end.
 *
 *   open -> (requests) -> closing -> shut (our side ended, input dropped) -> dead -> gone
 *
 * Invariants: (1) `dead` is set with the call of bnd_conn_close, and from then on nothing is read
 * or written; the requests are told in on_closed, when no queued write points anywhere any more;
 * (2) requests leave conn->requests in order: the first one's output goes straight to conn->out.
 *
 * Failure modes: whatever breaks a connection (client, time-out, memory) cuts that one only. */
#include "base/alloc.h"
#include "gateway/http/server_private.h"

#include <stdio.h>

/* A head that has taken less is not slow, even when there is no room for more connections. */
#define HEAD_GRACE_NS (1000 * BND_MS)

static struct http_request *first_of(const struct http_conn *conn) {
    return bnd_list_empty(&conn->requests)
               ? NULL
               : BND_CONTAINER(conn->requests.next, struct http_request, link);
}

void http_conn_touch(struct http_conn *conn) {
    if (!conn->dead && !bnd_link_linked(&conn->dirty)) {
        bnd_list_push(&conn->server->dirty, &conn->dirty);
        http_server_wake(conn->server);
    }
}

/* ---- the end
 * ------------------------------------------------------------------------------------ */

/* Tells the handler of one request that its client is gone. */
static void request_lost(struct http_request *r, int status) {
    struct bnd_http_server *server = r->pub.server;
    r->holds++;
    http_out_answer_all(server, &r->out, BND_CLOSED);
    if (r->answer != HTTP_ENDED && r->read != NULL) {
        struct bnd_http_read *read = r->read;
        r->read = NULL;
        read->cb(read, status, NULL);
    }
    http_body_drop(r);
    if (r->answer != HTTP_ENDED) {
        server->counters.aborted++;
        if (server->handler->on_abort != NULL) {
            server->handler->on_abort(server->owner, &r->pub);
        }
    }
    r->holds--;
    http_request_maybe_free(r);
}

static void on_closed(void *data) {
    struct http_conn *conn = data;
    struct bnd_http_server *server = conn->server;
    BND_ASSERT(conn->flight == NULL);
    struct bnd_link lost;
    bnd_list_init(&lost);
    struct http_request *r = NULL;
    while ((r = first_of(conn)) != NULL) {
        bnd_link_remove(&r->link);
        bnd_list_push(&lost, &r->link);
        r->conn = NULL;
        r->holds++; /* nothing below may free what is still in the list */
    }
    http_out_answer_all(server, &conn->out, BND_CLOSED);
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&lost)) != NULL) {
        r = BND_CONTAINER(link, struct http_request, link);
        r->holds--;
        request_lost(r, conn->dead_status);
    }
    http_block_put(&server->pool, conn->in);
    http_addresses_leave(&server->addresses, conn->address);
    bnd_link_remove(&conn->all);
    bnd_free(conn);
    server->counters.connections--;
    http_server_maybe_gone(server);
}

void http_conn_cut(struct http_conn *conn, int status) {
    if (conn->dead) {
        return;
    }
    conn->dead = true;
    conn->dead_status = status;
    http_wait_set(conn, HTTP_WAIT_NONE);
    http_wait_out(conn, false);
    if (bnd_link_linked(&conn->dirty)) {
        bnd_link_remove(&conn->dirty);
    }
    for (struct bnd_link *l = conn->requests.next; l != &conn->requests; l = l->next) {
        struct http_request *r = BND_CONTAINER(l, struct http_request, link);
        r->pub.aborted = r->answer != HTTP_ENDED;
    }
    bnd_conn_close(conn->net, on_closed, conn);
}

void http_conn_cut_saying(struct http_conn *conn, int status, unsigned http_status,
                          const char *why) {
    struct http_request *r = first_of(conn);
    if (!conn->dead && r != NULL && r == conn->rx_request && r->answer == HTTP_WAITING &&
        bnd_list_empty(&conn->out) && conn->flight == NULL) {
        char text[256];
        int n = snprintf(text, sizeof text,
                         "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                         "Content-Length: %zu\r\n\r\n%s\n",
                         http_status, bnd_http_reason(http_status), strlen(why) + 1, why);
        BND_ASSERT(n > 0 && (size_t)n < sizeof text);
        struct bnd_iov iov = {text, (size_t)n};
        /* What does not go at once is not said: the cut says enough. */
        (void)bnd_conn_try_write(conn->net, &iov, 1);
        conn->server->counters.responses[http_status / 100]++;
    }
    http_conn_cut(conn, status);
}

void http_conn_refuse(struct http_conn *conn, unsigned http_status, const char *why) {
    conn->last = true;
    conn->rx = HTTP_RX_NONE;
    conn->stalled = false;
    http_wait_set(conn, HTTP_WAIT_NONE);
    struct bnd_http_head head = {.version_minor = 1};
    struct http_request *r = http_request_create(conn, &head, bnd_slice(NULL, 0));
    if (r == NULL) {
        http_conn_cut(conn, BND_NOMEM);
        return;
    }
    r->internal = true;
    char text[128];
    int n = snprintf(text, sizeof text, "%s\n", why);
    BND_ASSERT(n > 0 && (size_t)n < sizeof text);
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("Content-Type"), bnd_slice_str("text/plain")},
        {bnd_slice_str("Retry-After"), bnd_slice_str("1")},
    };
    const struct bnd_http_response response = {.status = http_status,
                                               .headers = headers,
                                               .header_count = http_status == 503 ? 2 : 1,
                                               .body = bnd_slice(text, (size_t)n),
                                               .close = true};
    int rc = bnd_http_respond(&r->pub, &response);
    BND_ASSERT(rc == 0); /* constants */
}

/* ---- the work at the end of a pass
 * -------------------------------------------------------------- */

/* Lets go of answered requests, in order, and lets the next one's output leave. */
static void retire(struct http_conn *conn) {
    struct http_request *r = NULL;
    while (!conn->dead && !conn->closing && (r = first_of(conn)) != NULL) {
        http_out_splice(r);
        if (r->answer != HTTP_ENDED) {
            return;
        }
        conn->closing = r->close_after;
        if (conn->closing) {
            conn->rx = HTTP_RX_NONE;
        }
        if (conn->rx_request == r) {
            conn->rx_request = NULL; /* the rest of its body is dropped */
        }
        http_body_drop(r);
        bnd_link_remove(&r->link);
        conn->request_count--;
        conn->active = true;
        r->conn = NULL;
        http_request_maybe_free(r);
    }
}

static void deliver_reads(struct http_conn *conn) {
    struct bnd_link *next = NULL;
    for (struct bnd_link *l = conn->requests.next; l != &conn->requests && !conn->dead; l = next) {
        next = l->next; /* requests are only retired by this connection's own service */
        http_body_deliver(BND_CONTAINER(l, struct http_request, link));
    }
}

static void update_reading(struct http_conn *conn) {
    bool want = http_input_wants(conn);
    if (!conn->dead && want != conn->reading) {
        conn->reading = want;
        bnd_conn_read(conn->net, want);
    }
}

static enum http_wait wait_of(const struct http_conn *conn) {
    if (conn->shut) {
        return HTTP_WAIT_LINGER;
    }
    switch (conn->rx) {
    case HTTP_RX_HEAD:
        if (conn->in != NULL) {
            return conn->stalled ? HTTP_WAIT_NONE : HTTP_WAIT_HEAD;
        }
        return bnd_list_empty(&conn->requests) && bnd_list_empty(&conn->out) ? HTTP_WAIT_IDLE
                                                                             : HTTP_WAIT_NONE;
    case HTTP_RX_BODY: {
        bool wanted = conn->rx_request == NULL || conn->rx_request->read != NULL;
        return wanted && conn->reading ? HTTP_WAIT_BODY : HTTP_WAIT_NONE;
    }
    case HTTP_RX_NONE:
        break;
    }
    return HTTP_WAIT_NONE;
}

/* Ends our side once all answers are out. */
static void finish(struct http_conn *conn) {
    bool nothing_follows = bnd_list_empty(&conn->requests) && !conn->stalled &&
                           (conn->eof || conn->last || (conn->server->closing && conn->in == NULL));
    if (conn->rx != HTTP_RX_BODY && nothing_follows) {
        conn->closing = true;
        conn->rx = HTTP_RX_NONE;
    }
    if (!conn->closing || !bnd_list_empty(&conn->out) || conn->flight != NULL) {
        return;
    }
    if (conn->eof || conn->server->closing) {
        http_conn_cut(conn, BND_CLOSED);
    } else if (!conn->shut) {
        conn->shut = true;
        bnd_conn_shutdown(conn->net);
    }
}

void http_conn_service(struct http_conn *conn) {
    deliver_reads(conn);
    retire(conn);
    http_out_flush(conn);
    if (conn->stalled && !conn->dead && conn->rx == HTTP_RX_HEAD) {
        http_input(conn, bnd_slice(NULL, 0));
    }
    if (conn->dead) {
        return;
    }
    finish(conn);
    if (!conn->dead) {
        update_reading(conn);
        http_wait_set(conn, wait_of(conn));
        http_wait_out(conn, conn->flight != NULL);
    }
}

/* ---- events
 * ------------------------------------------------------------------------------------- */

static void on_read(void *owner, const uint8_t *data, size_t len) {
    struct http_conn *conn = owner;
    conn->bytes_in += len;
    conn->server->counters.bytes_in += len;
    conn->active = true;
    http_input(conn, bnd_slice(data, len));
    if (conn->dead) {
        return;
    }
    update_reading(conn); /* more could come in this very pass */
    http_conn_touch(conn);
}

static void on_end(void *owner, int status) {
    struct http_conn *conn = owner;
    if (status != 0 || (conn->rx == HTTP_RX_BODY && conn->rx_request != NULL)) {
        http_conn_cut(conn, BND_CLOSED);
        return;
    }
    /* The client may have ended only its own side: what it asked for is still answered. */
    conn->eof = true;
    if (conn->rx == HTTP_RX_BODY) {
        conn->rx = HTTP_RX_NONE;
    }
    http_conn_touch(conn);
}

static const struct bnd_conn_events events = {.on_read = on_read, .on_end = on_end};

static struct http_conn *conn_create(struct bnd_http_server *server, struct bnd_stream *stream,
                                     uint64_t address) {
    struct http_conn *conn = bnd_zalloc(sizeof *conn);
    if (conn == NULL) {
        return NULL;
    }
    const struct bnd_conn_options options = {
        .env = server->env, .stream = stream, .tls = server->tls};
    if (bnd_conn_create(&options, &conn->net) != 0) {
        bnd_free(conn);
        return NULL;
    }
    conn->server = server;
    conn->address = address;
    conn->in_wait.conn = conn;
    conn->out_wait.conn = conn;
    bnd_list_init(&conn->requests);
    bnd_list_init(&conn->out);
    bnd_list_push(&server->conns, &conn->all);
    server->counters.connections++;
    bnd_conn_bind(conn->net, &events, conn);
    return conn;
}

/* At the bound: the connection that has been idle longest goes, else the one whose head takes
 * longest. False: all are at work. */
static bool make_room(struct bnd_http_server *server) {
    struct bnd_link *idle = &server->waits[HTTP_WAIT_IDLE];
    struct bnd_link *slow = &server->waits[HTTP_WAIT_HEAD];
    if (!bnd_list_empty(idle)) {
        http_conn_cut(BND_CONTAINER(idle->next, struct http_waiter, link)->conn, BND_CLOSED);
        return true;
    }
    if (bnd_list_empty(slow)) {
        return false;
    }
    struct http_waiter *waiter = BND_CONTAINER(slow->next, struct http_waiter, link);
    if (bnd_now_ns(server->env) - waiter->mark_ns < HEAD_GRACE_NS) {
        return false;
    }
    server->counters.timeouts_head++;
    http_shed_conn(waiter->conn, HTTP_SHED_HEAD);
    http_conn_cut(waiter->conn, BND_TIMEOUT);
    return true;
}

static void turn_away(struct bnd_http_server *server, struct bnd_stream *stream,
                      enum http_shed_kind kind, const char *peer) {
    server->counters.connections_refused += kind == HTTP_SHED_BOUND;
    server->counters.connections_refused_address += kind == HTTP_SHED_ADDRESS;
    http_shed_note(server, kind, peer);
    server->env->ops->stream_close(server->env, stream, NULL, NULL);
}

void http_conn_accept(struct bnd_http_server *server, struct bnd_stream *stream) {
    char peer[BND_ADDRESS_MAX];
    server->env->ops->stream_peer(server->env, stream, peer);
    uint64_t address = http_address_key(peer);
    server->counters.connections_accepted++;
    if (server->counters.connections >= server->limits.connections_max && !make_room(server)) {
        turn_away(server, stream, HTTP_SHED_BOUND, peer);
        return;
    }
    if (!http_addresses_enter(&server->addresses, address,
                              server->limits.connections_per_address_max)) {
        turn_away(server, stream, HTTP_SHED_ADDRESS, peer);
        return;
    }
    struct http_conn *conn = conn_create(server, stream, address);
    if (conn == NULL) {
        http_addresses_leave(&server->addresses, address);
        turn_away(server, stream, HTTP_SHED_BOUND, peer);
        return;
    }
    http_conn_touch(conn); /* reading and the idle time-out begin at the end of the pass */
}
