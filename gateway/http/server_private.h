/* Inside of the HTTP server: connections, requests, buffers.
 *
 * A connection that waits for its next request is one struct http_conn and what net/conn.h holds;
 * everything else - bytes of an unfinished head, requests, body pieces, output - is in blocks
 * borrowed from the server's pool.
 *
 * Work is done in two places: in events of the connection (bytes came), and in the hook at the end
 * of a pass for connections marked by http_conn_touch. Calls of the public header only change state
 * and mark, which is why no callback comes from inside of them. */
#ifndef BND_GATEWAY_HTTP_SERVER_PRIVATE_H
#define BND_GATEWAY_HTTP_SERVER_PRIVATE_H

#include "gateway/http/addresses.h"
#include "gateway/http/chunked.h"
#include "gateway/http/server.h"
#include "net/conn.h"

/* ---- blocks (pool.c)
 * ---------------------------------------------------------------------------- */

#define HTTP_BLOCK_CLASSES 4

struct http_block {
    struct http_block *next; /* in the pool */
    uint32_t class;          /* HTTP_BLOCK_CLASSES: of its own size, not pooled */
    size_t cap;
    size_t off; /* input: consumed */
    size_t len;
    struct bnd_http_write out; /* output: the place in a list of segments; cb is NULL */
    uint8_t data[] __attribute__((aligned(16)));
};

struct http_pool {
    struct http_block *free[HTTP_BLOCK_CLASSES];
    size_t free_bytes;
    size_t used_bytes;
};

/* An owned block with cap >= bytes and len 0, or NULL without memory. */
struct http_block *http_block_get(struct http_pool *pool, size_t bytes);
void http_block_put(struct http_pool *pool, struct http_block *block); /* NULL allowed */
void http_pool_free(struct http_pool *pool);

/* ---- requests
 * ----------------------------------------------------------------------------------- */

enum http_answer { HTTP_WAITING, HTTP_STREAMING, HTTP_ENDED };

/* Lives in `block`, followed by its fields and the bytes of its head. Freed when it is ended, its
 * connection is through with it (conn NULL), no chunk is lent and nobody holds it. */
struct http_request {
    struct bnd_http_request pub;
    struct bnd_http_head head;
    struct http_block *block;
    struct http_conn *conn; /* NULL: the connection is gone, or through with it */
    struct bnd_link link;   /* conn->requests, or server->orphans with a read to refuse */
    unsigned holds;
    /* body */
    struct bnd_link chunks; /* received and not delivered */
    size_t window_used;     /* memory of chunks, lent ones too */
    unsigned chunks_lent;
    bool body_complete;
    bool expect_unanswered;
    struct bnd_http_read *read;
    /* answer */
    enum http_answer answer;
    bool bodiless; /* HEAD, 204, 304: nothing follows the head */
    bool chunked;
    bool framed; /* a chunk was sent */
    bool close_after;
    bool internal;       /* a refusal: the handler never saw it */
    uint64_t left;       /* of a promised length */
    struct bnd_link out; /* segments, until all earlier answers are out */
};

struct http_chunk {
    struct bnd_http_chunk pub;
    struct http_request *request;
    struct http_block *block;
    struct bnd_link link;
    size_t cap;
    uint8_t bytes[];
};

/* ---- connections
 * -------------------------------------------------------------------------------- */

enum http_rx {
    HTTP_RX_HEAD,
    HTTP_RX_BODY, /* of rx_request; NULL: of an answered request, dropped */
    HTTP_RX_NONE, /* no further request: what comes is dropped */
};

enum http_wait {
    HTTP_WAIT_NONE,
    HTTP_WAIT_IDLE,
    HTTP_WAIT_HEAD,
    HTTP_WAIT_BODY,
    HTTP_WAIT_LINGER,
    HTTP_WAIT_WRITE,
    HTTP_WAITS,
};

/* Being waited for since mark_ns; lists are in the order of mark_ns. */
struct http_waiter {
    struct bnd_link link;
    uint64_t mark_ns;
    uint64_t mark_bytes;
    struct http_conn *conn;
};

struct http_conn {
    struct bnd_http_server *server;
    struct bnd_conn *net;
    uint64_t address;      /* counted in server->addresses */
    struct bnd_link all;   /* server->conns */
    struct bnd_link dirty; /* server->dirty */
    struct http_waiter in_wait;
    struct http_waiter out_wait;
    enum http_wait in_state;
    enum http_rx rx;
    struct http_block *in; /* received, not consumed; NULL: nothing */
    size_t scanned;        /* of the head at its front */
    struct bnd_link requests;
    unsigned request_count;
    struct http_request *rx_request;
    uint64_t rx_left; /* identity body */
    struct bnd_http_chunked rx_chunked;
    bool rx_is_chunked;
    size_t drained;
    struct bnd_link out; /* segments in the order of the wire */
    size_t out_bytes;    /* in them, not sent */
    struct http_flight *flight;
    uint64_t bytes_in;
    uint64_t bytes_sent; /* given to net */
    bool reading;
    bool stalled; /* a whole head waits for its turn */
    bool skipped; /* the one empty line before a request line */
    bool active;  /* something happened since it was last found idle */
    bool last;    /* no request follows the one received last */
    bool eof;     /* the client ended its side */
    bool closing; /* no request after those in the list; shut down when all is sent */
    bool shut;    /* our side is ended */
    bool dead;    /* bnd_conn_close was called */
    bool busy;    /* input is being worked on: no re-entry */
    int dead_status;
};

