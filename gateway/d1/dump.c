#include "gateway/d1/dump.h"

#include "base/alloc.h"
#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ROWS_FIRST 64u /* of a page */
#define ROWS_MAX 20000u
#define GROWTH_MAX 4u    /* of a page over the one before */
#define RESULTS_MAX 100u /* columns of a SELECT, as of a table: the key is one more */

/* sqlite_sequence comes after the tables whose counters it has, triggers after the views that they
 * may be of. */
static const char schema_sql[] = "SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL "
                                 "ORDER BY type <> 'table', name = 'sqlite_sequence', "
                                 "type = 'trigger', type, rowid";

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
    bnd_sql_request_statement(request, bnd_slice_str("PRAGMA table_list"), 0);
    bnd_sql_request_end(request, 2);
}

/* Rows of table_list: schema, name, type, columns, WITHOUT ROWID, STRICT. */
static int take_unrowed(struct d1_dump *dump, const json_t *rows) {
    json_decref(dump->unrowed);
    dump->unrowed = json_object();
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (json_number_value(json_array_get(row, 4)) > 0 &&
            json_object_set_new(dump->unrowed, cell(row, 1), json_true()) != 0) {
            return BND_NOMEM;
        }
    }
    return dump->unrowed == NULL ? BND_NOMEM : 0;
}

int d1_dump_take_schema(struct d1_dump *dump, struct bnd_slice answer) {
    json_t *all = parse(answer);
    json_decref(dump->schema);
    dump->schema = json_incref(rows_of(all, 0));
    int rv = json_is_array(dump->schema) ? take_unrowed(dump, rows_of(all, 1)) : BND_CORRUPT;
    json_decref(all);
    dump->step = D1_DUMP_BEGIN;
    dump->at = 0;
    for (size_t i = 0; rv == 0 && i < json_array_size(dump->schema); i++) {
        const json_t *row = json_array_get(dump->schema, i);
        if (strncmp(cell(row, 2), "CREATE VIRTUAL TABLE", 20) == 0) {
            (void)snprintf(dump->why, sizeof dump->why,
                           "D1 Export error: cannot export databases with Virtual Tables (fts5)");
            rv = BND_UNSUPPORTED;
        }
    }
    return rv;
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

/* ---- columns: rows of table_xinfo: number, name, type, NOT NULL, default, place in the primary
 * key, hidden
 * ------------------------------------------------------------------------------------------------
 */

static const char *name_of(const json_t *columns, size_t i) {
    return cell(json_array_get(columns, i), 1);
}

static json_int_t place_in_key(const json_t *columns, size_t i) {
    return json_integer_value(json_array_get(json_array_get(columns, i), 5));
}

/* Generated ones have no values of their own. */
static bool is_stored(const json_t *columns, size_t i) {
    return json_integer_value(json_array_get(json_array_get(columns, i), 6)) == 0;
}

static size_t stored_count(const json_t *columns) {
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(columns); i++) {
        count += is_stored(columns, i);
    }
    return count;
}

/* What a table's rows are numbered by, unless columns have all of its names. */
static const char *rowid_of(const json_t *columns) {
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        bool taken = false;
        for (size_t i = 0; i < json_array_size(columns); i++) {
            taken = taken || strcasecmp(name_of(columns, i), names[n]) == 0;
        }
        if (!taken) {
            return names[n];
        }
    }
    return NULL;
}

/* The column that has a place in the primary key, NULL: none has. */
static const char *primary_at(const json_t *columns, json_int_t place) {
    for (size_t i = 0; i < json_array_size(columns); i++) {
        if (place_in_key(columns, i) == place) {
            return name_of(columns, i);
        }
    }
    return NULL;
}

/* The primary key's columns are compared byte by byte whatever their collation: so no two keys are
 * equal. */
static void put_primary(struct bnd_buf *out, const json_t *columns) {
    const char *name = NULL;
    for (json_int_t place = 1; (name = primary_at(columns, place)) != NULL; place++) {
        bnd_buf_append_str(out, place == 1 ? "" : ",");
        put_quoted(out, name, '"');
        bnd_buf_append_str(out, " COLLATE BINARY");
    }
}

static bool is_unrowed(const struct d1_dump *dump) {
    const char *table = cell(json_array_get(dump->schema, dump->at), 0);
    return json_object_get(dump->unrowed, table) != NULL;
}

static int take_key(struct d1_dump *dump) {
    BND_AUTO_BUF struct bnd_buf key = {0};
    const char *rowid = rowid_of(dump->columns);
    bnd_free(dump->key);
    dump->key = NULL;
    if (is_unrowed(dump)) {
        put_primary(&key, dump->columns);
    } else if (rowid != NULL) {
        bnd_buf_append_str(&key, rowid);
    } else {
        return 0; /* rows are counted */
    }
    bnd_buf_u8(&key, 0);
    dump->key = key.failed ? NULL : bnd_memdup(key.data, key.len);
    return dump->key == NULL ? BND_NOMEM : 0;
}

