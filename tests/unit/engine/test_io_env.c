/* The loop: timers, tasks, hooks, the pool, stop, destroy, signals, the log. */
#include "tests/unit/engine/io_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct world {
    struct bnd_env *env;
    int order[64];
    int count;
    uint64_t started_ns;
};

static void note(struct world *world, int what) {
    assert_true(world->count < 64);
    world->order[world->count++] = what;
}

/* ---- timers ---- */

struct numbered_timer {
    struct bnd_timer timer;
    struct world *world;
    int number;
    uint64_t fired_ns;
};

static void on_numbered(struct bnd_timer *timer) {
    struct numbered_timer *self = timer->data;
    self->fired_ns = bnd_now_ns(self->world->env);
    note(self->world, self->number);
    if (self->number == 9) {
        bnd_io_env_stop(self->world->env);
    }
}

static void timers_fire_in_order_and_never_early(void **state) {
    struct world world = {.env = test_env(BND_IO_AUTO)};
    static const uint64_t delays_us[] = {30000, 1500, 10000, 10000, 0, 200, 5000, 20000, 1, 40000};
    struct numbered_timer timers[10] = {0};
    uint64_t start = bnd_now_ns(world.env);
    assert_true(start >= UINT64_C(10) * 1000 * BND_MS);
    for (int i = 0; i < 10; i++) {
        timers[i] = (struct numbered_timer){
            .timer = {.cb = on_numbered, .data = &timers[i]}, .world = &world, .number = i};
        bnd_timer_start(world.env, &timers[i].timer, delays_us[i] * 1000);
    }
    bnd_timer_stop(world.env, &timers[7].timer);
    bnd_timer_stop(world.env, &timers[7].timer);              /* idempotent */
    bnd_timer_start(world.env, &timers[0].timer, 8 * BND_MS); /* moves */
    bnd_io_env_run(world.env);
    static const int want[] = {4, 8, 5, 1, 6, 0, 2, 3, 9};
    assert_int_equal(world.count, 9);
    assert_memory_equal(world.order, want, sizeof want);
    for (int i = 1; i < 10; i++) {
        if (i != 7) {
            assert_true(timers[i].fired_ns - start >= delays_us[i] * 1000);
        }
    }
    bnd_io_env_destroy(world.env);
}

struct spinner {
    struct bnd_timer timer;
    struct bnd_task task;
    struct world *world;
    int spins;
    bool posted;
};

static void on_spin(struct bnd_timer *timer) {
    struct spinner *self = timer->data;
    self->spins++;
    bnd_timer_start(self->world->env, timer, 0);
}

static void on_spin_task(struct bnd_task *task) {
    struct spinner *self = task->data;
    self->spins++;
    bnd_defer(self->world->env, task);
}

static void on_posted_stop(struct bnd_task *task) {
    bnd_io_env_stop(task->data);
}

static void *post_stop(void *data) {
    bnd_post(((struct bnd_task *)data)->data, data);
    return NULL;
}

static void a_timer_or_task_that_repeats_itself_does_not_starve_posts(void **state) {
    struct world world = {.env = test_env(BND_IO_AUTO)};
    struct spinner spinner = {.world = &world};
    spinner.timer = (struct bnd_timer){.cb = on_spin, .data = &spinner};
    spinner.task = (struct bnd_task){.cb = on_spin_task, .data = &spinner};
    bnd_timer_start(world.env, &spinner.timer, 0);
    bnd_defer(world.env, &spinner.task);
    struct bnd_task stop = {.cb = on_posted_stop, .data = world.env};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_stop, &stop), 0);
    bnd_io_env_run(world.env);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(spinner.spins > 0);
    bnd_io_env_destroy(world.env);
}

/* ---- posts ---- */

#define POSTERS 4
#define POSTS 5000

struct poster {
    struct bnd_env *env;
    struct bnd_task *tasks;
    int next; /* the loop's */
    int *left;
};

static void on_post(struct bnd_task *task) {
    struct poster *poster = task->data;
    assert_ptr_equal(task, &poster->tasks[poster->next]); /* in order per thread */
    poster->next++;
    if (--*poster->left == 0) {
        bnd_io_env_stop(poster->env);
    }
}

