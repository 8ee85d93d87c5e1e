/* The file of one body: what is read is what was written or an error; what was finished survives
 * any cut. */
#include "objects/bodies/file.h"

#include "base/alloc.h"
#include "tests/sim/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct bnd_sim_world *world;
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *sim;
    struct bnd_env *env;
};

static void boot(struct fixture *f) {
    f->sim = bnd_sim_env_create(f->world, f->disk, NULL, 1);
    f->env = bnd_sim_env(f->sim);
    bnd_sim_env_enter(f->sim);
    assert_int_equal(f->env->ops->dir_make(f->env, "data", NULL), 0);
    assert_int_equal(f->env->ops->dir_sync(f->env, "", NULL), 0); /* the root */
}

static void setup(struct fixture *f) {
    f->world = bnd_sim_world_create(1);
    f->disk = bnd_sim_disk_create(f->world, 1, 0);
    boot(f);
    assert_int_equal(body_dir_open(f->env, "data/bodies", NULL), 0);
}

static void teardown(struct fixture *f) {
    bnd_sim_env_leave(f->sim);
    bnd_sim_env_crash(f->sim, BND_SIM_KILL);
    bnd_sim_disk_destroy(f->disk);
    bnd_sim_world_destroy(f->world);
}

static const struct body_id id = {.gid = 0x100000002, .version = {0xab, 1, 2, 3, 0xff}};

static uint8_t byte_at(uint64_t i) {
    return (uint8_t)(i * 31 + (i >> 16) + (i >> 8));
}

static int write_body(struct fixture *f, uint64_t size, uint64_t deadline_ms) {
    struct body_writer writer = {0};
    static uint8_t chunk[2 * BODY_BLOCK_BYTES];
    int rv = body_writer_open(&writer, f->env, "data/bodies", &id, 1, NULL);
    for (uint64_t at = 0; rv == 0 && at < size; at += sizeof chunk) {
        size_t n = size - at < sizeof chunk ? (size_t)(size - at) : sizeof chunk;
        for (size_t i = 0; i < n; i++) {
            chunk[i] = byte_at(at + i);
        }
        rv = body_writer_append(&writer, bnd_slice(chunk, n), NULL);
    }
    if (rv != 0) {
        body_writer_abort(&writer);
        return rv;
    }
    return body_writer_finish(&writer, "data/bodies", deadline_ms, NULL);
}

static void check_range(struct fixture *f, uint64_t size, uint64_t offset, size_t len) {
    char path[BODY_PATH_MAX];
    struct bnd_buf out = {0};
    struct body_read_range range = {.size = size, .offset = offset, .len = len};
    assert_true(body_path("data/bodies", &id, path));
    assert_int_equal(body_read(f->env, path, &id, &range, &out, NULL), 0);
    assert_int_equal(out.len, len);
    assert_int_equal(range.deadline_ms, 77);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(out.data[i], byte_at(offset + i));
    }
    bnd_buf_free(&out);
}

static void test_round_trips(void **state) {
    struct fixture f;
    (void)state;
    setup(&f);
    const uint64_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t size = sizes[i];
        assert_int_equal(write_body(&f, size, 77), 0); /* in place of the one before */
        check_range(&f, size, 0, (size_t)(size < 262144 ? size : 262144));
        check_range(&f, size, size, 0);
        if (size > 70000) {
            check_range(&f, size, 65530, 4000);
            check_range(&f, size, size - 3, 3);
        }
    }
    teardown(&f);
}

static void test_every_flipped_bit_is_seen(void **state) {
    struct fixture f;
    char path[BODY_PATH_MAX];
    struct body_info info;
    struct bnd_file *file = NULL;
    uint64_t bytes = 0;
    (void)state;
    setup(&f);
    assert_int_equal(write_body(&f, 70000, 77), 0);
    assert_true(body_path("data/bodies", &id, path));
    assert_int_equal(f.env->ops->file_open(f.env, path, BND_OPEN_READ, &file, NULL), 0);
    assert_int_equal(f.env->ops->file_size(f.env, file, &bytes, NULL), 0);
    f.env->ops->file_close(f.env, file);
    assert_int_equal(bytes, 64 + 70000 + 2 * 16 + 64);
    for (uint64_t at = 0; at < bytes; at += at < 64 || at > bytes - 64 ? 1 : 997) {
        assert_int_equal(bnd_sim_disk_flip(f.disk, path, at, (unsigned)(at % 8)), 0);
        int rv = body_verify(f.env, path, &info, NULL);
        if (rv != BND_CORRUPT && rv != BND_VERSION) {
            fail_msg("byte %llu: %d", (unsigned long long)at, rv);
        }
        assert_int_equal(bnd_sim_disk_flip(f.disk, path, at, (unsigned)(at % 8)), 0);
    }
    assert_int_equal(body_verify(f.env, path, &info, NULL), 0);
    teardown(&f);
}

