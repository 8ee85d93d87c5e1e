/* Small writes, which are collected and leave together: real TCP on the loopback. */
#include "tests/unit/engine/io_test.h"

#define PAIRS 100 /* more than leave in one system call */
#define TOTAL ((size_t)256 << 10)
#define SMALL 1000

struct end {
    struct world *world;
    struct bnd_stream *stream;
    struct bnd_connect connect;
    struct bnd_write write;
    struct bnd_timer timer;
    uint64_t number; /* of the client: what it sends follows from it */
    bool writing;
    size_t sent, received;
    bool ended, closed;
    int status;
    uint8_t bytes[4096];
};

struct world {
    struct bnd_env *env;
    struct bnd_listener *listener;
    struct end clients[PAIRS], servers[PAIRS];
    size_t accepted, over;
};

static uint8_t byte_at(uint64_t number, size_t at) {
    return (uint8_t)(number * 7 + at * 31 + (at >> 8));
}

static struct world *world_open(void (*on_accept)(void *data, struct bnd_stream *stream),
                                void (*on_connect)(struct bnd_connect *, int, struct bnd_stream *),
                                size_t clients) {
    struct world *world = bnd_zalloc(sizeof *world);
    struct bnd_error err = {0};
    char address[BND_ADDRESS_MAX];
    world->env = test_env(BND_IO_AUTO);
    const struct bnd_env_ops *ops = world->env->ops;
    assert_int_equal(
        ops->listen(world->env, "127.0.0.1:0", 128, on_accept, world, &world->listener, &err), 0);
    ops->listener_address(world->env, world->listener, address);
    for (size_t i = 0; i < clients; i++) {
        struct end *end = &world->clients[i];
        end->world = world;
        end->number = i;
        end->connect = (struct bnd_connect){.cb = on_connect, .data = end};
        assert_int_equal(ops->connect(world->env, address, &end->connect, &err), 0);
    }
    return world;
}

static void world_close(struct world *world) {
    bnd_io_env_destroy(world->env);
    bnd_free(world);
}

static struct end *accepted(struct world *world, struct bnd_stream *stream,
                            const struct bnd_stream_events *events) {
    struct end *end = &world->servers[world->accepted++];
    end->world = world;
    end->stream = stream;
    world->env->ops->stream_bind(world->env, stream, events, end);
    return end;
}

static void on_closed(void *data) {
    struct end *end = data;
    end->closed = true;
}

static void end_close(struct end *end) {
    end->world->env->ops->stream_close(end->world->env, end->stream, on_closed, end);
    end->stream = NULL;
}

static long try_write(struct end *end, size_t len) {
    struct bnd_iov iov[2] = {{end->bytes, len / 2}, {end->bytes + len / 2, len - len / 2}};
    return end->world->env->ops->stream_try_write(end->world->env, end->stream, iov, 2);
}

/* ---- order ---- */

static void send_some(struct end *end);

static void on_written(struct bnd_write *write, int status) {
    struct end *end = write->data;
    assert_int_equal(status, 0);
    end->writing = false;
    send_some(end);
}

/* Some collected, some too large for that, some queued: in turns, several in a pass. */
static void send_some(struct end *end) {
    struct bnd_env *env = end->world->env;
    for (int i = 0; i < 5 && !end->writing && end->sent < TOTAL; i++) {
        size_t len = 1 + (end->sent * 131 + end->number * 17) % (i == 3 ? 4000 : 700);
        len = len < TOTAL - end->sent ? len : TOTAL - end->sent;
        for (size_t k = 0; k < len; k++) {
            end->bytes[k] = byte_at(end->number, end->sent + k);
        }
        long taken = i == 4 ? 0 : try_write(end, len);
        assert_true(taken >= 0);
        end->sent += len;
        if ((size_t)taken < len) {
            struct bnd_iov left = {end->bytes + taken, len - (size_t)taken};
            end->writing = true;
            end->write = (struct bnd_write){.cb = on_written, .data = end};
            assert_int_equal(env->ops->stream_write(env, end->stream, &end->write, &left, 1), 0);
        }
    }
    if (end->sent == TOTAL && !end->writing) {
        env->ops->stream_shutdown(env, end->stream);
    }
}

/* The first byte of the client says which one it is. */
static void on_read_checked(void *owner, const uint8_t *data, size_t len) {
    struct end *end = owner;
    if (end->received == 0) {
        while (byte_at(end->number, 0) != data[0]) {
            end->number++;
        }
    }
    for (size_t i = 0; i < len; i++) {
        if (data[i] != byte_at(end->number, end->received + i)) {
            fail_msg("client %lu: byte %zu is another", (unsigned long)end->number,
                     end->received + i);
        }
    }
    end->received += len;
    uint8_t word[8] = {0}; /* asks for more */
    struct bnd_iov iov = {word, sizeof word};
    assert_int_equal(end->world->env->ops->stream_try_write(end->world->env, end->stream, &iov, 1),
                     8);
}

static void on_end_counted(void *owner, int status) {
    struct end *end = owner;
    assert_int_equal(status, 0);
    end_close(end);
    if (++end->world->over == 2 * (size_t)PAIRS) {
        bnd_io_env_stop(end->world->env);
    }
}

static void on_read_more(void *owner, const uint8_t *data, size_t len) {
    struct end *end = owner;
    if (end->sent < TOTAL) {
        send_some(end);
    }
}

static const struct bnd_stream_events checking = {.on_read = on_read_checked,
                                                  .on_end = on_end_counted};
static const struct bnd_stream_events sending = {.on_read = on_read_more, .on_end = on_end_counted};

static void on_accept_check(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    (void)accepted(world, stream, &checking);
    world->env->ops->stream_read(world->env, stream, true);
}