static void *poster_main(void *data) {
    struct poster *poster = data;
    for (int i = 0; i < POSTS; i++) {
        poster->tasks[i] = (struct bnd_task){.cb = on_post, .data = poster};
        bnd_post(poster->env, &poster->tasks[i]);
    }
    return NULL;
}

static void posts_from_threads_all_come_in_order(void **state) {
    struct bnd_env *env = test_env(BND_IO_AUTO);
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    int left = POSTERS * POSTS;
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){
            .env = env, .tasks = bnd_calloc(POSTS, sizeof(struct bnd_task)), .left = &left};
        assert_int_equal(pthread_create(&threads[i], NULL, poster_main, &posters[i]), 0);
    }
    bnd_io_env_run(env);
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(posters[i].next, POSTS);
        bnd_free(posters[i].tasks);
    }
    assert_int_equal(left, 0);
    bnd_io_env_destroy(env);
}

/* ---- hooks ---- */

struct hooked {
    struct world *world;
    struct bnd_hook first;
    struct bnd_hook second;
    struct bnd_task posted;
    struct bnd_task deferred;
    int passes;
};

static void on_first_hook(struct bnd_hook *hook) {
    struct hooked *self = hook->data;
    note(self->world, 1);
    if (++self->passes == 2) {
        self->world->env->ops->hook_remove(self->world->env,
                                           &self->second); /* the next of the walk */
        self->world->env->ops->hook_remove(self->world->env, &self->first);
        bnd_io_env_stop(self->world->env);
    }
}

static void on_second_hook(struct bnd_hook *hook) {
    struct hooked *self = hook->data;
    note(self->world, 2);
    bnd_post(self->world->env, &self->posted);
}

static void on_hook_post(struct bnd_task *task) {
    struct hooked *self = task->data;
    note(self->world, 3);
    bnd_defer(self->world->env, &self->deferred);
}

static void on_hook_defer(struct bnd_task *task) {
    struct hooked *self = task->data;
    note(self->world, 4);
}

static void hooks_run_once_per_pass_after_its_events(void **state) {
    struct world world = {.env = test_env(BND_IO_AUTO)};
    struct hooked self = {.world = &world};
    self.first = (struct bnd_hook){.cb = on_first_hook, .data = &self};
    self.second = (struct bnd_hook){.cb = on_second_hook, .data = &self};
    self.posted = (struct bnd_task){.cb = on_hook_post, .data = &self};
    self.deferred = (struct bnd_task){.cb = on_hook_defer, .data = &self};
    world.env->ops->hook_add(world.env, &self.first);
    world.env->ops->hook_add(world.env, &self.second);
    bnd_io_env_run(world.env);
    static const int want[] = {1, 2, 3, 4, 1};
    assert_int_equal(world.count, 5);
    assert_memory_equal(world.order, want, sizeof want);
    bnd_io_env_destroy(world.env);
}

/* ---- work ---- */

#define WORKS 400
#define PINS 5

struct work_run {
    struct bnd_env *env;
    atomic_int running[PINS];
    int last[PINS]; /* guarded by the pin */
    atomic_int overlaps;
    atomic_int disorder;
    int done;
    int canceled;
};

struct test_work {
    struct bnd_work work;
    struct work_run *all;
    int number;
};

static void on_work_run(struct bnd_work *work) {
    struct test_work *self = work->data;
    int pin = (int)work->pin - 1;
    if (atomic_fetch_add(&self->all->running[pin], 1) != 0) {
        atomic_fetch_add(&self->all->overlaps, 1);
    }
    if (self->number < self->all->last[pin]) {
        atomic_fetch_add(&self->all->disorder, 1);
    }
    self->all->last[pin] = self->number;
    atomic_fetch_sub(&self->all->running[pin], 1);
}

static void on_work_done(struct bnd_work *work, int status) {
    struct test_work *self = work->data;
    assert_int_equal(status, 0);
    if (++self->all->done == WORKS) {
        bnd_io_env_stop(self->all->env);
    }
}

