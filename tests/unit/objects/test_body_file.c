/* The file of one body: what is read is what was written or an error; what was finished survives
 * any cut. */
#include "objects/bodies/file.h"

#include "base/alloc.h"
#include "base/hash.h"
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

static int write_other(struct fixture *f, const struct body_id *which, uint64_t size, uint8_t salt,
                       uint64_t deadline_ms) {
    struct body_writer writer = {0};
    static uint8_t chunk[2 * BODY_BLOCK_BYTES];
    int rv = body_writer_open(&writer, f->env, "data/bodies", which, 1, NULL);
    for (uint64_t at = 0; rv == 0 && at < size; at += sizeof chunk) {
        size_t n = size - at < sizeof chunk ? (size_t)(size - at) : sizeof chunk;
        for (size_t i = 0; i < n; i++) {
            chunk[i] = byte_at(at + i) ^ salt;
        }
        rv = body_writer_append(&writer, bnd_slice(chunk, n), NULL);
    }
    if (rv != 0) {
        body_writer_abort(&writer);
        return rv;
    }
    return body_writer_finish(&writer, "data/bodies", deadline_ms, NULL);
}

static int write_body(struct fixture *f, uint64_t size, uint64_t deadline_ms) {
    return write_other(f, &id, size, 0, deadline_ms);
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

static void count_damage(void *data, const char *line) {
    unsigned *count = data;
    *count += strstr(line, "DAMAGED") != NULL;
}

static void count_json_damage(void *data, const char *line) {
    unsigned *count = data;
    assert_true(line[0] == '{' && line[strlen(line) - 1] == '}');
    *count += strstr(line, "\"damaged\":true") != NULL;
}

/* `inspect body` names exactly the part that is damaged, and goes on. */
static void check_inspection(struct fixture *f, const char *path, unsigned damaged) {
    unsigned count = 0;
    struct body_inspection look = {
        .path = path, .each = true, .print = count_damage, .data = &count};
    int rv = body_inspect(f->env, &look, NULL);
    assert_int_equal(rv, damaged == 0 ? 0 : BND_CORRUPT);
    assert_int_equal(count, damaged);
    count = 0;
    look.json = true;
    look.print = count_json_damage;
    (void)body_inspect(f->env, &look, NULL); /* as before */
    assert_int_equal(count, damaged);
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
    for (uint64_t at = 0; at < bytes; at += at < 64 || at + 997 > bytes - 64 ? 1 : 997) {
        assert_int_equal(bnd_sim_disk_flip(f.disk, path, at, (unsigned)(at % 8)), 0);
        int rv = body_verify(f.env, path, &info, NULL);
        if (rv != BND_CORRUPT && rv != BND_VERSION) {
            fail_msg("byte %llu: %d", (unsigned long long)at, rv);
        }
        check_inspection(&f, path, 1);
        assert_int_equal(bnd_sim_disk_flip(f.disk, path, at, (unsigned)(at % 8)), 0);
    }
    assert_int_equal(body_verify(f.env, path, &info, NULL), 0);
    check_inspection(&f, path, 0);
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
    struct body_info info;
    assert_int_equal(body_stat(f.env, other_path, &other, &info, NULL), BND_CORRUPT);
    other.gid++;
    assert_int_equal(body_stat(f.env, other_path, &other, &info, NULL), BND_CORRUPT);
    other.gid--;
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

/* ---- files put together from right pieces
 * ------------------------------------------------------------ */

enum { SLOT = BODY_HASH_BYTES + BODY_BLOCK_BYTES };

static uint8_t *load_file(struct fixture *f, const struct body_id *which, size_t *out_len) {
    char path[BODY_PATH_MAX];
    struct bnd_file *file = NULL;
    uint64_t bytes = 0;
    assert_true(body_path("data/bodies", which, path));
    assert_int_equal(f->env->ops->file_open(f->env, path, BND_OPEN_READ, &file, NULL), 0);
    assert_int_equal(f->env->ops->file_size(f->env, file, &bytes, NULL), 0);
    uint8_t *data = malloc((size_t)bytes);
    assert_non_null(data);
    assert_int_equal(f->env->ops->file_pread(f->env, file, data, (size_t)bytes, 0, out_len, NULL),
                     0);
    f->env->ops->file_close(f->env, file);
    return data;
}

static void store_file(struct fixture *f, const uint8_t *data, size_t len) {
    char path[BODY_PATH_MAX];
    struct bnd_file *file = NULL;
    assert_true(body_path("data/bodies", &id, path));
    assert_int_equal(f->env->ops->file_open(f->env, path, BND_OPEN_WRITE, &file, NULL), 0);
    assert_int_equal(f->env->ops->file_truncate(f->env, file, 0, NULL), 0);
    assert_int_equal(f->env->ops->file_pwrite(f->env, file, data, len, 0, NULL), 0);
    f->env->ops->file_close(f->env, file);
}

static void sum(uint8_t *header_or_footer) {
    bnd_put_u64(header_or_footer + 56, bnd_hash64(bnd_slice(header_or_footer, 56), 0));
}

static int stat_it(struct fixture *f) {
    char path[BODY_PATH_MAX];
    struct body_info info;
    assert_true(body_path("data/bodies", &id, path));
    return body_stat(f->env, path, &id, &info, NULL);
}

static int read_it(struct fixture *f, uint64_t size) {
    char path[BODY_PATH_MAX];
    struct bnd_buf out = {0};
    struct body_read_range range = {.size = size, .len = (size_t)size};
    assert_true(body_path("data/bodies", &id, path));
    int rv = body_read(f->env, path, &id, &range, &out, NULL);
    bnd_buf_free(&out);
    return rv;
}

/* Each piece has its right hash, and stands in the wrong place. */
static void test_pieces_in_the_wrong_place_are_seen(void **state) {
    struct fixture f;
    struct body_id other = id;
    char path[BODY_PATH_MAX];
    struct body_info info;
    const uint64_t size = 2 * BODY_BLOCK_BYTES;
    size_t len = 0;
    (void)state;
    setup(&f);
    other.version[15] = 9;
    assert_int_equal(write_other(&f, &other, size, 0, 77), 0);
    uint8_t *foreign = load_file(&f, &other, &len);
    assert_int_equal(write_other(&f, &id, size, 1, 77), 0); /* an earlier life of the same body */
    uint8_t *older = load_file(&f, &id, &len);
    assert_int_equal(write_body(&f, size, 77), 0);
    uint8_t *right = load_file(&f, &id, &len);
    assert_int_equal(len, 64 + 2 * SLOT + 64);
    uint8_t *wrong = malloc(len);
    assert_non_null(wrong);
    assert_true(body_path("data/bodies", &id, path));

    memcpy(wrong, right, len); /* two blocks of one body exchanged */
    memcpy(wrong + 64, right + 64 + SLOT, SLOT);
    memcpy(wrong + 64 + SLOT, right + 64, SLOT);
    store_file(&f, wrong, len);
    assert_int_equal(read_it(&f, size), BND_CORRUPT);

    memcpy(wrong, right, len); /* a block of another body, from the same place */
    memcpy(wrong + 64, foreign + 64, SLOT);
    store_file(&f, wrong, len);
    assert_int_equal(read_it(&f, size), BND_CORRUPT);

    memcpy(wrong, right, len); /* the footer of another body */
    memcpy(wrong + len - 64, foreign + len - 64, 64);
    store_file(&f, wrong, len);
    assert_int_equal(stat_it(&f), BND_CORRUPT);

    memcpy(wrong, right, len); /* the footer of an earlier life */
    memcpy(wrong + len - 64, older + len - 64, 64);
    store_file(&f, wrong, len);
    assert_int_equal(body_verify(f.env, path, &info, NULL), BND_CORRUPT);

    memcpy(wrong, right, len); /* without its second block */
    memcpy(wrong + 64 + SLOT, right + len - 64, 64);
    store_file(&f, wrong, len - SLOT);
    assert_int_equal(stat_it(&f), BND_CORRUPT);
    for (size_t cut = 0; cut < 128; cut++) {
        store_file(&f, right, cut);
        assert_int_equal(stat_it(&f), BND_CORRUPT);
    }
    store_file(&f, right, len);
    assert_int_equal(read_it(&f, size), 0);
    free(foreign);
    free(older);
    free(right);
    free(wrong);
    teardown(&f);
}

static void test_a_file_of_a_newer_format(void **state) {
    struct fixture f;
    size_t len = 0;
    (void)state;
    setup(&f);
    assert_int_equal(write_body(&f, 1000, 77), 0);
    uint8_t *data = load_file(&f, &id, &len);
    bnd_put_u32(data + 8, BODY_FORMAT + 1);
    sum(data);
    store_file(&f, data, len);
    assert_int_equal(stat_it(&f), BND_VERSION);
    bnd_put_u32(data + 8, BODY_FORMAT);
    bnd_put_u32(data + 12, 2 * BODY_BLOCK_BYTES);
    sum(data);
    store_file(&f, data, len);
    assert_int_equal(stat_it(&f), BND_VERSION);
    free(data);
    teardown(&f);
}

static void test_nothing_follows_a_short_block(void **state) {
    struct fixture f;
    struct body_writer writer;
    struct bnd_error err;
    (void)state;
    setup(&f);
    assert_int_equal(body_writer_open(&writer, f.env, "data/bodies", &id, 1, NULL), 0);
    assert_int_equal(body_writer_append(&writer, bnd_slice("abc", 3), &err), 0);
    assert_int_equal(body_writer_append(&writer, bnd_slice("d", 1), &err), BND_INVALID);
    body_writer_abort(&writer);
    teardown(&f);
}

/* A request to the disk fails, each in turn: who is told that the body is finished has it after a
 * loss of power. */
static void test_a_failing_disk_is_told(void **state) {
    int failures = 0;
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct fixture f;
        struct body_info info;
        char path[BODY_PATH_MAX];
        setup(&f);
        bnd_sim_disk_fail(f.disk, n, BND_IO, false);
        int rv = write_body(&f, 200000, 77);
        bnd_sim_disk_heal(f.disk);
        bnd_sim_env_leave(f.sim);
        bnd_sim_env_crash(f.sim, BND_SIM_POWER);
        bnd_sim_disk_power_cut(f.disk, BND_SIM_KEEP_NONE);
        boot(&f);
        assert_true(body_path("data/bodies", &id, path));
        int found = body_verify(f.env, path, &info, NULL);
        assert_true(rv != 0 || found == 0);
        failures += rv != 0;
        teardown(&f);
        if (rv == 0) {
            break;
        }
    }
    assert_true(failures >= 4); /* header, blocks, footer, sync */
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

/* The power fails at change n of the first start, or right after it: the next one finds a directory
 * or makes it. */
static void test_a_first_start_cut_short(void **state) {
    (void)state;
    for (int keep = 0; keep < BND_SIM_KEEPS; keep++) {
        bool cut = true;
        for (uint64_t n = 1; cut; n += n < 6 ? 1 : 61) {
            struct fixture f;
            struct bnd_error err;
            f.world = bnd_sim_world_create(n);
            f.disk = bnd_sim_disk_create(f.world, 1, 0);
            boot(&f);
            bnd_sim_disk_cut_at(f.disk, n, (enum bnd_sim_keep)keep);
            (void)body_dir_open(f.env, "data/bodies", NULL);
            cut = bnd_sim_disk_is_cut(f.disk);
            bnd_sim_env_leave(f.sim);
            bnd_sim_env_crash(f.sim, BND_SIM_POWER);
            bnd_sim_disk_power_cut(f.disk, (enum bnd_sim_keep)keep);
            boot(&f);
            int rv = body_dir_open(f.env, "data/bodies", &err);
            if (rv != 0) {
                fail_msg("cut at change %llu, keep %d: %s", (unsigned long long)n, keep,
                         err.message);
            }
            assert_int_equal(write_body(&f, 1000, 77), 0);
            teardown(&f);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_a_body_under_another_name_is_refused),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_directory_of_a_newer_format),
        cmocka_unit_test(test_a_first_start_cut_short),
        cmocka_unit_test(test_pieces_in_the_wrong_place_are_seen),
        cmocka_unit_test(test_a_file_of_a_newer_format),
        cmocka_unit_test(test_nothing_follows_a_short_block),
        cmocka_unit_test(test_a_failing_disk_is_told),
        cmocka_unit_test(test_power_cut_at_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
