/* The importer (clients.h): now and then a process imports into a database, by way of a branch that
 * holds it, or exports one, by way of a branch that does not (ADR 0106), while the other clients go
 * on. It may die in the middle; or time passes, until its lease is over. */
#include "base/assert.h"
#include "tests/sim/sql/clients_private.h"
#include "tests/sim/sql/request.h"

#include <inttypes.h>
#include <string.h>

#define REST_NS_MAX (3 * SIMSQL_SECOND)
#define STEP_NS_MAX (60 * BND_MS)
#define AGAIN_NS (100 * BND_MS)
#define AGAIN_MAX 20u
#define READS_MAX 3u
/* A branch that is not renewed any more may be asked for once again as late as the call's deadline
 * is, and then it has a lease; that it is over is seen when the group's leader looks next, and for
 * a while there may be none. */
#define CALL_MS UINT64_C(30000)
#define LATE_MS UINT64_C(50000)
#define CLOCK_MS UINT64_C(2000)

static struct simsql_database *source_of(struct importer *importer) {
    return &importer->clients->history->databases[importer->number];
}

static void step_in(struct importer *importer, enum branch_step step, uint64_t ns) {
    importer->step = step;
    bnd_sim_world_at(importer->clients->cluster->world, &importer->timer, ns);
}

static void go(struct importer *importer, enum branch_step step) {
    step_in(importer, step, 1 + bnd_sim_rng_below(&importer->rng, STEP_NS_MAX));
}

static bool lives(const struct importer *importer) {
    const struct simsql_machine *machine = importer->machine;
    return machine->base.life == BND_SIM_UP && !machine->base.fatal &&
           machine->base.lives == importer->life;
}

static bool lease_may_be_over(const struct importer *importer) {
    const struct simsql_cluster *cluster = importer->clients->cluster;
    return cluster->jumped ||
           simsql_right_ms(cluster) + CLOCK_MS >= importer->renewed_ms + BND_SQL_LEASE_MS;
}

/* ---- the end ----------------------------------------------------------------------------------*/

/* What became of its pieces. Of one that was never told a place nothing can be seen later. */
static void return_ops(struct importer *importer, enum simsql_outcome outcome) {
    struct simsql_history *history = importer->clients->history;
    for (size_t i = 0; i < importer->ops_count; i++) {
        bool told = importer->holds && history->ops[importer->ops[i]].place.version != 0;
        simsql_history_return(history, importer->ops[i], told ? outcome : SIMSQL_NONE);
    }
    importer->ops_count = 0;
}

/* held_ms: how long at most something of it may hold the database yet. Wall clocks may pass over
 * that at once, and then nobody has looked. */
static void rest(struct importer *importer, uint64_t held_ms) {
    struct simsql_database *source = source_of(importer);
    uint64_t held_until_ms = simsql_right_ms(importer->clients->cluster) + held_ms;
    uint64_t until_ns = bnd_sim_world_now_ns(importer->clients->cluster->world) + held_ms * BND_MS;
    if (importer->holds) {
        source->held_until_ms =
            held_until_ms > importer->held_before_ms ? held_until_ms : importer->held_before_ms;
        source->held_until_ns = until_ns > source->held_until_ns ? until_ns : source->held_until_ns;
    }
    if (held_until_ms > importer->clients->leases_until_ms) {
        importer->clients->leases_until_ms = held_until_ms;
    }
    source->under_way--;
    step_in(importer, BRANCH_IDLE, 1 + bnd_sim_rng_below(&importer->rng, REST_NS_MAX));
}

/* Nobody looks after the branch any more. Of a swap that may take place this cannot be said: who
 * comes after such a process deletes the branch, and then knows. */
static void die(struct importer *importer) {
    struct simsql_cluster *cluster = importer->clients->cluster;
    if (importer->in_doubt) {
        step_in(importer, BRANCH_END, AGAIN_NS);
        return;
    }
    cluster->counts.abandoned++;
    return_ops(importer, SIMSQL_NONE);
    rest(importer, CALL_MS + BND_SQL_LEASE_MS + LATE_MS);
    if (!importer->clients->stopped && bnd_sim_rng_chance(&importer->rng, 600)) {
        bnd_sim_world_pass(cluster->world, BND_SQL_LEASE_MS);
    }
}

