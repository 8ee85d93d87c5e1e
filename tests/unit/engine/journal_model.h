/* A model of the journal's promise: the list of accepted records, replayed up to any lsn; and a
 * driver that makes random ones on a journal and the model alike. */
#ifndef TESTS_UNIT_ENGINE_JOURNAL_MODEL_H
#define TESTS_UNIT_ENGINE_JOURNAL_MODEL_H

#include "engine/journal/journal.h"
#include "tests/unit/engine/crash_env.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MODEL_GROUPS 6
#define MODEL_ENTRIES 4096
#define MODEL_OPS 8192

enum model_kind { M_CREATE, M_DESTROY, M_META, M_APPEND, M_TRUNCATE, M_COMPACT, M_INSTALL };

struct model_op {
    enum model_kind kind;
    uint64_t gid, index, term, vote;
    uint32_t len, seed;
};

struct model_group {
    bool known, exists;
    uint64_t term, vote, start, start_term, last;
    struct bnd_journal_floor floor;
    uint32_t slot, config_seed, config_len;
    struct model_op entries[MODEL_ENTRIES]; /* by index % MODEL_ENTRIES */
};

struct model {
    struct model_op ops[MODEL_OPS]; /* of lsn i + 1 */
    size_t count;
    struct model_group groups[MODEL_GROUPS];
};

struct fixture {
    struct crash_env *world;
    struct bnd_journal *journal;
    struct model *model;
    struct bnd_journal_config config;
    uint64_t durable;
    uint64_t rng;
    int failed;
    bool closed;
    struct bnd_error why;
};

static inline void model_data(uint8_t *out, uint32_t len, uint32_t seed) {
    for (uint32_t i = 0; i < len; i++) {
        out[i] =
            seed % 5 == 0 ? 0 : (uint8_t)crash_mix(seed + (uint64_t)i * 77); /* some all zero */
    }
}

static inline void model_apply(struct model_group *g, const struct model_op *op) {
    switch (op->kind) {
    case M_CREATE:
    case M_INSTALL:
        g->known = g->exists = true;
        g->last = op->index;
        break;
    case M_DESTROY:
        g->exists = false;
        g->start = g->start_term = g->last = 0;
        g->slot = g->config_seed = g->config_len = 0;
        g->floor = (struct bnd_journal_floor){op->index, op->term};
        return;
    case M_META:
        g->term = op->term;
        g->vote = op->vote;
        return;
    case M_APPEND:
        g->entries[op->index % MODEL_ENTRIES] = *op;
        g->last = op->index;
        return;
    case M_TRUNCATE:
        g->last = op->index - 1;
        return;
    case M_COMPACT:
        g->last = g->last < op->index ? op->index : g->last;
        break;
    }
    g->start = op->index;
    g->start_term = op->term;
    g->slot = op->seed % 1000;
    g->config_seed = op->seed;
    g->config_len = op->len;
}

static inline void model_replay(struct model *m, size_t count) {
    memset(m->groups, 0, sizeof m->groups);
    m->count = count;
    for (size_t i = 0; i < count; i++) {
        model_apply(&m->groups[m->ops[i].gid], &m->ops[i]);
    }
}

static inline int model_do(struct bnd_journal *j, const struct model_op *op, uint64_t *lsn) {
    static uint8_t data[65536];
    model_data(data, op->len, op->seed);
    struct bnd_journal_start start = {.index = op->index,
                                      .term = op->term,
                                      .slot = op->seed % 1000,
                                      .config = bnd_slice(data, op->len),
                                      .config_index = op->index / 2};
    struct bnd_journal_entry entry = {.index = op->index,
                                      .term = op->term,
                                      .kind = (uint8_t)op->seed,
                                      .data = bnd_slice(data, op->len)};
    uint64_t gid = op->gid + 100;
    switch (op->kind) {
    case M_CREATE:
        return bnd_journal_create(j, gid, &start, lsn);
    case M_DESTROY:
        return bnd_journal_destroy(j, gid, &(struct bnd_journal_floor){op->index, op->term}, lsn);
    case M_META:
        return bnd_journal_meta(j, gid, op->term, op->vote, lsn);
    case M_APPEND:
        return bnd_journal_append(j, gid, &entry, lsn);
    case M_TRUNCATE:
        return bnd_journal_truncate(j, gid, op->index, lsn);
    case M_COMPACT:
        return bnd_journal_compact(j, gid, &start, lsn);
    case M_INSTALL:
        return bnd_journal_install(j, gid, &start, lsn);
    }
    abort();
}

