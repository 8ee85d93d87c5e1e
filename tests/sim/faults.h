/* What goes wrong in a simulated cluster, and when: drawn from the seed, healed at the end. */
#ifndef BND_TESTS_SIM_FAULTS_H
#define BND_TESTS_SIM_FAULTS_H

#include "tests/sim/cluster.h"

struct bnd_sim_faults;

/* From now on, every 50 to 1,200 ms, one fault or healing. */
struct bnd_sim_faults *bnd_sim_faults_start(struct bnd_sim_cluster *cluster);
/* No more faults: cuts, clocks and disks are healed, every machine is up again, and stays so. */
void bnd_sim_faults_heal(struct bnd_sim_faults *faults);
void bnd_sim_faults_destroy(struct bnd_sim_faults *faults);

#endif