/* Certainly nothing of the branch is left. */
static void leave(struct importer *importer, enum simsql_outcome outcome) {
    struct simsql_counts *counts = &importer->clients->cluster->counts;
    counts->imports += importer->holds && outcome == SIMSQL_DONE;
    counts->imports_failed += importer->holds && outcome != SIMSQL_DONE;
    counts->exports += !importer->holds;
    return_ops(importer, outcome);
    rest(importer, 0);
}

/* A refusal: again in a moment, if the process lives; not for ever. */
static void again(struct importer *importer, int status, enum branch_step step) {
    if (!lives(importer)) {
        die(importer);
    } else if (simsql_is_certain(status) && status != BND_LOCKED && ++importer->again < AGAIN_MAX) {
        step_in(importer, step, AGAIN_NS);
    } else {
        go(importer, BRANCH_END);
    }
}

/* ---- calls ------------------------------------------------------------------------------------*/

/* On its machine. NULL: it is dead. */
static struct call *own_call(struct importer *importer,
                             void (*done)(struct call *call, int status,
                                          const struct bnd_sql_answer *answer)) {
    if (!lives(importer)) {
        die(importer);
        return NULL;
    }
    struct call *call = simsql_call_new(importer->clients, importer->machine);
    call->done = done;
    call->data = importer;
    return call;
}

static void next(struct importer *importer) {
    importer->again = 0;
    if (bnd_sim_rng_chance(&importer->rng, 50)) {
        die(importer);
    } else if (bnd_sim_rng_chance(&importer->rng, 20)) { /* it was held up for long */
        bnd_sim_world_pass(importer->clients->cluster->world, BND_SQL_LEASE_MS + CLOCK_MS);
        go(importer, BRANCH_RENEW);
    } else if (bnd_sim_rng_chance(&importer->rng, 150)) {
        go(importer, BRANCH_RENEW);
    } else if (importer->left > 0) {
        go(importer, importer->holds ? BRANCH_PIECE : BRANCH_READ);
    } else {
        go(importer, importer->holds ? BRANCH_SWAP : BRANCH_END);
    }
}

/* The branch is gone: that is right of one whose lease was over. */
static void gone(struct importer *importer, const char *what) {
    if (!lease_may_be_over(importer)) {
        bnd_sim_violation(&importer->clients->cluster->check,
                          "LEASE: database %zu: a branch is gone before its time: %s",
                          importer->number, what);
    }
    leave(importer, SIMSQL_NONE);
}

/* ---- made, and made again ---------------------------------------------------------------------*/

