/* When a process asks group 0 for its view again. Group 0 is the real state machine; only the way
 * to it is the test's own (bnd_shard_call is defined here), so that the order of asking and
 * answering is. */
#include "catalog/catalog.h"
#include "tests/unit/catalog/machine.h"

struct way {
    struct bnd_shard_call *under_way;
    unsigned asked;
};
static struct way way;

int bnd_shard_call(struct bnd_shard_client *client, struct bnd_shard_call *call,
                   enum bnd_shard_call_kind kind, uint64_t gid, const struct bnd_slice *parts,
                   size_t count, uint64_t timeout_ns) {
    (void)client;
    (void)kind;
    (void)gid;
    (void)parts;
    (void)count;
    (void)timeout_ns;
    assert_null(way.under_way); /* one question at a time */
    way.under_way = call;
    way.asked++;
    return 0;
}

void bnd_shard_call_cancel(struct bnd_shard_call *call) {
    way.under_way = way.under_way == call ? NULL : way.under_way;
}

struct watcher {
    struct bnd_catalog *catalog;
    bool asks; /* for more, as soon as it is told of a change */
    uint64_t question;
    unsigned told;
};

static void changed(void *owner, const struct bnd_catalog_view *view) {
    struct watcher *watcher = owner;
    (void)view;
    watcher->told++;
    if (watcher->asks) {
        watcher->question = bnd_catalog_refresh(watcher->catalog);
    }
}

static void answer(struct machine *m) {
    static const uint8_t version = BND_CATALOG_VIEW_SECTIONS;
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW,
                                  .a = bnd_slice(&version, sizeof version)};
    struct bnd_shard_call *call = way.under_way;
    assert_int_equal(query(m, &q), 0);
    way.under_way = NULL;
    call->cb(call, 0, bnd_buf_slice(&m->reply));
}

static struct bnd_catalog *open_catalog(struct machine *m, struct watcher *watcher) {
    struct bnd_catalog_config config = {
        .env = bnd_sim_env(m->env), .owner = watcher, .changed = changed};
    init_cluster(m);
    way = (struct way){0};
    assert_int_equal(bnd_catalog_create(&config, &watcher->catalog), 0);
    assert_int_equal(way.asked, 1);
    return watcher->catalog;
}

static void a_question_while_one_is_under_way_is_asked_after_it(void **state) {
    struct machine *m = *state;
    struct watcher watcher = {0};
    struct bnd_catalog *catalog = open_catalog(m, &watcher);
    uint64_t question = bnd_catalog_refresh(catalog);
    answer(m);
    assert_false(bnd_catalog_answered(catalog, question));
    assert_int_equal(way.asked, 2);
    answer(m);
    assert_true(bnd_catalog_answered(catalog, question));
    assert_int_equal(way.asked, 2);
    bnd_catalog_destroy(catalog);
}

/* KV does so when it is told of shards that were just made. */
static void who_is_told_of_a_change_may_ask_again(void **state) {
    struct machine *m = *state;
    struct watcher watcher = {.asks = true};
    struct bnd_catalog *catalog = open_catalog(m, &watcher);
    uint64_t question = bnd_catalog_refresh(catalog); /* a second one waits for the first */
    answer(m);
    assert_int_equal(watcher.told, 1);
    assert_int_equal(watcher.question, question); /* one question is asked for both */
    assert_int_equal(way.asked, 2);
    assert_false(bnd_catalog_answered(catalog, question));
    answer(m);
    assert_true(bnd_catalog_answered(catalog, question));
    assert_int_equal(way.asked, 2);
    bnd_catalog_destroy(catalog);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_question_while_one_is_under_way_is_asked_after_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_is_told_of_a_change_may_ask_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
