/* The KV log over a real journal on the simulated disk, and the simulated state. */
#ifndef BND_TESTS_UNIT_KV_KV_LOG_RIG_H
#define BND_TESTS_UNIT_KV_KV_LOG_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "kv/log.h"
#include "placement/shard.h"
#include "tests/sim/state.h"

#define SHARD 3u
#define NS 7u
#define KEYS 64u

struct rig {
    struct bnd_sim_world *world;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *disk_store;
    struct bnd_sim_env *sim;
    struct bnd_state *state;
    struct bnd_journal *journal;
    struct kv_store *store;
    struct kv_hlc hlc;
    struct kv_log *log;
    struct kv_log_config config;
    unsigned told, changes, committed;
    int last_status;
    struct kv_applied last;
    uint64_t told_hlc[KEYS]; /* of each key, the newest that was told as applied */
    bool closed, fatal;
    unsigned watch_writes; /* what the next starts write is watched, and so many writes succeed; 0:
                              not */
};

static inline void on_changed(void *owner, const struct kv_change *change) {
    ((struct rig *)owner)->changes++;
}

static inline void on_wiped(void *owner, uint32_t shard) {
}

static inline void on_fatal(void *owner, const struct bnd_error *why) {
    ((struct rig *)owner)->fatal = true;
}

static inline void on_committed(void *owner) {
    ((struct rig *)owner)->committed++;
}

static inline void on_durable(void *owner, uint64_t lsn) {
    struct rig *rig = owner;
    if (rig->log != NULL) {
        kv_log_durable(rig->log, lsn);
    }
}

static struct {
    const struct bnd_state_ops *sound;
    struct bnd_state_ops ops;
    size_t batch_max;
    unsigned writes, writes_left; /* writes_left: those that still succeed */
} watched;

static inline int watched_write(struct bnd_state *state, struct bnd_state_batch *batch) {
    size_t bytes = watched.sound->batch_bytes(batch);
    watched.batch_max = bytes > watched.batch_max ? bytes : watched.batch_max;
    if (watched.writes++ >= watched.writes_left) {
        return BND_IO;
    }
    return watched.sound->write_waiting(state, batch);
}

/* What the start writes from here on goes through watched_write. */
static inline void watch(struct bnd_state *state, unsigned writes_left) {
    watched.sound = state->ops;
    watched.ops = *state->ops;
    watched.ops.write_waiting = watched_write;
    watched.batch_max = watched.writes = 0;
    watched.writes_left = writes_left;
    state->ops = &watched.ops;
}

static inline void ignore_persisted(struct bnd_state_persist *persist, int status) {
    (void)persist;
    assert_int_equal(status, 0);
}

static inline int take_group(void *data, const struct bnd_journal_group *group) {
    struct rig *rig = data;
    return group->gid == BND_GID_KV_LOG ? kv_log_recover(rig->log, group, NULL) : 0;
}

static inline int boot_with(struct rig *rig) {
    rig->sim = bnd_sim_env_create(rig->world, rig->disk, NULL, 1);
    rig->state = bnd_sim_store_open(rig->disk_store, rig->sim);
    if (rig->watch_writes > 0) {
        watch(rig->state, rig->watch_writes);
    }
    rig->hlc = (struct kv_hlc){0};
    rig->log = NULL;
    bnd_sim_env_enter(rig->sim);
    const struct kv_store_config store = {.state = rig->state,
                                          .cache_bytes = 1 << 20,
                                          .owner = rig,
                                          .changed = on_changed,
                                          .wiped = on_wiped};
    assert_int_equal(kv_store_create(&store, &rig->store, NULL), 0);
    const struct bnd_journal_config journal = {.env = bnd_sim_env(rig->sim),
                                               .dir = "/journal",
                                               .cluster_id = 1,
                                               .node_id = 1,
                                               .segment_bytes = 2 << 20,
                                               .batch_bytes_max = 1 << 20,
                                               .owner = rig,
                                               .durable = on_durable,
                                               .failed = on_fatal};
    assert_int_equal(bnd_journal_open(&journal, &rig->journal, NULL), 0);
    rig->config.env = bnd_sim_env(rig->sim);
    rig->config.state = rig->state;
    rig->config.store = rig->store;
    rig->config.hlc = &rig->hlc;
    rig->config.self = 1;
    rig->config.owner = rig;
    rig->config.fatal = on_fatal;
    rig->config.committed = on_committed;
    assert_int_equal(kv_log_create(&rig->config, &rig->log), 0);
    int rv = bnd_journal_each_group(rig->journal, take_group, rig);
    bnd_journal_recovered(rig->journal);
    rv = rv != 0 ? rv : kv_log_start(rig->log, rig->journal, NULL);
    bnd_sim_env_leave(rig->sim);
    return rv;
}

