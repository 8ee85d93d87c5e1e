/* The state machine of an SQL group on two replicas, as entries of a log would drive them: equal in
 * outcome, reply and state after every command, also when one of them has just been opened. */
#ifndef BND_TESTS_UNIT_SQL_MACHINE_H
#define BND_TESTS_UNIT_SQL_MACHINE_H

#include "base/alloc.h"
#include "base/hash.h"
#include "engine/io/io.h"
#include "engine/rocks/rocks.h"
#include "sql/fsm.h"
#include "tests/sim/env.h"
#include "tests/sim/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SLOT = 7, SLOT_OTHER = 9, GID = 0x200000001, TERM = 3 };

struct machine {
    struct bnd_sim_world *world; /* NULL: over RocksDB */
    struct bnd_sim_store *store;
    struct bnd_sim_disk *disk;
    struct bnd_sim_env *env;
    struct bnd_env *real_env;
    char dir[64];
    struct bnd_state *state;
    struct bnd_fsm fsm;
    struct bnd_fsm other; /* the same commands, in another slot */
    struct bnd_buf reply;
    struct sql_packer *packer;
    uint64_t index;
    uint64_t term;
    uint64_t stamp_ms;
    bool time_suspended;
};

static inline void machine_start(struct machine *m) {
    m->stamp_ms = 1000000;
    m->term = TERM;
    assert_int_equal(sql_fsm_create(GID, NULL, &m->fsm), 0);
    assert_int_equal(sql_fsm_create(GID, NULL, &m->other), 0);
    assert_int_equal(m->fsm.ops->open(m->fsm.self, GID, SLOT, m->state, NULL), 0);
    assert_int_equal(m->other.ops->open(m->other.self, GID, SLOT_OTHER, m->state, NULL), 0);
    assert_int_equal(sql_packer_create(&m->packer), 0);
}

static inline int machine_setup(void **state) {
    struct machine *m = bnd_zalloc(sizeof *m);
    m->world = bnd_sim_world_create(1);
    m->store = bnd_sim_store_create(m->world, 1);
    m->disk = bnd_sim_disk_create(m->world, 1, 0);
    m->env = bnd_sim_env_create(m->world, m->disk, NULL, 1);
    bnd_sim_env_enter(m->env);
    m->state = bnd_sim_store_open(m->store, m->env);
    machine_start(m);
    *state = m;
    return 0;
}

