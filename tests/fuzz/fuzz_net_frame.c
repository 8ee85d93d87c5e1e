/* The peer protocol's decoders: hello, join head, frames. The first byte picks the decoder and how
 * the rest is cut. */
#include "net/frame.h"
#include "tests/fuzz/fuzz.h"

static bool see(void *owner, uint8_t kind, struct bnd_slice payload) {
    uint64_t *sum = owner;
    BND_ASSERT(kind > 0 && payload.len <= BND_MESH_MESSAGE_MAX);
    for (size_t i = 0; i < payload.len; i++) {
        *sum = *sum * 31 + payload.data[i];
    }
    *sum += kind;
    return true;
}

/* What was understood must not depend on where the stream was cut. */
static uint64_t feed(struct bnd_slice wire, size_t piece, int *out_rv) {
    struct bnd_frame_joiner joiner = {0};
    uint64_t sum = 0;
    *out_rv = 0;
    for (size_t at = 0; at < wire.len && *out_rv == 0; at += piece) {
        *out_rv = bnd_frame_feed(&joiner, fuzz_piece(wire, at, piece), see, &sum);
    }
    bnd_frame_joiner_free(&joiner);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_hello hello;
    uint8_t again[BND_FRAME_HELLO_BYTES];
    int status = 0;
    uint32_t length = 0;
    if (size == 0) {
        return 0;
    }
    struct bnd_slice rest = bnd_slice(data + 1, size - 1);
    if (data[0] == 'H' && rest.len >= sizeof again && bnd_hello_decode(rest.data, &hello) == 0) {
        bnd_hello_encode(&hello, again);
        BND_ASSERT(memcmp(again, rest.data, sizeof again) == 0);
        BND_ASSERT(bnd_hello_text(hello.status) != NULL);
    } else if (data[0] == 'J' && rest.len >= BND_FRAME_JOIN_HEAD_BYTES &&
               bnd_join_head_decode(rest.data, BND_FRAME_JOIN_REPLY_MAX, &status, &length) == 0) {
        bnd_join_head_encode(status, length, again);
        BND_ASSERT(memcmp(again, rest.data, BND_FRAME_JOIN_HEAD_BYTES) == 0);
    } else {
        int whole_rv = 0;
        int cut_rv = 0;
        uint64_t whole = feed(rest, rest.len + 1, &whole_rv);
        uint64_t cut = feed(rest, 1u + data[0] % 17u, &cut_rv);
        BND_ASSERT(whole_rv == cut_rv);
        BND_ASSERT(whole == cut);
    }
    return 0;
}
