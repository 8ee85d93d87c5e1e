#include "sql/connection_private.h"
#include "sql/json.h"

/* SQLite's names, which are part of what D1 answers. */
#define PRIMARY(X)                                                                                 \
    X(SQLITE_ERROR)                                                                                \
    X(SQLITE_INTERNAL)                                                                             \
    X(SQLITE_PERM)                                                                                 \
    X(SQLITE_ABORT)                                                                                \
    X(SQLITE_BUSY)                                                                                 \
    X(SQLITE_LOCKED)                                                                               \
    X(SQLITE_NOMEM)                                                                                \
    X(SQLITE_READONLY)                                                                             \
    X(SQLITE_INTERRUPT)                                                                            \
    X(SQLITE_IOERR)                                                                                \
    X(SQLITE_CORRUPT)                                                                              \
    X(SQLITE_NOTFOUND)                                                                             \
    X(SQLITE_FULL)                                                                                 \
    X(SQLITE_CANTOPEN)                                                                             \
    X(SQLITE_PROTOCOL)                                                                             \
    X(SQLITE_SCHEMA)                                                                               \
    X(SQLITE_TOOBIG)                                                                               \
    X(SQLITE_CONSTRAINT)                                                                           \
    X(SQLITE_MISMATCH)                                                                             \
    X(SQLITE_MISUSE)                                                                               \
    X(SQLITE_AUTH)                                                                                 \
    X(SQLITE_RANGE)                                                                                \
    X(SQLITE_NOTADB)

/* Those that a client's statement can meet. */
#define EXTENDED(X)                                                                                \
    X(SQLITE_ABORT_ROLLBACK)                                                                       \
    X(SQLITE_CONSTRAINT_CHECK)                                                                     \
    X(SQLITE_CONSTRAINT_DATATYPE)                                                                  \
    X(SQLITE_CONSTRAINT_FOREIGNKEY)                                                                \
    X(SQLITE_CONSTRAINT_FUNCTION)                                                                  \
    X(SQLITE_CONSTRAINT_NOTNULL)                                                                   \
    X(SQLITE_CONSTRAINT_PINNED)                                                                    \
    X(SQLITE_CONSTRAINT_PRIMARYKEY)                                                                \
    X(SQLITE_CONSTRAINT_ROWID)                                                                     \
    X(SQLITE_CONSTRAINT_TRIGGER)                                                                   \
    X(SQLITE_CONSTRAINT_UNIQUE)                                                                    \
    X(SQLITE_CONSTRAINT_VTAB)                                                                      \
    X(SQLITE_CORRUPT_VTAB)                                                                         \
    X(SQLITE_ERROR_MISSING_COLLSEQ)                                                                \
    X(SQLITE_LOCKED_VTAB)

static const char *name_of(int code) {
    switch (code) {
#define X(name)                                                                                    \
    case name:                                                                                     \
        return #name;
        PRIMARY(X)
        EXTENDED(X)
#undef X
    default:
        return NULL;
    }
}

static void describe(struct sql_connection *connection, int primary, struct bnd_buf *text) {
    /* It may name what the statement has, byte by byte. */
    sql_json_text(text, bnd_slice_str(sqlite3_errmsg(connection->db)));
    int offset = sqlite3_error_offset(connection->db);
    if (offset >= 0) {
        bnd_buf_printf(text, " at offset %d", offset);
    }
    const char *name = name_of(primary);
    bnd_buf_printf(text, ": %s", name == NULL ? "SQLITE_ERROR" : name);
    int extended = sqlite3_extended_errcode(connection->db);
    if (extended != primary && (name = name_of(extended)) != NULL) {
        bnd_buf_printf(text, " (extended: %s)", name);
    }
}

/* Why a run was interrupted: at its time, or by its owner. */
static void describe_interrupt(struct sql_connection *connection, struct bnd_buf *text) {
    bnd_buf_append_str(text,
                       sql_connection_stopped(connection)
                           ? "interrupted: SQLITE_INTERRUPT"
                           : "D1 DB exceeded its CPU time limit: the query ran too long and was "
                             "interrupted: SQLITE_INTERRUPT");
}

int sql_connection_error(struct sql_connection *connection, int code, struct bnd_buf *text) {
    int primary = code & 0xff;
    bnd_buf_reset(text);
    switch (primary) {
    case SQLITE_NOMEM:
        if (connection->memory.failed) {
            return BND_NOMEM;
        }
        bnd_buf_append_str(text, "D1 DB exceeded its memory limit: SQLITE_NOMEM");
        break;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return connection->memory.failed ? BND_NOMEM : BND_IO;
    case SQLITE_FULL:
        return BND_NOSPACE;
    case SQLITE_NOTADB:
        return BND_CORRUPT;
    case SQLITE_CORRUPT: /* a table of FTS5 may be at odds with its own content: the client's doing
                          */
        if (sqlite3_extended_errcode(connection->db) != SQLITE_CORRUPT_VTAB) {
            return BND_CORRUPT;
        }
        describe(connection, primary, text);
        break;
    case SQLITE_INTERRUPT:
        describe_interrupt(connection, text);
        break;
    case SQLITE_AUTH:
        if (connection->authorizer.transaction) {
            bnd_buf_append_str(
                text, "To execute a transaction, please use the state.storage.transaction() or "
                      "state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION "
                      "or SAVEPOINT statements. In D1, a batch() is a transaction.");
            break;
        }
        describe(connection, primary, text);
        break;
    default:
        describe(connection, primary, text);
    }
    return text->failed ? BND_NOMEM : 0;
}