/* The same over RocksDB. */
static inline int machine_setup_rocks(void **state) {
    struct machine *m = bnd_zalloc(sizeof *m);
    struct bnd_error err = {0};
    (void)snprintf(m->dir, sizeof m->dir, "/var/tmp/bnd-sql-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    assert_int_equal(bnd_io_env_create(NULL, &m->real_env, &err), 0);
    const struct bnd_rocks_config config = {
        .env = m->real_env, .dir = m->dir, .memory_bytes = BND_ROCKS_MEMORY_BYTES_MIN};
    assert_int_equal(bnd_rocks_open(&config, &m->state, &err), 0);
    machine_start(m);
    *state = m;
    return 0;
}

static inline int machine_teardown(void **state) {
    struct machine *m = *state;
    bnd_buf_free(&m->reply);
    sql_packer_destroy(m->packer);
    m->fsm.ops->close(m->fsm.self);
    m->other.ops->close(m->other.self);
    m->state->ops->close(m->state);
    if (m->world != NULL) {
        bnd_sim_env_leave(m->env);
        bnd_sim_env_stop(m->env);
        bnd_sim_store_destroy(m->store);
        bnd_sim_disk_destroy(m->disk);
        bnd_sim_world_destroy(m->world);
    } else {
        char command[96];
        bnd_io_env_destroy(m->real_env);
        (void)snprintf(command, sizeof command, "rm -rf %s", m->dir);
        assert_int_equal(system(command), 0);
    }
    bnd_free(m);
    return 0;
}

static inline int machine_apply_to(struct machine *m, struct bnd_fsm *fsm, uint32_t slot,
                                   struct bnd_slice bytes, struct bnd_buf *reply) {
    struct bnd_state_batch *batch = m->state->ops->batch_create(m->state);
    const struct bnd_fsm_apply context = {.gid = GID,
                                          .index = m->index,
                                          .term = m->term,
                                          .stamp_ms = m->stamp_ms,
                                          .time_suspended = m->time_suspended,
                                          .slot = slot,
                                          .state_version = 1,
                                          .state = m->state,
                                          .batch = batch};
    bnd_buf_reset(reply);
    int status = fsm->ops->apply(fsm->self, &context, bytes, reply);
    if (status != 0) { /* as it was on entry: what the host relies on */
        assert_int_equal(m->state->ops->batch_bytes(batch), 0);
    }
    assert_true(reply->len <= 4096);
    int written = BND_BUSY;
    while (written == BND_BUSY) { /* RocksDB may ask to wait for its own threads */
        written = m->state->ops->write(m->state, batch);
    }
    assert_int_equal(written, 0);
    m->state->ops->batch_destroy(batch);
    return status;
}

/* Of the slot's keys, without it, and values. */
static inline uint64_t machine_hash(struct machine *m, uint32_t slot) {
    uint8_t from[4];
    uint8_t to[4];
    uint64_t hash = 0;
    bnd_put_be32(from, slot);
    bnd_put_be32(to, slot + 1);
    struct bnd_state_iter *iter =
        m->state->ops->iter(m->state, BND_CF_SQL, bnd_slice(from, 4), bnd_slice(to, 4));
    for (; m->state->ops->iter_valid(iter); m->state->ops->iter_next(iter)) {
        struct bnd_slice key = m->state->ops->iter_key(iter);
        hash = bnd_hash64(bnd_slice(key.data + 4, key.len - 4), hash);
        hash = bnd_hash64(m->state->ops->iter_value(iter), hash);
    }
    m->state->ops->iter_destroy(iter);
    return hash;
}

/* What the first answers; the second answers the same. */
static inline int machine_apply_bytes(struct machine *m, struct bnd_slice bytes) {
    struct bnd_buf again = {0};
    m->index++;
    if (m->index % 3 == 0) { /* it starts anew: what it knew is gone */
        assert_int_equal(m->other.ops->open(m->other.self, GID, SLOT_OTHER, m->state, NULL), 0);
    }
    int status = machine_apply_to(m, &m->fsm, SLOT, bytes, &m->reply);
    assert_int_equal(machine_apply_to(m, &m->other, SLOT_OTHER, bytes, &again), status);
    assert_true(bnd_slice_eq(bnd_buf_slice(&m->reply), bnd_buf_slice(&again)));
    bnd_buf_free(&again);
    return status;
}

static inline int machine_apply(struct machine *m, const struct sql_command *command) {
    struct bnd_buf bytes = {0};
    sql_command_encode(&bytes, command);
    int status = machine_apply_bytes(m, bnd_buf_slice(&bytes));
    bnd_buf_free(&bytes);
    return status;
}

/* A command that has nothing but its uuid: the first byte of it, the others 0. */
static inline int machine_simple(struct machine *m, enum sql_op op, uint8_t uuid) {
    const struct sql_command command = {.op = op, .uuid = {uuid}};
    return machine_apply(m, &command);
}

static inline void machine_ticks(struct machine *m, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(machine_simple(m, SQL_TICK, 0), 0);
    }
}

/* The bookmark of a version, with the hash that the state has for it; 0 where it has none. */
static inline struct bnd_sql_bookmark machine_bookmark(struct machine *m, uint8_t uuid,
                                                       uint32_t epoch, uint64_t version) {
    const uint8_t id[BND_SQL_UUID_BYTES] = {uuid};
    struct bnd_sql_bookmark bookmark = {.epoch = epoch, .version = version};
    struct sql_database_record record;
    struct sql_commit_record commit;
    if (sql_history_database(m->state, SLOT, id, &record) == 0) {
        const struct sql_at at = {.state = m->state,
                                  .slot = SLOT,
                                  .number = record.number,
                                  .epoch = record.epoch,
                                  .version = record.version};
        if (sql_history_commit(&at, version, &commit) == 0) {
            memcpy(bookmark.hash, commit.hash, sizeof bookmark.hash);
        }
    }
    return bookmark;
}

