/* A closed loop of S3 clients against small objects: each client has one keep-alive connection and
 * one request in flight. Every request is signed (SigV4 with the body's SHA-256) before the clock
 * starts (but those of a fill, of which there may be too many), with the gateway's own signer, so
 * that the generator takes as little of the machine as it can; the servers check each signature as
 * always. Every answer is checked: a GET must bring the bytes that were put.
 *
 * Prints one line of JSON: what was asked for, operations, rate, latencies, errors, CPU seconds of
 * its own. Exit status 1 if any request failed. */
#include "bench/histogram.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "gateway/http/head.h"
#include "gateway/s3/sigv4.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ENDPOINTS_MAX 16u
#define CLIENTS_MAX 4096u
#define ANSWER_MAX (256u << 10)
#define UNSIGNED_HEX "0000000000000000000000000000000000000000000000000000000000000000"

struct options {
    struct sockaddr_in endpoints[ENDPOINTS_MAX];
    char hosts[ENDPOINTS_MAX][32];
    unsigned endpoints_count;
    unsigned first; /* the endpoint of client 0 */
    unsigned clients;
    unsigned keys;
    size_t bytes; /* of a body */
    double seconds, warmup_s;
    bool put;
    bool fill; /* each key once, then stop */
    const char *bucket, *access_key, *secret;
};

/* A request as it goes over the wire, for one key and one endpoint's Host header. */
struct prepared {
    uint8_t *bytes;
    size_t len;
};

struct client {
    int fd;
    unsigned endpoint;
    unsigned key;
    size_t sent;
    uint64_t begun_ns;
    uint8_t *answer;
    size_t got;
};

