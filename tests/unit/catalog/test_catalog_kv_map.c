/* The map of KV's shards in group 0: what the commands change, what views tell, whom a decommission
 * waits for, and what a recovery leaves. */
#include "catalog/view.h"
#include "tests/unit/catalog/machine.h"

static int map_command(struct machine *m, enum bnd_catalog_op op, uint32_t shard, uint64_t epoch,
                       const uint64_t *numbers, size_t count) {
    struct bnd_buf bytes = {0};
    for (size_t i = 0; i < count; i++) {
        bnd_buf_u64(&bytes, numbers[i]);
    }
    struct bnd_catalog_command command = {
        .op = op, .id = shard, .number = epoch, .a = bnd_buf_slice(&bytes)};
    int rv = apply(m, &command);
    bnd_buf_free(&bytes);
    return rv;
}
#define DO(m, op, shard, epoch, ...)                                                               \
    map_command(m, BND_CATALOG_KV_MAP_##op, shard, epoch, (const uint64_t[]){__VA_ARGS__},         \
                sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static struct catalog_view *view_of(struct machine *m, uint8_t version) {
    static const uint8_t cluster_key[BND_CLUSTER_KEY_LEN] = {0};
    struct catalog_view *view = NULL;
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW,
                                  .a = bnd_slice(&version, version > 1 ? 1 : 0)};
    assert_int_equal(query(m, &q), 0);
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&m->reply), cluster_key, &view), 0);
    return view;
}

static uint64_t revision(struct machine *m) {
    struct catalog_view *view = view_of(m, 2);
    uint64_t number = view->view.revision;
    catalog_view_free(view);
    return number;
}

static struct bnd_kv_shard shard_of(struct machine *m, uint32_t number) {
    struct catalog_view *view = view_of(m, 2);
    assert_int_equal(view->view.kv_shards_count, 64);
    struct bnd_kv_shard shard = view->view.kv_shards[number];
    catalog_view_free(view);
    return shard;
}

/* Node ids 2 and up join a cluster of node 1. */
static void join_nodes(struct machine *m, size_t count) {
    for (uint8_t i = 0; i < count; i++) {
        uint8_t hash[BND_SECRET_HASH_LEN] = {i};
        struct bnd_buf join = {0};
        struct bnd_buf node = {0};
        struct bnd_join_record token = {.secret_hash = bnd_slice(hash, sizeof hash),
                                        .expires_ms = m->stamp_ms + 1000};
        struct bnd_node_record record = {.state = BND_NODE_ACTIVE,
                                         .role = BND_NODE_STORAGE,
                                         .weight = 100,
                                         .key_hash = bnd_slice(hash, sizeof hash)};
        bnd_join_encode(&join, &token);
        bnd_node_encode(&node, &record);
        struct bnd_catalog_command put = {
            .op = BND_CATALOG_JOIN_TOKEN, .a = bnd_slice(&i, 1), .b = bnd_buf_slice(&join)};
        assert_int_equal(apply(m, &put), 0);
        struct bnd_catalog_command command = {.op = BND_CATALOG_JOIN,
                                              .a = bnd_slice(&i, 1),
                                              .b = bnd_buf_slice(&node),
                                              .c = bnd_slice(hash, sizeof hash)};
        assert_int_equal(apply(m, &command), 0);
        bnd_buf_free(&join);
        bnd_buf_free(&node);
    }
}

static int set_state(struct machine *m, uint64_t node, enum bnd_node_state state) {
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_NODE_STATE, .id = node, .number = state, .a = bnd_slice_str("force")};
    return apply(m, &command);
}

static void a_shard_moves_and_its_horizon_is_collected(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    join_nodes(m, 3);
    assert_int_equal(shard_of(m, 5).epoch, 0);
    assert_int_equal(DO(m, INIT, 5, 0, 1, 2, 3), 0);
    assert_int_equal(DO(m, INIT, 5, 0, 1, 2, 3), BND_EPOCH);
    assert_int_equal(DO(m, MOVE, 5, 1, 4, 2), 0);
    assert_int_equal(DO(m, MOVE, 5, 1, 4, 3), BND_EPOCH);
    assert_int_equal(DO(m, MOVE, 5, 2, 0, 3), BND_BUSY);
    struct bnd_kv_shard shard = shard_of(m, 5);
    assert_int_equal(shard.epoch, 2);
    assert_int_equal(shard.leaving, 2);
    assert_true(shard.replicas_count == 3 && shard.replicas[2].node == 4);
    assert_false(shard.replicas[2].filled);
    assert_int_equal(DO(m, FILLED, 5, 2, 4, 0), 0);
    assert_int_equal(DO(m, LEFT, 5, 2, 2), 0);
    assert_int_equal(DO(m, PROPOSE, 5, 2, 1000), 0);
    assert_int_equal(DO(m, CONFIRM, 5, 2, 1, 1000, 3, 4), 0);
    assert_int_equal(DO(m, CONFIRM, 5, 2, 3, 1000, 1, 4), 0);
    assert_int_equal(shard_of(m, 5).collected, 0);
    assert_int_equal(DO(m, UNFILLED, 5, 2, 4), 0);
    shard = shard_of(m, 5);
    assert_int_equal(shard.collected, 1000);
    assert_int_equal(shard.epoch, 3);
    assert_int_equal(shard_of(m, 4).epoch, 0);
}

