/* See view.h. A view's pages:
 *
 *     clean     bytes that the history has too: kept by least use within pages_bytes_max
 *     pending   bytes of a version that is not committed: kept, in the order of their versions
 *     written   beside either, or alone: what the running transaction wrote
 *
 *     (history) --read--> clean --write--> written --commit--> pending --committed--> clean
 *                           ^                 |rollback: the written bytes are dropped
 *                           └─────────────────┘
 *
 * Invariants:
 *  1. A page in neither list has no bytes of a version: only written ones (a new page), or it is
 *     being read.
 *  2. A page without bytes here, at most base_count, is in the history at at.version: what changed
 *     after at.version is pending.
 *  3. Every page from 1 to page_count has bytes in every version: holes that SQLite leaves when it
 *     grows a file (pages it allocated and freed again) are written as zeros, so that what a page
 *     held before a shrink never shows through, here or in a reader's history.
 *  4. A change set compares with the page at the version before it, and takes its `found` from
 *     there; a page beyond that version's end has no old bytes, whatever the history holds. */
#include "sql/view.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/queue.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGES_BYTES_DEFAULT ((size_t)4 << 20)
#define WRITTEN_PAGES_MAX 16384u /* of one transaction: 64 MiB */
#define SNAPSHOT_PAGES_MAX 1024u /* then another: it keeps memory of the state */
#define SPARE_MAX 16u
#define BUCKETS_MIN 64u
#define NAME_BYTES 20
#define COUNTER_OFFSET 24u /* of page 1: what SQLite looks at to see that others have written */
#define COUNTER_BYTES 16u

struct page {
    struct bnd_link link; /* in clean (least used first) or pending (oldest version first) */
    struct page *bucket_next;
    uint32_t number;
    uint32_t written_place; /* in view.written, from 1; 0: not written */
    uint64_t pending;       /* the version that made bytes; 0: the history has them */
    uint8_t *bytes;         /* NULL: only written */
    uint8_t *written;
    struct sql_page_found found, found_next;
    bool differs; /* written and bytes: the change set has it */
};

struct sql_view {
    struct sql_view_config config;
    char name[NAME_BYTES];
    struct sql_at at; /* what the history is read at */
    struct sql_snapshot *snapshot; /* of the run; NULL: nothing was read from the history yet */
    unsigned snapshot_pages;       /* read in it */
    uint64_t version;    /* newest, pending included */
    uint32_t base_count; /* pages at it */
    uint32_t count;      /* in the running transaction */
    uint32_t count_low;  /* the fewest there were in it */
    struct page **buckets;
    size_t buckets_count, pages_count;
    struct bnd_link clean, pending;
    size_t clean_count, blocks; /* blocks: of SQL_PAGE_BYTES, in use */
    struct page **written;      /* by the running transaction */
    size_t written_count, written_cap;
    uint8_t *spare[SPARE_MAX];
    unsigned spare_count;
    bool spoil;    /* the next look at the change counter must not find what it knows */
    bool prepared; /* set is of what is written now */
    bool left;     /* set waits for sql_view_take */
    struct sql_change_set set;
    uint32_t *changed; /* page numbers of set */
    size_t changed_count, changed_cap;
    int error;
};

/* ---- blocks
 * -----------------------------------------------------------------------------------------------
 */

static uint8_t *block_new(struct sql_view *view) {
    uint8_t *block =
        view->spare_count > 0 ? view->spare[--view->spare_count] : bnd_alloc(SQL_PAGE_BYTES);
    view->blocks += block != NULL;
    return block;
}

static void block_free(struct sql_view *view, uint8_t *block) {
    if (block == NULL) {
        return;
    }
    view->blocks--;
    if (view->spare_count < SPARE_MAX) {
        view->spare[view->spare_count++] = block;
    } else {
        bnd_free(block);
    }
}

/* ---- pages
 * ------------------------------------------------------------------------------------------------
 */

static size_t bucket_of(const struct sql_view *view, uint32_t number) {
    return (number * UINT32_C(0x9e3779b1)) & (view->buckets_count - 1);
}

static struct page *page_find(const struct sql_view *view, uint32_t number) {
    struct page *page = view->buckets[bucket_of(view, number)];
    while (page != NULL && page->number != number) {
        page = page->bucket_next;
    }
    return page;
}

static void page_enter(struct sql_view *view, struct page *page) {
    struct page **bucket = &view->buckets[bucket_of(view, page->number)];
    page->bucket_next = *bucket;
    *bucket = page;
}

