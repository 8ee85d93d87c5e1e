/* The map of a KV shard: every state that any sequence of commands over four nodes can reach, and
 * what must be true of each and of each step between them; the planner's way from anywhere to what
 * is wanted; the codec. */
#include "placement/kv_map.h"
#include "tests/sim/kv/tell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NODES = 4, SETS = 1 << NODES, ANY_EPOCH = 10, STATES_MAX = 2 * (NODES + 1) * 7 * 7 * 7 * 7 };

/* Of horizons a state keeps whether one is open, who has confirmed it, and who is behind the last
 * one: more its future does not depend on. */

static const uint64_t COLLECTED = 100, OPEN = 200, OLDER = 50;

static uint64_t rank_of(const struct bnd_kv_shard *shard, uint64_t confirmed) {
    if (confirmed == shard->horizon && shard->horizon != shard->collected) {
        return OPEN;
    }
    return confirmed < shard->collected ? OLDER : COLLECTED;
}

static struct bnd_kv_shard canonical(const struct bnd_kv_shard *shard) {
    struct bnd_kv_shard out = *shard;
    for (size_t i = 0; i < out.replicas_count; i++) {
        out.replicas[i].confirmed = rank_of(shard, shard->replicas[i].confirmed);
    }
    out.epoch = ANY_EPOCH;
    out.collected = COLLECTED;
    out.horizon = shard->horizon != shard->collected ? OPEN : COLLECTED;
    return out;
}

static struct bnd_kv_shard *states;
static size_t states_count;
static bool *reached; /* by number_of */

/* A number below STATES_MAX of a canonical state, its own. */
static size_t number_of(const struct bnd_kv_shard *shard) {
    size_t number = shard->horizon != shard->collected;
    number = number * (NODES + 1) + shard->leaving;
    for (uint64_t node = 1; node <= NODES; node++) {
        size_t at = bnd_kv_shard_find(shard, node);
        const struct bnd_kv_replica *it = &shard->replicas[at];
        size_t digit = 0;
        if (at < shard->replicas_count) {
            digit = 1 + it->filled + 2 * (size_t)(it->confirmed / COLLECTED);
        }
        number = number * 7 + digit;
    }
    return number;
}

static void reach(const struct bnd_kv_shard *shard) {
    struct bnd_kv_shard found = canonical(shard);
    size_t number = number_of(&found);
    assert_true(number < STATES_MAX);
    if (!reached[number]) {
        reached[number] = true;
        states[states_count++] = found;
    }
}

static bool filled(const struct bnd_kv_shard *shard, uint64_t node) {
    size_t at = bnd_kv_shard_find(shard, node);
    return at < shard->replicas_count && shard->replicas[at].filled;
}

static bool replica(const struct bnd_kv_shard *shard, uint64_t node) {
    return bnd_kv_shard_find(shard, node) < shard->replicas_count;
}

static void holds_in_every_state(const struct bnd_kv_shard *shard) {
    size_t full = 0;
    uint64_t before = 0;
    for (size_t i = 0; i < shard->replicas_count; i++) {
        const struct bnd_kv_replica *it = &shard->replicas[i];
        assert_true(it->node > before);
        before = it->node;
        full += it->filled;
        assert_true(!it->filled || it->confirmed >= shard->collected);
        assert_true(it->confirmed <= shard->horizon);
    }
    assert_true(full > 0);
    assert_true(shard->collected <= shard->horizon);
    assert_false(shard->leaving != 0 && replica(shard, shard->leaving));
}

