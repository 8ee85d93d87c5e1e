/* The tree: sums that do not depend on order or on when a scan passes, and leave out what is dead.
 */
#include "kv/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS = 64 };

static const uint64_t DAY_MS = 86400000;

struct model {
    char names[KEYS][16];
    struct kv_entry now[KEYS];
    bool there[KEYS];
};

static struct kv_entry entry(const char *key, uint64_t ms, uint64_t writer) {
    return (struct kv_entry){.namespace_id = 7,
                             .key = bnd_slice_str(key),
                             .seen.version = {.hlc = kv_hlc_of(ms), .writer = writer}};
}

/* was, is: NULL where there is none. */
static void applied(struct kv_tree *tree, const struct kv_entry *was, const struct kv_entry *is) {
    const struct kv_entry *any = is != NULL ? is : was;
    const struct kv_seen none = {0};
    const struct kv_replaced replaced =
        kv_replaced(any->namespace_id, any->key, was != NULL ? was->seen : none,
                    is != NULL ? is->seen : none);
    kv_tree_applied(tree, &replaced);
}

static struct bnd_hash128 hash(const struct kv_entry *e) {
    return kv_tree_hash(e->namespace_id, e->key, e->seen.version);
}

static void model_init(struct model *model) {
    memset(model, 0, sizeof *model);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(model->names[i], sizeof model->names[i], "k%03d", i);
    }
}

static void model_apply(struct model *model, struct kv_tree *tree, int key, struct kv_entry now) {
    applied(tree, model->there[key] ? &model->now[key] : NULL, &now);
    model->now[key] = now;
    model->there[key] = true;
}

/* The tree by a scan that nothing disturbs. */
static void model_scan(const struct model *model, struct kv_tree *tree, uint64_t horizon) {
    kv_tree_begin(tree, horizon);
    for (int i = 0; i < KEYS; i++) {
        if (model->there[i] && !kv_seen_dead(model->now[i].seen, horizon)) {
            kv_tree_scanned(tree, &model->now[i]);
        }
    }
    kv_tree_finish(tree);
}

static void assert_equal_trees(const struct kv_tree *a, const struct kv_tree *b) {
    struct kv_buckets set;
    assert_int_equal(kv_tree_differing(a, b->buckets, &set), 0);
    assert_true(bnd_hash128_eq(a->root, b->root));
    assert_int_equal(a->records, b->records);
}

/* Part of what nodes say to each other: another number here is another protocol. */
static void test_hashes_are_frozen(void **state) {
    (void)state;
    struct kv_entry e = entry("key", 1700000000123, 3);
    assert_int_equal(kv_tree_bucket(7, e.key), 914);
    assert_int_equal(hash(&e).low, 0x0124a05a8a842b0f);
    assert_int_equal(hash(&e).high, 0xd0a4d666f31c8878);
}

static void test_a_change_is_in_one_bucket(void **state) {
    (void)state;
    static struct kv_tree a, b;
    struct model model;
    model_init(&model);
    kv_tree_begin(&a, 0);
    kv_tree_finish(&a);
    for (int i = 0; i < KEYS; i++) {
        model_apply(&model, &a, i, entry(model.names[i], 1000, 1));
    }
    model_scan(&model, &b, 0);
    assert_equal_trees(&a, &b);
    model_apply(&model, &a, 5, entry("k005", 1000, 2)); /* the same time, another writer */
    struct kv_buckets set;
    assert_int_equal(kv_tree_differing(&a, b.buckets, &set), 1);
    assert_true(kv_buckets_has(&set, kv_tree_bucket(7, bnd_slice_str("k005"))));
    assert_false(bnd_hash128_eq(a.root, b.root));
    applied(&a, &model.now[5], NULL); /* dropped for good */
    assert_int_equal(a.records, KEYS - 1);
}

static void test_namespaces_and_keys_do_not_run_together(void **state) {
    (void)state;
    struct kv_entry a = entry("a", 1, 1), b = entry("a", 1, 1);
    b.namespace_id = 8;
    assert_false(bnd_hash128_eq(hash(&a), hash(&b)));
    b = entry("", 1, 1);
    assert_false(bnd_hash128_eq(hash(&a), hash(&b)));
}

