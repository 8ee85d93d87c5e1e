/* Joining: a stranger's one request over TLS without a client certificate, and the caller's side of
 * it.
 *
 * Invariants: (1) at most MESH_JOINS_MAX strangers are served at once, each for
 * BND_MESH_JOIN_TIMEOUT_NS; (2) one request and one reply per connection, bounded by
 * BND_FRAME_JOIN_*_MAX; (3) link->join and join->link point at each other or are NULL, so that
 * either may go first.
 *
 * Failure modes: whatever goes wrong on the serving side ends the connection; the caller sees
 * BND_CLOSED and may ask again (the token belongs to its key). */
#include "net/mesh_private.h"

#include "base/alloc.h"

#include <stdio.h>

/* ---- serving
 * -------------------------------------------------------------------------------------------- */

struct bnd_join_request {
    struct link *link; /* NULL: the stranger is gone */
};

void join_begin(struct link *link) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    if (tcp->joins >= MESH_JOINS_MAX) {
        mesh_link_lost(link, "too many join at once");
        return;
    }
    link_identified(link);
    tcp->joins++;
    link->state = LINK_JOINING;
    bnd_timer_start(tcp->env, &link->timer, BND_MESH_JOIN_TIMEOUT_NS);
}

static void join_serve(struct link *link, struct bnd_slice payload) {
    struct bnd_mesh_tcp *tcp = link->tcp;
    struct bnd_join_request *request = bnd_zalloc(sizeof *request);
    if (request == NULL) {
        mesh_link_lost(link, "out of memory");
        return;
    }
    request->link = link;
    link->join = request;
    bnd_conn_read(link->conn, false);
    tcp->on_join(tcp->join_owner, request, payload);
}

void join_read(struct link *link, struct bnd_slice data) {
    int status = 0;
    uint32_t length = 0;
    bnd_buf_append_slice(&link->opening, data);
    if (link->opening.failed) {
        mesh_link_lost(link, "out of memory");
        return;
    }
    if (link->opening.len < BND_FRAME_JOIN_HEAD_BYTES) {
        return;
    }
    if (bnd_join_head_decode(link->opening.data, BND_FRAME_JOIN_REQUEST_MAX, &status, &length) !=
            0 ||
        link->opening.len > BND_FRAME_JOIN_HEAD_BYTES + (size_t)length) {
        mesh_link_lost(link, "not a join request");
        return;
    }
    if (link->opening.len == BND_FRAME_JOIN_HEAD_BYTES + (size_t)length) {
        join_serve(link, bnd_slice(link->opening.data + BND_FRAME_JOIN_HEAD_BYTES, length));
    }
}

void join_forget(struct link *link) {
    if (link->state == LINK_JOINING) {
        link->tcp->joins--;
    }
    if (link->join != NULL) {
        link->join->link = NULL;
        link->join = NULL;
    }
}

static void reply_done(struct bnd_write *write, int status) {
    struct link *link = write->data;
    link->flying = false;
    if (link->state != LINK_DEAD) {
        bnd_conn_shutdown(
            link->conn); /* the caller closes; the timer bounds how long it may take */
        bnd_conn_read(link->conn, true);
    }
}

void bnd_mesh_join_peer(const struct bnd_join_request *request, char out[BND_ADDRESS_MAX]) {
    if (request->link != NULL) {
        bnd_conn_peer(request->link->conn, out);
    } else {
        (void)snprintf(out, BND_ADDRESS_MAX, "-");
    }
}

void bnd_mesh_join_reply(struct bnd_join_request *request, int status, struct bnd_slice reply) {
    struct link *link = request->link;
    BND_ASSERT(reply.len <= BND_FRAME_JOIN_REPLY_MAX);
    bnd_free(request);
    if (link == NULL) {
        return;
    }
    link->join = NULL;
    uint8_t head[BND_FRAME_JOIN_HEAD_BYTES];
    bnd_join_head_encode(status, (uint32_t)reply.len, head);
    bnd_buf_append(&link->flight, head, sizeof head);
    bnd_buf_append_slice(&link->flight, reply);
    struct bnd_iov iov = {link->flight.data, link->flight.len};
    link->write = (struct bnd_write){.cb = reply_done, .data = link};
    link->flying = !link->flight.failed;
    int rv = link->flight.failed ? BND_NOMEM : bnd_conn_write(link->conn, &link->write, &iov, 1);
    if (rv != 0) {
        link->flying = false;
        link_kill(link);
    }
}

/* ---- calling
 * -------------------------------------------------------------------------------------------- */

struct bnd_join_call {
    struct bnd_env *env;
    struct bnd_tls_context *tls;
    struct bnd_connect connect;
    struct bnd_conn *conn;
    struct bnd_timer timer;
    struct bnd_write write;
    struct bnd_buf request;
    struct bnd_buf reply;
    bool connecting;
    bool over; /* answered or canceled: only the last callbacks come */
    bnd_mesh_join_done_cb cb;
    void *data;
};

static void call_free(void *data) {
    struct bnd_join_call *call = data;
    bnd_tls_context_destroy(call->tls);
    bnd_buf_free(&call->request);
    bnd_buf_free(&call->reply);
    bnd_free(call);
}

/* Nothing is told after it; memory goes with the last callback of connect or connection. */
static void call_end(struct bnd_join_call *call) {
    call->over = true;
    bnd_timer_stop(call->env, &call->timer);
    if (call->conn != NULL) {
        bnd_conn_close(call->conn, call_free, call);
    } else if (!call->connecting) {
        call_free(call);
    }
}

