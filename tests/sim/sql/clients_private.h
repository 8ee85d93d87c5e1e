/* Clients, their manager and their importer inside (clients.h): the calls that they make on
 * machines. */
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
    uint64_t asked_ms; /* as right clocks had it */
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
    STEP_TIME, /* where was it then? */
    STEP_RESTORE,
    STEP_BUMP, /* was it restored? */
    STEP_DUMP_AGAIN,
    STEP_FORK,
    STEP_DUMP_FORK,
    STEP_DELETE,
    STEP_GONE,   /* nothing is found of it */
    STEP_AGAIN,  /* nor made under its uuid */
    STEP_CREATE, /* another under its name */
    STEP_TABLES,
    STEP_LAST_WRITE, /* in the end: nothing refuses it any more */
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
    bool in_doubt;                    /* whether the nudge takes place */
    uint8_t fork[BND_SQL_UUID_BYTES]; /* or of what comes in a deleted one's place */
};

enum branch_step {
    BRANCH_IDLE,
    BRANCH_MAKE,
    BRANCH_PIECE, /* of an import: a transaction in the branch */
    BRANCH_READ,  /* of an export */
    BRANCH_RENEW,
    BRANCH_SWAP,
    BRANCH_HIDDEN, /* is what an import was on its way a version of the database? */
    BRANCH_END,
};
#define PIECES_MAX 6

/* An import or an export, and the process that makes it. */
struct importer {
    struct simsql_clients *clients;
    struct bnd_sim_rng rng;
    struct bnd_timer timer;
    enum branch_step step;
    struct simsql_machine *machine; /* whose process it is */
    uint64_t life;
    size_t number; /* of the database */
    bool holds;    /* an import */
    uint64_t import;
    uint8_t branch[BND_SQL_UUID_BYTES];
    struct bnd_sql_bookmark from; /* what it was made of */
    uint64_t version;             /* of the branch, as its maker knows it */
    uint64_t renewed_ms;          /* from then on the lease goes, at least */
    uint64_t held_before_ms;      /* by another one, before */
    size_t ops[PIECES_MAX];       /* its pieces, or its reads, as far as they have not returned */
    size_t ops_count;
    unsigned left;                  /* pieces or reads to come */
    unsigned again;                 /* refusals in a row */
    bool in_doubt;                  /* whether the swap takes place */
    struct bnd_sql_bookmark hidden; /* where an import was on its way */
};

struct simsql_clients {
    struct simsql_cluster *cluster;
    struct simsql_history *history;
    struct client items[CLIENTS_MAX];
    size_t count;
    struct manager manager;
    struct importer importer;
    uint64_t think_ns;
    int64_t token;
    bool stopped;
    struct bnd_link calls;
    size_t making;            /* databases */
    uint64_t leases_until_ms; /* of all branches; as right clocks have it */
};

/* clients.c */
struct simsql_machine *simsql_draw_machine(struct simsql_clients *clients,
                                           struct bnd_sim_rng *rng); /* that is up, or NULL */
struct call *simsql_call_new(struct simsql_clients *clients, struct simsql_machine *machine);
/* rv of a call just made: a refusal ends it at once. */
void simsql_call_made(struct call *call, int rv);
void simsql_query(struct call *call, const uint8_t uuid[BND_SQL_UUID_BYTES],
                  const struct bnd_buf *request);
/* Certainly not executed? */
bool simsql_is_certain(int status);
struct simsql_op simsql_draw_op(struct simsql_clients *clients, struct bnd_sim_rng *rng,
                                size_t database);
/* What a read was told; false: it cannot be read. */
bool simsql_take_read(struct simsql_op *op, struct bnd_slice text);

/* The database is another from now on. */
void simsql_clients_renew(struct simsql_clients *clients, size_t database,
                          const uint8_t uuid[BND_SQL_UUID_BYTES]);

/* manager.c */
void simsql_manager_start(struct simsql_clients *clients, uint64_t seed);

/* importer.c */
void simsql_importer_start(struct simsql_clients *clients, uint64_t seed);

#endif
