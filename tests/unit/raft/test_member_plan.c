/* The next change of members, from pictures of groups. */
#include "raft/member_plan.h"

#include "base/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// cmocka wants the above first
#include <cmocka.h>

/* A picture in letters: "1L 2v 3s! 4-" are the members: L leader, v voter, s standby, - spare, and
 * ! not heard from, ? not caught up; `want` lists wanted nodes, ! for one without a connection. */
struct picture {
    struct bnd_raft_configuration configuration;
    struct member_view view;
    uint64_t wanted[BND_RAFT_MEMBERS_MAX];
};

static void read_members(struct picture *p, const char *text) {
    for (size_t i = 0; *text != 0; text++) {
        if (*text >= '1' && *text <= '9') {
            i = p->configuration.count++;
            p->configuration.members[i].node = (uint64_t)(*text - '0');
            p->view.heard[i] = true;
            p->view.caught_up[i] = true;
        } else if (*text == 'L' || *text == 'v') {
            p->configuration.members[i].role = BND_RAFT_VOTER;
            p->view.self = *text == 'L' ? p->configuration.members[i].node : p->view.self;
        } else if (*text == 's') {
            p->configuration.members[i].role = BND_RAFT_STANDBY;
        } else if (*text == '!') {
            p->view.heard[i] = false;
        } else if (*text == '?') {
            p->view.caught_up[i] = false;
        }
    }
}

static void read_picture(struct picture *p, const char *members, const char *want) {
    *p = (struct picture){0};
    read_members(p, members);
    for (; *want != 0; want++) {
        if (*want == '!') {
            p->view.up[p->view.wanted_count - 1] = false;
        } else {
            p->view.up[p->view.wanted_count] = true;
            p->wanted[p->view.wanted_count++] = (uint64_t)(*want - '0');
        }
    }
    p->view.configuration = &p->configuration;
    p->view.wanted = p->wanted;
    p->view.settled = true;
}

