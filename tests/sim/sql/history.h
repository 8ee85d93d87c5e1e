/* What clients asked of the simulated databases and were told, and whether it was strict
 * serializable.
 *
 * Every transaction that writes begins with a row (n, token, what it does) in table tx, n one more
 * than the last: the database itself says in which order its transactions stand, and every read
 * says after which of them it stands. So no search is needed. A *line* is that order as far as it
 * is known; a dump (all tables, in one read, while no other operation is under way) extends it, and
 * then
 *  1. every acknowledged transaction since the last dump has its row, with the n it was told; what
 *     failed or was certainly not executed has none; nobody's transaction has two;
 *  2. places respect real time: an operation stands above all that returned before it began, a
 *     write above them strictly;
 *  3. what every read was told, and the dump, is what a model says at that place.
 * The pieces of an import are transactions that return when it has ended, and are there all or
 * none, with nothing among them; an export is reads of the moment at which it began. Real time is
 * checked by bookmarks, whose versions rise over restores and imports. A restore cuts the line, a
 * fork begins with a line that it shares; an unknown transaction may appear once, on one line,
 * whenever its deadline allows it. */
#ifndef BND_TESTS_SIM_SQL_HISTORY_H
#define BND_TESTS_SIM_SQL_HISTORY_H

#include "tests/sim/sql/cluster.h"

#define SIMSQL_DATABASES_MAX 6
#define SIMSQL_ACCOUNTS 5
#define SIMSQL_BALANCE 100
#define SIMSQL_KEYS 4

enum simsql_kind {
    SIMSQL_APPEND = 1, /* a: key */
    SIMSQL_TRANSFER,   /* a: from, b: to, c: amount */
    SIMSQL_REGISTER,   /* a: key, b: value */
    SIMSQL_CLEAR,      /* a: key */
    SIMSQL_UNIQUE,     /* a row under its token, which fails if it is there */
    SIMSQL_FAIL,       /* always fails, after it has written */
    SIMSQL_CHANCE,     /* half of the times that it is run, it fails so */
    SIMSQL_READ, /* a: key of the list, b: key of the register, c: 1: as a write, which changes
                    nothing */
    SIMSQL_DUMP,
};

enum simsql_outcome {
    SIMSQL_PENDING, /* or unknown */
    SIMSQL_DONE,
    SIMSQL_NONE, /* certainly not executed, or failed */
};

/* A row of table tx. */
struct simsql_row {
    int64_t token, kind, a, b, c;
    int64_t drawn; /* by SQLite's chance, when it was executed */
};

struct simsql_op {
    enum simsql_kind kind;
    int64_t token; /* unique; 0: a read */
    int64_t a, b, c;
    size_t database;
    bool stale;      /* a read on a replica, bound by nothing but its session */
    bool follows;    /* which it has: it goes on from a bookmark */
    uint64_t import; /* the one of which it is a piece; 0: of none */
    uint64_t invoked_ns, returned_ns;
    uint64_t invoked_ms, returned_ms; /* as right clocks had it */
    enum simsql_outcome outcome;
    struct bnd_sql_bookmark place; /* as told, if outcome is DONE */
    int64_t n, drawn;              /* likewise; n -1: not told */
    bool seen;                     /* its row is on a line */
    int64_t bank, value;           /* as a read was told */
    char *list;                    /* likewise; owned */
};

struct simsql_line {
    struct simsql_row *rows; /* n - 1 */
    size_t count, cap;
};

/* Versions that a restore took away: those above `from`, below `to`. */
struct simsql_erased {
    uint64_t from, to;
};
#define SIMSQL_ERASED_MAX 16

/* A place on a database's present line. */
struct simsql_mark {
    struct bnd_sql_bookmark bookmark;
    size_t rows;
    uint64_t told_ms; /* it was the newest a moment before, at most; as right clocks had it */
};
#define SIMSQL_MARKS_MAX 16

