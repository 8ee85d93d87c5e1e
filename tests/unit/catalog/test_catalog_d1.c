/* D1 databases in group 0: what the commands decide, what the queries tell, and the records. */
#include "catalog/issue.h"
#include "tests/unit/catalog/machine.h"

#define LIMIT 1000

static struct bnd_slice uuid_of(uint8_t number) {
    static uint8_t bytes[BND_D1_UUID_BYTES];
    memset(bytes, 0, sizeof bytes);
    bytes[0] = number;
    bytes[15] = 0xab;
    return bnd_slice(bytes, sizeof bytes);
}

static int create_at(struct machine *m, const char *name, uint8_t number, uint64_t limit) {
    struct bnd_catalog_command command = {.op = BND_CATALOG_D1_CREATE,
                                          .number = limit,
                                          .a = bnd_slice_str(name),
                                          .b = uuid_of(number)};
    return apply(m, &command);
}

static int create(struct machine *m, const char *name, uint8_t number) {
    return create_at(m, name, number, LIMIT);
}

static int drop(struct machine *m, uint8_t number) {
    struct bnd_catalog_command command = {.op = BND_CATALOG_D1_DELETE, .b = uuid_of(number)};
    return apply(m, &command);
}

static int find(struct machine *m, const char *name, uint8_t number) {
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_D1_DATABASE,
                                  .a = name == NULL ? uuid_of(number) : bnd_slice(NULL, 0),
                                  .b = bnd_slice_str(name == NULL ? "" : name)};
    return query(m, &q);
}

static void assert_answered(struct machine *m, const char *name, uint8_t number) {
    struct bnd_d1_database record;
    assert_int_equal(bnd_d1_database_decode(bnd_buf_slice(&m->reply), &record), 0);
    assert_true(bnd_slice_eq(record.name, bnd_slice_str(name)));
    assert_memory_equal(record.uuid, uuid_of(number).data, BND_D1_UUID_BYTES);
    assert_int_equal(record.created_ms, m->stamp_ms);
}

struct listed {
    uint32_t total;
    uint32_t count;
    char names[64]; /* joined by spaces */
};

static int list(struct machine *m, const char *part, uint64_t from, uint64_t limit,
                struct listed *out) {
    uint8_t skip[8];
    bnd_put_u64(skip, from);
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_D1_DATABASES,
                                  .number = limit,
                                  .a = bnd_slice_str(part),
                                  .b = bnd_slice(skip, sizeof skip)};
    int rv = query(m, &q);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&m->reply));
    *out = (struct listed){0};
    if (rv != 0) {
        return rv;
    }
    out->total = bnd_read_u32(&r);
    out->count = bnd_read_u32(&r);
    for (uint32_t i = 0; i < out->count; i++) {
        struct bnd_d1_database record;
        assert_int_equal(bnd_d1_database_decode(bnd_read_bytes(&r), &record), 0);
        (void)snprintf(out->names + strlen(out->names), sizeof out->names - strlen(out->names),
                       "%s%.*s", i == 0 ? "" : " ", (int)record.name.len,
                       (const char *)record.name.data);
    }
    assert_true(bnd_reader_done(&r));
    return 0;
}

static void a_database_is_made_found_and_deleted(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(find(m, "one", 0), BND_NOTFOUND);
    assert_int_equal(create(m, "one", 1), 0);
    assert_answered(m, "one", 1);
    assert_int_equal(create(m, "two", 2), 0);
    assert_int_equal(find(m, "two", 0), 0);
    assert_answered(m, "two", 2);
    assert_int_equal(find(m, NULL, 1), 0);
    assert_answered(m, "one", 1);
    assert_int_equal(drop(m, 1), 0);
    assert_answered(m, "one", 1);
    assert_int_equal(drop(m, 1), BND_NOTFOUND);
    assert_int_equal(find(m, "one", 0), BND_NOTFOUND);
    assert_int_equal(find(m, NULL, 1), BND_NOTFOUND);
    assert_int_equal(create(m, "one", 3), 0); /* the name is free again, under another uuid */
    assert_int_equal(find(m, "one", 0), 0);
    assert_answered(m, "one", 3);
}

static void a_name_and_a_uuid_are_one_databases(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create(m, "one", 1), 0);
    assert_int_equal(create(m, "one", 2), BND_EXISTS);
    assert_answered(m, "one", 1);
    assert_int_equal(create(m, "two", 1), BND_EXISTS);
    assert_answered(m, "one", 1);
    assert_int_equal(find(m, "two", 0), BND_NOTFOUND);
}

static void what_is_no_database_is_refused(void **state) {
    struct machine *m = *state;
    char name[BND_D1_NAME_MAX + 2];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    init_cluster(m);
    assert_int_equal(create(m, "", 1), BND_INVALID);
    assert_int_equal(create(m, name, 1), BND_INVALID);
    assert_int_equal(create(m, name + 1, 1), 0);
    assert_int_equal(create(m, "-a", 2), BND_INVALID);
    assert_int_equal(create(m, "a b", 2), BND_INVALID);
    assert_int_equal(create(m, "a/b", 2), BND_INVALID);
    assert_int_equal(create(m, "\xc3\xbc", 2), BND_INVALID);
    assert_int_equal(create(m, "01234567-89ab-cdef-0123-456789ABCDEF", 2), BND_INVALID);
    assert_int_equal(create(m, "01234567-89ab-cdef-0123-456789abcdeg", 2), 0); /* g: no uuid */
    assert_int_equal(create(m, "A_b-9", 3), 0);
    struct bnd_catalog_command command = {
        .op = BND_CATALOG_D1_CREATE, .number = LIMIT, .a = bnd_slice_str("x")};
    assert_int_equal(apply(m, &command), BND_INVALID); /* no uuid */
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_D1_DATABASE};
    assert_int_equal(query(m, &q), BND_INVALID);
}

