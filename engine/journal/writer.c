/* Collecting records into batches and writing them, one at a time.
 *
 * A batch's place is known when it opens (behind the one sealed before it), so a record that does not fit the
 * segment rolls over while it is collected: the checkpoint then written equals the groups exactly as the log
 * says up to there. Writing follows in order, and waits where a planned segment's file is not ready.
 *
 * Invariants:
 *  1. One write is under way at most, and a batch is written only when all before it are durable: recovery
 *     takes whatever is followed by another batch for durable.
 *  2. A batch lies within one segment, numbers rise by 1 in the order of writing.
 *  3. The open batch has room for a batch header at least; `open` is NULL only when nothing is collected.
 * Failure: a failed write, or no memory inside a rollover (half a checkpoint), is final. */
#include "engine/journal/journal_private.h"

static void write_done(struct bnd_io *io, int status, size_t bytes);

void journal_batch_free(struct journal_batch *batch) {
    if (batch != NULL) {
        bnd_free(batch->data);
        bnd_free(batch);
    }
}

static struct journal_batch *batch_take(struct bnd_journal *journal) {
    struct bnd_link *link = bnd_list_pop(&journal->spare);
    if (link != NULL) {
        journal->spare_count--;
        return BND_CONTAINER(link, struct journal_batch, link);
    }
    struct journal_batch *batch = bnd_zalloc(sizeof *batch);
    if (batch == NULL) {
        return NULL;
    }
    batch->data = bnd_alloc_aligned(JOURNAL_BLOCK, journal->batch_bytes);
    if (batch->data == NULL) {
        bnd_free(batch);
        return NULL;
    }
    return batch;
}

static void batch_give(struct bnd_journal *journal, struct journal_batch *batch) {
    if (journal->spare_count >= JOURNAL_SPARE_BATCHES) {
        journal_batch_free(batch);
        return;
    }
    bnd_list_push(&journal->spare, &batch->link);
    journal->spare_count++;
}

/* Gives the open batch, which holds nothing, its place. */
static void batch_settle(struct bnd_journal *journal, struct journal_batch *batch) {
    struct journal_segment *segment = journal->collecting;
    uint64_t left = segment->bytes - segment->end;
    batch->segment = segment;
    batch->offset = segment->end;
    batch->room = left < journal->batch_bytes ? (size_t)left : journal->batch_bytes;
}

static int batch_open(struct bnd_journal *journal) {
    struct journal_batch *batch = batch_take(journal);
    if (batch == NULL) {
        return BND_NOMEM;
    }
    uint8_t *data = batch->data;
    *batch = (struct journal_batch){.data = data,
                                    .length = JOURNAL_BATCH_HEADER,
                                    .number = journal->batch_next++,
                                    .lsn_last = journal->lsn_last};
    batch_settle(journal, batch);
    journal->open = batch;
    return 0;
}

static void batch_seal(struct bnd_journal *journal) {
    struct journal_batch *batch = journal->open;
    struct journal_segment *segment = batch->segment;
    BND_ASSERT(batch->records > 0 && batch->length <= batch->room);
    BND_ASSERT(segment->end == batch->offset && segment == journal->collecting);
    size_t padded = (size_t)journal_padded(batch->length);
    memset(batch->data + batch->length, 0, padded - batch->length);
    struct journal_place place = segment->place;
    place.offset = batch->offset;
    journal_batch_seal(batch->data, &place,
                       &(struct journal_batch_header){.length = (uint32_t)batch->length,
                                                      .records = batch->records,
                                                      .number = batch->number,
                                                      .lsn_last = batch->lsn_last});
    segment->end += padded;
    segment->batch_last = batch->number;
    bnd_list_push(&journal->sealed, &batch->link);
    journal->open = NULL;
}

/* ---- collecting -------------------------------------------------------------------------------------- */

static int roll(struct bnd_journal *journal) {
    struct journal_segment *next = journal_segment_next(journal, journal->collecting);
    if (next == NULL) {
        next = journal_segment_plan(journal);
    }
    if (next == NULL) {
        return BND_NOMEM;
    }
    journal->collecting = next;
    if (journal->open != NULL) {
        batch_settle(journal, journal->open);
    }
    /* A checkpoint only after as many bytes of other records: one that just fills its segment would otherwise be
     * followed by the next for ever. */
    if (journal->checkpointing || journal->since_checkpoint <= journal->checkpoint_bytes) {
        return 0;
    }
    int rv = journal_checkpoint(journal, next);
    if (rv != 0) {
        struct bnd_error why;
        (void)BND_FAIL(&why, NOMEM, "no memory for the checkpoint of journal segment %" PRIu64,
                       next->place.generation); /* the code is rv's */
        journal_fail(journal, &why);
    }
    return rv;
}