/* A write the kernel did not take at once. */
struct http_flight {
    struct bnd_write write;
    struct http_conn *conn;
    size_t bytes;
    struct http_block *block;
};

/* What is turned away, by reason. */
enum http_shed_kind {
    HTTP_SHED_BOUND,
    HTTP_SHED_ADDRESS,
    HTTP_SHED_HEAD,
    HTTP_SHED_BODY,
    HTTP_SHED_WRITE,
    HTTP_SHED_BAD,
    HTTP_SHED_OVERLOAD,
    HTTP_SHEDS,
};

struct http_shed {
    uint64_t counts[HTTP_SHEDS]; /* not yet told */
    char last[BND_ADDRESS_MAX];
    char address[BND_ADDRESS_MAX]; /* of the server */
    struct bnd_timer timer;
    bool quiet; /* nothing was told in the last while: the timer is off */
};

struct bnd_http_server {
    struct bnd_env *env;
    struct bnd_http_limits limits;
    const struct bnd_http_handler *handler;
    void *owner;
    struct bnd_tls_context *tls;
    struct bnd_listener *listener;
    struct http_pool pool;
    struct bnd_link conns;
    struct bnd_link dirty;
    struct bnd_link orphans;
    struct bnd_link waits[HTTP_WAITS];
    struct bnd_hook hook;
    struct bnd_task wake;
    struct bnd_timer tick;
    struct bnd_timer grace;
    uint64_t tick_ns;
    bool ticking;
    bool wake_pending;
    bool in_hook;
    bool closing;
    void (*on_closed)(void *data);
    void *on_closed_data;
    struct bnd_http_counters counters;
    struct http_addresses addresses;
    struct http_shed shed;
    const char *const *operations;
    size_t operations_count;
    struct bnd_histogram durations[BND_HTTP_OPERATIONS_MAX];
    size_t requests_live; /* not freed */
    uint64_t date_s;
    uint64_t date_ns; /* when the wall clock was asked last */
    char date[30]; /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    struct bnd_http_header scratch[BND_HTTP_HEADERS_MAX];
};

/* server.c */
void http_server_wake(struct bnd_http_server *server);
void http_server_maybe_gone(struct bnd_http_server *server);
void http_wait_set(struct http_conn *conn, enum http_wait state);
void http_wait_out(struct http_conn *conn, bool waiting);

/* shed.c */
void http_shed_open(struct bnd_http_server *server);
void http_shed_close(struct bnd_http_server *server);
/* Counts one for the log. */
void http_shed_note(struct bnd_http_server *server, enum http_shed_kind kind, const char *peer);
void http_shed_conn(struct http_conn *conn, enum http_shed_kind kind);

/* conn.c */
void http_conn_accept(struct bnd_http_server *server, struct bnd_stream *stream);
void http_conn_touch(struct http_conn *conn);
void http_conn_service(struct http_conn *conn);
/* Cuts the connection: its requests are told `status` once it is closed. */
void http_conn_cut(struct http_conn *conn, int status);
/* The same, after a last word to a client whose request is not answered yet, if it can go at once.
 */
void http_conn_cut_saying(struct http_conn *conn, int status, unsigned http_status,
                          const char *why);
/* Answers what is no request, after the answers to those before it, and closes. */
void http_conn_refuse(struct http_conn *conn, unsigned http_status, const char *why);

/* input.c */
void http_input(struct http_conn *conn, struct bnd_slice data);
bool http_input_wants(const struct http_conn *conn);

/* body.c */
/* Takes body bytes off *in. False: the connection was cut. */
bool http_body_take(struct http_conn *conn, struct bnd_slice *in);
/* Answers the request's read if it can be answered. */
void http_body_deliver(struct http_request *request);
bool http_body_wants(const struct http_conn *conn);
void http_body_drop(struct http_request *request);

/* request.c */
struct http_request *http_request_create(struct http_conn *conn, const struct bnd_http_head *head,
                                         struct bnd_slice bytes);
void http_request_maybe_free(struct http_request *request);
static inline struct http_request *http_request_of(const struct bnd_http_request *request) {
    return (struct http_request *)(uintptr_t)request; /* pub is the first member */
}

/* output.c */
/* Room for len bytes behind what the request has written; NULL: no memory. */
uint8_t *http_out_reserve(struct http_request *request, size_t len);
/* Appends a handler's piece to what the request has written. */
void http_out_push(struct http_request *request, struct bnd_http_write *segment);
/* The request is the connection's first now: what it has written so far may leave. */
void http_out_splice(struct http_request *request);
void http_out_answer_all(struct bnd_http_server *server, struct bnd_link *out, int status);
void http_out_flush(struct http_conn *conn);

#endif
