/* Connections over real sockets, plain and TLS: bytes, back-pressure, ends and refusals. */
#include "base/alloc.h"
#include "net/conn.h"
#include "net/tls.h"
#include "tests/unit/net/real.h"

/* More than the kernel keeps for both ends of a connection: 4 + 32 MiB where it may grow most. */
#define TRANSFER (48u << 20)
#define PAUSE_AT (1u << 20)

struct side {
    struct real *real;
    struct bnd_conn *conn;
    bool opened;
    bool ended;
    int end_status;
    char failure[256];
    uint64_t received;
    uint64_t pause_at; /* stops reading there; 0: never */
    bool paused;
    bool wrong;
    bool read_while_paused;
    unsigned written;
    unsigned failed;
    bool closed;
};

struct wire {
    struct real real;
    struct certs certs;
    struct bnd_tls_context *server_tls;
    struct bnd_tls_context *client_tls;
    const char *name;
    uint64_t handshake_ns;
    struct bnd_listener *listener;
    struct bnd_connect connect;
    struct bnd_stream *raw; /* the client's, where it speaks no TLS */
    struct side server;
    struct side client;
};

static uint8_t byte_at(uint64_t i) {
    return (uint8_t)(i * 131 >> 9);
}

static void side_open(void *owner) {
    ((struct side *)owner)->opened = true;
}

static void side_read(void *owner, const uint8_t *data, size_t len) {
    struct side *side = owner;
    side->read_while_paused |= side->paused;
    for (size_t i = 0; i < len; i++) {
        side->wrong |= data[i] != byte_at(side->received + i);
    }
    side->received += len;
    if (side->pause_at != 0 && side->received >= side->pause_at) {
        side->paused = true;
        side->pause_at = 0;
        bnd_conn_read(side->conn, false);
    }
}

static void side_end(void *owner, int status) {
    struct side *side = owner;
    assert_false(side->ended);
    side->ended = true;
    side->end_status = status;
    (void)snprintf(side->failure, sizeof side->failure, "%s", bnd_conn_failure(side->conn));
}

static const struct bnd_conn_events side_events = {
    .on_open = side_open, .on_read = side_read, .on_end = side_end};

static void side_start(struct wire *w, struct side *side, struct bnd_stream *stream, bool server) {
    struct bnd_conn_options options = {.env = w->real.env,
                                       .stream = stream,
                                       .tls = server ? w->server_tls : w->client_tls,
                                       .server_name = server ? NULL : w->name,
                                       .handshake_timeout_ns = w->handshake_ns};
    side->real = &w->real;
    assert_int_equal(bnd_conn_create(&options, &side->conn), 0);
    bnd_conn_bind(side->conn, &side_events, side);
    bnd_conn_read(side->conn, true);
}

static void wire_accept(void *data, struct bnd_stream *stream) {
    struct wire *w = data;
    side_start(w, &w->server, stream, true);
}

static void wire_connected(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct wire *w = connect->data;
    assert_int_equal(status, 0);
    if (w->client_tls == NULL && w->server_tls != NULL) {
        w->raw = stream;
    } else {
        side_start(w, &w->client, stream, false);
    }
}

static void wire_certs(struct wire *w) {
    real_open(&w->real);
    certs_ca(&w->real, 1, &w->certs);
    certs_leaf(&w->real, 1, 0, &w->certs);
}

static void wire_tls(struct wire *w, enum bnd_tls_verify server_verify, bool client_certificate) {
    struct bnd_error err = {0};
    struct bnd_tls_config config = {.role = BND_TLS_SERVER,
                                    .verify = server_verify,
                                    .certificate_pem = bnd_buf_slice(&w->certs.cert),
                                    .key_pem = bnd_buf_slice(&w->certs.key),
                                    .ca_pem = bnd_buf_slice(&w->certs.ca),
                                    .alpn = "http/1.1"};
    assert_int_equal(bnd_tls_context_create(&config, &w->server_tls, &err), 0);
    config.role = BND_TLS_CLIENT;
    config.verify = BND_TLS_VERIFY_CA;
    if (!client_certificate) {
        config.certificate_pem = bnd_slice(NULL, 0);
    }
    assert_int_equal(bnd_tls_context_create(&config, &w->client_tls, &err), 0);
    w->name = "127.0.0.1";
}

static void wire_connect(struct wire *w) {
    struct bnd_error err;
    char address[BND_ADDRESS_MAX];
    struct bnd_env *env = w->real.env;
    assert_int_equal(env->ops->listen(env, "127.0.0.1:0", 8, wire_accept, w, &w->listener, &err),
                     0);
    env->ops->listener_address(env, w->listener, address);
    w->connect = (struct bnd_connect){.cb = wire_connected, .data = w};
    assert_int_equal(env->ops->connect(env, address, &w->connect, &err), 0);
}

