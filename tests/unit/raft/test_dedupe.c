/* The request id table: its rules against a naive model, over thousands of operations, and that
 * what the state holds is what memory holds, whenever it is loaded again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "raft/dedupe.h"
#include "tests/sim/state.h"

#define SLOT 7u
#define BOUND 200u
#define MINTERS 3u
#define SEQS 4000u

/* What the rules say, without any structure: per id its outcome, per minter its mark. */
struct model {
    struct {
        bool there;
        uint64_t deadline_ms;
        int status;
    } outcomes[MINTERS][SEQS];
    struct {
        uint64_t low_seq, until_ms; /* until 0: no mark */
    } marks[MINTERS];
};

struct rig {
    struct bnd_sim_world *world;
    struct bnd_sim_disk *disk;
    struct bnd_sim_store *store;
    struct bnd_sim_env *sim;
    struct bnd_state *state;
    struct bnd_state_batch *batch;
    struct dedupe_table table;
    struct tuple tuple;
    struct bnd_buf scratch;
    struct dedupe dedupe;
    struct bnd_sim_rng rng;
    struct model model;
};

static struct rig rig;

static void rig_open(uint64_t seed) {
    rig = (struct rig){0};
    dedupe_table_init(&rig.table);
    rig.world = bnd_sim_world_create(seed);
    rig.disk = bnd_sim_disk_create(rig.world, 1, 0);
    rig.store = bnd_sim_store_create(rig.world, 1);
    bnd_sim_rng_init(&rig.rng, seed, "test", 0);
    rig.sim = bnd_sim_env_create(rig.world, rig.disk, NULL, 1);
    rig.state = bnd_sim_store_open(rig.store, rig.sim);
    rig.batch = rig.state->ops->batch_create(rig.state);
    rig.dedupe = (struct dedupe){
        .state = rig.state,
        .batch = rig.batch,
        .table = &rig.table,
        .slot = SLOT,
        .stamp_ms = 1000,
        .count_max = BOUND,
        .scratch = &rig.scratch,
    };
}

static void rig_close(void) {
    dedupe_table_clear(&rig.table);
    bnd_buf_free(&rig.scratch);
    rig.state->ops->batch_destroy(rig.batch);
    rig.state->ops->close(rig.state);
    bnd_sim_env_stop(rig.sim);
    bnd_sim_store_destroy(rig.store);
    bnd_sim_disk_destroy(rig.disk);
    bnd_sim_world_destroy(rig.world);
}

static void write_batch(void) {
    rig.tuple.index++;
    rig.tuple.state_version = TUPLE_STATE_VERSION;
    rig.tuple.dedupe_count = rig.table.count;
    assert_int_equal(dedupe_tuple_store(rig.state, rig.batch, SLOT, &rig.tuple, &rig.table), 0);
    assert_int_equal(rig.state->ops->write(rig.state, rig.batch), 0);
    rig.state->ops->batch_clear(rig.batch);
}

static uint64_t below(uint64_t n) {
    return bnd_sim_rng_below(&rig.rng, n);
}

static size_t model_count(void) {
    size_t count = 0;
    for (unsigned m = 0; m < MINTERS; m++) {
        count += rig.model.marks[m].until_ms > 0;
        for (unsigned s = 0; s < SEQS; s++) {
            count += rig.model.outcomes[m][s].there;
        }
    }
    return count;
}

static void model_drop(unsigned m, uint64_t low_seq) {
    if (low_seq <= rig.model.marks[m].low_seq) {
        return;
    }
    bool dropped = false;
    uint64_t until = rig.model.marks[m].until_ms;
    for (uint64_t s = 0; s < low_seq; s++) {
        if (rig.model.outcomes[m][s].there) {
            uint64_t deadline = rig.model.outcomes[m][s].deadline_ms;
            until = deadline > until ? deadline : until;
            rig.model.outcomes[m][s].there = false;
            dropped = true;
        }
    }
    if (dropped) {
        rig.model.marks[m].low_seq = low_seq;
        rig.model.marks[m].until_ms = until;
    }
}

/* Everything past its deadline goes; only right where the sweep's bound is not reached. */
static void model_sweep(uint64_t stamp_ms) {
    for (unsigned m = 0; m < MINTERS; m++) {
        for (unsigned s = 0; s < SEQS; s++) {
            if (rig.model.outcomes[m][s].deadline_ms < stamp_ms) {
                rig.model.outcomes[m][s].there = false;
            }
        }
        if (rig.model.marks[m].until_ms < stamp_ms) {
            rig.model.marks[m].low_seq = 0;
            rig.model.marks[m].until_ms = 0;
        }
    }
}

static enum dedupe_verdict model_check(unsigned m, const struct entry_operation *operation,
                                       int *status) {
    uint64_t seq = operation->id.seq;
    model_drop(m, operation->low_seq);
    *status = BND_EXPIRED;
    if (seq < rig.model.marks[m].low_seq) {
        return DEDUPE_REFUSED;
    }
    if (rig.model.outcomes[m][seq].there) {
        *status = rig.model.outcomes[m][seq].status;
        return DEDUPE_ANSWERED;
    }
    if (rig.dedupe.stamp_ms > operation->deadline_ms) {
        return DEDUPE_REFUSED;
    }
    *status = BND_FULL;
    return model_count() >= BOUND ? DEDUPE_REFUSED : DEDUPE_EXECUTE;
}

