/* What a replica has of a database, page by page: hashed, and read as it is. */
#include "tests/unit/sql/leader_rig.h"

#include "base/hash.h"
#include "sql/history.h"
#include "sql/keys.h"

static const uint8_t uuid_a[16] = {1, 2, 3};
static const char fill_t[] =
    "INSERT INTO t SELECT zeroblob(3000) FROM json_each('[1,2,3,4,5,6,7,8]')\0";

/* Writes over the newest bytes of a page in the state; once more puts them back. */
static void damage_page(struct sql_rig *rig, uint32_t page) {
    const struct bnd_state_ops *ops = rig->state->ops;
    struct bnd_raft_group_status status;
    struct sql_database_record record;
    struct sql_key from;
    struct sql_key to;
    assert_int_equal(bnd_raft_group_status(rig->host, RIG_GID, &status), 0);
    assert_int_equal(sql_history_database(rig->state, status.slot, uuid_a, &record), 0);
    sql_key_page(&from, status.slot, record.number, page, record.epoch, UINT64_MAX >> 1);
    sql_key_page(&to, status.slot, record.number, page, record.epoch, 0);
    struct bnd_state_iter *iter =
        ops->iter(rig->state, BND_CF_SQL, sql_key_slice(&from), sql_key_slice(&to));
    struct bnd_state_batch *batch = ops->batch_create(rig->state);
    assert_true(ops->iter_valid(iter));
    struct bnd_buf value = {0};
    bnd_buf_append_slice(&value, ops->iter_value(iter));
    value.data[value.len - 1] ^= 1;
    ops->batch_put(batch, BND_CF_SQL, ops->iter_key(iter), bnd_buf_slice(&value));
    assert_int_equal(ops->write(rig->state, batch), 0);
    ops->iter_destroy(iter);
    ops->batch_destroy(batch);
    bnd_buf_free(&value);
}

/* ---- reading ---- */

/* Pages of a database, on the replica that has reached `at`, or on the leader (NULL). */
struct paged {
    struct bnd_sql_call call;
    bool done;
    int status;
    struct bnd_buf bytes;
};

static void on_pages(struct bnd_sql_call *call, int status, const struct bnd_sql_answer *answer) {
    struct paged *of = call->data;
    of->done = true;
    of->status = status;
    if (status == 0) {
        assert_int_equal(answer->outcome, BND_SQL_DONE);
        assert_false(answer->wrote);
        bnd_buf_append_slice(&of->bytes, answer->text);
    }
}

static int pages_of(struct sql_rig *rig, const uint8_t uuid[16], uint32_t first, uint32_t count,
                    const struct bnd_sql_bookmark *at, struct bnd_buf *out) {
    struct paged paged = {.call = {.cb = on_pages, .data = &paged}};
    BND_AUTO_BUF struct bnd_buf request = {0};
    struct bnd_sql_request header = {.results = BND_SQL_ROWS,
                                     .session = at == NULL ? BND_SQL_PRIMARY : BND_SQL_BOOKMARK,
                                     .read_only = true,
                                     .pages_first = first,
                                     .pages_count = count};
    if (at != NULL) {
        bnd_sql_bookmark_put(header.bookmark, at);
    }
    bnd_sql_request_begin(&request, &header);
    bnd_sql_request_end(&request, 0);
    assert_int_equal(bnd_sql_query(rig->sql, &paged.call, uuid, bnd_buf_slice(&request)), 0);
    rig_run(rig, rig_flag, &paged.done);
    bnd_buf_free(out);
    *out = paged.bytes;
    return paged.status;
}

/* What SQLite has made, a page behind the other, in any parts; one that is damaged is told. */
static void pages_are_read_as_they_are(void **state) {
    struct sql_rig *rig = *state;
    struct bnd_buf all = {0};
    struct bnd_buf part = {0};
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    assert_int_equal(pages_of(rig, uuid_a, 1, BND_SQL_PAGES_MAX, NULL, &all), 0);
    assert_int_equal(all.len, 2 * BND_SQL_PAGE_BYTES);
    (void)rig_expect(rig, uuid_a, fill_t, BND_SQL_DONE);
    struct bnd_sql_bookmark at = rig_bookmark(rig, uuid_a);
    assert_int_equal(pages_of(rig, uuid_a, 1, BND_SQL_PAGES_MAX, NULL, &all), 0);
    assert_memory_equal(all.data, "SQLite format 3", 16);
    uint32_t pages = bnd_get_be32(all.data + 28);
    assert_true(pages > 8 && all.len == (size_t)pages * BND_SQL_PAGE_BYTES);
    for (uint32_t first = 1; first <= pages; first += 3) { /* on the replica, too */
        uint32_t count = pages - first + 1 < 3 ? pages - first + 1 : 3;
        assert_int_equal(pages_of(rig, uuid_a, first, 3, &at, &part), 0);
        assert_int_equal(part.len, (size_t)count * BND_SQL_PAGE_BYTES);
        assert_memory_equal(part.data, all.data + (size_t)(first - 1) * BND_SQL_PAGE_BYTES,
                            part.len);
    }
    assert_int_equal(pages_of(rig, uuid_a, pages + 1, 1, NULL, &part), 0);
    assert_int_equal(part.len, 0);
    assert_int_equal(pages_of(rig, uuid_a, UINT32_MAX, BND_SQL_PAGES_MAX, NULL, &part), 0);
    assert_int_equal(part.len, 0);
    damage_page(rig, 2);
    assert_int_equal(pages_of(rig, uuid_a, 1, 1, NULL, &part), 0);
    assert_int_equal(pages_of(rig, uuid_a, 1, 2, NULL, &part), BND_CORRUPT);
    assert_int_equal(pages_of(rig, uuid_a, 2, 1, &at, &part), BND_CORRUPT);
    bnd_buf_free(&all);
    bnd_buf_free(&part);
}

