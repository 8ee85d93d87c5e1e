/* Encoders and decoders of the journal's files. No state, no I/O.
 *
 * Invariant: decode(encode(x)) == x, and a decoder accepts only what an encoder could have written,
 * so that two byte strings never mean the same record. */
#include "engine/journal/format.h"

#include "base/assert.h"
#include "base/hash.h"

#include <inttypes.h>

static const uint8_t segment_magic[8] = {'B', 'N', 'D', 'Y', 'J', 'R', 'N', 'L'};
#define SEGMENT_HASHED (JOURNAL_BLOCK - 8)
#define BATCH_MAGIC UINT32_C(0x42444e42) /* "BNDB" */
#define BATCH_HASHED 48
#define ENTRY_FIXED (JOURNAL_RECORD_HEADER + 16)
#define START_FIXED 32
#define FLOOR_FIXED 16
#define GROUP_FIXED (25 + FLOOR_FIXED)
_Static_assert(JOURNAL_RECORD_HEADER + START_FIXED <= JOURNAL_RECORD_FIXED_MAX, "CREATE");
_Static_assert(ENTRY_FIXED <= JOURNAL_RECORD_FIXED_MAX, "ENTRY");

void journal_segment_header_encode(const struct journal_segment_header *header,
                                   uint8_t out[JOURNAL_BLOCK]) {
    memset(out, 0, JOURNAL_BLOCK);
    memcpy(out, segment_magic, sizeof segment_magic);
    bnd_put_u32(out + 8, JOURNAL_VERSION);
    bnd_put_u64(out + 16, header->cluster_id);
    bnd_put_u64(out + 24, header->node_id);
    bnd_put_u64(out + 32, header->generation);
    bnd_put_u64(out + 40, header->salt);
    bnd_put_u64(out + 48, header->bytes);
    bnd_put_u64(out + SEGMENT_HASHED, bnd_hash64(bnd_slice(out, SEGMENT_HASHED), 0));
}

int journal_segment_header_decode(struct bnd_slice block, struct journal_segment_header *out,
                                  struct bnd_error *err) {
    const uint8_t *p = block.data;
    if (block.len < JOURNAL_BLOCK) {
        return BND_FAIL(err, CORRUPT, "file of %zu bytes is no journal segment", block.len);
    }
    if (memcmp(p, segment_magic, sizeof segment_magic) != 0) {
        return BND_FAIL(err, CORRUPT, "offset 0: no journal segment's magic");
    }
    if (bnd_get_u64(p + SEGMENT_HASHED) != bnd_hash64(bnd_slice(p, SEGMENT_HASHED), 0)) {
        return BND_FAIL(err, CORRUPT, "offset 0: segment header's checksum differs");
    }
    if (bnd_get_u32(p + 8) != JOURNAL_VERSION) {
        return BND_FAIL(err, VERSION, "journal format %" PRIu32 ", this program knows %d",
                        bnd_get_u32(p + 8), JOURNAL_VERSION);
    }
    uint64_t bytes = bnd_get_u64(p + 48);
    if (bytes < 2 * JOURNAL_BLOCK || bytes % JOURNAL_BLOCK != 0) {
        return BND_FAIL(err, CORRUPT, "offset 48: segment of %" PRIu64 " bytes", bytes);
    }
    *out = (struct journal_segment_header){
        .cluster_id = bnd_get_u64(p + 16),
        .node_id = bnd_get_u64(p + 24),
        .generation = bnd_get_u64(p + 32),
        .salt = bnd_get_u64(p + 40),
        .bytes = bytes,
    };
    return 0;
}

static uint64_t batch_seed(const struct journal_place *place, uint64_t number) {
    uint8_t mix[32];
    bnd_put_u64(mix, place->salt);
    bnd_put_u64(mix + 8, place->generation);
    bnd_put_u64(mix + 16, number);
    bnd_put_u64(mix + 24, place->offset);
    return bnd_hash64(bnd_slice(mix, sizeof mix), 0);
}

static uint64_t body_hash(const uint8_t *batch, size_t length, uint64_t seed) {
    return bnd_hash64(bnd_slice(batch + JOURNAL_BATCH_HEADER, length - JOURNAL_BATCH_HEADER), seed);
}

void journal_batch_seal(uint8_t *batch, const struct journal_place *place,
                        const struct journal_batch_header *header) {
    BND_ASSERT(header->length > JOURNAL_BATCH_HEADER && header->records > 0);
    uint64_t seed = batch_seed(place, header->number);
    bnd_put_u32(batch, BATCH_MAGIC);
    bnd_put_u32(batch + 4, header->length);
    bnd_put_u64(batch + 8, header->number);
    bnd_put_u64(batch + 16, place->generation);
    bnd_put_u64(batch + 24, header->lsn_last);
    bnd_put_u32(batch + 32, header->records);
    bnd_put_u32(batch + 36, 0);
    bnd_put_u64(batch + 40, body_hash(batch, header->length, seed));
    bnd_put_u64(batch + 48, bnd_hash64(bnd_slice(batch, BATCH_HASHED), seed));
}

