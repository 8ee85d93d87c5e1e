/* The replicas of the simulated groups: who should have them, and whether they are equal. */
#ifndef BND_TESTS_SIM_SQL_REPLICAS_H
#define BND_TESTS_SIM_SQL_REPLICAS_H

#include "tests/sim/sql/cluster.h"

/* A machine that does what `inner` does (takes it) and compares what each command did with what it
 * did on the other replicas. Inside the machine's env. */
int simsql_watch_fsm(struct simsql_machine *machine, uint64_t gid, const struct bnd_fsm *inner,
                     struct bnd_fsm *out);

/* nodes: bits of ids. Every machine learns of it later, on its own. */
void simsql_want(struct simsql_cluster *cluster, size_t group, uint32_t nodes);
/* The machine's life has begun: it learns of the wishes soon. */
void simsql_learn(struct simsql_machine *machine);
/* Does it know itself wanted in the group? */
bool simsql_knows(const struct simsql_machine *machine, uint64_t gid);

#endif
