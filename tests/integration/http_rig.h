/* A server on a loop thread of its own, with a handler that does what the path says, and blocking
 * client sockets for the test's thread.
 *
 *   /hello      200 "hello"                    /abort      the connection is cut
 *   /hold       held until /release            /deny       403 at once, body unread
 *   /count      reads the body, answers "<bytes> <sum of bytes>"
 *   /later      as /count, reading from rig.consume on
 *   /echo       streams the body back, chunked
 *   /stream?N   N bytes of known length        /chunks?N   N bytes chunked
 *   /short      promises 10 bytes, writes none /bad        tries illegal headers, then 500 */
#ifndef BND_TESTS_INTEGRATION_HTTP_RIG_H
#define BND_TESTS_INTEGRATION_HTTP_RIG_H

#include "base/alloc.h"
#include "engine/io/io.h"
#include "gateway/http/server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_HOLDS_MAX 128
#define RIG_PIECE ((size_t)64 << 10)
#define RIG_CLIENT_TIMEOUT_S 20

struct rig {
    struct bnd_env *env;
    struct bnd_http_server *server;
    struct bnd_http_options options;
    pthread_t thread;
    uint16_t port;
    uint64_t grace_ns;
    _Atomic int read_status; /* the last failed one */
    _Atomic bool consume;
    sem_t arrived; /* one post per request given to the handler */
    sem_t aborted; /* one post per on_abort */
    struct bnd_http_request *held[RIG_HOLDS_MAX];
    unsigned held_count;
    struct bnd_task task; /* asked of the loop by the test's thread */
    sem_t task_done;
    struct bnd_http_counters counters;
};

/* One request at work. */
struct rig_job {
    struct rig *rig;
    struct bnd_http_request *request;
    struct bnd_http_read read;
    struct bnd_http_write write;
    struct bnd_http_chunk *chunk;
    struct bnd_timer retry;
    bool echo;
    uint64_t left;
    uint64_t bytes;
    uint64_t sum;
};

static uint8_t rig_piece[RIG_PIECE]; /* byte i is i mod 251; filled by rig_start */

static inline void rig_answer(struct bnd_http_request *request, unsigned status, const char *text) {
    struct bnd_http_response response = {.status = status, .body = bnd_slice_str(text)};
    BND_ASSERT(bnd_http_respond(request, &response) == 0);
}

static inline void rig_job_end(struct rig_job *job) {
    bnd_timer_stop(job->rig->env, &job->retry);
    job->request->data = NULL;
    bnd_free(job);
}

static inline void rig_job_abort(struct rig_job *job) {
    struct bnd_http_request *request = job->request;
    rig_job_end(job);
    bnd_http_abort(request);
}

static inline void rig_stream_next(struct rig_job *job) {
    struct bnd_http_request *request = job->request;
    if (job->left == 0) {
        rig_job_end(job);
        bnd_http_end(request);
        return;
    }
    size_t n = job->left < RIG_PIECE ? (size_t)job->left : RIG_PIECE;
    job->left -= n;
    if (bnd_http_write(request, &job->write, bnd_slice(rig_piece, n)) != 0) {
        rig_job_abort(job);
    }
}

static inline void rig_on_streamed(struct bnd_http_write *write, int status) {
    if (status != 0) {
        rig_job_abort(write->data);
        return;
    }
    rig_stream_next(write->data);
}

static inline void rig_on_echoed(struct bnd_http_write *write, int status) {
    struct rig_job *job = write->data;
    bnd_http_chunk_release(job->chunk);
    job->chunk = NULL;
    if (status != 0) {
        rig_job_abort(job);
        return;
    }
    bnd_http_body_read(job->request, &job->read);
}