static void works_of_one_pin_run_in_order_one_by_one(void **state) {
    struct work_run all = {.env = test_env(BND_IO_AUTO)};
    struct test_work *works = bnd_calloc(WORKS, sizeof *works);
    for (int i = 0; i < WORKS; i++) {
        works[i] = (struct test_work){.all = &all, .number = i};
        works[i].work = (struct bnd_work){.run = on_work_run,
                                          .done = on_work_done,
                                          .data = &works[i],
                                          .pin = (uint64_t)(i * i % PINS) + 1};
        assert_int_equal(all.env->ops->work(all.env, &works[i].work), 0);
    }
    bnd_io_env_run(all.env);
    assert_int_equal(all.done, WORKS);
    assert_int_equal(all.overlaps, 0);
    assert_int_equal(all.disorder, 0);
    bnd_free(works);
    bnd_io_env_destroy(all.env);
}

/* Two unpinned works that each wait for the other: they end only if they run at the same time. */
static void on_meet(struct bnd_work *work) {
    (void)pthread_barrier_wait(work->data);
}

static atomic_int meetings;

static void on_met(struct bnd_work *work, int status) {
    assert_int_equal(status, 0);
    atomic_fetch_add(&meetings, 1);
}

static void works_of_different_pins_run_together(void **state) {
    struct bnd_io_options options = {.work_threads = 2};
    struct bnd_env *env = NULL;
    assert_int_equal(bnd_io_env_create(&options, &env, NULL), 0);
    pthread_barrier_t barrier;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 3), 0);
    struct bnd_work works[2];
    for (int i = 0; i < 2; i++) {
        works[i] = (struct bnd_work){
            .run = on_meet, .done = on_met, .data = &barrier, .pin = (uint64_t)i + 1};
        assert_int_equal(env->ops->work(env, &works[i]), 0);
    }
    (void)pthread_barrier_wait(&barrier);
    meetings = 0;
    bnd_io_env_destroy(env); /* answers what ran */
    assert_int_equal(meetings, 2);
    pthread_barrier_destroy(&barrier);
}

/* The same of two that come at once when one thread has nothing to do. */
struct meeting {
    struct bnd_env *env;
    struct bnd_timer timer;
    struct bnd_work first, works[2];
    atomic_int there, met;
    int done;
};

static void on_come(struct bnd_work *work) {
    struct meeting *meeting = work->data;
    atomic_fetch_add(&meeting->there, 1);
    for (int ms = 0; ms < 5000 && atomic_load(&meeting->there) < 2; ms++) {
        (void)usleep(1000);
    }
    atomic_fetch_add(&meeting->met, atomic_load(&meeting->there) == 2);
}

static void on_gone(struct bnd_work *work, int status) {
    struct meeting *meeting = work->data;
    assert_int_equal(status, 0);
    if (++meeting->done == 2) {
        bnd_io_env_stop(meeting->env);
    }
}

static void come_together(struct bnd_timer *timer) {
    struct meeting *meeting = timer->data;
    for (int i = 0; i < 2; i++) {
        meeting->works[i] = (struct bnd_work){.run = on_come, .done = on_gone, .data = meeting};
        assert_int_equal(meeting->env->ops->work(meeting->env, &meeting->works[i]), 0);
    }
}

static void on_nothing(struct bnd_work *work) {
}

/* Its thread waits a moment later; where it does not yet, this test shows nothing. */
static void on_first_done(struct bnd_work *work, int status) {
    struct meeting *meeting = work->data;
    bnd_timer_start(meeting->env, &meeting->timer, 20 * BND_MS);
}

static void one_idle_thread_takes_one_work(void **state) {
    struct meeting meeting = {.env = test_env(BND_IO_AUTO)};
    meeting.timer = (struct bnd_timer){.cb = come_together, .data = &meeting};
    meeting.first = (struct bnd_work){.run = on_nothing, .done = on_first_done, .data = &meeting};
    assert_int_equal(meeting.env->ops->work(meeting.env, &meeting.first), 0);
    bnd_io_env_run(meeting.env);
    bnd_io_env_destroy(meeting.env);
    assert_int_equal(meeting.met, 2);
}

