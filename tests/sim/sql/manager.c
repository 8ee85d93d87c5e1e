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
#define CLOCK_MS_MAX UINT64_C(2000) /* that a group's stamps may run ahead by meanwhile */
#define AGE_MS_MAX UINT64_C(12000)  /* of a time that is asked for */
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
    if (status == 0 && answer->outcome == BND_SQL_FAILED) {
        bnd_sim_violation(&manager->clients->cluster->check, "FAILED: database %zu: a dump: %.*s",
                          manager->number, (int)answer->text.len, (const char *)answer->text.data);
        go(manager, next[manager->step]);
        return;
    }
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
        simsql_query(call, manager->clients->history->databases[number].uuid, &request);
    }
}

/* A place on the line, not among the newest; or back to before the last restore. */
static bool draw_target(struct manager *manager) {
    struct simsql_database *database = managed(manager);
    manager->undo = database->undoable && bnd_sim_rng_chance(&manager->rng, 400);
    if (manager->undo) {
        manager->target = (struct simsql_mark){.bookmark = database->undo,
                                               .rows = database->undo_line.count,
                                               .told_ms = database->undo_ms};
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
    simsql_history_erase(manager->clients->history, manager->number,
                         manager->target.bookmark.version);
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
        database->undo_ms = simsql_right_ms(manager->clients->cluster);
    }
    bnd_sim_free(database->undo_line.rows);
    database->undo_line = before;
}

/* That is right of a version that another took the place of so long ago. */
static void no_version(struct manager *manager, const char *what) {
    struct simsql_cluster *cluster = manager->clients->cluster;
    uint64_t age_ms = simsql_right_ms(cluster) - manager->target.told_ms;
    bool old = age_ms + CLOCK_MS_MAX >= cluster->keep_ms || cluster->jumped;
    if (cluster->keep_ms > 0 && old) {
        cluster->counts.too_old++;
        return;
    }
    bnd_sim_violation(&cluster->check,
                      "%s: database %zu: no version %" PRIu64 " of epoch %" PRIu32
                      ", the newest %" PRIu64 " ms ago, where %" PRIu64 " are kept",
                      what, manager->number, manager->target.bookmark.version,
                      manager->target.bookmark.epoch, age_ms, cluster->keep_ms);
}

/* Of an import that is under way the manager waits for the end; but its maker may be dead. */
static void check_locked(struct manager *manager, const struct call *call, int status) {
    const struct simsql_history *history = manager->clients->history;
    if (status == BND_LOCKED && !simsql_history_locked(history, manager->number, call->asked_ms)) {
        bnd_sim_violation(&manager->clients->cluster->check, "LOCKED: database %zu: in step %d",
                          manager->number, (int)manager->step);
    }
}

static void on_restored(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == 0) {
        struct bnd_sql_bookmark previous = call->admin.previous;
        restored(manager, &previous);
        go(manager, STEP_DUMP_AGAIN);
    } else if (status == BND_UNSUPPORTED || status == BND_LOCKED) {
        check_locked(manager, call, status);
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
    check_locked(manager, call, status);
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
    if (database->marks_count == 0 || database->imported) {
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
    bool done =
        status == 0 && answer->outcome == BND_SQL_DONE && simsql_take_place(op, answer->text);
    bool certain = status != 0 && simsql_is_certain(status);
    simsql_history_return(history, call->op,
                          done      ? SIMSQL_DONE
                          : certain ? SIMSQL_NONE
                                    : SIMSQL_PENDING);
    manager->bumps += !certain;
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
        simsql_query(call, managed(manager)->uuid, &request);
    }
}

/* What was imported into is the database's own again. */
static void on_last_write(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    struct simsql_history *history = manager->clients->history;
    struct simsql_op *op = &history->ops[call->op];
    bool done =
        status == 0 && answer->outcome == BND_SQL_DONE && simsql_take_place(op, answer->text);
    bool certain = status != 0 && simsql_is_certain(status);
    check_locked(manager, call, status);
    if (done) {
        bnd_sql_bookmark_get(answer->bookmark, &op->place);
    }
    simsql_history_return(history, call->op,
                          done      ? SIMSQL_DONE
                          : certain ? SIMSQL_NONE
                                    : SIMSQL_PENDING);
    if (done) {
        go(manager, STEP_IDLE);
    } else {
        again(manager);
    }
}

