/* Running a request: BEGIN, its statements one after the other, COMMIT; or ROLLBACK.
 *
 * A function here returns 0, a negative code, or STOP: the run is over, `run` says how. */
#include "sql/connection_private.h"

#include <string.h>

#include "sql/json.h"

enum { STOP = 1 };

#define TIMEOUT_MS 30000u
#define PAGE_BYTES 4096u
#define COLUMNS_MAX 100 /* SQLITE_LIMIT_COLUMN of connection.c */

/* What a statement's element is about: statements of a text count together unless it is a script.
 */
struct element {
    uint64_t begin_ns;
    int64_t changes; /* before it */
    int64_t last_row_id;
    uint64_t size_bytes;
    uint64_t rows_read, rows_written;
};

struct job {
    struct sql_connection *self;
    struct sql_run *run;
    struct bnd_sql_request request; /* readers of its own */
    struct bnd_buf sql;             /* the text in hand, with a 0 behind it */
    struct bnd_buf names;           /* struct columns */
    uint32_t elements;
    uint64_t now_ns; /* when the last thing ended */
};

/* ---- ends ---- */

static int fail_slice(struct job *job, struct bnd_slice text) {
    bnd_buf_reset(&job->run->text);
    bnd_buf_append_slice(&job->run->text, text);
    job->run->outcome = BND_SQL_FAILED;
    return job->run->text.failed ? BND_NOMEM : STOP;
}

static int fail_text(struct job *job, const char *text) {
    return fail_slice(job, bnd_slice_str(text));
}

static int fail(struct job *job, int code) {
    int rv = sql_connection_error(job->self, code, &job->run->text);
    job->run->outcome = BND_SQL_FAILED;
    return rv == 0 ? STOP : rv;
}

static int answer_room(const struct job *job) {
    return job->run->text.failed                     ? BND_NOMEM
           : job->run->text.len > BND_SQL_ANSWER_MAX ? BND_TOOBIG
                                                     : 0;
}

/* ---- texts ---- */

/* The end of a comment that begins here, or NULL. */
static const char *skip_comment(const char *at) {
    if (at[0] == '-' && at[1] == '-') {
        return at + strcspn(at, "\n");
    }
    if (at[0] == '/' && at[1] == '*') {
        const char *end = strstr(at + 2, "*/");
        return end == NULL ? at + strlen(at) : end + 2;
    }
    return NULL;
}

/* Where the next statement begins: behind white space, comments, empty statements. */
static const char *skip_blank(const char *at) {
    const char *next = at;
    while (next != NULL) {
        at = next + strspn(next, " \t\n\r\f;");
        next = strncmp(at, "\xef\xbb\xbf", 3) == 0 ? at + 3 : skip_comment(at);
    }
    return at;
}

/* Puts a text into job->sql. */
static int take_text(struct job *job, struct bnd_slice text) {
    if (text.len > 0 && memchr(text.data, 0, text.len) != NULL) {
        return fail_text(job, "the SQL text holds a NUL character: SQLITE_ERROR");
    }
    bnd_buf_reset(&job->sql);
    bnd_buf_append_slice(&job->sql, text);
    bnd_buf_u8(&job->sql, 0);
    return job->sql.failed ? BND_NOMEM : 0;
}

/* Prepares the statement that a text begins with. *out NULL: it has none. */
static int prepare(struct job *job, const char *text, sqlite3_stmt **out, const char **out_tail) {
    struct sql_connection *self = job->self;
    self->authorizer.transaction = false;
    int code = sqlite3_prepare_v3(self->db, text, -1, SQLITE_PREPARE_PERSISTENT, out, out_tail);
    if (code == SQLITE_TOOBIG) {
        return fail_text(job, "statement too long: SQLITE_TOOBIG");
    }
    return code == SQLITE_OK ? 0 : fail(job, code);
}

/* ---- one statement ---- */