static void on_connect_send(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct end *end = connect->data;
    struct bnd_env *env = end->world->env;
    assert_int_equal(status, 0);
    end->stream = stream;
    env->ops->stream_bind(env, stream, &sending, end);
    env->ops->stream_read(env, stream, true);
    send_some(end);
}

static void every_stream_keeps_its_order(void **state) {
    struct world *world = world_open(on_accept_check, on_connect_send, PAIRS);
    bnd_io_env_run(world->env);
    for (size_t i = 0; i < PAIRS; i++) {
        assert_int_equal(world->servers[i].received, TOTAL);
    }
    world_close(world);
}

/* ---- a kernel that takes no more, and a close ---- */

static void on_read_counted(void *owner, const uint8_t *data, size_t len) {
    struct end *end = owner;
    end->received += len;
}

static void on_end_stop(void *owner, int status) {
    struct end *end = owner;
    end->ended = true;
    end->status = status;
    end_close(end);
    bnd_io_env_stop(end->world->env);
}

static const struct bnd_stream_events counting = {.on_read = on_read_counted,
                                                  .on_end = on_end_stop};

static void on_accept_count(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    (void)accepted(world, stream, &counting);
    world->env->ops->stream_read(world->env, stream, true);
}

/* Two in turns, so that each write is one of its own. */
static void on_connect_fill(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct end *end = connect->data;
    struct end *ends = end->world->clients;
    assert_int_equal(status, 0);
    end->stream = stream;
    end->world->env->ops->stream_bind(end->world->env, stream, &counting, end);
    if (ends[0].stream == NULL || ends[1].stream == NULL) {
        return;
    }
    for (bool full[2] = {false}; !full[0] || !full[1];) {
        for (size_t i = 0; i < 2; i++) {
            long taken = full[i] ? 0 : try_write(&ends[i], SMALL);
            assert_true(taken >= 0);
            ends[i].sent += (size_t)taken;
            full[i] = taken == 0;
        }
    }
    end_close(&ends[0]);
    end_close(&ends[1]);
}

static void a_close_loses_nothing_that_was_taken(void **state) {
    struct world *world = world_open(on_accept_count, on_connect_fill, 2);
    while (!world->servers[0].ended || !world->servers[1].ended) {
        bnd_io_env_run(world->env);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(world->servers[i].status, 0);
        assert_true(world->clients[i].sent > (size_t)100 * SMALL);
    }
    assert_int_equal(world->servers[0].received + world->servers[1].received,
                     world->clients[0].sent + world->clients[1].sent);
    world_close(world);
}

static void on_accept_last_words(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    struct end *end = accepted(world, stream, &counting);
    assert_int_equal(try_write(end, SMALL), SMALL);
    end_close(end);
}

static void on_connect_listen(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct end *end = connect->data;
    assert_int_equal(status, 0);
    end->stream = stream;
    end->world->env->ops->stream_bind(end->world->env, stream, &counting, end);
    end->world->env->ops->stream_read(end->world->env, stream, true);
}

static void last_words_arrive(void **state) {
    struct world *world = world_open(on_accept_last_words, on_connect_listen, 1);
    bnd_io_env_run(world->env);
    assert_int_equal(world->clients[0].received, SMALL);
    assert_int_equal(world->clients[0].status, 0);
    world_close(world);
}

static void on_accept_mute(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    (void)accepted(world, stream, &counting); /* never reads */
    bnd_io_env_stop(world->env);
}

static void destroy_ends_a_close_that_waits(void **state) {
    struct world *world = world_open(on_accept_mute, on_connect_fill, 2);
    while (world->accepted < 2 || world->clients[0].sent == 0) {
        bnd_io_env_run(world->env);
    }
    assert_false(world->clients[0].closed);
    bnd_io_env_destroy(world->env);
    assert_true(world->clients[0].closed);
    bnd_free(world);
}

/* ---- a peer that is gone ---- */

static void on_again(struct bnd_timer *timer) {
    struct end *end = timer->data;
    if (end->stream == NULL) {
        return;
    }
    long taken = try_write(end, 8);
    if (taken < 0) { /* without io_uring it is told at once */
        assert_int_equal(bnd_io_env_backend(end->world->env), BND_IO_THREADS);
        on_end_stop(end, (int)taken);
        return;
    }
    assert_int_equal(taken, 8);
    bnd_timer_start(end->world->env, &end->timer, BND_MS);
}

static void on_connect_mute(struct bnd_connect *connect, int status, struct bnd_stream *stream) {
    struct end *end = connect->data;
    assert_int_equal(status, 0);
    end->stream = stream;
    end->world->env->ops->stream_bind(end->world->env, stream, &counting, end);
    end->timer = (struct bnd_timer){.cb = on_again, .data = end};
    on_again(&end->timer);
}

static void on_accept_close(void *data, struct bnd_stream *stream) {
    struct world *world = data;
    world->env->ops->stream_close(world->env, stream, NULL, NULL);
}

static void who_does_not_read_hears_of_a_lost_peer(void **state) {
    struct world *world = world_open(on_accept_close, on_connect_mute, 1);
    bnd_io_env_run(world->env);
    assert_true(world->clients[0].ended);
    assert_int_equal(world->clients[0].status, BND_CLOSED);
    world_close(world);
}

int main(void) {
    (void)alarm(120);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stream_keeps_its_order),
        cmocka_unit_test(a_close_loses_nothing_that_was_taken),
        cmocka_unit_test(last_words_arrive),
        cmocka_unit_test(destroy_ends_a_close_that_waits),
        cmocka_unit_test(who_does_not_read_hears_of_a_lost_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
