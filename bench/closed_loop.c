#include "bench/closed_loop.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define SILENT_MS 60000

bool closed_loop_option(struct closed_loop_options *options, const char *name, const char *value) {
    if (strcmp(name, "--first") == 0) {
        options->first = (unsigned)atoi(value);
    } else if (strcmp(name, "--clients") == 0) {
        options->clients = (unsigned)atoi(value);
    } else if (strcmp(name, "--seconds") == 0) {
        options->seconds = atof(value);
    } else if (strcmp(name, "--warmup") == 0) {
        options->warmup_s = atof(value);
    } else {
        return false;
    }
    return true;
}

uint64_t closed_loop_seed(const struct closed_loop_options *options, unsigned number) {
    return (number + 1) * UINT64_C(0x9E3779B97F4A7C15) + options->first;
}

/* ---- clients ---------------------------------------------------------------------------------*/

void closed_loop_prepare(struct closed_loop *loop) {
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        wire_die("set-up");
    }
}

void closed_loop_open(struct closed_loop *loop, struct closed_loop_client *client, unsigned number,
                      const struct wire_endpoints *endpoints, size_t cap) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    client->random = closed_loop_seed(&loop->options, number);
    client->cap = cap;
    client->answer = bnd_alloc(cap);
    client->fd = wire_connect(endpoints, (loop->options.first + number) % endpoints->count);
    if (client->answer == NULL || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        wire_die("set-up of a client");
    }
}

void closed_loop_receive(struct closed_loop_client *client) {
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
}

/* ---- the loop --------------------------------------------------------------------------------*/

static void begin(struct closed_loop *loop, struct closed_loop_client *client) {
    client->begun_ns = wire_now_ns();
    client->got = 0;
    if (client->begun_ns >= loop->until_ns || !loop->ask(loop->data, client)) {
        loop->running--;
    }
}

void closed_loop_answered(struct closed_loop *loop, struct closed_loop_client *client) {
    loop->answered++;
    begin(loop, client);
}

void closed_loop_run(struct closed_loop *loop, void *clients, size_t client_bytes) {
    const struct closed_loop_options *o = &loop->options;
    double cpu_s = wire_cpu_seconds();
    uint64_t begun_ns = wire_now_ns();
    loop->from_ns = begun_ns + (loop->fill ? 0 : (uint64_t)(o->warmup_s * 1e9));
    loop->until_ns = loop->fill ? UINT64_MAX : loop->from_ns + (uint64_t)(o->seconds * 1e9);
    loop->running = o->clients;
    for (unsigned i = 0; i < o->clients; i++) {
        begin(loop, (struct closed_loop_client *)(void *)((uint8_t *)clients + i * client_bytes));
    }
    while (loop->running > 0) {
        struct epoll_event events[256];
        int count = epoll_wait(loop->epoll, events, 256, SILENT_MS);
        if (count < 0 && errno != EINTR) {
            wire_die("epoll_wait");
        }
        if (count == 0) {
            errno = ETIMEDOUT;
            wire_die("no answer within 60 s");
        }
        for (int i = 0; i < count; i++) {
            loop->readable(loop->data, events[i].data.ptr);
        }
    }
    loop->cpu_s = wire_cpu_seconds() - cpu_s;
    loop->wall_s = (double)(wire_now_ns() - begun_ns) / 1e9;
}

/* ---- report ----------------------------------------------------------------------------------*/

double closed_loop_per_s(const struct closed_loop *loop, uint64_t measured) {
    return (double)measured / (loop->fill ? loop->wall_s : loop->options.seconds);
}

void closed_loop_print(const struct closed_loop *loop) {
    printf("\"errors\": %llu, \"cpu_s\": %.3f, \"wall_s\": %.3f}\n",
           (unsigned long long)loop->errors, loop->cpu_s, loop->wall_s);
}
