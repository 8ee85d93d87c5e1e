/* See membership.h. Invariant: wanted nodes exist; a lost one is in no wish. */
#include "tests/sim/membership.h"

#include "base/assert.h"
#include "raft/member_plan.h"

#include <inttypes.h>
#include <stdio.h>

/* How late a node learns of a wish: mostly soon. */
#define LEARN_NS_MAX (300 * BND_MS)
#define LEARN_NS_LATE (4000 * BND_MS)
/* A voter is not given up just after another was lost: of three that would be two at once, and
 * nobody notices a loss before an election timeout. */
#define LOSS_NOTICED_NS (3000 * BND_MS)

/* ---- what nodes know
 * ---------------------------------------------------------------------------------- */

static void learn(struct bnd_sim_event *event) {
    struct bnd_sim_node *node = event->data;
    struct bnd_sim_cluster *cluster = node->cluster;
    node->learning = false;
    if (node->base.life != BND_SIM_UP || node->base.fatal) {
        return;
    }
    for (size_t g = 0; g < cluster->groups_count; g++) {
        const struct bnd_sim_group *group = &cluster->groups[g];
        if (node->known[g].version != group->want.version) {
            node->known[g] = group->want;
            bnd_raft_group_want(node->host, group->gid, group->want.members, group->want.count);
        }
    }
}

static void not_learned(struct bnd_sim_event *event) {
    ((struct bnd_sim_node *)event->data)->learning = false;
}

static void learn_soon(struct bnd_sim_node *node) {
    struct bnd_sim_rng *rng = &node->cluster->rng;
    if (node->base.life != BND_SIM_UP || node->learning) {
        return;
    }
    node->learning = true;
    node->learn = (struct bnd_sim_event){.run = learn, .drop = not_learned, .data = node};
    bnd_sim_env_at(
        node->base.env, &node->learn,
        bnd_sim_rng_below(rng, bnd_sim_rng_chance(rng, 900) ? LEARN_NS_MAX : LEARN_NS_LATE));
}

void bnd_sim_membership_start(struct bnd_sim_node *node) {
    learn_soon(node);
}

void bnd_sim_membership_forget(struct bnd_sim_node *node) {
    for (size_t g = 0; g < BND_SIM_GROUPS_MAX; g++) {
        node->known[g] = (struct bnd_sim_want){0};
    }
}

static bool has(const struct bnd_sim_want *want, uint64_t node) {
    for (size_t i = 0; i < want->count; i++) {
        if (want->members[i].node == node) {
            return true;
        }
    }
    return false;
}

bool bnd_sim_membership_knows(const struct bnd_sim_node *node, uint64_t gid) {
    return gid >= 1 && gid <= node->cluster->groups_count && has(&node->known[gid - 1], node->id);
}

/* ---- wishes
 * ------------------------------------------------------------------------------------------- */

static void wish(struct bnd_sim_cluster *cluster, size_t g, uint32_t nodes) {
    struct bnd_sim_want *want = &cluster->groups[g].want;
    want->version++;
    want->count = 0;
    for (uint64_t node = 1; node <= BND_SIM_NODES_MAX; node++) {
        if ((nodes & 1u << node) != 0) {
            want->members[want->count++] =
                (struct bnd_raft_member){.node = node, .role = BND_RAFT_VOTER};
        }
    }
    BND_ASSERT(want->count > 0);
    uint8_t bytes[4];
    bnd_put_u32(bytes, nodes);
    bnd_sim_trace(cluster->world, "wish", g + 1, want->version, bnd_slice(bytes, 4));
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        learn_soon(&cluster->nodes[n]);
    }
}

static uint32_t nodes_of(const struct bnd_sim_want *want) {
    uint32_t nodes = 0;
    for (size_t i = 0; i < want->count; i++) {
        nodes |= 1u << want->members[i].node;
    }
    return nodes;
}

static uint32_t existing(const struct bnd_sim_cluster *cluster) {
    uint32_t nodes = 0;
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        nodes |= cluster->nodes[n].exists ? 1u << (n + 1) : 0;
    }
    return nodes;
}

