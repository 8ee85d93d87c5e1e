/* A closed loop of KV clients: each has one connection and one request in flight, nothing is
 * pipelined. HTTP (the binding protocol, as workerd speaks it) and RESP (Redis) in the same loop,
 * so that both are asked by the same client. Every answer is checked: a GET must bring the bytes
 * that were put, a list its thousand keys, a WAIT one replica at least.
 *
 * Prints one line of JSON: operations, rate, latencies, errors, CPU seconds of its own. Exit status
 * 1 if any request failed. */
#include "bench/histogram.h"
#include "bench/kv_wire.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CLIENTS_MAX 4096u
#define ANSWER_MAX (256u << 10)

enum op { OP_GET, OP_PUT, OP_MIX, OP_LIST, OP_FILL /* each key once */ };
static const char *const op_names[] = {"get", "put", "mix", "list", "fill"};

/* Of a Redis SET: none; WAIT as a request of its own; both in one write. */
enum waiting { WAIT_NONE, WAIT_AFTER, WAIT_TOGETHER };
static const char *const waiting_names[] = {"none", "after", "together"};

struct options {
    unsigned first; /* the endpoint of client 0 */
    unsigned clients, keys;
    size_t bytes_min, bytes_max;
    double seconds, warmup_s;
    double put_share;  /* of a mix */
    double zipf_theta; /* 0: every key as often as the others */
    enum op op;
    enum waiting waiting;
    const char *fixed; /* the one value that a GET brings, whatever the key */
};

enum call { CALL_GET, CALL_PUT, CALL_LIST, CALLS };

struct client {
    int fd;
    enum call call;
    unsigned key;
    unsigned answers; /* that are expected still */
    bool wait_sent;
    uint64_t random;
    uint64_t begun_ns;
    uint8_t *answer;
    size_t got;
};

struct load {
    struct options options;
    struct kv_wire wire;
    struct kv_values values;
    struct kv_zipf zipf;
    struct client *clients;
    struct histogram latencies[CALLS];
    struct histogram all;
    struct bnd_buf request;     /* that is being sent */
    uint64_t from_ns, until_ns; /* what is measured */
    uint64_t answered;          /* also before and after it */
    uint64_t errors;
    unsigned next_key;
    unsigned running;
    int epoll;
};

/* ---- requests --------------------------------------------------------------------------------*/

static void draw_key(struct load *load, struct client *client) {
    const struct options *o = &load->options;
    if (o->op == OP_FILL) {
        client->key = load->next_key++;
    } else if (o->zipf_theta > 0) {
        client->key = (unsigned)kv_zipf_draw(&load->zipf, &client->random);
    } else {
        client->key = (unsigned)(wire_random(&client->random) % o->keys);
    }
}

static enum call draw_call(const struct options *o, struct client *client) {
    switch (o->op) {
    case OP_GET:
        return CALL_GET;
    case OP_LIST:
        return CALL_LIST;
    case OP_MIX:
        return (double)(wire_random(&client->random) >> 11) < o->put_share * 0x1p53 ? CALL_PUT
                                                                                    : CALL_GET;
    default:
        return CALL_PUT;
    }
}

static void send_request(struct load *load, struct client *client) {
    bnd_buf_reset(&load->request);
    switch (client->call) {
    case CALL_LIST:
        client->key -= client->key % KV_LIST_KEYS;
        kv_wire_list(&load->wire, &load->request, client->key / KV_LIST_KEYS);
        break;
    case CALL_PUT:
        kv_wire_put(&load->wire, &load->request, client->key,
                    kv_values_of(&load->values, client->key));
        break;
    default:
        kv_wire_get(&load->wire, &load->request, client->key);
    }
    client->answers = 1;
    client->wait_sent = client->call != CALL_PUT || load->options.waiting == WAIT_NONE;
    if (!client->wait_sent && load->options.waiting == WAIT_TOGETHER) {
        kv_wire_wait(&load->request);
        client->wait_sent = true;
        client->answers = 2;
    }
    if (load->request.failed) {
        wire_die("memory");
    }
    wire_send(client->fd, bnd_buf_slice(&load->request));
}

static void begin(struct load *load, struct client *client) {
    const struct options *o = &load->options;
    uint64_t now = wire_now_ns();
    if (o->op == OP_FILL ? load->next_key == o->keys : now >= load->until_ns) {
        load->running--;
        return;
    }
    draw_key(load, client);
    client->call = draw_call(o, client);
    client->begun_ns = now;
    client->got = 0;
    send_request(load, client);
}