static const struct {
    const char *members, *want;
    enum member_action action;
    uint64_t node;
    bool impatient;
} cases[] = {
    /* From one to three: both are standbys before either is promoted. */
    {"1L", "123", MEMBER_ADD, 2, false},
    {"1L 2-", "123", MEMBER_STANDBY, 2, false},
    {"1L 2s?", "123", MEMBER_ADD, 3, false},
    {"1L 2s 3-", "123", MEMBER_STANDBY, 3, false},
    {"1L 2s 3s?", "123", MEMBER_REST, 0, false},
    {"1L 2s 3s!", "123", MEMBER_REST, 0, false},
    {"1L 2s 3s", "123", MEMBER_PROMOTE, 2, false},
    {"1L 2v 3s", "123", MEMBER_PROMOTE, 3, false},
    {"1L 2v 3v", "123", MEMBER_REST, 0, false},
    /* Stuck at two: back, after a while; even if the second is silent. */
    {"1L 2v 3s!", "123", MEMBER_REST, 0, false},
    {"1L 2v 3s!", "123", MEMBER_STANDBY, 2, true},
    {"1L 2v! 3s!", "123", MEMBER_STANDBY, 2, true},
    {"1L 2v! 3s", "123", MEMBER_PROMOTE, 3, false}, /* two of three are a majority again */
    /* Two wanted: the second stays a standby. */
    {"1L", "12", MEMBER_ADD, 2, false},
    {"1L 2s", "12", MEMBER_REST, 0, false},
    {"1L 2v 3v", "12", MEMBER_REMOVE, 3, false},
    {"1L 2v", "12", MEMBER_STANDBY, 2, false},
    /* No majority is left to who is not wanted and may be gone for good. */
    {"1L 2v 3v!", "12", MEMBER_REMOVE, 3, false},
    {"1L 2v! 3v", "12", MEMBER_REST, 0, false},
    {"1L 2v! 3v", "12", MEMBER_REST, 0, true},
    {"1L 2v! 3v", "23", MEMBER_REST, 0, false},
    /* A wanted node that never comes up delays nobody. */
    {"1L", "12!3", MEMBER_ADD, 3, false},
    {"1L 2- 3s", "12!3", MEMBER_REST, 0, false},
    {"1L 2s! 3s 4s", "1234", MEMBER_PROMOTE, 3, false},
    {"1L 2s! 3v 4s", "1234", MEMBER_PROMOTE, 4, false},
    {"1L 2s 3v 4v", "1234", MEMBER_REST, 0, false},
    /* A replacement, also of a dead voter; not before the new one is ready. */
    {"1L 2v 3v", "124!", MEMBER_REST, 0, false},
    {"1L 2v 3v!", "124", MEMBER_ADD, 4, false},
    {"1L 2v 3v! 4s?", "124", MEMBER_REST, 0, false},
    {"1L 2v 3v! 4s", "124", MEMBER_PROMOTE, 4, false},
    {"1L 2v 3v! 4v", "124", MEMBER_REMOVE, 3, false},
    {"1L 2v! 3v 4v", "124", MEMBER_REMOVE, 3, false},
    {"1L 2v! 3v! 4s", "124", MEMBER_REST, 0, false}, /* no majority of four */
    {"1L 2v! 3v 4v!", "124", MEMBER_REST, 0, false}, /* no majority of the three left */
    {"1L 2v 3v 4s 5s", "145", MEMBER_PROMOTE, 4, false},
    {"1L 2v 3v 4v 5s", "145", MEMBER_PROMOTE, 5, false},
    {"1L 2v 3v 4v 5v", "145", MEMBER_REMOVE, 3, false},
    {"1L 2v 4v 5v", "145", MEMBER_REMOVE, 2, false},
    {"1L 2v 3v 4s!", "12345", MEMBER_ADD, 5, false},
    {"1L 2v 3v 4s! 5s", "12345", MEMBER_REST, 0, false},
    {"1L 2v 3v 4v 5s!", "12345", MEMBER_STANDBY, 4, true},
    /* What is not wanted and does not vote goes whenever. */
    {"1L 2s 3-", "12", MEMBER_REMOVE, 3, false},
    {"1L 2s 3s!", "12", MEMBER_REMOVE, 3, false},
    /* To one. */
    {"1L 2v 3v", "1", MEMBER_REMOVE, 3, false},
    {"1L 2v! 3v", "1", MEMBER_REMOVE, 2, false},
    {"1L 3v", "1", MEMBER_REMOVE, 3, false},
    {"1L 2v! 3v!", "1", MEMBER_REST, 0, false},
    /* The leader leaves last, to one that is ready. */
    {"1L 2v 3v", "23", MEMBER_HAND_OVER, 2, false},
    {"1L 2v 3s", "23", MEMBER_HAND_OVER, 2, false},
    {"1L 2v 3v", "234", MEMBER_ADD, 4, false},
    {"1L 2v 3v 4s?", "234", MEMBER_REST, 0, false},
    {"1L 2v 3v 4v", "234", MEMBER_HAND_OVER, 2, false},
    {"1L 2v! 3v 4v", "234", MEMBER_HAND_OVER, 3, false},
    {"1L 2v? 3v! 4v", "234", MEMBER_HAND_OVER, 4, false},
    {"1L 4s", "4", MEMBER_PROMOTE, 4, false},
    {"1L 4v", "4", MEMBER_HAND_OVER, 4, false},
    {"1v 4L", "4", MEMBER_REMOVE, 1, false},
    {"1L 2v 3v 4v", "123", MEMBER_REMOVE, 4, false},
    {"1L", "", MEMBER_REST, 0, false},
};

static void each_picture_has_its_step(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct picture p;
        read_picture(&p, cases[i].members, cases[i].want);
        p.view.impatient = cases[i].impatient;
        struct member_step step = member_plan(&p.view);
        if (step.action != cases[i].action || step.node != cases[i].node) {
            fail_msg("%s, wanted %s: action %d node %llu, not %d %llu", cases[i].members,
                     cases[i].want, step.action, (unsigned long long)step.node, cases[i].action,
                     (unsigned long long)cases[i].node);
        }
    }
}

