/* TCP streams over libuv.
 *
 * Invariants:
 *  1. A stream is in env->streams from its creation until libuv has closed its handle; then it is
 * freed.
 *  2. After io_stream_close (closing) or an end (ended) no event reaches the owner.
 *  3. Writes are answered by libuv before its close callback: on_closed is last.
 * Failure modes: a failed write is told by its callback, a failed read by on_end; the owner closes.
 */
#include "base/alloc.h"
#include "engine/io/io_private.h"

struct bnd_stream {
    uv_tcp_t tcp;
    uv_shutdown_t shutdown;
    uv_connect_t connect_req;
    struct io_env *env;
    struct bnd_link link;        /* env->streams */
    struct bnd_connect *connect; /* under way, or NULL */
    const struct bnd_stream_events *events;
    void *owner;
    bool reading;
    bool ended;
    bool shut;
    bool closing;
    void (*on_closed)(void *data);
    void *closed_data;
    char peer[BND_ADDRESS_MAX];
};

/* Lives in bnd_write.priv. */
struct write_req {
    uv_write_t req;
    struct io_env *env;
};
_Static_assert(sizeof(struct write_req) <= sizeof(((struct bnd_write *)0)->priv), "it fits");

static uv_stream_t *uv_of(struct bnd_stream *stream) {
    return (uv_stream_t *)&stream->tcp;
}

static int code_of(int uv_error) {
    return uv_error == 0 ? 0 : io_code_from_errno(-uv_error);
}

struct bnd_stream *io_stream_create(struct io_env *env) {
    struct bnd_stream *stream = bnd_zalloc(sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    BND_ASSERT(uv_tcp_init(&env->loop, &stream->tcp) == 0); /* opens no descriptor yet */
    stream->tcp.data = stream;
    stream->env = env;
    bnd_list_push(&env->streams, &stream->link);
    return stream;
}

static void on_close(uv_handle_t *handle) {
    struct bnd_stream *stream = handle->data;
    void (*on_closed)(void *data) = stream->on_closed;
    void *data = stream->closed_data;
    io_env_tick(stream->env);
    bnd_link_remove(&stream->link);
    bnd_free(stream);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

static void start(struct bnd_stream *stream) {
    struct sockaddr_storage peer = {0};
    int len = sizeof peer;
    /* Both fail only where the connection is lost already, which the first read or write will tell.
     */
    (void)uv_tcp_nodelay(&stream->tcp, 1);
    (void)uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)(void *)&peer, &len);
    io_address_format(&peer, stream->peer);
}

int io_stream_accept(struct bnd_stream *stream, uv_stream_t *server) {
    int rc = uv_accept(server, uv_of(stream));
    if (rc == 0) {
        start(stream);
    }
    return rc;
}

/* ---- connect ------------------------------------------------------------------------------------
 */

static void on_connect(uv_connect_t *req, int status) {
    struct bnd_stream *stream = BND_CONTAINER(req, struct bnd_stream, connect_req);
    struct bnd_connect *connect = stream->connect;
    io_env_tick(stream->env);
    stream->connect = NULL;
    if (status == 0) {
        start(stream);
        connect->cb(connect, 0, stream);
        return;
    }
    if (!stream->closing) { /* it is when the env ends */
        io_stream_close(&stream->env->base, stream, NULL, NULL);
    }
    connect->cb(connect, code_of(status), NULL);
}

int io_connect(struct bnd_env *base, const char *address, struct bnd_connect *connect,
               struct bnd_error *err) {
    struct io_env *env = io_env_of(base);
    struct sockaddr_storage to;
    int rv = io_address_parse(address, &to, err);
    if (rv != 0) {
        return rv;
    }
    if (env->destroying) {
        return BND_FAIL(err, CANCELED, "connect %s: the loop is ending", address);
    }
    struct bnd_stream *stream = io_stream_create(env);
    if (stream == NULL) {
        return BND_FAIL(err, NOMEM, "connect %s: out of memory", address);
    }
    int rc = uv_tcp_connect(&stream->connect_req, &stream->tcp,
                            (const struct sockaddr *)(const void *)&to, on_connect);
    if (rc != 0) {
        io_stream_close(base, stream, NULL, NULL);
        return bnd_error_set(err, code_of(rc), "connect %s: %s", address, uv_strerror(rc));
    }
    stream->connect = connect;
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

/* One buffer for all streams: on_read borrows it only until it returns, and reads do not nest. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    struct bnd_stream *stream = handle->data;
    *out = uv_buf_init((char *)stream->env->read_buffer, IO_READ_BYTES);
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf) {
    struct bnd_stream *stream = handle->data;
    if (count == 0) { /* EAGAIN */
        return;
    }
    io_env_tick(stream->env);
    if (count > 0) {
        stream->events->on_read(stream->owner, (const uint8_t *)buf->base, (size_t)count);
        return;
    }
    stream->ended = true;
    stream->reading = false;
    (void)uv_read_stop(handle); /* never fails */
    stream->events->on_end(stream->owner, count == UV_EOF ? 0 : code_of((int)count));
}

