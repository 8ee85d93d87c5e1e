/* Who holds what: asked before voters come and go, and before a node frees what it held for a group
 * that it has left. */
#include "tests/unit/objects/cluster.h"

enum { BUCKET = 7, BIG = 700001 };

/* As a leader asks: again and again, for so long. */
static bool holds_within(struct node *asker, uint64_t gid, uint64_t node, unsigned ms) {
    bool holds = false;
    for (unsigned waited = 0; !holds && waited <= ms; waited += 100) {
        bnd_sim_env_enter(asker->sim);
        holds = bnd_objects_hold_all(asker->objects, gid, node);
        bnd_sim_env_leave(asker->sim);
        bnd_sim_run_for(asker->cluster->world, 100 * BND_MS);
    }
    return holds;
}

static void whoever_holds_all_says_so(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 1);
    struct put put = put_of(BUCKET, "held");
    assert_int_equal(node_put(&cluster.nodes[1], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    for (uint64_t node = 1; node <= NODES; node++) {
        assert_true(holds_within(&cluster.nodes[0], id.gid, node, 2000));
    }
    /* A group without bodies, a node without the group, a node that is not there. */
    assert_true(holds_within(&cluster.nodes[0], bnd_gid(BND_GROUP_OBJECTS, 0), 2, 2000));
    node_leave(&cluster.nodes[2]);
    bnd_sim_run_for(cluster.world, 11000 * BND_MS);
    assert_false(holds_within(&cluster.nodes[0], id.gid, 3, 3000));
    assert_false(holds_within(&cluster.nodes[0], id.gid, 9, 1000));
    cluster_stop(&cluster);
}

/* What is missing or damaged is noticed, and fetched because of the question. */
static void what_is_asked_for_is_made_whole(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 2);
    struct put put = put_of(BUCKET, "hurt");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    file_lose(&cluster.nodes[1], &id);
    file_damage(&cluster.nodes[2], &id);
    assert_false(holds_within(&cluster.nodes[0], id.gid, 2, 0));
    assert_false(holds_within(&cluster.nodes[0], id.gid, 3, 0));
    assert_true(holds_within(&cluster.nodes[0], id.gid, 2, 10000));
    assert_true(holds_within(&cluster.nodes[0], id.gid, 3, 10000));
    assert_int_equal(file_of(&cluster.nodes[1], &id), 0);
    assert_int_equal(file_of(&cluster.nodes[2], &id), 0);
    cluster_stop(&cluster);
}

/* With no copy left to fetch, nobody says that all is there. */
static void what_cannot_be_made_whole_is_not_held(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 3);
    struct put put = put_of(BUCKET, "lost");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    for (size_t i = 0; i < NODES; i++) {
        file_damage(&cluster.nodes[i], &id);
    }
    for (uint64_t node = 1; node <= NODES; node++) {
        assert_false(holds_within(&cluster.nodes[0], id.gid, node, 8000));
    }
    cluster_stop(&cluster);
}

/* Moves the group's stamp beyond every deadline. */
static void move_time(struct cluster *cluster, const struct put *like) {
    struct put other = *like;
    struct answer answer;
    cluster->stamp_skip_ms += 600000;
    assert_int_equal(node_put(&cluster->nodes[0], &other, 9, 10, &answer), 0);
}

static void a_group_that_was_left_is_freed_once_the_others_hold_it(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 4);
    struct put put = put_of(BUCKET, "dir/left");
    struct put small = put_of(BUCKET, "dir/left"); /* of the same group: placed by two segments */
    small.name.bucket.id = BUCKET;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    small.name.key = bnd_slice_str("dir/left/x");
    assert_true(id_of(&small, answer.version).gid == id.gid);
    node_leave(&cluster.nodes[2]);
    file_lose(&cluster.nodes[1], &id);
    bnd_sim_run_for(cluster.world, 20000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[2], &id), 0); /* its deadline is not over */
    move_time(&cluster, &small);
    bnd_sim_run_for(cluster.world, 60000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[2], &id), BND_NOTFOUND);
    assert_int_equal(file_of(&cluster.nodes[0], &id), 0);
    assert_int_equal(file_of(&cluster.nodes[1], &id), 0);
    cluster_stop(&cluster);
}

static void the_last_copy_stays(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 5);
    struct put put = put_of(BUCKET, "dir/last");
    struct put small = put_of(BUCKET, "dir/last/x");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    node_leave(&cluster.nodes[2]);
    file_lose(&cluster.nodes[0], &id);
    file_damage(&cluster.nodes[1], &id);
    move_time(&cluster, &small);
    bnd_sim_run_for(cluster.world, 120000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[2], &id), 0);
    cluster_stop(&cluster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_holds_all_says_so),
        cmocka_unit_test(what_is_asked_for_is_made_whole),
        cmocka_unit_test(what_cannot_be_made_whole_is_not_held),
        cmocka_unit_test(a_group_that_was_left_is_freed_once_the_others_hold_it),
        cmocka_unit_test(the_last_copy_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
