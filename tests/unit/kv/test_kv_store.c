/* The store over the simulated state, and over RocksDB: the higher version stands, nothing read is
 * stale, pieces before records, what a crash leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/io/io.h"
#include "engine/rocks/rocks.h"
#include "kv/hlc.h"
#include "kv/store.h"
#include "tests/sim/state.h"

#define SHARD 3u
#define NS 7u

struct rig {
    struct bnd_sim_world *world;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *disk_store;
    struct bnd_sim_env *sim;
    struct bnd_env *io; /* RocksDB's, or NULL */
    char dir[64];
    struct bnd_state *state;
    struct kv_store *store;
    struct kv_change last;
    unsigned changes, wipes;
    uint64_t index;
    uint64_t now_ms; /* wall clock, of records that come */
};

static void on_changed(void *owner, const struct kv_change *change) {
    struct rig *rig = owner;
    rig->last = *change;
    rig->changes++;
}

static void on_wiped(void *owner, uint32_t shard) {
    struct rig *rig = owner;
    assert_int_equal(shard, SHARD);
    rig->wipes++;
}

static void store_open(struct rig *rig) {
    const struct kv_store_config config = {.state = rig->state,
                                           .cache_bytes = 1 << 20,
                                           .owner = rig,
                                           .changed = on_changed,
                                           .wiped = on_wiped};
    assert_int_equal(kv_store_create(&config, &rig->store, NULL), 0);
    rig->index = kv_store_applied(rig->store);
}

static void boot(struct rig *rig) {
    rig->sim = bnd_sim_env_create(rig->world, rig->disk, NULL, 1);
    rig->state = bnd_sim_store_open(rig->disk_store, rig->sim);
    store_open(rig);
}

static void rig_open(struct rig *rig) {
    *rig = (struct rig){0};
    rig->world = bnd_sim_world_create(1);
    rig->disk = bnd_sim_disk_create(rig->world, 1, 0);
    rig->disk_store = bnd_sim_store_create(rig->world, 1);
    boot(rig);
}

static void rig_close(struct rig *rig) {
    kv_store_destroy(rig->store);
    rig->state->ops->close(rig->state);
    bnd_sim_env_stop(rig->sim);
    bnd_sim_store_destroy(rig->disk_store);
    bnd_sim_disk_destroy(rig->disk);
    bnd_sim_world_destroy(rig->world);
}

