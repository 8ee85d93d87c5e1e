/* Connections: plain TCP or TLS behind one shape.
 *
 * Plain: everything but the life cycle is the stream's. TLS:
 *
 *   stream -> [chunk | held] -> tls_end -> on_read      held: what the owner did not want yet;
 * while it is not empty the stream's reading is off pending -> tls_end.out -> [flight] -> stream
 * one stream_write of `flight` at a time; pending writes are encrypted only while out is below its
 * bound
 *
 * Invariants: (1) no event or write callback comes from inside a public call: they are left to
 * `task`; (2) at most BND_CONN_CIPHER_MAX plus one record is encrypted ahead of the kernel, plus
 * answers to at most one received chunk; (3) a write is answered after the kernel has all bytes
 * encrypted for it, in order; (4) the memory goes only when the stream is gone and the task has
 * run.
 *
 * Failure modes: a fatal error of stream or TLS is kept in end_status, fails every write under way
 * and is told once by on_end. */
#include "net/conn.h"

#include "base/alloc.h"
#include "net/tls_private.h"

#include <openssl/err.h>
#include <stdio.h>

#define RECORD_BYTES (16u << 10)
#define GATHER_BYTES 4096
#define WRITE_IOV_MAX 16
#define ROUNDS_MAX 8

/* How a queued TLS write lives in struct bnd_write's private words: (base, length) pairs, consumed
 * from the front. */
_Static_assert(sizeof(((struct bnd_write *)0)->priv) >= WRITE_IOV_MAX * sizeof(struct bnd_iov),
               "a write's private words hold its vector");

struct bnd_conn {
    struct bnd_env *env;
    struct bnd_stream *stream;
    const struct bnd_conn_events *events;
    void *owner;
    struct bnd_task task;
    bool task_pending;
    bool open;        /* on_open has come or is coming now */
    bool read_wanted; /* by the owner */
    bool stream_reading;
    bool shut_wanted;
    bool shut;
    bool closing;
    bool stream_gone;
    bool ended; /* end_status is final: nothing more is read */
    bool end_told;
    int end_status;
    void (*on_closed)(void *data);
    void *on_closed_data;
    /* TLS only */
    bool is_tls;
    bool received_end; /* the stream's end, told after what is held */
    int received_status;
    struct tls_end tls;
    struct bnd_timer timer;
    struct bnd_buf held;
    struct bnd_link pending;   /* writes not wholly encrypted */
    struct bnd_link encrypted; /* writes waiting for the kernel */
    size_t pending_bytes;
    struct bnd_buf flight;
    struct bnd_write flight_write;
    bool flying;
};

static void task_run(struct bnd_task *task);
static void pump_out(struct bnd_conn *conn);

static void wake(struct bnd_conn *conn) {
    if (!conn->task_pending) {
        conn->task_pending = true;
        bnd_defer(conn->env, &conn->task);
    }
}

/* Sets the stream's reading to what the state asks for (invariant 2: answers waiting for the kernel
 * stop it). */
static void update_reading(struct bnd_conn *conn) {
    if (conn->closing) {
        return;
    }
    bool want = !conn->ended;
    if (conn->is_tls) {
        want = want && !conn->received_end && conn->held.len == 0 &&
               conn->tls.out.len < 2 * BND_CONN_CIPHER_MAX && (!conn->open || conn->read_wanted);
    } else {
        want = want && conn->open && conn->read_wanted;
    }
    if (want != conn->stream_reading) {
        conn->stream_reading = want;
        conn->env->ops->stream_read(conn->env, conn->stream, want);
    }
}

/* ---- the end
 * ------------------------------------------------------------------------------------------ */

static bool has_failed(const struct bnd_conn *conn) {
    return conn->ended && conn->end_status != 0;
}

/* Records the end; the first one counts. Telling is left to the caller or the task. */
static void end_with(struct bnd_conn *conn, int status) {
    if (!conn->ended) {
        conn->ended = true;
        conn->end_status = status;
        if (conn->is_tls) {
            bnd_timer_stop(conn->env, &conn->timer);
        }
    }
}

static void answer_all(struct bnd_link *list, int status) {
    struct bnd_link *link;
    while ((link = bnd_list_pop(list)) != NULL) {
        struct bnd_write *write = BND_CONTAINER(link, struct bnd_write, link);
        write->cb(write, status);
    }
}

