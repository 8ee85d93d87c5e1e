/* Survey answers: what is accepted encodes to the same bytes. */
#include "raft/survey_wire.h"
#include "tests/fuzz/fuzz.h"

static void add(void *data, const struct bnd_survey_group *group) {
    survey_group_encode(group, data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_buf again = {0};
    survey_reply_begin(&again);
    if (survey_reply_decode(bnd_slice(data, size), add, &again) == 0) {
        BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&again), bnd_slice(data, size)));
    }
    bnd_buf_free(&again);
    return 0;
}
