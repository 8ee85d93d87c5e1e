/* The journal on real files: a process that writes without pause is killed again and again; every
 * entry it reported as durable is found by the next one, and no hole before it. */
#include "engine/journal/journal.h"
#include "tests/unit/engine/io_test.h"

#include <signal.h>
#include <sys/wait.h>

#define ROUNDS 12
#define GROUPS 4

struct node {
    struct bnd_env *env;
    struct bnd_journal *journal;
    uint64_t last[GROUPS];
    uint64_t start[GROUPS];
    uint64_t lsn; /* of the last record */
    int pipe;     /* where the child reports */
};

static void stop_run(void *data) {
    bnd_io_env_stop(((struct node *)data)->env);
}

static void on_failed(void *owner, const struct bnd_error *why) {
    fprintf(stderr, "journal failed: %s\n", why->message);
    abort();
}

/* Four more entries and now and then a compaction, as soon as the last are durable. */
static void write_more(struct node *node) {
    static uint8_t data[3000];
    for (uint64_t g = 0; g < GROUPS; g++) {
        struct bnd_journal_entry entry = {.index = node->last[g] + 1, .term = 1};
        memset(data, (int)(entry.index + g), sizeof data);
        entry.data = bnd_slice(data, 100 + (entry.index * 97 + g) % 2900);
        if (bnd_journal_append(node->journal, g + 1, &entry, &node->lsn) != 0) {
            abort();
        }
        node->last[g]++;
        if (node->last[g] % 64 == 0 && g != 0) {
            struct bnd_journal_start start = {.index = node->last[g] - 10, .term = 1};
            if (bnd_journal_compact(node->journal, g + 1, &start, &node->lsn) != 0) {
                abort();
            }
        }
    }
    bnd_journal_submit(node->journal);
}

static void on_durable(void *owner, uint64_t lsn) {
    struct node *node = owner;
    if (node->pipe >= 0 && lsn == node->lsn) { /* a rollover may have cut them into two batches */
        /* Each group's own: a kill between the two batches of a rollover leaves one group ahead. */
        if (write(node->pipe, node->last, sizeof node->last) != sizeof node->last) {
            abort();
        }
        write_more(node);
    }
}

static int on_group(void *data, const struct bnd_journal_group *group) {
    struct node *node = data;
    uint64_t g = group->gid - 1;
    node->start[g] = group->start.index;
    node->last[g] = group->start.index + group->entries_count;
    for (size_t i = 0; i < group->entries_count; i++) {
        const struct bnd_journal_entry *entry = &group->entries[i];
        assert_int_equal(entry->index, group->start.index + 1 + i);
        assert_int_equal(entry->data.len, 100 + (entry->index * 97 + g) % 2900);
        for (size_t b = 0; b < entry->data.len; b++) {
            assert_int_equal(entry->data.data[b], (uint8_t)(entry->index + g));
        }
    }
    return 0;
}

static void node_open(struct node *node, const char *dir) {
    struct bnd_error err = {0};
    *node = (struct node){.env = test_env(BND_IO_AUTO), .pipe = -1};
    struct bnd_journal_config config = {.env = node->env,
                                        .dir = dir,
                                        .cluster_id = 1,
                                        .node_id = 2,
                                        .segment_bytes = (size_t)256 << 10,
                                        .batch_bytes_max = (size_t)64 << 10,
                                        .owner = node,
                                        .durable = on_durable,
                                        .failed = on_failed};
    int rv = bnd_journal_open(&config, &node->journal, &err);
    if (rv != 0) {
        print_error("%s\n", err.message);
    }
    assert_int_equal(rv, 0);
    assert_int_equal(bnd_journal_each_group(node->journal, on_group, node), 0);
    bnd_journal_recovered(node->journal);
}

static void child_run(const char *dir, int pipe_out) {
    struct node node;
    node_open(&node, dir);
    node.pipe = pipe_out;
    if (node.last[0] == 0) {
        for (uint64_t g = 0; g < GROUPS; g++) {
            (void)bnd_journal_create(node.journal, g + 1, &(struct bnd_journal_start){0}, NULL);
        }
    }
    write_more(&node);
    bnd_io_env_run(node.env); /* until it is killed */
    _exit(1);
}

/* Lets a child write `reports` batches and kills it: the last entries it reported. */
static void write_and_kill(const char *dir, int reports, uint64_t reported[GROUPS]) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        child_run(dir, ends[1]);
    }
    close(ends[1]);
    uint64_t next[GROUPS];
    for (int i = 0; i < reports && read(ends[0], next, sizeof next) == sizeof next; i++) {
        memcpy(reported, next, sizeof next);
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    while (read(ends[0], next, sizeof next) == sizeof next) { /* reported before it died */
        memcpy(reported, next, sizeof next);
    }
    close(ends[0]);
}

static void killed_writer_loses_nothing(void **state) {
    char base[] = "/tmp/bnd_journal_XXXXXX";
    char dir[64], command[96];
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/journal", base);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t reported[GROUPS] = {0};
        write_and_kill(dir, 30 + round * 7, reported);
        struct node node;
        node_open(&node, dir);
        assert_true(reported[0] > 0);
        for (int g = 0; g < GROUPS; g++) {
            assert_true(node.last[g] >= reported[g]);
        }
        bnd_journal_close(node.journal, stop_run, &node);
        bnd_io_env_run(node.env);
        bnd_io_env_destroy(node.env);
    }
    snprintf(command, sizeof command, "rm -r %s", base);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_writer_loses_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
