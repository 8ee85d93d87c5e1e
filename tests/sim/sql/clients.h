/* Clients of the simulated databases: each has one operation at a time, given to some machine, and
 * writes down in the history what it was told; and a manager, which now and then lets a database
 * come to rest, dumps it, and restores or forks it. An operation dies with its machine: then it may
 * or may not be executed. */
#ifndef BND_TESTS_SIM_SQL_CLIENTS_H
#define BND_TESTS_SIM_SQL_CLIENTS_H

#include "tests/sim/sql/history.h"

struct simsql_clients;

/* Makes the databases, in calm; takes the cluster's `died`. think_ns: the most between two
 * operations. */
struct simsql_clients *simsql_clients_create(struct simsql_cluster *cluster,
                                             struct simsql_history *history, size_t count,
                                             uint64_t think_ns);
/* After the machines are all down. */
void simsql_clients_destroy(struct simsql_clients *clients);
/* No new operations; those under way go on, and the manager ends what it is at. */
void simsql_clients_stop(struct simsql_clients *clients);
bool simsql_clients_idle(const struct simsql_clients *clients);
/* Time passes, until every branch that nobody looks after is gone. Runs the world. */
void simsql_clients_end_leases(struct simsql_clients *clients);
/* Writes to every database: nothing refuses it any more. Nothing else is under way. Runs the world.
 */
void simsql_clients_write_all(struct simsql_clients *clients);
/* Dumps every database: nothing else is under way. Runs the world. */
void simsql_clients_dump_all(struct simsql_clients *clients);

#endif
