/* Arrays that grow: what they hold stays, and without memory nothing changes. Kept blocks. */
#include "base/alloc.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ---- kept blocks ------------------------------------------------------------------------------*/

static bool all(const uint8_t *bytes, size_t count, uint8_t value) {
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

/* Every size, from blocks that held other bytes, several at once: none overlaps another. */
static void kept_blocks_are_as_good_as_new(void **state) {
    (void)state;
    enum { BLOCKS = 8, SIZE_MAX_HERE = 9000 };
    bnd_alloc_keep(1u << 20);
    for (size_t size = 0; size < SIZE_MAX_HERE; size += size < 600 ? 1 : 61) {
        uint8_t *blocks[BLOCKS];
        for (int round = 0; round < 2; round++) {
            for (size_t i = 0; i < BLOCKS; i++) {
                blocks[i] = i % 2 == 0 ? bnd_zalloc(size) : bnd_alloc(size);
                assert_non_null(blocks[i]);
                assert_true((uintptr_t)blocks[i] % 16 == 0);
                assert_true(i % 2 != 0 || all(blocks[i], size, 0));
                memset(blocks[i], (int)(i + 1), size);
            }
            for (size_t i = 0; i < BLOCKS; i++) {
                blocks[i] = bnd_realloc(blocks[i], 2 * size);
                assert_true(all(blocks[i], size, (uint8_t)(i + 1)));
                memset(blocks[i], (int)(i + 1), 2 * size);
            }
            for (size_t i = 0; i < BLOCKS; i++) {
                assert_true(all(blocks[i], 2 * size, (uint8_t)(i + 1)));
                bnd_free(blocks[i]);
            }
        }
    }
    bnd_alloc_keep(0);
}

static void a_failing_allocation_fails_with_kept_blocks_too(void **state) {
    (void)state;
    bnd_alloc_keep(4096);
    bnd_free(bnd_alloc(100));
    bnd_alloc_fail_at(1, 0);
    assert_null(bnd_alloc(100));
    bnd_alloc_fail_at(0, 0);
    bnd_alloc_keep(0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void a_block_freed_twice_ends_the_process(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        (void)signal(SIGABRT, SIG_DFL);
        bnd_alloc_keep(4096);
        void *volatile block = bnd_alloc(100);
        bnd_free(block);
        bnd_free(block);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_grows_by_doubling),
        cmocka_unit_test(without_memory_it_stays_as_it_was),
        cmocka_unit_test(a_size_that_no_number_holds_is_refused),
        cmocka_unit_test(kept_blocks_are_as_good_as_new),
        cmocka_unit_test(a_failing_allocation_fails_with_kept_blocks_too),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(a_block_freed_twice_ends_the_process),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
