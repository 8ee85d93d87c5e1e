/* An SQLite connection as a D1 database has it: limits, authorizer, pragmas, row counters
 * (reference/sql.md 3 and 4). Knows nothing of replication: over whatever VFS it is opened on.
 * One thread at a time; connections to nothing in common run in parallel. Inside sql/ only. */
#ifndef BND_SQL_CONNECTION_H
#define BND_SQL_CONNECTION_H

#include "sql/request.h"

struct sql_connection;

struct sql_connection_config {
    const char *vfs;  /* NULL: SQLite's own (tests) */
    const char *name; /* of the file for that VFS */
    bool read_only;
    size_t cache_bytes;      /* of SQLite's page cache; 0: 2 MiB */
    size_t memory_bytes_max; /* of all that SQLite holds for it, the cache included; 0: 128 MiB */
};

/* BND_CORRUPT: it is no database; BND_NOMEM, BND_IO. */
int sql_connection_open(const struct sql_connection_config *config, struct sql_connection **out,
                        struct bnd_error *err);
void sql_connection_close(struct sql_connection *connection); /* NULL allowed */

/* What SQLite holds for it now, its page cache included. Not while it runs. */
size_t sql_connection_bytes(const struct sql_connection *connection);

/* What meta tells beside SQLite's own figures. */
struct sql_served {
    const char *node; /* served_by */
    bool primary;
};

/* Monotonic nanoseconds, asked for on the thread that runs. NULL: no time passes. */
struct sql_clock {
    uint64_t (*now_ns)(void *data);
    void *data;
};

struct sql_run {
    /* set by the caller */
    const struct bnd_sql_request *request; /* decoded; may be run again */
    struct sql_served served;
    struct sql_clock clock;
    uint64_t timeout_ms; /* of running time; 0: 30,000. Then it is interrupted and fails */
    const _Atomic bool *stop; /* once it is set, by any thread, the run ends with "interrupted" as
                                 soon as it can. NULL: nobody does */
    bool read_only; /* stop with wants_writer before anything that is not read-only is stepped */
    int64_t last_row_id; /* last_insert_rowid() before the first statement: connections come and go,
                            the database's last one does not */
    /* filled; last_row_id as it is then, if it is DONE */
    enum bnd_sql_outcome outcome;
    bool wants_writer;
    struct bnd_buf text; /* JSON array of elements, or the message; owned by the caller */
    uint64_t rows_read, rows_written, duration_ns; /* sums of DONE */
};

/* Runs a request as one transaction: all of it or nothing. Afterwards the connection is in
 * autocommit again, and has the settings it was opened with, whatever happened. Returns 0 also when
 * SQL fails (outcome FAILED, the message in text); BND_NOMEM, BND_TOOBIG (the answer has more than
 * BND_SQL_ANSWER_MAX), BND_IO, BND_CORRUPT, BND_NOSPACE (the VFS said so): nothing is changed, and
 * the connection is good for being closed only, but after BND_TOOBIG.
 *
 * A statement's text holds several statements if the request is a script: an element each.
 * Otherwise they make one element, with the rows of the last, as D1 has it. Only the last may have
 * parameters. A text without any statement makes no element; if all are so, it fails. */
int sql_connection_run(struct sql_connection *connection, struct sql_run *run);

#endif
