/* Large bodies over three nodes: written, read, damaged, missed, freed. */
#include "tests/unit/objects/cluster.h"

enum { BUCKET = 7, BIG = 700001 };

static struct bnd_objects_stats stats_of(const struct node *node) {
    struct bnd_objects_stats stats;
    bnd_objects_stats(node->objects, &stats);
    return stats;
}

static void check_reads(struct cluster *cluster, const struct put *put, uint64_t seed) {
    const uint64_t ranges[][2] = {{0, BIG}, {65535, 2}, {1, 300000}, {BIG - 1, 1}, {262144, 65536}};
    struct answer answer;
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &cluster->nodes[i];
        for (size_t r = 0; node->up && r < sizeof ranges / sizeof ranges[0]; r++) {
            assert_int_equal(node_head(node, &put->name, &answer), 0);
            assert_int_equal(node_read(node, &answer, seed, ranges[r][0], ranges[r][1]), 0);
        }
    }
}

static void test_large_body(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 1);
    struct put put = put_of(BUCKET, "large");
    assert_int_equal(node_put(&cluster.nodes[1], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(file_of(&cluster.nodes[i], &id), 0);
    }
    check_reads(&cluster, &put, 3);
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), 0);
    assert_int_equal(node_read(&cluster.nodes[0], &answer, 3, BIG, 1), BND_RANGE);
    answer_free(&cluster.nodes[0], &answer);
    cluster_stop(&cluster);
}

static void test_damage_is_served_around_and_replaced(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 2);
    struct put put = put_of(BUCKET, "rot");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    file_damage(&cluster.nodes[0], &id);
    assert_int_equal(file_of(&cluster.nodes[0], &id), BND_CORRUPT);
    check_reads(&cluster, &put, 3);
    assert_true(stats_of(&cluster.nodes[0]).bodies_corrupt > 0);
    bnd_sim_run_for(cluster.world, 10000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[0], &id), 0);
    assert_int_equal(stats_of(&cluster.nodes[0]).bodies_fetched, 1);
    /* Damaged on all: an error, never the bytes. */
    for (size_t i = 0; i < NODES; i++) {
        file_damage(&cluster.nodes[i], &id);
    }
    assert_int_equal(node_head(&cluster.nodes[1], &put.name, &answer), 0);
    assert_int_equal(node_read(&cluster.nodes[1], &answer, 3, 0, BIG), BND_CORRUPT);
    cluster_stop(&cluster);
}

static void test_a_node_that_was_down_gets_what_it_missed(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 3);
    node_crash(&cluster.nodes[2], BND_SIM_POWER);
    struct put put = put_of(BUCKET, "missed");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    assert_int_equal(stats_of(&cluster.nodes[0]).uploads_degraded, 1);
    node_start(&cluster.nodes[2]);
    node_catch_up(&cluster.nodes[2]);
    assert_int_equal(file_of(&cluster.nodes[2], &id), BND_NOTFOUND);
    bnd_sim_run_for(cluster.world, 20000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[2], &id), 0);
    /* Lost later, with nothing that tells: the sweep finds it. */
    file_lose(&cluster.nodes[1], &id);
    check_reads(&cluster, &put, 3);
    bnd_sim_run_for(cluster.world, 60000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[1], &id), 0);
    cluster_stop(&cluster);
}

/* Directories are taken in turn, and those in which a group has nothing are passed over. */
static void test_one_round_finds_all_that_is_lost(void **state) {
    enum { BODIES = 24 };
    struct cluster cluster;
    struct body_id ids[BODIES];
    (void)state;
    cluster_start(&cluster, 11);
    for (unsigned i = 0; i < BODIES; i++) {
        char name[16];
        struct answer answer;
        (void)snprintf(name, sizeof name, "of many %u", i);
        struct put put = put_of(BUCKET, name);
        assert_int_equal(node_put(&cluster.nodes[0], &put, i, BIG, &answer), 0);
        ids[i] = id_of(&put, answer.version);
    }
    bnd_sim_run_for(cluster.world, 10000 * BND_MS); /* rounds with all there */
    for (unsigned i = 0; i < BODIES; i++) {
        file_lose(&cluster.nodes[1], &ids[i]);
    }
    bnd_sim_run_for(cluster.world, 20000 * BND_MS);
    for (unsigned i = 0; i < BODIES; i++) {
        assert_int_equal(file_of(&cluster.nodes[1], &ids[i]), 0);
    }
    cluster_stop(&cluster);
}

