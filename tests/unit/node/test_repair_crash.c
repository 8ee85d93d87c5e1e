/* A repair that is killed before each of its steps on a real directory: the next start completes
 * it, and no sound group is lost.
 *
 * A step is a call that changes a directory or makes something durable, RocksDB's own included:
 * what is written between two of them is not counted on by anybody before the second. They are met
 * by standing in for the C library's functions. */
#include "tests/unit/engine/io_test.h"

#include "engine/journal/journal.h"
#include "engine/rocks/rocks.h"
#include "engine/rocks/verify.h"
#include "node/repair.h"
#include "raft/configuration.h"
#include "raft/tuple.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SELF 1
#define GROUPS 3
#define HURT 2 /* the group whose state is damaged; each group's slot is its number */
#define ENTRIES 5
#define KEYS 200
#define VALUE_BYTES 200 /* so that a group fills several blocks of its file */
#define STEPS_MAX 400

/* ---- steps ------------------------------------------------------------------------------------*/

static atomic_int steps_left; /* the process is killed before the last of them; 0: never */

static void step(void) {
    if (atomic_load(&steps_left) > 0 && atomic_fetch_sub(&steps_left, 1) == 1) {
        (void)kill(getpid(), SIGKILL);
    }
}

int rename(const char *from, const char *to) {
    step();
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *path) {
    step();
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    step();
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int remove(const char *path) {
    step();
    int rv = unlinkat(AT_FDCWD, path, 0);
    return rv != 0 && errno == EISDIR ? unlinkat(AT_FDCWD, path, AT_REMOVEDIR) : rv;
}

int mkdir(const char *path, mode_t mode) {
    step();
    return mkdirat(AT_FDCWD, path, mode);
}

int fsync(int fd) {
    step();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    step();
    return (int)syscall(SYS_fdatasync, fd);
}

/* ---- a node's directory -----------------------------------------------------------------------*/

static const struct node_identity identity = {.cluster = {1, 2, 3}, .node = SELF};

static void path_of(const char *data, const char *name, char out[256]) {
    assert_true(snprintf(out, 256, "%s/%s", data, name) < 256);
}

static void stop_run(void *data) {
    bnd_io_env_stop(data);
}

static void on_persisted(struct bnd_state_persist *persist, int status) {
    assert_int_equal(status, 0);
    bnd_io_env_stop(persist->data);
}

static void make_journal(struct bnd_env *env, const char *data, bool alone) {
    char dir[256];
    path_of(data, "journal", dir);
    struct bnd_journal_config config = {.env = env,
                                        .dir = dir,
                                        .cluster_id = node_cluster_number(identity.cluster),
                                        .node_id = SELF};
    struct bnd_journal *journal = NULL;
    struct bnd_raft_configuration members = {
        .members = {{SELF, BND_RAFT_VOTER}, {2, BND_RAFT_VOTER}, {3, BND_RAFT_VOTER}},
        .count = alone ? 1 : 3};
    BND_AUTO_BUF struct bnd_buf bytes = {0};
    bnd_raft_configuration_encode(&members, &bytes);
    assert_int_equal(bnd_journal_open(&config, &journal, NULL), 0);
    bnd_journal_recovered(journal);
    for (uint32_t gid = 1; gid <= GROUPS; gid++) {
        struct bnd_journal_start start = {.slot = gid, .config = bnd_buf_slice(&bytes)};
        assert_int_equal(bnd_journal_create(journal, gid, &start, NULL), 0);
        for (uint64_t index = 1; index <= ENTRIES; index++) {
            struct bnd_journal_entry entry = {
                .index = index, .term = 1, .data = bnd_slice_str("an entry")};
            assert_int_equal(bnd_journal_append(journal, gid, &entry, NULL), 0);
        }
    }
    bnd_journal_submit(journal);
    bnd_journal_close(journal, stop_run, env);
    bnd_io_env_run(env);
}

static struct bnd_slice key_of(uint32_t slot, uint32_t number, uint8_t out[8]) {
    bnd_put_be32(out, slot);
    bnd_put_be32(out + 4, number);
    return bnd_slice(out, 8);
}

/* Each group's part is persisted by itself, and so lies in files of its own. */
static void make_state(struct bnd_env *env, const char *data) {
    char dir[256];
    path_of(data, "state", dir);
    struct bnd_rocks_config config = {
        .env = env, .dir = dir, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    struct bnd_state *state = NULL;
    assert_int_equal(bnd_rocks_open(&config, &state, NULL), 0);
    for (uint32_t slot = 1; slot <= GROUPS; slot++) {
        struct bnd_state_batch *batch = state->ops->batch_create(state);
        struct tuple tuple = {.index = ENTRIES, .term = 1, .state_version = TUPLE_STATE_VERSION};
        uint8_t key[8];
        assert_int_equal(tuple_store(state, batch, slot, &tuple, bnd_slice(NULL, 0)), 0);
        for (uint32_t number = 0; number < KEYS; number++) {
            uint8_t value[VALUE_BYTES];
            env->ops->random_secret(env, value, sizeof value); /* not to be compressed */
            state->ops->batch_put(batch, BND_CF_OBJECTS, key_of(slot, number, key),
                                  bnd_slice(value, sizeof value));
        }
        assert_int_equal(state->ops->write(state, batch), 0);
        state->ops->batch_destroy(batch);
        struct bnd_state_persist persist = {.cb = on_persisted, .data = env};
        assert_int_equal(state->ops->persist(state, &persist), 0);
        bnd_io_env_run(env);
    }
    state->ops->close(state);
}

struct damage {
    bool hurt, other;
};

static void on_damage(void *data, const struct bnd_rocks_damage *damage) {
    struct damage *found = data;
    bool hurt = damage->slot_first == HURT && damage->slot_last == HURT;
    found->hurt = found->hurt || hurt;
    found->other = found->other || !hurt;
}

static void flip(const char *path, off_t at) {
    uint8_t byte = 0;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* A bit of the file that holds nothing but objects of the group to be hurt. */
static void damage_state(const char *data, off_t at) {
    char state[256];
    char rocks[256];
    bool done = false;
    path_of(data, "state", state);
    path_of(state, "rocks", rocks);
    DIR *dir = opendir(rocks);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL && !done; entry = readdir(dir)) {
        char path[256];
        struct stat about;
        struct damage found = {0};
        struct bnd_rocks_verification look = {.dir = state, .damaged = on_damage, .data = &found};
        if (strstr(entry->d_name, ".sst") == NULL) {
            continue;
        }
        path_of(rocks, entry->d_name, path);
        assert_int_equal(stat(path, &about), 0);
        if (about.st_size < KEYS * VALUE_BYTES) {
            continue;
        }
        flip(path, at);
        done = bnd_rocks_verify(&look, NULL) == 0 && found.hurt && !found.other;
        if (!done) {
            flip(path, at);
        }
    }
    closedir(dir);
    assert_true(done);
}

static void remove_state(const char *data) {
    char command[256];
    assert_true(snprintf(command, sizeof command, "rm -r %s/state", data) < (int)sizeof command);
    assert_int_equal(system(command), 0);
}

/* ---- processes --------------------------------------------------------------------------------*/

/* RocksDB's threads do not outlive a fork: whatever opens it does so in a process of its own. */
struct job {
    void (*run)(struct bnd_env *env, const struct job *job);
    const char *data;
    /* What make makes, and check expects. */
    bool alone;      /* no other replicas */
    bool gone;       /* the whole state */
    off_t flip_at;   /* else: a place in the damaged file */
    bool also_first; /* the group before the hurt one is given up with it */
    int kill_before; /* this step of the repair; 0: none */
    int want;        /* of the repair */
};

static bool in_a_process(const struct job *job) {
    pid_t child = fork();
    int status = 0;
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failure ends this process, too */
        struct bnd_env *env = test_env(BND_IO_AUTO);
        job->run(env, job);
        bnd_io_env_destroy(env);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    assert_true(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    assert_true(!killed || job->kill_before > 0);
    return !killed;
}

static void make(struct bnd_env *env, const struct job *job) {
    make_journal(env, job->data, job->alone);
    make_state(env, job->data);
    if (job->gone) {
        remove_state(job->data);
    } else {
        damage_state(job->data, job->flip_at);
    }
    assert_int_equal(node_repair_mark(env, job->data, "planted", NULL), 0);
}

static void repair(struct bnd_env *env, const struct job *job) {
    struct bnd_error err = {0};
    atomic_store(&steps_left, job->kill_before);
    int rv = node_repair_run(env, job->data, &identity, &err);
    atomic_store(&steps_left, 0);
    if (rv != job->want) {
        fail_msg("%s", err.message);
    }
}

/* ---- what is there afterwards -----------------------------------------------------------------*/

static bool is_kept(const struct job *job, uint64_t gid) {
    return !job->gone && gid != HURT && !(job->also_first && gid < HURT);
}

static int check_group(void *data, const struct bnd_journal_group *group) {
    assert_true(group->exists);
    if (is_kept(data, group->gid)) {
        assert_int_equal(group->start.slot, group->gid);
        assert_int_equal(group->entries_count, ENTRIES);
    } else { /* anew, and it still answers for what it had acknowledged */
        assert_true(group->start.slot > GROUPS);
        assert_int_equal(group->entries_count, 0);
        assert_int_equal(group->floor.index, ENTRIES);
    }
    return 0;
}

static void check_slot(struct bnd_state *state, uint32_t slot, bool sound) {
    struct tuple tuple = {0};
    assert_int_equal(tuple_load(state, slot, false, &tuple, NULL), 0);
    assert_int_equal(tuple.index, sound ? ENTRIES : 0);
    for (uint32_t number = 0; number < KEYS; number++) {
        BND_AUTO_BUF struct bnd_buf value = {0};
        uint8_t key[8];
        int rv = state->ops->get(state, BND_CF_OBJECTS, key_of(slot, number, key), &value);
        assert_int_equal(rv, sound ? 0 : BND_NOTFOUND);
    }
}

static void check(struct bnd_env *env, const struct job *job) {
    static const char *const gone[] = {"damaged", "state.new", "state.old"};
    char path[256];
    struct stat about;
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
        path_of(job->data, gone[i], path);
        if (stat(path, &about) == 0) {
            fail_msg("%s is still there", path);
        }
    }
    path_of(job->data, "journal", path);
    struct bnd_journal_config config = {.env = env,
                                        .dir = path,
                                        .cluster_id = node_cluster_number(identity.cluster),
                                        .node_id = SELF};
    struct job expected = *job;
    assert_int_equal(bnd_journal_read(&config, check_group, &expected, NULL, NULL), 0);
    struct bnd_state *state = NULL;
    path_of(job->data, "state", path);
    assert_int_equal(bnd_rocks_open_read_only(env, path, &state, NULL), 0);
    for (uint32_t slot = 1; slot <= GROUPS; slot++) {
        check_slot(state, slot, is_kept(job, slot));
    }
    state->ops->close(state);
}

/* ---- tests ------------------------------------------------------------------------------------*/

static void copy(const char *from, const char *to) {
    char command[256];
    assert_true(snprintf(command, sizeof command, "rm -rf %s && cp -r %s %s", to,
                         from, to) < (int)sizeof command);
    assert_int_equal(system(command), 0);
}

struct place {
    char base[32], made[256], data[256];
};

/* A directory to be repaired: made, and copied to data. */
static void place_make(struct place *place, const struct job *like) {
    struct job job = *like;
    (void)strcpy(place->base, "/var/tmp/bnd-repair-XXXXXX");
    assert_non_null(mkdtemp(place->base));
    path_of(place->base, "made", place->made);
    path_of(place->base, "data", place->data);
    assert_int_equal(mkdir(place->made, 0700), 0);
    job.run = make;
    job.data = place->made;
    assert_true(in_a_process(&job));
    copy(place->made, place->data);
}

static void place_remove(const struct place *place) {
    char command[64];
    (void)snprintf(command, sizeof command, "rm -r %s", place->base); /* fits */
    assert_int_equal(system(command), 0);
}

static bool repair_in(const struct place *place, const struct job *like, int kill_before) {
    struct job job = *like;
    job.run = repair;
    job.data = place->data;
    job.kill_before = kill_before;
    return in_a_process(&job);
}

static void check_in(const struct place *place, const struct job *like) {
    struct job job = *like;
    job.run = check;
    job.data = place->data;
    assert_true(in_a_process(&job));
}

static void killed_at_every_step(const struct job *job) {
    struct place place;
    bool whole = false;
    int steps = 0;
    place_make(&place, job);
    while (!whole) {
        assert_true(++steps < STEPS_MAX);
        copy(place.made, place.data);
        whole = repair_in(&place, job, steps);
        assert_true(repair_in(&place, job, 0));
        check_in(&place, job);
    }
    print_message("killed before each of %d steps\n", steps - 1);
    assert_true(steps > 20); /* RocksDB alone has so many */
    place_remove(&place);
}

static void the_next_start_completes_what_was_cut_off(void **state) {
    (void)state;
    killed_at_every_step(&(struct job){.flip_at = KEYS * VALUE_BYTES / 2});
}

static void the_next_start_completes_it_also_without_any_state(void **state) {
    (void)state;
    killed_at_every_step(&(struct job){.gone = true});
}

/* In a file's first block, where whoever looks for smaller keys passes. */
static void damage_in_the_way_of_a_sound_group_is_repaired(void **state) {
    (void)state;
    const struct job job = {.flip_at = 10, .also_first = true};
    struct place place;
    place_make(&place, &job);
    assert_true(repair_in(&place, &job, 0));
    check_in(&place, &job);
    place_remove(&place);
}

static void the_only_replica_is_left_alone(void **state) {
    (void)state;
    const struct job job = {.flip_at = 10, .alone = true, .want = BND_CORRUPT};
    struct place place;
    char command[600];
    place_make(&place, &job);
    assert_true(repair_in(&place, &job, 0));
    assert_true(snprintf(command, sizeof command, "diff -r %s %s", place.made, place.data) <
                (int)sizeof command);
    assert_int_equal(system(command), 0);
    place_remove(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_start_completes_what_was_cut_off),
        cmocka_unit_test(the_next_start_completes_it_also_without_any_state),
        cmocka_unit_test(damage_in_the_way_of_a_sound_group_is_repaired),
        cmocka_unit_test(the_only_replica_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
