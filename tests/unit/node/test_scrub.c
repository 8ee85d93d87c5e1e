/* The scrub over a real store: every table file is read, damage is met, a restart goes on. */
#include "tests/unit/engine/io_test.h"

#include "engine/rocks/verify.h"
#include "node/scrub.h"

#include <fcntl.h>
#include <ftw.h>

#define FILES 3

struct world {
    char dir[64];
    char state_dir[80];
    struct bnd_env *env;
    struct bnd_state *state;
    struct node_scrub scrub;
    struct bnd_timer poll;
    uint64_t until_bytes; /* the loop runs until so many are verified, or damage was met */
    char met[512];
    uint64_t files, bytes;
    struct bnd_rocks_file first, last;
};

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *at) {
    return remove(path);
}

static void on_persisted(struct bnd_state_persist *persist, int status) {
    assert_int_equal(status, 0);
    bnd_io_env_stop(persist->data);
}

/* One table file more in the family. */
static void write_file(struct world *w, uint32_t number) {
    struct bnd_state_batch *batch = w->state->ops->batch_create(w->state);
    struct bnd_state_persist persist = {.cb = on_persisted, .data = w->env};
    static uint8_t value[400];
    for (uint32_t i = 0; i < 300; i++) {
        uint8_t key[12];
        bnd_put_be32(key, 1);
        bnd_put_be32(key + 4, number);
        bnd_put_be32(key + 8, i);
        for (size_t b = 0; b < sizeof value; b++) {
            value[b] = (uint8_t)bnd_random(w->env);
        }
        w->state->ops->batch_put(batch, BND_CF_OBJECTS, bnd_slice(key, sizeof key),
                                 bnd_slice(value, sizeof value));
    }
    assert_int_equal(w->state->ops->write(w->state, batch), 0);
    w->state->ops->batch_destroy(batch);
    assert_int_equal(w->state->ops->persist(w->state, &persist), 0);
    bnd_io_env_run(w->env);
}

static void see(void *data, const struct bnd_rocks_file *file) {
    struct world *w = data;
    w->files++;
    w->bytes += file->bytes;
    if (w->first.number == 0 || file->number < w->first.number) {
        w->first = *file;
    }
    if (file->number > w->last.number) {
        w->last = *file;
    }
}

static int setup(void **state) {
    static struct world world;
    struct world *w = &world;
    memset(w, 0, sizeof *w);
    (void)strcpy(w->dir, "/var/tmp/bnd-scrub-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_true(snprintf(w->state_dir, sizeof w->state_dir, "%s/state", w->dir) <
                (int)sizeof w->state_dir);
    w->env = test_env(BND_IO_THREADS);
    struct bnd_rocks_config config = {
        .env = w->env, .dir = w->state_dir, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    assert_int_equal(bnd_rocks_open(&config, &w->state, NULL), 0);
    for (uint32_t i = 0; i < FILES; i++) {
        write_file(w, i);
    }
    bnd_rocks_each_file(w->state, see, w);
    assert_true(w->files >= FILES);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    w->state->ops->close(w->state);
    bnd_io_env_destroy(w->env);
    return nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void on_damaged(void *owner, const char *what) {
    struct world *w = owner;
    (void)snprintf(w->met, sizeof w->met, "%s", what);
}

static void on_poll(struct bnd_timer *timer) {
    struct world *w = timer->data;
    if (w->met[0] != 0 || w->scrub.bytes >= w->until_bytes) {
        bnd_io_env_stop(w->env);
        return;
    }
    bnd_timer_start(w->env, timer, 2 * BND_MS);
}

/* Runs a scrub until it has verified so many bytes more, or has met damage; then stops it. */
static void scrub(struct world *w, uint64_t pass_s, uint64_t bytes) {
    w->scrub = (struct node_scrub){.env = w->env,
                                   .data = w->dir,
                                   .state = w->state,
                                   .pass_s = pass_s,
                                   .owner = w,
                                   .damaged = on_damaged};
    w->until_bytes = bytes;
    w->poll = (struct bnd_timer){.cb = on_poll, .data = w};
    bnd_timer_start(w->env, &w->poll, 0);
    node_scrub_start(&w->scrub);
    bnd_io_env_run(w->env);
    node_scrub_stop(&w->scrub);
}

static void flip(const char *path, off_t at) {
    uint8_t byte = 0;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void every_file_is_read_pass_after_pass(void **state) {
    struct world *w = *state;
    scrub(w, 1, 2 * w->bytes);
    assert_string_equal(w->met, "");
}

static void damage_is_met(void **state) {
    struct world *w = *state;
    flip(w->last.path, (off_t)w->last.bytes / 2);
    scrub(w, 1, UINT64_MAX);
    assert_non_null(strstr(w->met, w->last.path));
    assert_non_null(strstr(w->met, "Corruption"));
}

/* The pass goes on behind the files that are done: damage in the first is met by the next pass. */
static void a_restart_goes_on(void **state) {
    struct world *w = *state;
    scrub(w, 1, w->first.bytes);
    assert_true(w->scrub.last >= w->first.number);
    uint64_t last = w->scrub.last;
    uint64_t began_ms = w->scrub.began_ms;
    scrub(w, 1000, 0); /* starts, and is stopped at once */
    assert_int_equal(w->scrub.last, last);
    assert_int_equal(w->scrub.began_ms, began_ms);
    flip(w->first.path, (off_t)w->first.bytes / 2);
    scrub(w, 1, UINT64_MAX);
    assert_non_null(strstr(w->met, w->first.path));
    assert_true(w->scrub.began_ms > began_ms);
}

static void a_file_that_is_gone_is_no_damage(void **state) {
    struct world *w = *state;
    struct bnd_error err = {0};
    char path[sizeof w->state_dir + 32];
    (void)snprintf(path, sizeof path, "%s/rocks/999999.sst", w->state_dir);
    assert_int_equal(bnd_rocks_verify_file(path, &err), BND_NOTFOUND);
    assert_int_equal(bnd_rocks_verify_file(w->first.path, &err), 0);
}

static void zero_is_never(void **state) {
    struct world *w = *state;
    scrub(w, 0, 0);
    assert_null(w->scrub.timer.cb);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_file_is_read_pass_after_pass), TEST(damage_is_met), TEST(a_restart_goes_on),
        TEST(a_file_that_is_gone_is_no_damage),   TEST(zero_is_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
