/* Files that a serving node keeps up to date: on the pool, in order, and over failures. */
#include "tests/unit/engine/io_test.h"

#include "node/files.h"

#include <sys/stat.h>

#define HELD_MAX 4

/* The pool's place is taken by a list, so that the test says what runs when. */
struct world {
    char dir[64];
    struct bnd_env *env;
    struct bnd_env_ops ops;
    const struct bnd_env_ops *real;
    struct bnd_work *held[HELD_MAX];
    size_t held_count;
    int refusal;
    struct node_kept kept;
};

static struct world world;

static int hold(struct bnd_env *env, struct bnd_work *work) {
    if (world.refusal == 0) {
        assert_true(world.held_count < HELD_MAX);
        world.held[world.held_count++] = work;
    }
    return world.refusal;
}

static int setup(void **state) {
    world = (struct world){.env = test_env(BND_IO_THREADS), .dir = "/var/tmp/bnd-files-XXXXXX"};
    assert_non_null(mkdtemp(world.dir));
    world.real = world.env->ops;
    world.ops = *world.real;
    world.ops.work = hold;
    world.env->ops = &world.ops;
    return 0;
}

static int teardown(void **state) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/kept", world.dir);
    (void)remove(path);
    assert_int_equal(rmdir(world.dir), 0);
    node_kept_close(&world.kept);
    world.env->ops = world.real;
    bnd_io_env_destroy(world.env);
    return 0;
}

static void keep(const char *text) {
    node_kept_write(&world.kept, world.env, world.dir, "kept", bnd_slice_str(text));
}

/* The oldest job that is held ends; canceled: the process ends, it never ran. */
static void end_one(bool canceled) {
    struct bnd_work *work = world.held[0];
    assert_true(world.held_count > 0);
    world.held_count--;
    memmove(world.held, world.held + 1, world.held_count * sizeof world.held[0]);
    if (!canceled) {
        work->run(work);
    }
    work->done(work, canceled ? BND_CANCELED : 0);
}

static void assert_kept(const char *text) {
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    int rv = node_file_read(world.env, world.dir, "kept", &bytes, NULL);
    if (text == NULL) {
        assert_int_equal(rv, BND_NOTFOUND);
        return;
    }
    assert_int_equal(rv, 0);
    assert_true(bnd_slice_eq(bnd_buf_slice(&bytes), bnd_slice_str(text)));
}

static void what_is_there_is_not_written_again(void **state) {
    keep("one");
    keep("one"); /* on its way */
    end_one(false);
    assert_kept("one");
    keep("one");
    assert_int_equal(world.held_count, 0);
    keep("two");
    end_one(false);
    assert_kept("two");
}

static void a_failed_write_is_tried_again(void **state) {
    char away[80];
    (void)snprintf(away, sizeof away, "%s-away", world.dir);
    assert_int_equal(rename(world.dir, away), 0);
    keep("one");
    end_one(false);
    assert_int_equal(rename(away, world.dir), 0);
    assert_kept(NULL);
    world.refusal = BND_FULL;
    keep("one");
    world.refusal = 0;
    keep("one");
    end_one(false);
    assert_kept("one");
}

static void the_newest_write_says_what_is_there(void **state) {
    char away[80];
    (void)snprintf(away, sizeof away, "%s-away", world.dir);
    keep("one");
    keep("two");
    assert_int_equal(rename(world.dir, away), 0);
    end_one(false); /* fails, which is no matter any more */
    assert_int_equal(rename(away, world.dir), 0);
    keep("two");
    assert_int_equal(world.held_count, 1);
    end_one(false);
    assert_kept("two");
}

static void what_is_under_way_at_the_end_is_written(void **state) {
    struct node_kept kept = {0};
    node_kept_write(&kept, world.env, world.dir, "kept", bnd_slice_str("one"));
    node_kept_write(&kept, world.env, world.dir, "kept", bnd_slice_str("two"));
    node_kept_close(&kept);
    end_one(true);
    assert_kept("one");
    end_one(true);
    assert_kept("two");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_there_is_not_written_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(the_newest_write_says_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_under_way_at_the_end_is_written, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
