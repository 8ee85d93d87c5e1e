/* Replicas become equal, move and forget together: each promise, and what happens with its rule
 * switched off. */
#include "tests/unit/kv/cluster.h"

#include "kv/push.h"
#include "kv/spread_private.h"

/* ---- what a node holds, asked of its store ----------------------------------------------------*/

static struct kv_seen seen(struct kv_node *node, const char *key) {
    struct kv_seen out = {0};
    struct bnd_slice name = bnd_slice_str(key);
    uint32_t shard = bnd_shard_of(BND_GROUP_KV, NS, name, SHARDS);
    bnd_sim_env_enter(node->sim);
    assert_int_equal(kv_store_seen(node->kv->store, shard, NS, name, &out), 0);
    bnd_sim_env_leave(node->sim);
    return out;
}

static bool holds(struct kv_node *node, const char *key) {
    struct kv_seen found = seen(node, key);
    return found.version.hlc != 0 && !found.tombstone;
}

static struct kv_marks marks(struct kv_node *node, uint32_t shard) {
    return kv_store_marks(node->kv->store, shard);
}

static bool filled_everywhere(struct kv_node *node) {
    for (uint32_t i = 0; i < SHARDS; i++) {
        size_t at = bnd_kv_shard_find(&node->cluster->shards[i], node->id);
        if (at == node->cluster->shards[i].replicas_count ||
            !node->cluster->shards[i].replicas[at].filled) {
            return false;
        }
    }
    return true;
}

/* ---- aiming at pushes -------------------------------------------------------------------------*/

struct aim {
    uint64_t to; /* pushes to this node are lost */
};

static bool passes(void *data, uint64_t from, uint64_t to, enum bnd_mesh_kind kind,
                   struct bnd_slice message) {
    const struct aim *aim = data;
    (void)from;
    (void)message;
    return kind != BND_MESH_KV || to != aim->to;
}

/* A record of node 1, with this stamp, comes to the node as if it had been pushed. */
static void push(struct kv_node *node, const char *key, uint64_t hlc, uint32_t epoch) {
    struct bnd_slice name = bnd_slice_str(key);
    struct bnd_buf message = {0};
    struct kv_record record = {.version = {.hlc = hlc, .writer = 1},
                               .epoch = epoch,
                               .size = 1,
                               .value = bnd_slice("v", 1)};
    uint8_t encoded[64];
    assert_true(kv_record_bytes(&record) <= sizeof encoded);
    kv_record_encode(&record, encoded);
    const struct kv_pushed pushed = {.seq = 1,
                                     .kind = KV_LOG_RECORD,
                                     .shard = bnd_shard_of(BND_GROUP_KV, NS, name, SHARDS),
                                     .epoch = epoch,
                                     .namespace_id = NS,
                                     .key = name,
                                     .body = bnd_slice(encoded, kv_record_bytes(&record))};
    bnd_sim_env_enter(node->sim);
    bnd_buf_u8(&message, KV_MESSAGE_PUSHES);
    kv_pushed_head(&message, &pushed);
    bnd_buf_append_slice(&message, pushed.body);
    kv_push_receive(node->kv, 1, bnd_buf_slice(&message));
    bnd_buf_free(&message);
    bnd_sim_env_leave(node->sim);
}

/* All pieces of a large value are here. */
static bool holds_whole(struct kv_node *node, const char *key) {
    struct bnd_buf bytes = {0};
    struct kv_record record;
    struct bnd_slice name = bnd_slice_str(key);
    uint32_t shard = bnd_shard_of(BND_GROUP_KV, NS, name, SHARDS);
    uint32_t have = 0;
    bnd_sim_env_enter(node->sim);
    int rv = kv_store_get_encoded(node->kv->store, shard, NS, name, &bytes);
    rv = rv != 0 ? rv : kv_record_decode(bnd_buf_slice(&bytes), &record);
    rv = rv != 0 ? rv : kv_store_pieces(node->kv->store, shard, record.blob, &have);
    bnd_buf_free(&bytes);
    bnd_sim_env_leave(node->sim);
    return rv == 0 && (record.flags & KV_RECORD_BLOB) != 0 &&
           have == (record.size + BND_KV_INLINE_MAX - 1) / BND_KV_INLINE_MAX;
}

static void leave_out(struct kv_node *node);

/* ---- tests ------------------------------------------------------------------------------------*/

static struct cluster cluster;

static void crowd(struct kv_node *node, unsigned count, const char *value) {
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%04u", i);
        assert_int_equal(put(node, key, value), 0);
    }
}