static void what_changes_nothing_is_no_revision(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    join_nodes(m, 1);
    uint64_t before = revision(m);
    assert_int_equal(DO(m, INIT, 0, 0, 1, 2), 0);
    assert_int_equal(revision(m), before + 1);
    assert_int_equal(DO(m, FILLED, 0, 1, 2, 0), 0); /* told again */
    assert_int_equal(DO(m, LEFT, 0, 1, 2), BND_NOTFOUND);
    assert_int_equal(revision(m), before + 1);
}

static void nonsense_is_refused(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    join_nodes(m, 2);
    uint64_t before = revision(m);
    assert_int_equal(DO(m, INIT, 64, 0, 1), BND_INVALID);
    assert_int_equal(DO(m, INIT, 0, 0, 9), BND_PRECONDITION);
    assert_int_equal(DO(m, INIT, 0, UINT64_C(1) << 32, 1), BND_INVALID);
    assert_int_equal(map_command(m, BND_CATALOG_KV_MAP_INIT, 0, 0, NULL, 0), BND_INVALID);
    assert_int_equal(DO(m, MOVE, 0, 1, 2), BND_INVALID);
    assert_int_equal(DO(m, CONFIRM, 0, 1, 2), BND_INVALID);
    assert_int_equal(DO(m, CONFIRM, 0, 1, 1, 2, 3, 4, 5, 6), BND_INVALID);
    struct bnd_catalog_command odd = {.op = BND_CATALOG_KV_MAP_LEFT, .a = bnd_slice_str("odd")};
    assert_int_equal(apply(m, &odd), BND_INVALID);
    assert_int_equal(set_state(m, 3, BND_NODE_LEAVING), 0);
    assert_int_equal(DO(m, INIT, 0, 0, 1, 3), BND_PRECONDITION);
    assert_int_equal(revision(m), before + 1);
}

static void a_node_is_gone_only_when_no_shard_needs_it(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    join_nodes(m, 2);
    assert_int_equal(DO(m, INIT, 63, 0, 1, 2), 0);
    assert_int_equal(set_state(m, 2, BND_NODE_LEAVING), 0);
    assert_int_equal(set_state(m, 2, BND_NODE_GONE), BND_PRECONDITION);
    assert_int_equal(DO(m, MOVE, 63, 1, 3, 2), 0);
    assert_int_equal(set_state(m, 2, BND_NODE_GONE), BND_PRECONDITION); /* it hands over */
    assert_int_equal(DO(m, LEFT, 63, 2, 2), 0);
    assert_int_equal(set_state(m, 2, BND_NODE_GONE), 0);
}

static void a_recovery_leaves_the_survivor(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    join_nodes(m, 3);
    assert_int_equal(DO(m, INIT, 0, 0, 1, 2, 3), 0);
    assert_int_equal(DO(m, INIT, 1, 0, 2, 3, 4), 0);
    assert_int_equal(DO(m, MOVE, 0, 1, 4, 1), 0);
    struct bnd_catalog_command recover = {.op = BND_CATALOG_RECOVER, .id = 1};
    assert_int_equal(apply(m, &recover), 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct bnd_kv_shard shard = shard_of(m, i);
        assert_true(shard.epoch > 1000000);
        assert_int_equal(shard.replicas_count, 1);
        assert_int_equal(shard.replicas[0].node, 1);
        assert_true(shard.replicas[0].filled);
        assert_int_equal(shard.leaving, 0);
    }
    assert_int_equal(shard_of(m, 2).epoch, 0);
}

/* A process of the version before asks without sections, and a view without the map says so. */
static void a_view_without_sections_has_no_map(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(DO(m, INIT, 0, 0, 1), 0);
    struct catalog_view *view = view_of(m, 1);
    assert_int_equal(view->view.kv_shards_count, 0);
    assert_null(view->view.kv_shards);
    catalog_view_free(view);
}

static void a_damaged_section_is_corrupt(void **state) {
    struct machine *m = *state;
    static const uint8_t key[BND_CLUSTER_KEY_LEN] = {0};
    static const uint8_t version = 2;
    init_cluster(m);
    assert_int_equal(DO(m, INIT, 63, 0, 1), 0);
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW, .a = bnd_slice(&version, 1)};
    assert_int_equal(query(m, &q), 0);
    size_t map = 4 + 4 + (1 + 4 + 3 * 8 + 1 + 17); /* shard, length, the map of one replica */
    size_t at = m->reply.len - map;                /* of the shard's number */
    struct catalog_view *view = NULL;
    m->reply.data[at] = 64; /* there is none */
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&m->reply), key, &view), BND_CORRUPT);
    m->reply.data[at] = 63;
    m->reply.data[at + 8] ^= 1; /* its version */
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&m->reply), key, &view), BND_CORRUPT);
    m->reply.data[at + 8] ^= 1;
    m->reply.data[at - 4] = 2; /* more than there are */
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&m->reply), key, &view), BND_CORRUPT);
    m->reply.data[at - 4] = 1;
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&m->reply), key, &view), 0);
    catalog_view_free(view);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shard_moves_and_its_horizon_is_collected, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_changes_nothing_is_no_revision, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_is_gone_only_when_no_shard_needs_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_recovery_leaves_the_survivor, setup, teardown),
        cmocka_unit_test_setup_teardown(a_view_without_sections_has_no_map, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_section_is_corrupt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
