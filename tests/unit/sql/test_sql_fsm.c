/* Each command: what it answers, what it refuses, and that a refusal changes nothing (machine.h
 * looks at that every time). */
#include "tests/unit/sql/machine.h"

#include "base/hash.h"
#include "sql/varint.h"

enum { A = 1, B = 2, C = 3, D = 4 };

static uint64_t seed = 1;

static void fill_random(uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(seed >> 33);
    }
}

static struct bnd_sql_bookmark bookmark_at(const struct machine *m, size_t at) {
    struct bnd_sql_bookmark bookmark;
    assert_true(m->reply.len >= at + BND_SQL_BOOKMARK_BYTES);
    bnd_sql_bookmark_get(m->reply.data + at, &bookmark);
    return bookmark;
}

/* ---- create, delete ---------------------------------------------------------------------------*/

static void a_database_is_made_once_and_never_again(void **state) {
    struct machine *m = *state;
    struct sql_database_record record;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {A};
    assert_int_equal(sql_history_database(m->state, SLOT, uuid, &record), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(sql_record_decode(bnd_buf_slice(&m->reply), &record), 0);
    assert_true(record.number == 1 && record.version == 0 && record.epoch == 0);
    assert_true(record.stamp_ms == m->stamp_ms && record.created_ms == m->stamp_ms);
    m->stamp_ms++;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), BND_EXISTS);
    assert_int_equal(sql_record_decode(bnd_buf_slice(&m->reply), &record), 0);
    assert_true(record.number == 1 && record.created_ms == m->stamp_ms - 1);
    assert_int_equal(machine_simple(m, SQL_CREATE, B), 0);
    assert_int_equal(machine_record(m, B).number, 2);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(machine_simple(m, SQL_CREATE, A), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(commit_images(m, A, 1, 7), BND_NOTFOUND);
    assert_int_equal(machine_restore(m, A, 0, 0, 0), BND_NOTFOUND);
    assert_int_equal(machine_fork(m, C, A, 0, 0), BND_NOTFOUND);
    machine_equal(m);
}

/* ---- commit -----------------------------------------------------------------------------------*/

static void a_commit_must_be_made_on_what_is_there(void **state) {
    struct machine *m = *state;
    uint8_t bytes[SQL_PAGE_BYTES] = {5};
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 3, 7), 0);
    struct sql_database_record record = machine_record(m, A);
    struct sql_change_set set = {0};
    struct sql_page_found made;
    sql_change_set_page(&set, 1, NULL, NULL, bytes, 2, &made);
    struct machine_commit what = {.uuid = A, .set = &set, .answer = "kept"};
    for (int i = 0; i < 6; i++) {
        what.header = machine_header(m, &record, 3);
        what.header.number += i == 0;
        what.header.epoch += i == 1;
        what.header.base += i == 2;
        what.header.base -= i == 3;
        what.header.term -= i == 4;
        what.header.term += i == 5;
        assert_int_equal(machine_commit(m, &what), BND_CONFLICT);
    }
    what.header = machine_header(m, &record, 3);
    what.uuid = B;
    assert_int_equal(machine_commit(m, &what), BND_NOTFOUND);
    what.uuid = A;
    m->stamp_ms += 5;
    assert_int_equal(machine_commit(m, &what), 0);
    struct bnd_sql_bookmark bookmark = bookmark_at(m, 0);
    struct sql_database_record after = machine_record(m, A);
    assert_true(bookmark.version == 2 && bookmark.epoch == 0);
    assert_memory_equal(bookmark.hash, after.hash, sizeof after.hash);
    assert_int_equal(m->reply.len, BND_SQL_BOOKMARK_BYTES + 4);
    assert_memory_equal(m->reply.data + BND_SQL_BOOKMARK_BYTES, "kept", 4);
    assert_true(after.version == 2 && after.stamp_ms == m->stamp_ms && after.page_count == 3);
    assert_int_equal(machine_commit(m, &what), BND_CONFLICT); /* what it was made on is gone */
    assert_int_equal(byte_at(m, 1, 0, 1, 2), 7);
    sql_change_set_free(&set);
}

