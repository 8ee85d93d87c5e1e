/* Input: from received bytes to requests.
 *
 * Bytes are worked on where they were received; only what must wait - the beginning of a head, or
 * requests whose turn has not come - is copied into conn->in. While a whole head waits there
 * (stalled) the connection is not read, so conn->in holds at most one head and one received piece.
 */
#include "gateway/http/server_private.h"

#define OUT_BYTES_MAX ((size_t)(256u << 10)) /* unsent output above which no request is begun */

static struct http_request *last_of(const struct http_conn *conn) {
    return bnd_list_empty(&conn->requests)
               ? NULL
               : BND_CONTAINER(conn->requests.prev, struct http_request, link);
}

static bool is_safe(enum bnd_http_method method, bool has_body) {
    return !has_body &&
           (method == BND_HTTP_GET || method == BND_HTTP_HEAD || method == BND_HTTP_OPTIONS);
}

/* Promise 2 of server.h. */
static bool may_begin(const struct http_conn *conn, const struct bnd_http_head *head) {
    const struct http_request *last = last_of(conn);
    if (last == NULL) {
        return true;
    }
    return is_safe(head->method, head->chunked || head->content_length > 0) &&
           is_safe(last->head.method, last->pub.has_body);
}

static bool is_overloaded(const struct bnd_http_server *server) {
    return server->counters.requests_open >= server->limits.requests_max ||
           server->pool.used_bytes > server->limits.buffer_bytes_max;
}

static void begin_body(struct http_conn *conn, struct http_request *request) {
    conn->rx = HTTP_RX_BODY;
    conn->rx_request = request;
    conn->rx_is_chunked = request->head.chunked;
    conn->rx_left = request->head.content_length; /* 0 if chunked */
    conn->rx_chunked = (struct bnd_http_chunked){0};
    conn->drained = 0;
}

static void overloaded(struct http_conn *conn) {
    conn->server->counters.refused_overload++;
    http_shed_conn(conn, HTTP_SHED_OVERLOAD);
    http_conn_refuse(conn, 503, "the server is at a bound of its memory or requests");
}

/* One whole head. False: it has to wait. */
static bool take_head(struct http_conn *conn, struct bnd_slice bytes) {
    struct bnd_http_server *server = conn->server;
    struct bnd_http_head head = {.headers = server->scratch};
    const char *why = "";
    unsigned status = bnd_http_head_parse(bytes, server->limits.headers_max, &head, &why);
    if (status == 0 && !head.chunked && head.content_length > server->limits.body_bytes_max) {
        status = 413;
        why = "the body is larger than allowed";
    }
    if (status != 0) {
        server->counters.refused_heads++;
        http_shed_conn(conn, HTTP_SHED_BAD);
        http_conn_refuse(conn, status, why);
        return true;
    }
    if (!may_begin(conn, &head)) {
        return false;
    }
    struct http_request *request =
        is_overloaded(server) ? NULL : http_request_create(conn, &head, bytes);
    if (request == NULL) {
        overloaded(conn);
        return true;
    }
    server->counters.requests++;
    server->counters.requests_open++;
    conn->last = !head.keep_alive;
    if (request->pub.has_body) {
        begin_body(conn, request);
    } else if (conn->last) {
        conn->rx = HTTP_RX_NONE;
    }
    http_wait_set(conn, HTTP_WAIT_NONE);
    conn->active = true;
    server->handler->on_request(server->owner, &request->pub);
    return true;
}

/* A head at the front of *in, if it is whole and its turn. False: wait for bytes or for the turn.
 */
