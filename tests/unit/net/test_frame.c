/* The peer protocol's codecs: what is cut is joined, and hostile bytes are refused. */
#include "base/alloc.h"
#include "net/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct seen {
    unsigned count;
    unsigned stop_after;
    uint8_t kind[8];
    uint64_t hash[8];
    size_t len[8];
};

static uint64_t hash_of(struct bnd_slice s) {
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < s.len; i++) {
        hash = (hash ^ s.data[i]) * 1099511628211u;
    }
    return hash;
}

static bool see(void *owner, uint8_t kind, struct bnd_slice payload) {
    struct seen *seen = owner;
    assert_true(seen->count < 8);
    seen->kind[seen->count] = kind;
    seen->hash[seen->count] = hash_of(payload);
    seen->len[seen->count] = payload.len;
    seen->count++;
    return seen->count != seen->stop_after;
}

static uint8_t *pattern(size_t len) {
    uint8_t *data = bnd_alloc(len);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    return data;
}

static void feed_in_pieces(struct bnd_slice wire, size_t piece, struct seen *seen, int expected) {
    struct bnd_frame_joiner joiner = {0};
    int rv = 0;
    for (size_t at = 0; at < wire.len && rv == 0; at += piece) {
        size_t take = wire.len - at < piece ? wire.len - at : piece;
        rv = bnd_frame_feed(&joiner, bnd_slice(wire.data + at, take), see, seen);
    }
    assert_int_equal(rv, expected);
    bnd_frame_joiner_free(&joiner);
}

static void test_messages_of_every_size_arrive_whole(void **state) {
    static const size_t sizes[] = {0,
                                   1,
                                   1000,
                                   BND_FRAME_PAYLOAD_MAX,
                                   BND_FRAME_PAYLOAD_MAX + 1,
                                   2 * BND_FRAME_PAYLOAD_MAX - 4,
                                   2 * BND_FRAME_PAYLOAD_MAX - 3,
                                   BND_MESH_MESSAGE_MAX};
    static const size_t pieces[] = {7, 65536, 65537, 1 << 24};
    uint8_t *data = pattern(BND_MESH_MESSAGE_MAX);
    struct bnd_buf wire = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t before = wire.len;
        size_t third = sizes[i] / 3;
        struct bnd_slice parts[4] = {bnd_slice(data, third), bnd_slice(NULL, 0),
                                     bnd_slice(data + third, sizes[i] - third), bnd_slice(NULL, 0)};
        bnd_frame_append(&wire, (uint8_t)(1 + i % 7), parts, 4);
        assert_int_equal(wire.len - before, bnd_frame_wire_bytes(sizes[i]));
    }
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        struct seen seen = {0};
        feed_in_pieces(bnd_buf_slice(&wire), pieces[p], &seen, 0);
        assert_int_equal(seen.count, 8);
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(seen.len[i], sizes[i]);
            assert_int_equal(seen.kind[i], 1 + i % 7);
            assert_true(seen.hash[i] == hash_of(bnd_slice(data, sizes[i])));
        }
    }
    bnd_buf_free(&wire);
    bnd_free(data);
}

static void frame(struct bnd_buf *wire, uint32_t length, uint8_t kind, uint8_t flags, uint16_t zero,
                  size_t bytes) {
    bnd_buf_u32(wire, length);
    bnd_buf_u8(wire, kind);
    bnd_buf_u8(wire, flags);
    bnd_buf_u16(wire, zero);
    for (size_t i = 0; i < bytes; i++) {
        bnd_buf_u8(wire, 'x');
    }
}

static void expect(struct bnd_buf *wire, int code, unsigned messages) {
    for (size_t piece = 1; piece <= wire->len; piece += piece < 32 ? 1 : wire->len) {
        struct seen seen = {0};
        feed_in_pieces(bnd_buf_slice(wire), piece, &seen, code);
        assert_int_equal(seen.count, messages);
    }
    bnd_buf_free(wire);
}

static void test_ping_between_the_frames_of_a_message(void **state) {
    struct bnd_buf wire = {0};
    frame(&wire, 7, 3, 1, 0, 0);
    bnd_buf_u32(&wire, 5);
    bnd_buf_append_str(&wire, "abc");
    frame(&wire, 16, BND_FRAME_PING, 3, 0, 16);
    frame(&wire, 2, 3, 2, 0, 2);
    expect(&wire, 0, 2);
}

static void test_hostile_frames_are_refused(void **state) {
    struct bnd_buf wire = {0};
    frame(&wire, BND_FRAME_PAYLOAD_MAX + 1, 3, 3, 0, 8); /* too long */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, UINT32_MAX, 3, 3, 0, 8);
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 1, 0, 3, 0, 1); /* kind 0 */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 16, 0x82, 3, 0, 16); /* kind of no one */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 15, BND_FRAME_PING, 3, 0, 15); /* a ping of another size */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 1, 3, 7, 0, 1); /* unknown flag */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 1, 3, 3, 1, 1); /* reserved */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 1, 3, 2, 0, 1); /* goes on with nothing */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 4, 3, 1, 0, 4); /* begins without a byte */
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 8, 3, 1, 0, 0); /* total below what is there */
    bnd_buf_u32(&wire, 4);
    bnd_buf_append_str(&wire, "abcd");
    expect(&wire, BND_CORRUPT, 0);
    frame(&wire, 8, 3, 1, 0, 0); /* total above the bound */
    bnd_buf_u32(&wire, BND_MESH_MESSAGE_MAX + 1);
    bnd_buf_append_str(&wire, "abcd");
    expect(&wire, BND_CORRUPT, 0);
}

