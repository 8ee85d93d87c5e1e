/* State over RocksDB: what engine/state.h promises, on real files, through real crashes (SIGKILL).
 */
#include "tests/unit/engine/io_test.h"

#include "engine/rocks/rocks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MEMORY_BYTES (UINT64_C(16) << 20)
#define FAMILIES BND_CF_COUNT

struct world {
    struct bnd_env *env;
    struct bnd_state *state;
    char dir[64];
    char path[80];
    int status;
};

static struct bnd_state *open_at(struct bnd_env *env, const char *path) {
    struct bnd_rocks_config config = {.env = env, .dir = path, .memory_bytes = MEMORY_BYTES};
    struct bnd_state *state = NULL;
    struct bnd_error err = {0};
    if (bnd_rocks_open(&config, &state, &err) != 0) {
        fail_msg("%s", err.message);
    }
    return state;
}

static int open_refused(struct world *world, struct bnd_error *err) {
    struct bnd_rocks_config config = {
        .env = world->env, .dir = world->path, .memory_bytes = MEMORY_BYTES};
    struct bnd_state *state = NULL;
    int rv = bnd_rocks_open(&config, &state, err);
    assert_null(state);
    return rv;
}

static int setup(void **state) {
    struct world *world = bnd_zalloc(sizeof *world);
    (void)strcpy(world->dir, "/var/tmp/bnd-rocks-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    (void)snprintf(world->path, sizeof world->path, "%s/state", world->dir);
    world->env = test_env(BND_IO_AUTO);
    *state = world;
    return 0;
}

static int setup_open(void **state) {
    (void)setup(state);
    struct world *world = *state;
    world->state = open_at(world->env, world->path);
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    if (world->state != NULL) {
        world->state->ops->close(world->state);
    }
    bnd_io_env_destroy(world->env);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    bnd_free(world);
    return 0;
}

static struct bnd_slice str(const char *text) {
    return bnd_slice_str(text);
}

static void write_one(struct bnd_state *state, enum bnd_state_cf cf, const char *key,
                      const char *value) {
    struct bnd_state_batch *batch = state->ops->batch_create(state);
    if (value != NULL) {
        state->ops->batch_put(batch, cf, str(key), str(value));
    } else {
        state->ops->batch_delete(batch, cf, str(key));
    }
    assert_int_equal(state->ops->write(state, batch), 0);
    state->ops->batch_destroy(batch);
}

typedef int (*getter)(struct bnd_state *state, enum bnd_state_cf cf, struct bnd_slice key,
                      struct bnd_buf *out);

/* want NULL: not found */
static void expect(struct bnd_state *state, getter get, enum bnd_state_cf cf, const char *key,
                   const char *want) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    bnd_buf_append_str(&out, "old content");
    int rv = get(state, cf, str(key), &out);
    assert_int_equal(rv, want == NULL ? BND_NOTFOUND : 0);
    if (want != NULL) {
        assert_int_equal(out.len, strlen(want));
        assert_memory_equal(out.data, want, out.len);
    }
}

/* "key=value," of the whole range */
static void expect_iter(const struct bnd_state_ops *ops, struct bnd_state_iter *iter,
                        const char *want) {
    char seen[256] = "";
    assert_non_null(iter);
    for (; ops->iter_valid(iter); ops->iter_next(iter)) {
        struct bnd_slice key = ops->iter_key(iter);
        struct bnd_slice value = ops->iter_value(iter);
        size_t used = strlen(seen);
        (void)snprintf(seen + used, sizeof seen - used, "%.*s=%.*s,", (int)key.len,
                       (const char *)key.data, (int)value.len, (const char *)value.data);
    }
    assert_int_equal(ops->iter_status(iter), 0);
    assert_string_equal(seen, want);
    ops->iter_destroy(iter);
}

static void on_persisted(struct bnd_state_persist *persist, int status) {
    struct world *world = persist->data;
    world->status = status;
    bnd_io_env_stop(world->env);
}

static int persist(struct world *world) {
    struct bnd_state_persist request = {.cb = on_persisted, .data = world};
    world->status = 1;
    assert_int_equal(world->state->ops->persist(world->state, &request), 0);
    assert_int_equal(world->status, 1); /* never from inside the call */
    bnd_io_env_run(world->env);
    return world->status;
}

