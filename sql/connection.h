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
    size_t cache_bytes; /* of SQLite's page cache; 0: 2 MiB */
};

/* BND_CORRUPT: it is no database; BND_NOMEM, BND_IO. */
int sql_connection_open(const struct sql_connection_config *config, struct sql_connection **out,
                        struct bnd_error *err);
void sql_connection_close(struct sql_connection *connection); /* NULL allowed */

/* From any thread: what runs now ends with "interrupted" as soon as it can. */
void sql_connection_interrupt(struct sql_connection *connection);

/* What meta tells beside SQLite's own figures. */
struct sql_served {
    const char *node; /* served_by */
    bool primary;
};

struct sql_run {
    /* set by the caller */
    const struct bnd_sql_request *request; /* decoded; its readers are consumed */
    struct sql_served served;
    uint64_t timeout_ms; /* of running time; 0: 30,000. Then it is interrupted and fails */
    bool read_only;      /* stop with wants_writer before anything that is not read-only is stepped */
    /* filled */
    enum bnd_sql_outcome outcome;
    bool wants_writer;
    struct bnd_buf text; /* JSON array of elements, or the message; owned by the caller */
};

/* Runs a request as one transaction: all of it or nothing. Afterwards the connection is in
 * autocommit again, whatever happened. Returns 0 also when SQL fails (outcome FAILED, the message
 * in text); BND_NOMEM, BND_TOOBIG (the answer has more than BND_SQL_ANSWER_MAX), BND_IO, BND_CORRUPT (the VFS said so): nothing is
 * changed. */
int sql_connection_run(struct sql_connection *connection, struct sql_run *run);

#endif
