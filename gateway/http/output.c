/* Output: lists of segments, each a block of ours or bytes lent by the handler (bnd_http_write).
 *
 * Invariants: (1) conn->out is the order of the wire; a request's own list is spliced into it when
 * all earlier answers are complete; (2) a segment stays in its list until every byte is given to
 * the kernel, so a queued write (flight) may point into it; (3) at most one flight per connection.
 */
#include "base/alloc.h"
#include "gateway/http/server_private.h"

#define IOV_MAX_OUT 16

static struct bnd_http_write *segment_of(struct bnd_link *link) {
    return BND_CONTAINER(link, struct bnd_http_write, priv_link);
}

static size_t bytes_left(const struct bnd_http_write *segment) {
    return segment->priv_frame_len + segment->priv_bytes.len - segment->priv_sent;
}

/* Blocks of ours have no callback. */
static struct http_block *block_of(struct bnd_http_write *segment) {
    return segment->cb == NULL ? BND_CONTAINER(segment, struct http_block, out) : NULL;
}

static bool is_first(const struct http_request *request) {
    return request->conn != NULL && request->conn->requests.next == &request->link;
}

uint8_t *http_out_reserve(struct http_request *request, size_t len) {
    struct bnd_link *out = is_first(request) ? &request->conn->out : &request->out;
    struct http_block *block = bnd_list_empty(out) ? NULL : block_of(segment_of(out->prev));
    if (block == NULL || block->cap - block->len < len) {
        block = http_block_get(&request->pub.server->pool, len);
        if (block == NULL) {
            return NULL;
        }
        block->out.priv_bytes.data = block->data;
        bnd_list_push(out, &block->out.priv_link);
    }
    uint8_t *at = block->data + block->len;
    block->len += len;
    block->out.priv_bytes.len = block->len;
    if (is_first(request)) {
        request->conn->out_bytes += len;
    }
    return at;
}

void http_out_push(struct http_request *request, struct bnd_http_write *segment) {
    bnd_list_push(&request->out, &segment->priv_link);
    if (is_first(request)) {
        http_out_splice(request);
    }
}

void http_out_splice(struct http_request *request) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&request->out)) != NULL) {
        request->conn->out_bytes += bytes_left(segment_of(link));
        bnd_list_push(&request->conn->out, link);
    }
}

static void segment_done(struct bnd_http_server *server, struct bnd_http_write *segment,
                         int status) {
    struct http_block *block = block_of(segment);
    if (block != NULL) {
        http_block_put(&server->pool, block);
    } else {
        segment->cb(segment, status);
    }
}

void http_out_answer_all(struct bnd_http_server *server, struct bnd_link *out, int status) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(out)) != NULL) {
        segment_done(server, segment_of(link), status);
    }
}

/* The next bytes to send, at most `max` vectors. */
static unsigned gather(struct http_conn *conn, struct bnd_iov *iov, size_t *out_bytes) {
    unsigned count = 0;
    size_t bytes = 0;
    for (struct bnd_link *l = conn->out.next; l != &conn->out && count + 2 <= IOV_MAX_OUT;
         l = l->next) {
        struct bnd_http_write *s = segment_of(l);
        size_t sent = s->priv_sent;
        if (sent < s->priv_frame_len) {
            iov[count++] = (struct bnd_iov){s->priv_frame + sent, s->priv_frame_len - sent};
            sent = 0;
        } else {
            sent -= s->priv_frame_len;
        }
        if (sent < s->priv_bytes.len) {
            iov[count++] = (struct bnd_iov){(void *)(uintptr_t)(s->priv_bytes.data + sent),
                                            s->priv_bytes.len - sent};
        }
        bytes += bytes_left(s);
    }
    *out_bytes = bytes;
    return count;
}

/* `bytes` more are with the kernel: segments that are through are answered. Empty ones at the front
 * too. The connection may be dead afterwards. */
static void advance(struct http_conn *conn, size_t bytes) {
    struct bnd_http_server *server = conn->server;
    server->counters.bytes_out += bytes;
    BND_ASSERT(conn->out_bytes >= bytes);
    conn->out_bytes -= bytes;
    struct bnd_link done;
    bnd_list_init(&done);
    while (!bnd_list_empty(&conn->out)) {
        struct bnd_http_write *s = segment_of(conn->out.next);
        size_t left = bytes_left(s);
        size_t n = left < bytes ? left : bytes;
        s->priv_sent += n;
        bytes -= n;
        if (n < left) {
            break;
        }
        bnd_link_remove(&s->priv_link);
        bnd_list_push(&done, &s->priv_link);
    }
    BND_ASSERT(bytes == 0);
    http_out_answer_all(server, &done, 0);
}

static void on_flown(struct bnd_write *write, int status) {
    struct http_flight *flight = BND_CONTAINER(write, struct http_flight, write);
    struct http_conn *conn = flight->conn;
    size_t bytes = flight->bytes;
    BND_ASSERT(conn->flight == flight);
    conn->flight = NULL;
    http_block_put(&conn->server->pool, flight->block);
    if (conn->dead) {
        return; /* on_closed comes, and answers what is left */
    }
    if (status != 0) {
        http_conn_cut(conn, BND_CLOSED);
        return;
    }
    http_conn_touch(conn);
    advance(conn, bytes);
}

static void fly(struct http_conn *conn) {
    struct bnd_iov iov[IOV_MAX_OUT];
    size_t bytes = 0;
    unsigned count = gather(conn, iov, &bytes);
    struct http_block *block = http_block_get(&conn->server->pool, sizeof(struct http_flight));
    if (block == NULL) {
        http_conn_cut(conn, BND_NOMEM);
        return;
    }
    struct http_flight *flight = (struct http_flight *)(void *)block->data;
    *flight = (struct http_flight){.conn = conn, .bytes = bytes, .block = block};
    flight->write.cb = on_flown;
    int rc = bnd_conn_write(conn->net, &flight->write, iov, count);
    if (rc != 0) {
        http_block_put(&conn->server->pool, block);
        http_conn_cut(conn, BND_CLOSED);
        return;
    }
    conn->flight = flight;
    conn->bytes_sent += bytes;
}

void http_out_flush(struct http_conn *conn) {
    /* One round per pass: a client that keeps up must not keep the loop from the others. */
    if (conn->dead || conn->flight != NULL || bnd_list_empty(&conn->out)) {
        return;
    }
    struct bnd_iov iov[IOV_MAX_OUT];
    size_t bytes = 0;
    unsigned count = gather(conn, iov, &bytes);
    long sent = count == 0 ? 0 : bnd_conn_try_write(conn->net, iov, count);
    if (sent < 0) {
        http_conn_cut(conn, BND_CLOSED);
        return;
    }
    conn->bytes_sent += (size_t)sent;
    bool blocked = (size_t)sent < bytes;
    advance(conn, (size_t)sent);
    if (conn->dead || bnd_list_empty(&conn->out)) {
        return;
    }
    if (blocked) {
        fly(conn);
    } else {
        http_conn_touch(conn); /* more than one vector's worth */
    }
}
