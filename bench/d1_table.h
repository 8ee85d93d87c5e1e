/* The tables that every system of bench/d1 has, and the statements that it is asked: for the
 * generators in C. dqlite_load/table.go says the same for the one in Go.
 *
 * t has rows 1 to N, (id, id, value of id), of about 110 bytes; updates count up k. w is empty when
 * a load that inserts begins. */
#ifndef BND_BENCH_D1_TABLE_H
#define BND_BENCH_D1_TABLE_H

#include "base/bytes.h"

#define D1_VALUE_BYTES 100u
#define D1_BATCH_ROWS 1000u
#define D1_SCAN_ROWS 1000u
#define D1_SUM_ROWS 10000u

enum d1_op {
    D1_READ,   /* one row by its id */
    D1_SCAN,   /* D1_SCAN_ROWS rows in order of id, all of them answered */
    D1_SUM,    /* over D1_SUM_ROWS rows, one row answered */
    D1_UPDATE, /* of one row by its id */
    D1_INSERT, /* of one row */
    D1_BATCH,  /* D1_BATCH_ROWS rows in one transaction */
    D1_FILL,   /* makes t and fills it */
};
/* Ends the process if there is none of that name. */
enum d1_op d1_op_named(const char *name);
const char *d1_op_name(enum d1_op op);

/* Its statement; of a batch and a fill, that of one row. */
const char *d1_sql(enum d1_op op);
/* An id in a table t of so many rows, so that all of the rows that op reads are there. */
uint64_t d1_draw_id(enum d1_op op, uint64_t rows, uint64_t *random);
/* A table t that op has enough in. */
bool d1_rows_fit(enum d1_op op, uint64_t rows);

#define D1_DROP_T "DROP TABLE IF EXISTS t"
#define D1_MAKE_T "CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER NOT NULL, v TEXT NOT NULL)"
#define D1_DROP_W "DROP TABLE IF EXISTS w"
#define D1_MAKE_W "CREATE TABLE w (id INTEGER PRIMARY KEY, k INTEGER NOT NULL, v TEXT NOT NULL)"
#define D1_FILL_ROW "INSERT INTO t (id, k, v) VALUES (?, ?, ?)"
#define D1_INSERT_ROW "INSERT INTO w (k, v) VALUES (?, ?)"
#define D1_UPDATE_ROW "UPDATE t SET k = k + 1 WHERE id = ?"
#define D1_READ_ROW "SELECT k, v FROM t WHERE id = ?"
#define D1_SCAN_T "SELECT id, k, v FROM t WHERE id >= ? ORDER BY id LIMIT 1000"
#define D1_SUM_T "SELECT count(*), sum(id), sum(length(v)) FROM t WHERE id BETWEEN ? AND ?"
/* What is asked once, after a run. */
#define D1_COUNT_T "SELECT count(*), sum(k) FROM t"
#define D1_COUNT_W "SELECT count(*), count(*) FROM w"

/* A piece of one random text, of letters and digits. Borrowed for good. */
struct bnd_slice d1_value(uint64_t id);

#endif