/* One of the nodes, 0 if there are none. */
static uint32_t draw(struct bnd_sim_cluster *cluster, uint32_t nodes) {
    size_t skip =
        nodes == 0 ? 0 : bnd_sim_rng_below(&cluster->rng, (uint64_t)__builtin_popcount(nodes));
    while (skip-- > 0) {
        nodes &= nodes - 1;
    }
    return nodes & -nodes;
}

/* So many of them, or all. */
static uint32_t draw_many(struct bnd_sim_cluster *cluster, uint32_t nodes, size_t count) {
    uint32_t drawn = 0;
    while (count-- > 0) {
        drawn |= draw(cluster, nodes & ~drawn);
    }
    return drawn;
}

void bnd_sim_membership_found(struct bnd_sim_cluster *cluster, size_t count) {
    for (size_t g = 0; g < cluster->groups_count; g++) {
        wish(cluster, g, (UINT32_C(2) << count) - 2);
    }
}

void bnd_sim_membership_change(struct bnd_sim_cluster *cluster) {
    static const size_t sizes[] = {1, 2, 3, 3, 3, 3, 4, 5};
    struct bnd_sim_rng *rng = &cluster->rng;
    if (bnd_sim_world_now_ns(cluster->world) < cluster->wishes_after_ns) {
        return;
    }
    size_t g = bnd_sim_rng_below(rng, cluster->groups_count);
    uint32_t all = existing(cluster);
    uint32_t nodes = nodes_of(&cluster->groups[g].want);
    uint64_t what = bnd_sim_rng_below(rng, 10);
    if (what < 6) { /* one for another, or the first of the two alone */
        nodes &= what < 5 ? ~draw(cluster, nodes) : UINT32_MAX;
        nodes |= what > 0 ? draw(cluster, all & ~nodes) : 0;
    } else {
        nodes = draw_many(cluster, all, sizes[bnd_sim_rng_below(rng, 8)]);
    }
    if (nodes != 0) {
        wish(cluster, g, nodes);
    }
}

/* ---- machines
 * ----------------------------------------------------------------------------------------- */

/* The group's leader of the highest term among nodes that are up, if it is ready and at rest. */
static bool at_rest(const struct bnd_sim_cluster *cluster, size_t g,
                    struct bnd_raft_group_status *out) {
    const struct bnd_sim_want *want = &cluster->groups[g].want;
    uint64_t nodes[BND_SIM_NODES_MAX];
    uint64_t term = 0;
    bool rests = false;
    for (size_t i = 0; i < want->count; i++) {
        nodes[i] = want->members[i].node;
    }
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        const struct bnd_sim_node *node = &cluster->nodes[n];
        struct bnd_raft_group_status status;
        if (node->exists && (node->base.life != BND_SIM_UP || node->base.fatal)) {
            return false;
        }
        if (!node->exists || bnd_raft_group_status(node->host, g + 1, &status) != 0 ||
            status.term < term || (status.term == term && !status.ready)) {
            continue;
        }
        struct bnd_raft_configuration configuration = {.count = status.members_count};
        memcpy(configuration.members, status.members,
               status.members_count * sizeof *status.members);
        rests = status.ready && status.commit == status.last_index &&
                member_as_wanted(&configuration, nodes, want->count);
        term = status.term;
        *out = status;
    }
    return rests;
}

static bool all_know(const struct bnd_sim_cluster *cluster, size_t g) {
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        const struct bnd_sim_node *node = &cluster->nodes[n];
        if (node->exists && node->known[g].version != cluster->groups[g].want.version) {
            return false;
        }
    }
    return true;
}

static bool can_lose(const struct bnd_sim_cluster *cluster, uint64_t node) {
    for (size_t g = 0; g < cluster->groups_count; g++) {
        struct bnd_raft_group_status status;
        size_t voters = 0;
        bool votes = false;
        if (!all_know(cluster, g) || !at_rest(cluster, g, &status)) {
            return false;
        }
        for (size_t i = 0; i < status.members_count; i++) {
            voters += status.members[i].role == BND_RAFT_VOTER;
            votes = votes ||
                    (status.members[i].role == BND_RAFT_VOTER && status.members[i].node == node);
        }
        if (votes && voters < 3) {
            return false;
        }
    }
    return true;
}

