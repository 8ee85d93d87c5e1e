/* Inside engine/io: the env and what its files share. */
#ifndef BND_ENGINE_IO_IO_PRIVATE_H
#define BND_ENGINE_IO_IO_PRIVATE_H

#include "base/timer_heap.h"
#include "engine/io/io.h"

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#define IO_DEPTH_DEFAULT 256U
#define IO_DEPTH_MAX 4096U
#define IO_QUEUE_MAX_DEFAULT 4096U
#define IO_THREADS_DEFAULT 4U
#define IO_THREADS_MAX 64U
#define IO_WORK_QUEUE_MAX_DEFAULT 1024U
#define IO_READ_BYTES (64U * 1024U)
#define IO_WRITE_IOV_MAX 16U

/* ---- pool.c: threads for blocking jobs ----------------------------------------------------------
 */

#define IO_POOL_PINS 256U /* hash buckets of pins that have work */

/* One mutex guards it all. A pinned work is either a pin's leader, which is in `pins` from its
 * submission to its end and in `ready` or on a thread, or it waits in its leader's chain. */
struct io_pool {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct io_env *env;
    unsigned threads_max;
    unsigned threads;
    unsigned idle;  /* threads that wait, also those that were signalled and have not woken */
    unsigned ready; /* works in the list of that name */
    unsigned queue_max;
    unsigned under_way; /* accepted and not yet answered; loop thread only */
    unsigned running;
    bool stopping;
    pthread_cond_t quiet; /* running reached 0 */
    bool paused;          /* start nothing more */
    struct bnd_work *ready_first;
    struct bnd_work *ready_last;
    struct bnd_work *done_first;
    struct bnd_work *done_last;
    struct bnd_work *pins[IO_POOL_PINS];
    pthread_t ids[IO_THREADS_MAX];
};

void io_pool_init(struct io_pool *pool, struct io_env *env, unsigned threads, unsigned queue_max);
/* BND_FULL, BND_NOMEM (no thread at all could be started). */
int io_pool_submit(struct io_pool *pool, struct bnd_work *work);
void io_pool_reap(struct io_pool *pool);  /* on the loop: calls done for what has ended */
void io_pool_pause(struct io_pool *pool); /* waits for running works; queued ones stay */
void io_pool_resume(struct io_pool *pool);
void io_pool_stop(struct io_pool *pool);  /* joins; queued works end as canceled; reap delivers */
void io_pool_close(struct io_pool *pool); /* after stop and reap */

/* ---- file requests ------------------------------------------------------------------------------
 */

struct bnd_file {
    int fd;
    bool direct;
    atomic_uint under_way; /* asynchronous requests */
    char *path;            /* for messages */
};

enum io_op { IO_OP_READ, IO_OP_WRITE, IO_OP_DATASYNC };

/* Lives in bnd_io.priv. */
struct io_req {
    struct bnd_file *file;
    uint8_t *data;
    size_t len;
    uint64_t offset;
    size_t done;
    int16_t status;
    uint8_t op;
    uint8_t flags;   /* enum bnd_write_flags */
    uint8_t retries; /* of EINTR and EAGAIN */
    union {
        struct bnd_link link; /* uring: pending or completed */
        struct bnd_work work; /* threads */
    };
};
_Static_assert(sizeof(struct io_req) <= sizeof(((struct bnd_io *)0)->priv), "io_req fits");

static inline struct io_req *io_req_of(struct bnd_io *io) {
    return (struct io_req *)(void *)io->priv;
}
static inline struct bnd_io *io_of_req(struct io_req *req) {
    return BND_CONTAINER(req, struct bnd_io, priv);
}

/* Takes in the result of one system call (bytes or -errno). True: the request is answered, status
 * and done are set. False: submit the rest. */
bool io_req_advance(struct io_env *env, struct io_req *req, long result);
size_t io_req_chunk(const struct io_req *req); /* bytes of the next system call */
void io_req_answer(struct io_env *env, struct io_req *req);

