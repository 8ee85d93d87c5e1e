/* Segments put together by hand, with right checksums: what verifies and cannot be is refused all
 * the same. */
#include "engine/journal/format.h"
#include "tests/unit/engine/journal_model.h"

#define BYTES (16 * JOURNAL_BLOCK)

struct forge {
    struct fixture f;
    uint8_t file[BYTES];
    struct journal_place place;
    uint64_t number; /* of the next batch */
    uint8_t batch[3 * JOURNAL_BLOCK];
    size_t len;
    uint32_t records;
};

static void begin(struct forge *g, uint64_t generation) {
    memset(g->file, 0, sizeof g->file);
    g->place =
        (struct journal_place){.salt = 77, .generation = generation, .offset = JOURNAL_BLOCK};
    const struct journal_segment_header header = {
        .cluster_id = 7, .node_id = 3, .generation = generation, .salt = 77, .bytes = BYTES};
    journal_segment_header_encode(&header, g->file);
    g->len = JOURNAL_BATCH_HEADER;
    g->records = 0;
}

static void open_forge(struct forge *g) {
    fixture_init(&g->f, 5);
    struct bnd_error err;
    assert_int_equal(fixture_open(&g->f, &err), 0); /* makes the directory */
    fixture_close(&g->f);
    g->number = 1;
    begin(g, 1);
}

static void add(struct forge *g, struct journal_record record) {
    journal_record_encode(&record, g->batch + g->len);
    g->len += journal_record_bytes(&record);
    g->records++;
}