static void a_batch_sees_its_own_writes_over_the_state(void **state) {
    struct world *world = *state;
    struct bnd_state *s = world->state;
    const struct bnd_state_ops *ops = s->ops;
    write_one(s, BND_CF_OBJECTS, "a", "1");
    write_one(s, BND_CF_OBJECTS, "c", "3");
    write_one(s, BND_CF_OBJECTS, "e", "5");
    write_one(s, BND_CF_RAFT, "b", "other family");
    struct bnd_state_batch *batch = ops->batch_create(s);
    assert_int_equal(ops->batch_bytes(batch), 0);
    ops->batch_put(batch, BND_CF_OBJECTS, str("b"), str("2"));
    ops->batch_put(batch, BND_CF_OBJECTS, str("b"), str("22"));
    ops->batch_delete(batch, BND_CF_OBJECTS, str("c"));
    ops->batch_put(batch, BND_CF_OBJECTS, str("d"), str("gone"));
    ops->batch_delete(batch, BND_CF_OBJECTS, str("d"));
    ops->batch_put(batch, BND_CF_OBJECTS, str("f"), str("past the end"));
    assert_true(ops->batch_bytes(batch) > 0);
    BND_AUTO_BUF struct bnd_buf out = {0};
    assert_int_equal(ops->batch_get(batch, BND_CF_OBJECTS, str("b"), &out), 0);
    assert_int_equal(out.len, 2);
    assert_int_equal(ops->batch_get(batch, BND_CF_OBJECTS, str("a"), &out), 0);
    assert_memory_equal(out.data, "1", 1);
    assert_int_equal(ops->batch_get(batch, BND_CF_OBJECTS, str("c"), &out), BND_NOTFOUND);
    assert_int_equal(ops->batch_get(batch, BND_CF_RAFT, str("a"), &out), BND_NOTFOUND);
    expect_iter(ops, ops->batch_iter(batch, BND_CF_OBJECTS, str("a"), str("f")), "a=1,b=22,e=5,");
    expect_iter(ops, ops->batch_iter(batch, BND_CF_OBJECTS, str("b"), str("e")), "b=22,");
    expect(s, ops->get, BND_CF_OBJECTS, "b", NULL); /* not written yet */
    assert_int_equal(ops->write(s, batch), 0);
    expect(s, ops->get, BND_CF_OBJECTS, "b", "22");
    expect(s, ops->get, BND_CF_OBJECTS, "c", NULL);
    ops->batch_clear(batch);
    assert_int_equal(ops->batch_bytes(batch), 0);
    assert_int_equal(ops->write(s, batch), 0); /* nothing */
    ops->batch_destroy(batch);
}

/* Key k of the array is "k<k>", its value the number's text; 0: it is not there. */
static void expect_order(const struct bnd_state_ops *ops, struct bnd_state_iter *iter,
                         const int *values, unsigned count) {
    for (unsigned k = 0; k < count; k++) {
        char key[16];
        char value[16];
        if (values[k] != 0) {
            (void)snprintf(key, sizeof key, "k%03u", k);
            (void)snprintf(value, sizeof value, "%d", values[k]);
            assert_true(ops->iter_valid(iter));
            assert_true(bnd_slice_eq(ops->iter_key(iter), str(key)));
            assert_true(bnd_slice_eq(ops->iter_value(iter), str(value)));
            ops->iter_next(iter);
        }
    }
    assert_false(ops->iter_valid(iter));
    ops->iter_destroy(iter);
}

/* Batches of many writes, of few keys and of many, used again and again: what the batch shows, by
 * key and in order, and what is written, is what an array says. */