static unsigned crowd_held(struct kv_node *node, unsigned count) {
    unsigned held = 0;
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%04u", i);
        held += holds(node, key);
    }
    return held;
}

/* The coordinator dies when its push has reached one of the two others. */
static bool push_made_up_for(uint32_t rules_off) {
    struct aim aim = {.to = 3};
    cluster_open(&cluster, 3, rules_off);
    bnd_sim_net_filter(cluster.net, passes, &aim);
    assert_int_equal(put(&cluster.nodes[0], "a", "1"), 0);
    assert_int_equal(put(&cluster.nodes[0], "b", "2"), 0);
    kv_node_crash(&cluster.nodes[0], BND_SIM_KILL);
    bnd_sim_net_filter(cluster.net, NULL, NULL);
    assert_false(holds(&cluster.nodes[2], "a"));
    run_for(&cluster, 10 * SECOND);
    bool made_up = holds(&cluster.nodes[2], "a") && holds(&cluster.nodes[2], "b");
    cluster_close(&cluster);
    return made_up;
}

static void test_a_coordinator_that_died_between_two_pushes(void **state) {
    (void)state;
    assert_true(push_made_up_for(KV_RULE_EXCHANGE));
    assert_false(push_made_up_for(KV_RULE_EXCHANGE | KV_RULE_DIGEST));
}

/* Longer than the seconds that are remembered: whole trees are compared. */
static bool partition_made_up_for(uint32_t rules_off) {
    cluster_open(&cluster, 3, rules_off);
    crowd(&cluster.nodes[0], 50, "before");
    cut_off(&cluster, &cluster.nodes[2]);
    run_for(&cluster, 15 * SECOND);
    crowd(&cluster.nodes[0], 300, "meanwhile");
    assert_int_equal(put(&cluster.nodes[1], "k0007", NULL), 0);
    assert_int_equal(put_large(&cluster.nodes[1], "large", 600000), 0);
    run_for(&cluster, 30 * SECOND);
    heal(&cluster);
    run_for(&cluster, 30 * SECOND);
    bool equal = crowd_held(&cluster.nodes[2], 300) == 299 && !holds(&cluster.nodes[2], "k0007") &&
                 holds_whole(&cluster.nodes[2], "large");
    cluster_close(&cluster);
    return equal;
}

static void test_after_a_partition(void **state) {
    (void)state;
    assert_true(partition_made_up_for(0));
    assert_false(partition_made_up_for(KV_RULE_EXCHANGE));
}

/* A node that was away asks for the first shard as soon as its tree is there, not when all are, and
 * does not wait for the others to ask. */
static void test_a_start_compares_shard_by_shard(void **state) {
    (void)state;
    cluster_open(&cluster, 3, KV_RULE_DIGEST);
    crowd(&cluster.nodes[0], 9000, "value");
    kv_node_crash(&cluster.nodes[2], BND_SIM_KILL);
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "missed%u", i);
        assert_int_equal(put(&cluster.nodes[0], key, "1"), 0);
    }
    struct kv_node *node = &cluster.nodes[2];
    node_start(node);
    while (node->kv->spread->shards == NULL || !node->kv->spread->shards[0].build.running) {
        run_for(&cluster, BND_MS / 4);
    }
    const struct spread_shard *shards = node->kv->spread->shards;
    while (!shards[0].tree->built) {
        assert_int_equal(shards[1].build.walk.key_len, 0); /* its turn has not come */
        run_for(&cluster, BND_MS / 4);
    }
    assert_true(shards[1].build.running);
    assert_true(shards[0].peers[0].wanted && shards[0].peers[1].wanted);
    assert_false(shards[1].peers[0].wanted || shards[1].peers[1].wanted);
    run_for(&cluster, 3 * SECOND);
    assert_true(holds(node, "missed0") && holds(node, "missed19"));
    cluster_close(&cluster);
}

/* What neither had the other lacks: both ways in one exchange. */
static void test_both_sides_of_a_partition(void **state) {
    (void)state;
    cluster_open(&cluster, 3, KV_RULE_DIGEST);
    cluster.namespaces[0].local = true;
    cluster_changed(&cluster);
    run_for(&cluster, SECOND);
    cut_off(&cluster, &cluster.nodes[2]);
    run_for(&cluster, 15 * SECOND);
    assert_int_equal(put(&cluster.nodes[0], "majority", "1"), 0);
    struct answer minority = put_until(&cluster.nodes[2], "minority", "1", 0);
    assert_int_equal(minority.status, 0);
    assert_int_equal(minority.durability, BND_KV_LOCAL);
    run_for(&cluster, 30 * SECOND);
    heal(&cluster);
    run_for(&cluster, 20 * SECOND);
    for (size_t i = 0; i < 3; i++) {
        assert_true(holds(&cluster.nodes[i], "majority"));
        assert_true(holds(&cluster.nodes[i], "minority"));
    }
    cluster_close(&cluster);
}

