/* Branches: what holds a database, takes its place, or is gone with whoever worked with it. */
#include "sql/sql.h"
#include "tests/unit/sql/machine.h"

enum { A = 1, B = 2, C = 3, D = 4 };

/* Commits `count` pages of one byte value each. */
static int commit(struct machine *m, uint8_t uuid, uint32_t count, uint8_t value) {
    uint8_t bytes[SQL_PAGE_BYTES];
    struct sql_change_set set = {0};
    struct sql_database_record record = machine_record(m, uuid);
    memset(bytes, value, sizeof bytes);
    for (uint32_t page = 1; page <= count; page++) {
        struct sql_page_found made;
        sql_change_set_page(&set, page, NULL, NULL, bytes, record.version + 1, &made);
    }
    struct machine_commit what = {
        .uuid = uuid, .header = machine_header(m, &record, 3), .set = &set};
    int status = machine_commit(m, &what);
    sql_change_set_free(&set);
    return status;
}

/* A page's first byte in the database's present. */
static int now_at(struct machine *m, uint8_t uuid, uint32_t page) {
    uint8_t bytes[SQL_PAGE_BYTES];
    struct sql_database_record record = machine_record(m, uuid);
    const struct sql_at at = machine_at(m, &record);
    int rv = sql_history_page(&at, page, bytes, NULL);
    return rv != 0 ? rv : bytes[0];
}

static int branch_at(struct machine *m, uint8_t uuid, uint8_t source,
                     struct bnd_sql_bookmark target) {
    const struct sql_command command = {
        .op = SQL_BRANCH,
        .uuid = {uuid},
        .u.branch = {.source = {source}, .past = true, .target = target}};
    return machine_apply(m, &command);
}

static struct bnd_sql_bookmark replied(const struct machine *m, size_t at) {
    struct bnd_sql_bookmark bookmark;
    assert_true(m->reply.len >= at + BND_SQL_BOOKMARK_BYTES);
    bnd_sql_bookmark_get(m->reply.data + at, &bookmark);
    return bookmark;
}

static struct bnd_sql_bookmark present(struct machine *m, uint8_t uuid) {
    struct sql_database_record record = machine_record(m, uuid);
    struct bnd_sql_bookmark bookmark = {.epoch = record.epoch, .version = record.version};
    memcpy(bookmark.hash, record.hash, sizeof bookmark.hash);
    return bookmark;
}

static int restore(struct machine *m, uint8_t uuid, struct bnd_sql_bookmark target) {
    return machine_restore_to(m, uuid, machine_record(m, uuid).version, target);
}

/* The version of a time, with the epoch in the hundreds of millions. */
static uint64_t version_at(struct machine *m, uint8_t uuid, uint64_t stamp_ms) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    const struct sql_query query = {
        .kind = SQL_QUERY_AT_TIME, .uuid = {uuid}, .stamp_ms = stamp_ms};
    const struct bnd_fsm_read context = {.gid = GID, .slot = SLOT, .state = m->state};
    sql_query_encode(&bytes, &query);
    bnd_buf_reset(&m->reply);
    int rv = m->fsm.ops->read(m->fsm.self, &context, bnd_buf_slice(&bytes), &m->reply);
    if (rv != 0) {
        assert_int_equal(rv, BND_NOTFOUND);
        return UINT64_MAX;
    }
    struct bnd_sql_bookmark bookmark = replied(m, 0);
    return bookmark.epoch * UINT64_C(100000000) + bookmark.version;
}

/* A of two versions, and B that holds it, one second later, with two of its own. */
static void begin_import(struct machine *m) {
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit(m, A, 3, 7), 0);
    m->stamp_ms += 1000;
    assert_int_equal(commit(m, A, 2, 8), 0);
    m->stamp_ms += 1000;
    assert_int_equal(machine_branch(m, B, A, true), 0);
    m->stamp_ms += 1000;
    assert_int_equal(commit(m, B, 1, 60), 0);
    m->stamp_ms += 1000;
    assert_int_equal(commit(m, B, 1, 61), 0);
    m->stamp_ms += 1000;
}

