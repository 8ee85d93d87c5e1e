/* Building an index in sorted steps, each a transaction: for imports into a branch that nobody sees
 * (ADR 0106). A table's rows come in an order that is not the index's; an index that grows with
 * them changes a page of its own for each row, one that is made in sorted order a page for a
 * hundred. SQLite's CREATE INDEX sorts all of it in one transaction, which is larger than one may
 * be.
 *
 *     CREATE INDEX i ON t (v) WHERE 0      by the client of this: it is there and stays empty
 *     fill, fill, ...                      the next entries in the order of the index, so many each
 *     the last one: without the WHERE 0    it is what it was meant to be
 *
 * A step reads the table once and keeps the least so many entries above the index's greatest one,
 * which is all that it needs to know of the steps before: it may be run again, on another
 * connection or node. It writes through an imposter table: SQLite's own way (its RBU extension uses
 * it for this purpose) to see an index as the table WITHOUT ROWID that its b-tree looks like. Of a
 * UNIQUE index each step also looks for entries that are equal, which are neighbours. */
#include "sql/connection_private.h"
#include "sql/json.h"

#include <string.h>

#define KEYS_MAX 16               /* columns of an entry, those of the table's key included */
#define IMPOSTER "\"_cf_filled\"" /* no client's table may be called so */

struct key {
    char *column; /* as an expression of the table */
    char *collation;
    bool descends;
};

struct fill {
    struct sql_connection *self;
    const char *index;
    char *table, *text; /* text: of the index, as it is */
    int root;
    bool fillable;
    bool unique;
    struct key keys[KEYS_MAX];
    int count;
    int own; /* of them: the index's, which must not be equal where it is UNIQUE */
    sqlite3_value *last[KEYS_MAX]; /* of the greatest entry */
    bool begun;                    /* there is one */
};

/* ---- SQL of its own
 * ----------------------------------------------------------------------------*/

static int prepare(struct fill *fill, sqlite3_str *text, sqlite3_stmt **out) {
    char *sql = sqlite3_str_finish(text);
    if (sql == NULL) {
        return SQLITE_NOMEM;
    }
    int code = sqlite3_prepare_v2(fill->self->db, sql, -1, out, NULL);
    sqlite3_free(sql);
    return code;
}

static int run_text(struct fill *fill, sqlite3_str *text) {
    char *sql = sqlite3_str_finish(text);
    int code = sql == NULL ? SQLITE_NOMEM : sqlite3_exec(fill->self->db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code;
}

static char *copy_column(sqlite3_stmt *statement, int column) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text == NULL ? NULL : sqlite3_mprintf("%s", text);
}

/* ---- what is to be filled
 * ----------------------------------------------------------------------*/

/* SQLITE_DONE: there is none. */
static int find_index(struct fill *fill) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(fill->self->db,
                                  "SELECT rootpage, tbl_name, sql FROM sqlite_schema WHERE type = "
                                  "'index' AND name = ?1 COLLATE NOCASE",
                                  -1, &statement, NULL);
    code =
        code == SQLITE_OK ? sqlite3_bind_text(statement, 1, fill->index, -1, SQLITE_STATIC) : code;
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    if (code == SQLITE_ROW) {
        fill->root = sqlite3_column_int(statement, 0);
        fill->table = copy_column(statement, 1);
        fill->text = copy_column(statement, 2);
        code = fill->table == NULL || fill->text == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    (void)sqlite3_finalize(statement); /* says again how the step ended */
    return code;
}

/* False: every name of the rowid is a column's. */
static int name_rowid(struct fill *fill, const char **out) {
    static const char *const names[] = {"rowid", "oid", "_rowid_"};
    int code = SQLITE_OK;
    *out = NULL;
    for (size_t i = 0; code == SQLITE_OK && *out == NULL && i < sizeof names / sizeof *names; i++) {
        sqlite3_stmt *statement = NULL;
        sqlite3_str *text = sqlite3_str_new(fill->self->db);
        sqlite3_str_appendf(text,
                            "SELECT 1 FROM pragma_table_xinfo(%Q) WHERE name = %Q COLLATE NOCASE",
                            fill->table, names[i]);
        code = prepare(fill, text, &statement);
        code = code == SQLITE_OK ? sqlite3_step(statement) : code;
        *out = code == SQLITE_DONE ? names[i] : NULL;
        code = code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
        (void)sqlite3_finalize(statement); /* says again how the step ended */
    }
    return code;
}

