/* What a client asks of a database, and what it is answered: the form in which both travel between
 * the gateway and the leader (SPEC.md, "SQL requests"). Decoded forms borrow. */
#ifndef BND_SQL_REQUEST_H
#define BND_SQL_REQUEST_H

#include "base/bytes.h"
#include "base/error.h"

#define BND_SQL_UUID_BYTES 16
#define BND_SQL_UUID_TEXT 36       /* lowercase, with its four dashes */
#define BND_SQL_BOOKMARK_TEXT 59   /* 8-8-8-32 lowercase hex digits */
#define BND_SQL_BOOKMARK_BYTES 28u /* as bnd_sql_bookmark_put makes them (bookmark.h) */
#define BND_SQL_STATEMENTS_MAX 10000u
#define BND_SQL_REQUEST_MAX (4u << 20)
#define BND_SQL_ANSWER_MAX (6u << 20)
#define BND_SQL_PAGE_BYTES 4096u
/* Behind a CREATE INDEX: it is made empty, and stays so until it is filled. When it is whole, it is
 * as if this had not been there; only then it may be used. Of a UNIQUE one the step that comes upon
 * equal rows fails, with the error of a row that breaks it. */
#define BND_SQL_FILL_SUFFIX "\nWHERE 0"
#define BND_SQL_PAGES_MAX 256u /* that one request may ask for */

/* How rows are written: [{"column": value, ...}, ...], or {"columns": [...], "rows": [[...], ...]}.
 */
enum bnd_sql_results { BND_SQL_OBJECTS = 1, BND_SQL_ROWS = 2 };

enum bnd_sql_type {
    BND_SQL_NULL = 0,
    BND_SQL_INTEGER = 1,
    BND_SQL_REAL = 2,
    BND_SQL_TEXT = 3,
    BND_SQL_BLOB = 4
};

struct bnd_sql_value {
    enum bnd_sql_type type;
    int64_t integer;
    double real;
    struct bnd_slice bytes; /* TEXT, BLOB */
};

/* One of a session (architecture 9): where it may be read. Any bookmark stands for "at least this".
 */
enum bnd_sql_session {
    BND_SQL_PRIMARY = 1,       /* first-primary: on the leader, linearizable */
    BND_SQL_UNCONSTRAINED = 2, /* on any replica, as it is */
    BND_SQL_BOOKMARK = 3,      /* on any replica that has reached it */
    BND_SQL_NO_SESSION =
        4, /* linearizable, on any replica that the leader tells how far (ADR 0108) */
};

/* ---- a request: a header, then statements, each with its parameters. All of it is one
 * transaction. Or no statements, and the header asks for pages. ---- */

struct bnd_sql_request {
    enum bnd_sql_results results;
    enum bnd_sql_session session;
    uint8_t bookmark[BND_SQL_BOOKMARK_BYTES]; /* of session BOOKMARK */
    bool script; /* the text of a statement may hold several (REST): an element each; else one for
                    all of them, with the rows of the last, as D1 does */
    bool read_only; /* who asks may only read: what would write is refused, nothing of it runs */
    bool unlinked;  /* foreign keys are not looked at: of a part of an import, which checks all of
                       them in the end */
    bool fill;      /* one statement: its text is the name of an index that was made with
                       BND_SQL_FILL_SUFFIX, its only parameter the number of entries that it gets now */
    uint32_t
        pages_first; /* pages of the database from this one (the first is 1), as its file has */
    uint32_t pages_count; /* them: at most BND_SQL_PAGES_MAX; 0: statements are asked for */
    uint32_t statements_count;
    struct bnd_reader statements;
};

struct bnd_sql_statement {
    struct bnd_slice text;
    uint32_t params_count;
    struct bnd_reader params;
};

/* Begins a request in an empty buffer; statements and their parameters are appended in order. */
void bnd_sql_request_begin(struct bnd_buf *out, const struct bnd_sql_request *header);
void bnd_sql_request_statement(struct bnd_buf *out, struct bnd_slice text, uint32_t params_count);
void bnd_sql_request_param(struct bnd_buf *out, const struct bnd_sql_value *value);
/* Writes the number of statements in place. */
void bnd_sql_request_end(struct bnd_buf *out, uint32_t statements_count);

/* Checks all of it. BND_VERSION, BND_CORRUPT. */
int bnd_sql_request_decode(struct bnd_slice bytes, struct bnd_sql_request *out);
/* Call exactly statements_count times, and for each the params exactly params_count times. The next
 * statement begins where the params of this one end: hand the same request back. */
void bnd_sql_request_next(struct bnd_sql_request *request, struct bnd_sql_statement *out);
void bnd_sql_statement_next(struct bnd_sql_statement *statement, struct bnd_sql_value *out);

/* ---- an answer ---- */

enum bnd_sql_outcome {
    BND_SQL_DONE = 1,   /* text: a JSON array, one element per statement, as D1's; or the pages that
                           there are of those asked for, one behind the other */
    BND_SQL_FAILED = 2, /* text: SQLite's or D1's message with its suffix ("...: SQLITE_ERROR");
                           nothing was changed */
    BND_SQL_LOST = 3,   /* a retry: it was committed, its rows are not known any more */
};

struct bnd_sql_answer {
    enum bnd_sql_outcome outcome;
    bool wrote;
    uint8_t bookmark[BND_SQL_BOOKMARK_BYTES]; /* the version it ran on or made */
    struct bnd_slice text;
};

void bnd_sql_answer_encode(struct bnd_buf *out, const struct bnd_sql_answer *answer);
int bnd_sql_answer_decode(struct bnd_slice bytes, struct bnd_sql_answer *out);

#endif
