/* The env itself: its life, clock, timers, tasks, and what one pass of the loop does.
 *
 * A pass: timers that are due; then, before the loop waits (on_prepare): deferred tasks, hooks,
 * file requests to the kernel, the next timer armed; then the wait, and events: sockets,
 * completions, and through `async` posted tasks and ended works.
 *
 * Invariants:
 *  1. now_ns moves only at the start of a libuv callback (io_env_tick) while the env runs.
 *  2. Tasks deferred by a deferred task or a hook run in the next pass, which does not wait: a task
 * that defers itself cannot starve events.
 *  3. Before timers fire, finished file requests are answered, so that after a pause of the process
 * a deadline does not beat the answer that was already there. Failure modes: none here; requests
 * report their own. */
#include "base/alloc.h"
#include "engine/io/io_private.h"

#include <errno.h>
#include <signal.h>
#include <sys/random.h>
#include <time.h>

#define CLOCK_START_NS                                                                             \
    (UINT64_C(10) * 1000 * BND_MS) /* the clock begins at least 10 s in the past */
#define NS_PER_S UINT64_C(1000000000)

/* ---- time and chance ----------------------------------------------------------------------------
 */

static uint64_t clock_read_ns(clockid_t id) {
    struct timespec ts = {0};
    BND_ASSERT(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void io_env_tick(struct io_env *env) {
    env->now_ns = clock_read_ns(CLOCK_MONOTONIC) + CLOCK_START_NS;
}

static uint64_t env_now_ns(struct bnd_env *base) {
    struct io_env *env = io_env_of(base);
    if (!env->running) { /* start and recovery are no callback: time moves */
        io_env_tick(env);
    }
    return env->now_ns;
}

static uint64_t env_clock_ns(struct bnd_env *base) {
    (void)base;
    return clock_read_ns(CLOCK_MONOTONIC) + CLOCK_START_NS;
}

static uint64_t env_wall_ms(struct bnd_env *base) {
    return clock_read_ns(CLOCK_REALTIME) / BND_MS;
}

static void env_random_secret(struct bnd_env *base, uint8_t *out, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t got = getrandom(out + done, len - done, 0);
        BND_ASSERT(got > 0 || errno == EINTR); /* the call has no other failure */
        done += got > 0 ? (size_t)got : 0;
    }
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t env_random(struct bnd_env *base) {
    struct io_env *env = io_env_of(base);
    env->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = env->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int io_code_from_errno(int error) {
    switch (error) {
    case EADDRINUSE:
        return BND_EXISTS;
    case EADDRNOTAVAIL:
        return BND_INVALID;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
        return BND_UNAVAILABLE;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return BND_FULL;
    default:
        return bnd_code_from_errno(error);
    }
}

/* ---- timers -------------------------------------------------------------------------------------
 */

static void env_timer_start(struct bnd_env *base, struct bnd_timer *timer, uint64_t delay_ns) {
    struct io_env *env = io_env_of(base);
    uint64_t due = 0;
    if (__builtin_add_overflow(env_now_ns(base), delay_ns, &due)) {
        due = UINT64_MAX - 1;
    }
    bnd_timer_heap_set(&env->timers, timer, due);
}

static void env_timer_stop(struct bnd_env *base, struct bnd_timer *timer) {
    bnd_timer_heap_remove(&io_env_of(base)->timers, timer);
}

static void reap_files(struct io_env *env) {
    if (env->backend == BND_IO_URING) {
        io_uring_state_reap(env);
    } else {
        io_pool_reap(&env->io_pool);
    }
}

static void on_timer(uv_timer_t *handle) {
    struct io_env *env = handle->data;
    io_env_tick(env);
    env->armed_ns = UINT64_MAX;
    reap_files(env);
    /* Timers started by these callbacks wait for the next pass, or a delay of 0 could loop for
     * ever. */
    uint64_t order_end = env->timers.next_order;
    while (env->timers.count > 0 && env->timers.slots[1]->order < order_end) {
        struct bnd_timer *timer = bnd_timer_heap_pop(&env->timers, env->now_ns);
        if (timer == NULL) {
            break;
        }
        timer->cb(timer);
    }
}

static void arm_timer(struct io_env *env) {
    uint64_t due = bnd_timer_heap_next(&env->timers);
    io_env_tick(env);
    if (env->uring.retry && due > env->now_ns + BND_MS) {
        due = env->now_ns + BND_MS;
    }
    if (due == env->armed_ns) {
        return;
    }
    env->armed_ns = due;
    if (due == UINT64_MAX) {
        (void)uv_timer_stop(&env->timer); /* never fails */
        return;
    }
    uint64_t delay_ns = due > env->now_ns ? due - env->now_ns : 0;
    uv_update_time(&env->loop);
    BND_ASSERT(uv_timer_start(&env->timer, on_timer, (delay_ns + BND_MS - 1) / BND_MS, 0) == 0);
}

/* ---- tasks, hooks, work -------------------------------------------------------------------------
 */

static void env_defer(struct bnd_env *base, struct bnd_task *task) {
    bnd_list_push(&io_env_of(base)->deferred, &task->link);
}

static void env_post(struct bnd_env *base, struct bnd_task *task) {
    struct io_env *env = io_env_of(base);
    (void)pthread_mutex_lock(&env->post_mutex);
    bool first = bnd_list_empty(&env->posted);
    bnd_list_push(&env->posted, &task->link);
    /* Under the lock: once it is free the task may run, and the env be gone. */
    if (first) {
        (void)uv_async_send(&env->async); /* fails only on a closed handle */
    }
    (void)pthread_mutex_unlock(&env->post_mutex);
}

static void run_tasks(struct bnd_link *tasks) {
    struct bnd_link *link = NULL;
    while ((link = bnd_list_pop(tasks)) != NULL) {
        struct bnd_task *task = BND_CONTAINER(link, struct bnd_task, link);
        task->cb(task);
    }
}

static void env_hook_add(struct bnd_env *base, struct bnd_hook *hook) {
    bnd_list_push(&io_env_of(base)->hooks, &hook->link);
}

static void env_hook_remove(struct bnd_env *base, struct bnd_hook *hook) {
    struct io_env *env = io_env_of(base);
    if (env->hook_next == &hook->link) {
        env->hook_next = hook->link.next;
    }
    bnd_link_remove(&hook->link);
}

static void run_hooks(struct io_env *env) {
    env->hook_next = env->hooks.next;
    while (env->hook_next != &env->hooks) {
        struct bnd_hook *hook = BND_CONTAINER(env->hook_next, struct bnd_hook, link);
        env->hook_next = hook->link.next;
        hook->cb(hook);
    }
    env->hook_next = NULL;
}

static int env_work(struct bnd_env *base, struct bnd_work *work) {
    struct io_env *env = io_env_of(base);
    return env->destroying ? BND_CANCELED : io_pool_submit(&env->work_pool, work);
}

static void on_async(uv_async_t *handle) {
    struct io_env *env = handle->data;
    io_env_tick(env);
    if (env->backend == BND_IO_THREADS) {
        io_pool_reap(&env->io_pool);
    }
    io_pool_reap(&env->work_pool);
    struct bnd_link batch;
    (void)pthread_mutex_lock(&env->post_mutex);
    bnd_list_take(&env->posted, &batch);
    (void)pthread_mutex_unlock(&env->post_mutex);
    run_tasks(&batch);
    if (atomic_exchange(&env->stop, false)) {
        uv_stop(&env->loop);
    }
}

static void on_idle(uv_idle_t *handle) {
    /* Only its being active matters: the loop does not wait. */
}

static void on_prepare(uv_prepare_t *handle) {
    struct io_env *env = handle->data;
    io_env_tick(env);
    struct bnd_link batch;
    bnd_list_take(&env->deferred, &batch);
    run_tasks(&batch);
    run_hooks(env);
    io_sends_flush(env);
    if (env->backend == BND_IO_URING) {
        io_uring_state_flush(env);
    }
    arm_timer(env);
    if (bnd_list_empty(&env->deferred)) {
        (void)uv_idle_stop(&env->idle); /* never fails */
    } else {
        (void)uv_idle_start(&env->idle, on_idle); /* fails only without a callback */
    }
}

static void on_signal(uv_signal_t *handle, int number) {
    struct io_env *env = handle->data;
    io_env_tick(env);
    env->options.on_signal(env->options.signal_data, number);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static const struct bnd_env_ops ops = {
    .now_ns = env_now_ns,
    .clock_ns = env_clock_ns,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .random_secret = env_random_secret,
    .timer_start = env_timer_start,
    .timer_stop = env_timer_stop,
    .defer = env_defer,
    .post = env_post,
    .hook_add = env_hook_add,
    .hook_remove = env_hook_remove,
    .work = env_work,
    .file_open = io_file_open,
    .file_close = io_file_close,
    .file_size = io_file_size,
    .file_truncate = io_file_truncate,
    .file_pread = io_file_pread,
    .file_pwrite = io_file_pwrite,
    .file_sync = io_file_sync,
    .dir_make = io_dir_make,
    .dir_sync = io_dir_sync,
    .dir_list = io_dir_list,
    .rename = io_rename,
    .unlink = io_unlink,
    .disk_space = io_disk_space,
    .file_read = io_file_read,
    .file_write = io_file_write,
    .file_datasync = io_file_datasync,
    .listen = io_listen,
    .listener_close = io_listener_close,
    .listener_address = io_listener_address,
    .connect = io_connect,
    .stream_bind = io_stream_bind,
    .stream_read = io_stream_read,
    .stream_try_write = io_stream_try_write,
    .stream_write = io_stream_write,
    .stream_queued = io_stream_queued,
    .stream_shutdown = io_stream_shutdown,
    .stream_peer = io_stream_peer,
    .stream_close = io_stream_close,
    .log = io_log,
};

static int options_fill(struct bnd_io_options *options, struct bnd_error *err) {
    struct bnd_io_options o = *options;
    o.io_depth = o.io_depth == 0 ? IO_DEPTH_DEFAULT : o.io_depth;
    o.io_queue_max = o.io_queue_max == 0 ? IO_QUEUE_MAX_DEFAULT : o.io_queue_max;
    o.io_threads = o.io_threads == 0 ? IO_THREADS_DEFAULT : o.io_threads;
    o.work_threads = o.work_threads == 0 ? IO_THREADS_DEFAULT : o.work_threads;
    o.work_queue_max = o.work_queue_max == 0 ? IO_WORK_QUEUE_MAX_DEFAULT : o.work_queue_max;
    if (o.io_depth > IO_DEPTH_MAX || o.io_threads > IO_THREADS_MAX ||
        o.work_threads > IO_THREADS_MAX || o.backend > BND_IO_THREADS) {
        return BND_FAIL(err, INVALID,
                        "io options: io_depth %u (max %u), io_threads %u, work_threads %u (max %u)",
                        o.io_depth, IO_DEPTH_MAX, o.io_threads, o.work_threads, IO_THREADS_MAX);
    }
    *options = o;
    return 0;
}

/* Cannot fail once the loop exists, but for the async's descriptor and the signals'. */
static int handles_open(struct io_env *env, struct bnd_error *err) {
    int rc = uv_async_init(&env->loop, &env->async, on_async);
    if (rc != 0) {
        return BND_FAIL(err, IO, "event loop wake-up: %s", uv_strerror(rc));
    }
    env->async.data = env;
    (void)uv_prepare_init(&env->loop, &env->prepare); /* these three never fail */
    (void)uv_idle_init(&env->loop, &env->idle);
    (void)uv_timer_init(&env->loop, &env->timer);
    env->prepare.data = env;
    env->timer.data = env;
    (void)uv_prepare_start(&env->prepare, on_prepare); /* fails only without a callback */
    static const int numbers[IO_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (int i = 0; env->options.on_signal != NULL && i < IO_SIGNALS; i++) {
        rc = uv_signal_init(&env->loop, &env->signals[i]);
        env->signals[i].data = env;
        rc = rc != 0 ? rc : uv_signal_start(&env->signals[i], on_signal, numbers[i]);
        if (rc != 0) {
            return BND_FAIL(err, IO, "signal handler: %s", uv_strerror(rc));
        }
    }
    return 0;
}

static int backend_open(struct io_env *env, struct bnd_error *err) {
    env->backend = BND_IO_THREADS;
    if (env->options.backend == BND_IO_THREADS) {
        return 0;
    }
    struct bnd_error why = {0};
    int rv = io_uring_state_open(env, env->options.io_depth, &why);
    if (rv == 0) {
        env->backend = BND_IO_URING;
        io_sends_open(env);
        return 0;
    }
    if (env->options.backend == BND_IO_URING) {
        return BND_FAIL(err, UNSUPPORTED, "%s", why.message);
    }
    return 0; /* AUTO: the operator sees the choice through bnd_io_env_backend */
}

static void close_handle(uv_handle_t *handle, void *data) {
    if (uv_is_closing(handle) == 0) {
        uv_close(handle, NULL);
    }
}

/* What is left open besides streams and listeners, whose closing is theirs, are the env's own
 * handles. */
static void handles_close(struct io_env *env) {
    uv_walk(&env->loop, close_handle, NULL);
    (void)uv_run(&env->loop, UV_RUN_DEFAULT); /* returns when every handle is closed */
    BND_ASSERT(uv_loop_close(&env->loop) == 0);
}

static void env_free(struct io_env *env) {
    io_uring_state_close(env);
    io_sends_close(env);
    io_pool_close(&env->work_pool);
    io_pool_close(&env->io_pool);
    bnd_timer_heap_free(&env->timers);
    (void)pthread_mutex_destroy(&env->post_mutex);
    bnd_free(env->read_buffer);
    bnd_free(env);
}

int bnd_io_env_create(const struct bnd_io_options *options, struct bnd_env **out,
                      struct bnd_error *err) {
    struct bnd_io_options filled = options == NULL ? (struct bnd_io_options){0} : *options;
    int rv = options_fill(&filled, err);
    if (rv != 0) {
        return rv;
    }
    struct io_env *env = bnd_zalloc(sizeof *env);
    uint8_t *read_buffer = bnd_alloc(IO_READ_BYTES);
    int rc = env == NULL || read_buffer == NULL ? UV_ENOMEM : uv_loop_init(&env->loop);
    if (rc != 0) {
        bnd_free(read_buffer);
        bnd_free(env);
        return bnd_error_set(err, io_code_from_errno(-rc), "event loop: %s", uv_strerror(rc));
    }
    env->base.ops = &ops;
    env->options = filled;
    env->read_buffer = read_buffer;
    env->armed_ns = UINT64_MAX;
    bnd_list_init(&env->deferred);
    bnd_list_init(&env->hooks);
    bnd_list_init(&env->posted);
    bnd_list_init(&env->streams);
    bnd_list_init(&env->listeners);
    bnd_list_init(&env->uring.pending);
    bnd_list_init(&env->uring.completed);
    BND_ASSERT(pthread_mutex_init(&env->post_mutex, NULL) == 0);
    io_pool_init(&env->io_pool, env, filled.io_threads, filled.io_queue_max);
    io_pool_init(&env->work_pool, env, filled.work_threads, filled.work_queue_max);
    env_random_secret(&env->base, (uint8_t *)&env->random, sizeof env->random);
    rv = handles_open(env, err);
    rv = rv != 0 ? rv : backend_open(env, err);
    if (rv != 0) {
        handles_close(env);
        env_free(env);
        return rv;
    }
    *out = &env->base;
    return 0;
}

/* A peer that is gone must be an error of the write, not the death of the process; blocking the
 * signal here leaves the action of the process to whoever owns it. */
static void sigpipe_block(sigset_t *before) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    BND_ASSERT(pthread_sigmask(SIG_BLOCK, &set, before) == 0);
}

static void sigpipe_restore(const sigset_t *before) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    if (sigismember(before, SIGPIPE) == 0) {
        struct timespec now = {0};
        while (sigtimedwait(&set, NULL, &now) ==
               SIGPIPE) { /* pending ones were meant for our writes */
        }
    }
    BND_ASSERT(pthread_sigmask(SIG_SETMASK, before, NULL) == 0);
}

void bnd_io_env_run(struct bnd_env *base) {
    struct io_env *env = io_env_of(base);
    BND_ASSERT(!env->running);
    sigset_t before;
    sigpipe_block(&before);
    io_env_tick(env);
    env->running = true;
    if (env->backend == BND_IO_URING) {
        io_uring_state_start(env);
        io_uring_state_reap(env);
    } else {
        io_pool_resume(&env->io_pool);
    }
    (void)uv_run(&env->loop, UV_RUN_DEFAULT); /* says only whether handles are left */
    io_sends_flush(env);
    if (env->backend == BND_IO_URING) {
        io_uring_state_quiesce(env);
    } else {
        io_pool_pause(&env->io_pool);
    }
    env->running = false;
    sigpipe_restore(&before);
}

void bnd_io_env_stop(struct bnd_env *base) {
    struct io_env *env = io_env_of(base);
    atomic_store(&env->stop, true);
    (void)uv_async_send(&env->async); /* fails only on a closed handle */
}

void bnd_io_env_destroy(struct bnd_env *base) {
    if (base == NULL) {
        return;
    }
    struct io_env *env = io_env_of(base);
    BND_ASSERT(!env->running);
    env->destroying = true;
    io_pool_stop(&env->work_pool);
    io_pool_stop(&env->io_pool);
    io_pool_reap(&env->work_pool);
    io_pool_reap(&env->io_pool);
    if (env->backend == BND_IO_URING) {
        io_uring_state_cancel(env);
    }
    io_listeners_close_all(env);
    io_streams_close_all(env);
    handles_close(env);
    env_free(env);
}

enum bnd_io_backend bnd_io_env_backend(const struct bnd_env *base) {
    return io_env_of_const(base)->backend;
}