/* SPEC.md, "SQL state": over the hash before, version, pages of the database, the change set. */
static void the_hash_of_a_version_is_over_what_made_it(void **state) {
    struct machine *m = *state;
    uint8_t bytes[SQL_PAGE_BYTES] = {5};
    struct bnd_buf all = {0};
    struct sql_change_set set = {0};
    struct sql_page_found made;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {A};
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    struct sql_database_record record = machine_record(m, A);
    struct bnd_hash128 hash = bnd_hash128(bnd_slice(uuid, sizeof uuid), 0);
    assert_true(bnd_get_u64(record.hash) == hash.low && bnd_get_u64(record.hash + 8) == hash.high);
    sql_change_set_page(&set, 1, NULL, NULL, bytes, 1, &made);
    struct machine_commit what = {
        .uuid = A, .set = &set, .header = machine_header(m, &record, 9), .answer = "not of it"};
    assert_int_equal(machine_commit(m, &what), 0);
    bnd_buf_append(&all, record.hash, sizeof record.hash);
    bnd_buf_u64(&all, 1);
    bnd_buf_u32(&all, 9);
    bnd_buf_append_slice(&all, bnd_buf_slice(&set.pages));
    hash = bnd_hash128(bnd_buf_slice(&all), 0);
    record = machine_record(m, A);
    assert_true(bnd_get_u64(record.hash) == hash.low && bnd_get_u64(record.hash + 8) == hash.high);
    assert_int_equal(machine_restore(m, A, 1, 0, 0), 0);
    bnd_buf_reset(&all);
    bnd_buf_append(&all, record.hash, sizeof record.hash);
    bnd_buf_u64(&all, 2);
    bnd_buf_u32(&all, 0);
    bnd_buf_u32(&all, 0);
    bnd_buf_u64(&all, 0);
    hash = bnd_hash128(bnd_buf_slice(&all), 0);
    record = machine_record(m, A);
    assert_true(bnd_get_u64(record.hash) == hash.low && bnd_get_u64(record.hash + 8) == hash.high);
    sql_change_set_free(&set);
    bnd_buf_free(&all);
}

/* One page's change as it stands in a set, with whatever form and place. */
static void put_change(struct sql_change_set *set, uint32_t distance, uint64_t back,
                       const struct sql_page_value *value) {
    sql_varint_append(&set->pages, distance);
    bnd_buf_u8(&set->pages, (uint8_t)value->form);
    if (value->form == SQL_PAGE_SPANS) {
        sql_varint_append(&set->pages, back);
        bnd_buf_u8(&set->pages, value->place);
        bnd_buf_u16(&set->pages, value->row_bytes);
        sql_varint_append(&set->pages, value->bytes.len);
    }
    bnd_buf_append_slice(&set->pages, value->bytes);
    set->count++;
}

static int commit_set(struct machine *m, struct sql_change_set *set, uint32_t page_count) {
    struct sql_database_record record = machine_record(m, A);
    struct machine_commit what = {
        .uuid = A, .set = set, .header = machine_header(m, &record, page_count)};
    int status = machine_commit(m, &what);
    sql_change_set_free(set);
    return status;
}

static int commit_spans(struct machine *m, uint32_t page, uint64_t back, uint8_t place,
                        uint16_t row_bytes) {
    static const uint8_t spans[] = {0, 0, 9};
    struct sql_change_set set = {0};
    const struct sql_page_value value = {.form = SQL_PAGE_SPANS,
                                         .place = place,
                                         .row_bytes = row_bytes,
                                         .bytes = bnd_slice(spans, sizeof spans)};
    put_change(&set, page, back, &value);
    return commit_set(m, &set, 4);
}

static void spans_need_what_they_stand_upon(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_spans(m, 1, 1, 1, 3), BND_INVALID); /* nothing is there at all */
    assert_int_equal(commit_images(m, A, 2, 7), 0);
    assert_int_equal(commit_images(m, A, 3, 8), 0);
    assert_int_equal(commit_spans(m, 4, 1, 1, 3), BND_INVALID); /* a page without a version */
    assert_int_equal(commit_spans(m, 3, 2, 1, 3), BND_INVALID); /* a version without the page */
    assert_int_equal(commit_spans(m, 1, 4, 1, 3), BND_INVALID); /* before the first */
    assert_int_equal(commit_spans(m, 1, 1, 2, 6), BND_INVALID); /* upon an image it is the first */
    assert_int_equal(commit_spans(m, 1, 1, 1, 3), 0);
    assert_int_equal(commit_spans(m, 1, 1, 1, 3), BND_INVALID); /* and the next the second */
    assert_int_equal(commit_spans(m, 1, 1, 2, 7), BND_INVALID);
    assert_int_equal(commit_spans(m, 1, 1, 3, 6), BND_INVALID);
    assert_int_equal(commit_spans(m, 1, 1, 2, 6), 0);
    assert_int_equal(machine_record(m, A).version, 4);
    assert_int_equal(machine_restore(m, A, 4, 0, 4), 0); /* first in an epoch it is an image */
    assert_int_equal(commit_spans(m, 1, 1, 3, 9), BND_INVALID);
    assert_int_equal(commit_spans(m, 1, 2, 3, 9), BND_INVALID);
    machine_equal(m);
}

static void a_page_cut_off_comes_back_as_an_image(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 4, 7), 0);
    assert_int_equal(commit_images(m, A, 2, 8), 0); /* 3 and 4 are gone */
    assert_int_equal(commit_spans(m, 4, 2, 1, 3), BND_INVALID);
    assert_int_equal(commit_images(m, A, 4, 9), 0);
    assert_int_equal(commit_spans(m, 4, 1, 1, 3), 0);
    assert_int_equal(byte_at(m, 1, 0, 1, 4), 7);
    assert_int_equal(byte_at(m, 1, 0, 3, 4), 9);
}

