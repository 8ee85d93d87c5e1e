/* Read frame decoder: what it accepts encodes to the same bytes. */
#include "raft/readindex.h"
#include "tests/fuzz/fuzz.h"

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
    fuzz_same(&again, bnd_slice(data, size));
    return 0;
}
