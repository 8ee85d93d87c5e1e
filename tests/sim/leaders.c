#include "tests/sim/leaders.h"

void bnd_sim_leaders_draw(struct bnd_sim_cluster *cluster) {
    struct bnd_sim_rng *rng = &cluster->rng;
    uint64_t gid = 1 + bnd_sim_rng_below(rng, cluster->groups_count);
    uint64_t order[BND_SIM_NODES_MAX];
    size_t count = 0;
    for (uint64_t id = 1; id <= BND_SIM_NODES_MAX; id++) {
        size_t at = bnd_sim_rng_below(rng, count + 1);
        if (bnd_sim_rng_chance(rng, 700)) {
            order[count++] = order[at];
            order[at] = id;
        }
    }
    for (size_t n = 0; n < BND_SIM_NODES_MAX; n++) {
        struct bnd_sim_node *node = &cluster->nodes[n];
        if (node->base.life == BND_SIM_UP && !node->base.fatal && bnd_sim_rng_chance(rng, 800)) {
            bnd_sim_env_enter(node->base.env);
            bnd_raft_group_prefer(node->host, gid, order, count);
            bnd_sim_env_leave(node->base.env);
        }
    }
}
