/* The frames of readindex.h, little-endian:
 *   u8 kind (1 ask, 2 answer, 3 index ask, 4 index), u64 round, u32 count,
 *   count x { u64 gid, u64 term [, u8 ok [, u64 index, u64 index_term]] } */
#include "raft/readindex.h"

#define FRAME_COUNT_AT 9

static bool answers(enum read_frame_kind kind) {
    return kind == READ_FRAME_ANSWER || kind == READ_FRAME_INDEX;
}

void read_frame_begin(struct bnd_buf *out, enum read_frame_kind kind, uint64_t round) {
    bnd_buf_reset(out);
    bnd_buf_u8(out, (uint8_t)kind);
    bnd_buf_u64(out, round);
    bnd_buf_u32(out, 0);
}

void read_frame_item(struct bnd_buf *out, enum read_frame_kind kind, const struct read_item *item) {
    bnd_buf_u64(out, item->gid);
    bnd_buf_u64(out, item->term);
    if (answers(kind)) {
        bnd_buf_u8(out, item->ok);
    }
    if (kind == READ_FRAME_INDEX) {
        bnd_buf_u64(out, item->index);
        bnd_buf_u64(out, item->index_term);
    }
}

void read_frame_end(struct bnd_buf *out, uint32_t count) {
    if (!out->failed) {
        bnd_put_u32(out->data + FRAME_COUNT_AT, count);
    }
}

void read_frame_next(struct read_frame *frame, struct read_item *out) {
    bool has_index = frame->kind == READ_FRAME_INDEX;
    out->gid = bnd_read_u64(&frame->items);
    out->term = bnd_read_u64(&frame->items);
    uint8_t ok = answers(frame->kind) ? bnd_read_u8(&frame->items) : 0;
    out->index = has_index ? bnd_read_u64(&frame->items) : 0;
    out->index_term = has_index ? bnd_read_u64(&frame->items) : 0;
    frame->items.failed |= ok > 1;
    out->ok = ok == 1;
}

int read_frame_decode(struct bnd_slice bytes, struct read_frame *out, struct bnd_error *err) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t kind = bnd_read_u8(&r);
    struct read_frame frame = {.kind = READ_FRAME_ASK, .round = bnd_read_u64(&r)};
    frame.count = bnd_read_u32(&r);
    frame.items = r;
    if (r.failed || kind < READ_FRAME_ASK || kind > READ_FRAME_INDEX || frame.count == 0 ||
        frame.count > READ_FRAME_ITEMS_MAX) {
        return BND_FAIL(err, CORRUPT, "a read frame of %zu bytes has no valid head", bytes.len);
    }
    frame.kind = (enum read_frame_kind)kind;
    struct read_frame scan = frame;
    for (uint32_t i = 0; i < frame.count; i++) {
        struct read_item item;
        read_frame_next(&scan, &item);
    }
    if (!bnd_reader_done(&scan.items)) {
        return BND_FAIL(err, CORRUPT, "a read frame of %zu bytes does not hold %u groups",
                        bytes.len, frame.count);
    }
    *out = frame;
    return 0;
}
