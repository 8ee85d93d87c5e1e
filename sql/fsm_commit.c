/* Change sets: staged parts, checks, pages.
 *
 * Spans are taken only where the state holds the version that they say they stand upon, with one
 * place less in the row: so no page's row is without its image, whatever a command says. That they
 * stand upon the newest version is for the leader to see to, as are their bytes. */
#include "sql/fsm_private.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/error.h"
#include "sql/varint.h"

/* What the hash of a version is over before the change set. */
#define HASH_HEAD_BYTES (BND_SQL_HASH_BYTES + 8u + 4u)
#define HEADS_COUNT 4096u /* a power of two */

/* A page's newest version. */
struct sql_head {
    uint32_t number; /* 0: nothing is known */
    uint32_t page;
    uint32_t epoch;
    uint64_t version;
    uint16_t row_bytes; /* 0: an image */
    uint8_t place;
};

/* ---- heads ------------------------------------------------------------------------------------*/

void sql_heads_clear(struct sql_fsm *fsm) {
    if (fsm->heads != NULL) {
        memset(fsm->heads, 0, HEADS_COUNT * sizeof *fsm->heads);
    }
}

static struct sql_head *head_place(struct sql_fsm *fsm, uint32_t number, uint32_t page) {
    if (fsm->heads == NULL) {
        fsm->heads = bnd_calloc(HEADS_COUNT, sizeof *fsm->heads);
        if (fsm->heads == NULL) {
            return NULL;
        }
    }
    return &fsm->heads[(number * 2654435761u + page) % HEADS_COUNT];
}

static void head_set(const struct sql_change *change, const struct sql_head *head) {
    struct sql_head *place = head_place(change->fsm, head->number, head->page);
    if (place != NULL) {
        *place = *head;
    }
}

/* Fills in place and bytes of the version that *head names. BND_NOTFOUND: there is none such. */
static int head_get(const struct sql_change *change, struct sql_head *head) {
    const struct sql_head *known = head_place(change->fsm, head->number, head->page);
    if (known != NULL && known->number == head->number && known->page == head->page &&
        known->epoch == head->epoch && known->version == head->version) {
        *head = *known;
        return 0;
    }
    struct bnd_buf *value = &change->fsm->value;
    struct sql_page_value page;
    struct sql_key key;
    sql_key_page(&key, change->context->slot, head->number, head->page, head->epoch, head->version);
    int rv = sql_change_get(change, &key, value);
    rv = rv != 0 ? rv : sql_page_value_decode(sql_key_rest(&key), bnd_buf_slice(value), &page);
    if (rv == 0) {
        head->place = page.place;
        head->row_bytes = page.row_bytes;
    }
    return rv;
}

/* ---- staged parts -----------------------------------------------------------------------------*/

void sql_staged_drop(const struct sql_change *change, struct sql_database_row *row) {
    for (uint32_t part = 0; part < row->staged; part++) {
        struct sql_key key;
        sql_key_pair(&key, change->context->slot, SQL_TAG_STAGED, row->record.number, part);
        sql_change_delete(change, &key);
    }
    row->staged = 0;
    memset(row->attempt, 0, sizeof row->attempt);
}

int sql_apply_stage(const struct sql_change *change) {
    struct bnd_buf *value = &change->fsm->joined;
    const struct sql_command *command = change->command;
    struct sql_database_row row;
    int rv = sql_change_live(change, change->command->uuid, &row);
    if (rv != 0) {
        return rv;
    }
    bool same =
        row.staged > 0 && memcmp(row.attempt, command->u.stage.attempt, sizeof row.attempt) == 0;
    uint32_t part = command->u.stage.part;
    if (command->u.stage.number != row.record.number ||
        (part > 0 && (!same || part != row.staged))) {
        return BND_CONFLICT;
    }
    struct sql_key key;
    sql_key_pair(&key, change->context->slot, SQL_TAG_STAGED, row.record.number, part);
    bnd_buf_reset(value);
    size_t begin = sql_value_begin(value);
    bnd_buf_append_slice(value, command->u.stage.bytes);
    sql_value_end(value, begin, &key);
    if (value->failed) {
        return BND_NOMEM;
    }
    if (part == 0) {
        sql_staged_drop(change, &row);
        memcpy(row.attempt, command->u.stage.attempt, sizeof row.attempt);
    }
    sql_change_put(change, &key, bnd_buf_slice(value));
    row.staged = part + 1;
    return sql_change_put_database(change, command->uuid, &row);
}