static void batches_large_and_small_agree_with_an_array(void **state) {
    struct world *world = *state;
    struct bnd_state *s = world->state;
    const struct bnd_state_ops *ops = s->ops;
    enum { KEYS = 700 };
    static int values[KEYS]; /* 0: none */
    uint64_t x = 88172645463325252u;
    struct bnd_state_batch *batch = ops->batch_create(s);
    memset(values, 0, sizeof values);
    for (unsigned round = 0; round < 12; round++) {
        unsigned keys = round % 3 == 0 ? 5 : KEYS;
        for (unsigned i = 0; i < 900; i++) {
            char key[16];
            char value[16];
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            unsigned k = (unsigned)(x >> 33) % keys;
            (void)snprintf(key, sizeof key, "k%03u", k);
            (void)snprintf(value, sizeof value, "%u", i + 1);
            values[k] = x % 3 == 0 ? 0 : (int)i + 1;
            if (values[k] == 0) {
                ops->batch_delete(batch, BND_CF_OBJECTS, str(key));
            } else {
                ops->batch_put(batch, BND_CF_OBJECTS, str(key), str(value));
            }
            BND_AUTO_BUF struct bnd_buf out = {0};
            int rv = ops->batch_get(batch, BND_CF_OBJECTS, str(key), &out);
            assert_int_equal(rv, values[k] == 0 ? BND_NOTFOUND : 0);
            if (i % 300 == 299) { /* an iterator amid the writes */
                expect_order(ops, ops->batch_iter(batch, BND_CF_OBJECTS, str("k"), str("l")),
                             values, KEYS);
            }
        }
        assert_int_equal(ops->write(s, batch), 0);
        ops->batch_clear(batch);
        for (unsigned k = 0; k < KEYS; k++) {
            char key[16];
            char value[16];
            (void)snprintf(key, sizeof key, "k%03u", k);
            (void)snprintf(value, sizeof value, "%d", values[k]);
            expect(s, ops->get, BND_CF_OBJECTS, key, values[k] == 0 ? NULL : value);
        }
    }
    ops->batch_destroy(batch);
}

static void a_batch_without_memory_fails_as_a_whole(void **state) {
    struct world *world = *state;
    struct bnd_state *s = world->state;
    const struct bnd_state_ops *ops = s->ops;
    struct bnd_state_batch *batch = ops->batch_create(s);
    for (uint64_t n = 1; n <= 3; n++) {
        BND_AUTO_BUF struct bnd_buf out = {0};
        (void)bnd_alloc_fail_at(n, 1);
        for (unsigned i = 0; i < 1000; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "m%03u", i);
            ops->batch_put(batch, BND_CF_OBJECTS, str(key), str("value"));
        }
        (void)bnd_alloc_fail_at(0, 0);
        assert_int_equal(ops->batch_get(batch, BND_CF_OBJECTS, str("m000"), &out), BND_NOMEM);
        assert_null(ops->batch_iter(batch, BND_CF_OBJECTS, str("m"), str("n")));
        assert_int_equal(ops->write(s, batch), BND_NOMEM);
        expect(s, ops->get, BND_CF_OBJECTS, "m000", NULL);
        ops->batch_clear(batch);
    }
    ops->batch_put(batch, BND_CF_OBJECTS, str("m000"), str("value"));
    assert_int_equal(ops->write(s, batch), 0);
    expect(s, ops->get, BND_CF_OBJECTS, "m000", "value");
    ops->batch_destroy(batch);
}

static void iterators_keep_to_their_snapshot_and_range(void **state) {
    struct world *world = *state;
    struct bnd_state *s = world->state;
    const struct bnd_state_ops *ops = s->ops;
    write_one(s, BND_CF_CATALOG, "b", "of another");
    write_one(s, BND_CF_CATALOG, "k1", "a");
    write_one(s, BND_CF_CATALOG, "k2", "b");
    write_one(s, BND_CF_CATALOG, "k4", "d");
    struct bnd_state_iter *iter = ops->iter(s, BND_CF_CATALOG, str("k1"), str("k4"));
    write_one(s, BND_CF_CATALOG, "k2", NULL);
    write_one(s, BND_CF_CATALOG, "k3", "new");
    assert_int_equal(persist(world), 0); /* a flush does not disturb it either */
    ops->iter_seek(iter, str("k2"));
    assert_true(ops->iter_valid(iter));
    assert_true(bnd_slice_eq(ops->iter_key(iter), str("k2")));
    ops->iter_seek(iter, str("k3"));
    assert_false(ops->iter_valid(iter));
    assert_int_equal(ops->iter_status(iter), 0);
    ops->iter_seek(iter, str("a")); /* before the range: its first key */
    expect_iter(ops, iter, "k1=a,k2=b,");
    expect_iter(ops, ops->iter(s, BND_CF_CATALOG, str("k"), str("l")), "k1=a,k3=new,k4=d,");
    expect_iter(ops, ops->iter(s, BND_CF_CATALOG, str("x"), str("y")), "");
}