static inline void rig_body_over(struct rig_job *job, int status) {
    struct bnd_http_request *request = job->request;
    char text[64];
    (void)snprintf(text, sizeof text, "%llu %llu", (unsigned long long)job->bytes,
                   (unsigned long long)job->sum);
    bool echo = job->echo;
    if (status != 0) {
        atomic_store(&job->rig->read_status, status);
        rig_job_abort(job);
        return;
    }
    rig_job_end(job);
    if (echo) {
        bnd_http_end(request);
    } else {
        rig_answer(request, 200, text);
    }
}

static inline void rig_on_body(struct bnd_http_read *read, int status,
                               struct bnd_http_chunk *chunk) {
    struct rig_job *job = read->data;
    if (chunk == NULL) {
        rig_body_over(job, status);
        return;
    }
    for (size_t i = 0; i < chunk->bytes.len; i++) {
        job->sum += chunk->bytes.data[i];
    }
    job->bytes += chunk->bytes.len;
    if (job->echo) {
        job->chunk = chunk;
        BND_ASSERT(bnd_http_write(job->request, &job->write, chunk->bytes) == 0);
        return;
    }
    bnd_http_chunk_release(chunk);
    bnd_http_body_read(job->request, read);
}

static inline void rig_on_retry(struct bnd_timer *timer) {
    struct rig_job *job = timer->data;
    if (atomic_load(&job->rig->consume)) {
        bnd_http_body_read(job->request, &job->read);
    } else {
        bnd_timer_start(job->rig->env, timer, BND_MS);
    }
}

static inline struct rig_job *rig_job_begin(struct rig *rig, struct bnd_http_request *request) {
    struct rig_job *job = bnd_zalloc(sizeof *job);
    BND_ASSERT(job != NULL);
    job->rig = rig;
    job->request = request;
    job->read = (struct bnd_http_read){.cb = rig_on_body, .data = job};
    job->write = (struct bnd_http_write){.cb = rig_on_streamed, .data = job};
    job->retry = (struct bnd_timer){.cb = rig_on_retry, .data = job};
    request->data = job;
    return job;
}

static inline void rig_on_body_request(struct rig *rig, struct bnd_http_request *request,
                                       char kind) {
    struct rig_job *job = rig_job_begin(rig, request);
    if (kind == 'e') {
        struct bnd_http_response response = {.status = 200};
        job->echo = true;
        job->write.cb = rig_on_echoed;
        BND_ASSERT(bnd_http_begin(request, &response, BND_HTTP_LENGTH_CHUNKED) == 0);
    }
    if (kind == 'l') {
        rig_on_retry(&job->retry);
    } else {
        bnd_http_body_read(request, &job->read);
    }
}

static inline void rig_on_stream_request(struct rig *rig, struct bnd_http_request *request,
                                         bool chunked) {
    struct rig_job *job = rig_job_begin(rig, request);
    char text[24] = "";
    memcpy(text, request->head->query.data, request->head->query.len);
    job->left = strtoull(text, NULL, 10);
    struct bnd_http_response response = {.status = 200};
    uint64_t length = chunked ? BND_HTTP_LENGTH_CHUNKED : job->left;
    BND_ASSERT(bnd_http_begin(request, &response, length) == 0);
    job->left = request->head->method == BND_HTTP_HEAD ? 0 : job->left;
    rig_stream_next(job);
}

static inline void rig_on_short(struct rig *rig, struct bnd_http_request *request) {
    struct rig_job *job = rig_job_begin(rig, request);
    struct bnd_http_response response = {.status = 200};
    BND_ASSERT(bnd_http_begin(request, &response, 10) == 0);
    BND_ASSERT(bnd_http_write(request, &job->write, bnd_slice("toolongbyfar", 12)) == BND_INVALID);
    rig_job_end(job);
    bnd_http_end(request);
}