static void what_is_held_changes_by_nothing_else(void **state) {
    struct machine *m = *state;
    begin_import(m);
    struct sql_database_record record = machine_record(m, A);
    assert_true(record.state == SQL_DATABASE_HELD && record.version == 2);
    record = machine_record(m, B);
    assert_true(record.number == 2 && record.epoch == 1 && record.version == 5);
    assert_int_equal(commit(m, A, 1, 9), BND_LOCKED);
    m->term++; /* what is no outcome stays none: another leader may say so */
    struct sql_database_record held = machine_record(m, A);
    struct sql_change_set set = {0};
    struct machine_commit stale = {.uuid = A, .header = machine_header(m, &held, 3), .set = &set};
    m->term--;
    assert_int_equal(machine_commit(m, &stale), BND_CONFLICT);
    sql_change_set_free(&set);
    assert_int_equal(restore(m, A, machine_bookmark(m, A, 0, 1)), BND_LOCKED);
    assert_int_equal(machine_branch(m, C, A, true), BND_LOCKED);
    assert_int_equal(machine_branch(m, C, A, false), 0); /* what only reads may */
    assert_int_equal(machine_simple(m, SQL_CREATE, A), BND_EXISTS);
    assert_int_equal(now_at(m, A, 1), 8);
    assert_int_equal(now_at(m, B, 1), 61);
    assert_int_equal(now_at(m, B, 3), 7);
    assert_int_equal(machine_fork_at(m, D, A, present(m, A)), 0);
    /* Somebody's database is no branch. */
    assert_int_equal(machine_branch(m, D, A, false), BND_EXISTS);
    assert_int_equal(machine_branch(m, C, A, true), BND_EXISTS);
    assert_int_equal(machine_branch(m, 9, 8, true), BND_NOTFOUND);
    machine_equal(m);
}

static void a_branch_takes_the_place_of_what_it_holds(void **state) {
    struct machine *m = *state;
    begin_import(m);
    uint64_t created_ms = machine_record(m, A).created_ms;
    assert_int_equal(machine_branch(m, C, A, false), 0);
    assert_int_equal(machine_swap(m, A, B, 4), BND_PRECONDITION); /* not as its maker left it */
    assert_int_equal(machine_swap(m, A, C, 3), BND_PRECONDITION); /* it holds nothing */
    assert_int_equal(machine_swap(m, A, D, 5), BND_PRECONDITION);
    assert_int_equal(machine_swap(m, D, B, 5), BND_NOTFOUND);
    assert_int_equal(machine_swap(m, C, B, 5), BND_PRECONDITION); /* it holds another */
    assert_int_equal(machine_swap(m, A, B, 5), 0);
    struct bnd_sql_bookmark made = replied(m, 0);
    struct bnd_sql_bookmark before = replied(m, BND_SQL_BOOKMARK_BYTES);
    assert_true(made.epoch == 1 && made.version == 6 && before.epoch == 0 && before.version == 2);
    struct sql_database_record record = machine_record(m, A);
    assert_true(record.state == SQL_DATABASE_LIVE && record.number == 2 && record.epoch == 1 &&
                record.version == 6 && record.page_count == 3 && record.stamp_ms == m->stamp_ms &&
                record.created_ms == created_ms);
    assert_memory_equal(record.hash, made.hash, sizeof record.hash);
    assert_int_equal(now_at(m, A, 1), 61);
    assert_int_equal(now_at(m, A, 2), 8);
    assert_int_equal(now_at(m, A, 3), 7);
    assert_int_equal(machine_swap(m, A, B, 5), BND_PRECONDITION); /* once */
    assert_int_equal(machine_simple(m, SQL_CREATE, B), BND_NOTFOUND);
    assert_int_equal(machine_branch(m, B, A, true), BND_NOTFOUND);
    assert_int_equal(commit(m, A, 1, 62), 0);
    assert_int_equal(now_at(m, A, 1), 62);
    machine_equal(m);
}

