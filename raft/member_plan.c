/* See member_plan.h. Pure: the same picture gives the same step. */
#include "raft/member_plan.h"

#include "base/assert.h"

struct census {
    const struct member_view *view;
    size_t voters;
    size_t voters_wanted;
    size_t voters_heard;
    size_t candidates; /* wanted standbys that may be promoted now */
    size_t target;
};

static bool is_wanted(const uint64_t *wanted, size_t count, uint64_t node) {
    for (size_t i = 0; i < count; i++) {
        if (wanted[i] == node) {
            return true;
        }
    }
    return false;
}

size_t member_target(size_t wanted_count) {
    return wanted_count >= 5 ? 5 : wanted_count >= 3 ? 3 : 1;
}

bool member_as_wanted(const struct bnd_raft_configuration *configuration, const uint64_t *wanted,
                      size_t wanted_count) {
    size_t voters = 0;
    for (size_t i = 0; i < configuration->count; i++) {
        const struct bnd_raft_member *member = &configuration->members[i];
        if (!is_wanted(wanted, wanted_count, member->node) || member->role == BND_RAFT_SPARE) {
            return false;
        }
        voters += member->role == BND_RAFT_VOTER;
    }
    return configuration->count == wanted_count && voters == member_target(wanted_count);
}

static const struct bnd_raft_member *member_at(const struct census *c, size_t i) {
    return &c->view->configuration->members[i];
}

static bool wants(const struct census *c, uint64_t node) {
    return is_wanted(c->view->wanted, c->view->wanted_count, node);
}

static bool is_candidate(const struct census *c, size_t i) {
    return member_at(c, i)->role == BND_RAFT_STANDBY && wants(c, member_at(c, i)->node) &&
           c->view->heard[i] && c->view->caught_up[i];
}

static struct census take_census(const struct member_view *view) {
    struct census c = {.view = view, .target = member_target(view->wanted_count)};
    for (size_t i = 0; i < view->configuration->count; i++) {
        bool voter = member_at(&c, i)->role == BND_RAFT_VOTER;
        c.voters += voter;
        c.voters_wanted += voter && wants(&c, member_at(&c, i)->node);
        c.voters_heard += voter && view->heard[i];
        c.candidates += is_candidate(&c, i);
    }
    return c;
}

static struct member_step step(enum member_action action, uint64_t node) {
    return (struct member_step){.action = action, .node = node};
}

/* A wanted node that is no member yet, or a spare: a step towards standby. */
static struct member_step plan_addition(const struct census *c) {
    const struct bnd_raft_configuration *members = c->view->configuration;
    for (size_t w = 0; w < c->view->wanted_count; w++) {
        uint64_t node = c->view->wanted[w];
        size_t i = bnd_raft_configuration_find(members, node);
        if (!c->view->up[w]) {
            continue;
        }
        if (i < members->count && members->members[i].role == BND_RAFT_SPARE) {
            return step(MEMBER_STANDBY, node);
        }
        if (i == members->count && members->count < BND_RAFT_MEMBERS_MAX) {
            return step(MEMBER_ADD, node);
        }
    }
    return step(MEMBER_REST, 0);
}

static struct member_step plan_promotion(const struct census *c) {
    size_t unwanted = c->voters - c->voters_wanted;
    bool even = c->voters % 2 == 0;
    bool odd_again =
        even || unwanted > 0 || (c->candidates >= 2 && c->voters_wanted + 2 <= c->target);
    if (c->voters_wanted >= c->target || !odd_again) {
        return step(MEMBER_REST, 0);
    }
    if (c->voters_heard + 1 <= (c->voters + 1) / 2) { /* no majority of one voter more */
        return step(MEMBER_REST, 0);
    }
    for (size_t w = 0; w < c->view->wanted_count; w++) {
        size_t i = bnd_raft_configuration_find(c->view->configuration, c->view->wanted[w]);
        if (i < c->view->configuration->count && is_candidate(c, i)) {
            return step(MEMBER_PROMOTE, c->view->wanted[w]);
        }
    }
    return step(MEMBER_REST, 0);
}

/* May this voter cease to be one? */
static bool may_lose(const struct census *c, size_t i) {
    if (!c->view->settled) {
        return false;
    }
    size_t unwanted = c->voters - c->voters_wanted;
    if (c->voters % 2 != 0 &&
        (c->voters < c->target + 2 || (unwanted < 2 && c->voters_wanted <= c->target))) {
        return false; /* it would stay even, or be too few: not the last one */
    }
    size_t heard = c->voters_heard - c->view->heard[i];
    return heard > (c->voters - 1) / 2;
}

/* The voter to lose among those that are wanted, or not: one not heard from first, then the last.
 * The place, or configuration->count. */
static size_t pick_voter(const struct census *c, bool wanted) {
    size_t count = c->view->configuration->count;
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        const struct bnd_raft_member *member = member_at(c, i);
        if (member->role == BND_RAFT_VOTER && member->node != c->view->self &&
            wants(c, member->node) == wanted &&
            (best == count || c->view->heard[best] || !c->view->heard[i])) {
            best = i;
        }
    }
    return best;
}

static struct member_step plan_removal(const struct census *c) {
    size_t count = c->view->configuration->count;
    for (size_t i = 0; i < count; i++) {
        const struct bnd_raft_member *member = member_at(c, i);
        if (member->role != BND_RAFT_VOTER && !wants(c, member->node)) {
            return step(MEMBER_REMOVE, member->node);
        }
    }
    size_t i = pick_voter(c, false);
    return i < count && may_lose(c, i) ? step(MEMBER_REMOVE, member_at(c, i)->node)
                                       : step(MEMBER_REST, 0);
}

/* Of those that are wanted, once no others vote: a majority would be left to one that may be gone
 * for good, which the wish knows and what was heard of it does not yet. */
static struct member_step plan_demotion(const struct census *c) {
    bool surplus = c->voters_wanted > c->target;
    bool stuck = c->view->impatient && c->voters % 2 == 0;
    size_t i = pick_voter(c, true);
    if (c->voters_wanted == c->voters && (surplus || stuck) && i < c->view->configuration->count &&
        may_lose(c, i)) {
        return step(MEMBER_STANDBY, member_at(c, i)->node);
    }
    return step(MEMBER_REST, 0);
}

static struct member_step plan_leaving(const struct census *c) {
    size_t count = c->view->configuration->count;
    size_t self = bnd_raft_configuration_find(c->view->configuration, c->view->self);
    if (self == count || wants(c, c->view->self) || !may_lose(c, self)) {
        return step(MEMBER_REST, 0);
    }
    for (size_t i = 0; i < count; i++) {
        const struct bnd_raft_member *member = member_at(c, i);
        if (member->role == BND_RAFT_VOTER && wants(c, member->node) && c->view->heard[i] &&
            c->view->caught_up[i]) {
            return step(MEMBER_HAND_OVER, member->node);
        }
    }
    return step(MEMBER_REST, 0);
}

struct member_step member_plan(const struct member_view *view) {
    struct member_step (*const plans[])(const struct census *c) = {
        plan_addition, plan_promotion, plan_removal, plan_demotion, plan_leaving,
    };
    const struct census c = take_census(view);
    if (view->wanted_count == 0) {
        return step(MEMBER_REST, 0);
    }
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        struct member_step next = plans[i](&c);
        if (next.action != MEMBER_REST) {
            return next;
        }
    }
    return step(MEMBER_REST, 0);
}