static void damaged_change_sets_are_refused(void **state) {
    struct machine *m = *state;
    static uint8_t image[SQL_PAGE_BYTES];
    const struct sql_page_value value = {.form = SQL_PAGE_IMAGE,
                                         .bytes = bnd_slice(image, sizeof image)};
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    struct sql_change_set set = {0};
    put_change(&set, 1, 0, &value);
    put_change(&set, 0, 0, &value); /* the same page */
    assert_int_equal(commit_set(m, &set, 4), BND_INVALID);
    put_change(&set, 4, 0, &value);
    put_change(&set, 1, 0, &value); /* page 5 of 4 */
    assert_int_equal(commit_set(m, &set, 4), BND_INVALID);
    put_change(&set, 0, 0, &value); /* page 0 */
    assert_int_equal(commit_set(m, &set, 4), BND_INVALID);
    put_change(&set, 1, 0, &value);
    set.count = 2; /* fewer than it says */
    assert_int_equal(commit_set(m, &set, 4), BND_INVALID);
    put_change(&set, 1, 0, &value);
    put_change(&set, 1, 0, &value);
    set.count = 1; /* more */
    assert_int_equal(commit_set(m, &set, 4), BND_INVALID);
    put_change(&set, 1, 0, &value);
    bnd_buf_u8(&set.pages, 0);
    assert_int_equal(commit_set(m, &set, 4), BND_INVALID);
    assert_int_equal(machine_record(m, A).version, 0);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 0), 0);
    put_change(&set, 4, 0, &value);
    assert_int_equal(commit_set(m, &set, 4), 0);
    assert_int_equal(machine_apply_bytes(m, bnd_slice("\x09", 1)), BND_INVALID);
    assert_int_equal(machine_apply_bytes(m, bnd_slice(NULL, 0)), BND_INVALID);
}

/* ---- staged parts -----------------------------------------------------------------------------*/

static int stage(struct machine *m, uint32_t number, uint8_t attempt, uint32_t part) {
    static const uint8_t bytes[10];
    const struct sql_command command = {.op = SQL_STAGE,
                                        .uuid = {A},
                                        .u.stage = {.number = number,
                                                    .attempt = {attempt},
                                                    .part = part,
                                                    .bytes = bnd_slice(bytes, sizeof bytes)}};
    return machine_apply(m, &command);
}

static void parts_are_of_one_attempt_and_in_order(void **state) {
    struct machine *m = *state;
    assert_int_equal(stage(m, 1, 1, 0), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(stage(m, 2, 1, 0), BND_CONFLICT);
    assert_int_equal(stage(m, 1, 1, 1), BND_CONFLICT);
    assert_int_equal(stage(m, 1, 1, 0), 0);
    assert_int_equal(stage(m, 1, 1, 2), BND_CONFLICT);
    assert_int_equal(stage(m, 1, 1, 1), 0);
    assert_int_equal(stage(m, 1, 2, 2), BND_CONFLICT);
    assert_int_equal(machine_count(m, SQL_TAG_STAGED, 1), 2);
    assert_int_equal(stage(m, 1, 2, 0), 0); /* another attempt takes the place of the first */
    assert_int_equal(machine_count(m, SQL_TAG_STAGED, 1), 1);
    assert_int_equal(stage(m, 1, 1, 2), BND_CONFLICT);
    assert_int_equal(commit_images(m, A, 1, 7), 0); /* without parts: those there are nobody's */
    assert_int_equal(machine_count(m, SQL_TAG_STAGED, 1), 0);
    assert_int_equal(stage(m, 1, 3, 0), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(machine_count(m, SQL_TAG_STAGED, 1), 0);
    machine_equal(m);
}

/* Two parts and more, from the pages to the state. */
static void a_long_change_set_goes_through_parts(void **state) {
    struct machine *m = *state;
    static uint8_t bytes[400][SQL_PAGE_BYTES];
    struct sql_change_set set = {0};
    struct bnd_buf commands = {0};
    uint32_t count = 0;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {A};
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    struct sql_database_record record = machine_record(m, A);
    for (uint32_t page = 1; page <= 400; page++) {
        struct sql_page_found made;
        fill_random(bytes[page - 1], SQL_PAGE_BYTES);
        sql_change_set_page(&set, page, NULL, NULL, bytes[page - 1], 1, &made);
    }
    struct sql_commit header = machine_header(m, &record, 400);
    assert_int_equal(
        sql_packer_commit(m->packer, uuid, &header, &set, bnd_slice_str("kept"), &commands, &count),
        0);
    assert_int_equal(count, 5);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&commands));
    struct bnd_slice parts[5];
    for (uint32_t i = 0; i < count; i++) {
        parts[i] = bnd_read_bytes(&r);
    }
    assert_int_equal(machine_apply_bytes(m, parts[4]), BND_CONFLICT); /* no parts yet */
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(machine_apply_bytes(m, parts[i]), 0);
    }
    assert_int_equal(machine_apply_bytes(m, parts[4]), BND_CONFLICT); /* one is missing */
    assert_int_equal(machine_apply_bytes(m, parts[3]), 0);
    struct bnd_buf other = {0}; /* another attempt's: its own byte is the 62nd */
    bnd_buf_append_slice(&other, parts[4]);
    other.data[61] ^= 1;
    assert_int_equal(machine_apply_bytes(m, bnd_buf_slice(&other)), BND_CONFLICT);
    assert_int_equal(machine_apply_bytes(m, parts[4]), 0);
    assert_memory_equal(m->reply.data + BND_SQL_BOOKMARK_BYTES, "kept", 4);
    assert_int_equal(machine_count(m, SQL_TAG_STAGED, 1), 0);
    record = machine_record(m, A);
    const struct sql_at at = machine_at(m, &record);
    for (uint32_t page = 1; page <= 400; page++) {
        uint8_t read[SQL_PAGE_BYTES];
        assert_int_equal(sql_history_page(&at, page, read, NULL), 0);
        assert_memory_equal(read, bytes[page - 1], sizeof read);
    }
    machine_equal(m);
    sql_change_set_free(&set);
    bnd_buf_free(&commands);
    bnd_buf_free(&other);
}

