/* Open-loop load: requests are sent at a given rate whatever comes back, as the public does. Each
 * takes an idle keep-alive connection or opens one; where none may be opened the arrival is counted
 * as not sent. What is asked is given as lines "METHOD TARGET" (presigned targets of S3), visited
 * in turn; every PUT has the same body.
 *
 * Prints one line of JSON: what was offered and sent, answers by status, connections lost,
 * latencies of the answers 200. */
#include "bench/histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ENDPOINTS_MAX 8
#define CONNECTIONS_MAX 60000
#define ANSWER_MAX 8192
#define TIMEOUT_NS UINT64_C(40000000000)

enum state { FREE, CONNECTING, SENDING, WAITING, IDLE };

struct connection {
    enum state state;
    int fd;
    unsigned endpoint;
    unsigned next; /* in the list of idle or free ones */
    const char *request;
    size_t len, sent, got, expected;
    uint64_t since_ns;
    char answer[ANSWER_MAX + 1];
};

struct endpoint {
    struct sockaddr_in address;
    char host[64];
    char **requests;
    size_t *lens;
    unsigned idle; /* first idle connection + 1; 0: none */
};

struct load {
    struct endpoint endpoints[ENDPOINTS_MAX];
    unsigned endpoints_count;
    char **targets;
    unsigned targets_count;
    double rate, seconds;
    unsigned most;
    size_t bytes;
    struct connection *connections;
    unsigned opened; /* connections that were ever used */
    unsigned free;   /* first free one + 1 */
    unsigned under_way;
    int epoll;
    uint64_t offered, sent, not_sent, lost, statuses[600];
    struct histogram latencies;
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

_Noreturn static void die(const char *what) {
    fprintf(stderr, "bench_open_loop: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- requests ---------------------------------------------------------------------------------*/

static void read_targets(struct load *load, const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len = 0;
    if (file == NULL) {
        die(path);
    }
    while ((len = getline(&line, &cap, file)) > 1) {
        line[len - 1] = 0;
        load->targets = realloc(load->targets, (load->targets_count + 1) * sizeof(char *));
        load->targets[load->targets_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

/* The Host header is signed, so each endpoint has targets of its own: "HOST METHOD TARGET". */
static void prepare(struct load *load, struct endpoint *endpoint) {
    unsigned count = 0;
    endpoint->requests = calloc(load->targets_count, sizeof(char *));
    endpoint->lens = calloc(load->targets_count, sizeof(size_t));
    for (unsigned i = 0; i < load->targets_count; i++) {
        char host[64];
        char method[16];
        int at = 0;
        if (sscanf(load->targets[i], "%63s %15s %n", host, method, &at) != 2 ||
            strcmp(host, endpoint->host) != 0) {
            continue;
        }
        bool put = strcmp(method, "PUT") == 0;
        char *text = NULL;
        int head = asprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n\r\n",
                            method, load->targets[i] + at, host, put ? load->bytes : 0);
        size_t len = (size_t)head + (put ? load->bytes : 0);
        text = realloc(text, len + 1);
        memset(text + head, 'x', len - (size_t)head);
        endpoint->requests[count] = text;
        endpoint->lens[count++] = len;
    }
    if (count == 0) {
        errno = EINVAL;
        die("no target for an endpoint");
    }
    load->targets_count = count; /* the same number for each endpoint */
}

/* ---- connections ------------------------------------------------------------------------------*/

static void drop(struct load *load, struct connection *c) {
    close(c->fd);
    load->lost += c->state != IDLE;
    load->under_way -= c->state == CONNECTING || c->state == SENDING || c->state == WAITING;
    if (c->state == IDLE) { /* take it out of its list */
        unsigned *link = &load->endpoints[c->endpoint].idle;
        while (*link != (unsigned)(c - load->connections) + 1) {
            link = &load->connections[*link - 1].next;
        }
        *link = c->next;
    }
    c->state = FREE;
    c->next = load->free;
    load->free = (unsigned)(c - load->connections) + 1;
}

static void send_more(struct load *load, struct connection *c) {
    while (c->sent < c->len) {
        ssize_t n = send(c->fd, c->request + c->sent, c->len - c->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINPROGRESS && errno != ENOTCONN) {
                drop(load, c);
            }
            return;
        }
        c->sent += (size_t)n;
    }
    c->state = WAITING;
}

static struct connection *open_one(struct load *load, unsigned endpoint) {
    struct connection *c = NULL;
    if (load->free != 0) {
        c = &load->connections[load->free - 1];
        load->free = c->next;
    } else if (load->opened < load->most) {
        c = &load->connections[load->opened++];
    } else {
        return NULL;
    }
    int one = 1;
    c->endpoint = endpoint;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const struct sockaddr_in *address = &load->endpoints[endpoint].address;
    /* Many more connections than one address has ports to each of the servers. */
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f010000u + 1 + (unsigned)(c - load->connections) % 8);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        setsockopt(c->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one) != 0 ||
        bind(c->fd, (const struct sockaddr *)&source, sizeof source) != 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        die("socket");
    }
    if (connect(c->fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno != EINPROGRESS) {
        c->state = CONNECTING;
        load->under_way++;
        drop(load, c);
        return NULL;
    }
    return c;
}

static void arrive(struct load *load) {
    unsigned endpoint = (unsigned)(load->offered % load->endpoints_count);
    struct endpoint *e = &load->endpoints[endpoint];
    unsigned target = (unsigned)(load->offered / load->endpoints_count % load->targets_count);
    struct connection *c = NULL;
    load->offered++;
    if (e->idle != 0) {
        c = &load->connections[e->idle - 1];
        e->idle = c->next;
        c->state = SENDING;
    } else {
        c = open_one(load, endpoint);
        if (c == NULL) {
            load->not_sent++;
            return;
        }
        c->state = CONNECTING;
    }
    c->request = e->requests[target];
    c->len = e->lens[target];
    c->sent = c->got = c->expected = 0;
    c->since_ns = now_ns();
    load->sent++;
    load->under_way++;
    send_more(load, c);
}

/* True once the answer is whole. */
static bool whole(struct connection *c) {
    if (c->expected == 0) {
        c->answer[c->got] = 0;
        char *end = strstr(c->answer, "\r\n\r\n");
        if (end == NULL) {
            return false;
        }
        char *length = strcasestr(c->answer, "content-length:");
        c->expected = (size_t)(end - c->answer) + 4 +
                      (length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0);
    }
    return c->got >= c->expected;
}

static void answered(struct load *load, struct connection *c) {
    unsigned status = (unsigned)atoi(c->answer + 9);
    load->statuses[status < 600 ? status : 0]++;
    if (status == 200) {
        histogram_add(&load->latencies, (now_ns() - c->since_ns) / 1000);
    }
    load->under_way--;
    bool ends = strcasestr(c->answer, "connection: close") != NULL;
    c->state = IDLE;
    c->next = load->endpoints[c->endpoint].idle;
    load->endpoints[c->endpoint].idle = (unsigned)(c - load->connections) + 1;
    if (ends) {
        drop(load, c);
    }
}

static void receive(struct load *load, struct connection *c) {
    static char rest[64 << 10]; /* of a body: counted, not looked at */
    while (c->state != FREE) {
        bool body = c->expected != 0;
        size_t room = body ? sizeof rest : ANSWER_MAX - c->got;
        ssize_t n = recv(c->fd, body ? rest : c->answer + c->got, room, 0);
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
            return;
        }
        if (n <= 0 || c->state == IDLE || room == 0) { /* an idle one was closed */
            drop(load, c);
            return;
        }
        c->got += (size_t)n;
        if (whole(c)) {
            answered(load, c);
        }
    }
}

static void expire(struct load *load) {
    uint64_t now = now_ns();
    for (unsigned i = 0; i < load->opened; i++) {
        struct connection *c = &load->connections[i];
        if (c->state != FREE && c->state != IDLE && now - c->since_ns > TIMEOUT_NS) {
            drop(load, c);
        }
    }
}

static void run(struct load *load) {
    uint64_t from = now_ns();
    uint64_t until = from + (uint64_t)(load->seconds * 1e9);
    uint64_t expired = from;
    for (;;) {
        uint64_t now = now_ns();
        bool over = now >= until;
        if (over && (load->under_way == 0 || now > until + TIMEOUT_NS)) {
            return;
        }
        uint64_t due = (uint64_t)((double)(now - from) / 1e9 * load->rate);
        while (!over && load->offered < due) {
            arrive(load);
        }
        if (now - expired > 1000000000u) {
            expired = now;
            expire(load);
        }
        struct epoll_event events[512];
        int count = epoll_wait(load->epoll, events, 512, 1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->state == CONNECTING || c->state == SENDING) {
                send_more(load, c);
            }
            receive(load, c);
        }
    }
}

/* ---- options and report -----------------------------------------------------------------------*/

static void add_endpoint(struct load *load, const char *text) {
    struct endpoint *endpoint = &load->endpoints[load->endpoints_count++];
    char host[32] = {0};
    const char *colon = strrchr(text, ':');
    if (colon == NULL || load->endpoints_count == ENDPOINTS_MAX) {
        errno = EINVAL;
        die("--endpoint");
    }
    memcpy(host, text, (size_t)(colon - text));
    snprintf(endpoint->host, sizeof endpoint->host, "%s", text);
    endpoint->address.sin_family = AF_INET;
    endpoint->address.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &endpoint->address.sin_addr) != 1) {
        die("--endpoint is not IPv4:port");
    }
}

