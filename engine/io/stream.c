/* TCP streams over libuv. Small writes are collected and leave at the end of the pass (sends.c).
 *
 * Invariants:
 *  1. A stream is in env->streams from its creation until libuv has closed its handle; then it is
 * freed.
 *  2. After io_stream_close (closing) or an end (ended) no event reaches the owner.
 *  3. Writes are answered by libuv before its close callback: on_closed is last.
 *  4. What try_write has taken is sent before anything written later, and before a close: where the
 *     kernel does not take it at the end of the pass it is a `rest`, which a close waits for.
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
    bool connected;
    int fd;            /* libuv's, once connected */
    unsigned place;    /* of what is collected, as io_sends_room says; 0: nothing is */
    struct rest *rest; /* what the kernel did not take of that, or NULL */
    int failure;       /* of a send; told by the task */
    struct bnd_task failed_task;
    void (*on_closed)(void *data);
    void *closed_data;
    char peer[BND_ADDRESS_MAX];
};

/* Taken by try_write and not by the kernel. */
struct rest {
    uv_write_t req;
    struct bnd_stream *stream;
    struct bnd_timer linger; /* of a close that waits for it */
    uint8_t bytes[];
};
#define LINGER_NS (UINT64_C(5000) * BND_MS)

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

/* ---- what was collected
 * -------------------------------------------------------------------------
 */

static void end(struct bnd_stream *stream, int status) {
    stream->ended = true;
    stream->reading = false;
    (void)uv_read_stop(uv_of(stream)); /* never fails */
    stream->events->on_end(stream->owner, status);
}

static void on_failed(struct bnd_task *task) {
    struct bnd_stream *stream = task->data;
    if (!stream->ended && !stream->closing) {
        end(stream, stream->failure);
    }
}

static void fail(struct bnd_stream *stream, int code) {
    if (stream->failure == 0 && !stream->closing) {
        stream->failure = code;
        bnd_defer(&stream->env->base, &stream->failed_task);
    }
}

static void close_handle(struct bnd_stream *stream);

static void on_rest(uv_write_t *req, int status) {
    struct rest *rest = BND_CONTAINER(req, struct rest, req);
    struct bnd_stream *stream = rest->stream;
    io_env_tick(stream->env);
    bnd_timer_stop(&stream->env->base, &rest->linger);
    bnd_free(rest);
    stream->rest = NULL;
    if (stream->closing) {
        close_handle(stream);
    } else if (status != 0) {
        fail(stream, code_of(status));
    }
}

static void on_linger(struct bnd_timer *timer) {
    close_handle(timer->data);
}

static int rest_write(struct bnd_stream *stream, const uint8_t *bytes, size_t len) {
    BND_ASSERT(stream->rest == NULL); /* while there is one nothing is collected */
    struct rest *rest = bnd_alloc(sizeof *rest + len);
    if (rest == NULL) {
        return BND_NOMEM;
    }
    *rest = (struct rest){.stream = stream, .linger = {.cb = on_linger, .data = stream}};
    memcpy(rest->bytes, bytes, len);
    uv_buf_t buf = {.base = (char *)rest->bytes, .len = len};
    int rc = uv_write(&rest->req, uv_of(stream), &buf, 1, on_rest);
    if (rc != 0) {
        bnd_free(rest);
        return code_of(rc);
    }
    stream->rest = rest;
    return 0;
}

void io_stream_sent(struct bnd_stream *stream, const uint8_t *bytes, size_t len, long sent) {
    stream->place = 0;
    if (sent < 0 && sent != -EAGAIN && sent != -EINTR) {
        fail(stream, io_code_from_errno((int)-sent));
        return;
    }
    size_t taken = sent < 0 ? 0 : (size_t)sent;
    int rv = taken == len ? 0 : rest_write(stream, bytes + taken, len - taken);
    if (rv != 0) {
        fail(stream, rv);
    }
}

int io_stream_fd(const struct bnd_stream *stream) {
    return stream->fd;
}

bool io_stream_may_collect(const struct bnd_stream *stream) {
    return stream->connected && !stream->shut && stream->failure == 0 &&
           stream->tcp.write_queue_size == 0;
}

/* What is written next comes after what is collected. */
static void settle(struct bnd_stream *stream) {
    if (stream->place != 0) {
        io_sends_flush(stream->env);
    }
}

