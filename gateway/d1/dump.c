#include "gateway/d1/dump.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* sqlite_sequence comes after the tables whose counters it has. */
static const char schema_sql[] = "SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL "
                                 "ORDER BY type <> 'table', name = 'sqlite_sequence', type, rowid";

/* ---- what there is
 * ------------------------------------------------------------------------------------------------
 */

static const char *cell(const json_t *row, size_t i) {
    const char *text = json_string_value(json_array_get(row, i));
    return text == NULL ? "" : text;
}

static bool is_table(const json_t *row) {
    return strcmp(cell(row, 1), "table") == 0;
}

static bool is_sequence(const json_t *row) {
    return strcmp(cell(row, 0), "sqlite_sequence") == 0;
}

/* Of the database's own keeping. */
static bool is_internal(const json_t *row) {
    return strncmp(cell(row, 0), "_cf_", 4) == 0 ||
           (strncmp(cell(row, 0), "sqlite_", 7) == 0 && !is_sequence(row));
}

static bool wanted(const struct d1_dump *dump, const json_t *row) {
    if (is_internal(row)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(dump->tables); i++) {
        const char *name = json_string_value(json_array_get(dump->tables, i));
        if (name != NULL && strcmp(name, cell(row, 0)) == 0) {
            return true;
        }
    }
    return json_array_size(dump->tables) == 0;
}

/* Rows of the n-th statement of an answer; NULL: it is none. Borrowed. */
static json_t *rows_of(const json_t *answer, size_t n) {
    return json_object_get(json_object_get(json_array_get(answer, n), "results"), "rows");
}

static json_t *parse(struct bnd_slice answer) {
    return json_loadb((const char *)answer.data, answer.len, JSON_ALLOW_NUL, NULL);
}

static void begin(struct bnd_buf *request) {
    static const struct bnd_sql_request header = {
        .results = BND_SQL_ROWS, .session = BND_SQL_PRIMARY, .read_only = true};
    bnd_buf_reset(request);
    bnd_sql_request_begin(request, &header);
}

void d1_dump_ask_schema(struct bnd_buf *request) {
    begin(request);
    bnd_sql_request_statement(request, bnd_slice_str(schema_sql), 0);
    bnd_sql_request_end(request, 1);
}

int d1_dump_take_schema(struct d1_dump *dump, struct bnd_slice answer) {
    json_t *all = parse(answer);
    json_decref(dump->schema);
    dump->schema = json_incref(rows_of(all, 0));
    json_decref(all);
    if (!json_is_array(dump->schema)) {
        return BND_CORRUPT;
    }
    for (size_t i = 0; i < json_array_size(dump->schema); i++) {
        const json_t *row = json_array_get(dump->schema, i);
        if (strncmp(cell(row, 2), "CREATE VIRTUAL TABLE", 20) == 0) {
            (void)snprintf(dump->why, sizeof dump->why,
                           "D1 Export error: cannot export databases with Virtual Tables (fts5)");
            return BND_UNSUPPORTED;
        }
    }
    return 0;
}

/* ---- names in SQL
 * ------------------------------------------------------------------------------------------------
 */

static void put_quoted(struct bnd_buf *out, const char *text, char quote) {
    bnd_buf_u8(out, (uint8_t)quote);
    for (; *text != 0; text++) {
        bnd_buf_u8(out, (uint8_t)*text);
        if (*text == quote) {
            bnd_buf_u8(out, (uint8_t)quote);
        }
    }
    bnd_buf_u8(out, (uint8_t)quote);
}

/* ---- columns
 * ------------------------------------------------------------------------------------------------
 */

static bool has_rows(const struct d1_dump *dump, const json_t *row) {
    return !dump->no_data && is_table(row) && wanted(dump, row);
}

bool d1_dump_ask_columns(const struct d1_dump *dump, struct bnd_buf *request) {
    uint32_t count = 0;
    begin(request);
    for (size_t i = 0; i < json_array_size(dump->schema); i++) {
        const json_t *row = json_array_get(dump->schema, i);
        if (has_rows(dump, row)) {
            BND_AUTO_BUF struct bnd_buf sql = {0};
            bnd_buf_append_str(&sql, "PRAGMA table_info(");
            put_quoted(&sql, cell(row, 0), '"');
            bnd_buf_append_str(&sql, ")");
            request->failed |= sql.failed;
            bnd_sql_request_statement(request, bnd_buf_slice(&sql), 0);
            count++;
        }
    }
    bnd_sql_request_end(request, count);
    return count > 0;
}

int d1_dump_take_columns(struct d1_dump *dump, struct bnd_slice answer) {
    json_decref(dump->columns);
    dump->columns = parse(answer);
    return json_is_array(dump->columns) ? 0 : BND_CORRUPT;
}

/* ---- rows
 * ------------------------------------------------------------------------------------------------
 */