struct load {
    struct options options;
    struct s3_signing_key key;
    char when[32];             /* YYYYMMDDTHHMMSSZ */
    struct prepared *prepared; /* [endpoint * keys + key] */
    uint8_t *bodies;           /* [key * bytes] */
    struct client *clients;
    struct histogram latencies;
    uint64_t from_ns, until_ns; /* what is measured */
    uint64_t errors;
    unsigned next_key;
    unsigned running;
    int epoll;
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

_Noreturn static void die(const char *what) {
    fprintf(stderr, "bench_s3_load: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- requests ---------------------------------------------------------------------------------*/

/* Signs the head in `text`, whose Authorization field holds UNSIGNED_HEX where the signature goes.
 */
static void sign(struct bnd_buf *text, const struct s3_signing_key *key) {
    struct bnd_http_header headers[BND_HTTP_HEADERS_MAX];
    struct bnd_http_head head = {.headers = headers};
    struct s3_signature signature;
    const char *why = "";
    uint8_t mac[32];
    char hex[S3_SIGNATURE_LEN + 1];
    struct bnd_slice bytes = bnd_buf_slice(text);
    if (text->failed || bnd_http_head_parse(bytes, BND_HTTP_HEADERS_MAX, &head, &why) != 0 ||
        s3_signature_parse(&head, (uint64_t)time(NULL) * 1000, &signature, &why) != S3_OK ||
        s3_signature_compute(&signature, &head, key, mac) != S3_OK) {
        fprintf(stderr, "bench_s3_load: cannot sign: %s\n", why);
        exit(2);
    }
    bnd_hex_encode(mac, sizeof mac, hex);
    memcpy(memmem(text->data, text->len, UNSIGNED_HEX, S3_SIGNATURE_LEN), hex, S3_SIGNATURE_LEN);
}

/* Returns owned bytes. */
static struct prepared prepare(const struct load *load, unsigned endpoint, unsigned number) {
    const struct options *o = &load->options;
    const char *when = load->when;
    uint8_t *body = load->bodies + (size_t)number * o->bytes;
    uint8_t digest[32];
    char hash[65];
    struct bnd_buf text = {0};
    SHA256(body, o->put ? o->bytes : 0, digest);
    bnd_hex_encode(digest, sizeof digest, hash);
    bnd_buf_printf(&text,
                   "%s /%s/k%08u HTTP/1.1\r\nHost: %s\r\nx-amz-date: %s\r\n"
                   "x-amz-content-sha256: %s\r\n",
                   o->put ? "PUT" : "GET", o->bucket, number, o->hosts[endpoint], when, hash);
    if (o->put) {
        bnd_buf_printf(&text, "Content-Length: %zu\r\n", o->bytes);
    }
    bnd_buf_printf(&text,
                   "Authorization: AWS4-HMAC-SHA256 Credential=%s/%.8s/auto/s3/aws4_request, "
                   "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" UNSIGNED_HEX
                   "\r\n\r\n",
                   o->access_key, when);
    sign(&text, &load->key);
    if (o->put) {
        bnd_buf_append(&text, body, o->bytes);
    }
    if (text.failed) {
        die("memory");
    }
    return (struct prepared){.bytes = text.data, .len = text.len};
}

/* Bodies follow from the key, so that another run's GET knows them. */
static void make_bodies(struct load *load) {
    const struct options *o = &load->options;
    load->bodies = bnd_alloc((size_t)o->keys * o->bytes + 8);
    for (unsigned number = 0; load->bodies != NULL && number < o->keys; number++) {
        uint64_t x = number * UINT64_C(0x9E3779B97F4A7C15) + 1;
        for (size_t at = 0; at < o->bytes; at++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            load->bodies[(size_t)number * o->bytes + at] = (uint8_t)(x >> 32);
        }
    }
}

static void prepare_all(struct load *load) {
    const struct options *o = &load->options;
    time_t now = time(NULL);
    strftime(load->when, sizeof load->when, "%Y%m%dT%H%M%SZ", gmtime(&now));
    s3_signing_key_derive(bnd_slice_str(o->secret), bnd_slice(load->when, 8), bnd_slice_str("auto"),
                          &load->key);
    make_bodies(load);
    load->prepared = bnd_calloc((size_t)o->endpoints_count * o->keys, sizeof *load->prepared);
    if (load->prepared == NULL || load->bodies == NULL) {
        die("memory");
    }
    for (unsigned endpoint = 0; endpoint < o->endpoints_count && !o->fill; endpoint++) {
        for (unsigned number = 0; number < o->keys; number++) {
            load->prepared[(size_t)endpoint * o->keys + number] = prepare(load, endpoint, number);
        }
    }
}

/* ---- clients ----------------------------------------------------------------------------------*/

static struct prepared *request_of(const struct load *load, const struct client *client) {
    return &load->prepared[(size_t)client->endpoint * load->options.keys + client->key];
}

static void send_more(struct load *load, struct client *client) {
    const struct prepared *request = request_of(load, client);
    while (client->sent < request->len) {
        ssize_t n = send(client->fd, request->bytes + client->sent, request->len - client->sent,
                         MSG_NOSIGNAL);
        if (n < 0) {
            die("send"); /* blocking socket: a small request always fits */
        }
        client->sent += (size_t)n;
    }
}

static void begin(struct load *load, struct client *client) {
    const struct options *o = &load->options;
    uint64_t now = now_ns();
    if (o->fill ? load->next_key == o->keys : now >= load->until_ns) {
        load->running--;
        return;
    }
    if (o->fill) {
        bnd_free(request_of(load, client)->bytes);
        request_of(load, client)->bytes = NULL;
        client->key = load->next_key++;
        *request_of(load, client) = prepare(load, client->endpoint, client->key);
    } else {
        /* A step that is prime to the number of keys visits them all, in no order. */
        client->key = (unsigned)((client->key + UINT64_C(2654435761)) % o->keys);
    }
    client->begun_ns = now;
    client->sent = 0;
    client->got = 0;
    send_more(load, client);
}

/* Length of a whole answer, 0 while it is incomplete; *body is where its body begins. */
static size_t answer_len(const struct client *client, size_t *body) {
    char *end = memmem(client->answer, client->got, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    *body = (size_t)(end - (char *)client->answer) + 4;
    size_t length = 0;
    for (char *line = (char *)client->answer; line < end; line = strchr(line, '\n') + 1) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            length = strtoul(line + 15, NULL, 10);
        }
    }
    return *body + length <= client->got ? *body + length : 0;
}

static bool answer_right(const struct load *load, const struct client *client, size_t body) {
    const struct options *o = &load->options;
    bool ok = memcmp(client->answer, "HTTP/1.1 200", 12) == 0;
    if (!ok && load->errors == 0) {
        fprintf(stderr, "bench_s3_load: %.*s\n", (int)client->got, client->answer);
    }
    return ok && (o->put || (client->got - body == o->bytes &&
                             memcmp(client->answer + body, load->bodies + client->key * o->bytes,
                                    o->bytes) == 0));
}

static void receive(struct load *load, struct client *client) {
    ssize_t n = recv(client->fd, client->answer + client->got, ANSWER_MAX - 1 - client->got, 0);
    if (n <= 0) {
        die("connection lost");
    }
    client->got += (size_t)n;
    client->answer[client->got] = 0;
    size_t body = 0;
    size_t len = answer_len(client, &body);
    if (len == 0) {
        return;
    }
    uint64_t now = now_ns();
    bool counts = client->begun_ns >= load->from_ns && now <= load->until_ns;
    if (!answer_right(load, client, body)) {
        load->errors++;
    } else if (counts) {
        histogram_add(&load->latencies, (now - client->begun_ns) / 1000);
    }
    begin(load, client);
}

static void open_client(struct load *load, unsigned number) {
    const struct options *o = &load->options;
    struct client *client = &load->clients[number];
    int one = 1;
    client->endpoint = (o->first + number) % o->endpoints_count;
    client->key = number * 7919u % o->keys;
    client->answer = bnd_alloc(ANSWER_MAX);
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in *address = &o->endpoints[client->endpoint];
    if (client->answer == NULL || client->fd < 0 ||
        connect(client->fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        die("connect");
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        die("epoll_ctl");
    }
}

static void run(struct load *load) {
    const struct options *o = &load->options;
    load->clients = bnd_calloc(o->clients, sizeof *load->clients);
    load->epoll = epoll_create1(0);
    if (load->clients == NULL || load->epoll < 0) {
        die("set-up");
    }
    for (unsigned i = 0; i < o->clients; i++) {
        open_client(load, i);
    }
    load->from_ns = now_ns() + (uint64_t)(o->warmup_s * 1e9);
    load->until_ns = o->fill ? UINT64_MAX : load->from_ns + (uint64_t)(o->seconds * 1e9);
    load->running = o->clients;
    for (unsigned i = 0; i < o->clients; i++) {
        begin(load, &load->clients[i]);
    }
    while (load->running > 0) {
        struct epoll_event events[256];
        int count = epoll_wait(load->epoll, events, 256, 10000);
        if (count < 0 && errno != EINTR) {
            die("epoll_wait");
        }
        if (count == 0) {
            errno = ETIMEDOUT;
            die("no answer within 10 s");
        }
        for (int i = 0; i < count; i++) {
            receive(load, events[i].data.ptr);
        }
    }
}

/* ---- options and report -----------------------------------------------------------------------*/

static void add_endpoint(struct options *o, const char *text) {
    const char *colon = strrchr(text, ':');
    char host[32] = {0};
    if (colon == NULL || (size_t)(colon - text) >= sizeof host ||
        o->endpoints_count == ENDPOINTS_MAX || strlen(text) >= sizeof o->hosts[0]) {
        errno = EINVAL;
        die("--endpoint");
    }
    memcpy(host, text, (size_t)(colon - text));
    struct sockaddr_in *address = &o->endpoints[o->endpoints_count];
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address->sin_addr) != 1) {
        die("--endpoint is not IPv4:port");
    }
    memcpy(o->hosts[o->endpoints_count++], text, strlen(text) + 1);
}

static void set_option(struct options *o, const char *name, const char *value) {
#define IS(text) (strcmp(name, "--" text) == 0)
    if (IS("endpoint")) {
        add_endpoint(o, value);
    } else if (IS("first")) {
        o->first = (unsigned)atoi(value);
    } else if (IS("clients")) {
        o->clients = (unsigned)atoi(value);
    } else if (IS("keys")) {
        o->keys = (unsigned)atoi(value);
    } else if (IS("bytes")) {
        o->bytes = (size_t)atol(value);
    } else if (IS("seconds")) {
        o->seconds = atof(value);
    } else if (IS("warmup")) {
        o->warmup_s = atof(value);
    } else if (IS("bucket")) {
        o->bucket = value;
    } else if (IS("access-key")) {
        o->access_key = value;
    } else if (IS("secret")) {
        o->secret = value;
    } else if (IS("op")) {
        o->put = strcmp(value, "get") != 0;
        o->fill = strcmp(value, "fill") == 0;
    } else {
        fprintf(stderr, "bench_s3_load: unknown option %s\n", name);
        exit(2);
    }
#undef IS
}

int main(int argc, char **argv) {
    static struct load load;
    struct options *o = &load.options;
    *o = (struct options){.clients = 1, .keys = 1000, .bytes = 1024, .seconds = 5, .warmup_s = 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        set_option(o, argv[i], argv[i + 1]);
    }
    if (argc % 2 == 0 || o->endpoints_count == 0 || o->bucket == NULL || o->access_key == NULL ||
        o->secret == NULL || o->clients == 0 || o->clients > CLIENTS_MAX || o->keys == 0) {
        fprintf(stderr, "usage: bench_s3_load --endpoint A:P ... --bucket B --access-key K "
                        "--secret S --op put|get|fill [--clients N] [--keys N] [--bytes N] "
                        "[--seconds S] [--warmup S] [--first N]\n");
        return 2;
    }
    prepare_all(&load);
    double cpu = cpu_seconds();
    uint64_t begun = now_ns();
    run(&load);
    double wall = (double)(now_ns() - begun) / 1e9;
    double seconds = o->fill ? wall : o->seconds;
    printf("{\"op\": \"%s\", \"clients\": %u, \"ops\": %llu, \"per_s\": %.1f, \"p50_us\": %llu, "
           "\"p99_us\": %llu, \"max_us\": %llu, \"errors\": %llu, \"cpu_s\": %.3f, "
           "\"wall_s\": %.3f}\n",
           o->fill  ? "fill"
           : o->put ? "put"
                    : "get",
           o->clients, (unsigned long long)load.latencies.total,
           (double)load.latencies.total / seconds,
           (unsigned long long)histogram_at(&load.latencies, 0.5),
           (unsigned long long)histogram_at(&load.latencies, 0.99),
           (unsigned long long)load.latencies.max, (unsigned long long)load.errors,
           cpu_seconds() - cpu, wall);
    return load.errors == 0 ? 0 : 1;
}
