/* What a decoder of raft/ refuses: each field is made wrong in bytes that are right. */
#include "raft/core.h"
#include "raft/entry.h"
#include "raft/export_chunk.h"
#include "raft/readindex.h"
#include "raft/shard_wire.h"
#include "raft/tuple.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
// cmocka wants the above first
#include <cmocka.h>

static void applied_tuples(void **state) {
    (void)state;
    struct tuple tuple = {.index = 9,
                          .term = 3,
                          .configuration_index = 9,
                          .state_version = TUPLE_STATE_VERSION,
                          .configuration = {.count = 1, .members = {{1, BND_RAFT_VOTER}}}};
    struct tuple out;
    struct bnd_slice young;
    struct bnd_buf bytes = {0};
    tuple_encode(&tuple, bnd_slice_str("young"), &bytes);
    assert_int_equal(tuple_decode(bnd_buf_slice(&bytes), &out, &young, NULL), 0);
    assert_true(bnd_slice_eq(young, bnd_slice_str("young")));
    bytes.data[0]++;
    assert_int_equal(tuple_decode(bnd_buf_slice(&bytes), &out, &young, NULL), BND_VERSION);
    bytes.data[0]--;
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(tuple_decode(bnd_buf_slice(&bytes), &out, &young, NULL), BND_CORRUPT);
    for (size_t cut = 0; cut < bytes.len - 1; cut++) {
        assert_int_equal(tuple_decode(bnd_slice(bytes.data, cut), &out, &young, NULL), BND_CORRUPT);
    }
    bnd_buf_reset(&bytes);
    tuple.configuration_index = 10; /* of an entry not applied yet */
    tuple_encode(&tuple, bnd_slice_str("young"), &bytes);
    assert_int_equal(tuple_decode(bnd_buf_slice(&bytes), &out, &young, NULL), BND_CORRUPT);
    bnd_buf_reset(&bytes);
    tuple.configuration_index = 9;
    tuple.state_version = TUPLE_STATE_VERSION + 1;
    tuple_encode(&tuple, bnd_slice_str("young"), &bytes);
    assert_int_equal(tuple_decode(bnd_buf_slice(&bytes), &out, &young, NULL), BND_VERSION);
    bnd_buf_free(&bytes);
}

