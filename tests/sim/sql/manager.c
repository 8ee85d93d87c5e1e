/* The manager (clients.h): one database after the other comes to rest, is dumped, restored, forked.
 */
#include "base/assert.h"
#include "tests/sim/memory.h"
#include "tests/sim/sql/clients_private.h"
#include "tests/sim/sql/request.h"

#include <inttypes.h>
#include <string.h>

#define MANAGE_NS_MAX (3 * SIMSQL_SECOND)
#define RETRY_NS (200 * BND_MS)
#define CLOCK_NS_MAX (2 * SIMSQL_SECOND) /* that a group's stamps may run ahead by meanwhile */
#define BUMPS_MAX 8 /* transactions that may stand on a database whose restore is in doubt */

static void manage_in(struct manager *manager, uint64_t ns) {
    bnd_sim_world_at(manager->clients->cluster->world, &manager->timer, ns);
}

static struct simsql_database *managed(struct manager *manager) {
    return &manager->clients->history->databases[manager->number];
}

static struct call *manager_call(struct manager *manager,
                                 void (*done)(struct call *call, int status,
                                              const struct bnd_sql_answer *answer)) {
    struct simsql_machine *machine = simsql_draw_machine(manager->clients, &manager->rng);
    if (machine == NULL) {
        manage_in(manager, RETRY_NS);
        return NULL;
    }
    struct call *call = simsql_call_new(manager->clients, machine);
    call->done = done;
    call->data = manager;
    manager->waiting = true;
    return call;
}

static void go(struct manager *manager, enum step step) {
    manager->waiting = false;
    manager->step = step;
    manage_in(manager, BND_MS);
}

static void again(struct manager *manager) {
    manager->waiting = false;
    manage_in(manager, RETRY_NS);
}

static void on_dump(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    static const enum step next[] = {
        [STEP_DUMP] = STEP_DECIDE, [STEP_DUMP_AGAIN] = STEP_IDLE, [STEP_DUMP_FORK] = STEP_IDLE};
    if (status != 0 || answer->outcome != BND_SQL_DONE) {
        again(manager);
        return;
    }
    struct simsql_history *history = manager->clients->history;
    size_t number =
        manager->step == STEP_DUMP_FORK ? history->databases_count - 1 : manager->number;
    (void)simsql_history_dump(history, number, answer);
    go(manager, next[manager->step]);
}

static void dump(struct manager *manager, size_t number) {
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct call *call = manager_call(manager, on_dump);
    if (call != NULL) {
        simsql_request_dump(&request);
        simsql_query(call, number, &request);
    }
}

/* A place on the line, not among the newest; or back to before the last restore. */
static bool draw_target(struct manager *manager) {
    struct simsql_database *database = managed(manager);
    manager->undo = database->undoable && bnd_sim_rng_chance(&manager->rng, 400);
    if (manager->undo) {
        manager->target = (struct simsql_mark){.bookmark = database->undo,
                                               .rows = database->undo_line.count,
                                               .told_ns = database->undo_ns};
        return true;
    }
    if (database->marks_count == 0) {
        return false;
    }
    manager->target = database->marks[bnd_sim_rng_below(&manager->rng, database->marks_count)];
    return manager->target.rows + BUMPS_MAX < database->line.count;
}

static void restored(struct manager *manager, const struct bnd_sql_bookmark *previous) {
    struct simsql_database *database = managed(manager);
    struct simsql_line before = {0};
    simsql_line_copy(&before, &database->line, database->line.count);
    manager->clients->cluster->counts.restores++;
    if (manager->undo) {
        simsql_history_replace(manager->clients->history, manager->number, &database->undo_line);
    } else {
        simsql_history_cut(manager->clients->history, manager->number, manager->target.rows);
    }
    database->undoable = previous != NULL;
    if (previous != NULL) {
        database->undo = *previous;
        database->undo_ns = simsql_now_ns(manager->clients->cluster);
    }
    bnd_sim_free(database->undo_line.rows);
    database->undo_line = before;
}

/* That is right of a version that another took the place of so long ago. */
static void no_version(struct manager *manager, const char *what) {
    struct simsql_cluster *cluster = manager->clients->cluster;
    uint64_t age_ns = simsql_now_ns(cluster) - manager->target.told_ns;
    bool old = age_ns + CLOCK_NS_MAX >= cluster->keep_ms * BND_MS || cluster->jumped;
    if (cluster->keep_ms > 0 && old) {
        cluster->counts.too_old++;
        return;
    }
    bnd_sim_violation(&cluster->check, "%s: database %zu: no version %" PRIu64 " of epoch %" PRIu32,
                      what, manager->number, manager->target.bookmark.version,
                      manager->target.bookmark.epoch);
}