static int bind(sqlite3_stmt *statement, int at, const struct bnd_sql_value *value) {
    const char *data = value->bytes.len == 0 ? "" : (const char *)value->bytes.data;
    switch (value->type) {
    case BND_SQL_INTEGER:
        return sqlite3_bind_int64(statement, at, value->integer);
    case BND_SQL_REAL:
        return sqlite3_bind_double(statement, at, value->real);
    case BND_SQL_TEXT:
        return sqlite3_bind_text64(statement, at, data, value->bytes.len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case BND_SQL_BLOB:
        return sqlite3_bind_blob64(statement, at, data, value->bytes.len, SQLITE_STATIC);
    case BND_SQL_NULL:
    default:
        return sqlite3_bind_null(statement, at);
    }
}

/* params NULL: it is not the last of its text. */
static int bind_all(struct job *job, sqlite3_stmt *statement, struct bnd_sql_statement *params) {
    int wanted = sqlite3_bind_parameter_count(statement);
    if (params == NULL) {
        return wanted == 0 ? 0
                           : fail_text(job, "When executing multiple SQL statements in a single "
                                            "call, only the last statement can have parameters.");
    }
    if ((uint32_t)wanted != params->params_count) {
        return fail_text(job, "Wrong number of parameter bindings for SQL query.");
    }
    for (int i = 1; i <= wanted; i++) {
        struct bnd_sql_value value;
        bnd_sql_statement_next(params, &value);
        int code = bind(statement, i, &value);
        if (code != SQLITE_OK) {
            return fail(job, code);
        }
    }
    return 0;
}

static struct bnd_slice column_name(struct job *job, sqlite3_stmt *statement, int column) {
    const char *name = sqlite3_column_name(statement, column);
    job->run->text.failed = job->run->text.failed || name == NULL;
    return name == NULL ? bnd_slice(NULL, 0) : bnd_slice_str(name);
}

/* The last column of the same name, if this is the first of them; else -1: an object has a name
 * once, where it was first met, with the value met last. */
static int value_of_name(struct job *job, sqlite3_stmt *statement, int column) {
    struct bnd_slice name = column_name(job, statement, column);
    int last = column;
    for (int i = sqlite3_column_count(statement) - 1; i >= 0; i--) {
        if (i != column && bnd_slice_eq(column_name(job, statement, i), name)) {
            if (i < column) {
                return -1;
            }
            last = last == column ? i : last;
        }
    }
    return last;
}

/* How the columns of a statement are written. */
struct columns {
    int count;
    /* of OBJECTS: */
    int16_t value[COLUMNS_MAX];    /* which column's value a name has; -1: the name was there */
    uint32_t end[COLUMNS_MAX + 1]; /* in job->names: what comes before the value i */
};

/* What comes before each value of an object is the same in each row. */
static void name_keys(struct job *job, sqlite3_stmt *statement, struct columns *out) {
    bnd_buf_reset(&job->names);
    out->end[0] = 0;
    for (int i = 0; i < out->count; i++) {
        out->value[i] = (int16_t)value_of_name(job, statement, i);
        if (out->value[i] >= 0) {
            bnd_buf_u8(&job->names, job->names.len == 0 ? '{' : ',');
            sql_json_string(&job->names, column_name(job, statement, i));
            bnd_buf_u8(&job->names, ':');
        }
        out->end[i + 1] = (uint32_t)job->names.len;
    }
    job->run->text.failed = job->run->text.failed || job->names.failed;
}

static void name_columns(struct job *job, sqlite3_stmt *statement, struct columns *out) {
    struct bnd_buf *text = &job->run->text;
    out->count = sqlite3_column_count(statement);
    BND_ASSERT(out->count <= COLUMNS_MAX);
    if (job->request.results == BND_SQL_OBJECTS) {
        name_keys(job, statement, out);
        bnd_buf_u8(text, '[');
        return;
    }
    bnd_buf_append_str(text, "{\"columns\":[");
    for (int i = 0; i < out->count; i++) {
        bnd_buf_append_str(text, i == 0 ? "" : ",");
        sql_json_string(text, column_name(job, statement, i));
    }
    bnd_buf_append_str(text, "],\"rows\":[");
}

static int write_object(struct job *job, sqlite3_stmt *statement, const struct columns *columns) {
    struct bnd_buf *text = &job->run->text;
    int rv = answer_room(job);
    for (int i = 0; i < columns->count && rv == 0; i++) {
        if (columns->value[i] >= 0) {
            bnd_buf_append(text, job->names.data + columns->end[i],
                           columns->end[i + 1] - columns->end[i]);
            sql_json_column(text, statement, columns->value[i]);
            rv = answer_room(job);
        }
    }
    bnd_buf_u8(text, '}');
    return rv;
}

static int write_array(struct job *job, sqlite3_stmt *statement, const struct columns *columns) {
    struct bnd_buf *text = &job->run->text;
    int rv = 0;
    for (int i = 0; i < columns->count && rv == 0; i++) {
        bnd_buf_u8(text, i == 0 ? '[' : ',');
        sql_json_column(text, statement, i);
        rv = answer_room(job);
    }
    bnd_buf_u8(text, ']');
    return rv;
}

static int write_row(struct job *job, sqlite3_stmt *statement, const struct columns *columns) {
    return job->request.results == BND_SQL_OBJECTS ? write_object(job, statement, columns)
                                                   : write_array(job, statement, columns);
}

/* Steps a statement to its end, or, if its rows are not written, as far as it changes something. */
static int step(struct job *job, sqlite3_stmt *statement, bool written) {
    struct columns columns;
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return fail(job, code);
    }
    if (!written) {
        return 0; /* all changes come before the first row */
    }
    name_columns(job, statement, &columns); /* known now: it may have been prepared again */
    for (bool first = true; code == SQLITE_ROW; first = false) {
        if (!first) {
            bnd_buf_u8(&job->run->text, ',');
        }
        int rv = write_row(job, statement, &columns);
        if (rv != 0) {
            return rv;
        }
        code = sqlite3_step(statement);
    }
    bnd_buf_append_str(&job->run->text, job->request.results == BND_SQL_OBJECTS ? "]" : "]}");
    return code == SQLITE_DONE ? 0 : fail(job, code);
}

