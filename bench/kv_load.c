/* A closed loop of KV clients: each has one connection and one request in flight, nothing is
 * pipelined. HTTP (the binding protocol, as workerd speaks it) and RESP (Redis) in the same loop,
 * so that both are asked by the same client. Every answer is checked: a GET must bring the bytes
 * that were put, a list its thousand keys, a WAIT one replica at least.
 *
 * Prints one line of JSON: operations, rate, latencies, errors, CPU seconds of its own. Exit status
 * 1 if any request failed. */
#include "bench/closed_loop.h"
#include "bench/histogram.h"
#include "bench/kv_wire.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (256u << 10)

enum op { OP_GET, OP_PUT, OP_MIX, OP_LIST, OP_FILL /* each key once */ };
static const char *const op_names[] = {"get", "put", "mix", "list", "fill"};

/* Of a Redis SET: none; WAIT as a request of its own; both in one write. */
enum waiting { WAIT_NONE, WAIT_AFTER, WAIT_TOGETHER };
static const char *const waiting_names[] = {"none", "after", "together"};

struct options {
    unsigned keys;
    size_t bytes_min, bytes_max;
    double put_share;  /* of a mix */
    double zipf_theta; /* 0: every key as often as the others */
    enum op op;
    enum waiting waiting;
    const char *fixed; /* the one value that a GET brings, whatever the key */
};

enum call { CALL_GET, CALL_PUT, CALL_LIST, CALLS };

struct client {
    struct closed_loop_client base;
    enum call call;
    unsigned key;
    unsigned answers; /* that are expected still */
    bool wait_sent;
};

struct load {
    struct options options;
    struct closed_loop loop;
    struct kv_wire wire;
    struct kv_values values;
    struct kv_zipf zipf;
    struct client *clients;
    struct histogram latencies[CALLS];
    struct histogram all;
    struct bnd_buf request; /* that is being sent */
    unsigned next_key;
};

/* ---- requests --------------------------------------------------------------------------------*/

static void draw_key(struct load *load, struct client *client) {
    const struct options *o = &load->options;
    if (o->op == OP_FILL) {
        client->key = load->next_key++;
    } else if (o->zipf_theta > 0) {
        client->key = (unsigned)kv_zipf_draw(&load->zipf, &client->base.random);
    } else {
        client->key = (unsigned)(wire_random(&client->base.random) % o->keys);
    }
}

static enum call draw_call(const struct options *o, struct client *client) {
    switch (o->op) {
    case OP_GET:
        return CALL_GET;
    case OP_LIST:
        return CALL_LIST;
    case OP_MIX:
        return (double)(wire_random(&client->base.random) >> 11) < o->put_share * 0x1p53
                   ? CALL_PUT
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
    wire_send(client->base.fd, bnd_buf_slice(&load->request));
}

static bool ask_next(void *data, struct closed_loop_client *base) {
    struct load *load = data;
    struct client *client = (struct client *)base;
    if (load->loop.fill && load->next_key == load->options.keys) {
        return false;
    }
    draw_key(load, client);
    client->call = draw_call(&load->options, client);
    send_request(load, client);
    return true;
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
    const struct closed_loop_client *base = &client->base;
    if (load->loop.errors++ == 0) {
        fprintf(stderr, "bench_kv_load: key %u: %.*s\n", client->key,
                (int)(base->got < 600 ? base->got : 600), base->answer);
    }
}

/* The whole answer of a request is there. */
static void complete(struct load *load, struct client *client) {
    const struct closed_loop *loop = &load->loop;
    uint64_t begun = client->base.begun_ns, now = wire_now_ns();
    if (begun >= loop->from_ns && now <= loop->until_ns) {
        histogram_add(&load->latencies[client->call], (now - begun) / 1000);
        histogram_add(&load->all, (now - begun) / 1000);
    }
    closed_loop_answered(&load->loop, &client->base);
}

static void readable(void *data, struct closed_loop_client *base) {
    struct load *load = data;
    struct client *client = (struct client *)base;
    closed_loop_receive(base);
    while (client->answers > 0) {
        struct kv_answer answer;
        size_t len = kv_wire_answer(&load->wire, base->answer, base->got, &answer);
        if (len == 0) {
            return;
        }
        if (!answer_right(load, client, &answer)) {
            wrong(load, client);
        }
        client->answers--;
        base->got -= len;
        memmove(base->answer, base->answer + len, base->got);
    }
    if (!client->wait_sent) {
        bnd_buf_reset(&load->request);
        kv_wire_wait(&load->request);
        wire_send(base->fd, bnd_buf_slice(&load->request));
        client->wait_sent = true;
        client->answers = 1;
        return;
    }
    complete(load, client);
}

static void open_clients(struct load *load) {
    unsigned clients = load->loop.options.clients;
    load->clients = bnd_calloc(clients, sizeof *load->clients);
    if (load->clients == NULL) {
        wire_die("set-up");
    }
    closed_loop_prepare(&load->loop);
    for (unsigned i = 0; i < clients; i++) {
        closed_loop_open(&load->loop, &load->clients[i].base, i, &load->wire.endpoints, ANSWER_MAX);
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
    if (IS("keys")) {
        o->keys = (unsigned)atoi(value);
    } else if (IS("bytes")) { /* MIN or MIN:MAX */
        const char *colon = strchr(value, ':');
        o->bytes_min = (size_t)atol(value);
        o->bytes_max = colon == NULL ? o->bytes_min : (size_t)atol(colon + 1);
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
    } else if (!closed_loop_option(&load->loop.options, name, value) &&
               !kv_wire_option(&load->wire, name, value)) {
        fprintf(stderr, "bench_kv_load: unknown option %s\n", name);
        exit(2);
    }
#undef IS
}

static void report(const struct load *load) {
    const struct closed_loop *loop = &load->loop;
    printf("{\"op\": \"%s\", \"clients\": %u, \"ops\": %llu, \"answered\": %llu, \"per_s\": %.1f, ",
           op_names[load->options.op], loop->options.clients, (unsigned long long)load->all.total,
           (unsigned long long)loop->answered, closed_loop_per_s(loop, load->all.total));
    histogram_print(&load->all, "");
    histogram_print(&load->latencies[CALL_GET], "get_");
    histogram_print(&load->latencies[CALL_PUT], "put_");
    closed_loop_print(loop);
}

static bool options_fit(struct load *load) {
    const struct options *o = &load->options;
    unsigned clients = load->loop.options.clients;
    return clients > 0 && clients <= CLOSED_LOOP_CLIENTS_MAX && o->keys > 0 && o->bytes_min > 0 &&
           o->bytes_min <= o->bytes_max && o->bytes_max < ANSWER_MAX / 2 &&
           (o->op != OP_LIST || (!load->wire.redis && o->keys % KV_LIST_KEYS == 0)) &&
           (o->waiting == WAIT_NONE || load->wire.redis) && kv_wire_prepare(&load->wire);
}

int main(int argc, char **argv) {
    static struct load load;
    struct options *o = &load.options;
    *o = (struct options){.keys = 1000, .bytes_min = 64, .bytes_max = 64, .put_share = 0.05};
    load.loop = (struct closed_loop){.options = CLOSED_LOOP_DEFAULTS,
                                     .data = &load,
                                     .ask = ask_next,
                                     .readable = readable};
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
    load.loop.fill = o->op == OP_FILL;
    open_clients(&load);
    closed_loop_run(&load.loop, load.clients, sizeof *load.clients);
    report(&load);
    return load.loop.errors == 0 ? 0 : 1;
}