/* More buckets; without memory the chains only grow longer. */
static void buckets_grow(struct sql_view *view) {
    struct page **old = view->buckets;
    size_t old_count = view->buckets_count;
    struct page **buckets = bnd_calloc(old_count * 2, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    view->buckets = buckets;
    view->buckets_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        struct page *page = old[i];
        while (page != NULL) {
            struct page *next = page->bucket_next;
            page_enter(view, page);
            page = next;
        }
    }
    bnd_free(old);
}

static struct page *page_new(struct sql_view *view, uint32_t number) {
    struct page *page = bnd_zalloc(sizeof *page);
    if (page == NULL) {
        return NULL;
    }
    if (view->pages_count >= view->buckets_count * 2) {
        buckets_grow(view);
    }
    page->number = number;
    page_enter(view, page);
    view->pages_count++;
    return page;
}

static void page_unlist(struct sql_view *view, struct page *page) {
    if (bnd_link_linked(&page->link)) {
        view->clean_count -= page->pending == 0;
        bnd_link_remove(&page->link);
    }
}

static void page_drop(struct sql_view *view, struct page *page) {
    BND_ASSERT(page->written_place == 0);
    page_unlist(view, page);
    struct page **at = &view->buckets[bucket_of(view, page->number)];
    while (*at != page) {
        at = &(*at)->bucket_next;
    }
    *at = page->bucket_next;
    view->pages_count--;
    block_free(view, page->bytes);
    block_free(view, page->written);
    bnd_free(page);
}

static void make_clean(struct sql_view *view, struct page *page) {
    page_unlist(view, page);
    page->pending = 0;
    bnd_list_push(&view->clean, &page->link);
    view->clean_count++;
}

/* Forgets the least used clean pages above the bound. What is written needs its old bytes. */
static void trim(struct sql_view *view) {
    struct bnd_link *link = view->clean.next;
    while (view->clean_count * SQL_PAGE_BYTES > view->config.pages_bytes_max &&
           link != &view->clean) {
        struct page *page = BND_CONTAINER(link, struct page, link);
        link = link->next;
        if (page->written_place == 0) {
            page_drop(view, page);
        }
    }
}

void sql_view_rest(struct sql_view *view) {
    sql_snapshot_close(view->snapshot);
    view->snapshot = NULL;
}

static int history_page(struct sql_view *view, uint32_t number, uint8_t out[SQL_PAGE_BYTES],
                        struct sql_page_found *found) {
    if (view->snapshot_pages >= SNAPSHOT_PAGES_MAX) {
        sql_view_rest(view);
    }
    if (view->snapshot == NULL) {
        view->snapshot_pages = 0;
        int rv = sql_snapshot_open(view->at.state, view->at.slot, &view->snapshot);
        if (rv != 0) {
            return rv;
        }
    }
    view->snapshot_pages++;
    return sql_snapshot_page(view->snapshot, &view->at, number, out, found);
}

/* Reads the page's bytes at the view's version from the history, where they are (invariant 2). */
static int page_load(struct sql_view *view, struct page *page) {
    uint8_t *bytes = block_new(view);
    if (bytes == NULL) {
        return BND_NOMEM;
    }
    int rv = history_page(view, page->number, bytes, &page->found);
    if (rv != 0) {
        block_free(view, bytes);
        return rv;
    }
    page->bytes = bytes;
    make_clean(view, page);
    return 0;
}

/* The page with its bytes. Stays until the next trim. */
static int page_get(struct sql_view *view, uint32_t number, struct page **out) {
    struct page *page = page_find(view, number);
    if (page != NULL && page->bytes != NULL) {
        if (page->pending == 0) { /* used last */
            bnd_link_remove(&page->link);
            bnd_list_push(&view->clean, &page->link);
        }
        *out = page;
        return 0;
    }
    bool fresh = page == NULL;
    page = fresh ? page_new(view, number) : page;
    int rv = page == NULL ? BND_NOMEM : page_load(view, page);
    if (rv != 0) {
        if (fresh && page != NULL) {
            page_drop(view, page);
        }
        return rv;
    }
    *out = page;
    return 0;
}

/* ---- reading
 * ---------------------------------------------------------------------------------------------- */

/* The bytes as the running transaction sees them; NULL: zeros. */
static int bytes_now(struct sql_view *view, uint32_t number, const uint8_t **out) {
    struct page *page = view->written_count > 0 ? page_find(view, number) : NULL;
    if (page != NULL && page->written != NULL) {
        *out = page->written;
        return 0;
    }
    if (number > view->count_low) { /* beyond the end, or cut off and grown again */
        *out = NULL;
        return 0;
    }
    int rv = page_get(view, number, &page);
    if (rv == 0) {
        *out = page->bytes;
    }
    return rv;
}