static void there_are_no_more_than_the_limit_says(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    assert_int_equal(create_at(m, "one", 1, 2), 0);
    assert_int_equal(create_at(m, "two", 2, 2), 0);
    assert_int_equal(create_at(m, "three", 3, 2), BND_FULL);
    assert_int_equal(drop(m, 1), 0);
    assert_int_equal(create_at(m, "three", 3, 2), 0);
}

static void a_list_has_pages_and_a_filter(void **state) {
    static const char *const names[] = {"delta", "alpha", "echo", "beta", "alphabet"};
    struct machine *m = *state;
    struct listed page;
    init_cluster(m);
    assert_int_equal(list(m, "", 0, 10, &page), 0);
    assert_int_equal(page.total, 0);
    for (uint8_t i = 0; i < 5; i++) {
        assert_int_equal(create(m, names[i], (uint8_t)(i + 1)), 0);
    }
    assert_int_equal(list(m, "", 0, 3, &page), 0);
    assert_string_equal(page.names, "alpha alphabet beta");
    assert_int_equal(page.total, 5);
    assert_int_equal(list(m, "", 3, 3, &page), 0);
    assert_string_equal(page.names, "delta echo");
    assert_int_equal(page.total, 5);
    assert_int_equal(list(m, "", 5, 3, &page), 0);
    assert_int_equal(page.count, 0);
    assert_int_equal(page.total, 5);
    assert_int_equal(list(m, "ta", 0, 1, &page), 0);
    assert_string_equal(page.names, "beta");
    assert_int_equal(page.total, 2);
    assert_int_equal(list(m, "ta", 1, 1, &page), 0);
    assert_string_equal(page.names, "delta");
    assert_int_equal(page.total, 2);
    assert_int_equal(list(m, "zulu", 0, 1, &page), 0);
    assert_int_equal(page.total, 0);
    assert_int_equal(drop(m, 1), 0);
    assert_int_equal(list(m, "", 0, 10, &page), 0);
    assert_string_equal(page.names, "alpha alphabet beta echo");
    assert_int_equal(page.total, 4);
    assert_int_equal(list(m, "", 0, 0, &page), BND_INVALID);
    assert_int_equal(list(m, "", 0, 1001, &page), BND_INVALID);
}

/* The view is one message and many databases come and go: it neither has them nor changes. (With the
 * first one it tells who founds SQL's groups: test_catalog_sql.c.) */
static void the_view_does_not_change(void **state) {
    struct machine *m = *state;
    init_cluster(m);
    struct bnd_catalog_query q = {.kind = BND_CATALOG_QUERY_VIEW};
    assert_int_equal(create(m, "first", 2), 0);
    assert_int_equal(query(m, &q), 0);
    uint64_t revision = bnd_get_u64(m->reply.data);
    assert_int_equal(create(m, "one", 1), 0);
    assert_int_equal(drop(m, 1), 0);
    assert_int_equal(query(m, &q), 0);
    assert_int_equal(bnd_get_u64(m->reply.data), revision);
}

static void uuids_are_written_and_read(void **state) {
    static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
    uint8_t uuid[BND_D1_UUID_BYTES];
    char back[BND_D1_UUID_TEXT + 1];
    assert_true(bnd_d1_uuid_parse(bnd_slice_str(text), uuid));
    assert_int_equal(uuid[0], 0x01);
    assert_int_equal(uuid[15], 0xef);
    bnd_d1_uuid_text(uuid, back);
    assert_string_equal(back, text);
    assert_true(bnd_d1_uuid_parse(bnd_slice_str("01234567-89AB-CDEF-0123-456789ABCDEF"), uuid));
    bnd_d1_uuid_text(uuid, back);
    assert_string_equal(back, text);
    assert_false(bnd_d1_uuid_parse(bnd_slice_str("0123456789abcdef0123456789abcdef"), uuid));
    assert_false(bnd_d1_uuid_parse(bnd_slice_str("01234567-89ab-cdef-0123-456789abcde"), uuid));
    assert_false(bnd_d1_uuid_parse(bnd_slice_str("01234567-89ab-cdef-0123456789-abcdef"), uuid));
    assert_false(bnd_d1_uuid_parse(bnd_slice_str("g1234567-89ab-cdef-0123-456789abcdef"), uuid));
}

static void a_cut_or_changed_record_is_corrupt(void **state) {
    struct bnd_buf bytes = {0};
    struct bnd_d1_database record = {.created_ms = 5, .name = bnd_slice_str("one")};
    memset(record.uuid, 7, sizeof record.uuid);
    bnd_d1_database_encode(&bytes, &record);
    for (size_t len = 0; len < bytes.len; len++) {
        assert_int_equal(bnd_d1_database_decode(bnd_slice(bytes.data, len), &record), BND_CORRUPT);
    }
    assert_int_equal(bnd_d1_database_decode(bnd_buf_slice(&bytes), &record), 0);
    bytes.data[0] = 2;
    assert_int_equal(bnd_d1_database_decode(bnd_buf_slice(&bytes), &record), BND_CORRUPT);
    bnd_buf_free(&bytes);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_database_is_made_found_and_deleted),
        CASE(a_name_and_a_uuid_are_one_databases),
        CASE(what_is_no_database_is_refused),
        CASE(there_are_no_more_than_the_limit_says),
        CASE(a_list_has_pages_and_a_filter),
        CASE(the_view_does_not_change),
        cmocka_unit_test(uuids_are_written_and_read),
        cmocka_unit_test(a_cut_or_changed_record_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
