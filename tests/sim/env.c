/* The loop of a simulated node, and its life.
 *
 * Invariants: (1) no callback runs inside the call that asked for it; (2) between passes the
 * world's heap holds `wake` at the time of the next thing to do, or not at all; (3) a halted node
 * runs nothing. */
#include "tests/sim/env.h"

#include "base/assert.h"
#include "tests/sim/env_private.h"

#include <inttypes.h>
#include <stdio.h>

#define WALL_START_MS UINT64_C(1795392000000) /* 2026-11-23T00:00:00Z */
#define PASS_NS_MIN 2000
#define PASS_NS_MAX 30000

/* ---- passes
 * ----------------------------------------------------------------------------------------- */

static void plan(struct bnd_sim_env *env) {
    if (env->in_pass || env->entered > 0) {
        return;
    }
    if (bnd_sim_env_halted(env)) {
        bnd_sim_world_cancel(env->world, &env->wake);
        return;
    }
    uint64_t now_ns = bnd_sim_world_now_ns(env->world);
    uint64_t due_ns = bnd_sim_heap_next(&env->heap);
    if (!bnd_list_empty(&env->tasks)) {
        due_ns = now_ns;
    }
    if (due_ns == UINT64_MAX) {
        bnd_sim_world_cancel(env->world, &env->wake);
        return;
    }
    due_ns = due_ns > env->free_at_ns ? due_ns : env->free_at_ns;
    bnd_sim_world_at(env->world, &env->wake, due_ns > now_ns ? due_ns - now_ns : 0);
}

void bnd_sim_env_enter(struct bnd_sim_env *env) {
    const struct bnd_alloc_observer *before = bnd_alloc_observe(&env->observer);
    if (env->entered++ == 0) {
        env->observer_before = before;
    }
}

void bnd_sim_env_leave(struct bnd_sim_env *env) {
    BND_ASSERT(env->entered > 0);
    if (--env->entered == 0) {
        (void)bnd_alloc_observe(env->observer_before);
        plan(env);
    }
}

static void run_due(struct bnd_sim_env *env) {
    uint64_t now_ns = bnd_sim_world_now_ns(env->world);
    uint64_t started =
        env->heap.next_order; /* timers of this pass that are due at once wait for the next */
    while (env->heap.count > 0 && env->heap.slots[1]->order < started && !bnd_sim_env_halted(env)) {
        struct bnd_timer *timer = bnd_sim_heap_pop(&env->heap, now_ns);
        if (timer == NULL) {
            return;
        }
        timer->cb(timer);
    }
}

static void run_tasks(struct bnd_sim_env *env) {
    struct bnd_link end = {
        0}; /* tasks deferred meanwhile stand behind it and wait for the next pass */
    bnd_list_push(&env->tasks, &end);
    while (env->tasks.next != &end && !bnd_sim_env_halted(env)) {
        struct bnd_task *task = BND_CONTAINER(bnd_list_pop(&env->tasks), struct bnd_task, link);
        task->cb(task);
    }
    bnd_link_remove(&end);
}

static struct bnd_hook *hook_at(struct bnd_sim_env *env, struct bnd_link *link) {
    return link == &env->hooks ? NULL : BND_CONTAINER(link, struct bnd_hook, link);
}

static void run_hooks(struct bnd_sim_env *env) {
    struct bnd_hook *hook = hook_at(env, env->hooks.next);
    while (hook != NULL && !bnd_sim_env_halted(env)) {
        env->hook_next = hook_at(env, hook->link.next);
        hook->cb(hook);
        hook = env->hook_next;
    }
    env->hook_next = NULL;
}

static void on_wake(struct bnd_timer *timer) {
    struct bnd_sim_env *env = timer->data;
    env->in_pass = true;
    bnd_sim_env_enter(env);
    run_due(env);
    run_tasks(env);
    run_hooks(env);
    bnd_sim_env_leave(env);
    env->in_pass = false;
    uint64_t took_ns = bnd_sim_rng_range(&env->loop_rng, PASS_NS_MIN, PASS_NS_MAX);
    uint64_t free_at_ns = bnd_sim_world_now_ns(env->world) + took_ns;
    env->free_at_ns = free_at_ns > env->free_at_ns ? free_at_ns : env->free_at_ns;
    plan(env);
}

/* ---- events
 * ----------------------------------------------------------------------------------------- */

