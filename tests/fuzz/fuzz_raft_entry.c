/* Entry decoder: what it accepts encodes to the same bytes. */
#include "raft/entry.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct entry entry;
    if (entry_decode(bnd_slice(data, size), &entry, NULL) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    entry_begin(&again);
    for (uint32_t i = 0; i < entry.count; i++) {
        struct entry_operation operation;
        entry_next(&entry, &operation);
        entry_append(&again, &operation);
    }
    entry_seal(&again, entry.stamp_ms, entry.count);
    BND_ASSERT(bnd_reader_done(&entry.operations));
    fuzz_same(&again, bnd_slice(data, size));
    return 0;
}