static void write_last(struct manager *manager) {
    struct simsql_op op = {.kind = SIMSQL_UNIQUE, .database = manager->number};
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct call *call = manager_call(manager, on_last_write);
    if (call != NULL) {
        op.token = ++manager->clients->token;
        call->op = simsql_history_invoke(manager->clients->history, &op);
        simsql_request_op(&request, &op, NULL, &manager->rng);
        simsql_query(call, managed(manager)->uuid, &request);
    }
}

static void on_forked(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == 0 || status == BND_EXISTS) {
        manager->clients->cluster->counts.forks++;
        simsql_history_fork(manager->clients->history, manager->number, manager->target.rows,
                            manager->fork);
        struct simsql_database *fork =
            &manager->clients->history->databases[manager->clients->history->databases_count - 1];
        fork->paused = true;
        fork->quiet = bnd_sim_rng_chance(&manager->rng, 500);
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

/* ---- times ------------------------------------------------------------------------------------*/

/* There is none: it was not made by then, or it is not kept any more. */
static void no_time(struct manager *manager) {
    struct simsql_cluster *cluster = manager->clients->cluster;
    uint64_t age_ms = simsql_right_ms(cluster) - manager->target.told_ms;
    bool early = manager->target.told_ms < managed(manager)->made_ms + CLOCK_MS_MAX;
    bool old = cluster->keep_ms > 0 && age_ms + CLOCK_MS_MAX >= cluster->keep_ms;
    cluster->counts.too_old += old;
    if (!early && !old && !cluster->jumped) {
        bnd_sim_violation(
            &cluster->check,
            "TIME: database %zu: nothing of %" PRIu64 " ms ago, made at %" PRIu64 " of %" PRIu64,
            manager->number, age_ms, managed(manager)->made_ms, simsql_right_ms(cluster));
    }
}

/* Then a restore or a fork, whose content tells whether it was that. */
static void on_time(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    struct simsql_history *history = manager->clients->history;
    (void)answer;
    if (status == BND_NOTFOUND) {
        no_time(manager);
    }
    if (status != 0) {
        go(manager, STEP_IDLE);
        return;
    }
    manager->clients->cluster->counts.times++;
    manager->target.bookmark = call->admin.bookmark;
    bool known = simsql_history_at_time(history, manager->number, manager->target.told_ms,
                                        &manager->target.bookmark, &manager->target.rows);
    known = known && manager->target.bookmark.version > 0; /* before its tables were made */
    if (known && bnd_sim_rng_chance(&manager->rng, 500) && draw_fork(manager)) {
        go(manager, STEP_FORK);
    } else if (known && manager->target.rows + BUMPS_MAX < managed(manager)->line.count) {
        go(manager, STEP_RESTORE);
    } else {
        go(manager, STEP_IDLE);
    }
}

static void ask_time(struct manager *manager) {
    struct simsql_cluster *cluster = manager->clients->cluster;
    struct call *call = manager_call(manager, on_time);
    if (call != NULL) {
        uint64_t age_ms = bnd_sim_rng_below(&manager->rng, AGE_MS_MAX);
        manager->undo = false;
        manager->target = (struct simsql_mark){.told_ms = simsql_right_ms(cluster) - age_ms};
        bnd_sim_env_enter(call->machine->base.env);
        int rv = bnd_sql_at_time(call->machine->sql, &call->admin, managed(manager)->uuid,
                                 bnd_sim_wall_ms(cluster->world, NULL) - age_ms);
        bnd_sim_env_leave(call->machine->base.env);
        simsql_call_made(call, rv);
    }
}

/* ---- deleted, and made again under its name
 * ----------------------------------------------------*/

static void on_deleted(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    struct simsql_database *database = managed(manager);
    (void)answer;
    if (status != 0) { /* whether it is deleted is in doubt */
        again(manager);
        return;
    }
    manager->clients->cluster->counts.deletions++;
    database->deleted_ns = simsql_now_ns(manager->clients->cluster);
    go(manager, STEP_GONE);
}

/* Half of them while operations are under way. */
static void delete_database(struct manager *manager) {
    struct simsql_database *database = managed(manager);
    struct call *call = manager_call(manager, on_deleted);
    if (call != NULL) {
        database->paused = !database->deleting && bnd_sim_rng_chance(&manager->rng, 500);
        database->deleting = true;
        bnd_sim_env_enter(call->machine->base.env);
        int rv = bnd_sql_delete_database(call->machine->sql, &call->admin, database->uuid);
        bnd_sim_env_leave(call->machine->base.env);
        simsql_call_made(call, rv);
    }
}

static void on_gone(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == BND_NOTFOUND) {
        go(manager, manager->step == STEP_GONE ? STEP_AGAIN : STEP_CREATE);
        return;
    }
    if (status == 0 || status == BND_EXISTS) {
        bnd_sim_violation(&manager->clients->cluster->check,
                          "DELETED: database %zu: it is there, in step %d", manager->number,
                          (int)manager->step);
    }
    again(manager);
}