/* What must be true of any one step. */
static void holds_in_every_step(const struct bnd_kv_shard *was, const struct bnd_kv_shard *is,
                                int rv) {
    size_t joined = 0;
    size_t gone = 0;
    size_t emptied = 0;
    holds_in_every_state(is);
    if (rv != 0) {
        assert_true(simkv_map_same(was, is));
        return;
    }
    for (uint64_t node = 1; node <= NODES; node++) {
        joined += !replica(was, node) && replica(is, node);
        gone += replica(was, node) && !replica(is, node);
        emptied += replica(is, node) && filled(was, node) && !filled(is, node);
        /* a newcomer is not filled, and whoever loses its place hands over */
        assert_false(!replica(was, node) && filled(is, node));
        assert_false(replica(was, node) && !replica(is, node) && is->leaving != node);
    }
    assert_true(joined <= 1 && gone <= 1 && emptied <= 1);
    bool members = joined + gone + emptied > 0;
    assert_int_equal(is->epoch, was->epoch + members);
    if (joined + gone > 0) {
        assert_int_equal(was->leaving, 0); /* the move before is over */
    }
    assert_true(is->collected >= was->collected && is->horizon >= was->horizon);
    if (is->collected != was->collected) {
        assert_int_equal(is->collected, was->horizon);
        assert_int_equal(is->leaving, 0);
        for (size_t i = 0; i < is->replicas_count; i++) {
            assert_true(!is->replicas[i].filled || is->replicas[i].confirmed == is->collected);
        }
    }
}

static void step_from(const struct bnd_kv_shard *was, const struct bnd_kv_shard *is, int rv) {
    holds_in_every_step(was, is, rv);
    if (rv == 0) {
        reach(is);
    }
}

static void confirm_all_ways(const struct bnd_kv_shard *was, uint64_t node, uint64_t horizon) {
    for (uint32_t set = 0; set < SETS; set++) {
        uint64_t equal[NODES];
        struct bnd_kv_confirmation confirmation = {
            .node = node, .horizon = horizon, .equal = equal};
        bool all = true;
        for (uint64_t other = 1; other <= NODES; other++) {
            if ((set & (1u << (other - 1))) != 0) {
                equal[confirmation.equal_count++] = other;
            } else if (other != node && filled(was, other)) {
                all = false;
            }
        }
        struct bnd_kv_shard is = *was;
        int rv = bnd_kv_shard_confirm(&is, was->epoch, &confirmation);
        size_t at = bnd_kv_shard_find(was, node);
        bool before = filled(was, node) && was->replicas[at].confirmed == was->horizon;
        bool right = horizon == was->horizon && filled(was, node) && (all || before);
        assert_int_equal(rv == 0, right);
        step_from(was, &is, rv);
        struct bnd_kv_shard stale = *was;
        assert_int_equal(bnd_kv_shard_confirm(&stale, was->epoch - 1, &confirmation), BND_EPOCH);
        assert_true(simkv_map_same(was, &stale));
    }
}

static void every_command_of(const struct bnd_kv_shard *was, uint64_t node) {
    struct bnd_kv_shard is;
    uint32_t epoch = was->epoch;
    for (uint64_t other = 0; other <= NODES; other++) {
        is = *was;
        step_from(was, &is, bnd_kv_shard_move(&is, epoch, node, other));
        is = *was;
        step_from(was, &is, bnd_kv_shard_move(&is, epoch, other, node));
        assert_int_equal(bnd_kv_shard_move(&is, epoch - 1, other, node), BND_EPOCH);
    }
    static const uint64_t horizons[] = {OLDER, COLLECTED, OPEN, OPEN + 1};
    for (size_t i = 0; i < 4; i++) {
        confirm_all_ways(was, node, horizons[i]);
        is = *was;
        int rv = bnd_kv_shard_filled(&is, epoch, node, horizons[i]);
        assert_true(rv != 0 || filled(was, node) || horizons[i] == was->collected);
        step_from(was, &is, rv);
        is = *was;
        rv = bnd_kv_shard_propose(&is, epoch, horizons[i]);
        assert_true(rv != 0 || was->horizon == was->collected || simkv_map_same(was, &is));
        step_from(was, &is, rv);
    }
    is = *was;
    step_from(was, &is, bnd_kv_shard_unfilled(&is, epoch, node));
    is = *was;
    int rv = bnd_kv_shard_left(&is, epoch, node);
    assert_int_equal(rv, was->leaving == node ? 0 : BND_NOTFOUND);
    step_from(was, &is, rv);
    is = *was;
    assert_int_equal(bnd_kv_shard_filled(&is, epoch + 1, node, COLLECTED), BND_EPOCH);
    assert_int_equal(bnd_kv_shard_unfilled(&is, epoch + 1, node), BND_EPOCH);
    assert_int_equal(bnd_kv_shard_left(&is, epoch + 1, node), BND_EPOCH);
    assert_int_equal(bnd_kv_shard_propose(&is, epoch + 1, OPEN + 1), BND_EPOCH);
    assert_true(simkv_map_same(was, &is));
    bnd_kv_shard_recover(&is, node, 1000);
    holds_in_every_state(&is);
    assert_int_equal(is.epoch, epoch + 1000);
    assert_true(is.replicas_count == 1 && filled(&is, node) && is.leaving == 0);
}