/* Records change before and behind the cursor, and appear and go, at every place of the scan. */
static void test_a_scan_under_changes_gives_the_same_sums(void **state) {
    (void)state;
    static struct kv_tree scanned, whole;
    srand(1);
    for (int round = 0; round < 200; round++) {
        struct model model;
        model_init(&model);
        kv_tree_begin(&scanned, 0);
        for (int i = 0; i < KEYS; i += 2) {
            model_apply(&model, &scanned, i, entry(model.names[i], 1000, 1));
        }
        assert_int_equal(scanned.records, 0); /* nothing is behind the cursor yet */
        for (int i = 0; i < KEYS; i++) {
            if (model.there[i]) {
                kv_tree_scanned(&scanned, &model.now[i]);
            } else {
                kv_tree_passed(&scanned, 7, bnd_slice_str(model.names[i]));
            }
            for (int n = rand() % 4; n > 0; n--) {
                int key = rand() % KEYS;
                model_apply(&model, &scanned, key,
                            entry(model.names[key], 2000 + (uint64_t)(rand() % 1000), 1));
            }
            int gone = rand() % KEYS;
            if (rand() % 4 == 0 && model.there[gone]) {
                applied(&scanned, &model.now[gone], NULL);
                model.there[gone] = false;
            }
        }
        kv_tree_finish(&scanned);
        model_scan(&model, &whole, 0);
        assert_equal_trees(&scanned, &whole);
    }
}

static void test_what_is_dead_below_the_horizon_is_left_out(void **state) {
    (void)state;
    static struct kv_tree tree;
    uint64_t horizon = kv_hlc_of(10 * DAY_MS);
    struct kv_entry live = entry("a", 9 * DAY_MS, 1);
    struct kv_entry deleted = entry("b", 9 * DAY_MS, 1);
    deleted.seen.tombstone = true;
    struct kv_entry expired = entry("c", 9 * DAY_MS, 1);
    expired.seen.expires_ms = 10 * DAY_MS;
    struct kv_entry expires = entry("d", 9 * DAY_MS, 1);
    expires.seen.expires_ms = 10 * DAY_MS + 1;
    struct kv_entry young = entry("e", 10 * DAY_MS, 1);
    young.seen.tombstone = true;
    kv_tree_begin(&tree, horizon);
    kv_tree_finish(&tree);
    applied(&tree, NULL, &live);
    applied(&tree, NULL, &deleted);
    applied(&tree, NULL, &expired);
    applied(&tree, NULL, &expires);
    applied(&tree, NULL, &young);
    assert_int_equal(tree.records, 3);
    struct bnd_hash128 root = tree.root;
    applied(&tree, &deleted, NULL); /* collected: a replica that has not yet is equal */
    applied(&tree, &expired, NULL);
    assert_true(bnd_hash128_eq(tree.root, root));
    assert_false(kv_seen_dead(deleted.seen, 0));
    /* The next horizon, by the next scan. */
    kv_tree_begin(&tree, kv_hlc_of(11 * DAY_MS));
    assert_int_equal(tree.records, 0);
    kv_tree_scanned(&tree, &live);
    kv_tree_passed(&tree, 7, expires.key);
    kv_tree_passed(&tree, 7, young.key);
    applied(&tree, &young, NULL);
    kv_tree_finish(&tree);
    assert_int_equal(tree.records, 1);
}

static void test_longest_keys(void **state) {
    (void)state;
    static struct kv_tree tree;
    uint8_t key[BND_KV_KEY_MAX];
    memset(key, 0xff, sizeof key);
    struct kv_entry e = entry("", 1, 1);
    e.key = bnd_slice(key, sizeof key);
    kv_tree_begin(&tree, 0);
    kv_tree_scanned(&tree, &e);
    kv_tree_finish(&tree);
    applied(&tree, &e, NULL);
    assert_true(bnd_hash128_eq(tree.root, (struct bnd_hash128){0}));
    assert_int_equal(tree.records, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes_are_frozen),
        cmocka_unit_test(test_a_change_is_in_one_bucket),
        cmocka_unit_test(test_namespaces_and_keys_do_not_run_together),
        cmocka_unit_test(test_a_scan_under_changes_gives_the_same_sums),
        cmocka_unit_test(test_what_is_dead_below_the_horizon_is_left_out),
        cmocka_unit_test(test_longest_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
