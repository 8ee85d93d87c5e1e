/* Placement: fixed answers (they are part of the disk format), balance, least movement, zones. */
#include "placement/rendezvous.h"
#include "placement/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct bnd_slice s(const char *text) {
    return bnd_slice_str(text);
}

/* If one of these numbers changes, existing clusters lose their data: raise BND_SHARD_HASH_VERSION
 * instead. */
static void shard_numbers_are_frozen(void **state) {
    (void)state;
    assert_int_equal(bnd_shard_of(BND_GROUP_OBJECTS, 1, s("a"), 65536), 0x7921);
    assert_int_equal(bnd_shard_of(BND_GROUP_OBJECTS, 7, s("c1/v1/do/ns/id"), 65536), 0xf83b);
    assert_int_equal(bnd_shard_of(BND_GROUP_OBJECTS, 1, s(""), 65536), 0x2577);
}

static void doubling_splits_each_shard(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        uint8_t name[4];
        bnd_put_u32(name, i);
        uint32_t narrow = bnd_shard_of(BND_GROUP_OBJECTS, 3, bnd_slice(name, 4), 64);
        uint32_t wide = bnd_shard_of(BND_GROUP_OBJECTS, 3, bnd_slice(name, 4), 128);
        assert_true(wide == narrow || wide == narrow + 64);
    }
}

static void an_objects_log_and_owner_record_share_a_shard(void **state) {
    (void)state;
    uint64_t owner = bnd_object_gid(9, 5, s("c1/v1/do/ns/id/own.json"), 64);
    assert_int_equal(owner, bnd_object_gid(9, 5, s("c1/v1/do/ns/id/log/1/2"), 64));
    assert_int_equal(owner, bnd_object_gid(9, 5, s("c1/v1/do/ns/id"), 64));
    uint64_t gid = 0;
    assert_true(bnd_object_prefix_gid(9, 5, s("c1/v1/do/ns/id/log/"), 64, &gid));
    assert_int_equal(gid, owner);
    assert_false(bnd_object_prefix_gid(9, 5, s("c1/v1/do/ns/id"), 64, &gid)); /* also .../id2 */
    assert_false(bnd_object_prefix_gid(9, 0, s("a/b/c/d/e/f"), 64, &gid));
}

static void make_nodes(struct bnd_place_node *nodes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        nodes[i] = (struct bnd_place_node){.id = i + 1, .weight = 100, .zone = i + 1};
    }
}

static bool holds(const uint64_t *ids, size_t count, uint64_t id) {
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void a_new_node_takes_its_share_and_nothing_else_moves(void **state) {
    (void)state;
    struct bnd_place_node nodes[6];
    make_nodes(nodes, 6);
    size_t taken = 0;
    for (uint64_t gid = 0; gid < 4096; gid++) {
        uint64_t before[BND_REPLICAS_MAX];
        uint64_t after[BND_REPLICAS_MAX];
        assert_int_equal(bnd_place_group(nodes, 5, gid, 3, before), 3);
        assert_int_equal(bnd_place_group(nodes, 6, gid, 3, after), 3);
        size_t kept = 0;
        for (size_t i = 0; i < 3; i++) {
            kept += holds(after, 3, before[i]);
        }
        assert_true(kept == 3 || (kept == 2 && holds(after, 3, 6)));
        taken += 3 - kept;
    }
    assert_in_range(taken, 4096 / 2 - 200,
                    4096 / 2 + 200); /* 3 replicas of each group over 6 nodes */
}

static void weights_share_the_groups(void **state) {
    (void)state;
    struct bnd_place_node nodes[3];
    make_nodes(nodes, 3);
    nodes[0].weight = 200;
    nodes[2].weight = 0;
    size_t first = 0;
    for (uint64_t gid = 0; gid < 3000; gid++) {
        uint64_t out[BND_REPLICAS_MAX];
        assert_int_equal(bnd_place_group(nodes, 3, gid, 1, out), 1);
        assert_true(out[0] != 3);
        first += out[0] == 1;
    }
    assert_in_range(first, 1850, 2150);
}

static void replicas_are_spread_over_zones_first(void **state) {
    (void)state;
    struct bnd_place_node nodes[4];
    make_nodes(nodes, 4);
    nodes[1].zone = nodes[0].zone; /* zones: {1, 2}, {3}, {4} */
    for (uint64_t gid = 0; gid < 500; gid++) {
        uint64_t out[BND_REPLICAS_MAX];
        assert_int_equal(bnd_place_group(nodes, 4, gid, 3, out), 3);
        assert_false(holds(out, 3, 1) && holds(out, 3, 2));
        assert_int_equal(bnd_place_group(nodes, 4, gid, 4, out),
                         4); /* zones used up: still four replicas */
        assert_int_equal(bnd_place_group(nodes, 2, gid, 3, out), 2);
    }
}

static void voters_are_odd(void **state) {
    (void)state;
    static const size_t expected[] = {0, 1, 1, 3, 3, 3};
    for (size_t live = 0; live <= 5; live++) {
        assert_int_equal(bnd_place_voters(live, 3), expected[live]);
    }
    assert_int_equal(bnd_place_voters(9, 5), 5);
    assert_int_equal(bnd_place_voters(4, 5), 3);
}

/* Whoever takes a place gets what was there; nobody else moves. */
static void a_replacement_takes_exactly_what_the_dead_one_held(void **state) {
    (void)state;
    struct bnd_place_node nodes[6];
    make_nodes(nodes, 6);
    nodes[5].weight = 0;
    for (uint64_t gid = 0; gid < 500; gid++) {
        uint64_t before[BND_REPLICAS_MAX];
        uint64_t after[BND_REPLICAS_MAX];
        assert_int_equal(bnd_place_group(nodes, 6, gid, 3, before), 3);
        struct bnd_place_node replaced[6];
        memcpy(replaced, nodes, sizeof nodes);
        replaced[1].weight = 0;
        replaced[5].weight = 100;
        replaced[5].place = 2;
        assert_int_equal(bnd_place_group(replaced, 6, gid, 3, after), 3);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(after[i], before[i] == 2 ? 6 : before[i]);
        }
    }
}