static void look_for_it(struct manager *manager) {
    BND_AUTO_BUF struct bnd_buf request = {0};
    managed(manager)->paused = true;
    if (managed(manager)->under_way > 0) {
        manage_in(manager, RETRY_NS);
        return;
    }
    struct call *call = manager_call(manager, on_gone);
    if (call != NULL) {
        simsql_request_dump(&request);
        simsql_query(call, managed(manager)->uuid, &request);
    }
}

static void on_created(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == 0 || status == BND_EXISTS) {
        go(manager, STEP_TABLES);
    } else {
        again(manager);
    }
}

/* Its own uuid; or that of what takes its place. */
static void create_database(struct manager *manager) {
    bool same = manager->step == STEP_AGAIN;
    struct call *call = manager_call(manager, same ? on_gone : on_created);
    if (call != NULL) {
        if (same) {
            bnd_put_u64(manager->fork, bnd_sim_rng_u64(&manager->rng));
            bnd_put_u64(manager->fork + 8, bnd_sim_rng_u64(&manager->rng));
        }
        bnd_sim_env_enter(call->machine->base.env);
        int rv = bnd_sql_create_database(call->machine->sql, &call->admin,
                                         same ? managed(manager)->uuid : manager->fork);
        bnd_sim_env_leave(call->machine->base.env);
        simsql_call_made(call, rv);
    }
}

/* A second time they are there: the next dump looks at them. */
static void on_tables(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct manager *manager = call->data;
    (void)answer;
    if (status == 0) {
        simsql_clients_renew(manager->clients, manager->number, manager->fork);
        go(manager, STEP_IDLE);
    } else {
        again(manager);
    }
}

static void make_tables(struct manager *manager) {
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct call *call = manager_call(manager, on_tables);
    if (call != NULL) {
        simsql_request_setup(&request);
        simsql_query(call, manager->fork, &request);
    }
}

static void decide(struct manager *manager) {
    uint64_t what = bnd_sim_rng_below(&manager->rng, 6);
    bool target = !manager->clients->stopped && what < 3 && draw_target(manager);
    if (!manager->clients->stopped && what == 3 && bnd_sim_rng_chance(&manager->rng, 600)) {
        go(manager, STEP_DELETE);
    } else if (!manager->clients->stopped && what >= 4) {
        go(manager, STEP_TIME);
    } else if (target && (what < 2 || manager->undo)) {
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
    case STEP_TIME:
        ask_time(manager);
        break;
    case STEP_DELETE:
        delete_database(manager);
        break;
    case STEP_GONE:
        look_for_it(manager);
        break;
    case STEP_AGAIN:
    case STEP_CREATE:
        create_database(manager);
        break;
    case STEP_TABLES:
        make_tables(manager);
        break;
    case STEP_DUMP_FORK:
        dump(manager, manager->clients->history->databases_count - 1);
        break;
    case STEP_LAST_WRITE:
        write_last(manager);
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

static void do_all(struct simsql_clients *clients, enum step step) {
    struct manager *manager = &clients->manager;
    for (size_t d = 0; d < clients->history->databases_count; d++) {
        if (clients->history->databases[d].under_way == SIZE_MAX) {
            continue;
        }
        manager->number = d;
        manager->step = step;
        manage_in(manager, BND_MS);
        if (!bnd_sim_run_until_true(clients->cluster->world, manager_rests, manager,
                                    60 * SIMSQL_SECOND)) {
            bnd_sim_violation(&clients->cluster->check, "SILENT: database %zu in step %d", d,
                              (int)step);
        }
    }
}

void simsql_clients_write_all(struct simsql_clients *clients) {
    do_all(clients, STEP_LAST_WRITE);
}

void simsql_clients_dump_all(struct simsql_clients *clients) {
    do_all(clients, STEP_DUMP_AGAIN);
}
