/* A closed loop of SQL clients over HTTP: each has one connection and one request in flight. The
 * D1 binding protocol, as workerd speaks it, or rqlite's (d1_wire.h). Every answer is checked: a
 * read must bring the row that was put, a write must say that it changed what it should; after a
 * run the tables must hold what was acknowledged, no more and no less (t, if it is not too large).
 *
 * Of C clients and D databases, client c takes turns with the databases c, c + C, c + 2C, ...; if
 * there are more clients than databases, it stays with database c % D.
 *
 * Prints one line of JSON: operations, rate, latencies, errors, CPU seconds of its own. Exit status
 * 1 if any answer was wrong. */
#include "bench/closed_loop.h"
#include "bench/d1_wire.h"
#include "bench/histogram.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (2u << 20)
#define COUNTED_MAX                                                                                \
    1000000u /* rows that are counted before and after: a longer sum may be cut off */

struct options {
    uint64_t rows; /* of t in each database */
    enum d1_op op;
};

struct client {
    struct closed_loop_client base;
    unsigned database, turn;
    uint64_t id;        /* what the request is about */
    uint64_t *last_ids; /* of each database; of one client they rise */
};

struct load {
    struct options options;
    struct closed_loop loop;
    struct d1_wire wire;
    struct bnd_buf insert_many; /* statement of a batch with --values */
    struct client *clients;
    struct histogram latencies;
    uint64_t next_batch;                     /* of a fill */
    uint64_t acknowledged[D1_DATABASES_MAX]; /* rows written */
};

/* ---- requests --------------------------------------------------------------------------------*/

static void put_row(struct d1_wire *wire, uint64_t id) {
    d1_wire_integer(wire, id);
    d1_wire_text(wire, d1_value(id));
}

/* rqlite: one INSERT with a thousand rows of parameters. */
static const char *insert_many(struct load *load, const char *one) {
    const char *row = strrchr(one, '(');
    struct bnd_buf *sql = &load->insert_many;
    if (sql->len == 0) {
        bnd_buf_append_str(sql, one);
        for (unsigned i = 1; i < D1_BATCH_ROWS; i++) {
            bnd_buf_append_str(sql, ", ");
            bnd_buf_append_str(sql, row);
        }
        bnd_buf_u8(sql, 0);
        if (sql->failed) {
            errno = ENOMEM;
            wire_die("request");
        }
    }
    return (const char *)sql->data;
}

/* A thousand rows into w, or with their ids into t. */
static struct bnd_slice batch(struct load *load, struct client *client) {
    struct d1_wire *wire = &load->wire;
    bool fill = load->options.op == D1_FILL;
    const char *sql = d1_sql(load->options.op);
    sql = wire->values ? insert_many(load, sql) : sql;
    d1_wire_begin(wire, true);
    for (unsigned i = 0; i < D1_BATCH_ROWS; i++) {
        if (i == 0 || !wire->values) {
            d1_wire_statement(wire, sql);
        }
        if (fill) {
            d1_wire_integer(wire, client->id + i);
        }
        put_row(wire, client->id + i);
        if (i + 1 == D1_BATCH_ROWS || !wire->values) {
            d1_wire_statement_end(wire);
        }
    }
    return d1_wire_end(wire, D1_WRITES_ALL, client->database);
}

static struct bnd_slice request_of(struct load *load, struct client *client) {
    struct d1_wire *wire = &load->wire;
    enum d1_op op = load->options.op;
    if (op == D1_FILL) {
        return batch(load, client);
    }
    client->id = d1_draw_id(op, load->options.rows, &client->base.random);
    if (op == D1_BATCH) {
        return batch(load, client);
    }
    d1_wire_begin(wire, false);
    d1_wire_statement(wire, d1_sql(op));
    d1_wire_integer(wire, client->id);
    if (op == D1_SUM) {
        d1_wire_integer(wire, client->id + D1_SUM_ROWS - 1);
    } else if (op == D1_INSERT) {
        d1_wire_text(wire, d1_value(client->id));
    }
    d1_wire_statement_end(wire);
    return d1_wire_end(wire, op == D1_UPDATE || op == D1_INSERT ? D1_WRITES : D1_READS,
                       client->database);
}

/* The next batch of rows, database by database; false: all are there or under way. */
static bool next_batch(struct load *load, struct client *client) {
    uint64_t each = load->options.rows / D1_BATCH_ROWS, number = load->next_batch++;
    client->database = (unsigned)(number / each);
    client->id = number % each * D1_BATCH_ROWS + 1;
    return client->database < load->wire.databases;
}

