/* A closed loop of clients: each has one connection and one request in flight, nothing is
 * pipelined. The loop knows when to ask and when to stop; its owner says what is asked and what an
 * answer is. */
#ifndef BND_BENCH_CLOSED_LOOP_H
#define BND_BENCH_CLOSED_LOOP_H

#include "bench/wire.h"

#define CLOSED_LOOP_CLIENTS_MAX 4096u

struct closed_loop_options {
    unsigned first; /* the endpoint of client 0 */
    unsigned clients;
    double seconds, warmup_s;
};
#define CLOSED_LOOP_DEFAULTS                                                                       \
    (struct closed_loop_options) { .clients = 1, .seconds = 5, .warmup_s = 1 }

/* Takes --first, --clients, --seconds and --warmup; false: another option. */
bool closed_loop_option(struct closed_loop_options *options, const char *name, const char *value);
/* The state of wire_random that a client begins with. */
uint64_t closed_loop_seed(const struct closed_loop_options *options, unsigned number);

/* The first member of the owner's own kind of client. */
struct closed_loop_client {
    int fd;
    uint64_t random;
    uint64_t begun_ns; /* the request in flight */
    uint8_t *answer;   /* what there is of its answer */
    size_t got, cap;
};

struct closed_loop {
    struct closed_loop_options options;
    bool fill; /* it ends when there is nothing left to ask, not after a time */
    void *data;
    /* Sends the client's next request; false: there is none. */
    bool (*ask)(void *data, struct closed_loop_client *client);
    /* Some bytes can be received. */
    void (*readable)(void *data, struct closed_loop_client *client);
    uint64_t from_ns, until_ns; /* what is measured */
    uint64_t answered;          /* also before and after it */
    uint64_t errors;
    double cpu_s, wall_s; /* of the run */
    unsigned running;
    int epoll;
};

/* Before the first client is opened. */
void closed_loop_prepare(struct closed_loop *loop);
/* Connects; answers have at most cap bytes. */
void closed_loop_open(struct closed_loop *loop, struct closed_loop_client *client, unsigned number,
                      const struct wire_endpoints *endpoints, size_t cap);
/* Waits for some bytes and adds them to the answer. */
void closed_loop_receive(struct closed_loop_client *client);
/* The answer is there: asks again, or the client ends. */
void closed_loop_answered(struct closed_loop *loop, struct closed_loop_client *client);
/* clients: [options.clients], each of client_bytes. */
void closed_loop_run(struct closed_loop *loop, void *clients, size_t client_bytes);

/* Of `measured` answers. */
double closed_loop_per_s(const struct closed_loop *loop, uint64_t measured);
/* The end of the line of JSON: errors and seconds. */
void closed_loop_print(const struct closed_loop *loop);

#endif
