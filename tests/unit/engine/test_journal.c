/* The journal's calls, one journal at a time, on a disk in memory. */
#include "base/alloc.h"
#include "tests/unit/engine/journal_rig.h"

static void records_of_one_flight_share_a_write(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    commit(f);
    uint64_t writes = f->world->writes, lsn = 0;
    assert_int_equal(append(f, 1, 10, NULL), 0);
    bnd_journal_submit(f->journal);
    for (uint64_t i = 2; i <= 100; i++) { /* while the first is under way */
        assert_int_equal(append(f, i, 10, &lsn), 0);
        bnd_journal_submit(f->journal);
    }
    assert_int_equal(lsn, 101);
    assert_int_equal(f->durable, 1); /* nothing is answered inside a call */
    crash_settle(f->world);
    assert_int_equal(f->durable, 101);
    assert_int_equal(bnd_journal_durable(f->journal), 101);
    assert_int_equal(f->world->writes - writes, 2);
}

static void unsubmitted_records_are_not_written(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    crash_settle(f->world);
    crash_advance(f->world, 10000 * BND_MS);
    assert_int_equal(f->durable, 0);
}

static void bounds_are_answered(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    assert_int_equal(append(f, 1, 3 * 4096, NULL), BND_TOOBIG);
    assert_int_equal(append(f, 1, 3 * 4096 - 56 - 32, NULL), 0); /* the largest: fills a batch */
    f->world->hold_writes = true;
    uint64_t index = 2;
    int rv = 0;
    while ((rv = append(f, index, 5000, NULL)) == 0) {
        index++;
        bnd_journal_submit(f->journal);
    }
    assert_int_equal(rv, BND_FULL);
    assert_in_range(index, 12, 18); /* 20 blocks of queue */
    uint64_t lsn = 77;
    assert_int_equal(append(f, index, 5000, &lsn), BND_FULL);
    assert_int_equal(lsn, 77);
    f->world->hold_writes = false;
    crash_event(f->world,
                (struct crash_event){.io = f->world->held, .bytes = f->world->held_bytes});
    f->world->held = NULL;
    crash_settle(f->world);
    assert_int_equal(append(f, index, 5000, NULL), 0);
}

static void wrong_records_are_refused(void **state) {
    struct fixture *f = *state;
    struct bnd_journal_start at5 = {.index = 5, .term = 1}, at4 = {.index = 4, .term = 1};
    assert_int_equal(append(f, 1, 1, NULL), BND_INVALID); /* no such group */
    struct bnd_journal_start beyond = {.index = (UINT64_C(1) << 62) + 1, .term = 1};
    assert_int_equal(bnd_journal_create(f->journal, GROUP, &beyond, NULL), BND_INVALID);
    create(f, GROUP);
    assert_int_equal(bnd_journal_create(f->journal, GROUP, &at5, NULL), BND_INVALID);
    assert_int_equal(append(f, 2, 1, NULL), BND_INVALID);
    assert_int_equal(append(f, 1, 1, NULL), 0);
    assert_int_equal(bnd_journal_truncate(f->journal, GROUP, 0, NULL), BND_INVALID);
    assert_int_equal(bnd_journal_meta(f->journal, GROUP, 3, 1, NULL), 0);
    assert_int_equal(bnd_journal_meta(f->journal, GROUP, 2, 1, NULL), BND_INVALID);
    assert_int_equal(bnd_journal_install(f->journal, GROUP, &at5, NULL), 0);
    assert_int_equal(bnd_journal_compact(f->journal, GROUP, &at4, NULL), BND_INVALID);
    assert_int_equal(append(f, 6, 1, NULL), 0);
}

static void destroyed_group_keeps_its_vote(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    create(f, GROUP);
    assert_int_equal(append(f, 1, 1, NULL), 0);
    assert_int_equal(bnd_journal_meta(f->journal, GROUP, 9, 4, NULL), 0);
    const struct bnd_journal_floor floor = {.index = 1, .term = 8};
    assert_int_equal(bnd_journal_destroy(f->journal, GROUP, &floor, NULL), 0);
    create(f, 2);
    for (uint64_t i = 0; i < 400; i++) { /* through several segments */
        assert_int_equal(bnd_journal_meta(f->journal, 2, i, 1, NULL), 0);
        commit(f);
    }
    assert_null(crash_file(f->world, "0000000000000001.seg"));
    assert_int_equal(reopen(f, &err), 0);
    struct found found = look(f, GROUP);
    assert_false(found.group.exists);
    assert_int_equal(found.group.term, 9);
    assert_int_equal(found.group.vote, 4);
    assert_int_equal(found.group.floor.index, 1);
    assert_int_equal(found.group.floor.term, 8);
    assert_int_equal(bnd_journal_meta(f->journal, GROUP, 9, 5, NULL), BND_INVALID); /* not there */
    create(f, GROUP);
    assert_int_equal(bnd_journal_meta(f->journal, GROUP, 8, 5, NULL), BND_INVALID); /* lower */
    commit(f);
    assert_int_equal(reopen(f, &err), 0);
    found = look(f, GROUP);
    assert_true(found.group.exists);
    assert_int_equal(found.group.term, 9);
    assert_int_equal(found.group.floor.term, 8);
    assert_int_equal(found.group.entries_count, 0);
}

