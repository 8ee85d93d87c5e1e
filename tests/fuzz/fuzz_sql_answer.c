/* An answer that is decoded is encoded again to the same bytes. Seeds:
 * tests/fuzz/corpus/fuzz_sql_answer. */
#include "base/assert.h"
#include "sql/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct bnd_sql_answer answer;
    if (bnd_sql_answer_decode(bnd_slice(data, len), &answer) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    bnd_sql_answer_encode(&again, &answer);
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(&again), bnd_slice(data, len)));
    bnd_buf_free(&again);
    return 0;
}
