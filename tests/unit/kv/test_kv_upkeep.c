/* What goes on in the background comes to its end, whatever else happens to the namespaces. */
#include "tests/unit/kv/cluster.h"

#define FIRST 100u  /* id of the first of the other namespaces, */
#define OTHERS 200u /* of which a tick looks at 64 */

static struct cluster cluster;

/* A key of this namespace in that shard. */
static struct bnd_slice key_in(uint32_t shard, uint64_t namespace_id, char out[16]) {
    struct bnd_slice key;
    unsigned i = 0;
    do {
        key = bnd_slice(out, (size_t)snprintf(out, 16, "k%u", i++));
    } while (bnd_shard_of(BND_GROUP_KV, namespace_id, key, SHARDS) != shard);
    return key;
}

/* A record of the namespace, as if it had come long ago. */
static void store_record(struct kv_node *node, uint32_t shard, uint64_t namespace_id) {
    char text[16];
    uint8_t encoded[64];
    struct kv_applied applied;
    const struct kv_record record = {
        .version = {.hlc = 1, .writer = 1}, .epoch = 1, .size = 1, .value = bnd_slice("v", 1)};
    assert_true(kv_record_bytes(&record) <= sizeof encoded);
    kv_record_encode(&record, encoded);
    const struct kv_apply apply = {.shard = shard,
                                   .namespace_id = namespace_id,
                                   .key = key_in(shard, namespace_id, text),
                                   .record = bnd_slice(encoded, kv_record_bytes(&record))};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(kv_store_apply(node->kv->store, &apply, &applied), 0);
    assert_int_equal(applied.outcome, KV_WON);
    bnd_sim_env_leave(node->sim);
}

static bool has_records(struct kv_node *node, uint32_t shard, uint64_t namespace_id) {
    uint64_t found = 0;
    bnd_sim_env_enter(node->sim);
    assert_int_equal(kv_store_namespace_next(node->kv->store, shard, namespace_id, &found), 0);
    bnd_sim_env_leave(node->sim);
    return found == namespace_id;
}

/* Many namespaces have something in shard 0, NS has something in shard 1. */
static void open_crowded(void) {
    cluster_open(&cluster, 1, 0);
    struct kv_node *node = &cluster.nodes[0];
    for (uint64_t i = 0; i < OTHERS; i++) {
        cluster.namespaces[cluster.namespaces_count++] = (struct bnd_kv_namespace){.id = FIRST + i};
        store_record(node, 0, FIRST + i);
    }
    store_record(node, 1, NS);
    cluster.namespace_next = FIRST + OTHERS;
    cluster_changed(&cluster);
    run_for(&cluster, 20 * SECOND); /* what had been to look at is done */
    assert_true(has_records(node, 1, NS));
}

static void delete_first(void) {
    cluster.namespaces_count--;
    memmove(cluster.namespaces, cluster.namespaces + 1,
            cluster.namespaces_count * sizeof cluster.namespaces[0]);
    cluster_changed(&cluster);
}

static void make_another(void) {
    cluster.namespaces[cluster.namespaces_count++] =
        (struct bnd_kv_namespace){.id = cluster.namespace_next++};
    cluster_changed(&cluster);
}

/* Namespaces come faster than a look at all shards takes. */
static void test_a_deletion_ends_while_namespaces_are_made(void **state) {
    (void)state;
    open_crowded();
    delete_first(); /* NS */
    for (unsigned i = 0; i < 40; i++) {
        make_another();
        run_for(&cluster, 50 * BND_MS);
    }
    assert_false(has_records(&cluster.nodes[0], 1, NS));
    cluster_close(&cluster);
}

/* Others go as fast: none is forgotten, and none keeps the look from the later shards. */
static void test_a_deletion_ends_while_others_are_deleted(void **state) {
    (void)state;
    open_crowded();
    delete_first();
    for (unsigned i = 0; i < 60; i++) {
        delete_first();
        run_for(&cluster, 50 * BND_MS);
    }
    assert_false(has_records(&cluster.nodes[0], 1, NS));
    run_for(&cluster, 20 * SECOND);
    for (uint64_t i = 0; i < OTHERS; i++) {
        assert_int_equal(has_records(&cluster.nodes[0], 0, FIRST + i), i >= 60);
    }
    cluster_close(&cluster);
}

/* The look is behind it already when it is deleted. */
static void test_what_the_look_has_passed_comes_again(void **state) {
    (void)state;
    open_crowded();
    delete_first();
    run_for(&cluster, 120 * BND_MS);
    assert_true(cluster.nodes[0].kv->upkeep.drop_namespace > FIRST);
    assert_int_equal(cluster.nodes[0].kv->upkeep.drop_shard, 0);
    delete_first();
    run_for(&cluster, 5 * SECOND); /* before all is looked at a second time */
    assert_false(has_records(&cluster.nodes[0], 0, FIRST));
    cluster_close(&cluster);
}

/* It was made and deleted between two views. */
static void test_what_was_never_seen_goes_too(void **state) {
    (void)state;
    open_crowded();
    store_record(&cluster.nodes[0], 1, cluster.namespace_next);
    run_for(&cluster, SECOND);
    cluster.namespace_next++;
    make_another();
    run_for(&cluster, 20 * SECOND);
    assert_false(has_records(&cluster.nodes[0], 1, cluster.namespace_next - 2));
    assert_true(has_records(&cluster.nodes[0], 1, NS));
    cluster_close(&cluster);
}

/* Pieces that nobody names go while namespaces are deleted one after the other. */
static void test_pieces_are_swept_meanwhile(void **state) {
    static const uint8_t blob[KV_BLOB_ID_BYTES] = {[7] = 1};
    const struct kv_piece piece = {.shard = 1,
                                   .namespace_id = NS,
                                   .key = bnd_slice_str("large"),
                                   .blob = blob,
                                   .bytes = bnd_slice_str("piece")};
    uint32_t pieces = 0;
    bool lacks = false;
    (void)state;
    open_crowded();
    struct kv_node *node = &cluster.nodes[0];
    bnd_sim_env_enter(node->sim);
    assert_int_equal(kv_store_piece_put(node->kv->store, &piece, 1, &lacks), 0);
    bnd_sim_env_leave(node->sim);
    for (unsigned i = 0; i < 100; i++) {
        delete_first();
        run_for(&cluster, 50 * BND_MS);
    }
    bnd_sim_env_enter(node->sim);
    assert_int_equal(kv_store_pieces(node->kv->store, 1, blob, &pieces), 0);
    bnd_sim_env_leave(node->sim);
    assert_int_equal(pieces, 0);
    cluster_close(&cluster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deletion_ends_while_namespaces_are_made),
        cmocka_unit_test(test_a_deletion_ends_while_others_are_deleted),
        cmocka_unit_test(test_what_the_look_has_passed_comes_again),
        cmocka_unit_test(test_what_was_never_seen_goes_too),
        cmocka_unit_test(test_pieces_are_swept_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