bool journal_batch_header_decode(struct bnd_slice bytes, const struct journal_place *place,
                                 struct journal_batch_header *out) {
    const uint8_t *p = bytes.data;
    if (bytes.len < JOURNAL_BATCH_HEADER || bnd_get_u32(p) != BATCH_MAGIC ||
        bnd_get_u64(p + 16) != place->generation) {
        return false;
    }
    struct journal_batch_header header = {
        .length = bnd_get_u32(p + 4),
        .records = bnd_get_u32(p + 32),
        .number = bnd_get_u64(p + 8),
        .lsn_last = bnd_get_u64(p + 24),
        .body_hash = bnd_get_u64(p + 40),
    };
    uint64_t seed = batch_seed(place, header.number);
    if (bnd_get_u64(p + 48) != bnd_hash64(bnd_slice(p, BATCH_HASHED), seed) ||
        header.length <= JOURNAL_BATCH_HEADER || header.records == 0 || header.number == 0) {
        return false;
    }
    *out = header;
    return true;
}

bool journal_batch_body_valid(struct bnd_slice bytes, const struct journal_place *place,
                              const struct journal_batch_header *header) {
    return header->length <= bytes.len &&
           body_hash(bytes.data, header->length, batch_seed(place, header->number)) ==
               header->body_hash;
}

const char *journal_kind_name(enum journal_kind kind) {
    static const char *const names[] = {
        "?",       "CREATE",           "DESTROY",          "META",
        "ENTRY",   "TRUNCATE",         "COMPACT",          "INSTALL",
        "REWRITE", "CHECKPOINT_BEGIN", "CHECKPOINT_GROUP", "CHECKPOINT_END"};
    return kind >= JOURNAL_CREATE && kind <= JOURNAL_CHECKPOINT_END ? names[kind] : names[0];
}

size_t journal_record_bytes(const struct journal_record *record) {
    switch (record->kind) {
    case JOURNAL_CREATE:
    case JOURNAL_COMPACT:
    case JOURNAL_INSTALL:
        return JOURNAL_RECORD_HEADER + START_FIXED + record->start.config.len;
    case JOURNAL_DESTROY:
        return JOURNAL_RECORD_HEADER + FLOOR_FIXED;
    case JOURNAL_META:
        return JOURNAL_RECORD_HEADER + 16;
    case JOURNAL_ENTRY:
    case JOURNAL_REWRITE:
        return ENTRY_FIXED + record->entry.data.len;
    case JOURNAL_TRUNCATE:
    case JOURNAL_CHECKPOINT_BEGIN:
    case JOURNAL_CHECKPOINT_END:
        return JOURNAL_RECORD_HEADER + 8;
    case JOURNAL_CHECKPOINT_GROUP:
        return JOURNAL_RECORD_HEADER + GROUP_FIXED + START_FIXED + record->start.config.len;
    }
    BND_UNREACHABLE("unknown journal record kind");
}

static void copy(uint8_t *out, struct bnd_slice data) {
    if (data.len > 0) {
        memcpy(out, data.data, data.len);
    }
}

static void floor_encode(const struct bnd_journal_floor *floor, uint8_t *out) {
    bnd_put_u64(out, floor->index);
    bnd_put_u64(out + 8, floor->term);
}

static void start_encode(const struct bnd_journal_start *start, uint8_t *out) {
    bnd_put_u64(out, start->index);
    bnd_put_u64(out + 8, start->term);
    bnd_put_u64(out + 16, start->config_index);
    bnd_put_u32(out + 24, start->slot);
    bnd_put_u32(out + 28, (uint32_t)start->config.len);
    copy(out + START_FIXED, start->config);
}

static void body_encode(const struct journal_record *record, uint8_t *out) {
    switch (record->kind) {
    case JOURNAL_CREATE:
    case JOURNAL_COMPACT:
    case JOURNAL_INSTALL:
        start_encode(&record->start, out);
        return;
    case JOURNAL_DESTROY:
        floor_encode(&record->floor, out);
        return;
    case JOURNAL_META:
        bnd_put_u64(out, record->term);
        bnd_put_u64(out + 8, record->vote);
        return;
    case JOURNAL_ENTRY:
    case JOURNAL_REWRITE:
        bnd_put_u64(out, record->entry.index);
        bnd_put_u64(out + 8, record->entry.term);
        copy(out + 16, record->entry.data);
        return;
    case JOURNAL_TRUNCATE:
        bnd_put_u64(out, record->entry.index);
        return;
    case JOURNAL_CHECKPOINT_BEGIN:
    case JOURNAL_CHECKPOINT_END:
        bnd_put_u64(out, record->count);
        return;
    case JOURNAL_CHECKPOINT_GROUP:
        out[0] = record->exists;
        bnd_put_u64(out + 1, record->term);
        bnd_put_u64(out + 9, record->vote);
        bnd_put_u64(out + 17, record->last);
        floor_encode(&record->floor, out + 25);
        start_encode(&record->start, out + GROUP_FIXED);
        return;
    }
    BND_UNREACHABLE("unknown journal record kind");
}

