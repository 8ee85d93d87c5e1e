/* The loads of bench/d1 on SQLite itself: the ceiling of what it does in one process on a disk
 * without a network, in WAL mode. Each client is a thread that reads on connections of its own.
 * SQLite has one writer per database: clients that write take turns with one connection, which is
 * better than to find it busy, and keeps its cache. The lock is not fair: their rate is the
 * ceiling, not their percentiles.
 *
 * Options and report are those of d1_load.c. */
#include "bench/closed_loop.h"
#include "bench/d1_table.h"
#include "bench/histogram.h"
#include "bench/wire.h"

#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 1024u
#define DATABASES_MAX 1024u

struct options {
    const char *dir;
    const char *synchronous;
    unsigned databases;
    uint64_t rows;
    enum d1_op op;
    struct closed_loop_options loop;
};

struct session {
    sqlite3 *db;
    sqlite3_stmt *statement;
    uint64_t last_id;
};

struct database {
    pthread_mutex_t turn; /* of what follows */
    struct session writer;
    uint64_t before, acknowledged;
};

struct load {
    struct options options;
    struct database databases[DATABASES_MAX];
    uint64_t from_ns, until_ns;
};

struct client {
    pthread_t thread;
    struct load *load;
    unsigned number;
    uint64_t random, answered;
    struct session *readers; /* of each database that it reads */
    struct histogram latencies;
};

static _Noreturn void fail(sqlite3 *db, const char *what) {
    fprintf(stderr, "bench_sqlite_load: %s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

static void execute(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail(db, sql);
    }
}

static sqlite3 *open_database(const struct options *o, unsigned number) {
    char text[4096];
    sqlite3 *db;
    snprintf(text, sizeof text, "%s/%u.db", o->dir, number);
    if (sqlite3_open(text, &db) != SQLITE_OK) {
        fail(db, text);
    }
    sqlite3_busy_timeout(db, 60000);
    execute(db, "PRAGMA journal_mode = WAL");
    snprintf(text, sizeof text, "PRAGMA synchronous = %s", o->synchronous);
    execute(db, text);
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
        fail(db, sql);
    }
    return statement;
}

/* ---- one operation ---------------------------------------------------------------------------*/

static bool is_value(sqlite3_stmt *statement, int column, uint64_t id) {
    const void *text = sqlite3_column_text(statement, column);
    return bnd_slice_eq(bnd_slice(text, (size_t)sqlite3_column_bytes(statement, column)),
                        d1_value(id));
}

/* Rows of t from id on, with their id if `first` is 1; that many. */
static bool rows_right(sqlite3_stmt *statement, uint64_t id, unsigned rows, int first) {
    for (unsigned i = 0; i < rows; i++) {
        if (sqlite3_step(statement) != SQLITE_ROW ||
            (first == 1 && (uint64_t)sqlite3_column_int64(statement, 0) != id + i) ||
            (uint64_t)sqlite3_column_int64(statement, first) < id + i ||
            !is_value(statement, first + 1, id + i)) {
            return false;
        }
    }
    return sqlite3_step(statement) == SQLITE_DONE;
}

static bool read_right(struct session *session, enum d1_op op, uint64_t id) {
    sqlite3_stmt *statement = session->statement;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)id);
    if (op == D1_READ) {
        return rows_right(statement, id, 1, 0);
    }
    if (op == D1_SCAN) {
        return rows_right(statement, id, D1_SCAN_ROWS, 1);
    }
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)(id + D1_SUM_ROWS - 1));
    return sqlite3_step(statement) == SQLITE_ROW &&
           sqlite3_column_int64(statement, 0) == D1_SUM_ROWS &&
           (uint64_t)sqlite3_column_int64(statement, 1) ==
               D1_SUM_ROWS * id + D1_SUM_ROWS * (uint64_t)(D1_SUM_ROWS - 1) / 2;
}

static bool insert_right(struct session *session, enum d1_op op, uint64_t id) {
    sqlite3_stmt *statement = session->statement;
    struct bnd_slice value = d1_value(id);
    int at = 1;
    if (op == D1_FILL) {
        sqlite3_bind_int64(statement, at++, (sqlite3_int64)id);
    }
    sqlite3_bind_int64(statement, at++, (sqlite3_int64)id);
    sqlite3_bind_text(statement, at, (const char *)value.data, (int)value.len, SQLITE_STATIC);
    bool done = sqlite3_step(statement) == SQLITE_DONE && sqlite3_changes(session->db) == 1;
    uint64_t last = (uint64_t)sqlite3_last_insert_rowid(session->db);
    bool rose = last > session->last_id;
    session->last_id = last;
    return sqlite3_reset(statement) == SQLITE_OK && done && rose;
}

