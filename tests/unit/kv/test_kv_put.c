/* Puts and gets on a small cluster: what is acknowledged, by whom, and what is read. */
#include "tests/unit/kv/kv_cluster.h"

static struct cluster *three(uint64_t seed) {
    return cluster_open(seed, 3, 0, 3);
}

/* A key of a shard. */
static const char *key_in(uint32_t shard, char out[16]) {
    for (unsigned i = 0;; i++) {
        (void)snprintf(out, 16, "key%u", i);
        if (bnd_shard_of(BND_GROUP_KV, NS, bnd_slice_str(out), SHARDS) == shard) {
            return out;
        }
    }
}

static void test_everywhere(void **state) {
    struct cluster *c = three(1);
    (void)put(c, 1, "a", "by 1");
    run(c, 100);
    for (uint64_t id = 1; id <= 3; id++) {
        expect(c, id, "a", "by 1");
        expect(c, id, "none", NULL);
    }
    (void)put(c, 2, "a", "by 2");
    expect(c, 2, "a", "by 2"); /* at once, through the same node */
    (void)put(c, 3, "a", NULL);
    expect(c, 3, "a", NULL);
    run(c, 100);
    expect(c, 1, "a", NULL);
    struct getting getting = get(c, 1, "a");
    assert_true(getting.now);
    cluster_close(c);
}

/* Acknowledged means on two disks: whatever single node is lost with its disk afterwards. */
static void test_two_disks(void **state) {
    for (uint64_t lost = 1; lost <= 3; lost++) {
        struct cluster *c = three(10 + lost);
        (void)put(c, 1, "a", "kept");
        crash(c, lost, BND_SIM_POWER);
        for (uint64_t id = 1; id <= 3; id++) { /* and the others lose their power */
            if (id != lost) {
                crash(c, id, BND_SIM_POWER);
            }
        }
        for (uint64_t id = 1; id <= 3; id++) {
            if (id != lost) {
                restart(c, id);
            }
        }
        run(c, 3000);
        struct getting getting = {
            .get = {.namespace_id = NS, .key = bnd_slice_str("a"), .newest = true}};
        assert_int_equal(get_with(c, lost == 1 ? 2 : 1, &getting), 0);
        assert_string_equal(getting.value, "kept");
        cluster_close(c);
    }
}

static void test_one_dead(void **state) {
    struct cluster *c = three(2);
    crash(c, 3, BND_SIM_KILL);
    run(c, 5000); /* it is noticed */
    (void)put(c, 1, "a", "two are enough");
    expect(c, 1, "a", "two are enough");
    cluster_close(c);
}

static void test_too_few(void **state) {
    struct cluster *c = three(3);
    crash(c, 2, BND_SIM_KILL);
    crash(c, 3, BND_SIM_KILL);
    run(c, 5000);
    struct putting putting;
    assert_int_equal(put_in(c, 1, NS, "a", "alone", &putting), BND_UNAVAILABLE);
    expect(c, 1, "a", NULL); /* nothing is stored that cannot be acknowledged */
    assert_int_equal(put_in(c, 1, NS_LOCAL, "a", "alone", &putting), 0);
    assert_int_equal(putting.durability, BND_KV_LOCAL);
    struct bnd_kv_stats stats;
    bnd_kv_stats(node_of(c, 1)->kv, &stats);
    assert_int_equal(stats.puts_local, 1);
    restart(c, 2);
    run(c, 5000);
    assert_int_equal(put_in(c, 1, NS_LOCAL, "a", "with 2", &putting), 0);
    assert_int_equal(putting.durability, BND_KV_REPLICATED);
    cluster_close(c);
}

/* Only an answer of a filled replica counts. */
static void test_unfilled_does_not_count(void **state) {
    struct cluster *c = cluster_open(4, 4, 0, 3);
    for (uint32_t i = 0; i < SHARDS; i++) { /* 4 for 3; it is not filled while 3 and 2 are gone */
        assert_int_equal(bnd_kv_shard_move(&c->shards[i], 1, 4, 3), 0);
    }
    crash(c, 3, BND_SIM_KILL);
    crash(c, 2, BND_SIM_KILL);
    map_changed(c);
    run(c, 5000);
    struct putting putting;
    assert_int_equal(put_in(c, 1, NS, "a", "on 1 and 4", &putting), BND_UNAVAILABLE);
    restart(c, 2);
    run(c, 5000);
    (void)put(c, 1, "a", "on 1 and 2");
    cluster_close(c);
}

/* ---- order
 * ------------------------------------------------------------------------------------- */

/* A later put wins, whatever the clocks say. */
static void test_slow_clock(void **state) {
    struct cluster *c = three(5);
    node_of(c, 1)->clock.offset_ms = -450;
    run(c, 100);
    for (unsigned i = 0; i < 5; i++) {
        (void)put(c, 2, "a", "earlier");
        (void)put(c, 1, "a", "later");
        run(c, 200);
        for (uint64_t id = 1; id <= 3; id++) {
            expect(c, id, "a", "later");
        }
    }
    cluster_close(c);
}

