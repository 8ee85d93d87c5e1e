/* See export_chunk.h. Invariant: what decodes, encodes to the same bytes. */
#include "raft/export_chunk.h"

#include "base/assert.h"
#include "raft/core.h"

enum { CHUNK_VERSION = 1, CHUNK_LAST = 1, HASH_BYTES = 16 };

#define INDEX_LIMIT (UINT64_C(1) << 62)

static bool names_group(unsigned op) {
    return op == EXPORT_OPEN || op == EXPORT_MEMBER || op == EXPORT_LEAD;
}

void export_request_encode(const struct export_request *request, struct bnd_buf *out) {
    bnd_buf_u8(out, (uint8_t)request->op);
    if (names_group(request->op)) {
        bnd_buf_u64(out, request->gid);
        return;
    }
    bnd_buf_u64(out, request->export_id);
    if (request->op == EXPORT_PULL) {
        bnd_buf_u64(out, request->seq);
        bnd_buf_u64(out, request->have);
        if (request->pairs_max != 0) {
            bnd_buf_u32(out, request->pairs_max);
        }
    }
}

int export_request_decode(struct bnd_slice bytes, struct export_request *out,
                          struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    struct export_request request = {0};
    uint8_t op = bnd_read_u8(&r);
    if (names_group(op)) {
        request.gid = bnd_read_u64(&r);
    } else {
        request.export_id = bnd_read_u64(&r);
    }
    if (op == EXPORT_PULL) {
        request.seq = bnd_read_u64(&r);
        request.have = bnd_read_u64(&r);
        if (r.rest.len > 0) {
            request.pairs_max = bnd_read_u32(&r);
            r.failed = r.failed || request.pairs_max == 0;
        }
    }
    if (op < EXPORT_OPEN || op > EXPORT_LEAD || !bnd_reader_done(&r)) {
        return BND_FAIL(err, CORRUPT, "a request of %zu bytes for an export is malformed",
                        bytes.len);
    }
    request.op = (enum export_op)op;
    *out = request;
    return 0;
}

void export_opened_encode(const struct export_opened *opened, struct bnd_buf *out) {
    bnd_buf_u64(out, opened->export_id);
    bnd_buf_u64(out, opened->index);
    bnd_buf_u64(out, opened->term);
}

int export_opened_decode(struct bnd_slice bytes, struct export_opened *out, struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    const struct export_opened opened = {
        .export_id = bnd_read_u64(&r),
        .index = bnd_read_u64(&r),
        .term = bnd_read_u64(&r),
    };
    if (!bnd_reader_done(&r) || opened.export_id == 0 || opened.index == 0 || opened.term == 0 ||
        opened.index >= INDEX_LIMIT || opened.term >= INDEX_LIMIT) {
        return BND_FAIL(err, CORRUPT, "the answer to the opening of an export is malformed");
    }
    *out = opened;
    return 0;
}

void export_member_encode(const struct export_member *told, struct bnd_buf *out) {
    bnd_buf_u8(out, told->member ? 1 : 0);
    bnd_buf_u64(out, told->as_of);
}

int export_member_decode(struct bnd_slice bytes, struct export_member *out, struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t member = bnd_read_u8(&r);
    uint64_t index = bnd_read_u64(&r);
    if (!bnd_reader_done(&r) || member > 1) {
        return BND_FAIL(err, CORRUPT, "the answer about membership is malformed");
    }
    *out = (struct export_member){.member = member == 1, .as_of = index};
    return 0;
}

struct export_total export_total_add(struct export_total before, uint32_t pairs_count,
                                     struct bnd_slice pairs) {
    return (struct export_total){
        .pairs = before.pairs + pairs_count,
        .hash = bnd_hash128(pairs, before.hash.low ^ before.hash.high),
    };
}

void export_pair_encode(const struct export_pair *pair, struct bnd_buf *out) {
    bnd_buf_u8(out, (uint8_t)pair->family);
    bnd_buf_bytes(out, pair->key);
    bnd_buf_bytes(out, pair->value);
}

size_t export_entry_bytes(const struct bnd_journal_entry *entry) {
    return 8 + 8 + 1 + 4 + entry->data.len;
}

void export_entry_encode(const struct bnd_journal_entry *entry, struct bnd_buf *out) {
    bnd_buf_u64(out, entry->index);
    bnd_buf_u64(out, entry->term);
    bnd_buf_u8(out, entry->kind);
    bnd_buf_bytes(out, entry->data);
}