/* ---- restore and fork -------------------------------------------------------------------------*/

static void a_restore_is_undone_by_the_bookmark_before_it(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 3, 7), 0);
    assert_int_equal(commit_byte(m, A, 2, 50), 0);
    assert_int_equal(commit_byte(m, A, 2, 60), 0);
    assert_int_equal(machine_restore(m, A, 2, 0, 2), BND_CONFLICT);
    assert_int_equal(machine_restore(m, A, 3, 0, 4), BND_NOTFOUND);
    assert_int_equal(machine_restore(m, A, 3, 1, 2), BND_NOTFOUND);
    assert_int_equal(machine_restore(m, B, 3, 0, 2), BND_NOTFOUND);
    assert_int_equal(machine_restore(m, A, 3, 0, 2), 0);
    struct bnd_sql_bookmark made = bookmark_at(m, 0);
    struct bnd_sql_bookmark before = bookmark_at(m, BND_SQL_BOOKMARK_BYTES);
    assert_true(made.epoch == 1 && made.version == 4 && before.epoch == 0 && before.version == 3);
    assert_int_equal(byte_at(m, 1, 1, 4, 2), 50);
    assert_int_equal(commit_byte(m, A, 2, 70), 0); /* an image, in an epoch of its own */
    assert_int_equal(commit_byte(m, A, 2, 71), 0);
    assert_int_equal(byte_at(m, 1, 1, 6, 2), 71);
    assert_int_equal(byte_at(m, 1, 1, 5, 2), 70);
    assert_int_equal(byte_at(m, 1, 1, 4, 2), 50);
    assert_int_equal(byte_at(m, 1, 0, 3, 2), 60);
    assert_int_equal(machine_restore(m, A, 6, before.epoch, before.version), 0);
    assert_int_equal(byte_at(m, 1, 2, 7, 2), 60);
    assert_int_equal(machine_restore(m, A, 7, 0, 5), BND_NOTFOUND); /* 5 was made in epoch 1 */
    assert_int_equal(machine_restore(m, A, 7, 1, 3), BND_NOTFOUND);
    assert_int_equal(machine_restore(m, A, 7, 1, 5), 0);
    assert_int_equal(byte_at(m, 1, 3, 8, 2), 70);
    assert_int_equal(machine_restore(m, A, 8, 0, 0), 0); /* to where nothing had been written */
    assert_int_equal(machine_record(m, A).page_count, 0);
    assert_int_equal(byte_at(m, 1, 4, 9, 2), BND_NOTFOUND);
    machine_equal(m);
}

