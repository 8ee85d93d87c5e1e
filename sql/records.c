/* See records.h. */
#include "sql/records.h"

#include "base/error.h"
#include "sql/varint.h"

enum {
    DATABASE_KEY_BYTES = 1 + BND_SQL_UUID_BYTES,
    PAIR_KEY_BYTES = 1 + 4 + 4,
    COMMIT_KEY_BYTES = 1 + 4 + 8,
    NUMBER_KEY_BYTES = 1 + 4,
    DEAD_KEY_BYTES = 1 + 8 + 4,
};

/* The fields of a value under a key of this tag and length. */
static int open_value(struct bnd_slice key, struct bnd_slice value, enum sql_tag tag,
                      size_t key_bytes, struct bnd_reader *out) {
    if (key.len != key_bytes || key.data[0] != (uint8_t)tag) {
        return BND_CORRUPT;
    }
    return sql_value_open(key, value, out);
}

void sql_database_encode(struct bnd_buf *out, const struct sql_key *key,
                         const struct sql_database_row *row) {
    const struct sql_database_record *record = &row->record;
    size_t begin = sql_value_begin(out);
    bnd_buf_u8(out, (uint8_t)record->state);
    bnd_buf_u32(out, record->number);
    bnd_buf_u32(out, record->epoch);
    bnd_buf_u64(out, record->version);
    bnd_buf_u32(out, record->page_count);
    bnd_buf_u64(out, record->stamp_ms);
    bnd_buf_u64(out, record->created_ms);
    bnd_buf_append(out, record->hash, sizeof record->hash);
    bnd_buf_u64(out, record->cutoff);
    bnd_buf_u32(out, row->staged);
    bnd_buf_append(out, row->attempt, sizeof row->attempt);
    sql_value_end(out, begin, key);
}

int sql_database_decode(struct bnd_slice key, struct bnd_slice value,
                        struct sql_database_row *out) {
    struct sql_database_row row = {0};
    struct sql_database_record *record = &row.record;
    struct bnd_reader r;
    int rv = open_value(key, value, SQL_TAG_DATABASE, DATABASE_KEY_BYTES, &r);
    if (rv != 0) {
        return rv;
    }
    uint8_t state = bnd_read_u8(&r);
    if (state < SQL_DATABASE_LIVE || state > SQL_DATABASE_HELD) {
        return BND_CORRUPT;
    }
    record->state = (enum sql_database_state)state;
    record->number = bnd_read_u32(&r);
    record->epoch = bnd_read_u32(&r);
    record->version = bnd_read_u64(&r);
    record->page_count = bnd_read_u32(&r);
    record->stamp_ms = bnd_read_u64(&r);
    record->created_ms = bnd_read_u64(&r);
    bnd_read_into(&r, record->hash, sizeof record->hash);
    record->cutoff = bnd_read_u64(&r);
    row.staged = bnd_read_u32(&r);
    bnd_read_into(&r, row.attempt, sizeof row.attempt);
    if (!bnd_reader_done(&r) || record->number == 0 || record->version > BND_SQL_VERSION_MAX ||
        record->cutoff > SQL_CUTOFF_ALL) {
        return BND_CORRUPT;
    }
    *out = row;
    return 0;
}

void sql_epoch_encode(struct bnd_buf *out, const struct sql_key *key,
                      const struct sql_epoch_row *row) {
    size_t begin = sql_value_begin(out);
    bnd_buf_u32(out, row->parent_number);
    bnd_buf_u32(out, row->parent_epoch);
    bnd_buf_u64(out, row->parent_version);
    bnd_buf_u64(out, row->first_version);
    bnd_buf_u64(out, row->stamp_ms);
    if (row->cutoff != 0) {
        bnd_buf_u64(out, row->cutoff);
    }
    sql_value_end(out, begin, key);
}

