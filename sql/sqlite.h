/* SQLite as this project has it: what the amalgamation was given beside its own (ADR 0103,
 * `cmake/sqlite_counters.py`), and its memory. Inside sql/ only. */
#ifndef BND_SQL_SQLITE_H
#define BND_SQL_SQLITE_H

#include <stdbool.h>
#include <stddef.h>

#include <sqlite3.h>

/* For sqlite3_stmt_status: rows as D1 counts them, since the counter was last reset. */
#define SQL_STMTSTATUS_ROWS_READ 1025
#define SQL_STMTSTATUS_ROWS_WRITTEN 1026

/* Pages of the main database, and how many of them are free, as the transaction that a BEGIN has
 * begun sees it: from here on it reads, if it did not yet. SQLite's code. */
int sqlite3_bnd_pages(sqlite3 *db, unsigned *out_pages, unsigned *out_free);

/* Before anything else of SQLite is called, in every thread; later calls do nothing. SQLite then
 * takes its memory from base/alloc.h. Uses no file and no clock of its own. */
void sql_sqlite_start(void);

/* What SQLite allocates and frees between enter and leave on this thread is counted here. An
 * allocation that would take more than bytes_max fails. Scopes do not nest. */
struct sql_memory {
    size_t bytes, bytes_max;
    bool failed; /* the machine had none, since it was last cleared */
};
void sql_memory_enter(struct sql_memory *memory);
void sql_memory_leave(void);

#endif