static bool both_open(void *data) {
    struct wire *w = data;
    return w->server.opened && w->client.opened;
}

static void wire_start(struct wire *w, bool tls) {
    memset(w, 0, sizeof *w);
    wire_certs(w);
    if (tls) {
        wire_tls(w, BND_TLS_VERIFY_NONE, false);
    }
    wire_connect(w);
    real_run(&w->real, both_open, w);
}

static void side_close(struct side *side) {
    if (side->conn != NULL) {
        bnd_conn_close(side->conn, real_set, &side->closed);
        real_run(side->real, real_is_set, &side->closed);
    }
}

static void wire_stop(struct wire *w) {
    side_close(&w->client);
    side_close(&w->server);
    if (w->raw != NULL) {
        w->real.env->ops->stream_close(w->real.env, w->raw, NULL, NULL);
    }
    w->real.env->ops->listener_close(w->real.env, w->listener);
    bnd_tls_context_destroy(w->server_tls);
    bnd_tls_context_destroy(w->client_tls);
    bnd_io_env_destroy(w->real.env);
    certs_free(&w->certs);
}

/* ---- bytes and back-pressure
 * ---------------------------------------------------------------------------- */

struct transfer {
    struct bnd_write write[2];
    uint8_t *data;
    struct side *side;
};

static void part_written(struct bnd_write *write, int status) {
    struct side *side = write->data;
    side->written += status == 0;
    side->failed += status != 0;
}

/* Two writes: small pieces of every kind before one large, then the rest. */
static void transfer_start(struct transfer *t, struct side *side) {
    t->side = side;
    t->data = bnd_alloc(TRANSFER);
    assert_non_null(t->data);
    for (size_t i = 0; i < TRANSFER; i++) {
        t->data[i] = byte_at(i);
    }
    struct bnd_iov iov[16];
    size_t at = 0;
    for (unsigned i = 0; i < 15; i++) {
        iov[i] = (struct bnd_iov){t->data + at, (size_t)i * i * 40};
        at += iov[i].len;
    }
    iov[15] = (struct bnd_iov){t->data + at, TRANSFER / 2 - at};
    memset(t->write, 0, sizeof t->write);
    t->write[0].cb = t->write[1].cb = part_written;
    t->write[0].data = t->write[1].data = side;
    assert_int_equal(bnd_conn_write(side->conn, &t->write[0], iov, 16), 0);
    iov[0] = (struct bnd_iov){t->data + TRANSFER / 2, TRANSFER / 2};
    assert_int_equal(bnd_conn_write(side->conn, &t->write[1], iov, 1), 0);
    assert_int_equal(side->written, 0); /* never from inside */
}

static bool server_paused(void *data) {
    return ((struct wire *)data)->server.paused;
}

static bool server_has_all(void *data) {
    struct wire *w = data;
    return w->server.received == TRANSFER && w->client.written == 2;
}

static bool never(void *data) {
    return false;
}

static void transfer(bool tls) {
    struct wire w;
    struct transfer t;
    wire_start(&w, tls);
    assert_int_equal(bnd_conn_is_tls(w.server.conn), tls);
    w.server.pause_at = PAUSE_AT;
    transfer_start(&t, &w.client);
    real_run(&w.real, server_paused, &w);
    /* The reader stands still: nothing is delivered, and the writer's bytes stay with the writer.
     */
    uint64_t received = w.server.received;
    assert_false(real_run_for(&w.real, 200 * BND_MS, never, NULL));
    assert_false(w.server.read_while_paused);
    assert_true(w.server.received == received);
    size_t queued = bnd_conn_queued(w.client.conn);
    assert_true(queued > 0 && queued <= TRANSFER - received + (64u << 10));
    assert_int_equal(bnd_conn_try_write(w.client.conn, &(struct bnd_iov){t.data, 1}, 1), 0);
    w.server.paused = false;
    bnd_conn_read(w.server.conn, true);
    assert_true(w.server.received == received);
    /* Pausing in every read: what else the same chunk holds must wait. */
    for (unsigned i = 0; i < 100; i++) {
        w.server.paused = false;
        w.server.pause_at = 1;
        bnd_conn_read(w.server.conn, true);
        real_run(&w.real, server_paused, &w);
    }
    assert_false(w.server.read_while_paused);
    w.server.paused = false;
    bnd_conn_read(w.server.conn, true);
    real_run(&w.real, server_has_all, &w);
    assert_false(w.server.wrong);
    assert_int_equal(bnd_conn_queued(w.client.conn), 0);
    wire_stop(&w);
    bnd_free(t.data);
}