static void next_database(const struct load *load, struct client *client) {
    unsigned number = (unsigned)(client - load->clients), clients = load->loop.options.clients;
    unsigned databases = load->wire.databases;
    unsigned mine = number < databases ? (databases - 1 - number) / clients + 1 : 1;
    client->database = (number + clients * (client->turn++ % mine)) % databases;
}

static bool ask_next(void *data, struct closed_loop_client *base) {
    struct load *load = data;
    struct client *client = (struct client *)base;
    if (!load->loop.fill) {
        next_database(load, client);
    } else if (!next_batch(load, client)) {
        return false;
    }
    wire_send(base->fd, request_of(load, client));
    return true;
}

/* ---- answers ---------------------------------------------------------------------------------*/

static bool sum_right(const struct d1_wire *wire, const struct wire_http *http, uint64_t id) {
    uint64_t found[2];
    return d1_wire_numbers(wire, http, found) && found[0] == D1_SUM_ROWS &&
           found[1] == D1_SUM_ROWS * id + D1_SUM_ROWS * (uint64_t)(D1_SUM_ROWS - 1) / 2;
}

static bool answer_right(struct load *load, struct client *client, const struct wire_http *http) {
    const struct d1_wire *wire = &load->wire;
    switch (load->options.op) {
    case D1_READ:
        return d1_wire_row(wire, http, client->id);
    case D1_SCAN:
        return d1_wire_scan(wire, http, client->id);
    case D1_SUM:
        return sum_right(wire, http, client->id);
    case D1_UPDATE:
        return d1_wire_wrote(wire, http, NULL);
    case D1_INSERT:
        return d1_wire_wrote(wire, http, &client->last_ids[client->database]);
    case D1_FILL:
    case D1_BATCH:
        break;
    }
    return d1_wire_wrote_all(wire, http, D1_BATCH_ROWS);
}

static void wrong(struct load *load, const struct client *client) {
    const struct closed_loop_client *base = &client->base;
    if (load->loop.errors++ == 0) {
        fprintf(stderr, "bench_d1_load: wrong answer: %.*s\n",
                (int)(base->got < 1000 ? base->got : 1000), base->answer);
    }
}

/* The whole answer of a request is there. */
static void complete(struct load *load, struct client *client, const struct wire_http *http) {
    uint64_t now = wire_now_ns();
    enum d1_op op = load->options.op;
    if (!answer_right(load, client, http)) {
        wrong(load, client);
    } else {
        load->acknowledged[client->database] += op >= D1_BATCH ? D1_BATCH_ROWS : 1;
        if (now >= load->loop.from_ns && now <= load->loop.until_ns) {
            histogram_add(&load->latencies, (now - client->base.begun_ns) / 1000);
        }
    }
    closed_loop_answered(&load->loop, &client->base);
}

/* True when a whole answer is there. */
static bool receive(struct client *client, struct wire_http *http) {
    closed_loop_receive(&client->base);
    return wire_http_answer(client->base.answer, client->base.got, http) > 0;
}

static void readable(void *data, struct closed_loop_client *base) {
    struct wire_http http;
    if (receive((struct client *)base, &http)) {
        complete(data, (struct client *)base, &http);
    }
}

/* ---- before and after ------------------------------------------------------------------------*/

/* Asks one statement without parameters and waits. Good until the next call. */
static struct wire_http ask(struct load *load, struct client *client, enum d1_kind kind,
                            const char *sql) {
    struct wire_http http;
    d1_wire_begin(&load->wire, false);
    d1_wire_statement(&load->wire, sql);
    d1_wire_statement_end(&load->wire);
    client->base.got = 0;
    wire_send(client->base.fd, d1_wire_end(&load->wire, kind, client->database));
    while (!receive(client, &http)) {
    }
    return http;
}

static void ask_done(struct load *load, struct client *client, const char *sql) {
    struct wire_http http = ask(load, client, D1_WRITES, sql);
    if (!d1_wire_done(&load->wire, &http)) {
        wrong(load, client);
    }
}

/* The table that the load counts in, with what it has: rows of w, or the sum of k of t. */
static uint64_t counted(struct load *load, struct client *client) {
    enum d1_op op = load->options.op;
    uint64_t numbers[2] = {0};
    struct wire_http http =
        ask(load, client, D1_READS, op == D1_UPDATE || op == D1_FILL ? D1_COUNT_T : D1_COUNT_W);
    if (!d1_wire_numbers(&load->wire, &http, numbers)) {
        wrong(load, client);
    }
    return op == D1_UPDATE ? numbers[1] : numbers[0];
}

/* What the load writes to is counted after it. */
static bool is_counted(const struct load *load) {
    enum d1_op op = load->options.op;
    bool t = op == D1_UPDATE || op == D1_FILL;
    return op >= D1_UPDATE && (!t || load->options.rows <= COUNTED_MAX);
}