static size_t reach_all(void) {
    states = calloc(STATES_MAX, sizeof *states);
    reached = calloc(STATES_MAX, sizeof *reached);
    assert_non_null(states);
    assert_non_null(reached);
    states_count = 0;
    for (uint32_t set = 1; set < SETS; set++) {
        struct bnd_kv_shard shard = {0};
        uint64_t nodes[NODES];
        size_t count = 0;
        for (uint64_t node = NODES; node >= 1; node--) {
            if ((set & (1u << (node - 1))) != 0) {
                nodes[count++] = node;
            }
        }
        int rv = bnd_kv_shard_init(&shard, nodes, count);
        assert_int_equal(rv, count <= BND_KV_REPLICAS_MAX ? 0 : BND_INVALID);
        if (rv != 0) {
            continue;
        }
        assert_int_equal(shard.epoch, 1);
        assert_int_equal(bnd_kv_shard_init(&shard, nodes, count), BND_EPOCH);
        reach(&shard);
    }
    for (size_t i = 0; i < states_count; i++) {
        struct bnd_kv_shard was = states[i];
        for (uint64_t node = 1; node <= NODES; node++) {
            every_command_of(&was, node);
        }
    }
    free(reached);
    return states_count;
}

static void every_reachable_state_is_sound(void **state) {
    (void)state;
    size_t count = reach_all();
    print_message("%zu states\n", count);
    assert_in_range(count, 500, STATES_MAX); /* the search went somewhere */
    free(states);
}

/* ---- the planner
 * -------------------------------------------------------------------------------*/

struct world {
    enum bnd_kv_node nodes[NODES + 1];
};

static enum bnd_kv_node node_of(void *data, uint64_t node) {
    return ((const struct world *)data)->nodes[node];
}

static int do_step(struct bnd_kv_shard *shard, const struct bnd_kv_plan *plan,
                   const struct bnd_kv_step *step) {
    switch (step->kind) {
    case BND_KV_STEP_INIT:
        return bnd_kv_shard_init(shard, plan->wanted, plan->wanted_count);
    case BND_KV_STEP_MOVE:
        return bnd_kv_shard_move(shard, shard->epoch, step->joins, step->leaves);
    case BND_KV_STEP_LEFT:
        return bnd_kv_shard_left(shard, shard->epoch, step->leaves);
    case BND_KV_STEP_UNFILLED:
        return bnd_kv_shard_unfilled(shard, shard->epoch, step->leaves);
    case BND_KV_STEP_PROPOSE:
        return bnd_kv_shard_propose(shard, shard->epoch, step->horizon);
    case BND_KV_STEP_NONE:
        break;
    }
    return BND_INVALID;
}

