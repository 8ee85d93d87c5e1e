/* Intrusive lists: all of a list is taken in its order, and what is added meanwhile is another's. */
#include "base/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void a_whole_list_is_taken_in_order(void **state) {
    struct bnd_link list;
    struct bnd_link taken;
    struct bnd_link links[3] = {0};
    bnd_list_init(&list);
    for (int i = 0; i < 3; i++) {
        bnd_list_push(&list, &links[i]);
    }
    bnd_list_take(&list, &taken);
    assert_true(bnd_list_empty(&list));
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(bnd_list_pop(&taken), &links[i]);
        bnd_list_push(&list, &links[i]); /* goes back while the others are taken */
    }
    assert_null(bnd_list_pop(&taken));
    bnd_link_remove(&links[1]);
    assert_ptr_equal(bnd_list_pop(&list), &links[0]);
    assert_ptr_equal(bnd_list_pop(&list), &links[2]);
    assert_true(bnd_list_empty(&list));
}

static void of_an_empty_list_nothing_is_taken(void **state) {
    struct bnd_link list;
    struct bnd_link taken;
    bnd_list_init(&list);
    bnd_list_take(&list, &taken);
    assert_true(bnd_list_empty(&list));
    assert_true(bnd_list_empty(&taken));
}

static void what_is_moved_comes_behind_what_is_there(void **state) {
    struct bnd_link from;
    struct bnd_link to;
    struct bnd_link links[5] = {0};
    bnd_list_init(&from);
    bnd_list_init(&to);
    for (int i = 0; i < 4; i++) {
        bnd_list_push(i < 2 ? &to : &from, &links[i]);
    }
    bnd_list_move(&from, &to);
    bnd_list_move(&from, &to); /* nothing more */
    assert_true(bnd_list_empty(&from));
    bnd_list_push(&to, &links[4]);
    bnd_link_remove(&links[2]);
    for (int i = 0; i < 5; i++) {
        if (i != 2) {
            assert_ptr_equal(bnd_list_pop(&to), &links[i]);
        }
    }
    assert_true(bnd_list_empty(&to));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_list_is_taken_in_order),
        cmocka_unit_test(what_is_moved_comes_behind_what_is_there),
        cmocka_unit_test(of_an_empty_list_nothing_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