struct io_uring_state {
    struct io_uring ring;
    uv_poll_t poll;
    bool open;
    bool disabled; /* made with R_DISABLED, enabled by the first run */
    bool retry;    /* the kernel asked to submit again later */
    unsigned depth;
    unsigned in_flight;        /* in the SQ or in the kernel */
    struct bnd_link pending;   /* accepted, not in the SQ */
    struct bnd_link completed; /* reaped when run ended, to be answered */
};

int io_uring_state_open(struct io_env *env, unsigned depth, struct bnd_error *err);
void io_uring_state_start(struct io_env *env);   /* on the thread that runs */
void io_uring_state_flush(struct io_env *env);   /* submits what is pending */
void io_uring_state_reap(struct io_env *env);    /* answers what has completed */
void io_uring_state_quiesce(struct io_env *env); /* waits until nothing is in the kernel */
void io_uring_state_cancel(struct io_env *env);  /* answers everything; after quiesce */
void io_uring_state_close(struct io_env *env);   /* after the poll handle is closed */

/* ---- sends.c: small writes of a pass, handed over together --------------------------------------
 */

#define IO_SENDS_MAX 64U
#define IO_SEND_BYTES_MAX 2048U /* larger writes go to the kernel by themselves */
#define IO_SENDS_BYTES (64U * 1024U)

struct io_send {
    struct bnd_stream *stream;
    size_t at, len; /* in bytes */
};

struct io_sends {
    struct io_uring ring;
    bool open; /* else nothing is collected */
    unsigned count;
    size_t used;
    struct io_send list[IO_SENDS_MAX];
    uint8_t *bytes; /* [IO_SENDS_BYTES] */
};

void io_sends_open(struct io_env *env);
void io_sends_close(struct io_env *env);
/* Room for len bytes of the stream, to be filled at once; place: of what it has collected already,
 * counted from 1, or 0. NULL: it has to write for itself, after what it had collected. */
uint8_t *io_sends_room(struct io_env *env, struct bnd_stream *stream, unsigned place, size_t len,
                       unsigned *out_place);
void io_sends_flush(struct io_env *env); /* calls io_stream_sent for each */

/* ---- the env ------------------------------------------------------------------------------------
 */

#define IO_SIGNALS 3 /* SIGTERM, SIGINT, SIGHUP */

struct io_env {
    struct bnd_env base; /* first */
    struct bnd_io_options options;
    uv_loop_t loop;
    uv_async_t async; /* posts, pool ends and stop */
    uv_prepare_t prepare;
    uv_idle_t idle; /* active while deferred tasks wait */
    uv_timer_t timer;
    uv_signal_t signals[IO_SIGNALS];
    bool running;
    bool destroying;
    atomic_bool stop;
    uint64_t now_ns; /* of the current callback */
    uint64_t random;
    struct bnd_timer_heap timers;
    uint64_t armed_ns; /* what `timer` is set to; UINT64_MAX: nothing */
    struct bnd_link deferred;
    struct bnd_link hooks;
    struct bnd_link *hook_next; /* cursor of the hook walk, moved by a removal */
    pthread_mutex_t post_mutex;
    struct bnd_link posted;
    enum bnd_io_backend backend;
    unsigned io_under_way;
    struct io_uring_state uring;
    struct io_sends sends;
    struct io_pool io_pool;   /* threads backend */
    struct io_pool work_pool; /* ops->work */
    struct bnd_link streams;
    struct bnd_link listeners;
    uint8_t *read_buffer; /* IO_READ_BYTES, lent to on_read */
};

static inline struct io_env *io_env_of(struct bnd_env *env) {
    return BND_CONTAINER(env, struct io_env, base);
}
static inline const struct io_env *io_env_of_const(const struct bnd_env *env) {
    return BND_CONTAINER(env, const struct io_env, base);
}
/* First line of every libuv callback: moves the env's clock. */
void io_env_tick(struct io_env *env);
int io_code_from_errno(int error); /* positive errno; as bnd_code_from_errno, plus the network's */

/* ---- the table, by file -------------------------------------------------------------------------
 */

/* file_block.c */
int io_file_open(struct bnd_env *env, const char *path, unsigned flags, struct bnd_file **out,
                 struct bnd_error *err);
