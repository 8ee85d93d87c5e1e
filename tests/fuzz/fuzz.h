/* What fuzz targets share. */
#ifndef BND_TESTS_FUZZ_FUZZ_H
#define BND_TESTS_FUZZ_FUZZ_H

#include "base/assert.h"
#include "base/bytes.h"

/* The target: libFuzzer or replay.c calls it. Returns 0; a finding aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was decoded from bytes is encoded again to the same bytes. Frees *again. */
static inline void fuzz_same(struct bnd_buf *again, struct bnd_slice bytes) {
    BND_ASSERT(!again->failed);
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(again), bytes));
    bnd_buf_free(again);
}

/* The piece of at most `step` bytes that begins at `at`, of an input that is given cut. */
static inline struct bnd_slice fuzz_piece(struct bnd_slice whole, size_t at, size_t step) {
    size_t left = whole.len - at;
    return bnd_slice(whole.data + at, step < left ? step : left);
}

/* One of several decoders. */
typedef void fuzz_part(struct bnd_slice bytes);

/* Gives the input behind its first byte to the part that this byte names, modulo count. Returns 0.
 */
static inline int fuzz_one_of(fuzz_part *const *parts, size_t count, const uint8_t *data,
                              size_t size) {
    if (size > 0) {
        parts[data[0] % count](bnd_slice(data + 1, size - 1));
    }
    return 0;
}

#endif