static void one_operation(unsigned m, uint64_t seq, uint64_t low_seq, uint64_t deadline_ms) {
    const struct entry_operation operation = {
        .id = {.minter = 10 + m, .seq = seq}, .low_seq = low_seq, .deadline_ms = deadline_ms};
    BND_AUTO_BUF struct bnd_buf reply = {0};
    enum dedupe_verdict verdict;
    int status = -1;
    int expected_status = -1;
    enum dedupe_verdict expected = model_check(m, &operation, &expected_status);
    assert_int_equal(dedupe_check(&rig.dedupe, &operation, &verdict, &status, &reply), 0);
    assert_int_equal(verdict, expected);
    if (verdict != DEDUPE_EXECUTE) {
        assert_int_equal(status, expected_status);
    }
    if (verdict == DEDUPE_ANSWERED) {
        assert_int_equal(reply.len, 8);
        assert_int_equal(bnd_get_u64(reply.data), seq);
    }
    if (verdict == DEDUPE_EXECUTE) {
        uint8_t bytes[8];
        bnd_put_u64(bytes, seq);
        int outcome = below(3) == 0 ? BND_PRECONDITION : 0;
        assert_int_equal(dedupe_store(&rig.dedupe, &operation, outcome, bnd_slice(bytes, 8)), 0);
        rig.model.outcomes[m][seq].there = true;
        rig.model.outcomes[m][seq].deadline_ms = deadline_ms;
        rig.model.outcomes[m][seq].status = outcome;
    }
}

static void load_again(void) {
    struct bnd_error err = {0};
    write_batch();
    size_t count = rig.table.count;
    size_t young = rig.table.young_bytes;
    assert_in_range(young, 0, DEDUPE_YOUNG_BYTES_MAX);
    dedupe_table_clear(&rig.table);
    assert_int_equal(dedupe_load(rig.state, SLOT, count, &rig.table, &err), 0);
    assert_int_equal(rig.table.count, model_count());
    assert_int_equal(rig.table.young_bytes, young);
}

static void decides_as_the_rules_say(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        rig_open(seed);
        uint64_t next[MINTERS] = {1, 1, 1};
        for (unsigned i = 0; i < 4000; i++) {
            unsigned m = (unsigned)below(MINTERS);
            bool again = below(4) == 0; /* a retry, or an id that came late */
            uint64_t seq = again ? 1 + below(next[m]) : next[m];
            next[m] += seq == next[m];
            uint64_t lag = below(150);
            uint64_t low = seq > lag ? seq - lag : 1;
            one_operation(m, seq, low, rig.dedupe.stamp_ms + below(400));
            rig.dedupe.stamp_ms += below(3);
            if (below(20) == 0) {
                dedupe_sweep(&rig.dedupe, SIZE_MAX);
                model_sweep(rig.dedupe.stamp_ms);
            }
            if (below(100) == 0) {
                load_again();
            }
        }
        load_again();
        rig_close();
    }
}

static void sweeps_the_oldest_first_and_no_more_than_asked(void **state) {
    (void)state;
    rig_open(1);
    for (uint64_t seq = 1; seq <= 10; seq++) {
        one_operation(0, seq, 1, 2000 - 10 * seq); /* the last one expires first */
    }
    rig.dedupe.stamp_ms = 1931; /* past the deadlines of 7, 8, 9 and 10 */
    dedupe_sweep(&rig.dedupe, 3);
    const struct dedupe_minter *minter = dedupe_table_minter(&rig.table, 10);
    assert_non_null(dedupe_table_outcome(minter, 7));
    assert_null(dedupe_table_outcome(minter, 8));
    dedupe_sweep(&rig.dedupe, 3);
    assert_null(dedupe_table_outcome(minter, 7));
    assert_non_null(dedupe_table_outcome(minter, 6));
    assert_int_equal(rig.table.count, 6);
    rig_close();
}

static void drops_at_most_a_bound_at_once(void **state) {
    (void)state;
    rig_open(1);
    rig.dedupe.count_max = 5000;
    uint64_t status_count = DEDUPE_DROP_MAX + 50;
    for (uint64_t seq = 1; seq <= status_count; seq++) {
        const struct entry_operation operation = {
            .id = {.minter = 10, .seq = seq}, .low_seq = 1, .deadline_ms = 2000};
        assert_int_equal(dedupe_store(&rig.dedupe, &operation, 0, bnd_slice(NULL, 0)), 0);
    }
    struct entry_operation late = {
        .id = {.minter = 10, .seq = 5000}, .low_seq = 5000, .deadline_ms = 2000};
    enum dedupe_verdict verdict;
    int status = 0;
    BND_AUTO_BUF struct bnd_buf reply = {0};
    assert_int_equal(dedupe_check(&rig.dedupe, &late, &verdict, &status, &reply), 0);
    assert_int_equal(verdict, DEDUPE_EXECUTE);
    assert_int_equal(rig.table.count, 50 + 1); /* and the mark */
    late.id.seq = DEDUPE_DROP_MAX;             /* dropped */
    late.low_seq = 1;
    assert_int_equal(dedupe_check(&rig.dedupe, &late, &verdict, &status, &reply), 0);
    assert_int_equal(verdict, DEDUPE_REFUSED);
    assert_int_equal(status, BND_EXPIRED);
    late.id.seq = DEDUPE_DROP_MAX + 1; /* not reached: still the answer */
    assert_int_equal(dedupe_check(&rig.dedupe, &late, &verdict, &status, &reply), 0);
    assert_int_equal(verdict, DEDUPE_ANSWERED);
    write_batch();
    rig_close();
}