static void tell_end(struct bnd_conn *conn) {
    if (!conn->ended || conn->closing) {
        return;
    }
    update_reading(conn);
    if (has_failed(conn) && conn->is_tls && !conn->flying) {
        answer_all(&conn->encrypted, conn->end_status);
        answer_all(&conn->pending, conn->end_status);
        conn->pending_bytes = 0;
    }
    if (!conn->end_told && !conn->closing) {
        conn->end_told = true;
        if (conn->events != NULL && conn->events->on_end != NULL) {
            conn->events->on_end(conn->owner, conn->end_status);
        }
    }
}

static void free_if_over(struct bnd_conn *conn) {
    if (!conn->stream_gone || conn->task_pending) {
        return;
    }
    answer_all(&conn->encrypted, BND_CANCELED);
    answer_all(&conn->pending, BND_CANCELED);
    tls_end_close(&conn->tls);
    bnd_buf_free(&conn->held);
    bnd_buf_free(&conn->flight);
    void (*on_closed)(void *) = conn->on_closed;
    void *data = conn->on_closed_data;
    bnd_free(conn);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

/* ---- TLS: out
 * ----------------------------------------------------------------------------------------- */

static void flight_done(struct bnd_write *write, int status) {
    struct bnd_conn *conn = write->data;
    conn->flying = false;
    bnd_buf_reset(&conn->flight);
    if (conn->closing) {
        return;
    }
    if (status != 0) {
        end_with(conn, status);
        tell_end(conn);
        return;
    }
    pump_out(conn);
    tell_end(conn);
}

/* Hands `out` to the kernel, what it does not take to `flight`. */
static void flush_out(struct bnd_conn *conn) {
    struct bnd_buf *out = &conn->tls.out;
    if (conn->flying || out->len == 0 || conn->stream_gone) {
        return;
    }
    struct bnd_iov iov = {out->data, out->len};
    long sent = conn->env->ops->stream_try_write(conn->env, conn->stream, &iov, 1);
    if (sent < 0) {
        end_with(conn, (int)sent);
        return;
    }
    if ((size_t)sent == out->len) {
        bnd_buf_reset(out);
        if (out->cap > 2 * BND_CONN_CIPHER_MAX) {
            bnd_buf_free(out);
        }
        return;
    }
    struct bnd_buf swap = conn->flight;
    conn->flight = *out;
    *out = swap;
    iov = (struct bnd_iov){conn->flight.data + sent, conn->flight.len - (size_t)sent};
    conn->flight_write = (struct bnd_write){.cb = flight_done, .data = conn};
    int rv = conn->env->ops->stream_write(conn->env, conn->stream, &conn->flight_write, &iov, 1);
    if (rv != 0) {
        end_with(conn, rv);
        return;
    }
    conn->flying = true;
}

/* Encrypts the front of a vector: one record, small pieces gathered. Bytes taken, or a code. */
static long encrypt_front(struct bnd_conn *conn, const struct bnd_iov *iov, unsigned count) {
    if (iov[0].len >= GATHER_BYTES || count == 1) {
        return tls_end_write(&conn->tls, iov[0].data, iov[0].len);
    }
    uint8_t gathered[GATHER_BYTES];
    size_t used = 0;
    for (unsigned i = 0; i < count && used < sizeof gathered; i++) {
        size_t room = sizeof gathered - used;
        size_t take = iov[i].len < room ? iov[i].len : room;
        if (take > 0) {
            memcpy(gathered + used, iov[i].data, take);
        }
        used += take;
    }
    return tls_end_write(&conn->tls, gathered, used);
}

/* Advances a vector by `bytes`; returns the index of its first piece that is not empty, or count.
 */
static unsigned consume(struct bnd_iov *iov, unsigned count, size_t bytes) {
    unsigned i = 0;
    for (; i < count; i++) {
        size_t take = bytes < iov[i].len ? bytes : iov[i].len;
        if (take > 0) {
            iov[i].data = (uint8_t *)iov[i].data + take;
            iov[i].len -= take;
            bytes -= take;
        }
        if (iov[i].len > 0) {
            break;
        }
    }
    BND_ASSERT(bytes == 0);
    return i;
}

/* Encrypts the first pending write as far as the bound allows; false: bound or error. */
static bool encrypt_pending(struct bnd_conn *conn) {
    struct bnd_link *first = conn->pending.next;
    struct bnd_iov iov[WRITE_IOV_MAX];
    struct bnd_write *write = BND_CONTAINER(first, struct bnd_write, link);
    memcpy(iov, write->priv, sizeof iov);
    unsigned at = consume(iov, WRITE_IOV_MAX, 0);
    while (at < WRITE_IOV_MAX && conn->tls.out.len < BND_CONN_CIPHER_MAX) {
        long taken = encrypt_front(conn, iov + at, WRITE_IOV_MAX - at);
        if (taken < 0) {
            end_with(conn, (int)taken);
            return false;
        }
        conn->pending_bytes -= (size_t)taken;
        at += consume(iov + at, WRITE_IOV_MAX - at, (size_t)taken);
    }
    memcpy(write->priv, iov, sizeof iov);
    if (at < WRITE_IOV_MAX) {
        return false;
    }
    bnd_link_remove(first);
    bnd_list_push(&conn->encrypted, first);
    return true;
}

static void shut_now(struct bnd_conn *conn) {
    conn->shut = true;
    tls_end_notify(&conn->tls);
    flush_out(conn);
    conn->env->ops->stream_shutdown(conn->env, conn->stream);
}

/* Moves bytes towards the kernel until it is full or nothing is left. Loop callbacks only. */
static void pump_out(struct bnd_conn *conn) {
    for (unsigned round = 0; !conn->flying && !conn->closing && !has_failed(conn); round++) {
        if (round == ROUNDS_MAX) {
            wake(conn); /* a fast reader must not hold the loop */
            break;
        }
        while (conn->open && !bnd_list_empty(&conn->pending) && encrypt_pending(conn)) {
        }
        flush_out(conn);
        if (conn->flying || has_failed(conn)) {
            break;
        }
        answer_all(&conn->encrypted, 0);
        if (!conn->open || bnd_list_empty(&conn->pending)) {
            break;
        }
    }
    if (conn->open && conn->shut_wanted && !conn->shut && !conn->closing && !has_failed(conn) &&
        bnd_list_empty(&conn->pending) && !conn->flying) {
        shut_now(conn);
    }
    update_reading(conn);
}

/* ---- TLS: in
 * ------------------------------------------------------------------------------------------ */

static void handshake_late(struct bnd_timer *timer) {
    struct bnd_conn *conn = timer->data;
    (void)snprintf(conn->tls.failure, sizeof conn->tls.failure, "no TLS handshake in time");
    end_with(conn, BND_TIMEOUT);
    tell_end(conn);
}

static bool input_step_handshake(struct bnd_conn *conn) {
    int rv = tls_end_handshake(&conn->tls);
    if (rv != 1) {
        if (rv < 0) {
            flush_out(conn); /* the alert */
            end_with(conn, rv);
        }
        return false;
    }
    bnd_timer_stop(conn->env, &conn->timer);
    conn->open = true;
    flush_out(conn);
    if (conn->events != NULL && conn->events->on_open != NULL) {
        conn->events->on_open(conn->owner);
    }
    return true;
}

/* One step from what was fed; false: no more can be done now. */
static bool input_step(struct bnd_conn *conn) {
    if (conn->closing || conn->ended) {
        return false;
    }
    if (!conn->open) {
        return input_step_handshake(conn);
    }
    if (!conn->read_wanted) {
        return false;
    }
    uint8_t plain[RECORD_BYTES];
    long got = tls_end_read(&conn->tls, plain, sizeof plain);
    if (got <= 0) {
        if (got < 0) {
            flush_out(conn);
            end_with(conn, got == BND_CLOSED ? 0 : (int)got);
        }
        return false;
    }
    if (conn->events != NULL && conn->events->on_read != NULL) {
        conn->events->on_read(conn->owner, plain, (size_t)got);
    }
    return true;
}

/* Feeds `chunk` behind what is held, delivers what is wanted, keeps the rest. */
static void pump_in(struct bnd_conn *conn, struct bnd_slice chunk) {
    if (conn->held.len > 0) {
        bnd_buf_append_slice(&conn->held, chunk);
        chunk = bnd_buf_slice(&conn->held);
    }
    if (conn->held.failed) {
        end_with(conn, BND_NOMEM);
    }
    conn->tls.in = chunk;
    while (input_step(conn)) {
    }
    struct bnd_slice rest = conn->tls.in;
    conn->tls.in = bnd_slice(NULL, 0);
    if (conn->closing) {
        return;
    }
    bool was_held = conn->held.len > 0;
    if (rest.len == 0 || conn->ended) {
        bnd_buf_free(&conn->held);
    } else if (was_held) {
        memmove(conn->held.data, rest.data, rest.len);
        conn->held.len = rest.len;
    } else {
        bnd_buf_append_slice(&conn->held, rest);
    }
    if (conn->held.failed) {
        end_with(conn, BND_NOMEM);
    }
    if (conn->received_end && rest.len == 0 && (conn->read_wanted || !conn->open)) {
        if (conn->received_status == 0) {
            (void)snprintf(conn->tls.failure, sizeof conn->tls.failure, "%s",
                           conn->open ? "cut without close_notify"
                                      : "closed during the TLS handshake");
        }
        end_with(conn, conn->received_status == 0 ? BND_CLOSED : conn->received_status);
    }
}

static void tls_on_read(void *owner, const uint8_t *data, size_t len) {
    struct bnd_conn *conn = owner;
    pump_in(conn, bnd_slice(data, len));
    pump_out(conn);
    tell_end(conn);
}

static void tls_on_end(void *owner, int status) {
    struct bnd_conn *conn = owner;
    conn->received_end = true;
    conn->received_status = status;
    pump_in(conn, bnd_slice(NULL, 0));
    pump_out(conn);
    tell_end(conn);
}

static const struct bnd_stream_events tls_events = {.on_read = tls_on_read, .on_end = tls_on_end};

/* ---- plain
 * -------------------------------------------------------------------------------------------- */

static void plain_on_read(void *owner, const uint8_t *data, size_t len) {
    struct bnd_conn *conn = owner;
    if (conn->events != NULL && conn->events->on_read != NULL) {
        conn->events->on_read(conn->owner, data, len);
    }
}

static void plain_on_end(void *owner, int status) {
    struct bnd_conn *conn = owner;
    end_with(conn, status);
    tell_end(conn);
}

static const struct bnd_stream_events plain_events = {.on_read = plain_on_read,
                                                      .on_end = plain_on_end};

/* ---- public
 * ------------------------------------------------------------------------------------------- */

static void open_plain(struct bnd_conn *conn) {
    if (!conn->open && !conn->closing && !conn->ended) {
        conn->open = true;
        if (conn->events != NULL && conn->events->on_open != NULL) {
            conn->events->on_open(conn->owner);
        }
    }
    update_reading(conn);
}

static void task_run(struct bnd_task *task) {
    struct bnd_conn *conn = task->data;
    conn->task_pending = false;
    if (!conn->closing) {
        if (conn->is_tls) {
            pump_in(conn, bnd_slice(NULL, 0));
            pump_out(conn);
        } else {
            open_plain(conn);
        }
        tell_end(conn);
    }
    free_if_over(conn);
}

int bnd_conn_create(const struct bnd_conn_options *options, struct bnd_conn **out) {
    struct bnd_conn *conn = bnd_zalloc(sizeof *conn);
    if (conn == NULL) {
        return BND_NOMEM;
    }
    struct bnd_env *env = options->env;
    conn->env = env;
    conn->stream = options->stream;
    conn->task = (struct bnd_task){.cb = task_run, .data = conn};
    bnd_list_init(&conn->pending);
    bnd_list_init(&conn->encrypted);
    if (options->tls != NULL) {
        int rv = tls_end_init(&conn->tls, options->tls, options->server_name, bnd_wall_ms(env));
        if (rv != 0) {
            bnd_free(conn);
            return rv;
        }
        conn->is_tls = true;
        conn->timer = (struct bnd_timer){.cb = handshake_late, .data = conn};
        bnd_timer_start(env, &conn->timer,
                        options->handshake_timeout_ns == 0 ? BND_CONN_HANDSHAKE_NS
                                                           : options->handshake_timeout_ns);
    }
    env->ops->stream_bind(env, conn->stream, conn->is_tls ? &tls_events : &plain_events, conn);
    wake(conn);
    *out = conn;
    return 0;
}

void bnd_conn_bind(struct bnd_conn *conn, const struct bnd_conn_events *events, void *owner) {
    conn->events = events;
    conn->owner = owner;
}

void bnd_conn_read(struct bnd_conn *conn, bool on) {
    BND_ASSERT(!conn->closing);
    conn->read_wanted = on;
    if (conn->is_tls && on) {
        wake(conn); /* for bytes held back */
    }
    update_reading(conn);
}

static bool may_write(const struct bnd_conn *conn) {
    return !conn->shut_wanted && !conn->closing && !has_failed(conn);
}

long bnd_conn_try_write(struct bnd_conn *conn, const struct bnd_iov *iov, unsigned count) {
    BND_ASSERT(count <= WRITE_IOV_MAX);
    if (!may_write(conn)) {
        return BND_CLOSED;
    }
    if (!conn->is_tls) {
        return conn->env->ops->stream_try_write(conn->env, conn->stream, iov, count);
    }
    if (!conn->open || conn->flying || !bnd_list_empty(&conn->pending)) {
        return 0;
    }
    struct bnd_iov rest[WRITE_IOV_MAX];
    memcpy(rest, iov, count * sizeof *iov);
    long total = 0;
    unsigned at = consume(rest, count, 0);
    while (at < count && !conn->flying) {
        long taken = encrypt_front(conn, rest + at, count - at);
        if (taken < 0) {
            end_with(conn, (int)taken);
            break;
        }
        total += taken;
        at += consume(rest + at, count - at, (size_t)taken);
        if (conn->tls.out.len >= BND_CONN_CIPHER_MAX) {
            flush_out(conn);
        }
    }
    flush_out(conn);
    if (has_failed(conn)) {
        wake(conn);
        return conn->end_status;
    }
    return total;
}

int bnd_conn_write(struct bnd_conn *conn, struct bnd_write *write, const struct bnd_iov *iov,
                   unsigned count) {
    BND_ASSERT(count <= WRITE_IOV_MAX);
    if (!may_write(conn)) {
        return BND_CLOSED;
    }
    if (!conn->is_tls) {
        return conn->env->ops->stream_write(conn->env, conn->stream, write, iov, count);
    }
    memset(write->priv, 0, sizeof write->priv);
    for (unsigned i = 0; i < count; i++) {
        memcpy((struct bnd_iov *)(void *)write->priv + i, &iov[i], sizeof iov[i]);
        conn->pending_bytes += iov[i].len;
    }
    bnd_list_push(&conn->pending, &write->link);
    wake(conn);
    return 0;
}

size_t bnd_conn_queued(struct bnd_conn *conn) {
    size_t queued = conn->env->ops->stream_queued(conn->env, conn->stream);
    return queued + conn->pending_bytes + conn->tls.out.len;
}

void bnd_conn_shutdown(struct bnd_conn *conn) {
    BND_ASSERT(!conn->closing);
    if (conn->shut_wanted) {
        return;
    }
    conn->shut_wanted = true;
    if (conn->is_tls) {
        wake(conn);
    } else {
        conn->shut = true;
        conn->env->ops->stream_shutdown(conn->env, conn->stream);
    }
}

/* Last words: what the kernel does not take at once is lost. */
static void flush_once(struct bnd_conn *conn) {
    struct bnd_iov iov = {conn->tls.out.data, conn->tls.out.len};
    if (iov.len > 0) {
        (void)conn->env->ops->stream_try_write(conn->env, conn->stream, &iov, 1); /* best effort */
    }
}

static void stream_closed(void *data) {
    struct bnd_conn *conn = data;
    conn->stream_gone = true;
    free_if_over(conn);
}

void bnd_conn_close(struct bnd_conn *conn, void (*on_closed)(void *data), void *data) {
    BND_ASSERT(!conn->closing);
    if (conn->is_tls) {
        bnd_timer_stop(conn->env, &conn->timer);
        if (conn->open && !conn->shut && !conn->flying && !has_failed(conn) &&
            bnd_list_empty(&conn->pending)) {
            tls_end_notify(&conn->tls);
            flush_once(conn);
        }
    }
    conn->closing = true;
    conn->on_closed = on_closed;
    conn->on_closed_data = data;
    conn->env->ops->stream_close(conn->env, conn->stream, stream_closed, conn);
}

void bnd_conn_peer(struct bnd_conn *conn, char out[BND_ADDRESS_MAX]) {
    conn->env->ops->stream_peer(conn->env, conn->stream, out);
}

bool bnd_conn_is_tls(const struct bnd_conn *conn) {
    return conn->is_tls;
}

int bnd_conn_peer_certificate(struct bnd_conn *conn, struct bnd_buf *out) {
    bnd_buf_reset(out);
    X509 *x509 = conn->is_tls ? SSL_get1_peer_certificate(conn->tls.ssl) : NULL;
    if (x509 == NULL) {
        return 0;
    }
    unsigned char *der = NULL;
    int len = i2d_X509(x509, &der);
    X509_free(x509);
    if (len < 0) {
        ERR_clear_error();
        return BND_NOMEM;
    }
    bnd_buf_append(out, der, (size_t)len);
    OPENSSL_free(der);
    return out->failed ? BND_NOMEM : 0;
}

struct bnd_slice bnd_conn_alpn(struct bnd_conn *conn) {
    const unsigned char *name = NULL;
    unsigned len = 0;
    if (conn->is_tls) {
        SSL_get0_alpn_selected(conn->tls.ssl, &name, &len);
    }
    return bnd_slice(name, len);
}

const char *bnd_conn_failure(const struct bnd_conn *conn) {
    return conn->tls.failure;
}