/* The history goes on: what was before the import, and nothing of the time in which it ran. */
static void time_goes_on_over_an_import(void **state) {
    struct machine *m = *state;
    begin_import(m);
    uint64_t swapped_ms = m->stamp_ms;
    struct bnd_sql_bookmark hidden = machine_bookmark(m, B, 1, 4);
    struct bnd_sql_bookmark first = machine_bookmark(m, A, 0, 1);
    struct bnd_sql_bookmark before = present(m, A);
    assert_int_equal(machine_swap(m, A, B, 5), 0);
    struct bnd_sql_bookmark made = replied(m, 0);
    m->stamp_ms += 1000;
    assert_int_equal(version_at(m, A, m->stamp_ms), 100000006);
    assert_int_equal(version_at(m, A, swapped_ms), 100000006);
    assert_int_equal(version_at(m, A, swapped_ms - 1), 2);
    assert_int_equal(version_at(m, A, swapped_ms - 2500), 2); /* B was changed then */
    assert_int_equal(version_at(m, A, swapped_ms - 4001), 1);
    assert_int_equal(version_at(m, A, 1), UINT64_MAX);
    assert_int_equal(restore(m, A, hidden), BND_NOTFOUND);
    assert_int_equal(restore(m, A, before), 0); /* undone */
    assert_int_equal(now_at(m, A, 1), 8);
    assert_int_equal(restore(m, A, first), 0);
    assert_int_equal(now_at(m, A, 1), 7);
    assert_int_equal(restore(m, A, made), 0);
    assert_int_equal(now_at(m, A, 1), 61);
    assert_int_equal(machine_branch(m, C, A, true), 0); /* and once more */
    assert_int_equal(commit(m, C, 1, 90), 0);
    assert_int_equal(machine_swap(m, A, C, machine_record(m, C).version), 0);
    assert_int_equal(version_at(m, A, swapped_ms - 4001), 1);
    assert_int_equal(restore(m, A, first), 0);
    assert_int_equal(now_at(m, A, 1), 7);
    assert_int_equal(machine_fork_at(m, D, A, before), 0);
    assert_int_equal(now_at(m, D, 1), 8);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 4);
    assert_int_equal(now_at(m, D, 1), 8);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 3), 0); /* of C */
    assert_int_equal(machine_simple(m, SQL_DELETE, D), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 4);
    machine_nothing_is_left(m);
}

static void a_lease_that_nobody_renews_ends(void **state) {
    struct machine *m = *state;
    begin_import(m);
    assert_int_equal(machine_branch(m, C, A, false), 0);
    m->stamp_ms += BND_SQL_LEASE_MS - 4000;
    assert_int_equal(machine_branch(m, B, A, true), 0);
    m->stamp_ms += BND_SQL_LEASE_MS - 1; /* that of C is over */
    machine_ticks(m, 1);
    assert_int_equal(machine_branch(m, C, A, false), BND_NOTFOUND);
    assert_int_equal(commit(m, B, 1, 63), 0);
    assert_int_equal(machine_record(m, A).state, SQL_DATABASE_HELD);
    m->stamp_ms++;
    m->time_suspended = true; /* by a clock that nobody trusts nothing ends */
    machine_ticks(m, 1);
    assert_int_equal(machine_record(m, A).state, SQL_DATABASE_HELD);
    m->time_suspended = false;
    machine_ticks(m, 1);
    assert_int_equal(machine_record(m, A).state, SQL_DATABASE_LIVE);
    assert_int_equal(now_at(m, A, 1), 8);
    assert_int_equal(commit(m, B, 1, 64), BND_NOTFOUND);
    assert_int_equal(machine_swap(m, A, B, 6), BND_PRECONDITION);
    assert_int_equal(commit(m, A, 1, 10), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 4);
    assert_int_equal(machine_count(m, SQL_TAG_PAGE, 2), 0);
    assert_int_equal(machine_count(m, SQL_TAG_FORK, 0), 0);
    assert_int_equal(machine_count(m, SQL_TAG_LEASE, 0), 0);
    assert_int_equal(now_at(m, A, 1), 10);
    machine_equal(m);
}