static void prepare_tables(struct load *load, uint64_t before[]) {
    struct client *client = &load->clients[0];
    enum d1_op op = load->options.op;
    for (unsigned i = 0; i < load->wire.databases; i++) {
        client->database = i;
        if (op == D1_INSERT || op == D1_BATCH) {
            ask_done(load, client, D1_DROP_W);
            ask_done(load, client, D1_MAKE_W);
        } else if (op == D1_FILL) {
            ask_done(load, client, D1_DROP_T);
            ask_done(load, client, D1_MAKE_T);
        } else if (is_counted(load)) {
            before[i] = counted(load, client);
        }
    }
}

/* What was acknowledged is there, once. */
static void check_tables(struct load *load, const uint64_t before[]) {
    struct client *client = &load->clients[0];
    for (unsigned i = 0; i < load->wire.databases && is_counted(load); i++) {
        client->database = i;
        uint64_t found = counted(load, client) - before[i];
        if (found != load->acknowledged[i]) {
            fprintf(stderr, "bench_d1_load: database %u: %llu acknowledged, %llu found\n", i,
                    (unsigned long long)load->acknowledged[i], (unsigned long long)found);
            load->loop.errors++;
        }
    }
}

static void open_clients(struct load *load) {
    enum d1_op op = load->options.op;
    bool small = op == D1_READ || op == D1_UPDATE || op == D1_INSERT;
    load->clients = bnd_calloc(load->loop.options.clients, sizeof *load->clients);
    if (load->clients == NULL) {
        wire_die("set-up");
    }
    closed_loop_prepare(&load->loop);
    for (unsigned i = 0; i < load->loop.options.clients; i++) {
        struct client *client = &load->clients[i];
        client->last_ids = bnd_calloc(load->wire.databases, sizeof *client->last_ids);
        if (client->last_ids == NULL) {
            wire_die("set-up of a client");
        }
        closed_loop_open(&load->loop, &client->base, i, &load->wire.endpoints,
                         small ? 64u << 10 : ANSWER_MAX);
    }
}

/* ---- options and report ----------------------------------------------------------------------*/

static void set_option(struct load *load, const char *name, const char *value) {
    if (strcmp(name, "--rows") == 0) {
        load->options.rows = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--op") == 0) {
        load->options.op = d1_op_named(value);
    } else if (!closed_loop_option(&load->loop.options, name, value) &&
               !d1_wire_option(&load->wire, name, value)) {
        fprintf(stderr, "bench_d1_load: unknown option %s\n", name);
        exit(2);
    }
}

static void report(const struct load *load) {
    const struct closed_loop *loop = &load->loop;
    printf(
        "{\"op\": \"%s\", \"clients\": %u, \"databases\": %u, \"ops\": %llu, \"answered\": %llu, "
        "\"per_s\": %.1f, ",
        d1_op_name(load->options.op), loop->options.clients, load->wire.databases,
        (unsigned long long)load->latencies.total, (unsigned long long)loop->answered,
        closed_loop_per_s(loop, load->latencies.total));
    histogram_print(&load->latencies, "");
    closed_loop_print(loop);
}

static bool options_fit(struct load *load) {
    unsigned clients = load->loop.options.clients;
    return clients > 0 && clients <= CLOSED_LOOP_CLIENTS_MAX &&
           d1_rows_fit(load->options.op, load->options.rows) && d1_wire_prepare(&load->wire);
}

int main(int argc, char **argv) {
    static struct load load;
    static uint64_t before[D1_DATABASES_MAX];
    load.options.rows = 1000;
    load.loop = (struct closed_loop){.options = CLOSED_LOOP_DEFAULTS,
                                     .data = &load,
                                     .ask = ask_next,
                                     .readable = readable};
    for (int i = 1; i + 1 < argc; i += 2) {
        set_option(&load, argv[i], argv[i + 1]);
    }
    if (argc % 2 == 0 || !options_fit(&load)) {
        fprintf(
            stderr,
            "usage: bench_d1_load --endpoint A:P ...\n"
            "  (--binding d1:UUID ... --token T [--session TEXT] | --rqlite LEVEL [--values 1])\n"
            "  --op read|scan|sum|update|insert|batch|fill [--clients N] [--rows THOUSANDS]\n"
            "  [--seconds S] [--warmup S] [--first N]\n");
        return 2;
    }
    load.loop.fill = load.options.op == D1_FILL;
    open_clients(&load);
    prepare_tables(&load, before);
    closed_loop_run(&load.loop, load.clients, sizeof *load.clients);
    report(&load);
    check_tables(&load, before);
    return load.loop.errors == 0 ? 0 : 1;
}