static void persisted_reads_show_what_a_crash_would_leave(void **state) {
    struct world *world = *state;
    struct bnd_state *s = world->state;
    const struct bnd_state_ops *ops = s->ops;
    assert_int_equal(ops->unpersisted_bytes(s), 0);
    assert_int_equal(persist(world), 0); /* of nothing */
    for (int cf = 0; cf < FAMILIES; cf++) {
        write_one(s, (enum bnd_state_cf)cf, "k", "old");
    }
    assert_true(ops->unpersisted_bytes(s) > 0);
    expect(s, ops->get_persisted, BND_CF_RAFT, "k", NULL);
    assert_int_equal(persist(world), 0);
    assert_int_equal(ops->unpersisted_bytes(s), 0);
    for (int cf = 0; cf < FAMILIES; cf++) { /* all families, not one */
        expect(s, ops->get_persisted, (enum bnd_state_cf)cf, "k", "old");
    }
    write_one(s, BND_CF_RAFT, "k", "new");
    expect(s, ops->get_persisted, BND_CF_RAFT, "k", "old");
    expect(s, ops->get, BND_CF_RAFT, "k", "new");
    write_one(s, BND_CF_OBJECTS, "k", NULL);
    assert_int_equal(persist(world), 0);
    expect(s, ops->get_persisted, BND_CF_RAFT, "k", "new");
    expect(s, ops->get_persisted, BND_CF_OBJECTS, "k", NULL);
}

static int persists_left;

static void on_one_of_many(struct bnd_state_persist *request, int status) {
    struct world *world = request->data;
    assert_int_equal(status, 0);
    if (--persists_left == 0) {
        bnd_io_env_stop(world->env);
    }
}

static void several_persists_may_be_under_way(void **state) {
    struct world *world = *state;
    struct bnd_state_persist requests[8];
    persists_left = 8;
    for (int i = 0; i < 8; i++) {
        write_one(world->state, BND_CF_RAFT, "k", i % 2 == 0 ? "even" : "odd");
        requests[i] = (struct bnd_state_persist){.cb = on_one_of_many, .data = world};
        assert_int_equal(world->state->ops->persist(world->state, &requests[i]), 0);
    }
    bnd_io_env_run(world->env);
    expect(world->state, world->state->ops->get_persisted, BND_CF_RAFT, "k", "odd");
}

static void a_dropped_range_is_gone_for_good_and_may_be_filled_anew(void **state) {
    struct world *world = *state;
    struct bnd_state *s = world->state;
    const struct bnd_state_ops *ops = s->ops;
    for (int cf = 0; cf < FAMILIES; cf++) {
        write_one(s, (enum bnd_state_cf)cf, "a", "before");
        write_one(s, (enum bnd_state_cf)cf, "b1", "in");
        write_one(s, (enum bnd_state_cf)cf, "b2", "in");
        write_one(s, (enum bnd_state_cf)cf, "c", "after");
    }
    assert_int_equal(persist(world), 0);
    assert_int_equal(ops->drop_range(s, str("b"), str("c")), 0);
    assert_int_equal(ops->drop_range(s, str("c"), str("c")), 0); /* empty */
    write_one(s, BND_CF_OBJECTS, "b2", "anew");
    assert_int_equal(persist(world), 0);
    ops->close(s);
    s = world->state = open_at(world->env, world->path);
    for (int cf = 0; cf < FAMILIES; cf++) {
        expect(s, ops->get, (enum bnd_state_cf)cf, "a", "before");
        expect(s, ops->get, (enum bnd_state_cf)cf, "b1", NULL);
        expect(s, ops->get, (enum bnd_state_cf)cf, "b2", cf == BND_CF_OBJECTS ? "anew" : NULL);
        expect(s, ops->get, (enum bnd_state_cf)cf, "c", "after");
    }
}

/* ---- crashes ---- */

/* The child: write n = 1, 2, ...: one batch puts key n and "last" = n into every family; every 50th
 * is persisted and told to the parent when it is. After `persists` of them it writes on without,
 * and waits. */
struct child {
    struct world world;
    uint32_t n;
    int out;
    int persists_left;
    struct bnd_state_persist request;
};

#define PERSIST_EVERY 50U

