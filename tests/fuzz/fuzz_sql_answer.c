/* An answer that is decoded is encoded again to the same bytes. Seeds:
 * tests/fuzz/corpus/fuzz_sql_answer. */
#include "sql/request.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct bnd_sql_answer answer;
    if (bnd_sql_answer_decode(bnd_slice(data, len), &answer) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    bnd_sql_answer_encode(&again, &answer);
    fuzz_same(&again, bnd_slice(data, len));
    return 0;
}