/* Runs a prepared statement. written: its rows make the element's results. */
static int execute(struct job *job, sqlite3_stmt *statement, struct bnd_sql_statement *params,
                   bool written, struct element *element) {
    if (sql_connection_stopped(job->self) ||
        job->now_ns >= job->self->deadline_ns) { /* between statements */
        return fail(job, SQLITE_INTERRUPT);
    }
    (void)sqlite3_stmt_status(statement, SQL_STMTSTATUS_ROWS_READ, 1); /* counts anew */
    (void)sqlite3_stmt_status(statement, SQL_STMTSTATUS_ROWS_WRITTEN, 1);
    int rv = bind_all(job, statement, params);
    if (rv == 0) {
        rv = step(job, statement, written);
    }
    (void)sqlite3_reset(statement); /* says again how the last step ended */
    (void)sqlite3_clear_bindings(statement);
    element->rows_read += (uint32_t)sqlite3_stmt_status(statement, SQL_STMTSTATUS_ROWS_READ, 0);
    element->rows_written +=
        (uint32_t)sqlite3_stmt_status(statement, SQL_STMTSTATUS_ROWS_WRITTEN, 0);
    return rv;
}

/* ---- elements ---- */

/* Bytes of the pages that hold something, as the transaction sees it. */
static int size_now(struct job *job, uint64_t *out) {
    unsigned pages, unused;
    int code = sqlite3_bnd_pages(job->self->db, &pages, &unused);
    if (code != SQLITE_OK) {
        return fail(job, code);
    }
    *out = (uint64_t)(pages > unused ? pages - unused : 0) * PAGE_BYTES;
    return 0;
}

