/* The world: all time, randomness, timers, files, sockets, threads of one loop (architecture 4).
 *
 * One `struct bnd_env` belongs to one loop and so to one thread. Except where said, every function
 * here is called on that thread and every callback comes on it. engine/io implements it with libuv
 * and io_uring; tests/sim with a virtual clock and seeded faults. Code above this line never sees
 * which.
 *
 * Rules for every asynchronous request below: the caller owns the embedded request struct and the
 * buffers it names, and leaves both alone until the callback. A call that returns 0 is answered
 * exactly once, later, never from inside the call; a call that returns an error is never answered.
 * Requests are zero-initialised before their first use and may be used again from their callback
 * on. */
#ifndef BND_BASE_ENV_H
#define BND_BASE_ENV_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/queue.h"

#include <stdint.h>

struct bnd_env;

/* ---- time and chance
 * ------------------------------------------------------------------------------- */

#define BND_MS UINT64_C(1000000)

/* ---- timers
 * ---------------------------------------------------------------------------------------- */

struct bnd_timer;
typedef void (*bnd_timer_cb)(struct bnd_timer *timer);

/* One shot. The owner sets cb and data before start. Starting a running timer moves it. */
struct bnd_timer {
    bnd_timer_cb cb;
    void *data;
    /* private to base/timer_heap */
    uint64_t due_ns;
    uint64_t order;
    size_t place; /* 0: not running */
};

/* ---- tasks: later on this loop, and from other threads
 * ---------------------------------------------- */

struct bnd_task;
typedef void (*bnd_task_cb)(struct bnd_task *task);

struct bnd_task {
    bnd_task_cb cb;
    void *data;
    struct bnd_link link; /* private */
};

/* A callback once per loop pass, after the pass's events and before the loop waits: batches are
 * sent here. */
struct bnd_hook {
    void (*cb)(struct bnd_hook *hook);
    void *data;
    struct bnd_link link; /* private */
};

/* ---- the pool for blocking work
 * ---------------------------------------------------------------------- */

struct bnd_work;

struct bnd_work {
    void (*run)(struct bnd_work *work); /* on a pool thread */
    void (*done)(struct bnd_work *work,
                 int status); /* on the loop; 0, or BND_CANCELED if it never ran */
    void *data;
    uint64_t
        pin; /* works with the same non-zero pin run one after the other, in order; 0: anywhere */
    void *priv[6];
};

/* ---- files
 * ------------------------------------------------------------------------------------------- */

struct bnd_file;

enum bnd_open_flags {
    BND_OPEN_READ = 1,
    BND_OPEN_WRITE = 2,
    BND_OPEN_CREATE = 4,
    BND_OPEN_EXCLUSIVE = 8, /* with CREATE: BND_EXISTS if it is there */
    BND_OPEN_DIRECT = 16,   /* buffers, offsets and lengths in multiples of BND_DIRECT_ALIGN; a hint
                               where the   file system refuses O_DIRECT */
};
#define BND_DIRECT_ALIGN 4096

struct bnd_io;
/* status: 0 or a code. bytes: what was moved; on a write always all of it or status != 0; a read
 * stops early only at the end of the file. */
typedef void (*bnd_io_cb)(struct bnd_io *io, int status, size_t bytes);

struct bnd_io {
    bnd_io_cb cb;
    void *data;
    void *priv[16];
};

enum bnd_write_flags {
    BND_WRITE_DSYNC = 1 /* durable, with the file size it needs, when answered */
};

struct bnd_iov {
    void *data;
    size_t len;
};

/* ---- sockets (TCP)
 * ----------------------------------------------------------------------------------- */

#define BND_ADDRESS_MAX 64 /* "1.2.3.4:7700", "[::1]:7700", with its end */

struct bnd_listener;
struct bnd_stream;

struct bnd_connect {
    /* stream: owned by the callee, or NULL with status a code. */
    void (*cb)(struct bnd_connect *connect, int status, struct bnd_stream *stream);
    void *data;
    void *priv[8];
};

struct bnd_write {
    void (*cb)(struct bnd_write *write,
               int status); /* 0: handed to the kernel, not yet received by anyone */
    void *data;
    struct bnd_link link;
    void *priv[32];
};

