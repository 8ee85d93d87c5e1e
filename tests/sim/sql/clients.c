#include "base/assert.h"
#include "placement/shard.h"
#include "tests/sim/memory.h"
#include "tests/sim/sql/clients_private.h"
#include "tests/sim/sql/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BURST_NS (2 * BND_MS)          /* between operations that come close together */
#define ANSWER_NS (60 * SIMSQL_SECOND) /* every operation has an answer within */
#define TICKS_NS (11 * SIMSQL_SECOND)  /* a leader looks for what is over twice */

/* ---- calls ------------------------------------------------------------------------------------*/

static void call_over(struct call *call, int status, const struct bnd_sql_answer *answer) {
    BND_ASSERT(!call->over);
    call->over = true;
    bnd_sim_world_cancel(call->clients->cluster->world, &call->late);
    bnd_sim_trace(call->clients->cluster->world, "told", call->machine->id << 32 | call->op,
                  (uint64_t)(uint32_t)status, answer == NULL ? bnd_slice(NULL, 0) : answer->text);
    call->done(call, status, answer);
}

static void on_query(struct bnd_sql_call *query, int status, const struct bnd_sql_answer *answer) {
    call_over(query->data, status, status == 0 ? answer : NULL);
}

static void on_admin(struct bnd_sql_admin *admin, int status) {
    call_over(admin->data, status, NULL);
}

static void on_late(struct bnd_timer *timer) {
    struct call *call = timer->data;
    bnd_sim_violation(&call->clients->cluster->check,
                      "SILENT: node %" PRIu64 " has not answered a call for 60 s",
                      call->machine->id);
}

/* A machine that is up, or NULL. */
struct simsql_machine *simsql_draw_machine(struct simsql_clients *clients,
                                           struct bnd_sim_rng *rng) {
    size_t at = bnd_sim_rng_below(rng, SIMSQL_MACHINES_MAX);
    for (size_t i = 0; i < SIMSQL_MACHINES_MAX; i++) {
        struct simsql_machine *machine =
            &clients->cluster->machines[(at + i) % SIMSQL_MACHINES_MAX];
        if (machine->base.life == BND_SIM_UP && !machine->base.fatal) {
            return machine;
        }
    }
    return NULL;
}

struct call *simsql_call_new(struct simsql_clients *clients, struct simsql_machine *machine) {
    struct call *call = bnd_sim_zalloc(sizeof *call);
    call->clients = clients;
    call->machine = machine;
    call->life = machine->base.lives;
    call->asked_ms = simsql_right_ms(clients->cluster);
    call->query = (struct bnd_sql_call){.cb = on_query, .data = call};
    call->admin = (struct bnd_sql_admin){.cb = on_admin, .data = call};
    call->late = (struct bnd_timer){.cb = on_late, .data = call};
    bnd_list_push(&clients->calls, &call->link);
    bnd_sim_world_at(clients->cluster->world, &call->late, ANSWER_NS);
    return call;
}

/* rv of a call just made: a refusal ends it at once. */
void simsql_call_made(struct call *call, int rv) {
    if (rv != 0) {
        call_over(call, rv, NULL);
    }
}

void simsql_query(struct call *call, const uint8_t uuid[BND_SQL_UUID_BYTES],
                  const struct bnd_buf *request) {
    BND_ASSERT(!request->failed);
    bnd_sim_env_enter(call->machine->base.env);
    int rv = bnd_sql_query(call->machine->sql, &call->query, uuid, bnd_buf_slice(request));
    bnd_sim_env_leave(call->machine->base.env);
    simsql_call_made(call, rv);
}

/* Their answers will not come. */
static void on_died(void *data, struct simsql_machine *machine) {
    struct simsql_clients *clients = data;
    struct bnd_link *link = clients->calls.next;
    while (link != &clients->calls) {
        struct call *call = BND_CONTAINER(link, struct call, link);
        link = link->next;
        if (!call->over && call->machine == machine && call->life == machine->base.lives) {
            call_over(call, BND_CLOSED, NULL);
        }
    }
}