static void on_event(struct bnd_timer *timer) {
    struct bnd_sim_event *event = BND_CONTAINER(timer, struct bnd_sim_event, timer);
    bnd_link_remove(&event->link);
    event->run(event);
}

void bnd_sim_env_at(struct bnd_sim_env *env, struct bnd_sim_event *event, uint64_t delay_ns) {
    event->env = env;
    event->timer.cb = on_event;
    bnd_list_push(&env->events, &event->link);
    bnd_sim_heap_set(&env->heap, &event->timer, bnd_sim_world_now_ns(env->world) + delay_ns);
    plan(env);
}

void bnd_sim_env_on_end(struct bnd_sim_env *env, struct bnd_sim_end *end) {
    bnd_list_push(&env->ends, &end->link);
}

void bnd_sim_env_not_on_end(struct bnd_sim_end *end) {
    if (bnd_link_linked(&end->link)) {
        bnd_link_remove(&end->link);
    }
}

/* ---- the table: time, tasks, work
 * ------------------------------------------------------------------- */

static uint64_t op_now_ns(struct bnd_env *base) {
    struct bnd_sim_env *env = sim_of(base);
    return bnd_sim_world_now_ns(env->world) + env->monotonic_offset_ns;
}

uint64_t bnd_sim_wall_ms(const struct bnd_sim_world *world, const struct bnd_sim_clock *clock) {
    int64_t since_ns = (int64_t)(bnd_sim_world_now_ns(world) - BND_SIM_START_NS);
    int64_t wall_ms = (int64_t)WALL_START_MS + since_ns / (int64_t)BND_MS +
                      (int64_t)bnd_sim_world_passed_ms(world);
    if (clock != NULL) {
        wall_ms += clock->offset_ms;
        wall_ms += since_ns / (int64_t)BND_MS * clock->drift_ppm / 1000000;
    }
    return wall_ms < 0 ? 0 : (uint64_t)wall_ms;
}

static uint64_t op_wall_ms(struct bnd_env *base) {
    const struct bnd_sim_env *env = sim_of(base);
    return bnd_sim_wall_ms(env->world, env->clock);
}

static uint64_t op_random(struct bnd_env *base) {
    return bnd_sim_rng_u64(&sim_of(base)->rng);
}

static void op_random_secret(struct bnd_env *base, uint8_t *out, size_t len) {
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)bnd_sim_rng_u64(&sim_of(base)->rng);
    }
}

static void op_timer_start(struct bnd_env *base, struct bnd_timer *timer, uint64_t delay_ns) {
    struct bnd_sim_env *env = sim_of(base);
    bnd_sim_heap_set(&env->heap, timer, bnd_sim_world_now_ns(env->world) + delay_ns);
    plan(env);
}

static void op_timer_stop(struct bnd_env *base, struct bnd_timer *timer) {
    bnd_sim_heap_remove(&sim_of(base)->heap, timer);
}

static void op_defer(struct bnd_env *base, struct bnd_task *task) {
    struct bnd_sim_env *env = sim_of(base);
    bnd_list_push(&env->tasks, &task->link);
    plan(env);
}

static void op_hook_add(struct bnd_env *base, struct bnd_hook *hook) {
    bnd_list_push(&sim_of(base)->hooks, &hook->link);
}

static void op_hook_remove(struct bnd_env *base, struct bnd_hook *hook) {
    struct bnd_sim_env *env = sim_of(base);
    if (env->hook_next == hook) {
        env->hook_next = hook_at(env, hook->link.next);
    }
    bnd_link_remove(&hook->link);
}

struct work_event {
    struct bnd_sim_event event;
    struct bnd_work *work;
    bool ran;
};

static void drop_work(struct bnd_sim_event *event) {
    bnd_sim_free(BND_CONTAINER(event, struct work_event, event));
}

static void run_work(struct bnd_sim_event *event) {
    struct work_event *w = BND_CONTAINER(event, struct work_event, event);
    struct bnd_sim_env *env = event->env;
    struct bnd_work *work = w->work;
    if (!w->ran) {
        work->run(work);
        w->ran = true;
        bnd_sim_env_at(env, event, bnd_sim_rng_range(&env->loop_rng, 1000, BND_MS / 10));
        return;
    }
    bnd_sim_free(w);
    env->works--;
    work->done(work, 0);
}