/* ---- hashing ---- */

struct digested {
    struct bnd_sql_digest digest;
    bool done;
    int status;
    unsigned asked; /* whether it is wanted */
    unsigned told;
};

static bool once(const struct bnd_sql_digest *digest) {
    return ((struct digested *)digest->data)->asked++ == 0;
}

static void on_digest(struct bnd_sql_digest *digest, int status) {
    struct digested *of = digest->data;
    of->done = true;
    of->status = status;
    of->told++;
}

static int digest_while(struct sql_rig *rig, const uint8_t uuid[16], uint64_t version,
                        bool (*wanted)(const struct bnd_sql_digest *digest), struct digested *out) {
    *out = (struct digested){.digest = {.cb = on_digest, .wanted = wanted, .data = out}};
    int rv = bnd_sql_digest(rig->sql, &out->digest, uuid, version);
    if (rv == 0) {
        rig_run(rig, rig_flag, &out->done);
    }
    return rv != 0 ? rv : out->status;
}

static int digest_of(struct sql_rig *rig, const uint8_t uuid[16], uint64_t version,
                     struct digested *out) {
    return digest_while(rig, uuid, version, NULL, out);
}

/* Made as a reader of the pages would: each of them, from the first to the last. */
static uint64_t hash_of(struct sql_rig *rig) {
    struct bnd_buf all = {0};
    uint64_t hash = 0;
    assert_int_equal(pages_of(rig, uuid_a, 1, BND_SQL_PAGES_MAX, NULL, &all), 0);
    for (size_t at = 0; at < all.len; at += BND_SQL_PAGE_BYTES) {
        hash = bnd_hash64(bnd_slice(all.data + at, BND_SQL_PAGE_BYTES), hash);
    }
    bnd_buf_free(&all);
    return hash;
}

static void every_page_is_in_the_hash(void **state) {
    struct sql_rig *rig = *state;
    struct digested digested;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, fill_t, BND_SQL_DONE);
    assert_int_equal(digest_of(rig, uuid_a, 0, &digested), 0);
    assert_true(digested.digest.pages > 8 && digested.digest.hash == hash_of(rig));
    for (uint32_t page = 1; page <= digested.digest.pages; page++) {
        struct digested again;
        damage_page(rig, page);
        assert_int_equal(digest_of(rig, uuid_a, 0, &again), BND_CORRUPT);
        assert_int_equal(again.digest.damaged, page);
        damage_page(rig, page);
    }
}

/* Also what is the present no more, shorter than it, or gone back from. */
static void versions_are_hashed_as_they_were(void **state) {
    struct sql_rig *rig = *state;
    struct digested first;
    struct digested later;
    struct digested again;
    struct rig_admin admin;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a, fill_t, BND_SQL_DONE);
    struct bnd_sql_bookmark before = rig_bookmark(rig, uuid_a);
    assert_int_equal(digest_of(rig, uuid_a, 0, &first), 0);
    assert_memory_equal(&first.digest.at, &before, sizeof before);
    (void)rig_expect(rig, uuid_a, fill_t, BND_SQL_DONE);
    assert_int_equal(digest_of(rig, uuid_a, 0, &later), 0);
    assert_int_equal(later.digest.at.version, before.version + 1);
    assert_true(later.digest.pages > first.digest.pages);
    assert_int_not_equal(later.digest.hash, first.digest.hash);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_restore(rig->sql, &admin.admin, uuid_a, &before)), 0);
    const struct digested *const known[] = {&first, &later};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(digest_of(rig, uuid_a, before.version + i, &again), 0);
        assert_int_equal(again.digest.hash, known[i]->digest.hash);
        assert_int_equal(again.digest.pages, known[i]->digest.pages);
        assert_memory_equal(&again.digest.at, &known[i]->digest.at, sizeof again.digest.at);
    }
    assert_int_equal(digest_of(rig, uuid_a, 0, &again), 0);
    assert_int_equal(again.digest.at.version, before.version + 2);
    assert_int_equal(digest_of(rig, uuid_a, before.version + 3, &again), BND_BUSY);
}