static void write_error_is_final_and_told_once(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    f->world->write_status = BND_NOSPACE;
    bnd_journal_submit(f->journal);
    assert_int_equal(f->failed, 0); /* never from inside a call */
    crash_settle(f->world);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->why.code, BND_NOSPACE);
    assert_non_null(strstr(f->why.message, "0000000000000001"));
    f->world->write_status = 0;
    assert_int_equal(append(f, 1, 1, NULL), BND_IO);
    commit(f);
    crash_advance(f->world, 10000 * BND_MS);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->durable, 0);
}

/* Answers the write that is held, as `status` and `bytes` say. */
static void answer_held(struct fixture *f, int status, size_t bytes) {
    struct bnd_io *io = f->world->held;
    assert_non_null(io);
    f->world->held = NULL;
    crash_event(f->world, (struct crash_event){.io = io, .status = status, .bytes = bytes});
    crash_settle(f->world);
}

static void a_write_cut_short_is_an_error(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    f->world->hold_writes = true;
    bnd_journal_submit(f->journal);
    answer_held(f, 0, f->world->held_bytes - 512);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->why.code, BND_IO);
    assert_int_equal(f->durable, 0);
}

/* What follows a batch says that it is durable: after a failed write nothing is written, and
 * nothing told. */
static void nothing_is_written_after_a_failure(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    commit(f);
    f->world->hold_writes = true;
    assert_int_equal(append(f, 1, 10, NULL), 0);
    bnd_journal_submit(f->journal);
    crash_settle(f->world);
    uint64_t writes = f->world->writes;
    assert_int_equal(append(f, 2, 10, NULL), 0);
    bnd_journal_submit(f->journal);
    f->world->hold_writes = false;
    answer_held(f, BND_IO, 0);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->world->writes, writes);
    assert_int_equal(f->durable, 1);
    assert_int_equal(bnd_journal_durable(f->journal), 1);
}

/* The pool's job that was under way ends well, and would go on with the next batch. */
static void nothing_is_written_when_a_job_ends_after_a_failure(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    commit(f);
    uint64_t index = 1;
    while (f->world->events_count == 0 || f->world->events[f->world->events_head].work == NULL) {
        assert_int_equal(append(f, index++, 3000, NULL), 0);
        bnd_journal_submit(f->journal);
        assert_true(crash_step(f->world));
    }
    assert_int_equal(append(f, index, 3000, NULL), 0);
    f->world->write_status = BND_IO;
    bnd_journal_submit(f->journal);
    struct crash_event job = f->world->events[f->world->events_head];
    f->world->events_head = (f->world->events_head + 1) % CRASH_EVENTS;
    f->world->events_count--;
    assert_int_equal(append(f, index + 1, 3000, NULL), 0);
    bnd_journal_submit(f->journal);
    crash_settle(f->world);
    assert_int_equal(f->failed, 1);
    f->world->write_status = 0;
    job.work->run(job.work);
    uint64_t writes = f->world->writes;
    job.work->done(job.work, 0);
    crash_settle(f->world);
    assert_int_equal(f->world->writes, writes);
}

static void hung_write_fails_after_running_time(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    f->world->hold_writes = true;
    bnd_journal_submit(f->journal);
    crash_settle(f->world);
    crash_advance(f->world, 2900 * BND_MS);
    assert_int_equal(f->failed, 0);
    crash_advance(f->world, 200 * BND_MS);
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->why.code, BND_TIMEOUT);
}