void io_stream_bind(struct bnd_env *base, struct bnd_stream *stream,
                    const struct bnd_stream_events *events, void *owner) {
    BND_ASSERT(events != NULL);
    stream->events = events;
    stream->owner = owner;
}

void io_stream_read(struct bnd_env *base, struct bnd_stream *stream, bool on) {
    BND_ASSERT(!stream->closing);
    BND_ASSERT(!on || stream->events != NULL);
    if (stream->ended || stream->reading == on) {
        return;
    }
    stream->reading = on;
    if (on) {
        BND_ASSERT(uv_read_start(uv_of(stream), on_alloc, on_read) == 0);
    } else {
        (void)uv_read_stop(uv_of(stream)); /* never fails */
    }
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static void fill_bufs(uv_buf_t *out, const struct bnd_iov *iov, unsigned count) {
    BND_ASSERT(count > 0 && count <= IO_WRITE_IOV_MAX);
    for (unsigned i = 0; i < count; i++) {
        /* not uv_buf_init: its length is 32 bits wide */
        out[i] = (uv_buf_t){.base = iov[i].data, .len = iov[i].len};
    }
}

long io_stream_try_write(struct bnd_env *base, struct bnd_stream *stream, const struct bnd_iov *iov,
                         unsigned count) {
    uv_buf_t bufs[IO_WRITE_IOV_MAX];
    BND_ASSERT(!stream->closing);
    fill_bufs(bufs, iov, count);
    int rc = uv_try_write(uv_of(stream), bufs, count);
    if (rc == UV_EAGAIN) {
        return 0;
    }
    return rc < 0 ? code_of(rc) : rc;
}

static void on_write(uv_write_t *req, int status) {
    struct write_req *wr = BND_CONTAINER(req, struct write_req, req);
    struct bnd_write *write = BND_CONTAINER(wr, struct bnd_write, priv);
    io_env_tick(wr->env);
    write->cb(write, code_of(status));
}

int io_stream_write(struct bnd_env *base, struct bnd_stream *stream, struct bnd_write *write,
                    const struct bnd_iov *iov, unsigned count) {
    uv_buf_t bufs[IO_WRITE_IOV_MAX];
    BND_ASSERT(!stream->closing);
    fill_bufs(bufs, iov, count);
    struct write_req *wr = (struct write_req *)(void *)write->priv;
    wr->env = stream->env;
    return code_of(uv_write(&wr->req, uv_of(stream), bufs, count, on_write));
}

size_t io_stream_queued(struct bnd_env *base, struct bnd_stream *stream) {
    return uv_stream_get_write_queue_size(uv_of(stream));
}

/* ---- ending -------------------------------------------------------------------------------------
 */

static void on_shutdown(uv_shutdown_t *req, int status) {
    /* Nobody asked to be told; a lost peer shows in reads. */
}

void io_stream_shutdown(struct bnd_env *base, struct bnd_stream *stream) {
    BND_ASSERT(!stream->closing);
    if (stream->shut) {
        return;
    }
    stream->shut = true;
    (void)uv_shutdown(&stream->shutdown, uv_of(stream), on_shutdown); /* as on_shutdown */
}

void io_stream_peer(struct bnd_env *base, struct bnd_stream *stream, char out[BND_ADDRESS_MAX]) {
    memcpy(out, stream->peer, BND_ADDRESS_MAX);
}

void io_stream_close(struct bnd_env *base, struct bnd_stream *stream, void (*on_closed)(void *data),
                     void *data) {
    BND_ASSERT(!stream->closing);
    stream->closing = true;
    stream->on_closed = on_closed;
    stream->closed_data = data;
    uv_close((uv_handle_t *)&stream->tcp, on_close);
}

void io_streams_close_all(struct io_env *env) {
    for (struct bnd_link *link = env->streams.next; link != &env->streams; link = link->next) {
        struct bnd_stream *stream = BND_CONTAINER(link, struct bnd_stream, link);
        if (!stream->closing) {
            io_stream_close(&env->base, stream, NULL, NULL);
        }
    }
}
