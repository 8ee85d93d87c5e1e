/* The server: listening, the hook, time-outs, the end.
 *
 * Time-outs cost no timer per connection: all that wait for the same thing wait equally long, so
 * each kind has one list in the order of its beginning, and one timer of the server looks at the
 * fronts.
 *
 * Invariants: (1) a connection is in at most one list of waits[] for its input and in
 * waits[WRITE] while a queued write is under way; (2) while a connection is in `dirty`, the wake
 * task is deferred or the hook is running, so the loop does not sleep over it; (3) the server goes
 * after its last connection and request, from the wake task. */
#include "base/alloc.h"
#include "gateway/http/server_private.h"

#define NS_PER_S UINT64_C(1000000000)
#define HOOK_ROUNDS 4
#define BACKLOG 1024

/* ---- time-outs
 * ---------------------------------------------------------------------------------- */

static uint64_t timeout_of(const struct bnd_http_server *server, enum http_wait wait) {
    const struct bnd_http_limits *l = &server->limits;
    switch (wait) {
    case HTTP_WAIT_IDLE:
        return l->idle_timeout_ns;
    case HTTP_WAIT_HEAD:
        return l->head_timeout_ns;
    case HTTP_WAIT_BODY:
        return l->body_timeout_ns;
    case HTTP_WAIT_LINGER:
        return l->linger_timeout_ns;
    case HTTP_WAIT_WRITE:
        return l->write_timeout_ns;
    case HTTP_WAIT_NONE:
    case HTTP_WAITS:
        break;
    }
    return UINT64_MAX;
}

/* Bytes the client has taken. */
static uint64_t taken_by(const struct http_conn *conn) {
    return conn->bytes_sent - bnd_conn_queued(conn->net);
}

static void waiter_begin(struct http_waiter *waiter, enum http_wait kind) {
    struct http_conn *conn = waiter->conn;
    struct bnd_http_server *server = conn->server;
    if (bnd_link_linked(&waiter->link)) {
        bnd_link_remove(&waiter->link);
    }
    waiter->mark_ns = bnd_now_ns(server->env);
    waiter->mark_bytes = kind == HTTP_WAIT_WRITE ? taken_by(conn) : conn->bytes_in;
    bnd_list_push(&server->waits[kind], &waiter->link);
    if (!server->ticking) {
        server->ticking = true;
        bnd_timer_start(server->env, &server->tick, server->tick_ns);
    }
}

void http_wait_set(struct http_conn *conn, enum http_wait state) {
    bool again = state == HTTP_WAIT_IDLE && conn->active;
    if (state == conn->in_state && !again) {
        return;
    }
    conn->in_state = state;
    if (state == HTTP_WAIT_IDLE) {
        conn->active = false;
    }
    if (state != HTTP_WAIT_NONE) {
        waiter_begin(&conn->in_wait, state);
    } else if (bnd_link_linked(&conn->in_wait.link)) {
        bnd_link_remove(&conn->in_wait.link);
    }
}

void http_wait_out(struct http_conn *conn, bool waiting) {
    if (waiting == bnd_link_linked(&conn->out_wait.link)) {
        return;
    }
    if (waiting) {
        waiter_begin(&conn->out_wait, HTTP_WAIT_WRITE);
    } else {
        bnd_link_remove(&conn->out_wait.link);
    }
}

static void expired(struct http_waiter *waiter, enum http_wait kind) {
    struct http_conn *conn = waiter->conn;
    struct bnd_http_counters *counters = &conn->server->counters;
    size_t least = conn->server->limits.stall_bytes_min;
    switch (kind) {
    case HTTP_WAIT_IDLE:
        counters->timeouts_idle++;
        http_conn_cut(conn, BND_TIMEOUT);
        return;
    case HTTP_WAIT_HEAD:
        counters->timeouts_head++;
        counters->refused_heads++;
        http_shed_conn(conn, HTTP_SHED_HEAD);
        http_conn_refuse(conn, 408, "the head took too long");
        return;
    case HTTP_WAIT_BODY:
        if (conn->bytes_in - waiter->mark_bytes >= least) {
            waiter_begin(waiter, kind);
            return;
        }
        counters->timeouts_body++;
        http_shed_conn(conn, HTTP_SHED_BODY);
        http_conn_cut_saying(conn, BND_TIMEOUT, 408, "the body took too long");
        return;
    case HTTP_WAIT_WRITE:
        if (taken_by(conn) - waiter->mark_bytes >= least) {
            waiter_begin(waiter, kind);
            return;
        }
        counters->timeouts_write++;
        http_shed_conn(conn, HTTP_SHED_WRITE);
        http_conn_cut(conn, BND_TIMEOUT);
        return;
    case HTTP_WAIT_LINGER:
        http_conn_cut(conn, BND_CLOSED);
        return;
    case HTTP_WAIT_NONE:
    case HTTP_WAITS:
        break;
    }
    BND_UNREACHABLE("a list of this kind has no waiters");
}