/* ---- clients ----------------------------------------------------------------------------------*/

static void think(struct client *client) {
    struct simsql_clients *clients = client->clients;
    client->busy = false;
    if (!clients->stopped) {
        uint64_t most_ns = bnd_sim_rng_chance(&client->rng, 400) ? BURST_NS : clients->think_ns;
        bnd_sim_world_at(clients->cluster->world, &client->timer,
                         1 + bnd_sim_rng_below(&client->rng, most_ns));
    }
}

bool simsql_is_certain(int status) {
    return status == BND_UNAVAILABLE || status == BND_NOSPACE || status == BND_FULL ||
           status == BND_BUSY || status == BND_TOOBIG || status == BND_LOCKED;
}

bool simsql_take_read(struct simsql_op *op, struct bnd_slice text) {
    struct bnd_slice list;
    bool right = simsql_numbers(text, 0, &op->n, 1) == 1 &&
                 simsql_numbers(text, 1, &op->bank, 1) == 1 && simsql_cell(text, 2, &list) &&
                 simsql_numbers(text, 3, &op->value, 1) == 1;
    if (right) {
        op->list = bnd_sim_zalloc(list.len + 1);
        if (list.len > 0) {
            memcpy(op->list, list.data, list.len);
        }
    }
    return right;
}

static void check_session(struct client *client, struct simsql_op *op,
                          const struct bnd_sql_answer *answer) {
    struct session *session = &client->sessions[op->database];
    struct bnd_sql_bookmark now;
    struct bnd_sql_bookmark seen;
    bnd_sql_bookmark_get(answer->bookmark, &now);
    bnd_sql_bookmark_get(session->bookmark, &seen);
    bool behind = now.epoch < seen.epoch || (now.epoch == seen.epoch && now.version < seen.version);
    if (session->known && behind) {
        bnd_sim_violation(&client->clients->cluster->check,
                          "SESSION: database %zu: version %" PRIu64 " after version %" PRIu64,
                          op->database, now.version, seen.version);
    }
    session->known = true;
    memcpy(session->bookmark, answer->bookmark, sizeof session->bookmark);
}

/* An operation was answered DONE. */
static enum simsql_outcome take_done(struct call *call, struct simsql_op *op,
                                     const struct bnd_sql_answer *answer) {
    struct client *client = call->data;
    struct simsql_history *history = call->clients->history;
    struct simsql_database *database = &history->databases[op->database];
    struct bnd_sql_bookmark place;
    bnd_sql_bookmark_get(answer->bookmark, &place);
    if (op->kind == SIMSQL_FAIL ||
        (op->kind == SIMSQL_READ && !simsql_take_read(op, answer->text)) ||
        (op->token != 0 && !simsql_take_place(op, answer->text))) {
        bnd_sim_violation(&call->clients->cluster->check,
                          "ANSWER: to an operation of kind %d: %.*s", (int)op->kind,
                          (int)(answer->text.len < 250 ? answer->text.len : 250),
                          (const char *)answer->text.data);
        return SIMSQL_PENDING;
    }
    op->place = place;
    if (op->stale && place.epoch < database->dumped.epoch) {
        return SIMSQL_NONE; /* a replica that has not heard of a restore yet */
    }
    if (!op->stale || op->follows) { /* what is read at any place begins no session */
        check_session(client, op, answer);
    }
    if (op->token != 0) {
        const struct simsql_mark mark = {
            .bookmark = place, .rows = (size_t)op->n, .told_ms = op->invoked_ms};
        simsql_history_mark(history, op->database, &mark);
    }
    return SIMSQL_DONE;
}

/* A replica may be as old as that. */
static bool is_before_tables(struct bnd_slice text) {
    return bnd_slice_starts(text, bnd_slice_str("no such table"));
}

static bool on_follower(struct bnd_slice text) {
    static const char mark[] = "\"served_by_primary\":false";
    return memmem(text.data, text.len, mark, sizeof mark - 1) != NULL;
}

