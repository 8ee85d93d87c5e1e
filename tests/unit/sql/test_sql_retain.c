/* The retention, case by case (ADR 0105; what is left of random histories: test_sql_model.c). */
#include "tests/unit/sql/machine.h"

enum { A = 1, B = 2, C = 3, PAGES = 3, STEP_MS = 1000 };

/* A database whose version v has byte v in page 1 (commit_byte), version 1 has all its pages. */
static void grow(struct machine *m, uint8_t uuid, uint64_t until) {
    struct sql_database_record record = machine_record(m, uuid);
    if (record.version == 0) {
        m->stamp_ms += STEP_MS;
        assert_int_equal(commit_images(m, uuid, PAGES, 1), 0);
        record.version++;
    }
    while (record.version < until) {
        m->stamp_ms += STEP_MS;
        assert_int_equal(commit_byte(m, uuid, 1, (uint8_t)++record.version), 0);
    }
}

static void retain(struct machine *m, uint8_t uuid, uint64_t cutoff) {
    assert_int_equal(machine_retain(m, uuid, cutoff, 0), 0);
    machine_end_pass(m);
    machine_equal(m);
}

static int read_at_time(struct machine *m, uint8_t uuid, uint64_t stamp_ms, uint64_t *out) {
    const struct sql_query query = {
        .kind = SQL_QUERY_AT_TIME, .uuid = {uuid}, .stamp_ms = stamp_ms};
    const struct bnd_fsm_read context = {.gid = GID, .slot = SLOT, .state = m->state};
    struct bnd_buf bytes = {0};
    struct bnd_sql_bookmark bookmark = {0};
    sql_query_encode(&bytes, &query);
    bnd_buf_reset(&m->reply);
    int rv = m->fsm.ops->read(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply);
    if (rv == 0) {
        bnd_sql_bookmark_get(m->reply.data, &bookmark);
    }
    bnd_buf_free(&bytes);
    *out = bookmark.version;
    return rv;
}

/* Bookmarks are of before the cutoff, so the refusals are not for want of a record. */
static void the_cutoff_stays_and_what_is_below_is_refused(void **state) {
    struct machine *m = *state;
    uint64_t found = 0;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 60);
    uint64_t newest_ms = m->stamp_ms;
    struct bnd_sql_bookmark below = machine_bookmark(m, A, 0, 39);
    const struct sql_command restore = {
        .op = SQL_RESTORE, .uuid = {A}, .u.restore = {.base = 60, .target = below}};
    const struct sql_command fork = {
        .op = SQL_FORK, .uuid = {B}, .u.fork = {.source = {A}, .target = below}};
    assert_int_equal(machine_retain(m, A, 40, 20 * STEP_MS + 1), BND_PRECONDITION);
    assert_int_equal(machine_retain(m, A, 40, 20 * STEP_MS), 0);
    assert_int_equal(machine_apply(m, &restore), BND_NOTFOUND);
    assert_int_equal(machine_apply(m, &fork), BND_NOTFOUND);
    machine_end_pass(m);
    assert_int_equal(machine_apply(m, &restore), BND_NOTFOUND);
    assert_int_equal(machine_apply(m, &fork), BND_NOTFOUND);
    assert_int_equal(machine_count(m, SQL_TAG_COMMIT, 0), 21);
    for (uint64_t version = 0; version <= 60; version++) {
        assert_int_equal(byte_at(m, 1, 0, version, 1), version < 40 ? BND_NOTFOUND : (int)version);
    }
    assert_int_equal(read_at_time(m, A, newest_ms - 20 * STEP_MS - 1, &found), BND_NOTFOUND);
    assert_int_equal(read_at_time(m, A, newest_ms - 20 * STEP_MS, &found), 0);
    assert_int_equal(found, 40);
    assert_int_equal(machine_fork(m, B, A, 0, 40), 0);
    assert_int_equal(machine_restore(m, A, 60, 0, 40), 0);
    assert_int_equal(byte_at(m, 1, 1, 61, 1), 40);
    machine_equal(m);
}

/* Sixteen spans stand upon an image: what is left of page 1 is less than two rows. */
static void of_a_page_less_than_two_rows_are_left(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 200);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), 199 + PAGES);
    retain(m, A, 200);
    assert_true(machine_count(m, SQL_TAG_PAGE, 1) <= SQL_CHAIN_SPANS_MAX + PAGES);
    assert_int_equal(byte_at(m, 1, 0, 200, 1), 200);
    assert_int_equal(byte_at(m, 1, 0, 200, 3), 1);
    grow(m, A, 250); /* the leader goes on upon what was left */
    assert_int_equal(byte_at(m, 1, 0, 250, 1), 250);
}

