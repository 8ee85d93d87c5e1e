/* Spans, page values and records of SQL groups: what is accepted survives a second journey, and
 * spans that are valid stay within their page. The first byte says which; the check of a value is
 * made here, so that what follows it is reached. */
#include "base/error.h"
#include "sql/records.h"
#include "tests/fuzz/fuzz.h"

static void spans(struct bnd_slice bytes) {
    uint8_t page[SQL_PAGE_BYTES] = {0};
    uint8_t old[SQL_PAGE_BYTES] = {0};
    uint8_t again[2 * SQL_PAGE_BYTES];
    if (!sql_spans_valid(bytes)) {
        return;
    }
    sql_spans_apply(bytes, page);
    size_t len = sql_spans_diff(old, page, again, sizeof again);
    BND_ASSERT(len <= sizeof again);
    if (len > 0) {
        BND_ASSERT(sql_spans_valid(bnd_slice(again, len)));
        sql_spans_apply(bnd_slice(again, len), old);
    }
    BND_ASSERT(memcmp(old, page, sizeof page) == 0);
}

/* The value with a good check under a key. */
static void seal(struct bnd_buf *out, const struct sql_key *key, struct bnd_slice fields) {
    size_t begin = sql_value_begin(out);
    bnd_buf_append_slice(out, fields);
    sql_value_end(out, begin, key);
}

static void page(const struct sql_key *key, struct bnd_slice value) {
    struct sql_page_value read;
    struct bnd_buf out = {0};
    if (sql_page_value_decode(sql_key_rest(key), value, &read) == 0) {
        BND_ASSERT(sql_page_value_sound(&read));
        sql_page_value_encode(&out, key, &read);
        fuzz_same(&out, value);
    }
}

static void records(const struct sql_key *key, struct bnd_slice value) {
    struct bnd_slice rest = sql_key_rest(key);
    struct bnd_buf out = {0};
    struct sql_database_row database;
    struct sql_epoch_row epoch;
    struct sql_commit_row commit;
    struct sql_fork_row fork;
    struct sql_dead_row dead;
    struct sql_pass_row pass;
    struct sql_lease_row lease;
    uint32_t number = 0;
    if (sql_database_decode(rest, value, &database) == 0) {
        sql_database_encode(&out, key, &database);
    } else if (sql_epoch_decode(rest, value, &epoch) == 0) {
        sql_epoch_encode(&out, key, &epoch);
    } else if (sql_commit_decode(rest, value, &commit) == 0) {
        sql_commit_encode(&out, key, &commit);
    } else if (sql_fork_decode(rest, value, &fork) == 0) {
        sql_fork_encode(&out, key, &fork);
    } else if (sql_dead_decode(rest, value, &dead) == 0) {
        sql_dead_encode(&out, key, &dead);
    } else if (sql_pass_decode(rest, value, &pass) == 0) {
        sql_pass_encode(&out, key, &pass);
    } else if (sql_lease_decode(rest, value, &lease) == 0) {
        sql_lease_encode(&out, key, &lease);
    } else if (sql_number_decode(rest, value, &number) == 0) {
        sql_number_encode(&out, key, number);
    } else {
        return;
    }
    fuzz_same(&out, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sql_key key;
    struct bnd_buf value = {0};
    if (size == 0) {
        return 0;
    }
    struct bnd_slice bytes = bnd_slice(data + 1, size - 1);
    switch (data[0]) {
    case 's':
        spans(bytes);
        return 0;
    case SQL_TAG_PAGE:
        sql_key_page(&key, 0, 2, 3, 4, 5);
        break;
    case SQL_TAG_DATABASE:
        sql_key_database(&key, 0, (const uint8_t[BND_SQL_UUID_BYTES]){1});
        break;
    case SQL_TAG_COMMIT:
        sql_key_commit(&key, 0, 2, 3);
        break;
    case SQL_TAG_EPOCH:
    case SQL_TAG_FORK:
        sql_key_pair(&key, 0, (enum sql_tag)data[0], 2, 3);
        break;
    case SQL_TAG_PINNED:
    case SQL_TAG_UNPINNED:
    case SQL_TAG_LEASE:
        sql_key_number(&key, 0, (enum sql_tag)data[0], 2);
        break;
    case SQL_TAG_PASS:
        sql_key_tag(&key, 0, SQL_TAG_PASS);
        break;
    case SQL_TAG_DEAD:
        sql_key_dead(&key, 0, 1, 2);
        break;
    default:
        sql_key_tag(&key, 0, SQL_TAG_COUNTERS);
        break;
    }
    seal(&value, &key, bytes);
    page(&key, bnd_buf_slice(&value));
    records(&key, bnd_buf_slice(&value));
    bnd_buf_free(&value);
    page(&key, bytes); /* and one whose check is what it is */
    records(&key, bytes);
    return 0;
}
