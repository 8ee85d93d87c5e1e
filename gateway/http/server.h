/* A strict HTTP/1.1 server on the env's loop (architecture 12, ADR 0035).
 *
 * Purpose: turn connections into requests for a handler, and answers into bytes, with bounded
 * memory whatever the clients do.
 *
 * What it promises a handler:
 *  1. Each request given to on_request stays valid, headers included, until the handler ends it
 *     with exactly one of bnd_http_respond (returning 0), bnd_http_end and bnd_http_abort - also
 *     when the client has long gone. There is no time limit: a request may be held for an election.
 *  2. Responses leave in the order of their requests. Requests on one connection run side by side
 *     only if all are GET, HEAD or OPTIONS without body (RFC 9112 9.3.2); others one by one.
 *  3. Of a body at most body_window_bytes, and one received piece, is in memory; nothing is read
 *     beyond. "100 Continue" is sent when the handler first asks for the body, and never otherwise.
 *  4. Callbacks come on the env's thread, from the loop, never from inside a call of this header.
 * What it does by itself: 400, 408, 413, 414, 417, 431, 501, 505 with a reason and Connection:
 * close; 503 with Retry-After when a bound is met; time-outs; Date, Content-Length,
 * Transfer-Encoding and Connection of every response; HEAD, 204 and 304 without body.
 *
 * One server belongs to one env; several loops run one server each. */
#ifndef BND_GATEWAY_HTTP_SERVER_H
#define BND_GATEWAY_HTTP_SERVER_H

#include "base/env.h"
#include "base/histogram.h"
#include "gateway/http/head.h"

struct bnd_http_server;
struct bnd_tls_context; /* net/tls.h */

/* The largest piece of a body delivered at once. */
#define BND_HTTP_CHUNK_BYTES (64u << 10)

/* ---- requests
 * ----------------------------------------------------------------------------------- */

/* Read-only for the handler, but for data. */
struct bnd_http_request {
    const struct bnd_http_head *head; /* method, path, query, host, fields, length: see head.h */
    struct bnd_http_server *server;
    bool tls;
    bool aborted;           /* the client is gone, or broke the protocol: answers go nowhere */
    bool has_body;          /* chunked, or a Content-Length above 0 */
    bool body_ended;        /* every byte of the body has been delivered */
    uint64_t body_received; /* decoded bytes delivered so far */
    uint64_t arrived_ns;    /* bnd_now_ns when the head was complete */
    uint8_t operation;      /* the handler may set it: an index of bnd_http_options.operations */
    void *data;             /* the handler's */
};

/* The handler. One table serves all requests of a server; owner is from bnd_http_options. */
struct bnd_http_handler {
    /* A head is complete. The handler answers here or any time later. */
    void (*on_request)(void *owner, struct bnd_http_request *request);
    /* At most once per request, before its end: the client went away, stalled past a time-out or
     * broke the framing of the body, and request->aborted is set. Pending reads and writes of the
     * request have been answered before. The request still has to be ended (bnd_http_abort is the
     * plain way). It does not come for requests already ended. NULL: of no interest. */
    void (*on_abort)(void *owner, struct bnd_http_request *request);
};

/* The value of the first field of that name (case-insensitive), or NULL. Repeated fields:
 * bnd_http_head_find. Valid until the request ends. */
const struct bnd_slice *bnd_http_header(const struct bnd_http_request *request, const char *name);

/* The client's "host:port"; "-" once the connection is gone. */
void bnd_http_peer(const struct bnd_http_request *request, char out[BND_ADDRESS_MAX]);

/* ---- bodies of requests
 * ------------------------------------------------------------------------- */

/* A piece of a body, lent to the consumer until bnd_http_chunk_release. */
struct bnd_http_chunk {
    struct bnd_slice
        bytes;  /* 1 .. BND_HTTP_CHUNK_BYTES of them; the consumer may not change them */
    void *data; /* the consumer's */
};

struct bnd_http_read;
/* status 0: chunk, now the consumer's; or chunk NULL at the end of the body.
 * BND_CLOSED: the client went away; BND_TIMEOUT: it stalled; BND_CORRUPT: bad chunk framing;
 * BND_TOOBIG: more than body_bytes_max in chunks; BND_NOMEM; BND_CANCELED: the server closes.
 * After an error the request is aborted. */
typedef void (*bnd_http_read_cb)(struct bnd_http_read *read, int status,
                                 struct bnd_http_chunk *chunk);

