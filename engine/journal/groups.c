/* The mirror of the groups: what a checkpoint says of each, and in which segments its live entries stand. No
 * entry data is kept.
 *
 * Invariants:
 *  1. Runs of a group ascend, do not overlap and lie within (start.index, last]; outside recovery they cover it.
 *  2. segment->live_count and live_bytes are the sums over all runs of that segment.
 *  3. A change is made only after its record is collected, so that the mirror always equals the log up to the
 *     last collected record: a checkpoint written between two records is exact. */
#include "engine/journal/journal_private.h"

#include <stdlib.h>

static size_t slot_of(const struct bnd_journal *journal, uint64_t gid) {
    return (size_t)((gid * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (journal->slots_count - 1);
}

struct journal_group *journal_group_find(const struct bnd_journal *journal, uint64_t gid) {
    if (journal->slots_count == 0) {
        return NULL;
    }
    for (size_t i = slot_of(journal, gid);; i = (i + 1) & (journal->slots_count - 1)) {
        struct journal_group *group = journal->slots[i];
        if (group == NULL || group->gid == gid) {
            return group;
        }
    }
}

static void slot_put(struct bnd_journal *journal, struct journal_group *group) {
    size_t i = slot_of(journal, group->gid);
    while (journal->slots[i] != NULL) {
        BND_ASSERT(journal->slots[i]->gid != group->gid);
        i = (i + 1) & (journal->slots_count - 1);
    }
    journal->slots[i] = group;
}

bool journal_groups_reserve(struct bnd_journal *journal) {
    if ((journal->groups_count + 1) * 2 <= journal->slots_count) {
        return true;
    }
    size_t old_count = journal->slots_count;
    size_t count = old_count == 0 ? 64 : old_count * 2;
    struct journal_group **slots = bnd_calloc(count, sizeof(struct journal_group *));
    if (slots == NULL) {
        return false;
    }
    struct journal_group **old = journal->slots;
    journal->slots = slots;
    journal->slots_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i] != NULL) {
            slot_put(journal, old[i]);
        }
    }
    bnd_free(old);
    return true;
}

void journal_group_insert(struct bnd_journal *journal, struct journal_group *group) {
    BND_ASSERT((journal->groups_count + 1) * 2 <= journal->slots_count);
    slot_put(journal, group);
    journal->groups_count++;
}

void journal_group_free(struct journal_group *group) {
    if (group == NULL) {
        return;
    }
    bnd_free((void *)group->start.config.data);
    bnd_free(group->runs);
    bnd_free(group->entries);
    bnd_free(group);
}

static int by_gid(const void *a, const void *b) {
    const struct journal_group *x = *(struct journal_group *const *)a;
    const struct journal_group *y = *(struct journal_group *const *)b;
    return (x->gid > y->gid) - (x->gid < y->gid);
}

struct journal_group **journal_groups_sorted(const struct bnd_journal *journal) {
    struct journal_group **sorted =
        bnd_calloc(journal->groups_count + 1, sizeof(struct journal_group *));
    if (sorted == NULL) {
        return NULL;
    }
    size_t count = 0;
    for (size_t i = 0; i < journal->slots_count; i++) {
        if (journal->slots[i] != NULL) {
            sorted[count++] = journal->slots[i];
        }
    }
    qsort(sorted, count, sizeof(struct journal_group *), by_gid);
    return sorted;
}

/* ---- runs -------------------------------------------------------------------------------------------- */

bool journal_group_reserve_run(struct journal_group *group) {
    return BND_ROOM(group->runs, group->runs_count + 1, group->runs_cap, 4);
}