void journal_record_encode(const struct journal_record *record, uint8_t *out) {
    size_t bytes = journal_record_bytes(record);
    BND_ASSERT(bytes <= UINT32_MAX);
    bool entry = record->kind == JOURNAL_ENTRY || record->kind == JOURNAL_REWRITE;
    bnd_put_u32(out, (uint32_t)bytes);
    out[4] = (uint8_t)record->kind;
    out[5] = entry ? record->entry.kind : 0;
    bnd_put_u16(out + 6, 0);
    bnd_put_u64(out + 8, record->gid);
    body_encode(record, out + JOURNAL_RECORD_HEADER);
}

static void floor_decode(struct bnd_reader *r, struct bnd_journal_floor *out) {
    out->index = bnd_read_u64(r);
    out->term = bnd_read_u64(r);
}

static void start_decode(struct bnd_reader *r, struct bnd_journal_start *out) {
    out->index = bnd_read_u64(r);
    out->term = bnd_read_u64(r);
    out->config_index = bnd_read_u64(r);
    out->slot = bnd_read_u32(r);
    out->config = bnd_read_bytes(r);
}

static void group_decode(struct bnd_reader *r, struct journal_record *out) {
    uint8_t exists = bnd_read_u8(r);
    out->exists = exists == 1;
    out->term = bnd_read_u64(r);
    out->vote = bnd_read_u64(r);
    out->last = bnd_read_u64(r);
    floor_decode(r, &out->floor);
    start_decode(r, &out->start);
    if (exists > 1 || out->last < out->start.index || (exists == 0 && out->last > 0) ||
        out->start.index > JOURNAL_INDEX_MAX ||
        out->last - out->start.index > JOURNAL_ENTRIES_MAX) {
        r->failed = true;
    }
}

/* Reads a body of out->kind; what does not fit fails the reader or leaves bytes in it. */
static void body_decode(struct bnd_reader *r, uint8_t entry_kind, struct journal_record *out) {
    switch (out->kind) {
    case JOURNAL_CREATE:
    case JOURNAL_COMPACT:
    case JOURNAL_INSTALL:
        start_decode(r, &out->start);
        return;
    case JOURNAL_DESTROY:
        floor_decode(r, &out->floor);
        return;
    case JOURNAL_META:
        out->term = bnd_read_u64(r);
        out->vote = bnd_read_u64(r);
        return;
    case JOURNAL_ENTRY:
    case JOURNAL_REWRITE:
        out->entry.index = bnd_read_u64(r);
        out->entry.term = bnd_read_u64(r);
        out->entry.kind = entry_kind;
        out->entry.data = bnd_read_raw(r, r->rest.len);
        return;
    case JOURNAL_TRUNCATE:
        out->entry.index = bnd_read_u64(r);
        return;
    case JOURNAL_CHECKPOINT_BEGIN:
    case JOURNAL_CHECKPOINT_END:
        out->count = bnd_read_u64(r);
        return;
    case JOURNAL_CHECKPOINT_GROUP:
        group_decode(r, out);
        return;
    }
    r->failed = true;
}

int journal_record_decode(struct bnd_slice *rest, struct journal_record *out) {
    struct bnd_reader r = bnd_reader(*rest);
    uint32_t length = bnd_read_u32(&r);
    uint8_t kind = bnd_read_u8(&r);
    uint8_t entry_kind = bnd_read_u8(&r);
    uint16_t zero = bnd_read_u16(&r);
    struct journal_record record = {.gid = bnd_read_u64(&r)};
    if (r.failed || length < JOURNAL_RECORD_HEADER || length > rest->len || zero != 0) {
        return BND_CORRUPT;
    }
    record.kind = (enum journal_kind)kind; /* body_decode refuses those that are none */
    bool entry = record.kind == JOURNAL_ENTRY || record.kind == JOURNAL_REWRITE;
    struct bnd_reader body =
        bnd_reader(bnd_slice(rest->data + JOURNAL_RECORD_HEADER, length - JOURNAL_RECORD_HEADER));
    body_decode(&body, entry_kind, &record);
    if (!bnd_reader_done(&body) || (!entry && entry_kind != 0)) {
        return BND_CORRUPT;
    }
    *out = record;
    *rest = bnd_slice(rest->data + length, rest->len - length);
    return 0;
}
