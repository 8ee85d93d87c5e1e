/* Puts, heads, conditions, deletes, seals, uploads in parts, over three nodes. */
#include "tests/unit/objects/cluster.h"

enum { BUCKET = 7 };

static void etag_hex(uint8_t first, char out[33]) {
    uint8_t md5[16] = {first};
    bnd_hex_encode(md5, 16, out);
}

static void test_small_put_is_read_back(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 1);
    struct put put = put_of(BUCKET, "a/b/c");
    struct bnd_buf custom = {0};
    bnd_object_custom_add(&custom, bnd_slice_str("k\xfc"), bnd_slice_str("v"));
    put.fields.content_type = bnd_slice_str("text/plain");
    put.fields.custom = bnd_buf_slice(&custom);
    put.md5 = 9;
    assert_int_equal(node_head(&cluster.nodes[1], &put.name, &answer), BND_NOTFOUND);
    assert_int_equal(node_put(&cluster.nodes[0], &put, 5, 1000, &answer), 0);
    uint8_t version[16];
    memcpy(version, answer.version, 16);
    assert_int_equal(node_head(&cluster.nodes[1], &put.name, &answer), 0);
    assert_memory_equal(version, answer.version, 16);
    assert_int_equal(answer.size, 1000);
    assert_true(bnd_slice_eq(answer.object.meta.fields.content_type, bnd_slice_str("text/plain")));
    assert_true(bnd_slice_eq(answer.object.meta.fields.custom, bnd_buf_slice(&custom)));
    assert_int_equal(answer.object.meta.profile, BND_PROFILE_INLINE);
    assert_int_equal(node_read(&cluster.nodes[1], &answer, 5, 10, 990), 0);
    put.name.key = bnd_slice_str("empty");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 5, 0, &answer), 0);
    assert_int_equal(node_head(&cluster.nodes[2], &put.name, &answer), 0);
    assert_int_equal(node_read(&cluster.nodes[2], &answer, 5, 0, 0), 0);
    bnd_buf_free(&custom);
    cluster_stop(&cluster);
}

static void test_conditions_are_decided_by_apply(void **state) {
    struct cluster cluster;
    struct answer answer;
    char hex[33];
    (void)state;
    cluster_start(&cluster, 2);
    struct put put = put_of(BUCKET, "own.json");
    struct bnd_etag any = {.kind = BND_ETAG_WILDCARD};
    put.conditions.not_match = &any;
    put.conditions.not_match_count = 1;
    put.conditions.not_match_given = true;
    put.md5 = 1;
    assert_int_equal(node_put(&cluster.nodes[0], &put, 1, 62, &answer), 0);
    put.md5 = 2;
    assert_int_equal(node_put(&cluster.nodes[1], &put, 2, 62, &answer), BND_PRECONDITION);
    put.conditions = bnd_object_conditions_none();
    etag_hex(1, hex);
    struct bnd_etag own = {.kind = BND_ETAG_STRONG, .value = bnd_slice_str(hex)};
    put.conditions.match = &own;
    put.conditions.match_count = 1;
    put.conditions.match_given = true;
    assert_int_equal(node_put(&cluster.nodes[1], &put, 2, 62, &answer), 0);
    put.md5 = 3;
    assert_int_equal(node_put(&cluster.nodes[2], &put, 3, 62, &answer), BND_PRECONDITION);
    assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), 0);
    assert_int_equal(node_read(&cluster.nodes[0], &answer, 2, 0, 62), 0);
    cluster_stop(&cluster);
}

static void on_deleted(struct bnd_object_delete *del, int status, bool existed) {
    struct answer *answer = del->data;
    *answer = (struct answer){.done = true, .status = status, .flag = existed};
}

static int node_delete(struct node *node, const struct bnd_object_name *name,
                       struct answer *answer) {
    struct bnd_object_delete del = {.cb = on_deleted, .data = answer};
    *answer = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_object_delete(node->objects, &del, name, NULL), 0);
    bnd_sim_env_leave(node->sim);
    await(node->cluster, answer);
    return answer->status;
}

static void on_many(struct bnd_object_delete_many *del, const int *results, size_t count) {
    struct answer *answer = del->data;
    answer->done = true;
    for (size_t i = 0; i < count; i++) {
        answer->status = results[i] != 0 ? results[i] : answer->status;
    }
    answer->part = (uint32_t)count;
}