/* The number of runs that begin at or before index. */
static size_t runs_up_to(const struct journal_group *group, uint64_t index) {
    size_t low = 0;
    size_t high = group->runs_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (group->runs[mid].first <= index) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct journal_run *run_of(const struct journal_group *group, uint64_t index) {
    size_t place = runs_up_to(group, index);
    if (place == 0) {
        return NULL;
    }
    struct journal_run *run = &group->runs[place - 1];
    return index - run->first < run->count ? run : NULL;
}

static void run_remove(struct journal_group *group, size_t place) {
    group->runs_count--;
    memmove(&group->runs[place], &group->runs[place + 1],
            (group->runs_count - place) * sizeof(struct journal_run));
}

/* Takes `count` entries (of `bytes` in all) off the books of the run and its segment. */
static void run_release(struct journal_run *run, uint64_t count, uint64_t bytes, uint64_t batch) {
    struct journal_segment *segment = run->segment;
    bytes = count == run->count || bytes > run->bytes ? run->bytes : bytes;
    BND_ASSERT(count <= run->count && count <= segment->live_count && bytes <= segment->live_bytes);
    run->count -= count;
    run->bytes -= bytes;
    segment->live_count -= count;
    segment->live_bytes -= bytes;
    if (segment->live_count == 0) {
        segment->dead_batch = batch;
    }
}

static uint64_t run_mean(const struct journal_run *run, uint64_t count) {
    return run->bytes / run->count * count;
}

/* Takes the entry out of the run that holds it now, at `place`: it is about to stand elsewhere. Relocation reads
 * a segment in order and so always meets a run's first entry first. */
static void run_take_first(struct journal_group *group, struct journal_run *run, size_t bytes,
                           uint64_t batch) {
    run_release(run, 1, bytes, batch);
    run->first++;
    if (run->count == 0) {
        run_remove(group, (size_t)(run - group->runs));
    }
}

void journal_group_place(struct journal_group *group, uint64_t index, const struct journal_spot *spot,
                         size_t bytes) {
    struct journal_run *old = run_of(group, index);
    if (old != NULL) {
        BND_ASSERT(old->first == index);
        run_take_first(group, old, bytes, spot->batch);
    }
    spot->segment->live_count++;
    spot->segment->live_bytes += bytes;
    size_t place = runs_up_to(group, index);
    struct journal_run *before = place == 0 ? NULL : &group->runs[place - 1];
    if (before != NULL && before->segment == spot->segment && !before->ended &&
        before->first + before->count == index) {
        before->count++;
        before->bytes += bytes;
    } else {
        BND_ASSERT(group->runs_count < group->runs_cap);
        memmove(&group->runs[place + 1], &group->runs[place],
                (group->runs_count - place) * sizeof(struct journal_run));
        group->runs[place] = (struct journal_run){
            .segment = spot->segment, .first = index, .count = 1, .at = spot->at, .bytes = bytes};
        group->runs_count++;
    }
    if (index > group->last) {
        group->last = index;
    }
}

bool journal_group_needs(const struct journal_group *group, uint64_t index,
                         const struct journal_segment *segment, uint64_t at) {
    const struct journal_run *run = run_of(group, index);
    return run != NULL && run->segment == segment && at >= run->at;
}

void journal_group_drop_from(struct journal_group *group, uint64_t index, uint64_t batch) {
    while (group->runs_count > 0) {
        struct journal_run *run = &group->runs[group->runs_count - 1];
        run->ended = true;
        if (run->first + run->count <= index) {
            break;
        }
        uint64_t cut = run->first >= index ? run->count : run->first + run->count - index;
        run_release(run, cut, run_mean(run, cut), batch);
        if (run->count > 0) {
            break;
        }
        group->runs_count--;
    }
    group->last = index - 1;
}

void journal_group_drop_to(struct journal_group *group, uint64_t index, uint64_t batch) {
    size_t gone = 0;
    while (gone < group->runs_count && group->runs[gone].first <= index) {
        struct journal_run *run = &group->runs[gone];
        uint64_t past = index - run->first + 1;
        uint64_t cut = past < run->count ? past : run->count;
        run_release(run, cut, run_mean(run, cut), batch);
        run->first += cut;
        if (run->count > 0) {
            break;
        }
        gone++;
    }
    if (gone > 0) {
        group->runs_count -= gone;
        memmove(group->runs, group->runs + gone, group->runs_count * sizeof(struct journal_run));
    }
}

/* ---- records ----------------------------------------------------------------------------------------- */

void journal_group_set_start(struct journal_group *group, const struct bnd_journal_start *start,
                             uint8_t *config) {
    bnd_free((void *)group->start.config.data);
    group->start = *start;
    group->start.config = bnd_slice(config, config == NULL ? 0 : start->config.len);
}

void journal_group_apply(struct journal_group *group, const struct journal_record *record,
                         uint8_t *config, uint64_t batch) {
    switch (record->kind) {
    case JOURNAL_CREATE:
        group->exists = true;
        journal_group_set_start(group, &record->start, config);
        group->last = record->start.index;
        return;
    case JOURNAL_DESTROY:
        group->exists = false;
        group->floor = record->floor;
        journal_group_drop_from(group, group->start.index + 1, batch);
        journal_group_set_start(group, &(struct bnd_journal_start){0}, NULL);
        group->last = 0;
        return;
    case JOURNAL_META:
        group->term = record->term;
        group->vote = record->vote;
        return;
    case JOURNAL_TRUNCATE:
        journal_group_drop_from(group, record->entry.index, batch);
        return;
    case JOURNAL_COMPACT:
        journal_group_drop_to(group, record->start.index, batch);
        journal_group_set_start(group, &record->start, config);
        if (group->last < record->start.index) {
            group->last = record->start.index;
        }
        return;
    case JOURNAL_INSTALL:
        journal_group_drop_from(group, group->start.index + 1, batch);
        journal_group_set_start(group, &record->start, config);
        group->last = record->start.index;
        return;
    default:
        BND_UNREACHABLE("record kind is not applied to a group");
    }
}

static int check_entry(const struct journal_group *group, const struct journal_record *record,
                       struct bnd_error *err) {
    uint64_t index = record->entry.index;
    if (record->kind == JOURNAL_ENTRY && group->last - group->start.index >= JOURNAL_ENTRIES_MAX) {
        return BND_FAIL(err, FULL, "group %" PRIu64 " holds %d entries", group->gid,
                        JOURNAL_ENTRIES_MAX);
    }
    if (record->kind == JOURNAL_ENTRY && index != group->last + 1) {
        return BND_FAIL(err, INVALID, "group %" PRIu64 ": entry %" PRIu64 " after %" PRIu64,
                        group->gid, index, group->last);
    }
    if (record->kind != JOURNAL_ENTRY && (index <= group->start.index || index > group->last + 1 ||
                                          (record->kind == JOURNAL_REWRITE && index > group->last))) {
        return BND_FAIL(err, INVALID,
                        "group %" PRIu64 ": %s of entry %" PRIu64 " outside (%" PRIu64 ", %" PRIu64 "]",
                        group->gid, journal_kind_name(record->kind), index, group->start.index,
                        group->last);
    }
    const struct journal_run *run = run_of(group, index);
    if (record->kind == JOURNAL_REWRITE && run != NULL && run->first != index) {
        return BND_FAIL(err, INVALID, "group %" PRIu64 ": rewrite of entry %" PRIu64 " out of order",
                        group->gid, index);
    }
    return 0;
}

int journal_group_check(const struct journal_group *group, const struct journal_record *record,
                        struct bnd_error *err) {
    bool exists = group != NULL && group->exists;
    if (record->start.index > JOURNAL_INDEX_MAX) {
        return BND_FAIL(err, INVALID, "group %" PRIu64 ": start %" PRIu64 " is no index", record->gid,
                        record->start.index);
    }
    if (record->kind == JOURNAL_CREATE) {
        return exists ? BND_FAIL(err, INVALID, "group %" PRIu64 " is there already", record->gid) : 0;
    }
    if (!exists) {
        return BND_FAIL(err, INVALID, "group %" PRIu64 " does not exist", record->gid);
    }
    switch (record->kind) {
    case JOURNAL_ENTRY:
    case JOURNAL_REWRITE:
    case JOURNAL_TRUNCATE:
        return check_entry(group, record, err);
    case JOURNAL_META:
        return record->term >= group->term
                   ? 0
                   : BND_FAIL(err, INVALID, "group %" PRIu64 ": term %" PRIu64 " after %" PRIu64,
                              record->gid, record->term, group->term);
    case JOURNAL_COMPACT:
    case JOURNAL_INSTALL:
        return record->start.index >= group->start.index
                   ? 0
                   : BND_FAIL(err, INVALID, "group %" PRIu64 ": start %" PRIu64 " after %" PRIu64,
                              record->gid, record->start.index, group->start.index);
    default:
        return 0;
    }
}