static bool take_next(struct http_conn *conn, struct bnd_slice *in) {
    if (!conn->skipped && in->len >= 2 && in->data[0] == '\r' && in->data[1] == '\n') {
        conn->skipped = true; /* RFC 9112 2.2: one empty line is forgiven */
        *in = bnd_slice(in->data + 2, in->len - 2);
        conn->scanned = 0;
        return in->len > 0;
    }
    struct bnd_http_server *server = conn->server;
    size_t max = server->limits.head_bytes_max;
    long len = bnd_http_head_scan(*in, &conn->scanned);
    if (len < 0) {
        server->counters.refused_heads++;
        http_shed_conn(conn, HTTP_SHED_BAD);
        http_conn_refuse(conn, 400, "a line of the head does not end with CR LF");
        return true;
    }
    if ((size_t)len > max || (len == 0 && in->len >= max)) {
        bool has_line = memchr(in->data, '\n', max) != NULL;
        server->counters.refused_heads++;
        http_shed_conn(conn, HTTP_SHED_BAD);
        http_conn_refuse(conn, has_line ? 431 : 414, "the head is too large");
        return true;
    }
    conn->scanned = 0;
    if (len == 0) {
        conn->scanned = in->len;
        return false;
    }
    if (conn->request_count >= server->limits.pipeline_max || conn->out_bytes >= OUT_BYTES_MAX ||
        !take_head(conn, bnd_slice(in->data, (size_t)len))) {
        conn->stalled = true;
        return false;
    }
    conn->skipped = false;
    *in = bnd_slice(in->data + len, in->len - (size_t)len);
    return true;
}

static void work(struct http_conn *conn, struct bnd_slice *in) {
    conn->stalled = false;
    while (in->len > 0 && !conn->dead) {
        if (conn->rx == HTTP_RX_NONE) {
            *in = bnd_slice(NULL, 0);
        } else if (conn->rx == HTTP_RX_BODY) {
            if (!http_body_take(conn, in)) {
                return;
            }
            if (conn->rx_request != NULL) {
                http_body_deliver(conn->rx_request);
            }
        } else if (!take_next(conn, in)) {
            return;
        }
    }
}

/* Puts data behind conn->in. False: no memory, or too much of it in use. */
static bool keep(struct http_conn *conn, struct bnd_slice data) {
    struct http_block *old = conn->in;
    if (old != NULL && old->cap - old->len >= data.len) {
        memcpy(old->data + old->len, data.data, data.len);
        old->len += data.len;
        return true;
    }
    size_t kept = old == NULL ? 0 : old->len - old->off;
    struct http_pool *pool = &conn->server->pool;
    struct http_block *block = pool->used_bytes > conn->server->limits.buffer_bytes_max
                                   ? NULL
                                   : http_block_get(pool, kept + data.len);
    if (block == NULL) {
        return false;
    }
    if (kept > 0) {
        memcpy(block->data, old->data + old->off, kept);
    }
    memcpy(block->data + kept, data.data, data.len);
    block->len = kept + data.len;
    http_block_put(pool, old);
    conn->in = block;
    return true;
}

static void work_on_kept(struct http_conn *conn) {
    struct http_block *block = conn->in;
    struct bnd_slice in = bnd_slice(block->data + block->off, block->len - block->off);
    work(conn, &in);
    block->off = block->len - in.len;
    if (in.len == 0) {
        conn->in = NULL;
        http_block_put(&conn->server->pool, block);
    }
}

void http_input(struct http_conn *conn, struct bnd_slice data) {
    BND_ASSERT(!conn->busy);
    conn->busy = true;
    if (conn->in != NULL && data.len > 0) {
        if (!keep(conn, data)) {
            overloaded(conn);
        }
        data = bnd_slice(NULL, 0);
    }
    if (conn->in != NULL) {
        work_on_kept(conn);
    } else {
        work(conn, &data);
        if (data.len > 0 && !conn->dead && !keep(conn, data)) {
            overloaded(conn);
        }
    }
    conn->busy = false;
}

bool http_input_wants(const struct http_conn *conn) {
    if (conn->dead || conn->eof) {
        return false;
    }
    switch (conn->rx) {
    case HTTP_RX_HEAD:
        return !conn->stalled;
    case HTTP_RX_BODY:
        return http_body_wants(conn);
    case HTTP_RX_NONE:
        break;
    }
    return true; /* dropped; the end of the client is worth knowing */
}
