/* Arrays that grow: what they hold stays, and without memory nothing changes. */
#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

struct list {
    uint64_t *items;
    size_t count, cap;
};

static bool add(struct list *list, uint64_t value) {
    if (!BND_ROOM(list->items, list->count, list->cap, 3)) {
        return false;
    }
    list->items[list->count++] = value;
    return true;
}

static void an_array_grows_by_doubling(void **state) {
    struct list list = {0};
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(add(&list, i));
    }
    assert_int_equal(list.cap, 192);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(list.items[i], i);
    }
    bnd_free(list.items);
}

static void without_memory_it_stays_as_it_was(void **state) {
    struct list list = {0};
    bnd_alloc_fail_at(1, 0);
    assert_false(add(&list, 7));
    assert_null(list.items);
    assert_int_equal(list.cap, 0);
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(add(&list, i));
    }
    bnd_alloc_fail_at(1, 0);
    assert_false(add(&list, 3));
    bnd_alloc_fail_at(0, 0);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.cap, 3);
    assert_int_equal(list.items[2], 2);
    assert_true(add(&list, 3));
    bnd_free(list.items);
}

static void a_size_that_no_number_holds_is_refused(void **state) {
    size_t cap = SIZE_MAX / 2 + 1;
    assert_null(bnd_grown(NULL, &cap, 1, 1));
    assert_int_equal(cap, SIZE_MAX / 2 + 1);
    cap = SIZE_MAX / 16;
    assert_null(bnd_grown(NULL, &cap, 16, 1));
    assert_int_equal(cap, SIZE_MAX / 16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_grows_by_doubling),
        cmocka_unit_test(without_memory_it_stays_as_it_was),
        cmocka_unit_test(a_size_that_no_number_holds_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