static void a_fork_reads_its_source_and_writes_its_own(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 3, 7), 0);
    assert_int_equal(commit_byte(m, A, 2, 50), 0);
    assert_int_equal(commit_byte(m, A, 2, 60), 0);
    size_t pages = machine_count(m, SQL_TAG_PAGE, 0);
    assert_int_equal(machine_fork(m, B, C, 0, 2), BND_NOTFOUND);
    assert_int_equal(machine_fork(m, B, A, 0, 4), BND_NOTFOUND);
    assert_int_equal(machine_fork(m, B, A, 1, 2), BND_NOTFOUND);
    m->stamp_ms += 9;
    assert_int_equal(machine_fork(m, B, A, 0, 2), 0);
    struct sql_database_record fork;
    assert_int_equal(sql_record_decode(bnd_buf_slice(&m->reply), &fork), 0);
    assert_true(fork.number == 2 && fork.epoch == 0 && fork.version == 3);
    assert_true(fork.page_count == 3 && fork.created_ms == m->stamp_ms);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 0), pages); /* nothing is copied */
    assert_int_equal(machine_fork(m, B, A, 0, 2), BND_EXISTS);
    assert_int_equal(byte_at(m, 2, 0, 3, 2), 50);
    assert_int_equal(commit_byte(m, B, 2, 51), 0);
    assert_int_equal(commit_byte(m, B, 2, 52), 0);
    assert_int_equal(commit_byte(m, A, 2, 61), 0);
    assert_int_equal(byte_at(m, 2, 0, 5, 2), 52);
    assert_int_equal(byte_at(m, 2, 0, 5, 3), 7);
    assert_int_equal(byte_at(m, 1, 0, 4, 2), 61);
    assert_int_equal(machine_restore(m, B, 5, 0, 2), BND_NOTFOUND); /* before its own first */
    assert_int_equal(machine_fork(m, C, B, 0, 4), 0);
    assert_int_equal(byte_at(m, 3, 0, 5, 2), 51);
    assert_int_equal(byte_at(m, 3, 0, 5, 1), 7);
    assert_int_equal(machine_simple(m, SQL_DELETE, D), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_DELETE, C), 0);
    assert_int_equal(machine_fork(m, C, A, 0, 1), BND_NOTFOUND); /* a uuid is used once */
    machine_equal(m);
}

/* ---- sweeping ---------------------------------------------------------------------------------*/

static void what_is_deleted_goes_in_its_time_and_in_steps(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(machine_simple(m, SQL_CREATE, B), 0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(commit_images(m, A, 50, (uint8_t)i), 0);
    }
    assert_int_equal(commit_images(m, B, 5, 7), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS - 1;
    machine_ticks(m, 3);
    assert_int_equal(byte_at(m, 1, 0, 40, 9), 39); /* for who still reads it */
    m->stamp_ms++;
    m->time_suspended = true; /* the clock has jumped, perhaps */
    machine_ticks(m, 3);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), 2000);
    m->time_suspended = false;
    assert_int_equal(commit_byte(m, B, 2, 8), 0); /* each command takes a few */
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), 2000 - SQL_SWEEP_COMMAND_MAX + 1);
    assert_int_equal(byte_at(m, 1, 0, 40, 1), BND_NOTFOUND); /* gone, not older */
    machine_ticks(m, 1);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), 1001 - SQL_SWEEP_COMMAND_MAX);
    machine_equal(m);
    machine_ticks(m, 2);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), 0);
    assert_int_equal(machine_count(m, SQL_TAG_COMMIT, 1), 0);
    assert_int_equal(machine_count(m, SQL_TAG_EPOCH, 1), 0);
    assert_int_equal(machine_count(m, SQL_TAG_DEAD, 0), 0);
    assert_int_equal(byte_at(m, 2, 0, 2, 2), 8);
    assert_int_equal(machine_simple(m, SQL_CREATE, A), BND_NOTFOUND);
    machine_equal(m);
}

static void a_source_is_kept_until_nothing_descends_from_it(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 3, 7), 0);
    assert_int_equal(machine_fork(m, B, A, 0, 1), 0);
    assert_int_equal(commit_byte(m, B, 2, 50), 0);
    assert_int_equal(machine_fork(m, C, B, 0, 3), 0);
    assert_int_equal(machine_fork(m, D, A, 0, 1), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, B), 0);
    m->stamp_ms += 2 * SQL_DEAD_KEEP_MS;
    machine_ticks(m, 3);
    assert_int_equal(byte_at(m, 3, 0, 4, 2), 50); /* of B */
    assert_int_equal(byte_at(m, 3, 0, 4, 3), 7);  /* of A */
    assert_int_equal(machine_simple(m, SQL_DELETE, C), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 3);
    assert_int_equal(machine_count(m, SQL_TAG_COMMIT, 3), 0);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 2), 0);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), 3); /* D is one's fork still */
    assert_int_equal(byte_at(m, 4, 0, 2, 3), 7);
    assert_int_equal(machine_simple(m, SQL_DELETE, D), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 3);
    machine_nothing_is_left(m);
}

/* ---- queries, damage, memory ------------------------------------------------------------------*/

static int ask(struct machine *m, enum sql_query_kind kind, uint8_t uuid, uint64_t stamp_ms) {
    struct bnd_buf bytes = {0};
    const struct sql_query query = {.kind = kind, .uuid = {uuid}, .stamp_ms = stamp_ms};
    const struct bnd_fsm_read context = {.gid = GID, .slot = SLOT, .state = m->state};
    sql_query_encode(&bytes, &query);
    bnd_buf_reset(&m->reply);
    int status = m->fsm.ops->read(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply);
    bnd_buf_free(&bytes);
    return status;
}

