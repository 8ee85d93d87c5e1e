/* KV namespaces in group 0: what the commands decide, and what views and their readers see. */
#include "catalog/issue.h"
#include "catalog/view.h"
#include "tests/unit/catalog/machine.h"

#define LIMIT 1000

static const char id_a[] = "000102030405060708090a0b0c0d0e0f";
static const char id_b[] = "ff0102030405060708090a0b0c0d0e0f";
static const char id_c[] = "770102030405060708090a0b0c0d0e0f";

static int create_at(struct machine *m, const char *title, const char *public_id, uint64_t limit) {
    struct bnd_catalog_command command = {.op = BND_CATALOG_KV_CREATE,
                                          .id = limit,
                                          .number = BND_KV_EVENTUAL,
                                          .a = bnd_slice_str(title),
                                          .b = bnd_slice_str(public_id)};
    return apply(m, &command);
}

static int create(struct machine *m, const char *title, const char *public_id) {
    return create_at(m, title, public_id, LIMIT);
}

static int change(struct machine *m, enum bnd_catalog_op op, const char *public_id,
                  const char *title, uint64_t number) {
    struct bnd_catalog_command command = {
        .op = op, .number = number, .a = bnd_slice_str(title), .b = bnd_slice_str(public_id)};
    return apply(m, &command);
}

/* The record that was answered. */
static struct bnd_kv_namespace_record answered(struct machine *m) {
    struct bnd_kv_namespace_record record;
    assert_int_equal(bnd_kv_namespace_decode(bnd_buf_slice(&m->reply), &record), 0);
    return record;
}

/* The whole view as a process decodes it; owned. version 1: as an older process asks. */
static struct catalog_view *view_of(struct machine *m, uint8_t version) {
    static const uint8_t cluster_key[BND_CLUSTER_KEY_LEN] = {0};
    struct catalog_view *view = NULL;
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW,
                                  .a = bnd_slice(&version, version > 1 ? 1 : 0)};
    assert_int_equal(query(m, &q), 0);
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&m->reply), cluster_key, &view), 0);
    return view;
}

static void a_namespace_is_made_renamed_set_and_deleted(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create(m, "one", id_a), 0);
    struct bnd_kv_namespace_record record = answered(m);
    assert_int_equal(record.id, 1);
    assert_int_equal(record.created_ms, m->stamp_ms);
    assert_int_equal(record.consistency, BND_KV_EVENTUAL);
    assert_int_equal(create(m, "two", id_b), 0);
    assert_int_equal(change(m, BND_CATALOG_KV_RENAME, id_b, "deux", 0), 0);
    record = answered(m);
    assert_true(bnd_slice_eq(record.title, bnd_slice_str("deux")) && record.id == 2);
    assert_int_equal(change(m, BND_CATALOG_KV_RENAME, id_b, "deux", 0), 0); /* its own title */
    assert_int_equal(change(m, BND_CATALOG_KV_SET, id_b, "", BND_KV_CONSISTENCY_LOCAL), 0);
    assert_int_equal(answered(m).consistency, BND_KV_CONSISTENCY_LOCAL);
    assert_int_equal(change(m, BND_CATALOG_KV_DELETE, id_b, "", 0), 0);
    assert_int_equal(change(m, BND_CATALOG_KV_DELETE, id_b, "", 0), BND_NOTFOUND);
    assert_int_equal(change(m, BND_CATALOG_KV_RENAME, id_b, "x", 0), BND_NOTFOUND);
    assert_int_equal(change(m, BND_CATALOG_KV_SET, id_b, "", BND_KV_EVENTUAL), BND_NOTFOUND);
}

static void a_title_is_one_namespaces(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create(m, "one", id_a), 0);
    assert_int_equal(create(m, "one", id_b), BND_EXISTS);
    assert_int_equal(answered(m).id, 1); /* the record there */
    assert_int_equal(create(m, "two", id_a), BND_EXISTS);
    assert_int_equal(create(m, "two", id_b), 0);
    assert_int_equal(change(m, BND_CATALOG_KV_RENAME, id_b, "one", 0), BND_EXISTS);
    assert_int_equal(change(m, BND_CATALOG_KV_DELETE, id_a, "", 0), 0);
    assert_int_equal(change(m, BND_CATALOG_KV_RENAME, id_b, "one", 0), 0);
}

/* Records of a deleted namespace may still lie somewhere: its number never comes again. */
static void an_id_is_never_issued_again(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create(m, "one", id_a), 0);
    assert_int_equal(change(m, BND_CATALOG_KV_DELETE, id_a, "", 0), 0);
    assert_int_equal(create(m, "one", id_a), 0);
    assert_int_equal(answered(m).id, 2);
    struct bnd_catalog_command recover = {.op = BND_CATALOG_RECOVER, .id = 1};
    assert_int_equal(apply(m, &recover), 0);
    assert_int_equal(create(m, "two", id_b), 0);
    assert_true(answered(m).id > 1 << 20);
}

