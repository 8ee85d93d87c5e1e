/* Applied tuple decoder: what it accepts encodes to the same bytes; what an older version wrote, to
 * bytes of this one that mean the same. */
#include "raft/tuple.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tuple tuple;
    struct bnd_slice young;
    if (tuple_decode(bnd_slice(data, size), &tuple, &young, NULL) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    tuple_encode(&tuple, young, &again);
    if (data[0] == again.data[0]) {
        BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&again), bnd_slice(data, size)));
    } else {
        struct tuple newer;
        struct bnd_buf third = {0};
        BND_ASSERT(tuple_decode(bnd_buf_slice(&again), &newer, &young, NULL) == 0);
        tuple_encode(&newer, young, &third);
        BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&again), bnd_buf_slice(&third)));
        bnd_buf_free(&third);
    }
    bnd_buf_free(&again);
    return 0;
}