static int take_columns(struct d1_dump *dump, const json_t *all) {
    json_decref(dump->columns);
    json_decref(dump->last);
    dump->last = NULL;
    dump->rows = 0;
    dump->limit = ROWS_FIRST;
    dump->columns = json_incref(rows_of(all, 0));
    if (json_array_size(dump->columns) == 0) {
        return BND_CORRUPT;
    }
    dump->step = D1_DUMP_ROWS;
    return take_key(dump);
}

/* ---- rows
 * ------------------------------------------------------------------------------------------------
 */

/* SQLite itself writes the literals; but quote() ends a text at its first NUL. */
static void put_literal(struct bnd_buf *out, const char *column) {
    static const char *const parts[] = {"CASE WHEN typeof(", ")='text' AND instr(",
                                        ",char(0))>0 THEN 'CAST(X'''||hex(",
                                        ")||''' AS TEXT)' ELSE quote(", ") END"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (i > 0) {
            put_quoted(out, column, '"');
        }
        bnd_buf_append_str(out, parts[i]);
    }
}

/* A result each, but where there are as many columns as results may be: two in one. */
static void put_literals(struct bnd_buf *out, const json_t *columns) {
    size_t each = stored_count(columns) < RESULTS_MAX ? 1 : 2;
    size_t in_group = 0;
    for (size_t i = 0; i < json_array_size(columns); i++) {
        if (is_stored(columns, i)) {
            bnd_buf_append_str(out, in_group == 0 ? "," : "||','||");
            put_literal(out, name_of(columns, i));
            in_group = (in_group + 1) % each;
        }
    }
}

/* The key as literals, one text for all of its columns. */
static void put_key_literals(struct bnd_buf *out, const struct d1_dump *dump) {
    const char *name = NULL;
    if (dump->key == NULL) {
        bnd_buf_append_str(out, "NULL");
    } else if (!is_unrowed(dump)) {
        bnd_buf_printf(out, "quote(%s)", dump->key);
    } else {
        bnd_buf_append_str(out, "concat_ws(','");
        for (json_int_t place = 1; (name = primary_at(dump->columns, place)) != NULL; place++) {
            bnd_buf_append_str(out, ",");
            put_literal(out, name);
        }
        bnd_buf_append_str(out, ")");
    }
}

/* SELECT key, literals FROM t WHERE (key) > (last) ORDER BY key LIMIT n. */
static void put_select(struct bnd_buf *out, const struct d1_dump *dump) {
    bnd_buf_append_str(out, "SELECT ");
    put_key_literals(out, dump);
    put_literals(out, dump->columns);
    bnd_buf_append_str(out, " FROM ");
    put_quoted(out, cell(json_array_get(dump->schema, dump->at), 0), '"');
    if (dump->key == NULL) {
        bnd_buf_printf(out, " LIMIT %u OFFSET %" PRIu64, dump->limit, dump->rows);
        return;
    }
    if (dump->last != NULL) {
        bnd_buf_append_str(out, " WHERE (");
        bnd_buf_append_str(out, dump->key);
        bnd_buf_append_str(out, ")>(");
        bnd_buf_append(out, json_string_value(dump->last), json_string_length(dump->last));
        bnd_buf_append_str(out, ")");
    }
    bnd_buf_append_str(out, " ORDER BY ");
    bnd_buf_append_str(out, dump->key);
    bnd_buf_printf(out, " LIMIT %u", dump->limit);
}

/* INSERT INTO "t" ("a","b") VALUES( */
static void put_insert(const struct d1_dump *dump, struct bnd_buf *out) {
    const char *before = " (";
    bnd_buf_append_str(out, "INSERT INTO ");
    put_quoted(out, cell(json_array_get(dump->schema, dump->at), 0), '"');
    for (size_t i = 0; i < json_array_size(dump->columns); i++) {
        if (is_stored(dump->columns, i)) {
            bnd_buf_append_str(out, before);
            put_quoted(out, name_of(dump->columns, i), '"');
            before = ",";
        }
    }
    bnd_buf_append_str(out, ") VALUES(");
}

/* Behind the key. */
static void put_values(struct bnd_buf *out, const json_t *row) {
    for (size_t i = 1; i < json_array_size(row); i++) {
        const json_t *value = json_array_get(row, i);
        bnd_buf_append_str(out, i == 1 ? "" : ",");
        bnd_buf_append(out, json_string_value(value), json_string_length(value));
    }
    bnd_buf_append_str(out, ");\n");
}

/* As many rows as have about D1_DUMP_PAGE_BYTES. */
static unsigned limit_after(unsigned limit, size_t rows, size_t bytes) {
    size_t each = bytes / (rows == 0 ? 1 : rows) + 1;
    size_t wanted = D1_DUMP_PAGE_BYTES / each + 1;
    size_t most = (size_t)limit * GROWTH_MAX;
    wanted = wanted < most ? wanted : most;
    return wanted < ROWS_MAX ? (unsigned)wanted : ROWS_MAX;
}