static void rig_open_rocks(struct rig *rig) {
    *rig = (struct rig){0};
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/kv-store-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    assert_int_equal(bnd_io_env_create(NULL, &rig->io, NULL), 0);
    const struct bnd_rocks_config rocks = {
        .env = rig->io, .dir = rig->dir, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    assert_int_equal(bnd_rocks_open(&rocks, &rig->state, NULL), 0);
    store_open(rig);
}

static void rig_reopen_rocks(struct rig *rig) {
    kv_store_destroy(rig->store);
    rig->state->ops->close(rig->state);
    const struct bnd_rocks_config rocks = {
        .env = rig->io, .dir = rig->dir, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    assert_int_equal(bnd_rocks_open(&rocks, &rig->state, NULL), 0);
    store_open(rig);
}

static void rig_close_rocks(struct rig *rig) {
    kv_store_destroy(rig->store);
    rig->state->ops->close(rig->state);
    bnd_io_env_destroy(rig->io);
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf %s", rig->dir);
    assert_int_equal(system(command), 0);
}

static void commit(struct rig *rig) {
    assert_int_equal(kv_store_commit(rig->store, ++rig->index, kv_hlc_of(1)), 0);
}

/* ---- shorthands
 * -------------------------------------------------------------------------------- */

static int apply_record(struct rig *rig, const char *key, const struct kv_record *record,
                        struct kv_applied *out) {
    BND_AUTO uint8_t *bytes = bnd_alloc(kv_record_bytes(record));
    kv_record_encode(record, bytes);
    const struct kv_apply apply = {.shard = SHARD,
                                   .namespace_id = NS,
                                   .key = bnd_slice_str(key),
                                   .record = bnd_slice(bytes, kv_record_bytes(record)),
                                   .now_ms = rig->now_ms};
    return kv_store_apply(rig->store, &apply, out);
}

static enum kv_outcome put_slice(struct rig *rig, const char *key, uint64_t hlc, uint64_t writer,
                                 struct bnd_slice value) {
    const struct kv_record record = {
        .version = {hlc, writer}, .value = value, .size = (uint32_t)value.len};
    struct kv_applied applied;
    assert_int_equal(apply_record(rig, key, &record, &applied), 0);
    return applied.outcome;
}

static enum kv_outcome put(struct rig *rig, const char *key, uint64_t hlc, const char *value) {
    return put_slice(rig, key, hlc, 1, bnd_slice_str(value));
}

static enum kv_outcome delete_key(struct rig *rig, const char *key, uint64_t hlc) {
    const struct kv_record record = {.version = {hlc, 1}, .flags = KV_RECORD_TOMBSTONE};
    struct kv_applied applied;
    assert_int_equal(apply_record(rig, key, &record, &applied), 0);
    return applied.outcome;
}

static void expect_slice(struct rig *rig, const char *key, struct bnd_slice value) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct kv_record record;
    assert_int_equal(kv_store_get(rig->store, SHARD, NS, bnd_slice_str(key), &bytes, &record), 0);
    assert_int_equal(record.size, value.len);
    assert_true(bnd_slice_eq(record.value, value));
    const struct kv_cached *cached = kv_store_cached(rig->store, NS, bnd_slice_str(key));
    assert_true(cached == NULL || bnd_slice_eq(cached->record.value, value));
}

static void expect(struct rig *rig, const char *key, const char *value) {
    expect_slice(rig, key, bnd_slice_str(value));
}

/* ---- versions
 * ---------------------------------------------------------------------------------- */

static void test_higher_version_stands(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_int_equal(put(&rig, "k", 10, "ten"), KV_WON);
    expect(&rig, "k", "ten"); /* not committed yet */
    assert_int_equal(put(&rig, "k", 9, "nine"), KV_LOST);
    assert_int_equal(put(&rig, "k", 10, "ten"), KV_EQUAL);
    expect(&rig, "k", "ten");
    commit(&rig);
    assert_int_equal(put(&rig, "k", 9, "nine"), KV_LOST);
    assert_int_equal(put_slice(&rig, "k", 10, 2, bnd_slice_str("by 2")), KV_WON);
    assert_int_equal(rig.last.was.version.hlc, 10);
    assert_int_equal(rig.last.was.version.writer, 1);
    assert_int_equal(rig.last.is.version.writer, 2);
    assert_int_equal(delete_key(&rig, "k", 11), KV_WON);
    assert_true(rig.last.is.tombstone);
    commit(&rig);
    assert_int_equal(put(&rig, "k", 10, "ten"), KV_LOST); /* nothing deleted comes back */
    assert_int_equal(rig.changes, 3);
    rig_close(&rig);
}

/* The cache, the batch and the state agree, whatever was read between. */
static void run_never_stale(struct rig *rig) {
    BND_AUTO uint8_t *large = bnd_zalloc(10000);
    memset(large, 'x', 10000);
    for (unsigned i = 1; i <= 300; i++) {
        char key[16];
        char value[16];
        (void)snprintf(key, sizeof key, "k%u", i % 7);
        (void)snprintf(value, sizeof value, "v%u", i);
        bool is_large = i % 3 == 0;
        struct bnd_slice bytes = is_large ? bnd_slice(large, 4000 + i * 10) : bnd_slice_str(value);
        assert_int_equal(put_slice(rig, key, i, 1, bytes), KV_WON);
        if (i % 5 == 0) {
            commit(rig);
        }
        expect_slice(rig, key, bytes);
        if (i % 11 == 0) {
            expect_slice(rig, key, bytes);
        }
    }
    commit(rig);
}

static void test_never_stale(void **state) {
    struct rig rig;
    rig_open(&rig);
    run_never_stale(&rig);
    rig_close(&rig);
}

static void test_rocks(void **state) {
    struct rig rig;
    rig_open_rocks(&rig);
    run_never_stale(&rig);
    BND_AUTO uint8_t *large = bnd_zalloc(BND_KV_INLINE_MAX);
    memset(large, 'y', BND_KV_INLINE_MAX);
    assert_int_equal(put_slice(&rig, "large", 900, 1, bnd_slice(large, BND_KV_INLINE_MAX)), KV_WON);
    commit(&rig);
    rig_reopen_rocks(&rig);
    assert_int_equal(kv_store_applied(rig.store), 62);
    expect_slice(&rig, "large", bnd_slice(large, BND_KV_INLINE_MAX));
    expect(&rig, "k5", "v299");
    memset(large, 'x', 7000);
    expect_slice(&rig, "k6", bnd_slice(large, 7000)); /* of 300 */
    rig_close_rocks(&rig);
}

/* ---- pieces
 * ------------------------------------------------------------------------------------ */

#define NOW_MS UINT64_C(1000000)
#define HOUR_MS UINT64_C(3600000)

/* By their ids they are much older than an hour. */
static const uint8_t blob_a[KV_BLOB_ID_BYTES] = {0, 0, 0, 0, 0, 0, 0, 5, 'a'};
static const uint8_t blob_b[KV_BLOB_ID_BYTES] = {0, 0, 0, 0, 0, 0, 0, 6, 'b'};

static bool piece_at(struct rig *rig, const uint8_t *blob, uint32_t number, uint64_t now_ms) {
    const struct kv_piece put = {.shard = SHARD,
                                 .namespace_id = NS,
                                 .key = bnd_slice_str("big"),
                                 .blob = blob,
                                 .number = number,
                                 .bytes = bnd_slice_str("piece")};
    bool lacks = false;
    assert_int_equal(kv_store_piece_put(rig->store, &put, now_ms, &lacks), 0);
    return !lacks;
}

static bool piece(struct rig *rig, const uint8_t *blob, uint32_t number) {
    return piece_at(rig, blob, number, NOW_MS);
}

static enum kv_outcome put_blob(struct rig *rig, uint64_t hlc, const uint8_t *blob) {
    struct kv_record record = {
        .version = {hlc, 1}, .flags = KV_RECORD_BLOB, .size = BND_KV_INLINE_MAX + 1};
    memcpy(record.blob, blob, sizeof record.blob);
    struct kv_applied applied;
    assert_int_equal(apply_record(rig, "big", &record, &applied), 0);
    return applied.outcome;
}

static bool has_piece(struct rig *rig, const uint8_t *blob, uint32_t number) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    int rv = kv_store_piece_get(rig->store, SHARD, blob, number, &bytes);
    assert_true(rv == 0 || rv == BND_NOTFOUND);
    return rv == 0;
}

