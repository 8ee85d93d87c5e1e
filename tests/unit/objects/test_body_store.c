/* The body store's protocol: what a server refuses whoever asks, and what a writer believes of its
 * servers. Requests are made by hand, or answered by a server of the test's own. */
#include "tests/unit/objects/cluster.h"

#include "objects/bodies/wire.h"

enum { BUCKET = 7, BIG = 700001 };

static const struct body_id id = {.gid = (UINT64_C(2) << 32) | 1, .version = {0xab, 1}};

struct asked {
    struct bnd_rpc_call call;
    bool done;
    int status;
};

static void on_asked(struct bnd_rpc_call *call, int status, struct bnd_slice reply) {
    struct asked *asked = call->data;
    (void)reply;
    asked->status = status;
    asked->done = true;
}

static void begin(struct node *node, uint64_t to, const struct body_request *request,
                  struct asked *asked) {
    uint8_t head[BODY_REQUEST_HEAD_BYTES];
    body_request_encode(head, request);
    const struct bnd_slice parts[2] = {bnd_slice(head, sizeof head), request->data};
    *asked = (struct asked){.call = {.cb = on_asked, .data = asked}};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_rpc_call(node->rpc, &asked->call, to, BND_MESH_BULK, BND_RPC_BODY, parts,
                                  2, 60000 * BND_MS),
                     0);
    bnd_sim_env_leave(node->sim);
}

static int end(struct node *node, struct asked *asked) {
    assert_true(
        bnd_sim_run_until_true(node->cluster->world, flag_set, &asked->done, 120000 * BND_MS));
    return asked->status;
}

static int ask(struct node *node, const struct body_request *request) {
    struct asked asked;
    begin(node, 2, request, &asked);
    return end(node, &asked);
}

static struct body_request open_of(const struct body_id *which) {
    return (struct body_request){.op = BODY_OPEN, .id = *which};
}

static struct body_request append_of(const struct body_id *which, uint64_t offset) {
    return (struct body_request){
        .op = BODY_APPEND, .id = *which, .offset = offset, .data = bnd_slice("0123456789", 10)};
}

static struct body_request finish_of(const struct body_id *which, uint64_t size) {
    return (struct body_request){
        .op = BODY_FINISH, .id = *which, .size = size, .deadline_ms = UINT64_MAX};
}

static int stat_on(struct node *node, const struct body_id *which, struct body_info *out) {
    char path[BODY_PATH_MAX];
    assert_true(body_path("data/bodies", which, path));
    bnd_sim_env_enter(node->sim);
    int rv = body_stat(bnd_sim_env(node->sim), path, which, out, NULL);
    bnd_sim_env_leave(node->sim);
    return rv;
}

static int count_name(void *data, const char *name) {
    (void)name;
    ++*(size_t *)data;
    return 0;
}

static size_t under_way_on(struct node *node) {
    size_t count = 0;
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    assert_int_equal(env->ops->dir_list(env, "data/bodies/tmp", count_name, &count, NULL), 0);
    bnd_sim_env_leave(node->sim);
    return count;
}

/* ---- the server
 * ------------------------------------------------------------------------------------- */

static void test_a_body_is_written_once_in_order_and_whole(void **state) {
    struct cluster cluster;
    struct body_info info;
    (void)state;
    cluster_start(&cluster, 1);
    struct node *writer = &cluster.nodes[0];
    struct body_request request = open_of(&id);
    assert_int_equal(ask(writer, &request), 0);
    assert_int_equal(ask(writer, &request), BND_EXISTS);
    request = append_of(&id, 5);
    assert_int_equal(ask(writer, &request), BND_INVALID); /* a gap */
    request = append_of(&id, 0);
    assert_int_equal(ask(writer, &request), 0);
    assert_int_equal(ask(writer, &request), BND_INVALID); /* again */
    request = finish_of(&id, 11);
    assert_int_equal(ask(writer, &request), BND_INVALID); /* a byte is missing */
    assert_int_equal(stat_on(&cluster.nodes[1], &id, &info), BND_NOTFOUND);
    assert_int_equal(under_way_on(&cluster.nodes[1]), 0); /* and it is given up */
    request = append_of(&id, 10);
    assert_int_equal(ask(writer, &request), BND_NOTFOUND);
    request = open_of(&id);
    assert_int_equal(ask(writer, &request), 0);
    request = append_of(&id, 0);
    assert_int_equal(ask(writer, &request), 0);
    request = finish_of(&id, 10);
    assert_int_equal(ask(writer, &request), 0);
    assert_int_equal(stat_on(&cluster.nodes[1], &id, &info), 0);
    assert_int_equal(info.size, 10);
    cluster_stop(&cluster);
}

