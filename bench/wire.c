#include "bench/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

/* ---- the process -----------------------------------------------------------------------------*/

uint64_t wire_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double wire_cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

_Noreturn void wire_die(const char *what) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(2);
}

uint64_t wire_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

void wire_append_number(struct bnd_buf *out, uint64_t number) {
    char text[24];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    bnd_buf_append(out, text + at, sizeof text - at);
}

/* ---- connections -----------------------------------------------------------------------------*/

void wire_endpoint_add(struct wire_endpoints *endpoints, const char *text) {
    const char *colon = strrchr(text, ':');
    char host[32] = {0};
    errno = EINVAL;
    if (colon == NULL || (size_t)(colon - text) >= sizeof host ||
        endpoints->count == WIRE_ENDPOINTS_MAX) {
        wire_die("--endpoint");
    }
    memcpy(host, text, (size_t)(colon - text));
    struct sockaddr_in *address = &endpoints->at[endpoints->count++];
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address->sin_addr) != 1) {
        wire_die("--endpoint is not IPv4:port");
    }
}

int wire_connect(const struct wire_endpoints *endpoints, unsigned endpoint) {
    const struct sockaddr_in *address = &endpoints->at[endpoint];
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        wire_die("connect");
    }
    return fd;
}

void wire_send(int fd, struct bnd_slice bytes) {
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n < 0) {
            wire_die("send"); /* a blocking socket: nobody answers before all is sent */
        }
        bytes = bnd_slice(bytes.data + n, bytes.len - (size_t)n);
    }
}

/* ---- answers ---------------------------------------------------------------------------------*/

struct head {
    size_t bytes;   /* with the empty line */
    int64_t length; /* -1: not said */
    bool chunked;
};

static const uint8_t *next_line(const uint8_t *at, const uint8_t *end) {
    const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
    return newline == NULL ? end : newline + 1;
}

static bool field_is(const uint8_t *at, const uint8_t *end, const char *name) {
    size_t len = strlen(name);
    return (size_t)(end - at) > len && strncasecmp((const char *)at, name, len) == 0;
}

/* False while it is incomplete. */
static bool read_head(const uint8_t *bytes, size_t len, struct head *out) {
    static const char length[] = "content-length:", chunked[] = "transfer-encoding: chunked";
    const uint8_t *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return false;
    }
    *out = (struct head){.bytes = (size_t)(end - bytes) + 4, .length = -1};
    for (const uint8_t *at = bytes; at < end; at = next_line(at, end)) {
        if (field_is(at, end, length)) {
            out->length = strtoll((const char *)at + sizeof length - 1, NULL, 10);
        } else if (field_is(at, end + 1, chunked)) {
            out->chunked = true;
        }
    }
    return true;
}

/* Walks over the chunks from `at` on; with `into`, moves their bytes there, one after the other.
 * The end of the last one, 0 if it is not there. */
static size_t walk_chunks(uint8_t *bytes, size_t at, size_t len, uint8_t *into, size_t *out_total) {
    *out_total = 0;
    for (;;) {
        const uint8_t *line = memmem(bytes + at, len - at, "\r\n", 2);
        if (line == NULL) {
            return 0;
        }
        size_t size = strtoul((const char *)bytes + at, NULL, 16);
        at = (size_t)(line - bytes) + 2;
        if (at + size + 2 > len) {
            return 0;
        }
        if (into != NULL) {
            memmove(into + *out_total, bytes + at, size);
        }
        *out_total += size;
        at += size + 2;
        if (size == 0) { /* no trailers are sent to those who do not ask for them */
            return at;
        }
    }
}

size_t wire_http_answer(uint8_t *bytes, size_t len, struct wire_http *out) {
    struct head head;
    if (!read_head(bytes, len, &head)) {
        return 0;
    }
    *out = (struct wire_http){0};
    if (memcmp(bytes, "HTTP/1.1 ", 9) != 0 || (head.length < 0 && !head.chunked)) {
        return len;
    }
    size_t end = head.bytes + (size_t)head.length, total = (size_t)head.length;
    if (head.chunked) {
        end = walk_chunks(bytes, head.bytes, len, NULL, &total);
        if (end == 0) {
            return 0;
        }
        (void)walk_chunks(bytes, head.bytes, len, bytes + head.bytes, &total);
    }
    if (end > len) {
        return 0;
    }
    out->status = (int)strtol((const char *)bytes + 9, NULL, 10);
    out->body = bnd_slice(bytes + head.bytes, total);
    return end;
}