/* Whoever is up does what its part is; true if something changed. */
static bool replicas_act(struct bnd_kv_shard *shard, const struct world *world) {
    struct bnd_kv_shard before = *shard;
    bool source = shard->leaving != 0 && world->nodes[shard->leaving] == BND_KV_NODE_UP;
    bool all_up = true;
    uint64_t equal[BND_KV_REPLICAS_MAX];
    for (size_t i = 0; i < shard->replicas_count; i++) {
        bool up = world->nodes[shard->replicas[i].node] == BND_KV_NODE_UP;
        source = source || (up && shard->replicas[i].filled);
        all_up = all_up && (up || !shard->replicas[i].filled);
        equal[i] = shard->replicas[i].node;
    }
    size_t count = shard->replicas_count;
    for (size_t i = 0; i < count; i++) {
        uint64_t node = equal[i];
        if (world->nodes[node] == BND_KV_NODE_UP && source) {
            (void)bnd_kv_shard_filled(shard, shard->epoch, node, shard->collected);
        }
        struct bnd_kv_confirmation confirmation = {
            .node = node, .horizon = shard->horizon, .equal = equal, .equal_count = count};
        if (world->nodes[node] == BND_KV_NODE_UP && all_up) {
            (void)bnd_kv_shard_confirm(shard, shard->epoch, &confirmation);
        }
    }
    if (shard->leaving != 0 && world->nodes[shard->leaving] == BND_KV_NODE_UP) {
        (void)bnd_kv_shard_left(shard, shard->epoch, shard->leaving);
    }
    return !simkv_map_same(&before, shard);
}

static void settles(struct bnd_kv_shard shard, const struct bnd_kv_plan *plan,
                    const struct world *world) {
    for (size_t round = 0; round < 64; round++) {
        struct bnd_kv_step step = bnd_kv_plan_step(&shard, plan);
        struct bnd_kv_shard was = shard;
        if (step.kind != BND_KV_STEP_NONE) {
            int rv = do_step(&shard, plan, &step);
            assert_int_equal(rv, 0); /* the planner plans nothing that is refused */
            holds_in_every_step(&was, &shard, rv);
            assert_false(simkv_map_same(&was, &shard));
        }
        if (!replicas_act(&shard, world) && step.kind == BND_KV_STEP_NONE) {
            break;
        }
    }
    assert_int_equal(bnd_kv_plan_step(&shard, plan).kind, BND_KV_STEP_NONE);
    bool all_up = shard.replicas_count == plan->wanted_count;
    bool awaited = false;
    size_t sources = 0;
    for (uint64_t node = 1; node <= NODES; node++) {
        awaited = awaited || world->nodes[node] == BND_KV_NODE_DOWN;
    }
    for (size_t i = 0; i < plan->wanted_count; i++) {
        awaited = awaited || world->nodes[plan->wanted[i]] != BND_KV_NODE_UP;
        all_up = all_up && filled(&shard, plan->wanted[i]);
    }
    for (size_t i = 0; i < shard.replicas_count; i++) {
        sources +=
            shard.replicas[i].filled && world->nodes[shard.replicas[i].node] == BND_KV_NODE_UP;
    }
    if (!awaited && sources > 0) {
        assert_true(all_up);
        assert_int_equal(shard.leaving, 0);
        assert_int_equal(shard.collected, shard.horizon);
        assert_true(shard.horizon >= UINT64_C(1000000) << 16);
    }
}

static uint64_t next_number(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *seed >> 33;
}

/* From every reachable state, with any nodes up, down, absent or gone. */
static void the_planner_gets_everywhere(void **state) {
    (void)state;
    uint64_t seed = 1;
    size_t count = reach_all();
    for (size_t i = 0; i < count; i++) {
        for (size_t try = 0; try < 16; try++) {
            struct world world = {0};
            uint64_t wanted[NODES];
            struct bnd_kv_plan plan = {.wanted = wanted,
                                       .node = node_of,
                                       .data = &world,
                                       .now_ms = 1500000,
                                       .horizon_age_ms = 400000,
                                       .horizon_every_ms = 100000};
            for (uint64_t node = 1; node <= NODES; node++) {
                world.nodes[node] = next_number(&seed) % 3 != 0
                                        ? BND_KV_NODE_UP
                                        : (enum bnd_kv_node)(next_number(&seed) % 4);
                if (world.nodes[node] != BND_KV_NODE_GONE && next_number(&seed) % 3 != 0 &&
                    plan.wanted_count < BND_KV_REPLICAS_MAX) {
                    wanted[plan.wanted_count++] = node;
                }
            }
            if (plan.wanted_count > 0) {
                settles(states[i], &plan, &world);
            }
        }
    }
    free(states);
}