void io_file_close(struct bnd_env *env, struct bnd_file *file);
int io_file_size(struct bnd_env *env, struct bnd_file *file, uint64_t *out, struct bnd_error *err);
int io_file_truncate(struct bnd_env *env, struct bnd_file *file, uint64_t size,
                     struct bnd_error *err);
int io_file_pread(struct bnd_env *env, struct bnd_file *file, void *out, size_t len,
                  uint64_t offset, size_t *out_read, struct bnd_error *err);
int io_file_pwrite(struct bnd_env *env, struct bnd_file *file, const void *data, size_t len,
                   uint64_t offset, struct bnd_error *err);
int io_file_sync(struct bnd_env *env, struct bnd_file *file, struct bnd_error *err);
int io_dir_make(struct bnd_env *env, const char *path, struct bnd_error *err);
int io_dir_sync(struct bnd_env *env, const char *path, struct bnd_error *err);
int io_dir_list(struct bnd_env *env, const char *path, int (*each)(void *data, const char *name),
                void *data, struct bnd_error *err);
int io_rename(struct bnd_env *env, const char *from, const char *to, struct bnd_error *err);
int io_unlink(struct bnd_env *env, const char *path, struct bnd_error *err);
int io_disk_space(struct bnd_env *env, const char *path, uint64_t *out_free, uint64_t *out_total,
                  struct bnd_error *err);

/* file_async.c */
int io_file_read(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io, struct bnd_iov iov,
                 uint64_t offset);
int io_file_write(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io, struct bnd_iov iov,
                  uint64_t offset, unsigned flags);
int io_file_datasync(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io);

/* listener.c */
int io_listen(struct bnd_env *env, const char *address, int backlog,
              void (*on_accept)(void *data, struct bnd_stream *stream), void *data,
              struct bnd_listener **out, struct bnd_error *err);
void io_listener_close(struct bnd_env *env, struct bnd_listener *listener);
void io_listener_address(struct bnd_env *env, struct bnd_listener *listener,
                         char out[BND_ADDRESS_MAX]);
void io_listeners_close_all(struct io_env *env);

/* address.c: "host:port", numeric */
int io_address_parse(const char *text, struct sockaddr_storage *out, struct bnd_error *err);
void io_address_format(const struct sockaddr_storage *address, char out[BND_ADDRESS_MAX]);

/* stream.c */
struct bnd_stream *io_stream_create(struct io_env *env);              /* NULL: no memory */
int io_stream_accept(struct bnd_stream *stream, uv_stream_t *server); /* 0, or an error of libuv */
int io_connect(struct bnd_env *env, const char *address, struct bnd_connect *connect,
               struct bnd_error *err);
void io_stream_bind(struct bnd_env *env, struct bnd_stream *stream,
                    const struct bnd_stream_events *events, void *owner);
void io_stream_read(struct bnd_env *env, struct bnd_stream *stream, bool on);
long io_stream_try_write(struct bnd_env *env, struct bnd_stream *stream, const struct bnd_iov *iov,
                         unsigned count);
int io_stream_write(struct bnd_env *env, struct bnd_stream *stream, struct bnd_write *write,
                    const struct bnd_iov *iov, unsigned count);
size_t io_stream_queued(struct bnd_env *env, struct bnd_stream *stream);
void io_stream_shutdown(struct bnd_env *env, struct bnd_stream *stream);
void io_stream_peer(struct bnd_env *env, struct bnd_stream *stream, char out[BND_ADDRESS_MAX]);
void io_stream_close(struct bnd_env *env, struct bnd_stream *stream, void (*on_closed)(void *data),
                     void *data);
void io_streams_close_all(struct io_env *env);
int io_stream_fd(const struct bnd_stream *stream);
bool io_stream_may_collect(const struct bnd_stream *stream); /* nothing of it waits elsewhere */
/* What became of bytes that were collected: sent of them are in the kernel, or minus an errno. */
void io_stream_sent(struct bnd_stream *stream, const uint8_t *bytes, size_t len, long sent);

/* log.c */
void io_log(struct bnd_env *env, enum bnd_log_level level, const char *component, const char *line);

#endif
