/* What the states of settled groups hold in the end, when every lease is over and what was deleted
 * is swept: nothing but what the databases that somebody has stand upon. */
#ifndef BND_TESTS_SIM_SQL_LEFTOVERS_H
#define BND_TESTS_SIM_SQL_LEFTOVERS_H

#include "tests/sim/sql/cluster.h"

struct simsql_uuid {
    uint8_t bytes[BND_SQL_UUID_BYTES];
};

/* Time passes, until what was deleted is swept, and what is too old collected. All are settled, and
 * no client does anything. Runs the world. */
void simsql_sweep(struct simsql_cluster *cluster);
/* uuids: of all databases. */
void simsql_check_left(struct simsql_cluster *cluster, const struct simsql_uuid *uuids,
                       size_t count);

#endif