static void test_pieces_before_record(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_int_equal(put_blob(&rig, 1, blob_a), KV_LACKS);
    assert_true(piece(&rig, blob_a, 0));
    assert_int_equal(put_blob(&rig, 1, blob_a), KV_LACKS);
    assert_false(piece(&rig, blob_a, 2)); /* out of order */
    assert_true(piece(&rig, blob_a, 1));
    assert_true(piece(&rig, blob_a, 0)); /* again */
    assert_int_equal(put_blob(&rig, 1, blob_a), KV_WON);
    commit(&rig);
    assert_true(has_piece(&rig, blob_a, 1));
    rig_close(&rig);
}

static void sweep(struct rig *rig, uint64_t now_ms) {
    assert_int_equal(kv_store_sweep(rig->store, SHARD, now_ms, 100), 0);
    commit(rig);
}

static void test_sweep(void **state) {
    struct rig rig;
    rig_open(&rig);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(piece(&rig, blob_a, i));
        assert_true(piece(&rig, blob_b, i));
    }
    assert_int_equal(put_blob(&rig, 1, blob_a), KV_WON);
    commit(&rig);
    /* b is nobody's, but too young, then old enough; a is named. */
    sweep(&rig, NOW_MS + HOUR_MS - 1);
    assert_true(has_piece(&rig, blob_b, 0));
    sweep(&rig, NOW_MS + HOUR_MS);
    assert_false(has_piece(&rig, blob_b, 0));
    assert_false(has_piece(&rig, blob_b, 1));
    assert_true(has_piece(&rig, blob_a, 1));
    /* Superseded: it stays for its readers, then goes. */
    rig.now_ms = NOW_MS + 5 * HOUR_MS;
    assert_int_equal(put(&rig, "big", 2, "small now"), KV_WON);
    commit(&rig);
    sweep(&rig, NOW_MS + 5 * HOUR_MS + 599999);
    assert_true(has_piece(&rig, blob_a, 0));
    sweep(&rig, NOW_MS + 5 * HOUR_MS + 600000);
    assert_false(has_piece(&rig, blob_a, 0));
    assert_false(has_piece(&rig, blob_a, 1));
    rig_close(&rig);
}

