/* Recovery over arbitrary bytes. First byte 0: the rest are records, sealed into valid batches of a
 * segment, so that recovery's own checks are reached; else: the rest is a segment's content as it
 * is. What recovery accepts must add up. */
#include "base/alloc.h"
#include "base/queue.h"
#include "engine/journal/journal_private.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#define SEGMENT_BYTES ((size_t)64 * JOURNAL_BLOCK)
#define BATCH_RECORDS ((size_t)2 * JOURNAL_BLOCK - JOURNAL_BATCH_HEADER)

/* Cuts the input into records as their lengths say and seals them into batches. */
static void fill_sealed(struct journal_segment *segment, const uint8_t *data, size_t size) {
    size_t at = JOURNAL_BLOCK;
    uint64_t number = 1;
    while (size > 0 && at + JOURNAL_BATCH_HEADER + BATCH_RECORDS <= SEGMENT_BYTES) {
        uint8_t *batch = segment->data + at;
        struct journal_batch_header header = {.length = JOURNAL_BATCH_HEADER, .number = number++};
        while (size >= 4) {
            size_t len = bnd_get_u32(data) % 512;
            len = len < JOURNAL_RECORD_HEADER ? JOURNAL_RECORD_HEADER : len;
            len = len > size ? size : len;
            if (header.length - JOURNAL_BATCH_HEADER + len > BATCH_RECORDS || header.records == 8) {
                break;
            }
            memcpy(batch + header.length, data, len);
            header.length += (uint32_t)len;
            header.records++;
            data += len;
            size -= len;
        }
        if (header.records == 0) {
            return;
        }
        struct journal_place place = segment->place;
        place.offset = at;
        journal_batch_seal(batch, &place, &header);
        at += (size_t)journal_padded(header.length);
    }
}

static void check_groups(const struct bnd_journal *journal) {
    for (size_t i = 0; i < journal->slots_count; i++) {
        const struct journal_group *group = journal->slots[i];
        for (uint64_t n = 0; group != NULL && n < group->last - group->start.index; n++) {
            const struct bnd_journal_entry *entry =
                &group->entries[group->start.index + 1 + n - group->entries_base];
            if (entry->index != group->start.index + 1 + n) {
                abort(); /* an entry was said to be known and is not */
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > SEGMENT_BYTES - JOURNAL_BLOCK) {
        return 0;
    }
    struct bnd_journal *journal = bnd_zalloc(sizeof *journal);
    struct journal_segment segment = {.place = {.salt = 1, .generation = 1},
                                      .bytes = SEGMENT_BYTES};
    struct journal_scan scan = {.anchored = (data[1] & 1) != 0};
    segment.data = bnd_zalloc(SEGMENT_BYTES);
    segment.data_len = SEGMENT_BYTES;
    bnd_list_init(&journal->segments);
    bnd_list_push(&journal->segments, &segment.link);
    journal->batch_next = 1;
    if (data[0] == 0) {
        fill_sealed(&segment, data + 2, size - 2);
    } else {
        memcpy(segment.data + JOURNAL_BLOCK, data + 2, size - 2);
    }
    if (journal_recover_segment(journal, &scan, &segment, NULL) == 0 &&
        journal_recover_check(journal, &scan, NULL) == 0) {
        check_groups(journal);
    }
    for (size_t i = 0; i < journal->slots_count; i++) {
        journal_group_free(journal->slots[i]);
    }
    bnd_free(journal->slots);
    bnd_free(segment.data);
    bnd_free(journal);
    return 0;
}