static void a_down_replica_keeps_its_place_and_an_absent_one_is_left_out(void **state) {
    (void)state;
    uint64_t wanted[] = {1, 2, 3};
    struct world world = {.nodes = {[3] = BND_KV_NODE_DOWN}};
    struct bnd_kv_plan plan = {.wanted = wanted,
                               .wanted_count = 3,
                               .node = node_of,
                               .data = &world,
                               .now_ms = 1500000,
                               .horizon_age_ms = 400000,
                               .horizon_every_ms = 100000};
    struct bnd_kv_shard shard = {0};
    assert_int_equal(bnd_kv_shard_init(&shard, wanted, 3), 0);
    struct bnd_kv_step step = bnd_kv_plan_step(&shard, &plan);
    assert_int_equal(step.kind, BND_KV_STEP_PROPOSE);
    assert_int_equal(step.horizon, UINT64_C(1100000) << 16);
    assert_int_equal(do_step(&shard, &plan, &step), 0);
    (void)replicas_act(&shard, &world);
    assert_int_equal(bnd_kv_plan_step(&shard, &plan).kind, BND_KV_STEP_NONE); /* 3 is awaited */
    assert_int_equal(shard.collected, 0);
    world.nodes[3] = BND_KV_NODE_ABSENT;
    step = bnd_kv_plan_step(&shard, &plan);
    assert_int_equal(step.kind, BND_KV_STEP_UNFILLED);
    assert_int_equal(step.leaves, 3);
    assert_int_equal(do_step(&shard, &plan, &step), 0);
    (void)replicas_act(&shard, &world);
    assert_int_equal(shard.collected, shard.horizon);
    /* what it had is older than what is collected: the map shows it, and it must fill again */
    assert_false(filled(&shard, 3));
    assert_true(shard.replicas[2].confirmed < shard.collected);
    assert_int_equal(bnd_kv_shard_filled(&shard, shard.epoch, 3, 0), BND_EPOCH);
    assert_int_equal(bnd_kv_shard_filled(&shard, shard.epoch, 3, shard.collected), 0);
}

/* What was acknowledged on 2 and 3 before they went away may be nowhere else. */
static void two_are_never_left_out(void **state) {
    (void)state;
    uint64_t wanted[] = {1, 2, 3};
    struct world world = {.nodes = {[2] = BND_KV_NODE_ABSENT, [3] = BND_KV_NODE_ABSENT}};
    struct bnd_kv_plan plan = {
        .wanted = wanted, .wanted_count = 3, .node = node_of, .data = &world, .now_ms = 1500000};
    struct bnd_kv_shard shard = {0};
    assert_int_equal(bnd_kv_shard_init(&shard, wanted, 3), 0);
    assert_int_equal(bnd_kv_shard_propose(&shard, 1, 100), 0);
    struct bnd_kv_step step = bnd_kv_plan_step(&shard, &plan);
    assert_int_equal(step.kind, BND_KV_STEP_UNFILLED);
    assert_int_equal(do_step(&shard, &plan, &step), 0);
    assert_int_equal(bnd_kv_plan_step(&shard, &plan).kind, BND_KV_STEP_NONE);
}

/* Two newcomers filled at once, neither of which has seen the other: the second's confirmation is
 * refused. */