static void child_write(struct child *child) {
    struct bnd_state *s = child->world.state;
    struct bnd_state_batch *batch = s->ops->batch_create(s);
    uint8_t key[5] = {'n'};
    uint8_t value[2000];
    memset(value, 'v', sizeof value);
    bnd_put_be32(key + 1, ++child->n);
    bnd_put_be32(value, child->n);
    for (int cf = 0; cf < FAMILIES; cf++) {
        enum bnd_state_cf family = (enum bnd_state_cf)cf;
        s->ops->batch_put(batch, family, bnd_slice(key, 5), bnd_slice(value, sizeof value));
        s->ops->batch_put(batch, family, str("last"), bnd_slice(value, 4));
    }
    if (s->ops->write(s, batch) != 0) {
        _exit(3);
    }
    s->ops->batch_destroy(batch);
}

static void child_step(struct child *child) {
    uint32_t writes = child->persists_left > 0 ? PERSIST_EVERY : 7;
    for (uint32_t i = 0; i < writes; i++) {
        child_write(child);
    }
}

static void child_persist(struct child *child);

static void on_child_persisted(struct bnd_state_persist *request, int status) {
    struct child *child = request->data;
    uint32_t proved = child->n - 10; /* ten were written after the request */
    if (status != 0 || write(child->out, &proved, sizeof proved) != sizeof proved) {
        _exit(4);
    }
    child->persists_left--;
    child_step(child);
    if (child->persists_left > 0) {
        child_persist(child);
    } else {
        uint32_t end = 0;
        (void)!write(child->out, &end, sizeof end); /* the parent kills now */
    }
}

static void child_persist(struct child *child) {
    child->request = (struct bnd_state_persist){.cb = on_child_persisted, .data = child};
    if (child->world.state->ops->persist(child->world.state, &child->request) != 0) {
        _exit(5);
    }
    for (int i = 0; i < 10; i++) { /* while the flush is under way */
        child_write(child);
    }
}

static int child_main(const char *path, int out, int persists) {
    struct child child = {.out = out, .persists_left = persists};
    child.world.env = test_env(BND_IO_AUTO);
    child.world.state = open_at(child.world.env, path);
    child_step(&child);
    child_persist(&child);
    bnd_io_env_run(child.world.env);
    return 6; /* only SIGKILL ends it */
}

/* Kills a child after it has told `acks` persists; returns the last number it told. */
static uint32_t run_child(struct world *world, int acks, int persists) {
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) { /* a fresh image: this one has loops and threads */
        char out[16];
        char count[16];
        (void)snprintf(out, sizeof out, "%d", pipes[1]);
        (void)snprintf(count, sizeof count, "%d", persists);
        execl("/proc/self/exe", "test_rocks", "child", world->path, out, count, (char *)NULL);
        _exit(2);
    }
    close(pipes[1]);
    uint32_t told = 0;
    uint32_t last = 0;
    for (int i = 0; i < acks; i++) {
        assert_int_equal(read(pipes[0], &told, sizeof told), sizeof told);
        last = told != 0 ? told : last;
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(pipes[0]);
    return last;
}

static uint32_t last_of(struct bnd_state *s, int cf) {
    BND_AUTO_BUF struct bnd_buf out = {0};
    int rv = s->ops->get(s, (enum bnd_state_cf)cf, str("last"), &out);
    assert_true(rv == 0 || rv == BND_NOTFOUND);
    return rv == 0 ? bnd_get_be32(out.data) : 0;
}

/* Every family ends at the same write, holds every earlier one and no later one. */
static uint32_t check_prefix(struct bnd_state *s) {
    uint32_t last = last_of(s, 0);
    for (int cf = 0; cf < FAMILIES; cf++) {
        assert_int_equal(last_of(s, cf), last);
        struct bnd_state_iter *iter = s->ops->iter(s, (enum bnd_state_cf)cf, str("n"), str("o"));
        uint32_t n = 0;
        for (; s->ops->iter_valid(iter); s->ops->iter_next(iter)) {
            assert_int_equal(bnd_get_be32(s->ops->iter_key(iter).data + 1), ++n);
            assert_int_equal(bnd_get_be32(s->ops->iter_value(iter).data), n);
        }
        assert_int_equal(s->ops->iter_status(iter), 0);
        s->ops->iter_destroy(iter);
        assert_int_equal(n, last);
    }
    return last;
}