/* The process stands still for a minute: the timer fires late, once, and the answer is there. */
static void pause_is_no_hang(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    f->world->hold_writes = true;
    bnd_journal_submit(f->journal);
    f->world->now += 60000 * BND_MS;
    struct bnd_timer *timer = bnd_timer_heap_pop(&f->world->timers, f->world->now);
    assert_non_null(timer);
    timer->cb(timer);
    crash_settle(f->world);
    assert_int_equal(f->failed, 0);
    f->world->hold_writes = false;
    crash_event(f->world,
                (struct crash_event){.io = f->world->held, .bytes = f->world->held_bytes});
    f->world->held = NULL;
    crash_settle(f->world);
    assert_int_equal(f->failed, 0);
    assert_int_equal(f->durable, 1);
}

static void another_node_is_refused(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    create(f, GROUP);
    commit(f);
    f->config.node_id = 4;
    uint64_t ops = f->world->ops;
    assert_int_equal(reopen(f, &err), BND_DENIED);
    f->config.node_id = 3;
    f->config.cluster_id = 8;
    assert_int_equal(fixture_open(f, &err), BND_DENIED);
    f->config.cluster_id = 7;
    assert_true(f->world->ops <= ops);
    assert_int_equal(f->world->ops, 0); /* nothing was touched since the reboot */
    assert_int_equal(fixture_open(f, &err), 0);
    assert_int_equal(look(f, GROUP).groups, 1);
}

static void missing_segment_is_refused(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    create(f, GROUP);
    for (uint64_t i = 1; i < 40; i++) { /* all live: nothing is recycled */
        assert_int_equal(append(f, i, 4000, NULL), 0);
        commit(f);
    }
    fixture_close(f);
    assert_int_equal(crash_unlink(&f->world->env, "data/journal/0000000000000002.seg", &err), 0);
    assert_int_equal(fixture_open(f, &err), BND_CORRUPT);
    assert_non_null(strstr(err.message, "0000000000000003"));
}

/* Any byte of the log before its last batch: refused with the place, or padding that means nothing.
 * Never other data. */
static void any_damaged_byte_is_refused_or_harmless(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    fixture_drive(f, 45);
    uint64_t lsn = f->durable;
    assert_int_equal(
        bnd_journal_meta(f->journal, 100, 1000, 1, NULL) == 0 ||
            bnd_journal_create(f->journal, 100, &(struct bnd_journal_start){0}, NULL) == 0,
        1);
    commit(f);
    struct bnd_journal_stats stats;
    bnd_journal_stats(f->journal, &stats);
    fixture_close(f);
    size_t refused = 0, harmless = 0;
    for (int i = 0; i < CRASH_FILES; i++) {
        size_t len = strlen(f->world->names[i].name);
        if (f->world->names[i].inode < 0 || len < 4 ||
            strcmp(f->world->names[i].name + len - 4, ".seg") != 0) {
            continue;
        }
        for (size_t at = 0; at < f->config.segment_bytes; at += at % 4096 < 160 ? 3 : 211) {
            uint8_t *byte = &f->world->inodes[f->world->names[i].inode].now[at];
            *byte ^= 0x41;
            uint64_t ops = f->world->ops;
            int rv = fixture_open(f, &err);
            if (rv == 0) {
                bnd_journal_stats(f->journal, &stats);
                assert_true(stats.lsn_last >= lsn); /* at most the last batch went */
                fixture_close(f);
                harmless++;
            } else {
                assert_int_equal(rv, BND_CORRUPT);
                assert_non_null(strstr(err.message, "offset"));
                assert_int_equal(f->world->ops, ops);
                refused++;
            }
            if (rv == 0 && *byte == 0) {
                continue; /* it lay behind the end and was overwritten */
            }
            *byte ^= 0x41;
        }
    }
    assert_true(refused > 300 && harmless > 300);
}

/* Thousands of groups: the checkpoint is larger than a batch and than a segment. */
static void checkpoint_of_thousands_of_groups(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    for (uint64_t gid = 1; gid <= 3000; gid++) {
        create(f, gid);
        assert_int_equal(bnd_journal_meta(f->journal, gid, gid, gid % 5, NULL), 0);
        commit(f);
    }
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(append(f, i, 100, NULL), 0);
        commit(f);
    }
    assert_null(crash_file(f->world, "0000000000000001.seg"));
    assert_int_equal(reopen(f, &err), 0);
    assert_int_equal(look(f, 1).groups, 3000);
    assert_int_equal(look(f, 1).group.entries_count, 100);
    assert_int_equal(look(f, 2999).group.term, 2999);
    assert_int_equal(look(f, 2999).group.vote, 4);
}

