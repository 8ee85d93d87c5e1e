/* Deleting buckets on three simulated nodes with the real state machines of group 0 and of objects:
 * cut off after every call, a deletion must leave nothing that the sweep does not end. */
#include "catalog/fsm.h"
#include "gateway/bucket_delete.h"
#include "tests/unit/objects/cluster.h"

struct rig {
    struct cluster cluster;
    struct bnd_catalog *catalogs[NODES];
    struct bnd_gateway_services services[NODES];
};

static void rig_start(struct rig *rig) {
    cluster_start(&rig->cluster, 1);
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = &rig->cluster.nodes[i];
        bnd_catalog_fsm_make(&node->system);
        bnd_sim_env_enter(node->sim);
        struct bnd_catalog_config config = {.env = bnd_sim_env(node->sim), .client = &node->client};
        assert_int_equal(bnd_catalog_create(&config, &rig->catalogs[i]), 0);
        bnd_sim_env_leave(node->sim);
        rig->services[i] = (struct bnd_gateway_services){.env = bnd_sim_env(node->sim),
                                                         .catalog = rig->catalogs[i],
                                                         .objects = node->objects,
                                                         .self = node->id};
    }
}

static void rig_end(struct rig *rig) {
    for (size_t i = 0; i < NODES; i++) {
        bnd_sim_env_enter(rig->cluster.nodes[i].sim);
        bnd_catalog_destroy(rig->catalogs[i]);
        bnd_sim_env_leave(rig->cluster.nodes[i].sim);
    }
    cluster_stop(&rig->cluster);
}

/* ---- what a client does
 * ----------------------------------------------------------------------- */

struct told {
    struct bnd_bucket_record bucket;
    struct answer answer;
};

static void on_call(struct bnd_catalog_call *call, int status, struct bnd_slice reply) {
    struct told *told = call->data;
    told->answer.status = status;
    told->answer.done = true;
    if (status == 0) {
        assert_int_equal(bnd_bucket_decode(reply, &told->bucket), 0);
        told->bucket.name = bnd_slice(NULL, 0); /* borrowed */
    }
}

static int create(struct rig *rig, const char *name, struct bnd_bucket_ref *out) {
    struct told told = {0};
    struct bnd_catalog_call call = {.cb = on_call, .data = &told};
    struct bnd_catalog_command command = {.op = BND_CATALOG_BUCKET_CREATE,
                                          .a = bnd_slice_str(name)};
    bnd_sim_env_enter(rig->cluster.nodes[0].sim);
    assert_int_equal(bnd_catalog_write(rig->catalogs[0], &call, &command, 0), 0);
    bnd_sim_env_leave(rig->cluster.nodes[0].sim);
    await(&rig->cluster, &told.answer);
    *out = (struct bnd_bucket_ref){.id = told.bucket.id, .segments = told.bucket.segments};
    return told.answer.status;
}

/* BND_NOTFOUND, or 0 with the record in *out. */
static int find(struct rig *rig, const char *name, struct bnd_bucket_record *out) {
    struct told told = {0};
    struct bnd_catalog_call call = {.cb = on_call, .data = &told};
    struct bnd_catalog_query query = {.kind = BND_CATALOG_QUERY_BUCKET, .a = bnd_slice_str(name)};
    bnd_sim_env_enter(rig->cluster.nodes[1].sim);
    assert_int_equal(bnd_catalog_read(rig->catalogs[1], &call, &query, 0), 0);
    bnd_sim_env_leave(rig->cluster.nodes[1].sim);
    await(&rig->cluster, &told.answer);
    *out = told.bucket;
    return told.answer.status;
}

static int put_key(struct rig *rig, struct bnd_bucket_ref bucket, const char *key) {
    struct node *node = &rig->cluster.nodes[2];
    struct bnd_upload_options options = {.name = {.bucket = bucket, .key = bnd_slice_str(key)},
                                         .size = 0};
    struct bnd_upload_commit commit = {.fields = bnd_object_fields_none(),
                                       .conditions = bnd_object_conditions_none()};
    struct bnd_upload *upload = NULL;
    struct answer answer = {0};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_upload_begin(node->objects, &options, &upload, NULL), 0);
    assert_int_equal(bnd_upload_commit(upload, &commit, on_committed, &answer), 0);
    bnd_sim_env_leave(node->sim);
    await(&rig->cluster, &answer);
    bnd_sim_env_enter(node->sim);
    bnd_upload_destroy(upload);
    bnd_sim_env_leave(node->sim);
    return answer.status;
}

