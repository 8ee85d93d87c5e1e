/* The HTTP server's protocol over real sockets. */
#include "tests/integration/http_rig.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define PUT(path, length) "PUT " path " HTTP/1.1\r\nHost: h\r\nContent-Length: " length "\r\n\r\n"
#define PUT_CHUNKED(path) "PUT " path " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

static struct rig rig;

static int setup(void **state) {
    rig_start(&rig, NULL, NULL);
    return 0;
}

static int teardown(void **state) {
    rig_stop(&rig, 0);
    return 0;
}

static void test_keep_alive(void **state) {
    int fd = client_open(&rig);
    for (int i = 0; i < 100; i++) {
        BND_AUTO_BUF struct bnd_buf in = {0};
        client_say(fd, GET("/hello"));
        client_await(fd, &in, "\r\n\r\nhello", 1);
        assert_true(buf_has(&in, "HTTP/1.1 200 OK\r\n"));
        assert_true(buf_has(&in, "Content-Length: 5\r\n") && buf_has(&in, "\r\nDate: "));
        assert_false(buf_has(&in, "Connection:"));
    }
    struct bnd_http_counters counters = rig_counters(&rig);
    assert_int_equal(counters.connections_accepted, 1);
    assert_int_equal(counters.requests, 100);
    assert_int_equal(counters.responses[2], 100);
    assert_int_equal(counters.requests_open, 0);
    assert_int_equal(counters.buffer_bytes, 0);
    close(fd);
}

static void test_version_1_0(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_await(fd, &in, "\r\n\r\nhello", 1);
    assert_true(buf_has(&in, "Connection: keep-alive\r\n"));
    bnd_buf_reset(&in);
    client_say(fd, "GET /chunks?100 HTTP/1.0\r\n\r\n");
    assert_true(client_rest(fd, &in));
    assert_false(buf_has(&in, "Transfer-Encoding"));
    const uint8_t *body = memmem(in.data, in.len, "\r\n\r\n", 4);
    assert_int_equal(in.data + in.len - body, 104);
    close(fd);
}

static void test_pipelined_answers_keep_their_order(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, GET("/hold") GET("/hello") GET("/hold") GET("/chunks?70000") GET("/release"));
    client_await(fd, &in, "released", 1);
    const char *order[] = {"held 0", "hello", "held 1", "\r\n0\r\n\r\n", "released"};
    const uint8_t *at = in.data;
    for (size_t i = 0; i < 5; i++) {
        at = memmem(at, in.len - (size_t)(at - in.data), order[i], strlen(order[i]));
        assert_non_null(at);
    }
    close(fd);
}

/* RFC 9112 9.3.2: nothing runs beside a request that is not safe. */
static void test_unsafe_requests_run_alone(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    BND_AUTO_BUF struct bnd_buf in_other = {0};
    int fd = client_open(&rig);
    int other = client_open(&rig);
    client_say(fd, "DELETE /hold HTTP/1.1\r\nHost: h\r\n\r\n" GET("/hello"));
    assert_int_equal(sem_wait(&rig.arrived), 0);
    client_say(other, GET("/hello"));
    client_await(other, &in_other, "\r\n\r\nhello", 1);
    assert_int_equal(rig_counters(&rig).requests, 2); /* the pipelined one waits */
    client_say(other, GET("/release"));
    client_await(fd, &in, "\r\n\r\nhello", 1);
    assert_true(buf_has(&in, "held 0"));
    close(fd);
    close(other);
}

static void test_pipeline_is_bounded(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    BND_AUTO_BUF struct bnd_buf out = {0};
    int fd = client_open(&rig);
    for (int i = 0; i < 200; i++) {
        bnd_buf_append_str(&out, i < 100 ? GET("/hold") : GET("/hello"));
    }
    client_send(fd, bnd_buf_slice(&out));
    for (int i = 0; i < 64; i++) {
        assert_int_equal(sem_wait(&rig.arrived), 0);
    }
    assert_int_equal(rig_counters(&rig).requests_open, 64);
    int other = client_open(&rig);
    client_say(other, GET("/release"));
    for (int i = 0; i < 1 + 64; i++) { /* /release; 36 more held, and 28 behind them */
        assert_int_equal(sem_wait(&rig.arrived), 0);
    }
    client_say(other, GET("/release"));
    client_await(fd, &in, "HTTP/1.1 200 OK", 200);
    close(fd);
    close(other);
}

