/* The journal's bytes: as SPEC.md says, back again, and nothing else accepted. */
#include "base/hash.h"
#include "engine/journal/format.h"
#include "tests/unit/engine/journal_model.h"

static const uint8_t config[] = {9, 8, 7};

static struct journal_record sample(enum journal_kind kind) {
    struct journal_record r = {.kind = kind, .gid = UINT64_C(0x1122334455667788)};
    struct bnd_journal_start start = {.index = 5,
                                      .term = 4,
                                      .slot = 3,
                                      .config = bnd_slice(config, sizeof config),
                                      .config_index = 2};
    switch (kind) {
    case JOURNAL_CREATE:
    case JOURNAL_COMPACT:
    case JOURNAL_INSTALL:
        r.start = start;
        break;
    case JOURNAL_META:
        r.term = 6;
        r.vote = 7;
        break;
    case JOURNAL_ENTRY:
    case JOURNAL_REWRITE:
        r.entry = (struct bnd_journal_entry){
            .index = 10, .term = 11, .kind = 12, .data = bnd_slice(config, sizeof config)};
        break;
    case JOURNAL_TRUNCATE:
        r.entry.index = 10;
        break;
    case JOURNAL_CHECKPOINT_GROUP:
        r.start = start;
        r.exists = true;
        r.term = 6;
        r.vote = 7;
        r.last = 9;
        r.floor = (struct bnd_journal_floor){.index = 20, .term = 21};
        break;
    case JOURNAL_CHECKPOINT_BEGIN:
    case JOURNAL_CHECKPOINT_END:
        r.gid = 0;
        r.count = 3;
        break;
    case JOURNAL_DESTROY:
        r.floor = (struct bnd_journal_floor){.index = 20, .term = 21};
        break;
    }
    return r;
}

static void records_come_back(void **state) {
    for (int kind = JOURNAL_CREATE; kind <= JOURNAL_CHECKPOINT_END; kind++) {
        struct journal_record r = sample((enum journal_kind)kind);
        uint8_t bytes[256], again[256];
        size_t len = journal_record_bytes(&r);
        journal_record_encode(&r, bytes);
        struct bnd_slice rest = bnd_slice(bytes, len);
        struct journal_record out;
        assert_int_equal(journal_record_decode(&rest, &out), 0);
        assert_int_equal(rest.len, 0);
        assert_int_equal(out.kind, kind);
        assert_int_equal(journal_record_bytes(&out), len);
        journal_record_encode(&out, again);
        assert_memory_equal(bytes, again, len);
        for (size_t cut = 0; cut < len; cut++) { /* cut short: refused, nothing taken */
            rest = bnd_slice(bytes, cut);
            assert_int_equal(journal_record_decode(&rest, &out), BND_CORRUPT);
            assert_int_equal(rest.len, cut);
        }
    }
}

/* The layout of SPEC.md, byte by byte: a change here is a change of the format. */
static void bytes_are_as_specified(void **state) {
    static const uint8_t want[] = {35,   0,    0,    0,    4,  12, 0, 0, 0x88, 0x77, 0x66, 0x55,
                                   0x44, 0x33, 0x22, 0x11, 10, 0,  0, 0, 0,    0,    0,    0,
                                   11,   0,    0,    0,    0,  0,  0, 0, 9,    8,    7};
    struct journal_record r = sample(JOURNAL_ENTRY);
    uint8_t block[JOURNAL_BLOCK] = {0};
    assert_int_equal(journal_record_bytes(&r), sizeof want);
    journal_record_encode(&r, block);
    assert_memory_equal(block, want, sizeof want);

    struct journal_segment_header header = {
        .cluster_id = 1, .node_id = 2, .generation = 3, .salt = 4, .bytes = 8192};
    journal_segment_header_encode(&header, block);
    assert_memory_equal(block, "BNDYJRNL\2\0\0\0\0\0\0\0\1", 17);
    for (uint8_t i = 0; i < 4; i++) {
        assert_int_equal(bnd_get_u64(block + 16 + 8 * i), i + 1);
    }
    assert_int_equal(bnd_get_u64(block + 48), 8192);
    assert_int_equal(bnd_get_u64(block + 4088), bnd_hash64(bnd_slice(block, 4088), 0));

    struct journal_place place = {.salt = 5, .generation = 6, .offset = 4096};
    uint8_t mix[32] = {5}, batch[128] = {0};
    mix[8] = 6;
    mix[16] = 7;
    mix[25] = 16;
    uint64_t seed = bnd_hash64(bnd_slice(mix, sizeof mix), 0);
    journal_record_encode(&r, batch + JOURNAL_BATCH_HEADER);
    struct journal_batch_header b = {
        .length = JOURNAL_BATCH_HEADER + sizeof want, .records = 1, .number = 7, .lsn_last = 8};
    journal_batch_seal(batch, &place, &b);
    assert_memory_equal(batch, "BNDB\x5b\0\0\0\7\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0\x8", 25);
    assert_int_equal(bnd_get_u64(batch + 40), bnd_hash64(bnd_slice(batch + 56, sizeof want), seed));
    assert_int_equal(bnd_get_u64(batch + 48), bnd_hash64(bnd_slice(batch, 48), seed));
}

