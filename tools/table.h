/* Rows of a query as text, for people. */
#ifndef BND_TOOLS_TABLE_H
#define BND_TOOLS_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum tools_table_mode {
    TOOLS_TABLE_BOX,  /* columns of one width, under their names */
    TOOLS_TABLE_LINE, /* a line for each cell: name = value */
    TOOLS_TABLE_CSV,  /* RFC 4180, with a head */
    TOOLS_TABLE_JSON, /* an array of objects */
};

/* "box", "line", "csv", "json". False: it was told on stderr that there is no such one. */
bool tools_table_mode_read(const char *name, enum tools_table_mode *out);

/* columns: array of strings; rows: array of arrays. NULL is shown as NULL (CSV: nothing), blobs as
 * X'..', control characters as '?' (CSV and JSON keep them). */
void tools_table_print(FILE *out, enum tools_table_mode mode, const json_t *columns,
                       const json_t *rows);

#endif
