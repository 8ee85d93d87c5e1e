/* Anything decoded is encoded again to the same bytes, and can be walked. The first byte says what
 * the rest is. A chunk's hash is put right first, so that what lies behind the check is reached.
 * Seeds: tests/fuzz/corpus/fuzz_raft_export. */
#include "base/alloc.h"
#include "base/assert.h"
#include "raft/export_chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void same(struct bnd_buf *again, struct bnd_slice bytes) {
    BND_ASSERT(bnd_slice_eq(bnd_buf_slice(again), bytes));
    bnd_buf_free(again);
}

static void fuzz_request(struct bnd_slice bytes) {
    struct export_request request;
    struct bnd_buf again = {0};
    if (export_request_decode(bytes, &request, NULL) == 0) {
        export_request_encode(&request, &again);
        same(&again, bytes);
    }
}

static void fuzz_opened(struct bnd_slice bytes) {
    struct export_opened opened;
    struct bnd_buf again = {0};
    if (export_opened_decode(bytes, &opened, NULL) == 0) {
        export_opened_encode(&opened, &again);
        same(&again, bytes);
    }
}

static void fuzz_member(struct bnd_slice bytes) {
    struct export_member told;
    struct bnd_buf again = {0};
    if (export_member_decode(bytes, &told, NULL) == 0) {
        export_member_encode(&told, &again);
        same(&again, bytes);
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
    same(&again, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len == 0) {
        return 0;
    }
    struct bnd_slice rest = bnd_slice(data + 1, len - 1);
    if (data[0] % 4 == 0) {
        fuzz_request(rest);
    } else if (data[0] % 4 == 1) {
        fuzz_opened(rest);
        fuzz_member(rest);
    } else if (data[0] % 4 == 2 || rest.len < 16) {
        fuzz_chunk(rest);
    } else {
        uint8_t *right = bnd_memdup(rest.data, rest.len);
        BND_ASSERT(right != NULL);
        struct bnd_hash128 hash = bnd_hash128(bnd_slice(right, rest.len - 16), 0);
        bnd_put_u64(right + rest.len - 16, hash.low);
        bnd_put_u64(right + rest.len - 8, hash.high);
        fuzz_chunk(bnd_slice(right, rest.len));
        bnd_free(right);
    }
    return 0;
}