static void queries_tell_the_present_and_a_time(void **state) {
    struct machine *m = *state;
    struct sql_database_record record;
    assert_int_equal(ask(m, SQL_QUERY_DATABASE, A, 0), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    uint64_t made_ms = m->stamp_ms;
    m->stamp_ms += 100;
    assert_int_equal(commit_images(m, A, 3, 7), 0);
    assert_int_equal(commit_byte(m, A, 2, 50), 0); /* in the same millisecond */
    m->stamp_ms += 100;
    assert_int_equal(machine_restore(m, A, 2, 0, 1), 0);
    assert_int_equal(ask(m, SQL_QUERY_DATABASE, A, 0), 0);
    assert_int_equal(sql_record_decode(bnd_buf_slice(&m->reply), &record), 0);
    assert_true(record.version == 3 && record.epoch == 1 && record.stamp_ms == m->stamp_ms);
    static const struct {
        uint64_t after_ms;
        uint64_t version;
        uint32_t epoch;
    } times[] = {{0, 0, 0}, {99, 0, 0}, {100, 2, 0}, {199, 2, 0}, {200, 3, 1}, {9999, 3, 1}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_int_equal(ask(m, SQL_QUERY_AT_TIME, A, made_ms + times[i].after_ms), 0);
        struct bnd_sql_bookmark bookmark = bookmark_at(m, 0);
        assert_int_equal(bookmark.version, times[i].version);
        assert_int_equal(bookmark.epoch, times[i].epoch);
    }
    assert_int_equal(ask(m, SQL_QUERY_AT_TIME, A, made_ms - 1), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(ask(m, SQL_QUERY_DATABASE, A, 0), BND_NOTFOUND);
    assert_int_equal(ask(m, SQL_QUERY_AT_TIME, A, UINT64_MAX), BND_NOTFOUND);
}

/* Takes away or spoils one value of the first replica. */
static void spoil(struct machine *m, const struct sql_key *key, int bit) {
    struct bnd_buf value = {0};
    assert_int_equal(m->state->ops->get(m->state, BND_CF_SQL, sql_key_slice(key), &value), 0);
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    if (bit < 0) {
        m->state->ops->batch_delete(batch, BND_CF_SQL, sql_key_slice(key));
    } else {
        value.data[value.len / 2] ^= (uint8_t)(1 << bit);
        m->state->ops->batch_put(batch, BND_CF_SQL, sql_key_slice(key), bnd_buf_slice(&value));
    }
    assert_int_equal(m->state->ops->write(m->state, batch), 0);
    m->state->ops->batch_destroy(batch);
    bnd_buf_free(&value);
}

static void damage_is_told_and_never_served(void **state) {
    struct machine *m = *state;
    struct sql_key key;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 5, 7), 0);
    for (uint32_t page = 1; page <= 5; page++) {
        for (uint8_t i = 0; i < 3; i++) {
            assert_int_equal(commit_byte(m, A, page, (uint8_t)(100 + i)), 0);
        }
    }
    sql_key_page(&key, SLOT, 1, 1, 0, 3); /* spans in the middle of a row: a bit */
    spoil(m, &key, 2);
    assert_int_equal(byte_at(m, 1, 0, 13, 1), BND_CORRUPT);
    assert_int_equal(byte_at(m, 1, 0, 3, 1), BND_CORRUPT);
    assert_int_equal(byte_at(m, 1, 0, 2, 1), 100);
    sql_key_page(&key, SLOT, 1, 2, 0, 1); /* the image: a bit */
    spoil(m, &key, 5);
    assert_int_equal(byte_at(m, 1, 0, 13, 2), BND_CORRUPT);
    sql_key_page(&key, SLOT, 1, 3, 0, 9); /* spans in the middle: missing */
    spoil(m, &key, -1);
    assert_int_equal(byte_at(m, 1, 0, 13, 3), BND_CORRUPT);
    sql_key_page(&key, SLOT, 1, 4, 0, 1); /* the image: missing */
    spoil(m, &key, -1);
    assert_int_equal(byte_at(m, 1, 0, 13, 4), BND_CORRUPT);
    sql_key_page(&key, SLOT, 1, 5, 0, 14); /* spans right above the image: missing */
    spoil(m, &key, -1);
    assert_int_equal(byte_at(m, 1, 0, 16, 5), BND_CORRUPT);
    sql_key_commit(&key, SLOT, 1, 5);
    spoil(m, &key, 1);
    struct sql_commit_record commit;
    struct sql_database_record record = machine_record(m, A);
    const struct sql_at at = machine_at(m, &record);
    assert_int_equal(sql_history_commit(&at, 5, &commit), BND_CORRUPT);
    assert_int_equal(sql_history_commit(&at, 17, &commit), BND_NOTFOUND);
    sql_key_pair(&key, SLOT, SQL_TAG_EPOCH, 1, 0);
    spoil(m, &key, 1);
    assert_int_equal(byte_at(m, 1, 0, 2, 1), BND_CORRUPT);
}