static void test_plain_carries_bytes_at_the_readers_pace(void **state) {
    transfer(false);
}

static void test_tls_carries_bytes_at_the_readers_pace(void **state) {
    transfer(true);
}

static bool server_got_hello(void *data) {
    return ((struct wire *)data)->server.received == 3;
}

static void test_try_write_leaves_at_once(void **state) {
    struct wire w;
    uint8_t bytes[3] = {byte_at(0), byte_at(1), byte_at(2)};
    wire_start(&w, true);
    struct bnd_iov iov[3] = {{bytes, 1}, {NULL, 0}, {bytes + 1, 2}};
    assert_int_equal(bnd_conn_try_write(w.client.conn, iov, 3), 3);
    assert_int_equal(bnd_conn_queued(w.client.conn), 0);
    real_run(&w.real, server_got_hello, &w);
    assert_false(w.server.wrong);
    struct bnd_slice alpn = bnd_conn_alpn(w.client.conn);
    assert_true(bnd_slice_eq(alpn, bnd_slice_str("http/1.1")));
    wire_stop(&w);
}

/* ---- ends
 * -----------------------------------------------------------------------------------------------
 */

static bool server_ended(void *data) {
    return ((struct wire *)data)->server.ended;
}

static void test_shutdown_follows_the_queued_writes(void **state) {
    for (int tls = 0; tls < 2; tls++) {
        struct wire w;
        struct transfer t;
        struct bnd_write write = {0};
        wire_start(&w, tls);
        transfer_start(&t, &w.client);
        bnd_conn_shutdown(w.client.conn);
        bnd_conn_shutdown(w.client.conn);
        assert_int_equal(bnd_conn_write(w.client.conn, &write, &(struct bnd_iov){t.data, 1}, 1),
                         BND_CLOSED);
        real_run(&w.real, server_ended, &w);
        assert_int_equal(w.server.end_status, 0);
        assert_int_equal(w.server.received, TRANSFER);
        assert_false(w.server.wrong);
        assert_int_equal(w.client.written, 2);
        /* The other direction is still open. */
        uint8_t first = byte_at(0);
        assert_int_equal(bnd_conn_try_write(w.server.conn, &(struct bnd_iov){&first, 1}, 1), 1);
        wire_stop(&w);
        bnd_free(t.data);
    }
}

static void test_close_cancels_writes_and_is_clean(void **state) {
    struct wire w;
    struct transfer t;
    wire_start(&w, true);
    transfer_start(&t, &w.client);
    side_close(&w.client);
    assert_int_equal(w.client.written + w.client.failed, 2);
    assert_true(w.client.failed > 0);
    w.client.conn = NULL;
    wire_stop(&w);
    bnd_free(t.data);
    /* With nothing queued, closing tells the peer that it is complete. */
    wire_start(&w, true);
    side_close(&w.client);
    w.client.conn = NULL;
    real_run(&w.real, server_ended, &w);
    assert_int_equal(w.server.end_status, 0);
    wire_stop(&w);
}

/* ---- refusals
 * ------------------------------------------------------------------------------------------- */

static bool client_ended(void *data) {
    return ((struct wire *)data)->client.ended;
}

static bool either_ended(void *data) {
    return client_ended(data) || server_ended(data);
}

static void test_a_wrong_name_is_refused(void **state) {
    static const char *const names[] = {"127.0.0.2", "example.org"};
    for (unsigned i = 0; i < 2; i++) {
        struct wire w = {0};
        wire_certs(&w);
        wire_tls(&w, BND_TLS_VERIFY_NONE, false);
        w.name = names[i];
        wire_connect(&w);
        real_run(&w.real, client_ended, &w);
        assert_int_equal(w.client.end_status, BND_DENIED);
        assert_false(w.client.opened);
        assert_non_null(strstr(w.client.failure, "mismatch"));
        real_run(&w.real, server_ended, &w);
        assert_int_equal(w.server.end_status, BND_DENIED);
        wire_stop(&w);
    }
}

static void test_a_client_without_certificate_is_refused_where_one_is_needed(void **state) {
    struct wire w = {0};
    wire_certs(&w);
    wire_tls(&w, BND_TLS_VERIFY_CA, false);
    wire_connect(&w);
    real_run(&w.real, server_ended, &w);
    assert_int_equal(w.server.end_status, BND_DENIED);
    assert_false(w.server.opened);
    wire_stop(&w);
}