/* Joins the parts that the row says are there. */
static int join_parts(const struct sql_change *change, const struct sql_database_row *row) {
    struct bnd_buf *joined = &change->fsm->joined;
    bnd_buf_reset(joined);
    for (uint32_t part = 0; part < row->staged; part++) {
        struct bnd_buf *value = &change->fsm->value;
        struct bnd_reader r;
        struct sql_key key;
        sql_key_pair(&key, change->context->slot, SQL_TAG_STAGED, row->record.number, part);
        int rv = sql_must(sql_change_get(change, &key, value));
        rv = rv != 0 ? rv : sql_value_open(sql_key_rest(&key), bnd_buf_slice(value), &r);
        if (rv != 0) {
            return rv;
        }
        bnd_buf_append_slice(joined, r.rest);
    }
    return joined->failed ? BND_NOMEM : 0;
}

/* ---- checks -----------------------------------------------------------------------------------*/

/* Made on the database as it is, in the term of the entry, with its parts put down. */
static int check_base(const struct sql_change *change, const struct sql_database_row *row) {
    const struct sql_commit *commit = &change->command->u.commit;
    const struct sql_database_record *record = &row->record;
    bool its_term =
        commit->term == change->context->term || !sql_fsm_rule(change->fsm, SQL_RULE_TERM);
    if (!its_term || commit->number != record->number || commit->epoch != record->epoch ||
        commit->base != record->version) {
        return BND_CONFLICT;
    }
    bool there = commit->staged == row->staged &&
                 memcmp(commit->attempt, row->attempt, sizeof row->attempt) == 0;
    return commit->staged == 0 || there ? 0 : BND_CONFLICT;
}

/* fsm->unpacked: room for what the hash is over, the change set, the answer. */
static int unpack(const struct sql_change *change, const struct sql_database_row *row) {
    const struct sql_commit *commit = &change->command->u.commit;
    struct bnd_buf *out = &change->fsm->unpacked;
    struct bnd_slice packed = commit->packed;
    if (commit->staged > 0) {
        int rv = join_parts(change, row);
        if (rv != 0) {
            return rv;
        }
        packed = bnd_buf_slice(&change->fsm->joined);
    }
    bnd_buf_reset(out);
    bnd_buf_append(out, row->record.hash, BND_SQL_HASH_BYTES);
    bnd_buf_u64(out, commit->base + 1);
    bnd_buf_u32(out, commit->page_count);
    if (out->failed) {
        return BND_NOMEM;
    }
    return sql_unpack(change->fsm->unpacker, packed,
                      (size_t)commit->pages_bytes + commit->answer_bytes, out);
}

static struct bnd_slice change_set_of(const struct sql_change *change) {
    return bnd_slice(change->fsm->unpacked.data + HASH_HEAD_BYTES,
                     change->command->u.commit.pages_bytes);
}

/* The place that spans take in their row is the next one above what they stand upon. */
static int check_spans(const struct sql_change *change, const struct sql_database_record *record,
                       const struct sql_page_change *page) {
    if (page->page > record->page_count || page->back > record->version) {
        return BND_INVALID; /* it has no bytes before */
    }
    struct sql_head head = {.number = record->number,
                            .page = page->page,
                            .epoch = record->epoch,
                            .version = record->version + 1 - page->back};
    int rv = head_get(change, &head);
    if (rv != 0) {
        return rv == BND_NOTFOUND ? BND_INVALID : rv;
    }
    return page->value.place == head.place + 1 &&
                   page->value.row_bytes == head.row_bytes + page->value.bytes.len
               ? 0
               : BND_INVALID;
}