/* What a stream tells its owner. data is borrowed until the call returns. on_end comes at most
 * once, and nothing is read after it. */
struct bnd_stream_events {
    void (*on_read)(void *owner, const uint8_t *data, size_t len);
    void (*on_end)(void *owner, int status); /* 0: clean end; else a code */
};

/* ---- the table
 * --------------------------------------------------------------------------------------- */

enum bnd_log_level { BND_LOG_DEBUG, BND_LOG_INFO, BND_LOG_WARN, BND_LOG_ERROR };

struct bnd_env_ops {
    /* Monotonic nanoseconds since an arbitrary point at least 10 s in the past; the same value
     * within one callback unless time is asked to move (blocking work is the pool's). */
    uint64_t (*now_ns)(struct bnd_env *env);
    /* The same clock, but it moves all the time; from ANY thread: for work that bounds itself. */
    uint64_t (*clock_ns)(struct bnd_env *env);
    /* Wall clock, milliseconds since 1970 UTC. May jump. From ANY thread. */
    uint64_t (*wall_ms)(struct bnd_env *env);
    /* 64 bits from a generator seeded by the system (or the simulation's seed). */
    uint64_t (*random)(struct bnd_env *env);
    /* Bytes fit for keys and tokens. */
    void (*random_secret)(struct bnd_env *env, uint8_t *out, size_t len);

    void (*timer_start)(struct bnd_env *env, struct bnd_timer *timer, uint64_t delay_ns);
    void (*timer_stop)(struct bnd_env *env, struct bnd_timer *timer); /* idempotent */

    void (*defer)(struct bnd_env *env,
                  struct bnd_task *task); /* runs later in this pass or the next */
    void (*post)(struct bnd_env *env,
                 struct bnd_task *task); /* from ANY thread; in order per thread */
    void (*hook_add)(struct bnd_env *env, struct bnd_hook *hook);
    void (*hook_remove)(struct bnd_env *env, struct bnd_hook *hook);
    int (*work)(struct bnd_env *env, struct bnd_work *work); /* BND_FULL: queue at its bound */

    /* Files: these block, for start, recovery and the pool (any thread). Paths are the caller's;
     * directories in them must exist. */
    int (*file_open)(struct bnd_env *env, const char *path, unsigned flags, struct bnd_file **out,
                     struct bnd_error *err);
    void (*file_close)(struct bnd_env *env,
                       struct bnd_file *file); /* no request may be under way */
    int (*file_size)(struct bnd_env *env, struct bnd_file *file, uint64_t *out,
                     struct bnd_error *err);
    int (*file_truncate)(struct bnd_env *env, struct bnd_file *file, uint64_t size,
                         struct bnd_error *err);
    int (*file_pread)(struct bnd_env *env, struct bnd_file *file, void *out, size_t len,
                      uint64_t offset, size_t *out_read, struct bnd_error *err);
    int (*file_pwrite)(struct bnd_env *env, struct bnd_file *file, const void *data, size_t len,
                       uint64_t offset, struct bnd_error *err);
    int (*file_sync)(struct bnd_env *env, struct bnd_file *file, struct bnd_error *err);
    int (*dir_make)(struct bnd_env *env, const char *path,
                    struct bnd_error *err); /* 0 if it is there */
    int (*dir_sync)(struct bnd_env *env, const char *path, struct bnd_error *err);
    /* Calls each(name) for every entry but . and .., in byte order. */
    int (*dir_list)(struct bnd_env *env, const char *path,
                    int (*each)(void *data, const char *name), void *data, struct bnd_error *err);
    int (*rename)(struct bnd_env *env, const char *from, const char *to, struct bnd_error *err);
    int (*unlink)(struct bnd_env *env, const char *path, struct bnd_error *err);
    /* Free and total bytes of the file system at path. */
    int (*disk_space)(struct bnd_env *env, const char *path, uint64_t *out_free,
                      uint64_t *out_total, struct bnd_error *err);

    /* Files: asynchronous, on the loop. Requests on one file may complete in any order. */
    int (*file_read)(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io,
                     struct bnd_iov iov, uint64_t offset);
    int (*file_write)(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io,
                      struct bnd_iov iov, uint64_t offset, unsigned flags);
    int (*file_datasync)(struct bnd_env *env, struct bnd_file *file, struct bnd_io *io);

