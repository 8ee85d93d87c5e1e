/* Reading the journal at open. Changes no file.
 *
 * Segments are read whole, in order of generation; recovered entries borrow from the contents, which are freed
 * once no live entry stands in them. SPEC.md ("Recovery") says what is damage and what a torn tail; the code
 * below goes by its numbers.
 *
 * Records pass the same checks and change the same mirror as calls do, so that the journal afterwards is what it
 * was when the last record was collected. Nothing read is trusted: a record whose batch verifies but which
 * cannot follow is BND_CORRUPT. */
#include "engine/journal/journal_private.h"

#include <stdlib.h>

struct reading {
    struct bnd_journal *journal;
    struct journal_scan *scan;
    struct journal_segment *segment;
    struct journal_spot spot; /* of the record */
    struct bnd_error *err;
};

#define CORRUPT_AT(segment, offset, err, text)                                                     \
    BND_FAIL(err, CORRUPT, "journal segment %016" PRIx64 ".seg, offset %" PRIu64 ": %s",           \
             (segment)->place.generation, (uint64_t)(offset), text)

/* ---- entries kept for the owner ------------------------------------------------------------------------ */

static int entries_put(struct journal_group *group, const struct bnd_journal_entry *entry) {
    uint64_t first = group->start.index + 1;
    if (group->entries_count == 0 || first > group->entries_base + group->entries_count) {
        group->entries_count = 0;
        group->entries_base = first;
    }
    uint64_t stale = first > group->entries_base ? first - group->entries_base : 0;
    if (stale > group->entries_count / 2) { /* compacted away: give their places back */
        group->entries_count -= (size_t)stale;
        memmove(group->entries, group->entries + stale,
                group->entries_count * sizeof(struct bnd_journal_entry));
        group->entries_base = first;
    }
    BND_ASSERT(entry->index >= group->entries_base); /* which never passes start + 1 */
    size_t place = (size_t)(entry->index - group->entries_base);
    if (place >= group->entries_cap) {
        size_t cap = place < 8 ? 16 : place * 2;
        struct bnd_journal_entry *grown =
            bnd_realloc(group->entries, cap * sizeof(struct bnd_journal_entry));
        if (grown == NULL) {
            return BND_NOMEM;
        }
        group->entries = grown;
        group->entries_cap = cap;
    }
    for (; group->entries_count <= place; group->entries_count++) {
        group->entries[group->entries_count] = (struct bnd_journal_entry){0};
    }
    group->entries[place] = *entry;
    return 0;
}

/* ---- records ------------------------------------------------------------------------------------------- */

static struct journal_group *group_make(struct bnd_journal *journal, uint64_t gid) {
    struct journal_group *group = journal_group_find(journal, gid);
    if (group != NULL || !journal_groups_reserve(journal)) {
        return group;
    }
    group = bnd_zalloc(sizeof *group);
    if (group != NULL) {
        group->gid = gid;
        journal_group_insert(journal, group);
    }
    return group;
}

static int nomem(struct bnd_error *err) {
    return BND_FAIL(err, NOMEM, "no memory to recover the journal");
}

static int config_copy(const struct bnd_journal_start *start, uint8_t **out, struct bnd_error *err) {
    *out = NULL;
    if (start->config.len == 0) {
        return 0;
    }
    *out = bnd_memdup(start->config.data, start->config.len);
    return *out == NULL ? nomem(err) : 0;
}

static bool group_equals(const struct journal_group *group, const struct journal_record *record) {
    return group->exists == record->exists && group->term == record->term &&
           group->vote == record->vote && group->last == record->last &&
           group->floor.index == record->floor.index && group->floor.term == record->floor.term &&
           group->start.index == record->start.index && group->start.term == record->start.term &&
           group->start.slot == record->start.slot &&
           group->start.config_index == record->start.config_index &&
           bnd_slice_eq(group->start.config, record->start.config);
}