/* Every page; fsm->pages gets their numbers. */
static int check_pages(const struct sql_change *change, const struct sql_database_record *record) {
    const struct sql_commit *commit = &change->command->u.commit;
    struct bnd_buf *pages = &change->fsm->pages;
    struct bnd_reader r = bnd_reader(change_set_of(change));
    uint32_t last = 0;
    bnd_buf_reset(pages);
    for (uint32_t i = 0; i < commit->pages_count; i++) {
        struct sql_page_change page;
        uint32_t before = last;
        int rv = sql_change_set_next(&r, &last, &page);
        if (rv == 0 && page.page > commit->page_count) {
            rv = BND_INVALID;
        }
        if (rv == 0 && page.value.form == SQL_PAGE_SPANS) {
            rv = check_spans(change, record, &page);
        }
        if (rv != 0) {
            return rv;
        }
        sql_varint_append(pages, page.page - before);
    }
    return !bnd_reader_done(&r) ? BND_INVALID : pages->failed ? BND_NOMEM : 0;
}

/* ---- writing ----------------------------------------------------------------------------------*/

static int put_pages(const struct sql_change *change, const struct sql_database_record *record) {
    struct bnd_buf *value = &change->fsm->value;
    struct bnd_reader r = bnd_reader(change_set_of(change));
    uint32_t last = 0;
    for (uint32_t i = 0; i < change->command->u.commit.pages_count; i++) {
        struct sql_page_change page;
        struct sql_key key;
        int rv = sql_change_set_next(&r, &last, &page);
        BND_ASSERT(rv == 0); /* checked before */
        sql_key_page(&key, change->context->slot, record->number, page.page, record->epoch,
                     record->version);
        bnd_buf_reset(value);
        sql_page_value_encode(value, &key, &page.value);
        rv = sql_change_put_value(change, &key);
        if (rv != 0) {
            return rv;
        }
        const struct sql_head head = {.number = record->number,
                                      .page = page.page,
                                      .epoch = record->epoch,
                                      .version = record->version,
                                      .place = page.value.place,
                                      .row_bytes = page.value.row_bytes};
        head_set(change, &head);
    }
    return 0;
}

static int put_version(const struct sql_change *change, struct sql_database_row *row) {
    const struct sql_commit *commit = &change->command->u.commit;
    struct sql_database_record *record = &row->record;
    record->version++;
    record->page_count = commit->page_count;
    record->stamp_ms = change->context->stamp_ms;
    sql_hash_put(record->hash,
                 bnd_slice(change->fsm->unpacked.data, HASH_HEAD_BYTES + commit->pages_bytes));
    struct sql_commit_row made = {.record = {.epoch = record->epoch,
                                             .version = record->version,
                                             .stamp_ms = record->stamp_ms,
                                             .page_count = record->page_count},
                                  .pages_count = commit->pages_count,
                                  .pages = bnd_buf_slice(&change->fsm->pages)};
    memcpy(made.record.hash, record->hash, sizeof record->hash);
    int rv = put_pages(change, record);
    rv = rv != 0 ? rv : sql_change_put_commit(change, record->number, &made);
    sql_staged_drop(change, row);
    return rv != 0 ? rv : sql_change_put_database(change, change->command->uuid, row);
}

int sql_apply_commit(const struct sql_change *change) {
    struct sql_database_row row;
    int rv = sql_change_live(change, change->command->uuid, &row);
    rv = rv != 0 ? rv : check_base(change, &row);
    if (rv == 0 && row.record.state == SQL_DATABASE_HELD) {
        rv = BND_LOCKED;
    }
    rv = rv != 0 ? rv : unpack(change, &row);
    rv = rv != 0 ? rv : check_pages(change, &row.record);
    rv = rv != 0 ? rv : put_version(change, &row);
    if (rv == 0 && change->fsm->hooks.changed != NULL) {
        change->fsm->hooks.changed(change->fsm->hooks.owner, change->command->uuid,
                                   row.record.version, change->command->u.commit.pages_count,
                                   bnd_buf_slice(&change->fsm->pages));
    }
    if (rv == 0) {
        const struct bnd_buf *unpacked = &change->fsm->unpacked;
        size_t at = HASH_HEAD_BYTES + change->command->u.commit.pages_bytes;
        sql_reply_bookmark(change, &row.record);
        bnd_buf_append(change->reply, unpacked->data + at, unpacked->len - at);
    }
    return rv;
}