/* Nothing stands upon anything else, so what stays is what is seen, and no version more. */
static void of_images_exactly_those_that_are_seen_stay(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    for (uint8_t version = 1; version <= 20; version++) {
        assert_int_equal(version == 11 ? machine_restore(m, A, 10, 0, 4)
                                       : commit_images(m, A, PAGES, version),
                         0);
    }
    retain(m, A, 10); /* the last of its epoch */
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), PAGES * (1 + 1 + 9)); /* 4, 10, 12 to 20 */
    assert_int_equal(byte_at(m, 1, 0, 9, 1), BND_NOTFOUND);
    assert_int_equal(byte_at(m, 1, 0, 10, 1), 10);
    assert_int_equal(byte_at(m, 1, 1, 11, 1), 4);
    assert_int_equal(byte_at(m, 1, 1, 12, 1), 12);
    retain(m, A, 15);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), PAGES * (1 + 6)); /* 4, 15 to 20 */
    assert_int_equal(byte_at(m, 1, 1, 14, 1), BND_NOTFOUND);
    assert_int_equal(byte_at(m, 1, 1, 15, 1), 15);
    assert_int_equal(machine_restore(m, A, 20, 1, 15), 0);
    assert_int_equal(byte_at(m, 1, 2, 21, 1), 15);
}

static void a_fork_keeps_what_it_begins_with_and_its_end_frees_it(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 60);
    assert_int_equal(machine_fork(m, B, A, 0, 20), 0);
    uint32_t fork = machine_record(m, B).number;
    retain(m, A, 60);
    size_t with_fork = machine_count(m, SQL_TAG_PAGE, 1);
    assert_int_equal(byte_at(m, fork, 0, 21, 1), 20);
    assert_int_equal(byte_at(m, fork, 0, 21, 2), 1);
    assert_int_equal(byte_at(m, 1, 0, 20, 1), BND_NOTFOUND);
    assert_int_equal(machine_simple(m, SQL_DELETE, B), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 3);
    assert_int_equal(machine_count(m, SQL_TAG_FORK, 0), 0);
    assert_int_equal(machine_count(m, SQL_TAG_UNPINNED, 1), 1);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), with_fork);
    retain(m, A, 60);
    assert_int_equal(machine_count(m, SQL_TAG_UNPINNED, 0), 0);
    assert_true(machine_count(m, SQL_TAG_PAGE, 1) < with_fork);
    assert_int_equal(byte_at(m, 1, 0, 60, 1), 60);
}

/* One whose beginning is not below the cutoff had nothing kept for it. */
static void a_fork_above_the_cutoff_leaves_nothing(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 30);
    retain(m, A, 20);
    assert_int_equal(machine_fork(m, B, A, 0, 20), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, B), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 3);
    assert_int_equal(machine_count(m, SQL_TAG_UNPINNED, 0), 0);
}

static void an_epoch_keeps_what_it_stands_upon(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 10);
    assert_int_equal(machine_restore(m, A, 10, 0, 4), 0); /* 11: epoch 1 */
    grow(m, A, 30);
    assert_int_equal(machine_restore(m, A, 30, 0, 3), 0); /* 31: epoch 2 */
    grow(m, A, 40);
    retain(m, A, 25);
    assert_int_equal(machine_count(m, SQL_TAG_EPOCH, 1), 3);
    assert_int_equal(byte_at(m, 1, 1, 25, 1), 25);
    assert_int_equal(byte_at(m, 1, 1, 25, 2), 1);
    retain(m, A, 31);
    assert_int_equal(machine_count(m, SQL_TAG_EPOCH, 1), 2); /* nothing stands upon epoch 1 */
    assert_int_equal(byte_at(m, 1, 1, 25, 1), BND_NOTFOUND);
    assert_int_equal(byte_at(m, 1, 2, 31, 1), 3);
    assert_int_equal(byte_at(m, 1, 2, 40, 1), 40);
    assert_int_equal(byte_at(m, 1, 2, 40, 3), 1);
    retain(m, A, 40);
    assert_int_equal(byte_at(m, 1, 2, 40, 2), 1);
    assert_int_equal(machine_restore(m, A, 40, 1, 25), BND_NOTFOUND);
}

/* Of a dead source only what its forks begin with stays; its numbers of spans may be many. */
static void a_deleted_source_keeps_what_its_forks_begin_with(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 100);
    assert_int_equal(machine_fork(m, B, A, 0, 3), 0);
    assert_int_equal(machine_retain(m, A, SQL_CUTOFF_ALL, 0), BND_PRECONDITION);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(machine_retain(m, A, 100, 0), BND_PRECONDITION);
    retain(m, A, SQL_CUTOFF_ALL);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 1), 2 + PAGES); /* an image and spans 2, 3 */
    assert_int_equal(machine_count(m, SQL_TAG_COMMIT, 1), 0);
    assert_int_equal(byte_at(m, 2, 0, 4, 1), 3);
    assert_int_equal(machine_simple(m, SQL_DELETE, B), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 3);
    machine_nothing_is_left(m);
}

static void a_pass_goes_on_with_the_entries_of_a_busy_group(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(machine_simple(m, SQL_CREATE, B), 0);
    grow(m, A, 700);
    assert_int_equal(machine_retain(m, A, 700, 0), 0);
    assert_int_equal(machine_retain(m, B, 0, 0), BND_PRECONDITION); /* one at a time */
    grow(m, B, 200);
    assert_int_equal(machine_count(m, SQL_TAG_PASS, 0), 0);
    assert_int_equal(machine_count(m, SQL_TAG_COMMIT, 1), 1);
    assert_int_equal(byte_at(m, 1, 0, 700, 1), 700 % 256);
}

