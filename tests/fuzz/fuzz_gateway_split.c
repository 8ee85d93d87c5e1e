/* Statements in SQL text: cut anywhere they are the same, and each ends where it should, with a
 * semicolon outside of everything. */
#include "gateway/d1/split.h"
#include "tests/fuzz/fuzz.h"

#define ENDS_MAX 64

struct ends {
    size_t at[ENDS_MAX];
    uint64_t count;
    bool open, between;
};

static void walk(struct bnd_slice text, size_t step, struct ends *out) {
    struct d1_split split = {0};
    *out = (struct ends){0};
    for (size_t at = 0; at < text.len;) {
        struct bnd_slice piece = fuzz_piece(text, at, step);
        bool ended = false;
        size_t len = d1_split_next(&split, piece, &ended);
        BND_ASSERT(len > 0 && len <= piece.len && (ended || len == piece.len));
        at += len;
        if (ended) {
            BND_ASSERT(text.data[at - 1] == ';' && !d1_split_open(&split));
            if (out->count < ENDS_MAX) {
                out->at[out->count] = at;
            }
            out->count++;
        }
    }
    out->open = d1_split_open(&split);
    out->between = d1_split_between(&split);
    BND_ASSERT(!out->open || !out->between);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bnd_slice text = bnd_slice(data, size);
    struct ends whole;
    struct ends cut;
    walk(text, size + 1, &whole);
    walk(text, size == 0 ? 1 : data[0] % 7u + 1, &cut);
    BND_ASSERT(whole.count == cut.count && whole.open == cut.open && whole.between == cut.between);
    for (size_t i = 0; i < whole.count && i < ENDS_MAX; i++) {
        BND_ASSERT(whole.at[i] == cut.at[i]);
    }
    BND_ASSERT(d1_split_count(text) == whole.count + whole.open);
    return 0;
}