static void damage_here_is_no_outcome(void **state) {
    struct machine *m = *state;
    struct bnd_buf reply = {0};
    struct sql_key key;
    struct bnd_buf bytes = {0};
    const struct sql_command restore = {
        .op = SQL_RESTORE, .uuid = {A}, .u.restore = {.base = 1, .target = {.version = 1}}};
    sql_command_encode(&bytes, &restore);
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 4, 7), 0);
    sql_key_commit(&key, SLOT, 1, 1);
    spoil(m, &key, -1);
    assert_int_equal(machine_apply_to(m, &m->fsm, SLOT, bnd_buf_slice(&bytes), &reply),
                     BND_CORRUPT);
    sql_key_database(&key, SLOT, restore.uuid);
    spoil(m, &key, 1);
    assert_int_equal(machine_apply_to(m, &m->fsm, SLOT, bnd_buf_slice(&bytes), &reply),
                     BND_CORRUPT);
    bnd_buf_free(&bytes);
    bnd_buf_free(&reply);
}

/* Applies a command with allocation n failing (alone, or with all after it), n = 1, 2, ..., on a
 * machine that has just been opened; then as it should be. */
static void apply_short_of_memory(struct machine *m, struct bnd_slice command, int want) {
    for (int sticky = 0; sticky < 2; sticky++) {
        int status = BND_NOMEM;
        uint64_t asked = 1;
        for (uint64_t n = 1; n <= asked; n++) {
            struct bnd_fsm fsm;
            struct bnd_buf out = {0};
            assert_int_equal(sql_fsm_create(GID, NULL, &fsm), 0);
            assert_int_equal(fsm.ops->open(fsm.self, GID, SLOT, m->state, NULL), 0);
            struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
            const struct bnd_fsm_apply context = {.gid = GID,
                                                  .index = m->index,
                                                  .term = m->term,
                                                  .stamp_ms = m->stamp_ms,
                                                  .slot = SLOT,
                                                  .state = m->state,
                                                  .batch = batch};
            (void)bnd_alloc_fail_at(n, sticky);
            status = fsm.ops->apply(fsm.self, &context, command, &out);
            asked = bnd_alloc_fail_at(0, 0) + 1;
            assert_true(status == want || status == BND_NOMEM);
            bnd_buf_free(&out);
            m->state->ops->batch_destroy(batch);
            fsm.ops->close(fsm.self);
        }
        assert_int_equal(status, want); /* the last one had nothing to fail */
    }
    assert_int_equal(machine_apply_bytes(m, command), want);
}

static void command_short_of_memory(struct machine *m, const struct sql_command *command,
                                    int want) {
    struct bnd_buf bytes = {0};
    sql_command_encode(&bytes, command);
    apply_short_of_memory(m, bnd_buf_slice(&bytes), want);
    bnd_buf_free(&bytes);
}

static void commit_short_of_memory(struct machine *m, uint64_t base, const uint8_t *bytes) {
    struct bnd_buf commands = {0};
    struct sql_change_set set = {0};
    struct sql_page_found made;
    uint32_t count = 0;
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {A};
    const struct sql_commit header = {.number = 1, .term = m->term, .base = base, .page_count = 1};
    sql_change_set_page(&set, 1, NULL, NULL, bytes, base + 1, &made);
    assert_int_equal(
        sql_packer_commit(m->packer, uuid, &header, &set, bnd_slice_str("kept"), &commands, &count),
        0);
    apply_short_of_memory(m, bnd_slice(commands.data + 4, commands.len - 4), 0);
    sql_change_set_free(&set);
    bnd_buf_free(&commands);
}

/* Memory that is missing is this node's trouble, wherever it is missed, and no outcome: the node
 * stops then, and the same entry comes again after its start. */
static void without_memory_nothing_is_decided(void **state) {
    struct machine *m = *state;
    static const uint8_t bytes[SQL_PAGE_BYTES] = {5};
    static const struct sql_command before[] = {
        {.op = SQL_CREATE, .uuid = {A}},
        {.op = SQL_CREATE, .uuid = {B}},
        {.op = SQL_STAGE, .uuid = {A}, .u.stage = {1, {2}, 0, {(const uint8_t *)"part", 4}}},
    };
    static struct sql_command after[] = {
        {.op = SQL_RESTORE, .uuid = {A}, .u.restore = {.base = 2}},
        {.op = SQL_FORK, .uuid = {C}, .u.fork = {.source = {A}}},
        {.op = SQL_DELETE, .uuid = {B}},
        {.op = SQL_DELETE, .uuid = {A}},
        {.op = SQL_DELETE, .uuid = {C}},
        {.op = SQL_TICK},
    };
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        command_short_of_memory(m, &before[i], 0);
    }
    command_short_of_memory(m, &before[0], BND_EXISTS);
    commit_short_of_memory(m, 0, bytes);
    commit_short_of_memory(m, 1, bytes);
    after[0].u.restore.target = after[1].u.fork.target = machine_bookmark(m, A, 0, 1);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        m->stamp_ms += after[i].op == SQL_TICK ? SQL_DEAD_KEEP_MS : 1;
        command_short_of_memory(m, &after[i], 0);
    }
    machine_ticks(m, 1);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 0), 0);
    machine_equal(m);
}

