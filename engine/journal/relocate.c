/* Rewriting live entries of the oldest segment to the log's end, so that it can be recycled.
 *
 * When: less than half of what the old segments hold is needed, two checkpoints taken as needed. Files then take
 * at most about twice the live bytes (and a few segments), and each byte freed costs at most one byte rewritten.
 * Without the checkpoints in the sum, a journal whose checkpoint is longer than a segment would never rest: each
 * rewrite can roll over, and each rollover leaves more old segments than the rewrite freed.
 * How: a piece of the segment is read, each batch in it verified, each record that is still the live one
 * collected as REWRITE; the next piece waits until those are durable, which bounds the memory.
 * Failure: a batch that does not verify is damage in the middle of the log: final, BND_CORRUPT. */
#include "engine/journal/journal_private.h"

#define READ_BYTES ((size_t)1 << 20)

static void read_done(struct bnd_io *io, int status, size_t bytes);

static void damaged(struct bnd_journal *journal, int code, uint64_t offset) {
    struct bnd_error why;
    (void)bnd_error_set(&why, code, /* the code is the caller's */
                        "journal segment %016" PRIx64 ", offset %" PRIu64 ": reading back: %s",
                        journal->relocation.segment->place.generation, offset, bnd_code_text(code));
    journal_fail(journal, &why);
}

static bool worth_it(const struct bnd_journal *journal) {
    uint64_t count = 0;
    uint64_t bytes = 0;
    uint64_t live = 0;
    struct journal_segment *segment = journal_segment_oldest(journal);
    for (; segment != journal->collecting; segment = journal_segment_next(journal, segment)) {
        count++;
        bytes += segment->bytes;
        live += segment->live_bytes;
    }
    return count >= JOURNAL_CLOSED_MIN && live + 2 * journal->checkpoint_bytes < bytes / 2;
}

static void finish(struct bnd_journal *journal) {
    struct journal_relocation *move = &journal->relocation;
    move->segment = NULL;
    bnd_free(move->data);
    move->data = NULL;
    move->cap = 0;
}

static bool buffer_grow(struct journal_relocation *move, size_t bytes) {
    if (bytes <= move->cap) {
        return true;
    }
    bnd_free(move->data);
    move->data = bnd_alloc_aligned(JOURNAL_BLOCK, bytes);
    move->cap = move->data == NULL ? 0 : bytes;
    return move->data != NULL;
}

/* Reads at move->offset, `bytes` or up to the segment's last batch. */
static void read_start(struct bnd_journal *journal, size_t bytes) {
    struct journal_relocation *move = &journal->relocation;
    uint64_t left = move->segment->end - move->offset;
    move->len = left < bytes ? (size_t)left : bytes;
    if (!buffer_grow(move, move->len)) {
        journal_retry_later(journal);
        return;
    }
    move->io.cb = read_done;
    move->io.data = journal;
    struct bnd_iov iov = {.data = move->data, .len = move->len};
    int rv = journal->env->ops->file_read(journal->env, move->segment->file, &move->io, iov,
                                          move->offset);
    if (rv != 0) {
        damaged(journal, rv, move->offset);
        return;
    }
    move->busy = true;
}

/* One record of the piece, at `at` in the segment. */
static int rewrite(struct bnd_journal *journal, const struct journal_record *record, uint64_t at) {
    struct journal_relocation *move = &journal->relocation;
    if (record->kind != JOURNAL_ENTRY && record->kind != JOURNAL_REWRITE) {
        return 0;
    }
    struct journal_group *group = journal_group_find(journal, record->gid);
    if (group == NULL ||
        !journal_group_needs(group, record->entry.index, move->segment, at)) {
        return 0;
    }
    struct journal_record copy = *record;
    copy.kind = JOURNAL_REWRITE;
    struct journal_spot spot;
    if (!journal_group_reserve_run(group)) {
        return BND_NOMEM;
    }
    int rv = journal_collect(journal, &copy, &spot);
    if (rv == 0) {
        journal_group_place(group, copy.entry.index, &spot, journal_record_bytes(&copy));
        move->wait_batch = spot.batch;
        journal->rewritten++;
    }
    return rv;
}

