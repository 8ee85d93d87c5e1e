/* What goes wrong in a simulated KV cluster, and when: drawn from the seed, healed at the end. */
#ifndef BND_TESTS_SIM_KV_FAULTS_H
#define BND_TESTS_SIM_KV_FAULTS_H

#include "tests/sim/kv/cluster.h"

struct simkv_faults;

/* From now on, every 0.2 to 2.5 s, one fault or healing. */
struct simkv_faults *simkv_faults_start(struct simkv_cluster *cluster);
/* No more faults: cuts, clocks and disks are healed, every machine is up again, and stays so. */
void simkv_faults_heal(struct simkv_faults *faults);
/* Every machine loses power, all in one moment. */
void simkv_faults_site(struct simkv_cluster *cluster);
void simkv_faults_destroy(struct simkv_faults *faults);

#endif