static int op_work(struct bnd_env *base, struct bnd_work *work) {
    struct bnd_sim_env *env = sim_of(base);
    if (env->works >= BND_SIM_WORK_MAX) {
        return BND_FULL;
    }
    struct work_event *w = bnd_sim_zalloc(sizeof *w);
    w->work = work;
    w->event.run = run_work;
    w->event.drop = drop_work;
    w->event.owed = true;
    uint64_t now_ns = bnd_sim_world_now_ns(env->world);
    uint64_t due_ns = now_ns + bnd_sim_rng_range(&env->loop_rng, 1000, 3 * BND_MS);
    for (struct bnd_link *l = env->events.next; work->pin != 0 && l != &env->events; l = l->next) {
        struct bnd_sim_event *other = BND_CONTAINER(l, struct bnd_sim_event, link);
        if (other->run == run_work && other->timer.due_ns >= due_ns &&
            BND_CONTAINER(other, struct work_event, event)->work->pin == work->pin) {
            due_ns = other->timer.due_ns + 1;
        }
    }
    env->works++;
    bnd_sim_env_at(env, &w->event, due_ns - now_ns);
    return 0;
}

static void op_log(struct bnd_env *base, enum bnd_log_level level, const char *component,
                   const char *line) {
    struct bnd_sim_env *env = sim_of(base);
    if ((int)level >= env->log_from) {
        (void)fprintf(stderr, "%12" PRIu64 " us node %" PRIu64 " %s: %s\n",
                      (bnd_sim_world_now_ns(env->world) - BND_SIM_START_NS) / 1000, env->node,
                      component, line);
    }
}

/* ---- the table: sockets
 * ----------------------------------------------------------------------------- */

static int op_listen(struct bnd_env *base, const char *address, int backlog,
                     void (*on_accept)(void *data, struct bnd_stream *stream), void *data,
                     struct bnd_listener **out, struct bnd_error *err) {
    return BND_FAIL(err, UNSUPPORTED, "listen on %s: a simulated node has no sockets", address);
}

static int op_connect(struct bnd_env *base, const char *address, struct bnd_connect *connect,
                      struct bnd_error *err) {
    return BND_FAIL(err, UNSUPPORTED, "connect to %s: a simulated node has no sockets", address);
}

/* Streams and listeners cannot exist, so what takes one stays NULL: calling it is a bug that shows
 * at once. */
static void loop_ops(struct bnd_env_ops *ops) {
    ops->now_ns = op_now_ns;
    ops->clock_ns = op_now_ns;
    ops->wall_ms = op_wall_ms;
    ops->random = op_random;
    ops->random_secret = op_random_secret;
    ops->timer_start = op_timer_start;
    ops->timer_stop = op_timer_stop;
    ops->defer = op_defer;
    ops->post = op_defer;
    ops->hook_add = op_hook_add;
    ops->hook_remove = op_hook_remove;
    ops->work = op_work;
    ops->listen = op_listen;
    ops->connect = op_connect;
    ops->log = op_log;
}

/* ---- life
 * ------------------------------------------------------------------------------------------- */

static void on_made(const struct bnd_alloc_observer *observer, void *memory) {
    struct bnd_sim_env *env =
        BND_CONTAINER((struct bnd_alloc_observer *)observer, struct bnd_sim_env, observer);
    bnd_sim_blocks_add(&env->blocks, memory);
}

static void on_freed(const struct bnd_alloc_observer *observer, void *memory) {
    struct bnd_sim_env *env =
        BND_CONTAINER((struct bnd_alloc_observer *)observer, struct bnd_sim_env, observer);
    bnd_sim_blocks_remove(&env->blocks, memory);
}

struct bnd_sim_env *bnd_sim_env_create(struct bnd_sim_world *world, struct bnd_sim_disk *disk,
                                       const struct bnd_sim_clock *clock, uint64_t node) {
    struct bnd_sim_env *env = bnd_sim_zalloc(sizeof *env);
    struct bnd_env_ops *ops = bnd_sim_zalloc(sizeof *ops);
    loop_ops(ops);
    env_files_ops(ops);
    env->env.ops = ops;
    env->observer = (struct bnd_alloc_observer){.made = on_made, .freed = on_freed};
    env->world = world;
    env->disk = disk;
    env->clock = clock;
    env->node = node;
    env->log_from = BND_LOG_ERROR + 1;
    uint64_t life = node << 32 | bnd_sim_disk_boot(disk);
    bnd_sim_rng_init(&env->rng, bnd_sim_world_seed(world), "node", life);
    bnd_sim_rng_init(&env->loop_rng, bnd_sim_world_seed(world), "loop", life);
    env->monotonic_offset_ns = bnd_sim_rng_below(&env->loop_rng, 3600 * 1000 * BND_MS);
    env->wake.cb = on_wake;
    env->wake.data = env;
    bnd_list_init(&env->tasks);
    bnd_list_init(&env->hooks);
    bnd_list_init(&env->events);
    bnd_list_init(&env->files);
    bnd_list_init(&env->ends);
    return env;
}

