/* Applied tuple decoder: what it accepts encodes to the same bytes. */
#include "base/assert.h"
#include "raft/tuple.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tuple tuple;
    if (tuple_decode(bnd_slice(data, size), &tuple, NULL) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    tuple_encode(&tuple, &again);
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&again), bnd_slice(data, size)));
    bnd_buf_free(&again);
    return 0;
}