static void next_table(struct d1_dump *dump) {
    dump->at++;
    dump->step = D1_DUMP_TABLE;
}

static int take_rows(struct d1_dump *dump, const json_t *all, size_t answer_bytes,
                     struct bnd_buf *out) {
    BND_AUTO_BUF struct bnd_buf insert = {0};
    const json_t *rows = rows_of(all, 0);
    size_t count = json_array_size(rows);
    size_t before = out->len;
    if (!json_is_array(rows)) {
        return BND_CORRUPT;
    }
    put_insert(dump, &insert);
    for (size_t i = 0; i < count; i++) {
        bnd_buf_append_slice(out, bnd_buf_slice(&insert));
        put_values(out, json_array_get(rows, i));
    }
    out->failed = out->failed || insert.failed;
    dump->rows += count;
    if (count < dump->limit) {
        next_table(dump);
        return 0;
    }
    json_decref(dump->last);
    dump->last = json_incref(json_array_get(json_array_get(rows, count - 1), 0));
    size_t bytes = out->len - before;
    dump->limit = limit_after(dump->limit, count, bytes > answer_bytes ? bytes : answer_bytes);
    return 0;
}

/* ---- the text
 * ------------------------------------------------------------------------------------------------
 */

static bool has_rows(const struct d1_dump *dump, const json_t *row) {
    return !dump->no_data && is_table(row) && wanted(dump, row);
}

/* A name in quotes would be taken for a table that is there: as SQLite's own dump. */
static void put_create(struct bnd_buf *out, const char *sql) {
    if (strncmp(sql, "CREATE TABLE \"", 14) == 0 || strncmp(sql, "CREATE TABLE '", 14) == 0) {
        bnd_buf_append_str(out, "CREATE TABLE IF NOT EXISTS ");
        sql += 13;
    }
    bnd_buf_append_str(out, sql);
    bnd_buf_append_str(out, ";\n");
}

static void put_schema(const struct d1_dump *dump, const json_t *row, struct bnd_buf *out) {
    if (!dump->no_schema && is_sequence(row)) {
        bnd_buf_append_str(out, "DELETE FROM sqlite_sequence;\n");
    } else if (!dump->no_schema) {
        put_create(out, cell(row, 2));
    }
}

/* Goes on to a step that asks. False: there is none any more. */
static bool find_step(struct d1_dump *dump, struct bnd_buf *out) {
    if (dump->step == D1_DUMP_BEGIN) {
        bnd_buf_append_str(out, "PRAGMA defer_foreign_keys=TRUE;\n");
        dump->step = D1_DUMP_TABLE;
    }
    while (dump->step == D1_DUMP_TABLE && dump->at < json_array_size(dump->schema)) {
        const json_t *row = json_array_get(dump->schema, dump->at);
        if (wanted(dump, row)) {
            put_schema(dump, row, out);
        }
        if (has_rows(dump, row)) {
            dump->step = D1_DUMP_COLUMNS;
        } else {
            next_table(dump);
        }
    }
    return dump->step != D1_DUMP_TABLE;
}

bool d1_dump_next(struct d1_dump *dump, struct bnd_buf *request, struct bnd_buf *out) {
    BND_AUTO_BUF struct bnd_buf sql = {0};
    if (!find_step(dump, out)) {
        return false;
    }
    if (dump->step == D1_DUMP_COLUMNS) {
        bnd_buf_append_str(&sql, "PRAGMA table_xinfo(");
        put_quoted(&sql, cell(json_array_get(dump->schema, dump->at), 0), '"');
        bnd_buf_append_str(&sql, ")");
    } else {
        put_select(&sql, dump);
    }
    begin(request);
    bnd_sql_request_statement(request, bnd_buf_slice(&sql), 0);
    bnd_sql_request_end(request, 1);
    request->failed = request->failed || sql.failed;
    return true;
}

int d1_dump_take(struct d1_dump *dump, struct bnd_slice answer, struct bnd_buf *out) {
    json_t *all = parse(answer);
    int rv = BND_CORRUPT;
    if (all != NULL) {
        rv = dump->step == D1_DUMP_COLUMNS ? take_columns(dump, all)
                                           : take_rows(dump, all, answer.len, out);
    }
    json_decref(all);
    return rv == 0 && out->failed ? BND_NOMEM : rv;
}

bool d1_dump_shrink(struct d1_dump *dump) {
    bool more = dump->step == D1_DUMP_ROWS && dump->limit > 1;
    dump->limit = dump->limit > 8 ? dump->limit / 8 : 1;
    return more;
}

void d1_dump_free(struct d1_dump *dump) {
    json_decref(dump->schema);
    json_decref(dump->unrowed);
    json_decref(dump->columns);
    json_decref(dump->last);
    bnd_free(dump->key);
    dump->schema = dump->unrowed = dump->columns = dump->last = NULL;
    dump->key = NULL;
}