bool bnd_sim_membership_replace(struct bnd_sim_cluster *cluster) {
    uint64_t lost = (uint64_t)__builtin_ctz(draw(cluster, existing(cluster)));
    size_t fresh = 0;
    while (fresh < BND_SIM_NODES_MAX && cluster->nodes[fresh].base.lives > 0) {
        fresh++;
    }
    if (fresh == BND_SIM_NODES_MAX || !can_lose(cluster, lost)) {
        return false;
    }
    struct bnd_sim_node *node = &cluster->nodes[lost - 1];
    bnd_sim_node_crash(node, BND_SIM_POWER);
    node->exists = false;
    bnd_sim_disk_wipe(node->base.disk);
    bnd_sim_store_wipe(node->base.store);
    bnd_sim_trace(cluster->world, "lost", lost, fresh + 1, (struct bnd_slice){0});
    cluster->counts.losses++;
    cluster->wishes_after_ns = bnd_sim_world_now_ns(cluster->world) + LOSS_NOTICED_NS;
    cluster->nodes[fresh].exists = true;
    bnd_sim_node_start(&cluster->nodes[fresh]);
    for (size_t g = 0; g < cluster->groups_count; g++) {
        uint32_t nodes = nodes_of(&cluster->groups[g].want);
        if ((nodes & 1u << lost) != 0) {
            wish(cluster, g, (nodes & ~(1u << lost)) | 1u << (fresh + 1));
        }
    }
    return true;
}

/* ---- the end
 * ------------------------------------------------------------------------------------------ */

bool bnd_sim_membership_settled(const struct bnd_sim_cluster *cluster, size_t g) {
    struct bnd_raft_group_status leader;
    if (!at_rest(cluster, g, &leader)) {
        return false;
    }
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        const struct bnd_sim_node *node = &cluster->nodes[n];
        struct bnd_raft_group_status status;
        bool there = node->exists && bnd_raft_group_status(node->host, g + 1, &status) == 0;
        bool wanted = has(&cluster->groups[g].want, node->id);
        if (there != wanted ||
            (there && (status.term != leader.term || status.last_index != leader.last_index ||
                       status.applied != status.last_index))) {
            return false;
        }
    }
    return true;
}

static void print_members(const struct bnd_raft_group_status *status) {
    for (size_t i = 0; i < status->members_count; i++) {
        (void)fprintf(stderr, " %" PRIu64 "%c", status->members[i].node,
                      "-sv"[status->members[i].role]);
    }
}

void bnd_sim_membership_print(const struct bnd_sim_cluster *cluster, size_t g) {
    (void)fprintf(stderr, "group %zu: wanted", g + 1);
    for (size_t i = 0; i < cluster->groups[g].want.count; i++) {
        (void)fprintf(stderr, " %" PRIu64, cluster->groups[g].want.members[i].node);
    }
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        const struct bnd_sim_node *node = &cluster->nodes[n];
        struct bnd_raft_group_status status;
        if (!node->exists) {
            continue;
        }
        (void)fprintf(stderr, "\n  node %" PRIu64 ":", node->id);
        if (node->base.life != BND_SIM_UP ||
            bnd_raft_group_status(node->host, g + 1, &status) != 0) {
            (void)fprintf(stderr, " %s", node->base.life == BND_SIM_UP ? "without it" : "down");
            continue;
        }
        (void)fprintf(stderr,
                      " state %d%s term %" PRIu64 " leader %" PRIu64 " commit %" PRIu64
                      " applied %" PRIu64 " last %" PRIu64 ", members",
                      (int)status.state, status.ready ? " (ready)" : "", status.term, status.leader,
                      status.commit, status.applied, status.last_index);
        print_members(&status);
    }
    (void)fprintf(stderr, "\n");
}