static void configurations_end_where_they_say(void **state) {
    (void)state;
    const struct bnd_raft_configuration some = {.count = 1, .members = {{1, BND_RAFT_VOTER}}};
    struct bnd_raft_configuration out;
    struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&some, &bytes);
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bytes), &out, NULL), 0);
    for (size_t cut = 0; cut < bytes.len; cut++) {
        assert_int_equal(bnd_raft_configuration_decode(bnd_slice(bytes.data, cut), &out, NULL),
                         BND_CORRUPT);
    }
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(bnd_raft_configuration_decode(bnd_buf_slice(&bytes), &out, NULL), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

static int entry_with(uint64_t minter, uint64_t seq, uint64_t low_seq) {
    struct entry out;
    struct bnd_buf bytes = {0};
    const struct entry_operation operation = {
        .id = {1, 5}, .low_seq = 2, .command = bnd_slice_str("x")};
    entry_begin(&bytes);
    entry_append(&bytes, &operation);
    entry_seal(&bytes, 77, 1);
    bnd_put_u64(bytes.data + ENTRY_HEADER_BYTES, minter);
    bnd_put_u64(bytes.data + ENTRY_HEADER_BYTES + 8, seq);
    bnd_put_u64(bytes.data + ENTRY_HEADER_BYTES + 16, low_seq);
    int rv = entry_decode(bnd_buf_slice(&bytes), &out, NULL);
    bnd_buf_free(&bytes);
    return rv;
}

static void entries_of_operations(void **state) {
    (void)state;
    struct entry out;
    struct bnd_buf bytes = {0};
    assert_int_equal(entry_with(1, 5, 5), 0);
    assert_int_equal(entry_with(0, 5, 5), BND_CORRUPT);
    assert_int_equal(entry_with(1, 0, 0), BND_CORRUPT);
    assert_int_equal(entry_with(1, 5, 6), BND_CORRUPT);
    entry_begin(&bytes);
    entry_seal(&bytes, 77, 0);
    assert_int_equal(entry_decode(bnd_buf_slice(&bytes), &out, NULL),
                     0); /* it only moves the stamp */
    const struct entry_operation operation = {.id = {1, 5}, .low_seq = 2};
    entry_append(&bytes, &operation);
    entry_seal(&bytes, 77, 1);
    assert_int_equal(entry_decode(bnd_buf_slice(&bytes), &out, NULL), 0);
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(entry_decode(bnd_buf_slice(&bytes), &out, NULL), BND_CORRUPT);
    bytes.len--;
    bytes.data[0]++;
    assert_int_equal(entry_decode(bnd_buf_slice(&bytes), &out, NULL), BND_VERSION);
    bytes.data[0]--;
    bytes.data[1]++;
    assert_int_equal(entry_decode(bnd_buf_slice(&bytes), &out, NULL), BND_VERSION);
    bnd_buf_free(&bytes);
}

static int read_frame(enum read_frame_kind kind, uint32_t items, uint32_t count, uint8_t ok) {
    struct read_frame out;
    struct bnd_buf bytes = {0};
    const struct read_item item = {.gid = 1, .term = 2, .ok = true, .index = 4, .index_term = 2};
    read_frame_begin(&bytes, kind, 3);
    for (uint32_t i = 0; i < items; i++) {
        read_frame_item(&bytes, kind, &item);
    }
    read_frame_end(&bytes, count);
    if (kind == READ_FRAME_ANSWER && items > 0) {
        bytes.data[bytes.len - 1] = ok;
    } else if (kind == READ_FRAME_INDEX && items > 0) {
        bytes.data[bytes.len - 17] = ok;
    }
    int rv = read_frame_decode(bnd_buf_slice(&bytes), &out, NULL);
    bnd_buf_free(&bytes);
    return rv;
}

static void frames_of_reads(void **state) {
    (void)state;
    assert_int_equal(read_frame(READ_FRAME_ASK, 2, 2, 0), 0);
    assert_int_equal(read_frame(READ_FRAME_ANSWER, 2, 2, 1), 0);
    assert_int_equal(read_frame(READ_FRAME_ANSWER, 2, 2, 0), 0);
    assert_int_equal(read_frame(READ_FRAME_ANSWER, 2, 2, 2), BND_CORRUPT); /* neither yes nor no */
    assert_int_equal(read_frame(READ_FRAME_ASK, 2, 1, 0), BND_CORRUPT);
    assert_int_equal(read_frame(READ_FRAME_ASK, 1, 2, 0), BND_CORRUPT);
    assert_int_equal(read_frame(READ_FRAME_ASK, 0, 0, 0), BND_CORRUPT);
    assert_int_equal(read_frame(READ_FRAME_INDEX_ASK, 2, 2, 0), 0);
    assert_int_equal(read_frame(READ_FRAME_INDEX_ASK, 2, 1, 0), BND_CORRUPT);
    assert_int_equal(read_frame(READ_FRAME_INDEX, 2, 2, 1), 0);
    assert_int_equal(read_frame(READ_FRAME_INDEX, 2, 2, 2), BND_CORRUPT);
    assert_int_equal(read_frame((enum read_frame_kind)0, 1, 1, 0), BND_CORRUPT);
    assert_int_equal(read_frame((enum read_frame_kind)5, 1, 1, 0), BND_CORRUPT);
    assert_int_equal(
        read_frame(READ_FRAME_ASK, READ_FRAME_ITEMS_MAX + 1, READ_FRAME_ITEMS_MAX + 1, 0),
        BND_CORRUPT);
}

static int shard_request(enum shard_kind kind, uint64_t minter, uint64_t seq, uint64_t low_seq,
                         uint8_t version) {
    struct shard_request out;
    struct bnd_buf bytes = {0};
    const struct shard_request request = {
        .kind = SHARD_WRITE, .gid = 1, .id = {minter, seq}, .low_seq = low_seq};
    shard_request_head(&request, &bytes);
    bytes.data[0] = version;
    bytes.data[1] = (uint8_t)kind;
    int rv = shard_request_decode(bnd_buf_slice(&bytes), &out);
    bnd_buf_free(&bytes);
    return rv;
}

static int shard_reply(uint8_t version, uint8_t executed, int status) {
    struct shard_reply out;
    struct bnd_buf bytes = {0};
    const struct shard_reply reply = {.executed = true, .status = status};
    shard_reply_head(&reply, &bytes);
    bytes.data[0] = version;
    bytes.data[1] = executed;
    int rv = shard_reply_decode(bnd_buf_slice(&bytes), &out);
    bnd_buf_free(&bytes);
    return rv;
}

static void requests_and_replies_of_shards(void **state) {
    (void)state;
    struct shard_reply ignored;
    assert_int_equal(shard_request(SHARD_WRITE, 1, 5, 5, 1), 0);
    assert_int_equal(shard_request(SHARD_WRITE, 0, 5, 5, 1), BND_CORRUPT);
    assert_int_equal(shard_request(SHARD_WRITE, 1, 0, 0, 1), BND_CORRUPT);
    assert_int_equal(shard_request(SHARD_WRITE, 1, 5, 6, 1), BND_CORRUPT);
    assert_int_equal(shard_request((enum shard_kind)0, 1, 5, 5, 1), BND_CORRUPT);
    assert_int_equal(shard_request(SHARD_EXECUTE, 1, 5, 5, 1), 0);
    assert_int_equal(shard_request(SHARD_EXECUTE, 0, 5, 5, 1), BND_CORRUPT);
    assert_int_equal(shard_request((enum shard_kind)5, 1, 5, 5, 1), BND_CORRUPT);
    assert_int_equal(shard_request(SHARD_WRITE, 1, 5, 5, 2), BND_VERSION);
    assert_int_equal(shard_reply(1, 1, 0), 0);
    assert_int_equal(shard_reply(1, 0, BND_BUSY), 0);
    assert_int_equal(shard_reply(1, 2, 0), BND_CORRUPT);
    assert_int_equal(shard_reply(1, 1, 1), BND_CORRUPT); /* no code is positive */
    assert_int_equal(shard_reply(2, 1, 0), BND_VERSION);
    assert_int_equal(shard_reply_decode(bnd_slice_str("\1\1"), &ignored), BND_CORRUPT);
}

/* ---- exports
 * ---------------------------------------------------------------------------------------- */

static int chunk_of(const struct export_chunk *chunk, size_t at, uint8_t byte) {
    struct export_chunk out;
    struct bnd_buf bytes = {0};
    export_chunk_encode(chunk, &bytes);
    if (at > 0) {
        bytes.data[at - 1] = byte;
        struct bnd_hash128 hash = bnd_hash128(bnd_slice(bytes.data, bytes.len - 16), 0);
        bnd_put_u64(bytes.data + bytes.len - 16, hash.low);
        bnd_put_u64(bytes.data + bytes.len - 8, hash.high);
    }
    int rv = export_chunk_decode(bnd_buf_slice(&bytes), &out, NULL);
    bnd_buf_free(&bytes);
    return rv;
}

static int chunk_with(const struct bnd_journal_entry *entry) {
    struct bnd_buf entries = {0};
    export_entry_encode(entry, &entries);
    const struct export_chunk chunk = {.export_id = 9,
                                       .seq = 1,
                                       .term = 3,
                                       .last_index = 22,
                                       .entries_count = 1,
                                       .entries = bnd_buf_slice(&entries)};
    int rv = chunk_of(&chunk, 0, 0);
    bnd_buf_free(&entries);
    return rv;
}

static void chunks_of_exports(void **state) {
    (void)state;
    struct bnd_journal_entry entry = {5, 3, BND_CORE_COMMAND, bnd_slice_str("x")};
    assert_int_equal(chunk_with(&entry), 0);
    entry.term = 4; /* above the sender's */
    assert_int_equal(chunk_with(&entry), BND_CORRUPT);
    entry.term = 0;
    assert_int_equal(chunk_with(&entry), BND_CORRUPT);
    entry.term = 3;
    entry.index = 0;
    assert_int_equal(chunk_with(&entry), BND_CORRUPT);
    entry.index = UINT64_MAX;
    assert_int_equal(chunk_with(&entry), BND_CORRUPT);
    entry.index = 5;
    entry.kind = BND_CORE_CONFIGURATION + 1;
    assert_int_equal(chunk_with(&entry), BND_CORRUPT);
    entry.kind = BND_CORE_CONFIGURATION; /* and none that can be read */
    assert_int_equal(chunk_with(&entry), BND_CORRUPT);
    entry.kind = BND_CORE_BARRIER; /* with data */
    assert_int_equal(chunk_with(&entry), BND_CORRUPT);

    struct export_chunk chunk = {.export_id = 9, .seq = 1, .term = 3, .last_index = 22};
    assert_int_equal(chunk_of(&chunk, 0, 0), 0);
    assert_int_equal(chunk_of(&chunk, 1, 2), BND_VERSION);
    assert_int_equal(chunk_of(&chunk, 2, 2), BND_CORRUPT); /* an unknown flag */
    chunk.term = 0;
    assert_int_equal(chunk_of(&chunk, 0, 0), BND_CORRUPT);
    chunk.term = UINT64_MAX;
    assert_int_equal(chunk_of(&chunk, 0, 0), BND_CORRUPT);
    chunk.term = 3;
    chunk.last_index = UINT64_MAX;
    assert_int_equal(chunk_of(&chunk, 0, 0), BND_CORRUPT);

    struct bnd_buf pairs = {0};
    struct export_pair pair = {BND_CF_RAFT, bnd_slice_str("k"), bnd_slice_str("v")};
    export_pair_encode(&pair, &pairs);
    chunk.last_index = 22;
    chunk.pairs = bnd_buf_slice(&pairs);
    assert_int_equal(chunk_of(&chunk, 0, 0), BND_CORRUPT); /* one pair more than it says */
    chunk.pairs_count = 2;
    assert_int_equal(chunk_of(&chunk, 0, 0), BND_CORRUPT);
    chunk.pairs_count = 1;
    assert_int_equal(chunk_of(&chunk, 0, 0), 0);
    pairs.data[0] = BND_CF_COUNT;
    assert_int_equal(chunk_of(&chunk, 0, 0), BND_CORRUPT);
    bnd_buf_free(&pairs);
}

static void requests_and_answers_of_exports(void **state) {
    (void)state;
    struct export_request request = {.op = EXPORT_PULL, .export_id = 1, .seq = 2, .have = 3};
    struct export_opened opened = {.export_id = 1, .index = 2, .term = 3};
    const struct export_member told = {.member = true, .as_of = 4};
    struct export_request request_out;
    struct export_opened opened_out;
    struct export_member told_out;
    struct bnd_buf bytes = {0};
    export_request_encode(&request, &bytes);
    assert_int_equal(export_request_decode(bnd_buf_slice(&bytes), &request_out, NULL), 0);
    assert_int_equal(request_out.pairs_max, 0);
    bnd_buf_u32(&bytes, 0);
    assert_int_equal(export_request_decode(bnd_buf_slice(&bytes), &request_out, NULL), BND_CORRUPT);
    bnd_buf_reset(&bytes);
    request.pairs_max = 7;
    export_request_encode(&request, &bytes);
    assert_int_equal(export_request_decode(bnd_buf_slice(&bytes), &request_out, NULL), 0);
    assert_int_equal(request_out.pairs_max, 7);
    bnd_buf_reset(&bytes);
    request.pairs_max = 0;
    export_request_encode(&request, &bytes);
    bytes.data[0] = EXPORT_CLOSE; /* shorter than a pull */
    assert_int_equal(export_request_decode(bnd_buf_slice(&bytes), &request_out, NULL), BND_CORRUPT);
    bytes.len = 9;
    bytes.data[0] = EXPORT_LEAD + 1;
    assert_int_equal(export_request_decode(bnd_buf_slice(&bytes), &request_out, NULL), BND_CORRUPT);
    bytes.data[0] = 0;
    assert_int_equal(export_request_decode(bnd_buf_slice(&bytes), &request_out, NULL), BND_CORRUPT);
    for (int field = 0; field < 6; field++) {
        struct export_opened wrong = opened;
        uint64_t *const fields[] = {&wrong.export_id, &wrong.index, &wrong.term};
        if (field < 5) {
            *fields[field % 3] = field < 3 ? 0 : UINT64_MAX;
        }
        bool right = field == 3 || field == 5; /* an id may be anything but 0 */
        bnd_buf_reset(&bytes);
        export_opened_encode(&wrong, &bytes);
        assert_int_equal(export_opened_decode(bnd_buf_slice(&bytes), &opened_out, NULL),
                         right ? 0 : BND_CORRUPT);
    }
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(export_opened_decode(bnd_buf_slice(&bytes), &opened_out, NULL), BND_CORRUPT);
    bnd_buf_reset(&bytes);
    export_member_encode(&told, &bytes);
    assert_int_equal(export_member_decode(bnd_buf_slice(&bytes), &told_out, NULL), 0);
    bytes.data[0] = 2;
    assert_int_equal(export_member_decode(bnd_buf_slice(&bytes), &told_out, NULL), BND_CORRUPT);
    bytes.data[0] = 1;
    bnd_buf_u8(&bytes, 0);
    assert_int_equal(export_member_decode(bnd_buf_slice(&bytes), &told_out, NULL), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(applied_tuples),
        cmocka_unit_test(configurations_end_where_they_say),
        cmocka_unit_test(entries_of_operations),
        cmocka_unit_test(frames_of_reads),
        cmocka_unit_test(requests_and_replies_of_shards),
        cmocka_unit_test(chunks_of_exports),
        cmocka_unit_test(requests_and_answers_of_exports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
