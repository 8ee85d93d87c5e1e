/* See inspect_sql.h. */
#include "tools/inspect_sql.h"

#include "base/error.h"
#include "catalog/records.h"
#include "sql/records.h"

#include <inttypes.h>

static const char *state_text(enum sql_database_state state) {
    return state == SQL_DATABASE_DELETED ? "deleted, "
           : state == SQL_DATABASE_HELD  ? "being imported into, "
                                         : "";
}

static int database_text(const struct tools_record *record, struct bnd_buf *out) {
    struct sql_database_row row;
    int rv = sql_database_decode(record->key, record->value, &row);
    if (rv != 0) {
        return rv;
    }
    char uuid[BND_D1_UUID_TEXT + 1];
    bnd_d1_uuid_text(record->key.data + 1, uuid);
    bnd_buf_printf(out,
                   "database %s: %snumber %" PRIu32 ", epoch %" PRIu32 ", version %" PRIu64
                   ", %" PRIu32 " pages, hash ",
                   uuid, state_text(row.record.state),
                   row.record.number, row.record.epoch, row.record.version, row.record.page_count);
    tools_record_hex(out, bnd_slice(row.record.hash, sizeof row.record.hash));
    if (row.record.cutoff == SQL_CUTOFF_ALL) {
        bnd_buf_append_str(out, ", kept for its forks");
    } else if (row.record.cutoff > 0) {
        bnd_buf_printf(out, ", kept from version %" PRIu64 " on", row.record.cutoff);
    }
    if (row.staged > 0) {
        bnd_buf_printf(out, ", %" PRIu32 " parts staged", row.staged);
    }
    bnd_buf_append_str(out, ", changed ");
    tools_record_time(out, row.record.stamp_ms);
    bnd_buf_append_str(out, ", made ");
    tools_record_time(out, row.record.created_ms);
    return 0;
}

static int epoch_text(const struct tools_record *record, struct bnd_buf *out) {
    struct sql_epoch_row row;
    int rv = sql_epoch_decode(record->key, record->value, &row);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_printf(out, "number %" PRIu32 " epoch %" PRIu32 ": from version %" PRIu64 " on",
                   bnd_get_be32(record->key.data + 1), bnd_get_be32(record->key.data + 5),
                   row.first_version);
    if (row.parent_number != 0) {
        bnd_buf_printf(out, ", over number %" PRIu32 " epoch %" PRIu32 " version %" PRIu64,
                       row.parent_number, row.parent_epoch, row.parent_version);
    }
    if (row.cutoff == SQL_CUTOFF_ALL) {
        bnd_buf_append_str(out, ", not to be read any more");
    } else if (row.cutoff > 0) {
        bnd_buf_printf(out, ", to be read from version %" PRIu64 " on", row.cutoff);
    }
    bnd_buf_append_str(out, ", made ");
    tools_record_time(out, row.stamp_ms);
    return 0;
}

static int commit_text(const struct tools_record *record, struct bnd_buf *out) {
    struct sql_commit_row row;
    int rv = sql_commit_decode(record->key, record->value, &row);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_printf(out,
                   "number %" PRIu32 " version %" PRIu64 ": epoch %" PRIu32 ", %" PRIu32
                   " pages, %" PRIu32 " changed, hash ",
                   bnd_get_be32(record->key.data + 1), row.record.version, row.record.epoch,
                   row.record.page_count, row.pages_count);
    tools_record_hex(out, bnd_slice(row.record.hash, sizeof row.record.hash));
    bnd_buf_append_str(out, ", ");
    tools_record_time(out, row.record.stamp_ms);
    return 0;
}

static int page_text(const struct tools_record *record, struct bnd_buf *out) {
    struct sql_page_value page;
    if (record->key.len != SQL_KEY_PAGE_BYTES) {
        return BND_CORRUPT;
    }
    int rv = sql_page_value_decode(record->key, record->value, &page);
    if (rv != 0) {
        return rv;
    }
    bnd_buf_printf(out,
                   "number %" PRIu32 " page %" PRIu32 " epoch %" PRIu32 " version %" PRIu64 ": ",
                   bnd_get_be32(record->key.data + 1), bnd_get_be32(record->key.data + 5),
                   bnd_get_be32(record->key.data + 9), ~bnd_get_be64(record->key.data + 13));
    if (page.form == SQL_PAGE_IMAGE) {
        bnd_buf_append_str(out, "image");
    } else {
        bnd_buf_printf(out, "spans of %zu bytes, place %u, %u bytes in the row", page.bytes.len,
                       page.place, page.row_bytes);
    }
    return 0;
}