/* Of a value that is hours old the pieces come slowly, from a client or another replica: none goes
 * within the hour after the last one, and then the record finds them. */
static void test_pieces_that_come_are_not_swept(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_true(piece_at(&rig, blob_a, 0, NOW_MS));
    assert_true(piece_at(&rig, blob_a, 1, NOW_MS + HOUR_MS - 1));
    commit(&rig);
    sweep(&rig, NOW_MS + HOUR_MS);
    sweep(&rig, NOW_MS + 2 * HOUR_MS - 2);
    assert_true(has_piece(&rig, blob_a, 0));
    assert_int_equal(put_blob(&rig, 1, blob_a), KV_WON);
    commit(&rig);
    sweep(&rig, NOW_MS + 9 * HOUR_MS);
    assert_true(has_piece(&rig, blob_a, 1));
    /* Those that never find a record go, whatever was swept before. */
    assert_true(piece_at(&rig, blob_b, 0, NOW_MS + 9 * HOUR_MS));
    assert_true(piece_at(&rig, blob_b, 1, NOW_MS + 10 * HOUR_MS - 1));
    commit(&rig);
    sweep(&rig, NOW_MS + 10 * HOUR_MS);
    assert_true(has_piece(&rig, blob_b, 0));
    sweep(&rig, NOW_MS + 11 * HOUR_MS - 1);
    assert_false(has_piece(&rig, blob_b, 0));
    assert_false(has_piece(&rig, blob_b, 1));
    rig_close(&rig);
}

/* A head that an older node has written has no time: its blob is as old as its id, and whole. */
static void test_heads_without_a_time(void **state) {
    struct rig rig;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct kv_key key;
    uint32_t have = 0;
    rig_open(&rig);
    assert_true(piece(&rig, blob_a, 0));
    assert_true(piece(&rig, blob_a, 1));
    commit(&rig);
    bnd_buf_u64(&bytes, NS);
    bnd_buf_u32(&bytes, 2);
    bnd_buf_append_str(&bytes, "big");
    kv_key_piece(&key, SHARD, blob_a, 0);
    key.len -= 4;
    struct bnd_state_batch *batch = rig.state->ops->batch_create(rig.state);
    rig.state->ops->batch_put(batch, BND_CF_KV, kv_key_slice(&key), bnd_buf_slice(&bytes));
    assert_int_equal(rig.state->ops->write(rig.state, batch), 0);
    rig.state->ops->batch_destroy(batch);
    assert_int_equal(kv_store_pieces(rig.store, SHARD, blob_a, &have), 0);
    assert_int_equal(have, 2);
    assert_int_equal(put_blob(&rig, 1, blob_a), KV_WON);
    rig_close(&rig);
}

/* ---- ranges
 * ------------------------------------------------------------------------------------ */