static void test_continue_only_when_asked(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, "PUT /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                   "Expect: 100-continue\r\n\r\n");
    assert_int_equal(sem_wait(&rig.arrived), 0);
    assert_int_equal(rig_counters(&rig).bytes_out, 0);
    atomic_store(&rig.consume, true);
    client_await(fd, &in, "HTTP/1.1 100 Continue\r\n\r\n", 1);
    client_say(fd, "abc");
    client_await(fd, &in, "3 294", 1);
    /* Refused before the body: no 100, and the end, as the body may or may not come. */
    bnd_buf_reset(&in);
    client_say(fd, "PUT /deny HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                   "Expect: 100-continue\r\n\r\n");
    assert_true(client_rest(fd, &in));
    assert_true(buf_has(&in, "403 Forbidden") && buf_has(&in, "Connection: close"));
    assert_false(buf_has(&in, "100 Continue"));
    close(fd);
}

static void test_bodies(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, PUT("/count", "5") "hello" PUT("/count", "0"));
    client_await(fd, &in, "5 532", 1);
    client_await(fd, &in, "0 0", 1);
    client_say(fd,
               PUT_CHUNKED("/count") "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n" GET("/hello"));
    client_await(fd, &in, "5 495", 1);
    client_await(fd, &in, "hello", 1);
    client_say(fd, PUT_CHUNKED("/echo"));
    client_say(fd, "3\r\nabc\r\n");
    client_await(fd, &in, "3\r\nabc", 1);
    client_say(fd, "0\r\n\r\n");
    client_await(fd, &in, "\r\n0\r\n\r\n", 1);
    close(fd);
}

static void test_unread_bodies(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    BND_AUTO_BUF struct bnd_buf body = {0};
    int fd = client_open(&rig);
    assert_true(bnd_buf_reserve(&body, 200000));
    memset(body.data, 'x', 200000);
    body.len = 200000;
    client_say(fd, PUT("/deny", "200000")); /* below the drain bound: the connection lives */
    client_send(fd, bnd_buf_slice(&body));
    client_say(fd, GET("/hello"));
    client_await(fd, &in, "\r\n\r\nhello", 1);
    assert_true(buf_has(&in, "403 Forbidden"));
    bnd_buf_reset(&in);
    client_say(fd, PUT("/deny", "10000000000"));
    client_await(fd, &in, "denied", 1);
    assert_true(buf_has(&in, "Connection: close"));
    client_send(fd, bnd_buf_slice(&body)); /* still taken: the client reads its answer */
    assert_true(client_rest(fd, &in));
    close(fd);
}

static void test_head_requests(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n"
                   "HEAD /stream?123456 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_true(client_rest(fd, &in));
    assert_true(buf_has(&in, "Content-Length: 5\r\n"));
    assert_true(buf_has(&in, "Content-Length: 123456\r\n"));
    assert_true(in.len < 400 && !buf_has(&in, "hello"));
    close(fd);
}

static void test_half_close_is_answered(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, GET("/hello") GET("/stream?100000"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(client_rest(fd, &in));
    assert_true(buf_has(&in, "hello") && in.len > 100000);
    close(fd);
}

static void test_aborts(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, GET("/hold") "GET");
    assert_int_equal(sem_wait(&rig.arrived), 0);
    client_reset(fd);
    assert_int_equal(sem_wait(&rig.aborted), 0); /* a held request hears of it */
    fd = client_open(&rig);
    client_say(fd, PUT("/count", "100000") "abc");
    assert_int_equal(sem_wait(&rig.arrived), 0);
    close(fd); /* mid-body: the handler that reads hears of it by its read */
    fd = client_open(&rig);
    do {
        bnd_buf_reset(&in);
        client_say(fd, GET("/hello"));
        client_await(fd, &in, "hello", 1);
    } while (rig_counters(&rig).connections > 1);
    assert_int_equal(atomic_load(&rig.read_status), BND_CLOSED);
    bnd_buf_reset(&in);
    client_say(fd, GET("/abort"));
    (void)client_rest(fd, &in); /* end or reset is the kernel's choice */
    assert_int_equal(in.len, 0);
    close(fd);
    fd = client_open(&rig);
    client_say(fd, GET("/short"));
    (void)client_rest(fd, &in);
    assert_false(buf_has(&in, "toolong"));
    close(fd);
}