static void a_kill_after_persist_loses_only_later_writes(void **state) {
    struct world *world = *state;
    uint32_t told = run_child(world, 3, 2); /* two persists, seven writes more, "end" */
    assert_int_equal(told, 110);
    world->state = open_at(world->env, world->path);
    uint32_t last = check_prefix(world->state);
    assert_true(last >= told);
    /* 120 may have gone along with the flush; the seven after the last persist were in memory only
     */
    assert_true(last <= 120);
}

static void kills_at_any_time_leave_a_prefix(void **state) {
    struct world *world = *state;
    for (int round = 1; round <= 6; round++) {
        uint32_t told = run_child(world, round, 1000);
        world->state = open_at(world->env, world->path);
        uint32_t last = check_prefix(world->state);
        assert_true(last >= told);
        world->state->ops->close(world->state);
        world->state = NULL;
        char command[128];
        (void)snprintf(command, sizeof command, "rm -rf %s", world->path);
        assert_int_equal(system(command), 0);
    }
}

static void a_full_disk_fails_persist_and_says_why(void **state) {
    struct world *world = *state;
    if (mount("tmpfs", world->dir, "tmpfs", 0, "size=12m") != 0) {
        skip(); /* needs the right to mount */
    }
    world->state = open_at(world->env, world->path);
    struct bnd_state *s = world->state;
    write_one(s, BND_CF_RAFT, "k", "safe");
    assert_int_equal(persist(world), 0);
    struct bnd_state_batch *batch = s->ops->batch_create(s);
    enum { PIECE = 64 * 1024, PIECES = 20 };
    uint64_t *noise = bnd_alloc(PIECE);
    for (uint8_t i = 0; i < PIECES; i++) { /* below the memtables' bound: only persist writes it */
        for (size_t j = 0; j < PIECE / 8; j++) {
            noise[j] = bnd_random(world->env);
        }
        s->ops->batch_put(batch, BND_CF_OBJECTS, bnd_slice(&i, 1), bnd_slice(noise, PIECE));
    }
    s->ops->batch_put(batch, BND_CF_RAFT, str("k"), str("unsafe"));
    assert_int_equal(s->ops->write(s, batch), 0);
    s->ops->batch_destroy(batch);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/ballast", world->dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    while (write(fd, noise, PIECE) > 0) {
    }
    close(fd);
    bnd_free(noise);
    assert_int_equal(persist(world), BND_NOSPACE);
    expect(s, s->ops->get_persisted, BND_CF_RAFT, "k", "safe");
    assert_true(s->ops->unpersisted_bytes(s) > 0);
    assert_int_equal(unlink(path), 0); /* with room again, the same persist works */
    assert_int_equal(persist(world), 0);
    expect(s, s->ops->get_persisted, BND_CF_RAFT, "k", "unsafe");
    s->ops->close(s);
    world->state = NULL;
    assert_int_equal(umount(world->dir), 0);
}

/* Its directory is gone: no flush succeeds, and from then on no write is taken. */
static void a_disk_that_fails_is_told_by_persist_and_write(void **state) {
    struct world *world = *state;
    const struct bnd_state_ops *ops = world->state->ops;
    char away[96];
    (void)snprintf(away, sizeof away, "%s.away", world->path);
    write_one(world->state, BND_CF_RAFT, "k", "safe");
    assert_int_equal(persist(world), 0);
    write_one(world->state, BND_CF_RAFT, "other", "1");
    assert_int_equal(rename(world->path, away), 0);
    int fd = open(world->path, O_WRONLY | O_CREAT, 0600); /* so that room can be asked for */
    close(fd);
    assert_int_equal(persist(world), BND_IO);
    struct bnd_state_batch *batch = ops->batch_create(world->state);
    ops->batch_put(batch, BND_CF_RAFT, str("k"), str("unsafe"));
    assert_int_equal(ops->write(world->state, batch), BND_IO);
    ops->batch_destroy(batch);
    expect(world->state, ops->get, BND_CF_RAFT, "k", "safe");
    assert_int_equal(unlink(world->path), 0);
    assert_int_equal(rename(away, world->path), 0);
}

/* ---- the directory ---- */

static void put_file(struct world *world, const char *name, const void *data, size_t len) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", world->path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