struct simsql_database {
    uint8_t uuid[BND_SQL_UUID_BYTES];
    struct simsql_line line;
    size_t checked;                             /* ops below it are of segments that were checked */
    struct simsql_mark marks[SIMSQL_MARKS_MAX]; /* told in this segment and before it */
    size_t marks_count;
    struct bnd_sql_bookmark dumped; /* where it was dumped last */
    /* A restore was asked for while operations were under way: it took place if the next dump is of
     * another epoch than the last, and then what stood above target in that one is erased. */
    bool nudged;
    struct simsql_mark nudge;
    /* what the last restore can be undone to */
    bool undoable;
    struct bnd_sql_bookmark undo;
    uint64_t undo_ms; /* when that was told */
    struct simsql_line undo_line;
    struct simsql_erased erased[SIMSQL_ERASED_MAX];
    size_t erased_count; /* more: nothing is known of any but the newest */
    bool erases;         /* the next dump tells where the newest ends */
    uint64_t made_ms;    /* as right clocks had it */
    bool quiet;          /* a fork that clients leave as it is */
    bool deleting;       /* and another is made under its name */
    uint64_t deleted_ns; /* no operation begun later finds it; 0: that is not known */
    /* An import began since the last dump: if it came to its end, that is of another epoch, too. */
    bool imported;
    uint64_t held_until_ms; /* what comes later is refused by nothing; as right clocks have it */
    uint64_t
        held_until_ns; /* likewise, of the world: who looks for leases that are over waits so */
    /* of the manager: no new operation begins */
    bool paused;
    size_t under_way;
};

struct simsql_history {
    struct simsql_cluster *cluster;
    struct simsql_op *ops; /* in order of invocation */
    size_t count, cap;
    struct simsql_database databases[SIMSQL_DATABASES_MAX];
    size_t databases_count;
    uint64_t acked;
};

void simsql_history_free(struct simsql_history *history);
/* Returns the number of the new operation. */
size_t simsql_history_invoke(struct simsql_history *history, const struct simsql_op *op);
void simsql_history_return(struct simsql_history *history, size_t op, enum simsql_outcome outcome);

/* What a dump was told: checks all operations since the last one. False: it is not what it must be
 * (a violation was told). */
bool simsql_history_dump(struct simsql_history *history, size_t database,
                         const struct bnd_sql_answer *answer);

/* A restore has taken away the versions above it, up to the next dump's. */
void simsql_history_erase(struct simsql_history *history, size_t database, uint64_t above);

/* It is refused because something is imported there: may that be? */
bool simsql_history_locked(const struct simsql_history *history, size_t database,
                           uint64_t invoked_ms);

/* A write was told its place. */
void simsql_history_mark(struct simsql_history *history, size_t database,
                         const struct simsql_mark *mark);

/* The database was deleted, and another made in its place. */
void simsql_history_renew(struct simsql_history *history, size_t database,
                          const uint8_t uuid[BND_SQL_UUID_BYTES]);

/* After a dump: the database was restored to its first `rows` rows, or its line was replaced. */
void simsql_history_cut(struct simsql_history *history, size_t database, size_t rows);
void simsql_history_replace(struct simsql_history *history, size_t database,
                            const struct simsql_line *line);
/* A fork of the database's first `rows` rows. */
void simsql_history_fork(struct simsql_history *history, size_t database, size_t rows,
                         const uint8_t uuid[BND_SQL_UUID_BYTES]);
/* The database is said to have stood at `place` when right clocks had at_ms: checks it against what
 * had returned by then, and what began only after. How many rows there were then is in *out_rows;
 * false: that cannot be said. */
bool simsql_history_at_time(struct simsql_history *history, size_t database, uint64_t at_ms,
                            const struct bnd_sql_bookmark *place, size_t *out_rows);
void simsql_line_copy(struct simsql_line *to, const struct simsql_line *from, size_t rows);

/* Where a transaction stands, and what it drew, as an answer says; false: it does not. */
bool simsql_take_place(struct simsql_op *op, struct bnd_slice text);
/* The integers of the k-th result set ("rows":[[1,2],[3,4]]) in an answer's text, at most max; -1:
 * there is none, or one is none. Text cells are left out. */
long simsql_numbers(struct bnd_slice text, unsigned k, int64_t *out, size_t max);
/* The one cell of the k-th result set, without quotes; false: there is none. */
bool simsql_cell(struct bnd_slice text, unsigned k, struct bnd_slice *out);

#endif