/* Node 3 is lost with its disk, and node 4 takes its place. */
static unsigned replaced(uint32_t rules_off, bool *out_filled, bool *out_large) {
    cluster_open(&cluster, 3, rules_off | KV_RULE_EXCHANGE);
    crowd(&cluster.nodes[0], 2000, "value");
    assert_int_equal(put_large(&cluster.nodes[0], "large", 700000), 0);
    kv_node_crash(&cluster.nodes[2], BND_SIM_POWER);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 4, 3), 0);
    }
    cluster_changed(&cluster);
    run_for(&cluster, 200 * BND_MS);
    bool early = filled_everywhere(&cluster.nodes[3]);
    unsigned held = crowd_held(&cluster.nodes[3], 2000);
    if (!early) {
        run_for(&cluster, 20 * SECOND);
        held = crowd_held(&cluster.nodes[3], 2000);
    }
    *out_filled = filled_everywhere(&cluster.nodes[3]);
    *out_large = holds_whole(&cluster.nodes[3], "large");
    cluster_close(&cluster);
    return held;
}

static void test_a_new_node_fills(void **state) {
    bool filled = false;
    bool large = false;
    (void)state;
    assert_int_equal(replaced(0, &filled, &large), 2000);
    assert_true(filled);
    assert_true(large);
    assert_true(replaced(KV_RULE_FILL, &filled, &large) <
                2000); /* it serves what it does not have */
    assert_true(filled);
}

/* The leaver alone has what the newcomer needs: a write of it and of a replica that died. */
static bool handed_over(uint32_t rules_off) {
    struct aim aim = {.to = 2};
    cluster_open(&cluster, 3, rules_off | KV_RULE_EXCHANGE | KV_RULE_DIGEST);
    bnd_sim_net_filter(cluster.net, passes, &aim); /* on nodes 1 and 3 */
    assert_int_equal(put(&cluster.nodes[2], "handed", "over"), 0);
    bnd_sim_net_filter(cluster.net, NULL, NULL);
    kv_node_crash(&cluster.nodes[0], BND_SIM_KILL);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 4, 3), 0);
    }
    cluster_changed(&cluster);
    run_for(&cluster, 20 * SECOND);
    node_start(&cluster.nodes[0]); /* it is among those whom the leaver must be equal with */
    run_for(&cluster, 20 * SECOND);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(cluster.shards[i].leaving, 0);
        assert_false(marks(&cluster.nodes[2], i).there); /* and it has dropped its own */
        assert_int_equal(seen(&cluster.nodes[2], "handed").version.hlc, 0);
    }
    bool whole = holds(&cluster.nodes[1], "handed") && holds(&cluster.nodes[3], "handed");
    cluster_close(&cluster);
    return whole;
}

static void test_a_leaver_hands_over(void **state) {
    (void)state;
    assert_true(handed_over(0));
    assert_false(handed_over(KV_RULE_LEAVE | KV_RULE_FILL));
}

/* Node 1 has not heard that node 3 has left, and writes to it. */
static bool written_to_who_has_left(uint32_t rules_off) {
    struct aim aim = {.to = 2};
    cluster_open(&cluster, 3, rules_off);
    cluster.nodes[0].late = true;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 4, 3), 0);
    }
    cluster_changed(&cluster);
    run_for(&cluster, 20 * SECOND);
    bnd_sim_net_filter(cluster.net, passes, &aim);
    bool acknowledged = put(&cluster.nodes[0], "lost", "1") == 0;
    bool safe = holds(&cluster.nodes[1], "lost") || holds(&cluster.nodes[3], "lost");
    cluster_close(&cluster);
    return acknowledged && !safe;
}

static void test_a_leaver_takes_nothing_more(void **state) {
    (void)state;
    assert_false(written_to_who_has_left(0));
    assert_true(written_to_who_has_left(KV_RULE_SEAL));
}