static enum simsql_outcome outcome_of(struct call *call, struct simsql_op *op, int status,
                                      const struct bnd_sql_answer *answer) {
    struct simsql_counts *counts = &call->clients->cluster->counts;
    if (status != 0) {
        counts->refused += simsql_is_certain(status);
        counts->unknown += !simsql_is_certain(status);
        counts->locked += status == BND_LOCKED;
        if (status == BND_LOCKED &&
            (op->token == 0 ||
             !simsql_history_locked(call->clients->history, op->database, op->invoked_ms))) {
            bnd_sim_violation(&call->clients->cluster->check,
                              "LOCKED: database %zu: an operation of kind %d", op->database,
                              (int)op->kind);
        }
        bool deleting = call->clients->history->databases[op->database].deleting;
        if ((status == BND_NOTFOUND && !deleting) || status == BND_CORRUPT) {
            bnd_sim_violation(&call->clients->cluster->check, "STATUS: database %zu: %s",
                              op->database, bnd_code_text(status));
        }
        return simsql_is_certain(status) ? SIMSQL_NONE : SIMSQL_PENDING;
    }
    switch (answer->outcome) {
    case BND_SQL_DONE:
        counts->follower_reads += op->stale;
        counts->index_reads += !op->stale && op->kind == SIMSQL_READ && on_follower(answer->text);
        return take_done(call, op, answer);
    case BND_SQL_LOST:
        bnd_sql_bookmark_get(answer->bookmark, &op->place);
        return SIMSQL_DONE;
    default:
        if (op->stale && !op->follows && is_before_tables(answer->text)) {
            return SIMSQL_NONE;
        }
        if (op->kind != SIMSQL_FAIL && op->kind != SIMSQL_CHANCE) {
            bnd_sim_violation(&call->clients->cluster->check,
                              "FAILED: an operation of kind %d: %.*s", (int)op->kind,
                              (int)answer->text.len, (const char *)answer->text.data);
        }
        return SIMSQL_NONE;
    }
}

/* Nothing was to be found of it when the operation began. */
static void check_there(const struct call *call, const struct simsql_op *op, int status) {
    const struct simsql_database *database = &call->clients->history->databases[op->database];
    if (status == 0 && !op->stale && database->deleted_ns != 0 &&
        op->invoked_ns > database->deleted_ns) {
        bnd_sim_violation(&call->clients->cluster->check,
                          "DELETED: database %zu: it answers an operation of kind %d", op->database,
                          (int)op->kind);
    }
}

static void on_op(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct client *client = call->data;
    struct simsql_history *history = call->clients->history;
    struct simsql_op *op = &history->ops[call->op];
    enum simsql_outcome outcome = outcome_of(call, op, status, answer);
    check_there(call, op, status);
    if (call->clients->cluster->verbose) {
        (void)fprintf(stderr,
                      "%" PRIu64 " op %zu (kind %d, token %" PRId64
                      ") on database %zu through node "
                      "%" PRIu64 ": %d, outcome %d, n %" PRId64 "\n",
                      simsql_now_ns(call->clients->cluster) / BND_MS, call->op, (int)op->kind,
                      op->token, op->database, call->machine->id, status, (int)outcome, op->n);
    }
    history->databases[op->database].under_way--;
    simsql_history_return(history, call->op, outcome);
    think(client);
}