struct bnd_http_read {
    bnd_http_read_cb cb;
    void *data;
    /* Wait for at least so many bytes, unless the body ends before; at most BND_HTTP_CHUNK_BYTES; 0
     * is 1. With BND_HTTP_CHUNK_BYTES every chunk but the last has exactly that size, and a body of
     * up to that size comes as one. */
    size_t bytes_min;
};

/* Asks for the next piece of the body; one read at a time. Several chunks may be held: reading goes
 * on while what is held and buffered is below body_window_bytes, so a consumer that wants
 * throughput reads again before it has released. Reading at the end answers with chunk NULL again.
 * The struct is the caller's until the callback. Ending the request takes a pending read back: it
 * is never answered. */
void bnd_http_body_read(struct bnd_http_request *request, struct bnd_http_read *read);

/* Gives a chunk back. Also after the request's end, but before the server's on_closed. */
void bnd_http_chunk_release(struct bnd_http_chunk *chunk);

/* ---- responses
 * ---------------------------------------------------------------------------------- */

#define BND_HTTP_LENGTH_CHUNKED UINT64_MAX

struct bnd_http_response {
    unsigned status;    /* 200 .. 599 */
    const char *reason; /* NULL: the standard one */
    const struct bnd_http_header *headers;
    size_t header_count;
    struct bnd_slice body; /* bnd_http_respond only */
    bool close;            /* end the connection after this response */
};

/* Answers at once and ends the request. Everything is copied before it returns; head and body leave
 * in one write together with what else the connection has, once per loop pass. Bodies above about a
 * MiB are better streamed. Unread body is drained up to drain_bytes_max, else the connection closes
 * after the response. With HEAD the body is left out and its length kept.
 * BND_INVALID: a field name is no token, a value or the reason has a control character, the status
 * is out of range, or a field is one of the server's own (Content-Length, Transfer-Encoding,
 * Connection, Date): nothing was sent and the request is not ended. A lack of memory aborts the
 * connection and still counts as the end of the request. */
int bnd_http_respond(struct bnd_http_request *request, const struct bnd_http_response *response);

/* Begins a streamed response: content_length bytes of body, or BND_HTTP_LENGTH_CHUNKED (HTTP/1.0
 * clients get it ended by the end of the connection). Head only is well, too: begin, then end, is
 * the answer to HEAD with a length. BND_INVALID as above: nothing was sent. */
int bnd_http_begin(struct bnd_http_request *request, const struct bnd_http_response *response,
                   uint64_t content_length);

struct bnd_http_write {
    /* 0: the kernel (or a buffer of at most 64 KiB) has it. BND_CLOSED: the connection is gone. */
    void (*cb)(struct bnd_http_write *write, int status);
    void *data;
    struct bnd_link priv_link; /* private from here on */
    struct bnd_slice priv_bytes;
    size_t priv_sent;
    uint8_t priv_frame_len;
    char priv_frame[23];
};

/* Sends a piece of a begun response; bytes and struct are borrowed until the callback, which comes
 * also after bnd_http_end. Several may be under way; a producer that waits for each (or keeps two)
 * has back-pressure. Empty pieces are well. With HEAD, 204 and 304 the bytes go nowhere.
 * BND_INVALID: more than the promised length; BND_CLOSED: request->aborted. No callback then. */
int bnd_http_write(struct bnd_http_request *request, struct bnd_http_write *write,
                   struct bnd_slice bytes);

/* Ends a begun response and the request. Fewer bytes than promised: the connection is cut, so that
 * the client cannot take them for the whole, and the error is logged. */
void bnd_http_end(struct bnd_http_request *request);

/* Ends the request by cutting its connection: the client sees a reset or a short body. Also the way
 * to end a request whose client is gone. */
void bnd_http_abort(struct bnd_http_request *request);

/* The standard reason phrase, or "". */
const char *bnd_http_reason(unsigned status);

/* ---- the server
 * --------------------------------------------------------------------------------- */

#define BND_HTTP_OPERATIONS_MAX 32

