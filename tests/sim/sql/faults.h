/* What goes wrong in a simulated SQL cluster, and when: drawn from the seed, healed at the end. */
#ifndef BND_TESTS_SIM_SQL_FAULTS_H
#define BND_TESTS_SIM_SQL_FAULTS_H

#include "tests/sim/sql/cluster.h"

struct simsql_faults;

/* From now on, every 50 to 800 ms, one fault or healing. */
struct simsql_faults *simsql_faults_start(struct simsql_cluster *cluster);
/* No more faults: cuts, clocks and disks are healed, every machine is up again, and stays so. */
void simsql_faults_heal(struct simsql_faults *faults);
void simsql_faults_destroy(struct simsql_faults *faults);

#endif
