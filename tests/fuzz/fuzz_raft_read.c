/* Read frame decoder: what it accepts encodes to the same bytes. */
#include "base/assert.h"
#include "raft/readindex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct read_frame frame;
    if (read_frame_decode(bnd_slice(data, size), &frame, NULL) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    read_frame_begin(&again, frame.kind, frame.round);
    for (uint32_t i = 0; i < frame.count; i++) {
        struct read_item item;
        read_frame_next(&frame, &item);
        read_frame_item(&again, frame.kind, &item);
    }
    read_frame_end(&again, frame.count);
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&again), bnd_slice(data, size)));
    bnd_buf_free(&again);
    return 0;
}