/* "a","b" of a table's columns, each between before and after. */
static void put_columns(struct bnd_buf *out, const json_t *columns, const char *before,
                        const char *after) {
    for (size_t i = 0; i < json_array_size(columns); i++) {
        bnd_buf_append_str(out, i == 0 ? "" : ",");
        bnd_buf_append_str(out, before);
        put_quoted(out, cell(json_array_get(columns, i), 1), '"');
        bnd_buf_append_str(out, after);
    }
}

/* SELECT quote("a"),quote("b") FROM "t": SQLite itself writes the literals. */
static void put_select(struct bnd_buf *out, const char *table, const json_t *columns) {
    bnd_buf_append_str(out, "SELECT ");
    put_columns(out, columns, "quote(", ")");
    bnd_buf_append_str(out, " FROM ");
    put_quoted(out, table, '"');
}

void d1_dump_ask_rows(const struct d1_dump *dump, struct bnd_buf *request) {
    uint32_t count = 1;
    size_t at = 0; /* of the tables whose columns are known */
    begin(request);
    bnd_sql_request_statement(request, bnd_slice_str(schema_sql), 0);
    for (size_t i = 0; i < json_array_size(dump->schema); i++) {
        const json_t *row = json_array_get(dump->schema, i);
        if (has_rows(dump, row)) {
            BND_AUTO_BUF struct bnd_buf sql = {0};
            put_select(&sql, cell(row, 0), rows_of(dump->columns, at++));
            request->failed |= sql.failed;
            bnd_sql_request_statement(request, bnd_buf_slice(&sql), 0);
            count++;
        }
    }
    bnd_sql_request_end(request, count);
}

/* ---- the text
 * ------------------------------------------------------------------------------------------------
 */

/* A name in quotes would be taken for a table that is there: as SQLite's own dump. */
static void put_create(struct bnd_buf *out, const char *sql) {
    if (strncmp(sql, "CREATE TABLE \"", 14) == 0 || strncmp(sql, "CREATE TABLE '", 14) == 0) {
        bnd_buf_append_str(out, "CREATE TABLE IF NOT EXISTS ");
        sql += 13;
    }
    bnd_buf_append_str(out, sql);
    bnd_buf_append_str(out, ";\n");
}

static void put_row(struct bnd_buf *out, const char *table, const json_t *columns,
                    const json_t *row) {
    bnd_buf_append_str(out, "INSERT INTO ");
    put_quoted(out, table, '"');
    bnd_buf_append_str(out, " (");
    put_columns(out, columns, "", "");
    bnd_buf_append_str(out, ") VALUES(");
    for (size_t i = 0; i < json_array_size(row); i++) {
        const json_t *value = json_array_get(row, i);
        bnd_buf_append_str(out, i == 0 ? "" : ",");
        bnd_buf_append(out, json_string_value(value), json_string_length(value));
    }
    bnd_buf_append_str(out, ");\n");
}

static void put_schema(const struct d1_dump *dump, const json_t *row, struct bnd_buf *out) {
    if (!dump->no_schema && is_sequence(row)) {
        bnd_buf_append_str(out, "DELETE FROM sqlite_sequence;\n");
    } else if (!dump->no_schema) {
        put_create(out, cell(row, 2));
    }
}

/* Until there is too much of it: each row's text has the names of all columns, which the answer has
 * none of. */
static void put_text(const struct d1_dump *dump, const json_t *answer, size_t bytes_max,
                     struct bnd_buf *out) {
    size_t at = 0;
    bnd_buf_append_str(out, "PRAGMA defer_foreign_keys=TRUE;\n");
    for (size_t i = 0; i < json_array_size(dump->schema) && out->len <= bytes_max; i++) {
        const json_t *row = json_array_get(dump->schema, i);
        if (!wanted(dump, row)) {
            continue;
        }
        put_schema(dump, row, out);
        if (has_rows(dump, row)) {
            const json_t *columns = rows_of(dump->columns, at++);
            const json_t *rows = rows_of(answer, at);
            for (size_t n = 0; n < json_array_size(rows) && out->len <= bytes_max; n++) {
                put_row(out, cell(row, 0), columns, json_array_get(rows, n));
            }
        }
    }
}

int d1_dump_take_rows(const struct d1_dump *dump, struct bnd_slice answer, size_t bytes_max,
                      struct bnd_buf *out) {
    json_t *all = parse(answer);
    if (!json_is_array(all)) {
        json_decref(all);
        return BND_CORRUPT;
    }
    bool same = json_equal(rows_of(all, 0), dump->schema);
    if (same) {
        put_text(dump, all, bytes_max, out);
    }
    json_decref(all);
    if (!same) {
        return BND_CONFLICT;
    }
    return out->failed ? BND_NOMEM : out->len > bytes_max ? BND_TOOBIG : 0;
}

void d1_dump_free(struct d1_dump *dump) {
    json_decref(dump->schema);
    json_decref(dump->columns);
    dump->schema = dump->columns = NULL;
}