static void on_tick(struct bnd_timer *timer) {
    struct bnd_http_server *server = timer->data;
    uint64_t now = bnd_now_ns(server->env);
    bool any = false;
    for (unsigned kind = HTTP_WAIT_NONE + 1; kind < HTTP_WAITS; kind++) {
        uint64_t timeout = timeout_of(server, (enum http_wait)kind);
        struct bnd_link *list = &server->waits[kind];
        while (!bnd_list_empty(list)) {
            struct http_waiter *waiter = BND_CONTAINER(list->next, struct http_waiter, link);
            if (now - waiter->mark_ns < timeout) {
                break;
            }
            expired(waiter, (enum http_wait)kind);
        }
        any = any || !bnd_list_empty(list);
    }
    server->ticking = any;
    if (any) {
        bnd_timer_start(server->env, &server->tick, server->tick_ns);
    }
}

/* ---- passes
 * ------------------------------------------------------------------------------------- */

void http_server_wake(struct bnd_http_server *server) {
    if (!server->wake_pending && !server->in_hook) {
        server->wake_pending = true;
        bnd_defer(server->env, &server->wake);
    }
}

static void refuse_orphans(struct bnd_http_server *server) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&server->orphans)) != NULL) {
        struct http_request *r = BND_CONTAINER(link, struct http_request, link);
        struct bnd_http_read *read = r->read;
        r->read = NULL;
        if (read != NULL) { /* the request may have been ended since */
            read->cb(read, BND_CLOSED, NULL);
        }
    }
}

static void on_hook(struct bnd_hook *hook) {
    struct bnd_http_server *server = hook->data;
    server->in_hook = true;
    for (unsigned round = 0; round < HOOK_ROUNDS && !bnd_list_empty(&server->dirty); round++) {
        struct bnd_link *last = server->dirty.prev;
        struct bnd_link *link = NULL;
        do {
            link = bnd_list_pop(&server->dirty);
            http_conn_service(BND_CONTAINER(link, struct http_conn, dirty));
        } while (link != last && !bnd_list_empty(&server->dirty));
    }
    refuse_orphans(server);
    server->in_hook = false;
    if (!bnd_list_empty(&server->dirty) || !bnd_list_empty(&server->orphans)) {
        http_server_wake(server);
    }
}

/* ---- the end
 * ------------------------------------------------------------------------------------ */

static bool is_gone(const struct bnd_http_server *server) {
    return server->closing && bnd_list_empty(&server->conns) && server->requests_live == 0;
}

void http_server_maybe_gone(struct bnd_http_server *server) {
    if (is_gone(server) && !server->wake_pending) {
        server->wake_pending = true; /* also from the hook */
        bnd_defer(server->env, &server->wake);
    }
}

static void server_free(struct bnd_http_server *server) {
    http_addresses_free(&server->addresses);
    http_pool_free(&server->pool);
    bnd_free(server);
}