static inline uint64_t fixture_random(struct fixture *f, uint64_t below) {
    f->rng += UINT64_C(0x9e3779b97f4a7c15);
    return crash_mix(f->rng) % below;
}

/* A random record that may follow. */
static inline struct model_op model_choose(struct fixture *f) {
    uint64_t gid = fixture_random(f, MODEL_GROUPS);
    const struct model_group *g = &f->model->groups[gid];
    struct model_op op = {
        .gid = gid, .seed = (uint32_t)fixture_random(f, 1u << 30), .term = g->term + 1};
    uint64_t dice = fixture_random(f, 100);
    uint64_t held = g->last - g->start;
    op.len = (uint32_t)fixture_random(f, fixture_random(f, 4) == 0 ? 6000 : 300);
    if (!g->exists) {
        op.kind = M_CREATE;
        op.len %= 200;
        op.index = fixture_random(f, 2) * 10;
    } else if (dice < 65 && held < 60) {
        op.kind = M_APPEND;
        op.index = g->last + 1;
    } else if (dice < 78) {
        op.kind = M_META;
        op.term = g->term + fixture_random(f, 2);
        op.vote = fixture_random(f, 4);
        op.len = 0;
    } else if (dice < 85 && held > 0) {
        op.kind = M_TRUNCATE;
        op.index = g->last - fixture_random(f, held < 5 ? held : 5);
        op.len = 0;
    } else if (dice < 96) {
        op.kind = M_COMPACT;
        op.len %= 200;
        op.index = gid == 0 ? g->start : g->start + fixture_random(f, held + 2); /* 0 lags behind */
    } else if (dice < 98 && gid != 0) {
        op.kind = M_INSTALL;
        op.len %= 200;
        op.index = g->last + fixture_random(f, 20);
    } else if (gid != 0) {
        op.kind = M_DESTROY;
        op.index = g->last;
        op.term = g->term;
        op.len = 0;
    } else {
        op.kind = M_META;
        op.len = 0;
    }
    return op;
}

static inline void on_durable(void *owner, uint64_t lsn) {
    struct fixture *f = owner;
    assert_true(lsn > f->durable);
    f->durable = lsn;
}
static inline void on_failed(void *owner, const struct bnd_error *why) {
    struct fixture *f = owner;
    f->failed++;
    f->why = *why;
}
static inline void on_closed(void *data) {
    ((struct fixture *)data)->closed = true;
}

static inline void fixture_init(struct fixture *f, uint64_t seed) {
    *f = (struct fixture){.world = crash_env_create(seed), .rng = seed * 977 + 1};
    f->model = calloc(1, sizeof *f->model);
    f->config = (struct bnd_journal_config){.env = &f->world->env,
                                            .dir = "data/journal",
                                            .cluster_id = 7,
                                            .node_id = 3,
                                            .segment_bytes = 16 * 4096,
                                            .batch_bytes_max = 3 * 4096,
                                            .queue_bytes_max = 20 * 4096,
                                            .owner = f,
                                            .durable = on_durable,
                                            .failed = on_failed};
}

static inline void fixture_free(struct fixture *f) {
    crash_env_destroy(f->world);
    free(f->model);
}

static inline int fixture_open(struct fixture *f, struct bnd_error *err) {
    f->failed = 0;
    int rv = bnd_journal_open(&f->config, &f->journal, err);
    if (rv != 0) {
        f->journal = NULL;
        return rv;
    }
    f->durable = bnd_journal_durable(f->journal);
    return 0;
}