static int apply_checkpoint_group(struct reading *at, const struct journal_record *record) {
    struct bnd_journal *journal = at->journal;
    at->scan->checkpoint_groups++;
    journal->checkpoint_bytes += journal_record_bytes(record);
    struct journal_group *group = journal_group_find(journal, record->gid);
    if (group == NULL && at->scan->restoring) {
        uint8_t *config = NULL;
        int rv = config_copy(&record->start, &config, at->err);
        if (rv != 0) {
            return rv;
        }
        group = group_make(journal, record->gid);
        if (group == NULL) {
            bnd_free(config);
            return nomem(at->err);
        }
        group->exists = record->exists;
        group->term = record->term;
        group->vote = record->vote;
        group->last = record->last;
        group->floor = record->floor;
        journal_group_set_start(group, &record->start, config);
        return 0;
    }
    if (group == NULL || !group_equals(group, record)) {
        return CORRUPT_AT(at->segment, at->spot.at, at->err, "checkpoint differs from the log before");
    }
    return 0;
}

static int apply_checkpoint(struct reading *at, const struct journal_record *record, bool opens) {
    struct journal_scan *scan = at->scan;
    if (record->kind == JOURNAL_CHECKPOINT_GROUP) {
        return scan->incomplete ? apply_checkpoint_group(at, record)
                                : CORRUPT_AT(at->segment, at->spot.at, at->err,
                                             "group outside of a checkpoint");
    }
    if (record->kind == JOURNAL_CHECKPOINT_BEGIN) {
        if (opens) {
            scan->anchor = at->segment;
            at->segment->anchor = true;
        }
        scan->restoring = scan->restoring || !scan->anchored;
        scan->anchored = true;
        scan->incomplete = true;
        scan->checkpoint_groups = 0;
        at->journal->checkpoint_bytes = 0;
        at->journal->since_checkpoint = 0;
        scan->checkpoint_count = record->count;
        return 0;
    }
    if (!scan->incomplete || record->count != scan->checkpoint_groups ||
        record->count != scan->checkpoint_count ||
        record->count != at->journal->groups_count) {
        return CORRUPT_AT(at->segment, at->spot.at, at->err, "checkpoint does not add up");
    }
    scan->incomplete = false;
    scan->restoring = false;
    if (scan->anchor != NULL) {
        scan->anchor->anchor_batch = at->spot.batch;
    }
    return 0;
}

static int apply_entry(struct reading *at, const struct journal_record *record) {
    struct journal_group *group = journal_group_find(at->journal, record->gid);
    if (!journal_group_reserve_run(group) || entries_put(group, &record->entry) != 0) {
        return nomem(at->err);
    }
    journal_group_place(group, record->entry.index, &at->spot, journal_record_bytes(record));
    return 0;
}

static int apply(struct reading *at, const struct journal_record *record, bool opens) {
    if (record->kind >= JOURNAL_CHECKPOINT_BEGIN) {
        return apply_checkpoint(at, record, opens);
    }
    at->journal->since_checkpoint += journal_record_bytes(record);
    if (at->scan->incomplete) {
        return CORRUPT_AT(at->segment, at->spot.at, at->err, "record inside a checkpoint");
    }
    struct bnd_error why = {0};
    struct journal_group *group = journal_group_find(at->journal, record->gid);
    if (journal_group_check(group, record, &why) != 0) {
        return CORRUPT_AT(at->segment, at->spot.at, at->err, why.message);
    }
    if (record->kind == JOURNAL_ENTRY || record->kind == JOURNAL_REWRITE) {
        return apply_entry(at, record);
    }
    uint8_t *config = NULL;
    int rv = config_copy(&record->start, &config, at->err);
    if (rv != 0) {
        return rv;
    }
    group = group != NULL ? group : group_make(at->journal, record->gid);
    if (group == NULL) {
        bnd_free(config);
        return nomem(at->err);
    }
    journal_group_apply(group, record, config, at->spot.batch);
    if (record->kind == JOURNAL_CREATE || record->kind == JOURNAL_INSTALL ||
        record->kind == JOURNAL_DESTROY) {
        group->entries_count = 0;
    }
    return 0;
}

/* ---- batches (SPEC recovery 2 and 3) --------------------------------------------------------------------- */

