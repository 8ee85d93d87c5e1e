/* Shard call decoders, by the first byte: request or reply. What they accept encodes to the same
 * bytes. */
#include "raft/shard_wire.h"
#include "tests/fuzz/fuzz.h"

static void request(struct bnd_slice bytes) {
    struct shard_request read;
    struct bnd_buf again = {0};
    if (shard_request_decode(bytes, &read) == 0) {
        shard_request_head(&read, &again);
        bnd_buf_append_slice(&again, read.body);
        fuzz_same(&again, bytes);
    }
}

static void reply(struct bnd_slice bytes) {
    struct shard_reply read;
    struct bnd_buf again = {0};
    if (shard_reply_decode(bytes, &read) == 0) {
        shard_reply_head(&read, &again);
        bnd_buf_append_slice(&again, read.body);
        fuzz_same(&again, bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_part *const parts[] = {request, reply};
    return fuzz_one_of(parts, sizeof parts / sizeof *parts, data, size);
}