static void test_deletes(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 3);
    struct put put = put_of(BUCKET, "x");
    assert_int_equal(node_put(&cluster.nodes[0], &put, 1, 5, &answer), 0);
    assert_int_equal(node_delete(&cluster.nodes[0], &put.name, &answer), 0);
    assert_true(answer.flag);
    assert_int_equal(node_delete(&cluster.nodes[0], &put.name, &answer), 0);
    assert_false(answer.flag);
    char keys[40][16];
    struct bnd_slice slices[40];
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "k/%d/z", i);
        slices[i] = bnd_slice_str(keys[i]);
        put.name.key = slices[i];
        if (i % 2 == 0) {
            assert_int_equal(node_put(&cluster.nodes[1], &put, 1, 5, &answer), 0);
        }
    }
    struct bnd_object_delete_many many = {.cb = on_many, .data = &answer};
    answer = (struct answer){0};
    bnd_sim_env_enter(cluster.nodes[2].sim);
    assert_int_equal(
        bnd_object_delete_many(cluster.nodes[2].objects, &many, put.name.bucket, slices, 40), 0);
    bnd_sim_env_leave(cluster.nodes[2].sim);
    await(&cluster, &answer);
    assert_int_equal(answer.status, 0);
    assert_int_equal(answer.part, 40);
    for (int i = 0; i < 40; i++) {
        put.name.key = slices[i];
        assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_NOTFOUND);
    }
    cluster_stop(&cluster);
}

enum { BURST = 1000 };

struct burst {
    struct bnd_object_delete dels[BURST];
    struct answer answers[BURST];
};

static bool burst_over(void *data) {
    struct burst *burst = data;
    size_t done = 0;
    for (size_t i = 0; i < BURST; i++) {
        done += burst->answers[i].done;
    }
    return done == BURST;
}

/* A burst of single deletes is a few commands of its groups; each has its own answer. */
static void test_a_burst_of_deletes_shares_commands(void **state) {
    static struct burst burst;
    static char keys[BURST][16];
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 4);
    struct put put = put_of(BUCKET, "x");
    for (int i = 0; i < BURST; i++) {
        snprintf(keys[i], sizeof keys[i], "k/%d", i);
        put.name.key = bnd_slice_str(keys[i]);
        if (i % 10 == 0) {
            assert_int_equal(node_put(&cluster.nodes[0], &put, 1, 5, &answer), 0);
        }
    }
    uint64_t before = cluster.log_len;
    struct node *node = &cluster.nodes[1];
    bnd_sim_env_enter(node->sim);
    for (int i = 0; i < BURST; i++) {
        burst.dels[i] = (struct bnd_object_delete){.cb = on_deleted, .data = &burst.answers[i]};
        put.name.key = bnd_slice_str(keys[i]);
        assert_int_equal(bnd_object_delete(node->objects, &burst.dels[i], &put.name, NULL), 0);
    }
    bnd_sim_env_leave(node->sim);
    assert_true(bnd_sim_run_until_true(cluster.world, burst_over, &burst, 30000 * BND_MS));
    for (int i = 0; i < BURST; i++) {
        assert_int_equal(burst.answers[i].status, 0);
        assert_int_equal(burst.answers[i].flag, i % 10 == 0);
        put.name.key = bnd_slice_str(keys[i]);
        assert_int_equal(node_head(&cluster.nodes[0], &put.name, &answer), BND_NOTFOUND);
    }
    assert_in_range(cluster.log_len - before, SHARDS, 4 * SHARDS);
    cluster_stop(&cluster);
}

/* What waits when everything closes was certainly not executed. */
static void test_deletes_end_with_the_service(void **state) {
    struct cluster cluster;
    struct answer answer = {0};
    (void)state;
    cluster_start(&cluster, 5);
    struct node *node = &cluster.nodes[0];
    struct put put = put_of(BUCKET, "late");
    struct bnd_object_delete del = {.cb = on_deleted, .data = &answer};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_object_delete(node->objects, &del, &put.name, NULL), 0);
    bnd_sim_env_leave(node->sim);
    assert_false(answer.done);
    cluster_stop(&cluster);
    assert_true(answer.done);
    assert_int_equal(answer.status, BND_CANCELED);
}

static void on_sealed(struct bnd_bucket_seal *seal, int status, bool holds) {
    struct answer *answer = seal->data;
    *answer = (struct answer){.done = true, .status = status, .flag = holds};
}

