/* Clients of a simulated cluster: each has one operation at a time on one group, sends it to nodes
 * until it has an outcome, under one request id, and writes down in the group's history what it was
 * told.
 *
 * They stand in for raft/client and the gateway: retry on "certainly not executed", ask again under
 * the same id on "unknown", give an operation up after a drawn time. An attempt dies with the node
 * it was sent to. */
#ifndef BND_TESTS_SIM_CLIENTS_H
#define BND_TESTS_SIM_CLIENTS_H

#include "tests/sim/cluster.h"

struct bnd_sim_clients;

/* Takes the cluster's `died`. think_ns: the most between two operations. */
struct bnd_sim_clients *bnd_sim_clients_create(struct bnd_sim_cluster *cluster, size_t count,
                                               uint64_t think_ns);
/* After the cluster's nodes are all down. Frees attempts that never had an answer. */
void bnd_sim_clients_destroy(struct bnd_sim_clients *clients);
/* No new operations; those under way go on. */
void bnd_sim_clients_stop(struct bnd_sim_clients *clients);
/* Answered operations on a group since the last call. */
uint64_t bnd_sim_clients_answered(struct bnd_sim_clients *clients, size_t group);

#endif
