/* Shard call decoders, by the first byte: request or reply. What they accept encodes to the same
 * bytes. */
#include "base/assert.h"
#include "raft/shard_wire.h"

static void same(struct bnd_buf *head, struct bnd_slice body, struct bnd_slice bytes) {
    bnd_buf_append_slice(head, body);
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(head), bytes));
    bnd_buf_free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    struct bnd_slice bytes = bnd_slice(data + 1, size - 1);
    struct bnd_buf head = {0};
    struct shard_request request;
    struct shard_reply reply;
    if (data[0] % 2 == 0 && shard_request_decode(bytes, &request) == 0) {
        shard_request_head(&request, &head);
        same(&head, request.body, bytes);
    } else if (data[0] % 2 == 1 && shard_reply_decode(bytes, &reply) == 0) {
        shard_reply_head(&reply, &head);
        same(&head, reply.body, bytes);
    }
    return 0;
}