/* Of an exchange that goes on while node 3 drops the shard: it would be applied behind that. */
static void test_nothing_is_taken_into_what_is_dropped(void **state) {
    (void)state;
    static const uint8_t blob[KV_BLOB_ID_BYTES] = {1};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    const struct kv_record record = {
        .version = {.hlc = 1, .writer = 1}, .epoch = 1, .size = 1, .value = bnd_slice_str("v")};
    assert_true(bnd_buf_reserve(&bytes, kv_record_bytes(&record)));
    kv_record_encode(&record, bytes.data);
    bytes.len = kv_record_bytes(&record);
    cluster_open(&cluster, 3, 0);
    assert_int_equal(bnd_kv_shard_move(&cluster.shards[0], 1, 4, 3), 0);
    cluster_changed(&cluster);
    struct kv_node *node = &cluster.nodes[2];
    struct kv_spread *spread = node->kv->spread;
    while (!spread->shards[0].wiping) {
        run_for(&cluster, BND_MS);
    }
    assert_true(marks(node, 0).there); /* not yet */
    const struct kv_given given = {
        .namespace_id = NS, .key = bnd_slice_str("k"), .record = bnd_buf_slice(&bytes)};
    const struct kv_piece piece = {
        .namespace_id = NS, .key = given.key, .blob = blob, .bytes = bnd_slice_str("piece")};
    bnd_sim_env_enter(node->sim);
    struct spread_ticket *ticket = spread_ticket_new(NULL, NULL);
    assert_int_equal(spread_take(spread, 0, &given, false, ticket), BND_EPOCH);
    assert_int_equal(spread_take_piece(spread, &piece, ticket), BND_EPOCH);
    spread_ticket_void(ticket, false);
    bnd_sim_env_leave(node->sim);
    cluster_close(&cluster);
}

/* Node 3 has sealed itself and said that it has left; group 0 has not heard it. It starts again, is
 * told the map of before, and so is node 1, which writes to it. */
static void test_a_restarted_leaver_stays_sealed(void **state) {
    struct aim aim = {.to = 2};
    (void)state;
    cluster_open(&cluster, 3, 0);
    memcpy(cluster.old_shards, cluster.shards, sizeof cluster.shards);
    cluster.nodes[0].late = true;
    cluster.deaf_tells = 1u << BND_KV_TELL_LEFT;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 4, 3), 0);
    }
    cluster_changed(&cluster);
    run_for(&cluster, 10 * SECOND);
    kv_node_crash(&cluster.nodes[2], BND_SIM_POWER);
    cluster.nodes[2].old = true;
    node_start(&cluster.nodes[2]);
    run_for(&cluster, 3 * SECOND);
    assert_int_equal(marks(&cluster.nodes[2], 0).epoch, 2);
    bnd_sim_net_filter(cluster.net, passes, &aim);
    assert_int_not_equal(put(&cluster.nodes[0], "lost", "1"), 0);
    cluster_close(&cluster);
}

/* The state of a node is lost, its journal is not: it must not serve the little that is left. */
static void test_a_lost_state_is_filled_again(void **state) {
    (void)state;
    cluster_open(&cluster, 3, KV_RULE_EXCHANGE | KV_RULE_DIGEST);
    crowd(&cluster.nodes[0], 300, "value");
    run_for(&cluster, 130 * SECOND); /* persisted, and the log is compacted */
    kv_node_crash(&cluster.nodes[2], BND_SIM_POWER);
    bnd_sim_store_wipe(cluster.nodes[2].store);
    node_start(&cluster.nodes[2]);
    run_for(&cluster, 20 * SECOND);
    assert_true(cluster.told[BND_KV_TELL_UNFILLED] > 0);
    assert_true(filled_everywhere(&cluster.nodes[2]));
    assert_int_equal(crowd_held(&cluster.nodes[2], 300), 300);
    cluster_close(&cluster);
}

/* ---- who is filled ----------------------------------------------------------------------------*/

/* Counted as filled no more, it must be equal again, however complete it was before. */
static void test_who_is_left_out_fills_again(void **state) {
    struct aim aim = {.to = 3};
    (void)state;
    cluster_open(&cluster, 3, KV_RULE_EXCHANGE | KV_RULE_DIGEST);
    bnd_sim_net_filter(cluster.net, passes, &aim);
    assert_int_equal(put(&cluster.nodes[0], "missed", "1"), 0);
    bnd_sim_net_filter(cluster.net, NULL, NULL);
    leave_out(&cluster.nodes[2]);
    run_for(&cluster, 20 * SECOND);
    assert_true(filled_everywhere(&cluster.nodes[2]));
    assert_true(holds(&cluster.nodes[2], "missed"));
    cluster_close(&cluster);
}

/* Node 1 does not know yet that node 3 must fill: what it still takes under the old epoch node 3
 * might miss. */