static void what_is_no_namespace_is_refused(void **state) {
    struct machine *m = *state;
    char title[BND_KV_TITLE_MAX + 2];
    memset(title, 't', sizeof title - 1);
    title[sizeof title - 1] = 0;
    init_cluster(m);
    assert_int_equal(create(m, "", id_a), BND_INVALID);
    assert_int_equal(create(m, title, id_a), BND_INVALID);
    assert_int_equal(create(m, title + 1, id_a), 0);
    assert_int_equal(create(m, "a\nb", id_b), BND_INVALID);
    assert_int_equal(create(m, "\xff", id_b), BND_INVALID);
    assert_int_equal(create(m, "t", "FF0102030405060708090a0b0c0d0e0f"), BND_INVALID);
    assert_int_equal(create(m, "t", "ff"), BND_INVALID);
    assert_int_equal(change(m, BND_CATALOG_KV_RENAME, id_a, "", 0), BND_INVALID);
    assert_int_equal(change(m, BND_CATALOG_KV_SET, id_a, "", 3), BND_INVALID);
}

static void there_are_no_more_than_the_limit_says(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create_at(m, "one", id_a, 2), 0);
    assert_int_equal(create_at(m, "two", id_b, 2), 0);
    assert_int_equal(create_at(m, "three", id_c, 2), BND_FULL);
    assert_int_equal(change(m, BND_CATALOG_KV_DELETE, id_a, "", 0), 0);
    assert_int_equal(create_at(m, "three", id_c, 2), 0);
}

static void the_view_has_them_in_both_orders(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    struct catalog_view *view = view_of(m, 2);
    uint64_t before = view->view.revision;
    assert_int_equal(view->view.kv_namespaces_count, 0);
    assert_int_equal(view->view.kv_namespace_next, 1);
    catalog_view_free(view);
    assert_int_equal(create(m, "one", id_c), 0);
    assert_int_equal(create(m, "two", id_b), 0);
    assert_int_equal(create(m, "three", id_a), 0);
    assert_int_equal(change(m, BND_CATALOG_KV_DELETE, id_b, "", 0), 0);
    view = view_of(m, 2);
    assert_true(view->view.revision >= before + 4);
    assert_int_equal(view->view.kv_namespace_next, 4);
    assert_int_equal(view->view.kv_namespaces_count, 2);
    assert_int_equal(view->view.kv_namespaces[0].id, 1);
    assert_int_equal(view->view.kv_namespaces[1].id, 3);
    assert_int_equal(view->view.kv_by_public_id[0], 1); /* "00..." before "77..." */
    assert_int_equal(view->view.kv_by_public_id[1], 0);
    catalog_view_free(view);
}

/* A process of the version before gets the answer that it can read. */
static void a_view_of_version_1_has_no_sections(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create(m, "one", id_a), 0);
    struct catalog_view *view = view_of(m, 1);
    size_t plain = m->reply.len;
    assert_int_equal(view->view.kv_namespaces_count, 0);
    catalog_view_free(view);
    catalog_view_free(view_of(m, 2));
    assert_true(m->reply.len > plain);
}

static void a_section_of_a_later_version_is_skipped_and_a_broken_one_refused(void **state) {
    static const uint8_t cluster_key[BND_CLUSTER_KEY_LEN] = {0};
    struct machine *m = *state;
    struct bnd_buf bytes = {0};
    struct catalog_view *view = NULL;
    init_cluster(m);
    assert_int_equal(create(m, "one", id_a), 0);
    catalog_view_free(view_of(m, 2));
    bnd_buf_append_slice(&bytes, bnd_buf_slice(&m->reply));
    const size_t map = 1 + 4 + 4; /* the section behind it: nothing is in it */
    for (size_t cut = 1; cut < 40; cut++) {
        if (cut == map) {
            continue; /* a whole section is left out */
        }
        assert_int_equal(
            catalog_view_decode(bnd_slice(bytes.data, bytes.len - cut), cluster_key, &view),
            BND_CORRUPT);
    }
    bnd_buf_u8(&bytes, 200);
    bnd_buf_bytes(&bytes, bnd_slice_str("from the future"));
    assert_int_equal(catalog_view_decode(bnd_buf_slice(&bytes), cluster_key, &view), 0);
    assert_int_equal(view->view.kv_namespaces_count, 1);
    catalog_view_free(view);
    bnd_buf_free(&bytes);
}

static void a_query_tells_all_or_one(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create(m, "one", id_a), 0);
    assert_int_equal(create(m, "two", id_b), 0);
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_KV_NAMESPACES};
    assert_int_equal(query(m, &q), 0);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&m->reply));
    assert_int_equal(bnd_read_u64(&r), 3);
    assert_int_equal(bnd_read_u32(&r), 2);
    q.a = bnd_slice_str(id_b);
    assert_int_equal(query(m, &q), 0);
    r = bnd_reader(bnd_buf_slice(&m->reply));
    assert_int_equal(bnd_read_u64(&r), 3);
    assert_int_equal(bnd_read_u32(&r), 1);
    struct bnd_kv_namespace_record record;
    assert_int_equal(bnd_kv_namespace_decode(bnd_read_bytes(&r), &record), 0);
    assert_true(bnd_slice_eq(record.title, bnd_slice_str("two")));
    q.a = bnd_slice_str(id_c);
    assert_int_equal(query(m, &q), BND_NOTFOUND);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_namespace_is_made_renamed_set_and_deleted),
        CASE(a_title_is_one_namespaces),
        CASE(an_id_is_never_issued_again),
        CASE(what_is_no_namespace_is_refused),
        CASE(there_are_no_more_than_the_limit_says),
        CASE(the_view_has_them_in_both_orders),
        CASE(a_view_of_version_1_has_no_sections),
        CASE(a_section_of_a_later_version_is_skipped_and_a_broken_one_refused),
        CASE(a_query_tells_all_or_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