/* Rewrites what is live of the batch at `at` in the piece. */
static int rewrite_batch(struct bnd_journal *journal, size_t at,
                         const struct journal_batch_header *header) {
    struct journal_relocation *move = &journal->relocation;
    const uint8_t *batch = move->data + at;
    struct bnd_slice rest =
        bnd_slice(batch + JOURNAL_BATCH_HEADER, header->length - JOURNAL_BATCH_HEADER);
    while (rest.len > 0) {
        uint64_t offset = move->offset + at + (uint64_t)(rest.data - batch);
        struct journal_record record;
        int rv = journal_record_decode(&rest, &record);
        if (rv == 0) {
            rv = rewrite(journal, &record, offset);
        }
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

/* Works through the whole batches of the piece. Returns their bytes, or a code; *out_need tells how many bytes
 * a batch that is longer than the piece needs. */
static int64_t piece(struct bnd_journal *journal, size_t *out_need) {
    struct journal_relocation *move = &journal->relocation;
    size_t at = 0;
    *out_need = 0;
    while (at < move->len && move->segment->live_count > 0) {
        struct bnd_slice bytes = bnd_slice(move->data + at, move->len - at);
        struct journal_place place = move->segment->place;
        place.offset = move->offset + at;
        struct journal_batch_header header;
        if (!journal_batch_header_decode(bytes, &place, &header)) {
            return BND_CORRUPT;
        }
        size_t padded = (size_t)journal_padded(header.length);
        if (padded > bytes.len) {
            *out_need = padded;
            break;
        }
        if (!journal_batch_body_valid(bytes, &place, &header)) {
            return BND_CORRUPT;
        }
        int rv = rewrite_batch(journal, at, &header);
        if (rv != 0) {
            return rv;
        }
        at += padded;
    }
    return (int64_t)at;
}

static void read_done(struct bnd_io *io, int status, size_t bytes) {
    struct bnd_journal *journal = io->data;
    struct journal_relocation *move = &journal->relocation;
    move->busy = false;
    if (journal_stopped(journal)) {
        journal_close_step(journal);
        return;
    }
    if (status != 0 || bytes != move->len) {
        damaged(journal, status != 0 ? status : BND_CORRUPT, move->offset);
        return;
    }
    size_t need = 0;
    int64_t done = piece(journal, &need);
    if (done == BND_NOMEM) {
        journal_retry_later(journal); /* the piece is read again; what was rewritten is skipped then */
        return;
    }
    if (done < 0) {
        damaged(journal, (int)done, move->offset);
        return;
    }
    move->offset += (uint64_t)done;
    if (done == 0 && need > move->len) {
        if (need > move->segment->end - move->offset) {
            damaged(journal, BND_CORRUPT, move->offset);
            return;
        }
        read_start(journal, need);
        return;
    }
    bnd_journal_submit(journal);
    journal_background(journal);
}

void journal_relocate(struct bnd_journal *journal) {
    struct journal_relocation *move = &journal->relocation;
    struct journal_segment *oldest = journal_segment_oldest(journal);
    if (move->busy || journal_stopped(journal)) {
        return;
    }
    if (move->segment == NULL) {
        if (oldest == journal->collecting || oldest->live_count == 0 ||
            oldest->batch_last > journal->batch_durable || !worth_it(journal)) {
            return;
        }
        move->segment = oldest;
        move->offset = JOURNAL_BLOCK;
        move->wait_batch = 0;
    }
    if (move->segment->live_count == 0) {
        finish(journal);
        journal_segments_work(journal);
        return;
    }
    if (move->wait_batch > journal->batch_durable) {
        return;
    }
    if (move->offset >= move->segment->end) {
        damaged(journal, BND_CORRUPT, move->offset); /* a live entry was not found */
        return;
    }
    read_start(journal, READ_BYTES);
}