static void test_only_who_knows_the_epoch_fills_another(void **state) {
    (void)state;
    cluster_open(&cluster, 3, 0);
    cluster.nodes[0].late = true;
    leave_out(&cluster.nodes[2]);
    run_for(&cluster, 20 * SECOND);
    assert_false(filled_everywhere(&cluster.nodes[2]));
    cluster.nodes[0].late = false;
    cluster_changed(&cluster);
    run_for(&cluster, 20 * SECOND);
    assert_true(filled_everywhere(&cluster.nodes[2]));
    cluster_close(&cluster);
}

/* It knows, but a crash now would make it forget. */
static void test_only_who_has_sealed_itself_on_disk_fills_another(void **state) {
    (void)state;
    cluster_open(&cluster, 3, 0);
    bnd_sim_disk_stall(cluster.nodes[0].disk, 2 * SECOND);
    leave_out(&cluster.nodes[2]);
    run_for(&cluster, 1800 * BND_MS);
    assert_false(filled_everywhere(&cluster.nodes[2]));
    run_for(&cluster, 20 * SECOND);
    assert_true(filled_everywhere(&cluster.nodes[2]));
    cluster_close(&cluster);
}

/* Beside a newcomer that counts itself as filled, the only old replica is not enough any more. */
static void test_the_only_replica_counts_the_newcomer(void **state) {
    (void)state;
    cluster_open(&cluster, 1, 0);
    assert_int_equal(put(&cluster.nodes[0], "alone", "1"), 0);
    cluster.deaf_tells = 1u << BND_KV_TELL_FILLED;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 2, 0), 0);
    }
    cluster_changed(&cluster);
    run_for(&cluster, 10 * SECOND);
    assert_true(marks(&cluster.nodes[1], 0).filled && marks(&cluster.nodes[1], 1).filled);
    assert_true(holds(&cluster.nodes[1], "alone"));
    kv_node_crash(&cluster.nodes[1], BND_SIM_KILL);
    run_for(&cluster, 5 * SECOND);
    assert_int_not_equal(put(&cluster.nodes[0], "lost", "1"), 0);
    cluster_close(&cluster);
}

/* Nor is it after a restart, though group 0 has not heard of the newcomer: what it acknowledged
 * alone would be on one of two that count. */
static void test_a_restart_does_not_forget_who_counts(void **state) {
    (void)state;
    cluster_open(&cluster, 1, 0);
    cluster.deaf_tells = 1u << BND_KV_TELL_FILLED;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 2, 0), 0);
    }
    cluster_changed(&cluster);
    run_for(&cluster, 10 * SECOND);
    assert_true(marks(&cluster.nodes[1], 0).filled && marks(&cluster.nodes[1], 1).filled);
    kv_node_crash(&cluster.nodes[1], BND_SIM_KILL);
    kv_node_crash(&cluster.nodes[0], BND_SIM_POWER);
    node_start(&cluster.nodes[0]);
    run_for(&cluster, 10 * SECOND);
    assert_int_not_equal(put(&cluster.nodes[0], "lost", "1"), 0);
    node_start(&cluster.nodes[1]);
    run_for(&cluster, 5 * SECOND);
    assert_int_equal(put(&cluster.nodes[0], "on both", "1"), 0);
    assert_true(holds(&cluster.nodes[1], "on both"));
    cluster_close(&cluster);
}

/* It knows, but a crash now would make it forget: the newcomer is not told yet. */
static void test_who_counts_is_on_disk_before_it_is_told(void **state) {
    (void)state;
    cluster_open(&cluster, 1, 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 2, 0), 0);
    }
    cluster_changed(&cluster);
    while (cluster.nodes[0].kv->view.here[0].counted == 0) {
        run_for(&cluster, BND_MS / 10);
    }
    bnd_sim_disk_stall(cluster.nodes[0].disk, 2 * SECOND);
    run_for(&cluster, 1900 * BND_MS);
    assert_false(marks(&cluster.nodes[1], 0).filled);
    run_for(&cluster, 10 * SECOND);
    assert_true(marks(&cluster.nodes[1], 0).filled);
    cluster_close(&cluster);
}