static void every_flipped_bit_is_seen(void **state) {
    uint8_t block[JOURNAL_BLOCK], batch[512] = {0};
    struct journal_segment_header header = {.generation = 3, .salt = 4, .bytes = 8192}, out;
    journal_segment_header_encode(&header, block);
    assert_int_equal(journal_segment_header_decode(bnd_slice(block, sizeof block), &out, NULL), 0);
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] ^= 0x10;
        assert_int_not_equal(
            journal_segment_header_decode(bnd_slice(block, sizeof block), &out, NULL), 0);
        block[i] ^= 0x10;
    }
    struct journal_record r = sample(JOURNAL_CHECKPOINT_GROUP);
    struct journal_place place = {.salt = 5, .generation = 6, .offset = 4096};
    struct journal_batch_header b = {
        .length = (uint32_t)(JOURNAL_BATCH_HEADER + journal_record_bytes(&r)),
        .records = 1,
        .number = 7};
    journal_record_encode(&r, batch + JOURNAL_BATCH_HEADER);
    journal_batch_seal(batch, &place, &b);
    for (size_t i = 0; i < (size_t)b.length * 8; i++) {
        batch[i / 8] ^= (uint8_t)(1 << i % 8);
        struct journal_batch_header got;
        struct bnd_slice bytes = bnd_slice(batch, sizeof batch);
        assert_false(journal_batch_header_decode(bytes, &place, &got) &&
                     journal_batch_body_valid(bytes, &place, &got));
        batch[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

/* The same bytes elsewhere, in another use of the file, or under another salt are no batch. */
static void a_batch_belongs_to_its_place(void **state) {
    uint8_t batch[512] = {0};
    struct journal_record r = sample(JOURNAL_META);
    struct journal_place place = {.salt = 5, .generation = 6, .offset = 4096}, other;
    struct journal_batch_header got,
        b = {.length = (uint32_t)(JOURNAL_BATCH_HEADER + journal_record_bytes(&r)),
             .records = 1,
             .number = 7};
    journal_record_encode(&r, batch + JOURNAL_BATCH_HEADER);
    journal_batch_seal(batch, &place, &b);
    struct bnd_slice bytes = bnd_slice(batch, sizeof batch);
    assert_true(journal_batch_header_decode(bytes, &place, &got));
    for (int i = 0; i < 3; i++) {
        other = place;
        other.salt += i == 0;
        other.generation += i == 1;
        other.offset += i == 2 ? 4096 : 0;
        assert_false(journal_batch_header_decode(bytes, &other, &got));
    }
}

static void newer_version_is_told_from_damage(void **state) {
    uint8_t block[JOURNAL_BLOCK];
    struct journal_segment_header header = {.generation = 3, .bytes = 8192}, out;
    journal_segment_header_encode(&header, block);
    block[8] = JOURNAL_VERSION + 1;
    bnd_put_u64(block + 4088, bnd_hash64(bnd_slice(block, 4088), 0));
    assert_int_equal(journal_segment_header_decode(bnd_slice(block, sizeof block), &out, NULL),
                     BND_VERSION);
}

/* A record with one byte made another; the length stays what the header says. */
static int record_with(enum journal_kind kind, size_t at, unsigned byte) {
    struct journal_record r = sample(kind), out;
    uint8_t bytes[256] = {0};
    size_t len = journal_record_bytes(&r);
    journal_record_encode(&r, bytes);
    bytes[at] = (uint8_t)byte;
    struct bnd_slice rest = bnd_slice(bytes, len);
    return journal_record_decode(&rest, &out);
}

static void impossible_records_are_refused(void **state) {
    const size_t body = 16;
    for (int kind = JOURNAL_CREATE; kind <= JOURNAL_CHECKPOINT_END; kind++) {
        struct journal_record r = sample((enum journal_kind)kind);
        bool entry = kind == JOURNAL_ENTRY || kind == JOURNAL_REWRITE;
        assert_int_equal(record_with((enum journal_kind)kind, 0, 15),
                         BND_CORRUPT); /* no header fits */
        assert_int_equal(record_with((enum journal_kind)kind, 6, 1), BND_CORRUPT);
        assert_int_equal(record_with((enum journal_kind)kind, 5, 1), entry ? 0 : BND_CORRUPT);
        assert_int_equal(record_with((enum journal_kind)kind, 4, 0), BND_CORRUPT);
        assert_int_equal(record_with((enum journal_kind)kind, 4, JOURNAL_CHECKPOINT_END + 1),
                         BND_CORRUPT);
        uint8_t bytes[256] = {0};
        struct journal_record out;
        size_t len = journal_record_bytes(&r);
        journal_record_encode(&r, bytes);
        struct bnd_slice rest = bnd_slice(bytes, len);
        bnd_put_u32(bytes, (uint32_t)len + 1);
        assert_int_equal(journal_record_decode(&rest, &out), BND_CORRUPT); /* beyond the batch */
        rest.len = len + 1;
        assert_int_equal(journal_record_decode(&rest, &out),
                         entry ? 0 : BND_CORRUPT); /* a byte too many */
    }
    assert_int_equal(record_with(JOURNAL_CHECKPOINT_GROUP, body, 2), BND_CORRUPT); /* exists? */
    assert_int_equal(record_with(JOURNAL_CHECKPOINT_GROUP, body, 0),
                     BND_CORRUPT); /* not, but entries */
    assert_int_equal(record_with(JOURNAL_CHECKPOINT_GROUP, body + 17, 4),
                     BND_CORRUPT); /* ends before it starts */
    assert_int_equal(record_with(JOURNAL_CHECKPOINT_GROUP, body + 17 + 7, 0x70), BND_CORRUPT);
    assert_int_equal(record_with(JOURNAL_CHECKPOINT_GROUP, body + 17 + 3, 1),
                     BND_CORRUPT); /* more than fit */
}

static void impossible_segments_are_refused(void **state) {
    uint8_t block[JOURNAL_BLOCK];
    struct journal_segment_header header = {.generation = 3, .bytes = 2 * JOURNAL_BLOCK}, out;
    journal_segment_header_encode(&header, block);
    assert_int_equal(journal_segment_header_decode(bnd_slice(block, sizeof block), &out, NULL), 0);
    assert_int_equal(journal_segment_header_decode(bnd_slice(block, sizeof block - 1), &out, NULL),
                     BND_CORRUPT);
    header.bytes = JOURNAL_BLOCK;
    journal_segment_header_encode(&header, block);
    assert_int_equal(journal_segment_header_decode(bnd_slice(block, sizeof block), &out, NULL),
                     BND_CORRUPT);
    header.bytes = 2 * JOURNAL_BLOCK + 512;
    journal_segment_header_encode(&header, block);
    assert_int_equal(journal_segment_header_decode(bnd_slice(block, sizeof block), &out, NULL),
                     BND_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(bytes_are_as_specified),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(a_batch_belongs_to_its_place),
        cmocka_unit_test(impossible_records_are_refused),
        cmocka_unit_test(impossible_segments_are_refused),
        cmocka_unit_test(newer_version_is_told_from_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