/* A lagging group's entries are moved on; the files stay within a bound of what is live. */
static void files_are_recycled_around_a_lagging_group(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    create(f, GROUP);
    create(f, 2);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(append(f, i, 3000 + i, NULL), 0);
    }
    for (uint64_t i = 1; i <= 1000; i++) {
        struct bnd_journal_start start = {.index = i, .term = 1};
        assert_int_equal(bnd_journal_compact(f->journal, 2, &start, NULL), 0);
        commit(f);
    }
    struct bnd_journal_stats stats;
    bnd_journal_stats(f->journal, &stats);
    assert_in_range(stats.segments + stats.segments_free, 2, 9);
    assert_true(stats.rewritten_records >= 5);
    assert_int_equal(reopen(f, &err), 0);
    struct found found = look(f, GROUP);
    assert_int_equal(found.group.entries_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(found.group.entries[i].data.len, 3001 + i);
    }
    assert_int_equal(look(f, 2).group.start.index, 1000);
}

/* Makes the first segment be read back, and sees that this ends the journal with `code`. */
static void relocate_and_fail(struct fixture *f, int code) {
    for (uint64_t i = 1; i <= 200 && f->failed == 0; i++) {
        struct bnd_journal_start start = {.index = i, .term = 1};
        (void)bnd_journal_compact(f->journal, 2, &start, NULL);
        commit(f);
    }
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->why.code, code);
    assert_non_null(strstr(f->why.message, "0000000000000001"));
}

static void something_to_relocate(struct fixture *f) {
    create(f, GROUP);
    create(f, 2);
    assert_int_equal(append(f, 1, 3000, NULL), 0);
    commit(f);
}

static void damage_found_while_relocating_is_final(void **state) {
    struct fixture *f = *state;
    something_to_relocate(f);
    crash_file(f->world, "0000000000000001.seg")->now[4096 + 2000] ^= 1;
    relocate_and_fail(f, BND_CORRUPT);
}

static void damaged_header_found_while_relocating_is_final(void **state) {
    struct fixture *f = *state;
    something_to_relocate(f);
    crash_file(f->world, "0000000000000001.seg")->now[4096 + 50] ^= 1; /* in its own checksum */
    relocate_and_fail(f, BND_CORRUPT);
}

static void read_error_while_relocating_is_final(void **state) {
    struct fixture *f = *state;
    something_to_relocate(f);
    f->world->read_status = BND_IO;
    relocate_and_fail(f, BND_IO);
}

/* What is read back is no longer needed before the disk has answered. */
static void a_segment_stays_while_it_is_read(void **state) {
    struct fixture *f = *state;
    struct bnd_journal_start start = {.index = 0, .term = 1};
    something_to_relocate(f);
    f->world->hold_reads = true;
    while (f->world->held_read.io == NULL) {
        start.index++;
        assert_int_equal(bnd_journal_compact(f->journal, 2, &start, NULL), 0);
        commit(f);
    }
    assert_int_equal(bnd_journal_compact(f->journal, GROUP,
                                         &(struct bnd_journal_start){.index = 1, .term = 1}, NULL),
                     0);
    for (int i = 0; i < 3; i++) {
        start.index++;
        assert_int_equal(bnd_journal_compact(f->journal, 2, &start, NULL), 0);
        commit(f);
    }
    assert_non_null(crash_file(f->world, "0000000000000001.seg"));
    f->world->hold_reads = false;
    crash_event(f->world, f->world->held_read);
    crash_settle(f->world);
    assert_null(crash_file(f->world, "0000000000000001.seg"));
    assert_int_equal(f->failed, 0);
}

/* The log must begin with a checkpoint at every moment: the next one, until the disk has it, is
 * none. */
static void a_segment_stays_until_the_next_checkpoint_is_durable(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    for (uint64_t i = 1; i <= 12; i++) {
        assert_int_equal(append(f, i, 1000, NULL), 0);
        commit(f);
    }
    assert_int_equal(bnd_journal_compact(f->journal, GROUP,
                                         &(struct bnd_journal_start){.index = 12, .term = 1}, NULL),
                     0);
    commit(f);
    f->world->hold_writes = true;
    assert_int_equal(bnd_journal_meta(f->journal, GROUP, 1, 1, NULL), 0);
    bnd_journal_submit(f->journal);
    assert_int_equal(append(f, 13, 9000, NULL),
                     0); /* goes to the next segment, behind its checkpoint */
    bnd_journal_submit(f->journal);
    answer_held(f, 0, f->world->held_bytes);
    assert_non_null(crash_file(f->world, "0000000000000003.seg")); /* the pool worked */
    assert_non_null(crash_file(f->world, "0000000000000001.seg"));
    f->world->hold_writes = false;
    answer_held(f, 0, f->world->held_bytes);
    assert_null(crash_file(f->world, "0000000000000001.seg"));
    assert_int_equal(f->failed, 0);
}

