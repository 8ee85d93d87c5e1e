/* A journal on a disk in memory, opened, and the few calls that most tests make. */
#ifndef TESTS_UNIT_ENGINE_JOURNAL_RIG_H
#define TESTS_UNIT_ENGINE_JOURNAL_RIG_H

#include "tests/unit/engine/journal_model.h"

#define GROUP 1

static inline int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    fixture_init(f, 5);
    struct bnd_error err;
    assert_int_equal(fixture_open(f, &err), 0);
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
    struct fixture *f = *state;
    f->world->hold_writes = false;
    if (f->world->held != NULL) {
        crash_event(f->world, (struct crash_event){.io = f->world->held, .status = BND_IO});
        f->world->held = NULL;
    }
    fixture_close(f);
    fixture_free(f);
    free(f);
    return 0;
}

static inline int append(struct fixture *f, uint64_t index, size_t len, uint64_t *lsn) {
    static uint8_t data[65536];
    memset(data, 1, sizeof data);
    struct bnd_journal_entry entry = {.index = index, .term = 1, .data = bnd_slice(data, len)};
    return bnd_journal_append(f->journal, GROUP, &entry, lsn);
}

static inline void create(struct fixture *f, uint64_t gid) {
    assert_int_equal(bnd_journal_create(f->journal, gid, &(struct bnd_journal_start){0}, NULL), 0);
}

static inline void commit(struct fixture *f) {
    bnd_journal_submit(f->journal);
    crash_settle(f->world);
}

/* The first segment's last block is free after it. Returns the last entry. */
static inline uint64_t fill_all_but_one_block(struct fixture *f) {
    static const uint8_t zero[4096];
    uint64_t index = 0;
    create(f, GROUP);
    for (;;) {
        const struct crash_inode *segment = crash_file(f->world, "0000000000000001.seg");
        if (memcmp(segment->now + 14 * 4096, zero, sizeof zero) != 0) {
            assert_memory_equal(segment->now + 15 * 4096, zero, sizeof zero);
            return index;
        }
        assert_int_equal(append(f, ++index, 1000, NULL), 0);
        commit(f);
    }
}

static inline int reopen(struct fixture *f, struct bnd_error *err) {
    fixture_close(f);
    crash_reboot(f->world);
    return fixture_open(f, err);
}

struct found {
    uint64_t gid;
    size_t groups;
    struct bnd_journal_group group;
};

static inline int find(void *data, const struct bnd_journal_group *group) {
    struct found *found = data;
    found->groups++;
    if (group->gid == found->gid) {
        found->group = *group;
    }
    return 0;
}

static inline struct found look(struct fixture *f, uint64_t gid) {
    struct found found = {.gid = gid};
    assert_int_equal(bnd_journal_each_group(f->journal, find, &found), 0);
    return found;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
