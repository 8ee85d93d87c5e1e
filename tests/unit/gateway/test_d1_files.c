/* Files of imports and exports at a process: how many, how much, and for how long. */
#include "gateway/d1/files.h"

#include "gateway/d1/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FRONT_BYTES (16u << 20)

struct world {
    struct bnd_env env; /* first */
    uint64_t now_ns;
    uint8_t secret;
    struct bnd_timer *timer;
    struct gateway_front front;
    struct d1_files files;
};

static uint64_t now_ns(struct bnd_env *env) {
    return ((struct world *)env)->now_ns;
}

static void random_secret(struct bnd_env *env, uint8_t *out, size_t len) {
    memset(out, ++((struct world *)env)->secret, len);
}

static void timer_start(struct bnd_env *env, struct bnd_timer *timer, uint64_t delay_ns) {
    ((struct world *)env)->timer = timer;
}

static void timer_stop(struct bnd_env *env, struct bnd_timer *timer) {
    ((struct world *)env)->timer = NULL;
}

static const struct bnd_env_ops ops = {.now_ns = now_ns,
                                       .random_secret = random_secret,
                                       .timer_start = timer_start,
                                       .timer_stop = timer_stop};

static int setup(void **state) {
    static struct world world;
    world = (struct world){.env.ops = &ops, .front.bytes_max = FRONT_BYTES};
    d1_files_init(&world.files, &world.env, &world.front);
    *state = &world;
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    d1_files_free(&world->files);
    assert_int_equal(world->front.bytes, 0);
    assert_null(world->timer);
    return 0;
}

static struct d1_file *export_of(struct world *world, size_t bytes) {
    static const uint8_t uuid[BND_SQL_UUID_BYTES];
    static uint8_t text[D1_IMPORT_MEMORY_MAX];
    struct d1_file *file = d1_file_open(&world->files, uuid, "");
    if (file != NULL && d1_file_take(&world->files, file, bnd_slice(text, bytes)) != 0) {
        d1_file_drop(&world->files, file);
        return NULL;
    }
    return file;
}

static bool is_there(struct world *world, const char *id) {
    return d1_file_find(&world->files, bnd_slice_str(id)) != NULL;
}

static void what_was_got_makes_room(void **state) {
    struct world *world = *state;
    struct d1_file *first = export_of(world, 1);
    struct d1_file *second = export_of(world, 1);
    char ids[2][D1_FILE_ID_TEXT];
    memcpy(ids[0], first->id, sizeof ids[0]);
    memcpy(ids[1], second->id, sizeof ids[1]);
    for (size_t i = 2; i < D1_FILES_MAX; i++) {
        assert_non_null(export_of(world, 1));
    }
    assert_null(export_of(world, 1));
    second->got = second->busy = true; /* and somebody gets it again */
    assert_null(export_of(world, 1));
    second->busy = false;
    assert_non_null(export_of(world, 1));
    assert_true(is_there(world, ids[0]));
    assert_false(is_there(world, ids[1]));
}

static void files_leave_room_for_other_requests(void **state) {
    struct world *world = *state;
    struct d1_file *file = export_of(world, D1_IMPORT_MEMORY_MAX);
    assert_non_null(file);
    assert_null(export_of(world, 1)); /* a quarter is taken */
    assert_true(world->front.bytes <= FRONT_BYTES / 4);
    file->got = true;
    assert_non_null(export_of(world, 1));
    assert_true(world->front.bytes < D1_IMPORT_MEMORY_MAX);
}

/* What an upload has on disk already is not free any more; what it has still to write is. */
static void uploads_under_way_are_counted(void **state) {
    struct world *world = *state;
    struct d1_spool spools[] = {{.bytes_max = 100, .size = 30}, {.bytes_max = 50, .size = 50}};
    struct d1_file *files[] = {export_of(world, 1), export_of(world, 1)};
    assert_int_equal(d1_files_to_come(&world->files), 0);
    files[0]->spool = &spools[0];
    files[1]->spool = &spools[1];
    assert_int_equal(d1_files_to_come(&world->files), 70);
    files[0]->whole = true; /* nothing more comes */
    assert_int_equal(d1_files_to_come(&world->files), 0);
    files[0]->spool = files[1]->spool = NULL;
}

/* Also when nobody asks for files any more. */
static void old_files_are_dropped(void **state) {
    struct world *world = *state;
    struct d1_file *old = export_of(world, 1);
    char id[D1_FILE_ID_TEXT];
    memcpy(id, old->id, sizeof id);
    world->now_ns += D1_FILE_KEPT_NS / 2;
    assert_non_null(export_of(world, 1));
    old->busy = true;
    world->now_ns += D1_FILE_KEPT_NS / 2;
    world->timer->cb(world->timer);
    assert_int_equal(world->files.count, 2);
    old->busy = false; /* an upload took so long: now it is to be ingested */
    world->timer->cb(world->timer);
    assert_int_equal(world->files.count, 2);
    world->now_ns += D1_FILE_KEPT_NS / 2;
    world->timer->cb(world->timer);
    assert_int_equal(world->files.count, 1);
    assert_true(is_there(world, id));
    world->now_ns += D1_FILE_KEPT_NS / 2;
    world->timer->cb(world->timer);
    assert_int_equal(world->files.count, 0);
    assert_int_equal(world->front.bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_got_makes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(files_leave_room_for_other_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(uploads_under_way_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(old_files_are_dropped, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