    /* Sockets. Addresses are "host:port" with a numeric host. */
    int (*listen)(struct bnd_env *env, const char *address, int backlog,
                  void (*on_accept)(void *data, struct bnd_stream *stream), void *data,
                  struct bnd_listener **out, struct bnd_error *err);
    /* No accept after it returns. The listener is gone. */
    void (*listener_close)(struct bnd_env *env, struct bnd_listener *listener);
    /* "host:port" the listener is bound to: port 0 asks for a free one. */
    void (*listener_address)(struct bnd_env *env, struct bnd_listener *listener,
                             char out[BND_ADDRESS_MAX]);
    int (*connect)(struct bnd_env *env, const char *address, struct bnd_connect *connect,
                   struct bnd_error *err);
    void (*stream_bind)(struct bnd_env *env, struct bnd_stream *stream,
                        const struct bnd_stream_events *events, void *owner);
    void (*stream_read)(struct bnd_env *env, struct bnd_stream *stream, bool on); /* starts off */
    /* Writes what can be taken at once; returns the bytes taken (0 and up) or a code. Only while no
     * queued write is under way. A small write may be collected, and leaves at the end of the pass;
     * if that fails, on_end tells it, whether the stream reads or not. */
    long (*stream_try_write)(struct bnd_env *env, struct bnd_stream *stream,
                             const struct bnd_iov *iov, unsigned count);
    int (*stream_write)(struct bnd_env *env, struct bnd_stream *stream, struct bnd_write *write,
                        const struct bnd_iov *iov,
                        unsigned count); /* count <= 16; iov[] is copied */
    size_t (*stream_queued)(struct bnd_env *env,
                            struct bnd_stream *stream); /* bytes not yet in the kernel */
    void (*stream_shutdown)(struct bnd_env *env,
                            struct bnd_stream *stream); /* end of our side, after writes */
    void (*stream_peer)(struct bnd_env *env, struct bnd_stream *stream, char out[BND_ADDRESS_MAX]);
    /* Ends the stream: no event comes after this call; writes under way are answered BND_CANCELED,
     * later; what try_write took is sent still, for 5 s at most; on_closed (may be NULL) comes
     * last, after which the stream is gone. */
    void (*stream_close)(struct bnd_env *env, struct bnd_stream *stream,
                         void (*on_closed)(void *data), void *data);

    /* One line for the operator: the sink adds time and node. From any thread. */
    void (*log)(struct bnd_env *env, enum bnd_log_level level, const char *component,
                const char *line);
};

struct bnd_env {
    const struct bnd_env_ops *ops;
};

static inline uint64_t bnd_now_ns(struct bnd_env *env) {
    return env->ops->now_ns(env);
}
static inline uint64_t bnd_clock_ns(struct bnd_env *env) {
    return env->ops->clock_ns(env);
}
static inline uint64_t bnd_now_ms(struct bnd_env *env) {
    return env->ops->now_ns(env) / BND_MS;
}
static inline uint64_t bnd_wall_ms(struct bnd_env *env) {
    return env->ops->wall_ms(env);
}
static inline uint64_t bnd_random(struct bnd_env *env) {
    return env->ops->random(env);
}
static inline void bnd_timer_start(struct bnd_env *env, struct bnd_timer *timer,
                                   uint64_t delay_ns) {
    env->ops->timer_start(env, timer, delay_ns);
}
static inline void bnd_timer_stop(struct bnd_env *env, struct bnd_timer *timer) {
    env->ops->timer_stop(env, timer);
}
static inline void bnd_defer(struct bnd_env *env, struct bnd_task *task) {
    env->ops->defer(env, task);
}
static inline void bnd_post(struct bnd_env *env, struct bnd_task *task) {
    env->ops->post(env, task);
}

/* printf form of ops->log; lines over 1,000 bytes are cut. */
void bnd_log(struct bnd_env *env, enum bnd_log_level level, const char *component, const char *fmt,
             ...) __attribute__((format(printf, 4, 5)));

#endif
