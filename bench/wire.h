/* What the load generators for KV and D1 share: the clock, random numbers, connections, and answers
 * in HTTP/1.1. What makes no sense ends the process. */
#ifndef BND_BENCH_WIRE_H
#define BND_BENCH_WIRE_H

#include "base/bytes.h"

#include <netinet/in.h>

#define WIRE_ENDPOINTS_MAX 16u

uint64_t wire_now_ns(void);
/* Of this process, so far. */
double wire_cpu_seconds(void);
/* With errno's text. */
_Noreturn void wire_die(const char *what);
/* xorshift64*; the state must not be 0. */
uint64_t wire_random(uint64_t *state);

/* In decimal. */
void wire_append_number(struct bnd_buf *out, uint64_t number);

/* ---- connections -----------------------------------------------------------------------------*/

struct wire_endpoints {
    struct sockaddr_in at[WIRE_ENDPOINTS_MAX];
    unsigned count;
};

/* "IPv4:port" */
void wire_endpoint_add(struct wire_endpoints *endpoints, const char *text);
/* A blocking connection without Nagle's delay. */
int wire_connect(const struct wire_endpoints *endpoints, unsigned endpoint);
/* All of it. */
void wire_send(int fd, struct bnd_slice bytes);

/* ---- answers ---------------------------------------------------------------------------------*/

struct wire_http {
    int status;            /* 0: a form that is not known here: neither a length nor chunks */
    struct bnd_slice body; /* borrowed from the bytes */
};

/* Of the answer that the bytes begin with: its length, 0 while it is incomplete. The body of a
 * chunked one is put together in place, once all of it is there. */
size_t wire_http_answer(uint8_t *bytes, size_t len, struct wire_http *out);

#endif