int sql_view_read(struct sql_view *view, uint64_t offset, size_t len, uint8_t *out,
                  bool *out_short) {
    size_t within = offset % SQL_PAGE_BYTES;
    uint64_t number = offset / SQL_PAGE_BYTES + 1;
    *out_short = number > view->count;
    if (within + len > SQL_PAGE_BYTES) {
        return BND_CORRUPT; /* a database with other pages */
    }
    if (*out_short) {
        memset(out, 0, len);
        return 0;
    }
    const uint8_t *bytes = NULL;
    int rv = bytes_now(view, (uint32_t)number, &bytes);
    if (rv != 0) {
        return rv;
    }
    if (bytes == NULL) {
        memset(out, 0, len);
    } else {
        memcpy(out, bytes + within, len);
    }
    if (view->spoil && number == 1 && within == COUNTER_OFFSET && len == COUNTER_BYTES) {
        for (size_t i = 0; i < len; i++) {
            out[i] ^= 0xa5;
        }
        view->spoil = false;
    }
    trim(view);
    return 0;
}

int sql_view_page(struct sql_view *view, uint32_t number, uint8_t out[SQL_PAGE_BYTES]) {
    BND_ASSERT(view->written_count == 0 && number >= 1 && number <= view->base_count);
    const struct page *page = page_find(view, number);
    if (page == NULL || page->bytes == NULL) {
        return history_page(view, number, out, NULL);
    }
    memcpy(out, page->bytes, SQL_PAGE_BYTES);
    return 0;
}

uint32_t sql_view_size(const struct sql_view *view) {
    return view->count;
}

/* ---- the running transaction
 * ------------------------------------------------------------------------------ */

static void unprepare(struct sql_view *view) {
    if (view->prepared) {
        view->prepared = false;
        sql_change_set_free(&view->set);
    }
}

int sql_view_write(struct sql_view *view, uint32_t number, const uint8_t bytes[SQL_PAGE_BYTES]) {
    if (view->left) {
        return BND_INVALID; /* a second transaction in one run */
    }
    unprepare(view);
    struct page *page = page_find(view, number);
    page = page == NULL ? page_new(view, number) : page;
    if (page == NULL) {
        return BND_NOMEM;
    }
    if (page->written == NULL) {
        if (view->written_count >= WRITTEN_PAGES_MAX) {
            return BND_TOOBIG;
        }
        if (!BND_ROOM(view->written, view->written_count, view->written_cap, 16)) {
            return BND_NOMEM;
        }
        page->written = block_new(view);
        if (page->written == NULL) {
            return BND_NOMEM;
        }
        view->written[view->written_count++] = page;
        page->written_place = (uint32_t)view->written_count;
    }
    memcpy(page->written, bytes, SQL_PAGE_BYTES);
    view->count = number > view->count ? number : view->count;
    return 0;
}

/* Takes a page from the running transaction. */
static void unwrite(struct sql_view *view, struct page *page) {
    struct page *last = view->written[--view->written_count];
    view->written[page->written_place - 1] = last;
    last->written_place = page->written_place;
    page->written_place = 0;
    block_free(view, page->written);
    page->written = NULL;
    page->differs = false;
    if (page->bytes == NULL) {
        page_drop(view, page);
    }
}

void sql_view_truncate(struct sql_view *view, uint32_t count) {
    unprepare(view);
    for (size_t i = view->written_count; i > 0; i--) {
        if (view->written[i - 1]->number > count) {
            unwrite(view, view->written[i - 1]); /* the last takes its place: it was looked at */
        }
    }
    view->count = count;
    view->count_low = count < view->count_low ? count : view->count_low;
}

void sql_view_rollback(struct sql_view *view) {
    if (view->left) {
        return; /* committed here: nothing is written since */
    }
    unprepare(view);
    while (view->written_count > 0) {
        unwrite(view, view->written[view->written_count - 1]);
    }
    view->count = view->base_count;
    view->count_low = view->base_count;
    trim(view);
}

/* ---- commit
 * -----------------------------------------------------------------------------------------------
 */

