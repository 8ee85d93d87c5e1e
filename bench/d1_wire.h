/* SQL over HTTP as bench/d1 asks it: the D1 binding protocol as workerd speaks it, and rqlite's, in
 * the same terms, so that both are asked by the same client. */
#ifndef BND_BENCH_D1_WIRE_H
#define BND_BENCH_D1_WIRE_H

#include "bench/d1_table.h"
#include "bench/wire.h"

#define D1_DATABASES_MAX 1024u

struct d1_wire {
    struct wire_endpoints endpoints;
    const char *bindings[D1_DATABASES_MAX]; /* X-Bindery-Binding of each database */
    unsigned databases;
    const char *token;
    const char *session; /* a bookmark, or where to begin; NULL: none */
    const char *level;   /* of rqlite's reads; NULL: it is not rqlite */
    bool values;         /* rqlite: a batch is one statement with many rows */
    struct bnd_buf body, request;
};

/* Takes --endpoint, --binding (repeated), --token, --session, --rqlite LEVEL and --values 1; false:
 * another option. */
bool d1_wire_option(struct d1_wire *wire, const char *name, const char *value);
/* After the last option; false: some are missing. */
bool d1_wire_prepare(struct d1_wire *wire);

/* ---- a request: begin, then statements with their parameters, then end -----------------------*/

void d1_wire_begin(struct d1_wire *wire, bool batch);
/* In SQL without a character that JSON escapes. */
void d1_wire_statement(struct d1_wire *wire, const char *sql);
void d1_wire_integer(struct d1_wire *wire, uint64_t value);
void d1_wire_text(struct d1_wire *wire, struct bnd_slice value); /* likewise */
void d1_wire_statement_end(struct d1_wire *wire);
/* The whole request, for that database: good until the next begin. */
enum d1_kind { D1_READS, D1_WRITES, D1_WRITES_ALL /* or none of the statements */ };
struct bnd_slice d1_wire_end(struct d1_wire *wire, enum d1_kind kind, unsigned database);

/* ---- answers: false if it is not what was asked for ------------------------------------------*/

/* A row of t by its id; k is at least what it was filled with. */
bool d1_wire_row(const struct d1_wire *wire, const struct wire_http *http, uint64_t id);
/* D1_SCAN_ROWS rows from id on. */
bool d1_wire_scan(const struct d1_wire *wire, const struct wire_http *http, uint64_t id);
/* One row of numbers, of which the first two are told. */
bool d1_wire_numbers(const struct d1_wire *wire, const struct wire_http *http, uint64_t out[2]);
/* A write of one row. last_id: of the row inserted before, and then of this one, which is higher;
 * NULL: no row is inserted. */
bool d1_wire_wrote(const struct d1_wire *wire, const struct wire_http *http, uint64_t *last_id);
/* A batch: every statement of it wrote one row, or the one statement all of them. */
bool d1_wire_wrote_all(const struct d1_wire *wire, const struct wire_http *http, unsigned rows);
/* A statement that makes or drops a table. */
bool d1_wire_done(const struct d1_wire *wire, const struct wire_http *http);

#endif
