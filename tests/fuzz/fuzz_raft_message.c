/* Anything decoded is encoded again to the same bytes. Seeds: tests/fuzz/corpus/fuzz_raft_message.
 */
#include "raft/message.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct bnd_message message;
    if (bnd_message_decode(bnd_slice(data, len), &message, NULL) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    bnd_message_encode(&message, &again);
    BND_ASSERT(again.len == bnd_message_bytes(&message));
    fuzz_same(&again, bnd_slice(data, len));
    bnd_message_release(&message);
    return 0;
}