static int staged_text(const struct tools_record *record, struct bnd_buf *out) {
    struct bnd_reader r;
    if (record->key.len != 1 + 4 + 4) {
        return BND_CORRUPT;
    }
    int rv = sql_value_open(record->key, record->value, &r);
    if (rv == 0) {
        bnd_buf_printf(out, "number %" PRIu32 " staged part %" PRIu32 ": %zu bytes",
                       bnd_get_be32(record->key.data + 1), bnd_get_be32(record->key.data + 5),
                       r.rest.len);
    }
    return rv;
}

static int fork_text(const struct tools_record *record, struct bnd_buf *out) {
    struct sql_fork_row row;
    int rv = sql_fork_decode(record->key, record->value, &row);
    if (rv == 0) {
        bnd_buf_printf(out,
                       "number %" PRIu32 ": number %" PRIu32 " was forked at epoch %" PRIu32
                       " version %" PRIu64,
                       bnd_get_be32(record->key.data + 1), bnd_get_be32(record->key.data + 5),
                       row.epoch, row.version);
    }
    return rv;
}

static int lease_text(const struct tools_record *record, struct bnd_buf *out) {
    struct sql_lease_row row;
    int rv = sql_lease_decode(record->key, record->value, &row);
    if (rv == 0) {
        char branch[BND_D1_UUID_TEXT + 1];
        char source[BND_D1_UUID_TEXT + 1];
        bnd_d1_uuid_text(row.branch, branch);
        bnd_d1_uuid_text(row.source, source);
        bnd_buf_printf(out, "number %" PRIu32 ": %s, a branch of %s, %suntil ",
                       bnd_get_be32(record->key.data + 1), branch, source,
                       row.holds ? "which it holds, " : "");
        tools_record_time(out, row.until_ms);
    }
    return rv;
}

static int number_text(const struct tools_record *record, struct bnd_buf *out) {
    uint32_t number = 0;
    int rv = sql_number_decode(record->key, record->value, &number);
    if (rv != 0) {
        return rv;
    }
    if (record->key.data[0] == SQL_TAG_COUNTERS) {
        bnd_buf_printf(out, "next number %" PRIu32, number);
    } else {
        bnd_buf_printf(out, "number %" PRIu32 ": %s", bnd_get_be32(record->key.data + 1),
                       record->key.data[0] == SQL_TAG_PINNED ? "deleted, kept for its forks"
                                                             : "a fork of it is gone");
    }
    return 0;
}

static int pass_text(const struct tools_record *record, struct bnd_buf *out) {
    static const char *const sections[SQL_SECTION_END] = {"epochs", "pages", "commits"};
    struct sql_pass_row row;
    int rv = sql_pass_decode(record->key, record->value, &row);
    if (rv == 0) {
        bnd_buf_printf(out, "number %" PRIu32 ": what is not kept is deleted, now of its %s",
                       row.number, sections[row.section]);
    }
    return rv;
}

static int dead_text(const struct tools_record *record, struct bnd_buf *out) {
    struct sql_dead_row row;
    int rv = sql_dead_decode(record->key, record->value, &row);
    if (rv == 0) {
        bnd_buf_printf(out, "number %" PRIu32 ": deleted, to be swept from ",
                       bnd_get_be32(record->key.data + 9));
        tools_record_time(out, bnd_get_be64(record->key.data + 1));
    }
    return rv;
}

int tools_sql_text(const struct tools_record *record, struct bnd_buf *out) {
    switch (record->key.data[0]) {
    case SQL_TAG_DATABASE:
        return database_text(record, out);
    case SQL_TAG_EPOCH:
        return epoch_text(record, out);
    case SQL_TAG_COMMIT:
        return commit_text(record, out);
    case SQL_TAG_PAGE:
        return page_text(record, out);
    case SQL_TAG_STAGED:
        return staged_text(record, out);
    case SQL_TAG_FORK:
        return fork_text(record, out);
    case SQL_TAG_LEASE:
        return lease_text(record, out);
    case SQL_TAG_COUNTERS:
    case SQL_TAG_PINNED:
    case SQL_TAG_UNPINNED:
        return number_text(record, out);
    case SQL_TAG_DEAD:
        return dead_text(record, out);
    case SQL_TAG_PASS:
        return pass_text(record, out);
    default:
        return BND_CORRUPT;
    }
}