static void test_a_body_under_another_name_is_refused(void **state) {
    struct fixture f;
    char path[BODY_PATH_MAX];
    char other_path[BODY_PATH_MAX];
    struct body_id other = id;
    struct bnd_buf out = {0};
    struct body_read_range range = {.size = 1000, .len = 1000};
    (void)state;
    setup(&f);
    assert_int_equal(write_body(&f, 1000, 77), 0);
    other.version[15] = 9;
    assert_true(body_path("data/bodies", &id, path) &&
                body_path("data/bodies", &other, other_path));
    assert_int_equal(f.env->ops->rename(f.env, path, other_path, NULL), 0);
    assert_int_equal(body_read(f.env, other_path, &other, &range, &out, NULL), BND_CORRUPT);
    range.size = 999; /* and one of another size */
    assert_int_equal(body_read(f.env, other_path, &id, &range, &out, NULL), BND_RANGE);
    range.len = 9;
    assert_int_equal(body_read(f.env, other_path, &id, &range, &out, NULL), BND_CORRUPT);
    bnd_buf_free(&out);
    teardown(&f);
}

static void test_names(void **state) {
    struct body_id got;
    (void)state;
    assert_int_equal(body_name_parse("0000000100000002-ab010203ff0000000000000000000000", &got), 0);
    assert_int_equal(got.gid, id.gid);
    assert_memory_equal(got.version, id.version, 16);
    assert_int_equal(body_name_parse("0000000100000002-ab", &got), BND_INVALID);
    assert_int_equal(body_name_parse("", &got), BND_INVALID);
    assert_int_equal(body_name_parse("0000000100000002_ab010203ff0000000000000000000000", &got),
                     BND_INVALID);
}

static void test_directory_of_a_newer_format(void **state) {
    struct fixture f;
    struct bnd_file *file = NULL;
    (void)state;
    setup(&f);
    assert_int_equal(
        f.env->ops->file_open(f.env, "data/bodies/format", BND_OPEN_WRITE, &file, NULL), 0);
    assert_int_equal(f.env->ops->file_pwrite(f.env, file, "\2", 1, 8, NULL), 0);
    f.env->ops->file_close(f.env, file);
    assert_int_equal(body_dir_open(f.env, "data/bodies", NULL), BND_VERSION);
    teardown(&f);
}

static int none(void *data, const char *name) {
    (void)data;
    fail_msg("left behind: %s", name);
    return 0;
}

/* The power fails at change n of writing a body: afterwards it is there and whole, or not there;
 * and there if its writer was told so. */
static bool cut_at(uint64_t n, enum bnd_sim_keep keep) {
    struct fixture f;
    char path[BODY_PATH_MAX];
    struct body_info info;
    setup(&f);
    uint64_t size = 200000;
    bnd_sim_disk_cut_at(f.disk, n, keep);
    int rv = write_body(&f, size, 77);
    bool cut = bnd_sim_disk_is_cut(f.disk);
    bnd_sim_env_leave(f.sim);
    bnd_sim_env_crash(f.sim, BND_SIM_POWER);
    boot(&f);
    assert_int_equal(body_dir_open(f.env, "data/bodies", NULL), 0);
    assert_true(body_path("data/bodies", &id, path));
    int found = body_verify(f.env, path, &info, NULL);
    if (found != 0 && (found != BND_NOTFOUND || rv == 0)) {
        fail_msg("cut at change %llu, keep %d: finish said %d, then the body is %d",
                 (unsigned long long)n, (int)keep, rv, found);
    }
    assert_int_equal(f.env->ops->dir_list(f.env, "data/bodies/tmp", none, NULL, NULL), 0);
    teardown(&f);
    return cut;
}

static void test_power_cut_at_every_change(void **state) {
    (void)state;
    uint64_t cuts = 0;
    for (int keep = 0; keep < BND_SIM_KEEPS; keep++) {
        for (uint64_t n = 1; cut_at(n, (enum bnd_sim_keep)keep); n++) {
            cuts++;
        }
    }
    assert_true(cuts >= 6 * BND_SIM_KEEPS); /* create, header, blocks, footer, sync, rename, sync */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_a_body_under_another_name_is_refused),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_directory_of_a_newer_format),
        cmocka_unit_test(test_power_cut_at_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
