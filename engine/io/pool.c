/* Threads for blocking jobs, with pins.
 *
 * Invariants:
 *  1. At most one work of a non-zero pin runs at a time, and works of one pin run in the order they
 *     were submitted: all but the first wait in the chain of the first (see struct io_pool).
 *  2. A work is in exactly one place: ready, a chain, a thread, done.
 *  3. `done` is answered on the loop only.
 * Failure modes: a thread that cannot be started leaves the others to do the work; with none at
 * all, submit fails and the work is never answered. */
#include "engine/io/io_private.h"

#include <signal.h>

/* Lives in bnd_work.priv. */
struct item {
    struct bnd_work *next;        /* in ready, a chain or done */
    struct bnd_work *chain_first; /* of a leader: the works that wait for it */
    struct bnd_work *chain_last;
    struct bnd_work *hash_next;
    int status;
};
_Static_assert(sizeof(struct item) <= sizeof(((struct bnd_work *)0)->priv), "item fits");

static struct item *item_of(struct bnd_work *work) {
    return (struct item *)(void *)work->priv;
}

static void push(struct bnd_work **first, struct bnd_work **last, struct bnd_work *work) {
    item_of(work)->next = NULL;
    if (*first == NULL) {
        *first = work;
    } else {
        item_of(*last)->next = work;
    }
    *last = work;
}

static struct bnd_work *shift(struct bnd_work **first, struct bnd_work **last) {
    struct bnd_work *work = *first;
    if (work != NULL) {
        *first = item_of(work)->next;
        if (*first == NULL) {
            *last = NULL;
        }
        item_of(work)->next = NULL;
    }
    return work;
}

static void push_ready(struct io_pool *pool, struct bnd_work *work) {
    push(&pool->ready_first, &pool->ready_last, work);
    pool->ready++;
}

static struct bnd_work *shift_ready(struct io_pool *pool) {
    struct bnd_work *work = shift(&pool->ready_first, &pool->ready_last);
    pool->ready -= work != NULL;
    return work;
}

static struct bnd_work **pin_slot(struct io_pool *pool, uint64_t pin) {
    uint64_t mixed = (pin ^ (pin >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    struct bnd_work **slot = &pool->pins[mixed >> 56];
    while (*slot != NULL && (*slot)->pin != pin) {
        slot = &item_of(*slot)->hash_next;
    }
    return slot;
}
_Static_assert(IO_POOL_PINS == 1U << 8, "pin_slot takes the top 8 bits");

/* Mutex held. Ends a work; the next of its pin becomes ready. Returns whether the loop has to be
 * told: it has not seen any of those that ended. */
static bool end(struct io_pool *pool, struct bnd_work *work, int status) {
    struct item *item = item_of(work);
    if (work->pin != 0) {
        struct bnd_work **slot = pin_slot(pool, work->pin);
        BND_ASSERT(*slot == work);
        struct bnd_work *heir = shift(&item->chain_first, &item->chain_last);
        if (heir == NULL) {
            *slot = item->hash_next;
        } else {
            item_of(heir)->chain_first = item->chain_first;
            item_of(heir)->chain_last = item->chain_last;
            item_of(heir)->hash_next = item->hash_next;
            *slot = heir;
            push_ready(pool, heir);
        }
    }
    item->status = status;
    bool tell = pool->done_first == NULL;
    push(&pool->done_first, &pool->done_last, work);
    return tell;
}

/* Not under the mutex: the loop that wakes takes it. */
static void tell_loop(struct io_pool *pool) {
    (void)uv_async_send(&pool->env->async); /* fails only on a closed handle */
}

static void *thread_main(void *data) {
    struct io_pool *pool = data;
    (void)pthread_setname_np(pthread_self(), "bnd-pool"); /* for the operator only */
    (void)pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->stopping && (pool->ready_first == NULL || pool->paused)) {
            pool->idle++;
            (void)pthread_cond_wait(&pool->wake, &pool->mutex);
            pool->idle--;
        }
        if (pool->stopping) {
            break;
        }
        struct bnd_work *work = shift_ready(pool);
        pool->running++;
        (void)pthread_mutex_unlock(&pool->mutex);
        work->run(work);
        (void)pthread_mutex_lock(&pool->mutex);
        pool->running--;
        bool tell = end(pool, work, 0); /* an heir is this thread's: others were signalled for */
        if (pool->running == 0 && pool->paused) {
            (void)pthread_cond_broadcast(&pool->quiet);
        }
        if (tell) {
            (void)pthread_mutex_unlock(&pool->mutex);
            tell_loop(pool);
            (void)pthread_mutex_lock(&pool->mutex);
        }
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Mutex held. Signals are the loop's business, so the thread starts with all of them blocked. */
static bool start_thread(struct io_pool *pool) {
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&pool->ids[pool->threads], NULL, thread_main, pool);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        pool->threads++;
    }
    return rc == 0;
}

