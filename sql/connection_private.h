/* The parts of a connection: connection.c opens and settles it, connection_cache.c keeps its
 * statements, connection_error.c says what went wrong, connection_run.c runs requests. */
#ifndef BND_SQL_CONNECTION_PRIVATE_H
#define BND_SQL_CONNECTION_PRIVATE_H

#include "base/queue.h"
#include "sql/authorizer.h"
#include "sql/connection.h"
#include "sql/sqlite.h"

/* ---- statements that are kept -------------------------------------------------------------------
 *
 * By their text, so many bytes of them; those not used for longest go first. One that SQLite finds
 * out of date it prepares again by itself. */

#define SQL_CACHE_BYTES_MAX (1u << 20)
#define SQL_CACHE_BYTES_EACH_MAX (128u << 10)
#define SQL_CACHE_COUNT_MAX 256u
#define SQL_CACHE_CHAINS 256u

struct sql_kept {
    struct bnd_link link;  /* of the cache's, in order of use */
    struct sql_kept *next; /* of its chain */
    uint64_t hash;
    sqlite3_stmt *statement;
    size_t bytes;
    size_t text_bytes;
    uint8_t text[];
};

struct sql_cache {
    struct bnd_link used;
    struct sql_kept *chains[SQL_CACHE_CHAINS];
    size_t bytes, count;
};

void sql_cache_init(struct sql_cache *cache);
/* Ends all statements. */
void sql_cache_clear(struct sql_cache *cache);
/* The statement of exactly this text, or NULL. The cache's. */
sqlite3_stmt *sql_cache_find(struct sql_cache *cache, struct bnd_slice text);
/* Takes the statement if it is kept from now on (true): then it is valid until the next put. */
bool sql_cache_put(struct sql_cache *cache, struct bnd_slice text, sqlite3_stmt *statement);

/* ---- a connection ---- */

struct sql_connection {
    sqlite3 *db;
    struct sql_memory memory;
    struct sql_authorizer authorizer;
    struct sql_cache cache;
    sqlite3_stmt *begin, *commit, *rollback; /* its own */
    /* of the run */
    const _Atomic bool *stop; /* NULL: none */
    struct sql_clock clock;
    uint64_t deadline_ns; /* UINT64_MAX: none */
};

/* Runs one of the connection's own statements to its end. SQLite's code. */
int sql_connection_own(struct sql_connection *connection, sqlite3_stmt *statement);
/* Ends the transaction, if one is open, and puts back settings that the run changed. False: not
 * even that could be done. */
bool sql_connection_settle(struct sql_connection *connection);
static inline bool sql_connection_stopped(const struct sql_connection *connection) {
    return connection->stop != NULL && *connection->stop;
}
static inline uint64_t sql_clock_ns(const struct sql_clock *clock) {
    return clock->now_ns == NULL ? 0 : clock->now_ns(clock->data);
}

/* ---- indexes of imports (connection_fill.c) ---- */

struct sql_filled {
    int64_t rows;        /* entries that it got */
    bool whole;          /* it has all, and is as any other */
    bool missing;        /* there is no such index */
    bool equal;          /* it is UNIQUE, and rows are equal: the transaction must not commit */
    struct bnd_buf text; /* of that, as of a row that breaks it; the caller's to free */
};
/* A step of filling an index that was made with BND_SQL_FILL_SUFFIX, in the open transaction. Of
 * one that is whole nothing is changed. SQLite's code. */
int sql_connection_fill(struct sql_connection *connection, const char *index, int64_t rows_max,
                        struct sql_filled *out);

/* ---- what went wrong ---- */

/* A code of SQLite's after a call on the connection: 0 if it is the client's to know, then text is
 * the message as D1 gives it; else what sql_connection_run returns. */
int sql_connection_error(struct sql_connection *connection, int code, struct bnd_buf *text);

#endif