static void test_only_its_writer_goes_on(void **state) {
    struct cluster cluster;
    struct body_id other_group = id;
    (void)state;
    cluster_start(&cluster, 2);
    other_group.gid++;
    struct body_request request = open_of(&id);
    assert_int_equal(ask(&cluster.nodes[0], &request), 0);
    request = append_of(&id, 0);
    assert_int_equal(ask(&cluster.nodes[2], &request), BND_NOTFOUND);
    request = append_of(&other_group, 0);
    assert_int_equal(ask(&cluster.nodes[0], &request), BND_NOTFOUND);
    cluster_stop(&cluster);
}

static void test_malformed_requests_are_refused(void **state) {
    struct cluster cluster;
    (void)state;
    cluster_start(&cluster, 3);
    struct body_request wrong[] = {open_of(&id), open_of(&id),
                                   finish_of(&id, BND_OBJECT_BODY_MAX + 1),
                                   append_of(&id, BND_OBJECT_BODY_MAX + 1), open_of(&id)};
    wrong[0].op = 0;
    wrong[1].op = BODY_HAVE + 1;
    wrong[4].op = BODY_READ;
    wrong[4].size = BND_OBJECT_BODY_MAX;
    wrong[4].len = BND_OBJECT_CHUNK_MAX + 1;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (ask(&cluster.nodes[0], &wrong[i]) != BND_INVALID) {
            fail_msg("request %zu", i);
        }
    }
    struct body_request with_data = open_of(&id);
    with_data.data = bnd_slice("x", 1);
    assert_int_equal(ask(&cluster.nodes[0], &with_data), BND_INVALID);
    struct body_request outside = {.op = BODY_READ, .id = id, .size = 10, .offset = 8, .len = 3};
    assert_int_equal(ask(&cluster.nodes[0], &outside), BND_RANGE);
    cluster_stop(&cluster);
}

static void test_bodies_under_way_and_bytes_are_bounded(void **state) {
    struct cluster cluster;
    (void)state;
    cluster_start(&cluster, 4);
    struct node *writer = &cluster.nodes[0];
    int status = 0;
    unsigned count = 0;
    struct body_id next = id;
    for (; status == 0 && count < 2000; count++) {
        bnd_put_u32(next.version + 4, count);
        struct body_request request = open_of(&next);
        status = ask(writer, &request);
    }
    assert_int_equal(status, BND_FULL);
    assert_int_equal(count, 1024 + 1);
    static struct asked asked[300]; /* of 256 KiB each: more than 64 MiB */
    const struct body_request read = {
        .op = BODY_READ, .id = id, .size = BND_OBJECT_CHUNK_MAX, .len = BND_OBJECT_CHUNK_MAX};
    bnd_sim_env_pause(cluster.nodes[1].sim, 1000 * BND_MS); /* they come at once */
    for (size_t i = 0; i < 300; i++) {
        begin(writer, 2, &read, &asked[i]);
    }
    size_t full = 0;
    for (size_t i = 0; i < 300; i++) {
        int rv = end(writer, &asked[i]);
        assert_true(rv == BND_NOTFOUND || rv == BND_FULL);
        full += rv == BND_FULL;
    }
    assert_int_equal(full, 300 - 256);
    cluster_stop(&cluster);
}

static void test_a_silent_writers_body_is_deleted(void **state) {
    struct cluster cluster;
    (void)state;
    cluster_start(&cluster, 5);
    struct body_request request = open_of(&id);
    assert_int_equal(ask(&cluster.nodes[0], &request), 0);
    bnd_sim_run_for(cluster.world, 60000 * BND_MS);
    assert_int_equal(under_way_on(&cluster.nodes[1]), 1);
    bnd_sim_run_for(cluster.world, 120000 * BND_MS);
    assert_int_equal(under_way_on(&cluster.nodes[1]), 0);
    cluster_stop(&cluster);
}

