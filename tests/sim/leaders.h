/* Preferred leaders in a simulated cluster: drawn anew now and then, as a shard map changes. */
#ifndef BND_TESTS_SIM_LEADERS_H
#define BND_TESTS_SIM_LEADERS_H

#include "tests/sim/cluster.h"

/* Another order of preference, or none, for one group; each node that is up hears of it, or does
 * not. */
void bnd_sim_leaders_draw(struct bnd_sim_cluster *cluster);

#endif
