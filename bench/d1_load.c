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
#include "bench/d1_wire.h"
#include "bench/histogram.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 4096u
#define ANSWER_MAX (2u << 20)
#define COUNTED_MAX                                                                                \
    1000000u /* rows that are counted before and after: a longer sum may be cut off */

struct options {
    unsigned first; /* the endpoint of client 0 */
    unsigned clients;
    uint64_t rows; /* of t in each database */
    double seconds, warmup_s;
    enum d1_op op;
};

struct client {
    int fd;
    unsigned database, turn;
    uint64_t id; /* what the request is about */
    uint64_t random;
    uint64_t begun_ns;
    uint64_t *last_ids; /* of each database; of one client they rise */
    uint8_t *answer;
    size_t got, cap;
};

struct load {
    struct options options;
    struct d1_wire wire;
    struct bnd_buf insert_many; /* statement of a batch with --values */
    struct client *clients;
    struct histogram latencies;
    uint64_t from_ns, until_ns; /* answers between them are measured */
    uint64_t answered;          /* also before and after it */
    uint64_t errors;
    uint64_t next_batch;                     /* of a fill */
    uint64_t acknowledged[D1_DATABASES_MAX]; /* rows written */
    unsigned running;
    int epoll;
};

/* ---- requests --------------------------------------------------------------------------------*/

static uint64_t draw_id(const struct options *o, struct client *client) {
    uint64_t most = o->rows;
    most -= o->op == D1_SCAN ? D1_SCAN_ROWS - 1 : o->op == D1_SUM ? D1_SUM_ROWS - 1 : 0;
    return 1 + wire_random(&client->random) % most;
}

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
    const char *sql = fill ? D1_FILL_ROW : D1_INSERT_ROW;
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
    static const char *const sql[] = {[D1_READ] = D1_READ_ROW,
                                      [D1_SCAN] = D1_SCAN_T,
                                      [D1_SUM] = D1_SUM_T,
                                      [D1_UPDATE] = D1_UPDATE_ROW,
                                      [D1_INSERT] = D1_INSERT_ROW};
    struct d1_wire *wire = &load->wire;
    enum d1_op op = load->options.op;
    if (op == D1_FILL) {
        return batch(load, client);
    }
    client->id = draw_id(&load->options, client);
    if (op == D1_BATCH) {
        return batch(load, client);
    }
    d1_wire_begin(wire, false);
    d1_wire_statement(wire, sql[op]);
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
    unsigned number = (unsigned)(client - load->clients), clients = load->options.clients;
    unsigned databases = load->wire.databases;
    unsigned mine = number < databases ? (databases - 1 - number) / clients + 1 : 1;
    client->database = (number + clients * (client->turn++ % mine)) % databases;
}

static void begin(struct load *load, struct client *client) {
    uint64_t now = wire_now_ns();
    if (load->options.op == D1_FILL ? !next_batch(load, client) : now >= load->until_ns) {
        load->running--;
        return;
    }
    if (load->options.op != D1_FILL) {
        next_database(load, client);
    }
    client->begun_ns = now;
    client->got = 0;
    wire_send(client->fd, request_of(load, client));
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
    if (load->errors++ == 0) {
        fprintf(stderr, "bench_d1_load: wrong answer: %.*s\n",
                (int)(client->got < 1000 ? client->got : 1000), client->answer);
    }
}

/* The whole answer of a request is there. */
static void complete(struct load *load, struct client *client, const struct wire_http *http) {
    uint64_t now = wire_now_ns();
    enum d1_op op = load->options.op;
    load->answered++;
    if (!answer_right(load, client, http)) {
        wrong(load, client);
    } else {
        load->acknowledged[client->database] += op >= D1_BATCH ? D1_BATCH_ROWS : 1;
        if (now >= load->from_ns && now <= load->until_ns) {
            histogram_add(&load->latencies, (now - client->begun_ns) / 1000);
        }
    }
    begin(load, client);
}

/* True when a whole answer is there. */
static bool receive(struct client *client, struct wire_http *http) {
    if (client->got == client->cap) {
        errno = EMSGSIZE;
        wire_die("answer");
    }
    ssize_t n = recv(client->fd, client->answer + client->got, client->cap - client->got, 0);
    if (n <= 0) {
        errno = n == 0 ? ECONNRESET : errno;
        wire_die("connection lost");
    }
    client->got += (size_t)n;
    return wire_http_answer(client->answer, client->got, http) > 0;
}

/* ---- before and after ------------------------------------------------------------------------*/

/* Asks one statement without parameters and waits. Good until the next call. */
static struct wire_http ask(struct load *load, struct client *client, enum d1_kind kind,
                            const char *sql) {
    struct wire_http http;
    d1_wire_begin(&load->wire, false);
    d1_wire_statement(&load->wire, sql);
    d1_wire_statement_end(&load->wire);
    client->got = 0;
    wire_send(client->fd, d1_wire_end(&load->wire, kind, client->database));
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
            load->errors++;
        }
    }
}