/* Every request to the disk fails in turn, requests on their way at once: "finished" is said only
 * of a body that is there, and whole. */
static void test_a_failing_disk_is_never_success(void **state) {
    int failures = 0;
    (void)state;
    for (uint64_t n = 1; n <= 8; n++) {
        struct cluster cluster;
        struct body_info info;
        struct asked asked[4];
        cluster_start(&cluster, 6);
        struct node *writer = &cluster.nodes[0];
        const struct body_request requests[4] = {open_of(&id), append_of(&id, 0),
                                                 append_of(&id, 10), finish_of(&id, 20)};
        bnd_sim_disk_fail(cluster.nodes[1].disk, n, BND_IO, false);
        for (size_t i = 0; i < 4; i++) {
            begin(writer, 2, &requests[i], &asked[i]);
        }
        int rv = 0;
        for (size_t i = 0; i < 4; i++) {
            rv = end(writer, &asked[i]);
        }
        bnd_sim_disk_heal(cluster.nodes[1].disk);
        bnd_sim_run_for(cluster.world, 1000 * BND_MS);
        failures += rv != 0;
        assert_int_equal(stat_on(&cluster.nodes[1], &id, &info), rv == 0 ? 0 : BND_NOTFOUND);
        assert_int_equal(under_way_on(&cluster.nodes[1]), 0);
        cluster_stop(&cluster);
    }
    assert_true(failures >= 3);
}

/* ---- the writer
 * ------------------------------------------------------------------------------------- */

static void test_standbys_are_not_counted(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 7);
    cluster.voters = 1;
    struct put put = put_of(BUCKET, "voter");
    /* The voter hears everything and is never heard: what the two standbys have is no majority. */
    bnd_sim_net_cut(cluster.net, 1, 2, true, false);
    assert_int_equal(node_put(&cluster.nodes[1], &put, 3, BIG, &answer), BND_UNAVAILABLE);
    bnd_sim_net_cut(cluster.net, 1, 2, false, false);
    bnd_sim_run_for(cluster.world, 10000 * BND_MS);
    node_crash(&cluster.nodes[2], BND_SIM_KILL);
    assert_int_equal(node_put(&cluster.nodes[1], &put, 3, BIG, &answer),
                     0); /* nor do they have to live */
    cluster_stop(&cluster);
}

static void test_replicas_that_cannot_be_are_refused(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 8);
    struct put put = put_of(BUCKET, "none");
    cluster.voters = 0;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), BND_UNAVAILABLE);
    cluster.voters = NODES + 1;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), BND_UNAVAILABLE);
    cluster_stop(&cluster);
}

/* A replica whose footer has an earlier deadline than the commit would free the body of a commit
 * that is still accepted. */
static void test_all_replicas_have_one_deadline(void **state) {
    struct cluster cluster;
    struct answer answer;
    struct body_info info[NODES];
    (void)state;
    cluster_start(&cluster, 9);
    struct put put = put_of(BUCKET, "deadline");
    bnd_sim_env_pause(cluster.nodes[2].sim, 150 * BND_MS);
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id body = id_of(&put, answer.version);
    bnd_sim_run_for(cluster.world, 1000 * BND_MS);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(stat_on(&cluster.nodes[i], &body, &info[i]), 0);
        assert_int_equal(info[i].deadline_ms, info[0].deadline_ms);
    }
    assert_true(info[0].deadline_ms >= cluster.stamp_ms + 50000);
    cluster_stop(&cluster);
}

static void test_a_slow_replica_is_not_named_a_holder(void **state) {
    struct cluster cluster;
    struct answer answer;
    struct objects_key key;
    struct objects_body_record record;
    struct bnd_buf value = {0};
    (void)state;
    cluster_start(&cluster, 10);
    struct put put = put_of(BUCKET, "slow");
    bnd_sim_env_pause(cluster.nodes[2].sim, 1500 * BND_MS); /* less than it takes to be given up */
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, 100000, &answer), 0);
    struct body_id body = id_of(&put, answer.version);
    struct node *node = &cluster.nodes[0];
    objects_key_version(&key, slot_of(body.gid), OBJECTS_TAG_BODY,
                        bnd_slice(body.version, sizeof body.version));
    bnd_sim_env_enter(node->sim);
    assert_int_equal(
        node->state->ops->get(node->state, BND_CF_OBJECTS, objects_key_slice(&key), &value), 0);
    assert_int_equal(objects_body_decode(bnd_buf_slice(&value), &record), 0);
    bnd_buf_free(&value);
    bnd_sim_env_leave(node->sim);
    assert_int_equal(record.have_count, 2);
    assert_int_equal(record.have[0] + record.have[1], 3);
    cluster_stop(&cluster);
}