static void begun(struct bnd_buf *wire) { /* 4 of 10 bytes */
    frame(wire, 8, 3, 1, 0, 0);
    bnd_buf_u32(wire, 10);
    bnd_buf_append_str(wire, "abcd");
}

static void test_messages_that_do_not_add_up_are_refused(void **state) {
    struct bnd_buf wire = {0};
    begun(&wire);
    frame(&wire, 7, 3, 2, 0, 7); /* one too many */
    expect(&wire, BND_CORRUPT, 0);
    begun(&wire);
    frame(&wire, 5, 3, 2, 0, 5); /* the last, too early */
    expect(&wire, BND_CORRUPT, 0);
    begun(&wire);
    frame(&wire, 6, 3, 0, 0, 6); /* complete, but not the last */
    expect(&wire, BND_CORRUPT, 0);
    begun(&wire);
    frame(&wire, 6, 4, 2, 0, 6); /* of another kind */
    expect(&wire, BND_CORRUPT, 0);
    begun(&wire);
    frame(&wire, 0, 3, 0, 0, 0); /* an empty one: could go on for ever */
    expect(&wire, BND_CORRUPT, 0);
    begun(&wire);
    frame(&wire, 1, 3, 3, 0, 1); /* a whole one in between */
    expect(&wire, BND_CORRUPT, 0);
    begun(&wire);
    frame(&wire, 6, 3, 2, 0, 6);
    expect(&wire, 0, 1);
}

static void test_a_receiver_can_stop(void **state) {
    struct bnd_buf wire = {0};
    struct seen seen = {.stop_after = 1};
    struct bnd_frame_joiner joiner = {0};
    frame(&wire, 1, 3, 3, 0, 1);
    frame(&wire, 1, 3, 3, 0, 1);
    assert_int_equal(bnd_frame_feed(&joiner, bnd_buf_slice(&wire), see, &seen), 0);
    assert_int_equal(seen.count, 1);
    bnd_frame_joiner_free(&joiner);
    bnd_buf_free(&wire);
}

static void test_hello(void **state) {
    uint8_t bytes[BND_FRAME_HELLO_BYTES];
    struct bnd_hello hello = {.version = 3,
                              .version_min = 2,
                              .lane = 1,
                              .status = 5,
                              .sender = 7,
                              .receiver = UINT64_MAX};
    struct bnd_hello read;
    memset(hello.cluster, 0xc1, sizeof hello.cluster);
    bnd_hello_encode(&hello, bytes);
    assert_int_equal(bnd_hello_decode(bytes, &read), 0);
    assert_int_equal(read.version, 3);
    assert_int_equal(read.version_min, 2);
    assert_int_equal(read.lane, 1);
    assert_int_equal(read.status, 5);
    assert_true(read.sender == 7 && read.receiver == UINT64_MAX);
    assert_memory_equal(read.cluster, hello.cluster, sizeof hello.cluster);
    static const size_t breaks[] = {0, 1, 2, 3, 8, 10, 11};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
        bytes[breaks[i]] ^= 0x40;
        assert_int_equal(bnd_hello_decode(bytes, &read), BND_CORRUPT);
        bytes[breaks[i]] ^= 0x40;
    }
    bnd_put_u16(bytes + 6, 4); /* lowest above highest */
    assert_int_equal(bnd_hello_decode(bytes, &read), BND_CORRUPT);
    assert_string_equal(bnd_hello_text(200), "an unknown reason");
}

static void test_join_head(void **state) {
    uint8_t bytes[BND_FRAME_JOIN_HEAD_BYTES];
    int status = 0;
    uint32_t length = 0;
    bnd_join_head_encode(BND_DENIED, 100, bytes);
    assert_int_equal(bnd_join_head_decode(bytes, 100, &status, &length), 0);
    assert_int_equal(status, BND_DENIED);
    assert_int_equal(length, 100);
    assert_int_equal(bnd_join_head_decode(bytes, 99, &status, &length), BND_CORRUPT);
    bnd_put_u32(bytes + 8, 1);
    assert_int_equal(bnd_join_head_decode(bytes, 100, &status, &length), BND_CORRUPT);
    bnd_put_u16(bytes + 4, 2);
    assert_int_equal(bnd_join_head_decode(bytes, 100, &status, &length), BND_VERSION);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_every_size_arrive_whole),
        cmocka_unit_test(test_ping_between_the_frames_of_a_message),
        cmocka_unit_test(test_hostile_frames_are_refused),
        cmocka_unit_test(test_messages_that_do_not_add_up_are_refused),
        cmocka_unit_test(test_a_receiver_can_stop),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_join_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