static void on_deleted(struct bnd_bucket_delete *del, int status) {
    struct answer *answer = del->data;
    assert_false(answer->done);
    answer->status = status;
    answer->done = true;
}

static void begin_delete(struct rig *rig, size_t node, const char *name,
                         struct bnd_bucket_delete *del, struct answer *answer) {
    *answer = (struct answer){0};
    *del = (struct bnd_bucket_delete){.cb = on_deleted, .data = answer};
    bnd_sim_env_enter(rig->cluster.nodes[node].sim);
    assert_int_equal(bnd_bucket_delete(&rig->services[node], del, bnd_slice_str(name)), 0);
    bnd_sim_env_leave(rig->cluster.nodes[node].sim);
}

static int delete_bucket(struct rig *rig, const char *name) {
    struct bnd_bucket_delete del;
    struct answer answer;
    begin_delete(rig, 0, name, &del, &answer);
    await(&rig->cluster, &answer);
    return answer.status;
}

static void on_swept(struct bnd_bucket_sweep *sweep, int status) {
    struct answer *answer = sweep->data;
    answer->status = status;
    answer->done = true;
}

static uint64_t sweep(struct rig *rig) {
    struct answer answer = {0};
    struct bnd_bucket_sweep pass = {.cb = on_swept, .data = &answer};
    bnd_sim_env_enter(rig->cluster.nodes[1].sim);
    assert_int_equal(bnd_bucket_delete_resume(&rig->services[1], &pass), 0);
    bnd_sim_env_leave(rig->cluster.nodes[1].sim);
    await(&rig->cluster, &answer);
    assert_int_equal(answer.status, 0);
    return pass.ended;
}

/* ---- tests
 * ------------------------------------------------------------------------------------ */

static void test_deletes_and_refuses(void **state) {
    (void)state;
    struct rig *rig = calloc(1, sizeof *rig);
    struct bnd_bucket_ref bucket;
    struct bnd_bucket_ref again;
    struct bnd_bucket_record record;
    rig_start(rig);
    assert_int_equal(delete_bucket(rig, "none"), BND_NOTFOUND);
    assert_int_equal(create(rig, "bkt", &bucket), 0);
    assert_int_equal(put_key(rig, bucket, "k"), 0);
    assert_int_equal(delete_bucket(rig, "bkt"), BND_NOTEMPTY);
    assert_int_equal(find(rig, "bkt", &record), 0);
    assert_int_equal(record.state, BND_BUCKET_ACTIVE);
    assert_int_equal(put_key(rig, bucket, "k2"), 0);
    assert_int_equal(create(rig, "empty", &bucket), 0);
    assert_int_equal(delete_bucket(rig, "empty"), 0);
    assert_int_equal(find(rig, "empty", &record), BND_NOTFOUND);
    assert_int_equal(put_key(rig, bucket, "k"), BND_LOCKED); /* the old id, for ever */
    assert_int_equal(create(rig, "empty", &again), 0);
    assert_true(again.id > bucket.id);
    assert_int_equal(put_key(rig, again, "k"), 0);
    rig_end(rig);
    free(rig);
}

/* The cluster stops answering after n calls, for longer than the deletion waits; then it is back.
 */