static void test_illegal_answers_are_refused(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    client_say(fd, GET("/bad"));
    client_await(fd, &in, "refused", 1);
    assert_true(buf_has(&in, "HTTP/1.1 500 Internal Server Error"));
    assert_false(buf_has(&in, "Set: b"));
    close(fd);
}

/* Each is answered with its status and the end of the connection; what follows it is no request. */
static void test_bad_requests(void **state) {
    static const struct {
        const char *text;
        const char *status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n" GET("/hello"), "400 Bad Request"},
        {"GET / HTTP/1.1\nHost: h\n\n", "400 Bad Request"},
        {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", "505 HTTP Version Not Supported"},
        {"POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
         "\r\n0\r\n\r\n" GET("/hello"),
         "400 Bad Request"},
        {"POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         "501 Not Implemented"},
        {PUT_CHUNKED("/count") "3\r\nabcX\r\n0\r\n\r\n" GET("/hello"), "400 Bad Request"},
        {PUT_CHUNKED("/count") "3 \r\nabc\r\n0\r\n\r\n", "400 Bad Request"},
        {"\r\n\r\n" GET("/hello"), "400 Bad Request"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported"},
        {GET("/x") "\r\n" GET("/x") "nonsense\r\n\r\n", "400 Bad Request"}, /* one CRLF is well */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        BND_AUTO_BUF struct bnd_buf in = {0};
        int fd = client_open(&rig);
        client_say(fd, cases[i].text);
        (void)client_rest(fd, &in);
        if (!buf_has(&in, cases[i].status) || !buf_has(&in, "Connection: close") ||
            buf_has(&in, "hello")) {
            fail_msg("case %zu:\n%.*s", i, (int)in.len, (const char *)in.data);
        }
        close(fd);
    }
}

static void check_oversize(const char *begin, const char *again, size_t bytes, const char *status) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    BND_AUTO_BUF struct bnd_buf out = {0};
    bnd_buf_append_str(&out, begin);
    while (out.len < bytes) {
        bnd_buf_append_str(&out, again);
    }
    bnd_buf_append_str(&out, "\r\n");
    int fd = client_open(&rig);
    client_send(fd, bnd_buf_slice(&out));
    (void)client_rest(fd, &in);
    assert_true(buf_has(&in, status));
    close(fd);
}

static void test_oversize_heads(void **state) {
    static const char start[] = "GET / HTTP/1.1\r\nHost: h\r\n";
    check_oversize("GET /", "aaaaaaaaaaaaaaaa", 66u << 10, "414 URI Too Long");
    check_oversize(start, "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 66u << 10, "431 Request");
    check_oversize(start, "X: y\r\n", 1000, "431 Request");
    BND_AUTO_BUF struct bnd_buf in = {0}; /* a head just below the bound is well */
    BND_AUTO_BUF struct bnd_buf out = {0};
    bnd_buf_append_str(&out, "GET /hello HTTP/1.1\r\nHost: h\r\nX: ");
    while (out.len < (64u << 10) - 5) {
        bnd_buf_append_str(&out, "y");
    }
    bnd_buf_append_str(&out, "\r\n\r\n");
    int fd = client_open(&rig);
    client_send(fd, bnd_buf_slice(&out));
    client_await(fd, &in, "hello", 1);
    close(fd);
}

static void test_one_byte_at_a_time(void **state) {
    BND_AUTO_BUF struct bnd_buf in = {0};
    int fd = client_open(&rig);
    const char *text = GET("/hello") PUT_CHUNKED("/count") "3\r\nabc\r\n0\r\n\r\n";
    for (size_t i = 0; i < strlen(text); i++) {
        client_send(fd, bnd_slice(text + i, 1));
    }
    client_await(fd, &in, "3 294", 1);
    assert_true(buf_has(&in, "hello"));
    close(fd);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_keep_alive),
        T(test_version_1_0),
        T(test_pipelined_answers_keep_their_order),
        T(test_unsafe_requests_run_alone),
        T(test_pipeline_is_bounded),
        T(test_continue_only_when_asked),
        T(test_bodies),
        T(test_unread_bodies),
        T(test_head_requests),
        T(test_half_close_is_answered),
        T(test_aborts),
        T(test_illegal_answers_are_refused),
        T(test_bad_requests),
        T(test_oversize_heads),
        T(test_one_byte_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