/* A view for which there is no memory changes nothing: neither the map, nor who is told of it. */
static void test_a_view_without_memory_is_not_taken(void **state) {
    struct bnd_kv_shard shards[SHARDS];
    (void)state;
    cluster_open(&cluster, 3, 0);
    struct kv_node *node = &cluster.nodes[0];
    struct bnd_kv *kv = node->kv;
    memcpy(shards, cluster.shards, sizeof shards);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(bnd_kv_shard_move(&shards[i], 1, 4, 3), 0);
    }
    const struct bnd_kv_view view = {.revision = cluster.revision + 1,
                                     .shards = shards,
                                     .shards_count = SHARDS,
                                     .namespaces = cluster.namespaces,
                                     .namespaces_count = cluster.namespaces_count,
                                     .namespace_next = cluster.namespace_next};
    unsigned refused = 0;
    int rv = BND_NOMEM;
    bnd_sim_env_enter(node->sim);
    while (rv != 0) {
        assert_int_equal(kv->view.revision, cluster.revision);
        assert_int_equal(kv->spread->shards[1].map.epoch, 1);
        assert_int_equal(kv->peers_count, 2);
        (void)bnd_alloc_fail_at(++refused, 0);
        rv = bnd_kv_view_set(kv, &view);
        (void)bnd_alloc_fail_at(0, 0);
        assert_true(rv == 0 || rv == BND_NOMEM);
    }
    assert_true(refused > 4);
    assert_int_equal(kv->view.revision, view.revision);
    assert_int_equal(kv->spread->shards[1].map.epoch, 2);
    assert_int_equal(kv->peers_count, 3);
    bnd_sim_env_leave(node->sim);
    cluster_close(&cluster);
}

/* A namespace goes while a node that holds it is away. */
static bool namespace_left(uint32_t rules_off) {
    cluster_open(&cluster, 3, rules_off);
    crowd(&cluster.nodes[0], 50, "value");
    run_for(&cluster, SECOND);
    cut_off(&cluster, &cluster.nodes[2]);
    cluster.namespaces_count = 0;
    cluster_changed(&cluster);
    run_for(&cluster, 10 * SECOND);
    heal(&cluster);
    run_for(&cluster, 60 * SECOND);
    unsigned left = 0;
    for (size_t i = 0; i < 3; i++) {
        left += crowd_held(&cluster.nodes[i], 50);
    }
    cluster_close(&cluster);
    return left > 0;
}

static void test_a_deleted_namespace_is_dropped(void **state) {
    (void)state;
    assert_false(namespace_left(0));
    assert_true(namespace_left(KV_RULE_NAMESPACE));
}

/* ---- horizons ---------------------------------------------------------------------------------*/

static uint64_t wall_ms(void) {
    return bnd_wall_ms(bnd_sim_env(cluster.nodes[0].sim));
}

static uint64_t propose(uint64_t ms) {
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(
            bnd_kv_shard_propose(&cluster.shards[i], cluster.shards[i].epoch, kv_hlc_of(ms)), 0);
    }
    cluster_changed(&cluster);
    return kv_hlc_of(ms);
}

static bool collected(uint64_t horizon) {
    for (uint32_t i = 0; i < SHARDS; i++) {
        if (cluster.shards[i].collected != horizon) {
            return false;
        }
    }
    return true;
}

static void leave_out(struct kv_node *node) {
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct bnd_kv_shard *shard = &cluster.shards[i];
        assert_int_equal(bnd_kv_shard_unfilled(shard, shard->epoch, node->id), 0);
    }
    cluster_changed(&cluster);
}

static void test_tombstones_are_collected(void **state) {
    (void)state;
    cluster_open(&cluster, 3, 0);
    assert_int_equal(put(&cluster.nodes[0], "live", "1"), 0);
    assert_int_equal(put(&cluster.nodes[0], "dead", "1"), 0);
    assert_int_equal(put(&cluster.nodes[1], "dead", NULL), 0);
    assert_int_equal(put_until(&cluster.nodes[1], "brief", "1", wall_ms() + 60000).status, 0);
    assert_int_equal(put_until(&cluster.nodes[1], "long", "1", wall_ms() + 3600000).status, 0);
    run_for(&cluster, 70 * SECOND);
    assert_int_equal(put(&cluster.nodes[2], "young", NULL), 0);
    uint64_t horizon = propose(wall_ms() - 5000);
    run_for(&cluster, 10 * SECOND);
    assert_true(collected(horizon));
    for (size_t i = 0; i < 3; i++) {
        struct kv_node *node = &cluster.nodes[i];
        assert_true(holds(node, "live"));
        assert_true(holds(node, "long"));
        assert_int_equal(seen(node, "dead").version.hlc, 0);
        assert_int_equal(seen(node, "brief").version.hlc, 0);
        assert_true(seen(node, "young").tombstone);
        for (uint32_t s = 0; s < SHARDS; s++) {
            assert_int_equal(marks(node, s).collected, horizon);
            assert_int_equal(marks(node, s).refused, horizon);
        }
    }
    cluster_close(&cluster);
}

