/* Who makes SQL's groups: told once, with the first database, whatever nodes do later. */
#include "catalog/view.h"
#include "tests/unit/catalog/machine.h"

static void add_node(struct machine *m, uint64_t id, enum bnd_node_state state, uint32_t weight) {
    uint8_t hash[BND_SECRET_HASH_LEN] = {(uint8_t)id};
    uint8_t name = (uint8_t)id;
    struct bnd_buf join = {0};
    struct bnd_buf node = {0};
    struct bnd_join_record token = {.secret_hash = bnd_slice(hash, sizeof hash),
                                    .expires_ms = m->stamp_ms + 1000};
    struct bnd_node_record record = {
        .state = BND_NODE_ACTIVE,
        .role = weight == 0 ? BND_NODE_GATEWAY : BND_NODE_STORAGE,
        .weight = weight,
        .key_hash = bnd_slice(hash, sizeof hash),
    };
    bnd_join_encode(&join, &token);
    bnd_node_encode(&node, &record);
    struct bnd_catalog_command put = {
        .op = BND_CATALOG_JOIN_TOKEN, .a = bnd_slice(&name, 1), .b = bnd_buf_slice(&join)};
    struct bnd_catalog_command take = {.op = BND_CATALOG_JOIN,
                                       .a = bnd_slice(&name, 1),
                                       .b = bnd_buf_slice(&node),
                                       .c = bnd_slice(hash, sizeof hash)};
    assert_int_equal(apply(m, &put), 0);
    assert_int_equal(apply(m, &take), 0);
    bnd_buf_free(&join);
    bnd_buf_free(&node);
    if (state != BND_NODE_ACTIVE) {
        struct bnd_catalog_command set = {.op = BND_CATALOG_NODE_STATE,
                                          .id = id,
                                          .number = state,
                                          .a = bnd_slice_str("force")};
        assert_int_equal(apply(m, &set), 0);
    }
}

static int create(struct machine *m, const char *name) {
    uint8_t uuid[16] = {0};
    memcpy(uuid, name, strlen(name));
    struct bnd_catalog_command command = {.op = BND_CATALOG_D1_CREATE,
                                          .number = 100,
                                          .a = bnd_slice_str(name),
                                          .b = bnd_slice(uuid, sizeof uuid)};
    return apply(m, &command);
}

struct told {
    uint64_t revision;
    size_t count;
    uint64_t founders[BND_SQL_FOUNDERS_MAX];
};

static struct told told(struct machine *m) {
    static const uint8_t cluster_key[BND_CLUSTER_KEY_LEN] = {0};
    static const uint8_t version = BND_CATALOG_VIEW_SECTIONS;
    struct catalog_view *view = NULL;
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW, .a = bnd_slice(&version, 1)};
    assert_int_equal(query(m, &q), 0);
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&m->reply), cluster_key, &view), 0);
    struct told told = {.revision = view->view.revision, .count = view->view.sql_founders_count};
    memcpy(told.founders, view->view.sql_founders, sizeof told.founders);
    catalog_view_free(view);
    return told;
}

static void the_first_database_names_the_founders(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    add_node(m, 2, BND_NODE_ACTIVE, 100);
    add_node(m, 3, BND_NODE_ACTIVE, 0); /* a gateway */
    add_node(m, 4, BND_NODE_LEAVING, 100);
    add_node(m, 5, BND_NODE_ACTIVE, 100);
    uint64_t before = told(m).revision;
    assert_int_equal(told(m).count, 0);
    assert_int_equal(create(m, "a"), 0);
    struct told first = told(m);
    assert_int_equal(first.revision, before + 1);
    assert_int_equal(first.count, 3);
    assert_true(first.founders[0] == 1 && first.founders[1] == 2 && first.founders[2] == 5);
    add_node(m, 6, BND_NODE_ACTIVE, 100000);
    before = told(m).revision;
    assert_int_equal(create(m, "b"), 0);
    struct told second = told(m);
    assert_int_equal(second.revision, before); /* nobody has to hear of a database */
    assert_int_equal(second.count, 3);
    assert_memory_equal(first.founders, second.founders, sizeof first.founders);
}

/* Who is drained for a while keeps its replicas of all groups, and is given these, too: a first
 * database must not be on fewer disks than everything else. */
static void who_is_drained_founds_too(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    add_node(m, 2, BND_NODE_DRAINING, 100);
    add_node(m, 3, BND_NODE_ACTIVE, 100);
    assert_int_equal(create(m, "a"), 0);
    struct told first = told(m);
    assert_int_equal(first.count, 3);
    assert_true(first.founders[0] == 1 && first.founders[1] == 2 && first.founders[2] == 3);
}

/* Two of two is no majority that bears anything: the second is added later, as to all groups. */
static void founders_are_as_many_as_may_vote(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    add_node(m, 2, BND_NODE_ACTIVE, 100);
    assert_int_equal(create(m, "a"), 0);
    assert_int_equal(told(m).count, 1);
}

static void without_a_node_there_is_no_database(void **state) {
    struct machine *m = *state;
    assert_int_equal(create(m, "a"), BND_PRECONDITION);
    init_cluster(m);
    assert_int_equal(told(m).count, 0);
    assert_int_equal(create(m, "a"), 0);
    assert_int_equal(told(m).count, 1);
}

/* What was not made yet is made by the survivor alone. */
static void a_recovery_leaves_the_survivor(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    add_node(m, 2, BND_NODE_ACTIVE, 100);
    add_node(m, 3, BND_NODE_ACTIVE, 100);
    struct bnd_catalog_command recover = {.op = BND_CATALOG_RECOVER, .id = 2};
    assert_int_equal(create(m, "a"), 0);
    assert_int_equal(told(m).count, 3);
    assert_int_equal(apply(m, &recover), 0);
    struct told after = told(m);
    assert_true(after.count == 1 && after.founders[0] == 2);
}

static void damaged_founders_are_told(void **state) {
    (void)state;
    static const uint64_t nodes[] = {2, 3, 7};
    uint64_t out[BND_SQL_FOUNDERS_MAX];
    size_t count = 0;
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_sql_founders_encode(&bytes, nodes, 3);
    assert_int_equal(bnd_sql_founders_decode(bnd_buf_slice(&bytes), out, &count), 0);
    assert_int_equal(count, 3);
    assert_memory_equal(out, nodes, sizeof nodes);
    for (size_t cut = 0; cut < bytes.len; cut++) {
        assert_int_equal(bnd_sql_founders_decode(bnd_slice(bytes.data, cut), out, &count),
                         BND_CORRUPT);
    }
    bytes.data[2] = 3; /* twice the same */
    assert_int_equal(bnd_sql_founders_decode(bnd_buf_slice(&bytes), out, &count), BND_CORRUPT);
    bytes.data[1] = 6;
    assert_int_equal(bnd_sql_founders_decode(bnd_buf_slice(&bytes), out, &count), BND_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_database_names_the_founders, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_drained_founds_too, setup, teardown),
        cmocka_unit_test_setup_teardown(founders_are_as_many_as_may_vote, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_node_there_is_no_database, setup, teardown),
        cmocka_unit_test_setup_teardown(a_recovery_leaves_the_survivor, setup, teardown),
        cmocka_unit_test(damaged_founders_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