/* A segment that could not be made is no place for records. */
static void error_of_a_job_is_final_and_told_once(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    commit(f);
    f->world->sync_status = BND_NOSPACE;
    for (uint64_t i = 1; i <= 60 && f->failed == 0; i++) {
        assert_int_equal(append(f, i, 3000, NULL), 0);
        bnd_journal_submit(f->journal);
        for (int steps = 0; steps < 20;
             steps++) { /* a job that is tried again and again has no end */
            (void)crash_step(f->world);
        }
    }
    assert_int_equal(f->failed, 1);
    assert_int_equal(f->why.code, BND_NOSPACE);
    f->world->sync_status = 0;
    crash_advance(f->world, 10000 * BND_MS);
    assert_int_equal(f->failed, 1);
}

static void full_pool_is_waited_out(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    f->world->work_full = true;
    crash_settle(f->world);
    for (uint64_t i = 1; i <= 30; i++) { /* past the segments that are ready */
        (void)append(f, i, 4000, NULL);
        commit(f);
    }
    struct bnd_journal_stats stats;
    bnd_journal_stats(f->journal, &stats);
    assert_true(stats.lsn_durable < stats.lsn_last);
    f->world->work_full = false;
    crash_advance(f->world, 50 * BND_MS);
    assert_int_equal(f->failed, 0);
    assert_int_equal(bnd_journal_durable(f->journal), stats.lsn_last);
}

/* Each allocation of open and of records fails in turn: refused and nothing changed, or final. */
static void every_allocation_may_fail(void **state) {
    struct fixture *f = *state;
    fixture_drive(f, 60);
    struct bnd_error err;
    uint64_t lsn = f->durable;
    fixture_close(f);
    int rv = BND_NOMEM;
    for (uint64_t n = 1; rv != 0; n++) {
        assert_true(n < 2000);
        (void)bnd_alloc_fail_at(n, 1);
        rv = fixture_open(f, &err);
        (void)bnd_alloc_fail_at(0, 0);
        assert_true(rv == 0 || rv == BND_NOMEM);
    }
    fixture_check(f, lsn);
    for (uint64_t n = 1; n < 120; n++) {
        (void)bnd_alloc_fail_at(1 + n % 7, 0);
        struct model_op op = model_choose(f);
        rv = model_do(f->journal, &op, NULL);
        if (rv == 0) {
            f->model->ops[f->model->count++] = op;
            model_apply(&f->model->groups[op.gid], &op);
        }
        bnd_journal_submit(f->journal);
        (void)bnd_alloc_fail_at(0, 0);
        if (f->failed > 0 || rv == BND_IO) {
            break;
        }
        assert_true(rv == 0 || rv == BND_NOMEM || rv == BND_FULL);
        crash_settle(f->world);
    }
    crash_settle(f->world);
    crash_advance(f->world, 1000 * BND_MS);
    lsn = f->durable;
    assert_int_equal(reopen(f, &err), 0);
    fixture_check(f, lsn);
}

static void close_waits_for_the_write(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    create(f, GROUP);
    f->world->hold_writes = true;
    bnd_journal_submit(f->journal);
    f->closed = false;
    bnd_journal_close(f->journal, on_closed, f);
    crash_settle(f->world);
    assert_false(f->closed);
    f->world->hold_writes = false;
    crash_event(f->world,
                (struct crash_event){.io = f->world->held, .bytes = f->world->held_bytes});
    f->world->held = NULL;
    crash_settle(f->world);
    assert_true(f->closed);
    f->journal = NULL;
    assert_int_equal(f->durable, 0); /* no answer after close */
    assert_int_equal(fixture_open(f, &err), 0);
    assert_int_equal(look(f, GROUP).groups, 1);
    bnd_journal_close(NULL, on_closed, f);
}

