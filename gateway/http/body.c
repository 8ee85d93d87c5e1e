/* Bodies of requests: from the wire into chunks, and from there to the handler that asks.
 *
 * Invariants: (1) only the last chunk of a request has room, and chunks are as large as what is
 * still expected, up to BND_HTTP_CHUNK_BYTES; (2) window_used counts the memory of all chunks, lent
 * ones included; when it reaches the window and a whole chunk waits, the connection is not read.
 *
 * Failure modes: bad framing, a client that stalls or ends early and a lack of memory cut the
 * connection; the read under way is answered with the reason. */
#include "gateway/http/server_private.h"

static struct http_chunk *chunk_of(struct bnd_link *link) {
    return BND_CONTAINER(link, struct http_chunk, link);
}

static bool last_has_room(const struct http_request *r) {
    return !bnd_list_empty(&r->chunks) &&
           chunk_of(r->chunks.prev)->pub.bytes.len < chunk_of(r->chunks.prev)->cap;
}

static size_t window_of(const struct http_request *r) {
    const struct bnd_http_server *server = r->pub.server;
    return server->pool.used_bytes > server->limits.buffer_bytes_max
               ? BND_HTTP_CHUNK_BYTES
               : server->limits.body_window_bytes;
}

/* True if the reader's next piece is still growing: one that waits for bytes_min must get them,
 * even if what it holds fills the window. */
static bool only_one_growing(const struct http_request *r) {
    return last_has_room(r) && r->chunks.next == r->chunks.prev;
}

bool http_body_wants(const struct http_conn *conn) {
    const struct http_request *r = conn->rx_request;
    return r == NULL || r->window_used < window_of(r) || only_one_growing(r);
}

static struct http_chunk *chunk_create(struct http_request *r, uint64_t expected) {
    size_t cap = expected < BND_HTTP_CHUNK_BYTES ? (size_t)expected : BND_HTTP_CHUNK_BYTES;
    struct http_block *block =
        http_block_get(&r->pub.server->pool, sizeof(struct http_chunk) + cap);
    if (block == NULL) {
        return NULL;
    }
    struct http_chunk *chunk = (struct http_chunk *)(void *)block->data;
    *chunk = (struct http_chunk){.request = r, .block = block, .cap = cap};
    chunk->pub.bytes.data = chunk->bytes;
    bnd_list_push(&r->chunks, &chunk->link);
    r->window_used += block->cap;
    return chunk;
}

/* `expected`: how many bytes of the body can still come, these included. */
static bool store(struct http_request *r, struct bnd_slice data, uint64_t expected) {
    while (data.len > 0) {
        struct http_chunk *chunk =
            last_has_room(r) ? chunk_of(r->chunks.prev) : chunk_create(r, expected);
        if (chunk == NULL) {
            return false;
        }
        size_t room = chunk->cap - chunk->pub.bytes.len;
        size_t n = room < data.len ? room : data.len;
        memcpy(chunk->bytes + chunk->pub.bytes.len, data.data, n);
        chunk->pub.bytes.len += n;
        expected -= n;
        data = bnd_slice(data.data + n, data.len - n);
    }
    return true;
}

/* A piece of body. False: the connection was cut. */
static bool received(struct http_conn *conn, struct bnd_slice data, uint64_t expected) {
    struct http_request *r = conn->rx_request;
    if (r == NULL) {
        conn->drained += data.len;
        if (conn->drained > conn->server->limits.drain_bytes_max) {
            conn->rx = HTTP_RX_NONE; /* the answer is on its way: end gently */
            conn->closing = true;
        }
        return true;
    }
    if (!store(r, data, expected)) {
        http_conn_cut(conn, BND_NOMEM);
        return false;
    }
    return true;
}

static void body_complete(struct http_conn *conn) {
    if (conn->rx_request != NULL) {
        conn->rx_request->body_complete = true;
        conn->rx_request = NULL;
    }
    if (conn->rx == HTTP_RX_BODY) {
        conn->rx = conn->last ? HTTP_RX_NONE : HTTP_RX_HEAD;
        http_wait_set(conn, HTTP_WAIT_NONE);
    }
}

static bool take_identity(struct http_conn *conn, struct bnd_slice *in) {
    size_t n = conn->rx_left < in->len ? (size_t)conn->rx_left : in->len;
    uint64_t expected = conn->rx_left;
    conn->rx_left -= n;
    struct bnd_slice data = bnd_slice(in->data, n);
    *in = bnd_slice(in->data + n, in->len - n);
    if (!received(conn, data, expected)) {
        return false;
    }
    if (conn->rx_left == 0) {
        body_complete(conn);
    }
    return true;
}

