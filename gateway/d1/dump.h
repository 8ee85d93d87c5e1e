/* A database as SQL text, in the form of D1's exports: internal to gateway/.
 *
 * What is written comes from the database itself: a list of its tables and of their columns, then,
 * in one transaction with that list again, a query per table whose rows are INSERT statements.
 * Pure: the queries are built and their answers read here, the asking is the owner's. */
#ifndef BND_GATEWAY_D1_DUMP_H
#define BND_GATEWAY_D1_DUMP_H

#include "sql/request.h"

#include <jansson.h>

#define D1_DUMP_WHY_TEXT 160

struct d1_dump {
    /* set by the owner */
    bool no_schema, no_data;
    const json_t *tables; /* array of names, or NULL: all; borrowed */
    /* private */
    json_t *schema;  /* rows: name, type, sql */
    json_t *columns; /* by table: rows of table_info */
    char why[D1_DUMP_WHY_TEXT];
};

/* Builds the first request: what there is. */
void d1_dump_ask_schema(struct bnd_buf *request);
/* Takes its answer. BND_UNSUPPORTED: it cannot be exported, why says so; BND_CORRUPT, BND_NOMEM. */
int d1_dump_take_schema(struct d1_dump *dump, struct bnd_slice answer);
/* Builds the second one: the columns of the tables that are wanted. False: there are none. */
bool d1_dump_ask_columns(const struct d1_dump *dump, struct bnd_buf *request);
int d1_dump_take_columns(struct d1_dump *dump, struct bnd_slice answer);
/* Builds the last one: the rows, in a transaction with the schema. */
void d1_dump_ask_rows(const struct d1_dump *dump, struct bnd_buf *request);
/* Appends the text. BND_CONFLICT: the schema has changed since, begin again; BND_TOOBIG: there is
 * more than bytes_max of it; BND_CORRUPT, BND_NOMEM. */
int d1_dump_take_rows(const struct d1_dump *dump, struct bnd_slice answer, size_t bytes_max,
                      struct bnd_buf *out);
void d1_dump_free(struct d1_dump *dump);

#endif