static void on_restored(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == 0) {
        struct bnd_sql_bookmark previous = call->admin.previous;
        restored(manager, &previous);
        go(manager, STEP_DUMP_AGAIN);
    } else if (status == BND_UNSUPPORTED) {
        go(manager, STEP_IDLE);
    } else if (simsql_is_certain(status) || status == BND_CONFLICT) {
        again(manager);
    } else if (status == BND_NOTFOUND || status == BND_INVALID) {
        no_version(manager, "RESTORE");
        go(manager, STEP_IDLE);
    } else {
        manager->bumps = 0;
        managed(manager)->undoable = false;
        go(manager, manager->undo ? STEP_IDLE : STEP_BUMP);
    }
}

static void on_nudged(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == BND_NOTFOUND || status == BND_INVALID) {
        no_version(manager, "RESTORE");
    }
    manager->in_doubt = status != 0 && !simsql_is_certain(status) && status != BND_CONFLICT;
    manager->bumps = 0;
    go(manager, STEP_PAUSE);
}

/* One of the places known; or, more often, the newest. */
static bool draw_nudge(struct manager *manager) {
    struct simsql_database *database = managed(manager);
    size_t drawn = 0;
    if (database->marks_count == 0) {
        return false;
    }
    for (size_t i = 1; i < database->marks_count; i++) {
        drawn = database->marks[i].rows > database->marks[drawn].rows ? i : drawn;
    }
    if (bnd_sim_rng_chance(&manager->rng, 400)) {
        drawn = bnd_sim_rng_below(&manager->rng, database->marks_count);
    }
    manager->target = database->marks[drawn];
    manager->undo = false;
    database->nudge = manager->target;
    database->nudged = true;
    return true;
}

static void restore(struct manager *manager) {
    struct call *call =
        manager_call(manager, manager->step == STEP_NUDGE ? on_nudged : on_restored);
    if (call != NULL) {
        bnd_sim_env_enter(call->machine->base.env);
        int rv = bnd_sql_restore(call->machine->sql, &call->admin, managed(manager)->uuid,
                                 &manager->target.bookmark);
        bnd_sim_env_leave(call->machine->base.env);
        simsql_call_made(call, rv);
    }
}

/* A transaction makes what may still be under way void, and its place tells whether it was not. */
static void on_bumped(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    struct simsql_history *history = manager->clients->history;
    struct simsql_op *op = &history->ops[call->op];
    bool done = status == 0 && answer->outcome == BND_SQL_DONE &&
                simsql_numbers(answer->text, 0, &op->n, 1) == 1;
    simsql_history_return(history, call->op, done ? SIMSQL_DONE : SIMSQL_PENDING);
    manager->bumps++;
    if (!done) {
        again(manager);
        return;
    }
    bnd_sql_bookmark_get(answer->bookmark, &op->place);
    if (manager->in_doubt) { /* the epoch of the dump tells */
        manager->in_doubt = false;
        go(manager, STEP_DUMP);
        return;
    }
    if (op->n <= (int64_t)managed(manager)->line.count) {
        restored(manager, NULL);
    }
    go(manager, STEP_DUMP_AGAIN);
}

static void bump(struct manager *manager) {
    struct simsql_history *history = manager->clients->history;
    if (manager->bumps == BUMPS_MAX - 1 && !manager->in_doubt) {
        manager->step = STEP_IDLE; /* in doubt for ever: it stays paused and is not looked at */
        managed(manager)->under_way = SIZE_MAX;
        manage_in(manager, RETRY_NS);
        return;
    }
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct call *call = manager_call(manager, on_bumped);
    if (call != NULL) {
        struct simsql_op op = {
            .kind = SIMSQL_UNIQUE, .database = manager->number, .token = ++manager->clients->token};
        call->op = simsql_history_invoke(history, &op);
        simsql_request_op(&request, &op, NULL, &manager->rng);
        simsql_query(call, manager->number, &request);
    }
}

static void on_forked(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == 0 || status == BND_EXISTS) {
        manager->clients->cluster->counts.forks++;
        simsql_history_fork(manager->clients->history, manager->number, manager->target.rows,
                            manager->fork);
        manager->clients->history->databases[manager->clients->history->databases_count - 1]
            .paused = true;
        go(manager, STEP_DUMP_FORK);
    } else if (status == BND_UNSUPPORTED) {
        go(manager, STEP_IDLE);
    } else if (status == BND_NOTFOUND || status == BND_INVALID) {
        no_version(manager, "FORK");
        go(manager, STEP_IDLE);
    } else {
        again(manager);
    }
}