static int apply_batch(struct reading *at, uint64_t offset,
                       const struct journal_batch_header *header) {
    const uint8_t *batch = at->segment->data + offset;
    struct bnd_slice rest =
        bnd_slice(batch + JOURNAL_BATCH_HEADER, header->length - JOURNAL_BATCH_HEADER);
    uint32_t count = 0;
    while (rest.len > 0) {
        at->spot = (struct journal_spot){.segment = at->segment,
                                         .at = offset + (uint64_t)(rest.data - batch),
                                         .batch = header->number};
        struct journal_record record;
        if (journal_record_decode(&rest, &record) != 0) {
            return CORRUPT_AT(at->segment, at->spot.at, at->err, "no record of this format");
        }
        bool opens = offset == JOURNAL_BLOCK && count == 0 &&
                     record.kind == JOURNAL_CHECKPOINT_BEGIN;
        if (!at->scan->anchored && !opens) {
            return 0; /* the tail of a checkpoint whose begin was retired: superseded by the next one */
        }
        int rv = apply(at, &record, opens);
        if (rv != 0) {
            return rv;
        }
        count++;
    }
    return count == header->records
               ? 0
               : CORRUPT_AT(at->segment, offset, at->err, "batch has another count of records");
}

/* The offset of the first valid batch header at or behind `from`, or 0. */
static uint64_t header_behind(const struct journal_segment *segment, uint64_t from) {
    for (uint64_t offset = from; offset < segment->data_len; offset += JOURNAL_BLOCK) {
        struct journal_place place = segment->place;
        place.offset = offset;
        struct journal_batch_header header;
        if (journal_batch_header_decode(
                bnd_slice(segment->data + offset, segment->data_len - offset), &place, &header)) {
            return offset;
        }
    }
    return 0;
}

/* The log ends in this segment at segment->end, or goes on in the next one. `torn`: bytes of a batch that was
 * begun there, 0 if none can be seen. */
static int segment_ends(struct bnd_journal *journal, struct journal_scan *scan,
                        struct journal_segment *segment, uint64_t torn, struct bnd_error *err) {
    uint64_t offset = segment->end;
    if (header_behind(segment, offset + JOURNAL_BLOCK) != 0) {
        return CORRUPT_AT(segment, offset, err, "damaged batch before a valid one");
    }
    if (torn > 0 || segment->end == JOURNAL_BLOCK) {
        scan->ended = true; /* nothing may follow */
        journal->torn_bytes = torn;
    }
    return 0;
}

int journal_recover_segment(struct bnd_journal *journal, struct journal_scan *scan,
                            struct journal_segment *segment, struct bnd_error *err) {
    struct reading at = {.journal = journal, .scan = scan, .segment = segment, .err = err};
    uint64_t torn = 0;
    segment->end = JOURNAL_BLOCK;
    if (scan->ended) {
        return header_behind(segment, JOURNAL_BLOCK) == 0
                   ? 0
                   : CORRUPT_AT(scan->end, scan->end->end, err, "damaged batch before a valid one");
    }
    while (segment->end < segment->data_len) {
        struct bnd_slice bytes =
            bnd_slice(segment->data + segment->end, segment->data_len - segment->end);
        struct journal_place place = segment->place;
        place.offset = segment->end;
        struct journal_batch_header header;
        if (!journal_batch_header_decode(bytes, &place, &header)) {
            break;
        }
        if (journal->batch_next != 0 && header.number != journal->batch_next) {
            bool inside = segment->end > JOURNAL_BLOCK || scan->end == NULL;
            struct journal_segment *where = inside ? segment : scan->end;
            return CORRUPT_AT(where, where->end, err, "damaged batch before a valid one");
        }
        if (!journal_batch_body_valid(bytes, &place, &header)) {
            torn = journal_padded(header.length);
            break;
        }
        int rv = apply_batch(&at, segment->end, &header);
        if (rv != 0) {
            return rv;
        }
        journal->batch_next = header.number + 1;
        journal->lsn_last = header.lsn_last;
        segment->batch_last = header.number;
        segment->end += journal_padded(header.length);
        size_t needed = (size_t)journal_padded(header.length) + JOURNAL_BLOCK;
        if (needed > journal->batch_bytes) {
            journal->batch_bytes = needed; /* so that whatever stands here can be written again */
        }
    }
    if (segment->end > JOURNAL_BLOCK || scan->end == NULL) {
        scan->end = segment;
    }
    return segment_ends(journal, scan, segment, torn, err);
}