int sql_epoch_decode(struct bnd_slice key, struct bnd_slice value, struct sql_epoch_row *out) {
    struct bnd_reader r;
    int rv = open_value(key, value, SQL_TAG_EPOCH, PAIR_KEY_BYTES, &r);
    if (rv != 0) {
        return rv;
    }
    struct sql_epoch_row row = {.parent_number = bnd_read_u32(&r)};
    row.parent_epoch = bnd_read_u32(&r);
    row.parent_version = bnd_read_u64(&r);
    row.first_version = bnd_read_u64(&r);
    row.stamp_ms = bnd_read_u64(&r);
    if (r.rest.len > 0) {
        row.cutoff = bnd_read_u64(&r);
        r.failed = r.failed || row.cutoff == 0 || row.cutoff > SQL_CUTOFF_ALL;
    }
    uint32_t number = bnd_get_be32(key.data + 1);
    uint32_t epoch = bnd_get_be32(key.data + 5);
    bool older =
        row.parent_number < number || (row.parent_number == number && row.parent_epoch < epoch);
    if (!bnd_reader_done(&r) || !older) { /* so that no line of parents is a ring */
        return BND_CORRUPT;
    }
    *out = row;
    return 0;
}

void sql_commit_encode(struct bnd_buf *out, const struct sql_key *key,
                       const struct sql_commit_row *row) {
    size_t begin = sql_value_begin(out);
    bnd_buf_u32(out, row->record.epoch);
    bnd_buf_u64(out, row->record.stamp_ms);
    bnd_buf_u32(out, row->record.page_count);
    bnd_buf_append(out, row->record.hash, sizeof row->record.hash);
    bnd_buf_u32(out, row->pages_count);
    bnd_buf_append_slice(out, row->pages);
    sql_value_end(out, begin, key);
}

int sql_commit_decode(struct bnd_slice key, struct bnd_slice value, struct sql_commit_row *out) {
    struct sql_commit_row row = {0};
    struct bnd_reader r;
    int rv = open_value(key, value, SQL_TAG_COMMIT, COMMIT_KEY_BYTES, &r);
    if (rv != 0) {
        return rv;
    }
    row.record.version = bnd_get_be64(key.data + 5);
    row.record.epoch = bnd_read_u32(&r);
    row.record.stamp_ms = bnd_read_u64(&r);
    row.record.page_count = bnd_read_u32(&r);
    bnd_read_into(&r, row.record.hash, sizeof row.record.hash);
    row.pages_count = bnd_read_u32(&r);
    row.pages = r.rest;
    uint64_t page = 0;
    for (uint32_t i = 0; i < row.pages_count && !r.failed; i++) {
        uint64_t distance = sql_varint_read(&r);
        r.failed = r.failed || distance == 0 || distance > UINT32_MAX - page;
        page += distance;
    }
    if (!bnd_reader_done(&r) || page > row.record.page_count) {
        return BND_CORRUPT;
    }
    *out = row;
    return 0;
}

void sql_fork_encode(struct bnd_buf *out, const struct sql_key *key,
                     const struct sql_fork_row *row) {
    size_t begin = sql_value_begin(out);
    bnd_buf_u32(out, row->epoch);
    bnd_buf_u64(out, row->version);
    sql_value_end(out, begin, key);
}