/* Ends the batch; more: counted and not there. */
static void seal(struct forge *g, uint32_t more) {
    const struct journal_batch_header header = {.length = (uint32_t)g->len,
                                                .records = g->records + more,
                                                .number = g->number++,
                                                .lsn_last = 50};
    journal_batch_seal(g->batch, &g->place, &header);
    memcpy(g->file + g->place.offset, g->batch, g->len);
    g->place.offset += (g->len + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK * JOURNAL_BLOCK;
    g->len = JOURNAL_BATCH_HEADER;
    g->records = 0;
}

static void store(struct forge *g, const char *name, size_t len) {
    struct bnd_env *env = &g->f.world->env;
    struct bnd_file *file = NULL;
    struct bnd_error err;
    char path[64];
    (void)snprintf(path, sizeof path, "data/journal/%s.seg", name);
    (void)env->ops->unlink(env, path, &err);
    assert_int_equal(env->ops->file_open(env, path, BND_OPEN_WRITE | BND_OPEN_CREATE, &file, &err),
                     0);
    assert_int_equal(env->ops->file_pwrite(env, file, g->file, len, 0, &err), 0);
    assert_int_equal(env->ops->file_sync(env, file, &err), 0);
    env->ops->file_close(env, file);
    assert_int_equal(env->ops->dir_sync(env, "data/journal", &err), 0);
}

static int open_as(struct forge *g, const char *name) {
    struct bnd_error err;
    store(g, name, BYTES);
    int rv = fixture_open(&g->f, &err);
    fixture_close(&g->f);
    return rv;
}

#define FIRST "0000000000000001"

static int result(struct forge *g) {
    seal(g, 0);
    int rv = open_as(g, FIRST);
    fixture_free(&g->f);
    return rv;
}

static struct journal_record create_of(uint64_t gid) {
    return (struct journal_record){.kind = JOURNAL_CREATE, .gid = gid};
}

static struct journal_record entry_of(uint64_t gid, uint64_t index) {
    return (struct journal_record){
        .kind = JOURNAL_ENTRY,
        .gid = gid,
        .entry = {.index = index, .term = 1, .data = bnd_slice_str("x")}};
}

static struct journal_record mark(enum journal_kind kind, uint64_t count) {
    return (struct journal_record){.kind = kind, .count = count};
}

static struct journal_record group_of(uint64_t gid, uint64_t term) {
    return (struct journal_record){
        .kind = JOURNAL_CHECKPOINT_GROUP, .gid = gid, .exists = true, .term = term};
}

static void what_may_follow_opens(void **state) {
    struct forge g;
    open_forge(&g);
    add(&g, create_of(1));
    add(&g, entry_of(1, 1));
    add(&g, mark(JOURNAL_CHECKPOINT_BEGIN, 1));
    struct journal_record group = group_of(1, 0);
    group.last = 1;
    add(&g, group);
    add(&g, mark(JOURNAL_CHECKPOINT_END, 1));
    assert_int_equal(result(&g), 0);
}

static void records_that_cannot_follow(void **state) {
    const struct {
        struct journal_record records[4];
        size_t count;
    } wrong[] = {
        {{entry_of(1, 1)}, 1},               /* of no group */
        {{create_of(1), create_of(1)}, 2},   /* twice */
        {{create_of(1), entry_of(1, 2)}, 2}, /* a gap */
        {{create_of(1), group_of(1, 0)}, 2}, /* outside of a checkpoint */
        {{create_of(1), mark(JOURNAL_CHECKPOINT_END, 1)}, 2},
        {{create_of(1), mark(JOURNAL_CHECKPOINT_BEGIN, 1), entry_of(1, 1)}, 3}, /* inside of one */
        {{create_of(1), mark(JOURNAL_CHECKPOINT_BEGIN, 1), group_of(1, 9)},
         3}, /* with another term */
        {{create_of(1), mark(JOURNAL_CHECKPOINT_BEGIN, 1), group_of(2, 0)},
         3}, /* nobody knows it */
        {{create_of(1), mark(JOURNAL_CHECKPOINT_BEGIN, 1), mark(JOURNAL_CHECKPOINT_END, 1)}, 3},
        {{create_of(1), mark(JOURNAL_CHECKPOINT_BEGIN, 2), group_of(1, 0),
          mark(JOURNAL_CHECKPOINT_END, 1)},
         4},
        {{create_of(1), mark(JOURNAL_CHECKPOINT_BEGIN, 0), mark(JOURNAL_CHECKPOINT_END, 0)}, 3},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct forge g;
        open_forge(&g);
        for (size_t r = 0; r < wrong[i].count; r++) {
            add(&g, wrong[i].records[r]);
        }
        if (result(&g) != BND_CORRUPT) {
            fail_msg("log %zu", i);
        }
    }
}

static void a_batch_has_the_records_it_counts(void **state) {
    struct forge g;
    open_forge(&g);
    add(&g, create_of(1));
    seal(&g, 1);
    assert_int_equal(open_as(&g, FIRST), BND_CORRUPT);
    fixture_free(&g.f);
}

static void batches_are_numbered_without_a_gap(void **state) {
    struct forge g;
    open_forge(&g);
    add(&g, create_of(1));
    seal(&g, 0);
    g.number++;
    add(&g, entry_of(1, 1));
    assert_int_equal(result(&g), BND_CORRUPT);
}

/* The log's beginning is gone: without a whole checkpoint nobody knows all groups, and without
 * their entries nobody serves them. */
static void a_log_without_its_beginning(void **state) {
    struct forge g;
    struct bnd_error err;
    for (int whole = 0; whole < 3; whole++) {
        open_forge(&g);
        struct bnd_env *env = &g.f.world->env;
        assert_int_equal(env->ops->unlink(env, "data/journal/" FIRST ".seg", &err), 0);
        (void)env->ops->unlink(env, "data/journal/0000000000000002.seg", &err);
        begin(&g, 5);
        g.number = 9;
        struct journal_record group = group_of(1, 3);
        group.last = whole == 2 ? 4 : 0;
        add(&g, mark(JOURNAL_CHECKPOINT_BEGIN, 1));
        add(&g, group);
        if (whole > 0) {
            add(&g, mark(JOURNAL_CHECKPOINT_END, 1));
        }
        seal(&g, 0);
        assert_int_equal(open_as(&g, "0000000000000005"), whole == 1 ? 0 : BND_CORRUPT);
        fixture_free(&g.f);
    }
}

static void a_file_under_another_name_or_size(void **state) {
    struct forge g;
    struct bnd_error err;
    open_forge(&g);
    begin(&g, 2);
    add(&g, create_of(1));
    seal(&g, 0);
    assert_int_equal(open_as(&g, FIRST), BND_CORRUPT);
    begin(&g, 1);
    g.number = 1;
    add(&g, create_of(1));
    seal(&g, 0);
    store(&g, FIRST, BYTES - JOURNAL_BLOCK);
    assert_int_equal(fixture_open(&g.f, &err), BND_CORRUPT);
    fixture_close(&g.f);
    fixture_free(&g.f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_follow_opens),
        cmocka_unit_test(records_that_cannot_follow),
        cmocka_unit_test(a_batch_has_the_records_it_counts),
        cmocka_unit_test(batches_are_numbered_without_a_gap),
        cmocka_unit_test(a_log_without_its_beginning),
        cmocka_unit_test(a_file_under_another_name_or_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
