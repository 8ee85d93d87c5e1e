/* Score of (node, group): -weight / ln(u) with u in (0, 1) from a hash (the logarithmic method: the
 * share of groups a node wins is its share of the weights). Ties go to the lower id. */
#include "placement/rendezvous.h"

#include "base/assert.h"
#include "base/hash.h"

#include <math.h>

static double score(const struct bnd_place_node *node, uint64_t gid) {
    uint8_t bytes[16];
    bnd_put_u64(bytes, node->place != 0 ? node->place : node->id);
    bnd_put_u64(bytes + 8, gid);
    uint64_t hash = bnd_hash64(bnd_slice(bytes, sizeof bytes), 0);
    double u = ((double)(hash >> 11) + 0.5) / 9007199254740992.0; /* 2^53: exact, never 0 or 1 */
    return -(double)node->weight / log(u);
}

static bool chosen(uint64_t id, const uint64_t *out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (out[i] == id) {
            return true;
        }
    }
    return false;
}

static bool zone_used(const struct bnd_place_node *nodes, size_t count, uint64_t zone,
                      const uint64_t *out, size_t out_count) {
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].zone == zone && chosen(nodes[i].id, out, out_count)) {
            return true;
        }
    }
    return false;
}

/* The best node not yet chosen, of an unused zone if asked; NULL if there is none. */
static const struct bnd_place_node *best(const struct bnd_place_node *nodes, size_t count,
                                         uint64_t gid, const uint64_t *out, size_t out_count,
                                         bool new_zone) {
    const struct bnd_place_node *found = NULL;
    double found_score = 0;
    for (size_t i = 0; i < count; i++) {
        const struct bnd_place_node *node = &nodes[i];
        if (node->weight == 0 || chosen(node->id, out, out_count) ||
            (new_zone && zone_used(nodes, count, node->zone, out, out_count))) {
            continue;
        }
        double s = score(node, gid);
        if (found == NULL || s > found_score || (s == found_score && node->id < found->id)) {
            found = node;
            found_score = s;
        }
    }
    return found;
}

size_t bnd_place_group(const struct bnd_place_node *nodes, size_t count, uint64_t gid,
                       size_t wanted, uint64_t out[BND_REPLICAS_MAX]) {
    BND_ASSERT(wanted <= BND_REPLICAS_MAX);
    size_t placed = 0;
    while (placed < wanted) {
        const struct bnd_place_node *node = best(nodes, count, gid, out, placed, true);
        if (node == NULL) {
            node = best(nodes, count, gid, out, placed, false);
        }
        if (node == NULL) {
            break;
        }
        out[placed++] = node->id;
    }
    return placed;
}

static size_t leader_place(const struct bnd_place_leaders *leaders, uint64_t node) {
    size_t at = 0;
    while (at < leaders->count && leaders->nodes[at] != node) {
        at++;
    }
    return at;
}

/* What one node leads at most, while others of a group lead less. */
static size_t leader_share(const struct bnd_place_leaders *leaders) {
    size_t average = (leaders->groups + leaders->count - 1) / leaders->count;
    return average + average / 8;
}

size_t bnd_place_lead(struct bnd_place_leaders *leaders, uint64_t *placed, size_t count) {
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (leader_place(leaders, placed[i]) < leaders->count) {
            placed[left++] = placed[i];
        }
    }
    size_t best = 0;
    for (size_t i = 0; i < left; i++) {
        uint32_t load = leaders->loads[leader_place(leaders, placed[i])];
        if (load < leader_share(leaders)) {
            best = i;
            break;
        }
        if (load < leaders->loads[leader_place(leaders, placed[best])]) {
            best = i;
        }
    }
    for (size_t i = best; left > 0 && i > 0; i--) {
        uint64_t swap = placed[i];
        placed[i] = placed[i - 1];
        placed[i - 1] = swap;
    }
    if (left > 0) {
        leaders->loads[leader_place(leaders, placed[0])]++;
    }
    return left;
}

size_t bnd_place_voters(size_t live, size_t wanted) {
    size_t most = live < wanted ? live : wanted;
    if (most == 0) {
        return 0;
    }
    size_t odd = most % 2 == 1 ? most : most - 1;
    return odd > BND_REPLICAS_MAX ? BND_REPLICAS_MAX : odd;
}