static bool same_place(const struct bnd_sql_bookmark *a, const struct bnd_sql_bookmark *b) {
    return a->epoch == b->epoch && a->version == b->version &&
           memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

/* Its uuid was drawn for it. */
static void check_known(const struct importer *importer, int status) {
    if (status == BND_EXISTS || status == BND_INVALID) {
        bnd_sim_violation(&importer->clients->cluster->check, "BRANCH: database %zu: %s",
                          importer->number, bnd_code_text(status));
    }
}

static void on_made(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct importer *importer = call->data;
    struct simsql_history *history = importer->clients->history;
    (void)answer;
    if (status == 0) {
        importer->from = call->admin.previous;
        importer->version = call->admin.info.bookmark.version;
        for (size_t i = 0; i < importer->ops_count; i++) { /* reads of an export */
            history->ops[importer->ops[i]].place = importer->from;
        }
        next(importer);
    } else if (simsql_is_certain(status)) {
        if (status == BND_LOCKED && importer->held_before_ms < importer->renewed_ms &&
            !importer->clients->cluster->jumped) {
            bnd_sim_violation(&importer->clients->cluster->check, "LOCKED: database %zu: an import",
                              importer->number);
        }
        leave(importer, SIMSQL_NONE);
    } else {
        check_known(importer, status);
        die(importer); /* what was asked may be done later, and then has its lease */
    }
}

static void on_renewed(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct importer *importer = call->data;
    (void)answer;
    if (status == 0) {
        if (!same_place(&call->admin.previous, &importer->from)) {
            bnd_sim_violation(
                &importer->clients->cluster->check,
                "BRANCH: database %zu: it is of version %" PRIu64 " now, and was of %" PRIu64,
                importer->number, call->admin.previous.version, importer->from.version);
        }
        importer->renewed_ms = call->asked_ms;
        next(importer);
    } else if (status == BND_NOTFOUND) {
        gone(importer, "renewed");
    } else {
        check_known(importer, status);
        again(importer, status, BRANCH_RENEW);
    }
}

static void ask(struct importer *importer) {
    struct call *call = own_call(importer, importer->step == BRANCH_MAKE ? on_made : on_renewed);
    if (call != NULL) {
        bnd_sim_env_enter(call->machine->base.env);
        int rv = bnd_sql_branch(call->machine->sql, &call->admin, source_of(importer)->uuid,
                                importer->branch, importer->holds);
        bnd_sim_env_leave(call->machine->base.env);
        simsql_call_made(call, rv);
    }
}

/* ---- what goes on in it -----------------------------------------------------------------------*/

static void on_piece(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct importer *importer = call->data;
    struct simsql_op *op = &importer->clients->history->ops[call->op];
    if (status == 0 && (answer->outcome == BND_SQL_DONE || answer->outcome == BND_SQL_LOST)) {
        bnd_sql_bookmark_get(answer->bookmark, &op->place);
        if (answer->outcome == BND_SQL_DONE && !simsql_take_place(op, answer->text)) {
            bnd_sim_violation(&importer->clients->cluster->check, "ANSWER: to a piece: %.*s",
                              (int)answer->text.len, (const char *)answer->text.data);
        }
        importer->version = op->place.version;
        importer->left--;
        next(importer);
    } else if (status == 0) {
        bnd_sim_violation(&importer->clients->cluster->check, "FAILED: a piece: %.*s",
                          (int)answer->text.len, (const char *)answer->text.data);
        go(importer, BRANCH_END);
    } else if (status == BND_NOTFOUND) {
        gone(importer, "a piece");
    } else if (simsql_is_certain(status)) {
        importer->ops_count--;
        simsql_history_return(importer->clients->history, call->op, SIMSQL_NONE);
        again(importer, status, BRANCH_PIECE);
    } else if (!lives(importer)) {
        die(importer);
    } else { /* what it would replace the database by need not be what it knows */
        go(importer, bnd_sim_rng_chance(&importer->rng, 500) ? BRANCH_SWAP : BRANCH_END);
    }
}

static void piece(struct importer *importer) {
    struct simsql_clients *clients = importer->clients;
    BND_AUTO_BUF struct bnd_buf request = {0};
    BND_ASSERT(importer->ops_count < PIECES_MAX);
    struct simsql_op op = {.kind = SIMSQL_READ};
    while (op.kind == SIMSQL_READ || op.kind == SIMSQL_FAIL || op.kind == SIMSQL_CHANCE) {
        op = simsql_draw_op(clients, &importer->rng, importer->number);
    }
    op.import = importer->import;
    struct call *call = own_call(importer, on_piece);
    if (call != NULL) {
        call->op = simsql_history_invoke(clients->history, &op);
        importer->ops[importer->ops_count++] = call->op;
        simsql_request_op(&request, &op, NULL, &importer->rng);
        simsql_query(call, importer->branch, &request);
    }
}

static void on_read(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct importer *importer = call->data;
    struct simsql_history *history = importer->clients->history;
    struct simsql_op *op = &history->ops[call->op];
    if (status == 0 && answer->outcome == BND_SQL_DONE) {
        if (!simsql_take_read(op, answer->text)) {
            bnd_sim_violation(&importer->clients->cluster->check, "ANSWER: to an export: %.*s",
                              (int)answer->text.len, (const char *)answer->text.data);
        }
        importer->ops_count--;
        simsql_history_return(history, call->op, SIMSQL_DONE);
        importer->left--;
        next(importer);
    } else if (status == 0) {
        bnd_sim_violation(&importer->clients->cluster->check, "FAILED: of an export: %.*s",
                          (int)answer->text.len, (const char *)answer->text.data);
        go(importer, BRANCH_END);
    } else if (status == BND_NOTFOUND) {
        gone(importer, "read");
    } else {
        again(importer, status, BRANCH_READ);
    }
}

/* The last of those that have not returned. */
static void read_branch(struct importer *importer) {
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct call *call = own_call(importer, on_read);
    if (call != NULL) {
        call->op = importer->ops[importer->ops_count - 1];
        simsql_request_op(&request, &importer->clients->history->ops[call->op], NULL,
                          &importer->rng);
        simsql_query(call, importer->branch, &request);
    }
}

/* ---- in its source's place --------------------------------------------------------------------*/

/* Both places are the database's from now on: before the import, and after it. */
static void mark(struct importer *importer, const struct bnd_sql_admin *admin) {
    struct simsql_history *history = importer->clients->history;
    int64_t first = 0;
    int64_t last = 0;
    for (size_t i = 0; i < importer->ops_count; i++) {
        const struct simsql_op *op = &history->ops[importer->ops[i]];
        if (op->place.version != 0) {
            first = first == 0 ? op->n : first;
            last = op->n;
        }
    }
    if (first < 1 || last < 1) {
        return; /* one whose answer was lost */
    }
    const struct simsql_mark before = {
        .bookmark = admin->previous, .rows = (size_t)first - 1, .told_ms = importer->renewed_ms};
    const struct simsql_mark after = {
        .bookmark = admin->bookmark, .rows = (size_t)last, .told_ms = importer->renewed_ms};
    simsql_history_mark(history, importer->number, &before);
    simsql_history_mark(history, importer->number, &after);
}

static void swapped(struct importer *importer, const struct bnd_sql_admin *admin) {
    if (!same_place(&admin->previous, &importer->from) ||
        admin->bookmark.epoch <= importer->from.epoch ||
        admin->bookmark.version != importer->version + 1) {
        bnd_sim_violation(&importer->clients->cluster->check,
                          "SWAP: database %zu: version %" PRIu64 " upon %" PRIu64
                          ", of a branch at %" PRIu64 " of version %" PRIu64,
                          importer->number, admin->bookmark.version, admin->previous.version,
                          importer->version, importer->from.version);
    }
    mark(importer, admin);
    importer->in_doubt = false;
    const struct simsql_op *hidden =
        importer->ops_count == 0 ? NULL : &importer->clients->history->ops[importer->ops[0]];
    if (hidden != NULL && hidden->place.version != 0 && bnd_sim_rng_chance(&importer->rng, 300)) {
        importer->hidden = hidden->place;
        go(importer, BRANCH_HIDDEN);
    } else {
        leave(importer, SIMSQL_DONE);
    }
}

static void on_swapped(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct importer *importer = call->data;
    const struct simsql_history *history = importer->clients->history;
    (void)answer;
    if (status == 0) {
        swapped(importer, &call->admin);
    } else if (status == BND_PRECONDITION || status == BND_NOTFOUND) {
        const struct simsql_op *last =
            importer->ops_count == 0 ? NULL : &history->ops[importer->ops[importer->ops_count - 1]];
        importer->in_doubt = false;
        if (last != NULL && last->place.version == 0 && status == BND_PRECONDITION) {
            importer->left = 0; /* a piece that was in doubt: the branch is still there */
            go(importer, BRANCH_END);
        } else {
            gone(importer, "swapped");
        }
    } else if (simsql_is_certain(status)) {
        importer->in_doubt = false;
        again(importer, status, BRANCH_SWAP);
    } else if (lives(importer)) {
        go(importer, BRANCH_END);
    } else {
        die(importer);
    }
}

static void swap(struct importer *importer) {
    struct call *call = own_call(importer, on_swapped);
    if (call != NULL) {
        importer->in_doubt = true;
        bnd_sim_env_enter(call->machine->base.env);
        int rv = bnd_sql_swap(call->machine->sql, &call->admin, source_of(importer)->uuid,
                              importer->branch, importer->version);
        bnd_sim_env_leave(call->machine->base.env);
        simsql_call_made(call, rv);
    }
}

static void on_hidden(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct importer *importer = call->data;
    (void)answer;
    if (status == 0 || status == BND_EXISTS) {
        bnd_sim_violation(&importer->clients->cluster->check,
                          "HIDDEN: database %zu: it can be forked in the middle of an import",
                          importer->number);
    }
    leave(importer, SIMSQL_DONE);
}

/* The database is paused for nothing else: a fork that should not be is nobody's. */
static void look_inside(struct importer *importer) {
    struct simsql_machine *machine = simsql_draw_machine(importer->clients, &importer->rng);
    if (machine == NULL) {
        leave(importer, SIMSQL_DONE);
        return;
    }
    uint8_t fork[BND_SQL_UUID_BYTES];
    struct call *call = simsql_call_new(importer->clients, machine);
    call->done = on_hidden;
    call->data = importer;
    bnd_sim_env_enter(machine->base.env);
    bnd_sql_fork_uuid(machine->sql, source_of(importer)->uuid, fork);
    int rv = bnd_sql_fork(machine->sql, &call->admin, source_of(importer)->uuid, &importer->hidden,
                          fork);
    bnd_sim_env_leave(machine->base.env);
    simsql_call_made(call, rv);
}

/* ---- its end ----------------------------------------------------------------------------------*/

/* A swap that was in doubt was done before, or is not done any more. */
static void on_deleted(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct importer *importer = call->data;
    (void)answer;
    if (status == 0 || status == BND_NOTFOUND) {
        bool in_doubt = importer->in_doubt;
        importer->in_doubt = false;
        leave(importer, in_doubt ? SIMSQL_PENDING : SIMSQL_NONE);
    } else if (importer->in_doubt) {
        step_in(importer, BRANCH_END, AGAIN_NS);
    } else {
        die(importer);
    }
}

static void end_branch(struct importer *importer) {
    struct simsql_machine *machine = importer->in_doubt
                                         ? simsql_draw_machine(importer->clients, &importer->rng)
                                     : lives(importer) ? importer->machine
                                                       : NULL;
    if (machine == NULL) {
        die(importer);
        return;
    }
    struct call *call = simsql_call_new(importer->clients, machine);
    call->done = on_deleted;
    call->data = importer;
    bnd_sim_env_enter(machine->base.env);
    int rv = bnd_sql_delete_database(machine->sql, &call->admin, importer->branch);
    bnd_sim_env_leave(machine->base.env);
    simsql_call_made(call, rv);
}

/* ---- the whole --------------------------------------------------------------------------------*/

/* An export reads the moment at which it begins. */
static void plan_reads(struct importer *importer) {
    struct simsql_history *history = importer->clients->history;
    for (unsigned i = 0; i < importer->left; i++) {
        const struct simsql_op op = {.kind = SIMSQL_READ,
                                     .database = importer->number,
                                     .a = (int64_t)bnd_sim_rng_below(&importer->rng, SIMSQL_KEYS),
                                     .b = (int64_t)bnd_sim_rng_below(&importer->rng, SIMSQL_KEYS)};
        importer->ops[importer->ops_count++] = simsql_history_invoke(history, &op);
    }
}

static bool begin(struct importer *importer) {
    struct simsql_clients *clients = importer->clients;
    struct simsql_machine *machine = simsql_draw_machine(clients, &importer->rng);
    importer->number = bnd_sim_rng_below(&importer->rng, clients->history->databases_count);
    importer->holds = bnd_sim_rng_chance(&importer->rng, 650);
    struct simsql_database *source = source_of(importer);
    if (machine == NULL || source->paused || source->quiet || source->deleting ||
        (importer->holds && source->nudged)) {
        return false;
    }
    importer->machine = machine;
    importer->life = machine->base.lives;
    importer->in_doubt = false;
    importer->again = 0;
    importer->renewed_ms = simsql_right_ms(clients->cluster);
    importer->left =
        (unsigned)bnd_sim_rng_range(&importer->rng, 1, importer->holds ? 4 : READS_MAX);
    bnd_sim_env_enter(machine->base.env);
    bnd_sql_fork_uuid(machine->sql, source->uuid, importer->branch);
    bnd_sim_env_leave(machine->base.env);
    source->under_way++;
    if (importer->holds) {
        importer->import++;
        importer->held_before_ms = source->held_until_ms;
        source->held_until_ms = UINT64_MAX;
        source->imported = true;
    } else {
        plan_reads(importer);
    }
    return true;
}

static void idle(struct importer *importer) {
    if (importer->clients->stopped) {
        return;
    }
    if (begin(importer)) {
        go(importer, BRANCH_MAKE);
    } else {
        step_in(importer, BRANCH_IDLE, 1 + bnd_sim_rng_below(&importer->rng, REST_NS_MAX));
    }
}

static void on_step(struct bnd_timer *timer) {
    struct importer *importer = timer->data;
    switch (importer->step) {
    case BRANCH_IDLE:
        idle(importer);
        break;
    case BRANCH_MAKE:
    case BRANCH_RENEW:
        ask(importer);
        break;
    case BRANCH_PIECE:
        piece(importer);
        break;
    case BRANCH_READ:
        read_branch(importer);
        break;
    case BRANCH_SWAP:
        swap(importer);
        break;
    case BRANCH_HIDDEN:
        look_inside(importer);
        break;
    case BRANCH_END:
        end_branch(importer);
        break;
    }
}

void simsql_importer_start(struct simsql_clients *clients, uint64_t seed) {
    struct importer *importer = &clients->importer;
    importer->clients = clients;
    importer->timer = (struct bnd_timer){.cb = on_step, .data = importer};
    bnd_sim_rng_init(&importer->rng, seed, "importer", 0);
    step_in(importer, BRANCH_IDLE, 1 + bnd_sim_rng_below(&importer->rng, REST_NS_MAX));
}