static int list_into(void *data, const char *name) {
    (void)strcat(strcat(data, name), ",");
    return 0;
}

static void expect_entries(struct world *world, const char *want) {
    char seen[512] = "";
    assert_int_equal(world->env->ops->dir_list(world->env, world->path, list_into, seen, NULL), 0);
    assert_string_equal(seen, want);
}

static void a_newer_format_is_refused_untouched(void **state) {
    struct world *world = *state;
    assert_int_equal(mkdir(world->path, 0700), 0);
    put_file(world, "FORMAT", "BNDYSTAT\x02\0\0\0 and what the future holds", 38);
    struct bnd_error err = {0};
    assert_int_equal(open_refused(world, &err), BND_VERSION);
    assert_non_null(strstr(err.message, "format 2, this program knows up to 1"));
    expect_entries(world, "FORMAT,");
}

static void foreign_and_damaged_directories_are_refused(void **state) {
    struct world *world = *state;
    struct bnd_error err = {0};
    assert_int_equal(mkdir(world->path, 0700), 0);
    put_file(world, "thesis.txt", "x", 1);
    assert_int_equal(open_refused(world, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "'thesis.txt' is there without a FORMAT file"));
    expect_entries(world, "thesis.txt,");
    put_file(world, "FORMAT", "BNDYSTAT\x01\0\0\0\0\0\0\0damaged!", 24);
    assert_int_equal(open_refused(world, &err), BND_CORRUPT);
    put_file(world, "FORMAT", "BNDY", 4);
    assert_int_equal(open_refused(world, &err), BND_CORRUPT);
}

static void a_first_open_cut_short_is_taken_up_again(void **state) {
    struct world *world = *state;
    assert_int_equal(mkdir(world->path, 0700), 0);
    put_file(world, "FORMAT.tmp", "BNDYSTAT with garbage behind it .....", 36);
    world->state = open_at(world->env, world->path);
    expect_entries(world, "FORMAT,rocks,");
}

static void a_second_open_is_refused(void **state) {
    struct world *world = *state;
    struct bnd_error err = {0};
    assert_int_equal(open_refused(world, &err), BND_LOCKED);
    struct bnd_rocks_config config = {.env = world->env, .dir = world->path, .memory_bytes = 1};
    struct bnd_state *none = NULL;
    assert_int_equal(bnd_rocks_open(&config, &none, &err), BND_INVALID);
    assert_non_null(strstr(err.message, "memory_bytes 1 is below"));
}

static void a_look_changes_nothing_and_sees_what_was_persisted(void **state) {
    struct world *world = *state;
    struct bnd_state *look = NULL;
    struct bnd_error err = {0};
    struct bnd_buf value = {0};
    assert_int_equal(bnd_rocks_open_read_only(world->env, world->dir, &look, &err), BND_NOTFOUND);
    write_one(world->state, BND_CF_OBJECTS, "key", "value");
    world->state->ops->close(world->state); /* persists */
    world->state = NULL;
    if (bnd_rocks_open_read_only(world->env, world->path, &look, &err) != 0) {
        fail_msg("%s", err.message);
    }
    world->state = open_at(world->env, world->path); /* no lock is in its way */
    assert_int_equal(look->ops->get(look, BND_CF_OBJECTS, str("key"), &value), 0);
    assert_true(bnd_slice_eq(bnd_buf_slice(&value), str("value")));
    struct bnd_state_batch *batch = look->ops->batch_create(look);
    look->ops->batch_put(batch, BND_CF_OBJECTS, str("key"), str("other"));
    assert_int_equal(look->ops->write(look, batch), BND_UNSUPPORTED);
    look->ops->batch_destroy(batch);
    assert_int_equal(look->ops->drop_range(look, str("a"), str("z")), BND_UNSUPPORTED);
    look->ops->close(look);
    assert_int_equal(world->state->ops->get(world->state, BND_CF_OBJECTS, str("key"), &value), 0);
    assert_true(bnd_slice_eq(bnd_buf_slice(&value), str("value")));
    bnd_buf_free(&value);
}

static void damaged_files_are_told_as_corrupt(void **state) {
    struct world *world = *state;
    world->state->ops->close(world->state);
    world->state = NULL;
    put_file(world, "rocks/CURRENT", "MANIFEST-999999\n", 16);
    struct bnd_error err = {0};
    int rv = open_refused(world, &err);
    assert_true(rv == BND_CORRUPT || rv == BND_IO);
    assert_non_null(strstr(err.message, "state: open: "));
}

