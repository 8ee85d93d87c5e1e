/* What the service refuses its callers, what it says when it closes, and what the sweep leaves
 * alone. */
#include "tests/unit/objects/cluster.h"

#include "objects/bodies/file.h"

enum { BUCKET = 7, BIG = 700001 };

static void test_an_upload_has_the_length_it_said(void **state) {
    struct cluster cluster;
    struct answer answer = {0};
    static uint8_t bytes[100];
    (void)state;
    cluster_start(&cluster, 1);
    struct node *node = &cluster.nodes[0];
    struct put put = put_of(BUCKET, "length");
    struct bnd_upload *upload = NULL;
    struct bnd_upload_options options = {.name = put.name, .size = 100};
    struct bnd_upload_commit commit = {.fields = put.fields, .conditions = put.conditions};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_upload_begin(node->objects, &options, &upload, NULL), 0);
    assert_int_equal(bnd_upload_write(upload, bnd_slice(bytes, 99), on_written, &answer), 0);
    bnd_sim_env_leave(node->sim);
    await(&cluster, &answer);
    assert_int_equal(answer.status, 0);
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_upload_commit(upload, &commit, on_committed, &answer),
                     BND_INVALID); /* cut short */
    answer.done = false;
    assert_int_equal(bnd_upload_write(upload, bnd_slice(bytes, 2), on_written, &answer), 0);
    bnd_sim_env_leave(node->sim);
    await(&cluster, &answer);
    assert_int_equal(answer.status, BND_TOOBIG);
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_upload_write(upload, bnd_slice(bytes, 1), on_written, &answer),
                     BND_TOOBIG);
    assert_int_equal(bnd_upload_commit(upload, &commit, on_committed, &answer), BND_TOOBIG);
    bnd_upload_destroy(upload);
    bnd_sim_env_leave(node->sim);
    assert_int_equal(node_head(node, &put.name, &answer), BND_NOTFOUND);
    cluster_stop(&cluster);
}

static void test_keys_are_bounded(void **state) {
    struct cluster cluster;
    struct answer answer;
    static uint8_t key[BND_OBJECT_KEY_MAX + 1];
    (void)state;
    cluster_start(&cluster, 2);
    struct put put = put_of(BUCKET, "");
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_INVALID);
    put.name.key = bnd_slice(key, sizeof key);
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_INVALID);
    put.name.key.len--;
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_NOTFOUND);
    cluster_stop(&cluster);
}

static void on_deleted(struct bnd_object_delete *del, int status, bool existed) {
    struct answer *answer = del->data;
    (void)existed;
    answer->status = status;
    answer->done = true;
}

/* A write under way may still happen: who asked must not be told that it did not. */
static void test_a_write_cut_off_by_closing_is_unknown(void **state) {
    struct cluster cluster;
    struct answer answer = {0};
    struct answer headed = {0};
    (void)state;
    cluster_start(&cluster, 3);
    struct node *node = &cluster.nodes[0];
    struct put put = put_of(BUCKET, "closing");
    struct bnd_object_delete del = {.cb = on_deleted, .data = &answer};
    struct bnd_object_head head = {.cb = on_head, .data = &headed};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_object_delete(node->objects, &del, &put.name, NULL), 0);
    bnd_sim_env_leave(node->sim);
    bnd_sim_run_for(cluster.world, BND_MS / 10); /* the delete has left; nothing of it came back */
    assert_false(answer.done);
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_object_head(node->objects, &head, &put.name), 0);
    bnd_sim_env_leave(node->sim);
    node_stop(node);
    assert_true(answer.done && headed.done);
    assert_int_equal(answer.status, BND_UNKNOWN);
    assert_int_equal(headed.status, BND_CANCELED);
    cluster_stop(&cluster);
}

/* ---- the sweep
 * -------------------------------------------------------------------------------------- */

static bool file_is_there(struct node *node, const struct body_id *id) {
    char path[BODY_PATH_MAX];
    struct bnd_file *file = NULL;
    assert_true(body_path("data/bodies", id, path));
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    int rv = env->ops->file_open(env, path, BND_OPEN_READ, &file, NULL);
    if (rv == 0) {
        env->ops->file_close(env, file);
    }
    bnd_sim_env_leave(node->sim);
    return rv == 0;
}