static inline int machine_restore_to(struct machine *m, uint8_t uuid, uint64_t base,
                                     struct bnd_sql_bookmark target) {
    const struct sql_command command = {
        .op = SQL_RESTORE, .uuid = {uuid}, .u.restore = {.base = base, .target = target}};
    return machine_apply(m, &command);
}

static inline int machine_restore(struct machine *m, uint8_t uuid, uint64_t base, uint32_t epoch,
                                  uint64_t version) {
    return machine_restore_to(m, uuid, base, machine_bookmark(m, uuid, epoch, version));
}

static inline int machine_fork_at(struct machine *m, uint8_t uuid, uint8_t source,
                                  struct bnd_sql_bookmark target) {
    const struct sql_command command = {
        .op = SQL_FORK, .uuid = {uuid}, .u.fork = {.source = {source}, .target = target}};
    return machine_apply(m, &command);
}

static inline int machine_fork(struct machine *m, uint8_t uuid, uint8_t source, uint32_t epoch,
                               uint64_t version) {
    return machine_fork_at(m, uuid, source, machine_bookmark(m, source, epoch, version));
}

static inline int machine_branch(struct machine *m, uint8_t uuid, uint8_t source, bool holds) {
    const struct sql_command command = {
        .op = SQL_BRANCH, .uuid = {uuid}, .u.branch = {.source = {source}, .holds = holds}};
    return machine_apply(m, &command);
}

static inline int machine_swap(struct machine *m, uint8_t uuid, uint8_t from, uint64_t version) {
    const struct sql_command command = {
        .op = SQL_SWAP, .uuid = {uuid}, .u.swap = {.branch = {from}, .version = version}};
    return machine_apply(m, &command);
}

static inline int machine_retain(struct machine *m, uint8_t uuid, uint64_t cutoff,
                                 uint64_t keep_ms) {
    const struct sql_command command = {
        .op = SQL_RETAIN, .uuid = {uuid}, .u.retain = {.cutoff = cutoff, .keep_ms = keep_ms}};
    return machine_apply(m, &command);
}

static inline struct sql_database_record machine_record(struct machine *m, uint8_t uuid) {
    const uint8_t id[BND_SQL_UUID_BYTES] = {uuid};
    struct sql_database_record record = {0};
    assert_int_equal(sql_history_database(m->state, SLOT, id, &record), 0);
    return record;
}

static inline struct sql_at machine_at(struct machine *m,
                                       const struct sql_database_record *record) {
    return (struct sql_at){.state = m->state,
                           .slot = SLOT,
                           .number = record->number,
                           .epoch = record->epoch,
                           .version = record->version};
}

/* Proposes a set as the leader of the database's present would, part by part; the outcome of the
 * last command, or the first refusal. */
struct machine_commit {
    uint8_t uuid;
    struct sql_commit header;
    struct sql_change_set *set;
    const char *answer;
};

static inline int machine_commit(struct machine *m, const struct machine_commit *what) {
    const uint8_t id[BND_SQL_UUID_BYTES] = {what->uuid};
    struct bnd_buf commands = {0};
    uint32_t count = 0;
    int status = sql_packer_commit(m->packer, id, &what->header, what->set,
                                   bnd_slice_str(what->answer == NULL ? "" : what->answer),
                                   &commands, &count);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&commands));
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        status = machine_apply_bytes(m, bnd_read_bytes(&r));
    }
    assert_true(status != 0 || bnd_reader_done(&r));
    bnd_buf_free(&commands);
    return status;
}

static inline struct sql_commit
machine_header(struct machine *m, const struct sql_database_record *record, uint32_t page_count) {
    return (struct sql_commit){.number = record->number,
                               .epoch = record->epoch,
                               .term = m->term,
                               .base = record->version,
                               .page_count = page_count,
                               .attempt = {1, 2, 3}};
}