/* Fetched as fast as the bound allows, and no faster; a close in a pause ends it. */
static void test_fetches_keep_the_pace(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 3);
    struct put put = put_of(BUCKET, "slowly");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    cluster.pacer = (struct bnd_pacer){.bytes_per_s = 20000}; /* 35 s for all of it */
    file_lose(&cluster.nodes[1], &id);
    bnd_sim_run_for(cluster.world, 25000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[1], &id), BND_NOTFOUND);
    bnd_sim_run_for(cluster.world, 45000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[1], &id), 0);
    assert_int_equal(stats_of(&cluster.nodes[1]).bodies_bytes, BIG);
    file_lose(&cluster.nodes[2], &id);
    bnd_sim_run_for(cluster.world, 25000 * BND_MS);
    assert_int_equal(file_of(&cluster.nodes[2], &id), BND_NOTFOUND);
    cluster_stop(&cluster);
}

static void test_no_majority_no_body(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 4);
    node_crash(&cluster.nodes[1], BND_SIM_KILL);
    node_crash(&cluster.nodes[2], BND_SIM_KILL);
    struct put put = put_of(BUCKET, "alone");
    int rv = node_put(&cluster.nodes[0], &put, 3, BIG, &answer);
    assert_int_equal(rv, BND_UNAVAILABLE);
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_NOTFOUND);
    cluster_stop(&cluster);
}

static void test_a_put_waits_for_a_majority(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 9);
    /* Two of three hear everything and are never heard: one copy is not enough. */
    bnd_sim_net_cut(cluster.net, 2, 1, true, false);
    bnd_sim_net_cut(cluster.net, 3, 1, true, false);
    struct put put = put_of(BUCKET, "majority");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), BND_UNAVAILABLE);
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_NOTFOUND);
    cluster_stop(&cluster);
}

static void test_a_reader_goes_on_from_another_replica(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 5);
    struct put put = put_of(BUCKET, "stream");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct node *node = &cluster.nodes[0];
    assert_int_equal(node_head(node, &put.name, &answer), 0);
    struct body_id id = id_of(&put, answer.version);
    struct bnd_object_reader *reader = NULL;
    struct reading reading = {.seed = 3};
    char path[BODY_PATH_MAX];
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_object_reader_open(node->objects, &answer.object, 0, BIG, &reader), 0);
    bnd_sim_env_leave(node->sim);
    while (!reading.end) {
        reading.done = false;
        bnd_sim_env_enter(node->sim);
        assert_int_equal(bnd_object_reader_next(reader, on_chunk, &reading), 0);
        bnd_sim_env_leave(node->sim);
        await(&cluster, (struct answer *)(void *)&reading);
        assert_int_equal(reading.status, 0);
        bnd_sim_env_enter(node->sim);
        struct bnd_env *env = bnd_sim_env(node->sim);
        (void)body_path("data/bodies", &id, path);
        (void)env->ops->unlink(env, path, NULL); /* the local copy is gone after the first chunk */
        bnd_sim_env_leave(node->sim);
    }
    assert_int_equal(reading.got, BIG);
    assert_int_equal(stats_of(node).replica_switches, 1);
    bnd_sim_env_enter(node->sim);
    bnd_object_reader_destroy(reader);
    bnd_sim_env_leave(node->sim);
    cluster_stop(&cluster);
}

static void test_replaced_bodies_live_ten_minutes(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 6);
    struct put put = put_of(BUCKET, "again");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id first = id_of(&put, answer.version);
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), 0); /* a reader begins */
    struct answer other;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 4, BIG, &other), 0);
    struct body_id second = id_of(&put, other.version);
    bnd_sim_run_for(cluster.world, 590 * 1000 * BND_MS);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(file_of(&cluster.nodes[i], &first), 0);
    }
    assert_int_equal(node_read(&cluster.nodes[0], &answer, 3, 0, BIG), 0);
    bnd_sim_run_for(cluster.world, 60 * 1000 * BND_MS);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(file_of(&cluster.nodes[i], &first), BND_NOTFOUND);
        assert_int_equal(file_of(&cluster.nodes[i], &second), 0);
    }
    check_reads(&cluster, &put, 4);
    cluster_stop(&cluster);
}

static int count_file(void *data, const char *name) {
    (void)name;
    ++*(size_t *)data;
    return 0;
}