static int element_begin(struct job *job, struct element *out) {
    *out = (struct element){.begin_ns = job->now_ns,
                            .changes = sqlite3_total_changes64(job->self->db),
                            .last_row_id = sqlite3_last_insert_rowid(job->self->db)};
    bnd_buf_append_str(&job->run->text, job->elements == 0 ? "{\"success\":true,\"results\":"
                                                           : ",{\"success\":true,\"results\":");
    return size_now(job, &out->size_bytes);
}

static void write_number(struct bnd_buf *text, const char *name, uint64_t value) {
    bnd_buf_append_str(text, name);
    sql_json_integer(text, (int64_t)value);
}

static void write_flag(struct bnd_buf *text, const char *name, bool value) {
    bnd_buf_append_str(text, name);
    bnd_buf_append_str(text, value ? "true" : "false");
}

static int element_end(struct job *job, const struct element *element) {
    struct sql_run *run = job->run;
    struct bnd_buf *text = &run->text;
    sqlite3 *db = job->self->db;
    uint64_t size_bytes;
    int rv = size_now(job, &size_bytes);
    if (rv != 0) {
        return rv;
    }
    job->now_ns = sql_clock_ns(&job->self->clock);
    uint64_t ns = job->now_ns - element->begin_ns;
    int64_t changes = sqlite3_total_changes64(db) - element->changes;
    int64_t last_row_id = sqlite3_last_insert_rowid(db);
    bnd_buf_append_str(text, ",\"meta\":{\"served_by\":");
    sql_json_string(text, bnd_slice_str(run->served.node == NULL ? "" : run->served.node));
    write_flag(text, ",\"served_by_primary\":", run->served.primary);
    bnd_buf_append_str(text, ",\"duration\":");
    sql_json_ms(text, ns);
    write_number(text, ",\"changes\":", (uint64_t)changes);
    write_number(text, ",\"last_row_id\":", (uint64_t)last_row_id);
    write_flag(text, ",\"changed_db\":",
               changes != 0 || last_row_id != element->last_row_id ||
                   size_bytes != element->size_bytes);
    write_number(text, ",\"size_after\":", size_bytes);
    write_number(text, ",\"rows_read\":", element->rows_read);
    write_number(text, ",\"rows_written\":", element->rows_written);
    bnd_buf_append_str(text, ",\"timings\":{\"sql_duration_ms\":");
    sql_json_ms(text, ns);
    bnd_buf_append_str(text, "}}}");
    run->rows_read += element->rows_read;
    run->rows_written += element->rows_written;
    job->elements++;
    return answer_room(job);
}

/* ---- texts with their statements ---- */

/* A text that is one kept statement. */
static int run_kept(struct job *job, sqlite3_stmt *kept, struct bnd_sql_statement *params) {
    struct element element;
    int rv = element_begin(job, &element);
    if (rv == 0) {
        rv = execute(job, kept, params, true, &element);
    }
    return rv == 0 ? element_end(job, &element) : rv;
}

/* The statement that job->sql goes on with from *at, which is not blank; *at is then at the next
 * one or at the end. begun: the element has begun, with an earlier statement of the text. */
static int run_part(struct job *job, struct bnd_sql_statement *params, const char **at,
                    struct element *element, bool *begun) {
    const char *begin = *at, *tail;
    sqlite3_stmt *statement;
    job->self->authorizer.pragma = false;
    int rv = prepare(job, begin, &statement, &tail);
    if (rv != 0 || statement == NULL) {
        *at = rv == 0 && tail > begin ? skip_blank(tail) : "";
        return rv;
    }
    *at = skip_blank(tail);
    bool last = **at == 0;
    bool alone = last && begin == (const char *)job->sql.data;
    bool kept = alone && !job->self->authorizer.pragma &&
                sql_cache_put(&job->self->cache, params->text, statement);
    if (!*begun) {
        rv = element_begin(job, element);
        *begun = true;
    }
    if (rv == 0) {
        bool written = last || job->request.script;
        rv = execute(job, statement, last ? params : NULL, written, element);
        if (rv == 0 && written) {
            rv = element_end(job, element);
            *begun = false;
        }
    }
    if (!kept) {
        (void)sqlite3_finalize(statement); /* says again how the last step ended */
    }
    return rv;
}

