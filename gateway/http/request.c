/* The life of a request, and what a handler reads of it. */
#include "base/alloc.h"
#include "gateway/http/server_private.h"

/* Moves a slice of `from` to the same place in the copy at `to`; others (constants) stay. */
static struct bnd_slice moved(struct bnd_slice s, struct bnd_slice from, const uint8_t *to) {
    uintptr_t at = (uintptr_t)s.data;
    uintptr_t begin = (uintptr_t)from.data;
    if (s.data == NULL || at < begin || at > begin + from.len) {
        return s;
    }
    return bnd_slice(to + (at - begin), s.len);
}

static void head_move(struct http_request *request, const struct bnd_http_head *head,
                      struct bnd_slice bytes) {
    struct bnd_http_header *headers = (struct bnd_http_header *)(void *)(request + 1);
    uint8_t *copy = (uint8_t *)(headers + head->header_count);
    memcpy(copy, bytes.data, bytes.len);
    request->head = *head;
    request->head.headers = headers;
    request->head.method_token = moved(head->method_token, bytes, copy);
    request->head.target = moved(head->target, bytes, copy);
    request->head.path = moved(head->path, bytes, copy);
    request->head.query = moved(head->query, bytes, copy);
    request->head.host = moved(head->host, bytes, copy);
    for (size_t i = 0; i < head->header_count; i++) {
        headers[i].name = moved(head->headers[i].name, bytes, copy);
        headers[i].value = moved(head->headers[i].value, bytes, copy);
    }
}

struct http_request *http_request_create(struct http_conn *conn, const struct bnd_http_head *head,
                                         struct bnd_slice bytes) {
    struct bnd_http_server *server = conn->server;
    size_t fields = head->header_count * sizeof(struct bnd_http_header);
    struct http_block *block =
        http_block_get(&server->pool, sizeof(struct http_request) + fields + bytes.len);
    if (block == NULL) {
        return NULL;
    }
    struct http_request *r = (struct http_request *)(void *)block->data;
    *r = (struct http_request){.block = block, .conn = conn};
    if (bytes.len > 0) {
        head_move(r, head, bytes);
    } else {
        r->head = *head;
    }
    r->pub.head = &r->head;
    r->pub.server = server;
    r->pub.tls = server->tls != NULL;
    r->pub.has_body = head->chunked || head->content_length > 0;
    r->pub.body_ended = !r->pub.has_body;
    r->body_complete = !r->pub.has_body;
    r->expect_unanswered = head->expect_continue; /* also of an empty body: clients wait for it */
    r->pub.arrived_ns = bnd_now_ns(server->env);
    bnd_list_init(&r->chunks);
    bnd_list_init(&r->out);
    bnd_list_push(&conn->requests, &r->link);
    conn->request_count++;
    server->requests_live++;
    return r;
}

void http_request_maybe_free(struct http_request *request) {
    if (request->answer != HTTP_ENDED || request->conn != NULL || request->holds > 0 ||
        request->chunks_lent > 0) {
        return;
    }
    struct bnd_http_server *server = request->pub.server;
    BND_ASSERT(bnd_list_empty(&request->chunks) && bnd_list_empty(&request->out));
    if (bnd_link_linked(&request->link)) {
        bnd_link_remove(&request->link);
    }
    http_block_put(&server->pool, request->block);
    BND_ASSERT(server->requests_live > 0);
    server->requests_live--;
    http_server_maybe_gone(server);
}

const struct bnd_slice *bnd_http_header(const struct bnd_http_request *request, const char *name) {
    size_t from = 0;
    const struct bnd_http_header *field =
        bnd_http_head_find(request->head->headers, request->head->header_count, name, &from);
    return field == NULL ? NULL : &field->value;
}

void bnd_http_peer(const struct bnd_http_request *request, char out[BND_ADDRESS_MAX]) {
    const struct http_conn *conn = http_request_of(request)->conn;
    if (conn == NULL || conn->dead) {
        memcpy(out, "-", 2);
        return;
    }
    bnd_conn_peer(conn->net, out);
}