/* Its being deferred keeps the loop from sleeping; the work is the hook's. */
static void on_wake(struct bnd_task *task) {
    struct bnd_http_server *server = task->data;
    server->wake_pending = false;
    if (!is_gone(server)) {
        return;
    }
    bnd_timer_stop(server->env, &server->tick);
    bnd_timer_stop(server->env, &server->grace);
    http_shed_close(server);
    server->env->ops->hook_remove(server->env, &server->hook);
    void (*on_closed)(void *) = server->on_closed;
    void *data = server->on_closed_data;
    server_free(server);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

static void cut_all(struct bnd_timer *timer) {
    struct bnd_http_server *server = timer->data;
    for (struct bnd_link *l = server->conns.next; l != &server->conns; l = l->next) {
        http_conn_cut(BND_CONTAINER(l, struct http_conn, all), BND_CANCELED);
    }
}

void bnd_http_server_close(struct bnd_http_server *server, uint64_t grace_ns,
                           void (*on_closed)(void *data), void *data) {
    BND_ASSERT(!server->closing);
    server->closing = true;
    server->on_closed = on_closed;
    server->on_closed_data = data;
    server->env->ops->listener_close(server->env, server->listener);
    server->listener = NULL;
    for (struct bnd_link *l = server->conns.next; l != &server->conns; l = l->next) {
        http_conn_touch(BND_CONTAINER(l, struct http_conn, all)); /* idle ones end there */
    }
    bnd_timer_start(server->env, &server->grace, grace_ns);
    http_server_maybe_gone(server);
}

/* ---- the beginning
 * ------------------------------------------------------------------------------ */

static void size_default(size_t *value, size_t otherwise) {
    *value = *value == 0 ? otherwise : *value;
}

static void ns_default(uint64_t *value, uint64_t otherwise_ms) {
    *value = *value == 0 ? otherwise_ms * BND_MS : *value;
}

static int limits_fill(struct bnd_http_limits *l, struct bnd_error *err) {
    size_default(&l->head_bytes_max, BND_HTTP_HEAD_BYTES_MAX);
    size_default(&l->headers_max, BND_HTTP_HEADERS_MAX);
    size_default(&l->connections_max, 16384);
    size_default(&l->connections_per_address_max, 4096);
    size_default(&l->requests_max, 8192);
    size_default(&l->body_window_bytes, 256u << 10);
    size_default(&l->drain_bytes_max, 256u << 10);
    size_default(&l->buffer_bytes_max, 256u << 20);
    size_default(&l->stall_bytes_min, 1024);
    l->pipeline_max = l->pipeline_max == 0 ? 64 : l->pipeline_max;
    l->body_bytes_max = l->body_bytes_max == 0 ? UINT64_MAX : l->body_bytes_max;
    ns_default(&l->head_timeout_ns, 30000);
    ns_default(&l->body_timeout_ns, 30000);
    ns_default(&l->write_timeout_ns, 60000);
    ns_default(&l->idle_timeout_ns, 900000);
    ns_default(&l->linger_timeout_ns, 5000);
    if (l->head_bytes_max > BND_HTTP_HEAD_BYTES_MAX || l->headers_max > BND_HTTP_HEADERS_MAX ||
        l->body_window_bytes < BND_HTTP_CHUNK_BYTES || l->pipeline_max > 64) {
        return BND_FAIL(err, INVALID,
                        "http limits: head %zu of at most %u bytes, %zu of at most %u headers, "
                        "window %zu of at least %u bytes, pipeline %u of at most 64",
                        l->head_bytes_max, BND_HTTP_HEAD_BYTES_MAX, l->headers_max,
                        BND_HTTP_HEADERS_MAX, l->body_window_bytes, BND_HTTP_CHUNK_BYTES,
                        l->pipeline_max);
    }
    return 0;
}

/* An eighth of the shortest time-out: lateness nobody notices. */
static uint64_t tick_of(const struct bnd_http_server *server) {
    uint64_t tick = NS_PER_S;
    for (unsigned kind = HTTP_WAIT_NONE + 1; kind < HTTP_WAITS; kind++) {
        uint64_t eighth = timeout_of(server, (enum http_wait)kind) / 8;
        tick = eighth < tick ? eighth : tick;
    }
    return tick < BND_MS ? BND_MS : tick;
}

static void on_accept(void *data, struct bnd_stream *stream) {
    http_conn_accept(data, stream);
}

int bnd_http_server_create(const struct bnd_http_options *options, struct bnd_http_server **out,
                           struct bnd_error *err) {
    struct bnd_http_limits limits = options->limits;
    int rc = limits_fill(&limits, err);
    if (rc != 0) {
        return rc;
    }
    BND_ASSERT(options->operations_count <= BND_HTTP_OPERATIONS_MAX);
    struct bnd_http_server *server = bnd_zalloc(sizeof *server);
    if (server == NULL) {
        return BND_FAIL(err, NOMEM, "http server: out of memory");
    }
    server->env = options->env;
    server->limits = limits;
    server->handler = options->handler;
    server->owner = options->owner;
    server->tls = options->tls;
    server->operations = options->operations;
    server->operations_count = options->operations_count;
    bnd_list_init(&server->conns);
    bnd_list_init(&server->dirty);
    bnd_list_init(&server->orphans);
    for (unsigned kind = 0; kind < HTTP_WAITS; kind++) {
        bnd_list_init(&server->waits[kind]);
    }
    server->tick_ns = tick_of(server);
    server->hook = (struct bnd_hook){.cb = on_hook, .data = server};
    server->wake = (struct bnd_task){.cb = on_wake, .data = server};
    server->tick = (struct bnd_timer){.cb = on_tick, .data = server};
    server->grace = (struct bnd_timer){.cb = cut_all, .data = server};
    rc = server->env->ops->listen(server->env, options->address, BACKLOG, on_accept, server,
                                  &server->listener, err);
    if (rc != 0) {
        server_free(server);
        return rc;
    }
    server->addresses.seed = bnd_random(server->env);
    http_shed_open(server);
    server->env->ops->hook_add(server->env, &server->hook);
    *out = server;
    return 0;
}

void bnd_http_server_address(struct bnd_http_server *server, char out[BND_ADDRESS_MAX]) {
    server->env->ops->listener_address(server->env, server->listener, out);
}

void bnd_http_server_set_tls(struct bnd_http_server *server, struct bnd_tls_context *tls) {
    BND_ASSERT(server->tls != NULL && tls != NULL);
    server->tls = tls;
}

void bnd_http_server_counters(const struct bnd_http_server *server, struct bnd_http_counters *out) {
    *out = server->counters;
    out->buffer_bytes = server->pool.used_bytes;
    out->pool_bytes = server->pool.free_bytes;
}

const struct bnd_histogram *bnd_http_server_operation(const struct bnd_http_server *server,
                                                      size_t operation, const char **out_name) {
    *out_name = operation < server->operations_count ? server->operations[operation] : NULL;
    return operation < server->operations_count ? &server->durations[operation] : NULL;
}