/* ---- the loop --------------------------------------------------------------------------------*/

static void open_client(struct load *load, unsigned number) {
    const struct options *o = &load->options;
    struct client *client = &load->clients[number];
    client->random = (number + 1) * UINT64_C(0x9E3779B97F4A7C15) + o->first;
    client->cap =
        o->op == D1_READ || o->op == D1_UPDATE || o->op == D1_INSERT ? 64u << 10 : ANSWER_MAX;
    client->answer = bnd_alloc(client->cap);
    client->last_ids = bnd_calloc(load->wire.databases, sizeof *client->last_ids);
    client->fd =
        wire_connect(&load->wire.endpoints, (o->first + number) % load->wire.endpoints.count);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (client->answer == NULL || client->last_ids == NULL ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        wire_die("set-up of a client");
    }
}

static void open_clients(struct load *load) {
    load->clients = bnd_calloc(load->options.clients, sizeof *load->clients);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->clients == NULL || load->epoll < 0) {
        wire_die("set-up");
    }
    for (unsigned i = 0; i < load->options.clients; i++) {
        open_client(load, i);
    }
}

static void run(struct load *load) {
    const struct options *o = &load->options;
    load->from_ns = wire_now_ns() + (o->op == D1_FILL ? 0 : (uint64_t)(o->warmup_s * 1e9));
    load->until_ns = o->op == D1_FILL ? UINT64_MAX : load->from_ns + (uint64_t)(o->seconds * 1e9);
    load->running = o->clients;
    for (unsigned i = 0; i < o->clients; i++) {
        begin(load, &load->clients[i]);
    }
    while (load->running > 0) {
        struct epoll_event events[256];
        int count = epoll_wait(load->epoll, events, 256, 60000);
        if (count < 0 && errno != EINTR) {
            wire_die("epoll_wait");
        }
        if (count == 0) {
            errno = ETIMEDOUT;
            wire_die("no answer within 60 s");
        }
        for (int i = 0; i < count; i++) {
            struct wire_http http;
            if (receive(events[i].data.ptr, &http)) {
                complete(load, events[i].data.ptr, &http);
            }
        }
    }
}

/* ---- options and report ----------------------------------------------------------------------*/

static void set_option(struct load *load, const char *name, const char *value) {
    struct options *o = &load->options;
#define IS(text) (strcmp(name, "--" text) == 0)
    if (IS("first")) {
        o->first = (unsigned)atoi(value);
    } else if (IS("clients")) {
        o->clients = (unsigned)atoi(value);
    } else if (IS("rows")) {
        o->rows = strtoull(value, NULL, 10);
    } else if (IS("seconds")) {
        o->seconds = atof(value);
    } else if (IS("warmup")) {
        o->warmup_s = atof(value);
    } else if (IS("op")) {
        o->op = d1_op_named(value);
    } else if (!d1_wire_option(&load->wire, name, value)) {
        fprintf(stderr, "bench_d1_load: unknown option %s\n", name);
        exit(2);
    }
#undef IS
}

static void report(const struct load *load, double wall, double cpu) {
    const struct options *o = &load->options;
    printf(
        "{\"op\": \"%s\", \"clients\": %u, \"databases\": %u, \"ops\": %llu, \"answered\": %llu, "
        "\"per_s\": %.1f, ",
        d1_op_name(o->op), o->clients, load->wire.databases,
        (unsigned long long)load->latencies.total, (unsigned long long)load->answered,
        (double)load->latencies.total / (o->op == D1_FILL ? wall : o->seconds));
    histogram_print(&load->latencies, "");
    printf("\"errors\": %llu, \"cpu_s\": %.3f, \"wall_s\": %.3f}\n",
           (unsigned long long)load->errors, cpu, wall);
}

static bool options_fit(struct load *load) {
    const struct options *o = &load->options;
    uint64_t least = o->op == D1_SUM ? D1_SUM_ROWS : D1_BATCH_ROWS;
    return o->clients > 0 && o->clients <= CLIENTS_MAX && o->rows >= least &&
           o->rows % D1_BATCH_ROWS == 0 && d1_wire_prepare(&load->wire);
}

int main(int argc, char **argv) {
    static struct load load;
    static uint64_t before[D1_DATABASES_MAX];
    load.options = (struct options){.clients = 1, .rows = 1000, .seconds = 5, .warmup_s = 1};
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
    open_clients(&load);
    prepare_tables(&load, before);
    double cpu = wire_cpu_seconds();
    uint64_t begun = wire_now_ns();
    run(&load);
    double wall = (double)(wire_now_ns() - begun) / 1e9;
    report(&load, wall, wire_cpu_seconds() - cpu);
    check_tables(&load, before);
    return load.errors == 0 ? 0 : 1;
}