static void write_file(struct node *node, const struct body_id *id, uint64_t deadline_ms) {
    struct body_writer writer;
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    assert_int_equal(body_writer_open(&writer, env, "data/bodies", id, 4711, NULL), 0);
    assert_int_equal(body_writer_append(&writer, bnd_slice("abc", 3), NULL), 0);
    assert_int_equal(body_writer_finish(&writer, "data/bodies", deadline_ms, NULL), 0);
    bnd_sim_env_leave(node->sim);
}

/* Commands that were applied and are not written yet may name a file: the state that is read does
 * not know them. */
static void test_a_file_is_judged_by_what_is_written(void **state) {
    struct cluster cluster;
    (void)state;
    cluster_start(&cluster, 4);
    struct node *node = &cluster.nodes[1];
    const struct body_id id = {.gid = bnd_gid(BND_GROUP_OBJECTS, 1), .version = {9}};
    write_file(node, &id, cluster.stamp_ms + bnd_wall_ms(bnd_sim_env(node->sim)) + 60000);
    cluster.refuse = true; /* no tick moves the stamp */
    struct objects_fsm *fsm = node->fsm[1].self;
    fsm->applied_stamp_ms = UINT64_MAX / 2;
    bnd_sim_run_for(cluster.world, 30000 * BND_MS);
    assert_true(file_is_there(node, &id));
    fsm->written_stamp_ms = fsm->applied_stamp_ms;
    bnd_sim_run_for(cluster.world, 30000 * BND_MS);
    assert_false(file_is_there(node, &id));
    cluster_stop(&cluster);
}

/* Of a group that is not here, or whose footer cannot be read: it may be of use to somebody. */
static void test_a_file_that_nobody_can_judge_stays(void **state) {
    struct cluster cluster;
    char path[BODY_PATH_MAX];
    (void)state;
    cluster_start(&cluster, 5);
    struct node *node = &cluster.nodes[1];
    const struct body_id foreign = {.gid = bnd_gid(BND_GROUP_OBJECTS, SHARDS + 3), .version = {9}};
    const struct body_id broken = {.gid = bnd_gid(BND_GROUP_OBJECTS, 1), .version = {8}};
    write_file(node, &foreign, 1);
    write_file(node, &broken, 1);
    assert_true(body_path("data/bodies", &broken, path));
    assert_int_equal(bnd_sim_disk_flip(node->disk, path, 64 + 16 + 3 + 20, 1),
                     0); /* in its footer */
    for (uint32_t i = 0; i < SHARDS; i++) {
        ((struct objects_fsm *)node->fsm[i].self)->written_stamp_ms = UINT64_MAX / 2;
    }
    bnd_sim_run_for(cluster.world, 30000 * BND_MS);
    assert_true(file_is_there(node, &foreign));
    assert_true(file_is_there(node, &broken));
    cluster_stop(&cluster);
}

/* A file of another group under the same version is not the one that is missing. */
static void test_a_missing_body_is_missing_in_its_group(void **state) {
    struct cluster cluster;
    struct answer answer;
    char path[BODY_PATH_MAX];
    (void)state;
    cluster_start(&cluster, 6);
    struct put put = put_of(BUCKET, "missing");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct node *node = &cluster.nodes[1];
    struct body_id id = id_of(&put, answer.version);
    struct body_id other = id;
    other.gid = bnd_gid(BND_GROUP_OBJECTS, SHARDS + 3);
    write_file(node, &other, 1);
    assert_true(body_path("data/bodies", &id, path));
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    assert_int_equal(env->ops->unlink(env, path, NULL), 0);
    bnd_sim_env_leave(node->sim);
    bnd_sim_run_for(cluster.world, 30000 * BND_MS);
    assert_true(file_is_there(node, &id));
    cluster_stop(&cluster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_upload_has_the_length_it_said),
        cmocka_unit_test(test_keys_are_bounded),
        cmocka_unit_test(test_a_write_cut_off_by_closing_is_unknown),
        cmocka_unit_test(test_a_file_is_judged_by_what_is_written),
        cmocka_unit_test(test_a_file_that_nobody_can_judge_stays),
        cmocka_unit_test(test_a_missing_body_is_missing_in_its_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