static void test_scan_and_drop(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_int_equal(put(&rig, "b", 2, "2"), KV_WON);
    assert_int_equal(put(&rig, "a", 1, "1"), KV_WON);
    assert_int_equal(delete_key(&rig, "c", 3), KV_WON);
    commit(&rig);
    struct kv_scan scan = {0};
    struct kv_scanned found;
    const struct kv_scan_range all = {.shard = SHARD};
    assert_int_equal(kv_scan_open(&scan, rig.store, &all), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(kv_scan_next(&scan, &found), 0);
        assert_int_equal(found.namespace_id, NS);
        assert_int_equal(found.record.version.hlc, i + 1);
    }
    assert_int_equal(kv_scan_next(&scan, &found), BND_NOTFOUND);
    kv_scan_close(&scan);

    uint64_t ns = 0;
    assert_int_equal(kv_store_namespace_next(rig.store, SHARD, 1, &ns), 0);
    assert_int_equal(ns, NS);
    struct kv_key cursor = {0};
    bool more = false;
    unsigned before = rig.changes;
    assert_int_equal(kv_store_namespace_drop(rig.store, SHARD, NS, 2, 0, &cursor, &more), 0);
    assert_true(more);
    assert_int_equal(kv_store_namespace_drop(rig.store, SHARD, NS, 2, 0, &cursor, &more), 0);
    assert_false(more);
    assert_int_equal(rig.changes, before + 3);
    assert_int_equal(rig.last.was.version.hlc, 3);
    assert_int_equal(rig.last.is.version.hlc, 0);
    commit(&rig);
    assert_int_equal(kv_store_namespace_next(rig.store, SHARD, 1, &ns), 0);
    assert_int_equal(ns, 0);
    rig_close(&rig);
}

static void test_forget_only_that_version(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_int_equal(delete_key(&rig, "k", 5), KV_WON);
    assert_int_equal(put(&rig, "k", 6, "again"), KV_WON);
    const struct bnd_kv_version old = {5, 1};
    assert_int_equal(kv_store_forget(rig.store, SHARD, NS, bnd_slice_str("k"), old, 0), 0);
    expect(&rig, "k", "again");
    const struct bnd_kv_version now = {6, 1};
    assert_int_equal(kv_store_forget(rig.store, SHARD, NS, bnd_slice_str("k"), now, 0), 0);
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct kv_record record;
    assert_int_equal(kv_store_get(rig.store, SHARD, NS, bnd_slice_str("k"), &bytes, &record),
                     BND_NOTFOUND);
    rig_close(&rig);
}

/* ---- pages
 * ------------------------------------------------------------------------------------- */

static void list(struct rig *rig, const struct kv_list_query *query, const char *expected,
                 bool complete) {
    struct kv_page page = {0};
    char text[256] = "";
    assert_int_equal(kv_store_list(rig->store, query, &page), 0);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&page.entries));
    for (size_t i = 0; i < page.count; i++) {
        struct bnd_kv_list_entry entry = kv_page_entry_read(&r);
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof text - len, "%.*s,", (int)entry.key.len,
                       (const char *)entry.key.data);
    }
    assert_true(bnd_reader_done(&r));
    assert_string_equal(text, expected);
    assert_int_equal(page.complete, complete);
    kv_page_free(&page);
}