/* The name of an index instead of a text, and how many entries it gets. */
static int run_fill(struct job *job, struct bnd_sql_statement *statement) {
    struct bnd_sql_value rows_max;
    struct sql_filled filled;
    struct element element;
    bnd_sql_statement_next(statement, &rows_max);
    int rv = take_text(job, statement->text);
    rv = rv == 0 ? element_begin(job, &element) : rv;
    if (rv != 0) {
        return rv;
    }
    int code =
        sql_connection_fill(job->self, (const char *)job->sql.data, rows_max.integer, &filled);
    if (code != SQLITE_OK) {
        rv = fail(job, code);
    } else if (filled.equal) {
        rv = filled.text.failed ? BND_NOMEM : fail_slice(job, bnd_buf_slice(&filled.text));
    } else if (filled.missing) {
        rv = fail_text(job, "no such index: SQLITE_ERROR");
    }
    bnd_buf_free(&filled.text);
    if (rv != 0) {
        return rv;
    }
    element.rows_written = (uint64_t)filled.rows;
    bnd_buf_append_str(&job->run->text, filled.whole ? "{\"columns\":[\"whole\"],\"rows\":[[1]]}"
                                                     : "{\"columns\":[\"whole\"],\"rows\":[[0]]}");
    return element_end(job, &element);
}

static int run_statement(struct job *job, struct bnd_sql_statement *statement) {
    if (job->request.fill) {
        return run_fill(job, statement);
    }
    sqlite3_stmt *kept = sql_cache_find(&job->self->cache, statement->text);
    if (kept != NULL) {
        return run_kept(job, kept, statement);
    }
    int rv = take_text(job, statement->text);
    const char *at = (const char *)job->sql.data;
    struct element element;
    bool begun = false;
    if (rv == 0 && *skip_blank(at) == 0) {
        at = ""; /* not a statement */
    }
    while (rv == 0 && *at != 0) {
        rv = job->elements == BND_SQL_STATEMENTS_MAX
                 ? fail_text(job, "more than 10000 statements in one request: SQLITE_ERROR")
                 : run_part(job, statement, &at, &element, &begun);
    }
    return rv;
}

/* ---- what only may read ----
 *
 * All is prepared before anything is stepped. A statement that cannot be prepared fails the run at
 * once: nothing before it could have made it good, for that only reads. */

static int refuse_write(struct job *job) {
    if (!job->request.read_only) {
        job->run->wants_writer = true;
        return STOP;
    }
    return fail_text(job, "attempt to write a readonly database: SQLITE_READONLY");
}

/* Looks at the statement that a text begins with; *out is the caller's. */
static int check_one(struct job *job, const char *text, sqlite3_stmt **out, const char **out_tail) {
    struct sql_authorizer *authorizer = &job->self->authorizer;
    authorizer->pragma = authorizer->writes = false;
    int rv = prepare(job, text, out, out_tail);
    if (rv != 0) {
        return rv;
    }
    bool writes = authorizer->writes ||
                  (*out != NULL && !sqlite3_stmt_readonly(*out) && !sqlite3_stmt_isexplain(*out));
    /* A setting is made when it is prepared: the writer prepares everything in its turn. */
    return writes || (authorizer->setting && !job->request.read_only) ? refuse_write(job) : 0;
}

