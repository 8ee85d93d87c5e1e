/* The HTTP server under load and against clients that stall: memory stays bounded, time-outs come.
 */
#include "tests/integration/http_rig.h"

#include <sys/resource.h>

#define MIB ((size_t)1 << 20)
#define BODY_BYTES (64 * MIB)
#define IDLE_CONNECTIONS 2000u

static struct rig rig;

static int setup(void **state) {
    rig_start(&rig, NULL, NULL);
    return 0;
}

static int teardown(void **state) {
    rig_stop(&rig, 0);
    return 0;
}

/* While the handler does not read, the client's sending must come to a stop, not the memory. */
static void test_upload_is_held_back(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    char head[128];
    (void)snprintf(head, sizeof head,
                   "PUT /later HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", BODY_BYTES);
    client_say(fd, head);
    size_t sent = 0;
    uint64_t received = UINT64_MAX;
    for (;;) { /* until the socket is full and the server takes nothing more */
        ssize_t n = send(fd, rig_piece, RIG_PIECE, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        uint64_t now = rig_counters(&rig).bytes_in;
        if (now == received) {
            break;
        }
        received = now;
    }
    struct bnd_http_counters counters = rig_counters(&rig);
    assert_true(sent < BODY_BYTES / 2);
    assert_in_range(counters.buffer_bytes, 256u << 10, 1u << 20);
    atomic_store(&rig.consume, true);
    size_t most = 0;
    while (sent < BODY_BYTES) {
        size_t n = BODY_BYTES - sent < RIG_PIECE ? BODY_BYTES - sent : RIG_PIECE;
        client_send(fd, bnd_slice(rig_piece, n));
        sent += n;
        if (sent % MIB < RIG_PIECE) {
            size_t now = rig_counters(&rig).buffer_bytes;
            most = now > most ? now : most;
        }
    }
    assert_true(most <= 1u << 20);
    client_await(fd, &in, "\r\n\r\n67108864 ", 1);
    close(fd);
}

/* The client takes 1 MiB and rests; the server must not run ahead of it. */
static void check_download(const char *path, bool chunked) {
    int fd = client_open(&rig);
    char head[128];
    (void)snprintf(head, sizeof head, "GET %s?%zu HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                   path, BODY_BYTES);
    client_say(fd, head);
    static uint8_t bytes[RIG_PIECE];
    size_t total = 0;
    size_t most = 0;
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        assert_true(n >= 0);
        if (n == 0) {
            break;
        }
        if (total / MIB != (total + (size_t)n) / MIB) {
            struct bnd_http_counters counters = rig_counters(&rig);
            most = counters.buffer_bytes > most ? counters.buffer_bytes : most;
            assert_true(counters.bytes_out - total < 16 * MIB); /* the kernel's buffers */
        }
        total += (size_t)n;
    }
    assert_true(most <= 64u << 10);
    size_t frames = chunked ? BODY_BYTES / RIG_PIECE * strlen("\r\n10000\r\n") : 0;
    assert_in_range(total, BODY_BYTES + frames, BODY_BYTES + frames + 300);
    close(fd);
}

static void test_download(void **state) {
    check_download("/stream", false);
}

static void test_chunked_download(void **state) {
    check_download("/chunks", true);
}

static void test_idle_connections_are_cheap(void **state) {
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_true(files.rlim_cur > 2 * IDLE_CONNECTIONS + 64);
    static int fds[IDLE_CONNECTIONS];
    for (unsigned i = 0; i < IDLE_CONNECTIONS; i++) {
        BND_AUTO_BUF struct bnd_buf in = {0};
        fds[i] = client_open(&rig);
        client_say(fds[i], "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
        client_await(fds[i], &in, "hello", 1);
    }
    struct bnd_http_counters counters = rig_counters(&rig);
    assert_int_equal(counters.connections, IDLE_CONNECTIONS);
    assert_int_equal(counters.buffer_bytes, 0);
    for (unsigned i = 0; i < IDLE_CONNECTIONS; i += 100) { /* and alive */
        BND_AUTO_BUF struct bnd_buf in = {0};
        client_say(fds[i], "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
        client_await(fds[i], &in, "hello", 1);
    }
    for (unsigned i = 0; i < IDLE_CONNECTIONS; i++) {
        close(fds[i]);
    }
}

/* One address may not take every connection; what it gives back it may take again. */
static void test_connections_of_one_address_are_bounded(void **state) {
    struct bnd_http_limits limits = {.connections_per_address_max = 3};
    rig_start(&rig, &limits, NULL);
    int fds[4];
    for (unsigned i = 0; i < 4; i++) {
        BND_AUTO_BUF struct bnd_buf in = {0};
        fds[i] = client_open(&rig);
        if (i < 3) {
            client_say(fds[i], "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
            client_await(fds[i], &in, "hello", 1);
        } else {
            (void)client_rest(fds[i], &in);
            assert_int_equal(in.len, 0);
        }
    }
    assert_int_equal(rig_counters(&rig).connections_refused_address, 1);
    close(fds[3]);
    close(fds[0]);
    while (rig_counters(&rig).connections > 2) {
    }
    BND_AUTO_BUF struct bnd_buf in = {0};
    fds[0] = client_open(&rig);
    client_say(fds[0], "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(fds[0], &in, "hello", 1);
    for (unsigned i = 0; i < 3; i++) {
        close(fds[i]);
    }
    rig_stop(&rig, 0);
}

/* Slow heads fill every place: the slowest makes room for the next client. */
static void test_slow_heads_make_room(void **state) {
    struct bnd_http_limits limits = {.connections_max = 3};
    rig_start(&rig, &limits, NULL);
    BND_AUTO_BUF struct bnd_buf in = {0};
    int slow[3];
    for (unsigned i = 0; i < 3; i++) {
        slow[i] = client_open(&rig);
        client_say(slow[i], "GET /hel");
    }
    while (rig_counters(&rig).bytes_in < 3 * 8) {
    }
    int fd = -1;
    do { /* refused while no head has been slow for a second */
        bnd_buf_reset(&in);
        if (fd >= 0) {
            close(fd);
        }
        fd = client_open(&rig);
        client_say(fd, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        (void)client_rest(fd, &in);
    } while (!buf_has(&in, "hello"));
    close(fd);
    assert_int_equal(rig_counters(&rig).timeouts_head, 1);
    bnd_buf_reset(&in);
    (void)client_rest(slow[0], &in); /* the oldest */
    for (unsigned i = 0; i < 3; i++) {
        close(slow[i]);
    }
    rig_stop(&rig, 0);
}

static void test_time_outs(void **state) {
    struct bnd_http_limits limits = {.head_timeout_ns = 100 * BND_MS,
                                     .body_timeout_ns = 100 * BND_MS,
                                     .write_timeout_ns = 100 * BND_MS,
                                     .idle_timeout_ns = 200 * BND_MS,
                                     .linger_timeout_ns = 100 * BND_MS};
    rig_start(&rig, &limits, NULL);
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, "GET /hello HT"); /* a head that never ends */
    assert_true(client_rest(fd, &in));
    assert_true(buf_has(&in, "408 Request Timeout"));
    close(fd);
    bnd_buf_reset(&in);
    fd = client_open(&rig);
    client_say(fd, "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    (void)client_rest(fd, &in);
    assert_true(buf_has(&in, "408 Request Timeout"));
    while (rig_counters(&rig).connections > 0) { /* the handler hears of it after the client */
    }
    assert_int_equal(atomic_load(&rig.read_status), BND_TIMEOUT);
    close(fd);
    int slow = client_open(&rig); /* asks for much and takes nothing */
    client_say(slow, "GET /stream?1000000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    bnd_buf_reset(&in);
    fd = client_open(&rig);
    client_say(fd, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(client_rest(fd, &in)); /* answered, then closed as idle */
    assert_true(buf_has(&in, "hello"));
    close(fd);
    assert_int_equal(sem_wait(&rig.arrived), 0);
    while (rig_counters(&rig).connections > 0) {
    }
    struct bnd_http_counters counters = rig_counters(&rig);
    assert_int_equal(counters.timeouts_head, 1);
    assert_int_equal(counters.timeouts_body, 1);
    assert_int_equal(counters.timeouts_write, 1);
    assert_int_equal(counters.timeouts_idle, 1);
    assert_int_equal(counters.requests_open, 0);
    close(slow);
    rig_stop(&rig, 0);
}

static void test_bounds(void **state) {
    struct bnd_http_limits limits = {.requests_max = 2, .body_bytes_max = 10};
    rig_start(&rig, &limits, NULL);
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(&rig);
        client_say(fds[i], "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        if (i < 2) {
            assert_int_equal(sem_wait(&rig.arrived), 0);
        }
    }
    assert_true(client_rest(fds[2], &in)); /* the third request: overload */
    assert_true(buf_has(&in, "503 Service Unavailable") && buf_has(&in, "Retry-After: 1"));
    close(fds[2]);
    int fd = client_open(&rig);
    client_reset(fds[0]);
    assert_int_equal(sem_wait(&rig.aborted), 0);
    bnd_buf_reset(&in);
    client_say(fd, "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n");
    assert_true(client_rest(fd, &in));
    assert_true(buf_has(&in, "413 Content Too Large"));
    close(fd);
    bnd_buf_reset(&in);
    fd = client_open(&rig);
    client_say(fd, "PUT /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "b\r\nabcdefghijk\r\n0\r\n\r\n");
    (void)client_rest(fd, &in);
    assert_true(buf_has(&in, "413 Content Too Large"));
    close(fd);
    close(fds[1]);
    rig_stop(&rig, 0);
}

/* At the bound of connections the one idle for longest makes room; with none idle, the new one
 * goes. */
static void test_connections_are_bounded(void **state) {
    struct bnd_http_limits limits = {.connections_max = 2};
    rig_start(&rig, &limits, NULL);
    BND_AUTO_BUF struct bnd_buf in = {0};
    int idle = client_open(&rig);
    client_say(idle, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(idle, &in, "hello", 1);
    int held = client_open(&rig);
    client_say(held, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(sem_wait(&rig.arrived), 0);
    assert_int_equal(sem_wait(&rig.arrived), 0);
    int fresh = client_open(&rig);
    assert_true(client_rest(idle, &in));
    client_say(fresh, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(sem_wait(&rig.arrived), 0);
    bnd_buf_reset(&in);
    int refused = client_open(&rig);
    (void)client_rest(refused, &in);
    assert_int_equal(in.len, 0);
    assert_int_equal(rig_counters(&rig).connections_refused, 1);
    close(idle);
    close(held);
    close(fresh);
    close(refused);
    rig_stop(&rig, 0);
}

/* A close with grace lets a held request be answered and says that the connection ends. */
static void test_close_with_grace(void **state) {
    rig_start(&rig, NULL, NULL);
    BND_AUTO_BUF struct bnd_buf in = {0};
    int idle = client_open(&rig);
    int fd = client_open(&rig);
    client_say(fd, "PUT /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(sem_wait(&rig.arrived), 0);
    rig.grace_ns = 10000 * BND_MS;
    rig.task = (struct bnd_task){.cb = rig_close, .data = &rig};
    bnd_post(rig.env, &rig.task);
    assert_true(client_rest(idle, &in)); /* closed at once: the close has begun */
    atomic_store(&rig.consume, true);
    assert_true(client_rest(fd, &in));
    assert_true(buf_has(&in, "3 294") && buf_has(&in, "Connection: close"));
    assert_int_equal(pthread_join(rig.thread, NULL), 0);
    bnd_io_env_destroy(rig.env);
    close(fd);
    close(idle);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_upload_is_held_back),
        T(test_download),
        T(test_chunked_download),
        T(test_idle_connections_are_cheap),
        cmocka_unit_test(test_connections_of_one_address_are_bounded),
        cmocka_unit_test(test_slow_heads_make_room),
        cmocka_unit_test(test_time_outs),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_connections_are_bounded),
        cmocka_unit_test(test_close_with_grace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