static void a_deleted_branch_holds_nothing(void **state) {
    struct machine *m = *state;
    begin_import(m);
    assert_int_equal(machine_simple(m, SQL_DELETE, B), 0);
    assert_int_equal(machine_record(m, A).state, SQL_DATABASE_LIVE);
    assert_int_equal(commit(m, A, 1, 9), 0);
    assert_int_equal(machine_branch(m, C, A, true), 0); /* again, and now the database goes */
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(machine_swap(m, A, C, 4), BND_NOTFOUND);
    m->stamp_ms += BND_SQL_LEASE_MS;
    machine_ticks(m, 1);
    assert_int_equal(machine_branch(m, C, A, true), BND_NOTFOUND);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 4);
    machine_nothing_is_left(m);
}

/* What was not kept any more before the import is not kept after it; then the database has a cutoff
 * of its own, and what it was stays for what stands upon it. */
static void a_cutoff_holds_over_an_import(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    for (uint8_t i = 1; i <= 6; i++) { /* versions 1 to 6 */
        m->stamp_ms += 1000;
        assert_int_equal(commit(m, A, 3, i), 0);
    }
    struct bnd_sql_bookmark gone = machine_bookmark(m, A, 0, 3);
    struct bnd_sql_bookmark kept = machine_bookmark(m, A, 0, 5);
    uint64_t sixth_ms = m->stamp_ms;
    assert_int_equal(machine_retain(m, A, 4, 0), 0);
    machine_end_pass(m);
    assert_int_equal(machine_branch(m, B, A, true), 0);
    assert_int_equal(machine_retain(m, A, 5, 0), BND_PRECONDITION); /* not while it is held */
    assert_int_equal(commit(m, B, 1, 60), 0);
    assert_int_equal(machine_retain(m, B, 8, 0), BND_PRECONDITION); /* what is made is no history */
    m->stamp_ms += 1000;
    assert_int_equal(machine_swap(m, A, B, 8), 0);
    assert_int_equal(machine_retain(m, B, SQL_CUTOFF_ALL, 0), BND_PRECONDITION);
    assert_int_equal(restore(m, A, gone), BND_NOTFOUND);
    assert_int_equal(version_at(m, A, sixth_ms), 6);
    assert_int_equal(version_at(m, A, sixth_ms - 2000), 4);
    assert_int_equal(version_at(m, A, sixth_ms - 3000), UINT64_MAX);
    assert_int_equal(restore(m, A, kept), 0);
    assert_int_equal(now_at(m, A, 2), 5);
    m->stamp_ms += 1000;
    assert_int_equal(commit(m, A, 1, 70), 0); /* version 11 */
    assert_int_equal(machine_retain(m, A, 11, 0), 0);
    machine_end_pass(m);
    assert_int_equal(restore(m, A, kept), BND_NOTFOUND);
    assert_int_equal(now_at(m, A, 1), 70);
    assert_int_equal(now_at(m, A, 3), 5); /* what it stands upon, under its former number */
    assert_int_equal(version_at(m, A, sixth_ms), UINT64_MAX);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 6);
    machine_nothing_is_left(m);
}

/* A whole import into A by way of a branch that changes page 1. */
static void import(struct machine *m, uint8_t by, uint8_t value) {
    assert_int_equal(machine_branch(m, by, A, true), 0);
    assert_int_equal(commit(m, by, 1, value), 0);
    m->stamp_ms += 1000;
    assert_int_equal(machine_swap(m, A, by, machine_record(m, by).version), 0);
}

/* By whichever epoch the retention leaves first, a number ends as the fork of what it is of. */
static void what_stands_upon_two_imports_ago_ends_as_it_began(void **state) {
    struct machine *m = *state;
    begin_import(m);
    struct bnd_sql_bookmark first = machine_bookmark(m, A, 0, 1);
    assert_int_equal(machine_swap(m, A, B, 5), 0);
    import(m, C, 90);
    assert_int_equal(restore(m, A, first), 0);
    assert_int_equal(machine_retain(m, A, machine_record(m, A).version, 0), 0);
    machine_end_pass(m);
    assert_int_equal(now_at(m, A, 1), 7);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 4);
    machine_nothing_is_left(m);
}