/* A row of index_xinfo: cid (-1: the rowid, -2: an expression), name, desc, coll, key. */
static int add_key(struct fill *fill, sqlite3_stmt *row, const char *rowid) {
    int cid = sqlite3_column_int(row, 0);
    if (fill->count == KEYS_MAX || cid < -1 || (cid == -1 && rowid == NULL)) {
        fill->fillable = false;
        return SQLITE_OK;
    }
    struct key *key = &fill->keys[fill->count++];
    key->column = cid == -1 ? sqlite3_mprintf("%s", rowid)
                            : sqlite3_mprintf("\"%w\"", sqlite3_column_text(row, 1));
    key->descends = sqlite3_column_int(row, 2) != 0;
    fill->own += sqlite3_column_int(row, 4) != 0; /* they come first */
    key->collation = copy_column(row, 3);
    return key->column == NULL || key->collation == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int read_keys(struct fill *fill) {
    sqlite3_stmt *statement = NULL;
    const char *rowid = NULL;
    int code = name_rowid(fill, &rowid);
    if (code != SQLITE_OK) {
        return code;
    }
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendf(
        text, "SELECT cid, name, \"desc\", coll, key FROM pragma_index_xinfo(%Q) ORDER BY seqno",
        fill->index);
    code = prepare(fill, text, &statement);
    fill->fillable = true;
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        code = add_key(fill, statement, rowid);
    }
    (void)sqlite3_finalize(statement); /* says again how the last step ended */
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int read_unique(struct fill *fill) {
    sqlite3_stmt *statement = NULL;
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendf(text,
                        "SELECT 1 FROM pragma_index_list(%Q) WHERE name = %Q COLLATE NOCASE AND "
                        "\"unique\"",
                        fill->table, fill->index);
    int code = prepare(fill, text, &statement);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    fill->unique = code == SQLITE_ROW;
    (void)sqlite3_finalize(statement); /* says again how the step ended */
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* ---- a step
 * ------------------------------------------------------------------------------------*/

static int make_imposter(struct fill *fill) {
    sqlite3 *db = fill->self->db;
    sqlite3_str *text = sqlite3_str_new(db);
    sqlite3_str_appendall(text, "CREATE TABLE " IMPOSTER "(");
    for (int i = 0; i < fill->count; i++) {
        sqlite3_str_appendf(text, "k%d COLLATE \"%w\",", i, fill->keys[i].collation);
    }
    for (int i = 0; i < fill->count; i++) {
        sqlite3_str_appendf(text, "%sk%d%s", i == 0 ? "PRIMARY KEY(" : ",", i,
                            fill->keys[i].descends ? " DESC" : "");
    }
    sqlite3_str_appendall(text, ")) WITHOUT ROWID");
    (void)sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, db, "main", 1, fill->root);
    int code = run_text(fill, text);
    (void)sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, db, "main", 0, 0);
    return code;
}

static void drop_imposter(struct fill *fill) {
    (void)sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, fill->self->db, "main", 0, 1);
}

/* The greatest entry first. */
static void append_backwards(const struct fill *fill, sqlite3_str *text) {
    for (int i = 0; i < fill->count; i++) {
        sqlite3_str_appendf(text, "%sk%d%s", i == 0 ? " ORDER BY " : ",", i,
                            fill->keys[i].descends ? "" : " DESC");
    }
}