/* Long enough for destroy to begin meanwhile: nothing outside the env shows that it has. */
static void on_block(struct bnd_work *work) {
    (void)usleep(200 * 1000);
}

static void on_block_done(struct bnd_work *work, int status) {
    struct test_work *self = work->data;
    if (status == 0) {
        self->all->done++;
    } else {
        assert_int_equal(status, BND_CANCELED);
        self->all->canceled++;
    }
}

static void the_pool_is_bounded_and_destroy_cancels_what_never_ran(void **state) {
    struct bnd_io_options options = {.work_threads = 1, .work_queue_max = 3};
    struct work_run all = {0};
    assert_int_equal(bnd_io_env_create(&options, &all.env, NULL), 0);
    struct test_work works[4];
    for (int i = 0; i < 4; i++) {
        works[i] = (struct test_work){.all = &all};
        works[i].work =
            (struct bnd_work){.run = on_block, .done = on_block_done, .data = &works[i], .pin = 7};
        assert_int_equal(all.env->ops->work(all.env, &works[i].work), i < 3 ? 0 : BND_FULL);
    }
    bnd_io_env_destroy(all.env);
    assert_int_equal(all.done + all.canceled, 3);
    assert_true(all.canceled >= 2);
}

/* ---- life ---- */

static void *run_own_env(void *data) {
    struct world world = {.env = test_env(BND_IO_AUTO)};
    struct numbered_timer timer = {.world = &world, .number = 9};
    timer.timer = (struct bnd_timer){.cb = on_numbered, .data = &timer};
    bnd_timer_start(world.env, &timer.timer, BND_MS);
    bnd_io_env_run(world.env);
    bnd_io_env_destroy(world.env);
    return world.count == 1 ? data : NULL;
}

static void envs_live_side_by_side(void **state) {
    pthread_t threads[4];
    int dummy = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_own_env, &dummy), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, &dummy);
    }
}

static void stop_before_run_ends_the_run_and_runs_repeat(void **state) {
    struct bnd_env *env = test_env(BND_IO_AUTO);
    for (int i = 0; i < 3; i++) {
        bnd_io_env_stop(env);
        bnd_io_env_run(env);
    }
    bnd_io_env_destroy(env);
    bnd_io_env_destroy(NULL);
}

static void bad_options_are_refused_with_their_bounds(void **state) {
    struct bnd_io_options options = {.io_depth = 5000};
    struct bnd_env *env = NULL;
    struct bnd_error err = {0};
    assert_int_equal(bnd_io_env_create(&options, &env, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "io_depth 5000 (max 4096)"));
    assert_null(env);
}

static void create_fails_cleanly_without_memory(void **state) {
    for (uint64_t n = 1; n < 100; n++) {
        struct bnd_env *env = NULL;
        bnd_alloc_fail_at(n, 0);
        int rv = bnd_io_env_create(NULL, &env, NULL);
        bnd_alloc_fail_at(0, 0);
        if (rv == 0) {
            bnd_io_env_destroy(env);
            assert_true(n > 2);
            return;
        }
        assert_int_equal(rv, BND_NOMEM);
    }
    fail_msg("create never succeeded");
}

static void on_signal(void *data, int number) {
    struct world *world = data;
    note(world, number);
    if (world->count == 1) {
        assert_int_equal(kill(getpid(), SIGINT), 0);
    } else {
        bnd_io_env_stop(world->env);
    }
}