static void any_two_have_been_compared(void **state) {
    (void)state;
    uint64_t nodes[] = {1, 2, 3};
    struct bnd_kv_shard shard = {0};
    assert_int_equal(bnd_kv_shard_init(&shard, nodes, 3), 0);
    assert_int_equal(bnd_kv_shard_unfilled(&shard, 1, 2), 0);
    assert_int_equal(bnd_kv_shard_unfilled(&shard, 2, 3), 0);
    assert_int_equal(bnd_kv_shard_propose(&shard, 3, 100), 0);
    assert_int_equal(bnd_kv_shard_filled(&shard, 3, 2, 0), 0);
    assert_int_equal(bnd_kv_shard_filled(&shard, 3, 3, 0), 0);
    uint64_t first = 1;
    struct bnd_kv_confirmation second = {
        .node = 2, .horizon = 100, .equal = &first, .equal_count = 1};
    assert_int_equal(bnd_kv_shard_confirm(&shard, 3, &second), BND_EPOCH);
    uint64_t both[] = {1, 3};
    second.equal = both;
    second.equal_count = 2;
    assert_int_equal(bnd_kv_shard_confirm(&shard, 3, &second), 0);
    assert_int_equal(shard.collected, 0);
}

/* ---- the codec
 * ---------------------------------------------------------------------------------*/

static void every_state_encodes_and_decodes(void **state) {
    (void)state;
    size_t count = reach_all();
    for (size_t i = 0; i < count; i++) {
        struct bnd_buf bytes = {0};
        struct bnd_kv_shard again;
        bnd_kv_shard_encode(&bytes, &states[i]);
        assert_int_equal(bnd_kv_shard_decode(bnd_buf_slice(&bytes), &again), 0);
        assert_true(simkv_map_same(&states[i], &again));
        for (size_t len = 0; len < bytes.len; len++) {
            assert_int_equal(bnd_kv_shard_decode(bnd_slice(bytes.data, len), &again), BND_CORRUPT);
        }
        bnd_buf_u8(&bytes, 0);
        assert_int_equal(bnd_kv_shard_decode(bnd_buf_slice(&bytes), &again), BND_CORRUPT);
        bnd_buf_free(&bytes);
    }
    free(states);
}

static void refuses(struct bnd_kv_shard shard) {
    struct bnd_buf bytes = {0};
    bnd_kv_shard_encode(&bytes, &shard);
    struct bnd_kv_shard out = {.epoch = 77};
    assert_int_equal(bnd_kv_shard_decode(bnd_buf_slice(&bytes), &out), BND_CORRUPT);
    assert_int_equal(out.epoch, 77);
    bnd_buf_free(&bytes);
}

static void what_breaks_an_invariant_is_corrupt(void **state) {
    (void)state;
    struct bnd_kv_shard good = {.epoch = 1,
                                .replicas = {{1, true, 5}, {2, false, 0}},
                                .replicas_count = 2,
                                .leaving = 3,
                                .horizon = 9,
                                .collected = 5};
    struct bnd_kv_shard bad = good;
    bad.epoch = 0;
    refuses(bad);
    bad = good;
    bad.replicas[0].filled = false;
    refuses(bad);
    bad = good;
    bad.leaving = 2;
    refuses(bad);
    bad = good;
    bad.collected = 10;
    refuses(bad);
    bad = good;
    bad.replicas[1].node = 1;
    refuses(bad);
    bad = good;
    bad.replicas[0].confirmed = 4;
    refuses(bad);
    bad = good;
    bad.replicas[1].confirmed = 10;
    refuses(bad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reachable_state_is_sound),
        cmocka_unit_test(the_planner_gets_everywhere),
        cmocka_unit_test(a_down_replica_keeps_its_place_and_an_absent_one_is_left_out),
        cmocka_unit_test(two_are_never_left_out),
        cmocka_unit_test(any_two_have_been_compared),
        cmocka_unit_test(every_state_encodes_and_decodes),
        cmocka_unit_test(what_breaks_an_invariant_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