static void test_a_majority_that_is_slow_is_waited_for(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 11);
    struct put put = put_of(BUCKET, "wait");
    bnd_sim_env_pause(cluster.nodes[1].sim, 5000 * BND_MS);
    bnd_sim_env_pause(cluster.nodes[2].sim, 5000 * BND_MS);
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    cluster_stop(&cluster);
}

static void test_a_writer_waits_for_room(void **state) {
    struct cluster cluster;
    struct answer answer = {0};
    static uint8_t bytes[200000];
    (void)state;
    cluster_start(&cluster, 12);
    struct node *node = &cluster.nodes[0];
    struct put put = put_of(BUCKET, "window");
    struct bnd_upload *upload = NULL;
    struct bnd_upload_options options = {.name = put.name, .size = BND_OBJECT_SIZE_UNKNOWN};
    bnd_sim_env_pause(cluster.nodes[1].sim, 1500 * BND_MS);
    bnd_sim_env_pause(cluster.nodes[2].sim, 1500 * BND_MS);
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_upload_begin(node->objects, &options, &upload, NULL), 0);
    size_t taken = 0;
    do {
        answer.done = false;
        assert_int_equal(
            bnd_upload_write(upload, bnd_slice(bytes, sizeof bytes), on_written, &answer), 0);
        bnd_sim_env_leave(node->sim);
        (void)bnd_sim_run_until_true(cluster.world, flag_set, &answer.done, 100 * BND_MS);
        bnd_sim_env_enter(node->sim);
        taken++;
    } while (answer.done && taken < 20);
    assert_in_range(taken, 2, 7); /* of 1 MiB */
    bnd_upload_destroy(upload);
    bnd_sim_env_leave(node->sim);
    cluster_stop(&cluster);
}

/* ---- servers that answer wrongly
 * ---------------------------------------------------------------------- */

static const uint8_t few[3];

static void serve_few(void *owner, struct bnd_rpc_request *request) {
    const struct bnd_slice part = bnd_slice(few, sizeof few);
    ++*(size_t *)owner;
    bnd_rpc_reply(request, 0, &part, 1);
}

static void serve_wrongly(struct node *node, size_t *count) {
    *count = 0;
    bnd_sim_env_enter(node->sim);
    bnd_rpc_serve(node->rpc, BND_RPC_BODY, serve_few, count);
    bnd_sim_env_leave(node->sim);
}

static void test_an_answer_cut_short_is_no_acknowledgement(void **state) {
    struct cluster cluster;
    struct answer answer;
    size_t counts[2];
    (void)state;
    cluster_start(&cluster, 13);
    serve_wrongly(&cluster.nodes[1], &counts[0]);
    serve_wrongly(&cluster.nodes[2], &counts[1]);
    struct put put = put_of(BUCKET, "cut");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), BND_UNAVAILABLE);
    assert_true(counts[0] > 0 && counts[1] > 0);
    cluster_stop(&cluster);
}

static void test_a_read_cut_short_is_taken_elsewhere(void **state) {
    struct cluster cluster;
    struct answer answer;
    char path[BODY_PATH_MAX];
    size_t count = 0;
    (void)state;
    cluster_start(&cluster, 14);
    struct put put = put_of(BUCKET, "read");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id body = id_of(&put, answer.version);
    struct node *node = &cluster.nodes[2];
    assert_true(body_path("data/bodies", &body, path));
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    assert_int_equal(env->ops->unlink(env, path, NULL), 0);
    bnd_sim_env_leave(node->sim);
    serve_wrongly(&cluster.nodes[0], &count);
    assert_int_equal(node_head(node, &put.name, &answer), 0);
    assert_int_equal(node_read(node, &answer, 3, 0, BIG), 0);
    assert_true(count > 0);
    count = 0;
    bnd_sim_run_for(cluster.world,
                    60000 * BND_MS); /* the sweep fetches it: from where it is whole */
    assert_true(count > 0);
    struct body_info info;
    assert_int_equal(stat_on(node, &body, &info), 0);
    assert_int_equal(node_head(node, &put.name, &answer), 0);
    assert_int_equal(node_read(node, &answer, 3, 0, BIG), 0);
    cluster_stop(&cluster);
}