/* Makes the open batch one that has room for `bytes` more. */
static int make_room(struct bnd_journal *journal, size_t bytes) {
    for (;;) {
        struct journal_segment *segment = journal->collecting;
        bool full = segment->bytes - segment->end < JOURNAL_BATCH_HEADER + bytes;
        int rv = 0;
        if (journal->open == NULL) {
            rv = full ? roll(journal) : batch_open(journal);
        } else if (journal->open->room - journal->open->length >= bytes) {
            return 0;
        } else if (journal->open->records > 0) {
            batch_seal(journal);
        } else {
            BND_ASSERT(full); /* an empty batch has room for any record, or its segment has not */
            rv = roll(journal);
        }
        if (rv != 0) {
            return rv;
        }
    }
}

/* What must be true before client records of so many bytes can be collected into one batch. */
static int admit(const struct bnd_journal *journal, bool client, size_t bytes) {
    if (journal->failed) {
        return BND_IO;
    }
    if (bytes > journal->batch_bytes - JOURNAL_BATCH_HEADER) {
        return BND_TOOBIG;
    }
    bool full = client && bytes > journal->config.queue_bytes_max - journal->bytes_queued;
    return full ? BND_FULL : 0;
}

int bnd_journal_together(struct bnd_journal *journal, size_t records, size_t data_bytes) {
    size_t bytes = 0;
    if (__builtin_mul_overflow(records, (size_t)JOURNAL_RECORD_FIXED_MAX, &bytes) ||
        __builtin_add_overflow(bytes, data_bytes, &bytes)) {
        return BND_TOOBIG;
    }
    int rv = admit(journal, true, bytes);
    return rv != 0 ? rv : make_room(journal, bytes);
}

int journal_collect(struct bnd_journal *journal, const struct journal_record *record,
                    struct journal_spot *out) {
    bool client = journal_kind_has_lsn(record->kind);
    size_t bytes = journal_record_bytes(record);
    int rv = admit(journal, client, bytes);
    rv = rv != 0 ? rv : make_room(journal, bytes);
    if (rv != 0) {
        return rv;
    }
    struct journal_batch *batch = journal->open;
    *out = (struct journal_spot){.segment = batch->segment,
                                 .at = batch->offset + batch->length,
                                 .batch = batch->number};
    journal_record_encode(record, batch->data + batch->length);
    batch->length += bytes;
    batch->records++;
    if (record->kind < JOURNAL_CHECKPOINT_BEGIN) {
        journal->since_checkpoint += bytes;
    }
    if (client) {
        batch->lsn_last = ++journal->lsn_last;
        batch->queued += bytes;
        journal->bytes_queued += bytes;
    }
    return 0;
}

static int checkpoint_groups(struct bnd_journal *journal, struct journal_group **groups,
                             struct journal_spot *spot) {
    uint64_t count = journal->groups_count;
    int rv = journal_collect(
        journal, &(struct journal_record){.kind = JOURNAL_CHECKPOINT_BEGIN, .count = count}, spot);
    for (uint64_t i = 0; rv == 0 && i < count; i++) {
        struct journal_record record = {.kind = JOURNAL_CHECKPOINT_GROUP,
                                        .gid = groups[i]->gid,
                                        .exists = groups[i]->exists,
                                        .term = groups[i]->term,
                                        .vote = groups[i]->vote,
                                        .last = groups[i]->last,
                                        .floor = groups[i]->floor,
                                        .start = groups[i]->start};
        rv = journal_collect(journal, &record, spot);
        journal->checkpoint_bytes += journal_record_bytes(&record);
    }
    if (rv != 0) {
        return rv;
    }
    return journal_collect(
        journal, &(struct journal_record){.kind = JOURNAL_CHECKPOINT_END, .count = count}, spot);
}