/* ---- answers ---------------------------------------------------------------------------------*/

static bool answer_right(const struct load *load, const struct client *client,
                         const struct kv_answer *answer) {
    if (!answer->ok || answer->number == 0) { /* no replica has it */
        return false;
    }
    if (client->call == CALL_LIST) {
        return kv_wire_list_right(&load->wire, answer->body, client->key / KV_LIST_KEYS);
    }
    return client->call != CALL_GET ||
           (answer->found &&
            bnd_slice_eq(answer->body, load->options.fixed != NULL
                                           ? bnd_slice_str(load->options.fixed)
                                           : kv_values_of(&load->values, client->key)));
}

static void wrong(struct load *load, const struct client *client) {
    if (load->errors++ == 0) {
        fprintf(stderr, "bench_kv_load: key %u: %.*s\n", client->key,
                (int)(client->got < 600 ? client->got : 600), client->answer);
    }
}

/* The whole answer of a request is there. */
static void complete(struct load *load, struct client *client) {
    uint64_t now = wire_now_ns();
    load->answered++;
    if (client->begun_ns >= load->from_ns && now <= load->until_ns) {
        histogram_add(&load->latencies[client->call], (now - client->begun_ns) / 1000);
        histogram_add(&load->all, (now - client->begun_ns) / 1000);
    }
    begin(load, client);
}

static void receive(struct load *load, struct client *client) {
    ssize_t n = recv(client->fd, client->answer + client->got, ANSWER_MAX - client->got, 0);
    if (n <= 0) {
        errno = n == 0 ? ECONNRESET : errno;
        wire_die("connection lost");
    }
    client->got += (size_t)n;
    while (client->answers > 0) {
        struct kv_answer answer;
        size_t len = kv_wire_answer(&load->wire, client->answer, client->got, &answer);
        if (len == 0) {
            return;
        }
        if (!answer_right(load, client, &answer)) {
            wrong(load, client);
        }
        client->answers--;
        client->got -= len;
        memmove(client->answer, client->answer + len, client->got);
    }
    if (!client->wait_sent) {
        bnd_buf_reset(&load->request);
        kv_wire_wait(&load->request);
        wire_send(client->fd, bnd_buf_slice(&load->request));
        client->wait_sent = true;
        client->answers = 1;
        return;
    }
    complete(load, client);
}

/* ---- the loop --------------------------------------------------------------------------------*/

static void open_client(struct load *load, unsigned number) {
    const struct options *o = &load->options;
    struct client *client = &load->clients[number];
    client->random = (number + 1) * UINT64_C(0x9E3779B97F4A7C15) + o->first;
    client->answer = bnd_alloc(ANSWER_MAX);
    client->fd =
        wire_connect(&load->wire.endpoints, (o->first + number) % load->wire.endpoints.count);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (client->answer == NULL || epoll_ctl(load->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        wire_die("set-up of a client");
    }
}

static void run(struct load *load) {
    const struct options *o = &load->options;
    load->clients = bnd_calloc(o->clients, sizeof *load->clients);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->clients == NULL || load->epoll < 0) {
        wire_die("set-up");
    }
    for (unsigned i = 0; i < o->clients; i++) {
        open_client(load, i);
    }
    load->from_ns = wire_now_ns() + (uint64_t)(o->warmup_s * 1e9);
    load->until_ns = o->op == OP_FILL ? UINT64_MAX : load->from_ns + (uint64_t)(o->seconds * 1e9);
    load->running = o->clients;
    for (unsigned i = 0; i < o->clients; i++) {
        begin(load, &load->clients[i]);
    }
    while (load->running > 0) {
        struct epoll_event events[256];
        int count = epoll_wait(load->epoll, events, 256, 20000);
        if (count < 0 && errno != EINTR) {
            wire_die("epoll_wait");
        }
        if (count == 0) {
            errno = ETIMEDOUT;
            wire_die("no answer within 20 s");
        }
        for (int i = 0; i < count; i++) {
            receive(load, events[i].data.ptr);
        }
    }
}

/* ---- options and report ----------------------------------------------------------------------*/

static int index_of(const char *const *names, size_t count, const char *value) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], value) == 0) {
            return (int)i;
        }
    }
    fprintf(stderr, "bench_kv_load: there is no %s\n", value);
    exit(2);
}