struct bnd_env *bnd_sim_env(struct bnd_sim_env *env) {
    return &env->env;
}

uint64_t bnd_sim_env_node(const struct bnd_sim_env *env) {
    return env->node;
}

struct bnd_sim_world *bnd_sim_env_world(struct bnd_sim_env *env) {
    return env->world;
}

void bnd_sim_env_log(struct bnd_sim_env *env, enum bnd_log_level from) {
    env->log_from = (int)from;
}

void bnd_sim_env_halt(struct bnd_sim_env *env) {
    env->halted = true;
    plan(env);
}

bool bnd_sim_env_halted(const struct bnd_sim_env *env) {
    return env->halted || bnd_sim_disk_is_cut(env->disk);
}

void bnd_sim_env_pause(struct bnd_sim_env *env, uint64_t duration_ns) {
    uint64_t until_ns = bnd_sim_world_now_ns(env->world) + duration_ns;
    env->free_at_ns = until_ns > env->free_at_ns ? until_ns : env->free_at_ns;
    plan(env);
}

size_t bnd_sim_env_blocks(const struct bnd_sim_env *env) {
    return env->blocks.count;
}

static void end_devices(struct bnd_sim_env *env, bool crashed) {
    while (!bnd_list_empty(&env->ends)) {
        struct bnd_sim_end *end = BND_CONTAINER(env->ends.prev, struct bnd_sim_end, link);
        bnd_link_remove(&end->link);
        end->cb(end, crashed);
    }
}

static void env_free(struct bnd_sim_env *env) {
    bnd_sim_world_cancel(env->world, &env->wake);
    bnd_sim_heap_free(&env->heap);
    bnd_sim_blocks_free_all(&env->blocks);
    bnd_sim_free((void *)env->env.ops);
    bnd_sim_free(env);
}

void bnd_sim_env_crash(struct bnd_sim_env *env, enum bnd_sim_crash kind) {
    BND_ASSERT(!env->in_pass && env->entered == 0);
    bnd_sim_trace(env->world, "dead", env->node, (uint64_t)kind, (struct bnd_slice){0});
    env->powerless = kind == BND_SIM_POWER || bnd_sim_disk_is_cut(env->disk);
    while (!bnd_list_empty(&env->events)) {
        struct bnd_sim_event *event =
            BND_CONTAINER(bnd_list_pop(&env->events), struct bnd_sim_event, link);
        if (event->drop != NULL) {
            event->drop(event);
        }
    }
    end_devices(env, true);
    env_files_close_all(env);
    if (env->powerless) {
        bnd_sim_disk_power_cut(env->disk, BND_SIM_KEEP_RANDOM);
    }
    env_free(env);
}

void bnd_sim_env_stop(struct bnd_sim_env *env) {
    BND_ASSERT(!env->in_pass && env->entered == 0);
    bnd_sim_trace(env->world, "stop", env->node, 0, (struct bnd_slice){0});
    while (!bnd_list_empty(&env->events)) {
        struct bnd_sim_event *event =
            BND_CONTAINER(bnd_list_pop(&env->events), struct bnd_sim_event, link);
        BND_ASSERT(!event->owed); /* else a request of the node was not waited for */
        bnd_sim_heap_remove(&env->heap, &event->timer);
        if (event->drop != NULL) {
            event->drop(event);
        }
    }
    end_devices(env, false);
    BND_ASSERT(env->heap.count == 0);        /* else a timer runs */
    BND_ASSERT(bnd_list_empty(&env->tasks)); /* else a task waits */
    BND_ASSERT(bnd_list_empty(&env->hooks));
    BND_ASSERT(bnd_list_empty(&env->files));
    BND_ASSERT(env->blocks.count == 0); /* else memory leaked */
    env_free(env);
}