struct simsql_op simsql_draw_op(struct simsql_clients *clients, struct bnd_sim_rng *rng,
                                size_t database) {
    static const enum simsql_kind kinds[] = {
        SIMSQL_APPEND,   SIMSQL_APPEND,   SIMSQL_APPEND,   SIMSQL_TRANSFER,
        SIMSQL_TRANSFER, SIMSQL_REGISTER, SIMSQL_REGISTER, SIMSQL_UNIQUE,
        SIMSQL_UNIQUE,   SIMSQL_CLEAR,    SIMSQL_FAIL,     SIMSQL_CHANCE,
        SIMSQL_READ,     SIMSQL_READ,     SIMSQL_READ,     SIMSQL_READ};
    struct simsql_op op = {.database = database};
    op.kind = kinds[bnd_sim_rng_below(rng, sizeof kinds / sizeof kinds[0])];
    op.token = op.kind == SIMSQL_READ ? 0 : ++clients->token;
    op.a =
        (int64_t)bnd_sim_rng_below(rng, op.kind == SIMSQL_TRANSFER ? SIMSQL_ACCOUNTS : SIMSQL_KEYS);
    op.b =
        (int64_t)bnd_sim_rng_below(rng, op.kind == SIMSQL_TRANSFER ? SIMSQL_ACCOUNTS : SIMSQL_KEYS);
    op.c = (int64_t)bnd_sim_rng_below(rng, 20);
    if (op.kind == SIMSQL_READ) {
        op.c = (int64_t)bnd_sim_rng_below(rng, 3);
        op.stale = op.c == 0;
    }
    return op;
}

/* What is quiet is never the first. */
static size_t draw_database(struct client *client) {
    const struct simsql_history *history = client->clients->history;
    size_t drawn = bnd_sim_rng_below(&client->rng, history->databases_count);
    while (history->databases[drawn].quiet) {
        drawn = bnd_sim_rng_below(&client->rng, drawn);
    }
    return drawn;
}

static void on_think(struct bnd_timer *timer) {
    struct client *client = timer->data;
    struct simsql_clients *clients = client->clients;
    size_t database = draw_database(client);
    struct simsql_machine *machine = simsql_draw_machine(clients, &client->rng);
    if (clients->stopped) {
        return;
    }
    if (machine == NULL || clients->history->databases[database].paused) {
        think(client);
        return;
    }
    struct simsql_op op = simsql_draw_op(clients, &client->rng, database);
    const struct session *session = &client->sessions[database];
    op.follows = op.stale && session->known && bnd_sim_rng_chance(&client->rng, 500);
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct call *call = simsql_call_new(clients, machine);
    call->done = on_op;
    call->data = client;
    client->busy = true;
    clients->history->databases[database].under_way++;
    call->op = simsql_history_invoke(clients->history, &op);
    simsql_request_op(&request, &op, op.follows ? session->bookmark : NULL, &client->rng);
    simsql_query(call, clients->history->databases[database].uuid, &request);
}

void simsql_clients_renew(struct simsql_clients *clients, size_t database,
                          const uint8_t uuid[BND_SQL_UUID_BYTES]) {
    simsql_history_renew(clients->history, database, uuid);
    for (size_t i = 0; i < clients->count; i++) {
        clients->items[i].sessions[database] = (struct session){0};
    }
}

/* ---- making databases -------------------------------------------------------------------------*/

static void make_tables(struct simsql_clients *clients, size_t database);

static void on_tables(struct call *call, int status, const struct bnd_sql_answer *answer) {
    struct simsql_clients *clients = call->clients;
    if (status != 0 || answer->outcome != BND_SQL_DONE) {
        bnd_sim_violation(&clients->cluster->check, "SETUP: %d: %.*s", status,
                          answer == NULL ? 0 : (int)answer->text.len,
                          answer == NULL ? "" : (const char *)answer->text.data);
    }
    clients->history->databases[call->op].made_ms = simsql_right_ms(clients->cluster);
    clients->making--;
}

static void on_created(struct call *call, int status, const struct bnd_sql_answer *answer) {
    (void)answer;
    if (status != 0 && status != BND_EXISTS) {
        bnd_sim_violation(&call->clients->cluster->check, "SETUP: a database: %s",
                          bnd_code_text(status));
        call->clients->making--;
        return;
    }
    make_tables(call->clients, call->op);
}

static void make_tables(struct simsql_clients *clients, size_t database) {
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct call *call = simsql_call_new(clients, &clients->cluster->machines[0]);
    call->done = on_tables;
    call->op = database;
    simsql_request_setup(&request);
    simsql_query(call, clients->history->databases[database].uuid, &request);
}