/* The coordinator has not seen the earlier one at all: a replica that has says so. */
static void test_restamped(void **state) {
    struct cluster *c = three(6);
    node_of(c, 1)->clock.offset_ms = -450;
    c->drop_type = KV_MESSAGE_PUSHES;
    c->drop_from = 2;
    c->drop_to = 1;
    struct bnd_kv_version earlier = put(c, 2, "a", "earlier");
    struct bnd_kv_version later = put(c, 1, "a", "later");
    assert_true(kv_version_cmp(later, earlier) > 0);
    struct bnd_kv_stats stats;
    bnd_kv_stats(node_of(c, 1)->kv, &stats);
    assert_true(stats.restamped > 0);
    run(c, 500);
    expect(c, 2, "a", "later");
    expect(c, 3, "a", "later");
    cluster_close(c);
}

/* A node whose clock has jumped does not stamp, though nobody has found it out yet; nor does one
 * whose clock is known to be off. */
static void test_fast_clock(void **state) {
    struct cluster *c = three(7);
    (void)put(c, 1, "a", "before");
    node_of(c, 1)->clock.offset_ms = 60000;
    struct bnd_kv_version version = put(c, 1, "a", "not from the future");
    assert_int_not_equal(version.writer, 1);
    node_of(c, 1)->unfit = true;
    version = put(c, 1, "b", "forwarded");
    assert_int_not_equal(version.writer, 1);
    expect(c, 1, "b", "forwarded");
    cluster_close(c);
}

/* A node whose clock has been ahead since its start believes in it: the others do not take what it
 * stamps, so it acknowledges nothing. */
static void test_wrong_since_its_start(void **state) {
    struct cluster *c = three(27);
    struct putting putting;
    crash(c, 1, BND_SIM_KILL);
    node_of(c, 1)->clock.offset_ms = 60000;
    restart(c, 1);
    run(c, 5000);
    assert_int_not_equal(put_in(c, 1, NS, "a", "from the future", &putting), 0);
    expect(c, 2, "a", NULL);
    expect(c, 3, "a", NULL);
    cluster_close(c);
}

/* What was refused below a horizon is stamped again above it. */
static void test_horizon(void **state) {
    struct cluster *c = three(8);
    for (uint32_t i = 0; i < SHARDS; i++) {
        uint64_t horizon = kv_hlc_of(bnd_wall_ms(bnd_sim_env(node_of(c, 1)->sim)) + 1500);
        assert_int_equal(bnd_kv_shard_propose(&c->shards[i], 1, horizon), 0);
    }
    node_of(c, 1)->late = true;
    map_changed(c);
    run(c, 300);
    struct bnd_kv_version version = put(c, 1, "a", "above");
    assert_true(version.hlc >= c->shards[0].horizon);
    cluster_close(c);
}

/* ---- the map
 * ----------------------------------------------------------------------------------- */

/* The others know a newer epoch: nothing is acknowledged under the old one. */
static void test_epoch_fences(void **state) {
    struct cluster *c = cluster_open(9, 4, 0, 3);
    node_of(c, 1)->late = true;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&c->shards[i], 1, 4, 1), 0);
    }
    map_changed(c);
    run(c, 500);
    struct putting putting = put_of(NS, "a", "by the leaver");
    uint64_t wanted = node_of(c, 1)->wanted;
    put_begin(c, 1, &putting);
    run(c, 500);
    assert_int_equal(putting.status, PENDING);
    assert_true(node_of(c, 1)->wanted > wanted); /* it asks for the newer map */
    node_of(c, 1)->late = false;
    give_view(node_of(c, 1));
    assert_int_equal(put_wait(c, &putting), 0); /* forwarded to one that holds the shard now */
    assert_int_not_equal(putting.version.writer, 1);
    expect(c, 1, "a", "by the leaver");
    cluster_close(c);
}

static void test_stale_view(void **state) {
    struct cluster *c = three(15);
    node_of(c, 1)->blind = true;
    struct putting putting;
    assert_int_equal(put_in(c, 1, NS, "a", "v", &putting), BND_UNAVAILABLE);
    assert_int_equal(put_in(c, 1, NS_LOCAL, "a", "v", &putting), 0);
    assert_int_equal(put_in(c, 1, 9, "a", "v", &putting), BND_NOTFOUND); /* no such namespace */
    cluster_close(c);
}

static void test_no_room(void **state) {
    struct cluster *c = three(16);
    (void)put(c, 1, "a", "v");
    node_of(c, 1)->full = true;
    struct putting putting;
    assert_int_equal(put_in(c, 1, NS, "a", "w", &putting), BND_NOSPACE);
    (void)put(c, 1, "a", NULL); /* a delete is always taken */
    expect(c, 1, "a", NULL);
    cluster_close(c);
}