/* A field of 0 takes the default in brackets. */
struct bnd_http_limits {
    size_t head_bytes_max;  /* [64 KiB], at most BND_HTTP_HEAD_BYTES_MAX */
    size_t headers_max;     /* [128], at most BND_HTTP_HEADERS_MAX */
    size_t connections_max; /* [16,384]; at the bound the longest idle one makes room, else the
                               slowest to send its head */
    size_t connections_per_address_max; /* [4,096]; IPv6: per /64. Those above are closed */
    size_t requests_max;                /* [8,192] unended; above: 503 */
    unsigned pipeline_max;              /* [64] requests of one connection */
    size_t body_window_bytes;           /* [256 KiB] per request, at least BND_HTTP_CHUNK_BYTES */
    uint64_t body_bytes_max;            /* [no limit]; above: 413 */
    size_t drain_bytes_max;             /* [256 KiB] of an unread body */
    size_t buffer_bytes_max;    /* [256 MiB] all buffers; above: new requests get 503 and windows
                                   shrink to one chunk */
    uint64_t head_timeout_ns;   /* [30 s] first byte to last */
    uint64_t body_timeout_ns;   /* [30 s] in which stall_bytes_min must come, while wanted */
    uint64_t write_timeout_ns;  /* [60 s] in which the client must take stall_bytes_min */
    size_t stall_bytes_min;     /* [1 KiB] */
    uint64_t idle_timeout_ns;   /* [15 min] between requests; long, as a client may be just
                                   sending when the server closes */
    uint64_t linger_timeout_ns; /* [5 s] for a client to read an answer and stop sending */
};

struct bnd_http_options {
    struct bnd_env *env;
    const char *address;         /* "host:port", numeric; port 0: any */
    struct bnd_tls_context *tls; /* NULL: plain; borrowed until on_closed */
    struct bnd_http_limits limits;
    const struct bnd_http_handler *handler;
    void *owner;
    /* What requests do, for the counts by operation: names, at most BND_HTTP_OPERATIONS_MAX, the
     * first for what the handler did not name. Borrowed for the server's life. */
    const char *const *operations;
    size_t operations_count; /* 0: not counted */
};

/* Monotone counts, and the current values at the end. */
struct bnd_http_counters {
    uint64_t connections_accepted;
    uint64_t connections_refused;         /* connections_max, or no memory */
    uint64_t connections_refused_address; /* connections_per_address_max */
    uint64_t requests;                    /* given to the handler */
    uint64_t responses[6];     /* by status class 1xx .. 5xx at [1] .. [5], own refusals too */
    uint64_t refused_heads;    /* 4xx and 5xx given without the handler */
    uint64_t refused_overload; /* 503 given without the handler */
    uint64_t aborted;          /* requests whose client went away or stalled */
    uint64_t timeouts_head;
    uint64_t timeouts_body;
    uint64_t timeouts_write;
    uint64_t timeouts_idle;
    uint64_t bytes_in;
    uint64_t bytes_out;
    size_t connections;   /* open now */
    size_t requests_open; /* not ended now */
    size_t buffer_bytes;  /* borrowed now */
    size_t pool_bytes;    /* kept free for reuse now */
};

/* Listens and serves from the next pass on. BND_INVALID: limits beyond their bounds; what listen
 * says, with the address; BND_NOMEM. */
int bnd_http_server_create(const struct bnd_http_options *options, struct bnd_http_server **out,
                           struct bnd_error *err);

/* "host:port" listened on. */
void bnd_http_server_address(struct bnd_http_server *server, char out[BND_ADDRESS_MAX]);

/* The context of connections accepted from now on, borrowed like the one before, which connections
 * that have it keep alive. Only for a server that began with TLS. */
void bnd_http_server_set_tls(struct bnd_http_server *server, struct bnd_tls_context *tls);

/* A copy of the counters. */
void bnd_http_server_counters(const struct bnd_http_server *server, struct bnd_http_counters *out);

/* How long requests of an operation took, from the complete head to their end by the handler, as
 * the clock of the loop tells it (it stands still within a callback). Only requests that the
 * handler saw are counted. *out_name NULL: there is no such operation. Borrowed. */
const struct bnd_histogram *bnd_http_server_operation(const struct bnd_http_server *server,
                                                      size_t operation, const char **out_name);

/* Stops listening, closes idle connections, lets requests finish (their responses say Connection:
 * close) for grace_ns, then cuts what is left: reads and writes are answered BND_CANCELED or
 * BND_CLOSED and on_abort comes. on_closed comes last, when every connection is gone, every request
 * ended by its handler and every chunk released; the server is gone then. Once. */
void bnd_http_server_close(struct bnd_http_server *server, uint64_t grace_ns,
                           void (*on_closed)(void *data), void *data);

#endif