static void make_database(struct simsql_clients *clients, size_t database) {
    struct simsql_history *history = clients->history;
    struct call *call = simsql_call_new(clients, &clients->cluster->machines[0]);
    call->done = on_created;
    call->op = database;
    clients->making++;
    bnd_sim_env_enter(call->machine->base.env);
    int rv = bnd_sql_create_database(call->machine->sql, &call->admin,
                                     history->databases[database].uuid);
    bnd_sim_env_leave(call->machine->base.env);
    simsql_call_made(call, rv);
}

static bool all_made(void *data) {
    return ((struct simsql_clients *)data)->making == 0;
}

static void make_databases(struct simsql_clients *clients, size_t count) {
    struct simsql_history *history = clients->history;
    struct bnd_sim_rng rng;
    bnd_sim_rng_init(&rng, bnd_sim_world_seed(clients->cluster->world), "databases", 0);
    history->databases_count = count;
    for (size_t d = 0; d < count; d++) {
        bnd_put_u64(history->databases[d].uuid, bnd_sim_rng_u64(&rng));
        bnd_put_u64(history->databases[d].uuid + 8, bnd_sim_rng_u64(&rng));
        make_database(clients, d);
    }
    (void)bnd_sim_run_until_true(clients->cluster->world, all_made, clients, 60 * SIMSQL_SECOND);
}

/* ---- the whole --------------------------------------------------------------------------------*/

struct simsql_clients *simsql_clients_create(struct simsql_cluster *cluster,
                                             struct simsql_history *history, size_t count,
                                             uint64_t think_ns) {
    BND_ASSERT(count <= CLIENTS_MAX);
    struct simsql_clients *clients = bnd_sim_zalloc(sizeof *clients);
    uint64_t seed = bnd_sim_world_seed(cluster->world);
    clients->cluster = cluster;
    clients->history = history;
    clients->count = count;
    clients->think_ns = think_ns;
    bnd_list_init(&clients->calls);
    cluster->died = on_died;
    cluster->died_data = clients;
    make_databases(clients, 1 + seed % 2);
    for (size_t i = 0; i < count; i++) {
        struct client *client = &clients->items[i];
        client->clients = clients;
        client->timer = (struct bnd_timer){.cb = on_think, .data = client};
        bnd_sim_rng_init(&client->rng, seed, "client", i);
        think(client);
    }
    simsql_manager_start(clients, seed);
    simsql_importer_start(clients, seed);
    return clients;
}

void simsql_clients_stop(struct simsql_clients *clients) {
    clients->stopped = true;
}

bool simsql_clients_idle(const struct simsql_clients *clients) {
    for (size_t i = 0; i < clients->count; i++) {
        if (clients->items[i].busy) {
            return false;
        }
    }
    return clients->manager.step == STEP_IDLE && !clients->manager.waiting &&
           clients->importer.step == BRANCH_IDLE;
}

void simsql_clients_end_leases(struct simsql_clients *clients) {
    uint64_t now_ms = simsql_right_ms(clients->cluster);
    uint64_t until_ms = clients->leases_until_ms;
    if (until_ms >= now_ms) {
        bnd_sim_world_pass(clients->cluster->world, until_ms + 1 - now_ms);
        bnd_sim_run_for(clients->cluster->world, TICKS_NS);
    }
}

void simsql_clients_destroy(struct simsql_clients *clients) {
    struct bnd_link *link = NULL;
    bnd_sim_world_cancel(clients->cluster->world, &clients->manager.timer);
    bnd_sim_world_cancel(clients->cluster->world, &clients->importer.timer);
    for (size_t i = 0; i < clients->count; i++) {
        bnd_sim_world_cancel(clients->cluster->world, &clients->items[i].timer);
    }
    while ((link = bnd_list_pop(&clients->calls)) != NULL) {
        struct call *call = BND_CONTAINER(link, struct call, link);
        bnd_sim_world_cancel(clients->cluster->world, &call->late);
        bnd_sim_free(call);
    }
    clients->cluster->died = NULL;
    bnd_sim_free(clients);
}