static void test_list(void **state) {
    struct rig rig;
    rig_open(&rig);
    static const uint32_t shards[] = {1, 2, 3};
    for (unsigned i = 0; i < 9; i++) {
        char key[16];
        uint8_t bytes[64];
        (void)snprintf(key, sizeof key, i < 6 ? "a%u" : "b%u", i);
        struct kv_record record = {.version = {10 + i, 1}, .expires_ms = i == 2 ? 500 : 0};
        kv_record_encode(&record, bytes);
        const struct kv_apply apply = {.shard = 1 + i % 3,
                                       .namespace_id = i == 8 ? NS + 1 : NS,
                                       .key = bnd_slice_str(key),
                                       .record = bnd_slice(bytes, kv_record_bytes(&record))};
        struct kv_applied applied;
        assert_int_equal(kv_store_apply(rig.store, &apply, &applied), 0);
    }
    commit(&rig);
    struct kv_list_query query = {.shards = shards,
                                  .shards_count = 3,
                                  .namespace_id = NS,
                                  .limit = 100,
                                  .scan_max = 1000,
                                  .now_ms = 499};
    list(&rig, &query, "a0,a1,a2,a3,a4,a5,b6,b7,", true);
    query.now_ms = 500; /* a2 has expired */
    list(&rig, &query, "a0,a1,a3,a4,a5,b6,b7,", true);
    query.limit = 2;
    query.after = bnd_slice_str("a1");
    list(&rig, &query, "a3,a4,", false);
    query.prefix = bnd_slice_str("b");
    list(&rig, &query, "b6,b7,", true);
    query.after = bnd_slice_str("b6");
    list(&rig, &query, "b7,", true);
    query.after = bnd_slice_str("c");
    list(&rig, &query, "", true);
    query.after = bnd_slice_str("");
    query.prefix = bnd_slice_str("a");
    query.scan_max = 3;
    query.limit = 100;
    list(&rig, &query, "a0,a1,", false); /* a2 was looked at too: the page goes on after it */
    rig_close(&rig);
}

/* ---- marks, and what a crash leaves
 * ------------------------------------------------------------ */

static void on_persisted(struct bnd_state_persist *request, int status) {
    *(int *)request->data = status;
}

static void persist(struct rig *rig) {
    int status = 1;
    struct bnd_state_persist request = {.cb = on_persisted, .data = &status};
    assert_int_equal(rig->state->ops->persist(rig->state, &request), 0);
    while (status == 1) {
        assert_true(bnd_sim_world_step(rig->world));
    }
    assert_int_equal(status, 0);
}

static void crash(struct rig *rig) {
    kv_store_destroy(rig->store);
    bnd_sim_env_crash(rig->sim, BND_SIM_POWER);
    boot(rig);
}

static void test_marks(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_false(kv_store_marks(rig.store, SHARD).there);
    const struct kv_marks filled = {
        .there = true, .filled = true, .epoch = 9, .refused = 4, .collected = 3};
    assert_int_equal(kv_store_marks_set(rig.store, SHARD, &filled, false), 0);
    assert_int_equal(put(&rig, "k", 1, "v"), KV_WON);
    commit(&rig);
    persist(&rig);
    crash(&rig);
    struct kv_marks marks = kv_store_marks(rig.store, SHARD);
    assert_true(marks.there && marks.filled);
    assert_int_equal(marks.epoch, 9);
    assert_int_equal(marks.refused, 4);
    assert_int_equal(marks.collected, 3);
    expect(&rig, "k", "v");
    const struct kv_marks empty = {.there = true};
    assert_int_equal(kv_store_marks_set(rig.store, SHARD, &empty, true), 0);
    assert_int_equal(rig.wipes, 1);
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    struct kv_record record;
    assert_int_equal(kv_store_get(rig.store, SHARD, NS, bnd_slice_str("k"), &bytes, &record),
                     BND_NOTFOUND);
    assert_int_equal(put(&rig, "k", 1, "v"), KV_WON); /* filled anew */
    commit(&rig);
    expect(&rig, "k", "v");
    assert_false(kv_store_marks(rig.store, SHARD).filled);
    rig_close(&rig);
}

/* What is being written is read, below what is collected meanwhile; nothing else is committed and
 * no shard wiped until that has ended. */