static int node_seal(struct node *node, uint64_t attempt, bool on, struct answer *answer) {
    struct bnd_bucket_seal seal = {.cb = on_sealed, .data = answer};
    struct bnd_bucket_ref bucket = {.id = BUCKET, .segments = 2};
    *answer = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    int rv = on ? bnd_bucket_seal(node->objects, &seal, bucket, attempt)
                : bnd_bucket_unseal(node->objects, &seal, bucket, attempt);
    bnd_sim_env_leave(node->sim);
    assert_int_equal(rv, 0);
    await(node->cluster, answer);
    return answer->status;
}

static void on_created(struct bnd_multipart_create *create, int status, const uint8_t *id) {
    struct answer *answer = create->data;
    answer->done = true;
    answer->status = status;
    if (id != NULL) {
        memcpy(answer->id, id, sizeof answer->id);
    }
}

static int node_create(struct node *node, const struct put *put, struct answer *answer) {
    struct bnd_multipart_create create = {.cb = on_created, .data = answer};
    struct bnd_multipart_create_options options = {.name = put->name, .fields = put->fields};
    *answer = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_multipart_create(node->objects, &create, &options), 0);
    bnd_sim_env_leave(node->sim);
    await(node->cluster, answer);
    return answer->status;
}

static void on_aborted(struct bnd_multipart_abort *abort, int status) {
    struct answer *answer = abort->data;
    answer->done = true;
    answer->status = status;
}

static int node_abort(struct node *node, const struct put *put, const uint8_t *id,
                      struct answer *answer) {
    struct bnd_multipart_abort abort = {.cb = on_aborted, .data = answer};
    *answer = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_multipart_abort(node->objects, &abort, &put->name, id), 0);
    bnd_sim_env_leave(node->sim);
    await(node->cluster, answer);
    return answer->status;
}

static void test_seal(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 4);
    struct put put = put_of(BUCKET, "x/y/z");
    assert_int_equal(node_seal(&cluster.nodes[0], 1, true, &answer), 0);
    assert_false(answer.flag);
    assert_int_equal(node_put(&cluster.nodes[0], &put, 1, 5, &answer), BND_LOCKED);
    assert_int_equal(node_put(&cluster.nodes[0], &put, 1, 70000, &answer), BND_LOCKED);
    assert_int_equal(node_create(&cluster.nodes[0], &put, &answer), BND_LOCKED);
    assert_int_equal(node_seal(&cluster.nodes[1], 1, false, &answer), 0);
    assert_int_equal(node_seal(&cluster.nodes[1], 1, true, &answer), BND_EPOCH);
    assert_int_equal(node_create(&cluster.nodes[0], &put, &answer), 0);
    uint8_t id[16];
    memcpy(id, answer.id, sizeof id);
    assert_int_equal(node_seal(&cluster.nodes[1], 2, true, &answer), 0);
    assert_true(answer.flag); /* an upload in parts is something */
    assert_int_equal(node_seal(&cluster.nodes[1], 2, false, &answer), 0);
    assert_int_equal(node_abort(&cluster.nodes[0], &put, id, &answer), 0);
    assert_int_equal(node_abort(&cluster.nodes[0], &put, id, &answer), BND_NOTFOUND);
    assert_int_equal(node_put(&cluster.nodes[0], &put, 1, 5, &answer), 0);
    assert_int_equal(node_seal(&cluster.nodes[2], 3, true, &answer), 0);
    assert_true(answer.flag);
    /* Another bucket is not concerned. */
    struct put other = put_of(BUCKET + 1, "x/y/z");
    assert_int_equal(node_put(&cluster.nodes[0], &other, 1, 5, &answer), 0);
    cluster_stop(&cluster);
}

static void on_completed(struct bnd_multipart_complete *complete, int status,
                         struct bnd_object *object, uint32_t part) {
    struct answer *answer = complete->data;
    answer_object(answer, status, object);
    answer->part = part;
}

static int node_complete(struct node *node, const struct put *put, const uint8_t *id,
                         const struct bnd_multipart_part_ref *parts, size_t count,
                         uint64_t part_min, struct answer *answer) {
    struct bnd_multipart_complete complete = {.cb = on_completed, .data = answer};
    struct bnd_multipart_complete_options options = {.name = put->name,
                                                     .upload_id = id,
                                                     .parts = parts,
                                                     .count = count,
                                                     .part_min = part_min,
                                                     .conditions = put->conditions};
    *answer = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_multipart_complete(node->objects, &complete, &options), 0);
    bnd_sim_env_leave(node->sim);
    await(node->cluster, answer);
    return answer->status;
}