/* While nobody can know who has fallen silent since the wish came, no voter ceases to be one. */
static void no_voter_goes_too_soon(void **state) {
    (void)state;
    unsigned waited = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct picture p;
        read_picture(&p, cases[i].members, cases[i].want);
        p.view.impatient = cases[i].impatient;
        p.view.settled = false;
        struct member_step step = member_plan(&p.view);
        size_t at = bnd_raft_configuration_find(&p.configuration, step.node);
        bool voter =
            at < p.configuration.count && p.configuration.members[at].role == BND_RAFT_VOTER;
        assert_true(step.action != MEMBER_HAND_OVER);
        assert_false(voter && (step.action == MEMBER_REMOVE || step.action == MEMBER_STANDBY));
        waited += step.action == MEMBER_REST && cases[i].action != MEMBER_REST;
    }
    assert_true(waited > 5);
}

/* Follows the plan, every node ready at once, and looks at what lies between. */
static void apply_step(struct bnd_raft_configuration *c, struct member_step step, uint64_t *self) {
    size_t i = bnd_raft_configuration_find(c, step.node);
    switch (step.action) {
    case MEMBER_ADD:
        assert_int_equal(i, c->count);
        c->members[c->count++] = (struct bnd_raft_member){.node = step.node};
        break;
    case MEMBER_STANDBY:
        assert_int_not_equal(step.node, *self);
        c->members[i].role = BND_RAFT_STANDBY;
        break;
    case MEMBER_PROMOTE:
        c->members[i].role = BND_RAFT_VOTER;
        break;
    case MEMBER_REMOVE:
        assert_int_not_equal(step.node, *self);
        memmove(c->members + i, c->members + i + 1, (c->count - i - 1) * sizeof c->members[0]);
        c->count--;
        break;
    case MEMBER_HAND_OVER:
        *self = step.node;
        break;
    case MEMBER_REST:
        break;
    }
}

static void walk(uint64_t from_mask, uint64_t to_mask) {
    struct picture p = {0};
    for (uint64_t node = 1; node <= 7; node++) {
        if ((from_mask >> node & 1) != 0) {
            p.configuration.members[p.configuration.count++] =
                (struct bnd_raft_member){node, BND_RAFT_VOTER};
            p.view.self = p.view.self == 0 ? node : p.view.self;
        }
        if ((to_mask >> node & 1) != 0) {
            p.wanted[p.view.wanted_count++] = node;
        }
    }
    memset(p.view.heard, 1, sizeof p.view.heard);
    memset(p.view.caught_up, 1, sizeof p.view.caught_up);
    memset(p.view.up, 1, sizeof p.view.up);
    p.view.configuration = &p.configuration;
    p.view.wanted = p.wanted;
    p.view.settled = true;
    unsigned even = 0;
    for (int steps = 0; steps < 40; steps++) {
        struct member_step step = member_plan(&p.view);
        if (step.action == MEMBER_REST) {
            break;
        }
        apply_step(&p.configuration, step, &p.view.self);
        size_t voters = bnd_raft_configuration_voters(&p.configuration);
        assert_true(voters >= 1);
        even = voters % 2 == 0 && step.action != MEMBER_HAND_OVER ? even + 1 : 0;
        assert_true(even <= 1); /* the next change makes it odd again */
    }
    assert_true(member_as_wanted(&p.configuration, p.wanted, p.view.wanted_count));
}

static void every_wish_is_reached(void **state) {
    (void)state;
    for (uint64_t from = 2; from < 256; from += 2) {
        int voters = __builtin_popcountll(from);
        for (uint64_t to = 2; to < 256; to += 2) {
            if (voters == 1 || voters == 3 || voters == 5) {
                walk(from, to);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_picture_has_its_step),
        cmocka_unit_test(no_voter_goes_too_soon),
        cmocka_unit_test(every_wish_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
