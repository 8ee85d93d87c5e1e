/* Sockets: real TCP on the loopback. */
#include "tests/unit/engine/io_test.h"

struct peer;

struct world {
    struct bnd_env *env;
    struct bnd_listener *listener;
    struct bnd_connect connect;
    struct peer *server;
    struct peer *client;
    char address[BND_ADDRESS_MAX];
    int open; /* peers not yet closed */
    int connect_status;
};

/* One end of a connection. It sends `to_send` in pieces of at most 1 MiB, or echoes what it reads.
 */
struct peer {
    struct world *world;
    struct bnd_stream *stream;
    bool echo;
    struct bnd_write write;
    bool writing;
    uint8_t *out;
    size_t out_len;
    size_t out_sent; /* given to write */
    uint8_t *in;
    size_t in_len;
    size_t queued_max;
    bool paused;
    bool ended;
    int end_status;
    int writes_ok;
    int writes_canceled;
    bool closed;
};

#define TOTAL ((size_t)8 << 20)
#define PIECE ((size_t)1 << 20)

static void on_closed(void *data) {
    struct peer *peer = data;
    assert_false(peer->closed);
    peer->closed = true;
    if (--peer->world->open == 0) {
        bnd_io_env_stop(peer->world->env);
    }
}

static void peer_close(struct peer *peer) {
    struct bnd_env *env = peer->world->env;
    env->ops->stream_close(env, peer->stream, on_closed, peer);
    peer->stream = NULL;
}

static void peer_send(struct peer *peer);

static void on_written(struct bnd_write *write, int status) {
    struct peer *peer = write->data;
    assert_false(peer->closed);
    peer->writing = false;
    if (status != 0) {
        peer->writes_canceled += status == BND_CANCELED;
        return;
    }
    peer->writes_ok++;
    if (peer->stream == NULL) {
        return;
    }
    if (peer->echo && peer->paused) { /* back-pressure: what was read is out, read on */
        peer->paused = false;
        peer->world->env->ops->stream_read(peer->world->env, peer->stream, true);
    }
    peer_send(peer);
}

static void peer_send(struct peer *peer) {
    struct bnd_env *env = peer->world->env;
    size_t rest = (peer->echo ? peer->in_len : peer->out_len) - peer->out_sent;
    if (peer->writing || rest == 0) {
        return;
    }
    uint8_t *from = (peer->echo ? peer->in : peer->out) + peer->out_sent;
    size_t len = rest < PIECE ? rest : PIECE;
    struct bnd_iov iov[2] = {{.data = from, .len = len / 2},
                             {.data = from + len / 2, .len = len - len / 2}};
    long taken = env->ops->stream_try_write(env, peer->stream, iov, 2);
    assert_true(taken >= 0);
    peer->out_sent += (size_t)taken;
    if ((size_t)taken == len) {
        peer_send(peer);
        return;
    }
    struct bnd_iov left = {.data = from + taken, .len = len - (size_t)taken};
    peer->writing = true;
    peer->out_sent += left.len;
    peer->write = (struct bnd_write){.cb = on_written, .data = peer};
    assert_int_equal(env->ops->stream_write(env, peer->stream, &peer->write, &left, 1), 0);
    size_t queued = env->ops->stream_queued(env, peer->stream);
    assert_true(queued <= left.len);
    peer->queued_max = queued > peer->queued_max ? queued : peer->queued_max;
}

static void on_read(void *owner, const uint8_t *data, size_t len) {
    struct peer *peer = owner;
    assert_non_null(peer->stream);
    assert_false(peer->ended);
    assert_false(peer->paused);
    assert_true(peer->in_len + len <= TOTAL);
    memcpy(peer->in + peer->in_len, data, len);
    peer->in_len += len;
    if (peer->echo) {
        peer_send(peer);
        if (peer->writing) {
            peer->paused = true;
            peer->world->env->ops->stream_read(peer->world->env, peer->stream, false);
        }
    } else if (peer->in_len == peer->out_len) {
        peer->world->env->ops->stream_shutdown(peer->world->env, peer->stream);
    }
}

static void on_end(void *owner, int status) {
    struct peer *peer = owner;
    assert_false(peer->ended);
    peer->ended = true;
    peer->end_status = status;
    peer_close(peer);
}

static const struct bnd_stream_events events = {.on_read = on_read, .on_end = on_end};

static struct peer *peer_create(struct world *world, struct bnd_stream *stream) {
    struct peer *peer = bnd_zalloc(sizeof *peer);
    peer->world = world;
    peer->stream = stream;
    peer->in = bnd_alloc(TOTAL);
    world->open++;
    world->env->ops->stream_bind(world->env, stream, &events, peer);
    return peer;
}

static void peer_free(struct peer *peer) {
    if (peer != NULL) {
        bnd_free(peer->in);
        bnd_free(peer->out);
        bnd_free(peer);
    }
}