static inline void rig_open(struct rig *rig, uint64_t seed) {
    *rig = (struct rig){0};
    rig->config.commit_bytes = 128 << 10;
    rig->world = bnd_sim_world_create(seed);
    rig->disk = bnd_sim_disk_create(rig->world, 1, 0);
    rig->disk_store = bnd_sim_store_create(rig->world, 1);
    assert_int_equal(boot_with(rig), 0);
}

static inline void crash(struct rig *rig, enum bnd_sim_crash kind) {
    bnd_sim_env_crash(rig->sim, kind);
    assert_int_equal(boot_with(rig), 0);
}

static inline void on_closed(void *data) {
    ((struct rig *)data)->closed = true;
}

static inline void run_for(struct rig *rig, uint64_t ms) {
    bnd_sim_run_for(rig->world, ms * BND_MS);
}

static inline void rig_free(struct rig *rig) {
    rig->closed = false;
    bnd_sim_env_enter(rig->sim);
    kv_log_destroy(rig->log); /* nothing of it is under way any more */
    rig->log = NULL;
    kv_store_destroy(rig->store);
    bnd_journal_close(rig->journal, on_closed, rig);
    bnd_sim_env_leave(rig->sim);
    run_for(rig, 1000);
    assert_true(rig->closed);
    rig->state->ops->close(rig->state);
    bnd_sim_env_stop(rig->sim);
    bnd_sim_store_destroy(rig->disk_store);
    bnd_sim_disk_destroy(rig->disk);
    bnd_sim_world_destroy(rig->world);
}

static inline void rig_close(struct rig *rig) {
    bnd_sim_env_enter(rig->sim);
    kv_log_close(rig->log, on_closed, rig);
    bnd_sim_env_leave(rig->sim);
    while (!rig->closed) {
        assert_true(bnd_sim_world_step(rig->world));
    }
    rig_free(rig);
}

/* ---- shorthands
 * --------------------------------------------------------------------------------- */

static inline unsigned key_number(struct bnd_slice key) {
    return (unsigned)atoi((const char *)key.data + 1);
}

static inline void on_applied(struct kv_log_entry *entry, int status) {
    struct rig *rig = entry->data;
    rig->told++;
    rig->last_status = status;
    rig->last = entry->result;
    if (status == 0 && entry->kind == KV_LOG_RECORD && entry->result.outcome == KV_WON) {
        rig->told_hlc[key_number(entry->key)] = entry->result.stands.version.hlc;
    }
}

static inline int append(struct rig *rig, struct kv_log_entry *entry) {
    entry->applied = on_applied;
    entry->data = rig;
    int rv = kv_log_append(rig->log, entry);
    kv_log_entry_unref(entry);
    return rv;
}

static inline int put_value(struct rig *rig, unsigned key, struct bnd_slice value) {
    char name[16];
    (void)snprintf(name, sizeof name, "k%u", key);
    bnd_sim_env_enter(rig->sim);
    const struct kv_record record = {
        .version = {kv_hlc_next(&rig->hlc, bnd_wall_ms(bnd_sim_env(rig->sim))), 1},
        .value = value,
        .size = (uint32_t)value.len};
    int rv =
        append(rig, kv_log_entry_record(SHARD, NS, bnd_slice(name, strlen(name) + 1), &record));
    bnd_sim_env_leave(rig->sim);
    return rv;
}

static inline int put(struct rig *rig, unsigned key) {
    return put_value(rig, key, bnd_slice_str("value"));
}

static inline void mark(struct rig *rig, const struct kv_marks *marks, bool wipe) {
    bnd_sim_env_enter(rig->sim);
    assert_int_equal(append(rig, kv_log_entry_marks(SHARD, marks, wipe)), 0);
    bnd_sim_env_leave(rig->sim);
}

static inline uint64_t stands(struct rig *rig, unsigned key) {
    char name[16];
    (void)snprintf(name, sizeof name, "k%u", key);
    struct kv_seen seen = {0};
    bnd_sim_env_enter(rig->sim);
    assert_int_equal(kv_store_seen(rig->store, SHARD, NS, bnd_slice(name, strlen(name) + 1), &seen),
                     0);
    bnd_sim_env_leave(rig->sim);
    return seen.version.hlc;
}

#endif