static int check_text(struct job *job, struct bnd_slice text) {
    struct sql_cache *cache = &job->self->cache;
    sqlite3_stmt *kept = sql_cache_find(cache, text);
    /* One without columns may only have found nothing to do (DROP TRIGGER IF EXISTS). */
    if (kept != NULL && sqlite3_stmt_readonly(kept) && sqlite3_column_count(kept) > 0) {
        return 0;
    }
    int rv = take_text(job, text);
    const char *at = (const char *)job->sql.data;
    while (rv == 0 && *at != 0) {
        sqlite3_stmt *statement = NULL;
        const char *tail = at;
        rv = check_one(job, at, &statement, &tail);
        const char *next = rv == 0 && tail > at ? skip_blank(tail) : "";
        bool alone = *next == 0 && at == (const char *)job->sql.data;
        bool keep =
            rv == 0 && alone && statement != NULL && kept == NULL && !job->self->authorizer.pragma;
        if (!keep || !sql_cache_put(cache, text, statement)) {
            (void)sqlite3_finalize(statement); /* never stepped */
        }
        at = next;
    }
    return rv;
}

static int check_all(struct job *job) {
    struct bnd_sql_request request = *job->run->request;
    int rv = 0;
    for (uint32_t i = 0; i < request.statements_count && rv == 0; i++) {
        struct bnd_sql_statement statement;
        bnd_sql_request_next(&request, &statement);
        rv = check_text(job, statement.text);
    }
    return rv;
}

/* ---- a request ---- */

static int run_transaction(struct job *job) {
    struct sql_connection *self = job->self;
    int code = sql_connection_own(self, self->begin);
    if (code != SQLITE_OK) {
        return fail(job, code);
    }
    int rv = job->run->read_only || job->request.read_only ? check_all(job) : 0;
    if (rv == 0) {
        bnd_buf_append_str(&job->run->text, "[");
    }
    for (uint32_t i = 0; i < job->request.statements_count && rv == 0; i++) {
        struct bnd_sql_statement statement;
        bnd_sql_request_next(&job->request, &statement);
        rv = run_statement(job, &statement);
    }
    if (rv != 0) {
        return rv;
    }
    if (job->elements == 0) {
        return fail_text(job, "No SQL statements detected.");
    }
    bnd_buf_append_str(&job->run->text, "]");
    code = sql_connection_own(self, self->commit);
    return code == SQLITE_OK ? answer_room(job) : fail(job, code);
}

int sql_connection_run(struct sql_connection *self, struct sql_run *run) {
    struct job job = {.self = self, .run = run, .request = *run->request};
    uint64_t timeout_ms = run->timeout_ms == 0 ? TIMEOUT_MS : run->timeout_ms;
    bnd_buf_reset(&run->text);
    run->wants_writer = false;
    run->rows_read = run->rows_written = 0;
    self->clock = run->clock;
    self->stop = run->stop;
    self->memory.failed = false;
    uint64_t begin_ns = sql_clock_ns(&self->clock);
    job.now_ns = begin_ns;
    self->deadline_ns = begin_ns + timeout_ms * 1000000;
    sql_memory_enter(&self->memory);
    sqlite3_set_last_insert_rowid(self->db, run->last_row_id);
    if (job.request.unlinked) {
        (void)sqlite3_db_config(self->db, SQLITE_DBCONFIG_ENABLE_FKEY, 0, NULL); /* cannot fail */
        self->authorizer.setting = true; /* it is set back behind the transaction */
    }
    int rv = run_transaction(&job);
    if (rv == 0) {
        run->outcome = BND_SQL_DONE;
        run->last_row_id = sqlite3_last_insert_rowid(self->db);
        run->duration_ns = job.now_ns - begin_ns;
    }
    if (!sql_connection_settle(self) && rv >= 0) {
        rv = BND_NOMEM;
    }
    sql_memory_leave();
    if (rv < 0 || run->wants_writer) {
        bnd_buf_reset(&run->text);
    }
    bnd_buf_free(&job.sql);
    bnd_buf_free(&job.names);
    return rv == STOP ? 0 : rv;
}