/* Another slot takes the place of the group's state: nothing of the old one is believed. */
static void what_was_known_of_another_state_is_forgotten(void **state) {
    struct machine *m = *state;
    static const uint8_t spans[] = {0, 0, 9};
    static uint8_t image[SQL_PAGE_BYTES];
    const struct sql_page_value on_nothing = {.form = SQL_PAGE_SPANS,
                                              .place = 1,
                                              .row_bytes = 3,
                                              .bytes = bnd_slice(spans, sizeof spans)};
    const struct sql_page_value whole = {.form = SQL_PAGE_IMAGE,
                                         .bytes = bnd_slice(image, sizeof image)};
    const uint8_t uuid[BND_SQL_UUID_BYTES] = {A};
    const struct sql_command tick = {.op = SQL_TICK};
    struct bnd_buf commands = {0};
    struct bnd_buf bytes = {0};
    struct bnd_buf reply = {0};
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit_images(m, A, 1, 7), 0); /* page 1 has version 1 */
    assert_int_equal(machine_simple(m, SQL_CREATE, B), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, B), 0);
    sql_command_encode(&bytes, &tick);
    m->stamp_ms += SQL_DEAD_KEEP_MS; /* the first replica sweeps, the second does not yet */
    assert_int_equal(machine_apply_to(m, &m->fsm, SLOT, bnd_buf_slice(&bytes), &reply), 0);
    assert_int_equal(machine_count(m, SQL_TAG_DEAD, 0), 0);
    assert_int_equal(m->fsm.ops->open(m->fsm.self, GID, SLOT_OTHER, m->state, NULL), 0);
    assert_int_equal(machine_apply_to(m, &m->fsm, SLOT_OTHER, bnd_buf_slice(&bytes), &reply), 0);
    machine_equal(m);

    assert_int_equal(m->fsm.ops->open(m->fsm.self, GID, SLOT_OTHER + 2, m->state, NULL), 0);
    struct sql_change_set set = {0};
    struct sql_commit header = {.number = 1, .term = m->term, .page_count = 2};
    uint32_t count = 0;
    const struct sql_command create = {.op = SQL_CREATE, .uuid = {A}};
    bnd_buf_reset(&bytes);
    sql_command_encode(&bytes, &create);
    assert_int_equal(machine_apply_to(m, &m->fsm, SLOT_OTHER + 2, bnd_buf_slice(&bytes), &reply),
                     0);
    for (uint32_t page = 2; page > 0; page--) { /* page 2, then spans upon a page 1 that is not */
        put_change(&set, page, 1, page == 2 ? &whole : &on_nothing);
        assert_int_equal(sql_packer_commit(m->packer, uuid, &header, &set, bnd_slice(NULL, 0),
                                           &commands, &count),
                         0);
        assert_int_equal(machine_apply_to(m, &m->fsm, SLOT_OTHER + 2,
                                          bnd_slice(commands.data + 4, commands.len - 4), &reply),
                         page == 2 ? 0 : BND_INVALID);
        sql_change_set_free(&set);
        header.base++;
    }
    bnd_buf_free(&commands);
    bnd_buf_free(&bytes);
    bnd_buf_free(&reply);
}

static void what_makes_the_state_grow_is_told(void **state) {
    struct machine *m = *state;
    for (uint8_t op = 0; op < 12; op++) {
        bool grows = op == SQL_CREATE || op == SQL_COMMIT || op == SQL_STAGE || op == SQL_RESTORE ||
                     op == SQL_FORK || op == SQL_BRANCH;
        assert_int_equal(m->fsm.ops->grows(m->fsm.self, bnd_slice(&op, 1)), grows);
    }
    assert_false(m->fsm.ops->grows(m->fsm.self, bnd_slice(NULL, 0)));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, machine_setup, machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_database_is_made_once_and_never_again),
        TEST(a_commit_must_be_made_on_what_is_there),
        TEST(the_hash_of_a_version_is_over_what_made_it),
        TEST(spans_need_what_they_stand_upon),
        TEST(a_page_cut_off_comes_back_as_an_image),
        TEST(damaged_change_sets_are_refused),
        TEST(parts_are_of_one_attempt_and_in_order),
        TEST(a_long_change_set_goes_through_parts),
        TEST(a_restore_is_undone_by_the_bookmark_before_it),
        TEST(a_fork_reads_its_source_and_writes_its_own),
        TEST(what_is_deleted_goes_in_its_time_and_in_steps),
        TEST(a_source_is_kept_until_nothing_descends_from_it),
        TEST(queries_tell_the_present_and_a_time),
        TEST(damage_is_told_and_never_served),
        TEST(damage_here_is_no_outcome),
        TEST(without_memory_nothing_is_decided),
        TEST(what_was_known_of_another_state_is_forgotten),
        TEST(what_makes_the_state_grow_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