/* The greatest entry that is there. */
static int read_last(struct fill *fill) {
    sqlite3_stmt *statement = NULL;
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendall(text, "SELECT * FROM " IMPOSTER);
    append_backwards(fill, text);
    sqlite3_str_appendall(text, " LIMIT 1");
    int code = prepare(fill, text, &statement);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    fill->begun = code == SQLITE_ROW;
    for (int i = 0; fill->begun && i < fill->count; i++) {
        fill->last[i] = sqlite3_value_dup(sqlite3_column_value(statement, i));
        code = fill->last[i] == NULL ? SQLITE_NOMEM : code;
    }
    (void)sqlite3_finalize(statement); /* says again how the step ended */
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Behind the greatest entry in its key i, and equal in those before. NULL is the least value. */
static void append_behind(const struct fill *fill, int i, sqlite3_str *text) {
    const struct key *key = &fill->keys[i];
    bool null = sqlite3_value_type(fill->last[i]) == SQLITE_NULL;
    sqlite3_str_appendall(text, "(");
    for (int j = 0; j < i; j++) {
        sqlite3_str_appendf(text, "%s COLLATE \"%w\" IS ?%d AND ", fill->keys[j].column,
                            fill->keys[j].collation, j + 1);
    }
    if (key->descends) {
        sqlite3_str_appendf(text, null ? "0" : "(%s COLLATE \"%w\" < ?%d OR %s IS NULL)",
                            key->column, key->collation, i + 1, key->column);
    } else if (null) {
        sqlite3_str_appendf(text, "%s IS NOT NULL", key->column);
    } else {
        sqlite3_str_appendf(text, "%s COLLATE \"%w\" > ?%d", key->column, key->collation, i + 1);
    }
    sqlite3_str_appendall(text, ")");
}

static void append_order(const struct fill *fill, sqlite3_str *text) {
    for (int i = 0; i < fill->count; i++) {
        sqlite3_str_appendf(text, "%s%s COLLATE \"%w\"%s", i == 0 ? " ORDER BY " : ",",
                            fill->keys[i].column, fill->keys[i].collation,
                            fill->keys[i].descends ? " DESC" : "");
    }
}

static int prepare_step(struct fill *fill, int64_t rows_max, sqlite3_stmt **out) {
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendall(text, "INSERT INTO " IMPOSTER " SELECT ");
    for (int i = 0; i < fill->count; i++) {
        sqlite3_str_appendf(text, "%s%s", i == 0 ? "" : ",", fill->keys[i].column);
    }
    sqlite3_str_appendf(text, " FROM \"%w\" NOT INDEXED", fill->table);
    for (int i = 0; fill->begun && i < fill->count; i++) {
        sqlite3_str_appendall(text, i == 0 ? " WHERE " : " OR ");
        append_behind(fill, i, text);
    }
    append_order(fill, text);
    sqlite3_str_appendf(text, " LIMIT %lld", (long long)rows_max);
    return prepare(fill, text, out);
}

static int step(struct fill *fill, int64_t rows_max, int64_t *out_rows) {
    sqlite3_stmt *statement = NULL;
    int code = prepare_step(fill, rows_max, &statement);
    for (int i = 0; code == SQLITE_OK && fill->begun && i < fill->count; i++) {
        code = sqlite3_bind_value(statement, i + 1, fill->last[i]);
        code = code == SQLITE_RANGE ? SQLITE_OK : code; /* a NULL, which is not compared with */
    }
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    int ended = sqlite3_finalize(statement);
    *out_rows = sqlite3_changes64(fill->self->db);
    return code == SQLITE_DONE  ? SQLITE_OK
           : code == SQLITE_ROW ? SQLITE_ERROR
           : ended != SQLITE_OK ? ended
                                : code;
}

/* ---- UNIQUE
 * ------------------------------------------------------------------------------------*/

/* Among those of the step and the one before them: as the index compares them, and what has a NULL
 * is equal to nothing. */
static int find_equal(struct fill *fill, int64_t rows, bool *out_found) {
    sqlite3_stmt *statement = NULL;
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendall(text, "SELECT 1 FROM (SELECT * FROM " IMPOSTER);
    append_backwards(fill, text);
    sqlite3_str_appendf(text, " LIMIT %lld)", (long long)rows + 1);
    for (int i = 0; i < fill->own; i++) {
        sqlite3_str_appendf(text, "%sk%d IS NOT NULL", i == 0 ? " WHERE " : " AND ", i);
    }
    for (int i = 0; i < fill->own; i++) {
        sqlite3_str_appendf(text, "%sk%d", i == 0 ? " GROUP BY " : ",", i);
    }
    sqlite3_str_appendall(text, " HAVING count(*) > 1 LIMIT 1");
    int code = prepare(fill, text, &statement);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    *out_found = code == SQLITE_ROW;
    (void)sqlite3_finalize(statement); /* says again how the step ended */
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* As SQLite tells it of a row. */
static int tell_equal(struct fill *fill, struct bnd_buf *out) {
    sqlite3_stmt *statement = NULL;
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendf(text,
                        "SELECT group_concat(%Q || '.' || name, ', ' ORDER BY seqno) FROM "
                        "pragma_index_xinfo(%Q) WHERE key",
                        fill->table, fill->index);
    int code = prepare(fill, text, &statement);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    if (code == SQLITE_ROW) {
        const char *columns = (const char *)sqlite3_column_text(statement, 0);
        bnd_buf_append_str(out, "UNIQUE constraint failed: ");
        sql_json_text(out, bnd_slice_str(columns == NULL ? "" : columns));
        bnd_buf_append_str(out, ": SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)");
        code = columns == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    (void)sqlite3_finalize(statement); /* says again how the step ended */
    return code;
}

static int check_unique(struct fill *fill, struct sql_filled *out) {
    int code = fill->unique ? find_equal(fill, out->rows, &out->equal) : SQLITE_OK;
    return code == SQLITE_OK && out->equal ? tell_equal(fill, &out->text) : code;
}

/* ---- the end
 * -----------------------------------------------------------------------------------*/

/* The text that it was meant to have. */
static void append_meant(const struct fill *fill, sqlite3_str *text) {
    sqlite3_str_append(text, fill->text, (int)(strlen(fill->text) - strlen(BND_SQL_FILL_SUFFIX)));
}

/* As SQLite would know it if it had made it; other connections look at the schema again. */
static int name_whole(struct fill *fill) {
    sqlite3 *db = fill->self->db;
    sqlite3_stmt *statement = NULL;
    sqlite3_str *meant = sqlite3_str_new(db);
    append_meant(fill, meant);
    char *sql = sqlite3_str_finish(meant);
    int code = sql == NULL ? SQLITE_NOMEM
                           : sqlite3_prepare_v2(db,
                                                "UPDATE sqlite_schema SET sql = ?1 WHERE type = "
                                                "'index' AND name = ?2 COLLATE NOCASE",
                                                -1, &statement, NULL);
    code = code == SQLITE_OK ? sqlite3_bind_text(statement, 1, sql, -1, SQLITE_STATIC) : code;
    code =
        code == SQLITE_OK ? sqlite3_bind_text(statement, 2, fill->index, -1, SQLITE_STATIC) : code;
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    int ended = sqlite3_finalize(statement);
    sqlite3_free(sql);
    return code == SQLITE_DONE ? SQLITE_OK : ended != SQLITE_OK ? ended : code;
}

static int age_schema(struct fill *fill) {
    sqlite3_stmt *statement = NULL;
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendall(text, "PRAGMA schema_version");
    int code = prepare(fill, text, &statement);
    code = code == SQLITE_OK ? sqlite3_step(statement) : code;
    long long age = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement); /* says again how the step ended */
    if (code != SQLITE_ROW) {
        return code;
    }
    text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendf(text, "PRAGMA schema_version = %lld", age + 1);
    return run_text(fill, text);
}

static int end(struct fill *fill) {
    sqlite3 *db = fill->self->db;
    drop_imposter(fill);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL); /* cannot fail, nor these */
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
    int code = name_whole(fill);
    code = code == SQLITE_OK ? age_schema(fill) : code;
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return code;
}

/* One that cannot be seen as such a table (too many columns, no name for the rowid) is made in one
 * go. */
static int make_whole(struct fill *fill) {
    sqlite3_str *text = sqlite3_str_new(fill->self->db);
    sqlite3_str_appendf(text, "DROP INDEX \"%w\";", fill->index);
    append_meant(fill, text);
    return run_text(fill, text);
}

static bool is_whole(const struct fill *fill) {
    size_t len = strlen(fill->text);
    size_t suffix = strlen(BND_SQL_FILL_SUFFIX);
    return len < suffix || strcmp(fill->text + len - suffix, BND_SQL_FILL_SUFFIX) != 0;
}

static int go(struct fill *fill, int64_t rows_max, struct sql_filled *out) {
    int code = find_index(fill);
    if (code != SQLITE_OK || is_whole(fill)) {
        out->missing = code == SQLITE_DONE;
        out->whole = true;
        return code == SQLITE_DONE ? SQLITE_OK : code;
    }
    code = read_unique(fill);
    code = code == SQLITE_OK ? read_keys(fill) : code;
    if (code == SQLITE_OK && !fill->fillable) {
        out->whole = true;
        return make_whole(fill);
    }
    code = code == SQLITE_OK ? make_imposter(fill) : code;
    code = code == SQLITE_OK ? read_last(fill) : code;
    code = code == SQLITE_OK ? step(fill, rows_max, &out->rows) : code;
    code = code == SQLITE_OK ? check_unique(fill, out) : code;
    out->whole = out->rows < rows_max;
    return code == SQLITE_OK && out->whole && !out->equal ? end(fill) : code;
}

int sql_connection_fill(struct sql_connection *self, const char *index, int64_t rows_max,
                        struct sql_filled *out) {
    struct fill fill = {.self = self, .index = index};
    *out = (struct sql_filled){0};
    self->authorizer.trusted = true;
    int code = go(&fill, rows_max, out);
    drop_imposter(&fill);
    self->authorizer.trusted = false;
    for (int i = 0; i < KEYS_MAX; i++) {
        sqlite3_value_free(fill.last[i]);
        sqlite3_free(fill.keys[i].column);
        sqlite3_free(fill.keys[i].collation);
    }
    sqlite3_free(fill.table);
    sqlite3_free(fill.text);
    return code;
}