static void signals_come_on_the_loop(void **state) {
    struct world world = {0};
    struct bnd_io_options options = {.on_signal = on_signal, .signal_data = &world};
    assert_int_equal(bnd_io_env_create(&options, &world.env, NULL), 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    bnd_io_env_run(world.env);
    assert_int_equal(world.count, 2);
    assert_int_equal(world.order[0], SIGTERM);
    assert_int_equal(world.order[1], SIGINT);
    bnd_io_env_destroy(world.env);
}

static void random_numbers_differ_and_secrets_fill(void **state) {
    struct bnd_env *a = test_env(BND_IO_AUTO);
    struct bnd_env *b = test_env(BND_IO_AUTO);
    assert_true(bnd_random(a) != bnd_random(a));
    assert_true(bnd_random(a) != bnd_random(b));
    uint8_t secret[64] = {0};
    uint8_t zeros[32] = {0};
    a->ops->random_secret(a, secret, sizeof secret);
    assert_memory_not_equal(secret, secret + 32, 32);
    assert_memory_not_equal(secret + 32, zeros, 32);
    assert_true(bnd_wall_ms(a) > UINT64_C(1600000000000));
    bnd_io_env_destroy(a);
    bnd_io_env_destroy(b);
}

/* ---- log ---- */

static void log_lines_are_one_line_whatever_they_hold(void **state) {
    char out[BND_IO_LOG_LINE_MAX];
    size_t len = bnd_io_log_line(out, UINT64_C(1700000000123), BND_LOG_WARN, "io",
                                 "a \"b\" \\ c\nts=forged \x1b[31m");
    assert_string_equal(out, "ts=2023-11-14T22:13:20.123Z level=warn component=io "
                             "msg=\"a \\\"b\\\" \\\\ c\\nts=forged \\x1b[31m\"\n");
    assert_int_equal(len, strlen(out));
    char big[BND_IO_LOG_LINE_MAX * 2];
    memset(big, '\n', sizeof big - 1);
    big[sizeof big - 1] = 0;
    len = bnd_io_log_line(out, 0, BND_LOG_ERROR, "a b\n", big);
    assert_true(len < BND_IO_LOG_LINE_MAX);
    assert_int_equal(len, strlen(out));
    assert_string_equal(out + len - 4, "\\n\"\n");
    assert_ptr_equal(strchr(out, '\n'), out + len - 1);
    assert_non_null(strstr(out, "component=\"a b\\n\" msg=\""));
}

struct sink {
    int lines;
    char last[1100];
};

static void on_log(void *data, enum bnd_log_level level, const char *component, const char *line) {
    struct sink *sink = data;
    sink->lines++;
    (void)snprintf(sink->last, sizeof sink->last, "%d %s %s", (int)level, component, line);
}

static void the_sink_gets_lines_at_or_above_the_level(void **state) {
    struct sink sink = {0};
    struct bnd_io_options options = {.log = on_log, .log_data = &sink, .log_level = BND_LOG_WARN};
    struct bnd_env *env = NULL;
    assert_int_equal(bnd_io_env_create(&options, &env, NULL), 0);
    bnd_log(env, BND_LOG_INFO, "x", "no");
    assert_int_equal(sink.lines, 0);
    bnd_log(env, BND_LOG_ERROR, "x", "disk %d", 3);
    assert_int_equal(sink.lines, 1);
    assert_string_equal(sink.last, "3 x disk 3");
    bnd_io_env_destroy(env);
}

int main(void) {
    (void)alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_never_early),
        cmocka_unit_test(a_timer_or_task_that_repeats_itself_does_not_starve_posts),
        cmocka_unit_test(posts_from_threads_all_come_in_order),
        cmocka_unit_test(hooks_run_once_per_pass_after_its_events),
        cmocka_unit_test(works_of_one_pin_run_in_order_one_by_one),
        cmocka_unit_test(works_of_different_pins_run_together),
        cmocka_unit_test(one_idle_thread_takes_one_work),
        cmocka_unit_test(the_pool_is_bounded_and_destroy_cancels_what_never_ran),
        cmocka_unit_test(envs_live_side_by_side),
        cmocka_unit_test(stop_before_run_ends_the_run_and_runs_repeat),
        cmocka_unit_test(bad_options_are_refused_with_their_bounds),
        cmocka_unit_test(create_fails_cleanly_without_memory),
        cmocka_unit_test(signals_come_on_the_loop),
        cmocka_unit_test(random_numbers_differ_and_secrets_fill),
        cmocka_unit_test(log_lines_are_one_line_whatever_they_hold),
        cmocka_unit_test(the_sink_gets_lines_at_or_above_the_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
