/* A real world whose long waits are the test's: the wall clock is ahead of the real one by as much
 * as the test has let pass, and timers of seconds come only then, at once. Short ones run as they
 * do. What is given to the pool can be kept from it. */
#ifndef BND_TESTS_UNIT_SQL_TIME_RIG_H
#define BND_TESTS_UNIT_SQL_TIME_RIG_H

#include "base/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TIME_HELD_MS 3000u /* timers of so much and more */
#define TIME_HELD_MAX 64u

enum time_pool { TIME_POOL_AS_IT_IS, TIME_POOL_HOLDS, TIME_POOL_IS_FULL };

struct time_held {
    struct bnd_timer *timer;
    uint64_t due_ms;
};

/* Of the program's one env, whose functions are told nothing but the env. */
static struct time_rig {
    const struct bnd_env_ops *real;
    struct bnd_env_ops ops;
    _Atomic uint64_t ahead_ms;
    struct time_held held[TIME_HELD_MAX];
    size_t count;
    enum time_pool pool;
    struct bnd_work *work; /* kept from it */
} time_rig;

static inline size_t time_place(const struct bnd_timer *timer) {
    size_t at = 0;
    while (at < time_rig.count && time_rig.held[at].timer != timer) {
        at++;
    }
    return at;
}

static inline void time_drop(size_t at) {
    time_rig.held[at] = time_rig.held[--time_rig.count];
}

static inline void time_stop(struct bnd_env *env, struct bnd_timer *timer) {
    size_t at = time_place(timer);
    if (at < time_rig.count) {
        time_drop(at);
    }
    time_rig.real->timer_stop(env, timer);
}

static inline void time_start(struct bnd_env *env, struct bnd_timer *timer, uint64_t delay_ns) {
    time_stop(env, timer);
    if (delay_ns < TIME_HELD_MS * BND_MS) {
        time_rig.real->timer_start(env, timer, delay_ns);
        return;
    }
    assert_true(time_rig.count < TIME_HELD_MAX);
    time_rig.held[time_rig.count++] =
        (struct time_held){.timer = timer, .due_ms = time_rig.ahead_ms + delay_ns / BND_MS};
}

static inline uint64_t time_wall(struct bnd_env *env) {
    return time_rig.real->wall_ms(env) + time_rig.ahead_ms;
}

static inline int time_work(struct bnd_env *env, struct bnd_work *work) {
    if (time_rig.pool == TIME_POOL_AS_IT_IS) {
        return time_rig.real->work(env, work);
    }
    if (time_rig.pool == TIME_POOL_IS_FULL) {
        return BND_FULL;
    }
    assert_null(time_rig.work);
    time_rig.work = work;
    return 0;
}

/* Before anything else has the env. */
static inline void time_take(struct bnd_env *env) {
    time_rig = (struct time_rig){.real = env->ops, .ops = *env->ops};
    time_rig.ops.timer_start = time_start;
    time_rig.ops.timer_stop = time_stop;
    time_rig.ops.wall_ms = time_wall;
    time_rig.ops.work = time_work;
    env->ops = &time_rig.ops;
}

/* Outside of the loop. */
static inline void time_passes(uint64_t ms) {
    time_rig.ahead_ms += ms;
    for (size_t at = 0; at < time_rig.count;) {
        struct bnd_timer *timer = time_rig.held[at].timer;
        if (time_rig.held[at].due_ms <= time_rig.ahead_ms) {
            time_drop(at);
            timer->cb(timer);
            at = 0; /* it may have stopped others */
        } else {
            at++;
        }
    }
}

/* The pool gets what was kept from it. */
static inline void time_work_on(struct bnd_env *env) {
    struct bnd_work *work = time_rig.work;
    time_rig.pool = TIME_POOL_AS_IT_IS;
    time_rig.work = NULL;
    assert_non_null(work);
    assert_int_equal(time_rig.real->work(env, work), 0);
}

#endif