/* ---- life
 * ---------------------------------------------------------------------------------------
 */

struct bnd_stream *io_stream_create(struct io_env *env) {
    struct bnd_stream *stream = bnd_zalloc(sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    BND_ASSERT(uv_tcp_init(&env->loop, &stream->tcp) == 0); /* opens no descriptor yet */
    stream->tcp.data = stream;
    stream->env = env;
    stream->failed_task = (struct bnd_task){.cb = on_failed, .data = stream};
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

static void close_handle(struct bnd_stream *stream) {
    if (uv_is_closing((uv_handle_t *)&stream->tcp) == 0) {
        uv_close((uv_handle_t *)&stream->tcp, on_close);
    }
}

static void start(struct bnd_stream *stream) {
    struct sockaddr_storage peer = {0};
    int len = sizeof peer;
    /* Both fail only where the connection is lost already, which the first read or write will tell.
     */
    (void)uv_tcp_nodelay(&stream->tcp, 1);
    (void)uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)(void *)&peer, &len);
    stream->connected = uv_fileno((uv_handle_t *)&stream->tcp, &stream->fd) == 0;
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
    end(stream, count == UV_EOF ? 0 : code_of((int)count));
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

/* False: it is to be written. */
static bool collect(struct bnd_stream *stream, const struct bnd_iov *iov, unsigned count,
                    size_t len) {
    if (!stream->env->running || !stream->env->sends.open || !io_stream_may_collect(stream)) {
        return false;
    }
    uint8_t *room = io_sends_room(stream->env, stream, stream->place, len, &stream->place);
    for (unsigned i = 0; room != NULL && i < count; i++) {
        memcpy(room, iov[i].data, iov[i].len);
        room += iov[i].len;
    }
    return room != NULL;
}

long io_stream_try_write(struct bnd_env *base, struct bnd_stream *stream, const struct bnd_iov *iov,
                         unsigned count) {
    uv_buf_t bufs[IO_WRITE_IOV_MAX];
    BND_ASSERT(!stream->closing);
    if (stream->failure != 0) {
        return stream->failure;
    }
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        len += iov[i].len;
    }
    if (len > 0 && len <= IO_SEND_BYTES_MAX && collect(stream, iov, count, len)) {
        return (long)len;
    }
    settle(stream);
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
    settle(stream);
    fill_bufs(bufs, iov, count);
    struct write_req *wr = (struct write_req *)(void *)write->priv;
    wr->env = stream->env;
    return code_of(uv_write(&wr->req, uv_of(stream), bufs, count, on_write));
}

size_t io_stream_queued(struct bnd_env *base, struct bnd_stream *stream) {
    const struct io_sends *sends = &stream->env->sends;
    size_t collected = stream->place == 0 ? 0 : sends->list[stream->place - 1].len;
    return collected + uv_stream_get_write_queue_size(uv_of(stream));
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
    settle(stream);
    stream->shut = true;
    (void)uv_shutdown(&stream->shutdown, uv_of(stream), on_shutdown); /* as on_shutdown */
}

void io_stream_peer(struct bnd_env *base, struct bnd_stream *stream, char out[BND_ADDRESS_MAX]) {
    memcpy(out, stream->peer, BND_ADDRESS_MAX);
}

void io_stream_close(struct bnd_env *base, struct bnd_stream *stream, void (*on_closed)(void *data),
                     void *data) {
    BND_ASSERT(!stream->closing);
    settle(stream);
    stream->closing = true;
    stream->on_closed = on_closed;
    stream->closed_data = data;
    if (bnd_link_linked(&stream->failed_task.link)) {
        bnd_link_remove(&stream->failed_task.link);
    }
    if (stream->rest != NULL && !stream->env->destroying) {
        (void)uv_read_stop(uv_of(stream)); /* never fails */
        bnd_timer_start(base, &stream->rest->linger, LINGER_NS);
        return;
    }
    close_handle(stream);
}

void io_streams_close_all(struct io_env *env) {
    for (struct bnd_link *link = env->streams.next; link != &env->streams; link = link->next) {
        struct bnd_stream *stream = BND_CONTAINER(link, struct bnd_stream, link);
        if (!stream->closing) {
            io_stream_close(&env->base, stream, NULL, NULL);
        } else {
            close_handle(stream); /* it may have waited for its rest */
        }
    }
}