static void call_answer(struct bnd_join_call *call, int status, struct bnd_slice reply,
                        const char *failure) {
    char text[BND_ERROR_MESSAGE_MAX];
    bnd_mesh_join_done_cb cb = call->cb;
    (void)snprintf(text, sizeof text, "%s", failure);
    call->over = true; /* a cancel from inside cb has nothing left to do */
    cb(call->data, status, reply, text);
    call_end(call);
}

static void call_late(struct bnd_timer *timer) {
    call_answer(timer->data, BND_TIMEOUT, bnd_slice(NULL, 0), "no answer in time");
}

static void call_written(struct bnd_write *write, int status) {
    /* A failed write ends the connection too, and that is told. */
}

static void call_open(void *owner) {
    struct bnd_join_call *call = owner;
    struct bnd_iov iov = {call->request.data, call->request.len};
    call->write = (struct bnd_write){.cb = call_written, .data = call};
    int rv = bnd_conn_write(call->conn, &call->write, &iov, 1);
    if (rv != 0) {
        call_answer(call, rv, bnd_slice(NULL, 0), "the request could not be sent");
    }
}

static void call_read(void *owner, const uint8_t *data, size_t len) {
    struct bnd_join_call *call = owner;
    int status = 0;
    uint32_t length = 0;
    bnd_buf_append(&call->reply, data, len);
    if (call->reply.failed) {
        call_answer(call, BND_NOMEM, bnd_slice(NULL, 0), "out of memory");
        return;
    }
    if (call->reply.len < BND_FRAME_JOIN_HEAD_BYTES) {
        return;
    }
    int rv = bnd_join_head_decode(call->reply.data, BND_FRAME_JOIN_REPLY_MAX, &status, &length);
    size_t whole = BND_FRAME_JOIN_HEAD_BYTES + (size_t)length;
    if (rv != 0 || call->reply.len > whole) {
        call_answer(call, rv == 0 ? BND_CORRUPT : rv, bnd_slice(NULL, 0),
                    "the answer is not one to a join request");
    } else if (call->reply.len == whole) {
        call_answer(call, status, bnd_slice(call->reply.data + BND_FRAME_JOIN_HEAD_BYTES, length),
                    "");
    }
}

static void call_ended(void *owner, int status) {
    struct bnd_join_call *call = owner;
    call_answer(call, status == 0 ? BND_CLOSED : status, bnd_slice(NULL, 0),
                bnd_conn_failure(call->conn));
}

static const struct bnd_conn_events call_events = {
    .on_open = call_open, .on_read = call_read, .on_end = call_ended};

static void call_connected(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct bnd_join_call *call = connect->data;
    call->connecting = false;
    if (call->over) {
        if (status == 0) {
            call->env->ops->stream_close(call->env, stream, NULL, NULL);
        }
        call_free(call);
        return;
    }
    if (status == 0) {
        struct bnd_conn_options options = {.env = call->env, .stream = stream, .tls = call->tls};
        status = bnd_conn_create(&options, &call->conn);
        if (status != 0) {
            call->env->ops->stream_close(call->env, stream, NULL, NULL);
        }
    }
    if (status != 0) {
        call_answer(call, status, bnd_slice(NULL, 0), "the address does not answer");
        return;
    }
    bnd_conn_bind(call->conn, &call_events, call);
    bnd_conn_read(call->conn, true);
}

static int call_init(struct bnd_join_call *call, const struct bnd_join_call_options *options,
                     struct bnd_error *err) {
    uint8_t head[BND_FRAME_JOIN_HEAD_BYTES];
    struct bnd_tls_config tls = {
        .role = BND_TLS_CLIENT,
        .verify = BND_TLS_VERIFY_PINNED,
        .ca_fingerprint = options->ca_fingerprint,
        .tls13_only = true,
    };
    call->env = options->env;
    call->cb = options->cb;
    call->data = options->data;
    call->timer = (struct bnd_timer){.cb = call_late, .data = call};
    call->connect = (struct bnd_connect){.cb = call_connected, .data = call};
    bnd_join_head_encode(0, (uint32_t)options->request.len, head);
    bnd_buf_append(&call->request, head, sizeof head);
    bnd_buf_append_slice(&call->request, options->request);
    if (call->request.failed) {
        return BND_FAIL(err, NOMEM, "join request");
    }
    int rv = bnd_tls_context_create(&tls, &call->tls, err);
    return rv == 0 ? call->env->ops->connect(call->env, options->address, &call->connect, err) : rv;
}

int bnd_mesh_join_call(const struct bnd_join_call_options *options, struct bnd_join_call **out,
                       struct bnd_error *err) {
    if (options->request.len > BND_FRAME_JOIN_REQUEST_MAX) {
        return BND_FAIL(err, TOOBIG, "join request of %zu bytes", options->request.len);
    }
    struct bnd_join_call *call = bnd_zalloc(sizeof *call);
    if (call == NULL) {
        return BND_FAIL(err, NOMEM, "join request");
    }
    int rv = call_init(call, options, err);
    if (rv != 0) {
        call_free(call);
        return rv;
    }
    call->connecting = true;
    bnd_timer_start(call->env, &call->timer, BND_MESH_JOIN_TIMEOUT_NS);
    *out = call;
    return 0;
}

void bnd_mesh_join_cancel(struct bnd_join_call *call) {
    if (!call->over) {
        call_end(call);
    }
}