static size_t files_in(struct node *node) {
    size_t total = 0;
    for (unsigned fan = 0; fan <= 256; fan++) {
        char path[BODY_PATH_MAX] = "data/bodies/tmp";
        if (fan < 256) {
            (void)body_fan_path("data/bodies", fan, path);
        }
        bnd_sim_env_enter(node->sim);
        struct bnd_env *env = bnd_sim_env(node->sim);
        assert_int_equal(env->ops->dir_list(env, path, count_file, &total, NULL), 0);
        bnd_sim_env_leave(node->sim);
    }
    return total;
}

static void test_what_was_not_committed_is_freed(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 7);
    struct put put = put_of(BUCKET, "never");
    struct bnd_etag any = {.kind = BND_ETAG_WILDCARD};
    put.conditions.match = &any;
    put.conditions.match_count = 1;
    put.conditions.match_given = true;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), BND_PRECONDITION);
    /* The commit comes after the deadline: refused, and the body is garbage. */
    put.conditions = bnd_object_conditions_none();
    cluster.stamp_skip_ms = 3600 * 1000;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), BND_UNAVAILABLE);
    assert_int_equal(files_in(&cluster.nodes[1]), 2);
    bnd_sim_run_for(cluster.world, 120 * 1000 * BND_MS);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(files_in(&cluster.nodes[i]), 0);
    }
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_NOTFOUND);
    /* A lagging node must keep a file that its state does not name yet. */
    cluster.nodes[2].lags = true;
    cluster.stamp_skip_ms = 0;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    bnd_sim_run_for(cluster.world, 300 * 1000 * BND_MS);
    assert_int_equal(files_in(&cluster.nodes[2]), 1);
    cluster.nodes[2].lags = false;
    node_catch_up(&cluster.nodes[2]);
    bnd_sim_run_for(cluster.world, 60 * 1000 * BND_MS);
    assert_int_equal(files_in(&cluster.nodes[2]), 1);
    check_reads(&cluster, &put, 3);
    cluster_stop(&cluster);
}

static void test_nothing_is_freed_while_time_is_suspended(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 10);
    struct put put = put_of(BUCKET, "suspended");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    assert_int_equal(node_put(&cluster.nodes[0], &put, 4, BIG, &answer), 0);
    struct put other = put_of(BUCKET, "never");
    struct bnd_etag any = {.kind = BND_ETAG_WILDCARD};
    other.conditions.match = &any;
    other.conditions.match_count = 1;
    other.conditions.match_given = true;
    assert_int_equal(node_put(&cluster.nodes[0], &other, 5, BIG, &answer), BND_PRECONDITION);
    cluster.time_suspended = true;
    cluster.stamp_skip_ms = 24 * 3600 * 1000;
    struct put small = put_of(BUCKET, "small");
    assert_int_equal(node_put(&cluster.nodes[0], &small, 6, 10, &answer), 0);
    bnd_sim_run_for(cluster.world, 120 * 1000 * BND_MS);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(files_in(&cluster.nodes[i]), 3);
    }
    cluster.time_suspended = false;
    bnd_sim_run_for(cluster.world, 120 * 1000 * BND_MS);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(files_in(&cluster.nodes[i]), 1);
    }
    check_reads(&cluster, &put, 4);
    cluster_stop(&cluster);
}

static void test_an_upload_given_up_leaves_nothing(void **state) {
    struct cluster cluster;
    struct answer answer = {0};
    (void)state;
    cluster_start(&cluster, 8);
    struct node *node = &cluster.nodes[0];
    struct put put = put_of(BUCKET, "gone");
    struct bnd_upload *upload = NULL;
    struct bnd_upload_options options = {.name = put.name, .size = BND_OBJECT_SIZE_UNKNOWN};
    static uint8_t bytes[200000];
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_upload_begin(node->objects, &options, &upload, NULL), 0);
    for (int i = 0; i < 4; i++) {
        answer.done = false;
        assert_int_equal(
            bnd_upload_write(upload, bnd_slice(bytes, sizeof bytes), on_written, &answer), 0);
        bnd_sim_env_leave(node->sim);
        await(&cluster, &answer);
        assert_int_equal(answer.status, 0);
        bnd_sim_env_enter(node->sim);
    }
    bnd_upload_destroy(upload);
    bnd_sim_env_leave(node->sim);
    bnd_sim_run_for(cluster.world, 2000 * BND_MS);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(files_in(&cluster.nodes[i]), 0);
    }
    cluster_stop(&cluster);
}