static bool write_right(struct session *session, enum d1_op op, uint64_t id) {
    if (op == D1_UPDATE) {
        sqlite3_bind_int64(session->statement, 1, (sqlite3_int64)id);
        return sqlite3_step(session->statement) == SQLITE_DONE &&
               sqlite3_changes(session->db) == 1 && sqlite3_reset(session->statement) == SQLITE_OK;
    }
    if (op == D1_INSERT) {
        return insert_right(session, op, id);
    }
    bool right = true;
    execute(session->db, "BEGIN IMMEDIATE");
    for (uint64_t i = 0; i < D1_BATCH_ROWS && right; i++) {
        right = insert_right(session, op, id + i);
    }
    execute(session->db, "COMMIT");
    return right;
}

static struct session open_session(const struct options *o, unsigned number) {
    struct session session = {.db = open_database(o, number)};
    session.statement = prepare(session.db, d1_sql(o->op));
    return session;
}

static bool write_in_turn(struct load *load, unsigned number, uint64_t id) {
    struct database *database = &load->databases[number];
    pthread_mutex_lock(&database->turn);
    bool right = write_right(&database->writer, load->options.op, id);
    database->acknowledged += load->options.op >= D1_BATCH ? D1_BATCH_ROWS : 1;
    pthread_mutex_unlock(&database->turn);
    return right;
}

/* ---- clients ---------------------------------------------------------------------------------*/

static void operate(struct client *client, unsigned database) {
    struct load *load = client->load;
    const struct options *o = &load->options;
    uint64_t id = d1_draw_id(o->op, o->rows, &client->random);
    if (o->op >= D1_UPDATE) {
        if (!write_in_turn(load, database, id)) {
            fail(load->databases[database].writer.db, "wrong answer");
        }
        return;
    }
    struct session *reader = &client->readers[database];
    if (!read_right(reader, o->op, id)) {
        fail(reader->db, "wrong answer");
    }
    sqlite3_reset(reader->statement);
}

static void *run_client(void *data) {
    struct client *client = data;
    struct load *load = client->load;
    const struct options *o = &load->options;
    unsigned database = client->number % o->databases;
    for (;;) {
        uint64_t begun = wire_now_ns();
        if (begun >= load->until_ns) {
            return NULL;
        }
        operate(client, database);
        uint64_t now = wire_now_ns();
        client->answered++;
        if (now >= load->from_ns && now <= load->until_ns) {
            histogram_add(&client->latencies, (now - begun) / 1000);
        }
        database += o->loop.clients;
        database = database < o->databases ? database : client->number % o->databases;
    }
}

static void make_client(struct load *load, struct client *client, unsigned number) {
    const struct options *o = &load->options;
    client->load = load;
    client->number = number;
    client->random = closed_loop_seed(&o->loop, number);
    client->readers = bnd_calloc(o->databases, sizeof *client->readers);
    if (client->readers == NULL) {
        wire_die("set-up of a client");
    }
    for (unsigned i = number % o->databases; i < o->databases && o->op < D1_UPDATE;
         i += o->loop.clients) {
        client->readers[i] = open_session(o, i);
    }
}

static uint64_t run_clients(struct load *load, struct histogram *out) {
    const struct options *o = &load->options;
    struct client *clients = bnd_calloc(o->loop.clients, sizeof *clients);
    uint64_t answered = 0;
    if (clients == NULL) {
        wire_die("set-up");
    }
    for (unsigned i = 0; i < o->loop.clients; i++) {
        make_client(load, &clients[i], i);
    }
    load->from_ns = wire_now_ns() + (uint64_t)(o->loop.warmup_s * 1e9);
    load->until_ns = load->from_ns + (uint64_t)(o->loop.seconds * 1e9);
    for (unsigned i = 0; i < o->loop.clients; i++) {
        if (pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) != 0) {
            wire_die("thread");
        }
    }
    for (unsigned i = 0; i < o->loop.clients; i++) {
        pthread_join(clients[i].thread, NULL);
        histogram_merge(out, &clients[i].latencies);
        answered += clients[i].answered;
    }
    return answered;
}

/* ---- before and after ------------------------------------------------------------------------*/

/* Rows of w, or the sum of k of t; of a fill: rows of t. */
static uint64_t counted(const struct options *o, unsigned database) {
    sqlite3 *db = open_database(o, database);
    bool t = o->op == D1_UPDATE || o->op == D1_FILL;
    sqlite3_stmt *statement = prepare(db, t ? D1_COUNT_T : D1_COUNT_W);
    if (sqlite3_step(statement) != SQLITE_ROW) {
        fail(db, "count");
    }
    uint64_t count = (uint64_t)sqlite3_column_int64(statement, o->op == D1_UPDATE);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return count;
}

