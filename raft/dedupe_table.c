/* See dedupe_table.h. Minters are few (one per process that writes), so they stand in a sorted
 * array; a minter's outcomes come with rising seq but for retries, so a search begins at the end of
 * the list. */
#include "raft/dedupe_table.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

/* ---- the heap ---------------------------------------------------------------------------------*/

static bool sooner(const struct dedupe_record *a, const struct dedupe_record *b) {
    if (a->deadline_ms != b->deadline_ms) {
        return a->deadline_ms < b->deadline_ms;
    }
    if (a->minter->id != b->minter->id) {
        return a->minter->id < b->minter->id;
    }
    return a->seq < b->seq;
}

static void put_at(struct dedupe_table *table, size_t place, struct dedupe_record *record) {
    table->heap[place] = record;
    record->place = place;
}

static void sift_up(struct dedupe_table *table, struct dedupe_record *record) {
    size_t at = record->place;
    while (at > 0 && sooner(record, table->heap[(at - 1) / 2])) {
        put_at(table, at, table->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_at(table, at, record);
}

static void sift_down(struct dedupe_table *table, struct dedupe_record *record) {
    size_t at = record->place;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < table->count && sooner(table->heap[child + 1], table->heap[child])) {
            child++;
        }
        if (child >= table->count || !sooner(table->heap[child], record)) {
            break;
        }
        put_at(table, at, table->heap[child]);
        at = child;
    }
    put_at(table, at, record);
}

static void heap_push(struct dedupe_table *table, struct dedupe_record *record) {
    BND_ASSERT(table->count < table->cap);
    put_at(table, table->count++, record);
    sift_up(table, record);
}

static void heap_remove(struct dedupe_table *table, struct dedupe_record *record) {
    BND_ASSERT(record->place < table->count && table->heap[record->place] == record);
    struct dedupe_record *last = table->heap[--table->count];
    if (last != record) {
        put_at(table, record->place, last);
        sift_up(table, last);
        sift_down(table, last);
    }
}

struct dedupe_record *dedupe_table_oldest(const struct dedupe_table *table) {
    return table->count == 0 ? NULL : table->heap[0];
}

/* ---- minters ----------------------------------------------------------------------------------*/