static void node_restart(struct node *node) {
    node_crash(node, BND_SIM_KILL);
    node_start(node);
    node_catch_up(node);
}

/* What is written and cannot leave fills the bound: it is held back, another upload is refused. */
static void test_uploads_are_bounded_in_bytes(void **state) {
    struct cluster cluster;
    struct answer answer = {0};
    struct answer other;
    (void)state;
    cluster_start(&cluster, 11);
    cluster.upload_bytes_max = 200000;
    struct node *node = &cluster.nodes[0];
    node_restart(node);
    bnd_sim_run_for(cluster.world, 3000 * BND_MS);
    bnd_sim_net_isolate(cluster.net, node->id, false);
    struct put put = put_of(BUCKET, "stuck");
    struct bnd_upload *upload = NULL;
    struct bnd_upload_options options = {.name = put.name, .size = 300000};
    static uint8_t bytes[100000];
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_upload_begin(node->objects, &options, &upload, NULL), 0);
    bnd_sim_env_leave(node->sim);
    for (int i = 0; i < 2; i++) {
        answer.done = false;
        bnd_sim_env_enter(node->sim);
        assert_int_equal(
            bnd_upload_write(upload, bnd_slice(bytes, sizeof bytes), on_written, &answer), 0);
        bnd_sim_env_leave(node->sim);
        if (i == 0) {
            await(&cluster, &answer);
        }
    }
    bnd_sim_run_for(cluster.world, 100 * BND_MS);
    assert_false(answer.done); /* held back */
    struct put more = put_of(BUCKET, "more");
    assert_int_equal(node_put(node, &more, 3, BIG, &other), BND_FULL);
    bnd_sim_net_heal(cluster.net);
    await(&cluster, &answer); /* whatever became of it: what it held is given back */
    bnd_sim_env_enter(node->sim);
    bnd_upload_destroy(upload);
    bnd_sim_env_leave(node->sim);
    bnd_sim_run_for(cluster.world, 3000 * BND_MS);
    assert_int_equal(node_put(node, &more, 3, BIG, &other), 0);
    cluster_stop(&cluster);
}

static void test_readers_are_bounded_in_bytes(void **state) {
    struct cluster cluster;
    struct answer answer[3];
    struct bnd_object_reader *readers[3] = {0};
    (void)state;
    cluster_start(&cluster, 12);
    cluster.reader_bytes_max = 4 * BND_OBJECT_CHUNK_MAX; /* two readers of two chunks */
    struct node *node = &cluster.nodes[0];
    node_restart(node);
    bnd_sim_run_for(cluster.world, 3000 * BND_MS);
    struct put put = put_of(BUCKET, "read");
    assert_int_equal(node_put(node, &put, 3, BIG, &answer[0]), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(node_head(node, &put.name, &answer[i]), 0);
        bnd_sim_env_enter(node->sim);
        int rv = bnd_object_reader_open(node->objects, &answer[i].object, 0, BIG, &readers[i]);
        assert_int_equal(rv, i < 2 ? 0 : BND_FULL);
        bnd_sim_env_leave(node->sim);
    }
    bnd_sim_env_enter(node->sim);
    bnd_object_reader_destroy(readers[0]);
    assert_int_equal(bnd_object_reader_open(node->objects, &answer[2].object, 0, BIG, &readers[2]),
                     0);
    bnd_object_reader_destroy(readers[1]);
    bnd_object_reader_destroy(readers[2]);
    bnd_sim_env_leave(node->sim);
    cluster_stop(&cluster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_damage_is_served_around_and_replaced),
        cmocka_unit_test(test_a_node_that_was_down_gets_what_it_missed),
        cmocka_unit_test(test_one_round_finds_all_that_is_lost),
        cmocka_unit_test(test_fetches_keep_the_pace),
        cmocka_unit_test(test_no_majority_no_body),
        cmocka_unit_test(test_a_put_waits_for_a_majority),
        cmocka_unit_test(test_a_reader_goes_on_from_another_replica),
        cmocka_unit_test(test_replaced_bodies_live_ten_minutes),
        cmocka_unit_test(test_what_was_not_committed_is_freed),
        cmocka_unit_test(test_nothing_is_freed_while_time_is_suspended),
        cmocka_unit_test(test_an_upload_given_up_leaves_nothing),
        cmocka_unit_test(test_uploads_are_bounded_in_bytes),
        cmocka_unit_test(test_readers_are_bounded_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