int journal_checkpoint(struct bnd_journal *journal, struct journal_segment *segment) {
    BND_ASSERT(!journal->checkpointing);
    struct journal_group **groups = journal_groups_sorted(journal);
    if (groups == NULL) {
        return BND_NOMEM;
    }
    struct journal_spot spot = {0};
    journal->checkpointing = true;
    journal->checkpoint_bytes = 0;
    journal->since_checkpoint = 0;
    int rv = checkpoint_groups(journal, groups, &spot);
    journal->checkpointing = false;
    bnd_free(groups);
    if (rv == 0 && segment != NULL) {
        segment->anchor = true;
        segment->anchor_batch = spot.batch;
    }
    return rv;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static void write_failed(struct bnd_journal *journal, int code) {
    struct journal_batch *batch = journal->writing;
    struct bnd_error why;
    (void)bnd_error_set(&why, code, /* the code is the environment's */
                        "write of journal segment %016" PRIx64 ", offset %" PRIu64 ", %zu bytes: %s",
                        batch->segment->place.generation, batch->offset, batch->length,
                        bnd_code_text(code));
    journal_fail(journal, &why);
}

void journal_write_next(struct bnd_journal *journal) {
    if (journal->writing != NULL || journal_stopped(journal)) {
        return;
    }
    if (bnd_list_empty(&journal->sealed) && journal->submitted && journal->open != NULL &&
        journal->open->records > 0) {
        batch_seal(journal);
    }
    if (bnd_list_empty(&journal->sealed)) {
        journal->submitted = false;
        return;
    }
    struct journal_batch *batch =
        BND_CONTAINER(journal->sealed.next, struct journal_batch, link);
    if (batch->segment->file == NULL) {
        journal_segments_work(journal); /* comes back here when the file is ready */
        return;
    }
    bnd_link_remove(&batch->link);
    if (bnd_list_empty(&journal->sealed) && journal->open == NULL) {
        journal->submitted = false;
    }
    journal->writing = batch;
    journal->hang_ticks = 0;
    journal->write_since_ns = bnd_now_ns(journal->env);
    struct bnd_iov iov = {.data = batch->data, .len = (size_t)journal_padded(batch->length)};
    journal->write_io.cb = write_done;
    journal->write_io.data = journal;
    int rv = journal->env->ops->file_write(journal->env, batch->segment->file, &journal->write_io,
                                           iov, batch->offset, BND_WRITE_DSYNC);
    if (rv != 0) {
        write_failed(journal, rv);
        bnd_list_push(&journal->sealed, &batch->link);
        journal->writing = NULL;
        return;
    }
    bnd_timer_start(journal->env, &journal->hang_timer, journal->config.hang_ns / JOURNAL_HANG_TICKS);
}

/* Ticks count, not time: a process that was stopped gets one late tick, and has reaped its completions before
 * the next. */
void journal_hang_tick(struct bnd_timer *timer) {
    struct bnd_journal *journal = timer->data;
    if (journal->writing == NULL || journal_stopped(journal)) {
        return;
    }
    if (++journal->hang_ticks < JOURNAL_HANG_TICKS) {
        bnd_timer_start(journal->env, timer, journal->config.hang_ns / JOURNAL_HANG_TICKS);
        return;
    }
    write_failed(journal, BND_TIMEOUT);
}

static void write_done(struct bnd_io *io, int status, size_t bytes) {
    struct bnd_journal *journal = io->data;
    struct journal_batch *batch = journal->writing;
    bnd_timer_stop(journal->env, &journal->hang_timer);
    if (status == 0 && bytes != journal_padded(batch->length)) {
        status = BND_IO;
    }
    if (status != 0) {
        write_failed(journal, status);
    }
    journal->writing = NULL;
    bnd_histogram_add(&journal->writes, bnd_now_ns(journal->env) - journal->write_since_ns);
    journal->batch_durable = status == 0 ? batch->number : journal->batch_durable;
    journal->batches++;
    journal->bytes_written += bytes;
    journal->bytes_queued -= batch->queued;
    uint64_t lsn = batch->lsn_last;
    batch_give(journal, batch);
    if (journal_stopped(journal)) {
        journal_close_step(journal);
        return;
    }
    journal_write_next(journal); /* the disk first: answers are worked on meanwhile */
    journal_background(journal);
    if (lsn > journal->lsn_durable && !journal_stopped(journal)) {
        journal->lsn_durable = lsn;
        journal->config.durable(journal->config.owner, lsn); /* may close the journal: last */
    }
}