static void on_accept_echo(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    world->server = peer_create(world, stream);
    world->server->echo = true;
    world->env->ops->stream_read(world->env, stream, true);
}

static void on_connect_send(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct world *world = connect->data;
    assert_int_equal(status, 0);
    struct peer *peer = world->client = peer_create(world, stream);
    char address[BND_ADDRESS_MAX];
    world->env->ops->stream_peer(world->env, stream, address);
    assert_string_equal(address, world->address);
    peer->out = bnd_alloc(TOTAL);
    peer->out_len = TOTAL;
    for (size_t i = 0; i < TOTAL; i++) {
        peer->out[i] = (uint8_t)(i * 31 + (i >> 13));
    }
    world->env->ops->stream_read(world->env, stream, true);
    peer_send(peer);
}

static void world_open(struct world *world, const char *address,
                       void (*on_accept)(void *data, struct bnd_stream *stream),
                       void (*on_connect)(struct bnd_connect *, int, struct bnd_stream *)) {
    *world = (struct world){.env = test_env(BND_IO_AUTO)};
    struct bnd_error err = {0};
    if (world->env->ops->listen(world->env, address, 16, on_accept, world, &world->listener,
                                &err) != 0) {
        fail_msg("%s", err.message);
    }
    world->env->ops->listener_address(world->env, world->listener, world->address);
    world->connect = (struct bnd_connect){.cb = on_connect, .data = world};
    assert_int_equal(world->env->ops->connect(world->env, world->address, &world->connect, &err),
                     0);
}

static void world_close(struct world *world) {
    world->env->ops->listener_close(world->env, world->listener);
    bnd_io_env_destroy(world->env);
    peer_free(world->server);
    peer_free(world->client);
}

static void echo(const char *address) {
    struct world world;
    world_open(&world, address, on_accept_echo, on_connect_send);
    bnd_io_env_run(world.env);
    assert_int_equal(world.client->in_len, TOTAL);
    assert_memory_equal(world.client->in, world.client->out, TOTAL);
    assert_true(world.client->ended && world.server->ended);
    assert_int_equal(world.client->end_status, 0);
    assert_int_equal(world.server->end_status, 0);
    assert_true(world.client->queued_max > 0); /* the kernel did push back */
    assert_true(world.client->queued_max <= PIECE);
    world_close(&world);
}

static void eight_mebibytes_come_back_with_back_pressure(void **state) {
    echo("127.0.0.1:0");
}

static void the_same_over_ipv6(void **state) {
    struct bnd_env *env = test_env(BND_IO_AUTO);
    struct bnd_listener *listener = NULL;
    int rv = env->ops->listen(env, "[::1]:0", 1, on_accept_echo, NULL, &listener, NULL);
    bnd_io_env_destroy(env);
    if (rv != 0) {
        skip(); /* no IPv6 here */
    }
    echo("[::1]:0");
}

/* ---- closing ---- */

static void on_accept_mute(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    world->server = peer_create(world, stream); /* never reads */
}

static void on_connect_close(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct world *world = connect->data;
    struct peer *peer = world->client = peer_create(world, stream);
    static uint8_t bytes[1 << 20];
    static struct bnd_write writes[32];
    world->env->ops->stream_read(world->env, stream, true);
    for (int i = 0; i < 32; i++) {
        writes[i] = (struct bnd_write){.cb = on_written, .data = peer};
        struct bnd_iov iov = {.data = bytes, .len = sizeof bytes};
        assert_int_equal(world->env->ops->stream_write(world->env, stream, &writes[i], &iov, 1), 0);
    }
    assert_true(world->env->ops->stream_queued(world->env, stream) > 0);
    peer_close(peer);
    assert_int_equal(peer->writes_ok + peer->writes_canceled, 0); /* never from inside the call */
    assert_false(peer->closed);
    if (world->server != NULL) {
        peer_close(world->server);
    } else {
        world->open++; /* accepted later: destroy closes it */
        bnd_io_env_stop(world->env);
    }
}

static void close_cancels_queued_writes_and_tells_last(void **state) {
    struct world world;
    world_open(&world, "127.0.0.1:0", on_accept_mute, on_connect_close);
    bnd_io_env_run(world.env);
    world.env->ops->listener_close(world.env, world.listener);
    bnd_io_env_destroy(world.env);
    struct peer *peer = world.client;
    assert_true(peer->closed); /* on_written asserts that it came before this */
    assert_int_equal(peer->writes_ok + peer->writes_canceled, 32);
    assert_true(peer->writes_canceled > 0);
    assert_false(peer->ended);
    peer_free(world.server);
    peer_free(world.client);
}

static void on_connect_fail(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct world *world = connect->data;
    world->connect_status = status;
    assert_null(stream);
    if (status != BND_CANCELED) {
        bnd_io_env_stop(world->env);
    }
}

