/* What the tests of engine/io share. */
#ifndef BND_TESTS_UNIT_ENGINE_IO_TEST_H
#define BND_TESTS_UNIT_ENGINE_IO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/io/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the thread sanitizer cannot know: libuv closes descriptors and liburing unmaps rings by raw
 * system calls, so a number or address that another thread gets next looks like a race; RocksDB is
 * built without it. Only calls made by those two libraries, and the filling of ring entries, are
 * ignored. */
#if defined(__SANITIZE_THREAD__)
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "called_from_lib:libuv.so.1\n"
           "race:librocksdb.so.7.8\n"
           "race_top:io_uring_prep_rw\n";
}
#endif

static inline struct bnd_env *test_env(enum bnd_io_backend backend) {
    struct bnd_io_options options = {.backend = backend};
    struct bnd_env *env = NULL;
    struct bnd_error err = {0};
    int rv = bnd_io_env_create(&options, &env, &err);
    if (rv != 0) {
        print_error("%s\n", err.message);
    }
    assert_int_equal(rv, 0);
    return env;
}

#endif