static void report(const struct load *load) {
    printf(
        "{\"offered\": %llu, \"sent\": %llu, \"not_sent\": %llu, \"lost\": %llu, \"statuses\": {",
        (unsigned long long)load->offered, (unsigned long long)load->sent,
        (unsigned long long)load->not_sent, (unsigned long long)load->lost);
    const char *comma = "";
    for (unsigned status = 0; status < 600; status++) {
        if (load->statuses[status] > 0) {
            printf("%s\"%u\": %llu", comma, status, (unsigned long long)load->statuses[status]);
            comma = ", ";
        }
    }
    printf("}, \"p50_us\": %llu, \"p99_us\": %llu, \"max_us\": %llu}\n",
           (unsigned long long)histogram_at(&load->latencies, 0.5),
           (unsigned long long)histogram_at(&load->latencies, 0.99),
           (unsigned long long)load->latencies.max);
}

int main(int argc, char **argv) {
    static struct load load;
    load.most = 4096;
    load.seconds = 10;
    load.rate = 100;
    load.bytes = 1024;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--endpoint") == 0) {
            add_endpoint(&load, value);
        } else if (strcmp(argv[i], "--targets") == 0) {
            read_targets(&load, value);
        } else if (strcmp(argv[i], "--rate") == 0) {
            load.rate = atof(value);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            load.seconds = atof(value);
        } else if (strcmp(argv[i], "--connections") == 0) {
            load.most = (unsigned)atoi(value);
        } else if (strcmp(argv[i], "--bytes") == 0) {
            load.bytes = (size_t)atol(value);
        }
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (load.endpoints_count == 0 || load.targets_count == 0 || load.most > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: bench_open_loop --endpoint A:P ... --targets FILE --rate N "
                        "[--seconds S] [--connections N] [--bytes N]\n");
        return 2;
    }
    unsigned all = load.targets_count;
    for (unsigned i = 0; i < load.endpoints_count; i++) {
        load.targets_count = all;
        prepare(&load, &load.endpoints[i]);
    }
    load.connections = calloc(load.most, sizeof *load.connections);
    load.epoll = epoll_create1(0);
    if (load.connections == NULL || load.epoll < 0) {
        die("set-up");
    }
    run(&load);
    report(&load);
    return 0;
}
