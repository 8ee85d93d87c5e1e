/* Anything decoded is encoded again to the same bytes, and can be walked. The first byte says what
 * the rest is. A chunk's hash is put right first, so that what lies behind the check is reached.
 * Seeds: tests/fuzz/corpus/fuzz_raft_export. */
#include "base/alloc.h"
#include "raft/export_chunk.h"
#include "tests/fuzz/fuzz.h"

static void fuzz_request(struct bnd_slice bytes) {
    struct export_request request;
    struct bnd_buf again = {0};
    if (export_request_decode(bytes, &request, NULL) == 0) {
        export_request_encode(&request, &again);
        fuzz_same(&again, bytes);
    }
}

static void fuzz_opened(struct bnd_slice bytes) {
    struct export_opened opened;
    struct bnd_buf again = {0};
    if (export_opened_decode(bytes, &opened, NULL) == 0) {
        export_opened_encode(&opened, &again);
        fuzz_same(&again, bytes);
    }
}

static void fuzz_member(struct bnd_slice bytes) {
    struct export_member told;
    struct bnd_buf again = {0};
    if (export_member_decode(bytes, &told, NULL) == 0) {
        export_member_encode(&told, &again);
        fuzz_same(&again, bytes);
    }
}

static void fuzz_chunk(struct bnd_slice bytes) {
    struct export_chunk chunk;
    struct bnd_buf again = {0};
    if (export_chunk_decode(bytes, &chunk, NULL) != 0) {
        return;
    }
    struct bnd_reader pairs = bnd_reader(chunk.pairs);
    for (uint32_t i = 0; i < chunk.pairs_count; i++) {
        BND_ASSERT(export_pair_next(&pairs).family < BND_CF_COUNT);
    }
    struct bnd_reader entries = bnd_reader(chunk.entries);
    for (uint32_t i = 0; i < chunk.entries_count; i++) {
        BND_ASSERT(export_entry_next(&entries).index > 0);
    }
    BND_ASSERT(bnd_reader_done(&pairs) && bnd_reader_done(&entries));
    export_chunk_encode(&chunk, &again);
    fuzz_same(&again, bytes);
}

static void fuzz_answers(struct bnd_slice bytes) {
    fuzz_opened(bytes);
    fuzz_member(bytes);
}

static void fuzz_chunk_of_right_hash(struct bnd_slice bytes) {
    if (bytes.len < 16) {
        fuzz_chunk(bytes);
        return;
    }
    uint8_t *right = bnd_memdup(bytes.data, bytes.len);
    BND_ASSERT(right != NULL);
    struct bnd_hash128 hash = bnd_hash128(bnd_slice(right, bytes.len - 16), 0);
    bnd_put_u64(right + bytes.len - 16, hash.low);
    bnd_put_u64(right + bytes.len - 8, hash.high);
    fuzz_chunk(bnd_slice(right, bytes.len));
    bnd_free(right);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_part *const parts[] = {fuzz_request, fuzz_answers, fuzz_chunk,
                                       fuzz_chunk_of_right_hash};
    return fuzz_one_of(parts, sizeof parts / sizeof *parts, data, size);
}