static size_t minter_place(const struct dedupe_table *table, uint64_t id) {
    size_t low = 0;
    size_t high = table->minters_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table->minters[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct dedupe_minter *dedupe_table_minter(const struct dedupe_table *table, uint64_t id) {
    size_t at = minter_place(table, id);
    bool found = at < table->minters_count && table->minters[at]->id == id;
    return found ? table->minters[at] : NULL;
}

static struct dedupe_minter *minter_make(struct dedupe_table *table, uint64_t id) {
    struct dedupe_minter *minter = dedupe_table_minter(table, id);
    if (minter != NULL) {
        return minter;
    }
    bool room = BND_ROOM(table->minters, table->minters_count, table->minters_cap, 4);
    minter = room ? bnd_zalloc(sizeof *minter) : NULL;
    if (minter == NULL) {
        return NULL;
    }
    minter->id = id;
    bnd_list_init(&minter->outcomes);
    size_t at = minter_place(table, id);
    memmove(table->minters + at + 1, table->minters + at,
            (table->minters_count - at) * sizeof(struct dedupe_minter *));
    table->minters[at] = minter;
    table->minters_count++;
    return minter;
}

static void minter_free_unused(struct dedupe_table *table, struct dedupe_minter *minter) {
    if (minter->mark != NULL || minter->outcomes_count > 0) {
        return;
    }
    size_t at = minter_place(table, minter->id);
    BND_ASSERT(at < table->minters_count && table->minters[at] == minter);
    table->minters_count--;
    memmove(table->minters + at, table->minters + at + 1,
            (table->minters_count - at) * sizeof(struct dedupe_minter *));
    bnd_free(minter);
}

/* ---- the young --------------------------------------------------------------------------------*/

size_t dedupe_record_bytes(const struct dedupe_record *record) {
    return record->seq == 0 ? 32u : 32u + record->reply_len;
}

struct dedupe_record *dedupe_table_young(const struct dedupe_table *table) {
    return bnd_list_empty(&table->young)
               ? NULL
               : BND_CONTAINER(table->young.next, struct dedupe_record, young_link);
}

static void make_young(struct dedupe_table *table, struct dedupe_record *record) {
    bnd_list_push(&table->young, &record->young_link);
    table->young_bytes += dedupe_record_bytes(record);
}

void dedupe_table_settle(struct dedupe_table *table, struct dedupe_record *record) {
    bnd_link_remove(&record->young_link);
    table->young_bytes -= dedupe_record_bytes(record);
}

/* ---- records ----------------------------------------------------------------------------------*/

static struct dedupe_record *record_at(struct bnd_link *link) {
    return BND_CONTAINER(link, struct dedupe_record, link);
}

/* The last outcome with a seq of at most `seq`, as a link; the list's head if there is none. */
static struct bnd_link *last_up_to(const struct dedupe_minter *minter, uint64_t seq) {
    struct bnd_link *link = minter->outcomes.prev;
    while (link != &minter->outcomes && record_at(link)->seq > seq) {
        link = link->prev;
    }
    return link;
}

struct dedupe_record *dedupe_table_outcome(const struct dedupe_minter *minter, uint64_t seq) {
    if (minter == NULL) {
        return NULL;
    }
    struct bnd_link *link = last_up_to(minter, seq);
    bool found = link != &minter->outcomes && record_at(link)->seq == seq;
    return found ? record_at(link) : NULL;
}

/* A new record in the heap, its minter made if need be. */
static struct dedupe_record *record_make(struct dedupe_table *table, uint64_t id, uint64_t seq,
                                         uint64_t deadline_ms, size_t reply_len) {
    bool room = BND_ROOM(table->heap, table->count, table->cap, 16);
    struct dedupe_minter *minter = room ? minter_make(table, id) : NULL;
    if (minter == NULL) {
        return NULL;
    }
    struct dedupe_record *record = bnd_alloc(sizeof *record + reply_len);
    if (record == NULL) {
        minter_free_unused(table, minter);
        return NULL;
    }
    *record = (struct dedupe_record){.minter = minter, .seq = seq, .deadline_ms = deadline_ms};
    heap_push(table, record);
    return record;
}

int dedupe_table_add(struct dedupe_table *table, uint64_t minter, uint64_t seq,
                     uint64_t deadline_ms, int status, struct bnd_slice reply) {
    BND_ASSERT(seq > 0 && reply.len <= UINT32_MAX);
    struct dedupe_record *record = record_make(table, minter, seq, deadline_ms, reply.len);
    if (record == NULL) {
        return BND_NOMEM;
    }
    record->status = status;
    record->reply_len = (uint32_t)reply.len;
    if (reply.len > 0) {
        memcpy(record->reply, reply.data, reply.len);
    }
    struct bnd_link *before = last_up_to(record->minter, seq);
    BND_ASSERT(before == &record->minter->outcomes || record_at(before)->seq < seq);
    bnd_list_push(before->next, &record->link); /* before that one */
    record->minter->outcomes_count++;
    make_young(table, record);
    return 0;
}

int dedupe_table_mark(struct dedupe_table *table, uint64_t minter, uint64_t low_seq,
                      uint64_t until_ms) {
    struct dedupe_minter *found = dedupe_table_minter(table, minter);
    struct dedupe_record *mark = found == NULL ? NULL : found->mark;
    if (mark == NULL) {
        mark = record_make(table, minter, 0, until_ms, 0);
        if (mark == NULL) {
            return BND_NOMEM;
        }
        mark->minter->mark = mark;
    } else {
        mark->deadline_ms = until_ms;
        sift_up(table, mark);
        sift_down(table, mark);
        if (dedupe_record_young(mark)) {
            dedupe_table_settle(table, mark);
        }
    }
    mark->minter->low_seq = low_seq;
    make_young(table, mark);
    return 0;
}

void dedupe_table_remove(struct dedupe_table *table, struct dedupe_record *record) {
    struct dedupe_minter *minter = record->minter;
    heap_remove(table, record);
    if (dedupe_record_young(record)) {
        dedupe_table_settle(table, record);
    }
    if (record == minter->mark) {
        minter->mark = NULL;
        minter->low_seq = 0;
    } else {
        bnd_link_remove(&record->link);
        minter->outcomes_count--;
    }
    bnd_free(record);
    minter_free_unused(table, minter);
}

void dedupe_table_init(struct dedupe_table *table) {
    *table = (struct dedupe_table){0};
    bnd_list_init(&table->young);
}

void dedupe_table_clear(struct dedupe_table *table) {
    for (size_t i = 0; i < table->count; i++) {
        bnd_free(table->heap[i]);
    }
    for (size_t i = 0; i < table->minters_count; i++) {
        bnd_free(table->minters[i]);
    }
    bnd_free(table->heap);
    bnd_free(table->minters);
    dedupe_table_init(table);
}