static inline void rig_on_bad(struct bnd_http_request *request) {
    const struct bnd_http_header bad[] = {
        {bnd_slice_str("X"), bnd_slice_str("a\r\nSet: b")},
        {bnd_slice_str("X Y"), bnd_slice_str("a")},
        {bnd_slice_str("content-length"), bnd_slice_str("5")},
    };
    for (size_t i = 0; i < 3; i++) {
        struct bnd_http_response response = {.status = 200, .headers = &bad[i], .header_count = 1};
        BND_ASSERT(bnd_http_respond(request, &response) == BND_INVALID);
    }
    struct bnd_http_response response = {.status = 200, .reason = "a\r\nb"};
    BND_ASSERT(bnd_http_respond(request, &response) == BND_INVALID);
    rig_answer(request, 500, "refused");
}

static inline void rig_release(struct rig *rig) {
    for (unsigned i = rig->held_count; i > 0; i--) { /* backwards: order is the server's work */
        char text[24];
        (void)snprintf(text, sizeof text, "held %u", i - 1);
        rig_answer(rig->held[i - 1], 200, text);
    }
    rig->held_count = 0;
}

static inline bool rig_is(const struct bnd_http_request *request, const char *path) {
    return bnd_slice_eq(request->head->path, bnd_slice_str(path));
}

static inline void rig_on_request(void *owner, struct bnd_http_request *request) {
    struct rig *rig = owner;
    BND_ASSERT(sem_post(&rig->arrived) == 0);
    if (rig_is(request, "/hello")) {
        rig_answer(request, 200, "hello");
    } else if (rig_is(request, "/hold")) {
        BND_ASSERT(rig->held_count < RIG_HOLDS_MAX);
        rig->held[rig->held_count++] = request;
    } else if (rig_is(request, "/release")) {
        rig_release(rig);
        rig_answer(request, 200, "released");
    } else if (rig_is(request, "/count") || rig_is(request, "/later") || rig_is(request, "/echo")) {
        rig_on_body_request(rig, request, (char)request->head->path.data[1]);
    } else if (rig_is(request, "/stream") || rig_is(request, "/chunks")) {
        rig_on_stream_request(rig, request, rig_is(request, "/chunks"));
    } else if (rig_is(request, "/deny")) {
        rig_answer(request, 403, "denied");
    } else if (rig_is(request, "/short")) {
        rig_on_short(rig, request);
    } else if (rig_is(request, "/bad")) {
        rig_on_bad(request);
    } else if (rig_is(request, "/abort")) {
        bnd_http_abort(request);
    } else {
        rig_answer(request, 404, "no such path");
    }
}

static inline void rig_on_abort(void *owner, struct bnd_http_request *request) {
    struct rig *rig = owner;
    BND_ASSERT(request->aborted);
    for (unsigned i = 0; i < rig->held_count; i++) {
        if (rig->held[i] == request) {
            rig->held[i] = rig->held[--rig->held_count];
            break;
        }
    }
    if (request->data != NULL) {
        rig_job_end(request->data);
    }
    bnd_http_abort(request);
    BND_ASSERT(sem_post(&rig->aborted) == 0);
}

static const struct bnd_http_handler rig_handler = {rig_on_request, rig_on_abort};

/* ---- the server's life ------------------------------------------------------------------------
 */

/* The env is made on its own thread: io_uring's interruptions hit the thread that makes the ring.
 */
static inline void *rig_run(void *data) {
    struct rig *rig = data;
    struct bnd_error err = {0};
    BND_ASSERT(bnd_io_env_create(NULL, &rig->env, &err) == 0);
    rig->options.env = rig->env;
    BND_ASSERT(bnd_http_server_create(&rig->options, &rig->server, &err) == 0);
    char address[BND_ADDRESS_MAX];
    bnd_http_server_address(rig->server, address);
    rig->port = (uint16_t)atoi(strrchr(address, ':') + 1);
    BND_ASSERT(sem_post(&rig->task_done) == 0);
    bnd_io_env_run(rig->env);
    return NULL;
}

