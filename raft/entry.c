/* See entry.h. Little-endian:
 *   u8 version (1), u8 kind (1: operations), u64 stamp_ms, u32 count,
 *   count x { u64 minter, u64 seq, u64 low_seq, u64 deadline_ms, u32 length, bytes }
 *
 * An entry is committed before anyone looks inside, so a decoder that skipped what it does not know
 * would let replicas drift apart: the host stops the node instead. */
#include "raft/entry.h"

#include "base/assert.h"

enum { ENTRY_VERSION = 1, ENTRY_KIND_OPERATIONS = 1 };

_Static_assert(ENTRY_HEADER_BYTES == 1 + 1 + 8 + 4, "the header of SPEC.md");
_Static_assert(ENTRY_OPERATION_BYTES == 4 * 8 + 4, "an operation's header of SPEC.md");

void entry_begin(struct bnd_buf *out) {
    static const uint8_t header[ENTRY_HEADER_BYTES];
    BND_ASSERT(out->len == 0);
    bnd_buf_append(out, header, sizeof header);
}

void entry_append(struct bnd_buf *out, const struct entry_operation *operation) {
    BND_ASSERT(operation->low_seq <= operation->id.seq);
    if (!bnd_buf_reserve(out, ENTRY_OPERATION_BYTES + operation->command.len)) {
        return; /* all or nothing: out->failed is set */
    }
    bnd_buf_u64(out, operation->id.minter);
    bnd_buf_u64(out, operation->id.seq);
    bnd_buf_u64(out, operation->low_seq);
    bnd_buf_u64(out, operation->deadline_ms);
    bnd_buf_bytes(out, operation->command);
}

void entry_seal(struct bnd_buf *out, uint64_t stamp_ms, uint32_t count) {
    BND_ASSERT(out->len >= ENTRY_HEADER_BYTES + (size_t)count * ENTRY_OPERATION_BYTES);
    out->data[0] = ENTRY_VERSION;
    out->data[1] = ENTRY_KIND_OPERATIONS;
    bnd_put_u64(out->data + 2, stamp_ms);
    bnd_put_u32(out->data + 10, count);
}

void entry_next(struct entry *entry, struct entry_operation *out) {
    struct bnd_reader *r = &entry->operations;
    out->id.minter = bnd_read_u64(r);
    out->id.seq = bnd_read_u64(r);
    out->low_seq = bnd_read_u64(r);
    out->deadline_ms = bnd_read_u64(r);
    out->command = bnd_read_bytes(r);
}

int entry_decode(struct bnd_slice bytes, struct entry *out, struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    uint8_t kind = bnd_read_u8(&r);
    if (!r.failed && (version != ENTRY_VERSION || kind != ENTRY_KIND_OPERATIONS)) {
        return BND_FAIL(err, VERSION, "entry version %u kind %u is not known", version, kind);
    }
    struct entry entry = {.stamp_ms = bnd_read_u64(&r), .count = bnd_read_u32(&r)};
    entry.operations = r;
    struct entry scan = entry;
    for (uint32_t i = 0; i < entry.count && !scan.operations.failed; i++) {
        struct entry_operation operation;
        entry_next(&scan, &operation);
        if (!scan.operations.failed && (operation.id.minter == 0 || operation.id.seq == 0 ||
                                        operation.low_seq > operation.id.seq)) {
            return BND_FAIL(err, CORRUPT, "operation %u of an entry has an impossible id", i);
        }
    }
    if (!bnd_reader_done(&scan.operations)) {
        return BND_FAIL(err, CORRUPT, "an entry of %zu bytes does not hold %u operations",
                        bytes.len, entry.count);
    }
    *out = entry;
    return 0;
}