#define DAMAGED_KEYS 300

/* Flips a bit in every kilobyte of the first half of each table: data, not the index behind it. */
static void damage_tables(struct world *world) {
    char path[200];
    (void)snprintf(path, sizeof path, "%s/rocks", world->path);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t tables = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strstr(entry->d_name, ".sst") == NULL) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/rocks/%.80s", world->path, entry->d_name);
        int fd = open(path, O_RDWR);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        for (off_t at = 500; at < st.st_size / 2 && st.st_size > 65536; at += 1024) {
            uint8_t byte = 0;
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= 4;
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        tables += st.st_size > 65536;
        close(fd);
    }
    closedir(dir);
    assert_true(tables > 0);
}

/* A key whose block is damaged is not one that is not there. */
static void damaged_tables_are_not_read_as_absent(void **state) {
    struct world *world = *state;
    char key[16];
    char value[1024];
    for (int i = 0; i < DAMAGED_KEYS; i++) {
        (void)snprintf(key, sizeof key, "key%03d", i);
        for (size_t b = 0; b + 1 < sizeof value; b++) {
            value[b] = (char)(33 + bnd_random(world->env) % 90);
        }
        value[sizeof value - 1] = 0;
        write_one(world->state, BND_CF_OBJECTS, key, value);
    }
    assert_int_equal(persist(world), 0);
    world->state->ops->close(world->state);
    damage_tables(world);
    world->state = open_at(world->env, world->path);
    int damaged = 0;
    for (int i = 0; i < DAMAGED_KEYS; i += 20) {
        BND_AUTO_BUF struct bnd_buf out = {0};
        (void)snprintf(key, sizeof key, "key%03d", i);
        int rv = world->state->ops->get(world->state, BND_CF_OBJECTS, str(key), &out);
        assert_true(rv == 0 || rv == BND_CORRUPT);
        damaged += rv != 0;
    }
    assert_true(damaged > 3);
    struct bnd_state_iter *iter =
        world->state->ops->iter(world->state, BND_CF_OBJECTS, str("key"), str("kez"));
    int seen = 0;
    for (; world->state->ops->iter_valid(iter); world->state->ops->iter_next(iter)) {
        seen++;
    }
    assert_int_equal(world->state->ops->iter_status(iter), BND_CORRUPT);
    assert_true(seen < DAMAGED_KEYS);
    world->state->ops->iter_destroy(iter);
}

int main(int argc, char **argv) {
    (void)alarm(200);
    if (argc == 5 && strcmp(argv[1], "child") == 0) {
        return child_main(argv[2], atoi(argv[3]), atoi(argv[4]));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_sees_its_own_writes_over_the_state, setup_open,
                                        teardown),
        cmocka_unit_test_setup_teardown(batches_large_and_small_agree_with_an_array, setup_open,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_batch_without_memory_fails_as_a_whole, setup_open,
                                        teardown),
        cmocka_unit_test_setup_teardown(iterators_keep_to_their_snapshot_and_range, setup_open,
                                        teardown),
        cmocka_unit_test_setup_teardown(persisted_reads_show_what_a_crash_would_leave, setup_open,
                                        teardown),
        cmocka_unit_test_setup_teardown(several_persists_may_be_under_way, setup_open, teardown),
        cmocka_unit_test_setup_teardown(a_dropped_range_is_gone_for_good_and_may_be_filled_anew,
                                        setup_open, teardown),
        cmocka_unit_test_setup_teardown(a_kill_after_persist_loses_only_later_writes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(kills_at_any_time_leave_a_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_fails_persist_and_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_fails_is_told_by_persist_and_write, setup_open,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused_untouched, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_and_damaged_directories_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_first_open_cut_short_is_taken_up_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_open_is_refused, setup_open, teardown),
        cmocka_unit_test_setup_teardown(a_look_changes_nothing_and_sees_what_was_persisted,
                                        setup_open, teardown),
        cmocka_unit_test_setup_teardown(damaged_files_are_told_as_corrupt, setup_open, teardown),
        cmocka_unit_test_setup_teardown(damaged_tables_are_not_read_as_absent, setup_open,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
