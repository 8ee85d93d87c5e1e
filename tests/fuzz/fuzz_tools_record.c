/* One record of the state as `bindery inspect state` says it: any key and value is told as damaged,
 * or becomes one line of printable text. Input: family, length of the key, key, value. */
#include "tests/fuzz/fuzz.h"
#include "tools/inspect_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || data[1] > size - 2) {
        return 0;
    }
    struct bnd_buf text = {0};
    struct tools_record record = {
        .cf = (enum bnd_state_cf)(data[0] % BND_CF_COUNT),
        .key = bnd_slice(data + 2, data[1]),
        .value = bnd_slice(data + 2 + data[1], size - 2 - data[1]),
    };
    int rv = tools_record_text(&record, &text);
    BND_ASSERT(rv == 0 || text.len == 0);
    for (size_t i = 0; i < text.len; i++) {
        BND_ASSERT(text.data[i] >= ' ' && text.data[i] < 0x7f);
    }
    bnd_buf_free(&text);
    return 0;
}