void export_chunk_encode(const struct export_chunk *chunk, struct bnd_buf *out) {
    size_t begin = out->len;
    bnd_buf_u8(out, CHUNK_VERSION);
    bnd_buf_u8(out, chunk->last ? CHUNK_LAST : 0);
    bnd_buf_u64(out, chunk->export_id);
    bnd_buf_u64(out, chunk->seq);
    bnd_buf_u64(out, chunk->term);
    bnd_buf_u64(out, chunk->last_index);
    bnd_buf_u32(out, chunk->pairs_count);
    bnd_buf_bytes(out, chunk->pairs);
    bnd_buf_u64(out, chunk->total.pairs);
    bnd_buf_u64(out, chunk->total.hash.low);
    bnd_buf_u64(out, chunk->total.hash.high);
    bnd_buf_u32(out, chunk->entries_count);
    bnd_buf_bytes(out, chunk->entries);
    if (out->failed) {
        return;
    }
    struct bnd_hash128 hash = bnd_hash128(bnd_slice(out->data + begin, out->len - begin), 0);
    bnd_buf_u64(out, hash.low);
    bnd_buf_u64(out, hash.high);
}

struct export_pair export_pair_next(struct bnd_reader *r) {
    uint8_t family = bnd_read_u8(r);
    struct bnd_slice key = bnd_read_bytes(r);
    struct bnd_slice value = bnd_read_bytes(r);
    r->failed = r->failed || family >= BND_CF_COUNT;
    return (struct export_pair){.family = (enum bnd_state_cf)family, .key = key, .value = value};
}

struct bnd_journal_entry export_entry_next(struct bnd_reader *r) {
    struct bnd_journal_entry entry;
    entry.index = bnd_read_u64(r);
    entry.term = bnd_read_u64(r);
    entry.kind = bnd_read_u8(r);
    entry.data = bnd_read_bytes(r);
    return entry;
}

static bool pairs_whole(const struct export_chunk *chunk) {
    struct bnd_reader r = bnd_reader(chunk->pairs);
    for (uint32_t i = 0; i < chunk->pairs_count && !r.failed; i++) {
        (void)export_pair_next(&r);
    }
    return bnd_reader_done(&r);
}

static bool entries_whole(const struct export_chunk *chunk) {
    struct bnd_reader r = bnd_reader(chunk->entries);
    uint64_t index = 0;
    uint64_t term = 1;
    for (uint32_t i = 0; i < chunk->entries_count; i++) {
        struct bnd_journal_entry entry = export_entry_next(&r);
        bool follows =
            i == 0 ? entry.index > 0 && entry.index < INDEX_LIMIT : entry.index == index + 1;
        bool known = entry.kind >= BND_CORE_COMMAND && entry.kind <= BND_CORE_CONFIGURATION;
        if (r.failed || !follows || !known || entry.term < term || entry.term > chunk->term ||
            (entry.kind == BND_CORE_COMMAND) !=
                (entry.data.len > 0 && entry.kind != BND_CORE_CONFIGURATION)) {
            return false;
        }
        if (entry.kind == BND_CORE_CONFIGURATION) {
            struct bnd_raft_configuration configuration;
            if (bnd_raft_configuration_decode(entry.data, &configuration, NULL) != 0) {
                return false;
            }
        }
        index = entry.index;
        term = entry.term;
    }
    return bnd_reader_done(&r);
}

int export_chunk_decode(struct bnd_slice bytes, struct export_chunk *out, struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t version = bnd_read_u8(&r);
    uint8_t flags = bnd_read_u8(&r);
    if (!r.failed && version != CHUNK_VERSION) {
        return BND_FAIL(err, VERSION, "a chunk of a state export has format %u", version);
    }
    struct export_chunk chunk = {.last = (flags & CHUNK_LAST) != 0};
    chunk.export_id = bnd_read_u64(&r);
    chunk.seq = bnd_read_u64(&r);
    chunk.term = bnd_read_u64(&r);
    chunk.last_index = bnd_read_u64(&r);
    chunk.pairs_count = bnd_read_u32(&r);
    chunk.pairs = bnd_read_bytes(&r);
    chunk.total.pairs = bnd_read_u64(&r);
    chunk.total.hash.low = bnd_read_u64(&r);
    chunk.total.hash.high = bnd_read_u64(&r);
    chunk.entries_count = bnd_read_u32(&r);
    chunk.entries = bnd_read_bytes(&r);
    struct bnd_hash128 hash = {.low = bnd_read_u64(&r)};
    hash.high = bnd_read_u64(&r);
    if (!bnd_reader_done(&r) || (flags & ~CHUNK_LAST) != 0 || chunk.term == 0 ||
        chunk.term >= INDEX_LIMIT || chunk.last_index >= INDEX_LIMIT) {
        return BND_FAIL(err, CORRUPT, "a chunk of %zu bytes of a state export is cut or impossible",
                        bytes.len);
    }
    if (!bnd_hash128_eq(hash, bnd_hash128(bnd_slice(bytes.data, bytes.len - HASH_BYTES), 0))) {
        return BND_FAIL(err, CORRUPT, "chunk %llu of a state export does not have its hash",
                        (unsigned long long)chunk.seq);
    }
    if (!pairs_whole(&chunk) || !entries_whole(&chunk)) {
        return BND_FAIL(err, CORRUPT, "chunk %llu of a state export holds impossible content",
                        (unsigned long long)chunk.seq);
    }
    *out = chunk;
    return 0;
}
