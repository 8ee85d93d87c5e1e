/* How long until a write at one node is seen at the others: writes a value that was never there at
 * one endpoint and asks the others for the key, each in a closed loop of its own from the moment
 * the write is sent, until they bring it. The endpoints take turns to write.
 *
 * Prints one line of JSON: for every pair of writer and reader, the time from the write's
 * acknowledgement (0 if it was seen before) and from its sending. Exit status 1 if an answer was
 * wrong. */
#include "bench/histogram.h"
#include "bench/kv_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VALUE_BYTES 64u
#define ANSWER_MAX 4096u
#define SEEN_WITHIN_MS 60000

struct options {
    unsigned samples;
    unsigned writers; /* of the endpoints, the first ones; 0: all */
    unsigned keys;
    unsigned pause_us; /* between two samples */
};

struct connection {
    bool done; /* with this sample */
    uint64_t done_ns;
    size_t got;
    uint8_t answer[ANSWER_MAX];
};

struct converge {
    struct options options;
    struct kv_wire wire;
    struct pollfd fds[WIRE_ENDPOINTS_MAX];
    struct connection connections[WIRE_ENDPOINTS_MAX];
    struct bnd_buf request;
    struct histogram from_ack, from_send;
    uint64_t polls;
};

static void send_request(struct converge *converge, unsigned endpoint) {
    if (converge->request.failed) {
        wire_die("memory");
    }
    converge->connections[endpoint].got = 0;
    wire_send(converge->fds[endpoint].fd, bnd_buf_slice(&converge->request));
    bnd_buf_reset(&converge->request);
}

static void ask(struct converge *converge, unsigned endpoint, unsigned key) {
    kv_wire_get(&converge->wire, &converge->request, key);
    send_request(converge, endpoint);
    converge->polls++;
}

/* A whole answer, or what there is of it. */
static bool receive(struct converge *converge, unsigned endpoint, struct kv_answer *answer) {
    struct connection *connection = &converge->connections[endpoint];
    ssize_t n = recv(converge->fds[endpoint].fd, connection->answer + connection->got,
                     ANSWER_MAX - connection->got, 0);
    if (n <= 0) {
        errno = n == 0 ? ECONNRESET : errno;
        wire_die("connection lost");
    }
    connection->got += (size_t)n;
    if (kv_wire_answer(&converge->wire, connection->answer, connection->got, answer) == 0) {
        return false;
    }
    if (!answer->ok) {
        fprintf(stderr, "bench_kv_converge: %.*s\n", (int)connection->got, connection->answer);
        exit(1);
    }
    return true;
}

/* Until the writer is answered and every reader has brought the value. */
static void await_all(struct converge *converge, unsigned writer, unsigned key,
                      struct bnd_slice value) {
    unsigned left = converge->wire.endpoints.count;
    while (left > 0) {
        struct kv_answer answer;
        if (poll(converge->fds, converge->wire.endpoints.count, SEEN_WITHIN_MS) <= 0) {
            errno = ETIMEDOUT;
            wire_die("no answer");
        }
        for (unsigned i = 0; i < converge->wire.endpoints.count; i++) {
            struct connection *connection = &converge->connections[i];
            if (converge->fds[i].revents == 0 || !receive(converge, i, &answer)) {
                continue;
            }
            connection->done = i == writer || (answer.found && bnd_slice_eq(answer.body, value));
            connection->done_ns = wire_now_ns();
            left -= connection->done;
            if (!connection->done) {
                ask(converge, i, key);
            }
        }
    }
}

static void sample(struct converge *converge, unsigned number) {
    const struct options *o = &converge->options;
    unsigned writer = number % (o->writers > 0 ? o->writers : converge->wire.endpoints.count);
    unsigned key = number % o->keys;
    char value[VALUE_BYTES + 1];
    snprintf(value, sizeof value, "%032u%032lu", number, (unsigned long)getpid());
    uint64_t begun = wire_now_ns();
    kv_wire_put(&converge->wire, &converge->request, key, bnd_slice(value, VALUE_BYTES));
    send_request(converge, writer);
    for (unsigned i = 0; i < converge->wire.endpoints.count; i++) {
        if (i != writer) {
            ask(converge, i, key);
        }
    }
    await_all(converge, writer, key, bnd_slice(value, VALUE_BYTES));
    uint64_t acked = converge->connections[writer].done_ns;
    for (unsigned i = 0; i < converge->wire.endpoints.count; i++) {
        uint64_t seen = converge->connections[i].done_ns;
        if (i != writer) {
            histogram_add(&converge->from_ack, seen > acked ? (seen - acked) / 1000 : 0);
            histogram_add(&converge->from_send, (seen - begun) / 1000);
        }
    }
}

static void set_option(struct converge *converge, const char *name, const char *value) {
    struct options *o = &converge->options;
    unsigned *number = strcmp(name, "--samples") == 0    ? &o->samples
                       : strcmp(name, "--writers") == 0  ? &o->writers
                       : strcmp(name, "--keys") == 0     ? &o->keys
                       : strcmp(name, "--pause-us") == 0 ? &o->pause_us
                                                         : NULL;
    if (number != NULL) {
        *number = (unsigned)atoi(value);
    } else if (!kv_wire_option(&converge->wire, name, value)) {
        fprintf(stderr, "bench_kv_converge: unknown option %s\n", name);
        exit(2);
    }
}

int main(int argc, char **argv) {
    static struct converge converge;
    struct options *o = &converge.options;
    *o = (struct options){.samples = 1000, .keys = 1000};
    for (int i = 1; i + 1 < argc; i += 2) {
        set_option(&converge, argv[i], argv[i + 1]);
    }
    if (argc % 2 == 0 || !kv_wire_prepare(&converge.wire) || converge.wire.endpoints.count < 2 ||
        o->keys == 0 || o->writers > converge.wire.endpoints.count) {
        fprintf(stderr, "usage: bench_kv_converge --endpoint A:P --endpoint A:P ...\n"
                        "  (--binding kv:ID --token T | --redis 1) [--samples N] [--writers N]\n"
                        "  [--key-base N] [--keys N] [--pause-us N]\n");
        return 2;
    }
    for (unsigned i = 0; i < converge.wire.endpoints.count; i++) {
        converge.fds[i] =
            (struct pollfd){.fd = wire_connect(&converge.wire.endpoints, i), .events = POLLIN};
    }
    uint64_t begun = wire_now_ns();
    for (unsigned number = 0; number < o->samples; number++) {
        sample(&converge, number);
        usleep(o->pause_us);
    }
    printf("{\"samples\": %u, \"pairs\": %llu, \"polls\": %llu, ", o->samples,
           (unsigned long long)converge.from_ack.total, (unsigned long long)converge.polls);
    histogram_print(&converge.from_ack, "ack_");
    histogram_print(&converge.from_send, "send_");
    printf("\"cpu_s\": %.3f, \"wall_s\": %.3f}\n", wire_cpu_seconds(),
           (double)(wire_now_ns() - begun) / 1e9);
    return 0;
}