/* A hash that is asked for, and kept from the pool. */
static void digest_begin(struct sql_rig *rig, enum time_pool pool, struct digested *out) {
    *out = (struct digested){.digest = {.cb = on_digest, .data = out}};
    time_rig.pool = pool;
    assert_int_equal(bnd_sql_digest(rig->sql, &out->digest, uuid_a, 0), 0);
    time_rig.pool = TIME_POOL_AS_IT_IS;
}

static void what_is_deleted_meanwhile_is_not_told(void **state) {
    struct sql_rig *rig = *state;
    struct digested digested;
    struct rig_admin admin;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    digest_begin(rig, TIME_POOL_HOLDS, &digested);
    rig_admin_begin(&admin);
    assert_int_equal(
        rig_admin_wait(rig, &admin, bnd_sql_delete_database(rig->sql, &admin.admin, uuid_a)), 0);
    time_work_on(rig->env);
    rig_run(rig, rig_flag, &digested.done);
    assert_int_equal(digested.status, BND_BUSY);
    assert_int_equal(digest_of(rig, uuid_a, 0, &digested), BND_NOTFOUND);
}

static bool group_is_gone(void *data) {
    struct bnd_raft_group_status status;
    return bnd_raft_group_status(((struct sql_rig *)data)->host, RIG_GID, &status) != 0;
}

/* By a replica with the same database in it: whoever asks again is told that one's. */
static void what_is_replaced_meanwhile_is_not_told(void **state) {
    struct sql_rig *rig = *state;
    struct digested digested;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    digest_begin(rig, TIME_POOL_HOLDS, &digested);
    assert_int_equal(bnd_raft_group_destroy(rig->host, RIG_GID), 0);
    rig_run(rig, group_is_gone, rig);
    rig_found(rig);
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    time_work_on(rig->env);
    rig_run(rig, rig_flag, &digested.done);
    assert_int_equal(digested.status, BND_BUSY);
    assert_int_equal(digest_of(rig, uuid_a, 0, &digested), 0);
    assert_true(digested.digest.hash == hash_of(rig));
}

static void a_hash_waits_for_the_pool(void **state) {
    struct sql_rig *rig = *state;
    struct digested digested;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    digest_begin(rig, TIME_POOL_IS_FULL, &digested);
    rig_run(rig, rig_flag, &digested.done);
    assert_int_equal(digested.status, 0);
    assert_true(digested.digest.hash == hash_of(rig));
}

/* What waits for the pool, and what is on it. */
static void every_hash_is_told_once_when_the_service_closes(void **state) {
    struct sql_rig rig = {.holds_time = true};
    struct digested waits;
    struct digested runs;
    (void)state;
    rig_start(&rig, 0);
    (void)rig_expect(&rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    digest_begin(&rig, TIME_POOL_IS_FULL, &waits);
    digest_begin(&rig, TIME_POOL_AS_IT_IS, &runs);
    rig_stop(&rig);
    assert_true(waits.told == 1 && waits.status == BND_CANCELED);
    assert_true(runs.told == 1 && runs.status == BND_CANCELED);
}

/* More pages than are read at once: for who is gone it is not read to its end. */
static void a_hash_that_nobody_wants_is_given_up(void **state) {
    struct sql_rig *rig = *state;
    struct digested all;
    struct digested part;
    (void)rig_expect(rig, uuid_a, "CREATE TABLE t(v)\0", BND_SQL_DONE);
    (void)rig_expect(rig, uuid_a,
                     "INSERT INTO t SELECT zeroblob(900000) FROM json_each('[1,2,3,4,5,6]')\0",
                     BND_SQL_DONE);
    assert_int_equal(digest_of(rig, uuid_a, 0, &all), 0);
    assert_true(all.digest.pages > 2 * 512);
    assert_int_equal(digest_while(rig, uuid_a, 0, once, &part), BND_CANCELED);
    assert_int_equal(part.asked, 2);
}

static int start(void **state) {
    return rig_setup(state, (struct sql_rig){.holds_time = true}, 0);
}

#define TEST(name) RIG_TEST(name, start)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(pages_are_read_as_they_are),
        TEST(every_page_is_in_the_hash),
        TEST(versions_are_hashed_as_they_were),
        TEST(a_hash_that_nobody_wants_is_given_up),
        TEST(what_is_deleted_meanwhile_is_not_told),
        TEST(what_is_replaced_meanwhile_is_not_told),
        TEST(a_hash_waits_for_the_pool),
        cmocka_unit_test(every_hash_is_told_once_when_the_service_closes),
    };
    return cmocka_run_group_tests(tests, rig_library, NULL);
}