static inline void rig_start(struct rig *rig, const struct bnd_http_limits *limits,
                             struct bnd_tls_context *tls) {
    *rig = (struct rig){0};
    for (size_t i = 0; i < RIG_PIECE; i++) {
        rig_piece[i] = (uint8_t)(i % 251);
    }
    assert_int_equal(sem_init(&rig->arrived, 0, 0), 0);
    assert_int_equal(sem_init(&rig->aborted, 0, 0), 0);
    assert_int_equal(sem_init(&rig->task_done, 0, 0), 0);
    rig->options = (struct bnd_http_options){
        .address = "127.0.0.1:0", .tls = tls, .handler = &rig_handler, .owner = rig};
    if (limits != NULL) {
        rig->options.limits = *limits;
    }
    assert_int_equal(pthread_create(&rig->thread, NULL, rig_run, rig), 0);
    assert_int_equal(sem_wait(&rig->task_done), 0);
}

static inline void rig_on_closed(void *data) {
    struct rig *rig = data;
    bnd_io_env_stop(rig->env);
}

static inline void rig_close(struct bnd_task *task) {
    struct rig *rig = task->data;
    bnd_http_server_close(rig->server, rig->grace_ns, rig_on_closed, rig);
}

static inline void rig_stop(struct rig *rig, uint64_t grace_ns) {
    rig->grace_ns = grace_ns;
    rig->task = (struct bnd_task){.cb = rig_close, .data = rig};
    bnd_post(rig->env, &rig->task);
    assert_int_equal(pthread_join(rig->thread, NULL), 0);
    bnd_io_env_destroy(rig->env);
}

static inline void rig_copy_counters(struct bnd_task *task) {
    struct rig *rig = task->data;
    bnd_http_server_counters(rig->server, &rig->counters);
    BND_ASSERT(sem_post(&rig->task_done) == 0);
}

static inline struct bnd_http_counters rig_counters(struct rig *rig) {
    rig->task = (struct bnd_task){.cb = rig_copy_counters, .data = rig};
    bnd_post(rig->env, &rig->task);
    assert_int_equal(sem_wait(&rig->task_done), 0);
    return rig->counters;
}

/* ---- clients ----------------------------------------------------------------------------------
 */

static inline int client_open(struct rig *rig) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval limit = {.tv_sec = RIG_CLIENT_TIMEOUT_S};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(rig->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline void client_send(int fd, struct bnd_slice bytes) {
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        assert_true(n > 0);
        bytes = bnd_slice(bytes.data + n, bytes.len - (size_t)n);
    }
}

/* Closes with a reset. A plain close looks like a client that only ended its side. */
static inline void client_reset(int fd) {
    struct linger reset = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(fd);
}

static inline void client_say(int fd, const char *text) {
    client_send(fd, bnd_slice_str(text));
}

static inline unsigned buf_count(const struct bnd_buf *in, const char *text) {
    unsigned seen = 0;
    const uint8_t *at = in->data;
    size_t rest = in->len;
    while (rest > 0 && (at = memmem(at, rest, text, strlen(text))) != NULL) {
        seen++;
        at += strlen(text);
        rest = in->len - (size_t)(at - in->data);
    }
    return seen;
}

static inline bool buf_has(const struct bnd_buf *in, const char *text) {
    return buf_count(in, text) > 0;
}

/* Reads until `text` has been seen `times` times; fails at the end of the stream. */
static inline void client_await(int fd, struct bnd_buf *in, const char *text, unsigned times) {
    while (buf_count(in, text) < times) {
        uint8_t bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            fail_msg("%u of %u '%s' in:\n%.*s", buf_count(in, text), times, text, (int)in->len,
                     (const char *)in->data);
        }
        bnd_buf_append(in, bytes, (size_t)n);
    }
}

/* Reads to the end of the stream; false if it was reset or nothing came for too long. */
static inline bool client_rest(int fd, struct bnd_buf *in) {
    for (;;) {
        uint8_t bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            return n == 0;
        }
        bnd_buf_append(in, bytes, (size_t)n);
    }
}

#endif