static void a_refused_connection_says_so(void **state) {
    struct world world = {.env = test_env(BND_IO_AUTO)};
    struct bnd_env *env = world.env;
    struct bnd_listener *listener = NULL;
    struct bnd_error err = {0};
    assert_int_equal(env->ops->listen(env, "127.0.0.1:0", 1, NULL, NULL, &listener, &err), 0);
    env->ops->listener_address(env, listener, world.address);
    struct bnd_listener *second = NULL;
    assert_int_equal(env->ops->listen(env, world.address, 1, NULL, NULL, &second, &err),
                     BND_EXISTS);
    assert_non_null(strstr(err.message, world.address));
    assert_non_null(strstr(err.message, "address already in use"));
    env->ops->listener_close(env, listener);
    bnd_io_env_stop(env);
    bnd_io_env_run(env); /* the socket is closed in the pass */
    world.connect = (struct bnd_connect){.cb = on_connect_fail, .data = &world};
    assert_int_equal(env->ops->connect(env, world.address, &world.connect, &err), 0);
    assert_int_equal(world.connect_status, 0);
    bnd_io_env_run(env);
    assert_int_equal(world.connect_status, BND_CLOSED);
    bnd_io_env_destroy(env);
}

static void destroy_cancels_a_connect_under_way(void **state) {
    struct world world = {.env = test_env(BND_IO_AUTO)};
    world.connect = (struct bnd_connect){.cb = on_connect_fail, .data = &world};
    struct bnd_error err = {0};
    assert_int_equal(world.env->ops->connect(world.env, "127.0.0.1:1", &world.connect, &err), 0);
    bnd_io_env_destroy(world.env);
    assert_int_equal(world.connect_status, BND_CANCELED);
}

static void bad_addresses_are_refused(void **state) {
    static const char *const bad[] = {"",         "127.0.0.1", "localhost:80", "127.0.0.1:",
                                      "1.2.3:80", "::1:80",    "[::1]",        "127.0.0.1:65536",
                                      "[::1:80",  "[]:80",     ":80",          "127.0.0.1:8x",
                                      "]:80",     "[:80",      "127.0.0.1:-1"};
    struct bnd_env *env = test_env(BND_IO_AUTO);
    struct bnd_connect connect = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bnd_error err = {0};
        struct bnd_listener *listener = NULL;
        assert_int_equal(env->ops->connect(env, bad[i], &connect, &err), BND_INVALID);
        assert_int_equal(env->ops->listen(env, bad[i], 1, NULL, NULL, &listener, &err),
                         BND_INVALID);
        assert_non_null(strstr(err.message, "address '"));
    }
    bnd_io_env_destroy(env);
}

static void loops_share_a_port_only_when_asked(void **state) {
    struct bnd_io_options options = {.reuse_port = true};
    struct bnd_env *a = NULL;
    struct bnd_env *b = NULL;
    assert_int_equal(bnd_io_env_create(&options, &a, NULL), 0);
    assert_int_equal(bnd_io_env_create(&options, &b, NULL), 0);
    struct bnd_listener *first = NULL;
    struct bnd_listener *second = NULL;
    char address[BND_ADDRESS_MAX];
    assert_int_equal(a->ops->listen(a, "127.0.0.1:0", 8, NULL, NULL, &first, NULL), 0);
    a->ops->listener_address(a, first, address);
    assert_int_equal(b->ops->listen(b, address, 8, NULL, NULL, &second, NULL), 0);
    bnd_io_env_destroy(a); /* closes what is open */
    bnd_io_env_destroy(b);
}

/* A peer that vanishes must be an error, not a SIGPIPE. */
static void on_connect_vanish(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct world *world = connect->data;
    world->client = peer_create(world, stream);
    world->client->out = bnd_zalloc(TOTAL);
    world->client->out_len = TOTAL;
    peer_send(world->client);
    world->env->ops->stream_read(world->env, stream, true);
}

static void on_accept_vanish(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    world->env->ops->stream_close(world->env, stream, NULL, NULL); /* with unread bytes: a reset */
}

static void a_reset_ends_the_stream_with_a_code(void **state) {
    struct world world;
    world_open(&world, "127.0.0.1:0", on_accept_vanish, on_connect_vanish);
    bnd_io_env_run(world.env);
    assert_true(world.client->ended);
    assert_true(world.client->end_status == BND_CLOSED || world.client->end_status == 0);
    world_close(&world);
}

int main(void) {
    (void)alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_mebibytes_come_back_with_back_pressure),
        cmocka_unit_test(the_same_over_ipv6),
        cmocka_unit_test(close_cancels_queued_writes_and_tells_last),
        cmocka_unit_test(a_refused_connection_says_so),
        cmocka_unit_test(destroy_cancels_a_connect_under_way),
        cmocka_unit_test(bad_addresses_are_refused),
        cmocka_unit_test(loops_share_a_port_only_when_asked),
        cmocka_unit_test(a_reset_ends_the_stream_with_a_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