int journal_recover_check(struct bnd_journal *journal, const struct journal_scan *scan,
                          struct bnd_error *err) {
    if (!scan->anchored || scan->restoring) {
        return BND_FAIL(err, CORRUPT, "journal: no whole checkpoint, and segment 1 is gone");
    }
    for (size_t i = 0; i < journal->slots_count; i++) {
        const struct journal_group *group = journal->slots[i];
        uint64_t known = 0;
        for (size_t r = 0; group != NULL && r < group->runs_count; r++) {
            known += group->runs[r].count;
        }
        if (group != NULL && known != group->last - group->start.index) {
            return BND_FAIL(err, CORRUPT,
                            "journal: group %" PRIu64 ": %" PRIu64 " entries of (%" PRIu64
                            ", %" PRIu64 "] are missing",
                            group->gid, group->last - group->start.index - known,
                            group->start.index, group->last);
        }
    }
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------------------- */

struct listing {
    struct bnd_journal *journal;
    struct journal_scan *scan;
};

static int list_each(void *data, const char *name) {
    struct listing *listing = data;
    struct bnd_journal *journal = listing->journal;
    struct journal_scan *scan = listing->scan;
    uint64_t number = 0;
    switch (journal_file_parse(name, &number)) {
    case JOURNAL_FILE_FREE:
        if (journal->free_count < JOURNAL_FREE_MAX) {
            journal->free_numbers[journal->free_count++] = number;
        }
        return 0;
    case JOURNAL_FILE_TMP:
        if (scan->tmp_count < sizeof scan->tmp_numbers / sizeof scan->tmp_numbers[0]) {
            scan->tmp_numbers[scan->tmp_count++] = number;
        }
        return 0;
    case JOURNAL_FILE_OTHER:
        return 0;
    case JOURNAL_FILE_SEGMENT:
        break;
    }
    if (!BND_ROOM(scan->numbers, scan->count, scan->cap, 16)) {
        return BND_NOMEM;
    }
    scan->numbers[scan->count++] = number;
    return 0;
}

/* Reads and checks a header; the segment joins the list. */
static int header_read(struct bnd_journal *journal, struct bnd_file *file, uint64_t number,
                       struct bnd_error *err) {
    struct bnd_env *env = journal->env;
    uint8_t block[JOURNAL_BLOCK];
    size_t len = 0;
    uint64_t size = 0;
    struct journal_segment_header header;
    int rv = env->ops->file_pread(env, file, block, sizeof block, 0, &len, err);
    rv = rv == 0 ? env->ops->file_size(env, file, &size, err) : rv;
    rv = rv == 0 ? journal_segment_header_decode(bnd_slice(block, len), &header, err) : rv;
    if (rv != 0) {
        return rv;
    }
    const struct bnd_journal_config *config = &journal->config;
    if (header.cluster_id != config->cluster_id || header.node_id != config->node_id) {
        return BND_FAIL(err, DENIED,
                        "belongs to node %" PRIx64 " of cluster %" PRIx64 ", not to node %" PRIx64
                        " of cluster %" PRIx64,
                        header.node_id, header.cluster_id, config->node_id, config->cluster_id);
    }
    if (header.generation != number || header.bytes != size) {
        return BND_FAIL(err, CORRUPT,
                        "offset 0: header of generation %" PRIx64 " and %" PRIu64 " bytes, file of %" PRIu64,
                        header.generation, header.bytes, size);
    }
    struct journal_segment *segment = bnd_zalloc(sizeof *segment);
    if (segment == NULL) {
        return nomem(err);
    }
    segment->place = (struct journal_place){.salt = header.salt, .generation = number};
    segment->bytes = size;
    bnd_list_push(&journal->segments, &segment->link);
    return 0;
}

static int segment_open(struct bnd_journal *journal, uint64_t number, struct bnd_file **out,
                        char path[JOURNAL_PATH_MAX], struct bnd_error *err) {
    journal_path(journal->config.dir, number, JOURNAL_FILE_SEGMENT, path);
    return journal->env->ops->file_open(journal->env, path, BND_OPEN_READ, out, err);
}

static int headers_read(struct bnd_journal *journal, const struct journal_scan *scan,
                        struct bnd_error *err) {
    for (size_t i = 0; i < scan->count; i++) {
        char path[JOURNAL_PATH_MAX];
        struct bnd_file *file = NULL;
        int rv = segment_open(journal, scan->numbers[i], &file, path, err);
        if (rv == 0) {
            rv = header_read(journal, file, scan->numbers[i], err);
            journal->env->ops->file_close(journal->env, file);
        }
        if (rv != 0) {
            return BND_WRAP(err, rv, "%s", path);
        }
        if (i > 0 && scan->numbers[i] != scan->numbers[i - 1] + 1) {
            return BND_FAIL(err, CORRUPT, "%s: the segment before it is missing", path);
        }
    }
    return 0;
}

static int content_read(struct bnd_journal *journal, struct journal_segment *segment,
                        struct bnd_error *err) {
    char path[JOURNAL_PATH_MAX];
    struct bnd_file *file = NULL;
    segment->data = bnd_alloc((size_t)segment->bytes);
    if (segment->data == NULL) {
        return nomem(err);
    }
    int rv = segment_open(journal, segment->place.generation, &file, path, err);
    if (rv == 0) {
        rv = journal->env->ops->file_pread(journal->env, file, segment->data,
                                           (size_t)segment->bytes, 0, &segment->data_len, err);
        journal->env->ops->file_close(journal->env, file);
    }
    return rv == 0 ? 0 : BND_WRAP(err, rv, "%s", path);
}

/* Frees contents that no live entry borrows from. */
static void contents_trim(struct bnd_journal *journal) {
    for (struct bnd_link *link = journal->segments.next; link != &journal->segments;
         link = link->next) {
        struct journal_segment *segment = journal_segment_of(link);
        if (segment->live_count == 0) {
            bnd_free(segment->data);
            segment->data = NULL;
            segment->data_len = 0;
        }
    }
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int journal_recover(struct bnd_journal *journal, struct journal_scan *scan, struct bnd_error *err) {
    struct listing listing = {.journal = journal, .scan = scan};
    int rv = journal->env->ops->dir_list(journal->env, journal->config.dir, list_each, &listing, err);
    if (rv != 0) {
        return BND_WRAP(err, rv, "%s", journal->config.dir);
    }
    if (scan->count == 0) {
        return 0;
    }
    qsort(scan->numbers, scan->count, sizeof(uint64_t), by_number);
    rv = headers_read(journal, scan, err);
    if (rv != 0) {
        return rv;
    }
    scan->anchored = scan->numbers[0] == 1;
    journal->batch_next = scan->anchored ? 1 : 0; /* 0: whatever the first batch says */
    for (struct bnd_link *link = journal->segments.next; link != &journal->segments;
         link = link->next) {
        struct journal_segment *segment = journal_segment_of(link);
        rv = content_read(journal, segment, err);
        if (rv == 0) {
            rv = journal_recover_segment(journal, scan, segment, err);
        }
        if (rv != 0) {
            return BND_WRAP(err, rv, "%s", journal->config.dir);
        }
        contents_trim(journal);
    }
    return journal_recover_check(journal, scan, err);
}

void journal_recover_forget(struct bnd_journal *journal) {
    for (size_t i = 0; i < journal->slots_count; i++) {
        if (journal->slots[i] != NULL) {
            bnd_free(journal->slots[i]->entries);
            journal->slots[i]->entries = NULL;
            journal->slots[i]->entries_cap = 0;
            journal->slots[i]->entries_count = 0;
        }
    }
    for (struct bnd_link *link = journal->segments.next; link != &journal->segments;
         link = link->next) {
        struct journal_segment *segment = journal_segment_of(link);
        bnd_free(segment->data);
        segment->data = NULL;
    }
}