static void test_a_certificate_for_servers_is_no_client_certificate(void **state) {
    struct wire w = {0};
    wire_certs(&w);
    wire_tls(&w, BND_TLS_VERIFY_OPTIONAL, true);
    wire_connect(&w);
    real_run(&w.real, server_ended, &w);
    assert_int_equal(w.server.end_status, BND_DENIED);
    assert_non_null(strstr(w.server.failure, "certificate refused"));
    wire_stop(&w);
}

static bool raw_there(void *data) {
    return ((struct wire *)data)->raw != NULL;
}

static void raw_start(struct wire *w, uint64_t handshake_ns) {
    memset(w, 0, sizeof *w);
    wire_certs(w);
    wire_tls(w, BND_TLS_VERIFY_NONE, false);
    bnd_tls_context_destroy(w->client_tls);
    w->client_tls = NULL;
    w->handshake_ns = handshake_ns;
    wire_connect(w);
    real_run(&w->real, raw_there, w);
}

static void test_a_silent_client_is_given_up(void **state) {
    struct wire w;
    raw_start(&w, 100 * BND_MS);
    real_run(&w.real, server_ended, &w);
    assert_int_equal(w.server.end_status, BND_TIMEOUT);
    wire_stop(&w);
}

static void test_bytes_that_are_no_tls(void **state) {
    struct wire w;
    static char text[] = "GET / HTTP/1.1\r\n\r\n";
    raw_start(&w, 0);
    assert_int_equal(
        w.real.env->ops->stream_try_write(w.real.env, w.raw, &(struct bnd_iov){text, 18}, 1), 18);
    real_run(&w.real, server_ended, &w);
    assert_int_equal(w.server.end_status, BND_CORRUPT);
    wire_stop(&w);
}

static void test_a_cut_handshake_is_told(void **state) {
    struct wire w;
    raw_start(&w, 0);
    w.real.env->ops->stream_close(w.real.env, w.raw, NULL, NULL);
    w.raw = NULL;
    real_run(&w.real, either_ended, &w);
    assert_int_equal(w.server.end_status, BND_CLOSED);
    assert_non_null(strstr(w.server.failure, "handshake"));
    wire_stop(&w);
}

static void test_contexts_refuse_what_does_not_fit(void **state) {
    struct wire w = {0};
    struct certs other = {0};
    struct bnd_tls_context *context = NULL;
    struct bnd_error err = {0};
    wire_certs(&w);
    certs_ca(&w.real, 2, &other);
    certs_leaf(&w.real, 2, 0, &other);
    struct bnd_tls_config config = {.role = BND_TLS_SERVER,
                                    .verify = BND_TLS_VERIFY_NONE,
                                    .certificate_pem = bnd_buf_slice(&w.certs.cert),
                                    .key_pem = bnd_buf_slice(&other.key)};
    assert_int_equal(bnd_tls_context_create(&config, &context, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "key"));
    config.key_pem = bnd_slice(NULL, 0);
    assert_int_equal(bnd_tls_context_create(&config, &context, &err), BND_INVALID);
    config.key_pem = bnd_buf_slice(&w.certs.key);
    config.verify = BND_TLS_VERIFY_CA;
    config.ca_pem = bnd_slice_str("no PEM");
    assert_int_equal(bnd_tls_context_create(&config, &context, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "CA"));
    config.verify = BND_TLS_VERIFY_PINNED;
    assert_int_equal(bnd_tls_context_create(&config, &context, &err), BND_INVALID);
    assert_null(context);
    bnd_io_env_destroy(w.real.env);
    certs_free(&w.certs);
    certs_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_carries_bytes_at_the_readers_pace),
        cmocka_unit_test(test_tls_carries_bytes_at_the_readers_pace),
        cmocka_unit_test(test_try_write_leaves_at_once),
        cmocka_unit_test(test_shutdown_follows_the_queued_writes),
        cmocka_unit_test(test_close_cancels_writes_and_is_clean),
        cmocka_unit_test(test_a_wrong_name_is_refused),
        cmocka_unit_test(test_a_client_without_certificate_is_refused_where_one_is_needed),
        cmocka_unit_test(test_a_certificate_for_servers_is_no_client_certificate),
        cmocka_unit_test(test_a_silent_client_is_given_up),
        cmocka_unit_test(test_bytes_that_are_no_tls),
        cmocka_unit_test(test_a_cut_handshake_is_told),
        cmocka_unit_test(test_contexts_refuse_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