static void fork_database(struct manager *manager) {
    struct call *call = manager_call(manager, on_forked);
    if (call != NULL) {
        bnd_sim_env_enter(call->machine->base.env);
        int rv = bnd_sql_fork(call->machine->sql, &call->admin, managed(manager)->uuid,
                              &manager->target.bookmark, manager->fork);
        bnd_sim_env_leave(call->machine->base.env);
        simsql_call_made(call, rv);
    }
}

static bool draw_fork(struct manager *manager) {
    const struct simsql_history *history = manager->clients->history;
    struct simsql_machine *machine = simsql_draw_machine(manager->clients, &manager->rng);
    if (history->databases_count == SIMSQL_DATABASES_MAX || machine == NULL) {
        return false;
    }
    bnd_sim_env_enter(machine->base.env);
    bnd_sql_fork_uuid(machine->sql, managed(manager)->uuid, manager->fork);
    bnd_sim_env_leave(machine->base.env);
    return true;
}

static void decide(struct manager *manager) {
    uint64_t what = bnd_sim_rng_below(&manager->rng, 4);
    bool target = !manager->clients->stopped && what < 3 && draw_target(manager);
    if (target && (what < 2 || manager->undo)) {
        go(manager, STEP_RESTORE);
    } else if (target && draw_fork(manager)) {
        go(manager, STEP_FORK);
    } else {
        go(manager, STEP_IDLE);
    }
}

static void idle(struct manager *manager) {
    struct simsql_history *history = manager->clients->history;
    for (size_t d = 0; d < history->databases_count; d++) {
        history->databases[d].paused = history->databases[d].under_way == SIZE_MAX;
    }
    if (manager->clients->stopped) {
        return;
    }
    manager->number = bnd_sim_rng_below(&manager->rng, history->databases_count);
    manager->step = managed(manager)->under_way == SIZE_MAX ? STEP_IDLE : STEP_PAUSE;
    if (manager->step == STEP_PAUSE && bnd_sim_rng_chance(&manager->rng, 600)) {
        manager->step = STEP_NUDGE;
    }
    manage_in(manager, bnd_sim_rng_below(&manager->rng, MANAGE_NS_MAX));
}

static void pause_database(struct manager *manager) {
    struct simsql_database *database = managed(manager);
    database->paused = true;
    if (database->under_way == 0) {
        go(manager, manager->in_doubt ? STEP_BUMP : STEP_DUMP);
    } else {
        manage_in(manager, RETRY_NS);
    }
}

static void on_manage(struct bnd_timer *timer) {
    struct manager *manager = timer->data;
    switch (manager->step) {
    case STEP_IDLE:
        idle(manager);
        break;
    case STEP_NUDGE:
        if (draw_nudge(manager)) {
            restore(manager);
        } else {
            go(manager, STEP_PAUSE);
        }
        break;
    case STEP_PAUSE:
        pause_database(manager);
        break;
    case STEP_DUMP:
    case STEP_DUMP_AGAIN:
        dump(manager, manager->number);
        break;
    case STEP_DECIDE:
        decide(manager);
        break;
    case STEP_RESTORE:
        restore(manager);
        break;
    case STEP_BUMP:
        bump(manager);
        break;
    case STEP_FORK:
        fork_database(manager);
        break;
    case STEP_DUMP_FORK:
        dump(manager, manager->clients->history->databases_count - 1);
        break;
    }
}

void simsql_manager_start(struct simsql_clients *clients, uint64_t seed) {
    struct manager *manager = &clients->manager;
    manager->clients = clients;
    manager->timer = (struct bnd_timer){.cb = on_manage, .data = manager};
    bnd_sim_rng_init(&manager->rng, seed, "manager", 0);
    manage_in(manager, MANAGE_NS_MAX);
}

static bool manager_rests(void *data) {
    const struct manager *manager = data;
    return manager->step == STEP_IDLE && !manager->waiting;
}

void simsql_clients_dump_all(struct simsql_clients *clients) {
    struct manager *manager = &clients->manager;
    for (size_t d = 0; d < clients->history->databases_count; d++) {
        if (clients->history->databases[d].under_way == SIZE_MAX) {
            continue;
        }
        manager->number = d;
        manager->step = STEP_DUMP_AGAIN;
        manage_in(manager, BND_MS);
        if (!bnd_sim_run_until_true(clients->cluster->world, manager_rests, manager,
                                    60 * SIMSQL_SECOND)) {
            bnd_sim_violation(&clients->cluster->check, "SILENT: database %zu cannot be dumped", d);
        }
    }
}