enum { LED = 65 };

/* The leaders of LED groups of three replicas over `count` nodes, of which those up to `may` may
 * lead; counts[] by node. */
static void lead(size_t count, size_t may, uint64_t leaders[LED], uint32_t counts[6]) {
    struct bnd_place_node nodes[6];
    uint64_t ids[6] = {1, 2, 3, 4, 5, 6};
    make_nodes(nodes, count);
    memset(counts, 0, 6 * sizeof counts[0]);
    struct bnd_place_leaders spread = {.nodes = ids, .loads = counts, .count = may, .groups = LED};
    for (uint64_t gid = 0; gid < LED; gid++) {
        uint64_t placed[BND_REPLICAS_MAX];
        size_t held = bnd_place_group(nodes, count, gid, 3, placed);
        size_t left = bnd_place_lead(&spread, placed, held);
        assert_true(left >= 1 && left <= held);
        for (size_t i = 0; i < left; i++) {
            assert_true(placed[i] <= may);
        }
        leaders[gid] = placed[0];
    }
}

static void leaderships_are_spread_and_few_move(void **state) {
    (void)state;
    uint64_t before[LED];
    uint64_t after[LED];
    uint32_t counts[6];
    lead(3, 3, before, counts);
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(counts[i], 65 / 3 - 6, 65 / 3 + 4);
    }
    lead(3, 2, after, counts); /* the third rests: only what it led moves, but for the shares */
    assert_int_equal(counts[2], 0);
    size_t moved = 0;
    for (size_t i = 0; i < LED; i++) {
        moved += before[i] != 3 && before[i] != after[i];
    }
    assert_in_range(moved, 0, 12);
    lead(6, 6, before, counts);
    for (size_t i = 0; i < 6; i++) {
        assert_in_range(counts[i], 6, 13);
    }
}

static void whoever_may_not_lead_is_left_out(void **state) {
    (void)state;
    uint64_t may[] = {2};
    uint32_t loads[] = {0};
    struct bnd_place_leaders spread = {.nodes = may, .loads = loads, .count = 1, .groups = 2};
    uint64_t placed[] = {1, 3, 2};
    assert_int_equal(bnd_place_lead(&spread, placed, 3), 1);
    assert_int_equal(placed[0], 2);
    uint64_t others[] = {1, 3};
    assert_int_equal(bnd_place_lead(&spread, others, 2), 0);
    spread.count = 0;
    assert_int_equal(bnd_place_lead(&spread, others, 2), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replacement_takes_exactly_what_the_dead_one_held),
        cmocka_unit_test(leaderships_are_spread_and_few_move),
        cmocka_unit_test(whoever_may_not_lead_is_left_out),
        cmocka_unit_test(shard_numbers_are_frozen),
        cmocka_unit_test(doubling_splits_each_shard),
        cmocka_unit_test(an_objects_log_and_owner_record_share_a_shard),
        cmocka_unit_test(a_new_node_takes_its_share_and_nothing_else_moves),
        cmocka_unit_test(weights_share_the_groups),
        cmocka_unit_test(replicas_are_spread_over_zones_first),
        cmocka_unit_test(voters_are_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
