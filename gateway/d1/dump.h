/* A database as SQL text, in the form of D1's exports, a piece at a time: internal to gateway/.
 *
 * What is written comes from the database itself: a list of what there is, then for each table its
 * columns and its rows, a page of them after the other, each behind the key of the last. So the
 * database must not change meanwhile: it is a branch. Pure: the queries are built and their answers
 * read here, the asking is the owner's. */
#ifndef BND_GATEWAY_D1_DUMP_H
#define BND_GATEWAY_D1_DUMP_H

#include "sql/request.h"

#include <jansson.h>

#define D1_DUMP_WHY_TEXT 160
#define D1_DUMP_PAGE_BYTES (512u << 10) /* of text that a page of rows should have */

enum d1_dump_step { D1_DUMP_BEGIN, D1_DUMP_TABLE, D1_DUMP_COLUMNS, D1_DUMP_ROWS };

struct d1_dump {
    /* set by the owner */
    bool no_schema, no_data;
    const json_t *tables; /* array of names, or NULL: all; borrowed */
    /* private */
    enum d1_dump_step step;
    json_t *schema;  /* rows: name, type, sql */
    json_t *unrowed; /* names of tables WITHOUT ROWID */
    size_t at;       /* in schema */
    json_t *columns; /* of the table in hand: rows of table_xinfo */
    char *key;       /* of it, as SQL: what rows are told apart and ordered by; NULL: by nothing */
    json_t *last;    /* the key of the last row, as literals; NULL: none yet */
    uint64_t rows;   /* of the table, so far */
    unsigned limit;  /* rows of a page */
    char why[D1_DUMP_WHY_TEXT];
};

/* Builds the first request: what there is. */
void d1_dump_ask_schema(struct bnd_buf *request);
/* Takes its answer. BND_UNSUPPORTED: it cannot be exported, why says so; BND_CORRUPT, BND_NOMEM. */
int d1_dump_take_schema(struct d1_dump *dump, struct bnd_slice answer);
/* Appends text that nothing is asked for, and builds the next request. False: there is none, the
 * text is complete. Failures of memory are in out->failed and request->failed. */
bool d1_dump_next(struct d1_dump *dump, struct bnd_buf *request, struct bnd_buf *out);
/* Takes its answer and appends text. BND_CORRUPT, BND_NOMEM. */
int d1_dump_take(struct d1_dump *dump, struct bnd_slice answer, struct bnd_buf *out);
/* The answer would have been too large: d1_dump_next builds a smaller request. False: there is
 * none, one row alone is too large. */
bool d1_dump_shrink(struct d1_dump *dump);
void d1_dump_free(struct d1_dump *dump);

#endif