/* The uuid of a branch that took its source's place is nobody's way to what that is or was. */
static void what_was_between_two_imports_is_kept(void **state) {
    struct machine *m = *state;
    begin_import(m);
    assert_int_equal(machine_swap(m, A, B, 5), 0);
    assert_int_equal(commit(m, A, 1, 62), 0);
    struct bnd_sql_bookmark between = present(m, A);
    assert_int_equal(commit(m, A, 1, 63), 0);
    import(m, C, 90);
    assert_int_equal(machine_retain(m, B, SQL_CUTOFF_ALL, 0), BND_PRECONDITION);
    assert_int_equal(restore(m, A, between), 0);
    assert_int_equal(now_at(m, A, 1), 62);
    assert_int_equal(machine_fork_at(m, D, A, between), 0);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    assert_int_equal(machine_retain(m, C, SQL_CUTOFF_ALL, 0), BND_PRECONDITION);
    assert_int_equal(now_at(m, D, 1), 62);
    machine_equal(m);
}

/* What a cutoff made unknown stays so, and is not what was there an import earlier. */
static void a_cutoff_between_two_imports_is_an_end(void **state) {
    struct machine *m = *state;
    begin_import(m);
    uint64_t swapped_ms = m->stamp_ms;
    struct bnd_sql_bookmark first = machine_bookmark(m, A, 0, 1);
    assert_int_equal(machine_swap(m, A, B, 5), 0);
    m->stamp_ms += 1000;
    assert_int_equal(commit(m, A, 1, 62), 0); /* version 7 */
    assert_int_equal(machine_retain(m, A, 7, 0), 0);
    machine_end_pass(m);
    assert_int_equal(version_at(m, A, swapped_ms + 999), UINT64_MAX);
    assert_int_equal(restore(m, A, first), BND_NOTFOUND);
    import(m, C, 90);
    assert_int_equal(version_at(m, A, swapped_ms + 1000), 100000007);
    assert_int_equal(version_at(m, A, swapped_ms + 999), UINT64_MAX);
    assert_int_equal(restore(m, A, first), BND_NOTFOUND);
    machine_equal(m);
}

/* The pass has not come to the epoch yet, and would take from under a restore what it stands upon.
 */
static void a_pass_that_an_import_overtakes_keeps_its_cutoff(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    assert_int_equal(commit(m, A, 3, 7), 0);
    for (uint32_t epoch = 0; epoch < 900; epoch++) {
        assert_int_equal(machine_restore(m, A, 1 + epoch, epoch, 1 + epoch), 0);
    }
    struct bnd_sql_bookmark below = machine_bookmark(m, A, 890, 891);
    assert_int_equal(machine_retain(m, A, 901, 0), 0);
    import(m, B, 60);
    assert_true(machine_count(m, SQL_TAG_PASS, 0) > 0);
    assert_int_equal(restore(m, A, below), BND_NOTFOUND);
    machine_end_pass(m);
    assert_int_equal(restore(m, A, below), BND_NOTFOUND);
    assert_int_equal(now_at(m, A, 3), 7);
    machine_equal(m);
}

/* A bookmark is what a client writes: of the former number, of a time when it was that no more. */
static void a_bookmark_that_never_was_is_refused(void **state) {
    struct machine *m = *state;
    begin_import(m);
    assert_int_equal(machine_swap(m, A, B, 5), 0); /* of epoch 0 there are versions 0 to 2 */
    for (uint64_t version = 3; version <= 7; version++) {
        struct bnd_sql_bookmark forged = {.epoch = 0, .version = version, .hash = {1}};
        assert_int_equal(restore(m, A, forged), BND_NOTFOUND);
        assert_int_equal(machine_fork_at(m, D, A, forged), BND_NOTFOUND);
    }
    machine_equal(m);
}