static bool take_chunked(struct http_conn *conn, struct bnd_slice *in) {
    struct bnd_slice data;
    while (conn->rx == HTTP_RX_BODY) {
        switch (bnd_http_chunked_next(&conn->rx_chunked, in, &data)) {
        case BND_HTTP_CHUNKED_MORE:
            return true;
        case BND_HTTP_CHUNKED_END:
            body_complete(conn);
            return true;
        case BND_HTTP_CHUNKED_BAD:
            http_conn_cut_saying(conn, BND_CORRUPT, 400, "the chunked body is malformed");
            return false;
        case BND_HTTP_CHUNKED_DATA:
            break;
        }
        conn->rx_left += data.len; /* so far: chunked bodies announce no length */
        if (conn->rx_left > conn->server->limits.body_bytes_max) {
            http_conn_cut_saying(conn, BND_TOOBIG, 413, "the body is larger than allowed");
            return false;
        }
        if (!received(conn, data, UINT64_MAX)) {
            return false;
        }
    }
    return true;
}

bool http_body_take(struct http_conn *conn, struct bnd_slice *in) {
    return conn->rx_is_chunked ? take_chunked(conn, in) : take_identity(conn, in);
}

/* ---- to the handler
 * ----------------------------------------------------------------------------- */

void http_body_deliver(struct http_request *r) {
    while (r->read != NULL && r->answer != HTTP_ENDED) {
        struct bnd_http_read *read = r->read;
        struct http_chunk *chunk = NULL;
        if (!bnd_list_empty(&r->chunks)) {
            chunk = chunk_of(r->chunks.next);
            size_t len = chunk->pub.bytes.len;
            if (len < read->bytes_min && len < chunk->cap && !r->body_complete) {
                return;
            }
            bnd_link_remove(&chunk->link);
            r->chunks_lent++;
            r->pub.body_received += len;
        } else if (!r->body_complete) {
            return;
        }
        r->pub.body_ended = r->body_complete && bnd_list_empty(&r->chunks);
        r->read = NULL;
        read->cb(read, 0, chunk == NULL ? NULL : &chunk->pub);
    }
}

void http_body_drop(struct http_request *r) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(&r->chunks)) != NULL) {
        struct http_block *block = chunk_of(link)->block;
        r->window_used -= block->cap;
        http_block_put(&r->pub.server->pool, block);
    }
}

void bnd_http_body_read(struct bnd_http_request *request, struct bnd_http_read *read) {
    struct http_request *r = http_request_of(request);
    BND_ASSERT(r->answer != HTTP_ENDED);
    BND_ASSERT(r->read == NULL);
    BND_ASSERT(read->bytes_min <= BND_HTTP_CHUNK_BYTES);
    r->read = read;
    if (r->conn == NULL) {
        if (!bnd_link_linked(&r->link)) { /* else it is about to be told of its loss */
            bnd_list_push(&r->pub.server->orphans, &r->link);
        }
        http_server_wake(r->pub.server);
        return;
    }
    struct http_conn *conn = r->conn;
    if (r->expect_unanswered && (conn->rx_request == r || !r->pub.has_body) &&
        bnd_list_empty(&r->chunks) && r->answer == HTTP_WAITING && !conn->dead) {
        static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
        uint8_t *at = http_out_reserve(r, sizeof text - 1);
        if (at == NULL) {
            http_conn_cut(conn, BND_NOMEM);
        } else {
            memcpy(at, text, sizeof text - 1);
            r->pub.server->counters.responses[1]++;
        }
    }
    r->expect_unanswered = false;
    http_conn_touch(conn);
}

void bnd_http_chunk_release(struct bnd_http_chunk *pub) {
    struct http_chunk *chunk = BND_CONTAINER(pub, struct http_chunk, pub);
    struct http_request *r = chunk->request;
    struct http_block *block = chunk->block;
    BND_ASSERT(r->chunks_lent > 0);
    r->chunks_lent--;
    r->window_used -= block->cap;
    http_block_put(&r->pub.server->pool, block);
    if (r->conn != NULL) {
        http_conn_touch(r->conn);
    } else {
        http_request_maybe_free(r);
    }
}