static int by_number(const void *left, const void *right) {
    const struct page *a = *(struct page *const *)left;
    const struct page *b = *(struct page *const *)right;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Zeros for pages that the file has now and nobody wrote (invariant 3). */
static int fill_holes(struct sql_view *view) {
    static const uint8_t zeros[SQL_PAGE_BYTES];
    for (uint32_t number = view->count_low + 1; number <= view->count; number++) {
        struct page *page = page_find(view, number);
        if (page == NULL || page->written == NULL) {
            int rv = sql_view_write(view, number, zeros);
            if (rv != 0) {
                return rv;
            }
        }
    }
    return 0;
}

static int add_to_set(struct sql_view *view, struct page *page) {
    bool old = page->number <= view->base_count;
    if (old && page->bytes == NULL) {
        int rv = page_load(view, page);
        if (rv != 0) {
            return rv;
        }
    }
    uint32_t before = view->set.count;
    sql_change_set_page(&view->set, page->number, old ? page->bytes : NULL,
                        old ? &page->found : NULL, page->written, view->version + 1,
                        &page->found_next);
    page->differs = view->set.count != before;
    if (view->set.pages.failed) {
        return BND_NOMEM;
    }
    return view->set.pages.len > SQL_CHANGE_SET_MAX ? BND_TOOBIG : 0;
}

int sql_view_prepare(struct sql_view *view) {
    if (view->prepared || view->left) {
        return 0;
    }
    int rv = fill_holes(view);
    bool sorted = true;
    for (size_t i = 1; i < view->written_count && sorted; i++) {
        sorted = view->written[i - 1]->number < view->written[i]->number;
    }
    if (!sorted) {
        qsort(view->written, view->written_count, sizeof *view->written, by_number);
        for (size_t i = 0; i < view->written_count; i++) {
            view->written[i]->written_place = (uint32_t)i + 1;
        }
    }
    view->set = (struct sql_change_set){0};
    for (size_t i = 0; i < view->written_count && rv == 0; i++) {
        rv = add_to_set(view, view->written[i]);
    }
    if (rv != 0) {
        sql_change_set_free(&view->set);
        return rv;
    }
    view->prepared = true;
    return 0;
}

/* Room for all numbers at once, so that the commit itself cannot fail half-way. */
static int changed_room(struct sql_view *view) {
    if (view->written_count > view->changed_cap) {
        uint32_t *changed = bnd_calloc(view->written_count, sizeof *changed);
        if (changed == NULL) {
            return BND_NOMEM;
        }
        bnd_free(view->changed);
        view->changed = changed;
        view->changed_cap = view->written_count;
    }
    view->changed_count = 0;
    return 0;
}

/* The written bytes are the page's now. */
static void publish(struct sql_view *view, struct page *page) {
    page->written_place = 0;
    if (!page->differs) { /* equal */
        block_free(view, page->written);
        page->written = NULL;
        return;
    }
    block_free(view, page->bytes);
    page->bytes = page->written;
    page->written = NULL;
    page->differs = false;
    page->found = page->found_next;
    page_unlist(view, page);
    page->pending = view->version;
    bnd_list_push(&view->pending, &page->link);
    view->changed[view->changed_count++] = page->number;
}

/* Who reads on need not be told: a page that comes back is in that version's change set. */
static void cut_off(struct sql_view *view) {
    for (uint32_t number = view->count + 1; number <= view->base_count; number++) {
        struct page *page = page_find(view, number);
        if (page != NULL) {
            page_drop(view, page);
        }
    }
}

int sql_view_commit(struct sql_view *view) {
    if (view->left) {
        return view->written_count == 0 ? 0 : BND_INVALID;
    }
    int rv = sql_view_prepare(view);
    rv = rv == 0 ? changed_room(view) : rv;
    if (rv != 0) {
        return rv;
    }
    view->prepared = false;
    if (view->set.count == 0 && view->count == view->base_count) {
        sql_change_set_free(&view->set);
        sql_view_rollback(view);
        return 0;
    }
    view->version++;
    for (size_t i = 0; i < view->written_count; i++) {
        publish(view, view->written[i]);
    }
    view->written_count = 0;
    cut_off(view);
    view->base_count = view->count;
    view->count_low = view->count;
    view->left = true;
    trim(view);
    return 0;
}

bool sql_view_take(struct sql_view *view, struct sql_pending *out) {
    if (!view->left) {
        sql_view_rollback(view); /* a writer that keeps its lock does not say so */
        return false;
    }
    view->left = false;
    *out = (struct sql_pending){
        .version = view->version,
        .page_count = view->base_count,
        .set = view->set,
        .pages = view->changed,
        .pages_count = view->changed_count,
    };
    view->set = (struct sql_change_set){0};
    return true;
}

void sql_view_committed(struct sql_view *view, uint64_t version) {
    BND_ASSERT(version >= view->at.version && version <= view->version);
    sql_view_rest(view); /* it does not have them */
    view->at.version = version;
    struct bnd_link *link = view->pending.next;
    while (link != &view->pending) {
        struct page *page = BND_CONTAINER(link, struct page, link);
        link = link->next;
        if (page->pending > version) {
            break;
        }
        make_clean(view, page);
    }
    trim(view);
}

/* ---- moves
 * ------------------------------------------------------------------------------------------------
 */

static void forget_clean(struct sql_view *view) {
    while (!bnd_list_empty(&view->clean)) {
        page_drop(view, BND_CONTAINER(view->clean.next, struct page, link));
    }
}

static void move_to(struct sql_view *view, const struct sql_at *at, uint32_t page_count) {
    sql_view_rest(view);
    view->at = *at;
    view->version = at->version;
    view->base_count = page_count;
    view->count = page_count;
    view->count_low = page_count;
}

void sql_view_pin(struct sql_view *view, uint64_t version, uint32_t page_count,
                  const uint32_t *changed, size_t changed_count) {
    BND_ASSERT(!view->config.writer && version >= view->version);
    if (version == view->version) {
        return;
    }
    if (changed == NULL) {
        forget_clean(view);
    }
    for (size_t i = 0; i < changed_count; i++) {
        struct page *page = page_find(view, changed[i]);
        if (page != NULL) {
            page_drop(view, page);
        }
    }
    struct sql_at at = view->at;
    at.version = version;
    move_to(view, &at, page_count);
    view->spoil = !view->config.unspoiled;
}

static void forget_all(struct sql_view *view) {
    if (view->left) {
        view->left = false;
        sql_change_set_free(&view->set);
    }
    sql_view_rollback(view);
    while (!bnd_list_empty(&view->pending)) {
        page_drop(view, BND_CONTAINER(view->pending.next, struct page, link));
    }
    forget_clean(view);
}

void sql_view_drop(struct sql_view *view, const struct sql_at *at, uint32_t page_count,
                   bool spoil) {
    forget_all(view);
    move_to(view, at, page_count);
    view->spoil = view->spoil || spoil;
}

/* ---- the view
 * ---------------------------------------------------------------------------------------------- */

int sql_view_create(const struct sql_view_config *config, struct sql_view **out) {
    struct sql_view *view = bnd_zalloc(sizeof *view);
    if (view == NULL) {
        return BND_NOMEM;
    }
    view->buckets_count = BUCKETS_MIN;
    view->buckets = bnd_calloc(view->buckets_count, sizeof(struct page *));
    if (view->buckets == NULL) {
        bnd_free(view);
        return BND_NOMEM;
    }
    view->config = *config;
    view->config.pages_bytes_max =
        config->pages_bytes_max == 0 ? PAGES_BYTES_DEFAULT : config->pages_bytes_max;
    move_to(view, &config->at, config->page_count);
    bnd_list_init(&view->clean);
    bnd_list_init(&view->pending);
    (void)snprintf(view->name, sizeof view->name, "%llx", (unsigned long long)(uintptr_t)view);
    *out = view;
    return 0;
}

void sql_view_destroy(struct sql_view *view) {
    if (view == NULL) {
        return;
    }
    forget_all(view);
    sql_view_rest(view);
    BND_ASSERT(view->pages_count == 0);
    while (view->spare_count > 0) {
        bnd_free(view->spare[--view->spare_count]);
    }
    bnd_free(view->changed);
    bnd_free(view->written);
    bnd_free(view->buckets);
    bnd_free(view);
}

const char *sql_view_name(const struct sql_view *view) {
    return view->name;
}

uint64_t sql_view_version(const struct sql_view *view) {
    return view->version;
}

size_t sql_view_bytes(const struct sql_view *view) {
    return sizeof *view + (view->blocks + view->spare_count) * SQL_PAGE_BYTES +
           view->pages_count * sizeof(struct page) + view->buckets_count * sizeof(struct page *) +
           (view->changed_cap * sizeof(uint32_t)) + view->written_cap * sizeof(struct page *);
}

int sql_view_failed(struct sql_view *view, int code) {
    if (code != 0 && view->error == 0) {
        view->error = code;
    }
    return code;
}

int sql_view_error(struct sql_view *view) {
    int error = view->error;
    view->error = 0;
    return error;
}
