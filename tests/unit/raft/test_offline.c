/* What is written into a stopped node's journal, cut off at each write: the records do not fit into
 * what is left of the last segment. */
#include "raft/offline.h"

#include "raft/core.h"

#include "tests/unit/engine/journal_rig.h"

#define MANY 60
#define FIRST 1000

static void on_done(void *data, int status, const struct bnd_error *err) {
    *(int *)data = status;
}

static struct bnd_raft_offline from_of(struct fixture *f) {
    return (struct bnd_raft_offline){
        .env = &f->world->env, .journal_dir = f->config.dir, .cluster_id = 7, .node_id = 3};
}

/* A group as the recovery leaves it. */
static int count_recovered(void *data, const struct bnd_journal_group *group) {
    bool last = group->entries_count > 0 &&
                group->entries[group->entries_count - 1].kind == BND_CORE_CONFIGURATION;
    *(size_t *)data += group->exists && group->vote == 3 && last;
    return 0;
}

static int count_existing(void *data, const struct bnd_journal_group *group) {
    *(size_t *)data += group->exists;
    return 0;
}

static size_t count(struct fixture *f, int (*each)(void *data, const struct bnd_journal_group *)) {
    struct bnd_error err;
    size_t found = 0;
    assert_int_equal(bnd_journal_read(&f->config, each, &found, NULL, &err), 0);
    return found;
}

/* The power is back, and fails again at that write from now on. */
static void cut_at(struct fixture *f, uint64_t write) {
    crash_reboot(f->world);
    f->world->cut_at = f->world->ops + write;
}

static void a_recovery_is_there_whole_or_not_at_all(void **state) {
    struct fixture *f = *state;
    uint64_t last = fill_all_but_one_block(f);
    fixture_close(f);
    uint64_t lost[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        lost[i] = FIRST + i;
    }
    struct bnd_raft_offline_group group = {.gid = GROUP, .term = 1, .last = last, .last_term = 1};
    const struct bnd_raft_offline from = from_of(f);
    const struct bnd_raft_recovery recovery = {
        .groups = &group, .groups_count = 1, .lost = lost, .lost_count = MANY, .slot_next = 5};
    int status = -1;
    for (uint64_t cut = 1; status != 0; cut++) {
        struct bnd_error err;
        cut_at(f, cut);
        (void)bnd_raft_recover(&from, &recovery, on_done, &status, &err);
        crash_settle(f->world);
        crash_reboot(f->world);
        size_t recovered = count(f, count_recovered);
        assert_true(recovered == 0 || recovered == MANY + 1);
        assert_true(status != 0 || recovered > 0);
        if (recovered > 0) {
            break; /* once is enough */
        }
    }
}

static void a_group_made_anew_is_never_without_its_beginning(void **state) {
    struct fixture *f = *state;
    struct bnd_raft_anew_group groups[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        groups[i] = (struct bnd_raft_anew_group){.gid = FIRST + i, .last = 7, .last_term = 1};
        create(f, FIRST + i);
    }
    (void)fill_all_but_one_block(f);
    fixture_close(f);
    const struct bnd_raft_offline from = from_of(f);
    const struct bnd_raft_anew anew = {.groups = groups, .count = MANY, .slot_next = 5};
    int status = -1;
    for (uint64_t cut = 1; status != 0; cut++) {
        struct bnd_error err;
        cut_at(f, cut);
        (void)bnd_raft_make_anew(&from, &anew, on_done, &status, &err);
        crash_settle(f->world);
        crash_reboot(f->world);
        assert_int_equal(count(f, count_existing), MANY + 1);
    }
}

static bool is_other(uint64_t gid) {
    return gid == FIRST;
}

static int count_offline(void *data, const struct bnd_raft_offline_group *group) {
    ++*(size_t *)data;
    return 0;
}

/* Its entries and its start are no Raft's: nothing of them is looked at. */
static void a_log_that_is_no_rafts_is_left_out(void **state) {
    struct fixture *f = *state;
    create(f, FIRST);
    commit(f);
    fixture_close(f);
    crash_reboot(f->world);
    struct bnd_raft_offline from = from_of(f);
    size_t found = 0;
    from.is_other = is_other;
    assert_int_equal(bnd_raft_offline_each(&from, count_offline, &found, NULL, NULL), 0);
    assert_int_equal(found, 0);
    assert_int_equal(count(f, count_existing), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_recovery_is_there_whole_or_not_at_all),
        TEST(a_group_made_anew_is_never_without_its_beginning),
        TEST(a_log_that_is_no_rafts_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