/* A deleted namespace: nothing more is taken, what is there goes. */
static void test_namespace_deleted(void **state) {
    struct cluster *c = three(17);
    char key[16];
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        (void)put(c, 1 + i % 3, key, "v");
    }
    c->namespaces[0] = c->namespaces[1];
    c->namespaces_count = 1;
    map_changed(c);
    run(c, 3000);
    struct putting putting;
    assert_int_equal(put_in(c, 2, NS, "a", "v", &putting), BND_NOTFOUND);
    for (uint64_t id = 1; id <= 3; id++) {
        for (uint32_t shard = 0; shard < SHARDS; shard++) {
            uint64_t found = 1;
            bnd_sim_env_enter(node_of(c, id)->sim);
            assert_int_equal(kv_store_namespace_next(node_of(c, id)->kv->store, shard, 1, &found),
                             0);
            bnd_sim_env_leave(node_of(c, id)->sim);
            assert_int_equal(found, 0);
        }
    }
    cluster_close(c);
}

/* ---- crashes
 * ----------------------------------------------------------------------------------- */

/* Power fails everywhere at any time: what was acknowledged is there afterwards. */
static void test_power_loss(void **state) {
    unsigned acknowledged = 0;
    for (uint64_t seed = 1; seed <= 15; seed++) {
        struct cluster *c = three(100 + seed);
        static struct putting puttings[40];
        char keys[40][16];
        char values[40][16];
        for (unsigned i = 0; i < 40; i++) {
            (void)snprintf(keys[i], 16, "k%u", i);
            (void)snprintf(values[i], 16, "v%u", i);
            puttings[i] = put_of(NS, keys[i], values[i]);
            put_begin(c, 1 + i % 3, &puttings[i]);
            bnd_sim_run_for(c->world, (seed * i) % 4 * BND_MS);
        }
        bnd_sim_run_for(c->world, seed % 8 * BND_MS);
        for (uint64_t id = 1; id <= 3; id++) {
            crash(c, id, BND_SIM_POWER);
        }
        for (uint64_t id = 1; id <= 3; id++) {
            restart(c, id);
        }
        run(c, 3000);
        for (unsigned i = 0; i < 40; i++) {
            struct getting getting = {
                .get = {.namespace_id = NS, .key = bnd_slice_str(keys[i]), .newest = true}};
            int status = get_with(c, 1 + i % 3, &getting);
            if (puttings[i].status == 0) {
                assert_int_equal(status, 0);
                assert_string_equal(getting.value, values[i]);
                acknowledged++;
            }
        }
        cluster_close(c);
    }
    assert_in_range(acknowledged, 100, 590); /* of 600: some were, and some were cut off */
}

/* What is under way when a node closes is told so. */
static void test_close_cancels(void **state) {
    struct cluster *c = three(18);
    struct putting putting = put_of(NS, "a", "v");
    put_begin(c, 1, &putting);
    kv_node_stop(node_of(c, 1));
    assert_int_equal(putting.status, BND_CANCELED);
    cluster_close(c);
}

/* Messages are lost now and then: it only takes longer. */
static void test_lost_messages(void **state) {
    struct cluster *c = three(19);
    struct bnd_sim_net_config net;
    bnd_sim_net_config_default(&net);
    net.loss_per_mille = 200;
    bnd_sim_net_configure(c->net, &net);
    char key[16];
    for (uint32_t i = 0; i < 40; i++) {
        (void)put(c, 1 + i % 3, key_in(i % SHARDS, key), "v");
    }
    cluster_close(c);
}

static void test_bad_input(void **state) {
    struct cluster *c = three(20);
    static const char long_key[BND_KV_KEY_MAX + 2] = {0};
    struct putting putting = put_of(NS, "", "v");
    put_begin(c, 1, &putting);
    assert_int_equal(putting.status, BND_INVALID);
    putting = put_of(NS, "k", "v");
    putting.put.key = bnd_slice(long_key, BND_KV_KEY_MAX + 1);
    put_begin(c, 1, &putting);
    assert_int_equal(putting.status, BND_INVALID);
    BND_AUTO uint8_t *large = bnd_zalloc(BND_KV_INLINE_MAX + 1);
    putting = put_of(NS, "k", "v");
    putting.put.value = bnd_slice(large, BND_KV_INLINE_MAX + 1);
    put_begin(c, 1, &putting);
    assert_int_equal(putting.status, BND_TOOBIG);
    putting = put_of(NS, "k", "v");
    putting.put.metadata = bnd_slice(large, BND_KV_METADATA_MAX + 1);
    put_begin(c, 1, &putting);
    assert_int_equal(putting.status, BND_TOOBIG);
    cluster_close(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everywhere),
        cmocka_unit_test(test_two_disks),
        cmocka_unit_test(test_one_dead),
        cmocka_unit_test(test_too_few),
        cmocka_unit_test(test_unfilled_does_not_count),
        cmocka_unit_test(test_slow_clock),
        cmocka_unit_test(test_restamped),
        cmocka_unit_test(test_fast_clock),
        cmocka_unit_test(test_wrong_since_its_start),
        cmocka_unit_test(test_horizon),
        cmocka_unit_test(test_epoch_fences),
        cmocka_unit_test(test_stale_view),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_namespace_deleted),
        cmocka_unit_test(test_power_loss),
        cmocka_unit_test(test_close_cancels),
        cmocka_unit_test(test_lost_messages),
        cmocka_unit_test(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