/* ---- repair
 * ----------------------------------------------------------------------------------------- */

static void test_a_file_of_another_size_is_fetched_again(void **state) {
    struct cluster cluster;
    struct answer answer;
    struct body_writer writer;
    struct body_info info;
    (void)state;
    cluster_start(&cluster, 15);
    node_crash(&cluster.nodes[2], BND_SIM_POWER);
    struct put put = put_of(BUCKET, "size");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
    struct body_id body = id_of(&put, answer.version);
    struct node *node = &cluster.nodes[2];
    node_start(node);
    bnd_sim_env_enter(node->sim);
    struct bnd_env *env = bnd_sim_env(node->sim);
    assert_int_equal(body_writer_open(&writer, env, "data/bodies", &body, 99, NULL), 0);
    assert_int_equal(body_writer_append(&writer, bnd_slice("abc", 3), NULL), 0);
    assert_int_equal(body_writer_finish(&writer, "data/bodies", UINT64_MAX, NULL), 0);
    bnd_sim_env_leave(node->sim);
    node_catch_up(node);
    bnd_sim_run_for(cluster.world, 20000 * BND_MS);
    assert_int_equal(stat_on(node, &body, &info), 0);
    assert_int_equal(info.size, BIG);
    cluster_stop(&cluster);
}

/* Whatever request of the disk fails while a body is fetched: in the end it is there, as it was
 * written. */
static void test_a_fetch_outlives_a_failing_disk(void **state) {
    (void)state;
    for (uint64_t n = 1; n <= 8; n++) {
        struct cluster cluster;
        struct answer answer;
        cluster_start(&cluster, 16);
        node_crash(&cluster.nodes[2], BND_SIM_POWER);
        struct put put = put_of(BUCKET, "fetch");
        assert_int_equal(node_put(&cluster.nodes[0], &put, 3, BIG, &answer), 0);
        struct node *node = &cluster.nodes[2];
        node_start(node);
        node_catch_up(node);
        bnd_sim_run_for(cluster.world, 2500 * BND_MS);
        bnd_sim_disk_fail(node->disk, n, BND_IO, false);
        bnd_sim_run_for(cluster.world, 60000 * BND_MS);
        bnd_sim_disk_heal(node->disk);
        struct body_id body = id_of(&put, answer.version);
        struct body_info info;
        if (stat_on(node, &body, &info) != 0) {
            fail_msg("request %llu", (unsigned long long)n);
        }
        assert_int_equal(node_head(node, &put.name, &answer), 0);
        assert_int_equal(node_read(node, &answer, 3, 0, BIG), 0);
        cluster_stop(&cluster);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_is_written_once_in_order_and_whole),
        cmocka_unit_test(test_only_its_writer_goes_on),
        cmocka_unit_test(test_malformed_requests_are_refused),
        cmocka_unit_test(test_bodies_under_way_and_bytes_are_bounded),
        cmocka_unit_test(test_a_silent_writers_body_is_deleted),
        cmocka_unit_test(test_a_failing_disk_is_never_success),
        cmocka_unit_test(test_standbys_are_not_counted),
        cmocka_unit_test(test_replicas_that_cannot_be_are_refused),
        cmocka_unit_test(test_all_replicas_have_one_deadline),
        cmocka_unit_test(test_a_slow_replica_is_not_named_a_holder),
        cmocka_unit_test(test_a_majority_that_is_slow_is_waited_for),
        cmocka_unit_test(test_a_writer_waits_for_room),
        cmocka_unit_test(test_an_answer_cut_short_is_no_acknowledgement),
        cmocka_unit_test(test_a_read_cut_short_is_taken_elsewhere),
        cmocka_unit_test(test_a_file_of_another_size_is_fetched_again),
        cmocka_unit_test(test_a_fetch_outlives_a_failing_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