/* Commits `count` pages of one byte value each, as a database without any before. */
static inline int commit_images(struct machine *m, uint8_t uuid, uint32_t count, uint8_t value) {
    uint8_t bytes[SQL_PAGE_BYTES];
    struct sql_change_set set = {0};
    struct sql_database_record record = machine_record(m, uuid);
    memset(bytes, value, sizeof bytes);
    for (uint32_t page = 1; page <= count; page++) {
        struct sql_page_found made;
        sql_change_set_page(&set, page, NULL, NULL, bytes, record.version + 1, &made);
    }
    const struct machine_commit what = {
        .uuid = uuid, .header = machine_header(m, &record, count), .set = &set};
    int status = machine_commit(m, &what);
    sql_change_set_free(&set);
    return status;
}

/* Sets one byte of a page, as a leader does that has just read it. */
static inline int commit_byte(struct machine *m, uint8_t uuid, uint32_t page, uint8_t value) {
    uint8_t old[SQL_PAGE_BYTES];
    uint8_t bytes[SQL_PAGE_BYTES];
    struct sql_page_found found;
    struct sql_change_set set = {0};
    struct sql_database_record record = machine_record(m, uuid);
    const struct sql_at at = machine_at(m, &record);
    assert_int_equal(sql_history_page(&at, page, old, &found), 0);
    memcpy(bytes, old, sizeof bytes);
    bytes[page] = value;
    sql_change_set_page(&set, page, old, &found, bytes, record.version + 1, &found);
    const struct machine_commit what = {
        .uuid = uuid, .header = machine_header(m, &record, record.page_count), .set = &set};
    int status = machine_commit(m, &what);
    sql_change_set_free(&set);
    return status;
}

/* The byte that commit_byte sets. */
static inline int byte_at(struct machine *m, uint32_t number, uint32_t epoch, uint64_t version,
                          uint32_t page) {
    uint8_t bytes[SQL_PAGE_BYTES];
    const struct sql_at at = {
        .state = m->state, .slot = SLOT, .number = number, .epoch = epoch, .version = version};
    int rv = sql_history_page(&at, page, bytes, NULL);
    return rv != 0 ? rv : bytes[page];
}

/* How many keys of a tag the first replica's state has, of any number or (not 0) of one. */
static inline size_t machine_count(struct machine *m, enum sql_tag tag, uint32_t number) {
    struct sql_key from;
    if (number == 0) {
        sql_key_tag(&from, SLOT, tag);
    } else {
        sql_key_number(&from, SLOT, tag, number);
    }
    struct sql_key to = from;
    sql_key_past(&to);
    struct bnd_state_iter *iter =
        m->state->ops->iter(m->state, BND_CF_SQL, sql_key_slice(&from), sql_key_slice(&to));
    size_t count = 0;
    for (; m->state->ops->iter_valid(iter); m->state->ops->iter_next(iter)) {
        count++;
    }
    m->state->ops->iter_destroy(iter);
    return count;
}

static inline void machine_equal(struct machine *m) {
    assert_true(machine_hash(m, SLOT) == machine_hash(m, SLOT_OTHER));
}

/* Of all numbers that there ever were. */
static inline void machine_nothing_is_left(struct machine *m) {
    static const enum sql_tag tags[] = {SQL_TAG_EPOCH,  SQL_TAG_COMMIT,   SQL_TAG_PAGE,
                                        SQL_TAG_STAGED, SQL_TAG_FORK,     SQL_TAG_LEASE,
                                        SQL_TAG_PINNED, SQL_TAG_UNPINNED, SQL_TAG_DEAD};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        assert_int_equal(machine_count(m, tags[i], 0), 0);
    }
    machine_equal(m);
}

/* Until no pass of the retention is under way. */
static inline void machine_end_pass(struct machine *m) {
    for (unsigned i = 0; machine_count(m, SQL_TAG_PASS, 0) > 0; i++) {
        assert_true(i < 10000);
        machine_ticks(m, 1);
    }
}

#endif
