/* JSON of what SQLite holds, as D1 tells it. Appends; what does not fit into memory shows in the
 * buffer's `failed`. Inside sql/ only. */
#ifndef BND_SQL_JSON_H
#define BND_SQL_JSON_H

#include "base/bytes.h"
#include "sql/sqlite.h"

/* A string with its quotes. Bytes that are no UTF-8 become U+FFFD, one for each longest run that
 * could have begun a character (as JavaScript's TextDecoder does). */
void sql_json_string(struct bnd_buf *out, struct bnd_slice text);

/* Text as it is, made valid in the same way: what is to be put into a string later. */
void sql_json_text(struct bnd_buf *out, struct bnd_slice text);

void sql_json_integer(struct bnd_buf *out, int64_t value);

/* The shortest number that reads back as this double; without a fraction where there is none.
 * Infinite and NaN: null. */
void sql_json_double(struct bnd_buf *out, double value);

/* Bytes as an array of numbers. */
void sql_json_bytes(struct bnd_buf *out, struct bnd_slice bytes);

/* A column of the row that a statement stands on. */
void sql_json_column(struct bnd_buf *out, sqlite3_stmt *statement, int column);

/* Milliseconds with their fraction, from nanoseconds. */
void sql_json_ms(struct bnd_buf *out, uint64_t ns);

#endif
