/* Group 0 while the cluster's CA is being changed (ADR 0091). */
#include "catalog/issue.h"
#include "catalog/seal.h"
#include "tests/unit/catalog/machine.h"

/* One more node, with a key of its own; its id. */
static uint64_t join_node(struct machine *m, uint8_t key) {
    struct bnd_buf token = {0};
    struct bnd_buf node = {0};
    const uint8_t key_hash[BND_SECRET_HASH_LEN] = {key};
    uint8_t hash[BND_SHA256_LEN];
    struct bnd_node_record record = {.state = BND_NODE_ACTIVE,
                                     .role = BND_NODE_STORAGE,
                                     .weight = 100,
                                     .address = bnd_slice_str("127.0.0.9:7703"),
                                     .key_hash = bnd_slice(key_hash, sizeof key_hash)};
    bnd_issue_join(bnd_slice_str("hush"), m->stamp_ms + 1000, &token);
    bnd_node_encode(&node, &record);
    bnd_sha256(bnd_slice_str("hush"), hash);
    struct bnd_catalog_command put = {
        .op = BND_CATALOG_JOIN_TOKEN, .a = bnd_slice(&key, 1), .b = bnd_buf_slice(&token)};
    assert_int_equal(apply(m, &put), 0);
    struct bnd_catalog_command join = {.op = BND_CATALOG_JOIN,
                                       .a = bnd_slice(&key, 1),
                                       .b = bnd_buf_slice(&node),
                                       .c = bnd_slice(hash, sizeof hash)};
    assert_int_equal(apply(m, &join), 0);
    assert_int_equal(bnd_node_decode(bnd_buf_slice(&m->reply), &record), 0);
    bnd_buf_free(&token);
    bnd_buf_free(&node);
    return record.id;
}

static uint64_t revision(struct machine *m) {
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW};
    assert_int_equal(query(m, &q), 0);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&m->reply));
    return bnd_read_u64(&r);
}

static struct bnd_settings settings_now(struct machine *m) {
    struct bnd_settings settings;
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW};
    assert_int_equal(query(m, &q), 0);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&m->reply));
    (void)bnd_read_u64(&r);
    assert_int_equal(bnd_settings_decode(bnd_read_bytes(&r), &settings), 0);
    return settings; /* borrows from m->reply until the next call */
}

static int begin_ca(struct machine *m, uint64_t generation, const char *cert) {
    struct bnd_catalog_command command = {.op = BND_CATALOG_CA_BEGIN,
                                          .number = generation,
                                          .a = bnd_slice_str(cert),
                                          .b = bnd_slice_str("next key"),
                                          .c = bnd_slice_str("link")};
    return apply(m, &command);
}

static int confirm_ca(struct machine *m, uint64_t node, uint64_t generation) {
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_CA_CONFIRM, .id = node, .number = generation};
    return apply(m, &command);
}

static int finish_ca(struct machine *m, uint64_t generation, const char *force) {
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_CA_FINISH, .number = generation, .a = bnd_slice_str(force)};
    return apply(m, &command);
}

static void the_old_ca_stays_until_every_member_has_the_new_one(void **state) {
    struct machine *m = *state;
    assert_int_equal(begin_ca(m, 1, "ca 2"), BND_INVALID); /* before the cluster is set up */
    init_cluster(m);
    assert_int_equal(join_node(m, 1), 2);
    assert_int_equal(finish_ca(m, 1, ""), BND_NOTFOUND);
    assert_int_equal(begin_ca(m, 0, "ca 2"), BND_PRECONDITION);
    assert_int_equal(begin_ca(m, 1, ""), BND_INVALID);
    assert_int_equal(begin_ca(m, 1, "ca 2"), 0);
    assert_int_equal(begin_ca(m, 2, "ca 3"), BND_PRECONDITION); /* one at a time */
    struct bnd_settings s = settings_now(m);
    assert_int_equal(s.ca_generation, 2);
    assert_true(bnd_slice_eq(s.ca_cert, bnd_slice_str("ca 2")));
    assert_true(bnd_slice_eq(s.ca_key, bnd_slice_str("next key")));
    assert_true(bnd_slice_eq(s.ca_link, bnd_slice_str("link")));
    assert_true(bnd_slice_eq(s.old_ca_cert, bnd_slice_str("ca 1")));
    assert_true(bnd_slice_eq(s.old_ca_key, bnd_slice_str("key 1")));

    assert_int_equal(confirm_ca(m, 1, 1), BND_EPOCH);
    assert_int_equal(confirm_ca(m, 9, 2), BND_NOTFOUND);
    assert_int_equal(confirm_ca(m, 1, 2), 0);
    assert_int_equal(finish_ca(m, 2, ""), BND_PRECONDITION); /* node 2 */
    assert_int_equal(join_node(m, 2), 3);
    assert_int_equal(confirm_ca(m, 2, 2), 0);
    assert_int_equal(finish_ca(m, 2, ""), BND_PRECONDITION); /* node 3, which came meanwhile */
    assert_int_equal(finish_ca(m, 1, "force"), BND_EPOCH);
    assert_int_equal(confirm_ca(m, 3, 2), 0);
    assert_int_equal(finish_ca(m, 2, ""), 0);
    s = settings_now(m);
    assert_int_equal(s.ca_generation, 2);
    assert_true(bnd_slice_eq(s.ca_cert, bnd_slice_str("ca 2")));
    assert_int_equal(s.ca_link.len + s.old_ca_cert.len + s.old_ca_key.len, 0);
    assert_int_equal(finish_ca(m, 2, ""), BND_NOTFOUND);
    assert_int_equal(begin_ca(m, 2, "ca 3"), 0); /* what was confirmed once is not of this one */
    assert_int_equal(finish_ca(m, 3, ""), BND_PRECONDITION);
    assert_int_equal(finish_ca(m, 3, "force"), 0);
}

static void every_step_of_a_ca_moves_the_revision(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    uint64_t at = revision(m);
    assert_int_equal(begin_ca(m, 1, "ca 2"), 0);
    assert_true(revision(m) > at);
    at = revision(m);
    assert_int_equal(confirm_ca(m, 1, 2), 0);
    assert_true(revision(m) > at);
    at = revision(m);
    assert_int_equal(confirm_ca(m, 1, 2), 0); /* again: nothing changed */
    assert_int_equal(revision(m), at);
    assert_int_equal(finish_ca(m, 2, ""), 0);
    assert_true(revision(m) > at);
}

static void settings_and_nodes_of_before_are_read(void **state) {
    static const char settings[] = "\1\11\0\0\0\0\0\0\0\100\0\0\0\1\0\0\0\3\0\0\0"
                                   "\1\0\0\0a\2\0\0\0ca\3\0\0\0key";
    static const char node[] = "\2\7\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\1\1\144\0\0\0"
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    struct bnd_settings s;
    struct bnd_node_record n;
    assert_int_equal(bnd_settings_decode(bnd_slice(settings, sizeof settings - 1), &s), 0);
    assert_int_equal(s.ca_generation, 1);
    assert_int_equal(s.old_ca_cert.len, 0);
    assert_true(bnd_slice_eq(s.ca_key, bnd_slice_str("key")));
    assert_int_equal(bnd_node_decode(bnd_slice(node, sizeof node - 1), &n), 0);
    assert_int_equal(n.place, 5);
    assert_int_equal(n.ca_generation, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_old_ca_stays_until_every_member_has_the_new_one),
        TEST(every_step_of_a_ca_moves_the_revision),
        TEST(settings_and_nodes_of_before_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