static void put_outcome(const uint64_t *numbers, struct bnd_slice value) {
    uint8_t key[TUPLE_KEY_BYTES_MAX];
    rig.state->ops->batch_put(rig.batch, BND_CF_RAFT,
                              tuple_key(key, SLOT, TUPLE_KEY_OUTCOME, numbers, 2), value);
    write_batch();
}

static void refuses_a_table_that_is_not_what_the_tuple_says(void **state) {
    (void)state;
    struct bnd_error err = {0};
    rig_open(1);
    one_operation(0, 1, 1, 2000);
    one_operation(1, 1, 1, 2000);
    write_batch();
    struct dedupe_table other;
    dedupe_table_init(&other);
    assert_int_equal(dedupe_load(rig.state, SLOT, 3, &other, &err), BND_CORRUPT);
    assert_int_equal(dedupe_load(rig.state, SLOT, 1, &other, &err), BND_CORRUPT);
    assert_int_equal(other.count, 0);
    assert_int_equal(dedupe_load(rig.state, SLOT + 1, 0, &other, &err), 0);
    static const uint8_t outcome[16] = {0};
    uint64_t numbers[] = {11, 2};
    put_outcome(numbers, bnd_slice("short", 5));
    assert_int_equal(dedupe_load(rig.state, SLOT, 3, &other, &err), BND_CORRUPT);
    put_outcome(numbers, bnd_slice(outcome, 16));
    assert_int_equal(dedupe_load(rig.state, SLOT, 3, &other, &err), 0);
    dedupe_table_clear(&other);
    numbers[1] = 1; /* a young one, too */
    put_outcome(numbers, bnd_slice(outcome, 16));
    assert_int_equal(dedupe_load(rig.state, SLOT, 4, &other, &err), BND_CORRUPT);
    rig_close();
}

/* The state's iterator over the marks ends at once, and says why. */
static const struct bnd_state_ops *sound;
static unsigned iters;

static struct bnd_state_iter *counted_iter(struct bnd_state *state, enum bnd_state_cf cf,
                                           struct bnd_slice from, struct bnd_slice to) {
    iters++;
    return sound->iter(state, cf, from, to);
}

static bool ends_at_once(const struct bnd_state_iter *iter) {
    return iters < 2 && sound->iter_valid(iter);
}

static int says_why(const struct bnd_state_iter *iter) {
    return iters < 2 ? sound->iter_status(iter) : BND_CORRUPT;
}

static void marks_that_cannot_be_read_are_not_absent(void **state) {
    (void)state;
    struct bnd_error err = {0};
    rig_open(1);
    sound = rig.state->ops;
    struct bnd_state_ops broken = *sound;
    broken.iter = counted_iter;
    broken.iter_valid = ends_at_once;
    broken.iter_status = says_why;
    struct dedupe_table other;
    dedupe_table_init(&other);
    iters = 0;
    rig.state->ops = &broken;
    assert_int_equal(dedupe_load(rig.state, SLOT, 0, &other, &err), BND_CORRUPT);
    assert_int_equal(iters, 2);
    rig.state->ops = sound;
    rig_close();
}

static void survives_every_failed_allocation(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct dedupe_table table;
        dedupe_table_init(&table);
        (void)bnd_alloc_fail_at(n, 1);
        int rv = 0;
        for (uint64_t seq = 1; rv == 0 && seq <= 40; seq++) {
            rv = dedupe_table_add(&table, seq % 7, seq, seq, 0, bnd_slice("r", 1));
            rv = rv == 0 ? dedupe_table_mark(&table, seq % 5, seq, seq) : rv;
        }
        (void)bnd_alloc_fail_at(0, 0);
        assert_true(rv == 0 || rv == BND_NOMEM);
        while (dedupe_table_oldest(&table) != NULL) {
            dedupe_table_remove(&table, dedupe_table_oldest(&table));
        }
        assert_int_equal(table.minters_count, 0);
        dedupe_table_clear(&table);
        if (rv == 0) {
            return;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_as_the_rules_say),
        cmocka_unit_test(sweeps_the_oldest_first_and_no_more_than_asked),
        cmocka_unit_test(drops_at_most_a_bound_at_once),
        cmocka_unit_test(refuses_a_table_that_is_not_what_the_tuple_says),
        cmocka_unit_test(marks_that_cannot_be_read_are_not_absent),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