/* What was accepted must fit into a checkpoint, where it is longer. */
static void every_accepted_configuration_fits_a_checkpoint(void **state) {
    struct fixture *f = *state;
    static const uint8_t config[3 * 4096] = {1};
    struct bnd_journal_start start = {.config = bnd_slice(config, sizeof config)};
    int rv = 0;
    while ((rv = bnd_journal_create(f->journal, GROUP, &start, NULL)) != 0) {
        assert_int_equal(rv, BND_TOOBIG);
        start.config.len--;
    }
    assert_in_range(start.config.len, 3 * 4096 - 256, 3 * 4096);
    for (uint64_t i = 1; i <= 60; i++) {
        assert_int_equal(append(f, i, 3000, NULL), 0);
        commit(f);
    }
    assert_int_equal(f->failed, 0);
    assert_non_null(crash_file(f->world, "0000000000000003.seg"));
}

static void sizes_may_change_between_runs(void **state) {
    struct fixture *f = *state;
    struct bnd_error err;
    fixture_drive(f, 150);
    uint64_t lsn = f->durable;
    f->config.segment_bytes = 32 * 4096;
    f->config.batch_bytes_max = 5 * 4096;
    assert_int_equal(reopen(f, &err), 0);
    fixture_check(f, lsn);
    fixture_drive(f, 200);
    lsn = f->durable;
    f->config.segment_bytes = 4 * 4096; /* smaller than what stands in the old ones */
    f->config.batch_bytes_max = 2 * 4096;
    assert_int_equal(reopen(f, &err), 0);
    fixture_check(f, lsn);
    fixture_drive(f, 200);
    lsn = f->durable;
    assert_int_equal(reopen(f, &err), 0);
    fixture_check(f, lsn);
    f->config.segment_bytes = 4096;
    assert_int_equal(reopen(f, &err), BND_INVALID);
}

static void count_lines(void *data, const char *line) {
    size_t *counts = data;
    counts[0]++;
    counts[1] += strstr(line, "DAMAGED") != NULL;
    counts[2] += strstr(line, "META group 1 term 7 vote 2") != NULL;
    counts[3] += strstr(line, ": batch ") != NULL;
}

static void inspect_reads_on_behind_damage(void **state) {
    struct fixture *f = *state;
    create(f, GROUP);
    commit(f);
    assert_int_equal(append(f, 1, 4000, NULL), 0);
    commit(f);
    assert_int_equal(bnd_journal_meta(f->journal, GROUP, 7, 2, NULL), 0);
    commit(f);
    size_t counts[4] = {0};
    const struct bnd_journal_look look = {
        .dir = "data/journal", .records = true, .print = count_lines, .data = counts};
    assert_int_equal(bnd_journal_inspect(&f->world->env, &look, NULL), 0);
    assert_int_equal(counts[1], 0);
    assert_int_equal(counts[2], 1);
    assert_int_equal(counts[3], 3);
    crash_file(f->world, "0000000000000001.seg")->now[8192 + 20] ^=
        1; /* the second batch's header */
    memset(counts, 0, sizeof counts);
    assert_int_equal(bnd_journal_inspect(&f->world->env, &look, NULL), 0);
    assert_int_equal(counts[1], 1);
    assert_int_equal(counts[2], 1);
    assert_int_equal(counts[3], 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(records_of_one_flight_share_a_write),
        TEST(unsubmitted_records_are_not_written),
        TEST(bounds_are_answered),
        TEST(wrong_records_are_refused),
        TEST(destroyed_group_keeps_its_vote),
        TEST(write_error_is_final_and_told_once),
        TEST(a_write_cut_short_is_an_error),
        TEST(nothing_is_written_after_a_failure),
        TEST(nothing_is_written_when_a_job_ends_after_a_failure),
        TEST(hung_write_fails_after_running_time),
        TEST(pause_is_no_hang),
        TEST(another_node_is_refused),
        TEST(missing_segment_is_refused),
        TEST(any_damaged_byte_is_refused_or_harmless),
        TEST(checkpoint_of_thousands_of_groups),
        TEST(files_are_recycled_around_a_lagging_group),
        TEST(damage_found_while_relocating_is_final),
        TEST(damaged_header_found_while_relocating_is_final),
        TEST(read_error_while_relocating_is_final),
        TEST(a_segment_stays_while_it_is_read),
        TEST(a_segment_stays_until_the_next_checkpoint_is_durable),
        TEST(error_of_a_job_is_final_and_told_once),
        TEST(full_pool_is_waited_out),
        TEST(every_allocation_may_fail),
        TEST(close_waits_for_the_write),
        TEST(every_accepted_configuration_fits_a_checkpoint),
        TEST(sizes_may_change_between_runs),
        TEST(inspect_reads_on_behind_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