static bool has_forgotten(void *data) {
    const uint64_t *horizon = data;
    return marks(&cluster.nodes[2], 0).collected == *horizon &&
           marks(&cluster.nodes[2], 1).collected == *horizon;
}

/* The scan that collects waits for a state that takes nothing for a while. */
static void test_collecting_waits_for_a_stalled_state(void **state) {
    (void)state;
    cluster_open(&cluster, 3, 0);
    crowd(&cluster.nodes[0], 4000, NULL); /* several slices */
    assert_int_equal(put(&cluster.nodes[0], "live", "1"), 0);
    run_for(&cluster, 10 * SECOND);
    uint64_t horizon = propose(wall_ms() - 3000);
    for (unsigned i = 0; i < 300; i++) {
        run_for(&cluster, 17 * BND_MS);
        bnd_sim_store_stall(cluster.nodes[i % 3].store, 40 * BND_MS);
    }
    run_for(&cluster, 10 * SECOND);
    assert_true(collected(horizon));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(seen(&cluster.nodes[i], "k0001").version.hlc, 0);
        assert_true(holds(&cluster.nodes[i], "live"));
    }
    cluster_close(&cluster);
}

/* Node 3 is away while a key is deleted and the tombstone collected; it comes back with the key. */
static bool resurrected(uint32_t rules_off, bool crashes) {
    cluster_open(&cluster, 3, rules_off);
    crowd(&cluster.nodes[0], 100, "old");
    assert_int_equal(put(&cluster.nodes[0], "ghost", "1"), 0);
    run_for(&cluster, 2 * SECOND);
    assert_true(holds(&cluster.nodes[2], "ghost"));
    kv_node_crash(&cluster.nodes[2], BND_SIM_POWER);
    assert_int_equal(put(&cluster.nodes[0], "ghost", NULL), 0);
    run_for(&cluster, 10 * SECOND);
    leave_out(&cluster.nodes[2]);
    run_for(&cluster, SECOND);
    uint64_t horizon = propose(wall_ms() - 3000);
    run_for(&cluster, 10 * SECOND);
    assert_true(collected(horizon));
    assert_int_equal(seen(&cluster.nodes[0], "ghost").version.hlc, 0);
    node_start(&cluster.nodes[2]);
    if (crashes) { /* as soon as its marks say that it has forgotten */
        assert_true(bnd_sim_run_until_true(cluster.world, has_forgotten, &horizon, 60 * SECOND));
        kv_node_crash(&cluster.nodes[2], BND_SIM_POWER);
        node_start(&cluster.nodes[2]);
    }
    run_for(&cluster, 60 * SECOND);
    assert_true(filled_everywhere(&cluster.nodes[2]));
    assert_int_equal(crowd_held(&cluster.nodes[2], 100), 100);
    bool ghost = false;
    for (size_t i = 0; i < 3; i++) {
        ghost = ghost || holds(&cluster.nodes[i], "ghost");
    }
    cluster_close(&cluster);
    return ghost;
}

static void test_nothing_comes_back_with_a_node_that_was_away(void **state) {
    (void)state;
    assert_false(resurrected(0, false));
    assert_false(resurrected(0, true));
    assert_true(resurrected(KV_RULE_WIPE, false));
}

/* A push that was on its way for longer than tombstones are kept. */
static bool late_push_taken(uint32_t rules_off) {
    cluster_open(&cluster, 3, rules_off);
    uint64_t old = kv_hlc_of(wall_ms());
    run_for(&cluster, SECOND);
    assert_int_equal(put(&cluster.nodes[0], "ghost", NULL), 0);
    run_for(&cluster, 10 * SECOND);
    uint64_t horizon = propose(wall_ms() - 3000);
    run_for(&cluster, 10 * SECOND);
    assert_true(collected(horizon));
    push(&cluster.nodes[1], "ghost", old, cluster.shards[0].epoch);
    run_for(&cluster, 5 * SECOND);
    bool taken = holds(&cluster.nodes[1], "ghost");
    cluster_close(&cluster);
    return taken;
}

static void test_what_is_late_is_refused(void **state) {
    (void)state;
    assert_false(late_push_taken(0));
    assert_true(late_push_taken(KV_RULE_REFUSE));
}