static void test_collects_while_it_writes(void **state) {
    struct rig rig;
    rig_open(&rig);
    const struct kv_marks empty = {.there = true};
    assert_int_equal(put(&rig, "k", 1, "first"), KV_WON);
    assert_int_equal(put(&rig, "stays", 1, "v"), KV_WON);
    assert_true(kv_store_commit_begin(rig.store, 2, kv_hlc_of(1)));
    assert_true(kv_store_dirty(rig.store));
    assert_int_equal(kv_store_collected(rig.store), 0);
    expect(&rig, "k", "first");
    assert_int_equal(put(&rig, "k", 2, "second"), KV_WON);
    assert_int_equal(put(&rig, "k", 1, "first"), KV_LOST);
    assert_int_equal(kv_store_commit(rig.store, 3, kv_hlc_of(1)), BND_BUSY);
    assert_int_equal(kv_store_marks_set(rig.store, SHARD, &empty, true), BND_BUSY);
    assert_int_equal(rig.wipes, 0);
    assert_int_equal(kv_store_commit_run(rig.store), 0);
    expect(&rig, "k", "second");
    assert_int_equal(kv_store_applied(rig.store), 0);
    kv_store_commit_end(rig.store);
    assert_int_equal(kv_store_applied(rig.store), 2);
    expect(&rig, "k", "second");
    expect(&rig, "stays", "v");
    persist(&rig);
    crash(&rig);
    assert_int_equal(kv_store_applied(rig.store), 2);
    expect(&rig, "k", "first");
    expect(&rig, "stays", "v");
    assert_false(kv_store_commit_begin(rig.store, 2, kv_hlc_of(1))); /* nothing to write */
    rig_close(&rig);
}

/* A damaged file took the marks of a shard: it is there, and must be filled again. */
static void test_marks_lost(void **state) {
    struct rig rig;
    rig_open(&rig);
    const struct kv_marks filled = {.there = true, .filled = true};
    assert_int_equal(kv_store_marks_set(rig.store, SHARD, &filled, false), 0);
    commit(&rig);
    uint8_t from[4];
    uint8_t to[4];
    bnd_put_be32(from, KV_SLOT(SHARD));
    bnd_put_be32(to, KV_SLOT(SHARD) + 1);
    assert_int_equal(rig.state->ops->drop_range(rig.state, bnd_slice(from, 4), bnd_slice(to, 4)),
                     0);
    persist(&rig);
    crash(&rig);
    assert_true(kv_store_marks(rig.store, SHARD).there);
    assert_false(kv_store_marks(rig.store, SHARD).filled);
    rig_close(&rig);
}

/* What was committed and what was not come back together with the index. */
static void test_crash_leaves_index(void **state) {
    struct rig rig;
    rig_open(&rig);
    assert_int_equal(put(&rig, "k", 1, "one"), KV_WON);
    assert_int_equal(kv_store_commit(rig.store, 5, kv_hlc_of(9)), 0);
    persist(&rig);
    assert_int_equal(put(&rig, "k", 2, "two"), KV_WON);
    assert_int_equal(kv_store_commit(rig.store, 6, kv_hlc_of(10)), 0);
    uint64_t index = 0;
    assert_int_equal(kv_store_applied_persisted(rig.store, &index), 0);
    assert_int_equal(index, 5);
    crash(&rig);
    assert_int_equal(kv_store_applied(rig.store), 5);
    assert_int_equal(kv_store_hlc(rig.store), kv_hlc_of(9));
    expect(&rig, "k", "one");
    rig_close(&rig);
}

/* A stalled state takes nothing, and loses nothing. */
static void test_stall(void **state) {
    struct rig rig;
    rig_open(&rig);
    bnd_sim_store_stall(rig.disk_store, 1000 * BND_MS);
    assert_int_equal(put(&rig, "k", 1, "one"), KV_WON);
    assert_int_equal(kv_store_commit(rig.store, 1, 1), BND_BUSY);
    expect(&rig, "k", "one");
    bnd_sim_store_stall(rig.disk_store, 0);
    assert_int_equal(kv_store_commit(rig.store, 1, 1), 0);
    expect(&rig, "k", "one");
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_higher_version_stands),
        cmocka_unit_test(test_never_stale),
        cmocka_unit_test(test_rocks),
        cmocka_unit_test(test_pieces_before_record),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_pieces_that_come_are_not_swept),
        cmocka_unit_test(test_heads_without_a_time),
        cmocka_unit_test(test_scan_and_drop),
        cmocka_unit_test(test_forget_only_that_version),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_collects_while_it_writes),
        cmocka_unit_test(test_marks_lost),
        cmocka_unit_test(test_crash_leaves_index),
        cmocka_unit_test(test_stall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