static inline void fixture_close(struct fixture *f) {
    f->closed = false;
    if (f->journal != NULL) {
        bnd_journal_close(f->journal, on_closed, f);
        assert_false(f->closed);
        crash_settle(f->world);
        assert_true(f->closed);
    }
    f->journal = NULL;
    bnd_timer_heap_free(&f->world->timers);
}

static inline int compare_group(void *data, const struct bnd_journal_group *g) {
    struct fixture *f = data;
    static uint8_t want[65536];
    assert_in_range(g->gid, 100, 100 + MODEL_GROUPS - 1);
    struct model_group *m = &f->model->groups[g->gid - 100];
    assert_true(m->known);
    m->known = false; /* seen; set again by the caller */
    assert_int_equal(g->exists, m->exists);
    assert_int_equal(g->term, m->term);
    assert_int_equal(g->vote, m->vote);
    assert_int_equal(g->floor.index, m->floor.index);
    assert_int_equal(g->floor.term, m->floor.term);
    if (!m->exists) {
        assert_int_equal(g->entries_count, 0);
        return 0;
    }
    assert_int_equal(g->start.index, m->start);
    assert_int_equal(g->start.term, m->start_term);
    assert_int_equal(g->start.slot, m->slot);
    assert_int_equal(g->start.config.len, m->config_len);
    model_data(want, m->config_len, m->config_seed);
    assert_memory_equal(g->start.config.len ? (const void *)g->start.config.data : want, want,
                        m->config_len);
    assert_int_equal(g->entries_count, m->last - m->start);
    for (size_t i = 0; i < g->entries_count; i++) {
        const struct model_op *op = &m->entries[(m->start + 1 + i) % MODEL_ENTRIES];
        assert_int_equal(g->entries[i].index, op->index);
        assert_int_equal(g->entries[i].term, op->term);
        assert_int_equal(g->entries[i].kind, (uint8_t)op->seed);
        assert_int_equal(g->entries[i].data.len, op->len);
        model_data(want, op->len, op->seed);
        assert_memory_equal(op->len ? (const void *)g->entries[i].data.data : want, want, op->len);
    }
    return 0;
}

/* The recovered journal equals the model at its own last lsn, which is not below `durable`. */
static inline void fixture_check(struct fixture *f, uint64_t durable) {
    struct bnd_journal_stats stats;
    bnd_journal_stats(f->journal, &stats);
    assert_in_range(stats.lsn_last, durable, f->model->count);
    assert_int_equal(stats.lsn_durable, stats.lsn_last);
    model_replay(f->model, stats.lsn_last);
    assert_int_equal(bnd_journal_each_group(f->journal, compare_group, f), 0);
    for (int i = 0; i < MODEL_GROUPS; i++) {
        assert_false(f->model->groups[i].known); /* else a group was lost */
    }
    model_replay(f->model, stats.lsn_last);
    bnd_journal_recovered(f->journal);
}

/* Up to `count` random records, submitted in random groups; stops when the power is cut. */
static inline void fixture_drive(struct fixture *f, size_t count) {
    for (size_t i = 0; i < count && !f->world->dead && f->failed == 0; i++) {
        struct model_op op = model_choose(f);
        uint64_t lsn = 0;
        int rv = model_do(f->journal, &op, &lsn);
        if (rv == BND_FULL) {
            bnd_journal_submit(f->journal);
            crash_settle(f->world);
            continue;
        }
        if (f->world->dead) {
            break;
        }
        assert_int_equal(rv, 0);
        assert_int_equal(lsn, f->model->count + 1);
        assert_true(f->model->count < MODEL_OPS);
        f->model->ops[f->model->count++] = op;
        model_apply(&f->model->groups[op.gid], &op);
        if (fixture_random(f, 3) == 0) {
            bnd_journal_submit(f->journal);
        }
        for (uint64_t steps = fixture_random(f, 4); steps > 0; steps--) {
            (void)crash_step(f->world);
        }
    }
    bnd_journal_submit(f->journal);
    crash_settle(f->world);
    if (!f->world->dead && f->failed == 0) {
        assert_int_equal(f->durable, f->model->count);
    }
}

#endif
