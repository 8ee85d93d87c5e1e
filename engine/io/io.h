/* The real world: struct bnd_env over libuv and io_uring
 * (docs/design/0010-world-over-libuv-and-io-uring.md).
 *
 * One env is one loop. It is created on any thread, run by one thread (always the same), and shares
 * nothing with other envs: one process may hold as many as it has threads. What the functions of
 * the table promise is said in base/env.h; this header adds what only the real one has: how it is
 * made, run, stopped and unmade. */
#ifndef BND_ENGINE_IO_IO_H
#define BND_ENGINE_IO_IO_H

#include "base/env.h"

/* How asynchronous file requests are done. */
enum bnd_io_backend {
    BND_IO_AUTO,    /* io_uring if this system lets us, else threads */
    BND_IO_URING,   /* io_uring, or create fails with BND_UNSUPPORTED */
    BND_IO_THREADS, /* pread and pwrite on a pool of the env's own */
};

/* Zero-initialised: every default. */
struct bnd_io_options {
    enum bnd_io_backend backend;
    unsigned io_depth;     /* file requests in the kernel (threads: threads x 1); 0: 256; <= 4096 */
    unsigned io_queue_max; /* file requests accepted and unanswered; 0: 4096; beyond: BND_FULL */
    unsigned io_threads;   /* of the threads backend; 0: 4; <= 64 */
    unsigned work_threads; /* of ops->work; started when first needed; 0: 4; <= 64 */
    unsigned work_queue_max; /* works accepted and unanswered; 0: 1024; beyond: BND_FULL */
    /* SO_REUSEPORT on every listener: the kernel spreads connections over the loops that listen on
     * one address. It also lets a second process of the same user take a share, so only for loops
     * that need it. */
    bool reuse_port;
    /* SIGTERM, SIGINT and SIGHUP, on the loop; NULL: the signals keep their action. At most one env
     * of a process should ask. */
    void (*on_signal)(void *data, int signal);
    void *signal_data;
    /* Where ops->log goes, from any thread; NULL: one bnd_io_log_line per call on stderr. */
    void (*log)(void *data, enum bnd_log_level level, const char *component, const char *line);
    void *log_data;
    enum bnd_log_level log_level; /* lines below it are dropped before the sink */
};

/* Returns an owned env in *out. options may be NULL. Nothing is started but the ring; requests may
 * be made at once and make progress when the env runs. Errors: BND_INVALID (an option out of its
 * bounds), BND_UNSUPPORTED (io_uring asked for and refused), BND_NOMEM, BND_IO (no file
 * descriptors). */
int bnd_io_env_create(const struct bnd_io_options *options, struct bnd_env **out,
                      struct bnd_error *err);

/* Runs the loop on the calling thread until bnd_io_env_stop; may be called again, by the same
 * thread. SIGPIPE is blocked on this thread meanwhile. When it returns, no file request is in the
 * kernel or on a thread (it waits for them); their answers come with the next run, or with destroy.
 */
void bnd_io_env_run(struct bnd_env *env);

/* Makes run return after the current pass; a stop before run makes the next run return. Any thread.
 */
void bnd_io_env_stop(struct bnd_env *env);

/* Ends the env; NULL allowed. Not while it runs, and no other thread may use it any more. Every
 * request under way is answered, on the calling thread: file requests that were done with their
 * result, all else with BND_CANCELED; works that run are waited for. Requests made by those answers
 * are refused with BND_CANCELED. Streams and listeners still open are closed without an event
 * (on_closed of streams already closing comes). Timers, deferred and posted tasks are forgotten.
 * Files must be closed before. */
void bnd_io_env_destroy(struct bnd_env *env);

/* What AUTO chose. */
enum bnd_io_backend bnd_io_env_backend(const struct bnd_env *env);

#define BND_IO_LOG_LINE_MAX 4352

/* Formats `ts=<UTC, ms> level=<level> component=<component> msg="<line>"` and a newline into out,
 * with its end. Quotes, backslashes and control bytes of line and component are escaped, so that
 * one call is one line whatever it holds; what does not fit is cut before the closing quote.
 * Returns the length. Any thread. */
size_t bnd_io_log_line(char out[BND_IO_LOG_LINE_MAX], uint64_t wall_ms, enum bnd_log_level level,
                       const char *component, const char *line);

#endif