static bool cut_after(struct rig *rig, uint64_t n, bool empty) {
    struct bnd_bucket_ref bucket;
    struct bnd_bucket_record record;
    char name[32];
    (void)snprintf(name, sizeof name, "cut-%s-%llu", empty ? "empty" : "full",
                   (unsigned long long)n);
    assert_int_equal(create(rig, name, &bucket), 0);
    if (!empty) {
        assert_int_equal(put_key(rig, bucket, "k"), 0);
    }
    rig->cluster.calls_left = n;
    int status = delete_bucket(rig, name);
    bool was_cut = rig->cluster.refuse;
    rig->cluster.calls_left = 0;
    rig->cluster.refuse = false;
    if (status == BND_NOTEMPTY) { /* nothing of it may happen any more */
        assert_int_equal(find(rig, name, &record), 0);
        assert_int_equal(record.state, BND_BUCKET_ACTIVE);
    }
    bool ended = status == 0 || (status == BND_NOTEMPTY && !empty);
    assert_true(ended || bnd_code_class(status) == BND_CLASS_RETRY ||
                bnd_code_class(status) == BND_CLASS_UNKNOWN);
    bnd_sim_run_for(rig->cluster.world, (BND_BUCKET_ATTEMPT_OVERDUE_MS + 1000) * BND_MS);
    (void)sweep(rig);
    int found = find(rig, name, &record);
    if (found == 0) {
        assert_int_equal(record.state, BND_BUCKET_ACTIVE);
        assert_int_equal(put_key(rig, bucket, "after"), 0);
    } else {
        assert_int_equal(found, BND_NOTFOUND);
        assert_true(empty);
        assert_int_equal(put_key(rig, bucket, "after"), BND_LOCKED);
    }
    return was_cut;
}

static void test_cut_off_after_every_call(void **state) {
    (void)state;
    struct rig *rig = calloc(1, sizeof *rig);
    rig_start(rig);
    for (int empty = 0; empty < 2; empty++) {
        uint64_t n = 1;
        while (cut_after(rig, n, empty != 0) && n < 100) {
            n++;
        }
        assert_true(n > SHARDS && n < 100); /* every call of a deletion was the last one once */
    }
    rig_end(rig);
    free(rig);
}

static void test_sweep_leaves_the_young_alone(void **state) {
    (void)state;
    struct rig *rig = calloc(1, sizeof *rig);
    struct bnd_bucket_ref bucket;
    struct bnd_bucket_record record;
    rig_start(rig);
    assert_int_equal(create(rig, "young", &bucket), 0);
    rig->cluster.calls_left = 3;
    assert_int_not_equal(delete_bucket(rig, "young"), 0);
    rig->cluster.calls_left = 0;
    rig->cluster.refuse = false;
    assert_int_equal(find(rig, "young", &record), 0);
    assert_int_equal(record.state, BND_BUCKET_DELETING);
    assert_int_equal(sweep(rig), 0);
    bnd_sim_run_for(rig->cluster.world, (BND_BUCKET_ATTEMPT_OVERDUE_MS + 1000) * BND_MS);
    assert_int_equal(sweep(rig), 1);
    assert_int_equal(sweep(rig), 0);
    rig_end(rig);
    free(rig);
}

static void test_attempts_side_by_side(void **state) {
    (void)state;
    struct rig *rig = calloc(1, sizeof *rig);
    struct bnd_bucket_ref bucket;
    struct bnd_bucket_record record;
    struct bnd_bucket_delete dels[2];
    struct answer answers[2];
    rig_start(rig);
    for (int full = 0; full < 2; full++) {
        const char *name = full ? "both-full" : "both-empty";
        assert_int_equal(create(rig, name, &bucket), 0);
        if (full) {
            assert_int_equal(put_key(rig, bucket, "k"), 0);
        }
        begin_delete(rig, 0, name, &dels[0], &answers[0]);
        begin_delete(rig, 1, name, &dels[1], &answers[1]);
        await(&rig->cluster, &answers[0]);
        await(&rig->cluster, &answers[1]);
        int found = find(rig, name, &record);
        assert_int_equal(found, full ? 0 : BND_NOTFOUND);
        if (full) {
            assert_int_equal(record.state, BND_BUCKET_ACTIVE);
            assert_int_equal(put_key(rig, bucket, "k2"), 0);
        } else {
            assert_true(answers[0].status == 0 || answers[1].status == 0);
        }
    }
    rig_end(rig);
    free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deletes_and_refuses),
        cmocka_unit_test(test_cut_off_after_every_call),
        cmocka_unit_test(test_sweep_leaves_the_young_alone),
        cmocka_unit_test(test_attempts_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