/* A horizon is not confirmed before what is below it is everywhere. */
static bool horizon_waits(uint32_t rules_off) {
    struct aim aim = {.to = 3};
    cluster_open(&cluster, 3, rules_off | KV_RULE_DIGEST | KV_RULE_EXCHANGE);
    assert_int_equal(put(&cluster.nodes[0], "ghost", "1"), 0);
    run_for(&cluster, SECOND);
    bnd_sim_net_filter(cluster.net, passes, &aim);
    assert_int_equal(put(&cluster.nodes[0], "ghost", NULL), 0);
    bnd_sim_net_filter(cluster.net, NULL, NULL);
    run_for(&cluster, 10 * SECOND);
    assert_true(holds(&cluster.nodes[2], "ghost"));
    uint64_t horizon = propose(wall_ms() - 3000);
    run_for(&cluster, 20 * SECOND);
    assert_true(collected(horizon));
    bool gone = !holds(&cluster.nodes[2], "ghost");
    cluster_close(&cluster);
    return gone;
}

static void test_a_horizon_waits_for_what_is_below_it(void **state) {
    (void)state;
    assert_true(horizon_waits(0));
    assert_false(horizon_waits(KV_RULE_CONFIRM));
}

/* ---- crashes ----------------------------------------------------------------------------------*/

/* Every node is killed, power and all, again and again during a move and a horizon. */
static void test_a_crash_anywhere_continues(void **state) {
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        cluster_open(&cluster, 3, 0);
        crowd(&cluster.nodes[0], 200, "value");
        assert_int_equal(put(&cluster.nodes[0], "k0003", NULL), 0);
        for (uint32_t i = 0; i < SHARDS; i++) {
            assert_int_equal(bnd_kv_shard_move(&cluster.shards[i], 1, 4, 3), 0);
        }
        cluster_changed(&cluster);
        for (unsigned crash = 0; crash < 12; crash++) {
            run_for(&cluster, (7 + 13 * round + 29 * crash) * 3 * BND_MS);
            struct kv_node *node = &cluster.nodes[(crash + round) % NODES];
            kv_node_crash(node, crash % 2 == 0 ? BND_SIM_POWER : BND_SIM_KILL);
            node_start(node);
        }
        run_for(&cluster, 90 * SECOND);
        uint64_t horizon = propose(wall_ms() - 5000);
        for (unsigned crash = 0; crash < 6; crash++) {
            run_for(&cluster, (11 + 7 * round + 31 * crash) * 2 * BND_MS);
            struct kv_node *node = &cluster.nodes[(crash + round) % NODES];
            kv_node_crash(node, BND_SIM_POWER);
            node_start(node);
        }
        run_for(&cluster, 90 * SECOND);
        assert_true(collected(horizon));
        for (size_t i = 0; i < NODES; i++) {
            bool replica = i != 2;
            assert_int_equal(crowd_held(&cluster.nodes[i], 200), replica ? 199 : 0);
            assert_int_equal(seen(&cluster.nodes[i], "k0003").version.hlc, 0);
            assert_int_equal(marks(&cluster.nodes[i], 0).there, replica);
        }
        cluster_close(&cluster);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_coordinator_that_died_between_two_pushes),
        cmocka_unit_test(test_after_a_partition),
        cmocka_unit_test(test_both_sides_of_a_partition),
        cmocka_unit_test(test_a_start_compares_shard_by_shard),
        cmocka_unit_test(test_a_new_node_fills),
        cmocka_unit_test(test_a_leaver_hands_over),
        cmocka_unit_test(test_tombstones_are_collected),
        cmocka_unit_test(test_nothing_comes_back_with_a_node_that_was_away),
        cmocka_unit_test(test_a_leaver_takes_nothing_more),
        cmocka_unit_test(test_nothing_is_taken_into_what_is_dropped),
        cmocka_unit_test(test_a_restarted_leaver_stays_sealed),
        cmocka_unit_test(test_a_lost_state_is_filled_again),
        cmocka_unit_test(test_who_is_left_out_fills_again),
        cmocka_unit_test(test_only_who_knows_the_epoch_fills_another),
        cmocka_unit_test(test_only_who_has_sealed_itself_on_disk_fills_another),
        cmocka_unit_test(test_the_only_replica_counts_the_newcomer),
        cmocka_unit_test(test_collecting_waits_for_a_stalled_state),
        cmocka_unit_test(test_a_restart_does_not_forget_who_counts),
        cmocka_unit_test(test_who_counts_is_on_disk_before_it_is_told),
        cmocka_unit_test(test_a_view_without_memory_is_not_taken),
        cmocka_unit_test(test_a_deleted_namespace_is_dropped),
        cmocka_unit_test(test_what_is_late_is_refused),
        cmocka_unit_test(test_a_horizon_waits_for_what_is_below_it),
        cmocka_unit_test(test_a_crash_anywhere_continues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