static void on_parts(struct bnd_multipart_parts *parts, int status,
                     const struct bnd_multipart_parts_page *page) {
    struct answer *answer = parts->data;
    answer->done = true;
    answer->status = status;
    for (size_t i = 0; page != NULL && i < page->count; i++) {
        char one[64];
        snprintf(one, sizeof one, "%u:%llu:%u ", page->parts[i].number,
                 (unsigned long long)page->parts[i].size, page->parts[i].etag_md5[0]);
        strcat(answer->text, one);
    }
}

static void test_upload_in_parts(void **state) {
    struct cluster cluster;
    struct answer answer;
    (void)state;
    cluster_start(&cluster, 5);
    struct node *node = &cluster.nodes[0];
    struct put put = put_of(BUCKET, "big");
    put.fields.content_type = bnd_slice_str("video/x");
    assert_int_equal(node_create(node, &put, &answer), 0);
    uint8_t id[16];
    memcpy(id, answer.id, sizeof id);
    put.upload_id = id;
    const size_t sizes[4] = {200000, 300000, 100, 50};
    for (uint32_t i = 0; i < 4; i++) {
        put.part = 3 * i + 1;
        put.md5 = (uint8_t)(10 + i);
        assert_int_equal(node_put(node, &put, i, sizes[i], &answer), 0);
    }
    put.part = 4; /* again: the last one counts */
    put.md5 = 99;
    assert_int_equal(node_put(node, &put, 7, 250000, &answer), 0);
    struct bnd_multipart_parts parts = {.cb = on_parts, .data = &answer};
    struct bnd_multipart_parts_options options = {.name = put.name, .upload_id = id, .limit = 1000};
    answer = (struct answer){0};
    bnd_sim_env_enter(node->sim);
    assert_int_equal(bnd_multipart_parts(node->objects, &parts, &options), 0);
    bnd_sim_env_leave(node->sim);
    await(&cluster, &answer);
    assert_string_equal(answer.text, "1:200000:10 4:250000:99 7:100:12 10:50:13 ");

    struct bnd_multipart_part_ref refs[3] = {{1, {10}}, {4, {11}}, {7, {12}}};
    assert_int_equal(node_complete(node, &put, id, refs, 3, 0, &answer), BND_INVALID);
    assert_int_equal(answer.part, 4); /* its etag is another by now */
    refs[1].etag_md5[0] = 99;
    assert_int_equal(node_complete(node, &put, id, refs, 3, 240000, &answer), BND_RANGE);
    assert_int_equal(answer.part, 1);
    refs[2].number = 4;
    assert_int_equal(node_complete(node, &put, id, refs, 3, 0, &answer), BND_INVALID);
    refs[2].number = 7;
    struct put wrong = put;
    wrong.name.key = bnd_slice_str("bigger");
    assert_int_equal(node_complete(node, &wrong, id, refs, 3, 0, &answer), BND_NOTFOUND);
    assert_int_equal(node_complete(node, &put, id, refs, 3, 200000, &answer), 0);
    assert_int_equal(answer.size, 450100);
    assert_string_equal(answer.etag + 32, "-3");

    assert_int_equal(node_head(&cluster.nodes[1], &put.name, &answer), 0);
    assert_int_equal(answer.object.meta.parts, 3);
    assert_true(bnd_slice_eq(answer.object.meta.fields.content_type, bnd_slice_str("video/x")));
    uint64_t offset = 0;
    uint64_t length = 0;
    assert_int_equal(bnd_object_part_range(&answer.object, 2, &offset, &length), 0);
    assert_int_equal(offset, 200000);
    assert_int_equal(length, 250000);
    /* The first part's bytes, then the rest of the second's: the pattern starts anew in each. */
    assert_int_equal(node_read(&cluster.nodes[1], &answer, 0, 0, 200000), 0);
    assert_int_equal(node_complete(node, &put, id, refs, 3, 0, &answer), BND_NOTFOUND);
    put.upload_id = id;
    assert_int_equal(node_put(node, &put, 7, 100, &answer), BND_NOTFOUND);
    cluster_stop(&cluster);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_put_is_read_back),
        cmocka_unit_test(test_conditions_are_decided_by_apply),
        cmocka_unit_test(test_deletes),
        cmocka_unit_test(test_a_burst_of_deletes_shares_commands),
        cmocka_unit_test(test_deletes_end_with_the_service),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_upload_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