static void make_table(const struct options *o, unsigned database) {
    sqlite3 *db = open_database(o, database);
    execute(db, o->op == D1_FILL ? D1_DROP_T : D1_DROP_W);
    execute(db, o->op == D1_FILL ? D1_MAKE_T : D1_MAKE_W);
    sqlite3_close(db);
}

static void prepare_tables(struct load *load) {
    const struct options *o = &load->options;
    for (unsigned i = 0; i < o->databases && o->op >= D1_UPDATE; i++) {
        struct database *database = &load->databases[i];
        pthread_mutex_init(&database->turn, NULL);
        if (o->op > D1_UPDATE) {
            make_table(o, i);
        } else {
            database->before = counted(o, i);
        }
        database->writer = open_session(o, i);
    }
}

static void check_tables(const struct load *load) {
    const struct options *o = &load->options;
    for (unsigned i = 0; i < o->databases && o->op >= D1_UPDATE; i++) {
        const struct database *database = &load->databases[i];
        uint64_t found = counted(o, i) - database->before;
        if (found != database->acknowledged) {
            fprintf(stderr, "bench_sqlite_load: database %u: %llu acknowledged, %llu found\n", i,
                    (unsigned long long)database->acknowledged, (unsigned long long)found);
            exit(1);
        }
    }
}

static uint64_t fill(struct load *load) {
    uint64_t batches = 0;
    for (unsigned i = 0; i < load->options.databases; i++) {
        for (uint64_t id = 1; id <= load->options.rows; id += D1_BATCH_ROWS, batches++) {
            if (!write_in_turn(load, i, id)) {
                fail(load->databases[i].writer.db, "fill");
            }
        }
    }
    return batches;
}

/* ---- options and report ----------------------------------------------------------------------*/

static void set_option(struct options *o, const char *name, const char *value) {
#define IS(text) (strcmp(name, "--" text) == 0)
    if (IS("dir")) {
        o->dir = value;
    } else if (IS("synchronous")) {
        o->synchronous = value;
    } else if (IS("databases")) {
        o->databases = (unsigned)atoi(value);
    } else if (IS("rows")) {
        o->rows = strtoull(value, NULL, 10);
    } else if (IS("op")) {
        o->op = d1_op_named(value);
    } else if (!closed_loop_option(&o->loop, name, value)) {
        fprintf(stderr, "bench_sqlite_load: unknown option %s\n", name);
        exit(2);
    }
#undef IS
}

static bool options_fit(const struct options *o) {
    return o->dir != NULL && o->loop.clients > 0 && o->loop.clients <= CLIENTS_MAX &&
           o->databases > 0 && o->databases <= DATABASES_MAX && d1_rows_fit(o->op, o->rows);
}

static void report(const struct load *load, const struct histogram *latencies, uint64_t answered,
                   double wall, double cpu) {
    const struct options *o = &load->options;
    printf(
        "{\"op\": \"%s\", \"clients\": %u, \"databases\": %u, \"ops\": %llu, \"answered\": %llu, "
        "\"per_s\": %.1f, ",
        d1_op_name(o->op), o->loop.clients, o->databases, (unsigned long long)latencies->total,
        (unsigned long long)answered, (double)latencies->total / o->loop.seconds);
    histogram_print(latencies, "");
    printf("\"sqlite\": \"%s\", \"errors\": 0, \"cpu_s\": %.3f, \"wall_s\": %.3f}\n",
           sqlite3_libversion(), cpu, wall);
}

int main(int argc, char **argv) {
    static struct load load;
    static struct histogram latencies;
    load.options = (struct options){
        .synchronous = "FULL", .databases = 1, .rows = 1000, .loop = CLOSED_LOOP_DEFAULTS};
    for (int i = 1; i + 1 < argc; i += 2) {
        set_option(&load.options, argv[i], argv[i + 1]);
    }
    if (argc % 2 == 0 || !options_fit(&load.options)) {
        fprintf(stderr,
                "usage: bench_sqlite_load --dir D [--synchronous full|normal]\n"
                "  --op read|scan|sum|update|insert|batch|fill [--databases N]\n"
                "  [--clients N] [--rows THOUSANDS] [--seconds S] [--warmup S] [--first N]\n");
        return 2;
    }
    (void)d1_value(0); /* makes the text while there is one thread */
    prepare_tables(&load);
    double cpu = wire_cpu_seconds();
    uint64_t begun = wire_now_ns();
    uint64_t answered = load.options.op == D1_FILL ? fill(&load) : run_clients(&load, &latencies);
    report(&load, &latencies, answered, (double)(wire_now_ns() - begun) / 1e9,
           wire_cpu_seconds() - cpu);
    check_tables(&load);
    return 0;
}