/* Its place is kept as long as it is, whatever the retention says of the source meanwhile. */
static void a_branch_may_be_of_the_past(void **state) {
    struct machine *m = *state;
    assert_int_equal(machine_simple(m, SQL_CREATE, A), 0);
    for (uint8_t i = 1; i <= 3; i++) {
        m->stamp_ms += 1000;
        assert_int_equal(commit(m, A, 3, i), 0);
    }
    struct bnd_sql_bookmark second = machine_bookmark(m, A, 0, 2);
    struct bnd_sql_bookmark third = present(m, A);
    struct bnd_sql_bookmark other = second;
    other.hash[0] ^= 1;
    assert_int_equal(branch_at(m, B, A, other), BND_NOTFOUND);
    other = third;
    other.version++;
    assert_int_equal(branch_at(m, B, A, other), BND_NOTFOUND);
    assert_int_equal(branch_at(m, B, D, second), BND_NOTFOUND);
    assert_int_equal(branch_at(m, B, A, second), 0);
    struct bnd_sql_bookmark at = replied(m, m->reply.len - BND_SQL_BOOKMARK_BYTES);
    assert_true(at.epoch == 0 && at.version == 2);
    assert_memory_equal(at.hash, second.hash, sizeof at.hash);
    assert_int_equal(now_at(m, B, 3), 2);
    assert_int_equal(machine_retain(m, A, 3, 0), 0);
    machine_end_pass(m);
    assert_int_equal(branch_at(m, C, A, second), BND_NOTFOUND);
    assert_int_equal(now_at(m, B, 1), 2);
    m->stamp_ms += BND_SQL_LEASE_MS - 1;
    assert_int_equal(branch_at(m, B, A, second), 0); /* renewed: its place is not asked for again */
    at = replied(m, m->reply.len - BND_SQL_BOOKMARK_BYTES);
    assert_true(at.epoch == 0 && at.version == 2);
    assert_memory_equal(at.hash, second.hash, sizeof at.hash);
    assert_int_equal(machine_swap(m, A, B, 3), BND_PRECONDITION);
    assert_int_equal(machine_branch(m, C, A, true), 0); /* it holds nothing */
    assert_int_equal(commit(m, C, 1, 50), 0);
    assert_int_equal(machine_swap(m, A, C, 5), 0);
    assert_int_equal(branch_at(m, D, A, third), 0); /* of a number that it has no more */
    assert_int_equal(now_at(m, D, 3), 3);
    assert_int_equal(now_at(m, B, 1), 2);
    m->stamp_ms += BND_SQL_LEASE_MS;
    machine_ticks(m, 1);
    assert_int_equal(branch_at(m, B, A, third), BND_NOTFOUND);
    assert_int_equal(machine_count(m, SQL_TAG_LEASE, 0), 0);
    assert_int_equal(now_at(m, A, 1), 50);
    assert_int_equal(machine_simple(m, SQL_DELETE, A), 0);
    m->stamp_ms += SQL_DEAD_KEEP_MS;
    machine_ticks(m, 6);
    machine_nothing_is_left(m);
}

static void staged_parts_go_with_the_swap(void **state) {
    struct machine *m = *state;
    begin_import(m);
    const struct sql_command part = {
        .op = SQL_STAGE,
        .uuid = {A},
        .u.stage = {.number = 1, .attempt = {5}, .bytes = bnd_slice("x", 1)}};
    struct sql_command other = part;
    other.uuid[0] = B;
    other.u.stage.number = 2;
    assert_int_equal(machine_apply(m, &part), 0);
    assert_int_equal(machine_apply(m, &other), 0);
    assert_int_equal(machine_swap(m, A, B, 5), 0);
    assert_int_equal(machine_count(m, SQL_TAG_STAGED, 0), 0);
    machine_equal(m);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, machine_setup, machine_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_held_changes_by_nothing_else),
        TEST(a_branch_takes_the_place_of_what_it_holds),
        TEST(time_goes_on_over_an_import),
        TEST(a_lease_that_nobody_renews_ends),
        TEST(a_deleted_branch_holds_nothing),
        TEST(a_cutoff_holds_over_an_import),
        TEST(what_stands_upon_two_imports_ago_ends_as_it_began),
        TEST(what_was_between_two_imports_is_kept),
        TEST(a_cutoff_between_two_imports_is_an_end),
        TEST(a_pass_that_an_import_overtakes_keeps_its_cutoff),
        TEST(a_bookmark_that_never_was_is_refused),
        TEST(staged_parts_go_with_the_swap),
        TEST(a_branch_may_be_of_the_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