static void set_option(struct load *load, const char *name, const char *value) {
    struct options *o = &load->options;
#define IS(text) (strcmp(name, "--" text) == 0)
    if (IS("first")) {
        o->first = (unsigned)atoi(value);
    } else if (IS("clients")) {
        o->clients = (unsigned)atoi(value);
    } else if (IS("keys")) {
        o->keys = (unsigned)atoi(value);
    } else if (IS("bytes")) { /* MIN or MIN:MAX */
        const char *colon = strchr(value, ':');
        o->bytes_min = (size_t)atol(value);
        o->bytes_max = colon == NULL ? o->bytes_min : (size_t)atol(colon + 1);
    } else if (IS("seconds")) {
        o->seconds = atof(value);
    } else if (IS("warmup")) {
        o->warmup_s = atof(value);
    } else if (IS("put-share")) {
        o->put_share = atof(value);
    } else if (IS("zipf")) {
        o->zipf_theta = atof(value);
    } else if (IS("fixed")) {
        o->fixed = value;
    } else if (IS("op")) {
        o->op = (enum op)index_of(op_names, sizeof op_names / sizeof *op_names, value);
    } else if (IS("wait")) {
        o->waiting = (enum waiting)index_of(waiting_names,
                                            sizeof waiting_names / sizeof *waiting_names, value);
    } else if (!kv_wire_option(&load->wire, name, value)) {
        fprintf(stderr, "bench_kv_load: unknown option %s\n", name);
        exit(2);
    }
#undef IS
}

static void report(const struct load *load, double wall, double cpu) {
    const struct options *o = &load->options;
    printf("{\"op\": \"%s\", \"clients\": %u, \"ops\": %llu, \"answered\": %llu, \"per_s\": %.1f, ",
           op_names[o->op], o->clients, (unsigned long long)load->all.total,
           (unsigned long long)load->answered,
           (double)load->all.total / (o->op == OP_FILL ? wall : o->seconds));
    histogram_print(&load->all, "");
    histogram_print(&load->latencies[CALL_GET], "get_");
    histogram_print(&load->latencies[CALL_PUT], "put_");
    printf("\"errors\": %llu, \"cpu_s\": %.3f, \"wall_s\": %.3f}\n",
           (unsigned long long)load->errors, cpu, wall);
}

static bool options_fit(struct load *load) {
    const struct options *o = &load->options;
    return o->clients > 0 && o->clients <= CLIENTS_MAX && o->keys > 0 && o->bytes_min > 0 &&
           o->bytes_min <= o->bytes_max && o->bytes_max < ANSWER_MAX / 2 &&
           (o->op != OP_LIST || (!load->wire.redis && o->keys % KV_LIST_KEYS == 0)) &&
           (o->waiting == WAIT_NONE || load->wire.redis) && kv_wire_prepare(&load->wire);
}

int main(int argc, char **argv) {
    static struct load load;
    struct options *o = &load.options;
    *o = (struct options){.clients = 1,
                          .keys = 1000,
                          .bytes_min = 64,
                          .bytes_max = 64,
                          .seconds = 5,
                          .warmup_s = 1,
                          .put_share = 0.05};
    for (int i = 1; i + 1 < argc; i += 2) {
        set_option(&load, argv[i], argv[i + 1]);
    }
    if (argc % 2 == 0 || !options_fit(&load)) {
        fprintf(stderr,
                "usage: bench_kv_load --endpoint A:P ... (--binding kv:ID --token T | --redis 1)\n"
                "  --op get|put|mix|list|fill [--clients N] [--keys N] [--bytes MIN[:MAX]]\n"
                "  [--seconds S] [--warmup S] [--put-share P] [--zipf THETA] [--first N]\n"
                "  [--wait none|after|together] [--fixed TEXT] [--key-base N]\n");
        return 2;
    }
    kv_values_make(&load.values, o->keys, o->bytes_min, o->bytes_max);
    if (o->zipf_theta > 0) {
        kv_zipf_make(&load.zipf, o->keys, o->zipf_theta);
    }
    double cpu = wire_cpu_seconds();
    uint64_t begun = wire_now_ns();
    run(&load);
    report(&load, (double)(wire_now_ns() - begun) / 1e9, wire_cpu_seconds() - cpu);
    return load.errors == 0 ? 0 : 1;
}