/* What the plan of a pass does not know yet is not what nobody needs. */
static void an_epoch_that_begins_during_a_pass_is_whole(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 1500);
    assert_int_equal(machine_retain(m, A, 1400, 0), 0);
    machine_ticks(m, 1); /* page 1 has more versions than a step looks at */
    assert_int_equal(machine_restore(m, A, 1500, 0, 1450), 0);
    assert_int_equal(commit_byte(m, A, 3, 77), 0);
    machine_end_pass(m);
    machine_equal(m);
    assert_int_equal(byte_at(m, 1, 1, 1502, 3), 77);
    assert_int_equal(byte_at(m, 1, 1, 1502, 2), 1);
    assert_int_equal(byte_at(m, 1, 1, 1502, 1), 1450 % 256);
}

/* More than a step of keys; and the sweep begins while the pass is at work. */
static void a_swept_database_ends_its_pass(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 1500);
    assert_int_equal(machine_restore(m, A, 1500, 0, 700), 0);
    assert_int_equal(machine_retain(m, A, 1400, 0), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    for (unsigned i = 0; machine_count(m, SQL_TAG_DEAD, 0) > 0; i++) {
        assert_true(i < 20);
        machine_ticks(m, 1);
    }
    assert_int_equal(machine_count(m, SQL_TAG_PASS, 0), 0);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 0), 0);
    assert_int_equal(machine_count(m, SQL_TAG_EPOCH, 0), 0);
    machine_equal(m);
}

/* Epochs go a few with each command: those that are left stand upon some that went. */
static void a_database_of_many_epochs_is_swept_from_under_its_pass(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 900);
    for (uint32_t epoch = 0; epoch < 600; epoch++) {
        assert_int_equal(machine_restore(m, A, 900 + epoch, epoch, 900 + epoch), 0);
    }
    assert_int_equal(machine_retain(m, A, 900, 0), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    for (uint8_t uuid = 100; uuid < 200; uuid++) {
        assert_int_equal(machine_simple(m, SQL_CREATE, uuid), 0);
    }
    machine_ticks(m, 5);
    assert_int_equal(machine_count(m, SQL_TAG_PASS, 0), 0);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 0), 0);
    assert_int_equal(machine_count(m, SQL_TAG_EPOCH, 1), 0);
}

static void nothing_gets_a_cutoff_while_time_is_suspended(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 50);
    m->stamp_ms += UINT64_C(100) * 24 * 3600 * 1000;
    m->time_suspended = true;
    assert_int_equal(machine_retain(m, A, 50, 1), BND_PRECONDITION);
    m->time_suspended = false;
    assert_int_equal(machine_retain(m, A, 50, 1), 0);
}

/* Whatever has come among the keys: the pass has room for those that there are. */
static void a_key_that_is_too_long_is_damage(void **state) {
    struct machine *m = *state;
    struct bnd_buf bytes = {0};
    struct bnd_buf reply = {0};
    uint8_t too_long[SQL_KEY_MAX + 16] = {0};
    struct sql_key key;
    const struct sql_command retain_all = {
        .op = SQL_RETAIN, .uuid = {A}, .u.retain = {.cutoff = 20}};
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    grow(m, A, 20);
    sql_key_commit(&key, SLOT, 1, 5);
    memcpy(too_long, key.bytes, key.len);
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    m->state->ops->batch_put(batch, BND_CF_SQL, bnd_slice(too_long, sizeof too_long),
                             bnd_slice("x", 1));
    const struct bnd_fsm_apply context = {.gid = GID,
                                          .index = m->index + 1,
                                          .term = m->term,
                                          .stamp_ms = m->stamp_ms,
                                          .slot = SLOT,
                                          .state_version = 1,
                                          .state = m->state,
                                          .batch = batch};
    sql_command_encode(&bytes, &retain_all);
    assert_int_equal(m->fsm.ops->apply(m->fsm.self, &context, bnd_buf_slice(&bytes), &reply),
                     BND_CORRUPT);
    m->state->ops->batch_destroy(batch);
    bnd_buf_free(&bytes);
    bnd_buf_free(&reply);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_cutoff_stays_and_what_is_below_is_refused),
        TEST(of_a_page_less_than_two_rows_are_left),
        TEST(of_images_exactly_those_that_are_seen_stay),
        TEST(a_fork_keeps_what_it_begins_with_and_its_end_frees_it),
        TEST(a_fork_above_the_cutoff_leaves_nothing),
        TEST(an_epoch_keeps_what_it_stands_upon),
        TEST(a_deleted_source_keeps_what_its_forks_begin_with),
        TEST(a_pass_goes_on_with_the_entries_of_a_busy_group),
        TEST(an_epoch_that_begins_during_a_pass_is_whole),
        TEST(a_swept_database_ends_its_pass),
        TEST(a_database_of_many_epochs_is_swept_from_under_its_pass),
        TEST(nothing_gets_a_cutoff_while_time_is_suspended),
        TEST(a_key_that_is_too_long_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