void io_pool_init(struct io_pool *pool, struct io_env *env, unsigned threads, unsigned queue_max) {
    BND_ASSERT(threads > 0 && threads <= IO_THREADS_MAX);
    pool->env = env;
    pool->threads_max = threads;
    pool->queue_max = queue_max;
    /* Default attributes need no memory: glibc's init cannot fail. */
    BND_ASSERT(pthread_mutex_init(&pool->mutex, NULL) == 0);
    BND_ASSERT(pthread_cond_init(&pool->wake, NULL) == 0);
    BND_ASSERT(pthread_cond_init(&pool->quiet, NULL) == 0);
}

int io_pool_submit(struct io_pool *pool, struct bnd_work *work) {
    if (pool->under_way >= pool->queue_max) {
        return BND_FULL;
    }
    *item_of(work) = (struct item){0};
    (void)pthread_mutex_lock(&pool->mutex);
    /* Each ready work is one idle thread's, which may not have woken yet. */
    bool wants = pool->idle <= pool->ready && pool->threads < pool->threads_max;
    if (wants && !start_thread(pool) && pool->threads == 0) {
        (void)pthread_mutex_unlock(&pool->mutex);
        return BND_NOMEM;
    }
    struct bnd_work **slot = work->pin == 0 ? NULL : pin_slot(pool, work->pin);
    bool chained = slot != NULL && *slot != NULL;
    if (chained) {
        struct item *leader = item_of(*slot);
        push(&leader->chain_first, &leader->chain_last, work);
    } else {
        if (slot != NULL) {
            *slot = work;
        }
        push_ready(pool, work);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    if (!chained) { /* not under the mutex: who wakes takes it */
        (void)pthread_cond_signal(&pool->wake);
    }
    pool->under_way++;
    return 0;
}

void io_pool_reap(struct io_pool *pool) {
    (void)pthread_mutex_lock(&pool->mutex);
    struct bnd_work *first = pool->done_first;
    struct bnd_work *last = pool->done_last;
    pool->done_first = NULL;
    pool->done_last = NULL;
    (void)pthread_mutex_unlock(&pool->mutex);
    for (;;) {
        struct bnd_work *work = shift(&first, &last);
        if (work == NULL) {
            break;
        }
        BND_ASSERT(pool->under_way > 0);
        pool->under_way--;
        work->done(work, item_of(work)->status);
    }
}

void io_pool_pause(struct io_pool *pool) {
    (void)pthread_mutex_lock(&pool->mutex);
    pool->paused = true;
    while (pool->running > 0) {
        (void)pthread_cond_wait(&pool->quiet, &pool->mutex);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
}

void io_pool_resume(struct io_pool *pool) {
    (void)pthread_mutex_lock(&pool->mutex);
    pool->paused = false;
    (void)pthread_cond_broadcast(&pool->wake);
    (void)pthread_mutex_unlock(&pool->mutex);
}

void io_pool_stop(struct io_pool *pool) {
    (void)pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->wake);
    (void)pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->threads; i++) {
        (void)pthread_join(pool->ids[i], NULL); /* fails only for ids that are none */
    }
    bool tell = false;
    (void)pthread_mutex_lock(&pool->mutex);
    for (;;) { /* end() makes a pin's next work ready, so chains empty too */
        struct bnd_work *work = shift_ready(pool);
        if (work == NULL) {
            break;
        }
        tell = end(pool, work, BND_CANCELED) || tell;
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    if (tell) {
        tell_loop(pool);
    }
}

void io_pool_close(struct io_pool *pool) {
    BND_ASSERT(pool->under_way == 0);
    (void)pthread_cond_destroy(&pool->quiet);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->mutex);
}
