/* Clients and their manager inside (clients.h): the calls that they make on machines. */
#ifndef BND_TESTS_SIM_SQL_CLIENTS_PRIVATE_H
#define BND_TESTS_SIM_SQL_CLIENTS_PRIVATE_H

#include "tests/sim/sql/clients.h"

#define CLIENTS_MAX 6

struct client;

/* A call on a machine. Its memory stays until the end: the machine may still look at it. */
struct call {
    struct bnd_link link;
    struct simsql_clients *clients;
    struct simsql_machine *machine;
    uint64_t life;
    bool over;
    struct bnd_timer late;
    struct bnd_sql_call query;
    struct bnd_sql_admin admin;
    /* exactly once, from inside the machine or after its death: status BND_CLOSED */
    void (*done)(struct call *call, int status, const struct bnd_sql_answer *answer);
    void *data;
    size_t op;
};

/* The newest place that a client has seen of a database. */
struct session {
    bool known;
    uint8_t bookmark[BND_SQL_BOOKMARK_BYTES];
};

struct client {
    struct simsql_clients *clients;
    struct bnd_sim_rng rng;
    struct bnd_timer timer;
    bool busy;
    struct session sessions[SIMSQL_DATABASES_MAX];
};

enum step {
    STEP_IDLE,
    STEP_NUDGE, /* a restore while operations are under way */
    STEP_PAUSE,
    STEP_DUMP,
    STEP_DECIDE,
    STEP_RESTORE,
    STEP_BUMP, /* was it restored? */
    STEP_DUMP_AGAIN,
    STEP_FORK,
    STEP_DUMP_FORK,
};

struct manager {
    struct simsql_clients *clients;
    struct bnd_sim_rng rng;
    struct bnd_timer timer;
    enum step step;
    bool waiting;  /* for an answer */
    size_t number; /* of the database */
    struct simsql_mark target;
    bool undo;
    unsigned bumps;
    bool in_doubt; /* whether the nudge takes place */
    uint8_t fork[BND_SQL_UUID_BYTES];
};

struct simsql_clients {
    struct simsql_cluster *cluster;
    struct simsql_history *history;
    struct client items[CLIENTS_MAX];
    size_t count;
    struct manager manager;
    uint64_t think_ns;
    int64_t token;
    bool stopped;
    struct bnd_link calls;
    size_t making; /* databases */
};

/* clients.c */
struct simsql_machine *simsql_draw_machine(struct simsql_clients *clients,
                                           struct bnd_sim_rng *rng); /* that is up, or NULL */
struct call *simsql_call_new(struct simsql_clients *clients, struct simsql_machine *machine);
/* rv of a call just made: a refusal ends it at once. */
void simsql_call_made(struct call *call, int rv);
void simsql_query(struct call *call, size_t database, const struct bnd_buf *request);
/* Certainly not executed? */
bool simsql_is_certain(int status);

/* manager.c */
void simsql_manager_start(struct simsql_clients *clients, uint64_t seed);

#endif