int sql_fork_decode(struct bnd_slice key, struct bnd_slice value, struct sql_fork_row *out) {
    struct bnd_reader r;
    int rv = open_value(key, value, SQL_TAG_FORK, PAIR_KEY_BYTES, &r);
    if (rv != 0) {
        return rv;
    }
    struct sql_fork_row row = {.epoch = bnd_read_u32(&r)};
    row.version = bnd_read_u64(&r);
    if (!bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    *out = row;
    return 0;
}

void sql_lease_encode(struct bnd_buf *out, const struct sql_key *key,
                      const struct sql_lease_row *row) {
    size_t begin = sql_value_begin(out);
    bnd_buf_append(out, row->branch, sizeof row->branch);
    bnd_buf_append(out, row->source, sizeof row->source);
    bnd_buf_u8(out, row->holds);
    bnd_sql_bookmark_append(out, &row->at);
    bnd_buf_u64(out, row->until_ms);
    sql_value_end(out, begin, key);
}

int sql_lease_decode(struct bnd_slice key, struct bnd_slice value, struct sql_lease_row *out) {
    struct bnd_reader r;
    struct sql_lease_row row;
    int rv = open_value(key, value, SQL_TAG_LEASE, NUMBER_KEY_BYTES, &r);
    if (rv != 0) {
        return rv;
    }
    bnd_read_into(&r, row.branch, sizeof row.branch);
    bnd_read_into(&r, row.source, sizeof row.source);
    uint8_t holds = bnd_read_u8(&r);
    row.holds = holds == 1;
    bnd_sql_bookmark_read(&r, &row.at);
    row.until_ms = bnd_read_u64(&r);
    if (!bnd_reader_done(&r) || holds > 1) {
        return BND_CORRUPT;
    }
    *out = row;
    return 0;
}

void sql_number_encode(struct bnd_buf *out, const struct sql_key *key, uint32_t number) {
    size_t begin = sql_value_begin(out);
    bnd_buf_u32(out, number);
    sql_value_end(out, begin, key);
}

int sql_number_decode(struct bnd_slice key, struct bnd_slice value, uint32_t *out) {
    struct bnd_reader r;
    bool counters = key.len == 1 && key.data[0] == SQL_TAG_COUNTERS;
    enum sql_tag tag =
        key.len > 0 && key.data[0] == SQL_TAG_UNPINNED ? SQL_TAG_UNPINNED : SQL_TAG_PINNED;
    int rv = counters ? sql_value_open(key, value, &r)
                      : open_value(key, value, tag, NUMBER_KEY_BYTES, &r);
    if (rv != 0) {
        return rv;
    }
    uint32_t number = bnd_read_u32(&r);
    if (!bnd_reader_done(&r)) {
        return BND_CORRUPT;
    }
    *out = number;
    return 0;
}

void sql_dead_encode(struct bnd_buf *out, const struct sql_key *key,
                     const struct sql_dead_row *row) {
    size_t begin = sql_value_begin(out);
    bnd_buf_u32(out, row->parent_number);
    bnd_buf_u8(out, (uint8_t)row->section);
    bnd_buf_append_slice(out, row->last);
    sql_value_end(out, begin, key);
}

int sql_dead_decode(struct bnd_slice key, struct bnd_slice value, struct sql_dead_row *out) {
    struct bnd_reader r;
    int rv = open_value(key, value, SQL_TAG_DEAD, DEAD_KEY_BYTES, &r);
    if (rv != 0) {
        return rv;
    }
    struct sql_dead_row row = {.parent_number = bnd_read_u32(&r)};
    uint8_t section = bnd_read_u8(&r);
    row.last = r.rest;
    if (r.failed || section >= SQL_SECTION_END || row.last.len > SQL_KEY_PAGE_BYTES) {
        return BND_CORRUPT;
    }
    row.section = (enum sql_section)section;
    *out = row;
    return 0;
}

void sql_pass_encode(struct bnd_buf *out, const struct sql_key *key,
                     const struct sql_pass_row *row) {
    size_t begin = sql_value_begin(out);
    bnd_buf_u32(out, row->number);
    bnd_buf_u64(out, row->cutoff);
    bnd_buf_u8(out, (uint8_t)row->section);
    bnd_buf_u8(out, row->row_goes_on);
    bnd_buf_append_slice(out, row->last);
    sql_value_end(out, begin, key);
}

int sql_pass_decode(struct bnd_slice key, struct bnd_slice value, struct sql_pass_row *out) {
    struct bnd_reader r;
    int rv = open_value(key, value, SQL_TAG_PASS, 1, &r);
    if (rv != 0) {
        return rv;
    }
    struct sql_pass_row row = {.number = bnd_read_u32(&r)};
    row.cutoff = bnd_read_u64(&r);
    uint8_t section = bnd_read_u8(&r);
    uint8_t goes_on = bnd_read_u8(&r);
    row.last = r.rest;
    if (r.failed || row.number == 0 || row.cutoff > SQL_CUTOFF_ALL || section >= SQL_SECTION_END ||
        goes_on > 1 || row.last.len > SQL_KEY_PAGE_BYTES) {
        return BND_CORRUPT;
    }
    row.section = (enum sql_section)section;
    row.row_goes_on = goes_on == 1;
    *out = row;
    return 0;
}
